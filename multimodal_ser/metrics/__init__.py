"""Metrics of predictions as pure functions, and as metrics of Hugging Face's `evaluate`."""

from multimodal_ser.metrics.classes import (
    accuracy,
    confusion_matrix,
    macro_f1,
    per_class_recall,
    unweighted_average_recall,
    weighted_f1,
)
from multimodal_ser.metrics.confidence import (
    area_under_risk_coverage,
    expected_calibration_error,
    reliability_curve,
    risk_coverage,
)
from multimodal_ser.metrics.dimensions import concordance_correlation
from multimodal_ser.metrics.intervals import bootstrap_interval
from multimodal_ser.metrics.registry import METRICS, Metric, scores
from multimodal_ser.metrics.shells import SHELLS, as_evaluate_metric
from multimodal_ser.metrics.words import word_error_rate

__all__ = [
    "METRICS",
    "Metric",
    "SHELLS",
    "accuracy",
    "area_under_risk_coverage",
    "as_evaluate_metric",
    "bootstrap_interval",
    "concordance_correlation",
    "confusion_matrix",
    "expected_calibration_error",
    "macro_f1",
    "per_class_recall",
    "reliability_curve",
    "risk_coverage",
    "scores",
    "unweighted_average_recall",
    "weighted_f1",
    "word_error_rate",
]
