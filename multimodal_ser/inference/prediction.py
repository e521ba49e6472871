"""Prediction: recordings and texts in, `EmotionPrediction`s out.

One or many, the way is the same: each input becomes rows (a recording longer than 30 s: a row a window), rows are collected, transcribed,
run through the model in batches of similar length, and put together again in the order in which the inputs came.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multimodal_ser.audio import MAX_DURATION, SAMPLING_RATE, Channels
from multimodal_ser.errors import InputError
from multimodal_ser.inference.conformal import conformal_labels
from multimodal_ser.inference.inputs import Item, Modalities, Row, Track, column, missing
from multimodal_ser.inference.speakers import SpeakerProfile, encoder_fingerprint
from multimodal_ser.labels import label_map, merge_probabilities
from multimodal_ser.transcription import Transcript, WhisperNotFoundError
from multimodal_ser.transcription.gate import SILENCE
from multimodal_ser.transcription.transcriber import language_code

if TYPE_CHECKING:
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

ROWS_IN_MEMORY = 64
"""Rows that are collected before the model runs: enough to sort by length, at most 32 minutes of audio (123 MB)."""

NOT_FOUND = "no Whisper was found: the words were not heard"
"""The note of a prediction that had to go without."""

UNHEARD = "no speech detector is installed (faster-whisper): windows count by their length"
"""The note of a recording whose silences count as much as its speech."""

UNCERTAIN = "uncertain"
"""What is shown in place of the label of a prediction that abstains."""


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
        source: the recording's path as it was given, where it has one.
        notes: what a reader should know, such as that the words were in a language that the text branch does not read.
        abstained: whether the confidence is below what was asked for (`abstain_below`); the label is there all the same.
        conformal_labels: the labels among which the right one is as often as the model was calibrated for, the most probable first;
            never none. None: the model has no threshold for these modalities and this label set (`multimodal-ser calibrate`).

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
    abstained: bool = False
    conformal_labels: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """For people: "joy (0.83)", or "uncertain (joy 0.43)" where it abstains."""
        return (
            f"{UNCERTAIN} ({self.label} {self.confidence:.2f})"
            if self.abstained
            else f"{self.label} ({self.confidence:.2f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {
            "source": self.source,
            "channel": self.channel,
            "label": self.label,
            "confidence": self.confidence,
            "abstained": self.abstained,
            "conformal_labels": None if self.conformal_labels is None else list(self.conformal_labels),
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
    """Predict the emotion of one input, or of a list: a list, a tuple, an array of strings, or the column of a table, row by row.

    Args:
        model: the classifier.
        audio: a path, a binary file object, bytes, an array or tensor (with `sampling_rate`), a Hugging Face audio dict; or a list of them.
        text: the words of the recording, or a list; then Whisper is not run. None, "" and NaN mean that none are given.
        context: the turns before this one, oldest first, or the one turn; of a list of inputs a list of them.
        **options: those of `predict_iter`.

    Returns:
        An `EmotionPrediction`; for a list, a list in the same order. With `channels="split"`, a list of channels in place of each.
        With `on_error="skip"`, an input that failed has its error (an `InputError`) in its place.

    Raises:
        InputError: an input is no audio, or an option is wrong; with `on_error="skip"` only the latter.
        TypeError: an option that does not exist.
    """
    recordings = column(audio)
    inputs = column(text) if missing(audio) else recordings
    if inputs is None:
        [only] = predict_iter(model, [{"audio": audio, "text": text, "context": context}], total=1, **options)
        return only
    columns = {"audio": recordings, "text": None, "context": None}
    for name, values in (("text", text), ("context", context)):
        if missing(values):
            continue
        listed = np.atleast_1d(values).tolist() if isinstance(values, np.ndarray) else column(values)
        if listed is None or len(listed) != len(inputs):
            got = f"one {type(values).__name__}" if listed is None else f"{len(listed)}"
            expected, remedy = f"a list of {len(inputs)}, one an input", "use None for an input that has none"
            raise InputError(name, expected=expected, got=got, remedy=remedy)
        columns[name] = listed
    rows = ({name: values and values[i] for name, values in columns.items()} for i in range(len(inputs)))
    return list(predict_iter(model, rows, total=len(inputs), **options))


def predict_iter(
    model: MultimodalEmotionClassifier,
    items: Iterable[Any],
    *,
    sampling_rate: int | None = None,
    modalities: Modalities = "auto",
    language: str | None = None,
    label_set: str = "native",
    channels: Channels = "mix",
    speaker: SpeakerProfile | str | os.PathLike | None = None,
    word_timestamps: bool = False,
    batch_size: int = 8,
    max_duration: float = MAX_DURATION,
    abstain_below: float | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    progress: bool = False,
    total: int | None = None,
) -> Iterator[Any]:
    """Predict many inputs one after the other, at flat memory.

    Options are checked at once, inputs as they come.

    Args:
        model: the classifier.
        items: recordings, or dicts with "audio", "text" and "context" (each may be missing); any iterable, also one without end.
        sampling_rate: of arrays, Hz.
        modalities: "auto": all that is there (of a model that was trained on one modality: that one); "audio": no Whisper, no text;
            "text": the words alone; "both": an error where one is missing.
        language: of the speech ("de", "german"); None: Whisper detects it.
        label_set: "native" (the model's own labels), "ekman", ...
        channels: "mix", or "split": a prediction a channel.
        speaker: who speaks, as `classifier.enroll` got to know them; or the file in which that was saved.
        word_timestamps: whether the transcript has the times of its words.
        batch_size: rows that run through the model together.
        max_duration: longest recording that is taken, s.
        abstain_below: a prediction of less confidence than this abstains, 0..1 (see `evaluation.calibration.confidence_threshold`).
        on_error: "raise" (the inputs before it have their predictions by then), or "skip": the error takes the input's place.
        progress: show a progress bar on stderr.
        total: number of items, for the progress bar.

    Yields:
        An `EmotionPrediction` an input, in order (see `predict`).

    Raises:
        InputError: see `predict`.
    """
    run = _Run(
        model, sampling_rate, modalities, language, label_set, channels, speaker, word_timestamps, batch_size, max_duration, on_error,
        abstain_below,
    )  # fmt: skip
    if isinstance(items, str | bytes | os.PathLike | Mapping) or not isinstance(items, Iterable):
        remedy = "give [recording], or call predict"
        raise InputError("predict_iter", expected="an iterable of inputs", got=type(items).__name__, remedy=remedy)
    outcomes = run.outcomes(items, alone=total == 1)
    if not progress:
        return outcomes
    from tqdm.auto import tqdm

    return iter(tqdm(outcomes, total=total, unit="input", desc="predict"))


@dataclass
class _Run:
    """The options of a run, and what is done with a handful of rows."""

    model: Any
    sampling_rate: int | None
    modalities: Modalities
    language: str | None
    label_set: str
    channels: Channels
    speaker: Any
    word_timestamps: bool
    batch_size: int
    max_duration: float
    on_error: Literal["raise", "skip"]
    abstain_below: float | None = None
    deaf: bool = False  # whether Whisper was looked for in vain

    def __post_init__(self) -> None:
        """Refuse wrong options before any work is done."""
        for name, allowed in (
            ("modalities", ("auto", "both", "audio", "text")),
            ("channels", ("mix", "split")),
            ("on_error", ("raise", "skip")),
        ):
            if getattr(self, name) not in allowed:
                expected = f"one of {', '.join(allowed)}"
                raise InputError(name, expected=expected, got=repr(getattr(self, name)), remedy="choose one of them")
        for name, kind, expected, remedy in (
            ("batch_size", Integral, "a whole number from 1", "8 is a good start"),
            (
                "max_duration",
                Real,
                "a positive number of seconds",
                "leave it out for the usual limit, or give math.inf for none",
            ),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind) or not float(value) > 0:
                raise InputError(name, expected=expected, got=repr(value), remedy=remedy)
        limit = self.abstain_below
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, Real) or not 0 <= float(limit) <= 1):
            remedy = "0.6 keeps what is more likely right than not; None keeps all"
            raise InputError("abstain_below", expected="a confidence from 0 to 1", got=repr(limit), remedy=remedy)
        if self.language is not None and not isinstance(self.language, str):
            expected, remedy = "a code or name, such as 'de' or 'german'", "leave it out, and it is detected"
            raise InputError("language", expected=expected, got=repr(self.language), remedy=remedy)
        self.language = language_code(self.language)
        label_map(self.model.labels, self.label_set)
        trained = self.model.config.trained_modalities
        if self.modalities == "auto" and trained is not None and len(trained) == 1:
            self.modalities = trained[0]  # it was never shown the other one
        if isinstance(self.speaker, str | os.PathLike):
            self.speaker = SpeakerProfile.load(self.speaker, framework=getattr(self.model, "framework", "pt"))
        if self.speaker is None:
            return
        if not isinstance(self.speaker, SpeakerProfile):
            expected, got = "a SpeakerProfile, or the file of one", type(self.speaker).__name__
            raise InputError("speaker", expected=expected, got=got, remedy="make one with classifier.enroll")
        if self.speaker.encoder != (fingerprint := encoder_fingerprint(self.model)):
            expected, got = (
                f"a profile that this audio branch made ({fingerprint})",
                f"one of another ({self.speaker.encoder})",
            )
            raise InputError("speaker", expected=expected, got=got, remedy="enroll the speaker with this classifier")

    def outcomes(self, items: Iterable[Any], alone: bool) -> Iterator[Any]:
        """Predictions and errors in the order of the items, each as soon as all before it are done."""
        waiting: deque[Item] = deque()
        rows: list[Row] = []

        def finished() -> Iterator[Any]:
            while waiting and waiting[0].complete and not any(row.item is waiting[0] for row in rows):
                outcome = self.outcome(waiting.popleft())
                if isinstance(outcome, InputError) and self.on_error == "raise":
                    raise outcome
                yield outcome

        def flushed() -> Iterator[Any]:
            self.flush(rows)
            rows.clear()
            yield from finished()

        for position, given in enumerate(items):
            item = Item.of(given, "input" if alone else f"input {position}")
            waiting.append(item)
            for row in item.rows(self.sampling_rate, self.modalities, self.channels, self.max_duration):
                rows.append(row)
                if len(rows) >= ROWS_IN_MEMORY:
                    yield from flushed()
            if item.error is not None:
                rows = [row for row in rows if row.item is not item]
            # a good input waits neither for a batch that bad ones never fill, nor is it lost to the error that is raised
            if len(waiting) >= ROWS_IN_MEMORY or (item.error is not None and self.on_error == "raise"):
                yield from flushed()
            else:
                yield from finished()
        yield from flushed()

    def flush(self, rows: list[Row]) -> None:
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
        ready.sort(
            key=lambda entry: (0 if entry[0].waveform is None else len(entry[0].waveform), len(entry[0].text or ""))
        )
        for at in range(0, len(ready), self.batch_size):
            self._forward(ready[at : at + self.batch_size])

    def _transcribe(self, rows: list[Row]) -> None:
        for row in rows:
            if row.text is not None:
                row.transcript = Transcript.given(row.text, language=self.language)
        silent = [row for row in rows if row.text is None and row.waveform is not None]
        if self.modalities == "audio" or not silent:
            return
        transcripts = None if self.model.transcriber is None else self._heard(silent)
        if transcripts is None:
            for row in silent if self.deaf else ():
                row.track.notes[NOT_FOUND] = None
            return
        for row, transcript in zip(silent, transcripts, strict=True):
            row.transcript, row.text = transcript, transcript.text or None

    def _heard(self, rows: list[Row]) -> list[Transcript] | None:
        waveforms = [row.waveform for row in rows]
        try:
            return self.model.transcriber.transcribe(
                waveforms, sampling_rate=SAMPLING_RATE, language=self.language, word_timestamps=self.word_timestamps
            )
        except WhisperNotFoundError as error:
            warnings.warn(f"{error}. Going on with audio alone.", UserWarning, stacklevel=2)
            self.model.transcriber, self.deaf = None, True  # it is looked for, and told, once
            return None

    def _readable(self, row: Row) -> bool:
        """Whether the row has words that the text branch reads; a note says so where it has words that it does not."""
        if row.text is None:
            return False
        reads, language = self.model.config.text_languages, row.transcript.language if row.transcript else None
        if reads and language and language not in reads:
            note = f"the words are in {language!r}, the text branch reads {', '.join(reads)}: they were not used"
            row.track.notes[note] = None
            return False
        return True

    def _forward(self, batch: list[tuple[Row, bool, bool]]) -> None:
        rows = [
            (row.waveform if audio else None, row.text if text else None, row.item.context)
            for row, audio, text in batch
        ]
        probabilities, logits = self._scored(rows, None if self.speaker is None else self.speaker.hidden_mean)
        for (row, use_audio, use_text), values, logit in zip(batch, probabilities, logits, strict=True):
            track = row.track
            track.add(values, logit, self._speech_time(row))
            track.voiced = track.voiced or (use_audio and self._voiced(row))
            track.used |= {name for name, used in (("audio", use_audio), ("text", use_text)) if used}
            if row.transcript is not None:
                track.transcripts.append((row.start, row.transcript))

    def _scored(self, rows: list[tuple], speaker_mean: Any) -> tuple[np.ndarray, np.ndarray]:
        """(B, C) each: what is averaged over the windows of a recording, and the logits."""
        scores = getattr(self.model, "scores", None) or functools.partial(
            _scores, self.model
        )  # without torch a model has its own
        return scores(rows, speaker_mean)

    def _voiced(self, row: Row) -> bool:
        """Whether anybody speaks: by the gate where it listened, else whether there is any sound."""
        assert row.waveform is not None
        if row.transcript is not None and row.transcript.speech_duration is not None:
            return row.transcript.speech_duration > 0
        return float(np.abs(row.waveform).max()) > SILENCE

    def _speech_time(self, row: Row) -> float:
        """How much a window counts: its seconds of speech; never quite nothing, so that a recording of silence has an answer."""
        if row.waveform is None or (
            row.item.complete and row.track.windows == 1
        ):  # there is nothing to weigh it against
            return 1.0
        if row.transcript is not None and row.transcript.speech_duration is not None:
            return max(row.transcript.speech_duration, 1e-3)
        from multimodal_ser.transcription.gate import speech_duration

        try:
            return max(speech_duration(row.waveform), 1e-3)
        except ImportError:  # faster-whisper brings the detector; the classifier without torch can do without it
            row.track.notes[UNHEARD] = None
            return row.duration

    def outcome(self, item: Item) -> Any:
        """What there is to say of an item: a prediction (a list of them, one a channel), or its error."""
        if item.error is not None:
            return item.error
        if any(track.probabilities is None for track in item.tracks.values()):
            return item.named(self._wordless(item))
        predictions = [self._prediction(item, channel, track) for channel, track in item.tracks.items()]
        return predictions if None not in item.tracks else predictions[0]

    def _wordless(self, item: Item) -> InputError:
        nobody = item.text is None and self.model.transcriber is None
        got = "none, as no Whisper listens (whisper=None)" if nobody else "none: no words were recognised"
        got = "; ".join(dict.fromkeys(note for track in item.tracks.values() for note in track.notes)) or got
        remedy = (
            "give text=..., or modalities='auto'"
            if item.audio is not None
            else "give words that it reads, or a recording too"
        )
        return InputError(
            "input",
            expected=f"words that the text branch reads, for modalities={self.modalities!r}",
            got=got,
            remedy=remedy,
        )

    def _prediction(self, item: Item, channel: int | None, track: Track) -> EmotionPrediction:
        """Put the windows of one channel together."""
        assert track.probabilities is not None
        values = track.probabilities / track.weight
        native = {label: float(value) for label, value in zip(self.model.labels, values / values.sum(), strict=True)}
        probabilities = merge_probabilities(native, self.label_set)
        label = max(probabilities, key=lambda name: probabilities[name])
        threshold = self.model.config.conformal.get("both" if len(track.used) == 2 else next(iter(track.used)))
        if "audio" in track.used and not track.voiced:
            track.notes["nobody was heard to speak: the audio says nothing of an emotion"] = None
        parts = sorted(track.transcripts, key=lambda part: part[0])
        transcript = None if not parts else parts[0][1] if item.text is not None else Transcript.joined(parts)
        return EmotionPrediction(
            label=label,
            confidence=probabilities[label],
            probabilities=probabilities,
            transcript=transcript,
            modalities=tuple(name for name in ("audio", "text") if name in track.used),
            label_set=self.label_set,
            duration=track.duration or None,
            windows=track.windows,
            channel=channel,
            source=item.source,
            notes=tuple(track.notes),
            abstained=self.abstain_below is not None and probabilities[label] < self.abstain_below,
            conformal_labels=conformal_labels(probabilities, threshold, self.label_set),
        )


def _scores(model: MultimodalEmotionClassifier, rows: list[tuple], speaker_mean: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and logits (B, C) of windows."""
    logits = run_model(model, rows, speaker_mean).logits.float()
    return logits.softmax(-1).cpu().numpy(), logits.cpu().numpy()


def run_model(model: MultimodalEmotionClassifier, rows: list[tuple], speaker_mean: Any = None) -> Any:
    """What the model gives for windows, each a waveform, its words and the turns before it, or None; in evaluation mode."""
    import torch

    audio, text, context = (list(values) for values in zip(*rows, strict=True))
    inputs = model.processor(audio=audio, text=text, context=context, sampling_rate=SAMPLING_RATE).to(model.device)
    inputs = {name: value.to(model.dtype) if value.is_floating_point() else value for name, value in inputs.items()}
    if speaker_mean is not None and any(waveform is not None for waveform in audio):
        inputs["speaker_mean"] = torch.as_tensor(speaker_mean).to(model.device, model.dtype).expand(len(rows), -1, -1)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return model(**inputs)
    finally:
        model.train(training)


class _LogitRun(_Run):
    def outcome(self, item: Item) -> Any:
        """Tell also what the prediction was made of."""
        prediction = super().outcome(item)
        if isinstance(prediction, InputError):
            return prediction
        [track] = item.tracks.values()
        return (
            prediction,
            np.stack([logits for _, logits in track.logits]),
            np.array([weight for weight, _ in track.logits]),
        )


def predict_logits(
    model: MultimodalEmotionClassifier,
    items: Iterable[Any],
    *,
    modalities: Modalities = "auto",
    language: str | None = None,
    batch_size: int = 8,
) -> Iterator[tuple[EmotionPrediction, np.ndarray, np.ndarray] | InputError]:
    """Predict as `predict_iter` does, and tell what each prediction is made of: what calibration is fitted on.

    Yields:
        For each input the prediction, the logits (W, C) of its W windows, and the weights (W,) of their probabilities; or its error.
    """
    run = _LogitRun(model, None, modalities, language, "native", "mix", None, False, batch_size, MAX_DURATION, "skip")
    return run.outcomes(items, alone=False)
