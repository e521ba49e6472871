"""Files of a run folder: environment, options, predictions and curves; and the checks that a folder holds one run
alone.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser._files import read_yaml, writing
from multimodal_ser._version import __version__
from multimodal_ser.corpora.clips import Clip
from multimodal_ser.corpora.targets import admissible_row_classes
from multimodal_ser.errors import InputError
from multimodal_ser.labels import LabelError
from multimodal_ser.metrics.registry import METRICS
from multimodal_ser.training.arguments import TrainingArguments

PACKAGES = ("torch", "torchaudio", "transformers", "accelerate", "peft", "numpy", "soundfile", "av", "soxr")

NOT_COMPARED = frozenset(
    ["resume_from_checkpoint", "dataloader_num_workers", "disable_tqdm", "report_to", "run_name", "use_cpu", "output_dir", "logging_steps",
     "save_total_limit", "cache_dir"]
)  # fmt: skip
"""Options that may differ when a run is resumed: they do not change what is learned."""


def environment() -> dict[str, Any]:
    """Describe software and machine of a run.

    Returns:
        "multimodal_ser" and "python": versions; "git": commit of the library, None without one; "packages": version of
        each, None if it is not installed; "command"; "platform"; "processors": their number.
    """
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "multimodal_ser": __version__, "git": git_commit(), "python": platform.python_version(), "packages": versions,
        "command": command, "platform": platform.platform(), "processors": os.cpu_count(),
    }  # fmt: skip


def git_commit() -> str | None:
    """Return the git commit of the library, with "+changes" if files differ from it; None without a git checkout."""
    folder = Path(__file__).resolve().parent
    try:
        run = ["git", "-C", str(folder)]
        commit = subprocess.run(
            [*run, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        tracked = subprocess.run([*run, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10)
        if tracked.returncode:
            return None  # a checkout of something else, in which this library is merely installed
        changes = subprocess.run(
            [*run, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changes.strip() else "")


def data_hash(clips: Sequence[Clip]) -> str:
    """Return the SHA-256 of the data: content, part, text, split and annotation of each row, in any order."""
    lines = sorted(
        repr(
            (
                c.content,
                c.row.start,
                c.row.end,
                c.row.text,
                c.row.emotion,
                sorted((c.row.votes or {}).items()),
                c.row.speaker,
                c.context,
            )
        )
        + repr((c.row.arousal, c.row.valence, c.row.dominance, c.row.corpus, c.row.split))
        for c in clips
    )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def write_predictions(
    path: Path, clips: Sequence[Clip], labels: Sequence[str], probabilities: np.ndarray, dimensions: Any = None
) -> None:
    """Write a CSV file with a line per clip: name, annotation, prediction and probabilities; neither audio nor words.

    Args:
        path: path of the CSV file.
        clips: N clips.
        labels: names of the C classes. Annotations are written with these names, several admissible ones joined by a
            bar, votes as in manifests.
        probabilities: (N, C).
        dimensions: predictions (N,) by the name of the dimension; each column follows that of the annotation.
    """
    regressed = {} if dimensions is None else dict(dimensions)
    columns = ["name", "speaker", "emotion", "prediction", *(f"p_{label}" for label in labels)]
    with writing(path) as place, open(place, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *(column for name in regressed for column in (name, f"predicted_{name}"))])
        for index, clip in enumerate(clips):
            row = probabilities[index]
            cells = [f"{value:.6f}" for value in row]
            for name, values in regressed.items():
                annotated = getattr(clip.row, name)
                cells += ["" if annotated is None else f"{annotated:g}", f"{values[index]:.4f}"]
            writer.writerow(
                [clip.row.name, clip.row.speaker or "", _annotation(clip, labels), labels[int(row.argmax())], *cells]
            )


def _annotation(clip: Clip, labels: Sequence[str]) -> str:
    def classes(name: str) -> str:
        try:
            admissible = admissible_row_classes(name, labels, clip.row.corpus)
        except LabelError:  # of a model that does not learn emotions
            return name
        return "|".join(label for label, yes in zip(labels, admissible, strict=True) if yes)

    if clip.row.votes:
        return "|".join(f"{classes(name)}:{votes:g}" for name, votes in clip.row.votes.items())
    return classes(clip.row.emotion) if clip.row.emotion else ""


def refuse_other_run(folder: Path, args: TrainingArguments) -> None:
    """Require a folder without a run, or the same run with `resume_from_checkpoint`.

    Raises:
        InputError: the folder holds a run that is not resumed, or one with other options.
    """
    stored = folder / "arguments.yaml"
    if folder.exists() and not folder.is_dir():
        raise InputError("output_dir", expected="a folder", got=f"the file {folder}", remedy="name another")
    if not stored.exists():
        if (folder / "checkpoints").exists():
            got = f"{folder}, which holds checkpoints without arguments.yaml"
            raise InputError("output_dir", expected="a folder without a run", got=got, remedy="name another")
        return
    if not args.resume_from_checkpoint:
        remedy = "add --resume-from-checkpoint to go on with it, or name another"
        raise InputError(
            "output_dir", expected="a folder without a run", got=f"{folder}, which holds one", remedy=remedy
        )
    before, now = read_yaml(stored), dataclasses.asdict(args)
    free = NOT_COMPARED | ({"seeds"} if before.get("seeds") and args.seeds else set())
    changed = [name for name in now if name not in free and before.get(name, now[name]) != now[name]]
    if changed:
        got = ", ".join(f"{name} {_shown_value(now[name])} instead of {_shown_value(before[name])}" for name in changed)
        remedy = "give the same, or another output_dir"
        raise InputError(
            "resume_from_checkpoint", expected="the options that the run began with", got=got, remedy=remedy
        )


def shown_figures(figures: Mapping[str, Any]) -> str:
    """Return the loss and the metrics among `figures` as one line of text.

    Example:
        >>> from multimodal_ser.training.run_folder import shown_figures
        >>> shown_figures({"loss": 0.5, "ua": 0.753})
        'loss 0.500, UA 75.3'
    """
    loss = [f"loss {figures['loss']:.3f}"] if "loss" in figures else []
    measured = (metric for metric in METRICS.values() if metric.name in figures)
    return ", ".join([*loss, *(f"{metric.title} {metric.text(figures[metric.name])}" for metric in measured)])


def _shown_value(value: Any) -> str:
    return "not given" if value is None else repr(value)


def refuse_other_data(folder: Path, current_hash: str) -> None:
    """Require that a run is resumed with the data that it began with.

    Raises:
        InputError: `current_hash` (see `data_hash`) differs from that of the run in the folder.
    """
    path = folder / "data.json"
    if (folder / "arguments.yaml").exists() and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))["data_hash"]
        if before != current_hash:
            remedy = "bring them back, or begin anew in another output_dir"
            raise InputError(
                "data", expected="what the run began with", got="other recordings or annotations", remedy=remedy
            )


def write_arguments(folder: Path, args: TrainingArguments) -> None:
    """Write the options into the folder; from now on it holds this run."""
    args.to_yaml(folder / "arguments.yaml")


def make_folder(folder: Path) -> None:
    """Make a folder if it does not exist.

    Raises:
        InputError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f"{folder} ({error.strerror})"
        raise InputError(
            "output_dir", expected="a folder that can be written", got=got, remedy="name another"
        ) from error


def plot_curves(log: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot losses (above) and validation metrics (below) over epochs; needs matplotlib, which the extra `train`
    installs.
    """
    from matplotlib.figure import Figure

    epochs = [line["epoch"] + 1 for line in log]
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for name, label in (("train_loss", "training"), ("loss", "validation")):
        if any(name in line for line in log):
            above.plot(epochs, [line.get(name, float("nan")) for line in log], marker=".", label=label)
    above.set_ylabel("loss")
    above.legend()
    measured = [metric for metric in METRICS.values() if any(metric.name in line for line in log)]
    for metric in measured:
        values = [metric.factor * line.get(metric.name, float("nan")) for line in log]
        below.plot(epochs, values, marker=".", label=metric.title)
    if measured:
        below.legend()
    below.set_ylabel("validation")
    below.set_xlabel("epoch")
    with writing(path) as place:
        figure.savefig(place, dpi=120, format=path.suffix[1:])
