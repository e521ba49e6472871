"""What the columns of a foreign table seem to hold, so that the message about it can say what to write."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from multimodal_ser.corpora.files import RECORDINGS, recordings_below
from multimodal_ser.labels import is_emotion

FILES = 200_000
"""Files among which is looked for recordings that a column may name."""

FEW = 12
"""Different short cells that a column of codes of emotions has at most."""

Codes = tuple[str, tuple[str, ...]]
"""A column, and the codes in it."""


def guess_columns(
    names: Sequence[str],
    columns: Mapping[str, int],
    asked: Collection[str],
    cells: Sequence[Sequence[str]],
    folder: Path,
) -> dict[str, str]:
    """Columns that seem to hold recordings or emotions, where no column is known to.

    Args:
        names: of all columns.
        columns: where the fields stand that are known.
        asked: fields that were told.
        cells: some of each column, none of them empty.
        folder: below which lies what a column of names without an ending may name.

    Returns:
        The name of a column for "path" and "emotion", as far as there is one.

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
        if field in columns or field in asked:
            continue
        free = (at for at in range(len(names)) if at not in columns.values() and cells[at])
        found = next((at for at in free if 2 * sum(map(holds, cells[at])) > len(cells[at])), None)
        if field == "path" and found is None:
            found = _naming_recordings(columns, cells, folder)
        if found is not None:
            guesses[field] = names[found]
    return guesses


def _naming_recordings(columns: Mapping[str, int], cells: Sequence[Sequence[str]], folder: Path) -> int | None:
    """A column of names without an ending that recordings below the folder have."""
    others = {at for field, at in columns.items() if field != "id"}

    def may_be(column: Sequence[str]) -> bool:
        """Names hold no spaces and are not shared: else there is no need to look at files."""
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
    """The only unknown column of a few short cells, which may be codes of emotions.

    Args:
        names, columns, cells: see `guess_columns`.

    Example:
        >>> from multimodal_ser.corpora.guesses import guess_codes
        >>> guess_codes(["clip", "cat"], {"path": 0}, [["a.wav", "b.wav", "c.wav"], ["1", "2", "3"]])
        ('cat', ('1', '2', '3'))
    """
    found = []
    for at, name in enumerate(names):
        different = sorted(set(cells[at]))
        if at not in columns.values() and 3 <= len(different) <= FEW and all(len(cell) <= 3 for cell in different):
            found.append((name, tuple(different)))
    return found[0] if len(found) == 1 else None


def columns_to_say(known: Collection[str], guesses: Mapping[str, str], codes: Codes | None) -> str:
    """The option that reads a table whose columns go by other names: `--columns path=wav_name emotion=emo`.

    What cannot be guessed is COLUMN in it; where there may be codes it says how they are told.

    Args:
        known: fields of which a column is known.
        guesses: see `guess_columns`.
        codes: see `guess_codes`.

    Example:
        >>> from multimodal_ser.corpora.guesses import columns_to_say
        >>> columns_to_say(["speaker"], {"path": "wav name", "emotion": "emo"}, None)
        "--columns path='wav name' emotion=emo"
        >>> columns_to_say(["text"], {}, ("cat", ("1", "2", "3")))
        '--columns emotion=cat, and with `prepare` --map-labels 1=EMOTION 2=EMOTION 3=EMOTION'
    """
    told = dict(guesses) if {"path", "text"} & {*known, *guesses} else {"path": "COLUMN", **guesses}
    codes = None if {"emotion", "votes"} & {*known, *told} else codes
    if not {"emotion", "votes"} & {*known, *told}:
        told["emotion"] = codes[0] if codes else "COLUMN"
    if "votes" in known:
        told.pop("emotion", None)
    option = "--columns " + " ".join(
        f"{name}='{column}'" if " " in column else f"{name}={column}" for name, column in told.items()
    )
    return option + (
        f", and with `prepare` --map-labels {' '.join(f'{code}=EMOTION' for code in codes[1])}" if codes else ""
    )
