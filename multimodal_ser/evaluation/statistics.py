"""What one system's answers are worth: every figure that the report has of it, with intervals, as plain numbers."""

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
"""Metrics of each group, fold and seed."""

DURATIONS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""S: edges of the buckets in which recordings are told apart by length."""

GROUPS: Mapping[str, Callable[[Any], str | None]] = {
    "speaker": lambda clip: clip.row.speaker,
    "gender": lambda clip: clip.row.gender,
    "language": lambda clip: clip.row.language,
    "corpus": lambda clip: clip.row.corpus,
    "duration": lambda clip: bucket(clip.duration) if clip.row.path is not None else None,
}
"""By what clips are told apart."""

KEPT = 0.75
"""The share of the clips that is kept where the least certain are left out."""


@dataclass(frozen=True)
class Pooled:
    """Answers of one system in one case, over all folds and seeds, of the clips whose class is known.

    Args:
        rows: (N,) indices of clips; with several seeds each clip is there once a seed.
        references, predictions: (N,) class indices; where several classes are admitted, the predicted one if it is among them.
        probabilities: (N, C).
        folds, seeds: (N,) where each is from.
    """

    rows: np.ndarray
    references: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    folds: np.ndarray
    seeds: np.ndarray

    @classmethod
    def of(cls, answers: Sequence[Answers], data: EvaluatedRows) -> Pooled:
        """Put the answers of folds and seeds together."""
        from multimodal_ser.training.scoring import compared

        rows = np.concatenate([np.array(part.rows, dtype=int) for part in answers])
        probabilities = np.concatenate([part.probabilities for part in answers])
        classes = data.classes[rows.tolist()]
        known = classes.float().sum(1).numpy() > 0
        references, predictions = compared(classes, probabilities)
        folds = np.concatenate([np.full(len(part.rows), part.question.fold, dtype=object) for part in answers])
        seeds = np.concatenate([np.full(len(part.rows), part.question.seed, dtype=object) for part in answers])
        totals = probabilities[known].sum(1, keepdims=True)
        shares = probabilities[known] / np.where(totals > 0, totals, 1)  # a file keeps seven digits
        return cls(rows[known], references, predictions, shares, folds[known], seeds[known])

    def among(self, chosen: np.ndarray) -> Pooled:
        """Some of them: (N,) bool, or indices."""
        values = (self.rows, self.references, self.predictions, self.probabilities, self.folds, self.seeds)
        return Pooled(*(value[chosen] for value in values))

    def __len__(self) -> int:
        return len(self.rows)


def bucket(duration: float) -> str:
    """Between which lengths a recording is.

    Args:
        duration: s.

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
    """Whom to resample: the speaker of each, or the recording where nobody knows who speaks."""
    clips = [data.clips[row] for row in rows]
    return [clip.row.speaker or clip.row.recording or clip.row.dialogue or clip.row.name for clip in clips]


def short_figures(pooled: Pooled) -> dict[str, float]:
    """Every metric of classes."""
    return {metric.name: _measure(metric, pooled) for metric in metrics_of("predictions", "probabilities")}


def _measure(metric: Metric, pooled: Pooled, rows: np.ndarray | slice = slice(None)) -> float:
    return metric.of_classes(pooled.references[rows], pooled.predictions[rows], pooled.probabilities[rows])


def system_figures(answers: Sequence[Answers], data: EvaluatedRows, resamples: int) -> dict[str, Any]:
    """All figures of one system in one case.

    Args:
        answers: of all folds and seeds.
        data: what was annotated.
        resamples: of speakers, behind each interval.

    Returns:
        clips, figures, intervals (95 %, speakers resampled), per_class, confusion_matrix, reliability, risk_coverage, selective, groups,
        folds, mean_over_folds, seeds, dimensions, unanswered, seconds; of those that nothing follows for, none.
    """
    question = answers[0].question
    found: dict[str, Any] = {
        "system": question.system, "kind": question.kind, "case": question.case,
        "clips": len({row for part in answers for row in part.rows}), "unanswered": sum(len(part.unanswered) for part in answers),
        "seconds": round(sum(part.seconds for part in answers), 1),
    }  # fmt: skip
    pooled = Pooled.of(answers, data)
    if len(pooled):
        found |= _classified(pooled, data, resamples)
    dimensions = _concordances(answers, data, resamples)
    return found | ({"dimensions": dimensions} if dimensions else {})


def _classified(pooled: Pooled, data: EvaluatedRows, resamples: int) -> dict[str, Any]:
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
    found: dict[str, Any] = {
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
        found["folds"] = {fold: _counted(pooled.among(pooled.folds == fold)) for fold in parts}
        found["mean_over_folds"] = {
            name: float(np.mean([part[name] for part in found["folds"].values()])) for name in OF_PARTS
        }
    seeds = dict.fromkeys(pooled.seeds)
    if len(seeds) > 1:
        each = {str(seed): _counted(pooled.among(pooled.seeds == seed)) for seed in seeds}
        spread = {name: float(np.std([part[name] for part in each.values()], ddof=1)) for name in OF_PARTS}
        found["seeds"] = {"each": each, "standard_deviation": spread}
    return found


def _interval(
    statistic: Callable[[np.ndarray], float], groups: Sequence[str], resamples: int, centred: bool = False
) -> list[float | None]:
    """95 %; centred: rows that a resample has several times make the figure larger in all resamples, which is taken off."""
    ends = bootstrap_interval(statistic, groups, resamples=resamples, centred=centred)
    return [number(max(end, 0.0) if centred else end) for end in ends]


def _counted(pooled: Pooled) -> dict[str, Any]:
    figures = {name: _measure(METRICS[name], pooled) for name in OF_PARTS}
    return {"clips": len(set(pooled.rows.tolist())), **figures, "classes": len(set(pooled.references.tolist()))}


def _groups(pooled: Pooled, data: EvaluatedRows) -> dict[str, dict[str, Any]]:
    """Accuracy and UA of each speaker, gender, ..., where there are several; UA is over the classes that occur in the group."""
    found: dict[str, dict[str, Any]] = {}
    for name, of in GROUPS.items():
        values = np.array([of(data.clips[row]) for row in pooled.rows], dtype=object)
        there = sorted({value for value in values if value is not None}, key=_order)
        if len(there) > 1:
            found[name] = {
                value: _counted(pooled.among(np.array([each == value for each in values]))) for value in there
            }
    return found


def _order(name: str) -> tuple[int, str]:
    """Buckets of duration by length, all else by name."""
    buckets = [bucket(edge) for edge in (0.0, *DURATIONS)]
    return (buckets.index(name) if name in buckets else -1), name


def _risk_coverage(pooled: Pooled) -> list[dict[str, float]]:
    coverage, risk = risk_coverage(pooled.references, pooled.probabilities)
    places = sorted({max(0, math.ceil(share / 20 * len(risk)) - 1) for share in range(1, 21)})
    return [{"coverage": float(coverage[at]), "risk": float(risk[at])} for at in places]


def _selective(pooled: Pooled, groups: Sequence[str], resamples: int) -> dict[str, Any]:
    """UA and accuracy of the surer three quarters, and what that gains."""
    certain = pooled.probabilities.max(1)

    def kept(rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(-certain[rows], kind="stable")[: max(1, math.ceil(KEPT * len(rows)))]]

    def gain(rows: np.ndarray) -> float:
        few = kept(rows)
        few_ua = unweighted_average_recall(pooled.references[few], pooled.predictions[few])
        return few_ua - unweighted_average_recall(pooled.references[rows], pooled.predictions[rows])

    everything = np.arange(len(pooled))
    few = kept(everything)
    return {
        "kept": KEPT, "confidence": float(certain[few].min()), "ua_gain": gain(everything), "interval": _interval(gain, groups, resamples),
        **_counted(pooled.among(few)),
    }  # fmt: skip


def _concordances(answers: Sequence[Answers], data: EvaluatedRows, resamples: int) -> dict[str, Any]:
    """Metrics of each dimension that is annotated and regressed."""
    found: dict[str, Any] = {}
    for name, annotated in data.dimensions.items():
        parts = [part for part in answers if name in part.dimensions]
        if not parts:
            continue
        rows = np.concatenate([np.array(part.rows, dtype=int) for part in parts])
        predicted, true = np.concatenate([part.dimensions[name] for part in parts]), annotated[rows]
        known = ~np.isnan(true)
        if known.sum() > 1:
            true, predicted, rows = true[known], predicted[known], rows[known]
            found[name] = {"clips": len(set(rows.tolist()))}
            for metric in metrics_of("dimensions"):

                def figure(
                    chosen: Any, of: Any = metric.function, true: Any = true, predicted: Any = predicted
                ) -> float:
                    return of(true[chosen], predicted[chosen])

                found[name][metric.name] = number(figure(slice(None)))
                if metric.interval:
                    groups, centred = groups_of(data, rows), metric.interval == "centred"
                    found[name][metric.interval_key] = _interval(figure, groups, resamples, centred)
    return found


def difference(one: Pooled, other: Pooled, data: EvaluatedRows, resamples: int) -> dict[str, Any] | None:
    """By how much the UA of one system is above that of another, on the clips that both answered; None: there are none."""
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
        "clips": len(common), "ua": _counted(first)["ua"], "against_ua": _counted(second)["ua"], "difference": gain(everything),
        "interval": _interval(gain, groups_of(data, common), resamples),
    }  # fmt: skip


def number(value: Any) -> float | None:
    """As JSON has it: what is no number is null."""
    return float(value) if value is not None and math.isfinite(float(value)) else None


def system_name(entry: Mapping[str, Any]) -> str:
    """What people call a system: "network, audio + text"."""
    return entry["system"] if entry["case"] == "any" else f"{entry['system']}, {entry['case']}"


def percent(value: float | None) -> str:
    """A share in percent with one decimal; nothing where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


def span(ends: Sequence[float | None] | None, factor: float = 100.0, digits: int = 1) -> str:
    """An interval, in percent; nothing where none follows."""
    if ends is None or ends[0] is None or ends[1] is None:
        return "–"
    return f"{factor * ends[0]:.{digits}f} to {factor * ends[1]:.{digits}f}"
