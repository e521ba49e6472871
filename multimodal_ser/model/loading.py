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
"""How a checkpoint becomes a model: which weights may be new, which are refused by name; new classes, trained encoders."""

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
"""Where the names of the weights begin that `labels=[...]` starts anew, or may do without; the model without heads has none of them."""

HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "subfolder", "force_download", "trust_remote_code")
"""What `from_pretrained` hands on to every file that belongs to the model: configuration, weights, processor."""


def package_hub() -> Any:
    """`multimodal_ser.hub`, which checks what is loaded, explains refusals and writes cards; None: this file was copied, and the
    package is not installed. Then transformers loads, saves and pushes in its own way.
    """
    try:
        from multimodal_ser import hub
    except ImportError:
        return None
    return hub


def load_whole(
    load: Callable[..., Any], kind: str, source: Any, *args: Any, new: tuple[str, ...] = (), **kwargs: Any
) -> tuple[Any, Any]:
    """A model all of whose weights come from the checkpoint: transformers would make up those that do not, with a warning in a log.

    Args:
        load: transformers' own `from_pretrained`.
        kind: name of the class.
        source: folder or Hub id.
        *args: passed on.
        new: where the names of weights begin that may be missing, of another shape, or left over.
        **kwargs: passed on.

    Returns:
        the model, and transformers' account of the loading.

    Raises:
        ValueError: weights that are missing or of the wrong shape, with their names.
    """
    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # what does not fit is told below, by name; transformers would print a table of it
    if has_bar and Path(source).is_dir():  # of what has to be fetched people want to see how far it is
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
    """Where the processor of what was loaded lies: with it; with its base, where it was an adapter."""
    if getattr(model, "_hf_peft_config_loaded", False):
        return model.config._name_or_path, {"trust_remote_code": options["trust_remote_code"]}
    return source, options


def fetch_processor(model: Any, source: str) -> None:
    """Load the processor of a repository with the model: when it is first asked for there may be no connection."""
    if not Path(source).exists():
        with contextlib.suppress(OSError):  # a repository may have none, which is told where it is asked for
            _ = model.processor


def checked_labels(labels: Sequence[str]) -> list[str]:
    """The names of classes, if they are at least two different ones."""
    named = not isinstance(labels, str) and all(isinstance(label, str) for label in labels)
    if not named or len(set(labels)) != len(labels) or len(labels) < 2:
        raise ValueError(
            f"labels: expected at least two different names, got {labels!r}; give a list such as ['calm', 'urgent']"
        )
    return list(labels)


def trained_encoder(given: str | Path | PreTrainedModel, auto_class: Any) -> PreTrainedModel:
    """The encoder of a folder, of a Hub id, or of a model with any head."""
    if isinstance(given, PreTrainedModel):
        return given if given.config.model_type == "whisper" else given.base_model
    config = AutoConfig.from_pretrained(given)
    if type(config) not in auto_class._model_mapping:  # decoder language models are known to AutoModel alone
        auto_class = AutoModel
    try:  # safetensors where there are any; wav2vec2-base and others have none: of a pickle torch reads the tensors, and runs nothing
        model, info = auto_class.from_pretrained(given, weights_only=True, output_loading_info=True)
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":
            raise
        got = "a pickle of other things, which may run code when it is read"
        raise ValueError(f"{given}: expected weights of an encoder, got {got}; do not use it") from error
    # What SpecAugment masks with is not in checkpoints that were fine-tuned without it; a pooler is not used.
    missing = [
        name for name in sorted(info["missing_keys"]) if "masked_spec_embed" not in name and "pooler" not in name
    ]
    if missing:
        raise ValueError(
            f"{given}: expected all weights of a {type(model).__name__}, got a checkpoint without {', '.join(missing[:8])}"
            f"{f' and {len(missing) - 8} more' if len(missing) > 8 else ''}; get it again"
        )
    return model


def with_labels(config: MultimodalEmotionConfig, labels: Sequence[str]) -> MultimodalEmotionConfig:
    """The same configuration with other classes; what was fitted to the old ones (class weights, temperatures, label sets) is reset."""
    names = checked_labels(labels)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.class_weights = None
    config.temperature = dict.fromkeys(MODALITY_CASES, 1.0)
    config.conformal = {}
    return config
