"""The card that stands beside a saved model: valid for the Hub, and nothing in it that is not known."""

import itertools
import json
import re

import pytest
from huggingface_hub import ModelCard, ModelCardData

from multimodal_ser import MultimodalEmotionClassifier, cli
from multimodal_ser.model.card_facts import (
    FACTS_NAME,
    Calibrated,
    CardFacts,
    DataPart,
    Evaluation,
    Measured,
    Source,
    facts_of,
    source_of,
    weights_digest,
)
from multimodal_ser.model.card_reports import facts_from_calibration, facts_from_report, unnamed
from multimodal_ser.model.model_card import HUB_LICENSES, card_metadata, save_model_card
from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT
from multimodal_ser.testing import tiny_config, tiny_model

# https://github.com/huggingface/huggingface.js/blob/main/packages/tasks/src/pipelines.ts
PIPELINE_TAGS = set(
    """
    text-classification token-classification table-question-answering question-answering zero-shot-classification translation
    summarization feature-extraction text-generation fill-mask sentence-similarity text-to-speech text-to-audio automatic-speech-recognition
    audio-to-audio audio-classification audio-text-to-text voice-activity-detection depth-estimation image-classification object-detection
    image-segmentation text-to-image image-to-text image-to-image image-to-video unconditional-image-generation video-classification
    reinforcement-learning robotics tabular-classification tabular-regression tabular-to-text table-to-text multiple-choice text-ranking
    text-retrieval time-series-forecasting text-to-video image-text-to-text visual-question-answering document-question-answering
    zero-shot-image-classification graph-ml mask-generation zero-shot-object-detection text-to-3d image-to-3d image-feature-extraction
    video-text-to-text keypoint-detection visual-document-retrieval any-to-any video-to-video other
    """.split()  # noqa: SIM905
)
# https://www.loc.gov/standards/iso639-2/php/code_list.php
ISO_639_1 = set(
    re.findall(
        "..",
        "aaabaeafakamanarasavayazbabebgbhbibmbnbobrbscacechcocrcscucvcydadedvdzeeeleneoeseteufafffifjfofrfygagdglgngugvhahehihohr"
        "hthuhyhziaidieigiiikioisitiujajvkakgkikjkkklkmknkokrkskukvkwkylalblglilnloltlulvmgmhmimkmlmnmrmsmtmynanbndnengnlnnnonrnv"
        "nyocojomorospapiplpsptqurmrnrorurwsascsdsesgsiskslsmsnsosqsrssstsusvswtatetgthtitktltntotrtstttwtyugukuruzvevivowawoxhyi"
        "yozazhzu",
    )
)
METRICS = {"accuracy", "recall", "f1"}  # https://hf.co/metrics
HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
SECTIONS = [
    "Model details", "Uses", "Direct use", "Out-of-scope use and law", "Bias, risks and limitations", "Recommendations",
    "How to get started with the model", "Training details", "Training procedure", "Evaluation", "Calibration", "Environmental impact",
    "Citation", "About this card",
]  # fmt: skip


def faults(metadata):
    """What is wrong with a metadata block (https://github.com/huggingface/hub-docs/blob/main/modelcard.md)."""
    found = []

    def check(good, what):
        if not good:
            found.append(what)

    def texts(name):
        values = metadata.get(name, [])
        values = [values] if isinstance(values, str) else values
        check(isinstance(values, list) and all(isinstance(value, str) and value for value in values), f"{name}: {values!r}")
        check(name not in metadata or values, f"{name}: empty")
        return values if isinstance(values, list) else []

    known = {"license", "license_name", "license_link", "language", "library_name", "pipeline_tag", "tags", "base_model", "datasets", "metrics", "model-index"}  # fmt: skip
    check(set(metadata) <= known, f"unknown {set(metadata) - known}")
    check(None not in metadata.values(), "a field without a value")
    check(metadata.get("library_name") == "multimodal_ser", "library_name")
    check(metadata.get("pipeline_tag") in PIPELINE_TAGS, f"pipeline_tag {metadata.get('pipeline_tag')!r}")
    check("license" not in metadata or metadata["license"] in HUB_LICENSES, f"license {metadata.get('license')!r}")
    check((metadata.get("license") == "other") == ("license_name" in metadata), "license_name goes with license: other")
    check(re.fullmatch(r"[a-z0-9.+-]+", metadata.get("license_name", "x")), f"license_name {metadata.get('license_name')!r}")
    check("license_link" not in metadata or metadata.get("license") == "other", "license_link goes with license: other")
    check(set(texts("language")) <= ISO_639_1, f"language {metadata.get('language')!r}")
    check(len(set(texts("tags"))) == len(texts("tags")) > 0, "tags")
    check(set(texts("metrics")) <= METRICS, f"metrics {metadata.get('metrics')}")
    for name in ("base_model", "datasets"):
        check(all(HUB_NAME.fullmatch(value) for value in texts(name)), f"{name}: {metadata.get(name)}")
    for model in metadata.get("model-index", []):
        check(set(model) == {"name", "results"} and isinstance(model["name"], str) and model["name"], "model-index: name, results")
        for result in model["results"]:
            task, dataset = result["task"], result["dataset"]
            check(set(result) == {"task", "dataset", "metrics"}, f"model-index: {set(result)}")
            check(task["type"] in PIPELINE_TAGS and set(task) <= {"type", "name"}, f"task {task}")
            check({"type", "name"} <= set(dataset) <= {"type", "name", "config", "split", "revision", "args"}, f"dataset {dataset}")
            check(all(isinstance(dataset[name], str) and dataset[name] for name in ("type", "name")), f"dataset {dataset}")
            check(isinstance(dataset.get("args", {}), dict), f"dataset args {dataset}")
            check(result["metrics"], "no metrics")
            for metric in result["metrics"]:
                check({"type", "value"} <= set(metric) <= {"type", "value", "name", "config", "args"}, f"metric {metric}")
                check(metric["type"] in METRICS and metric["type"] in texts("metrics"), f"metric {metric['type']}")
                check(isinstance(metric["value"], float) and 0 <= metric["value"] <= 1, f"value {metric['value']!r}")
                check(isinstance(metric.get("args", {}), dict), f"metric args {metric}")
    return found


def loaded(folder):
    """The card of a folder, after the checks that every card has to pass."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    card = ModelCard.load(folder / "README.md")
    metadata = card.data.to_dict()
    assert faults(metadata) == []
    assert ModelCardData(**metadata).to_dict() == metadata  # round trip
    again = ModelCard(f"---\n{ModelCardData(**metadata).to_yaml()}\n---\n{card.text}")
    assert again.data.to_dict() == metadata and again.text.strip() == card.text.strip()
    assert text.startswith("---\n") and text.endswith("\n") and "\t" not in text
    well_formed(card.text)
    return card


def well_formed(text):
    """Each heading once and followed by something, levels that do not skip, tables whose rows are as wide as their head, closed fences."""
    plain = re.sub(r"```.*?```", "code", text, flags=re.DOTALL)
    assert "```" not in plain
    headings = re.findall(r"^(#+) (.+)$", plain, re.MULTILINE)
    names = [name for _, name in headings]
    assert len(set(names)) == len(names) and [level for level, _ in headings].count("#") == 1 and headings[0][0] == "#"
    assert [name for name in names if name in SECTIONS] == SECTIONS
    for (one, name), (other, _) in itertools.pairwise(headings):
        assert len(other) <= len(one) + 1, name
    for heading, below in re.findall(r"^(#+ .+)\n+(.*)", plain + "\nend", re.MULTILINE):
        assert below and (not below.startswith("#") or len(below.split()[0]) > len(heading.split()[0])), heading
    for block in re.findall(r"(?:^\|.*\n)+", plain + "\n", re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1 and len(block.splitlines()) > 2 and set(block.splitlines()[1]) <= set("| -"), block
        for line in block.splitlines():
            assert all(cell.strip() for cell in line.strip("|").split(" | ")) or "group |  |" in line, line
    for word in ("None", "nan", "{}", "[]", "More Information Needed", "TODO"):
        assert word not in plain, word


def section(card, title):
    """What stands between a heading and the next."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", card.text, re.MULTILINE | re.DOTALL)
    return None if found is None else found[1].strip()


def numbers(text):
    return set(re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)", text))


def forms(value):
    """How a number of the facts may be written."""
    return {
        str(value), f"{value:.3g}", f"{value:g}", f"{100 * value:.1f}", f"{100 * value:g}", f"{value:.2f}", f"{value:.3f}", f"{value:.0f}",
        f"{60 * value:.1f}", f"{3600 * value:.1f}", f"{value:.4f}",
    }  # fmt: skip


def allowed(content):
    if isinstance(content, dict):
        return set().union(*(allowed(key) | allowed(value) for key, value in content.items()))
    if isinstance(content, list):
        return set().union({str(len(content))}, *(allowed(value) for value in content))
    if isinstance(content, bool) or content is None:
        return set()
    return forms(content) if isinstance(content, int | float) else numbers(content)


def only_what_is_known(card, folder, facts):
    """No number that neither the facts, nor the configuration, nor the text of every card has."""
    config = json.loads((folder / "config.json").read_text())
    model = tiny_model()
    model.save_pretrained(folder / "blank")
    always = numbers((folder / "blank" / "README.md").read_text()) | {"95", "-1"}  # the 95 % interval; a correlation of -1 to 1
    known = {name: config.get(name) for name in ("temperature", "conformal", "fusion_layers", "text_languages", "weights_license")}
    assert numbers(card.text) <= always | allowed(facts.to_dict()) | allowed(known), numbers(card.text) - always - allowed(facts.to_dict())


REPORT = {
    "version": 1,
    "title": "Emotion recognition on calls",
    "data": {
        "manifests": ["/home/ann/calls/manifest.csv"], "data_hash": "ab" * 32, "rows": 61, "left_out": 1, "measured": 60, "recordings": 60,
        "texts": 60, "hours": 0.0517, "speakers": 4, "languages": ["de", "en"], "corpora": ["ravdess"], "classes": {"anger": 20, "happiness": 20, "sadness": 20},
        "several_admissible": 0,
    },
    "protocol": {"name": None, "trains": False, "folds": [{"name": "", "protocol": "all", "train": 0, "validation": 0, "test": 60, "leaks": [], "notes": []}], "seeds": [1]},
    "labels": ["anger", "happiness", "sadness"],
    "label_set": "native",
    "model": {"name": "/home/ann/run/best", "training_data_from": None, "training_data": [], "rows_of_seen_speakers": 0},
    "systems": [
        {
            "system": "model", "kind": "model", "case": case, "clips": 60, "unanswered": 0, "seconds": 1.5, "speakers": 4,
            "figures": {"wa": ua + 0.01, "ua": ua, "macro_f1": ua - 0.02, "weighted_f1": ua - 0.01, "ece": 0.0731, "aurc": 0.3},
            "intervals": {"wa": [ua - 0.05, ua + 0.06], "ua": [ua - 0.04, ua + 0.04], "macro_f1": [None, None], "weighted_f1": [0.4, 0.9], "ece": [0.01, 0.12]},
            "groups": {"speaker": {"Ann Lee": {"clips": 15, "wa": 0.5, "ua": 0.5, "classes": 3}}, "gender": {"female": {"clips": 31, "wa": 0.6, "ua": 0.612, "classes": 3}}},
            "dimensions": {"valence": {"clips": 60, "ccc": 0.4321, "interval": [0.3, 0.55]}},
        }
        for case, ua in (("audio + text", 0.6789), ("audio", 0.6123), ("text", 0.5234), ("audio + recognised text", 0.6543))
    ] + [{"system": "majority", "kind": "baseline", "case": "any", "clips": 60, "unanswered": 0, "seconds": 0.0, "figures": {"wa": 0.3333, "ua": 0.3333}, "intervals": {"wa": [0.3, 0.37], "ua": [0.3333, 0.3333]}}],
    "comparisons": [], "modalities": [], "robustness": [],
    "leaks": ["2 voices in train and test (30 of 60 rows of test): Ann Lee, Bo"],
    "notes": ["4 speakers are few: expect several points of difference on others"],
    "left_out": [],
    "environment": {"command": "multimodal-ser evaluate /home/ann/calls/manifest.csv"},
    "recognition": {"whisper": "base", "clips": 60, "silent": 0, "wer": 0.123},
}  # fmt: skip

CALIBRATION = {
    "label_set": "native", "rows": 240, "left_out": {}, "failed": ["ann.wav: expected ..."],
    "cases": {
        "audio": {
            "rows": 240, "speakers": 4, "calibrated": True, "temperature": {"before": 1.0, "after": 0.9333}, "ece": {"before": 0.0686, "after": 0.0644},
            "unseen_speakers": {"ece": 0.0544, "ece_interval": [0.0512, 0.13], "covered": 0.8875, "covered_interval": [0.8083, 0.9667], "worst_covered": {"speaker": "Ann Lee", "covered": 0.8}},
        },
        "text": {"rows": 2, "speakers": 1, "calibrated": False, "temperature": {"before": 1.0, "after": 3.0}, "ece": {"before": 0.5, "after": 0.4}},
    },
}  # fmt: skip
CONFORMAL = {"audio": {"coverage": 0.9, "threshold": 0.8924, "method": "lac", "label_set": "native"}}


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
    fields = {"weights_license": "cc-by-nc-sa-4.0", "text_languages": ["en", "no"], "trained_modalities": ["text"], "transcriber": "base"}
    model = tiny_model(labels=("calm", "urgent"), dimensions=["valence"], **fields)
    model.save_pretrained(tmp_path)
    card = loaded(tmp_path)
    assert card.data.license == "cc-by-nc-sa-4.0" and card.data.language == ["en", "no"]  # Norwegian, which YAML takes for a refusal
    details = section(card, "Model details")
    for words in ("cc-by-nc-sa-4.0, inherited from the weights", "**Learned from:** text.", "heard by Whisper base", "with valence"):
        assert words in details
    assert "Classes: calm, urgent." in card.text and 'predict(text="' in section(card, "How to get started with the model")


def test_law_and_what_it_is_not_for(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    said = section(loaded(tmp_path), "Out-of-scope use and law")
    for words in ("decisions about people", "lie detection", "medical use", "2024/1689", "Article 5(1)(f)", "Article 50(3)", "workplace"):
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
        ("My Licence 1.0", {"license": "other", "license_name": "my-licence-1.0"}), (None, {}), ("", {}),
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
    config.audio_config._name_or_path, config.text_config._name_or_path = "facebook/wav2vec2-base", "google-bert/bert-base-uncased"
    assert card_metadata(config).base_model == ["facebook/wav2vec2-base", "google-bert/bert-base-uncased"]
    for name in ("/home/ann/models/wav2vec2", "runs/mine", "./x", "a/b/c", "", "a b/c"):
        config.audio_config._name_or_path = name
        assert card_metadata(config).base_model == ["google-bert/bert-base-uncased"], name
    facts = CardFacts(started_from=Source("me/old", hub=True))
    assert card_metadata(config, facts).base_model == ["me/old"]
    assert card_metadata(config, facts, model_id="me/old").base_model is None  # not of itself
    assert card_metadata(config, CardFacts(started_from=Source("run/best"))).base_model == ["google-bert/bert-base-uncased"]
    assert card_metadata(config, CardFacts(started_from=Source("me/x](https://evil)", hub=True))).base_model == [
        "google-bert/bert-base-uncased"
    ]


def test_the_checker_finds_faults():
    good = {"library_name": "multimodal_ser", "pipeline_tag": "audio-classification", "tags": ["a"], "license": "mit", "language": ["en"]}
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
    assert index["name"] == "my-emotions" and result["dataset"]["type"] == "ravdess" and metadata["metrics"] == ["accuracy", "f1", "recall"]
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
    assert "| majority | nothing | 60 | 33.3 [33.3 to 33.3] |" in said and "Whisper base, word error rate 12.3 %" in said
    assert "| valence | 0.432 [0.300 to 0.550] |" in said and "Leak: 2 voices in train and test (30 of 60 rows of test)." in said
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
    assert [entry.data_hash[:2] for entry in both.evaluation] == ["ab", "cd"] and both.evaluation[0].labels == ["anger", "happiness"]
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
    assert unnamed("fold 2: not refused, but worth knowing: 2 sentences in train and test (3 of 4 rows of test): I love Ann., No.") == (
        "fold 2: 2 sentences in train and test (3 of 4 rows of test)"
    )
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
    assert "| recording alone | 0.933 | 240 rows, 4 speakers | 6.9 before, 6.4 after, 5.4 [5.1 to 13.0] on speakers left out |" in said
    assert "| words alone | 1 | not recorded | not measured |" in said and "logits are divided" in said
    assert "| recording alone | 90 | 0.892 | labels that are probable enough by themselves (lac) | native | 88.8 [80.8 to 96.7] |" in said
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
    assert facts_of(again).calibration["audio"].rows == 240 and "ece" in facts_of(again).evaluation[0].systems[0].figures
    again.config.temperature = {"both": 1.0, "audio": 2.0, "text": 1.0}
    again.save_pretrained(tmp_path / "b")
    card = loaded(tmp_path / "b")
    assert "| recording alone | 2 | not recorded | not measured |" in section(card, "Calibration")
    results = section(card, "Results on ravdess")
    assert "ECE" not in results and "61.2 [57.2 to 65.2]" in results  # the order of the classes is as it was


# facts that go with the weights


def rich():
    return CardFacts(
        training_data=[DataPart("my calls", rows=20, recordings=20, texts=0, hours=0.25, speakers=3, languages=["de"], licence="CC BY 4.0", dataset="emodb"), DataPart("other <b>|\n# x")],
        procedure={"epochs": 15, "learning rate": 0.002, "augmentation": "speed"}, versions={"torch": "2.14.1"},
        environment={"device": "cpu", "hours": 0.0123}, calibration={"text": Calibrated(rows=7)},
        evaluation=[Evaluation("x", systems=[Measured("audio", figures={"ua": 0.5})])], started_from=Source("me/old", hub=True, told="Secret | data"),
    )  # fmt: skip


def test_facts_survive_json_and_saving_and_loading(tmp_path):
    facts = rich()
    assert CardFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
    model = tiny_model()
    model.card_facts = facts
    model.save_pretrained(tmp_path / "a")
    once = MultimodalEmotionClassifier.from_pretrained(tmp_path / "a", whisper=None)
    once.save_pretrained(tmp_path / "b")
    twice = MultimodalEmotionClassifier.from_pretrained(tmp_path / "b", whisper=None)
    twice.save_pretrained(tmp_path / "c")
    for name in (FACTS_NAME, "README.md"):
        assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    card = loaded(tmp_path / "c")
    assert card.data.language == ["de"] and card.data.datasets == ["emodb"] and card.data.base_model == ["me/old"]
    data = section(card, "Training data")
    assert "| my calls | training | 20 | 20 | 0 | 15.0 min | 3 | de | CC BY 4.0 |" in data and "> Secret | data" in data
    assert "| other &lt;b>\\| # x | training | unknown | unknown | unknown | unknown | unknown | unknown | unknown |" in data
    assert section(card, "Training procedure").splitlines() == [
        "- epochs: 15",
        "- learning rate: 0.002",
        "- augmentation: speed",
        "- software: torch 2.14.1",
    ]
    only_what_is_known(card, tmp_path / "c", facts)


def test_other_weights_start_from_what_was_known_and_claim_nothing_of_it(tmp_path):
    model = tiny_model()
    model.card_facts = CardFacts(training_data=[DataPart("my calls", rows=20)]) | facts_from_report(REPORT)
    model.save_pretrained(tmp_path / "first")
    changed = MultimodalEmotionClassifier.from_pretrained(tmp_path / "first", whisper=None)
    changed.classifier.bias.data += 1
    changed.save_pretrained(tmp_path / "second")
    card = loaded(tmp_path / "second")
    name = f"{tmp_path.name}/first"
    assert f"The weights started from {name}." in section(card, "Training details")
    assert f"Before that, {name} was trained on:\n\n| data" in section(card, "Training data") and "| my calls | training | 20 |" in section(
        card, "Training data"
    )
    assert section(card, "Evaluation") == "Not measured, as far as is recorded." and card.data.eval_results is None
    half = MultimodalEmotionClassifier.from_pretrained(tmp_path / "first", whisper=None).half()  # not what was measured
    half.save_pretrained(tmp_path / "half")
    assert CardFacts.load(tmp_path / "half").evaluation == []
    new_head = MultimodalEmotionClassifier.from_pretrained(tmp_path / "first", labels=["a", "b"], whisper=None)
    new_head.save_pretrained(tmp_path / "head")
    assert CardFacts.load(tmp_path / "head").started_from.name == name


def test_a_folder_that_tells_nothing_is_not_named(tmp_path):
    tiny_model().save_pretrained(tmp_path / "somebody")
    changed = MultimodalEmotionClassifier.from_pretrained(tmp_path / "somebody", whisper=None)
    assert facts_of(changed) == CardFacts(temperature=dict.fromkeys(("both", "audio", "text"), 1.0), weights=weights_digest(changed))
    changed.classifier.bias.data += 1
    assert facts_of(changed) is None and facts_of(tiny_model()) is None and source_of(tiny_model()) is None


def test_what_starts_from_the_shipped_checkpoint_tells_its_data_and_inherits_its_licence(tmp_path):
    from multimodal_ser.corpora import ManifestRow
    from multimodal_ser.evaluation.provenance import provenance

    classifier = MultimodalEmotionClassifier.from_pretrained(labels=["calm", "urgent"], whisper=None)
    classifier.save_pretrained(tmp_path)
    card = loaded(tmp_path)
    assert card.data.license == "cc-by-nc-sa-4.0" and card.data.base_model is None
    assert "started from the checkpoint that ships" in section(card, "Training details")
    assert "> | EmoDB (German, acted)" in section(card, "Training data")
    known = provenance(str(tmp_path), [ManifestRow(text="Yes!", emotion="joy", corpus="emodb")])
    assert "the card names emodb" in known.notes[0]  # evaluation reads it there


def test_facts_of_another_model_are_taken_away(tmp_path):
    model = tiny_model()
    model.card_facts = rich()
    model.save_pretrained(tmp_path)
    tiny_model(seed=1).save_pretrained(tmp_path)
    assert "my calls" not in (tmp_path / "README.md").read_text() + (tmp_path / FACTS_NAME).read_text()


@pytest.mark.parametrize("content", ["{", "[]", '{"training_data": [{"rows": 3}]}', '{"procedure": {"a": [1]}}', '{"evaluation": [{"name": "x", "rows": "many"}]}', '{"weights": 3}'])  # fmt: skip
def test_facts_that_are_none_are_told_and_do_not_stand_in_the_way(tmp_path, content):
    tiny_model().save_pretrained(tmp_path / "a")
    (tmp_path / "a" / FACTS_NAME).write_text(content)
    with pytest.raises(ValueError, match="expected"):
        CardFacts.load(tmp_path / "a")
    classifier = MultimodalEmotionClassifier.from_pretrained(tmp_path / "a", whisper=None)
    with pytest.warns(UserWarning, match="its card is written without it"):
        classifier.save_pretrained(tmp_path / "b")
    assert section(loaded(tmp_path / "b"), "Evaluation").startswith("Not measured")


def test_names_that_this_version_does_not_know_are_left_out():
    assert CardFacts.from_dict({"procedure": {"epochs": 3}, "colour": "red", "training_data": [{"name": "x", "smell": 1}]}) == CardFacts(
        procedure={"epochs": 3}, training_data=[DataPart("x")]
    )


def test_a_card_that_somebody_wrote_is_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("Mine.")
    tiny_model().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "Mine."
    assert (
        save_model_card(tiny_model(), tmp_path, rich()) is False and CardFacts.load(tmp_path).procedure["epochs"] == 15
    )  # the facts are kept
    (tmp_path / "README.md").unlink()
    tiny_model(labels=("a", "b")).save_pretrained(tmp_path)
    tiny_model(labels=("c", "d")).save_pretrained(tmp_path)  # one of ours is kept up to date
    assert "c, d" in (tmp_path / "README.md").read_text()


# a run


def test_a_run_tells_its_card_what_it_was(tmp_path):
    import csv

    import soundfile

    from multimodal_ser.testing import synthetic_speech
    from multimodal_ser.training import TrainingArguments, train

    rows = []
    for number in range(16):
        soundfile.write(tmp_path / f"{number}.wav", synthetic_speech(0.4, seed=number, pitch=110 + 60 * (number % 2)), 16_000)
        rows.append({"path": f"{number}.wav", "emotion": ("happy", "sad")[number % 2], "speaker": ("Ann", "Bo", "Cy", "Dee")[number // 4], "language": "German", "corpus": "emodb" if number < 12 else ""})  # fmt: skip
    with open(tmp_path / "secrets.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    tiny_model(weights_license="mit").save_pretrained(tmp_path / "tiny")
    given = {
        "data": [str(tmp_path / "secrets.csv")],
        "output_dir": str(tmp_path / "run"),
        "model": str(tmp_path / "tiny"),
        "num_train_epochs": 2,
        "learning_rate": 0.003,
    }
    given |= {
        "validation_speakers": ["Bo"],
        "test_speakers": ["Dee"],
        "disable_tqdm": True,
        "report_to": [],
        "use_cpu": True,
        "augmentation": ["gain"],
        "seed": 7,
    }
    result = train(TrainingArguments(**given))
    card, facts = loaded(result.model), CardFacts.load(result.model)
    assert card.data.datasets == ["emodb"] and card.data.language == ["de"] and card.data.license == "mit"
    assert [(part.name, part.part, part.rows, part.speakers) for part in facts.training_data] == [
        ("EmoDB", "training", 8, 2), ("EmoDB", "validation", 4, 1), ("secrets.csv", "test", 4, 1),
    ]  # fmt: skip
    procedure = section(card, "Training procedure")
    for said in (
        "learning rate: 0.003",
        "seed: 7",
        "epochs: 2",
        "augmentation: gain",
        "rows a step: 16",
        "precision: float32",
        "optimizer: AdamW",
        "torch 2",
        "trained parts: fusion, head",
    ):
        assert said in procedure, said
    assert "CC BY 4.0" in section(card, "Training data") and "EmoDB" in section(card, "Citation")
    validation = section(card, "Results on the validation rows of the run")
    assert f"{100 * result.validation['ua']:.1f}" in validation and f"epoch that was kept: {result.best_epoch}" in procedure
    assert (
        "the epoch was chosen on these rows: their figures are too good" in validation
        and "Not measured: words alone, recording and words." in validation
    )
    assert f"{100 * result.test['ua']:.1f}" in section(card, "Results on the test rows of the run") and card.data.eval_results is None
    assert "- device: cpu" in section(card, "Environmental impact") and re.search(
        r"- time: \d+\.\d (s|min)", section(card, "Environmental impact")
    )
    only_what_is_known(card, result.model, facts)
    written = (result.model / "README.md").read_text() + (result.model / FACTS_NAME).read_text()
    for private in ("Ann", "Bo\b", "Dee", str(tmp_path)):
        assert private not in written
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    save_model_card(model, result.model, facts_from_report(REPORT))  # what push does
    both = loaded(result.model)
    assert section(both, "Results on ravdess") and section(both, "Results on the test rows of the run") and both.data.eval_results
