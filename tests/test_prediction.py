"""Prediction: forms of input, order, company, long recordings, missing modalities, bad input."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from multimodal_ser import EmotionPrediction, SpeakerProfile, Transcript
from multimodal_ser.audio import AudioError
from multimodal_ser.audio.segmentation import Windower
from multimodal_ser.errors import InputError
from multimodal_ser.inference.engine import BATCHES_IN_MEMORY, NO_WHISPER, PredictOptions
from multimodal_ser.testing import AUDIO_FAMILIES, TEXT_FAMILIES, synthetic_speech, tiny_model
from multimodal_ser.transcription import WhisperNotFoundError

CLIP = synthetic_speech(1.3, seed=5)
RATE = {"sampling_rate": 16000}
WINDOWS_IN_MEMORY = BATCHES_IN_MEMORY * PredictOptions().batch_size


class Echo:
    """A transcriber that hears how long a recording is."""

    def __init__(self, text="hello you {}", language="en", fails=None):
        self.text, self.language, self.device, self.calls, self.fails = text, language, "cpu", 0, fails

    def transcribe(self, recordings, *, sampling_rate=None, language=None, word_timestamps=False):
        self.calls += 1
        if self.fails is not None:
            raise self.fails
        return [
            Transcript(self.text.format(len(r)), language or self.language, speech_duration=len(r) / 16000)
            for r in recordings
        ]

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


@pytest.mark.parametrize(
    ("audio", "text"), [(a, "bert") for a in AUDIO_FAMILIES] + [("wav2vec2", t) for t in TEXT_FAMILIES]
)
def test_company_changes_nothing(audio, text):
    """A clip alone and among longer ones, with and without words: order kept, to 1e-4."""
    model = tiny_model(audio, text)
    clips = [synthetic_speech(length, seed=i) for i, length in enumerate((0.3, 2.5, 0.7, 1.9, 4.0, 0.05))]
    texts = ["hello", None, "i am so very sad " * 30, "", float("nan"), "you are happy"]
    together = model.predict(clips, text=texts, batch_size=4, **RATE)
    for clip, words, among in zip(clips, texts, together, strict=True):
        close(model.predict(clip, text=words, **RATE), among)
    assert [p.modalities for p in together] == [
        ("audio", "text"),
        ("audio",),
        ("audio", "text"),
        ("audio",),
        ("audio",),
        ("audio", "text"),
    ]
    reversed_ = model.predict(clips[::-1], text=texts[::-1], batch_size=3, **RATE)
    for a, b in zip(together, reversed_[::-1], strict=True):
        close(a, b)


def test_a_row_without_text_equals_audio_alone(hearing):
    hearing.transcriber = Echo(text="")
    close(hearing.predict(CLIP, **RATE), hearing.predict(CLIP, modalities="audio", **RATE))
    mixed = hearing.predict([CLIP, CLIP], text=["hello", ""], **RATE)
    close(mixed[1], hearing.predict(CLIP, modalities="audio", **RATE))


def test_silence_has_an_answer_and_a_note(hearing):
    hearing.transcriber = None
    silent, heard = hearing.predict([np.zeros(16000, np.float32), CLIP], **RATE)
    assert silent.notes == ("nobody was heard to speak: the audio says nothing of an emotion",) and heard.notes == ()
    hearing.transcriber = Echo(text="")
    hearing.transcriber.transcribe = lambda recordings, **options: [
        Transcript("", speech_duration=0.0) for _ in recordings
    ]
    assert hearing.predict(CLIP, **RATE).notes == silent.notes  # the gate heard no voice in it
    assert hearing.predict(CLIP, text="hello", **RATE).notes == ()


def test_modalities(hearing):
    audio, both, text = (
        hearing.predict(CLIP, text="you are so sad", modalities=m, **RATE) for m in ("audio", "both", "text")
    )
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


def words_of(predictions):
    return [None if prediction.transcript is None else prediction.transcript.text for prediction in predictions]


@pytest.mark.parametrize(
    "form", [list, tuple, np.array, lambda texts: np.array(texts, dtype=object), pd.Index, lambda texts: pd.Series(texts, index=[1, 0, 7]), lambda texts: [np.str_(t) for t in texts]],
    ids=["list", "tuple", "array", "objects", "index", "series", "numpy.str_"],
)  # fmt: skip
def test_lists_come_in_many_forms(model, tmp_path, form):
    """A column is read by position, whatever its index says."""
    texts, paths = ["hello", "you are sad", "happy"], [str(tmp_path / f"{i}.wav") for i in range(3)]
    for path in paths:
        sf.write(path, CLIP, 16000)
    found = model.predict(form(paths), text=form(texts))
    assert words_of(found) == texts and [p.source for p in found] == paths
    assert {type(value) for p in found for value in (p.source, p.transcript.text)} == {str}
    close(found[1], model.predict(text=form(texts), audio=form(paths), context=form(["i am", "", "not"]))[1])
    assert words_of(model.predict(text=form(texts))) == texts


def test_a_filtered_table_keeps_words_and_recordings_together(model):
    table = pd.DataFrame({"text": ["hello", "angry", None, "sad"]}).iloc[::-1].iloc[:3]
    assert words_of(model.predict([CLIP] * 3, text=table["text"], **RATE)) == ["sad", None, "angry"]
    for nothing in (float("nan"), np.float32("nan"), pd.NA, np.full(2, np.nan), pd.Series([None, pd.NA])):
        assert words_of(model.predict([CLIP] * 2, text=nothing, **RATE)) == [None, None]
    for wrong in (5, "hello", ["hello"], pd.Series(["hello"])):
        with pytest.raises(
            InputError, match=r"text: expected a list of 2, one an input, got (one int|one str|1); use None"
        ):
            model.predict([CLIP] * 2, text=wrong, **RATE)


def test_rows_of_a_dataset(model, tmp_path):
    """As Common Voice has them: "path" beside "audio" and "text"."""
    path = str(tmp_path / "a.wav")
    sf.write(path, CLIP, 16000, subtype="FLOAT")
    recording = {"array": CLIP, "sampling_rate": 16000, "path": path}
    rows = [
        {"path": "elsewhere.wav", "audio": recording, "text": "hello"},
        {"path": path, "text": "hello"},
        {**recording, "text": "hello"},
    ]
    for found in (*model.predict_iter(rows), *model.predict(rows), model.predict(rows[0])):
        assert found.modalities == ("audio", "text") and found.source == path and found.transcript.text == "hello"
    assert words_of(model.predict(rows, text=["happy", None, ""])) == ["happy", "hello", "hello"]


def test_the_language_of_given_words_may_be_named(hearing):
    for name in ("english", "EN", "en "):
        assert hearing.predict(text="so happy", language=name).transcript.language == "en"
    assert "'de'" in hearing.predict(CLIP, text="Guten Tag", language="German", **RATE).notes[0]
    with pytest.raises(InputError, match="give words that it reads, or a recording too"):
        hearing.predict(text="Guten Tag", language="german")


def test_label_sets(model):
    native, ekman = model.predict(CLIP, **RATE), model.predict(CLIP, label_set="ekman", **RATE)
    assert list(ekman.probabilities) == ["anger", "happiness", "neutral"] and ekman.label_set == "ekman"
    assert ekman.probabilities["neutral"] == pytest.approx(
        native.probabilities["neutral"] + native.probabilities["calm"]
    )
    with pytest.raises(InputError, match="urgent in the way"):
        tiny_model(labels=("calm", "urgent")).predict(CLIP, label_set="ekman", **RATE)


def test_long_recordings_in_windows(hearing):
    long = np.concatenate(
        [np.concatenate([synthetic_speech(4.0, seed=i), np.zeros(8000, np.float32)]) for i in range(16)]
    )  # 72 s
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


@pytest.mark.parametrize("modalities", ["auto", "both", "text"])
def test_windows_without_words_count_in_the_duration(hearing, modalities):
    class HearsTheLoud(Echo):
        def transcribe(self, recordings, **options):
            return [
                Transcript("" if np.abs(r).max() < 1e-3 else "hello", "en", speech_duration=1.0) for r in recordings
            ]

    hearing.transcriber = HearsTheLoud()
    prediction = hearing.predict(
        np.concatenate([synthetic_speech(14.0), np.zeros(16000 * 20), synthetic_speech(14.0)]),
        modalities=modalities,
        **RATE,
    )
    assert prediction.duration == pytest.approx(48.0) and prediction.windows == 3


def test_silence_has_an_answer_too(model):
    assert model.predict(np.zeros(16000 * 45), **RATE).windows == 3


def test_channels(hearing, tmp_path):
    path = tmp_path / "stereo.wav"
    sf.write(path, np.stack([CLIP, synthetic_speech(1.3, seed=9)], 1), 16000, subtype="FLOAT")
    left, right = hearing.predict(path, channels="split")
    assert (left.channel, right.channel) == (0, 1)
    close(left, hearing.predict(CLIP, **RATE))
    assert [len(entry) for entry in hearing.predict([path, path], channels="split")] == [2, 2]


def test_an_hour_at_flat_memory(tmp_path):
    """Peak memory of an hour is that of a few minutes. In a process of its own: peaks of earlier tests would hide a new one."""
    path = tmp_path / "hour.wav"
    minute = (synthetic_speech(60.0) * 32767).astype(np.int16)
    with sf.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    code = f"""
import resource
from multimodal_ser.testing import synthetic_speech, tiny_model
model = tiny_model()
model.predict(synthetic_speech(20.0), sampling_rate=16000, modalities="audio")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
duration = model.predict({str(path)!r}, modalities="audio").duration
print(duration, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    duration, grown = map(float, done.stdout.split())
    assert duration == pytest.approx(3600.0)
    # the recording alone, as float32, would be 230 MB; its hidden states over 1 GB
    assert grown * (1 if sys.platform == "darwin" else 1024) < 450e6


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
    assert len(seen) <= WINDOWS_IN_MEMORY + 1
    items = [{"audio": CLIP, "text": "hello"}, {"text": "you are happy"}, CLIP]
    assert [p.modalities for p in model.predict_iter(items, **RATE)] == [("audio", "text"), ("text",), ("audio",)]


def test_options_are_checked_before_any_input_is_read(hearing):
    pulled = []
    endless = (pulled.append(i) or CLIP for i in itertools.count())
    wrong = {"language": "klingon", "label_set": None, "speaker": 3, "max_duration": "1", "batch_size": 2.5}
    for (name, value), mode in itertools.product(wrong.items(), ("raise", "skip")):
        with pytest.raises(InputError, match=f"{name}: expected"):
            hearing.predict_iter(endless, on_error=mode, **{name: value})
    assert not pulled
    for items in ("call.wav", {"audio": CLIP}, None):
        with pytest.raises(InputError, match="predict_iter: expected an iterable of inputs"):
            hearing.predict_iter(items)
    assert hearing.predict(CLIP, batch_size=np.int64(4), max_duration=2, **RATE).duration == pytest.approx(1.3)


@pytest.mark.parametrize("mode", ["raise", "skip"])
def test_what_is_wrong_with_whisper_is_no_fault_of_an_item(model, mode):
    model.transcriber = Echo(fails=InputError("whisper", expected="a", got="b", remedy="c"))
    pulled = []
    with pytest.raises(InputError, match=r"^whisper: expected a, got b; c$"):
        next(model.predict_iter((pulled.append(i) or CLIP for i in itertools.count()), on_error=mode, **RATE))
    assert len(pulled) == WINDOWS_IN_MEMORY


def test_a_good_one_among_bad_ones_comes_at_once(model, tmp_path):
    pulled = []
    items = itertools.chain([CLIP], (pulled.append(i) or tmp_path / "nowhere.wav" for i in itertools.count()))
    skipping = model.predict_iter(items, on_error="skip", **RATE)
    assert next(skipping).duration == pytest.approx(1.3) and len(pulled) < WINDOWS_IN_MEMORY
    assert isinstance(next(skipping), InputError)
    pulled.clear()
    raising = model.predict_iter(itertools.chain([CLIP, CLIP], items), **RATE)
    assert [next(raising).modalities for _ in range(2)] == [("audio",)] * 2 and len(pulled) == 1
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        next(raising)
    assert len(pulled) == 1


def test_a_whisper_that_is_not_found_is_told_once_and_noted_everywhere(model):
    model.transcriber = Echo(fails=WhisperNotFoundError("whisper", expected="weights", got="none", remedy="fetch them"))
    with pytest.warns(UserWarning, match="Going on with audio alone") as told:
        found = model.predict([CLIP] * (WINDOWS_IN_MEMORY + 6), **RATE)
    assert len(told) == 1 and {p.notes for p in found} == {(NO_WHISPER,)}


def test_errors_name_their_item(model, tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, CLIP, 16000)
    found = model.predict(
        [CLIP, CLIP, path, CLIP, path],
        text=["hello", None, 3, 3, None],
        context=[None, None, None, None, 5],
        modalities="both",
        on_error="skip",
        **RATE,
    )
    assert found[0].modalities == ("audio", "text")
    assert [str(error).split(",")[0] for error in found[1:]] == [
        "input 1: expected words that the text branch reads", f"{path} (text): expected a string or None", "input 3 (text): expected a string or None", f"{path} (context): expected a turn or a list of turns",
    ]  # fmt: skip
    assert "got none, as no Whisper listens (whisper=None); give text" in str(found[1])
    with pytest.raises(InputError, match=r"^text: expected a string or None, got int; convert it$"):
        model.predict(CLIP, text=3, **RATE)
    model.transcriber = Echo(text="")
    with pytest.raises(InputError, match="no words were recognised"):
        model.predict(CLIP, modalities="text", **RATE)


def test_more_items_than_rows_in_memory_keep_their_order(model):
    lengths = [800 + 37 * (i * 7919 % 100) for i in range(2 * WINDOWS_IN_MEMORY + 5)]
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
    one = model.predict(text="hello", context="i am sad")
    close(one, model.predict(text="hello", context=["i am sad"]), 1e-6)
    close(model.predict(text=["hello"], context=["i am sad"])[0], one)
    close(model.predict(text="hello", context=[None, float("nan"), np.str_("i am sad")]), one, 1e-6)


def test_a_known_speaker_changes_the_answer(model, tmp_path):
    clips = [synthetic_speech(1.0 + i / 10, seed=i, pitch=220.0) for i in range(3)]
    profile = model.enroll(clips, **RATE)
    known = model.predict(CLIP, speaker=profile, **RATE)
    assert known.probabilities != pytest.approx(model.predict(CLIP, **RATE).probabilities, abs=1e-4)
    profile.save(tmp_path / "speaker.safetensors")
    assert (tmp_path / "speaker.safetensors").stat().st_size < 20_000
    again = SpeakerProfile.load(tmp_path / "speaker.safetensors")
    close(model.predict(CLIP, speaker=tmp_path / "speaker.safetensors", **RATE), known, 1e-6)
    assert again.windows == 3 and model.predict(CLIP, speaker=again, **RATE).probabilities == known.probabilities
    close(model.predict([CLIP, clips[0]], text=[None, "hello"], speaker=profile, **RATE)[0], known)
    assert (
        tiny_model(labels=("anger", "joy", "neutral", "calm")).bfloat16().predict(CLIP, speaker=again, **RATE).label
    )  # the same voice
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
    with pytest.raises(InputError, match=r"^p\.safetensors: expected a file that SpeakerProfile\.save wrote"):
        model.predict(CLIP, speaker="p.safetensors", **RATE)


def test_the_transcriber_moves_with_the_model(hearing):
    echo = hearing.transcriber
    hearing.to("cpu")
    assert echo.device == "cpu"
    hearing.to(torch.bfloat16)
    assert hearing.predict(CLIP, **RATE).label in hearing.labels


def test_progress_goes_to_stderr(model, capsys):
    model.predict([CLIP] * 3, progress=True, **RATE)
    out, err = capsys.readouterr()
    assert out == "" and "predict: " in err
