import builtins
import hashlib
import json
import time

import numpy as np
import pytest
import soundfile

from multimodal_ser.audio import load_audio
from multimodal_ser.corpora import ManifestRow, read_manifest
from multimodal_ser.corpora.audit import survey
from multimodal_ser.corpora.cleaning import LOUDNESS, STEPS, check_steps, clean_rows, clean_waveform
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.errors import InputError
from multimodal_ser.labels import LabelError
from multimodal_ser.testing import synthetic_speech


def record(path, duration=1.0, *, seed=0, rate=16000, gain=1.0, pad=0.0, samples=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = np.pad(gain * synthetic_speech(duration, seed=seed, sampling_rate=rate), round(pad * rate))
    soundfile.write(path, np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16), rate)
    return path


def row(path, **fields):
    return ManifestRow(path=path, folder=path.parent, place=fields.pop("place", path.name), **fields)


def prints(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def level(waveform):
    return 10 * np.log10(np.square(waveform, dtype=np.float64).mean())


# ---- survey


def test_a_survey_counts_what_is_there(tmp_path):
    rows = [
        row(
            record(tmp_path / "a.wav", 1.0, seed=1),
            emotion="joy",
            speaker="ann",
            gender="female",
            text="hi",
            language="en",
        ),
        row(record(tmp_path / "b.wav", 2.0, seed=2), emotion="joy", speaker="bo", gender="male", language="de"),
        row(record(tmp_path / "c.wav", 0.5, seed=3), speaker="ann", gender="female", split="test"),
        ManifestRow(text="words alone", emotion="anger"),
    ]
    found = survey(rows, source="here")
    told = found.to_dict()
    assert (told["rows"], told["clips"], told["texts_alone"], told["with_words"], told["unlabelled"]) == (4, 3, 1, 2, 1)
    assert told["emotions"] == {"anger": 1, "joy": 2} and told["speakers"] == {"ann": 2, "bo": 1}
    assert (
        told["genders"] == {"female": 2, "male": 1}
        and told["languages"] == {"de": 1, "en": 1}
        and told["splits"] == {"test": 1}
    )
    assert (
        found.duration == 3.5
        and told["shortest"] == {"name": "c.wav", "duration": 0.5}
        and told["longest"]["name"] == "b.wav"
    )
    assert told["sampling_rates"] == {"16000": 3} and told["channels"] == {"1": 3}
    assert told["warnings"] == [] and told["errors"] == []
    assert json.loads(json.dumps(told)) == told
    text = str(found)
    for part in (
        "here",
        "3, 3.5 s",
        "0.50 s (c.wav)",
        "2.00 s (b.wav)",
        "anger 1, joy 2",
        "female 2, male 1",
        "16000 Hz (3 clips)",
    ):
        assert part in text
    assert "look at" not in text and "left out" not in text


def test_the_one_bad_file_in_a_thousand_is_named_and_costs_only_itself(tmp_path):
    good = [row(record(tmp_path / f"{seed}.wav", 0.3, seed=seed), emotion="joy", speaker="a") for seed in range(30)]
    (tmp_path / "text.wav").write_text("no audio at all" * 10)
    (tmp_path / "empty.wav").touch()
    whole = (tmp_path / "0.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    record(tmp_path / "blink.wav", samples=np.ones(100) * 0.1)
    soundfile.write(tmp_path / "nan.wav", np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    bad = [
        row(tmp_path / f"{name}.wav", place=f"m.csv, line {at}")
        for at, name in enumerate(("text", "empty", "cut", "blink", "nan", "gone"))
    ]
    found = survey([*bad[:3], *good, *bad[3:]])
    assert found.rows == tuple(good) and len(found.measured) == 30
    told = [str(error) for error in found.errors]
    assert len(told) == 6
    for at, name in enumerate(("text", "empty", "cut", "blink", "nan", "gone")):
        assert told[at].startswith(f"m.csv, line {at}, path: expected") and f" ({name}.wav); " in told[at], told
    assert all(line in str(found) for line in told)


def test_duplicates_are_found_by_their_samples_not_by_their_files(tmp_path):
    record(tmp_path / "a.wav", seed=1)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    soundfile.write(tmp_path / "b.flac", samples, 16000)
    soundfile.write(tmp_path / "both.wav", np.stack([samples, samples], 1), 16000)
    soundfile.write(tmp_path / "faster.wav", samples, 32000)
    other = samples.copy()
    other[100] += 1
    soundfile.write(tmp_path / "other.wav", other, 16000)
    rows = [row(tmp_path / name, emotion=emotion, speaker=speaker) for name, emotion, speaker in (
        ("a.wav", "joy", "ann"), ("b.flac", "anger", "ann"), ("both.wav", "joy", "bo"), ("faster.wav", "joy", "ann"), ("other.wav", "joy", "ann"),
    )]  # fmt: skip
    found = survey(rows)
    assert found.duplicates == [["a.wav", "b.flac", "both.wav"]]
    text = "\n".join(found.warnings)
    assert "1 recording is there under several names: a.wav = b.flac = both.wav" in text
    assert "several emotions" in text and "several speakers" in text
    assert survey(rows[2:]).duplicates == []


def test_parts_of_a_recording_are_clips_of_their_own(tmp_path):
    half = synthetic_speech(1.0, seed=4)
    path = record(tmp_path / "talk.wav", samples=np.concatenate([half, half, np.zeros(16000)]))
    rows = [
        row(path, start=0.0, end=1.0), row(path, start=1.0, end=2.0), row(path, start=2.0), row(path, start=2.5, end=9.0),
        row(path, start=3.5, place="m.csv, line 9"),
    ]  # fmt: skip
    found = survey(rows)
    assert [round(clip.duration, 3) for clip in found.measured] == [1.0, 1.0, 1.0, 0.5]
    assert found.duplicates == [["talk.wav[0.000-1.000]", "talk.wav[1.000-2.000]"]]
    assert found.nearly_silent == {"talk.wav[2.000-]": None, "talk.wav[2.500-9.000]": None}
    assert "1 part ends after the recording does: what there is is taken: talk.wav[2.500-9.000]" in found.warnings
    (error,) = found.errors
    assert str(error) == (
        "m.csv, line 9, start: expected at least 25 ms of the recording, which lasts 3.000 s, got 3.5 s to its end (talk.wav); "
        "correct start and end"
    )


def test_long_recordings_are_measured_piece_by_piece_as_if_whole(tmp_path, monkeypatch):
    path = record(tmp_path / "a.wav", 3.0, seed=5, rate=22050)
    rows = [row(path), row(path, start=0.7, end=2.3)]
    whole = survey(rows).measured
    monkeypatch.setattr("multimodal_ser.audio.decoding.PIECE", 997)
    assert survey(rows).measured == whole


def test_clipping_and_near_silence_are_measured(tmp_path):
    loud = np.clip(8 * synthetic_speech(1.0, seed=1), -1, 1)
    peak = synthetic_speech(1.0, seed=2) / np.abs(synthetic_speech(1.0, seed=2)).max()
    rows = [
        row(record(tmp_path / "loud.wav", samples=loud)), row(record(tmp_path / "peak.wav", samples=peak)),
        row(record(tmp_path / "faint.wav", gain=0.001)), row(record(tmp_path / "none.wav", samples=np.zeros(16000))),
        row(record(tmp_path / "fine.wav", seed=3)),
    ]  # fmt: skip
    found = survey(rows)
    expected = np.mean(np.abs(np.rint(loud * 32767) / 32768) >= 0.999)
    assert (
        list(found.clipped) == ["loud.wav"]
        and found.clipped["loud.wav"] == pytest.approx(expected, abs=1e-5)
        and expected > 0.01
    )
    assert list(found.nearly_silent) == ["none.wav", "faint.wav"] and found.nearly_silent["none.wav"] is None
    assert -80 < found.nearly_silent["faint.wav"] < -50
    text = "\n".join(found.warnings)
    assert (
        "1 clip is clipped (share of samples at full scale): loud.wav" in text and "2 clips are nearly silent" in text
    )


def test_low_and_mixed_rates_are_told(tmp_path):
    rates = {"a.wav": 44100, "b.wav": 44100, "c.wav": 8000, "d.wav": 16000}
    found = survey([row(record(tmp_path / name, rate=rate, seed=rate)) for name, rate in rates.items()])
    assert found.sampling_rates == {44100: 2, 8000: 1, 16000: 1}
    assert found.low_rates == {"c.wav": 8000} and found.odd_rates == {"c.wav": 8000, "d.wav": 16000}
    text = str(found)
    assert (
        "1 clip is below 16 kHz" in text
        and "2 clips have another rate than the 44100 Hz of most: c.wav (8000 Hz), d.wav" in text
    )
    assert "no row has a speaker" in text


def test_emotions_without_a_name_here_are_told_with_their_place(tmp_path):
    rows = [
        ManifestRow(text=str(n), emotion=emotion, place=f"m.csv, line {n}")
        for n, emotion in enumerate(("joy", "angrry", "contempt|joy"), 2)
    ]
    rows.append(ManifestRow(text="voted", votes={"awe": 2, "joy": 1}, place="m.csv, line 5"))
    found = survey(rows)
    assert found.unknown_emotions == {"angrry": 1, "awe": 1, "contempt|joy": 1}
    assert (
        "1 row shows 'angrry', an emotion that this library has no name for (the first: m.csv, line 3; --map-labels names it)"
        in found.warnings
    )


def test_long_lists_are_cut_in_the_text_and_whole_as_json(tmp_path):
    rows = [ManifestRow(text=f"{n} {k}", emotion=f"mood {n}") for n in range(20) for k in range(n + 1)]
    rows += [row(tmp_path / f"gone {n}.wav") for n in range(60)]
    found = survey(rows)
    assert "mood 19 20, mood 18 19" in str(found) and "and 4 more" in str(found) and "mood 3 4" not in str(found)
    assert "and 10 more: as JSON they are all named" in str(found)
    told = found.to_dict()
    assert len(told["emotions"]) == 20 and len(told["errors"]) == 60


def test_progress_counts_recordings_to_their_end(tmp_path):
    rows = [row(record(tmp_path / f"{n}.wav", 0.3)) for n in range(3)]
    seen = []
    survey([*rows, row(rows[0].path, start=0.1)], on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


# ---- cleaning


def test_trimming_takes_silence_off_both_ends_and_leaves_pauses():
    speech = np.concatenate([synthetic_speech(0.6, seed=1), np.zeros(8000, np.float32), synthetic_speech(0.6, seed=2)])
    clean, notes = clean_waveform(np.pad(speech, (16000, 8000)), ["trim"])
    assert notes == () and abs(len(clean) - len(speech)) <= 640 and clean.dtype == np.float32
    assert np.isin(clean, speech).all()


@pytest.mark.parametrize("gain", [0.01, 0.1, 1.0])
def test_loudness_becomes_what_is_asked_for(gain):
    from pyloudnorm import Meter

    speech = gain * synthetic_speech(2.0, seed=3)
    for wanted in (LOUDNESS, -30.0):
        clean, notes = clean_waveform(speech, ["loudness"], loudness=wanted)
        assert notes == () and Meter(16000).integrated_loudness(clean.astype(float)) == pytest.approx(wanted, abs=0.05)
        assert np.corrcoef(clean, speech)[0, 1] > 0.999999  # one gain, nothing else


def test_short_clips_are_levelled_by_their_power_and_say_so():
    clean, notes = clean_waveform(0.01 * synthetic_speech(0.3, seed=1), ["loudness"])
    assert level(clean) == pytest.approx(LOUDNESS, abs=0.01)
    assert notes == ("shorter than the block of ITU-R BS.1770 (0.4 s): loudness by root mean square",)


def test_no_gain_clips_and_silence_is_left_alone():
    click = 0.001 * synthetic_speech(2.0, seed=1)
    click[5000] = 0.9
    clean, notes = clean_waveform(click, ["loudness"])
    assert np.abs(clean).max() == pytest.approx(0.99, abs=1e-4) and notes[0].startswith("peaks do not allow -23 LUFS")
    for samples in (6000, 16000):
        clean, notes = clean_waveform(np.zeros(samples, np.float32), STEPS)
        assert not clean.any() and notes[-1].startswith("below -70 LUFS")


def test_noise_is_reduced_where_it_is_and_speech_is_kept():
    speech = np.concatenate([np.zeros(8000, np.float32), synthetic_speech(2.0, seed=1), np.zeros(8000, np.float32)])
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    noise *= np.sqrt(np.square(speech).sum() / np.square(noise).sum()) * 10 ** (-5 / 20)
    clean, notes = clean_waveform(speech + noise, ["denoise"])
    assert notes == () and len(clean) == len(speech)
    assert level(clean[:6000]) < level(noise[:6000]) - 8  # the pause
    scale = clean @ speech / (speech @ speech)
    assert 10 * np.log10(np.square(scale * speech).sum() / np.square(clean - scale * speech).sum()) > 6.5  # it was 5
    assert scale > 0.6
    padded, notes = clean_waveform(
        np.pad(speech + noise, (5000, 7000)), ["denoise"]
    )  # what was padded holds no noise to go by
    assert notes == () and level(padded[5320:11000]) < level(noise[:6000]) - 8


def test_noise_that_cannot_be_told_from_speech_is_left():
    speech = synthetic_speech(0.2, seed=1)
    clean, notes = clean_waveform(speech, ["denoise"])
    assert np.array_equal(clean, speech) and "too short" in notes[0]
    gapped = np.concatenate([synthetic_speech(1.0, seed=1), np.zeros(4000, np.float32), synthetic_speech(1.0, seed=2)])
    clean, notes = clean_waveform(gapped, ["denoise"])
    assert np.array_equal(clean, gapped) and "digital silence" in notes[0]


def test_steps_are_done_in_one_order_and_unknown_ones_are_refused():
    assert check_steps(["loudness", "trim", "denoise", "trim"]) == ("denoise", "trim", "loudness") and check_steps(
        "trim"
    ) == ("trim",)
    with pytest.raises(InputError, match=r"clean: expected some of denoise, trim, loudness, got 'polish'"):
        check_steps(["polish"])


@pytest.mark.parametrize(("step", "package"), [("denoise", "noisereduce"), ("loudness", "pyloudnorm")])
def test_a_missing_package_is_told_with_the_command_before_any_work(step, package, monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == package:
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf'{package}, got none .*pip install "multimodal_ser\[clean\]"'):
        prepare(tmp_path / "is not even looked for", output=tmp_path / "m.csv", clean=["trim", step])
    assert check_steps("trim") == ("trim",)


def test_clean_copies_lie_as_the_originals_do_and_these_stay_as_they_are(tmp_path):
    root, folder = tmp_path / "corpus", tmp_path / "clean"
    rows = [
        row(record(root / "ann" / "1.wav", seed=1, rate=44100, pad=0.5), emotion="joy"),
        row(record(root / "bo" / "1.wav", seed=2, pad=0.5), emotion="anger", text="go"),
        row(record(root / "bo" / "1.flac", seed=3, pad=0.5), emotion="anger"),
        ManifestRow(text="words alone", emotion="joy"),
        row(record(root / "talk.wav", 3.0, seed=4), start=0.5, end=1.5, emotion="fear"),
    ]
    before = prints(root)
    done = clean_rows(rows, folder, steps=["trim", "loudness"])
    assert prints(root) == before
    names = [None if one.path is None else one.path.relative_to(folder).as_posix() for one in done.rows]
    assert names == ["ann/1.flac", "bo/1_wav.flac", "bo/1_flac.flac", None, "talk_0.500-1.500.flac"]
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == sorted(
        filter(None, names)
    )
    assert [(one.emotion, one.text, one.start, one.end) for one in done.rows] == [
        (one.emotion, one.text, None, None) for one in rows
    ]
    assert done.errors == () and done.files == 4
    for one in done.rows:
        if one.path is not None:
            info = soundfile.info(one.path)
            assert (info.samplerate, info.channels, info.format, info.subtype) == (16000, 1, "FLAC", "PCM_16")
            assert info.duration == pytest.approx(1.0, abs=0.05)
    first = prints(folder)
    clean_rows(rows, folder, steps=["trim", "loudness"], workers=1)
    assert prints(folder) == first
    assert json.loads(json.dumps(done.to_dict()))["files"] == 4


def test_copies_never_go_where_originals_are(tmp_path):
    rows = [row(record(tmp_path / "a.flac")), row(record(tmp_path / "sub" / "b.flac"))]
    before = prints(tmp_path)
    with pytest.raises(InputError, match="cleaned_dir: expected a folder of its own"):
        clean_rows(rows, tmp_path, steps=["trim"])
    (tmp_path / "link").symlink_to(tmp_path / "sub", target_is_directory=True)
    with pytest.raises(InputError, match="which holds originals"):
        clean_rows(rows[1:], tmp_path / "link", steps=["trim"])
    (tmp_path / "link").unlink()
    with pytest.raises(InputError, match="a folder that can be made"):
        clean_rows(rows, tmp_path / "a.flac" / "x", steps=["trim"])
    assert prints(tmp_path) == before


def test_what_cannot_be_cleaned_is_named_and_the_rest_is_done(tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    rows = [
        row(tmp_path / "bad.wav", place="m.csv, line 2"), row(record(tmp_path / "good.wav")),
        row(tmp_path / "good.wav", start=5.0, place="m.csv, line 4"),
    ]  # fmt: skip
    done = clean_rows(rows, tmp_path / "clean", steps=["trim"])
    assert [one.path.name for one in done.rows] == ["good.flac"] and done.files == 1
    assert [str(error).split(":")[0] for error in done.errors] == ["m.csv, line 2", "m.csv, line 4"]


# ---- prepare


@pytest.fixture
def folders(tmp_path):
    root = tmp_path / "mine"
    for seed, name in enumerate(("ann/happy/1.wav", "ann/surprise/2.wav", "bo/happy/3.wav", "bo/calm/4.wav")):
        record(root / name, 0.6, seed=seed, pad=0.3)
    return root


def test_a_folder_becomes_a_manifest_that_is_read_back(folders, tmp_path):
    before = prints(folders)
    done = prepare(folders, output=tmp_path / "out" / "manifest.csv")
    assert done.kind == "folder" and done.errors == () and done.cleaning is None and done.label_set is None
    again = read_manifest(tmp_path / "out" / "manifest.csv")
    assert again.errors == () and again.rows == done.rows
    assert again.emotions == {"calm": 1, "happy": 2, "surprise": 1} and again.speakers == ["ann", "bo"]
    assert prints(folders) == before
    assert "written      4 rows to" in str(done) and "read as      folder" in str(done)
    assert json.loads(json.dumps(done.to_dict()))["survey"]["clips"] == 4


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_each_kind_of_manifest_is_written(folders, tmp_path, ending):
    done = prepare("folder", folders, output=tmp_path / f"manifest{ending}", label_set="native")
    assert read_manifest(done.output).rows == done.rows and {one.emotion for one in done.rows} == {
        "happiness",
        "surprise",
        "calm",
    }


def test_a_label_set_renames_and_leaves_out_what_has_no_place(folders, tmp_path):
    done = prepare(folders, output=tmp_path / "m.csv", label_set="ekman")
    assert (
        sorted(one.emotion for one in done.rows) == ["happiness", "happiness", "neutral", "surprise"]
        and done.left_out == {}
    )
    done = prepare(folders, output=tmp_path / "m.csv", label_set="sentiment")
    assert done.left_out == {"surprise": (1, "positive or negative, case by case")} and len(done.rows) == 3
    assert "surprise: 1 row left out (positive or negative, case by case)" in str(done)
    assert done.to_dict()["left_out"]["surprise"]["rows"] == 1
    with pytest.raises(LabelError, match="did you mean 'ekman'"):
        prepare(folders, output=tmp_path / "n.csv", label_set="ekmann")
    assert not (tmp_path / "n.csv").exists()


def test_several_emotions_and_votes_are_put_into_a_label_set_too(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("text,emotion,votes\na,anger|joy|rage,\nb,,joy:2|excited:1|surprise:4\nc,surprise,\nd,awe,\ne,,\n")
    done = prepare(table, output=tmp_path / "m.csv", label_set="sentiment")
    assert [(one.text, one.emotion, one.votes) for one in done.rows] == [
        ("a", "negative|positive", None), ("b", None, {"positive": 3.0}), ("e", None, None),
    ]  # fmt: skip
    assert list(done.left_out) == ["surprise"]
    assert [str(error).split(":")[0] for error in done.errors] == ["t.csv, line 5, emotion"]
    assert read_manifest(tmp_path / "m.csv").rows == done.rows


def test_bad_rows_of_every_kind_are_named_and_the_others_are_prepared(tmp_path):
    for seed in range(3):
        record(tmp_path / f"{seed}.wav", 0.5, seed=seed)
    (tmp_path / "bad.wav").write_text("no audio")
    lines = [
        "path,emotion,speaker,gender,start,end", "0.wav,joy,a,F,,", "gone.wav,joy,a,f,,", "bad.wav,joy,a,f,,", "1.wav,joy,b,m,2,1",
        "1.wav,hunger,b,m,,", "1.wav,joy,b,m,0.2,", "2.wav,joy,b,Male,90,", "2.wav,jo\0y,b,m,,", "0.wav,joy,a,f,,", "2.wav,anger,b,m,,",
    ]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join(lines))
    done = prepare("manifest", tmp_path / "t.csv", output=tmp_path / "m.csv", label_set="native")
    assert [(one.name, one.emotion, one.gender) for one in done.rows] == [
        ("0.wav", "happiness", "female"), ("1.wav[0.200-]", "happiness", "male"), ("2.wav", "anger", "male"),
    ]  # fmt: skip
    told = {
        int(str(error).split("line ")[1].split(",")[0].split(":")[0].split(" ")[0]): str(error) for error in done.errors
    }
    assert sorted(told) == [3, 4, 5, 6, 8, 9, 10] and len(done.errors) == 7
    assert "'hunger'" in told[6] and "bad.wav" in told[4] and "NUL" in told[9] and "gone.wav" in told[3]
    assert all(line in str(done) for line in told.values())


def test_a_table_of_other_columns_in_a_folder_tree_is_read_with_one_option(tmp_path):
    root = tmp_path / "corpus"
    for seed in range(3):
        record(root / "wavs" / f"s{seed % 2}" / f"{seed}.wav", 0.5, seed=seed)
    (root / "labels.csv").write_text("clip,emo,who\nwavs/s0/0.wav,joy,a\nwavs/s1/1.wav,anger,b\nwavs/s0/2.wav,joy,a\n")
    with pytest.raises(InputError, match="--columns") as caught:
        prepare(root, output=tmp_path / "m.csv")
    assert all(name in str(caught.value) for name in ("clip", "emo", "who"))
    done = prepare(root, output=tmp_path / "m.csv", columns={"path": "clip", "emotion": "emo", "speaker": "who"})
    assert done.kind == "manifest" and done.survey.to_dict()["emotions"] == {"anger": 1, "joy": 2}
    assert [one.speaker for one in done.rows] == ["a", "b", "a"]
    (root / "other.csv").write_text("x\n1\n")
    with pytest.raises(InputError, match=r"got labels.csv, other.csv; name the table itself"):
        prepare(root, output=tmp_path / "m.csv", columns={"path": "clip"})


def test_cleaned_manifests_name_the_copies(folders, tmp_path):
    before = prints(folders)
    done = prepare(folders, output=tmp_path / "manifest.csv", clean=["loudness", "trim"])
    assert (
        prints(folders) == before
        and done.cleaning.folder == tmp_path / "manifest_cleaned"
        and done.cleaning.steps == ("trim", "loudness")
    )
    again = read_manifest(tmp_path / "manifest.csv")
    assert again.errors == () and again.rows == done.rows
    assert again.rows[0].name == "manifest_cleaned/ann/happy/1.flac"
    assert all(len(load_audio(one.path)) <= 0.65 * 16000 for one in again.rows)
    assert done.survey.duration == pytest.approx(4 * 1.2, abs=0.01)  # of the originals
    assert "cleaned      trim, loudness: 4 copies in" in str(done)
    other = prepare(folders, output=tmp_path / "n.csv", clean="trim", cleaned_dir=tmp_path / "there")
    assert other.cleaning.folder == tmp_path / "there" and len(list((tmp_path / "there").rglob("*.flac"))) == 4


def test_a_known_corpus_is_told_by_its_names(tmp_path):
    root = tmp_path / "speech"
    for seed, name in enumerate(("03-01-05-01-01-01-01", "03-01-03-02-02-01-02", "03-01-02-01-01-02-02")):
        record(root / f"Actor_{name[-2:]}" / f"{name}.wav", 0.5, seed=seed)
    asked = prepare("RAVDESS", root, output=tmp_path / "a.csv")
    guessed = prepare(root, output=tmp_path / "b.csv")
    assert asked.kind == guessed.kind == "ravdess" and asked.rows == guessed.rows
    assert (
        asked.rows[0].speaker == "ravdess_01" and asked.rows[0].emotion == "anger" and asked.rows[0].corpus == "ravdess"
    )
    assert "RAVDESS (ravdess): CC BY-NC-SA 4.0" in str(asked) and "3 of the 1440" in str(asked)
    assert "told by its names" in str(guessed) and "told by its names" not in str(asked)
    assert asked.to_dict()["corpus"]["licence"] == "CC BY-NC-SA 4.0"
    assert read_manifest(tmp_path / "a.csv").rows == asked.rows


@pytest.mark.parametrize(
    ("args", "options", "expected"),
    [
        (("ravdess",), {}, "expected where ravdess lies, got none; prepare ravdess PATH"),
        (("nowhere.csv",), {}, "expected a path, a dataset's Hub id, or a corpus"),
        (("ravdes", "."), {}, "did you mean 'ravdess'"),
        (("folder", "mine"), {"columns": {"path": "x"}}, "columns: expected a table, for this option, got folder"),
        (("folder", "mine"), {"streaming": True}, "--streaming: expected a dataset, for this option, got folder"),
        (("folder", "mine"), {"output": "m.txt"}, "output: expected a table"),
        (("folder", "mine"), {"output": "mine.csv"}, "a folder"),
        (("manifest", "t.csv"), {"output": "t.csv"}, "which is the table that is read"),
        (("folder", "empty"), {}, "expected at least one row that can be used, got none of 1; the first error: bad.wav"),
    ],
)  # fmt: skip
def test_wrong_use_is_told_in_a_line_and_writes_nothing(folders, tmp_path, monkeypatch, args, options, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").mkdir()
    (tmp_path / "t.csv").write_text("text,emotion\nhi,joy\n")
    (tmp_path / "empty" / "joy").mkdir(parents=True)
    (tmp_path / "empty" / "joy" / "bad.wav").write_text("no audio")
    before = prints(tmp_path)
    with pytest.raises(InputError) as caught:
        prepare(*args, **{"output": "m.csv", **options})
    assert expected.replace("bad.wav", "joy/bad.wav") in str(caught.value)
    assert prints(tmp_path) == before


def test_a_bar_is_drawn_when_asked_for(folders, tmp_path, capsys):
    prepare(folders, output=tmp_path / "m.csv", clean="trim", progress=True)
    drawn = capsys.readouterr()
    assert "survey" in drawn.err and "clean" in drawn.err and drawn.out == ""
    prepare(folders, output=tmp_path / "m.csv")
    assert capsys.readouterr().err == ""


# ---- real recordings


def test_ravdess_is_prepared_in_three_lines_of_report(data, tmp_path):
    began = time.monotonic()
    done = prepare("ravdess", data / "ravdess", output=tmp_path / "manifest.csv", label_set="ekman")
    assert time.monotonic() - began < 45  # 1.24 hours; a second or two on a quiet machine
    assert done.errors == () and len(done.rows) == 1200 and len({one.speaker for one in done.rows}) == 20
    told = done.survey.to_dict()
    assert (
        told["emotions"]["neutral"] == 240
        and told["genders"] == {"female": 600, "male": 600}
        and 1.2 < told["hours"] < 1.3
    )
    # a mistake of the corpus itself: two repetitions of actor 7 are one recording
    (pair,) = told["duplicates"]
    assert [name.rpartition("/")[2] for name in pair] == ["03-01-03-01-02-01-07.flac", "03-01-03-01-02-02-07.flac"]
    assert read_manifest(tmp_path / "manifest.csv").rows == done.rows


def test_real_clips_come_out_trimmed_and_equally_loud(data, tmp_path):
    from pyloudnorm import Meter

    rows = read_manifest(data / "ravdess" / "manifest.csv").rows[::60]
    done = clean_rows(rows, tmp_path / "clean", steps=STEPS)
    assert done.errors == () and done.files == 20
    before = sum(len(load_audio(one.path)) for one in rows) / 16000
    assert 0.25 * before < done.duration < 0.8 * before  # more than a second of each clip is silence
    loudness = [Meter(16000).integrated_loudness(load_audio(one.path).astype(float)) for one in done.rows]
    limited = sum(count for note, count in done.notes.items() if note.startswith("peaks"))
    assert sum(abs(value - LOUDNESS) < 0.1 for value in loudness) >= 20 - limited and limited <= 5
