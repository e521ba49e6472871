"""Questions to a system, its answers, and the folder that stores them: a stopped evaluation asks no question twice."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser.corpora.clips import RecordingReader
from multimodal_ser.corpora.targets import row_language
from multimodal_ser.errors import InputError
from multimodal_ser.inference.engine import PredictOptions
from multimodal_ser.inference.prediction import predictions

AUDIO, TEXT, BOTH = "audio", "text", "audio + text"
HEARD_TEXT, HEARD_BOTH = "recognised text", "audio + recognised text"
CASES = (AUDIO, TEXT, BOTH, HEARD_TEXT, HEARD_BOTH)
"""Inputs of a system: the recording, the words of the manifest, the words that Whisper recognises."""

Disturbance = Callable[[np.ndarray, str], np.ndarray]
"""A waveform (S,) at 16 kHz and the clip's name -> a disturbed one."""


@dataclass(frozen=True)
class Question:
    """A question to one system; it decides the name of the file of answers.

    Args:
        system: name of the system, such as "network" or "mfcc-svm".
        kind: "model" (measured as it is), "network" (trained on the fold) or "baseline".
        case: one of `CASES`; "any" for a baseline that uses neither recording nor words.
        fold: name of the fold; "" without a protocol.
        seed: seed of the training; None where nothing is random.
        condition: name of the disturbance of the recordings; "" for none.

    Example:
        >>> from multimodal_ser.evaluation.outputs import Question
        >>> Question("network", "network", "audio + text", "fold 1", 42).file
        'fold-1/network-42_audio-text.json'
    """

    system: str
    kind: str
    case: str
    fold: str = ""
    seed: int | None = None
    condition: str = ""

    @property
    def file(self) -> str:
        """Path of the file, relative to the folder of answers."""
        name = "_".join(
            filter(None, [f"{self.system}{'' if self.seed is None else f'-{self.seed}'}", self.case, self.condition])
        )
        return f"{folder_of(self.fold)}/{plain(name)}.json"


@dataclass(frozen=True)
class Answers:
    """Probabilities of the rows that a system could answer.

    Args:
        question: the question to the system.
        rows: N indices of clips.
        probabilities: (N, C).
        dimensions: by name, (N,) values of each dimension that the model regresses.
        unanswered: by index of each row without an answer, the reason.
        seconds: duration of the computation, in s.
    """

    question: Question
    rows: tuple[int, ...]
    probabilities: np.ndarray
    dimensions: Mapping[str, np.ndarray] = field(default_factory=dict)
    unanswered: Mapping[int, str] = field(default_factory=dict)
    seconds: float = 0.0


def plain(name: str) -> str:
    """A name as a part of a file name."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def folder_of(fold: str) -> str:
    """The name of a fold's folder, different for each fold; a name that no file can have gets a digest at its end.

    Example:
        >>> from multimodal_ser.evaluation.outputs import folder_of
        >>> folder_of(""), folder_of("fold 1"), folder_of("Ses01"), folder_of("A 1"), folder_of("A-1")
        ('all', 'fold-1', 'Ses01', 'A-1-3c2e69', 'A-1')
    """
    if not fold or re.fullmatch(r"fold \d+", fold):  # folds that have numbers
        return plain(fold) or "all"
    name = plain(fold)[:80]
    reserved = name == "all" or re.fullmatch(r"fold-\d+", name)
    return name if name == fold and not reserved else f"{name}-{digest(fold)[:6]}".lstrip("-")


def digest(content: Any) -> str:
    """Hexadecimal sha256 of anything that JSON can write."""
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, default=str).encode("utf-8", "surrogateescape")
    ).hexdigest()


class AnswerStore:
    """A folder with a JSON file for each question; files of other data, options or weights are refused.

    Args:
        folder: folder of the files.
        names: names of all clips, in their order.
        labels: C names of the classes.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from multimodal_ser.evaluation.outputs import Answers, AnswerStore, Question
        >>> store = AnswerStore(tempfile.mkdtemp(), ["a.wav", "b.wav"], ["anger", "joy"])
        >>> question = Question("mfcc-svm", "baseline", "audio", "fold 1", 42)
        >>> store.write(Answers(question, (1,), np.array([[0.25, 0.75]])), fingerprint="of what it was made from")
        >>> store.read(question, "of what it was made from").probabilities.tolist()
        [[0.25, 0.75]]
    """

    def __init__(self, folder: str | Path, names: Sequence[str], labels: Sequence[str]):
        self.folder, self.names, self.labels = Path(folder), list(names), list(labels)

    def read(self, question: Question, fingerprint: str) -> Answers | None:
        """Read the answers to a question; None: there is no file yet.

        Raises:
            InputError: answers that were made from other data, options or weights.
        """
        path = self.folder / question.file
        if not path.exists():
            return None
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            same = stored["fingerprint"] == fingerprint
            rows = tuple(stored["rows"])
            answers = Answers(
                question, rows, np.array(stored["probabilities"], dtype=np.float64).reshape(len(rows), len(self.labels)),
                {name: np.array(values, dtype=np.float64) for name, values in stored["dimensions"].items()},
                {int(row): why for row, why in stored["unanswered"].items()}, stored["seconds"],
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                str(path),
                expected="a file of answers",
                got="something else",
                remedy="delete it; the evaluation makes it again",
            ) from error
        if not same:
            got = f"{path}, made from other data, options or weights"
            raise InputError(
                "output_dir",
                expected="a folder of this evaluation",
                got=got,
                remedy="name another folder, or delete it",
            )
        return answers

    def write(self, answers: Answers, fingerprint: str) -> None:
        """Write the answers to their file; an interruption leaves no half of a file."""
        from multimodal_ser._files import write_json

        path = self.folder / answers.question.file
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {
            name: getattr(answers.question, name) for name in ("system", "kind", "case", "fold", "seed", "condition")
        }
        dimensions = {name: [round(float(value), 6) for value in values] for name, values in answers.dimensions.items()}
        write_json(
            path,
            fields | {
                "fingerprint": fingerprint, "labels": self.labels, "seconds": round(answers.seconds, 2), "rows": list(answers.rows),
                "names": [self.names[row] for row in answers.rows],
                "probabilities": [[round(float(value), 7) for value in row] for row in answers.probabilities], "dimensions": dimensions,
                "unanswered": {str(row): why for row, why in answers.unanswered.items()},
            },
        )  # fmt: skip


def cases_of(model: Any, clips: Sequence[Any], modalities: str, words: Mapping[int, Any] | None = None) -> list[str]:
    """The cases for which these clips have the inputs and the model has the training.

    Args:
        model: a classifier.
        clips: of `corpora.clips.examine`.
        modalities: "auto" and "both": all modalities of the rows; "audio" or "text": that alone.
        words: recognised text and language, by index of a clip; None: Whisper was not used.

    Returns:
        Some of `CASES`, in that order.
    """
    trained = model.config.trained_modalities or ["audio", "text"]
    uses_audio = "audio" in trained and modalities != "text"
    uses_text = "text" in trained and modalities != "audio"
    clips_with_text = [clip for clip in clips if clip.row.text and _is_text_language(model, clip.row.language)]
    cases = []
    if uses_audio and any(clip.row.path for clip in clips):
        cases.append(AUDIO)
    if uses_text and clips_with_text:
        cases.append(TEXT)
    if uses_audio and uses_text and any(clip.row.path for clip in clips_with_text):
        cases.append(BOTH)
    if uses_text and any(_is_text_language(model, language) for _, language in (words or {}).values()):
        cases += [HEARD_TEXT, *([HEARD_BOTH] if uses_audio else [])]
    return cases


def _is_text_language(model: Any, language: str | None) -> bool:
    """Whether the text branch of the model was trained on a language; `predict` uses the same rule."""
    languages, code = model.config.text_languages, row_language(language)
    return not languages or code is None or code in languages


def suits(clip: Any, case: str, index: int, words: Mapping[int, Any] | None) -> bool:
    """Whether a clip has the inputs of a case."""
    row = clip.row
    if case in (HEARD_TEXT, HEARD_BOTH):
        return words is not None and index in words
    return bool((row.path or case == TEXT) and (row.text or case == AUDIO))


def ask_model(
    model: Any,
    question: Question,
    clips: Sequence[Any],
    rows: Sequence[int],
    labels: Sequence[str],
    *,
    label_set: str = "native",
    words: Mapping[int, tuple[str, str | None]] | None = None,
    disturb: Disturbance | None = None,
    batch_size: int = 8,
    progress: bool = False,
) -> Answers:
    """Ask a classifier for the emotions of clips, through `predict`, as its users do.

    Args:
        model: the classifier.
        question: the question; its case decides the inputs.
        clips: all clips of the evaluation.
        rows: indices of the clips to ask about; clips without the inputs of the case are skipped.
        labels: C names, in the order of the probabilities.
        label_set: the label set of `labels`; the probabilities of the model's labels without a place there are shared
            out among the others.
        words: recognised text and language, by index of a clip.
        disturb: function that disturbs a recording; None: the recordings stay as they are.
        batch_size: number of windows in a batch.
        progress: whether to show a progress bar.

    Raises:
        InputError: an option that does not fit the model.
    """
    from multimodal_ser.labels.merging import Merging

    start = time.monotonic()
    case = question.case
    merging = None if label_set == "native" else Merging.of(model.labels, label_set, drop=True)
    suitable = [row for row in rows if suits(clips[row], case, row, words)]
    texts: dict[int, tuple[str | None, str | None]] = {
        row: (clips[row].row.text, clips[row].row.language) for row in suitable
    }
    if case in (HEARD_TEXT, HEARD_BOTH):
        texts = {row: (words or {}).get(row, (None, None)) for row in suitable}
    by_language: dict[str | None, list[int]] = {}
    for row in suitable:
        by_language.setdefault(None if case == AUDIO else row_language(texts[row][1]), []).append(row)
    # a recording without recognised words still has its audio
    modalities: Any = {AUDIO: "audio", TEXT: "text", BOTH: "both", HEARD_TEXT: "text", HEARD_BOTH: "auto"}[case]
    probabilities: dict[int, np.ndarray] = {}
    unanswered: dict[int, str] = {}
    dimensions: dict[int, dict[str, float]] = {}
    for language, members in by_language.items():

        def items(members: list[int] = members) -> Iterator[dict[str, Any]]:
            for row in members:
                audio = None if case in (TEXT, HEARD_TEXT) else recording(clips[row], disturb)
                text = None if case == AUDIO else texts[row][0]
                yield {"audio": audio, "text": text, "context": list(clips[row].context) or None}

        options = PredictOptions(
            sampling_rate=16_000,
            modalities=modalities,
            language=language,
            batch_size=batch_size,
            on_error="skip",
            progress=progress,
        )
        outcomes = predictions(model, items(), options, transcriber=None, total=len(members))
        for row, outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, InputError):
                unanswered[row] = str(outcome.named(clips[row].row.name))
                continue
            native = outcome.probabilities
            if merging is not None:
                merged = merging.probabilities(np.array([[native[label] for label in model.labels]]))[0]
                native = dict(zip(merging.labels, merged, strict=True))
            probabilities[row] = np.array([native.get(label, 0.0) for label in labels])
            dimensions[row] = outcome.dimensions or {}
    answered = [row for row in suitable if row in probabilities]
    regressed = {}
    if disturb is None and case in (AUDIO, TEXT, BOTH):
        regressed = {
            name: np.array([dimensions[row][name] for row in answered])
            for name in (model.config.dimensions if answered else ())
        }
    table = np.stack([probabilities[row] for row in answered]) if answered else np.zeros((0, len(labels)))
    return Answers(question, tuple(answered), table, regressed, unanswered, time.monotonic() - start)


def ask_baseline(
    question: Question,
    clips: Sequence[Any],
    train: Sequence[int],
    test: Sequence[int],
    labels: Sequence[str],
    cache_dir: Path,
) -> Answers:
    """Train a baseline on the rows `train` and ask it for the emotions of the rows `test`.

    Raises:
        InputError: an unknown baseline, a package that it needs is not installed, or nothing to learn from.
    """
    from multimodal_ser.evaluation.baselines.registry import make_baseline

    start = time.monotonic()
    baseline = make_baseline(question.system, labels, seed=question.seed or 0, cache_dir=cache_dir)
    fits = {"audio": lambda row: row.path is not None, "text": lambda row: bool(row.text)}.get(
        baseline.modality, lambda row: True
    )
    baseline.fit([clips[row].row for row in train if fits(clips[row].row)])
    suitable = [row for row in test if fits(clips[row].row)]
    probabilities = np.asarray(baseline.predict_proba([clips[row].row for row in suitable]), dtype=np.float64).reshape(
        len(suitable), len(labels)
    )
    return Answers(question, tuple(suitable), probabilities, seconds=time.monotonic() - start)


def recording(clip: Any, disturb: Disturbance | None = None) -> Any:
    """The path of a clip's recording; for a part of a recording, or with a disturbance, the waveform (S,) at 16 kHz."""
    row = clip.row
    if disturb is None and row.start is None and row.end is None:
        return str(row.path)
    waveform = RecordingReader().part(row)
    return waveform if disturb is None else disturb(waveform, row.name)
