"""The initial model of a run: the shipped checkpoint, another checkpoint, or encoders with an untrained fusion."""

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
"""Largest number of clips on which mean and deviation of a new audio branch's hidden states are measured."""


@contextmanager
def _loading_errors(args: TrainingArguments) -> Iterator[None]:
    """Raise errors of other libraries while a checkpoint is loaded as an `InputError` of one line."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, TypeError, StrictDataclassError, SafetensorError) as error:
        options = [name for name in ("model", "audio_model", "text_model", "model_config") if getattr(args, name)]
        raise InputError(
            ", ".join(options) or "model", expected="a checkpoint that can be read, and options that fit it",
            got=" ".join(str(error).split())[:400], remedy="check the name and the options",
        ) from error  # fmt: skip


def starting_config(args: TrainingArguments) -> MultimodalEmotionConfig:
    """Return the configuration of the checkpoint that a run starts from; it is loaded before any recording is read.

    Raises:
        InputError: a checkpoint or an encoder does not exist, or `model_config` does not fit it.
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
    with _loading_errors(args):
        kind = MultimodalEmotionClassifier.config_class
        model_type = kind.get_config_dict(source)[0].get("model_type")
        if model_type != kind.model_type:
            remedy = "start from it with audio_model or text_model"
            raise InputError(
                "model", expected=f"a checkpoint of {kind.model_type}", got=f"one of {model_type}", remedy=remedy
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
    """Build the model of a run from its checkpoint or encoders; parts that the checkpoint lacks are untrained.

    A head for other labels takes the weights of the checkpoint's classes with the same meaning ("happy" is happiness);
    the weights of other classes are random.

    Args:
        args: the options of the run.
        labels: names of the classes.
        class_weights: weight of each class in the loss; None: no weights.
        say: called with a message about the head's initial weights.

    Raises:
        InputError: a checkpoint cannot be read, or fields of its configuration do not fit.
    """
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

    fields: dict[str, Any] = {"label_smoothing": args.label_smoothing_factor, "audio_mask_spans": args.audio_mask_spans}
    fields |= {"dimensions": list(args.dimensions)} | args.model_config
    whisper = "auto" if args.whisper is None else args.whisper
    with _loading_errors(args):
        base = MultimodalEmotionClassifier.from_pretrained(args.model, whisper=whisper)
        if args.audio_model or args.text_model:
            model = _on_encoders(args, base, labels, fields)
        else:
            model = MultimodalEmotionClassifier.from_pretrained(
                args.model, labels=list(labels), whisper=whisper, **fields
            )
    if args.trim_silence_db is not None:
        # The processor is saved with the model, so that prediction trims as training does.
        model.processor.trim_silence_db = args.trim_silence_db
    # Class weights are set last: setting labels removes those of the old classes.
    model.config.class_weights = class_weights
    inherited = [] if args.new_head or args.audio_model or args.text_model else _carry_over(base, model)
    if not args.emotions:
        model.config.temperature = dict(base.config.temperature)  # the emotion head stays as it is
        return model.train()
    new = [label for label in labels if label not in inherited]
    origins = []
    if inherited:
        origins.append(f"{', '.join(inherited)} from the checkpoint's")
    if new:
        origins.append(f"{', '.join(new)} at random")
    say(f"the head starts with {'; '.join(origins)}")
    removed = sorted(set(base.config.dimensions) - set(args.dimensions))
    if removed:
        say(f"the checkpoint's {', '.join(removed)} is removed: it is not among the dimensions that are learned")
    return model.train()


def usual_rate(args: TrainingArguments, config: MultimodalEmotionConfig, labels: Sequence[str]) -> float:
    """Return the learning rate: that of the options, or a default that depends on the head.

    A trained head forgets at the rate that a new one needs: measured on ten clips a class (`python
        benchmarks/acceptance.py few_clips`).
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
    """Copy the old head's weights for classes with the same meaning; return the labels that got some."""
    inherited = []
    for index, label in enumerate(model.labels):
        if not has_class(label, base.labels):
            continue
        cells = torch.tensor(admissible_row_classes(label, base.labels))
        inherited.append(label)
        model.classifier.weight[index] = base.classifier.weight[cells].mean(0)
        model.classifier.bias[index] = base.classifier.bias[cells].mean(0)
    if base.regressor is not None and model.regressor is not None:
        for index, name in enumerate(model.config.dimensions):
            if name in base.config.dimensions:
                old = base.config.dimensions.index(name)
                model.regressor.weight[index] = base.regressor.weight[old]
                model.regressor.bias[index] = base.regressor.bias[old]
    return inherited


def needs_statistics(model: Any) -> bool:
    """Return whether mean and deviation of this audio branch's hidden states still have to be measured."""
    branch = model.model.audio_branch
    return bool((branch.hidden_mean == 0).all() and (branch.hidden_std == 1).all())


@torch.no_grad()
def measure_statistics(model: Any, data: ClipData, device: torch.device) -> None:
    """Measure mean and deviation of each hidden state over the frames of unchanged training clips, into the model's
    buffers.
    """
    rows = [row for row, clip in enumerate(data.clips) if clip.row.path is not None]
    rows = rows[:: max(1, -(-len(rows) // STATISTICS_CLIPS))]
    total = square = torch.zeros(())
    count = 0
    for row in rows:
        hidden_states = audio_states(model, data, [(row, 0)], device)[0].double()
        total = total + hidden_states.sum(1)
        square = square + hidden_states.square().sum(1)
        count += hidden_states.shape[1]
    branch = model.model.audio_branch
    mean = total / count
    branch.hidden_mean.copy_(mean)
    branch.hidden_std.copy_((square / count - mean.square()).clamp_min(1e-8).sqrt())


@torch.no_grad()
def audio_states(
    model: Any, data: ClipData, versions: Sequence[tuple[int, int]], device: torch.device, autocast: Any = None
) -> list[torch.Tensor]:
    """Return hidden states (layers + 1, T, Da) of clips' versions (row, draw), without padding, on the CPU.

    They come from the cache if it has all of them. Only the encoder runs within `autocast`: half precision would change
    waveforms and spectrograms.
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
    """Return hidden states (L, Dt) of texts with their contexts, without padding, on the CPU."""
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
