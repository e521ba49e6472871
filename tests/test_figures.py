"""What an evaluation is made of: figures of answers, word errors, disturbances of known strength."""

from types import SimpleNamespace

import numpy as np
import pytest

from multimodal_ser.corpora import ManifestRow
from multimodal_ser.corpora.clips import Clip
from multimodal_ser.evaluation.asr import word_errors
from multimodal_ser.evaluation.data import EvaluatedRows
from multimodal_ser.evaluation.outputs import TEXT, Answers, Question
from multimodal_ser.evaluation.robustness import conditions, disturbance
from multimodal_ser.evaluation.statistics import Pooled, bucket, difference, system_figures
from multimodal_ser.testing import synthetic_speech


def scored(annotated, probabilities, labels=("anger", "joy"), **fields):
    """Rows of one speaker each and the answers of one system to them."""
    clips = [
        Clip(ManifestRow(text=str(i), emotion=name, speaker=f"s{i}"), str(i), 0.0) for i, name in enumerate(annotated)
    ]
    data = EvaluatedRows(clips).score(labels)
    question = Question("system", "network", TEXT, **fields)
    return data, Answers(question, tuple(range(len(clips))), np.array(probabilities, dtype=float))


def test_figures_are_those_of_the_pooled_answers():
    data, answers = scored(["anger", "anger", "joy", "joy"], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    entry = system_figures([answers], data, 50)
    assert entry["figures"] == pytest.approx({
        "accuracy": 0.75, "ua": 0.75, "macro_f1": 11 / 15, "weighted_f1": 11 / 15, "ece": (0.1 + 0.6 + 0.3 + 0.2) / 4, "aurc": (0 + 0 + 0 + 1 / 4) / 4,
    })  # fmt: skip
    assert (
        entry["confusion_matrix"] == [[1, 1], [0, 2]]
        and entry["selective"]["ua"] == 1.0
        and entry["selective"]["ua_gain"] == 0.25
    )
    assert [point["risk"] for point in entry["risk_coverage"]][-1] == 0.25


def test_dimensions_are_measured_where_they_are_annotated():
    from dataclasses import replace

    data, answers = scored(["anger", "joy", "joy"], [[1, 0], [0, 1], [0, 1]])
    clips = [
        replace(clip, row=replace(clip.row, valence=value))
        for clip, value in zip(data.clips, (1.0, 2.0, None), strict=True)
    ]
    data = EvaluatedRows(clips).score(["anger", "joy"])
    answers = replace(answers, dimensions={"valence": np.array([1.0, 2.0, 9.0]), "arousal": np.zeros(3)})
    found = system_figures([answers], data, 5)["dimensions"]
    assert list(found) == ["valence"] and found["valence"]["clips"] == 2 and found["valence"]["ccc"] == 1.0


def test_the_difference_is_on_common_clips_and_pairs_them():
    data, one = scored(["anger", "joy", "anger", "joy"], [[1, 0], [0, 1], [1, 0], [0, 1]])
    other = Answers(one.question, (1, 2), np.array([[1.0, 0.0], [1.0, 0.0]]))
    gain = difference(Pooled.of([one], data), Pooled.of([other], data), data, 50)
    assert gain["clips"] == 2 and gain["ua"] == 1.0 and gain["against_ua"] == 0.5 and gain["difference"] == 0.5
    assert (
        difference(Pooled.of([one], data), Pooled.of([Answers(one.question, (), np.zeros((0, 2)))], data), data, 5)
        is None
    )


def test_buckets_hold_every_duration():
    assert [bucket(value) for value in (0.0, 0.99, 1.0, 3.9, 15.9, 16.0)] == [
        "below 1 s", "below 1 s", "1 to 2 s", "2 to 4 s", "8 to 16 s", "16 s and more",
    ]  # fmt: skip


def test_word_errors_leave_out_scripts_without_spaces():
    def clip(text, language):
        return SimpleNamespace(row=ManifestRow(text=text, language=language))

    clips = [clip("Kids are talking.", "en"), clip("Ich bin froh", "de"), clip("你好吗", "zh"), clip(None, "en")]
    words = {0: ("kids were talking", "en"), 1: ("", "de"), 2: ("你 好", "zh"), 3: ("noise", "en")}
    found = word_errors(clips, words, range(4))
    assert found["clips"] == 2 and found["silent"] == 1 and found["without_spaces"] == 1
    assert found["wer"] == pytest.approx(4 / 6) and found["wer_as_written"] == pytest.approx(6 / 6)
    assert found["by_language"]["en"] == {"clips": 1, "wer": pytest.approx(1 / 3)}


def test_each_condition_disturbs_as_strongly_as_it_says():
    speech = synthetic_speech(1.0, seed=3)
    named = {condition.name: condition for condition in conditions()}
    assert {condition.kind for condition in named.values()} >= {"noise", "echo", "room", "telephone", "clipping"}
    for snr in (20, 10, 0):
        disturbed = disturbance(named[f"noise, {snr} dB"])(speech, "a")
        scale = float(speech @ disturbed) / float(
            speech @ speech
        )  # a clip that gets too loud is turned down as a whole
        noise = disturbed / scale - speech
        assert 10 * np.log10(np.square(speech).sum() / np.square(noise).sum()) == pytest.approx(snr, abs=1.0)
    for name, condition in named.items():
        disturbed = disturbance(condition)(speech, "a")
        assert len(disturbed) == len(speech) and not np.allclose(disturbed, speech, atol=1e-3), name
        np.testing.assert_array_equal(disturbed, disturbance(condition)(speech, "a"))
    peak = np.abs(speech).max()
    assert np.abs(disturbance(named["clipping at 10%"])(speech, "a")).max() == pytest.approx(0.1 * peak, rel=1e-3)


def test_the_interval_of_a_calibration_error_holds_it():
    generator = np.random.default_rng(3)
    truth = generator.choice(["anger", "joy", "fear"], 36)
    clips = [
        Clip(ManifestRow(text=str(at), emotion=name, speaker=f"s{at // 6}"), str(at), 0.0)
        for at, name in enumerate(truth)
    ]
    data = EvaluatedRows(clips).score(["anger", "joy", "fear"])
    for seed in range(5):
        probabilities = np.random.default_rng(seed).dirichlet([1.0, 1.0, 1.0], 36)
        entry = system_figures([Answers(Question("m", "model", "text"), tuple(range(36)), probabilities)], data, 200)
        low, high = entry["intervals"]["ece"]
        assert 0 <= low <= entry["figures"]["ece"] <= high
