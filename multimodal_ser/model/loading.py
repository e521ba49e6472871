# Copyright 2026 The multimodal_ser authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Functions that load checkpoints and encoders, refuse missing weights by name, and replace the classes of a model."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import logging

from .configuration_multimodal_ser import MODALITY_CASES, MultimodalEmotionConfig

HEAD = ("classifier.", "regressor.", "norm.")
"""Beginnings of the names of the heads' weights, which `labels=[...]` makes new; the model without heads has none."""

HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "subfolder", "force_download", "trust_remote_code")
"""Options that `from_pretrained` uses for every file of the model: configuration, weights, processor."""


def package_hub() -> Any:
    """`multimodal_ser.hub`, which checks files, explains refusals and writes cards; None: the package is not installed.

    That is the case where this file was copied alone; then transformers loads, saves and pushes in its own way.
    """
    try:
        from multimodal_ser import hub
    except ImportError:
        return None
    return hub


def load_whole(
    load: Callable[..., Any], kind: str, source: Any, *args: Any, new: tuple[str, ...] = (), **kwargs: Any
) -> tuple[Any, Any]:
    """Load a model with all of its weights; for missing ones, transformers would use random numbers and log a warning.

    Args:
        load: transformers' own `from_pretrained`.
        kind: name of the class, for errors.
        source: folder or Hub id.
        *args: further arguments of `load`.
        new: beginnings of the names of weights that may be missing, have another shape, or be unused.
        **kwargs: further arguments of `load`.

    Returns:
        The model, and transformers' loading info.

    Raises:
        ValueError: weights are missing or have the wrong shape; the error names them.
    """
    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # the error below names what does not fit; transformers would print a table
    if has_bar and Path(source).is_dir():  # a download shows its progress
        logging.disable_progress_bar()
    try:
        model, info = load(source, *args, **kwargs | {"ignore_mismatched_sizes": True, "output_loading_info": True})
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()
    mismatched = {name: f"{tuple(got)} instead of {tuple(expected)}" for name, got, expected in info["mismatched_keys"]}
    wrong = [f"{name} (missing)" for name in sorted(info["missing_keys"]) if not name.startswith(new)]
    wrong += [f"{name} ({shapes})" for name, shapes in sorted(mismatched.items()) if not name.startswith(new)]
    if wrong:
        raise ValueError(
            f"{source}: expected all weights of a {kind}, got a checkpoint whose {', '.join(wrong[:8])}"
            f"{f' and {len(wrong) - 8} more' if len(wrong) > 8 else ''} would be random; "
            "load the right checkpoint, or ask for a new head with labels=[...]"
        )
    unknown = [name for name in sorted(info["unexpected_keys"]) if not name.startswith(new)]
    if unknown:
        warnings.warn(
            f"{source}: weights that a {kind} has no use for were left out: {', '.join(unknown[:8])}", stacklevel=5
        )
    return model, info


def processor_source(model: Any, source: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The source of a model's processor and its options: that of the model, or for an adapter that of its base."""
    if getattr(model, "_hf_peft_config_loaded", False):
        return model.config._name_or_path, {"trust_remote_code": options["trust_remote_code"]}
    return source, options


def fetch_processor(model: Any, source: str) -> None:
    """Load the processor of a repository with the model, because there may be no connection when it is first used."""
    if not Path(source).exists():
        with contextlib.suppress(
            OSError
        ):  # a repository may have none; the first use of the processor raises the error
            _ = model.processor


def checked_labels(labels: Sequence[str]) -> list[str]:
    """The names of classes as a list; a ValueError unless there are at least two different ones."""
    are_names = not isinstance(labels, str) and all(isinstance(label, str) for label in labels)
    if not are_names or len(set(labels)) != len(labels) or len(labels) < 2:
        raise ValueError(
            f"labels: expected at least two different names, got {labels!r}; give a list such as ['calm', 'urgent']"
        )
    return list(labels)


def trained_encoder(source: str | Path | PreTrainedModel, auto_class: Any) -> PreTrainedModel:
    """The encoder of a folder, of a Hub id, or of a model with any head."""
    if isinstance(source, PreTrainedModel):
        return source if source.config.model_type == "whisper" else source.base_model
    config = AutoConfig.from_pretrained(source)
    if type(config) not in auto_class._model_mapping:  # only AutoModel has decoder language models
        auto_class = AutoModel
    # this prefers safetensors; without them (wav2vec2-base), torch reads the tensors of a pickle and runs no code
    try:
        model, info = auto_class.from_pretrained(source, weights_only=True, output_loading_info=True)
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":
            raise
        got = "a pickle of other things, which may run code when it is read"
        raise ValueError(f"{source}: expected weights of an encoder, got {got}; do not use it") from error
    # Checkpoints that were fine-tuned without SpecAugment lack its mask embedding; a pooler is not used.
    missing = [
        name for name in sorted(info["missing_keys"]) if "masked_spec_embed" not in name and "pooler" not in name
    ]
    if missing:
        raise ValueError(
            f"{source}: expected all weights of a {type(model).__name__}, got a checkpoint without {', '.join(missing[:8])}"
            f"{f' and {len(missing) - 8} more' if len(missing) > 8 else ''}; get it again"
        )
    return model


def with_labels(config: MultimodalEmotionConfig, labels: Sequence[str]) -> MultimodalEmotionConfig:
    """The same configuration with other classes; class weights, temperatures and conformal thresholds are reset."""
    names = checked_labels(labels)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.class_weights = None
    config.temperature = dict.fromkeys(MODALITY_CASES, 1.0)
    config.conformal = {}
    return config
