"""Cuts recordings into windows for models; a recording comes in piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from multimodal_ser.audio.loading import SAMPLING_RATE
from multimodal_ser.errors import InputError

WHOLE = 30.0
"""Recordings up to this length, s, are one window: Whisper reads 30 s at once."""

WINDOW = 15.0
"""The approximate length of the windows of longer recordings, s."""

REACH = 5.0
"""The largest distance of a cut from the target length, s."""

Window = tuple[float, np.ndarray]
"""The start of a window in s, and its waveform (S,) at 16 kHz."""


class Cutter(Protocol):
    """Takes a recording piece by piece, and yields its windows in order; stores only the samples it needs."""

    def push(self, samples: np.ndarray) -> Iterator[Window]:
        """Add samples (S,) at 16 kHz, and yield the windows that they complete."""
        ...

    def finish(self) -> Iterator[Window]:
        """Yield the remaining windows at the end of the recording."""
        ...


def quietest(waveform: np.ndarray, start: int, stop: int) -> int:
    """The sample between `start` and `stop` with the least energy in 0.2 s around it; of equals the middle one."""
    span = SAMPLING_RATE // 5
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform[start:stop], dtype=np.float64))])
    if len(energy) <= span:
        return (start + stop) // 2
    around = energy[span:] - energy[:-span]
    candidates = np.flatnonzero(around <= around.min() + 1e-9 * span)
    return start + int(candidates[np.argmin(np.abs(candidates - len(around) // 2))]) + span // 2


class Windower:
    """Cuts recordings into windows of about equal length, at quiet places, so that words stay whole.

    Args:
        longest: recordings up to this length are not cut, s.
        target: the approximate length of windows of longer recordings, s.
        reach: the largest distance of a cut from the target length, s.
        overlap: the length that a window shares with the one before, s.
        place: chooses the sample of a cut from a waveform (S,) and the first and last admissible sample.

    Raises:
        InputError: the lengths do not fit each other.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.audio.segmentation import Windower
        >>> windower = Windower()
        >>> windows = [*windower.push(np.zeros(16000 * 40, np.float32)), *windower.finish()]
        >>> [round(start + len(waveform) / 16000, 1) for start, waveform in windows][-1]
        40.0
    """

    def __init__(
        self,
        *,
        longest: float = WHOLE,
        target: float = WINDOW,
        reach: float = REACH,
        overlap: float = 0.0,
        place: Callable[[np.ndarray, int, int], int] = quietest,
    ) -> None:
        if not (0 <= reach < target and target + reach <= longest and 0 <= overlap < target - reach):
            got = f"longest={longest}, target={target}, reach={reach}, overlap={overlap}"
            expected = "0 <= overlap < target - reach, and target + reach <= longest"
            raise InputError("windows", expected=expected, got=got, remedy="leave them out for windows of 15 s")
        self.longest = round(longest * SAMPLING_RATE)
        self.place = place
        self.target = round(target * SAMPLING_RATE)
        self.reach = round(reach * SAMPLING_RATE)
        self.overlap = round(overlap * SAMPLING_RATE)
        self._rest = np.zeros(0, np.float32)
        self._start = 0  # of the rest, in samples

    def _cut(self, center: int) -> Window:
        """The window up to the best place near a sample of the rest."""
        at = self.place(self._rest, center - self.reach, center + self.reach) if self.reach else center
        window = self._rest[:at]
        start = self._start / SAMPLING_RATE
        self._rest = self._rest[at - self.overlap :]
        self._start += at - self.overlap
        return start, window

    def push(self, samples: np.ndarray) -> Iterator[Window]:
        """Add samples (S,) at 16 kHz, and yield the windows that they complete."""
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) > self.longest:
            yield self._cut(self.target)

    def finish(self) -> Iterator[Window]:
        """Yield the remaining windows at the end of the recording."""
        if self._start and len(self._rest) > self.target + self.reach:
            yield self._cut(len(self._rest) // 2)
        if len(self._rest):
            yield self._start / SAMPLING_RATE, self._rest
            self._rest = self._rest[:0]


class IntervalCutter:
    """Cuts recordings into given intervals, such as the turns of a speaker; long intervals are cut into windows.

    Args:
        intervals: starts and ends in s, sorted by start; they may overlap. Parts after the end of the recording are
            left out.
        longest: longer intervals, s, are cut into windows by a `Windower`.

    Raises:
        InputError: an interval ends before it starts, or the intervals are not sorted.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.audio.segmentation import IntervalCutter
        >>> cutter = IntervalCutter([(0.5, 2.0), (1.5, 3.0), (9.0, 10.0)])
        >>> windows = [*cutter.push(np.zeros(16000 * 4, np.float32)), *cutter.finish()]
        >>> [(start, len(waveform) / 16000) for start, waveform in windows]
        [(0.5, 1.5), (1.5, 1.5)]
    """

    def __init__(self, intervals: Sequence[tuple[float, float]], *, longest: float = WHOLE) -> None:
        ends_first = [interval for interval in intervals if not 0 <= interval[0] < interval[1]]
        unsorted = [later for earlier, later in pairwise(intervals) if later[0] < earlier[0]]
        if invalid := ends_first or unsorted:
            expected = "(start, end) in s, start before end, sorted by start"
            raise InputError("intervals", expected=expected, got=str(invalid[0]), remedy="sort them")
        self._pending = [
            (round(start * SAMPLING_RATE), round(end * SAMPLING_RATE), _windower(longest)) for start, end in intervals
        ]
        self._position = 0  # the number of samples so far

    def push(self, samples: np.ndarray) -> Iterator[Window]:
        """Add samples (S,) at 16 kHz, and yield the windows that they complete."""
        begin = self._position
        self._position += len(samples)
        for interval in [interval for interval in self._pending if interval[0] < self._position]:
            start, end, windower = interval
            yield from self._shifted(start, windower.push(samples[max(start - begin, 0) : end - begin]))
            if end <= self._position:
                self._pending.remove(interval)
                yield from self._shifted(start, windower.finish())

    def finish(self) -> Iterator[Window]:
        """Yield the remaining windows at the end of the recording."""
        for start, _, windower in self._pending:
            yield from self._shifted(start, windower.finish())
        self._pending = []

    @staticmethod
    def _shifted(start: int, windows: Iterator[Window]) -> Iterator[Window]:
        return ((start / SAMPLING_RATE + offset, waveform) for offset, waveform in windows)


def _windower(longest: float) -> Windower:
    return Windower(longest=longest, target=longest / 2, reach=longest / 6)
