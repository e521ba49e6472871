"""Transcripts, typed: what was said, when, in which language, and how sure Whisper was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word and its time.

    Args:
        text: as Whisper writes it.
        start: s.
        end: s.
        probability: 0..1; None where the library does not say.
    """

    text: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording. An empty text means that no words were heard.

    Args:
        text: the words.
        language: ISO 639-1 code; None where nothing was said or nobody knows.
        language_probability: 0..1; None where the language was given.
        words: with their times, where they were asked for.
        average_log_probability: of the tokens; None where nobody listened.
        no_speech_probability: that there is no speech, as Whisper sees it, 0..1.
        speech_duration: s of speech that the gate found; None where the gate is off.
        model: which Whisper; None where the words were given.
        backend: which library ran it.

    Example:
        >>> from multimodal_ser.transcription import Transcript
        >>> Transcript.given("Hello!").to_dict()["text"]
        'Hello!'
    """

    text: str
    language: str | None = None
    language_probability: float | None = None
    words: tuple[Word, ...] | None = None
    average_log_probability: float | None = None
    no_speech_probability: float | None = None
    speech_duration: float | None = None
    model: str | None = None
    backend: str | None = None

    @classmethod
    def given(cls, text: str, language: str | None = None) -> Transcript:
        """A transcript that somebody wrote."""
        return cls(text=text, language=language)

    @classmethod
    def joined(cls, parts: Sequence[tuple[float, Transcript]]) -> Transcript:
        """One transcript from those of consecutive windows, each with its start in s.

        The language is that of most speech; probabilities are means weighted by the length of the text.
        """
        if len(parts) == 1 and parts[0][0] == 0.0:
            return parts[0][1]
        transcripts = [transcript for _, transcript in parts]
        heard = [transcript for transcript in transcripts if transcript.text]
        time: dict[str, float] = defaultdict(float)
        for transcript in heard:
            if transcript.language:
                time[transcript.language] += transcript.speech_duration or len(transcript.text)
        language = max(time, key=time.__getitem__) if time else None

        def mean(name: str, of: Sequence[Transcript]) -> float | None:
            known = [
                (getattr(transcript, name), max(len(transcript.text), 1))
                for transcript in of
                if getattr(transcript, name) is not None
            ]
            return (
                sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None
            )

        words = tuple(
            Word(word.text, start + word.start, start + word.end, word.probability)
            for start, transcript in parts
            for word in transcript.words or ()
        )
        gated = [transcript.speech_duration for transcript in transcripts if transcript.speech_duration is not None]
        return cls(
            text=" ".join(transcript.text for transcript in heard),
            language=language,
            language_probability=mean(
                "language_probability", [transcript for transcript in heard if transcript.language == language]
            ),
            words=words if any(transcript.words is not None for transcript in transcripts) else None,
            average_log_probability=mean("average_log_probability", heard),
            no_speech_probability=mean("no_speech_probability", transcripts),
            speech_duration=sum(gated) if gated else None,
            model=next(
                (transcript.model for transcript in transcripts if transcript.model), None
            ),  # silent windows name none
            backend=next((transcript.backend for transcript in transcripts if transcript.backend), None),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self) | {"words": None if self.words is None else [asdict(word) for word in self.words]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Transcript:
        """The inverse of `to_dict`."""
        words = fields.get("words")
        return cls(**fields | {"words": None if words is None else tuple(Word(**word) for word in words)})
