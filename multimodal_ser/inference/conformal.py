"""Prediction sets: sets of labels that contain the true label as often as the calibration of the model demands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def nonconformity(probabilities: np.ndarray, method: str = "lac") -> np.ndarray:
    """Scores of how badly each label fits; a prediction set has the labels whose score is at most a threshold.

    Args:
        probabilities: (N, C).
        method: "lac": 1 - the label's probability (Sadinle et al. 2019, https://arxiv.org/abs/1609.00451); "aps": the sum of the
            probabilities down to the label, the largest first (Romano et al. 2020, https://arxiv.org/abs/2006.02544; not randomised).

    Returns:
        Scores (N, C), from 0 to 1.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.inference.conformal import nonconformity
        >>> nonconformity(np.array([[0.25, 0.5, 0.25]]), "aps").tolist()
        [[0.75, 0.5, 1.0]]
    """
    if method == "lac":
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sums = np.minimum(np.take_along_axis(probabilities, order, 1).cumsum(1), 1.0)
    return np.take_along_axis(sums, order.argsort(1), 1)


def conformal_labels(
    probabilities: Mapping[str, float], threshold: Mapping[str, Any] | None, label_set: str
) -> tuple[str, ...] | None:
    """The prediction set of one prediction.

    Args:
        probabilities: probability of each label of the label set.
        threshold: the model's calibration of this modality case: "method", "threshold" and "label_set".
        label_set: name of the label set of `probabilities`.

    Returns:
        At least one label, the most probable first; None: there is no threshold for this label set.

    Example:
        >>> from multimodal_ser.inference.conformal import conformal_labels
        >>> threshold = {"method": "lac", "threshold": 0.75, "label_set": "native"}
        >>> conformal_labels({"anger": 0.6, "fear": 0.3, "joy": 0.1}, threshold, "native")
        ('anger', 'fear')
    """
    # a threshold for single labels is valid for merged ones too: the merged label is at least as probable as the true
    # one
    merged = threshold is not None and threshold["method"] == "lac" and threshold["label_set"] == "native"
    if threshold is None or not (merged or threshold["label_set"] == label_set):
        return None
    names = sorted(probabilities, key=lambda name: -probabilities[name])
    scores = nonconformity(np.array([[probabilities[name] for name in names]]), threshold["method"])[0]
    return tuple(name for name, score in zip(names, scores, strict=True) if score <= threshold["threshold"]) or (
        names[0],
    )
