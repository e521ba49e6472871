"""Probabilities: whether a confidence of 0.8 is right in eight of ten cases, and what is won where the least certain are left out."""

from __future__ import annotations

import numbers

import numpy as np
from numpy.typing import ArrayLike

from multimodal_ser.errors import InputError
from multimodal_ser.metrics.classes import checked_classes

TOLERANCE = 0.02
"""How far a row of probabilities may be from a sum of 1: bfloat16 comes to 0.01."""


def expected_calibration_error(references: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Mean distance between confidence and accuracy, ECE, over bins of equal width, weighted by the clips in each.

    As in Guo et al. 2017 (https://arxiv.org/abs/1706.04599): confidence is the largest probability, bins are open below, closed above.
    It is above 0 for a perfectly calibrated model too, by more the fewer clips there are.

    Args:
        references: (N,) class indices.
        probabilities: (N, C), each row a distribution.
        bins: between 0 and 1.

    Returns:
        0 to 1.

    Raises:
        InputError: none, not as many of one as of the other, logits in place of probabilities, an index that is no class.

    Example:
        >>> from multimodal_ser.metrics import expected_calibration_error
        >>> round(expected_calibration_error([0, 1], [[0.75, 0.25], [0.75, 0.25]]), 4)
        0.25
    """
    curve = reliability_curve(references, probabilities, bins)
    total = sum(each["count"] for each in curve)
    return float(
        sum(each["count"] * abs(each["accuracy"] - each["confidence"]) for each in curve if each["count"]) / total
    )


def reliability_curve(references: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> list[dict[str, float]]:
    """What is behind the calibration error: in each bin of confidence, how sure the model was and how often it was right.

    Args:
        references: (N,) class indices.
        probabilities: (N, C), each row a distribution.
        bins: how many, of equal width between 0 and 1.

    Returns:
        For each bin lower and upper (confidence above the one, up to the other), count, and the means confidence and accuracy (NaN in an
        empty bin).

    Raises:
        InputError: see `expected_calibration_error`; no whole number of bins above 0.

    Example:
        >>> from multimodal_ser.metrics import reliability_curve
        >>> reliability_curve([0, 1], [[0.75, 0.25], [1.0, 0.0]], bins=2)[1]
        {'lower': 0.5, 'upper': 1.0, 'count': 2, 'confidence': 0.875, 'accuracy': 0.5}
    """
    if not isinstance(bins, numbers.Integral) or bins < 1:
        raise InputError("bins", expected="a whole number above 0", got=repr(bins), remedy="10 is usual")
    right, confidence = _right_and_confidence(references, probabilities)
    edges = np.linspace(0, 1, int(bins) + 1)
    place = np.digitize(confidence, edges[1:-1], right=True)
    counts = np.bincount(place, minlength=int(bins))
    with np.errstate(invalid="ignore"):
        sure = np.bincount(place, confidence, minlength=int(bins)) / counts
        correct = np.bincount(place, right, minlength=int(bins)) / counts
    return [
        {
            "lower": float(lower),
            "upper": float(upper),
            "count": int(count),
            "confidence": float(mean),
            "accuracy": float(share),
        }
        for lower, upper, count, mean, share in zip(edges[:-1], edges[1:], counts, sure, correct, strict=True)
    ]


def risk_coverage(references: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """How often a model errs that answers only where it is surest, for every share that it may answer.

    El-Yaniv and Wiener 2010 (https://www.jmlr.org/papers/v11/el-yaniv10a.html). Clips of one confidence share their errors, so that
    the order in which they come makes no difference.

    Args:
        references: (N,) class indices.
        probabilities: (N, C), each row a distribution.

    Returns:
        Coverage (N,): 1/N to 1; risk (N,): share of errors among the surest that are answered.

    Raises:
        InputError: see `expected_calibration_error`.

    Example:
        >>> from multimodal_ser.metrics import risk_coverage
        >>> coverage, risk = risk_coverage([0, 1], [[0.75, 0.25], [0.6, 0.4]])
        >>> coverage.tolist(), risk.tolist()
        ([0.5, 1.0], [0.0, 0.5])
    """
    right, confidence = _right_and_confidence(references, probabilities)
    _, tied, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(tied, 1.0 - right) / sizes  # of a clip of each confidence, the surest first
    answered = np.arange(1, len(right) + 1)
    return answered / len(right), np.repeat(wrong, sizes).cumsum() / answered


def area_under_risk_coverage(references: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean risk over all coverages, AURC (Geifman et al. 2019, https://arxiv.org/abs/1805.08206): lower is better.

    Args:
        references: (N,) class indices.
        probabilities: (N, C), each row a distribution.

    Raises:
        InputError: see `expected_calibration_error`.

    Example:
        >>> from multimodal_ser.metrics import area_under_risk_coverage
        >>> area_under_risk_coverage([0, 1], [[0.75, 0.25], [0.6, 0.4]])
        0.25
    """
    return float(risk_coverage(references, probabilities)[1].mean())


def _right_and_confidence(references: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(N,) each: 1 where the largest probability names the reference; that probability."""
    given = np.asarray(probabilities, dtype=np.float64)
    if given.ndim != 2 or not given.shape[1]:
        raise InputError(
            "probabilities", expected="(N, C)", got=str(given.shape), remedy="give the probabilities of all classes"
        )
    true, guessed = checked_classes(references, given.argmax(1))
    off = ~(np.isfinite(given).all(1) & (given >= 0).all(1) & (np.abs(given.sum(1) - 1) <= TOLERANCE))
    if off.any():
        at = int(np.argmax(off))
        got = f"{np.array2string(given[at, :6], precision=3)} in row {at}"
        remedy = "logits become probabilities by a softmax"
        raise InputError(
            "probabilities", expected="rows of probabilities, each with a sum of 1", got=got, remedy=remedy
        )
    if true.max() >= given.shape[1]:
        expected = f"class indices 0 to {given.shape[1] - 1}"
        raise InputError("references", expected=expected, got=str(true.max()), remedy="count the classes again")
    return (true == guessed).astype(np.float64), np.minimum(given.max(1), 1.0)
