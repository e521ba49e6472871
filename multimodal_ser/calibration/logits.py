"""Labelled rows run through a classifier: what calibration is fitted on."""

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
    """What one modality case of the rows came to.

    Args:
        rows: those that were predicted.
        windows: of them; None: there are none.
        texts: their words.
        left_out: how many rows the case does not apply to, by reason.
        failed: a line each row that could not be predicted.
    """

    rows: list[ManifestRow]
    windows: Windows | None
    texts: list[str]
    left_out: dict[str, int]
    failed: list[str]


def _named(row: ManifestRow) -> str:
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
        classifier: the model; its temperatures are taken off again.
        labelled: rows, and what their annotations admit.
        case: what it is given.
        words: keeps what Whisper heard for the next case.
        batch_size: windows that run together.
        bar: called once a row.
        contexts: the turns before each row, oldest first; None: none.
    """
    left_out, failed = Counter[str](), []
    groups: dict[str | None, list[int]] = {}
    reads = classifier.config.text_languages
    hearing = cache(lambda: _hears(classifier))
    for at, (row, _) in enumerate(labelled):
        language = None if case == "audio" else row_language(row.language)
        if case != "text" and row.path is None:
            reason = "no recording"
        elif case != "audio" and not row.text and (row.path is None or not hearing()):
            reason = "no words, and no Whisper that hears them"
        elif reads and language and language not in reads:
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
        before = [() if contexts is None else contexts[at] for at in members]
        short: dict[int, InputError] = {}
        items = _items(
            [(labelled[at][0], words.get(at), turns) for at, turns in zip(members, before, strict=True)], case, short
        )
        options = PredictOptions(modalities=case, language=language, batch_size=batch_size, on_error="skip")
        engine = Engine(classifier, options)
        for place, (at, outputs) in enumerate(zip(members, by_item(engine.run(items)), strict=True)):
            bar()
            row = labelled[at][0]
            if place in short:
                failed.append(str(short[place]))
                continue
            prediction = of_item(outputs, engine)
            if isinstance(prediction, InputError):
                failed.append(str(prediction.named(_named(row))))
                continue
            judged = [window for window in outputs.windows if window.logits is not None]
            values = np.stack([_without_temperature(window, classifier.config.temperature) for window in judged])
            shares = np.array([window.weight for window in judged])
            if not np.isfinite(values).all():
                remedy = "load the model with dtype float32"
                failed.append(
                    str(InputError(_named(row), expected="finite logits", got="NaN or infinity", remedy=remedy))
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
    """The logits (C,) of a window before they were divided by the temperature of its modality case."""
    assert window.logits is not None
    case = "both" if len(window.modalities) == 2 else window.modalities[0]
    return window.logits * temperature[case]


def _hears(classifier: Any) -> bool:
    """Whether there is a Whisper, and it has weights; a transcriber of another kind needs no `load`."""
    from multimodal_ser.transcription import WhisperNotFoundError

    try:
        getattr(classifier.transcriber, "load", bool)()
    except WhisperNotFoundError:
        return False
    return classifier.transcriber is not None


def contexts_of(labelled: Labelled, among: Sequence[ManifestRow], turns: int) -> list[tuple[str, ...]] | None:
    """The texts of the turns before each row, as training and `evaluate` look them up; None: none are read.

    Args:
        labelled: the rows.
        among: those that the turns are looked for among, annotated or not.
        turns: how many.
    """
    if not turns:
        return None
    words = [replace(row, path=None, start=None, end=None) for row, _ in labelled]  # no recording is decoded for it
    clips, _ = examine(words, context_turns=turns, among=among)
    return [clip.context for clip in clips]


def _items(
    rows: list[tuple[ManifestRow, str | None, tuple[str, ...]]], case: Case, short: dict[int, InputError]
) -> Iterator[dict[str, Any]]:
    """Rows as `predict_iter` takes them: the part that is meant of each recording, the words that are given or were heard before.

    A part that is shorter than 25 ms, such as one that starts after the end, is told in `short`, by its place among the rows.
    """
    reader = RecordingReader()
    for place, (row, heard, context) in enumerate(rows):
        text = None if case == "audio" else row.text or heard
        audio: Any = None if row.path is None or (case == "text" and text) else str(row.path)
        if audio is not None and row.path is not None and (row.start is not None or row.end is not None):
            try:
                recording = reader.recording(row.path)
                error = part_error(row, len(recording) / SAMPLING_RATE)
                if error is not None:
                    short[place] = error
                audio = {"array": recording[part_samples(row)], "sampling_rate": SAMPLING_RATE}
            except InputError:
                pass  # it fails again where errors are kept
        yield {"audio": audio, "text": text, "context": list(context) or None if text else None}
