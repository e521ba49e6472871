"""Emotion recognition from speech and its transcript.

Importing this package imports nothing heavy: each public name loads its module when it is first touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from multimodal_ser._version import __version__

if TYPE_CHECKING:
    from multimodal_ser.audio import AudioError, load_audio, stream_audio
    from multimodal_ser.embeddings import EmotionEmbeddings, embed
    from multimodal_ser.errors import InputError
    from multimodal_ser.frames import frame_to_predictions, predictions_to_frame
    from multimodal_ser.labels import EMOTIONS, LabelError
    from multimodal_ser.model.configuration_multimodal_ser import MultimodalEmotionConfig, WhisperAudioEncoderConfig
    from multimodal_ser.model.modeling_core import MultimodalEmotionModel
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier
    from multimodal_ser.model.modeling_whisper_audio_encoder import WhisperAudioEncoder
    from multimodal_ser.model.processing_multimodal_ser import MultimodalEmotionProcessor
    from multimodal_ser.onnx import OnnxEmotionClassifier
    from multimodal_ser.prediction import EmotionPrediction
    from multimodal_ser.speakers import SpeakerProfile
    from multimodal_ser.transcription import Transcript, WhisperTranscriber

_HOMES = {
    "AudioError": "audio", "load_audio": "audio", "stream_audio": "audio",
    "InputError": "errors",
    "EMOTIONS": "labels", "LabelError": "labels",
    "Transcript": "transcription", "WhisperTranscriber": "transcription",
    "MultimodalEmotionConfig": "model", "WhisperAudioEncoderConfig": "model", "MultimodalEmotionClassifier": "model",
    "MultimodalEmotionModel": "model", "WhisperAudioEncoder": "model", "MultimodalEmotionProcessor": "model",
    "OnnxEmotionClassifier": "onnx", "EmotionPrediction": "prediction", "SpeakerProfile": "speakers",
    "EmotionEmbeddings": "embeddings", "embed": "embeddings",
    "frame_to_predictions": "frames", "predictions_to_frame": "frames",
}  # fmt: skip

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
