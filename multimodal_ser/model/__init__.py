"""The model: configuration, processor, branches, fusion, heads. Importing it registers all with transformers' Auto classes."""

from .configuration_multimodal_ser import MultimodalEmotionConfig, WhisperAudioEncoderConfig
from .modeling_core import MultimodalEmotionModel
from .modeling_multimodal_ser import MultimodalEmotionClassifier, MultimodalEmotionOutput
from .modeling_whisper_audio_encoder import WhisperAudioEncoder
from .processing_multimodal_ser import MultimodalEmotionProcessor

__all__ = [
    "MultimodalEmotionClassifier",
    "MultimodalEmotionConfig",
    "MultimodalEmotionModel",
    "MultimodalEmotionOutput",
    "MultimodalEmotionProcessor",
    "WhisperAudioEncoder",
    "WhisperAudioEncoderConfig",
]
