"""Loads recordings as mono or multichannel float32 at 16 kHz, completely or in blocks with constant memory."""

from multimodal_ser.audio.loading import (
    MAX_DURATION,
    MIN_DURATION,
    SAMPLING_RATE,
    AudioError,
    AudioInput,
    AudioNotFoundError,
    Channels,
    as_recorded,
    audio_duration,
    load_audio,
    stream_audio,
)

__all__ = [
    "MAX_DURATION", "MIN_DURATION", "SAMPLING_RATE", "AudioError", "AudioInput", "AudioNotFoundError", "Channels",
    "as_recorded", "audio_duration", "load_audio", "stream_audio",
]  # fmt: skip
