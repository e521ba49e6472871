"""Text and audio of dialogues: each turn is read after the turns before it; rows of words alone learn beside spoken ones.

python examples/train_dialogues.py calls.csv dailydialog.csv --context-turns 2

calls.csv       path,text,emotion,speaker,dialogue,turn         what was said, heard and read
dailydialog.csv text,emotion,dialogue_id,utterance_id           words alone; columns as MELD and DailyDialog have them
"""

from __future__ import annotations

import argparse

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import read_manifest
from multimodal_ser.training import TrainingArguments, train


def main(
    tables: list[str],
    output_dir: str,
    context_turns: int,
    validation_speakers: list[str],
    model: str | None,
    epochs: int,
) -> None:
    result = train(
        TrainingArguments(
            data=tables, output_dir=output_dir, context_turns=context_turns, model=model, num_train_epochs=epochs,
            validation_speakers=validation_speakers,  # without: about 15 % of the speakers, or of the dialogues where there is no audio
        )
    )  # fmt: skip
    classifier = MultimodalEmotionClassifier.from_pretrained(result.model)
    turns = [row for row in read_manifest(tables[0]).rows if row.text]
    dialogue = [row for row in turns if row.dialogue == turns[0].dialogue][: context_turns + 1]
    said = {"audio": dialogue[-1].path, "text": dialogue[-1].text, "context": [row.text for row in dialogue[:-1]]}
    prediction = classifier.predict(said)
    print(
        f"{prediction.label} {prediction.confidence:.0%}, from {' and '.join(prediction.modalities)}, after {len(dialogue) - 1} turns"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", help="manifests, with recordings or without")
    parser.add_argument("--output-dir", default="dialogues")
    parser.add_argument("--context-turns", type=int, default=2, help="how many turns before each are read (default: 2)")
    parser.add_argument("--validation-speakers", nargs="*", default=[])
    parser.add_argument("--model", help="checkpoint to start from (default: the one that ships in the package)")
    parser.add_argument("--epochs", type=int, default=15)
    main(**vars(parser.parse_args()))
