"""Calibration of confidence, thresholds for abstention, and prediction sets with a guaranteed coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.calibration.run import calibrate, calibrate_manifest
    from multimodal_ser.calibration.selective import (
        ConfidenceThreshold,
        confidence_threshold,
        conformal_sets,
        conformal_threshold,
    )
    from multimodal_ser.calibration.temperature import fit_temperature

_HOMES = {
    "calibrate": "run", "calibrate_manifest": "run", "fit_temperature": "temperature", "ConfidenceThreshold": "selective",
    "confidence_threshold": "selective", "conformal_sets": "selective", "conformal_threshold": "selective",
}  # fmt: skip

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
