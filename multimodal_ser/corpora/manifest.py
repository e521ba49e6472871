"""Reads and writes manifests: tables of recordings and texts with their annotations.

Each row that cannot be used is reported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.folders import read_folder
from multimodal_ser.corpora.guesses import columns_to_say
from multimodal_ser.corpora.paths import Places, foreign_folder, table_inside, tables_in
from multimodal_ser.corpora.rows import Manifest, ManifestRow
from multimodal_ser.corpora.tables import (
    COLUMNS,
    PLAIN,
    SUFFIXES,
    Table,
    is_blank,
    number,
    read_table,
    word,
    write_cells,
)
from multimodal_ser.corpora.targets import is_annotated
from multimodal_ser.errors import InputError
from multimodal_ser.labels import is_emotion

WORDS = (
    "id",
    "emotion",
    "text",
    "sentence",
    "speaker",
    "session",
    "split",
    "dialogue",
    "language",
    "gender",
    "intensity",
    "corpus",
)


def read_manifest(
    source: str | os.PathLike, *, check_files: bool = True, columns: Mapping[str, str | None] | None = None
) -> Manifest:
    """Read a table, or a folder of recordings (see `folders.read_folder`).

    Relative paths in a table start at the table's own folder. Start and end are used only for rows with a recording,
    because corpora of texts often give times in a film. If two rows have the same part of the same recording and the
    same words, only the first row is kept. Rows without a recording are the same only if their dialogue and turn are
    the same too, because people do say "Okay." twice.

    Args:
        source: a table in UTF-8: .csv, .tsv, .jsonl (.ndjson; .json: lines or a list) or .parquet. Or a folder: the
            table in it that is called manifest is read, else its recordings.
        check_files: whether each recording must exist.
        columns: the columns of fields whose names this library does not know (see `tables.COLUMNS`), as {"path":
            "wav_name", "emotion": "emo"}. An empty name means that no column holds the field. "root" is the folder in
            which paths start, relative to the table's folder. If "path" is among the fields, the table may name
            recordings without their folder or ending: they are searched for in all folders below. In that case the
            only table in a folder is read, whatever its name is.

    Returns:
        The rows, and an error for each row that cannot be used.

    Raises:
        InputError: the file does not exist, is no table, is empty, has another encoding, or has neither paths nor
            texts; or a column of `columns` does not exist. The message says which `columns` to give.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import read_manifest
        >>> table = Path(tempfile.mkdtemp(), "labels.csv")
        >>> _ = table.write_text("wav_name,emo\\na.wav,joy\\n")
        >>> try:
        ...     read_manifest(table)
        ... except ValueError as error:
        ...     print(error)
        labels.csv: expected a column path or text, got the columns wav_name, emo; say which it is: --columns path=wav_name emotion=emo
        >>> read_manifest(table, check_files=False, columns={"path": "wav_name", "emotion": "emo"}).rows[0].emotion
        'joy'
    """
    requested = dict(columns or {})
    path = Path(os.path.abspath(source))
    if path.is_dir():
        inside = table_inside(path, bool(requested))
        if inside is None:
            return read_unnamed_folder(path)
        path = inside
    if not path.is_file():
        raise InputError(
            str(source), expected="a manifest or a folder of recordings", got="no such file", remedy="check the path"
        )
    if path.suffix.lower() not in (*SUFFIXES, PLAIN):
        got = f"a {path.suffix} file" if path.suffix else "a file without an ending"
        raise InputError(
            str(source),
            expected=f"a folder, or a table ({', '.join(SUFFIXES)})",
            got=got,
            remedy="write a manifest of it",
        )
    folder = path.parent / (requested.pop("root", None) or "")
    if not folder.is_dir():
        remedy = f"give one that is there; a relative one starts at {path.parent}"
        raise InputError("columns, root", expected="a folder", got=f"no folder {folder}", remedy=remedy)
    table = read_table(path, requested, folder)
    if not table.records:
        raise InputError(path.name, expected="at least one row", got="none", remedy="fill the table")
    if not {"path", "text"} & set(table.columns):
        got = f"the columns {', '.join(table.names) or 'none'}"
        option = columns_to_say(table.columns, table.guesses, table.codes) if table.guesses or table.codes else ""
        remedy = f"say which it is: {option or '--columns path=COLUMN or text=COLUMN'}"
        raise InputError(path.name, expected="a column path or text", got=got, remedy=remedy)
    rows, errors = _checked_rows(table, Places(folder, check_files, "path" in requested))
    return Manifest(tuple(rows), tuple(errors), path, tuple(table.ignored), _guess_notes(table, rows, path.name))


def _guess_notes(table: Table, rows: Iterable[ManifestRow], file: str) -> tuple[str, ...]:
    """Notes on unknown columns that seem to hold recordings or emotions; codes only if no row is annotated."""
    guesses = {
        name: column for name, column in table.guesses.items() if name != "emotion" or "votes" not in table.columns
    }
    annotated = any(map(is_annotated, rows))
    if guesses:
        kinds = " and of ".join({"path": "recordings", "emotion": "emotions"}[name] for name in guesses)
        seem = " and ".join(map(repr, guesses.values())) + (" seem" if len(guesses) > 1 else " seems")
        option = columns_to_say({*table.columns, *(["emotion"] if annotated else [])}, guesses, table.codes)
        return (f"{file} has no column of {kinds} by name, but {seem} to hold some: {option}",)
    if table.codes and not annotated:
        option = columns_to_say(table.columns, {}, table.codes)
        return (f"{file} has no column of emotions by name; if {table.codes[0]!r} holds codes of some: {option}",)
    return ()


def read_unnamed_folder(path: Path) -> Manifest:
    """Read a folder of recordings that has no table called manifest.

    If other tables lie in the folder and its subfolders are not named after emotions, the names of the subfolders are
    not taken for emotions: the annotation is probably in the tables.

    Raises:
        InputError: the folder has such tables; the message says how to read them. Else see `folders.read_folder`.
    """
    tables = tables_in(path)
    try:
        manifest = read_folder(path)
        if not tables or any(is_emotion(row.emotion or "") for row in manifest.rows):
            return manifest
    except InputError:
        if not tables:
            raise
    raise foreign_folder(path, tables)


def _checked_rows(table: Table, recordings: Places) -> tuple[list[ManifestRow], list[InputError]]:
    rows: list[ManifestRow] = []
    errors: list[InputError] = []
    places: dict[tuple, str] = {}
    ids: dict[tuple[str | None, str], str] = {}
    for place, cells in table.records:
        try:
            if isinstance(cells, InputError):
                raise cells
            row = _row({name: cells[at] for name, at in table.columns.items()}, place, recordings)
            if row.id is not None and (row.corpus, row.id) in ids:
                got = f"{row.id!r}, as in {ids[row.corpus, row.id].split(', ')[-1]}"
                raise InputError(
                    f"{place}, id",
                    expected="an id of its own",
                    got=got,
                    remedy="give each row another, or drop one of them; if the column names no rows: --columns id=",
                )
            key = _key(row)
            if key in places:
                remedy = "drop one of them; what several annotators said belongs in one row, in votes"
                raise InputError(
                    place, expected="each row once", got=f"the same as {places[key].split(', ')[-1]}", remedy=remedy
                )
        except InputError as error:
            errors.append(error)
            continue
        if row.id is not None:
            ids[row.corpus, row.id] = place
        if key is not None:
            places[key] = place
        rows.append(row)
    return rows, errors


def _key(row: ManifestRow) -> tuple | None:
    """A key that no two rows of a manifest share; None if the row may occur twice."""
    if row.path is not None:
        return os.path.normpath(row.path), row.start, row.end, row.text
    if row.dialogue is None or row.turn is None:
        return None
    return row.split, row.language, row.dialogue, row.turn, row.text


def _row(cells: Mapping[str, Any], place: str, recordings: Places) -> ManifestRow:
    for name, value in cells.items():
        if isinstance(value, str) and "\0" in value:
            remedy = f"delete the NUL in {place.rpartition(', ')[2]} (many editors show it as ^@)"
            raise InputError(f"{place}, {name}", expected="text", got="a NUL character", remedy=remedy)
        if isinstance(value, str) and name != "text" and "\n" in value.strip():
            remedy = "look for a quote that opens here and closes lines later"
            raise InputError(f"{place}, {name}", expected="a line", got="several", remedy=remedy)
    values: dict[str, Any] = {name: word(cells.get(name), f"{place}, {name}") for name in WORDS}
    values["emotion"] = "|".join(part.strip() for part in (values["emotion"] or "").split("|") if part.strip()) or None
    path = word(cells.get("path"), f"{place}, path")
    if path is None and values["text"] is None:
        raise InputError(
            place, expected="a path or a text", got="neither", remedy="fill one of them in, or drop the row"
        )
    if path is not None:
        values["path"] = recordings.find(path, f"{place}, path")
        start, end = (number(cells.get(name), f"{place}, {name}") for name in ("start", "end"))
        if start is not None and start < 0:
            raise InputError(
                f"{place}, start",
                expected="0 s or later",
                got=f"{start:g} s",
                remedy="leave it empty for the beginning",
            )
        if end is not None and end <= (start or 0):
            expected = f"a time after the start, {start or 0:g} s"
            raise InputError(
                f"{place}, end", expected=expected, got=f"{end:g} s", remedy="leave it empty for the recording's end"
            )
        values |= {"start": start, "end": end}
    turn = number(cells.get("turn"), f"{place}, turn")
    if turn is not None and turn != int(turn):
        raise InputError(
            f"{place}, turn", expected="a whole number", got=f"{turn:g}", remedy="count the turns of the dialogue"
        )
    values["turn"] = None if turn is None else int(turn)
    values |= {name: number(cells.get(name), f"{place}, {name}") for name in ("arousal", "valence", "dominance")}
    return ManifestRow(
        **values, votes=_votes(cells.get("votes"), f"{place}, votes"), place=place, folder=recordings.folder
    )


def _votes(value: Any, place: str) -> dict[str, float] | None:
    if is_blank(value):
        return None
    error = InputError(
        place,
        expected="how many chose each emotion, as anger:3|neutral:2 or a JSON object",
        got=repr(value),
        remedy="name each emotion once, with a number above 0 for one of them",
    )
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise error from None
    pairs: list[tuple[Any, Any]]
    if isinstance(value, str):
        pairs = [(name, votes) for name, _, votes in (part.rpartition(":") for part in value.split("|"))]
    elif isinstance(value, Mapping):
        # a struct of parquet names all emotions in each row
        pairs = [(name, votes) for name, votes in value.items() if votes is not None]
    else:
        raise error
    counts: dict[str, float] = {}
    for name, votes in pairs:
        name = str(name).strip()
        try:
            count = number(votes, place)
        except InputError:
            raise error from None
        if not name or name in counts or count is None or count < 0:
            raise error
        counts[name] = count
    if not any(counts.values()):
        raise error
    return {name: number for name, number in counts.items() if number}


def write_manifest(rows: Iterable[ManifestRow], path: str | os.PathLike) -> Path:
    """Write rows as a table from which `read_manifest` reads equal rows; a table that fails is not left behind in part.

    Paths below the table's folder are written relative to it, others as absolute paths. Reading strips the words, and
    a text that is only "nan" is read as no text.

    Args:
        rows: rows of any manifest.
        path: a file that ends in .csv, .tsv, .jsonl or .parquet; its folder is created. Columns that are empty in all
            rows are left out.

    Returns:
        The path of the table.

    Raises:
        InputError: the ending is another one, the file cannot be written, or UTF-8 cannot hold a name or a text.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow, read_manifest, write_manifest
        >>> folder = Path(tempfile.mkdtemp())
        >>> rows = [ManifestRow(path=folder / "audio" / "a.wav", emotion="joy"), ManifestRow(text="Oh no.", votes={"fear": 2})]
        >>> table = write_manifest(rows, folder / "manifest.csv")
        >>> print(table.read_text().splitlines()[0])
        path,emotion,text,votes
        >>> read_manifest(table, check_files=False).rows == tuple(rows)
        True
    """
    target = Path(os.path.abspath(path))
    kind = target.suffix.lower()
    if kind not in (".csv", ".tsv", ".jsonl", ".parquet"):
        raise InputError(
            str(path),
            expected="a file that ends in .csv, .tsv, .jsonl or .parquet",
            got=kind or "no ending",
            remedy="name it so",
        )
    names = {
        name: "sentence_id" if name == "sentence" else name for name in COLUMNS
    }  # a column "sentence" is read as the words
    table = [{names[name]: _cell(row, name, target.parent) for name in COLUMNS} for row in rows]
    filled = [name for name in names.values() if any(line[name] is not None for line in table)] or ["path", "emotion"]
    write_cells(target, filled, table)
    return target


def _cell(row: ManifestRow, name: str, folder: Path) -> Any:
    value = getattr(row, name)
    try:
        str(value).encode()
    except UnicodeEncodeError:
        place = f"{row.place or ascii(row.name)}, {name}"
        raise InputError(
            place, expected="UTF-8", got="bytes of another encoding", remedy="rename it, or save it as UTF-8"
        ) from None
    if name == "path" and value is not None:
        path = value.absolute()  # as it is written: links are not resolved
        return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
    if name == "votes" and value:
        return json.dumps(dict(value), ensure_ascii=False)
    return value
