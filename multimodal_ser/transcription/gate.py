"""Detects speech, so that recordings without speech are not transcribed: Whisper invents text for silence."""

from __future__ import annotations

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE

SILENCE = 1e-4
"""A recording whose peak is below this value is digital silence: the last bit of 13."""


def speech_segments(waveform: np.ndarray) -> list[tuple[float, float]]:
    """Find the speech in a waveform with Silero's voice activity detector, which is part of faster-whisper.

    See https://github.com/snakers4/silero-vad. The level is normalized first, because the detector misses quiet speech.

    Args:
        waveform: (S,) at 16 kHz.

    Returns:
        The start and end of each stretch of speech in s, in order; empty if there is none.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    peak = float(np.abs(waveform).max(initial=0.0))
    if peak < SILENCE:
        return []
    options = VadOptions(threshold=0.5, min_speech_duration_ms=100, min_silence_duration_ms=300, speech_pad_ms=100)
    segments = get_speech_timestamps((waveform * (0.7 / peak)).astype(np.float32), options, sampling_rate=SAMPLING_RATE)
    return [(segment["start"] / SAMPLING_RATE, segment["end"] / SAMPLING_RATE) for segment in segments]


def speech_duration(waveform: np.ndarray) -> float:
    """The duration of speech, s, in a waveform (S,) at 16 kHz."""
    return sum(end - start for start, end in speech_segments(waveform))
