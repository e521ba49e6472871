"""`BatchPlanner`: division of rows into steps of similar length, the same for any number of processes.

A step holds the rows of all devices and of all accumulated passes. It is divided into passes and among processes
afterwards, so that their numbers do not change the rows of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TEXT_SECONDS = 1.0
"""Length in seconds of a row without a recording, for batches that are limited in seconds."""

BUCKET = 16
"""Largest number of steps whose rows are sorted by length together.

More steps need less padding, fewer mix rows better. In a small set it is a quarter of the steps: if all rows were
sorted together, every epoch would have the same batches.
"""


@dataclass(frozen=True)
class BatchPlanner:
    """Divides the rows of each epoch into steps; a function of its fields and the epoch alone.

    Args:
        durations: seconds of each row; 0 for a row without a recording.
        rows: number of rows per step.
        seconds: in place of `rows`, most seconds of audio per step, with padding (number of rows times the longest).
        seed: seed of the order.
        classes: class of each row, to draw every class equally often, with replacement; -1: a row without a class,
            which is drawn once. None: every row is drawn once.

    Example:
        >>> from multimodal_ser.training.batching import BatchPlanner
        >>> durations = (1.0, 9.0, 1.2, 8.0, 1.1)
        >>> steps = BatchPlanner(durations, seconds=20.0).epoch(0)
        >>> sorted(row for step in steps for row in step)
        [0, 1, 2, 3, 4]
        >>> max(len(step) * max(durations[row] for row in step) for step in steps) <= 20
        True
    """

    durations: tuple[float, ...]
    rows: int | None = None
    seconds: float | None = None
    seed: int = 0
    classes: tuple[int, ...] | None = None

    def epoch(self, epoch: int) -> list[list[int]]:
        """Return the steps of an epoch, each a list of row indices, the longest first."""
        generator = np.random.default_rng([self.seed, epoch, 0xBA7C])
        order = self._drawn(generator)
        if self.rows is not None:
            rows_per_step = float(self.rows)
        else:
            rows_per_step = (self.seconds or 0.0) / (float(np.mean([self._length(i) for i in order])) if order else 1.0)
        block = max(1, int(rows_per_step * max(1, min(BUCKET, len(order) / rows_per_step // 4))))
        steps: list[list[int]] = []
        for at in range(0, len(order), block):
            steps += self._filled(sorted(order[at : at + block], key=lambda i: (-self.durations[i], i)))
        return [steps[i] for i in generator.permutation(len(steps))]

    def steps_per_epoch(self, epoch: int = 0) -> int:
        """Return the number of steps of an epoch; it is the same for all unless `classes` or `seconds` is set."""
        return len(self.epoch(epoch))

    def _length(self, row: int) -> float:
        return self.durations[row] or TEXT_SECONDS

    def _drawn(self, generator: np.random.Generator) -> list[int]:
        count = len(self.durations)
        if self.classes is None:
            return generator.permutation(count).tolist()
        classes = np.asarray(self.classes)
        with_class = np.flatnonzero(classes >= 0)
        others = np.flatnonzero(classes < 0)
        names = np.unique(classes[with_class])
        drawn: list[int] = others.tolist()
        for place, name in enumerate(names):
            members = generator.permutation(with_class[classes[with_class] == name])
            count = len(with_class) // len(names) + (place < len(with_class) % len(names))
            whole, rest = divmod(count, len(members))  # every row is drawn before any is drawn again
            drawn += members.tolist() * whole + members[:rest].tolist()
        return [drawn[i] for i in generator.permutation(len(drawn))]

    def _filled(self, block: list[int]) -> list[list[int]]:
        if self.rows is not None:
            return [block[at : at + self.rows] for at in range(0, len(block), self.rows)]
        steps: list[list[int]] = []
        longest = 0.0
        for row in block:
            longest = max(longest, self._length(row)) if steps else self._length(row)
            if steps and (len(steps[-1]) + 1) * longest <= (self.seconds or 0.0):
                steps[-1].append(row)
            else:
                steps.append([row])
                longest = self._length(row)
        return steps


def divided(step: Sequence[int], passes: int, process_index: int = 0, num_processes: int = 1) -> list[list[int]]:
    """Divide the rows of a step into `passes` accumulated passes, and return one process's share of each.

    Rows of similar length stay together in a pass. A step at the end of an epoch may have fewer rows than passes times
    processes: empty passes are left out, and a process without a row of a pass gets an empty list.

    Example:
        >>> from multimodal_ser.training.batching import divided
        >>> divided([9, 8, 7, 6, 5], passes=2), divided([9, 8, 7, 6, 5], 2, process_index=1, num_processes=2)
        ([[9, 8, 7], [6, 5]], [[8], [5]])
    """
    return [
        chunk[process_index::num_processes].tolist() for chunk in np.array_split(np.asarray(step), passes) if len(chunk)
    ]


@dataclass(frozen=True)
class PairMaker:
    """Combines rows that have only a recording with the words of a row that has only words.

    Args:
        recordings: class of each row that has only a recording; -1 elsewhere and for rows without a single class.
        texts: class of each row that has only words; -1 elsewhere.
        matched: share of the recordings that get words of their own emotion.
        mismatched: share of the recordings that get words of another emotion.
        seed: seed of the draw.

    Example:
        >>> from multimodal_ser.training.batching import PairMaker
        >>> pairs = PairMaker(recordings=(0, 1, -1, -1), texts=(-1, -1, 1, 0), matched=1.0)
        >>> pairs.partner(0, epoch=5), pairs.partner(1, epoch=5), pairs.partner(2, epoch=5)
        (3, 2, None)
    """

    recordings: tuple[int, ...]
    texts: tuple[int, ...]
    matched: float = 0.0
    mismatched: float = 0.0
    seed: int = 0

    def partner(self, row: int, epoch: int) -> int | None:
        """Return the row whose words a row gets in an epoch; None: it gets none."""
        own = self.recordings[row]
        if own < 0 or not self.matched + self.mismatched:
            return None
        generator = np.random.default_rng([self.seed, epoch, row, 0x9A12])
        draw = generator.random()
        if draw >= self.matched + self.mismatched:
            return None
        by_class = self._by_class()
        names = [own] if draw < self.matched else [name for name in by_class if name != own]
        names = [name for name in names if name in by_class]
        if not names:
            return None
        members = by_class[names[generator.integers(len(names))]]
        return int(members[generator.integers(len(members))])

    def _by_class(self) -> dict[int, Any]:
        cached = self.__dict__.get("_cache")
        if cached is None:
            classes = np.asarray(self.texts)
            cached = {int(name): np.flatnonzero(classes == name) for name in np.unique(classes) if name >= 0}
            object.__setattr__(self, "_cache", cached)
        return cached
