"""`fit_temperature`: a temperature that makes the confidence of a model equal to its accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from multimodal_ser.errors import InputError

TEMPERATURES = (0.1, 10.0)
"""Limits of the search. If every clip is right, the best temperature is 0, which would give certainty."""


def fit_temperature(logits: ArrayLike, references: ArrayLike) -> float:
    """Return the temperature T for which softmax(logits / T) gives the references the highest likelihood.

    See Guo et al. 2017, https://arxiv.org/abs/1706.04599. It changes the confidence of a window, not its prediction.

    Args:
        logits: (N, C), not yet divided by a temperature.
        references: class indices (N,), or admissible classes (N, C), bool, whose probabilities are added.

    Returns:
        T from 0.1 to 10 (`TEMPERATURES`); a limit of that range if the best T lies beyond it, as for logits that are
        always right; 1 if T makes no difference.

    Raises:
        InputError: there are no rows, numbers of rows differ, logits are not finite, or an index is not a class.

    Example:
        >>> from multimodal_ser.calibration.temperature import fit_temperature
        >>> round(fit_temperature([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]], [0, 0, 0, 1]), 3)  # right in 3 of 4: 2 / log(3)
        1.82
    """
    values, admitted = checked("logits", logits, references)
    return Windows([row[None] for row in values], [np.ones(1)] * len(values), admitted).fit()


@dataclass
class Windows:
    """Logits of N inputs, each of one or more windows, and their admissible classes.

    Args:
        logits: (W, C) of each input.
        weights: (W,) of each input: weight of each window in the mean of the probabilities.
        admitted: (N, C) bool, admissible classes; every row has at least one.

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
        """Return the inputs with these indices."""
        return Windows([self.logits[row] for row in rows], [self.weights[row] for row in rows], self.admitted[rows])

    def _log(self, temperature: float) -> np.ndarray:
        """Return the log of each window's share of the probabilities, (windows, C)."""
        scaled = self.joined / temperature
        scaled = scaled - scaled.max(1, keepdims=True)
        return scaled - np.log(np.exp(scaled).sum(1, keepdims=True)) + self.log_shares

    def probabilities(self, temperature: float) -> np.ndarray:
        """Return the probabilities of the inputs, (N, C)."""
        values = np.add.reduceat(np.exp(self._log(temperature)), self.starts, axis=0)
        return values / values.sum(1, keepdims=True)

    def nll(self, temperature: float) -> float:
        """Return the mean negative log-likelihood of the admissible classes, in nats."""
        admitted = np.logaddexp.reduce(np.where(self.inside, self._log(temperature), -np.inf), axis=1)
        return float(-np.logaddexp.reduceat(admitted, self.starts).mean())

    def fit(self) -> float:
        """Return the best temperature, with a grid (there may be several minima) and a golden-section search."""
        low, high = np.log(TEMPERATURES)
        grid = np.append(np.linspace(low, high, 61), 0.0)
        grid.sort()
        values = np.array([self.nll(math.exp(at)) for at in grid])
        if np.ptp(values) < 1e-12:
            return 1.0
        if values[0] <= values.min() + 1e-12:  # a plateau, if every input is right
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
        optimum = (left + right) / 2
        ends = {low: TEMPERATURES[0], high: TEMPERATURES[1]}
        end = min(ends, key=lambda at: abs(at - optimum))
        return ends[end] if abs(end - optimum) < 1e-6 else math.exp(optimum)


def matrix(name: str, values: ArrayLike) -> np.ndarray:
    """Return values (N, C) as float64; require finite numbers, and probabilities if `name` is "probabilities"."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise InputError(name, expected="(N, C), at least one row", got=str(array.shape), remedy="give one row an item")
    if not np.isfinite(array).all():
        raise InputError(name, expected="finite numbers", got="NaN or infinity", remedy="leave those rows out")
    if name == "probabilities" and (array.min() < 0 or np.abs(array.sum(1) - 1).max() > 0.02):
        remedy = "logits become probabilities by a softmax"
        raise InputError(
            name, expected="rows of probabilities, each with a sum of 1", got="other numbers", remedy=remedy
        )
    return array


def checked(name: str, values: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return values (N, C) as float64 (see `matrix`), and the admissible classes (N, C), bool."""
    array = matrix(name, values)
    truth = np.asarray(references)
    remedy = "give class indices (N,), or which classes are admitted (N, C)"
    if truth.dtype == bool and truth.shape == array.shape and truth.any(1).all():
        return array, truth
    if (
        truth.dtype.kind not in "iu"
        or truth.shape != array.shape[:1]
        or truth.min() < 0
        or truth.max() >= array.shape[1]
    ):
        expected = f"{len(array)} class indices from 0 to {array.shape[1] - 1}"
        raise InputError("references", expected=expected, got=f"{truth.dtype} {truth.shape}", remedy=remedy)
    return array, np.arange(array.shape[1]) == truth[:, None]
