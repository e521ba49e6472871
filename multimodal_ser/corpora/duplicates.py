"""Finds duplicates among rows: the same sound, the same words, and speakers whose names differ only in spelling."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from multimodal_ser.corpora.rows import ManifestRow

Member = TypeVar("Member", int, str)

ENDS = 1 << 14
"""How many bytes at both ends of files are compared before whole files."""


def sound_groups(rows: Sequence[ManifestRow], contents: Sequence[Hashable | None] | None = None) -> list[int | None]:
    """Group rows by sound: overlapping parts of one file, files with equal bytes, and equal contents.

    Args:
        rows: rows of a manifest.
        contents: a value for each row that is equal for equal sound, such as `leakage.content_hashes` returns; None:
            only files are compared.

    Returns:
        The number of each row's group; None for rows without a recording.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.duplicates import sound_groups
        >>> call = Path("call.wav")
        >>> parts = [(None, 2.0), (1.0, 3.0), (3.0, None)]
        >>> sound_groups([ManifestRow(path=call, start=start, end=end) for start, end in parts] + [ManifestRow(text="hello")])
        [0, 0, 2, None]
    """
    groups = Groups[int]()
    files = _same_files(dict.fromkeys(row.path for row in rows if row.path is not None))
    spans: dict[str, list[tuple[float, float, int]]] = {}
    for index, row in enumerate(rows):
        if row.path is not None:
            spans.setdefault(files[row.path], []).append(
                (row.start or 0.0, float("inf") if row.end is None else row.end, index)
            )
    for parts in spans.values():
        reached = 0.0
        last: int | None = None
        for start, end, index in sorted(parts):
            if last is not None and start < reached:
                groups.join(last, index)
            if last is None or end > reached:
                reached = end
                last = index
    if contents is not None:
        groups.join_equal((key, index) for index, key in enumerate(contents) if key)
    return [None if row.path is None else groups.root(index) for index, row in enumerate(rows)]


def sentence_groups(rows: Sequence[ManifestRow]) -> list[int | None]:
    """Group rows by sentence: equal codes in one corpus, or equal words regardless of case and punctuation.

    Returns:
        The number of each row's group; None for rows without words and code.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.duplicates import sentence_groups
        >>> coded = ManifestRow(text="Dogs are sitting by the door.", sentence="02", corpus="ravdess")
        >>> sentence_groups([coded, ManifestRow(text="dogs are sitting by the door"), ManifestRow(sentence="02", corpus="other")])
        [0, 0, 2]
    """
    groups = Groups[int]()
    words = ["".join(letter for letter in (row.text or "").casefold() if letter.isalnum()) for row in rows]
    codes = [None if row.sentence is None else (row.corpus, row.sentence) for row in rows]
    groups.join_equal((key, index) for index, key in enumerate(words) if key)
    groups.join_equal((key, index) for index, key in enumerate(codes) if key)
    return [groups.root(index) if words[index] or codes[index] else None for index in range(len(rows))]


def sentence_of(row: ManifestRow) -> str | None:
    """A key of a row's sentence: its words without case and punctuation, else the code of the sentence; None: unknown.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.duplicates import sentence_of
        >>> sentence_of(ManifestRow(text="Oh, no!")), sentence_of(ManifestRow(sentence="a01", corpus="emodb"))
        ('ohno', 'emodb: a01')
    """
    words = "".join(letter for letter in (row.text or "").casefold() if letter.isalnum())
    return words or (None if row.sentence is None else f"{row.corpus}: {row.sentence}")


def some(names: Sequence[str], most: int = 5) -> str:
    """A text with the first few names, and the number of the others.

    Example:
        >>> from multimodal_ser.corpora.duplicates import some
        >>> some("abcdefg")
        'a, b, c, d, e and 2 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(count: int, one: str, many: str | None = None) -> str:
    """A text with a number and its noun, in the singular or plural.

    Example:
        >>> from multimodal_ser.corpora.duplicates import counted
        >>> counted(1, "clip was", "clips were"), counted(2, "row")
        ('1 clip was', '2 rows')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def alike_speakers(names: Iterable[str | None]) -> list[list[str]]:
    """Groups of speakers whose names differ only in case or in the signs between words: they may be the same person.

    Example:
        >>> from multimodal_ser.corpora.duplicates import alike_speakers
        >>> alike_speakers(["RAVDESS_01", "ravdess_01", "ravdess 01", "ravdess_02", None])
        [['RAVDESS_01', 'ravdess 01', 'ravdess_01']]
    """
    groups: dict[str, list[str]] = {}
    for name in sorted({name for name in names if name is not None}):
        groups.setdefault(" ".join(name.casefold().replace("_", " ").replace("-", " ").split()), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


class Groups(Generic[Member]):
    """Groups of members, built by joining pairs (union-find).

    Example:
        >>> from multimodal_ser.corpora.duplicates import Groups
        >>> groups = Groups[str]()
        >>> groups.join("c", "b")
        >>> groups.join("b", "a")
        >>> groups.root("c"), groups.root("d")
        ('a', 'd')
    """

    def __init__(self) -> None:
        self.parents: dict[Member, Member] = {}

    def root(self, member: Member) -> Member:
        """The smallest member of the group of a member."""
        while (parent := self.parents.setdefault(member, member)) != member:
            self.parents[member] = member = self.parents[parent]
        return member

    def join(self, one: Member, other: Member) -> None:
        """Merge the groups of two members."""
        first, last = sorted((self.root(one), self.root(other)))
        self.parents[last] = first

    def join_equal(self, keys: Iterable[tuple[Hashable, Member]]) -> None:
        """Join the members that have the same key."""
        first: dict[Hashable, Member] = {}
        for key, member in keys:
            self.join(first.setdefault(key, member), member)


def _same_files(paths: Iterable[Path]) -> dict[Path, str]:
    """For each path the first of the files with equal bytes; only files of equal size and ends are read completely."""
    real = {path: os.path.realpath(path) for path in paths}
    first = {path: path for path in real.values()}
    alike: dict[Hashable, list[str]] = {}
    for path in sorted(first):
        try:
            size = os.stat(path).st_size
        except OSError:  # rows can be split without their files
            continue
        if size:
            alike.setdefault(size, []).append(path)
    for digest in (_ends, _digest):
        refined: dict[Hashable, list[str]] = {}
        for key, group in alike.items():
            for path in group if len(group) > 1 else ():
                refined.setdefault((key, digest(path)), []).append(path)
        alike = refined
    for group in alike.values():
        first |= dict.fromkeys(group, group[0])
    return {path: first[name] for path, name in real.items()}


def _ends(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            begin = file.read(ENDS)
            file.seek(max(0, os.fstat(file.fileno()).st_size - ENDS))
            return begin + file.read(ENDS)
    except OSError:  # decoding the file reports the error
        return os.fsencode(path)


def _digest(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return os.fsencode(path)
