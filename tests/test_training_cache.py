"""What is frozen runs once: runs with the embedding cache equal those without, and augmentation knows what is kept."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from training_runs import arguments, log, prepared, rows_of, table, write

from multimodal_ser.corpora.targets import Targets
from multimodal_ser.errors import InputError
from multimodal_ser.testing import tiny_model
from multimodal_ser.training import Augmenter, train
from multimodal_ser.training.cache import EmbeddingCache
from multimodal_ser.training.data import ClipData

pytestmark = pytest.mark.usefixtures("no_curves")


def curve(run):
    return [(line["train_loss"], line["loss"]) for line in log(run) if "train_loss" in line]


def test_cached_runs_equal_uncached_ones(tmp_path, tiny, mixed):
    common = {
        "model": tiny,
        "num_train_epochs": 3,
        "validation_speakers": ["s0", "s1"],
        "context_turns": 2,
        "per_device_train_batch_size": 4,
    }
    results = {}
    for name, fields in (
        ("uncached", {"embedding_cache": False}),
        ("cached", {"cache_dtype": "float32"}),
        ("half", {}),
    ):
        results[name] = train(arguments(mixed, tmp_path / name, **common, **fields))
    np.testing.assert_allclose(curve(tmp_path / "cached"), curve(tmp_path / "uncached"), atol=1e-5, rtol=0)
    np.testing.assert_allclose(curve(tmp_path / "half"), curve(tmp_path / "uncached"), atol=0.02, rtol=0)
    assert not any((tmp_path / name / "embeddings").exists() for name in results)


def entries(folder):
    return sorted(path.name for path in folder.rglob("*.npy"))


def test_a_cache_that_was_asked_for_is_kept_and_misses_what_changed(tmp_path, tiny, manifest, capsys):
    rows = rows_of(manifest)
    for row in rows[:2]:
        copied = tmp_path / "own" / Path(row["path"]).name
        copied.parent.mkdir(exist_ok=True)
        shutil.copy(row["path"], copied)
        row["path"] = str(copied)
    some = table(tmp_path / "some.csv", rows)
    common = {"model": tiny, "cache_dir": tmp_path / "cache"}
    common["cache_dir"] = str(common["cache_dir"])
    train(arguments(some, tmp_path / "one", **common))
    first = entries(tmp_path / "cache")
    assert len(first) == 48  # 24 recordings, 24 texts
    assert "hears" in capsys.readouterr().err
    train(arguments(some, tmp_path / "two", **common))
    assert entries(tmp_path / "cache") == first and "hears" not in capsys.readouterr().err  # nothing is computed again
    write(Path(rows[0]["path"]), 0.6, 99)
    rows[1]["text"] = "another text"
    train(arguments(table(some, rows), tmp_path / "three", **common))
    assert len(entries(tmp_path / "cache")) == 50 and set(first) < set(entries(tmp_path / "cache"))
    tiny_model(seed=1).save_pretrained(tmp_path / "other")
    train(arguments(some, tmp_path / "four", **common | {"model": tmp_path / "other"}))
    assert len(entries(tmp_path / "cache")) == 98  # another model has its own
    assert EmbeddingCache.clear(tmp_path / "cache") == 98


# augmentation


def test_augmentation_and_the_cache(tmp_path, tiny, manifest, capsys):
    common = {"model": tiny, "num_train_epochs": 2, "validation_share": 0.25}
    train(arguments(manifest, tmp_path / "anew", augmentation=["gain"], cache_dir=str(tmp_path / "a"), **common))
    told = capsys.readouterr().err
    assert (
        "no embedding cache of the audio branch: clips sound different every epoch (augmentation_variants=4 keeps four)"
        in told
    )
    assert len(entries(tmp_path / "a")) == 24  # of the texts
    train(
        arguments(
            manifest,
            tmp_path / "kept",
            augmentation={"gain": {"probability": 1.0}},
            augmentation_variants=3,
            cache_dir=str(tmp_path / "b"),
            **common,
        )
    )
    learned = json.loads((tmp_path / "kept" / "data.json").read_text())["train"]["clips"]
    assert len(entries(tmp_path / "b")) == 24 + 3 * learned + 24 - learned
    assert f"hears {learned} clips in 3 versions" in capsys.readouterr().err
    train(arguments(manifest, tmp_path / "words", augmentation=["words"], cache_dir=str(tmp_path / "c"), **common))
    assert (
        "no embedding cache of the text branch" in capsys.readouterr().err and len(entries(tmp_path / "c")) == 24
    )  # of the recordings
    train(arguments(manifest, tmp_path / "all", freeze=[], cache_dir=str(tmp_path / "d"), **common))
    assert not (tmp_path / "d").exists()  # nothing is frozen


def test_versions_of_clips_are_the_same_for_all_seeds(tmp_path, tiny, manifest):
    common = {
        "augmentation": {"gain": {"probability": 1.0}},
        "augmentation_variants": 3,
        "cache_dir": str(tmp_path / "c"),
        "model": tiny,
    }
    train(arguments(manifest, tmp_path / "one", seeds=[1], **common))
    before = entries(tmp_path / "c")
    train(arguments(manifest, tmp_path / "two", seeds=[2], **common))
    assert entries(tmp_path / "c") == before


def test_words_are_disturbed_although_recordings_are_kept(tmp_path, manifest):
    ready, _ = prepared(manifest)
    args = arguments(manifest, augmentation={"words": {"probability": 1.0, "dropped": 0.5}})
    data = ClipData(
        list(ready.train),
        Targets.of(ready.train, ready.labels, ()),
        tiny_model().processor,
        args,
        1,
        True,
        augmenter=Augmenter(args.augmentation),
    )
    data.audio_cache = EmbeddingCache(tmp_path, branch="x")
    read = [[data.words(row, epoch)[1] for row in range(len(data))] for epoch in (0, 1)]
    assert read[0] != read[1] and read[0] != [clip.row.text for clip in ready.train]
    assert data.recording_version(data.draw(0, 5)) == 0  # the recording is the one that is kept


def test_augmentation_that_has_nothing_to_act_on_is_told(tmp_path, tiny, clips, capsys):
    train(arguments(clips, tmp_path / "run", model=tiny, augmentation=["words"]))
    assert "'words' does nothing" in capsys.readouterr().err
    with pytest.raises(InputError, match="waveform augmentations, for an encoder of waveforms, got spec_augment"):
        train(arguments(clips, tmp_path / "spec", model=tiny, augmentation=["spec_augment"]))
    assert not (tmp_path / "spec").exists()
