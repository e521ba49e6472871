"""The training loop, `Loop`: it runs on one process or many with Accelerate, and resumes from a checkpoint exactly.

All random numbers are a function of (seed, epoch, step, pass, process). A step learns from the same rows for any number
of processes and passes: the loss of each pass is weighted by its share of the step's annotations.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from multimodal_ser._files import put, write_text
from multimodal_ser._progress import ProgressBar
from multimodal_ser.errors import InputError
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.training.batching import divided
from multimodal_ser.training.parameters import MovingAverage
from multimodal_ser.training.run_folder import shown_figures
from multimodal_ser.training.tracking import tracked


class Source(Protocol):
    """Interface of the batches that a loop trains on."""

    def plan(self, epoch: int) -> list[list[int]]:
        """Return the steps of an epoch, each a list of rows; the result is the same on every process."""

    def batch(self, rows: Sequence[int], epoch: int) -> dict[str, torch.Tensor]:
        """Return the model's inputs for some rows; a function of its arguments alone."""

    def weight(self, rows: Sequence[int]) -> float:
        """Return the divisor of these rows' loss: their number, or the sum of their weights."""


@dataclass
class Progress:
    """State of a run, which is part of every checkpoint.

    Args:
        epoch: epoch of the next step; the first is 0.
        step: number of optimizer steps done.
        step_in_epoch: number of them in this epoch.
        losses: mean loss of each step of this epoch.
        best: validation metric of the best epoch, negated if lower is better; None: no epoch was evaluated.
        best_loss: validation loss of that epoch, which decides between epochs of the same metric.
        best_epoch: number of that epoch.
        waited: number of epochs since the metric last improved.
        history: one record per epoch: "epoch", "step", "train_loss", "seconds", "learning_rate", and the figures of
            validation.
        stopped: reason why the run ended before its last epoch; empty if it did not.
    """

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    losses: list[float] = field(default_factory=list)
    best: float | None = None
    best_loss: float = math.inf
    best_epoch: int | None = None
    waited: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""


class _Passes(Dataset):
    """Map from (epoch, rows) to a batch, for the workers of a DataLoader."""

    def __init__(self, source: Source):
        self.source = source

    def __getitem__(self, key: tuple[int, list[int]]) -> dict[str, torch.Tensor]:
        epoch, rows = key
        return self.source.batch(rows, epoch)


@dataclass
class Loop:
    """Trains a model whose `forward(**batch)` returns an output with a `loss`, the mean over the rows of the batch.

    Args:
        model: the model.
        source: its batches.
        args: the options of the run.
        accelerator: the Accelerator of this process.
        folder: folder for checkpoints and log.
        groups: parameter groups for AdamW.
        seed: seed of all random numbers.
        begin_epoch: called with the number of an epoch before its first step, to prepare the model for it.
        evaluate: called with the number of an epoch after it; returns figures by name, of which `args.metric` chooses
            the best epoch. None: no selection.
        keep: saves the model; called when the model is the best so far, or without selection at the end.
        averaged: weights, by name, that have a moving average.
        say: called with each message.
        on_epoch: called with the record of each epoch (see `Progress.history`) on every process, after its checkpoint;
            an exception that it raises ends the run.
        progress: state of the run, which a checkpoint replaces.

    Raises:
        InputError: the loss is not a finite number.
    """

    model: torch.nn.Module
    source: Source
    args: TrainingArguments
    accelerator: Any
    folder: Path
    groups: list[dict[str, Any]]
    seed: int = 0
    begin_epoch: Callable[[int], None] | None = None
    evaluate: Callable[[int], dict[str, float]] | None = None
    keep: Callable[[], None] | None = None
    averaged: dict[str, torch.nn.Parameter] = field(default_factory=dict)
    say: Callable[[str], None] = print
    on_epoch: Callable[[dict[str, Any]], None] | None = None
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        from transformers import get_scheduler

        args = self.args
        plans = [len(self.source.plan(epoch)) for epoch in range(args.num_train_epochs)]
        self.total_steps = sum(plans) if args.max_steps < 0 else min(sum(plans), args.max_steps)
        warmup = args.warmup_steps if args.warmup_steps >= 1 else args.warmup_steps * self.total_steps
        betas = (args.adam_beta1, args.adam_beta2)
        optimizer = torch.optim.AdamW(self.groups, betas=betas, eps=args.adam_epsilon, fused=True)
        self.scheduler = get_scheduler(args.lr_scheduler_type, optimizer, math.ceil(warmup), self.total_steps)
        self.bare = self.model
        if args.torch_compile:
            self.model.compile(backend=args.torch_compile_backend)
        weights = [(weight, weight.requires_grad) for group in self.groups for weight in group["params"]]
        # Processes average the gradients of those weights alone that require one while the model is prepared: weights
        # that are unfrozen later have to require one too.
        for weight, _ in weights:
            weight.requires_grad_(True)
        self.model, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        for weight, requires_grad in weights:
            weight.requires_grad_(requires_grad)
        self.average = MovingAverage(self.averaged, args.ema_decay) if args.ema_decay else None
        self.accelerator.register_for_checkpointing(self.scheduler)
        self.accelerator.register_save_state_pre_hook(self._save_weights)
        self.accelerator.register_load_state_pre_hook(self._load_weights)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, each named after its step."""
        return self.folder / "checkpoints"

    def run(self) -> Progress:
        """Train to the end, from the newest checkpoint if there is one."""
        self._resume()
        args = self.args
        progress = self.progress
        bar = self._bar()
        while progress.epoch < args.num_train_epochs and progress.step < self.total_steps and not progress.stopped:
            epoch = progress.epoch
            start_time = time.monotonic()
            first_step = progress.step_in_epoch
            if self.begin_epoch is not None:
                self.begin_epoch(epoch)
            self._epoch(epoch, bar)
            losses = progress.losses
            line: dict[str, Any] = {"epoch": epoch, "step": progress.step, "train_loss": float(np.mean(losses))}
            line["seconds"] = round(time.monotonic() - start_time, 3)
            progress.epoch = epoch + 1
            progress.step_in_epoch = 0
            progress.losses = []
            if self.evaluate is not None:
                line |= self._evaluate(epoch)
            line["learning_rate"] = self.scheduler.get_last_lr()[-1]
            progress.history.append(line)
            self._log(line | {"steps_in_epoch": len(losses) - first_step}, progress.step)
            if self.accelerator.is_main_process:
                self.say(_shown_epoch(line, args.num_train_epochs))
            self.save()
            if self.on_epoch is not None:
                self.on_epoch(dict(line))
        bar.close()
        if self.keep is not None and (self.evaluate is None or not args.save_best_model):
            self._keep_last()
        return progress

    def _epoch(self, epoch: int, bar: ProgressBar) -> None:
        args, accelerator, progress = self.args, self.accelerator, self.progress
        process, processes = accelerator.process_index, accelerator.num_processes
        steps = self.source.plan(epoch)[progress.step_in_epoch :][: self.total_steps - progress.step]
        passes = [divided(step, args.gradient_accumulation_steps, process, processes) for step in steps]
        # Every process has to take part in every pass: one without a row of its own takes another's, with weight 0.
        keys = [(epoch, rows or [step[0]]) for step, parts in zip(steps, passes, strict=True) for rows in parts]
        loader = iter(
            DataLoader(
                _Passes(self.source), batch_size=None, sampler=keys, num_workers=args.dataloader_num_workers,
                pin_memory=accelerator.device.type == "cuda",
            )
        )  # fmt: skip
        pending: list[torch.Tensor] = []
        for done, (step, parts) in enumerate(zip(steps, passes, strict=True), 1):
            step_weight = self.source.weight(step)
            loss_of_step = torch.zeros((), device=accelerator.device)
            for index, rows in enumerate(parts):
                batch = {name: value.to(accelerator.device, non_blocking=True) for name, value in next(loader).items()}
                share = self.source.weight(rows) / step_weight if rows and step_weight else 0.0
                _seed(self.seed, epoch, progress.step, index, process)
                batch |= self._mixup(batch)
                last = index == len(parts) - 1
                with torch.enable_grad(), accelerator.autocast(), _synchronized(accelerator, self.model, last):
                    loss = self.model(**batch).loss
                    accelerator.backward(loss * (share * processes))  # processes: gradients are averaged over them
                loss_of_step += loss.detach() * share
            if args.max_grad_norm:
                accelerator.clip_grad_norm_(self.model.parameters(), args.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.scheduler.step()
            progress.step += 1
            progress.step_in_epoch += 1
            if self.average is not None:
                self.average.update(progress.step)
            pending.append(loss_of_step)
            bar.update()
            # The checkpoint of an epoch's last step is written after the evaluation, which resuming would skip
            # otherwise.
            save_now = args.save_steps and progress.step % args.save_steps == 0 and done < len(steps)
            if progress.step % args.logging_steps == 0 or save_now:
                self._log_losses(pending, epoch, bar)
            if save_now:
                self.save()
        self._log_losses(pending, epoch, bar)

    def _log_losses(self, pending: list[torch.Tensor], epoch: int, bar: ProgressBar) -> None:
        """Sum the losses of the last steps over all processes, and log them."""
        if not pending:
            return
        losses = self.accelerator.reduce(torch.stack(pending), "sum").tolist()
        pending.clear()
        self.progress.losses += losses
        if not all(math.isfinite(loss) for loss in losses):
            raise InputError(
                "loss", expected="a finite number", got=f"{losses[-1]} about step {self.progress.step}",
                remedy="lower learning_rate, or use bf16 in place of fp16",
            )  # fmt: skip
        rate = self.scheduler.get_last_lr()[-1]
        for offset, loss in enumerate(losses):
            step = self.progress.step - len(losses) + 1 + offset
            if step % self.args.logging_steps == 0:
                self._log({"step": step, "epoch": epoch, "loss": loss, "learning_rate": rate}, step)
        bar.figures(loss=f"{losses[-1]:.3f}")

    def _evaluate(self, epoch: int) -> dict[str, float]:
        """Evaluate the model, save it if it is the best so far, and stop the run if it no longer improves."""
        args, progress = self.args, self.progress
        assert self.evaluate is not None
        if self.average is not None:
            self.average.swap()
        try:
            scores = self.evaluate(epoch)
            figure = scores[args.metric] * (1 if args.greater_is_better else -1)
            figure = -math.inf if math.isnan(figure) else figure  # any other figure is better
            loss = scores.get("loss", math.inf)
            better = progress.best is None or figure > progress.best
            # On few clips many epochs have the same figure: the loss decides between them.
            if better or (figure == progress.best and loss < progress.best_loss):
                progress.best = figure
                progress.best_loss = loss
                progress.best_epoch = epoch
                progress.waited = 0 if better else progress.waited + 1
                if args.save_best_model and self.keep is not None:
                    self.keep()
            else:
                progress.waited += 1
        finally:
            if self.average is not None:
                self.average.swap()
        if args.early_stopping_patience and progress.waited >= args.early_stopping_patience:
            progress.stopped = f"no better {args.metric} in {progress.waited} epochs"
        return scores

    def _keep_last(self) -> None:
        assert self.keep is not None
        if self.average is not None:
            self.average.swap()
        self.keep()
        if self.average is not None:
            self.average.swap()

    def _mixup(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Draw the partner of each row and its share, for mixup (https://arxiv.org/abs/1710.09412); empty if mixup is
        off.
        """
        if not self.args.mixup_alpha or "labels" not in batch:
            return {}
        rows = len(batch["labels"])
        device = batch["labels"].device
        alpha = torch.full((rows,), float(self.args.mixup_alpha))
        shares = torch.distributions.Beta(alpha, alpha).sample()
        return {
            "mixup_index": torch.randperm(rows).to(device),
            "mixup_share": torch.maximum(shares, 1 - shares).to(device),
        }

    def save(self) -> None:
        """Write a checkpoint, under another name until it is complete."""
        accelerator = self.accelerator
        finished = self.checkpoints / f"step-{self.progress.step:08d}"
        unfinished = finished.with_name(f"{finished.name}.unfinished")
        if accelerator.is_main_process:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(unfinished))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (unfinished / "progress.json").write_text(json.dumps(asdict(self.progress)), encoding="utf-8")
            shutil.rmtree(finished, ignore_errors=True)
            put(unfinished, finished)
            for old in _checkpoints(self.checkpoints)[: -self.args.save_total_limit]:
                shutil.rmtree(old, ignore_errors=True)
        accelerator.wait_for_everyone()

    def _resume(self) -> None:
        checkpoints = _checkpoints(self.checkpoints)
        if self.accelerator.is_main_process:
            for unfinished in self.checkpoints.glob("*.unfinished"):
                shutil.rmtree(unfinished, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        if not checkpoints:
            return
        newest = checkpoints[-1]
        self.accelerator.load_state(str(newest))
        self.progress = Progress(**json.loads((newest / "progress.json").read_text(encoding="utf-8")))
        if self.accelerator.is_main_process:
            _cut_log(self.folder / "log.jsonl", self.progress.step)
            self.say(f"resumed at step {self.progress.step} of {self.total_steps}, epoch {self.progress.epoch}")

    def _save_weights(self, models: list[Any], weights: list[dict[str, torch.Tensor]], folder: str) -> None:
        """Write the trained weights, without the frozen ones, and the moving average."""
        if not weights:  # a sharded model: Accelerate has written its weights
            return
        weights.clear()
        if self.accelerator.is_main_process:
            from safetensors.torch import save_file

            save_file(self._state(), f"{folder}/trained.safetensors", {"format": "pt"})
            if self.average is not None:
                save_file(
                    {k: v.contiguous() for k, v in self.average.average.items()},
                    f"{folder}/average.safetensors",
                    {"format": "pt"},
                )

    def _load_weights(self, models: list[Any], folder: str) -> None:
        from safetensors.torch import load_file

        if not (Path(folder) / "trained.safetensors").exists():
            return
        models.clear()
        tensors = load_file(f"{folder}/trained.safetensors")
        state = dict(self.bare.named_parameters()) | dict(self.bare.named_buffers())
        with torch.no_grad():
            for name, tensor in tensors.items():
                state[name].copy_(tensor)
            if self.average is not None:
                for name, tensor in load_file(f"{folder}/average.safetensors").items():
                    self.average.average[name].copy_(tensor)

    def _state(self) -> dict[str, torch.Tensor]:
        trained = {id(weight) for group in self.groups for weight in group["params"]}
        state = {
            name: weight.detach().contiguous() for name, weight in self.bare.named_parameters() if id(weight) in trained
        }
        return state | {name: buffer.clone().contiguous() for name, buffer in self.bare.named_buffers()}

    def _log(self, line: dict[str, Any], step: int) -> None:
        if self.accelerator.is_main_process:
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                print(json.dumps(line), file=file)
        if self.accelerator.trackers:
            self.accelerator.log(tracked(line), step=step)

    def _bar(self) -> ProgressBar:
        hidden = self.args.disable_tqdm or not self.accelerator.is_main_process
        return ProgressBar(
            shown=False if hidden else None, total=self.total_steps, unit="step", initial=self.progress.step
        )


def _synchronized(accelerator: Any, model: torch.nn.Module, last: bool) -> Any:
    """Return a context that exchanges gradients between processes in the last pass of a step alone."""
    from contextlib import nullcontext

    return nullcontext() if last else accelerator.no_sync(model)


def _seed(*position: int) -> None:
    """Seed all random number generators with the seed of the run and the position in it."""
    from accelerate.utils import set_seed

    set_seed(int(np.random.SeedSequence(position).generate_state(1)[0]))


def _shown_epoch(line: dict[str, Any], epochs: int) -> str:
    figures = [f"training loss {line['train_loss']:.3f}", *filter(None, [shown_figures(line)])]
    return f"epoch {line['epoch'] + 1} of {epochs}: {', '.join(figures)} ({line['seconds']:.0f} s)"


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.name[5:].isdigit())


def _cut_log(path: Path, step: int) -> None:
    """Remove the lines of the log after the checkpoint: the run repeats those steps."""
    if not path.exists():
        return
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                lines.append(line)
        except (ValueError, KeyError):  # an incomplete line
            continue
    write_text(path, "".join(f"{line}\n" for line in lines))
