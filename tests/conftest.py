"""Fixtures: real recordings and real Whisper weights, where this machine has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
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
    if not (out / "transformers" / "base" / "config.json").exists():
        subprocess.run([sys.executable, str(maker), str(out), "base"], check=True)
    return out


@pytest.fixture
def hub():
    """A stand-in for the Hugging Face Hub on loopback; clients are processes with `env=hub.environment(HOME, TOKEN)`."""
    with HubServer() as server:
        yield server
