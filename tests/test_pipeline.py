"""`transformers.pipeline("speech-emotion-recognition")`: by folder, by Hub id, by model; from copied code without the package."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from transformers import pipeline

from multimodal_ser import InputError, MultimodalEmotionClassifier
from multimodal_ser.model.pipeline import TASK, SpeechEmotionRecognitionPipeline
from multimodal_ser.testing import synthetic_speech, tiny_model

CLIPS = [synthetic_speech(0.4, seed=1), synthetic_speech(1.7, seed=2), synthetic_speech(0.9, seed=3)]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def pipe(model):
    return pipeline(TASK, model=model)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


def as_dict(answer):
    return {entry["label"]: entry["score"] for entry in answer}


def close(answer, probabilities):
    return as_dict(answer) == pytest.approx(probabilities, abs=1e-5)


def test_a_model_a_folder_and_a_hub_id_give_what_predict_gives(model, pipe, folder, tmp_path, monkeypatch):
    assert isinstance(pipe, SpeechEmotionRecognitionPipeline)
    expected = model.predict(CLIPS[1], sampling_rate=16000, text="hello you").probabilities
    given = {"audio": CLIPS[1], "text": "hello you"}
    assert close(pipe(given), expected)
    assert close(pipeline(TASK, model=str(folder))(given), expected)
    cache = tmp_path / "hub" / "models--somebody--emotions"  # as the Hub's client keeps what it downloaded
    revision = "0123456789abcdef0123456789abcdef01234567"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(revision)
    (cache / "snapshots").mkdir()
    (cache / "snapshots" / revision).symlink_to(folder)
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", True
    )  # peft would ask the Hub for an adapter all the same
    by_id = pipeline(
        TASK, model="somebody/emotions", local_files_only=True, model_kwargs={"cache_dir": str(tmp_path / "hub")}
    )
    assert close(by_id(given), expected)


def test_the_answer_is_what_other_classification_pipelines_answer(pipe, folder):
    answer = pipe(CLIPS[0])
    assert [sorted(entry) for entry in answer] == [["label", "score"]] * 3
    assert [entry["score"] for entry in answer] == sorted((entry["score"] for entry in answer), reverse=True)
    assert sum(entry["score"] for entry in answer) == pytest.approx(1)
    assert close(pipeline("audio-classification", model=str(folder))(CLIPS[0]), as_dict(answer))
    assert pipe(CLIPS[0], top_k=1) == answer[:1] and pipe(CLIPS[0], top_k=99) == answer
    assert pipeline(TASK, model=pipe.model, top_k=2)(CLIPS[0]) == answer[:2]
    with pytest.raises(ValueError, match="top_k: expected a whole number from 1"):
        pipe(CLIPS[0], top_k=0)
    with pytest.raises(ValueError, match="expected top_k, sampling_rate or on_error, got topk"):
        pipe(CLIPS[0], topk=1)


def test_every_form_of_a_recording(model, pipe, tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, CLIPS[1], 16000, subtype="FLOAT")
    expected = as_dict(pipe(CLIPS[1]))
    forms = [
        str(path), path, path.read_bytes(), torch.from_numpy(CLIPS[1]), CLIPS[1].astype(np.float64), {"path": str(path)},
        {"bytes": path.read_bytes(), "path": None}, {"array": CLIPS[1], "sampling_rate": 16000, "path": "elsewhere.wav"},
        {"raw": CLIPS[1], "sampling_rate": 16000}, {"audio": str(path)}, {"audio": {"array": CLIPS[1], "sampling_rate": 16000}, "text": ""},
        {"audio": path, "text": float("nan"), "path": "elsewhere.wav"}, np.stack([CLIPS[1], CLIPS[1]]),
    ]  # fmt: skip
    for form in forms:
        assert close(pipe(form), expected), form
    with path.open("rb") as file:
        assert close(pipe(file), expected)
    other = synthetic_speech(1.0, sampling_rate=8000)
    heard = model.predict(other, sampling_rate=8000, modalities="audio").probabilities
    assert close(pipe({"array": other, "sampling_rate": 8000}), heard) and close(pipe(other, sampling_rate=8000), heard)


def test_words_alone_and_the_turns_before_them(model, pipe):
    assert close(pipe({"text": "so very sad"}), model.predict(text="so very sad").probabilities)
    with_context = {"audio": CLIPS[0], "text": "not happy", "context": ["are you happy", "hello"]}
    expected = model.predict(
        CLIPS[0], "not happy", sampling_rate=16000, context=["are you happy", "hello"]
    ).probabilities
    assert close(pipe(with_context), expected)
    assert not close(pipe({**with_context, "context": None}), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_many_in_batches_are_as_one_by_one(pipe, workers):
    inputs = [
        CLIPS[0],
        {"text": "hello you"},
        {"audio": CLIPS[1], "text": "i am sad"},
        CLIPS[2],
        synthetic_speech(2.0, seed=9),
    ]
    one_by_one = [pipe(each) for each in inputs]
    for answers in (
        pipe(inputs, batch_size=3, num_workers=workers),
        list(pipe((each for each in inputs), batch_size=2)),
    ):
        assert len(answers) == len(inputs)
        assert all(close(among, as_dict(alone)) for among, alone in zip(answers, one_by_one, strict=True))
        assert len({answer[0]["score"] for answer in answers}) == len(inputs)


def test_nothing_and_datasets(pipe, tmp_path):
    datasets = pytest.importorskip("datasets")
    assert pipe([]) == [] and list(pipe(each for each in [])) == []
    texts = ["hello you", None, "so sad"]
    for number, clip in enumerate(CLIPS):
        soundfile.write(tmp_path / f"{number}.wav", clip, 16000, subtype="FLOAT")
    data = datasets.Dataset.from_dict(
        {"audio": [str(tmp_path / f"{number}.wav") for number in range(3)], "text": texts}
    )
    data = data.cast_column("audio", datasets.Audio(decode=False))
    for given in (data, data.to_iterable_dataset()):
        answers = list(pipe(given, batch_size=2))
        assert len(answers) == 3
        for answer, clip, text in zip(answers, CLIPS, texts, strict=True):
            assert close(answer, as_dict(pipe({"audio": clip, "text": text})))
    assert [type(answer).__name__ for answer in pipe(data.remove_columns("audio"), on_error="skip")] == [
        "list",
        "InputError",
        "list",
    ]


def test_what_is_not_of_this_pipeline_is_told(pipe, folder):
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    with pytest.raises(ValueError, match=r'got text; words stand beside their recording, as \{"audio"'):
        pipe(CLIPS[0], text="hello you")
    config = Wav2Vec2Config(num_hidden_layers=1, hidden_size=16, num_attention_heads=2, intermediate_size=16)
    with pytest.raises(
        ValueError, match="expected a MultimodalEmotionClassifier, got a Wav2Vec2ForSequenceClassification"
    ):
        pipeline(
            TASK, model=Wav2Vec2ForSequenceClassification(config), feature_extractor=pipe.processor.feature_extractor
        )
    assert close(pipeline(TASK, model=tiny_model(), processor=str(folder))(CLIPS[0]), as_dict(pipe(CLIPS[0])))


def test_a_long_recording_is_answered_as_predict_answers_it(pipe, model):
    long = np.concatenate([synthetic_speech(25.0, seed=seed) for seed in range(3)])
    expected = model.predict(long, modalities="audio", sampling_rate=16000)
    assert expected.windows > 3
    assert close(pipe(long), expected.probabilities)
    among = pipe([CLIPS[0], long, CLIPS[1]], batch_size=3)
    assert close(among[1], expected.probabilities) and close(among[2], as_dict(pipe(CLIPS[1])))


def test_one_bad_input_loses_no_other(pipe, tmp_path):
    (tmp_path / "note.txt").write_text("no audio")
    bad = [
        str(tmp_path / "note.txt"), str(tmp_path / "gone.wav"), {"audio": None, "text": " "}, {"text": 3},
        {"text": "so", "context": [1]}, np.zeros(16000) * np.nan,
    ]  # fmt: skip
    for batch_size in (1, 4):
        answers = pipe([CLIPS[0], *bad, CLIPS[1]], batch_size=batch_size, on_error="skip")
        assert close(answers[0], as_dict(pipe(CLIPS[0]))) and close(answers[-1], as_dict(pipe(CLIPS[1])))
        assert all(isinstance(answer, ValueError) for answer in answers[1:-1])
        assert "note.txt: expected" in str(answers[1]) and "gone.wav" in str(answers[2])
    with pytest.raises(InputError, match=r"note\.txt"):
        pipe(bad[0])
    with pytest.raises(ValueError, match="on_error: expected 'raise' or 'skip'"):
        pipe(CLIPS[0], on_error="ignore")


def test_a_model_of_one_modality_is_shown_no_other(model):
    audio_alone, text_alone = (
        pipeline(TASK, model=tiny_model(trained_modalities=[name])) for name in ("audio", "text")
    )
    plain = pipeline(TASK, model=model)
    assert close(audio_alone({"audio": CLIPS[0], "text": "so sad"}), as_dict(plain(CLIPS[0])))
    assert close(text_alone({"audio": CLIPS[0], "text": "so sad"}), as_dict(plain({"text": "so sad"})))
    with pytest.raises(ValueError, match="expected a recording, for modalities='audio', got none"):
        audio_alone({"text": "so sad"})
    with pytest.raises(ValueError, match="expected words that the text branch reads"):
        text_alone(CLIPS[0])


def test_training_mode_and_half_precision_are_no_matter(folder):
    half = pipeline(TASK, model=str(folder), dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert as_dict(half(CLIPS[1])) == pytest.approx(as_dict(pipeline(TASK, model=str(folder))(CLIPS[1])), abs=0.05)
    training = tiny_model().train()
    pipe = pipeline(TASK, model=training)
    assert pipe(CLIPS[0]) == pipe(CLIPS[0]) and training.training


def test_without_a_model_it_is_the_checkpoint_in_the_package():
    pipe = pipeline(TASK)
    assert set(pipe.model.labels) >= {"anger", "happiness", "neutral"}
    with_words = pipe({"audio": CLIPS[1], "text": "I can't believe it, we won!"}, top_k=1)
    assert with_words[0]["label"] in pipe.model.labels


def test_a_saved_pipeline_is_a_saved_model(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    assert (
        "custom_pipelines" not in (tmp_path / "config.json").read_text()
    )  # it would ask those who have the package for trust in code
    assert not list(tmp_path.glob("*.py"))
    assert close(pipeline(TASK, model=str(tmp_path))(CLIPS[0]), as_dict(pipe(CLIPS[0])))
    assert MultimodalEmotionClassifier.from_pretrained(tmp_path).labels == pipe.model.labels


MAKING = """
import sys
from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY
assert "speech-emotion-recognition" not in PIPELINE_REGISTRY.supported_tasks  # nobody has asked for the package yet
import multimodal_ser
multimodal_ser.MultimodalEmotionConfig  # any public name of the model brings the task along
from multimodal_ser import MultimodalEmotionClassifier, MultimodalEmotionConfig, MultimodalEmotionProcessor
from multimodal_ser.testing import tiny_model
MultimodalEmotionConfig.register_for_auto_class("AutoConfig")
MultimodalEmotionClassifier.register_for_auto_class("AutoModelForAudioClassification")
MultimodalEmotionProcessor.register_for_auto_class("AutoProcessor")
pipeline("speech-emotion-recognition", model=tiny_model()).save_pretrained(sys.argv[1])
"""

USING = """
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "multimodal_ser":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from safetensors.torch import load_file
from transformers import pipeline
folder, clips = sys.argv[1], load_file(sys.argv[2])
try:
    pipeline("speech-emotion-recognition", model=folder, trust_remote_code=False)
except ValueError as error:
    assert "trust_remote_code=True" in str(error), error
pipe = pipeline("speech-emotion-recognition", model=folder, trust_remote_code=True)
first, second = clips["first"], clips["second"].numpy()
inputs = [first, {"array": second, "sampling_rate": 16000}, {"audio": second, "text": "hello you"}, {"text": "so sad"}]
answers = pipe(inputs, batch_size=2)
errors = []
for each in ("clip.wav", {"array": second, "sampling_rate": 8000}, second[None]):
    try:
        pipe(each)
    except (ImportError, ValueError) as error:
        errors.append(f"{type(error).__name__}: {error}")
print(json.dumps([answers, errors]))
"""


def test_copied_code_makes_the_pipeline_where_the_package_is_not_installed(pipe, tmp_path):
    saved, clips = tmp_path / "saved", tmp_path / "clips.safetensors"
    save_file({"first": torch.from_numpy(CLIPS[0]), "second": torch.from_numpy(CLIPS[1])}, clips)
    subprocess.run([sys.executable, "-c", MAKING, str(saved)], check=True, capture_output=True)
    assert json.loads((saved / "config.json").read_text())["custom_pipelines"] == {
        TASK: {"impl": "pipeline.SpeechEmotionRecognitionPipeline", "pt": ["AutoModelForAudioClassification"]}
    }
    environment = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", USING, str(saved), str(clips)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers, errors = json.loads(done.stdout.splitlines()[-1])
    inputs = [CLIPS[0], CLIPS[1], {"audio": CLIPS[1], "text": "hello you"}, {"text": "so sad"}]
    assert all(close(answer, as_dict(pipe(each))) for answer, each in zip(answers, inputs, strict=True))
    assert errors[0].startswith("ImportError: audio: ") and "pip install multimodal_ser" in errors[0]
    assert "sampling_rate: expected 16000" in errors[1] and "of one channel, got shape (1, " in errors[2]
    # who has the package and does not trust the copy says which class makes the pipeline
    mine = pipeline(TASK, model=str(saved), pipeline_class=SpeechEmotionRecognitionPipeline)
    assert type(mine.model) is MultimodalEmotionClassifier and close(mine(CLIPS[0]), as_dict(answers[0]))
