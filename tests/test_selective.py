"""Selective prediction: conformal sets cover as promised, thresholds keep the error, predictions abstain and carry their label set."""

import itertools
import json
import math

import numpy as np
import pytest

from multimodal_ser.calibration.run import confidence_threshold, conformal_sets, conformal_threshold
from multimodal_ser.errors import InputError
from multimodal_ser.inference.conformal import nonconformity
from multimodal_ser.testing import synthetic_speech, tiny_model

SETS = ("lac", "aps")


def softmax(logits):
    values = np.exp(logits - logits.max(-1, keepdims=True))
    return values / values.sum(-1, keepdims=True)


def drawn(count, temperature=1.0, classes=4, seed=0):
    """Logits, and references that are drawn from softmax(logits / temperature)."""
    generator = np.random.default_rng(seed)
    logits = 3 * generator.standard_normal((count, classes))
    chances = softmax(logits / temperature).cumsum(1)
    return logits, (generator.random((count, 1)) > chances[:, :-1]).sum(1)


# conformal prediction


@pytest.mark.parametrize("method", SETS)
def test_conformal_sets_cover_as_promised(method):
    """Mean coverage over many draws of 99 clips is 0.9 to 0.91 for LAC, more for APS (no randomised scores); sets are never empty."""
    covered, logits_references = [], drawn(120_000, seed=2)
    probabilities, references = softmax(logits_references[0]), logits_references[1]
    for at in range(0, 120_000, 200):
        known, new = slice(at, at + 99), slice(at + 99, at + 200)
        threshold = conformal_threshold(probabilities[known], references[known], 0.9, method=method)
        inside = conformal_sets(probabilities[new], threshold, method=method)
        assert inside.any(1).all()
        covered.append(inside[np.arange(len(inside)), references[new]].mean())
    assert 0.895 < np.mean(covered) < (0.915 if method == "lac" else 0.97)


def test_the_quantile_is_that_of_the_finite_sample():
    probabilities = np.array([[p, 1 - p] for p in (0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.4, 0.3, 0.2)])
    zeros = np.zeros(9, dtype=int)
    assert conformal_threshold(probabilities, zeros, 0.9) == pytest.approx(0.8)  # ceil(10 * 0.9) = 9th of 9
    assert conformal_threshold(probabilities, zeros, 0.5) == pytest.approx(0.45)  # the 5th
    assert conformal_threshold(probabilities[:8], zeros[:8], 0.9) == 1.0  # the 9th of 8: all labels
    assert conformal_sets(probabilities, 1.0).all() and conformal_sets(probabilities, 1.0, method="aps").all()


def test_sets_grow_with_coverage_and_the_top_label_stays():
    logits, references = drawn(500, seed=4)
    probabilities = softmax(logits)
    for method in SETS:
        sets = [conformal_sets(probabilities, conformal_threshold(probabilities, references, c, method=method), method=method)
                for c in (0.05, 0.9, 0.97, 0.995)]  # fmt: skip
        for small, large in itertools.pairwise(sets):
            assert (small <= large).all()
        assert sets[0].sum() < sets[-1].sum()
        top = conformal_sets(probabilities, 0.0, method=method)
        assert (top.sum(1) == 1).all() and (top.argmax(1) == probabilities.argmax(1)).all()


def test_a_promise_to_new_speakers_holds_where_that_to_clips_does_not():
    """Speakers, each with a level of their own: by clip too few of a new speaker are covered on average, by speaker enough."""
    generator, covered = np.random.default_rng(0), {False: [], True: []}
    for _ in range(120):
        level = generator.normal(0.5, 1.5, 11)
        logits = np.stack([np.stack([generator.normal(l, 0.3, 30), np.zeros(30)], 1) for l in level])  # noqa: E741
        probabilities, zeros = softmax(logits), np.zeros(300, dtype=int)
        for by_speaker in covered:
            speakers = np.repeat(np.arange(10), 30).astype(str) if by_speaker else None
            threshold = conformal_threshold(probabilities[:10].reshape(-1, 2), zeros, 0.9, speakers=speakers)
            covered[by_speaker].append((nonconformity(probabilities[10])[:, 0] <= threshold).mean())
    assert np.mean(covered[True]) >= 0.9 > np.mean(covered[False])
    each = [str(i) for i in range(300)]
    logits, references = drawn(300, seed=9)
    assert conformal_threshold(softmax(logits), references, speakers=each) == conformal_threshold(
        softmax(logits), references
    )
    assert (
        conformal_threshold(softmax(logits), references, speakers=["a"] * 150 + ["b"] * 150) == 1.0
    )  # two speakers promise nothing


def test_wrong_conformal_options_are_told():
    good = np.full((3, 2), 0.5)
    for options in ({"coverage": 1.0}, {"coverage": 90}, {"coverage": True}, {"method": "raps"}, {"speakers": ["a"]}):
        with pytest.raises(InputError, match=next(iter(options))):
            conformal_threshold(good, [0, 1, 0], **options)
    with pytest.raises(InputError, match="softmax"):
        conformal_threshold([[3.0, -1.0]], [0])


# selective prediction


def test_the_confidence_threshold_is_the_lowest_that_keeps_the_error():
    logits, references = drawn(800, seed=6)
    probabilities = softmax(logits)
    confidence, wrong = probabilities.max(1), probabilities.argmax(1) != references
    for error in (0.02, 0.1, 0.2):
        found = confidence_threshold(probabilities, references, error)
        kept = confidence >= found.threshold
        assert (
            found.kept == kept.sum() and found.share == kept.mean() and found.error == pytest.approx(wrong[kept].mean())
        )
        assert found.error <= error
        for lower in confidence[confidence < found.threshold]:
            assert wrong[confidence >= lower].mean() > error
    assert confidence_threshold(probabilities, references, 0.99).kept == 800


def test_equally_sure_predictions_are_kept_together_or_not_at_all():
    tied = np.array([[0.8, 0.2]] * 4)
    assert confidence_threshold(tied, [0, 0, 0, 1], 0.2).kept == 0
    assert confidence_threshold(tied, [0, 0, 0, 1], 0.25).kept == 4
    assert confidence_threshold(tied, [1, 1, 1, 1], 0.5).threshold == math.inf
    with pytest.raises(InputError, match="error"):
        confidence_threshold(tied, [0, 0, 0, 1], 20)


def test_a_prediction_that_abstains_keeps_its_label():
    model = tiny_model()
    [clip] = [synthetic_speech(1.0)]
    plain = model.predict(clip, sampling_rate=16000)
    assert not plain.abstained and str(plain) == f"{plain.label} ({plain.confidence:.2f})"
    unsure = model.predict(clip, sampling_rate=16000, abstain_below=min(1.0, plain.confidence + 0.01))
    assert unsure.abstained and unsure.label == plain.label and str(unsure).startswith(f"uncertain ({plain.label}")
    assert not model.predict(
        clip, sampling_rate=16000, abstain_below=plain.confidence
    ).abstained  # as sure as asked for
    assert unsure.to_dict()["abstained"] is True and json.loads(json.dumps(plain.to_dict()))["abstained"] is False
    for wrong in (60, -0.1, math.nan, "0.6", True):
        with pytest.raises(InputError, match="abstain_below"):
            model.predict(clip, sampling_rate=16000, abstain_below=wrong)


# label sets of predictions


def conformal(**fields):
    return {"coverage": 0.9, "threshold": 0.7, "method": "lac", "label_set": "native"} | fields


def test_predictions_have_the_label_set_of_their_case():
    model = tiny_model(labels=("anger", "joy", "neutral", "calm"))
    assert model.predict(text="hello you").conformal_labels is None
    for method in SETS:
        model.config.conformal = {"text": conformal(method=method)}
        prediction = model.predict(text="hello you")
        values = np.array([list(prediction.probabilities.values())])
        inside = conformal_sets(values, 0.7, method=method)[0]
        named = {label for label, here in zip(prediction.probabilities, inside, strict=True) if here}
        assert set(prediction.conformal_labels) == named and prediction.conformal_labels[0] == prediction.label
        assert prediction.to_dict()["conformal_labels"] == list(prediction.conformal_labels)
    model.config.conformal = {"text": conformal(threshold=0.0)}
    alone = model.predict(text="hello you")
    assert alone.conformal_labels == (alone.label,)
    assert model.predict(synthetic_speech(1.0), sampling_rate=16000).conformal_labels is None
    model.config.conformal = {"text": conformal(threshold=1.0)}
    assert len(model.predict(text="hello you").conformal_labels) == 4


def test_merged_labels_keep_the_promise_or_have_none():
    model = tiny_model(labels=("anger", "joy", "neutral", "calm"))
    model.config.conformal = {"text": conformal(threshold=0.75)}
    native = model.predict(text="hello you")
    merged = model.predict(text="hello you", label_set="ekman")
    names = {"joy": "happiness", "calm": "neutral"}
    assert {names.get(label, label) for label in native.conformal_labels} <= set(merged.conformal_labels)
    model.config.conformal = {"text": conformal(method="aps")}  # sums down to a label say nothing of merged ones
    assert model.predict(text="hello you", label_set="ekman").conformal_labels is None
    model.config.conformal = {"text": conformal(label_set="ekman")}
    assert model.predict(text="hello you").conformal_labels is None
    assert model.predict(text="hello you", label_set="ekman").conformal_labels
