"""What transformers 5 asks of a model class, point by point."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoProcessor,
    BertConfig,
    BertModel,
    Trainer,
    TrainingArguments,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperModel,
    pipeline,
)  # fmt: skip

from multimodal_ser import (
    MultimodalEmotionClassifier,
    MultimodalEmotionConfig,
    MultimodalEmotionModel,
    MultimodalEmotionProcessor,
    WhisperAudioEncoder,
    WhisperAudioEncoderConfig,
)  # fmt: skip
from multimodal_ser.model.modeling_core import MultimodalEmotionPreTrainedModel
from multimodal_ser.model.modeling_whisper_audio_encoder import sinusoids
from multimodal_ser.testing import (
    AUDIO_FAMILIES,
    TEXT_FAMILIES,
    synthetic_speech,
    tiny_config,
    tiny_model,
    tiny_processor,
)

FAMILIES = [(audio, "bert") for audio in AUDIO_FAMILIES] + [("wav2vec2", text) for text in TEXT_FAMILIES[1:]]
LONG_TEXT = "kids are talking by the door and she is not happy " * 20  # longer than the tiny encoders' 64 tokens


def batch_of(audio="wav2vec2", **options):
    clips = [synthetic_speech(0.4, seed=1), synthetic_speech(1.7, seed=2), None, synthetic_speech(0.9, seed=3)]
    texts = ["hello you", None, "i am so very sad", LONG_TEXT]
    return tiny_processor(audio)(audio=clips, text=texts, sampling_rate=16000, **options), clips, texts


@pytest.fixture
def saved(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model"


# configuration


def test_config_survives_a_round_trip(tmp_path):
    config = tiny_config(
        temperature={"both": 1.5, "audio": 0.7, "text": 2.0}, text_languages=["en"], dimensions=["arousal"]
    )
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, MultimodalEmotionConfig)
    assert again.to_diff_dict() == config.to_diff_dict()
    assert type(again.audio_config) is Wav2Vec2Config and type(again.text_config) is BertConfig
    assert again.temperature == {"both": 1.5, "audio": 0.7, "text": 2.0}


def test_config_refuses_a_misspelt_keyword():
    with pytest.raises(ValueError, match=r"fusion_layer.*did you mean 'fusion_layers'"):
        tiny_config(fusion_layer=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fusion_layers", "two"), ("temperature", {"both": 1.0}), ("temperature", {"both": 0.0, "audio": 1.0, "text": 1.0}),
        ("audio_projection_kernel", 4), ("fusion_attention_heads", 5), ("class_weights", [1.0]), ("audio_config", {"model_type": "wav2vec3"}),
    ],
)  # fmt: skip
def test_config_refuses_wrong_values(field, value):
    fields = {field: value} if field == "audio_config" else {}
    with pytest.raises(Exception, match=f"{field}|expected"):
        MultimodalEmotionConfig(**fields) if fields else tiny_config(**{field: value})


def test_default_config_is_the_design():
    config = MultimodalEmotionConfig()
    assert config.audio_config.model_type == "wav2vec2"
    assert config.text_config.model_type == "bert"


# loading and saving


def test_save_and_load_gives_the_same_bits(saved):
    model, folder = saved
    batch, *_ = batch_of()
    again = MultimodalEmotionClassifier.from_pretrained(folder)
    assert not again.training
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, again(**batch).logits)
    assert {path.name for path in folder.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "README.md",
    }
    clip = synthetic_speech(1.0)
    ours, theirs = (
        model.processor(audio=[clip], text=["hello"], sampling_rate=16000),
        again.processor(audio=[clip], text=["hello"], sampling_rate=16000),
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_auto_classes_know_the_model_without_remote_code(saved):
    _, folder = saved
    assert isinstance(AutoModel.from_pretrained(folder), MultimodalEmotionModel)
    assert isinstance(AutoModelForAudioClassification.from_pretrained(folder), MultimodalEmotionClassifier)
    assert isinstance(AutoProcessor.from_pretrained(folder), MultimodalEmotionProcessor)
    assert AutoFeatureExtractor.from_pretrained(folder).sampling_rate == 16000


def test_auto_classes_know_the_model_when_only_a_public_name_was_touched(saved):
    _, folder = saved
    code = f"import multimodal_ser; multimodal_ser.MultimodalEmotionConfig; from transformers import AutoModelForAudioClassification as A; print(type(A.from_pretrained({str(folder)!r})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "MultimodalEmotionClassifier"


def test_no_bare_parameter_or_buffer_loads_as_garbage(saved):
    """Every weight that a checkpoint lacks has to come out of `_init_weights`, also from the meta device."""
    _, folder = saved
    weights = load_file(folder / "model.safetensors")
    bare = [
        name
        for name in weights
        if name.endswith(("gate", "layer_weights", "hidden_mean", "hidden_std", "missing_audio", "missing_text"))
    ]
    assert len(bare) == 2 * 2 + 3 + 1 + 2
    save_file(
        {name: value for name, value in weights.items() if name not in bare},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    model, info = super(MultimodalEmotionPreTrainedModel, MultimodalEmotionClassifier).from_pretrained(
        folder, output_loading_info=True
    )
    assert set(info["missing_keys"]) == set(bare)
    state = model.state_dict()
    for name in bare:
        value = state[name]
        expected = {"gate": 0.5, "hidden_std": 1.0, "layer_weights": 0.0, "hidden_mean": 0.0}
        key = next((key for key in expected if name.endswith(key)), None)
        assert torch.isfinite(value).all()
        assert (value == expected[key]).all() if key else 0 < value.std() < 0.1


@pytest.mark.parametrize("change", ["missing", "misshapen"])
def test_a_head_that_does_not_load_is_an_error(saved, change):
    _, folder = saved
    weights = load_file(folder / "model.safetensors")
    head = weights.pop("classifier.weight")
    if change == "misshapen":
        weights["classifier.weight"] = torch.zeros(len(head) + 2, head.shape[1])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for auto in (MultimodalEmotionClassifier, AutoModelForAudioClassification):
        with pytest.raises(ValueError, match=r"classifier\.weight.*labels="):
            auto.from_pretrained(folder)


def test_a_missing_fusion_weight_is_an_error_also_with_new_labels(saved):
    _, folder = saved
    weights = load_file(folder / "model.safetensors")
    del weights["model.fusion_layers.0.audio_to_text.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"q_proj\.weight \(missing\)"):
        MultimodalEmotionClassifier.from_pretrained(folder, labels=["calm", "urgent"])


@pytest.mark.parametrize("labels", [["calm", "urgent"], ["a", "b", "c"]])  # three are as many as the old head has
def test_labels_ask_for_a_new_head(saved, labels):
    model, folder = saved
    new = MultimodalEmotionClassifier.from_pretrained(folder, labels=labels)
    assert new.labels == labels
    assert new.classifier.weight.shape == (len(labels), 32)
    assert new.classifier.weight.std() < 0.1  # the old one's is 0.5
    assert torch.equal(new.model.missing_audio, model.model.missing_audio)
    with pytest.raises(ValueError, match="at least two different names"):
        MultimodalEmotionClassifier.from_pretrained(folder, labels=["calm", "calm"])


def test_pickled_weights_are_refused(saved):
    model, folder = saved
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        MultimodalEmotionClassifier.from_pretrained(folder)


def test_half_precision_weights_load_as_single(saved):
    model, folder = saved
    model.half().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "float16"
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32"}))
    assert load_file(folder / "model.safetensors")["classifier.weight"].dtype == torch.float16
    assert MultimodalEmotionClassifier.from_pretrained(folder).dtype == torch.float32
    assert MultimodalEmotionClassifier.from_pretrained(folder, dtype="auto").dtype == torch.float32
    assert MultimodalEmotionClassifier.from_pretrained(folder, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_models_are_built_on_the_meta_device():
    with torch.device("meta"):
        model = MultimodalEmotionClassifier(tiny_config())
    # transformers makes this one of wav2vec2's with torch.Tensor(), which knows no device context
    assert [name for name, parameter in model.named_parameters() if not parameter.is_meta] == [
        "model.audio_branch.encoder.masked_spec_embed"
    ]


def test_from_pretrained_backbones_takes_the_trained_weights(tmp_path):
    torch.manual_seed(3)
    audio = Wav2Vec2Model(tiny_config().audio_config)
    text = BertModel(tiny_config().text_config)
    audio.save_pretrained(tmp_path / "audio")
    text.save_pretrained(tmp_path / "text")
    tiny_processor().feature_extractor.save_pretrained(tmp_path / "audio")
    tiny_processor().tokenizer.save_pretrained(tmp_path / "text")
    model = MultimodalEmotionClassifier.from_pretrained_backbones(
        tmp_path / "audio",
        tmp_path / "text",
        ["anger", "joy"],
        fusion_hidden_size=32,
        fusion_attention_heads=2,
        pooling_heads=2,
        whisper=None,
    )
    for name, value in model.model.audio_branch.encoder.state_dict().items():
        assert torch.equal(value, audio.state_dict()[name]), name
    for name, value in model.model.text_branch.encoder.state_dict().items():
        assert torch.equal(value, text.state_dict()[name]), name
    assert model.predict(synthetic_speech(0.5), sampling_rate=16000, text="hello").label in ("anger", "joy")
    model.save_pretrained(tmp_path / "saved")
    assert (
        str(tmp_path) not in (tmp_path / "saved" / "config.json").read_text()
    )  # a checkpoint does not tell whose machine made it
    short = MultimodalEmotionClassifier.from_pretrained_backbones(audio, text, ["a", "b"], audio_layers=1)
    assert len(short.model.audio_branch.encoder.encoder.layers) == 1


def test_a_whisper_encoder_from_a_configuration_alone_has_its_positions():
    for encoder in (
        WhisperAudioEncoder(WhisperAudioEncoderConfig(encoder_layers=1)),
        tiny_model("whisper_audio_encoder").model.audio_branch.encoder,
    ):
        positions = encoder.embed_positions.weight
        torch.testing.assert_close(positions, sinusoids(*positions.shape))


def test_whisper_encoder_equals_transformers_on_full_windows():
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=32,
        encoder_layers=3,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=2,
        vocab_size=100,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    whisper = WhisperModel(config).eval()
    encoder = WhisperAudioEncoder.from_whisper(whisper, 2).eval()
    features = torch.randn(1, 80, 3000)
    with torch.no_grad():
        theirs = whisper.encoder(features, output_hidden_states=True).hidden_states[:3]
        ours = encoder(features, output_hidden_states=True).hidden_states
    assert len(ours) == 3
    for a, b in zip(theirs, ours, strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="at most 3000 frames"):
        encoder(torch.randn(1, 80, 3002))
    with pytest.raises(ValueError, match="1 to 3"):
        WhisperAudioEncoder.from_whisper(whisper, 4)


# forward


@pytest.mark.parametrize(("audio", "text"), FAMILIES)
def test_company_changes_nothing(audio, text):
    """A clip alone and among longer ones, a row without audio, one without text, one with a text longer than the encoder holds."""
    model = tiny_model(audio, text)
    batch, clips, texts = batch_of(audio)
    with torch.no_grad():
        together = model(**batch).logits.softmax(-1)
        for row, (clip, words) in enumerate(zip(clips, texts, strict=True)):
            single = tiny_processor(audio)(
                audio=None if clip is None else [clip], text=None if words is None else [words], sampling_rate=16000
            )
            torch.testing.assert_close(model(**single).logits.softmax(-1)[0], together[row], atol=1e-4, rtol=0)
        order = torch.tensor([2, 0, 3, 1])
        shuffled = model(**{name: value[order] for name, value in batch.items()}).logits.softmax(-1)
    torch.testing.assert_close(shuffled, together[order], atol=1e-4, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-3  # the inputs matter at all


def test_group_norm_sees_the_own_length():
    """Without care, padding changes every frame of wav2vec2-base (transformers issue 21534); transformers' own model shows it."""
    model = tiny_model("wav2vec2-group")
    reference = Wav2Vec2Model(model.config.audio_config).eval()
    reference.load_state_dict(model.model.audio_branch.encoder.state_dict())
    clip = torch.from_numpy(synthetic_speech(1.0))[None]
    padded, mask = (
        torch.nn.functional.pad(clip, (0, 16000)),
        torch.cat([torch.ones(1, 16000), torch.zeros(1, 16000)], 1).long(),
    )
    with torch.no_grad():
        alone = reference(clip, output_hidden_states=True).hidden_states[-1]
        theirs = reference(padded, attention_mask=mask, output_hidden_states=True).hidden_states[-1][
            :, : alone.shape[1]
        ]
        ours, frames = model.model.get_audio_features(padded, mask)
    assert (theirs - alone).abs().max() > 1e-2
    torch.testing.assert_close(ours[:, -1, : alone.shape[1]], alone, atol=1e-5, rtol=0)
    assert frames.sum() == alone.shape[1]


def test_missing_modalities_are_cases_not_errors():
    model = tiny_model(temperature={"both": 1.0, "audio": 2.0, "text": 4.0})
    batch, *_ = batch_of()
    with torch.no_grad():
        core = model.model(**batch)
        logits = model(**batch).logits
        raw = model.classifier(model.norm(core.embeddings))
    assert core.case.tolist() == [0, 1, 2, 0]
    torch.testing.assert_close(logits, raw / torch.tensor([1.0, 2.0, 4.0, 1.0])[:, None])
    with pytest.raises(ValueError, match="neither"):
        model()


def test_training_resets_the_temperature_to_one():
    batch, *_ = batch_of()
    logits = []
    for temperature in (1.0, 3.0):
        model = tiny_model(
            temperature=dict.fromkeys(("both", "audio", "text"), temperature), modality_dropout=0.0, fusion_dropout=0.0
        ).train()
        model.model.audio_branch.encoder.eval()
        model.model.text_branch.encoder.eval()
        logits.append(model(**batch).logits)
    torch.testing.assert_close(*logits)


def test_the_audio_mask_may_come_as_attention_mask():
    """transformers' audio pipelines call `model(input_values=..., attention_mask=...)`."""
    model = tiny_model()
    clips = [synthetic_speech(0.5), synthetic_speech(1.0, seed=4)]
    batch = tiny_processor()(audio=clips, sampling_rate=16000)
    with torch.no_grad():
        ours = model(**batch).logits
        theirs = model(input_values=batch["input_values"], attention_mask=batch["audio_attention_mask"]).logits
    assert torch.equal(ours, theirs)


def test_stock_audio_classification_pipeline(saved):
    model, folder = saved
    clip = synthetic_speech(1.0)
    answers = {entry["label"]: entry["score"] for entry in pipeline("audio-classification", model=str(folder))(clip)}
    prediction = model.predict(clip, sampling_rate=16000, modalities="audio")
    assert answers == pytest.approx(prediction.probabilities, abs=1e-5)


def test_cross_attentions():
    model = tiny_model(fusion_attention_heads=4)
    batch, *_ = batch_of()
    with torch.no_grad():
        plain = model(**batch)
        output = model(**batch, output_attentions=True)
    assert plain.audio_attentions is None
    torch.testing.assert_close(plain.logits, output.logits)  # sdpa and eager agree
    frames, tokens = output.audio_attentions[0].shape[2:]
    text_mask = batch["attention_mask"].bool()
    text_mask[1, 0] = True  # the learned embedding of a missing text
    for audio, text in zip(output.audio_attentions, output.text_attentions, strict=True):
        assert audio.shape == (4, 4, frames, tokens)
        assert text.shape == (4, 4, tokens, frames)
        torch.testing.assert_close(audio.sum(-1), torch.ones_like(audio[..., 0]))
        torch.testing.assert_close(text.sum(-1), torch.ones_like(text[..., 0]))
        assert audio.masked_select(~text_mask[:, None, None].expand_as(audio)).abs().max() < 1e-6
    assert output.audio_attentions[0][0, :, :5].std(1).max() > 1e-6  # frames differ


def test_tuple_outputs():
    model = tiny_model()
    batch, *_ = batch_of()
    with torch.no_grad():
        output, as_tuple = model(**batch), model(**batch, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert torch.equal(as_tuple[0], output.logits)


@pytest.mark.parametrize("audio", ["wav2vec2", "wavlm"])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_attention_implementations(audio, implementation):
    """WavLM refuses an explicit sdpa: it is passed on only where it is supported; the fusion has what was asked for."""
    model = AutoModelForAudioClassification.from_config(tiny_config(audio), attn_implementation=implementation)
    assert model.config._attn_implementation == implementation
    assert model.config.audio_config._attn_implementation == (
        "eager" if not WavLMModel._supports_sdpa and audio == "wavlm" else implementation
    )


def test_wavlm_still_has_no_sdpa():
    """When this fails, the case above has lost its example."""
    assert not WavLMModel._supports_sdpa and WavLMConfig.model_type == "wavlm"


def test_text_branches_have_no_unused_pooler():
    assert not any("pooler" in name for name, _ in tiny_model().named_parameters())


# training


def test_gradients_reach_every_part():
    model = tiny_model(modality_dropout=0.0).train()
    batch, *_ = batch_of()
    model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    without = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() == 0
    }
    # the last layer norm of a stable wav2vec2 lies behind the hidden states; masked_spec_embed is used where SpecAugment masks
    assert {
        name
        for name in without
        if "encoder.encoder.layer_norm" not in name
        and "masked_spec_embed" not in name
        and "k_proj.bias" not in name
        and "key.bias" not in name
        and "position_embeddings" not in name
    } <= {"model.audio_branch.encoder.feature_projection.layer_norm.bias"}


def test_gradient_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(modality_dropout=0.0, fusion_dropout=0.0)
        for encoder in (model.config.audio_config, model.config.text_config):
            for name in (
                "hidden_dropout",
                "attention_dropout",
                "activation_dropout",
                "hidden_dropout_prob",
                "attention_probs_dropout_prob",
            ):
                if hasattr(encoder, name):
                    setattr(encoder, name, 0.0)
        model.config.audio_config.apply_spec_augment = False
        rebuilt = MultimodalEmotionClassifier(model.config)
        rebuilt.load_state_dict(model.state_dict())
        if checkpointing:
            enable = (
                getattr(rebuilt, "activation_checkpointing_enable", None) or rebuilt.gradient_checkpointing_enable
            )  # renamed in 5.2x
            enable()
        rebuilt.train()
        batch, *_ = batch_of()
        rebuilt(**batch, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        gradients.append({name: p.grad for name, p in rebuilt.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-6, rtol=1e-5, msg=name)


def test_trainer_accumulation_equals_one_large_batch(tmp_path):
    """`accepts_loss_kwargs = False`: otherwise Trainer's gradients are k times too large under accumulation k."""
    rows = [{"input_values": torch.from_numpy(synthetic_speech(0.5, seed=i)), "labels": i % 3} for i in range(4)]
    weights = []
    for batch_size, accumulation in ((4, 1), (1, 4)):
        model = tiny_model(modality_dropout=0.0, fusion_dropout=0.0).eval()
        model.train = lambda mode=True, model=model: model  # dropout off, whatever Trainer asks for
        arguments = TrainingArguments(
            tmp_path, per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation, max_steps=1, learning_rate=1e-2,
            optim="sgd", report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", max_grad_norm=0.0, lr_scheduler_type="constant",
            remove_unused_columns=False, dataloader_pin_memory=False,
        )  # fmt: skip
        Trainer(model, arguments, train_dataset=rows).train()
        weights.append(model.classifier.weight.detach().clone())
    torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-4)
    assert (weights[0] - tiny_model().classifier.weight).abs().max() > 1e-5


def test_bf16_autocast_trains():
    model = tiny_model().train()
    batch, *_ = batch_of()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(map(torch.isfinite, torch.tensor(losses)))
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_very_short_clips_train():
    """SpecAugment masks more frames than 25 ms have."""
    config = tiny_config()
    config.audio_config.mask_time_length = 10
    model = MultimodalEmotionClassifier(config).train()
    batch = tiny_processor()(audio=[synthetic_speech(0.03), synthetic_speech(0.025, seed=1)], sampling_rate=16000)
    assert torch.isfinite(model(**batch, labels=torch.tensor([0, 1])).loss)


def test_no_split_modules_exist():
    present = {type(module).__name__ for audio, text in FAMILIES for module in tiny_model(audio, text).modules()}
    unstable = {"Wav2Vec2EncoderLayer", "HubertEncoderLayerStableLayerNorm", "WavLMEncoderLayerStableLayerNorm"}
    assert set(MultimodalEmotionClassifier._no_split_modules) - unstable <= present


def test_resize_token_embeddings():
    model = tiny_model()
    model.resize_token_embeddings(64)
    assert model.get_input_embeddings().weight.shape[0] == 64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("audio", "text"), FAMILIES)
def test_gpu_agrees_with_cpu(audio, text):
    model = tiny_model(audio, text)
    batch, *_ = batch_of(audio)
    with torch.no_grad():
        expected = model(**batch).logits.softmax(-1)
        got = model.to("cuda")(**batch.to("cuda")).logits.softmax(-1).cpu()
    torch.testing.assert_close(got, expected, atol=2e-3, rtol=0)


def test_silence_at_both_ends_is_cut_where_the_processor_says_so(tmp_path):
    model = tiny_model()
    speech = synthetic_speech(1.0)
    padded = np.concatenate([np.zeros(12_000, np.float32), speech, np.zeros(9_600, np.float32)])
    before = model.predict(padded, sampling_rate=16_000).probabilities
    model.processor.trim_silence_db = 40.0
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, whisper=None)
    assert loaded.processor.trim_silence_db == 40.0
    cut = loaded.processor(audio=[padded], sampling_rate=16_000)["audio_attention_mask"].sum().item()
    assert len(speech) - 3200 <= cut <= len(speech) + 640
    after = loaded.predict(padded, sampling_rate=16_000).probabilities
    assert after != before
    silent = loaded.processor(audio=[np.zeros(16_000, np.float32), padded[:4000]], sampling_rate=16_000)[
        "audio_attention_mask"
    ]
    assert silent.sum(1).tolist() == [16_000, 4_000]  # nothing to go by, or too little left
    with pytest.raises(ValueError, match="trim_silence_db: expected more than 0"):
        type(model.processor)(model.processor.feature_extractor, model.processor.tokenizer, trim_silence_db=0)


def test_without_the_norm_before_pooling_it_counts_how_large_frames_are(tmp_path):
    from multimodal_ser.model.modeling_fusion import AttentiveStatisticsPooling

    states, mask = torch.randn(2, 9, 32), torch.ones(2, 9, dtype=torch.bool)
    for norm in (True, False):
        pooling = AttentiveStatisticsPooling(tiny_config(pooling_norm=norm))
        with torch.no_grad():
            same = torch.allclose(pooling(states, mask), pooling(3 * states, mask), atol=1e-4)
        assert same is norm
    model = tiny_model(pooling_norm=False)
    model.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path, whisper=None).config.pooling_norm is False


def test_a_concatenated_head_is_linear_in_the_statistics_of_both_modalities(tmp_path):
    model = tiny_model(
        fusion_layers=0, combination="concatenated", classifier_dropout=0.4, pooling_norm=False, dimensions=["arousal"]
    )
    assert model.classifier.in_features == model.regressor.in_features == 4 * model.config.fusion_hidden_size
    assert model.dropout.p == 0.4 and isinstance(model.norm, torch.nn.Identity)
    torch.manual_seed(0)
    sound, words = torch.randn(2, 8000), torch.tensor([[2, 7, 9, 3], [2, 8, 3, 0]])
    both = model(input_values=sound, input_ids=words, attention_mask=(words > 0).long())
    assert both.gates is None and both.embeddings.shape == (2, 4 * model.config.fusion_hidden_size)
    assert torch.allclose(model.classifier(both.embeddings), both.logits)
    alone = model(input_values=sound)
    assert torch.equal(
        alone.embeddings[0, 64:], alone.embeddings[1, 64:]
    )  # the stand-in of missing words is the same for every row
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, whisper=None)
    assert torch.equal(again(input_values=sound).logits, alone.logits)
    with pytest.raises(Exception, match="combination"):
        tiny_config(combination="added")


def test_the_layer_sum_of_frozen_states_has_the_gradients_of_the_written_out_one():
    branch = tiny_model().model.audio_branch
    torch.manual_seed(0)
    states, mask = (
        torch.randn(2, len(branch.layer_weights), 11, branch.projection.in_features),
        torch.ones(2, 11, dtype=torch.bool),
    )
    results = []
    for asks in (False, True):  # states that ask for a gradient go the written-out way
        branch.zero_grad()
        output = branch(states.clone().requires_grad_(asks), mask)
        output.square().sum().backward()
        results.append((output.detach(), branch.layer_weights.grad.clone(), branch.projection.weight.grad.clone()))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)
