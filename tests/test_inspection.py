"""What `doctor` recognises, and what it advises."""

import importlib

import pytest

from multimodal_ser import doctor as inspection
from multimodal_ser.cli import main
from multimodal_ser.doctor import Check, diagnose, explain_import_error


def test_a_sound_installation(capsys):
    checks = diagnose()
    assert {check.name for check in checks} >= {
        "python",
        "torch",
        "torchaudio",
        "transformers",
        "devices",
        "shipped checkpoint",
        "whisper",
    }
    assert all(check.ok for check in checks if check.name != "whisper"), checks
    assert main(["doctor"]) == (0 if all(check.ok for check in checks) else 1)
    assert "torchaudio" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("distribution", "error", "remedy"),
    [
        (
            "torchaudio",
            OSError("libc10_cuda.so: cannot open shared object file: No such file or directory"),
            "both from the same index",
        ),
        (
            "torchaudio",
            RuntimeError("Detected that PyTorch and TorchAudio were compiled with different CUDA versions."),
            "both from the same index",
        ),
        (
            "transformers",
            RuntimeError("Failed to import transformers.models.auto"),
            "often a torchaudio that does not fit torch",
        ),
        ("soxr", ModuleNotFoundError("No module named 'soxr'", name="soxr"), "pip install soxr"),
        ("av", ImportError("bad ELF header"), "--force-reinstall av"),
    ],
)
def test_broken_installations_have_a_remedy(distribution, error, remedy):
    assert remedy in explain_import_error(distribution, error)


def test_a_package_that_does_not_import_is_named(monkeypatch, capsys):
    real = importlib.import_module

    def broken(name, *arguments):
        if name == "torchaudio":
            raise OSError("libc10_cuda.so: cannot open shared object file: No such file or directory")
        return real(name, *arguments)

    monkeypatch.setattr(inspection.importlib, "import_module", broken)
    assert main(["doctor"]) == 1
    [line, remedy] = [
        line for line in capsys.readouterr().out.splitlines() if "libc10_cuda" in line or "remedy" in line
    ]
    assert line.startswith("BAD  torchaudio") and "same index" in remedy


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(inspection, "PACKAGES", (("no_such_module", "no-such-package"),))
    assert Check("no-such-package", "not installed", "pip install no-such-package") in diagnose()
