"""Fixtures: real recordings and real Whisper weights, where this machine has them; a stand-in for the Hub; made-up clips to train on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hub_server import HubServer

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings."""
    folder = os.environ.get("MULTIMODAL_SER_DATA")
    if not folder:
        pytest.skip("MULTIMODAL_SER_DATA is not set: no real recordings")
    return Path(folder)


@pytest.fixture(scope="session")
def whisper_weights(data) -> Path:
    """Real weights of base in the form of each backend: OUT/{ctranslate2,openai,transformers}/base; made once, where their maker is at hand."""
    given = os.environ.get("MULTIMODAL_SER_WHISPER")
    if given:
        return Path(given)
    maker = data.parent / "tools" / "whisper_weights.py"
    if not maker.exists():
        pytest.skip(f"neither MULTIMODAL_SER_WHISPER nor {maker.name} beside the data: no real Whisper weights")
    out = Path(__file__).resolve().parents[1] / ".cache" / "whisper"
    out.parent.mkdir(exist_ok=True)
    with FileLock(out.with_suffix(".lock")):  # tests run side by side in several processes
        if not (out / "transformers" / "base" / "config.json").exists():
            subprocess.run([sys.executable, str(maker), str(out), "base"], check=True)
    return out


@pytest.fixture
def hub():
    """A stand-in for the Hugging Face Hub on loopback; clients are processes with `env=hub.environment(HOME, TOKEN)`."""
    with HubServer() as server:
        yield server


@pytest.fixture
def fresh_accelerator():
    """Accelerate decides on precision and device once for a process, in which other files' tests ran before."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture
def no_curves(monkeypatch):
    """Runs without the picture of their curves, which takes a fifth of a tiny run; test_training_run.py draws it."""
    monkeypatch.setattr("multimodal_ser.training.run.plot_curves", lambda history, path: path.touch())


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny checkpoint of three classes."""
    from multimodal_ser.testing import tiny_model

    folder = tmp_path_factory.mktemp("tiny")
    tiny_model().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Three folders of six clips."""
    from training_runs import PITCH, write

    root = tmp_path_factory.mktemp("clips")
    for place, (name, pitch) in enumerate(PITCH.items()):
        for number in range(6):
            write(root / name / f"{number}.wav", 0.4 + number / 20, 10 * place + number, pitch)
    return root


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """24 clips of six speakers with words, dimensions and dialogues; every text is said once."""
    from training_runs import PITCH, WORDS, table, write

    root = tmp_path_factory.mktemp("manifest")
    rows = []
    for number in range(24):
        name = list(PITCH)[number % 3]
        path = write(root / "audio" / f"{number:02d}.wav", 0.4 + number % 5 / 20, number, PITCH[name]).relative_to(root)
        rows.append({
            "path": path, "emotion": name, "text": f"{WORDS[name]} secret{number}", "speaker": f"s{number // 4}", "arousal": PITCH[name] / 100,
            "valence": number % 7, "dialogue": number // 6, "turn": number % 6, "votes": "",
        })  # fmt: skip
    return table(root / "manifest.csv", rows)


@pytest.fixture
def mixed(tmp_path, manifest):
    """Rows with both, with a recording alone, and with words alone."""
    from training_runs import rows_of, table

    rows = rows_of(manifest)
    for at, row in enumerate(rows):
        if at % 3 == 1:
            row["text"] = ""
        if at % 4 == 2:
            row["path"] = ""
    return table(tmp_path / "mixed.csv", rows)
