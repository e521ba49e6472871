"""Provides `WhisperTranscriber`, which turns recordings into transcripts with any of three Whisper libraries."""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE, load_audio
from multimodal_ser.audio.segmentation import Windower
from multimodal_ser.errors import InputError, did_you_mean
from multimodal_ser.transcription.backends import BACKENDS, Recognition, WhisperBackend
from multimodal_ser.transcription.cache import TranscriptCache
from multimodal_ser.transcription.gate import speech_duration
from multimodal_ser.transcription.transcript import Transcript
from multimodal_ser.transcription.weights import (
    WhisperNotFoundError,
    WhisperWeights,
    find_whisper,
    first_line,
    requested_weights,
)

NO_SPEECH_THRESHOLD = 0.6
LOG_PROBABILITY_THRESHOLD = -1.0
"""Thresholds of whisper.transcribe: a text is dropped if both are passed, because there is no speech then."""

COMPRESSION_RATIO_THRESHOLD = 2.4
"""Threshold of whisper.transcribe: a text that compresses better than this repeats itself, and is dropped."""


class WhisperTranscriber:
    """Transcribes recordings with Whisper. The weights are found (see `find_whisper`) and loaded on first use.

    Decoding is greedy, so that the same recording always gives the same words. Recordings longer than 30 s are cut at
    quiet places.

    Args:
        model: a name ("base", "small.en", ...), a Hub id, a file or a folder; None: base, from any place.
        backend: "faster-whisper", "openai-whisper" or "transformers"; None: the backend that fits the weights.
        device: "cpu", "cuda", "cuda:1", ...; None: the CPU.
        compute_type: "int8", "float16", "float32", ... as the backend names it; None: the best one for the device.
        gate: whether a voice activity detector checks recordings first; those without speech do not reach Whisper.
        cache_dir: a folder in which transcripts are stored; None: they are not stored.

    Raises:
        InputError: the name or backend is unknown, the path holds no Whisper, or `cache_dir` cannot be created.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser import WhisperTranscriber
        >>> WhisperTranscriber().transcribe(np.zeros(16000, np.float32), sampling_rate=16000).text  # silence is not transcribed
        ''
    """

    def __init__(
        self,
        model: str | os.PathLike | None = None,
        *,
        backend: str | None = None,
        device: Any = None,
        compute_type: str | None = None,
        gate: bool = True,
        cache_dir: str | os.PathLike | None = None,
    ):
        requested_weights(model, backend)  # a wrong name is an error now, before any work is done
        self.model = model
        self.compute_type = compute_type
        self.gate = gate
        self.cache = None if cache_dir is None else TranscriptCache(cache_dir)
        self._requested_backend = backend
        self._device = str(device or "cpu")
        self._weights: WhisperWeights | None = None
        self._missing: WhisperNotFoundError | None = None
        self._backend: WhisperBackend | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickle and copy: the place of the weights, without the loaded weights."""
        return self.__dict__ | {"_backend": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse of `__getstate__`; Whisper is loaded again on the next use."""
        self.__dict__ |= state | {"_lock": threading.Lock()}

    def __repr__(self) -> str:
        weights = self._weights
        model = (
            f"{weights.name!r}, backend={weights.backend!r}"
            if weights
            else f"{'base' if self.model is None else os.fspath(self.model)!r}, not loaded"
        )
        return f"WhisperTranscriber({model}, device={self._device!r})"

    @property
    def device(self) -> str:
        """The device on which Whisper runs."""
        return self._device

    @property
    def weights(self) -> WhisperWeights:
        """The weights of the model.

        Raises:
            WhisperNotFoundError: there are no weights.
        """
        if self._missing is not None:  # the search is done only once, because it may need the Hub
            raise self._missing
        if self._weights is None:
            try:
                self._weights = find_whisper(self.model, self._requested_backend)
            except WhisperNotFoundError as error:
                self._missing = error
                raise
        return self._weights

    @property
    def name(self) -> str:
        """The name of the model: "base", ..."""
        return self.weights.name

    @property
    def backend_name(self) -> str:
        """The library that runs Whisper."""
        return self.weights.backend

    def to(self, device: Any) -> WhisperTranscriber:
        """Move to another device; Whisper is loaded there on the next use."""
        if str(device) != self._device:
            self._device = str(device)
            self._backend = None
        return self

    def load(self) -> WhisperTranscriber:
        """Find and load the weights now.

        Raises:
            WhisperNotFoundError: there are no weights.
            InputError: the weights cannot be loaded, or not on this device.
        """
        with self._lock:
            if self._backend is None:
                weights = self.weights
                device = _device(self._device, weights.backend)
                try:
                    self._backend = BACKENDS[weights.backend](weights, device, self.compute_type)
                except Exception as error:  # each library has its own errors
                    raise InputError(
                        f"whisper {weights.name}",
                        expected=f"weights that {weights.backend} can load on the device {self._device!r}",
                        got=f"{weights.path} ({first_line(error)})",
                        remedy="check the device and the weights (multimodal-ser doctor)",
                    ) from error
        return self

    def transcribe(
        self,
        audio: Any,
        *,
        sampling_rate: int | None = None,
        language: str | None = None,
        word_timestamps: bool = False,
        speech_intervals: Sequence[Sequence[tuple[float, float]]] | None = None,
    ) -> Transcript | list[Transcript]:
        """Transcribe recordings.

        Args:
            audio: a recording in any form that `load_audio` takes, or a list of them.
            sampling_rate: sampling rate of arrays, Hz.
            language: code or name ("de", "german"); None: the language is detected.
            word_timestamps: whether the times of words are computed.
            speech_intervals: the starts and ends of speech in s for each recording of a list, if they are known; None:
                the gate detects them.

        Returns:
            A `Transcript`, or for a list a list in the same order. Without speech its text is "".

        Raises:
            AudioError: a recording cannot be used.
            InputError: the language is unknown, an English-only model gets another language, or the weights cannot be
                loaded.
            WhisperNotFoundError: there are no weights.
        """
        if isinstance(audio, list | tuple):
            return self._transcribe(audio, sampling_rate, language, word_timestamps, speech_intervals)
        return self._transcribe([audio], sampling_rate, language, word_timestamps, speech_intervals)[0]

    def _transcribe(
        self,
        recordings: Sequence[Any],
        sampling_rate: int | None,
        language: str | None,
        word_timestamps: bool,
        speech_intervals: Sequence[Sequence[tuple[float, float]]] | None,
    ) -> list[Transcript]:
        code = self._checked_language(language)
        results: list[list[tuple[float, Transcript]]] = []
        pending: list[tuple[int, int, np.ndarray, float | None, str | None]] = []
        for number, recording in enumerate(recordings):
            waveform = load_audio(recording, sampling_rate)
            windower = Windower()
            parts = [*windower.push(waveform), *windower.finish()]
            results.append([])
            for start, window in parts:
                voice = None
                if self.gate and speech_intervals is not None:
                    voice = _seconds(speech_intervals[number], start, start + len(window) / SAMPLING_RATE)
                elif self.gate:
                    voice = speech_duration(window)
                empty = Transcript("", speech_duration=voice, words=() if word_timestamps else None)
                key: str | None = None
                stored: Transcript | None = None
                if voice != 0.0:
                    key, stored = self._look_up(window, code, word_timestamps)
                    if stored is None:
                        pending.append((number, len(results[number]), window, voice, key))
                results[number].append((start, stored or empty))
        if pending:
            self.load()
            assert self._backend is not None
            self._checked_language(language)
            with self._lock:  # openai-whisper changes the model during a call
                recognitions = self._backend.transcribe(
                    [window for _, _, window, _, _ in pending], code, word_timestamps
                )
            for (number, position, window, voice, key), result in zip(pending, recognitions, strict=True):
                transcript = self._checked(result, len(window) / SAMPLING_RATE, voice)
                results[number][position] = (results[number][position][0], transcript)
                if self.cache is not None and key is not None:
                    self.cache.put(key, transcript)
        return [Transcript.joined(parts) for parts in results]

    def _checked_language(self, language: str | None) -> str | None:
        """The code of a language; an error if Whisper, or the loaded model, does not know it."""
        code = language_code(language)
        if code not in (None, "en") and self._backend is not None and not self._backend.multilingual:
            raise InputError(
                "language",
                expected="'en': this Whisper knows English alone",
                got=repr(code),
                remedy="use a multilingual one, such as 'base'",
            )
        return code

    def _look_up(
        self, window: np.ndarray, code: str | None, word_timestamps: bool
    ) -> tuple[str | None, Transcript | None]:
        if self.cache is None:
            return None, None
        weights = self.weights
        key = self.cache.key(
            window, weights.name, weights.format, weights.path, self.compute_type, self.gate, code, word_timestamps
        )
        return key, self.cache.get(key)

    def _checked(self, recognition: Recognition, duration: float, voice: float | None) -> Transcript:
        """The transcript of a window; invented texts are dropped: words without speech, and repetitions."""
        no_speech = recognition.no_speech_probability or 0.0
        average = recognition.average_log_probability or 0.0
        invented = no_speech > NO_SPEECH_THRESHOLD and average < LOG_PROBABILITY_THRESHOLD
        invented = (
            invented
            or recognition.compression_ratio > COMPRESSION_RATIO_THRESHOLD
            or not any(character.isalnum() for character in recognition.text)
        )
        words = recognition.words
        if words is not None:
            words = (
                ()
                if invented
                else tuple(
                    type(w)(w.text, min(w.start, duration), min(w.end, duration), w.probability)
                    for w in words
                    if w.text
                )
            )
        return Transcript(
            text="" if invented else recognition.text,
            language=None if invented else recognition.language,
            language_probability=None if invented else recognition.language_probability,
            words=words,
            average_log_probability=recognition.average_log_probability,
            no_speech_probability=recognition.no_speech_probability,
            speech_duration=voice,
            model=self.name,
            backend=self.backend_name,
        )


def _seconds(intervals: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """The total length of the intervals between `start` and `end`, s."""
    return sum(max(0.0, min(last, end) - max(first, start)) for first, last in intervals)


def _device(device: str, backend: str) -> str:
    """The device of a backend: faster-whisper and openai-whisper use the CPU if the device is neither CPU nor CUDA."""
    if re.fullmatch(r"(cpu|cuda)(:\d+)?", device):
        return device
    import torch

    try:
        torch.device(device)
    except RuntimeError as error:
        raise InputError(
            "device", expected='"cpu", "cuda", "cuda:1", ...', got=repr(device), remedy="leave it out for the CPU"
        ) from error
    return device if backend == "transformers" else "cpu"


def language_code(language: str | None) -> str | None:
    """The ISO 639-1 code of a language, from its code or English name.

    Raises:
        InputError: Whisper does not know the language.
    """
    if language is None:
        return None
    name = language.strip().lower()
    try:
        from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE
    except ImportError:  # without transformers only codes are known; without any Whisper they are not checked
        if importlib.util.find_spec("faster_whisper") is None:
            return name
        from faster_whisper.tokenizer import _LANGUAGE_CODES

        LANGUAGES = dict.fromkeys(_LANGUAGE_CODES)  # noqa: N806
        TO_LANGUAGE_CODE = {}  # noqa: N806
    code = name if name in LANGUAGES else TO_LANGUAGE_CODE.get(name)
    if code is None:
        remedy = did_you_mean(name, [*LANGUAGES, *TO_LANGUAGE_CODE], "leave it out, and it is detected")
        raise InputError(
            "language",
            expected="a language that Whisper knows, such as 'de' or 'german'",
            got=repr(language),
            remedy=remedy,
        )
    return code
