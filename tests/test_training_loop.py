"""The loop: what reaches which weight, what a step learns from however it is divided, and that a run goes on to the bit."""

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import read_manifest
from multimodal_ser.corpora.clips import examine
from multimodal_ser.corpora.targets import Targets
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech, tiny_config, tiny_model, tiny_processor
from multimodal_ser.training import TrainingArguments, train
from multimodal_ser.training.batching import BatchPlanner
from multimodal_ser.training.data import ClipData
from multimodal_ser.training.loop import Loop
from multimodal_ser.training.parameters import Freezing, parameter_groups

pytestmark = pytest.mark.usefixtures("fresh_accelerator", "no_curves")

LABELS = ["anger", "happiness", "sadness"]
QUIET = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "logging_steps": 1}
STILL = {"label_smoothing_factor": 0.0, "audio_mask_spans": 0}
"""With a `still_model`: nothing is drawn, two runs differ by nothing but what the test changes."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """24 rows of three classes and four speakers; of each four one has only a recording, one only words, two have both."""
    return write_clips(tmp_path_factory.mktemp("clips"), 24)


def write_clips(folder, count):
    import soundfile

    classes = [("anger", 260.0, "so angry"), ("happiness", 200.0, "very happy"), ("sadness", 110.0, "so sad")]
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion", "text", "speaker"])
        for index in range(count):
            name, pitch, words = classes[index % 3]
            if index % 4 != 3:
                soundfile.write(
                    folder / f"{index:03d}.wav", synthetic_speech(0.3 + index % 5 / 20, seed=index, pitch=pitch), 16_000
                )
            path = "" if index % 4 == 3 else f"{index:03d}.wav"
            text = "" if index % 4 == 0 else f"{words} {['the', 'door', 'is', 'hello', 'we', 'are', 'by'][index % 7]}"
            writer.writerow([path, name, text, f"speaker_{index // 3 % 4}"])
    return folder / "manifest.csv"


def still_model(audio="wav2vec2", text="bert", **fields):
    """A tiny model that draws nothing in training."""
    config = tiny_config(audio, text, **{"fusion_dropout": 0.0, "modality_dropout": 0.0} | fields)
    for branch in (config.audio_config, config.text_config):
        for name in branch.to_dict():
            if "dropout" in name:
                setattr(branch, name, 0.0)
    config.audio_config.apply_spec_augment = False
    torch.manual_seed(0)
    model = MultimodalEmotionClassifier(config)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    model.processor = tiny_processor(audio)
    model.transcriber = None
    return model


@pytest.fixture(scope="module")
def still_checkpoint(tmp_path_factory):
    still_model().save_pretrained(folder := tmp_path_factory.mktemp("still"))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """With dropout of every kind."""
    tiny_model().save_pretrained(folder := tmp_path_factory.mktemp("checkpoint"))
    return folder


def arguments(manifest, **options):
    return TrainingArguments(**({"data": [str(manifest)], "freeze": []} | QUIET | STILL | options))


def clip_data(model, args, count=None):
    clips, errors = examine(read_manifest(args.data[0]).rows[:count])
    assert not errors
    return ClipData(clips, Targets.of(clips, LABELS, args.dimensions), model.processor, args, args.seed, training=True)


class Source:
    """Clips as the loop takes them, with the class weights of the model."""

    def __init__(self, data, args, class_weights=None):
        self.data, self.weights = data, class_weights or [1.0] * len(LABELS)
        rows = args.per_device_train_batch_size * args.gradient_accumulation_steps
        self.planner = BatchPlanner(data.durations, rows=rows, seed=args.seed)

    def plan(self, epoch):
        return self.planner.epoch(epoch)

    def batch(self, rows, epoch):
        return self.data.batch(rows, epoch)

    def weight(self, rows):
        return sum(self.weights[self.data.targets.single[row]] for row in rows)


def loop_of(model, args, folder, count=None, data=None, **more):
    """A loop over the clips of a manifest, put together as `train` does."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if args.bf16 else "no")
    folder.mkdir(parents=True, exist_ok=True)
    model.config.label_smoothing = args.label_smoothing_factor
    freezing = Freezing(model, args)
    trained = freezing.ever_trained()
    source = Source(clip_data(model, args, count) if data is None else data, args, model.config.class_weights)
    more = {"begin_epoch": freezing.apply, "averaged": trained, "seed": args.seed, "say": lambda message: None} | more
    return Loop(model, source, args, accelerator, folder, parameter_groups(model, trained, args), **more)


def before_step(loop, do):
    """Call `do()` before each optimizer step."""
    loop.optimizer.optimizer.register_step_pre_hook(lambda *_: do())


def gradients(model):
    return {name: weight.grad.detach().clone() for name, weight in model.named_parameters() if weight.grad is not None}


def weights_of(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def largest_difference(some, others):
    assert some.keys() == others.keys()
    return max(float((some[name] - others[name]).abs().max()) for name in some)


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


# gradients


@pytest.mark.parametrize(("audio", "text"), [("wav2vec2-group", "bert"), ("whisper_audio_encoder", "distilbert")])
def test_gradients_reach_everything_from_the_loss_to_the_samples(manifest, tmp_path, audio, text):
    model = still_model(audio, text, dimensions=["arousal"], fusion_layers=2)
    args = arguments(manifest, max_steps=1, per_device_train_batch_size=24)
    data = clip_data(model, args)
    data.targets.dimensions = torch.linspace(0, 1, len(data))[:, None]
    loop = loop_of(model, args, tmp_path, data=data)
    found = {}
    before_step(loop, lambda: found.update(gradients(model)))
    loop.run()
    silent = {name for name, _ in model.named_parameters()} - {
        name for name, gradient in found.items() if gradient.abs().max() > 0
    }
    # SpecAugment's embedding is not used here, sinusoids never learn; all keys may move together without changing attention
    assert {name for name in silent if not name.endswith((".k_proj.bias", ".key.bias", ".k_lin.bias"))} <= {
        "model.audio_branch.encoder.masked_spec_embed", "model.audio_branch.encoder.embed_positions.weight",
    }  # fmt: skip
    assert {
        "model.audio_branch.layer_weights",
        "model.text_branch.layer_weights",
        "classifier.weight",
        "regressor.weight",
    } <= found.keys()
    for layer in range(2):
        for direction in ("audio_to_text", "text_to_audio"):
            for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                assert found[f"model.fusion_layers.{layer}.{direction}.{projection}.weight"].norm() > 1e-8


def test_accumulation_equals_the_larger_batch(manifest, tmp_path):
    ends, losses, sizes = [], [], set()
    for rows, passes in ((6, 1), (2, 3), (3, 2)):
        model = still_model(class_weights=[3.0, 1.0, 0.2])
        # as good as a plain gradient step: Adam's division would make large what differs by rounding where a gradient is 0
        args = arguments(
            manifest, per_device_train_batch_size=rows, gradient_accumulation_steps=passes, num_train_epochs=3, adam_epsilon=1e-2,
            learning_rate=1e-2, audio_learning_rate=1e-2, text_learning_rate=1e-2, label_smoothing_factor=0.1,
        )  # fmt: skip
        loop = loop_of(model, args, tmp_path / f"{rows}", count=17)
        start = weights_of(model)
        sizes |= {len(step) for epoch in range(3) for step in loop.source.plan(epoch)}
        loop.run()
        ends.append(weights_of(model))
        losses.append([line["loss"] for line in log_of(tmp_path / f"{rows}") if "loss" in line])
        assert largest_difference(start, ends[-1]) > 1e-3
    assert sizes == {6, 5} and len(losses[0]) == 9
    for end, curve in zip(ends[1:], losses[1:], strict=True):
        assert largest_difference(ends[0], end) < 1e-5
        assert np.abs(np.array(curve) - losses[0]).max() < 1e-5


def test_the_trainer_of_transformers_accumulates_the_same_gradients(manifest, tmp_path):
    from transformers import Trainer, TrainerCallback
    from transformers import TrainingArguments as TheirArguments

    ours, theirs = {}, {}
    args = arguments(
        manifest, per_device_train_batch_size=4, gradient_accumulation_steps=6, num_train_epochs=1, max_grad_norm=0
    )
    loop = loop_of(still_model(), args, tmp_path / "ours")
    before_step(loop, lambda: ours.update(gradients(loop.bare)))
    loop.run()

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            theirs.update(gradients(model))

    model = still_model()
    data = clip_data(model, args)
    Trainer(
        model=model,
        args=TheirArguments(
            str(tmp_path / "theirs"), per_device_train_batch_size=4, gradient_accumulation_steps=6, num_train_epochs=1, max_grad_norm=0,
            use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", remove_unused_columns=False,
        ),
        train_dataset=list(range(len(data))), data_collator=data.batch, callbacks=[Watch()],
    ).train()  # fmt: skip
    assert len(ours) > 100 and max(float(gradient.abs().max()) for gradient in ours.values()) > 1e-3
    assert (
        largest_difference(ours, theirs) < 1e-5
    )  # of gradients up to 6; counted as often as there are passes they would be 6 times that


# learning


def test_eight_clips_are_learned_by_heart(manifest, still_checkpoint, tmp_path):
    args = arguments(
        write_clips(tmp_path, 8), model=str(still_checkpoint), output_dir=str(tmp_path / "run"), num_train_epochs=40, learning_rate=3e-3,
        audio_learning_rate=1e-3, text_learning_rate=1e-3, per_device_train_batch_size=8, validation_share=0, modalities="auto",
    )  # fmt: skip
    result = train(args)
    curve = [line["train_loss"] for line in log_of(tmp_path / "run") if "train_loss" in line]
    assert len(curve) == 40 and curve[0] > 0.5 and curve[-1] < 0.05
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    output = model(**(data := clip_data(model, args)).batch(range(8)))
    assert tuple(output.logits.argmax(-1).tolist()) == data.targets.single and output.loss.item() < 0.05


def test_bf16_trains(manifest, tmp_path):
    model = still_model()
    args = arguments(manifest, bf16=True, num_train_epochs=8, learning_rate=3e-3)
    loop = loop_of(model, args, tmp_path)
    types = set()
    model.classifier.register_forward_hook(lambda module, inputs, output: types.add(output.dtype))
    loop.run()
    curve = [line["train_loss"] for line in log_of(tmp_path) if "train_loss" in line]
    assert types == {torch.bfloat16} and all(weight.dtype == torch.float32 for weight in model.parameters())
    assert all(math.isfinite(loss) for loss in curve) and curve[-1] < 0.6 * curve[0]


def test_compiled_runs_give_ordinary_checkpoints(manifest, still_checkpoint, tmp_path):
    ends = []
    for compiled in ({}, {"torch_compile": True, "torch_compile_backend": "eager"}):
        folder = tmp_path / f"{len(ends)}"
        args = arguments(
            manifest, model=str(still_checkpoint), output_dir=str(folder), max_steps=2, modalities="both", num_train_epochs=2,
            per_device_train_batch_size=12, validation_share=0, **compiled,
        )  # fmt: skip
        result = train(args)
        ends.append(weights_of(MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)))
    assert largest_difference(*ends) < 1e-5 < largest_difference(ends[0], weights_of(still_model()))


def test_a_loss_that_is_no_number_is_told_and_not_kept(manifest, tmp_path):
    model = still_model()
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    loop = loop_of(model, arguments(manifest, save_steps=1), tmp_path)
    with pytest.raises(InputError, match="loss: expected a finite number, got nan about step 1; lower learning_rate"):
        loop.run()
    assert not loop.checkpoints.exists()


# selection and the end


def test_it_stops_early_and_says_so(manifest, checkpoint, tmp_path, capsys):
    args = arguments(
        manifest, model=str(checkpoint), output_dir=str(tmp_path / "run"), freeze=["audio", "text"], early_stopping_patience=2,
        num_train_epochs=9, learning_rate=1e-12, modalities="both", validation_speakers=["speaker_1"],
    )  # fmt: skip
    result = train(args)
    assert "stopped early: no better ua in 2 epochs" in capsys.readouterr().err
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    assert (scores["epochs"], scores["best_epoch"], result.best_epoch) == (3, 1, 1) and "no better ua" in scores[
        "stopped"
    ]


@pytest.mark.parametrize("metric", ["ua", "loss"])
def test_the_best_epoch_is_kept_and_waiting_is_counted(manifest, tmp_path, metric):
    figures = [float("nan"), 0.5, 0.6, 0.6, 0.7, 0.65, float("nan"), 0.9]
    kept = []
    args = arguments(
        manifest,
        max_steps=50,
        num_train_epochs=9,
        early_stopping_patience=2,
        metric_for_best_model=metric,
        per_device_train_batch_size=4,
    )

    def evaluate(epoch):
        return {metric: figures[epoch] * (-1 if metric == "loss" else 1)}

    def loop():
        return loop_of(
            still_model(), args, tmp_path, count=4, evaluate=evaluate, keep=lambda: kept.append(running.progress.step)
        )

    running = loop()
    progress = running.run()
    assert progress.stopped == f"no better {metric} in 2 epochs"
    assert (progress.epoch, progress.best_epoch, abs(progress.best)) == (7, 4, 0.7) and kept == [1, 2, 3, 5]
    running = loop()  # who goes on with a run that has stopped goes nowhere
    assert json.dumps(asdict(running.run())) == json.dumps(asdict(progress)) and len(kept) == 4


def test_without_selection_the_last_epoch_is_kept(manifest, tmp_path):
    kept = []
    for best, evaluate in ((True, None), (False, lambda epoch: {"ua": -epoch})):
        model = still_model()
        args = arguments(manifest, num_train_epochs=3, save_best_model=best, ema_decay=0.5)
        keep = lambda model=model: kept.append(weights_of(model))  # noqa: E731
        loop = loop_of(model, args, tmp_path / f"{best}", count=4, evaluate=evaluate, keep=keep)
        assert loop.run().epoch == 3
        assert largest_difference(kept[-1], loop.average.average) == 0 < largest_difference(kept[-1], weights_of(model))
    assert len(kept) == 2


def test_max_steps_and_save_total_limit(manifest, tmp_path):
    args = arguments(
        manifest, max_steps=5, num_train_epochs=9, per_device_train_batch_size=4, save_steps=1, save_total_limit=3
    )
    judged = []
    loop = loop_of(
        still_model(), args, tmp_path, count=12, evaluate=lambda epoch: judged.append(epoch) or {"ua": epoch}
    )
    assert loop.run().step == 5
    assert (loop.progress.epoch, judged) == (2, [0, 1])  # three steps, then two of the next epoch
    assert sorted(path.name for path in loop.checkpoints.iterdir()) == [f"step-0000000{step}" for step in (3, 4, 5)]
    assert [line["step"] for line in log_of(tmp_path) if "loss" in line] == [1, 2, 3, 4, 5]


# going on after a stop


class Killed(BaseException):
    """Stands for SIGKILL; nothing catches it."""


def test_the_last_epoch_of_max_steps_is_judged_after_a_stop(manifest, tmp_path):
    args = arguments(manifest, max_steps=4, num_train_epochs=9, per_device_train_batch_size=4, save_steps=2)
    judged, kept = [], []

    def evaluate(epoch):
        judged.append(epoch)
        if judged == [0, 1]:
            raise Killed
        return {"ua": epoch}

    def loop():
        return loop_of(still_model(), args, tmp_path, count=12, evaluate=evaluate, keep=lambda: kept.append(judged[-1]))

    with pytest.raises(Killed):
        loop().run()
    progress = loop().run()
    assert judged == [0, 1, 1] and kept == [0, 1] and progress.best_epoch == 1 and len(progress.history) == 2


def test_what_a_stop_leaves_behind_is_found_again_to_the_bit(manifest, checkpoint, tmp_path, monkeypatch):
    def run(name):
        return arguments(
            manifest, model=str(checkpoint), output_dir=str(tmp_path / name), freeze=["audio", "text"], lora_rank=2, lora_branches="text",
            ema_decay=0.9, augmentation=["speed", "gain", "words"], augmentation_variants=3, mixup_alpha=0.4, audio_mask_spans=2,
            class_weights="balanced", label_smoothing_factor=0.1, save_steps=2, per_device_train_batch_size=2, num_train_epochs=4,
            gradient_accumulation_steps=2, metric_for_best_model="loss", resume_from_checkpoint=True, learning_rate=3e-3,
        )  # fmt: skip

    train(run("unbroken"))
    broken = tmp_path / "broken"
    steps = json.loads((tmp_path / "unbroken" / "scores.json").read_text(encoding="utf-8"))["steps"]
    assert steps >= 16

    def go_on_until(count, owner, name, when=lambda *arguments: True, instead=None):
        """Train on; the `count`-th call of `owner.name` for which `when` holds is where it stops."""
        original, calls = getattr(owner, name), []

        def watched(*arguments, **options):
            if when(*arguments):
                calls.append(arguments)
                if len(calls) == count:
                    if instead is not None:
                        instead(original, *arguments)
                    raise Killed
            return original(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, watched)
            with pytest.raises(Killed):
                train(run("broken"))

    def names(pattern):
        return sorted(path.name for path in broken.glob(pattern))

    from accelerate import Accelerator

    go_on_until(7, ClipData, "batch", lambda self, *_: self.training)  # in the fourth step
    assert names("checkpoints/*") == ["step-00000002"]
    with open(broken / "log.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 3, "lo')
    go_on_until(1, Accelerator, "save_state", instead=lambda original, self, folder: original(self, folder))
    assert names("checkpoints/*") == ["step-00000002", "step-00000004.unfinished"]
    assert not (broken / "checkpoints" / "step-00000004.unfinished" / "progress.json").exists()

    def half(original, self, folder):
        (folder / "model.safetensors").write_bytes(b"half of")

    go_on_until(1, MultimodalEmotionClassifier, "save_pretrained", instead=half)  # the first model that is kept
    assert names("best*") == ["best.new"]
    go_on_until(
        1, os, "replace", lambda source, target: Path(target).name == "best" and names("best.old")
    )  # between two renames
    assert names("best*") == ["best.new", "best.old"]
    go_on_until(1, Loop, "run")
    assert names("best*") == ["best"] and MultimodalEmotionClassifier.from_pretrained(broken / "best", whisper=None)
    before = names("checkpoints/*")
    go_on_until(
        2, os, "replace", lambda source, target: Path(target).name.startswith("step-")
    )  # all is written, but not yet renamed
    assert len(names("checkpoints/*.unfinished")) == 1 and names("checkpoints/*") != before
    train(run("broken"))

    whole = [
        "best/model.safetensors",
        "best/config.json",
        "best/adapter/adapter_model.safetensors",
        "validation_predictions.csv",
    ]
    whole += [
        f"checkpoints/step-{steps:08d}/{name}"
        for name in ("trained.safetensors", "average.safetensors", "progress.json")
    ]
    for name in whole[:-1]:
        assert (broken / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes(), name
    logs = []
    for name in ("unbroken", "broken"):
        logs.append(
            [
                {k: v for k, v in line.items() if k not in ("seconds", "steps_in_epoch")}
                for line in log_of(tmp_path / name)
            ]
        )
    assert logs[0] == logs[1] and len(logs[0]) == steps + 4  # how long it took is all that differs
    assert not names("*.new") and not names("*.old") and not names("checkpoints/*.unfinished")
    states = [
        torch.load(tmp_path / name / f"checkpoints/step-{steps:08d}/optimizer.bin") for name in ("unbroken", "broken")
    ]
    for one, other in zip(states[0]["state"].values(), states[1]["state"].values(), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


# several processes


SCRIPT = """
import os, signal, sys
import torch
from accelerate.utils import gather_object
from multimodal_ser.training import TrainingArguments, train
from multimodal_ser.training.data import ClipData
from multimodal_ser.training.loop import Loop

loops = []
run = Loop.run
Loop.run = lambda self: (loops.append(self), run(self))[1]
train(TrainingArguments.from_yaml(sys.argv[1]))
ends = gather_object([{name: weight.tolist() for name, weight in loops[0].bare.named_parameters()}])
assert len(ends) == 2 and ends[0] == ends[1], "the processes came apart"
print("together", flush=True)
batch, calls = ClipData.batch, []
def dies(self, rows, epoch=0):
    calls.append(rows)
    if os.environ["RANK"] == "1" and len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch(self, rows, epoch)
ClipData.batch = dies
train(TrainingArguments.from_yaml(sys.argv[1], output_dir=sys.argv[2], num_train_epochs=500))
"""


def test_two_processes_learn_as_one_and_end_when_one_of_them_is_killed(manifest, still_checkpoint, tmp_path):
    # rows of every kind, steps that do not divide evenly, and encoders that are trained from the second epoch on
    common = {
        "model": str(still_checkpoint), "num_train_epochs": 3, "freeze": ["audio", "text"], "unfreeze_epoch": 1, "embedding_cache": False,
        "class_weights": "balanced", "validation_speakers": ["speaker_3"], "learning_rate": 1e-2, "ema_decay": 0.5,
        "adam_epsilon": 1e-2, "max_grad_norm": 0,  # with which the size of a gradient counts
    }  # fmt: skip
    two = arguments(
        manifest,
        output_dir=str(tmp_path / "two"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        **common,
    )
    two.to_yaml(tmp_path / "two.yaml")
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    command = [sys.executable, *launch.split(), "--main_process_port", "0", str(tmp_path / "script.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with open(tmp_path / "output", "w+") as output:
        process = subprocess.Popen(
            [*command, str(tmp_path / "two.yaml"), str(tmp_path / "lost")], stdout=output, stderr=output, env=environment, start_new_session=True
        )  # fmt: skip
        train(arguments(manifest, output_dir=str(tmp_path / "one"), per_device_train_batch_size=8, **common))
        try:
            code = process.wait(240)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
        output.seek(0)
        told = output.read()
    assert "together" in told and "SIGKILL" in told and code not in (0, None), told[-3000:]
    curves = [[line["loss"] for line in log_of(tmp_path / name) if "train_loss" not in line] for name in ("one", "two")]
    assert len(curves[0]) >= 6 and curves[0][-1] < curves[0][0] - 1e-2 and np.abs(np.subtract(*curves)).max() < 1e-4
    validation = [[line["loss"] for line in log_of(tmp_path / name) if "train_loss" in line] for name in ("one", "two")]
    assert np.abs(np.subtract(*validation)).max() < 1e-4
    assert (tmp_path / "lost" / "arguments.yaml").exists() and not (tmp_path / "lost" / "scores.json").exists()
