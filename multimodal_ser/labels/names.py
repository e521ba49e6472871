"""Provides the names of the nine emotions, and their synonyms."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from multimodal_ser.errors import InputError, did_you_mean

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "calm", "boredom")
"""The nine classes of the shipped head, in the order of its logits."""

DIMENSIONS = ("arousal", "valence", "dominance")
"""The dimensions that are rated besides emotions."""


class LabelError(InputError):
    """A label or label set is unknown, or does not fit."""


SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "angry": "anger", "annoyed": "anger", "annoyance": "anger", "frustrated": "anger", "frustration": "anger", "rage": "anger",
        "mad": "anger",
        "disgusted": "disgust",
        "fearful": "fear", "afraid": "fear", "scared": "fear", "anxious": "fear", "anxiety": "fear",
        "happy": "happiness", "joy": "happiness", "joyful": "happiness", "excited": "happiness", "excitement": "happiness",
        "amusement": "happiness",
        "neutral state": "neutral", "no emotion": "neutral",
        "sad": "sadness", "grief": "sadness",
        "surprised": "surprise", "pleasant surprise": "surprise",
        "calmness": "calm", "relaxed": "calm",
        "bored": "boredom",
    }
)  # fmt: skip
"""Other names of the nine emotions in corpora and in common use."""

CODES: Mapping[str, str] = MappingProxyType(
    {
        "ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happiness", "exc": "happiness", "neu": "neutral", "sur": "surprise",
        "bor": "boredom",
    }
)  # fmt: skip
"""Codes of three letters from IEMOCAP and CREMA-D. "fru" is missing: IEMOCAP separates frustration from anger."""


def canonical_emotion(label: str) -> str:
    """The name of an emotion in this library: "angry" -> "anger", "joy" -> "happiness".

    Raises:
        LabelError: the name is neither one of `EMOTIONS` nor a synonym.

    Example:
        >>> from multimodal_ser.labels import canonical_emotion
        >>> canonical_emotion("Joy")
        'happiness'
    """
    name = label.strip().lower().replace("_", " ")
    name = SYNONYMS.get(name) or CODES.get(name, name)
    if name not in EMOTIONS:
        remedy = did_you_mean(name, [*EMOTIONS, *SYNONYMS], "map it to one of them yourself")
        raise LabelError(
            "emotion", expected=f"one of {', '.join(EMOTIONS)} or a synonym", got=repr(label), remedy=remedy
        )
    return name


def is_emotion(name: str) -> bool:
    """Whether this library knows the name of an emotion (`canonical_emotion`).

    Example:
        >>> from multimodal_ser.labels import is_emotion
        >>> is_emotion("Happy"), is_emotion("HAP"), is_emotion("urgent")
        (True, True, False)
    """
    try:
        canonical_emotion(name)
    except LabelError:
        return False
    return True
