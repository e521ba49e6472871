"""Predict a handful of recordings: those of this folder, and real ones where MULTIMODAL_SER_DATA has them.

python examples/demo.py [FILE ...]
"""

import os
import sys
import time
from pathlib import Path

from multimodal_ser import MultimodalEmotionClassifier

REAL = (  # speakers that the shipped checkpoint never met
    "jfk.flac",
    "ravdess/audio/03-01-05-02-01-01-02.flac",
    "emodb/audio/16a01Fc.flac",
)


def recordings() -> list[str]:
    if len(sys.argv) > 1:
        return sys.argv[1:]
    clips = sorted(str(path) for path in (Path(__file__).parent / "audio").glob("*.flac"))
    data = os.environ.get("MULTIMODAL_SER_DATA")
    return clips + [path for name in REAL if data and os.path.exists(path := os.path.join(data, name))]


def main() -> None:
    began = time.monotonic()
    classifier = MultimodalEmotionClassifier.from_pretrained()
    for prediction in classifier.predict(recordings()):
        best = sorted(prediction.probabilities.items(), key=lambda entry: -entry[1])[:3]
        words = prediction.transcript.text if prediction.transcript and prediction.transcript.text else "(no words)"
        print(f"{Path(prediction.source).name}: {words}")
        print(
            f"    {', '.join(f'{label} {probability:.0%}' for label, probability in best)}   from {' and '.join(prediction.modalities)}"
        )
        for note in prediction.notes:
            print(f"    {note}")
    print(f"{time.monotonic() - began:.1f} s, after the imports")


if __name__ == "__main__":
    main()
