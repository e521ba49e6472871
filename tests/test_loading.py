"""Checkpoints as they come: from Trainer, in half precision, incomplete, of other families, copied without the package."""

import copy
import subprocess
import sys
import warnings

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import (
    ASTConfig,
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    BartConfig,
    BertConfig,
    BertModel,
    ClapAudioConfig,
    GPT2Config,
    GPT2Model,
    HubertConfig,
    HubertModel,
    SEWConfig,
    SEWDConfig,
    SEWDModel,
    SEWModel,
    T5Config,
    T5EncoderModel,
    Trainer,
    TrainingArguments,
    UniSpeechConfig,
    UniSpeechModel,
    UniSpeechSatConfig,
    UniSpeechSatModel,
    Wav2Vec2ConformerConfig,
    Wav2Vec2ConformerModel,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    WhisperConfig,
)  # fmt: skip

from multimodal_ser import (
    MultimodalEmotionClassifier,
    MultimodalEmotionConfig,
    MultimodalEmotionModel,
    MultimodalEmotionProcessor,
)
from multimodal_ser.testing import synthetic_speech, tiny_config, tiny_model, tiny_processor

SMALL = {
    "fusion_hidden_size": 32,
    "fusion_attention_heads": 2,
    "pooling_heads": 2,
    "fusion_intermediate_size": 64,
    "whisper": None,
}
CLIPS = [synthetic_speech(0.4, seed=1), synthetic_speech(1.7, seed=2), synthetic_speech(0.9, seed=3)]


def audio_encoder():
    return Wav2Vec2Model(tiny_config().audio_config)


def text_encoder():
    return BertModel(tiny_config().text_config)


@pytest.fixture
def backbones(tmp_path):
    """A folder for each branch, weights and processor."""
    audio_encoder().save_pretrained(tmp_path / "audio")
    text_encoder().save_pretrained(tmp_path / "text")
    tiny_processor().feature_extractor.save_pretrained(tmp_path / "audio")
    tiny_processor().tokenizer.save_pretrained(tmp_path / "text")
    return tmp_path / "audio", tmp_path / "text"


def logits_of(model, **options):
    batch = tiny_processor()(audio=CLIPS, text=["hello you", None, "i am so very sad"], sampling_rate=16000)
    with torch.no_grad():
        return model(**batch, **options).logits


def test_what_trainer_saves_is_loaded_again(tmp_path):
    """Trainer writes fields of its own into the configuration; and its evaluation wants `labels` alone for a loss."""
    rows = [{"input_values": torch.from_numpy(synthetic_speech(0.5, seed=i)), "labels": i % 3} for i in range(4)]
    arguments = TrainingArguments(
        tmp_path / "run", max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True,
        remove_unused_columns=False, dataloader_pin_memory=False, eval_strategy="steps", eval_steps=1, save_steps=1,
        load_best_model_at_end=True, metric_for_best_model="eval_loss",
    )  # fmt: skip
    trainer = Trainer(tiny_model(), arguments, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    assert trainer.evaluate()["eval_loss"] > 0
    trainer.save_model(tmp_path / "saved")
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path / "saved")
    assert torch.equal(logits_of(again), logits_of(trainer.model.eval()))


@pytest.mark.parametrize("audio", ["wav2vec2", "whisper_audio_encoder"])
def test_copied_code_loads_and_saves_in_transformers_way_where_the_package_is_not_installed(tmp_path, audio):
    model = tiny_model(audio)
    code = f"""
from multimodal_ser import MultimodalEmotionClassifier, MultimodalEmotionConfig, MultimodalEmotionProcessor
from multimodal_ser.testing import tiny_model
MultimodalEmotionConfig.register_for_auto_class("AutoConfig")
MultimodalEmotionClassifier.register_for_auto_class("AutoModelForAudioClassification")
MultimodalEmotionProcessor.register_for_auto_class("AutoProcessor")
tiny_model({audio!r}).save_pretrained({str(tmp_path / "saved")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    batch = tiny_processor(audio)(audio=[CLIPS[0], None], text=["hello you", "so sad"], sampling_rate=16000)
    with torch.no_grad():
        save_file(dict(batch) | {"logits": model(**batch).logits}, tmp_path / "expected.safetensors")
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "multimodal_ser":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import os
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification, AutoProcessor
model = AutoModelForAudioClassification.from_pretrained({str(tmp_path / "saved")!r}, trust_remote_code=True)
batch = load_file({str(tmp_path / "expected.safetensors")!r})
expected = batch.pop("logits")
with torch.no_grad():
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-5, rtol=0)
assert AutoProcessor.from_pretrained({str(tmp_path / "saved")!r}, trust_remote_code=True).sampling_rate == 16000
try:
    model.predict(text="hello")
except ImportError as error:
    print(error)
model.save_pretrained("again")
assert not {{"README.md", "card_facts.json"}} & set(os.listdir("again"))
again = type(model).from_pretrained("again")
assert again.labels == model.labels and again.processor.sampling_rate == 16000
weights = load_file("again/model.safetensors")
save_file({{name: weight for name, weight in weights.items() if name != "classifier.bias"}}, "again/model.safetensors", {{"format": "pt"}})
try:
    type(model).from_pretrained("again")
except ValueError as error:
    print(error)
transformers.PreTrainedModel.push_to_hub = lambda self, name, **options: print("transformers pushes", name, options["private"])
model.push_to_hub("me/mine", private=True)
model.save_pretrained("theirs", push_to_hub=True, private=False)
"""
    environment = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    predicting, missing, *pushed = done.stdout.splitlines()
    assert "pip install multimodal_ser" in predicting
    assert (
        missing.startswith("again: expected all weights of a MultimodalEmotionClassifier")
        and "classifier.bias (missing)" in missing
    )
    assert pushed == ["transformers pushes me/mine True", "transformers pushes theirs False"]
    assert {path.name for path in (tmp_path / "saved").glob("*.py")} == {
        "configuration_multimodal_ser.py", "encoder_families.py", "fingerprint.py", "loading.py", "losses.py", "modeling_branches.py", "modeling_core.py",
        "modeling_fusion.py", "modeling_multimodal_ser.py", "modeling_whisper_audio_encoder.py", "pipeline.py",
        "processing_multimodal_ser.py", "sharing.py",
    }  # fmt: skip


def test_backbones_in_half_precision_make_a_model_of_one_type(backbones):
    audio, text = backbones
    audio_encoder().half().save_pretrained(audio)
    text_encoder().bfloat16().save_pretrained(text)
    model = MultimodalEmotionClassifier.from_pretrained_backbones(audio, text, ["a", "b"], **SMALL)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.isfinite(logits_of(model)).all()


def test_backbones_that_lack_weights_are_refused_by_name(backbones):
    audio, text = backbones
    weights = load_file(text / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "layer.1.attention" not in k},
        text / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ValueError, match=r"a checkpoint without encoder\.layer\.1\.attention"):
        MultimodalEmotionClassifier.from_pretrained_backbones(audio, text, ["a", "b"], **SMALL)


def test_backbones_as_the_hub_has_them(backbones):
    """Old names of the weight-normed positions, no vector for SpecAugment, a head that is not wanted: as facebook/wav2vec2-base-960h."""
    audio, text = backbones
    trained = Wav2Vec2ForCTC(tiny_config().audio_config)
    trained.save_pretrained(audio)
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for name, value in load_file(audio / "model.safetensors").items():
        for new, former in old.items():
            name = name.replace(new, former)
        if "masked_spec_embed" not in name:
            renamed[name] = value
    assert any(name.endswith("weight_g") for name in renamed)
    save_file(renamed, audio / "model.safetensors", metadata={"format": "pt"})
    model = MultimodalEmotionClassifier.from_pretrained_backbones(audio, text, ["a", "b"], **SMALL)
    got = model.model.audio_branch.encoder.state_dict()
    for name, value in trained.wav2vec2.state_dict().items():
        assert "masked_spec_embed" in name or torch.equal(got[name], value), name
    also = MultimodalEmotionClassifier.from_pretrained_backbones(trained, text_encoder(), ["a", "b"], **SMALL)
    assert torch.equal(also.model.audio_branch.encoder.masked_spec_embed, trained.wav2vec2.masked_spec_embed)


def test_options_of_new_models(backbones):
    audio, text = backbones
    labels = ["a", "b", "c", "d"]
    options = {"class_weights": [1, 2, 3, 4.5], "temperature": {"both": 2, "audio": 1.0, "text": 1.0}}
    model = MultimodalEmotionClassifier.from_pretrained_backbones(audio, text, labels, **options, **SMALL)
    assert model.config.class_weights == [1, 2, 3, 4.5] and model.config.temperature["both"] == 2
    for layers in (0, 9):
        with pytest.raises(ValueError, match="audio_layers: expected 1 to 2"):
            MultimodalEmotionClassifier.from_pretrained_backbones(audio, text, labels, audio_layers=layers, **SMALL)


def test_the_names_of_the_classes_are_said_once(tmp_path):
    """id2label tells what the logits mean: label2id follows it, num_labels does not contradict it."""
    tiny_model().save_pretrained(tmp_path)
    two = {"id2label": {"0": "calm", "1": "urgent"}}
    for fields in (
        two,
        two | {"num_labels": 2},
        two | {"label2id": {"calm": 1, "urgent": 0}},
        {"label2id": {"calm": 0, "urgent": 1}},
    ):
        config = MultimodalEmotionConfig(**fields)
        assert (config.id2label, config.label2id) == ({0: "calm", 1: "urgent"}, {"calm": 0, "urgent": 1})
    for names in ({0: "a", 2: "b"}, {0: "a", 1: "a"}, {0: 1, 1: 2}, {}):
        with pytest.raises(StrictDataclassError, match="id2label: expected a different name for each class 0, 1, 2"):
            MultimodalEmotionConfig(id2label=names)
    with pytest.raises(ValueError, match="num_labels: expected 2, as id2label has names, got 3"):
        MultimodalEmotionConfig(**two, num_labels=3)
    renamed = AutoModelForAudioClassification.from_pretrained(tmp_path, id2label={0: "x", 1: "y", 2: "z"})
    assert renamed.labels == ["x", "y", "z"] and renamed.config.label2id == {"x": 0, "y": 1, "z": 2}
    assert AutoConfig.from_pretrained(tmp_path, num_labels=2).label2id == {"LABEL_0": 0, "LABEL_1": 1}
    with pytest.raises(ValueError, match=r"classifier\.weight \(\(3, 32\) instead of \(2, 32\)\).*labels="):
        AutoModelForAudioClassification.from_pretrained(tmp_path, num_labels=2, **two, ignore_mismatched_sizes=True)
    model = MultimodalEmotionClassifier.from_pretrained(tmp_path, labels=["calm", "urgent"], num_labels=2, whisper=None)
    assert model.labels == ["calm", "urgent"]
    with pytest.raises(ValueError, match="num_labels: expected 2, as there are labels, got 3"):
        MultimodalEmotionClassifier.from_pretrained(tmp_path, labels=["calm", "urgent"], num_labels=3)


def test_a_model_without_heads_is_whole_too(tmp_path):
    """transformers would make up what a checkpoint lacks, with a warning in a log."""
    tiny_model().save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that it has no use for the heads is nothing to tell
        model, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(model) is MultimodalEmotionModel and not info["missing_keys"]
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.fusion_layers.1.audio_gate"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"all weights of a MultimodalEmotionModel, got .* fusion_layers\.1\.audio_gate \(missing\)"
    ):
        AutoModel.from_pretrained(tmp_path)


def test_a_new_head_has_to_lie_in_memory(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    options = {"device_map": "auto", "max_memory": {"cpu": 1}, "offload_folder": tmp_path / "offload"}
    with pytest.raises(ValueError, match="labels: expected room in memory for the new head"):
        MultimodalEmotionClassifier.from_pretrained(tmp_path, labels=["calm", "urgent"], **options)


def test_new_labels_beside_other_options(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    new = MultimodalEmotionClassifier.from_pretrained(
        tmp_path / "model", labels=["a", "b"], modality_dropout=0.1, ignore_mismatched_sizes=True
    )
    assert new.config.modality_dropout == 0.1 and new.labels == ["a", "b"]
    given = copy.deepcopy(model.config)
    MultimodalEmotionClassifier.from_pretrained(tmp_path / "model", labels=["a", "b"], config=given)
    assert given.num_labels == model.config.num_labels
    with_dimensions = MultimodalEmotionClassifier.from_pretrained(
        tmp_path / "model", labels=["a", "b"], dimensions=["arousal"]
    )
    assert with_dimensions.regressor.out_features == 1
    model.model.save_pretrained(tmp_path / "headless")
    assert MultimodalEmotionClassifier.from_pretrained(tmp_path / "headless", labels=["a", "b"]).labels == ["a", "b"]


def test_loading_is_quiet_but_for_what_matters(tmp_path, capfd):
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    MultimodalEmotionClassifier.from_pretrained(tmp_path / "model", labels=["a", "b"])
    assert "REPORT" not in "".join(capfd.readouterr())  # the new head was asked for
    weights = load_file(tmp_path / "model" / "model.safetensors")
    save_file(
        weights | {"somebody.elses": torch.zeros(1)},
        tmp_path / "model" / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.warns(UserWarning, match=r"left out: somebody\.elses"):
        MultimodalEmotionClassifier.from_pretrained(tmp_path / "model")
    with pytest.raises(OSError, match="no such folder"):
        MultimodalEmotionClassifier.from_pretrained(tmp_path / "nowhere")


def test_pickles_are_refused_by_every_class(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    for load in (MultimodalEmotionModel.from_pretrained, MultimodalEmotionClassifier.from_pretrained):
        for options in ({}, {"use_safetensors": None}, {"use_safetensors": False}):
            with pytest.raises(OSError, match="safetensors"):
                load(tmp_path, **options)


FRONT = {
    "conv_dim": (16, 16),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
ENCODER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: HubertModel(HubertConfig(**ENCODER, **FRONT, conv_pos_batch_norm=True)),
        lambda: SEWModel(SEWConfig(**ENCODER, **FRONT)),
        lambda: SEWDModel(SEWDConfig(**ENCODER, **FRONT, position_buckets=16)),
        lambda: Wav2Vec2ConformerModel(Wav2Vec2ConformerConfig(**ENCODER, **FRONT)),
        lambda: UniSpeechModel(UniSpeechConfig(**ENCODER, **FRONT)),
        lambda: UniSpeechSatModel(UniSpeechSatConfig(**ENCODER, **FRONT)),
    ],
    ids=["hubert-batch-norm", "sew", "sew-d", "conformer", "unispeech", "unispeech-sat"],
)
def test_company_changes_nothing_in_further_families(encoder):
    """The first four, which padding would change, run row by row; the others are batched, their group norm replaced."""
    torch.manual_seed(0)
    model = MultimodalEmotionClassifier.from_pretrained_backbones(
        encoder().eval(), text_encoder(), ["a", "b", "c"], processor=tiny_processor(), **SMALL
    )
    with torch.no_grad():
        model.classifier.weight.normal_(std=0.5)
        together = model(**tiny_processor()(audio=CLIPS, sampling_rate=16000)).logits.softmax(-1)
        for clip, among in zip(CLIPS, together, strict=True):
            alone = model(**tiny_processor()(audio=[clip], sampling_rate=16000)).logits.softmax(-1)
            torch.testing.assert_close(alone[0], among, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("field", "config", "message"),
    [
        (
            "audio_config",
            ASTConfig(**ENCODER),
            r"audio_config: .*got 'audio-spectrogram-transformer'.*choose wav2vec2.*wav2vec2-bert",
        ),
        ("audio_config", BertConfig(**ENCODER), r"audio_config: .*got 'bert' \(BertModel, which takes input_ids\)"),
        (
            "audio_config",
            WhisperConfig(d_model=36, encoder_layers=1, decoder_layers=1),
            r"audio_config: .*got 'whisper'",
        ),
        (
            "audio_config",
            ClapAudioConfig(),
            r"an encoder that AutoModel knows, got 'clap_audio_model'.*speech: wav2vec2.*text: BERT",
        ),
        (
            "text_config",
            BartConfig(d_model=32, encoder_layers=1, decoder_layers=1),
            r"text_config: .*got 'bart'.*choose BERT",
        ),
        (
            "text_config",
            HubertConfig(**ENCODER, **FRONT),
            r"text_config: .*got 'hubert'.*T5's encoder, GPT-2, Qwen, Llama",
        ),
    ],
    ids=["spectrograms", "text-as-audio", "all-of-whisper", "part-of-clap", "encoder-and-decoder", "audio-as-text"],
)
def test_what_cannot_be_a_branch_is_refused(field, config, message):
    """And what can is named."""
    with pytest.raises(ValueError, match=message):
        MultimodalEmotionClassifier(
            MultimodalEmotionConfig(**{"audio_config": tiny_config().audio_config, field: config.to_dict()})
        )


@pytest.mark.parametrize(
    "text",
    [
        lambda: T5EncoderModel(T5Config(vocab_size=31, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)),
        lambda: GPT2Model(
            GPT2Config(vocab_size=31, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=1)
        ),
    ],
    ids=["t5", "gpt2"],
)
def test_other_text_encoders_survive_a_round_trip(text, tmp_path):
    """T5 ties its embeddings: what transformers has to know of an encoder must reach it through the branch."""
    text().save_pretrained(tmp_path / "text")
    model = MultimodalEmotionClassifier.from_pretrained_backbones(
        audio_encoder(), tmp_path / "text", ["a", "b"], processor=tiny_processor(), **SMALL
    )
    model.save_pretrained(tmp_path / "saved")
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path / "saved", whisper=None)
    assert torch.equal(logits_of(again), logits_of(model))


def test_layers_are_not_split_between_devices():
    assert tiny_model("wav2vec2", "roberta")._no_split_modules >= {
        "FusionLayer",
        "Wav2Vec2EncoderLayerStableLayerNorm",
        "RobertaLayer",
    }


def test_the_group_norm_front_holds_in_half_precision():
    """Sums over the frames of 25 s overflow in fp16."""
    front = tiny_model("wav2vec2-group").model.audio_branch.encoder.feature_extractor
    samples = tiny_processor("wav2vec2-group")(audio=[synthetic_speech(25.0)], sampling_rate=16000)["input_values"]
    lengths = torch.tensor([samples.shape[1]])
    with torch.no_grad():
        single, half = front((samples, lengths)), copy.deepcopy(front).half()((samples.half(), lengths)).float()
    assert (single - half).abs().max() < 0.02


def test_the_processor_takes_one_channel_and_any_samples():
    processor = tiny_processor("whisper_audio_encoder")
    clip = CLIPS[0]
    integers = (clip * 32768).astype("int16")
    one, other = processor(audio=[clip], sampling_rate=16000), processor(audio=[integers], sampling_rate=16000)
    torch.testing.assert_close(one["input_features"], other["input_features"], atol=0.05, rtol=0)
    for wrong in (torch.zeros(2, 16000).numpy(), clip[:0]):
        with pytest.raises(ValueError, match="one channel"):
            processor(audio=[wrong], sampling_rate=16000)
    one, listed = processor(text="hello", context="you are"), processor(text="hello", context=["you are"])
    assert torch.equal(one["input_ids"], listed["input_ids"])
    with pytest.raises(ValueError, match="each of the 2 texts"):
        processor(text=["hello", "you"], context=["i am"])
    assert isinstance(processor, MultimodalEmotionProcessor)
