"""Every common backbone at tiny shapes of its true architecture: company and padding change nothing, it is saved, it learns.

The flags beside each name are those of the checkpoint's own configuration on the Hub, as far as they change what is computed.
"""

import copy
import importlib.util
import random
import struct

import numpy as np
import pytest
import torch
from tokenizers import normalizers
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertTokenizer,
    Data2VecAudioModel,
    DebertaV2Tokenizer,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    HubertModel,
    LlamaForCausalLM,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    Qwen3ForCausalLM,
    RobertaTokenizer,
    SeamlessM4TFeatureExtractor,
    T5ForConditionalGeneration,
    T5Tokenizer,
    Wav2Vec2BertForCTC,
    Wav2Vec2BertModel,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    WavLMModel,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    XLMRobertaTokenizer,
)  # fmt: skip

from multimodal_ser import MultimodalEmotionClassifier, MultimodalEmotionConfig
from multimodal_ser.model.encoder_families import SPEECH_FAMILIES
from multimodal_ser.model.encoder_families import TEXT_FAMILIES as BATCHED_TEXT_FAMILIES
from multimodal_ser.model.processing_multimodal_ser import MultimodalEmotionProcessor
from multimodal_ser.testing import WORDS, synthetic_speech, tiny_config, tiny_model, tiny_processor

ENCODER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
FRONT = {  # seven convolutions, 20 ms a frame, as all of the wav2vec2 line have; ten times 512 channels, of which 16 are enough here
    **ENCODER, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16, "mask_time_length": 2,
    "codevector_dim": 16, "proj_codevector_dim": 16, "num_codevectors_per_group": 4,
}  # fmt: skip
GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WHISPER = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 60,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 2,
}  # fmt: skip
BERT = {"type_vocab_size": 2, "max_position_embeddings": 512}
ROBERTA = {"type_vocab_size": 1, "max_position_embeddings": 514, "pad_token_id": 1, "layer_norm_eps": 1e-5}
GROUPED = {"num_key_value_heads": 2, "pad_token_id": None, "rms_norm_eps": 1e-6, "tie_word_embeddings": True}

# name: (class that wrote the checkpoint, type, flags; audio: flags of the feature extractor, text: its tokenizer)
AUDIO = {
    "wav2vec2-base": (Wav2Vec2ForPreTraining, "wav2vec2", FRONT | GROUP, {}),
    "wav2vec2-large": (Wav2Vec2ForPreTraining, "wav2vec2", FRONT | GROUP, {}),  # of LibriSpeech alone; large-lv60 is as xlsr
    "xlsr": (Wav2Vec2ForPreTraining, "wav2vec2", FRONT | LAYER, {}),
    "mms-1b-all": (Wav2Vec2ForCTC, "wav2vec2", FRONT | LAYER | {"adapter_attn_dim": 8}, {}),
    "hubert-base": (HubertModel, "hubert", FRONT | GROUP, {}),
    "hubert-large": (HubertModel, "hubert", FRONT | LAYER, {}),
    "wavlm-base": (WavLMModel, "wavlm", FRONT | GROUP, {"do_normalize": False}),
    "wavlm-large": (WavLMModel, "wavlm", FRONT | LAYER | {"conv_bias": False}, {}),
    "data2vec-audio": (
        Data2VecAudioModel, "data2vec-audio", FRONT | {"conv_bias": False, "num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19}, {}
    ),
    "wav2vec2-bert": (
        Wav2Vec2BertModel, "wav2vec2-bert",
        ENCODER | {"position_embeddings_type": "relative_key", "hidden_act": "swish", "add_adapter": False, "mask_time_length": 2}, {},
    ),
    "wav2vec2-bert with an adapter": (
        Wav2Vec2BertForCTC, "wav2vec2-bert",
        ENCODER | {"position_embeddings_type": "relative_key", "add_adapter": True, "output_hidden_size": 32, "mask_time_length": 2,
                   "vocab_size": 32}, {},
    ),
    "whisper-base": (WhisperForConditionalGeneration, "whisper", WHISPER, {"feature_size": 80}),
    "whisper-large-v3": (WhisperForConditionalGeneration, "whisper", WHISPER | {"num_mel_bins": 128}, {"feature_size": 128}),
}  # fmt: skip
TEXT = {
    "bert": (AutoModelForMaskedLM, "bert", ENCODER | BERT, BertTokenizer),
    "roberta": (AutoModelForMaskedLM, "roberta", ENCODER | ROBERTA, RobertaTokenizer),
    "deberta-v3": (
        AutoModelForMaskedLM, "deberta-v2",
        ENCODER | {"relative_attention": True, "position_biased_input": False, "pos_att_type": "p2c|c2p", "position_buckets": 256,
                   "norm_rel_ebd": "layer_norm", "share_att_key": True, "max_relative_positions": -1, "type_vocab_size": 0, "layer_norm_eps": 1e-7}, DebertaV2Tokenizer,
    ),
    "xlm-roberta": (AutoModelForMaskedLM, "xlm-roberta", ENCODER | ROBERTA, XLMRobertaTokenizer),
    "multilingual-minilm": (AutoModel, "bert", ENCODER | BERT, XLMRobertaTokenizer),  # BERT behind XLM-R's tokenizer
    "chinese-bert": (AutoModelForMaskedLM, "bert", ENCODER | BERT, BertTokenizer),
    "t5": (T5ForConditionalGeneration, "t5", {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}, T5Tokenizer),
    "flan-t5": (
        T5ForConditionalGeneration, "t5",
        {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu",
         "tie_word_embeddings": False}, T5Tokenizer,
    ),
    "gpt2": (GPT2LMHeadModel, "gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 1024, "activation_function": "gelu_new"}, GPT2Tokenizer),
    "qwen2": (Qwen2ForCausalLM, "qwen2", ENCODER | GROUPED | {"max_position_embeddings": 32768, "sliding_window": 32768, "use_sliding_window": False}, Qwen2Tokenizer),
    "qwen3": (Qwen3ForCausalLM, "qwen3", ENCODER | GROUPED | {"head_dim": 16, "max_position_embeddings": 40960}, Qwen2Tokenizer),
    "llama": (
        LlamaForCausalLM, "llama",
        ENCODER | GROUPED | {"rms_norm_eps": 1e-5, "head_dim": 8, "max_position_embeddings": 131072, "rope_theta": 500000.0, "rope_scaling": {
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}}, None,
    ),
}  # fmt: skip
BACKBONES = [("audio", name) for name in AUDIO] + [("text", name) for name in TEXT]
LABELS = ["anger", "happiness", "sadness"]
SMALL = {
    "fusion_hidden_size": 32,
    "fusion_attention_heads": 2,
    "pooling_heads": 2,
    "fusion_intermediate_size": 64,
    "whisper": None,
}
CLIPS = [
    synthetic_speech(0.4, seed=1),
    synthetic_speech(2.31, seed=2),
    None,
    synthetic_speech(1.237, seed=3),
    synthetic_speech(0.03, seed=4),
]
TEXTS = ["hello you", "i am so very sad " * 9, "we are talking by the door", None, "it is not the world"]


def extractor_of(model_type, **flags):
    if model_type == "wav2vec2-bert":
        return SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2)
    if model_type == "whisper":
        return WhisperFeatureExtractor(**flags)
    return Wav2Vec2FeatureExtractor(**{"do_normalize": True, "return_attention_mask": False} | flags)


def tokenizer_of(tokenizer_class):
    """One of the true class, trained on a few sentences; Llama 3's is of no class of its own."""
    if tokenizer_class is None:
        return tiny_processor(text="gpt2").tokenizer
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(WORDS, k=8)) for _ in range(200)]
    return tokenizer_class().train_new_from_iterator(sentences, vocab_size=300, show_progress=False)


def strong(model):
    """Weights so large that every input matters."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.2)
    return model


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A classifier on each backbone, from folders that the true classes wrote; built once, its weights beside it."""
    made = {}

    def load(branch, name):
        if (branch, name) not in made:
            torch.manual_seed(0)
            root = tmp_path_factory.mktemp("backbone")
            writer, model_type, flags, about = (AUDIO if branch == "audio" else TEXT)[name]
            if branch == "audio":
                config, tokenizer, extractor = (
                    CONFIG_MAPPING[model_type](**flags),
                    tokenizer_of(BertTokenizer),
                    extractor_of(model_type, **about),
                )
                other = AutoModel.from_config(BertConfig(**ENCODER, **BERT, vocab_size=len(tokenizer)))
            else:
                tokenizer, extractor = tokenizer_of(about), extractor_of("wav2vec2")
                special = {"eos_token_id": tokenizer.eos_token_id} | (
                    {"pad_token_id": tokenizer.pad_token_id} if "pad_token_id" in flags else {}
                )
                config = CONFIG_MAPPING[model_type](**flags | special, vocab_size=300)
                other = AutoModel.from_config(tiny_config().audio_config)
            written = strong(writer.from_config(config) if hasattr(writer, "from_config") else writer(config))
            written.save_pretrained(root / branch)
            strong(other).save_pretrained(root / ("text" if branch == "audio" else "audio"))
            extractor.save_pretrained(root / "audio")
            tokenizer.save_pretrained(root / "text")
            model = MultimodalEmotionClassifier.from_pretrained_backbones(
                root / "audio", root / "text", LABELS, **SMALL
            )
            assert model.processor.tokenizer(TEXTS[1]).input_ids == tokenizer(TEXTS[1]).input_ids
            assert type(model.processor.feature_extractor) is type(extractor)
            with torch.no_grad():
                model.classifier.weight.normal_(std=0.5)
            made[branch, name] = model, written
        return made[branch, name]

    return load


def batch_of(model, clips=CLIPS, texts=TEXTS):
    """As the processor makes it; without what no row has."""
    given = {"audio": clips, "sampling_rate": 16000} if any(clip is not None for clip in clips) else {}
    return model.processor(**given | ({"text": texts} if any(texts) else {}))


def logits_of(model, batch):
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.parametrize(("branch", "name"), BACKBONES)
def test_company_and_padding_change_nothing(loaded, branch, name):
    model, _ = loaded(branch, name)
    batch = batch_of(model)
    together = logits_of(model, batch)
    assert (together - together.roll(1, 0)).abs().amax(1).min() > 1e-3  # no row is like the next
    for row, (clip, text) in enumerate(zip(CLIPS, TEXTS, strict=True)):
        torch.testing.assert_close(
            logits_of(model, batch_of(model, [clip], [text]))[0], together[row], atol=1e-4, rtol=0
        )
    sound = model.processor.model_input_names[0]
    audio, true = batch[sound].clone(), batch["audio_attention_mask"].bool()
    audio.movedim(1 + model.processor.time_axis if model.processor.time_axis == 0 else -1, 1)[~true] = 3.0
    words = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 9)
    assert torch.equal(logits_of(model, {**batch, sound: audio, "input_ids": words}), together)


@pytest.mark.parametrize(("branch", "name"), BACKBONES)
def test_the_branch_sums_the_states_of_the_model_that_was_given(loaded, branch, name):
    """A clip, or a text, alone, through transformers' own model."""
    model, written = loaded(branch, name)
    batch = batch_of(model, CLIPS[1:2], TEXTS[1:2])
    with torch.no_grad():
        if branch == "text":
            encoder = written.get_encoder() if "t5" in name else written.base_model
            states = encoder.eval()(input_ids=batch["input_ids"], output_hidden_states=True).hidden_states
            got, expected = (
                model.model.get_text_features(batch["input_ids"], batch["attention_mask"]),
                torch.stack(states).mean(0),
            )
        else:
            sound = model.processor.model_input_names[0]
            got, mask = model.model.get_audio_features(batch[sound], batch["audio_attention_mask"])
            assert mask.all() and 49 < got.shape[2] / 2.31 < 51
            if "whisper" in name:  # transformers' own runs on 30 s alone
                assert got.shape[-1] == 32 and all(
                    torch.equal(weight, written.get_encoder().state_dict()[key])
                    for key, weight in model.model.audio_branch.encoder.state_dict().items()
                )
                return
            states = written.base_model.eval()(batch[sound], output_hidden_states=True).hidden_states
            expected = torch.stack(states, 1)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("branch", "name"), BACKBONES)
def test_save_and_load_gives_the_same_bits(loaded, branch, name, tmp_path):
    model, _ = loaded(branch, name)
    model.save_pretrained(tmp_path)
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path, whisper=None)
    batch = batch_of(model)
    for key, value in batch_of(again).items():
        assert torch.equal(value, batch[key]), key
    assert torch.equal(logits_of(again, batch), logits_of(model, batch))


@pytest.mark.parametrize(("branch", "name"), BACKBONES)
def test_it_learns_in_mixed_precision_with_checkpointed_gradients(loaded, branch, name):
    model, _ = loaded(branch, name)
    batch = batch_of(model, CLIPS[:4], TEXTS[:4])
    model.train()
    model.activation_checkpointing_enable()
    try:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss
        loss.backward()
        encoder = model.get_submodule(f"model.{branch}_branch").encoder
        gradients = {key: weight.grad for key, weight in encoder.named_parameters() if weight.requires_grad}
        assert torch.isfinite(loss) and all(torch.isfinite(g).all() for g in gradients.values() if g is not None)
        without = {key for key, gradient in gradients.items() if gradient is None or not gradient.any()}
        # what padding, a mask or a key's bias (which no softmax sees) would have to be there for
        assert len(without) <= len(gradients) / 5, sorted(without)
    finally:
        model.activation_checkpointing_disable()
        model.zero_grad()
        model.eval()


NARROW = [("audio", "data2vec-audio"), ("audio", "wav2vec2-bert"), ("text", "flan-t5"), ("text", "llama")]


@pytest.mark.parametrize(("branch", "name"), NARROW)
def test_in_half_precision_it_says_the_same(loaded, branch, name):
    """Alone and in company; to as many digits as there are."""
    model, _ = loaded(branch, name)
    expected = logits_of(model, batch_of(model))
    for dtype, far in ((torch.bfloat16, 0.06), (torch.float16, 0.01)):
        half = copy.deepcopy(model).to(dtype)
        together = logits_of(half, batch_of(model)).float()
        alone = torch.cat(
            [logits_of(half, batch_of(model, [clip], [text])).float() for clip, text in zip(CLIPS, TEXTS, strict=True)]
        )
        for got in (together, alone):
            assert (got - expected).abs().max() < far * expected.abs().max()


@pytest.mark.parametrize(("branch", "name"), [*NARROW, ("audio", "wavlm-large"), ("text", "gpt2")])
def test_adapters_in_the_encoder_learn_and_merge(loaded, branch, name):
    pytest.importorskip("peft")
    from multimodal_ser.training import TrainingArguments
    from multimodal_ser.training.parameters import add_adapters, merged

    model = copy.deepcopy(loaded(branch, name)[0])
    add_adapters(
        model,
        TrainingArguments(data=["x"], output_dir="x", lora_rank=2, lora_branches=branch, freeze=["audio", "text"]),
    )
    batch = batch_of(model, CLIPS[:4], TEXTS[:4])
    before = logits_of(model, batch)
    model.train()(**batch, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    adapters = [weight for key, weight in model.named_parameters() if ".lora_" in key]
    assert len(adapters) >= 4 and all(
        weight.grad is not None and torch.isfinite(weight.grad).all() for weight in adapters
    )
    with torch.no_grad():
        for weight in adapters:
            weight.normal_(std=0.3)
    expected = logits_of(model.eval(), batch)
    assert (expected - before).abs().max() > 0.1
    torch.testing.assert_close(logits_of(merged(model), batch), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["bert", "roberta", "deberta-v3", "t5", "gpt2", "qwen3"])
def test_padding_may_stand_before_a_text(loaded, name):
    """As tokenizers of decoders put it; a text without words and long ones too."""
    model, _ = loaded("text", name)
    batch = batch_of(
        model, [None] * 3, ["hello you", None, "we are talking by the door " * (130 if name in ("bert", "t5") else 3)]
    )
    ids, mask = batch["input_ids"], batch["attention_mask"]
    order = torch.arange(mask.shape[1])
    place = (order + mask.sum(1, keepdim=True)) % mask.shape[1]
    left = {"input_ids": ids.gather(1, place), "attention_mask": mask.gather(1, place)}
    assert left["attention_mask"][0, 0] == 0 and left["attention_mask"][0, -1] == 1
    torch.testing.assert_close(logits_of(model, left)[::2], logits_of(model, batch)[::2], atol=1e-5, rtol=0)


def test_padding_before_a_clip_is_refused(loaded):
    model, _ = loaded("audio", "wav2vec2-base")
    batch = batch_of(model, CLIPS[:2], [None, None])
    with pytest.raises(
        ValueError,
        match="audio_attention_mask: expected padding behind the audio, got padding before it; set padding_side",
    ):
        logits_of(model, {name: tensor.flip(-1) for name, tensor in batch.items()})


class Harm:
    """What a pickle may do to those who read it."""

    def __reduce__(self):
        return print, ("HARM",)


def test_encoders_that_are_stored_as_pickles_are_read_and_nothing_in_them_is_run(loaded, tmp_path, capfd):
    """As the repositories of wav2vec2-base, HuBERT, WavLM, data2vec and DeBERTa have them: no safetensors, names of long ago."""
    model, written = loaded("audio", "wav2vec2-base")
    audio, text = model.model.audio_branch.encoder, model.model.text_branch.encoder
    old = {name.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1", "weight_v"): weight
           for name, weight in written.state_dict().items()}  # fmt: skip
    assert sum(name.endswith(("weight_g", "weight_v")) for name in old) == 2
    aged = {"bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): weight.half()
            for name, weight in text.state_dict().items()}  # fmt: skip
    for folder, encoder, weights in ((tmp_path / "audio", written, old), (tmp_path / "text", text, aged)):
        encoder.config.save_pretrained(folder)
        torch.save(weights, folder / "pytorch_model.bin")
    model.processor.feature_extractor.save_pretrained(tmp_path / "audio")
    model.processor.tokenizer.save_pretrained(tmp_path / "text")
    again = MultimodalEmotionClassifier.from_pretrained_backbones(
        tmp_path / "audio", tmp_path / "text", LABELS, **SMALL
    )
    for got, expected, digits in ((again.model.audio_branch, audio, 0), (again.model.text_branch, text, 1e-3)):
        for name, weight in got.encoder.state_dict().items():
            assert weight.dtype == torch.float32
            torch.testing.assert_close(weight, expected.state_dict()[name], atol=digits, rtol=0)
    torch.save({"bert.embeddings": Harm()}, tmp_path / "text" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="text: expected weights of an encoder, got a pickle of other things"):
        MultimodalEmotionClassifier.from_pretrained_backbones(tmp_path / "audio", tmp_path / "text", LABELS, **SMALL)
    assert "HARM" not in "".join(capfd.readouterr())


def sentencepiece_file(pieces):
    """A model of SentencePiece (a protocol buffer): unigrams, the first four of them [PAD], [CLS], [SEP], [UNK]."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    out = b""
    for number, piece in enumerate(pieces):
        kind = (3, 3, 3, 2)[number] if number < 4 else 1  # control, unknown, normal
        out += field(1, field(1, piece.encode()) + b"\x15" + struct.pack("<f", -float(number)) + bytes([0x18, kind]))
    trainer = b"\x18\x01" + b"".join(bytes([number << 3 & 0x7F | 0x80, number >> 4, value]) for number, value in
                                     ((40, 3), (41, 1), (42, 2), (43, 0)))  # fmt: skip
    return out + field(2, trainer)


def test_a_tokenizer_that_is_a_sentencepiece_model_alone(tmp_path):
    """As DeBERTa v3 has it on the Hub. transformers reads it with the package sentencepiece; without it, it says something else."""
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *("\u2581" + word for word in WORDS), "\u2581"]
    (tmp_path / "spm.model").write_bytes(sentencepiece_file(pieces))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    CONFIG_MAPPING["deberta-v2"](**ENCODER, vocab_size=len(pieces)).save_pretrained(tmp_path)
    extractor_of("wav2vec2").save_pretrained(tmp_path)
    if importlib.util.find_spec("sentencepiece"):
        processor = MultimodalEmotionProcessor.from_backbones(str(tmp_path), str(tmp_path))
        tokens = processor.tokenizer.convert_ids_to_tokens(processor(text=["i am so happy"])["input_ids"][0].tolist())
        assert tokens == ["[CLS]", *("\u2581" + word for word in ("i", "am", "so", "happy")), "[SEP]"]
    else:
        with pytest.raises(
            ValueError,
            match=r"got a SentencePiece model alone; pip install sentencepiece protobuf, or give a tokenizer\.json",
        ):
            MultimodalEmotionProcessor.from_backbones(str(tmp_path), str(tmp_path))


def test_what_was_done_for_data2vec_is_needed(loaded):
    """Without zeros between its positional convolutions, padding reaches the frames before it."""
    model, written = loaded("audio", "data2vec-audio")
    encoder = model.model.audio_branch.encoder.encoder
    ours, batch = encoder.pos_conv_embed, batch_of(model)
    together = logits_of(model, batch)
    try:
        encoder.pos_conv_embed = written.encoder.pos_conv_embed
        assert (logits_of(model, batch) - together).abs().max() > 1e-3
    finally:
        encoder.pos_conv_embed = ours


FIELDS = {
    "albert": {"embedding_size": 16}, "electra": {"embedding_size": 16}, "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "modernbert": {"cls_token_id": 2, "sep_token_id": 3, "global_attn_every_n_layers": 2, "local_attention": 8},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}, "opt": {"word_embed_proj_dim": 32, "ffn_dim": 64},
    "eurobert": {"mask_token_id": 4}, "xmod": {"languages": ["en_XX"], "default_language": "en_XX"}, "gemma2": {"query_pre_attn_scalar": 8}, "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
}  # fmt: skip
WITHOUT = {
    "t5": TEXT["t5"][2],
    "mt5": TEXT["t5"][2],
    "umt5": TEXT["t5"][2],
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
}
KEYS_SHARED = (
    "mistral",
    "gemma",
    "gemma2",
    "gemma3_text",
    "phi3",
    "smollm3",
    "olmo2",
    "granite",
    "eurobert",
    "llama",
    "qwen2",
    "qwen3",
)


def text_fields(family):
    shared = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8} if family in KEYS_SHARED else {}
    offset = family in (
        "roberta",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "mpnet",
        "data2vec-text",
        "xmod",
        "esm",
    )
    common = {**ENCODER, "max_position_embeddings": 66 if offset else 64, **shared}
    common = {key: value for key, value in common.items() if family != "distilbert" or key not in ENCODER}
    tokens = {"vocab_size": 31, "pad_token_id": 1 if offset else 0, "bos_token_id": 2, "eos_token_id": 3}
    return {"model_type": family, **tokens, **(WITHOUT.get(family) or common), **FIELDS.get(family, {})}


@pytest.mark.parametrize(
    "family", [*sorted(BATCHED_TEXT_FAMILIES), "mobilebert", "convbert", "xmod", "esm"]
)  # the last let padding through, and run row by row
def test_company_changes_nothing_in_any_family_of_texts(family):
    """Long texts too, which go through in windows."""
    torch.manual_seed(0)
    fields = text_fields(family) | (
        {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16} if family == "mobilebert" else {}
    )
    config = MultimodalEmotionConfig(
        audio_config=tiny_config().audio_config, text_config=fields, id2label=dict(enumerate(LABELS)),
        **{key: value for key, value in SMALL.items() if key != "whisper"},
    )  # fmt: skip
    model = strong(MultimodalEmotionClassifier(config)).eval()
    branch = model.model.text_branch
    assert branch.max_length == (512 if "t5" in family else 64)
    texts = ["hello you", "i am so very sad " * 4, "we are " * 70, None]
    with torch.no_grad():
        batch = tiny_processor()(text=texts)
        together = branch.encode(batch["input_ids"], batch["attention_mask"])
        for row, text in enumerate(texts[:3]):
            alone = branch.encode(
                **dict(zip(("input_ids", "mask"), tiny_processor()(text=[text]).values(), strict=True))
            )
            torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], atol=1e-4, rtol=1e-4)


def test_a_word_of_a_decoder_knows_what_was_said_before_it_alone():
    model = tiny_model(text="gpt2")
    words, other = (model.processor(text=[text])["input_ids"] for text in ("i am so happy", "i am so sad"))
    mask = torch.ones_like(words)
    with torch.no_grad():
        one, two = model.model.get_text_features(words, mask), model.model.get_text_features(other, mask)
        assert torch.equal(one[:, :3], two[:, :3]) and not torch.allclose(one[:, 3], two[:, 3])
        # a long text: every token sees at least half a window before it
        branch = model.model.text_branch
        long = torch.randint(5, 31, (1, 200))
        changed = long.clone()
        changed[0, 68] += 1 if changed[0, 68] < 30 else -1
        first, second = (branch.encode(ids, torch.ones_like(ids)) for ids in (long, changed))
        moved = (first - second).abs().amax(-1)[0] > 1e-6
    assert branch.causal and branch.max_length == 64
    assert not moved[:68].any() and moved[68:96].all()


def test_signs_that_no_token_stands_for_are_no_text():
    processor = tiny_processor(text="gpt2")
    assert processor.tokenizer.pad_token == processor.tokenizer.eos_token
    batch = processor(text=["hello", None, "\u200b"])
    assert batch["attention_mask"].sum(1).tolist() == [1, 0, batch["attention_mask"][2].sum()]
    processor.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("hello", "")
    with pytest.raises(ValueError, match="got none"):
        processor(text=["hello"])
    mixed = processor(text=["hello", None], audio=[CLIPS[0], CLIPS[0]], sampling_rate=16000)
    assert "input_ids" not in mixed


# wav2vec2-BERT: features (F, M) through everything that counts frames


@pytest.fixture(scope="module")
def frames_first():
    return tiny_model("wav2vec2-bert")


def test_frames_come_first_where_the_extractor_gives_them_so(frames_first, tmp_path):
    processor = frames_first.processor
    batch = processor(audio=[CLIPS[0], None, CLIPS[1], np.zeros(50, np.float32)], sampling_rate=16000)
    assert batch["input_features"].shape == (4, 114, 160) and batch["audio_attention_mask"].sum(1).tolist() == [
        19,
        0,
        114,
        1,
    ]
    assert torch.isfinite(batch["input_features"]).all()
    theirs = SeamlessM4TFeatureExtractor()([CLIPS[0], CLIPS[1]], sampling_rate=16000, return_tensors="pt")
    torch.testing.assert_close(batch["input_features"][0, :19], theirs["input_features"][0, :19])
    assert theirs["attention_mask"].sum(1).tolist() == [19, 114]
    processor.save_pretrained(tmp_path)
    again = MultimodalEmotionProcessor.from_pretrained(tmp_path)
    assert (
        again.time_axis == 0 and tiny_processor("whisper_audio_encoder").time_axis == tiny_processor().time_axis == -1
    )
    assert torch.equal(again(audio=[CLIPS[0]], sampling_rate=16000)["input_features"], batch["input_features"][:1, :19])
    with torch.no_grad():  # as transformers' own pipelines call a model
        own = frames_first(input_features=theirs["input_features"], attention_mask=theirs["attention_mask"]).logits
        ours = frames_first(**processor(audio=[CLIPS[0], CLIPS[1]], sampling_rate=16000)).logits
    torch.testing.assert_close(own, ours, atol=1e-5, rtol=0)


def test_frames_first_in_use(frames_first, tmp_path):
    clips = [synthetic_speech(0.4, seed=1), synthetic_speech(1.2, seed=2)]
    one, two = frames_first.predict(clips, sampling_rate=16000)
    alone = frames_first.predict(clips[0], sampling_rate=16000)
    assert one.probabilities == pytest.approx(alone.probabilities, abs=1e-4) and two.modalities == ("audio",)
    long = frames_first.predict(synthetic_speech(45.0), sampling_rate=16000)
    assert long.windows > 1
    profile = frames_first.enroll(clips, sampling_rate=16000)
    assert profile.hidden_mean.shape == (3, 32) and torch.isfinite(torch.as_tensor(profile.hidden_mean)).all()
    assert frames_first.predict(clips[0], sampling_rate=16000, speaker=profile).probabilities != alone.probabilities


@pytest.mark.parametrize("kept", [True, False], ids=["states-kept", "encoder-learns"])
def test_frames_first_in_training(tmp_path, kept):
    """From a checkpoint, its hidden states kept; and from an encoder's own folder, which learns too."""
    import soundfile

    from multimodal_ser.training import TrainingArguments, train

    started = tiny_model("wav2vec2-bert")
    (started if kept else tiny_model()).save_pretrained(tmp_path / "model")
    started.model.audio_branch.encoder.save_pretrained(tmp_path / "encoder")
    started.processor.feature_extractor.save_pretrained(tmp_path / "encoder")
    for number in range(12):
        path = tmp_path / "clips" / ("calm", "urgent")[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, synthetic_speech(0.4 + number / 20, seed=number, pitch=110 + 100 * (number % 2)), 16000)
    run = train(
        TrainingArguments(
            data=[str(tmp_path / "clips")], output_dir=str(tmp_path / "run"), model=str(tmp_path / "model"), num_train_epochs=1, use_cpu=True,
            disable_tqdm=True, report_to=[], per_device_train_batch_size=4, freeze=["audio", "text"] if kept else ["text"],
            embedding_cache=kept, audio_model=None if kept else str(tmp_path / "encoder"),
        )
    )  # fmt: skip
    assert run is not None
    trained = MultimodalEmotionClassifier.from_pretrained(tmp_path / "run" / "best", whisper=None)
    assert set(trained.predict(CLIPS[0], sampling_rate=16000).probabilities) == {"calm", "urgent"}
    before = started.model.audio_branch.encoder.state_dict()
    same = all(
        torch.equal(value, before[key]) for key, value in trained.model.audio_branch.encoder.state_dict().items()
    )
    assert same is kept


def test_frames_first_teach_and_learn(frames_first):
    from multimodal_ser.training.crops import Crops
    from multimodal_ser.training.distillation import Distillation, Teacher

    crops = Crops([synthetic_speech(1.0), synthetic_speech(1.5, seed=1)], seconds=1.0)
    teacher = Teacher(frames_first.model.audio_branch.encoder, frames_first.processor.feature_extractor, layers=[0, 2])
    teacher.measure(crops.batch([number]) for number in range(4))
    inputs = teacher.inputs(crops.batch([7, 8]))
    targets = teacher.targets(inputs)
    assert [tuple(layer.shape) for layer in targets] == [(2, 49, 32)] * 2
    student = tiny_model("wav2vec2-bert", seed=1).model.audio_branch.encoder
    output = Distillation(student, widths=[32, 32], layers=[0, 2])(inputs, targets)
    output.loss.backward()
    assert torch.isfinite(output.loss)


def test_the_table_holds_every_batched_family():
    covered = {model_type for _, model_type, *_ in AUDIO.values()} | {
        "unispeech",
        "unispeech-sat",
    }  # those: test_loading
    assert {family.replace("whisper_audio_encoder", "whisper") for family in SPEECH_FAMILIES} == covered
