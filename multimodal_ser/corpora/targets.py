"""Turns the annotations of rows into training targets in the classes of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CODES, CORPUS_LABELS, DIMENSIONS, LabelError, admissible_classes, canonical_emotion
from multimodal_ser.transcription.transcriber import language_code

if TYPE_CHECKING:
    import torch

    from multimodal_ser.corpora.clips import Clip
    from multimodal_ser.labels.merging import Merging

Labelled = list[tuple[ManifestRow, np.ndarray]]
"""Rows, each with the classes (C,) that its annotation admits."""


def row_language(name: str | None) -> str | None:
    """The ISO 639-1 code of a language in a manifest; None if there is no language, or if Whisper does not know it.

    Example:
        >>> from multimodal_ser.corpora.targets import row_language
        >>> [row_language(name) for name in ("de", "German", "de-AT", "de_AT", "Klingon", None)]
        ['de', 'de', 'de', 'de', None, None]
    """
    try:
        return language_code(name.replace("_", "-").split("-")[0]) if name else None
    except InputError:
        return None


def is_annotated(row: ManifestRow, *, emotions: bool = True, dimensions: Sequence[str] = DIMENSIONS) -> bool:
    """Whether a row has an emotion, votes or a rating.

    Args:
        row: row of a manifest.
        emotions: whether emotions and votes count.
        dimensions: the dimensions whose ratings count.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.targets import is_annotated
        >>> rated = ManifestRow(text="Yes!", arousal=4.0)
        >>> is_annotated(rated), is_annotated(rated, dimensions=()), is_annotated(ManifestRow(text="Yes!"))
        (True, False, False)
    """
    return (emotions and bool(row.emotion or row.votes)) or any(getattr(row, name) is not None for name in dimensions)


def main_emotion(row: ManifestRow) -> str | None:
    """The emotion of a row (several joined by "|"), or the one with the most votes; None: unlabelled."""
    return row.label if row.votes else row.emotion


def annotated_emotions(row: ManifestRow) -> list[str]:
    """The emotions with votes, or the emotion of the row; empty if the row is unlabelled."""
    return list(row.votes or ([row.emotion] if row.emotion else []))


def emotion_name(name: str) -> str | None:
    """The library's name for an emotion; None if it does not know the name."""
    try:
        return canonical_emotion(name)
    except LabelError:
        return None


def admissible_row_classes(emotion: str, labels: Sequence[str], corpus: str | None = None) -> tuple[bool, ...]:
    """Find the classes that an annotation admits, by its own name, else by the library's name for it.

    Raises:
        LabelError: the annotation admits no class.

    Example:
        >>> from multimodal_ser.corpora.targets import admissible_row_classes
        >>> admissible_row_classes("urgent", ["calm", "urgent"]), admissible_row_classes("happy|sad", ["happiness", "anger", "sadness"])
        ((False, True), (True, False, True))
    """
    by_name = {label.strip().lower(): index for index, label in enumerate(labels)}
    parts = [part.strip() for part in emotion.split("|")]
    if all(part.lower() in by_name for part in parts) and corpus not in CORPUS_LABELS:
        chosen = {by_name[part.lower()] for part in parts}
        return tuple(index in chosen for index in range(len(labels)))
    names = [emotion_name(label) or label for label in labels]
    if all(emotion_name(label) for label in labels):
        return admissible_classes(emotion, corpus, names)
    meanings = {emotion_name(part) or part for part in parts}
    if not meanings & set(names):
        raise LabelError(
            "emotion",
            expected=f"one of {', '.join(labels)}",
            got=repr(emotion),
            remedy="leave the row out, or name its class",
        )
    return tuple(name in meanings for name in names)


def has_class(emotion: str, labels: Sequence[str]) -> bool:
    """Whether an annotation admits one of these classes."""
    try:
        return any(admissible_row_classes(emotion, labels))
    except LabelError:
        return False


def class_of(row: ManifestRow, labels: Sequence[str]) -> int | None:
    """The class of a row's emotion, by its own or the library's name; None if it has no class or several emotions.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.targets import class_of
        >>> class_of(ManifestRow(text="Yes!", emotion="joy"), ["anger", "happiness"])
        1
    """
    if row.label is None:
        return None
    if row.label in labels:
        return list(labels).index(row.label)
    name = emotion_name(row.label)
    return next((at for at, label in enumerate(labels) if name is not None and emotion_name(label) == name), None)


def label_names(rows: Iterable[ManifestRow]) -> list[str]:
    """The classes of rows, sorted; codes ("hap") and synonyms ("happy", "Joy") become the library's name ("happiness").

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.targets import label_names
        >>> label_names([ManifestRow(text="a", emotion=name) for name in ("happy", "Joy", "urgent", "sad")])
        ['happiness', 'sad', 'urgent']
    """
    spellings: dict[str, set[str]] = {}
    for row in rows:
        for name in row.votes or (row.emotion or "").split("|"):
            name = name.strip()
            spellings.setdefault(emotion_name(name) or name.lower(), set()).add(name)
    variants = {meaning: {name.lower() for name in names} for meaning, names in spellings.items()}
    unique = {meaning for meaning, names in variants.items() if len(names) == 1 and not names & {*CODES}}
    return sorted(min(names) if meaning in unique else meaning for meaning, names in spellings.items())


@dataclass
class Targets:
    """The training targets of clips: admitted classes or votes, and dimensions.

    Args:
        classes: (N, C) bool; float where any row has votes.
        dimensions: (N, K), NaN where a row has no rating.
        single: the class of each row that has exactly one, else -1.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.clips import examine
        >>> from multimodal_ser.corpora.targets import Targets
        >>> clips, _ = examine([ManifestRow(text="Yes!", emotion="joy", arousal=4), ManifestRow(text="No.", emotion="anger|sadness")])
        >>> targets = Targets.of(clips, ["anger", "happiness", "sadness"], ["arousal"])
        >>> targets.classes.tolist(), targets.dimensions.tolist(), targets.single
        ([[False, True, False], [True, False, True]], [[4.0], [nan]], (1, -1))
    """

    classes: torch.Tensor
    dimensions: torch.Tensor
    single: tuple[int, ...]

    @classmethod
    def of(
        cls, clips: Sequence[Clip], labels: Sequence[str], dimensions: Sequence[str], *, soft: bool = False
    ) -> Targets:
        """Make the targets of clips whose emotions all have a class (`with_class` removes the others)."""
        import torch

        table = torch.zeros(len(clips), len(labels))
        for index, clip in enumerate(clips):
            row = clip.row
            if row.votes:
                soft = True
                for name, votes in row.votes.items():
                    cells = torch.tensor(admissible_row_classes(name, labels, row.corpus)).float()
                    table[index] += votes * cells / cells.sum()
                table[index] /= table[index].sum()
            elif row.emotion is not None:
                table[index] = torch.tensor(admissible_row_classes(row.emotion, labels, row.corpus)).float()
        single = tuple(int(row.argmax()) if int((row > 0).sum()) == 1 else -1 for row in table)
        if soft:
            table = table / table.sum(1, keepdim=True).clamp_min(1e-12)
        values = [[getattr(clip.row, name) for name in dimensions] for clip in clips]
        numbers = torch.tensor([[float("nan") if value is None else value for value in row] for row in values])
        return cls(table if soft else table.bool(), numbers.reshape(len(clips), len(dimensions)), single)


def with_class(clips: Sequence[Clip], labels: Sequence[str]) -> tuple[list[Clip], list[InputError]]:
    """The clips whose emotions have a class or that have no emotion, and an error for each other clip."""
    usable: list[Clip] = []
    errors: list[InputError] = []
    for clip in clips:
        try:
            for name in annotated_emotions(clip.row):
                admissible_row_classes(name, labels, clip.row.corpus)
            usable.append(clip)
        except LabelError as error:
            errors.append(error.named(f"{clip.row.place or clip.row.name}, emotion"))
    return usable, errors


def labelled_rows(
    rows: Iterable[ManifestRow], labels: Sequence[str], merging: Merging
) -> tuple[Labelled, dict[str, int], list[str]]:
    """Find the classes (C,) that the annotation of each row admits.

    Args:
        rows: rows of a manifest; of votes the most frequent emotion is the annotation.
        labels: C names.
        merging: merging of these labels; labels with the same label in its label set are admitted together.

    Returns:
        The rows with their classes; the numbers of unlabelled rows, by reason; and a line for each row without a class.
    """
    labelled: Labelled = []
    left_out = Counter[str]()
    failed: list[str] = []
    for row in rows:
        emotion = main_emotion(row)
        if emotion is None:
            left_out["no emotion was annotated"] += 1
            continue
        try:
            classes = np.array(admissible_row_classes(emotion, labels, row.corpus))
        except LabelError as error:
            failed.append(str(error.named(f"{row.place or row.name}, {'votes' if row.votes else 'emotion'}")))
            continue
        labelled.append((row, merging.widened(classes[None])[0]))
    return labelled, dict(left_out), failed
