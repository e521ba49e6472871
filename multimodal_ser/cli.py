"""The command line: one function a command. Results go to stdout (or `--output`), everything else to stderr.

Exit codes: 0 all went well, 1 some input failed (the others were done) or `doctor` found something broken, 2 wrong use.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn, TextIO

from multimodal_ser._version import __version__
from multimodal_ser.errors import InputError
from multimodal_ser.transcription.weights import first_line

FORMATS = ("table", "json", "jsonl", "csv")


def _say(message: str) -> None:
    print(f"multimodal-ser: {message}", file=sys.stderr)


def _check_output(name: str | None) -> None:
    """Tell before any work is done that `--output` cannot be written; the file itself is left as it is."""
    if name is not None:
        path = Path(name).absolute()
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise _unwritable(name, "a folder" if path.is_dir() else "not writable" if path.parent.is_dir() else "no such folder")


def _unwritable(name: str, reason: str | None) -> InputError:
    return InputError("--output", expected="a file that can be written", got=f"{name} ({reason})", remedy="name another")


@contextmanager
def _destination(path: str | None) -> Iterator[TextIO]:
    """Where results go. File names need not be UTF-8, and stdout need not know every letter: what cannot be encoded is escaped."""
    if path is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    try:
        file = open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115 - closed by the with statement below
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    with file:
        yield file


def _write(rows: Iterable[dict[str, Any]], form: str, path: str | None, columns: Sequence[str]) -> None:
    """Write flat or nested rows; jsonl and csv line by line, as the rows come.

    An old file is emptied when the first row is there: wrong use, which shows until then, leaves it as it was.
    """
    rows = iter(rows)
    rows = chain(list(islice(rows, 1)), rows)
    with _destination(path) as file:
        if form == "jsonl":
            for row in rows:
                print(_json(row, file), file=file, flush=True)
        elif form == "json":
            print(_json(list(rows), file, indent=2), file=file)
        elif form == "csv":
            writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
            writer.writeheader()
            for row in rows:
                writer.writerow(_flat(row))
                file.flush()
        else:
            print(_table(list(rows), columns, file), end="", file=file)


def _json(value: Any, file: TextIO, indent: int | None = None) -> str:
    """As JSON; in an encoding that lacks letters they are escaped by JSON's own rules."""
    return json.dumps(value, ensure_ascii=not (file.encoding or "utf-8").lower().startswith("utf"), indent=indent)


def _table(rows: list[dict[str, Any]], columns: Sequence[str], file: TextIO) -> str:
    """As a table for people, without the columns of single probabilities; errors have a column where there are any."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    failed = any("error" in row for row in rows)
    shown = [column for column in columns if not column.startswith("p_") and (failed or column != "error")]
    table = Table(box=None, pad_edge=False)
    for column in shown:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (_flat(row).get(column, "") for column in shown)
        table.add_row(*(Text(f"{cell:.2f}" if isinstance(cell, float) else str(cell)) for cell in cells))
    console = Console(file=file, width=None if file.isatty() else 140)
    with console.capture() as drawn:  # a console that writes ends the program where a pipe is closed
        console.print(table)
    return drawn.get()


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


@contextmanager
def _reading(model: str | None) -> Iterator[None]:
    """What goes wrong while a checkpoint is read is told in one line, whichever library says it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        got = f"{model or 'the shipped one'}: {first_line(error)}"
        raise InputError("--model", expected="a folder or Hub id of a checkpoint", got=got, remedy="check it") from error


def _load_model(args: argparse.Namespace, **options: Any) -> Any:
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

    if not args.verbose:
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    with _reading(args.model):
        return MultimodalEmotionClassifier.from_pretrained(args.model, **options)


def _check_device(device: str | None) -> None:
    """Try a device: names are many, and which of them work is known to torch alone."""
    if device is not None:
        import torch

        try:
            torch.zeros(1, device=device).item()
        except Exception as error:  # RuntimeError, AssertionError, ImportError: each kind of device has its own
            known, reason = "a device of this machine (multimodal-ser doctor lists them)", first_line(error).split(". ")[0]
            raise InputError("--device", expected=known, got=f"{device!r} ({reason})", remedy="leave it out for the CPU") from error


def predict(args: argparse.Namespace) -> int:
    """Emotion probabilities of recordings, texts, or both."""
    if args.text is not None and len(args.audio) > 1:
        raise InputError(
            "--text", expected="at most one recording beside it", got=f"{len(args.audio)} recordings", remedy="call once a recording"
        )
    if not args.audio and args.text is None:
        raise InputError("input", expected="recordings, or --text", got="neither", remedy="multimodal-ser predict call.wav")
    from multimodal_ser.labels import label_map
    from multimodal_ser.transcription import WhisperTranscriber

    _check_device(args.device)
    whisper = None if args.whisper == "none" else WhisperTranscriber(args.whisper, device=args.device, cache_dir=args.cache_dir)
    model = _load_model(args, whisper=whisper, device=args.device, **({"dtype": args.dtype} if args.dtype else {}))
    with _reading(args.model):
        model.processor  # noqa: B018 - it is read when it is first asked for
    items = [{"audio": path, "text": args.text} for path in args.audio] or [{"text": args.text}]
    outcomes = model.predict_iter(
        items, modalities=args.modalities, label_set=args.label_set, language=args.language, channels=args.channels,
        batch_size=args.batch_size, word_timestamps=args.word_timestamps, on_error="skip", progress=args.progress, total=len(items),
    )  # fmt: skip
    labels = dict.fromkeys(label_map(model.labels, args.label_set).values())
    columns = [
        "source", *(["channel"] if args.channels == "split" else []), "label", "confidence",
        *([] if args.format == "csv" else ["probabilities"]), *(f"p_{label}" for label in labels),
        "modalities", "language", "text", "notes", "error",
    ]  # fmt: skip
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

    _write(rows(), args.format, args.output, columns)
    if failed:
        _say(f"{failed} of {len(items)} inputs failed{'; the others were done' if failed < len(items) else ''}")
    return 1 if failed else 0


def transcribe(args: argparse.Namespace) -> int:
    """The words of recordings."""
    from multimodal_ser.audio import AudioError
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
    transcriber.load().transcribe([], language=args.language)  # what is wrong with an option is told before a recording is heard
    failed = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        for path in args.audio:
            try:
                transcript: Any = transcriber.transcribe(path, language=args.language, word_timestamps=args.word_timestamps)
            except AudioError as error:
                failed += 1
                _say(str(error))
                yield {"source": path, "error": str(error)}
            else:
                yield {"source": path, **transcript.to_dict()}

    _write(rows(), args.format, args.output, ["source", "language", "text", "error"])
    if failed:
        _say(f"{failed} of {len(args.audio)} recordings failed{'; the others were done' if failed < len(args.audio) else ''}")
    return 1 if failed else 0


def train(args: argparse.Namespace) -> int:
    """Train on a folder with a folder per emotion, or on manifests; see docs/training.md."""
    from multimodal_ser.training import TrainingArguments, train
    from multimodal_ser.training.arguments import read_yaml

    given = {name: value for name, value in vars(args).items() if name in TrainingArguments.kinds()}
    train(TrainingArguments.from_dict((read_yaml(args.config) if args.config else {}) | given))
    return 0


def augment(args: argparse.Namespace) -> int:
    """Write a recording as each augmentation of training makes it sound, to listen to."""
    from multimodal_ser.training.augmentation import write_listening_examples

    paths = write_listening_examples(
        args.audio, args.output_dir, args.augmentation, seed=args.seed, count=args.count, noise_dir=args.noise_dir, room_dir=args.room_dir
    )
    for path in paths:
        print(path)
    return 0


GROUPS = {"data": "what is learned from", "model": "which model", "freeze": "what is trained", "num_train_epochs": "how"}
"""Where `train --help` begins a new paragraph, by the option that opens it."""


def _training_options(sub: argparse.ArgumentParser) -> None:
    """An option a field of `TrainingArguments`; what is not given is not set, so that --config counts."""
    import dataclasses
    from typing import get_args

    from multimodal_ser.training.arguments import TrainingArguments

    kinds = TrainingArguments.kinds()
    group: Any = sub
    for field in dataclasses.fields(TrainingArguments):
        group = sub.add_argument_group(GROUPS[field.name]) if field.name in GROUPS else group
        default = field.default_factory() if callable(field.default_factory) else field.default
        shown = " ".join(map(str, default)) if isinstance(default, list | dict) else default
        described = field.metadata["help"].replace("%", "%%")
        described += (
            ""
            if default in (None, [], {}, "") or "default" in described
            else f" (default: {str(shown).lower() if default in (True, False) else shown})"
        )
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": described}
        name = f"--{field.name.replace('_', '-')}"
        if field.name == "data":
            group.add_argument("data", nargs="*", metavar="DATA", **options)
        elif isinstance(default, bool):
            group.add_argument(name, action=argparse.BooleanOptionalAction, **options)
        elif isinstance(default, dict):
            group.add_argument(name, nargs="+", action=_Mapping, metavar="NAME[=VALUE]", **options)
        elif isinstance(default, list):
            group.add_argument(name, nargs="*", metavar="X", **options)
        else:
            short = ["-o"] if field.name == "output_dir" else []
            choices = [choice for choice in get_args(kinds[field.name]) if isinstance(choice, str)]
            group.add_argument(*short, name, metavar="|".join(choices) or "X", type=_optional, **options)


def _optional(text: str) -> str | None:
    """As it stands: `TrainingArguments` makes numbers of it where it wants them; `null`, as in YAML, is the default of many."""
    return None if text == "null" else text


class _Mapping(argparse.Action):
    """`speed noise` -> {"speed": {}, "noise": {}}; `fusion_layers=1 dimensions=[a, b]` -> values as YAML reads them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        import yaml

        pairs = (value.partition("=") for value in values)
        try:
            setattr(namespace, self.dest, {name: yaml.safe_load(value) if given else {} for name, given, value in pairs})
        except yaml.YAMLError as error:
            parser.error(f"{option_string}: expected NAME or NAME=VALUE, got {' '.join(values)} ({first_line(error)})")


def info(args: argparse.Namespace) -> int:
    """What a model is: size, labels, gates, licences; and which Whisper is found where."""
    from multimodal_ser.inspection import SHIPPED_LICENSE, model_info
    from multimodal_ser.transcription import whisper_candidates

    described = model_info(_load_model(args, whisper=None), args.model or "the checkpoint that ships in the package")
    described["whisper"] = [f"{weights.name} ({weights.format}): {weights.path}" for weights in whisper_candidates()]
    if args.model is None:
        described["licences"] = SHIPPED_LICENSE
    with _destination(args.output) as file:
        if args.format == "json":
            print(_json(described, file, indent=2), file=file)
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
            print(_json([{"name": c.name, "ok": c.ok, "found": c.found, "remedy": c.remedy} for c in checks], file, indent=2), file=file)
        else:
            for check in checks:
                print(f"{'ok ' if check.ok else 'BAD'}  {check.name:<18}  {check.found}", file=file)
                if check.remedy:
                    print(f"     {'':<18}  remedy: {check.remedy}", file=file)
    return 0 if all(check.ok for check in checks) else 1


class _Parser(argparse.ArgumentParser):
    """Says what a misspelt option may have meant."""

    def error(self, message: str) -> NoReturn:
        """Tell and leave, with exit code 2."""
        unknown = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        if message.startswith("unrecognized arguments") and unknown:
            commands = [c for action in self._actions if isinstance(action, argparse._SubParsersAction) for c in action.choices.values()]
            options = [option for parser in (self, *commands) for action in parser._actions for option in action.option_strings]
            close = get_close_matches(unknown[0], options, n=1)
            message += f"; did you mean {close[0]}?" if close else ""
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="multimodal-ser", description="Emotion recognition from speech and its transcript.")
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
    sub.add_argument(
        "--label-set",
        default="native",
        help='"native" (the model\'s own labels), "ekman"; for models whose labels all fit also "iemocap4", "sentiment" (default: native)',
    )
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

    usage = "multimodal-ser train DATA [DATA ...] [-o RUN] [--config FILE] [options]"
    sub = commands.add_parser("train", help=train.__doc__, description=train.__doc__, usage=usage)
    sub.set_defaults(function=train, output=None)
    sub.add_argument("--config", metavar="FILE", help="YAML file of the options below; those of the command line take precedence")
    sub.add_argument("--verbose", action="store_true", help="show what the libraries below log")
    _training_options(sub)

    sub = commands.add_parser("augment", help=augment.__doc__, description=augment.__doc__)
    sub.set_defaults(function=augment, output=None)
    sub.add_argument("audio", metavar="FILE", help="recording")
    sub.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder for the wav files")
    sub.add_argument("--augmentation", nargs="*", metavar="NAME", help="which (default: each)")
    sub.add_argument("--count", type=int, default=1, metavar="N", help="how many of each (default: 1)")
    sub.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    sub.add_argument("--noise-dir", metavar="DIR", help="noises (default: synthesised)")
    sub.add_argument("--room-dir", metavar="DIR", help="room impulse responses (default: synthesised)")
    sub.add_argument("--verbose", action="store_true", help="show what the libraries below log")

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
        _check_output(args.output)
        code = int(args.function(args))
        sys.stdout.flush()  # a pipe that was closed shows here, not at exit
        return code
    except InputError as error:
        _say(str(error))
        return 2
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what the buffer still holds goes nowhere
        return 0
    except KeyboardInterrupt:
        _say("stopped")
        return 130


def _quiet() -> None:
    """Keep the progress bars and reports of the libraries below out of stderr; warnings stay, one line each."""
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    logging.getLogger("faster_whisper").setLevel(logging.ERROR)
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"multimodal-ser: {message}\n"


if __name__ == "__main__":
    sys.exit(main())
