"""The metric of emotions as numbers, such as arousal, valence and dominance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multimodal_ser.errors import InputError
from multimodal_ser.metrics.classes import same_length


def concordance_correlation(references: ArrayLike, predictions: ArrayLike) -> float:
    """Lin's concordance: 2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2), moments over N (https://doi.org/10.2307/2532051).

    Args:
        references: (N,) numbers; pairs whose reference is NaN (not annotated) do not count.
        predictions: (N,) numbers.

    Returns:
        -1 to 1; 0 if one of the two does not vary; NaN if all numbers are the same, so that there is no correlation.

    Raises:
        InputError: there are no numbers, or the lengths differ.

    Example:
        >>> from multimodal_ser.metrics import concordance_correlation
        >>> round(concordance_correlation([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]), 4)
        0.5714
    """
    x, y = np.asarray(references, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    same_length(x, y)
    x, y = x[~np.isnan(x)], y[~np.isnan(x)]
    if not len(x):
        raise InputError(
            "references", expected="at least one number", got="none that is not NaN", remedy="measure on annotated rows"
        )
    if np.isnan(y).any():
        return float("nan")
    # constant numbers have no concordance; rounding could make their variance larger than 0
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan") if np.ptp(np.concatenate([x, y])) == 0 else 0.0
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * ((x - x.mean()) * (y - y.mean())).mean() / spread)
