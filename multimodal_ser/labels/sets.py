"""Label sets: what people ask for in place of a model's own labels, and the maps there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from multimodal_ser.errors import did_you_mean
from multimodal_ser.labels.names import EMOTIONS, LabelError, canonical_emotion


@dataclass(frozen=True)
class LabelSet:
    """Labels that predictions can be merged to.

    Args:
        name: what it is asked for by.
        labels: its labels.
        mapping: from each of `EMOTIONS` that has a place in it; the others are in the way.
        dropped: each of `EMOTIONS` that has none, and why.
    """

    name: str
    labels: tuple[str, ...]
    mapping: Mapping[str, str]
    dropped: Mapping[str, str] = field(default_factory=dict)


EKMAN = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
QUADRANTS = ("high-arousal-positive", "high-arousal-negative", "low-arousal-negative", "low-arousal-positive")

LABEL_SETS: Mapping[str, LabelSet] = MappingProxyType(
    {
        # Ekman's six and neutral (Ekman 1992, https://doi.org/10.1080/02699939208411068). Calm and boredom are low in arousal and none
        # of the six; corpora without them (nEMO, GoEmotions, MELD) file them under neutral.
        "ekman": LabelSet("ekman", EKMAN, {**{name: name for name in EKMAN}, "calm": "neutral", "boredom": "neutral"}),
        # The four classes in which IEMOCAP is usually scored; its fear, disgust and surprise are left out there, not merged.
        "iemocap4": LabelSet(
            "iemocap4",
            ("anger", "happiness", "neutral", "sadness"),
            {"anger": "anger", "happiness": "happiness", "neutral": "neutral", "calm": "neutral", "sadness": "sadness"},
            {
                "disgust": "left out where IEMOCAP is scored, not merged", "fear": "left out where IEMOCAP is scored, not merged",
                "surprise": "left out where IEMOCAP is scored, not merged", "boredom": "none of the four",
            },
        ),
        # As MELD maps emotion to sentiment (https://aclanthology.org/P19-1050); there surprise is positive or negative, case by case.
        "sentiment": LabelSet(
            "sentiment",
            ("negative", "neutral", "positive"),
            {
                "anger": "negative", "disgust": "negative", "fear": "negative", "sadness": "negative", "boredom": "negative",
                "neutral": "neutral", "calm": "neutral", "happiness": "positive",
            },
            {"surprise": "positive or negative, case by case"},
        ),
        # Russell's circumplex (1980, https://doi.org/10.1037/h0077714); fear, anger and disgust together as in Russell and Barrett (1999,
        # https://doi.org/10.1037/0022-3514.76.5.805).
        "quadrants": LabelSet(
            "quadrants",
            QUADRANTS,
            {
                "happiness": "high-arousal-positive", "anger": "high-arousal-negative", "disgust": "high-arousal-negative",
                "fear": "high-arousal-negative", "sadness": "low-arousal-negative", "boredom": "low-arousal-negative",
                "calm": "low-arousal-positive",
            },
            {"neutral": "the middle of the circle: in no quadrant", "surprise": "high in arousal, but positive or negative, case by case"},
        ),
        "nine": LabelSet("nine", EMOTIONS, {name: name for name in EMOTIONS}),
    }
)  # fmt: skip


def label_map(labels: Sequence[str], label_set: str) -> dict[str, str]:
    """From a model's own labels to those of a label set; "native" maps each to itself.

    Raises:
        LabelError: an unknown label set, or labels that have no place in it (all are named).

    Example:
        >>> from multimodal_ser.labels import label_map
        >>> label_map(["joy", "calm"], "ekman")
        {'joy': 'happiness', 'calm': 'neutral'}
    """
    if label_set == "native":
        return {label: label for label in labels}
    mapping = label_set_of(label_set).mapping
    mapped, in_the_way = {}, []
    for label in labels:
        try:
            mapped[label] = mapping[canonical_emotion(label)]
        except (LabelError, KeyError):
            in_the_way.append(label)
    if in_the_way:
        raise LabelError(
            "label_set",
            expected=f"one that all labels of this model have a place in ({', '.join(labels)})",
            got=f"{label_set!r}, with {', '.join(in_the_way)} in the way",
            remedy="use label_set='native', or a model without these labels",
        )
    return mapped


def label_set_of(name: str) -> LabelSet:
    """The label set of a name.

    Raises:
        LabelError: an unknown one.
    """
    if not isinstance(name, str) or name not in LABEL_SETS:
        remedy = did_you_mean(name, ["native", *LABEL_SETS])
        raise LabelError("label_set", expected=f"one of native, {', '.join(LABEL_SETS)}", got=repr(name), remedy=remedy)
    return LABEL_SETS[name]


def in_label_set(emotion: str, label_set: str) -> str | None:
    """What an annotation is called in a label set; None where it has no place there (`LabelSet.dropped` says why).

    Raises:
        LabelError: an unknown emotion or label set.

    Example:
        >>> from multimodal_ser.labels import in_label_set
        >>> in_label_set("bored", "ekman"), in_label_set("surprise", "sentiment")
        ('neutral', None)
    """
    name = canonical_emotion(emotion)
    return name if label_set == "native" else label_set_of(label_set).mapping.get(name)


def quadrant(arousal: float, valence: float, scale: tuple[float, float]) -> str | None:
    """Where a rating lies in Russell's circumplex (https://doi.org/10.1037/h0077714); None: on an axis, in no quadrant.

    Args:
        arousal, valence: on the corpus's own scale.
        scale: its lowest and highest value (`CorpusLabels.scale`).

    Raises:
        LabelError: a rating off the scale.

    Example:
        >>> from multimodal_ser.labels import CORPUS_LABELS, quadrant
        >>> quadrant(4.5, 1.5, CORPUS_LABELS["iemocap"].scale)
        'high-arousal-negative'
    """
    low, high = scale
    for name, value in (("arousal", arousal), ("valence", valence)):
        if not low <= value <= high:
            raise LabelError(
                name,
                expected=f"a rating from {low:g} to {high:g}",
                got=f"{value:g}",
                remedy="name the corpus's own scale",
            )
    middle = (low + high) / 2
    if arousal == middle or valence == middle:
        return None
    return f"{'high' if arousal > middle else 'low'}-arousal-{'positive' if valence > middle else 'negative'}"


def merge_probabilities(probabilities: Mapping[str, float], label_set: str) -> dict[str, float]:
    """Sum a model's probabilities into the labels of a label set, in its order; labels that nothing maps to are left out.

    Raises:
        LabelError: see `label_map`.

    Example:
        >>> from multimodal_ser.labels import merge_probabilities
        >>> merge_probabilities({"neutral": 0.25, "calm": 0.25, "anger": 0.5}, "ekman")
        {'anger': 0.5, 'neutral': 0.5}
    """
    mapping = label_map(list(probabilities), label_set)
    order = (
        dict.fromkeys(mapping.values())
        if label_set == "native"
        else [name for name in LABEL_SETS[label_set].labels if name in mapping.values()]
    )
    return {name: sum(value for label, value in probabilities.items() if mapping[label] == name) for name in order}
