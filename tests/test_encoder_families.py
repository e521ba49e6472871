"""A family of encoders is a row of one table."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, Wav2Vec2Config, Wav2Vec2Model
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2FeatureEncoder

from multimodal_ser import MultimodalEmotionClassifier, OnnxEmotionClassifier, testing
from multimodal_ser.model import encoder_families
from multimodal_ser.model.encoder_families import OTHER, SPEECH_FAMILIES, EncoderFamily, family_of
from multimodal_ser.testing import synthetic_speech, tiny_config, tiny_model

CLIPS = [synthetic_speech(seconds, seed=at) for at, seconds in enumerate((0.4, 1.7, 0.9, 1.2))]
RATE = {"sampling_rate": 16000}


class ToyConfig(Wav2Vec2Config):
    model_type = "toy-speech"


class ToyModel(Wav2Vec2Model):
    """An encoder whose padding leaks: a constant is added to every frame, so that zeros do not stay zeros."""

    config_class = ToyConfig

    def __init__(self, config):
        super().__init__(config)
        self.leak = nn.Parameter(torch.ones(config.hidden_size))
        self.adapted = False


def repaired(encoder):
    encoder.adapted = True


@pytest.fixture
def toy(monkeypatch):
    """One row in one place."""
    AutoConfig.register("toy-speech", ToyConfig, exist_ok=True)
    AutoModel.register(ToyConfig, ToyModel, exist_ok=True)
    row = EncoderFamily(adapt=repaired, tiny={"toy-speech": SPEECH_FAMILIES["wav2vec2"].tiny["wav2vec2"]})
    monkeypatch.setitem(encoder_families.SPEECH_FAMILIES, "toy-speech", row)


def test_a_new_family_is_a_row(toy, tmp_path):
    """It is built, padded in batches, trained, saved, loaded and exported."""
    assert "toy-speech" in testing.AUDIO_FAMILIES
    model = tiny_model("toy-speech")
    encoder = model.model.audio_branch.encoder
    assert isinstance(encoder, ToyModel) and encoder.adapted and model.model.audio_branch.batched
    together = model.predict(CLIPS, **RATE)
    for clip, among in zip(CLIPS, together, strict=True):
        assert model.predict(clip, **RATE).probabilities == pytest.approx(among.probabilities, abs=1e-4)

    inputs = model.processor(audio=CLIPS, sampling_rate=16000) | {"labels": torch.tensor([0, 1, 2, 0])}
    torch.manual_seed(0)
    np.random.seed(0)  # what SpecAugment masks with
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    before = model(**inputs).loss.item()
    model.train()
    for _ in range(15):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    assert model(**inputs).loss.item() < 0.8 * before

    model.save_pretrained(tmp_path / "saved")
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path / "saved", whisper=None)
    expected = model.predict(CLIPS[0], **RATE)
    assert again.predict(CLIPS[0], **RATE).probabilities == pytest.approx(expected.probabilities, abs=1e-6)

    pytest.importorskip("onnxscript")
    from multimodal_ser.export.onnx_export import export_onnx

    export_onnx(again, tmp_path / "onnx", modalities="audio")
    exported = OnnxEmotionClassifier.from_pretrained(tmp_path / "onnx", whisper=None)
    assert exported.predict(CLIPS[0], **RATE).probabilities == pytest.approx(expected.probabilities, abs=1e-4)


def test_adapters_lie_beside_the_projections_of_the_row(toy):
    pytest.importorskip("peft")
    from multimodal_ser.training import TrainingArguments
    from multimodal_ser.training.parameters import add_adapters

    names = add_adapters(tiny_model("toy-speech"), TrainingArguments(["clips"], lora_rank=2, lora_branches="audio"))
    assert names and {name.rsplit(".", 1)[-1] for name in names} <= family_of(ToyConfig()).projections
    wavlm = add_adapters(tiny_model("wavlm"), TrainingArguments(["clips"], lora_rank=2, lora_branches="audio"))
    assert {name.rsplit(".", 1)[-1] for name in wavlm} == {"intermediate_dense", "output_dense"}


def test_rows_of_a_family_without_a_row_run_alone():
    assert family_of(ToyConfig()) is OTHER and not OTHER.batched


@pytest.mark.parametrize("name", testing.AUDIO_FAMILIES)
def test_a_front_with_a_group_norm_is_replaced(name):
    config = tiny_config(name)
    encoder = tiny_model(name).model.audio_branch.encoder
    has_group_norm = getattr(config.audio_config, "feat_extract_norm", None) == "group"
    assert (
        isinstance(getattr(encoder, "feature_extractor", None), encoder_families.LengthAwareFeatureEncoder)
        == has_group_norm
    )
    if not has_group_norm and hasattr(encoder, "feature_extractor"):
        assert type(encoder.feature_extractor).__name__.endswith(
            Wav2Vec2FeatureEncoder.__name__.removeprefix("Wav2Vec2")
        )
    assert np.isfinite(list(tiny_model(name).predict(CLIPS[0], **RATE).probabilities.values())).all()
