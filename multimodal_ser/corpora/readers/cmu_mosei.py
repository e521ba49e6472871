"""Reader of CMU-MOSEI: monologues from YouTube, as one table and a folder of clips.

The original (http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/) consists of computational sequences (.csd),
which are not read. The reader takes the common copy (https://github.com/thuiar/MMSA): label.csv with video_id, clip_id,
text, label (sentiment from -3 to 3), annotation, mode (train, valid, test), and clips Raw/video_id/clip_id.mp4. Columns
happy, sad, anger, surprise, disgust, fear (from 0 to 3), if a table has them, are the emotions: the strongest one,
several if they are equal, neutral if all are 0. Without these columns a clip has only its sentiment, as valence.

Tested only on a made tree, not on the real corpus. The speakers are not documented: each video counts as a separate
speaker, although a few people made several videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from multimodal_ser.corpora.files import files_below, recordings_below
from multimodal_ser.corpora.readers import joined, read_table
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.corpora.splits import SPLIT_NAMES
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["cmu_mosei"]
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip of the table."""
    clips = {(path.parent.name, path.stem): path for path in recordings_below(root)}
    labelled = set()
    for table in (path for path in files_below(root, ".csv") if path.name == "label.csv"):
        for item in read_table(table, ("video_id", "clip_id", "text", "label", "mode")):
            if isinstance(item, InputError):
                yield item
                continue
            place, cells = item
            labelled.add((cells["video_id"], cells["clip_id"]))
            try:
                yield _row(root, place, cells, clips)
            except InputError as error:
                yield error.named(f"{place}, {error.what}")
    for key in sorted(set(clips) - labelled):
        place = clips[key].relative_to(root).as_posix()
        yield InputError(place, expected="a clip of label.csv", got="another one", remedy="move it out of the folder")


def _row(root: Path, place: str, cells: dict[str, str], clips: dict[tuple[str, str], Path]) -> ManifestRow:
    video = cells["video_id"]
    clip = cells["clip_id"]
    if (video, clip) not in clips:
        raise InputError(
            "clip_id", expected=f"a recording {video}/{clip}.mp4", got="no such file", remedy="unpack the clips too"
        )
    emotion = None
    if all(name in cells for name in EMOTIONS):
        strengths = {name: _number(cells, name) for name in EMOTIONS}
        strongest = max(strengths.values())
        labels = (
            [name for name, strength in strengths.items() if strength == strongest]
            if strongest > 0
            else ["none of the six"]
        )
        emotion = joined(labels, LABELS)
    return ManifestRow(
        id=f"{video}_{clip}", path=clips[video, clip], emotion=emotion, text=cells["text"].strip() or None, speaker=f"cmu_mosei_{video}",
        split=SPLIT_NAMES.get(cells["mode"].strip().lower()), language="en", corpus="cmu_mosei", valence=_number(cells, "label"),
        place=place, folder=root,
    )  # fmt: skip


def _number(cells: dict[str, str], column: str) -> float:
    try:
        return float(cells[column])
    except ValueError:
        raise InputError(
            column, expected="a number", got=repr(cells[column]), remedy="compare it with the corpus's own table"
        ) from None


CORPUS = Corpus(
    name="cmu_mosei",
    title="CMU-MOSEI",
    languages=("en",),
    licence="research only; the videos are their makers'",
    citation="Zadeh et al. (2018), https://aclanthology.org/P18-1208",
    homepage="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    documentation="https://github.com/thuiar/MMSA",
    labels=LABELS,
    layout="label.csv and Raw/VIDEO/CLIP.mp4",
    run_on="made tree",
    read=read,
    remarks="about 23,000 clips; its standard folds are by video; sentiment, from -3 to 3, is what most papers score",
)
