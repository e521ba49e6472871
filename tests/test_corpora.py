import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_ser.corpora import Manifest, ManifestRow, check_recordings, read_manifest, split_rows, write_manifest
from multimodal_ser.corpora.folders import RECORDINGS, read_folder
from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS
from multimodal_ser.corpora.tables import columns_option
from multimodal_ser.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "audio").mkdir()
    for name in "abcdefghij":
        (tmp_path / "audio" / f"{name}.wav").touch()
    return tmp_path


def table(folder, text, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def errors_of(manifest):
    return [str(error) for error in manifest.errors]


# ---- manifests


def test_a_table_says_all_that_a_row_can_hold(folder):
    manifest = read_manifest(
        table(
            folder,
            "path,emotion,text,speaker,split,dialogue,turn,language,gender,intensity,corpus,start,end,arousal,valence,dominance,votes\n"
            'audio/a.wav, anger | fear ,"Hello, you",ravdess_01,train,d1,3,en,f,strong,ravdess,0.5,2,1,-0.5,3e-1,anger:2|fear:1\n'
            "audio/b.wav,,,,,,,,,,,,,,,,\n",
        )
    )
    row, bare = manifest.rows
    assert manifest.errors == () and manifest.ignored == ()
    assert row.path == folder / "audio" / "a.wav" and row.emotion == "anger|fear" and row.text == "Hello, you"
    assert (row.speaker, row.split, row.dialogue, row.turn, row.language) == ("ravdess_01", "train", "d1", 3, "en")
    assert (row.gender, row.intensity, row.corpus, row.start, row.end) == ("f", "strong", "ravdess", 0.5, 2.0)
    assert (row.arousal, row.valence, row.dominance, row.votes) == (1.0, -0.5, 0.3, {"anger": 2.0, "fear": 1.0})
    assert row.label == "anger" and row.place == "manifest.csv, line 2" and row.name == "audio/a.wav[0.500-2.000]"
    assert bare == ManifestRow(path=folder / "audio" / "b.wav") and bare.label is None and bare.name == "audio/b.wav"
    assert manifest.emotions == {"anger": 1} and manifest.speakers == ["ravdess_01"]


def test_columns_go_by_several_names_in_any_case(folder):
    text = "Sr No.,File,Label,Utterance,Speaker_ID,Dialogue ID,Utterance-ID,LANG\n1,audio/a.wav,joy,hi,S,D,7,de\n"
    manifest = read_manifest(table(folder, text))
    row = manifest.rows[0]
    assert (row.emotion, row.text, row.speaker, row.dialogue, row.turn, row.language) == ("joy", "hi", "S", "D", 7, "de")
    assert row.path == folder / "audio/a.wav" and manifest.ignored == ("Sr No.",)


def test_a_column_of_the_fields_own_name_comes_before_its_synonyms(folder):
    manifest = read_manifest(table(folder, "label,emotion,text\n3,joy,hi\n"))
    assert manifest.rows[0].emotion == "joy" and manifest.ignored == ("label",)


def test_utterance_names_are_no_turns_but_bad_turns_are_told(folder):
    manifest = read_manifest(table(folder, "text,utterance_id\nhi,Ses01F_000\nho,Ses01F_001\n"))
    assert [row.turn for row in manifest.rows] == [None, None] and manifest.errors == () and manifest.ignored == ("utterance_id",)
    manifest = read_manifest(table(folder, "text,turn\nhi,first\nho,2.5\nhe,3.0\n"))
    assert [row.turn for row in manifest.rows] == [3]
    assert "line 2, turn: expected a number, got 'first'" in errors_of(manifest)[0]
    assert "line 3, turn: expected a whole number, got 2.5" in errors_of(manifest)[1]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("audio/missing.wav,joy,,,", "line 3, path: expected a recording, got no file audio/missing.wav; correct it; paths that do not"),
        ("audio,joy,,,", "line 3, path: expected a recording, got no file audio"),
        (",joy,,,", "line 3: expected a path or a text, got neither"),
        ("audio/b.wav,joy,2,2,", "line 3, end: expected a time after the start, 2 s, got 2 s"),
        ("audio/b.wav,joy,,0,", "line 3, end: expected a time after the start, 0 s, got 0 s"),
        ("audio/b.wav,joy,-1,2,", "line 3, start: expected 0 s or later, got -1 s"),
        ("audio/b.wav,joy,soon,2,", "line 3, start: expected a number, got 'soon'"),
        ("audio/b.wav,joy,0,inf,", "line 3, end: expected a number, got 'inf'"),
        ("audio/b.wav,joy,,,anger", "line 3, votes: expected how many chose each emotion, as anger:3|neutral:2 or a JSON object, got 'anger'"),
        ("audio/b.wav,joy,,,anger:1|anger:2", "line 3, votes: expected how many"),
        ("audio/b.wav,joy,,,anger:0", "line 3, votes: expected how many"),
        ("audio/b.wav,joy,,,anger:-1|joy:2", "line 3, votes: expected how many"),
        ("audio/b.wav,joy,,,{broken", "line 3, votes: expected how many"),
        ("audio/b.wav,jo\0y,,,", "line 3, emotion: expected text, got a NUL character"),
        ("audio/b.wav,joy", "line 3: expected 5 cells, got 2"),
        ("audio/b.wav,joy,,,,Well, then", "line 3: expected 5 cells, got 7; put quotes around what holds ','"),
        ('audio/b.wav,"joy"ful,,,', "line 3: expected cells"),
        ('audio/b.wav,"joy,,,', "line 3: expected cells"),
        ('audio/b.wav,"joy\naudio/d.wav,fear",,,', "line 3, emotion: expected a line, got several; look for a quote"),
        ("audio/a.wav,anger,,,", "line 3: expected each row once, got the same as line 2; drop one of them; what several annotators said"),
        ("./audio/a.wav,anger,,,", "line 3: expected each row once"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_and_costs_only_itself(folder, cells, message):
    manifest = read_manifest(table(folder, f"path,emotion,start,end,votes\naudio/a.wav,joy,,,\n{cells}\naudio/c.wav,joy,,,\n"))
    assert [row.name for row in manifest.rows] == ["audio/a.wav", "audio/c.wav"]
    assert len(manifest.errors) == 1 and errors_of(manifest)[0].startswith(f"manifest.csv, {message}")


def test_every_kind_of_bad_row_at_once(folder):
    good = [f"audio/{name}.wav,joy,\n" for name in "abc"]
    text = (
        "path,emotion,start\n" + good[0] + 'x.wav,joy,\naudio/d.wav,"joy,\n' + good[1] + ",joy,\naudio/e.wav,joy,late\n" + good[0] + good[2]
    )
    manifest = read_manifest(table(folder, text))
    assert [row.name for row in manifest.rows] == ["audio/a.wav", "audio/b.wav", "audio/c.wav"]
    assert [error.what.split(", ")[1] for error in manifest.errors] == ["line 3", "line 4", "line 6", "line 7", "line 8"]


def test_lines_are_counted_through_texts_of_several_lines(folder):
    manifest = read_manifest(table(folder, 'text,emotion\r\n\r\n"one\r\ntwo",joy\r\n"three ""3""\u2028",anger\r\n,joy\r\n'))
    assert [(row.text, row.place) for row in manifest.rows] == [
        ("one\r\ntwo", "manifest.csv, line 3"),
        ('three "3"', "manifest.csv, line 5"),
    ]
    assert manifest.errors[0].what == "manifest.csv, line 6"


def test_parts_of_a_recording_are_rows_of_their_own(folder):
    manifest = read_manifest(table(folder, "path,start,end\naudio/a.wav,0,1\naudio/a.wav,1,2\naudio/a.wav,1,\naudio/a.wav,1.0,2.0\n"))
    assert [row.name for row in manifest.rows] == ["audio/a.wav[0.000-1.000]", "audio/a.wav[1.000-2.000]", "audio/a.wav[1.000-]"]
    assert len(manifest.errors) == 1


def test_texts_may_be_said_twice_but_a_turn_is_said_once(folder):
    text = "text,emotion,dialogue,turn\nOkay.,joy,1,0\nOkay.,joy,1,2\nOkay.,joy,2,0\nOkay.,anger,1,2\nOkay.,joy,,\nOkay.,joy,,\n"
    manifest = read_manifest(table(folder, text))
    assert len(manifest.rows) == 5 and [error.what for error in manifest.errors] == ["manifest.csv, line 5"]


def test_times_of_texts_are_not_looked_at(folder):
    manifest = read_manifest(table(folder, 'text,start,end\nhi,"00:16:16,059","00:16:15,000"\n'))
    assert manifest.errors == () and manifest.rows[0].start is None and manifest.rows[0].end is None


def test_files_need_not_be_there_when_nobody_asks(tmp_path):
    path = table(tmp_path, "path\nnowhere.wav\n/elsewhere/b.wav\n")
    assert [row.name for row in read_manifest(path, check_files=False).rows] == ["nowhere.wav", "/elsewhere/b.wav"]
    assert len(read_manifest(path).errors) == 2


def test_names_do_not_depend_on_where_the_manifest_lies(tmp_path):
    names = []
    for place in (tmp_path / "here", tmp_path / "over" / "there"):
        place.mkdir(parents=True)
        path = table(place, "path,text\naudio/a.wav,\n../b.wav,\n,hello\n")
        names.append([row.name for row in read_manifest(path, check_files=False).rows])
    assert names[0] == names[1] and names[0][:2] == ["audio/a.wav", "../b.wav"] and names[0][2].startswith("text:")


def test_a_relative_source_is_read_from_here(folder, monkeypatch):
    table(folder, "path\naudio/a.wav\n")
    monkeypatch.chdir(folder)
    assert read_manifest("manifest.csv").rows[0].path == folder / "audio" / "a.wav"


@pytest.mark.parametrize(
    ("text", "name", "encoding", "message"),
    [
        ("", "m.csv", "utf-8", "m.csv: expected at least one row, got none"),
        ("path,emotion\n", "m.csv", "utf-8", "at least one row"),
        ("recording,emotion\na.wav,joy\n", "m.csv", "utf-8", "m.csv: expected a column path or text, got the columns recording, emotion; say which it is: --columns path=recording"),
        ("text\nhello\n", "m.csv", "utf-16", "m.csv: expected a table in UTF-8, got another encoding"),
        ("text\nhello\n", "m.csv", "utf-16-le", "expected a table in UTF-8"),
        ("text\nschön\ngrün\nrot\n", "m.csv", "latin-1", "expected a table in UTF-8"),
        ("text\nschön\n", "m.csv", "latin-1", "expected a table in UTF-8"),
        ("[1, 2", "m.json", "utf-8", "m.json: expected a list of JSON objects"),
        ("not parquet", "m.parquet", "utf-8", "m.parquet: expected a parquet file"),
        ("RIFF", "a.wav", "utf-8", r"a.wav: expected a folder, or a table \(.csv, .*got a .wav file"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_told(tmp_path, text, name, encoding, message):
    with pytest.raises(InputError, match=message):
        read_manifest(table(tmp_path, text, name, encoding))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="got no such file"):
        read_manifest(tmp_path / "manifest.csv")


def test_one_row_of_another_encoding_costs_only_itself(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_bytes("text\nsüß\n".encode() + "grün\n".encode("latin-1") + b"rot\n")
    manifest = read_manifest(path)
    assert [row.text for row in manifest.rows] == ["süß", "rot"]
    assert errors_of(manifest) == ["manifest.csv, line 3, text: expected UTF-8, got bytes of another encoding; save the file as UTF-8"]


def test_a_byte_order_mark_and_semicolons_are_what_spreadsheets_write(folder):
    manifest = read_manifest(table(folder, "path;emotion;text\naudio/a.wav;joy;Well, yes\n", encoding="utf-8-sig"))
    assert manifest.errors == () and manifest.rows[0].text == "Well, yes" and manifest.rows[0].emotion == "joy"


def test_tab_separated_texts_need_no_quotes(folder):
    manifest = read_manifest(table(folder, 'text\temotion\n"Hi," he said\tjoy\n"never closed\tanger\n"a\tb"\tfear\n', "m.tsv"))
    assert [(row.text, row.emotion) for row in manifest.rows] == [('"Hi," he said', "joy"), ('"never closed', "anger"), ("a\tb", "fear")]


def test_json_lines(folder):
    lines = [
        json.dumps({"path": "audio/a.wav", "emotion": "joy", "speaker": 7, "votes": {"joy": 2, "anger": 1, "fear": 0}}),
        "{broken",
        "[1]",
        json.dumps({"text": "nur Text: schön", "arousal": float("nan"), "valence": 2}),
        json.dumps({"text": ["a"]}),
        json.dumps({"text": "half a \ud83d"}),
        json.dumps({"text": "x", "arousal": True}),
    ]
    manifest = read_manifest(table(folder, "\n".join(lines), "m.jsonl"))
    first, second = manifest.rows
    assert (first.speaker, first.votes, first.label) == ("7", {"joy": 2.0, "anger": 1.0}, "joy")
    assert (second.text, second.arousal, second.valence, second.place) == ("nur Text: schön", None, 2.0, "m.jsonl, line 4")
    assert [error.what for error in manifest.errors] == ["m.jsonl, line 2", "m.jsonl, line 3", "m.jsonl, line 5, text", "m.jsonl, line 6, text", "m.jsonl, line 7, arousal"]  # fmt: skip


def test_a_json_list_is_read_too(folder):
    manifest = read_manifest(table(folder, json.dumps([{"text": "a"}, 3, {"text": "b", "split": "dev"}]), "m.json"))
    assert [(row.text, row.split, row.place) for row in manifest.rows] == [("a", None, "m.json, row 1"), ("b", "dev", "m.json, row 3")]
    assert manifest.errors[0].what == "m.json, row 2"


def test_parquet_says_the_same_as_csv(folder):
    pandas = pytest.importorskip("pandas")
    path = table(folder, "path,emotion,speaker,start,end,extra\naudio/a.wav,joy,1,0.5,1,x\naudio/b.wav,,,,,y\nc.wav,anger,2,,,z\n")
    pandas.read_csv(path).to_parquet(folder / "m.parquet")
    csv, parquet = read_manifest(path), read_manifest(folder / "m.parquet")
    assert parquet.rows == csv.rows and len(parquet.rows) == 2 and parquet.ignored == ("extra",)
    assert parquet.rows[0].speaker == "1"  # 1.0 in the file: a column of whole numbers with a gap
    assert [error.what for error in parquet.errors] == ["m.parquet, row 3, path"]


def test_parquet_with_votes_and_with_recordings_inside(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"], "votes": [{"joy": 1}, {"fear": 2}]}), tmp_path / "votes.parquet")
    assert [row.votes for row in read_manifest(tmp_path / "votes.parquet").rows] == [{"joy": 1.0}, {"fear": 2.0}]
    pq.write_table(pa.table({"text": ["a"], "audio": [{"bytes": b"RIFF", "path": "a.wav"}]}), tmp_path / "inside.parquet")
    with pytest.raises(InputError, match="expected paths of recordings, got the column audio of struct"):
        read_manifest(tmp_path / "inside.parquet")
    pq.write_table(pa.table({"sound": ["a"]}), tmp_path / "neither.parquet")
    with pytest.raises(InputError, match="expected a column path or text, got the columns sound"):
        read_manifest(tmp_path / "neither.parquet")


def test_counts_leave_out_what_is_ambiguous():
    rows = (
        ManifestRow(text="a", emotion="joy"),
        ManifestRow(text="b", emotion="joy|anger"),
        ManifestRow(text="c", emotion="joy", votes={"joy": 1, "anger": 2}),
        ManifestRow(text="d"),
    )
    assert Manifest(rows, (), Path("m.csv")).emotions == {"anger": 1, "joy": 1}


def test_rows_go_through_worker_processes_and_into_sets():
    row = ManifestRow(path=Path("a.wav"), votes={"joy": 1.0}, place="m.csv, line 2")
    assert pickle.loads(pickle.dumps(row)) == row and len({row, row}) == 1


@given(st.text("abc,;\"\n\r\té\0'|", max_size=60))
@settings(deadline=None, max_examples=200)
def test_whatever_a_table_holds_each_line_is_read_or_told(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "manifest.csv"
    path.write_bytes(f"text,emotion\nfirst,joy\n{noise}\nlast,joy\n".encode())
    manifest = read_manifest(path)
    assert manifest.rows[0].text == "first"
    assert any(row.text == "last" for row in manifest.rows) or any("last" in (row.text or "") for row in manifest.rows)


# ---- folders


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def seen(manifest):
    return [(row.name, row.emotion, row.speaker, row.split) for row in manifest.rows]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["happy/1.wav", "Sad/2.MP3"], [("Sad/2.MP3", "Sad", None, None), ("happy/1.wav", "happy", None, None)]),
        (["urgent/1.wav", "calm down/2.ogg"], [("calm down/2.ogg", "calm down", None, None), ("urgent/1.wav", "urgent", None, None)]),
        (["ann/happy/1.wav", "bo/sad/2.wav"], [("ann/happy/1.wav", "happy", "ann", None), ("bo/sad/2.wav", "sad", "bo", None)]),
        (["happy/ann/1.wav", "sad/bo/2.wav"], [("happy/ann/1.wav", "happy", "ann", None), ("sad/bo/2.wav", "sad", "bo", None)]),
        (["urgent/ann/1.wav", "later/bo/2.wav"], [("later/bo/2.wav", "later", "bo", None), ("urgent/ann/1.wav", "urgent", "ann", None)]),
        (["ann/happy/x/y/1.wav", "ann/sad/2.wav"], [("ann/happy/x/y/1.wav", "happy", "ann", None), ("ann/sad/2.wav", "sad", "ann", None)]),
        (["train/happy/1.wav", "Test/happy/2.wav"], [("Test/happy/2.wav", "happy", None, "Test"), ("train/happy/1.wav", "happy", None, "train")]),
        (["train/a/joy/1.wav", "dev/b/joy/2.wav"], [("dev/b/joy/2.wav", "joy", "b", "dev"), ("train/a/joy/1.wav", "joy", "a", "train")]),
        (["happy/1.wav", "happy/2.wav", "happy/more/3.wav"], [("happy/1.wav", "happy", None, None), ("happy/2.wav", "happy", None, None), ("happy/more/3.wav", "happy", None, None)]),
    ],
)  # fmt: skip
def test_folders_say_emotion_and_speaker(tmp_path, names, expected):
    manifest = read_manifest(tree(tmp_path, *names))
    assert seen(manifest) == expected and manifest.errors == ()
    assert all(row.path.is_file() for row in manifest.rows)


def test_what_is_no_recording_is_ignored_and_what_has_no_emotion_is_told(tmp_path):
    root = tree(
        tmp_path, "happy/1.wav", "happy/1.txt", "happy/.2.wav", "happy/._1.wav", ".cache/sad/3.wav", "loose.flac", "README", "sad/2.webm"
    )
    manifest = read_folder(root)
    assert [row.name for row in manifest.rows] == ["happy/1.wav", "sad/2.webm"]
    assert manifest.ignored == ("README", "happy/1.txt") and manifest.source == root
    assert errors_of(manifest) == ["loose.flac: expected a recording in an emotion's folder, got no emotion folder; move it into EMOTION/"]


def test_a_speakers_loose_recording_has_no_emotion(tmp_path):
    manifest = read_folder(tree(tmp_path, "ann/happy/1.wav", "ann/sad/2.wav", "ann/warmup.wav"))
    assert len(manifest.rows) == 2 and "ann/warmup.wav: expected a recording in an emotion's folder" in errors_of(manifest)[0]


@pytest.mark.parametrize("names", [[], ["notes.txt"], ["1.wav", "2.wav"], ["happy/readme.txt"]])
def test_without_emotion_folders_the_layout_is_shown(tmp_path, names):
    with pytest.raises(InputError, match=r"expected a folder per emotion: ROOT/happy/\*.wav"):
        read_folder(tree(tmp_path, *names))


def test_a_manifest_in_the_folder_comes_before_its_recordings(folder):
    table(folder, "path,emotion\naudio/a.wav,joy\n")
    assert read_manifest(folder) == read_manifest(folder / "manifest.csv")


def test_links_are_followed_once(tmp_path):
    root = tree(tmp_path / "root", "happy/1.wav")
    tree(tmp_path / "elsewhere", "2.wav")
    (root / "sad").symlink_to(tmp_path / "elsewhere")
    (root / "happy" / "again").symlink_to(root)
    assert [row.name for row in read_folder(root).rows] == ["happy/1.wav", "sad/2.wav"]


def test_endings_are_those_that_can_be_decoded():
    assert {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm", ".mp4", ".amr"} <= RECORDINGS
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in RECORDINGS)


# ---- splits


def clips(speakers=6, emotions=("anger", "joy", "neutral"), each=4, corpus=None):
    return [
        ManifestRow(path=Path(f"/data/{s}_{e}_{n}.wav"), emotion=e, speaker=f"s{s:02d}", corpus=corpus, folder=Path("/data"))
        for s in range(speakers)
        for e in emotions
        for n in range(each)
    ]


def voices(rows, part):
    return {rows[index].speaker for index in part}


def labels(rows, part):
    return {rows[index].label for index in part}


def names(rows, split):
    return [sorted(rows[index].name for index in part) for part in (split.train, split.validation, split.test)]


def test_speakers_are_held_out_whole():
    rows = clips(14)
    split = split_rows(rows)
    assert split.protocol == "speaker-disjoint: 2 of 14 speakers held out" and split.notes == () and split.test == ()
    assert not voices(rows, split.train) & voices(rows, split.validation)
    assert sorted(split.train + split.validation) == list(range(len(rows)))
    assert labels(rows, split.train) == labels(rows, split.validation) == {"anger", "joy", "neutral"}


def test_other_seeds_hold_out_others():
    rows = clips(14)
    assert len({frozenset(voices(rows, split_rows(rows, seed=seed).validation)) for seed in range(10)}) > 5


def test_no_class_is_held_out_as_a_whole_where_that_can_be_helped():
    rows = [*clips(5), *(ManifestRow(path=Path(f"/data/f{n}.wav"), emotion="fear", speaker="s02") for n in range(4))]
    for seed in range(20):
        split = split_rows(rows, seed=seed)
        assert "fear" in labels(rows, split.train)
        assert split.notes == ("learned, and not in the validation part: fear",)


def test_a_class_that_must_be_held_out_is_told():
    rows = [ManifestRow(path=Path(f"{s}{n}.wav"), emotion=e, speaker=s) for s, e in (("a", "joy"), ("b", "fear")) for n in range(3)]
    split = split_rows(rows)
    assert len(split.validation) == 3 and any("only in the validation part, and not learned" in note for note in split.notes)


def test_one_great_speaker_is_not_held_out():
    rows = [*clips(4, each=2), *(ManifestRow(path=Path(f"/x{n}.wav"), emotion="joy", speaker="great") for n in range(200))]
    assert all("great" not in voices(rows, split_rows(rows, seed=seed).validation) for seed in range(5))


def test_corpora_are_all_measured():
    one = clips(8, corpus="emodb")
    other = [
        ManifestRow(path=Path(f"/o{n}.wav"), emotion=("joy", "anger")[n % 2], speaker=f"o{n % 8}_{n % 2}", corpus="nemo") for n in range(96)
    ]
    rows = one + other
    for seed in range(5):
        assert {rows[index].corpus for index in split_rows(rows, seed=seed, validation_share=0.3).validation} == {"emodb", "nemo"}


def test_texts_and_unknown_voices_are_learned_from_beside_known_speakers():
    texts = [ManifestRow(text=f"text {n}", emotion="joy") for n in range(10)]
    unknown = [ManifestRow(path=Path("/data/unknown.wav"), emotion="joy")]
    rows = clips() + texts + unknown
    split = split_rows(rows)
    assert all(rows[index].path is not None and rows[index].speaker for index in split.validation) and split.validation
    assert any(note.startswith("1 recording without a speaker") for note in split.notes)


def test_speakers_of_texts_do_not_decide_for_recordings():
    heard = [ManifestRow(path=Path(f"/{e}{n}.wav"), emotion=e) for e in ("joy", "anger") for n in range(20)]
    rows = heard + [ManifestRow(text=f"text {n}", emotion="joy", speaker=f"s{n % 4}") for n in range(40)]
    split = split_rows(rows)
    assert split.protocol == "by clip, speakers unknown: 6 of 40 clips held out" and all(rows[index].path for index in split.validation)


@pytest.mark.parametrize(("speaker", "why"), [(None, "nobody knows who speaks"), ("ann", "there is only one speaker")])
def test_without_speakers_clips_of_each_class_are_held_out_and_that_is_told(speaker, why):
    rows = [
        ManifestRow(path=Path(f"/{e}{n}.wav"), emotion=e, speaker=speaker)
        for e, k in (("joy", 40), ("anger", 3), ("fear", 1))
        for n in range(k)
    ]
    split = split_rows(rows)
    held = [rows[index].emotion for index in split.validation]
    assert (held.count("joy"), held.count("anger"), held.count("fear")) == (6, 1, 0)
    assert any(why in note and "optimistic" in note for note in split.notes)
    assert any(note == "learned, and not in the validation part: fear" for note in split.notes)
    assert "by clip" in split.protocol


def test_parts_of_one_recording_stay_together():
    rows = [
        ManifestRow(path=Path(f"/call{n}.wav"), start=k, end=k + 1, emotion=("joy", "anger")[n % 2]) for n in range(8) for k in range(5)
    ]
    split = split_rows(rows)
    assert split.validation and not {rows[i].path for i in split.train} & {rows[i].path for i in split.validation}


def test_too_few_clips_and_nothing_is_held_out():
    rows = [ManifestRow(path=Path(f"/{e}.wav"), emotion=e) for e in ("joy", "anger", "fear")]
    split = split_rows(rows)
    assert split.train == (0, 1, 2) and split.validation == () and split.protocol == "no validation"
    assert "no model can be selected, nothing can be measured" in split.notes[0]
    assert split_rows(rows[:1]).train == (0,)


def test_unlabelled_rows_measure_nothing_and_dimensions_do():
    rows = [ManifestRow(path=Path(f"/u{n}.wav")) for n in range(20)] + [
        ManifestRow(path=Path(f"/j{n}.wav"), emotion="joy") for n in range(10)
    ]
    assert {rows[index].emotion for index in split_rows(rows).validation} == {"joy"}
    rows = [ManifestRow(path=Path(f"/{n}.wav"), arousal=n / 20) for n in range(20)]
    assert len(split_rows(rows).validation) == 3


def test_equal_texts_stay_on_one_side():
    rows = [ManifestRow(text=f"text {n % 30}", emotion=("joy", "anger")[n % 2]) for n in range(120)]
    split = split_rows(rows)
    assert split.protocol.startswith("by text") and split.validation and len(split.train) + len(split.validation) == 120
    assert not {rows[index].text for index in split.train} & {rows[index].text for index in split.validation}


def test_dialogues_are_held_out_whole_and_their_common_phrases_measure_nothing():
    rows = [
        ManifestRow(text="Okay." if t == 0 else f"text {d} {t}", emotion=("joy", "anger")[t % 2], dialogue=f"d{d}", turn=t)
        for d in range(20)
        for t in range(4)
    ]
    split = split_rows(rows)
    assert split.protocol == "by dialogue: 3 of 20 dialogues held out" and len(split.train) == 17 * 4 and len(split.validation) == 9
    assert not {rows[i].dialogue for i in split.train} & {rows[i].dialogue for i in split.validation}
    assert split.notes == ("3 texts were left out of the validation part: they occur in what is learned from",)


def test_texts_with_speakers_are_disjoint_in_both():
    rows = [
        ManifestRow(text="Okay." if n % 5 == 0 else f"text {n}", emotion=("joy", "anger")[n % 2], speaker=f"s{n % 6}") for n in range(90)
    ]
    split = split_rows(rows)
    assert split.protocol == "speaker-disjoint: 1 of 6 speakers held out"
    for of in (lambda row: row.speaker, lambda row: row.text):
        assert not {of(rows[i]) for i in split.train} & {of(rows[i]) for i in split.validation}


def test_recordings_may_share_their_sentences():
    rows = [
        ManifestRow(path=Path(f"/{s}{n}.wav"), text="Kids are talking by the door.", emotion="joy", speaker=s)
        for s in "abcd"
        for n in range(3)
    ]
    assert len(split_rows(rows).validation) == 3


def with_splits(rows, of):
    from dataclasses import replace

    return [replace(row, split=of(row)) for row in rows]


def test_a_split_column_is_followed():
    rows = with_splits(clips(6), lambda row: {"s00": "Test", "s01": "dev"}.get(row.speaker, "train"))
    split = split_rows(rows)
    assert voices(rows, split.test) == {"s00"} and voices(rows, split.validation) == {"s01"} and split.protocol == "the split column"
    assert voices(rows, split.train) == {"s02", "s03", "s04", "s05"} and split.notes == ()


def test_without_a_validation_part_one_is_taken_from_train_and_never_from_test():
    rows = with_splits(clips(8), lambda row: "test" if row.speaker in ("s00", "s01") else "train")
    split = split_rows(rows)
    assert split.protocol == "the split column; speaker-disjoint: 1 of 6 speakers held out"
    assert voices(rows, split.test) == {"s00", "s01"} and not voices(rows, split.validation) & {"s00", "s01"} and split.validation


@pytest.mark.parametrize("side", ["dev", "test"])
def test_a_leaking_column_is_refused_unless_asked_for(side):
    rows = with_splits(clips(4), lambda row: side if row.name.endswith("_0.wav") else "train")
    with pytest.raises(
        InputError, match=r"no voice on two sides, got 4 voices in train and .*: s00, s01, s02, s03; drop the column.*allow_leak=True"
    ):
        split_rows(rows)
    split = split_rows(rows, allow_leak=True)
    assert "the split leaks, and scores are too good: 4 voices" in split.notes[0]
    assert len(split.validation if side == "dev" else split.test) == 12


def test_parts_of_a_recording_on_both_sides_are_a_leak_too():
    rows = [ManifestRow(path=Path("/call.wav"), start=n, end=n + 1, emotion="joy", split=("train", "dev")[n]) for n in range(2)]
    with pytest.raises(InputError, match=r"1 voice in train and validation: /call.wav"):
        split_rows(rows)


def test_voices_in_validation_and_test_are_told():
    rows = with_splits(clips(4), lambda row: "train" if row.speaker != "s00" else ("dev" if row.name.endswith("_0.wav") else "test"))
    assert split_rows(rows).notes == ("the split leaks, and scores are too good: 1 voice in validation and test: s00",)


def test_other_words_in_a_split_column_are_told():
    rows = with_splits(clips(6), lambda row: {"s00": "unused", "s01": "dev", "s02": None}.get(row.speaker, "train"))
    split = split_rows(rows)
    assert voices(rows, split.train) == {"s02", "s03", "s04", "s05"} and voices(rows, split.validation) == {"s01"}
    assert split.notes[:2] == (
        "left out, because of what the split column says: 'unused' (12 rows)",
        "12 rows of which the split column says nothing are learned from",
    )
    rows = with_splits(clips(6), lambda row: "fold1")
    split = split_rows(rows)
    assert split.protocol.startswith("speaker-disjoint") and "was not looked at: 'fold1' (72 rows)" in split.notes[0]


def test_texts_of_official_splits_that_repeat_are_told():
    rows = [ManifestRow(text=t, emotion="joy", split=s) for t, s in (("a", "train"), ("b", "train"), ("b", "dev"), ("c", "dev"))]
    split = split_rows(rows)
    assert split.validation == (2, 3) and split.notes == ("1 text of the validation and test parts occurs in the train part too",)


def test_speakers_that_are_named():
    rows = clips(8)
    split = split_rows(rows, validation_speakers=["s01"], test_speakers=["s02", "s03"])
    assert voices(rows, split.validation) == {"s01"} and voices(rows, split.test) == {"s02", "s03"} and len(voices(rows, split.train)) == 5
    assert split.protocol == "test speakers named: s02, s03; validation speakers named: s01"
    split = split_rows(rows, test_speakers="s02")
    assert split.protocol == "test speakers named: s02; speaker-disjoint: 1 of 7 speakers held out"
    assert voices(rows, split.test) == {"s02"} and not voices(rows, split.train) & voices(rows, split.validation) and split.validation


def test_named_test_speakers_replace_the_column_and_named_validation_speakers_its_validation_part():
    rows = with_splits(clips(6), lambda row: {"s00": "test", "s01": "dev"}.get(row.speaker, "train"))
    split = split_rows(rows, validation_speakers=["s02"])
    assert voices(rows, split.test) == {"s00"} and voices(rows, split.validation) == {"s02"} and "s01" in voices(rows, split.train)
    split = split_rows(rows, validation_speakers=["s02"], test_speakers=["s03"])
    assert voices(rows, split.test) == {"s03"} and "s00" in voices(rows, split.train)
    assert "the split column was not looked at" in split.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_speakers": ["s0"]}, r"test_speakers: expected speakers of the manifest \(s00, .*and 1 more\), got s0; did you mean 's0\d'"),
        ({"validation_speakers": ["S03"]}, "validation_speakers: .*did you mean 's03'"),
        ({"validation_speakers": ["s01"], "test_speakers": ["s01"]}, "expected others than test_speakers, got s01"),
        ({"test_speakers": [f"s{n:02d}" for n in range(6)]}, "something to learn from"),
        ({"validation_share": 1.0}, "validation_share"),
        ({"validation_share": float("nan")}, "validation_share"),
    ],
)
def test_what_cannot_be_split_is_told(options, message):
    with pytest.raises(InputError, match=message):
        split_rows(clips(6), **options)


def test_no_rows_and_a_column_without_train_are_told():
    with pytest.raises(InputError, match="at least one"):
        split_rows([])
    with pytest.raises(InputError, match="something to learn from"):
        split_rows(with_splits(clips(2), lambda row: "test"))


def test_no_validation_on_request():
    split = split_rows(clips(6), validation_share=0)
    assert split.validation == () and len(split.train) == 72 and split.protocol == "no validation"


ROW = st.builds(
    lambda number, speaker, emotion, kind, dialogue: ManifestRow(
        path=None if kind == "text" else Path(f"/data/{number}.wav"),
        text=f"text {number % 7}" if kind != "audio" else None,
        speaker=speaker, emotion=emotion, dialogue=dialogue, folder=Path("/data"),
    ),
    st.integers(0, 10_000), st.sampled_from([None, "a", "b", "c", "d", "e"]), st.sampled_from([None, "joy", "anger", "fear", "joy|fear"]),
    st.sampled_from(["text", "audio", "both"]), st.sampled_from([None, "d1", "d2", "d3"]),
)  # fmt: skip


@given(st.lists(ROW, min_size=1, max_size=40), st.integers(0, 5), st.randoms(use_true_random=False), st.floats(0.05, 0.6))
@settings(deadline=None, max_examples=300)
def test_splits_of_any_rows_hold(rows, seed, shuffler, share):
    contents = [None] * len(rows)
    split = split_rows(rows, seed=seed, validation_share=share, contents=contents)
    parts = [*split.train, *split.validation, *split.test]
    assert split.train and len(set(parts)) == len(parts) and not split.test
    learned, held = [rows[i] for i in split.train], [rows[i] for i in split.validation]
    if split.protocol.startswith("speaker-disjoint"):
        assert not {row.speaker for row in learned} & {row.speaker for row in held}
    assert not {row.text for row in learned} & {row.text for row in held if row.path is None}
    assert not {row.path for row in learned} & {row.path for row in held if row.path is not None and row.speaker is None}
    left_out = [row for index, row in enumerate(rows) if index not in parts]
    heard = {row.path for row in learned + held}
    assert all(row.path in heard or (row.path is None and row.text in {other.text for other in learned}) for row in left_out)
    assert not {row.path for row in learned if row.path} & {row.path for row in held}
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    again = split_rows(shuffled, seed=seed, validation_share=share, contents=contents)
    assert names(shuffled, again) == names(rows, split) and again.protocol == split.protocol and again.notes == split.notes


def test_copies_are_on_one_side(tmp_path):
    for number, name in enumerate(("a1", "a2", "b1", "b2", "c1", "c2")):
        soundfile.write(tmp_path / f"{name}.wav", [number / 10] * 800, 16_000)
    copied = (tmp_path / "a1.wav").read_bytes()
    (tmp_path / "copy.wav").write_bytes(copied)
    people = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c", "c2": "c", "copy": "b"}
    rows = [
        ManifestRow(path=tmp_path / f"{name}.wav", speaker=who, emotion=("joy", "anger")[name[-1] == "2"], folder=tmp_path)
        for name, who in people.items()
    ]
    none = [None] * len(rows)  # copies of files, byte for byte, are found all the same
    split = split_rows(rows, test_speakers=["a"], validation_speakers=["c"], contents=none)
    assert split.test == (0, 1) and split.train == (2, 3) and split.validation == (4, 5)
    assert split.notes == ("1 clip was left out: it sounds the same as others on another side: copy.wav",)
    contents = ["same" if index in (2, 4) else None for index in range(6)]
    assert split_rows(rows[:6], test_speakers=["a"], validation_speakers=["c"], contents=contents).train == (3,)
    column = with_splits(rows, lambda row: "test" if row.speaker == "a" else "train")
    assert 6 not in split_rows(column, validation_share=0, contents=none).train
    forced = split_rows(column, validation_share=0, allow_leak=True, contents=none)
    assert 6 in forced.train and "the split leaks, and scores are too good: 1 clip sounds the same" in forced.notes[-1]
    only = [rows[0], rows[6]]
    with pytest.raises(InputError, match="only what sounds the same as the test part"):
        split_rows(only, test_speakers=["a"], validation_share=0, contents=[1, 1])
    assert split_rows(only, validation_speakers=["a"], contents=[1, 1]).train == (1,)  # rather no validation than nothing to learn from


def test_the_same_rows_and_seed_give_the_same_split_in_any_order_and_any_process():
    rows = clips(9)
    shuffled = random.Random(1).sample(rows, len(rows))
    assert names(rows, split_rows(rows, seed=3)) == names(shuffled, split_rows(shuffled, seed=3))
    code = (
        "from pathlib import Path; from multimodal_ser.corpora import *\n"
        "rows = [ManifestRow(path=Path(f'/{s}{n}.wav'), emotion=e, speaker=s) for s in 'abcdef' for e in ('joy', 'fear') for n in range(3)]\n"
        "print(split_rows(rows), split_rows([ManifestRow(path=row.path, emotion=row.emotion) for row in rows]))"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_nothing_heavy_is_imported():
    code = "import multimodal_ser.corpora.folders, multimodal_ser.metrics, sys; print({'torch', 'pandas', 'pyarrow', 'transformers', 'evaluate'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_folds_of_emobox_cover_each_actor_once():
    actors = [actor for fold in EMOBOX_RAVDESS_FOLDS.values() for actor in fold]
    assert sorted(actors) == [f"{n:02d}" for n in range(1, 25)]


# ---- real corpora


@pytest.mark.parametrize(("corpus", "clips", "speakers", "classes"), [("ravdess", 1200, 20, 8), ("emodb", 418, 8, 7), ("nemo", 3775, 7, 6)])
def test_real_manifests(data, corpus, clips, speakers, classes):
    manifest = read_manifest(data / corpus / "manifest.csv")
    assert len(manifest.rows) == clips and manifest.errors == () and manifest.ignored == ("duration",)
    assert len(manifest.speakers) == speakers and len(manifest.emotions) == classes and sum(manifest.emotions.values()) == clips
    split = split_rows(manifest.rows)
    assert not voices(manifest.rows, split.train) & voices(manifest.rows, split.validation)
    assert labels(manifest.rows, split.train) == labels(manifest.rows, split.validation) and split.notes == ()
    assert 0.08 < len(split.validation) / clips < 0.25


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_real_folds(data, fold):
    rows = read_manifest(data / "ravdess").rows
    split = split_rows(rows, test_speakers=[f"ravdess_{actor}" for actor in EMOBOX_RAVDESS_FOLDS[fold]], validation_share=2 / 16)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [14 * 60, 2 * 60, 4 * 60]
    assert split.protocol.endswith("speaker-disjoint: 2 of 16 speakers held out")
    parts = [voices(rows, part) for part in (split.train, split.validation, split.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))


def test_real_texts(data):
    meld = read_manifest(data / "text" / "meld.csv")
    assert len(meld.rows) == 11098 and meld.errors == () and all(row.start is None and row.end is None for row in meld.rows)
    assert meld.rows[1].turn == 1 and meld.rows[0].dialogue == "0"
    with pytest.raises(InputError, match="voices in train and validation"):
        split_rows(meld.rows)
    split = split_rows(meld.rows, allow_leak=True)
    assert (len(split.train), len(split.validation)) == (9989, 1109) and "leaks" in split.notes[0]
    goemotions = read_manifest(data / "text" / "goemotions_ekman.csv")
    assert len(goemotions.rows) == 48836 and goemotions.errors == ()
    dailydialog = read_manifest(data / "text" / "dailydialog.csv")
    assert len(dailydialog.rows) == 130300 and dailydialog.errors == ()
    noise = read_manifest(data / "noise" / "manifest_noise.csv")
    assert len(noise.rows) == 23 and noise.errors == () and noise.emotions == {}


def test_columns_of_any_name_are_read_with_one_option(tmp_path):
    """A corpus that nobody named: without the option the error says which option it is."""
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, [0.0] * 800, 16_000)
    table = tmp_path / "odd.csv"
    table.write_text("wav_name;emo_code;who\na.wav;joy;Ann\nb.wav;anger;Bo\n")
    with pytest.raises(InputError, match=r"columns wav_name, emo_code, who; say which it is: --columns path=wav_name emotion=emo_code"):
        read_manifest(table)
    rows = read_manifest(table, columns={"path": "wav_name", "emotion": "emo_code", "speaker": "who"}).rows
    assert [(row.path.name, row.emotion, row.speaker) for row in rows] == [("a.wav", "joy", "Ann"), ("b.wav", "anger", "Bo")]
    with pytest.raises(InputError, match=r"expected a column 'wave'.*it has wav_name"):
        read_manifest(table, columns={"path": "wave"})
    with pytest.raises(InputError, match="did you mean 'emotion'"):
        read_manifest(table, columns={"emotions": "emo_code"})


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_what_is_written_is_read_back(tmp_path, ending):
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", [0.0] * 800, 16_000)
    rows = [
        ManifestRow(
            path=tmp_path / "audio" / "a.wav", id="1", emotion="anger|fear", text='He said "no", twice', sentence="s1", speaker="x", session="Ses01",
            start=0.0, end=0.04, arousal=1.5, votes={"anger": 2.0, "fear": 1.0}, turn=3, dialogue="d", language="de",
        ),
        ManifestRow(text="Äh, ok.", id="2", emotion="neutral", split="train"),
    ]  # fmt: skip
    write_manifest(rows, tmp_path / f"table{ending}")
    manifest = read_manifest(tmp_path / f"table{ending}")
    assert not manifest.errors and list(manifest.rows) == rows
    with pytest.raises(InputError, match=r"ends in \.csv"):
        write_manifest(rows, tmp_path / "table.xlsx")


def test_two_rows_with_one_id(tmp_path):
    table = tmp_path / "manifest.csv"
    table.write_text("id,text,emotion\nu1,Hello.,joy\nu2,Oh.,anger\nu1,No!,anger\n")
    manifest = read_manifest(table)
    assert [row.id for row in manifest.rows] == ["u1", "u2"]
    assert str(manifest.errors[0]).startswith("manifest.csv, line 4, id: expected an id of its own, got 'u1', as in line 2")


def test_ids_that_whole_dialogues_share_name_no_rows(tmp_path):
    path = table(tmp_path, "id,text\n" + "".join(f"d{n // 5},text {n}\n" for n in range(20)))
    manifest = read_manifest(path)
    assert len(manifest.rows) == 20 and not manifest.errors and manifest.ignored == ("id",)
    assert len(read_manifest(path, columns={"id": "id"}).errors) == 16  # whoever says so is believed
    two = table(tmp_path, "id,text\n1,a\n1,b\n", "two.csv")
    assert [row.id for row in read_manifest(two).rows] == ["1"]
    assert [row.id for row in read_manifest(two, columns={"id": ""}).rows] == [None, None]


def test_a_tree_of_folders_with_labels_in_a_table_is_read_with_one_option(tmp_path):
    tree(tmp_path, "clips/s1/one.wav", "clips/s1/two.flac", "clips/s2/one.wav", "clips/s2/three.wav")
    table(tmp_path, "name,emo,who\ntwo,joy,s1\nthree.wav,anger,s2\none,joy,s1\ns2/one,joy,s2\nfour,joy,s2\n", "labels.csv")
    with pytest.raises(
        InputError, match=r"got folders of other names, and the table labels.csv; read .*labels.csv with --columns path=name emotion=emo"
    ):
        read_manifest(tmp_path)
    columns = {"path": "name", "emotion": "emo", "speaker": "who"}
    manifest = read_manifest(tmp_path, columns=columns)
    assert [row.name for row in manifest.rows] == ["clips/s1/two.flac", "clips/s2/three.wav", "clips/s2/one.wav"]
    assert [row.emotion for row in manifest.rows] == ["joy", "anger", "joy"]
    assert "line 4, path: expected one recording, got 2 of the name one: clips/s1/one.wav, clips/s2/one.wav" in errors_of(manifest)[0]
    assert "line 6, path: expected a recording, got no file four" in errors_of(manifest)[1]
    inner = read_manifest(tmp_path, columns={**columns, "root": "clips/s1"})
    assert [row.name for row in inner.rows] == ["two.flac", "one.wav"]
    with pytest.raises(InputError, match=r"columns, root: expected a folder, got no folder .*nowhere"):
        read_manifest(tmp_path, columns={**columns, "root": "nowhere"})
    table(tmp_path, "name\n", "more.csv")
    with pytest.raises(InputError, match=r"expected one table that columns is about, got labels.csv, more.csv"):
        read_manifest(tmp_path, columns=columns)


def test_an_unknown_column_of_emotions_is_pointed_out(folder):
    manifest = read_manifest(table(folder, "path,felt\naudio/a.wav,happy\naudio/b.wav,sad\n"))
    assert manifest.rows[0].emotion is None and manifest.ignored == ("felt",)
    assert manifest.notes == ("manifest.csv has no column of emotions by name, but 'felt' seems to hold some: --columns emotion=felt",)
    assert read_manifest(table(folder, "path,emotion\naudio/a.wav,happy\n")).notes == ()
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"wav name": ["a.wav"], "felt": ["joy"], "n": [1]}).to_parquet(folder / "m.parquet")
    with pytest.raises(InputError, match="got the columns wav name, felt, n; say which it is: --columns path='wav name' emotion=felt"):
        read_manifest(folder / "m.parquet")


def test_the_option_columns():
    assert columns_option(["path=wav", "id=", "text=a=b"]) == {"path": "wav", "id": "", "text": "a=b"}
    for wrong in (["path"], ["=wav"], ["path=a", "path=b"]):
        with pytest.raises(InputError, match="--columns: expected FIELD=COLUMN, each field once"):
            columns_option(wrong)


def test_a_key_that_one_object_writes_otherwise_is_told(tmp_path):
    lines = [json.dumps({"text": f"text {n}", "emotion": "joy", "extra": 1}) for n in range(6)]
    lines += [json.dumps({"text": "typo", "emotoin": "joy"}), json.dumps({"text": "other", "label": "joy"}), json.dumps({"text": "none"})]
    manifest = read_manifest(table(tmp_path, "\n".join(lines), "m.jsonl"))
    assert len(manifest.rows) == 7 and [row.text for row in manifest.rows if row.emotion is None] == ["none"]
    assert [str(error) for error in manifest.errors] == [
        "m.jsonl, line 7, emotoin: expected the key emotion, got the key emotoin; rename it as in the other rows",
        "m.jsonl, line 8, label: expected the key emotion, got the key label; rename it as in the other rows",
    ]


def test_one_bad_row_of_every_kind_costs_only_itself(tmp_path):
    """What `read_manifest` and `check_recordings` find between them: each with line, field and remedy."""
    for name in ("a", "b", "c", "d"):
        soundfile.write(tmp_path / f"{name}.wav", [0.1] * 1600, 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF, or so it says")
    header = "id,path,emotion,start,end\n"
    rows = ["1,a.wav,joy,,", "2,missing.wav,joy,,", "3,b.wav,joy,2,1", "4,b.wav,jo\0y,,", "1,b.wav,joy,,", "6,broken.wav,joy,,", "7,b.wav,joy",
            "8,b.wav,joy,joy,", "9,b.wav,traurig und grün,,", "10,c.wav,anger,0.05,", "11,d.wav,anger,5,"]  # fmt: skip
    content = (header + "\n".join(rows) + "\n").encode().replace("grün".encode(), "grün".encode("latin-1"))
    (tmp_path / "manifest.csv").write_bytes(content)
    manifest = read_manifest(tmp_path)
    kept, unreadable = check_recordings(manifest.rows)
    assert [row.id for row in kept] == ["1", "10"]
    errors = [*manifest.errors, *unreadable]
    assert [error.what.removeprefix("manifest.csv, ") for error in errors] == [
        "line 3, path", "line 4, end", "line 5, emotion", "line 6, id", "line 8", "line 9, start", "line 10, emotion", "line 7, path", "line 12, start",
    ]  # fmt: skip
    assert all(error.remedy for error in errors) and "leave no cell out (id, path, emotion, start, end)" in str(errors[4])
    assert "broken.wav" in str(errors[7]) and "which lasts 0.100 s, got 5 s to its end (d.wav)" in str(errors[8])


def test_recordings_are_decoded_to_their_end_on_request(tmp_path):
    soundfile.write(tmp_path / "a.flac", [((n * 7919) % 1000) / 2000 - 0.25 for n in range(160_000)], 16_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[-20_000:-10_000] = bytes(10_000)
    (tmp_path / "a.flac").write_bytes(content)
    rows = [ManifestRow(path=tmp_path / "a.flac"), ManifestRow(text="words alone")]
    seen = []
    kept, errors = check_recordings(rows, whole=True, on_progress=lambda done, of: seen.append((done, of)))
    assert kept == (rows[1],) and errors[0].what == rows[0].name and seen == [(1, 1)]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda cell: cell.strip() == cell and cell.lower() not in ("nan", "<na>")
)
LINE = CELL.filter(lambda cell: "\n" not in cell)
NUMBER = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    st.lists(
        st.builds(
            ManifestRow, text=CELL, speaker=st.none() | LINE, sentence=st.none() | LINE, arousal=st.none() | NUMBER, turn=st.none() | st.integers(0, 99),
            votes=st.none() | st.dictionaries(LINE, st.floats(0.5, 9), min_size=1, max_size=3),
        ),
        min_size=1, max_size=6, unique_by=lambda row: row.text,
    ),
    st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_whatever_rows_hold_is_written_and_read_back(tmp_path_factory, rows, ending):
    path = write_manifest(rows, tmp_path_factory.mktemp("round") / f"m{ending}")
    manifest = read_manifest(path)
    assert manifest.errors == () and list(manifest.rows) == rows
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_paths_are_written_from_the_tables_folder_where_they_lie_below_it(tmp_path):
    rows = [ManifestRow(path=tmp_path / "in" / "a.wav"), ManifestRow(path=tmp_path / "b.wav")]
    path = write_manifest(rows, tmp_path / "in" / "m.csv")
    assert path.read_text().splitlines()[1:] == ["a.wav", (tmp_path / "b.wav").as_posix()]
    assert list(read_manifest(path, check_files=False).rows) == rows


def test_what_cannot_be_written_is_told_and_nothing_is_left(tmp_path):
    with pytest.raises(InputError, match=r"line 7, text: expected UTF-8, got bytes of another encoding"):
        write_manifest([ManifestRow(text="half a \ud83d", place="m.jsonl, line 7")], tmp_path / "m.csv")
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="expected a file that can be written"):
        write_manifest([ManifestRow(text="a")], tmp_path / "taken" / "m.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
