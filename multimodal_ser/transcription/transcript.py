"""Provides `Transcript` and `Word`: the words of a recording with times, language and probabilities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word and its time.

    Args:
        text: the word as Whisper writes it.
        start: s.
        end: s.
        probability: 0 to 1; None if the backend does not report it.
    """

    text: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True)
class Transcript:
    """The words of a recording. An empty text means that no words were recognized.

    Args:
        text: the words.
        language: ISO 639-1 code; None if it is unknown or if there are no words.
        language_probability: 0 to 1; None if the language was not detected but set by the user.
        words: the words with their times; None if times were not requested.
        average_log_probability: mean log probability of the tokens; None if Whisper did not run.
        no_speech_probability: Whisper's probability that there is no speech, 0 to 1.
        speech_duration: the duration of speech according to the gate, s; None if the gate is off.
        model: the name of the Whisper model; None for a text of the user.
        backend: the library that ran Whisper.

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
        """A transcript from a text of the user."""
        return cls(text=text, language=language)

    @classmethod
    def joined(cls, parts: Sequence[tuple[float, Transcript]]) -> Transcript:
        """Join the transcripts of consecutive windows, each with its start in s.

        The language is the one with most speech; probabilities are means weighted by the length of the text.
        """
        if len(parts) == 1 and parts[0][0] == 0.0:
            return parts[0][1]
        transcripts = [transcript for _, transcript in parts]
        spoken = [transcript for transcript in transcripts if transcript.text]
        time: dict[str, float] = defaultdict(float)
        for transcript in spoken:
            if transcript.language:
                time[transcript.language] += transcript.speech_duration or len(transcript.text)
        language = max(time, key=time.__getitem__) if time else None

        def mean(name: str, of: Sequence[Transcript]) -> float | None:
            weighted = [
                (getattr(transcript, name), max(len(transcript.text), 1))
                for transcript in of
                if getattr(transcript, name) is not None
            ]
            return (
                sum(value * weight for value, weight in weighted) / sum(weight for _, weight in weighted)
                if weighted
                else None
            )

        words = tuple(
            Word(word.text, start + word.start, start + word.end, word.probability)
            for start, transcript in parts
            for word in transcript.words or ()
        )
        gated = [transcript.speech_duration for transcript in transcripts if transcript.speech_duration is not None]
        return cls(
            text=" ".join(transcript.text for transcript in spoken),
            language=language,
            language_probability=mean(
                "language_probability", [transcript for transcript in spoken if transcript.language == language]
            ),
            words=words if any(transcript.words is not None for transcript in transcripts) else None,
            average_log_probability=mean("average_log_probability", spoken),
            no_speech_probability=mean("no_speech_probability", transcripts),
            speech_duration=sum(gated) if gated else None,
            # transcripts of silent windows have no model
            model=next((transcript.model for transcript in transcripts if transcript.model), None),
            backend=next((transcript.backend for transcript in transcripts if transcript.backend), None),
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain types for JSON; the keys are the names of the fields."""
        return asdict(self) | {"words": None if self.words is None else [asdict(word) for word in self.words]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Transcript:
        """The inverse of `to_dict`."""
        words = fields.get("words")
        return cls(**fields | {"words": None if words is None else tuple(Word(**word) for word in words)})
