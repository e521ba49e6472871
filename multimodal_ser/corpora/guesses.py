"""Guesses what the unknown columns of a table hold, so that a message can suggest the option that reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from multimodal_ser.corpora.files import RECORDINGS, recordings_below
from multimodal_ser.labels import is_emotion

FILES = 200_000
"""The most files that are searched for recordings that a column may name."""

FEW = 12
"""The most different cells in a column of codes of emotions."""

Codes = tuple[str, tuple[str, ...]]
"""The name of a column, and the codes in it."""


def guess_columns(
    names: Sequence[str],
    columns: Mapping[str, int],
    requested: Collection[str],
    cells: Sequence[Sequence[str]],
    folder: Path,
) -> dict[str, str]:
    """Guess the columns of recordings and emotions, if no column is known to hold them.

    Args:
        names: the names of all columns.
        columns: the position of each field whose column is known.
        requested: fields whose column the user named; for these nothing is guessed.
        cells: a sample of each column's cells, without empty ones.
        folder: recordings whose names have no ending in the table are searched for below this folder.

    Returns:
        The names of the columns for "path" and "emotion"; a field without such a column is missing.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.guesses import guess_columns
        >>> guess_columns(["clip", "room", "feels"], {}, (), [["a.wav", "b.wav"], ["12", "12"], ["joy", "sad"]], Path())
        {'path': 'clip', 'emotion': 'feels'}
    """
    kinds: dict[str, Callable[[str], bool]] = {
        "path": lambda cell: os.path.splitext(cell)[1].lower() in RECORDINGS,
        "emotion": is_emotion,
    }
    guesses: dict[str, str] = {}
    for field, holds in kinds.items():
        if field in columns or field in requested:
            continue
        free = (at for at in range(len(names)) if at not in columns.values() and cells[at])
        position = next((at for at in free if 2 * sum(map(holds, cells[at])) > len(cells[at])), None)
        if field == "path" and position is None:
            position = _naming_recordings(columns, cells, folder)
        if position is not None:
            guesses[field] = names[position]
    return guesses


def _naming_recordings(columns: Mapping[str, int], cells: Sequence[Sequence[str]], folder: Path) -> int | None:
    """The position of a column that names recordings below the folder without their ending; None if there is none."""
    others = {at for field, at in columns.items() if field != "id"}

    def may_be(column: Sequence[str]) -> bool:
        """Whether a column may name files: few cells have spaces, and few repeat."""
        return (
            bool(column)
            and 10 * len(set(column)) >= 9 * len(column)
            and 2 * sum(" " in cell for cell in column) < len(column)
        )

    candidates = [at for at, column in enumerate(cells) if at not in others and may_be(column)]
    stems = {path.stem for path in recordings_below(folder, most=FILES)} if candidates else set()
    for at in candidates:
        if 2 * sum(cell.replace("\\", "/").rpartition("/")[2] in stems for cell in cells[at]) > len(cells[at]):
            return at
    return None


def guess_codes(names: Sequence[str], columns: Mapping[str, int], cells: Sequence[Sequence[str]]) -> Codes | None:
    """Find the unknown column that may hold codes of emotions: it has few distinct cells, all short.

    None is returned if several columns are like that, or none is.

    Args:
        names, columns, cells: see `guess_columns`.

    Example:
        >>> from multimodal_ser.corpora.guesses import guess_codes
        >>> guess_codes(["clip", "cat"], {"path": 0}, [["a.wav", "b.wav", "c.wav"], ["1", "2", "3"]])
        ('cat', ('1', '2', '3'))
    """
    candidates = []
    for at, name in enumerate(names):
        distinct = sorted(set(cells[at]))
        if at not in columns.values() and 3 <= len(distinct) <= FEW and all(len(cell) <= 3 for cell in distinct):
            candidates.append((name, tuple(distinct)))
    return candidates[0] if len(candidates) == 1 else None


def columns_to_say(known: Collection[str], guesses: Mapping[str, str], codes: Codes | None) -> str:
    """The option that reads a table with other column names: `--columns path=wav_name emotion=emo`.

    A column that cannot be guessed is written COLUMN. For a column of codes the text adds how to explain the codes.

    Args:
        known: fields whose column is known.
        guesses: see `guess_columns`.
        codes: see `guess_codes`.

    Example:
        >>> from multimodal_ser.corpora.guesses import columns_to_say
        >>> columns_to_say(["speaker"], {"path": "wav name", "emotion": "emo"}, None)
        "--columns path='wav name' emotion=emo"
        >>> columns_to_say(["text"], {}, ("cat", ("1", "2", "3")))
        '--columns emotion=cat, and with `prepare` --map-labels 1=EMOTION 2=EMOTION 3=EMOTION'
    """
    columns = dict(guesses) if {"path", "text"} & {*known, *guesses} else {"path": "COLUMN", **guesses}
    codes = None if {"emotion", "votes"} & {*known, *columns} else codes
    if not {"emotion", "votes"} & {*known, *columns}:
        columns["emotion"] = codes[0] if codes else "COLUMN"
    if "votes" in known:
        columns.pop("emotion", None)
    option = "--columns " + " ".join(
        f"{name}='{column}'" if " " in column else f"{name}={column}" for name, column in columns.items()
    )
    return option + (
        f", and with `prepare` --map-labels {' '.join(f'{code}=EMOTION' for code in codes[1])}" if codes else ""
    )
