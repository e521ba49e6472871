"""Output of the commands: results as a table, JSON, JSONL or CSV, to stdout or a file."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from multimodal_ser._files import writing
from multimodal_ser.errors import InputError

FORMATS = ("table", "json", "jsonl", "csv")


def check_output(name: str | None) -> None:
    """Raise an error before any work if `--output` cannot be written; the file itself is not changed."""
    if name is not None:
        path = Path(name).absolute()
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise unwritable(
                name, "a folder" if path.is_dir() else "not writable" if path.parent.is_dir() else "no such folder"
            )


def unwritable(name: str, reason: str | None) -> InputError:
    """Return the error for a file that cannot be written."""
    return InputError(
        "--output", expected="a file that can be written", got=f"{name} ({reason})", remedy="name another"
    )


@contextmanager
def destination(path: str | None, *, whole: bool = True) -> Iterator[TextIO]:
    """Open the destination of the results; characters that it cannot encode are escaped.

    Args:
        path: path of the file; None: stdout.
        whole: whether an old file is replaced only when all is written; False: the file grows line by line.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    with ExitStack() as stack:
        try:
            place = stack.enter_context(writing(path)) if whole else path
            file = stack.enter_context(open(place, "w", encoding="utf-8", errors="backslashreplace", newline=""))
        except OSError as error:
            raise unwritable(path, error.strerror) from error
        yield file


def write(rows: Iterable[dict[str, Any]], form: str, path: str | None, columns: Sequence[str]) -> None:
    """Write rows in one of the `FORMATS`; jsonl and csv line by line.

    An old file is not changed before the first row exists, so that errors in the arguments leave it unchanged.
    """
    rows = iter(rows)
    rows = chain(list(islice(rows, 1)), rows)
    with destination(path, whole=form in ("json", "table")) as file:
        if form == "jsonl":
            for row in rows:
                print(as_json(row, file), file=file, flush=True)
        elif form == "json":
            print(as_json(list(rows), file, indent=2), file=file)
        elif form == "csv":
            writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
            writer.writeheader()
            for row in rows:
                writer.writerow(_flat(row))
                file.flush()
        else:
            print(_table(list(rows), columns, file), end="", file=file)


def as_json(value: Any, file: TextIO, indent: int | None = None) -> str:
    """Return a value as JSON; letters are escaped if the encoding of the file is not Unicode."""
    return json.dumps(value, ensure_ascii=not (file.encoding or "utf-8").lower().startswith("utf"), indent=indent)


def _table(rows: list[dict[str, Any]], columns: Sequence[str], file: TextIO) -> str:
    """Return rows as a text table, without columns of single probabilities; errors have a column if there are any."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    failed = any("error" in row for row in rows)
    shown = [column for column in columns if not column.startswith("p_") and (failed or column != "error")]
    table = Table(box=None, pad_edge=False)
    for column in shown:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (_flat(row).get(column, "") for column in shown)
        table.add_row(*(Text(f"{cell:.2f}" if isinstance(cell, float) else str(cell)) for cell in cells))
    console = Console(file=file, width=None if file.isatty() else 140)
    with console.capture() as capture:  # writing to the console would end the program if a pipe is closed
        console.print(table)
    return capture.get()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a prediction or transcript as one line of a table."""
    flat = {key: "" if value is None else value for key, value in row.items() if not isinstance(value, dict | list)}
    flat |= {f"p_{label}": round(value, 6) for label, value in row.get("probabilities", {}).items()}
    flat["probabilities"] = " ".join(
        f"{label} {value:.2f}" for label, value in sorted(row.get("probabilities", {}).items(), key=lambda e: -e[1])[:3]
    )
    flat["conformal_labels"] = ", ".join(row.get("conformal_labels") or [])
    flat["modalities"] = "+".join(row.get("modalities") or [])
    transcript = row.get("transcript") or {}
    flat["language"] = transcript.get("language") or row.get("language") or ""
    flat["text"] = transcript.get("text") or row.get("text") or ""
    flat["notes"] = "; ".join(row.get("notes") or [])
    return flat
