"""What is known of a model beside its weights, as plain values: what its card is written from, kept beside it as card_facts.json."""

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
"""A card that says so may be written anew; one that does not is a person's."""

TRAINER_MARK = (
    "<!-- This model card has been generated automatically according to the information the Trainer had access to."
)
"""So begins what transformers' Trainer writes over a card when it pushes; it asks whoever edits that to take the comment out."""

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained"
SHIPPED_NAME = "the checkpoint that ships in the package multimodal_ser"
TOLD_LIMIT = 4000
"""Characters of what somebody else's card is quoted with, at most."""

Scalar = str | int | float | bool | None
T = TypeVar("T")


@dataclass(frozen=True)
class DataPart:
    """A part of what a model learned from, or was chosen on; None: not known.

    Args:
        name: of the corpus, or of the folder or table that it came from.
        part: "training", "validation" (what the best epoch was chosen on) or "test".
        rows, recordings, texts: how many; a row may have both.
        hours: of the recordings.
        speakers: how many.
        languages: ISO 639-1 codes that its rows name.
        licence: as its makers have it.
        dataset: a Hub id or a corpus's well-known name; None: it has none.

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
    """What one system was worth, given one kind of input.

    Args:
        given: "audio", "text", "audio + text", "recognised text", "audio + recognised text", or "any".
        system: its name in the report.
        kind: "model": these weights; "network": models trained in the same way, fold by fold; "baseline": something to compare with.
        rows, speakers: how many it was measured on.
        figures: by name, the keys of `METRICS`: shares 0..1; `ccc_arousal` and the like -1..1.
        intervals: both ends of the 95 % interval of a figure.
        groups: by gender, language or corpus: UA and rows of each.

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
    """One evaluation: on what, how, and what came of it.

    Args:
        name: of the data.
        source: "report" of `multimodal-ser evaluate`, or "training": the figures that a run ends with.
        protocol: how the rows were divided, in a line; speakers are not named.
        datasets: Hub ids or well-known names of the corpora.
        rows, hours, speakers: how much was measured.
        languages: ISO 639-1 codes.
        labels: classes among which was chosen.
        folds, seeds: how many; None: nothing was trained.
        whisper: which Whisper recognised the words; None: none did.
        wer: its word error rate, 0..; None: unknown.
        leaks, notes: what the report warns of; names of speakers and words are left out.
        data_hash: of what was measured.
        systems: the figures.
        model: what the report calls the model.

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
    """What the temperature of a modality case was fitted on, and what it did to the expected calibration error (0..1).

    Args:
        temperature: that was fitted.
        rows, speakers: that it was fitted on.
        ece_before, ece_after: on the rows that it was fitted on.
        ece_unseen, ece_unseen_interval: on speakers left out of the fit.
        covered_unseen, covered_unseen_interval: share of their rows whose label set held the truth.

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
    """The checkpoint that a model was started from.

    Args:
        name: Hub id, the last two names of a folder's path, or `SHIPPED_NAME`.
        hub: whether `name` is a Hub id.
        facts: its own; None: none were kept.
        told: what the card that a person wrote for it says of its training data, Markdown.

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
    """All that is known of a model beside its weights and configuration; what is left empty is not known.

    Two of them are put together with `|`: evaluations of both are kept (the same one once), of all else what the right one knows.

    Args:
        training_data: what it learned from.
        procedure: how, by the name of what is told: "epochs", "learning rate", ...
        versions: of the libraries, by name.
        environment: on what and how long: "device", "hours", ...; "energy in kWh" where somebody measured it.
        evaluation: what was measured.
        calibration: by modality case, "both", "audio" or "text".
        started_from: the checkpoint that training, or whatever changed the weights, started from.
        temperature: of the configuration that these facts were written for, by modality case.
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
        known = {f.name: getattr(other, f.name) for f in dataclasses.fields(self) if getattr(other, f.name)}
        if other.evaluation:
            keys = {_same(entry) for entry in other.evaluation}
            known["evaluation"] = [entry for entry in self.evaluation if _same(entry) not in keys] + other.evaluation
        for name in ("procedure", "versions", "environment", "calibration", "temperature"):
            if name in known:
                known[name] = getattr(self, name) | known[name]
        return replace(self, **known)

    @property
    def says_something(self) -> bool:
        """Whether anything is known but which weights they are."""
        return self != CardFacts(temperature=self.temperature, weights=self.weights)

    @property
    def learned(self) -> list[DataPart]:
        """What it was trained or chosen on, and what the weights before it were."""
        own = [part for part in self.training_data if part.part in ("training", "validation")]
        before = self.started_from.facts if self.started_from is not None else None
        return own + ([] if before is None else before.learned)

    @property
    def tells_data(self) -> bool:
        """Whether anything is known of what it learned from, or of what the weights before it did."""
        source = self.started_from
        return bool(self.training_data) or (
            source is not None and bool(source.told or (source.facts is not None and source.facts.tells_data))
        )

    @property
    def groups(self) -> list[tuple[Measured, str, str, dict[str, float]]]:
        """What was measured of groups of people: the system, the kind of group, its name, its figures."""
        return [
            (each, name, value, figures)
            for entry in self.evaluation for each in entry.systems if each.kind != "baseline"
            for name, groups in each.groups.items() for value, figures in groups.items() if "rows" in figures
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain types; what is not known is left out."""
        plain: dict[str, Any] = without_nothing(dataclasses.asdict(self))
        return plain

    @classmethod
    def from_dict(cls, content: Any) -> CardFacts:
        """Of `to_dict`; names that this version does not know are left out.

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
            ValueError: it holds something else.
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
    """What is known of a model that was loaded: all that its source knew while the weights are still those; else where it started from.

    Args:
        model: a `MultimodalEmotionClassifier`.

    Returns:
        None: nothing is known.
    """
    source = source_of(model)
    if source is None:
        return None
    known = source.facts
    if known is None or known.weights is None or known.weights != model.weights_digest():
        told = source.hub or source.name == SHIPPED_NAME or source.told or (known is not None and known.says_something)
        return CardFacts(started_from=source) if told else None  # that it is of some folder helps nobody
    if (
        known.temperature and known.temperature != model.config.temperature
    ):  # calibrated anew: how sure it is now, nobody has measured
        kept = [
            replace(entry, systems=[_without_confidence(each) for each in entry.systems]) for entry in known.evaluation
        ]
        same = {
            case: each
            for case, each in known.calibration.items()
            if each.temperature == model.config.temperature.get(case)
        }
        known = replace(known, evaluation=kept, calibration=same)
    return known


def source_of(model: Any) -> Source | None:
    """The checkpoint that a model was loaded from, with what is known of it; None: it was loaded from none."""
    if getattr(model, "_processor_source", None) is None:
        return None
    name, hub = model._processor_source
    folder = Path(name)
    local = folder.is_dir()
    shown = str(name)
    if local:
        shown = SHIPPED_NAME if folder.resolve() == SHIPPED else "/".join(folder.resolve().parts[-2:])
    facts = told = None
    try:
        path = _file_of(name, FACTS_NAME, hub)
        facts = None if path is None else CardFacts.load(path)
    except ValueError as error:
        warnings.warn(f"{name}: {error}; its card is written without it", stacklevel=2)
    if facts is None:
        card = _file_of(name, "README.md", hub)
        told = None if card is None else _told(card.read_text(encoding="utf-8", errors="replace"))
    return Source(shown, not local, facts, told)


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
    """A file of a checkpoint, wherever it is; None: it has none, or it cannot be reached."""
    from transformers.utils import cached_file

    options = {
        key: hub[key] for key in ("revision", "cache_dir", "token", "local_files_only", "subfolder") if key in hub
    }
    if Path(source).is_dir():
        path = Path(source, options.get("subfolder") or "", name)
        return path if path.is_file() else None
    try:
        found = cached_file(
            source, name, _raise_exceptions_for_gated_repo=False, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False, **options,
        )  # fmt: skip
    except (OSError, ValueError):
        return None
    return None if found is None else Path(found)


def _told(card: str) -> str | None:
    """What a card that a person wrote says of training data."""
    import re

    section = re.search(r"^#+ +training data[^\n]*\n(.*?)(?=^#+ |\Z)", card, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    if CARD_MARK in card or section is None:
        return None
    return section[1].strip()[:TOLD_LIMIT] or None


def without_nothing(content: Any) -> Any:
    """Plain types without None, {} and []."""
    if isinstance(content, dict):
        plain = {name: without_nothing(value) for name, value in content.items()}
        return {name: value for name, value in plain.items() if value is not None and value not in ({}, [])}
    return [without_nothing(value) for value in content] if isinstance(content, list | tuple) else content


def _read(kind: Any, value: Any, where: str) -> Any:
    """A value as its annotation says; a file may come from anybody."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected names and values, got {type(value).__name__}; delete the file")
        hints = typing.get_type_hints(kind)
        names = [f for f in dataclasses.fields(kind) if f.name in value]
        lacking = [f.name for f in dataclasses.fields(kind) if f.name not in value and _needed(f)]
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


def _needed(one: dataclasses.Field) -> bool:
    return one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
