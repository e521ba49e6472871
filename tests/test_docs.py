"""README and docs: their Python runs, what they print is what they say, their links lead somewhere."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "multimodal_ser" / "pretrained" / "README.md",
]
BLOCK = re.compile(
    r"(?P<note><!-- not run: [^>]*-->\n+)?```python\n(?P<code>.*?)```(?:\s*```text\n(?P<output>.*?)```)?", re.DOTALL
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def blocks(page):
    return [match for match in BLOCK.finditer(page.read_text(encoding="utf-8")) if not match["note"]]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_python_runs_and_prints_what_it_says(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    for block in blocks(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block["code"], page.name, "exec"), names)
        if block["output"] is not None:
            got, wanted = printed.getvalue().strip(), block["output"].strip()
            # Whisper's int8 kernels and rounding differ between processors: the numbers are compared as numbers
            assert NUMBER.sub("#", got) == NUMBER.sub("#", wanted)
            assert [float(n) for n in NUMBER.findall(got)] == pytest.approx(
                [float(n) for n in NUMBER.findall(wanted)], rel=0.1, abs=2
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_two_commands_are_in_the_readme_and_in_the_makefile():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in readme and re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_nothing_is_said_of_this_machine():
    for page in PAGES:
        assert not re.search(r"/(home|root|work|Users)/", page.read_text(encoding="utf-8")), page
