"""Inference: predictions and embeddings of recordings and texts, for one input or many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.inference.dataframes import frame_to_predictions, predictions_to_frame
    from multimodal_ser.inference.embeddings import EmotionEmbeddings, embed
    from multimodal_ser.inference.prediction import EmotionPrediction
    from multimodal_ser.inference.speakers import SpeakerProfile

_HOMES = {
    "EmotionPrediction": "prediction", "SpeakerProfile": "speakers", "EmotionEmbeddings": "embeddings", "embed": "embeddings",
    "frame_to_predictions": "dataframes", "predictions_to_frame": "dataframes",
}  # fmt: skip

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
