"""Functions that build the report of an evaluation and write it as JSON, as Markdown and as an HTML page."""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal_ser._files import write_json, write_text
from multimodal_ser.evaluation.data import EvaluatedRows, Part
from multimodal_ser.evaluation.outputs import AUDIO, BOTH, CASES, HEARD_BOTH, HEARD_TEXT, TEXT, Answers
from multimodal_ser.evaluation.report.html import render_html
from multimodal_ser.evaluation.report.sections import sections
from multimodal_ser.evaluation.statistics import (
    Pooled,
    difference,
    short_figures,
    span,
    system_figures,
    system_name,
)
from multimodal_ser.metrics.registry import LEADING, METRICS, shown_metrics

if TYPE_CHECKING:
    from multimodal_ser.corpora.provenance import Provenance
    from multimodal_ser.evaluation.arguments import EvaluationArguments
    from multimodal_ser.labels.merging import Merging

VERSION = 1
"""Version of report.json; it is raised when a key gets another meaning."""

FEW_SPEAKERS = 10
"""With fewer speakers than this, the report says that they are few."""

ENOUGH_CLIPS = 1000
"""With fewer clips than this, the report says that even perfect calibration has an error above 0."""


def in_short(answers: Answers, data: EvaluatedRows) -> str:
    """A line for the terminal while an evaluation runs: UA, accuracy, number of clips, seconds."""
    pooled = Pooled.of([answers], data)
    size = f"{len(answers.rows)} clip{'s' * (len(answers.rows) != 1)}, {answers.seconds:.0f} s"
    if not len(pooled):
        return size
    figures = short_figures(pooled)
    shown = ", ".join(f"{METRICS[name].title} {METRICS[name].text(figures[name])}" for name in ("ua", "accuracy"))
    return f"{shown} ({size})"


def build_report(
    args: EvaluationArguments,
    data: EvaluatedRows,
    parts: Sequence[Part],
    answers: Sequence[Answers],
    words: Mapping[int, tuple[str, str | None]] | None = None,
    data_hash: str = "",
    provenance: Provenance | None = None,
    transcriber: str | None = None,
    merging: Merging | None = None,
) -> dict[str, Any]:
    """The content of report.json, in plain types.

    Args:
        args: options of the evaluation.
        data: the annotated rows.
        parts: the folds.
        answers: answers of all systems.
        words: recognised text and language, by index of a clip.
        data_hash: sha256 of the measured data.
        provenance: training data of a model that is measured as it is.
        transcriber: name of the Whisper that recognised the words.
        merging: merging of the labels of a model that is measured as it is.

    Returns:
        The keys and units are described in docs/evaluation.md.
    """
    from multimodal_ser.training.run_folder import environment

    plain: dict[tuple, list[Answers]] = {}
    disturbed: dict[tuple, list[Answers]] = {}
    for each in answers:
        question = each.question
        if question.condition:
            disturbed.setdefault((question.system, question.condition), []).append(each)
        else:
            plain.setdefault((question.system, question.case), []).append(each)
    order = sorted(plain, key=lambda key: (plain[key][0].question.kind == "baseline", _place(key[1])))
    systems = [system_figures(plain[key], data, args.resamples) for key in order]
    measured = sorted({row for part in parts for row in part.split.test})
    report: dict[str, Any] = {
        "version": VERSION,
        "title": _title(args),
        "data": _data(args, data, measured, data_hash),
        "protocol": _protocol(args, parts),
        "labels": list(data.labels),
        "label_set": args.label_set,
        "model": _model(provenance, merging),
        "systems": systems,
        "comparisons": _comparisons(order, plain, data, args.resamples),
        "modalities": _side_by_side(plain, data),
        "robustness": _robustness(plain, disturbed, data),
        "leaks": _joined_notes([(part.name, leak) for part in parts for leak in part.leaks]),
        "notes": _notes(args, data, parts, systems, provenance, merging),
        "left_out": [str(error) for error in data.errors],
        "environment": environment() | {"extras": _versions("scikit-learn", "jiwer", "matplotlib", "opensmile")},
    }
    if words is not None:
        from multimodal_ser.evaluation.asr import word_errors

        report["recognition"] = {"whisper": transcriber} | word_errors(data.clips, words, measured)
    return report


def write_report(report: Mapping[str, Any], folder: str | Path) -> None:
    """Write report.json, report.md and report.html."""
    folder = Path(folder)
    write_json(folder / "report.json", report)
    write_text(folder / "report.md", render_markdown(report), errors="backslashreplace")
    write_text(folder / "report.html", render_html(report), errors="xmlcharrefreplace")


def _place(case: str) -> int:
    return CASES.index(case) if case in CASES else len(CASES)


def _title(args: EvaluationArguments) -> str:
    names = ", ".join(
        Path(source).parent.name if Path(source).stem == "manifest" else Path(source).name for source in args.data
    )
    return f"Emotion recognition on {names or 'a manifest'}"


def _data(args: EvaluationArguments, data: EvaluatedRows, measured: Sequence[int], data_hash: str) -> dict[str, Any]:
    clips = [data.clips[row] for row in measured]
    classes = data.classes[list(measured)]
    single = (classes.float() > 0).sum(1) == 1
    counts = Counter(int(row.float().argmax()) for row in classes[single])
    spoken = [clip for clip in clips if clip.row.path is not None]
    return {
        "manifests": list(data.sources), "data_hash": data_hash, "rows": len(data.clips), "left_out": len(data.errors),
        "without_place": dict(data.without_place),
        "measured": len(clips), "recordings": len(spoken), "texts": sum(bool(clip.row.text) for clip in clips),
        "hours": sum(clip.duration for clip in spoken) / 3600,
        "speakers": len({clip.row.speaker for clip in clips if clip.row.speaker}),
        "languages": sorted({clip.row.language for clip in clips if clip.row.language}),
        "corpora": sorted({clip.row.corpus for clip in clips if clip.row.corpus}),
        "classes": {label: counts[k] for k, label in enumerate(data.labels)}, "several_admissible": int((~single).sum()),
    }  # fmt: skip


def _protocol(args: EvaluationArguments, parts: Sequence[Part]) -> dict[str, Any]:
    folds = [
        {
            "name": part.name, "protocol": part.split.protocol, "train": len(part.split.train), "validation": len(part.split.validation),
            "test": len(part.split.test), "leaks": list(part.leaks), "notes": list(part.split.notes),
        }
        for part in parts
    ]  # fmt: skip
    trained = {"training": args.training()} if args.protocol is not None and not args.only_baselines else {}
    return {
        "name": args.protocol,
        "trains": args.protocol is not None,
        "folds": folds,
        "seeds": list(args.seeds),
        **trained,
    }


def _model(provenance: Provenance | None, merging: Merging | None) -> dict[str, Any] | None:
    if provenance is None:
        return None
    return {
        "labels_without_place": list(merging.dropped) if merging is not None else [],
        "name": provenance.model,
        "training_data_from": provenance.source,
        "training_data": list(provenance.told),
        "rows_of_seen_speakers": len(provenance.seen),
    }


def _comparisons(
    order: Sequence[tuple], plain: Mapping[tuple, Sequence[Answers]], data: EvaluatedRows, resamples: int
) -> list[dict[str, Any]]:
    """Differences in UA, on the same clips, of the network and each baseline, and of its best and each other case."""
    pooled = {key: Pooled.of(plain[key], data) for key in order}
    networks = [key for key in order if plain[key][0].question.kind != "baseline" and len(pooled[key])]
    if not networks:
        networks = [key for key in order if len(pooled[key])]
        if len(networks) < 2:
            return []
        networks.sort(key=lambda key: -short_figures(pooled[key])[LEADING])
    main = next((key for case in (BOTH, AUDIO, TEXT) for key in networks if key[1] == case), networks[0])
    comparisons = []
    for key in order:
        if key == main or not len(pooled[key]):
            continue
        fair = main
        if plain[key][0].question.kind == "baseline" and plain[main][0].question.kind != "baseline":
            # a baseline on audio is compared with a network on audio
            fair = next((candidate for candidate in networks if candidate[1] == key[1]), main)
        gain = difference(pooled[fair], pooled[key], data, resamples)
        if gain is not None:
            comparisons.append({"system": fair[0], "case": fair[1], "against": key[0], "against_case": key[1], **gain})
    return comparisons


def _side_by_side(plain: Mapping[tuple, Sequence[Answers]], data: EvaluatedRows) -> list[dict[str, Any]]:
    """Figures of audio alone, text alone and both, for each network, on the clips with answers in all cases."""
    import numpy as np

    entries = []
    for system in dict.fromkeys(key[0] for key in plain):
        cases = {
            case: Pooled.of(plain[system, case], data)
            for case in (AUDIO, TEXT, BOTH, HEARD_TEXT, HEARD_BOTH)
            if (system, case) in plain
        }
        if len(cases) < 2:
            continue
        common: set[int] = set.intersection(*(set(pooled.rows.tolist()) for pooled in cases.values()))
        if not common:
            continue
        chosen = {case: pooled.among(np.isin(pooled.rows, sorted(common))) for case, pooled in cases.items()}
        entries.append(
            {
                "system": system,
                "clips": len(common),
                "cases": {case: short_figures(pooled) for case, pooled in chosen.items()},
            }
        )
    return entries


def _robustness(
    plain: Mapping[tuple, Sequence[Answers]], disturbed: Mapping[tuple, Sequence[Answers]], data: EvaluatedRows
) -> list[dict[str, Any]]:
    """Figures of each system under each condition; the first entry of a system is the recordings as they are."""
    from multimodal_ser.evaluation.robustness import conditions

    if not disturbed:
        return []
    by_name = {condition.name: condition for rooms in (False, True) for condition in conditions(rooms=rooms)}
    systems = dict.fromkeys(key[0] for key in disturbed)
    entries = []
    for system in systems:
        rows: list[tuple[str, str, float | None, Sequence[Answers]]] = [
            ("as recorded", "as recorded", None, plain[system, AUDIO])
        ]
        for (name, condition), answers in disturbed.items():
            if name == system:
                rows.append((condition, by_name[condition].kind, by_name[condition].level, list(answers)))
        for name, kind, level, answers in rows:
            pooled = Pooled.of(answers, data)
            if len(pooled):
                clips = len(set(pooled.rows.tolist()))
                entries.append(
                    {
                        "system": system,
                        "condition": name,
                        "kind": kind,
                        "level": level,
                        "clips": clips,
                        **short_figures(pooled),
                    }
                )
    return entries


def _notes(
    args: EvaluationArguments,
    data: EvaluatedRows,
    parts: Sequence[Part],
    systems: Sequence[Mapping[str, Any]],
    provenance: Provenance | None,
    merging: Merging | None = None,
) -> list[str]:
    """Notes that a reader needs to judge the figures."""
    notes_of_folds = [
        (part.name, note) for part in parts for note in part.split.notes if not note.startswith("the split leaks")
    ]
    notes = _joined_notes(notes_of_folds)
    notes += [note for note in data.notes if note not in notes]
    if merging is not None and merging.dropped:
        notes.append(
            f"labels of the model without a place in the label set {args.label_set}: {', '.join(merging.dropped)}; what it gave them was "
            "shared out among its other labels, as if it had been asked only among those (predict refuses this label set)"
        )
    if provenance is not None:
        notes += provenance.notes
    if args.protocol is not None and len(args.folds) and args.folds:
        notes.append(f"only the folds {', '.join(args.folds)} were run")
    speakers = {data.clips[row].row.speaker for part in parts for row in part.split.test} - {None}
    if 0 < len(speakers) < FEW_SPEAKERS:
        notes.append(
            f"{len(speakers)} speaker{'s are' if len(speakers) > 1 else ' is'} few: expect several points of difference on others"
        )
    if not speakers:
        notes.append(
            "no speakers are named: intervals resample recordings, and promise too much for voices that were not met"
        )
    elif len(speakers) == 1:
        notes.append("of one speaker no interval follows for others")
    clips = max((entry["clips"] for entry in systems if "figures" in entry), default=0)
    if 0 < clips < ENOUGH_CLIPS:
        notes.append(
            f"with {clips} clips the ECE of a perfectly calibrated model would be above 0 too, by several points below 300 clips"
        )
    if any("seeds" in entry for entry in systems):
        notes.append(
            f"of what was trained with {len(args.seeds)} seeds each clip counts once a seed in tables of counts"
        )
    for entry in systems:
        absent = [
            label for label, each in entry.get("per_class", {}).items() if not each["clips"] and each["predicted"]
        ]
        if absent and entry["kind"] != "baseline":
            notes.append(
                f"{system_name(entry)} also answers {', '.join(absent)}, which nobody annotated here: these are errors"
            )
        if entry["unanswered"]:
            notes.append(f"{system_name(entry)}: {entry['unanswered']} without an answer are in none of its figures")
    return notes


def _joined_notes(notes: Sequence[tuple[str, str]]) -> list[str]:
    """One line for notes of several folds that differ in their numbers alone, behind the name of the first fold."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for fold, note in notes:
        kinds.setdefault(re.sub(r"[\d.,]+|: .*", "#", note), []).append((fold, note))
    lines = []
    for members in kinds.values():
        fold, note = members[0]
        others = len({name for name, _ in members}) - 1
        lines.append(
            f"{f'{fold}: ' if fold else ''}{note}"
            + (f" (and likewise in {others} other fold{'s' * (others > 1)})" if others else "")
        )
    return lines


def _versions(*names: str) -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def summary_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The summary table: one row for each system, with its columns by name; shares in percent."""
    rows = []
    for entry in report["systems"]:
        figures = entry.get("figures")
        if figures:
            row = {"system": entry["system"], "heard": entry["case"], "clips": entry["clips"]}
            row |= {m.title: round(m.factor * figures[m.name], m.digits + 1) for m in shown_metrics()}
            rows.append(row | {"UA 95 %": span(entry["intervals"]["ua"])})
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table, its cells escaped."""
    lines = [[escaped(cell) for cell in line] for line in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def escaped(text: Any) -> str:
    """The text, escaped so that Markdown shows it unchanged: names of speakers, files and emotions may hold any sign.

    Example:
        >>> from multimodal_ser.evaluation.report.build import escaped
        >>> print(escaped("<b>Ann</b> [a](b) | x"))
        &lt;b>Ann&lt;/b> \\[a](b) \\| x
    """
    plain = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[|]|(?<!\w)_|_(?!\w))", r"\\\1", plain)


def render_markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown, the summary first.

    Args:
        report: the result of `build_report`.
    """
    lines = [f"# {escaped(report['title'])}", ""]
    for section in sections(report):
        lines += [f"## {escaped(section.title)}", ""]
        for text in section.paragraphs:
            lines += [escaped(text), ""]
        if section.items:
            lines += [*(f"- {escaped(item)}" for item in section.items), ""]
        for part in section.tables:
            if part.title:
                lines += [f"**{escaped(part.title)}**", ""]
            lines += table(part.head, part.rows)
    return "\n".join(lines)
