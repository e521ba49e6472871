"""What is known of a model goes with its weights: through saving, loading, training, and into the next model's card."""

import json
import re

import pytest
from card_checks import REPORT, loaded, only_what_is_known, section

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.hub.card_facts import (
    FACTS_NAME,
    Calibrated,
    CardFacts,
    DataPart,
    Evaluation,
    Measured,
    Source,
    facts_of,
    source_of,
)
from multimodal_ser.hub.card_reports import facts_from_report
from multimodal_ser.hub.model_card import save_model_card
from multimodal_ser.model.fingerprint import weights_digest
from multimodal_ser.testing import synthetic_speech, tiny_model

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
        assert (
            (tmp_path / "c" / name).read_bytes()
            == (tmp_path / "b" / name).read_bytes()
            == (tmp_path / "a" / name).read_bytes()
        )
    card = loaded(tmp_path / "c")
    assert card.data.language == ["de"] and card.data.datasets == ["emodb"] and card.data.base_model == ["me/old"]
    data = section(card, "Training data")
    assert "| my calls | training | 20 | 20 | 0 | 15.0 min | 3 | de | CC BY 4.0 |" in data and "> Secret | data" in data
    assert (
        "| other &lt;b>\\| # x | training | unknown | unknown | unknown | unknown | unknown | unknown | unknown |"
        in data
    )
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
    assert f"Before that, {name} was trained on:\n\n| data" in section(
        card, "Training data"
    ) and "| my calls | training | 20 |" in section(card, "Training data")
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
    assert facts_of(changed) == CardFacts(
        temperature=dict.fromkeys(("both", "audio", "text"), 1.0), weights=weights_digest(changed)
    )
    changed.classifier.bias.data += 1
    assert facts_of(changed) is None and facts_of(tiny_model()) is None and source_of(tiny_model()) is None


def test_what_starts_from_the_shipped_checkpoint_tells_its_data_and_inherits_its_licence(tmp_path):
    from multimodal_ser.corpora import ManifestRow
    from multimodal_ser.corpora.provenance import provenance

    classifier = MultimodalEmotionClassifier.from_pretrained(labels=["calm", "urgent"], whisper=None)
    classifier.save_pretrained(tmp_path)
    card = loaded(tmp_path)
    assert card.data.license == "cc-by-nc-sa-4.0" and card.data.base_model is None
    assert "started from the checkpoint that ships" in section(card, "Training details")
    assert "> | EmoDB (German, acted)" in section(card, "Training data")
    known = provenance(str(tmp_path), [ManifestRow(text="Yes!", emotion="joy", corpus="emodb")])
    assert "the card names emodb" in known.notes[0]  # evaluation reads it there


def test_a_branch_that_is_taken_out_takes_its_licence_along(tmp_path):
    start = tiny_model(weights_license="cc-by-nc-sa-4.0")
    start.model.audio_branch.encoder.save_pretrained(tmp_path / "audio")
    tiny_model(weights_license="mit").model.text_branch.encoder.save_pretrained(tmp_path / "text")
    tiny_model().model.text_branch.encoder.save_pretrained(tmp_path / "free")

    def licence(audio, text, **fields):
        model = MultimodalEmotionClassifier.from_pretrained_backbones(
            audio, text, ["a", "b"], processor=start.processor, **fields
        )
        model.save_pretrained(tmp_path / "made")
        return loaded(tmp_path / "made").data.to_dict().get("license_name", loaded(tmp_path / "made").data.license)

    assert licence(tmp_path / "audio", tmp_path / "free") == "cc-by-nc-sa-4.0"
    assert licence(start.model.audio_branch.encoder, tmp_path / "free") == "cc-by-nc-sa-4.0"
    assert licence(tmp_path / "audio", tmp_path / "text") == "cc-by-nc-sa-4.0-and-mit"
    assert licence(tiny_model().model.audio_branch.encoder, tmp_path / "free") is None  # other backbones owe nothing
    assert (
        licence(tmp_path / "audio", tmp_path / "free", weights_license="apache-2.0") == "apache-2.0"
    )  # whoever says so


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
    assert CardFacts.from_dict(
        {"procedure": {"epochs": 3}, "colour": "red", "training_data": [{"name": "x", "smell": 1}]}
    ) == CardFacts(procedure={"epochs": 3}, training_data=[DataPart("x")])


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

    from multimodal_ser.training import TrainingArguments, train

    rows = []
    for number in range(16):
        soundfile.write(
            tmp_path / f"{number}.wav", synthetic_speech(0.4, seed=number, pitch=110 + 60 * (number % 2)), 16_000
        )
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
    assert (
        f"{100 * result.validation['ua']:.1f}" in validation
        and f"epoch that was kept: {result.best_epoch}" in procedure
    )
    assert (
        "the epoch was chosen on these rows: their figures are too good" in validation
        and "Not measured: words alone, recording and words." in validation
    )
    assert (
        f"{100 * result.test['ua']:.1f}" in section(card, "Results on the test rows of the run")
        and card.data.eval_results is None
    )
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
    assert (
        section(both, "Results on ravdess")
        and section(both, "Results on the test rows of the run")
        and both.data.eval_results
    )
