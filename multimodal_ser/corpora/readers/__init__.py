"""Provides functions for the readers of corpora; each corpus is one file here, which ends in `CORPUS = Corpus(...)`."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.files import recordings_below
from multimodal_ser.corpora.manifest import read_manifest
from multimodal_ser.corpora.rows import Manifest, ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import EMOTIONS, CorpusLabels, LabelError, canonical_emotion

GENDERS: Mapping[str, str] = {"f": "female", "female": "female", "m": "male", "male": "male"}
"""Genders in corpora, in lower case, and their names in this library."""

LONGEST_ROW = 50
"""The most lines of one row in a table, because texts may contain line ends."""


def emotion_of(code: str, labels: CorpusLabels) -> str | None:
    """The library's emotion for a corpus's own label; None if it has none, and the row is unlabelled.

    Raises:
        InputError: the corpus has no such label.

    Example:
        >>> from multimodal_ser.corpora.readers import emotion_of
        >>> from multimodal_ser.labels import CORPUS_LABELS
        >>> emotion_of("exc", CORPUS_LABELS["iemocap"]), emotion_of("fru", CORPUS_LABELS["iemocap"])
        ('happiness', None)
    """
    if code in labels.codes:
        return labels.codes[code]
    if code in labels.dropped:
        return None
    codes = ", ".join([*labels.codes, *labels.dropped])
    raise InputError(
        "emotion", expected=f"one of {codes}", got=repr(code), remedy="rename it, or move it out of the folder"
    )


def read_names(
    root: Path, corpus: str, pattern: str, example: str, fields: Callable[[re.Match[str]], Mapping[str, Any] | str]
) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each recording, with fields from its name.

    Args:
        root: the folder of the corpus, or a folder that contains it.
        corpus: the name of the corpus.
        pattern: a regular expression for the last parts of a recording's path, without the file's ending.
        example: an example of a correct name.
        fields: returns the fields of the row for a match, or a reason (str) why a file of the corpus is not read; the
            reason is yielded. An `InputError` that it raises is yielded with the name of the file.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.readers import read_names
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("ann_joy.wav", "noise.wav"):
        ...     (root / name).touch()
        >>> def fields(name):
        ...     return {"speaker": name[1], "emotion": name[2]}
        >>> for one in read_names(root, "mine", "([a-z]+)_([a-z]+)", "ann_joy.wav", fields):
        ...     print(one if isinstance(one, ValueError) else (one.id, one.emotion))
        ('ann_joy', 'joy')
        noise.wav: expected a name as ann_joy.wav, got another one; rename it, or move it out of the folder
    """
    whole_pattern = re.compile(f"(?:.*/)?(?:{pattern})")
    for path in recordings_below(root):
        place = path.relative_to(root).as_posix()
        match = whole_pattern.fullmatch(path.relative_to(root).with_suffix("").as_posix())
        if match is None:
            remedy = "rename it, or move it out of the folder"
            yield InputError(place, expected=f"a name as {example}", got="another one", remedy=remedy)
            continue
        try:
            values = fields(match)
        except InputError as error:
            yield error.named(f"{place}, {error.what}")
            continue
        if isinstance(values, str):
            yield values
        else:
            yield ManifestRow(path=path, corpus=corpus, place=place, folder=root, **{"id": path.stem, **values})


def read_lines(path: Path) -> list[str]:
    """The lines of a text in UTF-8; bytes that are not UTF-8 are kept for `check_text`."""
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    return [line.rstrip("\r") for line in text.split("\n")]


def check_text(text: str) -> str:
    """Check a text, and return it.

    Raises:
        InputError: the text has bytes of another encoding, or a NUL character.

    Example:
        >>> from multimodal_ser.corpora.readers import check_text
        >>> check_text("naïve")
        'naïve'
    """
    if "\0" in text:
        raise InputError("text", expected="text", got="a NUL character", remedy="save the file as UTF-8")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            "text", expected="UTF-8", got="bytes of another encoding", remedy="save the file as UTF-8"
        ) from None
    return text


def read_words(path: Path | None) -> str | None:
    """The words in a text file, as one line; None if there is no file, or if it is empty.

    Raises:
        InputError: see `check_text`.
    """
    return None if path is None else check_text(" ".join(" ".join(read_lines(path)).split())) or None


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]] | InputError]:
    """Read a corpus's own table in UTF-8 (.tsv: separated by tabs, else by commas).

    Yields:
        The place and the cells by column of each row, or an error for a row that cannot be read or for a missing
        column.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.readers import read_table
        >>> table = Path(tempfile.mkdtemp(), "data.csv")
        >>> _ = table.write_text("file,emotion\\na.wav,joy\\nb.wav\\n")
        >>> for one in read_table(table, ["file", "emotion"]):
        ...     print(one)
        ('data.csv, line 2', {'file': 'a.wav', 'emotion': 'joy'})
        data.csv, line 3: expected 2 cells, got 1; compare it with the corpus's own table
    """
    remedy = "compare it with the corpus's own table"
    lines = read_lines(path)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    names: list[str] = []
    at = 0
    while at < len(lines):
        place = f"{path.name}, line {at + 1}"
        reader = csv.reader((f"{line}\n" for line in lines[at : at + LONGEST_ROW]), delimiter=delimiter, strict=True)
        try:
            cells = next(reader)
            at += reader.line_num
        except csv.Error:  # only the line with an open quote is lost; tables with tabs often have no quoting
            cells = lines[at].split(delimiter)
            at += 1
            if delimiter != "\t":
                yield InputError(
                    place, expected="cells, each in a pair of quotes or without", got="a stray quote", remedy=remedy
                )
                continue
        if not any(cells):
            continue
        if not names:
            names = [name.strip() for name in cells]
            missing = [column for column in columns if column not in names]
            if missing:
                got = f"the columns {', '.join(names)}"
                yield InputError(path.name, expected=f"a column {', '.join(missing)}", got=got, remedy=remedy)
                return
        elif len(cells) != len(names):
            yield InputError(place, expected=f"{len(names)} cells", got=str(len(cells)), remedy=remedy)
        else:
            try:
                check_text("".join(cells))
            except InputError as error:
                yield error.named(place)
            else:
                yield place, dict(zip(names, cells, strict=True))


def read_texts(path: Path, corpus: str, labels: CorpusLabels) -> Iterator[ManifestRow | InputError]:
    """Read a table of texts (see `read_manifest`), and map the corpus's own labels and synonyms to our emotions.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.readers import read_texts
        >>> from multimodal_ser.labels import CORPUS_LABELS
        >>> table = Path(tempfile.mkdtemp(), "goemotions.csv")
        >>> _ = table.write_text("text,emotion\\nWhy?,curiosity|neutral\\nGo!,hurry\\n")
        >>> for one in read_texts(table, "goemotions", CORPUS_LABELS["goemotions"]):
        ...     print(one if isinstance(one, ValueError) else one.emotion)
        neutral|surprise
        goemotions.csv, line 3, emotion: expected one of the corpus's labels, got 'hurry'; correct it, or drop the row
    """
    manifest: Manifest = read_manifest(path, check_files=False)
    yield from manifest.errors
    for row in manifest.rows:
        speaker = None if row.speaker is None else f"{corpus}_{row.speaker}"
        try:
            emotion = None if row.emotion is None else joined(row.emotion.split("|"), labels)
        except LabelError as error:
            yield error.named(f"{row.place}, emotion")
            continue
        yield replace(row, corpus=corpus, emotion=emotion, speaker=speaker, language=row.language or "en")


def joined(codes: Sequence[str], labels: CorpusLabels) -> str | None:
    """Join several admissible labels by "|", as emotions in the order of `EMOTIONS`; None if no label has an emotion.

    Raises:
        LabelError: a label belongs neither to the corpus nor to the synonyms of the emotions.

    Example:
        >>> from multimodal_ser.corpora.readers import joined
        >>> from multimodal_ser.labels import CORPUS_LABELS
        >>> joined(["remorse", "annoyance", "sadness"], CORPUS_LABELS["goemotions"])
        'anger|sadness'
    """
    emotions = set()
    for code in codes:
        if code in labels.dropped:
            continue
        try:
            emotions.add(labels.codes[code] if code in labels.codes else canonical_emotion(code))
        except LabelError:
            remedy = "correct it, or drop the row"
            raise LabelError("emotion", expected="one of the corpus's labels", got=repr(code), remedy=remedy) from None
    return "|".join(name for name in EMOTIONS if name in emotions) or None
