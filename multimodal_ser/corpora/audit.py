"""Surveys a corpus before training: measures its clips, counts its labels, and warns of problems."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser.audio import MAX_DURATION, MIN_DURATION, SAMPLING_RATE, as_recorded
from multimodal_ser.corpora.clips import part_samples
from multimodal_ser.corpora.duplicates import alike_speakers, counted
from multimodal_ser.corpora.recordings import in_order, part_error, past_the_end, recording_error
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.corpora.targets import is_annotated, main_emotion
from multimodal_ser.errors import InputError
from multimodal_ser.labels import is_emotion

FULL_SCALE = 0.999
"""Samples of this absolute value or more count as full scale."""

CLIPPED_SHARE = 0.001
"""A clip with a larger share of samples at full scale counts as clipped; normalizing a clip leads to only a few."""

NEAR_SILENCE = -50.0
"""A clip whose loudest 20 ms are below this level, in dBFS, counts as nearly silent."""

SHOWN = 50
"""The most errors in the readable report."""

LISTED = 16
"""The most classes, languages, ... in the readable report."""


@dataclass(frozen=True)
class Measured:
    """Measurements of the part of a recording that a row names.

    Args:
        row: the row of the manifest.
        duration: length of the part, s.
        sampling_rate: sampling rate of the file, Hz.
        channels: number of channels of the file.
        level: root mean square of the loudest 20 ms of the mix, dBFS; -inf: digital silence.
        full_scale: the share of the samples of all channels at full scale, 0 to 1.
        content: digest of the mix, rounded to 16 bit: equal for the same samples in another file or format.
    """

    row: ManifestRow
    duration: float
    sampling_rate: int
    channels: int
    level: float
    full_scale: float
    content: str


@dataclass(frozen=True)
class Survey:
    """The result of `survey`. Clips are named by `ManifestRow.name`; only rows that can be used are counted.

    Args:
        rows: the rows that can be used, in order.
        measured: the measurements of each of them with a recording.
        errors: the errors of the other rows.
        source: the path of the corpus.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.audit import survey
        >>> from multimodal_ser.testing import synthetic_speech
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name, seed in (("a.wav", 1), ("b.flac", 1), ("c.wav", 2)):
        ...     soundfile.write(folder / name, (synthetic_speech(1.0, seed=seed) * 32768).astype("int16"), 16000)
        >>> rows = [ManifestRow(path=folder / name, emotion="joy", folder=folder) for name in ("a.wav", "b.flac", "c.wav", "d.wav")]
        >>> result = survey(rows)
        >>> len(result.measured), result.duplicates, [error.got for error in result.errors]
        (3, [['a.wav', 'b.flac']], ['no such file'])
    """

    rows: tuple[ManifestRow, ...]
    measured: tuple[Measured, ...]
    errors: tuple[InputError, ...] = ()
    source: str = ""

    @property
    def duration(self) -> float:
        """The length of all clips together, s."""
        return sum(clip.duration for clip in self.measured)

    @property
    def duplicates(self) -> list[list[str]]:
        """Lists of clips that have the same samples under several names."""
        return [[clip.row.name for clip in group] for group in self._alike()]

    @property
    def clipped(self) -> dict[str, float]:
        """Clips with more than a thousandth of their samples at full scale, and this share; the largest first."""
        clips = sorted(
            (clip for clip in self.measured if clip.full_scale > CLIPPED_SHARE), key=lambda clip: -clip.full_scale
        )
        return {clip.row.name: round(clip.full_scale, 5) for clip in clips}

    @property
    def nearly_silent(self) -> dict[str, float | None]:
        """Clips whose loudest 20 ms are below -50 dBFS, and this level (None: digital silence), quietest first."""
        clips = sorted((clip for clip in self.measured if clip.level < NEAR_SILENCE), key=lambda clip: clip.level)
        return {clip.row.name: round(clip.level, 1) if np.isfinite(clip.level) else None for clip in clips}

    @property
    def sampling_rates(self) -> dict[int, int]:
        """The number of clips of each sampling rate, Hz; the most frequent rate is first."""
        return dict(Counter(clip.sampling_rate for clip in self.measured).most_common())

    @property
    def low_rates(self) -> dict[str, int]:
        """Clips below 16 kHz, and their sampling rate, Hz; they have no sound above half of this rate."""
        return {clip.row.name: clip.sampling_rate for clip in self.measured if clip.sampling_rate < SAMPLING_RATE}

    @property
    def odd_rates(self) -> dict[str, int]:
        """Clips with another sampling rate than most, and their rate, Hz; the rate in the file may be wrong."""
        usual = next(iter(self.sampling_rates), None)
        return {clip.row.name: clip.sampling_rate for clip in self.measured if clip.sampling_rate != usual}

    @property
    def unknown_emotions(self) -> dict[str, int]:
        """Emotions that this library does not know, and the number of their rows."""
        return {
            name: count
            for name, count in self._count("emotion").items()
            if name and not all(map(is_emotion, name.split("|")))
        }

    @property
    def warnings(self) -> list[str]:
        """Problems to check before training, a line each."""
        lines = []
        if self.duplicates:
            groups = counted(len(self.duplicates), "recording is", "recordings are")
            lines.append(f"{groups} there under several names: {_some(map(' = '.join, self.duplicates))}")
        for column in ("emotion", "speaker"):
            differing = [
                [clip.row.name for clip in group]
                for group in self._alike()
                if len({getattr(clip.row, column) for clip in group}) > 1
            ]
            if differing:
                groups = counted(len(differing), "of them has", "of them have")
                lines.append(f"{groups} several {column}s: {_some(map(' = '.join, differing))}")
        if self.clipped:
            shares = (f"{name} ({100 * share:.1f} %)" for name, share in self.clipped.items())
            lines.append(
                f"{counted(len(self.clipped), 'clip is', 'clips are')} clipped (share of samples at full scale): {_some(shares)}"
            )
        if self.nearly_silent:
            levels = (
                f"{name} ({'silence' if level is None else f'{level:g} dBFS'})"
                for name, level in self.nearly_silent.items()
            )
            lines.append(
                f"{counted(len(self.nearly_silent), 'clip is', 'clips are')} nearly silent (loudest 20 ms): {_some(levels)}"
            )
        if self.low_rates:
            rates = (f"{name} ({rate} Hz)" for name, rate in self.low_rates.items())
            lines.append(
                f"{counted(len(self.low_rates), 'clip is', 'clips are')} below 16 kHz, some of the sound is missing: {_some(rates)}"
            )
        if self.odd_rates:
            rates = (f"{name} ({rate} Hz)" for name, rate in self.odd_rates.items())
            usual = next(iter(self.sampling_rates))
            clips = counted(len(self.odd_rates), "clip has", "clips have")
            lines.append(f"{clips} another rate than the {usual} Hz of most: {_some(rates)}")
        for name, count in self.unknown_emotions.items():
            first = next(row.place or row.name for row in self.rows if main_emotion(row) == name)
            rows = counted(count, "row shows", "rows show")
            lines.append(
                f"{rows} {name!r}, an emotion that this library has no name for (the first: {first}; --map-labels names it)"
            )
        alike = alike_speakers(row.speaker for row in self.rows)
        if alike:
            voices = counted(len(alike), "speaker is", "speakers are")
            lines.append(
                f"{voices} written in several ways, each of which counts as a voice of its own: {_some(map(' / '.join, alike))}"
            )
        past = [clip.row.name for clip in self.measured if past_the_end(clip.row, clip.duration)]
        if past:
            lines.append(
                f"{counted(len(past), 'part ends', 'parts end')} after the recording does: what there is is taken: {_some(past)}"
            )
        if self.measured and not any(clip.row.speaker for clip in self.measured):
            lines.append("no row has a speaker: the voices of training and test cannot be separated")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The survey for JSON.

        Durations are in s ("hours" in hours), sampling rates in Hz, levels in dBFS; "emotions", "speakers" and the like
        are counts of rows.
        """
        longest, shortest = self._extremes()
        return {
            "source": self.source,
            "rows": len(self.rows), "clips": len(self.measured), "texts_alone": len(self.rows) - len(self.measured),
            "with_words": sum(row.text is not None for row in self.rows),
            "hours": round(self.duration / 3600, 4),
            "mean_duration": round(self.duration / len(self.measured), 3) if self.measured else None,
            "shortest": _length(shortest), "longest": _length(longest),
            "emotions": self._count("emotion"), "speakers": self._count("speaker"), "genders": self._count("gender"),
            "languages": self._count("language"), "corpora": self._count("corpus"), "splits": self._count("split"),
            "unlabelled": sum(not is_annotated(row, dimensions=()) for row in self.rows),
            "sampling_rates": {str(rate): count for rate, count in self.sampling_rates.items()},
            "channels": {str(width): n for width, n in sorted(Counter(clip.channels for clip in self.measured).items())},
            "duplicates": self.duplicates, "clipped": self.clipped, "nearly_silent": self.nearly_silent, "low_rates": self.low_rates,
            "odd_rates": self.odd_rates, "unknown_emotions": self.unknown_emotions,
            "warnings": self.warnings, "errors": [str(error) for error in self.errors],
        }  # fmt: skip

    def __str__(self) -> str:
        shortest = longest = ""
        if self.measured:
            long, short = self._extremes()
            assert long is not None and short is not None
            shortest, longest = (f"{clip.duration:.2f} s ({clip.row.name})" for clip in (short, long))
        rates = (f"{rate} Hz ({counted(count, 'clip')})" for rate, count in self.sampling_rates.items())
        widths = sorted(Counter(clip.channels for clip in self.measured).items())
        facts = {
            "source": self.source,
            "clips": f"{len(self.measured)}, {_hours(self.duration)}" if self.measured else "",
            "texts alone": str(len(self.rows) - len(self.measured) or ""),
            "words given": f"{sum(row.text is not None for row in self.rows)} of {len(self.rows)} rows",
            "shortest": shortest,
            "longest": longest,
            "emotions": _counts(self._count("emotion")),
            "unlabelled": str(sum(not is_annotated(row, dimensions=()) for row in self.rows) or ""),
            "speakers": str(len(self._count("speaker")) or "not given"),
            "genders": _counts(self._count("gender")) or "not given",
            "languages": _counts(self._count("language")),
            "splits": _counts(self._count("split")),
            "rates": ", ".join(rates),
            "channels": ", ".join(f"{width} ({counted(count, 'clip')})" for width, count in widths),
        }
        lines = [f"{name:<12} {value}" for name, value in facts.items() if value]
        lines += [f"look at      {line}" for line in self.warnings]
        if self.errors:
            lines.append(
                f"left out     {counted(len(self.errors), 'row or file', 'rows or files')} that cannot be used:"
            )
            lines += [f"  {error}" for error in self.errors[:SHOWN]]
            if len(self.errors) > SHOWN:
                lines.append(f"  and {len(self.errors) - SHOWN} more: as JSON they are all named")
        return "\n".join(lines)

    def _count(self, column: str) -> dict[str, int]:
        values = (main_emotion(row) if column == "emotion" else getattr(row, column) for row in self.rows)
        return dict(sorted(Counter(value for value in values if value is not None).items()))

    def _alike(self) -> list[list[Measured]]:
        groups: dict[str, dict[str, Measured]] = {}
        for clip in self.measured:
            groups.setdefault(clip.content, {}).setdefault(clip.row.name, clip)
        return [list(group.values()) for group in groups.values() if len(group) > 1]

    def _extremes(self) -> tuple[Measured | None, Measured | None]:
        """The longest and the shortest clip."""
        return tuple(choose(self.measured, key=lambda clip: clip.duration, default=None) for choose in (max, min))  # type: ignore[return-value]


def survey(
    rows: Sequence[ManifestRow],
    *,
    errors: Sequence[InputError] = (),
    source: str = "",
    max_duration: float = MAX_DURATION,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Decode every recording once, block by block, and measure each clip in it.

    Args:
        rows: rows of a manifest.
        errors: errors of other rows, for the report.
        source: the path of the corpus, for the report.
        max_duration: the longest recording that is accepted, s.
        workers: number of threads; None: see `threads`.
        on_progress: called with the numbers of measured recordings and of all recordings.

    Returns:
        The survey. A recording that cannot be decoded to its end, and a part outside its recording, are errors.
    """
    parts: dict[Path, list[int]] = {}
    for index, row in enumerate(rows):
        if row.path is not None:
            parts.setdefault(row.path, []).append(index)
    results_by_row: dict[int, Measured | InputError] = {}

    def measure(path: Path) -> list[Measured | InputError]:
        return _measured(path, [rows[index] for index in parts[path]], max_duration)

    reported = list(errors)
    with ThreadPoolExecutor(threads(workers)) as pool:
        for done, (path, results) in enumerate(zip(parts, pool.map(measure, parts), strict=True), 1):
            results_by_row |= dict(zip(parts[path], results, strict=True))
            reported += [result for result in results if isinstance(result, InputError)]
            if on_progress is not None:
                on_progress(done, len(parts))
    usable = [
        index for index, row in enumerate(rows) if row.path is None or isinstance(results_by_row[index], Measured)
    ]
    measured = tuple(clip for index in usable if isinstance(clip := results_by_row.get(index), Measured))
    return Survey(tuple(rows[index] for index in usable), measured, tuple(in_order(reported)), source)


class _Gauge:
    """Measures a part of a recording, piece by piece."""

    def __init__(self, part: slice, rate: int):
        self.start = part.start
        self.end = part.stop
        self.frame = max(1, rate // 50)
        self.samples = self.full = self.values = 0
        self.power = 0.0
        self.rest = np.zeros(0, np.float32)
        self.digest = hashlib.sha256(f"{rate} Hz".encode())

    def add(self, at: int, piece: np.ndarray, mix: np.ndarray) -> None:
        """Add the samples of a piece (S, C) that are in the part; `at` is the first sample of the piece."""
        first = max(0, self.start - at)
        last = len(mix) if self.end is None else min(len(mix), self.end - at)
        if first >= last:
            return
        mix = mix[first:last]
        self.samples += len(mix)
        self.values += mix.size * piece.shape[1]
        self.full += int(np.count_nonzero(np.abs(piece[first:last]) >= FULL_SCALE))
        self.digest.update(np.rint(mix * 32768).astype("<i4"))
        pending = np.concatenate([self.rest, mix])
        complete = len(pending) // self.frame * self.frame
        if complete:
            self.power = max(self.power, float(np.square(pending[:complete].reshape(-1, self.frame)).mean(1).max()))
        self.rest = pending[complete:]

    def result(self, row: ManifestRow, rate: int, channels: int) -> Measured:
        level = 10 * np.log10(self.power) if self.power > 0 else -np.inf
        return Measured(
            row, self.samples / rate, rate, channels, float(level), self.full / self.values, self.digest.hexdigest()
        )


def _measured(path: Path, rows: Sequence[ManifestRow], max_duration: float) -> list[Measured | InputError]:
    """The measurements of each row's part of a recording, or the error."""
    at = channels = 0
    try:
        with as_recorded(path, max_duration) as (rate, pieces):
            gauges = [_Gauge(part_samples(row, rate), rate) for row in rows]
            for piece in pieces:
                channels = piece.shape[1]
                mix = piece.mean(axis=1, dtype=np.float32) if channels > 1 else piece[:, 0]
                for gauge in gauges:
                    gauge.add(at, piece, mix)
                at += len(piece)
        if at < MIN_DURATION * rate:
            got = f"{1000 * at / rate:.0f} ms" if at else "no sound"
            raise InputError(str(path), expected="a recording of at least 25 ms", got=got, remedy="record it again")
    except InputError as error:
        return [recording_error(row, error) for row in rows]
    return [
        part_error(row, at / rate) or gauge.result(row, rate, channels) for row, gauge in zip(rows, gauges, strict=True)
    ]


def _counts(counts: dict[str, int]) -> str:
    """A line with the counts of all names, or of the most frequent ones."""
    most = counts if len(counts) <= LISTED else dict(sorted(counts.items(), key=lambda item: -item[1])[:LISTED])
    more = f" and {len(counts) - LISTED} more" if len(counts) > LISTED else ""
    return ", ".join(f"{name} {count}" for name, count in most.items()) + more


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 3600:.2f} hours"
        if seconds >= 360
        else f"{seconds / 60:.1f} minutes"
        if seconds >= 60
        else f"{seconds:.1f} s"
    )


def _length(clip: Measured | None) -> dict[str, Any] | None:
    return None if clip is None else {"name": clip.row.name, "duration": round(clip.duration, 3)}


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


def threads(workers: int | None) -> int:
    """The number of threads: `workers`, or one for each core, at most four, because more only wait for one another.

    Example:
        >>> from multimodal_ser.corpora.audit import threads
        >>> threads(2), 1 <= threads(None) <= 4
        (2, True)
    """
    return workers or min(4, os.cpu_count() or 1)
