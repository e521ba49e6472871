"""Names: the nine emotions, and what else they are called."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from multimodal_ser.errors import InputError, did_you_mean

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "calm", "boredom")
"""The nine classes of the shipped head, in the order of its logits."""

DIMENSIONS = ("arousal", "valence", "dominance")
"""What can be rated beside emotions."""


class LabelError(InputError):
    """A label or label set that is not known, or that does not fit."""


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
"""Other names of the nine, as corpora and people use them."""

CODES: Mapping[str, str] = MappingProxyType(
    {
        "ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happiness", "exc": "happiness", "neu": "neutral", "sur": "surprise",
        "bor": "boredom",
    }
)  # fmt: skip
"""Codes of three letters that IEMOCAP's and CREMA-D's labels made common. IEMOCAP's "fru" is none: there it is told from anger."""


def canonical_emotion(label: str) -> str:
    """The name that this library gives an emotion: "angry" -> "anger", "joy" -> "happiness".

    Raises:
        LabelError: a name that is neither one of `EMOTIONS` nor a synonym.

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
    """Whether this library has a name for an emotion (`canonical_emotion`).

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
