"""Finds leaks: speakers, recordings, copies and sentences that the train part of a split shares with other parts."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from multimodal_ser.corpora.audit import survey
from multimodal_ser.corpora.duplicates import sentence_groups, some, sound_groups
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.corpora.splits import Split

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Leak:
    """Something that two parts of a split share.

    Args:
        kind: "speaker"; "recording": parts of one recording of an unknown speaker; "duplicate": the same sound,
            possibly under another name or in another format; "sentence": the same words.
        one, other: the parts, in the order "train", "validation", "test".
        names: the shared speakers, recordings, groups of names joined by " = ", or sentences; sorted.
        rows: the number of rows of `other` that are concerned.
        of: the number of all rows of `other`.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.leakage import find_leaks
        >>> from multimodal_ser.corpora.splits import Split
        >>> rows = [ManifestRow(text="Yes.", speaker="Ann"), ManifestRow(text="No.", speaker="Ann"), ManifestRow(text="yes", speaker="Bo")]
        >>> for leak in find_leaks(rows, Split((0,), (), (1, 2), "mine")):
        ...     print(leak.serious, leak)
        True 1 voice in train and test (1 of 2 rows of test): Ann
        False 1 sentence in train and test (1 of 2 rows of test): Yes.
    """

    kind: Literal["speaker", "recording", "duplicate", "sentence"]
    one: str
    other: str
    names: tuple[str, ...]
    rows: int
    of: int

    @property
    def serious(self) -> bool:
        """Whether scores of the voice are too good; shared sentences only make scores of the words too good."""
        return self.kind != "sentence"

    def __str__(self) -> str:
        noun = {
            "speaker": ("voice", "voices"),
            "recording": ("recording", "recordings"),
            "duplicate": ("recording under several names or rows", "recordings under several names or rows"),
            "sentence": ("sentence", "sentences"),
        }[self.kind][len(self.names) != 1]
        where = f"in {self.one} and {self.other} ({self.rows} of {self.of} rows of {self.other})"
        return f"{len(self.names)} {noun} {where}: {some(self.names, 2 if self.kind == 'sentence' else 5)}"


def find_leaks(
    rows: Sequence[ManifestRow], split: Split, contents: Sequence[Hashable | None] | None = None
) -> list[Leak]:
    """Find what the parts of a split share.

    Args:
        rows: the rows that were split.
        split: indices of the rows.
        contents: a value for each row that is equal for equal sound, such as `content_hashes` returns. Without it
            (None) only files with equal bytes and overlapping parts of a file are found.

    Returns:
        A leak for each kind and pair of parts, serious leaks first.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.leakage import find_leaks
        >>> from multimodal_ser.corpora.splits import Split
        >>> rows = [ManifestRow(path=Path(name), speaker=name[0]) for name in ("a.wav", "b.flac")]
        >>> print(find_leaks(rows, Split((0,), (), (1,), "mine"), ["same sound", "same sound"])[0])
        1 recording under several names or rows in train and test (1 of 1 rows of test): a.wav = b.flac
    """
    return LeakFinder(rows, contents).find(split)


class LeakFinder:
    """Finds leaks in any number of splits of the same rows; the rows are compared only once.

    Args:
        rows: the rows that are split.
        contents: see `find_leaks`.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.leakage import LeakFinder
        >>> from multimodal_ser.corpora.splits import Split
        >>> finder = LeakFinder([ManifestRow(text=word, speaker=name) for word, name in (("Yes.", "Ann"), ("No.", "Bo"), ("Oh.", "Ann"))])
        >>> [len(finder.find(split)) for split in (Split((0,), (), (1,), "mine"), Split((0,), (), (1, 2), "another"))]
        [0, 1]
    """

    def __init__(self, rows: Sequence[ManifestRow], contents: Sequence[Hashable | None] | None = None):
        self.rows = rows
        self.sounds = sound_groups(rows, contents)
        self.sentences = sentence_groups(rows)
        files = [None if row.path is None or row.speaker is not None else os.path.realpath(row.path) for row in rows]
        self.kinds: tuple[tuple[Any, Sequence[Any]], ...] = (
            ("speaker", [row.speaker for row in rows]), ("duplicate", self.sounds), ("recording", files), ("sentence", self.sentences),
        )  # fmt: skip

    def find(self, split: Split) -> list[Leak]:
        """See `find_leaks`."""
        leaks = []
        for one, other in combinations(PARTS, 2):
            first = getattr(split, one)
            second = getattr(split, other)
            for kind, keys in self.kinds:
                shared = {keys[index] for index in first} & {keys[index] for index in second} - {None}
                if not shared:
                    continue
                names: dict[Any, set[str]] = {}
                for index in (*first, *second):
                    if keys[index] in shared:
                        names.setdefault(keys[index], set()).add(_name(self.rows[index], kind))
                labels = [" = ".join(sorted(group)) if kind == "duplicate" else min(group) for group in names.values()]
                concerned_rows = sum(keys[index] in shared for index in second)
                leaks.append(Leak(kind, one, other, tuple(sorted(labels)), concerned_rows, len(second)))
        return sorted(leaks, key=lambda leak: not leak.serious)


def _name(row: ManifestRow, kind: str) -> str:
    if kind == "speaker":
        return row.speaker or ""
    if kind == "sentence":
        return row.text or f"{row.corpus} {row.sentence}" if row.corpus else row.text or row.sentence or ""
    return row.name if kind == "duplicate" else row.recording or ""


def content_hashes(rows: Sequence[ManifestRow], *, workers: int | None = None) -> list[str | None]:
    """A digest of the sound of each row, equal for the same samples in another file or lossless format.

    Every recording is decoded. Another sampling rate, loudness or lossy format gives another digest.

    Args:
        rows: rows of a manifest.
        workers: number of threads; None: one for each core, at most four.

    Returns:
        A digest for each row; None: the row has no recording, or one that cannot be used.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.leakage import content_hashes
        >>> from multimodal_ser.testing import synthetic_speech
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a.wav", "b.flac"):
        ...     soundfile.write(folder / name, (synthetic_speech(0.5) * 32768).astype("int16"), 16000)
        >>> one, other, missing = content_hashes([ManifestRow(path=folder / name) for name in ("a.wav", "b.flac", "c.wav")])
        >>> one == other, missing
        (True, None)
    """
    measured = {id(clip.row): clip.content for clip in survey(rows, workers=workers).measured}
    return [measured.get(id(row)) for row in rows]
