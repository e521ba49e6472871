"""Pictures, drawn with matplotlib (the extra `plots`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_ser.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_confusion_matrix(
    references: Sequence[str], predictions: Sequence[str], labels: Sequence[str], *, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw which emotion was taken for which: a row an annotated emotion, a column a predicted one, shares of the row in percent.

    Args:
        references: annotated emotion of each item.
        predictions: predicted emotion of each item.
        labels: the names of rows and columns, in order; rows that no item has are left out.
        title: what stands above.
        ax: where to draw; None: a new figure, `ax.figure.savefig(...)` writes it.

    Raises:
        InputError: not as many predictions as references, none at all, or a name that is not in `labels`.

    Example:
        >>> from multimodal_ser.evaluation import plot_confusion_matrix
        >>> ax = plot_confusion_matrix(["joy", "joy", "fear"], ["joy", "fear", "fear"], ["fear", "joy"])
        >>> ax.get_xlabel(), [text.get_text() for text in ax.texts]
        ('predicted', ['100', '0', '50', '50'])
    """
    from matplotlib.figure import Figure

    if len(references) != len(predictions) or not len(references):
        raise InputError(
            "predictions", expected="as many as references, at least one", got=f"{len(predictions)} and {len(references)}",
            remedy="give both lists of the same items",
        )  # fmt: skip
    unknown = sorted({*references, *predictions} - {*labels})
    if unknown:
        raise InputError("labels", expected="every name that occurs", got=f"none for {', '.join(unknown)}", remedy="add them")
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    index = {label: i for i, label in enumerate(labels)}
    np.add.at(counts, ([index[name] for name in references], [index[name] for name in predictions]), 1)
    rows = np.flatnonzero(counts.sum(1))
    shares = 100 * counts[rows] / counts[rows].sum(1, keepdims=True)
    if ax is None:
        ax = Figure(figsize=(1.6 + 0.62 * len(labels), 1.6 + 0.5 * len(rows)), layout="constrained").add_subplot()
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    ticks: dict[str, Any] = {"labels": labels, "rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(labels)), **ticks)
    ax.set_yticks(range(len(rows)), labels=[f"{labels[int(row)]} ({counts[row].sum()})" for row in rows])
    for row, column in np.ndindex(*shares.shape):
        share = shares[row, column]
        ax.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=9, color="white" if share > 60 else "black")
    ax.set_xlabel("predicted")
    ax.set_ylabel("annotated (items)")
    if title:
        ax.set_title(title, fontsize=10)
    return ax
