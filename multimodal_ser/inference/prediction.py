"""The class `EmotionPrediction`, and functions that make one from the windows of an input, or one for each channel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multimodal_ser._progress import with_bar
from multimodal_ser.errors import InputError
from multimodal_ser.inference.conformal import conformal_labels
from multimodal_ser.inference.engine import (
    OF_THE_MODEL,
    EmotionModel,
    Engine,
    ItemOutputs,
    PredictOptions,
    WindowOutput,
    by_item,
    weighted_mean,
)
from multimodal_ser.labels import merge_probabilities
from multimodal_ser.transcription import Transcript

UNCERTAIN = "uncertain"
"""Text that replaces the label of a prediction that abstains."""

NO_SPEECH = "nobody was heard to speak: the audio says nothing of an emotion"
"""The note of a prediction from a recording without speech."""


@dataclass(frozen=True)
class EmotionPrediction:
    """The prediction of a model for one input.

    Args:
        label: the most probable emotion.
        confidence: probability of that label, from 0 to 1.
        probabilities: probability of each label of the label set; they sum to 1.
        transcript: the words, from Whisper or from the input; None: there are no words.
        modalities: modalities that the prediction uses: ("audio", "text"), ("audio",) or ("text",).
        label_set: name of the label set.
        duration: duration of the recording, in s; None without a recording.
        windows: number of windows of the recording.
        channel: index of the channel of the recording, with `channels="split"`.
        source: path of the recording, if the input has one.
        notes: notes for the reader, such as that the text branch does not read the language of the words.
        abstained: whether the confidence is below `abstain_below`; the label is there all the same.
        conformal_labels: the prediction set: labels that contain the true one as often as the calibration demands, the
            most probable first; it is never empty. None: the model has no threshold for these modalities and this label
            set (`multimodal-ser calibrate`).
        dimensions: values of dimensions such as arousal, in the unit of the training data; None if the model has no
            dimensions.

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
    dimensions: dict[str, float] | None = None

    def __str__(self) -> str:
        """For people: "joy (0.83)", or "uncertain (joy 0.43)" where it abstains."""
        if self.abstained:
            return f"{UNCERTAIN} ({self.label} {self.confidence:.2f})"
        return f"{self.label} ({self.confidence:.2f})"

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON; "dimensions" only of a model that has them."""
        return {
            "source": self.source,
            "channel": self.channel,
            "label": self.label,
            "confidence": self.confidence,
            "abstained": self.abstained,
            "conformal_labels": None if self.conformal_labels is None else list(self.conformal_labels),
            "probabilities": dict(self.probabilities),
            **({} if self.dimensions is None else {"dimensions": dict(self.dimensions)}),
            "label_set": self.label_set,
            "modalities": list(self.modalities),
            "duration": self.duration,
            "windows": self.windows,
            "transcript": None if self.transcript is None else self.transcript.to_dict(),
            "notes": list(self.notes),
        }


def predictions(
    model: EmotionModel,
    inputs: Iterable[Any],
    options: PredictOptions,
    *,
    transcriber: Any = OF_THE_MODEL,
    total: int | None = None,
) -> Iterator[Any]:
    """Predict inputs one after the other, at flat memory; options are checked at once.

    Args:
        model: the model.
        inputs: as for `Engine.run`.
        options: of the run.
        transcriber: writes the transcripts in place of the model's own; None: nobody listens.
        total: number of inputs, for the progress bar; of a single one errors do not tell its place.

    Returns:
        An iterator over what `EmotionInference.predict_iter` gives.

    Raises:
        InputError: see `Engine`; with `on_error="raise"` also what is wrong with an input, after the predictions before it.
    """
    engine = Engine(model, options, transcriber=transcriber)

    def outcomes() -> Iterator[Any]:
        for outputs in by_item(engine.run(inputs, alone=total == 1)):
            outcome = of_item(outputs, engine)
            if isinstance(outcome, InputError) and options.on_error == "raise":
                raise outcome
            yield outcome

    if not options.progress:
        return outcomes()
    return with_bar(outcomes(), "predict", shown=True, total=total, unit="input")


def of_item(outputs: ItemOutputs, engine: Engine) -> EmotionPrediction | list[EmotionPrediction] | InputError:
    """The outcome of an input: a prediction, a list of predictions with `channels="split"`, or an error."""
    if outputs.error is not None:
        return outputs.error
    channels = outputs.by_channel
    if any(all(window.logits is None for window in windows) for windows in channels.values()):
        return outputs.item.named(_without_words(outputs, engine))
    results = [_of_channel(windows, engine) for windows in channels.values()]
    return results[0] if None in channels else results


def probabilities(windows: Sequence[WindowOutput]) -> np.ndarray:
    """The weighted mean (C,) of the windows' probabilities; windows without logits do not count."""
    mean = weighted_mean(windows, [softmax(window.logits) for window in windows if window.logits is not None])
    return mean / mean.sum()


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits (C,) -> probabilities (C,), float64."""
    exponents = np.exp(logits.astype(np.float64) - logits.max())
    return exponents / exponents.sum()


def _of_channel(windows: list[WindowOutput], engine: Engine) -> EmotionPrediction:
    model, options, item = engine.model, engine.options, windows[0].item
    judged = [window for window in windows if window.logits is not None]
    native = dict(zip(model.labels, probabilities(judged).tolist(), strict=True))
    merged = merge_probabilities(native, options.label_set)
    label = max(merged, key=lambda name: merged[name])
    used = {name for window in judged for name in window.modalities}
    threshold = model.config.conformal.get("both" if len(used) == 2 else next(iter(used)))
    notes = dict.fromkeys(note for window in windows for note in window.notes)
    if "audio" in used and not any("audio" in each.modalities and each.speech_seconds != 0 for each in judged):
        notes[NO_SPEECH] = None
    parts = [(window.start, window.transcript) for window in judged if window.transcript is not None]
    transcript = None if not parts else parts[0][1] if item.text is not None else Transcript.joined(parts)
    dimensions = None
    if judged[0].dimensions is not None:
        values = weighted_mean(judged, [window.dimensions for window in judged if window.dimensions is not None])
        dimensions = dict(zip(model.config.dimensions, values.tolist(), strict=True))
    return EmotionPrediction(
        label=label,
        confidence=merged[label],
        probabilities=merged,
        transcript=transcript,
        modalities=tuple(name for name in ("audio", "text") if name in used),
        label_set=options.label_set,
        duration=windows[-1].end or None,
        windows=len(windows),
        channel=windows[0].channel,
        source=item.source,
        notes=tuple(notes),
        abstained=options.abstain_below is not None and merged[label] < options.abstain_below,
        conformal_labels=conformal_labels(merged, threshold, options.label_set),
        dimensions=dimensions,
    )


def _without_words(outputs: ItemOutputs, engine: Engine) -> InputError:
    item = outputs.item
    nobody = item.text is None and engine.transcriber is None
    got = "none, as no Whisper listens (whisper=None)" if nobody else "none: no words were recognised"
    got = "; ".join(dict.fromkeys(note for window in outputs.windows for note in window.notes)) or got
    remedy = "give words that it reads, or a recording too"
    if item.audio is not None:
        remedy = "give text=..., or modalities='auto'"
    expected = f"words that the text branch reads, for modalities={engine.modalities!r}"
    return InputError("input", expected=expected, got=got, remedy=remedy)
