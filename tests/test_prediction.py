"""Prediction: forms of input, order, company, long recordings, missing modalities, bad input."""

import json
import resource
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from multimodal_ser import EmotionPrediction, SpeakerProfile, Transcript
from multimodal_ser.audio import AudioError
from multimodal_ser.errors import InputError
from multimodal_ser.prediction import ROWS_IN_MEMORY
from multimodal_ser.testing import AUDIO_FAMILIES, TEXT_FAMILIES, synthetic_speech, tiny_model
from multimodal_ser.windows import Windower

CLIP = synthetic_speech(1.3, seed=5)
RATE = {"sampling_rate": 16000}


class Echo:
    """A transcriber that hears how long a recording is."""

    def __init__(self, text="hello you {}", language="en"):
        self.text, self.language, self.device, self.calls = text, language, "cpu", 0

    def transcribe(self, recordings, *, sampling_rate=None, language=None, word_timestamps=False):
        self.calls += 1
        return [Transcript(self.text.format(len(r)), language or self.language, speech_duration=len(r) / 16000) for r in recordings]

    def to(self, device):
        self.device = str(device)
        return self


@pytest.fixture
def model():
    return tiny_model(labels=("anger", "joy", "neutral", "calm"))


@pytest.fixture
def hearing(model):
    model.transcriber = Echo()
    model.config.text_languages = ["en"]
    return model


def close(a, b, tolerance=1e-4):
    assert a.probabilities == pytest.approx(b.probabilities, abs=tolerance)


def test_what_a_prediction_is(hearing, tmp_path):
    path = tmp_path / "call.wav"
    sf.write(path, CLIP, 16000, subtype="FLOAT")
    prediction = hearing.predict(path)
    assert isinstance(prediction, EmotionPrediction)
    assert sum(prediction.probabilities.values()) == pytest.approx(1.0)
    assert list(prediction.probabilities) == hearing.labels
    assert prediction.confidence == prediction.probabilities[prediction.label] == max(prediction.probabilities.values())
    assert prediction.modalities == ("audio", "text")
    assert prediction.transcript.text == "hello you 20800"
    assert prediction.source == str(path) and prediction.duration == pytest.approx(1.3)
    assert json.loads(json.dumps(prediction.to_dict()))["transcript"]["language"] == "en"
    close(prediction, hearing.predict({"path": str(path), "bytes": None}), 1e-6)
    close(prediction, hearing.predict(path.read_bytes()), 1e-6)
    close(prediction, hearing.predict(CLIP, **RATE), 1e-6)
    close(prediction, hearing.predict(torch.from_numpy(CLIP), **RATE), 1e-6)
    close(prediction, hearing.predict({"array": CLIP, "sampling_rate": 16000}), 1e-6)


@pytest.mark.parametrize(("audio", "text"), [(a, "bert") for a in AUDIO_FAMILIES] + [("wav2vec2", t) for t in TEXT_FAMILIES])
def test_company_changes_nothing(audio, text):
    """A clip alone and among longer ones, with and without words: order kept, to 1e-4."""
    model = tiny_model(audio, text)
    clips = [synthetic_speech(length, seed=i) for i, length in enumerate((0.3, 2.5, 0.7, 1.9, 4.0, 0.05))]
    texts = ["hello", None, "i am so very sad " * 30, "", float("nan"), "you are happy"]
    together = model.predict(clips, text=texts, batch_size=4, **RATE)
    for clip, words, among in zip(clips, texts, together, strict=True):
        close(model.predict(clip, text=words, **RATE), among)
    assert [p.modalities for p in together] == [("audio", "text"), ("audio",), ("audio", "text"), ("audio",), ("audio",), ("audio", "text")]
    reversed_ = model.predict(clips[::-1], text=texts[::-1], batch_size=3, **RATE)
    for a, b in zip(together, reversed_[::-1], strict=True):
        close(a, b)


def test_a_row_without_text_equals_audio_alone(hearing):
    hearing.transcriber = Echo(text="")
    close(hearing.predict(CLIP, **RATE), hearing.predict(CLIP, modalities="audio", **RATE))
    mixed = hearing.predict([CLIP, CLIP], text=["hello", ""], **RATE)
    close(mixed[1], hearing.predict(CLIP, modalities="audio", **RATE))


def test_modalities(hearing):
    audio, both, text = (hearing.predict(CLIP, text="you are so sad", modalities=m, **RATE) for m in ("audio", "both", "text"))
    assert (audio.modalities, both.modalities, text.modalities) == (("audio",), ("audio", "text"), ("text",))
    close(text, hearing.predict(text="you are so sad"))
    assert hearing.transcriber.calls == 0  # nobody had to listen
    heard = hearing.predict(CLIP, modalities="text", **RATE)
    close(heard, hearing.predict(text=heard.transcript.text))
    assert hearing.transcriber.calls == 1
    assert audio.transcript is None and both.transcript == Transcript.given("you are so sad")
    for options in ({"audio": CLIP, "modalities": "both"}, {"audio": CLIP, "modalities": "text"}):
        hearing.transcriber = None
        with pytest.raises(InputError, match="words that the text branch reads"):
            hearing.predict(**options, **RATE)
    with pytest.raises(InputError, match="a recording, for modalities='audio'"):
        hearing.predict(text="hello", modalities="audio")


def test_words_in_a_language_that_is_not_read(hearing):
    hearing.transcriber = Echo("Guten Tag", "de")
    prediction = hearing.predict(CLIP, **RATE)
    assert prediction.modalities == ("audio",) and prediction.transcript.text == "Guten Tag"
    assert "'de'" in prediction.notes[0]
    close(prediction, hearing.predict(CLIP, modalities="audio", **RATE))
    assert hearing.predict(CLIP, text="Guten Tag", language="de", **RATE).modalities == ("audio",)
    assert hearing.predict(CLIP, text="Good day", **RATE).modalities == ("audio", "text")


def test_cells_of_a_table(model):
    table = pd.DataFrame({"text": ["hello", None, float("nan"), ""]})
    assert [p.modalities for p in model.predict([CLIP] * 4, text=list(table["text"]), **RATE)] == [
        ("audio", "text"),
        ("audio",),
        ("audio",),
        ("audio",),
    ]


def test_label_sets(model):
    native, ekman = model.predict(CLIP, **RATE), model.predict(CLIP, label_set="ekman", **RATE)
    assert list(ekman.probabilities) == ["anger", "happiness", "neutral"] and ekman.label_set == "ekman"
    assert ekman.probabilities["neutral"] == pytest.approx(native.probabilities["neutral"] + native.probabilities["calm"])
    with pytest.raises(InputError, match="urgent in the way"):
        tiny_model(labels=("calm", "urgent")).predict(CLIP, label_set="ekman", **RATE)


def test_long_recordings_in_windows(hearing):
    long = np.concatenate([np.concatenate([synthetic_speech(4.0, seed=i), np.zeros(8000, np.float32)]) for i in range(16)])  # 72 s
    prediction = hearing.predict(long, **RATE)
    assert prediction.windows >= 4 and prediction.duration == pytest.approx(72.0)
    windower = Windower()
    windows = [*windower.push(long), *windower.finish()]
    np.testing.assert_array_equal(np.concatenate([waveform for _, waveform in windows]), long)
    for start, waveform in windows[:-1]:
        assert 10 <= len(waveform) / 16000 <= 20
        assert np.abs(long[int(start * 16000) + len(waveform) - 100 :][:200]).max() < 1e-3  # cut in a pause
    singles = [hearing.predict(waveform, **RATE) for _, waveform in windows]
    weights = np.array([len(waveform) for _, waveform in windows])  # the echo says that all of it is speech
    for label in hearing.labels:
        expected = sum(w * p.probabilities[label] for w, p in zip(weights, singles, strict=True)) / weights.sum()
        assert prediction.probabilities[label] == pytest.approx(expected, abs=1e-4)
    assert prediction.transcript.text.count("hello you") == len(windows)


def test_silence_has_an_answer_too(model):
    assert model.predict(np.zeros(16000 * 45), **RATE).windows == 3


def test_channels(hearing, tmp_path):
    path = tmp_path / "stereo.wav"
    sf.write(path, np.stack([CLIP, synthetic_speech(1.3, seed=9)], 1), 16000, subtype="FLOAT")
    left, right = hearing.predict(path, channels="split")
    assert (left.channel, right.channel) == (0, 1)
    close(left, hearing.predict(CLIP, **RATE))
    assert [len(entry) for entry in hearing.predict([path, path], channels="split")] == [2, 2]


def test_an_hour_at_flat_memory(tmp_path, model):
    """Peak memory of an hour is that of a few minutes."""
    path = tmp_path / "hour.wav"
    minute = (synthetic_speech(60.0) * 32767).astype(np.int16)
    with sf.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    model.predict(CLIP, modalities="audio", **RATE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert model.predict(path, modalities="audio").duration == pytest.approx(3600.0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 450e6  # the recording alone, as float32, would be 230 MB; its hidden states over 1 GB


def test_ten_thousand_words(model):
    words = "i am so very happy and she is sad by the door " * 900  # 10,800 words; the tiny encoder holds 64 tokens
    assert model.predict(CLIP, text=words, **RATE).modalities == ("audio", "text")
    assert model.predict(text=words).probabilities != model.predict(text=words[:200]).probabilities


def test_many_come_one_by_one(model):
    seen = []

    def endless():
        while True:
            seen.append(1)
            yield CLIP[:4000]

    stream = model.predict_iter(endless(), **RATE)
    first = [next(stream) for _ in range(5)]
    assert all(isinstance(prediction, EmotionPrediction) for prediction in first)
    assert len(seen) <= ROWS_IN_MEMORY + 1
    items = [{"audio": CLIP, "text": "hello"}, {"text": "you are happy"}, CLIP]
    assert [p.modalities for p in model.predict_iter(items, **RATE)] == [("audio", "text"), ("text",), ("audio",)]


def test_more_items_than_rows_in_memory_keep_their_order(model):
    lengths = [800 + 37 * (i * 7919 % 100) for i in range(2 * ROWS_IN_MEMORY + 5)]
    found = model.predict([CLIP[:length] for length in lengths], **RATE)
    assert [round(p.duration * 16000) for p in found] == lengths


def test_bad_ones_among_good_ones(model, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    items = [CLIP[: 8000 + 100 * i] for i in range(20)]
    items[3], items[7], items[19] = tmp_path / "nowhere.wav", np.full(16000, np.nan), str(tmp_path / "text.wav")
    found = model.predict(items, on_error="skip", **RATE)
    assert [i for i, outcome in enumerate(found) if isinstance(outcome, InputError)] == [3, 7, 19]
    assert "nowhere.wav" in str(found[3]) and "input 7" in str(found[7]) and "text.wav" in str(found[19])
    assert isinstance(found[3], FileNotFoundError)
    assert sum(isinstance(outcome, EmotionPrediction) for outcome in found) == 17
    close(found[18], model.predict(items[18], **RATE))
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        model.predict(items, **RATE)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "neither"), ({"audio": CLIP, "modalities": "video"}, "modalities: expected one of auto, both, audio, text"), ({"audio": CLIP, "channels": "left"}, "channels"),
        ({"audio": CLIP, "on_error": "ignore"}, "on_error"), ({"audio": CLIP, "batch_size": 0}, "batch_size"), ({"audio": CLIP, "label_set": "eckman"}, "did you mean 'ekman'"),
        ({"audio": [CLIP, CLIP], "text": "hello"}, "a list of 2"), ({"audio": [CLIP, CLIP], "text": ["hello"]}, "a list of 2"), ({"audio": CLIP, "text": 3}, "text: expected a string"),
        ({"audio": CLIP, "sampling_rate": "16000"}, "whole number of Hz"), ({"audio": [], "text": []}, None),
    ],
)  # fmt: skip
def test_wrong_use_is_told(model, arguments, says):
    if says is None:
        assert model.predict(**arguments) == []
        return
    with pytest.raises(InputError, match=says) as error:
        model.predict(**(RATE | arguments))
    assert "\n" not in str(error.value)


def test_prediction_leaves_the_training_mode_alone(model):
    model.train()
    first, second = model.predict(CLIP, **RATE), model.predict(CLIP, **RATE)
    assert first.probabilities == second.probabilities and model.training


def test_context_joins_the_text(model):
    alone, after = model.predict(text="hello"), model.predict(text="hello", context=["i am sad", "you are angry"])
    assert alone.probabilities != after.probabilities
    batch = model.predict(text=["hello", "hello"], context=[None, ["i am sad", "you are angry"]])
    close(batch[0], alone)
    close(batch[1], after)


def test_a_known_speaker_changes_the_answer(model, tmp_path):
    clips = [synthetic_speech(1.0 + i / 10, seed=i, pitch=220.0) for i in range(3)]
    profile = model.enroll(clips, **RATE)
    known = model.predict(CLIP, speaker=profile, **RATE)
    assert known.probabilities != pytest.approx(model.predict(CLIP, **RATE).probabilities, abs=1e-4)
    profile.save(tmp_path / "speaker.safetensors")
    assert (tmp_path / "speaker.safetensors").stat().st_size < 20_000
    again = SpeakerProfile.load(tmp_path / "speaker.safetensors")
    assert again.windows == 3 and model.predict(CLIP, speaker=again, **RATE).probabilities == known.probabilities
    close(model.predict([CLIP, clips[0]], text=[None, "hello"], speaker=profile, **RATE)[0], known)
    inputs = model.processor(audio=[clips[1]], sampling_rate=16000)
    with torch.no_grad():
        states, _ = model.model.get_audio_features(inputs["input_values"], inputs["audio_attention_mask"])
    torch.testing.assert_close(model.enroll([clips[1]], **RATE).hidden_mean, states[0].mean(1))


def test_speakers_that_do_not_fit_are_told(model, tmp_path):
    profile = model.enroll([CLIP], **RATE)
    with pytest.raises(InputError, match="a profile that this audio branch made"):
        tiny_model(seed=1).predict(CLIP, speaker=profile, **RATE)
    with pytest.raises(InputError, match="expected at least one recording"):
        model.enroll([])
    with pytest.raises(InputError, match="expected a list of recordings"):
        model.enroll("call.wav")
    (tmp_path / "no.safetensors").write_text("nonsense")
    with pytest.raises(InputError, match=r"SpeakerProfile\.save"):
        SpeakerProfile.load(tmp_path / "no.safetensors")


def test_the_transcriber_moves_with_the_model(hearing):
    echo = hearing.transcriber
    hearing.to("cpu")
    assert echo.device == "cpu"
    hearing.to(torch.bfloat16)
    assert hearing.predict(CLIP, **RATE).label in hearing.labels


def test_progress_goes_to_stderr(model, capsys):
    model.predict([CLIP] * 3, progress=True, **RATE)
    out, err = capsys.readouterr()
    assert out == "" and "3/3" in err
