"""The sections of a report, for Markdown and for the page; they only format the figures of report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multimodal_ser.evaluation.statistics import percent, span, system_name
from multimodal_ser.metrics.registry import METRICS, Metric, current_names, metrics_of, shown_metrics

OF_GROUPS = ("ua", "accuracy")
OF_CONDITIONS = ("ua", "accuracy", "ece")
"""Names of the metrics in narrow tables."""


@dataclass(frozen=True)
class Table:
    """Rows under a head; `folded`: the page shows the table on a click; `heat`: cells have colours."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False
    heat: bool = False


@dataclass(frozen=True)
class Section:
    """A heading with texts, tables and pictures.

    Args:
        key: short name for links and tests.
        title: text of the heading.
        paragraphs, items: texts.
        tables: tables of figures.
        pictures: pictures of `plots`, each a kind and the part of the report that it shows.

    Example:
        >>> from multimodal_ser.evaluation.report.sections import Section
        >>> Section("leaks", "Leaks", items=["none"]).items
        ['none']
    """

    key: str
    title: str
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[tuple[str, Any]] = field(default_factory=tuple)


def sections(report: Mapping[str, Any]) -> list[Section]:
    """All sections for which the report has content.

    Args:
        report: result of `report.build_report`, or a report.json of an earlier version.
    """
    report = current_names(report)
    all_sections = [
        _summary(report),
        _warnings(report),
        _comparisons(report),
        _modalities(report),
        _recognition(report),
    ]
    all_sections += [_classes(entry) for entry in report["systems"] if "figures" in entry]
    all_sections += [_dimensions(report), _robustness(report), _data(report), _protocol(report), _made_with(report)]
    return [section for section in all_sections if section is not None]


def _summary(report: Mapping[str, Any]) -> Section:
    head = ["system", "clips", *(metric.title for metric in shown_metrics()), "UA, 95 % interval"]
    measured = [entry for entry in report["systems"] if "figures" in entry]
    rows = [
        [
            system_name(entry),
            str(entry["clips"]),
            *_shown(entry["figures"]),
            span(entry["intervals"]["ua"]),
        ]
        for entry in measured
    ]
    explained = [metric for metric in shown_metrics() if metric.meaning]
    meanings = (f"{m.title} {'is ' if m is explained[0] else ''}{m.meaning}" for m in explained)
    intro = f"In percent. {', '.join(meanings)}. Intervals resample speakers."
    seeds = [entry for entry in measured if "seeds" in entry]
    tables = [Table("", head, rows)]
    if seeds:
        each = list(seeds[0]["seeds"]["each"])
        spread = [
            [
                system_name(e),
                *(percent(e["seeds"]["each"].get(s, {}).get("ua")) for s in each),
                percent(e["seeds"]["standard_deviation"]["ua"]),
            ]
            for e in seeds
        ]
        tables.append(Table("UA of each seed", ["system", *(f"seed {s}" for s in each), "standard deviation"], spread))
    folds = [entry for entry in measured if "folds" in entry]
    if folds:
        names = list(dict.fromkeys(name for entry in folds for name in entry["folds"]))
        rows = [
            [
                system_name(e),
                *(percent(e["folds"].get(n, {}).get("ua")) for n in names),
                percent(e["mean_over_folds"]["ua"]),
            ]
            for e in folds
        ]
        tables.append(Table("UA of each fold", ["system", *names, "mean"], rows, folded=len(names) > 10))
    return Section(
        "summary", "Figures", [intro], tables=tables, pictures=[("systems", measured)] if len(measured) > 1 else []
    )


def _warnings(report: Mapping[str, Any]) -> Section:
    leaks = [f"Leak: {leak}" for leak in report["leaks"]]
    fine = (
        []
        if leaks or not report["protocol"]["trains"]
        else ["No leak was found: no speaker and no recording is on two sides."]
    )
    return Section("notes", "Leaks and notes", fine, [*leaks, *report["notes"]])


def _comparisons(report: Mapping[str, Any]) -> Section | None:
    if not report["comparisons"]:
        return None
    rows = [
        [
            _label(each["system"], each["case"]), percent(each["ua"]), _label(each["against"], each["against_case"]),
            percent(each["against_ua"]), percent(each["difference"]), span(each["interval"]), str(each["clips"]),
        ]
        for each in report["comparisons"]
    ]  # fmt: skip
    text = "UA on the clips that both answered; an interval that holds 0 says that these speakers do not tell the two apart."
    head = ["system", "UA", "against", "UA", "difference", "95 % interval", "clips"]
    return Section("comparisons", "What is added", [text], tables=[Table("", head, rows)])


def _modalities(report: Mapping[str, Any]) -> Section | None:
    if not report["modalities"]:
        return None
    tables = []
    for each in report["modalities"]:
        rows = [[case, *_shown(figures)] for case, figures in each["cases"].items()]
        head = ["given", *(metric.title for metric in shown_metrics())]
        tables.append(Table(f"{each['system']}, the same {each['clips']} clips", head, rows))
    return Section("modalities", "Audio, text, both", tables=tables)


def _recognition(report: Mapping[str, Any]) -> Section | None:
    recognition = report.get("recognition")
    if recognition is None:
        return None
    if "wer" not in recognition:
        return Section(
            "recognition",
            "Recognised words",
            ["The manifest does not say what was said: there is nothing to compare with."],
        )
    rows = [["all", str(recognition["clips"]), percent(recognition["wer"])]]
    rows += [[name, str(each["clips"]), percent(each["wer"])] for name, each in recognition["by_language"].items()]
    text = (
        f"Whisper {recognition['whisper']}, word error rate without case and punctuation "
        f"(as written: {percent(recognition['wer_as_written'])}); "
        f"in {recognition['silent']} clips no words were recognised."
    )
    return Section("recognition", "Recognised words", [text], tables=[Table("", ["language", "clips", "WER"], rows)])


def _classes(entry: Mapping[str, Any]) -> Section:
    figures, labels = entry["figures"], list(entry["per_class"])
    lines = [
        f"{metric.title} {figure}"
        + (f" ({_span(metric, entry['intervals'].get(metric.name))})" if metric.interval else "")
        for metric, figure in zip(shown_metrics(), _shown(figures), strict=True)
    ]
    selective = entry["selective"]
    text = (
        f"Where the least certain clips are left out ({percent(selective['kept'])} % are kept, "
        f"confidence {selective['confidence']:.3f} and more): "
        f"UA {percent(selective['ua'])}, {percent(selective['ua_gain'])} more ({span(selective['interval'])}). "
        f"Area under the risk-coverage curve: {figures['aurc']:.3f}."
    )
    recalls = [
        [label, str(each["clips"]), percent(each["recall"]), str(each["predicted"])]
        for label, each in entry["per_class"].items()
    ]
    matrix = [
        [label, *map(str, counts)] for label, counts in zip(labels, entry["confusion_matrix"], strict=True) if sum(counts)
    ]  # fmt: skip
    curve = [
        [f"{b['lower']:.1f} to {b['upper']:.1f}", str(int(b["count"])), _three(b["confidence"]), _three(b["accuracy"])]
        for b in entry["reliability"] if b["count"]
    ]  # fmt: skip
    risks = [[percent(point["coverage"]), percent(point["risk"])] for point in entry["risk_coverage"]]
    tables = [
        Table("Recall of each class", ["annotated", "clips", "recall", "predicted"], recalls),
        Table("Which was taken for which (rows: annotated, columns: predicted)", ["", *labels], matrix, heat=True),
    ]
    for name, groups in entry["groups"].items():
        rows = [[value, str(each["clips"]), *_shown(each, OF_GROUPS)] for value, each in groups.items()]
        head = [name, "clips", *(METRICS[metric].title for metric in OF_GROUPS)]
        tables.append(Table(f"By {name}", head, rows, folded=len(rows) > 6))
    tables += [
        Table("Confidence and accuracy", ["confidence", "clips", "mean confidence", "accuracy"], curve, folded=True),
        Table("Errors among the surest clips", ["coverage, %", "errors, %"], risks, folded=True),
    ]
    key = f"system-{entry['system']}-{entry['case']}".replace(" ", "-").replace("+", "and")
    pictures = [("reliability", entry["reliability"]), ("risk", entry["risk_coverage"])]
    return Section(key, system_name(entry), [", ".join(lines) + ".", text], tables=tables, pictures=pictures)


def _dimensions(report: Mapping[str, Any]) -> Section | None:
    metrics = metrics_of("dimensions")
    rows = [
        [system_name(entry), name, str(each["clips"])]
        + [cell for m in metrics for cell in (m.text(each.get(m.name)), _span(m, each.get(m.interval_key)))]
        for entry in report["systems"] for name, each in entry.get("dimensions", {}).items()
    ]  # fmt: skip
    if not rows:
        return None
    head = ["system", "dimension", "clips", *(cell for m in metrics for cell in (m.title, "95 % interval"))]
    meanings = [f"{metric.meaning}." for metric in metrics if metric.meaning]
    return Section("dimensions", "Dimensions", meanings, tables=[Table("", head, rows)])


def _robustness(report: Mapping[str, Any]) -> Section | None:
    conditions = report["robustness"]
    if not conditions:
        return None
    rows = [
        [each["system"], each["condition"], str(each["clips"]), *_shown(each, OF_CONDITIONS)] for each in conditions
    ]  # fmt: skip
    text = "Audio alone, each recording disturbed as the condition says."
    head = ["system", "condition", "clips", *(METRICS[name].title for name in OF_CONDITIONS)]
    return Section(
        "robustness",
        "Disturbed recordings",
        [text],
        tables=[Table("", head, rows)],
        pictures=[("robustness", conditions)],
    )


def _data(report: Mapping[str, Any]) -> Section:
    data = report["data"]
    items = [
        f"read: {', '.join(data['manifests'])}; {data['rows']} rows could be used, {data['left_out']} not",
        f"measured: {data['measured']} rows, {data['recordings']} recordings ({data['hours']:.3f} h), {data['texts']} with words",
        f"speakers: {data['speakers'] or 'not named'}; languages: {', '.join(data['languages']) or 'not named'}; "
        f"corpora: {', '.join(data['corpora']) or 'not named'}",
        f"classes: {', '.join(f'{label} {count}' for label, count in data['classes'].items())}"
        + (f"; several or none {data['several_admissible']}" if data["several_admissible"] else ""),
        f"data hash: {data['data_hash']}",
    ]
    model = report["model"]
    if model is not None:
        items.append(f"model: {model['name']}")
        if model["training_data_from"]:
            items.append(f"trained on, says {model['training_data_from']}: {'; '.join(model['training_data'])}")
    tables = []
    if report["left_out"]:
        tables.append(
            Table("Rows that could not be used", ["why"], [[line] for line in report["left_out"]], folded=True)
        )
    return Section("data", "Data", items=items, tables=tables)


def _protocol(report: Mapping[str, Any]) -> Section:
    protocol = report["protocol"]
    name = protocol["name"] or "none: the model was measured as it is, nothing was trained but baselines"
    rows = [
        [fold["name"] or "all", str(fold["train"]), str(fold["validation"]), str(fold["test"]), fold["protocol"]]
        for fold in protocol["folds"]
    ]  # fmt: skip
    options = protocol.get("training")
    shown = (
        "" if options is None else ", ".join(f"{name}={value}" for name, value in options.items()) or "none was given"
    )
    items = [] if options is None else [f"training options: {shown}"]
    head = ["fold", "train", "validation", "measured", "how"]
    return Section(
        "protocol", "Protocol", [f"Protocol: {name}."], items, [Table("", head, rows, folded=len(rows) > 10)]
    )


def _made_with(report: Mapping[str, Any]) -> Section:
    environment = report["environment"]
    packages = {**environment["packages"], **environment["extras"]}
    items = [
        f"command: {environment['command']}",
        f"multimodal_ser {environment['multimodal_ser']}, commit {environment['git'] or 'not known'}, Python {environment['python']}",
        ", ".join(f"{name} {version}" for name, version in packages.items() if version),
        f"{environment['platform']}, {environment['processors']} processors",
    ]
    return Section("environment", "Made with", items=items)


def _label(system: str, case: str) -> str:
    return system_name({"system": system, "case": case})


def _shown(figures: Mapping[str, Any], names: Sequence[str] = ()) -> list[str]:
    """Some metrics as cells of a table, or all that tables show."""
    metrics = [METRICS[name] for name in names] or shown_metrics()
    return [metric.text(figures.get(metric.name)) for metric in metrics]


def _span(metric: Metric, ends: Sequence[float | None] | None) -> str:
    return span(ends, metric.factor, metric.digits)


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
