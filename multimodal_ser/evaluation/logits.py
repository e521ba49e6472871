"""Labelled rows run through a classifier: what calibration is fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE, load_audio
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation.temperature import Windows
from multimodal_ser.labels import LabelError, label_map
from multimodal_ser.prediction import predict_logits

if TYPE_CHECKING:
    from multimodal_ser.corpora import ManifestRow

Case = Literal["both", "audio", "text"]


@dataclass(frozen=True)
class Merging:
    """From C labels of the model to K of the label set; of none, to themselves.

    Args:
        matrix: (C, K), 1 where a label is merged into another.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.evaluation.logits import Merging
        >>> Merging.of(["neutral", "calm", "joy"], "ekman").widened(np.array([[True, False, False]])).tolist()
        [[True, True, False]]
    """

    matrix: np.ndarray

    @classmethod
    def of(cls, labels: Sequence[str], label_set: str | None) -> Merging:
        """Of the model's labels; `LabelError` where one has no place in the label set."""
        mapping = label_map(labels, label_set or "native")
        names = list(dict.fromkeys(mapping.values()))
        return cls(np.array([[float(mapping[label] == name) for name in names] for label in labels]))

    def admitted(self, rows: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, K): which merged labels are admitted."""
        return rows.astype(np.float64) @ self.matrix > 0

    def widened(self, rows: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, C): what is merged with an admitted label is admitted too."""
        return self.admitted(rows).astype(np.float64) @ self.matrix.T > 0


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


Labelled = list[tuple["ManifestRow", np.ndarray]]


def labelled_rows(rows: Iterable[ManifestRow], labels: Sequence[str], merging: Merging) -> tuple[Labelled, dict[str, int], list[str]]:
    """Rows with what their annotation admits (C,); how many have none; and a line each row whose annotation has no class."""
    from multimodal_ser.training.data import admitted

    good: Labelled = []
    left_out, failed = Counter[str](), []
    for row in rows:
        annotated = row.label if row.votes else row.emotion
        if annotated is None:
            left_out["no emotion was annotated"] += 1
            continue
        try:
            classes = np.array(admitted(annotated, labels, row.corpus))
        except LabelError as error:
            failed.append(str(error.named(_named(row))))
            continue
        good.append((row, merging.widened(classes[None])[0]))
    return good, dict(left_out), failed


def _named(row: ManifestRow) -> str:
    return f"{row.name} ({row.place})" if row.place else row.name


def collect(classifier: Any, labelled: Labelled, case: Case, words: dict[int, str], batch_size: int, bar: Callable[[], Any]) -> Collected:
    """Run the rows through the classifier, those of one language together; `words` keeps what Whisper heard for the next case."""
    left_out, failed = Counter[str](), []
    groups: dict[str | None, list[int]] = {}
    reads = classifier.config.text_languages
    hearing = cache(lambda: _hears(classifier))
    for at, (row, _) in enumerate(labelled):
        language = None if case == "audio" else _language(row)
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
        items = _items([(labelled[at][0], words.get(at)) for at in members], case)
        outcomes = predict_logits(classifier, items, modalities=case, language=language, batch_size=batch_size)
        for at, outcome in zip(members, outcomes, strict=True):
            bar()
            row = labelled[at][0]
            if isinstance(outcome, InputError):
                failed.append(str(outcome.named(_named(row))))
                continue
            prediction, values, shares = outcome
            if not np.isfinite(values).all():
                remedy = "load the model with dtype float32"
                failed.append(str(InputError(_named(row), expected="finite logits", got="NaN or infinity", remedy=remedy)))
                continue
            logits[at], weights[at] = values, shares
            if prediction.transcript is not None:
                texts[at] = prediction.transcript.text
                if prediction.windows == 1:  # of a long recording each window has words of its own
                    words[at] = prediction.transcript.text
    order = sorted(logits)
    windows = None
    if order:
        windows = Windows([logits[at] for at in order], [weights[at] for at in order], np.stack([labelled[at][1] for at in order]))
    return Collected([labelled[at][0] for at in order], windows, list(texts.values()), dict(left_out), failed)


def _language(row: ManifestRow) -> str | None:
    """The code of a row's language; None where Whisper does not know it: then it is detected."""
    from multimodal_ser.transcription.transcriber import language_code

    try:
        return language_code(row.language)
    except InputError:
        return None


def _hears(classifier: Any) -> bool:
    """Whether there is a Whisper, and it has weights; a transcriber of another kind needs no `load`."""
    from multimodal_ser.transcription import WhisperNotFoundError

    try:
        getattr(classifier.transcriber, "load", bool)()
    except WhisperNotFoundError:
        return False
    return classifier.transcriber is not None


def _items(rows: list[tuple[ManifestRow, str | None]], case: Case) -> Iterator[dict[str, Any]]:
    """Rows as `predict_iter` takes them: the part that is meant of each recording, the words that are given or were heard before."""
    decoded: tuple[Any, Any] = (None, None)  # parts of one recording often follow each other
    for row, heard in rows:
        text = None if case == "audio" else row.text or heard
        audio: Any = None if row.path is None or (case == "text" and text) else str(row.path)
        if audio is not None and (row.start is not None or row.end is not None):
            try:
                if decoded[0] != row.path:
                    decoded = row.path, load_audio(audio)
                end = None if row.end is None else round(row.end * SAMPLING_RATE)
                audio = {"array": decoded[1][round((row.start or 0) * SAMPLING_RATE) : end], "sampling_rate": SAMPLING_RATE}
            except InputError:
                pass  # it fails again where errors are kept
        yield {"audio": audio, "text": text}
