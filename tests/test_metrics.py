import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_ser.errors import InputError
from multimodal_ser.metrics import (
    SHELLS,
    accuracy,
    area_under_risk_coverage,
    as_evaluate_metric,
    bootstrap_interval,
    concordance_correlation,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    per_class_recall,
    reliability_curve,
    risk_coverage,
    scores,
    unweighted_average_recall,
    weighted_f1,
    word_error_rate,
)  # fmt: skip


def random_pair(seed, size=None, classes=None):
    generator = np.random.default_rng(seed)
    classes = classes or int(generator.integers(1, 12))
    size = size or int(generator.integers(1, 60))
    used = generator.permutation(classes)[
        : generator.integers(1, classes + 1)
    ]  # the others occur nowhere in the references
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
    assert np.array_equal(
        confusion_matrix(true, guessed, classes), metrics.confusion_matrix(true, guessed, labels=range(classes))
    )


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
    assert macro_f1(true, guessed) == pytest.approx(9 / 19) and weighted_f1(true, guessed) == pytest.approx(
        0.9 * 18 / 19
    )


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
    assert concordance_correlation(x, x) == pytest.approx(1) and concordance_correlation(
        x, -x + 2 * x.mean()
    ) == pytest.approx(-1)
    assert concordance_correlation(x, x + 1) < 1 and concordance_correlation(x, 2 * x) < 1
    assert concordance_correlation(x, [5.0, 5.0, 5.0]) == 0 and concordance_correlation([1.0], [2.0]) == 0
    assert np.isnan(concordance_correlation([2.0, 2.0], [2.0, 2.0]))


@pytest.mark.parametrize("value", [0.1, 1e-9, 1 / 3, 1e9 + 0.1])
@pytest.mark.parametrize("count", [1, 3, 10, 1000])
def test_what_does_not_vary_agrees_with_nothing_however_its_variance_is_rounded(value, count):
    same = [value] * count
    assert np.isnan(concordance_correlation(same, same))
    assert concordance_correlation(same, [2 * value] * count) == 0.0
    assert np.isnan(concordance_correlation(same, [*same[1:], float("nan")]))  # a prediction that is NaN
    if count > 1:
        assert (
            concordance_correlation([*same[1:], 2 * value], same)
            == 0.0
            == concordance_correlation(same, [*same[1:], 2 * value])
        )


def test_concordance_leaves_out_what_nobody_annotated():
    nan = float("nan")
    assert concordance_correlation([1, nan, 2, 3], [2, 9, 2, 4]) == pytest.approx(
        concordance_correlation([1, 2, 3], [2, 2, 4])
    )
    assert np.isnan(
        concordance_correlation([1, 2, 3], [2, nan, 4])
    )  # a prediction that is NaN is no missing annotation
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


@given(PAIRS)
@settings(deadline=None)
def test_recall_of_each_class_as_scikit_learn_counts_it(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    true, guessed = map(list, zip(*pairs, strict=True))
    expected = metrics.recall_score(true, guessed, labels=range(7), average=None, zero_division=np.nan)
    recall = per_class_recall(true, guessed, 7)
    assert recall.shape == (7,) and np.isnan(recall[6])
    np.testing.assert_allclose(recall, expected, atol=1e-12)
    assert np.nanmean(recall) == pytest.approx(unweighted_average_recall(true, guessed), abs=1e-12)


def random_probabilities(seed, size=None, classes=None, ties=False):
    generator = np.random.default_rng(seed)
    classes = classes or int(generator.integers(1, 9))
    size = size or int(generator.integers(1, 80))
    probabilities = generator.dirichlet(np.full(classes, 0.4), size)
    if ties:
        probabilities = probabilities[generator.integers(0, max(1, size // 4), size)]
    return generator.integers(0, max(1, classes - 1), size), probabilities  # the last class does not occur


@pytest.mark.parametrize("seed", range(60))
def test_calibration_error_as_written_out(seed):
    true, probabilities = random_probabilities(seed)
    bins = seed % 15 + 1
    total = 0.0
    for k in range(bins):
        inside = [i for i, row in enumerate(probabilities) if k / bins < max(row) <= (k + 1) / bins]
        if inside:
            right = sum(int(np.argmax(probabilities[i]) == true[i]) for i in inside) / len(inside)
            total += len(inside) / len(true) * abs(right - sum(max(probabilities[i]) for i in inside) / len(inside))
    assert expected_calibration_error(true, probabilities, bins) == pytest.approx(total, abs=1e-9)
    curve = reliability_curve(true, probabilities, bins)
    assert len(curve) == bins and sum(each["count"] for each in curve) == len(true)
    assert all(np.isnan(each["accuracy"]) and np.isnan(each["confidence"]) for each in curve if not each["count"])
    assert all(each["lower"] < each["confidence"] <= each["upper"] + 1e-12 for each in curve if each["count"])
    right = (probabilities.argmax(1) == true).mean()
    assert sum(each["count"] * each["accuracy"] for each in curve if each["count"]) / len(true) == pytest.approx(
        right, abs=1e-9
    )


def test_calibration_error_of_one_bin_is_confidence_minus_accuracy_and_edges_belong_below():
    true, probabilities = random_probabilities(3, size=40, classes=4)
    gap = abs(probabilities.max(1).mean() - accuracy(true, probabilities.argmax(1)))
    assert expected_calibration_error(true, probabilities, bins=1) == pytest.approx(gap, abs=1e-12)
    curve = reliability_curve([0, 0], [[0.5, 0.5], [1.0, 0.0]], bins=2)
    assert [each["count"] for each in curve] == [1, 1]
    assert expected_calibration_error([0], [[1.0, 0.0]]) == 0 and expected_calibration_error([1], [[1.0, 0.0]]) == 1


@pytest.mark.parametrize("seed", range(30))
def test_risk_and_coverage_as_written_out(seed):
    true, probabilities = random_probabilities(seed, ties=False)
    order = sorted(range(len(true)), key=lambda i: -max(probabilities[i]))
    wrong = [int(np.argmax(probabilities[i]) != true[i]) for i in order]
    expected = [sum(wrong[: k + 1]) / (k + 1) for k in range(len(wrong))]
    coverage, risk = risk_coverage(true, probabilities)
    if len(set(probabilities.max(1).tolist())) == len(true):
        np.testing.assert_allclose(risk, expected, atol=1e-9)
        assert area_under_risk_coverage(true, probabilities) == pytest.approx(sum(expected) / len(expected), abs=1e-9)
    np.testing.assert_allclose(coverage, [(k + 1) / len(true) for k in range(len(true))], atol=1e-12)
    assert risk[-1] == pytest.approx(1 - accuracy(true, probabilities.argmax(1)))


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_risk_does_not_depend_on_the_order_of_clips(seed, random):
    true, probabilities = random_probabilities(seed, ties=True)
    order = list(range(len(true)))
    random.shuffle(order)
    np.testing.assert_allclose(
        risk_coverage(true[order], probabilities[order])[1], risk_coverage(true, probabilities)[1], atol=1e-12
    )


def test_the_surer_a_model_is_where_it_is_right_the_smaller_the_area():
    sure_where_right = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]
    sure_where_wrong = [[0.6, 0.4], [0.6, 0.4], [0.9, 0.1]]
    assert area_under_risk_coverage([0, 0, 1], sure_where_right) < area_under_risk_coverage([0, 0, 1], sure_where_wrong)


@pytest.mark.parametrize(
    "function", [expected_calibration_error, reliability_curve, risk_coverage, area_under_risk_coverage]
)
@pytest.mark.parametrize(
    ("true", "probabilities", "message"),
    [
        ([0, 1], [[2.5, -1.0], [0.5, 0.5]], "logits become probabilities by a softmax"),
        ([0], [[0.2, 0.2]], r"got \[0.2 0.2\] in row 0"),
        ([0], [[np.nan, 1.0]], "rows of probabilities"),
        ([0, 1], [[0.5, 0.5]], "expected one for each reference"),
        ([2], [[0.5, 0.5]], "references: expected class indices 0 to 1, got 2"),
        ([0], [0.5], r"probabilities: expected \(N, C\), got \(1,\)"),
        ([], np.zeros((0, 2)), "references: expected at least one"),
    ],
)
def test_what_is_no_probability_is_told(function, true, probabilities, message):
    with pytest.raises(InputError, match=message):
        function(true, probabilities)


def test_bins_are_a_number():
    for bins in (0, -1, 2.5):
        with pytest.raises(InputError, match="bins: expected a whole number above 0"):
            reliability_curve([0], [[1.0]], bins)


WORD_LISTS = st.lists(st.sampled_from(["a", "dog", "door", "kids"]), max_size=6).map(" ".join)


@given(st.lists(st.tuples(WORD_LISTS, WORD_LISTS), min_size=1, max_size=6))
@settings(deadline=None)
def test_word_error_rate_as_jiwer_and_as_written_out(pairs):
    jiwer = pytest.importorskip("jiwer")
    true, heard = map(list, zip(*pairs, strict=True))
    rate = word_error_rate(true, heard)
    assert rate == pytest.approx(jiwer.wer(true, heard), abs=1e-9)
    edits, words = 0, sum(len(text.split()) for text in true)
    for one, other in pairs:
        row = list(range(len(other.split()) + 1))
        for i, word in enumerate(one.split(), 1):
            above, row[0] = row[0], i
            for j, guess in enumerate(other.split(), 1):
                above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (word != guess))
        edits += row[-1]
    assert rate == pytest.approx(edits / (words or 1), abs=1e-9)


def test_word_error_rate_may_leave_case_and_punctuation_aside():
    pytest.importorskip("jiwer")
    assert word_error_rate(["Kids are talking."], ["kids are talking"]) == pytest.approx(2 / 3)
    assert word_error_rate(["Kids are talking."], ["kids are talking"], normalize=True) == 0


@pytest.mark.parametrize(
    ("true", "heard", "message"),
    [
        ([], [], "got 0 references"),
        (["a"], [], "1 references and 0 hypotheses"),
        (["a"], [None], "hypotheses: expected texts, got NoneType at 0"),
        ("a", ["a"], "expected lists of texts"),
    ],
)
def test_what_is_no_transcript_is_told(true, heard, message):
    with pytest.raises(InputError, match=message):
        word_error_rate(true, heard)


def test_the_interval_is_that_of_resampled_speakers():
    generator = np.random.default_rng(0)
    speakers = np.repeat(np.arange(8), 30)
    right = (generator.random(240) < np.repeat(generator.random(8), 30)).astype(float)  # speakers differ by far
    low, high = bootstrap_interval(lambda rows: right[rows].mean(), speakers, seed=1)
    assert low < right.mean() < high
    assert (low, high) == bootstrap_interval(lambda rows: right[rows].mean(), [f"s{s}" for s in speakers], seed=1)
    by_clip = bootstrap_interval(lambda rows: right[rows].mean(), np.arange(240), seed=1)
    assert (
        by_clip[1] - by_clip[0] < (high - low) / 2
    )  # clips of a speaker are alike: taking them as independent promises too much
    narrow = bootstrap_interval(lambda rows: right[rows].mean(), speakers, level=0.5, seed=1)
    assert low < narrow[0] < narrow[1] < high
    # written out
    means = []
    draws = np.random.default_rng(1).integers(0, 8, (1000, 8))
    for drawn in draws:
        means.append(np.mean([right[speakers == s].mean() for s in drawn]))  # all speakers have as many clips
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1e-9)


def test_whole_groups_come_back_as_often_as_they_were_drawn():
    groups = ["a", "b", "a", "c"]

    def check(rows):
        counts = np.bincount(rows, minlength=4)
        assert counts[0] == counts[2] and counts[0] + counts[1] + counts[3] == 3
        return float(counts[0])

    bootstrap_interval(check, groups, resamples=50)


def test_a_centred_interval_holds_a_figure_that_resamples_make_worse():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), 60)
    references = np.array([generator.choice(4, p=row) for row in probabilities])  # perfectly calibrated

    def ece(rows):
        return expected_calibration_error(references[rows], probabilities[rows])

    plain, centred = (bootstrap_interval(ece, np.arange(60), centred=centred) for centred in (False, True))
    assert centred[0] <= ece(np.arange(60)) <= centred[1] and centred[0] < plain[0]
    assert centred[1] - centred[0] == pytest.approx(plain[1] - plain[0])
    values = generator.standard_normal(60)  # of a mean, which resamples do not shift, nothing changes but noise
    one, other = (
        bootstrap_interval(lambda rows: values[rows].mean(), np.arange(60), centred=c, resamples=2000)
        for c in (False, True)
    )
    assert one == pytest.approx(other, abs=0.02)


def test_of_one_speaker_no_interval_follows():
    assert np.isnan(bootstrap_interval(lambda rows: 1.0, ["a", "a"])).all()
    assert np.isnan(bootstrap_interval(lambda rows: float("nan"), ["a", "b"])).all()
    for wrong in ({"groups": []}, {"level": 1.0}, {"level": 95}, {"resamples": 0}):
        with pytest.raises(InputError):
            bootstrap_interval(lambda rows: 1.0, **({"groups": ["a", "b"]} | wrong))


def test_shells_combine(tmp_path):
    evaluate = pytest.importorskip("evaluate")
    true, probabilities = random_probabilities(1, size=30, classes=4)
    guessed = probabilities.argmax(1)
    metrics = [as_evaluate_metric(name, cache_dir=str(tmp_path)) for name in ("emotion_scores", "ece", "ccc", "aurc")]
    assert len({metric.name for metric in metrics}) == 4
    combined = evaluate.combine(metrics)
    expected = scores(true, guessed, 4) | {
        "ece": expected_calibration_error(true, probabilities), "ccc": concordance_correlation(true, guessed), "aurc": area_under_risk_coverage(true, probabilities),
    }  # fmt: skip
    assert combined.compute(references=true, predictions=guessed, probabilities=probabilities) == pytest.approx(
        expected, abs=1e-12
    )
    for part in (slice(0, 13), slice(13, 30)):
        combined.add_batch(references=true[part], predictions=guessed[part], probabilities=probabilities[part])
    assert combined.compute() == pytest.approx(expected, abs=1e-12)
    two = evaluate.combine(
        [as_evaluate_metric("ua", cache_dir=str(tmp_path)), as_evaluate_metric("macro_f1", cache_dir=str(tmp_path))]
    )
    assert two.compute(references=true, predictions=guessed) == pytest.approx(
        {name: expected[name] for name in ("ua", "macro_f1")}
    )


def test_each_shell_gives_what_its_function_gives():
    pytest.importorskip("evaluate")
    pytest.importorskip("jiwer")
    true, probabilities = random_probabilities(2, size=20, classes=3)
    for name, (given_name, kind, function) in SHELLS.items():
        values = {"probabilities": probabilities, "predictions": probabilities.argmax(1)}[given_name]
        references = true
        if kind == "string":
            references, values = ["kids are talking", "by the door"], ["kids talk", "by the door"]
        got = as_evaluate_metric(name, keep_in_memory=True).compute(references=references, **{given_name: values})
        expected = function(references, values)
        assert got == (expected if isinstance(expected, dict) else {name: expected})
    with pytest.raises(InputError, match="expected one of emotion_scores, accuracy"):
        as_evaluate_metric("f2")
