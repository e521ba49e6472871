"""Provides protocols: named ways to divide a corpus into folds with a train, a validation and a test part."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from multimodal_ser.corpora.duplicates import Groups, counted, sentence_of
from multimodal_ser.corpora.leakage import LeakFinder, content_hashes, find_leaks
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS, Split, SplitPlan, alike_notes, without_copies
from multimodal_ser.errors import InputError

__all__ = ["PROTOCOLS", "Fold", "Protocol", "content_hashes", "find_leaks", "folds"]

Protocol = Literal[
    "holdout", "folds", "loso", "session", "speaker-sentence", "emobox-ravdess", "official", "cross-corpus", "random"
]

PROTOCOLS: Mapping[Protocol, str] = MappingProxyType(
    {
        "holdout": "one fold, whole speakers with about a fifth of the rows are tested on",
        "folds": "k folds of whole speakers, alike in their classes",
        "loso": "leave one speaker out, each in turn",
        "session": "leave one session of recording out, each in turn",
        "speaker-sentence": "k folds, neither speakers nor sentences of the test part are learned from",
        "emobox-ravdess": "the test actors of EmoBox's six folds of RAVDESS",
        "official": "the corpus's own split column",
        "cross-corpus": "leave one corpus out, each in turn",
        "random": "k folds of clips, regardless of speakers; this leaks, and shows the effect of the leak",
    }
)
"""The protocols, and a line on what each does."""

OFFICIAL_LEAKS: Mapping[str, str] = MappingProxyType(
    {
        "meld": "MELD's parts share their voices, the actors of one series, and dialogues of the same episodes are in several of them "
        "(https://aclanthology.org/P19-1050)",
        "esd": "ESD's parts share all speakers: its split was made for voice conversion (https://arxiv.org/abs/2105.14762)",
        "dailydialog": "DailyDialog has dialogues that occur in more than one of its parts (https://arxiv.org/abs/2201.06219)",
    }
)
"""Published leaks of the official parts of corpora; `find_leaks` finds the leaks in the rows themselves."""

SPEAKER_LEAKS: Mapping[str, str] = MappingProxyType(
    {
        "iemocap": "IEMOCAP's scripted scenes are acted in every session, so that speakers differ and sentences, with the emotions that "
        "go with them, do not: what reads the words is flattered (https://arxiv.org/abs/2403.18635); speaker-sentence keeps them apart",
        "ravdess": "RAVDESS has two statements, which are said in every part and with every emotion: the words tell nothing "
        "(https://doi.org/10.1371/journal.pone.0196391)",
    }
)
"""What train and test parts of a corpus still share if whole speakers or sessions are held out."""

EMOBOX_NOTE = (
    "EmoBox holds whole actors out for the test alone; it selects on a random fifth of the other actors' clips, whose voices are learned "
    "from too (https://github.com/emo-box/EmoBox, EmoDataset.py); here whole actors are held out for that"
)

TEST_SHARE = 0.2
"""The share of rows in the test part of "holdout"."""

ACTOR = re.compile(r"(?:ravdess[_-]?)?(?:actor[_-]?)?(\d\d?)", re.IGNORECASE)
"""Names of RAVDESS's actors."""

ATTEMPTS = 100
"""The most divisions that are tried to have each class in at least two folds; for more than 100 speakers only one."""


@dataclass(frozen=True)
class Fold:
    """One division of the rows by a protocol.

    Args:
        name: the fold's number, or the speaker, session or corpus of its test part: "1", "ravdess_03", "Ses01".
        split: the parts.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow, folds
        >>> rows = [ManifestRow(text=f"{s} {e}", emotion=e, speaker=s, session=s) for s in "abc" for e in ("joy", "anger")]
        >>> folds(rows, "session", validation_share=0)[1].name
        'b'
    """

    name: str
    split: Split


def folds(
    rows: Sequence[ManifestRow],
    protocol: Protocol,
    *,
    k: int = 5,
    seed: int = 0,
    validation_share: float = 0.15,
    validation_speakers: int | None = None,
    contents: Sequence[Hashable | None] | None = None,
    allow_leak: bool = False,
) -> list[Fold]:
    """Divide rows by a named protocol.

    - "holdout": one fold; the test part has whole speakers with about a fifth of the rows (of two speakers one).
    - "folds": k folds of whole speakers with similar classes (greedy, as scikit-learn's StratifiedGroupKFold).
    - "loso": leave one speaker out, each in turn. "session": one recording session. "cross-corpus": one corpus.
    - "speaker-sentence": k folds; the train part has neither the speakers nor the sentences of the test part. Rows that
      share only one of both are left out.
    - "emobox-ravdess": EmoBox's test actors (https://arxiv.org/abs/2406.07162); two of the other actors, a woman and a
      man, are the validation part.
    - "official": the corpus's own split column.
    - "random": k folds of clips, regardless of speakers. This leaks; it is provided to measure the effect of the leak.

    Protocols of whole speakers refuse recordings without a speaker. Texts without a speaker are divided by dialogue or
    text, and a note says so. Rows with the same sound (equal files, or equal `contents`) and parts of one recording
    stay together, or are removed from the train part. Validation rows are whole speakers too. Known leaks of a corpus
    and whatever the parts share are in the notes. The same rows and seed give the same folds, in any order of the rows.

    Args:
        rows: rows of a manifest.
        protocol: one of the above.
        k: the number of folds, for protocols that do not define it.
        seed: seed of all random choices.
        validation_share: the approximate share of the rows outside the test part for validation, 0 to 1; 0: none.
        validation_speakers: the number of speakers for validation, instead of a share.
        contents: a digest of each row's sound (`leakage.content_hashes`), to find copies in other formats too.
        allow_leak: accept a division that leaks; its notes say so.

    Raises:
        InputError: the protocol is unknown or cannot divide the rows, or the division leaks.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.protocols import folds
        >>> rows = [ManifestRow(text=f"{s} {e}", emotion=e, speaker=s) for s in "abc" for e in ("joy", "anger")]
        >>> [(fold.name, fold.split.test) for fold in folds(rows, "loso", validation_share=0)]
        [('a', (0, 1)), ('b', (2, 3)), ('c', (4, 5))]
    """
    if protocol not in get_args(Protocol):
        raise InputError(
            "protocol", expected=f"one of {', '.join(get_args(Protocol))}", got=repr(protocol), remedy="choose one"
        )
    if not rows:
        raise InputError(
            "rows", expected="at least one", got="none", remedy="see what was wrong with the manifest's rows"
        )
    if k < 2:
        raise InputError("k", expected="at least two folds", got=str(k), remedy="5 is usual")
    if not 0 <= validation_share < 1:
        raise InputError(
            "validation_share", expected="0 or more, below 1", got=repr(validation_share), remedy="0.15 is a good one"
        )
    finder = LeakFinder(rows, contents)
    plan = _Protocols(rows, seed, validation_share, validation_speakers, finder)
    make: dict[str, Callable[[], list[Fold]]] = {
        "holdout": lambda: plan.holdout(allow_leak),
        "folds": lambda: plan.of_units(k, *plan.named(allow_leak)),
        "loso": lambda: plan.one_out("speaker", "leave one speaker out"),
        "session": lambda: plan.one_out("session", "leave one session out"),
        "cross-corpus": lambda: plan.one_out("corpus", "leave one corpus out"),
        "speaker-sentence": lambda: plan.speaker_sentence(k, allow_leak),
        "emobox-ravdess": plan.emobox,
        "official": lambda: plan.official(allow_leak),
        "random": lambda: plan.at_random(k, allow_leak),
    }
    return [Fold(fold.name, _checked(rows, fold.split, finder, allow_leak)) for fold in make[protocol]()]


def _checked(rows: Sequence[ManifestRow], split: Split, finder: LeakFinder, allow_leak: bool) -> Split:
    """Raise an error for a leak, or add a note if leaks are allowed; shared sentences are only a note."""
    if not allow_leak:
        split = without_copies(rows, split, finder.sounds)
    notes = list(split.notes)
    for leak in finder.find(split):
        if not leak.serious:
            if leak.one == "train":
                notes.append(f"not refused, but worth knowing: {leak}")
        elif allow_leak:
            notes.append(f"the split leaks, and scores are too good: {leak}")
        else:
            remedy = (
                'choose a protocol that holds out whole speakers ("folds", "loso"), or take it as it is with allow_leak'
            )
            raise InputError("protocol", expected="parts that share nothing", got=str(leak), remedy=remedy)
    if not split.train or not split.test:
        missing = "to learn from" if not split.train else "to test on"
        raise InputError(
            "protocol",
            expected=f"something {missing}",
            got="nothing in a fold",
            remedy="choose another protocol, or fewer folds",
        )
    in_train, in_validation, in_test = (
        {rows[i].label for i in part} - {None} for part in (split.train, split.validation, split.test)
    )
    if in_test - in_train:
        notes.append(f"only in the test part, and not learned: {', '.join(sorted(map(str, in_test - in_train)))}")
    if split.validation and in_train - in_validation:
        unmeasured = ", ".join(sorted(map(str, in_train - in_validation)))
        notes.append(f"learned, and not in the validation part: {unmeasured}")
    notes += alike_notes(rows, (split.train, split.validation, split.test))
    return replace(split, notes=tuple(dict.fromkeys(notes)))


class _Protocols:
    """Makes the folds of each protocol from units, groups of rows that stay together.

    Rows of one speaker, of one recording or of the same sound are one unit.
    """

    def __init__(self, rows: Sequence[ManifestRow], seed: int, share: float, speakers: int | None, finder: LeakFinder):
        self.rows = rows
        self.seed = seed
        self.share = share
        self.speakers = speakers
        self.finder = finder
        self.units = self._joined(lambda row: row.speaker)
        self.unknown = sum(row.speaker is None for row in rows)

    def _joined(self, owner: Callable[[ManifestRow], str | None]) -> list[str]:
        """The unit of each row: the smallest key of the group of rows that share a speaker, a recording or a sound."""
        groups = Groups[str]()
        own: list[str] = []
        for index, row in enumerate(self.rows):
            keys = [f"0 {owner(row)}"] if owner(row) is not None else []
            keys += [f"1 {row.path}"] if row.path is not None else []
            keys += [f"3 {self.finder.sounds[index]}"] if row.path is not None else []
            if not keys:  # the words are a key only without other keys: "Yes." occurs in every dialogue
                keys = [f"4 {sentence_of(row)}" if row.dialogue is None else f"2 {row.dialogue}"]
            own.append(keys[0])
            for key in keys[1:]:
                groups.join(keys[0], key)
        return [groups.root(key) for key in own]

    def split(
        self, test: Iterable[int], protocol: str, train: Iterable[int] | None = None, notes: Sequence[str] = ()
    ) -> Split:
        """A split with these test rows; validation rows are chosen from the other rows in whole units."""
        tested = sorted(test)
        rest = sorted(set(range(len(self.rows))) - set(tested)) if train is None else sorted(train)
        units = {self.units[index] for index in rest}
        amount = self.speakers if self.speakers is not None else self.share
        if not amount or len(units) < 2:
            if amount:
                notes = [*notes, "no validation part: all that is learned from is of one speaker"]
            return Split(tuple(rest), (), tuple(tested), protocol, tuple(notes))
        if self.speakers is not None and self.speakers >= len(units):
            got = f"{self.speakers} of the {len(units)} that are not tested on"
            raise InputError("validation_speakers", expected="some left to learn from", got=got, remedy="ask for fewer")
        held = self._choose_units(rest, self.share, self.speakers)
        plan = SplitPlan(self.rows)
        plan.sides = [None] * len(self.rows)
        for index in rest:
            plan.sides[index] = "validation" if self.units[index] in held else "train"
        plan.separate_texts()
        return Split(
            tuple(plan.side("train")), tuple(plan.side("validation")), tuple(tested), protocol, (*notes, *plan.notes)
        )

    def _choose_units(self, among: Sequence[int], share: float, count: int | None = None) -> set[str]:
        """Choose units with about a share of the rows; texts count only if there are no recordings of several units."""
        recordings = [index for index in among if self.rows[index].path is not None]
        candidates = recordings if len({self.units[index] for index in recordings}) > 1 else among
        groups: dict[str, list[int]] = {}
        for index in candidates:
            groups.setdefault(self.units[index], []).append(index)
        return SplitPlan(self.rows).whole_groups(
            dict(sorted(groups.items())), share * len(candidates), self.seed, count
        )

    def named(self, allow_leak: bool) -> tuple[str, list[str]]:
        """What the units are ("speakers", "dialogues", "texts" or "clips"), and notes on it."""
        if not all(row.speaker is None for row in self.rows):
            return "speakers", []
        recordings = sum(row.path is not None for row in self.rows)
        if not recordings:
            unit = "dialogues" if any(row.dialogue is not None for row in self.rows) else "texts"
            return unit, [
                f"the writers or speakers are unknown: whole {unit} are held out, the same person may be on both sides"
            ]
        if not allow_leak:
            got = f"none in {counted(recordings, 'recording')}"
            remedy = (
                "name them in a column speaker; or divide clips with allow_leak, and the same voices are on both sides"
            )
            raise InputError("protocol", expected="speakers, to hold whole ones out", got=got, remedy=remedy)
        return "clips", [
            "the speakers are unknown: clips were divided, the same voices may be on both sides, and scores are too good"
        ]

    def holdout(self, allow_leak: bool) -> list[Fold]:
        unit, notes = self.named(allow_leak)
        count = len(set(self.units))
        if count < 2:
            self._too_few(unit, 1)
        test_units = self._choose_units(range(len(self.rows)), TEST_SHARE)
        test = [index for index, name in enumerate(self.units) if name in test_units]
        protocol = f"{len(test_units)} of {count} {unit} held out, {100 * len(test) / len(self.rows):.0f} % of the rows"
        return [Fold("1", self.split(test, protocol, notes=[*self._speaker_notes(), *notes]))]

    def of_units(self, k: int, what: str, notes: Sequence[str] = ()) -> list[Fold]:
        places = self._assign_folds(k, what)
        return [
            Fold(str(number + 1), self.split(
                [i for i, unit in enumerate(self.units) if places[unit] == number],
                f"fold {number + 1} of {k}, whole {what}, stratified by class", notes=[*self._speaker_notes(), *notes],
            ))
            for number in range(k)
        ]  # fmt: skip

    def _assign_folds(self, k: int, unit: str) -> dict[str, int]:
        """The fold of each unit; units are placed by size, each into the fold that leaves the classes most even."""
        names = sorted(set(self.units))
        if len(names) < k:
            self._too_few(unit, len(names), k)
        classes = sorted({row.label or "" for row in self.rows})
        counts = {name: np.zeros(len(classes)) for name in names}
        for row, unit in zip(self.rows, self.units, strict=True):
            counts[unit][classes.index(row.label or "")] += 1
        total = np.maximum(sum(counts.values(), np.zeros(len(classes))), 1)
        chance = random.Random(self.seed)
        chance.shuffle(names)
        names.sort(key=lambda name: -counts[name].sum())
        common = np.array([sum(counts[name][c] > 0 for name in names) > 1 for c in range(len(classes))])
        best: tuple[int, dict[str, int]] | None = None
        for _ in range(ATTEMPTS if len(names) <= 100 else 1):
            places, fold_counts = self._deal(names, counts, total, k)
            alone = int((((fold_counts > 0).sum(0) < 2) & common).sum())
            if best is None or alone < best[0]:
                best = alone, places
            if not alone:
                break
            chance.shuffle(names)
        assert best is not None
        return best[1]

    @staticmethod
    def _deal(
        names: Sequence[str], counts: Mapping[str, np.ndarray], total: np.ndarray, k: int
    ) -> tuple[dict[str, int], np.ndarray]:
        """Place the units one after another; the fold of each, and the rows of each class in each fold (k, C)."""
        fold_counts = np.zeros((k, len(total)))
        sizes = np.zeros(k, dtype=int)
        places: dict[str, int] = {}
        for position, name in enumerate(names):
            empty = [fold for fold in range(k) if not sizes[fold]]
            choices = empty if len(names) - position <= len(empty) else range(k)  # no fold stays without a unit

            def cost(fold: int, name: str = name) -> tuple[float, float]:
                after = fold_counts.copy()
                after[fold] += counts[name]
                return float((after / total).std(0).mean()), float(after[fold].sum())

            places[name] = min(choices, key=cost)
            fold_counts[places[name]] += counts[name]
            sizes[places[name]] += 1
        return places, fold_counts

    def one_out(self, column: str, protocol: str) -> list[Fold]:
        values = [getattr(row, column) for row in self.rows]
        names = sorted({value for value in values if value is not None})
        if len(names) < 2:
            self._too_few(f"{column}s" if column != "corpus" else "corpora", len(names))
        unknown = sum(value is None for value in values)
        rows = counted(unknown, f"row without a {column} is", f"rows without a {column} are")
        notes = [f"{rows} learned from and not tested on"] * bool(unknown)
        notes += self._leak_notes(SPEAKER_LEAKS) if column != "corpus" else []
        result = []
        for name in names:
            test = [index for index, value in enumerate(values) if value == name]
            voices = {self.rows[index].speaker for index in test} - {None}
            sounds = {self.finder.sounds[index] for index in test} - {None}
            train = [
                index
                for index, row in enumerate(self.rows)
                if values[index] != name and row.speaker not in voices and self.finder.sounds[index] not in sounds
            ]
            out = len(self.rows) - len(test) - len(train)
            rows = counted(out, "row that shares", "rows that share")
            more = [f"left out: {rows} a speaker or a sound with the test part"] * bool(out)
            if not train:
                got = f"in {column} {name!r} every voice of the others"
                expected = f"{column}s of different speakers" if column != "corpus" else "corpora of different speakers"
                remedy = '"loso" leaves one speaker out, "folds" several'
                raise InputError("protocol", expected=expected, got=got, remedy=remedy)
            result.append(Fold(name, self.split(test, f"{protocol}: {name}", train, [*notes, *more])))
        return result

    def speaker_sentence(self, k: int, allow_leak: bool) -> list[Fold]:
        what, notes = self.named(allow_leak)
        groups_of = self.finder.sentences
        called: dict[int | None, str] = {}
        for group_of, row in zip(groups_of, self.rows, strict=True):
            called[group_of] = min(called.get(group_of, "\U0010ffff"), sentence_of(row) or "")
        sentences = [None if group_of is None else called[group_of] for group_of in groups_of]
        names = sorted({sentence for sentence in sentences if sentence is not None})
        if len(names) < 2:
            self._too_few("sentences", len(names))
        silent = sentences.count(None)
        unknown = [f"left out: {counted(silent, 'row')} without words or a sentence's code"] * bool(silent)
        places = self._assign_folds(k, what)
        random.Random(self.seed).shuffle(names)
        groups = min(k, len(names))
        group = {name: position % groups for position, name in enumerate(names)}
        result = []
        for number in range(k):
            mine = number % groups
            spoken = [index for index, sentence in enumerate(sentences) if sentence is not None]
            shared = {
                index: (places[self.units[index]] == number, group[str(sentences[index])] == mine) for index in spoken
            }
            test = [index for index, both in shared.items() if all(both)]
            train = [index for index, both in shared.items() if not any(both)]
            out = counted(len(shared) - len(test) - len(train), "row that shares", "rows that share")
            note = f"left out: {out} the speaker or the sentence of the test part"
            protocol = f"fold {number + 1} of {k}, neither {what} nor sentences of the test part are learned from"
            result.append(
                Fold(
                    str(number + 1),
                    self.split(test, protocol, train, [*self._unknown_speaker_notes(), *notes, *unknown, note]),
                )
            )
        return result

    def emobox(self) -> list[Fold]:
        actors: dict[str | None, str] = {}
        for row in self.rows:
            match = ACTOR.fullmatch(row.speaker or "") if row.corpus in (None, "ravdess") else None
            if match is None or not 1 <= int(match[1]) <= 24:
                got = (
                    "a row without a speaker"
                    if row.speaker is None
                    else f"speaker {row.speaker} {f'of {row.corpus}' * bool(row.corpus)}"
                )
                raise InputError(
                    "protocol", expected="RAVDESS's actors 01 to 24", got=got.strip(), remedy="choose another protocol"
                )
            actors[row.speaker] = match[1].zfill(2)
        result = []
        for number, codes in EMOBOX_RAVDESS_FOLDS.items():
            test = [index for index, row in enumerate(self.rows) if actors[str(row.speaker)] in codes]
            if not test:
                continue
            rest = sorted(str(name) for name, code in actors.items() if code not in codes)
            order = rest[number:] + rest[:number]
            pairs = itertools.zip_longest(*([name for name in order if int(actors[name]) % 2 == odd] for odd in (0, 1)))
            count = self.speakers if self.speakers is not None else 2 * bool(self.share)
            held = [name for pair in pairs for name in pair if name is not None][:count]
            validation = tuple(index for index, row in enumerate(self.rows) if row.speaker in held)
            train = tuple(sorted(set(range(len(self.rows))) - set(test) - set(validation)))
            present = sorted({self.rows[index].speaker or "" for index in test})
            notes = [f"of EmoBox's four test actors {len(present)} are here"] * (len(present) < 4)
            notes += [EMOBOX_NOTE, SPEAKER_LEAKS["ravdess"]]
            protocol = f"EmoBox's fold {number} of RAVDESS (test actors {', '.join(present)})"
            result.append(Fold(str(number), Split(train, validation, tuple(test), protocol, tuple(notes))))
        return result

    def official(self, allow_leak: bool) -> list[Fold]:
        if not any((row.split or "").lower() == "test" for row in self.rows):
            got = "none" if not any(row.split for row in self.rows) else "none that says test"
            raise InputError(
                "protocol", expected="a split column with a test part", got=got, remedy='choose "folds" or "loso"'
            )
        plan = SplitPlan(self.rows)
        plan.follow_column()
        plan.refuse_leaks(allow_leak)
        if not plan.side("validation"):
            plan.hold_out(self.share, self.seed, self.speakers)
        if plan.chosen:
            plan.separate_texts()
        split = plan.finished()
        return [
            Fold(
                "official",
                replace(
                    split, notes=(*split.notes, *self._leak_notes(OFFICIAL_LEAKS), *self._leak_notes(SPEAKER_LEAKS))
                ),
            )
        ]

    def at_random(self, k: int, allow_leak: bool) -> list[Fold]:
        if not allow_leak:
            raise InputError(
                "protocol", expected="one that holds out whole speakers", got="'random', which has every voice on both sides",
                remedy='choose "folds", or take it with allow_leak to see by how much it flatters',
            )  # fmt: skip
        self.units = self._joined(lambda row: None)
        return self.of_units(k, "clips", ["clips were divided at random: the same voices are on both sides"])

    def _speaker_notes(self) -> list[str]:
        """Notes of protocols that hold out speakers."""
        return self._unknown_speaker_notes() + self._leak_notes(SPEAKER_LEAKS)

    def _unknown_speaker_notes(self) -> list[str]:
        some_known = 0 < self.unknown < len(self.rows)
        return [
            f"{counted(self.unknown, 'row has', 'rows have')} no speaker: a voice may be on both sides"
        ] * some_known

    def _leak_notes(self, leaks: Mapping[str, str]) -> list[str]:
        corpora = {row.corpus for row in self.rows}
        return [note for corpus, note in leaks.items() if corpus in corpora]

    def _too_few(self, what: str, count: int, minimum: int = 2) -> None:
        nameless_rows = Counter(row.speaker is None for row in self.rows)[True]
        nameless = (
            f" ({counted(nameless_rows, 'row has', 'rows have')} no speaker)"
            if nameless_rows and what == "speakers"
            else ""
        )
        got = f"{count}{nameless}"
        remedy = "fill the column in, ask for fewer folds, or choose another protocol"
        raise InputError("protocol", expected=f"at least {minimum} {what}", got=got, remedy=remedy)
