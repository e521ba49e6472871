"""Facts of a run for its model card: data, procedure, environment and evaluation."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from multimodal_ser.corpora.clips import Clip
from multimodal_ser.corpora.registry import CORPORA
from multimodal_ser.corpora.targets import row_language
from multimodal_ser.hub.card_facts import SHIPPED_NAME, CardFacts, DataPart, Evaluation, Measured, source_of
from multimodal_ser.metrics.registry import metrics_of, shown_metrics
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.training.parameters import part_of
from multimodal_ser.training.preparation import Prepared
from multimodal_ser.training.run_folder import environment

if TYPE_CHECKING:
    from accelerate import Accelerator

VERSIONS = ("torch", "transformers", "accelerate", "peft")


def starting_facts(
    args: TrainingArguments,
    model: Any,
    prepared: Prepared,
    trained: Mapping[str, torch.nn.Parameter],
    accelerator: Accelerator,
    seed: int,
) -> CardFacts:
    """Return the facts that are known before the first step: data, procedure, versions and machine.

    Args:
        args: the options of the run, with the learning rate that is used.
        model: the model.
        prepared: the data.
        trained: the weights that learn, by name.
        accelerator: the Accelerator of this process.
        seed: the seed of this run.
    """
    parts = [("training", prepared.train), ("validation", prepared.validation), ("test", prepared.test)]
    data = [each for part, clips in parts for each in data_parts(clips, args.data, part)]
    passes = args.gradient_accumulation_steps * accelerator.num_processes
    rows = {"rows a step": args.per_device_train_batch_size * passes}
    batch = rows if args.batch_seconds is None else {"seconds of recordings a step": args.batch_seconds * passes}
    mixed = accelerator.mixed_precision
    source = source_of(model)
    procedure: dict[str, Any] = {
        **({} if source is not None else _encoders(args)),
        "trained parts": ", ".join(sorted({part_of(name) for name in trained})),
        "trained parameters": sum(weight.numel() for weight in trained.values()),
        "rank of the adapters (LoRA), merged into the weights": args.lora_rank or None,
        "optimizer": "AdamW",
        "learning rate": args.learning_rate,
        "schedule": args.lr_scheduler_type,
        "warm-up (steps, or below 1 a share of them)": args.warmup_steps or None,
        "weight decay": args.weight_decay or None,
        **batch,
        "epochs at most": args.num_train_epochs if args.max_steps < 0 else None,
        "steps at most": args.max_steps if args.max_steps >= 0 else None,
        "label smoothing": args.label_smoothing_factor or None,
        "class weights": None if args.class_weights == "none" else args.class_weights,
        "augmentation": ", ".join(args.augmentation) or None,
        "pseudo-labels": f"of recordings without labels, confidence {args.pseudo_label_threshold:g} and more"
        if args.unlabelled
        else None,
        "seed": seed,
        "precision": f"{str(model.dtype).removeprefix('torch.')}{'' if mixed in (None, 'no') else f', mixed with {mixed}'}",
        "held out": shown_protocol(prepared.protocol),
    }
    software = environment()
    versions = {"multimodal_ser": software["multimodal_ser"], "python": software["python"]} | {
        name: software["packages"].get(name) for name in VERSIONS
    }
    cuda = accelerator.device.type == "cuda"
    machine = {
        "device": torch.cuda.get_device_name() if cuda else accelerator.device.type,
        "processors": os.cpu_count(), "processes": accelerator.num_processes,
    }  # fmt: skip
    return CardFacts(
        training_data=data, procedure={name: value for name, value in procedure.items() if value is not None},
        versions={name: value for name, value in versions.items() if value}, environment=machine, started_from=source,
    )  # fmt: skip


def final_facts(
    args: TrainingArguments,
    prepared: Prepared,
    figures: Mapping[str, Mapping[str, float]],
    progress: Any,
    best_epoch: int | None,
    seconds: float,
) -> CardFacts:
    """Return the facts that are known after the last step: length of the run, and evaluation.

    Args:
        args: the options of the run.
        prepared: the data.
        figures: metrics of the final model for "validation" and "test"; empty if there are no such rows.
        progress: the state of the loop.
        best_epoch: number of the chosen epoch, from 1; None: the last epoch.
        seconds: duration of the run since it was last started.
    """
    inputs = " + ".join(name for name, used in (("audio", prepared.use_audio), ("text", prepared.use_text)) if used)
    shown = {metric.name for metric in shown_metrics()}
    of_dimensions = tuple(f"{metric.name}_" for metric in metrics_of("dimensions"))
    evaluation = []
    for part, clips in (("validation", prepared.validation), ("test", prepared.test)):
        selected = {
            name: float(value)
            for name, value in figures[part].items()
            if math.isfinite(value) and (name in shown or name.startswith(of_dimensions))
        }
        if not selected:
            continue
        as_one_corpus = [replace(clip, row=replace(clip.row, corpus=None)) for clip in clips]
        total = data_parts(as_one_corpus, args.data, part)[0]
        notes = (
            ["the epoch was chosen on these rows: their figures are too good"]
            if part == "validation" and best_epoch
            else []
        )
        sets = sorted({clip.row.corpus for clip in clips if clip.row.corpus})
        speakers = total.speakers
        evaluation.append(
            Evaluation(
                f"the {part} rows of the run", "training", shown_protocol(prepared.protocol), sets, total.rows, total.hours,
                speakers, total.languages, list(prepared.labels), notes=notes,
                systems=[Measured(inputs, rows=len(clips), speakers=speakers, figures=selected)],
            )
        )  # fmt: skip
    procedure = {"epochs": progress.epoch, "steps": progress.step, "epoch that was kept": best_epoch}
    early = {"ended early": progress.stopped} if progress.stopped else {}
    hours = "hours since it was last resumed" if args.resume_from_checkpoint else "hours"
    return CardFacts(
        procedure={name: value for name, value in (procedure | early).items() if value is not None},
        environment={hours: round(seconds / 3600, 5)}, evaluation=evaluation,
    )  # fmt: skip


def data_parts(clips: Sequence[Clip], sources: Sequence[str], part: str) -> list[DataPart]:
    """Return the size of each corpus in a part of the data, without names of speakers.

    Args:
        clips: the clips of the part.
        sources: manifests and folders of the run, which name clips of no registered corpus.
        part: "training", "validation" or "test".

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.training.card import data_parts
        >>> from multimodal_ser.corpora.clips import Clip
        >>> rows = [ManifestRow(text=text, emotion="joy", corpus=corpus) for text, corpus in (("Yes!", "meld"), ("Good.", None))]
        >>> parts = data_parts([Clip(row, "", 0) for row in rows], ["calls/manifest.csv"], "test")
        >>> [(each.name, each.rows, each.licence) for each in parts]
        [('MELD', 1, "GPL-3.0; the film is its owners'"), ('calls', 1, None)]
    """
    groups: dict[str | None, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.row.corpus, []).append(clip)
    paths = [Path(source) for source in sources]
    source_names = ", ".join(
        path.resolve().parent.name if path.stem == "manifest" else path.name or path.resolve().name for path in paths
    )
    parts = []
    for corpus, members in groups.items():
        registered = CORPORA.get(corpus or "")
        speakers = {clip.row.speaker for clip in members if clip.row.speaker}
        recordings = [clip for clip in members if clip.row.path is not None]
        parts.append(
            DataPart(
                name=registered.title if registered else corpus or source_names, part=part, rows=len(members), recordings=len(recordings),
                texts=sum(bool(clip.row.text) for clip in members),
                hours=sum(clip.duration for clip in recordings) / 3600 if recordings else None,
                speakers=len(speakers) or None,
                languages=sorted({row_language(clip.row.language) or clip.row.language for clip in members if clip.row.language}),
                licence=registered.licence if registered else None, dataset=registered.name if registered else None,
            )
        )  # fmt: skip
    return parts


def shown_protocol(protocol: str) -> str:
    """Return the line on how the rows were divided, without names of speakers.

    Example:
        >>> from multimodal_ser.training.card import shown_protocol
        >>> shown_protocol("test speakers named: Ann, Bo; speaker-disjoint: 2 of 9 speakers held out")
        'test speakers named; speaker-disjoint: 2 of 9 speakers held out'
    """
    parts = [
        part.split(": ")[0] if " named: " in part else part.split(" (test actors ")[0] for part in protocol.split("; ")
    ]
    return "; ".join(parts)


def _encoders(args: TrainingArguments) -> dict[str, str]:
    """Return the encoders that the branches of a new model started from, by a title for the card."""
    base = SHIPPED_NAME if args.model is None else _shown(str(args.model))
    return {
        "audio branch started from": _shown(str(args.audio_model))
        if args.audio_model
        else f"the audio branch of {base}",
        "text branch started from": _shown(str(args.text_model)) if args.text_model else f"the text branch of {base}",
    }


def _shown(name: str) -> str:
    """Return a Hub id unchanged, and the last two names of a folder."""
    return "/".join(Path(name).resolve().parts[-2:]) if Path(name).exists() else name
