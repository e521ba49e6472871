"""Label sets of a prediction: the labels among which the right one is as often as a model was calibrated for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def nonconformity(probabilities: np.ndarray, method: str = "lac") -> np.ndarray:
    """How ill each label would fit: label sets hold those whose score is at most a threshold.

    Args:
        probabilities: (N, C).
        method: "lac": 1 - the label's probability (Sadinle et al. 2019, https://arxiv.org/abs/1609.00451); "aps": the sum of the
            probabilities down to the label, the largest first (Romano et al. 2020, https://arxiv.org/abs/2006.02544; not randomised).

    Returns:
        (N, C), 0..1.

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
    """The labels that fit well enough, the most probable first; never none.

    Args:
        probabilities: of every label of the label set.
        threshold: what the model keeps of its calibration in this modality case: "method", "threshold", "label_set".
        label_set: whose labels these are.

    Returns:
        None: there is no threshold, or none for this label set.

    Example:
        >>> from multimodal_ser.inference.conformal import conformal_labels
        >>> threshold = {"method": "lac", "threshold": 0.75, "label_set": "native"}
        >>> conformal_labels({"anger": 0.6, "fear": 0.3, "joy": 0.1}, threshold, "native")
        ('anger', 'fear')
    """
    # a threshold on single labels holds for merged ones too: the merged label is at least as probable as the one that is right
    merged = threshold is not None and threshold["method"] == "lac" and threshold["label_set"] == "native"
    if threshold is None or not (merged or threshold["label_set"] == label_set):
        return None
    names = sorted(probabilities, key=lambda name: -probabilities[name])
    scores = nonconformity(np.array([[probabilities[name] for name in names]]), threshold["method"])[0]
    return tuple(name for name, score in zip(names, scores, strict=True) if score <= threshold["threshold"]) or (
        names[0],
    )
