"""Baselines: features against signals of known make, and what each baseline owes to its rows."""

import logging
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from multimodal_ser.corpora import ManifestRow
from multimodal_ser.corpora.targets import class_of
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation.baselines import BASELINES, make_baseline
from multimodal_ser.evaluation.baselines import features as baseline_features
from multimodal_ser.evaluation.baselines import registry as baselines
from multimodal_ser.evaluation.baselines.features import (
    COLUMNS,
    FeatureReader,
    descriptors,
    sequence,
    spoken,
    statistics,
)
from multimodal_ser.evaluation.baselines.lexicon import STEMS, emotion_counts
from multimodal_ser.evaluation.baselines.networks import Recipe, SequenceClassifier, WordTokenizer
from multimodal_ser.labels import EMOTIONS
from multimodal_ser.metrics import unweighted_average_recall
from multimodal_ser.testing import synthetic_speech

LABELS = ("anger", "happiness", "neutral", "sadness")
PITCHES = {"anger": 190.0, "happiness": 300.0, "neutral": 130.0, "sadness": 90.0}
AUDIO = [name for name, kind in BASELINES.items() if kind.modality == "audio"]
TEXT = [name for name, kind in BASELINES.items() if kind.modality == "text"]
NEEDED = {
    "mfcc-svm": ("sklearn",),
    "mfcc-logreg": ("sklearn",),
    "egemaps-svm": ("sklearn", "opensmile"),
    "tfidf-logreg": ("sklearn",),
}
PHRASES = {
    "anger": [
        "I hate this stupid thing",
        "you make me furious",
        "stop it, I am angry",
        "how dare you insult me",
        "this is outrageous",
    ],
    "happiness": [
        "I am so happy today",
        "what a wonderful gift",
        "thank you, I love it",
        "great, we won",
        "that was fun",
    ],
    "neutral": [
        "the door is open",
        "the train leaves at nine",
        "put it on the table",
        "he has two sisters",
        "it is on the left",
    ],
    "sadness": ["I miss her so much", "he died last year", "I feel so lonely", "we lost everything", "it makes me cry"],
}
CHINESE = {
    "anger": ["我很生气", "你真讨厌", "气死我了", "别烦我", "我讨厌你"],
    "happiness": ["我很高兴", "太好了", "我真开心", "谢谢你", "我爱你"],
}


def needs(name):
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)


def signal(seconds, f0, formants, bandwidths=(60.0, 80.0, 120.0)):
    """A pulse train through resonances of known frequency: vowels as textbooks make them."""
    time = np.arange(round(seconds * 16000))
    source = (np.diff(np.floor(time * f0 / 16000), prepend=-1) > 0).astype(float)
    for frequency, bandwidth in zip(formants, bandwidths, strict=True):
        radius = np.exp(-np.pi * bandwidth / 16000)
        a1, a2 = 2 * radius * np.cos(2 * np.pi * frequency / 16000), -(radius**2)
        out = np.zeros_like(source)
        for i in range(len(source)):
            out[i] = source[i] + a1 * (out[i - 1] if i else 0) + a2 * (out[i - 2] if i > 1 else 0)
        source = out
    return (0.5 * source / np.abs(source).max()).astype(np.float32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four speakers, four emotions that differ in pitch, two clips of each; rows as a manifest gives them."""
    root = tmp_path_factory.mktemp("clips")
    rows = []
    for speaker in range(4):
        for emotion, pitch in PITCHES.items():
            for take in range(2):
                path = root / f"{speaker}-{emotion}-{take}.wav"
                wave = synthetic_speech(0.6 + 0.1 * take, seed=10 * speaker + take, pitch=pitch * (1 + 0.02 * speaker))
                sf.write(path, wave, 16000)
                text = PHRASES[emotion][(speaker + take) % 5]
                rows.append(ManifestRow(path=path, text=text, emotion=emotion, speaker=f"s{speaker}", folder=root))
    return rows


def split(rows):
    return [row for row in rows if row.speaker != "s3"], [row for row in rows if row.speaker == "s3"]


def score(rows, probabilities, labels=LABELS):
    return unweighted_average_recall([class_of(row, labels) for row in rows], probabilities.argmax(1))


# Features


def test_pitch_is_that_of_the_signal():
    column = COLUMNS.index("pitch")
    for f0 in (75.0, 110.0, 170.0, 260.0, 400.0, 550.0):
        buzz = sum(np.sin(2 * np.pi * f0 * k * np.arange(8000) / 16000) / k for k in range(1, int(4000 / f0)))
        pitch = descriptors(buzz / 4)[5:-5, column]
        assert np.isfinite(pitch).mean() > 0.95
        assert 27.5 * 2 ** (np.nanmedian(pitch) / 12) == pytest.approx(f0, rel=0.02)


def test_noise_and_silence_have_no_pitch_and_no_formants():
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    columns = [COLUMNS.index(name) for name in ("pitch", "formant_1", "formant_2", "formant_3")]
    assert np.isnan(descriptors(noise)[:, columns]).mean() > 0.95
    assert np.isnan(descriptors(np.zeros(16000, np.float32))[:, columns]).all()


@pytest.mark.parametrize("formants", [(700.0, 1200.0, 2600.0), (300.0, 2300.0, 3000.0), (500.0, 1500.0, 2500.0)])
def test_formants_are_those_of_the_signal(formants):
    found = np.nanmedian(
        descriptors(signal(0.5, f0=100.0, formants=formants))[:, [COLUMNS.index(f"formant_{i}") for i in (1, 2, 3)]],
        axis=0,
    )
    assert found == pytest.approx(formants, abs=60)


def test_energy_is_decibels_of_full_scale():
    wave = np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    energy = descriptors(wave)[5:-5, COLUMNS.index("energy")]
    assert energy == pytest.approx(10 * np.log10(0.5), abs=0.1)
    assert descriptors(wave / 10)[5:-5, COLUMNS.index("energy")] == pytest.approx(energy - 20, abs=0.1)


def test_mfcc_are_those_of_torchaudio():
    import torchaudio

    wave = synthetic_speech(0.7)
    mel = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 40, "f_min": 20.0, "pad_mode": "constant"}
    mfcc = torchaudio.transforms.MFCC(16000, 20, log_mels=True, melkwargs=mel)(torch.from_numpy(wave))
    found = descriptors(wave)
    np.testing.assert_allclose(found[:, :20], mfcc.numpy().T, atol=1e-4)
    np.testing.assert_allclose(found[:, 20:40], torchaudio.functional.compute_deltas(mfcc).numpy().T, atol=1e-4)


@pytest.mark.parametrize("samples", [400, 401, 640, 16000, 12345])
def test_every_signal_gets_finite_frames_and_a_vector(samples):
    for wave in (
        np.zeros(samples),
        np.ones(samples),
        np.random.default_rng(1).normal(0, 0.2, samples),
        np.eye(1, samples)[0],
    ):
        frames = descriptors(wave.astype(np.float32))
        assert frames.shape == (1 + samples // 160, len(COLUMNS)) and frames.dtype == np.float32
        assert np.isfinite(frames[:, : COLUMNS.index("pitch")]).all() and not np.isinf(frames).any()
        vector = statistics(frames)
        assert vector.shape == (5 * len(COLUMNS) + 6,) and not np.isinf(vector).any()
        assert len(sequence(frames)) and np.isfinite(sequence(frames)).all()


def test_a_long_recording_is_analysed_in_blocks_as_if_it_were_one(monkeypatch):
    wave = np.concatenate([synthetic_speech(1.0, seed=seed) for seed in range(3)])
    whole = descriptors(wave)
    monkeypatch.setattr(baseline_features, "BLOCK", 16000)
    blocks = descriptors(wave)
    assert blocks.shape == whole.shape
    away = np.array([min(abs(t - edge) for edge in (100, 200)) > 8 for t in range(len(whole))])
    np.testing.assert_allclose(blocks[away], whole[away], atol=0.05, rtol=0.02)


def test_silence_at_the_ends_says_nothing():
    wave = synthetic_speech(1.0)
    padded = np.concatenate([np.zeros(8000, np.float32), wave, np.zeros(8000, np.float32)])
    inside = spoken(descriptors(padded))
    assert inside.start == pytest.approx(50, abs=3) and inside.stop == pytest.approx(151, abs=3)
    middle = 5 * len(COLUMNS)
    np.testing.assert_allclose(statistics(descriptors(padded))[:100:5], statistics(descriptors(wave))[:100:5], atol=1.5)
    assert statistics(descriptors(padded))[middle + 5] == pytest.approx(1.0, abs=0.06)  # s


def test_features_are_kept_by_content_and_part(tmp_path, clips):
    calls = []

    def compute(wave):
        calls.append(len(wave))
        return np.array([float(wave.sum())])

    reader = FeatureReader("sums", compute, tmp_path / "cache")
    first = reader(clips[0])
    copy = tmp_path / "another name.wav"
    copy.write_bytes(clips[0].path.read_bytes())
    assert FeatureReader("sums", compute, tmp_path / "cache")(ManifestRow(path=copy)) == first and len(calls) == 1
    part = reader(ManifestRow(path=copy, start=0.1, end=0.3))
    assert calls[1:] == [3200] and part != first
    reader(clips[1])
    assert len(calls) == 3
    for file in (tmp_path / "cache").rglob("*.npy"):  # a damaged file is written anew
        file.write_bytes(file.read_bytes()[:20])
    assert reader(clips[0]) == first and len(calls) == 4
    assert not list((tmp_path / "cache").rglob("*.new"))
    plain = FeatureReader("sums", compute)
    plain(clips[0]), plain(clips[0])
    assert len(calls) == 6


def test_a_cache_that_cannot_be_made_is_told_and_one_that_is_full_costs_nothing(tmp_path, clips, caplog, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cache_dir: expected a folder"):
        make_baseline("mfcc-lstm", LABELS, cache_dir=tmp_path / "file")
    reader = FeatureReader("length", lambda wave: np.array(len(wave)), tmp_path / "cache")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(baseline_features.np, "save", full)
    with caplog.at_level(logging.WARNING):
        assert reader(clips[0]) == 9600
    assert "No space left" in caplog.text and not list((tmp_path / "cache").rglob("*.new"))


def test_a_part_beyond_the_end_and_words_alone_are_told(clips):
    reader = FeatureReader("length", lambda wave: np.array(len(wave)))
    with pytest.raises(InputError, match=r"line 3: expected at least 25 ms of audio, got 5 s to the end of 0.600 s"):
        reader(ManifestRow(path=clips[0].path, start=5.0, place="m.csv, line 3"))
    with pytest.raises(InputError, match="expected a recording, got words alone"):
        reader(ManifestRow(text="hello"))


# Networks and tokens


def test_what_fills_up_a_sequence_changes_nothing():
    generator = np.random.default_rng(0)
    sequences = [generator.normal(i % 2, 1, (n, 3)).astype(np.float32) for i, n in enumerate((4, 30, 7, 12, 9, 21))]
    network = SequenceClassifier(Recipe(hidden=8, epochs=3, batch_size=3), 2).fit(sequences, np.arange(6) % 2)
    together = network.predict_proba(sequences)
    for index, one in enumerate(sequences):
        np.testing.assert_allclose(network.predict_proba([one])[0], together[index], atol=1e-6)
    turned = network.predict_proba([one[::-1].copy() for one in sequences])
    assert np.abs(turned - together).max() > 1e-4  # the order of steps counts


def test_a_network_learns_order_and_is_repeatable_and_draws_from_nobody_elses_numbers():
    generator = np.random.default_rng(0)
    up = [
        np.cumsum(np.abs(generator.normal(1, 0.3, (n, 1))), 0).astype(np.float32) for n in generator.integers(6, 15, 40)
    ]
    sequences = [s if i % 2 else s[::-1].copy() for i, s in enumerate(up)]  # the same values, the other way round
    classes = np.arange(40) % 2
    torch.manual_seed(7)
    before = torch.get_rng_state()
    recipe = Recipe(hidden=16, epochs=40, batch_size=8, learning_rate=1e-2, dropout=0.0)
    one = SequenceClassifier(recipe, 2, seed=3).fit(sequences, classes).predict_proba(sequences)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(8)
    again = SequenceClassifier(recipe, 2, seed=3).fit(sequences, classes).predict_proba(sequences)
    other = SequenceClassifier(recipe, 2, seed=4).fit(sequences, classes).predict_proba(sequences)
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert (one.argmax(1) == classes).mean() > 0.9


def test_a_rare_class_does_not_swallow_the_frequent_one():
    generator = np.random.default_rng(0)
    classes = np.array([0] * 300 + [1, 2, 3] * 2)
    centre = np.eye(4, dtype=np.float32)[classes]
    sequences = [(2 * c + generator.normal(0, 1, (6, 4))).astype(np.float32) for c in centre]
    network = SequenceClassifier(Recipe(hidden=8, epochs=8, batch_size=16), 4).fit(sequences, classes)
    recall = (network.predict_proba(sequences).argmax(1) == classes)[:300].mean()
    assert recall > 0.8


def test_tokens_of_scripts_with_and_without_spaces():
    tokenizer = WordTokenizer(["x"])
    assert tokenizer.tokens("I'm HAPPY, really.") == ["i", "'", "m", "happy", ",", "really", "."]
    assert tokenizer.tokens("我很高兴!") == ["我", "很", "高", "兴", "!"]
    assert tokenizer.tokens("今日はいい") == list("今日はいい")
    assert tokenizer.tokens("안녕 친구") == ["안녕", "친구"]  # Korean sets spaces
    assert tokenizer.tokens("Größe é") == ["größe", "é"]


def test_unknown_words_and_empty_texts_are_one_token():
    tokenizer = WordTokenizer(["a b", "b c"])
    assert [ids.tolist() for ids in tokenizer(["z", "", "  "])] == [[1], [1], [1]]
    assert len(WordTokenizer([f"w{i}" for i in range(50)], most=10).ids) == 10


# The lexicon


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am happy", {"happiness": 1.0}),
        ("I am very happy", {"happiness": 2.0}),
        ("I'm NOT happy", {"sadness": 1.0}),
        ("I don’t really love it", {"sadness": 2.0}),
        ("I am not angry", {}),
        ("I am not angry, I am scared", {"fear": 1.0}),
        ("no, that is wonderful", {"happiness": 1.0}),  # the clause is over
        ("not bad but wonderful", {"happiness": 1.0}),
        ("disgusting! yuck", {"disgust": 2.0}),
        ("wow", {"surprise": 1.0}),
        ("the yellow door, please", {}),
        ("", {}),
        ("我很高兴", {}),
    ],
)
def test_words_of_emotion_and_what_turns_them(text, expected):
    assert emotion_counts(text) == expected


def test_each_word_stands_for_one_emotion():
    words = [word for line in STEMS.values() for word in line.split()]
    assert len(words) == len(set(words)) and 300 < len(words) < 600 and set(STEMS) == {*EMOTIONS} - {"neutral"}


def test_the_lexicon_says_neutral_or_the_prior_where_no_word_occurs():
    rows = [ManifestRow(text="x", emotion=e) for e in ("joy", "joy", "joy", "anger")]
    dull = [ManifestRow(text="the door is open")]
    with_neutral = make_baseline("lexicon", ["joy", "anger", "neutral"]).fit(rows).predict_proba(dull)
    assert with_neutral.argmax() == 2 and with_neutral[0].sum() == pytest.approx(1)
    assert make_baseline("lexicon", ["joy", "anger"]).fit(rows).predict_proba(dull).tolist() == [[0.75, 0.25]]


# What all baselines owe


def test_the_names_are_those_that_reports_know():
    expected = [
        "majority",
        "mfcc-svm",
        "mfcc-logreg",
        "mfcc-lstm",
        "egemaps-svm",
        "tfidf-logreg",
        "text-lstm",
        "lexicon",
    ]
    assert list(BASELINES) == expected
    assert all(kind.modality in ("audio", "text", "any") and kind.title for kind in BASELINES.values())
    with pytest.raises(InputError, match="did you mean 'mfcc-svm'"):
        make_baseline("mfcc-swm", LABELS)
    for labels in ([], ["joy", "joy"], "joy"):
        with pytest.raises(InputError, match="labels"):
            make_baseline("majority", labels)


@pytest.mark.parametrize("name", BASELINES)
def test_each_baseline_learns_and_is_repeatable(name, clips, tmp_path):
    needs(name)
    train, test = split(clips)
    baseline = make_baseline(name, LABELS, seed=5, cache_dir=tmp_path)
    probabilities = baseline.fit(train).predict_proba(test)
    assert probabilities.shape == (len(test), 4) and np.isfinite(probabilities).all() and (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    again = make_baseline(name, LABELS, seed=5, cache_dir=tmp_path).fit(train).predict_proba(test)
    assert np.array_equal(probabilities, again)
    fresh = make_baseline(name, LABELS, seed=5).fit(train).predict_proba(test)
    np.testing.assert_allclose(probabilities, fresh, atol=1e-6)
    if name == "majority":
        assert np.allclose(probabilities, 0.25)
    elif name in AUDIO:
        assert score(test, probabilities) > 0.6  # pitch alone tells them apart
    assert not baseline.errors and np.allclose(baseline.prior, 0.25)
    assert baseline.predict_proba([]).shape == (0, 4)


@pytest.mark.parametrize("name", AUDIO)
def test_one_unreadable_recording_costs_itself_alone(name, clips, tmp_path, caplog):
    needs(name)
    train, test = split(clips)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF no wave")
    rows = [*train[:5], ManifestRow(path=broken, emotion="anger", speaker="s1"), *train[5:]]
    with caplog.at_level(logging.WARNING):
        baseline = make_baseline(name, LABELS, cache_dir=tmp_path / "cache").fit(rows)
    assert "broken.wav" in caplog.text and list(baseline.errors) == [broken.as_posix()]
    assert np.allclose(baseline.prior, 0.25)  # it was not learned from
    asked = [test[0], ManifestRow(path=tmp_path / "gone.wav"), ManifestRow(text="words alone"), test[1]]
    found = baseline.predict_proba(asked)
    assert np.allclose(found[[1, 2]], baseline.prior) and "gone.wav" in caplog.text
    np.testing.assert_allclose(found[[0, 3]], make_baseline(name, LABELS).fit(train).predict_proba(test[:2]), atol=1e-6)
    with pytest.raises(InputError, match=r"at least one row that can be read, got none; the first: .*broken.wav"):
        make_baseline(name, LABELS).fit([ManifestRow(path=broken, emotion="anger")])


@pytest.mark.parametrize("name", TEXT)
def test_a_row_without_words_gets_the_prior(name, caplog):
    needs(name)
    rows = [ManifestRow(text=text, emotion=e) for e, texts in PHRASES.items() for text in texts]
    baseline = make_baseline(name, LABELS).fit([*rows, ManifestRow(path=Path("a.wav"), emotion="anger")])
    assert list(baseline.errors) == ["a.wav"] and "a.wav" in caplog.text
    found = baseline.predict_proba([rows[0], ManifestRow(path=Path("b.wav"))])
    assert np.allclose(found[1], 0.25) and not np.allclose(found[0], 0.25)


@pytest.mark.parametrize("name", ["tfidf-logreg", "text-lstm"])
@pytest.mark.parametrize("phrases", [PHRASES, CHINESE], ids=["english", "chinese"])
def test_texts_are_learned_in_scripts_with_and_without_spaces(name, phrases, monkeypatch):
    needs(name)
    monkeypatch.setattr(
        baselines, "WORDS", Recipe(hidden=24, embedding=24, epochs=40, batch_size=4, learning_rate=1e-2)
    )
    labels = list(phrases)
    rows = [ManifestRow(text=text, emotion=emotion) for emotion, texts in phrases.items() for text in texts]
    probabilities = make_baseline(name, labels).fit(rows).predict_proba(rows)
    assert score(rows, probabilities, labels) > 0.9
    if phrases is CHINESE:  # a new clause of known characters
        new = [ManifestRow(text="我真的很生气", emotion="anger"), ManifestRow(text="很开心，谢谢", emotion="happiness")]
        assert make_baseline(name, labels).fit(rows).predict_proba(new).argmax(1).tolist() == [0, 1]


@pytest.mark.parametrize("name", [name for name in BASELINES if name not in ("majority", "lexicon")])
def test_classes_that_nobody_shows_two_classes_and_one(name, clips, tmp_path):
    needs(name)
    wide = (*LABELS, "boredom")
    two = [row for row in clips if row.emotion in ("anger", "sadness")]
    baseline = make_baseline(name, wide, cache_dir=tmp_path).fit(two)
    probabilities = baseline.predict_proba(two)
    assert probabilities.shape == (len(two), 5) and set(probabilities.argmax(1)) <= {0, 3}
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    one = make_baseline(name, wide, cache_dir=tmp_path).fit([row for row in clips if row.emotion == "anger"])
    assert one.predict_proba(two).tolist() == [[1.0, 0, 0, 0, 0]] * len(two)


def test_an_svm_of_one_speaker_and_of_speakers_of_one_class_each(clips, tmp_path):
    needs("mfcc-svm")
    alone = [row for row in clips if row.speaker == "s0"]
    assert score(alone, make_baseline("mfcc-svm", LABELS, cache_dir=tmp_path).fit(alone).predict_proba(alone)) > 0.9
    apart = [row for row in clips if (row.speaker, row.emotion) in (("s0", "anger"), ("s1", "sadness"))]
    found = make_baseline("mfcc-svm", LABELS, cache_dir=tmp_path).fit(apart).predict_proba(apart)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_an_svm_chooses_what_its_decision_chooses(clips, tmp_path):
    needs("mfcc-svm")
    train, test = split(clips)
    baseline = make_baseline("mfcc-svm", LABELS, cache_dir=tmp_path).fit(train)
    table = np.stack([statistics(descriptors(sf.read(row.path, dtype="float32")[0])) for row in test])
    assert baseline.predict_proba(test).argmax(1).tolist() == baseline._model.predict(table).tolist()


def test_rows_of_no_class_are_not_learned_from():
    rows = [
        ManifestRow(text="a", emotion="Joy"),
        ManifestRow(text="b", emotion="happy|sad"),
        ManifestRow(text="c"),
        ManifestRow(text="d", emotion="boredom"),
        ManifestRow(text="e", votes={"anger": 2, "joy": 1}),
    ]
    assert [class_of(row, ["anger", "happiness"]) for row in rows] == [1, None, None, None, 0]
    baseline = make_baseline("majority", ["anger", "happiness"]).fit(rows)
    assert baseline.prior.tolist() == [0.5, 0.5]
    assert class_of(ManifestRow(text="x", emotion="urgent"), ["calm", "urgent"]) == 1
    with pytest.raises(InputError, match="expected at least one row of anger, happiness, got none among 1"):
        make_baseline("majority", ["anger", "happiness"]).fit(rows[2:3])
    with pytest.raises(InputError, match="call fit first"):
        make_baseline("majority", ["anger"]).predict_proba(rows)


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("egemaps-svm", "opensmile", "opensmile"), ("mfcc-svm", "sklearn", "evaluate")]
)
def test_a_package_that_is_missing_is_named_with_its_extra(name, package, extra, monkeypatch):
    find = baselines.importlib.util.find_spec
    monkeypatch.setattr(baselines.importlib.util, "find_spec", lambda asked: None if asked == package else find(asked))
    with pytest.raises(
        InputError, match=rf"{name}: expected the package {package}, got none; pip install multimodal-ser\[{extra}\]"
    ):
        make_baseline(name, LABELS)


def test_openings_of_the_example_of_leaks(tmp_path, monkeypatch, capsys):
    """Voices differ more than emotions do: drawn at random, clips are told apart by what was heard of their speakers."""
    lines = ["path,emotion,speaker"]
    for actor in ("01", "02", "03", "15", "16", "18"):
        for i, (emotion, pitch) in enumerate(PITCHES.items()):
            for take in range(2):
                sf.write(
                    tmp_path / f"{actor}{i}{take}.wav",
                    synthetic_speech(0.4, seed=int(actor) + take, pitch=pitch),
                    16000,
                )
                lines.append(f"{actor}{i}{take}.wav,{emotion},ravdess_{actor}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    monkeypatch.setattr(sys, "argv", ["leaks.py", str(tmp_path), "--cache-dir", str(tmp_path / "cache")])
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "examples" / "leaks.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("fold 5, random: UA ") and "16 clips learned, 32 tested" in printed[0]
    assert printed[1].endswith("(16 clips learned, 32 tested, 0 voices in both)")
    assert printed[2].startswith("mfcc-lstm, random split: UA") and printed[3].startswith(
        "mfcc-lstm, speaker-disjoint split: UA"
    )


# Real recordings


def test_real_voices_are_where_they_should_be(data):
    from multimodal_ser.corpora import read_manifest

    rows = [row for row in read_manifest(data / "emodb" / "manifest.csv").rows if row.emotion == "neutral"]
    reader = FeatureReader("descriptors", descriptors)
    pitch = {"m": [], "f": []}
    for row in rows:
        if len(pitch[row.gender[0]]) < 10:
            pitch[row.gender[0]].append(float(np.nanmedian(reader(row)[:, COLUMNS.index("pitch")])))
    low, high = (27.5 * 2 ** (np.median(pitch[gender]) / 12) for gender in "mf")
    assert 90 < low < 150 < high < 260  # Hz
