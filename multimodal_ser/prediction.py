"""Prediction: recordings and texts in, `EmotionPrediction`s out.

One or many, the way is the same: each input becomes rows (a recording longer than 30 s: a row a window), rows are collected, transcribed,
run through the model in batches of similar length, and put together again in the order in which the inputs came.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multimodal_ser.audio import MAX_DURATION, SAMPLING_RATE, AudioInput, stream_audio
from multimodal_ser.errors import InputError
from multimodal_ser.labels import label_map, merge_probabilities
from multimodal_ser.speakers import SpeakerProfile, encoder_fingerprint
from multimodal_ser.transcription import Transcript, WhisperNotFoundError
from multimodal_ser.windows import Windower

if TYPE_CHECKING:
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

Modalities = Literal["auto", "both", "audio", "text"]

ROWS_IN_MEMORY = 64
"""Rows that are collected before the model runs: enough to sort by length, at most 32 minutes of audio (123 MB)."""


@dataclass(frozen=True)
class EmotionPrediction:
    """What the model says of one input.

    Args:
        label: the most probable emotion.
        confidence: its probability, 0..1.
        probabilities: of every label of the label set; they sum to 1.
        transcript: the words, as Whisper heard them or as they were given; None where nobody listened.
        modalities: what the prediction rests on: ("audio", "text"), ("audio",) or ("text",).
        label_set: whose labels these are.
        duration: of the recording, s; None without one.
        windows: into how many windows the recording was cut.
        channel: which channel of the recording, with `channels="split"`.
        source: the recording's file name, where it has one.
        notes: what a reader should know, such as that the words were in a language that the text branch does not read.

    Example:
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> prediction = tiny_model().predict(synthetic_speech(2.0), sampling_rate=16000)
        >>> prediction.label in prediction.probabilities, prediction.modalities, prediction.duration
        (True, ('audio',), 2.0)
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    transcript: Transcript | None
    modalities: tuple[str, ...]
    label_set: str = "native"
    duration: float | None = None
    windows: int = 1
    channel: int | None = None
    source: str | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {
            "source": self.source,
            "channel": self.channel,
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
            "label_set": self.label_set,
            "modalities": list(self.modalities),
            "duration": self.duration,
            "windows": self.windows,
            "transcript": None if self.transcript is None else self.transcript.to_dict(),
            "notes": list(self.notes),
        }


def predict(
    model: MultimodalEmotionClassifier, audio: Any = None, text: Any = None, *, context: Any = None, **options: Any
) -> EmotionPrediction | list[Any]:
    """Predict the emotion of one input, or of a list.

    Args:
        model: the classifier.
        audio: a path, a binary file object, bytes, an array or tensor (with `sampling_rate`), a Hugging Face audio dict; or a list of them.
        text: the words of the recording, or a list; then Whisper is not run. None, "" and NaN mean that none are given.
        context: the turns before this one, oldest first; of a list of inputs a list of lists.
        **options: those of `predict_iter`.

    Returns:
        An `EmotionPrediction`; for a list, a list in the same order. With `channels="split"`, a list of channels in place of each.
        With `on_error="skip"`, an input that failed has its error (an `InputError`) in its place.

    Raises:
        InputError: an input is no audio, or an option is wrong; with `on_error="skip"` only the latter.
        TypeError: an option that does not exist.
    """
    many = isinstance(audio, list | tuple) or (audio is None and isinstance(text, list | tuple))
    if not many:
        [only] = predict_iter(model, [{"audio": audio, "text": text, "context": context}], total=1, **options)
        return only
    count = len(audio if audio is not None else text)
    columns: dict[str, Sequence[Any]] = {}
    for name, column in (("audio", audio), ("text", text), ("context", context)):
        if column is not None and (isinstance(column, str) or len(column) != count):
            got = "one text" if isinstance(column, str) else f"{len(column)}"
            raise InputError(name, expected=f"a list of {count}, one an input", got=got, remedy="use None for an input that has none")
        columns[name] = [None] * count if column is None else column
    rows = ({name: column[i] for name, column in columns.items()} for i in range(count))
    return list(predict_iter(model, rows, total=count, **options))


def predict_iter(
    model: MultimodalEmotionClassifier,
    items: Iterable[Any],
    *,
    sampling_rate: int | None = None,
    modalities: Modalities = "auto",
    language: str | None = None,
    label_set: str = "native",
    channels: Literal["mix", "split"] = "mix",
    speaker: SpeakerProfile | None = None,
    word_timestamps: bool = False,
    batch_size: int = 8,
    max_duration: float = MAX_DURATION,
    on_error: Literal["raise", "skip"] = "raise",
    progress: bool = False,
    total: int | None = None,
) -> Iterator[Any]:
    """Predict many inputs one after the other, at flat memory.

    Args:
        model: the classifier.
        items: recordings, or dicts with "audio", "text" and "context" (each may be missing); any iterable, also one without end.
        sampling_rate: of arrays, Hz.
        modalities: "auto": all that is there; "audio": no Whisper, no text; "text": the words alone; "both": an error where one is missing.
        language: of the speech ("de", "german"); None: Whisper detects it.
        label_set: "native" (the model's own labels), "ekman", ...
        channels: "mix", or "split": a prediction a channel.
        speaker: who speaks, as `classifier.enroll` got to know them.
        word_timestamps: whether the transcript has the times of its words.
        batch_size: rows that run through the model together.
        max_duration: longest recording that is taken, s.
        on_error: "raise", or "skip": the error takes the input's place.
        progress: show a progress bar on stderr.
        total: number of items, for the progress bar.

    Yields:
        An `EmotionPrediction` an input, in order (see `predict`).

    Raises:
        InputError: see `predict`.
    """
    for name, value, allowed in (
        ("modalities", modalities, ("auto", "both", "audio", "text")),
        ("channels", channels, ("mix", "split")),
        ("on_error", on_error, ("raise", "skip")),
    ):
        if value not in allowed:
            raise InputError(name, expected=f"one of {', '.join(allowed)}", got=repr(value), remedy="choose one of them")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError("batch_size", expected="a whole number from 1", got=repr(batch_size), remedy="8 is a good start")
    label_map(model.labels, label_set)  # a label set that does not fit is told before any work is done
    if speaker is not None and speaker.encoder != (fingerprint := encoder_fingerprint(model)):
        raise InputError(
            "speaker", expected=f"a profile that this audio branch made ({fingerprint})", got=f"one of another ({speaker.encoder})",
            remedy="enroll the speaker with this classifier",
        )  # fmt: skip
    run = _Run(model, modalities, language, label_set, speaker, word_timestamps, batch_size)
    waiting: deque[_Item] = deque()
    rows: list[_Row] = []
    bar = None
    if progress:
        from tqdm.auto import tqdm

        bar = tqdm(total=total, unit="input", desc="predict")

    def finished(everything: bool) -> Iterator[Any]:
        while waiting and (everything or waiting[0].complete):
            if everything or not any(row.item is waiting[0] for row in rows):
                item = waiting.popleft()
                if bar is not None:
                    bar.update()
                outcome = item.result(run)
                if isinstance(outcome, InputError) and on_error == "raise":
                    raise outcome
                yield outcome
            else:
                break

    for position, given in enumerate(items):
        item = _Item.of(given)
        waiting.append(item)
        try:
            for row in _rows(item, sampling_rate, modalities, channels, max_duration):
                item.tracks[row.channel].cut += 1
                rows.append(row)
                if len(rows) >= ROWS_IN_MEMORY:
                    run.flush(rows)
                    rows.clear()
        except InputError as error:
            # an array has no name of its own: its place in the list is one
            item.error = error if item.source or total == 1 else error.named(f"input {position} ({error.what})")
            rows = [row for row in rows if row.item is not item]
        item.complete = True
        yield from finished(everything=False)
    run.flush(rows)
    rows.clear()
    yield from finished(everything=True)
    if bar is not None:
        bar.close()


@dataclass
class _Row:
    """One pass through the model: a window of a recording, a text, or both."""

    item: _Item
    channel: int | None
    waveform: np.ndarray | None  # (S,)
    start: float  # s
    text: str | None
    transcript: Transcript | None = None


@dataclass
class _Track:
    """What the windows of one channel add up to."""

    probabilities: np.ndarray | None = None  # (C,), weighted sum
    weight: float = 0.0
    duration: float = 0.0
    cut: int = 0  # windows that the recording was cut into
    windows: int = 0  # of them, those that ran through the model
    transcripts: list[tuple[float, Transcript]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)


@dataclass(eq=False)
class _Item:
    """One input on its way."""

    audio: Any
    text: str | None
    context: Sequence[str] | None
    source: str | None
    tracks: dict[int | None, _Track] = field(default_factory=dict)
    error: InputError | None = None
    complete: bool = False

    @classmethod
    def of(cls, given: Any) -> _Item:
        if isinstance(given, Mapping) and not {"array", "bytes", "path"} & set(given):
            audio, text, context = given.get("audio"), given.get("text"), given.get("context")
        else:
            audio, text, context = given, None, None
        if isinstance(audio, float) and np.isnan(audio):
            audio = None
        if text is None or (isinstance(text, float) and np.isnan(text)) or (isinstance(text, str) and not text.strip()):
            text = None
        item = cls(audio, text, context, _name(audio))
        if text is not None and not isinstance(text, str):
            item.error = InputError("text", expected="a string or None", got=type(text).__name__, remedy="convert it")
        return item

    def result(self, run: _Run) -> Any:
        if self.error is not None:
            return self.error
        if any(track.probabilities is None for track in self.tracks.values()):
            heard = "; ".join(note for track in self.tracks.values() for note in track.notes) or "no words were recognised"
            wanted = f"words that the text branch reads, for modalities={run.modalities!r}"
            return InputError(self.source or "input", expected=wanted, got=heard, remedy="give text=..., or modalities='auto'")
        predictions = [run.prediction(self, channel, track) for channel, track in self.tracks.items()]
        return predictions if None not in self.tracks else predictions[0]


def _name(audio: AudioInput | None) -> str | None:
    if isinstance(audio, Mapping):
        audio = audio.get("path")
    if isinstance(audio, str | os.PathLike):
        return os.fspath(audio)
    name = getattr(audio, "name", None)
    return name if isinstance(name, str) else None


def _rows(
    item: _Item, sampling_rate: int | None, modalities: Modalities, channels: Literal["mix", "split"], max_duration: float
) -> Iterator[_Row]:
    if item.error is not None:
        return
    if item.audio is None:
        if item.text is None:
            raise InputError("input", expected="audio, text or both", got="neither", remedy="give a recording, or text=...")
        if modalities in ("audio", "both"):
            raise InputError(
                "audio", expected=f"a recording, for modalities={modalities!r}", got="none", remedy="give one, or modalities='auto'"
            )
        item.tracks[None] = _Track()
        yield _Row(item, None, None, 0.0, item.text)
        return
    if modalities == "text" and item.text is not None:  # the words are there: nobody has to listen
        item.tracks[None] = _Track()
        yield _Row(item, None, None, 0.0, item.text)
        return
    text = None if modalities == "audio" else item.text
    windowers: list[Windower] = []
    names: list[int | None] = []
    for block in stream_audio(item.audio, sampling_rate, channels=channels, max_duration=max_duration):
        block = block if block.ndim == 2 else block[None]
        if not windowers:
            names = [None] if channels == "mix" else list(range(len(block)))
            windowers = [Windower() for _ in names]
            item.tracks |= {name: _Track() for name in names}
        for name, windower, samples in zip(names, windowers, block, strict=True):
            for start, waveform in windower.push(samples):
                yield _Row(item, name, waveform, start, text)
    for name, windower in zip(names, windowers, strict=True):
        for start, waveform in windower.finish():
            yield _Row(item, name, waveform, start, text)


class _Run:
    """The options of a run, and what is done with a handful of rows."""

    def __init__(
        self,
        model: Any,
        modalities: Modalities,
        language: str | None,
        label_set: str,
        speaker: SpeakerProfile | None,
        word_timestamps: bool,
        batch_size: int,
    ):
        self.model, self.modalities, self.language, self.label_set = model, modalities, language, label_set
        self.speaker, self.word_timestamps, self.batch_size = speaker, word_timestamps, batch_size

    def flush(self, rows: list[_Row]) -> None:
        """Transcribe the rows and run the model on them; what comes out is added to their items."""
        if not rows:
            return
        self._transcribe(rows)
        ready = []
        for row in rows:
            use_text = self._readable(row)
            use_audio = row.waveform is not None and self.modalities != "text"
            if self.modalities in ("text", "both") and not use_text:
                continue
            if row.item.error is None and (use_text or use_audio):
                ready.append((row, use_audio, use_text))
        ready.sort(key=lambda entry: (0 if entry[0].waveform is None else len(entry[0].waveform), len(entry[0].text or "")))
        for at in range(0, len(ready), self.batch_size):
            self._forward(ready[at : at + self.batch_size])

    def _transcribe(self, rows: list[_Row]) -> None:
        for row in rows:
            if row.text is not None:
                row.transcript = Transcript.given(row.text, language=self.language)
        silent = [row for row in rows if row.text is None and row.waveform is not None]
        if self.modalities == "audio" or not silent or self.model.transcriber is None:
            return
        try:
            transcripts = self.model.transcriber.transcribe(
                [row.waveform for row in silent], sampling_rate=SAMPLING_RATE, language=self.language, word_timestamps=self.word_timestamps
            )
        except WhisperNotFoundError as error:
            warnings.warn(f"{error} Going on with audio alone.", UserWarning, stacklevel=2)
            self.model.transcriber = None
            for row in silent:
                row.item.tracks[row.channel].notes["no Whisper was found: the words were not heard"] = None
            return
        for row, transcript in zip(silent, transcripts, strict=True):
            row.transcript, row.text = transcript, transcript.text or None

    def _readable(self, row: _Row) -> bool:
        """Whether the row has words that the text branch reads; a note says so where it has words that it does not."""
        if row.text is None:
            return False
        reads, language = self.model.config.text_languages, row.transcript.language if row.transcript else None
        if reads and language and language not in reads:
            note = f"the words are in {language!r}, the text branch reads {', '.join(reads)}: they were not used"
            row.item.tracks[row.channel].notes[note] = None
            return False
        return True

    def _forward(self, batch: list[tuple[_Row, bool, bool]]) -> None:
        import torch

        model = self.model
        inputs = model.processor(
            audio=[row.waveform if use_audio else None for row, use_audio, _ in batch],
            text=[row.text if use_text else None for row, _, use_text in batch],
            context=[row.item.context for row, _, _ in batch],
            sampling_rate=SAMPLING_RATE,
        ).to(model.device)
        inputs = {name: value.to(model.dtype) if value.is_floating_point() else value for name, value in inputs.items()}
        if self.speaker is not None and any(use_audio for _, use_audio, _ in batch):
            inputs["speaker_mean"] = self.speaker.hidden_mean.to(model.device, model.dtype).expand(len(batch), -1, -1)
        training = model.training
        model.eval()
        try:
            with torch.inference_mode():
                probabilities = model(**inputs).logits.float().softmax(-1).cpu().numpy()
        finally:
            model.train(training)
        for (row, use_audio, use_text), values in zip(batch, probabilities, strict=True):
            track = row.item.tracks[row.channel]
            duration = 0.0 if row.waveform is None else len(row.waveform) / SAMPLING_RATE
            weight = self._speech_time(row, duration)
            track.probabilities = values * weight if track.probabilities is None else track.probabilities + values * weight
            track.weight += weight
            track.duration += duration
            track.windows += 1
            track.used |= {name for name, used in (("audio", use_audio), ("text", use_text)) if used}
            if row.transcript is not None:
                track.transcripts.append((row.start, row.transcript))

    def _speech_time(self, row: _Row, duration: float) -> float:
        """How much a window counts: its seconds of speech; never quite nothing, so that a recording of silence has an answer."""
        if row.waveform is None or (row.item.complete and row.item.tracks[row.channel].cut == 1):  # there is nothing to weigh it against
            return 1.0
        if row.transcript is not None and row.transcript.speech_duration is not None:
            return max(row.transcript.speech_duration, 1e-3)
        from multimodal_ser.transcription.gate import speech_duration

        return max(speech_duration(row.waveform), 1e-3)

    def prediction(self, item: _Item, channel: int | None, track: _Track) -> EmotionPrediction:
        """Put the windows of one channel together."""
        assert track.probabilities is not None
        values = track.probabilities / track.weight
        native = {label: float(value) for label, value in zip(self.model.labels, values / values.sum(), strict=True)}
        probabilities = merge_probabilities(native, self.label_set)
        label = max(probabilities, key=lambda name: probabilities[name])
        transcripts = [transcript for _, transcript in sorted(track.transcripts, key=lambda entry: entry[0])]
        given = item.text is not None
        return EmotionPrediction(
            label=label,
            confidence=probabilities[label],
            probabilities=probabilities,
            transcript=None
            if not transcripts
            else transcripts[0]
            if given
            else Transcript.joined(sorted(track.transcripts, key=lambda entry: entry[0])),
            modalities=tuple(name for name in ("audio", "text") if name in track.used),
            label_set=self.label_set,
            duration=track.duration if item.audio is not None and track.duration else None,
            windows=track.windows,
            channel=channel,
            source=item.source,
            notes=tuple(track.notes),
        )
