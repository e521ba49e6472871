import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_ser.errors import InputError
from multimodal_ser.metrics import (
    accuracy,
    as_evaluate_metric,
    concordance_correlation,
    confusion_matrix,
    macro_f1,
    scores,
    unweighted_average_recall,
    weighted_f1,
)  # fmt: skip


def random_pair(seed, size=None, classes=None):
    generator = np.random.default_rng(seed)
    classes = classes or int(generator.integers(1, 12))
    size = size or int(generator.integers(1, 60))
    used = generator.permutation(classes)[: generator.integers(1, classes + 1)]  # the others occur nowhere in the references
    return generator.choice(used, size), generator.integers(0, classes, size), classes


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("seed", range(100))
def test_as_scikit_learn_counts(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    true, guessed, classes = random_pair(seed)
    occurs = sorted(set(true.tolist()))
    expected = {
        "accuracy": metrics.accuracy_score(true, guessed),
        "ua": metrics.recall_score(true, guessed, labels=occurs, average="macro", zero_division=0),
        "macro_f1": metrics.f1_score(true, guessed, average="macro"),
        "weighted_f1": metrics.f1_score(true, guessed, average="weighted"),
    }
    assert scores(true, guessed, classes) == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(confusion_matrix(true, guessed, classes), metrics.confusion_matrix(true, guessed, labels=range(classes)))


PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


@given(PAIRS, st.permutations(range(6)))
@settings(deadline=None)
def test_scores_do_not_depend_on_the_order_of_clips_or_classes(pairs, renamed):
    true, guessed = map(list, zip(*pairs, strict=True))
    before = scores(true, guessed, 6)
    assert all(0 <= value <= 1 for value in before.values())
    after = scores([renamed[c] for c in reversed(true)], [renamed[c] for c in reversed(guessed)], 6)
    assert after == pytest.approx(before, abs=1e-12)
    matrix = confusion_matrix(true, guessed, 6)
    assert matrix.sum() == len(true) and np.trace(matrix) / len(true) == pytest.approx(before["accuracy"])


def test_ua_does_not_mind_how_often_a_class_occurs_and_accuracy_does():
    true, guessed = [0] * 9 + [1], [0] * 10
    assert accuracy(true, guessed) == 0.9 and unweighted_average_recall(true, guessed) == 0.5
    assert macro_f1(true, guessed) == pytest.approx(9 / 19) and weighted_f1(true, guessed) == pytest.approx(0.9 * 18 / 19)


def test_a_single_clip():
    assert set(scores([3], [3], 5).values()) == {1.0} and set(scores([3], [0], 5).values()) == {0.0}


def test_numbers_come_out_plain_and_tensors_go_in():
    torch = pytest.importorskip("torch")
    result = scores(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), 2)
    assert all(type(value) is float for value in result.values()) and result["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("true", "guessed", "message"),
    [
        ([], [], "references: expected at least one, got none"),
        ([0, 1], [0], r"predictions: expected one for each reference, both \(N,\), got \(2,\) and \(1,\)"),
        ([[0, 1]], [[0, 1]], r"both \(N,\)"),
        ([0, -1], [0, 1], "references: expected class indices from 0, got -1"),
        ([0, 1], [0.2, 0.8], "predictions: expected class indices from 0, got float64"),
        (["joy"], ["joy"], "references: expected class indices"),
        ([0, 1], [0, 3], "predictions: expected class indices 0 to 2, got 3"),
    ],
)
def test_what_is_no_class_is_told(true, guessed, message):
    with pytest.raises(InputError, match=message):
        scores(true, guessed, 3)


@pytest.mark.parametrize("seed", range(30))
def test_concordance_as_written_out(seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(3, 2, 50)
    y = 0.5 * x + generator.normal(1, 1, 50)
    mx, my = sum(x) / 50, sum(y) / 50
    covariance = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / 50
    spread = sum((a - mx) ** 2 for a in x) / 50 + sum((b - my) ** 2 for b in y) / 50 + (mx - my) ** 2
    assert concordance_correlation(x, y) == pytest.approx(2 * covariance / spread, abs=1e-9)
    assert concordance_correlation(x, y) == pytest.approx(concordance_correlation(y, x))
    pearson = np.corrcoef(x, y)[0, 1]
    shape = 2 * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)  # Lin's other form
    assert concordance_correlation(x, y) == pytest.approx(pearson * shape, abs=1e-9)


def test_concordance_knows_shift_and_scale():
    x = np.array([1.0, 2.0, 4.0])
    assert concordance_correlation(x, x) == pytest.approx(1) and concordance_correlation(x, -x + 2 * x.mean()) == pytest.approx(-1)
    assert concordance_correlation(x, x + 1) < 1 and concordance_correlation(x, 2 * x) < 1
    assert concordance_correlation(x, [5.0, 5.0, 5.0]) == 0 and concordance_correlation([1.0], [2.0]) == 0
    assert np.isnan(concordance_correlation([2.0, 2.0], [2.0, 2.0]))


def test_concordance_leaves_out_what_nobody_annotated():
    nan = float("nan")
    assert concordance_correlation([1, nan, 2, 3], [2, 9, 2, 4]) == pytest.approx(concordance_correlation([1, 2, 3], [2, 2, 4]))
    assert np.isnan(concordance_correlation([1, 2, 3], [2, nan, 4]))  # a prediction that is NaN is no missing annotation
    with pytest.raises(InputError, match="none that is not NaN"):
        concordance_correlation([nan], [1.0])


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_shell_of_evaluate_works_without_a_network(monkeypatch, tmp_path, in_memory):
    evaluate = pytest.importorskip("evaluate")

    def no_network(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    metric = as_evaluate_metric(keep_in_memory=in_memory, cache_dir=str(tmp_path))
    true, guessed, _ = random_pair(0, size=40, classes=5)
    expected = scores(true, guessed, 5)
    assert isinstance(metric, evaluate.Metric) and metric.compute(references=true, predictions=guessed) == expected
    metric.add_batch(references=true[:25], predictions=guessed[:25])
    metric.add_batch(references=true[25:], predictions=guessed[25:])
    assert metric.compute() == expected
    combined = evaluate.combine([as_evaluate_metric(keep_in_memory=in_memory, cache_dir=str(tmp_path))])
    assert combined.compute(references=true, predictions=guessed) == expected
