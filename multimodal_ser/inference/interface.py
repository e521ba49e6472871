"""The methods of a classifier, `predict` and its siblings, which are the same in PyTorch and in onnxruntime."""

from __future__ import annotations

import inspect
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from multimodal_ser.errors import InputError
from multimodal_ser.inference.engine import Engine, PredictOptions, by_item
from multimodal_ser.inference.inputs import column, is_missing
from multimodal_ser.inference.speakers import SpeakerProfile

Function = TypeVar("Function", bound=Callable[..., Any])

BUILDING = threading.Lock()
"""Lock while a transcriber is made, so that threads share one."""

EMBEDDING_OPTIONS = ("sampling_rate", "modalities", "language", "batch_size", "max_duration", "on_error")
ENROLLMENT_OPTIONS = ("sampling_rate", "batch_size", "max_duration")


def with_options(*names: str) -> Callable[[Function], Function]:
    """Give a function that takes `**options` the signature and the descriptions of fields of `PredictOptions`.

    Args:
        names: of the fields; none: all.
    """
    described = _descriptions(PredictOptions.__doc__ or "")
    chosen = [each for each in fields(PredictOptions) if not names or each.name in names]

    def decorated(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        taken = {each.name for each in own}
        added = [
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
            for each in chosen
            if each.name not in taken
        ]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        lines = "".join(described.get(each.name, "") for each in added).rstrip()
        function.__doc__ = (function.__doc__ or "").replace("            **options: see `PredictOptions`.", lines)
        return function

    return decorated


def _descriptions(docstring: str) -> dict[str, str]:
    """The lines that describe each argument in a docstring, indented as in a method's."""
    section = docstring.partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^ {8}(\w+): (.*\n(?: {12}.*\n)*)", section + "\n", re.MULTILINE)
    return {name: f"            {name}: " + text.replace("\n" + 12 * " ", "\n" + 16 * " ") for name, text in entries}


class EmotionInference:
    """The methods that every classifier has; a class that fulfils `engine.EmotionModel` inherits them.

    Example:
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> classifier = tiny_model()
        >>> classifier.predict(synthetic_speech(1.0), sampling_rate=16000, text="hello").modalities
        ('audio', 'text')
    """

    _whisper: Any = "auto"
    _transcriber: Any = None

    @property
    def transcriber(self) -> Any:
        """What writes transcripts, made when first used; None where it was turned off.

        May be set: a name, a path, a `WhisperTranscriber` or something else with its `transcribe`, None.
        """
        with BUILDING:
            if self._transcriber is None and self._whisper is not None:
                named = isinstance(self._whisper, str | Path)
                self._transcriber = self._transcriber_of(self._whisper) if named else self._whisper
            return self._transcriber

    @transcriber.setter
    def transcriber(self, whisper: Any) -> None:
        self._whisper, self._transcriber = whisper, None

    @property
    def _whisper_options(self) -> dict[str, Any]:
        """How a Whisper is loaded that is only named."""
        return {}

    def _transcriber_of(self, whisper: str | Path) -> Any:
        """The transcriber of a name, "auto" or a path."""
        from multimodal_ser.transcription import WhisperTranscriber

        return WhisperTranscriber(None if whisper == "auto" else whisper, **self._whisper_options)

    @with_options()
    def predict(self, audio: Any = None, text: Any = None, *, context: Any = None, **options: Any) -> Any:
        """Predict the emotion of one input or of a list: a list, a tuple, an array of strings, a table's column.

        Args:
            audio: a path, a binary file object, bytes, an array or tensor (with `sampling_rate`), a Hugging Face audio dict; or
                a list of them.
            text: the words of the recording, or a list; then Whisper is not run. None, "" and NaN mean that none are given.
            context: the turns before this one, oldest first, or the one turn; of a list of inputs a list of them.
            **options: see `PredictOptions`.

        Returns:
            An `EmotionPrediction`; for a list, a list in the same order. With `channels="split"`, a list of channels in place
            of each. With `on_error="skip"`, an input that failed has its error (an `InputError`) in its place.

        Raises:
            InputError: an input is no audio, or an option is wrong; with `on_error="skip"` only the latter.
            TypeError: an option that does not exist.
        """
        from multimodal_ser.inference.prediction import predictions

        settings = PredictOptions.of("predict", options)
        recordings = column(audio)
        inputs = column(text) if is_missing(audio) else recordings
        if inputs is None:
            [only] = predictions(self, [{"audio": audio, "text": text, "context": context}], settings, total=1)  # type: ignore[arg-type]
            return only
        columns: dict[str, Any] = {"audio": recordings, "text": None, "context": None}
        for name, values in (("text", text), ("context", context)):
            if is_missing(values):
                continue
            listed = np.atleast_1d(values).tolist() if isinstance(values, np.ndarray) else column(values)
            if listed is None or len(listed) != len(inputs):
                got = f"one {type(values).__name__}" if listed is None else f"{len(listed)}"
                expected, remedy = f"a list of {len(inputs)}, one an input", "use None for an input that has none"
                raise InputError(name, expected=expected, got=got, remedy=remedy)
            columns[name] = listed
        rows = ({name: values and values[at] for name, values in columns.items()} for at in range(len(inputs)))
        return list(predictions(self, rows, settings, total=len(inputs)))  # type: ignore[arg-type]

    @with_options()
    def predict_iter(self, items: Iterable[Any], *, total: int | None = None, **options: Any) -> Iterator[Any]:
        """Predict many inputs one after the other, at flat memory.

        Options are checked at once, inputs as they come.

        Args:
            items: recordings, or dicts with "audio", "text" and "context" (each may be missing); any iterable, also one
                without end.
            total: number of items, for the progress bar.
            **options: see `PredictOptions`.

        Yields:
            An `EmotionPrediction` an input, in order (see `predict`).

        Raises:
            InputError: see `predict`.
        """
        from multimodal_ser.inference.prediction import predictions

        settings = PredictOptions.of("predict_iter", options)
        checked = _iterable("predict_iter", "an iterable of inputs", items, "give [recording], or call predict")
        return predictions(self, checked, settings, total=total)  # type: ignore[arg-type]

    @with_options(*EMBEDDING_OPTIONS)
    def embed(self, items: Iterable[Any], **options: Any) -> Iterator[np.ndarray | InputError]:
        """Embed many inputs one after the other, at flat memory: each becomes the vector that the emotion head sees.

        Of a recording longer than 30 s the vectors of its windows are averaged by speech time.

        Args:
            items: recordings, or dicts with "audio", "text" and "context" (each may be missing).
            **options: see `PredictOptions`.

        Yields:
            (D,) float32 for each input, with `combination="concatenated"` (4 D,); or its error.

        Raises:
            InputError: an input is no audio, or an option is wrong; with `on_error="skip"` only the latter.
        """
        from multimodal_ser.inference.embeddings import vectors

        settings = PredictOptions.of("embed", options, EMBEDDING_OPTIONS)
        return vectors(self, _iterable("embed", "an iterable of inputs", items, "give [recording]"), settings)  # type: ignore[arg-type]

    @with_options(*ENROLLMENT_OPTIONS)
    def enroll(self, audio: Iterable[Any], **options: Any) -> SpeakerProfile:
        """Get to know a speaker from a few unlabelled recordings, best from about eight in different moods.

        Args:
            audio: recordings, each in any form that `load_audio` takes.
            **options: see `PredictOptions`.

        Returns:
            What `predict(..., speaker=profile)` takes.

        Raises:
            InputError: no recording, or one that is no audio.
        """
        settings = PredictOptions.of("enroll", options | {"modalities": "audio"}, (*ENROLLMENT_OPTIONS, "modalities"))
        recordings = _iterable("enroll", "a list of recordings of one speaker", audio, "give [recording]")
        engine: Any = Engine(self, settings, transcriber=None)  # type: ignore[arg-type]
        means = []
        for outputs in by_item(engine.run(recordings)):
            if outputs.error is not None:
                raise outputs.error
            means += [window.audio_mean for window in outputs.windows if window.audio_mean is not None]
        if not means:
            expected, remedy = "at least one recording", "eight of different moods are a good start"
            raise InputError("enroll", expected=expected, got="none", remedy=remedy)
        return SpeakerProfile.of(np.mean(means, axis=0), len(means), engine.model)


def _iterable(what: str, expected: str, value: Any, remedy: str) -> Iterable[Any]:
    if isinstance(value, str | bytes | os.PathLike | Mapping) or not isinstance(value, Iterable):
        raise InputError(what, expected=expected, got=type(value).__name__, remedy=remedy)
    return value
