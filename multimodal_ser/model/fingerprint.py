"""Fingerprints of weights: what tells one trained model from another."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def encoder_fingerprint(encoder: nn.Module) -> str:
    """Tells encoders apart: a hash of the shapes and of the first and last weights, whatever precision they have.

    Returns:
        16 hexadecimal digits; speaker profiles and ONNX exports carry it.
    """
    weights = list(encoder.parameters())
    digest = hashlib.sha256(repr([(type(encoder).__name__, *weight.shape) for weight in weights]).encode())
    for weight in (weights[0], weights[-1]):
        digest.update(weight.detach().to(torch.bfloat16).cpu().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]
