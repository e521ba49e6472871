"""Reader of GoEmotions: comments from Reddit, with 27 emotions and neutral.

The files follow the corpus's README (https://github.com/google-research/google-research/tree/master/goemotions):
train.tsv, dev.tsv and test.tsv have no header, and columns for the text, the numbers of the emotions joined by commas,
and the id; emotions.txt has the name of one emotion in each line. Emotions are grouped like the authors' groups
(ekman_mapping.json); several groups of a text are joined by "|", and each is admissible. A table with columns text and
emotion is read too.

Tested on the real texts of the train and dev parts, as such a table; the three .tsv files only on a made tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from multimodal_ser.corpora.files import files_below
from multimodal_ser.corpora.readers import check_text, joined, read_lines, read_texts
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["goemotions"]
PARTS = {"train.tsv": "train", "dev.tsv": "validation", "test.tsv": "test"}


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each comment."""
    if root.is_file():
        yield from read_texts(root, "goemotions", LABELS)
        return
    names: list[str] = []
    for path in (path for path in files_below(root, ".txt") if path.name == "emotions.txt"):
        names = [line.strip() for line in read_lines(path) if line.strip()]
    parts = [path for path in files_below(root, ".tsv") if path.name in PARTS]
    if parts and not names:
        yield InputError(
            "emotions.txt",
            expected="the names of the emotions",
            got="no such file",
            remedy="put it beside the .tsv files",
        )
        return
    for path in parts:
        for number, line in enumerate(read_lines(path), 1):
            if line.strip():
                yield _row(root, path, number, line.split("\t"), names)


def _row(root: Path, path: Path, number: int, cells: list[str], names: list[str]) -> ManifestRow | InputError:
    place = f"{path.name}, line {number}"
    remedy = "compare it with the corpus's own file"
    if len(cells) != 3:
        return InputError(
            place, expected="text, emotions and id between tabs", got=f"{len(cells)} cells", remedy=remedy
        )
    text, emotions, name = cells
    numbers = emotions.split(",")
    if not all(code.isdecimal() and int(code) < len(names) for code in numbers):
        return InputError(
            f"{place}, emotions", expected=f"numbers from 0 to {len(names) - 1}", got=repr(emotions), remedy=remedy
        )
    try:
        emotion = joined([names[int(code)] for code in numbers], LABELS)
        check_text(text)
    except InputError as error:
        return error.named(f"{place}, {error.what}")
    return ManifestRow(
        id=name.strip(),
        text=text.strip(),
        emotion=emotion,
        split=PARTS[path.name],
        language="en",
        corpus="goemotions",
        place=place,
        folder=root,
    )


CORPUS = Corpus(
    name="goemotions",
    title="GoEmotions",
    languages=("en",),
    licence="Apache-2.0",
    citation="Demszky et al. (2020), https://arxiv.org/abs/2005.00547",
    homepage="https://github.com/google-research/google-research/tree/master/goemotions",
    documentation="https://github.com/google-research/google-research/blob/master/goemotions/README.md",
    labels=LABELS,
    layout="train.tsv, dev.tsv, test.tsv and emotions.txt; or a table with text and emotion",
    run_on="real texts",
    read=read,
    clips=54263,
    remarks="texts; names of people are masked; its own split is random over comments",
)
