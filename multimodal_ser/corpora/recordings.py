"""Checks the recordings of a manifest; each row that cannot be used is reported with its place, field and remedy."""

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
    """An error of a recording, reported for the field "path" of its row.

    Args:
        row: row of a manifest.
        error: the error of the recording.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.recordings import recording_error
        >>> from multimodal_ser.errors import InputError
        >>> row = ManifestRow(path=Path("clips/a.wav"), place="m.csv, line 2")
        >>> print(recording_error(row, InputError("a.wav", expected="an audio file", got="an empty file", remedy="record it again")))
        m.csv, line 2, path: expected an audio file, got an empty file (clips/a.wav); record it again
    """
    place, suffix = _place(row, "path")
    return InputError(place, expected=error.expected, got=f"{error.got}{suffix}", remedy=error.remedy)


def part_error(row: ManifestRow, duration: float) -> InputError | None:
    """The error if the part that a row names has less than 25 ms of its recording; None if it has more.

    Args:
        row: row of a manifest.
        duration: length of its recording, s.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.recordings import part_error
        >>> print(part_error(ManifestRow(path=Path("a.wav"), start=9, end=10, place="m.csv, line 2"), 3.5))
        m.csv, line 2, start: expected at least 25 ms of the recording, which lasts 3.500 s, got 9 s to 10 s (a.wav); correct start and end
    """
    start = row.start or 0.0
    end = duration if row.end is None else min(row.end, duration)
    if end - start > MIN_DURATION - 1e-9:  # 1.025 - 1 is a little less
        return None
    place, suffix = _place(row, "start" if row.end is None or start >= duration else "end")
    got = f"{start:g} s to {'its end' if row.end is None else f'{row.end:g} s'}{suffix}"
    expected = f"at least 25 ms of the recording, which lasts {duration:.3f} s"
    return InputError(place, expected=expected, got=got, remedy="correct start and end")


def past_the_end(row: ManifestRow, duration: float) -> bool:
    """Whether a row's `end` is more than 25 ms after the end of its recording; the part then ends with the recording.

    Args:
        row: row of a manifest.
        duration: the actual length of the part, s.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.recordings import past_the_end
        >>> past_the_end(ManifestRow(path=Path("a.wav"), start=1, end=10), 2.5)
        True
    """
    return row.end is not None and row.end - (row.start or 0.0) - duration > MIN_DURATION


def in_order(errors: Sequence[InputError]) -> list[InputError]:
    """Sort errors by line; errors of a file stay together, and files keep the order of their first errors.

    Example:
        >>> from multimodal_ser.corpora.recordings import in_order
        >>> from multimodal_ser.errors import InputError
        >>> errors = [InputError(what, expected="", got="", remedy="") for what in ("m.csv, line 10, path", "m.csv, line 9, id")]
        >>> [error.what for error in in_order(errors)]
        ['m.csv, line 9, id', 'm.csv, line 10, path']
    """
    places = [re.match(r"(.*), (?:line|row) (\d+)(?:,|$)", error.what) for error in errors]
    files = [match[1] if match else error.what for match, error in zip(places, errors, strict=True)]
    first = {name: at for at, name in reversed(list(enumerate(files)))}
    order = sorted(range(len(errors)), key=lambda at: (first[files[at]], int(match[2]) if (match := places[at]) else 0))
    return [errors[at] for at in order]


def _place(row: ManifestRow, field: str) -> tuple[str, str]:
    """The place of a row's field, and the name of its recording if the place does not contain it."""
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
    """Open every recording, and separate the rows that can be used from the errors of the others.

    Args:
        rows: rows of a manifest; rows without a recording are always usable.
        whole: decode each recording to its end; else only its header and first second, which takes a few ms for each
            file and does not find later damage.
        workers: number of threads; None: one for each core, at most four.
        on_progress: called with the numbers of checked recordings and of all recordings.

    Returns:
        The rows that can be used, in order, and an error for each other row, with its place and the field "path",
        "start" or "end". Parts of less than 25 ms are errors too.

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
    usable: list[ManifestRow] = []
    errors: list[InputError] = []
    for row in rows:
        duration_or_error = None if row.path is None else durations[row.path]
        if isinstance(duration_or_error, InputError):
            errors.append(recording_error(row, duration_or_error))
        elif duration_or_error is not None and (error := part_error(row, duration_or_error)) is not None:
            errors.append(error)
        else:
            usable.append(row)
    return tuple(usable), tuple(errors)


def _opened(path: Path, whole: bool) -> float | InputError:
    """The length of a recording in s, or its error."""
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
