"""Whisper for real: each backend on real weights."""

import re

import numpy as np
import pytest

from multimodal_ser import MultimodalEmotionClassifier, WhisperTranscriber
from multimodal_ser.audio import load_audio
from multimodal_ser.testing import tiny_model

SENTENCE = [
    "and",
    "so",
    "my",
    "fellow",
    "americans",
    "ask",
    "not",
    "what",
    "your",
    "country",
    "can",
    "do",
    "for",
    "you",
    "ask",
    "what",
    "you",
    "can",
    "do",
    "for",
    "your",
    "country",
]
FILES = {"faster-whisper": "ctranslate2/base", "openai-whisper": "openai/base.pt", "transformers": "transformers/base"}


def words_of(text):
    return re.findall(r"[a-z']+", text.lower())


def wrong_words(text):
    import jiwer

    measured = jiwer.process_words(" ".join(SENTENCE), " ".join(words_of(text)))
    return measured.substitutions + measured.deletions + measured.insertions


@pytest.fixture(scope="module", params=FILES)
def transcriber(request, whisper_weights):
    return WhisperTranscriber(whisper_weights / FILES[request.param], backend=request.param)


def test_predict_hears_the_famous_sentence(transcriber, data):
    model = tiny_model()
    model.transcriber = transcriber
    prediction = model.predict(data / "jfk.flac")
    assert wrong_words(prediction.transcript.text) <= 1
    assert prediction.transcript.language == "en" and prediction.transcript.language_probability > 0.5
    assert prediction.modalities == ("audio", "text")


def test_word_times_lie_in_the_clip(transcriber, data):
    words = transcriber.transcribe(data / "jfk.flac", language="english", word_timestamps=True).words
    assert [word for spoken in words for word in words_of(spoken.text)][-3:] == ["for", "your", "country"]
    assert all(0 <= word.start <= word.end <= 11.0 for word in words)
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert 7 < words[-1].start < 10.5


def test_german_is_recognised_and_not_fed_to_an_english_branch(transcriber, data):
    model = tiny_model(text_languages=["en"])
    model.transcriber = transcriber
    clip = data / "emodb/audio/03a01Fa.flac"
    prediction = model.predict(clip)
    assert prediction.transcript.language == "de" and "Lappen" in prediction.transcript.text
    assert prediction.modalities == ("audio",)
    assert prediction.notes == ("the words are in 'de', the text branch reads en: they were not used",)
    assert prediction.probabilities == pytest.approx(model.predict(clip, modalities="audio").probabilities, abs=1e-4)


def test_nobody_speaks(transcriber):
    generator = np.random.default_rng(0)
    sounds = [np.zeros(16000), generator.normal(0, 0.1, 32000), 0.3 * np.sin(np.arange(16000) * 0.2)]
    assert [found.text for found in transcriber.transcribe(sounds, sampling_rate=16000)] == ["", "", ""]


def test_a_long_recording(whisper_weights, data):
    clip = load_audio(data / "jfk.flac")
    long = np.concatenate([np.concatenate([clip, np.zeros(12000, np.float32)]) for _ in range(4)])  # 47 s
    text = WhisperTranscriber(whisper_weights / FILES["faster-whisper"]).transcribe(long, sampling_rate=16000).text
    assert 4 * len(SENTENCE) - 4 <= len(words_of(text)) <= 4 * len(SENTENCE) + 4
    assert len(re.findall("fellow americans", text.lower().replace(",", ""))) == 4


def test_without_any_whisper_it_goes_on_with_audio_alone(monkeypatch, data, tmp_path):
    from multimodal_ser.transcription import weights

    monkeypatch.setattr(weights, "_hub_cache", lambda repository: None)
    monkeypatch.setattr(weights, "OFFLINE_PARTS", ("no_such_package",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = tiny_model()
    model.transcriber = "auto"
    with pytest.warns(UserWarning, match=r"multimodal_ser\[offline\].*audio alone") as warned:
        prediction = model.predict(data / "jfk.flac")
    assert len([entry for entry in warned if "offline" in str(entry.message)]) == 1
    assert prediction.modalities == ("audio",) and prediction.transcript is None
    assert isinstance(model, MultimodalEmotionClassifier)
