"""Facts for a model card from the reports of an evaluation and of a calibration, without names of people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal_ser.hub.card_facts import Calibrated, CardFacts, Evaluation, Measured, without_nothing
from multimodal_ser.metrics.registry import current_names, metrics_of, shown_metrics

if TYPE_CHECKING:
    from os import PathLike


def facts_from_report(report: str | PathLike | Mapping[str, Any]) -> CardFacts:
    """Facts for a card from an evaluation.

    Args:
        report: report.json of `multimodal-ser evaluate`: its path, its folder, or its content.

    Returns:
        Facts with one evaluation; `|` joins them with those of the model. Speakers, words, paths and commands are left
        out.

    Raises:
        ValueError: `report` is no such report.
    """
    where, content = _json_of(report, "report.json")
    content = current_names(content)
    try:
        if content["version"] != 1:
            raise ValueError(
                f"{where}: expected version 1 of report.json, got {content['version']!r}; update multimodal_ser"
            )
        data, protocol = content["data"], content["protocol"]
        manifests = [Path(str(name)) for name in data["manifests"]]
        names = [path.parent.name if path.stem == "manifest" and path.parent.name else path.name for path in manifests]
        folds = protocol["folds"]
        protocol_name = protocol["name"] or "the model as it is, on all rows that were given"
        evaluation = Evaluation(
            name=", ".join(data["corpora"] or names) or "not named",
            protocol=protocol_name + (f", {len(folds)} folds" if len(folds) > 1 else ""),
            datasets=list(data["corpora"]), rows=data["measured"], hours=data["hours"], speakers=data["speakers"] or None,
            languages=list(data["languages"]), labels=list(content["labels"]),
            folds=len(folds) if protocol["trains"] else None, seeds=len(protocol["seeds"]) if protocol["trains"] else None,
            whisper=content.get("recognition", {}).get("whisper"), wer=content.get("recognition", {}).get("wer"),
            leaks=[unnamed(line) for line in content["leaks"]], notes=[unnamed(line) for line in content["notes"]],
            data_hash=data["data_hash"] or None,
            systems=[_measured(entry) for entry in content["systems"] if entry.get("figures") or entry.get("dimensions")],
            model=None if content["model"] is None else "/".join(Path(content["model"]["name"]).parts[-2:]),
        )  # fmt: skip
        return CardFacts.from_dict(without_nothing({"evaluation": [dataclasses.asdict(evaluation)]}))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: expected a report.json of multimodal-ser evaluate, got something without {error}"
        ) from error


def facts_from_calibration(report: str | PathLike | Mapping[str, Any]) -> CardFacts:
    """Facts for a card from a calibration.

    Args:
        report: calibration.json of `multimodal-ser calibrate`: its path, its folder, or its content.

    Returns:
        Facts with the calibration of each modality case.

    Raises:
        ValueError: `report` is no such report.
    """
    where, content = _json_of(report, "calibration.json")
    try:
        cases = {}
        for case, entry in content["cases"].items():
            if not entry.get("calibrated"):
                continue
            unseen = entry.get("unseen_speakers") or {}
            cases[case] = dataclasses.asdict(Calibrated(
                entry["temperature"]["after"], entry["rows"], entry["speakers"] or None, entry["ece"]["before"], entry["ece"]["after"],
                unseen.get("ece"), unseen.get("ece_interval") or [], unseen.get("covered"), unseen.get("covered_interval") or [],
            ))  # fmt: skip
        return CardFacts.from_dict(without_nothing({"calibration": cases}))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: expected a calibration.json of multimodal-ser calibrate, got something without {error}"
        ) from error


def unnamed(line: str) -> str:
    """A line of a report without the names behind its colon: those of speakers, sentences and recordings.

    Example:
        >>> from multimodal_ser.hub.card_reports import unnamed
        >>> unnamed("fold 1: 2 voices in train and test (3 of 9 rows of test): Ann, Bo (and likewise in 4 other folds)")
        'fold 1: 2 voices in train and test (3 of 9 rows of test) (and likewise in 4 other folds)'
    """
    line = line.replace("not refused, but worth knowing: ", "")
    others = line[line.rfind(" (and likewise in ") :] if line.endswith(")") and " (and likewise in " in line else ""
    line = line.removesuffix(others)
    fold, colon, rest = line.partition(": ")
    if colon and fold.startswith("fold "):
        return f"{fold}: {rest.partition(': ')[0]}{others}"
    return f"{fold}{others}"


def _measured(entry: Mapping[str, Any]) -> Measured:
    shown = (metric.name for metric in shown_metrics())
    figures = {name: entry["figures"][name] for name in shown if name in entry.get("figures", {})}
    intervals = {name: ends for name, ends in entry.get("intervals", {}).items() if name in figures}
    for name, each in entry.get("dimensions", {}).items():
        for metric in metrics_of("dimensions"):
            key = f"{metric.name}_{name}"
            figures[key], intervals[key] = each.get(metric.name), each.get(metric.interval_key)
    groups = {
        name: {
            value: {"rows": each["clips"], "ua": each["ua"]}
            for value, each in entry.get("groups", {}).get(name, {}).items()
        }
        for name in ("gender", "language", "corpus")
    }
    complete = {name: list(ends) for name, ends in intervals.items() if ends and None not in ends}
    return Measured(
        entry["case"],
        entry["system"],
        entry["kind"],
        entry["clips"],
        entry.get("speakers"),
        figures,
        complete,
        without_nothing(groups),
    )


def _json_of(report: str | PathLike | Mapping[str, Any], name: str) -> tuple[str, Any]:
    import json

    if isinstance(report, Mapping):
        return name, report
    path = Path(report)
    path = path / name if path.is_dir() else path
    try:
        return str(path), json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{path}: expected {name}, got no file that can be read ({error.strerror}); check the path"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: expected {name}, got something that is no JSON; check the path") from error
