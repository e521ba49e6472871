"""`prepare_data`: the rows of a run, read from manifests and folders, checked, and divided for
training and validation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from multimodal_ser.audio import SAMPLING_RATE, AudioError
from multimodal_ser.corpora import ManifestRow, read_manifest, split_rows
from multimodal_ser.corpora.clips import Clip, RecordingReader, examine
from multimodal_ser.corpora.duplicates import counted
from multimodal_ser.corpora.emotions import fixed_sentences, without_odd_emotions
from multimodal_ser.corpora.files import recordings_below
from multimodal_ser.corpora.recordings import in_order, past_the_end
from multimodal_ser.corpora.tables import SUFFIXES
from multimodal_ser.corpora.targets import (
    admissible_row_classes,
    annotated_emotions,
    has_class,
    is_annotated,
    label_names,
    row_language,
    with_class,
)
from multimodal_ser.errors import InputError
from multimodal_ser.labels import LabelError
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.transcription import WhisperNotFoundError

SHOWN = 5
"""Number of errors that are reported one by one; all of them are in the run folder."""


@dataclass(frozen=True)
class Prepared:
    """The data of a run.

    Args:
        labels: names of the classes.
        train, validation, test: rows to learn from, to select on and to score at the end.
        protocol: one line on how the rows were divided.
        use_audio, use_text: modalities that the model learns from.
        errors: rows that could not be used, each with its reason.
        notes: messages that were reported.
        transcriber: name of the Whisper model that transcribed rows without a text; None: none did.
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
    transcriber: str | None = None


def prepare_data(
    args: TrainingArguments,
    say: Callable[[str], None] = print,
    on_progress: Callable[[int, int], None] | None = None,
    errors: list[InputError] | None = None,
    languages: Sequence[str] | None = None,
) -> Prepared:
    """Read, check and divide the data of a run.

    Args:
        args: the options of the run.
        say: called with each message.
        on_progress: called with (done, all) while recordings are transcribed, and while they are checked.
        errors: list that the errors of rows are added to; it is filled even if an exception ends the function.
        languages: ISO 639-1 codes of the languages that the text branch reads; texts in others are left out, as
            prediction does. None: all languages.

    Raises:
        InputError: no usable row, fewer than two classes, a split that puts a speaker on both sides, or unknown
            speakers.
    """
    notes: list[str] = []
    errors = [] if errors is None else errors

    def report(message: str) -> None:
        notes.append(message)
        say(message)

    rows, transcriber = _read_rows(args, errors, report, on_progress)
    rows = _in_languages(rows, languages, report)
    annotated = _only_annotated(args, _with_modalities(args, rows, report), report)
    clips, unusable = examine(annotated, context_turns=args.context_turns, among=rows, on_progress=on_progress)
    errors += unusable
    past_end = sum(past_the_end(clip.row, clip.duration) for clip in clips if clip.row.path is not None)
    if past_end:
        report(f"{counted(past_end, 'part ends', 'parts end')} after the recording does: what there is is taken")
    labels = tuple(args.labels or label_names(clip.row for clip in clips if annotated_emotions(clip.row)))
    if args.emotions:
        clips, without_class = with_class(clips, labels) if labels else (clips, [])
        errors += without_class
    errors[:] = in_order(errors)
    _report_errors(errors, report)
    _require_clips(args, clips, labels, len(annotated))
    split = split_rows(
        [_by_class(clip, labels) for clip in clips], validation_share=args.validation_share, seed=args.seed,
        validation_speakers=tuple(args.validation_speakers), test_speakers=tuple(args.test_speakers), allow_leak=args.allow_leak,
        contents=[clip.sound for clip in clips],
    )  # fmt: skip
    train = [clips[i] for i in split.train]
    use_audio, use_text = any(clip.row.path for clip in train), any(clip.row.text for clip in train)
    held_out = [[clips[i] for i in part] for part in (split.validation, split.test)]
    validation, test = (
        [clip for clip in part if (use_audio and clip.row.path) or (use_text and clip.row.text)] for part in held_out
    )
    _describe(args, clips, labels, report)
    test_part = f", {len(test)} to test on" if test else ""
    report(f"split: {len(train)} to learn from, {len(validation)} to select on{test_part} ({split.protocol})")
    for note in split.notes:
        report(note)
    without_input = sum(map(len, held_out)) - len(validation) - len(test)
    if without_input:
        clips_of = counted(without_input, "clip that is held out has", "clips that are held out have")
        report(f"{clips_of} nothing of what is learned from, and {'is' if without_input == 1 else 'are'} left out")
    report(
        f"learned from: {' and '.join(name for name, used in (('the voice', use_audio), ('the words', use_text)) if used)}"
    )
    if args.unlabelled:
        train += _pseudo_labelled(args, labels, use_text, [*validation, *test], report)
    _require_every_class(args, train, labels)
    _require_pairs(args, train)
    _require_selection(args, validation, split.protocol)
    return Prepared(
        labels, tuple(train), tuple(validation), tuple(test), split.protocol, use_audio, use_text, tuple(errors), tuple(notes), transcriber
    )  # fmt: skip


def _read_rows(
    args: TrainingArguments,
    errors: list[InputError],
    report: Callable[[str], None],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[ManifestRow], str | None]:
    """Return all rows, transcribed if that is asked for, and the name of the Whisper model; None: it wrote none."""
    rows: list[ManifestRow] = []
    transcriber = None
    for source in args.data:
        manifest = read_manifest(source, columns=args.columns or None)
        report(f"{source}: {counted(len(manifest.rows), 'row')}")
        for note in manifest.notes:
            report(note)
        errors += manifest.errors
        new = list(manifest.rows)
        if args.emotions and not args.labels:  # labels may name any emotion
            new, odd = without_odd_emotions(new, remedy="name all classes with labels (--labels)")
            errors += odd
        if args.transcribe:
            new, name = _transcribed(args, new, errors, report, on_progress)
            transcriber = name or transcriber
        rows += _without_fixed_sentences(new, str(source), report) if args.modalities == "auto" else new
    return rows, transcriber if any(row.path is not None and row.text for row in rows) else None


def _without_fixed_sentences(rows: list[ManifestRow], source: str, report: Callable[[str], None]) -> list[ManifestRow]:
    """Remove the words of corpora in which the same few sentences are said in every emotion."""
    fixed = fixed_sentences(rows)
    for corpus, (spoken, sentences) in fixed.items():
        report(
            f"{source}{f' ({corpus})' if corpus else ''}: {counted(spoken, 'recording')} of {counted(sentences, 'sentence')}: "
            "the words tell nothing of the emotion, so the recordings alone are learned from (modalities both: the words too)"
        )
    return [replace(row, text=None) if row.corpus in fixed and row.path is not None else row for row in rows]


def _transcribed(
    args: TrainingArguments,
    rows: list[ManifestRow],
    errors: list[InputError],
    report: Callable[[str], None],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[ManifestRow], str | None]:
    from multimodal_ser.transcription import WhisperTranscriber

    missing = [
        i
        for i, row in enumerate(rows)
        if row.path is not None and not row.text and (args.context_turns or _is_target(args, row))
    ]
    if not missing:
        return rows, None
    transcriber = WhisperTranscriber(args.whisper)
    report(f"Whisper {transcriber.name} writes the texts of {counted(len(missing), 'recording')}")
    rows = list(rows)
    silent = 0
    reader = RecordingReader()
    for done, index in enumerate(missing, 1):
        row = rows[index]
        try:
            language = row_language(row.language) or row.language  # an unknown language is an error
            transcript: Any = transcriber.transcribe(reader.part(row), sampling_rate=SAMPLING_RATE, language=language)
            rows[index] = replace(row, text=transcript.text or None, language=row.language or transcript.language)
        except AudioError:
            pass  # `examine` reports it with the other rows that cannot be used
        except WhisperNotFoundError:
            raise
        except InputError as error:
            errors.append(error.named(f"{row.place or row.name}, {error.what}"))
        silent += not rows[index].text
        if on_progress is not None:
            on_progress(done, len(missing))
    if silent:
        report(f"in {silent} of them no words were heard")
    return rows, transcriber.name


def _in_languages(
    rows: list[ManifestRow], languages: Sequence[str] | None, report: Callable[[str], None]
) -> list[ManifestRow]:
    """Remove texts in languages that the text branch does not read, and rows of which nothing is left."""
    if languages is None:
        return rows
    unread = Counter(
        row.language
        for row in rows
        if row.text and row.language and (row_language(row.language) or row.language) not in languages
    )
    if not unread:
        return rows
    counts = ", ".join(f"{name} ({count})" for name, count in sorted(unread.items()) if name)
    report(
        f"texts left out, for the text branch reads {', '.join(languages)}: {counts} "
        "(train it, with text out of freeze, or name a text_model that reads them)"
    )
    rows = [replace(row, text=None) if row.language in unread else row for row in rows]
    return [row for row in rows if row.path is not None or row.text]


def _with_modalities(
    args: TrainingArguments, rows: list[ManifestRow], report: Callable[[str], None]
) -> list[ManifestRow]:
    """Remove the modalities that are not learned from, and rows of which nothing is left."""
    if args.modalities == "audio":
        selected = [replace(row, text=None) for row in rows if row.path is not None]
    elif args.modalities == "text":
        selected = [replace(row, path=None, start=None, end=None) for row in rows if row.text]
    elif args.modalities == "both":
        selected = [row for row in rows if row.path is not None and row.text]
    else:
        selected = rows
    if len(selected) < len(rows):
        out = counted(len(rows) - len(selected), "row has", "rows have")
        report(f"left out: {out} not what modalities {args.modalities} asks for")
    if not selected:
        requirement = (
            "anything that can be learned from"
            if args.modalities == "auto"
            else f"what modalities {args.modalities} asks for"
        )
        raise InputError(
            "data", expected=f"rows with {requirement}", got="none", remedy="use other data, or modalities auto"
        )
    return selected


def _is_target(args: TrainingArguments, row: ManifestRow) -> bool:
    return is_annotated(row, emotions=args.emotions, dimensions=args.dimensions)


def _only_annotated(
    args: TrainingArguments, rows: list[ManifestRow], report: Callable[[str], None]
) -> list[ManifestRow]:
    selected = [row for row in rows if _is_target(args, row)]
    if len(selected) < len(rows):
        out = counted(len(rows) - len(selected), "row has", "rows have")
        report(f"left out: {out} no annotation (unlabelled=... learns from recordings without)")
    if not selected:
        targets = "an emotion" if args.emotions else ", ".join(args.dimensions)
        remedy = "fill the column in, or use a folder per emotion"
        raise InputError("data", expected=f"rows annotated with {targets}", got="none", remedy=remedy)
    return selected


def _report_errors(errors: Sequence[InputError], report: Callable[[str], None]) -> None:
    for error in errors[:SHOWN]:
        report(f"left out: {error}")
    if len(errors) > SHOWN:
        report(f"left out: {len(errors) - SHOWN} more (errors.txt in the run folder)")


def _require_clips(args: TrainingArguments, clips: Sequence[Clip], labels: Sequence[str], rows: int) -> None:
    layout = (
        "a folder with a folder per emotion (clips/happy/*.wav, clips/sad/*.wav), or a manifest with a column emotion"
    )
    if not clips:
        raise InputError(
            "data", expected="at least one row that can be used", got=f"none of {rows}", remedy=f"give {layout}"
        )
    if args.emotions and len(labels) < 2:
        got = f"{counted(len(clips), 'clip')} of one class, {labels[0]!r}" if labels else "rows without an emotion"
        remedy = (
            f"add clips of another one: {layout}"
            if labels
            else "learn the dimensions alone with emotions=False (--no-emotions)"
        )
        raise InputError("data", expected="clips of at least two emotions", got=got, remedy=remedy)


def _classes(clip: Clip, labels: Sequence[str]) -> list[str]:
    """Return the classes that a clip's annotation admits; of votes all that have one."""
    classes = [admissible_row_classes(name, labels, clip.row.corpus) for name in annotated_emotions(clip.row)]
    return [label for place, label in enumerate(labels) if any(row[place] for row in classes)]


def _by_class(clip: Clip, labels: Sequence[str]) -> ManifestRow:
    """Return the row with the name of its class as its emotion, so that the split is stratified by class."""
    if clip.row.label is None or not labels:
        return clip.row
    try:
        cells = admissible_row_classes(clip.row.label, labels, clip.row.corpus)
    except LabelError:  # of dimensions alone
        return clip.row
    return replace(clip.row, emotion=labels[cells.index(True)], votes=None) if sum(cells) == 1 else clip.row


def _require_every_class(args: TrainingArguments, train: Sequence[Clip], labels: Sequence[str]) -> None:
    present = {label for clip in train for label in _classes(clip, labels)} if args.emotions else set(labels)
    absent = [label for label in labels if label not in present]
    if absent:
        raise InputError(
            "data", expected="training clips of every class", got=f"none of {', '.join(absent)}",
            remedy="add some, hold out other speakers (validation_speakers, test_speakers), or leave the class out of labels",
        )  # fmt: skip


def _require_pairs(args: TrainingArguments, train: Sequence[Clip]) -> None:
    recordings = any(clip.row.path and not clip.row.text for clip in train)
    texts = any(clip.row.text and not clip.row.path for clip in train)
    if args.pair_matched + args.pair_mismatched and not (recordings and texts):
        got = "no recordings without words" if not recordings else "no words without recordings"
        name = "pair_matched" if args.pair_matched else "pair_mismatched"
        raise InputError(
            name, expected="rows of either modality alone, to be paired", got=got, remedy="add some, or set it to 0"
        )


def _require_selection(args: TrainingArguments, validation: Sequence[Clip], protocol: str) -> None:
    """Require validation rows that are annotated with what `metric_for_best_model` measures."""
    if not validation:
        if args.early_stopping_patience:
            got = f"none ({protocol})"
            remedy = "give more clips or validation_speakers, or set it to 0"
            raise InputError("early_stopping_patience", expected="validation data to watch", got=got, remedy=remedy)
        return
    target = ", ".join(args.dimensions) if args.selects_by_dimensions else "an emotion"
    emotion = any(is_annotated(clip.row, dimensions=()) for clip in validation)
    dimension = any(is_annotated(clip.row, emotions=False, dimensions=args.dimensions) for clip in validation)
    if args.metric != "loss" and not (dimension if args.selects_by_dimensions else emotion):
        expected = f"validation rows annotated with {target}, for {args.metric}"
        remedy = "hold out other speakers, or choose by loss"
        raise InputError("metric_for_best_model", expected=expected, got="none", remedy=remedy)


def _describe(
    args: TrainingArguments, clips: Sequence[Clip], labels: Sequence[str], report: Callable[[str], None]
) -> None:
    """Report the numbers of clips, classes and speakers."""
    if args.emotions:
        classes = [_classes(clip, labels) for clip in clips]
        counts = Counter(admissible[0] for admissible in classes if len(admissible) == 1)
        several = sum(len(admissible) > 1 for admissible in classes)
        shown = [f"{label} {counts[label]}" for label in labels] + [f"several admissible {several}"] * bool(several)
        report(f"classes: {', '.join(shown)}")
        for label, names in zip(labels, _merged_names(clips, labels), strict=True):
            if len(names) > 1:
                report(f"{', '.join(names)} are one class, {label} (labels keeps those apart that it names)")
    speakers = {clip.row.speaker for clip in clips if clip.row.speaker}
    minutes = sum(clip.duration for clip in clips) / 60
    voices = counted(len(speakers), "speaker") if speakers else "speakers not known"
    recordings = sum(clip.row.path is not None for clip in clips)
    sizes = []
    if recordings:
        sizes.append(f"{counted(recordings, 'clip')}, {minutes:.1f} min")
    if recordings < len(clips):
        sizes.append(counted(len(clips) - recordings, "text alone", "texts alone"))
    report(f"{', '.join(sizes)}, {voices}")
    cut = sum(clip.duration > args.max_duration for clip in clips)
    if cut:
        is_cached = (
            args.embedding_cache and "audio" in args.freeze and args.unfreeze_epoch is None and not args.lora_rank
        )
        part = "the first part of each" if is_cached else "in each epoch another part of each"
        longer = counted(cut, "recording is", "recordings are")
        report(
            f"{longer} longer than {args.max_duration:g} s: {part} is heard (max_duration; start and end choose one)"
        )


def _merged_names(clips: Sequence[Clip], labels: Sequence[str]) -> list[list[str]]:
    """Return the names, in lower case, by which each class is annotated."""
    names_of: list[dict[str, None]] = [{} for _ in labels]
    annotations = {
        (name, clip.row.corpus)
        for clip in clips
        for name in clip.row.votes or (clip.row.emotion or "").split("|")
        if name
    }
    for name, corpus in sorted(annotations, key=lambda pair: (pair[0], pair[1] or "")):
        cells = [place for place, yes in enumerate(admissible_row_classes(name, labels, corpus)) if yes]
        if len(cells) == 1:
            names_of[cells[0]][name.strip().lower()] = None
    return [list(names) for names in names_of]


def _pseudo_labelled(
    args: TrainingArguments,
    labels: Sequence[str],
    use_text: bool,
    held_out: Sequence[Clip],
    report: Callable[[str], None],
) -> list[Clip]:
    """Return recordings without labels that the starting model labels with enough confidence.

    These are pseudo-labels as in Lee (2013), hard labels of one round.
    """
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

    assert args.unlabelled is not None
    source = Path(args.unlabelled)
    if source.is_dir() and not any((source / f"manifest{suffix}").is_file() for suffix in SUFFIXES):
        rows = [ManifestRow(path=path, place=str(path), folder=source) for path in recordings_below(source)]
    else:
        rows = [row for row in read_manifest(source).rows if row.path is not None]
    if not rows:
        raise InputError(
            "unlabelled",
            expected="recordings",
            got=f"none in {source}",
            remedy="name a folder or manifest of recordings",
        )
    classifier = MultimodalEmotionClassifier.from_pretrained(args.model, whisper=None)
    missing = [label for label in labels if not has_class(label, classifier.labels)]
    if missing:
        raise InputError(
            "unlabelled", expected="a model that knows the classes", got=f"one without {', '.join(missing)}",
            remedy="train without unlabelled first, then again with --model RUN/best",
        )  # fmt: skip
    clips, unreadable = examine(rows if use_text else [replace(row, text=None) for row in rows])
    contents = {clip.content for clip in held_out}
    speakers = {clip.row.speaker for clip in held_out} - {None}
    others = [clip for clip in clips if clip.content not in contents and clip.row.speaker not in speakers]
    if not args.use_cpu and torch.cuda.is_available():
        classifier.to("cuda")
    reader = RecordingReader()
    items = ({"audio": reader.part(clip.row), "text": clip.row.text} for clip in others)
    options: dict[str, Any] = {
        "on_error": "skip",
        "sampling_rate": SAMPLING_RATE,
        "progress": not args.disable_tqdm and len(others) > 50,
    }
    labelled = []
    for clip, outcome in zip(others, classifier.predict_iter(items, total=len(others), **options), strict=True):
        if (
            not isinstance(outcome, Exception)
            and outcome.confidence >= args.pseudo_label_threshold
            and has_class(outcome.label, labels)
        ):
            labelled.append(replace(clip, row=replace(clip.row, emotion=outcome.label, votes=None)))
    counts = ", ".join(
        f"{name} {count}" for name, count in sorted(Counter(clip.row.emotion or "" for clip in labelled).items())
    )
    confident = f"{len(labelled)} are labelled with at least {args.pseudo_label_threshold:g}"
    report(
        f"unlabelled: of {len(rows)} recordings {confident}: {counts or 'none'}"
        + (f"; {len(unreadable)} cannot be read" if unreadable else "")
        + (f"; {len(clips) - len(others)} are held out, or of speakers who are" if len(others) < len(clips) else "")
    )
    return labelled
