"""Evaluation: what a model's answers are worth, and pictures of it; each name loads its module when it is first touched."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimodal_ser.evaluation.arguments import EvaluationArguments
    from multimodal_ser.evaluation.baselines import BASELINES, make_baseline
    from multimodal_ser.evaluation.plots import (
        plot_confusion_matrix,
        plot_reliability,
        plot_risk_coverage,
        plot_robustness,
        plot_systems,
    )
    from multimodal_ser.evaluation.protocols import evaluate

_HOMES = {
    "EvaluationArguments": "arguments", "evaluate": "protocols", "make_baseline": "baselines", "BASELINES": "baselines",
    "plot_confusion_matrix": "plots", "plot_reliability": "plots", "plot_risk_coverage": "plots", "plot_robustness": "plots",
    "plot_systems": "plots",
}  # fmt: skip

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
