"""Finds out what a model was trained on, and which test rows are of speakers or corpora of its training data.

The sources are the model's folder, its run folder and its card.
"""

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
"""The file that `calibrate` writes beside the model; it includes the origin of the model before calibration."""

PARTS: Mapping[str, str] = {"train": "trained on", "validation": "selected on", "calibration": "calibrated on"}
"""The uses of speakers, and the words for each use in notes."""

FOLLOWS: Mapping[str, str] = {
    "train": "their figures are too good (--unseen-only leaves them out)",
    "validation": "their figures are a little too good (--unseen-only leaves them out)",
    "calibration": "their calibration error is too good (--unseen-only leaves them out)",
}  # fmt: skip
"""The effect of each use on figures of these speakers' rows."""


@dataclass(frozen=True)
class Origin:
    """What is known of a model's training data.

    Args:
        model: the model's name.
        source: the file that describes its training data; None: there is none.
        told: the description, in lines.
        speakers: the names of the speakers of each use (keys of `PARTS`); empty: no names are known.
        context_turns: the number of dialogue turns before each row that the model read in training.

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
        """The fields as plain types, for calibration.json; the keys are the names of the fields."""
        return {
            "model": self.model, "source": self.source, "told": list(self.told), "context_turns": self.context_turns,
            "speakers": {part: list(names) for part, names in self.speakers.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class Provenance:
    """What is known of a model's training data, and the rows that it concerns.

    Args:
        model: the model's name.
        source: the file that describes its training data; None: there is none.
        told: the description, in lines.
        seen: indices of rows of speakers on whom the model was trained, selected or calibrated.
        unnamed: indices of rows without a speaker.
        names_speakers: whether the names of the speakers in the training data are known.
        notes: the effects on the figures.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.provenance import provenance
        >>> result = provenance(None, [ManifestRow(text="Yes!", emotion="joy", corpus="dailydialog")])
        >>> result.model, result.source, result.notes[0][:60]
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
    """Read the training data of a model from calibration.json, else from its run folder, else from its card.

    Args:
        model: folder or Hub id; None: the model in the package.
    """
    from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT

    folder = Path(SHIPPED_CHECKPOINT if model is None else model)
    name = "the checkpoint that ships in the package" if folder == Path(SHIPPED_CHECKPOINT) else str(model)
    if not folder.is_dir():
        return Origin(name)
    return _of_calibration(folder, name) or _of_run(folder.parent, name) or _of_card(folder / "README.md", name)


def provenance(model: str | None, rows: Sequence[ManifestRow]) -> Provenance:
    """Read the training data of a model (`origin`), and find the rows that it concerns.

    Args:
        model: folder or Hub id; None: the model in the package.
        rows: the rows on which the model is measured.
    """
    return concerned(origin(model), rows)


def concerned(model_origin: Origin, rows: Sequence[ManifestRow], follows: Mapping[str, str] = FOLLOWS) -> Provenance:
    """Find the rows whose speakers or corpora are in the model's training data.

    Args:
        model_origin: the origin of the model.
        rows: the rows that are checked.
        follows: the effect of each use of a speaker (`PARTS`), for the notes; other uses are not mentioned.
    """
    notes: list[str] = []
    seen: set[int] = set()
    for part, follow in follows.items():
        names = set(model_origin.speakers.get(part, ()))
        matches = [index for index, row in enumerate(rows) if row.speaker in names and index not in seen]
        seen |= set(matches)
        if matches:
            count = len({rows[index].speaker for index in matches})
            of = f"{_rows(len(matches))} {'are' if len(matches) > 1 else 'is'} of {count} speaker{'s' * (count > 1)}"
            notes.append(f"{of} whom the model was {PARTS[part]}: {follow}")
    names_speakers = any(model_origin.speakers.get(part) for part in ("train", "validation"))
    if model_origin.source is None:
        notes.append(UNKNOWN)
    elif "train" in model_origin.speakers and not names_speakers:
        notes.append(
            f"{model_origin.source} names no speakers: it is unknown whether these rows are of voices that it was trained on"
        )
    elif not names_speakers:
        notes += _of_corpora(model_origin.told, rows)
    unnamed = tuple(index for index, row in enumerate(rows) if row.speaker is None)
    return Provenance(
        model_origin.model,
        model_origin.source,
        model_origin.told,
        tuple(sorted(seen)),
        tuple(notes),
        unnamed,
        names_speakers,
    )


def unseen_rows(model_provenance: Provenance, count: int) -> tuple[list[int], str | None]:
    """The indices of rows of speakers who are new to the model, and a note on the others; None: there are no others.

    Args:
        model_provenance: the provenance for these rows.
        count: the number of rows.

    Raises:
        InputError: the speakers of the training data are unknown, or no row is left.
    """
    if not model_provenance.names_speakers:
        remedy = (
            "mark rows to measure on by a split column, or keep speakers for the test when you train (test_speakers)"
        )
        got = (
            f"{model_provenance.source}, which names none"
            if model_provenance.source
            else "nothing that tells what it was trained on"
        )
        raise InputError(
            "unseen_only",
            expected="a model of which it is known whose voices it was trained on",
            got=got,
            remedy=remedy,
        )
    excluded = {*model_provenance.seen, *model_provenance.unnamed}
    remaining = [index for index in range(count) if index not in excluded]
    if not remaining:
        seen, unnamed = (len(indices) for indices in (model_provenance.seen, model_provenance.unnamed))
        got = f"none of {count}: {seen} of speakers that it knows, {unnamed} that name no speaker"
        raise InputError(
            "unseen_only", expected="rows of speakers whom the model has not heard", got=got, remedy="measure on others"
        )
    reasons = [
        f"{_rows(len(model_provenance.seen))} of speakers whom the model was trained, selected or calibrated on"
    ] * bool(model_provenance.seen)
    reasons += [
        f"{_rows(len(model_provenance.unnamed))} that name{'s' * (len(model_provenance.unnamed) == 1)} no speaker"
    ] * bool(model_provenance.unnamed)
    return remaining, f"left out (unseen_only): {' and '.join(reasons)}" if reasons else None


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def _of_corpora(lines: Sequence[str], rows: Sequence[ManifestRow]) -> list[str]:
    """Notes if the training data names corpora, but no speakers."""
    plain = _letters(" ".join(lines))
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
    """The corpus of a row, or the prefix of its speaker's name: "emodb_03"."""
    from multimodal_ser.labels import CORPUS_LABELS

    prefix = (row.speaker or "").rpartition("_")[0]
    return row.corpus or (prefix if prefix in CORPUS_LABELS else None)


def _of_calibration(folder: Path, name: str) -> Origin | None:
    """The origin that `calibrate` wrote, with the speakers of the calibration."""
    try:
        stored = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))["origin"]
        speakers = {
            part: tuple(map(str, stored["speakers"].get(part, ()))) for part in PARTS if part in stored["speakers"]
        }
        lines = tuple(map(str, stored["told"]))
        turns = int(stored["context_turns"])
        return Origin(name, stored["source"] and str(stored["source"]), lines, speakers, turns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _of_run(folder: Path, name: str) -> Origin | None:
    """The origin from the data.json and arguments.yaml of a run folder."""
    try:
        data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        speakers = {side: tuple(data[side]["speakers"]) for side in ("train", "validation")}
        clips = {side: data[side]["clips"] for side in ("train", "validation")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    lines = tuple(
        f"{side}: {clips[side]} clips, speakers {', '.join(speakers[side]) or 'not known'}"
        for side in ("train", "validation")
    )
    return Origin(name, "its run folder (data.json)", lines, speakers, _context_turns(folder / "arguments.yaml"))


def _context_turns(path: Path) -> int:
    from multimodal_ser._files import read_yaml

    try:
        return int(read_yaml(str(path)).get("context_turns") or 0)
    except (InputError, ValueError, TypeError):
        return 0


def _of_card(path: Path, name: str) -> Origin:
    lines = _training_data(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else ()
    return Origin(name, "its card (README.md)" if lines else None, lines)


def _training_data(card: str) -> tuple[str, ...]:
    """The lines of the card's section "training data"."""
    section = re.search(r"^#+ +training data[^\n]*\n(.*?)(?=^#+ |\Z)", card, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    lines = [] if section is None else [" ".join(line.strip().strip("|").split()) for line in section[1].splitlines()]
    return tuple(line for line in lines if line.strip("-| "))


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
