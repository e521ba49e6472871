"""Recordings that a manifest names and that cannot be used: each row of theirs is told by its place, the field and the remedy."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from multimodal_ser.audio import MIN_DURATION
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError


def recording_error(row: ManifestRow, error: InputError) -> InputError:
    """What is wrong with a row's recording, by the row's place and "path".

    Args:
        row: of a manifest.
        error: about the recording.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.recordings import recording_error
        >>> from multimodal_ser.errors import InputError
        >>> row = ManifestRow(path=Path("clips/a.wav"), place="m.csv, line 2")
        >>> print(recording_error(row, InputError("a.wav", expected="an audio file", got="an empty file", remedy="record it again")))
        m.csv, line 2, path: expected an audio file, got an empty file (clips/a.wav); record it again
    """
    named, told = _place(row, "path")
    return InputError(named, expected=error.expected, got=f"{error.got}{told}", remedy=error.remedy)


def part_error(row: ManifestRow, duration: float) -> InputError | None:
    """What is wrong with the part of a recording that a row means; None: nothing, there are at least 25 ms of it.

    Args:
        row: of a manifest.
        duration: of its recording, s.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.recordings import part_error
        >>> print(part_error(ManifestRow(path=Path("a.wav"), start=9, end=10, place="m.csv, line 2"), 3.5))
        m.csv, line 2, start: expected at least 25 ms of the recording, which lasts 3.500 s, got 9 s to 10 s (a.wav); correct start and end
    """
    start, end = row.start or 0.0, duration if row.end is None else min(row.end, duration)
    if end - start > MIN_DURATION - 1e-9:  # 1.025 - 1 is a little less
        return None
    named, told = _place(row, "start" if row.end is None or start >= duration else "end")
    got = f"{start:g} s to {'its end' if row.end is None else f'{row.end:g} s'}{told}"
    expected = f"at least 25 ms of the recording, which lasts {duration:.3f} s"
    return InputError(named, expected=expected, got=got, remedy="correct start and end")


def past_the_end(row: ManifestRow, duration: float) -> bool:
    """Whether a row's part is said to end more than 25 ms after its recording does; what there is of it is taken.

    Args:
        row: of a manifest.
        duration: of the part as it was found, s.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.recordings import past_the_end
        >>> past_the_end(ManifestRow(path=Path("a.wav"), start=1, end=10), 2.5)
        True
    """
    return row.end is not None and row.end - (row.start or 0.0) - duration > MIN_DURATION


def in_order(errors: Sequence[InputError]) -> list[InputError]:
    """Errors by line; those of a file stay together, in the order in which the files are first named.

    Example:
        >>> from multimodal_ser.corpora.recordings import in_order
        >>> from multimodal_ser.errors import InputError
        >>> found = [InputError(what, expected="", got="", remedy="") for what in ("m.csv, line 10, path", "m.csv, line 9, id")]
        >>> [error.what for error in in_order(found)]
        ['m.csv, line 9, id', 'm.csv, line 10, path']
    """
    places = [re.match(r"(.*), (?:line|row) (\d+)(?:,|$)", error.what) for error in errors]
    files = [found[1] if found else error.what for found, error in zip(places, errors, strict=True)]
    first = {name: at for at, name in reversed(list(enumerate(files)))}
    order = sorted(range(len(errors)), key=lambda at: (first[files[at]], int(found[2]) if (found := places[at]) else 0))
    return [errors[at] for at in order]


def _place(row: ManifestRow, field: str) -> tuple[str, str]:
    """Where a row stands, and its recording where that does not say it."""
    place = row.place or row.name
    if place in (row.recording, row.name, str(row.path)):
        return place, ""
    return f"{place}, {field}", f" ({row.recording})"


def check_recordings(
    rows: Sequence[ManifestRow],
    *,
    whole: bool = False,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[ManifestRow, ...], tuple[InputError, ...]]:
    """Open every recording: which rows can be used, and what is wrong with the others, each named by its place and "path" or "start".

    Args:
        rows: of a manifest; those of words alone pass.
        whole: decode each recording to its end; else its header and its beginning, which costs a few ms a file and does not find
            damage further on.
        workers: threads; None: one a core, four at most.
        on_progress: called with (done, all) recordings.

    Returns:
        The rows that can be used, in order, and the errors. A part of which there are not 25 ms is one too.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow, check_recordings
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a.wav").touch()
        >>> broken = ManifestRow(path=folder / "a.wav", folder=folder, place="m.csv, line 2")
        >>> rows, errors = check_recordings([broken, ManifestRow(text="hello")])
        >>> len(rows), str(errors[0])
        (1, 'm.csv, line 2, path: expected an audio file, got an empty file (a.wav); record or download it again')
    """
    paths = list(dict.fromkeys(row.path for row in rows if row.path is not None))
    durations: dict[Path, float | InputError] = {}
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        for path, duration in zip(paths, pool.map(lambda path: _opened(path, whole), paths), strict=True):
            durations[path] = duration
            if on_progress is not None:
                on_progress(len(durations), len(paths))
    kept, errors = [], []
    for row in rows:
        found = None if row.path is None else durations[row.path]
        if isinstance(found, InputError):
            errors.append(recording_error(row, found))
        elif found is not None and (wrong := part_error(row, found)) is not None:
            errors.append(wrong)
        else:
            kept.append(row)
    return tuple(kept), tuple(errors)


def _opened(path: Path, whole: bool) -> float | InputError:
    """How long a recording is, s, or why it cannot be used."""
    from multimodal_ser.audio import SAMPLING_RATE, audio_duration, stream_audio

    try:
        blocks = stream_audio(path, block_duration=1.0, max_duration=math.inf)
        if whole:
            return sum(len(block) for block in blocks) / SAMPLING_RATE
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
        return audio_duration(path)
    except InputError as error:
        return error
