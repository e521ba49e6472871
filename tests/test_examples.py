"""The examples run as their docstrings say, on a handful of clips, and leave models that can be loaded."""

import csv
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS
from multimodal_ser.testing import synthetic_speech, tiny_model

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PITCHES = {"angry": 180.0, "happy": 260.0, "sad": 110.0}
# Without MPI `accelerate launch --cpu` starts one process, whatever --num_processes says; --multi_gpu starts as many, on a CPU too
LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port",
    "0", "--mixed_precision", "no", "--dynamo_backend", "no",
]  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder per emotion; the voices differ in pitch."""
    root = tmp_path_factory.mktemp("clips")
    for emotion, pitch in PITCHES.items():
        (root / emotion).mkdir()
        for i in range(5):
            sf.write(root / emotion / f"{i}.wav", synthetic_speech(0.5 + i / 10, seed=i, pitch=pitch), 16_000)
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(labels=tuple(PITCHES)).save_pretrained(folder)
    return folder


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """Run an example as a command, in this process; returns what it prints."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capfd.readouterr().out

    return run


def launched(*command, **environment):
    done = subprocess.run(
        [*LAUNCH, *map(str, command)], capture_output=True, text=True, env=os.environ | environment, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def loaded(folder):
    return MultimodalEmotionClassifier.from_pretrained(folder, whisper=None)


def losses(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "train_loss" not in line]


def test_folder_per_emotion_becomes_a_model_that_predicts(run, clips, tiny, tmp_path):
    file = clips / "sad" / "0.wav"
    printed = run("train_folder.py", clips, file, "--model", tiny, "--epochs", 3, "--output-dir", tmp_path / "run")
    prediction = loaded(tmp_path / "run" / "best").predict(file)
    assert printed == f"{file}: {prediction.label} {prediction.confidence:.0%}, of angry, happy, sad\n"
    assert prediction.modalities == ("audio",)


def ravdess_of(folder, actors):
    """Files named as RAVDESS names them: modality, channel, emotion, intensity, sentence, repetition, actor."""
    for actor in actors:
        (folder / f"Actor_{actor}").mkdir(parents=True)
        for emotion, pitch in (("04", 110.0), ("05", 180.0), ("03", 260.0)):
            name = f"03-01-{emotion}-01-01-01-{actor}.wav"
            sf.write(
                folder / f"Actor_{actor}" / name,
                synthetic_speech(0.5, seed=int(actor), pitch=pitch + int(actor)),
                16_000,
            )
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A Whisper with random weights."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    folder = tmp_path_factory.mktemp("whisper")
    sizes = {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "vocab_size": 50,
    }
    config = WhisperConfig(
        d_model=32,
        encoder_layers=5,
        decoder_layers=1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        **sizes,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def test_ravdess_fold_with_the_lower_layers_of_whisper(run, whisper, tmp_path):
    folder = ravdess_of(tmp_path / "ravdess", ["01", "02", "03", "04", *EMOBOX_RAVDESS_FOLDS[1][1:]])
    (folder / "Actor_01" / "notes.txt").write_text("no recording")
    printed = run(
        "train_ravdess.py",
        folder,
        "--audio-model",
        whisper,
        "--seeds",
        1,
        2,
        "--epochs",
        2,
        "--output-dir",
        tmp_path / "out",
    )
    assert re.findall(r"seed (\d): UA [\d.]+ on actors ([\d, ]+)", printed) == [
        ("1", "01, 11, 20, 21"),
        ("2", "01, 11, 20, 21"),
    ]
    about = json.loads((tmp_path / "out" / "fold-1" / "seed-1" / "data.json").read_text())
    assert about["test"]["speakers"] == ["ravdess_01", "ravdess_11", "ravdess_20", "ravdess_21"]
    assert sorted(int(name[-2:]) % 2 for name in about["validation"]["speakers"]) == [0, 1]
    assert not set(about["train"]["speakers"]) & {*about["test"]["speakers"], *about["validation"]["speakers"]}
    best = loaded(tmp_path / "out" / "fold-1" / "seed-2" / "best")
    assert best.config.audio_config.num_hidden_layers == 4 and not best.model.fusion_layers
    assert best.labels == ["anger", "happiness", "sadness"]


def test_ravdess_real_clips_by_their_manifest(run, data, tiny, tmp_path):
    rows = list(csv.DictReader(open(data / "ravdess" / "manifest.csv", newline="", encoding="utf-8")))  # noqa: SIM115
    chosen = {
        (row["speaker"], row["emotion"]): row for row in rows if row["emotion"] in ("anger", "happiness", "sadness")
    }
    some = [
        row | {"path": data / "ravdess" / row["path"]}
        for (speaker, _), row in chosen.items()
        if int(speaker[-2:]) in (1, 3, 4, 5, 2, 15, 16, 18)
    ]
    (tmp_path / "some").mkdir()
    with open(tmp_path / "some" / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(some)
    printed = run(
        "train_ravdess.py",
        tmp_path / "some",
        "--fold",
        5,
        "--model",
        tiny,
        "--seeds",
        3,
        "--epochs",
        1,
        "--output-dir",
        tmp_path / "out",
    )
    assert re.match(r"fold 5, seed 3: UA [\d.]+ on actors 02, 15, 16, 18\nmean", printed)


def test_ravdess_is_not_tested_on_actors_that_the_checkpoint_heard(run, tmp_path, capfd):
    with pytest.raises(SystemExit):
        run("train_ravdess.py", tmp_path, "--fold", 1)
    assert "--fold 5" in capfd.readouterr().err


def dialogues_of(folder):
    """A table of spoken turns (three speakers), and one of words alone."""
    words = {"angry": "he is not angry", "happy": "we are so happy", "sad": "i am very sad"}
    with open(folder / "calls.csv", "w", newline="") as calls, open(folder / "chats.csv", "w", newline="") as chats:
        spoken, written = csv.writer(calls), csv.writer(chats)
        spoken.writerow(["path", "text", "emotion", "speaker", "dialogue", "turn"])
        written.writerow(["Utterance", "Emotion", "Dialogue_ID", "Utterance_ID"])
        for i in range(18):
            emotion = list(words)[i % 3]
            sf.write(folder / f"{i}.wav", synthetic_speech(0.5, seed=i, pitch=PITCHES[emotion]), 16_000)
            spoken.writerow([f"{i}.wav", f"{words[emotion]} {i}", emotion, f"speaker{i // 3 % 3}", i // 6, i % 6])
            written.writerow([f"{words[emotion]} was it {i}", emotion, i // 6, i % 6])
    return folder / "calls.csv", folder / "chats.csv"


def test_dialogues_spoken_and_written_in_one_run(run, tiny, tmp_path):
    spoken, written = dialogues_of(tmp_path)
    printed = run(
        "train_dialogues.py", spoken, written, "--model", tiny, "--epochs", 2, "--output-dir", tmp_path / "run"
    )
    assert re.fullmatch(r"\w+ \d+%, from audio and text, after 2 turns\n", printed)
    about = json.loads((tmp_path / "run" / "data.json").read_text())
    assert (
        about["train"]["clips"] == 12 + 18
        and about["validation"]["clips"] == 6
        and len(about["validation"]["speakers"]) == 1
    )
    assert loaded(tmp_path / "run" / "best").config.trained_modalities == ["audio", "text"]


def test_dialogues_of_words_alone(run, tiny, tmp_path):
    _, written = dialogues_of(tmp_path)
    printed = run(
        "train_dialogues.py",
        written,
        "--context-turns",
        1,
        "--model",
        tiny,
        "--epochs",
        1,
        "--output-dir",
        tmp_path / "run",
    )
    assert "from text, after 1 turns" in printed
    assert "by dialogue: 1 of 3" in json.loads((tmp_path / "run" / "data.json").read_text())["protocol"]


@pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)  # peft asks transformers for it
def test_lora_merged_and_unmerged_are_the_same_model(run, clips, tiny, tmp_path):
    for (
        emotion
    ) in PITCHES:  # one clip each: nothing is held out, and the last epoch, which has learned something, is kept
        (tmp_path / "few" / emotion).mkdir(parents=True)
        shutil.copy(clips / emotion / "0.wav", tmp_path / "few" / emotion)
    printed = run("train_lora.py", "few", "--model", tiny, "--rank", 2, "--epochs", 4, "--output-dir", "run")
    assert float(re.search(r"differ by (\S+)", printed)[1]) < 1e-5
    best, beginning = loaded(tmp_path / "run" / "best").state_dict(), loaded(tiny).state_dict()
    changed = {name for name in beginning if not torch.equal(best[name], beginning[name])}
    assert "model.audio_branch.encoder.encoder.layers.0.attention.q_proj.weight" in changed  # the adapters are in it
    assert "model.audio_branch.encoder.encoder.layers.0.attention.k_proj.weight" not in changed


def test_trainer_trains_measures_and_saves(run, clips, tiny, tmp_path):
    printed = run(
        "train_with_trainer.py", clips, "--model", tiny, "--epochs", 2, "--output-dir", tmp_path / "run", "--use-cpu"
    )
    assert "run: angry, happy, sad; validation UA" in printed
    state = json.loads((tmp_path / "run" / "checkpoint-2" / "trainer_state.json").read_text())
    figures = [line["eval_ua"] for line in state["log_history"] if "eval_ua" in line]
    assert len(figures) == 2 and max(figures) == state["best_metric"]
    model = loaded(tmp_path / "run")
    assert model.predict(clips / "sad" / "0.wav").label in PITCHES
    best, beginning = model.state_dict(), loaded(tiny).state_dict()
    changed = {name for name in beginning if not torch.equal(best[name], beginning[name])}
    assert "classifier.weight" in changed and not [name for name in changed if ".encoder." in name]


def test_finetune_on_one_process_and_on_two(run, clips, tiny, tmp_path):
    printed = run(
        "finetune.py", clips, "--model", tiny, "--epochs", 2, "--batch-size", 4, "--output-dir", tmp_path / "one"
    )
    options = [clips, "--model", tiny, "--epochs", 2, "--batch-size", 2, "--output-dir", tmp_path / "two"]
    on_two = launched(EXAMPLES / "finetune.py", *options, ACCELERATE_USE_CPU="true").stdout
    for said in (printed, on_two):
        assert (
            len(re.findall(r"epoch \d of 2: loss \d+\.\d+, validation UA \d+\.\d", said)) == 2
        )  # told once, not once a process
    for name in ("one", "two"):
        model = loaded(tmp_path / name)
        assert model.labels == ["angry", "happy", "sad"] and model.predict(clips / "sad" / "0.wav").modalities == (
            "audio",
        )


def test_train_on_two_processes_learns_as_on_one(clips, tmp_path):
    model = tiny_model(fusion_dropout=0.0, modality_dropout=0.0)
    model.config.audio_config.hidden_dropout = model.config.audio_config.attention_dropout = 0.0
    model.save_pretrained(tmp_path / "model")
    options = [
        "train",
        clips,
        "--model",
        tmp_path / "model",
        "--max-steps",
        5,
        "--audio-mask-spans",
        0,
        "--logging-steps",
        1,
        "--use-cpu",
    ]
    one = [
        sys.executable,
        "-m",
        "multimodal_ser.cli",
        *options,
        "--per-device-train-batch-size",
        4,
        "-o",
        tmp_path / "one",
    ]
    subprocess.run([*map(str, one)], check=True, capture_output=True)
    launched("--module", "multimodal_ser.cli", *options, "--per-device-train-batch-size", 2, "-o", tmp_path / "two")
    assert json.loads((tmp_path / "two" / "environment.json").read_text())["processes"] == 2
    assert (
        losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
        and len(losses(tmp_path / "one")) == 5
    )


def test_fsdp_configuration_is_read_and_its_layers_are_those_of_the_model():
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(EXAMPLES / "fsdp.yaml"))
    assert config.distributed_type.value == "FSDP" and config.fsdp_config["fsdp_version"] == 2
    assert config.fsdp_config["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"
    model = MultimodalEmotionClassifier.from_pretrained(whisper=None)
    there = {type(module).__name__ for module in model.modules()}
    assert {"FusionLayer", "BertLayer"} <= model._no_split_modules <= there
    wrapped = config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"].split(",")
    assert set(wrapped) == model._no_split_modules - {"AudioBranch", "TextBranch"}
    # the line for encoders with a group norm in front, which is commented out
    named = re.search(r"# *fsdp_transformer_layer_cls_to_wrap: (\S+)", (EXAMPLES / "fsdp.yaml").read_text())[1].split(
        ","
    )
    assert set(named) <= {type(module).__name__ for module in tiny_model("wav2vec2-group").modules()}


@pytest.mark.parametrize("audio", ["wav2vec2", "whisper_audio_encoder"])
def test_sharded_by_those_layers_it_learns_the_same(audio, tmp_path):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    whole, sharded = tiny_model(audio), tiny_model(audio)
    batch = whole.processor(
        audio=[synthetic_speech(0.7), synthetic_speech(0.5, seed=1)], text=["so happy", "not sad"], sampling_rate=16_000
    )
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        for module in [*sharded.modules()][:0:-1]:  # from the innermost
            if type(module).__name__ in whole._no_split_modules - {"AudioBranch", "TextBranch"}:
                fully_shard(module, mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        for model in (whole, sharded):
            model(**batch, labels=torch.tensor([0, 1])).loss.backward()
        for (name, one), other in zip(whole.named_parameters(), sharded.parameters(), strict=True):
            if one.grad is not None:
                np.testing.assert_allclose(other.grad.full_tensor(), one.grad, atol=1e-5, err_msg=name)
    finally:
        torch.distributed.destroy_process_group()


DOCS = (EXAMPLES.parent / "docs" / "training.md").read_text(encoding="utf-8")


def test_a_beginner_is_told_what_the_documentation_shows(tmp_path, monkeypatch, capfd):
    from multimodal_ser.cli import main

    for speaker, shift in (("ann", 1.2), ("bo", 0.8)):
        for emotion, pitch in PITCHES.items():
            (tmp_path / "clips" / speaker / emotion).mkdir(parents=True)
            for i in range(4):
                waveform = synthetic_speech(0.7 + i / 5, seed=i, pitch=pitch * shift)
                sf.write(tmp_path / "clips" / speaker / emotion / f"{i}.wav", waveform, 16_000)
    (tmp_path / "clips" / "ann" / "happy" / "broken.wav").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["train", "clips", "-o", "run", "--use-cpu"]) == 0
    told = [
        line
        for line in capfd.readouterr().err.replace(f"{tmp_path}/", "").splitlines()
        if line.startswith("multimodal-ser: ")
    ]
    shown = re.search(r"```text\n(multimodal-ser: clips.*?)```", DOCS, re.DOTALL)[1].splitlines()
    assert told[: len(shown)] == shown
    left = {path.name for path in (tmp_path / "run").iterdir()}
    table = DOCS[DOCS.index("| file |") : DOCS.index("From Python")]
    named = {
        name.rstrip("/")
        for names in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([\w./]+)`", names)
    }
    assert named == left


def test_commands_of_the_documentation_contradict_nothing():
    from multimodal_ser.cli import _parser
    from multimodal_ser.training import TrainingArguments

    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    commands = re.findall(
        r"^(?:multimodal-ser|accelerate launch .*multimodal_ser\.cli) (train .*)$", DOCS + readme, re.MULTILINE
    )
    assert len(commands) >= 3
    for command in commands:
        args = vars(_parser().parse_args(command.partition("#")[0].split()))
        TrainingArguments.from_dict({name: value for name, value in args.items() if name in TrainingArguments.kinds()})


def test_options_of_the_documentation_exist_and_have_the_defaults_that_it_says():
    from multimodal_ser.training import TrainingArguments

    defaults = vars(TrainingArguments(data=["clips"]))
    table = re.findall(r"^\| `--([a-z-]+)` \| (.*?) \|", DOCS, re.MULTILINE)
    assert len(table) >= 10
    for option, said in table:
        value = defaults[option.replace("-", "_")]
        if value is None:
            assert said == "by the head" and option == "learning-rate"
            continue
        assert said == (
            " ".join(value) if isinstance(value, list) else str(value) if isinstance(value, str) else f"{value:g}"
        ), option
    launcher = {"multi_gpu", "num_processes", "module", "cpu", "logdir", "help", "config", "output_dir"}
    named = {name.replace("-", "_") for name in re.findall(r"--([a-z][a-z0-9_-]+)", DOCS)}
    unknown = {name for name in named if name.removeprefix("no_") not in defaults and name not in launcher}
    assert not unknown


def test_every_example_is_run_by_a_test():
    written = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for path in EXAMPLES.glob("*.*"):
        assert path.name == "demo.py" or path.name in written, path  # the demo is `make demo`


def test_the_recipe_for_ravdess_is_the_one_that_was_measured(monkeypatch):
    """examples/ravdess_frozen.yaml says what benchmarks/training_rows.py ran."""
    from multimodal_ser.cli.parser import build_parser
    from multimodal_ser.training import TrainingArguments

    monkeypatch.syspath_prepend(str(EXAMPLES.parent / "benchmarks"))
    from training_rows import FROZEN

    given = vars(
        build_parser().parse_args(["train", "clips", "--audio-model", "openai/whisper-base", *map(str, FROZEN)])
    )
    measured = TrainingArguments.from_dict(
        {name: value for name, value in given.items() if name in TrainingArguments.kinds()}
    )
    assert TrainingArguments.from_yaml(EXAMPLES / "ravdess_frozen.yaml", data=["clips"]) == measured


def test_leaks_compares_a_random_split_with_one_of_whole_speakers(data, capsys, monkeypatch, tmp_path):
    """examples/leaks.py, on every tenth clip; docs/evaluation.md has what it prints for all of them."""
    from multimodal_ser.corpora import read_manifest, write_manifest

    write_manifest(read_manifest(data / "ravdess" / "manifest.csv").rows[::10], tmp_path / "manifest.csv")
    monkeypatch.setattr(
        sys, "argv", ["leaks.py", str(tmp_path), "--baseline", "mfcc-logreg", "--cache-dir", str(tmp_path / "features")]
    )
    runpy.run_path(str(EXAMPLES / "leaks.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert re.search(r"fold 5, speaker-disjoint: UA [\d.]+ \(\d+ clips learned, (\d+) tested, 0 voices in both\)", told)
    assert re.search(r"fold 5, random: UA [\d.]+ \(\d+ clips learned, \d+ tested, [1-9]\d* voices in both\)", told)
    assert all(float(ua) > 100 / 8 for ua in re.findall(r"split: UA ([\d.]+)", told))
