"""The function `render_html`, which makes the report an HTML page: one file, for wide and small screens.

The template is page.html.jinja; this module has the functions that it calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal_ser.evaluation.report.sections import Section, Table, sections

if TYPE_CHECKING:
    from jinja2 import Template

LIGHT_LETTERS = 0.91
"""From this depth of colour on, the letters are white. At this depth the contrast of white and black is above 4.5."""


def render_html(report: Mapping[str, Any]) -> str:
    """The report as an HTML page; style and pictures are in the page, and it refers to no other file.

    Args:
        report: result of `build.build_report`. Where matplotlib is not installed, the page has no pictures and says so.
    """
    return _template().render(
        title=report["title"],
        sections=sections(report),
        leaks=bool(report["leaks"]),
        light_letters=LIGHT_LETTERS,
        depths=_depths,
        key=_key,
        kind=_kind,
        pictures=_pictures,
        texts=_texts,
    )


@cache
def _template() -> Template:
    """The template; `html.escape` escapes every value that it prints."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    def escaped(value: Any) -> Any:
        return value if hasattr(value, "__html__") else Markup(escape(str(value)))

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, finalize=escaped, keep_trailing_newline=True)
    return environment.get_template("page.html.jinja")


def _key(section: Section) -> str:
    return re.sub(r"[^\w-]+", "-", section.key)


def _kind(part: Table) -> str:
    if part.heat:
        return "heat"
    return "words" if len(part.head) == 1 else "wide" if part.head[-1] == "how" else ""


def _texts(part: Table) -> list[bool]:
    """Whether each column holds text, that is, whether a cell begins with a letter; numbers are set to the right."""
    return [any(cell and cell[0].isalpha() for cell in column) for column in zip(*part.rows, strict=True)] or [
        False for _ in part.head
    ]


def _depths(row: Sequence[str]) -> Iterator[tuple[int, float]]:
    """The counts of a row, each with a depth of colour for its share of the row."""
    counts = [int(cell) for cell in row[1:]]
    total = max(sum(counts), 1)
    return ((count, 0.08 + 0.87 * count / total) for count in counts)  # few clips need some colour to be visible


def _pictures(section: Section) -> Any:
    from markupsafe import Markup

    if not section.pictures:
        return ""
    try:
        from multimodal_ser.evaluation.report.plots import picture

        name = f"{section.title}: " if section.key.startswith("system-") else ""
        drawn = [picture(kind, content, name=name, key=f"{_key(section)}-{kind}") for kind, content in section.pictures]
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        return Markup('<p>No pictures: matplotlib is not installed (pip install "multimodal-ser[evaluate]").</p>')
    return Markup(f'<div class="pictures">{"".join(f"<figure>{svg}</figure>" for svg in drawn if svg)}</div>\n')
