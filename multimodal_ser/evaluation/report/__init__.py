"""The report of an evaluation: as plain numbers (report.json), as Markdown (report.md) and as a page (report.html)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.evaluation.report.build import (
        build_report,
        escaped,
        in_short,
        render_markdown,
        summary_rows,
        table,
        write_report,
    )
    from multimodal_ser.evaluation.report.html import render_html

_HOMES = {
    "build_report": "build", "escaped": "build", "in_short": "build", "render_html": "html", "render_markdown": "build",
    "summary_rows": "build", "table": "build", "write_report": "build",
}  # fmt: skip

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
