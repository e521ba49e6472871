"""Audio in: any recording becomes mono (or split) float32 at 16 kHz, whole or block by block at flat memory."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from multimodal_ser.audio.decoding import (
    AudioError,
    AudioInput,
    AudioNotFoundError,
    checked,
    is_file,
    is_seekable,
    opened_recording,
    resampled,
)
from multimodal_ser.errors import InputError

__all__ = [
    "MAX_DURATION", "MIN_DURATION", "SAMPLING_RATE", "AudioError", "AudioInput", "AudioNotFoundError", "Channels", "as_recorded",
    "audio_duration", "load_audio", "stream_audio",
]  # fmt: skip

SAMPLING_RATE = 16_000
"""Hz: what every part of this library works at."""

MIN_DURATION = 0.025
"""s: a frame of the models; less is no recording."""

MAX_DURATION = 4 * 3600.0
"""s: longer recordings are refused unless the caller raises this limit."""

Channels = Literal["mix", "split"]


def load_audio(
    audio: AudioInput,
    sampling_rate: int | None = None,
    *,
    channels: Channels = "mix",
    max_duration: float = MAX_DURATION,
) -> np.ndarray:
    """Decode a recording, resample it to 16 kHz and mix its channels.

    Args:
        audio: a path, bytes, a binary file object (read from where it stands, not closed), an array or tensor, or a Hugging Face audio dict
            ({"array", "sampling_rate"}, {"bytes"} or {"path"}). Of a two-dimensional array the shorter axis is the channels. Integers are
            scaled by their range; int64, which numpy makes of any integers, by that of int16 where no sample is beyond it, else by
            that of int32.
        sampling_rate: of an array, Hz. A file's header says its own.
        channels: "mix" for their mean, "split" to keep them.
        max_duration: longest recording that is taken, s.

    Returns:
        float32: (S,) mixed, (C, S) split.

    Raises:
        AudioError: what was given is no audio, cannot be read, is empty, shorter than 25 ms, longer than `max_duration`, holds NaN or
            infinity, or holds less than its header claims. `AudioNotFoundError`, also a `FileNotFoundError`, where there is no such file.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.audio import load_audio
        >>> load_audio(np.zeros((2, 48000), np.int16), sampling_rate=48000).shape
        (16000,)
    """
    blocks = list(stream_audio(audio, sampling_rate, channels=channels, max_duration=max_duration))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=-1)


def stream_audio(
    audio: AudioInput,
    sampling_rate: int | None = None,
    *,
    block_duration: float = 30.0,
    channels: Channels = "mix",
    max_duration: float = MAX_DURATION,
) -> Iterator[np.ndarray]:
    """The same signal as `load_audio` gives, block by block, at flat memory.

    Args:
        audio: see `load_audio`.
        sampling_rate: see `load_audio`.
        block_duration: s; every block but the last is this long. Infinity: one block.
        channels: see `load_audio`.
        max_duration: see `load_audio`.

    Yields:
        float32: (S,) mixed, (C, S) split.

    Raises:
        AudioError: see `load_audio`; what only shows at the end (a recording shorter than its header claims) is raised there.
    """
    if channels not in ("mix", "split"):
        raise InputError("channels", expected="'mix' or 'split'", got=repr(channels), remedy="choose one of them")
    if not isinstance(block_duration, numbers.Real) or not block_duration * SAMPLING_RATE >= 1:
        got = repr(block_duration)
        raise InputError(
            "block_duration",
            expected="a positive number of seconds, a sample at least",
            got=got,
            remedy="30 is a good one",
        )
    size = sys.maxsize if math.isinf(block_duration) else round(block_duration * SAMPLING_RATE)
    with opened_recording(audio, sampling_rate, max_duration) as recording:
        waiting: list[np.ndarray] = []
        held = total = 0
        for piece in resampled(checked(recording, max_duration), recording.rate, SAMPLING_RATE):
            piece = piece.mean(axis=1, dtype=np.float32) if channels == "mix" else piece.T
            total += piece.shape[-1]
            while (
                held + piece.shape[-1] > size
            ):  # the last block is kept back until the recording has been read to its end
                waiting.append(piece[..., : size - held])
                piece, held = piece[..., size - held :], 0
                yield np.ascontiguousarray(np.concatenate(waiting, axis=-1))
                waiting = []
            waiting.append(piece)
            held += piece.shape[-1]
        if total < MIN_DURATION * SAMPLING_RATE:
            got = "no sound" if total == 0 else f"{1000 * total / SAMPLING_RATE:.0f} ms"
            raise AudioError(
                recording.name,
                expected=f"a recording of at least {1000 * MIN_DURATION:.0f} ms",
                got=got,
                remedy="record it again",
            )
        if held:
            yield np.ascontiguousarray(np.concatenate(waiting, axis=-1))


def audio_duration(audio: AudioInput, sampling_rate: int | None = None) -> float:
    """Length of a recording in seconds: from its header where that says it, else by decoding.

    Args:
        audio: see `load_audio`. A file object stands afterwards where it stood.
        sampling_rate: of an array, Hz.

    Raises:
        AudioError: see `load_audio`.
    """
    file: Any = audio
    position = file.tell() if is_file(file) and is_seekable(file) else None
    try:
        with opened_recording(audio, sampling_rate, math.inf) as recording:
            if recording.duration is not None:
                return recording.duration
            return sum(len(piece) for piece in checked(recording, math.inf)) / recording.rate
    finally:
        if position is not None:
            file.seek(position)


@contextmanager
def as_recorded(audio: AudioInput, max_duration: float = MAX_DURATION) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """A recording at its own rate and with its own channels, piece by piece: (sampling rate in Hz, pieces (S, C) of float32).

    Args:
        audio: see `load_audio`; an array has to name its rate (a dict).
        max_duration: s.

    Raises:
        AudioError: see `load_audio`.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.audio import as_recorded
        >>> with as_recorded({"array": np.ones((8000, 2), dtype=np.float32), "sampling_rate": 8000}) as (rate, pieces):
        ...     rate, sum(piece.shape[0] for piece in pieces)
        (8000, 8000)
    """
    with opened_recording(audio, None, max_duration) as recording:
        yield recording.rate, checked(recording, max_duration)
