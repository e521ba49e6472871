"""The house: imports run one way, nothing heavy is imported unasked, examples in docstrings run."""

import ast
import doctest
import importlib
import subprocess
import sys
import warnings
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "multimodal_ser"
ORDER = [
    "_version", "_lazy", "_moved", "_auto_classes", "errors", "_files", "_progress", "labels", "audio", "metrics", "transcription",
    "hub", "inference", "model", "testing",
    "corpora", "export", "calibration", "training", "evaluation", "doctor", "cli",
]  # fmt: skip
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(room, whether at the top of the module) of every import of this package."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names = []
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and (node.module or "").split(".")[0] == "multimodal_ser"
        ):
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("multimodal_ser.")]
        yield from names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    if path == PACKAGE / "__init__.py":
        return
    assert room(path) in ORDER, f"{path}: give the new room its place in ORDER"
    for name in imports(path):
        if name == "__version__":
            continue
        if (
            room(path) == "model" and path.name != "__init__.py"
        ):  # its predict, checks and cards: inside the method, so that copied code still loads
            assert name in ("inference", "hub")
            continue
        assert ORDER.index(name) <= ORDER.index(room(path)), f"{path.name} imports {name}, which comes after it"


def module(path):
    return ".".join(("multimodal_ser", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def files_imported_by(path, names):
    """Modules of this package that a file imports: at its top, inside a function, or only for type checkers."""
    package = module(path).split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            origin = ".".join(
                [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
                if node.level
                else [node.module]
            )
            for alias in node.names:
                yield f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in names else origin
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_two_files_import_each_other():
    """Nor does any circle of files, whether it is closed at the top, in a function or by types; the model's way to `predict` is told above."""
    names = {module(path): path for path in MODULES}
    graph = {}
    for name, path in names.items():
        found = set(files_imported_by(path, names)) & set(names) - {name, "multimodal_ser"}
        graph[name] = {other for other in found if room(path) != "model" or room(names[other]) == "model"}
    graph["multimodal_ser"] = set()  # its names load when they are touched
    TopologicalSorter(graph).prepare()  # a CycleError names the circle


def test_files_of_the_model_import_only_each_other_and_transformers():
    allowed = {
        "torch", "transformers", "huggingface_hub", "numpy", "collections", "contextlib", "dataclasses", "functools", "hashlib", "importlib", "threading", "types", "typing", "pathlib", "difflib", "inspect", "copy", "math", "warnings", "__future__",
    }  # fmt: skip
    for path in set((PACKAGE / "model").glob("*.py")) - {PACKAGE / "model" / "__init__.py"}:  # the others are copied
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or node.module.split(".")[0] in allowed, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_long_files_are_told(path):
    """Length is no rule; a file that grows past this is worth a second look, and a split along its story."""
    if (lines := len(path.read_text().splitlines())) > 550:
        warnings.warn(f"{path.relative_to(PACKAGE)} has {lines} lines", stacklevel=1)


@pytest.mark.parametrize(
    "code",
    [
        "import multimodal_ser", "import multimodal_ser.inference.interface, multimodal_ser.labels, multimodal_ser.audio, multimodal_ser.transcription, multimodal_ser.cli, multimodal_ser.testing",
        "import multimodal_ser; multimodal_ser.EMOTIONS, multimodal_ser.load_audio, multimodal_ser.__all__",
        "from multimodal_ser.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass", "from multimodal_ser.cli import main\ntry: main(['predict', '--help'])\nexcept SystemExit: pass",
    ],
)  # fmt: skip
def test_light_imports_stay_light(code):
    heavy = (
        "{'torch', 'transformers', 'av', 'faster_whisper', 'whisper', 'torchaudio', 'datasets', 'evaluate', 'sklearn'}"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('LOADED', sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_every_public_name_is_there():
    import multimodal_ser

    for name in multimodal_ser.__all__:
        assert getattr(multimodal_ser, name) is not None
        assert name in dir(multimodal_ser)
    with pytest.raises(AttributeError, match="nonsense"):
        multimodal_ser.nonsense  # noqa: B018


def test_public_names_have_docstrings_with_an_example_for_classes():
    import multimodal_ser

    for name in multimodal_ser.__all__:
        value = getattr(multimodal_ser, name)
        if isinstance(value, type) and not issubclass(value, Exception):
            assert ">>>" in (value.__doc__ or "") or (name in ("Transcript",) and ">>>" in value.__doc__), name


@pytest.mark.parametrize(
    "path", [path for path in MODULES if ">>>" in path.read_text()], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_examples_in_docstrings_run(path):
    outcome = doctest.testmod(importlib.import_module(module(path)), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.attempted and not outcome.failed
