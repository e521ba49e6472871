"""Labels and targets: names of one's own and synonyms, votes, several admissible classes, dimensions, rare classes."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from training_runs import arguments, log, predictions, prepared, rows_of, table, write

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import ManifestRow
from multimodal_ser.corpora.clips import examine
from multimodal_ser.corpora.targets import Targets
from multimodal_ser.errors import InputError
from multimodal_ser.testing import tiny_model
from multimodal_ser.training import train
from multimodal_ser.training.data import ClipData

pytestmark = pytest.mark.usefixtures("no_curves")

# labels


def test_a_slip_among_the_emotions_is_a_bad_row_unless_it_is_named(tmp_path):
    words = [("joy", "sad")[n % 2] for n in range(40)] + ["grumpyness"]
    (tmp_path / "m.csv").write_text("text,emotion\n" + "".join(f"text {n},{word}\n" for n, word in enumerate(words)))
    ready, _ = prepared(tmp_path / "m.csv", modalities="text")
    assert ready.labels == ("joy", "sad") and [error.what for error in ready.errors] == ["m.csv, line 42, emotion"]
    assert "--labels" in ready.errors[0].remedy
    wanted, _ = prepared(
        tmp_path / "m.csv", modalities="text", labels=["joy", "sad", "grumpyness"], validation_share=0.0
    )
    assert not wanted.errors and sum(clip.row.emotion == "grumpyness" for clip in wanted.train) == 1


def test_codes_become_names(tmp_path):
    (tmp_path / "m.csv").write_text(
        "text,emotion\n" + "".join(f"text {n},{('hap', 'SAD')[n % 2]}\n" for n in range(12))
    )
    assert prepared(tmp_path / "m.csv", modalities="text")[0].labels == ("SAD", "happiness")


def test_names_of_ones_own_and_synonyms(tmp_path):
    for name in ("calm", "urgent", "Happy", "joy"):
        for number in range(4):
            write(tmp_path / name / f"{number}.wav", seed=number)
    ready, told = prepared(tmp_path)
    assert ready.labels == ("calm", "happiness", "urgent")
    assert "classes: calm 4, happiness 8, urgent 4" in told and any(
        "happy, joy are one class, happiness" in line for line in told
    )
    apart, told = prepared(tmp_path, labels=["joy", "Happy", "calm", "urgent"])
    assert apart.labels == ("joy", "Happy", "calm", "urgent") and "classes: joy 4, Happy 4, calm 4, urgent 4" in told
    fewer, told = prepared(tmp_path, labels=["urgent", "calm"])
    assert len(fewer.train) + len(fewer.validation) == 8 and len(fewer.errors) == 8
    assert any("left out: " in line and "Happy/0.wav" in line for line in told) and any(
        "3 more" in line for line in told
    )
    with pytest.raises(InputError, match="training clips of every class, got none of bored"):
        prepared(tmp_path, labels=["urgent", "calm", "bored"])


def test_predictions_and_the_model_speak_the_folders_names(tmp_path, tiny, clips):
    result = train(arguments(clips, tmp_path / "run", model=tiny))
    assert MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).labels == ["angry", "happy", "sad"]
    assert {row["emotion"] for row in predictions(tmp_path / "run")} == {"angry", "happy", "sad"}


# targets


def targets(labels, *rows, dimensions=(), soft=False):
    clips, errors = examine([ManifestRow(text="a", place=str(at), **row) for at, row in enumerate(rows)])
    assert not errors
    return Targets.of(clips, labels, dimensions, soft=soft)


def test_votes_admissible_classes_and_dimensions_become_targets():
    labels = ["anger", "happiness", "sadness"]
    hard = targets(
        labels, {"emotion": "angry"}, {"emotion": "anger|sad"}, {"arousal": 2.0}, dimensions=["arousal", "valence"]
    )
    assert hard.classes.tolist() == [[True, False, False], [True, False, True], [False] * 3] and hard.single == (
        0,
        -1,
        -1,
    )
    assert hard.dimensions[2, 0] == 2 and hard.dimensions.isnan().sum() == 5
    soft = targets(labels, {"votes": {"angry": 3.0, "joy": 1.0}}, {"emotion": "anger|sad"}, {"emotion": "sad"})
    torch.testing.assert_close(soft.classes, torch.tensor([[0.75, 0.25, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]))
    assert soft.single == (-1, -1, 2)


def test_a_run_on_votes_admissible_classes_and_dimensions(tmp_path, tiny, manifest):
    rows = rows_of(manifest)
    for row in rows[::4]:
        row["votes"] = "happy:3|sad:1"
    rows[1]["emotion"], rows[2]["emotion"], rows[3]["arousal"] = "sad|angry", "", ""
    told = table(tmp_path / "some.csv", rows)
    result = train(
        arguments(
            told, tmp_path / "run", model=tiny, dimensions=["arousal", "valence"], validation_speakers=["s0", "s5"]
        )
    )
    assert {"ua", "ccc", "ccc_arousal", "ccc_valence", "loss"} <= set(result.validation)
    by_name = {Path(row["name"]).stem: row for row in predictions(tmp_path / "run")}
    assert (
        by_name["00"]["emotion"] == "happy:3|sad:1"
        and by_name["01"]["emotion"] == "angry|sad"
        and by_name["02"]["emotion"] == ""
    )
    assert (
        by_name["03"]["arousal"] == ""
        and float(by_name["00"]["arousal"]) == 2.4
        and float(by_name["03"]["predicted_arousal"]) is not None
    )
    assert MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config.dimensions == [
        "arousal",
        "valence",
    ]


def test_dimensions_alone_leave_the_emotion_head_as_it_is(tmp_path, manifest):
    base = tiny_model(temperature={"both": 1.5, "audio": 2.0, "text": 0.5})
    base.save_pretrained(tmp_path / "base")
    result = train(
        arguments(
            manifest,
            tmp_path / "run",
            model=tmp_path / "base",
            emotions=False,
            dimensions=["arousal"],
            modalities="audio",
        )
    )
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    assert model.labels == ["anger", "happiness", "sadness"] and model.classifier.weight.equal(base.classifier.weight)
    assert model.config.temperature == base.config.temperature
    assert "ua" not in result.validation and -1 <= result.validation["ccc"] <= 1
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["best_epoch"] == 1


def test_emotions_without_an_emotion_column_point_to_dimensions(tmp_path, manifest):
    rows = [
        {name: value for name, value in row.items() if name not in ("emotion", "votes")} for row in rows_of(manifest)
    ]
    with pytest.raises(InputError, match="emotions=False"):
        prepared(table(tmp_path / "a.csv", rows), dimensions=["arousal"])
    with pytest.raises(InputError, match="rows annotated with an emotion, got none"):
        prepared(tmp_path / "a.csv")


def test_what_selects_has_to_be_annotated(tmp_path, manifest):
    rows = rows_of(manifest)
    for row in rows[:4]:
        row["emotion"] = ""
    some = table(tmp_path / "a.csv", rows)
    with pytest.raises(InputError, match="validation rows annotated with an emotion, for ua"):
        prepared(some, dimensions=["arousal"], validation_speakers=["s0"])
    prepared(some, dimensions=["arousal"], validation_speakers=["s0"], metric_for_best_model="ccc")


# rare classes


def test_class_weights_reach_the_loss(tmp_path, tiny, clips):
    shutil.copytree(clips, tmp_path / "clips")
    for number in range(3, 6):
        (tmp_path / "clips" / "sad" / f"{number}.wav").unlink()
    result = train(
        arguments(tmp_path / "clips", tmp_path / "run", model=tiny, class_weights="balanced", validation_share=0)
    )
    weights = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config.class_weights
    assert weights == pytest.approx([15 / 18, 15 / 18, 15 / 9], abs=1e-4)
    plain = train(arguments(tmp_path / "clips", tmp_path / "plain", model=tiny, validation_share=0))
    assert log(tmp_path / "run")[-1]["train_loss"] != log(tmp_path / "plain")[-1]["train_loss"]
    assert MultimodalEmotionClassifier.from_pretrained(plain.model, whisper=None).config.class_weights is None


def test_balanced_sampling_draws_every_class_as_often(tmp_path, tiny, clips, monkeypatch):
    shutil.copytree(clips, tmp_path / "clips")
    for number in range(2, 6):
        (tmp_path / "clips" / "sad" / f"{number}.wav").unlink()
    seen = Counter()
    whole = ClipData.batch

    def batch(self, rows, epoch=0):
        if self.training:
            seen.update(self.targets.single[row] for row in rows)
        return whole(self, rows, epoch)

    monkeypatch.setattr(ClipData, "batch", batch)
    train(arguments(tmp_path / "clips", tmp_path / "run", model=tiny, balanced_sampling=True, validation_share=0))
    assert max(seen.values()) - min(seen.values()) <= 1 and sum(seen.values()) == 14
