"""What a model may have learned from, as its folder, its run folder or its card tells, and which of the rows measured on that concerns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal_ser.corpora import ManifestRow
from multimodal_ser.errors import InputError

UNKNOWN = (
    "nothing here tells what this model was trained on: rows that it was trained on would make its figures too good"
)

CALIBRATION = "calibration.json"
"""What `calibrate` writes beside the model; it carries what was known of the model that it began with."""

PARTS: Mapping[str, str] = {"train": "trained on", "validation": "selected on", "calibration": "calibrated on"}
"""What speakers may have been used for, and how that is said."""

FOLLOWS: Mapping[str, str] = {
    "train": "their figures are too good (--unseen-only leaves them out)",
    "validation": "their figures are a little too good (--unseen-only leaves them out)",
    "calibration": "their calibration error is too good (--unseen-only leaves them out)",
}  # fmt: skip
"""What follows for figures of their rows."""


@dataclass(frozen=True)
class Origin:
    """What is known of a model, whatever it is measured on.

    Args:
        model: its name.
        source: what tells of its training data: a file; None: nothing does.
        told: as it is told, lines.
        speakers: who was used for what: keys of `PARTS`, names; empty: nobody is named.
        context_turns: how many turns of a dialogue it read before each when it was trained.

    Example:
        >>> from multimodal_ser.corpora.provenance import origin
        >>> origin(None).source, origin("no/such/folder").source
        ('its card (README.md)', None)
    """

    model: str
    source: str | None = None
    told: tuple[str, ...] = ()
    speakers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    context_turns: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as calibration.json keeps them."""
        return {
            "model": self.model, "source": self.source, "told": list(self.told), "context_turns": self.context_turns,
            "speakers": {part: list(names) for part, names in self.speakers.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class Provenance:
    """What is known of a model's training data, and which rows that concerns.

    Args:
        model: its name.
        source: what tells it: a file; None: nothing does.
        told: as it is told, lines.
        seen: indices of rows of speakers that it was trained, selected or calibrated on.
        unnamed: indices of rows that name no speaker.
        names_speakers: whether it is known by name whom it heard.
        notes: what follows for the figures.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.provenance import provenance
        >>> known = provenance(None, [ManifestRow(text="Yes!", emotion="joy", corpus="dailydialog")])
        >>> known.model, known.source, known.notes[0][:60]
        ('the checkpoint that ships in the package', 'its card (README.md)', 'the card names dailydialog among what it was trained on: 1 r')
    """

    model: str
    source: str | None
    told: tuple[str, ...]
    seen: tuple[int, ...]
    notes: tuple[str, ...]
    unnamed: tuple[int, ...] = ()
    names_speakers: bool = False


def origin(model: str | None) -> Origin:
    """Look at what `calibrate` wrote beside a checkpoint, then at the run folder that it lies in, then at its card.

    Args:
        model: folder or Hub id; None: the one in the package.
    """
    from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT

    folder = Path(SHIPPED_CHECKPOINT if model is None else model)
    name = "the checkpoint that ships in the package" if folder == Path(SHIPPED_CHECKPOINT) else str(model)
    if not folder.is_dir():
        return Origin(name)
    return _of_calibration(folder, name) or _of_run(folder.parent, name) or _of_card(folder / "README.md", name)


def provenance(model: str | None, rows: Sequence[ManifestRow]) -> Provenance:
    """What is known of the model (`origin`), and which of these rows are of whom it heard.

    Args:
        model: folder or Hub id; None: the one in the package.
        rows: that it is measured on.
    """
    return concerned(origin(model), rows)


def concerned(known: Origin, rows: Sequence[ManifestRow], follows: Mapping[str, str] = FOLLOWS) -> Provenance:
    """Which rows are of speakers, or of corpora, that the model knows, and what follows from that.

    Args:
        known: what is known of the model.
        rows: that something is done with.
        follows: what to say of rows whose speakers were used for something (`PARTS`); of other uses nothing is said.
    """
    notes: list[str] = []
    seen: set[int] = set()
    for part, follow in follows.items():
        names = set(known.speakers.get(part, ()))
        found = [index for index, row in enumerate(rows) if row.speaker in names and index not in seen]
        seen |= set(found)
        if found:
            count = len({rows[index].speaker for index in found})
            of = f"{_rows(len(found))} {'are' if len(found) > 1 else 'is'} of {count} speaker{'s' * (count > 1)}"
            notes.append(f"{of} whom the model was {PARTS[part]}: {follow}")
    named = any(known.speakers.get(part) for part in ("train", "validation"))
    if known.source is None:
        notes.append(UNKNOWN)
    elif "train" in known.speakers and not named:
        notes.append(
            f"{known.source} names no speakers: nobody knows whether these rows are of voices that it was trained on"
        )
    elif not named:
        notes += _of_corpora(known.told, rows)
    unnamed = tuple(index for index, row in enumerate(rows) if row.speaker is None)
    return Provenance(known.model, known.source, known.told, tuple(sorted(seen)), tuple(notes), unnamed, named)


def unseen_rows(known: Provenance, count: int) -> tuple[list[int], str | None]:
    """Rows of speakers whom the model has not heard, and what is to be told of the others; None: there are none.

    Args:
        known: of these rows.
        count: how many there are.

    Raises:
        InputError: nobody is named that the model was trained on, or no row is left.
    """
    if not known.names_speakers:
        remedy = (
            "mark rows to measure on by a split column, or keep speakers for the test when you train (test_speakers)"
        )
        got = f"{known.source}, which names none" if known.source else "nothing that tells what it was trained on"
        raise InputError(
            "unseen_only",
            expected="a model of which it is known whose voices it was trained on",
            got=got,
            remedy=remedy,
        )
    out = {*known.seen, *known.unnamed}
    left = [index for index in range(count) if index not in out]
    if not left:
        got = f"none of {count}: {len(known.seen)} of speakers that it knows, {len(known.unnamed)} that name no speaker"
        raise InputError(
            "unseen_only", expected="rows of speakers whom the model has not heard", got=got, remedy="measure on others"
        )
    what = [f"{_rows(len(known.seen))} of speakers whom the model was trained, selected or calibrated on"] * bool(
        known.seen
    )
    what += [f"{_rows(len(known.unnamed))} that name{'s' * (len(known.unnamed) == 1)} no speaker"] * bool(known.unnamed)
    return left, f"left out (unseen_only): {' and '.join(what)}" if what else None


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def _of_corpora(told: Sequence[str], rows: Sequence[ManifestRow]) -> list[str]:
    """What follows where corpora are named, and no speakers."""
    plain = _letters(" ".join(told))
    notes = []
    corpora = [_corpus(row) for row in rows]
    for corpus in sorted({corpus for corpus in corpora if corpus}):
        if _letters(corpus) in plain:
            notes.append(
                f"the card names {corpus} among what it was trained on: {_rows(corpora.count(corpus))} may be of it, and their "
                "figures too good; which speakers it kept out stands in the card"
            )
    unnamed = corpora.count(None)
    if unnamed:
        notes.append(
            f"of {_rows(unnamed)} nothing says what corpus they are of: compare them with what the card says of training data"
        )
    return notes


def _corpus(row: ManifestRow) -> str | None:
    """As the row says, or as the name of its speaker begins: "emodb_03"."""
    from multimodal_ser.labels import CORPUS_LABELS

    prefix = (row.speaker or "").rpartition("_")[0]
    return row.corpus or (prefix if prefix in CORPUS_LABELS else None)


def _of_calibration(folder: Path, name: str) -> Origin | None:
    """What `calibrate` wrote down of the model that it began with, and of whom it was calibrated on."""
    try:
        stored = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))["origin"]
        speakers = {
            part: tuple(map(str, stored["speakers"].get(part, ()))) for part in PARTS if part in stored["speakers"]
        }
        told, turns = tuple(map(str, stored["told"])), int(stored["context_turns"])
        return Origin(name, stored["source"] and str(stored["source"]), told, speakers, turns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _of_run(folder: Path, name: str) -> Origin | None:
    """What a run folder tells, in data.json and arguments.yaml."""
    try:
        about = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        speakers = {side: tuple(about[side]["speakers"]) for side in ("train", "validation")}
        clips = {side: about[side]["clips"] for side in ("train", "validation")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    told = tuple(
        f"{side}: {clips[side]} clips, speakers {', '.join(speakers[side]) or 'not known'}"
        for side in ("train", "validation")
    )
    return Origin(name, "its run folder (data.json)", told, speakers, _context_turns(folder / "arguments.yaml"))


def _context_turns(path: Path) -> int:
    from multimodal_ser._files import read_yaml

    try:
        return int(read_yaml(str(path)).get("context_turns") or 0)
    except (InputError, ValueError, TypeError):
        return 0


def _of_card(path: Path, name: str) -> Origin:
    told = _training_data(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else ()
    return Origin(name, "its card (README.md)" if told else None, told)


def _training_data(card: str) -> tuple[str, ...]:
    """The lines of the card's section of that name."""
    section = re.search(r"^#+ +training data[^\n]*\n(.*?)(?=^#+ |\Z)", card, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    lines = [] if section is None else [" ".join(line.strip().strip("|").split()) for line in section[1].splitlines()]
    return tuple(line for line in lines if line.strip("-| "))


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
