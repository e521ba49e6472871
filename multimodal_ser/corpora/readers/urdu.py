"""Reader of URDU: talk shows, 38 speakers.

The corpus has a folder for each emotion (README at https://github.com/siddiquelatif/URDU-Dataset). The README does not
explain the file names: Angry/SM1_F10_A010.wav has a speaker (S, M for a man or F for a woman, and a number), the number
of a file, and the letter of the emotion with a number.

Tested only on a made tree with names from a listing of the corpus, not on the real corpus. The reader assumes that SM1
of different folders is the same speaker, which is not documented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.readers import emotion_of, read_names
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["urdu"]


def _fields(name: re.Match[str]) -> dict[str, Any]:
    emotion, speaker, letter = name.groups()
    if emotion[0] != letter:
        remedy = f"compare it with {CORPUS.homepage}"
        raise InputError("emotion", expected=f"{emotion[0]}..., as the folder is {emotion}", got=letter, remedy=remedy)
    return {
        "emotion": emotion_of(emotion, LABELS),
        "speaker": f"urdu_{speaker}",
        "gender": "male" if speaker[1] == "M" else "female",
        "language": "ur",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    return read_names(
        root,
        "urdu",
        r"(Angry|Happy|Neutral|Sad)/(?:[^/]+/)?(S[MF]\d+)_F\d+_([A-Z])\d+",
        "Angry/SM1_F1_A01.wav",
        _fields,
    )


CORPUS = Corpus(
    name="urdu",
    title="URDU",
    languages=("ur",),
    licence="research only",
    citation="Latif et al. (2018), https://arxiv.org/abs/1812.10411",
    homepage="https://github.com/siddiquelatif/URDU-Dataset",
    documentation="https://github.com/siddiquelatif/URDU-Dataset",
    labels=LABELS,
    layout="Angry/SM1_F1_A01.wav",
    run_on="made tree",
    read=read,
    clips=400,
    remarks="few speakers an emotion (its hundred angry clips are of four men): the voice alone may tell it",
)
