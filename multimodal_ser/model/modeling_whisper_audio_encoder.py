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
"""Whisper's encoder as an audio branch: its lowest layers, on the clip's own length, with a mask.

transformers' `WhisperEncoder` takes windows padded to 30 s and ignores masks. The lower layers know most about *how* something
is said, and need no padding: this module runs Whisper's own layers on as many frames as the clip has.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers import PreTrainedModel, WhisperModel
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperAttention, WhisperEncoderLayer
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_multimodal_ser import WhisperAudioEncoderConfig


def sinusoids(length: int, channels: int) -> torch.Tensor:
    """Whisper's sinusoidal positions, (length, channels); as `whisper.model.sinusoids` computes them."""
    log_step = math.log(10_000) / (channels // 2 - 1)
    frequencies = torch.exp(-log_step * torch.arange(channels // 2))
    angles = torch.arange(length)[:, None] * frequencies[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class WhisperAudioEncoder(PreTrainedModel):
    """The lowest layers of a Whisper encoder, for clips of any length up to 30 s.

    Args:
        config: its configuration; `WhisperAudioEncoder.from_whisper` makes both from a Whisper.

    Example:
        >>> import torch
        >>> from multimodal_ser.model.configuration_multimodal_ser import WhisperAudioEncoderConfig
        >>> from multimodal_ser.model.modeling_whisper_audio_encoder import WhisperAudioEncoder
        >>> config = WhisperAudioEncoderConfig(
        ...     d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64
        ... )
        >>> encoder = WhisperAudioEncoder(config)
        >>> encoder(torch.randn(1, 80, 300)).last_hidden_state.shape  # 300 mel frames are 3 s; 50 hidden states a second
        torch.Size([1, 150, 32])
    """

    config: WhisperAudioEncoderConfig
    config_class = WhisperAudioEncoderConfig
    base_model_prefix = "whisper_audio_encoder"
    main_input_name = "input_features"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["WhisperEncoderLayer"]
    _supports_flash_attn = False
    _supports_sdpa = True
    _can_record_outputs = {
        "hidden_states": WhisperEncoderLayer,
        "attentions": OutputRecorder(WhisperAttention, index=1, layer_name="layers"),
    }

    def __init__(self, config: WhisperAudioEncoderConfig):
        super().__init__(config)
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.d_model, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, config.d_model)
        self.embed_positions.requires_grad_(False)
        self.layers = nn.ModuleList([WhisperEncoderLayer(config) for _ in range(config.encoder_layers)])
        self.gradient_checkpointing = False
        self.post_init()

    @classmethod
    def is_custom_code(cls) -> bool:
        """No: of other code transformers asks only modules with weights of their own, and the positions would be left random."""
        return False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, WhisperAudioEncoder):
            init.copy_(module.embed_positions.weight, sinusoids(*module.embed_positions.weight.shape))

    @classmethod
    def from_whisper(cls, whisper: PreTrainedModel, num_layers: int | None = None) -> WhisperAudioEncoder:
        """Take the lowest `num_layers` encoder layers (None: all) of a transformers Whisper; the weights are copied.

        Args:
            whisper: `WhisperModel`, `WhisperForConditionalGeneration` or `WhisperEncoder`.
            num_layers: how many layers to keep.

        Raises:
            ValueError: the Whisper has fewer layers than asked for.
        """
        encoder = whisper.get_encoder() if hasattr(whisper, "get_encoder") else whisper
        available = len(encoder.layers)
        num_layers = available if num_layers is None else num_layers
        if not 1 <= num_layers <= available:
            raise ValueError(
                f"num_layers: expected 1 to {available}, the layers of this Whisper's encoder, got {num_layers}; choose one of them"
            )
        names = [field for field in WhisperAudioEncoderConfig.__dataclass_fields__ if field in WHISPER_FIELDS]
        config = WhisperAudioEncoderConfig(
            **{name: getattr(encoder.config, name) for name in names} | {"encoder_layers": num_layers}
        )
        model = cls(config)
        names_of_weights = model.state_dict().keys()
        model.load_state_dict(
            {key: value.detach().clone() for key, value in encoder.state_dict().items() if key in names_of_weights}
        )
        return model

    def _get_feat_extract_output_lengths(self, input_lengths: torch.Tensor) -> torch.Tensor:
        """Mel frames (100 a second) -> hidden states (50 a second)."""
        return (input_lengths - 1) // 2 + 1

    # trf-ignore: TRF057 - documented by hand
    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> BaseModelOutput:
        """Run the convolutions and the layers.

        Args:
            input_features: (B, M, F) log-mel spectrogram, 100 frames a second.
            attention_mask: (B, F) 1 for true frames, 0 for padding.

        Returns:
            `last_hidden_state` (B, T, D) with T = ceil(F / 2), and what was asked for by `output_hidden_states=True`.

        Raises:
            ValueError: more frames than there are positions.
        """
        frames = (input_features.shape[-1] - 1) // 2 + 1
        if frames > self.config.max_source_positions:
            raise ValueError(
                f"input_features: expected at most {2 * self.config.max_source_positions} frames (10 ms each), "
                f"got {input_features.shape[-1]}; cut the recording into windows"
            )
        frame_mask = None
        if (
            attention_mask is not None
        ):  # alone, a clip is padded with zeros; among longer ones its padding has to be zeros at each convolution
            input_features = input_features * attention_mask[:, None].to(input_features.dtype)
        hidden_states = nn.functional.gelu(self.conv1(input_features))
        if attention_mask is not None:
            hidden_states = hidden_states * attention_mask[:, None].to(hidden_states.dtype)
            lengths = self._get_feat_extract_output_lengths(attention_mask.sum(-1))
            frame_mask = torch.arange(frames, device=lengths.device) < lengths[:, None]
        hidden_states = nn.functional.gelu(self.conv2(hidden_states)).transpose(1, 2)
        hidden_states = hidden_states + self.embed_positions.weight[:frames].to(hidden_states.dtype)
        hidden_states = nn.functional.dropout(hidden_states, p=self.config.dropout, training=self.training)
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=hidden_states, attention_mask=frame_mask)
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask=mask, **kwargs)
        return BaseModelOutput(last_hidden_state=hidden_states)


WHISPER_FIELDS = frozenset(WhisperModel.config_class.__dataclass_fields__)
