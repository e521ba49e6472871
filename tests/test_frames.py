"""Predictions as tables of pandas: nothing is lost on the way there and back, whatever it is written to between."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from multimodal_ser import EmotionPrediction, InputError, Transcript, frame_to_predictions, predictions_to_frame
from multimodal_ser.audio import AudioError
from multimodal_ser.testing import synthetic_speech, tiny_model
from multimodal_ser.transcription.transcript import Word

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """All that can come of a list: voices, words, both, channels, other label sets, failures, what a transcript knows."""
    folder = tmp_path_factory.mktemp("clips")
    two = np.stack([synthetic_speech(0.6), synthetic_speech(0.6, seed=1)], axis=1)
    soundfile.write(folder / "two.wav", two, 16_000)
    (folder / "empty.wav").touch()
    model = tiny_model()
    model.config.conformal = {"both": {"method": "lac", "threshold": 0.99, "alpha": 0.1, "label_set": "native"}}
    inputs = [folder / "two.wav", folder / "empty.wav", synthetic_speech(0.5), folder / "no.wav", folder / "two.wav"]
    found = model.predict(
        inputs,
        text=["so happy", None, None, "not", "; | + \n é"],
        sampling_rate=16_000,
        on_error="skip",
        abstain_below=0.5,
    )
    found.append(model.predict(text="hello", label_set="sentiment"))
    found.append(model.predict(folder / "two.wav", channels="split"))
    words = (Word("so", 0.0, 0.25, 0.1 + 0.2), Word("happy", 0.25, 0.5))
    heard = Transcript("so happy", "en", 1 / 3, words, -0.1, 0.02, 0.5, "base", "faster-whisper")
    found.append(replace(found[0], transcript=heard, notes=("one; two", "three")))
    found.append(model.predict([folder / "two.wav"] * 2, channels="split")[1])
    assert isinstance(found[1], AudioError) and found[0].conformal_labels and found[0].source.endswith("two.wav")
    return found


def same(one, other):
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (str(one) == str(other) if isinstance(one, InputError) else one == other)


def through(frame, form, folder):
    if form == "memory":
        return frame
    if form == "csv":
        frame.to_csv(folder / "table.csv", index=False)
        exact = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
        return pd.read_csv(folder / "table.csv", **exact)
    frame.to_parquet(folder / "table.parquet")
    return pd.read_parquet(folder / "table.parquet")


@pytest.mark.parametrize("form", ["memory", "csv", "parquet"])
def test_there_and_back(predictions, form, tmp_path):
    again = frame_to_predictions(through(predictions_to_frame(predictions), form, tmp_path))
    assert len(again) == len(predictions)
    for one, other in zip(predictions, again, strict=True):
        assert same(one, other), (one, other)
    assert frame_to_predictions(predictions_to_frame([])) == []


def test_cells_are_plain_and_of_one_type_a_column(predictions):
    frame = predictions_to_frame(predictions)
    assert frame["input"].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 8]
    assert frame["channel"].isna().sum() == 7 and frame["channel"].dropna().tolist() == [0, 1, 0, 1]
    assert (
        frame["confidence"].dtype == "float64"
        and frame["windows"].dtype == "Int64"
        and frame["abstained"].dtype == "boolean"
    )
    assert frame["modalities"].fillna("").tolist()[:3] == ["audio+text", "", "audio"]
    failed = frame[frame["error"].notna()]
    assert failed["input"].tolist() == [1, 3] and failed["label"].isna().all() and failed["confidence"].isna().all()
    assert failed["error"].tolist()[1].endswith("no.wav: expected an audio file, got no such file; check the path")
    assert frame["text"].tolist()[0] == "so happy" and frame["text"].isna().tolist()[2]
    native, merged = (
        [f"p_{name}" for name in ("anger", "happiness", "sadness")],
        ["p_negative", "p_neutral", "p_positive"],
    )
    assert set(native) | set(merged) >= {name for name in frame if name.startswith("p_")} >= set(native)
    assert frame.loc[0, native].sum() == pytest.approx(1) and frame.loc[5, native].isna().all()  # another label set
    # columns are those of the command's CSV, where it has them
    assert {"source", "channel", "label", "confidence", "text", "language", "modalities", "error"} <= set(frame)


def test_filtered_and_sorted_tables_are_read_too(predictions):
    frame = predictions_to_frame(predictions)
    kept = frame[frame["error"].isna() & frame["channel"].isna()].sort_values("confidence")
    again = frame_to_predictions(kept)
    assert len(again) == 5 and [one.confidence for one in again] == sorted(one.confidence for one in again)
    assert all(isinstance(one, EmotionPrediction) for one in again)


def test_tables_of_several_calls_are_put_together(predictions, tmp_path):
    """Each call counts its inputs from 0."""
    split, whole = predictions[6], predictions[0]
    tables = [predictions_to_frame([one]) for one in (split, split, whole, split, whole)]
    again = frame_to_predictions(pd.concat(tables, ignore_index=True))
    assert len(again) == 5 and all(map(same, (split, split, whole, split, whole), again))


def test_labels_that_look_like_nothing_come_back(tmp_path):
    found = tiny_model(labels=("None", "n/a", "NULL")).predict([synthetic_speech(0.5)], sampling_rate=16_000)
    assert frame_to_predictions(through(predictions_to_frame(found), "csv", tmp_path)) == found


def test_a_table_of_paths_and_words_is_predicted_and_joined(tmp_path):
    for n in range(3):
        soundfile.write(tmp_path / f"{n}.wav", synthetic_speech(0.5, seed=n), 16_000)
    calls = pd.DataFrame(
        {
            "path": [str(tmp_path / f"{n}.wav") for n in range(3)] + [np.nan, "no.wav"],
            "text": ["hello", np.nan, "", "so sad", None],
        }
    )
    calls.index = [7, 3, 9, 1, 2]  # rows were dropped and sorted before
    found = tiny_model().predict(calls["path"], text=calls["text"], on_error="skip")
    joined = calls.join(predictions_to_frame(found, index=calls.index)[["modalities", "label", "error"]])
    assert joined["modalities"].tolist()[:4] == ["audio+text", "audio", "audio", "text"]
    assert joined.loc[2, "error"].startswith("no.wav") and joined.drop(index=2)["label"].notna().all()


def test_what_is_no_such_table_is_told(predictions):
    frame = predictions_to_frame(predictions)
    with pytest.raises(
        InputError, match="frame: expected all columns of predictions, got none called details; give a table"
    ):
        frame_to_predictions(frame.drop(columns="details"))
    broken = frame.copy()
    broken.loc[2, "details"] = "{"
    with pytest.raises(InputError, match="row 2: expected a prediction, got JSONDecodeError"):
        frame_to_predictions(broken)
    broken = frame.astype({"label": object})
    broken.loc[0, "label"] = None
    with pytest.raises(InputError, match="row 0: expected a prediction, got ValueError: the label is"):
        frame_to_predictions(broken)
    with pytest.raises(TypeError, match="expected what predict gave for a list, got str at 0"):
        predictions_to_frame(["joy"])
    with pytest.raises(TypeError, match=r"expected a list, got one EmotionPrediction; give \[it\]"):
        predictions_to_frame(predictions[0])


def test_pandas_is_imported_by_those_who_want_a_table():
    code = "import sys, multimodal_ser.inference.dataframes; assert not {'pandas', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
