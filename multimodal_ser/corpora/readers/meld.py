"""Reader of MELD: turns of the series Friends.

The files follow the corpus's page (https://github.com/declare-lab/MELD): train_sent_emo.csv, dev_sent_emo.csv and
test_sent_emo.csv have Utterance, Speaker, Emotion, Dialogue_ID and Utterance_ID; the clip of a turn is dia0_utt1.mp4 in
train_splits, dev_splits_complete or output_repeated_splits_test; sound that was extracted from them (dia0_utt1.wav) is
read too, also below folders train, dev and test. A folder without clips, or a table of all turns with a column split,
gives rows with words only.

Tested on the real words of the train and dev parts (such a table); clips only on a made tree. The times of the tables
are times in the film, and are not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from multimodal_ser.corpora.files import files_below, preference, recordings_below
from multimodal_ser.corpora.readers import read_texts
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.corpora.splits import SPLIT_NAMES
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["meld"]
FOLDERS = {
    "train_splits": "train", "dev_splits_complete": "validation", "output_repeated_splits_test": "test",
    "train": "train", "dev": "validation", "test": "test",
}  # fmt: skip
"""The part of each folder: folders of the corpus, and usual names of folders with extracted sound."""

GENDERS = {
    "Monica": "female",
    "Phoebe": "female",
    "Rachel": "female",
    "Chandler": "male",
    "Joey": "male",
    "Ross": "male",
}
"""Genders of the six main characters; the tables have no genders."""


def _clips(root: Path) -> tuple[dict[tuple[str, str, int], Path], list[InputError | str]]:
    """The clip of each turn (sound before video), and the errors or reasons for other recordings."""
    clips: dict[tuple[str, str, int], Path] = {}
    others: list[InputError | str] = []
    for path in recordings_below(root):
        relative = path.relative_to(root)
        name = re.fullmatch(r"dia(\d+)_utt(\d+)", path.stem)
        split = next((FOLDERS[part.lower()] for part in reversed(relative.parts[:-1]) if part.lower() in FOLDERS), None)
        if path.stem.startswith("final_videos_test"):
            others.append("final_videos_test...: other cuts of test turns than the tables name, not read")
        elif name is None or split is None:
            expected = f"dia0_utt1.mp4 or dia0_utt1.wav in {', '.join(FOLDERS)}"
            got = "another name" if name is None else "another folder"
            remedy = "rename it, or move it out of the folder"
            others.append(InputError(relative.as_posix(), expected=expected, got=got, remedy=remedy))
        else:
            turn = split, name[1], int(name[2])
            preferred, other = sorted([clips.get(turn, path), path], key=lambda clip: preference(clip.suffix))
            if preferred != other:
                others.append(f"{other.suffix} files beside {preferred.suffix} files of the same turns: not read")
            clips[turn] = preferred
    return clips, others


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each turn."""
    clips: dict[tuple[str, str, int], Path] = {}
    if root.is_file():
        tables = [root]
    else:
        tables = [path for path in files_below(root, ".csv") if re.fullmatch(r"(train|dev|test)_sent_emo", path.stem)]
        clips, others = _clips(root)
        yield from others
    parts_with_clips = {split for split, _, _ in clips}
    for table in tables:
        for row in read_texts(table, "meld", LABELS):
            if isinstance(row, InputError):
                yield row
                continue
            split = SPLIT_NAMES.get((row.split or table.stem.partition("_")[0]).lower())
            dialogue = row.dialogue
            turn = row.turn
            if split is None or dialogue is None or turn is None:
                yield InputError(
                    row.place, expected="a split, a dialogue and a turn", got="not all of them", remedy="fill them in"
                )
                continue
            path = clips.get((split, dialogue, turn))
            if path is None and split in parts_with_clips:
                yield InputError(
                    row.place,
                    expected=f"a clip dia{dialogue}_utt{turn}.mp4",
                    got="no such file",
                    remedy="unpack it too",
                )
                continue
            gender = GENDERS.get((row.speaker or "").removeprefix("meld_"))
            name = f"{split}_{dialogue}"  # each part counts its dialogues from 0
            folder = table.parent if root.is_file() else root
            yield replace(row, id=f"{name}_{turn}", path=path, split=split, dialogue=name, gender=gender, folder=folder)


CORPUS = Corpus(
    name="meld",
    title="MELD",
    languages=("en",),
    licence="GPL-3.0; the film is its owners'",
    citation="Poria et al. (2019), https://aclanthology.org/P19-1050",
    homepage="https://affective-meld.github.io",
    documentation="https://github.com/declare-lab/MELD/blob/master/README.md",
    labels=LABELS,
    layout="train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv and train_splits/dia0_utt0.mp4",
    run_on="real texts",
    read=read,
    clips=13708,
    remarks="its own split has the six main characters in all three parts; laughter of the audience is heard in many clips",
)
