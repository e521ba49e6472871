"""Provides `ManifestRow`, a recording or a text with its annotations, and `Manifest`, the rows of a corpus."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from multimodal_ser.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """A recording, a text, or both, with annotations; a field is None if the corpus does not give it.

    Args:
        path: of the recording; None: the row is only a text.
        emotion: as the corpus writes it; several admissible emotions are joined by "|". None: unlabelled.
        text: the words.
        id: the corpus's identifier of the row; each is used only once in a corpus.
        sentence: the corpus's code of the sentence, in corpora with fixed sentences.
        session: the recording session.
        speaker: the speaker or writer.
        split: "train", "validation" ("dev", "val", "valid") or "test".
        dialogue, turn: the conversation, and the position in it.
        language, gender, intensity: of the speech.
        corpus: a key of `labels.CORPUS_LABELS`; it tells which emotions the annotators could choose.
        start, end: the part of the recording, in s.
        arousal, valence, dominance: on the corpus's own scale.
        votes: how many annotators chose each emotion: a soft label.
        place: the file and line of the row, for messages.
        folder: the name of the row is relative to this folder.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> row = ManifestRow(path=Path("/data/audio/a.wav"), start=1.5, end=3, votes={"anger": 3, "fear": 1}, folder=Path("/data"))
        >>> row.name, row.label
        ('audio/a.wav[1.500-3.000]', 'anger')
    """

    path: Path | None = None
    emotion: str | None = None
    text: str | None = None
    speaker: str | None = None
    split: str | None = None
    dialogue: str | None = None
    turn: int | None = None
    language: str | None = None
    gender: str | None = None
    intensity: str | None = None
    corpus: str | None = None
    start: float | None = None
    end: float | None = None
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None
    votes: Mapping[str, float] | None = field(default=None, hash=False)
    id: str | None = None
    sentence: str | None = None
    session: str | None = None
    place: str = field(default="", compare=False)
    folder: Path | None = field(default=None, compare=False, repr=False)

    @property
    def recording(self) -> str | None:
        """The path of the recording, relative to the manifest's folder if it lies below it."""
        if self.path is None:
            return None
        inside = self.folder is not None and self.path.is_relative_to(self.folder)
        return (self.path.relative_to(self.folder) if inside else self.path).as_posix()  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The name of the clip: its recording and times, or a digest of the words if there is no recording.

        It is the same on every machine if the recordings lie below the manifest's folder.
        """
        if self.recording is None:
            return f"text:{hashlib.sha256((self.text or '').encode()).hexdigest()[:16]}"
        if self.start is None and self.end is None:
            return self.recording
        return f"{self.recording}[{self.start or 0:.3f}-{'' if self.end is None else f'{self.end:.3f}'}]"

    @property
    def label(self) -> str | None:
        """The emotion that most annotators chose, or `emotion`; None if unlabelled or if several are admissible."""
        if self.votes:
            return max(self.votes, key=self.votes.__getitem__)
        return None if self.emotion is None or "|" in self.emotion else self.emotion


@dataclass(frozen=True)
class Manifest:
    """The rows of a table or a folder, and the errors found in it.

    Args:
        rows: the rows that can be used.
        errors: one for each other row, with its file, line and field.
        source: the table or folder.
        ignored: columns of a table that hold no field; in a folder, the files that are not recordings.
        notes: hints for the user, for example that an ignored column seems to hold the emotions.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import read_manifest
        >>> table = Path(tempfile.mkdtemp(), "manifest.csv")
        >>> _ = table.write_text("Utterance,Emotion,Speaker\\nI won!,joy,Ann\\nOh no.,sadness,Bo\\n,joy,Ann\\n")
        >>> manifest = read_manifest(table)
        >>> manifest.emotions, manifest.speakers
        ({'joy': 1, 'sadness': 1}, ['Ann', 'Bo'])
        >>> print(manifest.errors[0])
        manifest.csv, line 4: expected a path or a text, got neither; fill one of them in, or drop the row
    """

    rows: tuple[ManifestRow, ...]
    errors: tuple[InputError, ...]
    source: Path
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def emotions(self) -> dict[str, int]:
        """The number of rows of each emotion, by name; rows with several admissible emotions are not counted."""
        return dict(sorted(Counter(row.label for row in self.rows if row.label is not None).items()))

    @property
    def speakers(self) -> list[str]:
        """The names of the speakers, sorted."""
        return sorted({row.speaker for row in self.rows if row.speaker is not None})
