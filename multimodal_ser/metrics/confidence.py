"""Metrics of probabilities: calibration of the confidence, and errors when the least certain clips are not answered."""

from __future__ import annotations

import numbers

import numpy as np
from numpy.typing import ArrayLike

from multimodal_ser.errors import InputError
from multimodal_ser.metrics.classes import checked_classes

TOLERANCE = 0.02
"""Largest difference of a row's sum from 1; with bfloat16 it can be 0.01."""


def expected_calibration_error(references: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Mean distance between confidence and accuracy, ECE, over bins of equal width, weighted by the clips in each.

    As in Guo et al. 2017 (https://arxiv.org/abs/1706.04599): confidence is the largest probability, bins are open below, closed above.
    It is above 0 for a perfectly calibrated model too; the fewer clips there are, the higher it is.

    Args:
        references: (N,) class indices.
        probabilities: (N, C), each row a distribution.
        bins: number of bins between 0 and 1.

    Returns:
        A distance from 0 to 1.

    Raises:
        InputError: there are no rows, the lengths differ, a row is not a distribution (such as logits), or an index is
        no class.

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
    """Mean confidence and accuracy in each bin of confidence, from which the calibration error is computed.

    Args:
        references: (N,) class indices.
        probabilities: (N, C), each row a distribution.
        bins: number of bins, of equal width between 0 and 1.

    Returns:
        For each bin, lower and upper (it has confidences above lower and up to upper), count (clips), and the means
        confidence and accuracy (0 to 1; NaN in an empty bin).

    Raises:
        InputError: see `expected_calibration_error`; or `bins` is no whole number above 0.

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
    """Share of errors of a model that answers only its most confident clips, for each share of answered clips.

    El-Yaniv and Wiener 2010 (https://www.jmlr.org/papers/v11/el-yaniv10a.html). Clips of equal confidence share their
    errors, so that their order makes no difference.

    Args:
        references: (N,) class indices.
        probabilities: (N, C), each row a distribution.

    Returns:
        Coverage (N,): share of answered clips, 1/N to 1; risk (N,): share of errors among the answered clips.

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
    wrong = np.bincount(tied, 1.0 - right) / sizes  # mean error at each confidence, the highest first
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
    """Two (N,): 1 where the largest probability is that of the reference, else 0; and that probability."""
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or not table.shape[1]:
        raise InputError(
            "probabilities", expected="(N, C)", got=str(table.shape), remedy="give the probabilities of all classes"
        )
    true, predicted = checked_classes(references, table.argmax(1))
    off = ~(np.isfinite(table).all(1) & (table >= 0).all(1) & (np.abs(table.sum(1) - 1) <= TOLERANCE))
    if off.any():
        at = int(np.argmax(off))
        got = f"{np.array2string(table[at, :6], precision=3)} in row {at}"
        remedy = "logits become probabilities by a softmax"
        raise InputError(
            "probabilities", expected="rows of probabilities, each with a sum of 1", got=got, remedy=remedy
        )
    if true.max() >= table.shape[1]:
        expected = f"class indices 0 to {table.shape[1] - 1}"
        raise InputError("references", expected=expected, got=str(true.max()), remedy="count the classes again")
    return (true == predicted).astype(np.float64), np.minimum(table.max(1), 1.0)
