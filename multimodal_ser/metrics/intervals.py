"""Bootstrap intervals, which show how far a figure could be from that of other speakers."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from multimodal_ser.errors import InputError


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float],
    groups: ArrayLike | Sequence[Any],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    centred: bool = False,
) -> tuple[float, float]:
    """Percentile interval of a figure over resamples of whole groups (Efron 1979, https://doi.org/10.1214/aos/1176344552).

    Clips of one speaker are alike, so an interval over resampled clips would be too narrow for other speakers.

    Args:
        statistic: called with indices of rows (with repetitions), returns the figure; a NaN does not count.
        groups: (N,) group of each row, such as its speaker. If each row is its own group, clips are resampled.
        level: share of resamples inside the interval, between 0 and 1.
        resamples: number of resamples.
        seed: seed of the resampling; the same seed gives the same interval.
        centred: whether to subtract the bootstrap's estimate of bias (Efron 1979), the mean of the resamples minus the
            figure of all rows. It is for figures that repeated rows make worse, such as the calibration error, whose
            interval might otherwise not contain the figure.

    Returns:
        Lower and upper end; NaN if there is only one group, which says nothing about others, or if all resamples gave
        NaN.

    Raises:
        InputError: there are no rows, `level` is not between 0 and 1, or `resamples` is below 1.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.metrics import bootstrap_interval
        >>> right, speakers = np.array([1, 1, 0, 1, 0, 0]), list("aabbcc")
        >>> bootstrap_interval(lambda rows: right[rows].mean(), speakers)
        (0.0, 1.0)
    """
    names = [str(name) for name in np.asarray(groups, dtype=object).ravel()]
    if not names:
        raise InputError("groups", expected="at least one row", got="none", remedy="there is nothing to resample")
    if not isinstance(level, numbers.Real) or not 0 < level < 1:
        raise InputError("level", expected="a share between 0 and 1", got=repr(level), remedy="0.95 is usual")
    if not isinstance(resamples, numbers.Integral) or resamples < 1:
        raise InputError("resamples", expected="a whole number above 0", got=repr(resamples), remedy="1000 is usual")
    _, of = np.unique(names, return_inverse=True)
    members = [np.flatnonzero(of == group) for group in range(of.max() + 1)]
    if len(members) == 1:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(members), (int(resamples), len(members)))
    values = np.array([float(statistic(np.concatenate([members[group] for group in drawn]))) for drawn in draws])
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    bias = float(values.mean() - statistic(np.arange(len(names)))) if centred else 0.0
    return float(low) - bias, float(high) - bias
