"""What a run leaves behind: with what it was made, on what, how it went, and what it answered on the validation set."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser._version import __version__
from multimodal_ser.training.data import Clip

PACKAGES = ("torch", "torchaudio", "transformers", "accelerate", "peft", "numpy", "soundfile", "av", "soxr")


def environment() -> dict[str, Any]:
    """Versions, git commit of the library (None: installed without one), command and machine."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "multimodal_ser": __version__, "git": git_commit(), "python": platform.python_version(), "packages": versions,
        "command": command, "platform": platform.platform(), "processors": os.cpu_count(),
    }  # fmt: skip


def git_commit() -> str | None:
    """The commit of the checkout that this library runs from, "+changes" where the tree differs from it."""
    folder = Path(__file__).resolve().parent
    try:
        run = ["git", "-C", str(folder)]
        commit = subprocess.run([*run, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        tracked = subprocess.run([*run, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10)
        if tracked.returncode:
            return None  # a checkout of something else, in which this library is merely installed
        changes = subprocess.run([*run, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changes.strip() else "")


def data_hash(clips: Sequence[Clip]) -> str:
    """sha256 over what is learned from: content, part, text and annotation of each row, in any order."""
    lines = sorted(
        repr((c.content, c.row.start, c.row.end, c.row.text, c.row.emotion, sorted((c.row.votes or {}).items()), c.row.speaker, c.context))
        + repr((c.row.arousal, c.row.valence, c.row.dominance))
        for c in clips
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def write_predictions(path: Path, clips: Sequence[Clip], labels: Sequence[str], probabilities: np.ndarray, dimensions: Any = None) -> None:
    """A line a clip: its name, what was annotated, what was predicted, the probabilities (N, C); neither audio nor words."""
    names = [f"p_{label}" for label in labels]
    regressed = [] if dimensions is None else list(dimensions)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "speaker", "emotion", "prediction", *names, *regressed])
        for index, clip in enumerate(clips):
            row = probabilities[index]
            cells = [f"{value:.6f}" for value in row] + [f"{dimensions[name][index]:.4f}" for name in regressed]
            writer.writerow([clip.row.name, clip.row.speaker or "", clip.row.emotion or "", labels[int(row.argmax())], *cells])


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder beside the old one and exchange them: whenever this is stopped, `recover_folder` finds a whole one."""
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(new, ignore_errors=True)
    write(new)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Undo an exchange that was stopped in the middle."""
    old = folder.with_name(folder.name + ".old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    for rest in (old, folder.with_name(folder.name + ".new")):
        shutil.rmtree(rest, ignore_errors=True)


def plot_curves(log: Sequence[dict[str, Any]], path: Path) -> None:
    """Losses above, validation figures below, over epochs (needs matplotlib, the extra `train`)."""
    from matplotlib.figure import Figure

    epochs = [line["epoch"] + 1 for line in log]
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for name, label in (("train_loss", "training"), ("loss", "validation")):
        if any(name in line for line in log):
            above.plot(epochs, [line.get(name, float("nan")) for line in log], marker=".", label=label)
    above.set_ylabel("loss")
    above.legend()
    shown = [(name, label) for name, label in (("ua", "UA"), ("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("ccc", "CCC"))]
    for name, label in shown:
        if any(name in line for line in log):
            factor = 1 if name == "ccc" else 100
            below.plot(epochs, [factor * line.get(name, float("nan")) for line in log], marker=".", label=label)
    if any(name in line for line in log for name, _ in shown):
        below.legend()
    below.set_ylabel("validation")
    below.set_xlabel("epoch")
    figure.savefig(path, dpi=120)
