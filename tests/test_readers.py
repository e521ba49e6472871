"""Readers of corpora: what their names and tables say, on trees made after their documentation; three on real recordings, three on real texts."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multimodal_ser.corpora.registry import CORPORA, Corpus, find_corpus, read_corpus
from multimodal_ser.corpora.splits import SPLIT_NAMES
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS, EMOTIONS, CorpusLabels


def clips(root, *names):
    """Tiny recordings of these names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".wav":
            soundfile.write(path, np.zeros(160, dtype=np.float32), 16_000)
        else:
            path.write_bytes(b"a film")


def write(root, name, text, encoding="utf-8"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def read(name, root):
    manifest = read_corpus(name, root)
    for row in manifest.rows:
        assert row.corpus == name and row.place and row.language in CORPORA[name].languages
        assert row.emotion is None or set(row.emotion.split("|")) <= set(CORPUS_LABELS[name].labels)
        assert row.speaker is None or row.speaker.startswith(f"{name}_")
        assert row.gender in (None, "female", "male")
        assert row.split is None or row.split in SPLIT_NAMES.values() or row.split in ("test2", "test3")
        assert row.path is None or row.path.is_file()
    named = [row.id for row in manifest.rows if row.id is not None]
    assert len(set(named)) == len(named)
    return {row.id: row for row in manifest.rows}, [str(error) for error in manifest.errors]


def told(row, *fields):
    return tuple(getattr(row, field) for field in fields)


# --- the registry


def test_every_corpus_says_what_a_user_should_know():
    assert set(CORPORA) == set(CORPUS_LABELS) and len(CORPORA) == 19
    for name, corpus in CORPORA.items():
        assert corpus.name == name and corpus.labels is CORPUS_LABELS[name]
        for url in (corpus.homepage, corpus.documentation):
            assert url.startswith("http") and " " not in url
        assert all(len(language) == 2 for language in corpus.languages)
        assert corpus.title and corpus.licence and corpus.citation and corpus.layout and corpus.remarks
        module = __import__(f"multimodal_ser.corpora.readers.{name}", fromlist=["CORPUS"])
        assert ("Tested only on a made tree" in module.__doc__) == (corpus.run_on == "made tree")
        assert "http" in module.__doc__ or "not documented" in module.__doc__
    real = {name for name, corpus in CORPORA.items() if corpus.run_on != "made tree"}
    assert real == {"ravdess", "emodb", "nemo", "goemotions", "dailydialog", "meld"}


def test_names_are_found_however_they_are_written():
    assert find_corpus("CREMA-D") is find_corpus("cremad") is CORPORA["crema_d"]
    with pytest.raises(InputError, match="did you mean 'ravdess'"):
        find_corpus("ravdes")
    with pytest.raises(InputError, match="write a manifest"):
        find_corpus("xyzzy")
    with pytest.raises(KeyError):
        CORPORA["xyzzy"]


@pytest.mark.parametrize("name", CORPORA)
def test_a_folder_of_something_else_says_which_files_were_expected(name, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_corpus(name, tmp_path / "nowhere")
    write(tmp_path, "notes.txt", "nothing")
    clips(tmp_path, "song.wav")
    with pytest.raises(InputError) as error:
        read_corpus(name, tmp_path)
    assert CORPORA[name].layout in str(error.value) and CORPORA[name].homepage in str(error.value)


def test_copies_and_strangers_are_named_and_the_others_read(tmp_path):
    clips(tmp_path, "Actor_01/03-01-05-02-01-01-01.wav", "again/Actor_01/03-01-05-02-01-01-01.wav", "Actor_01/03-01-09-02-01-01-01.wav",
          "Actor_01/take2.wav", ".hidden.wav", "README.txt")  # fmt: skip
    soundfile.write(tmp_path / "again/Actor_01/03-01-05-02-01-01-01.wav", np.zeros(200), 16_000)
    manifest = read_corpus("ravdess", tmp_path)
    assert [row.place for row in manifest.rows] == ["Actor_01/03-01-05-02-01-01-01.wav"]
    errors = sorted(map(str, manifest.errors))
    assert len(errors) == 3 and manifest.ignored == ("README.txt",)
    assert errors[0].startswith("Actor_01/03-01-09-02-01-01-01.wav, emotion: expected one of 01, 02")
    assert errors[1].startswith("Actor_01/take2.wav: expected a name as 03-01-06-01-02-01-12.wav")
    assert errors[2].startswith(
        "again/Actor_01/03-01-05-02-01-01-01.wav: expected each clip once, got the same name as Actor_01/"
    )


def test_equal_copies_are_one_note_with_a_count(tmp_path):
    names = [f"Actor_01/03-01-05-0{level}-01-01-01.wav" for level in (1, 2)]
    clips(tmp_path, *names, *(f"audio_speech_actors_01-24/{name}" for name in names))
    manifest = read_corpus("ravdess", tmp_path)
    assert [row.place for row in manifest.rows] == names and not manifest.errors
    assert manifest.notes == ("2 files: copies, byte for byte, of clips that are read: not read",)


def test_a_corpus_of_ones_own(tmp_path):
    from multimodal_ser.corpora.readers import read_names

    def fields(name):
        return {"speaker": f"mine_{name[1]}", "emotion": name[2]}

    mine = Corpus("mine", "Mine", ("en",), "mine", "me", "https://example.org", "https://example.org", CorpusLabels(("anger",), {}),
                  "ann_anger_1.wav", "made tree", lambda root: read_names(root, "mine", r"([a-z]+)_([a-z]+)_\d", "ann_anger_1.wav", fields))  # fmt: skip
    clips(tmp_path, "ann_anger_1.wav", "bo-anger-1.wav")
    manifest = read_corpus(mine, tmp_path)
    assert manifest.speakers == ["mine_ann"] and manifest.emotions == {"anger": 1} and len(manifest.errors) == 1


def test_a_bad_line_of_a_table_costs_itself_alone(tmp_path):
    from multimodal_ser.corpora.readers import read_table

    lines = [
        b"file,text",
        b"a,naive",
        b"b,na\xefve",
        b'c,"not closed',
        b"d,a\0b",
        b"e",
        b"",
        b'f,"two',
        b'lines"',
        b'g,"last, ""quoted"""',
    ]
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    rows = list(read_table(tmp_path / "t.csv", ["file", "text"]))
    assert [row[1] for row in rows if not isinstance(row, InputError)] == [
        {"file": "a", "text": "naive"}, {"file": "f", "text": "two\nlines"}, {"file": "g", "text": 'last, "quoted"'},
    ]  # fmt: skip
    errors = [str(row).partition(";")[0] for row in rows if isinstance(row, InputError)]
    assert errors == ["t.csv, line 3: expected UTF-8, got bytes of another encoding",
                      "t.csv, line 4: expected cells, each in a pair of quotes or without, got a stray quote", "t.csv, line 5: expected text, got a NUL character",
                      "t.csv, line 6: expected 2 cells, got 1"]  # fmt: skip
    (tmp_path / "t.tsv").write_text('file\ttext\na\t"so\nb\tso\n')
    assert [row[1]["text"] for row in read_table(tmp_path / "t.tsv", ["text"])] == ['"so', "so"]
    [error] = read_table(tmp_path / "t.csv", ["file", "emotion", "speaker"])
    assert str(error).startswith("t.csv: expected a column emotion, speaker, got the columns file, text")


@pytest.mark.parametrize("name", ["goemotions", "dailydialog", "jl_corpus"])
def test_a_text_in_another_encoding_is_named_and_the_others_read(name, tmp_path):
    write(tmp_path, "emotions.txt", "joy\n")
    (tmp_path / "train.tsv").write_bytes(b"na\xefve\t0\ta\nfine\t0\tb\n")
    (tmp_path / "dialogues_text.txt").write_bytes(b"na\xefve __eou__ fine __eou__\n")
    write(tmp_path, "dialogues_emotion.txt", "0 0\n")
    clips(tmp_path, "female1_sad_1a_1.wav", "female1_sad_2a_1.wav")
    (tmp_path / "female1_sad_1a_1.txt").write_bytes(b"na\xefve\n")
    write(tmp_path, "female1_sad_2a_1.txt", "fine\n")
    rows, errors = read(name, tmp_path)
    assert [row.text for row in rows.values()] == ["fine"]
    assert len(errors) == 1 and "text: expected UTF-8, got bytes of another encoding" in errors[0]


# --- acted speech: names say all


@pytest.mark.parametrize("folder", ["", "Actor_12/", "archive/audio_speech_actors_01-24/Actor_12/"])
def test_ravdess(folder, tmp_path):
    clips(
        tmp_path,
        f"{folder}03-01-06-01-02-01-12.wav",
        f"{folder}03-02-06-01-02-01-12.wav",
        f"{folder}01-01-06-01-02-01-12.mp4",
    )
    rows, errors = read("ravdess", tmp_path)
    row = rows["03-01-06-01-02-01-12"]
    assert told(row, "emotion", "intensity", "sentence", "text") == (
        "fear",
        "normal",
        "02",
        "Dogs are sitting by the door.",
    )
    assert told(row, "speaker", "gender", "split") == ("ravdess_12", "female", None)
    assert not errors
    assert sorted(read_corpus("ravdess", tmp_path).notes) == [
        "1 file: songs (..-02-...): speech alone is read", "1 file: videos (01-..., 02-...): sound alone is read",
    ]  # fmt: skip
    (tmp_path / f"{folder}03-01-06-01-02-01-12.wav").unlink()
    with pytest.raises(InputError, match=r"got none of these files; .*; 1 file: songs"):
        read("ravdess", tmp_path)


def test_emodb(tmp_path):
    clips(tmp_path, "wav/03a01Fa.wav", "wav/16b10Lb.wav", "wav/08a02Nc.wav", "wav/03a03Fa.wav", "wav/03a01Xa.wav")
    rows, errors = read("emodb", tmp_path)
    assert told(rows["03a01Fa"], "emotion", "speaker", "gender", "sentence") == ("happiness", "emodb_03", "male", "a01")
    assert told(rows["16b10Lb"], "emotion", "gender", "text") == (
        "boredom",
        "female",
        "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
    )
    assert len(errors) == 2 and "03a03Fa" in errors[1] and "got 'X'" in errors[0]


def test_nemo(tmp_path):
    write(tmp_path, "data.tsv", "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
          "EB0_surprised_7\tsurprised\tNaprawdę?\tnaprawdę\tEB0\tfemale\t24\n")  # fmt: skip
    clips(tmp_path, "samples/EB0_surprised_7.wav", "samples/KS0_anger_7.wav", "samples/KS0_disgust_7.wav")
    rows, errors = read("nemo", tmp_path)
    assert told(rows["EB0_surprised_7"], "emotion", "text", "gender", "sentence") == (
        "surprise",
        "Naprawdę?",
        "female",
        "7",
    )
    assert told(rows["KS0_anger_7"], "emotion", "text", "gender", "speaker") == ("anger", None, None, "nemo_KS0")
    assert len(errors) == 1 and "got 'disgust'" in errors[0]


def test_crema_d(tmp_path):
    write(
        tmp_path,
        "VideoDemographics.csv",
        "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n1002,21,Female\n",
    )
    clips(
        tmp_path,
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioWAV/1002_IEO_HAP_LO.wav",
        "AudioWAV/1040_ITH_SAD_X.wav",
        "AudioWAV/1001_XYZ_ANG_XX.wav",
    )
    rows, errors = read("crema_d", tmp_path)
    assert told(rows["1001_DFA_ANG_XX"], "emotion", "intensity", "text", "gender") == (
        "anger",
        None,
        "Don't forget a jacket.",
        "male",
    )
    assert told(rows["1002_IEO_HAP_LO"], "emotion", "intensity", "sentence", "speaker") == (
        "happiness",
        "low",
        "IEO",
        "crema_d_1002",
    )
    assert rows["1040_ITH_SAD_X"].intensity is None
    assert len(errors) == 2 and errors[0].startswith("VideoDemographics.csv, line 3") and "1001_XYZ_ANG_XX" in errors[1]


def test_crema_d_as_its_repository_lays_it_out(tmp_path):
    """The same clips lie in AudioMP3, AudioWAV and VideoFlash; a clip that has no wav is read from another."""
    names = ("1001_DFA_ANG_XX", "1002_IEO_HAP_LO")
    clips(tmp_path, *(f"AudioWAV/{name}.wav" for name in names), *(f"AudioMP3/{name}.mp3" for name in (*names, "1003_IEO_SAD_LO")),
          *(f"VideoFlash/{name}.flv" for name in names))  # fmt: skip
    rows, errors = read("crema_d", tmp_path)
    assert {name: row.path.suffix for name, row in rows.items()} == {
        names[0]: ".wav",
        names[1]: ".wav",
        "1003_IEO_SAD_LO": ".mp3",
    }
    assert not errors and read_corpus("crema_d", tmp_path).notes == (
        "2 files: .flv files beside .wav files of the same clips: not read", "2 files: .mp3 files beside .wav files of the same clips: not read",
    )  # fmt: skip


def test_tess(tmp_path):
    clips(
        tmp_path,
        "TESS/OAF_Pleasant_surprise/OAF_back_ps.wav",
        "TESS/YAF_sad/YAF_back_sad.wav",
        "TESS/OAF_neutral/OA_bite_neutral.wav",
        "TESS/x.wav",
    )
    rows, errors = read("tess", tmp_path)
    assert told(rows["OAF_back_ps"], "emotion", "text", "sentence", "speaker") == (
        "surprise",
        "Say the word back.",
        "back",
        "tess_OAF",
    )
    assert (
        rows["OA_bite_neutral"].speaker == "tess_OAF"
        and rows["YAF_back_sad"].speaker == "tess_YAF"
        and len(errors) == 1
    )


@pytest.mark.parametrize("name", ["AudioData/DC/{}.wav", "ALL/DC_{}.wav", "savee/dc/{}.wav"])
def test_savee(name, tmp_path):
    clips(tmp_path, *(name.format(code) for code in ("a01", "sa03", "su15", "n30", "x01")))
    rows, errors = read("savee", tmp_path)
    assert {code: row.emotion for code, row in rows.items()} == {
        "DC_a01": "anger",
        "DC_sa03": "sadness",
        "DC_su15": "surprise",
        "DC_n30": "neutral",
    }
    assert told(rows["DC_sa03"], "speaker", "gender", "sentence") == ("savee_DC", "male", "sa03")
    assert len(errors) == 1 and "got 'x'" in errors[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_esd(encoding, tmp_path):
    write(tmp_path, "0001/0001.txt", "0001_000351\t打远一看\t生气\n", encoding)
    clips(tmp_path, "0001/Angry/train/0001_000351.wav", "0001/Angry/evaluation/0001_000352.wav", "0020/Sad/0020_001052.wav",
          "0001/Angry/train/0002_000351.wav", "0001/Calm/train/0001_000001.wav")  # fmt: skip
    rows, errors = read("esd", tmp_path)
    assert told(rows["0001_000351"], "emotion", "split", "text", "language") == ("anger", "train", "打远一看", "zh")
    assert told(rows["0001_000352"], "split", "sentence", "gender") == ("validation", "zh002", "female")
    assert told(rows["0020_001052"], "emotion", "split", "sentence", "gender", "language") == (
        "sadness",
        None,
        "en002",
        "male",
        "en",
    )
    assert len(errors) == 2 and "a clip of speaker 0001" in errors[0] and "got 'Calm'" in errors[1]


def test_emovo(tmp_path):
    clips(tmp_path, "EMOVO/f1/dis-f1-b1.wav", "EMOVO/m3/tri-m3-n5.wav", "EMOVO/m3/tri-m4-n5.wav")
    rows, errors = read("emovo", tmp_path)
    assert told(rows["dis-f1-b1"], "emotion", "speaker", "gender", "text") == (
        "disgust",
        "emovo_f1",
        "female",
        "Gli operai si alzano presto.",
    )
    assert told(rows["tri-m3-n5"], "emotion", "gender", "sentence") == ("sadness", "male", "n5") and len(errors) == 1


def test_casia(tmp_path):
    clips(tmp_path, "CASIA/wangzhe/angry/201.wav", "CASIA/ZhaoZuoxiang/fear/201.wav", "CASIA/liuchanhg/sad/201.wav", "CASIA/nobody/sad/201.wav",
          "CASIA/wangzhe/calm/201.wav")  # fmt: skip
    rows, errors = read("casia", tmp_path)
    assert told(rows["wangzhe_angry_201"], "emotion", "speaker", "gender", "sentence") == (
        "anger",
        "casia_wangzhe",
        "male",
        "201",
    )
    assert rows["zhaozuoxiang_fear_201"].gender == "male" and rows["liuchanhg_sad_201"].gender == "female"
    assert len(errors) == 2 and any("nobody" in error for error in errors)


def test_jl_corpus(tmp_path):
    clips(
        tmp_path,
        "JL/female1_angry_1a_1.wav",
        "JL/male2_assertive_3b_2.wav",
        "JL/male1_anxious_3b_2.wav",
        "JL/male3_sad_1a_1.wav",
    )
    write(tmp_path, "JL/female1_angry_1a_1.txt", "Tom beats that farmer.\n")
    rows, errors = read("jl_corpus", tmp_path)
    assert told(rows["female1_angry_1a_1"], "emotion", "text", "session", "sentence") == (
        "anger",
        "Tom beats that farmer.",
        "1",
        "1a",
    )
    assert told(rows["male2_assertive_3b_2"], "emotion", "sentence", "gender") == (
        None,
        "assertive_3b",
        "male",
    )  # none of the nine: unlabelled
    assert rows["male1_anxious_3b_2"].emotion == "fear" and len(errors) == 1


def test_aesdd(tmp_path):
    clips(
        tmp_path,
        "anger/a03 (4).wav",
        "fear/f18 (5).wav",
        "fear/f18 (5)b.wav",
        "sadness/s20 (1).wav",
        "sadness/n01 (1).wav",
    )
    rows, errors = read("aesdd", tmp_path)
    assert told(rows["a03 (4)"], "emotion", "speaker", "sentence", "language") == ("anger", "aesdd_4", "03", "el")
    assert rows["f18 (5)b"].sentence == rows["f18 (5)"].sentence == "18" and rows["s20 (1)"].sentence is None
    assert len(errors) == 1 and "got 'n'" in errors[0]


# --- speech that was found


def test_shemo(tmp_path):
    write(
        tmp_path,
        "shemo.json",
        json.dumps({"F03S02": {"gender": "female", "emotion": "sadness", "transcript": "سلام", "ipa": "s"}}),
    )
    clips(tmp_path, "female/F03S02.wav", "male/M02F01.wav", "male/M02X01.wav")
    rows, errors = read("shemo", tmp_path)
    assert told(rows["F03S02"], "emotion", "text", "gender", "speaker") == ("sadness", "سلام", "female", "shemo_F03")
    assert told(rows["M02F01"], "emotion", "text", "gender") == ("fear", None, "male") and len(errors) == 1
    write(tmp_path, "shemo.json", "[1, 2]")
    rows, errors = read("shemo", tmp_path)
    assert len(rows) == 2 and errors[0].startswith("shemo.json: expected transcripts")


def test_urdu(tmp_path):
    clips(tmp_path, "Angry/SM1_F10_A010.wav", "Sad/SF2/SF2_F1_S01.wav", "Happy/SM1_F1_A011.wav")
    rows, errors = read("urdu", tmp_path)
    assert told(rows["SM1_F10_A010"], "emotion", "speaker", "gender") == ("anger", "urdu_SM1", "male")
    assert told(rows["SF2_F1_S01"], "emotion", "gender") == ("sadness", "female")
    assert len(errors) == 1 and "as the folder is Happy, got A" in errors[0]


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[4.0000, 4.5000, 3.0000]
C-E2:\tExcited;\t()
[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
[12.0000 - 13.0000]\tSes01F_impro01_M001\tfru\t[2.0000, 3.5000, 3.5000]
[14.0000 - 15.0000]\tSes01F_impro01_M002\tang\t[1.0000, 4.5000, 4.5000]
[16.0000 - 17.0000]\tSes01F_impro01_M003\trage\t[1.0000, 4.5000, 4.5000]
[18.0000 - 19.0000]\tunreadable
"""


def test_iemocap(tmp_path):
    write(tmp_path, "IEMOCAP/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", EVALUATION)
    write(
        tmp_path,
        "IEMOCAP/Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt",
        "Ses01F_impro01_F000 :Neutral; ()\n",
    )
    words = "Ses01F_impro01_F000 [006.2901-008.2357]: [LAUGHTER] Excuse [BREATHING] me.\n"
    write(tmp_path, "IEMOCAP/Session1/dialog/transcriptions/Ses01F_impro01.txt", words)
    folder = "IEMOCAP/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_"
    clips(
        tmp_path,
        *(f"{folder}{turn}.wav" for turn in ("F000", "M000", "M001", "M003", "F009")),
        "IEMOCAP/Session1/dialog/wav/Ses01F_impro01.wav",
    )
    rows, errors = read("iemocap", tmp_path)
    first, second, third = (rows[f"Ses01F_impro01_{turn}"] for turn in ("F000", "M000", "M001"))
    assert told(first, "emotion", "text", "turn", "speaker", "gender") == (
        "neutral",
        "Excuse me.",
        0,
        "iemocap_1F",
        "female",
    )
    assert told(second, "emotion", "turn", "valence", "arousal", "dominance") == ("happiness", 1, 4.0, 4.5, 3.0)
    assert told(third, "emotion", "arousal", "session", "dialogue", "speaker") == (
        None,
        3.5,
        "1",
        "Ses01F_impro01",
        "iemocap_1M",
    )
    assert len(rows) == 3 and len(errors) == 4
    for said in (
        "line 9: expected [start - end]",
        "M002.wav, got no such file",
        "got 'rage'",
        "F009.wav: expected a turn that EmoEvaluation",
    ):
        assert any(said in error for error in errors), said


HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"


def test_meld(tmp_path):
    write(tmp_path, "train_sent_emo.csv", HEADER + '1,"Oh, my God!",Phoebe,surprise,negative,0,0,4,7,"00:20:57,256","00:21:00,049"\n'
          "2,What?,A Waiter,joy,positive,0,1,4,7,,\n3,Hm.,Ross,envy,negative,0,2,4,7,,\n4,Gone.,Ross,anger,negative,0,3,4,7,,\n")  # fmt: skip
    write(tmp_path, "dev_sent_emo.csv", HEADER + "1,Hey!,Joey,neutral,neutral,0,0,4,7,,\n")
    rows, errors = read("meld", tmp_path)
    assert told(rows["train_0_0"], "emotion", "speaker", "gender", "split", "path") == (
        "surprise",
        "meld_Phoebe",
        "female",
        "train",
        None,
    )
    assert told(rows["validation_0_0"], "split", "dialogue", "turn") == ("validation", "validation_0", 0)
    assert rows["train_0_1"].gender is None and len(rows) == 4 and len(errors) == 1 and "got 'envy'" in errors[0]
    clips(tmp_path, *(f"train_splits/dia0_utt{turn}.mp4" for turn in (0, 1)), "train_splits/final.mp4")
    rows, errors = read("meld", tmp_path)
    assert (
        rows["train_0_1"].path.name == "dia0_utt1.mp4"
        and rows["train_0_1"].start is None
        and rows["validation_0_0"].path is None
    )
    assert len(errors) == 3 and any("dia0_utt3.mp4, got no such file" in error for error in errors)


@pytest.mark.parametrize(
    "folder", ["train/{}.wav", "MELD.Raw/train/train_splits/{}.mp4", "audio/train_splits/{}.wav", "wavs/Train/{}.flac"]
)
def test_meld_however_its_clips_are_kept(folder, tmp_path):
    write(
        tmp_path,
        "train_sent_emo.csv",
        HEADER + "1,Oh!,Phoebe,surprise,negative,0,0,4,7,,\n2,What?,A Waiter,joy,positive,0,1,4,7,,\n",
    )
    clips(
        tmp_path,
        folder.format("dia0_utt0"),
        folder.format("dia0_utt1"),
        folder.format("final_videos_testdia0_utt0"),
        "train/dia0_utt0.flv",
    )
    manifest = read_corpus("meld", tmp_path)
    assert [row.path.relative_to(tmp_path).as_posix() for row in manifest.rows] == [
        folder.format(f"dia0_utt{n}") for n in (0, 1)
    ]
    assert not manifest.errors and len(manifest.notes) == 2
    assert any(note.startswith("1 file: final_videos_test") for note in manifest.notes)


def test_msp_podcast(tmp_path):
    write(tmp_path, "Labels/labels_consensus.csv", "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
          "MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1\nMSP-PODCAST_0001_0009.wav,C,3.5,2.0,4.0,Unknown,Female,Development\n"
          "MSP-PODCAST_0001_0010.wav,A,high,2,4,31,Female,Train\nMSP-PODCAST_0001_0011.wav,A,6,2,4,31,Female,Test2\n"
          "MSP-PODCAST_0001_0012.wav,A,6,2,4,31,Female,Train\n")  # fmt: skip
    write(tmp_path, "Transcripts/MSP-PODCAST_0001_0008.txt", "well yes\n")
    clips(tmp_path, *(f"Audios/MSP-PODCAST_0001_{number:04d}.wav" for number in (8, 9, 10, 11, 99)))
    rows, errors = read("msp_podcast", tmp_path)
    first, second = rows["MSP-PODCAST_0001_0008"], rows["MSP-PODCAST_0001_0009"]
    assert told(first, "emotion", "text", "speaker", "split", "arousal") == (
        "neutral",
        "well yes",
        "msp_podcast_30",
        "test",
        2.2,
    )
    assert told(second, "emotion", "speaker", "split", "valence") == (None, None, "validation", 2.0)
    assert rows["MSP-PODCAST_0001_0011"].split == "test2" and len(rows) == 3 and len(errors) == 3
    for said in (
        "line 4, EmoAct: expected a rating",
        "0012.wav, got no such file",
        "0099.wav: expected a turn of labels_consensus.csv",
    ):
        assert any(said in error for error in errors), said


def test_cmu_mosei(tmp_path):
    write(tmp_path, "label.csv", "video_id,clip_id,text,label,annotation,mode,happy,sad,anger,surprise,disgust,fear\n"
          "abc,0,Great film.,2.4,Positive,train,1.33,0,0,0,0,0\nabc,1,Well.,0,Neutral,valid,0,0,0,0,0,0\nx-y,0,Hm.,-1,Negative,test,0,0.5,0.5,0,0,0\n"
          "x-y,1,Gone.,0,Neutral,test,0,0,0,0,0,0\nx-y,2,Bad.,much,Neutral,test,0,0,0,0,0,0\n")  # fmt: skip
    clips(tmp_path, "Raw/abc/0.mp4", "Raw/abc/1.mp4", "Raw/x-y/0.mp4", "Raw/x-y/2.mp4")
    rows, errors = read("cmu_mosei", tmp_path)
    assert told(rows["abc_0"], "emotion", "valence", "split", "speaker") == ("happiness", 2.4, "train", "cmu_mosei_abc")
    assert (
        told(rows["abc_1"], "emotion", "split") == ("neutral", "validation")
        and rows["x-y_0"].emotion == "anger|sadness"
    )
    assert len(errors) == 2 and "x-y/1.mp4, got no such file" in errors[0] and "label: expected a number" in errors[1]
    write(tmp_path, "label.csv", "video_id,clip_id,text,label,annotation,mode\nabc,0,Great film.,2.4,Positive,train\n")
    rows, errors = read("cmu_mosei", tmp_path)
    assert told(rows["abc_0"], "emotion", "valence") == (None, 2.4) and len(errors) == 3


# --- texts


def test_goemotions(tmp_path):
    names = ["admiration", "amusement", "anger", "annoyance", "curiosity", "grief", "neutral"]
    write(tmp_path, "data/emotions.txt", "\n".join(names) + "\n")
    write(tmp_path, "data/train.tsv", 'He said "why?\t4\ta1\nNice, but no.\t0,3\ta2\nHm\t6\ta3\n')
    write(tmp_path, "data/dev.tsv", "Poor you\t5\tb1\nbad\t9\tb2\nonly text\n")
    rows, errors = read("goemotions", tmp_path)
    assert told(rows["a1"], "text", "emotion", "split") == ('He said "why?', "surprise", "train")
    assert (
        rows["a2"].emotion == "anger|happiness"
        and rows["a3"].emotion == "neutral"
        and told(rows["b1"], "emotion", "split") == ("sadness", "validation")
    )
    assert len(errors) == 2 and "from 0 to 6, got '9'" in errors[0] and "dev.tsv, line 3" in errors[1]
    (tmp_path / "data/emotions.txt").unlink()
    with pytest.raises(InputError, match=r"emotions\.txt"):
        read_corpus("goemotions", tmp_path)


def test_dailydialog(tmp_path):
    write(
        tmp_path,
        "train/dialogues_train.txt",
        "Hi ! __eou__ Oh , you ! __eou__\nBad line . __eou__\nSo ? __eou__ What ? __eou__\n",
    )
    write(tmp_path, "train/dialogues_emotion_train.txt", "0 4 \n1 1 \n9 2\n")
    write(tmp_path, "dialogues_text.txt", "Hi ! __eou__ Oh , you ! __eou__\n")
    write(tmp_path, "dialogues_emotion.txt", "0 4\n")
    rows, errors = read("dailydialog", tmp_path)
    assert told(rows["en_train0_1"], "text", "emotion", "split", "turn") == ("Oh , you !", "happiness", "train", 1)
    assert rows["en_train2_1"].emotion == "disgust" and len(rows) == 3  # the whole beside the parts is not read again
    assert (
        len(errors) == 2
        and "line 2: expected 2 turns, as it has emotions, got 1" in errors[0]
        and "got '9'" in errors[1]
    )


def test_xdailydialog(tmp_path):
    for language, text in (
        ("En", "Hi ! __eou__ No . __eou__"),
        ("De", "Hallo ! __eou__ Nein . __eou__"),
        ("Zh", "你好！ __eou__ 不。 __eou__"),
    ):
        write(tmp_path, f"data/dialogues_text_{language}.txt", f"{text}\n")
    write(tmp_path, "data/dialogues_emotion.txt", "0 1\n")
    rows, errors = read("dailydialog", tmp_path)
    assert not errors and {row.language for row in rows.values()} == {"en", "de", "zh"}
    assert told(rows["zh_all0_1"], "text", "emotion") == ("不。", "anger")
    assert {row.dialogue for row in rows.values()} == {"all0"}  # a split keeps translations together


# --- the real ones


@pytest.mark.parametrize(("name", "count", "speakers"), [("ravdess", 1200, 20), ("emodb", 418, 8), ("nemo", 3775, 7)])
def test_real_recordings(name, count, speakers, data):
    rows, errors = read(name, data / name)
    assert len(rows) == count and not errors and len({row.speaker for row in rows.values()}) == speakers
    with (data / name / "manifest.csv").open(encoding="utf-8") as file:
        known = {Path(line["path"]).stem: line for line in csv.DictReader(file)}
    for key, row in rows.items():
        line = known[key]
        assert told(row, "emotion", "speaker", "text", "language") == (
            line["emotion"],
            line["speaker"],
            line["text"],
            line["language"],
        )
        assert row.gender[0] == line["gender"] and (row.intensity or "") == line["intensity"]
    assert not read_corpus(name, data / name).ignored or read_corpus(name, data / name).ignored == ("manifest.csv",)


@pytest.mark.parametrize(
    ("name", "table", "count"),
    [("goemotions", "goemotions_ekman", 48836), ("dailydialog", "dailydialog", 130300), ("meld", "meld", 11098)],
)
def test_real_texts(name, table, count, data):
    manifest = read_corpus(name, data / "text" / f"{table}.csv")
    assert len(manifest.rows) + len(manifest.errors) == count and len(manifest.errors) < 0.002 * count
    for row in manifest.rows:
        assert set(row.emotion.split("|")) <= set(EMOTIONS) and row.corpus == name
    seen = Counter(row.emotion for row in manifest.rows)
    assert seen["happiness"] > 1000 and "joy" not in seen


def test_the_table_of_the_docs_is_the_registry():
    page = (Path(__file__).resolve().parents[1] / "docs" / "corpora.md").read_text(encoding="utf-8")
    for name, corpus in CORPORA.items():
        count = f"{corpus.clips:,}" if corpus.clips else "see below"
        cells = [f"`{name}`", corpus.title, ", ".join(corpus.languages), count, ", ".join(corpus.labels.labels), corpus.licence,
                 f"<{corpus.homepage}>", corpus.run_on]  # fmt: skip
        assert f"| {' | '.join(cells)} |\n" in page
        assert f"- {corpus.title}: {corpus.remarks}.\n" in page
