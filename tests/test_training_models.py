"""Models to start from and what becomes of them: heads for other labels, new encoders, adapters, precision."""

import json
import shutil

import pytest
import soundfile
import torch
from training_runs import arguments, prepared

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech, tiny_model
from multimodal_ser.training import TrainingArguments, train
from multimodal_ser.training.initialization import build_model, starting_config, usual_rate

pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "/no/such"}, "model: expected a folder with a checkpoint"), ({"model": "RUN"}, "did you mean RUN/best"), ({"model_config": {"modality_dropout": 2}}, "a share from 0 to 1, got 2"),
        ({"model_config": {"fusion_layers": "one"}}, "expected int, got str"), ({"audio_model": "/no/such"}, "audio_model"), ({"model_config": {"fusion_layers": 9}}, "missing"),
    ],
)  # fmt: skip
def test_a_model_that_does_not_do_is_told_in_a_line(tmp_path, tiny, clips, fields, told):
    shutil.copytree(tiny, tmp_path / "some" / "best")
    fields = {name: str(tmp_path / "some") if value == "RUN" else value for name, value in fields.items()}
    with pytest.raises(InputError) as error:
        train(arguments(clips, tmp_path / "run", **{"model": tiny} | fields))
    assert told.replace("RUN", str(tmp_path / "some")) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_head_for_other_labels_starts_with_the_rows_that_mean_the_same(tiny, clips):
    told = []
    base = MultimodalEmotionClassifier.from_pretrained(tiny, whisper=None)  # anger, happiness, sadness
    model = build_model(arguments(clips, model=tiny), ["sad", "urgent", "Joy"], say=told.append)
    assert model.classifier.weight[0].equal(base.classifier.weight[2]) and model.classifier.weight[2].equal(
        base.classifier.weight[1]
    )
    assert model.classifier.bias[2].equal(base.classifier.bias[1])
    assert not any(model.classifier.weight[1].equal(row) for row in base.classifier.weight)
    assert told == ["the head starts with sad, Joy from the checkpoint's; urgent at random"]
    new = build_model(arguments(clips, model=tiny, new_head=True), ["sad", "happy"], say=told.append)
    assert not new.classifier.weight[0].equal(base.classifier.weight[2]) and "sad, happy at random" in told[-1]


def test_a_head_that_knows_all_labels_is_trained_gently():
    def rate(labels, **fields):
        args = TrainingArguments(data=["clips"], output_dir="run", **fields)
        return usual_rate(args, starting_config(args), labels)

    assert rate(["happy", "Anger"]) == 2e-4 and rate(["happy", "urgent"]) == 1e-3
    assert rate(["happy", "anger"], learning_rate=3e-3) == 3e-3
    assert rate(["happy", "anger"], new_head=True) == 1e-3


def test_new_encoders_are_standardised_by_what_is_learned_from(tmp_path, tiny, clips):
    base = tiny_model(audio="hubert")
    base.model.audio_branch.encoder.save_pretrained(tmp_path / "hubert")
    base.processor.feature_extractor.save_pretrained(tmp_path / "hubert")
    result = train(arguments(clips, tmp_path / "run", model=tiny, audio_model=tmp_path / "hubert", audio_layers=1))
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    assert model.config.audio_config.model_type == "hubert" and model.config.audio_config.num_hidden_layers == 1
    branch = model.model.audio_branch
    assert (branch.hidden_std != 1).all() and (branch.hidden_mean != 0).any()
    ready, _ = prepared(clips)
    waveforms = [soundfile.read(clip.row.path, dtype="float32")[0] for clip in ready.train]
    states = [model.model.get_audio_features(**features(model, waveform))[0][0] for waveform in waveforms]
    joined = torch.cat(states, dim=1)
    torch.testing.assert_close(branch.hidden_mean, joined.mean(1), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(branch.hidden_std, joined.std(1, correction=0), atol=1e-4, rtol=1e-2)


@torch.no_grad()
def features(model, waveform):
    batch = model.processor(audio=[waveform], sampling_rate=16_000)
    return {"inputs": batch["input_values"], "audio_attention_mask": batch["audio_attention_mask"]}


def test_adapters_lie_beside_the_merged_model_and_only_where_they_learn(tmp_path, tiny, clips):
    result = train(arguments(clips, tmp_path / "run", model=tiny, lora_rank=2))
    parameters = json.loads((tmp_path / "run" / "scores.json").read_text())["parameters"]
    assert 0 < parameters["adapters"] < parameters["trained"] < parameters["all"]
    assert (result.model / "adapter" / "adapter_config.json").exists()
    adapted = json.loads((result.model / "adapter" / "adapter_config.json").read_text())["target_modules"]
    assert adapted and all("audio_branch" in name for name in adapted)  # nothing is read here
    MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).predict(
        synthetic_speech(0.5), sampling_rate=16_000
    )
    with pytest.raises(InputError, match="lora_branches: expected a branch that is learned from"):
        train(arguments(clips, tmp_path / "text", model=tiny, lora_rank=2, lora_branches="text"))
    with pytest.raises(InputError, match="everything frozen but text, of which the data has nothing"):
        train(arguments(clips, tmp_path / "idle", model=tiny, freeze=["audio", "fusion", "head"]))


def test_one_process_may_train_in_several_precisions(tmp_path, tiny, clips):
    for name, fields in (("half", {"bf16": True}), ("full", {}), ("again", {"bf16": True})):
        train(arguments(clips, tmp_path / name, model=tiny, **fields))
        told = json.loads((tmp_path / name / "environment.json").read_text())["mixed_precision"]
        assert told == ("bf16" if fields else "no")
