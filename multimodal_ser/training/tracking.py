"""Tracking of a run with TensorBoard, Weights & Biases or MLflow, in local files by default."""

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
"""Names in trackers of the fields of a log line; None: not tracked."""

PRIVACY_SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
"""Environment variables that turn off the reports of trackers to their makers; variables that are set already stay."""


def installed(names: Iterable[str]) -> list[str]:
    """Return the trackers that are installed.

    Example:
        >>> from multimodal_ser.training.tracking import installed
        >>> installed([])
        []
    """
    from accelerate.utils import is_mlflow_available, is_tensorboard_available, is_wandb_available

    is_available = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available, "mlflow": is_mlflow_available}
    return [name for name in names if is_available[name]()]


def tracked(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a line of `log.jsonl` with the names of transformers' Trainer: `train/...` and `eval/...`.

    Example:
        >>> from multimodal_ser.training.tracking import tracked
        >>> tracked({"step": 10, "epoch": 0, "loss": 1.5}), tracked({"step": 20, "epoch": 0, "train_loss": 1.2, "loss": 1.3, "ua": 0.5})
        ({'train/epoch': 0, 'train/loss': 1.5}, {'train/epoch': 0, 'train/epoch_loss': 1.2, 'eval/loss': 1.3, 'eval/ua': 0.5})
    """
    names = dict(OF_TRAINING)
    if "train_loss" in line:  # in the line of an epoch, "loss" is the validation loss
        names["loss"] = "eval/loss"
    pairs = ((names.get(key, f"eval/{key}"), value) for key, value in line.items() if isinstance(value, int | float))
    return {name: value for name, value in pairs if name is not None}


@contextmanager
def tracking(accelerator: Any, folder: Path, name: str, config: dict[str, Any]) -> Iterator[None]:
    """Start the accelerator's trackers, and finish them at the end, even after an exception.

    They write into the run folder: `tracking/` (TensorBoard), `wandb/` (offline, unless WANDB_MODE is set), `mlruns/`
    (MLflow, unless MLFLOW_TRACKING_URI is set).

    Args:
        accelerator: the Accelerator of this process.
        folder: the run folder.
        name: name of the run, which is the project of W&B and the experiment of MLflow.
        config: options of the run, as plain values.
    """
    for variable, value in PRIVACY_SETTINGS.items():  # before the import of the libraries, which read them
        os.environ.setdefault(variable, value)
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not tracking_uri:  # MLflow 3 uses a folder only with the second variable
        os.environ["MLFLOW_TRACKING_URI"] = (folder / "mlruns").absolute().as_uri()
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    wandb = {"mode": os.environ.get("WANDB_MODE", "offline"), "dir": str(folder)}
    try:
        if accelerator.log_with:
            accelerator.init_trackers(name, config, {"wandb": wandb})
        yield
    finally:
        # end_training would end the process group too, which runs with other seeds need
        for tracker in accelerator.trackers:
            tracker.finish()
        if not tracking_uri:  # the next run of this process has another folder
            os.environ.pop("MLFLOW_TRACKING_URI", None)
