"""Calibration: confidence that means what it says, a way to abstain, and label sets that hold the right label as often as is asked for.

All of it is fitted on recordings that the model was neither trained on nor selected by, and stored in the model's configuration.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from multimodal_ser._files import no_empty_folder, write_json
from multimodal_ser._progress import ProgressBar
from multimodal_ser.calibration.logits import Case, Collected, collect, contexts_of
from multimodal_ser.calibration.selective import (
    ConfidenceThreshold,
    Method,
    checked_coverage,
    checked_error,
    checked_method,
    confidence_threshold,
    conformal_sets,
    conformal_threshold,
)  # fmt: skip
from multimodal_ser.calibration.temperature import TEMPERATURES, Windows, fit_temperature
from multimodal_ser.corpora.provenance import CALIBRATION, Origin, concerned, origin
from multimodal_ser.corpora.targets import Labelled, labelled_rows
from multimodal_ser.errors import InputError
from multimodal_ser.labels.merging import Merging

__all__ = [
    "ConfidenceThreshold", "calibrate", "calibrate_manifest", "confidence_threshold", "conformal_sets", "conformal_threshold", "describe",
    "fit_temperature",
]  # fmt: skip

if TYPE_CHECKING:
    from multimodal_ser.corpora import ManifestRow
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

FEW_ROWS = 100
"""With fewer the report says that they are few."""

LEAST_ROWS = 30
"""With fewer a case is left as it was: a temperature of so few is noise, and leaves the model of eight classes worse off more often than
not, unless it was off by more than a third (simulated; see docs/calibration.md)."""

FEW_TEXTS = 30
"""With fewer different texts (acted corpora repeat a few sentences) the temperature of text alone is left as it is, unless asked for."""

FOLLOWS = {
    "train": "there it is right more often than anywhere else, and what is fitted on them promises too much; calibrate on others",
    "validation": "there it is right a little more often than elsewhere",
}
"""What it means that rows are of speakers whom the model was trained or selected on."""

FOLDS = 10
"""Into at most so many groups speakers are divided, to measure on each what was fitted on the others."""


def calibrate(
    classifier: MultimodalEmotionClassifier,
    rows: Iterable[ManifestRow],
    *,
    modalities: Sequence[Case] | None = None,
    label_set: str | None = None,
    coverage: float = 0.9,
    method: Method = "aps",
    by_speaker: bool = False,
    error: float | None = None,
    context_turns: int | None = None,
    batch_size: int = 8,
    progress: bool = False,
) -> dict[str, Any]:
    """Fit a temperature and a conformal threshold for each modality case, and put them into the classifier's configuration.

    The rows run through the classifier as `predict` runs them (words that are not given are heard by its Whisper), with no temperature.
    Of a recording of several windows the temperature is fitted to the mean of their probabilities, which is what is predicted.
    Configuration and weights are as before where an error is raised. `save_pretrained` writes the result.

    Args:
        classifier: of trained heads.
        rows: labelled ones, of speakers that the classifier was neither trained on nor selected by.
        modalities: which of "both", "audio" and "text". None: all that it was trained on and the rows have; text alone only where they
            have at least 30 different texts.
        label_set: what is made right: the probabilities of its merged labels. None: those of the model's own.
        coverage: share of label sets that are to hold the right label.
        method: "lac" or "aps", see `conformal_threshold`.
        by_speaker: promise the coverage to new speakers; see `conformal_threshold`.
        error: the report says which confidence keeps the share of errors at this; None: it does not.
        context_turns: how many turns of a dialogue are read before each. None: as many as when the model was trained, where its folder
            tells that.
        batch_size: windows that run through the model together.
        progress: show a progress bar on stderr.

    Returns:
        A report, ready for JSON: `label_set`, `rows` (labelled ones), `left_out` (counts, by reason), `failed` (a line each row whose label
        is in the way), `notes` (which rows the model was trained on), `origin` (what is known of its training, and who is in these rows),
        and `cases`; of each case `rows`, `speakers`, `left_out`, `failed`, `notes`, and where there were 30 rows:
        `calibrated` (whether the configuration was changed), `temperature`, `nll` (nats), `ece` (10 bins), each `before` and `after`;
        `accuracy`; `conformal` (`threshold`, `covered`, `mean_labels` on these rows); `abstain_below`; and `unseen_speakers`: the same
        measured on each group of speakers with what was fitted on the others, with 95 % intervals over speakers. None: unknown.

    Raises:
        InputError: an option that is wrong, no row that can be used, or fewer than 30 in each case.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.calibration.run import calibrate
        >>> from multimodal_ser.testing import tiny_model
        >>> model = tiny_model()
        >>> rows = [ManifestRow(text=text, emotion=emotion) for text, emotion in 15 * [("so happy", "joy"), ("i am angry", "anger")]]
        >>> report = calibrate(model, rows, modalities=["text"])
        >>> report["cases"]["text"]["rows"], report["cases"]["text"]["temperature"]["after"] == model.config.temperature["text"]
        (30, True)
    """
    cases = _cases(classifier, modalities)
    coverage, error = checked_coverage(coverage), None if error is None else checked_error(error)
    checked_method(method)
    merging = Merging.of(classifier.labels, label_set)
    rows = list(rows)
    labelled, left_out, failed = labelled_rows(rows, classifier.labels, merging)
    known, notes = _known(classifier, labelled)
    contexts = contexts_of(labelled, rows, known.context_turns if context_turns is None else context_turns)
    report: dict[str, Any] = {
        "label_set": label_set or "native", "rows": len(labelled), "left_out": left_out, "failed": failed, "notes": notes, "cases": {},
    }  # fmt: skip
    config = classifier.config
    temperature, conformal = dict(config.temperature), dict(config.conformal)
    words: dict[int, str] = {}
    collected = {}
    with ProgressBar("calibrate", shown=progress, total=len(labelled) * len(cases), unit="row") as bar:
        for case in cases:
            collected[case] = collect(classifier, labelled, case, words, batch_size, bar.update, contexts)
    if not any(found.windows for found in collected.values()):
        why = [*failed, *(line for found in collected.values() for line in found.failed)]
        reasons = dict.fromkeys([*left_out, *(reason for found in collected.values() for reason in found.left_out)])
        got = "none" if not why and not reasons else f"none ({why[0] if why else '; '.join(reasons)})"
        raise InputError(
            "rows", expected="a labelled row that the model can predict", got=got, remedy="look at the manifest's rows"
        )
    most = max(len(found.rows) for found in collected.values())
    fits = _Fit(merging, coverage, method, by_speaker, error)
    fits.check(collected.values())
    if most < LEAST_ROWS:
        remedy = f"calibrate on more, better on {FEW_ROWS} and more; the model is left as it was"
        raise InputError(
            "rows", expected=f"{LEAST_ROWS} labelled rows, to fit a temperature on", got=str(most), remedy=remedy
        )
    after, promised = dict(temperature), dict(conformal)
    for case, found in collected.items():
        entry = fits.report(found, temperature[case])
        report["cases"][case] = entry
        if not found.windows or not entry["calibrated"]:
            continue
        texts = len({text.strip().lower() for text in found.texts})
        if case == "text" and modalities is None and texts < FEW_TEXTS:
            entry["calibrated"] = False
            entry["notes"].append(
                f"different texts: {texts}, which say nothing of others: left as it was; modalities=['text'] insists"
            )
            continue
        if case == "both" and texts < FEW_TEXTS:
            entry["notes"].append(f"different texts: {texts}; how sure other words make the model was not measured")
        after[case] = entry["temperature"]["after"]
        promised[case] = {
            "coverage": coverage, "threshold": entry["conformal"]["threshold"], "method": method, "label_set": label_set or "native",
        }  # fmt: skip
    config.temperature, config.conformal = after, promised
    used = [row.speaker for found in collected.values() for row in found.rows]
    before = (
        ()
        if all(entry.get("calibrated") for entry in report["cases"].values())
        else known.speakers.get("calibration", ())
    )
    speakers = {**known.speakers, "calibration": tuple(sorted({*before, *(name for name in used if name is not None)}))}
    report["origin"] = replace(known, speakers=speakers).to_dict()
    return report


def _known(classifier: Any, labelled: Labelled) -> tuple[Origin, list[str]]:
    """What is known of the classifier's training, and what follows for these rows; of one that was made in memory nothing."""
    source = getattr(classifier, "_processor_source", None)
    if source is None:
        return Origin("a model that was made in memory"), []
    known = origin(str(source[0]))
    return known, list(concerned(known, [row for row, _ in labelled], FOLLOWS).notes)


def calibrate_manifest(
    manifest: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    model: Any = None,
    columns: dict[str, str] | None = None,
    split: str | None = None,
    whisper: Any = "auto",
    device: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Calibrate a model on a manifest, and write it and the report (calibration.json) into a folder: `multimodal-ser calibrate`.

    Args:
        manifest: table or folder, see `corpora.read_manifest`.
        output_dir: where the calibrated model is written, ready for `from_pretrained`.
        model: folder or Hub id, or a classifier; None: the checkpoint that ships in the package.
        columns: which column of the table holds what, where it uses other names.
        split: which rows: "validation", "train", "test" or "all". None: the validation rows of a table that marks its splits, all of
            one that does not.
        whisper: who listens where words are not given; see `from_pretrained`.
        device: where the model runs.
        **options: those of `calibrate`.

    Returns:
        The report of `calibrate`; `failed` also names the manifest's bad rows, `notes` has those of the manifest.

    Raises:
        InputError: see `calibrate` and `read_manifest`; a folder that cannot be written, a split without rows.
    """
    from multimodal_ser.corpora import read_manifest
    from multimodal_ser.hub import facts_from_calibration, save_model_card
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

    folder = Path(output_dir)
    with no_empty_folder(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            got = f"{output_dir} ({error.strerror})"
            raise InputError(
                "--output-dir", expected="a folder that can be written", got=got, remedy="name another"
            ) from error
        options_of_table: dict[str, Any] = {"columns": columns} if columns else {}
        table = read_manifest(manifest, **options_of_table)
        rows, taken = _of_split(table.rows, split)
        classifier = model
        if model is None or isinstance(model, str | os.PathLike):
            classifier = MultimodalEmotionClassifier.from_pretrained(
                None if model is None else str(model), whisper=whisper, device=device
            )
        try:
            report = calibrate(classifier, rows, **options)
        except InputError as error:
            if error.what != "rows" or not table.notes:
                raise
            remedy = "; ".join(table.notes)
            raise InputError("rows", expected=error.expected, got=error.got, remedy=remedy) from error
        report |= {"failed": [*map(str, table.errors), *report["failed"]], "notes": [*table.notes, *report["notes"]]}
        report = {"manifest": table.source.name, "split": taken, **report}
        classifier.save_pretrained(folder)
        save_model_card(classifier, folder, facts_from_calibration(report))
        write_json(folder / CALIBRATION, report, errors="backslashreplace")
    return report


def describe(report: dict[str, Any]) -> str:
    """The report of `calibrate`, as lines for people."""
    lines = []
    for case, entry in report["cases"].items():
        if "temperature" not in entry:
            lines.append(f"{case}: {entry['rows'] or 'no'} row{'s' * (entry['rows'] > 1)}")
        else:
            t, ece, conformal = entry["temperature"], entry["ece"], entry["conformal"]
            lines.append(
                f"{case}: {entry['rows']} rows, temperature {t['before']:.3f} -> {t['after']:.3f}, "
                f"calibration error {100 * ece['before']:.1f} % -> {100 * ece['after']:.1f} %, "
                f"label sets for {100 * conformal['coverage']:g} %: {conformal['mean_labels']:.2f} labels"
            )
        unseen, keep = entry.get("unseen_speakers"), entry.get("abstain_below")
        if unseen:
            low, high = unseen["covered_interval"]
            lines.append(
                f"  on speakers left out: calibration error {100 * unseen['ece']:.1f} %, {100 * unseen['covered']:.1f} % covered "
                f"({100 * low:.1f} to {100 * high:.1f}) by {unseen['mean_labels']:.2f} labels"
            )
        if keep:
            kept = (
                "never"
                if keep["threshold"] is None
                else f"abstain_below={keep['threshold']:.3f} keeps {100 * keep['share']:.0f} %"
            )
            lines.append(f"  at most {100 * keep['wanted']:g} % wrong: {kept}")
        lines += [f"  {note}" for note in entry["notes"]]
        lines += [f"  {count} left out: {reason}" for reason, count in entry["left_out"].items()]
        lines += [f"  failed: {line}" for line in entry["failed"]]
    lines += [f"{count} left out: {reason}" for reason, count in report["left_out"].items()]
    lines += [f"note: {note}" for note in report["notes"]]
    return "\n".join([*lines, *(f"failed: {line}" for line in report["failed"])])


@dataclass(frozen=True)
class _Fit:
    """What is fitted and measured for a case."""

    merging: Merging
    coverage: float
    method: Method
    by_speaker: bool
    error: float | None

    def check(self, found: Iterable[Collected]) -> None:
        """Refuse rows without speakers where the promise is to speakers."""
        speakers = [row.speaker for each in found for row in each.rows]
        if self.by_speaker and None in speakers:
            got = f"none in {speakers.count(None)} of {len(speakers)} rows"
            raise InputError(
                "by_speaker",
                expected="rows that name their speakers",
                got=got,
                remedy="leave it out, or leave them out",
            )

    def threshold(self, probabilities: np.ndarray, admitted: np.ndarray, speakers: list[str]) -> float:
        named = speakers if self.by_speaker else None
        return conformal_threshold(probabilities, admitted, self.coverage, method=self.method, speakers=named)

    def report(self, found: Collected, before: float) -> dict[str, Any]:
        """What is fitted on these rows, whose present temperature is `before`, and what that comes to."""
        speakers = [row.speaker or "" for row in found.rows]
        named = {row.speaker for row in found.rows if row.speaker is not None}
        entry: dict[str, Any] = {
            "rows": len(found.rows),
            "speakers": len(named),
            "left_out": found.left_out,
            "failed": found.failed,
        }
        entry |= {"notes": (notes := []), "calibrated": False}
        windows = found.windows
        if windows is None:
            return entry
        if len(found.rows) < LEAST_ROWS:
            count = f"{len(found.rows)} row{'s are' if len(found.rows) > 1 else ' is'}"
            notes.append(
                f"{count} too few to calibrate on: left as it was; give {LEAST_ROWS}, better {FEW_ROWS} and more"
            )
            return entry
        temperature = windows.fit()
        old, new = (windows.probabilities(t) @ self.merging.matrix for t in (before, temperature))
        admitted = self.merging.admitted(windows.admitted)
        threshold = self.threshold(new, admitted, speakers)
        inside = conformal_sets(new, threshold, method=self.method)
        entry |= {
            "calibrated": True,
            "temperature": {"before": before, "after": temperature},
            "nll": {"before": windows.nll(before), "after": windows.nll(temperature)},
            "ece": {"before": _ece(old, admitted), "after": _ece(new, admitted)},
            "accuracy": float(admitted[np.arange(len(new)), new.argmax(1)].mean()),
            "conformal": {
                "coverage": self.coverage, "method": self.method, "by_speaker": self.by_speaker, "threshold": threshold,
                "covered": float((inside & admitted).any(1).mean()), "mean_labels": float(inside.sum(1).mean()),
            },
            "abstain_below": None if self.error is None else self._kept(confidence_threshold(new, admitted, self.error)),
            "unseen_speakers": self._unseen(found.rows, windows, admitted, before) if len(named) > 1 else None,
        }  # fmt: skip
        if len(found.rows) < FEW_ROWS:
            notes.append(f"{len(found.rows)} rows are few: {FEW_ROWS} and more give figures to rely on")
        if temperature in TEMPERATURES:
            notes.append(
                f"the best temperature lies beyond {temperature:g}, where the search ends: are the rows too few, or learned from?"
            )
        if threshold >= 1:
            what = "speakers" if self.by_speaker else "rows"
            notes.append(
                f"too few {what} to promise {100 * self.coverage:g} %, or a model that is often wrong and sure: sets hold all labels"
            )
        absent = [name for name, rows in zip(self.merging.labels, admitted.T, strict=True) if not rows.any()]
        if absent:
            notes.append(f"no row is of {', '.join(absent)}: how sure the model may be there was not measured")
        unseen = entry["unseen_speakers"]
        was, became = (
            (unseen["ece_before"], unseen["ece"]) if unseen else (entry["ece"]["before"], entry["ece"]["after"])
        )
        if became > was:
            where = "on speakers left out" if unseen else "on these rows"
            notes.append(
                f"{where} the calibration error is {100 * became:.1f} %, and was {100 * was:.1f} % before: it was as well calibrated as it "
                "was; keep that model, or calibrate on more speakers"
            )
        if len(named) < 2:
            notes.append("fewer than two speakers are named: what this is worth on other voices was not measured")
        return entry

    def _kept(self, found: ConfidenceThreshold) -> dict[str, Any]:
        threshold = found.threshold if math.isfinite(found.threshold) else None
        return {
            "wanted": self.error,
            "threshold": threshold,
            "kept": found.kept,
            "share": found.share,
            "error": found.error,
        }

    def _unseen(self, rows: list[ManifestRow], windows: Windows, admitted: np.ndarray, before: float) -> dict[str, Any]:
        """Measured on each group of speakers, fitted on the others."""
        from multimodal_ser.metrics import bootstrap_interval

        speakers = np.array([row.speaker or "" for row in rows])
        parts = []
        for test in _groups(speakers):
            rest = np.flatnonzero((speakers != "") & ~np.isin(np.arange(len(rows)), test))
            fitted = windows.only(rest)
            temperature = fitted.fit()
            known = fitted.probabilities(temperature) @ self.merging.matrix
            threshold = self.threshold(known, admitted[rest], speakers[rest].tolist())
            new = windows.only(test).probabilities(temperature) @ self.merging.matrix
            old = windows.only(test).probabilities(before) @ self.merging.matrix
            keep = np.inf if self.error is None else confidence_threshold(known, admitted[rest], self.error).threshold
            parts.append((test, old, new, conformal_sets(new, threshold, method=self.method), new.max(1) >= keep))
        test, old, new, inside, kept = (np.concatenate(each) for each in zip(*parts, strict=True))
        who, truth = speakers[test], admitted[test]
        covered, labels = (inside & truth).any(1), inside.sum(1)
        right = truth[np.arange(len(new)), new.argmax(1)]
        worst = min(np.unique(who), key=lambda name: covered[who == name].mean())
        figures: dict[str, Any] = {"speakers": len(np.unique(who)), "rows": len(test), "ece_before": _ece(old, truth)}
        measured: dict[str, Callable[[np.ndarray], float]] = {
            "ece": lambda at: _ece(new[at], truth[at]),
            "covered": lambda at: float(covered[at].mean()),
            "mean_labels": lambda at: float(labels[at].mean()),
        }
        for name, statistic in measured.items():
            figures[name] = statistic(np.arange(len(test)))
            ends = bootstrap_interval(
                statistic, who, resamples=500, centred=name == "ece"
            )  # repeated rows make it larger
            figures[f"{name}_interval"] = [max(0.0, float(end)) for end in ends]
        figures["worst_covered"] = {"speaker": str(worst), "covered": float(covered[who == worst].mean())}
        if self.error is not None:
            share, wrong = float(kept.mean()), float((~right[kept]).mean()) if kept.any() else 0.0
            figures["abstain_below"] = {"wanted": self.error, "kept": int(kept.sum()), "share": share, "error": wrong}
        return figures


def _groups(speakers: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of the named speakers in at most ten groups of whole speakers, of about the same size."""
    counts = Counter(name for name in speakers.tolist() if name)
    groups: list[list[str]] = [[] for _ in range(min(FOLDS, len(counts)))]
    for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        min(groups, key=lambda group: sum(counts[member] for member in group)).append(name)
    for group in groups:
        yield np.flatnonzero(np.isin(speakers, group))


def _ece(probabilities: np.ndarray, admitted: np.ndarray) -> float:
    """Expected calibration error; right is what is admitted."""
    from multimodal_ser.metrics import expected_calibration_error

    guessed = probabilities.argmax(1)
    references = np.where(admitted[np.arange(len(guessed)), guessed], guessed, admitted.argmax(1))
    return float(expected_calibration_error(references, probabilities, bins=10))


def _cases(classifier: Any, modalities: Sequence[str] | None) -> tuple[Case, ...]:
    known: tuple[Case, ...] = get_args(Case)
    if modalities is None:
        trained = classifier.config.trained_modalities
        return known if trained is None or len(trained) > 1 else tuple(case for case in known if case in trained)
    given = [modalities] if isinstance(modalities, str) else list(modalities)
    if not given or set(given) - set(known):
        raise InputError(
            "modalities", expected=f"some of {', '.join(known)}", got=repr(modalities), remedy="choose from them"
        )
    return tuple(case for case in known if case in given)


def _of_split(rows: Sequence[ManifestRow], split: str | None) -> tuple[list[ManifestRow], str]:
    """The rows of a split, and which that is."""
    from multimodal_ser.corpora.splits import SPLIT_NAMES

    names = (*dict.fromkeys(SPLIT_NAMES.values()), "all")
    if split is not None and split not in names:
        raise InputError(
            "split", expected=f"one of {', '.join(names)}", got=repr(split), remedy="leave it out for validation rows"
        )
    marked = [SPLIT_NAMES.get((row.split or "").strip().lower()) for row in rows]
    taken = split or ("validation" if any(marked) else "all")
    chosen = [row for row, mark in zip(rows, marked, strict=True) if taken in ("all", mark)]
    if not chosen:
        there = ", ".join(f"{count} {name or 'unmarked'}" for name, count in Counter(marked).items()) or "none"
        raise InputError("split", expected=f"rows of the {taken} split", got=there, remedy="name another, or all")
    return chosen, taken
