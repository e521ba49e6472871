"""The commands that measure: evaluate, whose options are the fields of `EvaluationArguments`, and calibrate."""

from __future__ import annotations

import argparse
from typing import Any

from multimodal_ser._progress import say
from multimodal_ser.cli.options import Commands, add_command, add_model, check_device, reading
from multimodal_ser.cli.output import FORMATS, as_json, destination, write
from multimodal_ser.cli.training import Mapping, add_fields

GROUPS = {
    "data": "what is measured", "protocol": "what is trained", "modalities": "what is heard and read", "robustness": "how much is measured",
}  # fmt: skip
"""Where `evaluate --help` begins a new paragraph, by the option that opens it."""


def evaluate(args: argparse.Namespace) -> int:
    """Measure a model, or train and measure on folds, and write a report (report.json, report.md, report.html); see docs/evaluation.md."""
    import typing

    from multimodal_ser.evaluation import EvaluationArguments
    from multimodal_ser.evaluation import evaluate as measure
    from multimodal_ser.evaluation.report import summary_rows

    check_device(getattr(args, "device", None))
    given = {name: value for name, value in vars(args).items() if name in typing.get_type_hints(EvaluationArguments)}
    report = measure(EvaluationArguments(**given))
    rows = summary_rows(report)
    columns = list(rows[0]) if rows else ["system"]
    write(rows, args.format, args.output, columns)
    if report["left_out"]:
        say(f"{_rows(len(report['left_out']))} could not be used; the others were measured")
    return 1 if report["left_out"] else 0


def calibrate(args: argparse.Namespace) -> int:
    """Fit temperatures and conformal label sets on a manifest of unseen speakers; write the model that has them."""
    from multimodal_ser.calibration.run import calibrate_manifest, describe

    check_device(args.device)
    options: dict[str, Any] = {
        "coverage": args.coverage,
        "method": args.method,
        "by_speaker": args.by_speaker,
        "error": args.error,
    }
    with reading(args.model):
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
    """Add them to the command line."""
    from multimodal_ser.evaluation.arguments import EvaluationArguments

    usage = "multimodal-ser evaluate MANIFEST [MANIFEST ...] [--model ID|PATH] [--output-dir DIR] [--protocol PROTOCOL] [options]"
    sub = add_command(commands, evaluate, FORMATS, usage=usage)
    add_fields(sub, EvaluationArguments, GROUPS, short={})

    sub = add_command(commands, calibrate)
    sub.add_argument(
        "manifest",
        metavar="MANIFEST",
        help="labelled recordings of speakers that the model was neither trained nor selected on",
    )
    sub.add_argument(
        "-o", "--output-dir", required=True, metavar="DIR", help="folder for the calibrated model and calibration.json"
    )
    sub.add_argument(
        "--format", choices=("text", "json"), default="text", help="how the report is written (default: text)"
    )
    sub.add_argument("--report", metavar="FILE", help="where the report is written (default: stdout)")
    add_model(sub)
    sub.add_argument(
        "--modalities",
        nargs="+",
        choices=("both", "audio", "text"),
        help="which cases (default: all that rows and model have)",
    )
    sub.add_argument("--label-set", help="calibrate the merged labels of this set (default: the model's own labels)")
    sub.add_argument(
        "--coverage",
        type=float,
        default=0.9,
        metavar="P",
        help="share of label sets that hold the right one (default: 0.9)",
    )
    sub.add_argument("--method", choices=("lac", "aps"), default="aps", help="how label sets are made (default: aps)")
    sub.add_argument(
        "--by-speaker", action="store_true", help="promise the coverage to new speakers, not to new clips of these"
    )
    sub.add_argument(
        "--error", type=float, metavar="E", help="also tell which confidence keeps the share of errors at this"
    )
    sub.add_argument(
        "--split",
        choices=("validation", "train", "test", "all"),
        help="which rows (default: the validation rows, where rows are marked)",
    )
    sub.add_argument(
        "--columns",
        nargs="+",
        action=Mapping,
        metavar="NAME=VALUE",
        help="columns of a foreign table: path=wav_name emotion=emo",
    )
    sub.add_argument(
        "--whisper",
        default="auto",
        metavar="NAME|PATH|none",
        help="who listens where words are not given (default: what is found)",
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
