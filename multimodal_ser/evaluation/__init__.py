"""Evaluation of models and baselines, and plots of the results; each name loads its module on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.evaluation.arguments import EvaluationArguments
    from multimodal_ser.evaluation.baselines.registry import BASELINES, make_baseline
    from multimodal_ser.evaluation.report.plots import (
        plot_confusion_matrix,
        plot_reliability,
        plot_risk_coverage,
        plot_robustness,
        plot_systems,
    )
    from multimodal_ser.evaluation.run import evaluate

_PLOTS = ["plot_confusion_matrix", "plot_reliability", "plot_risk_coverage", "plot_robustness", "plot_systems"]
_HOMES = {
    "EvaluationArguments": "arguments",
    "evaluate": "run",
    "make_baseline": "baselines",
    "BASELINES": "baselines",
    **dict.fromkeys(_PLOTS, "report.plots"),
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
