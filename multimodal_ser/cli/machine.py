"""The commands `info`, about a model, and `doctor`, about the installation."""

from __future__ import annotations

import argparse
from typing import Any

from multimodal_ser.cli.options import Commands, add_command, add_model, load_model
from multimodal_ser.cli.output import as_json, destination


def info(args: argparse.Namespace) -> int:
    """Show a model's size, labels, gates and licences, and the installed Whisper models."""
    from multimodal_ser.doctor import SHIPPED_LICENSE, model_info
    from multimodal_ser.transcription import whisper_candidates

    description = model_info(load_model(args, whisper=None), args.model or "the checkpoint that ships in the package")
    description["whisper"] = [f"{weights.name} ({weights.format}): {weights.path}" for weights in whisper_candidates()]
    if args.model is None:
        description["licences"] = SHIPPED_LICENSE
    with destination(args.output) as file:
        if args.format == "json":
            print(as_json(description, file, indent=2), file=file)
        else:
            width = max(map(len, description))
            for key, value in description.items():
                print(f"{key.replace('_', ' '):<{width}}  {_plain(value)}", file=file)
    return 0


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        separator = "; " if any(isinstance(item, dict) for item in value.values()) else ", "
        return separator.join(f"{key.replace('_', ' ')} {_plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(map(_plain, value)) or "none"
    return "unknown" if value is None else str(value)


def doctor(args: argparse.Namespace) -> int:
    """Check versions and devices, and show a remedy for each error."""
    from multimodal_ser.doctor import diagnose

    checks = diagnose()
    with destination(args.output) as file:
        if args.format == "json":
            print(
                as_json(
                    [{"name": c.name, "ok": c.ok, "found": c.found, "remedy": c.remedy} for c in checks], file, indent=2
                ),
                file=file,
            )
        else:
            for check in checks:
                print(f"{'ok ' if check.ok else 'BAD'}  {check.name:<18}  {check.found}", file=file)
                if check.remedy:
                    print(f"     {'':<18}  remedy: {check.remedy}", file=file)
    return 0 if all(check.ok for check in checks) else 1


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    add_model(add_command(commands, info, ("text", "json")))
    add_command(commands, doctor, ("text", "json"))
