"""`collect`: logits of labelled rows without temperature, on which calibration is fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE
from multimodal_ser.calibration.temperature import Windows
from multimodal_ser.corpora.clips import RecordingReader, examine, part_samples
from multimodal_ser.corpora.recordings import part_error
from multimodal_ser.corpora.targets import Labelled, row_language
from multimodal_ser.errors import InputError
from multimodal_ser.inference.engine import Engine, PredictOptions, WindowOutput, by_item
from multimodal_ser.inference.prediction import EmotionPrediction, of_item

if TYPE_CHECKING:
    from multimodal_ser.corpora import ManifestRow

Case = Literal["both", "audio", "text"]


@dataclass
class Collected:
    """Logits of the rows in one modality case.

    Args:
        rows: rows that were predicted.
        windows: their logits; None if there are no such rows.
        texts: their texts.
        left_out: number of rows that the case does not apply to, by reason.
        failed: one line for each row that could not be predicted.
    """

    rows: list[ManifestRow]
    windows: Windows | None
    texts: list[str]
    left_out: dict[str, int]
    failed: list[str]


def _name_with_place(row: ManifestRow) -> str:
    return f"{row.name} ({row.place})" if row.place else row.name


def collect(
    classifier: Any,
    labelled: Labelled,
    case: Case,
    words: dict[int, str],
    batch_size: int,
    bar: Callable[[], Any],
    contexts: Sequence[tuple[str, ...]] | None = None,
) -> Collected:
    """Run the rows through the classifier, those of one language together.

    Args:
        classifier: the model; its temperatures are removed from the logits.
        labelled: rows with their admissible classes.
        case: modalities that the model gets.
        words: transcripts by index of the row; new ones are added for the next case.
        batch_size: windows that run together.
        bar: called once for each row.
        contexts: previous turns of each row, oldest first; None: no context.
    """
    left_out = Counter[str]()
    failed: list[str] = []
    groups: dict[str | None, list[int]] = {}
    text_languages = classifier.config.text_languages
    has_whisper = cache(lambda: _has_whisper(classifier))
    for at, (row, _) in enumerate(labelled):
        language = None if case == "audio" else row_language(row.language)
        if case != "text" and row.path is None:
            reason = "no recording"
        elif case != "audio" and not row.text and (row.path is None or not has_whisper()):
            reason = "no words, and no Whisper that hears them"
        elif text_languages and language and language not in text_languages:
            reason = f"the text branch does not read {language!r}"
        else:
            groups.setdefault(language, []).append(at)
            continue
        left_out[reason] += 1
        bar()
    logits: dict[int, np.ndarray] = {}
    weights: dict[int, np.ndarray] = {}
    texts: dict[int, str] = {}
    for language, members in groups.items():
        turns_of = [() if contexts is None else contexts[at] for at in members]
        too_short: dict[int, InputError] = {}
        items = _items(
            [(labelled[at][0], words.get(at), turns) for at, turns in zip(members, turns_of, strict=True)],
            case,
            too_short,
        )
        options = PredictOptions(modalities=case, language=language, batch_size=batch_size, on_error="skip")
        engine = Engine(classifier, options)
        for place, (at, outputs) in enumerate(zip(members, by_item(engine.run(items)), strict=True)):
            bar()
            row = labelled[at][0]
            if place in too_short:
                failed.append(str(too_short[place]))
                continue
            prediction = of_item(outputs, engine)
            if isinstance(prediction, InputError):
                failed.append(str(prediction.named(_name_with_place(row))))
                continue
            predicted = [window for window in outputs.windows if window.logits is not None]
            values = np.stack([_without_temperature(window, classifier.config.temperature) for window in predicted])
            shares = np.array([window.weight for window in predicted])
            if not np.isfinite(values).all():
                remedy = "load the model with dtype float32"
                failed.append(
                    str(
                        InputError(
                            _name_with_place(row), expected="finite logits", got="NaN or infinity", remedy=remedy
                        )
                    )
                )
                continue
            logits[at], weights[at] = values, shares
            assert isinstance(prediction, EmotionPrediction)  # channels are mixed
            if prediction.transcript is not None:
                texts[at] = prediction.transcript.text
                if prediction.windows == 1:  # of a long recording each window has words of its own
                    words[at] = prediction.transcript.text
    order = sorted(logits)
    windows = None
    if order:
        windows = Windows(
            [logits[at] for at in order], [weights[at] for at in order], np.stack([labelled[at][1] for at in order])
        )
    return Collected([labelled[at][0] for at in order], windows, list(texts.values()), dict(left_out), failed)


def _without_temperature(window: WindowOutput, temperature: dict[str, float]) -> np.ndarray:
    """Return the logits (C,) of a window before the division by the temperature of its modality case."""
    assert window.logits is not None
    case = "both" if len(window.modalities) == 2 else window.modalities[0]
    return window.logits * temperature[case]


def _has_whisper(classifier: Any) -> bool:
    """Return whether there is a Whisper with weights, or a transcriber of another kind, which needs no `load`."""
    from multimodal_ser.transcription import WhisperNotFoundError

    try:
        getattr(classifier.transcriber, "load", bool)()
    except WhisperNotFoundError:
        return False
    return classifier.transcriber is not None


def contexts_of(labelled: Labelled, among: Sequence[ManifestRow], turns: int) -> list[tuple[str, ...]] | None:
    """Return the texts of the previous turns of each row, as in training and `evaluate`; None if `turns` is 0.

    Args:
        labelled: the rows.
        among: all rows that may be previous turns, annotated or not.
        turns: number of turns.
    """
    if not turns:
        return None
    words = [
        replace(row, path=None, start=None, end=None) for row, _ in labelled
    ]  # without recordings, none is decoded
    clips, _ = examine(words, context_turns=turns, among=among)
    return [clip.context for clip in clips]


def _items(
    rows: list[tuple[ManifestRow, str | None, tuple[str, ...]]], case: Case, too_short: dict[int, InputError]
) -> Iterator[dict[str, Any]]:
    """Yield rows as inputs of `predict_iter`: the part of each recording, and the text of the row or its transcript.

    The error of a part that is shorter than 25 ms is added to `too_short`, by the index of the row.
    """
    reader = RecordingReader()
    for place, (row, transcript, context) in enumerate(rows):
        text = None if case == "audio" else row.text or transcript
        audio: Any = None if row.path is None or (case == "text" and text) else str(row.path)
        if audio is not None and row.path is not None and (row.start is not None or row.end is not None):
            try:
                recording = reader.recording(row.path)
                error = part_error(row, len(recording) / SAMPLING_RATE)
                if error is not None:
                    too_short[place] = error
                audio = {"array": recording[part_samples(row)], "sampling_rate": SAMPLING_RATE}
            except InputError:
                pass  # prediction raises the error again, and it is stored there
        yield {"audio": audio, "text": text, "context": list(context) or None if text else None}
