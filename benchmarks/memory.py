"""Peak memory of `predict`, `embed` and the pipeline on recordings of several lengths, the voice alone: it has to stay flat.

    python benchmarks/memory.py [--minutes 2 10 40] [--output FILE]

Each measurement is a process of its own (the peak of a process never falls), with the shipped checkpoint and a synthetic recording
that is read from disk. What is compared is the peak of the whole process, interpreter and libraries included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf

from multimodal_ser.testing import synthetic_speech

WAYS = {
    "predict": "answer = classifier.predict(path, modalities='audio').duration",
    "embed": "answer = len(next(classifier.embed([path], modalities='audio')))",
    "pipeline": "answer = len(pipeline('speech-emotion-recognition', model=classifier)(path))",
    "endless": "answer = sum(1 for _ in classifier.predict_iter((path for _ in range(count)), modalities='audio'))",
}
"""How a recording is answered; "endless": a generator of so many short recordings instead of a long one."""

CODE = """
import resource, sys
from multimodal_ser import MultimodalEmotionClassifier
from transformers import pipeline
path, count = sys.argv[1], int(sys.argv[2])
classifier = MultimodalEmotionClassifier.from_pretrained(whisper=None)
{way}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_recording(path: Path, minutes: float) -> None:
    """A recording of speech with pauses, 16 kHz."""
    phrase = np.concatenate(
        [synthetic_speech(4.3, seed=1), np.zeros(11_000, np.float32), synthetic_speech(2.1, seed=2)]
    )
    left = round(60 * minutes * 16_000)
    with sf.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
        while left > 0:
            file.write(phrase[:left])
            left -= len(phrase)


def peak_of(way: str, path: Path, count: int) -> float:
    """Peak of a process that answers the recording, MB."""
    command = [sys.executable, "-c", CODE.format(way=WAYS[way]), str(path), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 40])
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in args.minutes:
            recording, clip = Path(folder, "long.wav"), Path(folder, "clip.wav")
            write_recording(recording, minutes)
            write_recording(clip, 0.1)
            for way in WAYS:
                path, count = (clip, round(10 * minutes)) if way == "endless" else (recording, 1)
                rows.append({"way": way, "minutes": minutes, "peak_mb": round(peak_of(way, path, count), 1)})
                print(f"{way:10} {minutes:5g} min {rows[-1]['peak_mb']:8.1f} MB", flush=True)
    first = {row["way"]: row["peak_mb"] for row in rows if row["minutes"] == args.minutes[0]}
    for row in rows:
        row["ratio"] = round(row["peak_mb"] / first[row["way"]], 3)
    if args.output:
        conditions = {"threads": os.environ.get("OMP_NUM_THREADS"), "cores": os.cpu_count()}
        args.output.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    print("largest ratio to the shortest:", max(row["ratio"] for row in rows))


if __name__ == "__main__":
    main()
