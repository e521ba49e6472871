"""Reads tables from files: finds the column of each field, and the place of each row.

A broken row is reported, and the others are read.
"""

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
"""The fields of a row, and the names that the column of a field may have, in any case.

Of several names the first that a table has is used.
"""

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
EMPTY = ("", "nan", "<na>")
"""What an empty cell may contain."""

PLAIN = ".txt"
"""Ending of text files that may be tables: one is read as a table if the user names it, or if it lists recordings."""

SAMPLE_ROWS = 200
"""How many rows are used to guess what an unknown column holds."""

Record = tuple[str, Sequence[Any] | InputError]
"""The place of a row in its file, and its cells or the error in it."""


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Args:
        columns: the position of each field in a row's cells.
        names: the names of all columns, as they are written.
        ignored: the names of columns that hold no field.
        records: one for each row.
        guesses: fields without a column of their name, and the column that seems to hold each.
        codes: the column that seems to hold codes of emotions, and these codes; None if there is none, or if a column
            of emotions was found or guessed.

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
    """Read a table in any of the formats in `SUFFIXES`, or in a .txt file.

    The column of a field is found by its name (`COLUMNS`), unless `columns` names it. An utterance_id that is not a
    number is not used as the turn. An id that more than two rows share on average does not identify rows, and is
    ignored.

    Args:
        path: of the file.
        columns: the column of each field whose column has a name that is not in `COLUMNS`; an empty name or None means
            that no column holds the field.
        folder: recordings that an unknown column may name are searched for below this folder; None: the table's folder.

    Raises:
        InputError: the file is no table, is empty, has another encoding, or lacks a column that `columns` names.
    """
    folder = folder or path.parent
    requested = dict(columns or {})
    for field in requested:
        if field not in COLUMNS:
            remedy = did_you_mean(field, COLUMNS, "say FIELD=COLUMN")
            raise InputError(
                "columns", expected=f"fields ({', '.join([*COLUMNS, 'root'])})", got=repr(field), remedy=remedy
            )
    return _parquet(path, requested, folder) if path.suffix.lower() == ".parquet" else _written(path, requested, folder)


def write_cells(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a .csv, .tsv, .jsonl or .parquet of these columns for `read_table`.

    A table that fails is not left behind in part.

    Raises:
        InputError: the file cannot be written.
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
    # with this line end the writer quotes every line end in a cell; without quotes a lone \r would end the row
    writer = csv.writer(buffer, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\r\n")
    for cells in itertools.chain([names], ([row[name] for name in names] for row in rows)):
        writer.writerow(cells)
        yield buffer.getvalue()[:-2] + "\n"
        buffer.seek(0)
        buffer.truncate()


def columns_option(pairs: Iterable[str]) -> dict[str, str]:
    """The value of `--columns path=wav_name emotion=emo root=clips`, in the form that `read_manifest` takes.

    Raises:
        InputError: a part is not FIELD=COLUMN, or a field occurs twice. Unknown fields are reported when a table is
            read.

    Example:
        >>> from multimodal_ser.corpora.tables import columns_option
        >>> columns_option(["path=wav_name", "emotion=emo code", "id="])
        {'path': 'wav_name', 'emotion': 'emo code', 'id': ''}
    """
    columns: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not name.strip() or name.strip() in columns:
            expected = "FIELD=COLUMN, each field once, as path=wav_name"
            raise InputError(
                "--columns", expected=expected, got=repr(pair), remedy=f"fields are {', '.join([*COLUMNS, 'root'])}"
            )
        columns[name.strip()] = column
    return columns


def is_blank(value: Any) -> bool:
    """Whether a cell is empty."""
    return is_missing(value) or (isinstance(value, str) and value.strip().lower() in EMPTY)


def word(value: Any, place: str) -> str | None:
    """The text of a cell, or None for an empty cell; anything else is an InputError that names the place."""
    if is_blank(value):
        return None
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers with gaps, as pandas writes it
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | numbers.Number):
        raise InputError(place, expected="text", got=type(value).__name__, remedy="write it as text")
    return str(value).strip()


def number(value: Any, place: str) -> float | None:
    """The number of a cell, or None for an empty cell; anything else is an InputError that names the place."""
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


def _columns(names: Sequence[Any], requested: Mapping[str, str | None], file: str) -> tuple[dict[str, int], list[str]]:
    """The position of each field, and the names of the other columns."""
    titles = [str(name).strip() for name in names]
    plain = [_plain(name) for name in names]
    positions: dict[str, int] = {}
    for field, column in requested.items():
        if column and column.strip() in titles:
            positions[field] = titles.index(column.strip())
        elif column and _plain(column) in plain:
            positions[field] = plain.index(_plain(column))
        elif column:
            close = closest(column, titles)
            remedy = f"{f'did you mean {field}={close}? ' if close else ''}it has {_listed(titles)}"
            raise InputError(
                file, expected=f"a column {column!r}, as the option columns says", got="none", remedy=remedy
            )
    free = [at for at in range(len(names)) if at not in positions.values()]
    for field, synonyms in COLUMNS.items():
        if field not in requested:
            at = next((at for synonym in synonyms for at in free if plain[at] == synonym), None)
            if at is not None:
                positions[field] = at
    return {field: positions[field] for field in COLUMNS if field in positions}, [
        name for at, name in enumerate(titles) if at not in positions.values()
    ]


def _table(
    names: Sequence[Any],
    records: list[Record],
    requested: Mapping[str, str | None],
    path: Path,
    folder: Path,
    head: Sequence | None = None,
) -> Table:
    """Find the columns; columns with the name of a field but other contents are ignored."""
    columns, ignored = _columns(names, requested, path.name)
    titles = [str(name).strip() for name in names]
    complete = [cells for _, cells in records if not isinstance(cells, InputError)]

    def filled(field: str) -> list[Any]:
        return [cells[columns[field]] for cells in complete if not is_blank(cells[columns[field]])]

    if "turn" in columns and "turn" not in requested and _plain(names[columns["turn"]]) not in ("turn", "turn_id"):
        try:  # in many corpora utterance_id is a name; the first filled cell decides
            number(next(iter(filled("turn")), None), "")
        except InputError:
            ignored.append(titles[columns.pop("turn")])
    if "id" in columns and "id" not in requested:
        shared = Counter(map(str, filled("id")))
        if 2 * len(shared) < shared.total():
            ignored.append(titles[columns.pop("id")])
    samples = [
        [str(cell).strip() for cell in column if not is_blank(cell)] for column in _columnwise(titles, complete, head)
    ]
    guesses = guess_columns(titles, columns, requested, samples, folder)
    has_emotions = "emotion" in {*columns, *guesses, *requested}
    return Table(
        columns, titles, ignored, records, guesses, None if has_emotions else guess_codes(titles, columns, samples)
    )


def _columnwise(names: Sequence[str], complete: Sequence[Any], head: Sequence | None) -> list[list[Any]]:
    rows = complete[:SAMPLE_ROWS] if head is None else head
    return [[cells[at] for cells in rows] for at in range(len(names))]


def _written(path: Path, requested: Mapping[str, str | None], folder: Path) -> Table:
    """Read a table in a text file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            path.name, expected="a file that can be read", got=error.strerror or "an error", remedy="check it"
        ) from error
    # bytes that are not UTF-8 are kept as surrogates, and reported in the row that holds them
    text = content.decode("utf-8-sig", errors="surrogateescape")
    lines = list(io.StringIO(text, newline=""))
    encoding_error = InputError(
        path.name, expected="a table in UTF-8", got="another encoding", remedy="save it as UTF-8"
    )
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or (lines and ("\0" in lines[0] or _broken([lines[0]]))):
        raise encoding_error
    json_lines = path.suffix.lower() not in (".csv", ".tsv", PLAIN)
    names, records = _objects(path, text, lines, requested) if json_lines else _separated(path, lines)
    broken = [_broken(cells) for _, cells in records]
    if any(broken):
        foreign = sum(broken) > 1 and not any(
            not bad
            and not isinstance(cells, InputError)
            and any(isinstance(cell, str) and not cell.isascii() for cell in cells)
            for bad, (_, cells) in zip(broken, records, strict=True)
        )
        if foreign or all(broken):
            raise encoding_error
    table = _table(names, records, requested, path, folder)
    for at, bad in enumerate(broken):
        place, cells = records[at]
        if bad and not isinstance(cells, InputError):
            field = next((field for field, column in table.columns.items() if _broken([cells[column]])), None)
            if field is not None:  # else the bytes are in a column that is not used
                remedy = "save the file as UTF-8"
                records[at] = (
                    place,
                    InputError(f"{place}, {field}", expected="UTF-8", got="bytes of another encoding", remedy=remedy),
                )
    return table


def _broken(cells: Sequence[Any] | InputError) -> bool:
    """Whether some cells hold bytes that are not UTF-8."""
    if isinstance(cells, InputError):
        return False
    try:
        "".join(cell for cell in cells if isinstance(cell, str)).encode()
    except UnicodeEncodeError:
        return True
    return False


def _separated(path: Path, lines: Sequence[str]) -> tuple[list[str], list[Record]]:
    """Read the rows of a .csv (its header shows the delimiter) or .tsv."""
    header = next((line for line in lines if line.strip()), "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    names: list[str] = []
    records: list[Record] = []
    for line, cells in _cut(lines, delimiter):
        place = f"{path.name}, line {line}"
        if isinstance(cells, str):
            error = InputError(
                place,
                expected="cells, each in a pair of quotes or without",
                got=cells,
                remedy="write a quote in a text twice",
            )
            if not names:
                raise error
            records.append((place, error))
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
    """The first line (from 1) of each row, and its cells or the error.

    A quote that does not close loses only its own line.
    """
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
            # tab-separated files are often written without any quoting
            yield at + 1, whole if delimiter == "\t" else str(error)
            at += 1


def _objects(
    path: Path, text: str, lines: Sequence[str], requested: Mapping[str, str | None]
) -> tuple[list[str], list[Record]]:
    """Read the rows of JSON lines, or of a list of objects."""
    objects: list[tuple[str, Any]] = []
    if text.lstrip().startswith("["):
        try:
            objects = [(f"{path.name}, row {number}", value) for number, value in enumerate(json.loads(text), 1)]
        except json.JSONDecodeError as error:
            raise InputError(
                path.name, expected="a list of JSON objects", got=str(error), remedy="write an object a line"
            ) from error
    else:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"{path.name}, line {number}"
                try:
                    objects.append((place, json.loads(line)))
                except json.JSONDecodeError as error:
                    objects.append(
                        (
                            place,
                            InputError(
                                place, expected="a JSON object", got=str(error), remedy="write one object a line"
                            ),
                        )
                    )
    counts = Counter(name for _, value in objects if isinstance(value, dict) for name in value)
    names = list(counts)
    ignored = _columns(names, requested, path.name)[1]
    records: list[Record] = []
    for place, value in objects:
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
    """The error for a key that most other objects spell differently; None if there is none.

    Without the error, the value of the key would be lost silently.
    """
    for name in value:
        if name.strip() not in ignored:
            continue
        usual = [key for key in counts if key not in value and key not in ignored and counts[key] > 2 * counts[name]]
        same = [
            key for key in usual if any({_plain(key), _plain(name)} <= {*synonyms} for synonyms in COLUMNS.values())
        ]
        correction = same[0] if same else closest(name, usual, similarity=0.75)
        if correction is not None:
            remedy = "rename it as in the other rows"
            return InputError(
                f"{place}, {name}", expected=f"the key {correction}", got=f"the key {name}", remedy=remedy
            )
    return None


def _parquet(path: Path, requested: Mapping[str, str | None], folder: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        kinds = file.schema_arrow.types
        columns, _ = _columns(names, requested, path.name)
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
        first = next(file.iter_batches(SAMPLE_ROWS, columns=words), None) if words else None
    except (pa.ArrowException, OSError) as error:
        raise InputError(path.name, expected="a parquet file", got=str(error), remedy="write it again") from error
    count = file.metadata.num_rows

    def cells(batch: Any, present: Iterable[str], rows: int) -> list[tuple[Any, ...]]:
        """The value of each column of each row, None in columns that were not read."""
        values = {name: batch[name].to_pylist() for name in present}
        return (
            list(zip(*(values.get(name, [None] * rows) for name in names), strict=True))
            if values
            else [(None,) * len(names)] * rows
        )

    rows = cells(table, [names[at] for at in columns.values()], count)
    head = [] if first is None else cells(first, words, len(first))
    return _table(
        names, [(f"{path.name}, row {at}", values) for at, values in enumerate(rows, 1)], requested, path, folder, head
    )


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
