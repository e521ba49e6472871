"""The card that stands beside a saved model."""

from huggingface_hub import ModelCard

from multimodal_ser.testing import tiny_model


def test_a_card_says_what_is_known_and_no_more(tmp_path):
    model = tiny_model(labels=("calm", "urgent"), weights_license="cc-by-nc-sa-4.0", text_languages=["en"])
    model.save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "cc-by-nc-sa-4.0" and card.data.language == ["en"] and card.data.pipeline_tag == "audio-classification"
    for words in ("calm, urgent", "inherited from the weights", "Article 5(1)(f)", "Article 50(3)", "not known to the function"):
        assert words in card.text
    assert "accuracy" not in card.text.lower()  # nothing was measured


def test_without_an_inherited_licence_none_is_claimed(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license is None and "unknown; it is the author's to say" in card.text


def test_a_card_that_somebody_wrote_is_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("Mine.")
    tiny_model().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "Mine."
    (tmp_path / "README.md").unlink()
    tiny_model(labels=("a", "b")).save_pretrained(tmp_path)
    tiny_model(labels=("c", "d")).save_pretrained(tmp_path)  # one of ours is kept up to date
    assert "c, d" in (tmp_path / "README.md").read_text()
