"""From a model's own labels to those of the label set that it is measured in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_ser.labels import LABEL_SETS, LabelError, canonical_emotion, in_label_set, label_map


@dataclass(frozen=True)
class Merging:
    """From C labels of the model to K of the label set; of none, to themselves.

    Args:
        matrix: (C, K), 1 where a label is merged into another; a label that is dropped has a row of zeros.
        labels: the K names, in the label set's order.
        dropped: labels of the model that have no place in the label set.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.labels.merging import Merging
        >>> Merging.of(["neutral", "calm", "joy"], "ekman").widened(np.array([[True, False, False]])).tolist()
        [[True, True, False]]
        >>> merging = Merging.of(["neutral", "surprise", "joy"], "sentiment", drop=True)
        >>> merging.labels, merging.dropped, merging.probabilities(np.array([[0.25, 0.5, 0.25]])).tolist()
        (('neutral', 'positive'), ('surprise',), [[0.5, 0.5]])
    """

    matrix: np.ndarray
    labels: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    @classmethod
    def of(cls, labels: Sequence[str], label_set: str | None, *, drop: bool = False) -> Merging:
        """Of the model's labels.

        Args:
            labels: C names.
            label_set: None and "native": as they are.
            drop: whether emotions without a place in the label set are dropped, which is a choice of who measures; `predict` refuses them.

        Raises:
            LabelError: an unknown label set, a label without a place in it that is not dropped, or fewer than two with one.
        """
        name = label_set or "native"
        dropped = tuple(label for label in labels if drop and _without_place(label, name))
        kept = [label for label in labels if label not in dropped]
        mapping = label_map(labels if len(kept) < 2 else kept, name)
        names = dict.fromkeys(mapping.values())
        order = tuple(names if name == "native" else (each for each in LABEL_SETS[name].labels if each in names))
        return cls(
            np.array([[float(mapping.get(label) == each) for each in order] for label in labels]), order, dropped
        )

    def probabilities(self, native: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, K), each row with a sum of 1: as if the model had been asked only among the labels that have a place."""
        merged = native @ self.matrix
        totals = merged.sum(1, keepdims=True)
        return np.where(totals > 0, merged / np.where(totals > 0, totals, 1), 1 / len(self.labels))

    def admitted(self, rows: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, K): which merged labels are admitted."""
        return rows.astype(np.float64) @ self.matrix > 0

    def widened(self, rows: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, C): what is merged with an admitted label is admitted too."""
        return self.admitted(rows).astype(np.float64) @ self.matrix.T > 0


def _without_place(label: str, label_set: str) -> bool:
    """Whether it is an emotion that the label set has no place for; of a name that is no emotion nobody knows."""
    try:
        return label_set != "native" and in_label_set(canonical_emotion(label), label_set) is None
    except LabelError as error:
        if error.what == "label_set":
            raise
        return False
