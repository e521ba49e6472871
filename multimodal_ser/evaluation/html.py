"""The report as a page: one file that needs no network, for a wide screen and for a telephone's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from multimodal_ser.evaluation.sections import Section, Table, sections

STYLE = """
:root {
  color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #dde2e9; --paper: #f6f7f9; --card: #fff; --blue: #2b6cb0;
  --red: #b03a2e; --letters: #000;
}
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #a9b4c2; --line: #39424f; --paper: #12161c; --card: #1b2129; --blue: #7db4ee; --red: #f08a7e;
    --letters: #fff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.1rem 0 .35rem; }
p, li { margin: .3rem 0; max-width: 46rem; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; margin: .3rem 0; }
nav { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin-bottom: 1.2rem; font-size: .92rem; }
a { color: var(--blue); text-decoration: none; }
a:hover { text-decoration: underline; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin-bottom: 1rem; }
.leaks { border-left: .35rem solid var(--red); }
.leak { color: var(--red); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .t { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--card); }
tbody th { color: inherit; font-weight: 400; }
.words td { position: static; }
.words td { white-space: normal; overflow-wrap: anywhere; }
.wide td:last-child { white-space: normal; min-width: 14rem; }
.heat td { text-align: center; border: 1px solid var(--card); min-width: 2.4rem; }
.heat td { color: var(--letters); }
.heat .none { color: var(--soft); }
.heat .deep { color: #fff; }
.heat tbody th { text-align: left; }
.heat thead th { writing-mode: horizontal-tb; text-align: center; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: .5rem; margin-top: .8rem; }
figure { margin: 0; background: #fff; border-radius: .4rem; }
svg { max-width: 100%; height: auto; display: block; }
details { margin-top: .8rem; }
summary { cursor: pointer; font-weight: 600; color: var(--blue); }
@media (max-width: 34rem) {
  body { font-size: 15px; } main { padding: .8rem .5rem 2rem; } section { padding: .75rem .6rem; } th, td { padding: .25rem .4rem; }
}
@media print { nav { display: none; } section { break-inside: avoid; } }
"""


LIGHT_LETTERS = 0.91
"""Depth of colour from which on white letters are easier to read than black ones; the contrast of both is above 4.5 there."""


def render_html(report: Mapping[str, Any]) -> str:
    """The page: style and pictures stand in it, and it refers to nothing outside of itself.

    Args:
        report: as `report.build_report` gives it. Where matplotlib is not installed, the page has no pictures and says so.
    """
    found = sections(report)
    links = "".join(f'<a href="#{_key(section)}">{escape(section.title)}</a>' for section in found)
    body = "".join(_section(section, bool(report["leaks"])) for section in found)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report['title'])}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(report['title'])}</h1>\n"
        f"<nav>{links}</nav>\n{body}</main>\n</body>\n</html>\n"
    )


def _key(section: Section) -> str:
    return re.sub(r"[^\w-]+", "-", section.key)


def _section(section: Section, leaks: bool) -> str:
    marked = ' class="leaks"' if leaks and section.key == "notes" else ""
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in section.paragraphs)
    items = "".join(
        f"<li{' class=leak' if item.startswith('Leak: ') else ''}>{escape(item)}</li>" for item in section.items
    )
    listed = f"<ul>{items}</ul>" if items else ""
    first, rest = [part for part in section.tables if not part.folded], [part for part in section.tables if part.folded]
    tables, folded = "".join(map(_table, first)), "".join(map(_table, rest))
    return (
        f'<section id="{_key(section)}"{marked}>\n<h2>{escape(section.title)}</h2>\n{paragraphs}{listed}{tables}'
        f"{_pictures(section)}{folded}</section>\n"
    )


def _table(part: Table) -> str:
    words = [any(_is_text(row[k]) for row in part.rows) for k in range(len(part.head))]
    head = "".join(
        f"<th scope=col{' class=t' if said else ''}>{escape(str(cell))}</th>" for cell, said in zip(part.head, words, strict=True)
    )  # fmt: skip
    rows = "".join(f"<tr>{_heated(row) if part.heat else _row(row, words)}</tr>" for row in part.rows)
    kind = "heat" if part.heat else "words" if len(part.head) == 1 else "wide" if part.head[-1] == "how" else ""
    drawn = (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n'
    )
    if part.folded:
        return f"<details><summary>{escape(part.title or 'Table')}</summary>{drawn}</details>\n"
    return (f"<h3>{escape(part.title)}</h3>" if part.title else "") + drawn


def _row(row: Sequence[str], words: Sequence[bool]) -> str:
    cells = [f"<td{' class=t' if said else ''}>{escape(str(cell))}</td>" for cell, said in zip(row, words, strict=True)]
    if len(cells) > 1:
        cells[0] = f"<th scope=row>{escape(str(row[0]))}</th>"
    return "".join(cells)


def _is_text(cell: str) -> bool:
    """Whether letters come first; intervals and numbers stand at the right."""
    return bool(cell) and cell[0].isalpha()


def _heated(row: Any) -> str:
    """Counts with a colour as deep as their share of the row."""
    counts = [int(cell) for cell in row[1:]]
    total = max(sum(counts), 1)
    cells = [f"<th scope=row>{escape(str(row[0]))}</th>"]
    for count in counts:
        if not count:
            cells.append('<td class="none">0</td>')
            continue
        depth = 0.08 + 0.87 * count / total  # the eye needs some colour for few clips
        deep = ' class="deep"' if depth > LIGHT_LETTERS else ""
        cells.append(f'<td{deep} style="background:rgba(43,108,176,{depth:.2f})">{count}</td>')
    return "".join(cells)


def _pictures(section: Section) -> str:
    if not section.pictures:
        return ""
    try:
        from multimodal_ser.evaluation.plots import picture

        name = f"{section.title}: " if section.key.startswith("system-") else ""
        drawn = [picture(kind, content, name=name, key=f"{_key(section)}-{kind}") for kind, content in section.pictures]
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        return '<p>No pictures: matplotlib is not installed (pip install "multimodal-ser[evaluate]").</p>'
    return f'<div class="pictures">{"".join(f"<figure>{svg}</figure>" for svg in drawn if svg)}</div>\n'
