"""Recordings as the world makes them, in fixed strengths: what a model's answers are worth then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multimodal_ser.evaluation.outputs import Disturbance

CODECS = {"mp3": "MP3", "opus": "Opus", "amr": "AMR narrow band"}
"""Codecs of `training.augmentation` that are heard, and their names."""


@dataclass(frozen=True)
class Condition:
    """One way in which all recordings are disturbed.

    Args:
        name: what it is called in the report.
        kind: conditions of one kind, such as noise of several strengths, stand together.
        level: its strength, where there are several: dB of speech over noise, share of the peak at which it is cut off.
        effects: as `training.augmentation.Augmenter` takes them; none: the recordings as they are.

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
    """The sweep: noise of 20 to 0 dB, echo, room, telephone, codecs (those that the installed PyAV can encode), clipping.

    Args:
        noises: noise comes from recordings; else it is made, pink.
        rooms: impulse responses come from recordings; else they are made, with a reverberation time of 0.6 s at 0 dB direct to reverberant.
    """
    found = [
        Condition(f"noise, {snr} dB", "noise", snr, {"noise": {"snr": snr} | ({} if noises else {"colours": ["pink"]})})
        for snr in (20, 15, 10, 5, 0)
    ]
    found.append(Condition("echo, 0.2 s, -6 dB", "echo", None, {"echo": {"delay": 0.2, "gain": -6}}))
    found.append(
        Condition("room" if rooms else "room, 0.6 s", "room", None, {"room": {} if rooms else {"rt60": 0.6, "drr": 0}})
    )
    found.append(Condition("telephone", "telephone", None, {"telephone": {}}))
    found += [
        Condition(f"codec, {CODECS[name]}", "codec", None, {"replay": {"low": 10, "high": 7900, "codecs": [name]}})
        for name in _encodable()
    ]
    found += [
        Condition(f"clipping at {share:.0%}", "clipping", share, {"clipping": {"share": share}}) for share in (0.3, 0.1)
    ]
    return found


def disturbance(
    condition: Condition, *, seed: int = 0, noise_dir: str | None = None, room_dir: str | None = None
) -> Disturbance:
    """What the condition does to a waveform (S,) at 16 kHz of a clip of that name; the same whenever it is asked.

    Args:
        condition: of `conditions`.
        seed: of what is drawn.
        noise_dir, room_dir: folders, where noises and rooms are recordings.

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

    from multimodal_ser.training.augmentation import CODECS as KNOWN

    return [name for name in CODECS if KNOWN[name][0] in codecs_available]
