"""Provides the known corpora: facts about each, and its reader. Each corpus is one file in `readers`."""

from __future__ import annotations

import filecmp
import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from multimodal_ser.corpora.duplicates import counted
from multimodal_ser.corpora.files import RECORDINGS, files_below, preference
from multimodal_ser.corpora.rows import Manifest, ManifestRow
from multimodal_ser.errors import InputError, did_you_mean
from multimodal_ser.labels import CorpusLabels


@dataclass(frozen=True)
class Corpus:
    """A known corpus: facts for users, and its reader.

    Args:
        name: the name in `CORPORA`; for corpora of this library also a key of `labels.CORPUS_LABELS`.
        title: the usual name of the corpus.
        languages: ISO 639-1 codes.
        licence: the license, in short.
        citation: how to cite the corpus.
        homepage: the web page of the corpus.
        documentation: the page that explains its file names and labels.
        labels: the labels that its annotators could choose.
        layout: a line on the expected files.
        run_on: whether the reader was tested on the real corpus, or only on a tree made after its documentation.
        read: yields a row for each clip or text of a folder (or of its table), an error for each file that cannot be
            read, and a reason (str) for each file of the corpus that is skipped; equal reasons become one note with a
            count.
        clips: the documented number of clips; None: it depends on the release.
        remarks: further facts for readers of scores.

    Example:
        >>> from multimodal_ser.corpora.registry import CORPORA
        >>> ravdess = CORPORA["ravdess"]
        >>> ravdess.title, ravdess.languages, ravdess.licence, ravdess.run_on
        ('RAVDESS', ('en',), 'CC BY-NC-SA 4.0', 'real recordings')
    """

    name: str
    title: str
    languages: tuple[str, ...]
    licence: str
    citation: str
    homepage: str
    documentation: str
    labels: CorpusLabels
    layout: str
    run_on: Literal["real recordings", "real texts", "made tree"]
    read: Callable[[Path], Iterator[ManifestRow | InputError | str]]
    clips: int | None = None
    remarks: str = ""


class _Corpora(Mapping[str, Corpus]):
    """The corpora of `readers`; the file of each is imported when it is first used."""

    def __getitem__(self, name: str) -> Corpus:
        module = {_plain(key): key for key in self}.get(_plain(name))
        if module is None:
            raise KeyError(name)
        corpus: Corpus = importlib.import_module(f"multimodal_ser.corpora.readers.{module}").CORPUS
        return corpus

    def __iter__(self) -> Iterator[str]:
        return iter(_names())

    def __len__(self) -> int:
        return len(_names())


CORPORA: Mapping[str, Corpus] = _Corpora()
"""The corpora by name; case and punctuation do not matter: "crema_d", "CREMA-D", "crema-d"."""


@cache
def _names() -> tuple[str, ...]:
    from multimodal_ser.corpora import readers

    return tuple(sorted(module.name for module in pkgutil.iter_modules(readers.__path__)))


def _plain(name: str) -> str:
    return "".join(letter for letter in str(name).lower() if letter.isalnum())


def find_corpus(name: str) -> Corpus:
    """The corpus of a name.

    Raises:
        InputError: there is no such corpus; the message proposes a similar name.

    Example:
        >>> from multimodal_ser.corpora.registry import find_corpus
        >>> find_corpus("CREMA-D").name
        'crema_d'
    """
    if name not in CORPORA:
        alternative = "write a manifest, or sort the recordings into a folder per emotion"
        remedy = did_you_mean(name, CORPORA, alternative, key=_plain)
        raise InputError("corpus", expected=f"one of {', '.join(CORPORA)}", got=repr(name), remedy=remedy)
    return CORPORA[name]


def read_corpus(corpus: str | Corpus, source: str | os.PathLike) -> Manifest:
    """Read a corpus in the form in which its authors distribute it.

    Args:
        corpus: a name in `CORPORA`, or a `Corpus` of your own.
        source: the unpacked folder of the corpus, or a folder that contains it; for corpora of texts also a table.

    Returns:
        The rows in the order of the reader; an error for each file or line that differs from the corpus's
        documentation, and for each clip whose name another clip has; the files that are no recordings are in `ignored`.
        Only one file of each clip is read, lossless sound before compressed sound before video: notes count the copies
        with equal bytes and the copies in other formats.

    Raises:
        InputError: there is no such corpus or folder, or no file in the folder belongs to this corpus.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.registry import read_corpus
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("03-01-05-02-01-01-12.wav", "my_recording.wav"):
        ...     (root / name).touch()
        >>> manifest = read_corpus("ravdess", root)
        >>> row = manifest.rows[0]
        >>> row.emotion, row.intensity, row.speaker, row.gender, row.text
        ('anger', 'strong', 'ravdess_12', 'female', 'Kids are talking by the door.')
        >>> print(manifest.errors[0])
        my_recording.wav: expected a name as 03-01-06-01-02-01-12.wav, got another one; rename it, or move it out of the folder
    """
    definition = corpus if isinstance(corpus, Corpus) else find_corpus(corpus)
    path = Path(os.path.abspath(source))
    if not path.exists():
        raise InputError(
            str(source),
            expected=f"{definition.title}: {definition.layout}",
            got="no such folder",
            remedy="check the path",
        )
    errors: list[InputError] = []
    skipped: Counter[str] = Counter()
    clips: dict[str, list[ManifestRow]] = {}
    for at, item in enumerate(definition.read(path)):
        if isinstance(item, str):
            skipped[item] += 1
        elif isinstance(item, InputError):
            errors.append(item)
        else:
            clips.setdefault(f"{at}" if item.id is None else f"id {item.id}", []).append(item)
    rows = [_chosen(group, errors, skipped) for group in clips.values()]
    if not rows:
        first = f"; the first of {counted(len(errors), 'error')}: {errors[0]}" if errors else ""
        first += "".join(f"; {note}" for note in _notes(skipped))
        remedy = f"unpack the corpus there ({definition.homepage}), or name its folder{first}"
        raise InputError(
            str(source), expected=f"{definition.title}: {definition.layout}", got="none of these files", remedy=remedy
        )
    return Manifest(tuple(rows), tuple(errors), path, _ignored(path), _notes(skipped))


def _chosen(group: list[ManifestRow], errors: list[InputError], skipped: Counter[str]) -> ManifestRow:
    """The clip that is read of several with one name; the others are copies of it, in another format, or errors."""
    group = sorted(group, key=lambda row: preference(row.path.suffix) if row.path else 0)
    preferred = group[0]
    for row in group[1:]:
        if row.path and preferred.path and row.path.suffix.lower() != preferred.path.suffix.lower():
            skipped[f"{row.path.suffix} files beside {preferred.path.suffix} files of the same clips: not read"] += 1
        elif row.path and preferred.path and _equal(row.path, preferred.path):
            skipped["copies, byte for byte, of clips that are read: not read"] += 1
        else:
            got = f"the same name as {preferred.place}"
            errors.append(InputError(row.place, expected="each clip once", got=got, remedy="remove the copy"))
    return preferred


def _equal(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _notes(skipped: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{counted(count, 'file')}: {why}" for why, count in sorted(skipped.items()))


def _ignored(path: Path) -> tuple[str, ...]:
    if path.is_file():
        return ()
    return tuple(
        file.relative_to(path).as_posix() for file in files_below(path) if file.suffix.lower() not in RECORDINGS
    )
