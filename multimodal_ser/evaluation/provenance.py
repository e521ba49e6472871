"""What a model may have learned from, as its run folder or its card tells, and which of the rows that it is measured on that concerns."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multimodal_ser.corpora import ManifestRow

UNKNOWN = "nothing here tells what this model was trained on: rows that it was trained on would make its figures too good"


@dataclass(frozen=True)
class Provenance:
    """What is known of a model's training data.

    Args:
        model: its name.
        source: what tells it: a file; None: nothing does.
        told: as it is told, lines.
        seen: indices of rows of speakers that it was trained on, or selected on.
        notes: what follows for the figures.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.evaluation.provenance import provenance
        >>> known = provenance(None, [ManifestRow(text="Yes!", emotion="joy", corpus="dailydialog")])
        >>> known.model, known.source, known.notes[0][:60]
        ('the checkpoint that ships in the package', 'its card (README.md)', 'the card names dailydialog among what it was trained on: 1 r')
    """

    model: str
    source: str | None
    told: tuple[str, ...]
    seen: tuple[int, ...]
    notes: tuple[str, ...]


def provenance(model: str | None, rows: Sequence[ManifestRow]) -> Provenance:
    """Look at the run folder that a checkpoint lies in (data.json), else at its card (README.md).

    Args:
        model: folder or Hub id; None: the one in the package.
        rows: that it is measured on.
    """
    from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT

    name = "the checkpoint that ships in the package" if model is None else str(model)
    folder = Path(SHIPPED_CHECKPOINT if model is None else model)
    run = folder.parent / "data.json"
    if folder.is_dir() and run.is_file():
        found = _of_run(run, rows)
        if found is not None:
            return Provenance(name, "its run folder (data.json)", *found)
    card = folder / "README.md"
    told = _training_data(card.read_text(encoding="utf-8")) if card.is_file() else ()
    if not told:
        return Provenance(name, None, (), (), (UNKNOWN,))
    plain = _letters(" ".join(told))
    notes = []
    corpora = [_corpus(row) for row in rows]
    for corpus in sorted({corpus for corpus in corpora if corpus}):
        if _letters(corpus) in plain:
            count = corpora.count(corpus)
            notes.append(
                f"the card names {corpus} among what it was trained on: {count} row{'s' * (count != 1)} may be of it, and their "
                "figures too good; which speakers it kept out stands in the card"
            )
    unnamed = corpora.count(None)
    if unnamed:
        notes.append(f"of {unnamed} rows nothing says what corpus they are of: compare them with what the card says of training data")
    return Provenance(name, "its card (README.md)", told, (), tuple(notes))


def _corpus(row: ManifestRow) -> str | None:
    """As the row says, or as the name of its speaker begins: "emodb_03"."""
    from multimodal_ser.labels import CORPUS_LABELS

    prefix = (row.speaker or "").rpartition("_")[0]
    return row.corpus or (prefix if prefix in CORPUS_LABELS else None)


def _of_run(path: Path, rows: Sequence[ManifestRow]) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]] | None:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        speakers = {side: about[side]["speakers"] for side in ("train", "validation")}
        clips = {side: about[side]["clips"] for side in ("train", "validation")}
    except (ValueError, KeyError, TypeError):
        return None
    told = tuple(f"{side}: {clips[side]} clips, speakers {', '.join(speakers[side]) or 'not known'}" for side in ("train", "validation"))
    known = {name for names in speakers.values() for name in names}
    seen = tuple(index for index, row in enumerate(rows) if row.speaker in known)
    notes = []
    if seen:
        heard = len({rows[index].speaker for index in seen})
        notes.append(f"{len(seen)} rows are of {heard} speakers whom the model was trained or selected on: their figures are too good")
    if not known:
        notes.append("its run folder names no speakers: nobody knows whether these rows are of voices that it was trained on")
    return told, seen, tuple(notes)


def _training_data(card: str) -> tuple[str, ...]:
    """The lines of the card's section of that name."""
    section = re.search(r"^#+ +training data[^\n]*\n(.*?)(?=^#+ |\Z)", card, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    lines = [] if section is None else [" ".join(line.strip().strip("|").split()) for line in section[1].splitlines()]
    return tuple(line for line in lines if line.strip("-| "))


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
