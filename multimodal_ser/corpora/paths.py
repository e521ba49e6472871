"""Where things lie: the table in a folder, and the recordings that a table names."""

from __future__ import annotations

import os
from pathlib import Path

from multimodal_ser.corpora.files import recordings_below
from multimodal_ser.corpora.guesses import FILES, columns_to_say
from multimodal_ser.corpora.tables import PLAIN, SUFFIXES, Table, read_table
from multimodal_ser.errors import InputError

MOST_TEXTS = 10
"""Texts in a folder, from which on they are the words of its recordings and none is looked at as a table."""


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder, sorted; a .txt only where it is one of recordings.

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
    here = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    texts = [path for path in here if path.suffix.lower() == PLAIN]
    tables = {path for path in texts if _names_recordings(path)} if len(texts) <= MOST_TEXTS else set()
    return [path for path in here if path.suffix.lower() in SUFFIXES or path in tables]


def _names_recordings(path: Path) -> bool:
    table = _looked_at(path)
    return table is not None and len(table.names) > 1 and "path" in {*table.columns, *table.guesses}


def _looked_at(path: Path) -> Table | None:
    try:
        return read_table(path)
    except InputError:
        return None


def table_inside(folder: Path, any_name: bool) -> Path | None:
    """The table in a folder: the one that is called manifest, or the only one of any name; None: there is none.

    Raises:
        InputError: there are several of any name.
    """
    called = [found for suffix in SUFFIXES if (found := folder / f"manifest{suffix}").is_file()]
    others = tables_in(folder) if any_name and not called else []
    if len(others) > 1:
        got = ", ".join(table.name for table in others[:8])
        raise InputError(
            str(folder), expected="one table that columns is about", got=got, remedy="name the table itself"
        )
    return next(iter(called or others), None)


def foreign_folder(folder: Path, tables: list[Path]) -> InputError:
    """What is said of a folder whose tables nobody named, with the option that reads them."""
    told = []
    for path in tables:
        table = _looked_at(path)
        if table is not None and "path" in {*table.columns, *table.guesses}:
            foreign = "path" in table.guesses or not {"emotion", "votes"} & set(table.columns)
            told.append(
                str(path) + (f" with {columns_to_say(table.columns, table.guesses, table.codes)}" if foreign else "")
            )
    told = told or [f"{path} with --columns path=COLUMN emotion=COLUMN" for path in tables[:1]]
    names = ", ".join(path.name for path in tables[:8]) + (f" and {len(tables) - 8} more" if len(tables) > 8 else "")
    got = f"folders of other names, and the table{'s' * (len(tables) > 1)} {names}"
    expected = "a table called manifest, or folders named after emotions"
    return InputError(str(folder), expected=expected, got=got, remedy=f"read {' or '.join(told[:3])}")


class Places:
    """Where the recordings of a table lie.

    Args:
        folder: where paths start.
        check: whether they must be there.
        search: whether they may be named without their folder or ending, and are looked for in all folders below.

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
        self.folder, self.check, self.search = folder, check, search
        self.known: dict[str, list[Path]] | None = None

    def find(self, name: str, place: str) -> Path:
        """The recording of a name.

        Raises:
            InputError: there is none, or several.
        """
        path = self.folder / name
        if not self.check or os.path.isfile(path):
            return path
        if "\\" in name and os.path.isfile(self.folder / name.replace("\\", "/")):  # as Windows writes it
            return self.folder / name.replace("\\", "/")
        found = self._below(name.replace("\\", "/"))
        if self.search and len(found) == 1:
            return self.folder / found[0]
        if self.search and found:
            got = f"{len(found)} of the name {name}: {', '.join(one.as_posix() for one in found[:3])}{' ...' * (len(found) > 3)}"
            raise InputError(place, expected="one recording", got=got, remedy="write its folder too")
        remedy = f"correct it; paths that do not start at the root start at {self.folder}"
        if found:
            remedy += f"; there is {found[0].as_posix()}: with --columns path=COLUMN recordings are looked for in all folders below"
        raise InputError(place, expected="a recording", got=f"no file {name}", remedy=remedy)

    def _below(self, name: str) -> list[Path]:
        """Recordings in folders below whose path ends in this one, with or without their ending."""
        if self.known is None:
            self.known = {}
            for path in recordings_below(self.folder, most=None if self.search else FILES):
                for key in {path.name, path.stem}:
                    self.known.setdefault(key, []).append(path.relative_to(self.folder))
        parts = Path(name).parts
        found = self.known.get(parts[-1], []) if parts else []
        found = [path for path in found if path.name == parts[-1]] or found
        return [path for path in found if path.parts[-len(parts) : -1] == parts[:-1]]
