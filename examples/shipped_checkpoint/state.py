"""A stage's state on disk: tensors in one safetensors file, written whole or not at all. No pickle."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn


def save_state(path: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value).contiguous() for name, value in moments.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path.with_suffix(".new"), metadata={"step": str(step)})
    os.replace(path.with_suffix(".new"), path)


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Fill model and optimizer; the number of steps done (0 where there is no state)."""
    if not path.exists():
        return 0
    state = optimizer.state_dict()
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        model.load_state_dict({name[6:]: file.get_tensor(name) for name in names if name.startswith("model.")})
        for name in names:
            if name.startswith("optimizer."):
                _, index, moment = name.split(".")
                state["state"].setdefault(int(index), {})[moment] = file.get_tensor(name)
        step = int(file.metadata()["step"])
    optimizer.load_state_dict(state)
    return step
