"""The command line: results on stdout, the rest on stderr, formats, exit codes."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from multimodal_ser import doctor as inspection
from multimodal_ser.cli import main
from multimodal_ser.testing import synthetic_speech, tiny_model
from multimodal_ser.transcription import WhisperWeights, transcriber
from multimodal_ser.transcription.backends import Recognition


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model(labels=("anger", "joy", "neutral", "calm"), text_languages=["en"]).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for i in range(3):
        sf.write(folder / f"{i}.wav", synthetic_speech(0.8 + 0.1 * i, seed=i), 16000)
    return [str(path) for path in sorted(folder.glob("*.wav"))]


class Played:
    """A Whisper that always hears the same."""

    def __init__(self, weights, device, compute_type):
        self.multilingual = weights.name != "base.en"

    def transcribe(self, waveforms, language, word_timestamps):
        return [Recognition("hello world", language or "en", 0.9, -0.1, 0.0, () if word_timestamps else None)] * len(
            waveforms
        )


@pytest.fixture
def played(monkeypatch):
    monkeypatch.setattr(transcriber, "BACKENDS", {"faster-whisper": Played})
    monkeypatch.setattr(
        transcriber,
        "find_whisper",
        lambda model, backend: WhisperWeights(model or "base", "/nowhere", "ctranslate2", "test"),
    )
    monkeypatch.setattr(transcriber, "speech_duration", len)  # every clip is speech


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_every_format_says_the_same(capsys, model, clips, monkeypatch):
    options = ["predict", *clips, "--model", model, "--whisper", "none", "--label-set", "ekman"]
    code, out, err = run(capsys, *options, "--format", "json")
    assert code == 0 and not err
    rows = json.loads(out)
    assert [row["source"] for row in rows] == clips
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)
    assert {label for row in rows for label in row["probabilities"]} == {
        "anger",
        "happiness",
        "neutral",
    }  # joy's place in ekman
    lines = run(capsys, *options, "--format", "jsonl")[1].splitlines()
    assert [json.loads(line) for line in lines] == rows
    table = list(csv.DictReader(io.StringIO(run(capsys, *options, "--format", "csv")[1])))
    assert [row["label"] for row in table] == [row["label"] for row in rows]
    assert float(table[0]["p_happiness"]) == pytest.approx(rows[0]["probabilities"]["happiness"], abs=1e-6)
    monkeypatch.chdir(Path(clips[0]).parent)  # names short enough for a row of the table to be a line
    shown = run(capsys, "predict", *(Path(clip).name for clip in clips), *options[1 + len(clips) :])[1].splitlines()[1:]
    assert all(row["label"] in line for row, line in zip(rows, shown, strict=True))


def test_one_bad_file_loses_nothing(capsys, model, clips, tmp_path):
    bad = tmp_path / "notes.wav"
    bad.write_text("not audio")
    code, out, err = run(
        capsys,
        "predict",
        clips[0],
        bad,
        tmp_path / "gone.wav",
        clips[1],
        "--model",
        model,
        "--whisper",
        "none",
        "--format",
        "jsonl",
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [("error" in row, row["source"]) for row in rows] == [
        (False, clips[0]),
        (True, str(bad)),
        (True, str(tmp_path / "gone.wav")),
        (False, clips[1]),
    ]
    assert "notes.wav: expected" in err and "gone.wav" in err and "2 of 4 inputs failed" in err


@pytest.mark.parametrize("command", ["predict", "transcribe"])
def test_failed_rows_show_their_error(capsys, monkeypatch, played, model, clips, command):
    monkeypatch.chdir(os.path.dirname(clips[0]))
    options = [command, "0.wav", "gone.wav", *(["--model", model] if command == "predict" else [])]
    table = run(capsys, *options)[1].splitlines()
    assert table[0].rstrip().endswith("error") and "gone.wav: expected" in table[2]
    fine, failed = csv.DictReader(io.StringIO(run(capsys, *options, "--format", "csv")[1]))
    assert (
        fine["text"] == "hello world"
        and not fine["error"]
        and failed["error"].startswith("gone.wav: expected an audio file")
    )
    options.remove("gone.wav")
    assert "error" not in run(capsys, *options)[1]


def test_names_are_written_as_they_are(capsys, monkeypatch, model, clips, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = ["a:cat:.wav", "[red]b.wav", os.fsdecode(b"caf\xe9.wav")]  # the last is no UTF-8
    for name in names:
        shutil.copy(clips[0], name)
    options = ["predict", *names, "--model", model, "--whisper", "none"]
    for form, read in (("json", json.loads), ("csv", lambda text: list(csv.DictReader(io.StringIO(text))))):
        assert run(capsys, *options, "--format", form, "-o", "out")[0] == 0
        written = [row["source"] for row in read((tmp_path / "out").read_text(encoding="utf-8"))]
        assert written == (names if form == "json" else [*names[:2], "caf\\udce9.wav"])
    for form in ("json", "table"):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr("sys.stdout", stdout)
        assert main([*options, "--format", form]) == 0
        written = stdout.buffer.getvalue().decode()
        assert (
            [row["source"] for row in json.loads(written)] == names
            if form == "json"
            else all(name in written for name in names[:2])
        )


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_closed_pipe_is_no_failure(monkeypatch, model, clips, form):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert main(["predict", clips[0], "--model", model, "--whisper", "none", "--format", form]) == 0


def test_given_text_and_modalities(capsys, model, clips):
    base = ["--model", model, "--whisper", "none", "--format", "json"]
    [both] = json.loads(run(capsys, "predict", clips[0], "--text", "hello world", *base)[1])
    assert both["modalities"] == ["audio", "text"] and both["transcript"]["text"] == "hello world"
    [words] = json.loads(run(capsys, "predict", "--text", "hello world", *base)[1])
    assert words["modalities"] == ["text"] and words["source"] is None
    [audio] = json.loads(run(capsys, "predict", clips[0], "--modalities", "audio", *base)[1])
    assert audio["modalities"] == ["audio"]


def test_output_goes_to_a_file(capsys, model, clips, tmp_path):
    target = tmp_path / "answers.csv"
    code, out, _ = run(
        capsys, "predict", clips[0], "--model", model, "--whisper", "none", "--format", "csv", "-o", target
    )
    assert code == 0 and not out
    assert len(list(csv.DictReader(target.open()))) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict"], "expected recordings, or --text"),
        (["predict", "a.wav", "b.wav", "--text", "hello"], "--text: expected at most one recording"),
        (["predict", "a.wav", "--model", "/no/such/folder"], "--model: expected a folder or Hub id"),
        (["predict", "a.wav", "--label-set", "ekmann"], "did you mean 'ekman'"),
        (
            ["predict", "--text", "hello", "-o", "/no/such/folder/out.csv"],
            "--output: expected a file that can be written",
        ),
        (["predict", "a.wav", "--device", "nope"], "--device: expected a device of this machine"),
        (["predict", "a.wav", "--device", "cuda:99"], "--device: expected a device of this machine"),
        (["predict", "a.wav", "--device", "meta"], "--device: expected a device of this machine"),
        (["predict", "a.wav", "--cache-dir", __file__], "cache_dir: expected a folder"),
        (["predict", "a.wav", "--whisper", "bsae"], "did you mean 'base'"),
        (["predict", "a.wav", "--batch-size", "0"], "batch_size: expected a whole number from 1"),
        (["transcribe", "a.wav", "--cache-dir", __file__], "cache_dir: expected a folder"),
        (["transcribe", "--clear-cache", "--cache-dir", __file__], "cache_dir: expected a folder"),
        (["transcribe", "a.wav", "--device", "nope"], "device: expected"),
        (["transcribe", "a.wav", "--language", "klingon"], "language: expected a language that Whisper knows"),
        (["transcribe", "a.wav", "--language", "de", "--whisper", "base.en"], "knows English alone"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(capsys, played, model, tmp_path, arguments, says):
    if arguments[0] == "predict" and "--model" not in arguments:
        arguments = [*arguments, "--model", model]
    if "-o" not in arguments:
        (tmp_path / "old").write_text("results")
        arguments = [*arguments, "-o", tmp_path / "old"]
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out
    assert says in err and len(err.strip().splitlines()) == 1
    assert [file.read_text() for file in tmp_path.iterdir()] in ([], ["results"])


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_checkpoint_is_one_line(capsys, model, clips, tmp_path, damage):
    shutil.copytree(model, tmp_path / "damaged")
    with open(tmp_path / "damaged" / damage, "r+b") as file:
        file.truncate(1000)
    code, out, err = run(capsys, "predict", clips[0], "--model", tmp_path / "damaged", "--whisper", "none")
    assert code == 2 and not out
    assert err.startswith("multimodal-ser: --model: expected") and len(err.strip().splitlines()) == 1


def test_unknown_options_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "--labelset", "ekman"])
    assert stopped.value.code == 2
    assert "--labelset" in capsys.readouterr().err


def test_info_tells_gates_and_licences(capsys, model):
    code, out, err = run(capsys, "info", "--model", model, "--format", "json")
    described = json.loads(out)
    assert code == 0 and not err
    assert (
        described["fusion_gates"] == [{"audio_from_text": 0.462, "text_from_audio": 0.462}] * 2
    )  # tanh(0.5), as they start
    assert described["labels"] == ["anger", "joy", "neutral", "calm"] and described["text_languages"] == ["en"]
    assert described["weights_license"] is None
    text = run(capsys, "info", "--model", model)[1]
    assert "fusion gates" in text and "0.462" in text and "weights license" in text and "unknown" in text


def test_doctor_as_json(capsys, monkeypatch):
    checks = [inspection.Check("python", "3.11"), inspection.Check("torch", "not installed", "pip install torch")]
    monkeypatch.setattr(inspection, "diagnose", lambda: checks)
    code, out, _ = run(capsys, "doctor", "--format", "json")
    assert code == 1 and [check["ok"] for check in json.loads(out)] == [True, False]


def test_transcribe_with_real_weights(capsys, whisper_weights, data):
    code, out, err = run(
        capsys,
        "transcribe",
        data / "jfk.flac",
        data / "gone.flac",
        "--whisper",
        whisper_weights / "ctranslate2" / "base",
        "--format",
        "jsonl",
        "--word-timestamps",
    )
    found, missing = (json.loads(line) for line in out.splitlines())
    assert code == 1 and "gone.flac" in err and "error" in missing
    assert found["language"] == "en" and "country" in found["text"] and found["words"][0]["start"] >= 0


def test_the_cache_is_kept_and_cleared(capsys, whisper_weights, data, tmp_path):
    options = [
        data / "jfk.flac",
        "--whisper",
        whisper_weights / "ctranslate2" / "base",
        "--cache-dir",
        tmp_path,
        "--format",
        "json",
    ]
    heard = run(capsys, "transcribe", *options)[1]
    assert len(list(tmp_path.glob("*.json"))) == 1
    assert run(capsys, "transcribe", *options)[1] == heard
    code, out, err = run(capsys, "transcribe", "--cache-dir", tmp_path, "--clear-cache")
    assert code == 0 and not out and "1 transcripts deleted" in err and not list(tmp_path.iterdir())
    assert run(capsys, "transcribe", "--clear-cache")[0] == 2


def test_the_installed_command(model, clips):
    command = [
        sys.executable,
        "-m",
        "multimodal_ser.cli",
        "predict",
        clips[0],
        "--model",
        model,
        "--whisper",
        "none",
        "--format",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["source"] == clips[0]
    assert not done.stderr.strip()
