"""Tables that nobody made for this library: what their messages say to write, and that what is said there works."""

import re
import shlex

import numpy as np
import pytest
import soundfile

from multimodal_ser.cli.parser import main
from multimodal_ser.corpora import read_manifest
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.corpora.tables import columns_option
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech


def record(path, seed=0, duration=0.3):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, synthetic_speech(duration, seed=seed), 16_000)


@pytest.fixture
def root(tmp_path):
    for seed in range(6):
        record(tmp_path / "corpus" / "rec" / f"clip{seed}.flac", seed)
    return tmp_path / "corpus"


def labels(root, name, cells, delimiter=",", header=("clip_id", "feeling")):
    lines = [delimiter.join(header), *(delimiter.join((f"clip{seed}", cell)) for seed, cell in enumerate(cells))]
    (root / name).write_text("\n".join(lines) + "\n")
    return root / name


def said(error):
    """The columns that a message says to write."""
    return columns_option(shlex.split(re.search(r"--columns ((?:\w+='[^']*' ?|\w+=[\w.]+ ?)+)", str(error))[1]))


FELT = ("joy", "anger", "joy", "sad", "anger", "sad")


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("l.csv", ","), ("l.csv", "|"), ("l.tsv", "\t"), ("l.txt", "\t"), ("l.txt", "|"), ("l.txt", ";")],
)
def test_names_without_an_ending_are_told_for_recordings(root, name, delimiter):
    path = labels(root, name, FELT, delimiter)
    for source in (path, root):  # the table, and the folder that it lies in
        with pytest.raises(InputError, match="--columns path=clip_id emotion=feeling") as error:
            read_manifest(source)
        assert said(error.value) == {"path": "clip_id", "emotion": "feeling"}
        manifest = read_manifest(source, columns=said(error.value))
        assert [row.name for row in manifest.rows] == [
            f"rec/clip{seed}.flac" for seed in range(6)
        ] and not manifest.errors
        assert [row.emotion for row in manifest.rows] == list(FELT)


def test_what_is_guessed_is_said_where_the_rest_is_not(root):
    (root / "l.csv").write_text("room,feeling\nkitchen one,joy\nhall,anger\n")
    with pytest.raises(InputError, match="say which it is: --columns path=COLUMN emotion=feeling"):
        read_manifest(root / "l.csv")
    (root / "l.csv").write_text(
        "id,feeling\nclip1,joy\nclip2,anger\n"
    )  # a known name, but the recordings' names are in it
    with pytest.raises(InputError, match="--columns path=id emotion=feeling"):
        read_manifest(root / "l.csv")
    assert len(read_manifest(root / "l.csv", columns={"path": "id", "emotion": "feeling"}).rows) == 2


def test_a_named_path_that_lies_elsewhere_says_how_it_is_found(root):
    (root / "m.csv").write_text("path,emotion\nclip1,joy\n")
    assert "there is rec/clip1.flac: with --columns path=COLUMN" in str(read_manifest(root / "m.csv").errors[0])
    assert not read_manifest(root / "m.csv", columns={"path": "path"}).errors


def test_codes_are_mapped_with_an_option_that_the_message_says(root, tmp_path):
    path = labels(root, "l.csv", ("1", "2", "1", "3", "2", "9"))
    with pytest.raises(
        InputError, match=r"path=clip_id emotion=feeling, and with `prepare` --map-labels 1=EMOTION 2=EMOTION 3=EMOTION"
    ):
        read_manifest(path)
    columns = {"path": "clip_id", "emotion": "feeling"}
    plain = prepare(path, output=tmp_path / "m.csv", columns=columns)
    assert [row.emotion for row in plain.rows] == ["1", "2", "1", "3", "2", "9"]
    assert any(
        "'1', an emotion that this library has no name for" in line and "--map-labels" in line
        for line in plain.survey.warnings
    )
    options = ["--columns", "path=clip_id", "emotion=feeling", "--map-labels", "1=joy", "2=anger", "3=sad", "9="]
    assert main(["prepare", str(path), "-o", str(tmp_path / "n.csv"), *options]) == 0
    assert [row.emotion for row in read_manifest(tmp_path / "n.csv").rows] == [
        "joy",
        "anger",
        "joy",
        "sad",
        "anger",
        None,
    ]
    with pytest.raises(InputError, match=r"map_labels: expected labels of the rows \(1, 2, 3, 9\), got 7"):
        prepare(path, output=tmp_path / "m.csv", columns=columns, map_labels={"7": "joy"})


@pytest.mark.parametrize("wrong", [["1"], ["=joy"], ["1=joy", "1=sad"]])
def test_what_is_no_mapping_is_refused(root, tmp_path, wrong, capsys):
    assert (
        main(["prepare", str(labels(root, "l.csv", FELT)), "-o", str(tmp_path / "n.csv"), "--map-labels", *wrong]) != 0
    )
    assert "--map-labels: expected LABEL=EMOTION, as 1=anger" in capsys.readouterr().err


def test_common_codes_need_no_mapping(root, tmp_path):
    path = labels(root, "l.csv", ("ang", "HAP", "neu", "exc", "sad", "fea"))
    with pytest.raises(InputError) as error:
        read_manifest(path)
    done = prepare(path, output=tmp_path / "m.csv", columns=said(error.value), label_set="native")
    assert [row.emotion for row in done.rows] == ["anger", "happiness", "neutral", "happiness", "sadness", "fear"]


def test_folders_beside_tables_are_not_taken_for_emotions(root, tmp_path):
    """Nothing is written, whoever asks; whoever says that it is a folder of emotions is believed."""
    labels(root, "l.csv", FELT)
    (root / "speakers.csv").write_text("who,age\nann,30\n")
    for read in (read_manifest, lambda folder: prepare(folder, output=tmp_path / "m.csv")):
        with pytest.raises(
            InputError, match=r"got folders of other names, and the tables l\.csv, speakers\.csv"
        ) as error:
            read(root)
        assert str(error.value).endswith(f"read {root / 'l.csv'} with --columns path=clip_id emotion=feeling")
    assert not (tmp_path / "m.csv").exists()
    assert {row.emotion for row in prepare("folder", root, output=tmp_path / "m.csv").rows} == {"rec"}


def test_a_readme_is_no_table(root):
    (root / "README.txt").write_text("Thank you, reader, for listening.\nRecorded in 2020, in a kitchen.\n")
    (root / "rec").rename(root / "happy")
    assert len(read_manifest(root).rows) == 6


def test_a_manifest_whose_labels_go_by_another_name_is_told_loudly(root, tmp_path, capsys):
    (root / "m.csv").write_text("path,feeling\n" + "".join(f"rec/clip{n}.flac,{word}\n" for n, word in enumerate(FELT)))
    assert main(["prepare", str(root / "m.csv"), "-o", str(tmp_path / "n.csv")]) == 0
    told = capsys.readouterr()
    for text in told:
        assert "NOTHING IS LABELLED" in text and "--columns emotion=feeling" in text
    done = prepare(root / "m.csv", output=tmp_path / "n.csv", columns={"emotion": "feeling"})
    assert not done.unlabelled and not done.notes
    (root / "m.csv").write_text("path,arousal\nrec/clip0.flac,3\n")
    assert not prepare(root / "m.csv", output=tmp_path / "n.csv").unlabelled


def test_paths_of_windows_and_commas_for_points(root):
    (root / "m.csv").write_text(
        'path,emotion,start,text\nrec\\clip0.flac,joy,,\nrec/clip1.flac,joy,"0,1",\nrec/clip2.flac,joy,,a\0b\n'
    )
    manifest = read_manifest(root / "m.csv")
    assert [row.name for row in manifest.rows] == ["rec/clip0.flac"]
    assert "got '0,1'; write 0.1, with a point for the comma" in str(manifest.errors[0])
    assert "delete the NUL in line 4 (many editors show it as ^@)" in str(manifest.errors[1])


def grumpy(root, count, of):
    words = ["grumpyness"] * count + ["joy", "anger"] * ((of - count) // 2)
    (root / "m.csv").write_text("text,emotion\n" + "".join(f"text {n},{word}\n" for n, word in enumerate(words)))
    return root / "m.csv"


@pytest.mark.parametrize(("count", "of", "kept"), [(1, 19, True), (1, 21, False), (9, 209, False), (10, 410, True)])
def test_a_slip_among_known_emotions_is_a_bad_row_and_a_class_of_its_own_is_not(root, tmp_path, count, of, kept):
    done = prepare(grumpy(root, count, of), output=tmp_path / "m.csv")
    assert len(done.rows) == of - count * (not kept) and len(done.errors) == count * (not kept)
    if not kept:
        assert "m.csv, line 2, emotion: expected one of anger, disgust" in str(done.errors[0])
        assert f"got 'grumpyness', which {count} of {of} rows say" in str(
            done.errors[0]
        ) and "--map-labels NAME=NAME" in str(done.errors[0])
        again = prepare(grumpy(root, count, of), output=tmp_path / "m.csv", map_labels={"grumpyness": "grumpyness"})
        assert len(again.rows) == of and not again.errors


def test_a_corpus_of_other_classes_keeps_them(root, tmp_path):
    words = ["calm", *["urgent"] * 20, *["chatty"] * 20, "lazy"]
    (root / "m.csv").write_text("text,emotion\n" + "".join(f"text {n},{word}\n" for n, word in enumerate(words)))
    assert len(prepare(root / "m.csv", output=tmp_path / "m.csv").rows) == 42


def test_errors_come_in_the_order_of_the_lines(root, tmp_path):
    (root / "rec" / "bad.wav").write_text("no audio")
    rows = [
        "rec/bad.wav,joy,,",
        "gone.wav,joy,,",
        "rec/clip0.flac,joy,9,",
        "rec/clip1.flac,joy,,",
        "rec/bad.wav,joy,0.1,",
        "rec/clip2.flac,joy,-1,",
    ]
    (root / "m.csv").write_text("path,emotion,start,end\n" + "\n".join(rows) + "\n")
    done = prepare(root / "m.csv", output=tmp_path / "m.csv")
    assert [error.what for error in done.errors] == [
        "m.csv, line 2, path", "m.csv, line 3, path", "m.csv, line 4, start", "m.csv, line 6, path", "m.csv, line 7, start",
    ]  # fmt: skip
    assert np.isfinite(done.survey.duration) and len(done.rows) == 1


def test_speakers_who_differ_in_how_they_are_written_are_told(root, tmp_path):
    (root / "m.csv").write_text(
        "path,emotion,speaker\nrec/clip0.flac,joy,Ann\nrec/clip1.flac,joy,ann\nrec/clip2.flac,joy,Bo\n"
    )
    told = prepare(root / "m.csv", output=tmp_path / "m.csv").survey.warnings
    assert "1 speaker is written in several ways, each of which counts as a voice of its own: Ann / ann" in told
