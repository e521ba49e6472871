"""Selective prediction: label sets that hold the right label as often as is asked for, and from which confidence on an answer is kept."""

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
    """The threshold of split conformal prediction: label sets up to it hold the right label with a probability of at least `coverage`.

    That is proven for clips that are exchangeable with these. Those of a speaker who is not among these are not, and fewer may be covered:
    measure it on speakers left out, as `calibrate` does, or give `speakers`: then the promise is to the clips of a new speaker who is
    drawn as these were (Lee et al. 2023, https://arxiv.org/abs/2306.06342). It takes 9 speakers for 0.9, and larger sets.

    Args:
        probabilities: (N, C).
        references: (N,) class indices; or (N, C) bool, admissible classes: a set is right that holds one of them.
        coverage: 0..1, the share of sets that are to be right.
        method: "lac": sets as small as can be on average (Sadinle et al. 2019, https://arxiv.org/abs/1609.00451); "aps": larger ones for
            clips that are hard, smaller ones for clips that are easy (Romano et al. 2020, https://arxiv.org/abs/2006.02544).
        speakers: (N,) whose each clip is.

    Returns:
        0..1, the largest `conformal.nonconformity` in a set, the ceil((N + 1) coverage)-th smallest of the right labels'. 1, which puts
        all labels in, where there are too few clips (or speakers) to promise so much.

    Raises:
        InputError: see `fit_temperature`; a coverage that is no share.

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
    _, of = np.unique(
        np.arange(len(values)) if speakers is None else np.asarray(speakers, dtype=str), return_inverse=True
    )
    sizes = np.bincount(of)
    order = np.argsort(scores, kind="stable")
    reached = (1 / sizes[of][order]).cumsum() / (
        len(sizes) + 1
    )  # the share that is missing is the new clip's, or speaker's
    at = int(np.searchsorted(reached, coverage - 1e-9))
    return float(min(scores[order][at], 1.0)) if at < len(scores) else 1.0


def conformal_sets(probabilities: ArrayLike, threshold: float, *, method: Method = "lac") -> np.ndarray:
    """Which labels are in each set: those up to the threshold, and always the most probable one.

    Args:
        probabilities: (N, C).
        threshold: of `conformal_threshold`, with the same method.
        method: "lac" or "aps".

    Returns:
        (N, C) bool, in no row all False.

    Raises:
        InputError: probabilities of another shape, or not finite.

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
    """From which confidence on predictions are kept, and what that came to on the clips that it was found on.

    Args:
        threshold: for `predict(..., abstain_below=threshold)`; infinite where even the surest are wrong too often.
        kept: how many of these clips are as sure as that.
        share: kept / all.
        error: share of the kept that are wrong; 0 where none are.

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
    """The lowest confidence at which no more than a wanted share of what is kept is wrong.

    It is found by looking at these clips, so that others err a little more often: leave a margin, or measure it on other speakers.

    Args:
        probabilities: (N, C).
        references: (N,) class indices; or (N, C) bool, admissible classes.
        error: 0..1, the share of errors among the kept that is put up with.

    Raises:
        InputError: see `fit_temperature`; an error that is no share.
    """
    values, admitted = checked("probabilities", probabilities, references)
    error = checked_error(error)
    confidence, wrong = values.max(1), ~admitted[np.arange(len(values)), values.argmax(1)]
    order = np.argsort(-confidence, kind="stable")
    sure, risk = confidence[order], wrong[order].cumsum() / np.arange(1, len(values) + 1)
    last = np.append(sure[1:] < sure[:-1], True)  # of those that are equally sure all are kept, or none
    good = np.flatnonzero(last & (risk <= error))
    if not len(good):
        return ConfidenceThreshold(math.inf, 0, 0.0, 0.0)
    at = int(good[-1])
    return ConfidenceThreshold(float(sure[at]), at + 1, (at + 1) / len(values), float(risk[at]))


def checked_coverage(coverage: Any) -> float:
    """The share, if it is one."""
    if isinstance(coverage, bool) or not isinstance(coverage, Real) or not 0 < float(coverage) < 1:
        raise InputError("coverage", expected="a share between 0 and 1", got=repr(coverage), remedy="0.9 is usual")
    return float(coverage)


def checked_error(error: Any) -> float:
    """The share, if it is one."""
    if isinstance(error, bool) or not isinstance(error, Real) or not 0 <= float(error) < 1:
        raise InputError("error", expected="a share from 0, below 1", got=repr(error), remedy="0.1: one in ten")
    return float(error)


def checked_method(method: str) -> str:
    """The name of a way to make label sets, if it is one."""
    if method not in get_args(Method):
        raise InputError(
            "method",
            expected=f"one of {', '.join(get_args(Method))}",
            got=repr(method),
            remedy="lac gives the smallest sets",
        )
    return method
