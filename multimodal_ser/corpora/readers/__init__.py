"""What the readers share; beside it lies one file a corpus, each of which ends in `CORPUS = Corpus(...)`."""

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
"""What corpora call them, and what we do."""

LONGEST_ROW = 50
"""Lines of a table that one row may take: texts may hold line ends."""


def emotion_of(code: str, labels: CorpusLabels) -> str | None:
    """Which of the nine a corpus's own label is; None: none of them, the row is unlabelled.

    Raises:
        InputError: no label of this corpus.

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
    known = ", ".join([*labels.codes, *labels.dropped])
    raise InputError(
        "emotion", expected=f"one of {known}", got=repr(code), remedy="rename it, or move it out of the folder"
    )


def read_names(
    root: Path, corpus: str, pattern: str, example: str, fields: Callable[[re.Match[str]], Mapping[str, Any] | str]
) -> Iterator[ManifestRow | InputError | str]:
    """A row for each recording, from what its name says.

    Args:
        root: the corpus's folder, or one around it.
        corpus: its name.
        pattern: what a recording's path ends in, without the ending: a regular expression of whole path parts, "/" between them.
        example: a name as it should be.
        fields: what the match says of the row; an `InputError` that it raises gets the file's name. A word
            instead says why a file that belongs to the corpus is not read; it is yielded.

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
    whole = re.compile(f"(?:.*/)?(?:{pattern})")
    for path in recordings_below(root):
        place = path.relative_to(root).as_posix()
        match = whole.fullmatch(path.relative_to(root).with_suffix("").as_posix())
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
    """Lines of a text in UTF-8, without their ends; bytes that are no UTF-8 are kept for `check_text` to find in the line that has them."""
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    return [line.rstrip("\r") for line in text.split("\n")]


def check_text(text: str) -> str:
    """The same text.

    Raises:
        InputError: it holds bytes of another encoding, or a NUL character.

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
    """The words in a file beside a recording, on one line; None: no file, or an empty one.

    Raises:
        InputError: see `check_text`.
    """
    return None if path is None else check_text(" ".join(" ".join(read_lines(path)).split())) or None


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]] | InputError]:
    """Rows of a corpus's own table (.tsv: tabs, else commas; UTF-8), each with its place.

    Yields:
        (place, cells by column), or an error: for a row that cannot be read, or for the table that lacks a column.

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
        except csv.Error:  # a quote that does not close costs its own line, no more; tables with tabs are often written without quoting
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
    """Rows of a table of texts (see `read_manifest`), their emotions by our names: the corpus's own labels, or synonyms of the nine.

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
    """Several admissible labels as one annotation, joined by bars in the order of `EMOTIONS`; None: they are none of the nine.

    Raises:
        LabelError: a label that is neither the corpus's nor a synonym of the nine.

    Example:
        >>> from multimodal_ser.corpora.readers import joined
        >>> from multimodal_ser.labels import CORPUS_LABELS
        >>> joined(["remorse", "annoyance", "sadness"], CORPUS_LABELS["goemotions"])
        'anger|sadness'
    """
    found = set()
    for code in codes:
        if code in labels.dropped:
            continue
        try:
            found.add(labels.codes[code] if code in labels.codes else canonical_emotion(code))
        except LabelError:
            remedy = "correct it, or drop the row"
            raise LabelError("emotion", expected="one of the corpus's labels", got=repr(code), remedy=remedy) from None
    return "|".join(name for name in EMOTIONS if name in found) or None
