"""A run from beginning to end: data, model, cache, loop, and the folder that tells of it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multimodal_ser.errors import InputError
from multimodal_ser.metrics import concordance_correlation, scores
from multimodal_ser.training.arguments import TrainingArguments, read_yaml
from multimodal_ser.training.augmentation import Augmenter
from multimodal_ser.training.batching import BatchPlanner
from multimodal_ser.training.data import Clip, ClipData, Targets
from multimodal_ser.training.embedding_cache import EmbeddingCache, branch_fingerprint, estimated_bytes, fill, require_space
from multimodal_ser.training.loop import Loop
from multimodal_ser.training.models import audio_states, build_model, measure_statistics, needs_statistics, text_states
from multimodal_ser.training.parameters import Freezing, add_adapters, merged, parameter_groups, save_adapter
from multimodal_ser.training.preparation import Prepared, prepare_data
from multimodal_ser.training.record import (
    data_hash,
    environment,
    plot_curves,
    recover_folder,
    replace_folder,
    write_json,
    write_predictions,
)

NOT_COMPARED = frozenset(
    ["resume_from_checkpoint", "dataloader_num_workers", "disable_tqdm", "report_to", "run_name", "use_cpu", "output_dir", "logging_steps"]
)
"""Options that may differ when a run goes on: they do not change what is learned."""


@dataclass(frozen=True)
class TrainingResult:
    """What came of a run.

    Args:
        model: folder of the best model, ready for `MultimodalEmotionClassifier.from_pretrained`.
        validation: its figures on the validation set; empty without one.
        test: likewise.
        best_epoch: the first is 1; None: the last, without selection.
        runs: with several seeds, the result of each.
    """

    model: Path
    validation: dict[str, float]
    test: dict[str, float]
    best_epoch: int | None
    runs: tuple[TrainingResult, ...] = ()


def train(args: TrainingArguments) -> TrainingResult:
    """Train as `args` says; everything that comes of it is in `args.output_dir`.

    Returns:
        Where the best model is, and its figures; with `seeds`, their means.

    Raises:
        InputError: data, checkpoint or options that do not do, with the remedy.

    Example:
        >>> from multimodal_ser.training import TrainingArguments, train
        >>> train(TrainingArguments(data=["no/such/folder"], output_dir="run"))  # a folder with a folder per emotion
        Traceback (most recent call last):
        ...
        multimodal_ser.errors.InputError: no/such/folder: expected ...
    """
    folder = Path(args.output_dir)
    if not args.seeds:
        return _Run(args, folder, args.seed).result()
    runs = []
    for seed in args.seeds:
        one = dataclasses.replace(args, seeds=[], cache_dir=args.cache_dir or str(folder / "embeddings"))
        runs.append(_Run(one, folder / f"seed-{seed}", seed, resume_or_start=True).result())
    if args.cache_dir is None:
        shutil.rmtree(folder / "embeddings", ignore_errors=True)
    figures = {
        part: {name: [getattr(run, part)[name] for run in runs] for name in getattr(runs[0], part)} for part in ("validation", "test")
    }
    means = {part: {name: float(np.mean(values)) for name, values in table.items()} for part, table in figures.items()}
    best = max(range(len(runs)), key=lambda i: (runs[i].validation.get(args.metric, 0.0) * (-1 if args.metric == "loss" else 1), -i))
    if int(os.environ.get("RANK", 0)) == 0:
        spread = {
            part: {name: float(np.std(values, ddof=1)) for name, values in t.items() if len(values) > 1} for part, t in figures.items()
        }
        summary = {"seeds": args.seeds, "mean": means, "standard_deviation": spread, "each": figures, "best_seed": args.seeds[best]}
        write_json(folder / "scores.json", summary)
    return TrainingResult(runs[best].model, means["validation"], means["test"], runs[best].best_epoch, tuple(runs))


class _Run:
    """One run with one seed."""

    def __init__(self, args: TrainingArguments, folder: Path, seed: int, resume_or_start: bool = False):
        self.args, self.folder, self.seed = args, folder, seed
        self.accelerator = _accelerator(args, folder)
        self._claim_folder(resume_or_start)

    def say(self, message: str) -> None:
        """Tell the person who waits, on stderr, once."""
        if self.accelerator.is_main_process:
            if self.args.disable_tqdm:
                print(f"multimodal-ser: {message}", file=sys.stderr, flush=True)
            else:
                from tqdm import tqdm

                tqdm.write(f"multimodal-ser: {message}", file=sys.stderr)

    def result(self) -> TrainingResult:
        """Do it."""
        args, accelerator, folder = self.args, self.accelerator, self.folder
        began = time.monotonic()
        prepared = prepare_data(args, self.say)
        self._write_beginnings(prepared)
        _seed_everything(self.seed)
        model = build_model(args, self._labels(prepared), self._class_weights(prepared))
        model.config.trained_modalities = [n for n, used in (("audio", prepared.use_audio), ("text", prepared.use_text)) if used]
        if args.lora_rank:
            add_adapters(model, args)
        freezing = Freezing(model, args)
        freezing.apply(0)
        if args.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.to(accelerator.device)
        train_data, others = self._data(prepared, model)
        self._cached(model, freezing, train_data, others, began)
        if prepared.use_audio and needs_statistics(model):
            measure_statistics(model, train_data, accelerator.device)
        trained = freezing.ever_trained()
        if not trained:
            raise InputError("freeze", expected="something left to train", got="everything frozen", remedy="leave a part out of freeze")
        counts = {"trained": sum(w.numel() for w in trained.values()), "all": sum(w.numel() for w in model.parameters())}
        counts["adapters"] = sum(w.numel() for n, w in trained.items() if ".lora_" in n)
        self.say(f"{counts['trained'] / 1e6:.2f} M of {counts['all'] / 1e6:.2f} M parameters are trained, on {accelerator.device.type}")
        self._start_trackers()
        best = folder / "best"
        recover_folder(best)

        def keep() -> None:
            if accelerator.is_main_process:
                replace_folder(best, lambda new: self._save(model, new, trained))
            accelerator.wait_for_everyone()

        loop = Loop(
            model, _Source(train_data, self._planner(train_data), model.config.class_weights), args, accelerator, folder,
            parameter_groups(model, trained, args), seed=self.seed, begin_epoch=freezing.apply,
            evaluate=(lambda epoch: self._evaluate(loop.model, others[0])[0]) if len(others[0]) else None,
            keep=keep, averaged=trained, say=self.say,
        )  # fmt: skip
        self.loop = loop
        progress = loop.run()
        if progress.stopped:
            self.say(f"stopped early: {progress.stopped}")
        return self._finish(prepared, model, train_data, others, counts, progress, time.monotonic() - began)

    def _labels(self, prepared: Prepared) -> list[str]:
        if self.args.emotions:
            return list(prepared.labels)
        from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT, MultimodalEmotionClassifier

        config = MultimodalEmotionClassifier.config_class.from_pretrained(self.args.model or SHIPPED_CHECKPOINT)
        return [config.id2label[i] for i in range(config.num_labels)]

    def _class_weights(self, prepared: Prepared) -> list[float] | None:
        """Inverse to how often a class occurs, mean 1 over the clips."""
        if self.args.class_weights == "none":
            return None
        targets = Targets.of(prepared.train, prepared.labels, ()).classes.float()
        counts = (targets / targets.sum(1, keepdim=True).clamp_min(1)).sum(0).clamp_min(1)
        return [round(float(value), 6) for value in counts.sum() / (len(counts) * counts)]

    def _data(self, prepared: Prepared, model: Any) -> tuple[ClipData, list[ClipData]]:
        args = self.args
        augmenter = None
        if args.augmentation:
            augmenter = Augmenter(args.augmentation, seed=args.seed, noise_dir=args.noise_dir, room_dir=args.room_dir)
            if augmenter.has_features and model.processor.model_input_names[0] != "input_features":
                raise InputError(
                    "augmentation", expected="waveform augmentations, for an encoder of waveforms", got="spec_augment",
                    remedy="use time_mask, or raise audio_mask_spans",
                )  # fmt: skip

        def of(clips: Sequence[Clip], training: bool) -> ClipData:
            labels = self._labels(prepared)
            targets = Targets.of(clips, labels, args.dimensions, soft=args.pair_mismatched > 0) if args.emotions else _no_classes(
                clips, labels, args.dimensions
            )  # fmt: skip
            return ClipData(
                list(clips), targets, model.processor, args, args.seed if args.augmentation_variants else self.seed, training,
                prepared.use_audio, prepared.use_text, augmenter if training else None,
            )  # fmt: skip

        return of(prepared.train, True), [of(prepared.validation, False), of(prepared.test, False)]

    def _cached(self, model: Any, freezing: Freezing, train_data: ClipData, others: list[ClipData], began: float) -> None:
        """Fill the cache of each branch that stays as it is, where what it is given comes again."""
        args, accelerator = self.args, self.accelerator
        if not args.embedding_cache:
            return
        folder = args.cache_dir or str(self.folder / "embeddings")
        finite = bool(args.augmentation_variants)
        augmenter = train_data.augmenter
        extra = f"{accelerator.mixed_precision} {model.processor.feature_extractor.to_json_string()}"
        progress = _progress("cache", args.disable_tqdm or not accelerator.is_main_process)
        if train_data.use_audio and freezing.is_frozen("audio"):
            if augmenter is not None and (augmenter.has_features or (augmenter.has_waveform and not finite)):
                self.say("no embedding cache of the audio branch: clips sound different every epoch (augmentation_variants=4 keeps four)")
            else:
                encoder = model.model.audio_branch.encoder
                cache = EmbeddingCache(folder, branch=branch_fingerprint(encoder, extra), dtype=args.cache_dtype)
                for data in (train_data, *others):
                    data.audio_cache = cache
                    variants = range(args.augmentation_variants if data.training and finite else 1)
                    items = [(row, draw) for row, clip in enumerate(data.clips) if clip.row.path is not None for draw in variants]
                    seconds = [data.durations[row] for row, draw in items if data.audio_key(row, draw) not in cache]
                    layers, width = model.model.audio_branch.hidden_mean.shape
                    require_space(folder, estimated_bytes(int(51 * sum(seconds)), layers, width, args.cache_dtype))

                    def heard(versions: list[tuple[int, int]], data: ClipData = data) -> list[torch.Tensor]:
                        with accelerator.autocast():
                            return audio_states(model, data, versions, accelerator.device)

                    fill(
                        cache, items, lambda item, data=data: data.audio_key(*item), heard,
                        batch_size=args.per_device_eval_batch_size, length_of=lambda item, data=data: data.durations[item[0]],
                        process_index=accelerator.process_index, num_processes=accelerator.num_processes, on_progress=progress,
                    )  # fmt: skip
        if train_data.use_text and freezing.is_frozen("text"):
            if augmenter is not None and augmenter.has_text and not finite:
                self.say("no embedding cache of the text branch: texts read different every epoch")
            else:
                branch = branch_fingerprint(
                    model.model.text_branch.encoder, _layer_sum(model) + model.processor.tokenizer.__class__.__name__
                )
                cache = EmbeddingCache(folder, branch=branch, dtype=args.cache_dtype)
                for data in (train_data, *others):
                    data.text_cache = cache
                    texts = _texts(data, args.augmentation_variants if finite else 1)

                    def read(some: list[Any], data: ClipData = data) -> list[torch.Tensor]:
                        with accelerator.autocast():
                            return text_states(model, data, some, accelerator.device)

                    fill(
                        cache, texts, lambda item, data=data: data.text_key(*item), read, batch_size=args.per_device_eval_batch_size,
                        length_of=lambda item: float(len(item[1])), process_index=accelerator.process_index,
                        num_processes=accelerator.num_processes, on_progress=progress,
                    )  # fmt: skip
        accelerator.wait_for_everyone()

    def _planner(self, data: ClipData) -> BatchPlanner:
        args, processes = self.args, self.accelerator.num_processes
        passes = processes * args.gradient_accumulation_steps
        classes = data.targets.single if args.balanced_sampling else None
        if args.batch_seconds is not None:
            return BatchPlanner(data.durations, seconds=args.batch_seconds * passes, seed=self.seed, classes=classes)
        return BatchPlanner(data.durations, rows=args.per_device_train_batch_size * passes, seed=self.seed, classes=classes)

    @torch.no_grad()
    def _evaluate(self, model: Any, data: ClipData) -> tuple[dict[str, float], np.ndarray, dict[str, np.ndarray]]:
        """Figures, probabilities (N, C) and dimensions; every process takes every n-th batch."""
        from accelerate.utils import gather_object

        accelerator, size = self.accelerator, self.args.per_device_eval_batch_size
        order = sorted(range(len(data)), key=lambda i: (data.durations[i], i))
        batches = [order[at : at + size] for at in range(0, len(order), size)][accelerator.process_index :: accelerator.num_processes]
        bare = accelerator.unwrap_model(model, keep_torch_compile=False)
        bare.eval()
        found: list[Any] = []
        for rows in batches:
            batch = {name: value.to(accelerator.device) for name, value in data.batch(rows).items()}
            with accelerator.autocast():
                output = bare(**batch)
            weight = _weight(data, rows, bare.config.class_weights)
            dimensions = None if output.dimensions is None else output.dimensions.float().cpu()
            probabilities = output.logits.float().softmax(-1).cpu()
            loss = 0.0 if output.loss is None else float(output.loss) * weight
            found += [(row, probabilities[i], None if dimensions is None else dimensions[i]) for i, row in enumerate(rows)]
            found.append((-1, loss, weight))
        found = gather_object(found)
        losses = [item for item in found if item[0] < 0]
        ordered = sorted((item for item in found if item[0] >= 0), key=lambda item: item[0])
        probabilities = np.stack([item[1].numpy() for item in ordered])
        regressed = {
            name: np.array([float(item[2][k]) for item in ordered]) for k, name in enumerate(self.args.dimensions)
        }  # fmt: skip
        figures: dict[str, float] = {"loss": sum(i[1] for i in losses) / max(sum(i[2] for i in losses), 1e-12)}
        if self.args.emotions:
            references, predictions = _references(data.targets.classes, probabilities)
            figures |= scores(references, predictions, probabilities.shape[1])
        if regressed:
            annotated = {name: data.targets.dimensions[:, k].numpy() for k, name in enumerate(regressed)}
            known = {name: ~np.isnan(values) for name, values in annotated.items()}
            each = {
                f"ccc_{name}": concordance_correlation(regressed[name][known[name]], annotated[name][known[name]])
                for name in regressed if known[name].sum() > 1
            }  # fmt: skip
            figures |= each | {"ccc": float(np.mean(list(each.values()))) if each else 0.0}
        return figures, probabilities, regressed

    def _save(self, model: Any, folder: Path, trained: dict[str, Any]) -> None:
        """The model as an ordinary checkpoint; where there are adapters, they are merged into it and lie beside it."""
        folder.mkdir(parents=True)
        whole = merged(model) if self.args.lora_rank else model
        whole.save_pretrained(folder)
        if self.args.lora_rank:
            (folder / "adapter").mkdir()
            save_adapter(model, str(folder / "adapter"), trained, self.args, self.args.model or self.args.audio_model)

    def _finish(
        self, prepared: Prepared, model: Any, data: ClipData, others: list[ClipData], counts: dict, progress: Any, seconds: float
    ) -> TrainingResult:
        from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

        args, accelerator, folder = self.args, self.accelerator, self.folder
        accelerator.wait_for_everyone()
        best = MultimodalEmotionClassifier.from_pretrained(folder / "best", whisper=None).to(accelerator.device)
        figures: list[dict[str, float]] = []
        for name, part in zip(("validation", "test"), others, strict=True):
            if not len(part):
                figures.append({})
                continue
            result, probabilities, regressed = self._evaluate(best, part)
            figures.append(result)
            if accelerator.is_main_process:
                write_predictions(folder / f"{name}_predictions.csv", part.clips, best.labels, probabilities, regressed or None)
        best_epoch = None if progress.best_epoch is None or not args.save_best_model else progress.best_epoch + 1
        if accelerator.is_main_process:
            if args.report_to or progress.history:
                self._draw(progress.history)
            summary = {
                "validation": figures[0], "test": figures[1], "best_epoch": best_epoch, "epochs": progress.epoch, "steps": progress.step,
                "stopped": progress.stopped, "parameters": counts, "seconds": round(seconds, 1), "protocol": prepared.protocol,
                "seed": self.seed, "data_hash": self.data_hash, "environment": environment(),
            }  # fmt: skip
            write_json(folder / "scores.json", summary)
            if args.cache_dir is None:
                shutil.rmtree(folder / "embeddings", ignore_errors=True)
        if accelerator.trackers:
            accelerator.end_training()
        accelerator.wait_for_everyone()
        for name, result in zip(("validation", "test"), figures, strict=True):
            if result:
                shown = [
                    f"{k} {v:.3f}" if k in ("loss", "ccc") else f"{k} {100 * v:.1f}"
                    for k, v in result.items()
                    if "_" not in k or k == "macro_f1"
                ]
                self.say(f"{name}: {', '.join(shown)}")
        self.say(f"done in {seconds / 60:.1f} min; the model: {folder / 'best'} (multimodal-ser predict --model {folder / 'best'} FILE)")
        return TrainingResult(folder / "best", figures[0], figures[1], best_epoch)

    def _draw(self, history: list[dict[str, Any]]) -> None:
        try:
            plot_curves(history, self.folder / "curves.png")
        except ImportError:
            self.say('no curves.png: matplotlib is not installed (pip install "multimodal_ser[train]")')

    def _claim_folder(self, resume_or_start: bool) -> None:
        """A folder holds one run: go on with it only if that was asked for, and only with the options it began with."""
        stored = self.folder / "arguments.yaml"
        if stored.exists():
            if not self.args.resume_from_checkpoint:
                raise InputError(
                    "output_dir", expected="a folder without a run", got=f"{self.folder}, which holds one",
                    remedy="add --resume-from-checkpoint to go on with it, or name another",
                )  # fmt: skip
            before = read_yaml(stored)
            now = dataclasses.asdict(self.args)
            changed = [name for name in now if name not in NOT_COMPARED and before.get(name, now[name]) != now[name]]
            if changed:
                got = ", ".join(f"{name} {now[name]!r} instead of {before[name]!r}" for name in changed[:4])
                raise InputError(
                    "resume_from_checkpoint", expected="the options that the run began with", got=got,
                    remedy="give the same, or another output_dir",
                )  # fmt: skip
        elif self.args.resume_from_checkpoint and not resume_or_start and (self.folder / "checkpoints").exists():
            raise InputError(
                str(self.folder), expected="arguments.yaml beside the checkpoints", got="none", remedy="name another output_dir"
            )
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not stored.exists():
                unfinished = stored.with_suffix(".unfinished")
                self.args.to_yaml(unfinished)
                os.replace(unfinished, stored)
        self.accelerator.wait_for_everyone()

    def _write_beginnings(self, prepared: Prepared) -> None:
        self.data_hash = data_hash([*prepared.train, *prepared.validation, *prepared.test])
        path = self.folder / "data.json"
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))["data_hash"]
            if before != self.data_hash:
                raise InputError(
                    "data", expected="what the run began with", got="other recordings or annotations",
                    remedy="bring them back, or begin anew in another output_dir",
                )  # fmt: skip
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        parts = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
        about: dict[str, Any] = {
            "data_hash": self.data_hash, "protocol": prepared.protocol, "labels": list(prepared.labels), "notes": list(prepared.notes)
        }  # fmt: skip
        for name, clips in parts.items():
            about[name] = {
                "clips": len(clips), "minutes": round(sum(clip.duration for clip in clips) / 60, 2),
                "speakers": sorted({clip.row.speaker for clip in clips if clip.row.speaker}),
            }  # fmt: skip
        write_json(path, about)
        write_json(self.folder / "environment.json", environment() | self._device())
        if prepared.errors:
            (self.folder / "errors.txt").write_text("".join(f"{error}\n" for error in prepared.errors), encoding="utf-8")

    def _device(self) -> dict[str, Any]:
        accelerator = self.accelerator
        device = str(accelerator.device)
        name = torch.cuda.get_device_name() if accelerator.device.type == "cuda" else None
        return {
            "device": device,
            "device_name": name,
            "processes": accelerator.num_processes,
            "mixed_precision": accelerator.mixed_precision,
        }

    def _start_trackers(self) -> None:
        if self.accelerator.log_with:
            config = {k: v if isinstance(v, int | float | str | bool) else json.dumps(v) for k, v in dataclasses.asdict(self.args).items()}
            self.accelerator.init_trackers(self.args.run_name or self.folder.name, {k: v for k, v in config.items() if v is not None})


@dataclass
class _Source:
    """Clips as the loop takes them."""

    data: ClipData
    planner: BatchPlanner
    class_weights: list[float] | None = None

    def plan(self, epoch: int) -> list[list[int]]:
        return self.planner.epoch(epoch)

    def batch(self, rows: Sequence[int], epoch: int) -> dict[str, torch.Tensor]:
        return self.data.batch(rows, epoch)

    def weight(self, rows: Sequence[int]) -> float:
        return _weight(self.data, rows, self.class_weights)


def _weight(data: ClipData, rows: Sequence[int], class_weights: Sequence[float] | None) -> float:
    """What `emotion_loss` divides the sum over these rows by; where nothing but dimensions is annotated, their number."""
    classes = data.targets.classes[list(rows)]
    weights = torch.ones(classes.shape[1]) if class_weights is None else torch.tensor(list(class_weights))
    if classes.dtype == torch.bool:
        each = (classes * weights).sum(1) / classes.sum(1).clamp_min(1)
    else:
        each = (classes * weights).sum(1)
    total = float(each.sum())
    return total if total > 0 else float(len(rows))


def _references(classes: torch.Tensor, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class indices for the figures: where several are admitted, the predicted one if it is among them; of votes the most frequent."""
    predictions = probabilities.argmax(1)
    references = classes.float().argmax(1).numpy()
    if classes.dtype == torch.bool:
        admitted = classes.numpy()[np.arange(len(predictions)), predictions]
        references = np.where(admitted, predictions, references)
    known = classes.float().sum(1).numpy() > 0
    return references[known], predictions[known]


def _no_classes(clips: Sequence[Clip], labels: Sequence[str], dimensions: Sequence[str]) -> Targets:
    numbers = Targets.of(
        [dataclasses.replace(c, row=dataclasses.replace(c.row, emotion=None, votes=None)) for c in clips], labels, dimensions
    )
    return numbers


def _texts(data: ClipData, variants: int) -> list[tuple[tuple[str, ...], str]]:
    """Every text with its context, in every version that it is read in."""
    found: dict[tuple[tuple[str, ...], str], None] = {}
    for clip in data.clips:
        for draw in range(variants if data.training else 1):
            text = clip.row.text
            if text and draw and data.augmenter is not None and data.augmenter.has_text:
                text = data.augmenter.text(text, draw=draw, clip=clip.row.name)
            if text:
                found[clip.context, text] = None
    return list(found)


def _layer_sum(model: Any) -> str:
    return ",".join(f"{value:.9g}" for value in model.model.text_branch.layer_weights.tolist())


def _progress(what: str, hidden: bool) -> Any:
    from tqdm import tqdm

    bar: Any = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None or bar.total != total:
            bar = tqdm(total=total, desc=what, disable=hidden or not total, dynamic_ncols=True, mininterval=1.0, leave=False)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show


def _seed_everything(seed: int) -> None:
    from accelerate.utils import set_seed

    set_seed(seed)


def _accelerator(args: TrainingArguments, folder: Path) -> Any:
    from accelerate import Accelerator
    from accelerate.utils import (
        DistributedDataParallelKwargs,
        ProjectConfiguration,
        is_mlflow_available,
        is_tensorboard_available,
        is_wandb_available,
    )

    os.environ.setdefault("WANDB_MODE", "offline")  # nothing is sent anywhere unasked
    os.environ.setdefault("MLFLOW_TRACKING_URI", (folder / "mlruns").absolute().as_uri())
    there = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available, "mlflow": is_mlflow_available}
    trackers = [name for name in args.report_to if there[name]()]
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else None  # None: what `accelerate launch` was told
    accelerator = Accelerator(
        mixed_precision=precision, cpu=args.use_cpu, log_with=trackers or None,
        project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "tracking")),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # a batch may lack a modality
    )  # fmt: skip
    missing = [name for name in args.report_to if name not in trackers]
    if missing and accelerator.is_main_process:
        print(
            f'multimodal-ser: {", ".join(missing)} is not installed: no tracking there (pip install "multimodal_ser[train]")',
            file=sys.stderr,
        )
    return accelerator
