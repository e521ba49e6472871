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
"""The model without heads: two branches, the fusion between them, and embeddings for missing modalities.

Symbols in shapes: B batch, S samples, T audio frames (50 a second), L text tokens, D fusion width.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_multimodal_ser import MultimodalEmotionConfig
from .loading import HEAD, load_whole
from .modeling_branches import AudioBranch, TextBranch
from .modeling_fusion import AttentiveStatisticsPooling, Concatenation, FusionLayer, GatedCombination
from .sharing import picklable_state, restore


# trf-ignore: TRF057 - documented by hand, as all of this package is
@dataclass
class MultimodalEmotionModelOutput(ModelOutput):
    """What the model without heads returns: the fields of `MultimodalEmotionOutput`, and each row's modality case.

    Args:
        case: (B,) index into ("both", "audio", "text").
    """

    embeddings: torch.Tensor | None = None
    gates: torch.Tensor | None = None
    case: torch.Tensor | None = None
    audio_attentions: tuple[torch.Tensor, ...] | None = None
    text_attentions: tuple[torch.Tensor, ...] | None = None
    fused_audio_hidden_states: tuple[torch.Tensor, ...] | None = None
    fused_text_hidden_states: tuple[torch.Tensor, ...] | None = None


# trf-ignore: TRF057 - documented by hand, as all of this package is
class MultimodalEmotionPreTrainedModel(PreTrainedModel):
    """Base class of both model classes, with the settings for transformers."""

    config: MultimodalEmotionConfig
    config_class = MultimodalEmotionConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = (
        False  # the loss is a mean over the batch: Trainer has to divide by the accumulated steps itself
    )
    _supports_flash_attn = False
    _supports_sdpa = True
    # A branch stays whole on a device: it adds up the hidden states of all its layers. post_init adds the layers of its encoder.
    _no_split_modules = ["AudioBranch", "TextBranch", "FusionLayer"]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load as transformers does, but from safetensors alone, and never a part of the weights.

        Raises:
            ValueError: weights that are missing or of the wrong shape, with their names.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        loaded = cls._load_whole(pretrained_model_name_or_path, *args, **kwargs)
        return loaded if wants_info else loaded[0]

    @classmethod
    def _load_whole(cls, source: Any, *args: Any, new: tuple[str, ...] = (), **kwargs: Any) -> tuple[Any, Any]:
        """A model and transformers' account of its loading; `new` as in `load_whole`. A checkpoint of ours holds no pickle."""
        model, info = load_whole(
            super().from_pretrained, cls.__name__, source, *args, new=new, **kwargs | {"use_safetensors": True}
        )
        align(model)
        return model, info

    @classmethod
    def is_custom_code(cls) -> bool:
        """No: all weights here are initialised by transformers' own functions, which leave alone what was loaded.

        Of other code transformers asks only modules with weights of their own, and parts of an encoder that a checkpoint lacks, such as
        the positions of wav2vec2, would be what stood in memory.
        """
        return False

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy take; see `sharing.picklable_state`."""
        return picklable_state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse of `__getstate__`."""
        super().__setstate__(state)
        restore(self)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, FusionLayer):
            init.constant_(module.audio_gate, 0.5)
            init.constant_(module.text_gate, 0.5)
            for attention in (module.audio_to_text, module.text_to_audio):
                # Glorot, as in nn.MultiheadAttention: from the usual 0.02 attention starts uniform and mostly stays it, and which word a
                # frame attends to means nothing. Here and not at CrossAttention: transformers asks modules with parameters of their own.
                for projection in (attention.q_proj, attention.k_proj):
                    init.xavier_uniform_(projection.weight)
        elif isinstance(module, AudioBranch):
            init.zeros_(module.layer_weights)
            init.zeros_(module.hidden_mean)
            init.ones_(module.hidden_std)
        elif isinstance(module, TextBranch):
            init.zeros_(module.layer_weights)
        elif isinstance(module, MultimodalEmotionModel):
            init.normal_(module.missing_audio, std=self.config.initializer_range)
            init.normal_(module.missing_text, std=self.config.initializer_range)


# trf-ignore: TRF057 - documented by hand, as all of this package is
class MultimodalEmotionModel(MultimodalEmotionPreTrainedModel):
    """Branches and fusion without heads: a recording and its words in, one vector (B, D) out.

    Args:
        config: its configuration.

    Example:
        >>> import torch
        >>> from multimodal_ser import MultimodalEmotionModel
        >>> from multimodal_ser.testing import tiny_config
        >>> model = MultimodalEmotionModel(tiny_config()).eval()
        >>> model(input_values=torch.randn(2, 16000), input_ids=torch.tensor([[2, 7, 3], [2, 9, 3]])).embeddings.shape
        torch.Size([2, 32])
    """

    def __init__(self, config: MultimodalEmotionConfig):
        super().__init__(config)
        self.audio_branch = AudioBranch(config)
        self.main_input_name = self.audio_branch.encoder.main_input_name  # Trainer looks for it in a batch
        self.text_branch = TextBranch(config)
        self.missing_audio = nn.Parameter(torch.zeros(1, 1, config.fusion_hidden_size))
        self.missing_text = nn.Parameter(torch.zeros(1, 1, config.fusion_hidden_size))
        self.fusion_layers = nn.ModuleList([FusionLayer(config) for _ in range(config.fusion_layers)])
        self.audio_pooling = AttentiveStatisticsPooling(config)
        self.text_pooling = AttentiveStatisticsPooling(config)
        # CODEPATH: "gated": the shipped checkpoint; "concatenated": heads trained on a thousand clips do better with it.
        self.combination = GatedCombination(config) if config.combination == "gated" else Concatenation()
        self.post_init()

    @classmethod
    def _load_whole(cls, source: Any, *args: Any, new: tuple[str, ...] = HEAD, **kwargs: Any) -> tuple[Any, Any]:
        return super()._load_whole(source, *args, new=new, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        """The text branch's token embeddings."""
        return self.text_branch.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the text branch's token embeddings (`resize_token_embeddings` calls it)."""
        self.text_branch.encoder.set_input_embeddings(value)

    # trf-ignore: TRF057 - documented by hand
    def get_audio_features(
        self, inputs: torch.Tensor, audio_attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples (B, S) or spectrogram (B, M, F), with their mask -> all hidden states (B, layers + 1, T, Da), frame mask (B, T).

        Processors give single precision; a model in another takes it too.

        Raises:
            ValueError: another shape than the audio branch takes, or a mask of another.
        """
        name, mask = self.main_input_name, audio_attention_mask
        axes = "(B, S)" if name == "input_values" else "(B, F, M)" if self.audio_branch.time_first else "(B, M, F)"
        if inputs.dim() != (2 if name == "input_values" else 3):
            raise ValueError(f"{name}: expected {axes}, got {tuple(inputs.shape)}; use the model's own processor")
        expected = (inputs.shape[0], inputs.shape[1 if self.audio_branch.time_first else -1])
        if mask is not None and mask.shape != expected:
            raise ValueError(
                f"audio_attention_mask: expected {expected}, got {tuple(mask.shape)}; use the model's own processor"
            )
        return _encoded(self.audio_branch, inputs.to(self.audio_branch.layer_weights.dtype), mask)

    # trf-ignore: TRF057 - documented by hand
    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L) and mask (B, L) -> hidden states (B, L, Dt), summed over layers."""
        return _encoded(self.text_branch, input_ids, attention_mask)

    # trf-ignore: TRF057 - documented by hand; trf-ignore: TRF045 - its remedy captures weights, of which sdpa has none
    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        audio_attention_mask: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        audio_hidden_states: torch.Tensor | None = None,
        text_hidden_states: torch.Tensor | None = None,
        speaker_mean: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> MultimodalEmotionModelOutput:
        """Fuse speech and text.

        Either modality may be missing: for the batch (None), or for single rows (a mask row of zeros).

        Args:
            input_values: (B, S) samples at 16 kHz.
            audio_attention_mask: (B, S) or (B, F); for `audio_hidden_states` (B, T). 1 for what is true.
            input_ids: (B, L) token ids.
            attention_mask: (B, L), 1 for true tokens. With no text in the call it is taken for the audio's mask, which is how
                transformers' audio pipelines call a model.
            input_features: (B, M, F) spectrogram, for audio branches that take one.
            audio_hidden_states: (B, layers + 1, T, Da), as `get_audio_features` gives them, in place of the audio.
            text_hidden_states: (B, L, Dt), as `get_text_features` gives them, in place of the token ids.
            speaker_mean: (B, layers + 1, Da), mean hidden states of each row's speaker; rows of NaN: speaker unknown.
            output_attentions: whether to return the cross-attentions (computed with eager attention for this call).
            output_hidden_states: whether to return the states of both modalities before and after each fusion layer; those of the
                encoders' own layers are what `get_audio_features` and `get_text_features` give.
            **kwargs: what transformers passes to every model (ignored).

        Raises:
            ValueError: neither audio nor text.
        """
        inputs: Any = input_values if input_values is not None else input_features
        has_audio, has_text = (
            inputs is not None or audio_hidden_states is not None,
            input_ids is not None or text_hidden_states is not None,
        )
        if not has_audio and not has_text:
            raise ValueError(
                "expected audio (input_values, input_features), text (input_ids) or both, got neither; give at least one"
            )
        if not has_text and audio_attention_mask is None:
            audio_attention_mask = attention_mask
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = (
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        audio = text = audio_mask = text_mask = None
        if has_audio:
            if audio_hidden_states is None:
                audio_hidden_states, audio_mask = self.get_audio_features(inputs, audio_attention_mask)
            else:
                audio_mask = _as_mask(audio_attention_mask, audio_hidden_states[:, 0])
            audio = self.audio_branch(audio_hidden_states, audio_mask, speaker_mean)
        if has_text:
            if text_hidden_states is None:
                text_mask = _as_mask(attention_mask, cast(torch.Tensor, input_ids))
                text_hidden_states = self.get_text_features(cast(torch.Tensor, input_ids), text_mask.long())
            else:
                text_mask = _as_mask(attention_mask, text_hidden_states)
            text = self.text_branch(text_hidden_states)
        device = self.missing_audio.device  # with a device map, each branch may lie on another
        audio, audio_mask, text, text_mask, case = self._fill_in(
            *(None if tensor is None else tensor.to(device) for tensor in (audio, audio_mask, text, text_mask))
        )

        config = self.config
        if output_attentions:  # sdpa returns no weights: this call alone goes the written-out way
            config = copy.copy(config)
            config._attn_implementation_internal = "eager"
        to_audio = create_bidirectional_mask(
            config=config, inputs_embeds=text, attention_mask=audio_mask, encoder_hidden_states=audio
        )
        to_text = create_bidirectional_mask(
            config=config, inputs_embeds=audio, attention_mask=text_mask, encoder_hidden_states=text
        )
        audio_attentions, text_attentions, audio_states, text_states = [], [], [audio], [text]
        for layer in self.fusion_layers:
            audio, text, audio_attention, text_attention = layer(audio, text, to_audio, to_text, output_attentions)
            audio_attentions.append(audio_attention)
            text_attentions.append(text_attention)
            if output_hidden_states:
                audio_states.append(audio)
                text_states.append(text)
        embeddings, gates = self.combination(self.audio_pooling(audio, audio_mask), self.text_pooling(text, text_mask))
        return MultimodalEmotionModelOutput(
            embeddings=embeddings,
            gates=gates,
            case=case,
            audio_attentions=tuple(audio_attentions) if output_attentions else None,
            text_attentions=tuple(text_attentions) if output_attentions else None,
            fused_audio_hidden_states=tuple(audio_states) if output_hidden_states else None,
            fused_text_hidden_states=tuple(text_states) if output_hidden_states else None,
        )

    def _fill_in(
        self,
        audio: torch.Tensor | None,
        audio_mask: torch.Tensor | None,
        text: torch.Tensor | None,
        text_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A learned embedding in the place of each missing modality; in training, some rows that have both lose one."""
        present = cast(torch.Tensor, audio if audio is not None else text)  # forward refuses a call without either
        rows, device = present.shape[0], present.device
        one = torch.ones(rows, 1, dtype=torch.bool, device=device)
        audio_mask = ~one if audio_mask is None else audio_mask
        text_mask = ~one if text_mask is None else text_mask
        has_audio, has_text = audio_mask.any(1), text_mask.any(1)
        # CODEPATH: 0 trains on rows as they come; the default, 0.2, is what the shipped checkpoint starts users with.
        if self.training and self.config.modality_dropout > 0:
            draw = torch.rand(rows, device=device)
            both = has_audio & has_text
            drop_audio = both & (draw < self.config.modality_dropout / 2)
            drop_text = both & (draw > 1 - self.config.modality_dropout / 2)
            has_audio, has_text = has_audio & ~drop_audio, has_text & ~drop_text

        def fill(
            states: torch.Tensor | None, mask: torch.Tensor, has: torch.Tensor, missing: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            stand_in = missing.to(present.dtype).expand(rows, 1, -1)
            if states is None:
                return stand_in, one
            first = torch.zeros_like(mask)
            first[:, 0] = True
            states = torch.where(
                has[:, None, None], states, torch.where(first[..., None], stand_in, torch.zeros_like(states))
            )
            return states, (mask & has[:, None]) | (first & ~has[:, None])  # onnxruntime has no torch.where of bools

        audio, audio_mask = fill(audio, audio_mask, has_audio, self.missing_audio)
        text, text_mask = fill(text, text_mask, has_text, self.missing_text)
        case = torch.where(has_audio & has_text, 0, torch.where(has_audio, 1, 2))  # as MODALITY_CASES are ordered
        return audio, audio_mask, text, text_mask, case


def _as_mask(mask: torch.Tensor | None, states: torch.Tensor) -> torch.Tensor:
    return torch.ones(states.shape[:2], dtype=torch.bool, device=states.device) if mask is None else mask.bool()


def align(model: nn.Module) -> None:
    """Move weights that were mapped from a file to where an allocation would put them.

    Matrix kernels take another path for memory that starts off a cache line: slower, and with other last bits, so that a model
    would not give the logits that it gave before it was saved.
    """
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.device.type == "cpu" and tensor.data_ptr() % 64:
            tensor.data = tensor.data.clone()


def _encoded(branch: nn.Module, *inputs: Any) -> Any:
    """`branch.encode(*inputs)`, where a device map has put it: Accelerate fetches weights and moves inputs at `forward` alone."""
    hook: Any = getattr(branch, "_hf_hook", None)
    encode: Any = branch.encode
    if hook is None:
        return encode(*inputs)
    inputs, _ = hook.pre_forward(branch, *inputs)
    return hook.post_forward(branch, encode(*inputs))
