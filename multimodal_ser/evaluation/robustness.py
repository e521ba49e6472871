"""Disturbances of recordings in fixed strengths, such as noise and codecs, under which a model is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multimodal_ser.evaluation.outputs import Disturbance

CODECS = {"mp3": "MP3", "opus": "Opus", "amr": "AMR narrow band"}
"""Codecs of `training.augmentation` that a model is measured with, and their names in the report."""


@dataclass(frozen=True)
class Condition:
    """One way in which all recordings are disturbed.

    Args:
        name: name in the report.
        kind: kind of the disturbance; conditions of one kind, such as noise of several strengths, stand together.
        level: strength, for kinds with several: dB of speech over noise, or the share of the peak at which clipping
            begins.
        effects: options by name of the effect, for `training.augmentation.Augmenter`; empty: the recordings as they
            are.

    Example:
        >>> from multimodal_ser.evaluation.robustness import conditions
        >>> [condition.name for condition in conditions() if condition.kind == "noise"]
        ['noise, 20 dB', 'noise, 15 dB', 'noise, 10 dB', 'noise, 5 dB', 'noise, 0 dB']
    """

    name: str
    kind: str
    level: float | None
    effects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def conditions(*, noises: bool = False, rooms: bool = False) -> list[Condition]:
    """All conditions: noise of 20 to 0 dB, echo, room, telephone, codecs that the installed PyAV can encode, clipping.

    Args:
        noises: whether noise comes from recordings; else it is synthesised, pink.
        rooms: whether impulse responses come from recordings; else they are synthesised, with a reverberation time of
            0.6 s at 0 dB direct to reverberant.
    """
    sweep = [
        Condition(f"noise, {snr} dB", "noise", snr, {"noise": {"snr": snr} | ({} if noises else {"colours": ["pink"]})})
        for snr in (20, 15, 10, 5, 0)
    ]
    sweep.append(Condition("echo, 0.2 s, -6 dB", "echo", None, {"echo": {"delay": 0.2, "gain": -6}}))
    sweep.append(
        Condition("room" if rooms else "room, 0.6 s", "room", None, {"room": {} if rooms else {"rt60": 0.6, "drr": 0}})
    )
    sweep.append(Condition("telephone", "telephone", None, {"telephone": {}}))
    sweep += [
        Condition(f"codec, {CODECS[name]}", "codec", None, {"replay": {"low": 10, "high": 7900, "codecs": [name]}})
        for name in _encodable()
    ]
    sweep += [
        Condition(f"clipping at {share:.0%}", "clipping", share, {"clipping": {"share": share}}) for share in (0.3, 0.1)
    ]
    return sweep


def disturbance(
    condition: Condition, *, seed: int = 0, noise_dir: str | None = None, room_dir: str | None = None
) -> Disturbance:
    """A function that disturbs the waveform (S,) at 16 kHz of a clip with a name; equal arguments give equal results.

    Args:
        condition: one of `conditions`.
        seed: seed of the random choices.
        noise_dir, room_dir: folders with recordings of noises and of impulse responses; None: they are synthesised.

    Raises:
        InputError: a folder without a readable recording.
    """
    from multimodal_ser.training.augmentation import Augmenter

    augmenter = Augmenter(
        {name: {**options, "probability": 1.0} for name, options in condition.effects.items()}, seed=seed,
        noise_dir=noise_dir if "noise" in condition.effects else None, room_dir=room_dir if "room" in condition.effects else None,
    )  # fmt: skip

    def disturb(waveform: np.ndarray, clip: str) -> np.ndarray:
        return augmenter.waveform(waveform, draw=1, clip=clip)

    return disturb


def _encodable() -> list[str]:
    from av.codec import codecs_available

    from multimodal_ser.training.augmentation import CODECS as ENCODERS

    return [name for name in CODECS if ENCODERS[name][0] in codecs_available]
