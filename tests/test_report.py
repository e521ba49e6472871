"""Reports of what is awkward: labels without a place, names that are markup, folds that files cannot be named after, rows without labels."""

import csv
import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from multimodal_ser import MultimodalEmotionClassifier, cli
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import EvaluationArguments, evaluate
from multimodal_ser.evaluation.data import read_rows
from multimodal_ser.evaluation.outputs import Answers, AnswerStore, Question, folder_of
from multimodal_ser.labels import EMOTIONS, LABEL_SETS, LabelError
from multimodal_ser.labels.merging import Merging
from multimodal_ser.testing import synthetic_speech, tiny_model

NAUGHTY = "<script>alert('|')</script> & [x](y) _a_"


@pytest.fixture(scope="module")
def nine(tmp_path_factory):
    """A model of the nine emotions, as the shipped one."""
    folder = tmp_path_factory.mktemp("model") / "nine"
    tiny_model(labels=EMOTIONS).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """18 clips of the nine emotions by two speakers."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for at in range(18):
        soundfile.write(folder / f"{at}.wav", synthetic_speech(0.4 + 0.02 * at, seed=at), 16_000)
        found.append(
            {"path": str(folder / f"{at}.wav"), "emotion": EMOTIONS[at % 9], "speaker": NAUGHTY if at % 2 else "Ann"}
        )
    return found


def table(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def asked(path, folder, **fields):
    told = []
    return evaluate(
        EvaluationArguments(data=[path], output_dir=str(folder), resamples=5, device="cpu", **fields), told.append
    ), told


# labels without a place


@pytest.mark.parametrize("label_set", ["iemocap4", "sentiment", "quadrants"])
def test_a_model_is_measured_among_the_labels_that_have_a_place(rows, nine, tmp_path, label_set):
    report, _ = asked(
        table(tmp_path / "m.csv", rows), tmp_path / "r", model=nine, label_set=label_set, modalities="audio"
    )
    dropped = [name for name in EMOTIONS if name in LABEL_SETS[label_set].dropped]
    assert report["labels"] == list(LABEL_SETS[label_set].labels) and report["model"]["labels_without_place"] == dropped
    assert report["data"]["without_place"] == dict.fromkeys(sorted(dropped), 2) and report["left_out"] == []
    assert report["systems"][0]["clips"] == 18 - 2 * len(dropped)
    assert any(
        f"labels of the model without a place in the label set {label_set}: {', '.join(dropped)}; " in note
        for note in report["notes"]
    )
    assert any(
        f"2 rows of {dropped[0]!r} have no place in the label set {label_set} (" in note for note in report["notes"]
    )
    stored = json.loads((tmp_path / "r" / "rows" / "all" / "model_audio.json").read_text())
    model = MultimodalEmotionClassifier.from_pretrained(nine, whisper=None)
    native = model.predict(rows[EMOTIONS.index("anger")]["path"], modalities="audio").probabilities
    merged = {
        name: sum(native[own] for own, other in LABEL_SETS[label_set].mapping.items() if other == name)
        for name in report["labels"]
    }
    assert stored["probabilities"][0] == pytest.approx(
        [value / sum(merged.values()) for value in merged.values()], abs=1e-5
    )
    with pytest.raises(LabelError, match="in the way"):
        model.predict(rows[0]["path"], label_set=label_set)  # who predicts is told, and not given half an answer


def test_what_is_no_emotion_is_not_dropped_and_two_labels_have_to_be_left():
    assert Merging.of(EMOTIONS, "ekman", drop=True).dropped == ()
    with pytest.raises(LabelError, match="urgent in the way"):
        Merging.of(["anger", "happiness", "urgent"], "sentiment", drop=True)
    with pytest.raises(LabelError, match="surprise in the way"):
        Merging.of(["anger", "surprise"], "sentiment", drop=True)
    with pytest.raises(LabelError, match="did you mean"):
        Merging.of(EMOTIONS, "sentimnet", drop=True)
    with pytest.raises(LabelError):
        Merging.of(EMOTIONS, "sentiment")
    nothing_left = Merging.of(["anger", "joy", "surprise"], "sentiment", drop=True).probabilities(
        np.array([[0.0, 0.0, 1.0]])
    )
    assert nothing_left.tolist() == [[0.5, 0.5]]


# bad rows, and rows without a label


@pytest.mark.parametrize("label_set", ["native", "ekman"])
def test_an_unknown_label_is_named_by_line_and_field_in_every_label_set(rows, nine, tmp_path, label_set, capsys):
    bad = [*rows[:5], rows[5] | {"emotion": "grumpyness"}, *rows[6:]]
    command = [
        "evaluate",
        table(tmp_path / "m.csv", bad),
        "--model",
        nine,
        "--output-dir",
        str(tmp_path / "r"),
        "--resamples",
        "5",
    ]
    assert cli.main([*command, "--label-set", label_set, "--modalities", "audio"]) == 1
    [line] = json.loads((tmp_path / "r" / "report.json").read_text())["left_out"]
    assert re.match(r"m\.csv, line 7, emotion: expected one of .* got 'grumpyness'; ", line)
    assert "1 row could not be used" in capsys.readouterr().err


def test_a_slip_of_the_pen_is_no_class_that_is_trained(rows, tmp_path):
    many = [{"text": f"so {at}", "emotion": ("joy", "anger")[at % 2], "speaker": f"s{at % 5}"} for at in range(40)]
    path = table(tmp_path / "m.csv", [*many, many[0] | {"text": "oh", "emotion": "hapiness"}])
    report, _ = asked(path, tmp_path / "r", protocol="folds", num_folds=2, baselines=["majority"], only_baselines=True)
    assert report["labels"] == ["anger", "joy"] and report["systems"][0]["clips"] == 40
    assert re.match(r"m\.csv, line 42, emotion: .*'hapiness'.*did you mean 'happiness'", report["left_out"][0])
    data = read_rows(
        EvaluationArguments(data=[path], protocol="folds", train_options={"labels": ["joy", "anger", "hapiness"]})
    )
    assert len(data.clips) == 41 and data.errors == []


def test_a_column_that_seems_to_hold_the_emotions_is_told(rows, nine, tmp_path, capsys):
    path = table(
        tmp_path / "m.csv",
        [{"path": row["path"], "feeling": row["emotion"], "speaker": row["speaker"]} for row in rows],
    )
    for command in (["evaluate", path, "--output-dir"], ["calibrate", path, "--whisper", "none", "-o"]):
        assert cli.main([*command, str(tmp_path / "r"), "--model", nine]) == 2
        assert "--columns emotion=feeling" in capsys.readouterr().err
        assert not (tmp_path / "r").exists()
    with pytest.raises(InputError, match=r"18 of them have no annotation; .*--columns emotion=feeling"):
        read_rows(EvaluationArguments(data=[path]))


def test_notes_of_a_manifest_are_told_where_it_is_measured_all_the_same(rows, nine, tmp_path):
    some = [
        {"path": row["path"], "mood": row["emotion"], "arousal": "3" if at else "", "text": "so"} for at, row in enumerate(rows)
    ]  # fmt: skip
    data = read_rows(EvaluationArguments(data=[table(tmp_path / "m.csv", some)]))
    assert (
        data.manifest_notes
        and data.manifest_notes[0] in data.notes
        and "--columns emotion=mood" in data.manifest_notes[0]
    )


def test_failed_commands_leave_no_empty_folder(rows, nine, tmp_path, capsys):
    path = table(tmp_path / "m.csv", rows)
    new = tmp_path / "a" / "b"
    assert cli.main(["evaluate", path, "--model", "/no/such/model", "--output-dir", str(new)]) == 2
    assert cli.main(["calibrate", path, "--model", "/no/such/model", "-o", str(new)]) == 2
    assert cli.main(["calibrate", path, "--model", nine, "-o", str(new), "--whisper", "none"]) == 2
    assert "expected 30 labelled rows, to fit a temperature on, got 18" in capsys.readouterr().err
    assert not new.parent.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert cli.main(["evaluate", path, "--model", "/no/such/model", "--output-dir", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_a_warning_that_is_about_no_use_of_the_library_is_kept_quiet_and_others_are_not(capsys, caplog):
    import logging

    log = logging.getLogger("torch.utils._pytree")
    before = list(log.filters)
    try:
        assert cli.main(["evaluate", "no/such/table.csv"]) == 2
        log.warning("%s is an Enum subclass. Calling register_constant() on Enum subclasses is deprecated", int)
        log.warning("something else")
        assert [record.message for record in caplog.records if record.name == log.name] == ["something else"]
    finally:
        log.filters[:] = before


# what is written


class Page(HTMLParser):
    """Tags, ids, references and the names of pictures."""

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.references, self.pictures, self.scopes = Counter(), Counter(), set(), [], Counter()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags[tag] += 1
        self.ids.update([given["id"]] if "id" in given else [])
        if tag == "th":
            self.scopes[given.get("scope")] += 1
        for value in given.values():
            self.references |= set(re.findall(r"(?:^|url\()#([^)]+)", value or ""))
        if tag == "svg":
            self.pictures.append(given["aria-label"])


@pytest.fixture(scope="module")
def written(rows, nine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    texts = [row | {"text": f"so {row['emotion']}"} for row in rows]
    asked(table(folder / "m.csv", texts), folder / "r", model=nine)
    return folder / "r"


def test_names_are_shown_as_they_are_and_never_as_markup(written):
    markdown = (written / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown and r"&lt;script>alert('\|')&lt;/script> &amp; \[x](y) \_a\_" in markdown
    [line] = [line for line in markdown.splitlines() if line.startswith("| &lt;script>") and "alert" in line][:1]
    assert len(re.findall(r"(?<!\\)\|", line)) == 5
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page


def test_the_page_is_read_by_machines_that_read_aloud(written):
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.tags["svg"] == len(page.pictures) == 7 and len(set(page.pictures)) == 7
    assert {"model, audio: accuracy over confidence", "model, text: accuracy over confidence"} <= set(page.pictures)
    assert max(page.ids.values()) == 1 and page.references <= set(page.ids)
    assert set(page.scopes) == {"col", "row"}
    assert "prefers-color-scheme: dark" in text


# folds that files cannot be named after


def test_each_fold_has_a_folder_of_its_own(tmp_path):
    names = [
        "",
        "fold 1",
        "fold 2",
        "A 1",
        "A-1",
        "A_1",
        "A/1",
        "all",
        "fold-1",
        "...",
        "Ann",
        "Ses01",
        "日本",
        "x" * 300,
        "x" * 299,
    ]
    folders = [folder_of(name) for name in names]
    assert len(set(folders)) == len(names) and all(re.fullmatch(r"[\w.-]{1,100}", name) for name in folders)
    assert folders[:3] == ["all", "fold-1", "fold-2"] and folder_of("Ann") == "Ann"
    store = AnswerStore(tmp_path, ["a"], ["x", "y"])
    for number, name in enumerate(("A 1", "A-1")):
        store.write(
            Answers(Question("n", "network", "audio", name, 1), (0,), np.array([[number, 1.0 - number]])), f"of {name}"
        )
    found = [
        store.read(Question("n", "network", "audio", name, 1), f"of {name}").probabilities[0, 0]
        for name in ("A 1", "A-1")
    ]
    assert found == [0.0, 1.0]


def test_answers_of_other_data_are_not_mixed_in(tmp_path):
    store = AnswerStore(tmp_path, ["a", "b"], ["x", "y"])
    answers = Answers(
        Question("m", "model", "audio"), (0,), np.array([[0.25, 0.75]]), {"valence": np.array([0.5])}, {1: "why"}, 1.5
    )
    store.write(answers, "one")
    again = store.read(answers.question, "one")
    assert again.rows == (0,) and again.unanswered == {1: "why"} and again.dimensions["valence"].tolist() == [0.5]
    assert store.read(Question("n", "model", "audio"), "one") is None
    with pytest.raises(InputError, match="made from other data, options or weights"):
        store.read(answers.question, "other")
    (tmp_path / answers.question.file).write_text("[]")
    with pytest.raises(InputError, match="delete it"):
        store.read(answers.question, "one")


def test_leaving_one_speaker_out_ends_whatever_speakers_are_called(rows, nine, tmp_path):
    emotions = [
        row | {"emotion": ("anger", "joy")[at // 3 % 2], "speaker": ("A 1", "A-1", "B")[at % 3]}
        for at, row in enumerate(rows)
    ]
    report, _ = asked(
        table(tmp_path / "m.csv", emotions), tmp_path / "r", model=nine, protocol="loso", modalities="audio",
        train_options={"max_steps": 1, "use_cpu": True, "freeze": ["audio", "text"], "validation_share": 0.0},
    )  # fmt: skip
    assert {fold["name"] for fold in report["protocol"]["folds"]} == {"A 1", "A-1", "B"}
    assert report["systems"][0]["clips"] == 18 and len(list((tmp_path / "r" / "runs").iterdir())) == 3
