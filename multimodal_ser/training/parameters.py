"""Trained weights and their learning rates: freezing, low-rank adapters, parameter groups and a moving average."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from multimodal_ser.errors import InputError
from multimodal_ser.model.encoder_families import family_of
from multimodal_ser.training.arguments import TrainingArguments

AUDIO, TEXT = "model.audio_branch.encoder.", "model.text_branch.encoder."
TEXT_LAYER_SUM = "model.text_branch.layer_weights"
HEAD = ("classifier.", "regressor.", "norm.")
FRONT = re.compile(r"^(feature_extractor|conv\d)\.")
LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block)\.(\d+)\.")
ABOVE = re.compile(r"^(layer_norm|final_norm|ln_f|norm|(encoder\.)?final_layer_norm)\.")


def part_of(name: str) -> str:
    """Return the part that a weight of `MultimodalEmotionClassifier` belongs to: "audio", "text",
    "fusion" or "head".
    """
    if name.startswith(AUDIO):
        return "audio"
    if name.startswith(TEXT) or name == TEXT_LAYER_SUM:
        return "text"
    return "head" if name.startswith(HEAD) else "fusion"


def layer_of(name: str) -> int | None:
    """Return the number of the encoder layer of a weight; None: it lies below the first layer."""
    match = LAYER.search(name.removeprefix(AUDIO).removeprefix(TEXT))
    return int(match.group(1)) if match else None


def _is_above(name: str) -> bool:
    """Return whether a weight lies above all layers of its encoder: a final norm, or the layer sum."""
    return name == TEXT_LAYER_SUM or bool(ABOVE.match(name.removeprefix(AUDIO).removeprefix(TEXT)))


class Freezing:
    """Decides which weights are trained in which epoch.

    Frozen parts run in evaluation mode, without dropout and masking, so that they give what an embedding cache holds.

    Args:
        model: a `MultimodalEmotionClassifier`, with its adapters if it has any.
        args: the options of the run.

    Raises:
        InputError: more layers are frozen than the encoder has.
    """

    def __init__(self, model: nn.Module, args: TrainingArguments):
        self.model = model
        self.args = args
        # Encoders mark weights that are never trained (the sinusoids of Whisper) before anything is frozen here.
        self.fixed = {
            name for name, weight in model.named_parameters() if not weight.requires_grad and ".lora_" not in name
        }
        for branch in ("audio", "text"):
            layers = {layer_of(name) for name, _ in model.named_parameters() if part_of(name) == branch} - {None}
            count = getattr(args, f"freeze_{branch}_layers")
            if count > len(layers):
                raise InputError(
                    f"freeze_{branch}_layers", expected="layers that the encoder has", got=f"{count} of an encoder of {len(layers)}",
                    remedy=f'lower it, or add "{branch}" to freeze',
                )  # fmt: skip

    def trained(self, name: str, epoch: int) -> bool:
        """Return whether a weight is trained in an epoch."""
        args = self.args
        part = part_of(name)
        layer = layer_of(name)
        if name in self.fixed:
            return False
        if ".lora_" in name:
            return True
        if not args.emotions and name.startswith("classifier."):
            return False
        if part == "audio" and "audio_front" in args.freeze and FRONT.match(name.removeprefix(AUDIO)):
            return False
        if args.unfreeze_epoch is not None and epoch >= args.unfreeze_epoch:
            return True
        if part in args.freeze:
            return False
        below = {"audio": args.freeze_audio_layers, "text": args.freeze_text_layers}.get(part, 0)
        return not below or _is_above(name) or (layer is not None and layer >= below)

    def ever_trained(self) -> dict[str, nn.Parameter]:
        """Return the weights that are trained in some epoch, by name."""
        last = self.args.num_train_epochs
        return {
            name: weight
            for name, weight in self.model.named_parameters()
            if self.trained(name, 0) or self.trained(name, last)
        }

    def apply(self, epoch: int) -> None:
        """Prepare the model for an epoch: trained weights require gradients, frozen modules are in evaluation mode."""
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(self.trained(name, epoch))
        self.model.train()
        for module in self.model.modules():
            weights = list(module.parameters())
            if weights and not any(weight.requires_grad for weight in weights):
                module.eval()

    def is_frozen(self, branch: str) -> bool:
        """Return whether a branch's encoder is never trained, so that its output can be cached."""
        last = self.args.num_train_epochs
        return not any(
            self.trained(name, epoch)
            for name, _ in self.model.named_parameters()
            if part_of(name) == branch
            for epoch in (0, last)
        )


def parameter_groups(model: nn.Module, names: Iterable[str], args: TrainingArguments) -> list[dict[str, Any]]:
    """Return parameter groups for AdamW.

    Each part has its own rate, which falls from layer to layer in the encoders. Biases, norms and single numbers have
    no weight decay.
    """
    weights = dict(model.named_parameters())
    depth = {
        branch: 1 + max([layer_of(n) or 0 for n in weights if part_of(n) == branch], default=0)
        for branch in ("audio", "text")
    }
    default = args.learning_rate or 1e-3
    rates = {
        "audio": args.audio_learning_rate or default / 20,
        "text": args.text_learning_rate or default / 20,
        "fusion": args.fusion_learning_rate or default,
        "head": args.head_learning_rate or default,
    }
    groups: dict[tuple[str, float, float], dict[str, Any]] = {}
    for name in names:
        part = part_of(name)
        rate = rates[part]
        if ".lora_" in name:
            rate = args.lora_learning_rate or default
        elif part in depth:
            layer = depth[part] - 1 if _is_above(name) else layer_of(name)
            rate *= args.layer_decay ** (depth[part] - (0 if layer is None else layer + 1))
        decay = args.weight_decay if weights[name].dim() > 1 else 0.0
        group = groups.setdefault((part, rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(weights[name])
    return list(groups.values())


def add_adapters(model: nn.Module, args: TrainingArguments) -> list[str]:
    """Add low-rank adapters to the queries and values of the encoders' attention (https://arxiv.org/abs/2106.09685).

    In WavLM they are added to the feed-forward blocks.

    Returns:
        The names of the adapted modules.

    Raises:
        InputError: peft is not installed, or the projections of an encoder have other names.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError(
            "lora_rank",
            expected="the package peft",
            got="none",
            remedy='pip install "multimodal_ser[train]", or set lora_rank to 0',
        ) from error
    from transformers.pytorch_utils import Conv1D  # GPT-2's name for a linear layer

    branches = {"audio": AUDIO, "text": TEXT}
    adapted = []
    for branch, prefix in branches.items():
        if args.lora_branches not in ("both", branch):
            continue
        encoder: Any = model.get_submodule(prefix.removesuffix("."))
        projections = family_of(encoder.config).projections
        names = [
            name for name, module in model.named_modules()
            if name.startswith(prefix) and name.rsplit(".", 1)[-1] in projections and isinstance(module, (nn.Linear, Conv1D))
        ]  # fmt: skip
        if not names:
            raise InputError(
                "lora_rank", expected=f"a {branch} encoder with projections called {', '.join(sorted(projections))}",
                got="none of them", remedy=f"fine-tune the {branch} branch itself: leave it out of freeze",
            )  # fmt: skip
        adapted += names
    config = LoraConfig(target_modules=adapted, **_low_rank(args))
    before = [(weight, weight.requires_grad) for weight in model.parameters()]
    inject_adapter_in_model(config, model)
    for weight, requires_grad in before:  # peft freezes all other weights, those of fusion and head too
        weight.requires_grad_(requires_grad)
    return adapted


def _low_rank(args: TrainingArguments) -> dict[str, Any]:
    return {"r": args.lora_rank, "lora_alpha": args.lora_alpha, "lora_dropout": args.lora_dropout}


def merged(model: Any) -> Any:
    """Return a copy of a model with its adapters added to the weights, as an ordinary model without adapters."""
    duplicate = copy.deepcopy(model)
    adapters = [
        (name, module)
        for name, module in duplicate.named_modules()
        if hasattr(module, "get_base_layer") and hasattr(module, "merge")
    ]
    for name, module in adapters:
        module.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(duplicate.get_submodule(parent), child, module.get_base_layer())
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        if attribute in duplicate.__dict__:
            delattr(duplicate, attribute)
    return duplicate


def save_adapter(model: Any, folder: str, names: Iterable[str], args: TrainingArguments, base: str | None) -> None:
    """Save the trained weights as a peft adapter: the low-rank matrices, and those of fusion and head.

    `PeftModel.from_pretrained(MultimodalEmotionClassifier.from_pretrained(...), folder)` reads it.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    adapted = sorted({name.split(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name})
    config = LoraConfig(target_modules=adapted, base_model_name_or_path=base, inference_mode=True, **_low_rank(args))
    config.save_pretrained(folder)
    trained = set(names)
    selected = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name in trained or name.endswith(("hidden_mean", "hidden_std"))
    }
    renamed = {
        f"base_model.model.{name.replace('.default.', '.')}": tensor.detach().cpu().contiguous()
        for name, tensor in selected.items()
    }
    save_file(renamed, f"{folder}/adapter_model.safetensors", {"format": "pt"})


class MovingAverage:
    """An exponential moving average of weights (as in Mean Teacher, https://arxiv.org/abs/1703.01780).

    Args:
        weights: the weights by name.
        decay: share of the old average that each step keeps. It is lower in the first steps, so that the initial
            weights lose their influence.
    """

    def __init__(self, weights: dict[str, nn.Parameter], decay: float):
        self.weights = weights
        self.decay = decay
        self.average = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after optimizer step `step` (the first is 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.average.values()), [weight.detach() for weight in self.weights.values()], 1 - decay
        )

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and average; a second call restores them exactly."""
        for name, weight in self.weights.items():
            current = weight.detach().clone()
            weight.copy_(self.average[name])
            self.average[name].copy_(current)
