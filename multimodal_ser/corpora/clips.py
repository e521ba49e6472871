"""Decodes the recordings of a manifest, and provides the samples of the part that each row names."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal_ser.audio import MIN_DURATION, SAMPLING_RATE, AudioError, load_audio
from multimodal_ser.corpora.recordings import part_error, recording_error
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError


@dataclass(frozen=True)
class Clip:
    """A row whose recording was decoded.

    Args:
        row: the row of the manifest.
        content: sha256 of the recording's bytes, or of the text of a row without a recording.
        duration: length of the row's part, s; 0 without a recording.
        context: texts of the turns before the row, oldest first.
        sound: a digest of the part's samples, equal in a copy under another name; None without a recording.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.clips import examine
        >>> clips, errors = examine([ManifestRow(text="I won!", emotion="joy")])
        >>> clips[0].duration, clips[0].context, errors
        (0.0, (), [])
    """

    row: ManifestRow
    content: str
    duration: float
    context: tuple[str, ...] = ()
    sound: str | None = None


def part_samples(row: ManifestRow, sampling_rate: int = SAMPLING_RATE) -> slice:
    """The samples of a recording that a row names; only this function rounds `start` and `end` to samples.

    Args:
        row: row of a manifest.
        sampling_rate: sampling rate of the recording, Hz.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.clips import part_samples
        >>> part_samples(ManifestRow(path=Path("a.wav"), start=0.5, end=1.25)), part_samples(ManifestRow(path=Path("a.wav")), 8000)
        (slice(8000, 20000, None), slice(0, None, None))
    """
    seconds = row.start or 0.0
    start = round(seconds * sampling_rate)
    return slice(start, None if row.end is None else start + round((row.end - seconds) * sampling_rate))


class RecordingReader:
    """Decodes recordings and keeps the last one: the rows of one recording often follow each other.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.clips import RecordingReader
        >>> from multimodal_ser.testing import synthetic_speech
        >>> path = Path(tempfile.mkdtemp(), "a.wav")
        >>> soundfile.write(path, synthetic_speech(1.0), 16000)
        >>> reader = RecordingReader()
        >>> reader.recording(path).shape, reader.part(ManifestRow(path=path, start=0.25)).shape
        ((16000,), (12000,))
    """

    def __init__(self) -> None:
        self._last: tuple[Path, np.ndarray] | None = None

    def recording(self, path: Path) -> np.ndarray:
        """A whole recording, (S,) float32 at 16 kHz.

        Raises:
            AudioError: the recording cannot be decoded, see `load_audio`.
        """
        last = self._last
        if last is None or last[0] != path:
            last = self._last = path, load_audio(path)
        return last[1]

    def part(self, row: ManifestRow) -> np.ndarray:
        """The part of its recording that a row names, (S,) float32 at 16 kHz.

        Raises:
            AudioError: the recording cannot be decoded, or has less than 25 ms in that part.
        """
        assert row.path is not None
        recording = self.recording(row.path)
        part = recording[part_samples(row)]
        if len(part) < MIN_DURATION * SAMPLING_RATE:
            end = "the end" if row.end is None else f"{row.end:g} s"
            got = f"{row.start or 0:g} s to {end} of {len(recording) / SAMPLING_RATE:.3f} s"
            remedy = "correct start and end"
            raise AudioError(row.place or row.name, expected="at least 25 ms of audio", got=got, remedy=remedy)
        return part


def examine(
    rows: Sequence[ManifestRow],
    *,
    context_turns: int = 0,
    among: Sequence[ManifestRow] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Clip], list[InputError]]:
    """Decode every recording once, so that broken recordings are errors before a long run, not during it.

    Args:
        rows: rows of a manifest.
        context_turns: the number of turns before each row in its dialogue that are its context.
        among: the rows from which the context is taken, for example with unlabelled rows too; None: `rows`.
        on_progress: called with the numbers of decoded recordings and of all recordings.

    Returns:
        The clips of rows that can be used, in order, and an error for each other row. If a part ends after its
        recording (`recordings.past_the_end`), it is cut at the end of the recording.
    """
    members: dict[Path, list[ManifestRow]] = {}
    for row in rows:
        if row.path is not None:
            members.setdefault(row.path, []).append(row)
    decoded: dict[Path, _Decoded | InputError] = {}
    with ThreadPoolExecutor(4) as pool:
        for path, result in zip(members, pool.map(_decoded, members, members.values()), strict=True):
            decoded[path] = result
            if on_progress is not None:
                on_progress(len(decoded), len(members))
    clips: list[Clip] = []
    errors: list[InputError] = []
    contexts = _contexts(rows, rows if among is None else among, context_turns)
    for row, context in zip(rows, contexts, strict=True):
        if row.path is None:
            clips.append(Clip(row, hashlib.sha256((row.text or "").encode()).hexdigest(), 0.0, context))
            continue
        result = decoded[row.path]
        if isinstance(result, InputError):
            errors.append(recording_error(row, result))
        elif (error := part_error(row, result.duration)) is not None:
            errors.append(error)
        else:
            end = result.duration if row.end is None else min(row.end, result.duration)
            sound = result.sounds[row.start, row.end]
            clips.append(Clip(row, result.content, end - (row.start or 0.0), context, sound))
    return clips, errors


@dataclass(frozen=True)
class _Decoded:
    """The sha256 of a recording's bytes, its length in s, and digests of the samples of its parts by start and end."""

    content: str
    duration: float
    sounds: dict[tuple[float | None, float | None], str]


def _decoded(path: Path, rows: Sequence[ManifestRow]) -> _Decoded | InputError:
    try:
        data = path.read_bytes()
        waveform = load_audio(io.BytesIO(data))
    except InputError as error:
        return error
    except OSError as error:
        got = error.strerror or "an error"
        return InputError(str(path), expected="a file that can be read", got=got, remedy="check it")
    sounds = {
        part: hashlib.sha256(waveform[part_samples(row)].tobytes()).hexdigest()
        for part, row in {(row.start, row.end): row for row in rows}.items()
    }
    return _Decoded(hashlib.sha256(data).hexdigest(), len(waveform) / SAMPLING_RATE, sounds)


def _contexts(rows: Sequence[ManifestRow], among: Sequence[ManifestRow], turns: int) -> list[tuple[str, ...]]:
    """The texts of the `turns` turns before each row in its dialogue."""
    if not turns:
        return [()] * len(rows)
    dialogues: dict[tuple, list[ManifestRow]] = {}
    for row in among:
        if row.dialogue is not None:
            dialogues.setdefault(_dialogue(row), []).append(row)
    places: dict[tuple, dict[str, int]] = {}
    for name, members in dialogues.items():
        if all(row.turn is not None for row in members):
            members.sort(key=lambda row: row.turn or 0)
        places[name] = {row.place: at for at, row in enumerate(members)}
    contexts = []
    for row in rows:
        at = places.get(_dialogue(row), {}).get(row.place, 0)
        before = dialogues[_dialogue(row)][max(0, at - turns) : at] if at else []
        contexts.append(tuple(turn.text for turn in before if turn.text))
    return contexts


def _dialogue(row: ManifestRow) -> tuple:
    """A key of a row's dialogue: other tables, splits and languages may have dialogues of the same name."""
    return row.folder, row.place.rpartition(", ")[0], row.split, row.language, row.dialogue
