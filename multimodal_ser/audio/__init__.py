"""Audio in: any recording becomes mono (or split) float32 at 16 kHz, whole or block by block at flat memory."""

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
