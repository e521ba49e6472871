"""What is decided in one place stays there: parts of recordings, digests of weights, languages, annotations, groups."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "multimodal_ser"


def trees(*rooms):
    """(path within the package, syntax tree) of every file, or of those of some rooms."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not rooms or name.split("/")[0] in rooms:
            yield name, ast.parse(path.read_text())


def names_in(node):
    """Names and attributes below a node."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def calls(tree):
    """(function's name, call) of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def cuts(tree):
    """Whether the start or end of a row, or a clip's duration, is multiplied by a sampling rate."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            words = set(names_in(node))
            times = ("row" in words and words & {"start", "end"}) or {"clip", "duration"} <= words
            if times and words & {"SAMPLING_RATE", "sampling_rate", "rate"}:
                return True
    return False


def digests_tensors(tree):
    """Whether what tensors hold is given to a digest."""
    return any(
        name in ("sha256", "blake2b", "md5", "update")
        and {"numpy", "view", "state_dict", "parameters"} & set(names_in(ast.Tuple(call.args)))
        for name, call in calls(tree)
    )


def takes_languages_apart(tree):
    """Whether a language is taken apart, or a row's own is given a code."""
    return any(
        (name == "language_code" and {"row", "split", "partition"} & set(names_in(call)))
        or (name in ("split", "partition") and "language" in set(names_in(call.func)))
        for name, call in calls(tree)
    )


def asks_for_annotations(tree):
    """Whether a row's emotion and votes are looked at together, to decide whether it has any."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BoolOp | ast.IfExp):
            parts = node.values if isinstance(node, ast.BoolOp) else [node.test, node.body, node.orelse]
            attributes = [part.attr for part in parts if isinstance(part, ast.Attribute)]
            if "votes" in attributes and {"emotion", "label"} & set(attributes):
                return True
    return False


def follows_parents(tree):
    """Whether a loop climbs from a member to its parent, and onwards (union-find)."""
    for loop in ast.walk(tree):
        if isinstance(loop, ast.While):
            for node in ast.walk(loop):
                if isinstance(node, ast.Subscript) and {"parent", "parents"} & set(names_in(node.value)):
                    return True
    return False


PLACES = {
    "cuts a row's part": (cuts, "corpora/clips.py", "waveform[int((row.start or 0) * SAMPLING_RATE) :]"),
    "digests weights": (
        digests_tensors,
        "model/fingerprint.py",
        "hashlib.sha256(weight.numpy().tobytes())",
    ),
    "reads a row's language": (takes_languages_apart, "corpora/targets.py", "language_code(row.language)"),
    "decides what is annotated": (
        asks_for_annotations,
        "corpora/targets.py",
        "[row for row in rows if row.emotion or row.votes]",
    ),
    "joins groups": (
        follows_parents,
        "corpora/duplicates.py",
        "while parent[key] != key:\n    key = parent[key]",
    ),
}
"""What is done: how it is recognised, the one file that may do it, and code that would be a second place."""


@pytest.mark.parametrize("what", PLACES)
def test_it_is_done_in_one_place(what):
    does, home, _ = PLACES[what]
    assert [name for name, tree in trees() if does(tree)] == [home]


@pytest.mark.parametrize("what", PLACES)
def test_a_second_place_would_be_noticed(what):
    does, _, copy = PLACES[what]
    assert does(ast.parse(copy)) and not does(ast.parse("round(seconds * rate)"))


def test_calibration_needs_nothing_of_training():
    assert not [
        name
        for name, tree in trees("corpora", "calibration")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("multimodal_ser.training")
    ]


def test_rows_and_clips_are_read_without_torch():
    assert not [
        name
        for name, tree in trees("corpora")
        for node in tree.body
        if "torch" in [alias.name.split(".")[0] for alias in getattr(node, "names", [])]
        or (getattr(node, "module", None) or "").split(".")[0] == "torch"
    ]
