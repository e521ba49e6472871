"""Calibration over folds: what was fitted on each fold's validation speakers, measured on its test speakers, all folds together.

multimodal-ser evaluate manifest.csv --protocol emobox-ravdess --train-config examples/ravdess_frozen.yaml --output-dir report
python benchmarks/calibrated_folds.py manifest.csv report
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from multimodal_ser.calibration.run import conformal_sets, conformal_threshold, fit_temperature
from multimodal_ser.corpora import read_manifest
from multimodal_ser.metrics import bootstrap_interval, expected_calibration_error, unweighted_average_recall


def validation(run: Path, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of probabilities, and classes, of a run's validation clips."""
    with open(run / "validation_predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    probabilities = np.array([[float(row[f"p_{label}"]) for label in labels] for row in rows])
    return np.log(probabilities.clip(1e-6)), np.array([labels.index(row["emotion"]) for row in rows])


def calibrated(manifest: Path, report: Path, coverage: float, method: Literal["lac", "aps"]) -> dict[str, Any]:
    """Figures over all folds of the network that listens."""
    known = {row.name: row for row in read_manifest(manifest).rows}
    plain, calibrated, sets, classes, speakers, temperatures = [], [], [], [], [], []
    for fold in sorted((report / "rows").glob("fold-*")):
        for answer in sorted(fold.glob("network-*_audio.json")):
            told = json.loads(answer.read_text(encoding="utf-8"))
            labels, run = told["labels"], report / "runs" / fold.name / f"seed-{told['seed']}"
            logits, right = validation(run, labels)
            temperature = fit_temperature(logits, right)
            held = _softmax(logits / temperature)
            probabilities = np.array(told["probabilities"], dtype=float)
            tested = _softmax(np.log(probabilities.clip(1e-6)) / temperature)
            threshold = conformal_threshold(held, right, coverage, method=method)
            rows = [known[name] for name in told["names"]]
            plain.append(probabilities)
            calibrated.append(tested)
            sets.append(conformal_sets(tested, threshold, method=method))
            classes += [labels.index(str(row.label)) for row in rows]
            speakers += [str(row.speaker) for row in rows]
            temperatures.append(round(temperature, 3))
    before, after, held_sets, truth = (
        np.concatenate(plain),
        np.concatenate(calibrated),
        np.concatenate(sets),
        np.array(classes),
    )
    covered = held_sets[np.arange(len(truth)), truth]
    low, high = bootstrap_interval(lambda index: float(covered[index].mean()), speakers)
    sure = np.argsort(-after.max(1), kind="stable")[: round(0.75 * len(truth))]
    return {
        "clips": len(truth), "temperatures": temperatures,
        "ece_before": round(expected_calibration_error(truth, before), 4), "ece_after": round(expected_calibration_error(truth, after), 4),
        "ua_before": round(100 * unweighted_average_recall(truth, before.argmax(1)), 2),
        "ua_after": round(100 * unweighted_average_recall(truth, after.argmax(1)), 2),
        "ua_without_the_least_certain_quarter": round(100 * unweighted_average_recall(truth[sure], after.argmax(1)[sure]), 2),
        "conformal": {"method": method, "wanted": coverage, "covered": round(float(covered.mean()), 4),
                      "interval": [round(low, 4), round(high, 4)],
                      "mean_labels": round(float(held_sets.sum(1).mean()), 3)},
    }  # fmt: skip


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="what evaluate was given")
    parser.add_argument("report", type=Path, help="the --output-dir of evaluate")
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--method", choices=("lac", "aps"), default="aps")
    args = parser.parse_args()
    print(json.dumps(calibrated(args.manifest, args.report, args.coverage, args.method), indent=2))
