"""What the tests of training share: made-up clips, tables of them, runs that take a second, and what these leave behind."""

import csv
import json
import zlib

import soundfile

from multimodal_ser.testing import synthetic_speech
from multimodal_ser.training import TrainingArguments
from multimodal_ser.training.preparation import prepare_data

PITCH = {"happy": 240, "sad": 110, "angry": 170}
WORDS = {"happy": "i am so happy", "sad": "we are very sad", "angry": "he is angry"}


def write(path, seconds=0.4, seed=0, pitch=140.0):
    """A clip that sounds like no other: its name is part of the seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed += zlib.crc32("/".join(path.parts[-3:]).encode())
    soundfile.write(path, synthetic_speech(seconds, seed=seed, pitch=pitch), 16_000)
    return path


def table(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of(manifest):
    """Rows to change; paths from the root, so that they may be written elsewhere."""
    with open(manifest, encoding="utf-8", newline="") as file:
        return [row | {"path": str(manifest.parent / row["path"])} for row in csv.DictReader(file)]


def arguments(data, output_dir="run", **fields):
    quick = {"num_train_epochs": 1, "disable_tqdm": True, "report_to": [], "use_cpu": True}
    return TrainingArguments(**{"data": data, "output_dir": output_dir} | quick | fields)


def prepared(data, **fields):
    """What a run would learn from, and what it would say."""
    told, languages = [], fields.pop("languages", None)
    return prepare_data(arguments(data, **fields), told.append, languages=languages), told


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def predictions(run, name="validation"):
    with open(run / f"{name}_predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(clips):
    return {clip.row.name for clip in clips}


def texts_in(folder):
    """All that stands in the text files of a run, without the model."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix in (".json", ".jsonl", ".yaml", ".yml", ".csv", ".txt", ".md")
        and path.name != "tokenizer.json"
    ]
    assert len(found) > 5
    return "\n".join(path.read_text(encoding="utf-8") for path in found)
