"""The commands `train`, with the fields of `TrainingArguments` as options, and `augment`."""

from __future__ import annotations

import argparse
from typing import Any

from multimodal_ser.cli.options import Commands, add_command
from multimodal_ser.cli.output import destination
from multimodal_ser.transcription.weights import first_line


def train(args: argparse.Namespace) -> int:
    """Train on a folder with a folder per emotion, or on manifests; see docs/training.md."""
    from multimodal_ser._files import read_yaml
    from multimodal_ser.training import TrainingArguments, train

    options = {name: value for name, value in vars(args).items() if name in TrainingArguments.kinds()}
    train(TrainingArguments.from_dict((read_yaml(args.config) if args.config else {}) | options))
    return 0


def augment(args: argparse.Namespace) -> int:
    """Write a recording with each augmentation of training, to listen to."""
    from multimodal_ser.training.augmentation import write_listening_examples

    paths = write_listening_examples(
        args.audio,
        args.output_dir,
        args.augmentation,
        seed=args.seed,
        count=args.count,
        noise_dir=args.noise_dir,
        room_dir=args.room_dir,
    )
    with destination(None) as file:
        for path in paths:
            print(path, file=file)
    return 0


GROUPS = {
    "data": "data",
    "model": "model",
    "freeze": "trained parts, losses and augmentation",
    "num_train_epochs": "optimization and output",
}
"""Titles of the groups in `train --help`, by the first option of each."""


def add_training_options(sub: argparse.ArgumentParser) -> None:
    """Add an option for each field of `TrainingArguments`; options that are left out are not set, so that --config
    counts.
    """
    from multimodal_ser.training.arguments import TrainingArguments

    add_fields(sub, TrainingArguments, GROUPS, short={"output_dir": "-o"})


def add_fields(sub: argparse.ArgumentParser, record: type, groups: dict[str, str], short: dict[str, str]) -> None:
    """Add an option for each field of a dataclass, with the `help` of its metadata; `data` is a positional argument.

    Args:
        sub: parser of the command.
        record: the dataclass.
        groups: titles of the groups in `--help`, by the first field of each.
        short: one-letter options by the name of the field.
    """
    import dataclasses
    from typing import get_args, get_type_hints

    kinds = record.kinds() if hasattr(record, "kinds") else get_type_hints(record)
    group: Any = sub
    for field in dataclasses.fields(record):
        group = sub.add_argument_group(groups[field.name]) if field.name in groups else group
        default: Any = field.default_factory() if callable(field.default_factory) else field.default
        shown = " ".join(map(str, default)) if isinstance(default, list | dict) else default
        text = field.metadata["help"].replace("%", "%%")
        text += (
            ""
            if default in (None, [], {}, "") or "default" in text
            else f" (default: {str(shown).lower() if default in (True, False) else shown})"
        )
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text}
        names = [*([short[field.name]] if field.name in short else []), f"--{field.name.replace('_', '-')}"]
        if field.name == "data":
            group.add_argument("data", nargs="*", metavar="DATA", **options)
        elif isinstance(default, bool):
            group.add_argument(*names, action=argparse.BooleanOptionalAction, **options)
        elif isinstance(default, dict):
            group.add_argument(*names, nargs="+", action=Mapping, metavar="NAME[=VALUE]", **options)
        elif isinstance(default, list):
            group.add_argument(*names, nargs="*", metavar="X", **options)
        else:
            choices = [
                choice for kind in (kinds[field.name], *get_args(kinds[field.name])) for choice in get_args(kind)
            ]
            choices = [choice for choice in choices if isinstance(choice, str)]
            group.add_argument(*names, metavar="|".join(dict.fromkeys(choices)) or "X", type=optional, **options)


def optional(text: str) -> str | None:
    """Return the text, which `TrainingArguments` converts; `null`, as in YAML, becomes None."""
    return None if text == "null" else text


class Mapping(argparse.Action):
    """Converts `speed noise` to {"speed": {}, "noise": {}}, and values of `NAME=VALUE` as in YAML."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Set the option; argparse calls this method."""
        import yaml

        pairs = (value.partition("=") for value in values)
        try:
            setattr(
                namespace, self.dest, {name: yaml.safe_load(value) if equals else {} for name, equals, value in pairs}
            )
        except yaml.YAMLError as error:
            parser.error(f"{option_string}: expected NAME or NAME=VALUE, got {' '.join(values)} ({first_line(error)})")


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    sub = add_command(commands, train, usage="multimodal-ser train DATA [DATA ...] [-o RUN] [--config FILE] [options]")
    sub.add_argument(
        "--config", metavar="FILE", help="YAML file of the options below; those of the command line take precedence"
    )
    add_training_options(sub)

    sub = add_command(commands, augment)
    sub.add_argument("audio", metavar="FILE", help="recording")
    sub.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder for the wav files")
    sub.add_argument("--augmentation", nargs="*", metavar="NAME", help="augmentations (default: each)")
    sub.add_argument("--count", type=int, default=1, metavar="N", help="number of versions of each (default: 1)")
    sub.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: 0)")
    sub.add_argument("--noise-dir", metavar="DIR", help="folder of noises (default: synthesized)")
    sub.add_argument("--room-dir", metavar="DIR", help="folder of room impulse responses (default: synthesized)")
