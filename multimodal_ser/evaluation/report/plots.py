"""Plots of evaluation results, drawn with matplotlib (the extra `evaluate`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_ser.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE = "#2b6cb0"


def plot_confusion_matrix(
    references: Sequence[str],
    predictions: Sequence[str],
    labels: Sequence[str],
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a confusion matrix: rows are annotated emotions, columns predicted ones; shares of the row in percent.

    Args:
        references: annotated emotion of each item.
        predictions: predicted emotion of each item.
        labels: names of rows and columns, in order; rows without items are left out.
        title: title of the plot.
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
        raise InputError(
            "labels", expected="every name that occurs", got=f"none for {', '.join(unknown)}", remedy="add them"
        )
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
        ax.text(
            column, row, f"{share:.0f}", ha="center", va="center", fontsize=9, color="white" if share > 60 else "black"
        )
    ax.set_xlabel("predicted")
    ax.set_ylabel("annotated (items)")
    if title:
        ax.set_title(title, fontsize=10)
    return ax


def plot_reliability(curve: Sequence[Mapping[str, Any]], *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the accuracy at each confidence; on the dashed line, confidence equals accuracy.

    Bars of more clips have a deeper colour.

    Args:
        curve: result of `metrics.reliability_curve`.
        title: title of the plot.
        ax: where to draw; None: a new figure.

    Example:
        >>> from multimodal_ser.evaluation import plot_reliability
        >>> from multimodal_ser.metrics import reliability_curve
        >>> plot_reliability(reliability_curve([0, 1], [[0.9, 0.1], [0.3, 0.7]])).get_ylabel()
        'accuracy'
    """
    ax = _axes(ax, (4.2, 3.4))
    most = max((each["count"] for each in curve), default=0) or 1
    for each in curve:
        if each["count"]:
            width, depth = each["upper"] - each["lower"], 0.25 + 0.75 * each["count"] / most
            ax.bar(each["lower"], each["accuracy"], width, align="edge", color=BLUE, alpha=depth, edgecolor="white")
    ax.plot([0, 1], [0, 1], linestyle="--", color="#777777", linewidth=1)
    _labelled(ax, "confidence", "accuracy", title)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    return ax


def plot_risk_coverage(
    points: Sequence[Mapping[str, float]], *, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the share of errors among the most confident clips, over the share of clips that is answered.

    Args:
        points: each with coverage and risk, both 0 to 1.
        title: title of the plot.
        ax: where to draw; None: a new figure.

    Example:
        >>> from multimodal_ser.evaluation import plot_risk_coverage
        >>> plot_risk_coverage([{"coverage": 0.5, "risk": 0.0}, {"coverage": 1.0, "risk": 0.25}]).get_xlabel()
        'share of clips that is answered, %'
    """
    ax = _axes(ax, (4.2, 3.4))
    ax.plot(
        [100 * each["coverage"] for each in points], [100 * each["risk"] for each in points], marker=".", color=BLUE
    )
    _labelled(ax, "share of clips that is answered, %", "errors among them, %", title)
    ax.set_xlim(0, 102)
    ax.set_ylim(bottom=0)
    return ax


def plot_robustness(rows: Sequence[Mapping[str, Any]], *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the UA under each condition as a bar; the dashed line is the UA of the recordings as they are.

    Args:
        rows: mappings with condition and ua (0 to 1), one of them "as recorded"; of several systems, the first is
            drawn.
        title: title of the plot.
        ax: where to draw; None: a new figure.

    Example:
        >>> from multimodal_ser.evaluation import plot_robustness
        >>> ax = plot_robustness([{"condition": "as recorded", "ua": 0.7}, {"condition": "echo", "ua": 0.5}])
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['as recorded', 'echo']
    """
    rows = [each for each in rows if each.get("system") == rows[0].get("system")]
    ax = _axes(ax, (4.6, 1.0 + 0.27 * len(rows)))
    shares = [100 * each["ua"] for each in rows]
    colours = ["#8a94a3" if each["condition"] == "as recorded" else BLUE for each in rows]
    ax.barh(range(len(rows)), shares, color=colours, height=0.7)
    ax.set_yticks(range(len(rows)), labels=[each["condition"] for each in rows])
    ax.invert_yaxis()
    for place, each in enumerate(rows):
        if each["condition"] == "as recorded":
            ax.axvline(shares[place], linestyle="--", color="#777777", linewidth=1)
    _labelled(ax, "UA, %", "", title)
    ax.set_xlim(0, 100)
    return ax


def plot_systems(entries: Sequence[Mapping[str, Any]], *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the UA of systems and its 95 % intervals.

    Args:
        entries: systems of the report, with system, case, kind, figures and intervals.
        title: title of the plot.
        ax: where to draw; None: a new figure.

    Example:
        >>> from multimodal_ser.evaluation import plot_systems
        >>> entry = {"system": "mfcc-svm", "case": "audio", "kind": "baseline", "figures": {"ua": 0.5}, "intervals": {"ua": [0.4, 0.6]}}
        >>> [label.get_text() for label in plot_systems([entry]).get_yticklabels()]
        ['mfcc-svm, audio']
    """
    ax = _axes(ax, (5.4, 0.9 + 0.34 * len(entries)))
    for place, each in enumerate(entries):
        colour = "#8a94a3" if each["kind"] == "baseline" else BLUE
        low, high = each["intervals"]["ua"]
        if low is not None and high is not None:
            ax.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2, alpha=0.6)
        ax.plot(100 * each["figures"]["ua"], place, marker="o", color=colour)
    names = [each["system"] if each["case"] == "any" else f"{each['system']}, {each['case']}" for each in entries]
    ax.set_yticks(range(len(entries)), labels=names)
    ax.set_ylim(len(entries) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.grid(axis="x", color="#e3e7ec", linewidth=0.8)
    _labelled(ax, "UA, %, and 95 % interval", "", title)
    return ax


def picture(kind: str, content: Any, *, name: str = "", key: str = "") -> str:
    """A picture of the report, as SVG for an HTML page; the same content gives the same picture.

    Args:
        kind: a key of `PICTURES`.
        content: the part of report.json that the picture shows.
        name: name of the picture's subject, for readers who cannot see it.
        key: beginning of the ids in the SVG, different for each picture of a page.
    """
    import html
    import io
    import re

    import matplotlib

    draw, description = PICTURES[kind]
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": kind, "font.size": 9, "font.family": "sans-serif"}
    ):
        file = io.StringIO()
        figure: Any = draw(content).figure
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)  # an HTML page does not need namespaces
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key or kind}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(name + description)}"', 1)


PICTURES = {
    "systems": (plot_systems, "UA of each system with its interval"),
    "reliability": (plot_reliability, "accuracy over confidence"),
    "risk": (plot_risk_coverage, "errors over coverage"),
    "robustness": (plot_robustness, "UA under each disturbance"),
}
"""Functions that draw the pictures of the report, each with its description for readers who cannot see it."""


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").add_subplot() if ax is None else ax


def _labelled(ax: Axes, x: str, y: str, title: str | None) -> None:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if title is not None:
        ax.set_title(title)
