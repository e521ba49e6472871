"""Tables in files: which column says what, and where each row stands; a row that is broken is named, the others are read."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import numbers
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from multimodal_ser._files import writing
from multimodal_ser.corpora.guesses import guess_codes, guess_columns
from multimodal_ser.errors import InputError, closest, did_you_mean
from multimodal_ser.inference.inputs import is_missing

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "id": ("id", "row_id", "utt_id", "uttid"),
        "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path", "wav"),
        "emotion": ("emotion", "label"),
        "text": ("text", "sentence", "transcript", "transcription", "utterance"),
        "sentence": ("sentence_id", "sentence_code"),
        "speaker": ("speaker", "speaker_id"),
        "session": ("session", "session_id"),
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

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
EMPTY = ("", "nan", "<na>")
"""What a cell says that tells nothing."""

PLAIN = ".txt"
"""Ending of what may be a table too: it is read as one where it is named, and where it lies alone beside recordings."""

LOOKED_AT = 200
"""Rows from which is guessed what an unknown column holds."""

Record = tuple[str, Sequence[Any] | InputError]
"""Where a row stands, and its cells or what is wrong with it."""


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Args:
        columns: where in a row's cells each field stands.
        names: of all columns, as they are written.
        ignored: those that hold no field.
        records: a row each.
        guesses: fields that no column was found for, and the column that seems to hold them.
        codes: where no column of emotions was found or guessed, the one that seems to hold codes of some, and which.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.tables import read_table
        >>> path = Path(tempfile.mkdtemp(), "labels.csv")
        >>> _ = path.write_text("wav_name,emo,room\\na.wav,joy,12\\n")
        >>> read_table(path).guesses
        {'path': 'wav_name', 'emotion': 'emo'}
        >>> table = read_table(path, {"path": "wav_name", "emotion": "emo"})
        >>> table.columns, table.ignored, table.records
        ({'path': 0, 'emotion': 1}, ['room'], [('labels.csv, line 2', ['a.wav', 'joy', '12'])])
    """

    columns: dict[str, int]
    names: list[str]
    ignored: list[str]
    records: list[Record]
    guesses: dict[str, str]
    codes: tuple[str, tuple[str, ...]] | None = None


def read_table(path: Path, columns: Mapping[str, str | None] | None = None, folder: Path | None = None) -> Table:
    """A table of any of the forms in `SUFFIXES`, or one in a .txt.

    Without being told, a column is known by its name (`COLUMNS`). An utterance_id that is no number tells no turn. An id that more
    than two rows share on average is no name of a row, and is ignored.

    Args:
        path: of the file.
        columns: the name of the column that holds a field, for fields whose column has another name than `COLUMNS` knows; an empty one
            or None: no column does.
        folder: below which recordings are looked for that an unknown column may name; None: that of the table.

    Raises:
        InputError: no table, an empty one, in another encoding, or without a column that `columns` names.
    """
    folder = folder or path.parent
    asked = dict(columns or {})
    for field in asked:
        if field not in COLUMNS:
            remedy = did_you_mean(field, COLUMNS, "say FIELD=COLUMN")
            raise InputError(
                "columns", expected=f"fields ({', '.join([*COLUMNS, 'root'])})", got=repr(field), remedy=remedy
            )
    return _parquet(path, asked, folder) if path.suffix.lower() == ".parquet" else _written(path, asked, folder)


def write_cells(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a .csv, .tsv, .jsonl or .parquet of these columns that `read_table` reads back; it is there whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as place:
            if path.suffix.lower() == ".parquet":
                import pyarrow as pa
                import pyarrow.parquet as pq

                cells = {name: [row[name] for row in rows] for name in names}
                kinds = {name: None if any(cell is not None for cell in cells[name]) else pa.string() for name in names}
                pq.write_table(pa.table({name: pa.array(cells[name], kinds[name]) for name in names}), place)
            else:
                with place.open("w", encoding="utf-8", newline="") as file:
                    file.writelines(_lines(names, rows, path.suffix.lower()))
    except OSError as error:
        raise InputError(
            str(path), expected="a file that can be written", got=error.strerror or "an error", remedy="check it"
        ) from error


def _lines(names: Sequence[str], rows: Iterable[Mapping[str, Any]], suffix: str) -> Iterator[str]:
    if suffix not in (".csv", ".tsv"):
        for row in rows:
            yield json.dumps({name: row[name] for name in names if row[name] is not None}, ensure_ascii=False) + "\n"
        return
    buffer = io.StringIO(newline="")
    # with this line end the writer puts quotes around every line end in a cell; a lone \r in it would end the row otherwise
    writer = csv.writer(buffer, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\r\n")
    for cells in itertools.chain([names], ([row[name] for name in names] for row in rows)):
        writer.writerow(cells)
        yield buffer.getvalue()[:-2] + "\n"
        buffer.seek(0)
        buffer.truncate()


def columns_option(pairs: Iterable[str]) -> dict[str, str]:
    """What `--columns path=wav_name emotion=emo root=clips` says, as `read_manifest` takes it.

    Raises:
        InputError: something that is no FIELD=COLUMN, or a field twice. Unknown fields are told when a table is read.

    Example:
        >>> from multimodal_ser.corpora.tables import columns_option
        >>> columns_option(["path=wav_name", "emotion=emo code", "id="])
        {'path': 'wav_name', 'emotion': 'emo code', 'id': ''}
    """
    told: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not name.strip() or name.strip() in told:
            expected = "FIELD=COLUMN, each field once, as path=wav_name"
            raise InputError(
                "--columns", expected=expected, got=repr(pair), remedy=f"fields are {', '.join([*COLUMNS, 'root'])}"
            )
        told[name.strip()] = column
    return told


def is_blank(value: Any) -> bool:
    """Whether a cell tells nothing."""
    return is_missing(value) or (isinstance(value, str) and value.strip().lower() in EMPTY)


def word(value: Any, place: str) -> str | None:
    """A cell of text, None for an empty one; an InputError that names the place for something else."""
    if is_blank(value):
        return None
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers with gaps, as pandas writes it
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | numbers.Number):
        raise InputError(place, expected="text", got=type(value).__name__, remedy="write it as text")
    return str(value).strip()


def number(value: Any, place: str) -> float | None:
    """A cell of a number, None for an empty one; an InputError that names the place for something else."""
    if is_blank(value):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        remedy = "write it with a point, or leave it empty"
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d+,\d+\s*", value):
            remedy = f"write {value.strip().replace(',', '.')}, with a point for the comma"
        raise InputError(place, expected="a number", got=repr(value), remedy=remedy)
    return number


def _plain(name: Any) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names[:30])) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _columns(names: Sequence[Any], asked: Mapping[str, str | None], file: str) -> tuple[dict[str, int], list[str]]:
    """Where each field stands, and the names of the other columns."""
    called, plain = [str(name).strip() for name in names], [_plain(name) for name in names]
    found: dict[str, int] = {}
    for field, column in asked.items():
        if column and column.strip() in called:
            found[field] = called.index(column.strip())
        elif column and _plain(column) in plain:
            found[field] = plain.index(_plain(column))
        elif column:
            close = closest(column, called)
            remedy = f"{f'did you mean {field}={close}? ' if close else ''}it has {_listed(called)}"
            raise InputError(
                file, expected=f"a column {column!r}, as the option columns says", got="none", remedy=remedy
            )
    free = [at for at in range(len(names)) if at not in found.values()]
    for field, synonyms in COLUMNS.items():
        if field not in asked:
            at = next((at for synonym in synonyms for at in free if plain[at] == synonym), None)
            if at is not None:
                found[field] = at
    return {field: found[field] for field in COLUMNS if field in found}, [
        name for at, name in enumerate(called) if at not in found.values()
    ]


def _table(
    names: Sequence[Any],
    records: list[Record],
    asked: Mapping[str, str | None],
    path: Path,
    folder: Path,
    head: Sequence | None = None,
) -> Table:
    """Find the columns; those that are named like a field and hold something else are ignored."""
    columns, ignored = _columns(names, asked, path.name)
    called = [str(name).strip() for name in names]
    whole = [cells for _, cells in records if not isinstance(cells, InputError)]

    def given(field: str) -> list[Any]:
        return [cells[columns[field]] for cells in whole if not is_blank(cells[columns[field]])]

    if "turn" in columns and "turn" not in asked and _plain(names[columns["turn"]]) not in ("turn", "turn_id"):
        try:  # many corpora's utterance_id is a name; the first that is given decides
            number(next(iter(given("turn")), None), "")
        except InputError:
            ignored.append(called[columns.pop("turn")])
    if "id" in columns and "id" not in asked:
        shared = Counter(map(str, given("id")))
        if 2 * len(shared) < shared.total():
            ignored.append(called[columns.pop("id")])
    looked_at = [
        [str(cell).strip() for cell in column if not is_blank(cell)] for column in _columnwise(called, whole, head)
    ]
    guesses = guess_columns(called, columns, asked, looked_at, folder)
    known = "emotion" in {*columns, *guesses, *asked}
    return Table(columns, called, ignored, records, guesses, None if known else guess_codes(called, columns, looked_at))


def _columnwise(names: Sequence[str], whole: Sequence[Any], head: Sequence | None) -> list[list[Any]]:
    rows = whole[:LOOKED_AT] if head is None else head
    return [[cells[at] for cells in rows] for at in range(len(names))]


def _written(path: Path, asked: Mapping[str, str | None], folder: Path) -> Table:
    """A table in a text file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            path.name, expected="a file that can be read", got=error.strerror or "an error", remedy="check it"
        ) from error
    text = content.decode(
        "utf-8-sig", errors="surrogateescape"
    )  # what is no UTF-8 is found again in the row that holds it
    lines = list(io.StringIO(text, newline=""))
    other = InputError(path.name, expected="a table in UTF-8", got="another encoding", remedy="save it as UTF-8")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or (lines and ("\0" in lines[0] or _broken([lines[0]]))):
        raise other
    json_lines = path.suffix.lower() not in (".csv", ".tsv", PLAIN)
    names, records = _objects(path, text, lines, asked) if json_lines else _separated(path, lines)
    broken = [_broken(cells) for _, cells in records]
    if any(broken):
        foreign = sum(broken) > 1 and not any(
            not bad
            and not isinstance(cells, InputError)
            and any(isinstance(cell, str) and not cell.isascii() for cell in cells)
            for bad, (_, cells) in zip(broken, records, strict=True)
        )
        if foreign or all(broken):
            raise other
    table = _table(names, records, asked, path, folder)
    for at, bad in enumerate(broken):
        place, cells = records[at]
        if bad and not isinstance(cells, InputError):
            field = next((field for field, column in table.columns.items() if _broken([cells[column]])), None)
            if field is not None:  # else it is in a column that nobody looks at
                remedy = "save the file as UTF-8"
                records[at] = (
                    place,
                    InputError(f"{place}, {field}", expected="UTF-8", got="bytes of another encoding", remedy=remedy),
                )
    return table


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
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    names: list[str] = []
    records: list[Record] = []
    for line, cells in _cut(lines, delimiter):
        place = f"{path.name}, line {line}"
        if isinstance(cells, str):
            wrong = InputError(
                place,
                expected="cells, each in a pair of quotes or without",
                got=cells,
                remedy="write a quote in a text twice",
            )
            if not names:
                raise wrong
            records.append((place, wrong))
        elif not any(cell.strip() for cell in cells):
            continue
        elif not names:
            names = cells
        elif len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
            remedy = f"put quotes around what holds {'a tab' if delimiter == chr(9) else delimiter!r}; leave no cell out ({_listed(names)})"
            records.append(
                (place, InputError(place, expected=f"{len(names)} cells", got=str(len(cells)), remedy=remedy))
            )
        else:
            records.append((place, cells))
    return names, records


def _cut(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Each row's first line (from 1) and its cells, or what is wrong. A quote that does not close costs its own line, no more."""
    at = 0
    while at < len(lines):
        done = 0
        reader = csv.reader(
            itertools.islice(lines, at, None), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True
        )
        try:
            for cells in reader:
                yield at + done + 1, cells
                done = reader.line_num
            return
        except csv.Error as error:
            at += done
            whole = lines[at].rstrip("\r\n").split(delimiter)
            yield (
                at + 1,
                whole if delimiter == "\t" else str(error),
            )  # tab-separated files are often written without any quoting
            at += 1


def _objects(
    path: Path, text: str, lines: Sequence[str], asked: Mapping[str, str | None]
) -> tuple[list[str], list[Record]]:
    """Rows of JSON lines, or of a list of objects."""
    found: list[tuple[str, Any]] = []
    if text.lstrip().startswith("["):
        try:
            found = [(f"{path.name}, row {number}", value) for number, value in enumerate(json.loads(text), 1)]
        except json.JSONDecodeError as error:
            raise InputError(
                path.name, expected="a list of JSON objects", got=str(error), remedy="write an object a line"
            ) from error
    else:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"{path.name}, line {number}"
                try:
                    found.append((place, json.loads(line)))
                except json.JSONDecodeError as error:
                    found.append(
                        (
                            place,
                            InputError(
                                place, expected="a JSON object", got=str(error), remedy="write one object a line"
                            ),
                        )
                    )
    counts = Counter(name for _, value in found if isinstance(value, dict) for name in value)
    names = list(counts)
    ignored = _columns(names, asked, path.name)[1]
    records: list[Record] = []
    for place, value in found:
        if isinstance(value, dict):
            records.append((place, _misnamed(value, place, counts, ignored) or [value.get(name) for name in names]))
        elif isinstance(value, InputError):
            records.append((place, value))
        else:
            got = type(value).__name__
            records.append(
                (
                    place,
                    InputError(
                        place, expected="a JSON object", got=got, remedy='as {"path": "a.wav", "emotion": "joy"}'
                    ),
                )
            )
    return names, records


def _misnamed(
    value: Mapping[str, Any], place: str, counts: Mapping[str, int], ignored: Sequence[str]
) -> InputError | None:
    """A key of this object that most others write otherwise: what it holds would be lost without a word."""
    for name in value:
        if name.strip() not in ignored:
            continue
        usual = [
            known
            for known in counts
            if known not in value and known not in ignored and counts[known] > 2 * counts[name]
        ]
        same = [
            known
            for known in usual
            if any({_plain(known), _plain(name)} <= {*synonyms} for synonyms in COLUMNS.values())
        ]
        meant = same[0] if same else closest(name, usual, similarity=0.75)
        if meant is not None:
            remedy = "rename it as in the other rows"
            return InputError(f"{place}, {name}", expected=f"the key {meant}", got=f"the key {name}", remedy=remedy)
    return None


def _parquet(path: Path, asked: Mapping[str, str | None], folder: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names, kinds = file.schema_arrow.names, file.schema_arrow.types
        columns, _ = _columns(names, asked, path.name)
        words = [name for name, kind in zip(names, kinds, strict=True) if _is_text(kind)]
        if "path" in columns and names[columns["path"]] not in words:
            got = f"the column {names[columns['path']]} of {kinds[columns['path']]}"
            raise InputError(
                path.name,
                expected="paths of recordings",
                got=got,
                remedy="write the recordings to files, their paths to path",
            )
        table = file.read(columns=[names[at] for at in columns.values()]) if columns else None
        first = next(file.iter_batches(LOOKED_AT, columns=words), None) if words else None
    except (pa.ArrowException, OSError) as error:
        raise InputError(path.name, expected="a parquet file", got=str(error), remedy="write it again") from error
    count = file.metadata.num_rows

    def cells(batch: Any, known: Iterable[str], rows: int) -> list[tuple[Any, ...]]:
        """A value for each column, None for those that were not read."""
        read = {name: batch[name].to_pylist() for name in known}
        return (
            list(zip(*(read.get(name, [None] * rows) for name in names), strict=True))
            if read
            else [(None,) * len(names)] * rows
        )

    rows = cells(table, [names[at] for at in columns.values()], count)
    head = [] if first is None else cells(first, words, len(first))
    return _table(
        names, [(f"{path.name}, row {at}", values) for at, values in enumerate(rows, 1)], asked, path, folder, head
    )


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
