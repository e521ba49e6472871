"""Lists the files and recordings below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

RECORDINGS = frozenset(
    {
        ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".awb", ".caf",
        ".dts", ".eac3", ".flac", ".flv", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp3", ".mp4", ".mpeg", ".mpg",
        ".oga", ".ogg", ".opus", ".rm", ".snd", ".tta", ".w64", ".wav", ".wave", ".webm", ".wma", ".wv",
    }
)  # fmt: skip
"""Endings of files that `load_audio` can decode."""


LOSSLESS = (".wav", ".flac", ".wave", ".aiff", ".aif", ".aifc", ".w64", ".caf", ".au", ".snd")
VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".flv", ".webm", ".mpeg", ".mpg", ".asf", ".rm")


def preference(suffix: str) -> int:
    """The rank of a format among copies of a clip, the best is lowest: lossless sound, compressed sound, video.

    Example:
        >>> from multimodal_ser.corpora.files import preference
        >>> sorted([".flv", ".mp3", ".wav"], key=preference)
        ['.wav', '.mp3', '.flv']
    """
    name = suffix.lower()
    ranks = [*LOSSLESS, "other", *VIDEOS]
    return ranks.index(name if name in ranks else "other")


def files_below(root: str | os.PathLike, *suffixes: str) -> list[Path]:
    """Files below a folder with one of the endings, or all files without endings, sorted.

    Hidden files are ignored, and links are followed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.files import files_below
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("b.wav", "a.WAV", ".c.wav", "d.txt"):
        ...     (root / name).touch()
        >>> [path.name for path in files_below(root, ".wav")]
        ['a.WAV', 'b.wav']
    """
    return sorted(path for path in _walk(root) if not suffixes or path.suffix.lower() in suffixes)


def recordings_below(root: str | os.PathLike, most: int | None = None) -> list[Path]:
    """Recordings below a folder, sorted; with `most` only the first files are searched.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.files import recordings_below
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("b.wav", "notes.txt"):
        ...     (root / name).touch()
        >>> [path.name for path in recordings_below(root)]
        ['b.wav']
    """
    recordings = []
    for count, path in enumerate(_walk(root)):
        if count == most:
            break
        if path.suffix.lower() in RECORDINGS:
            recordings.append(path)
    return sorted(recordings)


def _walk(root: str | os.PathLike) -> Iterator[Path]:
    """Yield the files below a folder; each folder is entered once, even if several links lead to it."""
    visited: set[str] = set()
    for at, folders, names in os.walk(str(root), followlinks=True):
        real = os.path.realpath(at)
        folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
        if real not in visited:
            yield from (Path(at, name) for name in names if not name.startswith("."))
        visited.add(real)
