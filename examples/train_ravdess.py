"""RAVDESS, audio alone, on speakers that the model never heard: a fold of EmoBox (https://arxiv.org/abs/2406.07162), several seeds.

python examples/train_ravdess.py RAVDESS --fold 1 --audio-model openai/whisper-base

RAVDESS is the folder that the recordings were unpacked into (Actor_01/03-01-05-01-01-01-01.wav, ... of
https://zenodo.org/records/1188976), or one with a manifest.csv. The encoder, Whisper's four lowest layers, stays as it is; fusion and
head learn. `--audio-model` may be a folder, too, or a wav2vec2, HuBERT or WavLM.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from multimodal_ser.corpora import read_manifest
from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS
from multimodal_ser.training import TrainingArguments, train

EMOTIONS = dict(
    zip(("01", "02", "03", "04", "05", "06", "07", "08"),
        ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"), strict=True)
)  # fmt: skip
NEW = {"fusion_layers": 0, "fusion_dropout": 0.2}  # what is put on a new encoder: one modality has nothing to attend to


def manifest_of(folder: Path, output_dir: Path) -> Path:
    """The folder's own manifest, or one that is read off the names of its files (modality-channel-emotion-...-actor)."""
    if (folder / "manifest.csv").exists():
        return folder / "manifest.csv"
    output_dir.mkdir(parents=True, exist_ok=True)
    with open(output_dir / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion", "speaker"])
        for path in sorted(folder.rglob("03-01-*.*")):  # audio alone, speech
            parts = path.stem.split("-")
            writer.writerow([path.absolute(), EMOTIONS[parts[2]], f"ravdess_{parts[6]}"])
    return output_dir / "manifest.csv"


def main(
    data: Path, output_dir: Path, fold: int, audio_model: str | None, model: str | None, seeds: list[int], epochs: int
) -> None:
    manifest = manifest_of(data, output_dir)
    test = [f"ravdess_{actor}" for actor in EMOBOX_RAVDESS_FOLDS[fold]]
    others = [speaker for speaker in read_manifest(manifest).speakers if speaker not in test]
    validation = [
        next(s for s in [*others[fold:], *others] if int(s[-2:]) % 2 == odd) for odd in (0, 1)
    ]  # a woman and a man
    result = train(
        TrainingArguments(
            data=[str(manifest)], output_dir=str(output_dir / f"fold-{fold}"), modalities="audio", test_speakers=test,
            validation_speakers=validation, seeds=seeds, model=model, audio_model=audio_model, audio_layers=4 if audio_model else None,
            model_config=NEW if audio_model else {}, num_train_epochs=epochs, per_device_train_batch_size=32, learning_rate=2e-3,
            warmup_steps=0.3, augmentation={"speed": {}}, augmentation_variants=4,
        )
    )  # fmt: skip
    for seed, run in zip(seeds, result.runs, strict=True):
        print(
            f"fold {fold}, seed {seed}: UA {100 * run.test['ua']:.1f} on actors {', '.join(EMOBOX_RAVDESS_FOLDS[fold])}"
        )
    print(f"mean {100 * result.test['ua']:.1f}; the model that was best in validation: {result.model}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="RAVDESS")
    parser.add_argument("--output-dir", type=Path, default=Path("ravdess"))
    parser.add_argument("--fold", type=int, default=1, choices=EMOBOX_RAVDESS_FOLDS)
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--audio-model", help="speech encoder to start from, folder or Hub id, such as openai/whisper-base"
    )
    start.add_argument("--model", help="checkpoint to start from")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=14)
    given = parser.parse_args()
    if not given.audio_model and not given.model and given.fold != 5:
        parser.error(
            "the shipped checkpoint has heard the actors of other folds than 5: use --fold 5, or name an --audio-model"
        )
    main(**vars(given))
