"""`train`: a training run from the data to the evaluated model, with the folder of its results."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from multimodal_ser._files import recover_folder, replace_folder, write_json, write_text
from multimodal_ser._progress import ProgressBar, say
from multimodal_ser.corpora.clips import Clip
from multimodal_ser.corpora.targets import Targets, row_language
from multimodal_ser.errors import InputError
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.training.augmentation import Augmenter
from multimodal_ser.training.batching import BatchPlanner
from multimodal_ser.training.cache import EmbeddingCache
from multimodal_ser.training.caching import cache_audio, cache_text
from multimodal_ser.training.card import final_facts, starting_facts
from multimodal_ser.training.data import ClipData
from multimodal_ser.training.initialization import (
    build_model,
    measure_statistics,
    needs_statistics,
    starting_config,
    usual_rate,
)
from multimodal_ser.training.loop import Loop, Progress
from multimodal_ser.training.parameters import Freezing, add_adapters, merged, parameter_groups, part_of, save_adapter
from multimodal_ser.training.preparation import Prepared, prepare_data
from multimodal_ser.training.run_folder import (
    data_hash,
    environment,
    make_folder,
    plot_curves,
    refuse_other_data,
    refuse_other_run,
    shown_figures,
    write_arguments,
    write_predictions,
)
from multimodal_ser.training.scoring import evaluate, weight_of
from multimodal_ser.training.speaker_augmentation import Voices
from multimodal_ser.training.tracking import installed, tracking


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training run.

    Args:
        model: folder of the best model, for `MultimodalEmotionClassifier.from_pretrained`; of several seeds that of the
            seed with the best validation metric.
        validation: metrics by name ("loss", "ua", ...; shares from 0 to 1) on the validation rows; empty if there are
            none. Of several seeds the means.
        test: the same for the test rows.
        best_epoch: number of the chosen epoch, from 1; None: the last epoch, without selection.
        runs: the result of each seed, if there are several.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.training import TrainingResult
        >>> result = TrainingResult(Path("run/best"), validation={"ua": 0.75}, test={}, best_epoch=7)
        >>> f"epoch {result.best_epoch}: UA {100 * result.validation['ua']:.1f}"
        'epoch 7: UA 75.0'
    """

    model: Path
    validation: dict[str, float]
    test: dict[str, float]
    best_epoch: int | None
    runs: tuple[TrainingResult, ...] = ()


def train(args: TrainingArguments, *, on_epoch: Callable[[dict[str, Any]], None] | None = None) -> TrainingResult:
    """Train a model with the options `args`, and write it with its log and predictions into `args.output_dir`.

    With several seeds, each has a folder of its own in it (`seed-1`, ...). All seeds learn from the same rows, which
    `args.seed` divides.

    Args:
        args: data, model and options.
        on_epoch: called after each epoch with its record in `log.jsonl` ("epoch" counts from 0; "ua", "loss" and other
            metrics are of validation), on every process. An exception that it raises ends the run.

    Returns:
        The folder of the best model and its metrics; with `seeds`, their means.

    Raises:
        InputError: data, checkpoint or options cannot be used; with the remedy.

    Example:
        >>> from multimodal_ser.training import TrainingArguments, train
        >>> train(TrainingArguments(data=["no/such/folder"], output_dir="run"))  # a folder with a folder per emotion
        Traceback (most recent call last):
        ...
        multimodal_ser.errors.InputError: no/such/folder: expected a manifest or a folder of recordings, got no such file; check the path
    """
    folder = Path(args.output_dir)
    if not args.seeds:
        return _Run(args, folder, args.seed, on_epoch=on_epoch).result()
    refuse_other_run(folder, args)
    cache = Path(args.cache_dir or folder / "embeddings")
    results: list[TrainingResult] = []
    prepared = None
    for number, seed in enumerate(args.seeds, 1):
        run = _Run(
            replace(args, seeds=[seed]),
            folder / f"seed-{seed}",
            seed,
            cache,
            prepared,
            lambda: write_arguments(folder, args),
            on_epoch,
        )
        run.say(f"seed {seed} ({number} of {len(args.seeds)})")
        results.append(run.result())
        prepared = run.prepared
    parts = {
        part: {name: [getattr(r, part)[name] for r in results] for name in getattr(results[0], part)}
        for part in ("validation", "test")
    }
    means = {part: {name: float(np.mean(values)) for name, values in table.items()} for part, table in parts.items()}
    worst = float("-inf") if args.greater_is_better else float("inf")
    figures = [result.validation.get(args.metric, worst) for result in results]
    best = figures.index(max(figures) if args.greater_is_better else min(figures))
    if run.accelerator.is_main_process:
        spread = {
            part: {name: float(np.std(values, ddof=1)) for name, values in table.items() if len(values) > 1}
            for part, table in parts.items()
        }
        summary = {
            "seeds": args.seeds,
            "mean": means,
            "standard_deviation": spread,
            "each": parts,
            "best_seed": args.seeds[best],
        }
        write_json(folder / "scores.json", summary)
        if args.cache_dir is None:
            EmbeddingCache.clear(cache)
    for part, table in means.items():
        if table:
            run.say(f"{part}, mean of {len(results)} seeds: {shown_figures(table)}")
    return TrainingResult(
        results[best].model, means["validation"], means["test"], results[best].best_epoch, tuple(results)
    )


@dataclass
class _Setup:
    """Model and data of a run, ready for training.

    Args:
        args: the options, with the learning rate that is used.
        prepared: the rows.
        model: the model, on the device.
        freezing: its frozen parts.
        train, validation, test: batches of the rows.
        trained: the weights that learn, by name.
    """

    args: TrainingArguments
    prepared: Prepared
    model: Any
    freezing: Freezing
    train: ClipData
    validation: ClipData
    test: ClipData
    trained: dict[str, torch.nn.Parameter] = dataclasses.field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return numbers of parameters: "trained", "all", and "adapters" of those trained."""
        return {
            "trained": sum(weight.numel() for weight in self.trained.values()),
            "all": sum(weight.numel() for weight in self.model.parameters()),
            "adapters": sum(weight.numel() for name, weight in self.trained.items() if ".lora_" in name),
        }


class _Run:
    """One run with one seed: it prepares the data, sets up the model, fills the caches, trains, and evaluates the best
    model.

    Args:
        args: the options.
        folder: folder of the run.
        seed: seed of the order of rows, the head's initial weights and dropout; `args.seed` divides the data.
        cache: folder of an embedding cache that other runs use too; None: `args.cache_dir`, or one in the run folder.
        prepared: the data, if another run has prepared it; None: it is prepared here.
        on_start: called by the main process after it has written the run's options.
        on_epoch: called after each epoch with its record.
    """

    def __init__(
        self,
        args: TrainingArguments,
        folder: Path,
        seed: int,
        cache: Path | None = None,
        prepared: Prepared | None = None,
        on_start: Callable[[], None] = lambda: None,
        on_epoch: Callable[[dict[str, Any]], None] | None = None,
    ):
        self.args = args
        self.folder = folder
        self.seed = seed
        self.prepared = prepared
        self.on_start = on_start
        self.on_epoch = on_epoch
        self.cache = cache or Path(args.cache_dir or folder / "embeddings")
        self.keeps_cache = cache is not None or args.cache_dir is not None
        self.accelerator = _accelerator(args, folder)
        self._clock: tuple[float, int] | None = None
        refuse_other_run(folder, args)
        self.accelerator.wait_for_everyone()

    def say(self, message: str) -> None:
        """Write a message to stderr, from the main process alone."""
        if self.accelerator.is_main_process:
            say(message)

    def _bar(self, what: str) -> ProgressBar:
        hidden = self.args.disable_tqdm or not self.accelerator.is_main_process
        return ProgressBar(what, shown=False if hidden else None)

    def result(self) -> TrainingResult:
        """Run all steps, from the data to the evaluation of the best model; a finished run gives its stored result."""
        start_time = time.monotonic()
        config = starting_config(self.args)
        augmenter = self._augmenter()
        prepared = self.prepared = self.prepared or self._prepare(self._languages(config))
        self.data_hash = data_hash([*prepared.train, *prepared.validation, *prepared.test])
        refuse_other_data(self.folder, self.data_hash)
        if (self.folder / "arguments.yaml").exists() and (self.folder / "scores.json").exists():
            return self._stored_result()
        setup = self._set_up(prepared, config, augmenter)
        self._fill_caches(setup)
        progress = self._fit(setup)
        return self._finish(setup, progress, start_time)

    def _languages(self, config: Any) -> Sequence[str] | None:
        """Return the languages that the text branch reads; None: any, since it is trained or replaced."""
        args = self.args
        is_trained = (
            "text" not in args.freeze
            or args.unfreeze_epoch is not None
            or (args.lora_rank and args.lora_branches != "audio")
        )
        return None if args.text_model or is_trained else config.text_languages

    def _set_up(self, prepared: Prepared, config: Any, augmenter: Augmenter | None) -> _Setup:
        """Build the model, freeze its parts, and make batches of the data."""
        labels = list(prepared.labels) if self.args.emotions else [config.id2label[i] for i in range(config.num_labels)]
        args = replace(self.args, learning_rate=usual_rate(self.args, config, labels))
        _seed_everything(self.seed)
        model = build_model(args, labels, self._class_weights(prepared), self.say)
        self._describe(model, prepared)
        if args.lora_rank:
            add_adapters(model, self._for_adapters(prepared))
        freezing = Freezing(model, args)
        freezing.apply(0)
        if args.gradient_checkpointing:
            # transformers 5.23 has a new name for it and warns of the old one
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        model.to(self.accelerator.device)
        train, validation, test = self._data(prepared, model, labels, augmenter)
        return _Setup(args, prepared, model, freezing, train, validation, test)

    def _fill_caches(self, setup: _Setup) -> None:
        """Store the output of frozen branches, and measure what depends on it."""
        args, model, prepared = setup.args, setup.model, setup.prepared
        if args.embedding_cache:
            parts = [setup.train, setup.validation]
            if prepared.use_audio and setup.freezing.is_frozen("audio"):
                cache_audio(model, parts, self.cache, self.accelerator, self.say)
            if prepared.use_text and setup.freezing.is_frozen("text"):
                cache_text(model, parts, self.cache, self.accelerator, self.say)
            self.accelerator.wait_for_everyone()
        if args.voice_shift or args.speaker_mean_share:
            setup.train.voices = Voices(setup.train)
        if prepared.use_audio and needs_statistics(model):
            measure_statistics(model, setup.train, self.accelerator.device)

    def _fit(self, setup: _Setup) -> Progress:
        """Train the model; the best one is saved in the folder `best`."""
        args, accelerator, folder, model = setup.args, self.accelerator, self.folder, setup.model
        setup.trained = trained = self._trained(setup.freezing, setup.prepared)
        model.card_facts = self.facts = starting_facts(args, model, setup.prepared, trained, accelerator, self.seed)

        def keep() -> None:
            if accelerator.is_main_process:
                replace_folder(folder / "best", lambda new: self._save(model, new, trained))
            accelerator.wait_for_everyone()

        def begin_epoch(epoch: int) -> None:
            setup.freezing.apply(epoch)
            self._say_time_left(loop, epoch)

        def score(epoch: int) -> dict[str, float]:
            return evaluate(loop.model, setup.validation, accelerator, self._bar("validation"))[0]

        loop = Loop(
            model, _Source(setup.train, self._planner(setup.train), model.config.class_weights), args, accelerator, folder,
            parameter_groups(model, trained, args), seed=self.seed, begin_epoch=begin_epoch,
            evaluate=score if len(setup.validation) else None, keep=keep, averaged=trained, say=self.say, on_epoch=self.on_epoch,
        )  # fmt: skip
        counts = setup.counts()
        size = f"{counts['trained'] / 1e6:.2f} M of {counts['all'] / 1e6:.2f} M parameters"
        epochs = f"{args.num_train_epochs} epoch{'s' * (args.num_train_epochs > 1)}, " if args.max_steps < 0 else ""
        self.say(f"{size} are trained, {epochs}{loop.total_steps} steps, on {accelerator.device.type}")
        self._begin(setup.prepared)
        options = {name: value for name, value in dataclasses.asdict(self.args).items() if value is not None}
        plain = {
            name: value if isinstance(value, int | float | str | bool) else json.dumps(value)
            for name, value in options.items()
        }
        try:
            with tracking(accelerator, folder, args.run_name or folder.name, plain):
                progress = loop.run()
        except KeyboardInterrupt:
            self.say("stopped; the same command with --resume-from-checkpoint goes on from the last checkpoint")
            raise
        if progress.stopped:
            self.say(f"stopped early: {progress.stopped}")
        return progress

    def _prepare(self, languages: Sequence[str] | None) -> Prepared:
        errors: list[InputError] = []
        try:
            return prepare_data(self.args, self.say, self._bar("recordings"), errors, languages)
        finally:
            if errors and self.accelerator.is_main_process:
                make_folder(self.folder)
                lines = "".join(f"{error}\n" for error in errors)
                write_text(self.folder / "errors.txt", lines, errors="backslashreplace")

    def _augmenter(self) -> Augmenter | None:
        args = self.args
        if not args.augmentation:
            return None
        # Versions in the cache are the same for all seeds.
        seed = args.seed if args.augmentation_variants else self.seed
        return Augmenter(args.augmentation, seed=seed, noise_dir=args.noise_dir, room_dir=args.room_dir)

    def _class_weights(self, prepared: Prepared) -> list[float] | None:
        """Return weights that are inverse to the frequency of each class, with mean 1 over the
        clips; None: no weights.
        """
        if self.args.class_weights == "none":
            return None
        targets = Targets.of(prepared.train, prepared.labels, ()).classes.float()
        counts = (targets / targets.sum(1, keepdim=True).clamp_min(1)).sum(0).clamp_min(1)
        return [round(float(value), 6) for value in counts.sum() / (len(counts) * counts)]

    def _describe(self, model: Any, prepared: Prepared) -> None:
        """Write facts about the training data into the model's configuration: modalities, transcriber, languages."""
        config = model.config
        config.trained_modalities = [
            name for name, used in (("audio", prepared.use_audio), ("text", prepared.use_text)) if used
        ]
        if prepared.transcriber is not None:
            config.transcriber = prepared.transcriber
        if prepared.use_text and config.text_languages is not None:
            languages = {clip.row.language for clip in prepared.train if clip.row.text and clip.row.language}
            new = sorted({row_language(name) or name for name in languages} - set(config.text_languages))
            if new:  # only a text branch that is trained gets texts in new languages
                config.text_languages = [*config.text_languages, *new]

    def _for_adapters(self, prepared: Prepared) -> TrainingArguments:
        """Return the options with adapters in those branches alone that get data."""
        used: Literal["both", "audio", "text"] = (
            "text" if not prepared.use_audio else "both" if prepared.use_text else "audio"
        )
        if self.args.lora_branches == "both" or used in ("both", self.args.lora_branches):
            return (
                self.args
                if used == "both" or self.args.lora_branches != "both"
                else replace(self.args, lora_branches=used)
            )
        got = f"{self.args.lora_branches}, of which the data has nothing"
        raise InputError("lora_branches", expected="a branch that is learned from", got=got, remedy=f"set it to {used}")

    def _trained(self, freezing: Freezing, prepared: Prepared) -> dict[str, torch.nn.Parameter]:
        """Return the weights that learn, by name, without those of an encoder that gets no data."""
        idle = {name for name, used in (("audio", prepared.use_audio), ("text", prepared.use_text)) if not used}
        trained = {name: weight for name, weight in freezing.ever_trained().items() if part_of(name) not in idle}
        if not trained:
            got = f"everything frozen but {' and '.join(sorted(idle))}, of which the data has nothing"
            raise InputError(
                "freeze", expected="something left to train", got=got, remedy="leave another part out of freeze"
            )
        return trained

    def _data(self, prepared: Prepared, model: Any, labels: list[str], augmenter: Augmenter | None) -> list[ClipData]:
        args = self.args
        if (
            augmenter is not None
            and augmenter.has_features
            and model.processor.model_input_names[0] != "input_features"
        ):
            raise InputError(
                "augmentation", expected="waveform augmentations, for an encoder of waveforms", got="spec_augment",
                remedy="use time_mask, or raise audio_mask_spans",
            )  # fmt: skip

        if augmenter is not None and augmenter.has_text and not prepared.use_text:
            self.say("augmentation 'words' does nothing: no words are learned from")
        if augmenter is not None and augmenter.has_waveform and not prepared.use_audio:
            self.say(f"augmentation {', '.join(augmenter.waveform_names)} does nothing: no recordings are learned from")

        def batches_of(clips: Sequence[Clip], training: bool) -> ClipData:
            if not args.emotions:
                clips = [replace(clip, row=replace(clip.row, emotion=None, votes=None)) for clip in clips]
            targets = Targets.of(clips, labels, args.dimensions, soft=args.pair_mismatched > 0)
            seed = args.seed if args.augmentation_variants else self.seed
            return ClipData(
                list(clips), targets, model.processor, args, seed, training, prepared.use_audio, prepared.use_text,
                augmenter if training else None,
            )  # fmt: skip

        return [
            batches_of(prepared.train, True),
            batches_of(prepared.validation, False),
            batches_of(prepared.test, False),
        ]

    def _planner(self, data: ClipData) -> BatchPlanner:
        args, processes = self.args, self.accelerator.num_processes
        passes = processes * args.gradient_accumulation_steps
        classes = data.targets.single if args.balanced_sampling else None
        if args.batch_seconds is not None:
            return BatchPlanner(data.durations, seconds=args.batch_seconds * passes, seed=self.seed, classes=classes)
        return BatchPlanner(
            data.durations, rows=args.per_device_train_batch_size * passes, seed=self.seed, classes=classes
        )

    def _say_time_left(self, loop: Loop, epoch: int) -> None:
        """Say how long the rest will take, after the first epoch and after the first with more trained weights."""
        now, step = time.monotonic(), loop.progress.step
        if self._clock is None or epoch == self.args.unfreeze_epoch:
            self._clock = now, step
        elif self._clock[1] >= 0:
            start, first_step = self._clock
            self._clock = start, -1
            left = (now - start) * (loop.total_steps - step) / max(step - first_step, 1)
            sooner = "; early stopping may end it sooner" if self.args.early_stopping_patience else ""
            longer = "; longer when more is trained" if epoch <= (self.args.unfreeze_epoch or 0) else ""
            self.say(f"about {_duration(left)} left{longer}{sooner}")

    def _save(self, model: Any, folder: Path, trained: dict[str, Any]) -> None:
        """Save the model as an ordinary checkpoint, with adapters merged into it and saved in `adapter` too."""
        folder.mkdir(parents=True)
        whole = merged(model) if self.args.lora_rank else model
        whole.save_pretrained(folder)
        if self.args.lora_rank:
            (folder / "adapter").mkdir()
            save_adapter(model, str(folder / "adapter"), trained, self.args, self.args.model)

    def _begin(self, prepared: Prepared) -> None:
        """Write the data's description, the environment and the options; from now on the folder holds a run."""
        accelerator, folder = self.accelerator, self.folder
        if accelerator.is_main_process:
            make_folder(folder)
            recover_folder(folder / "best")
            description: dict[str, Any] = {
                "data_hash": self.data_hash, "protocol": prepared.protocol, "labels": list(prepared.labels), "notes": list(prepared.notes)
            }  # fmt: skip
            for name, clips in (
                ("train", prepared.train),
                ("validation", prepared.validation),
                ("test", prepared.test),
            ):
                description[name] = {
                    "clips": len(clips), "minutes": round(sum(clip.duration for clip in clips) / 60, 2),
                    "speakers": sorted({clip.row.speaker for clip in clips if clip.row.speaker}),
                }  # fmt: skip
            device = {
                "device": str(accelerator.device), "processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision,
                "device_name": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else None,
            }  # fmt: skip
            write_json(folder / "data.json", description)
            write_json(folder / "environment.json", environment() | device)
            write_arguments(folder, self.args)
            self.on_start()
        accelerator.wait_for_everyone()

    def _finish(self, setup: _Setup, progress: Progress, start_time: float) -> TrainingResult:
        """Evaluate the best model without caches, whose half precision changes the figures a little."""
        from multimodal_ser.hub.model_card import save_model_card
        from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

        args, accelerator, folder, prepared = self.args, self.accelerator, self.folder, setup.prepared
        accelerator.wait_for_everyone()
        best = MultimodalEmotionClassifier.from_pretrained(folder / "best", whisper=None).to(accelerator.device)
        best_epoch = None if progress.best_epoch is None or not args.save_best_model else progress.best_epoch + 1
        figures: dict[str, dict[str, float]] = {}
        for name, data in (("validation", setup.validation), ("test", setup.test)):
            figures[name] = {}
            if len(data):
                uncached = replace(data, audio_cache=None, text_cache=None)
                figures[name], probabilities, regressed = evaluate(best, uncached, accelerator, self._bar(name))
                chosen = f", epoch {best_epoch}" if best_epoch else ""
                self.say(f"{name} ({len(data)} clips{chosen}): {shown_figures(figures[name])}")
                if accelerator.is_main_process:
                    write_predictions(
                        folder / f"{name}_predictions.csv", data.clips, best.labels, probabilities, regressed or None
                    )
        seconds = time.monotonic() - start_time
        if accelerator.is_main_process:
            self._draw(progress.history)
            summary = {
                "validation": figures["validation"], "test": figures["test"], "best_epoch": best_epoch, "epochs": progress.epoch,
                "steps": progress.step, "stopped": progress.stopped, "parameters": setup.counts(), "seconds": round(seconds, 1),
                "protocol": prepared.protocol, "seed": self.seed, "data_hash": self.data_hash, "environment": environment(),
            }  # fmt: skip
            if not self.keeps_cache:
                EmbeddingCache.clear(self.cache)
            best.card_facts = self.facts
            save_model_card(best, folder / "best", final_facts(args, prepared, figures, progress, best_epoch, seconds))
            write_json(folder / "scores.json", summary)
        accelerator.wait_for_everyone()
        self.say(
            f"done in {_duration(seconds)}; the model: {folder / 'best'} (multimodal-ser predict --model {folder / 'best'} FILE)"
        )
        return TrainingResult(folder / "best", figures["validation"], figures["test"], best_epoch)

    def _stored_result(self) -> TrainingResult:
        """Return the result of a run that is finished."""
        scores = json.loads((self.folder / "scores.json").read_text(encoding="utf-8"))
        self.say(f"{self.folder} holds a run that is done; the model: {self.folder / 'best'}")
        return TrainingResult(self.folder / "best", scores["validation"], scores["test"], scores["best_epoch"])

    def _draw(self, history: list[dict[str, Any]]) -> None:
        try:
            plot_curves(history, self.folder / "curves.png")
        except ImportError:
            self.say('no curves.png: matplotlib is not installed (pip install "multimodal_ser[train]")')


@dataclass
class _Source:
    """The `Source` of a loop that trains on clips."""

    data: ClipData
    planner: BatchPlanner
    class_weights: list[float] | None = None

    def plan(self, epoch: int) -> list[list[int]]:
        return self.planner.epoch(epoch)

    def batch(self, rows: Sequence[int], epoch: int) -> dict[str, torch.Tensor]:
        return self.data.batch(rows, epoch)

    def weight(self, rows: Sequence[int]) -> float:
        return weight_of(self.data, rows, self.class_weights)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _seed_everything(seed: int) -> None:
    from accelerate.utils import set_seed

    set_seed(seed)


def _accelerator(args: TrainingArguments, folder: Path) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration

    trackers = installed(args.report_to)
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else None  # None: the precision of `accelerate launch`
    expected = precision or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != expected:
        AcceleratorState._reset_state()  # an earlier run in this process had another precision
    try:
        accelerator = Accelerator(
            mixed_precision=precision, cpu=args.use_cpu or not torch.accelerator.is_available(), log_with=trackers or None,
            project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "tracking")),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # a batch may lack a modality
        )  # fmt: skip
    except ValueError as error:
        what, got = precision or "accelerate", " ".join(str(error).split())
        raise InputError(
            what, expected="a device that can do this", got=got, remedy="leave it out, or use another device"
        ) from error
    if accelerator.distributed_type in ("FSDP", "DEEPSPEED"):
        raise InputError(
            "accelerate launch", expected="a whole model on every device", got=str(accelerator.distributed_type.value),
            remedy="leave the sharding out, or shard with transformers' Trainer (examples/train_with_trainer.py)",
        )  # fmt: skip
    missing = [name for name in args.report_to if name not in trackers]
    if missing and accelerator.is_main_process:
        say(f"{', '.join(missing)} not installed: no tracking there (pip install {' '.join(missing)})")
    return accelerator
