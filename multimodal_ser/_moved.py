"""Modules that have moved: their old paths work for one release, with a DeprecationWarning that names the new one."""

from __future__ import annotations

import importlib
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "containers": "audio.integrity",
    "conformal": "inference.conformal",
    "corpora.leaks": "corpora.leakage",
    "corpora.likeness": "corpora.duplicates",
    "corpora.places": "corpora.paths",
    "corpora.survey": "corpora.audit",
    "decoding": "audio.decoding",
    "embeddings": "inference.embeddings",
    "evaluation.baseline_features": "evaluation.baselines.features",
    "evaluation.baseline_lexicon": "evaluation.baselines.lexicon",
    "evaluation.baseline_networks": "evaluation.baselines.networks",
    "evaluation.html": "evaluation.report.html",
    "evaluation.plots": "evaluation.report.plots",
    "evaluation.sections": "evaluation.report.sections",
    "evaluation.answers": "evaluation.outputs",
    "evaluation.calibration": "calibration.run",
    "evaluation.figures": "evaluation.statistics",
    "evaluation.logits": "calibration.logits",
    "evaluation.merging": "labels.merging",
    "evaluation.protocols": "evaluation.run",
    "evaluation.provenance": "corpora.provenance",
    "evaluation.recognition": "evaluation.asr",
    "evaluation.rows": "evaluation.data",
    "evaluation.selective": "calibration.selective",
    "evaluation.temperature": "calibration.temperature",
    "exports": "export.onnx_export",
    "frames": "inference.dataframes",
    "inspection": "doctor",
    "items": "inference.inputs",
    "model.adapters": "hub.adapters",
    "model.card_facts": "hub.card_facts",
    "model.card_reports": "hub.card_reports",
    "model.card_sections": "hub.model_card",
    "model.hub_access": "hub.access",
    "model.model_card": "hub.model_card",
    "model.repository_checks": "hub.repository_checks",
    "onnx": "export.onnx_runtime",
    "prediction": "inference.prediction",
    "quantisation": "export.quantization",
    "speakers": "inference.speakers",
    "training.embedding_cache": "training.cache",
    "training.models": "training.initialization",
    "training.record": "training.run_folder",
    "training.voices": "training.speaker_augmentation",
    "windows": "audio.segmentation",
}
"""Old path -> new path, both within the package."""


class MovedModuleFinder(MetaPathFinder):
    """Answers an import of an old path with the module at its new one: the same object, not a copy.

    Example:
        >>> from multimodal_ser._moved import MovedModuleFinder
        >>> MovedModuleFinder().find_spec("multimodal_ser.windows").loader.path
        'multimodal_ser.audio.segmentation'
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """A specification for an old path; None for every other name."""
        package, _, module = name.partition(".")
        if package != __package__ or module not in MOVED:
            return None
        return ModuleSpec(name, _MovedModule(f"{package}.{MOVED[module]}"))


class _MovedModule(Loader):
    def __init__(self, path: str):
        self.path = path

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        message = f"{spec.name} has moved to {self.path}; the old path goes with the next release"
        warnings.warn(
            message, DeprecationWarning, stacklevel=2
        )  # Python leaves out the frames of its own import system
        module = importlib.import_module(self.path)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # Python has put the specification of the old path there
