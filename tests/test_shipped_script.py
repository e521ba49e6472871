"""The script that makes the shipped checkpoint, on a handful of real clips and texts: it runs, resumes, and never meets the unseen speakers."""

import csv
import hashlib
import os
import string
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from multimodal_ser import EMOTIONS, MultimodalEmotionClassifier

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "shipped_checkpoint"
SPEAKERS = {
    "ravdess": ("ravdess_01", "ravdess_02", "ravdess_04", "ravdess_05"),
    "emodb": ("emodb_03", "emodb_16", "emodb_08", "emodb_09"),
    "nemo": ("nemo_EB0", "nemo_WR0", "nemo_IC0", "nemo_KD0"),
}

HEARD = ("anger", "neutral", "sadness")


@pytest.fixture(scope="module")
def handful(data, tmp_path_factory):
    """A clip of each of three emotions of four speakers a corpus, one of whom is to stay unseen, and a few hundred texts."""
    folder = tmp_path_factory.mktemp("data")
    for corpus, speakers in SPEAKERS.items():
        (folder / corpus).mkdir()
        (folder / corpus / "audio").symlink_to(data / corpus / "audio")
        seen = set()
        with (
            open(data / corpus / "manifest.csv", newline="", encoding="utf-8") as source,
            open(folder / corpus / "manifest.csv", "w", newline="") as target,
        ):
            rows = csv.DictReader(source)
            writer = csv.DictWriter(target, rows.fieldnames)
            writer.writeheader()
            for row in rows:
                if (
                    row["speaker"] in speakers
                    and row["emotion"] in HEARD
                    and (row["speaker"], row["emotion"]) not in seen
                ):
                    seen.add((row["speaker"], row["emotion"]))
                    writer.writerow(row)
    (folder / "noise").symlink_to(data / "noise")
    (folder / "text").mkdir()
    for name in ("goemotions_ekman.csv", "dailydialog.csv"):
        with open(data / "text" / name, encoding="utf-8") as source:
            (folder / "text" / name).write_text(
                "".join(line for line, _ in zip(source, range(400), strict=False))
                if name[0] == "g"
                else source.readline()
            )
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A small random BERT."""
    folder = tmp_path_factory.mktemp("encoder")
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
        "happy",
        "sad",
        "the",
        "you",
    ]
    BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=True).save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=len(pieces), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
        )
    ).save_pretrained(folder)
    return folder


def test_it_runs_and_resumes(handful, encoder, whisper_weights, tmp_path):
    command = [
        sys.executable, FOLDER / "make.py", "--data", handful, "--whisper", whisper_weights / "transformers" / "base", "--text-encoder", encoder,
        "--output-dir", tmp_path, "--distillation-steps", "2", "--fusion-steps", "2", "--full-precision",  # bfloat16 crawls on processors that emulate it
    ]  # fmt: skip
    done = subprocess.run(
        [*map(str, command)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    classifier = MultimodalEmotionClassifier.from_pretrained(tmp_path / "checkpoint", whisper=None)
    assert classifier.labels == list(EMOTIONS) and classifier.config.weights_license == "cc-by-nc-sa-4.0"
    assert all(0.3 <= value <= 4.0 for value in classifier.config.temperature.values())
    assert (
        torch.all(classifier.model.audio_branch.hidden_std > 0)
        and classifier.model.audio_branch.hidden_mean.abs().max() > 0
    )
    digest = hashlib.sha256((tmp_path / "checkpoint" / "model.safetensors").read_bytes()).hexdigest()
    again = subprocess.run(
        [*map(str, command), "--stages", "audio", "fusion"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr[-2000:]
    assert "resumed at step 2 of 2" in again.stderr
    assert hashlib.sha256((tmp_path / "checkpoint" / "model.safetensors").read_bytes()).hexdigest() == digest


def test_unseen_speakers_are_never_read(handful, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from data import UNSEEN_SPEAKERS, read_clips

    seen = {clip.speaker for clip in read_clips(handful)}
    assert len(seen) == 9 and not seen & UNSEEN_SPEAKERS
    assert {clip.speaker for clip in read_clips(handful, unseen=True)} == UNSEEN_SPEAKERS & {
        name for names in SPEAKERS.values() for name in names
    }
