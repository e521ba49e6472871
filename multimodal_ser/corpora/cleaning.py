"""Writes cleaned copies of recordings: less noise, no silence at the ends, equal loudness."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser._files import writing
from multimodal_ser.audio import SAMPLING_RATE
from multimodal_ser.corpora.audit import threads
from multimodal_ser.corpora.clips import RecordingReader
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError

STEPS = ("denoise", "trim", "loudness")
"""The steps of cleaning, in their order.

Noise is reduced first because it hides the start of speech; loudness is last because trimming changes it.
"""

LOUDNESS = -23.0
"""LUFS: programme loudness of EBU R 128 (https://tech.ebu.ch/docs/r/r128.pdf)."""

TRIM_SILENCE_DB = 40.0
"""dB below the loudest 20 ms: quieter sound at the ends counts as silence."""

PEAK = 0.99
"""The largest absolute sample after a gain."""

PRINT = 0.1
"""s: the quietest stretch of this length is the noise print. It is shorter than most pauses, so every clip has one."""


@dataclass(frozen=True)
class Cleaning:
    """The result of `clean_rows`.

    Args:
        rows: the rows with a cleaned copy, with its path, and the rows without a recording; in order.
        errors: the errors of recordings that could not be cleaned.
        steps: the steps of cleaning, in order.
        folder: the folder of the copies.
        files: the number of copies.
        duration: the length of all copies together, s.
        notes: steps that could not be done as requested, and the number of copies that each concerns.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np, soundfile
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.cleaning import clean_rows
        >>> from multimodal_ser.testing import synthetic_speech
        >>> folder = Path(tempfile.mkdtemp())
        >>> soundfile.write(folder / "a.wav", np.pad(synthetic_speech(1.0), 8000), 16000)
        >>> done = clean_rows([ManifestRow(path=folder / "a.wav", emotion="joy")], folder / "clean", steps=["trim"])
        >>> done.rows[0].path.name, done.rows[0].emotion, round(done.duration, 1)
        ('a.flac', 'joy', 1.0)
    """

    rows: tuple[ManifestRow, ...]
    errors: tuple[InputError, ...]
    steps: tuple[str, ...]
    folder: Path
    files: int
    duration: float
    notes: dict[str, int]

    def to_dict(self) -> dict[str, object]:
        """Everything except the rows, for JSON: steps, folder, files (a count), hours, notes, errors."""
        return {
            "steps": list(self.steps), "folder": str(self.folder), "files": self.files, "hours": round(self.duration / 3600, 4),
            "notes": self.notes, "errors": [str(error) for error in self.errors],
        }  # fmt: skip


def check_steps(steps: str | Sequence[str]) -> tuple[str, ...]:
    """Check steps of cleaning, and sort them into their order.

    Raises:
        InputError: a step is unknown, or needs a package that is not installed.

    Example:
        >>> from multimodal_ser.corpora.cleaning import check_steps
        >>> check_steps(["loudness", "trim"])
        ('trim', 'loudness')
    """
    requested = [steps] if isinstance(steps, str) else list(steps)
    for step in requested:
        if step not in STEPS:
            raise InputError(
                "clean", expected=f"some of {', '.join(STEPS)}", got=repr(step), remedy="choose among them"
            )
    if "denoise" in requested:
        _noisereduce()
    if "loudness" in requested:
        _pyloudnorm()
    return tuple(step for step in STEPS if step in requested)


def clean_waveform(
    waveform: np.ndarray, steps: Sequence[str], *, trim_silence_db: float = TRIM_SILENCE_DB, loudness: float = LOUDNESS
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Clean one clip.

    - "denoise": spectral gating by the clip's quietest 100 ms (Sainburg and Zorea 2024,
      https://arxiv.org/abs/2412.17851), by 20 dB at most. It helps if noise is audible; clean speech loses its quiet
      sounds.
    - "trim": removes silence at both ends with the processor's `trimmed`; at least half a second is kept.
    - "loudness": applies one gain to reach an integrated loudness after ITU-R BS.1770
      (https://www.itu.int/rec/R-REC-BS.1770). Clips shorter than its block of 400 ms are measured by their root mean
      square. The gain is limited so that no sample is above 0.99.

    Args:
        waveform: (S,) float32 at 16 kHz.
        steps: some of `STEPS`, done in the order of `STEPS`.
        trim_silence_db: threshold of "trim", dB below the loudest 20 ms.
        loudness: loudness after "loudness", LUFS; for short clips dBFS.

    Returns:
        The cleaned waveform (S',) float32, and notes on steps that could not be done as requested.

    Raises:
        InputError: see `check_steps`.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.corpora.cleaning import clean_waveform
        >>> from multimodal_ser.testing import synthetic_speech
        >>> clean, notes = clean_waveform(np.pad(synthetic_speech(1.0), 8000), ["trim"])
        >>> len(clean), notes
        (16000, ())
    """
    notes: list[str] = []
    for step in check_steps(steps):
        if step == "denoise":
            waveform = _denoised(waveform, notes)
        elif step == "trim":
            from multimodal_ser.model.processing_multimodal_ser import trimmed

            waveform = trimmed(waveform, trim_silence_db, SAMPLING_RATE)
        else:
            waveform = _levelled(waveform, loudness, notes)
    return np.ascontiguousarray(waveform, dtype=np.float32), tuple(notes)


def clean_rows(
    rows: Sequence[ManifestRow],
    folder: str | os.PathLike,
    *,
    steps: Sequence[str],
    trim_silence_db: float = TRIM_SILENCE_DB,
    loudness: float = LOUDNESS,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Cleaning:
    """Write a cleaned copy of the part of a recording that each row names: mono FLAC of 16 bit at 16 kHz.

    The copies have the same folders below `folder` as the originals. Copies of an earlier run are written again.

    Args:
        rows: rows of a manifest.
        folder: folder of the copies; it is created.
        steps: see `clean_waveform`.
        trim_silence_db: see `clean_waveform`.
        loudness: see `clean_waveform`.
        workers: number of threads; None: see `audit.threads`.
        on_progress: called with the numbers of written copies and of all copies.

    Raises:
        InputError: see `check_steps`; or the folder cannot be written, or it holds originals.
    """
    steps = check_steps(steps)
    folder = Path(os.path.abspath(folder))
    targets = _targets(rows, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f"{folder} ({error.strerror})"
        raise InputError("cleaned_dir", expected="a folder that can be made", got=got, remedy="name another") from error

    def clean(job: tuple[Path, ManifestRow]) -> tuple[float, tuple[str, ...]] | InputError:
        target, row = job
        try:
            waveform, notes = clean_waveform(
                RecordingReader().part(row), steps, trim_silence_db=trim_silence_db, loudness=loudness
            )
            _write(target, waveform)
        except InputError as error:
            return error.named(row.place or row.name) if error.what in ("input", str(row.path)) else error
        except OSError as error:
            return InputError(
                str(target), expected="a file that can be written", got=str(error.strerror), remedy="make room for it"
            )
        return len(waveform) / SAMPLING_RATE, notes

    jobs = list(
        {target: (target, row) for row, target in zip(rows, targets, strict=True) if target is not None}.values()
    )
    results: dict[Path, tuple[float, tuple[str, ...]] | InputError] = {}
    with ThreadPoolExecutor(threads(workers)) as pool:
        for done, ((target, _), result) in enumerate(zip(jobs, pool.map(clean, jobs), strict=True), 1):
            results[target] = result
            if on_progress is not None:
                on_progress(done, len(jobs))
    result_rows = []
    for row, copy in zip(rows, targets, strict=True):
        if copy is None:
            result_rows.append(row)
        elif not isinstance(results[copy], InputError):
            result_rows.append(replace(row, path=copy, start=None, end=None))
    successes = [result for result in results.values() if not isinstance(result, InputError)]
    return Cleaning(
        rows=tuple(result_rows),
        errors=tuple(result for result in results.values() if isinstance(result, InputError)),
        steps=steps,
        folder=folder,
        files=len(successes),
        duration=sum(duration for duration, _ in successes),
        notes=dict(Counter(note for _, notes in successes for note in notes)),
    )


def _targets(rows: Sequence[ManifestRow], folder: Path) -> list[Path | None]:
    """The path of each row's copy; a.wav and a.mp3 in one folder have different copies."""
    paths = [None if row.path is None else Path(os.path.abspath(row.path)) for row in rows]
    recordings = [path for path in paths if path is not None]
    root = Path(os.path.commonpath([path.parent for path in recordings])) if recordings else folder
    homes = {os.path.realpath(path.parent) for path in recordings}
    originals = Counter(path.with_suffix("") for path in set(recordings))
    targets: list[Path | None] = []
    for row, path in zip(rows, paths, strict=True):
        if path is None:
            targets.append(None)
            continue
        relative = path.relative_to(root)
        stem = relative.stem if originals[path.with_suffix("")] == 1 else relative.name.replace(".", "_")
        part = (
            ""
            if row.start is None and row.end is None
            else f"_{row.start or 0:.3f}-{'' if row.end is None else f'{row.end:.3f}'}"
        )
        target = folder / relative.parent / f"{stem}{part}.flac"
        if os.path.realpath(target.parent) in homes:
            raise InputError(
                "cleaned_dir",
                expected="a folder of its own",
                got=f"{target.parent}, which holds originals",
                remedy="name another",
            )
        targets.append(target)
    return targets


def _write(target: Path, waveform: np.ndarray) -> None:
    """Write a file; a failed write leaves no part of it behind."""
    import soundfile as sf

    target.parent.mkdir(parents=True, exist_ok=True)
    with writing(target, flush=False) as place, open(place, "wb") as file:
        sf.write(file, waveform, SAMPLING_RATE, format="FLAC", subtype="PCM_16")


def _denoised(waveform: np.ndarray, notes: list[str]) -> np.ndarray:
    """Gate each band by the mean and spread of the quietest 100 ms.

    The print is shorter and quieter than noisereduce's default, the whole clip, and the threshold is lower. With the
    default, a clean clip is only 6 dB louder than what is removed from it; here it is 15 to 20 dB louder, and noise at
    5 dB is reduced as much (measured on EmoDB's clips, with white and with recorded noise).
    """
    frame = SAMPLING_RATE // 50
    wide = round(PRINT * 50)
    power = np.square(waveform[: len(waveform) // frame * frame].reshape(-1, frame)).mean(1)
    nonzero_frames = np.flatnonzero(power)
    if not len(nonzero_frames):
        return waveform
    # Zeros of padding hold no noise, and the frame at their end holds only part of it: both are left out.
    first = nonzero_frames[0] + (nonzero_frames[0] > 0)
    last = nonzero_frames[-1] + (nonzero_frames[-1] == len(power) - 1)
    power = power[first:last]
    if len(power) < 3 * wide:
        notes.append("too short (less than 0.3 s) to tell noise from speech: noise not reduced")
        return waveform
    at = (first + int(np.convolve(power, np.ones(wide), "valid").argmin())) * frame
    quiet = waveform[at : at + wide * frame]
    if not quiet.any():
        notes.append("digital silence within it: no noise to measure, noise not reduced")
        return waveform
    reduced = _noisereduce()(
        y=waveform,
        sr=SAMPLING_RATE,
        y_noise=quiet,
        stationary=True,
        n_std_thresh_stationary=1.0,
        prop_decrease=0.9,
        use_tqdm=False,
    )
    return np.asarray(reduced, dtype=np.float32)


def _levelled(waveform: np.ndarray, loudness: float, notes: list[str]) -> np.ndarray:
    meter = _pyloudnorm()(SAMPLING_RATE)
    peak = float(np.abs(waveform).max())
    if not peak > 0:
        measured = -np.inf
    elif len(waveform) >= meter.block_size * SAMPLING_RATE:
        # at full scale the absolute gate of the standard does not remove the speech of quiet recordings
        full = waveform.astype(np.float64) / peak
        measured = float(meter.integrated_loudness(full)) + 20 * np.log10(peak)
    else:
        notes.append("shorter than the block of ITU-R BS.1770 (0.4 s): loudness by root mean square")
        measured = 10 * np.log10(float(np.square(waveform, dtype=np.float64).mean()))
    if not measured > -70:  # below the gate of the standard there is no sound
        notes.append("below -70 LUFS, too quiet to be measured: loudness left as it is")
        return waveform
    gain = 10 ** ((loudness - measured) / 20)
    most = PEAK / peak
    if gain > most:
        notes.append(f"peaks do not allow {loudness:g} LUFS: as loud as they do")
        gain = most
    return (waveform * gain).astype(np.float32)


def _missing(package: str, step: str, error: ImportError) -> InputError:
    remedy = 'pip install "multimodal_ser[clean]"'
    return InputError(f"clean {step}", expected=f"the package {package}", got=f"none ({error})", remedy=remedy)


def _noisereduce() -> Callable[..., np.ndarray]:
    try:
        from noisereduce import reduce_noise
    except ImportError as error:
        raise _missing("noisereduce", "denoise", error) from error
    return reduce_noise  # type: ignore[no-any-return]


def _pyloudnorm() -> Callable[..., Any]:
    try:
        from pyloudnorm import Meter
    except ImportError as error:
        raise _missing("pyloudnorm", "loudness", error) from error
    return Meter  # type: ignore[no-any-return]
