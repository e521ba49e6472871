"""`main`: the parser of all commands, exit codes and messages about wrong usage."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from multimodal_ser._progress import say
from multimodal_ser._version import __version__
from multimodal_ser.cli import corpora, evaluation, export, hub, machine, prediction, training
from multimodal_ser.cli.output import check_output
from multimodal_ser.errors import InputError, closest


class _Parser(argparse.ArgumentParser):
    """A parser that suggests an option for a misspelt one."""

    def error(self, message: str) -> NoReturn:
        """Print the message, and exit with code 2."""
        unknown = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        if message.startswith("unrecognized arguments") and unknown:
            commands = [
                c
                for action in self._actions
                if isinstance(action, argparse._SubParsersAction)
                for c in action.choices.values()
            ]
            options = [
                option for parser in (self, *commands) for action in parser._actions for option in action.option_strings
            ]
            close = closest(unknown[0], options)
            message += f"; did you mean {close}?" if close else ""
        super().error(message)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command and its options."""
    parser = _Parser(prog="multimodal-ser", description="Emotion recognition from speech and its transcript.")
    parser.add_argument("--version", action="version", version=f"multimodal-ser {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in (prediction, corpora, training, evaluation, export, hub, machine):
        group.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    args = build_parser().parse_args(argv)
    if not args.verbose:
        _quiet()
    try:
        check_output(args.output)
        code = int(args.function(args))
        sys.stdout.flush()  # a pipe that was closed shows here, not at exit
        return code
    except InputError as error:
        say(str(error))
        return 2
    except BrokenPipeError:  # the reader of the pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discard the rest of the buffer
        return 0
    except KeyboardInterrupt:
        say("stopped")
        return 130


def _quiet() -> None:
    """Suppress progress bars and reports of other libraries on stderr; warnings stay, in one line each."""
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    logging.getLogger("faster_whisper").setLevel(logging.ERROR)
    # torch warns of the way in which torchao registers two types
    logging.getLogger("torch.utils._pytree").addFilter(
        lambda record: "register_constant() on Enum" not in str(record.msg)
    )
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"multimodal-ser: {message}\n"
