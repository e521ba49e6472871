"""One helper a task: writing of files, proposals for misspelt names, progress bars; each is written once and used everywhere."""

import ast
import io
import json
import os
import secrets
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from multimodal_ser._files import put, remove_abandoned, write_json, write_text, writing
from multimodal_ser._progress import ProgressBar, say, with_bar
from multimodal_ser.cli.output import destination
from multimodal_ser.errors import InputError, closest, did_you_mean

PACKAGE = Path(__file__).resolve().parents[1] / "multimodal_ser"


def used(tree):
    """What gives a copy of a helper away: names that are imported or looked up, and renames of paths."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield node.attr
            if isinstance(node.value, ast.Name):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "replace" and len(node.args) == 1:
            yield from [] if node.keywords else ["Path.replace"]  # a text's takes two


@pytest.mark.parametrize(
    ("home", "names"),
    [
        ("_files.py", {"os.replace", "os.rename", "os.renames", "rename", "Path.replace", "fsync", "mkstemp", "NamedTemporaryFile"}),
        ("errors.py", {"get_close_matches"}), ("_progress.py", {"tqdm", "rich.progress"}),
    ],
)  # fmt: skip
def test_it_is_written_once(home, names):
    assert names & set(used(ast.parse((PACKAGE / home).read_text())))
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if place == home or place.startswith("model/"):  # copied code, which cannot import the package
            continue
        copies = names & set(used(ast.parse(path.read_text())))
        assert not copies, f"{place} uses {copies}: {home} has it already"


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.replace(new, old)", "from os import replace\nreplace(new, old)", "new.rename(old)", "new.replace(old)",
        "import tempfile\ntempfile.mkstemp()", "from difflib import get_close_matches", "from tqdm.auto import tqdm", "import tqdm",
    ],
)  # fmt: skip
def test_a_copy_is_seen(text):
    names = {"os.replace", "rename", "Path.replace", "mkstemp", "get_close_matches", "tqdm"}
    assert names & set(used(ast.parse(text)))
    assert not names & set(used(ast.parse("text.replace('a', 'b')\nreplace(row, place=1)\nframe.rename_columns({})")))


# writing


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "scores.json"
    for before in (None, "old"):
        if before is not None:
            target.write_text(before)
        with suppress(KeyboardInterrupt), writing(target) as place:
            place.write_text("half")
            assert place.parent == tmp_path and not (before is None and target.exists())
            raise KeyboardInterrupt
        assert [path.name for path in tmp_path.iterdir()] == ([] if before is None else ["scores.json"])
        assert before is None or target.read_text() == before
    with writing(target) as place:
        place.write_text("new")
    assert target.read_text() == "new" and len(list(tmp_path.iterdir())) == 1


def test_a_writer_that_is_killed_leaves_the_name_free(tmp_path):
    code = "import sys, time\nfrom multimodal_ser._files import writing\nwith writing(sys.argv[1]) as place:\n    place.write_text('half'); print('written', flush=True); time.sleep(60)"
    target = tmp_path / "scores.json"
    with subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    assert not target.exists() and [path.read_text() for path in tmp_path.iterdir()] == ["half"]
    assert all(path.name.startswith(".") and path.suffix == ".part" for path in tmp_path.iterdir())


def test_links_are_not_followed(tmp_path, monkeypatch):
    theirs, target = tmp_path / "theirs", tmp_path / "folder" / "scores.json"
    theirs.write_text("theirs")
    target.parent.mkdir()
    target.symlink_to(theirs)
    write_text(target, "mine")
    assert theirs.read_text() == "theirs" and target.read_text() == "mine" and not target.is_symlink()

    monkeypatch.setattr(secrets, "token_hex", lambda size: "guessed")
    planted = target.parent / ".guessed.part"
    for goal in (theirs, tmp_path / "nowhere"):
        planted.symlink_to(goal)
        with pytest.raises(FileExistsError):
            write_text(target, "again")
        planted.unlink()
    assert theirs.read_text() == "theirs" and target.read_text() == "mine" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_are_those_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "open", "")
        with writing(tmp_path / "closed", mode=0o600) as place:
            assert stat.S_IMODE(place.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "closed").stat().st_mode) == 0o600


def test_two_writers_at_once(tmp_path):
    target = tmp_path / "scores.json"
    with writing(target) as first, writing(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # who is done last

    texts = [letter * 100_000 for letter in "ab"]
    writers = [
        threading.Thread(target=lambda text=text: [write_text(target, text) for _ in range(20)]) for text in texts
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert target.read_text() in ("first", *texts)
    assert target.read_text() in texts and len(list(tmp_path.iterdir())) == 1


def test_what_is_renamed_is_on_the_disk(tmp_path, monkeypatch):
    steps, fsync, replace = [], os.fsync, os.replace
    name = (
        "/proc/self/fd/{}" if os.path.exists("/proc/self/fd") else pytest.skip("names of open files are unknown here")
    )
    monkeypatch.setattr(
        os, "fsync", lambda handle: (steps.append(Path(os.readlink(name.format(handle))).name), fsync(handle))
    )
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("rename"), replace(*paths)))
    folder = tmp_path / "step-1.unfinished"
    (folder / "inner").mkdir(parents=True)
    for file in ("weights", "inner/state"):
        (folder / file).write_text("1")
    put(folder, tmp_path / "step-1")
    assert set(steps[:-2]) == {"step-1.unfinished", "inner", "weights", "state"} and steps[-2:] == [
        "rename",
        tmp_path.name,
    ]
    assert (tmp_path / "step-1" / "inner" / "state").exists() and not folder.exists()

    steps.clear()
    write_text(tmp_path / "scores", "1")
    assert [step.rpartition(".")[2] for step in steps] == ["part", "rename", tmp_path.name]
    steps.clear()
    with writing(tmp_path / "scores", flush=False):
        pass
    assert steps == ["rename"]


def test_what_is_no_file_and_what_no_name_can_be_made_beside_is_written_as_it_is(tmp_path, monkeypatch):
    link, file = tmp_path / "nothing", tmp_path / "file"
    link.symlink_to(os.devnull)
    write_text(link, "text")
    assert link.is_symlink() and list(tmp_path.iterdir()) == [link]
    file.write_text("a longer text")
    inode = file.stat().st_ino
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    write_text(file, "text")
    assert file.read_text() == "text" and file.stat().st_ino == inode


def test_json_and_what_cannot_be_encoded(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"ä": (1.5, float("nan"), [float("inf")])})
    assert path.read_text(encoding="utf-8") == '{\n  "ä": [\n    1.5,\n    null,\n    [\n      null\n    ]\n  ]\n}\n'
    with pytest.raises(UnicodeEncodeError):
        write_json(path, ["\udcff.wav"])
    assert json.loads(path.read_text(encoding="utf-8"))["ä"][0] == 1.5
    write_json(path, ["\udcff.wav"], errors="backslashreplace")
    assert json.loads(path.read_text(encoding="utf-8")) == ["\udcff.wav"]


def test_only_what_has_lost_its_writer_is_removed(tmp_path):
    for name, age in (("unfinished-1", 3600), ("unfinished-2", 0), ("mine", 3600)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_abandoned(tmp_path, "unfinished-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "unfinished-2"]


def test_results_of_a_command_take_the_name_when_all_is_written(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("old")
    with suppress(KeyboardInterrupt), destination(str(path)) as file:
        file.write("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    with destination(str(path), whole=False) as file:
        print("a line", file=file, flush=True)
        assert path.read_text() == "a line\n"
    with (
        pytest.raises(InputError, match="--output: expected a file that can be written"),
        destination(str(path / "in")),
    ):
        pass


# proposals


def test_proposals():
    assert did_you_mean("angr", ["anger", "joy"]) == "did you mean 'anger'?"
    assert did_you_mean("x", ["anger"], "correct it") == "correct it" and did_you_mean(7, []) == "choose one of them"
    assert did_you_mean("Anger", ["ANGER"]) == "choose one of them"
    assert did_you_mean("Anger", ["ANGER"], key=str.lower) == "did you mean 'ANGER'?"
    assert (
        closest("emotoin", ["emotion"], similarity=0.75) == "emotion"
        and closest("emo", ["emotion"], similarity=0.75) is None
    )


# progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    return stderr


def test_a_bar_is_called_with_done_and_all(monkeypatch):
    terminal = watched(monkeypatch)
    show = ProgressBar("recordings")
    assert not terminal.getvalue()
    for done, total in ((1, 2), (2, 2), (1, 3), (1, 4), (3, 4), (1, 4), (1, None)):
        show(done, total)
    show.close()
    told = terminal.getvalue()
    assert [told.count(f"0/{total} [") for total in (2, 3, 4)] == [1, 1, 2] and told.count("recordings") >= 5


def test_a_bar_of_steps(monkeypatch):
    terminal = watched(monkeypatch)
    with ProgressBar(total=10, unit="step", initial=4) as bar:
        bar.update()
        bar.figures(loss="0.500")
        time.sleep(0.6)
        bar.update()
        say("epoch 1")
    told = terminal.getvalue()
    assert "4/10 [" in told and "6/10 [" in told and "loss=0.500" in told and "multimodal-ser: epoch 1\n" in told
    assert (
        list(with_bar(iter("ab"), "predict", total=2, unit="input")) == ["a", "b"] and "predict" in terminal.getvalue()
    )


def test_nobody_asked_or_nobody_looks(monkeypatch):
    terminal = watched(monkeypatch)
    for options in ({"shown": False}, {}):
        with ProgressBar("recordings", **options) as show:
            show(1, 2)
            show.update()
            show.figures(loss=1)
        assert list(with_bar("ab", "predict", **options)) == ["a", "b"]
        assert not terminal.getvalue()
        monkeypatch.setattr(sys, "stderr", io.StringIO())  # a file or a pipe, from the second turn on
    assert not sys.stderr.getvalue()
    assert list(with_bar("ab", "asked for", shown=True)) == ["a", "b"] and "asked for" in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    say("done")
    assert sys.stderr.getvalue() == "multimodal-ser: done\n"
