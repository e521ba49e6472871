"""The command `prepare`, which reads a corpus and writes a manifest."""

from __future__ import annotations

import argparse

from multimodal_ser._progress import say
from multimodal_ser.cli.options import Commands, add_command
from multimodal_ser.cli.output import as_json, destination

SHOWN = 10
"""Number of errors that are reported one by one."""


def prepare(args: argparse.Namespace) -> int:
    """Read a corpus, look at every clip, and write a manifest of what can be used; see docs/corpora.md."""
    from multimodal_ser.corpora.duplicates import counted
    from multimodal_ser.corpora.emotions import labels_option
    from multimodal_ser.corpora.preparation import prepare as prepare_corpus
    from multimodal_ser.corpora.tables import columns_option

    columns = None if args.columns is None else columns_option(args.columns)
    map_labels = None if args.map_labels is None else labels_option(args.map_labels)
    result = prepare_corpus(
        args.source, args.path, output=args.manifest, columns=columns, clean=args.clean, cleaned_dir=args.cleaned_dir,
        label_set=args.label_set,
        map_labels=map_labels, config=args.config, split=args.split, revision=args.revision, streaming=args.streaming, limit=args.limit,
        recordings_dir=args.recordings_dir, progress=args.progress,
    )  # fmt: skip
    with destination(args.report) as file:
        print(as_json(result.to_dict(), file, indent=2) if args.format == "json" else str(result), file=file)
    for error in result.errors[:SHOWN]:
        say(str(error))
    if result.unlabelled:
        say(result.notes[0])
    if result.errors:
        more = f", {len(result.errors) - SHOWN} of them not shown" if len(result.errors) > SHOWN else ""
        rows = counted(len(result.errors), "row cannot be used and was", "rows cannot be used and were")
        say(f"{rows} left out{more}; the others were prepared")
    return 1 if result.errors else 0


def add(commands: Commands) -> None:
    """Add this command to the command line."""
    usage = "multimodal-ser prepare [CORPUS|manifest|folder|dataset] PATH --output manifest.csv [options]"
    sub = add_command(commands, prepare, usage=usage)
    sub.add_argument(
        "source",
        metavar="CORPUS",
        help="name of a corpus (an unknown name lists them), manifest, folder or dataset; or the path alone",
    )
    sub.add_argument("path", nargs="?", metavar="PATH", help="folder or table of the corpus, or Hub id of a dataset")
    sub.add_argument(
        "-o",
        "--output",
        dest="manifest",
        required=True,
        metavar="FILE",
        help="manifest: .csv, .tsv, .jsonl or .parquet",
    )
    sub.add_argument("--format", choices=("text", "json"), default="text", help="format of the report (default: text)")
    sub.add_argument("--report", metavar="FILE", help="file for the report (default: stdout)")
    sub.add_argument(
        "--columns",
        nargs="+",
        metavar="FIELD=COLUMN",
        help="names of columns in a table with other headings: path=wav_name emotion=emo",
    )
    sub.add_argument(
        "--map-labels",
        nargs="+",
        metavar="LABEL=EMOTION",
        help="meaning of labels: 1=anger 2=happiness; NAME=NAME keeps a rare one",
    )
    sub.add_argument(
        "--clean",
        nargs="+",
        default=[],
        metavar="STEP",
        help="write cleaned copies of the recordings: denoise trim loudness (needs the extra `clean`)",
    )
    sub.add_argument(
        "--cleaned-dir", metavar="DIR", help="folder for the cleaned copies (default: beside the manifest)"
    )
    sub.add_argument(
        "--label-set", help="convert emotions to this label set: native, ekman, iemocap4, ... (default: unchanged)"
    )
    sub.add_argument("--split", help="split of a dataset")
    sub.add_argument("--config", help="configuration of a dataset")
    sub.add_argument("--revision", help="revision of a dataset")
    sub.add_argument("--streaming", action="store_true", help="stream a dataset instead of downloading it first")
    sub.add_argument("--limit", type=int, metavar="N", help="read only the first N rows of a dataset")
    sub.add_argument(
        "--recordings-dir",
        metavar="DIR",
        help="folder for the recordings of a dataset (default: beside the manifest)",
    )
    sub.add_argument("--progress", action="store_true", help="show progress bars")
