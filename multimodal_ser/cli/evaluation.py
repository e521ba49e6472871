"""The commands `evaluate`, with the fields of `EvaluationArguments` as options, and `calibrate`."""

from __future__ import annotations

import argparse
from typing import Any

from multimodal_ser._progress import say
from multimodal_ser.cli.options import Commands, add_command, add_model, check_device, loading_errors
from multimodal_ser.cli.output import FORMATS, as_json, destination, write
from multimodal_ser.cli.training import Mapping, add_fields

GROUPS = {
    "data": "data", "protocol": "protocol and training", "modalities": "modalities", "robustness": "measurements",
}  # fmt: skip
"""Titles of the groups in `evaluate --help`, by the first option of each."""


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate a model, or train and evaluate on folds, and write a report; see docs/evaluation.md."""
    import typing

    from multimodal_ser.evaluation import EvaluationArguments
    from multimodal_ser.evaluation import evaluate as measure
    from multimodal_ser.evaluation.report import summary_rows

    check_device(getattr(args, "device", None))
    options = {name: value for name, value in vars(args).items() if name in typing.get_type_hints(EvaluationArguments)}
    report = measure(EvaluationArguments(**options))
    rows = summary_rows(report)
    columns = list(rows[0]) if rows else ["system"]
    write(rows, args.format, args.output, columns)
    if report["left_out"]:
        say(f"{_rows(len(report['left_out']))} could not be used; the others were measured")
    return 1 if report["left_out"] else 0


def calibrate(args: argparse.Namespace) -> int:
    """Fit temperatures and prediction sets on a manifest of unseen speakers, and write the calibrated model."""
    from multimodal_ser.calibration.run import calibrate_manifest, describe

    check_device(args.device)
    options: dict[str, Any] = {
        "coverage": args.coverage,
        "method": args.method,
        "by_speaker": args.by_speaker,
        "error": args.error,
    }
    with loading_errors(args.model):
        report = calibrate_manifest(
            args.manifest, args.output_dir, model=args.model, columns=args.columns, split=args.split,
            whisper=None if args.whisper == "none" else args.whisper, device=args.device, modalities=args.modalities,
            label_set=args.label_set, batch_size=args.batch_size, progress=args.progress, **options,
        )  # fmt: skip
    with destination(args.report) as file:
        print(as_json(report, file, indent=2) if args.format == "json" else describe(report), file=file)
    for note in report["notes"]:
        say(f"note: {note}")
    say(f"the calibrated model: {args.output_dir} (multimodal-ser predict --model {args.output_dir} FILE)")
    if report["failed"]:
        say(f"{_rows(len(report['failed']))} could not be used; the others were")
    return 1 if report["failed"] else 0


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    from multimodal_ser.evaluation.arguments import EvaluationArguments

    usage = "multimodal-ser evaluate MANIFEST [MANIFEST ...] [--model ID|PATH] [--output-dir DIR] [--protocol PROTOCOL] [options]"
    sub = add_command(commands, evaluate, FORMATS, usage=usage)
    add_fields(sub, EvaluationArguments, GROUPS, short={})

    sub = add_command(commands, calibrate)
    sub.add_argument(
        "manifest",
        metavar="MANIFEST",
        help="labelled recordings of speakers that were used neither for training nor for selection",
    )
    sub.add_argument(
        "-o", "--output-dir", required=True, metavar="DIR", help="folder for the calibrated model and calibration.json"
    )
    sub.add_argument("--format", choices=("text", "json"), default="text", help="format of the report (default: text)")
    sub.add_argument("--report", metavar="FILE", help="file for the report (default: stdout)")
    add_model(sub)
    sub.add_argument(
        "--modalities",
        nargs="+",
        choices=("both", "audio", "text"),
        help="modality cases to calibrate (default: all that rows and model have)",
    )
    sub.add_argument("--label-set", help="calibrate the merged labels of this set (default: the model's own labels)")
    sub.add_argument(
        "--coverage",
        type=float,
        default=0.9,
        metavar="P",
        help="share of prediction sets that should contain the right label (default: 0.9)",
    )
    sub.add_argument(
        "--method", choices=("lac", "aps"), default="aps", help="method for prediction sets (default: aps)"
    )
    sub.add_argument(
        "--by-speaker",
        action="store_true",
        help="guarantee the coverage for new speakers, not for new clips of these speakers",
    )
    sub.add_argument(
        "--error",
        type=float,
        metavar="E",
        help="also report the confidence above which at most this share of predictions is wrong",
    )
    sub.add_argument(
        "--split",
        choices=("validation", "train", "test", "all"),
        help="rows to use (default: the validation rows if the table has splits, else all)",
    )
    sub.add_argument(
        "--columns",
        nargs="+",
        action=Mapping,
        metavar="NAME=VALUE",
        help="names of columns in a table with other headings: path=wav_name emotion=emo",
    )
    sub.add_argument(
        "--whisper",
        default="auto",
        metavar="NAME|PATH|none",
        help="Whisper model for recordings without a text (default: one that is installed)",
    )
    sub.add_argument(
        "--batch-size",
        type=int,
        default=8,
        metavar="N",
        help="windows that run through the model together (default: 8)",
    )
    sub.add_argument("--device", help='"cpu", "cuda", ... (default: cpu)')
    sub.add_argument("--progress", action="store_true", help="show a progress bar")
