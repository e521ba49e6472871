"""Facts about a model, such as its training data and evaluations, as plain values for its card."""

from __future__ import annotations

import dataclasses
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from multimodal_ser.metrics.registry import current_names, metrics_of

if typing.TYPE_CHECKING:
    from os import PathLike

FACTS_NAME = "card_facts.json"
"""The file beside config.json and README.md."""

CARD_MARK = "Written by `multimodal_ser`"
"""A card with this mark may be replaced; a card without it was written by a person."""

TRAINER_MARK = (
    "<!-- This model card has been generated automatically according to the information the Trainer had access to."
)
"""First line of a card that transformers' Trainer wrote; people who edit it should delete this line."""

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained"
SHIPPED_NAME = "the checkpoint that ships in the package multimodal_ser"
QUOTE_LIMIT = 4000
"""Most characters that are quoted from the card of another model."""

Scalar = str | int | float | bool | None
T = TypeVar("T")


@dataclass(frozen=True)
class DataPart:
    """One part of a model's training, validation or test data; None: not known.

    Args:
        name: name of the corpus, or of the folder or table with the rows.
        part: "training", "validation" (on which the best epoch was chosen) or "test".
        rows, recordings, texts: numbers of each; a row may have a recording and a text.
        hours: duration of the recordings, in h.
        speakers: number of speakers.
        languages: ISO 639-1 codes of the rows.
        licence: licence of the corpus, in its makers' words.
        dataset: a Hub id or the well-known name of a corpus; None: it has none.

    Example:
        >>> from multimodal_ser.hub.card_facts import DataPart
        >>> DataPart("RAVDESS", rows=960, hours=0.99, speakers=16, languages=["en"], licence="CC BY-NC-SA 4.0", dataset="ravdess").part
        'training'
    """

    name: str
    part: str = "training"
    rows: int | None = None
    recordings: int | None = None
    texts: int | None = None
    hours: float | None = None
    speakers: int | None = None
    languages: list[str] = field(default_factory=list)
    licence: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Measured:
    """Figures of one system with one kind of input.

    Args:
        given: the input: "audio", "text", "audio + text", "recognised text", "audio + recognised text", or "any".
        system: name of the system in the report.
        kind: "model": these weights; "network": models trained in the same way, fold by fold; "baseline": a system to
            compare with.
        rows, speakers: numbers of measured rows and speakers.
        figures: by key of `METRICS`, shares from 0 to 1; `ccc_arousal` and the like are from -1 to 1.
        intervals: by figure, both ends of its 95 % interval.
        groups: by kind ("gender", "language", "corpus") and group, the UA (0 to 1) and the number of rows.

    Example:
        >>> from multimodal_ser.hub.card_facts import Measured
        >>> Measured("audio", figures={"ua": 0.743}, intervals={"ua": [0.713, 0.773]}).kind
        'model'
    """

    given: str
    system: str = "model"
    kind: str = "model"
    rows: int | None = None
    speakers: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, list[float]] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("figures", "intervals"):
            object.__setattr__(self, name, current_names(getattr(self, name)))


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: its data, its protocol and its figures.

    Args:
        name: name of the data.
        source: "report" of `multimodal-ser evaluate`, or "training": the final figures of a training run.
        protocol: description of how the rows were divided, in a line without names of speakers.
        datasets: Hub ids or well-known names of the corpora.
        rows, hours, speakers: numbers of measured rows, hours and speakers.
        languages: ISO 639-1 codes.
        labels: names of the classes.
        folds, seeds: numbers of folds and seeds; None: nothing was trained.
        whisper: name of the Whisper that recognised the words; None: no Whisper was used.
        wer: word error rate of that Whisper, from 0; None: unknown.
        leaks, notes: warnings of the report, without names of speakers and without words.
        data_hash: sha256 of the measured data.
        systems: figures of each system.
        model: name of the model in the report.

    Example:
        >>> from multimodal_ser.hub.card_facts import Evaluation, Measured
        >>> Evaluation("RAVDESS", systems=[Measured("audio", figures={"ua": 0.743})]).source
        'report'
    """

    name: str
    source: str = "report"
    protocol: str | None = None
    datasets: list[str] = field(default_factory=list)
    rows: int | None = None
    hours: float | None = None
    speakers: int | None = None
    languages: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    folds: int | None = None
    seeds: int | None = None
    whisper: str | None = None
    wer: float | None = None
    leaks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data_hash: str | None = None
    systems: list[Measured] = field(default_factory=list)
    model: str | None = None


@dataclass(frozen=True)
class Calibrated:
    """The calibration of one modality case: its temperature, its data, and the expected calibration error (0 to 1).

    Args:
        temperature: the fitted temperature.
        rows, speakers: numbers of rows and speakers of the fit.
        ece_before, ece_after: error on the rows of the fit, before and after it.
        ece_unseen, ece_unseen_interval: error on speakers that are not in the fit, and its 95 % interval.
        covered_unseen, covered_unseen_interval: share of their rows whose prediction set has the true label, and its 95
            % interval.

    Example:
        >>> from multimodal_ser.hub.card_facts import Calibrated
        >>> Calibrated(temperature=0.93, rows=240, speakers=4, ece_before=0.069, ece_after=0.064).rows
        240
    """

    temperature: float | None = None
    rows: int | None = None
    speakers: int | None = None
    ece_before: float | None = None
    ece_after: float | None = None
    ece_unseen: float | None = None
    ece_unseen_interval: list[float] = field(default_factory=list)
    covered_unseen: float | None = None
    covered_unseen_interval: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """The checkpoint that the training of a model started from.

    Args:
        name: Hub id, the last two names of a folder's path, or `SHIPPED_NAME`.
        hub: whether `name` is a Hub id.
        facts: facts of that checkpoint; None: it has no card_facts.json.
        told: the section on training data of its card, where a person wrote that card; Markdown.

    Example:
        >>> from multimodal_ser.hub.card_facts import Source
        >>> Source("me/my-emotions", hub=True).facts is None
        True
    """

    name: str
    hub: bool = False
    facts: CardFacts | None = None
    told: str | None = None


@dataclass(frozen=True)
class CardFacts:
    """Facts about a model beside its weights and configuration; an empty field is not known.

    The operator `|` joins two of them: the evaluations of both stay (equal ones once); in other fields the right
    operand wins.

    Args:
        training_data: the data of training and validation.
        procedure: settings of the training by name: "epochs", "learning rate", ...
        versions: versions of the libraries by name.
        environment: machine and duration of the training: "device", "hours", ...; "energy in kWh" if it was measured.
        evaluation: the evaluations.
        calibration: calibrations by modality case, "both", "audio" or "text".
        started_from: the checkpoint that the training, or another change of the weights, started from.
        temperature: temperatures in the configuration of the model, by modality case.
        weights: sha256 of the weights that these facts are about, the model's `weights_digest()`.

    Example:
        >>> from multimodal_ser.hub.card_facts import CardFacts, DataPart
        >>> facts = CardFacts(training_data=[DataPart("my calls", rows=20)]) | CardFacts(procedure={"epochs": 15})
        >>> CardFacts.from_dict(facts.to_dict()) == facts
        True
    """

    training_data: list[DataPart] = field(default_factory=list)
    procedure: dict[str, Scalar] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Scalar] = field(default_factory=dict)
    evaluation: list[Evaluation] = field(default_factory=list)
    calibration: dict[str, Calibrated] = field(default_factory=dict)
    started_from: Source | None = None
    temperature: dict[str, float] = field(default_factory=dict)
    weights: str | None = None

    def __or__(self, other: CardFacts) -> CardFacts:
        fields = {f.name: getattr(other, f.name) for f in dataclasses.fields(self) if getattr(other, f.name)}
        if other.evaluation:
            keys = {_same(entry) for entry in other.evaluation}
            fields["evaluation"] = [entry for entry in self.evaluation if _same(entry) not in keys] + other.evaluation
        for name in ("procedure", "versions", "environment", "calibration", "temperature"):
            if name in fields:
                fields[name] = getattr(self, name) | fields[name]
        return replace(self, **fields)

    @property
    def says_something(self) -> bool:
        """Whether there is any fact beside the digest of the weights and the temperatures."""
        return self != CardFacts(temperature=self.temperature, weights=self.weights)

    @property
    def learned(self) -> list[DataPart]:
        """The data of training and validation of the model, and of the checkpoints before it."""
        own = [part for part in self.training_data if part.part in ("training", "validation")]
        before = self.started_from.facts if self.started_from is not None else None
        return own + ([] if before is None else before.learned)

    @property
    def tells_data(self) -> bool:
        """Whether the training data of the model, or of a checkpoint before it, is known."""
        source = self.started_from
        return bool(self.training_data) or (
            source is not None and bool(source.told or (source.facts is not None and source.facts.tells_data))
        )

    @property
    def groups(self) -> list[tuple[Measured, str, str, dict[str, float]]]:
        """Figures of groups of people: the system, the kind of group, the name of the group, its figures."""
        return [
            (each, name, value, figures)
            for entry in self.evaluation for each in entry.systems if each.kind != "baseline"
            for name, groups in each.groups.items() for value, figures in groups.items() if "rows" in figures
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain types; empty fields are left out."""
        plain: dict[str, Any] = without_nothing(dataclasses.asdict(self))
        return plain

    @classmethod
    def from_dict(cls, content: Any) -> CardFacts:
        """Facts from the result of `to_dict`; keys that this version does not know are ignored.

        Raises:
            ValueError: a value of another type than documented.
        """
        return _read(cls, content, FACTS_NAME)

    def save(self, folder: str | PathLike) -> None:
        """Write card_facts.json."""
        import json

        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False)
        (Path(folder) / FACTS_NAME).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")

    @classmethod
    def load(cls, path: str | PathLike) -> CardFacts | None:
        """Read the card_facts.json of a folder, or that file; None: there is none.

        Raises:
            ValueError: the file holds something else.
        """
        import json

        path = Path(path)
        path = path / FACTS_NAME if path.is_dir() else path
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path.name}: expected JSON, got something else; delete it") from error
        return cls.from_dict(content)


def facts_of(model: Any) -> CardFacts | None:
    """Facts about a loaded model: those of its checkpoint while the weights are the same, else that checkpoint alone.

    Args:
        model: a `MultimodalEmotionClassifier`.

    Returns:
        The facts; None: nothing is known.
    """
    source = source_of(model)
    if source is None:
        return None
    facts = source.facts
    if facts is None or facts.weights is None or facts.weights != model.weights_digest():
        is_informative = (
            source.hub or source.name == SHIPPED_NAME or source.told or (facts is not None and facts.says_something)
        )
        return CardFacts(started_from=source) if is_informative else None  # the path of a folder alone helps nobody
    # after a new calibration the confidence has not been measured
    if facts.temperature and facts.temperature != model.config.temperature:
        evaluations = [
            replace(entry, systems=[_without_confidence(each) for each in entry.systems]) for entry in facts.evaluation
        ]
        same = {
            case: each
            for case, each in facts.calibration.items()
            if each.temperature == model.config.temperature.get(case)
        }
        facts = replace(facts, evaluation=evaluations, calibration=same)
    return facts


def source_of(model: Any) -> Source | None:
    """The checkpoint that a model was loaded from, with its facts; None: the model was not loaded from a checkpoint."""
    if getattr(model, "_processor_source", None) is None:
        return None
    name, hub = model._processor_source
    folder = Path(name)
    local = folder.is_dir()
    shown = str(name)
    if local:
        shown = SHIPPED_NAME if folder.resolve() == SHIPPED else "/".join(folder.resolve().parts[-2:])
    facts: CardFacts | None = None
    quote: str | None = None
    try:
        path = _file_of(name, FACTS_NAME, hub)
        facts = None if path is None else CardFacts.load(path)
    except ValueError as error:
        warnings.warn(f"{name}: {error}; its card is written without it", stacklevel=2)
    if facts is None:
        card = _file_of(name, "README.md", hub)
        quote = None if card is None else _training_data_section(card.read_text(encoding="utf-8", errors="replace"))
    return Source(shown, not local, facts, quote)


def _same(entry: Evaluation) -> tuple:
    return entry.source, entry.name, entry.protocol, entry.data_hash


def _without_confidence(measured: Measured) -> Measured:
    if measured.kind != "model":
        return measured
    confidence = {metric.name for metric in metrics_of("probabilities")}
    figures = {name: value for name, value in measured.figures.items() if name not in confidence}
    intervals = {name: ends for name, ends in measured.intervals.items() if name not in confidence}
    return replace(measured, figures=figures, intervals=intervals)


def _file_of(source: str, name: str, hub: Mapping[str, Any]) -> Path | None:
    """Path of a file of a checkpoint; None: there is no such file, or the Hub cannot be reached."""
    from transformers.utils import cached_file

    options = {
        key: hub[key] for key in ("revision", "cache_dir", "token", "local_files_only", "subfolder") if key in hub
    }
    if Path(source).is_dir():
        path = Path(source, options.get("subfolder") or "", name)
        return path if path.is_file() else None
    try:
        cached = cached_file(
            source, name, _raise_exceptions_for_gated_repo=False, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False, **options,
        )  # fmt: skip
    except (OSError, ValueError):
        return None
    return None if cached is None else Path(cached)


def _training_data_section(card: str) -> str | None:
    """The section on training data of a card that a person wrote; None: there is none."""
    import re

    section = re.search(r"^#+ +training data[^\n]*\n(.*?)(?=^#+ |\Z)", card, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    if CARD_MARK in card or section is None:
        return None
    return section[1].strip()[:QUOTE_LIMIT] or None


def without_nothing(content: Any) -> Any:
    """Plain types without None, {} and []."""
    if isinstance(content, dict):
        plain = {name: without_nothing(value) for name, value in content.items()}
        return {name: value for name, value in plain.items() if value is not None and value not in ({}, [])}
    return [without_nothing(value) for value in content] if isinstance(content, list | tuple) else content


def _read(kind: Any, value: Any, where: str) -> Any:
    """A value of the type of its annotation; else a ValueError, as the file may come from anybody."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected names and values, got {type(value).__name__}; delete the file")
        hints = typing.get_type_hints(kind)
        names = [f for f in dataclasses.fields(kind) if f.name in value]
        lacking = [f.name for f in dataclasses.fields(kind) if f.name not in value and _is_required(f)]
        if lacking:
            raise ValueError(f"{where}: expected {', '.join(lacking)}, got none; delete the file")
        return kind(**{f.name: _read(hints[f.name], value[f.name], f"{where}, {f.name}") for f in names})  # type: ignore[operator]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is list and isinstance(value, list):
        return [_read(inner[0], each, where) for each in value]
    if origin is dict and isinstance(value, Mapping):
        return {str(name): _read(inner[1], each, where) for name, each in value.items()}
    if inner and origin not in (list, dict):
        if value is None and type(None) in inner:
            return None
        classes = [each for each in inner if each is not type(None)]
        if len(classes) == 1:
            return _read(classes[0], value, where)
        if isinstance(value, tuple(classes)):
            return value
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: expected {kind}, got {value!r:.80}; delete the file")


def _is_required(one: dataclasses.Field) -> bool:
    return one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
