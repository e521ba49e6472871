"""The tools that a user already has, each run for real: peft, Accelerate's launcher, datasets, trackers, Optuna."""

import csv
import json
import os
import runpy
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hub_server import HubServer
from safetensors.torch import load, save

from multimodal_ser import InputError, MultimodalEmotionClassifier
from multimodal_ser.corpora import ManifestRow, read_manifest
from multimodal_ser.corpora.hub_datasets import read_dataset, to_dataset
from multimodal_ser.testing import synthetic_speech, tiny_model
from multimodal_ser.training import TrainingArguments, train

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PITCHES = {"angry": 180.0, "happy": 260.0, "sad": 110.0}
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning"
)  # peft asks transformers for it


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder per speaker, in it one per emotion; the voices differ in pitch."""
    root = tmp_path_factory.mktemp("clips")
    for number, speaker in enumerate(("ann", "bo", "cy")):
        for emotion, pitch in PITCHES.items():
            (root / speaker / emotion).mkdir(parents=True)
            for n in range(2):
                wave = synthetic_speech(0.5 + n / 10, seed=10 * number + n, pitch=pitch + 5 * number)
                soundfile.write(root / speaker / emotion / f"{n}.wav", wave, 16_000)
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(labels=tuple(PITCHES)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(clips):
    """Rows that tell much, and rows that tell little."""
    spoken = [
        ManifestRow(
            path=path,
            emotion=path.parent.name,
            speaker=path.parts[-3],
            id=f"r{n}",
            turn=n,
            start=0.1,
            arousal=0.5,
            language="en",
        )
        for n, path in enumerate(sorted(clips.glob("ann/*/*.wav")))
    ]
    return [
        *spoken,
        ManifestRow(text="So happy!", votes={"happy": 2, "sad": 1}, dialogue="d"),
        ManifestRow(text="é", emotion="sad|angry"),
    ]


def arguments(clips, folder, tiny, **options):
    quick = {"num_train_epochs": 2, "disable_tqdm": True, "use_cpu": True, "logging_steps": 1, "report_to": ["none"]}
    return TrainingArguments(data=[str(clips)], output_dir=str(folder), model=str(tiny), **quick | options)


def loaded(folder):
    return MultimodalEmotionClassifier.from_pretrained(folder, whisper=None)


def batch_of(model):
    clips = [synthetic_speech(0.7), synthetic_speech(0.5, seed=1)]
    return model.processor(audio=clips, text=["so happy", "not sad"], sampling_rate=16_000)


def logits_of(model, batch):
    with torch.inference_mode():
        return model.eval()(**batch).logits


# peft


def adapted(folder, **options):
    """A classifier with adapters and a head that have learned a little."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=2, target_modules=["q_proj", "v_proj", "query", "value"], modules_to_save=["classifier"], **options
    )
    model = get_peft_model(loaded(folder), config)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.5)
    batch = batch_of(model)
    for _ in range(3):
        model.train()(**batch, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, batch


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_is_saved_loaded_and_merged(kind, tiny, tmp_path):
    peft = pytest.importorskip("peft")
    model, batch = adapted(tiny, use_dora=kind == "dora")
    expected = logits_of(model, batch)
    assert (expected - logits_of(loaded(tiny), batch)).abs().max() > 0.1
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert any("modules_to_save" in name for name in trained) and all(
        "lora_" in n or "modules_to_save" in n for n in trained
    )
    assert model.predict(synthetic_speech(0.5), sampling_rate=16_000).modalities == (
        "audio",
    )  # peft hands on what it does not know
    model.save_pretrained(tmp_path / "adapter")
    stored = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert stored == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        tiny
    )
    again = peft.PeftModel.from_pretrained(loaded(tiny), tmp_path / "adapter")
    assert torch.equal(logits_of(again, batch), expected)
    merged = again.merge_and_unload()
    assert type(merged) is MultimodalEmotionClassifier and (logits_of(merged, batch) - expected).abs().max() < 1e-5
    merged.save_pretrained(tmp_path / "merged")
    whole = loaded(tmp_path / "merged")
    assert (logits_of(whole, batch) - expected).abs().max() < 1e-5 and whole.processor is not None
    if (
        kind == "lora"
    ):  # transformers' own way to the same adapter; of DoRA's it finds no magnitudes (5.23), and says so
        beside = loaded(tiny)
        beside.load_adapter(str(tmp_path / "adapter"))
        assert torch.equal(logits_of(beside, batch), expected)
        directly = loaded(tmp_path / "adapter")  # the base that the adapter names, and the base's processor
        assert torch.equal(logits_of(directly, batch), expected)
        assert directly.predict(synthetic_speech(0.5), sampling_rate=16_000).modalities == ("audio",)


def test_several_adapters_of_one_model_and_the_class_that_finds_the_base_itself(tiny, tmp_path):
    peft = pytest.importorskip("peft")
    expected = {}
    for name, moved in (("one", 0.0), ("two", 0.3)):
        model, batch = adapted(tiny)
        with torch.no_grad():
            for key, weight in model.named_parameters():
                if "lora_" in key:
                    weight.add_(moved)
        expected[name] = logits_of(model, batch)
        model.save_pretrained(tmp_path / name)
    assert (expected["one"] - expected["two"]).abs().max() > 0.1
    model = peft.PeftModel.from_pretrained(loaded(tiny), tmp_path / "one", adapter_name="one")
    model.load_adapter(tmp_path / "two", adapter_name="two")
    for name in ("two", "one"):
        model.set_adapter(name)
        assert torch.equal(logits_of(model, batch), expected[name])
    found = peft.AutoPeftModel.from_pretrained(
        str(tmp_path / "two"), import_allowlist=["multimodal_ser.model.modeling_multimodal_ser"]
    )
    assert torch.equal(logits_of(found, batch), expected["two"]) and found.processor is not None


def test_an_adapter_without_its_base_is_told_before_anything_is_asked_for(tiny, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    adapted(tiny)[0].save_pretrained(tmp_path)
    monkeypatch.setattr("socket.socket.connect", None)  # whatever asks for a connection fails otherwise
    about = json.loads((tmp_path / "adapter_config.json").read_text())
    with pytest.raises(
        ValueError, match=r"labels: expected a whole checkpoint, got .* an adapter, .* load its base with labels"
    ):
        MultimodalEmotionClassifier.from_pretrained(tmp_path, labels=["a", "b"], whisper=None)
    for base, got, way in (
        (None, "got none", r"from_pretrained\(\)"),
        ("/nowhere/model", "'/nowhere/model', which is not on this machine", r"from_pretrained\('/nowhere/model'\)"),
        ("/usr/lib/multimodal_ser/pretrained", "not on this machine", r"from_pretrained\(\)"),
    ):
        (tmp_path / "adapter_config.json").write_text(json.dumps(about | {"base_model_name_or_path": base}))
        with pytest.raises(ValueError, match=f"expected an adapter whose base .* {got}; .* PeftModel.*{way}"):
            MultimodalEmotionClassifier.from_pretrained(tmp_path, whisper=None)


def test_the_adapter_of_a_training_run_merges_into_its_model(clips, tiny, tmp_path):
    peft = pytest.importorskip("peft")
    best = train(arguments(clips, tmp_path / "run", tiny, lora_rank=2, lora_learning_rate=0.02)).model
    model = peft.PeftModel.from_pretrained(loaded(tiny), best / "adapter")
    whole = loaded(best)
    batch = batch_of(whole)
    merged = model.merge_and_unload()
    assert merged.state_dict().keys() == whole.state_dict().keys()
    assert (logits_of(merged, batch) - logits_of(whole, batch)).abs().max() < 1e-5
    assert (logits_of(whole, batch) - logits_of(loaded(tiny), batch)).abs().max() > 1e-2
    assert json.loads((best / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny)


# datasets


def test_map_predicts_in_batches(rows, tiny):
    model = loaded(tiny)
    data = to_dataset(rows)

    def predicted(batch):
        found = model.predict(batch["audio"], text=batch["text"], on_error="skip")
        return {"label": [one.label for one in found], "confidence": [one.confidence for one in found]}

    mapped = data.map(predicted, batched=True, batch_size=3, load_from_cache_file=False)
    expected = model.predict([row.path for row in rows], text=[row.text for row in rows])
    assert mapped["label"][:] == [one.label for one in expected] and set(mapped.column_names) == {
        *data.column_names,
        "label",
        "confidence",
    }
    np.testing.assert_allclose(mapped["confidence"][:], [one.confidence for one in expected], atol=1e-5)
    whole = model.predict(data["audio"], text=data["text"])  # a column is a list of inputs
    assert [one.label for one in whole] == [one.label for one in expected]


def test_streams_are_predicted_row_by_row(rows, tiny, tmp_path):
    from datasets import Audio, load_dataset

    to_dataset(rows).to_parquet(tmp_path / "data.parquet")
    options = {
        "data_files": str(tmp_path / "data.parquet"),
        "split": "train",
        "streaming": True,
        "cache_dir": str(tmp_path / "cache"),
    }
    stream = load_dataset("parquet", **options).cast_column("audio", Audio(decode=False))
    model = loaded(tiny)
    expected = model.predict([row.path for row in rows], text=[row.text for row in rows])
    assert [one.label for one in model.predict_iter(stream)] == [one.label for one in expected]
    mapped = stream.map(lambda row: {"label": model.predict(row["audio"], text=row["text"]).label})
    assert [row["label"] for row in mapped] == [one.label for one in expected]


def told(rows):
    """What rows say, without where they lie."""
    fields = [name for name in ManifestRow.__dataclass_fields__ if name not in ("path", "place", "folder")]
    return [{name: getattr(row, name) for name in fields} for row in rows]


@pytest.mark.parametrize("form", ["memory", "disk", "parquet"])
def test_a_corpus_becomes_a_dataset_and_a_corpus_again(rows, form, tmp_path):
    from datasets import Audio

    data = to_dataset(rows)
    assert (
        data.features["audio"] == Audio(decode=False)
        and data.features["turn"].dtype == "int32"
        and "valence" not in data.features
    )
    if form == "disk":
        data.save_to_disk(tmp_path / "saved")
    elif form == "parquet":
        data.to_parquet(tmp_path / "data.parquet")
    source = {"memory": data, "disk": tmp_path / "saved", "parquet": tmp_path / "data.parquet"}[form]
    found = read_dataset(source, output_dir=tmp_path / "out")
    assert found.errors == () and told(found.rows) == told(rows)
    for row, again in zip(rows, found.rows, strict=True):
        assert (row.path is None) == (again.path is None) and (
            row.path is None or row.path.read_bytes() == again.path.read_bytes()
        )
        taken_in = again.path is not None and again.path.is_relative_to(tmp_path / "out")
        assert taken_in == (form == "disk" and row.path is not None)


def test_rows_of_splits_become_datasets_of_splits(rows):
    from dataclasses import replace

    split = [replace(row, split="test" if n % 3 else "validation") for n, row in enumerate(rows)]
    parts = to_dataset(split)
    assert {name: len(part) for name, part in parts.items()} == {"validation": 3, "test": 5}
    assert parts["test"]["id"][0] == "r1" and set(parts["test"]["split"]) == {"test"}
    mixed = to_dataset([*split, rows[0]])
    assert len(mixed) == 9 and mixed["split"][-1] is None
    lost = replace(rows[0], path=Path("gone.wav"), place="m.csv, line 7")
    with pytest.raises(
        InputError, match=r"rows: expected rows whose recordings are there, got no file for m.csv, line 7; leave"
    ):
        to_dataset([*rows, lost])
    with pytest.raises(InputError, match="got no rows"):
        to_dataset([])


TRAVEL = """
import json, os, shutil, sys, torch
from peft import PeftModel
from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import read_manifest
from multimodal_ser.corpora.hub_datasets import read_dataset, to_dataset
from multimodal_ser.hub import HubError, pull
from multimodal_ser.testing import synthetic_speech
base, adapter, clips, out = sys.argv[1:]
def loaded(name=base):
    return MultimodalEmotionClassifier.from_pretrained(name, whisper=None)
PeftModel.from_pretrained(loaded(), adapter).push_to_hub("me/adapter", private=True)
to_dataset(read_manifest(clips).rows).push_to_hub("me/corpus", private=True)
shutil.rmtree(os.environ["HF_HOME"])
model = PeftModel.from_pretrained(loaded(), "me/adapter").eval()
waves = [synthetic_speech(0.7), synthetic_speech(0.5, seed=1)]
with torch.inference_mode():
    logits = model(**model.processor(audio=waves, text=["so happy", "not sad"], sampling_rate=16_000)).logits.tolist()
directly = loaded("me/adapter").eval()
with torch.inference_mode():
    again = directly(**directly.processor(audio=waves, text=["so happy", "not sad"], sampling_rate=16_000)).logits.tolist()
refused = {}
for name in ("adapter", "torn", "other", "head", "far"):
    try:
        pull("me/" + name, out + "-" + name)
        refused[name] = "" if name == "far" else loaded(out + "-" + name).labels
    except HubError as error:
        refused[name] = str(error)
found = read_dataset("me/corpus", output_dir=out)
rows = [(row.emotion, row.speaker, str(row.path)) for row in found.rows]
print(json.dumps({"logits": logits, "again": again, "rows": rows, "errors": list(map(str, found.errors)), "refused": refused}))
"""


def test_adapter_and_corpus_travel_through_a_hub(clips, tiny, tmp_path):
    """A process pushes, forgets all that it has of the Hub, and pulls."""
    pytest.importorskip("peft")
    model, batch = adapted(tiny)
    expected = logits_of(model, batch)
    model.save_pretrained(tmp_path / "adapter")
    about, weights = (
        (tmp_path / "adapter" / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors")
    )
    wrong = {name: weight[:2] if "classifier" in name else weight for name, weight in load(weights).items()}
    with HubServer() as hub:
        hub.put("me/torn", {"adapter_config.json": about, "adapter_model.safetensors": weights[:1000]})
        hub.put("me/other", {"adapter_config.json": b'{"base": "x"}', "adapter_model.safetensors": weights})
        hub.put("me/head", {"adapter_config.json": about, "adapter_model.safetensors": save(wrong)})
        far = json.loads(about) | {"base_model_name_or_path": "somebody/else"}
        hub.put("me/far", {"adapter_config.json": json.dumps(far).encode(), "adapter_model.safetensors": weights})
        environment = hub.environment(tmp_path / "home", "hf_token_of_me")
        command = [sys.executable, "-c", TRAVEL, *map(str, (tiny, tmp_path / "adapter", clips, tmp_path / "out"))]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
        assert done.returncode == 0, done.stderr[-3000:]
        files = hub.commits("me/adapter")[0].files
        assert {"adapter_config.json", "adapter_model.safetensors"} <= set(files) and "model.safetensors" not in files
        assert len(files["adapter_model.safetensors"].content) < (tiny / "model.safetensors").stat().st_size / 4
        assert hub.repository("me/adapter").private and hub.repository("me/corpus", "datasets").private
    pulled = json.loads(done.stdout.splitlines()[-1])
    assert pulled["again"] == pulled["logits"]
    refused = pulled["refused"]
    assert (
        refused["adapter"] == list(PITCHES) and refused["far"] == ""
    )  # of the latter the base is nowhere near: its files are in order
    for name, says in (
        ("torn", "expected adapter_model.safetensors, got"),
        ("other", "got no peft_type"),
        ("head", "classifier"),
    ):
        assert (
            refused[name].startswith(f"me/{name}: expected a")
            and says in refused[name]
            and not (tmp_path / f"out-{name}").exists()
        )
    assert pulled["errors"] == [] and torch.equal(torch.tensor(pulled["logits"]), expected)
    there = {(row.emotion, row.speaker, row.path.read_bytes()) for row in read_manifest(clips).rows}
    assert {(emotion, speaker, Path(path).read_bytes()) for emotion, speaker, path in pulled["rows"]} == there and len(
        there
    ) == 18
    assert all(Path(path).is_relative_to(tmp_path / "out") for _, _, path in pulled["rows"])


# Accelerate


def test_launched_from_a_configuration_file_two_processes_train_one_model(clips, tiny, tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", EXAMPLES / "accelerate_cpu.yaml"]
    options = ["train", clips, "--model", tiny, "--num-train-epochs", 1, "--disable-tqdm", "-o", tmp_path / "run"]
    done = subprocess.run(
        [*map(str, [*command, "--module", "multimodal_ser.cli", *options])], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-3000:]
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (
        environment["processes"] == 2
        and environment["device"].startswith("cpu")
        and done.stderr.count("are trained, 1 epoch") == 1
    )
    assert loaded(tmp_path / "run" / "best").labels == list(PITCHES)


# trackers


class Outside:
    """Stands where requests to the outside would pass, on loopback, and counts them."""

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.seen = []
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.close()

    def listen(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                self.seen.append(connection.recv(200).decode(errors="replace").splitlines()[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    def environment(self, home):
        """As a person has it who has set nothing."""
        unset = ("WANDB_", "MLFLOW_", "DO_NOT_TRACK", "CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST")
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(unset) and not key.lower().endswith("_proxy")
        }
        way = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        return (
            kept | dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), way) | {"HOME": str(home)}
        )


def wandb_records(file):
    """The records of a file of W&B, which is a log as LevelDB writes it: pieces in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, pending = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        pending = (b"" if kind in (1, 2) else pending) + content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(pending)
            yield record


def epochs_of(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "train_loss" in line]


def test_trackers_write_into_the_run_folder_and_tell_nobody(clips, tiny, tmp_path, monkeypatch):
    """The command with all trackers, in an environment in which nothing is turned off; then a request that must be seen."""
    mlflow, _ = pytest.importorskip("mlflow"), pytest.importorskip("wandb")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (tmp_path / "home").mkdir()
    options = ["--num-train-epochs", 2, "--logging-steps", 1, "--use-cpu", "--disable-tqdm", "--run-name", "mine"]
    options += ["--report-to", "tensorboard", "wandb", "mlflow", "-o", tmp_path / "run"]
    code = (
        "import sys, urllib.request\nfrom multimodal_ser.cli import main\nassert main(sys.argv[1:]) == 0\n"
        "try: urllib.request.urlopen('http://telemetry.invalid/')\nexcept OSError: pass\n"
    )
    with Outside() as outside:
        command = [sys.executable, "-c", code, "train", *map(str, [clips, "--model", tiny, *options])]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=outside.environment(tmp_path / "home"),
            cwd=tmp_path,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert outside.seen == ["GET http://telemetry.invalid/ HTTP/1.1"]
    run = tmp_path / "run"
    assert {path.name for path in tmp_path.iterdir()} == {"home", "run"} and {"tracking", "wandb", "mlruns"} <= {
        p.name for p in run.iterdir()
    }
    lines = epochs_of(run)
    wanted = {
        "eval/ua": [line["ua"] for line in lines],
        "eval/loss": [line["loss"] for line in lines],
        "train/epoch_loss": [line["train_loss"] for line in lines],
    }
    steps = [
        json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines() if "train_loss" not in line
    ]
    wanted["train/loss"] = steps

    events = accumulator.EventAccumulator(str(run / "tracking" / "mine"))
    events.Reload()
    for name, values in wanted.items():
        assert [event.value for event in events.Scalars(name)] == pytest.approx(values, abs=1e-6), name

    [file] = run.glob("wandb/offline-run-*/*.wandb")
    found = {}
    for record in wandb_records(file):
        for item in record.history.item:
            found.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, abs=1e-6), name

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient((run / "mlruns").as_uri())
    [told] = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert (
        told.info.status == "FINISHED"
        and told.data.params["lr_scheduler_type"] == "cosine"
        and told.data.params["seed"] == "42"
    )
    for name, values in wanted.items():
        assert [point.value for point in client.get_metric_history(told.info.run_id, name)] == pytest.approx(
            values, abs=1e-6
        ), name


class Enough(Exception):
    """Raised to end a run."""


def test_each_run_of_a_process_has_a_folder_of_its_own_also_after_one_that_was_ended(
    clips, tiny, tmp_path, monkeypatch
):
    mlflow = pytest.importorskip("mlflow")
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    seen = []

    def enough(figures):
        seen.append(figures)
        if len(seen) == 1:
            raise Enough

    with pytest.raises(Enough):
        train(arguments(clips, tmp_path / "one", tiny, report_to=["mlflow"]), on_epoch=enough)
    result = train(arguments(clips, tmp_path / "two", tiny, report_to=["mlflow"], seeds=[1, 2]), on_epoch=enough)
    assert "MLFLOW_TRACKING_URI" not in os.environ and mlflow.active_run() is None
    logged = [line for n in (1, 2) for line in epochs_of(tmp_path / "two" / f"seed-{n}")]
    assert [line["epoch"] for line in seen] == [0, 0, 1, 0, 1] and all(
        a.items() <= b.items() for a, b in zip(seen[1:], logged, strict=True)
    )
    assert max(line["ua"] for line in seen[1:3]) == pytest.approx(result.runs[0].validation["ua"])
    for folder in ("one", "two/seed-1", "two/seed-2"):
        client = mlflow.MlflowClient((tmp_path / folder / "mlruns").as_uri())
        runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        assert [run.info.status for run in runs] == ["FINISHED"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "elsewhere").as_uri())  # what the user has set stays
    train(arguments(clips, tmp_path / "three", tiny, report_to=["mlflow"]))
    assert (tmp_path / "elsewhere").is_dir() and not (tmp_path / "three" / "mlruns").exists()
    assert os.environ["MLFLOW_TRACKING_URI"].endswith("elsewhere")


# Optuna


def test_a_search_looks_at_validation_alone_gives_up_early_and_goes_on(clips, tiny, tmp_path, monkeypatch, capsys):
    """examples/optuna_search.py"""
    optuna = pytest.importorskip("optuna")
    searched = runpy.run_path(str(EXAMPLES / "optuna_search.py"))["main"]

    def search(trials):
        return searched(
            str(clips), str(tmp_path / "search"), str(tiny), trials=trials, epochs=2, test_speakers=["cy"], seed=1
        )

    study = search(2)
    first = study.trials
    assert [len(trial.intermediate_values) for trial in study.trials] == [2, 2] and set(study.best_params) == {
        "head",
        "dropout",
        "learning_rate",
    }
    table = list(csv.DictReader((tmp_path / "search" / "searched.csv").read_text().splitlines()))
    assert {row["speaker"] for row in table} == {"ann", "bo"} and len(table) == 12
    best = tmp_path / "search" / f"trial-{study.best_trial.number}"
    scores = json.loads((best / "scores.json").read_text())
    assert scores["test"] == {} and scores["validation"]["ua"] == pytest.approx(study.best_value)
    assert [path.name for path in (tmp_path / "search").glob("trial-*")] == [best.name]
    assert study.best_value == max(max(trial.intermediate_values.values()) for trial in study.trials)
    assert loaded(best / "best").labels == list(PITCHES)
    assert f"trial {best.name.removeprefix('trial-')} of 2: validation UA" in capsys.readouterr().out

    pruner = optuna.pruners.ThresholdPruner(lower=1.1)  # nothing is ever good enough
    monkeypatch.setattr("optuna.pruners.MedianPruner", lambda **_: pruner)
    again = search(3)
    assert [trial.state.name for trial in again.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert again.trials[:2] == first and again.trials[2].params != again.trials[0].params
    assert (
        len(again.trials[2].intermediate_values) == 1
        and best.is_dir()
        and not (tmp_path / "search" / "trial-2").exists()
    )
    assert len(search(3).trials) == 3
