"""Old module paths work for one release, and say where to go."""

import importlib
import subprocess
import sys

import pytest

from multimodal_ser._moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_is_the_new_module_with_a_warning(old):
    if old in ("exports", "quantisation"):
        pytest.importorskip("onnx")
    sys.modules.pop(f"multimodal_ser.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"multimodal_ser.{old} has moved to multimodal_ser.{MOVED[old]}"):
        module = importlib.import_module(f"multimodal_ser.{old}")
    new = importlib.import_module(f"multimodal_ser.{MOVED[old]}")
    assert module is new
    assert new.__spec__.name == f"multimodal_ser.{MOVED[old]}"


def test_the_warning_points_at_the_import_of_the_user(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from multimodal_ser.windows import Windower\nprint(Windower.__module__)\n")
    run = [sys.executable, "-W", "always", str(script)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "multimodal_ser.audio.segmentation"
    assert f"{script}:1: DeprecationWarning" in done.stderr


def test_other_names_are_missing_as_ever():
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        importlib.import_module("multimodal_ser.nonsense")
