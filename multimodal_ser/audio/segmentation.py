"""Long recordings in windows: cut where it is quietest, so that no word is torn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE

WHOLE = 30.0
"""Recordings up to this length (s) are one window: as much as Whisper hears at once."""

WINDOW = 15.0
"""Windows of longer recordings are about this long (s)."""

REACH = 5.0
"""How far (s) from there the quietest place is looked for."""


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
    """Takes a recording piece by piece and gives its windows, each (start in s, waveform (S,)).

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.audio.segmentation import Windower
        >>> windower = Windower()
        >>> windows = [*windower.push(np.zeros(16000 * 40, np.float32)), *windower.finish()]
        >>> [round(start + len(waveform) / 16000, 1) for start, waveform in windows][-1]
        40.0
    """

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._taken = 0

    def _cut(self, at: int) -> tuple[float, np.ndarray]:
        window, self._rest = self._rest[:at], self._rest[at:]
        start, self._taken = self._taken / SAMPLING_RATE, self._taken + at
        return start, window

    def push(self, samples: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        """Add samples (S,); the windows that they complete."""
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) > WHOLE * SAMPLING_RATE:
            yield self._cut(
                quietest(self._rest, int((WINDOW - REACH) * SAMPLING_RATE), int((WINDOW + REACH) * SAMPLING_RATE))
            )

    def finish(self) -> Iterator[tuple[float, np.ndarray]]:
        """The windows that are left at the end."""
        if self._taken and len(self._rest) > (WINDOW + REACH) * SAMPLING_RATE:
            middle = len(self._rest) // 2
            yield self._cut(
                quietest(self._rest, middle - int(REACH * SAMPLING_RATE), middle + int(REACH * SAMPLING_RATE))
            )
        if len(self._rest):
            yield self._cut(len(self._rest))
