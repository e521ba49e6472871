"""The commands that teach: train, whose options are the fields of `TrainingArguments`, and augment."""

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

    given = {name: value for name, value in vars(args).items() if name in TrainingArguments.kinds()}
    train(TrainingArguments.from_dict((read_yaml(args.config) if args.config else {}) | given))
    return 0


def augment(args: argparse.Namespace) -> int:
    """Write a recording as each augmentation of training makes it sound, to listen to."""
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
    "data": "what is learned from",
    "model": "which model",
    "freeze": "what is trained",
    "num_train_epochs": "how",
}
"""Where `train --help` begins a new paragraph, by the option that opens it."""


def add_training_options(sub: argparse.ArgumentParser) -> None:
    """An option a field of `TrainingArguments`; what is not given is not set, so that --config counts."""
    from multimodal_ser.training.arguments import TrainingArguments

    add_fields(sub, TrainingArguments, GROUPS, short={"output_dir": "-o"})


def add_fields(sub: argparse.ArgumentParser, record: type, groups: dict[str, str], short: dict[str, str]) -> None:
    """An option a field of a dataclass, described by its metadata's `help`; `data` is what stands without a name.

    Args:
        sub: the command's parser.
        record: the dataclass.
        groups: where `--help` begins a new paragraph, by the field that opens it.
        short: one-letter names.
    """
    import dataclasses
    from typing import get_args, get_type_hints

    kinds = record.kinds() if hasattr(record, "kinds") else get_type_hints(record)
    group: Any = sub
    for field in dataclasses.fields(record):
        group = sub.add_argument_group(groups[field.name]) if field.name in groups else group
        default: Any = field.default_factory() if callable(field.default_factory) else field.default
        shown = " ".join(map(str, default)) if isinstance(default, list | dict) else default
        described = field.metadata["help"].replace("%", "%%")
        described += (
            ""
            if default in (None, [], {}, "") or "default" in described
            else f" (default: {str(shown).lower() if default in (True, False) else shown})"
        )
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": described}
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
    """As it stands: `TrainingArguments` makes numbers of it where it wants them; `null`, as in YAML, is the default of many."""
    return None if text == "null" else text


class Mapping(argparse.Action):
    """`speed noise` -> {"speed": {}, "noise": {}}; `fusion_layers=1 dimensions=[a, b]` -> values as YAML reads them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Called by argparse."""
        import yaml

        pairs = (value.partition("=") for value in values)
        try:
            setattr(
                namespace, self.dest, {name: yaml.safe_load(value) if given else {} for name, given, value in pairs}
            )
        except yaml.YAMLError as error:
            parser.error(f"{option_string}: expected NAME or NAME=VALUE, got {' '.join(values)} ({first_line(error)})")


def add(commands: Commands) -> None:
    """Add them to the command line."""
    sub = add_command(commands, train, usage="multimodal-ser train DATA [DATA ...] [-o RUN] [--config FILE] [options]")
    sub.add_argument(
        "--config", metavar="FILE", help="YAML file of the options below; those of the command line take precedence"
    )
    add_training_options(sub)

    sub = add_command(commands, augment)
    sub.add_argument("audio", metavar="FILE", help="recording")
    sub.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder for the wav files")
    sub.add_argument("--augmentation", nargs="*", metavar="NAME", help="which (default: each)")
    sub.add_argument("--count", type=int, default=1, metavar="N", help="how many of each (default: 1)")
    sub.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    sub.add_argument("--noise-dir", metavar="DIR", help="noises (default: synthesised)")
    sub.add_argument("--room-dir", metavar="DIR", help="room impulse responses (default: synthesised)")
