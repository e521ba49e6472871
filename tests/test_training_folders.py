"""From folders and tables to what is learned: who is held out, what is left out, which classes there are; each refusal says what to do."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from training_runs import arguments, predictions, prepared, rows_of, table, write

from multimodal_ser import MultimodalEmotionClassifier, cli
from multimodal_ser.corpora import read_manifest
from multimodal_ser.corpora.clips import examine
from multimodal_ser.corpora.targets import Targets
from multimodal_ser.errors import InputError
from multimodal_ser.testing import tiny_model
from multimodal_ser.training import train
from multimodal_ser.training.data import ClipData
from multimodal_ser.training.run_folder import data_hash

pytestmark = pytest.mark.usefixtures("no_curves")

# a folder per emotion


def test_a_folder_per_emotion_of_ten_clips_trains_with_one_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(("happy", "urgent")):
        for number in range(10):
            write(tmp_path / "clips" / name / f"{number}.wav", 0.5, 10 * place + number, 230 - 110 * place)
    assert cli.main(["train", "clips"]) == 0
    told = capsys.readouterr().err
    for said in (
        "clips: 20 rows", "classes: happy 10, urgent 10", "20 clips, 0.2 min, speakers not known", "split: 16 to learn from, 4 to select on", "learned from: the voice", "the speakers are unknown",
        "the head starts with happy from the checkpoint's; urgent at random", "once; what it makes of them is kept", "M parameters are trained, 15 epochs, 15 steps, on ", "epoch 1 of 15", " left",
        "validation (4 clips, epoch ", "the model: run/best (multimodal-ser predict --model run/best FILE)",
    ):  # fmt: skip
        assert said in told, said
    model = MultimodalEmotionClassifier.from_pretrained("run/best", whisper=None)
    prediction = model.predict(str(tmp_path / "clips" / "urgent" / "3.wav"))
    assert (
        set(prediction.probabilities) == {"happy", "urgent"}
        and prediction.label == "urgent"
        and prediction.modalities == ("audio",)
    )
    files = {path.name for path in Path("run").iterdir()}
    assert files == {
        "arguments.yaml",
        "best",
        "checkpoints",
        "curves.png",
        "data.json",
        "environment.json",
        "log.jsonl",
        "scores.json",
        "tracking",
        "validation_predictions.csv",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"clips", "run"}  # nothing lies about elsewhere
    assert cli.main(["train", "clips"]) == 2  # and a second run does not write over it
    assert "output_dir: expected a folder without a run" in capsys.readouterr().err


def test_real_folders_start_from_the_heads_rows(tmp_path, data):
    """Names that mean the shipped head's classes: after one gentle epoch it is far above chance, a new head is not as good."""
    wanted = {"happiness": "happy", "sadness": "sad", "anger": "mad", "fear": "scared"}
    with open(data / "ravdess" / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["emotion"] in wanted
            and row["speaker"] in ("ravdess_02", "ravdess_15", "ravdess_16", "ravdess_18", "ravdess_01")
        ]
    for row in rows[::5]:
        link = tmp_path / "clips" / row["speaker"] / wanted[row["emotion"]] / Path(row["path"]).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(data / "ravdess" / row["path"])
    common = {
        "learning_rate": 1e-4,
        "cache_dir": tmp_path / "cache",
        "validation_speakers": ["ravdess_02", "ravdess_16"],
    }
    known = train(arguments(tmp_path / "clips", tmp_path / "known", **common | {"cache_dir": str(tmp_path / "cache")}))
    new = train(
        arguments(
            tmp_path / "clips", tmp_path / "new", new_head=True, **common | {"cache_dir": str(tmp_path / "cache")}
        )
    )
    assert known.validation["ua"] > 0.5  # chance is 0.25
    assert (
        known.validation["ua"] > new.validation["ua"] + 0.1 and known.validation["loss"] < new.validation["loss"] - 0.1
    )
    assert json.loads((tmp_path / "known" / "data.json").read_text())["protocol"].startswith(
        "validation speakers named"
    )


def nothing(root):
    root.mkdir()


def loose(root):
    write(root / "a.wav")


def one_clip(root):
    write(root / "happy" / "a.wav")


def one_class(root):
    for number in range(3):
        write(root / "happy" / f"{number}.wav", seed=number)


def broken(root):
    for name in ("happy", "sad"):
        for number in range(4):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"{number}.wav").write_bytes(b"no sound")


def absent(root):
    pass


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (nothing, "got no recording; sort"), (loose, "in no folder of their own"), (one_clip, "at least two emotions, got 1 clip of one class, 'happy'"), (one_class, "got 3 clips of one class, 'happy'"),
        (broken, "got none of 8"), (absent, "got no such file; check the path"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_learned_from_are_told_and_leave_the_run_folder_free(tmp_path, capsys, tiny, make, told):
    make(tmp_path / "clips")
    common = [
        "-o",
        str(tmp_path / "run"),
        "--model",
        str(tiny),
        "--use-cpu",
        "--disable-tqdm",
        "--report-to",
        "none",
        "--num-train-epochs",
        "1",
    ]
    assert cli.main(["train", str(tmp_path / "clips"), *common]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert told in last and "expected" in last and "; " in last
    assert not (tmp_path / "run" / "arguments.yaml").exists()
    if make is broken:
        assert len((tmp_path / "run" / "errors.txt").read_text().splitlines()) == 8
    for name in ("happy", "sad"):
        write(tmp_path / "better" / name / "a.wav")
    assert cli.main(["train", str(tmp_path / "better"), *common]) == 0  # the corrected command needs no other name


def test_a_clip_that_cannot_be_read_is_named_and_the_others_are_learned_from(tmp_path, capsys, tiny, clips):
    shutil.copytree(clips, tmp_path / "clips")
    (tmp_path / "clips" / "sad" / "torn.wav").write_bytes((clips / "sad" / "0.wav").read_bytes()[:30])
    (tmp_path / "clips" / "happy" / "empty.flac").touch()
    (tmp_path / "clips" / "happy" / "notes.txt").write_text("no recording")
    train(arguments(tmp_path / "clips", tmp_path / "run", model=tiny))
    told = capsys.readouterr().err
    errors = (tmp_path / "run" / "errors.txt").read_text()
    for name in ("torn.wav", "empty.flac"):
        assert f"{name}: expected" in told and name in errors
    assert "notes.txt" not in told and "18 clips" in told
    assert len(predictions(tmp_path / "run")) == 3


# what is held out


def test_one_clip_a_class_gives_a_model_without_selection(tmp_path, tiny, capsys):
    for name in ("happy", "sad"):
        write(tmp_path / "clips" / name / "a.wav")
    result = train(arguments(tmp_path / "clips", tmp_path / "run", model=tiny))
    assert "no model can be selected" in capsys.readouterr().err
    assert result.validation == {} and result.best_epoch is None
    assert MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).labels == ["happy", "sad"]
    with pytest.raises(InputError, match="early_stopping_patience: expected validation data to watch, got none"):
        train(arguments(tmp_path / "clips", tmp_path / "stop", model=tiny, early_stopping_patience=2))


def test_speakers_are_held_out_whole(tmp_path, tiny, capsys):
    for speaker in ("ann", "bo", "cy", "dee"):
        for name in ("happy", "sad"):
            write(tmp_path / "clips" / speaker / name / "a.wav")
    result = train(arguments(tmp_path / "clips", tmp_path / "run", model=tiny, validation_share=0.25))
    assert "4 speakers" in capsys.readouterr().err
    about = json.loads((tmp_path / "run" / "data.json").read_text())
    assert len(about["validation"]["speakers"]) == 1 and not set(about["validation"]["speakers"]) & set(
        about["train"]["speakers"]
    )
    assert "speaker-disjoint" in about["protocol"] and result.validation
    one = [path for path in (tmp_path / "clips").iterdir() if path.name != "ann"]
    for path in one:
        shutil.rmtree(path)
    write(tmp_path / "clips" / "ann" / "happy" / "b.wav", seed=15)
    write(tmp_path / "clips" / "ann" / "sad" / "b.wav", seed=16)
    ready, told = prepared(tmp_path / "clips")
    assert "1 speaker" in " ".join(told) and "one speaker" in ready.protocol and len(ready.validation) == 2


def test_a_copy_of_what_is_held_out_is_not_learned_from(tmp_path):
    for speaker in ("ann", "bo", "cy", "dee"):
        for name in ("happy", "sad"):
            write(tmp_path / "clips" / speaker / name / "a.wav")
    for speaker in ("bo", "cy", "dee"):  # ann's clip under other names, and as other bytes
        waveform, rate = soundfile.read(tmp_path / "clips" / "ann" / "sad" / "a.wav", dtype="int16")
        soundfile.write(tmp_path / "clips" / speaker / "sad" / "copy.flac", waveform, rate)
    ready, told = prepared(tmp_path / "clips", validation_speakers=("ann",))
    assert [clip.row.speaker for clip in ready.validation] == ["ann", "ann"]
    assert {clip.row.path.name for clip in ready.train} == {"a.wav"} and len(ready.train) == 6
    assert any("3 clips were left out: they sound the same" in line for line in told)


# tables


def test_a_table_with_other_column_names_is_learned_from(tmp_path, manifest, tiny, capsys):
    rows = [
        {"wav_name": row["path"], "emo": row["emotion"], "text": row["text"], "speaker": row["speaker"]}
        for row in rows_of(manifest)
    ]
    renamed = table(tmp_path / "renamed.csv", rows)
    with pytest.raises(InputError, match="annotated"):
        train(arguments(renamed, tmp_path / "run", model=tiny))
    assert "'wav_name' and 'emo' seem to hold some: --columns path=wav_name emotion=emo" in capsys.readouterr().err
    command = [
        "train",
        str(renamed),
        "-o",
        str(tmp_path / "run"),
        "--model",
        str(tiny),
        "--num-train-epochs",
        "1",
        "--use-cpu",
    ]
    assert cli.main([*command, "--columns", "path=wav_name", "emotion=emo"]) == 0
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()


def test_each_row_of_a_recording_that_cannot_be_used_is_told_with_its_line_and_field(tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    write(tmp_path / "good.wav", seconds=0.5)
    lines = ["bad.wav,joy,,", "bad.wav,anger,0.1,", "good.wav,joy,9,", "good.wav,joy,0,0.25", "good.wav,anger,0.25,5"]
    (tmp_path / "m.csv").write_text("path,emotion,start,end\n" + "\n".join(lines) + "\n")
    ready, told = prepared(tmp_path / "m.csv")
    assert [error.what for error in ready.errors] == [
        "m.csv, line 2, path",
        "m.csv, line 3, path",
        "m.csv, line 4, start",
    ]
    assert all("(bad.wav)" in error.got for error in ready.errors[:2])
    assert "1 part ends after the recording does: what there is is taken" in told
    assert len(ready.train) + len(ready.validation) == 2


def test_long_recordings_are_cut_and_parts_stand_for_themselves(tmp_path, tiny, capsys):
    path, other = write(tmp_path / "long.wav", 4.0), write(tmp_path / "other.wav", 4.0)
    rows = [
        {
            "path": path,
            "start": at / 2,
            "end": at / 2 + 0.5,
            "emotion": ("happy", "sad")[at % 2],
            "speaker": "abcd"[at // 2],
        }
        for at in range(8)
    ]
    rows += [
        {"path": other, "emotion": "happy", "speaker": "e"},
        {"path": path, "start": 5, "emotion": "sad", "speaker": "e"},
        {"path": other, "start": 1, "emotion": "sad", "speaker": "e"},
    ]
    some = table(tmp_path / "a.csv", rows)
    ready, told = prepared(some, max_duration=1.0, validation_speakers=["a"])
    durations = [clip.duration for clip in ready.train]
    assert durations == pytest.approx([0.5] * 6 + [4.0, 3.0])
    assert any("2 recordings are longer than 1 s: the first part of each is heard" in line for line in told)
    assert (
        len(ready.errors) == 1 and "a.csv, line 11" in str(ready.errors[0]) and "at least 25 ms" in str(ready.errors[0])
    )
    assert any("in each epoch another part" in line for line in prepared(some, max_duration=1.0, freeze=[])[1])
    data = ClipData(
        list(ready.train),
        Targets.of(ready.train, ready.labels, ()),
        tiny_model().processor,
        arguments(some, max_duration=1.0),
        1,
        True,
    )
    whole, _ = soundfile.read(path, dtype="float32")
    another, _ = soundfile.read(other, dtype="float32")
    np.testing.assert_allclose(data.waveform(0, 1), whole[16_000:24_000], atol=1e-4)  # 1.0 to 1.5 s
    np.testing.assert_allclose(data.waveform(6, 0), another[:16_000], atol=1e-4)  # the clip as it is: its first part
    parts = [data.waveform(6, draw) for draw in (1, 2, 1)]
    assert (
        {len(part) for part in parts} == {16_000}
        and (parts[0] == parts[2]).all()
        and not np.allclose(parts[0], parts[1])
    )
    assert data.durations == pytest.approx((0.5,) * 6 + (1.0, 1.0))
    train(arguments(some, tmp_path / "run", model=tiny, max_duration=1.0, validation_speakers=["a", "e"]))
    names = ["long.wav[0.000-0.500]", "long.wav[0.500-1.000]", "other.wav", "other.wav[1.000-]"]
    assert [row["name"] for row in predictions(tmp_path / "run")] == names


def test_the_data_hash_tells_what_is_learned_from_and_not_in_which_order(manifest):
    clips, _ = examine([dataclasses.replace(row, split="train") for row in read_manifest(manifest).rows])
    found = data_hash(clips)
    assert data_hash(list(reversed(clips))) == found
    changes = {
        "emotion": "sad|angry",
        "text": "other",
        "start": 0.1,
        "speaker": "x",
        "arousal": 9.0,
        "votes": {"sad": 1.0},
        "split": "dev",
        "corpus": "nemo",
    }
    changed = [
        dataclasses.replace(clips[0], row=dataclasses.replace(clips[0].row, **{name: value}))
        for name, value in changes.items()
    ]
    changed += [dataclasses.replace(clips[0], content="0" * 64), dataclasses.replace(clips[0], context=("before",))]
    hashes = {data_hash([clip, *clips[1:]]) for clip in changed}
    assert len(hashes) == len(changed) and found not in hashes and data_hash(clips[1:]) != found
