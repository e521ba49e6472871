"""Classical features of speech: MFCC, fundamental frequency, energy and formants, for each frame and as statistics."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser._files import writing
from multimodal_ser.audio import SAMPLING_RATE
from multimodal_ser.corpora.clips import RecordingReader
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError

logger = logging.getLogger(__name__)

HOP = 160
"""Samples between frames: 10 ms."""

MFCC = 20
"""Cepstral coefficients of a frame; their first and second differences are as many each."""

PITCH_RANGE = (65.0, 600.0)
"""Range of the pitch, in Hz: from deep voices of men to shouts of women."""

VOICED = 0.45
"""Least autocorrelation of a voiced frame, Praat's default."""

FORMANT_RATE = 10_000
"""Sampling rate, in Hz: below 5 kHz a vocal tract has about five formants, for which ten coefficients are enough."""

BLOCK = 30 * SAMPLING_RATE
"""Samples of one analysed block, so that an hour needs no more memory than half a minute."""

QUIET = 40.0
"""Frames that are more than this many dB below the loudest frame of a clip count as silence."""

VERSION = "2"
"""Part of the names in the cache; it has to be raised whenever the computation changes."""

COLUMNS = (
    *(f"{kind}_{i}" for kind in ("mfcc", "mfcc_delta", "mfcc_delta2") for i in range(MFCC)),
    "energy", "pitch", "formant_1", "formant_2", "formant_3",
)  # fmt: skip
"""Names of the columns of `descriptors`."""


def descriptors(waveform: np.ndarray) -> np.ndarray:
    """Compute the features of each 10 ms of a recording.

    MFCC as in Davis and Mermelstein 1980 (https://doi.org/10.1109/TASSP.1980.1163420), computed by torchaudio, and their differences; log
    energy in dB; pitch in semitones above 27.5 Hz by the autocorrelation of Boersma 1993
    (https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf); formants in Hz by linear prediction (Atal and Hanauer 1971,
    https://doi.org/10.1121/1.1912679). Pitch and formants are NaN in unvoiced frames.

    Args:
        waveform: (S,) float32 at 16 kHz.

    Returns:
        (1 + S // 160, 65) float32, columns as in `COLUMNS`.

    Example:
        >>> from multimodal_ser.evaluation.baselines.features import COLUMNS, descriptors
        >>> buzz = sum(np.sin(2 * np.pi * 110 * k * np.arange(16000) / 16000) / k for k in range(1, 20)) / 4
        >>> frames = descriptors(buzz)
        >>> frames.shape, round(float(np.nanmedian(frames[:, COLUMNS.index("pitch")])))  # two octaves above 27.5 Hz
        ((101, 65), 24)
    """
    import torch
    import torchaudio

    waveform = np.ascontiguousarray(waveform, np.float32)
    peak = float(np.abs(waveform).max())
    blocks = []
    for at in range(0, len(waveform), BLOCK):
        block = waveform[at : at + BLOCK]
        with torch.inference_mode():
            cepstra = _mfcc()(torch.from_numpy(block))
        pitch = _pitch(block, peak)
        formants = _formants(block, ~np.isnan(pitch))
        rest = np.column_stack([_energy(block), pitch, formants])
        blocks.append(
            (cepstra, rest if at + BLOCK >= len(waveform) else rest[:-1])
        )  # the frame on an edge belongs to the next block
    cepstra = torch.cat([c[:, : len(rest)] for c, rest in blocks], dim=1)
    delta = torchaudio.functional.compute_deltas(cepstra)
    joined = torch.cat([cepstra, delta, torchaudio.functional.compute_deltas(delta)]).numpy().T
    return np.ascontiguousarray(
        np.concatenate([joined, np.concatenate([rest for _, rest in blocks])], axis=1), np.float32
    )


def statistics(frames: np.ndarray) -> np.ndarray:
    """Statistics of a clip: mean, standard deviation and percentiles of each column, over the frames without silence.

    Args:
        frames: (T, 65), of `descriptors`.

    Returns:
        (331,) float64: mean, standard deviation, 10th, 50th and 90th percentile of each column, those of pitch and formants NaN in a clip
        without voice; then the change of pitch and of energy a second, the share of voiced frames, voiced stretches a second, their mean
        length and the duration, in s, without silence at the ends.

    Example:
        >>> from multimodal_ser.evaluation.baselines.features import descriptors, statistics
        >>> from multimodal_ser.testing import synthetic_speech
        >>> statistics(descriptors(synthetic_speech(1.0))).shape
        (331,)
    """
    inner = frames[spoken(frames)].astype(np.float64)
    energy, pitch = inner[:, COLUMNS.index("energy")], inner[:, COLUMNS.index("pitch")]
    loud_frames = inner[energy > energy.max() - QUIET] if len(inner) > 1 else inner
    parts = []
    for column in loud_frames.T:
        values = column[~np.isnan(column)]
        parts += [values.mean(), values.std(), *np.percentile(values, (10, 50, 90))] if len(values) else [np.nan] * 5
    voiced = ~np.isnan(pitch)
    starts = int(voiced[0]) + int((voiced[1:] & ~voiced[:-1]).sum())
    seconds = len(inner) * HOP / SAMPLING_RATE
    length = voiced.sum() * HOP / SAMPLING_RATE / starts if starts else 0.0
    times = np.arange(len(inner)) * HOP / SAMPLING_RATE
    slopes = [_slope(times, pitch), _slope(times, energy)]
    return np.array([*parts, *slopes, voiced.mean(), starts / seconds, length, seconds])


def spoken(frames: np.ndarray) -> slice:
    """The frames (T, 65) without silence at the ends: from the first to the last that is at most 40 dB below the loudest."""
    energy = frames[:, COLUMNS.index("energy")]
    loud = np.flatnonzero(energy > energy.max() - QUIET)
    return slice(int(loud[0]), int(loud[-1]) + 1)


def sequence(frames: np.ndarray) -> np.ndarray:
    """The MFCC and their differences of every second frame, without silence at the ends: (T', 60) float32."""
    return np.ascontiguousarray(frames[spoken(frames), : 3 * MFCC][::2])


def egemaps() -> Callable[[np.ndarray], np.ndarray]:
    """A function from a waveform (S,) at 16 kHz to the 88 functionals of eGeMAPSv02 (https://doi.org/10.1109/TAFFC.2015.2457417).

    Raises:
        InputError: openSMILE is not installed.
    """
    try:
        import opensmile
    except ModuleNotFoundError as error:
        remedy = "pip install opensmile (the extra `opensmile`; its licence forbids commercial use)"
        raise InputError("egemaps-svm", expected="the package opensmile", got="none", remedy=remedy) from error
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )

    def functionals(waveform: np.ndarray) -> np.ndarray:
        return smile.process_signal(waveform, SAMPLING_RATE).to_numpy(np.float32)[0]

    return functionals


class FeatureReader:
    """Features of a manifest's recordings, stored on disk by the content of the files, not by their names.

    Args:
        kind: name of the features in the cache.
        compute: function from a waveform (S,) at 16 kHz to an array.
        cache_dir: folder of the cache, which is created; None: nothing is stored.

    Raises:
        InputError: a folder that cannot be created.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.evaluation.baselines.features import FeatureReader
        >>> folder = Path(tempfile.mkdtemp())
        >>> soundfile.write(folder / "a.wav", np.ones(16000, np.float32) / 2, 16000)
        >>> reader = FeatureReader("length", lambda waveform: np.array(len(waveform)), cache_dir=folder / "cache")
        >>> int(reader(ManifestRow(path=folder / "a.wav", start=0.25))), len(list((folder / "cache").rglob("*.npy")))
        (12000, 1)
    """

    def __init__(
        self, kind: str, compute: Callable[[np.ndarray], np.ndarray], cache_dir: str | os.PathLike | None = None
    ):
        self.kind, self.compute = kind, compute
        self.folder = None if cache_dir is None else Path(cache_dir) / f"{kind}-{VERSION}"
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                got = f"{cache_dir} ({error.strerror})"
                expected = "a folder, or one that can be made"
                raise InputError("cache_dir", expected=expected, got=got, remedy="name another") from error
        self._reader = RecordingReader()
        self._content: tuple[Path | None, str] = None, ""

    def __call__(self, row: ManifestRow) -> np.ndarray:
        """The features of a row's recording, from the start to the end that the row names.

        Raises:
            InputError: the row has no recording, or one that cannot be read.
        """
        if row.path is None:
            raise InputError(
                row.place or row.name, expected="a recording", got="words alone", remedy="leave the row out"
            )
        digest = self._digest(row.path)
        file = None
        if self.folder is not None:
            name = hashlib.sha256(f"{digest} {row.start} {row.end}".encode()).hexdigest()
            file = self.folder / name[:2] / f"{name}.npy"
            with suppress(OSError, ValueError, EOFError):  # a damaged file is written anew
                return np.load(file, allow_pickle=False)
        features = self.compute(self._reader.part(row))
        if file is not None:
            _write(file, features)
        return features

    def _digest(self, path: Path) -> str:
        if self._content[0] != path:
            try:
                with open(path, "rb") as file:
                    self._content = path, hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                got = error.strerror or "an error"
                raise InputError(
                    str(path), expected="a file that can be read", got=got, remedy="check the path"
                ) from error
        return self._content[1]


def _write(file: Path, features: np.ndarray) -> None:
    """Write a file, whole or not at all. A full or read-only disk causes a warning, as the features are there."""
    try:
        file.parent.mkdir(exist_ok=True)
        with writing(file, mode=0o600, flush=False) as place, open(place, "wb") as new:
            np.save(new, features, allow_pickle=False)
    except OSError as error:
        logger.warning("cache_dir: features are not stored in %s (%s)", file.parent, error.strerror)


@cache
def _mfcc() -> Any:
    import torchaudio

    mel = {"n_fft": 512, "win_length": 400, "hop_length": HOP, "n_mels": 40, "f_min": 20.0, "pad_mode": "constant"}
    return torchaudio.transforms.MFCC(SAMPLING_RATE, n_mfcc=MFCC, log_mels=True, melkwargs=mel)


def _framed(signal: np.ndarray, width: int, hop: int, count: int) -> np.ndarray:
    """(count, width): frames with their middle on every `hop`-th sample, zeros beyond the ends."""
    padded = np.pad(signal, (width // 2, max(0, count * hop + width - len(signal))))
    return np.lib.stride_tricks.sliding_window_view(padded, width)[::hop][:count]


def _energy(block: np.ndarray) -> np.ndarray:
    """(T,) dB of full scale; digital silence is -100."""
    power = np.square(_framed(block, 400, HOP, 1 + len(block) // HOP)).mean(1)
    return 10 * np.log10(power + 1e-10)


def _pitch(block: np.ndarray, peak: float) -> np.ndarray:
    """(T,) semitones above 27.5 Hz; NaN where a frame is unvoiced."""
    width, size = 640, 2048  # 40 ms hold 2.6 periods of 65 Hz
    frames = _framed(block, width, HOP, 1 + len(block) // HOP)
    loudest = np.abs(frames).max(1)
    window = np.hanning(width).astype(np.float32)
    frames = (frames - frames.mean(1, keepdims=True)) * window
    lags = slice(int(SAMPLING_RATE / PITCH_RANGE[1]), int(SAMPLING_RATE / PITCH_RANGE[0]) + 2)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)[: lags.stop]
    autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(frames, size)) ** 2)[:, : lags.stop]
    # the autocorrelation of a windowed signal falls with the lag; a division by that of the window corrects this
    curve = autocorrelation / np.maximum(autocorrelation[:, :1], 1e-9) / (own / own[0])
    inside = curve[:, lags.start : lags.stop - 1]
    summit = (inside >= curve[:, lags.start - 1 : lags.stop - 2]) & (inside >= curve[:, lags.start + 1 : lags.stop])
    # of two equal candidates the higher pitch wins
    cost = 0.01 * np.log2(PITCH_RANGE[0] * np.arange(lags.start, lags.stop - 1) / SAMPLING_RATE)
    best = np.where(summit, inside - cost, -np.inf).argmax(1)
    rows = np.arange(len(frames))
    before, top, after = (curve[rows, best + lags.start + step] for step in (-1, 0, 1))
    bend = before - 2 * top + after
    shift = np.divide(before - after, 2 * bend, out=np.zeros_like(top), where=np.abs(bend) > 1e-12).clip(-0.5, 0.5)
    voiced = summit.any(1) & (top > VOICED) & (loudest > 0.03 * peak)
    return np.where(voiced, 12 * np.log2(SAMPLING_RATE / (best + lags.start + shift) / 27.5), np.nan)


def _formants(block: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """(T, 3) first resonances of each frame, in Hz; NaN for missing ones and in unvoiced frames."""
    import soxr

    formants = np.full((len(voiced), 3), np.nan)
    if not voiced.any():
        return formants
    order, width = FORMANT_RATE // 1000, FORMANT_RATE // 40
    signal = soxr.resample(block, SAMPLING_RATE, FORMANT_RATE)
    signal = np.append(signal[:1], signal[1:] - 0.97 * signal[:-1])
    frames = _framed(signal, width, FORMANT_RATE * HOP // SAMPLING_RATE, len(voiced))[voiced] * np.hamming(width)
    moments = np.fft.irfft(np.abs(np.fft.rfft(frames, 1024)) ** 2)[:, : order + 1]
    moments[:, 0] = moments[:, 0] * (1 + 1e-9) + 1e-12  # a frame of zeros has a solution too
    toeplitz = moments[:, np.abs(np.subtract.outer(np.arange(order), np.arange(order)))]
    coefficients = np.linalg.solve(toeplitz, moments[:, 1:, None])[..., 0]
    companion = np.tile(np.eye(order, k=-1), (len(frames), 1, 1))
    companion[:, 0] = coefficients
    roots = np.linalg.eigvals(companion)
    frequency = np.angle(roots) * FORMANT_RATE / (2 * np.pi)
    bandwidth = -np.log(np.maximum(np.abs(roots), 1e-9)) * FORMANT_RATE / np.pi
    resonance = (frequency > 90) & (frequency < FORMANT_RATE / 2 - 50) & (bandwidth < 400)
    ordered = np.sort(np.where(resonance, frequency, np.inf), axis=1)[:, :3]
    formants[voiced] = np.where(np.isfinite(ordered), ordered, np.nan)
    return formants


def _slope(times: np.ndarray, values: np.ndarray) -> float:
    """Change per second, by least squares; NaN for fewer than two values."""
    present = ~np.isnan(values)
    if present.sum() < 2:
        return float("nan")
    t, v = times[present] - times[present].mean(), values[present] - values[present].mean()
    return float(t @ v / (t @ t))
