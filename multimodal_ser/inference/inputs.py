"""Inputs of `predict` in all their forms: a recording, a text, or both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from multimodal_ser.audio import AudioInput, Channels, stream_audio
from multimodal_ser.audio.segmentation import Cutter
from multimodal_ser.errors import InputError

Modalities = Literal["auto", "both", "audio", "text"]


@dataclass(frozen=True, eq=False)
class Item:
    """One input.

    Args:
        index: its position among the inputs.
        place: what it is called where it has no name of its own: "input 3", or "input" where there is but one.
        audio: the recording, None without one.
        source: the recording's file name, where it has one.
        text: the words, where the caller gives them.
        context: the turns before it, oldest first.
        error: what is wrong with text or context.

    Example:
        >>> from multimodal_ser.inference.inputs import Item
        >>> item = Item.of({"audio": "call.wav", "text": "hello", "context": "good morning"}, 0)
        >>> item.source, item.text, item.context
        ('call.wav', 'hello', ['good morning'])
    """

    index: int
    place: str
    audio: Any = None
    source: str | None = None
    text: str | None = None
    context: list[str] | None = None
    error: InputError | None = None

    @classmethod
    def of(cls, value: Any, index: int, place: str | None = None) -> Item:
        """Take a recording, or a dict with "audio", "text" and "context" (each may be missing)."""
        audio, text, context = _parts(value)
        audio = None if is_missing(audio) else audio
        item = cls(index, place or f"input {index}", audio, _file_name(audio))
        try:
            return cls(index, item.place, audio, item.source, _words(text), _turns(context))
        except InputError as error:
            return cls(index, item.place, audio, item.source, error=item.named(error))

    def named(self, error: InputError) -> InputError:
        """The same error about this input, by the name of its file, or else by its place in the list."""
        if error.what == self.source or (self.place == "input" and self.source is None):
            return error
        name = self.source or self.place
        return error.named(name if error.what == "input" else f"{name} ({error.what})")

    def check(self, modalities: Modalities) -> None:
        """Refuse an input that lacks what these modalities need.

        Raises:
            InputError: neither audio nor text, or no recording where one is needed.
        """
        if self.audio is None and self.text is None:
            raise InputError(
                "input", expected="audio, text or both", got="neither", remedy="give a recording, or text=..."
            )
        if self.audio is None and modalities in ("audio", "both"):
            expected = f"a recording, for modalities={modalities!r}"
            raise InputError("audio", expected=expected, got="none", remedy="give one, or modalities='auto'")

    def windows(
        self,
        make_cutter: Callable[[], Cutter],
        *,
        sampling_rate: int | None,
        channels: Channels,
        max_duration: float,
    ) -> Iterator[tuple[int | None, float, np.ndarray, bool]]:
        """Read the recording block by block and cut each channel into windows.

        Args:
            make_cutter: makes a channel's cutter.
            sampling_rate: of an array, Hz.
            channels: "mix", or "split" for windows of each channel.
            max_duration: longest recording that is read, s.

        Yields:
            (channel, start in s, waveform (S,), whether it is the whole recording); the channel of a mix is None.

        Raises:
            AudioError: see `stream_audio`.
        """
        cutters: dict[int | None, Cutter] = {}
        for block in stream_audio(self.audio, sampling_rate, channels=channels, max_duration=max_duration):
            block = block if block.ndim == 2 else block[None]
            if not cutters:
                cutters = {channel: make_cutter() for channel in ([None] if channels == "mix" else range(len(block)))}
            for (channel, cutter), samples in zip(cutters.items(), block, strict=True):
                for start, waveform in cutter.push(samples):
                    yield channel, start, waveform, False
        for channel, cutter in cutters.items():
            last = list(cutter.finish())
            for start, waveform in last:
                yield channel, start, waveform, len(last) == 1 and start == 0.0


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
    if isinstance(values, Sequence) or hasattr(values, "to_list"):  # pandas, polars: by position, whatever their index
        return list(values)
    return None


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, or the content of an empty cell of a table (NaN, pandas.NA)."""
    is_nan = isinstance(value, float | np.floating) and bool(np.isnan(value))
    return value is None or is_nan or type(value).__name__ == "NAType"


def _parts(value: Any) -> tuple[Any, Any, Any]:
    """Audio, text and context. A row of a dataset often has a "path" beside its "audio" and "text": it is no audio dict."""
    if not isinstance(value, Mapping):
        return value, None, None
    if "raw" in value:  # transformers' own audio pipelines call it so
        value = {**value, "array": value["raw"]}
    if not {"audio", "text"} & set(value):
        return value, None, None
    audio, text, context = (value if {"array", "bytes", "path"} & set(value) else None), None, None
    if "audio" in value:
        audio, text, context = _parts(value["audio"])
    own_text, own_context = value.get("text"), value.get("context")
    return audio, text if _is_blank(own_text) else own_text, context if is_missing(own_context) else own_context


def _file_name(audio: AudioInput | None) -> str | None:
    if isinstance(audio, Mapping):
        audio = audio.get("path")
    if isinstance(audio, str | os.PathLike):
        return str(os.fsdecode(audio))
    name = getattr(audio, "name", None)
    return name if isinstance(name, str) else None


def _is_blank(text: Any) -> bool:
    return is_missing(text) or (isinstance(text, str) and not text.strip())


def _words(text: Any) -> str | None:
    if _is_blank(text):
        return None
    if not isinstance(text, str):
        raise InputError("text", expected="a string or None", got=type(text).__name__, remedy="convert it")
    return str(text)  # numpy.str_ is a string too


def _turns(context: Any) -> list[str] | None:
    if is_missing(context):
        return None
    turns = [context] if isinstance(context, str) else column(context)
    if turns is None or not all(isinstance(turn, str) or is_missing(turn) for turn in turns):
        got = type(context).__name__ if turns is None else "a list with something else in it"
        raise InputError("context", expected="a turn or a list of turns, each a string", got=got, remedy="convert it")
    return [str(turn) for turn in turns if not is_missing(turn)]
