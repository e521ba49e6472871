"""The statistics of one system in the report: figures, 95 % intervals, groups and curves, as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from multimodal_ser.evaluation.data import EvaluatedRows
from multimodal_ser.evaluation.outputs import Answers
from multimodal_ser.metrics import (
    bootstrap_interval,
    confusion_matrix,
    per_class_recall,
    reliability_curve,
    risk_coverage,
    unweighted_average_recall,
)
from multimodal_ser.metrics.registry import METRICS, Metric, metrics_of

OF_PARTS = ("accuracy", "ua")
"""Names of the metrics that each group, fold and seed has."""

DURATIONS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Edges, in s, of the buckets into which recordings are grouped by length."""

GROUPS: Mapping[str, Callable[[Any], str | None]] = {
    "speaker": lambda clip: clip.row.speaker,
    "gender": lambda clip: clip.row.gender,
    "language": lambda clip: clip.row.language,
    "corpus": lambda clip: clip.row.corpus,
    "duration": lambda clip: bucket(clip.duration) if clip.row.path is not None else None,
}
"""By name of a kind of groups, the function that returns the group of a clip; None: the clip is in no group."""

KEPT = 0.75
"""The share of the clips that stays when the least certain clips are left out."""


@dataclass(frozen=True)
class Pooled:
    """Answers of one system in one case, over all folds and seeds, of the clips whose class is known.

    Args:
        rows: (N,) indices of clips; with several seeds each clip occurs once for each seed.
        references, predictions: (N,) class indices; where several classes are admitted, the reference is the predicted
            class if it is one of them.
        probabilities: (N, C).
        folds, seeds: (N,) fold and seed of each answer.
    """

    rows: np.ndarray
    references: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    folds: np.ndarray
    seeds: np.ndarray

    @classmethod
    def of(cls, answers: Sequence[Answers], data: EvaluatedRows) -> Pooled:
        """Join the answers of all folds and seeds."""
        from multimodal_ser.training.scoring import compared

        rows = np.concatenate([np.array(part.rows, dtype=int) for part in answers])
        probabilities = np.concatenate([part.probabilities for part in answers])
        classes = data.classes[rows.tolist()]
        has_class = classes.float().sum(1).numpy() > 0
        references, predictions = compared(classes, probabilities)
        folds = np.concatenate([np.full(len(part.rows), part.question.fold, dtype=object) for part in answers])
        seeds = np.concatenate([np.full(len(part.rows), part.question.seed, dtype=object) for part in answers])
        totals = probabilities[has_class].sum(1, keepdims=True)
        shares = probabilities[has_class] / np.where(totals > 0, totals, 1)  # a file keeps seven digits
        return cls(rows[has_class], references, predictions, shares, folds[has_class], seeds[has_class])

    def among(self, chosen: np.ndarray) -> Pooled:
        """The answers that `chosen` selects: (N,) bool, or indices."""
        values = (self.rows, self.references, self.predictions, self.probabilities, self.folds, self.seeds)
        return Pooled(*(value[chosen] for value in values))

    def __len__(self) -> int:
        return len(self.rows)


def bucket(duration: float) -> str:
    """The name of the bucket of a recording's length.

    Args:
        duration: in s.

    Example:
        >>> from multimodal_ser.evaluation.statistics import bucket
        >>> bucket(0.5), bucket(3.0), bucket(60.0)
        ('below 1 s', '2 to 4 s', '16 s and more')
    """
    above = [edge for edge in DURATIONS if edge > duration]
    if len(above) == len(DURATIONS):
        return f"below {DURATIONS[0]:g} s"
    if not above:
        return f"{DURATIONS[-1]:g} s and more"
    return f"{DURATIONS[len(DURATIONS) - len(above) - 1]:g} to {above[0]:g} s"


def groups_of(data: EvaluatedRows, rows: np.ndarray) -> list[str]:
    """The group of each row for resampling: its speaker, or its recording where the speaker is not known."""
    clips = [data.clips[row] for row in rows]
    return [clip.row.speaker or clip.row.recording or clip.row.dialogue or clip.row.name for clip in clips]


def short_figures(pooled: Pooled) -> dict[str, float]:
    """All metrics of classes, by name; without intervals."""
    return {metric.name: _measure(metric, pooled) for metric in metrics_of("predictions", "probabilities")}


def _measure(metric: Metric, pooled: Pooled, rows: np.ndarray | slice = slice(None)) -> float:
    return metric.of_classes(pooled.references[rows], pooled.predictions[rows], pooled.probabilities[rows])


def system_figures(answers: Sequence[Answers], data: EvaluatedRows, resamples: int) -> dict[str, Any]:
    """All figures of one system in one case.

    Args:
        answers: answers of all folds and seeds.
        data: the annotated rows.
        resamples: number of bootstrap resamples of speakers for each interval.

    Returns:
        system, kind, case, clips, unanswered (a count), seconds (in s), figures (by metric), intervals (95 %, speakers
        resampled), per_class, confusion_matrix (counts), reliability, risk_coverage, selective, groups, folds,
        mean_over_folds, seeds, dimensions. A key is absent where the answers allow no such figure.
    """
    question = answers[0].question
    entry: dict[str, Any] = {
        "system": question.system, "kind": question.kind, "case": question.case,
        "clips": len({row for part in answers for row in part.rows}), "unanswered": sum(len(part.unanswered) for part in answers),
        "seconds": round(sum(part.seconds for part in answers), 1),
    }  # fmt: skip
    pooled = Pooled.of(answers, data)
    if len(pooled):
        entry |= _class_figures(pooled, data, resamples)
    dimensions = _dimension_figures(answers, data, resamples)
    return entry | ({"dimensions": dimensions} if dimensions else {})


def _class_figures(pooled: Pooled, data: EvaluatedRows, resamples: int) -> dict[str, Any]:
    labels = data.labels
    groups = groups_of(data, pooled.rows)
    intervals = {
        metric.name: _interval(partial(_measure, metric, pooled), groups, resamples, metric.interval == "centred")
        for metric in metrics_of("predictions", "probabilities")
        if metric.interval
    }
    counts = confusion_matrix(pooled.references, pooled.predictions, len(labels))
    recalls = per_class_recall(pooled.references, pooled.predictions, len(labels))
    curve = reliability_curve(pooled.references, pooled.probabilities)
    entry: dict[str, Any] = {
        "figures": short_figures(pooled), "intervals": intervals, "speakers": len(set(groups)),
        "per_class": {
            label: {"clips": int(counts[k].sum()), "recall": number(recalls[k]), "predicted": int(counts[:, k].sum())}
            for k, label in enumerate(labels)
        },
        "confusion_matrix": counts.tolist(),
        "reliability": [{name: number(value) for name, value in each.items()} for each in curve],
        "risk_coverage": _risk_coverage(pooled), "selective": _selective(pooled, groups, resamples), "groups": _groups(pooled, data),
    }  # fmt: skip
    parts = dict.fromkeys(pooled.folds)
    if len(parts) > 1:
        entry["folds"] = {fold: _figures_of_part(pooled.among(pooled.folds == fold)) for fold in parts}
        entry["mean_over_folds"] = {
            name: float(np.mean([part[name] for part in entry["folds"].values()])) for name in OF_PARTS
        }
    seeds = dict.fromkeys(pooled.seeds)
    if len(seeds) > 1:
        each = {str(seed): _figures_of_part(pooled.among(pooled.seeds == seed)) for seed in seeds}
        spread = {name: float(np.std([part[name] for part in each.values()], ddof=1)) for name in OF_PARTS}
        entry["seeds"] = {"each": each, "standard_deviation": spread}
    return entry


def _interval(
    statistic: Callable[[np.ndarray], float], groups: Sequence[str], resamples: int, centred: bool = False
) -> list[float | None]:
    """95 % interval; centred: repeated rows make the figure larger in every resample, and this bias is subtracted."""
    ends = bootstrap_interval(statistic, groups, resamples=resamples, centred=centred)
    return [number(max(end, 0.0) if centred else end) for end in ends]


def _figures_of_part(pooled: Pooled) -> dict[str, Any]:
    figures = {name: _measure(METRICS[name], pooled) for name in OF_PARTS}
    return {"clips": len(set(pooled.rows.tolist())), **figures, "classes": len(set(pooled.references.tolist()))}


def _groups(pooled: Pooled, data: EvaluatedRows) -> dict[str, dict[str, Any]]:
    """Accuracy and UA by kind of group and by group, for kinds with several; UA is over the classes in the group."""
    groups: dict[str, dict[str, Any]] = {}
    for name, of in GROUPS.items():
        values = np.array([of(data.clips[row]) for row in pooled.rows], dtype=object)
        occurring = sorted({value for value in values if value is not None}, key=_order)
        if len(occurring) > 1:
            groups[name] = {
                value: _figures_of_part(pooled.among(np.array([each == value for each in values])))
                for value in occurring
            }
    return groups


def _order(name: str) -> tuple[int, str]:
    """Sorting key: buckets of duration by length, other groups by name."""
    buckets = [bucket(edge) for edge in (0.0, *DURATIONS)]
    return (buckets.index(name) if name in buckets else -1), name


def _risk_coverage(pooled: Pooled) -> list[dict[str, float]]:
    coverage, risk = risk_coverage(pooled.references, pooled.probabilities)
    places = sorted({max(0, math.ceil(share / 20 * len(risk)) - 1) for share in range(1, 21)})
    return [{"coverage": float(coverage[at]), "risk": float(risk[at])} for at in places]


def _selective(pooled: Pooled, groups: Sequence[str], resamples: int) -> dict[str, Any]:
    """UA and accuracy of the three quarters with the highest confidence, and the gain in UA over all clips."""
    confidence = pooled.probabilities.max(1)

    def surest(rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(-confidence[rows], kind="stable")[: max(1, math.ceil(KEPT * len(rows)))]]

    def gain(rows: np.ndarray) -> float:
        selected = surest(rows)
        few_ua = unweighted_average_recall(pooled.references[selected], pooled.predictions[selected])
        return few_ua - unweighted_average_recall(pooled.references[rows], pooled.predictions[rows])

    everything = np.arange(len(pooled))
    selected = surest(everything)
    return {
        "kept": KEPT, "confidence": float(confidence[selected].min()),
        "ua_gain": gain(everything), "interval": _interval(gain, groups, resamples),
        **_figures_of_part(pooled.among(selected)),
    }  # fmt: skip


def _dimension_figures(answers: Sequence[Answers], data: EvaluatedRows, resamples: int) -> dict[str, Any]:
    """Metrics of each dimension that has annotations and predictions."""
    figures: dict[str, Any] = {}
    for name, annotated in data.dimensions.items():
        parts = [part for part in answers if name in part.dimensions]
        if not parts:
            continue
        rows = np.concatenate([np.array(part.rows, dtype=int) for part in parts])
        predicted, true = np.concatenate([part.dimensions[name] for part in parts]), annotated[rows]
        annotated_rows = ~np.isnan(true)
        if annotated_rows.sum() > 1:
            true, predicted, rows = true[annotated_rows], predicted[annotated_rows], rows[annotated_rows]
            figures[name] = {"clips": len(set(rows.tolist()))}
            for metric in metrics_of("dimensions"):

                def figure(
                    chosen: Any, of: Any = metric.function, true: Any = true, predicted: Any = predicted
                ) -> float:
                    return of(true[chosen], predicted[chosen])

                figures[name][metric.name] = number(figure(slice(None)))
                if metric.interval:
                    groups, centred = groups_of(data, rows), metric.interval == "centred"
                    figures[name][metric.interval_key] = _interval(figure, groups, resamples, centred)
    return figures


def difference(one: Pooled, other: Pooled, data: EvaluatedRows, resamples: int) -> dict[str, Any] | None:
    """The difference in UA of two systems, on the clips that both answered.

    Returns:
        clips, ua and against_ua (shares, 0 to 1), difference (`one` less `other`) and its 95 % interval; None: no clip
        has both answers.
    """
    common = np.intersect1d(one.rows, other.rows)
    if not len(common):
        return None
    first, second = (pooled.among(np.isin(pooled.rows, common)) for pooled in (one, other))
    where = {}
    for key, pooled in (("first", first), ("second", second)):
        order = np.argsort(pooled.rows, kind="stable")
        starts = np.searchsorted(pooled.rows[order], [common, common + 1])
        where[key] = [order[low:high] for low, high in zip(*starts, strict=True)]

    def gain(chosen: np.ndarray) -> float:
        uas = []
        for key, pooled in (("first", first), ("second", second)):
            at = np.concatenate([where[key][place] for place in chosen])
            uas.append(unweighted_average_recall(pooled.references[at], pooled.predictions[at]))
        return uas[0] - uas[1]

    everything = np.arange(len(common))
    return {
        "clips": len(common), "ua": _figures_of_part(first)["ua"], "against_ua": _figures_of_part(second)["ua"],
        "difference": gain(everything), "interval": _interval(gain, groups_of(data, common), resamples),
    }  # fmt: skip


def number(value: Any) -> float | None:
    """A float that JSON can write; None for NaN, infinity and None."""
    return float(value) if value is not None and math.isfinite(float(value)) else None


def system_name(entry: Mapping[str, Any]) -> str:
    """The name of a system and its case, such as "network, audio + text"."""
    return entry["system"] if entry["case"] == "any" else f"{entry['system']}, {entry['case']}"


def percent(value: float | None) -> str:
    """A share in percent with one decimal; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def span(ends: Sequence[float | None] | None, factor: float = 100.0, digits: int = 1) -> str:
    """The ends of an interval, in percent; a dash where there is no interval."""
    if ends is None or ends[0] is None or ends[1] is None:
        return "–"
    return f"{factor * ends[0]:.{digits}f} to {factor * ends[1]:.{digits}f}"
