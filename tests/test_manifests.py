"""Manifests: whatever a table holds, each row is read or told, with its line, its field and what to do; and tables that are written."""

import json
import pickle
from pathlib import Path

import pytest
import soundfile
from corpus_tables import errors_of, table
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_ser.corpora import Manifest, ManifestRow, read_manifest
from multimodal_ser.corpora.tables import columns_option
from multimodal_ser.errors import InputError

# rows


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "audio").mkdir()
    for name in "abcdefghij":
        (tmp_path / "audio" / f"{name}.wav").touch()
    return tmp_path


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
    assert (row.emotion, row.text, row.speaker, row.dialogue, row.turn, row.language) == (
        "joy",
        "hi",
        "S",
        "D",
        7,
        "de",
    )
    assert row.path == folder / "audio/a.wav" and manifest.ignored == ("Sr No.",)


def test_a_column_of_the_fields_own_name_comes_before_its_synonyms(folder):
    manifest = read_manifest(table(folder, "label,emotion,text\n3,joy,hi\n"))
    assert manifest.rows[0].emotion == "joy" and manifest.ignored == ("label",)


def test_utterance_names_are_no_turns_but_bad_turns_are_told(folder):
    manifest = read_manifest(table(folder, "text,utterance_id\nhi,Ses01F_000\nho,Ses01F_001\n"))
    assert (
        [row.turn for row in manifest.rows] == [None, None]
        and manifest.errors == ()
        and manifest.ignored == ("utterance_id",)
    )
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
    manifest = read_manifest(
        table(folder, f"path,emotion,start,end,votes\naudio/a.wav,joy,,,\n{cells}\naudio/c.wav,joy,,,\n")
    )
    assert [row.name for row in manifest.rows] == ["audio/a.wav", "audio/c.wav"]
    assert len(manifest.errors) == 1 and errors_of(manifest)[0].startswith(f"manifest.csv, {message}")


def test_every_kind_of_bad_row_at_once(folder):
    good = [f"audio/{name}.wav,joy,\n" for name in "abc"]
    text = (
        "path,emotion,start\n"
        + good[0]
        + 'x.wav,joy,\naudio/d.wav,"joy,\n'
        + good[1]
        + ",joy,\naudio/e.wav,joy,late\n"
        + good[0]
        + good[2]
    )
    manifest = read_manifest(table(folder, text))
    assert [row.name for row in manifest.rows] == ["audio/a.wav", "audio/b.wav", "audio/c.wav"]
    assert [error.what.split(", ")[1] for error in manifest.errors] == [
        "line 3",
        "line 4",
        "line 6",
        "line 7",
        "line 8",
    ]


def test_lines_are_counted_through_texts_of_several_lines(folder):
    manifest = read_manifest(
        table(folder, 'text,emotion\r\n\r\n"one\r\ntwo",joy\r\n"three ""3""\u2028",anger\r\n,joy\r\n')
    )
    assert [(row.text, row.place) for row in manifest.rows] == [
        ("one\r\ntwo", "manifest.csv, line 3"),
        ('three "3"', "manifest.csv, line 5"),
    ]
    assert manifest.errors[0].what == "manifest.csv, line 6"


def test_parts_of_a_recording_are_rows_of_their_own(folder):
    manifest = read_manifest(
        table(folder, "path,start,end\naudio/a.wav,0,1\naudio/a.wav,1,2\naudio/a.wav,1,\naudio/a.wav,1.0,2.0\n")
    )
    assert [row.name for row in manifest.rows] == [
        "audio/a.wav[0.000-1.000]",
        "audio/a.wav[1.000-2.000]",
        "audio/a.wav[1.000-]",
    ]
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


def test_two_rows_with_one_id(tmp_path):
    table = tmp_path / "manifest.csv"
    table.write_text("id,text,emotion\nu1,Hello.,joy\nu2,Oh.,anger\nu1,No!,anger\n")
    manifest = read_manifest(table)
    assert [row.id for row in manifest.rows] == ["u1", "u2"]
    assert str(manifest.errors[0]).startswith(
        "manifest.csv, line 4, id: expected an id of its own, got 'u1', as in line 2"
    )


def test_ids_that_whole_dialogues_share_name_no_rows(tmp_path):
    path = table(tmp_path, "id,text\n" + "".join(f"d{n // 5},text {n}\n" for n in range(20)))
    manifest = read_manifest(path)
    assert len(manifest.rows) == 20 and not manifest.errors and manifest.ignored == ("id",)
    assert len(read_manifest(path, columns={"id": "id"}).errors) == 16  # whoever says so is believed
    two = table(tmp_path, "id,text\n1,a\n1,b\n", "two.csv")
    assert [row.id for row in read_manifest(two).rows] == ["1"]
    assert [row.id for row in read_manifest(two, columns={"id": ""}).rows] == [None, None]


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


# kinds of tables


def test_a_manifest_in_the_folder_comes_before_its_recordings(folder):
    table(folder, "path,emotion\naudio/a.wav,joy\n")
    assert read_manifest(folder) == read_manifest(folder / "manifest.csv")


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
    assert errors_of(manifest) == [
        "manifest.csv, line 3, text: expected UTF-8, got bytes of another encoding; save the file as UTF-8"
    ]


def test_a_byte_order_mark_and_semicolons_are_what_spreadsheets_write(folder):
    manifest = read_manifest(table(folder, "path;emotion;text\naudio/a.wav;joy;Well, yes\n", encoding="utf-8-sig"))
    assert manifest.errors == () and manifest.rows[0].text == "Well, yes" and manifest.rows[0].emotion == "joy"


def test_tab_separated_texts_need_no_quotes(folder):
    manifest = read_manifest(
        table(folder, 'text\temotion\n"Hi," he said\tjoy\n"never closed\tanger\n"a\tb"\tfear\n', "m.tsv")
    )
    assert [(row.text, row.emotion) for row in manifest.rows] == [
        ('"Hi," he said', "joy"),
        ('"never closed', "anger"),
        ("a\tb", "fear"),
    ]


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
    assert (second.text, second.arousal, second.valence, second.place) == (
        "nur Text: schön",
        None,
        2.0,
        "m.jsonl, line 4",
    )
    assert [error.what for error in manifest.errors] == ["m.jsonl, line 2", "m.jsonl, line 3", "m.jsonl, line 5, text", "m.jsonl, line 6, text", "m.jsonl, line 7, arousal"]  # fmt: skip


def test_a_json_list_is_read_too(folder):
    manifest = read_manifest(table(folder, json.dumps([{"text": "a"}, 3, {"text": "b", "split": "dev"}]), "m.json"))
    assert [(row.text, row.split, row.place) for row in manifest.rows] == [
        ("a", None, "m.json, row 1"),
        ("b", "dev", "m.json, row 3"),
    ]
    assert manifest.errors[0].what == "m.json, row 2"


def test_a_key_that_one_object_writes_otherwise_is_told(tmp_path):
    lines = [json.dumps({"text": f"text {n}", "emotion": "joy", "extra": 1}) for n in range(6)]
    lines += [
        json.dumps({"text": "typo", "emotoin": "joy"}),
        json.dumps({"text": "other", "label": "joy"}),
        json.dumps({"text": "none"}),
    ]
    manifest = read_manifest(table(tmp_path, "\n".join(lines), "m.jsonl"))
    assert len(manifest.rows) == 7 and [row.text for row in manifest.rows if row.emotion is None] == ["none"]
    assert [str(error) for error in manifest.errors] == [
        "m.jsonl, line 7, emotoin: expected the key emotion, got the key emotoin; rename it as in the other rows",
        "m.jsonl, line 8, label: expected the key emotion, got the key label; rename it as in the other rows",
    ]


def test_parquet_says_the_same_as_csv(folder):
    pandas = pytest.importorskip("pandas")
    path = table(
        folder,
        "path,emotion,speaker,start,end,extra\naudio/a.wav,joy,1,0.5,1,x\naudio/b.wav,,,,,y\nc.wav,anger,2,,,z\n",
    )
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
    pq.write_table(
        pa.table({"text": ["a"], "audio": [{"bytes": b"RIFF", "path": "a.wav"}]}), tmp_path / "inside.parquet"
    )
    with pytest.raises(InputError, match="expected paths of recordings, got the column audio of struct"):
        read_manifest(tmp_path / "inside.parquet")
    pq.write_table(pa.table({"sound": ["a"]}), tmp_path / "neither.parquet")
    with pytest.raises(InputError, match="expected a column path or text, got the columns sound"):
        read_manifest(tmp_path / "neither.parquet")


# columns of other names


def test_columns_of_any_name_are_read_with_one_option(tmp_path):
    """A corpus that nobody named: without the option the error says which option it is."""
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, [0.0] * 800, 16_000)
    table = tmp_path / "odd.csv"
    table.write_text("wav_name;emo_code;who\na.wav;joy;Ann\nb.wav;anger;Bo\n")
    with pytest.raises(
        InputError, match=r"columns wav_name, emo_code, who; say which it is: --columns path=wav_name emotion=emo_code"
    ):
        read_manifest(table)
    rows = read_manifest(table, columns={"path": "wav_name", "emotion": "emo_code", "speaker": "who"}).rows
    assert [(row.path.name, row.emotion, row.speaker) for row in rows] == [
        ("a.wav", "joy", "Ann"),
        ("b.wav", "anger", "Bo"),
    ]
    with pytest.raises(InputError, match=r"expected a column 'wave'.*it has wav_name"):
        read_manifest(table, columns={"path": "wave"})
    with pytest.raises(InputError, match="did you mean 'emotion'"):
        read_manifest(table, columns={"emotions": "emo_code"})


def test_an_unknown_column_of_emotions_is_pointed_out(folder):
    manifest = read_manifest(table(folder, "path,felt\naudio/a.wav,happy\naudio/b.wav,sad\n"))
    assert manifest.rows[0].emotion is None and manifest.ignored == ("felt",)
    assert manifest.notes == (
        "manifest.csv has no column of emotions by name, but 'felt' seems to hold some: --columns emotion=felt",
    )
    assert read_manifest(table(folder, "path,emotion\naudio/a.wav,happy\n")).notes == ()
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"wav name": ["a.wav"], "felt": ["joy"], "n": [1]}).to_parquet(folder / "m.parquet")
    with pytest.raises(
        InputError, match="got the columns wav name, felt, n; say which it is: --columns path='wav name' emotion=felt"
    ):
        read_manifest(folder / "m.parquet")


def test_the_option_columns():
    assert columns_option(["path=wav", "id=", "text=a=b"]) == {"path": "wav", "id": "", "text": "a=b"}
    for wrong in (["path"], ["=wav"], ["path=a", "path=b"]):
        with pytest.raises(InputError, match="--columns: expected FIELD=COLUMN, each field once"):
            columns_option(wrong)
