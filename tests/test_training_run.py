"""Runs of training, as their users start them: from folders and manifests, quick, on tiny models; what they say, leave behind and refuse."""

import csv
import dataclasses
import json
import shutil
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from multimodal_ser import MultimodalEmotionClassifier, cli
from multimodal_ser.corpora import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech, tiny_model
from multimodal_ser.training import TrainingArguments, train
from multimodal_ser.training.data import ClipData, Targets, examine
from multimodal_ser.training.embedding_cache import EmbeddingCache
from multimodal_ser.training.models import build_model
from multimodal_ser.training.preparation import prepare_data
from multimodal_ser.training.record import data_hash
from multimodal_ser.training.scoring import evaluate

PITCH = {"happy": 240, "sad": 110, "angry": 170}
WORDS = {"happy": "i am so happy", "sad": "we are very sad", "angry": "he is angry"}


def write(path, seconds=0.4, seed=0, pitch=140.0):
    """A clip that sounds like no other: its name is part of the seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed += zlib.crc32("/".join(path.parts[-3:]).encode())
    soundfile.write(path, synthetic_speech(seconds, seed=seed, pitch=pitch), 16_000)
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Three folders of six clips."""
    root = tmp_path_factory.mktemp("clips")
    for place, (name, pitch) in enumerate(PITCH.items()):
        for number in range(6):
            write(root / name / f"{number}.wav", 0.4 + number / 20, 10 * place + number, pitch)
    return root


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """24 clips of six speakers with words, dimensions and dialogues; every text is said once."""
    root = tmp_path_factory.mktemp("manifest")
    rows = []
    for number in range(24):
        name = list(PITCH)[number % 3]
        path = write(root / "audio" / f"{number:02d}.wav", 0.4 + number % 5 / 20, number, PITCH[name]).relative_to(root)
        rows.append({
            "path": path, "emotion": name, "text": f"{WORDS[name]} secret{number}", "speaker": f"s{number // 4}", "arousal": PITCH[name] / 100,
            "valence": number % 7, "dialogue": number // 6, "turn": number % 6, "votes": "",
        })  # fmt: skip
    return table(root / "manifest.csv", rows)


def table(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of(manifest):
    """Rows to change; paths from the root, so that they may be written elsewhere."""
    with open(manifest, encoding="utf-8", newline="") as file:
        return [row | {"path": str(manifest.parent / row["path"])} for row in csv.DictReader(file)]


def arguments(data, output_dir="run", **fields):
    quick = {"num_train_epochs": 1, "disable_tqdm": True, "report_to": [], "use_cpu": True}
    return TrainingArguments(**{"data": data, "output_dir": output_dir} | quick | fields)


def prepared(data, **fields):
    """What a run would learn from, and what it would say."""
    told, languages = [], fields.pop("languages", None)
    return prepare_data(arguments(data, **fields), told.append, languages=languages), told


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def predictions(run, name="validation"):
    with open(run / f"{name}_predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(clips):
    return {clip.row.name for clip in clips}


def texts_in(folder):
    """All that stands in the text files of a run, without the model."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".json", ".jsonl", ".yaml", ".yml", ".csv", ".txt", ".md") and path.name != "tokenizer.json"
    ]
    assert len(found) > 5
    return "\n".join(path.read_text(encoding="utf-8") for path in found)


# a folder per emotion


def test_a_folder_per_emotion_of_ten_clips_trains_with_one_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(("happy", "urgent")):
        for number in range(10):
            write(tmp_path / "clips" / name / f"{number}.wav", 0.5, 10 * place + number, 230 - 110 * place)
    assert cli.main(["train", "clips"]) == 0
    told = capsys.readouterr().err
    for said in (
        "clips: 20 rows", "classes: happy 10, urgent 10", "20 clips, 0.2 min, speakers not known", "split: 16 to learn from, 4 to select on", "learned from: the voice", "nobody knows who speaks",
        "the head starts with happy from the checkpoint's; urgent at random", "once; what it makes of them is kept", "M parameters are trained, 15 epochs, 15 steps, on ", "epoch 1 of 15", " left",
        "validation (4 clips, epoch ", "the model: run/best (multimodal-ser predict --model run/best FILE)",
    ):  # fmt: skip
        assert said in told, said
    model = MultimodalEmotionClassifier.from_pretrained("run/best", whisper=None)
    prediction = model.predict(str(tmp_path / "clips" / "urgent" / "3.wav"))
    assert set(prediction.probabilities) == {"happy", "urgent"} and prediction.label == "urgent" and prediction.modalities == ("audio",)
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
            if row["emotion"] in wanted and row["speaker"] in ("ravdess_02", "ravdess_15", "ravdess_16", "ravdess_18", "ravdess_01")
        ]
    for row in rows[::3]:
        link = tmp_path / "clips" / row["speaker"] / wanted[row["emotion"]] / Path(row["path"]).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(data / "ravdess" / row["path"])
    common = {"learning_rate": 1e-4, "cache_dir": tmp_path / "cache", "validation_speakers": ["ravdess_02", "ravdess_16"]}
    known = train(arguments(tmp_path / "clips", tmp_path / "known", **common | {"cache_dir": str(tmp_path / "cache")}))
    new = train(arguments(tmp_path / "clips", tmp_path / "new", new_head=True, **common | {"cache_dir": str(tmp_path / "cache")}))
    assert known.validation["ua"] > 0.5  # chance is 0.25
    assert known.validation["ua"] > new.validation["ua"] + 0.1 and known.validation["loss"] < new.validation["loss"] - 0.1
    assert json.loads((tmp_path / "known" / "data.json").read_text())["protocol"].startswith("validation speakers named")


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
    assert len(about["validation"]["speakers"]) == 1 and not set(about["validation"]["speakers"]) & set(about["train"]["speakers"])
    assert "speaker-disjoint" in about["protocol"] and result.validation
    one = [path for path in (tmp_path / "clips").iterdir() if path.name != "ann"]
    for path in one:
        shutil.rmtree(path)
    write(tmp_path / "clips" / "ann" / "happy" / "b.wav", seed=15)
    write(tmp_path / "clips" / "ann" / "sad" / "b.wav", seed=16)
    ready, told = prepared(tmp_path / "clips")
    assert "1 speaker" in " ".join(told) and "one speaker" in ready.protocol and len(ready.validation) == 2


def test_a_table_with_other_column_names_is_learned_from(tmp_path, manifest, tiny, capsys):
    rows = [{"wav_name": row["path"], "emo": row["emotion"], "text": row["text"], "speaker": row["speaker"]} for row in rows_of(manifest)]
    renamed = table(tmp_path / "renamed.csv", rows)
    with pytest.raises(InputError, match="annotated"):
        train(arguments(renamed, tmp_path / "run", model=tiny))
    assert "'wav_name' and 'emo' seem to hold some: --columns path=wav_name emotion=emo" in capsys.readouterr().err
    command = ["train", str(renamed), "-o", str(tmp_path / "run"), "--model", str(tiny), "--num-train-epochs", "1", "--use-cpu"]
    assert cli.main([*command, "--columns", "path=wav_name", "emotion=emo"]) == 0
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()


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


# labels


def test_each_row_of_a_recording_that_cannot_be_used_is_told_with_its_line_and_field(tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    write(tmp_path / "good.wav", seconds=0.5)
    lines = ["bad.wav,joy,,", "bad.wav,anger,0.1,", "good.wav,joy,9,", "good.wav,joy,0,0.25", "good.wav,anger,0.25,5"]
    (tmp_path / "m.csv").write_text("path,emotion,start,end\n" + "\n".join(lines) + "\n")
    ready, told = prepared(tmp_path / "m.csv")
    assert [error.what for error in ready.errors] == ["m.csv, line 2, path", "m.csv, line 3, path", "m.csv, line 4, start"]
    assert all("(bad.wav)" in error.got for error in ready.errors[:2])
    assert "1 part ends after the recording does: what there is is taken" in told
    assert len(ready.train) + len(ready.validation) == 2


def test_a_slip_among_the_emotions_is_a_bad_row_unless_it_is_named(tmp_path):
    words = [("joy", "sad")[n % 2] for n in range(40)] + ["grumpyness"]
    (tmp_path / "m.csv").write_text("text,emotion\n" + "".join(f"text {n},{word}\n" for n, word in enumerate(words)))
    ready, _ = prepared(tmp_path / "m.csv", modalities="text")
    assert ready.labels == ("joy", "sad") and [error.what for error in ready.errors] == ["m.csv, line 42, emotion"]
    assert "--labels" in ready.errors[0].remedy
    wanted, _ = prepared(tmp_path / "m.csv", modalities="text", labels=["joy", "sad", "grumpyness"], validation_share=0.0)
    assert not wanted.errors and sum(clip.row.emotion == "grumpyness" for clip in wanted.train) == 1


def test_codes_become_names(tmp_path):
    (tmp_path / "m.csv").write_text("text,emotion\n" + "".join(f"text {n},{('hap', 'SAD')[n % 2]}\n" for n in range(12)))
    assert prepared(tmp_path / "m.csv", modalities="text")[0].labels == ("SAD", "happiness")


def test_a_head_for_other_labels_starts_with_the_rows_that_mean_the_same(tiny, clips):
    told = []
    base = MultimodalEmotionClassifier.from_pretrained(tiny, whisper=None)  # anger, happiness, sadness
    model = build_model(arguments(clips, model=tiny), ["sad", "urgent", "Joy"], say=told.append)
    assert model.classifier.weight[0].equal(base.classifier.weight[2]) and model.classifier.weight[2].equal(base.classifier.weight[1])
    assert model.classifier.bias[2].equal(base.classifier.bias[1])
    assert not any(model.classifier.weight[1].equal(row) for row in base.classifier.weight)
    assert told == ["the head starts with sad, Joy from the checkpoint's; urgent at random"]
    new = build_model(arguments(clips, model=tiny, new_head=True), ["sad", "happy"], say=told.append)
    assert not new.classifier.weight[0].equal(base.classifier.weight[2]) and "sad, happy at random" in told[-1]


def test_names_of_ones_own_and_synonyms(tmp_path):
    for name in ("calm", "urgent", "Happy", "joy"):
        for number in range(4):
            write(tmp_path / name / f"{number}.wav", seed=number)
    ready, told = prepared(tmp_path)
    assert ready.labels == ("calm", "happiness", "urgent")
    assert "classes: calm 4, happiness 8, urgent 4" in told and any("happy, joy are one class, happiness" in line for line in told)
    apart, told = prepared(tmp_path, labels=["joy", "Happy", "calm", "urgent"])
    assert apart.labels == ("joy", "Happy", "calm", "urgent") and "classes: joy 4, Happy 4, calm 4, urgent 4" in told
    fewer, told = prepared(tmp_path, labels=["urgent", "calm"])
    assert len(fewer.train) + len(fewer.validation) == 8 and len(fewer.errors) == 8
    assert any("left out: " in line and "Happy/0.wav" in line for line in told) and any("3 more" in line for line in told)
    with pytest.raises(InputError, match="training clips of every class, got none of bored"):
        prepared(tmp_path, labels=["urgent", "calm", "bored"])


def test_predictions_and_the_model_speak_the_folders_names(tmp_path, tiny, clips):
    result = train(arguments(clips, tmp_path / "run", model=tiny))
    assert MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).labels == ["angry", "happy", "sad"]
    assert {row["emotion"] for row in predictions(tmp_path / "run")} == {"angry", "happy", "sad"}


# targets


def targets(labels, *rows, dimensions=(), soft=False):
    clips, errors = examine([ManifestRow(text="a", place=str(at), **row) for at, row in enumerate(rows)])
    assert not errors
    return Targets.of(clips, labels, dimensions, soft=soft)


def test_votes_admissible_classes_and_dimensions_become_targets():
    labels = ["anger", "happiness", "sadness"]
    hard = targets(labels, {"emotion": "angry"}, {"emotion": "anger|sad"}, {"arousal": 2.0}, dimensions=["arousal", "valence"])
    assert hard.classes.tolist() == [[True, False, False], [True, False, True], [False] * 3] and hard.single == (0, -1, -1)
    assert hard.dimensions[2, 0] == 2 and hard.dimensions.isnan().sum() == 5
    soft = targets(labels, {"votes": {"angry": 3.0, "joy": 1.0}}, {"emotion": "anger|sad"}, {"emotion": "sad"})
    torch.testing.assert_close(soft.classes, torch.tensor([[0.75, 0.25, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]))
    assert soft.single == (-1, -1, 2)


def test_a_run_on_votes_admissible_classes_and_dimensions(tmp_path, tiny, manifest):
    rows = rows_of(manifest)
    for row in rows[::4]:
        row["votes"] = "happy:3|sad:1"
    rows[1]["emotion"], rows[2]["emotion"], rows[3]["arousal"] = "sad|angry", "", ""
    told = table(tmp_path / "some.csv", rows)
    result = train(arguments(told, tmp_path / "run", model=tiny, dimensions=["arousal", "valence"], validation_speakers=["s0", "s5"]))
    assert {"ua", "ccc", "ccc_arousal", "ccc_valence", "loss"} <= set(result.validation)
    by_name = {Path(row["name"]).stem: row for row in predictions(tmp_path / "run")}
    assert by_name["00"]["emotion"] == "happy:3|sad:1" and by_name["01"]["emotion"] == "angry|sad" and by_name["02"]["emotion"] == ""
    assert (
        by_name["03"]["arousal"] == "" and float(by_name["00"]["arousal"]) == 2.4 and float(by_name["03"]["predicted_arousal"]) is not None
    )
    assert MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config.dimensions == ["arousal", "valence"]


def test_dimensions_alone_leave_the_emotion_head_as_it_is(tmp_path, manifest):
    base = tiny_model(temperature={"both": 1.5, "audio": 2.0, "text": 0.5})
    base.save_pretrained(tmp_path / "base")
    result = train(
        arguments(manifest, tmp_path / "run", model=tmp_path / "base", emotions=False, dimensions=["arousal"], modalities="audio")
    )
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    assert model.labels == ["anger", "happiness", "sadness"] and model.classifier.weight.equal(base.classifier.weight)
    assert model.config.temperature == base.config.temperature
    assert "ua" not in result.validation and -1 <= result.validation["ccc"] <= 1
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["best_epoch"] == 1


def test_emotions_without_an_emotion_column_point_to_dimensions(tmp_path, manifest):
    rows = [{name: value for name, value in row.items() if name not in ("emotion", "votes")} for row in rows_of(manifest)]
    with pytest.raises(InputError, match="emotions=False"):
        prepared(table(tmp_path / "a.csv", rows), dimensions=["arousal"])
    with pytest.raises(InputError, match="rows annotated with an emotion, got none"):
        prepared(tmp_path / "a.csv")


def test_what_selects_has_to_be_annotated(tmp_path, manifest):
    rows = rows_of(manifest)
    for row in rows[:4]:
        row["emotion"] = ""
    some = table(tmp_path / "a.csv", rows)
    with pytest.raises(InputError, match="validation rows annotated with an emotion, for ua"):
        prepared(some, dimensions=["arousal"], validation_speakers=["s0"])
    prepared(some, dimensions=["arousal"], validation_speakers=["s0"], metric_for_best_model="ccc")


def test_class_weights_reach_the_loss(tmp_path, tiny, clips):
    shutil.copytree(clips, tmp_path / "clips")
    for number in range(3, 6):
        (tmp_path / "clips" / "sad" / f"{number}.wav").unlink()
    result = train(arguments(tmp_path / "clips", tmp_path / "run", model=tiny, class_weights="balanced", validation_share=0))
    weights = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config.class_weights
    assert weights == pytest.approx([15 / 18, 15 / 18, 15 / 9], abs=1e-4)
    plain = train(arguments(tmp_path / "clips", tmp_path / "plain", model=tiny, validation_share=0))
    assert log(tmp_path / "run")[-1]["train_loss"] != log(tmp_path / "plain")[-1]["train_loss"]
    assert MultimodalEmotionClassifier.from_pretrained(plain.model, whisper=None).config.class_weights is None


def test_balanced_sampling_draws_every_class_as_often(tmp_path, tiny, clips, monkeypatch):
    shutil.copytree(clips, tmp_path / "clips")
    for number in range(2, 6):
        (tmp_path / "clips" / "sad" / f"{number}.wav").unlink()
    seen = Counter()
    whole = ClipData.batch

    def batch(self, rows, epoch=0):
        if self.training:
            seen.update(self.targets.single[row] for row in rows)
        return whole(self, rows, epoch)

    monkeypatch.setattr(ClipData, "batch", batch)
    train(arguments(tmp_path / "clips", tmp_path / "run", model=tiny, balanced_sampling=True, validation_share=0))
    assert max(seen.values()) - min(seen.values()) <= 1 and sum(seen.values()) == 14


# modalities


@pytest.fixture
def mixed(tmp_path, manifest):
    """Rows with both, with a recording alone, and with words alone."""
    rows = rows_of(manifest)
    for at, row in enumerate(rows):
        if at % 3 == 1:
            row["text"] = ""
        if at % 4 == 2:
            row["path"] = ""
    return table(tmp_path / "mixed.csv", rows)


def test_rows_of_either_modality_and_of_both_train_in_one_run(tmp_path, tiny, mixed):
    result = train(arguments(mixed, tmp_path / "run", model=tiny, per_device_train_batch_size=4, validation_speakers=["s0", "s1"]))
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    assert model.config.trained_modalities == ["audio", "text"]
    assert any(row["name"].startswith("text:") for row in predictions(tmp_path / "run"))
    assert model.predict(text="we are very sad").modalities == ("text",)


@pytest.mark.parametrize(("modalities", "used"), [("audio", ["audio"]), ("text", ["text"]), ("both", ["audio", "text"])])
def test_what_is_learned_from_is_what_predict_uses(tmp_path, tiny, mixed, modalities, used):
    result = train(arguments(mixed, tmp_path / "run", model=tiny, modalities=modalities, validation_speakers=["s0", "s1"]))
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    assert model.config.trained_modalities == used
    waveform = synthetic_speech(0.5)
    assert model.predict(waveform, sampling_rate=16_000, text="so sad").modalities == tuple(used)
    trained = json.loads((tmp_path / "run" / "scores.json").read_text())["parameters"]["trained"]
    assert trained < sum(weight.numel() for weight in model.parameters())


def test_modalities_leave_out_rows_that_lack_them(mixed):
    both, told = prepared(mixed, modalities="both")
    assert all(clip.row.path and clip.row.text for clip in both.train) and any("not what modalities both asks for" in line for line in told)
    audio, _ = prepared(mixed, modalities="audio")
    assert not any(clip.row.text or clip.row.path is None for clip in audio.train) and not audio.use_text
    text, _ = prepared(mixed, modalities="text")
    assert not any(clip.row.path for clip in text.train) and not text.use_audio and {clip.duration for clip in text.train} == {0.0}


def test_held_out_rows_without_anything_that_is_learned_from_are_left_out(tmp_path, mixed):
    rows = rows_of(mixed)
    for row in rows:
        row["split"] = "dev" if row["speaker"] in ("s0", "s1") else "train"
        if row["split"] == "train":
            row["path"] = ""
        row["path"] = row["path"] if Path(row["path"]).is_file() else ""
    rows = [row for row in rows if row["path"] or row["text"]]
    rows += [{"text": f"more {name}", "emotion": name, "speaker": "s9", "split": "train"} for name in WORDS]
    ready, told = prepared(table(tmp_path / "a.csv", rows))
    assert not ready.use_audio and all(clip.row.text for clip in ready.validation) and ready.validation
    assert any("are held out have nothing of what is learned from" in line for line in told)


def test_pairs_are_made_of_rows_of_one_modality(tmp_path, tiny, manifest):
    rows = rows_of(manifest)
    for at, row in enumerate(rows):
        row["text" if at % 2 else "path"] = ""
    some = table(tmp_path / "a.csv", rows)
    kept = {}
    for name, fields in (("matched", {"pair_matched": 1.0}), ("mismatched", {"pair_mismatched": 1.0})):
        ready, _ = prepared(some, validation_speakers=["s0"], **fields)
        classes = Targets.of(ready.train, ready.labels, (), soft="pair_mismatched" in fields)
        data = ClipData(list(ready.train), classes, tiny_model().processor, arguments(some, **fields), 1, True)
        heard = [row for row, clip in enumerate(ready.train) if clip.row.path]
        batch = data.batch(heard, epoch=0)
        assert batch["attention_mask"].any(1).all() and batch["audio_attention_mask"].any(1).all()  # each has got words
        kept[name] = batch["labels"].float()
        assert [data.pairs.partner(row, 0) for row in heard] != [data.pairs.partner(row, 3) for row in heard]
        train(arguments(some, tmp_path / name, model=tiny, validation_speakers=["s0"], **fields))
    assert (
        (kept["matched"].max(1).values == 1).all()
        and (kept["mismatched"].max(1).values == 0.5).all()
        and (kept["mismatched"].sum(1) == 1).all()
    )
    with pytest.raises(InputError, match="pair_matched: expected rows of either modality alone"):
        prepared(manifest, pair_matched=0.5)


def test_a_corpus_of_a_few_sentences_is_learned_from_the_voice_alone(tmp_path, tiny, manifest, capsys):
    rows = rows_of(manifest)
    for at, row in enumerate(rows):
        row["text"] = ("Kids are talking by the door.", "Dogs are sitting by the door")[at % 2]
    fixed = table(tmp_path / "fixed.csv", rows)
    result = train(arguments(fixed, tmp_path / "run", model=tiny))
    told = capsys.readouterr().err
    assert "24 recordings of 2 sentences: the words tell nothing" in told and "learned from: the voice\n" in told
    assert MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config.trained_modalities == ["audio"]
    asked, told = prepared(fixed, modalities="both")
    assert asked.use_text and not any("tell nothing" in line for line in told)
    rows += [row | {"corpus": "talk", "text": f"{row['text']} {at}", "start": 0.1} for at, row in enumerate(rows)]
    both, told = prepared(table(tmp_path / "two.csv", rows))
    assert any("24 recordings of 2 sentences" in line for line in told)
    assert {bool(clip.row.text) for clip in both.train if clip.row.corpus} == {True} and {
        bool(clip.row.text) for clip in both.train if not clip.row.corpus
    } == {False}


def test_dialogues_give_the_turns_before(tmp_path, tiny, manifest):
    rows = rows_of(manifest)
    rows[1]["emotion"] = ""  # a turn that nobody annotated was said all the same
    some = table(tmp_path / "a.csv", list(reversed(rows)))
    ready, _ = prepared(some, context_turns=2)
    by_text = {clip.row.text: clip for clip in (*ready.train, *ready.validation)}
    assert by_text[rows[2]["text"]].context == (rows[0]["text"], rows[1]["text"])
    assert by_text[rows[0]["text"]].context == () and by_text[rows[6]["text"]].context == () and rows[1]["text"] not in by_text
    assert not any(clip.context for clip in prepared(some)[0].train)
    other = table(tmp_path / "b.csv", [row | {"text": f"other {row['text']}", "path": ""} for row in rows])  # dialogues of the same names
    two, _ = prepared([some, other], context_turns=2)
    assert next(clip for clip in (*two.train, *two.validation) if clip.row.text == rows[2]["text"]).context == (
        rows[0]["text"],
        rows[1]["text"],
    )
    result = train(arguments(some, tmp_path / "run", model=tiny, context_turns=2))
    assert result.validation and rows[0]["text"] not in texts_in(tmp_path / "run")


def test_texts_in_languages_that_the_text_branch_does_not_read_are_left_out(tmp_path, manifest):
    rows = [row | {"language": ("de", "English", "")[at % 3]} for at, row in enumerate(rows_of(manifest))]
    rows.append({"text": "nur Text", "language": "de-AT", "emotion": "sad", "speaker": "s9"})
    some = table(tmp_path / "a.csv", rows)
    ready, told = prepared(some, languages=["en"])
    everything = [*ready.train, *ready.validation]
    assert len(everything) == 24 and {clip.row.language for clip in everything if not clip.row.text} == {"de"}
    assert any("texts left out" in line and "de (8), de-AT (1)" in line for line in told)
    assert all(clip.row.text for clip in prepared(some)[0].train)


def test_a_text_branch_that_is_trained_learns_languages(tmp_path, manifest):
    tiny_model(text_languages=["en"]).save_pretrained(tmp_path / "model")
    some = table(tmp_path / "a.csv", [row | {"language": "German"} for row in rows_of(manifest)])
    for name, freeze, languages, used in (
        ("frozen", ["audio", "text"], ["en"], ["audio"]),
        ("trained", ["audio"], ["en", "de"], ["audio", "text"]),
    ):
        result = train(arguments(some, tmp_path / name, model=tmp_path / "model", freeze=freeze))
        config = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config
        assert config.text_languages == languages and config.trained_modalities == used


# unlabelled recordings


def test_pseudo_labels_are_learned_from_and_never_measured_on(tmp_path, tiny, clips, manifest):
    for number in range(5):
        write(tmp_path / "more" / f"{number}.wav", 0.5, 100 + number, 120 + 30 * number)
    shutil.copytree(clips, tmp_path / "more" / "again")  # the labelled ones are among them
    (tmp_path / "more" / "torn.wav").write_bytes(b"x")
    plain, _ = prepared(clips, model=tiny)
    all_of_them, told = prepared(clips, model=tiny, unlabelled=tmp_path / "more", pseudo_label_threshold=0)
    added = [clip for clip in all_of_them.train if clip not in plain.train]
    assert len(added) == 5 + len(plain.train) and names(all_of_them.validation) == names(plain.validation)
    assert not {clip.content for clip in added} & {clip.content for clip in all_of_them.validation}
    assert {clip.row.emotion for clip in added} <= {"anger", "happiness", "sadness"}
    assert any("of 24 recordings 20 are labelled" in line and "1 cannot be read" in line and "3 are held out" in line for line in told)
    none, told = prepared(clips, model=tiny, unlabelled=tmp_path / "more", pseudo_label_threshold=1)
    assert none.train == plain.train and any(": none" in line for line in told)
    result = train(arguments(clips, tmp_path / "run", model=tiny, unlabelled=tmp_path / "more", pseudo_label_threshold=0))
    assert {row["name"] for row in predictions(tmp_path / "run")} == names(plain.validation) and result.validation


def test_pseudo_labels_of_parts_words_and_speakers(tmp_path, tiny, manifest, monkeypatch):
    rows = [{"path": row["path"], "speaker": row["speaker"], "start": 0.1, "end": 0.3, "text": "so sad"} for row in rows_of(manifest)]
    some = table(tmp_path / "more.csv", rows)
    heard = []
    whole = MultimodalEmotionClassifier.predict_iter

    def predict_iter(self, items, **options):
        items = list(items)
        heard.extend(items)
        return whole(self, items, **options)

    monkeypatch.setattr(MultimodalEmotionClassifier, "predict_iter", predict_iter)
    ready, _ = prepared(
        manifest,
        modalities="audio",
        model=tiny,
        unlabelled=some,
        pseudo_label_threshold=0,
        validation_speakers=["s1"],
        test_speakers=["s2"],
    )
    assert len(heard) == 16 and {len(item["audio"]) for item in heard} == {3200} and {item["text"] for item in heard} == {None}
    assert not ready.use_text and not {clip.row.speaker for clip in ready.train} & {"s1", "s2"}


def test_pseudo_labels_need_a_model_that_knows_the_classes(tmp_path, tiny, clips):
    shutil.copytree(clips / "sad", tmp_path / "clips" / "urgent")
    shutil.copytree(clips / "happy", tmp_path / "clips" / "happy")
    with pytest.raises(InputError, match="a model that knows the classes, got one without urgent; train without unlabelled first"):
        prepared(tmp_path / "clips", model=tiny, unlabelled=clips)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="unlabelled: expected recordings, got none"):
        prepared(clips, model=tiny, unlabelled=tmp_path / "none")


# transcription


@pytest.fixture
def whisper(monkeypatch):
    """A Whisper that hears what the recording's length tells it, and nothing in the shortest."""
    import multimodal_ser.transcription
    from multimodal_ser.transcription import Transcript

    calls = []

    class Fake:
        name = "fake-small"

        def __init__(self, model=None, **options):
            calls.append(model)

        def transcribe(self, audio, *, sampling_rate=None, language=None, word_timestamps=False):
            if language == "xx":
                raise InputError("language", expected="one that Whisper knows", got="'xx'", remedy="correct it")
            calls.append(len(audio))
            return Transcript("" if len(audio) <= 6400 else f"so happy {len(audio)}", language=language or "en")

    monkeypatch.setattr(multimodal_ser.transcription, "WhisperTranscriber", Fake)
    return calls


def test_whisper_writes_the_texts_that_rows_lack(tmp_path, tiny, clips, manifest, whisper, capsys):
    result = train(arguments(clips, tmp_path / "run", model=tiny, transcribe=True, whisper="small"))
    told = capsys.readouterr().err
    assert (
        "Whisper fake-small writes the texts of 18 recordings" in told
        and "in 3 of them no words were heard" in told
        and "learned from: the voice and the words" in told
    )
    assert whisper.count("small") == 1 and len(whisper) == 19
    config = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config
    assert config.transcriber == "fake-small" and config.trained_modalities == ["audio", "text"]
    assert "so happy 8000" not in texts_in(tmp_path / "run")
    whisper.clear()
    again = train(arguments(manifest, tmp_path / "given", model=tiny, transcribe=True))  # all have texts: nobody has to listen
    assert whisper == [] and MultimodalEmotionClassifier.from_pretrained(again.model, whisper=None).config.transcriber is None


def test_transcripts_are_of_the_part_that_is_meant_and_errors_cost_one_row(tmp_path, clips, whisper):
    path = write(tmp_path / "long.wav", 2.0)
    rows = [
        {"path": path, "start": at / 2, "end": at / 2 + 0.5, "emotion": ("happy", "sad")[at % 2], "language": "xx" if at == 3 else ""}
        for at in range(4)
    ]
    rows += [{"path": path, "start": 0, "end": 1, "emotion": ""}]  # nobody needs its words
    ready, _ = prepared(table(tmp_path / "a.csv", rows), transcribe=True, validation_share=0)
    assert whisper == [None, 8000, 8000, 8000]
    assert [bool(clip.row.text) for clip in ready.train] == [True, True, True, False]
    assert len(ready.errors) == 1 and "a.csv, line 5, language" in str(ready.errors[0])


def test_a_corpus_of_few_sentences_stays_one_when_whisper_listens(tmp_path, clips, whisper):
    for name in ("happy", "sad"):
        for number in range(12):
            write(tmp_path / name / f"{number}.wav", 0.5, number)
    ready, told = prepared(tmp_path, transcribe=True)
    assert not ready.use_text and ready.transcriber is None and any("24 recordings of 1 sentence:" in line for line in told)


# several seeds, the run folder


def test_several_seeds(tmp_path, tiny, manifest, monkeypatch, capsys):
    measured = []
    import multimodal_ser.training.run as module

    def counted(model, data, accelerator, on_progress=None):
        measured.append(frozenset(names(data.clips)))
        return evaluate(model, data, accelerator)

    monkeypatch.setattr(module, "evaluate", counted)
    args = arguments(
        manifest,
        tmp_path / "run",
        model=tiny,
        seeds=[3, 1],
        num_train_epochs=2,
        test_speakers=["s4", "s5"],
        validation_speakers=["s0"],
        save_best_model=False,
    )
    result = train(args)
    told = capsys.readouterr().err
    assert told.count("manifest.csv: 24 rows") == 1 and "seed 1 (2 of 2)" in told and "test, mean of 2 seeds" in told
    summary = json.loads((tmp_path / "run" / "scores.json").read_text())
    each = [json.loads((tmp_path / "run" / f"seed-{seed}" / "scores.json").read_text()) for seed in (3, 1)]
    assert summary["seeds"] == [3, 1] and summary["each"]["test"]["ua"] == [scores["test"]["ua"] for scores in each]
    assert summary["mean"]["validation"]["loss"] == pytest.approx(np.mean([scores["validation"]["loss"] for scores in each]))
    assert summary["standard_deviation"]["validation"]["loss"] == pytest.approx(
        np.std([scores["validation"]["loss"] for scores in each], ddof=1)
    )
    assert result.validation == summary["mean"]["validation"] and result.test == summary["mean"]["test"] and len(result.runs) == 2
    best = max(each, key=lambda scores: scores["validation"]["ua"])
    assert result.model == tmp_path / "run" / f"seed-{summary['best_seed']}" / "best" and summary["best_seed"] == best["seed"]
    test = frozenset(f"audio/{number}.wav" for number in range(16, 24))
    assert Counter(measured)[test] == 2  # once a seed, at its end
    assert each[0]["data_hash"] == each[1]["data_hash"] and each[0]["validation"]["loss"] != each[1]["validation"]["loss"]
    stored = TrainingArguments.from_yaml(tmp_path / "run" / "seed-3" / "arguments.yaml")
    assert stored.seeds == [3] and TrainingArguments.from_yaml(tmp_path / "run" / "arguments.yaml") == args
    assert not (tmp_path / "run" / "embeddings").exists()
    with pytest.raises(InputError, match="which holds one"):
        train(args)

    kept = train(dataclasses.replace(args, seeds=[3, 1, 2], resume_from_checkpoint=True))  # a third seed; the others are done
    told = capsys.readouterr().err
    assert told.count("holds a run that is done") == 2 and kept.runs[:2] == result.runs and len(kept.runs) == 3
    alone = train(dataclasses.replace(stored, output_dir=str(tmp_path / "alone")))  # what a seed's folder stores gives the same again
    assert alone.validation == result.runs[0].validation


def test_the_run_folder_tells_all_and_no_words(tmp_path, tiny, manifest, monkeypatch):
    monkeypatch.setattr("sys.argv", ["multimodal-ser", "train", "a b.csv"])
    args = arguments(manifest, tmp_path / "run", model=tiny, num_train_epochs=2, report_to=["tensorboard"], logging_steps=1)
    train(args)
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        "arguments.yaml", "best", "checkpoints", "curves.png", "data.json", "environment.json", "log.jsonl", "scores.json", "tracking", "validation_predictions.csv",
    }  # fmt: skip
    assert TrainingArguments.from_yaml(run / "arguments.yaml") == args
    environment = json.loads((run / "environment.json").read_text())
    assert (
        environment["packages"]["torch"] == torch.__version__.split("+")[0]
        and "git" in environment
        and environment["command"] == "multimodal-ser train 'a b.csv'"
    )
    about = json.loads((run / "data.json").read_text())
    scores = json.loads((run / "scores.json").read_text())
    assert about["data_hash"] == scores["data_hash"] and len(about["data_hash"]) == 64 and about["labels"] == ["angry", "happy", "sad"]
    assert about["train"]["clips"] + about["validation"]["clips"] == 24 and "classes: angry 8, happy 8, sad 8" in about["notes"]
    epochs = [line for line in log(run) if "train_loss" in line]
    assert [line["epoch"] for line in epochs] == [0, 1] and {"loss", "accuracy", "ua", "macro_f1", "learning_rate", "seconds"} <= set(
        epochs[0]
    )
    assert sum("train_loss" not in line for line in log(run)) == scores["steps"] == 4
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert list(run.glob("tracking/run/events.out.tfevents.*"))
    told = texts_in(run)
    for row in rows_of(manifest):
        assert row["text"] not in told
        assert f"secret{row['text'].split('secret')[1]}" not in told


def test_validation_predictions_are_those_of_the_model_that_is_kept(tmp_path, tiny, mixed):
    result = train(arguments(mixed, tmp_path / "run", model=tiny, num_train_epochs=3, validation_speakers=["s0", "s1", "s2"]))
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    rows = predictions(tmp_path / "run")
    ready, _ = prepared(mixed, validation_speakers=["s0", "s1", "s2"])
    assert [row["name"] for row in rows] == [clip.row.name for clip in ready.validation]
    for row, clip in zip(rows, ready.validation, strict=True):
        inputs = {"audio": None if clip.row.path is None else str(clip.row.path), "text": clip.row.text}
        prediction = model.predict(**inputs)
        assert prediction.label == row["prediction"] and clip.row.emotion == row["emotion"] and clip.row.speaker == row["speaker"]
        assert {f"p_{label}": value for label, value in prediction.probabilities.items()} == pytest.approx(
            {name: float(row[name]) for name in row if name.startswith("p_")}, abs=1e-5
        )
    right = np.mean([row["prediction"] == row["emotion"] for row in rows])
    assert result.validation["accuracy"] == pytest.approx(right)


def test_the_best_epoch_is_what_is_kept(tmp_path, tiny, manifest):
    result = train(
        arguments(
            manifest,
            tmp_path / "run",
            model=tiny,
            num_train_epochs=4,
            embedding_cache=False,
            metric_for_best_model="loss",
            learning_rate=0.02,
        )
    )
    epochs = [line for line in log(tmp_path / "run") if "train_loss" in line]
    best = min(range(4), key=lambda i: epochs[i]["loss"])
    assert result.best_epoch == best + 1 and result.validation["loss"] == pytest.approx(epochs[best]["loss"], abs=1e-5)
    last = train(
        arguments(
            manifest, tmp_path / "last", model=tiny, num_train_epochs=4, embedding_cache=False, save_best_model=False, learning_rate=0.02
        )
    )
    assert last.best_epoch is None and last.validation["loss"] == pytest.approx(epochs[-1]["loss"], abs=1e-5)


def test_a_measured_test_part_is_left_alone_until_the_end(tmp_path, tiny, manifest):
    result = train(arguments(manifest, tmp_path / "run", model=tiny, test_speakers=["s5"]))
    assert {row["speaker"] for row in predictions(tmp_path / "run", "test")} == {"s5"} and set(result.test) == set(result.validation)
    assert "s5" not in {row["speaker"] for row in predictions(tmp_path / "run")}
    assert all("test" not in line for line in log(tmp_path / "run"))


# going on with a run


def test_a_folder_that_holds_a_run_is_refused_and_gone_on_with_alone(tmp_path, tiny, manifest, capsys):
    common = {"model": tiny, "num_train_epochs": 2}
    run = tmp_path / "run"
    first = train(arguments(manifest, run, **common))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with pytest.raises(
        InputError, match=r"output_dir: expected a folder without a run, got \S+run, which holds one; add --resume-from-checkpoint"
    ):
        train(arguments(manifest, run, **common))
    with pytest.raises(InputError, match=r"lora_rank 4 instead of 0, learning_rate 0\.5 instead of not given"):
        train(arguments(manifest, run, resume_from_checkpoint=True, learning_rate=0.5, lora_rank=4, **common))
    with pytest.raises(InputError, match=r"seeds \[1\] instead of"):
        train(arguments(manifest, run, resume_from_checkpoint=True, seeds=[1], **common))
    changed = tmp_path / "changed.csv"
    rows = rows_of(manifest)
    rows[0]["emotion"] = "sad"
    table(changed, rows)
    moved = run / "arguments.yaml"
    stored = moved.read_text()
    moved.write_text(stored.replace(str(manifest), str(changed)))
    with pytest.raises(InputError, match="data: expected what the run began with, got other recordings or annotations"):
        train(arguments(changed, run, resume_from_checkpoint=True, **common))
    moved.write_text(stored)
    again = train(arguments(manifest, run, resume_from_checkpoint=True, logging_steps=3, **common))
    assert again == first and "holds a run that is done" in capsys.readouterr().err
    assert {path for path in before if path.stat().st_mtime_ns != before[path]} == {moved}
    with pytest.raises(InputError, match="output_dir: expected a folder, got the file"):
        train(arguments(manifest, manifest, **common))
    moved.unlink()
    with pytest.raises(InputError, match=r"checkpoints without arguments.yaml"):
        train(arguments(manifest, run, **common))


def test_a_run_that_was_stopped_goes_on(tmp_path, tiny, manifest, monkeypatch, capsys):
    import multimodal_ser.training.run as module

    common = {"model": tiny, "num_train_epochs": 3, "per_device_train_batch_size": 8}
    whole = train(arguments(manifest, tmp_path / "whole", **common))
    calls = []

    def stopping(model, data, accelerator, on_progress=None):
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(model, data, accelerator)

    monkeypatch.setattr(module, "evaluate", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(arguments(manifest, tmp_path / "run", **common))
    assert "--resume-from-checkpoint" in capsys.readouterr().err
    monkeypatch.setattr(module, "evaluate", evaluate)
    result = train(arguments(manifest, tmp_path / "run", resume_from_checkpoint=True, **common))
    assert "resumed at step" in capsys.readouterr().err
    assert result.validation == whole.validation and result.best_epoch == whole.best_epoch
    assert (tmp_path / "run" / "best" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "best" / "model.safetensors"
    ).read_bytes()


def test_asking_to_go_on_where_nothing_is_begins(tmp_path, tiny, clips):
    assert train(arguments(clips, tmp_path / "run", model=tiny, resume_from_checkpoint=True)).validation


# the embedding cache


def curve(run):
    return [(line["train_loss"], line["loss"]) for line in log(run) if "train_loss" in line]


def test_cached_runs_equal_uncached_ones(tmp_path, tiny, mixed):
    common = {
        "model": tiny,
        "num_train_epochs": 3,
        "validation_speakers": ["s0", "s1"],
        "context_turns": 2,
        "per_device_train_batch_size": 4,
    }
    results = {}
    for name, fields in (("uncached", {"embedding_cache": False}), ("cached", {"cache_dtype": "float32"}), ("half", {})):
        results[name] = train(arguments(mixed, tmp_path / name, **common, **fields))
    np.testing.assert_allclose(curve(tmp_path / "cached"), curve(tmp_path / "uncached"), atol=1e-5, rtol=0)
    np.testing.assert_allclose(curve(tmp_path / "half"), curve(tmp_path / "uncached"), atol=0.02, rtol=0)
    assert not any((tmp_path / name / "embeddings").exists() for name in results)


def entries(folder):
    return sorted(path.name for path in folder.rglob("*.npy"))


def test_a_cache_that_was_asked_for_is_kept_and_misses_what_changed(tmp_path, tiny, manifest, capsys):
    rows = rows_of(manifest)
    for row in rows[:2]:
        copied = tmp_path / "own" / Path(row["path"]).name
        copied.parent.mkdir(exist_ok=True)
        shutil.copy(row["path"], copied)
        row["path"] = str(copied)
    some = table(tmp_path / "some.csv", rows)
    common = {"model": tiny, "cache_dir": tmp_path / "cache"}
    common["cache_dir"] = str(common["cache_dir"])
    train(arguments(some, tmp_path / "one", **common))
    first = entries(tmp_path / "cache")
    assert len(first) == 48  # 24 recordings, 24 texts
    assert "hears" in capsys.readouterr().err
    train(arguments(some, tmp_path / "two", **common))
    assert entries(tmp_path / "cache") == first and "hears" not in capsys.readouterr().err  # nothing is computed again
    write(Path(rows[0]["path"]), 0.6, 99)
    rows[1]["text"] = "another text"
    train(arguments(table(some, rows), tmp_path / "three", **common))
    assert len(entries(tmp_path / "cache")) == 50 and set(first) < set(entries(tmp_path / "cache"))
    tiny_model(seed=1).save_pretrained(tmp_path / "other")
    train(arguments(some, tmp_path / "four", **common | {"model": tmp_path / "other"}))
    assert len(entries(tmp_path / "cache")) == 98  # another model has its own
    assert EmbeddingCache.clear(tmp_path / "cache") == 98


def test_augmentation_and_the_cache(tmp_path, tiny, manifest, capsys):
    common = {"model": tiny, "num_train_epochs": 2, "validation_share": 0.25}
    train(arguments(manifest, tmp_path / "anew", augmentation=["gain"], cache_dir=str(tmp_path / "a"), **common))
    told = capsys.readouterr().err
    assert "no embedding cache of the audio branch: clips sound different every epoch (augmentation_variants=4 keeps four)" in told
    assert len(entries(tmp_path / "a")) == 24  # of the texts
    train(
        arguments(
            manifest,
            tmp_path / "kept",
            augmentation={"gain": {"probability": 1.0}},
            augmentation_variants=3,
            cache_dir=str(tmp_path / "b"),
            **common,
        )
    )
    learned = json.loads((tmp_path / "kept" / "data.json").read_text())["train"]["clips"]
    assert len(entries(tmp_path / "b")) == 24 + 3 * learned + 24 - learned
    assert f"hears {learned} clips in 3 versions" in capsys.readouterr().err
    train(arguments(manifest, tmp_path / "words", augmentation=["words"], cache_dir=str(tmp_path / "c"), **common))
    assert "no embedding cache of the text branch" in capsys.readouterr().err and len(entries(tmp_path / "c")) == 24  # of the recordings
    train(arguments(manifest, tmp_path / "all", freeze=[], cache_dir=str(tmp_path / "d"), **common))
    assert not (tmp_path / "d").exists()  # nothing is frozen


def test_versions_of_clips_are_the_same_for_all_seeds(tmp_path, tiny, manifest):
    common = {"augmentation": {"gain": {"probability": 1.0}}, "augmentation_variants": 3, "cache_dir": str(tmp_path / "c"), "model": tiny}
    train(arguments(manifest, tmp_path / "one", seeds=[1], **common))
    before = entries(tmp_path / "c")
    train(arguments(manifest, tmp_path / "two", seeds=[2], **common))
    assert entries(tmp_path / "c") == before


def test_words_are_disturbed_although_recordings_are_kept(tmp_path, manifest):
    from multimodal_ser.training import Augmenter

    ready, _ = prepared(manifest)
    args = arguments(manifest, augmentation={"words": {"probability": 1.0, "dropped": 0.5}})
    data = ClipData(
        list(ready.train),
        Targets.of(ready.train, ready.labels, ()),
        tiny_model().processor,
        args,
        1,
        True,
        augmenter=Augmenter(args.augmentation),
    )
    data.audio_cache = EmbeddingCache(tmp_path, branch="x")
    read = [[data.words(row, epoch)[1] for row in range(len(data))] for epoch in (0, 1)]
    assert read[0] != read[1] and read[0] != [clip.row.text for clip in ready.train]
    assert data.heard(data.draw(0, 5)) == 0  # the recording is the one that is kept


def test_augmentation_that_has_nothing_to_act_on_is_told(tmp_path, tiny, clips, capsys):
    train(arguments(clips, tmp_path / "run", model=tiny, augmentation=["words"]))
    assert "'words' does nothing" in capsys.readouterr().err
    with pytest.raises(InputError, match="waveform augmentations, for an encoder of waveforms, got spec_augment"):
        train(arguments(clips, tmp_path / "spec", model=tiny, augmentation=["spec_augment"]))
    assert not (tmp_path / "spec").exists()


# long recordings, parts of recordings


def test_long_recordings_are_cut_and_parts_stand_for_themselves(tmp_path, tiny, capsys):
    path, other = write(tmp_path / "long.wav", 4.0), write(tmp_path / "other.wav", 4.0)
    rows = [
        {"path": path, "start": at / 2, "end": at / 2 + 0.5, "emotion": ("happy", "sad")[at % 2], "speaker": "abcd"[at // 2]}
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
    assert len(ready.errors) == 1 and "a.csv, line 11" in str(ready.errors[0]) and "at least 25 ms" in str(ready.errors[0])
    assert any("in each epoch another part" in line for line in prepared(some, max_duration=1.0, freeze=[])[1])
    data = ClipData(
        list(ready.train), Targets.of(ready.train, ready.labels, ()), tiny_model().processor, arguments(some, max_duration=1.0), 1, True
    )
    whole, _ = soundfile.read(path, dtype="float32")
    another, _ = soundfile.read(other, dtype="float32")
    np.testing.assert_allclose(data.waveform(0, 1), whole[16_000:24_000], atol=1e-4)  # 1.0 to 1.5 s
    np.testing.assert_allclose(data.waveform(6, 0), another[:16_000], atol=1e-4)  # the clip as it is: its first part
    parts = [data.waveform(6, draw) for draw in (1, 2, 1)]
    assert {len(part) for part in parts} == {16_000} and (parts[0] == parts[2]).all() and not np.allclose(parts[0], parts[1])
    assert data.durations == pytest.approx((0.5,) * 6 + (1.0, 1.0))
    train(arguments(some, tmp_path / "run", model=tiny, max_duration=1.0, validation_speakers=["a", "e"]))
    names = ["long.wav[0.000-0.500]", "long.wav[0.500-1.000]", "other.wav", "other.wav[1.000-]"]
    assert [row["name"] for row in predictions(tmp_path / "run")] == names


def test_the_data_hash_tells_what_is_learned_from_and_not_in_which_order(manifest):
    clips, _ = examine([dataclasses.replace(row, split="train") for row in prepared_rows(manifest)])
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
    changed = [dataclasses.replace(clips[0], row=dataclasses.replace(clips[0].row, **{name: value})) for name, value in changes.items()]
    changed += [dataclasses.replace(clips[0], content="0" * 64), dataclasses.replace(clips[0], context=("before",))]
    hashes = {data_hash([clip, *clips[1:]]) for clip in changed}
    assert len(hashes) == len(changed) and found not in hashes and data_hash(clips[1:]) != found


def prepared_rows(manifest):
    from multimodal_ser.corpora import read_manifest

    return read_manifest(manifest).rows


# trackers, precision, adapters


def test_a_tracker_that_is_not_installed_is_told(tmp_path, tiny, clips, monkeypatch, capsys):
    monkeypatch.setattr("accelerate.utils.is_wandb_available", lambda: False)
    train(arguments(clips, tmp_path / "run", model=tiny, report_to=["wandb", "tensorboard"], run_name="mine"))
    assert "wandb not installed: no tracking there (pip install wandb)" in capsys.readouterr().err
    assert list((tmp_path / "run" / "tracking" / "mine").glob("events*"))


def test_one_process_may_train_in_several_precisions(tmp_path, tiny, clips):
    for name, fields in (("half", {"bf16": True}), ("full", {}), ("again", {"bf16": True})):
        train(arguments(clips, tmp_path / name, model=tiny, **fields))
        told = json.loads((tmp_path / name / "environment.json").read_text())["mixed_precision"]
        assert told == ("bf16" if fields else "no")


def test_adapters_lie_beside_the_merged_model_and_only_where_they_learn(tmp_path, tiny, clips):
    result = train(arguments(clips, tmp_path / "run", model=tiny, lora_rank=2))
    parameters = json.loads((tmp_path / "run" / "scores.json").read_text())["parameters"]
    assert 0 < parameters["adapters"] < parameters["trained"] < parameters["all"]
    assert (result.model / "adapter" / "adapter_config.json").exists()
    adapted = json.loads((result.model / "adapter" / "adapter_config.json").read_text())["target_modules"]
    assert adapted and all("audio_branch" in name for name in adapted)  # nothing is read here
    MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).predict(synthetic_speech(0.5), sampling_rate=16_000)
    with pytest.raises(InputError, match="lora_branches: expected a branch that is learned from"):
        train(arguments(clips, tmp_path / "text", model=tiny, lora_rank=2, lora_branches="text"))
    with pytest.raises(InputError, match="everything frozen but text, of which the data has nothing"):
        train(arguments(clips, tmp_path / "idle", model=tiny, freeze=["audio", "fusion", "head"]))


# models to start from


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "/no/such"}, "model: expected a folder with a checkpoint"), ({"model": "RUN"}, "did you mean RUN/best"), ({"model_config": {"modality_dropout": 2}}, "a share from 0 to 1, got 2"),
        ({"model_config": {"fusion_layers": "one"}}, "expected int, got str"), ({"audio_model": "/no/such"}, "audio_model"), ({"model_config": {"fusion_layers": 9}}, "missing"),
    ],
)  # fmt: skip
def test_a_model_that_does_not_do_is_told_in_a_line(tmp_path, tiny, clips, fields, told):
    shutil.copytree(tiny, tmp_path / "some" / "best")
    fields = {name: str(tmp_path / "some") if value == "RUN" else value for name, value in fields.items()}
    with pytest.raises(InputError) as error:
        train(arguments(clips, tmp_path / "run", **{"model": tiny} | fields))
    assert told.replace("RUN", str(tmp_path / "some")) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_new_encoders_are_standardised_by_what_is_learned_from(tmp_path, tiny, clips):
    base = tiny_model(audio="hubert")
    base.model.audio_branch.encoder.save_pretrained(tmp_path / "hubert")
    base.processor.feature_extractor.save_pretrained(tmp_path / "hubert")
    result = train(arguments(clips, tmp_path / "run", model=tiny, audio_model=tmp_path / "hubert", audio_layers=1))
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    assert model.config.audio_config.model_type == "hubert" and model.config.audio_config.num_hidden_layers == 1
    branch = model.model.audio_branch
    assert (branch.hidden_std != 1).all() and (branch.hidden_mean != 0).any()
    ready, _ = prepared(clips)
    waveforms = [soundfile.read(clip.row.path, dtype="float32")[0] for clip in ready.train]
    states = [model.model.get_audio_features(**features(model, waveform))[0][0] for waveform in waveforms]
    joined = torch.cat(states, dim=1)
    torch.testing.assert_close(branch.hidden_mean, joined.mean(1), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(branch.hidden_std, joined.std(1, correction=0), atol=1e-4, rtol=1e-2)


@torch.no_grad()
def features(model, waveform):
    batch = model.processor(audio=[waveform], sampling_rate=16_000)
    return {"inputs": batch["input_values"], "audio_attention_mask": batch["audio_attention_mask"]}


def test_a_head_that_knows_all_labels_is_trained_gently():
    from multimodal_ser.training.models import starting_config, usual_rate

    def rate(labels, **fields):
        args = TrainingArguments(data=["clips"], output_dir="run", **fields)
        return usual_rate(args, starting_config(args), labels)

    assert rate(["happy", "Anger"]) == 2e-4 and rate(["happy", "urgent"]) == 1e-3
    assert rate(["happy", "anger"], learning_rate=3e-3) == 3e-3
    assert rate(["happy", "anger"], new_head=True) == 1e-3
