"""From a folder per emotion to a model, and what it says of a recording.

python examples/train_folder.py clips/ call.wav        (clips/happy/*.wav, clips/sad/*.wav, ...; clips/ANN/happy/*.wav names speakers)
"""

from __future__ import annotations

import argparse

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.training import TrainingArguments, train


def main(clips: str, file: str, output_dir: str, model: str | None, epochs: int) -> None:
    result = train(TrainingArguments(data=[clips], output_dir=output_dir, model=model, num_train_epochs=epochs))
    classifier = MultimodalEmotionClassifier.from_pretrained(result.model)
    prediction = classifier.predict(file)
    print(f"{file}: {prediction.label} {prediction.confidence:.0%}, of {', '.join(classifier.labels)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", help="folder with a folder per emotion")
    parser.add_argument("file", help="recording to predict with the new model")
    parser.add_argument("--output-dir", default="run", help="run folder; the model is its folder best")
    parser.add_argument("--model", help="checkpoint to start from (default: the one that ships in the package)")
    parser.add_argument("--epochs", type=int, default=15)
    main(**vars(parser.parse_args()))
