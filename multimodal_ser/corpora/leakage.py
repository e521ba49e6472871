"""Leaks: what a model could have learned of the very clips that measure it, be it a voice, a recording under another name or a sentence."""

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
    """What two parts of a split share.

    Args:
        kind: "speaker"; "recording": parts of one recording, of nobody knows whom; "duplicate": the same sound, be it under another name
            or in another format; "sentence": the same words.
        one, other: the parts, "train" before "validation" before "test".
        names: what is shared: speakers, recordings, groups of names joined by " = ", sentences; sorted.
        rows: how many rows of the second part it concerns.
        of: how many rows the second part has.

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
        """Whether scores of the voice are too good; shared sentences only flatter what reads the words."""
        return self.kind != "sentence"

    def __str__(self) -> str:
        told = {
            "speaker": ("voice", "voices"),
            "recording": ("recording", "recordings"),
            "duplicate": ("recording under several names or rows", "recordings under several names or rows"),
            "sentence": ("sentence", "sentences"),
        }[self.kind][len(self.names) != 1]
        where = f"in {self.one} and {self.other} ({self.rows} of {self.of} rows of {self.other})"
        return f"{len(self.names)} {told} {where}: {some(self.names, 2 if self.kind == 'sentence' else 5)}"


def find_leaks(
    rows: Sequence[ManifestRow], split: Split, contents: Sequence[Hashable | None] | None = None
) -> list[Leak]:
    """What the parts of a split share.

    Args:
        rows: that were split.
        split: indices of them.
        contents: a value a row that is equal for equal sound, such as `content_hashes` gives; None: files that are equal byte for byte, and
            rows of overlapping parts of a file, are found all the same.

    Returns:
        A leak for each kind and two parts, the graver ones first.

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
    """What rows share is looked up once, for any number of splits.

    Args:
        rows: that are split.
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
        found = []
        for one, other in combinations(PARTS, 2):
            first, second = getattr(split, one), getattr(split, other)
            for kind, keys in self.kinds:
                shared = {keys[index] for index in first} & {keys[index] for index in second} - {None}
                if not shared:
                    continue
                names: dict[Any, set[str]] = {}
                for index in (*first, *second):
                    if keys[index] in shared:
                        names.setdefault(keys[index], set()).add(_name(self.rows[index], kind))
                told = [" = ".join(sorted(group)) if kind == "duplicate" else min(group) for group in names.values()]
                concerned = sum(keys[index] in shared for index in second)
                found.append(Leak(kind, one, other, tuple(sorted(told)), concerned, len(second)))
        return sorted(found, key=lambda leak: not leak.serious)


def _name(row: ManifestRow, kind: str) -> str:
    if kind == "speaker":
        return row.speaker or ""
    if kind == "sentence":
        return row.text or f"{row.corpus} {row.sentence}" if row.corpus else row.text or row.sentence or ""
    return row.name if kind == "duplicate" else row.recording or ""


def content_hashes(rows: Sequence[ManifestRow], *, workers: int | None = None) -> list[str | None]:
    """A digest of what is heard in each row, equal for the same samples in another file or lossless format; every recording is decoded.

    Another sampling rate, loudness or lossy format gives another digest.

    Args:
        rows: of a manifest.
        workers: threads; None: one a core, four at most.

    Returns:
        A digest a row; None: words alone, or a recording that cannot be used.

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
