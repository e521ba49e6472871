"""Metrics of emotions as class indices: accuracy, recall and F1, and the confusion matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multimodal_ser.errors import InputError


def accuracy(references: ArrayLike, predictions: ArrayLike) -> float:
    """Share of clips with the right prediction: the field's weighted accuracy, WA.

    Args:
        references, predictions: (N,) class indices.

    Raises:
        InputError: there are no rows, the lengths differ, or a value is no class index.

    Example:
        >>> from multimodal_ser.metrics import accuracy
        >>> accuracy([0, 1, 1, 2], [0, 1, 1, 1])
        0.75
    """
    true, predicted = checked_classes(references, predictions)
    return float((true == predicted).mean())


def unweighted_average_recall(references: ArrayLike, predictions: ArrayLike) -> float:
    """Mean of the classes' recalls, UA, over the classes that occur in the references.

    As in the INTERSPEECH emotion challenges (https://www.isca-archive.org/interspeech_2009/schuller09_interspeech.html).

    Args:
        references, predictions: (N,) class indices.

    Raises:
        InputError: see `accuracy`.

    Example:
        >>> from multimodal_ser.metrics import unweighted_average_recall
        >>> unweighted_average_recall([0, 0, 0, 1], [0, 0, 0, 0])
        0.5
    """
    right, referred, _ = _counts(references, predictions)
    occurs = referred > 0
    return float((right[occurs] / referred[occurs]).mean())


def macro_f1(references: ArrayLike, predictions: ArrayLike) -> float:
    """Mean of the classes' F1, 2 right / (referred + predicted), over classes that occur in the references or the predictions.

    Args:
        references, predictions: (N,) class indices.

    Raises:
        InputError: see `accuracy`.

    Example:
        >>> from multimodal_ser.metrics import macro_f1
        >>> round(macro_f1([0, 0, 0, 1], [0, 0, 0, 0]), 4)
        0.4286
    """
    right, referred, predicted = _counts(references, predictions)
    occurs = referred + predicted > 0
    return float((2 * right[occurs] / (referred + predicted)[occurs]).mean())


def weighted_f1(references: ArrayLike, predictions: ArrayLike) -> float:
    """Mean of the classes' F1, each weighted by how often it occurs in the references.

    Args:
        references, predictions: (N,) class indices.

    Raises:
        InputError: see `accuracy`.

    Example:
        >>> from multimodal_ser.metrics import weighted_f1
        >>> round(weighted_f1([0, 0, 0, 1], [0, 0, 0, 0]), 4)
        0.6429
    """
    right, referred, predicted = _counts(references, predictions)
    occurs = referred > 0
    return float((referred * 2 * right / np.maximum(referred + predicted, 1))[occurs].sum() / referred.sum())


def per_class_recall(references: ArrayLike, predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """Share of each class's clips with the right prediction; their mean over the classes that occur is the UA.

    Args:
        references, predictions: (N,) class indices below `num_classes`.
        num_classes: C.

    Returns:
        (C,); NaN where a class does not occur in the references.

    Raises:
        InputError: see `confusion_matrix`.

    Example:
        >>> from multimodal_ser.metrics import per_class_recall
        >>> per_class_recall([0, 0, 1], [0, 1, 1], 3).tolist()
        [0.5, 1.0, nan]
    """
    counts = confusion_matrix(references, predictions, num_classes)
    referred = counts.sum(1)
    return np.where(referred > 0, np.diag(counts) / np.maximum(referred, 1), np.nan)


def confusion_matrix(references: ArrayLike, predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """Counts of each predicted class for each reference class.

    Args:
        references, predictions: (N,) class indices below `num_classes`.
        num_classes: C.

    Returns:
        (C, C) integers: rows are references, columns predictions.

    Raises:
        InputError: see `accuracy`; an index that is no class.

    Example:
        >>> from multimodal_ser.metrics import confusion_matrix
        >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
        [[1, 1], [0, 1]]
    """
    true, predicted = checked_classes(references, predictions)
    for name, values in (("references", true), ("predictions", predicted)):
        if values.max() >= num_classes:
            expected = f"class indices 0 to {num_classes - 1}"
            raise InputError(name, expected=expected, got=str(values.max()), remedy="count the classes again")
    return np.bincount(true * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def same_length(true: np.ndarray, predicted: np.ndarray) -> None:
    """Raise an InputError unless there is one prediction for each reference, and at least one."""
    if true.ndim != 1 or true.shape != predicted.shape:
        got = f"{true.shape} and {predicted.shape}"
        raise InputError("predictions", expected="one for each reference, both (N,)", got=got, remedy="align them")
    if not len(true):
        raise InputError("references", expected="at least one", got="none", remedy="there is nothing to measure")


def checked_classes(references: ArrayLike, predictions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """References and predictions as (N,) int64; an InputError names a value that is no class index."""
    true, predicted = np.asarray(references), np.asarray(predictions)
    same_length(true, predicted)
    for name, values in (("references", true), ("predictions", predicted)):
        if values.dtype.kind not in "iu" or values.min() < 0:
            got = str(values.min()) if values.dtype.kind in "iu" else str(values.dtype)
            raise InputError(
                name, expected="class indices from 0", got=got, remedy="give indices; leave out rows without a class"
            )
    return true.astype(np.int64), predicted.astype(np.int64)


def _counts(references: ArrayLike, predictions: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (C,) of each class: right predictions, references, predictions."""
    true, guessed = checked_classes(references, predictions)
    size = int(max(true.max(), guessed.max())) + 1
    return tuple(np.bincount(values, minlength=size) for values in (true[true == guessed], true, guessed))  # type: ignore[return-value]
