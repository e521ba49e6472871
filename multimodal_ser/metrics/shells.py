"""The metrics of this package as metrics of Hugging Face's `evaluate`, without a download from the Hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from multimodal_ser.errors import InputError
from multimodal_ser.metrics.registry import METRICS, scores

if TYPE_CHECKING:
    import evaluate


def _all_scores(references: Any, predictions: Any) -> dict[str, float]:
    return scores(references, predictions, int(max(*predictions, *references)) + 1)


COMPARED = {
    "predictions": ("predictions", "int64"),
    "probabilities": ("probabilities", "float64"),
    "dimensions": ("predictions", "float64"),
    "words": ("predictions", "string"),
}
"""Name and type of the inputs of a metric in `evaluate`."""


def _shells() -> Mapping[str, tuple[str, str, Callable[..., Any]]]:
    rows = {metric.name: (*COMPARED[metric.inputs], metric.function) for metric in METRICS.values()}
    return MappingProxyType({"emotion_scores": ("predictions", "int64", _all_scores), **rows})


SHELLS = _shells()
"""By name: the input to compare with the references, its type, and the function; "emotion_scores" has several."""


def as_evaluate_metric(name: str = "emotion_scores", **options: Any) -> evaluate.Metric:
    """A metric of Hugging Face's `evaluate`, for `add_batch`, `compute` and `evaluate.combine`; nothing is downloaded.

    Args:
        name: "emotion_scores" (accuracy, ua, macro_f1, weighted_f1 at once) or a key of `METRICS`: one of these alone, "ece" and "aurc"
            (which take probabilities=(N, C) in place of predictions), "ccc" or "wer".
        options: options of `evaluate.Metric`: num_process, process_id, experiment_id, keep_in_memory ...

    Returns:
        A metric whose `compute` returns a dict of figures by name.

    Raises:
        InputError: an unknown name.
    """
    shells = _shells()
    if name not in shells:
        raise InputError("name", expected=f"one of {', '.join(shells)}", got=repr(name), remedy="choose one of them")
    import datasets
    import evaluate

    input_name, kind, function = shells[name]
    value = datasets.Value(kind)
    references = datasets.Value("int64") if input_name == "probabilities" else value
    features = datasets.Features(
        {input_name: datasets.Sequence(value) if input_name == "probabilities" else value, "references": references}
    )

    class EmotionScores(evaluate.Metric):
        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=(
                    function.__doc__ or "Accuracy, unweighted average recall (UA), macro and weighted F1."
                ).splitlines()[0],
                citation="",
                inputs_description=f"{input_name}, references: {kind}.",
                features=features,
            )

        def _compute(self, **columns: Any) -> dict[str, float]:  # `combine` also passes the inputs of its other metrics
            result = function(list(columns["references"]), list(columns[input_name]))
            return result if isinstance(result, dict) else {name: result}

    # two metrics of one class name would share their file of cached predictions
    metric = type("".join(map(str.capitalize, name.split("_"))), (EmotionScores,), {"__doc__": EmotionScores.__doc__})
    return metric(**options)
