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
"""The two branches: a speech encoder and a text encoder of transformers, each with a projection to the fusion's width.

For every encoder, a clip has the same states alone and in a batch with longer ones.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForTextEncoding, PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from .encoder_families import SPEECH_ENCODERS, TEXT_ENCODERS, LengthAwareFeatureEncoder, family_of
from .modeling_whisper_audio_encoder import WhisperAudioEncoder

if TYPE_CHECKING:
    from .configuration_multimodal_ser import MultimodalEmotionConfig


def build_encoder(auto_class: Any, config: PreTrainedConfig) -> PreTrainedModel:
    """An encoder without loaded weights, with the attention of its configuration, or "eager" if it lacks that."""
    # CODEPATH: Whisper encoders; by their type, not their class, of which copied code (trust_remote_code) has two, one in each folder.
    if config.model_type == "whisper_audio_encoder":
        return WhisperAudioEncoder(config)
    mapping = auto_class._model_mapping if type(config) in auto_class._model_mapping else AutoModel._model_mapping
    if type(config) not in mapping:  # part of a larger model
        expected = f"speech: {SPEECH_ENCODERS}; text: {TEXT_ENCODERS}"
        raise ValueError(
            f"expected an encoder that AutoModel knows, got {config.model_type!r}, which is none; choose one ({expected})"
        )
    model_class = mapping[type(config)]
    # trf-ignore: TRF051 - not a dispatch: a branch gets the attention of the fusion only if its architecture has it
    if config._attn_implementation == "sdpa" and not model_class._supports_sdpa:
        config._attn_implementation = "eager"
    has_pooler = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    return model_class._from_config(config, **({"add_pooling_layer": False} if has_pooler else {}))


def _is_padded_left(mask: torch.Tensor) -> bool:
    """Whether any row of a mask (B, L) has padding before its true values; always False while a graph is compiled."""
    return not torch.compiler.is_compiling() and bool(((mask[:, 0] == 0) & mask.bool().any(1)).any())


def _forward_parameters(encoder: PreTrainedModel) -> Any:
    """Parameters of an encoder's forward, by name; with `decoder_input_ids` it has a decoder too (BART, Moonshine)."""
    return inspect.signature(encoder.forward).parameters


def adopt_loading_rules(branch: nn.Module, encoder: PreTrainedModel) -> None:
    """Copy the loading rules of an encoder to its branch: tied weights, unsplit modules, modules in single precision.

    `post_init` of transformers collects these from the direct children of a model only.
    """
    rules: Any = branch
    rules.all_tied_weights_keys = {
        f"encoder.{name}": f"encoder.{source}" for name, source in encoder.all_tied_weights_keys.items()
    }
    layers = {type(module).__name__ for module in encoder.modules() if isinstance(module, GradientCheckpointingLayer)}
    rules._no_split_modules = set(encoder._no_split_modules or ()) | layers
    rules._keep_in_fp32_modules = encoder._keep_in_fp32_modules
    rules._keep_in_fp32_modules_strict = encoder._keep_in_fp32_modules_strict


class AudioBranch(nn.Module):
    """Speech encoder -> learned weighted sum of all its hidden states -> projection to the fusion's width.

    The layer sum is that of ELMo (https://arxiv.org/abs/1802.05365) and SUPERB (https://arxiv.org/abs/2105.01051). Each hidden state
    is standardised first, by a mean and a deviation that are part of the checkpoint (0 and 1 if none were measured);
    the mean of a known speaker may replace that mean.
    """

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__()
        audio_config: Any = config.audio_config
        # CODEPATH: wav2vec2, HuBERT and WavLM checkpoints set layerdrop; Whisper encoders do not.
        if getattr(audio_config, "layerdrop", 0):
            audio_config.layerdrop = 0.0  # the layer sum needs every layer at every step
        # CODEPATH: checkpoints fine-tuned for translation or recognition may have an adapter, which shortens the states
        # of the last layer.
        if getattr(audio_config, "add_adapter", False):
            audio_config.add_adapter = False  # the layer sum takes the layers' own states, 50 a second
        self.encoder = build_encoder(AutoModel, audio_config)
        adopt_loading_rules(self, self.encoder)
        family = family_of(audio_config)
        self.time_first = family.time_first
        takes_features = self.time_first or isinstance(self.encoder, WhisperAudioEncoder)
        expected = "input_features" if takes_features else "input_values"
        # An audio spectrogram transformer calls its features input_values too, but it has no frames that count the
        # length.
        has_frames = hasattr(
            self.encoder, "_get_feat_extract_output_lengths"
        ) and "decoder_input_ids" not in _forward_parameters(self.encoder)
        if self.encoder.main_input_name != expected or not has_frames:
            raise ValueError(
                f"audio_config: expected an encoder of speech, frame by frame, got {audio_config.model_type!r} "
                f"({type(self.encoder).__name__}, which takes {self.encoder.main_input_name}); choose {SPEECH_ENCODERS}"
            )
        # A batch norm (some HuBERT) turns the zeros of padding into other values.
        self.batched = family.batched and not getattr(audio_config, "conv_pos_batch_norm", False)
        family.adapt(self.encoder)
        width = config.fusion_hidden_size
        num_states, encoder_width = audio_config.num_hidden_layers + 1, audio_config.hidden_size
        self.layer_weights = nn.Parameter(torch.zeros(num_states))
        self.hidden_mean = nn.Buffer(torch.zeros(num_states, encoder_width))
        self.hidden_std = nn.Buffer(torch.ones(num_states, encoder_width))
        self.projection = nn.Linear(encoder_width, width)
        self.convolution = nn.Conv1d(
            width, width, config.audio_projection_kernel, padding=config.audio_projection_kernel // 2
        )
        self.dropout = nn.Dropout(config.fusion_dropout)
        self.mask_spans = config.audio_mask_spans
        self.min_length = _shortest_input(audio_config)
        self.min_training_length = _shortest_input(audio_config, 2 * getattr(audio_config, "mask_time_length", 1))

    def encode(self, inputs: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the encoder.

        Args:
            inputs: (B, S) samples at 16 kHz, or features (B, M, F) or (B, F, M), as the encoder takes them.
            mask: (B, S) or (B, F), 1 for samples or frames of the clip; a row of zeros is a row without audio. None: no
                padding.

        Returns:
            hidden states (B, layers + 1, T, Da) and frame mask (B, T), True for true frames.

        Raises:
            ValueError: padding before the audio.
        """
        if mask is not None and _is_padded_left(mask):
            expected, remedy = "padding behind the audio", 'set padding_side = "right" of the feature extractor'
            raise ValueError(f"audio_attention_mask: expected {expected}, got padding before it; {remedy}")
        time = inputs.shape[1 if self.time_first else -1]
        # SpecAugment fails on fewer frames than it masks
        least = self.min_training_length if self.training else self.min_length
        if time < least:
            mask = torch.ones(len(inputs), time, dtype=torch.long, device=inputs.device) if mask is None else mask
            more = (0, least - time)
            inputs = nn.functional.pad(inputs, (0, 0, *more) if self.time_first else more)
            mask = nn.functional.pad(mask, more)
            time = least
        lengths = torch.full((len(inputs),), time, device=inputs.device) if mask is None else mask.sum(-1).long()
        present = lengths > 0
        # a row without audio is computed as a short one; its frames are masked below
        lengths = lengths.clamp_min(self.min_length)
        encoder_mask = None
        if mask is not None:
            encoder_mask = (torch.arange(time, device=inputs.device) < lengths[:, None]).to(torch.long)
            if self.time_first:
                shape: tuple[int, ...] = (inputs.shape[0], time, 1)
            else:
                shape = (inputs.shape[0],) + (1,) * (inputs.dim() - 2) + (time,)
            inputs = inputs * mask.view(shape).to(inputs.dtype)  # the encoder sees zeros in the padding
        if self.batched or mask is None:
            hidden_states = self._run(inputs, lengths, encoder_mask)
            frames = self.encoder._get_feat_extract_output_lengths(lengths).clamp_max(hidden_states.shape[2])
        else:
            axis = 1 if self.time_first else -1
            alone = [
                self._run(inputs[i : i + 1].narrow(axis, 0, n), lengths[i : i + 1], None)
                for i, n in enumerate(lengths.tolist())
            ]
            frames = torch.tensor([states.shape[2] for states in alone], device=inputs.device)
            longest = max(states.shape[2] for states in alone)
            hidden_states = torch.cat(
                [nn.functional.pad(states, (0, 0, 0, longest - states.shape[2])) for states in alone]
            )
        frame_mask = torch.arange(hidden_states.shape[2], device=frames.device) < (frames * present)[:, None]
        return hidden_states, frame_mask

    def _run(self, inputs: torch.Tensor, lengths: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        length_aware = isinstance(getattr(self.encoder, "feature_extractor", None), LengthAwareFeatureEncoder)
        output = self.encoder(
            (inputs, lengths) if length_aware else inputs, attention_mask=mask, output_hidden_states=True
        )
        return torch.stack(output.hidden_states, dim=1)

    def forward(
        self, hidden_states: torch.Tensor, frame_mask: torch.Tensor, speaker_mean: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Hidden states (B, layers + 1, T, Da), frame mask (B, T) and speaker mean (B, layers + 1, Da) or None -> (B, T, D)."""
        dtype = self.layer_weights.dtype  # states in half precision are summed in the precision of the weights
        mean, deviation = self.hidden_mean.to(dtype), self.hidden_std.to(dtype)
        mean = mean[None] if speaker_mean is None else torch.where(speaker_mean.isnan(), mean, speaker_mean.to(dtype))
        weights = self.layer_weights.softmax(0).to(dtype)
        # sum over layers l of w_l (h_l - m_l) / s_l, without a second copy of all layers
        scale = weights[:, None] / deviation
        mixed = -(mean * scale).sum(1)[:, None]
        if torch.is_grad_enabled() and not hidden_states.requires_grad and not torch.compiler.is_compiling():
            mixed = mixed + FrozenLayerSum.apply(hidden_states, scale)
        else:
            for layer in range(hidden_states.shape[1]):
                mixed = torch.addcmul(mixed, hidden_states[:, layer].to(dtype), scale[layer])
        # CODEPATH: 0, the default, hides nothing.
        if self.training and self.mask_spans:
            mixed = mixed.masked_fill(_spans(frame_mask, self.mask_spans)[..., None], 0)
        projected = self.dropout(self.projection(mixed)) * frame_mask[..., None].to(mixed.dtype)
        context = self.convolution(projected.transpose(1, 2)).transpose(1, 2)
        return projected + nn.functional.gelu(context)


class FrozenLayerSum(torch.autograd.Function):
    """Weighted sum of the hidden states of a frozen encoder, which need no gradient.

    In a plain sum, autograd would keep a copy of every layer in the precision of the weights, and a step on stored
    states would take a tenth longer.
    """

    @staticmethod
    def forward(ctx: Any, hidden_states: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Hidden states (B, layers + 1, T, Da), scale (layers + 1, Da) -> (B, T, Da), in the scale's precision."""
        ctx.save_for_backward(hidden_states)
        mixed = hidden_states[:, 0].to(scale.dtype) * scale[0]
        for layer in range(1, len(scale)):
            mixed.addcmul_(hidden_states[:, layer].to(scale.dtype), scale[layer])
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:  # type: ignore[override]
        """Gradient (B, T, Da) -> none for the states, (layers + 1, Da) for the scale."""
        (hidden_states,) = ctx.saved_tensors
        return None, torch.stack(
            [(states.to(gradient.dtype) * gradient).sum((0, 1)) for states in hidden_states.unbind(1)]
        )


def _spans(frame_mask: torch.Tensor, count: int) -> torch.Tensor:
    """Mask (B, T) of hidden frames: `count` spans in each row, each up to an eighth of its frames, as in SpecAugment.

    https://arxiv.org/abs/1904.08779; here the spans hide frames of the layer sum, where 0 is the training mean.
    """
    length = frame_mask.sum(1, keepdim=True)
    draw = torch.rand(2, len(frame_mask), count, device=frame_mask.device)
    width = (draw[0] * length / 8).ceil()
    start = (draw[1] * (length - width)).floor()
    position = torch.arange(frame_mask.shape[1], device=frame_mask.device)[None, :, None]
    return ((position >= start[:, None]) & (position < (start + width)[:, None])).any(-1)


def _shortest_input(config: PreTrainedConfig, frames: int = 1) -> int:
    """Samples (or frames of features) that this many hidden states need: the receptive field of the encoder's front."""
    # CODEPATH: wav2vec2-BERT takes features; one frame of them gives one hidden state or two.
    if family_of(config).time_first:
        return frames
    # CODEPATH: SEW takes the mean over squeeze_factor frames before its layers.
    frames = max(frames, getattr(config, "squeeze_factor", 1))
    if not hasattr(config, "conv_kernel"):
        return 2 * frames
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        frames = (frames - 1) * stride + kernel
    return frames


class TextBranch(nn.Module):
    """Text encoder -> learned weighted sum of all its hidden states -> projection to the fusion's width.

    The layer sum is that of ELMo (https://arxiv.org/abs/1802.05365). In the highest layer of the shipped encoder, the
    states of nearly all tokens are alike, because each describes the sentence; the lower layers make them differ, which
    cross-attention needs. A text that is longer than the encoder allows is computed in overlapping windows. A decoder
    language model stays
    causal: the state of a token depends on the tokens before it, and that of the last token on the whole text.
    """

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__()
        text_config: Any = config.text_config
        # CODEPATH: decoder language models keep keys and values for a next token, which is never generated here.
        if getattr(text_config, "use_cache", False):
            text_config.use_cache = False
        self.encoder = build_encoder(AutoModelForTextEncoding, text_config)
        adopt_loading_rules(self, self.encoder)
        parameters = _forward_parameters(self.encoder)
        fits = (
            "attention_mask" in parameters
            and "decoder_input_ids" not in parameters
            and hasattr(text_config, "hidden_size")
        )
        if self.encoder.main_input_name != "input_ids" or not fits:
            raise ValueError(
                f"text_config: expected an encoder of token ids with an attention mask, or a decoder language model, got "
                f"{text_config.model_type!r} ({type(self.encoder).__name__}); choose {TEXT_ENCODERS}"
            )
        self.batched = family_of(text_config).batched
        self.causal = any(getattr(module, "is_causal", False) for module in self.encoder.modules())
        self.layer_weights = nn.Parameter(torch.zeros(text_config.num_hidden_layers + 1))
        self.projection = nn.Linear(text_config.hidden_size, config.fusion_hidden_size)
        self.dropout = nn.Dropout(config.fusion_dropout)
        self.max_length = _longest_text(self.encoder)

    def encode(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """input_ids (B, L), mask (B, L) -> (B, L, Dt), summed over layers; windows depend on a row's length alone.

        Padding may also stand before a text, as tokenizers of decoders put it; it does not change the states of the
        text.
        """
        if _is_padded_left(mask):
            place = torch.arange(mask.shape[1], device=mask.device)
            start = mask.bool().int().argmax(1, keepdim=True)
            to_front, back = (place + start) % mask.shape[1], (place - start) % mask.shape[1]
            states = self.encode(input_ids.gather(1, to_front), mask.gather(1, to_front))
            return states.gather(1, back[..., None].expand_as(states))
        encoder_mask = mask.clone()
        encoder_mask[:, 0] = 1  # a row without text is computed as one token, and is masked afterwards
        limit = self.max_length
        if input_ids.shape[1] <= limit:
            return self._layer_sum(input_ids, encoder_mask)
        stride = limit // 2
        counts = [max(length - limit + stride - 1, 0) // stride + 1 for length in encoder_mask.sum(1).tolist()]
        rows = [(row, window * stride) for row, count in enumerate(counts) for window in range(count)]
        input_ids, encoder_mask = nn.functional.pad(input_ids, (0, limit)), nn.functional.pad(encoder_mask, (0, limit))
        windows = [  # a few at a time: a text of 10,000 words has 50
            self._layer_sum(
                torch.stack([input_ids[row, start : start + limit] for row, start in rows[at : at + 16]]),
                torch.stack([encoder_mask[row, start : start + limit] for row, start in rows[at : at + 16]]),
            )
            for at in range(0, len(rows), 16)
        ]
        states = torch.cat(windows).flatten(0, 1)  # (windows * limit, Dt)
        # A token is in two windows. Take the one with more of its context; for a causal model, with more tokens before
        # it.
        count = torch.tensor(counts, device=mask.device)
        position = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
        edge = limit // 2 if self.causal else limit // 4
        window = ((position - edge).div(stride, rounding_mode="floor").clamp_min(0)).minimum(count[:, None] - 1)
        offset = (position - window * stride).clamp_max(limit - 1)  # after the last window of a row there is padding
        return states[((count.cumsum(0) - count)[:, None] + window) * limit + offset]

    def _layer_sum(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not self.batched:  # each row without its padding
            lengths = mask.sum(1).tolist()
            alone = [self._mixed(input_ids[i : i + 1, :n], mask[i : i + 1, :n]) for i, n in enumerate(lengths)]
            return torch.cat(
                [nn.functional.pad(states, (0, 0, 0, mask.shape[1] - states.shape[1])) for states in alone]
            )
        return self._mixed(input_ids, mask)

    def _mixed(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.encoder(input_ids=input_ids, attention_mask=mask, output_hidden_states=True).hidden_states
        weights = self.layer_weights.softmax(0).to(states[0].dtype)
        mixed = states[0] * weights[0]
        for state, weight in zip(states[1:], weights[1:], strict=True):
            mixed = torch.addcmul(mixed, state, weight)
        return mixed

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, L, Dt), summed over layers -> (B, L, D)."""
        return self.dropout(self.projection(hidden_states.to(self.layer_weights.dtype)))


LONGEST_WINDOW = 8192
"""Most tokens in one window, even if the encoder allows more: the cost of attention grows with their square."""


def _longest_text(encoder: PreTrainedModel) -> int:
    # CODEPATH: T5's encoder has no table of positions, and was trained on 512 tokens.
    positions = getattr(encoder.config, "max_position_embeddings", None) or -1
    positions = 512 if positions < 1 else positions
    # CODEPATH: models like RoBERTa count positions from after the padding token: of 514 they use 512. BERT counts from
    # 0.
    tables = [module for name, module in encoder.named_modules() if name.endswith("embeddings.position_embeddings")]
    padding = getattr(tables[0], "padding_idx", None) if tables else None
    return min(positions - (0 if padding is None else padding + 1), LONGEST_WINDOW)
