"""Protocols and leaks: nothing is on two sides, whatever the corpus looks like."""

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_ser.corpora import ManifestRow, Split, read_manifest
from multimodal_ser.corpora.leakage import content_hashes, find_leaks, sentence_groups
from multimodal_ser.corpora.protocols import PROTOCOLS, Protocol, folds
from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS, split_rows
from multimodal_ser.errors import InputError

EMOTIONS = ("joy", "anger", "sadness", "neutral")


@st.composite
def corpora(draw):
    """Rows of a corpus with speakers, sentences, sessions, and the same sound under several names; and what they sound like."""
    speakers = draw(st.integers(3, 9))
    count = draw(st.integers(speakers, 60))
    rows, contents = [], []
    for index in range(count):
        speaker = index if index < speakers else draw(st.integers(0, speakers - 1))
        rows.append(
            ManifestRow(
                path=Path(f"/c/{index}.wav"), emotion=draw(st.sampled_from(EMOTIONS)), speaker=f"s{speaker}", sentence=f"t{draw(st.integers(0, 4))}",
                session=f"Ses{speaker % 3}", corpus=f"c{speaker % 2}",
            )
        )  # fmt: skip
        twin = draw(st.integers(0, 3 * count))
        contents.append(
            contents[twin] if twin < len(contents) and rows[twin].speaker == rows[-1].speaker else f"sound {index}"
        )
    return rows, contents


def sides(split):
    return split.train, split.validation, split.test


@settings(max_examples=60, deadline=None)
@given(corpora(), st.sampled_from(["holdout", "folds", "loso", "session", "cross-corpus"]), st.integers(0, 5))
def test_no_speaker_and_no_sound_is_on_two_sides(corpus, protocol, seed):
    rows, contents = corpus
    found = folds(rows, protocol, k=3, seed=seed, contents=contents)
    for fold in found:
        parts = sides(fold.split)
        assert fold.split.train and fold.split.test
        for values in ([row.speaker for row in rows], contents):
            seen = [{values[index] for index in part} for part in parts]
            assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
        assert not [leak for leak in find_leaks(rows, fold.split, contents) if leak.serious]
    if protocol in ("folds", "loso", "session", "cross-corpus"):
        tested = sorted(index for fold in found for index in fold.split.test)
        assert tested == list(range(len(rows)))  # each row is tested once


@settings(max_examples=40, deadline=None)
@given(corpora(), st.integers(0, 5))
def test_sentences_are_on_one_side_where_that_is_promised(corpus, seed):
    rows, contents = corpus
    said = sentence_groups(rows)
    if len(set(said)) < 2:
        with pytest.raises(InputError, match="at least 2 sentences"):
            folds(rows, "speaker-sentence", k=3, seed=seed)
        return
    with contextlib.suppress(InputError):  # nothing may be left in a fold: that is said, and then there are no folds
        found = folds(rows, "speaker-sentence", k=3, seed=seed, contents=contents)
        for fold in found:
            test, learned = fold.split.test, [*fold.split.train, *fold.split.validation]
            for of in (said, [row.speaker for row in rows]):
                assert not {of[i] for i in test} & {of[i] for i in learned}


@settings(max_examples=30, deadline=None)
@given(corpora(), st.sampled_from(["holdout", "folds"]), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(corpus, protocol, chance):
    rows, contents = corpus
    order = list(range(len(rows)))
    chance.shuffle(order)
    shuffled = folds([rows[i] for i in order], protocol, k=3, contents=[contents[i] for i in order])
    for one, other in zip(folds(rows, protocol, k=3, contents=contents), shuffled, strict=True):
        for part, again in zip(sides(one.split), sides(other.split), strict=True):
            assert set(part) == {order[i] for i in again}


def test_folds_are_alike_in_their_classes():
    rows = [
        ManifestRow(path=Path(f"/{s}{e}{n}.wav"), emotion=e, speaker=f"s{s}")
        for s in range(10)
        for e in EMOTIONS
        for n in range(3)
    ]
    for fold in folds(rows, "folds", k=5):
        counts = [sum(rows[i].emotion == emotion for i in fold.split.test) for emotion in EMOTIONS]
        assert counts == [6, 6, 6, 6]


def planted(tmp_path):
    noise = np.random.default_rng(0)
    rows = []
    for number, (speaker, sentence) in enumerate([("Ann", "1"), ("Ann", "2"), ("Bo", "3"), ("Cy", "1"), ("Di", "4")]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, noise.normal(0, 0.1, 8000).clip(-1, 1), 16_000)
        rows.append(
            ManifestRow(path=path, emotion=EMOTIONS[number % 2], speaker=speaker, sentence=sentence, folder=tmp_path)
        )
    samples, _ = soundfile.read(tmp_path / "2.wav")
    soundfile.write(tmp_path / "other_name.flac", samples, 16_000)
    return [*rows, replace(rows[4], path=tmp_path / "other_name.flac")]


def test_planted_leaks_are_caught(tmp_path):
    rows = planted(tmp_path)
    contents = content_hashes(rows)
    assert contents[5] == contents[2] and len(set(contents)) == 5
    found = find_leaks(rows, Split((0, 2), (), (1, 3, 5), "by hand"), contents)
    assert [(leak.kind, leak.one, leak.other, leak.names) for leak in found if leak.serious] == [
        ("speaker", "train", "test", ("Ann",)), ("duplicate", "train", "test", ("2.wav = other_name.flac",)),
    ]  # fmt: skip
    assert [leak.kind for leak in found if not leak.serious] == ["sentence"]
    part = [replace(rows[0], start=0.0, end=0.2, speaker=None), replace(rows[0], start=0.2, end=0.5, speaker=None)]
    assert "recording" in [leak.kind for leak in find_leaks(part, Split((0,), (), (1,), ""))]


def test_an_official_split_that_leaks_is_refused_and_named_when_forced(tmp_path):
    rows = [replace(row, split="test" if n in (1, 5) else "train") for n, row in enumerate(planted(tmp_path))]
    with pytest.raises(InputError, match=r"Ann.*allow_leak"):
        folds(rows, "official", validation_share=0)
    rows[1] = replace(rows[1], split="train")
    rows[4] = replace(rows[4], split="test")
    contents = content_hashes(rows)
    (fold,) = folds(
        rows, "official", contents=contents, validation_share=0
    )  # a copy is left out of what is learned from
    assert fold.split.train == (0, 1, 3) and fold.split.test == (4, 5)
    assert "1 clip was left out: it sounds the same as others on another side: 2.wav" in fold.split.notes
    (fold,) = folds(rows, "official", contents=contents, validation_share=0, allow_leak=True)
    assert any("scores are too good" in note and "other_name.flac" in note for note in fold.split.notes)
    meld = [
        ManifestRow(text=f"{s} {n}", emotion=EMOTIONS[n % 2], corpus="meld", split=s)
        for s in ("train", "test")
        for n in range(4)
    ]
    assert any("MELD" in note for note in folds(meld, "official")[0].split.notes)
    with pytest.raises(InputError, match="a split column with a test part"):
        folds([replace(row, split=None) for row in meld], "official")


def test_clips_at_random_only_knowingly():
    rows = [
        ManifestRow(path=Path(f"/{s}{n}.wav"), emotion=EMOTIONS[n % 4], speaker=f"s{s}")
        for s in range(4)
        for n in range(8)
    ]
    with pytest.raises(InputError, match=r"every voice on both sides.*allow_leak"):
        folds(rows, "random")
    for fold in folds(rows, "random", k=4, allow_leak=True):
        assert any("scores are too good" in note and "voices in train and test" in note for note in fold.split.notes)
        assert len(fold.split.test) == 8


def test_what_cannot_be_divided_is_said():
    rows = [ManifestRow(path=Path(f"/{n}.wav"), emotion=EMOTIONS[n % 2]) for n in range(4)]
    with pytest.raises(InputError, match="at least 2 speakers, got 0"):
        folds(rows, "loso")
    with pytest.raises(InputError, match="RAVDESS"):
        folds(rows, "emobox-ravdess")
    with pytest.raises(InputError, match="one of holdout"):
        folds(rows, "kfold")
    known = [replace(row, speaker=f"s{n}") for n, row in enumerate(rows)]
    with pytest.raises(InputError, match="at least 5 speakers, got 4"):
        folds(known, "folds")
    with pytest.raises(InputError, match="at least 2 sentences, got 0"):
        folds(known, "speaker-sentence", k=2)


@pytest.mark.parametrize("protocol", ["holdout", "folds", "speaker-sentence"])
def test_where_nobody_knows_who_speaks_clips_are_no_voices(protocol):
    """They are divided by clip only where that is asked for, and called what they are; words alone by dialogue or text, with a note."""
    rows = [ManifestRow(path=Path(f"/{n}.wav"), emotion=EMOTIONS[n % 2], sentence=str(n % 4)) for n in range(16)]
    with pytest.raises(
        InputError,
        match=r"expected speakers, to hold whole ones out, got none in 16 recordings; name them .* allow_leak",
    ):
        folds(rows, protocol, k=2)
    for fold in folds(rows, protocol, k=2, allow_leak=True):
        assert "speakers" not in fold.split.protocol and "clips" in fold.split.protocol
        assert any("the speakers are unknown" in note and "too good" in note for note in fold.split.notes)
    words = [ManifestRow(text=f"text {n}", sentence=str(n % 4), emotion=EMOTIONS[n % 2]) for n in range(16)]
    for fold in folds(words, protocol, k=2):
        assert "texts" in fold.split.protocol and any(
            "the writers or speakers are unknown" in note for note in fold.split.notes
        )


def test_a_held_out_share_is_the_true_one():
    rows = [ManifestRow(path=Path(f"/{n}.wav"), emotion=EMOTIONS[n % 2], speaker="ab"[n % 2]) for n in range(20)]
    (fold,) = folds(rows, "holdout", validation_share=0)
    assert fold.split.protocol == "1 of 2 speakers held out, 50 % of the rows"


def test_sessions_of_the_same_speakers_cannot_be_left_out():
    rows = [
        ManifestRow(path=Path(f"/{n}.wav"), emotion=EMOTIONS[n % 2], speaker="ab"[n % 2], session=str(n // 10))
        for n in range(20)
    ]
    with pytest.raises(
        InputError,
        match=r"expected sessions of different speakers, got in session '0' every voice of the others; \"loso\"",
    ):
        folds(rows, "session")


def test_speakers_who_differ_in_how_they_are_written_are_told():
    rows = [
        ManifestRow(path=Path(f"/{n}.wav"), emotion=EMOTIONS[n % 2], speaker=("Ann", "ann", "Bo")[n % 3])
        for n in range(30)
    ]
    told = "1 speaker may be on two sides, under names that are written in several ways: Ann / ann"
    assert any(told in fold.split.notes for fold in folds(rows, "loso"))
    assert told in split_rows(rows, validation_speakers=["ann"]).notes
    assert not any("written in several ways" in note for note in split_rows(rows, validation_speakers=["Bo"]).notes)


def test_copies_do_not_stop_emoboxs_folds():
    rows = [
        ManifestRow(path=Path(f"/{s}{n}.wav"), emotion=EMOTIONS[n], speaker=f"ravdess_{s:02d}")
        for s in range(1, 25)
        for n in range(4)
    ]
    contents = [f"sound {n}" for n in range(len(rows))]
    contents[4] = contents[0]  # the first clip of actor 2 is one of actor 1, whom fold 1 tests on
    first = folds(rows, "emobox-ravdess", contents=contents)[0].split
    assert 0 in first.test and 4 not in (*first.train, *first.validation) and 5 in (*first.train, *first.validation)
    assert any("1 clip was left out" in note for note in first.notes)


def test_emobox_folds_of_ravdess(data):
    rows = read_manifest(data / "ravdess" / "manifest.csv").rows
    found = folds(rows, "emobox-ravdess")
    assert [fold.name for fold in found] == ["1", "2", "3", "4", "5"]
    for fold in found:
        test = {rows[i].speaker[-2:] for i in fold.split.test}
        assert test == set(EMOBOX_RAVDESS_FOLDS[int(fold.name)])
        held = sorted(int(a[-2:]) % 2 for a in {rows[i].speaker for i in fold.split.validation})
        assert held == [0, 1] and len({rows[i].speaker for i in fold.split.train}) == 14
        assert any("2 sentences in train and test" in note for note in fold.split.notes)


def classes_in_one_fold(rows, places):
    """Classes of two speakers and more that are in one fold alone."""
    said = {}
    for row in rows:
        said.setdefault(row.label, set()).add(row.speaker)
    return {
        label for label, speakers in said.items() if len(speakers) > 1 and len({places[name] for name in speakers}) == 1
    }


@settings(max_examples=60, deadline=None)
@given(corpora(), st.integers(2, 3), st.integers(0, 3))
def test_every_class_is_learned_where_that_is_possible(corpus, k, seed):
    rows = [row for row in corpus[0] if row.speaker in ("s0", "s1", "s2", "s3", "s4")]
    found = folds(rows, "folds", k=k, seed=seed, validation_share=0)
    lost = [{rows[i].label for i in fold.split.test} - {rows[i].label for i in fold.split.train} for fold in found]
    names = sorted({row.speaker for row in rows})
    best = min(
        len(classes_in_one_fold(rows, dict(zip(names, places, strict=True))))
        for places in itertools.product(range(k), repeat=len(names))
        if len(set(places)) == k
    )
    alone = classes_in_one_fold(
        rows, {rows[i].speaker: number for number, fold in enumerate(found) for i in fold.split.test}
    )
    assert len(alone) == best
    for fold, missing in zip(found, lost, strict=True):  # and what cannot be learned is told
        assert bool(missing) == any(
            note.startswith("only in the test part, and not learned") for note in fold.split.notes
        )


def test_each_speaker_session_and_corpus_is_left_out_once():
    rows = [
        ManifestRow(
            path=Path(f"/{s}{n}.wav"), emotion=EMOTIONS[n], speaker=f"s{s}", session=f"Ses{s // 2}", corpus="ab"[s // 3]
        )
        for s in range(6)
        for n in range(4)
    ]
    assert [fold.name for fold in folds(rows, "loso")] == [f"s{s}" for s in range(6)]
    assert [fold.name for fold in folds(rows, "session")] == ["Ses0", "Ses1", "Ses2"]
    assert [fold.name for fold in folds(rows, "cross-corpus")] == ["a", "b"]
    assert set(get_args(Protocol)) == set(PROTOCOLS)


def test_who_is_in_two_sessions_is_learned_from_in_neither():
    rows = [
        ManifestRow(path=Path(f"/{s}{n}.wav"), emotion=EMOTIONS[n], speaker=f"s{s}", session=f"Ses{s}")
        for s in range(4)
        for n in range(4)
    ]
    rows[0] = replace(rows[0], session="Ses1")
    fold = folds(rows, "session", validation_share=0)[0]
    assert fold.split.test == (1, 2, 3) and 0 not in fold.split.train and 4 in fold.split.train
    assert "left out: 1 row that shares a speaker or a sound with the test part" in fold.split.notes


def test_copies_of_files_are_found_without_being_asked_for(tmp_path):
    rows = planted(tmp_path)[:5]
    (tmp_path / "copy.wav").write_bytes((tmp_path / "2.wav").read_bytes())
    rows.append(replace(rows[0], path=tmp_path / "copy.wav"))  # Ann's, as she is called here, is Bo's
    loso = {fold.name: fold.split for fold in folds(rows, "loso", validation_share=0)}
    assert loso["Bo"].test == (2,) and 5 not in loso["Bo"].train and {0, 1} <= set(loso["Bo"].train)
    for fold in folds(rows, "folds", k=2, validation_share=0):
        assert ({2, 5} <= set(fold.split.test)) != ({2, 5} <= set(fold.split.train))
    held = replace(rows[5], speaker=None)
    leaks = find_leaks([*rows[:5], held], Split((0, 1, 2), (), (5,), ""))
    assert [(leak.kind, leak.names) for leak in leaks if leak.serious] == [("duplicate", ("2.wav = copy.wav",))]


def test_as_many_speakers_as_asked_for_choose_the_model():
    rows = [
        ManifestRow(path=Path(f"/{s}{n}.wav"), emotion=EMOTIONS[n], speaker=f"ravdess_{s:02d}")
        for s in range(1, 25)
        for n in range(4)
    ]
    for protocol, count in (("folds", 3), ("loso", 2), ("emobox-ravdess", 4), ("holdout", 1), ("emobox-ravdess", 0)):
        for fold in folds(rows, protocol, validation_speakers=count):
            assert len({rows[i].speaker for i in fold.split.validation}) == count
    column = [replace(row, split="test" if row.speaker > "ravdess_20" else "train") for row in rows]
    assert len({rows[i].speaker for i in folds(column, "official", validation_speakers=5)[0].split.validation}) == 5
    with pytest.raises(InputError, match="validation_speakers: expected some left to learn from, got 23 of the 23"):
        folds(rows, "loso", validation_speakers=23)


def test_what_is_known_of_a_corpus_is_in_the_notes():
    rows = [
        ManifestRow(
            path=Path(f"/{s}{n}.wav"),
            emotion=EMOTIONS[n],
            speaker=f"s{s}",
            session=f"Ses{s // 2}",
            corpus="iemocap",
            sentence=str(n),
        )
        for s in range(6)
        for n in range(4)
    ]
    for fold in folds(rows, "session"):
        assert any("2403.18635" in note for note in fold.split.notes) and any(
            "4 sentences in train and test" in note for note in fold.split.notes
        )
    for fold in folds(rows, "speaker-sentence", k=3, validation_share=0):
        assert not any("2403.18635" in note or "sentences in train and test" in note for note in fold.split.notes)
    actors = [replace(row, corpus="ravdess", speaker=f"ravdess_{n % 24 + 1:02d}") for n, row in enumerate(rows * 6)]
    actors = [replace(row, path=Path(f"/{n}.wav")) for n, row in enumerate(actors)]
    assert all(any("EmoDataset.py" in note for note in fold.split.notes) for fold in folds(actors, "emobox-ravdess"))
    with pytest.raises(InputError, match="RAVDESS's actors 01 to 24, got speaker 03 of emodb"):
        folds([ManifestRow(text="a", speaker="03", corpus="emodb")], "emobox-ravdess")


def test_clips_of_one_dialogue_in_words_alone_may_be_divided_by_speaker():
    rows = [
        ManifestRow(text=f"text {n}", emotion=EMOTIONS[n % 4], speaker=f"s{n % 5}", dialogue=f"d{n // 10}")
        for n in range(60)
    ]
    assert len(folds(rows, "folds", k=5)) == 5
    rows = [replace(row, speaker=None) for row in rows]
    for fold in folds(rows, "folds", k=3):
        assert not {rows[i].dialogue for i in fold.split.train} & {rows[i].dialogue for i in fold.split.test}


def test_rows_without_a_sentence_are_left_out_where_sentences_are_held_out():
    rows = [
        ManifestRow(path=Path(f"/{s}{n}.wav"), emotion=EMOTIONS[n], speaker=f"s{s}", sentence=str(n))
        for s in range(6)
        for n in range(4)
    ]
    rows.append(ManifestRow(path=Path("/silent.wav"), emotion="joy", speaker="s0"))
    for fold in folds(rows, "speaker-sentence", k=3):
        assert not any(24 in part for part in sides(fold.split))
        assert "left out: 1 row without words or a sentence's code" in fold.split.notes


def test_words_that_are_said_again_stay_where_their_speakers_are():
    rows = [
        ManifestRow(text=f"text {n % 7}", emotion=EMOTIONS[n % 4], speaker=f"s{n % 6}", dialogue="d") for n in range(72)
    ]
    for protocol in ("holdout", "folds", "loso"):
        for fold in folds(rows, protocol, k=3):
            assert len({rows[i].text for i in fold.split.test}) == 7
            assert any("7 sentences in train and test" in note for note in fold.split.notes)


def test_any_rows_are_divided_cleanly_or_refused():
    """Words alone, unknown voices, dialogues, several parts of a recording: whatever comes, nothing leaks unsaid."""
    row = st.builds(
        lambda file, part, speaker, emotion, kind, dialogue, session: ManifestRow(
            path=None if kind == "text" else Path(f"/data/{file}.wav"), start=None if kind == "text" else part, end=None if kind == "text" else part + 1,
            text=None if kind == "audio" else f"text {file % 5}", speaker=speaker, emotion=emotion, dialogue=dialogue, session=session,
            corpus=None if session is None else session[:1],
        ),
        st.integers(0, 12), st.integers(0, 3), st.sampled_from([None, "a", "b", "c", "d"]), st.sampled_from([None, *EMOTIONS, "joy|anger"]),
        st.sampled_from(["text", "audio", "both"]), st.sampled_from([None, "d1", "d2"]), st.sampled_from([None, "x1", "x2", "y1"]),
    )  # fmt: skip

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(row, min_size=1, max_size=30),
        st.sampled_from([name for name in PROTOCOLS if name != "random"]),
        st.integers(0, 3),
    )
    def hold(rows, protocol, seed):
        try:
            found = folds(rows, protocol, k=2, seed=seed)
        except InputError:
            return
        tested = [index for fold in found for index in fold.split.test]
        assert len(set(tested)) == len(tested)
        for fold in found:
            parts = sides(fold.split)
            assert (
                len({index for part in parts for index in part}) == sum(map(len, parts))
                and fold.split.train
                and fold.split.test
            )
            assert not [leak for leak in find_leaks(rows, fold.split) if leak.serious]

    hold()
