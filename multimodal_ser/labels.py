"""Emotion names: those of each corpus, the label sets that people ask for, and the maps between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from multimodal_ser.errors import InputError

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "calm", "boredom")
"""The nine classes of the shipped head, in the order of its logits."""


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
    name = SYNONYMS.get(name, name)
    if name not in EMOTIONS:
        close = get_close_matches(name, [*EMOTIONS, *SYNONYMS], n=1)
        remedy = f"did you mean {close[0]!r}?" if close else "map it to one of them yourself"
        raise LabelError("emotion", expected=f"one of {', '.join(EMOTIONS)} or a synonym", got=repr(label), remedy=remedy)
    return name


@dataclass(frozen=True)
class LabelSet:
    """Labels that predictions can be merged to.

    Args:
        name: what it is asked for by.
        labels: its labels.
        mapping: from each of `EMOTIONS` that has a place in it; the others are in the way.
    """

    name: str
    labels: tuple[str, ...]
    mapping: Mapping[str, str]


EKMAN = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

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
        ),
        # As MELD maps emotion to sentiment (https://aclanthology.org/P19-1050); there surprise is positive or negative, case by case.
        "sentiment": LabelSet(
            "sentiment",
            ("negative", "neutral", "positive"),
            {
                "anger": "negative", "disgust": "negative", "fear": "negative", "sadness": "negative", "boredom": "negative",
                "neutral": "neutral", "calm": "neutral", "happiness": "positive",
            },
        ),
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
    if not isinstance(label_set, str) or label_set not in LABEL_SETS:
        close = get_close_matches(str(label_set), ["native", *LABEL_SETS], n=1)
        remedy = f"did you mean {close[0]!r}?" if close else "choose one of them"
        raise LabelError("label_set", expected=f"one of native, {', '.join(LABEL_SETS)}", got=repr(label_set), remedy=remedy)
    mapped, in_the_way = {}, []
    for label in labels:
        try:
            mapped[label] = LABEL_SETS[label_set].mapping[canonical_emotion(label)]
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


@dataclass(frozen=True)
class CorpusLabels:
    """What a corpus's annotators could say.

    Args:
        labels: the classes that it tells apart.
        merged: classes that it files under another: "calm" -> "neutral" says that its neutral may be calm.

    A class that is neither a label nor merged is only absent: no clip of the corpus shows it.
    """

    labels: tuple[str, ...]
    merged: Mapping[str, str]


CORPUS_LABELS: Mapping[str, CorpusLabels] = MappingProxyType(
    {
        # https://doi.org/10.1371/journal.pone.0196391: calm and neutral are told apart; nobody is bored
        "ravdess": CorpusLabels(("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), {}),
        # https://www.isca-archive.org/interspeech_2005/burkhardt05b_interspeech.html: nobody is surprised
        "emodb": CorpusLabels(("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"), {"calm": "neutral"}),
        # https://arxiv.org/abs/2404.06292: nobody is disgusted or bored
        "nemo": CorpusLabels(("anger", "fear", "happiness", "neutral", "sadness", "surprise"), {"calm": "neutral"}),
        # texts: what shows none of the six is neutral. https://arxiv.org/abs/2005.00547, https://aclanthology.org/I17-1099, https://aclanthology.org/P19-1050
        "goemotions": CorpusLabels(EKMAN, {"calm": "neutral", "boredom": "neutral"}),
        "dailydialog": CorpusLabels(EKMAN, {"calm": "neutral", "boredom": "neutral"}),
        "meld": CorpusLabels(EKMAN, {"calm": "neutral", "boredom": "neutral"}),
    }
)


def admissible_classes(emotion: str, corpus: str | None = None, labels: Sequence[str] = EMOTIONS) -> tuple[bool, ...]:
    """Which of a model's classes an annotation admits: the row that the model's loss takes.

    Args:
        emotion: the annotation; several of one text are joined by a bar ("anger|sadness").
        corpus: whose it is; None or one that is not known: each class is only itself.
        labels: the model's classes.

    Returns:
        One bool a class.

    Raises:
        LabelError: an unknown emotion, or one that the model has no class for.

    Example:
        >>> from multimodal_ser.labels import EMOTIONS, admissible_classes
        >>> [name for name, admitted in zip(EMOTIONS, admissible_classes("neutral", "emodb")) if admitted]
        ['neutral', 'calm']
    """
    annotated = {canonical_emotion(part) for part in emotion.split("|")}
    if corpus is not None and corpus in CORPUS_LABELS:
        annotated |= {name for name, under in CORPUS_LABELS[corpus].merged.items() if under in annotated}
    row = tuple(canonical_emotion(label) in annotated for label in labels)
    if not any(row):
        raise LabelError(
            "emotion", expected=f"one that the model has a class for ({', '.join(labels)})", got=repr(emotion), remedy="leave the row out"
        )
    return row
