"""The model: configuration, processor, branches, fusion, heads. Any of its names registers all of them with transformers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.model.configuration_multimodal_ser import MultimodalEmotionConfig, WhisperAudioEncoderConfig
    from multimodal_ser.model.modeling_core import MultimodalEmotionModel
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier, MultimodalEmotionOutput
    from multimodal_ser.model.modeling_whisper_audio_encoder import WhisperAudioEncoder
    from multimodal_ser.model.processing_multimodal_ser import MultimodalEmotionProcessor

__all__ = [
    "MultimodalEmotionClassifier",
    "MultimodalEmotionConfig",
    "MultimodalEmotionModel",
    "MultimodalEmotionOutput",
    "MultimodalEmotionProcessor",
    "WhisperAudioEncoder",
    "WhisperAudioEncoderConfig",
]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "modeling_multimodal_ser"))

# torchao, where it is installed, makes torch warn of torchao's own classes as soon as transformers' models are imported.
logging.getLogger("torch.utils._pytree").addFilter(lambda record: "register_constant()" not in record.getMessage())
