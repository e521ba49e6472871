"""The table of metrics: a row more is in the log, the report and the card; one name for accuracy everywhere, and old files are read."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from card_checks import REPORT
from training_runs import arguments, log, table

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.evaluation import EvaluationArguments, evaluate
from multimodal_ser.evaluation.report import render_markdown
from multimodal_ser.evaluation.report.html import render_html
from multimodal_ser.hub import card_facts
from multimodal_ser.hub.card_facts import CardFacts, Measured
from multimodal_ser.hub.card_reports import facts_from_report
from multimodal_ser.hub.model_card import save_model_card
from multimodal_ser.metrics import METRICS, Metric, as_evaluate_metric
from multimodal_ser.metrics.registry import LEADING, OLD_NAMES
from multimodal_ser.testing import tiny_model
from multimodal_ser.training import TrainingArguments, train

TOYS = [
    Metric("toy", "Toy", lambda true, guessed: float(np.not_equal(true, guessed).mean()), greater_is_better=False, meaning="a toy"),
    Metric(
        "brier", "Brier", lambda true, shares: float(((np.eye(shares.shape[1])[true] - shares) ** 2).sum(1).mean()), "probabilities",
        percent=False, greater_is_better=False, interval=None,
    ),
    Metric(
        "mae", "MAE", lambda true, guessed: float(np.abs(true - guessed).mean()), "dimensions", percent=False, greater_is_better=False,
        meaning="Mean distance",
    ),
]  # fmt: skip


def manifest_of(folder):
    words = {"anger": "so angry", "happiness": "very happy", "sadness": "so sad"}
    rows = [
        {"text": f"{words[name]} {turn}", "emotion": name, "speaker": f"s{turn % 4}", "valence": 1 + (turn + place) % 5}
        for turn in range(8) for place, name in enumerate(words)
    ]  # fmt: skip
    return table(folder / "manifest.csv", rows)


def test_a_metric_is_a_row_and_is_in_log_report_and_card(tmp_path, monkeypatch, capsys):
    for toy in TOYS:
        monkeypatch.setitem(METRICS, toy.name, toy)
    manifest = manifest_of(tmp_path)
    tiny_model(labels=("anger", "happiness", "sadness"), dimensions=["valence"]).save_pretrained(tmp_path / "tiny")
    result = train(
        arguments(
            manifest, tmp_path / "run", model=str(tmp_path / "tiny"), dimensions=["valence"], num_train_epochs=3,
            learning_rate=0.01, embedding_cache=False, metric_for_best_model="brier",
        )
    )  # fmt: skip

    epochs = [line for line in log(tmp_path / "run") if "train_loss" in line]
    assert all({"toy", "brier", "mae", "mae_valence", "accuracy"} <= set(line) for line in epochs)
    assert all(line["toy"] == pytest.approx(1 - line["accuracy"]) for line in epochs)
    assert result.best_epoch == 1 + min(range(3), key=lambda at: epochs[at]["brier"])  # less is better
    assert ", Toy " in capsys.readouterr().err
    own = CardFacts.load(result.model).evaluation[0].systems[0].figures
    assert own["toy"] == pytest.approx(result.validation["toy"]) and "mae_valence" in own and "mae" not in own

    folder = tmp_path / "report"
    options = {"data": [str(manifest)], "output_dir": str(folder), "model": str(result.model)}
    [entry] = evaluate(EvaluationArguments(**options, device="cpu", resamples=20), lambda line: None)["systems"]
    assert entry["figures"]["toy"] == pytest.approx(1 - entry["figures"]["accuracy"]) and entry["figures"]["brier"] > 0
    low, high = entry["intervals"]["toy"]
    assert low <= entry["figures"]["toy"] <= high and "brier" not in entry["intervals"]
    assert set(entry["dimensions"]["valence"]) == {"clips", "ccc", "interval", "mae", "mae_interval"}
    text, page = ((folder / name).read_text() for name in ("report.md", "report.html"))
    assert (
        "| weighted F1 | ECE | Toy | Brier |" in text
        and ", Toy a toy. Intervals" in text
        and "| CCC | 95 % interval | MAE |" in text
    )
    assert f" {100 * entry['figures']['toy']:.1f} | {entry['figures']['brier']:.3f} |" in text and "Toy</th>" in page

    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    model.save_pretrained(tmp_path / "card")
    assert save_model_card(model, tmp_path / "card", facts_from_report(folder))
    card = (tmp_path / "card" / "README.md").read_text()
    measured = card[card.rindex("### Results on ") :]
    assert "| ECE | Toy | Brier |" in measured and "Mean distance:" in measured and " Toy is a toy." in card
    assert f"{100 * entry['figures']['toy']:.1f} [" in measured and f"{entry['figures']['brier']:.3f} |" in measured

    again = MultimodalEmotionClassifier.from_pretrained(tmp_path / "card", whisper=None)
    assert {"toy", "brier"} <= set(card_facts.facts_of(again).evaluation[-1].systems[0].figures)
    again.config.temperature = again.config.temperature | {"text": 3.0}  # how sure it is now, nobody has measured
    figures = card_facts.facts_of(again).evaluation[-1].systems[0].figures
    assert "toy" in figures and not {"brier", "ece"} & set(figures)


def test_a_metric_of_a_script_is_an_option_and_a_shell(monkeypatch):
    monkeypatch.setitem(METRICS, "toy", TOYS[0])
    assert TrainingArguments(data=["clips"], metric_for_best_model="toy").greater_is_better is False
    pytest.importorskip("evaluate")
    shell = as_evaluate_metric("toy", keep_in_memory=True)
    assert shell.compute(references=[0, 1], predictions=[0, 0]) == {"toy": 0.5}


def test_rows_have_the_name_that_they_are_found_by_and_are_explained_in_the_documentation():
    explained = (Path(__file__).resolve().parents[1] / "docs" / "evaluation.md").read_text()
    assert LEADING in METRICS and set(OLD_NAMES.values()) <= set(METRICS) and not set(OLD_NAMES) & set(METRICS)
    for name, metric in METRICS.items():
        assert name == metric.name
        assert metric.inputs == "words" or metric.title in explained


def old(content):
    """As version 0.1.0 wrote it."""
    return json.loads(json.dumps(content).replace('"accuracy"', '"wa"'))


def test_files_of_earlier_versions_are_read():
    assert facts_from_report(old(REPORT)) == facts_from_report(REPORT)
    facts = facts_from_report(REPORT)
    assert CardFacts.from_dict(old(facts.to_dict())) == facts and "accuracy" in facts.evaluation[0].systems[0].figures
    assert "accuracy" in asdict(Measured("audio", figures={"wa": 0.5, "ua": 0.4}))["figures"]
    assert TrainingArguments(data=["clips"], metric_for_best_model="wa").metric == "accuracy"


def test_a_report_of_an_earlier_version_is_shown_as_it_was(tmp_path):
    manifest = manifest_of(tmp_path)
    options = {"data": [str(manifest)], "output_dir": str(tmp_path / "report"), "device": "cpu", "resamples": 5}
    tiny_model(labels=("anger", "happiness", "sadness")).save_pretrained(tmp_path / "tiny")
    report = evaluate(EvaluationArguments(**options, model=str(tmp_path / "tiny")), lambda line: None)
    plain = json.loads((tmp_path / "report" / "report.json").read_text())
    plain["systems"][0].pop("reliability")
    before = plain | {
        "systems": [old(each) | {"reliability": report["systems"][0]["reliability"]} for each in plain["systems"]]
    }
    assert "wa" in before["systems"][0]["figures"]
    assert render_markdown(before) == render_markdown(report) and render_html(before) == render_html(report)
