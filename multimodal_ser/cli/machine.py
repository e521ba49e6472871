"""The commands that tell what is here: info of a model, doctor of the machine."""

from __future__ import annotations

import argparse
from typing import Any

from multimodal_ser.cli.options import Commands, add_command, add_model, load_model
from multimodal_ser.cli.output import as_json, destination


def info(args: argparse.Namespace) -> int:
    """What a model is: size, labels, gates, licences; and which Whisper is found where."""
    from multimodal_ser.doctor import SHIPPED_LICENSE, model_info
    from multimodal_ser.transcription import whisper_candidates

    described = model_info(load_model(args, whisper=None), args.model or "the checkpoint that ships in the package")
    described["whisper"] = [f"{weights.name} ({weights.format}): {weights.path}" for weights in whisper_candidates()]
    if args.model is None:
        described["licences"] = SHIPPED_LICENSE
    with destination(args.output) as file:
        if args.format == "json":
            print(as_json(described, file, indent=2), file=file)
        else:
            width = max(map(len, described))
            for key, value in described.items():
                print(f"{key.replace('_', ' '):<{width}}  {_plain(value)}", file=file)
    return 0


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        between = "; " if any(isinstance(item, dict) for item in value.values()) else ", "
        return between.join(f"{key.replace('_', ' ')} {_plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(map(_plain, value)) or "none"
    return "unknown" if value is None else str(value)


def doctor(args: argparse.Namespace) -> int:
    """Versions and devices; what is broken, and the remedy."""
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
    """Add them to the command line."""
    add_model(add_command(commands, info, ("text", "json")))
    add_command(commands, doctor, ("text", "json"))
