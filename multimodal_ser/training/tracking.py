"""Trackers: a run told to TensorBoard, Weights & Biases or MLflow, on this machine unless it is asked otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OF_TRAINING = {
    "loss": "train/loss", "train_loss": "train/epoch_loss", "learning_rate": "train/learning_rate", "epoch": "train/epoch",
    "seconds": "train/seconds", "step": None, "steps_in_epoch": None,
}  # fmt: skip
"""What trackers call the fields of a line of the log; they have a step of their own."""

UNASKED = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
"""What trackers would tell their makers, and the variables that keep them from it; one that is set already stays as it is."""


def installed(names: Iterable[str]) -> list[str]:
    """Those of the trackers that are there.

    Example:
        >>> from multimodal_ser.training.tracking import installed
        >>> installed([])
        []
    """
    from accelerate.utils import is_mlflow_available, is_tensorboard_available, is_wandb_available

    there = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available, "mlflow": is_mlflow_available}
    return [name for name in names if there[name]()]


def tracked(line: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a line of `log.jsonl`, named as transformers' Trainer names them: `train/...`, and `eval/...` for validation.

    Example:
        >>> from multimodal_ser.training.tracking import tracked
        >>> tracked({"step": 10, "epoch": 0, "loss": 1.5}), tracked({"step": 20, "epoch": 0, "train_loss": 1.2, "loss": 1.3, "ua": 0.5})
        ({'train/epoch': 0, 'train/loss': 1.5}, {'train/epoch': 0, 'train/epoch_loss': 1.2, 'eval/loss': 1.3, 'eval/ua': 0.5})
    """
    names = OF_TRAINING | (
        {"loss": "eval/loss"} if "train_loss" in line else {}
    )  # a line of an epoch has the loss of validation
    pairs = ((names.get(key, f"eval/{key}"), value) for key, value in line.items() if isinstance(value, int | float))
    return {name: value for name, value in pairs if name is not None}


@contextmanager
def tracking(accelerator: Any, folder: Path, name: str, config: dict[str, Any]) -> Iterator[None]:
    """Begin the accelerator's trackers, and end them whatever happens.

    Everything lies in the run's folder: `tracking/` (TensorBoard), `wandb/` (offline, unless WANDB_MODE says otherwise), `mlruns/`
    (MLflow, unless MLFLOW_TRACKING_URI names another place).

    Args:
        accelerator: of the process.
        folder: of the run.
        name: of the run; W&B and MLflow call it their project or experiment.
        config: what is written beside the figures, plain values.
    """
    for variable, value in UNASKED.items():  # before the libraries are imported, which is when they look
        os.environ.setdefault(variable, value)
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if not given:  # MLflow 3 reads and writes folders only where it is told that they are meant
        os.environ["MLFLOW_TRACKING_URI"] = (folder / "mlruns").absolute().as_uri()
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    wandb = {"mode": os.environ.get("WANDB_MODE", "offline"), "dir": str(folder)}
    try:
        if accelerator.log_with:
            accelerator.init_trackers(name, config, {"wandb": wandb})
        yield
    finally:
        for (
            tracker
        ) in accelerator.trackers:  # not end_training: it would end the process group, which other seeds go on with
            tracker.finish()
        if not given:  # the next run of this process has a folder of its own
            os.environ.pop("MLFLOW_TRACKING_URI", None)
