"""`calibrate`: temperatures, thresholds for abstention, and prediction sets with a guaranteed coverage.

They are fitted on recordings that were used neither for training nor for selection, and stored in the configuration.
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
"""Number of rows below which the report says that they are few."""

LEAST_ROWS = 30
"""Number of rows below which a case is not changed.

A temperature from fewer rows is noise: it makes a model of eight classes worse more often than not, unless its
temperature was wrong by more than a third (simulated; see docs/calibration.md).
"""

FEW_TEXTS = 30
"""Number of different texts below which the temperature of text alone is not changed, unless `modalities` names it.

Acted corpora repeat a few sentences.
"""

FOLLOWS = {
    "train": "there it is right more often than anywhere else, and what is fitted on them promises too much; calibrate on others",
    "validation": "there it is right a little more often than elsewhere",
}
"""Consequence of rows of speakers that were used in training or selection, by the part of the data."""

FOLDS = 10
"""Largest number of groups of speakers for cross-validation."""


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
    """Fit a temperature and a conformal threshold for each modality case, and store them in the classifier's
    configuration.

    The rows run through the classifier as in `predict`, without a temperature; its Whisper transcribes recordings
    without a text. For a recording of several windows the temperature is fitted to the mean of their probabilities,
    which `predict` returns. An error leaves the configuration unchanged. `save_pretrained` writes the result.

    Args:
        classifier: a model with trained heads.
        rows: labelled rows of speakers that were used neither for training nor for selection.
        modalities: cases among "both", "audio" and "text". None: all that the model was trained on and the rows have;
            text alone only with at least 30 different texts.
        label_set: label set whose merged labels are calibrated; None: the model's own labels.
        coverage: share of prediction sets that should contain the right label.
        method: "lac" or "aps", see `conformal_threshold`.
        by_speaker: guarantee the coverage for new speakers; see `conformal_threshold`.
        error: share of errors for which the report gives a threshold of confidence; None: no threshold.
        context_turns: number of previous turns of a dialogue that are read; None: as in training, if the model's folder
            has its options.
        batch_size: windows that run through the model together.
        progress: whether a progress bar is shown on stderr.

    Returns:
        A report, ready for JSON:

        - `label_set`; `rows`: number of labelled rows; `left_out`: counts by reason; `failed`: one line for each row
          whose label cannot be used; `notes`: rows that the model was trained on; `origin`: what is known of its
          training, and the speakers of these rows;
        - `cases`: of each case `rows`, `speakers`, `left_out`, `failed`, `notes`, and with at least 30 rows
          `calibrated` (whether the configuration was changed), `temperature`, `nll` (nats) and `ece` (a share, 10
          bins), each with `before` and `after`, `accuracy` (a share), `conformal` (`threshold`, `covered` and
          `mean_labels` on these rows), `abstain_below`, and `unseen_speakers`: the same figures on each group of
          speakers after a fit on the others, with 95 % intervals over speakers; None if there are too few speakers.

    Raises:
        InputError: an option is wrong, no row can be used, or every case has fewer than 30 rows.

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
    coverage = checked_coverage(coverage)
    error = None if error is None else checked_error(error)
    checked_method(method)
    merging = Merging.of(classifier.labels, label_set)
    rows = list(rows)
    labelled, left_out, failed = labelled_rows(rows, classifier.labels, merging)
    training, notes = _origin(classifier, labelled)
    contexts = contexts_of(labelled, rows, training.context_turns if context_turns is None else context_turns)
    report: dict[str, Any] = {
        "label_set": label_set or "native", "rows": len(labelled), "left_out": left_out, "failed": failed, "notes": notes, "cases": {},
    }  # fmt: skip
    config = classifier.config
    temperature = dict(config.temperature)
    words: dict[int, str] = {}
    collected = {}
    with ProgressBar("calibrate", shown=progress, total=len(labelled) * len(cases), unit="row") as bar:
        for case in cases:
            collected[case] = collect(classifier, labelled, case, words, batch_size, bar.update, contexts)
    if not any(result.windows for result in collected.values()):
        errors = [*failed, *(line for result in collected.values() for line in result.failed)]
        reasons = dict.fromkeys([*left_out, *(reason for result in collected.values() for reason in result.left_out)])
        got = "none" if not errors and not reasons else f"none ({errors[0] if errors else '; '.join(reasons)})"
        raise InputError(
            "rows", expected="a labelled row that the model can predict", got=got, remedy="look at the manifest's rows"
        )
    most = max(len(result.rows) for result in collected.values())
    fit = _Fit(merging, coverage, method, by_speaker, error)
    fit.check(collected.values())
    if most < LEAST_ROWS:
        remedy = f"calibrate on more, better on {FEW_ROWS} and more; the model is left as it was"
        raise InputError(
            "rows", expected=f"{LEAST_ROWS} labelled rows, to fit a temperature on", got=str(most), remedy=remedy
        )
    new_temperature = dict(temperature)
    new_conformal = dict(config.conformal)
    for case, result in collected.items():
        entry = fit.report(result, temperature[case])
        report["cases"][case] = entry
        if not result.windows or not entry["calibrated"]:
            continue
        texts = len({text.strip().lower() for text in result.texts})
        if case == "text" and modalities is None and texts < FEW_TEXTS:
            entry["calibrated"] = False
            entry["notes"].append(
                f"different texts: {texts}, which say nothing of others: left as it was; modalities=['text'] insists"
            )
            continue
        if case == "both" and texts < FEW_TEXTS:
            entry["notes"].append(f"different texts: {texts}; how sure other words make the model was not measured")
        new_temperature[case] = entry["temperature"]["after"]
        new_conformal[case] = {
            "coverage": coverage, "threshold": entry["conformal"]["threshold"], "method": method, "label_set": label_set or "native",
        }  # fmt: skip
    config.temperature = new_temperature
    config.conformal = new_conformal
    used = [row.speaker for result in collected.values() for row in result.rows]
    before = (
        ()
        if all(entry.get("calibrated") for entry in report["cases"].values())
        else training.speakers.get("calibration", ())
    )
    speakers = {
        **training.speakers,
        "calibration": tuple(sorted({*before, *(name for name in used if name is not None)})),
    }
    report["origin"] = replace(training, speakers=speakers).to_dict()
    return report


def _origin(classifier: Any, labelled: Labelled) -> tuple[Origin, list[str]]:
    """Return the origin of the classifier's training data, and notes on its overlap with these rows."""
    source = getattr(classifier, "_processor_source", None)
    if source is None:
        return Origin("a model that was made in memory"), []
    training = origin(str(source[0]))
    return training, list(concerned(training, [row for row, _ in labelled], FOLLOWS).notes)


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
    """Calibrate a model on a manifest, and write it and the report (calibration.json) into a folder: `multimodal-ser
    calibrate`.

    Args:
        manifest: table or folder, see `corpora.read_manifest`.
        output_dir: folder for the calibrated model, ready for `from_pretrained`.
        model: folder or Hub id, or a classifier; None: the checkpoint that ships in the package.
        columns: names of the table's columns, if they differ from the usual ones.
        split: rows to use: "validation", "train", "test" or "all". None: the validation rows if the table has a column
            of splits, else all.
        whisper: transcriber of recordings without a text; see `from_pretrained`.
        device: device of the model.
        **options: options of `calibrate`.

    Returns:
        The report of `calibrate`; `failed` also names the manifest's bad rows, `notes` has those of the manifest.

    Raises:
        InputError: see `calibrate` and `read_manifest`; or the folder cannot be written, or the split has no rows.
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
        table_options: dict[str, Any] = {"columns": columns} if columns else {}
        table = read_manifest(manifest, **table_options)
        rows, split_name = _of_split(table.rows, split)
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
        report = {"manifest": table.source.name, "split": split_name, **report}
        classifier.save_pretrained(folder)
        save_model_card(classifier, folder, facts_from_calibration(report))
        write_json(folder / CALIBRATION, report, errors="backslashreplace")
    return report


def describe(report: dict[str, Any]) -> str:
    """Return the report of `calibrate` as lines of text."""
    lines = []
    for case, entry in report["cases"].items():
        if "temperature" not in entry:
            lines.append(f"{case}: {entry['rows'] or 'no'} row{'s' * (entry['rows'] > 1)}")
        else:
            t, ece, conformal = entry["temperature"], entry["ece"], entry["conformal"]
            lines.append(
                f"{case}: {entry['rows']} rows, temperature {t['before']:.3f} -> {t['after']:.3f}, "
                f"calibration error {100 * ece['before']:.1f} % -> {100 * ece['after']:.1f} %, "
                f"prediction sets for {100 * conformal['coverage']:g} %: {conformal['mean_labels']:.2f} labels"
            )
        unseen = entry.get("unseen_speakers")
        abstain = entry.get("abstain_below")
        if unseen:
            low, high = unseen["covered_interval"]
            lines.append(
                f"  on speakers left out: calibration error {100 * unseen['ece']:.1f} %, {100 * unseen['covered']:.1f} % covered "
                f"({100 * low:.1f} to {100 * high:.1f}) by {unseen['mean_labels']:.2f} labels"
            )
        if abstain:
            threshold = (
                "never"
                if abstain["threshold"] is None
                else f"abstain_below={abstain['threshold']:.3f} keeps {100 * abstain['share']:.0f} %"
            )
            lines.append(f"  at most {100 * abstain['wanted']:g} % wrong: {threshold}")
        lines += [f"  {note}" for note in entry["notes"]]
        lines += [f"  {count} left out: {reason}" for reason, count in entry["left_out"].items()]
        lines += [f"  failed: {line}" for line in entry["failed"]]
    lines += [f"{count} left out: {reason}" for reason, count in report["left_out"].items()]
    lines += [f"note: {note}" for note in report["notes"]]
    return "\n".join([*lines, *(f"failed: {line}" for line in report["failed"])])


@dataclass(frozen=True)
class _Fit:
    """Options of a fit, which is applied to each case."""

    merging: Merging
    coverage: float
    method: Method
    by_speaker: bool
    error: float | None

    def check(self, collected: Iterable[Collected]) -> None:
        """Require speakers of all rows if the coverage is guaranteed for speakers."""
        speakers = [row.speaker for case in collected for row in case.rows]
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

    def report(self, collected: Collected, before: float) -> dict[str, Any]:
        """Fit the case, whose temperature was `before`, and return its entry of the report."""
        speakers = [row.speaker or "" for row in collected.rows]
        named = {row.speaker for row in collected.rows if row.speaker is not None}
        entry: dict[str, Any] = {
            "rows": len(collected.rows),
            "speakers": len(named),
            "left_out": collected.left_out,
            "failed": collected.failed,
        }
        entry |= {"notes": (notes := []), "calibrated": False}
        windows = collected.windows
        if windows is None:
            return entry
        if len(collected.rows) < LEAST_ROWS:
            count = f"{len(collected.rows)} row{'s are' if len(collected.rows) > 1 else ' is'}"
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
            "abstain_below": None if self.error is None else self._abstain_entry(confidence_threshold(new, admitted, self.error)),
            "unseen_speakers": self._unseen(collected.rows, windows, admitted, before) if len(named) > 1 else None,
        }  # fmt: skip
        if len(collected.rows) < FEW_ROWS:
            notes.append(f"{len(collected.rows)} rows are few: {FEW_ROWS} and more give figures to rely on")
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
        old_ece = unseen["ece_before"] if unseen else entry["ece"]["before"]
        new_ece = unseen["ece"] if unseen else entry["ece"]["after"]
        if new_ece > old_ece:
            where = "on speakers left out" if unseen else "on these rows"
            notes.append(
                f"{where} the calibration error is {100 * new_ece:.1f} %, and was {100 * old_ece:.1f} % before: "
                "keep the model without it, or calibrate on more speakers"
            )
        if len(named) < 2:
            notes.append("fewer than two speakers are named: what this is worth on other voices was not measured")
        return entry

    def _abstain_entry(self, threshold: ConfidenceThreshold) -> dict[str, Any]:
        return {
            "wanted": self.error,
            "threshold": threshold.threshold if math.isfinite(threshold.threshold) else None,
            "kept": threshold.kept,
            "share": threshold.share,
            "error": threshold.error,
        }

    def _unseen(self, rows: list[ManifestRow], windows: Windows, admitted: np.ndarray, before: float) -> dict[str, Any]:
        """Return figures of cross-validation over groups of speakers: each is measured after a fit on the others."""
        from multimodal_ser.metrics import bootstrap_interval

        speakers = np.array([row.speaker or "" for row in rows])
        parts = []
        for test in _groups(speakers):
            rest = np.flatnonzero((speakers != "") & ~np.isin(np.arange(len(rows)), test))
            fitted = windows.only(rest)
            temperature = fitted.fit()
            probabilities = fitted.probabilities(temperature) @ self.merging.matrix
            threshold = self.threshold(probabilities, admitted[rest], speakers[rest].tolist())
            new = windows.only(test).probabilities(temperature) @ self.merging.matrix
            old = windows.only(test).probabilities(before) @ self.merging.matrix
            least_confidence = (
                np.inf
                if self.error is None
                else confidence_threshold(probabilities, admitted[rest], self.error).threshold
            )
            parts.append(
                (test, old, new, conformal_sets(new, threshold, method=self.method), new.max(1) >= least_confidence)
            )
        test, old, new, inside, confident = (np.concatenate(each) for each in zip(*parts, strict=True))
        tested = speakers[test]
        truth = admitted[test]
        covered = (inside & truth).any(1)
        labels = inside.sum(1)
        right = truth[np.arange(len(new)), new.argmax(1)]
        worst = min(np.unique(tested), key=lambda name: covered[tested == name].mean())
        figures: dict[str, Any] = {
            "speakers": len(np.unique(tested)),
            "rows": len(test),
            "ece_before": _ece(old, truth),
        }
        measured: dict[str, Callable[[np.ndarray], float]] = {
            "ece": lambda at: _ece(new[at], truth[at]),
            "covered": lambda at: float(covered[at].mean()),
            "mean_labels": lambda at: float(labels[at].mean()),
        }
        for name, statistic in measured.items():
            figures[name] = statistic(np.arange(len(test)))
            # repeated rows make the calibration error larger
            ends = bootstrap_interval(statistic, tested, resamples=500, centred=name == "ece")
            figures[f"{name}_interval"] = [max(0.0, float(end)) for end in ends]
        figures["worst_covered"] = {"speaker": str(worst), "covered": float(covered[tested == worst].mean())}
        if self.error is not None:
            figures["abstain_below"] = {
                "wanted": self.error, "kept": int(confident.sum()), "share": float(confident.mean()),
                "error": float((~right[confident]).mean()) if confident.any() else 0.0,
            }  # fmt: skip
        return figures


def _groups(speakers: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows of the named speakers in at most ten groups of whole speakers, of about the same size."""
    counts = Counter(name for name in speakers.tolist() if name)
    groups: list[list[str]] = [[] for _ in range(min(FOLDS, len(counts)))]
    for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        min(groups, key=lambda group: sum(counts[member] for member in group)).append(name)
    for group in groups:
        yield np.flatnonzero(np.isin(speakers, group))


def _ece(probabilities: np.ndarray, admitted: np.ndarray) -> float:
    """Return the expected calibration error; every admissible class is right."""
    from multimodal_ser.metrics import expected_calibration_error

    predicted = probabilities.argmax(1)
    references = np.where(admitted[np.arange(len(predicted)), predicted], predicted, admitted.argmax(1))
    return float(expected_calibration_error(references, probabilities, bins=10))


def _cases(classifier: Any, modalities: Sequence[str] | None) -> tuple[Case, ...]:
    all_cases: tuple[Case, ...] = get_args(Case)
    if modalities is None:
        trained = classifier.config.trained_modalities
        return (
            all_cases if trained is None or len(trained) > 1 else tuple(case for case in all_cases if case in trained)
        )
    requested = [modalities] if isinstance(modalities, str) else list(modalities)
    if not requested or set(requested) - set(all_cases):
        raise InputError(
            "modalities", expected=f"some of {', '.join(all_cases)}", got=repr(modalities), remedy="choose from them"
        )
    return tuple(case for case in all_cases if case in requested)


def _of_split(rows: Sequence[ManifestRow], split: str | None) -> tuple[list[ManifestRow], str]:
    """Return the rows of a split, and its name."""
    from multimodal_ser.corpora.splits import SPLIT_NAMES

    names = (*dict.fromkeys(SPLIT_NAMES.values()), "all")
    if split is not None and split not in names:
        raise InputError(
            "split", expected=f"one of {', '.join(names)}", got=repr(split), remedy="leave it out for validation rows"
        )
    splits = [SPLIT_NAMES.get((row.split or "").strip().lower()) for row in rows]
    name = split or ("validation" if any(splits) else "all")
    selected = [row for row, row_split in zip(rows, splits, strict=True) if name in ("all", row_split)]
    if not selected:
        got = ", ".join(f"{count} {row_split or 'unmarked'}" for row_split, count in Counter(splits).items()) or "none"
        raise InputError("split", expected=f"rows of the {name} split", got=got, remedy="name another, or all")
    return selected, name
