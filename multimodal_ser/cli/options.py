"""Options that several commands share, with the model and the device that they name."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.transcription.weights import first_line

Commands = Any
"""Type of the result of `ArgumentParser.add_subparsers`, which is private in argparse."""


@contextmanager
def loading_errors(model: str | None) -> Iterator[None]:
    """Raise errors of other libraries while a checkpoint is loaded as an `InputError` of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        got = f"{model or 'the shipped one'}: {first_line(error)}"
        raise InputError(
            "--model", expected="a folder or Hub id of a checkpoint", got=got, remedy="check it"
        ) from error


def load_model(args: argparse.Namespace, **options: Any) -> Any:
    """Load the classifier of `--model`, with `options` of `from_pretrained`."""
    from multimodal_ser.export.onnx_runtime import is_export

    if args.model is not None and is_export(args.model):
        remedy = f"name the checkpoint of the export instead of {args.model}; only predict runs exports"
        raise InputError("--model", expected="a checkpoint", got="an export to ONNX", remedy=remedy)
    try:
        from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier
    except ModuleNotFoundError as error:
        remedy = "pip install multimodal_ser with its dependencies, or use predict with the folder of an export to ONNX"
        raise InputError(
            "--model", expected="PyTorch and transformers", got=f"no {error.name}", remedy=remedy
        ) from error
    if not args.verbose:
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    with loading_errors(args.model):
        return MultimodalEmotionClassifier.from_pretrained(args.model, **options)


def check_device(device: str | None) -> None:
    """Require a device that torch can use."""
    if device is not None:
        import torch

        try:
            torch.zeros(1, device=device).item()
        except Exception as error:  # its type depends on the device
            reason = first_line(error).split(". ")[0]
            raise InputError(
                "--device",
                expected="a device of this machine (multimodal-ser doctor lists them)",
                got=f"{device!r} ({reason})",
                remedy="leave it out for the CPU",
            ) from error


def add_command(
    commands: Commands,
    function: Callable[[argparse.Namespace], int],
    formats: Sequence[str] = (),
    usage: str | None = None,
) -> argparse.ArgumentParser:
    """Add a command with the name and the docstring of a function; with `formats` it gets --format and --output.

    Args:
        commands: the commands of the parser.
        function: runs the command, and returns the exit code.
        formats: formats of the results, the default first; empty: the command has neither option.
        usage: line of usage, if that of argparse would be too long; None: that of argparse.
    """
    sub = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__, usage=usage)
    sub.set_defaults(function=function)
    if formats:
        sub.add_argument(
            "--format", choices=formats, default=formats[0], help=f"format of the results (default: {formats[0]})"
        )
        sub.add_argument("-o", "--output", metavar="FILE", help="file for the results (default: stdout)")
    else:
        sub.set_defaults(output=None)
    sub.add_argument("--verbose", action="store_true", help="show the logs of other libraries")
    return sub


def add_model(sub: argparse.ArgumentParser) -> None:
    """Add the option of the checkpoint."""
    sub.add_argument("--model", metavar="ID|PATH", help="checkpoint (default: the one that ships in the package)")


def add_listening(sub: argparse.ArgumentParser) -> None:
    """Add the options of transcription."""
    sub.add_argument(
        "--whisper",
        metavar="NAME|PATH|none",
        help='Whisper model: "small", a folder or file, or none (default: one that is installed)',
    )
    sub.add_argument("--language", help='language of the speech, such as "de" (default: detected)')
    sub.add_argument(
        "--word-timestamps", action="store_true", help="also write the times of the words (json and jsonl)"
    )
    sub.add_argument(
        "--cache-dir", metavar="DIR", help="folder in which transcripts are stored (default: they are not stored)"
    )
    sub.add_argument("--device", help='"cpu", "cuda", ... (default: cpu)')


LABEL_SETS = '"native" (the model\'s own labels), "ekman"; for models whose labels all fit also "iemocap4", "sentiment" (default: native)'
"""Help text of --label-set."""
