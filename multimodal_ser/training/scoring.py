"""Evaluation during and after training: figures, probabilities and dimensions of a part of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from multimodal_ser.metrics.registry import metrics_of
from multimodal_ser.training.data import ClipData


@torch.no_grad()
def evaluate(
    model: Any, data: ClipData, accelerator: Any, on_progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, float], np.ndarray, dict[str, np.ndarray]]:
    """Evaluate a model, which stays in evaluation mode; processes share the batches, and all get the whole result.

    Args:
        model: a `MultimodalEmotionClassifier`, prepared by the accelerator or not.
        data: N clips, at least one.
        accelerator: the Accelerator of this process.
        on_progress: called with (done, all) batches of this process.

    Returns:
        Three results in the order of the clips. Figures: "loss"; the logged metrics of classes ("ua", ...) if emotions
        are annotated; of dimensions the mean ("ccc") and that of each ("ccc_NAME"). Probabilities (N, C). Predictions
        (N,) by the name of the dimension.
    """
    from accelerate.utils import gather_object

    args = data.args
    size = args.per_device_eval_batch_size
    order = sorted(range(len(data)), key=lambda i: (data.durations[i], i))
    batches = [order[at : at + size] for at in range(0, len(order), size)][
        accelerator.process_index :: accelerator.num_processes
    ]
    bare = accelerator.unwrap_model(model, keep_torch_compile=False)
    bare.eval()
    results: list[Any] = []
    for done, rows in enumerate(batches, 1):
        batch = {name: value.to(accelerator.device) for name, value in data.batch(rows).items()}
        with accelerator.autocast():
            output = bare(**batch)
        weight = weight_of(data, rows, bare.config.class_weights)
        dimensions = None if output.dimensions is None else output.dimensions.float().cpu()
        probabilities = output.logits.float().softmax(-1).cpu()
        loss = 0.0 if output.loss is None else float(output.loss) * weight
        results += [
            (row, probabilities[i], None if dimensions is None else dimensions[i]) for i, row in enumerate(rows)
        ]
        results.append((-1, loss, weight))
        if on_progress is not None:
            on_progress(done, len(batches))
    results = gather_object(results)
    losses = [item for item in results if item[0] < 0]
    ordered = sorted((item for item in results if item[0] >= 0), key=lambda item: item[0])
    probabilities = np.stack([item[1].numpy() for item in ordered])
    regressed = {name: np.array([float(item[2][k]) for item in ordered]) for k, name in enumerate(args.dimensions)}
    figures: dict[str, float] = {"loss": sum(item[1] for item in losses) / max(sum(item[2] for item in losses), 1e-12)}
    if args.emotions:
        references, predictions = compared(data.targets.classes, probabilities)
        if len(references):
            answered = probabilities[data.targets.classes.float().sum(1).numpy() > 0]
            figures |= {
                metric.name: metric.of_classes(references, predictions, answered)
                for metric in metrics_of("predictions", "probabilities")
                if metric.logged
            }
    if regressed:
        figures |= _of_dimensions(regressed, data.targets.dimensions.numpy())
    return figures, probabilities, regressed


def _of_dimensions(regressed: dict[str, np.ndarray], annotated: np.ndarray) -> dict[str, float]:
    """Return metrics of each dimension, and their means; 0 if there are too few or only equal annotations."""
    figures: dict[str, float] = {}
    for metric in filter(lambda metric: metric.logged, metrics_of("dimensions")):
        each: dict[str, float] = {}
        for k, (name, predicted) in enumerate(regressed.items()):
            has_value = ~np.isnan(annotated[:, k])
            if has_value.sum() > 1:
                value = float(metric.function(annotated[has_value, k], predicted[has_value]))
                each[f"{metric.name}_{name}"] = value if np.isfinite(value) else 0.0
        figures |= each | {metric.name: float(np.mean(list(each.values()))) if each else 0.0}
    return figures


def weight_of(data: ClipData, rows: Sequence[int], class_weights: Sequence[float] | None) -> float:
    """Return the divisor of the loss of these rows.

    It is the sum of the weights of rows with an emotion, as in `emotion_loss`, plus the number of rows with dimensions
    alone.
    """
    chosen = list(rows)
    classes = data.targets.classes[chosen]
    weights = torch.ones(classes.shape[1]) if class_weights is None else torch.tensor(list(class_weights))
    if classes.dtype == torch.bool:
        each = (classes * weights).sum(1) / classes.sum(1).clamp_min(1)
    else:
        each = (classes * weights).sum(1)
    regressed = (
        ~data.targets.dimensions[chosen].isnan().all(1)
        if data.targets.dimensions.shape[1]
        else torch.zeros(len(chosen))
    )
    return float(torch.where(classes.float().sum(1) > 0, each, regressed.to(each)).sum())


def compared(classes: torch.Tensor, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return references and predictions of the rows that have a class.

    If several classes are admissible, the reference is the predicted one if it is among them. Of votes it is the most
    frequent class.

    Args:
        classes: (N, C), admissible classes (bool) or shares of the votes (float).
        probabilities: (N, C).

    Returns:
        Two (M,) arrays of class indices.

    Example:
        >>> import numpy as np, torch
        >>> from multimodal_ser.training.scoring import compared
        >>> admitted = torch.tensor([[True, True], [True, False], [False, False]])
        >>> compared(admitted, np.array([[0.1, 0.9], [0.1, 0.9], [0.5, 0.5]]))
        (array([1, 0]), array([1, 1]))
    """
    predictions = probabilities.argmax(1)
    references = classes.float().argmax(1).numpy()
    if classes.dtype == torch.bool:
        admitted = classes.numpy()[np.arange(len(predictions)), predictions]
        references = np.where(admitted, predictions, references)
    has_class = classes.float().sum(1).numpy() > 0
    return references[has_class], predictions[has_class]
