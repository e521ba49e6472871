"""Provides label sets, which users can choose instead of a model's own labels, and the maps to them."""

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
        name: the name of the set.
        labels: the labels of the set.
        mapping: the label of each of `EMOTIONS` that has one in the set.
        dropped: each other of `EMOTIONS`, and the reason why it has no label.
    """

    name: str
    labels: tuple[str, ...]
    mapping: Mapping[str, str]
    dropped: Mapping[str, str] = field(default_factory=dict)


EKMAN = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
QUADRANTS = ("high-arousal-positive", "high-arousal-negative", "low-arousal-negative", "low-arousal-positive")

LABEL_SETS: Mapping[str, LabelSet] = MappingProxyType(
    {
        # Ekman's six emotions and neutral (Ekman 1992, https://doi.org/10.1080/02699939208411068). Calm and boredom are low
        # in arousal and not among the six; corpora without them (nEMO, GoEmotions, MELD) label them as neutral.
        "ekman": LabelSet("ekman", EKMAN, {**{name: name for name in EKMAN}, "calm": "neutral", "boredom": "neutral"}),
        # The four classes of most scores on IEMOCAP, which leave out its fear, disgust and surprise, and do not merge them.
        "iemocap4": LabelSet(
            "iemocap4",
            ("anger", "happiness", "neutral", "sadness"),
            {"anger": "anger", "happiness": "happiness", "neutral": "neutral", "calm": "neutral", "sadness": "sadness"},
            {
                "disgust": "left out where IEMOCAP is scored, not merged", "fear": "left out where IEMOCAP is scored, not merged",
                "surprise": "left out where IEMOCAP is scored, not merged", "boredom": "none of the four",
            },
        ),
        # MELD's map of emotion to sentiment (https://aclanthology.org/P19-1050); its surprise is positive or negative.
        "sentiment": LabelSet(
            "sentiment",
            ("negative", "neutral", "positive"),
            {
                "anger": "negative", "disgust": "negative", "fear": "negative", "sadness": "negative", "boredom": "negative",
                "neutral": "neutral", "calm": "neutral", "happiness": "positive",
            },
            {"surprise": "positive or negative, case by case"},
        ),
        # Russell's circumplex (1980, https://doi.org/10.1037/h0077714); fear, anger and disgust are together as in Russell
        # and Barrett (1999, https://doi.org/10.1037/0022-3514.76.5.805).
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
    """Map a model's own labels to those of a label set; "native" maps each to itself.

    Raises:
        LabelError: the label set is unknown, or some labels have no label in it; the message names them all.

    Example:
        >>> from multimodal_ser.labels import label_map
        >>> label_map(["joy", "calm"], "ekman")
        {'joy': 'happiness', 'calm': 'neutral'}
    """
    if label_set == "native":
        return {label: label for label in labels}
    mapping = label_set_of(label_set).mapping
    mapped: dict[str, str] = {}
    unmapped: list[str] = []
    for label in labels:
        try:
            mapped[label] = mapping[canonical_emotion(label)]
        except (LabelError, KeyError):
            unmapped.append(label)
    if unmapped:
        raise LabelError(
            "label_set",
            expected=f"one that all labels of this model have a place in ({', '.join(labels)})",
            got=f"{label_set!r}, with {', '.join(unmapped)} in the way",
            remedy="use label_set='native', or a model without these labels",
        )
    return mapped


def label_set_of(name: str) -> LabelSet:
    """The label set of a name.

    Raises:
        LabelError: the name is unknown.
    """
    if not isinstance(name, str) or name not in LABEL_SETS:
        remedy = did_you_mean(name, ["native", *LABEL_SETS])
        raise LabelError("label_set", expected=f"one of native, {', '.join(LABEL_SETS)}", got=repr(name), remedy=remedy)
    return LABEL_SETS[name]


def in_label_set(emotion: str, label_set: str) -> str | None:
    """The label of an emotion in a label set; None if it has none (`LabelSet.dropped` has the reason).

    Raises:
        LabelError: the emotion or the label set is unknown.

    Example:
        >>> from multimodal_ser.labels import in_label_set
        >>> in_label_set("bored", "ekman"), in_label_set("surprise", "sentiment")
        ('neutral', None)
    """
    name = canonical_emotion(emotion)
    return name if label_set == "native" else label_set_of(label_set).mapping.get(name)


def quadrant(arousal: float, valence: float, scale: tuple[float, float]) -> str | None:
    """The quadrant of a rating in Russell's circumplex; None for a rating on an axis.

    See https://doi.org/10.1037/h0077714.

    Args:
        arousal, valence: the ratings on the corpus's own scale.
        scale: the lowest and highest value of the scale (`CorpusLabels.scale`).

    Raises:
        LabelError: a rating is outside the scale.

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
    """Sum a model's probabilities for each label of a label set; labels of the set without probabilities are left out.

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
