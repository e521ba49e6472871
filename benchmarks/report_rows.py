"""The rows of benchmarks/acceptance.py on reports: each a function of its work folder that returns what was shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from calibrated_folds import calibrated
from training_rows import data, whisper

BASELINES = ["mfcc-svm", "mfcc-logreg", "mfcc-lstm", "egemaps-svm", "majority"]
RECIPE = "examples/ravdess_frozen.yaml"
SHOWN = ("accuracy", "ua", "macro_f1", "weighted_f1", "ece", "aurc")


def report_folds(work: Path) -> dict[str, Any]:
    """From the corpus to a report on EmoBox's five folds beside the baselines, and what calibration on two speakers is worth."""
    root = Path(__file__).resolve().parents[1]
    manifest, report = work / "manifest.csv", work / "report"
    prepare = ["prepare", "ravdess", data() / "ravdess", "--output", manifest]
    evaluate = [
        "evaluate",
        manifest,
        "--protocol",
        "emobox-ravdess",
        "--train-config",
        root / RECIPE,
        "--baselines",
        *BASELINES,
    ]
    if not manifest.exists():
        command_line(*prepare)
    command_line(*evaluate, "--seeds", 1, "--output-dir", report, "--train-options", f"audio_model={whisper()}")
    told = json.loads((report / "report.json").read_text(encoding="utf-8"))
    systems = {
        system["system"]: {name: round(100 * system["figures"][name], 2) for name in SHOWN}
        | {"ua_interval": [round(100 * end, 2) for end in system["intervals"]["ua"]], "ua_of_folds": fold_uas(system),
           "seconds": system["seconds"]}
        for system in told["systems"]
    }  # fmt: skip
    after = {method: calibrated(manifest, report, 0.9, method) for method in ("aps", "lac")}
    aps = after["aps"]
    passed = {
        "all_clips": told["systems"][0]["clips"] == 1200, "above_baselines": all(
            system["ua"] < systems["network"]["ua"] for name, system in systems.items() if name != "network"
        ),
        "ece_at_most_0.05": aps["ece_after"] <= 0.05, "ua_unchanged": aps["ua_before"] == aps["ua_after"],
        "covers_88": aps["conformal"]["covered"] >= 0.88 and aps["conformal"]["mean_labels"] <= 4,
        "surest_are_better": aps["ua_without_the_least_certain_quarter"] > aps["ua_after"],
    }  # fmt: skip
    told_options = f"--protocol emobox-ravdess --train-config {RECIPE} --baselines {' '.join(BASELINES)} --seeds 1 --output-dir report"
    return {
        "command": "multimodal-ser prepare ravdess $MULTIMODAL_SER_DATA/ravdess --output manifest.csv; "
        f"multimodal-ser evaluate manifest.csv {told_options} --train-options audio_model=WHISPER_BASE",
        "figures": {"systems": systems, "calibrated": after}, "leaks": told["leaks"], "points": passed, "passed": all(passed.values()),
    }  # fmt: skip


def fold_uas(system: dict[str, Any]) -> list[float]:
    return [round(100 * fold["ua"], 2) for fold in system["folds"].values()]


def command_line(*options: Any) -> None:
    done = subprocess.run([sys.executable, "-m", "multimodal_ser.cli", *map(str, options)], stdout=sys.stderr)
    if done.returncode:
        sys.exit(f"multimodal-ser {options[0]} ended with code {done.returncode}")


ROWS = {row.__name__: row for row in (report_folds,)}
