"""Reader of CASIA: Mandarin, four actors; the part in which all actors say the same texts.

The file names are not documented; the reader follows published readers. wangzhe/angry/201.wav has the folder of a
speaker (liuchanhg, with this spelling, wangzhe, zhaoquanyin, ZhaoZuoxiang), the folder of an emotion, and the number of
a text, which is the same for all. Liu and Quanyin Zhao are women.

Tested only on a made tree, not on the real corpus. The part with different texts has other file names and is not read.
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

LABELS = CORPUS_LABELS["casia"]
SPEAKERS = {"liuchanhg": "female", "wangzhe": "male", "zhaoquanyin": "female", "zhaozuoxiang": "male"}


def _fields(name: re.Match[str]) -> dict[str, Any]:
    speaker, emotion, number = (part.lower() for part in name.groups())
    return {
        "id": f"{speaker}_{emotion}_{number}",
        "emotion": emotion_of(emotion, LABELS),
        "sentence": number,
        "speaker": f"casia_{speaker}",
        "gender": SPEAKERS[speaker],
        "language": "zh",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    pattern = rf"((?i:{'|'.join(SPEAKERS)}))/([A-Za-z]+)/(\d+)"
    return read_names(root, "casia", pattern, "wangzhe/angry/201.wav", _fields)


CORPUS = Corpus(
    name="casia",
    title="CASIA",
    languages=("zh",),
    licence="by contract with the institute; a part goes round for research",
    citation="Institute of Automation, Chinese Academy of Sciences: CASIA Mandarin emotional corpus",
    homepage="http://www.chineseldc.org",
    documentation="https://twblogs.net/a/5b7c8b2b2b71770a43db7cf9",
    labels=LABELS,
    layout="wangzhe/angry/201.wav",
    run_on="made tree",
    read=read,
    clips=9600,
    remarks="the part that goes round has 1200 clips: fifty sentences, shared by every split over speakers",
)
