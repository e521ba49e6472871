"""Conversion of predictions to a table of pandas and back, without loss, also through CSV and Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from multimodal_ser.errors import InputError, _rebuild
from multimodal_ser.inference.inputs import is_missing
from multimodal_ser.inference.prediction import EmotionPrediction
from multimodal_ser.transcription import Transcript

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "input": "int64", "source": "str", "channel": "Int64", "label": "str", "confidence": "float64", "abstained": "boolean",
    "conformal_labels": "str", "label_set": "str", "modalities": "str", "duration": "float64", "windows": "Int64", "text": "str",
    "language": "str", "notes": "str", "error": "str", "details": "str",
}  # fmt: skip
"""The columns and their types in pandas; after the confidence, each label has a column `p_<label>`."""


LOOKS_EMPTY = frozenset(["None", "none", "NULL", "null", "NaN", "nan", "NA", "N/A", "n/a", "#N/A", "<NA>"])
"""Labels that readers of CSV take for an empty cell; the column "details" stores them too."""


def predictions_to_frame(predictions: Iterable[Any], *, index: Any = None) -> pd.DataFrame:
    """Make a table with a row for each prediction; it has the columns of `multimodal-ser predict --format csv`.

    Args:
        predictions: results of `predict` or `predict_iter` for a list: predictions, lists of them (`channels="split"`),
            errors (`on_error="skip"`).
        index: index of the table, such as that of the table of the recordings; one entry for each row.

    Returns:
        A DataFrame of plain cells: "input" is the position in the list; "error" is the message of a failed input, whose
        other cells are empty; "text" and "language" are those of the transcript; "details" is JSON of all values
        without a column.

    Raises:
        TypeError: an element is no prediction, or `predictions` is a single prediction.

    Example:
        >>> from multimodal_ser.inference.dataframes import frame_to_predictions, predictions_to_frame
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> predictions = tiny_model().predict([synthetic_speech(1.0), "no.wav"], sampling_rate=16000, on_error="skip")
        >>> frame = predictions_to_frame(predictions)
        >>> frame["error"].tolist()[1], frame["duration"].tolist()[0], [name for name in frame if name.startswith("p_")]
        ('no.wav: expected an audio file, got no such file; check the path', 1.0, ['p_anger', 'p_happiness', 'p_sadness'])
        >>> frame_to_predictions(frame)[0] == predictions[0]
        True
    """
    import pandas as pd

    if isinstance(predictions, EmotionPrediction | InputError):
        raise TypeError(f"predictions: expected a list, got one {type(predictions).__name__}; give [it]")
    rows = [
        _row(number, one)
        for number, element in enumerate(predictions)
        for one in (element if isinstance(element, list) else [element])
    ]
    labels = dict.fromkeys(name for row in rows for name in row if name.startswith("p_"))
    kinds = {}
    for name, kind in KINDS.items():
        kinds[name] = kind
        if name == "confidence":
            kinds |= dict.fromkeys(labels, "float64")
    columns = {name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in kinds.items()}
    frame = pd.DataFrame(columns)
    if index is not None:
        frame.index = index
    return frame


def frame_to_predictions(frame: pd.DataFrame) -> list[Any]:
    """The predictions from a table of `predictions_to_frame`, also after it was written to a file and read again.

    Rows may be missing or sorted: the predictions have the order of the table. pandas before 3 reads the numbers of a
    CSV file exactly only with `float_precision="round_trip"`.

    Raises:
        InputError: columns are missing, or a row does not come from such a table; the error names its place in the
        index.
    """
    absent = [name for name in KINDS if name not in frame.columns]
    if absent:
        remedy = "give a table that predictions_to_frame made"
        raise InputError(
            "frame", expected="all columns of predictions", got=f"none called {', '.join(absent)}", remedy=remedy
        )
    predictions: list[Any] = []
    last = None
    channels: set[Any] = set()  # channels of the current recording
    for place, row in zip(frame.index, frame.to_dict("records"), strict=True):
        try:
            prediction = _prediction(row)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            got = f"{type(error).__name__}: {error}"
            remedy = "give a table that predictions_to_frame made"
            raise InputError(f"row {place!r}", expected="a prediction", got=got, remedy=remedy) from error
        if is_missing(row["channel"]):
            predictions.append(prediction)
            last = None
            continue
        if row["input"] == last and row["channel"] not in channels:
            predictions[-1].append(prediction)
        else:
            predictions.append([prediction])
            channels = set()
        last = row["input"]
        channels.add(row["channel"])
    return predictions


def _row(number: int, prediction: Any) -> dict[str, Any]:
    if isinstance(prediction, InputError):
        fields = {
            "type": type(prediction).__name__,
            "what": prediction.what,
            "expected": prediction.expected,
            "got": prediction.got,
            "remedy": prediction.remedy,
        }
        return {"input": number, "error": str(prediction), "details": json.dumps({"error": fields}, ensure_ascii=False)}
    if not isinstance(prediction, EmotionPrediction):
        raise TypeError(
            f"predictions: expected what predict gave for a list, got {type(prediction).__name__} at {number}; give it a list"
        )
    row = {"input": number} | prediction.to_dict()
    nested = {name: row[name] for name in ("transcript", "notes", "conformal_labels") if row[name]}
    if prediction.label in LOOKS_EMPTY:
        nested["label"] = prediction.label
    words = row.pop("transcript") or {}
    row |= {f"p_{label}": value for label, value in row.pop("probabilities").items()}
    for name, mark in (("modalities", "+"), ("conformal_labels", "|"), ("notes", "; ")):
        row[name] = None if row[name] is None else mark.join(row[name])
    return row | {
        "text": words.get("text"),
        "language": words.get("language"),
        "details": json.dumps(nested, ensure_ascii=False),
    }


def _prediction(row: dict[str, Any]) -> EmotionPrediction | InputError:
    details = json.loads(row["details"])
    if "error" in details:
        fields = dict(details["error"])
        kinds = {kind.__name__: kind for kind in _kinds(InputError)}
        return _rebuild(kinds.get(fields.pop("type"), InputError), **fields)
    plain = {name: None if is_missing(row[name]) else row[name] for name in ("source", "channel", "duration")}
    label = details.get("label", row["label"])
    if not isinstance(label, str):
        raise ValueError(f"the label is {label!r}")
    words = details.get("transcript")
    labels = details.get("conformal_labels")
    return EmotionPrediction(
        label=label,
        confidence=float(row["confidence"]),
        probabilities={
            name.removeprefix("p_"): float(row[name])
            for name in row
            if name.startswith("p_") and not is_missing(row[name])
        },
        transcript=None if words is None else Transcript.from_dict(words),
        modalities=tuple(row["modalities"].split("+")),
        label_set=row["label_set"],
        duration=plain["duration"],
        windows=int(row["windows"]),
        channel=None if plain["channel"] is None else int(plain["channel"]),
        source=plain["source"],
        notes=tuple(details.get("notes", ())),
        abstained=bool(row["abstained"]),
        conformal_labels=None if labels is None else tuple(labels),
    )


def _kinds(kind: type[InputError]) -> Iterator[type[InputError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)
