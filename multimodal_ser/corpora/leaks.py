"""Leaks: what a model could have learned of the very clips that measure it, be it a voice, a recording under another name or a sentence."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from multimodal_ser.corpora.manifest import ManifestRow
    from multimodal_ser.corpora.splits import Split

PARTS = ("train", "validation", "test")
ENDS = 1 << 14
"""Bytes at both ends of a file that are compared before all of it is."""


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
        >>> from multimodal_ser.corpora.leaks import find_leaks
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


def find_leaks(rows: Sequence[ManifestRow], split: Split, contents: Sequence[Hashable | None] | None = None) -> list[Leak]:
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
        >>> from multimodal_ser.corpora.leaks import find_leaks
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
        >>> from multimodal_ser.corpora.leaks import LeakFinder
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
        >>> from multimodal_ser.corpora.leaks import content_hashes
        >>> from multimodal_ser.testing import synthetic_speech
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a.wav", "b.flac"):
        ...     soundfile.write(folder / name, (synthetic_speech(0.5) * 32768).astype("int16"), 16000)
        >>> one, other, missing = content_hashes([ManifestRow(path=folder / name) for name in ("a.wav", "b.flac", "c.wav")])
        >>> one == other, missing
        (True, None)
    """
    from multimodal_ser.corpora.survey import survey

    measured = {id(clip.row): clip.content for clip in survey(rows, workers=workers).measured}
    return [measured.get(id(row)) for row in rows]


def sound_groups(rows: Sequence[ManifestRow], contents: Sequence[Hashable | None] | None = None) -> list[int | None]:
    """Which rows hold the same sound: overlapping parts of one file, files that are equal byte for byte, equal contents.

    Args:
        rows: of a manifest.
        contents: see `find_leaks`.

    Returns:
        A number a row, the same for rows that belong together; None: words alone.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.leaks import sound_groups
        >>> call = Path("call.wav")
        >>> parts = [(None, 2.0), (1.0, 3.0), (3.0, None)]
        >>> sound_groups([ManifestRow(path=call, start=start, end=end) for start, end in parts] + [ManifestRow(text="hello")])
        [0, 0, 2, None]
    """
    groups = _Groups(len(rows))
    files = _same_files(dict.fromkeys(row.path for row in rows if row.path is not None))
    spans: dict[str, list[tuple[float, float, int]]] = {}
    for index, row in enumerate(rows):
        if row.path is not None:
            spans.setdefault(files[row.path], []).append((row.start or 0.0, float("inf") if row.end is None else row.end, index))
    for parts in spans.values():
        reached, last = 0.0, None
        for start, end, index in sorted(parts):
            if last is not None and start < reached:
                groups.join(last, index)
            if last is None or end > reached:
                reached, last = end, index
    if contents is not None:
        groups.join_equal((key, index) for index, key in enumerate(contents) if key)
    return [None if row.path is None else groups.root(index) for index, row in enumerate(rows)]


def sentence_groups(rows: Sequence[ManifestRow]) -> list[int | None]:
    """Which rows say the same: equal codes of sentences in one corpus, or equal words whatever their case and punctuation.

    Returns:
        A number a row, the same for rows that belong together; None: nobody knows what is said.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.leaks import sentence_groups
        >>> coded = ManifestRow(text="Dogs are sitting by the door.", sentence="02", corpus="ravdess")
        >>> sentence_groups([coded, ManifestRow(text="dogs are sitting by the door"), ManifestRow(sentence="02", corpus="other")])
        [0, 0, 2]
    """
    groups = _Groups(len(rows))
    words = ["".join(letter for letter in (row.text or "").casefold() if letter.isalnum()) for row in rows]
    codes = [None if row.sentence is None else (row.corpus, row.sentence) for row in rows]
    groups.join_equal((key, index) for index, key in enumerate(words) if key)
    groups.join_equal((key, index) for index, key in enumerate(codes) if key)
    return [groups.root(index) if words[index] or codes[index] else None for index in range(len(rows))]


def sentence_of(row: ManifestRow) -> str | None:
    """What a row says, whatever its case and punctuation: its words, or else the code of its sentence; None: nobody knows.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.leaks import sentence_of
        >>> sentence_of(ManifestRow(text="Oh, no!")), sentence_of(ManifestRow(sentence="a01", corpus="emodb"))
        ('ohno', 'emodb: a01')
    """
    words = "".join(letter for letter in (row.text or "").casefold() if letter.isalnum())
    return words or (None if row.sentence is None else f"{row.corpus}: {row.sentence}")


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few, and how many more.

    Example:
        >>> from multimodal_ser.corpora.leaks import some
        >>> some("abcdefg")
        'a, b, c, d, e and 2 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number and what it counts.

    Example:
        >>> from multimodal_ser.corpora.leaks import counted
        >>> counted(1, "clip was", "clips were"), counted(2, "row")
        ('1 clip was', '2 rows')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def alike_speakers(names: Iterable[str | None]) -> list[list[str]]:
    """Speakers whose names differ only in case, or in what stands between their parts: perhaps one voice, that is taken for two.

    Example:
        >>> from multimodal_ser.corpora.leaks import alike_speakers
        >>> alike_speakers(["RAVDESS_01", "ravdess_01", "ravdess 01", "ravdess_02", None])
        [['RAVDESS_01', 'ravdess 01', 'ravdess_01']]
    """
    groups: dict[str, list[str]] = {}
    for name in sorted({name for name in names if name is not None}):
        groups.setdefault(" ".join(name.casefold().replace("_", " ").replace("-", " ").split()), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


class _Groups:
    """What belongs together, found by joining (union-find); a group's number is that of its first member."""

    def __init__(self, count: int):
        self.parents = list(range(count))

    def root(self, index: int) -> int:
        while self.parents[index] != index:
            self.parents[index] = self.parents[self.parents[index]]
            index = self.parents[index]
        return index

    def join(self, one: int, other: int) -> None:
        first, last = sorted((self.root(one), self.root(other)))
        self.parents[last] = first

    def join_equal(self, keys: Iterable[tuple[Hashable, int]]) -> None:
        known: dict[Hashable, int] = {}
        for key, index in keys:
            self.join(known.setdefault(key, index), index)


def _same_files(paths: Iterable[Path]) -> dict[Path, str]:
    """The first path by name of files that are equal byte for byte; only files of equal length and ends are read whole."""
    real = {path: os.path.realpath(path) for path in paths}
    first = {path: path for path in real.values()}
    alike: dict[Hashable, list[str]] = {}
    for path in sorted(first):
        try:
            size = os.stat(path).st_size
        except OSError:  # it need not be there to be split
            continue
        if size:
            alike.setdefault(size, []).append(path)
    for look in (_ends, _digest):
        again: dict[Hashable, list[str]] = {}
        for key, group in alike.items():
            for path in group if len(group) > 1 else ():
                again.setdefault((key, look(path)), []).append(path)
        alike = again
    for group in alike.values():
        first |= dict.fromkeys(group, group[0])
    return {path: first[name] for path, name in real.items()}


def _ends(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            begin = file.read(ENDS)
            file.seek(max(0, os.fstat(file.fileno()).st_size - ENDS))
            return begin + file.read(ENDS)
    except OSError:  # whoever decodes it will tell
        return os.fsencode(path)


def _digest(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return os.fsencode(path)
