"""The command line: one function a command. Results go to stdout (or `--output`), everything else to stderr.

Exit codes: 0 all went well, 1 some input failed (the others were done) or `doctor` found something broken, 2 wrong use.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from multimodal_ser._version import __version__
from multimodal_ser.errors import InputError

FORMATS = ("table", "json", "jsonl", "csv")


def _say(message: str) -> None:
    print(f"multimodal-ser: {message}", file=sys.stderr)


@contextmanager
def _destination(path: str | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115 - closed by the with statement below
    except OSError as error:
        raise InputError(
            "--output", expected="a file that can be written", got=f"{path} ({error.strerror})", remedy="name another"
        ) from error
    with file:
        yield file


def _write(rows: Iterable[dict[str, Any]], form: str, file: IO[str], columns: Sequence[str]) -> None:
    """Write flat or nested rows; jsonl and csv line by line, as the rows come."""
    if form == "jsonl":
        for row in rows:
            print(json.dumps(row, ensure_ascii=False), file=file, flush=True)
    elif form == "json":
        print(json.dumps(list(rows), ensure_ascii=False, indent=2), file=file)
    elif form == "csv":
        writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow(_flat(row))
            file.flush()
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        shown = [column for column in columns if not column.startswith("p_")]
        for column in shown:
            table.add_column(column, overflow="fold")
        for row in rows:
            flat = _flat(row)
            table.add_row(*(_short(flat.get(column, "")) for column in shown))
        console = Console(file=file, width=None if file.isatty() else 140)
        console.print(table)


def _short(value: Any) -> str:
    from rich.markup import escape

    return f"{value:.2f}" if isinstance(value, float) else escape(str(value))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A prediction or transcript as one line of a table."""
    flat = {key: "" if value is None else value for key, value in row.items() if not isinstance(value, dict | list)}
    flat |= {f"p_{label}": round(value, 6) for label, value in row.get("probabilities", {}).items()}
    flat["probabilities"] = " ".join(
        f"{label} {value:.2f}" for label, value in sorted(row.get("probabilities", {}).items(), key=lambda e: -e[1])[:3]
    )
    flat["modalities"] = "+".join(row.get("modalities") or [])
    transcript = row.get("transcript") or {}
    flat["language"], flat["text"] = (
        transcript.get("language") or row.get("language") or "",
        transcript.get("text") or row.get("text") or "",
    )
    flat["notes"] = "; ".join(row.get("notes") or [])
    return flat


def _load_model(args: argparse.Namespace) -> Any:
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

    if not args.verbose:
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    whisper: Any = None if args.whisper == "none" else args.whisper or "auto"
    if whisper is not None and args.cache_dir is not None:
        from multimodal_ser.transcription import WhisperTranscriber

        whisper = WhisperTranscriber(args.whisper, device=args.device, cache_dir=args.cache_dir)
    options = {"dtype": args.dtype} if args.dtype else {}
    try:
        return MultimodalEmotionClassifier.from_pretrained(args.model, whisper=whisper, device=args.device, **options)
    except (OSError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise InputError(
            "--model", expected="a folder or Hub id of a checkpoint", got=f"{args.model or 'the shipped one'}: {line}", remedy="check it"
        ) from error


def predict(args: argparse.Namespace) -> int:
    """Emotion probabilities of recordings, texts, or both."""
    if args.text is not None and len(args.audio) > 1:
        raise InputError(
            "--text", expected="at most one recording beside it", got=f"{len(args.audio)} recordings", remedy="call once a recording"
        )
    if not args.audio and args.text is None:
        raise InputError("input", expected="recordings, or --text", got="neither", remedy="multimodal-ser predict call.wav")
    model = _load_model(args)
    items = [{"audio": path, "text": args.text} for path in args.audio] or [{"text": args.text}]
    outcomes = model.predict_iter(
        items, modalities=args.modalities, label_set=args.label_set, language=args.language, channels=args.channels,
        batch_size=args.batch_size, word_timestamps=args.word_timestamps, on_error="skip", progress=args.progress, total=len(items),
    )  # fmt: skip
    from multimodal_ser.labels import label_map

    labels = dict.fromkeys(label_map(model.labels, args.label_set).values())
    columns = [
        "source",
        "channel",
        "label",
        "confidence",
        "probabilities",
        *(f"p_{label}" for label in labels),
        "modalities",
        "language",
        "text",
        "notes",
        "error",
    ]
    if args.channels == "mix":
        columns.remove("channel")
    if args.format == "csv":
        columns.remove("probabilities")
    failed = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, InputError):
                failed += 1
                _say(str(outcome))
                yield {"source": item.get("audio"), "error": str(outcome)}
            else:
                yield from (prediction.to_dict() for prediction in (outcome if isinstance(outcome, list) else [outcome]))

    with _destination(args.output) as file:
        _write(rows(), args.format, file, columns if args.format != "table" or failed else [c for c in columns if c != "error"])
    if failed:
        _say(f"{failed} of {len(items)} inputs failed; the others were done")
    return 1 if failed else 0


def transcribe(args: argparse.Namespace) -> int:
    """The words of recordings."""
    from multimodal_ser.transcription import TranscriptCache, WhisperTranscriber

    if args.clear_cache:
        if args.cache_dir is None:
            raise InputError("--clear-cache", expected="--cache-dir beside it", got="none", remedy="say which cache")
        _say(f"{TranscriptCache(args.cache_dir).clear()} transcripts deleted in {args.cache_dir}")
    elif not args.audio:
        raise InputError("input", expected="recordings", got="none", remedy="multimodal-ser transcribe call.wav")
    if not args.audio:
        return 0
    transcriber = WhisperTranscriber(args.whisper, backend=args.backend, device=args.device, cache_dir=args.cache_dir)
    failed = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        for path in args.audio:
            try:
                transcript: Any = transcriber.transcribe(path, language=args.language, word_timestamps=args.word_timestamps)
            except InputError as error:
                failed += 1
                _say(str(error))
                yield {"source": path, "error": str(error)}
            else:
                yield {"source": path, **transcript.to_dict()}

    with _destination(args.output) as file:
        _write(rows(), args.format, file, ["source", "language", "text"])
    if failed:
        _say(f"{failed} of {len(args.audio)} recordings failed; the others were done")
    return 1 if failed else 0


def info(args: argparse.Namespace) -> int:
    """What a model is: size, labels, gates, licences; and which Whisper is found where."""
    from multimodal_ser.inspection import SHIPPED_LICENSE, model_info
    from multimodal_ser.transcription import whisper_candidates

    args.whisper = args.dtype = args.device = args.cache_dir = None
    described = model_info(_load_model(args), args.model or "the checkpoint that ships in the package")
    described["whisper"] = [f"{weights.name} ({weights.format}): {weights.path}" for weights in whisper_candidates()]
    if args.model is None:
        described["licences"] = SHIPPED_LICENSE
    with _destination(args.output) as file:
        if args.format == "json":
            print(json.dumps(described, ensure_ascii=False, indent=2), file=file)
        else:
            width = max(map(len, described))
            for key, value in described.items():
                print(f"{key.replace('_', ' '):<{width}}  {_plain(value)}", file=file)
    return 0


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(map(_plain, value)) or "none"
    return "unknown" if value is None else str(value)


def doctor(args: argparse.Namespace) -> int:
    """Versions and devices; what is broken, and the remedy."""
    from multimodal_ser.inspection import diagnose

    checks = diagnose()
    with _destination(args.output) as file:
        if args.format == "json":
            print(json.dumps([{"name": c.name, "ok": c.ok, "found": c.found, "remedy": c.remedy} for c in checks], indent=2), file=file)
        else:
            for check in checks:
                print(f"{'ok ' if check.ok else 'BAD'}  {check.name:<18}  {check.found}", file=file)
                if check.remedy:
                    print(f"     {'':<18}  remedy: {check.remedy}", file=file)
    return 0 if all(check.ok for check in checks) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="multimodal-ser", description="Emotion recognition from speech and its transcript.")
    parser.add_argument("--version", action="version", version=f"multimodal-ser {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(function: Any, formats: Sequence[str]) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        sub.add_argument("--format", choices=formats, default=formats[0], help=f"how results are written (default: {formats[0]})")
        sub.add_argument("-o", "--output", metavar="FILE", help="where results are written (default: stdout)")
        sub.add_argument("--verbose", action="store_true", help="show what the libraries below log")
        return sub

    def listening(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--whisper", metavar="NAME|PATH|none", help='the Whisper that listens: "small", a folder or file, none (default: what is found)'
        )
        sub.add_argument("--language", help='language of the speech, such as "de" (default: detected)')
        sub.add_argument("--word-timestamps", action="store_true", help="also give the times of the words (json and jsonl)")
        sub.add_argument("--cache-dir", metavar="DIR", help="keep transcripts there (default: none are kept)")
        sub.add_argument("--device", help='"cpu", "cuda", ... (default: cpu)')

    sub = command(predict, FORMATS)
    sub.add_argument("audio", nargs="*", metavar="FILE", help="recordings: wav, flac, mp3, ogg, m4a, webm ...")
    sub.add_argument("--text", help="the words, where they are known; Whisper is then not run")
    sub.add_argument("--model", metavar="ID|PATH", help="checkpoint (default: the one that ships in the package)")
    sub.add_argument(
        "--modalities", choices=("auto", "both", "audio", "text"), default="auto", help="what the prediction may rest on (default: auto)"
    )
    sub.add_argument("--label-set", default="native", help='"native" (the model\'s own labels), "ekman", "iemocap4", "sentiment"')
    sub.add_argument(
        "--channels", choices=("mix", "split"), default="mix", help="mix the channels, or one prediction a channel (default: mix)"
    )
    sub.add_argument("--batch-size", type=int, default=8, metavar="N", help="windows that run through the model together (default: 8)")
    sub.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="precision of the model (default: float32)")
    sub.add_argument("--progress", action="store_true", help="show a progress bar")
    listening(sub)

    sub = command(transcribe, FORMATS)
    sub.add_argument("audio", nargs="*", metavar="FILE", help="recordings")
    sub.add_argument("--clear-cache", action="store_true", help="delete the transcripts kept in --cache-dir first")
    sub.add_argument(
        "--backend", choices=("faster-whisper", "openai-whisper", "transformers"), help="default: the one that fits the weights found"
    )
    listening(sub)

    sub = command(info, ("text", "json"))
    sub.add_argument("--model", metavar="ID|PATH", help="checkpoint (default: the one that ships in the package)")

    command(doctor, ("text", "json"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    if not args.verbose:
        _quiet()
    try:
        return int(args.function(args))
    except InputError as error:
        _say(str(error))
        return 2
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        _say("stopped")
        return 130


def _quiet() -> None:
    """Keep the progress bars and reports of the libraries below out of stderr; warnings stay, one line each."""
    import os
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    logging.getLogger("faster_whisper").setLevel(logging.ERROR)
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"multimodal-ser: {message}\n"


if __name__ == "__main__":
    sys.exit(main())
