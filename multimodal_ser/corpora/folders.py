"""Reads folders of recordings without a table: the names of the folders are the emotions and speakers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from multimodal_ser.corpora.files import RECORDINGS, files_below
from multimodal_ser.corpora.rows import Manifest, ManifestRow
from multimodal_ser.corpora.splits import SPLIT_NAMES
from multimodal_ser.errors import InputError
from multimodal_ser.labels import is_emotion

LAYOUT = "a folder per emotion: ROOT/happy/*.wav, ROOT/SPEAKER/happy/*.wav or ROOT/happy/SPEAKER/*.wav"


def read_folder(root: str | os.PathLike) -> Manifest:
    """Read recordings whose folders are named after emotions; the emotions are kept as the folders write them.

    If at least half of the recordings lie directly in the folders of the first level, these folders are the emotions,
    and the speakers are unknown. Else two levels of folders are read: the first of them whose names are mostly known
    emotions or synonyms (`labels.SYNONYMS`) holds the emotions, and the other level holds the speakers. If neither
    level has known emotions, the first level holds the emotions. Deeper levels are not used. Folders train, validation
    (dev, val, valid) and test around all others are the split. Hidden files are ignored.

    Args:
        root: the folder.

    Returns:
        The rows, sorted by path; an error for each recording that has no emotion; the files that are no recordings are
        in `ignored`.

    Raises:
        InputError: the folder does not exist, or no recording lies in a folder of an emotion.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.folders import read_folder
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("ann/happy/1.wav", "ann/sad/2.wav", "bo/happy/3.wav"):
        ...     (root / name).parent.mkdir(parents=True, exist_ok=True)
        ...     (root / name).touch()
        >>> [(row.name, row.emotion, row.speaker) for row in read_folder(root).rows]
        [('ann/happy/1.wav', 'happy', 'ann'), ('ann/sad/2.wav', 'sad', 'ann'), ('bo/happy/3.wav', 'happy', 'bo')]
    """
    folder = Path(os.path.abspath(root))
    if not folder.is_dir():
        raise InputError(str(root), expected="a folder", got="no such folder", remedy="check the path")
    files = [path.relative_to(folder) for path in files_below(folder)]
    recordings = [path for path in files if path.suffix.lower() in RECORDINGS]
    ignored = [path for path in files if path.suffix.lower() not in RECORDINGS]
    levels = {path: path.parts[:-1] for path in recordings}
    splits: dict[Path, str] = {}
    if recordings and all(parts and parts[0].lower() in SPLIT_NAMES for parts in levels.values()):
        splits = {path: parts[0] for path, parts in levels.items()}
        levels = {path: parts[1:] for path, parts in levels.items()}
    direct = sum(len(parts) == 1 for parts in levels.values())
    deeper = sum(len(parts) > 1 for parts in levels.values())
    first = {parts[0] for parts in levels.values() if parts}
    second = {parts[1] for parts in levels.values() if len(parts) > 1}
    flat = direct >= deeper
    emotion_level = 0 if flat or _mostly_emotions(first) or not _mostly_emotions(second) else 1
    rows: list[ManifestRow] = []
    errors: list[InputError] = []
    for path, parts in levels.items():
        place = path.as_posix()
        if len(parts) <= emotion_level:
            remedy = f"move it into {(Path(*path.parts[:-1]) / 'EMOTION').as_posix()}/"
            errors.append(
                InputError(place, expected="a recording in an emotion's folder", got="no emotion folder", remedy=remedy)
            )
            continue
        speaker = None if flat or len(parts) < 2 else parts[1 - emotion_level]
        rows.append(
            ManifestRow(
                path=folder / path,
                emotion=parts[emotion_level],
                speaker=speaker,
                split=splits.get(path),
                place=place,
                folder=folder,
            )
        )
    if not rows:
        got = "no recording" if not recordings else f"{len(recordings)} recordings in no folder of their own"
        raise InputError(
            str(root), expected=LAYOUT, got=got, remedy="sort the recordings into such folders, or write a manifest"
        )
    return Manifest(tuple(rows), tuple(errors), folder, tuple(path.as_posix() for path in ignored))


def _mostly_emotions(names: Iterable[str]) -> bool:
    matches = [is_emotion(name) for name in names]
    return 2 * sum(matches) > len(matches)
