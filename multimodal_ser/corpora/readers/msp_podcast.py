"""Reader of MSP-Podcast: turns of podcasts, with ratings of arousal, valence and dominance.

The files follow the corpus's readme.txt (https://lab-msp.com/MSP/MSP-Podcast.html): Audios/MSP-PODCAST_0001_0008.wav is
a turn; Labels/labels_consensus.csv has FileName, EmoClass, EmoAct, EmoVal, EmoDom (from 1 to 7), SpkrID, Gender and
Split_Set; Transcripts/MSP-PODCAST_0001_0008.txt has the words.

Tested only on a made tree, not on the real corpus. Test1 is the test part; Test2 and Test3 keep their names, and no
protocol uses them by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from multimodal_ser.corpora.files import files_below, recordings_below
from multimodal_ser.corpora.readers import GENDERS, emotion_of, read_table, read_words
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["msp_podcast"]
COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
SPLITS = {"train": "train", "development": "validation", "validation": "validation", "test1": "test"}


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each turn with a label."""
    clips = {path.name: path for path in recordings_below(root)}
    texts = {path.stem: path for path in files_below(root, ".txt") if path.parent.name == "Transcripts"}
    labelled = set()
    for table in (path for path in files_below(root, ".csv") if path.name == "labels_consensus.csv"):
        for item in read_table(table, COLUMNS):
            if isinstance(item, InputError):
                yield item
                continue
            place, cells = item
            labelled.add(cells["FileName"])
            try:
                yield _row(root, place, cells, clips, texts)
            except InputError as error:
                yield error.named(f"{place}, {error.what}")
    for name in sorted(set(clips) - labelled):
        place = clips[name].relative_to(root).as_posix()
        yield InputError(
            place,
            expected="a turn of labels_consensus.csv",
            got="another one",
            remedy="leave it out, because it has no label",
        )


def _row(root: Path, place: str, cells: dict[str, str], clips: dict[str, Path], texts: dict[str, Path]) -> ManifestRow:
    name = cells["FileName"]
    if name not in clips:
        raise InputError(
            "FileName", expected=f"a recording {name}", got="no such file", remedy="unpack the recordings too"
        )
    has_speaker = cells["SpkrID"].strip() not in ("", "Unknown")
    split = cells["Split_Set"].strip().lower()
    return ManifestRow(
        id=Path(name).stem, path=clips[name], emotion=emotion_of(cells["EmoClass"].strip(), LABELS),
        text=read_words(texts.get(Path(name).stem)),
        speaker=f"msp_podcast_{cells['SpkrID'].strip()}" if has_speaker else None, gender=GENDERS.get(cells["Gender"].strip().lower()),
        split=SPLITS.get(split, split) or None, language="en", corpus="msp_podcast", arousal=_rating(cells, "EmoAct"),
        valence=_rating(cells, "EmoVal"), dominance=_rating(cells, "EmoDom"), place=place, folder=root,
    )  # fmt: skip


def _rating(cells: dict[str, str], column: str) -> float | None:
    try:
        return float(cells[column]) if cells[column].strip() else None
    except ValueError:
        raise InputError(
            column, expected="a rating from 1 to 7", got=repr(cells[column]), remedy="compare it with the release"
        ) from None


CORPUS = Corpus(
    name="msp_podcast",
    title="MSP-Podcast",
    languages=("en",),
    licence="by contract with the university, for academics free",
    citation="Lotfian and Busso (2019), https://doi.org/10.1109/TAFFC.2017.2736999",
    homepage="https://lab-msp.com/MSP/MSP-Podcast.html",
    documentation="https://arxiv.org/abs/2509.09791",
    labels=LABELS,
    layout="Audios/MSP-PODCAST_0001_0008.wav and Labels/labels_consensus.csv",
    run_on="made tree",
    read=read,
    remarks="264,705 turns in release 2.0; train, development and Test1 are by speaker, as far as known; Test2 may share speakers",
)
