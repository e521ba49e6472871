"""Splits: no voice, no copy and no text on two sides, every class measured as far as that goes, and all of it told."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from corpus_tables import labels, voices
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_ser.corpora import ManifestRow, split_rows
from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS
from multimodal_ser.errors import InputError


def clips(speakers=6, emotions=("anger", "joy", "neutral"), each=4, corpus=None):
    return [
        ManifestRow(
            path=Path(f"/data/{s}_{e}_{n}.wav"), emotion=e, speaker=f"s{s:02d}", corpus=corpus, folder=Path("/data")
        )
        for s in range(speakers)
        for e in emotions
        for n in range(each)
    ]


def names(rows, split):
    return [sorted(rows[index].name for index in part) for part in (split.train, split.validation, split.test)]


def with_splits(rows, of):
    return [replace(row, split=of(row)) for row in rows]


# what is held out


def test_speakers_are_held_out_whole():
    rows = clips(14)
    split = split_rows(rows)
    assert split.protocol == "speaker-disjoint: 2 of 14 speakers held out" and split.notes == () and split.test == ()
    assert not voices(rows, split.train) & voices(rows, split.validation)
    assert sorted(split.train + split.validation) == list(range(len(rows)))
    assert labels(rows, split.train) == labels(rows, split.validation) == {"anger", "joy", "neutral"}


def test_other_seeds_hold_out_others():
    rows = clips(14)
    assert len({frozenset(voices(rows, split_rows(rows, seed=seed).validation)) for seed in range(10)}) > 5


def test_no_class_is_held_out_as_a_whole_where_that_can_be_helped():
    rows = [*clips(5), *(ManifestRow(path=Path(f"/data/f{n}.wav"), emotion="fear", speaker="s02") for n in range(4))]
    for seed in range(20):
        split = split_rows(rows, seed=seed)
        assert "fear" in labels(rows, split.train)
        assert split.notes == ("learned, and not in the validation part: fear",)


def test_a_class_that_must_be_held_out_is_told():
    rows = [
        ManifestRow(path=Path(f"{s}{n}.wav"), emotion=e, speaker=s)
        for s, e in (("a", "joy"), ("b", "fear"))
        for n in range(3)
    ]
    split = split_rows(rows)
    assert len(split.validation) == 3 and any(
        "only in the validation part, and not learned" in note for note in split.notes
    )


def test_one_great_speaker_is_not_held_out():
    rows = [
        *clips(4, each=2),
        *(ManifestRow(path=Path(f"/x{n}.wav"), emotion="joy", speaker="great") for n in range(200)),
    ]
    assert all("great" not in voices(rows, split_rows(rows, seed=seed).validation) for seed in range(5))


def test_corpora_are_all_measured():
    one = clips(8, corpus="emodb")
    other = [
        ManifestRow(
            path=Path(f"/o{n}.wav"), emotion=("joy", "anger")[n % 2], speaker=f"o{n % 8}_{n % 2}", corpus="nemo"
        )
        for n in range(96)
    ]
    rows = one + other
    for seed in range(5):
        assert {rows[index].corpus for index in split_rows(rows, seed=seed, validation_share=0.3).validation} == {
            "emodb",
            "nemo",
        }


def test_texts_and_unknown_voices_are_learned_from_beside_known_speakers():
    texts = [ManifestRow(text=f"text {n}", emotion="joy") for n in range(10)]
    unknown = [ManifestRow(path=Path("/data/unknown.wav"), emotion="joy")]
    rows = clips() + texts + unknown
    split = split_rows(rows)
    assert all(rows[index].path is not None and rows[index].speaker for index in split.validation) and split.validation
    assert any(note.startswith("1 recording without a speaker") for note in split.notes)


def test_speakers_of_texts_do_not_decide_for_recordings():
    heard = [ManifestRow(path=Path(f"/{e}{n}.wav"), emotion=e) for e in ("joy", "anger") for n in range(20)]
    rows = heard + [ManifestRow(text=f"text {n}", emotion="joy", speaker=f"s{n % 4}") for n in range(40)]
    split = split_rows(rows)
    assert split.protocol == "by clip, speakers unknown: 6 of 40 clips held out" and all(
        rows[index].path for index in split.validation
    )


@pytest.mark.parametrize(("speaker", "why"), [(None, "the speakers are unknown"), ("ann", "there is only one speaker")])
def test_without_speakers_clips_of_each_class_are_held_out_and_that_is_told(speaker, why):
    rows = [
        ManifestRow(path=Path(f"/{e}{n}.wav"), emotion=e, speaker=speaker)
        for e, k in (("joy", 40), ("anger", 3), ("fear", 1))
        for n in range(k)
    ]
    split = split_rows(rows)
    held = [rows[index].emotion for index in split.validation]
    assert (held.count("joy"), held.count("anger"), held.count("fear")) == (6, 1, 0)
    assert any(why in note and "optimistic" in note for note in split.notes)
    assert any(note == "learned, and not in the validation part: fear" for note in split.notes)
    assert "by clip" in split.protocol


def test_parts_of_one_recording_stay_together():
    rows = [
        ManifestRow(path=Path(f"/call{n}.wav"), start=k, end=k + 1, emotion=("joy", "anger")[n % 2])
        for n in range(8)
        for k in range(5)
    ]
    split = split_rows(rows)
    assert split.validation and not {rows[i].path for i in split.train} & {rows[i].path for i in split.validation}


def test_too_few_clips_and_nothing_is_held_out():
    rows = [ManifestRow(path=Path(f"/{e}.wav"), emotion=e) for e in ("joy", "anger", "fear")]
    split = split_rows(rows)
    assert split.train == (0, 1, 2) and split.validation == () and split.protocol == "no validation"
    assert "no model can be selected, nothing can be measured" in split.notes[0]
    assert split_rows(rows[:1]).train == (0,)


def test_unlabelled_rows_measure_nothing_and_dimensions_do():
    rows = [ManifestRow(path=Path(f"/u{n}.wav")) for n in range(20)] + [
        ManifestRow(path=Path(f"/j{n}.wav"), emotion="joy") for n in range(10)
    ]
    assert {rows[index].emotion for index in split_rows(rows).validation} == {"joy"}
    rows = [ManifestRow(path=Path(f"/{n}.wav"), arousal=n / 20) for n in range(20)]
    assert len(split_rows(rows).validation) == 3


def test_equal_texts_stay_on_one_side():
    rows = [ManifestRow(text=f"text {n % 30}", emotion=("joy", "anger")[n % 2]) for n in range(120)]
    split = split_rows(rows)
    assert split.protocol.startswith("by text") and split.validation and len(split.train) + len(split.validation) == 120
    assert not {rows[index].text for index in split.train} & {rows[index].text for index in split.validation}


def test_dialogues_are_held_out_whole_and_their_common_phrases_measure_nothing():
    rows = [
        ManifestRow(
            text="Okay." if t == 0 else f"text {d} {t}", emotion=("joy", "anger")[t % 2], dialogue=f"d{d}", turn=t
        )
        for d in range(20)
        for t in range(4)
    ]
    split = split_rows(rows)
    assert (
        split.protocol == "by dialogue: 3 of 20 dialogues held out"
        and len(split.train) == 17 * 4
        and len(split.validation) == 9
    )
    assert not {rows[i].dialogue for i in split.train} & {rows[i].dialogue for i in split.validation}
    assert split.notes == ("3 texts were left out of the validation part: they occur in what is learned from",)


def test_texts_with_speakers_are_disjoint_in_both():
    rows = [
        ManifestRow(text="Okay." if n % 5 == 0 else f"text {n}", emotion=("joy", "anger")[n % 2], speaker=f"s{n % 6}")
        for n in range(90)
    ]
    split = split_rows(rows)
    assert split.protocol == "speaker-disjoint: 1 of 6 speakers held out"
    for of in (lambda row: row.speaker, lambda row: row.text):
        assert not {of(rows[i]) for i in split.train} & {of(rows[i]) for i in split.validation}


def test_recordings_may_share_their_sentences():
    rows = [
        ManifestRow(path=Path(f"/{s}{n}.wav"), text="Kids are talking by the door.", emotion="joy", speaker=s)
        for s in "abcd"
        for n in range(3)
    ]
    assert len(split_rows(rows).validation) == 3


# split columns and named speakers


def test_a_split_column_is_followed():
    rows = with_splits(clips(6), lambda row: {"s00": "Test", "s01": "dev"}.get(row.speaker, "train"))
    split = split_rows(rows)
    assert (
        voices(rows, split.test) == {"s00"}
        and voices(rows, split.validation) == {"s01"}
        and split.protocol == "the split column"
    )
    assert voices(rows, split.train) == {"s02", "s03", "s04", "s05"} and split.notes == ()


def test_without_a_validation_part_one_is_taken_from_train_and_never_from_test():
    rows = with_splits(clips(8), lambda row: "test" if row.speaker in ("s00", "s01") else "train")
    split = split_rows(rows)
    assert split.protocol == "the split column; speaker-disjoint: 1 of 6 speakers held out"
    assert (
        voices(rows, split.test) == {"s00", "s01"}
        and not voices(rows, split.validation) & {"s00", "s01"}
        and split.validation
    )


@pytest.mark.parametrize("side", ["dev", "test"])
def test_a_leaking_column_is_refused_unless_asked_for(side):
    rows = with_splits(clips(4), lambda row: side if row.name.endswith("_0.wav") else "train")
    with pytest.raises(
        InputError,
        match=r"no voice on two sides, got 4 voices in train and .*: s00, s01, s02, s03; drop the column.*allow_leak=True",
    ):
        split_rows(rows)
    split = split_rows(rows, allow_leak=True)
    assert "the split leaks, and scores are too good: 4 voices" in split.notes[0]
    assert len(split.validation if side == "dev" else split.test) == 12


def test_parts_of_a_recording_on_both_sides_are_a_leak_too():
    rows = [
        ManifestRow(path=Path("/call.wav"), start=n, end=n + 1, emotion="joy", split=("train", "dev")[n])
        for n in range(2)
    ]
    with pytest.raises(InputError, match=r"1 voice in train and validation: /call.wav"):
        split_rows(rows)


def test_voices_in_validation_and_test_are_told():
    rows = with_splits(
        clips(4), lambda row: "train" if row.speaker != "s00" else ("dev" if row.name.endswith("_0.wav") else "test")
    )
    assert split_rows(rows).notes == ("the split leaks, and scores are too good: 1 voice in validation and test: s00",)


def test_other_words_in_a_split_column_are_told():
    rows = with_splits(clips(6), lambda row: {"s00": "unused", "s01": "dev", "s02": None}.get(row.speaker, "train"))
    split = split_rows(rows)
    assert voices(rows, split.train) == {"s02", "s03", "s04", "s05"} and voices(rows, split.validation) == {"s01"}
    assert split.notes[:2] == (
        "left out, because of what the split column says: 'unused' (12 rows)",
        "12 rows of which the split column says nothing are learned from",
    )
    rows = with_splits(clips(6), lambda row: "fold1")
    split = split_rows(rows)
    assert split.protocol.startswith("speaker-disjoint") and "was not looked at: 'fold1' (72 rows)" in split.notes[0]


def test_texts_of_official_splits_that_repeat_are_told():
    rows = [
        ManifestRow(text=t, emotion="joy", split=s)
        for t, s in (("a", "train"), ("b", "train"), ("b", "dev"), ("c", "dev"))
    ]
    split = split_rows(rows)
    assert split.validation == (2, 3) and split.notes == (
        "1 text of the validation and test parts occurs in the train part too",
    )


def test_speakers_that_are_named():
    rows = clips(8)
    split = split_rows(rows, validation_speakers=["s01"], test_speakers=["s02", "s03"])
    assert (
        voices(rows, split.validation) == {"s01"}
        and voices(rows, split.test) == {"s02", "s03"}
        and len(voices(rows, split.train)) == 5
    )
    assert split.protocol == "test speakers named: s02, s03; validation speakers named: s01"
    split = split_rows(rows, test_speakers="s02")
    assert split.protocol == "test speakers named: s02; speaker-disjoint: 1 of 7 speakers held out"
    assert (
        voices(rows, split.test) == {"s02"}
        and not voices(rows, split.train) & voices(rows, split.validation)
        and split.validation
    )


def test_named_test_speakers_replace_the_column_and_named_validation_speakers_its_validation_part():
    rows = with_splits(clips(6), lambda row: {"s00": "test", "s01": "dev"}.get(row.speaker, "train"))
    split = split_rows(rows, validation_speakers=["s02"])
    assert (
        voices(rows, split.test) == {"s00"}
        and voices(rows, split.validation) == {"s02"}
        and "s01" in voices(rows, split.train)
    )
    split = split_rows(rows, validation_speakers=["s02"], test_speakers=["s03"])
    assert voices(rows, split.test) == {"s03"} and "s00" in voices(rows, split.train)
    assert "the split column was not looked at" in split.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"test_speakers": ["s0"]},
            r"test_speakers: expected speakers of the manifest \(s00, .*and 1 more\), got s0; did you mean 's0\d'",
        ),
        ({"validation_speakers": ["S03"]}, "validation_speakers: .*did you mean 's03'"),
        ({"validation_speakers": ["s01"], "test_speakers": ["s01"]}, "expected others than test_speakers, got s01"),
        ({"test_speakers": [f"s{n:02d}" for n in range(6)]}, "something to learn from"),
        ({"validation_share": 1.0}, "validation_share"),
        ({"validation_share": float("nan")}, "validation_share"),
    ],
)
def test_what_cannot_be_split_is_told(options, message):
    with pytest.raises(InputError, match=message):
        split_rows(clips(6), **options)


def test_no_rows_and_a_column_without_train_are_told():
    with pytest.raises(InputError, match="at least one"):
        split_rows([])
    with pytest.raises(InputError, match="something to learn from"):
        split_rows(with_splits(clips(2), lambda row: "test"))


def test_no_validation_on_request():
    split = split_rows(clips(6), validation_share=0)
    assert split.validation == () and len(split.train) == 72 and split.protocol == "no validation"


# of any rows


ROW = st.builds(
    lambda number, speaker, emotion, kind, dialogue: ManifestRow(
        path=None if kind == "text" else Path(f"/data/{number}.wav"),
        text=f"text {number % 7}" if kind != "audio" else None,
        speaker=speaker, emotion=emotion, dialogue=dialogue, folder=Path("/data"),
    ),
    st.integers(0, 10_000), st.sampled_from([None, "a", "b", "c", "d", "e"]), st.sampled_from([None, "joy", "anger", "fear", "joy|fear"]),
    st.sampled_from(["text", "audio", "both"]), st.sampled_from([None, "d1", "d2", "d3"]),
)  # fmt: skip


@given(
    st.lists(ROW, min_size=1, max_size=40), st.integers(0, 5), st.randoms(use_true_random=False), st.floats(0.05, 0.6)
)
@settings(deadline=None, max_examples=300)
def test_splits_of_any_rows_hold(rows, seed, shuffler, share):
    contents = [None] * len(rows)
    split = split_rows(rows, seed=seed, validation_share=share, contents=contents)
    parts = [*split.train, *split.validation, *split.test]
    assert split.train and len(set(parts)) == len(parts) and not split.test
    learned, held = [rows[i] for i in split.train], [rows[i] for i in split.validation]
    if split.protocol.startswith("speaker-disjoint"):
        assert not {row.speaker for row in learned} & {row.speaker for row in held}
    assert not {row.text for row in learned} & {row.text for row in held if row.path is None}
    assert not {row.path for row in learned} & {
        row.path for row in held if row.path is not None and row.speaker is None
    }
    left_out = [row for index, row in enumerate(rows) if index not in parts]
    heard = {row.path for row in learned + held}
    assert all(
        row.path in heard or (row.path is None and row.text in {other.text for other in learned}) for row in left_out
    )
    assert not {row.path for row in learned if row.path} & {row.path for row in held}
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    again = split_rows(shuffled, seed=seed, validation_share=share, contents=contents)
    assert (
        names(shuffled, again) == names(rows, split) and again.protocol == split.protocol and again.notes == split.notes
    )


def test_copies_are_on_one_side(tmp_path):
    for number, name in enumerate(("a1", "a2", "b1", "b2", "c1", "c2")):
        soundfile.write(tmp_path / f"{name}.wav", [number / 10] * 800, 16_000)
    copied = (tmp_path / "a1.wav").read_bytes()
    (tmp_path / "copy.wav").write_bytes(copied)
    people = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c", "c2": "c", "copy": "b"}
    rows = [
        ManifestRow(
            path=tmp_path / f"{name}.wav", speaker=who, emotion=("joy", "anger")[name[-1] == "2"], folder=tmp_path
        )
        for name, who in people.items()
    ]
    none = [None] * len(rows)  # copies of files, byte for byte, are found all the same
    split = split_rows(rows, test_speakers=["a"], validation_speakers=["c"], contents=none)
    assert split.test == (0, 1) and split.train == (2, 3) and split.validation == (4, 5)
    assert split.notes == ("1 clip was left out: it sounds the same as others on another side: copy.wav",)
    contents = ["same" if index in (2, 4) else None for index in range(6)]
    assert split_rows(rows[:6], test_speakers=["a"], validation_speakers=["c"], contents=contents).train == (3,)
    column = with_splits(rows, lambda row: "test" if row.speaker == "a" else "train")
    assert 6 not in split_rows(column, validation_share=0, contents=none).train
    forced = split_rows(column, validation_share=0, allow_leak=True, contents=none)
    assert 6 in forced.train and "the split leaks, and scores are too good: 1 clip sounds the same" in forced.notes[-1]
    only = [rows[0], rows[6]]
    with pytest.raises(InputError, match="only what sounds the same as the test part"):
        split_rows(only, test_speakers=["a"], validation_share=0, contents=[1, 1])
    assert split_rows(only, validation_speakers=["a"], contents=[1, 1]).train == (
        1,
    )  # rather no validation than nothing to learn from


def test_the_same_rows_and_seed_give_the_same_split_in_any_order_and_any_process():
    rows = clips(9)
    shuffled = random.Random(1).sample(rows, len(rows))
    assert names(rows, split_rows(rows, seed=3)) == names(shuffled, split_rows(shuffled, seed=3))
    code = (
        "from pathlib import Path; from multimodal_ser.corpora import *\n"
        "rows = [ManifestRow(path=Path(f'/{s}{n}.wav'), emotion=e, speaker=s) for s in 'abcdef' for e in ('joy', 'fear') for n in range(3)]\n"
        "print(split_rows(rows), split_rows([ManifestRow(path=row.path, emotion=row.emotion) for row in rows]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_folds_of_emobox_cover_each_actor_once():
    actors = [actor for fold in EMOBOX_RAVDESS_FOLDS.values() for actor in fold]
    assert sorted(actors) == [f"{n:02d}" for n in range(1, 25)]
