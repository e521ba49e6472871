"""Splits: which rows are learned from, which choose the model, which only measure it. No voice is on two sides unless that is asked for."""

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
"""What a split column may say, whatever its case, and what is meant."""

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
"""How many choices of speakers are tried until one leaves every class on both sides."""


@dataclass(frozen=True)
class Split:
    """Which rows go where.

    Args:
        train, validation, test: indices of rows, ascending.
        protocol: how they were chosen, a line.
        notes: what a reader of the scores should know.

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
    """Choose what is learned from and what is held out. The first rule that applies decides:

    1. Speakers that are named: `test_speakers` replace a split column, `validation_speakers` only its validation part.
    2. A split column. Where it has no validation part, one is taken from its train part by the rules below; its test part never is.
    3. Two or more known speakers: whole speakers, so that every class is still learned and, as far as that goes, measured.
    4. Words alone: whole dialogues; without dialogues by text, equal texts on the same side.
    5. Recordings whose speaker nobody knows, or of one speaker: by clip, in each class. The parts of one recording stay together.
    6. Fewer than two clips in every class: nothing is held out.

    Where there are recordings, they alone decide between 3, 5 and 6; what is only text is learned from, unless its speaker is held out.
    A row of words alone is left out of a validation part that was chosen here where its words occur in what is learned from. With
    `contents`, what sounds the same is never on two sides: a copy of what is tested on is not selected on, and of neither is one learned
    from. The same rows and seed give the same choice, in whatever order the rows come.

    Args:
        rows: of a manifest.
        validation_share: about how much is held out; 0: nothing.
        seed: of the choice.
        validation_speakers, test_speakers: names as in the rows.
        allow_leak: take a split column that has the same voices, or copies, on both sides.
        contents: what each row sounds like (`leaks.content_hashes`); None: copies are not looked for.

    Raises:
        InputError: no rows, nothing left to learn from, an unknown speaker, one on both sides, a split column that leaks.
    """
    if not rows:
        raise InputError(
            "rows", expected="at least one", got="none", remedy="see what was wrong with the manifest's rows"
        )
    if not 0 <= validation_share < 1:
        raise InputError(
            "validation_share", expected="0 or more, below 1", got=repr(validation_share), remedy="0.15 is a good one"
        )
    named = {
        "validation": _known(rows, validation_speakers, "validation_speakers"),
        "test": _known(rows, test_speakers, "test_speakers"),
    }
    both = sorted(named["validation"] & named["test"])
    if both:
        raise InputError(
            "validation_speakers", expected="others than test_speakers", got=", ".join(both), remedy="name each once"
        )
    plan = SplitPlan(rows)
    if named["test"]:
        plan.name_speakers("test", named["test"])
    else:
        plan.follow_column()
    if named["validation"]:
        plan.name_speakers("validation", named["validation"])
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
    """The split without those learned-from or selecting rows that sound like something that is held out; a note says which.

    Args:
        rows: that were split.
        split: indices of them.
        sounds: of each row (`likeness.sound_groups`).

    Raises:
        InputError: nothing is left to learn from.

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
    train, validation = tuple(plan.side("train")), tuple(plan.side("validation"))
    return replace(split, train=train, validation=validation, notes=(*split.notes, *plan.notes))


def alike_notes(rows: Sequence[ManifestRow], parts: Iterable[Iterable[int]]) -> list[str]:
    """What is to be said of speakers on several sides whose names differ only in how they are written.

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
    told = counted(len(groups), "speaker")
    return [
        f"{told} may be on two sides, under names that are written in several ways: {some([' / '.join(group) for group in groups])}"
    ]


def _known(rows: Sequence[ManifestRow], names: Sequence[str], argument: str) -> set[str]:
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
    """The split as it grows: where each row goes, and what is told of it.

    Args:
        rows: of a manifest.

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
    chosen: bool = (
        False  # whether the validation part is our choice, or that of a list of speakers, and no corpus's own
    )

    def __post_init__(self) -> None:
        self.sides = ["train"] * len(self.rows)

    def side(self, name: str) -> list[int]:
        """The rows of a part."""
        return [index for index, side in enumerate(self.sides) if side == name]

    def name_speakers(self, side: str, names: set[str]) -> None:
        """Put all rows of these speakers there."""
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
        """Do what the split column says, where it says something."""
        parts = [None if row.split is None else SPLIT_NAMES.get(row.split.lower()) for row in self.rows]
        others = Counter(
            row.split for row, part in zip(self.rows, parts, strict=True) if row.split is not None and part is None
        )
        told = some([f"{name!r} ({counted(count, 'row')})" for name, count in sorted(others.items())])
        if not any(parts):
            if others:
                self.notes.append(
                    f"the split column says neither train, validation nor test, and was not looked at: {told}"
                )
            return
        if others:
            self.notes.append(f"left out, because of what the split column says: {told}")
        unsaid = sum(row.split is None for row in self.rows)
        if unsaid:
            rows = counted(
                unsaid,
                "row of which the split column says nothing is",
                "rows of which the split column says nothing are",
            )
            self.notes.append(f"{rows} learned from")
        self.sides = ["train" if row.split is None else part for row, part in zip(self.rows, parts, strict=True)]
        self.protocol.append("the split column")

    def refuse_leaks(self, allow_leak: bool) -> None:
        """Voices on two sides, or parts of one recording of unknown voices: only a split column can do that."""
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
            told = f"{counted(len(shared), 'voice')} in {one} and {other}: {some(shared)}"
            if (
                not allow_leak and one == "train"
            ):  # a model selected on the test's voices is the lesser leak: it is told
                remedy = "drop the column, and speakers are held out; or take it as it is with allow_leak=True"
                raise InputError("split", expected="no voice on two sides", got=told, remedy=remedy)
            self.notes.append(f"the split leaks, and scores are too good: {told}")
        heard = self.side("validation") + self.side("test")
        learned = {self.rows[index].text for index in self.side("train")} - {None}
        again = sum(self.rows[index].path is None and self.rows[index].text in learned for index in heard)
        if again and not self.chosen:
            texts = counted(
                again, "text of the validation and test parts occurs", "texts of the validation and test parts occur"
            )
            self.notes.append(f"{texts} in the train part too")

    def hold_out(self, share: float, seed: int, count: int | None = None) -> None:
        """Choose a validation part from what is to be learned from; of so many speakers, where a count is given."""
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
            held = self.whole_groups(speakers, share * len(first), seed, count)
            protocol = f"speaker-disjoint: {len(held)} of {len(speakers)} speakers held out"
            out = [index for index in train if self.rows[index].speaker in held]
            unknown = sum(self.rows[index].speaker is None for index in recordings)
            if unknown:
                clips = counted(unknown, "recording without a speaker is", "recordings without a speaker are")
                self.notes.append(f"{clips} learned from: a voice that is held out may be among them")
        elif not recordings and len(dialogues) > 1:
            held = self.whole_groups(dialogues, share * len(first), seed)
            protocol = f"by dialogue: {len(held)} of {len(dialogues)} dialogues held out"
            out = [index for index in train if self.rows[index].dialogue in held]
        else:
            out = self._by_class(self._groups(first, lambda row: row.recording or row.text), share, seed)
            unit = "clips" if recordings else "texts"
            voice = "one speaker" if speakers else "speakers unknown"
            protocol = (
                f"by clip, {voice}: {len(out)} of {len(first)} clips held out"
                if recordings
                else f"by text: {len(out)} of {len(first)}"
            )
            if out and recordings:
                why = "there is only one speaker" if speakers else "nobody knows who speaks"
                self.notes.append(
                    f"{why}: the same voice may be on both sides, so scores are optimistic, often by far; a column speaker helps"
                )
            if not out:
                protocol = "no validation"
                self.notes.append(
                    f"fewer than two {unit} in every class: no model can be selected, nothing can be measured; add {unit}"
                )
        for index in out:
            self.sides[index] = "validation"
        self.chosen = bool(out)
        self.protocol.append(protocol)

    def separate_copies(self, sounds: Sequence[Hashable | None], allow_leak: bool) -> None:
        """What sounds like something that is held out is not learned from; a leaking column that is asked for stays as it is."""
        train, validation, test = (self.side(name) for name in ("train", "validation", "test"))
        learned, selected, tested = ({sounds[index] for index in part} - {None} for part in (train, validation, test))
        again = [i for i in train if sounds[i] in tested | selected] + [i for i in validation if sounds[i] in tested]
        if not again:
            return
        as_it_is = allow_leak and not self.chosen
        if not as_it_is and set(train) <= set(again):  # rather nothing to select on than nothing to learn from
            again = [i for i in train if sounds[i] in tested] + [i for i in validation if sounds[i] in tested | learned]
            if set(train) <= set(again):
                got = "only what sounds the same as the test part"
                raise InputError("rows", expected="something to learn from", got=got, remedy="hold out less")
        names = some(sorted(self.rows[index].name for index in again))
        if as_it_is:
            told = f"{counted(len(again), 'clip sounds', 'clips sound')} the same as others on another side: {names}"
            self.notes.append(f"the split leaks, and scores are too good: {told}")
            return
        out = counted(len(again), "clip was left out: it sounds", "clips were left out: they sound")
        self.notes.append(f"{out} the same as others on another side: {names}")
        for index in again:
            self.sides[index] = None

    def separate_texts(self) -> None:
        """Words alone that are learned from measure nothing."""
        learned = {self.rows[index].text for index in self.side("train")}
        validation = self.side("validation")
        again = [index for index in validation if self.rows[index].path is None and self.rows[index].text in learned]
        for index in again:
            self.sides[index] = None
        if again:
            nothing = "" if len(again) < len(validation) else "; nothing is left to measure on"
            out = counted(len(again), "text was", "texts were")
            occur = "it occurs" if len(again) == 1 else "they occur"
            self.notes.append(f"{out} left out of the validation part: {occur} in what is learned from{nothing}")

    def finished(self) -> Split:
        """The split, and what of its classes is worth knowing."""
        train, validation, test = (self.side(name) for name in ("train", "validation", "test"))
        learned = self._labels(train)
        for name, part in (("validation", validation), ("test", test)):
            unlearned = sorted(self._labels(part) - learned)
            if unlearned:
                self.notes.append(f"only in the {name} part, and not learned: {some(unlearned)}")
        unmeasured = sorted(learned - self._labels(validation))
        if validation and unmeasured:
            self.notes.append(f"learned, and not in the validation part: {some(unmeasured)}")
        self.notes += alike_notes(self.rows, (train, validation, test))
        return Split(tuple(train), tuple(validation), tuple(test), "; ".join(self.protocol), tuple(self.notes))

    def _labels(self, indices: Iterable[int]) -> set[str]:
        return {label for index in indices if (label := self.rows[index].label) is not None}

    def _groups(self, indices: Iterable[int], of: Callable[[ManifestRow], Any]) -> dict[str, list[int]]:
        """Rows that stay together, sorted by what they have in common."""
        groups: dict[str, list[int]] = {}
        for index in indices:
            groups.setdefault(of(self.rows[index]), []).append(index)
        return dict(sorted(groups.items()))

    def whole_groups(
        self, groups: Mapping[str, list[int]], wanted: float, seed: int, count: int | None = None
    ) -> set[str]:
        """About so many rows in whole groups, or a count of groups; of many draws the first that loses no class, or the fewest."""
        shows = {
            name: Counter((self.rows[i].corpus, label) for i in members if (label := self.rows[i].label) is not None)
            for name, members in groups.items()
        }
        everything = sum(shows.values(), Counter())
        classes = {label for _, label in everything}
        sizes = {name: len(members) if count is None else 1 for name, members in groups.items()}
        wanted = wanted if count is None else count
        generator = random.Random(seed)
        names = list(groups)
        best: tuple[tuple[int, int, int], set[str]] | None = None
        for _ in range(DRAWS):
            generator.shuffle(names)
            held = _nearest(names, sizes, wanted)
            out = sum((shows[name] for name in held), Counter())
            left = everything - out
            size = sum(sizes[name] for name in held) / wanted
            lost = len(classes - {label for _, label in left})
            unmeasured = len([kind for kind in everything if kind not in out])
            cost = (lost, int(not 0.6 < size < 1.67), unmeasured)
            if best is None or cost < best[0]:
                best = cost, set(held)
            if not any(cost):
                break
        assert best is not None
        return best[1]

    def _by_class(self, groups: Mapping[str, list[int]], share: float, seed: int) -> list[int]:
        """About a share of each class, at least one clip of it on both sides; what nobody annotated measures nothing."""
        kinds: dict[str, list[str]] = {}
        for name, members in groups.items():
            said = Counter(kind for index in members if (kind := self._kind(self.rows[index])) is not None)
            if said:
                kinds.setdefault(min(said, key=lambda kind: (-said[kind], kind)), []).append(name)
        out = []
        for kind, names in sorted(kinds.items()):
            random.Random(f"{seed} {kind}").shuffle(names)
            count = min(max(1, round(share * len(names))), len(names) - 1)
            out += [index for name in names[:count] for index in groups[name]]
        return out

    @staticmethod
    def _kind(row: ManifestRow) -> str | None:
        emotion = row.label or row.emotion
        return "" if emotion is None and is_annotated(row) else emotion


def _nearest(names: Sequence[str], sizes: Mapping[str, int], wanted: float) -> list[str]:
    """The first few names, as many as come nearest to the wanted size; at least one, and not all."""
    held = [names[0]]
    size = sizes[names[0]]
    for name in names[1:-1]:
        if abs(size + sizes[name] - wanted) >= abs(size - wanted):
            break
        held.append(name)
        size += sizes[name]
    return held
