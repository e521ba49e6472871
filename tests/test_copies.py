"""Models that have predicted are copied, pickled and sent to other processes; loading is silent; Auto classes know the models."""

import copy
import io
import multiprocessing
import pickle
import subprocess
import sys
from operator import methodcaller

import numpy as np
import pytest
import torch

from multimodal_ser import MultimodalEmotionClassifier, OnnxEmotionClassifier, WhisperTranscriber
from multimodal_ser.testing import AUDIO_FAMILIES, synthetic_speech, tiny_model

RATE = {"sampling_rate": 16000}
CLIP = synthetic_speech(1.3, seed=5)


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def saved_by_torch(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved_by_torch])
@pytest.mark.parametrize("family", AUDIO_FAMILIES)
def test_a_model_that_has_predicted_is_copied(family, copied):
    model = tiny_model(family)
    expected = model.predict(CLIP, text="so happy", **RATE)
    other = copied(model)
    assert other.predict(CLIP, text="so happy", **RATE) == expected
    assert list(other.state_dict()) == list(model.state_dict())
    assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in model.parameters()]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert model.predict(CLIP, text="so happy", **RATE) == expected  # nothing is shared
    assert other.predict(CLIP, text="so happy", **RATE) != expected


def test_a_copy_trains_and_is_saved(tmp_path):
    model = tiny_model()
    model.model.text_branch.requires_grad_(False)
    other = pickled(model).train()
    other.to(torch.float64).to(torch.float32)
    inputs = other.processor(audio=[CLIP], sampling_rate=16000)
    other(**inputs, labels=torch.tensor([1])).loss.backward()
    assert other.classifier.weight.grad is not None
    assert all(parameter.grad is None for parameter in other.model.text_branch.parameters())
    convolution = other.model.audio_branch.encoder.encoder.pos_conv_embed.conv
    assert convolution.parametrizations.weight.original1.grad is not None  # the parts of the normed weight are trained
    other.eval().save_pretrained(tmp_path)
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path, whisper=None)
    assert again.predict(CLIP, **RATE) == model.predict(CLIP, **RATE)


def test_a_transcriber_is_rebuilt_where_it_arrives():
    whisper = WhisperTranscriber(gate=False)
    whisper._backend = object()  # loaded
    other = pickled(whisper)
    assert other._backend is None and not other.gate
    assert other.transcribe([], **RATE) == []
    model = tiny_model()
    model.transcriber = whisper
    assert isinstance(copy.deepcopy(model).transcriber, WhisperTranscriber)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("onnxscript")
    from multimodal_ser.export.onnx_export import export_onnx

    folder = tmp_path_factory.mktemp("onnx")
    export_onnx(tiny_model(), folder, modalities="audio")
    return OnnxEmotionClassifier.from_pretrained(folder, whisper=None)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_an_export_that_has_predicted_is_copied(exported, copied):
    expected = exported.predict(CLIP, **RATE)
    assert copied(exported).predict(CLIP, **RATE) == expected


def test_an_export_embeds_as_the_model_does(exported):
    ours, theirs = (list(model.embed([CLIP, CLIP[:8000]], **RATE)) for model in (tiny_model(), exported))
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_models_go_to_a_spawned_pool(exported):
    model = tiny_model()
    ask = methodcaller("predict", CLIP, **RATE)
    expected = [ask(model), ask(exported)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for answer, other in zip(pool.map(ask, [model, exported]), expected, strict=True):
            assert answer.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def printed(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_loading_prints_nothing():
    code = "import multimodal_ser; multimodal_ser.MultimodalEmotionClassifier.from_pretrained()"
    assert printed(code) == ("", "")


OURS, THEIRS = "import multimodal_ser", "import transformers"
NOT_TORCH, NOT_MODELS = "assert 'torch' not in sys.modules", "assert 'transformers.modeling_utils' not in sys.modules"


@pytest.mark.parametrize(
    ("before", "name", "kind"),
    [
        (f"{THEIRS}; {OURS}; {NOT_TORCH}", "AutoModelForAudioClassification", "Classifier"),
        (f"{OURS}; {THEIRS}; {NOT_TORCH}", "AutoModel", "Model"),
        (f"{OURS}; {THEIRS}; {NOT_TORCH}", "AutoProcessor", "Processor"),
        (f"from transformers import AutoModel; {OURS}; {NOT_MODELS}", "AutoModelForAudioClassification", "Classifier"),
        (f"{OURS}; multimodal_ser.register_auto_classes()", "AutoConfig", "Config"),
    ],
)
def test_auto_classes_know_the_models_whichever_is_imported_first(before, name, kind, tiny):
    load = f"from transformers import {name}\nprint(type({name}.from_pretrained({str(tiny)!r})).__name__)"
    assert printed(f"import sys\n{before}\n{load}")[0].strip() == f"MultimodalEmotion{kind}"
