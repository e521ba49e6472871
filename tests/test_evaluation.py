"""Evaluation: what a report says and where from; folds that train, stop and go on; a page that needs nothing but itself."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from training_runs import rows_of, table

from multimodal_ser import cli
from multimodal_ser.corpora import ManifestRow
from multimodal_ser.corpora.clips import Clip
from multimodal_ser.corpora.provenance import UNKNOWN, provenance
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import EvaluationArguments, evaluate
from multimodal_ser.evaluation.data import read_rows
from multimodal_ser.evaluation.outputs import AUDIO, BOTH, HEARD_BOTH, HEARD_TEXT, TEXT, Question, ask_model, cases_of
from multimodal_ser.testing import synthetic_speech, tiny_model

CLASSES = {"anger": (260.0, "so angry"), "happiness": (200.0, "very happy"), "sadness": (110.0, "so sad")}
QUICK = {"resamples": 20, "device": "cpu"}
TRAINING = {"num_train_epochs": 1, "use_cpu": True}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model(labels=("anger", "happiness", "sadness", "neutral")).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """24 clips: three classes, four speakers, every second one with words."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for index in range(24):
        name, (pitch, words) = list(CLASSES.items())[index % 3]
        soundfile.write(
            folder / f"{index:02d}.wav", synthetic_speech(0.5 + index % 4 / 5, seed=index, pitch=pitch), 16_000
        )
        speaker = index // 3 % 4
        rows.append({
            "path": f"{index:02d}.wav", "emotion": name, "text": f"{words} {index}" if index % 2 else "", "speaker": f"s{speaker}",
            "gender": "female" if speaker % 2 else "male", "language": "en",
        })  # fmt: skip
    return table(folder / "manifest.csv", rows)


def asked(manifest, output_dir, **fields):
    """A report, and what was said."""
    told = []
    report = evaluate(
        EvaluationArguments(data=[str(manifest)], output_dir=str(output_dir), **QUICK | fields), told.append
    )
    return report, told


def system(report, name, case):
    return next(entry for entry in report["systems"] if (entry["system"], entry["case"]) == (name, case))


class Visible(HTMLParser):
    """The text of a page that people see, outside of pictures."""

    def __init__(self):
        super().__init__()
        self.hidden, self.text, self.addresses = 0, [], []

    def handle_starttag(self, tag, attributes):
        self.hidden += tag in ("style", "svg", "script")
        self.addresses += [value for name, value in attributes if name in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "svg", "script")

    def handle_data(self, data):
        if not self.hidden:
            self.text.append(data)


def figures_in(value):
    """All numbers of report.json in the ways in which people are shown them, and those that stand in its texts."""
    if isinstance(value, dict):
        return set().union(*(figures_in(item) for pair in value.items() for item in pair), set())
    if isinstance(value, list):
        return set().union(*map(figures_in, value), set())
    if isinstance(value, str):
        return set(re.findall(r"\d+(?:\.\d+)?", value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = {f"{value}", f"{100 * value:.1f}", f"{value:.3f}", f"{value:.1f}", f"{value:.0f}"}
        return {each.lstrip("-") for each in shown}
    return set()


# a model as it is


@pytest.fixture(scope="module")
def report(manifest, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return asked(manifest, folder, model=tiny, robustness=True)[0], folder


def test_a_model_is_measured_in_every_case_and_the_files_say_the_same(report):
    found, folder = report
    assert [(entry["system"], entry["case"], entry["clips"]) for entry in found["systems"]] == [
        ("model", AUDIO, 24), ("model", TEXT, 12), ("model", BOTH, 12),
    ]  # fmt: skip
    stored = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert stored["systems"][0]["figures"] == found["systems"][0]["figures"]
    entry = system(found, "model", AUDIO)
    counts = np.array(entry["confusion_matrix"])
    assert counts.sum() == 24 and entry["figures"]["accuracy"] == pytest.approx(np.trace(counts) / 24)
    recalls = [each["recall"] for each in entry["per_class"].values() if each["clips"]]
    assert entry["figures"]["ua"] == pytest.approx(np.mean(recalls))
    assert entry["per_class"]["neutral"]["recall"] is None  # nobody is neutral here
    assert set(entry["groups"]) == {"speaker", "gender", "duration"}  # one language is no comparison
    assert sum(each["clips"] for each in entry["groups"]["speaker"].values()) == 24
    low, high = entry["intervals"]["ua"]
    assert low <= entry["figures"]["ua"] <= high
    assert found["modalities"][0]["clips"] == 12 and set(found["modalities"][0]["cases"]) == {AUDIO, TEXT, BOTH}
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert f"| model, audio | 24 | {100 * entry['figures']['ua']:.1f} |" in markdown
    assert found["data"]["data_hash"] in markdown and found["environment"]["multimodal_ser"] in markdown


def test_what_is_answered_is_what_predict_says(report, manifest, tiny):
    from multimodal_ser import MultimodalEmotionClassifier

    model = MultimodalEmotionClassifier.from_pretrained(tiny, whisper=None)
    stored = json.loads((report[1] / "rows" / "all" / "model_audio.json").read_text(encoding="utf-8"))
    prediction = model.predict(str(manifest.parent / "05.wav"), modalities="audio")
    place = stored["names"].index("05.wav")
    said = [prediction.probabilities[label] for label in stored["labels"]]
    np.testing.assert_allclose(stored["probabilities"][place], said, atol=1e-5)


def test_the_page_needs_no_network_and_every_figure_in_it_is_in_the_json(report):
    page = (report[1] / "report.html").read_text(encoding="utf-8")
    parser = Visible()
    parser.feed(page)
    assert parser.addresses and all(address.startswith("#") for address in parser.addresses)
    assert "http:" not in page and "https:" not in page and "@import" not in page and "<script" not in page
    targets = set(re.findall(r'id="([^"]+)"', page))
    assert {address[1:] for address in parser.addresses} <= targets
    assert 'name="viewport"' in page and "@media (max-width" in page and page.count("<svg") == 8
    written = json.loads((report[1] / "report.json").read_text(encoding="utf-8"))
    shown = {number for text in parser.text for number in re.findall(r"\d+(?:\.\d+)?", text)}
    assert len(shown) > 50
    of_the_page = {"1", "95", "0"}  # "-1 to 1", "95 % interval", "holds 0"
    assert shown - figures_in(written) - of_the_page == set()


def test_bad_rows_cost_themselves_alone_and_are_named(manifest, tiny, tmp_path, capsys):
    rows = rows_of(manifest)
    rows[3]["emotion"] = "urgent"
    (tmp_path / "notes.wav").write_text("not audio")
    rows[4]["path"] = str(tmp_path / "notes.wav")
    rows[5]["path"] = str(tmp_path / "gone.wav")
    command = [
        "evaluate",
        str(table(tmp_path / "bad.csv", rows)),
        "--model",
        tiny,
        "--output-dir",
        str(tmp_path / "r"),
        "--resamples",
        "5",
    ]
    assert cli.main([*command, "--modalities", "audio", "--format", "json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["clips"] == 21 and "3 rows could not be used" in err
    left_out = json.loads((tmp_path / "r" / "report.json").read_text())["left_out"]
    assert (
        len(left_out) == 3
        and any("line 5, emotion: expected" in e for e in left_out)
        and any("notes.wav" in e for e in left_out)
    )
    assert any("gone.wav" in e and "line 7" in e for e in left_out)


def test_only_the_test_part_of_a_split_column_is_measured(manifest, tiny, tmp_path):
    rows = [row | {"split": "test" if row["speaker"] == "s3" else "train"} for row in rows_of(manifest)]
    path = table(tmp_path / "split.csv", rows)
    found, _ = asked(path, tmp_path / "r", model=tiny, modalities="audio", baselines=["majority"])
    assert system(found, "model", AUDIO)["clips"] == 6 and system(found, "majority", "any")["clips"] == 6
    assert found["data"]["speakers"] == 1 and system(found, "model", AUDIO)["intervals"]["ua"] == [None, None]
    with pytest.raises(InputError, match="add a protocol, or a split column"):
        asked(manifest, tmp_path / "other", model=tiny, baselines=["majority"])


def test_a_split_that_leaks_is_refused_or_named(manifest, tiny, tmp_path):
    rows = [row | {"split": "test" if number % 2 else "train"} for number, row in enumerate(rows_of(manifest))]
    path = table(tmp_path / "split.csv", rows)
    fields = {"model": tiny, "modalities": "audio", "baselines": ["majority"]}
    with pytest.raises(InputError, match="split: expected parts that share nothing, got 4 voices"):
        asked(path, tmp_path / "refused", **fields)
    found, told = asked(path, tmp_path / "forced", allow_leak=True, **fields)
    assert found["leaks"][0].startswith("4 voices in train and test") and any(
        line.startswith("leak: 4 voices") for line in told
    )
    page = (tmp_path / "forced" / "report.html").read_text(encoding="utf-8")
    assert 'class="leaks"' in page and "Leak: 4 voices in train and test" in page


def test_label_sets_merge_annotations_and_answers(manifest, tiny, tmp_path):
    found, _ = asked(manifest, tmp_path / "r", model=tiny, modalities="audio", label_set="sentiment")
    assert found["labels"] == ["negative", "neutral", "positive"]
    assert found["data"]["classes"] == {"negative": 16, "neutral": 0, "positive": 8}
    rows = read_rows(EvaluationArguments(data=[str(table(tmp_path / "w.csv", [
        {"text": "Oh!", "emotion": "surprise"}, {"text": "Yes!", "emotion": "joy"}, {"text": "Hm.", "emotion": "sad|fear"},
    ]))], label_set="sentiment"))  # fmt: skip
    assert [row.emotion for row in rows.rows] == ["positive", "negative"] and "'surprise'" in rows.notes[0]


# protocols that train


def test_folds_train_stop_and_go_on_with_what_is_done(manifest, tiny, tmp_path, monkeypatch):
    fields = {"model": tiny, "protocol": "folds", "num_folds": 2, "baselines": ["majority"], "train_options": TRAINING}
    from multimodal_ser.evaluation import run as protocols

    real, begun = protocols.ask_baseline, []

    def stopped(question, *rest):
        begun.append(question.fold)
        if question.fold == "fold 2":
            raise KeyboardInterrupt
        return real(question, *rest)

    monkeypatch.setattr(protocols, "ask_baseline", stopped)
    with pytest.raises(KeyboardInterrupt):
        asked(manifest, tmp_path / "r", **fields)
    done = sorted(
        path.relative_to(tmp_path / "r" / "rows").as_posix() for path in (tmp_path / "r" / "rows").rglob("*.json")
    )
    assert "fold-1/majority-42_any.json" in done and "fold-2/network-42_audio-text.json" in done
    times = {name: (tmp_path / "r" / "rows" / name).stat().st_mtime_ns for name in done}
    monkeypatch.setattr(protocols, "ask_baseline", real)
    monkeypatch.setattr("multimodal_ser.training.run.train", lambda *_: pytest.fail("trained again"))
    found, _ = asked(manifest, tmp_path / "r", **fields)
    assert {name: (tmp_path / "r" / "rows" / name).stat().st_mtime_ns for name in done} == times
    for case, clips in ((AUDIO, 24), (TEXT, 12), (BOTH, 12)):
        entry = system(found, "network", case)
        assert entry["clips"] == clips and set(entry["folds"]) == {"fold 1", "fold 2"}
        uas = [fold["ua"] for fold in entry["folds"].values()]
        assert entry["mean_over_folds"]["ua"] == pytest.approx(np.mean(uas))
    assert system(found, "majority", "any")["figures"]["ua"] == pytest.approx(1 / 3)
    assert found["labels"] == ["anger", "happiness", "sadness"] and found["leaks"] == []
    assert [fold["train"] + fold["validation"] + fold["test"] for fold in found["protocol"]["folds"]] == [24, 24]
    assert {each["against"] for each in found["comparisons"]} == {"network", "majority"}
    with pytest.raises(InputError, match=r"expected a folder of this evaluation, got .*majority"):
        asked(
            table(tmp_path / "fewer.csv", rows_of(manifest)[:-1]), tmp_path / "r", **fields | {"only_baselines": True}
        )


def test_nobody_who_is_measured_was_learned_from(manifest, tiny, tmp_path):
    fields = {
        "model": tiny,
        "protocol": "loso",
        "folds": ["s1"],
        "modalities": "audio",
        "train_options": TRAINING,
        "seeds": [1, 2],
    }
    found, _ = asked(manifest, tmp_path / "r", **fields)
    for seed in (1, 2):
        about = json.loads((tmp_path / "r" / "runs" / "s1" / f"seed-{seed}" / "data.json").read_text())
        assert (
            "s1" not in {*about["train"]["speakers"], *about["validation"]["speakers"]} and about["train"]["clips"] >= 6
        )
    entry = system(found, "network", AUDIO)
    assert entry["clips"] == 6 and set(entry["seeds"]["each"]) == {"1", "2"}
    each = [part["ua"] for part in entry["seeds"]["each"].values()]
    assert entry["figures"]["ua"] == pytest.approx(np.mean(each))
    assert entry["seeds"]["standard_deviation"]["ua"] == pytest.approx(np.std(each, ddof=1))
    assert not (tmp_path / "r" / "embeddings").exists()
    assert any("only the folds s1" in note for note in found["notes"])


def test_a_random_split_is_taken_only_by_name_and_its_leak_is_told(manifest, tmp_path):
    with pytest.raises(InputError, match="protocol: expected one that holds speakers out"):
        EvaluationArguments(data=[str(manifest)], protocol="random")
    found, _ = asked(
        manifest,
        tmp_path / "r",
        protocol="random",
        num_folds=2,
        allow_leak=True,
        only_baselines=True,
        baselines=["majority"],
        modalities="audio",
    )
    assert [entry["system"] for entry in found["systems"]] == ["majority"]
    assert any("4 voices in train and test" in leak for leak in found["leaks"])


# what is said and refused


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"data": []}, "data: expected a manifest"),
        ({"protocol": "fold"}, "protocol: expected one of holdout, folds.*did you mean 'folds'"),
        ({"train_options": {"num_train_epochs": 1}}, "train_options: expected a protocol beside it"),
        (
            {"protocol": "folds", "train_options": {"seeds": [1]}},
            "train_options: seeds: expected .* use the evaluation's option seeds",
        ),
        ({"folds": ["1"]}, "folds: expected a protocol"),
        ({"only_baselines": True}, "only_baselines: expected baselines beside it"),
        (
            {"only_baselines": True, "baselines": ["majority"], "robustness": True},
            "robustness: expected a network to measure",
        ),
        ({"noise_dir": "noises"}, "noise_dir: expected robustness beside it"),
        ({"whisper": "base"}, "whisper: expected transcribe beside it"),
        ({"num_folds": 1}, "num_folds: expected 2 or more"),
        ({"seeds": []}, "seeds: expected at least one"),
    ],
)
def test_options_that_contradict_each_other_are_refused(fields, says):
    with pytest.raises(InputError, match=says):
        EvaluationArguments(**{"data": ["manifest.csv"]} | fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "/no/such/model"}, "model: expected a folder or Hub id"),
        ({"baselines": ["mfcc-svn"]}, "did you mean 'mfcc-svm'"),
        ({"protocol": "folds", "train_options": {"num_train_epoch": 1}}, "did you mean 'num_train_epochs'"),
        ({"protocol": "loso", "folds": ["s7"]}, "folds: expected some of s0, s1, s2, s3"),
        ({"label_set": "ekmann"}, "did you mean 'ekman'"),
        ({"protocol": "official"}, "split"),
    ],
)
def test_wrong_use_is_told_with_its_remedy(manifest, tmp_path, fields, says):
    with pytest.raises(InputError, match=says):
        asked(manifest, tmp_path / "r", **fields)


def test_a_run_folder_says_whom_the_model_knows(manifest, tiny, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(tiny, run / "best")
    rows = read_rows(EvaluationArguments(data=[str(manifest)])).rows
    assert provenance(str(run / "best"), rows).notes == (UNKNOWN,)
    sides = {"train": {"clips": 6, "speakers": ["s0"]}, "validation": {"clips": 0, "speakers": []}}
    (run / "data.json").write_text(json.dumps(sides))
    known = provenance(str(run / "best"), rows)
    assert {rows[index].speaker for index in known.seen} == {"s0"} and "6 rows are of 1 speaker whom" in known.notes[0]
    shipped = provenance(
        None,
        [
            ManifestRow(text="a", corpus="ravdess"),
            ManifestRow(text="a", speaker="savee_DC"),
            ManifestRow(text="a", speaker="emodb_03"),
        ],
    )
    assert ["ravdess" in note for note in shipped.notes] == [False, True] and "names emodb" in shipped.notes[0]


def test_recognised_words_take_the_place_of_given_ones(manifest):
    model = tiny_model(labels=("anger", "happiness", "sadness"), text_languages=["en"])
    data = read_rows(EvaluationArguments(data=[str(manifest)])).score(model.labels)
    words = {0: ("so angry", "en"), 1: ("", "en"), 2: ("sehr traurig", "de")}
    assert cases_of(model, data.clips, "auto", words) == [AUDIO, TEXT, BOTH, HEARD_TEXT, HEARD_BOTH]
    text = ask_model(model, Question("m", "model", HEARD_TEXT), data.clips, range(4), data.labels, words=words)
    both = ask_model(model, Question("m", "model", HEARD_BOTH), data.clips, range(4), data.labels, words=words)
    assert text.rows == (0,) and set(text.unanswered) == {1, 2} and "'de'" in text.unanswered[2]
    assert both.rows == (0, 1, 2)  # who is not understood is still heard
    alone = ask_model(model, Question("m", "model", AUDIO), data.clips, [1], data.labels)
    np.testing.assert_allclose(both.probabilities[1], alone.probabilities[0], atol=1e-5)
    assert not np.allclose(
        both.probabilities[0],
        ask_model(model, alone.question, data.clips, [0], data.labels).probabilities[0],
        atol=1e-3,
    )
    assert model.transcriber is None
    polish = [Clip(ManifestRow(text="Tak.", path=clip.row.path, language="pl"), "", 1.0) for clip in data.clips]
    assert cases_of(model, polish, "auto") == [AUDIO]  # words that the text branch does not read are not asked about
    audio_only = tiny_model(labels=("anger", "happiness"), trained_modalities=["audio"])
    assert cases_of(audio_only, data.clips, "auto", words) == [AUDIO] and cases_of(model, data.clips, "text") == [TEXT]


def test_transcripts_are_measured_and_kept(manifest, tiny, tmp_path, monkeypatch):
    from multimodal_ser.transcription import WhisperWeights, transcriber
    from multimodal_ser.transcription.backends import Recognition

    calls = []

    class Played:
        multilingual = True

        def __init__(self, weights, device, compute_type):
            pass

        def transcribe(self, waveforms, language, word_timestamps):
            calls.append(language)
            return [Recognition("so angry", language, 0.9, -0.1, 0.0, None)] * len(waveforms)

    monkeypatch.setattr(transcriber, "BACKENDS", {"faster-whisper": Played})
    monkeypatch.setattr(
        transcriber, "find_whisper", lambda *_: WhisperWeights("base", "/nowhere", "ctranslate2", "test")
    )
    monkeypatch.setattr(transcriber, "speech_duration", len)
    found, _ = asked(manifest, tmp_path / "r", model=tiny, transcribe=True)
    assert calls == ["en"] * 24
    assert system(found, "model", HEARD_TEXT)["clips"] == 24 and system(found, "model", HEARD_BOTH)["clips"] == 24
    assert (
        found["recognition"]["whisper"] == "base"
        and found["recognition"]["clips"] == 12
        and 0 < found["recognition"]["wer"] < 1
    )
    assert "Recognised words" in (tmp_path / "r" / "report.md").read_text()
    asked(manifest, tmp_path / "r", model=tiny, transcribe=True)
    assert len(calls) == 24


# robustness


def test_the_sweep_is_in_the_report(report):
    found = report[0]["robustness"]
    assert (
        found[0]["condition"] == "as recorded" and found[0]["ua"] == system(report[0], "model", AUDIO)["figures"]["ua"]
    )
    assert [each["level"] for each in found if each["kind"] == "noise"] == [20, 15, 10, 5, 0]
    assert all(each["clips"] == 24 for each in found)


# the command line


def test_options_of_the_command_are_those_of_the_record(capsys):
    import dataclasses

    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    shown = capsys.readouterr().out
    for field in dataclasses.fields(EvaluationArguments):
        assert field.name == "data" or f"--{field.name.replace('_', '-')}" in shown
    parsed = vars(cli._parser().parse_args([
        "evaluate", "a.csv", "b.csv", "--folds", "1", "2", "--train-options", "num_train_epochs=3", "freeze=[text]", "--columns", "path=wav", "--robustness",
    ]))  # fmt: skip
    assert parsed["data"] == ["a.csv", "b.csv"] and parsed["folds"] == ["1", "2"] and parsed["robustness"] is True
    assert parsed["train_options"] == {"num_train_epochs": 3, "freeze": ["text"]} and parsed["columns"] == {
        "path": "wav"
    }


def test_protocols_are_those_that_divide_corpora():
    from typing import get_args

    from multimodal_ser.corpora.protocols import PROTOCOLS
    from multimodal_ser.evaluation.arguments import Protocol

    assert list(get_args(Protocol)) == list(PROTOCOLS)


def test_a_foreign_table_is_measured_with_one_option(manifest, tiny, tmp_path, capsys):
    foreign = [{"wav_name": row["path"], "emo": row["emotion"]} for row in rows_of(manifest)[:6]]
    path = str(table(tmp_path / "foreign.csv", foreign))
    command = ["evaluate", path, "--model", tiny, "--output-dir", str(tmp_path / "r"), "--resamples", "5"]
    assert cli.main(command) == 2
    assert "--columns" in capsys.readouterr().err
    assert cli.main([*command, "--columns", "path=wav_name", "emotion=emo"]) == 0
    assert "UA" in capsys.readouterr().out


def test_a_file_of_training_options_says_what_is_heard_and_what_it_starts_from(tiny, tmp_path):
    (tmp_path / "run.yaml").write_text(f"modalities: audio\nmodel: {tiny}\nseeds: [1, 2]\nnum_train_epochs: 3\n")
    args = EvaluationArguments(data=["a.csv"], protocol="folds", train_config=str(tmp_path / "run.yaml"))
    assert args.heard() == "audio" and args.training() == {"model": tiny, "num_train_epochs": 3}
    args = EvaluationArguments(
        data=["a.csv"],
        protocol="folds",
        modalities="both",
        train_config=str(tmp_path / "run.yaml"),
        train_options={"num_train_epochs": 5},
    )
    assert args.heard() == "both" and args.training()["num_train_epochs"] == 5


def test_predictions_abstain_on_the_command_line_too(manifest, tiny, capsys):
    command = ["predict", str(manifest.parent / "00.wav"), "--model", tiny, "--whisper", "none"]
    assert cli.main([*command, "--abstain-below", "1.0", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["abstained"] is True
    assert cli.main([*command, "--abstain-below", "0.0", "--format", "csv"]) == 0
    assert next(csv.DictReader(capsys.readouterr().out.splitlines()))["abstained"] == "False"
    assert cli.main([*command, "--abstain-below", "1.5"]) == 2
    assert "abstain_below: expected a confidence from 0 to 1" in capsys.readouterr().err


def test_prepare_and_calibrate_are_commands(manifest, tiny, tmp_path, capsys):
    parts = table(tmp_path / "parts.csv", [*rows_of(manifest), *(row | {"end": "0.4"} for row in rows_of(manifest))])
    assert (
        cli.main(["prepare", str(parts), "-o", str(tmp_path / "out.csv"), "--label-set", "ekman", "--format", "json"])
        == 0
    )
    out, _ = capsys.readouterr()
    assert json.loads(out)["rows"] == 48 and (tmp_path / "out.csv").is_file()
    command = [
        "calibrate",
        str(tmp_path / "out.csv"),
        "--model",
        tiny,
        "--output-dir",
        str(tmp_path / "calibrated"),
        "--modalities",
        "audio",
    ]
    assert cli.main([*command, "--whisper", "none", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["cases"]["audio"]["rows"] == 48 and "the calibrated model" in err
    assert (tmp_path / "calibrated" / "config.json").is_file()


def test_what_a_network_learns_to_read_was_recognised_where_nobody_wrote_it(manifest, tmp_path):
    from multimodal_ser.corpora import read_manifest
    from multimodal_ser.corpora.splits import Split
    from multimodal_ser.evaluation.run import Part, _Evaluation

    run = _Evaluation(
        EvaluationArguments(data=[str(manifest)], output_dir=str(tmp_path), protocol="folds", transcribe=True), print
    )
    run.data = read_rows(run.args)
    run.words = {0: ("so angry", "en"), 1: ("something else", "en"), 2: ("", "en")}
    path = run._fold_manifest(Part("fold 1", Split((0, 1), (2,), (3,), "mine")))
    rows = read_manifest(path).rows
    assert [(row.text, row.split) for row in rows] == [
        ("so angry", "train"),
        ("very happy 1", "train"),
        (None, "validation"),
    ]
    assert run.data.clips[0].row.text is None  # what is measured stays what was written
