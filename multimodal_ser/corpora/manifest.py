"""Manifests: a table of recordings and texts with what was annotated becomes rows; each bad row is named, the others are kept."""

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

    Relative paths in a table start at the table's own folder. Times count only where there is a recording: corpora of texts
    often give places in a film. Of the same part of the same recording with the same words only the first row is kept; words alone
    are the same row only where dialogue and turn are the same: people do say "Okay." twice.

    Args:
        source: .csv, .tsv, .jsonl (.ndjson; .json: lines or a list), .parquet; UTF-8. Or a folder: the table in it
            that is called manifest, else its recordings.
        check_files: whether each recording must be there.
        columns: the column that holds a field, where it has another name than this library knows (`tables.COLUMNS`), as {"path":
            "wav_name", "emotion": "emo"}; an empty name: no column does. "root": the folder in which paths start, itself from the
            table's folder. Where "path" is among them, recordings may be named without their folder or ending: they are looked for in
            all folders below, and the only table in a folder is read whatever it is called.

    Returns:
        The rows, and an error for each that cannot be used.

    Raises:
        InputError: there is no such file, it is no table or an empty one, in another encoding, or tells neither paths nor texts; there
            is no such column. What to say with `columns` is told.

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
    asked = dict(columns or {})
    path = Path(os.path.abspath(source))
    if path.is_dir():
        inside = table_inside(path, bool(asked))
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
    folder = path.parent / (asked.pop("root", None) or "")
    if not folder.is_dir():
        remedy = f"give one that is there; a relative one starts at {path.parent}"
        raise InputError("columns, root", expected="a folder", got=f"no folder {folder}", remedy=remedy)
    table = read_table(path, asked, folder)
    if not table.records:
        raise InputError(path.name, expected="at least one row", got="none", remedy="fill the table")
    if not {"path", "text"} & set(table.columns):
        got = f"the columns {', '.join(table.names) or 'none'}"
        say = columns_to_say(table.columns, table.guesses, table.codes) if table.guesses or table.codes else ""
        remedy = f"say which it is: {say or '--columns path=COLUMN or text=COLUMN'}"
        raise InputError(path.name, expected="a column path or text", got=got, remedy=remedy)
    rows, errors = _checked_rows(table, Places(folder, check_files, "path" in asked))
    return Manifest(tuple(rows), tuple(errors), path, tuple(table.ignored), _guessed(table, rows, path.name))


def _guessed(table: Table, rows: Iterable[ManifestRow], file: str) -> tuple[str, ...]:
    """What columns of other names seem to hold; codes only where nothing is annotated at all."""
    found = {
        name: column for name, column in table.guesses.items() if name != "emotion" or "votes" not in table.columns
    }
    annotated = any(map(is_annotated, rows))
    if found:
        kinds = " and of ".join({"path": "recordings", "emotion": "emotions"}[name] for name in found)
        seem = " and ".join(map(repr, found.values())) + (" seem" if len(found) > 1 else " seems")
        say = columns_to_say({*table.columns, *(["emotion"] if annotated else [])}, found, table.codes)
        return (f"{file} has no column of {kinds} by name, but {seem} to hold some: {say}",)
    if table.codes and not annotated:
        say = columns_to_say(table.columns, {}, table.codes)
        return (f"{file} has no column of emotions by name; if {table.codes[0]!r} holds codes of some: {say}",)
    return ()


def read_unnamed_folder(path: Path) -> Manifest:
    """A folder of recordings, and nobody said what it is. Where a table lies there and its folders are named after no emotion, the
    table tells them: their names are not taken for emotions.

    Raises:
        InputError: there are such tables, and what to say of them; else see `folders.read_folder`.
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
    """What two rows may not share; None: nothing."""
    if row.path is not None:
        return os.path.normpath(row.path), row.start, row.end, row.text
    if row.dialogue is None or row.turn is None:
        return None
    return row.split, row.language, row.dialogue, row.turn, row.text


def _row(given: Mapping[str, Any], place: str, recordings: Places) -> ManifestRow:
    for name, value in given.items():
        if isinstance(value, str) and "\0" in value:
            remedy = f"delete the NUL in {place.rpartition(', ')[2]} (many editors show it as ^@)"
            raise InputError(f"{place}, {name}", expected="text", got="a NUL character", remedy=remedy)
        if isinstance(value, str) and name != "text" and "\n" in value.strip():
            remedy = "look for a quote that opens here and closes lines later"
            raise InputError(f"{place}, {name}", expected="a line", got="several", remedy=remedy)
    values: dict[str, Any] = {name: word(given.get(name), f"{place}, {name}") for name in WORDS}
    values["emotion"] = "|".join(part.strip() for part in (values["emotion"] or "").split("|") if part.strip()) or None
    path = word(given.get("path"), f"{place}, path")
    if path is None and values["text"] is None:
        raise InputError(
            place, expected="a path or a text", got="neither", remedy="fill one of them in, or drop the row"
        )
    if path is not None:
        values["path"] = recordings.find(path, f"{place}, path")
        start, end = (number(given.get(name), f"{place}, {name}") for name in ("start", "end"))
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
    turn = number(given.get("turn"), f"{place}, turn")
    if turn is not None and turn != int(turn):
        raise InputError(
            f"{place}, turn", expected="a whole number", got=f"{turn:g}", remedy="count the turns of the dialogue"
        )
    values["turn"] = None if turn is None else int(turn)
    values |= {name: number(given.get(name), f"{place}, {name}") for name in ("arousal", "valence", "dominance")}
    return ManifestRow(
        **values, votes=_votes(given.get("votes"), f"{place}, votes"), place=place, folder=recordings.folder
    )


def _votes(value: Any, place: str) -> dict[str, float] | None:
    if is_blank(value):
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
        pairs = [
            (name, votes) for name, votes in value.items() if votes is not None
        ]  # a struct of parquet names all emotions in each row
    else:
        raise wrong
    counts: dict[str, float] = {}
    for name, votes in pairs:
        name = str(name).strip()
        try:
            count = number(votes, place)
        except InputError:
            raise wrong from None
        if not name or name in counts or count is None or count < 0:
            raise wrong
        counts[name] = count
    if not any(counts.values()):
        raise wrong
    return {name: number for name, number in counts.items() if number}


def write_manifest(rows: Iterable[ManifestRow], path: str | os.PathLike) -> Path:
    """Write rows as a table that `read_manifest` reads back equal; it is there whole or not at all.

    Paths below the table's folder start there, others at the root. Words are stripped when they are read, and a text that only says
    "nan" reads as none.

    Args:
        rows: of any manifest.
        path: .csv, .tsv, .jsonl or .parquet; its folder is made. Columns that no row fills are left out.

    Returns:
        Where it lies.

    Raises:
        InputError: another ending, a file that cannot be written, or a name or text that UTF-8 cannot hold.

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
    }  # a column sentence is taken for the words
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
        path = value.absolute()  # as it is written, links and all
        return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
    if name == "votes" and value:
        return json.dumps(dict(value), ensure_ascii=False)
    return value
