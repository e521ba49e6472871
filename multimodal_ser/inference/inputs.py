"""Items: what `predict` is given, in whatever form; an item becomes rows, the windows that run through the model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE, AudioInput, Channels, stream_audio
from multimodal_ser.audio.segmentation import Windower
from multimodal_ser.errors import InputError
from multimodal_ser.transcription import Transcript

Modalities = Literal["auto", "both", "audio", "text"]


@dataclass(eq=False)
class Row:
    """One pass through the model: a window of a recording, a text, or both."""

    item: Item
    channel: int | None
    waveform: np.ndarray | None  # (S,)
    start: float  # s
    text: str | None
    transcript: Transcript | None = None

    @property
    def track(self) -> Track:
        """Where what comes out is added."""
        return self.item.tracks[self.channel]

    @property
    def duration(self) -> float:
        """Of the window, s; 0 without one."""
        return 0.0 if self.waveform is None else len(self.waveform) / SAMPLING_RATE


@dataclass
class Track:
    """What the windows of one channel add up to."""

    duration: float = 0.0  # s, of all windows
    windows: int = 0  # that the recording was cut into, whether or not all of them ran through the model
    probabilities: np.ndarray | None = None  # (C,), weighted sum
    weight: float = 0.0
    logits: list[tuple[float, np.ndarray]] = field(default_factory=list)  # weight and (C,) of each window
    transcripts: list[tuple[float, Transcript]] = field(default_factory=list)  # start in s
    used: set[str] = field(default_factory=set)
    voiced: bool = False  # whether anybody speaks, as far as that was looked at
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, probabilities: np.ndarray, logits: np.ndarray, weight: float) -> None:
        """Take in what a window came to: (C,) each, and how much it counts."""
        weighted = probabilities * weight
        self.probabilities = weighted if self.probabilities is None else self.probabilities + weighted
        self.weight += weight
        self.logits.append((weight, logits))


@dataclass(eq=False)
class Item:
    """One input on its way.

    Args:
        place: what it is called where it has no name of its own: "input 3", or "input" where there is but one.
        audio: the recording, None without one.
        source: its file name, where it has one.
        text: its words, where they were given.
        context: the turns before it.
        tracks: a track a channel; None is the mix, or a text alone.
        error: what was wrong with it.
        complete: whether it was read to its end.
    """

    place: str
    audio: Any
    source: str | None
    text: str | None = None
    context: list[str] | None = None
    tracks: dict[int | None, Track] = field(default_factory=dict)
    error: InputError | None = None
    complete: bool = False

    @classmethod
    def of(cls, given: Any, place: str) -> Item:
        """Take a recording, or a dict with "audio", "text" and "context" (each may be missing)."""
        audio, text, context = _unpacked(given)
        audio = None if missing(audio) else audio
        item = cls(place, audio, _file_name(audio))
        try:
            item.text, item.context = _words(text), _turns(context)
        except InputError as error:
            item.error = item.named(error)
        return item

    def named(self, error: InputError) -> InputError:
        """The same error, which then tells what it is about: the file, or else the place in the list."""
        if error.what == self.source or (self.place == "input" and self.source is None):
            return error
        name = self.source or self.place
        return error.named(name if error.what == "input" else f"{name} ({error.what})")

    def rows(
        self, sampling_rate: int | None, modalities: Modalities, channels: Channels, max_duration: float
    ) -> Iterator[Row]:
        """Its rows, one after the other. An error ends them and is kept: what is wrong with other inputs is no concern of this one."""
        try:
            if self.error is None:
                for row in self._cut(sampling_rate, modalities, channels, max_duration):
                    row.track.windows += 1
                    row.track.duration += row.duration
                    yield row
        except InputError as error:
            self.error = self.named(error)
        self.complete = True

    def _cut(
        self, sampling_rate: int | None, modalities: Modalities, channels: Channels, max_duration: float
    ) -> Iterator[Row]:
        if self.audio is None and self.text is None:
            raise InputError(
                "input", expected="audio, text or both", got="neither", remedy="give a recording, or text=..."
            )
        if self.audio is None and modalities in ("audio", "both"):
            wanted = f"a recording, for modalities={modalities!r}"
            raise InputError("audio", expected=wanted, got="none", remedy="give one, or modalities='auto'")
        if self.audio is None or (
            modalities == "text" and self.text is not None
        ):  # the words are there: nobody has to listen
            self.tracks[None] = Track()
            yield Row(self, None, None, 0.0, self.text)
            return
        text = None if modalities == "audio" else self.text
        windowers: list[Windower] = []
        for block in stream_audio(self.audio, sampling_rate, channels=channels, max_duration=max_duration):
            block = block if block.ndim == 2 else block[None]
            if not windowers:
                windowers = [Windower() for _ in block]
                self.tracks = {channel: Track() for channel in ([None] if channels == "mix" else range(len(block)))}
            for channel, windower, samples in zip(self.tracks, windowers, block, strict=True):
                for start, waveform in windower.push(samples):
                    yield Row(self, channel, waveform, start, text)
        for channel, windower in zip(self.tracks, windowers, strict=True):
            for start, waveform in windower.finish():
                yield Row(self, channel, waveform, start, text)


def column(values: Any) -> list[Any] | None:
    """A list, in whatever form it comes: a list or tuple, a column of a table, an array of strings. None: `values` is one input.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.inference.inputs import column
        >>> column(np.array(["a.wav", "b.wav"], dtype=object)), column(np.zeros(16000)), column("a.wav")
        (['a.wav', 'b.wav'], None, None)
    """
    if isinstance(values, np.ndarray):
        return values.tolist() if values.ndim == 1 and values.dtype.kind in "OUT" else None
    if isinstance(values, str | bytes | bytearray | memoryview | Mapping):
        return None
    if isinstance(values, Sequence) or hasattr(
        values, "to_list"
    ):  # the latter: pandas, polars; by position, whatever their index says
        return list(values)
    return None


def missing(value: Any) -> bool:
    """Whether this says that nothing is given: None, or what an empty cell of a table holds (NaN, pandas.NA)."""
    return (
        value is None
        or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
        or type(value).__name__ == "NAType"
    )


def _unpacked(given: Any) -> tuple[Any, Any, Any]:
    """Audio, text and context. A row of a dataset often has a "path" beside its "audio" and "text": it is no audio dict."""
    if not isinstance(given, Mapping) or not {"audio", "text"} & set(given):
        return given, None, None
    audio, text, context = (given if {"array", "bytes", "path"} & set(given) else None), None, None
    if "audio" in given:
        audio, text, context = _unpacked(given["audio"])
    own_text, own_context = given.get("text"), given.get("context")
    return audio, text if _blank(own_text) else own_text, context if missing(own_context) else own_context


def _file_name(audio: AudioInput | None) -> str | None:
    if isinstance(audio, Mapping):
        audio = audio.get("path")
    if isinstance(audio, str | os.PathLike):
        return str(os.fsdecode(audio))
    name = getattr(audio, "name", None)
    return name if isinstance(name, str) else None


def _blank(text: Any) -> bool:
    return missing(text) or (isinstance(text, str) and not text.strip())


def _words(text: Any) -> str | None:
    if _blank(text):
        return None
    if not isinstance(text, str):
        raise InputError("text", expected="a string or None", got=type(text).__name__, remedy="convert it")
    return str(text)  # numpy.str_ is a string too


def _turns(context: Any) -> list[str] | None:
    if missing(context):
        return None
    turns = [context] if isinstance(context, str) else column(context)
    if turns is None or not all(isinstance(turn, str) or missing(turn) for turn in turns):
        got = type(context).__name__ if turns is None else "a list with something else in it"
        raise InputError("context", expected="a turn or a list of turns, each a string", got=got, remedy="convert it")
    return [str(turn) for turn in turns if not missing(turn)]
