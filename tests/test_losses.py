import pytest
import torch
from torch.nn import functional as F

from multimodal_ser.model.losses import concordance_loss, emotion_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.1, 0.2, 0.3, -2.0], [1.0, 1.0, -1.0, 0.0]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 3.0]])
def test_class_indices_are_cross_entropy(smoothing, weights):
    labels = torch.tensor([0, 3, 2])
    tensor = torch.ones(4) if weights is None else torch.tensor(weights)
    each = F.cross_entropy(LOGITS, labels, reduction="none", label_smoothing=smoothing)
    expected = (each * tensor[labels]).sum() / tensor[labels].sum()
    torch.testing.assert_close(emotion_loss(LOGITS, labels, smoothing, weights), expected)
    one_hot = F.one_hot(labels, 4)
    torch.testing.assert_close(emotion_loss(LOGITS, one_hot.bool(), smoothing, weights), expected)
    if weights is None:
        torch.testing.assert_close(emotion_loss(LOGITS, one_hot.float(), smoothing), expected)


def test_smoothing_does_not_teach_frequent_rows_the_rare_class():
    logits = torch.zeros(2, 2, requires_grad=True)  # a row of the frequent class, a row of the rare one
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        emotion_loss(logits, torch.tensor([0, 1]), 0.1, [0.5, 50.0]).backward()
        optimizer.step()
    own = logits.softmax(-1).diagonal()
    torch.testing.assert_close(
        own, torch.tensor([0.95, 0.95]), atol=0.02, rtol=0
    )  # with torch's own smoothing the first is 0.16


def test_soft_targets_are_cross_entropy():
    targets = torch.tensor([[0.7, 0.3, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0, 1.0, 0]])
    torch.testing.assert_close(emotion_loss(LOGITS, targets), F.cross_entropy(LOGITS, targets))


def test_admissible_classes_are_the_probability_of_the_set():
    sets = torch.tensor([[True, True, False, False], [False, True, True, True], [True, False, False, False]])
    probabilities = (LOGITS.softmax(-1) * sets).sum(-1)
    torch.testing.assert_close(emotion_loss(LOGITS, sets), -probabilities.log().mean())
    everything = torch.ones_like(sets)
    assert emotion_loss(LOGITS, everything).abs() < 1e-6


def test_gradient_leaves_the_division_within_a_set_alone():
    logits = LOGITS[:1].clone().requires_grad_()
    emotion_loss(logits, torch.tensor([[True, True, False, False]])).backward()
    inside = logits.softmax(-1)[0, :2]
    torch.testing.assert_close(logits.grad[0, 0] / logits.grad[0, 1], inside[0] / inside[1])


def test_rows_without_a_label_do_not_count():
    expected = F.cross_entropy(LOGITS[:1], torch.tensor([1]))
    torch.testing.assert_close(emotion_loss(LOGITS, torch.tensor([1, -100, -100])), expected)
    torch.testing.assert_close(
        emotion_loss(LOGITS, torch.tensor([[False, True, False, False], [False] * 4, [False] * 4])), expected
    )
    logits = LOGITS.clone().requires_grad_()
    loss = emotion_loss(logits, torch.tensor([-100, -100, -100]), 0.1)
    loss.backward()
    assert loss == 0 and not logits.grad.any()


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(3), torch.zeros(3, 5, dtype=torch.bool), torch.zeros(2, 4), torch.zeros(3, 4, dtype=torch.long)],
)
def test_other_labels_are_told(labels):
    with pytest.raises(ValueError, match="labels: expected class indices"):
        emotion_loss(LOGITS, labels)


def test_concordance():
    x, y = (
        torch.randn(50, 2, generator=torch.Generator().manual_seed(0)),
        torch.randn(50, 2, generator=torch.Generator().manual_seed(1)),
    )
    written_out = []
    for i in range(2):
        a, b = x[:, i], y[:, i]
        covariance = ((a - a.mean()) * (b - b.mean())).mean()
        written_out.append(
            1 - 2 * covariance / (a.var(unbiased=False) + b.var(unbiased=False) + (a.mean() - b.mean()) ** 2)
        )
    torch.testing.assert_close(concordance_loss(x, y), torch.stack(written_out).mean())
    assert concordance_loss(y, y) < 1e-5
    half = y.clone()
    half[25:, 0] = float("nan")
    half[:, 1] = float("nan")
    torch.testing.assert_close(concordance_loss(x, half), concordance_loss(x[:25, :1], y[:25, :1]))
    assert concordance_loss(x, torch.full_like(x, float("nan"))) == 0
