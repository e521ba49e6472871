"""The command that reads corpora: prepare."""

from __future__ import annotations

import argparse

from multimodal_ser._progress import say
from multimodal_ser.cli.options import Commands, add_command
from multimodal_ser.cli.output import as_json, destination

SHOWN = 10
"""Errors that are told one by one."""


def prepare(args: argparse.Namespace) -> int:
    """Read a corpus, look at every clip, and write a manifest of what can be used; see docs/corpora.md."""
    from multimodal_ser.corpora.duplicates import counted
    from multimodal_ser.corpora.emotions import labels_option
    from multimodal_ser.corpora.preparation import prepare as prepare_corpus
    from multimodal_ser.corpora.tables import columns_option

    columns = None if args.columns is None else columns_option(args.columns)
    map_labels = None if args.map_labels is None else labels_option(args.map_labels)
    source, path = (args.source, args.path) if args.path is not None else (args.source, None)
    done = prepare_corpus(
        source, path, output=args.manifest, columns=columns, clean=args.clean, cleaned_dir=args.cleaned_dir, label_set=args.label_set,
        map_labels=map_labels, config=args.config, split=args.split, revision=args.revision, streaming=args.streaming, limit=args.limit,
        recordings_dir=args.recordings_dir, progress=args.progress,
    )  # fmt: skip
    with destination(args.report) as file:
        print(as_json(done.to_dict(), file, indent=2) if args.format == "json" else str(done), file=file)
    for error in done.errors[:SHOWN]:
        say(str(error))
    if done.unlabelled:
        say(done.notes[0])
    if done.errors:
        more = f", {len(done.errors) - SHOWN} of them not shown" if len(done.errors) > SHOWN else ""
        rows = counted(len(done.errors), "row cannot be used and was", "rows cannot be used and were")
        say(f"{rows} left out{more}; the others were prepared")
    return 1 if done.errors else 0


def add(commands: Commands) -> None:
    """Add it to the command line."""
    usage = "multimodal-ser prepare [CORPUS|manifest|folder|dataset] PATH --output manifest.csv [options]"
    sub = add_command(commands, prepare, usage=usage)
    sub.add_argument(
        "source",
        metavar="CORPUS",
        help="a corpus's name (an unknown one lists them), manifest, folder or dataset; or the path alone",
    )
    sub.add_argument("path", nargs="?", metavar="PATH", help="its folder or table, or the Hub id of a dataset")
    sub.add_argument(
        "-o",
        "--output",
        dest="manifest",
        required=True,
        metavar="FILE",
        help="manifest: .csv, .tsv, .jsonl or .parquet",
    )
    sub.add_argument(
        "--format", choices=("text", "json"), default="text", help="how the report is written (default: text)"
    )
    sub.add_argument("--report", metavar="FILE", help="where the report is written (default: stdout)")
    sub.add_argument(
        "--columns", nargs="+", metavar="FIELD=COLUMN", help="columns of a foreign table: path=wav_name emotion=emo"
    )
    sub.add_argument(
        "--map-labels",
        nargs="+",
        metavar="LABEL=EMOTION",
        help="what labels mean: 1=anger 2=happiness; NAME=NAME keeps a rare one",
    )
    sub.add_argument(
        "--clean",
        nargs="+",
        default=[],
        metavar="STEP",
        help="clean copies of the recordings: denoise trim loudness (the extra `clean`)",
    )
    sub.add_argument("--cleaned-dir", metavar="DIR", help="where they go (default: beside the manifest)")
    sub.add_argument(
        "--label-set", help="put emotions into this set: native, ekman, iemocap4, ... (default: as they are written)"
    )
    sub.add_argument("--split", help="of a dataset: which split")
    sub.add_argument("--config", help="of a dataset: which configuration")
    sub.add_argument("--revision", help="of a dataset: which revision")
    sub.add_argument(
        "--streaming", action="store_true", help="of a dataset: read it as it comes, without downloading it first"
    )
    sub.add_argument("--limit", type=int, metavar="N", help="of a dataset: only the first rows")
    sub.add_argument(
        "--recordings-dir",
        metavar="DIR",
        help="of a dataset: where its recordings are written (default: beside the manifest)",
    )
    sub.add_argument("--progress", action="store_true", help="show progress bars")
