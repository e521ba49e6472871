"""The table of all metrics, for training, the report, the model's card and Hugging Face's `evaluate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from multimodal_ser.metrics.classes import (
    accuracy,
    confusion_matrix,
    macro_f1,
    unweighted_average_recall,
    weighted_f1,
)
from multimodal_ser.metrics.confidence import area_under_risk_coverage, expected_calibration_error
from multimodal_ser.metrics.dimensions import concordance_correlation
from multimodal_ser.metrics.words import word_error_rate

Inputs = Literal["predictions", "probabilities", "dimensions", "words"]


@dataclass(frozen=True)
class Metric:
    """A metric: its name, its function, and where and how it is shown.

    Args:
        name: key of the metric in log.jsonl, scores.json, report.json and card_facts.json, and in
            `metric_for_best_model` and `as_evaluate_metric`.
        title: name in tables, curves and messages.
        function: function of references (N,) and of the values that `inputs` names, both arrays or lists; returns a
            number.
        inputs: "predictions" (N,) class indices; "probabilities" (N, C); "dimensions" (N,) numbers, measured for each dimension and
            averaged over them; "words" N texts, which no table of classes shows.
        percent: whether it is a share and shown in percent; else it is shown unchanged, with three decimals.
        greater_is_better: whether training selects the highest value; else the lowest.
        interval: method of its 95 % interval; "centred" is for figures from 0 that repeated rows make larger; None: no
            interval.
        logged: whether training measures it after each epoch.
        shown: whether tables of the report and of the card have it; else only report.json has it.
        meaning: continuation of "UA is", for readers of the report and of the card; for dimensions, the heading of the
            table.
        hub: name of the same metric on the Hub, and its options, for the card's metadata; None: the Hub has none.

    Example:
        >>> from multimodal_ser.metrics import METRICS, Metric, accuracy
        >>> error_rate = Metric("error_rate", "errors", lambda true, guessed: 1 - accuracy(true, guessed), greater_is_better=False)
        >>> error_rate.text(0.25), METRICS["ccc"].text(0.5)
        ('25.0', '0.500')
    """

    name: str
    title: str
    function: Callable[..., float]
    inputs: Inputs = "predictions"
    percent: bool = True
    greater_is_better: bool = True
    interval: Literal["percentile", "centred"] | None = "percentile"
    logged: bool = True
    shown: bool = True
    meaning: str = ""
    hub: tuple[str, Mapping[str, str]] | None = None

    @property
    def factor(self) -> float:
        """Factor of a figure when it is shown."""
        return 100.0 if self.percent else 1.0

    @property
    def digits(self) -> int:
        """Number of decimals when a figure is shown."""
        return 1 if self.percent else 3

    @property
    def interval_key(self) -> str:
        """Key of the interval of a dimension in report.json."""
        return "interval" if self.name == "ccc" else f"{self.name}_interval"

    def text(self, value: float | None) -> str:
        """A figure as text for tables; a dash for None and NaN."""
        return "–" if value is None or math.isnan(value) else f"{self.factor * value:.{self.digits}f}"

    def of_classes(self, references: ArrayLike, predictions: ArrayLike, probabilities: ArrayLike) -> float:
        """The figure of clips with a class; `inputs` decides whether it uses the predictions or the probabilities."""
        return float(self.function(references, probabilities if self.inputs == "probabilities" else predictions))


METRICS: dict[str, Metric] = {
    row.name: row
    for row in (
        Metric("accuracy", "WA", accuracy, meaning="the share of clips that are right", hub=("accuracy", {})),
        Metric(
            "ua", "UA", unweighted_average_recall,
            meaning="the mean of the classes' recalls", hub=("recall", {"average": "macro"}),
        ),
        Metric("macro_f1", "macro F1", macro_f1, hub=("f1", {"average": "macro"})),
        Metric("weighted_f1", "weighted F1", weighted_f1, hub=("f1", {"average": "weighted"})),
        Metric(
            "ece", "ECE", expected_calibration_error, "probabilities", greater_is_better=False, interval="centred",
            logged=False, meaning="the distance between confidence and accuracy",
        ),
        Metric(
            "aurc", "AURC", area_under_risk_coverage, "probabilities", percent=False, greater_is_better=False,
            interval=None, logged=False, shown=False,
        ),
        Metric(
            "ccc", "CCC", concordance_correlation, "dimensions", percent=False,
            meaning="Lin's concordance correlation, -1 to 1",
        ),
        Metric("wer", "WER", word_error_rate, "words", greater_is_better=False, interval=None, logged=False),
    )
}  # fmt: skip
"""Metrics by name, in the order of log.jsonl and report.json. `METRICS["f2"] = Metric("f2", ...)` adds one for a script of your own."""

LEADING = "ua"
"""Name of the metric that selects and compares models; tables show it first."""

OLD_NAMES: Mapping[str, str] = {"wa": "accuracy"}
"""Old names of metrics, in files of version 0.1.0, and their names now."""


def metrics_of(*inputs: Inputs) -> list[Metric]:
    """The rows of `METRICS` with these inputs.

    Example:
        >>> from multimodal_ser.metrics.registry import metrics_of
        >>> [metric.name for metric in metrics_of("probabilities")]
        ['ece', 'aurc']
    """
    return [metric for metric in METRICS.values() if metric.inputs in inputs]


def shown_metrics() -> list[Metric]:
    """The metrics of classes that tables of the report and of the card show, the leading one first."""
    rows = [metric for metric in metrics_of("predictions", "probabilities") if metric.shown]
    return sorted(rows, key=lambda metric: metric.name != LEADING)


def scores(references: ArrayLike, predictions: ArrayLike, num_classes: int) -> dict[str, float]:
    """All scores of a classification.

    Args:
        references, predictions: (N,) class indices below `num_classes`.
        num_classes: C.

    Returns:
        Each metric of predictions: accuracy, ua, macro_f1, weighted_f1, from 0 to 1.

    Raises:
        InputError: see `confusion_matrix`.

    Example:
        >>> from multimodal_ser.metrics import scores
        >>> scores([0, 0, 1, 1], [0, 0, 1, 1], 3)
        {'accuracy': 1.0, 'ua': 1.0, 'macro_f1': 1.0, 'weighted_f1': 1.0}
    """
    confusion_matrix(references, predictions, num_classes)  # raises an error for a value that is no class
    return {metric.name: metric.function(references, predictions) for metric in metrics_of("predictions")}


def current_names(content: Any) -> Any:
    """A report or a table of figures with the present names of metrics; classes and speakers keep their names.

    Example:
        >>> from multimodal_ser.metrics.registry import current_names
        >>> current_names({"figures": {"wa": 0.5, "ua": 0.4}, "classes": {"wa": 12, "joy": 7}})
        {'figures': {'accuracy': 0.5, 'ua': 0.4}, 'classes': {'wa': 12, 'joy': 7}}
    """
    if isinstance(content, Mapping):
        old = OLD_NAMES if LEADING in content else {}
        return {old.get(name, name): current_names(value) for name, value in content.items()}
    return [current_names(each) for each in content] if isinstance(content, list) else content
