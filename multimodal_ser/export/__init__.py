"""Export of models to ONNX and torch.export, and prediction without PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.export.onnx_runtime import OnnxEmotionClassifier

_HOMES = {"OnnxEmotionClassifier": "onnx_runtime"}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
