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
"""The configurations of the whole model and of the Whisper encoder that may be its audio branch."""

import dataclasses
from difflib import get_close_matches
from typing import Any, Literal, cast

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

MODALITY_CASES = ("both", "audio", "text")
"""The modalities that a row may have; each case has its own temperature."""

CONFORMAL_METHODS = ("lac", "aps")
"""Methods for prediction sets: by the probability of each label, or by the sum over all labels down to it."""


# trf-ignore: TRF057 - documented by hand, as all of this package is
@strict
class WhisperAudioEncoderConfig(PreTrainedConfig):
    """Configuration of `WhisperAudioEncoder`: the encoder half of a `WhisperConfig`, cut after `encoder_layers` layers.

    Args:
        num_mel_bins: mel bands of the spectrogram, 80 (large-v3: 128).
        d_model: width of the hidden states.
        encoder_layers: how many of Whisper's layers are kept, from the lowest up.
        encoder_attention_heads: heads of each layer.
        encoder_ffn_dim: width inside the feed-forward block of each layer.
        max_source_positions: frames (50 a second) for which there are positions: 1500 are 30 s.

    Example:
        >>> from multimodal_ser.model.configuration_multimodal_ser import WhisperAudioEncoderConfig
        >>> WhisperAudioEncoderConfig(encoder_layers=4).hidden_size
        512
    """

    model_type = "whisper_audio_encoder"
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
        "num_attention_heads": "encoder_attention_heads",
        "intermediate_size": "encoder_ffn_dim",
    }

    num_mel_bins: int = 80
    # trf-ignore: TRF023 - Whisper's own names: its layers read them, and a WhisperConfig's fields are taken over as they are
    d_model: int = 512
    encoder_layers: int = 6
    encoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048
    max_source_positions: int = 1500
    activation_function: str = "gelu"
    dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    activation_dropout: float | int = 0.0
    initializer_range: float = 0.02


# trf-ignore: TRF057 - documented by hand, as all of this package is
@strict
class MultimodalEmotionConfig(PreTrainedConfig):
    """Configuration of `MultimodalEmotionClassifier`: two branches, the fusion between them, the heads.

    A keyword that is no field is refused (transformers would store a misspelt one silently).

    Args:
        audio_config: configuration of the audio branch (any speech encoder of transformers, or `WhisperAudioEncoderConfig`).
        text_config: configuration of the text branch (any text encoder of transformers).
        fusion_hidden_size: D, the width in which both branches meet.
        fusion_layers: N, how many `FusionLayer`s.
        fusion_attention_heads: heads of each cross-attention; divides D.
        fusion_intermediate_size: width inside the feed-forward blocks.
        fusion_dropout: dropout inside the fusion.
        classifier_dropout: dropout before the heads; None: as `fusion_dropout`.
        audio_projection_kernel: frames that the residual convolution behind the audio projection sees; odd, 1 is none.
        pooling_heads: heads of the attentive statistics pooling; divides D.
        pooling_norm: whether frames and tokens are normalised before they are pooled.
        combination: "gated": each modality's pooled statistics are projected to D and pass a gate that sees both, the sum is normalised;
            "concatenated": the statistics of both stand side by side, and the heads are linear in them.
        modality_dropout: in training, the share of rows with both modalities that lose one of them, either with equal chance.
        audio_mask_spans: in training, how many spans of each clip's frames are hidden, each at most an eighth of the clip long.
        label_smoothing: 0..1, share of the target spread over all classes.
        class_weights: one weight a class in the loss; None: all alike.
        dimensions: names of the regressed dimensions, such as `["arousal", "valence", "dominance"]`; empty: no such head.
        temperature: divides the logits outside training, one a modality case ("both", "audio", "text").
        conformal: thresholds of prediction sets, for each calibrated modality case: `{"audio": {"coverage": 0.9,
            "threshold": 0.8, "method": "lac", "label_set": "native"}}`; empty: there are no prediction sets. See
            `multimodal_ser.calibration`.
        text_languages: ISO 639-1 codes of the languages that the text branch reads; None: all.
        trained_modalities: the modalities of the training, "audio", "text" or both; with one of them, `predict` uses
            that one by default. None: both.
        transcriber: the Whisper that wrote the transcripts of the training data, such as "base".
        weights_license: licence of the weights, which also holds for models that are fine-tuned from them; None: not
            known.

    Raises:
        ValueError: an unknown keyword, or fields that do not fit each other.

    Example:
        >>> from multimodal_ser import MultimodalEmotionConfig
        >>> config = MultimodalEmotionConfig(
        ...     audio_config={"model_type": "wav2vec2"},
        ...     text_config={"model_type": "bert"},
        ...     id2label={0: "anger", 1: "joy"},
        ... )
        >>> config.num_labels, config.audio_config.hidden_size
        (2, 768)
    """

    model_type = "multimodal_ser"
    sub_configs = {"audio_config": AutoConfig, "text_config": AutoConfig}
    keys_to_ignore_at_inference = [
        "audio_attentions", "text_attentions", "gates", "embeddings", "layer_weights",
        "fused_audio_hidden_states", "fused_text_hidden_states",
    ]  # fmt: skip

    audio_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    fusion_hidden_size: int = 256
    fusion_layers: int = 2
    fusion_attention_heads: int = 4
    fusion_intermediate_size: int = 1024
    fusion_dropout: float | int = 0.1
    classifier_dropout: float | int | None = None
    audio_projection_kernel: int = 5
    pooling_heads: int = 4
    pooling_norm: bool = True
    combination: Literal["gated", "concatenated"] = "gated"
    modality_dropout: float | int = 0.2
    audio_mask_spans: int = 0
    label_smoothing: float | int = 0.0
    class_weights: list[float | int] | None = None
    dimensions: list[str] = dataclasses.field(default_factory=list)
    temperature: dict[str, float | int] = dataclasses.field(default_factory=lambda: dict.fromkeys(MODALITY_CASES, 1.0))
    conformal: dict[str, dict[str, float | int | str]] = dataclasses.field(default_factory=dict)
    text_languages: list[str] | None = None
    trained_modalities: list[str] | None = None
    transcriber: str | None = None
    weights_license: str | None = None
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers; but classes in the arguments replace all entries on classes in the file."""
        overrides = {name: kwargs.pop(name) for name in ("id2label", "label2id") if name in kwargs}
        if overrides or kwargs.get("num_labels", len(config_dict.get("id2label") or ())) != len(
            config_dict.get("id2label") or ()
        ):
            config_dict = {
                name: value for name, value in config_dict.items() if name not in ("id2label", "label2id")
            } | overrides
        return super().from_dict(config_dict, **kwargs)

    def __post_init__(self, **kwargs: Any) -> None:
        unknown = [key for key in kwargs if key not in INHERITED_KEYWORDS and not key.startswith("_")]
        if unknown:
            close = get_close_matches(unknown[0], self.__dataclass_fields__, n=1)
            hint = (
                f"did you mean {close[0]!r}?"
                if close
                else "see its documentation, or update multimodal_ser if a newer one wrote it"
            )
            raise ValueError(
                f"MultimodalEmotionConfig: expected its own fields, got unknown keyword {', '.join(map(repr, unknown))}; {hint}"
            )
        self.audio_config = _sub_config(self.audio_config, "audio_config", "wav2vec2")
        self.text_config = _sub_config(self.text_config, "text_config", "bert")
        if self.weights_license is not None:  # a branch that is saved alone keeps the licence
            for branch_config in (self.audio_config, self.text_config):
                cast(Any, branch_config).weights_license = self.weights_license
        self._take_names(kwargs.get("num_labels"))
        super().__post_init__(**kwargs)
        self.label2id = {
            name: index for index, name in self.id2label.items()
        }  # the two maps cannot contradict each other
        if __name__ == "multimodal_ser.model.configuration_multimodal_ser":  # copied code has another name
            try:  # an Auto class that has just made this configuration looks for its model next
                import multimodal_ser
            except ImportError:
                return
            multimodal_ser.register_auto_classes()

    def _take_names(self, num_labels: int | None) -> None:
        """Set the names of the classes from either map; else transformers might call them LABEL_0, LABEL_1, ..."""
        fields: Any = self.__dict__
        names, indices = fields["id2label"], fields["label2id"]
        if names is None and indices is not None:
            names = {index: name for name, index in indices.items()}
        if names is not None:
            self.id2label = {int(index) if str(index).isdigit() else index: name for index, name in names.items()}
            if num_labels not in (None, len(names)):
                raise ValueError(
                    f"num_labels: expected {len(names)}, as id2label has names, got {num_labels}; leave it out"
                )

    def validate_architecture(self) -> None:
        """Check that the fields fit each other (called by `@strict`)."""
        names = self.id2label or {}
        unnamed = [name for name in names.values() if not isinstance(name, str)]
        if not names or set(names) != set(range(len(names))) or len(set(names.values())) != len(names) or unnamed:
            raise ValueError(
                f"id2label: expected a different name for each class 0, 1, 2, ..., got {names}; name each class once"
            )
        width = self.fusion_hidden_size
        for name in ("fusion_attention_heads", "pooling_heads"):
            if width % getattr(self, name):
                raise ValueError(
                    f"{name}: expected a divisor of fusion_hidden_size={width}, got {getattr(self, name)}; choose one, such as 4"
                )
        for name in ("modality_dropout", "label_smoothing", "fusion_dropout", "classifier_dropout"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}; 0 turns it off")
        if self.audio_projection_kernel % 2 == 0:
            raise ValueError(
                f"audio_projection_kernel: expected an odd number of frames, got {self.audio_projection_kernel}; choose 1, 3, 5 ..."
            )
        if set(self.temperature) != set(MODALITY_CASES) or min(self.temperature.values()) <= 0:
            raise ValueError(
                f"temperature: expected a positive number for each of {MODALITY_CASES}, got {self.temperature}; 1.0 changes nothing"
            )
        for case, stored in self.conformal.items():
            numbers = [
                value for name in ("coverage", "threshold") if isinstance(value := stored.get(name), float | int)
            ]
            is_valid = (
                case in MODALITY_CASES
                and stored.get("method") in CONFORMAL_METHODS
                and isinstance(stored.get("label_set"), str)
            )
            if not is_valid or len(numbers) < 2 or not all(0 <= number <= 1 for number in numbers):
                raise ValueError(
                    f"conformal: expected for some of {MODALITY_CASES} coverage and threshold from 0 to 1, method (one of "
                    f"{CONFORMAL_METHODS}) and label_set, got {case!r}: {stored}; multimodal-ser calibrate writes it"
                )
        if self.class_weights is not None and len(self.class_weights) != self.num_labels:
            raise ValueError(
                f"class_weights: expected {self.num_labels} numbers, one a label, got {len(self.class_weights)}; give one a label or None"
            )


INHERITED_KEYWORDS = frozenset(
    [
        "num_labels",
        "torch_dtype",
        "name_or_path",
        "output_attentions",
        "attn_implementation",
        "experts_implementation",
        "auto_map",
        "model_type",
        "transformers_version",
        "custom_pipelines",
        "per_layer_config",
        "trust_remote_code",
        "quantization_config",
        "use_cache",  # Trainer writes it into the configuration of whatever it trains
        "tie_word_embeddings",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "task_specific_params",
        "gradient_checkpointing",
    ]
)
"""Keywords without a field that transformers itself passes to a configuration or writes into its file."""


def _sub_config(
    config: dict | PreTrainedConfig | None, field: str, default: Literal["wav2vec2", "bert"]
) -> PreTrainedConfig:
    if isinstance(config, PreTrainedConfig):
        return config
    fields = dict(config or {})
    model_type = fields.pop("model_type", default)
    if model_type not in CONFIG_MAPPING:
        close = get_close_matches(model_type, CONFIG_MAPPING.keys(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "is this version of transformers old?"
        raise ValueError(f"{field}: expected a model_type that transformers knows, got {model_type!r}; {hint}")
    return CONFIG_MAPPING[model_type](**fields)


AutoConfig.register(WhisperAudioEncoderConfig.model_type, WhisperAudioEncoderConfig, exist_ok=True)
AutoConfig.register(MultimodalEmotionConfig.model_type, MultimodalEmotionConfig, exist_ok=True)
