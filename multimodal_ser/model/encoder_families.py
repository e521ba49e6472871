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
"""Encoder families: what one family of encoders needs that the others do not, a row each.

A new family is a row here. Tests of padding, training, prediction and export run over every row that has a tiny configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

SPEECH_ENCODERS = (
    "wav2vec2 (XLS-R, MMS), HuBERT, WavLM, data2vec-audio, UniSpeech, SEW, wav2vec2-bert, "
    "or a Whisper with its decoder left out"
)
TEXT_ENCODERS = "BERT, RoBERTa, XLM-R, DeBERTa, ELECTRA, T5's encoder, GPT-2, Qwen, Llama, ..."
"""The encoders that may be a branch, for messages of errors."""

ATTENTION_PROJECTIONS = frozenset(
    ["q_proj", "v_proj", "query", "value", "q_lin", "v_lin", "query_proj", "value_proj", "linear_q", "linear_v", "c_attn", "q", "v"]
)  # fmt: skip
"""What the encoders of transformers call the projections to queries and values, which the LoRA paper adapts (https://arxiv.org/abs/2106.09685)."""


class LengthAwareFeatureEncoder(nn.Module):
    """The convolutional front of wav2vec2-base and its kin, with a group norm that sees a row's own length.

    Their first convolution is followed by a group norm over *time*: padding would change its mean and variance, and with
    them every frame (https://github.com/huggingface/transformers/issues/21534). Here both are taken over the row's own
    frames. The modules are those of the encoder that is replaced, so that checkpoints fit as they are.

    `forward` takes a pair, waveforms (B, S) and lengths (B,): transformers' models hand their `input_values` on to this
    module untouched, which makes that the way in.
    """

    def __init__(self, feature_extractor: nn.Module):
        super().__init__()
        self.conv_layers: Any = feature_extractor.conv_layers

    def _freeze_parameters(self) -> None:
        self.requires_grad_(False)

    def forward(self, inputs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """((B, S), (B,)) -> (B, channels, T)."""
        input_values, lengths = inputs
        hidden_states = input_values[:, None]
        if self.training and any(p.requires_grad for p in self.parameters()):
            hidden_states = (
                hidden_states.detach().requires_grad_()
            )  # gradient checkpointing needs an input that asks for a gradient
        first = self.conv_layers[0]
        hidden_states = first.conv(hidden_states)
        dtype, hidden_states = (
            hidden_states.dtype,
            hidden_states.float(),
        )  # sums over thousands of frames overflow in half precision
        frames = (lengths - first.conv.kernel_size[0]) // first.conv.stride[0] + 1
        mask = (torch.arange(hidden_states.shape[-1], device=lengths.device) < frames[:, None])[:, None].to(
            hidden_states.dtype
        )
        count = frames.clamp_min(1)[:, None, None].to(hidden_states.dtype)
        mean = (hidden_states * mask).sum(-1, keepdim=True) / count
        centred = (hidden_states - mean) * mask
        scale = torch.rsqrt(centred.square().sum(-1, keepdim=True) / count + first.layer_norm.eps)
        hidden_states = centred * scale * first.layer_norm.weight[:, None] + first.layer_norm.bias[:, None]
        hidden_states = first.activation(hidden_states.to(dtype))
        for layer in self.conv_layers[1:]:
            hidden_states = layer(hidden_states)
        return hidden_states


class LengthAwarePositions(nn.Module):
    """The positional convolutions of data2vec-audio, five above each other, between which padding stays zero.

    The encoder gives them zeros for padded frames, but each convolution makes something of those, which the next would see. The
    modules are those of the encoder that is replaced, so that checkpoints fit as they are.
    """

    def __init__(self, pos_conv_embed: nn.Module):
        super().__init__()
        self.layers: Any = pos_conv_embed.layers

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, T, Da), padded frames all zero -> (B, T, Da)."""
        hidden_states = hidden_states.transpose(1, 2)
        true = (
            hidden_states.ne(0).any(1, keepdim=True).to(hidden_states.dtype)
        )  # a true frame is never zero in every feature
        for layer in self.layers:
            hidden_states = layer(hidden_states) * true
        return hidden_states.transpose(1, 2)


def adapt_front(encoder: Any) -> None:
    """Replace a front with a group norm by one in which padding changes nothing; layer norms need nothing."""
    front = getattr(encoder, "feature_extractor", None)
    # CODEPATH: "group": wav2vec2-base, hubert-base, wavlm-base; "layer": their large siblings, and the shipped checkpoint.
    if front is not None and getattr(encoder.config, "feat_extract_norm", None) == "group":
        encoder.feature_extractor = LengthAwareFeatureEncoder(front)


def adapt_positions(encoder: Any) -> None:
    """Keep the padding zero between several positional convolutions."""
    encoder.encoder.pos_conv_embed = LengthAwarePositions(encoder.encoder.pos_conv_embed)


@dataclass(frozen=True)
class EncoderFamily:
    """What is particular to a family of encoders.

    Args:
        batched: whether padded rows give what they give alone, which a test holds; rows of other families run one by one.
        time_first: whether a speech encoder takes features (B, F, M), a row a frame; others take (B, M, F), or samples.
        adapt: replaces modules of a new encoder through which padding would change the result.
        projections: names of the linear layers that low-rank adapters lie beside.
        feature_extractor: the class in transformers that makes a speech encoder's input.
        is_decoder: a language model, whose tokenizer adds nothing around a text and knows no padding.
        tiny: configurations of tiny encoders for tests, by the name that tests call them.

    Example:
        >>> from transformers import BertConfig
        >>> from multimodal_ser.model.encoder_families import SPEECH_FAMILIES, family_of
        >>> SPEECH_FAMILIES["wav2vec2-bert"].time_first, family_of(BertConfig()).batched
        (True, True)
    """

    batched: bool = True
    time_first: bool = False
    adapt: Callable[[Any], None] = adapt_front
    projections: frozenset[str] = ATTENTION_PROJECTIONS
    feature_extractor: str = "Wav2Vec2FeatureExtractor"
    is_decoder: bool = False
    tiny: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_CONVOLUTIONS = {
    "conv_dim": [16, 16, 16], "conv_kernel": [10, 8, 4], "conv_stride": [5, 8, 8], "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "mask_time_length": 2, "layerdrop": 0.0,
}  # fmt: skip
_LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_GROUP_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
_WITH_GROUP_NORM = {**_LAYERS, **_CONVOLUTIONS, **_GROUP_NORM}
_TEXT = {**_LAYERS, "max_position_embeddings": 64, "pad_token_id": 0}
_DECODER = {**_TEXT, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": None, "num_attention_heads": 4}

SPEECH_FAMILIES: dict[str, EncoderFamily] = {
    "wav2vec2": EncoderFamily(
        tiny={"wav2vec2": {**_LAYERS, **_CONVOLUTIONS, **_LAYER_NORM}, "wav2vec2-group": _WITH_GROUP_NORM}
    ),
    "hubert": EncoderFamily(tiny={"hubert": _WITH_GROUP_NORM}),
    # torch's attention reads the weights of its projections and never calls them: what lies beside them would learn nothing
    "wavlm": EncoderFamily(
        projections=frozenset(["intermediate_dense", "output_dense"]), tiny={"wavlm": _WITH_GROUP_NORM}
    ),
    "unispeech": EncoderFamily(),
    "unispeech-sat": EncoderFamily(),
    "data2vec-audio": EncoderFamily(
        adapt=adapt_positions,
        tiny={"data2vec-audio": {**_LAYERS, **_CONVOLUTIONS, "num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19}},
    ),
    "wav2vec2-bert": EncoderFamily(
        time_first=True,
        feature_extractor="SeamlessM4TFeatureExtractor",
        tiny={
            "wav2vec2-bert": {
                **_LAYERS, "mask_time_length": 2, "layerdrop": 0.0, "left_max_position_embeddings": 8, "right_max_position_embeddings": 4,
            }
        },
    ),
    "whisper_audio_encoder": EncoderFamily(
        feature_extractor="WhisperFeatureExtractor",
        tiny={
            "whisper_audio_encoder": {
                "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "num_mel_bins": 80,
            }
        },
    ),
}  # fmt: skip
"""By transformers' model_type: speech encoders whose padded rows are known, by test, to give what they give alone."""

TEXT_FAMILIES: dict[str, EncoderFamily] = {
    "bert": EncoderFamily(tiny={"bert": _TEXT}),
    "roberta": EncoderFamily(tiny={"roberta": {**_TEXT, "pad_token_id": 1, "max_position_embeddings": 66}}),
    "distilbert": EncoderFamily(
        tiny={
            "distilbert": {
                "max_position_embeddings": 64, "pad_token_id": 0, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2,
            }
        }
    ),
    "xlm-roberta": EncoderFamily(tiny={"xlm-roberta": {**_TEXT, "pad_token_id": 1, "max_position_embeddings": 66}}),
    "deberta-v2": EncoderFamily(
        tiny={
            "deberta-v2": {
                **_TEXT, "relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
                "norm_rel_ebd": "layer_norm", "share_att_key": True, "max_relative_positions": -1, "type_vocab_size": 0,
            }
        }
    ),
    "t5": EncoderFamily(tiny={"t5": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}}),
    "gpt2": EncoderFamily(is_decoder=True, tiny={"gpt2": _DECODER}),
    "qwen2": EncoderFamily(is_decoder=True, tiny={"qwen2": {**_DECODER, "num_key_value_heads": 2}}),
} | {
    name: EncoderFamily()
    for name in (
        "camembert", "deberta", "albert", "electra", "mpnet", "modernbert", "ernie", "data2vec-text", "rembert", "roformer",
        "xlm-roberta-xl", "nomic_bert", "eurobert", "mt5", "umt5", "gpt_neox", "opt", "llama", "mistral", "qwen3", "gemma", "gemma2",
        "gemma3_text", "phi3", "smollm3", "olmo2", "granite",
    )
}  # fmt: skip
"""The same of text encoders and decoder language models."""

OTHER = EncoderFamily(batched=False)
"""A family that is in no table: whatever padding does to it, each of its rows runs alone."""


def family_of(config: Any) -> EncoderFamily:
    """The row of an encoder's configuration; `OTHER` where there is none."""
    return SPEECH_FAMILIES.get(config.model_type) or TEXT_FAMILIES.get(config.model_type) or OTHER
