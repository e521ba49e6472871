"""Temperature: the one number that makes a model as sure as it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from multimodal_ser.errors import InputError

TEMPERATURES = (0.1, 10.0)
"""Within these a temperature is looked for: where every clip is right, the likeliest is 0, which would promise certainty."""


def fit_temperature(logits: ArrayLike, references: ArrayLike) -> float:
    """The temperature T with which softmax(logits / T) makes the references likeliest (Guo et al. 2017, https://arxiv.org/abs/1706.04599).

    Dividing by it changes no prediction of a single window, only how sure it is.

    Args:
        logits: (N, C), not yet divided by a temperature.
        references: (N,) class indices; or (N, C) bool, the classes that each annotation admits, whose probabilities are added up.

    Returns:
        T from 0.1 to 10 (`TEMPERATURES`): an end of that range where the best lies outside, as with logits that are always right;
        1 where T makes no difference.

    Raises:
        InputError: none, not as many of one as of the other, logits that are not finite, an index that is no class.

    Example:
        >>> from multimodal_ser.calibration.temperature import fit_temperature
        >>> round(fit_temperature([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]], [0, 0, 0, 1]), 3)  # right in 3 of 4: 2 / log(3)
        1.82
    """
    values, admitted = checked("logits", logits, references)
    return Windows([row[None] for row in values], [np.ones(1)] * len(values), admitted).fit()


@dataclass
class Windows:
    """N inputs, each of one or more windows, and what their annotations admit.

    Args:
        logits: (W, C) of each input.
        weights: (W,) of each: how much a window counts in the mean of probabilities that is predicted.
        admitted: (N, C) bool, in no row all False.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.calibration.temperature import Windows
        >>> windows = Windows([np.array([[2.0, 0.0], [0.0, 2.0]])], [np.array([3.0, 1.0])], np.array([[True, False]]))
        >>> windows.probabilities(2.0).round(3).tolist()
        [[0.616, 0.384]]
    """

    logits: list[np.ndarray]
    weights: list[np.ndarray]
    admitted: np.ndarray

    def __post_init__(self) -> None:
        self.joined = np.concatenate(self.logits).astype(np.float64)
        shares = np.concatenate([weights.astype(np.float64) / weights.sum() for weights in self.weights])
        self.log_shares = np.log(shares)[:, None]
        sizes = [len(each) for each in self.logits]
        self.starts = np.cumsum([0, *sizes[:-1]])
        self.inside = np.repeat(self.admitted, sizes, axis=0)

    def only(self, rows: np.ndarray) -> Windows:
        """Some of them."""
        return Windows([self.logits[row] for row in rows], [self.weights[row] for row in rows], self.admitted[rows])

    def _log(self, temperature: float) -> np.ndarray:
        """(windows, C): log of each window's share of the probabilities."""
        scaled = self.joined / temperature
        scaled = scaled - scaled.max(1, keepdims=True)
        return scaled - np.log(np.exp(scaled).sum(1, keepdims=True)) + self.log_shares

    def probabilities(self, temperature: float) -> np.ndarray:
        """(N, C)."""
        values = np.add.reduceat(np.exp(self._log(temperature)), self.starts, axis=0)
        return values / values.sum(1, keepdims=True)

    def nll(self, temperature: float) -> float:
        """Mean of -log of the probability of what is admitted, nats."""
        admitted = np.logaddexp.reduce(np.where(self.inside, self._log(temperature), -np.inf), axis=1)
        return float(-np.logaddexp.reduceat(admitted, self.starts).mean())

    def fit(self) -> float:
        """The best temperature: a grid, for sets of classes and windows may have several minima, then a golden-section search."""
        low, high = np.log(TEMPERATURES)
        grid = np.append(np.linspace(low, high, 61), 0.0)
        grid.sort()
        values = np.array([self.nll(math.exp(at)) for at in grid])
        if np.ptp(values) < 1e-12:
            return 1.0
        if (
            values[0] <= values.min() + 1e-12
        ):  # where all is right there is a plateau, of which any point would look like a minimum
            return TEMPERATURES[0]
        best = int(values.argmin())
        left, right = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        ratio = (math.sqrt(5) - 1) / 2
        a, b = right - ratio * (right - left), left + ratio * (right - left)
        at_a, at_b = self.nll(math.exp(a)), self.nll(math.exp(b))
        while right - left > 1e-7:
            if at_a < at_b:
                right, b, at_b = b, a, at_a
                a = right - ratio * (right - left)
                at_a = self.nll(math.exp(a))
            else:
                left, a, at_a = a, b, at_b
                b = left + ratio * (right - left)
                at_b = self.nll(math.exp(b))
        found = (left + right) / 2
        ends = {low: TEMPERATURES[0], high: TEMPERATURES[1]}
        end = min(ends, key=lambda at: abs(at - found))
        return ends[end] if abs(end - found) < 1e-6 else math.exp(found)


def matrix(name: str, values: ArrayLike) -> np.ndarray:
    """(N, C) float64, if they are finite and, where they are called so, probabilities."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 2 or not given.size:
        raise InputError(name, expected="(N, C), at least one row", got=str(given.shape), remedy="give one row an item")
    if not np.isfinite(given).all():
        raise InputError(name, expected="finite numbers", got="NaN or infinity", remedy="leave those rows out")
    if name == "probabilities" and (given.min() < 0 or np.abs(given.sum(1) - 1).max() > 0.02):
        remedy = "logits become probabilities by a softmax"
        raise InputError(
            name, expected="rows of probabilities, each with a sum of 1", got="other numbers", remedy=remedy
        )
    return given


def checked(name: str, values: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) float64 (see `matrix`), and (N, C) bool: which classes the references admit."""
    given, truth = matrix(name, values), np.asarray(references)
    remedy = "give class indices (N,), or which classes are admitted (N, C)"
    if truth.dtype == bool and truth.shape == given.shape and truth.any(1).all():
        return given, truth
    if (
        truth.dtype.kind not in "iu"
        or truth.shape != given.shape[:1]
        or truth.min() < 0
        or truth.max() >= given.shape[1]
    ):
        expected = f"{len(given)} class indices from 0 to {given.shape[1] - 1}"
        raise InputError("references", expected=expected, got=f"{truth.dtype} {truth.shape}", remedy=remedy)
    return given, np.arange(given.shape[1]) == truth[:, None]
