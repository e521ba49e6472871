"""`Crops`: pieces of equal length from recordings, for training on speech without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE, load_audio
from multimodal_ser.errors import InputError

SHORTEST = 0.2
"""Shortest length of a crop in seconds; shorter ones have too few frames."""


class Crops:
    """Crops of equal length from recordings joined end to end; crop i of a seed is always the same.

    A recording that cannot be read is replaced by the next one; `errors` maps its index to the error.

    Args:
        recordings: arrays (S,) at 16 kHz or other inputs of `load_audio`, such as paths, which are read when they are
            needed. A recording is decoded completely for each crop: divide those of many minutes.
        seconds: length of a crop.
        gain: decibels; a crop is made louder or softer by up to this much, from a peak of 0.5 in each recording.
        seed: seed of all random numbers.
        say: called with a message about each recording that cannot be read, the first time.

    Raises:
        InputError: there is no recording, none can be read, or crops are too short.

    Example:
        >>> from multimodal_ser.testing import synthetic_speech
        >>> from multimodal_ser.training.crops import Crops
        >>> crops = Crops([synthetic_speech(1.0), synthetic_speech(0.7, seed=1)], seconds=2.0)
        >>> crops.batch([0, 1, 5]).shape, bool((crops.batch([5])[0] == crops.crop(5)).all())
        ((3, 32000), True)
    """

    def __init__(
        self,
        recordings: Sequence[Any],
        *,
        seconds: float = 3.0,
        gain: float = 3.0,
        seed: int = 0,
        say: Callable[[str], None] | None = None,
    ):
        if isinstance(recordings, str | bytes | Path | Mapping) or not hasattr(recordings, "__len__"):
            got = type(recordings).__name__
            raise InputError("recordings", expected="a list of recordings", got=got, remedy="give [recording, ...]")
        if not len(recordings):
            raise InputError(
                "recordings", expected="at least one recording", got="none", remedy="give arrays at 16 kHz, or paths"
            )
        if not SHORTEST <= seconds < float("inf"):
            raise InputError(
                "seconds", expected=f"a length of at least {SHORTEST:g}", got=f"{seconds:g}", remedy="3 is a good one"
            )
        if not 0 <= gain < float("inf"):
            raise InputError("gain", expected="decibels from 0", got=f"{gain:g}", remedy="0 turns it off")
        self.recordings = recordings
        self.gain = gain
        self.seed = seed
        self.say = say
        self.samples = round(seconds * SAMPLING_RATE)
        self.errors: dict[int, InputError] = {}

    def crop(self, index: int) -> np.ndarray:
        """Return crop number `index`, (S,) float32; a function of the seed and the number alone."""
        generator = np.random.default_rng([self.seed, index])
        crop = np.zeros(self.samples, np.float32)
        waveform = self._drawn(generator)
        at = -int(generator.integers(0, SAMPLING_RATE + max(0, len(waveform) - self.samples)))  # anywhere in a long one
        while True:
            piece = waveform[max(0, -at) : self.samples - at]
            crop[max(0, at) : max(0, at) + len(piece)] = piece
            at += len(waveform)
            if at >= self.samples:
                return crop * np.float32(10 ** (generator.uniform(-self.gain, self.gain) / 20))
            waveform = self._drawn(generator)

    def batch(self, indices: Iterable[int]) -> np.ndarray:
        """Return several crops, (B, S) float32."""
        return np.stack([self.crop(index) for index in indices])

    def _drawn(self, generator: np.random.Generator) -> np.ndarray:
        count = len(self.recordings)
        first = int(generator.integers(count))
        for number in (*range(first, count), *range(first)):
            try:
                waveform = load_audio(self.recordings[number], SAMPLING_RATE)
            except InputError as error:
                if number not in self.errors:
                    self.errors[number] = error.named(f"recording {number} ({error.what})")
                    if self.say is not None:
                        self.say(f"left out: {self.errors[number]}")
                continue
            return waveform * np.float32(0.5 / max(float(np.abs(waveform).max()), 1e-4))
        example = next(iter(self.errors.values()))
        got = f"{count}, none of which can be read ({example})"
        raise InputError("recordings", expected="recordings that can be read", got=got, remedy="check the files")
