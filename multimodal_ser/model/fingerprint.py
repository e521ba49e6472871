# Copyright 2026 The multimodal_ser authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Fingerprints of weights, by which a checkpoint, an encoder or a single branch is recognised again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch


def tensor_digest(parts: Iterable[str | torch.Tensor]) -> str:
    """sha256 (hex) over texts and the plain bytes of tensors, in the order given, wherever the tensors lie.

    Shapes and types are no part of a tensor's bytes; where they matter, a text says them.

    Args:
        parts: texts, and tensors of any shape.

    Raises:
        RuntimeError, TypeError, NotImplementedError: a tensor without bytes of its own, such as one on "meta" or a quantized one.

    Example:
        >>> import torch
        >>> from multimodal_ser.model.fingerprint import tensor_digest
        >>> tensor_digest(["bias", torch.zeros(2)]) == tensor_digest(["bias", torch.zeros(2), torch.zeros(0)])
        True
        >>> tensor_digest([torch.zeros(2)]) == tensor_digest([torch.zeros(2, dtype=torch.float16)])
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            digest.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def encoder_fingerprint(encoder: torch.nn.Module) -> str:
    """16 hex digits of an encoder's shape and of its first and last weights, whatever precision they have.

    Speaker profiles and exported graphs carry it: it must not change.

    Example:
        >>> import torch
        >>> from multimodal_ser.model.fingerprint import encoder_fingerprint
        >>> encoder = torch.nn.Linear(2, 2)
        >>> encoder_fingerprint(encoder) == encoder_fingerprint(encoder.to(torch.bfloat16))
        True
    """
    weights = list(encoder.parameters())
    shapes = repr([(type(encoder).__name__, *weight.shape) for weight in weights])
    return tensor_digest([shapes, *(weight.detach().to(torch.bfloat16) for weight in (weights[0], weights[-1]))])[:16]


def weights_digest(model: torch.nn.Module) -> str | None:
    """sha256 (hex) over names, types, shapes and bytes of all weights.

    The facts of a model card carry it: it must not change.

    Returns:
        None: the weights are not all at hand, or of a type without plain bytes.
    """
    state = sorted(model.state_dict().items())
    if any(tensor.is_meta for _, tensor in state):
        return None
    try:
        return tensor_digest(
            part for name, tensor in state for part in (f"{name} {tensor.dtype} {tuple(tensor.shape)} ", tensor)
        )
    except (RuntimeError, TypeError, NotImplementedError):  # quantized
        return None


def checkpoint_digest(folder: str | Path) -> str | None:
    """sha256 (hex) over the files of weights and the configuration of a local checkpoint; None: there is no such folder.

    Example:
        >>> from multimodal_ser.model.fingerprint import checkpoint_digest
        >>> checkpoint_digest("no/such/folder") is None
        True
    """
    folder = Path(folder)
    digests = []
    for path in [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("config.json"))]:
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return hashlib.sha256(b"".join(digests)).hexdigest() if digests else None
