"""Embeddings as estimators of scikit-learn take them: pipelines, clustering, search; what is bad is named."""

import os
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multimodal_ser import InputError, MultimodalEmotionClassifier, embed
from multimodal_ser.testing import synthetic_speech, tiny_model

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from multimodal_ser import EmotionEmbeddings
from multimodal_ser.inference.embeddings import _loaded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model(seed=3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Paths of six voices and six noises, one after the other: what a model with random weights tells apart."""
    folder = tmp_path_factory.mktemp("clips")
    for n in range(12):
        noise = np.random.default_rng(n).normal(0, 0.1, 9600)
        soundfile.write(
            folder / f"{n:02d}_{'noise' if n % 2 else 'voice'}.wav",
            noise if n % 2 else synthetic_speech(0.6, seed=n),
            16_000,
        )
    return sorted(map(str, folder.glob("*.wav")))


@pytest.fixture(scope="module")
def voices(clips):
    return [Path(path).stem.split("_")[1] for path in clips]


def of(folder, **options):
    return EmotionEmbeddings(folder, **{"whisper": None} | options)


@pytest.mark.parametrize("combination", ["gated", "concatenated"])
def test_a_vector_is_what_the_head_sees(combination):
    import torch

    model = tiny_model(combination=combination)
    clip = synthetic_speech(0.7)
    batch = model.processor(audio=[clip], text=["so happy"], sampling_rate=16_000)
    cases = {"both": batch, "audio": {"input_values": batch["input_values"], "audio_attention_mask": batch["audio_attention_mask"]},
             "text": {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}}  # fmt: skip
    found = {}
    for case, inputs in cases.items():
        with torch.inference_mode():
            expected = model(**inputs).embeddings[0].numpy()
        embeddings = EmotionEmbeddings(model, modalities=case, sampling_rate=16_000)
        found[case] = embeddings.fit_transform([(clip, "so happy")])
        assert found[case].dtype == np.float32 and found[case].shape == (1, 32 if combination == "gated" else 128)
        np.testing.assert_allclose(found[case][0], expected, atol=1e-5)
        assert len(embeddings.get_feature_names_out()) == found[case].shape[1]
    assert np.abs(found["audio"] - found["both"]).max() > 1e-2 < np.abs(found["text"] - found["both"]).max()
    # the head makes of the vector what predict says
    with torch.inference_mode():
        logits = model.classifier(model.norm(torch.tensor(found["both"])))[0]
    assert model.labels[int(logits.argmax())] == model.predict(clip, text="so happy", sampling_rate=16_000).label


def test_company_order_and_batches_change_nothing(folder, clips):
    embeddings = of(folder, modalities="audio")
    whole = embeddings.fit_transform(clips)
    np.testing.assert_allclose(
        of(folder, modalities="audio", batch_size=1).fit_transform(clips[::-1])[::-1], whole, atol=1e-5
    )
    np.testing.assert_allclose(embeddings.transform(clips[3:4])[0], whole[3], atol=1e-5)
    assert embeddings.transform([]).shape == (0, 32)


def test_of_a_long_recording_the_windows_are_averaged(folder):
    long = np.concatenate(
        [synthetic_speech(20.0, seed=1), np.zeros(16_000, np.float32), synthetic_speech(20.0, seed=2, pitch=260)]
    )
    model = tiny_model(seed=3)
    [vector] = embed(model, [long], sampling_rate=16_000, modalities="audio")
    parts = np.stack(list(embed(model, [long[:320_000], long[336_000:]], sampling_rate=16_000)))
    assert vector.shape == (32,) and np.abs(vector - parts.mean(0)).max() < np.abs(parts[0] - parts[1]).max()


def test_inputs_come_in_many_forms(folder, clips):
    pd = pytest.importorskip("pandas")
    words = ["so happy", "", None, "not sad", "hello", "the door"] * 2
    embeddings = of(folder)
    expected = embeddings.fit_transform(list(zip(clips, words, strict=True)))
    assert np.abs(expected[1] - expected[0]).max() > 1e-3
    pairs = np.array([clips, words], dtype=object).T
    table = pd.DataFrame({"text": words, "path": clips, "speaker": 1}, index=range(12, 0, -1))
    named = [{"audio": path, "text": text} for path, text in zip(clips, words, strict=True)]
    for form in (pairs, table, table.rename(columns={"path": "Audio"}), named):
        np.testing.assert_array_equal(embeddings.transform(form), expected)
    audio_alone = of(folder, modalities="audio")
    expected = audio_alone.fit_transform(clips)
    loaded = np.stack([soundfile.read(path, dtype="float32")[0] for path in clips])
    sounding = of(folder, modalities="audio", sampling_rate=16_000)
    np.testing.assert_allclose(sounding.transform(loaded), expected, atol=1e-4)
    np.testing.assert_array_equal(sounding.transform(list(loaded)), sounding.transform(loaded))
    for form in (
        np.array(clips),
        np.array(clips, dtype=object)[:, None],
        pd.Series(clips),
        tuple(clips),
        table[["path"]],
        map(Path, clips),
    ):
        np.testing.assert_array_equal(audio_alone.transform(list(form) if isinstance(form, map) else form), expected)
    with_words = [f"{'so happy' if n % 2 else 'not sad'} {n}" for n in range(4)]
    np.testing.assert_array_equal(
        of(folder, modalities="text").fit_transform(pd.DataFrame({"text": with_words})),
        of(folder).fit_transform([(None, text) for text in with_words]),
    )


@pytest.mark.parametrize("wrong", ["a.wav", Path("a.wav"), b"RIFF", np.zeros(16_000), None, 3])
def test_one_input_is_no_list_of_them(folder, wrong):
    with pytest.raises(
        InputError,
        match=r"^X: expected a list, an array or a table of inputs, got one .*; give a list, also of one input",
    ):
        of(folder).transform(wrong)


def test_bad_inputs_are_named_by_position_and_name_and_the_others_may_stay(folder, clips):
    pd = pytest.importorskip("pandas")
    inputs = [clips[0], "no.wav", clips[1], __file__, synthetic_speech(0.5)]  # of the last the rate is unknown
    with pytest.raises(InputError) as told:
        of(folder, modalities="audio").fit_transform(inputs)
    assert str(told.value).startswith(
        "X: expected 5 inputs that can be used, got 3 that cannot be used (by position in X): 1: no.wav: "
    )
    assert f"; 3: {__file__}: expected" in str(told.value) and "; 4: input 4 (array): expected sampling_rate" in str(
        told.value
    )
    assert str(told.value).endswith('; drop them, or set on_error="nan"')
    kept = of(folder, modalities="audio", on_error="nan")
    found = kept.fit_transform(inputs)
    assert np.isnan(found).all(1).tolist() == [False, True, False, True, True] and list(kept.errors_) == [1, 3, 4]
    np.testing.assert_allclose(found[[0, 2]], of(folder, modalities="audio").fit_transform(clips[:2]), atol=1e-5)
    assert kept.transform(clips[:1]).shape == (1, 32) and kept.errors_ == {}
    with pytest.raises(InputError, match=r"got 9 .* and 4 more; drop them"):
        of(folder).fit_transform([f"{n}.wav" for n in range(9)])
    with pytest.raises(InputError, match=f"1: {clips[1]}: expected words that the text branch reads"):
        of(folder, modalities="both").fit_transform([(clips[0], "hello"), (clips[1], "")])
    for options, says in (
        ({"modalities": "voice"}, "modalities"),
        ({"on_error": "skip"}, "on_error"),
        ({"batch_size": 0}, "batch_size"),
    ):
        with pytest.raises(InputError, match=f"^{says}: expected"):
            of(folder, **options).fit(clips)
    with pytest.raises(InputError, match="X: expected a column path, audio or text, got the columns file"):
        of(folder).transform(pd.DataFrame({"file": clips}))


def test_pipelines_learn_cluster_and_search(folder, clips, voices):
    pipeline = make_pipeline(of(folder, modalities="audio"), StandardScaler(), LogisticRegression())
    assert pipeline.fit(clips[:8], voices[:8]).score(clips[8:], voices[8:]) == 1.0
    assert cross_val_score(pipeline, clips, voices, cv=3).min() >= 0.75
    search = GridSearchCV(
        pipeline, {"logisticregression__C": [0.1, 1.0], "emotionembeddings__batch_size": [4]}, cv=2
    ).fit(clips, voices)
    assert search.best_estimator_[0].batch_size == 4
    clusters = make_pipeline(
        of(folder, modalities="audio"), StandardScaler(), KMeans(2, n_init=3, random_state=0)
    ).fit_predict(clips)
    assert len(set(clusters[::2])) == len(set(clusters[1::2])) == 1 and clusters[0] != clusters[1]
    embeddings = of(folder, modalities="audio")
    index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(embeddings.fit_transform(clips))
    distances, found = index.kneighbors(embeddings.transform([clips[7], clips[2]]))
    assert found[:, 0].tolist() == [7, 2] and distances.max() < 1e-5


def test_it_stands_beside_other_transformers(folder, clips, voices, tmp_path):
    """Columns of a table, two of it side by side, kept results, threads, a file of joblib."""
    pd, joblib = pytest.importorskip("pandas"), pytest.importorskip("joblib")
    table = pd.DataFrame({"path": clips, "text": "so happy", "site": list("ab") * 6})
    columns = [("voice", of(folder, modalities="both"), ["path", "text"]), ("site", OneHotEncoder(), ["site"])]
    beside = ColumnTransformer(columns).fit_transform(table)
    assert beside.shape == (12, 34)
    pairs = list(zip(clips, table["text"], strict=True))
    union = make_union(of(folder, modalities="both"), of(folder, modalities="audio")).fit_transform(pairs)
    np.testing.assert_allclose(union[:, :32], beside[:, :32], atol=1e-5)
    pipeline = make_pipeline(
        of(folder, modalities="audio"), StandardScaler(), LogisticRegression(), memory=str(tmp_path / "kept")
    )
    with joblib.parallel_config("threading"):
        assert cross_val_score(pipeline, clips, voices, cv=3, n_jobs=2).min() >= 0.75
    joblib.dump(pipeline.fit(clips, voices), tmp_path / "pipeline.joblib")
    assert joblib.load(tmp_path / "pipeline.joblib").predict(clips[:3]).tolist() == voices[:3]


def test_what_scikit_learn_asks_of_every_estimator(folder):
    """Those of its checks that need no table of numbers."""
    from sklearn.utils import estimator_checks as checks

    for name in (
        "get_params_invariance",
        "set_params",
        "no_attributes_set_in_init",
        "parameters_default_constructible",
    ):
        getattr(checks, f"check_{name}")("EmotionEmbeddings", of(folder))


def test_it_is_an_estimator_as_others_are(folder, clips):
    pd = pytest.importorskip("pandas")
    embeddings = of(folder, modalities="audio", batch_size=3)
    copy = clone(embeddings)
    assert copy.get_params() == embeddings.get_params() and copy.batch_size == 3 and copy is not embeddings
    assert copy.set_params(modalities="text").modalities == "text" and "batch_size=3" in repr(embeddings)
    assert embeddings.get_feature_names_out()[[0, -1]].tolist() == ["emotionembeddings0", "emotionembeddings31"]
    table = embeddings.set_output(transform="pandas").fit_transform(pd.DataFrame({"path": clips[:2]}, index=["a", "b"]))
    assert table.index.tolist() == ["a", "b"] and table.columns[0] == "emotionembeddings0"


def test_a_model_is_loaded_once_and_never_pickled(folder, clips, tmp_path):
    _loaded.cache_clear()
    embeddings = of(folder, modalities="audio")
    expected = embeddings.fit_transform(clips[:2])
    clone(embeddings).fit_transform(clips[:2])
    assert _loaded.cache_info().misses == 1
    stored = pickle.dumps(make_pipeline(embeddings, StandardScaler()).fit(clips))
    assert len(stored) < 20_000 < (folder / "model.safetensors").stat().st_size
    np.testing.assert_array_equal(pickle.loads(stored)[0].transform(clips[:2]), expected)
    model = MultimodalEmotionClassifier.from_pretrained(folder, whisper=None)
    held = EmotionEmbeddings(model, modalities="audio")
    assert clone(held).model is model
    np.testing.assert_allclose(held.transform(clips[:2]), expected, atol=1e-6)
    with pytest.raises(
        InputError,
        match="model: expected a folder or a Hub id, to be pickled, got a loaded MultimodalEmotionClassifier",
    ):
        pickle.dumps(held)
    # another model in the same folder is another model
    (tmp_path / "model").mkdir()
    changing = of(tmp_path / "model", modalities="audio")
    for seed in (3, 4):
        tiny_model(seed=seed).save_pretrained(tmp_path / "model")
        os.utime(tmp_path / "model" / "model.safetensors", (seed, seed + 4e9))
        found = changing.fit_transform(clips[:2])
        assert (np.abs(found - expected).max() < 1e-6) == (seed == 3)


def test_similar_clips_are_found_and_neighbours_of_other_speakers_counted(folder, tmp_path, capsys):
    """examples/similar_clips.py"""
    main = runpy.run_path(str(Path(__file__).resolve().parents[1] / "examples" / "similar_clips.py"))["main"]
    for speaker in range(3):
        for n in range(4):
            kind = ("calm", "angry")[n % 2]
            noise = np.random.default_rng(10 * speaker + n).normal(0, 0.1, 9600)
            path = tmp_path / "clips" / f"s{speaker}" / kind / f"{n}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise if n % 2 else synthetic_speech(0.6, seed=10 * speaker + n), 16_000)
    options = {"neighbours": 3, "model": folder, "modalities": "audio"}
    assert main(str(tmp_path / "clips"), None, speakers=[], **options) == 1.0
    assert "12 clips, 3 speakers, 3 neighbours of other speakers: UA 100.0, chance 50.0" in capsys.readouterr().out
    (tmp_path / "clips" / "s0" / "calm" / "0.wav").write_bytes(b"no recording")
    assert main(str(tmp_path / "clips"), None, speakers=["s0", "s1"], **options | {"neighbours": 1}) == 1.0
    told = capsys.readouterr().out
    assert "s0/calm/0.wav: expected" in told and "7 clips, 2 speakers" in told
    assert (
        main(str(tmp_path / "clips"), str(tmp_path / "clips" / "s2" / "angry" / "1.wav"), speakers=[], **options)
        is None
    )
    first, second, third = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert first == ["0.000", "angry", "s2/angry/1.wav"] and second[1] == third[1] == "angry"


@pytest.mark.parametrize("modalities", ["audio", "both"])
def test_real_voices_that_nobody_learned_from_have_neighbours_of_their_emotion(data, modalities):
    """Some clips of the unseen RAVDESS speakers, by the shipped checkpoint; docs/integrations.md has the figure for all of them."""
    from sklearn.neighbors import KNeighborsClassifier

    from multimodal_ser.corpora import read_manifest

    rows = [
        row
        for row in read_manifest(data / "ravdess" / "manifest.csv").rows
        if row.speaker in ("ravdess_02", "ravdess_15")
    ]
    rows = [row for row in rows if row.emotion in ("anger", "sadness", "happiness")][::2]
    vectors = EmotionEmbeddings(modalities=modalities, whisper=None).fit_transform(
        [(row.path, row.text) for row in rows]
    )
    truth, speakers = np.array([row.emotion for row in rows]), np.array([row.speaker for row in rows])
    other = speakers == "ravdess_02"
    nearest = KNeighborsClassifier(5, metric="cosine").fit(vectors[~other], truth[~other])
    assert nearest.score(vectors[other], truth[other]) > 0.6


def test_without_scikit_learn_there_is_still_embed():
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\n"
        "from multimodal_ser.inference.embeddings import EmotionEmbeddings, embed\n"
        "from multimodal_ser.testing import tiny_model\n"
        "[one] = embed(tiny_model(), [{'text': 'so happy'}])\n"
        "assert (EmotionEmbeddings(tiny_model()).fit([]).transform([(None, 'so happy')])[0] == one).all()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
