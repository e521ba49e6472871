"""What a model heard before: told by its folder, carried through calibration, warned of, and left out where that is asked for."""

import json
import math
import shutil

import numpy as np
import pytest
import soundfile

from multimodal_ser import MultimodalEmotionClassifier, cli
from multimodal_ser.calibration.run import calibrate, calibrate_manifest
from multimodal_ser.corpora import ManifestRow, read_manifest
from multimodal_ser.corpora.provenance import UNKNOWN, origin, provenance
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import EvaluationArguments, evaluate
from multimodal_ser.testing import synthetic_speech, tiny_model

LABELS = ("anger", "happiness", "sadness")
ROWS = 36


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """36 clips of six speakers, a dialogue each, in which every turn has words."""
    folder = tmp_path_factory.mktemp("clips")
    lines = ["path,emotion,speaker,text,dialogue,turn"]
    for at in range(ROWS):
        soundfile.write(
            folder / f"{at}.wav", synthetic_speech(0.4 + 0.01 * at, seed=at, pitch=100 + 40 * (at % 3)), 16_000
        )
        lines.append(f"{at}.wav,{LABELS[at % 3]},s{at // 6},so {LABELS[at % 3]} you {at},d{at // 6},{at % 6}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


@pytest.fixture
def run(tmp_path):
    """A run folder, trained on s0 and s1 and selected on s2; two turns of a dialogue are read."""
    folder = tmp_path / "run"
    tiny_model(labels=LABELS).save_pretrained(folder / "best")
    sides = {
        "train": {"clips": 12, "speakers": ["s0", "s1"]},
        "validation": {"clips": 6, "speakers": ["s2"]},
    }
    (folder / "data.json").write_text(json.dumps(sides))
    (folder / "arguments.yaml").write_text("context_turns: 2\n")
    return folder


def asked(manifest, folder, **fields):
    told = []
    args = EvaluationArguments(data=[str(manifest)], output_dir=str(folder), resamples=5, device="cpu", **fields)
    return evaluate(args, told.append), told


def test_what_is_known_is_said_while_it_is_measured_and_in_the_report(manifest, run, tmp_path):
    report, told = asked(manifest, tmp_path / "r", model=str(run / "best"), modalities="audio")
    trained = "12 rows are of 2 speakers whom the model was trained on: their figures are too good (--unseen-only leaves them out)"
    assert trained in report["notes"] and f"note: {trained}" in told
    assert any(note.startswith("6 rows are of 1 speaker whom the model was selected on") for note in report["notes"])
    assert report["model"]["rows_of_seen_speakers"] == 18 and report["systems"][0]["clips"] == ROWS


def test_only_speakers_that_were_not_heard_are_measured_where_that_is_asked_for(manifest, run, tmp_path, capsys):
    report, told = asked(manifest, tmp_path / "r", model=str(run / "best"), modalities="audio", unseen_only=True)
    assert report["systems"][0]["clips"] == 18 and set(report["systems"][0]["groups"]["speaker"]) == {"s3", "s4", "s5"}
    said = "left out (unseen_only): 18 rows of speakers whom the model was trained, selected or calibrated on"
    assert said in report["notes"] and said in told and report["model"]["rows_of_seen_speakers"] == 0
    assert not any("too good" in note for note in report["notes"])
    command = [
        "evaluate",
        str(manifest),
        "--model",
        str(run / "best"),
        "--output-dir",
        str(tmp_path / "c"),
        "--resamples",
        "5",
    ]
    assert cli.main([*command, "--unseen-only", "--modalities", "audio", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["clips"] == 18


def test_baselines_beside_it_learn_from_whom_the_model_has_heard(manifest, run, tmp_path):
    report, _ = asked(
        manifest,
        tmp_path / "r",
        model=str(run / "best"),
        modalities="audio",
        unseen_only=True,
        baselines=["mfcc-logreg"],
    )
    model, baseline = report["systems"]
    assert (model["system"], baseline["system"]) == ("model", "mfcc-logreg") and model["clips"] == baseline[
        "clips"
    ] == 18
    assert report["leaks"] == [] and set(baseline["groups"]["speaker"]) == {"s3", "s4", "s5"}


def test_rows_that_name_nobody_are_left_out_too(manifest, run, tmp_path):
    rows = (
        manifest.read_text()
        .replace(",s5,", ",,")
        .replace("\n", "\n" + str(manifest.parent) + "/")
        .rstrip("/")
        .rsplit("\n", 1)[0]
    )
    path = tmp_path / "some.csv"
    path.write_text(rows)
    report, _ = asked(path, tmp_path / "r", model=str(run / "best"), modalities="audio", unseen_only=True)
    assert report["systems"][0]["clips"] == 12 and any(
        "and 6 rows that name no speaker" in note for note in report["notes"]
    )


def test_only_the_part_that_is_measured_is_looked_at(manifest, run, tmp_path):
    lines = manifest.read_text().splitlines()
    marked = [f"{lines[0]},split"] + [
        f"{manifest.parent}/{line},{'test' if at >= 30 or at < 6 else 'train'}" for at, line in enumerate(lines[1:])
    ]  # fmt: skip
    (tmp_path / "split.csv").write_text("\n".join(marked))
    report, _ = asked(tmp_path / "split.csv", tmp_path / "r", model=str(run / "best"), modalities="audio")
    assert any(note.startswith("6 rows are of 1 speaker whom the model was trained on") for note in report["notes"])
    report, _ = asked(
        tmp_path / "split.csv", tmp_path / "u", model=str(run / "best"), modalities="audio", unseen_only=True
    )
    assert report["systems"][0]["clips"] == 6


def test_what_cannot_be_known_is_refused(manifest, run, tmp_path):
    fields = {"modalities": "audio", "unseen_only": True}
    shutil.copytree(run / "best", tmp_path / "alone")
    with pytest.raises(
        InputError,
        match=r"unseen_only: expected a model of which it is known .* got nothing that tells .*test_speakers",
    ):
        asked(manifest, tmp_path / "r", model=str(tmp_path / "alone"), **fields)
    everybody = {
        "train": {"clips": 36, "speakers": [f"s{k}" for k in range(6)]},
        "validation": {"clips": 0, "speakers": []},
    }
    (run / "data.json").write_text(json.dumps(everybody))
    with pytest.raises(InputError, match="got none of 36: 36 of speakers that it knows, 0 that name no speaker"):
        asked(manifest, tmp_path / "r", model=str(run / "best"), **fields)
    assert not (tmp_path / "r").exists()
    for wrong in ({"protocol": "folds"}, {"only_baselines": True, "baselines": ["majority"]}):
        with pytest.raises(InputError, match="unseen_only: expected a model that is measured as it is"):
            EvaluationArguments(data=["a.csv"], unseen_only=True, **wrong)


def test_calibration_carries_on_what_was_known(manifest, run, tmp_path, capsys):
    command = [
        "calibrate",
        str(manifest),
        "--model",
        str(run / "best"),
        "-o",
        str(tmp_path / "calibrated"),
        "--modalities",
        "audio",
    ]
    assert cli.main([*command, "--whisper", "none", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert "12 rows are of 2 speakers whom the model was trained on: there it is right more often" in report["notes"][0]
    assert f"multimodal-ser: note: {report['notes'][0]}" in err and "selected on" in err
    known = origin(str(tmp_path / "calibrated"))
    assert known.source == "its run folder (data.json)" and known.context_turns == 2
    assert known.speakers == {
        "train": ("s0", "s1"),
        "validation": ("s2",),
        "calibration": ("s0", "s1", "s2", "s3", "s4", "s5"),
    }
    rows = read_manifest(manifest).rows
    before, after = provenance(str(run / "best"), rows), provenance(str(tmp_path / "calibrated"), rows)
    assert after.notes[:2] == before.notes and after.told == before.told and set(after.seen) == set(range(ROWS))
    assert after.notes[2].startswith(
        "18 rows are of 3 speakers whom the model was calibrated on: their calibration error"
    )
    others = [row for row in rows if row.speaker not in ("s0", "s1", "s2")]
    again = calibrate_manifest(
        manifest, tmp_path / "again", model=tmp_path / "calibrated", whisper=None, modalities=["audio"]
    )
    assert origin(str(tmp_path / "again")).speakers == known.speakers and again["notes"] == report["notes"]
    model = MultimodalEmotionClassifier.from_pretrained(tmp_path / "calibrated", whisper=None)
    assert (
        calibrate(model, 2 * others, modalities=["audio"])["notes"] == []
    )  # nobody it was trained on; the first calibration is undone


def test_calibration_in_place_forgets_nothing_and_a_new_one_forgets_old_speakers(manifest, run, tmp_path):
    calibrate_manifest(manifest, run / "best", model=run / "best", whisper=None, modalities=["audio"])
    assert origin(str(run / "best")).speakers["train"] == ("s0", "s1")
    half = tmp_path / "half.csv"
    lines = manifest.read_text().splitlines()
    half.write_text("\n".join([lines[0], *(f"{manifest.parent}/{line}" for line in lines[1:31])]))
    calibrate_manifest(half, run / "best", model=run / "best", whisper=None, modalities=["audio"])
    assert origin(str(run / "best")).speakers["calibration"] == ("s0", "s1", "s2", "s3", "s4")


def test_the_card_keeps_what_it_said_of_training_data(manifest, tmp_path):
    from multimodal_ser.hub.card_facts import CardFacts, DataPart
    from multimodal_ser.hub.model_card import save_model_card

    model = tiny_model(labels=LABELS)
    model.save_pretrained(tmp_path / "model")
    save_model_card(model, tmp_path / "model", CardFacts(training_data=[DataPart("the corpus of corpora", rows=20)]))
    report = calibrate_manifest(
        manifest, tmp_path / "calibrated", model=tmp_path / "model", whisper=None, modalities=["audio"]
    )
    card = (tmp_path / "calibrated" / "README.md").read_text()
    section = card.split("### Training data")[1].split("\n### ")[0]
    before = (tmp_path / "model" / "README.md").read_text()
    assert "the corpus of corpora" in section and section == before.split("### Training data")[1].split("\n### ")[0]
    assert f"{ROWS} rows" in card.split("### Calibration")[1] and report["cases"]["audio"]["rows"] == ROWS
    assert provenance(str(tmp_path / "calibrated"), read_manifest(manifest).rows).source == "its card (README.md)"


def test_of_what_is_in_memory_alone_nothing_is_known_and_nothing_is_warned_of(manifest):
    report = calibrate(tiny_model(labels=LABELS), read_manifest(manifest).rows, modalities=["audio"])
    assert report["notes"] == [] and report["origin"]["source"] is None
    assert provenance("no/such/model", []).notes == (UNKNOWN,)


def test_turns_before_are_read_as_in_training(manifest, run, tmp_path):
    asked(manifest, tmp_path / "r", model=str(run / "best"), modalities="text")
    rows = read_manifest(manifest).rows
    model = MultimodalEmotionClassifier.from_pretrained(run / "best", whisper=None)
    contexts = [
        [other.text for other in rows if other.dialogue == row.dialogue and row.turn - 2 <= other.turn < row.turn]
        for row in rows
    ]
    answers = model.predict(text=[row.text for row in rows], context=contexts, modalities="text")
    said = np.array([[answer.probabilities[label] for label in LABELS] for answer in answers])
    stored = json.loads((tmp_path / "r" / "rows" / "all" / "model_text.json").read_text())
    np.testing.assert_allclose(stored["probabilities"], said, atol=1e-5)
    nll = -np.mean([math.log(p[LABELS.index(row.emotion)]) for p, row in zip(said, rows, strict=True)])
    entry = calibrate(model, rows, modalities=["text"])["cases"]["text"]
    assert entry["nll"]["before"] == pytest.approx(nll, abs=1e-5)
    model.config.temperature = dict.fromkeys(("both", "audio", "text"), 1.0)
    without = calibrate(model, rows, modalities=["text"], context_turns=0)["cases"]["text"]["nll"]["before"]
    assert abs(without - nll) > 1e-4


def test_turns_that_nobody_annotated_are_read_too(run):
    model = MultimodalEmotionClassifier.from_pretrained(run / "best", whisper=None)
    turns = [ManifestRow(text="what now you", dialogue="d", turn=0, place="m.csv, line 2")]
    turns += [
        ManifestRow(
            text=f"so happy {at}", emotion=LABELS[at % 3], dialogue="d", turn=at + 1, place=f"m.csv, line {at + 3}"
        )
        for at in range(30)
    ]
    entry = calibrate(model, turns, modalities=["text"], context_turns=1)["cases"]["text"]
    contexts = [[turn.text] for turn in turns[:-1]]
    model.config.temperature = dict.fromkeys(("both", "audio", "text"), 1.0)
    answers = model.predict(text=[turn.text for turn in turns[1:]], context=contexts, modalities="text")
    nll = -np.mean(
        [math.log(answer.probabilities[turn.emotion]) for answer, turn in zip(answers, turns[1:], strict=True)]
    )
    assert entry["nll"]["before"] == pytest.approx(nll, abs=1e-5)
