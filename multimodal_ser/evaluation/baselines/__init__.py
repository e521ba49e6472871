"""Baselines from the papers of the field, behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.evaluation.baselines.registry import BASELINES, Baseline, make_baseline

_HOMES = dict.fromkeys(["BASELINES", "Baseline", "make_baseline"], "registry")

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
