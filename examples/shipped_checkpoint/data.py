"""What the shipped checkpoint learns from, and the speakers that it never meets."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

SAMPLING_RATE = 16_000
CORPORA = ("ravdess", "emodb", "nemo")
UNSEEN_SPEAKERS = frozenset({"ravdess_02", "ravdess_15", "ravdess_16", "ravdess_18", "emodb_16", "nemo_WR0"})
"""Kept out of distillation, training, statistics, calibration and selection: the model card's figures are theirs."""


@dataclass(frozen=True)
class Clip:
    """One recording: where it lies, what was annotated, and its samples (S,) float32 at 16 kHz, with and without the silence around."""

    corpus: str
    path: Path
    emotion: str
    speaker: str
    text: str
    language: str
    waveform: np.ndarray
    untrimmed: np.ndarray


def trim(waveform: np.ndarray, threshold_db: float = -40.0, frame: int = 320) -> np.ndarray:
    """Cut what is `threshold_db` below the loudest 20 ms from both ends; at least 0.5 s stays."""
    power = np.square(waveform[: len(waveform) // frame * frame].reshape(-1, frame)).mean(1)
    loud = np.flatnonzero(power > power.max() * 10 ** (threshold_db / 10))
    start, stop = loud[0] * frame, (loud[-1] + 1) * frame
    return waveform[start:stop] if stop - start >= SAMPLING_RATE // 2 else waveform


def read_clips(data: Path, corpora: tuple[str, ...] = CORPORA, *, unseen: bool = False) -> list[Clip]:
    """All clips of the corpora's manifests, without the unseen speakers (or, with `unseen`, theirs alone), trimmed."""
    clips = []
    for corpus in corpora:
        with open(data / corpus / "manifest.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (row["speaker"] in UNSEEN_SPEAKERS) is not unseen:
                    continue
                path = data / corpus / row["path"]
                waveform, rate = sf.read(path, dtype="float32", always_2d=True)
                waveform = waveform.mean(1)
                if rate != SAMPLING_RATE:
                    waveform = soxr.resample(waveform, rate, SAMPLING_RATE)
                clips.append(
                    Clip(
                        corpus,
                        path,
                        row["emotion"],
                        row["speaker"],
                        row["text"],
                        row["language"],
                        trim(waveform),
                        waveform,
                    )
                )
    return clips
