"""The losses of training: for sets of admissible classes, and for the concordance of dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

IGNORED = -100
"""The class index of a row without a label, as everywhere in torch and transformers."""


def emotion_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    shares: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy against class indices, soft targets, or sets of admissible classes.

    A set's loss is -log of its probability, the softmax over all classes: a corpus that merges "calm" into "neutral" says
    {neutral, calm}, and the model is free to divide the probability between them (learning from partial labels, Jin and Ghahramani 2002,
    https://papers.nips.cc/paper/2234-learning-with-multiple-labels). A set of one class is ordinary cross-entropy.

    Args:
        logits: (B, C).
        labels: (B,) integer, -100 for a row without label; (B, C) float, soft targets; (B, C) bool, admissible classes, a row of
            False for one without label.
        label_smoothing: 0..1, share of the target spread over all classes, as in `torch.nn.functional.cross_entropy`.
        class_weights: C numbers; a row weighs as much as its class, or the mean of its set. So does what smoothing adds to it: torch weighs
            that part class by class, which
            teaches every row the rarest class.
        shares: (B,) factor on each row's loss that does not count in the mean's denominator (mixup).

    Returns:
        () mean over the rows that have a label; 0 where none has.

    Raises:
        ValueError: labels of another shape or type, or a class index that there is no class for.
    """
    num_classes = logits.shape[-1]
    logits = logits.float()
    if labels.shape == logits.shape[:1] and not labels.is_floating_point() and labels.dtype != torch.bool:
        present = labels != IGNORED
        # on a GPU this would wait for the device; there one_hot and the kernels below it assert
        if labels.device.type == "cpu" and bool((((labels < 0) | (labels >= num_classes)) & present).any()):
            raise ValueError(
                f"labels: expected class indices from 0 to {num_classes - 1}, or {IGNORED} for none, got {labels.tolist()}; check labels"
            )
        targets = F.one_hot(labels.long().masked_fill(~present, 0), num_classes).bool() & present[:, None]
    elif labels.shape == logits.shape and (labels.dtype == torch.bool or labels.is_floating_point()):
        targets = labels
    else:
        raise ValueError(
            f"labels: expected class indices (B,), soft targets (B, {num_classes}) float or admissible classes (B, {num_classes}) bool for "
            f"logits {tuple(logits.shape)}, got {tuple(labels.shape)} {labels.dtype}; convert them"
        )
    log_probabilities = logits.log_softmax(-1)
    weights = logits.new_ones(num_classes) if class_weights is None else logits.new_tensor(list(class_weights))
    if targets.dtype == torch.bool:
        present = targets.any(-1)
        safe = targets | ~present[:, None]
        loss = -log_probabilities.masked_fill(~safe, float("-inf")).logsumexp(-1)
        row_weights = (safe * weights).sum(-1) / safe.sum(-1)
        loss = loss * row_weights
    else:
        present = targets.sum(-1) > 0
        row_weights = (targets * weights).sum(-1)
        loss = -(targets * weights * log_probabilities).sum(-1)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * row_weights * log_probabilities.mean(-1)
    total = torch.where(present, row_weights, torch.zeros_like(row_weights)).sum()
    loss = loss if shares is None else loss * shares.to(loss)
    summed = torch.where(present, loss, torch.zeros_like(loss)).sum()
    return torch.where(total > 0, summed / total.clamp_min(torch.finfo(total.dtype).tiny), 0 * summed)


def concordance_loss(predicted: torch.Tensor, annotated: torch.Tensor) -> torch.Tensor:
    """1 - concordance correlation coefficient, mean over dimensions (Lin 1989, https://doi.org/10.2307/2532051).

    Args:
        predicted: (B, K).
        annotated: (B, K), NaN where there is no annotation.

    Returns:
        () between 0 and 2; 0 where nothing is annotated.

    Raises:
        ValueError: annotations of another shape.
    """
    if predicted.shape != annotated.shape:
        raise ValueError(
            f"dimension_targets: expected shape {tuple(predicted.shape)}, got {tuple(annotated.shape)}; NaN stands for none"
        )
    is_annotated = ~annotated.isnan()
    predicted, annotated = predicted.float(), annotated.nan_to_num().float()
    count = is_annotated.sum(0).clamp_min(1)
    predicted_mean, annotated_mean = (
        (predicted * is_annotated).sum(0) / count,
        (annotated * is_annotated).sum(0) / count,
    )
    predicted_rest, annotated_rest = (
        (predicted - predicted_mean) * is_annotated,
        (annotated - annotated_mean) * is_annotated,
    )
    covariance = (predicted_rest * annotated_rest).sum(0) / count
    spread = (
        predicted_rest.square().sum(0) / count
        + annotated_rest.square().sum(0) / count
        + (predicted_mean - annotated_mean).square()
    )
    concordance = 2 * covariance / spread.clamp_min(1e-8)
    some = is_annotated.any(0)
    return torch.where(some, 1 - concordance, torch.zeros_like(concordance)).sum() / some.sum().clamp_min(1)
