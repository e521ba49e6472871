"""What a card says of a report of `multimodal-ser evaluate` and of `multimodal-ser calibrate`: figures, and nobody's name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal_ser.hub.card_facts import Calibrated, CardFacts, Evaluation, Measured, without_nothing

if TYPE_CHECKING:
    from os import PathLike


def facts_from_report(report: str | PathLike | Mapping[str, Any]) -> CardFacts:
    """What a card says of an evaluation.

    Args:
        report: report.json of `multimodal-ser evaluate`, its folder, or what stands in it.

    Returns:
        Facts with one evaluation, to be put to those of the model with `|`. Speakers, words, paths and commands are left out.

    Raises:
        ValueError: something else than such a report.
    """
    where, content = _json_of(report, "report.json")
    try:
        if content["version"] != 1:
            raise ValueError(
                f"{where}: expected version 1 of report.json, got {content['version']!r}; update multimodal_ser"
            )
        data, protocol = content["data"], content["protocol"]
        manifests = [Path(str(name)) for name in data["manifests"]]
        names = [path.parent.name if path.stem == "manifest" and path.parent.name else path.name for path in manifests]
        folds = protocol["folds"]
        named = protocol["name"] or "the model as it is, on all rows that were given"
        found = Evaluation(
            name=", ".join(data["corpora"] or names) or "not named",
            protocol=named + (f", {len(folds)} folds" if len(folds) > 1 else ""),
            datasets=list(data["corpora"]), rows=data["measured"], hours=data["hours"], speakers=data["speakers"] or None,
            languages=list(data["languages"]), labels=list(content["labels"]),
            folds=len(folds) if protocol["trains"] else None, seeds=len(protocol["seeds"]) if protocol["trains"] else None,
            whisper=content.get("recognition", {}).get("whisper"), wer=content.get("recognition", {}).get("wer"),
            leaks=[unnamed(line) for line in content["leaks"]], notes=[unnamed(line) for line in content["notes"]],
            data_hash=data["data_hash"] or None,
            systems=[_measured(entry) for entry in content["systems"] if entry.get("figures") or entry.get("dimensions")],
            model=None if content["model"] is None else "/".join(Path(content["model"]["name"]).parts[-2:]),
        )  # fmt: skip
        return CardFacts.from_dict(without_nothing({"evaluation": [dataclasses.asdict(found)]}))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: expected a report.json of multimodal-ser evaluate, got something without {error}"
        ) from error


def facts_from_calibration(report: str | PathLike | Mapping[str, Any]) -> CardFacts:
    """What a card says of `multimodal-ser calibrate`.

    Args:
        report: calibration.json, its folder, or what stands in it.

    Raises:
        ValueError: something else than such a report.
    """
    where, content = _json_of(report, "calibration.json")
    try:
        found = {}
        for case, entry in content["cases"].items():
            if not entry.get("calibrated"):
                continue
            unseen = entry.get("unseen_speakers") or {}
            found[case] = dataclasses.asdict(Calibrated(
                entry["temperature"]["after"], entry["rows"], entry["speakers"] or None, entry["ece"]["before"], entry["ece"]["after"],
                unseen.get("ece"), unseen.get("ece_interval") or [], unseen.get("covered"), unseen.get("covered_interval") or [],
            ))  # fmt: skip
        return CardFacts.from_dict(without_nothing({"calibration": found}))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: expected a calibration.json of multimodal-ser calibrate, got something without {error}"
        ) from error


def unnamed(line: str) -> str:
    """A line of a report without what it names: speakers, sentences and recordings stand behind a colon.

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
    kept = ("ua", "wa", "macro_f1", "weighted_f1", "ece")
    figures = {name: entry["figures"][name] for name in kept if name in entry.get("figures", {})}
    intervals = {name: ends for name, ends in entry.get("intervals", {}).items() if name in figures}
    for name, each in entry.get("dimensions", {}).items():
        figures[f"ccc_{name}"], intervals[f"ccc_{name}"] = each["ccc"], each["interval"]
    groups = {
        name: {
            value: {"rows": each["clips"], "ua": each["ua"]}
            for value, each in entry.get("groups", {}).get(name, {}).items()
        }
        for name in ("gender", "language", "corpus")
    }
    whole = {name: list(ends) for name, ends in intervals.items() if ends and None not in ends}
    return Measured(
        entry["case"],
        entry["system"],
        entry["kind"],
        entry["clips"],
        entry.get("speakers"),
        figures,
        whole,
        without_nothing(groups),
    )


def _json_of(given: str | PathLike | Mapping[str, Any], name: str) -> tuple[str, Any]:
    import json

    if isinstance(given, Mapping):
        return name, given
    path = Path(given)
    path = path / name if path.is_dir() else path
    try:
        return str(path), json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{path}: expected {name}, got no file that can be read ({error.strerror}); check the path"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: expected {name}, got something that is no JSON; check the path") from error
