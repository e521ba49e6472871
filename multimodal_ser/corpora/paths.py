"""Finds files: the table in a folder, and the recordings that a table names."""

from __future__ import annotations

import os
from pathlib import Path

from multimodal_ser.corpora.files import recordings_below
from multimodal_ser.corpora.guesses import FILES, columns_to_say
from multimodal_ser.corpora.tables import PLAIN, SUFFIXES, Table, read_table
from multimodal_ser.errors import InputError

MOST_TEXTS = 10
"""The most .txt files in a folder that are tried as tables; more are taken for transcripts of its recordings."""


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder, sorted; a .txt file only if it is a table of recordings.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.paths import tables_in
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = [(folder / name).write_text("wav|feels\\na.wav|joy\\n") for name in ("labels.txt", "more.csv")]
        >>> _ = (folder / "README.txt").write_text("Read me, please.\\nThank you.\\n")
        >>> [path.name for path in tables_in(folder)]
        ['labels.txt', 'more.csv']
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    texts = [path for path in files if path.suffix.lower() == PLAIN]
    tables = {path for path in texts if _names_recordings(path)} if len(texts) <= MOST_TEXTS else set()
    return [path for path in files if path.suffix.lower() in SUFFIXES or path in tables]


def _names_recordings(path: Path) -> bool:
    table = _read_if_table(path)
    return table is not None and len(table.names) > 1 and "path" in {*table.columns, *table.guesses}


def _read_if_table(path: Path) -> Table | None:
    try:
        return read_table(path)
    except InputError:
        return None


def table_inside(folder: Path, any_name: bool) -> Path | None:
    """The table in a folder that is called manifest; with `any_name` else the only table. None if there is none.

    Raises:
        InputError: `any_name` is set, no table is called manifest, and there are several tables.
    """
    manifests = [path for suffix in SUFFIXES if (path := folder / f"manifest{suffix}").is_file()]
    others = tables_in(folder) if any_name and not manifests else []
    if len(others) > 1:
        got = ", ".join(table.name for table in others[:8])
        raise InputError(
            str(folder), expected="one table that columns is about", got=got, remedy="name the table itself"
        )
    return next(iter(manifests or others), None)


def foreign_folder(folder: Path, tables: list[Path]) -> InputError:
    """The error for a folder with tables of other names; its remedy is the option that reads them."""
    suggestions = []
    for path in tables:
        table = _read_if_table(path)
        if table is not None and "path" in {*table.columns, *table.guesses}:
            foreign = "path" in table.guesses or not {"emotion", "votes"} & set(table.columns)
            suggestions.append(
                str(path) + (f" with {columns_to_say(table.columns, table.guesses, table.codes)}" if foreign else "")
            )
    suggestions = suggestions or [f"{path} with --columns path=COLUMN emotion=COLUMN" for path in tables[:1]]
    names = ", ".join(path.name for path in tables[:8]) + (f" and {len(tables) - 8} more" if len(tables) > 8 else "")
    got = f"folders of other names, and the table{'s' * (len(tables) > 1)} {names}"
    expected = "a table called manifest, or folders named after emotions"
    return InputError(str(folder), expected=expected, got=got, remedy=f"read {' or '.join(suggestions[:3])}")


class Places:
    """Finds the recordings that a table names.

    Args:
        folder: relative paths start here.
        check: whether the recordings must exist.
        search: whether the table may name recordings without their folder or ending; they are then searched for in all
            folders below.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.paths import Places
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "clips").mkdir()
        >>> (folder / "clips" / "a.wav").touch()
        >>> Places(folder, check=True, search=True).find("a", "labels.csv, line 2").relative_to(folder).as_posix()
        'clips/a.wav'
    """

    def __init__(self, folder: Path, check: bool, search: bool):
        self.folder = folder
        self.check = check
        self.search = search
        self.by_name: dict[str, list[Path]] | None = None

    def find(self, name: str, place: str) -> Path:
        """The path of the recording with this name; `place` is the place of the name, for errors.

        Raises:
            InputError: no recording has the name, or several have it.
        """
        path = self.folder / name
        if not self.check or os.path.isfile(path):
            return path
        if "\\" in name and os.path.isfile(self.folder / name.replace("\\", "/")):  # a path as Windows writes it
            return self.folder / name.replace("\\", "/")
        matches = self._below(name.replace("\\", "/"))
        if self.search and len(matches) == 1:
            return self.folder / matches[0]
        if self.search and matches:
            got = f"{len(matches)} of the name {name}: {', '.join(match.as_posix() for match in matches[:3])}{' ...' * (len(matches) > 3)}"
            raise InputError(place, expected="one recording", got=got, remedy="write its folder too")
        remedy = f"correct it; paths that do not start at the root start at {self.folder}"
        if matches:
            remedy += f"; there is {matches[0].as_posix()}: with --columns path=COLUMN recordings are looked for in all folders below"
        raise InputError(place, expected="a recording", got=f"no file {name}", remedy=remedy)

    def _below(self, name: str) -> list[Path]:
        """Recordings in the folders below whose path ends in `name`, with or without the file's ending."""
        if self.by_name is None:
            self.by_name = {}
            for path in recordings_below(self.folder, most=None if self.search else FILES):
                for key in {path.name, path.stem}:
                    self.by_name.setdefault(key, []).append(path.relative_to(self.folder))
        parts = Path(name).parts
        matches = self.by_name.get(parts[-1], []) if parts else []
        matches = [path for path in matches if path.name == parts[-1]] or matches
        return [path for path in matches if path.parts[-len(parts) : -1] == parts[:-1]]
