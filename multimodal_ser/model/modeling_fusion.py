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
"""The fusion of speech and text: cross-attention between them, pooling over time, and a gate that weighs them.

All modules use masks, so that padding never changes a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from .configuration_multimodal_ser import MultimodalEmotionConfig


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled dot-product attention as in transformers' own models; it also returns the weights (B, heads, Q, K)."""
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class CrossAttention(nn.Module):
    """Multi-head attention of one modality's states (queries) to the other's (keys and values)."""

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__()
        self.config = config
        self.is_causal = False
        self.head_dim = config.fusion_hidden_size // config.fusion_attention_heads
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(config.fusion_hidden_size, config.fusion_hidden_size)
        self.k_proj = nn.Linear(config.fusion_hidden_size, config.fusion_hidden_size)
        self.v_proj = nn.Linear(config.fusion_hidden_size, config.fusion_hidden_size)
        self.out_proj = nn.Linear(config.fusion_hidden_size, config.fusion_hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        other_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        return_weights: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """hidden_states (B, Q, D), other_states (B, K, D) -> (B, Q, D), and the weights (B, heads, Q, K) on request.

        The mask is that of `create_bidirectional_mask`, for eager attention if the weights are requested, because sdpa
        returns none.
        """

        def heads(states: torch.Tensor) -> torch.Tensor:
            return states.view(*states.shape[:-1], -1, self.head_dim).transpose(1, 2)

        implementation = "eager" if return_weights else self.config._attn_implementation
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        output, weights = attention(
            self,
            heads(self.q_proj(hidden_states)),
            heads(self.k_proj(other_states)),
            heads(self.v_proj(other_states)),
            attention_mask,
            scaling=self.scaling,
            dropout=self.config.fusion_dropout if self.training else 0.0,
        )
        return self.out_proj(output.reshape(hidden_states.shape)), weights if return_weights else None


class FeedForward(nn.Module):
    """Pre-norm feed-forward block, without its residual."""

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.fusion_hidden_size, eps=config.layer_norm_eps)
        self.up_proj = nn.Linear(config.fusion_hidden_size, config.fusion_intermediate_size)
        self.down_proj = nn.Linear(config.fusion_intermediate_size, config.fusion_hidden_size)
        self.dropout = nn.Dropout(config.fusion_dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.dropout(self.down_proj(nn.functional.gelu(self.up_proj(self.norm(hidden_states)))))


class FusionOutput(NamedTuple):
    """What a `FusionLayer` returns; attentions are None unless they were requested."""

    audio: torch.Tensor
    """(B, T, D)"""
    text: torch.Tensor
    """(B, L, D)"""
    audio_attention: torch.Tensor | None
    """(B, heads, T, L): of each frame to the tokens"""
    text_attention: torch.Tensor | None
    """(B, heads, L, T): of each token to the frames"""


class FusionLayer(GradientCheckpointingLayer):
    """Audio attends to text, text attends to audio, then a feed-forward block each; pre-norm, residual.

    What the other modality adds passes a learned gate, `tanh(gate)`, one number a direction (as in Flamingo,
    https://arxiv.org/abs/2204.14198, section 2.3; ours starts half open, so that both branches learn from the first step).
    """

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__()
        width, eps = config.fusion_hidden_size, config.layer_norm_eps
        self.audio_norm = nn.LayerNorm(width, eps=eps)
        self.text_norm = nn.LayerNorm(width, eps=eps)
        self.audio_to_text = CrossAttention(config)
        self.text_to_audio = CrossAttention(config)
        self.audio_gate = nn.Parameter(torch.full((1,), 0.5))
        self.text_gate = nn.Parameter(torch.full((1,), 0.5))
        self.audio_feed_forward = FeedForward(config)
        self.text_feed_forward = FeedForward(config)

    def forward(
        self,
        audio: torch.Tensor,
        text: torch.Tensor,
        audio_mask: torch.Tensor | None,
        text_mask: torch.Tensor | None,
        return_weights: bool = False,
    ) -> FusionOutput:
        """Audio (B, T, D), text (B, L, D) and the masks of the attention *to* each of them -> `FusionOutput`."""
        normed_audio, normed_text = self.audio_norm(audio), self.text_norm(text)
        from_text, audio_attention = self.audio_to_text(normed_audio, normed_text, text_mask, return_weights)
        from_audio, text_attention = self.text_to_audio(normed_text, normed_audio, audio_mask, return_weights)
        audio = audio + torch.tanh(self.audio_gate) * from_text
        text = text + torch.tanh(self.text_gate) * from_audio
        audio = audio + self.audio_feed_forward(audio)
        text = text + self.text_feed_forward(text)
        return FusionOutput(audio, text, audio_attention, text_attention)


class AttentiveStatisticsPooling(nn.Module):
    """Weighted mean and standard deviation over time, the weights from a small attention, a head for each slice of the width.

    Okabe et al. 2018, "Attentive Statistics Pooling for Deep Speaker Embedding", https://arxiv.org/abs/1803.10963; heads as in
    India et al. 2019, https://arxiv.org/abs/1906.09890.
    """

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__()
        width = config.fusion_hidden_size
        self.num_heads = config.pooling_heads
        # CODEPATH: the shipped checkpoint has the norm; without it how large a frame is counts too.
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps) if config.pooling_norm else nn.Identity()
        self.attention_hidden = nn.Linear(width, width // 2)
        self.attention_scores = nn.Linear(width // 2, self.num_heads)
        # CODEPATH: gates work on projected statistics, as in the shipped checkpoint; a concatenation takes them as they are.
        self.projection = nn.Linear(2 * width, width) if config.combination == "gated" else nn.Identity()

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """hidden_states (B, T, D), mask (B, T) -> (B, D), where nothing projects (B, 2 D)."""
        hidden_states = self.norm(hidden_states)
        scores = self.attention_scores(torch.tanh(self.attention_hidden(hidden_states))).float()
        scores = scores.masked_fill(~mask[..., None], torch.finfo(torch.float32).min)
        weights = scores.softmax(dim=1)[
            ..., None
        ]  # (B, T, heads, 1), in fp32: the squares below cancel in half precision
        states = hidden_states.float().view(*hidden_states.shape[:2], self.num_heads, -1)  # (B, T, heads, D / heads)
        mean = (weights * states).sum(1)
        variance = (weights * (states - mean[:, None]).square()).sum(1)
        pooled = torch.cat([mean.flatten(1), (variance + 1e-6).sqrt().flatten(1)], dim=-1)
        return self.projection(pooled.to(hidden_states.dtype))


class GatedCombination(nn.Module):
    """Each modality's vector passes a gate that sees both; then they are added.

    The bimodal gate of Arevalo et al. 2017, "Gated Multimodal Units for Information Fusion", https://arxiv.org/abs/1702.01992, but
    with a gate a modality instead of z and 1 - z: two modalities that agree make the model surer than either, so that evidence has
    to add up, not average.
    """

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__()
        self.gate = nn.Linear(2 * config.fusion_hidden_size, 2 * config.fusion_hidden_size)

    def forward(self, audio: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Audio (B, D), text (B, D) -> combined (B, D), and the mean opening of the two gates (B, 2), each 0..1."""
        gates = torch.sigmoid(self.gate(torch.cat([audio, text], dim=-1)))
        audio_gate, text_gate = gates.chunk(2, dim=-1)
        opening = torch.stack([audio_gate.mean(-1), text_gate.mean(-1)], dim=-1)
        return audio_gate * audio + text_gate * text, opening


class Concatenation(nn.Module):
    """Both modalities' pooled statistics side by side: what is linear in them adds up evidence of each.

    For heads that have a thousand clips to learn from: no gate, projection or norm between pooling and classes. docs/training.md has what
    it reaches on RAVDESS.
    """

    def forward(self, audio: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Audio (B, 2 D), text (B, 2 D) -> (B, 4 D), and no gates."""
        return torch.cat([audio, text], dim=-1), None
