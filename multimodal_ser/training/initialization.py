"""The model that a run starts from: the shipped checkpoint, another one, or encoders with an untrained fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from multimodal_ser.corpora.targets import admissible_row_classes, has_class
from multimodal_ser.errors import InputError
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.training.data import ClipData

if TYPE_CHECKING:
    from multimodal_ser.model.configuration_multimodal_ser import MultimodalEmotionConfig
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

STATISTICS_CLIPS = 2000
"""Clips that the mean and deviation of a new audio branch's hidden states are measured on, at most."""


@contextmanager
def _reading(args: TrainingArguments) -> Iterator[None]:
    """What goes wrong while weights are read is told in one line, whichever library says it."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, TypeError, StrictDataclassError, SafetensorError) as error:
        named = [name for name in ("model", "audio_model", "text_model", "model_config") if getattr(args, name)]
        line = " ".join(str(error).split())
        expected, remedy = "a checkpoint that can be read, and options that fit it", "check the name and the options"
        raise InputError(", ".join(named) or "model", expected=expected, got=line[:400], remedy=remedy) from error


def starting_config(args: TrainingArguments) -> MultimodalEmotionConfig:
    """The configuration of the checkpoint that a run starts from, read before any recording is.

    Raises:
        InputError: a checkpoint or an encoder that is not there, or `model_config` that does not fit.
    """
    from transformers import AutoConfig

    from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT, MultimodalEmotionClassifier

    source = args.model or str(SHIPPED_CHECKPOINT)
    folder = Path(source)
    local = folder.exists() or folder.is_absolute() or source.startswith(".")
    if local and not (folder / "config.json").is_file():
        best = folder / "best"
        remedy = f"did you mean {best}?" if (best / "config.json").is_file() else "check the path"
        raise InputError(
            "model", expected="a folder with a checkpoint", got=f"{source} without config.json", remedy=remedy
        )
    with _reading(args):
        kind = MultimodalEmotionClassifier.config_class
        found = kind.get_config_dict(source)[0].get("model_type")
        if found != kind.model_type:
            remedy = "start from it with audio_model or text_model"
            raise InputError(
                "model", expected=f"a checkpoint of {kind.model_type}", got=f"one of {found}", remedy=remedy
            )
        config = kind.from_pretrained(source)
        changed = type(config).from_dict(config.to_dict() | args.model_config)
        changed.validate()
        for encoder in (args.audio_model, args.text_model):
            if encoder:
                AutoConfig.from_pretrained(encoder)
    return config


def build_model(
    args: TrainingArguments,
    labels: Sequence[str],
    class_weights: list[float] | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> MultimodalEmotionClassifier:
    """The model, untrained where the data asks for more than the checkpoint knows.

    A head for other labels starts with the rows of the old one that mean the same ("happy" is happiness), the others at random.

    Args:
        args: of the run.
        labels: the classes.
        class_weights: one a class.
        say: told with what the head starts.

    Raises:
        InputError: a checkpoint that cannot be read, or fields that do not fit.
    """
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

    fields: dict[str, Any] = {"label_smoothing": args.label_smoothing_factor, "audio_mask_spans": args.audio_mask_spans}
    fields |= {"dimensions": list(args.dimensions)} | args.model_config
    whisper = "auto" if args.whisper is None else args.whisper
    with _reading(args):
        base = MultimodalEmotionClassifier.from_pretrained(args.model, whisper=whisper)
        if args.audio_model or args.text_model:
            model = _on_encoders(args, base, labels, fields)
        else:
            model = MultimodalEmotionClassifier.from_pretrained(
                args.model, labels=list(labels), whisper=whisper, **fields
            )
    if args.trim_silence_db is not None:
        model.processor.trim_silence_db = (
            args.trim_silence_db
        )  # it is saved with the model, which hears in use what it heard here
    model.config.class_weights = (
        class_weights  # not among the fields: those of the old classes are left behind when labels are set
    )
    known = [] if args.new_head or args.audio_model or args.text_model else _carry_over(base, model)
    if not args.emotions:
        model.config.temperature = dict(base.config.temperature)  # the emotion head stays as it is
        return model.train()
    new = [label for label in labels if label not in known]
    started = [f"{', '.join(known)} from the checkpoint's"] * bool(known) + [f"{', '.join(new)} at random"] * bool(new)
    say(f"the head starts with {'; '.join(started)}")
    left = sorted(set(base.config.dimensions) - set(args.dimensions))
    if left:
        say(f"the checkpoint's {', '.join(left)} is given up: nothing here is learned of it (dimensions)")
    return model.train()


def usual_rate(args: TrainingArguments, config: MultimodalEmotionConfig, labels: Sequence[str]) -> float:
    """The learning rate that is meant: a head that is trained already unlearns at a rate that a new one needs.

    Measured on ten clips a class (`python benchmarks/acceptance.py few_clips`).
    """
    if args.learning_rate is not None:
        return args.learning_rate
    if args.new_head or args.audio_model or args.text_model or not args.emotions:
        return 1e-3
    names = [config.id2label[i] for i in range(config.num_labels)]
    return 2e-4 if all(has_class(label, names) for label in labels) else 1e-3


def _on_encoders(args: TrainingArguments, base: Any, labels: Sequence[str], fields: dict[str, Any]) -> Any:
    from transformers import AutoFeatureExtractor, AutoTokenizer

    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier
    from multimodal_ser.model.processing_multimodal_ser import MultimodalEmotionProcessor

    extractor = (
        AutoFeatureExtractor.from_pretrained(args.audio_model) if args.audio_model else base.processor.feature_extractor
    )
    if extractor.model_input_names[0] == "input_values":
        extractor.return_attention_mask = True
    tokenizer = AutoTokenizer.from_pretrained(args.text_model) if args.text_model else base.processor.tokenizer
    inherited = {} if args.audio_model and args.text_model else {"weights_license": base.config.weights_license}
    if not args.text_model:
        inherited["text_languages"] = base.config.text_languages
    model = MultimodalEmotionClassifier.from_pretrained_backbones(
        args.audio_model or base.model.audio_branch.encoder, args.text_model or base.model.text_branch.encoder, list(labels),
        audio_layers=args.audio_layers, processor=MultimodalEmotionProcessor(extractor, tokenizer), **(inherited | fields),
    )  # fmt: skip
    with torch.no_grad():
        if not args.audio_model:
            model.model.audio_branch.hidden_mean.copy_(base.model.audio_branch.hidden_mean)
            model.model.audio_branch.hidden_std.copy_(base.model.audio_branch.hidden_std)
        if not args.text_model:
            model.model.text_branch.layer_weights.copy_(base.model.text_branch.layer_weights)
    model.transcriber = base._whisper
    return model


@torch.no_grad()
def _carry_over(base: Any, model: Any) -> list[str]:
    """Rows of the old head for classes that mean the same; the names of the labels that got one."""
    known = []
    for index, label in enumerate(model.labels):
        if not has_class(label, base.labels):
            continue
        cells = torch.tensor(admissible_row_classes(label, base.labels))
        known.append(label)
        model.classifier.weight[index] = base.classifier.weight[cells].mean(0)
        model.classifier.bias[index] = base.classifier.bias[cells].mean(0)
    if base.regressor is not None and model.regressor is not None:
        for index, name in enumerate(model.config.dimensions):
            if name in base.config.dimensions:
                old = base.config.dimensions.index(name)
                model.regressor.weight[index], model.regressor.bias[index] = (
                    base.regressor.weight[old],
                    base.regressor.bias[old],
                )
    return known


def needs_statistics(model: Any) -> bool:
    """Whether nobody has measured yet what the hidden states of this audio branch are like."""
    branch = model.model.audio_branch
    return bool((branch.hidden_mean == 0).all() and (branch.hidden_std == 1).all())


@torch.no_grad()
def measure_statistics(model: Any, data: ClipData, device: torch.device) -> None:
    """Mean and deviation of each hidden state over the frames of the training clips as they are, into the model's buffers."""
    rows = [row for row, clip in enumerate(data.clips) if clip.row.path is not None]
    rows = rows[:: max(1, -(-len(rows) // STATISTICS_CLIPS))]
    total = square = torch.zeros(())
    count = 0
    for row in rows:
        hidden_states = audio_states(model, data, [(row, 0)], device)[0].double()
        total, square, count = (
            total + hidden_states.sum(1),
            square + hidden_states.square().sum(1),
            count + hidden_states.shape[1],
        )
    branch = model.model.audio_branch
    mean = total / count
    branch.hidden_mean.copy_(mean)
    branch.hidden_std.copy_((square / count - mean.square()).clamp_min(1e-8).sqrt())


@torch.no_grad()
def audio_states(
    model: Any, data: ClipData, versions: Sequence[tuple[int, int]], device: torch.device, autocast: Any = None
) -> list[torch.Tensor]:
    """Hidden states (layers + 1, T, Da) of clips' versions (row, draw), without padding, on the CPU; from the cache where it has them.

    Only the encoder runs within `autocast`: waveforms and spectrograms in half precision would sound of it.
    """
    if data.audio_cache is not None and all(data.audio_key(*version) in data.audio_cache for version in versions):
        return [data.audio_cache.get(data.audio_key(*version)).float() for version in versions]
    waveforms = [data.waveform(*version) for version in versions]
    batch = data.processor(audio=waveforms, sampling_rate=data.processor.sampling_rate).to(device)
    inputs = batch[data.processor.model_input_names[0]]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with autocast or nullcontext():
            hidden_states, frames = model.model.get_audio_features(inputs, batch["audio_attention_mask"])
    finally:
        for module, mode in modes:
            module.training = mode
    return [states[:, mask].float().cpu() for states, mask in zip(hidden_states, frames, strict=True)]


@torch.no_grad()
def text_states(
    model: Any, data: ClipData, texts: Sequence[tuple[tuple[str, ...], str]], device: torch.device
) -> list[torch.Tensor]:
    """Hidden states (L, Dt) of texts with their contexts, without padding, on the CPU."""
    batch = data.processor(text=[text for _, text in texts], context=[list(turns) for turns, _ in texts]).to(device)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        hidden_states = model.model.get_text_features(batch["input_ids"], batch["attention_mask"])
    finally:
        for module, mode in modes:
            module.training = mode
    return [
        states[mask.bool()].float().cpu() for states, mask in zip(hidden_states, batch["attention_mask"], strict=True)
    ]
