"""How far a figure may be from what other speakers would give: the bootstrap."""

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

    Clips of one speaker are alike: an interval that resamples clips promises too much to who meets another speaker.

    Args:
        statistic: called with indices of rows (with repetitions), returns the figure; a NaN does not count.
        groups: (N,) whose each row is: speakers. Each row a group of its own: the bootstrap of clips.
        level: share of resamples that lie inside.
        resamples: how many.
        seed: the same gives the same interval.
        centred: the interval is moved by as much as the mean of the resamples lies beside the figure of all rows, the bootstrap's estimate
            of bias (Efron 1979). For figures that repeated rows make worse, such as the calibration error: without it the interval may not
            even hold the figure.

    Returns:
        Lower and upper end; NaN where there is only one group, of which nothing follows about others, or no resample gave a figure.

    Raises:
        InputError: no rows, a level that is not between 0 and 1, no resamples.

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
    moved = float(values.mean() - statistic(np.arange(len(names)))) if centred else 0.0
    return float(low) - moved, float(high) - moved
