"""The rows of an evaluation: clips, their classes and dimensions, and errors of the rows that are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_ser.corpora import ManifestRow, read_manifest
from multimodal_ser.corpora.clips import Clip, examine
from multimodal_ser.corpora.emotions import fixed_sentences, relabelled, without_odd_emotions
from multimodal_ser.corpora.splits import Split
from multimodal_ser.corpora.targets import Targets, annotated_emotions, is_annotated, label_names, with_class
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, LABEL_SETS, label_map

if TYPE_CHECKING:
    from multimodal_ser.evaluation.arguments import EvaluationArguments


@dataclass(frozen=True)
class Part:
    """The rows of one fold: for training, validation and test.

    Args:
        name: name of the fold; "" where nothing is trained.
        split: row indices of each part; the test part is measured.
        leaks: what the parts share, one line for each leak.
    """

    name: str
    split: Split
    leaks: tuple[str, ...] = ()


@dataclass
class EvaluatedRows:
    """Clips and their annotations.

    Args:
        clips: usable clips in the order of the manifests; their emotions are in the label set that is scored.
        errors: one error for each row that is left out; the error names the row.
        notes: what a reader of the report should know about the data.
        sources: paths of the manifests.
        without_place: by emotion, the number of rows that are left out because the label set has no place for it.
        manifest_notes: notes of the manifests' reader, such as which column seems to hold the emotions; `notes` has
            them too.
        labels: C names of the classes; set by `score`.
        classes: (N, C) bool, the classes that each clip's annotation admits, or float, its votes.
        dimensions: by name of each annotated dimension, (N,) values; NaN where a clip has no annotation.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.clips import Clip
        >>> from multimodal_ser.evaluation.data import EvaluatedRows
        >>> rows = EvaluatedRows([Clip(ManifestRow(text="Yes!", emotion="joy"), "", 0.0)]).score(["anger", "happiness"])
        >>> rows.classes.tolist()
        [[False, True]]
    """

    clips: list[Clip]
    errors: list[InputError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    without_place: dict[str, int] = field(default_factory=dict)
    manifest_notes: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    classes: Any = None
    dimensions: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def rows(self) -> list[ManifestRow]:
        """Manifest rows of the clips."""
        return [clip.row for clip in self.clips]

    @property
    def names(self) -> list[str]:
        """Names of the clips."""
        return [clip.row.name for clip in self.clips]

    def score(self, labels: Sequence[str]) -> EvaluatedRows:
        """Set the classes that are scored; rows of any other emotion are left out, with an error each.

        Raises:
            InputError: nothing is left.
        """
        count = len(self.clips)
        self.clips, without = with_class(self.clips, labels)
        self.errors += [error.named(f"{error.what.removesuffix(', emotion')}, emotion") for error in without]
        if not self.clips:
            first = f": {without[0]}" if without else ""
            raise InputError(
                "data",
                expected=f"rows of {', '.join(labels)}",
                got=f"none of {count}{first}",
                remedy="use another label_set",
            )
        targets = Targets.of(self.clips, labels, DIMENSIONS)
        self.labels, self.classes = list(labels), targets.classes
        values = targets.dimensions.numpy().astype(np.float64)
        self.dimensions = {name: values[:, k] for k, name in enumerate(DIMENSIONS) if not np.isnan(values[:, k]).all()}
        return self


def read_rows(
    args: EvaluationArguments, context_turns: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> EvaluatedRows:
    """Read the manifests; a bad row is left out with an error, and the other rows stay.

    Args:
        args: options of the evaluation.
        context_turns: number of earlier turns of the dialogue that go with each clip.
        on_progress: called with (done, all), both numbers of recordings.

    Raises:
        InputError: a manifest that cannot be read, an unknown label set, or no row that can be measured.
    """
    data = EvaluatedRows([], sources=list(args.data))
    rows: list[ManifestRow] = []
    label_map([], args.label_set)  # an unknown label set is an error now, not after hours of work
    columns: dict[str, Any] = {"columns": args.columns} if args.columns else {}
    for source in args.data:
        manifest = read_manifest(source, **columns)
        data.errors += manifest.errors
        data.manifest_notes += manifest.notes
        rows += manifest.rows
    data.notes += data.manifest_notes
    among = rows
    if args.modalities == "audio":
        rows = [replace(row, text=None) for row in rows if row.path is not None]
    elif args.modalities == "text":
        rows = [replace(row, path=None, start=None, end=None) for row in rows if row.text]
    elif args.modalities == "both":
        rows = [row for row in rows if row.path is not None and row.text]
    if len(rows) < len(among):
        data.notes.append(
            f"{len(among) - len(rows)} rows have not what modalities {args.modalities} asks for and are left out"
        )
    annotated = [row for row in rows if is_annotated(row)]
    if len(annotated) < len(rows):
        data.notes.append(f"{len(rows) - len(annotated)} rows have no annotation and are left out")
    scored, unknown, without = relabelled(annotated, None if args.label_set == "native" else args.label_set)
    data.errors += unknown
    data.without_place = {name: count for name, (count, _) in sorted(without.items())}
    for name, (count, reason) in sorted(without.items()):
        many = f"{count} row{'s' * (count > 1)} of {name!r} {'have' if count > 1 else 'has'} no place in the label set {args.label_set}"
        data.notes.append(f"{many} ({reason}) and {'are' if count > 1 else 'is'} left out")
    if args.protocol is not None and args.label_set == "native":
        # as in training: else each typing error would be a class
        keep = args.training().get("labels") or ()
        scored, odd = without_odd_emotions(scored, keep, "name all classes with --train-options labels=[...]")
        data.errors += odd
    if not scored:
        reasons = [f"{len(rows) - len(annotated)} of them have no annotation"] * (len(annotated) < len(rows))
        reasons += [f"the first error: {error}" for error in data.errors[:1]]
        got = "; ".join([f"none of {len(among)}", *reasons])
        remedy = "; ".join(data.manifest_notes) or "fill in emotions, or use other modalities"
        raise InputError("data", expected="rows that can be measured", got=got, remedy=remedy)
    data.clips, unusable = examine(scored, context_turns=context_turns, among=among, on_progress=on_progress)
    data.errors += unusable
    data.notes += _notes_on_fixed_sentences(data.rows)
    return data


def label_set_names(rows: Sequence[ManifestRow], label_set: str) -> list[str]:
    """The classes of these rows, in the label set's order; "native": as training names them.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.evaluation.data import label_set_names
        >>> label_set_names([ManifestRow(text=name, emotion=name) for name in ("sadness", "anger")], "ekman")
        ['anger', 'sadness']
    """
    occur = label_names(row for row in rows if annotated_emotions(row))
    return occur if label_set == "native" else [name for name in LABEL_SETS[label_set].labels if name in occur]


def _notes_on_fixed_sentences(rows: Sequence[ManifestRow]) -> list[str]:
    """Notes on corpora in which the same few sentences are said in every emotion, so words say nothing about it."""
    notes = []
    for corpus, (spoken, sentences) in fixed_sentences(rows).items():
        subject = (
            f"{spoken} recordings{f' of {corpus}' if corpus else ''} have {sentences} sentence{'s' * (sentences != 1)}"
        )
        notes.append(
            f"{subject}, each said in every emotion: their words alone can tell nothing, text stays near chance"
        )
    return notes
