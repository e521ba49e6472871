"""Emotion recognition from speech and its transcript.

Importing this package imports nothing heavy: each public name loads its module when it is first touched.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from multimodal_ser._auto_classes import AutoClassesFinder, register_auto_classes
from multimodal_ser._lazy import lazy_names
from multimodal_ser._moved import MovedModuleFinder
from multimodal_ser._version import __version__

if TYPE_CHECKING:
    from multimodal_ser.audio import AudioError, load_audio, stream_audio
    from multimodal_ser.calibration import calibrate
    from multimodal_ser.corpora import read_manifest
    from multimodal_ser.corpora.preparation import prepare
    from multimodal_ser.errors import InputError
    from multimodal_ser.evaluation import evaluate
    from multimodal_ser.export import OnnxEmotionClassifier
    from multimodal_ser.inference import (
        EmotionEmbeddings,
        EmotionPrediction,
        SpeakerProfile,
        embed,
        frame_to_predictions,
        predictions_to_frame,
    )
    from multimodal_ser.labels import EMOTIONS, LabelError
    from multimodal_ser.model.configuration_multimodal_ser import MultimodalEmotionConfig, WhisperAudioEncoderConfig
    from multimodal_ser.model.modeling_core import MultimodalEmotionModel
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier
    from multimodal_ser.model.modeling_whisper_audio_encoder import WhisperAudioEncoder
    from multimodal_ser.model.processing_multimodal_ser import MultimodalEmotionProcessor
    from multimodal_ser.training import TrainingArguments, train
    from multimodal_ser.transcription import Transcript, WhisperTranscriber

_HOMES = {
    "AudioError": "audio", "load_audio": "audio", "stream_audio": "audio",
    "InputError": "errors",
    "EMOTIONS": "labels", "LabelError": "labels",
    "Transcript": "transcription", "WhisperTranscriber": "transcription",
    "EmotionEmbeddings": "inference", "EmotionPrediction": "inference", "SpeakerProfile": "inference",
    "embed": "inference", "frame_to_predictions": "inference", "predictions_to_frame": "inference",
    "MultimodalEmotionConfig": "model", "WhisperAudioEncoderConfig": "model", "MultimodalEmotionClassifier": "model",
    "MultimodalEmotionModel": "model", "WhisperAudioEncoder": "model", "MultimodalEmotionProcessor": "model",
    "prepare": "corpora.preparation", "read_manifest": "corpora",
    "OnnxEmotionClassifier": "export",
    "calibrate": "calibration",
    "TrainingArguments": "training", "train": "training",
    "evaluate": "evaluation",
}  # fmt: skip

__all__ = ["__version__", "register_auto_classes", *_HOMES]
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

if not any(isinstance(finder, MovedModuleFinder) for finder in sys.meta_path):
    sys.meta_path.append(MovedModuleFinder())
if not any(isinstance(finder, AutoClassesFinder) for finder in sys.meta_path):
    AutoClassesFinder().install()
