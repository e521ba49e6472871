"""Divides rows into parts for training, validation and test.

No speaker is in two parts unless the caller allows it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from multimodal_ser.corpora.duplicates import alike_speakers, counted, some, sound_groups
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.corpora.targets import is_annotated
from multimodal_ser.errors import InputError, did_you_mean

SPLIT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "train": "train",
        "dev": "validation",
        "validation": "validation",
        "val": "validation",
        "valid": "validation",
        "test": "test",
    }
)
"""The names of parts in a split column, in lower case, and the part that each means."""

EMOBOX_RAVDESS_FOLDS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        1: ("01", "11", "20", "21"),
        2: ("04", "10", "12", "14"),
        3: ("08", "09", "19", "23"),
        4: ("03", "05", "07", "24"),
        5: ("02", "15", "16", "18"),
        6: ("06", "13", "17", "22"),
    }
)
"""Test actors of RAVDESS in each fold of EmoBox (https://arxiv.org/abs/2406.07162)."""

DRAWS = 200
"""The most choices of speakers that are tried to have every class in both parts."""


@dataclass(frozen=True)
class Split:
    """The parts of a division of rows.

    Args:
        train, validation, test: indices of rows, ascending.
        protocol: a line on how the parts were chosen.
        notes: limits that a reader of the scores should know.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow, split_rows
        >>> rows = [ManifestRow(text=f"{s} {e}", emotion=e, speaker=s) for s in "abcd" for e in ("joy", "anger")]
        >>> split = split_rows(rows, validation_share=0.25)
        >>> split.protocol, len(split.train), len(split.validation)
        ('speaker-disjoint: 1 of 4 speakers held out', 6, 2)
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    protocol: str
    notes: tuple[str, ...] = ()


def split_rows(
    rows: Sequence[ManifestRow],
    *,
    validation_share: float = 0.15,
    seed: int = 0,
    validation_speakers: Sequence[str] = (),
    test_speakers: Sequence[str] = (),
    allow_leak: bool = False,
    contents: Sequence[Hashable | None] | None = None,
) -> Split:
    """Divide rows into parts for training, validation and test. The first rule that applies decides:

    1. Named speakers: `test_speakers` replace a split column, `validation_speakers` replace only its validation part.
    2. A split column. If it has no validation part, one is taken from its train part by the rules below, and never from
       its test part.
    3. Two or more known speakers: whole speakers are held out, so that the train part keeps every class and, if
       possible, the validation part has every class too.
    4. Texts without recordings: whole dialogues; without dialogues single texts, with equal texts in the same part.
    5. Recordings of one speaker or of unknown speakers: clips of each class. Parts of one recording stay together.
    6. Fewer than two clips in every class: nothing is held out.

    If there are recordings, only they decide between rules 3, 5 and 6; texts without a recording go to the train part,
    unless their speaker is held out. If a validation part is chosen here, a text without a recording is left out of it
    when the same text is in the train part. With `contents`, rows that sound the same are never in two parts: copies of
    test rows are removed from the other parts, and copies of validation rows from the train part. The same rows and
    seed give the same division, in any order of the rows.

    Args:
        rows: rows of a manifest.
        validation_share: the approximate share of rows for validation, 0 to 1; 0: no validation part.
        seed: seed of the random choice.
        validation_speakers, test_speakers: names as in the rows.
        allow_leak: accept a split column that has the same speakers or copies in several parts.
        contents: a digest of each row's sound (`leakage.content_hashes`); None: copies are not searched for.

    Raises:
        InputError: there are no rows, the train part is empty, a speaker is unknown or in two parts, or the split
            column leaks.
    """
    if not rows:
        raise InputError(
            "rows", expected="at least one", got="none", remedy="see what was wrong with the manifest's rows"
        )
    if not 0 <= validation_share < 1:
        raise InputError(
            "validation_share", expected="0 or more, below 1", got=repr(validation_share), remedy="0.15 is a good one"
        )
    speakers = {
        "validation": _checked_speakers(rows, validation_speakers, "validation_speakers"),
        "test": _checked_speakers(rows, test_speakers, "test_speakers"),
    }
    both = sorted(speakers["validation"] & speakers["test"])
    if both:
        raise InputError(
            "validation_speakers", expected="others than test_speakers", got=", ".join(both), remedy="name each once"
        )
    plan = SplitPlan(rows)
    if speakers["test"]:
        plan.name_speakers("test", speakers["test"])
    else:
        plan.follow_column()
    if speakers["validation"]:
        plan.name_speakers("validation", speakers["validation"])
    if not plan.side("train"):
        raise InputError("rows", expected="something to learn from", got="all of it held out", remedy="hold out less")
    plan.refuse_leaks(allow_leak)
    if not plan.side("validation"):
        plan.hold_out(validation_share, seed)
    if contents is not None:
        plan.separate_copies(sound_groups(rows, contents), allow_leak)
    if plan.chosen:
        plan.separate_texts()
    return plan.finished()


def without_copies(rows: Sequence[ManifestRow], split: Split, sounds: Sequence[Hashable | None]) -> Split:
    """Remove copies of held-out rows from the other parts of a split; a note names the removed rows.

    Copies of test rows are removed from the train and validation parts, copies of validation rows from the train part.

    Args:
        rows: the rows that were split.
        split: indices of the rows.
        sounds: the group of equal sounds of each row (`duplicates.sound_groups`).

    Raises:
        InputError: no row is left in the train part.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.splits import Split, without_copies
        >>> rows = [ManifestRow(path=Path(name)) for name in ("a.wav", "b.wav", "copy of b.wav")]
        >>> split = without_copies(rows, Split((0, 2), (), (1,), "mine"), [0, 1, 1])
        >>> split.train, split.notes
        ((0,), ('1 clip was left out: it sounds the same as others on another side: copy of b.wav',))
    """
    plan = SplitPlan(rows)
    plan.sides = [None] * len(rows)
    for name in ("train", "validation", "test"):
        for index in getattr(split, name):
            plan.sides[index] = name
    plan.separate_copies(sounds, allow_leak=False)
    train = tuple(plan.side("train"))
    validation = tuple(plan.side("validation"))
    return replace(split, train=train, validation=validation, notes=(*split.notes, *plan.notes))


def alike_notes(rows: Sequence[ManifestRow], parts: Iterable[Iterable[int]]) -> list[str]:
    """Notes on speakers in several parts whose names differ only in spelling.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.splits import alike_notes
        >>> alike_notes([ManifestRow(text="a", speaker="Ann"), ManifestRow(text="b", speaker="ann")], [[0], [1]])
        ['1 speaker may be on two sides, under names that are written in several ways: Ann / ann']
    """
    sides = [{rows[index].speaker for index in part} for part in parts]
    groups = alike_speakers(speaker for side in sides for speaker in side)
    groups = [group for group in groups if sum(not side.isdisjoint(group) for side in sides) > 1]
    if not groups:
        return []
    speakers = counted(len(groups), "speaker")
    names = some([" / ".join(group) for group in groups])
    return [f"{speakers} may be on two sides, under names that are written in several ways: {names}"]


def _checked_speakers(rows: Sequence[ManifestRow], names: Sequence[str], argument: str) -> set[str]:
    names = [names] if isinstance(names, str) else list(names)
    speakers = sorted({row.speaker for row in rows if row.speaker is not None})
    unknown = [name for name in names if name not in speakers]
    if unknown:
        remedy = did_you_mean(unknown[0], speakers, "name them as the column speaker does")
        raise InputError(
            argument, expected=f"speakers of the manifest ({some(speakers)})", got=some(unknown), remedy=remedy
        )
    return set(names)


@dataclass
class SplitPlan:
    """A split under construction: the part of each row, and the notes.

    Args:
        rows: rows of a manifest.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.splits import SplitPlan
        >>> plan = SplitPlan([ManifestRow(text="Yes.", split="train"), ManifestRow(text="No.", split="test")])
        >>> plan.follow_column()
        >>> plan.finished().test
        (1,)
    """

    rows: Sequence[ManifestRow]
    sides: list[str | None] = field(init=False)  # None: left out
    protocol: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    chosen: bool = False  # whether the validation part was chosen here or by a list of speakers, not by the corpus

    def __post_init__(self) -> None:
        self.sides = ["train"] * len(self.rows)

    def side(self, name: str) -> list[int]:
        """The indices of the rows of a part."""
        return [index for index, side in enumerate(self.sides) if side == name]

    def name_speakers(self, side: str, names: set[str]) -> None:
        """Put all rows of these speakers into a part."""
        if side == "validation":
            self.sides = ["train" if place == "validation" else place for place in self.sides]
            self.chosen = True
        elif any(row.split is not None for row in self.rows):
            self.notes.append("the test speakers were named: the split column was not looked at")
        for index, row in enumerate(self.rows):
            if row.speaker in names and self.sides[index] is not None:
                self.sides[index] = side
        self.protocol.append(f"{side} speakers named: {some(sorted(names))}")

    def follow_column(self) -> None:
        """Put each row into the part that its split column names; empty cells mean the train part."""
        parts = [None if row.split is None else SPLIT_NAMES.get(row.split.lower()) for row in self.rows]
        unknown_names = Counter(
            row.split for row, part in zip(self.rows, parts, strict=True) if row.split is not None and part is None
        )
        names = some([f"{name!r} ({counted(count, 'row')})" for name, count in sorted(unknown_names.items())])
        if not any(parts):
            if unknown_names:
                self.notes.append(
                    f"the split column says neither train, validation nor test, and was not looked at: {names}"
                )
            return
        if unknown_names:
            self.notes.append(f"left out, because of what the split column says: {names}")
        unmarked = sum(row.split is None for row in self.rows)
        if unmarked:
            rows = counted(
                unmarked,
                "row of which the split column says nothing is",
                "rows of which the split column says nothing are",
            )
            self.notes.append(f"{rows} learned from")
        self.sides = ["train" if row.split is None else part for row, part in zip(self.rows, parts, strict=True)]
        self.protocol.append("the split column")

    def refuse_leaks(self, allow_leak: bool) -> None:
        """Raise an error if a speaker, or a recording of an unknown speaker, is in two parts.

        With `allow_leak` a note is added instead. Only a split column can lead to such leaks.
        """
        voices = {
            side: {
                row.speaker or row.recording for row, place in zip(self.rows, self.sides, strict=True) if place == side
            }
            for side in ("train", "validation", "test")
        }
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            shared = sorted(voice for voice in voices[one] & voices[other] if voice is not None)
            if not shared:
                continue
            leak = f"{counted(len(shared), 'voice')} in {one} and {other}: {some(shared)}"
            if not allow_leak and one == "train":  # between validation and test a leak does less harm: only a note
                remedy = "drop the column, and speakers are held out; or take it as it is with allow_leak=True"
                raise InputError("split", expected="no voice on two sides", got=leak, remedy=remedy)
            self.notes.append(f"the split leaks, and scores are too good: {leak}")
        held_out = self.side("validation") + self.side("test")
        train_texts = {self.rows[index].text for index in self.side("train")} - {None}
        repeated = sum(self.rows[index].path is None and self.rows[index].text in train_texts for index in held_out)
        if repeated and not self.chosen:
            texts = counted(
                repeated, "text of the validation and test parts occurs", "texts of the validation and test parts occur"
            )
            self.notes.append(f"{texts} in the train part too")

    def hold_out(self, share: float, seed: int, count: int | None = None) -> None:
        """Take a validation part from the train part: about `share` of its rows, or `count` speakers."""
        if count == 0 or (count is None and share == 0):
            self.protocol.append("no validation")
            self.notes.append("no validation part was asked for: no model can be selected, nothing is measured")
            return
        train = self.side("train")
        recordings = [index for index in train if self.rows[index].path is not None]
        first = recordings or train
        speakers = self._groups(
            (index for index in first if self.rows[index].speaker is not None), lambda row: row.speaker
        )
        dialogues = self._groups(
            (index for index in train if self.rows[index].dialogue is not None), lambda row: row.dialogue
        )
        if len(speakers) > 1:
            held_groups = self.whole_groups(speakers, share * len(first), seed, count)
            protocol = f"speaker-disjoint: {len(held_groups)} of {len(speakers)} speakers held out"
            held_rows = [index for index in train if self.rows[index].speaker in held_groups]
            unknown = sum(self.rows[index].speaker is None for index in recordings)
            if unknown:
                clips = counted(unknown, "recording without a speaker is", "recordings without a speaker are")
                self.notes.append(f"{clips} learned from: a voice that is held out may be among them")
        elif not recordings and len(dialogues) > 1:
            held_groups = self.whole_groups(dialogues, share * len(first), seed)
            protocol = f"by dialogue: {len(held_groups)} of {len(dialogues)} dialogues held out"
            held_rows = [index for index in train if self.rows[index].dialogue in held_groups]
        else:
            held_rows = self._by_class(self._groups(first, lambda row: row.recording or row.text), share, seed)
            unit = "clips" if recordings else "texts"
            voice = "one speaker" if speakers else "speakers unknown"
            protocol = (
                f"by clip, {voice}: {len(held_rows)} of {len(first)} clips held out"
                if recordings
                else f"by text: {len(held_rows)} of {len(first)}"
            )
            if held_rows and recordings:
                why = "there is only one speaker" if speakers else "the speakers are unknown"
                self.notes.append(
                    f"{why}: the same voice may be on both sides, so scores are optimistic, often by far; a column speaker helps"
                )
            if not held_rows:
                protocol = "no validation"
                self.notes.append(
                    f"fewer than two {unit} in every class: no model can be selected, nothing can be measured; add {unit}"
                )
        for index in held_rows:
            self.sides[index] = "validation"
        self.chosen = bool(held_rows)
        self.protocol.append(protocol)

    def separate_copies(self, sounds: Sequence[Hashable | None], allow_leak: bool) -> None:
        """Remove copies of held-out rows from the other parts.

        If the caller allows leaks, a split column stays as it is, and a note names the copies.
        """
        train, validation, test = (self.side(name) for name in ("train", "validation", "test"))
        in_train, in_validation, in_test = (
            {sounds[index] for index in part} - {None} for part in (train, validation, test)
        )
        copies = [i for i in train if sounds[i] in in_test | in_validation]
        copies += [i for i in validation if sounds[i] in in_test]
        if not copies:
            return
        unchanged = allow_leak and not self.chosen
        if not unchanged and set(train) <= set(copies):  # an empty validation part is better than an empty train part
            copies = [i for i in train if sounds[i] in in_test]
            copies += [i for i in validation if sounds[i] in in_test | in_train]
            if set(train) <= set(copies):
                got = "only what sounds the same as the test part"
                raise InputError("rows", expected="something to learn from", got=got, remedy="hold out less")
        names = some(sorted(self.rows[index].name for index in copies))
        if unchanged:
            clips = f"{counted(len(copies), 'clip sounds', 'clips sound')} the same as others on another side: {names}"
            self.notes.append(f"the split leaks, and scores are too good: {clips}")
            return
        out = counted(len(copies), "clip was left out: it sounds", "clips were left out: they sound")
        self.notes.append(f"{out} the same as others on another side: {names}")
        for index in copies:
            self.sides[index] = None

    def separate_texts(self) -> None:
        """Remove from the validation part the texts without a recording that are in the train part too."""
        train_texts = {self.rows[index].text for index in self.side("train")}
        validation = self.side("validation")
        repeated = [
            index for index in validation if self.rows[index].path is None and self.rows[index].text in train_texts
        ]
        for index in repeated:
            self.sides[index] = None
        if repeated:
            nothing = "" if len(repeated) < len(validation) else "; nothing is left to measure on"
            out = counted(len(repeated), "text was", "texts were")
            occur = "it occurs" if len(repeated) == 1 else "they occur"
            self.notes.append(f"{out} left out of the validation part: {occur} in what is learned from{nothing}")

    def finished(self) -> Split:
        """The finished split, with notes on classes that are missing in a part."""
        train, validation, test = (self.side(name) for name in ("train", "validation", "test"))
        train_labels = self._labels(train)
        for name, part in (("validation", validation), ("test", test)):
            missing = sorted(self._labels(part) - train_labels)
            if missing:
                self.notes.append(f"only in the {name} part, and not learned: {some(missing)}")
        unmeasured = sorted(train_labels - self._labels(validation))
        if validation and unmeasured:
            self.notes.append(f"learned, and not in the validation part: {some(unmeasured)}")
        self.notes += alike_notes(self.rows, (train, validation, test))
        return Split(tuple(train), tuple(validation), tuple(test), "; ".join(self.protocol), tuple(self.notes))

    def _labels(self, indices: Iterable[int]) -> set[str]:
        return {label for index in indices if (label := self.rows[index].label) is not None}

    def _groups(self, indices: Iterable[int], of: Callable[[ManifestRow], Any]) -> dict[str, list[int]]:
        """The rows of each key, sorted by key; the rows of a key stay together."""
        groups: dict[str, list[int]] = {}
        for index in indices:
            groups.setdefault(of(self.rows[index]), []).append(index)
        return dict(sorted(groups.items()))

    def whole_groups(
        self, groups: Mapping[str, list[int]], target: float, seed: int, count: int | None = None
    ) -> set[str]:
        """Choose whole groups for validation: about `target` rows, or `count` groups.

        Of many random draws the first that keeps every class in both parts is taken, else the one that loses the
        fewest.
        """
        labels = {
            name: Counter((self.rows[i].corpus, label) for i in members if (label := self.rows[i].label) is not None)
            for name, members in groups.items()
        }
        all_labels = sum(labels.values(), Counter())
        classes = {label for _, label in all_labels}
        sizes = {name: len(members) if count is None else 1 for name, members in groups.items()}
        target = target if count is None else count
        generator = random.Random(seed)
        names = list(groups)
        best: tuple[tuple[int, int, int], set[str]] | None = None
        for _ in range(DRAWS):
            generator.shuffle(names)
            chosen = _nearest(names, sizes, target)
            held_labels = sum((labels[name] for name in chosen), Counter())
            remaining = all_labels - held_labels
            ratio = sum(sizes[name] for name in chosen) / target
            lost_classes = len(classes - {label for _, label in remaining})
            unmeasured = len([kind for kind in all_labels if kind not in held_labels])
            cost = (lost_classes, int(not 0.6 < ratio < 1.67), unmeasured)
            if best is None or cost < best[0]:
                best = cost, set(chosen)
            if not any(cost):
                break
        assert best is not None
        return best[1]

    def _by_class(self, groups: Mapping[str, list[int]], share: float, seed: int) -> list[int]:
        """Choose about a share of each class, with at least one clip in both parts; unlabelled rows are not chosen."""
        kinds: dict[str, list[str]] = {}
        for name, members in groups.items():
            counts = Counter(kind for index in members if (kind := self._kind(self.rows[index])) is not None)
            if counts:
                kinds.setdefault(min(counts, key=lambda kind: (-counts[kind], kind)), []).append(name)
        held_rows = []
        for kind, names in sorted(kinds.items()):
            random.Random(f"{seed} {kind}").shuffle(names)
            count = min(max(1, round(share * len(names))), len(names) - 1)
            held_rows += [index for name in names[:count] for index in groups[name]]
        return held_rows

    @staticmethod
    def _kind(row: ManifestRow) -> str | None:
        emotion = row.label or row.emotion
        return "" if emotion is None and is_annotated(row) else emotion


def _nearest(names: Sequence[str], sizes: Mapping[str, int], target: float) -> list[str]:
    """The first names whose total size is nearest to `target`; at least one name, and not all."""
    chosen = [names[0]]
    size = sizes[names[0]]
    for name in names[1:-1]:
        if abs(size + sizes[name] - target) >= abs(size - target):
            break
        chosen.append(name)
        size += sizes[name]
    return chosen
