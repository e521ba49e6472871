"""Maps the emotions of rows to other names or to a label set; finds unknown emotions and corpora of fixed sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from multimodal_ser.corpora.duplicates import sentence_of
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import LABEL_SETS, LabelError, canonical_emotion, in_label_set, is_emotion

ODD_ROWS = 10
"""An unknown emotion with this number of rows or more is accepted as a class in a corpus of any size."""

ODD_SHARE = 0.05
"""An unknown emotion with more than this share of the annotated rows is accepted as a class, 0 to 1."""

REPETITIONS = 10
"""If each sentence of a corpus is spoken this often on average, its words do not depend on the emotion."""


def labels_option(pairs: Iterable[str]) -> dict[str, str]:
    """The value of `--map-labels 1=anger 2=happiness 9=`, in the form that `map_emotions` takes.

    Raises:
        InputError: a part is not LABEL=EMOTION, or a label occurs twice.

    Example:
        >>> from multimodal_ser.corpora.emotions import labels_option
        >>> labels_option(["1=anger", "xxx="])
        {'1': 'anger', 'xxx': ''}
    """
    emotions: dict[str, str] = {}
    for pair in pairs:
        label, equals, emotion = (part.strip() for part in pair.partition("="))
        if not equals or not label or label in emotions:
            remedy = "write each label once, with an equals sign; nothing behind it leaves its rows unlabelled"
            raise InputError("--map-labels", expected="LABEL=EMOTION, as 1=anger", got=repr(pair), remedy=remedy)
        emotions[label] = emotion
    return emotions


def map_emotions(rows: Sequence[ManifestRow], labels: Mapping[str, str | None]) -> list[ManifestRow]:
    """Replace the labels of rows by the emotions that they mean.

    Args:
        rows: rows of a manifest.
        labels: the emotion that each label means, {"1": "anger"}; case does not matter. An empty name or None means
            that rows with this label are unlabelled. Other labels are not changed.

    Raises:
        InputError: no row has one of the labels.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.emotions import map_emotions
        >>> rows = [ManifestRow(text="a", emotion=label) for label in ("1", "1|2", "oth")]
        >>> [row.emotion for row in map_emotions(rows, {"1": "anger", "2": "joy", "oth": None})]
        ['anger', 'anger|joy', None]
    """
    exact = {label.strip(): (emotion or "").strip() for label, emotion in labels.items()}
    by_lower_case = {label.lower(): emotion for label, emotion in exact.items()}
    row_labels = {
        name.strip().lower(): name
        for row in rows
        for name in row.votes or (row.emotion or "").split("|")
        if name.strip()
    }
    unknown = [label for label in labels if label.strip().lower() not in row_labels]
    if unknown:
        existing = ", ".join(sorted(row_labels.values())[:30]) or "none at all"
        remedy = "name them as they are written"
        raise InputError(
            "map_labels", expected=f"labels of the rows ({existing})", got=", ".join(unknown), remedy=remedy
        )

    def mapped_name(label: str) -> str:
        label = label.strip()
        return exact.get(label, by_lower_case.get(label.lower(), label))

    mapped = []
    for row in rows:
        emotion = (
            "|".join(dict.fromkeys(name for label in (row.emotion or "").split("|") if (name := mapped_name(label))))
            or None
        )
        votes: dict[str, float] = {}
        for label, count in (row.votes or {}).items():
            if mapped_name(label):
                votes[mapped_name(label)] = votes.get(mapped_name(label), 0) + count
        mapped.append(replace(row, emotion=emotion, votes=votes or None))
    return mapped


def without_odd_emotions(
    rows: Sequence[ManifestRow], keep: Collection[str] = (), remedy: str = "name it among the labels"
) -> tuple[list[ManifestRow], list[InputError]]:
    """Separate rows whose emotion is probably a typing error.

    If most annotated rows have emotions that this library knows, an unknown emotion in fewer than ten rows and in at
    most 5 % of them is not accepted as a class: each of its rows is an error. Other unknown names are accepted, because
    a corpus may have its own classes. Votes are not checked.

    Args:
        rows: rows of one source.
        keep: emotions that are accepted, even if they are unknown and rare.
        remedy: the advice in the errors for keeping such an emotion.

    Returns:
        The accepted rows, and an error for each other row.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.emotions import without_odd_emotions
        >>> rows = [ManifestRow(text=str(k), emotion="joy", place=f"m.csv, line {k + 2}") for k in range(30)]
        >>> slip = ManifestRow(text="Oh", emotion="hapiness", place="m.csv, line 32")
        >>> rows, (error,) = without_odd_emotions([*rows, slip])
        >>> print(len(rows), error.what, "|", error.remedy)
        30 m.csv, line 32, emotion | did you mean 'happiness'? to keep it as a class: name it among the labels
    """
    accepted = {name.strip().lower() for name in keep}
    names = [
        [name for part in (row.emotion or "").split("|") if (name := part.strip())] if not row.votes else []
        for row in rows
    ]
    annotated = sum(map(bool, names))
    counts = Counter(
        name.lower()
        for row_names in names
        for name in set(row_names)
        if not is_emotion(name) and name.lower() not in accepted
    )
    familiar_rows = sum(bool(row_names) and all(map(is_emotion, row_names)) for row_names in names)
    few = {name for name, count in counts.items() if count < ODD_ROWS and count <= ODD_SHARE * annotated}
    odd = few if 2 * familiar_rows > annotated else set()
    accepted_rows: list[ManifestRow] = []
    errors: list[InputError] = []
    for row, row_names in zip(rows, names, strict=True):
        unknown = next((name for name in row_names if name.lower() in odd), None)
        if unknown is None:
            accepted_rows.append(row)
            continue
        try:
            canonical_emotion(unknown)
        except LabelError as error:
            correction = error.remedy if error.remedy.startswith("did you mean") else "correct it, or drop the row;"
            got = f"{unknown!r}, which {counts[unknown.lower()]} of {annotated} rows say{'s' * (counts[unknown.lower()] == 1)}"
            place = f"{row.place or row.name}, emotion"
            errors.append(
                LabelError(
                    place, expected=error.expected, got=got, remedy=f"{correction} to keep it as a class: {remedy}"
                )
            )
    return accepted_rows, errors


def relabelled(
    rows: Sequence[ManifestRow], label_set: str | None
) -> tuple[list[ManifestRow], list[InputError], dict[str, tuple[int, str]]]:
    """Map the emotions of rows to a label set.

    Args:
        rows: rows of a manifest.
        label_set: one of `labels.LABEL_SETS`, or "native" for the names of this library; None: emotions are not
            changed.

    Returns:
        The rows; an error for each row with an unknown emotion; and for each emotion without a label in the set the
        number of its rows and the reason.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.emotions import relabelled
        >>> rows, errors, left_out = relabelled([ManifestRow(text=name, emotion=name) for name in ("bored", "fear", "urgent")], "iemocap4")
        >>> len(rows), len(errors), left_out["bored"]
        (0, 1, (1, 'none of the four'))
    """
    if label_set is None:
        return list(rows), [], {}
    mapped: list[ManifestRow] = []
    errors: list[InputError] = []
    left_out: dict[str, tuple[int, str]] = {}
    for row in rows:
        try:
            emotion = None if row.emotion is None else "|".join(_map_to_set(row.emotion.split("|"), label_set))
            votes: dict[str, float] = {}
            for name, count in (row.votes or {}).items():
                for label in _map_to_set([name], label_set):
                    votes[label] = votes.get(label, 0) + count
        except LabelError as error:
            errors.append(error.named(f"{row.place or row.name}, {error.what}"))
            continue
        if emotion == "" or (row.votes and not votes):
            shown = row.emotion or row.label or ""
            left_out[shown] = left_out.get(shown, (0, ""))[0] + 1, _why(shown, label_set)
        else:
            mapped.append(replace(row, emotion=emotion, votes=votes or None))
    return mapped, errors, left_out


def _map_to_set(emotions: Sequence[str], label_set: str) -> list[str]:
    return list(dict.fromkeys(label for name in emotions if (label := in_label_set(name, label_set)) is not None))


def _why(emotion: str, label_set: str) -> str:
    dropped = LABEL_SETS[label_set].dropped
    return "; ".join(dict.fromkeys(dropped[canonical_emotion(name)] for name in emotion.split("|")))


def fixed_sentences(rows: Sequence[ManifestRow]) -> dict[str | None, tuple[int, int]]:
    """Find corpora whose few sentences are spoken in every emotion, so that the words do not depend on the emotion.

    Args:
        rows: rows of manifests.

    Returns:
        For each such corpus (None: rows without a corpus) the number of its recordings with words, and of its
        sentences.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.emotions import fixed_sentences
        >>> fixed_sentences([ManifestRow(path=Path(f"{k}.wav"), text="Dogs are sitting by the door.") for k in range(12)])
        {None: (12, 1)}
    """
    result = {}
    for corpus in dict.fromkeys(row.corpus for row in rows):
        spoken = [row for row in rows if row.corpus == corpus and row.path is not None and row.text]
        sentences = {sentence_of(replace(row, sentence=None)) for row in spoken}
        if spoken and len(spoken) >= REPETITIONS * len(sentences):
            result[corpus] = len(spoken), len(sentences)
    return result
