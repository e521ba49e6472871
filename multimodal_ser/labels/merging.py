"""Provides `Merging`, which maps a model's own labels to those of a label set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_ser.labels import LABEL_SETS, LabelError, canonical_emotion, in_label_set, label_map


@dataclass(frozen=True)
class Merging:
    """A map from the C labels of a model to the K labels of a label set; without a label set to themselves.

    Args:
        matrix: (C, K), 1 if the label C is merged into the label K; a dropped label has a row of zeros.
        labels: the K names, in the order of the label set.
        dropped: labels of the model without a label in the set.

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
        """Make the map of a model's labels to a label set.

        Args:
            labels: C names.
            label_set: name of the set; None or "native": labels are not changed.
            drop: whether emotions without a label in the set are dropped; an evaluation may do so, but `predict`
                refuses them.

        Raises:
            LabelError: the label set is unknown, a label has no label in the set and is not dropped, or fewer than two
                labels are left.
        """
        name = label_set or "native"
        dropped = tuple(label for label in labels if drop and _without_place(label, name))
        remaining = [label for label in labels if label not in dropped]
        mapping = label_map(labels if len(remaining) < 2 else remaining, name)
        names = dict.fromkeys(mapping.values())
        order = tuple(names if name == "native" else (target for target in LABEL_SETS[name].labels if target in names))
        return cls(
            np.array([[float(mapping.get(label) == target) for target in order] for label in labels]), order, dropped
        )

    def probabilities(self, native: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, K): merged probabilities; without the dropped labels, each row has a sum of 1 again."""
        merged = native @ self.matrix
        totals = merged.sum(1, keepdims=True)
        return np.where(totals > 0, merged / np.where(totals > 0, totals, 1), 1 / len(self.labels))

    def admitted(self, rows: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, K): the merged labels that are admitted."""
        return rows.astype(np.float64) @ self.matrix > 0

    def widened(self, rows: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, C): labels that are merged with an admitted label are admitted too."""
        return self.admitted(rows).astype(np.float64) @ self.matrix.T > 0


def _without_place(label: str, label_set: str) -> bool:
    """Whether the label is an emotion without a label in the set; False for a name that is not an emotion."""
    try:
        return label_set != "native" and in_label_set(canonical_emotion(label), label_set) is None
    except LabelError as error:
        if error.what == "label_set":
            raise
        return False
