"""Voice, words and both: rows that lack one, words that tell nothing, languages, turns before, Whisper's texts, unlabelled recordings."""

import json
import shutil
from pathlib import Path

import pytest
from training_runs import WORDS, arguments, names, predictions, prepared, rows_of, table, texts_in, write

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora.targets import Targets
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech, tiny_model
from multimodal_ser.training import train
from multimodal_ser.training.data import ClipData

pytestmark = pytest.mark.usefixtures("no_curves")

# modalities


def test_rows_of_either_modality_and_of_both_train_in_one_run(tmp_path, tiny, mixed):
    result = train(
        arguments(mixed, tmp_path / "run", model=tiny, per_device_train_batch_size=4, validation_speakers=["s0", "s1"])
    )
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    assert model.config.trained_modalities == ["audio", "text"]
    assert any(row["name"].startswith("text:") for row in predictions(tmp_path / "run"))
    assert model.predict(text="we are very sad").modalities == ("text",)


@pytest.mark.parametrize(
    ("modalities", "used"), [("audio", ["audio"]), ("text", ["text"]), ("both", ["audio", "text"])]
)
def test_what_is_learned_from_is_what_predict_uses(tmp_path, tiny, mixed, modalities, used):
    result = train(
        arguments(mixed, tmp_path / "run", model=tiny, modalities=modalities, validation_speakers=["s0", "s1"])
    )
    model = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    assert model.config.trained_modalities == used
    waveform = synthetic_speech(0.5)
    assert model.predict(waveform, sampling_rate=16_000, text="so sad").modalities == tuple(used)
    trained = json.loads((tmp_path / "run" / "scores.json").read_text())["parameters"]["trained"]
    assert trained < sum(weight.numel() for weight in model.parameters())


def test_modalities_leave_out_rows_that_lack_them(mixed):
    both, told = prepared(mixed, modalities="both")
    assert all(clip.row.path and clip.row.text for clip in both.train) and any(
        "not what modalities both asks for" in line for line in told
    )
    audio, _ = prepared(mixed, modalities="audio")
    assert not any(clip.row.text or clip.row.path is None for clip in audio.train) and not audio.use_text
    text, _ = prepared(mixed, modalities="text")
    assert (
        not any(clip.row.path for clip in text.train)
        and not text.use_audio
        and {clip.duration for clip in text.train} == {0.0}
    )


def test_held_out_rows_without_anything_that_is_learned_from_are_left_out(tmp_path, mixed):
    rows = rows_of(mixed)
    for row in rows:
        row["split"] = "dev" if row["speaker"] in ("s0", "s1") else "train"
        if row["split"] == "train":
            row["path"] = ""
        row["path"] = row["path"] if Path(row["path"]).is_file() else ""
    rows = [row for row in rows if row["path"] or row["text"]]
    rows += [{"text": f"more {name}", "emotion": name, "speaker": "s9", "split": "train"} for name in WORDS]
    ready, told = prepared(table(tmp_path / "a.csv", rows))
    assert not ready.use_audio and all(clip.row.text for clip in ready.validation) and ready.validation
    assert any("are held out have nothing of what is learned from" in line for line in told)


def test_pairs_are_made_of_rows_of_one_modality(tmp_path, tiny, manifest):
    rows = rows_of(manifest)
    for at, row in enumerate(rows):
        row["text" if at % 2 else "path"] = ""
    some = table(tmp_path / "a.csv", rows)
    kept = {}
    for name, fields in (("matched", {"pair_matched": 1.0}), ("mismatched", {"pair_mismatched": 1.0})):
        ready, _ = prepared(some, validation_speakers=["s0"], **fields)
        classes = Targets.of(ready.train, ready.labels, (), soft="pair_mismatched" in fields)
        data = ClipData(list(ready.train), classes, tiny_model().processor, arguments(some, **fields), 1, True)
        heard = [row for row, clip in enumerate(ready.train) if clip.row.path]
        batch = data.batch(heard, epoch=0)
        assert batch["attention_mask"].any(1).all() and batch["audio_attention_mask"].any(1).all()  # each has got words
        kept[name] = batch["labels"].float()
        assert [data.pairs.partner(row, 0) for row in heard] != [data.pairs.partner(row, 3) for row in heard]
        train(arguments(some, tmp_path / name, model=tiny, validation_speakers=["s0"], **fields))
    assert (
        (kept["matched"].max(1).values == 1).all()
        and (kept["mismatched"].max(1).values == 0.5).all()
        and (kept["mismatched"].sum(1) == 1).all()
    )
    with pytest.raises(InputError, match="pair_matched: expected rows of either modality alone"):
        prepared(manifest, pair_matched=0.5)


# words


def test_a_corpus_of_a_few_sentences_is_learned_from_the_voice_alone(tmp_path, tiny, manifest, capsys):
    rows = rows_of(manifest)
    for at, row in enumerate(rows):
        row["text"] = ("Kids are talking by the door.", "Dogs are sitting by the door")[at % 2]
    fixed = table(tmp_path / "fixed.csv", rows)
    result = train(arguments(fixed, tmp_path / "run", model=tiny))
    told = capsys.readouterr().err
    assert "24 recordings of 2 sentences: the words tell nothing" in told and "learned from: the voice\n" in told
    assert MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config.trained_modalities == [
        "audio"
    ]
    asked, told = prepared(fixed, modalities="both")
    assert asked.use_text and not any("tell nothing" in line for line in told)
    rows += [row | {"corpus": "talk", "text": f"{row['text']} {at}", "start": 0.1} for at, row in enumerate(rows)]
    both, told = prepared(table(tmp_path / "two.csv", rows))
    assert any("24 recordings of 2 sentences" in line for line in told)
    assert {bool(clip.row.text) for clip in both.train if clip.row.corpus} == {True} and {
        bool(clip.row.text) for clip in both.train if not clip.row.corpus
    } == {False}


def test_dialogues_give_the_turns_before(tmp_path, tiny, manifest):
    rows = rows_of(manifest)
    rows[1]["emotion"] = ""  # a turn that nobody annotated was said all the same
    some = table(tmp_path / "a.csv", list(reversed(rows)))
    ready, _ = prepared(some, context_turns=2)
    by_text = {clip.row.text: clip for clip in (*ready.train, *ready.validation)}
    assert by_text[rows[2]["text"]].context == (rows[0]["text"], rows[1]["text"])
    assert (
        by_text[rows[0]["text"]].context == ()
        and by_text[rows[6]["text"]].context == ()
        and rows[1]["text"] not in by_text
    )
    assert not any(clip.context for clip in prepared(some)[0].train)
    other = table(
        tmp_path / "b.csv", [row | {"text": f"other {row['text']}", "path": ""} for row in rows]
    )  # dialogues of the same names
    two, _ = prepared([some, other], context_turns=2)
    assert next(clip for clip in (*two.train, *two.validation) if clip.row.text == rows[2]["text"]).context == (
        rows[0]["text"],
        rows[1]["text"],
    )
    result = train(arguments(some, tmp_path / "run", model=tiny, context_turns=2))
    assert result.validation and rows[0]["text"] not in texts_in(tmp_path / "run")


def test_texts_in_languages_that_the_text_branch_does_not_read_are_left_out(tmp_path, manifest):
    rows = [row | {"language": ("de", "English", "")[at % 3]} for at, row in enumerate(rows_of(manifest))]
    rows.append({"text": "nur Text", "language": "de-AT", "emotion": "sad", "speaker": "s9"})
    some = table(tmp_path / "a.csv", rows)
    ready, told = prepared(some, languages=["en"])
    everything = [*ready.train, *ready.validation]
    assert len(everything) == 24 and {clip.row.language for clip in everything if not clip.row.text} == {"de"}
    assert any("texts left out" in line and "de (8), de-AT (1)" in line for line in told)
    assert all(clip.row.text for clip in prepared(some)[0].train)


def test_a_text_branch_that_is_trained_learns_languages(tmp_path, manifest):
    tiny_model(text_languages=["en"]).save_pretrained(tmp_path / "model")
    some = table(tmp_path / "a.csv", [row | {"language": "German"} for row in rows_of(manifest)])
    for name, freeze, languages, used in (
        ("frozen", ["audio", "text"], ["en"], ["audio"]),
        ("trained", ["audio"], ["en", "de"], ["audio", "text"]),
    ):
        result = train(arguments(some, tmp_path / name, model=tmp_path / "model", freeze=freeze))
        config = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config
        assert config.text_languages == languages and config.trained_modalities == used


# transcription


@pytest.fixture
def whisper(monkeypatch):
    """A Whisper that hears what the recording's length tells it, and nothing in the shortest."""
    import multimodal_ser.transcription
    from multimodal_ser.transcription import Transcript

    calls = []

    class Fake:
        name = "fake-small"

        def __init__(self, model=None, **options):
            calls.append(model)

        def transcribe(self, audio, *, sampling_rate=None, language=None, word_timestamps=False):
            if language == "xx":
                raise InputError("language", expected="one that Whisper knows", got="'xx'", remedy="correct it")
            calls.append(len(audio))
            return Transcript("" if len(audio) <= 6400 else f"so happy {len(audio)}", language=language or "en")

    monkeypatch.setattr(multimodal_ser.transcription, "WhisperTranscriber", Fake)
    return calls


def test_whisper_writes_the_texts_that_rows_lack(tmp_path, tiny, clips, manifest, whisper, capsys):
    result = train(arguments(clips, tmp_path / "run", model=tiny, transcribe=True, whisper="small"))
    told = capsys.readouterr().err
    assert (
        "Whisper fake-small writes the texts of 18 recordings" in told
        and "in 3 of them no words were heard" in told
        and "learned from: the voice and the words" in told
    )
    assert whisper.count("small") == 1 and len(whisper) == 19
    config = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None).config
    assert config.transcriber == "fake-small" and config.trained_modalities == ["audio", "text"]
    assert "so happy 8000" not in texts_in(tmp_path / "run")
    whisper.clear()
    again = train(
        arguments(manifest, tmp_path / "given", model=tiny, transcribe=True)
    )  # all have texts: nobody has to listen
    assert (
        whisper == []
        and MultimodalEmotionClassifier.from_pretrained(again.model, whisper=None).config.transcriber is None
    )


def test_transcripts_are_of_the_part_that_is_meant_and_errors_cost_one_row(tmp_path, clips, whisper):
    path = write(tmp_path / "long.wav", 2.0)
    rows = [
        {
            "path": path,
            "start": at / 2,
            "end": at / 2 + 0.5,
            "emotion": ("happy", "sad")[at % 2],
            "language": "xx" if at == 3 else "",
        }
        for at in range(4)
    ]
    rows += [{"path": path, "start": 0, "end": 1, "emotion": ""}]  # nobody needs its words
    ready, _ = prepared(table(tmp_path / "a.csv", rows), transcribe=True, validation_share=0)
    assert whisper == [None, 8000, 8000, 8000]
    assert [bool(clip.row.text) for clip in ready.train] == [True, True, True, False]
    assert len(ready.errors) == 1 and "a.csv, line 5, language" in str(ready.errors[0])


def test_a_corpus_of_few_sentences_stays_one_when_whisper_listens(tmp_path, clips, whisper):
    for name in ("happy", "sad"):
        for number in range(12):
            write(tmp_path / name / f"{number}.wav", 0.5, number)
    ready, told = prepared(tmp_path, transcribe=True)
    assert (
        not ready.use_text
        and ready.transcriber is None
        and any("24 recordings of 1 sentence:" in line for line in told)
    )


# unlabelled recordings


def test_pseudo_labels_are_learned_from_and_never_measured_on(tmp_path, tiny, clips, manifest):
    for number in range(5):
        write(tmp_path / "more" / f"{number}.wav", 0.5, 100 + number, 120 + 30 * number)
    shutil.copytree(clips, tmp_path / "more" / "again")  # the labelled ones are among them
    (tmp_path / "more" / "torn.wav").write_bytes(b"x")
    plain, _ = prepared(clips, model=tiny)
    all_of_them, told = prepared(clips, model=tiny, unlabelled=tmp_path / "more", pseudo_label_threshold=0)
    added = [clip for clip in all_of_them.train if clip not in plain.train]
    assert len(added) == 5 + len(plain.train) and names(all_of_them.validation) == names(plain.validation)
    assert not {clip.content for clip in added} & {clip.content for clip in all_of_them.validation}
    assert {clip.row.emotion for clip in added} <= {"anger", "happiness", "sadness"}
    assert any(
        "of 24 recordings 20 are labelled" in line and "1 cannot be read" in line and "3 are held out" in line
        for line in told
    )
    none, told = prepared(clips, model=tiny, unlabelled=tmp_path / "more", pseudo_label_threshold=1)
    assert none.train == plain.train and any(": none" in line for line in told)
    result = train(
        arguments(clips, tmp_path / "run", model=tiny, unlabelled=tmp_path / "more", pseudo_label_threshold=0)
    )
    assert {row["name"] for row in predictions(tmp_path / "run")} == names(plain.validation) and result.validation


def test_pseudo_labels_of_parts_words_and_speakers(tmp_path, tiny, manifest, monkeypatch):
    rows = [
        {"path": row["path"], "speaker": row["speaker"], "start": 0.1, "end": 0.3, "text": "so sad"}
        for row in rows_of(manifest)
    ]
    some = table(tmp_path / "more.csv", rows)
    heard = []
    whole = MultimodalEmotionClassifier.predict_iter

    def predict_iter(self, items, **options):
        items = list(items)
        heard.extend(items)
        return whole(self, items, **options)

    monkeypatch.setattr(MultimodalEmotionClassifier, "predict_iter", predict_iter)
    ready, _ = prepared(
        manifest,
        modalities="audio",
        model=tiny,
        unlabelled=some,
        pseudo_label_threshold=0,
        validation_speakers=["s1"],
        test_speakers=["s2"],
    )
    assert (
        len(heard) == 16
        and {len(item["audio"]) for item in heard} == {3200}
        and {item["text"] for item in heard} == {None}
    )
    assert not ready.use_text and not {clip.row.speaker for clip in ready.train} & {"s1", "s2"}


def test_pseudo_labels_need_a_model_that_knows_the_classes(tmp_path, tiny, clips):
    shutil.copytree(clips / "sad", tmp_path / "clips" / "urgent")
    shutil.copytree(clips / "happy", tmp_path / "clips" / "happy")
    with pytest.raises(
        InputError, match="a model that knows the classes, got one without urgent; train without unlabelled first"
    ):
        prepared(tmp_path / "clips", model=tiny, unlabelled=clips)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="unlabelled: expected recordings, got none"):
        prepared(clips, model=tiny, unlabelled=tmp_path / "none")
