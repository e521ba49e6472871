"""Provides transcription with Whisper, through one interface to three libraries; silence gives an empty text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.transcription.cache import TranscriptCache
    from multimodal_ser.transcription.transcriber import WhisperTranscriber
    from multimodal_ser.transcription.transcript import Transcript, Word
    from multimodal_ser.transcription.weights import (
        WhisperNotFoundError,
        WhisperWeights,
        find_whisper,
        whisper_candidates,
    )

_HOMES = {
    "Transcript": "transcript", "Word": "transcript", "TranscriptCache": "cache", "WhisperTranscriber": "transcriber",
    "WhisperNotFoundError": "weights", "WhisperWeights": "weights", "find_whisper": "weights", "whisper_candidates": "weights",
}  # fmt: skip

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
