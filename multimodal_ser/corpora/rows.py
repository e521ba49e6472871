"""Rows: a recording, a text, or both, with what was annotated; and the manifest that holds them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from multimodal_ser.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """A recording, a text, or both, and what was annotated; None: not given.

    Args:
        path: of the recording; None: words alone.
        emotion: as it was written, several admissible ones joined by a bar; None: unlabelled.
        text: its words.
        id: what the corpus calls the row; no two rows of a corpus have the same.
        sentence: which of a corpus's fixed sentences it is, by the corpus's own code.
        session: the recording session, where a corpus has them.
        speaker: whose voice or words.
        split: "train", "validation" ("dev", "val", "valid") or "test", where the corpus says so.
        dialogue, turn: where it stands in a conversation.
        language, gender, intensity: of the speech.
        corpus: a key of `labels.CORPUS_LABELS`, for what its annotators could not say.
        start, end: s, the part of the recording that is meant.
        arousal, valence, dominance: on the corpus's own scale.
        votes: how many annotators chose each emotion: a soft label.
        place: where the row stands, for messages.
        folder: what its name is relative to.

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
        """What its recording is called: the path from the manifest's folder, where it leads from there."""
        if self.path is None:
            return None
        inside = self.folder is not None and self.path.is_relative_to(self.folder)
        return (self.path.relative_to(self.folder) if inside else self.path).as_posix()  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The clip's name, the same on every machine where the manifest lies beside its recordings; of words alone a digest of them."""
        if self.recording is None:
            return f"text:{hashlib.sha256((self.text or '').encode()).hexdigest()[:16]}"
        if self.start is None and self.end is None:
            return self.recording
        return f"{self.recording}[{self.start or 0:.3f}-{'' if self.end is None else f'{self.end:.3f}'}]"

    @property
    def label(self) -> str | None:
        """The one emotion: what most annotators chose, or what was written. None: unlabelled, or several are admissible."""
        if self.votes:
            return max(self.votes, key=self.votes.__getitem__)
        return None if self.emotion is None or "|" in self.emotion else self.emotion


@dataclass(frozen=True)
class Manifest:
    """What a table or a folder holds.

    Args:
        rows: those that can be used.
        errors: what is wrong with the others, each named by file, line and field.
        source: what was read.
        ignored: columns of the table that say nothing to this library; of a folder: files that are no recordings.
        notes: what a reader should know, such as that an ignored column seems to hold the emotions.

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
        """How many rows show each emotion, by name; those for which several are admissible are not counted."""
        return dict(sorted(Counter(row.label for row in self.rows if row.label is not None).items()))

    @property
    def speakers(self) -> list[str]:
        """Their names, sorted."""
        return sorted({row.speaker for row in self.rows if row.speaker is not None})
