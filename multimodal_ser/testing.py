"""Tiny models and synthetic speech, for tests of this library and of what is built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from multimodal_ser.model.configuration_multimodal_ser import MultimodalEmotionConfig
    from multimodal_ser.model.encoder_families import EncoderFamily
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


def __getattr__(name: str) -> Any:
    """AUDIO_FAMILIES, TEXT_FAMILIES: the names of the tiny encoders in the table of families, whose module imports torch."""
    if name not in ("AUDIO_FAMILIES", "TEXT_FAMILIES"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return tuple(_tiny_encoders("audio" if name == "AUDIO_FAMILIES" else "text"))


def _tiny_encoders(branch: str) -> dict[str, tuple[str, EncoderFamily]]:
    """For each name of a tiny encoder its model type and its family."""
    from multimodal_ser.model.encoder_families import SPEECH_FAMILIES, TEXT_FAMILIES

    table = SPEECH_FAMILIES if branch == "audio" else TEXT_FAMILIES
    return {name: (model_type, family) for model_type, family in table.items() for name in family.tiny}


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

    configs: dict[str, Any] = {}
    for branch, name in (("audio", audio), ("text", text)):
        model_type, family = _tiny_encoders(branch)[name]
        configs[branch] = {"model_type": model_type, **family.tiny[name]}
    configs["text"]["vocab_size"] = len(WORDS) + 5
    fields = {
        "fusion_hidden_size": 32,
        "fusion_intermediate_size": 64,
        "fusion_attention_heads": 2,
        "pooling_heads": 2,
    } | fields
    return MultimodalEmotionConfig(
        audio_config=configs["audio"], text_config=configs["text"], id2label=dict(enumerate(labels)), **fields
    )


def tiny_processor(audio: str = "wav2vec2", text: str = "bert") -> MultimodalEmotionProcessor:
    """Processor for `tiny_config(audio, text)`: a word-level tokenizer of `WORDS`, and the family's feature extractor."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    from multimodal_ser.model.processing_multimodal_ser import MultimodalEmotionProcessor

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "eos_token": "[SEP]"}
    if not _tiny_encoders("text")[text][1].is_decoder:
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
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    kind = _tiny_encoders("audio")[audio][1].feature_extractor
    takes_samples = kind == "Wav2Vec2FeatureExtractor"
    extractor: Any = getattr(transformers, kind)(**{"return_attention_mask": True} if takes_samples else {})
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
