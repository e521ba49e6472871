"""Selective prediction: prediction sets with a guaranteed coverage, and thresholds of confidence for abstention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from multimodal_ser.calibration.temperature import checked, matrix
from multimodal_ser.errors import InputError
from multimodal_ser.inference.conformal import nonconformity

Method = Literal["lac", "aps"]


def conformal_threshold(
    probabilities: ArrayLike,
    references: ArrayLike,
    coverage: float = 0.9,
    *,
    method: Method = "lac",
    speakers: Sequence[str] | None = None,
) -> float:
    """Return the threshold of split conformal prediction, for prediction sets with a probability of at least
    `coverage`.

    The coverage is the probability that a set contains the right label. It is proven for clips that are exchangeable
    with these. Clips of other speakers are not, and their coverage may be lower: measure it on speakers left out, as
    `calibrate` does, or pass `speakers`. The coverage then holds for the clips of a new speaker from the same
    population (Lee et al. 2023, https://arxiv.org/abs/2306.06342); 0.9 needs at least 9 speakers, and the sets are
    larger.

    Args:
        probabilities: (N, C).
        references: class indices (N,), or admissible classes (N, C), bool; a set is right if it contains one of them.
        coverage: share of sets that should be right, between 0 and 1.
        method: "lac": the smallest sets on average (Sadinle et al. 2019, https://arxiv.org/abs/1609.00451); "aps":
            larger sets for hard clips, smaller ones for easy clips (Romano et al. 2020,
            https://arxiv.org/abs/2006.02544).
        speakers: speaker of each of the N clips; None: every clip counts alone.

    Returns:
        The largest `conformal.nonconformity` of a label in a set, from 0 to 1: the ceil((N + 1) coverage)-th smallest
        among the right labels. It is 1, so that sets contain all labels, if there are too few clips or speakers.

    Raises:
        InputError: see `fit_temperature`; or the coverage is not a share.

    Example:
        >>> from multimodal_ser.calibration.selective import conformal_threshold
        >>> conformal_threshold([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], [0, 0, 0], coverage=0.5)
        0.5
    """
    values, admitted = checked("probabilities", probabilities, references)
    coverage = checked_coverage(coverage)
    if speakers is not None and len(speakers) != len(values):
        remedy = "give the speaker of each row"
        raise InputError("speakers", expected=f"{len(values)}, one a row", got=str(len(speakers)), remedy=remedy)
    scores = np.where(admitted, nonconformity(values, checked_method(method)), np.inf).min(1)
    groups = np.arange(len(values)) if speakers is None else np.asarray(speakers, dtype=str)
    _, group_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of)
    order = np.argsort(scores, kind="stable")
    # the denominator counts the new clip or speaker too
    reached = (1 / sizes[group_of][order]).cumsum() / (len(sizes) + 1)
    at = int(np.searchsorted(reached, coverage - 1e-9))
    return float(min(scores[order][at], 1.0)) if at < len(scores) else 1.0


def conformal_sets(probabilities: ArrayLike, threshold: float, *, method: Method = "lac") -> np.ndarray:
    """Return prediction sets: the labels up to the threshold, and always the most probable one.

    Args:
        probabilities: (N, C).
        threshold: threshold from `conformal_threshold`, with the same method.
        method: "lac" or "aps".

    Returns:
        (N, C) bool: whether a label is in the set of a row; every row has at least one.

    Raises:
        InputError: probabilities have another shape, or are not finite.

    Example:
        >>> from multimodal_ser.calibration.selective import conformal_sets
        >>> conformal_sets([[0.75, 0.2, 0.05], [0.4, 0.35, 0.25]], 0.7).tolist()
        [[True, False, False], [True, True, False]]
    """
    values = matrix("probabilities", probabilities)
    inside = nonconformity(values, checked_method(method)) <= threshold
    inside[np.arange(len(values)), values.argmax(1)] = True
    return inside


@dataclass(frozen=True)
class ConfidenceThreshold:
    """A threshold of confidence, with its effect on the clips that it was fitted on.

    Args:
        threshold: for `predict(..., abstain_below=threshold)`; infinite if even the most confident predictions are
            wrong too often.
        kept: number of clips with at least this confidence.
        share: kept / all.
        error: share of the kept clips that are wrong; 0 if none is kept.

    Example:
        >>> from multimodal_ser.calibration.selective import confidence_threshold
        >>> confidence_threshold([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4]], [0, 0, 1], error=0.25)
        ConfidenceThreshold(threshold=0.7, kept=2, share=0.6666666666666666, error=0.0)
    """

    threshold: float
    kept: int
    share: float
    error: float


def confidence_threshold(probabilities: ArrayLike, references: ArrayLike, error: float) -> ConfidenceThreshold:
    """Return the lowest confidence above which at most a share `error` of the predictions is wrong.

    It is fitted to these clips, so that others are wrong a little more often: choose a lower `error`, or measure it on
    other speakers.

    Args:
        probabilities: (N, C).
        references: class indices (N,), or admissible classes (N, C), bool.
        error: largest share of errors among the kept predictions, from 0 to 1.

    Raises:
        InputError: see `fit_temperature`; or `error` is not a share.
    """
    values, admitted = checked("probabilities", probabilities, references)
    error = checked_error(error)
    confidence = values.max(1)
    wrong = ~admitted[np.arange(len(values)), values.argmax(1)]
    order = np.argsort(-confidence, kind="stable")
    descending = confidence[order]
    risk = wrong[order].cumsum() / np.arange(1, len(values) + 1)
    is_last = np.append(descending[1:] < descending[:-1], True)  # of equal confidences all are kept, or none
    allowed = np.flatnonzero(is_last & (risk <= error))
    if not len(allowed):
        return ConfidenceThreshold(math.inf, 0, 0.0, 0.0)
    at = int(allowed[-1])
    return ConfidenceThreshold(float(descending[at]), at + 1, (at + 1) / len(values), float(risk[at]))


def checked_coverage(coverage: Any) -> float:
    """Return the share, or raise an error if it is none."""
    if isinstance(coverage, bool) or not isinstance(coverage, Real) or not 0 < float(coverage) < 1:
        raise InputError("coverage", expected="a share between 0 and 1", got=repr(coverage), remedy="0.9 is usual")
    return float(coverage)


def checked_error(error: Any) -> float:
    """Return the share, or raise an error if it is none."""
    if isinstance(error, bool) or not isinstance(error, Real) or not 0 <= float(error) < 1:
        raise InputError("error", expected="a share from 0, below 1", got=repr(error), remedy="0.1: one in ten")
    return float(error)


def checked_method(method: str) -> str:
    """Return the name of a method for prediction sets, or raise an error if it is none."""
    if method not in get_args(Method):
        raise InputError(
            "method",
            expected=f"one of {', '.join(get_args(Method))}",
            got=repr(method),
            remedy="lac gives the smallest sets",
        )
    return method
