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
"""The classifier: heads on the fused vector, its loss, and how it is loaded and saved.

Symbols in shapes: B batch, S samples, T audio frames (50 a second), L text tokens, D fusion width, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import CommitInfo
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForTextEncoding,
    PreTrainedModel,
)
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_multimodal_ser import MODALITY_CASES, MultimodalEmotionConfig, WhisperAudioEncoderConfig
from .fingerprint import encoder_fingerprint, weights_digest
from .loading import (
    HEAD,
    HUB_OPTIONS,
    checked_labels,
    fetch_processor,
    package_hub,
    processor_source,
    trained_encoder,
    with_labels,
)
from .losses import concordance_loss, emotion_loss
from .modeling_core import MultimodalEmotionModel, MultimodalEmotionPreTrainedModel
from .modeling_whisper_audio_encoder import WhisperAudioEncoder
from .pipeline import SAMPLING_RATE, TASK, SpeechEmotionRecognitionPipeline
from .processing_multimodal_ser import MultimodalEmotionProcessor
from .sharing import evaluation_view

try:  # transformers takes every import outside a try, be it in a function, for one that copied code cannot do without
    from multimodal_ser.inference.interface import EmotionInference
except ImportError:

    class EmotionInference:  # type: ignore[no-redef]
        """Stands in where this file was copied and the package is not installed: the model works, `predict` does not."""

        def predict(self, *args: Any, **options: Any) -> Any:
            """Say what is missing."""
            raise ImportError(
                "predict: expected the package multimodal_ser, got none; pip install multimodal_ser, or call the model itself"
            )

        predict_iter = embed = enroll = predict


SHIPPED_CHECKPOINT = Path(__file__).resolve().parents[1] / "pretrained"
"""The checkpoint that is part of the package; `from_pretrained()` with no argument loads it."""

PUSH_OPTIONS = ("commit_message", "commit_description", "private", "token", "revision", "create_pr", "tags")
"""What `save_pretrained(..., push_to_hub=True)` hands on to `push_to_hub`."""


# trf-ignore: TRF057 - documented by hand, as all of this package is
@dataclass
class MultimodalEmotionOutput(ModelOutput):
    """What the classifier returns.

    Args:
        loss: (1,); None without labels.
        logits: (B, C), outside training divided by the temperature of each row's modality case.
        dimensions: (B, number of dimensions), where the model has that head.
        embeddings: (B, D), both modalities combined; with `combination="concatenated"` (B, 4 D).
        gates: (B, 2), how far the combination's gates for audio and for text stand open, 0..1; None where it has none.
        audio_attentions: with `output_attentions=True`, a tensor (B, heads, T, L) a fusion layer.
        text_attentions: likewise (B, heads, L, T).
        fused_audio_hidden_states: with `output_hidden_states=True`, N + 1 tensors (B, T, D): before the fusion layers and after each.
        fused_text_hidden_states: likewise (B, L, D).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    dimensions: torch.Tensor | None = None
    embeddings: torch.Tensor | None = None
    gates: torch.Tensor | None = None
    audio_attentions: tuple[torch.Tensor, ...] | None = None
    text_attentions: tuple[torch.Tensor, ...] | None = None
    fused_audio_hidden_states: tuple[torch.Tensor, ...] | None = None
    fused_text_hidden_states: tuple[torch.Tensor, ...] | None = None


class MultimodalEmotionClassifier(EmotionInference, MultimodalEmotionPreTrainedModel):
    """Emotion probabilities from a recording, its words, or both.

    Args:
        config: its configuration. `from_pretrained()` loads the checkpoint that ships in the package, `from_pretrained_backbones`
            starts a new model on trained branches.

    Example:
        >>> from multimodal_ser import MultimodalEmotionClassifier
        >>> classifier = MultimodalEmotionClassifier.from_pretrained()
        >>> prediction = classifier.predict(text="I can't believe it, we won!")
        >>> sorted(prediction.probabilities)[:3]
        ['anger', 'boredom', 'calm']
    """

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__(config)
        if config.problem_type not in (None, "single_label_classification"):
            raise ValueError(
                f"problem_type: expected None or 'single_label_classification', got {config.problem_type!r}; the kind of loss is told by "
                "the labels themselves (class indices, soft targets, admissible classes), and numbers are learned as dimensions=[...]"
            )
        self.model = MultimodalEmotionModel(config)
        self.main_input_name = self.model.main_input_name
        gated = config.combination == "gated"
        width = config.fusion_hidden_size if gated else 4 * config.fusion_hidden_size
        # CODEPATH: gated vectors are normalised, as in the shipped checkpoint; concatenated statistics are taken as they are.
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps) if gated else nn.Identity()
        self.dropout = nn.Dropout(
            config.fusion_dropout if config.classifier_dropout is None else config.classifier_dropout
        )
        self.classifier = nn.Linear(width, config.num_labels)
        # CODEPATH: checkpoints with arousal, valence and dominance have names in `dimensions`; the shipped one has none.
        self.regressor = nn.Linear(width, len(config.dimensions)) if config.dimensions else None
        self._processor: MultimodalEmotionProcessor | None = None
        self._processor_source: tuple[str, dict[str, Any]] | None = None
        self._whisper: Any = "auto"
        self._transcriber: Any = None
        self.post_init()

    # trf-ignore: TRF057 - documented by hand
    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        audio_attention_mask: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        dimension_targets: torch.Tensor | None = None,
        mixup_index: torch.Tensor | None = None,
        mixup_share: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> MultimodalEmotionOutput:
        """Classify; inputs as `MultimodalEmotionModel.forward` takes them.

        Args:
            input_values: (B, S) samples at 16 kHz.
            audio_attention_mask: (B, S) or (B, F), 1 for what is true.
            input_ids: (B, L) token ids.
            attention_mask: (B, L), 1 for true tokens.
            input_features: (B, M, F) spectrogram, for audio branches that take one.
            labels: class indices (B,), -100 for a row without one; or soft targets (B, C), float; or admissible classes (B, C),
                bool: the loss is -log of the probability of that set, the softmax over all C.
            dimension_targets: (B, number of dimensions), NaN where not annotated; adds a concordance loss.
            mixup_index: (B,) the row that each is mixed with, for training: the logits are those of a mixture of both fused vectors, the
                loss is the same mixture of both losses (manifold mixup, https://arxiv.org/abs/1806.05236). Dimensions are not mixed.
            mixup_share: (B,) 0..1, the row's own share of its mixture; needed with `mixup_index`.
            **kwargs: further inputs of `MultimodalEmotionModel.forward`.

        Raises:
            ValueError: neither audio nor text; labels of another shape or type.
        """
        outputs = self.model(
            input_values=input_values,
            audio_attention_mask=audio_attention_mask,
            input_ids=input_ids,
            attention_mask=attention_mask,
            input_features=input_features,
            **kwargs | {"return_dict": True},
        )
        pooled = self.dropout(self.norm(outputs.embeddings))
        mixed = pooled
        if mixup_index is not None and mixup_share is not None:
            embeddings = outputs.embeddings.lerp(
                outputs.embeddings[mixup_index], (1 - mixup_share)[:, None].to(outputs.embeddings)
            )
            mixed = self.dropout(self.norm(embeddings))
        logits = self.classifier(mixed)
        dimensions = None if self.regressor is None else self.regressor(pooled)
        if not self.training:
            temperature = torch.tensor(
                [self.config.temperature[case] for case in MODALITY_CASES], device=logits.device, dtype=logits.dtype
            )
            logits = logits / temperature[outputs.case.to(logits.device)][:, None]
        loss = None
        if labels is not None:
            labels = labels.to(logits.device)
            smoothing, weights = self.config.label_smoothing, self.config.class_weights
            if mixup_index is None or mixup_share is None:
                loss = emotion_loss(logits, labels, smoothing, weights)
            else:
                loss = emotion_loss(logits, labels, smoothing, weights, mixup_share)
                loss = loss + emotion_loss(logits, labels[mixup_index], smoothing, weights, 1 - mixup_share)
        if dimension_targets is not None and dimensions is not None:
            dimension_loss = concordance_loss(dimensions, dimension_targets)
            loss = dimension_loss if loss is None else loss + dimension_loss
        return MultimodalEmotionOutput(
            loss=loss,
            logits=logits,
            dimensions=dimensions,
            embeddings=outputs.embeddings,
            gates=outputs.gates,
            audio_attentions=outputs.audio_attentions,
            text_attentions=outputs.text_attentions,
            fused_audio_hidden_states=outputs.fused_audio_hidden_states,
            fused_text_hidden_states=outputs.fused_text_hidden_states,
        )

    framework = "pt"
    """What a speaker profile is read as: a tensor."""

    def forward_windows(
        self, windows: Sequence[tuple[np.ndarray | None, str | None, list[str] | None]], speaker_mean: Any = None
    ) -> tuple[Any, ...]:
        """Answer B windows, each a waveform (S,) at 16 kHz, its text and the turns before it, or None.

        In evaluation mode, whatever the mode of the model, on which nothing is set: threads may share it.

        Args:
            windows: of which each has audio, text or both.
            speaker_mean: (layers + 1, Da), the mean hidden states of whoever speaks; None: unknown.

        Returns:
            float32 arrays: logits (B, C), embeddings (B, D), means of the audio branch's hidden states over true frames
            (B, layers + 1, Da), NaN in rows without audio, or None where no row has any; dimensions (B, K) or None.
        """
        audio, text, context = (list(values) for values in zip(*windows, strict=True))
        inputs = self.processor(audio=audio, text=text, context=context, sampling_rate=SAMPLING_RATE).to(self.device)
        inputs = {name: value.to(self.dtype) if value.is_floating_point() else value for name, value in inputs.items()}
        view, means = evaluation_view(self), None
        with torch.inference_mode():
            if self.main_input_name in inputs:
                states, frames = view.model.get_audio_features(
                    inputs.pop(self.main_input_name), inputs["audio_attention_mask"]
                )
                means = torch.stack([row[:, mask].float().mean(1) for row, mask in zip(states, frames, strict=True)])
                inputs |= {"audio_hidden_states": states, "audio_attention_mask": frames}
                if speaker_mean is not None:
                    mean = torch.as_tensor(speaker_mean).to(self.device, self.dtype)
                    inputs["speaker_mean"] = mean.expand(len(windows), -1, -1)
            outputs = view(**inputs)
        tensors = (outputs.logits, outputs.embeddings, means, outputs.dimensions)
        return tuple(None if tensor is None else tensor.float().cpu().numpy() for tensor in tensors)

    @property
    def encoder_fingerprint(self) -> str:
        """Tells audio branches apart; a speaker profile fits the branch that made it."""
        return encoder_fingerprint(self.model.audio_branch.encoder)

    def weights_digest(self) -> str | None:
        """Tells weights apart, by which a card knows its model again: sha256 (hex), see `fingerprint.weights_digest`."""
        return weights_digest(self)

    @property
    def labels(self) -> list[str]:
        """The names of the C classes, in the order of the logits."""
        return [self.config.id2label[i] for i in range(self.config.num_labels)]

    @property
    def processor(self) -> MultimodalEmotionProcessor:
        """The processor that belongs to this model; loaded with it, or set."""
        if self._processor is None:
            if self._processor_source is None:
                raise ValueError(
                    "processor: expected one, got a model that was built from a configuration; set classifier.processor = ..."
                )
            source, options = self._processor_source
            self._processor = MultimodalEmotionProcessor.from_pretrained(source, **options)
        return self._processor

    @processor.setter
    def processor(self, processor: MultimodalEmotionProcessor | None) -> None:
        self._processor = processor

    @property
    def _whisper_options(self) -> dict[str, Any]:
        return {"device": self.device}

    def to(self, *args: Any, **kwargs: Any) -> MultimodalEmotionClassifier:
        """Move or cast the model, as `torch.nn.Module.to` does; its transcriber moves along."""
        super().to(*args, **kwargs)
        if self._transcriber is not None:
            self._transcriber.to(self.device)
        return self

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path | None = None,
        *args: Any,
        labels: Sequence[str] | None = None,
        whisper: Any = "auto",
        device: str | torch.device | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a checkpoint: the one that ships in the package (no argument), a folder, or a repository of the Hugging Face Hub.

        Args:
            pretrained_model_name_or_path: folder or Hub id; None: the checkpoint in the package.
            *args: passed on to transformers.
            labels: names of new classes: the head is replaced by a new, untrained one.
            whisper: the transcriber: a name ("small"), a path, a `WhisperTranscriber`, None for none; "auto": one that
                is on this machine.
            device: where to put the model.
            **kwargs: passed on to transformers: `dtype`, `device_map`, ...; for a Hub id `revision`, `cache_dir`, `token`,
                `local_files_only`, `subfolder`, which hold for the processor too.

        Raises:
            ValueError: weights that are missing or of the wrong shape, with their names; code of the repository that the processor
                would run, without `trust_remote_code=True`.
            OSError: what the Hub refuses, with the remedy; pickled weights, weights outside the folder, weights that are NaN.
        """
        source = str(SHIPPED_CHECKPOINT if pretrained_model_name_or_path is None else pretrained_model_name_or_path)
        if (Path(source).is_absolute() or source.startswith(".")) and not Path(source).exists():
            raise OSError(
                f"{source}: expected a folder with a checkpoint, or a Hub id, got no such folder; check the path"
            )
        options = {"trust_remote_code": False} | {key: kwargs[key] for key in HUB_OPTIONS if key in kwargs}
        hub, load = package_hub(), cls._load_whole
        if hub is not None:
            options = hub.pinned(source, options, kwargs.get("variant"))
            hub.check_adapter(source, options, labels)
            load = partial(hub.telling, source, load)
        kwargs |= options
        wants_info = kwargs.pop("output_loading_info", False)
        if labels is not None:
            config = kwargs.pop("config", None)
            count = kwargs.pop("num_labels", len(labels))
            if count != len(labels):
                raise ValueError(f"num_labels: expected {len(labels)}, as there are labels, got {count}; leave it out")
            if not isinstance(config, MultimodalEmotionConfig):
                fields = {
                    name: kwargs.pop(name)
                    for name in MultimodalEmotionConfig.__dataclass_fields__
                    if name in kwargs and name != "dtype"
                }
                config = AutoConfig.from_pretrained(config or source, **options, **fields)
            kwargs["config"] = with_labels(copy.deepcopy(config), labels)
        model, info = load(source, *args, new=HEAD if labels is not None else (), **kwargs)
        if labels is not None:
            if model.classifier.weight.is_meta:
                raise ValueError(
                    "labels: expected room in memory for the new head, got a device_map that puts it on disk; map it elsewhere"
                )
            nn.init.normal_(model.classifier.weight, std=model.config.initializer_range)
            nn.init.zeros_(model.classifier.bias)
        if hub is not None:
            hub.check_weights(source, model)
        model._processor_source = processor_source(model, source, options)
        fetch_processor(model, source)
        model._whisper = whisper
        if device is not None:
            model.to(device)
        return (model, info) if wants_info else model

    @classmethod
    def from_pretrained_backbones(
        cls,
        audio: str | Path | PreTrainedModel,
        text: str | Path | PreTrainedModel,
        labels: Sequence[str],
        *,
        audio_layers: int | None = None,
        processor: MultimodalEmotionProcessor | None = None,
        whisper: Any = "auto",
        **config: Any,
    ) -> MultimodalEmotionClassifier:
        """A new model on trained branches; fusion and heads are untrained.

        Args:
            audio: folder, Hub id or model of a speech encoder (wav2vec2, HuBERT, WavLM, wav2vec2-BERT, ...) or a Whisper (its encoder).
            text: the same of a text encoder (BERT, XLM-R, DeBERTa, ..., T5's) or a decoder (GPT-2, Qwen, ...); see docs/backbones.md.
            labels: names of the classes.
            audio_layers: keep only the lowest k layers of the speech encoder.
            processor: needed only where `audio` or `text` is a model, which knows no folder to load one from.
            whisper: the transcriber, as in `from_pretrained`.
            **config: fields of `MultimodalEmotionConfig`; `weights_license` is what branches of a model of ours carry on, unless given.

        Raises:
            ValueError: an unknown field, labels that are not at least two different names, more layers than there are, a model that
                cannot be a branch, or a folder that lacks weights of its encoder, with their names.
        """
        audio_model = trained_encoder(audio, AutoModel)
        if audio_model.config.model_type == "whisper":
            audio_model = WhisperAudioEncoder.from_whisper(audio_model, audio_layers)
        text_model = trained_encoder(text, AutoModelForTextEncoding)
        audio_config, text_config = audio_model.config.to_dict(), text_model.config.to_dict()
        for branch_config in (audio_config, text_config):
            branch_config.pop("dtype", None)  # the new model is of one type, whatever the folders were stored in
            if Path(
                branch_config.get("_name_or_path") or "."
            ).exists():  # a folder of this machine means nothing on another; a Hub id does
                branch_config.pop("_name_or_path", None)
        if audio_layers is not None:
            available = audio_model.config.num_hidden_layers
            if not 1 <= audio_layers <= available:
                raise ValueError(
                    f"audio_layers: expected 1 to {available}, the layers of this encoder, got {audio_layers}; choose one of them"
                )
            audio_config[audio_model.config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = audio_layers
        names = checked_labels(labels)
        licences = dict.fromkeys(
            each.weights_license for each in (audio_model.config, text_model.config) if hasattr(each, "weights_license")
        )
        config.setdefault("weights_license", " and ".join(licences) or None)
        model = cls(
            MultimodalEmotionConfig(
                audio_config=audio_config, text_config=text_config, id2label=dict(enumerate(names)),
                label2id={name: index for index, name in enumerate(names)}, **config,
            )
        )  # fmt: skip
        for branch, trained in ((model.model.audio_branch, audio_model), (model.model.text_branch, text_model)):
            weights = trained.state_dict()
            branch.encoder.load_state_dict({name: weights[name] for name in branch.encoder.state_dict()})
        if processor is not None:
            model.processor = processor
        elif not isinstance(audio, PreTrainedModel) and not isinstance(text, PreTrainedModel):
            model.processor = MultimodalEmotionProcessor.from_backbones(str(audio), str(text))
        model._whisper = whisper
        return model.eval()

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str | None = "50GB",
        tags: Sequence[str] | None = None,
    ) -> CommitInfo:
        """Upload model, processor, temperatures and card to a repository of the Hub, in one commit; it is made where there is none.

        A push that changes nothing makes no commit. A card that a person has written there stays; old weights that these replace go.

        Args:
            repo_id: such as "me/my-emotions".
            commit_message: one line; "Upload model" where none is given.
            commit_description: more lines.
            private: whether a new repository can be seen by you alone.
            token: an access token; where none is given, the one that `hf auth login` stored or HF_TOKEN.
            revision: branch to push to; it is made where there is none.
            create_pr: open a pull request instead of changing the branch.
            max_shard_size: of one file of weights.
            tags: further ones of the card; those that the repository's card has stay.

        Raises:
            OSError: what the Hub refuses, with the remedy.
        """
        hub = package_hub()
        push = super().push_to_hub if hub is None else partial(hub.push_model, self)
        return push(
            repo_id, commit_message=commit_message, commit_description=commit_description, private=private, token=token,
            revision=revision, create_pr=create_pr, max_shard_size=max_shard_size, tags=tags,
        )  # fmt: skip

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # type: ignore[override]
        """Write model, processor (where there is one) and a model card into a folder, ready for `from_pretrained`.

        With `push_to_hub=True` all of it is pushed too, to `repo_id` or a repository of the folder's name; `push_to_hub` has the options.
        """
        push_too = kwargs.pop("push_to_hub", False)
        options = {name: kwargs.pop(name) for name in ("repo_id", *PUSH_OPTIONS) if name in kwargs} if push_too else {}
        super().save_pretrained(save_directory, **kwargs)
        if self._processor is not None or self._processor_source is not None:
            self.processor.save_pretrained(save_directory)
        if kwargs.get("is_main_process", True):
            if (hub := package_hub()) is not None:
                hub.save_model_card(self, save_directory)
            if push_too:
                self.push_to_hub(options.pop("repo_id", Path(save_directory).name), **options)


AutoModel.register(WhisperAudioEncoderConfig, WhisperAudioEncoder, exist_ok=True)
AutoModel.register(MultimodalEmotionConfig, MultimodalEmotionModel, exist_ok=True)
AutoModelForAudioClassification.register(MultimodalEmotionConfig, MultimodalEmotionClassifier, exist_ok=True)
if TASK not in PIPELINE_REGISTRY.supported_tasks:  # else by the package, and this file is a copy
    PIPELINE_REGISTRY.register_pipeline(
        TASK,
        SpeechEmotionRecognitionPipeline,
        AutoModelForAudioClassification,
        default={"model": (str(SHIPPED_CHECKPOINT), "main")}
        if SHIPPED_CHECKPOINT.is_dir()
        else None,  # copied code has none
    )
