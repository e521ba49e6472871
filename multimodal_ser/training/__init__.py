"""Training of models from a folder of clips or a manifest, on one process or many, with exact resumption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.training.arguments import TrainingArguments
    from multimodal_ser.training.augmentation import Augmenter
    from multimodal_ser.training.distillation import Crops, Distillation, Teacher, distil
    from multimodal_ser.training.loop import Loop
    from multimodal_ser.training.run import TrainingResult, train

_HOMES = {
    "TrainingArguments": "arguments", "Augmenter": "augmentation", "Loop": "loop", "train": "run", "TrainingResult": "run",
    "distil": "distillation", "Teacher": "distillation", "Distillation": "distillation", "Crops": "distillation",
}  # fmt: skip

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
