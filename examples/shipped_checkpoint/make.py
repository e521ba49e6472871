"""Make the checkpoint that ships in the package, from real speech and texts and a real Whisper-base.

    python examples/shipped_checkpoint/make.py --data DATA --whisper WHISPER --text-encoder MINILM --output-dir runs/shipped

DATA holds ravdess/, emodb/, nemo/ and text/ with their manifests; WHISPER is Whisper base and MINILM all-MiniLM-L6-v2, as transformers
load them (folder or Hub id). Each stage resumes where it was stopped: run the same command again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from audio_branch import train_audio
from data import read_clips
from fusion import train_fusion
from text_branch import train_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--whisper", required=True)
    parser.add_argument("--text-encoder", required=True)
    parser.add_argument("--output-dir", type=Path, default=Path("runs/shipped"))
    parser.add_argument("--distillation-steps", type=int, default=2000)
    parser.add_argument("--fusion-steps", type=int, default=500)
    parser.add_argument("--stages", nargs="+", default=["audio", "text", "fusion"], choices=["audio", "text", "fusion"])
    parser.add_argument(
        "--full-precision", action="store_true", help="no bfloat16: faster on processors that only emulate it (AVX2)"
    )
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    bf16 = not args.full_precision
    if "audio" in args.stages:
        train_audio(read_clips(args.data), args.whisper, args.output_dir / "audio", args.distillation_steps, bf16)
    if "text" in args.stages:
        train_text(args.data, args.text_encoder, args.output_dir / "text", bf16)
    if "fusion" in args.stages:
        clips = [
            clip for i, clip in enumerate(read_clips(args.data)) if clip.corpus != "nemo" or i % 2 == 0
        ]  # nEMO is four times as large as RAVDESS
        train_fusion(args.data, clips, args.output_dir, args.output_dir / "checkpoint", args.fusion_steps, bf16)


if __name__ == "__main__":
    main()
