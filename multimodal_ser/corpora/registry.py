"""Known corpora: what each is, and how its folder becomes rows. Each is one small file of `readers`; a new file there is a new corpus."""

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
    """A corpus: what a user should know of it, and how it is read.

    Args:
        name: what it is asked for by, a key of `labels.CORPUS_LABELS` if it comes with the library.
        title: what people call it.
        languages: ISO 639-1 codes.
        licence: what one may do with it, in short.
        citation: how its authors want it named.
        homepage: where to ask for it.
        documentation: where its names and labels are explained.
        labels: what its annotators could say.
        layout: which files are expected, a line.
        run_on: whether the reader ever saw the real corpus, or only a tree made after its documentation.
        read: yields a row for each clip or text of a folder (or of its table), an error by name for what cannot be read, and a word
            (str) for each file that belongs to the corpus and is not read; equal ones become one note with a count.
        clips: how many it has, as documented; None: that depends on the release.
        remarks: what else a reader of scores should know.

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
    """The files of `readers`, each imported when its corpus is asked for."""

    def __getitem__(self, name: str) -> Corpus:
        found = {_plain(known): known for known in self}.get(_plain(name))
        if found is None:
            raise KeyError(name)
        corpus: Corpus = importlib.import_module(f"multimodal_ser.corpora.readers.{found}").CORPUS
        return corpus

    def __iter__(self) -> Iterator[str]:
        return iter(_names())

    def __len__(self) -> int:
        return len(_names())


CORPORA: Mapping[str, Corpus] = _Corpora()
"""Corpora by name, as it is written here or there: "crema_d", "CREMA-D", "crema-d"."""


@cache
def _names() -> tuple[str, ...]:
    from multimodal_ser.corpora import readers

    return tuple(sorted(module.name for module in pkgutil.iter_modules(readers.__path__)))


def _plain(name: str) -> str:
    return "".join(letter for letter in str(name).lower() if letter.isalnum())


def find_corpus(name: str) -> Corpus:
    """The corpus of a name.

    Raises:
        InputError: there is none; the nearest is proposed.

    Example:
        >>> from multimodal_ser.corpora.registry import find_corpus
        >>> find_corpus("CREMA-D").name
        'crema_d'
    """
    if name not in CORPORA:
        otherwise = "write a manifest, or sort the recordings into a folder per emotion"
        remedy = did_you_mean(name, CORPORA, otherwise, key=_plain)
        raise InputError("corpus", expected=f"one of {', '.join(CORPORA)}", got=repr(name), remedy=remedy)
    return CORPORA[name]


def read_corpus(corpus: str | Corpus, source: str | os.PathLike) -> Manifest:
    """Read a corpus as its authors hand it out.

    Args:
        corpus: one of `CORPORA`, or a `Corpus` of your own.
        source: its folder, unpacked; a folder around it will do. For corpora of texts also a table of them.

    Returns:
        The rows, sorted as the reader yields them; an error for each file or line that is not as the corpus's documentation says, or
        that another clip has the name of; as `ignored` the files that are no recordings. Copies that are equal byte for byte, and the
        same clips in another format (sound without loss is taken before compressed sound, and that before videos), are counted in a note.

    Raises:
        InputError: there is no such corpus or folder, or nothing in the folder looks like this corpus.

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
    found = corpus if isinstance(corpus, Corpus) else find_corpus(corpus)
    path = Path(os.path.abspath(source))
    if not path.exists():
        raise InputError(
            str(source), expected=f"{found.title}: {found.layout}", got="no such folder", remedy="check the path"
        )
    errors: list[InputError] = []
    skipped: Counter[str] = Counter()
    clips: dict[str, list[ManifestRow]] = {}
    for at, one in enumerate(found.read(path)):
        if isinstance(one, str):
            skipped[one] += 1
        elif isinstance(one, InputError):
            errors.append(one)
        else:
            clips.setdefault(f"{at}" if one.id is None else f"id {one.id}", []).append(one)
    rows = [_chosen(group, errors, skipped) for group in clips.values()]
    if not rows:
        first = f"; the first of {counted(len(errors), 'error')}: {errors[0]}" if errors else ""
        first += "".join(f"; {note}" for note in _notes(skipped))
        remedy = f"unpack the corpus there ({found.homepage}), or name its folder{first}"
        raise InputError(
            str(source), expected=f"{found.title}: {found.layout}", got="none of these files", remedy=remedy
        )
    return Manifest(tuple(rows), tuple(errors), path, _ignored(path), _notes(skipped))


def _chosen(group: list[ManifestRow], errors: list[InputError], skipped: Counter[str]) -> ManifestRow:
    """Of clips of one name the one that is read; the others are copies of it, in another format, or errors."""
    group = sorted(group, key=lambda row: preference(row.path.suffix) if row.path else 0)
    kept = group[0]
    for row in group[1:]:
        if row.path and kept.path and row.path.suffix.lower() != kept.path.suffix.lower():
            skipped[f"{row.path.suffix} files beside {kept.path.suffix} files of the same clips: not read"] += 1
        elif row.path and kept.path and _equal(row.path, kept.path):
            skipped["copies, byte for byte, of clips that are read: not read"] += 1
        else:
            got = f"the same name as {kept.place}"
            errors.append(InputError(row.place, expected="each clip once", got=got, remedy="remove the copy"))
    return kept


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
