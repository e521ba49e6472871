"""The engine, which runs a model on recordings and texts, window by window.

`predict`, `embed`, `enroll`, calibration, evaluation and the pipeline of transformers are built on `Engine.run`. The
engine does not change the model, so that threads may share one, and holds the waveforms of at most two batches.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from multimodal_ser.audio import MAX_DURATION, SAMPLING_RATE, Channels
from multimodal_ser.audio.segmentation import Cutter, Windower
from multimodal_ser.errors import InputError, did_you_mean
from multimodal_ser.inference.inputs import Item, Modalities
from multimodal_ser.inference.speakers import SpeakerProfile
from multimodal_ser.labels import label_map
from multimodal_ser.transcription import Transcript, WhisperNotFoundError, WhisperTranscriber
from multimodal_ser.transcription.gate import SILENCE, speech_segments
from multimodal_ser.transcription.transcriber import language_code

BATCHES_IN_MEMORY = 2
"""Batches whose windows are collected before the model runs, so that windows of similar length share a batch."""

NO_WHISPER = "no Whisper was found: the words were not heard"
"""The note of a window that had to go without words."""

NO_DETECTOR = "no speech detector is installed (faster-whisper): windows count by their length"
"""The note of a recording whose silences count as much as its speech."""

LEAST_WEIGHT = 1e-3
"""Weight, in s, of a window without speech, so that a recording of silence has an answer."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options of `predict` and its siblings: their defaults, ranges and checks.

    Args:
        sampling_rate: of arrays, Hz.
        modalities: "auto": all that is there (of a model that was trained on one modality: that one); "audio": no Whisper,
            no text; "text": the words alone; "both": an error where one is missing.
        language: of the speech ("de", "german"); None: Whisper detects it.
        label_set: "native" (the model's own labels), "ekman", ...
        channels: "mix", or "split": a prediction a channel.
        speaker: who speaks: a profile that `enroll` made, or its file.
        word_timestamps: whether the transcript has the times of its words.
        batch_size: windows that run through the model together.
        max_duration: longest recording that is taken, s.
        abstain_below: a prediction of less confidence than this abstains, 0..1 (see `calibration.confidence_threshold`).
        on_error: "raise" (the inputs before it have their predictions by then), or "skip": the error takes the input's place.
        progress: show a progress bar on stderr.

    Raises:
        InputError: a value out of its range, with the remedy.

    Example:
        >>> from multimodal_ser.inference.engine import PredictOptions
        >>> PredictOptions(language="German").language
        'de'
        >>> PredictOptions(batch_size=0)
        Traceback (most recent call last):
        multimodal_ser.errors.InputError: batch_size: expected a whole number from 1, got 0; 8 is a good start
    """

    sampling_rate: int | None = None
    modalities: Modalities = "auto"
    language: str | None = None
    label_set: str = "native"
    channels: Channels = "mix"
    speaker: SpeakerProfile | str | PathLike | None = None
    word_timestamps: bool = False
    batch_size: int = 8
    max_duration: float = MAX_DURATION
    abstain_below: float | None = None
    on_error: Literal["raise", "skip"] = "raise"
    progress: bool = False

    def __post_init__(self) -> None:
        """Refuse wrong options before any work is done."""
        self._one_of("modalities", "auto", "both", "audio", "text")
        self._one_of("channels", "mix", "split")
        self._one_of("on_error", "raise", "skip")
        self._positive("batch_size", Integral, "a whole number from 1", "8 is a good start")
        remedy = "leave it out for the usual limit, or give math.inf for none"
        self._positive("max_duration", Real, "a positive number of seconds", remedy)
        limit = self.abstain_below
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, Real) or not 0 <= float(limit) <= 1):
            remedy = "0.6 keeps what is more likely right than not; None keeps all"
            raise InputError("abstain_below", expected="a confidence from 0 to 1", got=repr(limit), remedy=remedy)
        if self.language is not None and not isinstance(self.language, str):
            expected, remedy = "a code or name, such as 'de' or 'german'", "leave it out, and it is detected"
            raise InputError("language", expected=expected, got=repr(self.language), remedy=remedy)
        object.__setattr__(self, "language", language_code(self.language))
        label_map([], self.label_set)
        if self.speaker is not None and not isinstance(self.speaker, SpeakerProfile | str | PathLike):
            expected, got = "a SpeakerProfile, or the file of one", type(self.speaker).__name__
            raise InputError("speaker", expected=expected, got=got, remedy="make one with classifier.enroll")

    def _one_of(self, name: str, *allowed: str) -> None:
        if getattr(self, name) not in allowed:
            got, remedy = repr(getattr(self, name)), "choose one of them"
            raise InputError(name, expected=f"one of {', '.join(allowed)}", got=got, remedy=remedy)

    def _positive(self, name: str, kind: type, expected: str, remedy: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, kind) or not float(value) > 0:  # type: ignore[arg-type]
            raise InputError(name, expected=expected, got=repr(value), remedy=remedy)

    @classmethod
    def of(cls, function: str, options: dict[str, Any], names: Sequence[str] = ()) -> PredictOptions:
        """The options of a call.

        Args:
            function: what was called.
            options: keyword arguments.
            names: those that the function takes; none: all.

        Raises:
            TypeError: an option that the function does not have.
            InputError: a value out of its range.
        """
        allowed = list(names) or [each.name for each in fields(cls)]
        for name in options:
            if name not in allowed:
                remedy = did_you_mean(name, allowed, f"it takes {', '.join(allowed)}")
                raise TypeError(f"{function}: unexpected option {name!r}; {remedy}")
        return cls(**options)


class WindowInput(NamedTuple):
    """The input of a model for one window.

    Args:
        waveform: (S,) float32 at 16 kHz; None: no audio.
        text: the words; None: no text.
        context: the turns of the dialogue before it, oldest first.
    """

    waveform: np.ndarray | None
    text: str | None
    context: list[str] | None


class WindowAnswers(NamedTuple):
    """The outputs of a model for B windows, each float32.

    Args:
        logits: (B, C), after the temperature.
        embeddings: (B, D).
        audio_mean: (B, layers + 1, Da), means of the audio branch's hidden states over frames of the clip, NaN in rows
            without audio; None if no row has audio.
        dimensions: (B, K); None: the model has no such head.
    """

    logits: np.ndarray
    embeddings: np.ndarray
    audio_mean: np.ndarray | None
    dimensions: np.ndarray | None


class EmotionModel(Protocol):
    """The interface of a model for the engine; `MultimodalEmotionClassifier` and `OnnxEmotionClassifier` have it.

    `config` has the fields `trained_modalities`, `text_languages`, `temperature`, `conformal` and `dimensions` of
    `MultimodalEmotionConfig`; `framework` is the type of a speaker profile: a tensor ("pt") or an array ("np").
    """

    framework: Literal["pt", "np"]

    @property
    def labels(self) -> list[str]:
        """The names of the C classes, in the order of the logits."""
        ...

    @property
    def config(self) -> Any:
        """The configuration, of which the engine reads some fields."""
        ...

    @property
    def transcriber(self) -> Any:
        """The transcriber; None: there is none."""
        ...

    @property
    def encoder_fingerprint(self) -> str:
        """Fingerprint of the audio branch; a speaker profile fits the branch that made it."""
        ...

    def forward_windows(self, windows: Sequence[WindowInput], speaker_mean: Any = None) -> tuple[Any, ...]:
        """Answer B windows, in evaluation mode, whatever the mode of the model.

        Args:
            windows: B windows, each with audio, text or both.
            speaker_mean: (layers + 1, Da), the mean hidden states of the speaker; None: unknown.

        Returns:
            The fields of `WindowAnswers`, in their order.
        """
        ...


@dataclass(frozen=True, eq=False)
class WindowOutput:
    """The output of a model for one window of one input.

    Args:
        item: the input.
        start: start of the window in the recording, in s.
        end: end of the window in the recording, in s; equal to `start` for a text alone.
        logits: (C,), after the temperature; None: the window has no input to use (`modalities="text"` without words).
        embedding: (D,).
        audio_mean: (layers + 1, Da), mean of the audio branch's hidden states over frames of the clip; None without
            audio.
        dimensions: (K,); None: the model regresses none.
        speech_intervals: (start, end) of speech in the recording, in s; None: speech was not detected.
        speech_seconds: duration of speech in the window, in s; None: speech was not detected.
        transcript: the words, from Whisper or from the caller; None: there are no words.
        modalities: modalities that the answer uses: ("audio", "text"), ("audio",), ("text",), or () without an answer.
        speaker: the speaker profile that was used.
        channel: index of the channel of the recording; None: the mix, or a text alone.
        weight: weight of the window in its channel: seconds of speech, always above 0; 1 for a recording of one window.
        notes: notes for the reader.
    """

    item: Item
    start: float
    end: float
    logits: np.ndarray | None
    embedding: np.ndarray | None
    audio_mean: np.ndarray | None
    dimensions: np.ndarray | None
    speech_intervals: tuple[tuple[float, float], ...] | None
    speech_seconds: float | None
    transcript: Transcript | None
    modalities: tuple[str, ...]
    speaker: SpeakerProfile | None
    channel: int | None
    weight: float = 1.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ItemEnd:
    """The end of an input, after all of its windows.

    Args:
        item: the input.
        error: the error of the input, whose windows then do not count; None: there is none.
    """

    item: Item
    error: InputError | None = None


@dataclass(eq=False)
class _Window:
    """A window on its way through the engine."""

    item: Item
    channel: int | None
    start: float
    waveform: np.ndarray | None
    text: str | None
    only: bool  # whether it is the whole recording
    transcript: Transcript | None = None
    intervals: list[tuple[float, float]] | None = None  # s from the start of the window
    seconds: float | None = None
    notes: list[str] = field(default_factory=list)
    output: WindowOutput | None = None

    @property
    def duration(self) -> float:
        return 0.0 if self.waveform is None else len(self.waveform) / SAMPLING_RATE


OF_THE_MODEL: Any = object()
"""Stands for the model's own transcriber."""


class Engine:
    """Runs inputs through a model, window by window.

    Args:
        model: a model with the interface `EmotionModel`.
        options: options of the run.
        transcriber: transcriber that replaces the model's own; None: there are no transcripts.
        make_cutter: function that makes the cutter of a channel, which cuts it into windows.

    Raises:
        InputError: options that do not fit the model: a label set that its labels cannot be mapped to, another audio
            branch's speaker.

    Example:
        >>> from multimodal_ser.inference.engine import Engine, PredictOptions
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> engine = Engine(tiny_model(), PredictOptions(sampling_rate=16000))
        >>> window, end = engine.run([synthetic_speech(2.0)])
        >>> window.start, window.end, window.logits.shape, window.modalities, end.error
        (0.0, 2.0, (3,), ('audio',), None)
    """

    def __init__(
        self,
        model: EmotionModel,
        options: PredictOptions,
        *,
        transcriber: Any = OF_THE_MODEL,
        make_cutter: Callable[[], Cutter] = Windower,
    ) -> None:
        self.model, self.options, self.make_cutter = model, options, make_cutter
        label_map(model.labels, options.label_set)
        trained = model.config.trained_modalities
        only = trained[0] if trained is not None and len(trained) == 1 else None
        self.modalities = only if only and options.modalities == "auto" else options.modalities
        self.speaker = self._profile()
        self._transcriber = transcriber
        self._whisper_missing = False

    def _profile(self) -> SpeakerProfile | None:
        speaker = self.options.speaker
        if speaker is None:
            return None
        if not isinstance(speaker, SpeakerProfile):
            speaker = SpeakerProfile.load(speaker, framework=self.model.framework)
        if speaker.encoder != (fingerprint := self.model.encoder_fingerprint):
            expected = f"a profile that this audio branch made ({fingerprint})"
            got = f"one of another ({speaker.encoder})"
            raise InputError("speaker", expected=expected, got=got, remedy="enroll the speaker with this classifier")
        return speaker

    @property
    def transcriber(self) -> Any:
        """The transcriber of this run; None: there is none, or its weights are missing."""
        if self._whisper_missing:
            return None
        return self.model.transcriber if self._transcriber is OF_THE_MODEL else self._transcriber

    def run(self, inputs: Iterable[Any], *, alone: bool = False) -> Iterator[WindowOutput | ItemEnd]:
        """Answer inputs in their order, each as soon as all before it are done.

        Args:
            inputs: recordings, or dicts with "audio", "text" and "context"; also without end.
            alone: there is but one, which errors need not tell from others.

        Yields:
            The windows of an input in order (those of several channels in turn), then its `ItemEnd`, which also brings
            what is wrong with it; then the next input's. With `on_error="raise"` no input is read after one that fails.

        Raises:
            InputError: what is wrong with the transcriber, which is no fault of an input.
            Exception: what the iterable of inputs raises itself, after all before it are done.
        """
        queue: deque[_Window | ItemEnd] = deque()  # in the order of the inputs
        todo: list[_Window] = []  # those of the queue that have yet to be answered
        limit = BATCHES_IN_MEMORY * self.options.batch_size

        def finished() -> Iterator[WindowOutput | ItemEnd]:
            while queue:
                first = queue[0]
                outcome = first if isinstance(first, ItemEnd) else first.output
                if outcome is None:
                    return
                queue.popleft()
                yield outcome

        def flushed() -> Iterator[WindowOutput | ItemEnd]:
            self._answer(todo)
            todo.clear()
            yield from finished()

        source, index = iter(inputs), 0
        while True:
            try:
                value = next(source)
            except StopIteration:
                break
            except Exception:
                yield from flushed()
                raise
            item = Item.of(value, index, "input" if alone else None)
            index += 1
            end, windows = ItemEnd(item, item.error), self._windows(item)
            while item.error is None:
                try:
                    window = next(windows)
                except StopIteration:
                    break
                except InputError as error:
                    end = ItemEnd(item, item.named(error))
                    todo[:] = [window for window in todo if window.item is not item]
                    queue = deque(each for each in queue if each.item is not item)
                    break
                queue.append(window)
                todo.append(window)
                if len(todo) >= limit:
                    yield from flushed()
            queue.append(end)
            # a good input waits neither for a batch that bad ones never fill, nor is it lost to the error that is raised
            is_last = end.error is not None and self.options.on_error == "raise"
            if is_last or sum(isinstance(each, ItemEnd) for each in queue) >= limit:
                yield from flushed()
            else:
                yield from finished()
            if is_last:
                return
        yield from flushed()

    def _windows(self, item: Item) -> Iterator[_Window]:
        item.check(self.modalities)
        if item.audio is None or (self.modalities == "text" and item.text is not None):  # nobody has to listen
            yield _Window(item, None, 0.0, None, item.text, only=True)
            return
        text, options = None if self.modalities == "audio" else item.text, self.options
        windows = item.windows(
            self.make_cutter,
            sampling_rate=options.sampling_rate,
            channels=options.channels,
            max_duration=options.max_duration,
        )
        for channel, start, waveform, only in windows:
            yield _Window(item, channel, start, waveform, text, only)

    def _answer(self, windows: list[_Window]) -> None:
        """Listen, transcribe and run the model on a handful of windows; each then has its output and no waveform."""
        if not windows:
            return
        self._transcribe(windows)
        self._find_speech(windows)
        ready: list[tuple[_Window, bool, bool]] = []
        for window in windows:
            use_text = self._is_readable(window)
            use_audio = window.waveform is not None and self.modalities != "text"
            if (use_text or use_audio) and (use_text or self.modalities not in ("text", "both")):
                ready.append((window, use_audio, use_text))
            else:
                window.output = self._output(window, (), None, 0)
        ready.sort(key=lambda entry: (entry[0].duration, len(entry[0].text or "")))
        mean = None if self.speaker is None else self.speaker.hidden_mean
        for at in range(0, len(ready), self.options.batch_size):
            batch = ready[at : at + self.options.batch_size]
            rows = [
                WindowInput(window.waveform if audio else None, window.text if text else None, window.item.context)
                for window, audio, text in batch
            ]
            answers = WindowAnswers(*self.model.forward_windows(rows, mean))
            for row, (window, audio, text) in enumerate(batch):
                used = tuple(name for name, is_used in (("audio", audio), ("text", text)) if is_used)
                window.output = self._output(window, used, answers, row)
        for window in windows:
            window.waveform = None

    def _transcribe(self, windows: list[_Window]) -> None:
        for window in windows:
            if window.text is not None:
                window.transcript = Transcript.given(window.text, language=self.options.language)
        wordless = [window for window in windows if window.text is None and window.waveform is not None]
        if self.modalities == "audio" or not wordless:
            return
        transcriber = self.transcriber
        if transcriber is not None:
            self._listen(transcriber, wordless)
        if self._whisper_missing:
            for window in wordless:
                window.notes.append(NO_WHISPER)

    def _listen(self, transcriber: Any, windows: list[_Window]) -> None:
        options: dict[str, Any] = {
            "sampling_rate": SAMPLING_RATE,
            "language": self.options.language,
            "word_timestamps": self.options.word_timestamps,
        }
        if isinstance(transcriber, WhisperTranscriber) and transcriber.gate:  # it need not look for speech again
            for window in windows:
                assert window.waveform is not None
                window.intervals = speech_segments(window.waveform)
            options["speech_intervals"] = [window.intervals for window in windows]
        try:
            transcripts = transcriber.transcribe([window.waveform for window in windows], **options)
        except WhisperNotFoundError as error:
            warnings.warn(f"{error}. Going on with audio alone.", UserWarning, stacklevel=2)
            self._whisper_missing = True
            return
        for window, transcript in zip(windows, transcripts, strict=True):
            window.transcript, window.text = transcript, transcript.text or None
            window.seconds = transcript.speech_duration

    def _find_speech(self, windows: list[_Window]) -> None:
        """Look for speech in windows that are weighed against others; digital silence needs no detector."""
        for window in windows:
            if window.waveform is None or window.seconds is not None:
                continue
            if window.intervals is None and float(np.abs(window.waveform).max()) <= SILENCE:
                window.intervals = []
            if window.intervals is None and not window.only:
                try:
                    window.intervals = speech_segments(window.waveform)
                except (
                    ImportError
                ):  # faster-whisper brings the detector; the classifier without torch can do without it
                    window.notes.append(NO_DETECTOR)
            if window.intervals is not None:
                window.seconds = sum(end - start for start, end in window.intervals)

    def _is_readable(self, window: _Window) -> bool:
        """Whether the window has words that the text branch reads; a note names words that it does not read."""
        if window.text is None:
            return False
        reads, language = self.model.config.text_languages, window.transcript.language if window.transcript else None
        if reads and language and language not in reads:
            note = f"the words are in {language!r}, the text branch reads {', '.join(reads)}: they were not used"
            window.notes.append(note)
            return False
        return True

    def _output(self, window: _Window, used: tuple[str, ...], answers: WindowAnswers | None, row: int) -> WindowOutput:
        weight = 1.0
        if window.waveform is not None and not window.only:
            weight = window.duration if window.seconds is None else max(window.seconds, LEAST_WEIGHT)
        intervals = window.intervals
        return WindowOutput(
            item=window.item,
            start=window.start,
            end=window.start + window.duration,
            logits=None if answers is None else answers.logits[row],
            embedding=None if answers is None else answers.embeddings[row],
            audio_mean=answers.audio_mean[row]
            if answers is not None and answers.audio_mean is not None and "audio" in used
            else None,
            dimensions=None if answers is None or answers.dimensions is None else answers.dimensions[row],
            speech_intervals=None
            if intervals is None
            else tuple((window.start + start, window.start + end) for start, end in intervals),
            speech_seconds=window.seconds,
            transcript=window.transcript,
            modalities=used,
            speaker=self.speaker,
            channel=window.channel,
            weight=weight,
            notes=tuple(window.notes),
        )


@dataclass(eq=False)
class ItemOutputs:
    """All windows of one input.

    Args:
        item: the input.
        windows: in order; without those of an input that failed.
        error: what is wrong with it.
    """

    item: Item
    windows: list[WindowOutput]
    error: InputError | None = None

    @property
    def by_channel(self) -> dict[int | None, list[WindowOutput]]:
        """The windows of each channel; the key None stands for the mix, or a text alone."""
        channels: dict[int | None, list[WindowOutput]] = {}
        for window in self.windows:
            channels.setdefault(window.channel, []).append(window)
        return channels


def by_item(outputs: Iterable[WindowOutput | ItemEnd]) -> Iterator[ItemOutputs]:
    """Put the windows of each input together.

    Example:
        >>> from multimodal_ser.inference.engine import Engine, PredictOptions, by_item
        >>> from multimodal_ser.testing import tiny_model
        >>> engine = Engine(tiny_model(), PredictOptions())
        >>> [len(each.windows) for each in by_item(engine.run([{"text": "hello"}, {"text": "so happy"}]))]
        [1, 1]
    """
    windows: list[WindowOutput] = []
    for output in outputs:
        if isinstance(output, WindowOutput):
            windows.append(output)
        else:
            yield ItemOutputs(output.item, windows if output.error is None else [], output.error)
            windows = []


def weighted_mean(windows: Sequence[WindowOutput], values: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the windows' values, each of one shape, by their weights."""
    if len(windows) == 1:
        return values[0]
    weights = [window.weight for window in windows]
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)  # type: ignore[return-value]
