"""Manifests: a table of recordings and texts with what was annotated becomes rows; each bad row is named, the others are kept."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import math
import numbers
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.items import missing

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path", "wav"),
        "emotion": ("emotion", "label"),
        "text": ("text", "sentence", "transcript", "transcription", "utterance"),
        "speaker": ("speaker", "speaker_id"),
        "split": ("split",),
        "dialogue": ("dialogue", "dialogue_id"),
        "turn": ("turn", "turn_id", "utterance_id"),
        "language": ("language", "lang"),
        "gender": ("gender",),
        "intensity": ("intensity",),
        "corpus": ("corpus",),
        "start": ("start",),
        "end": ("end",),
        "arousal": ("arousal",),
        "valence": ("valence",),
        "dominance": ("dominance",),
        "votes": ("votes",),
    }
)
"""What a row may tell, and the names that its column may have, whatever their case; the first of them that is there is taken."""

WORDS = ("emotion", "text", "speaker", "split", "dialogue", "language", "gender", "intensity", "corpus")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
EMPTY = ("", "nan", "<na>")
"""What a cell says that tells nothing."""


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """A recording, a text, or both, and what was annotated; None: not given.

    Args:
        path: of the recording; None: words alone.
        emotion: as it was written, several admissible ones joined by a bar; None: unlabelled.
        text: its words.
        speaker: whose voice or words.
        split: "train", "validation" ("dev", "val", "valid") or "test", where the corpus says so.
        dialogue, turn: where it stands in a conversation.
        language, gender, intensity: of the speech.
        corpus: a key of `labels.CORPUS_LABELS`, for what its annotators could not say.
        start, end: s, the part of the recording that is meant.
        arousal, valence, dominance: on the corpus's own scale.
        votes: how many annotators chose each emotion: a soft label.
        place: where the row stands, for messages.
        folder: what its name is relative to.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> row = ManifestRow(path=Path("/data/audio/a.wav"), start=1.5, end=3, votes={"anger": 3, "fear": 1}, folder=Path("/data"))
        >>> row.name, row.label
        ('audio/a.wav[1.500-3.000]', 'anger')
    """

    path: Path | None = None
    emotion: str | None = None
    text: str | None = None
    speaker: str | None = None
    split: str | None = None
    dialogue: str | None = None
    turn: int | None = None
    language: str | None = None
    gender: str | None = None
    intensity: str | None = None
    corpus: str | None = None
    start: float | None = None
    end: float | None = None
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None
    votes: Mapping[str, float] | None = field(default=None, hash=False)
    place: str = field(default="", compare=False)
    folder: Path | None = field(default=None, compare=False, repr=False)

    @property
    def recording(self) -> str | None:
        """What its recording is called: the path from the manifest's folder, where it leads from there."""
        if self.path is None:
            return None
        inside = self.folder is not None and self.path.is_relative_to(self.folder)
        return (self.path.relative_to(self.folder) if inside else self.path).as_posix()  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The clip's name, the same on every machine where the manifest lies beside its recordings; of words alone a digest of them."""
        if self.recording is None:
            return f"text:{hashlib.sha256((self.text or '').encode()).hexdigest()[:16]}"
        if self.start is None and self.end is None:
            return self.recording
        return f"{self.recording}[{self.start or 0:.3f}-{'' if self.end is None else f'{self.end:.3f}'}]"

    @property
    def label(self) -> str | None:
        """The one emotion: what most annotators chose, or what was written. None: unlabelled, or several are admissible."""
        if self.votes:
            return max(self.votes, key=self.votes.__getitem__)
        return None if self.emotion is None or "|" in self.emotion else self.emotion


@dataclass(frozen=True)
class Manifest:
    """What a table or a folder holds.

    Args:
        rows: those that can be used.
        errors: what is wrong with the others, each named by file, line and field.
        source: what was read.
        ignored: columns of the table that say nothing to this library; of a folder: files that are no recordings.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import read_manifest
        >>> table = Path(tempfile.mkdtemp(), "manifest.csv")
        >>> _ = table.write_text("Utterance,Emotion,Speaker\\nI won!,joy,Ann\\nOh no.,sadness,Bo\\n,joy,Ann\\n")
        >>> manifest = read_manifest(table)
        >>> manifest.emotions, manifest.speakers
        ({'joy': 1, 'sadness': 1}, ['Ann', 'Bo'])
        >>> print(manifest.errors[0])
        manifest.csv, line 4: expected a path or a text, got neither; fill one of them in, or drop the row
    """

    rows: tuple[ManifestRow, ...]
    errors: tuple[InputError, ...]
    source: Path
    ignored: tuple[str, ...] = ()

    @property
    def emotions(self) -> dict[str, int]:
        """How many rows show each emotion, by name; those for which several are admissible are not counted."""
        return dict(sorted(Counter(row.label for row in self.rows if row.label is not None).items()))

    @property
    def speakers(self) -> list[str]:
        """Their names, sorted."""
        return sorted({row.speaker for row in self.rows if row.speaker is not None})


def read_manifest(source: str | os.PathLike, *, check_files: bool = True) -> Manifest:
    """Read a table, or a folder of recordings (see `folders.read_folder`).

    Relative paths in a table start at the table's own folder. Times count only where there is a recording: corpora of texts
    often give places in a film. Of the same part of the same recording with the same words only the first row is kept; words alone
    are the same row only where dialogue and turn are the same: people do say "Okay." twice.

    Args:
        source: .csv, .tsv, .jsonl (.ndjson; .json: lines or a list), .parquet; UTF-8. Or a folder: the table in it
            that is called manifest, else its recordings.
        check_files: whether each recording must be there.

    Returns:
        The rows, and an error for each that cannot be used.

    Raises:
        InputError: there is no such file, it is no table or an empty one, in another encoding, or tells neither paths nor texts.
    """
    path = Path(os.path.abspath(source))
    if path.is_dir():
        inside = [found for suffix in SUFFIXES if (found := path / f"manifest{suffix}").is_file()]
        if not inside:
            from multimodal_ser.corpora.folders import read_folder

            return read_folder(path)
        path = inside[0]
    if not path.is_file():
        raise InputError(str(source), expected="a manifest or a folder of recordings", got="no such file", remedy="check the path")
    if path.suffix.lower() not in SUFFIXES:
        got = f"a {path.suffix} file" if path.suffix else "a file without an ending"
        raise InputError(str(source), expected=f"a folder, or a table ({', '.join(SUFFIXES)})", got=got, remedy="write a manifest of it")
    columns, ignored, records = _parquet(path) if path.suffix.lower() == ".parquet" else _written(path)
    if not records:
        raise InputError(path.name, expected="at least one row", got="none", remedy="fill the table")
    if not {"path", "text"} & set(columns):
        got = f"the columns {', '.join(ignored) or 'none'}" if not columns else f"the columns {', '.join([*columns, *ignored])}"
        raise InputError(path.name, expected="a column path or text", got=got, remedy="rename the column that holds them")
    rows, errors = _checked_rows(columns, records, path.parent, check_files)
    return Manifest(tuple(rows), tuple(errors), path, tuple(ignored))


Record = tuple[str, Sequence[Any] | InputError]
"""Where a row stands, and its cells or what is wrong with it."""


def _checked_rows(
    columns: Mapping[str, int], records: Iterable[Record], folder: Path, check_files: bool
) -> tuple[list[ManifestRow], list[InputError]]:
    rows: list[ManifestRow] = []
    errors: list[InputError] = []
    places: dict[tuple, str] = {}
    for place, cells in records:
        try:
            if isinstance(cells, InputError):
                raise cells
            row = _row({name: cells[at] for name, at in columns.items()}, place, folder, check_files)
            key = _key(row)
            if key in places:
                remedy = "drop one of them; what several annotators said belongs in one row, in votes"
                raise InputError(place, expected="each row once", got=f"the same as {places[key].split(', ')[-1]}", remedy=remedy)
        except InputError as error:
            errors.append(error)
            continue
        if key is not None:
            places[key] = place
        rows.append(row)
    return rows, errors


def _key(row: ManifestRow) -> tuple | None:
    """What two rows may not share; None: nothing."""
    if row.path is not None:
        return os.path.normpath(row.path), row.start, row.end, row.text
    if row.dialogue is None or row.turn is None:
        return None
    return row.split, row.language, row.dialogue, row.turn, row.text


def _row(given: Mapping[str, Any], place: str, folder: Path, check_files: bool) -> ManifestRow:
    for name, value in given.items():
        if isinstance(value, str) and "\0" in value:
            raise InputError(f"{place}, {name}", expected="text", got="a NUL character", remedy="find out what wrote it")
        if isinstance(value, str) and name != "text" and "\n" in value.strip():
            remedy = "look for a quote that opens here and closes lines later"
            raise InputError(f"{place}, {name}", expected="a line", got="several", remedy=remedy)
    values: dict[str, Any] = {name: _word(given.get(name), f"{place}, {name}") for name in WORDS}
    values["emotion"] = "|".join(part.strip() for part in (values["emotion"] or "").split("|") if part.strip()) or None
    path = _word(given.get("path"), f"{place}, path")
    if path is None and values["text"] is None:
        raise InputError(place, expected="a path or a text", got="neither", remedy="fill one of them in, or drop the row")
    if path is not None:
        values["path"] = folder / path
        if check_files and not os.path.isfile(values["path"]):
            remedy = f"correct it; paths that do not start at the root start at {folder}"
            raise InputError(f"{place}, path", expected="a recording", got=f"no file {path}", remedy=remedy)
        start, end = (_number(given.get(name), f"{place}, {name}") for name in ("start", "end"))
        if start is not None and start < 0:
            raise InputError(f"{place}, start", expected="0 s or later", got=f"{start:g} s", remedy="leave it empty for the beginning")
        if end is not None and end <= (start or 0):
            expected = f"a time after the start, {start or 0:g} s"
            raise InputError(f"{place}, end", expected=expected, got=f"{end:g} s", remedy="leave it empty for the recording's end")
        values |= {"start": start, "end": end}
    turn = _number(given.get("turn"), f"{place}, turn")
    if turn is not None and turn != int(turn):
        raise InputError(f"{place}, turn", expected="a whole number", got=f"{turn:g}", remedy="count the turns of the dialogue")
    values["turn"] = None if turn is None else int(turn)
    values |= {name: _number(given.get(name), f"{place}, {name}") for name in ("arousal", "valence", "dominance")}
    return ManifestRow(**values, votes=_votes(given.get("votes"), f"{place}, votes"), place=place, folder=folder)


def _blank(value: Any) -> bool:
    return missing(value) or (isinstance(value, str) and value.strip().lower() in EMPTY)


def _word(value: Any, place: str) -> str | None:
    if _blank(value):
        return None
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers with gaps, as pandas writes it
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | numbers.Number):
        raise InputError(place, expected="text", got=type(value).__name__, remedy="write it as text")
    return str(value).strip()


def _number(value: Any, place: str) -> float | None:
    if _blank(value):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(place, expected="a number", got=repr(value), remedy="write it with a point, or leave it empty")
    return number


def _votes(value: Any, place: str) -> dict[str, float] | None:
    if _blank(value):
        return None
    wrong = InputError(
        place,
        expected="how many chose each emotion, as anger:3|neutral:2 or a JSON object",
        got=repr(value),
        remedy="name each emotion once, with a number above 0 for one of them",
    )
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise wrong from None
    pairs: list[tuple[Any, Any]]
    if isinstance(value, str):
        pairs = [(name, votes) for name, _, votes in (part.rpartition(":") for part in value.split("|"))]
    elif isinstance(value, Mapping):
        pairs = [(name, votes) for name, votes in value.items() if votes is not None]  # a struct of parquet names all emotions in each row
    else:
        raise wrong
    counts: dict[str, float] = {}
    for name, votes in pairs:
        name = str(name).strip()
        try:
            number = _number(votes, place)
        except InputError:
            raise wrong from None
        if not name or name in counts or number is None or number < 0:
            raise wrong
        counts[name] = number
    if not any(counts.values()):
        raise wrong
    return {name: number for name, number in counts.items() if number}


def _columns(names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Where each field stands, and the names of the other columns."""
    plain = [str(name).strip().lower().replace(" ", "_").replace("-", "_") for name in names]
    found = {}
    for field_name, synonyms in COLUMNS.items():
        at = next((plain.index(synonym) for synonym in synonyms if synonym in plain), None)
        if at is not None:
            found[field_name] = at
    return found, [str(name) for at, name in enumerate(names) if at not in found.values()]


def _numbered(columns: dict[str, int], ignored: list[str], names: Sequence[str], cells: Iterable[Any]) -> None:
    """Many corpora's utterance_id is a name, no number: it tells no turn. The first that is given decides."""
    if "turn" in columns and str(names[columns["turn"]]).strip().lower() not in ("turn", "turn_id"):
        first = next((value for value in cells if not _blank(value)), None)
        try:
            _number(first, "")
        except InputError:
            ignored.append(str(names[columns.pop("turn")]))


def _written(path: Path) -> tuple[dict[str, int], list[str], list[Record]]:
    """A table in a text file: its columns, what is ignored, its rows."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(path.name, expected="a file that can be read", got=error.strerror or "an error", remedy="check it") from error
    text = content.decode("utf-8-sig", errors="surrogateescape")  # what is no UTF-8 is found again in the row that holds it
    lines = list(io.StringIO(text, newline=""))
    other = InputError(path.name, expected="a table in UTF-8", got="another encoding", remedy="save it as UTF-8")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or (lines and ("\0" in lines[0] or _broken([lines[0]]))):
        raise other
    json_lines = path.suffix.lower() not in (".csv", ".tsv")
    names, records = _objects(path, text, lines) if json_lines else _separated(path, lines)
    broken = [_broken(cells) for _, cells in records]
    if any(broken):
        foreign = sum(broken) > 1 and not any(
            not bad and not isinstance(cells, InputError) and any(isinstance(cell, str) and not cell.isascii() for cell in cells)
            for bad, (_, cells) in zip(broken, records, strict=True)
        )
        if foreign or all(broken):
            raise other
        for at, bad in enumerate(broken):
            if bad:
                place = records[at][0]
                records[at] = place, InputError(place, expected="UTF-8", got="bytes of another encoding", remedy="save the file as UTF-8")
    columns, ignored = _columns(names)
    _numbered(
        columns, ignored, names, (cells[columns["turn"]] for _, cells in records if "turn" in columns and not isinstance(cells, InputError))
    )
    return columns, ignored, records


def _broken(cells: Sequence[Any] | InputError) -> bool:
    """Whether bytes that are no UTF-8 are among them."""
    if isinstance(cells, InputError):
        return False
    try:
        "".join(cell for cell in cells if isinstance(cell, str)).encode()
    except UnicodeEncodeError:
        return True
    return False


def _separated(path: Path, lines: Sequence[str]) -> tuple[list[str], list[Record]]:
    """Rows of a .csv (its header tells what separates the cells) or .tsv."""
    header = next((line for line in lines if line.strip()), "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    names: list[str] = []
    records: list[Record] = []
    for line, cells in _cut(lines, delimiter):
        place = f"{path.name}, line {line}"
        if isinstance(cells, str):
            wrong = InputError(
                place, expected="cells, each in a pair of quotes or without", got=cells, remedy="write a quote in a text twice"
            )
            if not names:
                raise wrong
            records.append((place, wrong))
        elif not any(cell.strip() for cell in cells):
            continue
        elif not names:
            names = cells
        elif len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
            remedy = f"put quotes around what holds {'a tab' if delimiter == chr(9) else delimiter!r}; leave no cell out"
            records.append((place, InputError(place, expected=f"{len(names)} cells", got=str(len(cells)), remedy=remedy)))
        else:
            records.append((place, cells))
    return names, records


def _cut(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Each row's first line (from 1) and its cells, or what is wrong. A quote that does not close costs its own line, no more."""
    at = 0
    while at < len(lines):
        done = 0
        reader = csv.reader(itertools.islice(lines, at, None), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
        try:
            for cells in reader:
                yield at + done + 1, cells
                done = reader.line_num
            return
        except csv.Error as error:
            at += done
            whole = lines[at].rstrip("\r\n").split(delimiter)
            yield at + 1, whole if delimiter == "\t" else str(error)  # tab-separated files are often written without any quoting
            at += 1


def _objects(path: Path, text: str, lines: Sequence[str]) -> tuple[list[str], list[Record]]:
    """Rows of JSON lines, or of a list of objects."""
    found: list[tuple[str, Any]] = []
    if text.lstrip().startswith("["):
        try:
            found = [(f"{path.name}, row {number}", value) for number, value in enumerate(json.loads(text), 1)]
        except json.JSONDecodeError as error:
            raise InputError(path.name, expected="a list of JSON objects", got=str(error), remedy="write an object a line") from error
    else:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"{path.name}, line {number}"
                try:
                    found.append((place, json.loads(line)))
                except json.JSONDecodeError as error:
                    found.append((place, InputError(place, expected="a JSON object", got=str(error), remedy="write one object a line")))
    names = list(dict.fromkeys(name for _, value in found if isinstance(value, dict) for name in value))
    records: list[Record] = []
    for place, value in found:
        if isinstance(value, dict):
            records.append((place, [value.get(name) for name in names]))
        elif isinstance(value, InputError):
            records.append((place, value))
        else:
            got = type(value).__name__
            records.append((place, InputError(place, expected="a JSON object", got=got, remedy='as {"path": "a.wav", "emotion": "joy"}')))
    return names, records


def _parquet(path: Path) -> tuple[dict[str, int], list[str], list[Record]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        columns, ignored = _columns(names)
        kind = file.schema_arrow.field(columns["path"]).type if "path" in columns else pa.string()
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            got = f"the column {names[columns['path']]} of {kind}"
            raise InputError(
                path.name, expected="paths of recordings", got=got, remedy="write the recordings to files, their paths to path"
            )
        table = file.read(columns=[names[at] for at in columns.values()]) if columns else None
    except (pa.ArrowException, OSError) as error:
        raise InputError(path.name, expected="a parquet file", got=str(error), remedy="write it again") from error
    read = {name: table[names[at]].to_pylist() for name, at in columns.items()} if table is not None else {}
    _numbered(columns, ignored, names, read.get("turn", []))
    values = [read[name] for name in columns]
    rows = enumerate(zip(*values, strict=True), 1) if values else ((number, ()) for number in range(1, file.metadata.num_rows + 1))
    return {name: at for at, name in enumerate(columns)}, ignored, [(f"{path.name}, row {number}", cells) for number, cells in rows]
