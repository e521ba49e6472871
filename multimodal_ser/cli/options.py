"""What several commands share: options, and the model and the device that they name."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.transcription.weights import first_line

Commands = Any
"""What `ArgumentParser.add_subparsers` gives; argparse's own type of it is private."""


@contextmanager
def reading(model: str | None) -> Iterator[None]:
    """What goes wrong while a checkpoint is read is told in one line, whichever library says it."""
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
    """The classifier that `--model` names; `options` as `from_pretrained` takes them."""
    from multimodal_ser.export.onnx_runtime import is_export

    if args.model is not None and is_export(args.model):
        remedy = f"only predict runs those; name the checkpoint that it was made of, not {args.model}"
        raise InputError("--model", expected="a checkpoint", got="an export to ONNX", remedy=remedy)
    try:
        from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier
    except ModuleNotFoundError as error:
        remedy = "pip install multimodal_ser with what it depends on, or give predict the folder of an export to ONNX"
        raise InputError(
            "--model", expected="PyTorch and transformers", got=f"no {error.name}", remedy=remedy
        ) from error
    if not args.verbose:
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    with reading(args.model):
        return MultimodalEmotionClassifier.from_pretrained(args.model, **options)


def check_device(device: str | None) -> None:
    """Try a device: names are many, and which of them work is known to torch alone."""
    if device is not None:
        import torch

        try:
            torch.zeros(1, device=device).item()
        except Exception as error:  # RuntimeError, AssertionError, ImportError: each kind of device has its own
            known, reason = (
                "a device of this machine (multimodal-ser doctor lists them)",
                first_line(error).split(". ")[0],
            )
            raise InputError(
                "--device", expected=known, got=f"{device!r} ({reason})", remedy="leave it out for the CPU"
            ) from error


def add_command(
    commands: Commands,
    function: Callable[[argparse.Namespace], int],
    formats: Sequence[str] = (),
    usage: str | None = None,
) -> argparse.ArgumentParser:
    """A command that is called as the function is and described as it is; with `formats` it has --format and --output.

    Args:
        commands: where it is added.
        function: what it does; returns the exit code.
        formats: in which results can be written, the default first; none: it writes no results of its own to stdout.
        usage: where argparse's own would be too long.
    """
    sub = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__, usage=usage)
    sub.set_defaults(function=function)
    if formats:
        sub.add_argument(
            "--format", choices=formats, default=formats[0], help=f"how results are written (default: {formats[0]})"
        )
        sub.add_argument("-o", "--output", metavar="FILE", help="where results are written (default: stdout)")
    else:
        sub.set_defaults(output=None)
    sub.add_argument("--verbose", action="store_true", help="show what the libraries below log")
    return sub


def add_model(sub: argparse.ArgumentParser) -> None:
    """Which checkpoint."""
    sub.add_argument("--model", metavar="ID|PATH", help="checkpoint (default: the one that ships in the package)")


def add_listening(sub: argparse.ArgumentParser) -> None:
    """How recordings are transcribed."""
    sub.add_argument(
        "--whisper",
        metavar="NAME|PATH|none",
        help='the Whisper that listens: "small", a folder or file, none (default: what is found)',
    )
    sub.add_argument("--language", help='language of the speech, such as "de" (default: detected)')
    sub.add_argument("--word-timestamps", action="store_true", help="also give the times of the words (json and jsonl)")
    sub.add_argument("--cache-dir", metavar="DIR", help="keep transcripts there (default: none are kept)")
    sub.add_argument("--device", help='"cpu", "cuda", ... (default: cpu)')


LABEL_SETS = '"native" (the model\'s own labels), "ekman"; for models whose labels all fit also "iemocap4", "sentiment" (default: native)'
"""What --label-set takes."""
