"""The rows of benchmarks/acceptance.py: each a function of its work folder that returns what was shown."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

COMMAND = [sys.executable, "-m", "multimodal_ser.cli", "train"]
QUIET = ["--disable-tqdm", "--report-to", "none"]


def data() -> Path:
    folder = os.environ.get("MULTIMODAL_SER_DATA")
    if not folder:
        sys.exit("MULTIMODAL_SER_DATA: expected the folder of recordings, got nothing; docs/data.md says what it holds")
    return Path(folder)


def whisper() -> Path:
    """Whisper base in transformers' form: MULTIMODAL_SER_WHISPER, or where the tests put it."""
    given = os.environ.get("MULTIMODAL_SER_WHISPER")
    folder = Path(given) if given else Path(__file__).resolve().parents[1] / ".cache" / "whisper"
    folder = folder / "transformers" / "base"
    if not (folder / "config.json").exists():
        sys.exit(f"{folder}: expected Whisper base for transformers; run the tests once, or set MULTIMODAL_SER_WHISPER")
    return folder


def train(*options: Any, check: bool = True, launch: int = 0) -> subprocess.CompletedProcess:
    """`multimodal-ser train` as a user calls it, `launch` processes through Accelerate."""
    command = [*COMMAND, *map(str, options), *QUIET]
    if launch:
        command = [*launched(launch), *command[len(COMMAND) :]]
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return done


def launched(processes: int) -> list[str]:
    """Accelerate's launcher starts several processes on a CPU only when told that they are as many GPUs; `--use-cpu` keeps them on it."""
    options = "--multi_gpu --num_machines 1 --mixed_precision no --dynamo_backend no --num_processes"
    return [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *options.split(),
        str(processes),
        "--module",
        "multimodal_ser.cli",
        "train",
    ]


def shown(*options: Any) -> str:
    """The command as it is recorded: without the folders of this machine."""
    text = " ".join(["multimodal-ser", "train", *map(str, options)])
    for folder, name in ((os.environ.get("MULTIMODAL_SER_DATA", "\0"), "$MULTIMODAL_SER_DATA"), (str(Path.cwd()), ".")):
        text = text.replace(folder, name)
    return text


def synthetic_clips(folder: Path, count: int = 48, seconds: float = 0.6) -> Path:
    """A manifest of synthetic speech: three classes that differ in pitch, four speakers, every second clip with words."""
    import soundfile as sf

    from multimodal_ser.testing import synthetic_speech

    folder.mkdir(parents=True, exist_ok=True)
    classes = {"anger": (260.0, "so angry"), "happiness": (200.0, "very happy"), "sadness": (110.0, "so sad")}
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion", "text", "speaker"])
        for index in range(count):
            name, (pitch, words) = list(classes.items())[index % 3]
            sf.write(
                folder / f"{index:03d}.wav", synthetic_speech(seconds + index % 5 / 10, seed=index, pitch=pitch), 16_000
            )
            writer.writerow(
                [f"{index:03d}.wav", name, f"{words} {index}" if index % 2 else "", f"speaker_{index // 3 % 4}"]
            )
    return folder / "manifest.csv"


def tiny_checkpoint(folder: Path, **fields: Any) -> Path:
    from multimodal_ser.testing import tiny_model

    if not (folder / "model.safetensors").exists():
        tiny_model(**fields).save_pretrained(folder)
    return folder


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines if "train_loss" not in line]


def epoch_seconds(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["seconds"] for line in lines if "train_loss" in line]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wiped(folder: Path) -> Path:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    return folder


def processes(work: Path) -> dict[str, Any]:
    """Two gloo processes give the loss curve of one; with one of them killed, the run ends with an error."""
    manifest = synthetic_clips(work / "clips")
    still = {"modality_dropout": 0.0, "fusion_dropout": 0.0}
    model = tiny_checkpoint(work / "model", fusion_dropout=0.0, modality_dropout=0.0)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    for branch, names in (("audio_config", ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")),
                          ("text_config", ("hidden_dropout_prob", "attention_probs_dropout_prob"))):  # fmt: skip
        config[branch] |= dict.fromkeys(names, 0.0)
    config["audio_config"] |= {"layerdrop": 0.0, "apply_spec_augment": False}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    options = [
        manifest, "--model", model, "--freeze", "--modalities", "both", "--audio-mask-spans", 0, "--logging-steps", 1, "--use-cpu",
        "--num-train-epochs", 4, "--model-config", *(f"{name}={value}" for name, value in still.items()), "--dataloader-num-workers", 0,
    ]  # fmt: skip
    one, two = wiped(work / "one"), wiped(work / "two")
    train(*options, "-o", one, "--per-device-train-batch-size", 8)
    train(*options, "-o", two, "--per-device-train-batch-size", 4, launch=2)
    curves = losses(one), losses(two)
    difference = max(abs(a - b) for a, b in zip(*curves, strict=True))

    lost = wiped(work / "lost")
    command = [*launched(2), *map(str, options), *QUIET, "-o", str(lost), "--per-device-train-batch-size", "4"]
    command += ["--num-train-epochs", "2000"]
    with open(work / "lost.log", "w", encoding="utf-8") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 180
        while not (lost / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        children = subprocess.run(["pgrep", "-P", str(running.pid)], capture_output=True, text=True).stdout.split()
        workers = [pid for pid in children if b"multimodal_ser.cli" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(workers[-1]), signal.SIGKILL)
        began = time.monotonic()
        try:
            code = running.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            code = None
    figures = {
        "steps": len(curves[0]), "largest_difference": difference, "first_loss": curves[0][0], "last_loss": curves[0][-1],
        "exit_code_after_kill": code, "seconds_until_end": round(time.monotonic() - began, 1),
    }  # fmt: skip
    passed = difference < 1e-4 and code not in (0, None)
    return {"command": shown(*options), "figures": figures, "passed": passed}


KILLS = 20


def kills(work: Path) -> dict[str, Any]:
    """SIGKILL at 20 random moments, also while a checkpoint is written: the end is that of an unbroken run, to the bit."""
    manifest, model = synthetic_clips(work / "clips"), tiny_checkpoint(work / "model")
    options = [
        manifest, "--model", model, "--lora-rank", 4, "--lora-branches", "text", "--ema-decay", 0.99, "--augmentation", "speed", "noise",
        "words", "--augmentation-variants", 3, "--cache-dir", work / "embeddings", "--num-train-epochs", 300, "--save-steps", 2,
        "--logging-steps", 3, "--per-device-train-batch-size", 8, "--use-cpu", "--mixup-alpha", 0.2,
    ]  # fmt: skip
    wiped(work / "embeddings")
    unbroken, broken = wiped(work / "unbroken"), wiped(work / "broken")
    train(*options, "-o", unbroken)
    wiped(work / "embeddings")
    chance = random.Random(20)
    moments: list[dict[str, Any]] = []
    while True:
        command = [*COMMAND, *map(str, options), *QUIET, "-o", str(broken)]
        command += ["--resume-from-checkpoint"] if (broken / "arguments.yaml").exists() else []
        with open(work / "broken.log", "a", encoding="utf-8") as log:
            running = subprocess.Popen(command, stdout=log, stderr=log)
            if len(moments) == KILLS:
                code = running.wait()
                break
            kind = (
                "while a checkpoint is written"
                if len(moments) % 4 == 3
                else "from the start"
                if len(moments) % 4 == 0
                else "in training"
            )
            before = newest(broken)
            if kind == "from the start":
                time.sleep(chance.uniform(0, 15))
            else:
                while newest(broken) == before and running.poll() is None:  # until it has got further than it was
                    time.sleep(0.002)
                time.sleep(chance.uniform(0, 2.0))
            if kind == "while a checkpoint is written":
                deadline = time.monotonic() + 20
                while (
                    not list((broken / "checkpoints").glob("*.unfinished"))
                    and time.monotonic() < deadline
                    and running.poll() is None
                ):
                    time.sleep(0.0002)
            if running.poll() is not None:
                code = running.returncode
                break
            running.send_signal(signal.SIGKILL)
            running.wait()
            writing = bool(list((broken / "checkpoints").glob("*.unfinished")))
            moments.append({"kind": kind, "newest_step": newest(broken), "unfinished_checkpoint": writing})
    names = ["best/model.safetensors"]
    step = f"checkpoints/step-{newest(unbroken):08d}"
    names += [f"{step}/trained.safetensors", f"{step}/average.safetensors"]
    same = {name: (broken / name).exists() and digest(unbroken / name) == digest(broken / name) for name in names}
    curves = losses(unbroken) == losses(broken)
    figures = {
        "kills": len(moments), "steps": newest(unbroken),
        "while_a_checkpoint_was_written": sum(m["unfinished_checkpoint"] for m in moments),
        "same_bits": same, "same_log": curves, "exit_code": code, "moments": moments,
    }  # fmt: skip
    passed = len(moments) == KILLS and all(same.values()) and curves and code == 0
    return {"command": shown(*options), "figures": figures, "passed": passed}


def newest(run: Path) -> int:
    return max(
        [int(path.name[5:]) for path in (run / "checkpoints").glob("step-*") if path.name[5:].isdigit()], default=0
    )


def base_shaped(folder: Path) -> Path:
    """A model on a wav2vec2 of base's shape (random weights: as slow as trained ones) and the shipped text branch."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    if not (folder / "model.safetensors").exists():
        torch.manual_seed(0)
        Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return folder


def cached(work: Path) -> dict[str, Any]:
    """Cached epochs against uncached ones, with a frozen wav2vec2 of base's shape and with the shipped branch; equal results."""
    with open(data() / "ravdess" / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["intensity"] == "normal"][:640:10]
    manifest = work / "some.csv"
    with open(manifest, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "emotion", "speaker"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | {"path": str(data() / "ravdess" / row["path"])} for row in rows)
    common = [
        manifest,
        "--modalities",
        "audio",
        "--validation-share",
        0,
        "--logging-steps",
        1,
        "--use-cpu",
        "--num-train-epochs",
    ]
    figures: dict[str, Any] = {"clips": len(rows)}
    curves: dict[str, list[float]] = {}
    for name, options in (("wav2vec2_base", ["--audio-model", base_shaped(work / "base")]), ("shipped", [])):
        times = {}
        for form in ("uncached", "float32", "float16"):
            more = [3, "--no-embedding-cache"] if form == "uncached" else [3, "--cache-dtype", form]
            run = wiped(work / f"{name}-{form}")
            train(*common, *more, *options, "-o", run)
            times[form] = statistics.median(epoch_seconds(run)[1:])
            curves[f"{name}-{form}"] = losses(run)
        figures[name] = {
            "seconds_an_epoch": times, "times_faster": {form: round(times["uncached"] / times[form], 1) for form in ("float32", "float16")},
            "largest_difference_of_losses": {
                form: max(abs(a - b) for a, b in zip(curves[f"{name}-uncached"], curves[f"{name}-{form}"], strict=True))
                for form in ("float32", "float16")
            },
        }  # fmt: skip
    base = figures["wav2vec2_base"]
    passed = base["times_faster"]["float16"] >= 20 and all(
        figures[name]["largest_difference_of_losses"]["float32"] < 1e-5 for name in ("wav2vec2_base", "shipped")
    )
    return {"command": shown(*common, 3, "--audio-model", "BASE_SHAPED"), "figures": figures, "passed": passed}


RECIPE = [
    "--modalities", "audio", "--trim-silence-db", 40, "--audio-layers", 4, "--model-config", "fusion_layers=0", "fusion_dropout=0.2",
    "classifier_dropout=0.4", "pooling_norm=false", "combination=concatenated", "--per-device-train-batch-size", 32,
    "--learning-rate", 2e-3, "--warmup-steps", 0.3, "--ema-decay", 0.98, "--no-save-best-model", "--augmentation", "speed", "--bf16",
]  # fmt: skip
"""No fusion layers: there is nothing to fuse with. What is kept is the moving average after the last epoch: 120
validation clips tell little of which of fourteen epochs is the best."""
FROZEN = [*RECIPE, "--num-train-epochs", 14, "--augmentation-variants", 4, "--voice-shift", 0.5]
FURTHER = [
    "--modalities", "audio", "--per-device-train-batch-size", 32, "--num-train-epochs", 5, "--learning-rate", 2e-4, "--warmup-steps", 0.1,
    "--ema-decay", 0.98, "--no-save-best-model", "--augmentation", "speed", "--bf16",
]  # fmt: skip
"""From the head that `ravdess_frozen` trained on the same speakers: from a cold head the encoder unlearns before the head has learned."""
LORA = [*FURTHER, "--lora-rank", 8, "--lora-branches", "audio", "--lora-learning-rate", 5e-4]
FULL = [*FURTHER, "--freeze", "text", "--audio-learning-rate", 5e-5, "--layer-decay", 0.8]


def folds(
    work: Path, recipe: list[Any], seeds: list[int], numbers: Sequence[int] = (1, 2, 3, 4, 5), start: Path | None = None
) -> dict[str, Any]:
    """EmoBox's folds of RAVDESS: four actors to test on, two of the other sixteen to select on.

    Training starts from Whisper's encoder, or from what another row trained on the same fold (`start`, its work folder).
    """
    from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS

    manifest = data() / "ravdess" / "manifest.csv"
    actors = sorted({row["speaker"] for row in csv.DictReader(open(manifest, newline="", encoding="utf-8"))})  # noqa: SIM115
    options = [*recipe, "--use-cpu", "--seeds", *seeds]
    encoder, named = ["--audio-model", whisper()], ["--audio-model", "WHISPER_BASE"]
    table, summaries = {}, []
    for fold in numbers:
        test = [f"ravdess_{actor}" for actor in EMOBOX_RAVDESS_FOLDS[fold]]
        rest = [actor for actor in actors if actor not in test]
        validation = [next(a for a in rest[fold:] if int(a[-2:]) % 2 == odd) for odd in (0, 1)]  # a woman and a man
        run = work / f"fold-{fold}"
        done = [(run / f"seed-{seed}" / "scores.json").exists() for seed in seeds]
        if not all(done):
            if start is not None:
                best = start / f"fold-{fold}" / "seed-1" / "best"
                if not best.exists():
                    sys.exit(f"{best}: expected the model of the row {start.name}; run that row first")
                encoder = ["--model", best]
            more_options = [
                *encoder,
                "--test-speakers",
                *test,
                "--validation-speakers",
                *validation,
                "--cache-dir",
                work / "embeddings",
            ]
            train(manifest, *options, *more_options, "-o", run, "--resume-from-checkpoint")
        scores = [json.loads((run / f"seed-{seed}" / "scores.json").read_text(encoding="utf-8")) for seed in seeds]
        summaries += scores
        table[fold] = {"test": test, "validation": validation, "ua": [round(100 * s["test"]["ua"], 2) for s in scores],
                       "best_epoch": [s["best_epoch"] for s in scores]}  # fmt: skip
        print(f"fold {fold}: UA {table[fold]['ua']}", flush=True)
    means = [float(np.mean(row["ua"])) for row in table.values()]
    figures = {
        "mean_ua": round(float(np.mean(means)), 2), "folds": table, "mean_ua_of_each_seed": [
            round(float(np.mean([row["ua"][i] for row in table.values()])), 2) for i in range(len(seeds))
        ],
        "parameters": summaries[0]["parameters"], "seconds_a_run": round(float(np.mean([s["seconds"] for s in summaries])), 1),
    }  # fmt: skip
    return {
        "command": shown("$MULTIMODAL_SER_DATA/ravdess/manifest.csv", *(named if start is None else ["--model", "FROZEN"]), *options),
        "figures": figures, "data_hash": summaries[0]["data_hash"],
    }  # fmt: skip


def ravdess_frozen(work: Path) -> dict[str, Any]:
    """RAVDESS, audio alone, frozen four-layer WhisperAudioEncoder: mean UA of five folds and three seeds, at least 75."""
    result = folds(work, FROZEN, [1, 2, 3])
    return result | {"passed": result["figures"]["mean_ua"] >= 75}


def ravdess_lora(work: Path) -> dict[str, Any]:
    """Five folds with low-rank adapters in the encoder: under 2 % of the parameters, adapter under 5 MB, merged equals unmerged."""
    result = folds(work, LORA, [1], start=work.parent / "ravdess_frozen")
    run = work / "fold-1" / "seed-1" / "best"
    size = sum(path.stat().st_size for path in (run / "adapter").iterdir())
    difference = merged_difference(run)
    parameters = result["figures"]["parameters"]
    share = parameters["adapters"] / parameters["all"]
    result["figures"] |= {"adapter_bytes": size, "adapters_share": round(share, 5), "merged_difference": difference}
    return result | {"passed": size < 5e6 and share < 0.02 and difference < 1e-5}


def merged_difference(best: Path) -> float:
    """Largest difference of logits between the merged checkpoint and its adapter on the model that training began with."""
    import torch
    from peft import PeftModel

    from multimodal_ser import MultimodalEmotionClassifier, load_audio
    from multimodal_ser.training import TrainingArguments
    from multimodal_ser.training.initialization import build_model

    merged = MultimodalEmotionClassifier.from_pretrained(best, whisper=None)
    args = TrainingArguments.from_yaml(best.parent / "arguments.yaml")
    base = build_model(args, merged.labels).eval()
    unmerged = PeftModel.from_pretrained(base, str(best / "adapter")).eval()
    clips = sorted((data() / "ravdess" / "audio").glob("*.flac"))[:16]
    batch = merged.processor(audio=[load_audio(path) for path in clips], sampling_rate=16_000)
    with torch.inference_mode():
        return float((merged(**batch).logits - unmerged(**batch).logits).abs().max())


def ravdess_full(work: Path) -> dict[str, Any]:
    """Five folds with the encoder fine-tuned end to end."""
    return folds(work, FULL, [1], start=work.parent / "ravdess_frozen") | {"passed": True}


def few_clips(work: Path) -> dict[str, Any]:
    """A folder per emotion with ten clips each, one command, no options: tested on speakers that nobody trained on."""
    from multimodal_ser import MultimodalEmotionClassifier
    from multimodal_ser.metrics import unweighted_average_recall

    with open(data() / "ravdess" / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    unseen = ("ravdess_02", "ravdess_15", "ravdess_16", "ravdess_18")
    clips = wiped(work / "clips")
    counts: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row["path"].encode()).hexdigest()):
        if row["speaker"] not in unseen and counts.get(row["emotion"], 0) < 10:
            counts[row["emotion"]] = counts.get(row["emotion"], 0) + 1
            target = clips / row["emotion"] / Path(row["path"]).name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(data() / "ravdess" / row["path"])
    run = wiped(work / "run")
    train(clips, "-o", run)
    model = MultimodalEmotionClassifier.from_pretrained(run / "best", whisper=None)
    test = [row for row in rows if row["speaker"] in unseen]
    predictions = model.predict([str(data() / "ravdess" / row["path"]) for row in test])
    index = {label: i for i, label in enumerate(model.labels)}
    ua = unweighted_average_recall([index[row["emotion"]] for row in test], [index[p.label] for p in predictions])
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    figures = {
        "clips": counts,
        "ua_of_unseen_speakers": round(100 * ua, 2),
        "seconds": scores["seconds"],
        "validation": scores["validation"],
    }
    return {"command": shown("CLIPS"), "figures": figures, "passed": ua > 0.5}


ROWS = {row.__name__: row for row in (processes, kills, cached, few_clips, ravdess_frozen, ravdess_lora, ravdess_full)}
