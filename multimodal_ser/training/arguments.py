"""`TrainingArguments`: the options of a training run, checked for type, range and contradictions.

They come from Python, from the command line or from a YAML file.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from multimodal_ser._files import read_yaml, write_text
from multimodal_ser.errors import InputError, did_you_mean
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.metrics.registry import LEADING, METRICS, OLD_NAMES
from multimodal_ser.training.kinds import checked

PARTS = ("audio_front", "audio", "text", "fusion", "head")
"""Parts that can be frozen.

"audio_front": the audio encoder's convolutions. "audio", "text": an encoder (the text encoder with its layer sum).
"fusion": everything between the encoders and the head. "head": the output layers.
"""


TRACKERS = ("tensorboard", "wandb", "mlflow")

OPTIONS_OF_FIELDS = {
    "label_smoothing": "label_smoothing_factor", "audio_mask_spans": "audio_mask_spans", "class_weights": "class_weights",
    "dimensions": "dimensions", "id2label": "labels", "label2id": "labels", "num_labels": "labels", "audio_config": "audio_model",
    "text_config": "text_model", "trained_modalities": "modalities", "transcriber": "whisper",
}  # fmt: skip
"""Fields of the model's configuration that have an option of their own, and the name of that option."""


def _option(default: Any, text: str) -> Any:
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata={"help": text})
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass
class TrainingArguments:
    """All options of a training run. Options that `transformers.TrainingArguments` has too carry the same names.

    Each field is an option of `multimodal-ser train` (`learning_rate` is `--learning-rate`), described by `--help`
    and in docs/training.md.

    Raises:
        InputError: a field is unknown, a value has the wrong type or range, or two options contradict each other;
            with the remedy.

    Example:
        >>> from multimodal_ser.training import TrainingArguments
        >>> TrainingArguments(data=["clips"], bf16=True, fp16=True)
        Traceback (most recent call last):
        ...
        multimodal_ser.errors.InputError: fp16: expected one kind of mixed precision, got bf16 too; choose one
    """

    # data
    data: list[str] = _option([], "manifests (CSV, JSONL, Parquet) or folders with a folder per emotion")
    columns: dict[str, Any] = _option({}, "names of columns in a table with other headings: path=wav_name emotion=emo")
    output_dir: str = _option("run", "run folder, for the best model, log, curves, predictions and checkpoints")
    labels: list[str] = _option([], "names of the classes (default: the emotions that occur in the data)")
    modalities: Literal["auto", "audio", "text", "both"] = _option(
        "auto",
        "modalities to learn from; auto: those that each row has, but audio alone for a corpus of a few fixed sentences",
    )
    dimensions: list[str] = _option([], "dimensions that the model predicts too: arousal valence dominance")
    emotions: bool = _option(
        True, "learn the emotions; otherwise the dimensions alone, and the checkpoint's emotion head stays unchanged"
    )
    validation_share: float = _option(
        0.15,
        "share of the clips that is held out for validation, by whole speakers if the data names speakers; 0: none",
    )
    validation_speakers: list[str] = _option([], "speakers to hold out for validation, in place of validation_share")
    test_speakers: list[str] = _option(
        [], "speakers that are used neither for training nor for selection, and are scored once at the end"
    )
    allow_leak: bool = _option(False, "accept a split column that puts one speaker on both sides")
    max_duration: float = _option(
        30.0,
        "seconds of a recording that are used; of a longer one the first part, or a random part each epoch if there is no embedding cache",
    )
    trim_silence_db: float | None = _option(
        None,
        "cut both ends of a clip where they are this many dB below its loudest moment, in training and in prediction; try 40 first",
    )
    context_turns: int = _option(0, "number of previous turns of a dialogue that are read before the current one")
    transcribe: bool = _option(False, "transcribe recordings without a text, with Whisper")
    whisper: str | None = _option(
        None, "Whisper model for the transcripts: a name or a path (default: one that is installed)"
    )
    unlabelled: str | None = _option(
        None,
        "folder or manifest of recordings without labels; the starting model labels them, and the run learns from those labels too",
    )
    pseudo_label_threshold: float = _option(
        0.9, "lowest confidence of a label from unlabelled that is used for training"
    )
    pair_matched: float = _option(
        0.0, "share of the audio-only rows that are combined with the words of a text-only row of the same emotion"
    )
    pair_mismatched: float = _option(
        0.0, "share that are combined with words of another emotion; the target is then half of each"
    )

    # model
    model: str | None = _option(
        None, "checkpoint to start from: folder or Hub id (default: the one that ships in the package)"
    )
    audio_model: str | None = _option(
        None, "speech encoder to start from instead: wav2vec2, HuBERT, WavLM, Whisper; folder or Hub id"
    )
    text_model: str | None = _option(None, "text encoder to start from instead; folder or Hub id")
    audio_layers: int | None = _option(
        None, "number of audio_model's layers that are used, from the lowest (default: all)"
    )
    model_config: dict[str, Any] = _option(
        {}, "fields of MultimodalEmotionConfig, such as fusion_layers=1 (new models) modality_dropout=0.3"
    )
    new_head: bool = _option(False, "initialize the head at random, even if the checkpoint has one for these labels")

    # what is trained
    freeze: list[str] = _option(
        ["audio", "text"], f"parts that are not trained: {', '.join(PARTS)}; none: all parts are trained"
    )
    freeze_audio_layers: int = _option(0, "freeze the audio encoder's convolutions and its lowest k layers")
    freeze_text_layers: int = _option(0, "freeze the text encoder's embeddings and its lowest k layers")
    unfreeze_epoch: int | None = _option(
        None, "epoch (the first is 0) from which the frozen parts are trained too, except audio_front"
    )
    lora_rank: int = _option(0, "rank of low-rank adapters that are trained in the encoders; 0: no adapters")
    lora_alpha: float = _option(16.0, "scale of the adapters: alpha / rank")
    lora_dropout: float = _option(0.0, "dropout before the adapters")
    lora_branches: Literal["both", "audio", "text"] = _option("both", "branches that get adapters")
    class_weights: Literal["none", "balanced"] = _option(
        "none", "weights of the classes in the loss; balanced: rare classes count more"
    )
    balanced_sampling: bool = _option(False, "draw clips of every class equally often")
    label_smoothing_factor: float = _option(0.1, "share of the target that is spread over all classes")
    audio_mask_spans: int = _option(
        2, "number of spans of a clip's frames that are hidden, at other places each time; 0: none"
    )
    voice_shift: float = _option(
        0.0,
        "share of the clips that are moved to the voice of another speaker of the training data (needs the embedding cache)",
    )
    speaker_mean_share: float = _option(
        0.0,
        "share of the clips that are compared with their speaker's mean, as predict(speaker=...) does (needs the embedding cache)",
    )
    mixup_alpha: float = _option(
        0.0, "mix the fused vectors of two rows, and their losses, with shares drawn from Beta(alpha, alpha); 0: off"
    )
    augmentation: dict[str, Any] = _option({}, "names of augmentations, or a mapping from names to their options")
    augmentation_variants: int = _option(
        0,
        "number of fixed versions of each clip, the first unchanged (needed for an embedding cache); 0: a new version every epoch",
    )
    noise_dir: str | None = _option(None, "folder of noises for the augmentation 'noise' (default: synthesized)")
    room_dir: str | None = _option(
        None, "folder of room impulse responses for the augmentation 'room' (default: synthesized)"
    )
    embedding_cache: bool = _option(True, "compute the output of frozen branches once and store it on disk")
    cache_dir: str | None = _option(
        None, "folder of the embedding cache (default: in the run folder, deleted at the end)"
    )
    cache_dtype: Literal["float16", "float32"] = _option("float16", "precision of the embedding cache")

    # how
    num_train_epochs: int = _option(15, "number of times that every row is used")
    max_steps: int = _option(-1, "number of steps after which training stops; -1: after num_train_epochs")
    per_device_train_batch_size: int = _option(16, "rows per device and forward pass")
    batch_seconds: float | None = _option(
        None, "seconds of audio per device and forward pass, with padding; in place of a number of rows"
    )
    per_device_eval_batch_size: int = _option(16, "rows per device in validation")
    gradient_accumulation_steps: int = _option(1, "forward passes per optimizer step")
    learning_rate: float | None = _option(
        None,
        "highest learning rate, of fusion and head (default: 1e-3; 2e-4 if the checkpoint's head has all labels already)",
    )
    audio_learning_rate: float | None = _option(
        None, "rate of the audio encoder's top layer (default: a twentieth of learning_rate)"
    )
    text_learning_rate: float | None = _option(
        None, "rate of the text encoder's top layer (default: a twentieth of learning_rate)"
    )
    fusion_learning_rate: float | None = _option(
        None, "rate of the weights between encoders and head (default: learning_rate)"
    )
    head_learning_rate: float | None = _option(None, "rate of the head (default: learning_rate)")
    lora_learning_rate: float | None = _option(None, "rate of low-rank adapters (default: learning_rate)")
    layer_decay: float = _option(1.0, "factor of the rate from each encoder layer to the one below; 1: the same rate")
    lr_scheduler_type: Literal["cosine", "linear", "constant_with_warmup"] = _option(
        "cosine", "course of the rate after the warm-up"
    )
    warmup_steps: float = _option(0.1, "steps in which the rate rises; below 1: a share of all steps")
    weight_decay: float = _option(0.01, "weight decay of matrices; biases, norms and single numbers have none")
    adam_beta1: float = _option(0.9, "beta1 of AdamW")
    adam_beta2: float = _option(0.999, "beta2 of AdamW")
    adam_epsilon: float = _option(1e-8, "epsilon of AdamW")
    max_grad_norm: float = _option(1.0, "norm that gradients are clipped to; 0: no clipping")
    ema_decay: float = _option(
        0.0, "decay of a moving average of the weights, which is evaluated and saved in place of them; 0: none"
    )
    bf16: bool = _option(False, "bfloat16 mixed precision")
    fp16: bool = _option(False, "float16 mixed precision (GPU)")
    gradient_checkpointing: bool = _option(False, "recompute activations in the backward pass, to save memory")
    torch_compile: bool = _option(False, "compile the model with torch.compile")
    torch_compile_backend: str = _option("inductor", "backend of torch.compile")
    early_stopping_patience: int = _option(
        0, "number of epochs without a better metric_for_best_model after which training stops; 0: never"
    )
    metric_for_best_model: str = _option(
        "auto", "validation metric that chooses the best epoch; auto: ua, or ccc for dimensions alone"
    )
    save_best_model: bool = _option(True, "save the model of the best epoch; otherwise that of the last")
    seed: int = _option(42, "seed of all random numbers")
    seeds: list[int] = _option([], "seeds of several runs, one after the other, in place of seed")
    use_cpu: bool = _option(False, "use the CPU even if there is a GPU")
    dataloader_num_workers: int = _option(0, "processes that read and augment clips")
    logging_steps: int = _option(10, "steps between lines of the log")
    save_steps: int = _option(0, "steps between checkpoints, besides the one after every epoch; 0: only that one")
    save_total_limit: int = _option(2, "number of checkpoints that are kept")
    report_to: list[str] = _option(
        ["tensorboard"],
        f"trackers: {', '.join(TRACKERS)}, or none; one that is not installed is skipped with a message",
    )
    run_name: str | None = _option(None, "name of the run in the trackers (default: that of the run folder)")
    disable_tqdm: bool = _option(False, "show no progress bar")
    resume_from_checkpoint: bool = _option(False, "continue the run in output_dir from its last checkpoint")

    def __post_init__(self) -> None:
        if isinstance(self.metric_for_best_model, str):
            self.metric_for_best_model = OLD_NAMES.get(self.metric_for_best_model, self.metric_for_best_model)
        for name, kind in self.kinds().items():
            setattr(self, name, checked(name, kind, getattr(self, name)))
        for rule in _RULES:
            rule(self)

    @classmethod
    def kinds(cls) -> dict[str, Any]:
        """The type of each field."""
        logged = sorted((m.name for m in METRICS.values() if m.logged), key=lambda name: name != LEADING)
        return typing.get_type_hints(cls) | {"metric_for_best_model": Literal["auto", *logged, "loss"]}

    @property
    def metric(self) -> str:
        """Name of the validation metric that chooses the best epoch."""
        automatic = LEADING if self.emotions else "ccc"
        return automatic if self.metric_for_best_model == "auto" else self.metric_for_best_model

    @property
    def greater_is_better(self) -> bool:
        """Whether a higher value of `metric` is better."""
        return self.metric != "loss" and METRICS[self.metric].greater_is_better

    @property
    def selects_by_dimensions(self) -> bool:
        """Whether `metric` measures dimensions, not emotions."""
        return self.metric != "loss" and METRICS[self.metric].inputs == "dimensions"

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TrainingArguments:
        """Make arguments from a mapping of field names to values; errors are those of the class."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in names:
                remedy = did_you_mean(name, names, "`multimodal-ser train --help` lists the options")
                raise InputError(str(name), expected="an option of training", got="an unknown one", remedy=remedy)
        return cls(**fields)

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: Any) -> TrainingArguments:
        """Read a YAML file that `to_yaml` or a person wrote; `changes` take precedence over it."""
        return cls.from_dict(read_yaml(path) | changes)

    def to_yaml(self, path: str | Path) -> None:
        """Write all fields to a YAML file."""
        import yaml

        write_text(path, yaml.safe_dump(dataclasses.asdict(self), sort_keys=False, allow_unicode=True))


def _contradiction(what: str, expected: str, got: str, remedy: str) -> InputError:
    return InputError(what, expected=expected, got=got, remedy=remedy)


def _changed(args: TrainingArguments, *names: str) -> list[str]:
    """Those of the options whose values differ from the defaults."""
    defaults = {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(args)
    }
    return [name for name in names if getattr(args, name) != defaults[name]]


def _ranges(args: TrainingArguments) -> None:
    shares = (
        "validation_share lora_dropout label_smoothing_factor ema_decay pseudo_label_threshold pair_matched pair_mismatched adam_beta1 "
        "adam_beta2 voice_shift speaker_mean_share"
    )
    for name in shares.split():
        value = getattr(args, name)
        one_is_allowed = not name.startswith(("validation", "lora", "ema", "adam"))
        if not 0 <= value <= 1 or (value == 1 and not one_is_allowed):
            raise _contradiction(
                name, f"a share from 0 to 1{'' if one_is_allowed else ', below 1'}", f"{value:g}", "correct it"
            )
    positive = (
        "num_train_epochs per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps learning_rate max_duration "
        "layer_decay logging_steps save_total_limit adam_epsilon lora_alpha batch_seconds audio_learning_rate text_learning_rate "
        "fusion_learning_rate head_learning_rate lora_learning_rate audio_layers trim_silence_db"
    )
    for name in positive.split():
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise _contradiction(name, "more than 0", f"{value:g}", "raise it, or leave it out for the default")
    not_negative = (
        "context_turns audio_mask_spans freeze_audio_layers freeze_text_layers lora_rank mixup_alpha augmentation_variants warmup_steps "
        "weight_decay max_grad_norm early_stopping_patience dataloader_num_workers save_steps"
    )
    for name in not_negative.split():
        if not getattr(args, name) >= 0:
            raise _contradiction(name, "0 or more", f"{getattr(args, name):g}", "0 turns it off")
    for name, seeds in (("seed", [args.seed]), ("seeds", args.seeds)):
        if min(seeds, default=0) < 0 or len(set(seeds)) != len(seeds):
            raise _contradiction(name, "whole numbers from 0, each once", ", ".join(map(str, seeds)), "correct them")
    if args.layer_decay > 1:
        raise _contradiction(
            "layer_decay", "a factor up to 1", f"{args.layer_decay:g}", "0.8 lets each layer learn slower than the next"
        )
    if args.max_steps == 0 or args.max_steps < -1:
        raise _contradiction(
            "max_steps", "a number of steps, or -1 for none", str(args.max_steps), "set it to -1, or raise it"
        )
    if not args.data:
        raise _contradiction(
            "data", "at least one manifest or folder", "none", "name a folder with a folder per emotion"
        )
    if args.labels and (
        len(args.labels) < 2 or len({name.strip().lower() for name in args.labels}) != len(args.labels)
    ):
        raise _contradiction(
            "labels", "at least two different names", ", ".join(args.labels), "name the classes to tell apart"
        )


def _something_to_train(args: TrainingArguments) -> None:
    args.freeze = [] if args.freeze == ["none"] else args.freeze
    for name in args.freeze:
        if name not in PARTS:
            remedy = did_you_mean(name, PARTS, "correct it")
            raise _contradiction("freeze", f"some of {', '.join(PARTS)}, or none", repr(name), remedy)
    frozen, other = set(args.freeze), {"audio": "text", "text": "audio"}.get(args.modalities)
    if {"audio", "text", "fusion", "head"} - {other} <= frozen and not args.lora_rank and args.unfreeze_epoch is None:
        got = "everything frozen" + (
            f" that learns from {args.modalities} alone" if other and other not in frozen else ""
        )
        raise _contradiction(
            "freeze", "something left to train", got, 'leave "head" out, set lora_rank=8, or unfreeze_epoch'
        )
    if args.unfreeze_epoch is not None:
        if not frozen - {"audio_front"} and not args.freeze_audio_layers and not args.freeze_text_layers:
            remedy = "name parts with freeze, or leave it out"
            raise _contradiction("unfreeze_epoch", "something frozen before it", "nothing frozen", remedy)
        if not 0 < args.unfreeze_epoch < args.num_train_epochs:
            expected = f"an epoch after the first, before the end (1 to {args.num_train_epochs - 1})"
            raise _contradiction("unfreeze_epoch", expected, str(args.unfreeze_epoch), "set it so, or leave it out")
    for branch, layers in (("audio", args.freeze_audio_layers), ("text", args.freeze_text_layers)):
        if layers and branch in frozen:
            remedy = f'leave "{branch}" out of freeze, or freeze_{branch}_layers'
            raise _contradiction(
                f"freeze_{branch}_layers", "a branch that is trained", f"the whole {branch} branch frozen", remedy
            )
    always_frozen = frozen if args.unfreeze_epoch is None else set()
    for part in ("audio", "text", "fusion", "head"):
        if part in always_frozen and _changed(args, f"{part}_learning_rate"):
            remedy = f'leave "{part}" out of freeze, or the rate out'
            raise _contradiction(f"{part}_learning_rate", "a part that is trained", f"{part} frozen", remedy)
    if args.layer_decay != 1 and {"audio", "text"} <= always_frozen:
        raise _contradiction(
            "layer_decay", "an encoder that is trained", "both frozen", "leave one out of freeze, or layer_decay out"
        )
    if args.new_head and "head" in frozen:
        raise _contradiction("freeze", "a new head to be trained", "head frozen", 'leave "head" out, or new_head')


def _lora(args: TrainingArguments) -> None:
    if not args.lora_rank:
        idle = _changed(args, "lora_alpha", "lora_dropout", "lora_learning_rate", "lora_branches")
        if idle:
            raise _contradiction(idle[0], "adapters to act on", "lora_rank 0", "set lora_rank=8, or leave it out")
        return
    for branch, other in (("audio", "text"), ("text", "audio")):
        if args.lora_branches in ("both", branch) and branch not in args.freeze:
            remedy = f'add "{branch}" to freeze, or set lora_rank to 0'
            raise _contradiction(
                "lora_rank", "adapters in frozen branches", f"a {branch} branch that is trained itself", remedy
            )
        if args.lora_branches == branch and args.modalities == other:
            got = f"{branch}, with modalities {other}"
            raise _contradiction("lora_branches", "a branch that is learned from", got, f"set it to {other}")
    if args.unfreeze_epoch is not None:
        raise _contradiction("unfreeze_epoch", "no adapters", f"lora_rank {args.lora_rank}", "choose one of the two")


def _selection(args: TrainingArguments) -> None:
    no_validation = not args.validation_share and not args.validation_speakers
    if no_validation and args.early_stopping_patience:
        remedy = "hold speakers out, or set it to 0"
        raise _contradiction("early_stopping_patience", "validation data to watch", "validation_share 0", remedy)
    if args.early_stopping_patience and not args.save_best_model:
        raise _contradiction(
            "early_stopping_patience", "the best epoch kept", "save_best_model false", "set save_best_model, or it to 0"
        )
    shared = sorted(set(args.validation_speakers) & set(args.test_speakers))
    if shared:
        raise _contradiction(
            "test_speakers", "speakers that select nothing", f"{', '.join(shared)} in validation too", "name each once"
        )


def _targets(args: TrainingArguments) -> None:
    unknown = [name for name in args.dimensions if name not in DIMENSIONS or args.dimensions.count(name) > 1]
    if unknown:
        others = [name for name in DIMENSIONS if name != unknown[0]]
        remedy = did_you_mean(unknown[0], others, "name each once", key=str.lower)
        raise _contradiction("dimensions", f"some of {', '.join(DIMENSIONS)}", repr(unknown[0]), remedy)
    if args.emotions:
        if args.selects_by_dimensions and not args.dimensions:
            got = f"{args.metric} without dimensions"
            raise _contradiction("metric_for_best_model", "a metric of the emotions", got, "name dimensions, or use ua")
        return
    if not args.dimensions:
        raise _contradiction(
            "emotions", "something to learn", "neither emotions nor dimensions", "name dimensions, such as arousal"
        )
    of_emotions = (
        "mixup_alpha balanced_sampling labels new_head pair_matched pair_mismatched unlabelled class_weights "
        "label_smoothing_factor"
    )
    idle = _changed(args, *of_emotions.split())
    if idle:
        raise _contradiction(
            idle[0], "emotions that it acts on", "dimensions alone", "leave it out, or learn the emotions too"
        )
    if args.metric != "loss" and not args.selects_by_dimensions:
        raise _contradiction(
            "metric_for_best_model", "ccc or loss, for dimensions alone", args.metric_for_best_model, "use ccc"
        )
    if args.audio_model or args.text_model:
        got = "new encoders, under which the emotion head would stay untrained"
        raise _contradiction(
            "emotions", "a trained checkpoint, for dimensions alone", got, "learn the emotions too, or name a model"
        )


def _modalities(args: TrainingArguments) -> None:
    needs = {
        "text": (
            "audio_model augmentation_variants noise_dir room_dir transcribe unlabelled batch_seconds trim_silence_db",
            "recordings to learn from",
        ),
        "audio": ("text_model context_turns transcribe", "texts to learn from"),
    }
    names, requirement = needs.get(args.modalities, ("", ""))
    idle = _changed(args, *names.split())
    if idle:
        raise _contradiction(idle[0], requirement, f"modalities {args.modalities}", "leave it out, or the modalities")
    pairing = _changed(args, "pair_matched", "pair_mismatched")
    if pairing and args.modalities != "auto":
        expected = "rows of one modality, to be paired"
        raise _contradiction(pairing[0], expected, f"modalities {args.modalities}", "leave it out, or the modalities")
    if args.pair_matched + args.pair_mismatched > 1:
        got = f"{args.pair_matched} and {args.pair_mismatched}"
        raise _contradiction("pair_matched and pair_mismatched", "shares that sum to 1 at most", got, "lower them")


def _model(args: TrainingArguments) -> None:
    if args.model and args.audio_model and args.text_model:
        raise _contradiction(
            "model", "a checkpoint, or encoders", "model, audio_model and text_model", "leave out one of them"
        )
    if args.audio_layers and not args.audio_model:
        raise _contradiction("audio_layers", "an audio_model to cut", "none", "name audio_model, or leave it out")
    if not args.model_config:
        return
    from multimodal_ser.model.configuration_multimodal_ser import MultimodalEmotionConfig

    fields = list(MultimodalEmotionConfig.__dataclass_fields__)
    for name in args.model_config:
        if name in OPTIONS_OF_FIELDS:
            raise _contradiction(
                "model_config", "fields without an option of their own", name, f"use {OPTIONS_OF_FIELDS[name]}"
            )
        if name not in fields:
            remedy = did_you_mean(name, fields, "see the documentation of MultimodalEmotionConfig")
            raise _contradiction("model_config", "fields of MultimodalEmotionConfig", repr(name), remedy)


def _precision(args: TrainingArguments) -> None:
    if args.bf16 and args.fp16:
        raise _contradiction("fp16", "one kind of mixed precision", "bf16 too", "choose one")
    if args.fp16 and args.use_cpu:
        raise _contradiction("fp16", "a GPU", "use_cpu", "use bf16")
    if args.batch_seconds is not None and args.batch_seconds < args.max_duration:
        expected = f"room for the longest clip, max_duration {args.max_duration:g} s"
        raise _contradiction("batch_seconds", expected, f"{args.batch_seconds:g}", "raise it, or lower max_duration")


def _augmentation(args: TrainingArguments) -> None:
    if args.voice_shift + args.speaker_mean_share > 1:
        got = f"{args.voice_shift:g} and {args.speaker_mean_share:g}"
        raise _contradiction("voice_shift and speaker_mean_share", "shares that sum to 1 at most", got, "lower them")
    for name in _changed(args, "voice_shift", "speaker_mean_share"):
        if getattr(args, name) and (
            "audio" not in args.freeze or not args.embedding_cache or args.modalities == "text"
        ):
            remedy = 'keep "audio" in freeze and embedding_cache on, or set it to 0'
            raise _contradiction(name, "a frozen audio branch with an embedding cache", "none", remedy)
    for name, needs in (("noise_dir", "noise"), ("room_dir", "room")):
        if getattr(args, name) and needs not in args.augmentation:
            raise _contradiction(
                name, f"the augmentation {needs!r}", "none", f"add {needs!r} to augmentation, or leave it out"
            )
    if args.augmentation_variants and not args.augmentation:
        raise _contradiction(
            "augmentation_variants", "augmentations to make versions with", "none", "name some, or set it to 0"
        )
    if args.augmentation_variants == 1:
        got = "1, the clip as it is"
        raise _contradiction(
            "augmentation_variants", "2 or more versions, or 0", got, "raise it, or leave augmentation out"
        )
    if not args.augmentation:
        return
    from multimodal_ser.training.augmentation import Augmenter

    Augmenter(args.augmentation)  # raises an error for unknown names and options
    for name in args.augmentation:
        if args.modalities == ("audio" if name == "words" else "text"):
            expected = "texts to learn from" if name == "words" else "recordings to learn from"
            raise _contradiction(
                f"augmentation {name!r}", expected, f"modalities {args.modalities}", "leave it out, or the modalities"
            )


def _idle(args: TrainingArguments) -> None:
    needs = {"cache_dir": "embedding_cache", "cache_dtype": "embedding_cache", "torch_compile_backend": "torch_compile",
             "whisper": "transcribe", "pseudo_label_threshold": "unlabelled"}  # fmt: skip
    for name in _changed(args, *needs):
        if not getattr(args, needs[name]):
            raise _contradiction(name, f"{needs[name]} with it", "none", f"set {needs[name]}, or leave it out")
    if args.class_weights == "balanced" and args.balanced_sampling:
        raise _contradiction("balanced_sampling", "one way to balance", "class_weights balanced too", "choose one")


def _trackers(args: TrainingArguments) -> None:
    args.report_to = [] if args.report_to == ["none"] else args.report_to
    for name in args.report_to:
        if name not in TRACKERS:
            remedy = did_you_mean(name, TRACKERS, "correct it", key=str.lower)
            raise _contradiction("report_to", f"some of {', '.join(TRACKERS)}, or none", repr(name), remedy)


_RULES = (
    _ranges, _something_to_train, _lora, _selection, _targets, _modalities, _model, _precision, _augmentation, _idle, _trackers,
)  # fmt: skip
