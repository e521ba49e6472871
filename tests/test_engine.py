"""The engine: windows with their times, what it holds in memory, what it leaves alone, and that nobody walks beside it."""

import ast
import inspect
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from multimodal_ser import OnnxEmotionClassifier, Transcript
from multimodal_ser.audio.segmentation import IntervalCutter, Windower
from multimodal_ser.errors import InputError
from multimodal_ser.inference.engine import (
    BATCHES_IN_MEMORY,
    NO_WHISPER,
    Engine,
    ItemEnd,
    PredictOptions,
    WindowOutput,
    by_item,
)
from multimodal_ser.inference.interface import EmotionInference
from multimodal_ser.model.sharing import evaluation_view
from multimodal_ser.testing import AUDIO_FAMILIES, synthetic_speech, tiny_model
from multimodal_ser.transcription import WhisperNotFoundError

PACKAGE = Path(__file__).resolve().parents[1] / "multimodal_ser"
RATE = {"sampling_rate": 16000}
PAUSE = np.zeros(8000, np.float32)


def recording(seconds, seed=0):
    """Speech with a pause every four seconds."""
    phrases = [np.concatenate([synthetic_speech(3.5, seed=seed + at), PAUSE]) for at in range(int(seconds // 4) + 1)]
    return np.concatenate(phrases)[: int(seconds * 16000)]


class Loudness(EmotionInference):
    """A model of numpy that answers how loud a window is: all that the engine needs, and no torch."""

    framework = "np"
    labels = ("loud", "quiet")
    encoder_fingerprint = "loudness"
    transcriber = None
    config = SimpleNamespace(
        trained_modalities=None, text_languages=None, temperature={}, conformal={}, dimensions=["loudness"]
    )

    def __init__(self):
        self.batches = []

    def forward_windows(self, windows, speaker_mean=None):
        self.batches.append([0 if window.waveform is None else len(window.waveform) for window in windows])
        level = np.array(
            [[0.0 if w.waveform is None else float(np.abs(w.waveform).max())] for w in windows], np.float32
        )
        means = np.repeat(level[:, :, None], 2, axis=2)
        return np.concatenate([level, -level], 1), np.repeat(level, 3, axis=1), means, level


def run(model, inputs, **options):
    return list(Engine(model, PredictOptions(**RATE | options)).run(inputs))


# options


def test_options_are_frozen_and_keyword_only():
    with pytest.raises(TypeError):
        PredictOptions(16000)
    with pytest.raises(FrozenInstanceError):
        PredictOptions().batch_size = 3


@pytest.mark.parametrize("name", ["predict", "predict_iter", "embed", "enroll"])
def test_help_shows_every_option_with_its_default(name):
    ours = [getattr(kind, name) for kind in (type(tiny_model()), OnnxEmotionClassifier)]
    assert ours[0] is ours[1]  # one mixin
    parameters = inspect.signature(ours[0]).parameters
    chosen = [each for each in fields(PredictOptions) if each.name in parameters]
    assert len(chosen) == len(fields(PredictOptions)) or name in ("embed", "enroll")
    assert "options" not in parameters and "see `PredictOptions`" not in ours[0].__doc__
    for each in chosen:
        assert parameters[each.name].default == each.default
        assert f"            {each.name}: " in ours[0].__doc__


def test_unknown_options_are_told_with_the_nearest(tmp_path):
    model = tiny_model()
    for call, says in (
        (
            lambda: model.predict("a.wav", modalites="audio"),
            "predict: unexpected option 'modalites'; did you mean 'modalities'",
        ),
        (lambda: model.embed([], label_set="ekman"), "embed: unexpected option 'label_set'; it takes sampling_rate"),
        (
            lambda: model.enroll([], sampling_rat=1),
            "enroll: unexpected option 'sampling_rat'; did you mean 'sampling_rate'",
        ),
    ):
        with pytest.raises(TypeError, match=says):
            call()


# windows


def test_windows_have_their_times_and_follow_each_other():
    model, signal = tiny_model(), recording(70)
    *windows, end = run(model, [signal])
    assert isinstance(end, ItemEnd) and end.error is None and end.item is windows[0].item
    assert windows[0].start == 0 and windows[-1].end == pytest.approx(70)
    for earlier, later in pairwise(windows):
        assert later.start == pytest.approx(earlier.end)
    for window in windows:
        assert window.logits.shape == (3,) and window.embedding.shape == (32,) and window.audio_mean.shape == (3, 32)
        assert window.modalities == ("audio",) and window.channel is None and window.dimensions is None
        assert all(window.start <= start < stop <= window.end + 1e-6 for start, stop in window.speech_intervals)
        assert window.speech_seconds == pytest.approx(sum(stop - start for start, stop in window.speech_intervals))
        part = signal[round(window.start * 16000) : round(window.end * 16000)]
        alone = model.predict(part, **RATE).probabilities
        assert np.exp(window.logits) / np.exp(window.logits).sum() == pytest.approx(list(alone.values()), abs=1e-4)


def test_a_window_that_cannot_be_judged_is_there_without_an_answer():
    model = tiny_model()
    model.transcriber = SimpleNamespace(transcribe=lambda clips, **options: [Transcript("") for _ in clips])
    window, end = run(model, [recording(3)], modalities="text")
    assert window.logits is None and window.modalities == () and window.end == 3.0 and end.error is None


def test_the_mean_of_the_audio_branch_is_what_enroll_averages():
    model, clips = tiny_model(), [recording(seconds, seed=7) for seconds in (1, 2, 3)]
    windows = [each for each in run(model, clips, modalities="audio") if isinstance(each, WindowOutput)]
    profile = model.enroll(clips, **RATE)
    np.testing.assert_allclose(profile.hidden_mean, np.mean([each.audio_mean for each in windows], 0), atol=1e-5)
    assert {window.speaker for window in run(model, clips, speaker=profile)[:1]} == {profile}


def test_dimensions_are_averaged_by_speech_time():
    model = tiny_model(dimensions=["arousal", "valence"])
    signal = recording(50)
    windows = run(model, [signal])[:-1]
    weights = [window.weight for window in windows]
    expected = np.average([window.dimensions for window in windows], axis=0, weights=weights)
    prediction = model.predict(signal, **RATE)
    assert list(prediction.dimensions) == ["arousal", "valence"]
    assert list(prediction.dimensions.values()) == pytest.approx(expected.tolist(), abs=1e-4)
    assert prediction.to_dict()["dimensions"] == prediction.dimensions
    assert tiny_model().predict(signal, **RATE).dimensions is None


def test_windows_of_channels_name_theirs():
    stereo = np.stack([recording(40), np.zeros(40 * 16000, np.float32)])
    windows = run(tiny_model(), [stereo], channels="split", modalities="audio")[:-1]
    assert {window.channel for window in windows} == {0, 1}
    assert all(
        window.speech_seconds == 0 and window.speech_intervals == () for window in windows if window.channel == 1
    )


def test_another_cutter_cuts():
    turns = [(0.5, 2.0), (1.0, 3.0), (50.0, 51.0)]
    engine = Engine(Loudness(), PredictOptions(**RATE), make_cutter=lambda: IntervalCutter(turns))
    *windows, _ = engine.run([recording(4)])
    assert [(window.start, window.end) for window in windows] == turns[:2]


@pytest.mark.parametrize("block", [1600, 16000, 480_000])
def test_cutters_do_not_depend_on_the_pieces(block):
    signal = recording(100)
    for make in (
        Windower,
        lambda: Windower(longest=20, target=8, reach=2, overlap=1.5),
        lambda: IntervalCutter([(0, 4), (3, 60), (61, 99)]),
    ):
        whole, pieces = make(), make()
        expected = [*whole.push(signal), *whole.finish()]
        found = [window for at in range(0, len(signal), block) for window in pieces.push(signal[at : at + block])]
        found += pieces.finish()
        key = lambda window: (window[0], len(window[1]))  # noqa: E731
        assert sorted(map(key, found)) == sorted(map(key, expected))


def test_windows_may_overlap():
    windower = Windower(overlap=2.0)
    windows = [*windower.push(recording(100)), *windower.finish()]
    ends = [start + len(waveform) / 16000 for start, waveform in windows]
    assert [start for start, _ in windows[1:]] == pytest.approx([end - 2.0 for end in ends[:-1]])
    assert ends[-1] == pytest.approx(100)


@pytest.mark.parametrize(
    "make", [lambda: Windower(target=3), lambda: Windower(overlap=11), lambda: IntervalCutter([(2, 1)]), lambda: IntervalCutter([(2, 3), (1, 4)])]
)  # fmt: skip
def test_cutters_refuse_what_does_not_fit(make):
    with pytest.raises(InputError):
        make()


# memory and order


def test_waveforms_of_two_batches_are_in_memory():
    alive, most = weakref.WeakValueDictionary(), 0

    class Clip(np.ndarray):
        pass

    class Counting(Loudness):
        def forward_windows(self, windows, speaker_mean=None):
            nonlocal most
            most = max(most, len(alive))
            return super().forward_windows(windows, speaker_mean)

    def clips():
        for seed in range(100):
            clip = synthetic_speech(0.1, seed=seed).view(Clip)
            alive[seed] = clip
            yield clip

    assert sum(1 for _ in Counting().predict_iter(clips(), batch_size=4, **RATE)) == 100
    assert 4 < most <= BATCHES_IN_MEMORY * 4 + 1


def test_windows_of_similar_length_share_a_batch():
    model = Loudness()
    lengths = [800, 16000, 900, 16100]
    list(model.predict_iter([np.ones(length, np.float32) for length in lengths], batch_size=2, **RATE))
    assert model.batches == [[800, 900], [16000, 16100]]


def test_what_is_done_is_handed_out_before_the_callers_own_error():
    def clips():
        yield recording(1)
        yield recording(2)
        raise OSError("the disk is gone")

    stream = Loudness().predict_iter(clips(), **RATE)
    assert [next(stream).duration, next(stream).duration] == [1.0, 2.0]
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)


def test_an_error_after_many_windows_discards_them(tmp_path):
    broken = np.concatenate([recording(80), [np.nan]]).astype(np.float32)
    first, second, third = by_item(
        Engine(Loudness(), PredictOptions(**RATE, on_error="skip")).run([recording(1), broken, recording(2)])
    )
    assert second.error is not None and second.windows == []
    assert first.error is None and len(third.windows) == 1


# what it leaves alone


def attributes(model):
    """Every attribute of every module, and of the configuration."""
    modules = {
        name: {k: v for k, v in vars(each).items() if not isinstance(v, dict)} for name, each in model.named_modules()
    }
    return modules, dict(vars(model.config))


@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_set_on_the_model(training, monkeypatch):
    model = tiny_model(text_languages=["en"])
    missing = WhisperNotFoundError("whisper", expected="weights", got="none", remedy="fetch them")

    def transcribe(clips, **options):
        raise missing

    model.transcriber = SimpleNamespace(transcribe=transcribe)
    model.train(training)
    profile = model.enroll([recording(1)], **RATE)
    with pytest.warns(UserWarning, match="Going on"):  # transformers puts its hooks on at the first call
        model.predict(recording(1), **RATE)
    model.predict(recording(1), text="hello", **RATE)
    before = attributes(model)
    sets = []
    monkeypatch.setattr(type(model), "__setattr__", lambda self, name, value: sets.append(name))
    for options in ({}, {"modalities": "audio"}, {"speaker": profile}, {"text": "hello", "language": "de"}):
        with pytest.warns(UserWarning, match="Going on") if options.keys() <= {"speaker"} else nullcontext():
            model.predict(recording(1), **RATE | options)
    list(model.embed([recording(1)], modalities="audio", **RATE))
    model.enroll([recording(1)], **RATE)
    monkeypatch.undo()
    assert not sets and attributes(model) == before


def test_a_missing_whisper_is_noted_in_every_call():
    model = tiny_model()
    model.transcriber = SimpleNamespace(
        transcribe=lambda clips, **options: (_ for _ in ()).throw(
            WhisperNotFoundError("whisper", expected="weights", got="none", remedy="fetch them")
        )
    )
    for _ in range(3):
        with pytest.warns(UserWarning, match="Going on with audio alone"):
            assert model.predict(recording(1), **RATE).notes == (NO_WHISPER,)


@pytest.mark.parametrize("family", AUDIO_FAMILIES)
def test_a_view_in_evaluation_mode_shares_the_weights(family):
    model = tiny_model(family)
    inputs = model.processor(audio=[recording(1)], text=["hello"], sampling_rate=16000)
    with torch.no_grad():
        expected = model(**inputs).logits
        assert evaluation_view(model) is model
        model.train()
        view = evaluation_view(model)
        assert view is not model and model.training and not any(module.training for module in view.modules())
        torch.testing.assert_close(view(**inputs).logits, expected, rtol=0, atol=0)
        model.classifier.weight.mul_(2)
        assert not torch.equal(view(**inputs).logits, expected)  # the weights are the model's own
    assert {id(p) for p in view.parameters()} == {id(p) for p in model.parameters()}
    assert model.training and all(module.training for module in model.modules())


@pytest.mark.filterwarnings("ignore:.*Going on with audio alone")
def test_threads_give_what_one_thread_gives():
    """Eight threads, options of many kinds, some while the model is in training mode."""
    model = tiny_model(labels=("anger", "joy", "neutral", "calm"), text_languages=["en"])
    profile = model.enroll([recording(2)], **RATE)
    clips = [recording(seconds, seed=seed) for seed, seconds in enumerate((0.7, 1.9, 33.0))]

    class Whisper:
        def transcribe(self, clips, *, language=None, **options):
            if language == "fr":
                raise WhisperNotFoundError("whisper", expected="weights", got="none", remedy="fetch them")
            return [
                Transcript(f"hello you {'so ' * (len(c) % 7)}", language or "en", speech_duration=1.0) for c in clips
            ]

    model.transcriber = Whisper()
    jobs = [
        {"audio": clip, **options}
        for clip in clips
        for options in (
            {}, {"modalities": "audio"}, {"language": "de"}, {"language": "fr"}, {"label_set": "ekman"}, {"speaker": profile},
            {"text": "i am so very happy"}, {"text": "so sad", "modalities": "text"}, {"modalities": "both"},
        )
    ] * 3  # fmt: skip

    def ask(job):
        prediction = model.predict(**job, **RATE)
        return prediction.probabilities, prediction.notes, prediction.modalities, prediction.label_set

    expected = [ask(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, jobs)) == expected
    model.train()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, jobs)) == expected
    assert all(module.training for module in model.modules())
    assert all(
        NO_WHISPER in notes for job, (_, notes, *_) in zip(jobs, expected, strict=True) if job.get("language") == "fr"
    )


# nobody walks beside it


def calls(path):
    """Names that a file calls, as attributes or functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", ""))


def files_that_call(*names):
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if set(names) & set(calls(path))}
    return sorted(found)


def test_the_way_from_a_recording_to_numbers_exists_once():
    """A second walk fails here: let it be a fold over `Engine.run`."""
    assert files_that_call("forward_windows") == ["export/onnx_runtime.py", "inference/engine.py", "model/pipeline.py"]
    # the export compares graphs with the model; training fills its cache and makes voices; the model itself
    assert files_that_call("get_audio_features") == [
        "export/onnx_export.py", "model/modeling_core.py", "model/modeling_multimodal_ser.py", "training/initialization.py",
    ]  # fmt: skip
    assert files_that_call("Windower") == ["audio/segmentation.py", "transcription/transcriber.py"]
    rooms = ("inference", "model", "export", "calibration", "evaluation")
    assert [file for file in files_that_call("stream_audio") if file.startswith(rooms)] == ["inference/inputs.py"]
    assert files_that_call("speech_segments", "speech_duration") == [
        "inference/engine.py", "transcription/gate.py", "transcription/transcriber.py",
    ]  # fmt: skip
