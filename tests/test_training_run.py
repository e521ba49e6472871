"""A run and its folder: what it tells and leaves behind, which epoch is kept, several seeds, going on after a stop."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
import torch
from training_runs import arguments, log, names, predictions, prepared, rows_of, table, texts_in

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.errors import InputError
from multimodal_ser.training import TrainingArguments, train
from multimodal_ser.training.scoring import evaluate

# the run folder


def test_the_run_folder_tells_all_and_no_words(tmp_path, tiny, manifest, monkeypatch):
    monkeypatch.setattr("sys.argv", ["multimodal-ser", "train", "a b.csv"])
    args = arguments(
        manifest, tmp_path / "run", model=tiny, num_train_epochs=2, report_to=["tensorboard"], logging_steps=1
    )
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
    assert (
        about["data_hash"] == scores["data_hash"]
        and len(about["data_hash"]) == 64
        and about["labels"] == ["angry", "happy", "sad"]
    )
    assert (
        about["train"]["clips"] + about["validation"]["clips"] == 24
        and "classes: angry 8, happy 8, sad 8" in about["notes"]
    )
    epochs = [line for line in log(run) if "train_loss" in line]
    assert [line["epoch"] for line in epochs] == [0, 1] and {
        "loss",
        "accuracy",
        "ua",
        "macro_f1",
        "learning_rate",
        "seconds",
    } <= set(epochs[0])
    assert sum("train_loss" not in line for line in log(run)) == scores["steps"] == 4
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert list(run.glob("tracking/run/events.out.tfevents.*"))
    told = texts_in(run)
    for row in rows_of(manifest):
        assert row["text"] not in told
        assert f"secret{row['text'].split('secret')[1]}" not in told


def test_a_tracker_that_is_not_installed_is_told(tmp_path, tiny, clips, monkeypatch, capsys):
    monkeypatch.setattr("accelerate.utils.is_wandb_available", lambda: False)
    train(arguments(clips, tmp_path / "run", model=tiny, report_to=["wandb", "tensorboard"], run_name="mine"))
    assert "wandb not installed: no tracking there (pip install wandb)" in capsys.readouterr().err
    assert list((tmp_path / "run" / "tracking" / "mine").glob("events*"))


def test_validation_predictions_are_those_of_the_model_that_is_kept(tmp_path, tiny, mixed):
    result = train(
        arguments(mixed, tmp_path / "run", model=tiny, num_train_epochs=3, validation_speakers=["s0", "s1", "s2"])
    )
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    rows = predictions(tmp_path / "run")
    ready, _ = prepared(mixed, validation_speakers=["s0", "s1", "s2"])
    assert [row["name"] for row in rows] == [clip.row.name for clip in ready.validation]
    for row, clip in zip(rows, ready.validation, strict=True):
        inputs = {"audio": None if clip.row.path is None else str(clip.row.path), "text": clip.row.text}
        prediction = model.predict(**inputs)
        assert (
            prediction.label == row["prediction"]
            and clip.row.emotion == row["emotion"]
            and clip.row.speaker == row["speaker"]
        )
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
            manifest,
            tmp_path / "last",
            model=tiny,
            num_train_epochs=4,
            embedding_cache=False,
            save_best_model=False,
            learning_rate=0.02,
        )
    )
    assert last.best_epoch is None and last.validation["loss"] == pytest.approx(epochs[-1]["loss"], abs=1e-5)


def test_a_measured_test_part_is_left_alone_until_the_end(tmp_path, tiny, manifest):
    result = train(arguments(manifest, tmp_path / "run", model=tiny, test_speakers=["s5"]))
    assert {row["speaker"] for row in predictions(tmp_path / "run", "test")} == {"s5"} and set(result.test) == set(
        result.validation
    )
    assert "s5" not in {row["speaker"] for row in predictions(tmp_path / "run")}
    assert all("test" not in line for line in log(tmp_path / "run"))


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
    assert summary["mean"]["validation"]["loss"] == pytest.approx(
        np.mean([scores["validation"]["loss"] for scores in each])
    )
    assert summary["standard_deviation"]["validation"]["loss"] == pytest.approx(
        np.std([scores["validation"]["loss"] for scores in each], ddof=1)
    )
    assert (
        result.validation == summary["mean"]["validation"]
        and result.test == summary["mean"]["test"]
        and len(result.runs) == 2
    )
    best = max(each, key=lambda scores: scores["validation"]["ua"])
    assert (
        result.model == tmp_path / "run" / f"seed-{summary['best_seed']}" / "best"
        and summary["best_seed"] == best["seed"]
    )
    test = frozenset(f"audio/{number}.wav" for number in range(16, 24))
    assert Counter(measured)[test] == 2  # once a seed, at its end
    assert (
        each[0]["data_hash"] == each[1]["data_hash"] and each[0]["validation"]["loss"] != each[1]["validation"]["loss"]
    )
    stored = TrainingArguments.from_yaml(tmp_path / "run" / "seed-3" / "arguments.yaml")
    assert stored.seeds == [3] and TrainingArguments.from_yaml(tmp_path / "run" / "arguments.yaml") == args
    assert not (tmp_path / "run" / "embeddings").exists()
    with pytest.raises(InputError, match="which holds one"):
        train(args)

    kept = train(
        dataclasses.replace(args, seeds=[3, 1, 2], resume_from_checkpoint=True)
    )  # a third seed; the others are done
    told = capsys.readouterr().err
    assert told.count("holds a run that is done") == 2 and kept.runs[:2] == result.runs and len(kept.runs) == 3
    alone = train(
        dataclasses.replace(stored, output_dir=str(tmp_path / "alone"))
    )  # what a seed's folder stores gives the same again
    assert alone.validation == result.runs[0].validation


# going on with a run


def test_a_folder_that_holds_a_run_is_refused_and_gone_on_with_alone(tmp_path, tiny, manifest, capsys):
    common = {"model": tiny, "num_train_epochs": 2}
    run = tmp_path / "run"
    first = train(arguments(manifest, run, **common))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with pytest.raises(
        InputError,
        match=r"output_dir: expected a folder without a run, got \S+run, which holds one; add --resume-from-checkpoint",
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
