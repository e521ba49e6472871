"""Corpora as they lie on disk: trees of folders, recordings that are looked into, and the real ones."""

import subprocess
import sys

import pytest
import soundfile
from corpus_tables import errors_of, labels, table, tree, voices

from multimodal_ser.corpora import ManifestRow, check_recordings, read_manifest, split_rows
from multimodal_ser.corpora.folders import RECORDINGS, read_folder
from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS
from multimodal_ser.errors import InputError

# folders


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
        tmp_path,
        "happy/1.wav",
        "happy/1.txt",
        "happy/.2.wav",
        "happy/._1.wav",
        ".cache/sad/3.wav",
        "loose.flac",
        "README",
        "sad/2.webm",
    )
    manifest = read_folder(root)
    assert [row.name for row in manifest.rows] == ["happy/1.wav", "sad/2.webm"]
    assert manifest.ignored == ("README", "happy/1.txt") and manifest.source == root
    assert errors_of(manifest) == [
        "loose.flac: expected a recording in an emotion's folder, got no emotion folder; move it into EMOTION/"
    ]


def test_a_speakers_loose_recording_has_no_emotion(tmp_path):
    manifest = read_folder(tree(tmp_path, "ann/happy/1.wav", "ann/sad/2.wav", "ann/warmup.wav"))
    assert (
        len(manifest.rows) == 2
        and "ann/warmup.wav: expected a recording in an emotion's folder" in errors_of(manifest)[0]
    )


@pytest.mark.parametrize("names", [[], ["notes.txt"], ["1.wav", "2.wav"], ["happy/readme.txt"]])
def test_without_emotion_folders_the_layout_is_shown(tmp_path, names):
    with pytest.raises(InputError, match=r"expected a folder per emotion: ROOT/happy/\*.wav"):
        read_folder(tree(tmp_path, *names))


def test_a_tree_of_folders_with_labels_in_a_table_is_read_with_one_option(tmp_path):
    tree(tmp_path, "clips/s1/one.wav", "clips/s1/two.flac", "clips/s2/one.wav", "clips/s2/three.wav")
    table(
        tmp_path, "name,emo,who\ntwo,joy,s1\nthree.wav,anger,s2\none,joy,s1\ns2/one,joy,s2\nfour,joy,s2\n", "labels.csv"
    )
    with pytest.raises(
        InputError,
        match=r"got folders of other names, and the table labels.csv; read .*labels.csv with --columns path=name emotion=emo",
    ):
        read_manifest(tmp_path)
    columns = {"path": "name", "emotion": "emo", "speaker": "who"}
    manifest = read_manifest(tmp_path, columns=columns)
    assert [row.name for row in manifest.rows] == ["clips/s1/two.flac", "clips/s2/three.wav", "clips/s2/one.wav"]
    assert [row.emotion for row in manifest.rows] == ["joy", "anger", "joy"]
    assert (
        "line 4, path: expected one recording, got 2 of the name one: clips/s1/one.wav, clips/s2/one.wav"
        in errors_of(manifest)[0]
    )
    assert "line 6, path: expected a recording, got no file four" in errors_of(manifest)[1]
    inner = read_manifest(tmp_path, columns={**columns, "root": "clips/s1"})
    assert [row.name for row in inner.rows] == ["two.flac", "one.wav"]
    with pytest.raises(InputError, match=r"columns, root: expected a folder, got no folder .*nowhere"):
        read_manifest(tmp_path, columns={**columns, "root": "nowhere"})
    table(tmp_path, "name\n", "more.csv")
    with pytest.raises(InputError, match=r"expected one table that columns is about, got labels.csv, more.csv"):
        read_manifest(tmp_path, columns=columns)


def test_links_are_followed_once(tmp_path):
    root = tree(tmp_path / "root", "happy/1.wav")
    tree(tmp_path / "elsewhere", "2.wav")
    (root / "sad").symlink_to(tmp_path / "elsewhere")
    (root / "happy" / "again").symlink_to(root)
    assert [row.name for row in read_folder(root).rows] == ["happy/1.wav", "sad/2.wav"]


def test_endings_are_those_that_can_be_decoded():
    assert {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm", ".mp4", ".amr"} <= RECORDINGS
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in RECORDINGS)


# recordings


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
    assert all(error.remedy for error in errors) and "leave no cell out (id, path, emotion, start, end)" in str(
        errors[4]
    )
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


# real corpora


@pytest.mark.parametrize(
    ("corpus", "clips", "speakers", "classes"), [("ravdess", 1200, 20, 8), ("emodb", 418, 8, 7), ("nemo", 3775, 7, 6)]
)
def test_real_manifests(data, corpus, clips, speakers, classes):
    manifest = read_manifest(data / corpus / "manifest.csv")
    assert len(manifest.rows) == clips and manifest.errors == () and manifest.ignored == ("duration",)
    assert (
        len(manifest.speakers) == speakers
        and len(manifest.emotions) == classes
        and sum(manifest.emotions.values()) == clips
    )
    split = split_rows(manifest.rows)
    assert not voices(manifest.rows, split.train) & voices(manifest.rows, split.validation)
    assert labels(manifest.rows, split.train) == labels(manifest.rows, split.validation) and split.notes == ()
    assert 0.08 < len(split.validation) / clips < 0.25


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_real_folds(data, fold):
    rows = read_manifest(data / "ravdess").rows
    split = split_rows(
        rows, test_speakers=[f"ravdess_{actor}" for actor in EMOBOX_RAVDESS_FOLDS[fold]], validation_share=2 / 16
    )
    assert [len(part) for part in (split.train, split.validation, split.test)] == [14 * 60, 2 * 60, 4 * 60]
    assert split.protocol.endswith("speaker-disjoint: 2 of 16 speakers held out")
    parts = [voices(rows, part) for part in (split.train, split.validation, split.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))


def test_real_texts(data):
    meld = read_manifest(data / "text" / "meld.csv")
    assert (
        len(meld.rows) == 11098
        and meld.errors == ()
        and all(row.start is None and row.end is None for row in meld.rows)
    )
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


# imports


def test_nothing_heavy_is_imported():
    code = "import multimodal_ser.corpora.folders, multimodal_ser.metrics, sys; print({'torch', 'pandas', 'pyarrow', 'transformers', 'evaluate'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )
