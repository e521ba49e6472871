import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import soundfile

from multimodal_ser.audio import load_audio
from multimodal_ser.corpora import read_manifest
from multimodal_ser.corpora.hub_datasets import read_dataset
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech

datasets = pytest.importorskip("datasets")
NAMES = ["anger", "happy", "sad"]


def encoded(seed, form="WAV", rate=16000):
    file = io.BytesIO()
    soundfile.write(file, synthetic_speech(0.5, seed=seed, sampling_rate=rate), rate, format=form)
    return file.getvalue()


def dataset(count=4, *, start=0, **more):
    """As datasets of the Hub are: encoded recordings, a ClassLabel."""
    columns = {
        "audio": [{"bytes": encoded(start + n, "FLAC" if n % 2 else "WAV", 22050), "path": f"clip {n}.wav" if n else None} for n in range(count)],
        "label": [n % 3 for n in range(count)], "speaker_id": [f"s{n % 2}" for n in range(count)], **more,
    }  # fmt: skip
    features = {
        "audio": datasets.Audio(),
        "label": datasets.ClassLabel(names=NAMES),
        "speaker_id": datasets.Value("string"),
    }
    features |= {name: datasets.Value("string") for name in more}
    raw = {"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    return (
        datasets.Dataset.from_dict(columns, features=datasets.Features(features | raw))
        .cast_column("audio", datasets.Audio(decode=False))
        .cast(datasets.Features(features))
    )


def test_bytes_become_files_and_classes_get_their_names(tmp_path):
    data = dataset(sentence=["a", "b", None, "d"])
    assert isinstance(data.features["audio"], datasets.Audio) and data.features["audio"].decode
    found = read_dataset(data, output_dir=tmp_path)
    assert found.errors == () and [(row.emotion, row.speaker, row.text, row.split) for row in found.rows] == [
        ("anger", "s0", "a", None), ("happy", "s1", "b", None), ("sad", "s0", None, None), ("anger", "s1", "d", None),
    ]  # fmt: skip
    for n, row in enumerate(found.rows):
        assert (
            row.path.is_relative_to(tmp_path / "audio")
            and row.path.read_bytes() == data.cast_column("audio", datasets.Audio(decode=False))[n]["audio"]["bytes"]
        )
        assert (
            len(load_audio(row.path)) == 8000 and row.place == f"dataset, row {n + 1}" and row.name.startswith("audio/")
        )
    assert "clip_1" in found.rows[1].path.name and found.rows[0].path.suffix == ".wav"
    assert len({row.path for row in found.rows}) == 4


def test_a_second_run_writes_nothing_anew(tmp_path):
    first = read_dataset(dataset(), output_dir=tmp_path)
    times = [row.path.stat().st_mtime_ns for row in first.rows]
    assert read_dataset(dataset(), output_dir=tmp_path).rows == first.rows
    assert [row.path.stat().st_mtime_ns for row in first.rows] == times


@pytest.mark.parametrize("streaming", [False, True])
def test_streams_and_splits_are_read_the_same(tmp_path, streaming):
    parts = {
        "train": dataset(3),
        "validation": dataset(2, start=10),
        "test": dataset(2, start=20),
        "extra": dataset(1, start=30),
    }
    data = datasets.DatasetDict(parts)
    if streaming:
        data = datasets.IterableDatasetDict({name: part.to_iterable_dataset() for name, part in parts.items()})
    found = read_dataset(data, output_dir=tmp_path)
    assert [row.split for row in found.rows] == ["train"] * 3 + ["validation"] * 2 + ["test"] * 2 + [None]
    assert [row.emotion for row in found.rows[:4]] == ["anger", "happy", "sad", "anger"] and found.errors == ()
    assert (
        found.rows[3].place == "dataset validation, row 1"
        and found.rows[3].path.parent == tmp_path / "audio" / "validation"
    )
    assert np.array_equal(load_audio(found.rows[3].path), load_audio({"bytes": encoded(10, "WAV", 22050)}))
    one = read_dataset(data, output_dir=tmp_path, split="test", limit=1)
    assert len(one.rows) == 1 and one.rows[0].split == "test"
    with pytest.raises(InputError, match="split: expected one of train, validation, test, extra, got 'dev'"):
        read_dataset(data, output_dir=tmp_path, split="dev")


def test_ids_that_each_split_counts_anew_are_told_apart(tmp_path):
    data = datasets.DatasetDict({"train": dataset(2, id=["1", "2"]), "test": dataset(2, start=9, id=["2", "3"])})
    rows = read_dataset(data, output_dir=tmp_path).rows
    assert [row.id for row in rows] == ["1", "train-2", "test-2", "3"]


def test_bad_rows_are_named_by_their_number_and_the_others_are_kept(tmp_path):
    data = dataset(6).cast_column("audio", datasets.Audio(decode=False)).map(
        lambda row, n: {"audio": [row["audio"], {"bytes": b"", "path": None}, {"bytes": None, "path": None}, {"bytes": None, "path": "/gone.wav"}, {"bytes": b"no audio", "path": "x.wav"}, row["audio"]][n]},
        with_indices=True,
    )  # fmt: skip
    found = read_dataset(data, output_dir=tmp_path / "a")
    assert [row.place for row in found.rows] == ["dataset, row 1", "dataset, row 5", "dataset, row 6"]
    told = [str(error) for error in found.errors]
    assert [line.split(":")[0] for line in told] == ["dataset, row 2, audio", "dataset, row 3", "dataset, row 4, path"]
    done = prepare("dataset", data, output=tmp_path / "m.csv")
    assert [str(error).split(":")[0] for error in done.errors][-1].startswith("dataset, row 5, path") and len(
        done.errors
    ) == 4
    assert [row.emotion for row in done.rows] == ["anger", "sad"] and len(read_manifest(tmp_path / "m.csv").rows) == 2


def test_other_columns_are_named_by_the_option(tmp_path):
    data = dataset(3).rename_columns({"audio": "speech", "label": "mood"})
    found = read_dataset(data, output_dir=tmp_path, columns={"path": "speech", "emotion": "mood"})
    assert [row.emotion for row in found.rows] == NAMES
    assert [row.emotion for row in read_dataset(data, output_dir=tmp_path, columns={"emotion": "mood"}).rows] == NAMES
    with pytest.raises(InputError, match=r"expected a column voice, got the columns speech, mood, speaker_id"):
        read_dataset(data, output_dir=tmp_path, columns={"path": "voice"})


def test_texts_with_several_labels_are_joined_by_a_bar(tmp_path):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.Sequence(datasets.ClassLabel(names=NAMES))}
    )
    data = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [[0, 2], [1], []]}, features=features)
    assert [(row.text, row.emotion) for row in read_dataset(data, output_dir=tmp_path).rows] == [
        ("a", "anger|sad"),
        ("b", "happy"),
        ("c", None),
    ]
    assert list(tmp_path.iterdir()) == []  # no recording: nothing is written


def test_an_unknown_class_and_odd_cells_tell_nothing(tmp_path):
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=NAMES),
            "when": datasets.Value("timestamp[s]"),
            "vector": datasets.Sequence(datasets.Value("float32")),
        }
    )
    data = datasets.Dataset.from_dict(
        {"text": ["a", "b"], "label": [-1, 1], "when": [0, 1], "vector": [[0.5], [1.0]]}, features=features
    )
    found = read_dataset(data, output_dir=tmp_path)
    assert [row.emotion for row in found.rows] == [None, "happy"] and set(found.ignored) == {"when", "vector"}


def test_samples_are_written_where_there_is_no_file(tmp_path):
    data = datasets.Dataset.from_list(
        [
            {"audio": {"array": synthetic_speech(0.5, seed=n).tolist(), "sampling_rate": 16000}, "label": "joy"}
            for n in range(2)
        ]
    )
    found = read_dataset(data, output_dir=tmp_path)
    assert [row.emotion for row in found.rows] == ["joy", "joy"]
    for n, row in enumerate(found.rows):
        assert np.allclose(load_audio(row.path), synthetic_speech(0.5, seed=n), atol=1e-6)


@pytest.mark.parametrize("form", ["bytes", "bytes alone", "path", "samples"])
def test_streams_of_examples_are_not_encoded_anew(tmp_path, form):
    (tmp_path / "a.wav").write_bytes(encoded(3))
    value = {
        "bytes": {"bytes": encoded(3), "path": "a.wav"}, "bytes alone": encoded(3), "path": str(tmp_path / "a.wav"),
        "samples": {"array": synthetic_speech(0.5, seed=3), "sampling_rate": 16000, "path": None},
    }[form]  # fmt: skip

    def rows():
        yield {"audio": value, "label": 1}

    features = datasets.Features({"audio": datasets.Audio(), "label": datasets.ClassLabel(names=NAMES)})
    found = read_dataset(datasets.IterableDataset.from_generator(rows, features=features), output_dir=tmp_path / "out")
    assert found.errors == () and [row.emotion for row in found.rows] == ["happy"]
    assert np.allclose(load_audio(found.rows[0].path), synthetic_speech(0.5, seed=3), atol=1e-4)


def test_recordings_of_this_machine_stay_where_they_are(tmp_path):
    paths = []
    for n in range(2):
        paths.append(str(tmp_path / f"{n}.wav"))
        (tmp_path / f"{n}.wav").write_bytes(encoded(n))
    data = datasets.Dataset.from_dict({"audio": paths, "emotion": ["joy", "anger"]}).cast_column(
        "audio", datasets.Audio(decode=False)
    )
    data = data.cast_column("audio", datasets.Audio())
    assert [str(row.path) for row in read_dataset(data, output_dir=tmp_path / "out").rows] == paths
    plain = datasets.Dataset.from_dict({"file": paths, "emotion": ["joy", "anger"]})
    assert [str(row.path) for row in read_dataset(plain, output_dir=tmp_path / "out").rows] == paths
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["saved", "saved splits", "parquet", "jsonl"])
def test_datasets_of_this_machine_are_told_apart_by_themselves(tmp_path, how):
    data, place = dataset(3), tmp_path / "my data"
    if how == "saved":
        data.save_to_disk(str(place))
    elif how == "saved splits":
        datasets.DatasetDict({"train": data, "test": dataset(1, start=9)}).save_to_disk(str(place))
    elif how == "parquet":
        place = tmp_path / "rows.parquet"
        data.to_parquet(str(place))
    else:
        place = tmp_path / "rows.jsonl"
        place.write_text(
            '{"text": "hi", "label": "anger"}\n{"text": "ho", "label": "happy"}\n{"text": "hu", "label": "sad"}\n'
        )
    done = prepare(place, output=tmp_path / "m.csv", label_set="native")
    assert done.kind == ("manifest" if how == "jsonl" else "dataset") and done.errors == ()
    assert [row.emotion for row in done.rows][:3] == ["anger", "happiness", "sadness"]
    assert read_manifest(tmp_path / "m.csv").rows == done.rows
    if how != "jsonl":
        assert done.rows[0].path.is_relative_to(tmp_path / "m_recordings" / "audio") and len(
            done.survey.measured
        ) == len(done.rows)
        assert done.rows[0].split == ("train" if how == "saved splits" else None)
    other = prepare("dataset", place, output=tmp_path / "n.csv", recordings_dir=tmp_path / "there", limit=1)
    assert len(other.rows) == (2 if how == "saved splits" else 1)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_that_load_dataset_knows_is_read_in_both_ways(tmp_path, streaming, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "clips"
    for n, mood in enumerate(("happy", "sad")):
        (root / "train" / mood).mkdir(parents=True)
        (root / "train" / mood / f"{n}.wav").write_bytes(encoded(n))
    found = read_dataset(root, output_dir=tmp_path / "out", streaming=streaming)
    assert [(row.emotion, row.path.name) for row in found.rows] == [
        ("happy", "0.wav"),
        ("sad", "1.wav"),
    ] and found.errors == ()


def test_recordings_inside_a_remote_file_are_fetched(tmp_path):
    archive = tmp_path / "clips.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("in/a.wav", encoded(1))
    data = datasets.Dataset.from_dict(
        {"audio": [f"zip://in/a.wav::{archive}", f"zip://in/none.wav::{archive}"], "label": ["joy", "joy"]}
    )
    found = read_dataset(data.cast_column("audio", datasets.Audio(decode=False)), output_dir=tmp_path / "out")
    assert [row.path.name for row in found.rows] == ["000001_a.wav"] and found.rows[0].path.read_bytes() == encoded(1)
    assert [str(error).split(":")[0] for error in found.errors] == ["dataset, row 2, audio"]


def test_names_from_a_dataset_never_lead_out_of_the_folder(tmp_path):
    data = datasets.Dataset.from_list(
        [
            {"audio": {"bytes": encoded(n), "path": path}}
            for n, path in enumerate(("../../evil.wav", "/etc/x.wav", "a/../../b.w/v", "ü?*.wav"))
        ]
    )
    found = read_dataset(datasets.DatasetDict({"../up": data}), output_dir=tmp_path / "out")
    assert len(found.rows) == 4 and found.errors == ()
    assert all(row.path.resolve().is_relative_to(tmp_path / "out" / "audio") for row in found.rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_stream_that_breaks_keeps_what_it_gave(tmp_path):
    def rows():
        yield {"text": "a", "label": "joy"}
        yield {"text": "b", "label": "joy"}
        raise ConnectionError("gone away")

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.Value("string")})
    found = read_dataset(datasets.IterableDataset.from_generator(rows, features=features), output_dir=tmp_path)
    assert [row.text for row in found.rows] == ["a", "b"]
    (error,) = found.errors
    assert str(error).startswith("dataset, row 3: expected a row, got ") and "gone away" in str(error)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (5, "expected a dataset, a folder or a Hub id, got int"),
        ("no/such-dataset", "no/such-dataset: expected a dataset that can be loaded, got "),
    ],
)
def test_what_is_no_dataset_is_told(tmp_path, source, expected, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        read_dataset(source, output_dir=tmp_path)
    assert expected in str(caught.value)
    empty = datasets.Dataset.from_dict({"text": [], "label": []})
    with pytest.raises(InputError, match="at least one row"):
        read_dataset(empty, output_dir=tmp_path)


def test_a_hub_id_is_told_by_its_form(tmp_path, monkeypatch):
    asked = {}

    def load_dataset(name, config, **options):
        asked.update(name=name, config=config, **options)
        return datasets.DatasetDict({"train": dataset(2)})

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    done = prepare("somebody/emotions-v1.0", output=tmp_path / "m.csv", config="en", streaming=True, revision="abc")
    assert done.kind == "dataset" and done.survey.source == "somebody/emotions-v1.0"
    assert asked == {"name": "somebody/emotions-v1.0", "config": "en", "revision": "abc", "streaming": True}


def test_torchcodec_is_not_needed(tmp_path):
    dataset(2).save_to_disk(str(tmp_path / "data"))
    code = (
        "import sys; sys.modules['torchcodec'] = None\n"
        "from multimodal_ser.corpora.preparation import prepare\n"
        f"print(len(prepare({str(tmp_path / 'data')!r}, output={str(tmp_path / 'm.csv')!r}).rows), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "2"


def test_ravdess_as_a_dataset_gives_what_its_folder_gives(data, tmp_path):
    rows = read_manifest(data / "ravdess" / "manifest.csv").rows[::100]
    columns = {
        "audio": [{"bytes": row.path.read_bytes(), "path": row.path.name} for row in rows],
        "emotion": [row.emotion for row in rows],
    }
    made = datasets.Dataset.from_dict(columns).cast_column("audio", datasets.Audio(decode=False))
    done = prepare(made, output=tmp_path / "m.csv")
    assert done.errors == () and [row.emotion for row in done.rows] == [row.emotion for row in rows]
    for row, original in zip(done.rows, rows, strict=True):
        assert row.path.read_bytes() == original.path.read_bytes()
    assert json.dumps(done.to_dict())
