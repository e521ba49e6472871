"""The checkpoint that ships: its size, its licence, and that it can do what is said of it."""

import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from multimodal_ser import EMOTIONS, MultimodalEmotionClassifier
from multimodal_ser.inference.engine import NO_WHISPER
from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT
from multimodal_ser.testing import synthetic_speech
from multimodal_ser.transcription import WhisperNotFoundError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def classifier():
    return MultimodalEmotionClassifier.from_pretrained(whisper=None)


def test_size_and_licence(classifier):
    assert sum(path.stat().st_size for path in SHIPPED_CHECKPOINT.iterdir()) <= 60e6
    assert sum(p.numel() for p in classifier.parameters()) <= 30e6
    assert sum(p.numel() for p in classifier.model.text_branch.parameters()) <= 14e6
    assert {path.suffix for path in SHIPPED_CHECKPOINT.iterdir()} <= {
        ".safetensors",
        ".json",
        ".md",
        "",
    }  # no pickles, no code
    assert "CC BY-NC-SA 4.0" in (SHIPPED_CHECKPOINT / "LICENSE").read_text()
    assert classifier.config.weights_license == "cc-by-nc-sa-4.0"


def test_nine_labels_and_english(classifier):
    assert sorted(classifier.labels) == sorted(EMOTIONS)
    assert classifier.config.text_languages == ["en"] and classifier.config.transcriber == "base"


def test_stored_in_half_precision_and_loaded_in_single(classifier):
    assert {weight.dtype for weight in load_file(SHIPPED_CHECKPOINT / "model.safetensors").values()} == {torch.float16}
    assert {p.dtype for p in classifier.parameters()} == {torch.float32}
    assert MultimodalEmotionClassifier.from_pretrained(whisper=None, dtype="auto").dtype == torch.float32


def no_weights(*args, **options):
    raise WhisperNotFoundError("whisper", expected="weights", got="none", remedy="fetch them")


@pytest.mark.filterwarnings("ignore:.*Going on with audio alone")
def test_eight_threads_give_bit_for_bit_what_one_gives(classifier):
    """With real Whisper weights where the extra `offline` is installed, and one whose weights are missing."""
    clip = sorted((ROOT / "examples" / "audio").glob("*.flac"))[0]
    jobs = [
        {"audio": clip, **options}
        for options in (
            {"modalities": "audio"}, {"modalities": "audio", "label_set": "ekman"}, {"text": "I can't believe it, we won!"},
            {"text": "Guten Tag", "language": "de"}, {"text": "so sad", "modalities": "text", "label_set": "nine"}, {},
        )
    ] * 2  # fmt: skip

    def ask(job):
        return classifier.predict(**job)

    missing = SimpleNamespace(transcribe=no_weights)
    for whisper in ("auto", missing, None):
        classifier.transcriber = whisper
        expected = [ask(job) for job in jobs]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, jobs)) == expected
        assert (NO_WHISPER in expected[5].notes) == (whisper is missing) or whisper == "auto"
    classifier.transcriber = None


def test_company_changes_nothing(classifier):
    clips = [synthetic_speech(seconds, seed=i) for i, seconds in enumerate((0.6, 4.0, 1.7))]
    texts = ["no way", None, "I am so very happy that you came to see us all the way from there"]
    together = classifier.predict(clips, text=texts, sampling_rate=16000)
    for clip, text, among in zip(clips, texts, together, strict=True):
        alone = classifier.predict(clip, text=text, sampling_rate=16000)
        assert alone.probabilities == pytest.approx(among.probabilities, abs=1e-4)


def test_words_are_read(classifier):
    said = {
        "I am so happy, this is wonderful!": "happiness",
        "I hate you, you make me so angry!": "anger",
        "I miss him so much, I can't stop crying.": "sadness",
        "I'm scared, please don't leave me alone in the dark.": "fear",
        "That is disgusting, it makes me sick.": "disgust",
    }
    assert [prediction.label for prediction in classifier.predict(text=list(said))] == list(said.values())


def test_the_order_of_words_in_the_cross_attention_matters(classifier):
    """Keys stay, values are shuffled: were the fusion deaf to which word is which, nothing would change."""
    clip, text = (
        synthetic_speech(2.0, seed=3),
        "I really thought that he would come but now I am afraid that he is gone",
    )
    before = classifier.predict(clip, text=text, sampling_rate=16000).probabilities
    shuffle = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    hooks = [
        layer.audio_to_text.v_proj.register_forward_hook(
            lambda _module, _inputs, values: values[:, shuffle[shuffle < values.shape[1]]]
        )
        for layer in classifier.model.fusion_layers
    ]
    after = classifier.predict(clip, text=text, sampling_rate=16000).probabilities
    for hook in hooks:
        hook.remove()
    assert max(abs(before[name] - after[name]) for name in before) > 1e-3
    assert classifier.predict(clip, text=text, sampling_rate=16000).probabilities == pytest.approx(before, abs=1e-6)


def test_new_labels_start_from_it(classifier):
    urgent = MultimodalEmotionClassifier.from_pretrained(labels=["calm", "urgent"], whisper=None)
    assert urgent.labels == ["calm", "urgent"]
    assert set(urgent.predict(text="hurry up").probabilities) == {"calm", "urgent"}
    kept = dict(classifier.model.named_parameters())
    assert all(torch.equal(value, kept[name]) for name, value in urgent.model.named_parameters())


def test_what_is_saved_from_it_inherits_its_licence(classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    assert "cc-by-nc-sa-4.0, inherited" in (tmp_path / "README.md").read_text()
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path, whisper=None)
    clip = synthetic_speech(1.0)
    assert (
        again.predict(clip, sampling_rate=16000).probabilities
        == classifier.predict(clip, sampling_rate=16000).probabilities
    )


def test_unseen_actors_are_understood(classifier, data):
    """A quick look at one clip in two of four speakers that no weight has met; benchmarks/measure_shipped.py measures all."""
    unseen = {"ravdess_02", "ravdess_15", "ravdess_16", "ravdess_18"}
    with open(data / "ravdess" / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["speaker"] in unseen][::2]
    predictions = classifier.predict([data / "ravdess" / row["path"] for row in rows], modalities="audio")
    recall = [
        np.mean([p.label == name for p, row in zip(predictions, rows, strict=True) if row["emotion"] == name])
        for name in sorted({row["emotion"] for row in rows})
    ]
    assert len(recall) == 8 and np.mean(recall) > 0.55


def test_german_is_heard_and_set_aside(whisper_weights, data):
    classifier = MultimodalEmotionClassifier.from_pretrained(whisper=whisper_weights / "ctranslate2" / "base")
    prediction = classifier.predict(data / "emodb" / "audio" / "16a01Fc.flac")
    assert prediction.transcript.language == "de" and prediction.modalities == ("audio",)
    assert "the text branch reads en" in prediction.notes[0]


def test_the_measured_figures_are_those_of_these_weights():
    import hashlib

    results = json.loads((ROOT / "benchmarks" / "results" / "shipped.json").read_text())
    digest = hashlib.sha256((SHIPPED_CHECKPOINT / "model.safetensors").read_bytes()).hexdigest()[:16]
    assert results["weights"] == digest, "the weights changed: make measure"
    card = (SHIPPED_CHECKPOINT / "README.md").read_text()
    readme = (ROOT / "README.md").read_text()
    for figure in (
        results["ravdess"]["ua_audio_alone"],
        results["ravdess"]["ua_default_whisper_and_audio"],
        results["goemotions"]["macro_f1_text_alone"],
        results["pairs"]["ua"]["both"],
    ):
        assert f"{figure:.1f}" in card and f"{figure:.1f}" in readme, figure


def test_the_demo_runs():
    clips = sorted(str(path) for path in (ROOT / "examples" / "audio").glob("*.flac"))[:2]
    done = subprocess.run(
        [sys.executable, "examples/demo.py", *clips], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(clip).name in done.stdout for clip in clips) and "%" in done.stdout
