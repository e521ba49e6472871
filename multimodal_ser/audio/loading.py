"""Loads recordings as mono or multichannel float32 at 16 kHz, completely or in blocks with constant memory."""

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
"""The sampling rate of all parts of this library, Hz."""

MIN_DURATION = 0.025
"""The shortest recording, s: one frame of the models."""

MAX_DURATION = 4 * 3600.0
"""The longest recording, s; callers can raise this limit."""

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
        audio: a path, bytes, a binary file object (it is read from its position, and not closed), an array or tensor,
            or a Hugging Face audio dict ({"array", "sampling_rate"}, {"bytes"} or {"path"}). The shorter axis of a
            two-dimensional array is the channels. Integers are scaled by the range of their type; int64, the default
            type of numpy, by the range of int16 if all samples are in it, else by the range of int32.
        sampling_rate: sampling rate of an array, Hz; for files the header is used.
        channels: "mix" for the mean of the channels, "split" to keep them.
        max_duration: the longest recording that is accepted, s.

    Returns:
        float32: (S,) mixed, (C, S) split.

    Raises:
        AudioError: the input is no audio, cannot be read, is empty, is shorter than 25 ms or longer than
            `max_duration`, has NaN or infinity, or is shorter than its header says.
        AudioNotFoundError: the file does not exist; also a `FileNotFoundError`.

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
    """Load the same signal as `load_audio` in blocks, with constant memory.

    Args:
        audio: see `load_audio`.
        sampling_rate: see `load_audio`.
        block_duration: the length of all blocks except the last, s; infinity: one block.
        channels: see `load_audio`.
        max_duration: see `load_audio`.

    Yields:
        float32: (S,) mixed, (C, S) split.

    Raises:
        AudioError: see `load_audio`; an error at the end, such as a missing end, is raised only there.
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
        parts: list[np.ndarray] = []
        length = total = 0
        for piece in resampled(checked(recording, max_duration), recording.rate, SAMPLING_RATE):
            piece = piece.mean(axis=1, dtype=np.float32) if channels == "mix" else piece.T
            total += piece.shape[-1]
            # the last block is not yielded before the recording has been read to its end
            while length + piece.shape[-1] > size:
                parts.append(piece[..., : size - length])
                piece = piece[..., size - length :]
                length = 0
                yield np.ascontiguousarray(np.concatenate(parts, axis=-1))
                parts = []
            parts.append(piece)
            length += piece.shape[-1]
        if total < MIN_DURATION * SAMPLING_RATE:
            got = "no sound" if total == 0 else f"{1000 * total / SAMPLING_RATE:.0f} ms"
            raise AudioError(
                recording.name,
                expected=f"a recording of at least {1000 * MIN_DURATION:.0f} ms",
                got=got,
                remedy="record it again",
            )
        if length:
            yield np.ascontiguousarray(np.concatenate(parts, axis=-1))


def audio_duration(audio: AudioInput, sampling_rate: int | None = None) -> float:
    """The length of a recording in s, from its header if possible, else by decoding.

    Args:
        audio: see `load_audio`. The position of a file object is not changed.
        sampling_rate: sampling rate of an array, Hz.

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
    """Open a recording at its own sampling rate and with its own channels.

    Args:
        audio: see `load_audio`; an array must be a dict with its sampling rate.
        max_duration: the longest recording that is accepted, s.

    Yields:
        The sampling rate in Hz, and an iterator of pieces (S, C) of float32.

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
