"""Tiny models and synthetic speech, for tests of this library and of what is built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from multimodal_ser.model.configuration_multimodal_ser import MultimodalEmotionConfig
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier
    from multimodal_ser.model.processing_multimodal_ser import MultimodalEmotionProcessor

WORDS = [
    "i",
    "you",
    "we",
    "he",
    "she",
    "it",
    "am",
    "are",
    "is",
    "was",
    "not",
    "so",
    "very",
    "happy",
    "sad",
    "angry",
    "afraid",
    "door",
    "dogs",
    "kids",
    "talking",
    "sitting",
    "by",
    "the",
    "hello",
    "world",
]
AUDIO_FAMILIES = (
    "wav2vec2",
    "wav2vec2-group",
    "hubert",
    "wavlm",
    "whisper_audio_encoder",
    "data2vec-audio",
    "wav2vec2-bert",
)
TEXT_FAMILIES = ("bert", "roberta", "distilbert", "xlm-roberta", "deberta-v2", "t5", "gpt2", "qwen2")
DECODER_FAMILIES = ("gpt2", "qwen2")
"""Text families whose tokenizers add nothing around a text and know no padding."""

_ENCODER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_CONVOLUTIONS = {
    "conv_dim": [16, 16, 16], "conv_kernel": [10, 8, 4], "conv_stride": [5, 8, 8], "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "mask_time_length": 2, "layerdrop": 0.0,
}  # fmt: skip
_TEXT = {**_ENCODER, "vocab_size": len(WORDS) + 5, "max_position_embeddings": 64}


def tiny_config(
    audio: str = "wav2vec2",
    text: str = "bert",
    labels: tuple[str, ...] = ("anger", "happiness", "sadness"),
    **fields: Any,
) -> MultimodalEmotionConfig:
    """Configuration of a model of about 50,000 parameters, of true architecture.

    Args:
        audio: one of `AUDIO_FAMILIES`; "wav2vec2" has layer norms in its front, "wav2vec2-group" a group norm as wav2vec2-base has.
        text: one of `TEXT_FAMILIES`.
        labels: names of the classes.
        **fields: fields of `MultimodalEmotionConfig`.

    Example:
        >>> from multimodal_ser.testing import tiny_config
        >>> tiny_config(audio="hubert").audio_config.model_type
        'hubert'
    """
    from multimodal_ser.model.configuration_multimodal_ser import MultimodalEmotionConfig

    layer_norm = audio == "wav2vec2"
    audio_config: dict[str, Any] = {"model_type": audio.removesuffix("-group"), **_ENCODER}
    if audio == "whisper_audio_encoder":
        audio_config = {
            "model_type": audio, "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64,
            "num_mel_bins": 80,
        }  # fmt: skip
    elif audio == "wav2vec2-bert":
        audio_config |= {
            "mask_time_length": 2,
            "layerdrop": 0.0,
            "left_max_position_embeddings": 8,
            "right_max_position_embeddings": 4,
        }
    elif audio == "data2vec-audio":
        audio_config |= {**_CONVOLUTIONS, "num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19}
    else:
        audio_config |= {
            **_CONVOLUTIONS, "feat_extract_norm": "layer" if layer_norm else "group", "do_stable_layer_norm": layer_norm,
            "conv_bias": layer_norm,
        }  # fmt: skip
    text_config = {"model_type": text, **_TEXT, "pad_token_id": 0}
    if text == "distilbert":
        text_config |= {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2}
        text_config = {k: v for k, v in text_config.items() if k not in _ENCODER}
    elif text in ("roberta", "xlm-roberta"):
        text_config |= {"pad_token_id": 1, "max_position_embeddings": 66}
    elif text == "deberta-v2":
        text_config |= {
            "relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
            "norm_rel_ebd": "layer_norm", "share_att_key": True, "max_relative_positions": -1, "type_vocab_size": 0,
        }  # fmt: skip
    elif text == "t5":
        text_config = {
            "model_type": text, "vocab_size": _TEXT["vocab_size"], "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2,
        }  # fmt: skip
    elif text in DECODER_FAMILIES:
        text_config |= {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": None, "num_attention_heads": 4}
        text_config |= {} if text == "gpt2" else {"num_key_value_heads": 2}
    fields = {
        "fusion_hidden_size": 32,
        "fusion_intermediate_size": 64,
        "fusion_attention_heads": 2,
        "pooling_heads": 2,
    } | fields
    return MultimodalEmotionConfig(
        audio_config=audio_config, text_config=text_config, id2label=dict(enumerate(labels)), **fields
    )


def tiny_processor(audio: str = "wav2vec2", text: str = "bert") -> MultimodalEmotionProcessor:
    """Processor for `tiny_config(audio, text)`: a word-level tokenizer of `WORDS`, and the family's feature extractor."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        PreTrainedTokenizerFast,
        SeamlessM4TFeatureExtractor,
        Wav2Vec2FeatureExtractor,
        WhisperFeatureExtractor,
    )

    from multimodal_ser.model.processing_multimodal_ser import MultimodalEmotionProcessor

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "eos_token": "[SEP]"}
    if text not in DECODER_FAMILIES:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        names = {
            "unk_token": "[UNK]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        }
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    extractor: Any = Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=True)
    if audio == "whisper_audio_encoder":
        extractor = WhisperFeatureExtractor(feature_size=80)
    elif audio == "wav2vec2-bert":
        extractor = SeamlessM4TFeatureExtractor()
    return MultimodalEmotionProcessor(extractor, fast)


def tiny_model(
    audio: str = "wav2vec2", text: str = "bert", *, seed: int = 0, **fields: Any
) -> MultimodalEmotionClassifier:
    """A tiny classifier with random weights (the same for the same seed), its processor, no Whisper, in evaluation mode.

    Example:
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> tiny_model().predict(synthetic_speech(1.0), sampling_rate=16000, text="hello").modalities
        ('audio', 'text')
    """
    import torch

    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MultimodalEmotionClassifier(tiny_config(audio, text, **fields))
        with torch.no_grad():  # large enough that inputs matter
            model.classifier.weight.normal_(std=0.5)
    model.processor = tiny_processor(audio, text)
    model.transcriber = None
    return model.eval()


def synthetic_speech(
    duration: float, *, seed: int = 0, pitch: float = 140.0, sampling_rate: int = 16_000
) -> np.ndarray:
    """A voiced, syllable-paced signal: a glottal pulse train through three moving resonances. Not intelligible.

    Source and filter as in Fant 1960, "Acoustic Theory of Speech Production".

    Args:
        duration: s.
        seed: of pitch movement, vowels and breath.
        pitch: mean fundamental frequency, Hz.
        sampling_rate: Hz.

    Returns:
        (duration * sampling_rate,) float32 in [-1, 1].
    """
    generator = np.random.default_rng(seed)
    size = round(duration * sampling_rate)
    time = np.arange(size) / sampling_rate
    knots = np.linspace(0, max(duration, 0.25), max(2, int(duration * 4) + 1))  # four syllables a second

    def path(low: float, high: float) -> np.ndarray:
        return np.interp(time, knots, generator.uniform(low, high, len(knots)))

    f0 = pitch * (1 + 0.15 * path(-1, 1))
    phase = 2 * np.pi * np.cumsum(f0) / sampling_rate
    formants = [(path(300, 800), 80.0), (path(900, 2200), 120.0), (path(2300, 3000), 160.0)]
    signal = np.zeros(size)
    for harmonic in range(1, int(3400 / pitch)):
        frequency = harmonic * f0
        gain = sum(1 / (1 + ((frequency - centre) / width) ** 2) for centre, width in formants) / harmonic**0.5
        signal += gain * np.sin(harmonic * phase)
    envelope = 0.15 + np.abs(np.sin(np.pi * 2 * time)) ** 1.5
    signal = signal * envelope + 0.01 * generator.standard_normal(size)
    return (0.5 * signal / np.abs(signal).max()).astype(np.float32)
