"""Checks of a repository before a model is built from it: harmful settings, and weights that are not safetensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

INDEX = "model.safetensors.index.json"
REFERENCES = ("audio_tokenizer_config.json", "processor_config.json")
"""Files by which a processor could name a model of another repository, which transformers would load."""

MOST_LAYERS = 512
MOST_ENTRIES = 4_000_000
"""Most entries of a vocabulary, a table of positions or a width: several times those of the largest encoders."""

MOST_CLASSES = 10_000
SIZES = (
    "_size",
    "_dim",
    "_embeddings",
    "_positions",
    "_bins",
    "_heads",
    "d_model",
    "_ffn_dim",
    "d_ff",
    "n_embd",
    "dim",
)


def check_files(source: str, find: Callable[[str], Path | None], variant: str | None = None) -> None:
    """Refuse a repository whose settings would run code, load another repository, or build a huge model.

    Args:
        source: name of the repository in errors.
        find: function from the name of a file to its path; None: the repository has no such file.
        variant: variant of the requested weights, such as "fp16", which has its own index.

    Raises:
        OSError: the settings are harmful; the error names the file and the setting.
    """
    config = find("config.json")
    if config is not None:
        check_config(source, _read(source, config))
    for name in (INDEX, INDEX.replace(".json", f".{variant}.json")) if variant else (INDEX,):
        index = find(name)
        if index is not None:
            check_index(source, _read(source, index))
    for name in REFERENCES:
        path = find(name)
        if path is not None and (name == REFERENCES[0] or "audio_tokenizer" in _read(source, path)):
            raise _refusal(
                source,
                f"{name} to describe a feature extractor and a tokenizer",
                "an audio_tokenizer of another repository",
            )


def check_config(source: str, config: dict[str, Any]) -> None:
    """Refuse a configuration of another model, numbers that are not finite, names of code, and huge sizes.

    Raises:
        OSError: the configuration is harmful; the error names the setting.

    Example:
        >>> from multimodal_ser.hub.repository_checks import check_config
        >>> check_config("me/model", {"model_type": "multimodal_ser", "fusion_layers": 2})
        >>> check_config("me/model", {"model_type": "bert"})
        Traceback (most recent call last):
        ...
        OSError: me/model: expected a checkpoint of multimodal_ser, got one of 'bert'; from_pretrained_backbones makes a model of encoders
    """
    kind = config.get("model_type", "multimodal_ser")
    if kind != "multimodal_ser":
        remedy = "from_pretrained_backbones makes a model of encoders"
        raise _refusal(source, "a checkpoint of multimodal_ser", f"one of {kind!r}", remedy)
    for name, value in _settings(config):
        if (isinstance(value, float) and not math.isfinite(value)) or name == "__float__":
            raise _refusal(source, "numbers in config.json", f"{value} for {name}")
        if name.endswith(("attn_implementation", "experts_implementation")) and isinstance(value, str) and "/" in value:
            raise _refusal(
                source, "a config.json that names no code", f"{name} {value!r}, a kernel of another repository"
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            layers = "layers" in name or name == "n_layer"
            if layers and not 0 <= value <= MOST_LAYERS:
                raise _refusal(source, f"0 to {MOST_LAYERS} layers in config.json", f"{name} {value}")
            if not layers and name.endswith(SIZES) and abs(value) > MOST_ENTRIES:
                raise _refusal(source, f"sizes up to {MOST_ENTRIES} in config.json", f"{name} {value}")
    classes = config.get("id2label")
    if isinstance(classes, dict) and len(classes) > MOST_CLASSES:
        raise _refusal(source, f"up to {MOST_CLASSES} classes", f"{len(classes)}")
    temperature = config.get("temperature")
    for case, value in temperature.items() if isinstance(temperature, dict) else ():
        if isinstance(value, int | float) and 0 < value < 1e-6:  # the configuration itself refuses 0 and less
            raise _refusal(source, "temperatures that logits can be divided by", f"{value} for {case!r}")


def check_index(source: str, index: dict[str, Any]) -> None:
    """Refuse an index with shards outside the folder or of another kind: transformers would read pickles too.

    Raises:
        OSError: the index is harmful; the error names the file.
    """
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise _refusal(source, f"{INDEX} to name the file of each weight", "something else")
    for name in sorted(set(shards.values())):
        if Path(name).name != name or "\\" in name:
            raise _refusal(source, f"{INDEX} to name files in this folder", repr(name))
        if not name.endswith(".safetensors"):
            raise _refusal(source, f"{INDEX} to name safetensors", f"{name!r}, which may run code when it is read")


def check_weights(source: str, model: Any) -> None:
    """Refuse weights with NaN or infinity: such a model answers NaN to everything.

    Raises:
        OSError: some weights are not finite; the error names them.
    """
    broken = []
    for name, tensor in model.state_dict().items():
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.is_floating_point() and not tensor.is_meta
        # A sum is several times faster; if it overflows, the elements are checked.
        if plain and not torch.isfinite(tensor.sum(dtype=torch.float32)) and not torch.isfinite(tensor).all():
            broken.append(name)
    if broken:
        more = f" and {len(broken) - 4} more" if len(broken) > 4 else ""
        raise _refusal(source, "weights that are numbers", f"NaN or infinity in {', '.join(broken[:4])}{more}")


def _settings(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting and its name, at any depth; the names of classes are no settings."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key not in ("id2label", "label2id"):
                yield from _settings(value, str(key))
    elif isinstance(content, list):
        for value in content:
            yield from _settings(value, name)
    else:
        yield name, content


def _read(source: str, path: Path) -> dict[str, Any]:
    import json

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _refusal(source, f"a JSON object in {path.name}", "something else", "get the checkpoint again")
    return content


def _refusal(source: str, expected: str, got: str, remedy: str = "do not use this checkpoint") -> OSError:
    return OSError(f"{source}: expected {expected}, got {got}; {remedy}")
