"""Cutters: a recording comes in piece by piece, and goes out in windows that a model hears at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from multimodal_ser.audio.loading import SAMPLING_RATE
from multimodal_ser.errors import InputError

WHOLE = 30.0
"""Recordings up to this length (s) are one window: as much as Whisper hears at once."""

WINDOW = 15.0
"""Windows of longer recordings are about this long (s)."""

REACH = 5.0
"""How far (s) from there the quietest place is looked for."""

Window = tuple[float, np.ndarray]
"""Start in s, and the waveform (S,) at 16 kHz."""


class Cutter(Protocol):
    """Takes a recording piece by piece and gives its windows in order; holds no more than it needs for the next one."""

    def push(self, samples: np.ndarray) -> Iterator[Window]:
        """Add samples (S,) at 16 kHz; the windows that they complete."""
        ...

    def finish(self) -> Iterator[Window]:
        """The windows that are left at the end of the recording."""
        ...


def quietest(waveform: np.ndarray, start: int, stop: int) -> int:
    """The sample between `start` and `stop` around which 0.2 s carry least energy; of equals the one nearest to their middle."""
    span = SAMPLING_RATE // 5
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform[start:stop], dtype=np.float64))])
    if len(energy) <= span:
        return (start + stop) // 2
    around = energy[span:] - energy[:-span]
    candidates = np.flatnonzero(around <= around.min() + 1e-9 * span)
    return start + int(candidates[np.argmin(np.abs(candidates - len(around) // 2))]) + span // 2


class Windower:
    """Windows of about equal length, cut where the recording is quietest, so that no word is torn.

    Args:
        longest: recordings up to this length (s) stay whole.
        target: length of the windows of longer ones, s.
        reach: how far (s) from there the place of a cut may lie.
        overlap: s that a window shares with the one before.
        place: chooses the place of a cut: from a waveform (S,), its first and its last admissible sample, to a sample.

    Raises:
        InputError: lengths that do not fit each other.

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
        self.longest, self.place = round(longest * SAMPLING_RATE), place
        self.target, self.reach = round(target * SAMPLING_RATE), round(reach * SAMPLING_RATE)
        self.overlap = round(overlap * SAMPLING_RATE)
        self._rest = np.zeros(0, np.float32)
        self._start = 0  # of the rest, in samples

    def _cut(self, center: int) -> Window:
        """The window up to the best place around a sample of the rest."""
        at = self.place(self._rest, center - self.reach, center + self.reach) if self.reach else center
        window, self._rest = self._rest[:at], self._rest[at - self.overlap :]
        start, self._start = self._start / SAMPLING_RATE, self._start + at - self.overlap
        return start, window

    def push(self, samples: np.ndarray) -> Iterator[Window]:
        """Add samples (S,) at 16 kHz; the windows that they complete."""
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) > self.longest:
            yield self._cut(self.target)

    def finish(self) -> Iterator[Window]:
        """The windows that are left at the end of the recording."""
        if self._start and len(self._rest) > self.target + self.reach:
            yield self._cut(len(self._rest) // 2)
        if len(self._rest):
            yield self._start / SAMPLING_RATE, self._rest
            self._rest = self._rest[:0]


class IntervalCutter:
    """The windows that somebody has named, such as a speaker's turns; what is longer than the model hears at once is cut.

    Args:
        intervals: (start, end) in s, in the order of their starts; they may overlap. What lies after the recording's
            end is left out.
        longest: longer intervals are cut into windows by a `Windower`, s.

    Raises:
        InputError: an interval that ends before it starts, or that starts before the one before it.

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
        if wrong := ends_first or unsorted:
            expected, remedy = "(start, end) in s, start before end, sorted by start", "sort them"
            raise InputError("intervals", expected=expected, got=str(wrong[0]), remedy=remedy)
        self._waiting = [
            (round(start * SAMPLING_RATE), round(end * SAMPLING_RATE), _windower(longest)) for start, end in intervals
        ]
        self._position = 0  # samples that have come in

    def push(self, samples: np.ndarray) -> Iterator[Window]:
        """Add samples (S,) at 16 kHz; the windows that they complete."""
        begin, self._position = self._position, self._position + len(samples)
        for interval in [interval for interval in self._waiting if interval[0] < self._position]:
            start, end, windower = interval
            yield from self._shifted(start, windower.push(samples[max(start - begin, 0) : end - begin]))
            if end <= self._position:
                self._waiting.remove(interval)
                yield from self._shifted(start, windower.finish())

    def finish(self) -> Iterator[Window]:
        """The windows that are left at the end of the recording."""
        for start, _, windower in self._waiting:
            yield from self._shifted(start, windower.finish())
        self._waiting = []

    @staticmethod
    def _shifted(start: int, windows: Iterator[Window]) -> Iterator[Window]:
        return ((start / SAMPLING_RATE + offset, waveform) for offset, waveform in windows)


def _windower(longest: float) -> Windower:
    return Windower(longest=longest, target=longest / 2, reach=longest / 6)
