"""The card that stands beside a saved model: valid for the Hub, and nothing in it that is not known."""

import json
import re

import pytest
from card_checks import CALIBRATION, CONFORMAL, REPORT, faults, loaded, numbers, only_what_is_known, section
from huggingface_hub import ModelCard, ModelCardData

from multimodal_ser import MultimodalEmotionClassifier, cli
from multimodal_ser.hub.card_facts import FACTS_NAME, CardFacts, DataPart, Evaluation, Measured, Source, facts_of
from multimodal_ser.hub.card_reports import facts_from_calibration, facts_from_report, unnamed
from multimodal_ser.hub.model_card import card_metadata, save_model_card
from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT
from multimodal_ser.testing import tiny_config, tiny_model

# what is not known


def test_of_a_model_of_which_nothing_is_known_nothing_is_claimed(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    card = loaded(tmp_path)
    assert card.data.to_dict() == {
        "library_name": "multimodal_ser", "pipeline_tag": "audio-classification", "tags": ["speech-emotion-recognition", "multimodal"],
    }  # fmt: skip
    for title, said in {
        "Model details": "**Licence of the weights:** unknown; it is the author's to say.",
        "Training details": "What the weights started from is not recorded.\n\nTraining data: not recorded.",
        "Training procedure": "Not recorded.",
        "Evaluation": "Not measured, as far as is recorded.",
        "Bias, risks and limitations": "was not measured",
        "Calibration": "Label sets: not calibrated.",
        "Environmental impact": "- energy: not measured\n- carbon emitted: not computed",
        "Citation": "No publication of this model is recorded.",
    }.items():
        assert said in section(card, title), title
    assert section(card, "Training data") is None  # evaluation would take it for what the model has seen
    assert "accuracy" not in card.text.lower() and "developed by:** not recorded" in card.text.lower()
    assert numbers(section(card, "Calibration")) == {"1"} and not numbers(section(card, "Environmental impact"))


def test_a_card_says_what_the_configuration_knows(tmp_path):
    fields = {
        "weights_license": "cc-by-nc-sa-4.0",
        "text_languages": ["en", "no"],
        "trained_modalities": ["text"],
        "transcriber": "base",
    }
    model = tiny_model(labels=("calm", "urgent"), dimensions=["valence"], **fields)
    model.save_pretrained(tmp_path)
    card = loaded(tmp_path)
    assert card.data.license == "cc-by-nc-sa-4.0" and card.data.language == [
        "en",
        "no",
    ]  # Norwegian, which YAML takes for a refusal
    details = section(card, "Model details")
    for words in (
        "cc-by-nc-sa-4.0, inherited from the weights",
        "**Learned from:** text.",
        "heard by Whisper base",
        "with valence",
    ):
        assert words in details
    assert "Classes: calm, urgent." in card.text and 'predict(text="' in section(
        card, "How to get started with the model"
    )


def test_law_and_what_it_is_not_for(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    said = section(loaded(tmp_path), "Out-of-scope use and law")
    for words in (
        "decisions about people",
        "lie detection",
        "medical use",
        "2024/1689",
        "Article 5(1)(f)",
        "Article 50(3)",
        "workplace",
    ):
        assert words in said


def test_the_code_of_a_card_runs(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    save_model_card(model, tmp_path, model_id="me/my-emotions")
    code = re.search(r"```python\n(.*?)```", loaded(tmp_path).text, re.DOTALL)[1]
    assert 'from_pretrained("me/my-emotions")' in code
    code = code.replace('"me/my-emotions"', f'{str(tmp_path)!r}, whisper=None').replace('"call.wav"', "__import__('numpy').ones(8000), sampling_rate=16000")  # fmt: skip
    names = {"print": lambda label, confidence: names.update(label=label)}
    exec(code, names)
    assert names["label"] in model.labels


# metadata


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cc-by-nc-sa-4.0", {"license": "cc-by-nc-sa-4.0"}), ("CC BY-NC-SA 4.0", {"license": "cc-by-nc-sa-4.0"}), ("MIT", {"license": "mit"}),
        ("My Licence 1.0", {"license": "other", "license_name": "my-licence-1.0"}), ("Ours+ 2", {"license": "other", "license_name": "ours-plus-2"}),
        ("OpenRAIL++", {"license": "openrail++"}), (None, {}), ("", {}),
    ],
)  # fmt: skip
def test_the_licence_is_one_that_the_hub_knows_or_a_named_other(tmp_path, given, expected):
    model = tiny_model(weights_license=given)
    model.save_pretrained(tmp_path)
    found = {name: value for name, value in loaded(tmp_path).data.to_dict().items() if name.startswith("license")}
    assert found == expected
    (tmp_path / "LICENSE").write_text("...")
    save_model_card(model, tmp_path)
    link = loaded(tmp_path).data.to_dict().get("license_link")
    assert link == ("LICENSE" if expected.get("license") == "other" else None)


def test_branches_from_the_hub_are_the_base_models_and_folders_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    config = tiny_config()
    config.audio_config._name_or_path, config.text_config._name_or_path = (
        "facebook/wav2vec2-base",
        "google-bert/bert-base-uncased",
    )
    assert card_metadata(config).base_model == ["facebook/wav2vec2-base", "google-bert/bert-base-uncased"]
    for name in ("/home/ann/models/wav2vec2", "runs/mine", "./x", "a/b/c", "", "a b/c"):
        config.audio_config._name_or_path = name
        assert card_metadata(config).base_model == ["google-bert/bert-base-uncased"], name
    facts = CardFacts(started_from=Source("me/old", hub=True))
    assert card_metadata(config, facts).base_model == ["me/old"]
    assert card_metadata(config, facts, model_id="me/old").base_model is None  # not of itself
    assert card_metadata(config, CardFacts(started_from=Source("run/best"))).base_model == [
        "google-bert/bert-base-uncased"
    ]
    assert card_metadata(config, CardFacts(started_from=Source("me/x](https://evil)", hub=True))).base_model == [
        "google-bert/bert-base-uncased"
    ]


def test_names_bring_no_markdown_along(tmp_path):
    """Names come from tables, folders and files of others: no picture, link, code, HTML, heading or cell of theirs is one of the card's."""
    name = "![x](http://evil.example/p.png) [go](javascript:alert(1)) `a` **b** <img>|\n# Head ``` {{ 7 * 6 }} {% x %} \\| \\"
    model = tiny_model(
        labels=(name, "b"),
        dimensions=[name],
        text_languages=["en", name],
        transcriber=name,
        weights_license=name,
        trained_modalities=[name],
    )
    measured = [Measured(name, name, "baseline", figures={"ua": 0.5, f"ccc_{name}": 0.1})]
    measured += [Measured("audio", figures={"ua": 0.5}, groups={name: {name: {"rows": 1.0, "ua": 0.5}}})]
    model.card_facts = CardFacts(
        [DataPart(name, dataset=name, licence=name, languages=[name])], {name: name}, {name: name}, {name: name},
        [Evaluation(name, protocol=name, datasets=[name], languages=[name], whisper=name, leaks=[name], notes=[name], systems=measured, model=name)],
        started_from=Source(name),
    )  # fmt: skip
    model.save_pretrained(tmp_path)
    card = loaded(tmp_path)
    plain = re.sub(r"```python.*?```|https://huggingface.co", "", card.text, flags=re.DOTALL)
    assert card.text.count("{{ 7 \\* 6 }} {% x %}") > 20 and "42" not in card.text
    assert "evil" in plain and not re.search(
        r"\]\(|<|(?<!\\)`(?!multimodal|wav2vec2|bert)|^# Head", re.sub(r"`[\w-]+[\w -]*`", "", plain), re.MULTILINE
    )
    assert all(line.count("**") in (0, 2) for line in plain.replace("\\*", "").splitlines())
    assert card.data.datasets is None and re.fullmatch("[a-z0-9.-]+", card.data.license_name)
    assert "\n" not in card.data.eval_results[0].dataset_name + card.data.eval_results[0].dataset_type


def test_the_card_of_transformers_trainer_gives_way_to_ours(tmp_path):
    """Trainer's push writes one over ours, without the licence; it is no person's."""
    from transformers import Trainer, TrainingArguments

    model = tiny_model(weights_license="cc-by-nc-sa-4.0")
    trainer = Trainer(model, TrainingArguments(tmp_path, report_to="none", use_cpu=True))
    trainer.save_model()
    assert loaded(tmp_path).data.license == "cc-by-nc-sa-4.0"
    trainer.create_model_card(model_name="mine")  # what trainer.push_to_hub() does
    assert ModelCard.load(tmp_path / "README.md").data.license is None
    model.save_pretrained(tmp_path)
    assert loaded(tmp_path).data.license == "cc-by-nc-sa-4.0"
    trainer.create_model_card(model_name="mine", license=model.config.weights_license)  # what the docs advise
    card = tmp_path / "README.md"
    assert ModelCard.load(card).data.license == "cc-by-nc-sa-4.0"
    card.write_text(
        re.sub(r"<!--.*?-->", "", card.read_text(), flags=re.DOTALL)
    )  # what Trainer asks of whoever edits it
    model.save_pretrained(tmp_path)
    assert "Training hyperparameters" in card.read_text()


def test_the_checker_finds_faults():
    good = {
        "library_name": "multimodal_ser",
        "pipeline_tag": "audio-classification",
        "tags": ["a"],
        "license": "mit",
        "language": ["en"],
    }
    assert faults(good) == []
    for changed in (
        {"license": "MIT License"}, {"license": "other"}, {"license_name": "mine"}, {"language": ["English"]}, {"language": []}, {"language": [False]},
        {"pipeline_tag": "speech-emotion-recognition"}, {"datasets": ["/home/x"]}, {"base_model": ["a/b/c"]}, {"metrics": ["ua"]}, {"tags": ["a", "a"]},
        {"library_name": None}, {"co2": 3}, {"model-index": [{"name": "", "results": []}]},
        {"model-index": [{"name": "m", "results": [{"task": {"type": "ser"}, "dataset": {"type": "x", "name": "x"}, "metrics": [{"type": "f1", "value": 0.5}]}]}]},
    ):  # fmt: skip
        assert faults(good | changed), changed


def test_the_card_that_ships_is_valid():
    card = ModelCard.load(SHIPPED_CHECKPOINT / "README.md")
    assert faults(card.data.to_dict()) == [] and ModelCardData(**card.data.to_dict()).to_dict() == card.data.to_dict()
    assert "license: cc-by-nc-sa-4.0" in (SHIPPED_CHECKPOINT / "README.md").read_text()


# what a report knows


def test_a_report_fills_metadata_and_tables(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    facts = facts_from_report(tmp_path / "report.json")
    assert facts == facts_from_report(REPORT) == facts_from_report(tmp_path)
    save_model_card(model, tmp_path, facts, model_id="me/my-emotions")
    card = loaded(tmp_path)
    metadata = card.data.to_dict()
    [index] = metadata["model-index"]
    [result] = index["results"]
    assert (
        index["name"] == "my-emotions"
        and result["dataset"]["type"] == "ravdess"
        and metadata["metrics"] == ["accuracy", "f1", "recall"]
    )
    assert {(each["name"], each["value"]) for each in result["metrics"] if each["type"] == "recall"} == {
        ("UA, recording and words", 0.6789), ("UA, recording alone", 0.6123), ("UA, words alone", 0.5234),
        ("UA, recording and recognised words", 0.6543),
    }  # fmt: skip
    assert "datasets" not in metadata  # measured on, not learned from
    said = section(card, "Results on ravdess")
    rows = [line for line in said.splitlines() if line.startswith("| **this model**") and "valence" not in line]
    assert [row.split(" | ")[1] for row in rows] == [
        "recording alone",
        "words alone",
        "recording and words",
        "recording and recognised words",
    ]
    assert rows[0].startswith(
        "| **this model** | recording alone | 60 | 61.2 [57.2 to 65.2] | 62.2 [56.2 to 67.2] | 59.2 | 60.2 [40.0 to 90.0] | 7.3 [1.0 to 12.0] |"
    )
    assert (
        "| majority | nothing | 60 | 33.3 [33.3 to 33.3] |" in said and "Whisper base, word error rate 12.3 %" in said
    )
    assert (
        "| valence | 0.432 [0.300 to 0.550] |" in said
        and "Leak: 2 voices in train and test (30 of 60 rows of test)." in said
    )
    assert "The report names the model run/best." in said and "4 speakers are few" in said
    assert "| recording alone | gender | female | 31 | 61.2 |" in section(card, "Bias, risks and limitations")
    only_what_is_known(card, tmp_path, facts)
    for private in ("Ann", "Bo", "/home", "multimodal-ser evaluate /"):
        assert private not in (tmp_path / "README.md").read_text() + (tmp_path / FACTS_NAME).read_text()


def test_models_trained_alike_are_not_taken_for_this_one(tmp_path):
    protocol = {
        "name": "emobox-ravdess",
        "trains": True,
        "seeds": [1, 2],
        "folds": REPORT["protocol"]["folds"] * 5,
        "training": {"audio_model": "/home/ann/x"},
    }
    systems = [{**REPORT["systems"][1], "kind": "network", "system": "network"}]
    facts = facts_from_report(REPORT | {"protocol": protocol, "systems": systems, "model": None, "leaks": []})
    model = tiny_model()
    model.save_pretrained(tmp_path)
    save_model_card(model, tmp_path, facts)
    card = loaded(tmp_path)
    said = section(card, "Results on ravdess")
    assert (
        "Measured were models trained in the same way, one a fold, 2 seeds each; not these weights." in said
        and "**this model**" not in said
    )
    assert "Not measured: words alone, recording and words." in said and "Leaks: the report names none." in said
    assert all("models trained alike on 5 folds" in each.metric_name for each in card.data.eval_results)
    only_what_is_known(card, tmp_path, facts)


def test_several_reports_stand_side_by_side_and_the_same_one_once(tmp_path):
    one = facts_from_report(REPORT)
    again = facts_from_report(REPORT | {"labels": ["anger", "happiness"]})
    other = facts_from_report(REPORT | {"data": REPORT["data"] | {"data_hash": "cd" * 32}})
    both = one | again | other
    assert [entry.data_hash[:2] for entry in both.evaluation] == ["ab", "cd"] and both.evaluation[0].labels == [
        "anger",
        "happiness",
    ]
    model = tiny_model()
    model.save_pretrained(tmp_path)
    save_model_card(model, tmp_path, both)
    card = loaded(tmp_path)
    assert section(card, "Results on ravdess") and section(card, "Results on ravdess, 2")


@pytest.mark.parametrize(
    ("given", "says"),
    [({}, "version"), ({"version": 2}, "expected version 1 of report.json, got 2"), (REPORT | {"systems": [{"kind": "model", "figures": {"ua": 1}}]}, "case"), (REPORT | {"data": []}, "report.json of multimodal-ser evaluate")],
)  # fmt: skip
def test_what_is_no_report_is_told(given, says):
    with pytest.raises(ValueError, match=says):
        facts_from_report(given)


def test_a_report_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"report\.json: expected report\.json, got no file"):
        facts_from_report(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        facts_from_report(tmp_path / "report.json")


def test_names_behind_colons_are_left_out():
    assert unnamed(
        "fold 2: not refused, but worth knowing: 2 sentences in train and test (3 of 4 rows of test): I love Ann., No."
    ) == ("fold 2: 2 sentences in train and test (3 of 4 rows of test)")
    assert unnamed("only the folds 1, 2 were run") == "only the folds 1, 2 were run"


# calibration


def test_temperatures_and_label_sets_are_shown_with_what_they_mean(tmp_path, capsys):
    model = tiny_model(temperature={"both": 1.0, "audio": 0.9333, "text": 1.0}, conformal=CONFORMAL)
    model.save_pretrained(tmp_path)
    facts = facts_from_calibration(CALIBRATION)
    assert list(facts.calibration) == ["audio"]  # the other was left as it was
    save_model_card(model, tmp_path, facts)
    card = loaded(tmp_path)
    said = section(card, "Calibration")
    assert (
        "| recording alone | 0.933 | 240 rows, 4 speakers | 6.9 before, 6.4 after, 5.4 [5.1 to 13.0] on speakers left out |"
        in said
    )
    assert "| words alone | 1 | not recorded | not measured |" in said and "logits are divided" in said
    assert (
        "| recording alone | 90 | 0.892 | labels that are probable enough by themselves (lac) | native | 88.8 [80.8 to 96.7] |"
        in said
    )
    assert "for one speaker, one emotion or other recordings it may be less" in " ".join(said.split())
    only_what_is_known(card, tmp_path, facts)
    assert cli.main(["info", "--model", str(tmp_path)]) == 0
    assert re.search(r"^conformal +audio coverage 0\.9, .*threshold 0\.8924", capsys.readouterr().out, re.MULTILINE)
    assert cli.main(["info", "--model", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["conformal"] == CONFORMAL


def test_temperatures_changed_since_take_what_was_measured_of_them_along(tmp_path):
    model = tiny_model(temperature={"both": 1.0, "audio": 0.9333, "text": 1.0})
    model.save_pretrained(tmp_path / "a")
    save_model_card(model, tmp_path / "a", facts_from_calibration(CALIBRATION) | facts_from_report(REPORT))
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path / "a", whisper=None)
    assert (
        facts_of(again).calibration["audio"].rows == 240 and "ece" in facts_of(again).evaluation[0].systems[0].figures
    )
    again.config.temperature = {"both": 1.0, "audio": 2.0, "text": 1.0}
    again.save_pretrained(tmp_path / "b")
    card = loaded(tmp_path / "b")
    assert "| recording alone | 2 | not recorded | not measured |" in section(card, "Calibration")
    results = section(card, "Results on ravdess")
    assert "ECE" not in results and "61.2 [57.2 to 65.2]" in results  # the order of the classes is as it was
