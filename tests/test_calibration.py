"""Calibration: temperatures, thresholds, label sets; what is promised holds, bad rows cost themselves alone, loading and saving."""

import json
import math

import numpy as np
import pytest
import soundfile as sf
import torch

from multimodal_ser import MultimodalEmotionClassifier, Transcript
from multimodal_ser.calibration.run import (
    calibrate,
    calibrate_manifest,
    describe,
    fit_temperature,
)
from multimodal_ser.calibration.temperature import TEMPERATURES, Windows
from multimodal_ser.corpora import ManifestRow, read_manifest
from multimodal_ser.errors import InputError
from multimodal_ser.inference.engine import Engine, PredictOptions, by_item
from multimodal_ser.labels import LabelError
from multimodal_ser.model.modeling_multimodal_ser import with_labels
from multimodal_ser.testing import synthetic_speech, tiny_config, tiny_model
from multimodal_ser.transcription import WhisperNotFoundError

EMOTIONS = ("anger", "happiness", "sadness")


def softmax(logits):
    values = np.exp(logits - logits.max(-1, keepdims=True))
    return values / values.sum(-1, keepdims=True)


def drawn(count, temperature=1.0, classes=4, seed=0):
    """Logits, and references that are drawn from softmax(logits / temperature)."""
    generator = np.random.default_rng(seed)
    logits = 3 * generator.standard_normal((count, classes))
    chances = softmax(logits / temperature).cumsum(1)
    return logits, (generator.random((count, 1)) > chances[:, :-1]).sum(1)


def ece(probabilities, right):
    """Guo et al. 2017, written out."""
    confidence, total = probabilities.max(1), 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


# temperature


@pytest.mark.parametrize("wanted", [0.4, 1.0, 2.5, 6.0])
def test_the_temperature_that_references_were_drawn_with_is_found(wanted):
    logits, references = drawn(20_000, wanted)
    assert fit_temperature(logits, references) == pytest.approx(wanted, rel=0.05)


def test_it_is_the_minimum_that_another_optimiser_finds():
    logits, references = drawn(300, 1.7, seed=3)
    found = fit_temperature(logits, references)
    inverse = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [inverse], max_iter=200, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(torch.tensor(logits) * inverse, torch.tensor(references))
        loss.backward()
        return loss

    optimiser.step(closure)
    assert found == pytest.approx(1 / inverse.item(), abs=1e-5)


def test_it_scales_with_the_logits_and_ignores_what_is_added_to_all():
    logits, references = drawn(400, 1.3, seed=1)
    found = fit_temperature(logits, references)
    assert fit_temperature(2 * logits, references) == pytest.approx(2 * found, abs=1e-5)
    assert fit_temperature(logits + 1e4 * np.arange(400)[:, None], references) == pytest.approx(found, abs=1e-5)


def test_degenerate_logits_end_at_the_ends():
    right = np.eye(3)[[0, 1, 2, 0]] * 4
    assert fit_temperature(right, [0, 1, 2, 0]) == TEMPERATURES[0]
    assert fit_temperature(right, [1, 2, 0, 1]) == TEMPERATURES[1]  # always wrong: as unsure as may be
    assert fit_temperature(np.zeros((5, 3)), [0, 1, 2, 0, 1]) == 1.0
    assert fit_temperature([[1e6, 0.0], [0.0, 1e6]], [0, 0]) == TEMPERATURES[1]  # softmax of the second underflows
    assert fit_temperature([[1.0], [2.0]], [0, 0]) == 1.0  # one class
    assert fit_temperature([[1.0, 0.0]], [0]) == TEMPERATURES[0]


def test_admissible_classes_are_added_up():
    logits, references = drawn(500, 2.0, seed=5)
    one_hot = np.eye(4, dtype=bool)[references]
    assert fit_temperature(logits, one_hot) == fit_temperature(logits, references)
    pairs = one_hot | np.roll(one_hot, 1, axis=1)
    found = fit_temperature(logits, pairs)
    grid = np.geomspace(*TEMPERATURES, 4001)
    losses = [-np.log((softmax(logits / t) * pairs).sum(1)).mean() for t in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)
    assert fit_temperature(logits, np.ones((500, 4), dtype=bool)) == 1.0  # all admitted: nothing to learn


@pytest.mark.parametrize(
    ("logits", "references"),
    [
        (np.zeros((0, 3)), []),
        (np.zeros(3), [0, 0, 0]),
        ([[0.0, np.nan]], [0]),
        ([[0.0, 1.0]], [2]),
        ([[0.0, 1.0]], [-1]),
        ([[0.0, 1.0]], [0, 1]),
        ([[0.0, 1.0]], [0.5]),
        ([[0.0, 1.0]], [[False, False]]),
    ],
)
def test_wrong_shapes_and_values_are_told(logits, references):
    with pytest.raises(InputError, match="expected"):
        fit_temperature(logits, references)


# in the configuration


def conformal(**fields):
    return {"coverage": 0.9, "threshold": 0.7, "method": "lac", "label_set": "native"} | fields


def test_the_configuration_keeps_it(tmp_path):
    model = tiny_model()
    model.config.conformal = {"audio": conformal(), "text": conformal(method="aps", coverage=0.8, threshold=1)}
    model.config.temperature = {"both": 1.0, "audio": 2.0, "text": 1}
    model.save_pretrained(tmp_path)
    loaded = MultimodalEmotionClassifier.from_pretrained(tmp_path)
    assert loaded.config.conformal == model.config.conformal and loaded.config.temperature == model.config.temperature
    assert with_labels(loaded.config, ["a", "b"]).conformal == {}
    assert MultimodalEmotionClassifier.from_pretrained(tmp_path, labels=["a", "b"]).config.conformal == {}
    config = json.loads((tmp_path / "config.json").read_text())
    del config["conformal"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert MultimodalEmotionClassifier.from_pretrained(tmp_path).config.conformal == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"audio": {}},
        {"voice": conformal()},
        {"audio": conformal(method="x")},
        {"audio": conformal(threshold=1.5)},
        {"audio": {"coverage": []}},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(Exception, match="conformal"):
        tiny_config(conformal=wrong)


# calibrate


class Echo:
    """A transcriber that counts what it hears."""

    device, heard = "cpu", 0

    def transcribe(self, recordings, *, sampling_rate=None, language=None, word_timestamps=False):
        self.heard += len(recordings)
        return [Transcript(f"hello you {len(r)}", language or "en", speech_duration=len(r) / 16000) for r in recordings]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """32 clips of 4 speakers."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for at in range(32):
        sf.write(folder / f"{at}.wav", synthetic_speech(0.4 + 0.02 * at, seed=at, pitch=100 + 30 * (at % 4)), 16000)
        rows.append(ManifestRow(path=folder / f"{at}.wav", emotion=EMOTIONS[at % 3], speaker=f"s{at % 4}", text=f"so happy {'you ' * (at % 5)}",
                                folder=folder, place=f"manifest.csv, line {at + 2}"))  # fmt: skip
    return rows


def test_each_case_is_calibrated_and_the_present_temperature_undone(clips):
    model = tiny_model()
    first = calibrate(model, clips, modalities=["audio", "text", "both"], error=0.5)
    fitted = dict(model.config.temperature)
    assert list(first["cases"]) == ["both", "audio", "text"] and json.loads(json.dumps(first, allow_nan=False)) == first
    for case, entry in first["cases"].items():
        assert entry["rows"] == 32 and entry["speakers"] == 4 and entry["calibrated"] and not entry["failed"]
        assert entry["temperature"] == {"before": 1.0, "after": fitted[case]}
        assert entry["nll"]["after"] <= entry["nll"]["before"]
        assert model.config.conformal[case]["threshold"] == entry["conformal"]["threshold"]
        assert entry["conformal"]["covered"] >= 0.9
        assert entry["unseen_speakers"]["speakers"] == 4 and entry["unseen_speakers"]["rows"] == 32
    model.config.temperature = {"both": 3.0, "audio": 0.5, "text": 7.0}
    again = calibrate(model, clips, modalities=["audio", "text", "both"])
    assert model.config.temperature == pytest.approx(fitted, rel=1e-4)
    assert again["cases"]["audio"]["temperature"]["before"] == 0.5
    assert "audio: 32 rows" in describe(first) and "on speakers left out" in describe(first)


def test_the_report_is_about_what_is_predicted(clips):
    """Before, after: NLL and ECE are those of the model's own predictions, written out."""
    model = tiny_model()
    model.config.temperature = {"both": 1.0, "audio": 0.3, "text": 1.0}
    references = np.array([EMOTIONS.index(row.emotion) for row in clips])

    def measured():
        answers = model.predict([str(row.path) for row in clips], modalities="audio")
        p = np.array([[answer.probabilities[label] for label in model.labels] for answer in answers])
        return p, -np.log(p[np.arange(32), references]).mean(), ece(p, p.argmax(1) == references)

    before = measured()
    entry = calibrate(model, clips, modalities=["audio"])["cases"]["audio"]
    after = measured()
    assert (before[0].argmax(1) == after[0].argmax(1)).all()
    assert entry["nll"] == pytest.approx({"before": before[1], "after": after[1]}, abs=1e-5)
    assert entry["ece"] == pytest.approx({"before": before[2], "after": after[2]}, abs=1e-5)
    covered = [
        row.emotion in answer.conformal_labels
        for row, answer in zip(clips, model.predict([str(r.path) for r in clips]), strict=True)
    ]
    assert len(covered) == 32


def test_only_what_was_asked_for_changes(clips):
    model = tiny_model()
    model.config.temperature, model.config.conformal = {"both": 1.5, "audio": 1.6, "text": 1.7}, {"text": conformal()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    calibrate(model, clips, modalities="audio", coverage=0.8, method="aps")
    assert model.config.temperature["both"] == 1.5 and model.config.temperature["text"] == 1.7
    assert model.config.conformal["text"] == conformal() and model.config.conformal["audio"]["method"] == "aps"
    assert model.config.conformal["audio"]["coverage"] == 0.8
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items()) and not model.training


def test_a_few_sentences_do_not_calibrate_text_unasked(clips):
    model = tiny_model()
    report = calibrate(model, clips)
    assert (
        not report["cases"]["text"]["calibrated"]
        and model.config.temperature["text"] == 1.0
        and "text" not in model.config.conformal
    )
    assert any("different texts" in note for note in report["cases"]["text"]["notes"])
    assert report["cases"]["both"]["calibrated"] and "both" in model.config.conformal
    model.config.trained_modalities = ["audio"]
    assert list(calibrate(model, clips)["cases"]) == ["audio"]


def test_whisper_hears_each_clip_once(clips):
    model = tiny_model()
    model.transcriber = Echo()
    silent = [ManifestRow(path=row.path, emotion=row.emotion) for row in clips]
    report = calibrate(model, silent, modalities=["both", "audio", "text"])
    assert model.transcriber.heard == 32 and all(entry["rows"] == 32 for entry in report["cases"].values())
    assert report["cases"]["both"]["unseen_speakers"] is None and any(
        "speakers" in note for note in report["cases"]["both"]["notes"]
    )


def test_rows_that_a_case_does_not_apply_to_are_counted(clips):
    model = tiny_model()
    model.config.text_languages = ["en"]

    class NoWeights(Echo):
        def load(self):
            raise WhisperNotFoundError("whisper", expected="weights", got="none", remedy="fetch them")

    model.transcriber = NoWeights()
    rows = [
        *clips, ManifestRow(path=clips[6].path, emotion="anger"), ManifestRow(text="so happy", emotion="joy"),
        ManifestRow(path=clips[7].path, text="guten tag", emotion="anger", language="German"), ManifestRow(path=clips[8].path),
        ManifestRow(path=clips[9].path, text="so so", emotion="sadness", language="Klingon"),
    ]  # fmt: skip
    report = calibrate(model, rows, modalities=["both", "audio", "text"])
    counts = {case: (entry["rows"], sum(entry["left_out"].values())) for case, entry in report["cases"].items()}
    assert counts == {"both": (33, 3), "audio": (35, 1), "text": (34, 2)}
    assert (
        report["left_out"] == {"no emotion was annotated": 1} and report["rows"] == 36 and model.transcriber.heard == 0
    )


def test_bad_rows_cost_themselves_alone_and_are_named(clips, tmp_path):
    broken, absent = tmp_path / "broken.wav", tmp_path / "absent.wav"
    broken.write_bytes(b"RIFF nonsense")
    bad = [
        ManifestRow(path=broken, emotion="anger", place="m.csv, line 90"),
        ManifestRow(path=absent, emotion="anger", start=0.1, end=0.3),
        ManifestRow(path=clips[0].path, emotion="anger", start=30.0),
        ManifestRow(path=clips[0].path, emotion="schadenfreude"),
        ManifestRow(path=clips[0].path, emotion="boredom"),
    ]
    model = tiny_model()
    plain = calibrate(model, clips, modalities=["audio"])["cases"]["audio"]
    mixed = calibrate(model, [*bad[:3], *clips[:10], *bad[3:], *clips[10:]], modalities=["audio"])
    entry = mixed["cases"]["audio"]
    assert (
        entry["temperature"]["after"] == pytest.approx(plain["temperature"]["after"], abs=1e-4) and entry["rows"] == 32
    )
    assert [len(entry["failed"]), len(mixed["failed"])] == [3, 2]
    for line, name in zip(
        entry["failed"], ("broken.wav (m.csv, line 90)", "absent.wav[0.100-0.300]", "0.wav[30.000-]"), strict=True
    ):
        assert name in line and "expected" in line
    assert "schadenfreude" in mixed["failed"][0] and "boredom" in mixed["failed"][1]


def test_a_part_that_is_not_there_is_told_with_the_length_of_its_recording(clips):
    path = clips[0].path
    bad = [
        ManifestRow(path=path, emotion="anger", start=30.0, place="m.csv, line 40"),
        ManifestRow(path=path, emotion="anger", start=0.1, end=0.11, place="m.csv, line 41"),
    ]
    found = calibrate(tiny_model(), [*bad, *clips], modalities=["audio"])["cases"]["audio"]
    assert [line.split(":")[0] for line in found["failed"]] == ["m.csv, line 40, start", "m.csv, line 41, end"]
    assert (
        all("at least 25 ms of the recording, which lasts 0.400 s" in line for line in found["failed"])
        and found["rows"] == 32
    )


def test_too_few_rows_change_nothing(clips):
    model = tiny_model()
    for rows in (clips[:1], clips[:29]):
        with pytest.raises(
            InputError, match=f"rows: expected 30 labelled rows, to fit a temperature on, got {len(rows)}; "
        ):
            calibrate(model, rows, modalities=["audio"])
    assert model.config.temperature["audio"] == 1.0 and model.config.conformal == {}
    texts = [ManifestRow(text=f"so happy {at}", emotion="anger") for at in range(29)]
    report = calibrate(model, [*clips, *texts[:1]], modalities=["audio", "text"])
    assert (
        report["cases"]["audio"]["calibrated"] and report["cases"]["text"]["calibrated"]
    )  # these clips have words too
    silent = [ManifestRow(path=row.path, emotion=row.emotion) for row in clips]
    model = tiny_model()
    report = calibrate(model, [*silent, *texts[:1]], modalities=["audio", "text"])
    assert report["cases"]["text"]["notes"] == [
        "1 row is too few to calibrate on: left as it was; give 30, better 100 and more"
    ]
    assert (
        not report["cases"]["text"]["calibrated"]
        and model.config.temperature["text"] == 1.0
        and "text" not in model.config.conformal
    )
    assert model.config.conformal["audio"] and "text: 1 row\n" in describe(report)


def test_classes_that_no_row_has_are_told(clips):
    two = [row for row in clips if row.emotion != "sadness"] * 2
    notes = calibrate(tiny_model(), two, modalities=["audio"])["cases"]["audio"]["notes"]
    assert "no row is of sadness: how sure the model may be there was not measured" in notes
    assert not any(
        "no row is of" in note
        for note in calibrate(tiny_model(), clips, modalities=["audio"])["cases"]["audio"]["notes"]
    )


def test_a_calibration_that_makes_it_worse_says_so():
    """Speakers who need opposite temperatures: what two of them ask for is wrong for the third."""
    from multimodal_ser.calibration.logits import Collected
    from multimodal_ser.calibration.run import _Fit
    from multimodal_ser.labels.merging import Merging

    def report(logits, references, before):
        rows = [ManifestRow(text=str(at), speaker=f"s{at % 3}") for at in range(len(logits))]
        windows = Windows([row[None] for row in logits], [np.ones(1)] * len(logits), np.eye(4, dtype=bool)[references])
        return _Fit(Merging.of(list("abcd"), None), 0.9, "aps", False, None).report(
            Collected(rows, windows, [], {}, []), before
        )

    logits, references = drawn(300, 1.0, seed=11)
    better, worse = report(logits, references, 6.0), report(3 * logits, references, 3.0)
    assert not any("keep the model without it" in note for note in better["notes"])
    assert better["unseen_speakers"]["ece"] < better["unseen_speakers"]["ece_before"]
    told = [note for note in worse["notes"] if note.startswith("on speakers left out the calibration error is")]
    assert bool(told) == (worse["unseen_speakers"]["ece"] > worse["unseen_speakers"]["ece_before"])
    for entry in (better, worse):
        low, high = entry["unseen_speakers"]["ece_interval"]
        assert 0 <= low <= entry["unseen_speakers"]["ece"] <= high
    sharp = np.where(np.arange(300)[:, None] % 3 == 0, 0.05 * logits, 4 * logits)
    entry = report(sharp, references, fit_temperature(sharp, references) * 0.999)
    assert entry["unseen_speakers"]["ece"] > entry["unseen_speakers"]["ece_before"] and any(
        "keep the model without it" in n for n in entry["notes"]
    )


def test_an_error_leaves_the_configuration_as_it_was(clips):
    model = tiny_model()
    model.config.temperature = {"both": 1.5, "audio": 1.6, "text": 1.7}
    for rows, options, match in (
        ([], {}, "rows"), ([ManifestRow(text="so", emotion="joy")], {"modalities": ["audio"]}, "no recording"), (clips, {"modalities": []}, "modalities"),
        (clips, {"modalities": ["voice"]}, "modalities"), (clips, {"coverage": 90}, "coverage"), (clips, {"method": "x"}, "method"),
        (clips, {"error": 1.5}, "error"), (clips, {"label_set": "nonsense"}, "label_set"),
        ([ManifestRow(path=clips[0].path, emotion="anger")], {"modalities": ["audio"], "by_speaker": True}, "by_speaker"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=match):
            calibrate(model, rows, **options)

    class Breaks(Echo):
        def transcribe(self, *args, **options):
            raise RuntimeError("out of memory")

    model.transcriber = Breaks()
    with pytest.raises(RuntimeError):
        calibrate(model, [ManifestRow(path=clips[0].path, emotion="anger")], modalities=["both"])
    assert model.config.temperature == {"both": 1.5, "audio": 1.6, "text": 1.7} and model.config.conformal == {}


def test_a_label_set_is_what_is_made_right(clips):
    model = tiny_model(labels=("anger", "neutral", "calm"))
    rows = [
        ManifestRow(path=row.path, emotion=("anger", "neutral", "calm")[at % 3], speaker=row.speaker)
        for at, row in enumerate(clips)
    ]
    entry = calibrate(model, rows, modalities=["audio"], label_set="ekman")["cases"]["audio"]
    assert model.config.conformal["audio"]["label_set"] == "ekman"
    answers = model.predict([str(row.path) for row in rows], label_set="ekman", modalities="audio")
    wanted = ["anger" if at % 3 == 0 else "neutral" for at in range(32)]
    nll = -np.mean([math.log(answer.probabilities[name]) for answer, name in zip(answers, wanted, strict=True)])
    assert entry["nll"]["after"] == pytest.approx(nll, abs=1e-5)
    covered = np.mean([name in answer.conformal_labels for answer, name in zip(answers, wanted, strict=True)])
    assert covered == pytest.approx(entry["conformal"]["covered"])
    with pytest.raises(LabelError):
        calibrate(tiny_model(labels=("anger", "urgent")), rows, label_set="ekman")


def test_long_recordings_are_calibrated_as_they_are_predicted(tmp_path):
    """Windows' probabilities are averaged: the report's figures are those of the averages."""
    model = tiny_model()
    rows = []
    for at in range(3):
        pause = np.zeros(8000, dtype=np.float32)
        long = np.concatenate([part for k in range(4) for part in (synthetic_speech(9.0, seed=10 * at + k), pause)])
        sf.write(tmp_path / f"{at}.wav", long, 16000)
        rows.append(ManifestRow(path=tmp_path / f"{at}.wav", emotion=EMOTIONS[at]))
    entry = calibrate(model, 10 * rows, modalities=["audio"])["cases"]["audio"]
    answers = model.predict([str(row.path) for row in rows])
    assert all(answer.windows > 1 for answer in answers)
    nll = -np.mean([math.log(answer.probabilities[row.emotion]) for answer, row in zip(answers, rows, strict=True)])
    assert entry["nll"]["after"] == pytest.approx(nll, abs=1e-5)
    prediction = model.predict(str(rows[0].path))
    [outputs] = by_item(Engine(model, PredictOptions()).run([str(rows[0].path)]))
    logits = np.stack([window.logits for window in outputs.windows])
    weights = np.array([window.weight for window in outputs.windows])
    assert len(outputs.windows) == prediction.windows > 1
    together = Windows([logits], [weights], np.array([[True, False, False]])).probabilities(1.0)[0]
    assert together == pytest.approx(list(prediction.probabilities.values()), abs=1e-5)


def test_parts_of_a_recording_are_what_is_heard(clips):
    model = tiny_model()
    whole = calibrate(model, 15 * [clips[5], clips[6]], modalities=["audio"])["cases"]["audio"]
    parts = [ManifestRow(path=row.path, emotion=row.emotion, start=0.0, end=60.0) for row in (clips[5], clips[6])]
    same = calibrate(model, 15 * parts, modalities=["audio"])["cases"]["audio"]
    assert same["temperature"]["after"] == pytest.approx(whole["temperature"]["after"], abs=1e-5)
    waveform = sf.read(clips[5].path, dtype="float32")[0][1600:6400]
    model.config.temperature = dict.fromkeys(("both", "audio", "text"), 1.0)
    part = ManifestRow(path=clips[5].path, emotion="anger", start=0.1, end=0.4)
    entry = calibrate(model, 30 * [part], modalities=["audio"])["cases"]["audio"]
    model.config.temperature = dict.fromkeys(("both", "audio", "text"), 1.0)
    assert entry["nll"]["before"] == pytest.approx(
        -math.log(model.predict(waveform, sampling_rate=16000).probabilities["anger"]), abs=1e-4
    )


def test_unseen_speakers_are_measured_on_what_others_fitted():
    """A model that is sure and wrong of one speaker alone: among the known his clips are covered, left out they are not."""
    from multimodal_ser.calibration.logits import Collected
    from multimodal_ser.calibration.run import _Fit
    from multimodal_ser.labels.merging import Merging

    logits, references = drawn(120, seed=8)
    speakers = [f"s{at % 3}" for at in range(120)]
    for at in range(0, 120, 3):
        logits[at] = np.where(np.arange(4) == references[at], -6.0, logits[at])
    rows = [ManifestRow(text=str(at), speaker=name) for at, name in enumerate(speakers)]
    windows = Windows([row[None] for row in logits], [np.ones(1)] * 120, np.eye(4, dtype=bool)[references])
    found = Collected(rows, windows, [], {}, [])
    entry = _Fit(Merging.of(list("abcd"), None), 0.8, "lac", False, None).report(found, 1.0)
    assert entry["conformal"]["covered"] >= 0.8
    assert (
        entry["unseen_speakers"]["worst_covered"]["speaker"] == "s0"
        and entry["unseen_speakers"]["worst_covered"]["covered"] < 0.5
    )
    low, high = entry["unseen_speakers"]["covered_interval"]
    assert low <= entry["unseen_speakers"]["covered"] <= high


# of a manifest, into a folder


def test_a_manifest_in_a_calibrated_model_out(clips, tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    lines = ["path,emotion,speaker,split", "gone.wav,anger,s0,dev"]
    lines += [f"{row.path},{row.emotion},{row.speaker},{'dev' if at < 30 else 'test'}" for at, row in enumerate(clips)]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    report = calibrate_manifest(
        tmp_path / "manifest.csv", tmp_path / "out", model=tmp_path / "model", whisper=None, modalities=["audio"]
    )
    assert report["split"] == "validation" and report["rows"] == 30 and "gone.wav" in report["failed"][0]
    assert json.loads((tmp_path / "out" / "calibration.json").read_text()) == report
    calibrated = MultimodalEmotionClassifier.from_pretrained(tmp_path / "out", whisper=None)
    assert calibrated.config.temperature["audio"] == report["cases"]["audio"]["temperature"]["after"] != 1.0
    assert calibrated.predict(str(clips[0].path)).conformal_labels
    everything = calibrate_manifest(
        tmp_path / "manifest.csv", tmp_path / "all", model=calibrated, split="all", modalities=["audio"]
    )
    assert everything["rows"] == 32
    with pytest.raises(InputError, match="split"):
        calibrate_manifest(tmp_path / "manifest.csv", tmp_path / "none", model=calibrated, split="train")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output-dir"):
        calibrate_manifest(tmp_path / "manifest.csv", tmp_path / "file" / "x", model=calibrated)


def test_real_speakers_are_covered(data):
    """The shipped model on four actors that it was not trained on: two calibrate, the other two are better off."""
    manifest = read_manifest(data / "ravdess" / "manifest.csv")
    actors = {
        name: [row for row in manifest.rows if row.speaker == f"ravdess_{name}"][::2]
        for name in ("02", "15", "16", "18")
    }
    model = MultimodalEmotionClassifier.from_pretrained(whisper=None)
    report = calibrate(model, actors["02"] + actors["15"], modalities=["audio"])["cases"]["audio"]
    assert not report["failed"] and report["nll"]["after"] <= report["nll"]["before"]
    rows = actors["16"] + actors["18"]
    answers = model.predict([str(row.path) for row in rows], modalities="audio")
    covered = np.mean([row.emotion in answer.conformal_labels for row, answer in zip(rows, answers, strict=True)])
    assert covered > 0.75 and np.mean([len(answer.conformal_labels) for answer in answers]) < 4
