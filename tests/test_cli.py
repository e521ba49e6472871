"""The command line: results on stdout, the rest on stderr, formats, exit codes."""

import csv
import io
import json
import subprocess
import sys

import pytest
import soundfile as sf

from multimodal_ser.cli import main
from multimodal_ser.testing import synthetic_speech, tiny_model


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


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_every_format_says_the_same(capsys, model, clips):
    options = ["predict", *clips, "--model", model, "--whisper", "none", "--label-set", "ekman"]
    code, out, err = run(capsys, *options, "--format", "json")
    assert code == 0 and not err
    rows = json.loads(out)
    assert [row["source"] for row in rows] == clips
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)
    assert {label for row in rows for label in row["probabilities"]} == {"anger", "happiness", "neutral"}  # joy's place in ekman
    lines = run(capsys, *options, "--format", "jsonl")[1].splitlines()
    assert [json.loads(line) for line in lines] == rows
    table = list(csv.DictReader(io.StringIO(run(capsys, *options, "--format", "csv")[1])))
    assert [row["label"] for row in table] == [row["label"] for row in rows]
    assert float(table[0]["p_happiness"]) == pytest.approx(rows[0]["probabilities"]["happiness"], abs=1e-6)
    shown = run(capsys, *options)[1]
    assert all(row["label"] in line for row, line in zip(rows, shown.splitlines()[1:], strict=False))


def test_one_bad_file_loses_nothing(capsys, model, clips, tmp_path):
    bad = tmp_path / "notes.wav"
    bad.write_text("not audio")
    code, out, err = run(
        capsys, "predict", clips[0], bad, tmp_path / "gone.wav", clips[1], "--model", model, "--whisper", "none", "--format", "jsonl"
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
    code, out, _ = run(capsys, "predict", clips[0], "--model", model, "--whisper", "none", "--format", "csv", "-o", target)
    assert code == 0 and not out
    assert len(list(csv.DictReader(target.open()))) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict"], "expected recordings, or --text"),
        (["predict", "a.wav", "b.wav", "--text", "hello"], "--text: expected at most one recording"),
        (["predict", "a.wav", "--model", "/no/such/folder"], "--model: expected a folder or Hub id"),
        (["predict", "a.wav", "--label-set", "ekmann"], "did you mean 'ekman'"),
        (["predict", "--text", "hello", "-o", "/no/such/folder/out.csv"], "--output: expected a file that can be written"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(capsys, model, arguments, says):
    if "--model" not in arguments:
        arguments = [*arguments, "--model", model]
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out
    assert says in err and len(err.strip().splitlines()) == 1


def test_unknown_options_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "--labelset", "ekman"])
    assert stopped.value.code == 2
    assert "--labelset" in capsys.readouterr().err


def test_info_tells_gates_and_licences(capsys, model):
    code, out, err = run(capsys, "info", "--model", model, "--format", "json")
    described = json.loads(out)
    assert code == 0 and not err
    assert described["fusion_gates"] == [{"audio_from_text": 0.462, "text_from_audio": 0.462}] * 2  # tanh(0.5), as they start
    assert described["labels"] == ["anger", "joy", "neutral", "calm"] and described["text_languages"] == ["en"]
    assert described["weights_license"] is None
    text = run(capsys, "info", "--model", model)[1]
    assert "fusion gates" in text and "0.462" in text and "weights license" in text and "unknown" in text


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
    options = [data / "jfk.flac", "--whisper", whisper_weights / "ctranslate2" / "base", "--cache-dir", tmp_path, "--format", "json"]
    heard = run(capsys, "transcribe", *options)[1]
    assert len(list(tmp_path.glob("*.json"))) == 1
    assert run(capsys, "transcribe", *options)[1] == heard
    code, out, err = run(capsys, "transcribe", "--cache-dir", tmp_path, "--clear-cache")
    assert code == 0 and not out and "1 transcripts deleted" in err and not list(tmp_path.iterdir())
    assert run(capsys, "transcribe", "--clear-cache")[0] == 2


def test_the_installed_command(model, clips):
    command = [sys.executable, "-m", "multimodal_ser.cli", "predict", clips[0], "--model", model, "--whisper", "none", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["source"] == clips[0]
    assert not done.stderr.strip()
