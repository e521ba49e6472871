"""Provides the meaning of each corpus's labels, and the classes that a label admits in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from multimodal_ser.errors import did_you_mean
from multimodal_ser.labels.names import EMOTIONS, LabelError, canonical_emotion
from multimodal_ser.labels.sets import EKMAN, in_label_set, label_set_of


@dataclass(frozen=True)
class CorpusLabels:
    """The labels that a corpus's annotators could choose.

    Args:
        labels: the classes that the corpus distinguishes.
        merged: classes that the corpus labels as another class: with "calm" -> "neutral" its neutral may be calm.
        codes: its own labels, as its files write them, and the emotion of each.
        dropped: its own labels without an emotion, and the reason; rows with these labels are unlabelled.
        scale: the lowest and highest value of its ratings of arousal and valence, if it has them.

    A class that is neither in `labels` nor in `merged` does not occur in the corpus.
    """

    labels: tuple[str, ...]
    merged: Mapping[str, str]
    codes: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    scale: tuple[float, float] | None = None


# In acted corpora a neutral clip may be calm, but not bored. In natural speech and texts annotators label both calm and
# boredom as neutral, if there is no better label.
_ACTED = {"calm": "neutral"}
_NATURAL = {"calm": "neutral", "boredom": "neutral"}

CORPUS_LABELS: Mapping[str, CorpusLabels] = MappingProxyType(
    {
        # https://doi.org/10.1371/journal.pone.0196391: calm and neutral are separate; no boredom
        "ravdess": CorpusLabels(
            ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), {},
            {
                "01": "neutral", "02": "calm", "03": "happiness", "04": "sadness", "05": "anger", "06": "fear", "07": "disgust",
                "08": "surprise",
            },
        ),
        # https://www.isca-archive.org/interspeech_2005/burkhardt05b_interspeech.html: no surprise; letters of German words
        "emodb": CorpusLabels(
            ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"), _ACTED,
            {"W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral"},
        ),
        # https://arxiv.org/abs/2404.06292: no disgust or boredom
        "nemo": CorpusLabels(
            ("anger", "fear", "happiness", "neutral", "sadness", "surprise"), _ACTED,
            {
                "anger": "anger", "fear": "fear", "happiness": "happiness", "neutral": "neutral", "sadness": "sadness",
                "surprised": "surprise",
            },
        ),
        # https://doi.org/10.1109/TAFFC.2014.2336244: no surprise or boredom. The acted emotion, not the perceived one
        "crema_d": CorpusLabels(
            ("anger", "disgust", "fear", "happiness", "neutral", "sadness"), _ACTED,
            {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"},
        ),
        # https://doi.org/10.5683/SP2/E8H2MF: surprise is pleasant surprise
        "tess": CorpusLabels(
            EKMAN, _ACTED,
            {
                "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral", "ps": "surprise",
                "sad": "sadness",
            },
        ),
        # http://kahlan.eps.surrey.ac.uk/savee/
        "savee": CorpusLabels(
            EKMAN, _ACTED,
            {
                "a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral", "sa": "sadness", "su": "surprise",
            },
        ),
        # https://doi.org/10.1007/s10579-008-9076-6; excitement is merged with happiness, as in all scores in four classes
        "iemocap": CorpusLabels(
            EKMAN, _NATURAL,
            {
                "ang": "anger", "hap": "happiness", "exc": "happiness", "neu": "neutral", "sad": "sadness", "fea": "fear",
                "sur": "surprise", "dis": "disgust",
            },
            {
                "fru": "frustration: its annotators separated it from anger, and scores do not merge the two",
                "oth": "something else", "xxx": "the annotators did not agree",
            },
            (1, 5),
        ),
        # texts: those without one of the six emotions are neutral. https://arxiv.org/abs/2005.00547,
        # https://aclanthology.org/I17-1099, https://aclanthology.org/P19-1050
        # the 27 emotions of GoEmotions, in the groups of its authors (ekman_mapping.json)
        "goemotions": CorpusLabels(
            EKMAN, _NATURAL,
            {
                **dict.fromkeys(("anger", "annoyance", "disapproval"), "anger"),
                "disgust": "disgust",
                **dict.fromkeys(("fear", "nervousness"), "fear"),
                **dict.fromkeys(
                    ("joy", "amusement", "approval", "excitement", "gratitude", "love", "optimism", "relief", "pride", "admiration",
                     "desire", "caring"), "happiness",
                ),
                **dict.fromkeys(("sadness", "disappointment", "embarrassment", "grief", "remorse"), "sadness"),
                **dict.fromkeys(("surprise", "realization", "confusion", "curiosity"), "surprise"),
                "neutral": "neutral",
            },
        ),
        "dailydialog": CorpusLabels(
            EKMAN, _NATURAL,
            {
                "0": "neutral", "1": "anger", "2": "disgust", "3": "fear", "4": "happiness", "5": "sadness", "6": "surprise",
            },
        ),
        "meld": CorpusLabels(
            EKMAN, _NATURAL,
            {
                "anger": "anger", "disgust": "disgust", "fear": "fear", "joy": "happiness", "neutral": "neutral", "sadness": "sadness",
                "surprise": "surprise",
            },
        ),
        # https://arxiv.org/abs/2105.14762: no fear, disgust or boredom
        "esd": CorpusLabels(
            ("anger", "happiness", "neutral", "sadness", "surprise"), _ACTED,
            {"Angry": "anger", "Happy": "happiness", "Neutral": "neutral", "Sad": "sadness", "Surprise": "surprise"},
        ),
        # https://aclanthology.org/L14-1478/: letters of the Italian words
        "emovo": CorpusLabels(
            EKMAN, _ACTED,
            {
                "rab": "anger", "dis": "disgust", "pau": "fear", "gio": "happiness", "neu": "neutral", "tri": "sadness",
                "sor": "surprise",
            },
        ),
        # https://doi.org/10.1007/s10579-018-9427-x: radio plays; no disgust
        "shemo": CorpusLabels(
            ("anger", "fear", "happiness", "neutral", "sadness", "surprise"), _NATURAL,
            {"A": "anger", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness", "W": "surprise"},
        ),
        # https://arxiv.org/abs/1812.10411: talk shows
        "urdu": CorpusLabels(
            ("anger", "happiness", "neutral", "sadness"), _NATURAL,
            {"Angry": "anger", "Happy": "happiness", "Neutral": "neutral", "Sad": "sadness"},
        ),
        # no disgust or boredom
        "casia": CorpusLabels(
            ("anger", "fear", "happiness", "neutral", "sadness", "surprise"), _ACTED,
            {
                "angry": "anger", "fear": "fear", "happy": "happiness", "neutral": "neutral", "sad": "sadness", "surprise": "surprise",
            },
        ),
        # https://doi.org/10.1109/TAFFC.2017.2736999, https://arxiv.org/abs/2509.09791
        "msp_podcast": CorpusLabels(
            EKMAN, _NATURAL,
            {"A": "anger", "S": "sadness", "H": "happiness", "U": "surprise", "F": "fear", "D": "disgust", "N": "neutral"},
            {"C": "contempt: none of the nine", "O": "something else", "X": "the annotators did not agree"},
            (1, 7),
        ),
        # https://aclanthology.org/P18-1208: a clip with rating 0 for each of the six has none of them
        "cmu_mosei": CorpusLabels(
            EKMAN, _NATURAL,
            {
                "happy": "happiness", "sad": "sadness", "anger": "anger", "surprise": "surprise", "disgust": "disgust", "fear": "fear",
                "none of the six": "neutral",
            },
        ),
        # https://www.isca-archive.org/interspeech_2018/james18_interspeech.html: five primary and five secondary emotions
        "jl_corpus": CorpusLabels(
            ("anger", "fear", "happiness", "neutral", "sadness"), _ACTED,
            {
                "angry": "anger", "sad": "sadness", "neutral": "neutral", "happy": "happiness", "excited": "happiness",
                "anxious": "fear",
            },
            dict.fromkeys(("apologetic", "assertive", "concerned", "encouraging"), "a social attitude: none of the nine"),
        ),
        # http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/: no neutral
        "aesdd": CorpusLabels(
            ("anger", "disgust", "fear", "happiness", "sadness"), {},
            {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"},
        ),
    }
)  # fmt: skip
"""What each corpus's labels mean: `corpus_label_table` follows them into a label set."""


@dataclass(frozen=True)
class LabelFate:
    """The result of mapping one of a corpus's own labels to a label set.

    Args:
        code: the label, as the corpus writes it.
        emotion: the emotion of the label; None: it has none, and its rows are unlabelled.
        label: its label in the label set; None: it has none.
        remark: the labels that are merged with it, the emotions that it may include, or the reason why it is dropped.

    Example:
        >>> from multimodal_ser.labels import corpus_label_table
        >>> corpus_label_table("emodb", "sentiment")[1]
        LabelFate(code='L', emotion='boredom', label='negative', remark='together with W, E, A, T')
    """

    code: str
    emotion: str | None
    label: str | None
    remark: str


def corpus_label_table(corpus: str, label_set: str = "native") -> tuple[LabelFate, ...]:
    """Map each of a corpus's own labels to a label set; "native" is the set of the nine emotions.

    Raises:
        LabelError: the corpus or the label set is unknown.

    Example:
        >>> from multimodal_ser.labels import corpus_label_table
        >>> for fate in corpus_label_table("iemocap", "iemocap4"):
        ...     print(fate.code, fate.label, "|", fate.remark)
        ang anger |
        hap happiness | together with exc
        exc happiness | together with hap
        neu neutral | may be calm or boredom, which the corpus does not tell apart
        sad sadness |
        fea None | left out where IEMOCAP is scored, not merged
        sur None | left out where IEMOCAP is scored, not merged
        dis None | left out where IEMOCAP is scored, not merged
        fru None | frustration: its annotators separated it from anger, and scores do not merge the two
        oth None | something else
        xxx None | the annotators did not agree
    """
    if corpus not in CORPUS_LABELS:
        remedy = did_you_mean(corpus, CORPUS_LABELS)
        raise LabelError("corpus", expected=f"one of {', '.join(CORPUS_LABELS)}", got=repr(corpus), remedy=remedy)
    labels = CORPUS_LABELS[corpus]
    dropped = {} if label_set == "native" else label_set_of(label_set).dropped
    places = {code: in_label_set(emotion, label_set) for code, emotion in labels.codes.items()}
    fates = []
    for code, emotion in labels.codes.items():
        if places[code] is None:
            fates.append(LabelFate(code, emotion, None, dropped[emotion]))
            continue
        hidden = [name for name, under in labels.merged.items() if under == emotion]
        beside = [other for other, place in places.items() if place == places[code] and other != code]
        remarks = [f"together with {', '.join(beside)}"] if beside else []
        remarks += [f"may be {' or '.join(hidden)}, which the corpus does not tell apart"] if hidden else []
        fates.append(LabelFate(code, emotion, places[code], "; ".join(remarks)))
    return (*fates, *(LabelFate(code, None, None, why) for code, why in labels.dropped.items()))


def admissible_classes(emotion: str, corpus: str | None = None, labels: Sequence[str] = EMOTIONS) -> tuple[bool, ...]:
    """Find the classes of a model that an annotation admits, for the model's loss.

    Args:
        emotion: the annotation; several emotions of one text are joined by "|" ("anger|sadness").
        corpus: the corpus of the annotation; if it is None or unknown, an emotion admits only its own class.
        labels: the model's classes.

    Returns:
        A bool for each class.

    Raises:
        LabelError: the emotion is unknown, or the model has no class for it.

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
            "emotion",
            expected=f"one that the model has a class for ({', '.join(labels)})",
            got=repr(emotion),
            remedy="leave the row out",
        )
    return row
