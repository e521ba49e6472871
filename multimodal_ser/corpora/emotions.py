"""What rows are annotated with: labels are mapped and put into a set, odd ones are told, and words that tell nothing are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from multimodal_ser.corpora.duplicates import sentence_of
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import LABEL_SETS, LabelError, canonical_emotion, in_label_set, is_emotion

ODD_ROWS = 10
"""Rows from which on an emotion that this library has no name for is a class of its own, however large the corpus."""

ODD_SHARE = 0.05
"""Share of the annotated rows above which it is one, however few they are."""

SAID_OFTEN = 10
"""Times that each sentence of a corpus is said, on average, from which on its words tell nothing of the emotion."""


def labels_option(pairs: Iterable[str]) -> dict[str, str]:
    """What `--map-labels 1=anger 2=happiness 9=` says, as `map_emotions` takes it.

    Raises:
        InputError: something that is no LABEL=EMOTION, or a label twice.

    Example:
        >>> from multimodal_ser.corpora.emotions import labels_option
        >>> labels_option(["1=anger", "xxx="])
        {'1': 'anger', 'xxx': ''}
    """
    told: dict[str, str] = {}
    for pair in pairs:
        label, equals, emotion = (part.strip() for part in pair.partition("="))
        if not equals or not label or label in told:
            remedy = "write each label once, with an equals sign; nothing behind it leaves its rows unlabelled"
            raise InputError("--map-labels", expected="LABEL=EMOTION, as 1=anger", got=repr(pair), remedy=remedy)
        told[label] = emotion
    return told


def map_emotions(rows: Sequence[ManifestRow], labels: Mapping[str, str | None]) -> list[ManifestRow]:
    """Rows by the names that their labels are said to have.

    Args:
        rows: of a manifest.
        labels: what a label of theirs means, whatever its case, {"1": "anger"}; an empty one or None: nothing, the row is unlabelled.
            Labels that are not told stay as they are.

    Raises:
        InputError: labels that no row has.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.emotions import map_emotions
        >>> rows = [ManifestRow(text="a", emotion=label) for label in ("1", "1|2", "oth")]
        >>> [row.emotion for row in map_emotions(rows, {"1": "anger", "2": "joy", "oth": None})]
        ['anger', 'anger|joy', None]
    """
    exact = {label.strip(): (emotion or "").strip() for label, emotion in labels.items()}
    said = {label.lower(): emotion for label, emotion in exact.items()}
    written = {
        name.strip().lower(): name
        for row in rows
        for name in row.votes or (row.emotion or "").split("|")
        if name.strip()
    }
    unknown = [label for label in labels if label.strip().lower() not in written]
    if unknown:
        there = ", ".join(sorted(written.values())[:30]) or "none at all"
        remedy = "name them as they are written"
        raise InputError("map_labels", expected=f"labels of the rows ({there})", got=", ".join(unknown), remedy=remedy)

    def named(label: str) -> str:
        label = label.strip()
        return exact.get(label, said.get(label.lower(), label))

    mapped = []
    for row in rows:
        emotion = (
            "|".join(dict.fromkeys(name for label in (row.emotion or "").split("|") if (name := named(label)))) or None
        )
        votes: dict[str, float] = {}
        for label, count in (row.votes or {}).items():
            if named(label):
                votes[named(label)] = votes.get(named(label), 0) + count
        mapped.append(replace(row, emotion=emotion, votes=votes or None))
    return mapped


def without_odd_emotions(
    rows: Sequence[ManifestRow], keep: Collection[str] = (), remedy: str = "name it among the labels"
) -> tuple[list[ManifestRow], list[InputError]]:
    """Take out rows whose emotion is most likely a slip of the pen.

    Where most annotated rows show emotions that this library has a name for, one that it has none for, in fewer than ten rows and at most
    5 % of them, is no class: each of its rows is an error. Any other name is a class of its own: a corpus may call its classes what it
    likes. Of votes nothing is said.

    Args:
        rows: of one source.
        keep: emotions that are wanted, whatever they are called.
        remedy: what keeps such an emotion.

    Returns:
        The other rows, and an error for each that is taken out.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.emotions import without_odd_emotions
        >>> rows = [ManifestRow(text=str(k), emotion="joy", place=f"m.csv, line {k + 2}") for k in range(30)]
        >>> slip = ManifestRow(text="Oh", emotion="hapiness", place="m.csv, line 32")
        >>> rows, (error,) = without_odd_emotions([*rows, slip])
        >>> print(len(rows), error.what, "|", error.remedy)
        30 m.csv, line 32, emotion | did you mean 'happiness'? to keep it as a class: name it among the labels
    """
    wanted = {name.strip().lower() for name in keep}
    names = [
        [name for part in (row.emotion or "").split("|") if (name := part.strip())] if not row.votes else []
        for row in rows
    ]
    annotated = sum(map(bool, names))
    counts = Counter(
        name.lower() for found in names for name in set(found) if not is_emotion(name) and name.lower() not in wanted
    )
    known = sum(bool(found) and all(map(is_emotion, found)) for found in names)
    few = {name for name, count in counts.items() if count < ODD_ROWS and count <= ODD_SHARE * annotated}
    odd = few if 2 * known > annotated else set()
    kept: list[ManifestRow] = []
    errors: list[InputError] = []
    for row, found in zip(rows, names, strict=True):
        wrong = next((name for name in found if name.lower() in odd), None)
        if wrong is None:
            kept.append(row)
            continue
        try:
            canonical_emotion(wrong)
        except LabelError as error:
            meant = error.remedy if error.remedy.startswith("did you mean") else "correct it, or drop the row;"
            got = (
                f"{wrong!r}, which {counts[wrong.lower()]} of {annotated} rows say{'s' * (counts[wrong.lower()] == 1)}"
            )
            place = f"{row.place or row.name}, emotion"
            errors.append(
                LabelError(place, expected=error.expected, got=got, remedy=f"{meant} to keep it as a class: {remedy}")
            )
    return kept, errors


def relabelled(
    rows: Sequence[ManifestRow], label_set: str | None
) -> tuple[list[ManifestRow], list[InputError], dict[str, tuple[int, str]]]:
    """Rows in a label set, an error for each emotion that nobody knows, and what has no place in the set: how many rows, and why.

    Args:
        rows: of a manifest.
        label_set: one of `labels.LABEL_SETS`, or "native": the names of this library; None: as they are written.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.emotions import relabelled
        >>> rows, errors, left_out = relabelled([ManifestRow(text=name, emotion=name) for name in ("bored", "fear", "urgent")], "iemocap4")
        >>> len(rows), len(errors), left_out["bored"]
        (0, 1, (1, 'none of the four'))
    """
    if label_set is None:
        return list(rows), [], {}
    kept: list[ManifestRow] = []
    errors: list[InputError] = []
    left_out: dict[str, tuple[int, str]] = {}
    for row in rows:
        try:
            emotion = None if row.emotion is None else "|".join(_placed(row.emotion.split("|"), label_set))
            votes: dict[str, float] = {}
            for name, count in (row.votes or {}).items():
                for label in _placed([name], label_set):
                    votes[label] = votes.get(label, 0) + count
        except LabelError as error:
            errors.append(error.named(f"{row.place or row.name}, {error.what}"))
            continue
        if emotion == "" or (row.votes and not votes):
            shown = row.emotion or row.label or ""
            left_out[shown] = left_out.get(shown, (0, ""))[0] + 1, _why(shown, label_set)
        else:
            kept.append(replace(row, emotion=emotion, votes=votes or None))
    return kept, errors, left_out


def _placed(emotions: Sequence[str], label_set: str) -> list[str]:
    return list(dict.fromkeys(label for name in emotions if (label := in_label_set(name, label_set)) is not None))


def _why(emotion: str, label_set: str) -> str:
    dropped = LABEL_SETS[label_set].dropped
    return "; ".join(dict.fromkeys(dropped[canonical_emotion(name)] for name in emotion.split("|")))


def fixed_sentences(rows: Sequence[ManifestRow]) -> dict[str | None, tuple[int, int]]:
    """Corpora in which the same few sentences are said in every emotion: their words tell nothing of it.

    Args:
        rows: of manifests.

    Returns:
        For each such corpus (None: rows that name none) how many recordings with words it has, and of how many sentences.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.emotions import fixed_sentences
        >>> fixed_sentences([ManifestRow(path=Path(f"{k}.wav"), text="Dogs are sitting by the door.") for k in range(12)])
        {None: (12, 1)}
    """
    found = {}
    for corpus in dict.fromkeys(row.corpus for row in rows):
        spoken = [row for row in rows if row.corpus == corpus and row.path is not None and row.text]
        sentences = {sentence_of(replace(row, sentence=None)) for row in spoken}
        if spoken and len(spoken) >= SAID_OFTEN * len(sentences):
            found[corpus] = len(spoken), len(sentences)
    return found
