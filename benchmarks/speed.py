"""How long one clip of 3.7 s takes, and what of it goes where; ratios within one run, since machines differ.

    python benchmarks/speed.py --output-dir benchmarks/results

The yardstick is what one would write without this library: a wav2vec2-base and a BERT-base (random weights of their true
shapes: as slow as trained ones), one clip at a time, single precision.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, Wav2Vec2Config, Wav2Vec2Model

from multimodal_ser import MultimodalEmotionClassifier, load_audio

CLIP = Path(__file__).resolve().parents[1] / "examples" / "audio"
TEXT = "I told you that I would come back, and here I am."
SECONDS = 3.7


def seconds(function, repeats: int) -> float:
    """Median of `repeats` calls, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output-dir", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    speech = torch.cat([torch.from_numpy(load_audio(path)) for path in sorted(CLIP.glob("*.flac"))])
    clip = speech[: round(16_000 * SECONDS)].numpy()
    rate = {"sampling_rate": 16_000}
    classifier = MultimodalEmotionClassifier.from_pretrained()
    audio, text = Wav2Vec2Model(Wav2Vec2Config()).eval(), BertModel(BertConfig()).eval()
    samples, tokens = torch.from_numpy(clip)[None], torch.randint(1000, 2000, (1, 16))

    def plain() -> None:
        with torch.inference_mode():
            audio(samples), text(tokens)

    def audio_alone() -> None:
        classifier.predict(clip, modalities="audio", **rate)

    def text_given() -> None:
        classifier.predict(clip, text=TEXT, **rate)

    def eight() -> None:
        classifier.predict([clip] * 8, modalities="audio", **rate)

    measured = {
        "plain wav2vec2-base + BERT-base": seconds(plain, args.repeats),
        "predict, audio alone": seconds(audio_alone, args.repeats),
        "predict, text given": seconds(text_given, args.repeats),
        "predict, audio alone, 8 clips in a batch, each": seconds(eight, args.repeats) / 8,
        "predict, default (Whisper listens)": seconds(lambda: classifier.predict(clip, **rate), args.repeats),
    }
    yardstick = measured["plain wav2vec2-base + BERT-base"]
    transcriber = classifier.transcriber
    result = {
        "command": "python benchmarks/speed.py",
        "clip_seconds": SECONDS,
        "threads": torch.get_num_threads(),
        "processor_capability": torch.backends.cpu.get_cpu_capability(),
        "whisper": f"{transcriber.name}, {transcriber.backend_name}" if transcriber else None,
        "versions": {name: version(name) for name in ("torch", "transformers", "faster-whisper")}
        | {"python": platform.python_version()},
        "milliseconds": {name: round(1000 * value, 1) for name, value in measured.items()},
        "times_real_time": {name: round(SECONDS / value, 1) for name, value in measured.items()},
        "times_as_fast_as_plain": {name: round(yardstick / value, 2) for name, value in measured.items()},
    }
    print(json.dumps(result, indent=2))
    args.output_dir.mkdir(parents=True, exist_ok=True)
    (args.output_dir / "speed.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
