"""The gate: whether anybody speaks at all. Whisper invents text on silence; what has no voice never reaches it."""

from __future__ import annotations

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE

SILENCE = 1e-4
"""Peak below which a recording is digital silence: the last bit of 13."""


def speech_segments(waveform: np.ndarray) -> list[tuple[float, float]]:
    """Where there is speech, by Silero's voice activity detector (https://github.com/snakers4/silero-vad), as faster-whisper ships it.

    The level is evened out first: the detector misses quiet speech that a person hears well.

    Args:
        waveform: (S,) at 16 kHz.

    Returns:
        (start, end) in s, in order; empty where nobody speaks.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    peak = float(np.abs(waveform).max(initial=0.0))
    if peak < SILENCE:
        return []
    options = VadOptions(threshold=0.5, min_speech_duration_ms=100, min_silence_duration_ms=300, speech_pad_ms=100)
    segments = get_speech_timestamps((waveform * (0.7 / peak)).astype(np.float32), options, sampling_rate=SAMPLING_RATE)
    return [(segment["start"] / SAMPLING_RATE, segment["end"] / SAMPLING_RATE) for segment in segments]


def speech_duration(waveform: np.ndarray) -> float:
    """Seconds of speech in a waveform (S,) at 16 kHz."""
    return sum(end - start for start, end in speech_segments(waveform))
