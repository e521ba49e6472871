"""From manifests and folders to what a run learns from, told on the way: which rows, which classes, which speakers are held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multimodal_ser.corpora import ManifestRow, read_manifest, split_rows
from multimodal_ser.corpora.folders import RECORDINGS
from multimodal_ser.errors import InputError
from multimodal_ser.labels import LabelError, canonical_emotion
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.training.data import Clip, admitted, examine, with_class

SAID_OFTEN = 10
"""Times that each sentence of a corpus is said, on average, from which on its words tell nothing of the emotion."""

SHOWN = 5
"""Errors that are told one by one; all of them are in the run folder."""


@dataclass(frozen=True)
class Prepared:
    """What a run learns from, selects on and is measured on.

    Args:
        labels: the classes.
        train, validation, test: rows.
        protocol: how they were divided, in a line.
        use_audio, use_text: what the model is given.
        errors: rows that could not be used, and why.
        notes: what was told.
    """

    labels: tuple[str, ...]
    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    test: tuple[Clip, ...]
    protocol: str
    use_audio: bool
    use_text: bool
    errors: tuple[InputError, ...]
    notes: tuple[str, ...]


def prepare_data(
    args: TrainingArguments, say: Callable[[str], None] = print, on_progress: Callable[[int, int], None] | None = None
) -> Prepared:
    """Read, check and divide the data of a run.

    Args:
        args: of the run.
        say: where messages go.
        on_progress: called with (done, all) while recordings are checked.

    Raises:
        InputError: nothing to learn from: no usable row, fewer than two classes, a leaking split, unknown speakers.
    """
    notes: list[str] = []

    def tell(message: str) -> None:
        notes.append(message)
        say(message)

    rows, errors = _read(args, tell)
    rows = _for_modalities(args, rows, tell)
    rows = _annotated(args, rows, tell)
    clips, unusable = examine(rows, context_turns=args.context_turns, on_progress=on_progress)
    errors += unusable
    labels = tuple(args.labels or label_names(row for clip in clips if (row := clip.row).emotion or row.votes))
    if args.emotions:
        clips, without = with_class(clips, labels) if labels else (clips, [])
        errors += without
    _report(errors, tell)
    if args.pseudo_label_threshold and args.unlabelled:
        pseudo = _pseudo_labelled(args, labels, tell)
    else:
        pseudo = []
    _enough(args, clips, labels)
    split = split_rows(
        [clip.row for clip in clips], validation_share=args.validation_share, seed=args.seed,
        validation_speakers=tuple(args.validation_speakers), test_speakers=tuple(args.test_speakers), allow_leak=args.allow_leak,
    )  # fmt: skip
    train = [clips[i] for i in split.train] + pseudo
    _every_class(args, train, labels)
    prepared = Prepared(
        labels, tuple(train), tuple(clips[i] for i in split.validation), tuple(clips[i] for i in split.test), split.protocol,
        any(clip.row.path for clip in train), any(clip.row.text for clip in train), tuple(errors), (),
    )  # fmt: skip
    _describe(args, prepared, clips, tell)
    for note in split.notes:
        tell(note)
    if args.early_stopping_patience and not prepared.validation:
        raise InputError(
            "early_stopping_patience", expected="validation data to watch", got=f"none ({split.protocol})",
            remedy="give more clips or validation_speakers, or set it to 0",
        )  # fmt: skip
    return replace(prepared, notes=tuple(notes))


def _read(args: TrainingArguments, tell: Callable[[str], None]) -> tuple[list[ManifestRow], list[InputError]]:
    rows: list[ManifestRow] = []
    errors: list[InputError] = []
    for source in args.data:
        manifest = read_manifest(source)
        tell(f"{source}: {len(manifest.rows)} rows")
        errors += manifest.errors
        kept = list(manifest.rows)
        spoken = [row for row in kept if row.path is not None and row.text]
        sentences = {row.text for row in spoken}
        if args.modalities == "auto" and spoken and len(spoken) >= SAID_OFTEN * len(sentences):
            tell(
                f"{source}: {len(spoken)} recordings of {len(sentences)} sentences: the words tell nothing of the emotion, so the recordings "
                "alone are learned from (modalities both: the words too)"
            )
            kept = [replace(row, text=None) if row.path is not None else row for row in kept]
        rows += kept
    return rows, errors


def _for_modalities(args: TrainingArguments, rows: list[ManifestRow], tell: Callable[[str], None]) -> list[ManifestRow]:
    """Leave out of each row what is not learned from, and rows of which nothing is left."""
    if args.transcribe:
        rows = _transcribed(args, rows, tell)
    if args.modalities == "audio":
        kept = [replace(row, text=None) for row in rows if row.path is not None]
    elif args.modalities == "text":
        kept = [replace(row, path=None, start=None, end=None) for row in rows if row.text]
    elif args.modalities == "both":
        kept = [row for row in rows if row.path is not None and row.text]
    else:
        kept = rows
    if len(kept) < len(rows):
        tell(f"{len(rows) - len(kept)} rows have not what modalities {args.modalities} asks for and are left out")
    if not kept:
        raise InputError("data", expected=f"rows for modalities {args.modalities}", got="none", remedy="use modalities auto, or other data")
    return kept


def _transcribed(args: TrainingArguments, rows: list[ManifestRow], tell: Callable[[str], None]) -> list[ManifestRow]:
    from multimodal_ser.audio import SAMPLING_RATE, load_audio
    from multimodal_ser.transcription import WhisperTranscriber

    transcriber = WhisperTranscriber(args.whisper)
    wanted = [i for i, row in enumerate(rows) if row.path is not None and not row.text]
    tell(f"{transcriber.name} writes the texts of {len(wanted)} recordings")
    rows = list(rows)
    for index in wanted:
        row = rows[index]
        assert row.path is not None
        try:
            waveform = load_audio(row.path)
        except InputError:
            continue  # it is told with the others that cannot be used
        part = slice(round((row.start or 0) * SAMPLING_RATE), None if row.end is None else round(row.end * SAMPLING_RATE))
        if len(waveform[part]) >= SAMPLING_RATE // 40:
            text = transcriber.transcribe(waveform[part], sampling_rate=SAMPLING_RATE, language=row.language).text
            rows[index] = replace(row, text=text or None)
    return rows


def _annotated(args: TrainingArguments, rows: list[ManifestRow], tell: Callable[[str], None]) -> list[ManifestRow]:
    def useful(row: ManifestRow) -> bool:
        known = any(getattr(row, name) is not None for name in args.dimensions)
        return known or (args.emotions and bool(row.emotion or row.votes))

    kept = [row for row in rows if useful(row)]
    if len(kept) < len(rows):
        tell(f"{len(rows) - len(kept)} rows have no annotation and are left out (unlabelled=... learns from recordings without)")
    if not kept:
        what = "an emotion" if args.emotions else ", ".join(args.dimensions)
        raise InputError(
            "data", expected=f"rows annotated with {what}", got="none", remedy="fill the column in, or use a folder per emotion"
        )
    return kept


def label_names(rows: Any) -> list[str]:
    """The classes that occur, sorted; of names that mean the same ("happy", "Joy") the library's own ("happiness").

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.training.preparation import label_names
        >>> label_names([ManifestRow(text="a", emotion=name) for name in ("happy", "Joy", "urgent", "sad")])
        ['happiness', 'sad', 'urgent']
    """
    written: dict[str, set[str]] = {}
    for row in rows:
        for name in row.votes or (row.emotion or "").split("|"):
            name = name.strip()
            try:
                written.setdefault(canonical_emotion(name), set()).add(name)
            except LabelError:
                written.setdefault(name.lower(), set()).add(name)
    return sorted(min(names) if len({n.lower() for n in names}) == 1 else meaning for meaning, names in written.items())


def _report(errors: Sequence[InputError], tell: Callable[[str], None]) -> None:
    for error in errors[:SHOWN]:
        tell(f"left out: {error}")
    if len(errors) > SHOWN:
        tell(f"left out: {len(errors) - SHOWN} more; errors.txt in the run folder names them")


def _enough(args: TrainingArguments, clips: Sequence[Clip], labels: Sequence[str]) -> None:
    layout = "a folder with a folder per emotion (clips/happy/*.wav, clips/sad/*.wav), or a manifest with a column emotion"
    if not clips:
        raise InputError("data", expected="at least one row that can be used", got="none", remedy=f"give {layout}")
    if args.emotions and len(labels) < 2:
        got = f"{len(clips)} clip{'s' * (len(clips) > 1)} of one class, {labels[0]!r}" if labels else "rows without an emotion"
        raise InputError("data", expected="clips of at least two emotions", got=got, remedy=f"add clips of another one: {layout}")


def _every_class(args: TrainingArguments, train: Sequence[Clip], labels: Sequence[str]) -> None:
    if not args.emotions:
        return
    there: set[str] = set()
    for clip in train:
        for name in clip.row.votes or ([clip.row.emotion] if clip.row.emotion else []):
            there |= {label for label, yes in zip(labels, admitted(name, labels, clip.row.corpus), strict=True) if yes}
    absent = [label for label in labels if label not in there]
    if absent:
        raise InputError(
            "data", expected="training clips of every class", got=f"none of {', '.join(absent)}",
            remedy="add some, hold out other speakers (validation_speakers, test_speakers), or leave the class out of labels",
        )  # fmt: skip


def _describe(args: TrainingArguments, prepared: Prepared, clips: Sequence[Clip], tell: Callable[[str], None]) -> None:
    counts = Counter(clip.row.emotion or "by votes" for clip in clips if clip.row.emotion or clip.row.votes)
    speakers = {clip.row.speaker for clip in clips if clip.row.speaker}
    minutes = sum(clip.duration for clip in clips) / 60
    if counts and len(counts) <= 20:
        tell("classes: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    known = f"{len(speakers)} speaker{'s' * (len(speakers) != 1)}" if speakers else "speakers not known"
    tell(f"{len(clips)} clips, {minutes:.1f} min, {known}")
    sizes = f"{len(prepared.train)} to learn from, {len(prepared.validation)} to select on"
    tell(f"split: {sizes}{f', {len(prepared.test)} to test on' if prepared.test else ''} ({prepared.protocol})")
    what = " and ".join(name for name, used in (("the voice", prepared.use_audio), ("the words", prepared.use_text)) if used)
    tell(f"learned from: {what}")
    cut = sum(clip.duration > args.max_duration for clip in clips)
    if cut:
        tell(f"{cut} recordings are longer than {args.max_duration:g} s: a part of them is heard (max_duration; start and end choose one)")


def _pseudo_labelled(args: TrainingArguments, labels: Sequence[str], tell: Callable[[str], None]) -> list[Clip]:
    """Recordings without labels that the model that is started from is sure of (Lee 2013, pseudo-label; hard labels, one round)."""
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

    assert args.unlabelled is not None
    source = Path(args.unlabelled)
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in RECORDINGS and not path.name.startswith("."))
        rows = [ManifestRow(path=path, place=str(path)) for path in paths]
    else:
        rows = [row for row in read_manifest(source).rows if row.path is not None]
    if not rows:
        raise InputError("unlabelled", expected="recordings", got=f"none in {source}", remedy="name a folder or manifest of recordings")
    classifier = MultimodalEmotionClassifier.from_pretrained(args.model, whisper=None)
    unknown = [label for label in labels if not _has(classifier.labels, label)]
    if unknown:
        raise InputError(
            "unlabelled", expected="a model that knows the classes", got=f"one without {', '.join(unknown)}",
            remedy="train without unlabelled first, then again with --model RUN/best",
        )  # fmt: skip
    if args.modalities == "audio":
        rows = [replace(row, text=None) for row in rows]
    items = [{"audio": str(row.path), "text": row.text} for row in rows]
    chosen, unreadable = [], 0
    for row, outcome in zip(rows, classifier.predict_iter(items, on_error="skip"), strict=True):
        if isinstance(outcome, Exception):
            unreadable += 1
        elif outcome.confidence >= args.pseudo_label_threshold and _has(labels, outcome.label):
            chosen.append(replace(row, emotion=outcome.label, votes=None))
    clips, errors = examine(chosen)
    counts = ", ".join(f"{name} {count}" for name, count in sorted(Counter(clip.row.emotion or "" for clip in clips).items()))
    tell(
        f"unlabelled: of {len(rows)} recordings {len(clips)} are labelled with at least {args.pseudo_label_threshold:g}: {counts or 'none'}"
        + (f"; {unreadable + len(errors)} cannot be read" if unreadable + len(errors) else "")
    )
    return clips


def _has(labels: Sequence[str], name: str) -> bool:
    try:
        return any(admitted(name, labels))
    except LabelError:
        return False
