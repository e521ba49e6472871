"""The command `export`, which writes a model for use without PyTorch."""

from __future__ import annotations

import argparse

from multimodal_ser._progress import say
from multimodal_ser.cli.options import Commands, add_command, add_model, load_model
from multimodal_ser.errors import InputError


def export(args: argparse.Namespace) -> int:
    """Write a model as ONNX graphs, for onnxruntime without PyTorch, or as torch.export programs; see docs/onnx.md."""
    if args.int8 and args.form == "torch":
        raise InputError("--int8", expected="export onnx", got="export torch", remedy="leave it out, or export onnx")
    from multimodal_ser.export.onnx_export import export_onnx, export_torch

    model = load_model(args, whisper=None, dtype="float32")
    if args.form == "onnx":
        export_onnx(model, args.output_dir, modalities=args.modalities, int8=args.int8)
    else:
        export_torch(model, args.output_dir, modalities=args.modalities)
    for path in sorted(args.output_dir.glob("model*.onnx" if args.form == "onnx" else "model*.pt2")):
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def add(commands: Commands) -> None:
    """Add this command to the command line."""
    from pathlib import Path

    sub = add_command(
        commands, export, usage="multimodal-ser export onnx|torch --output-dir DIR [--model ID|PATH] [options]"
    )
    sub.add_argument(
        "form", choices=("onnx", "torch"), metavar="onnx|torch", help="ONNX graphs, or torch.export programs"
    )
    sub.add_argument(
        "-o", "--output-dir", required=True, type=Path, metavar="DIR", help="folder for the exported model"
    )
    add_model(sub)
    sub.add_argument(
        "--modalities",
        nargs="+",
        choices=("both", "audio", "text"),
        help="graphs to write (default: all that the model was trained on)",
    )
    sub.add_argument(
        "--int8", action="store_true", help="store weights of ONNX graphs as 8-bit integers, in a third of the size"
    )
