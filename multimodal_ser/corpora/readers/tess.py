"""Reader of TESS, the Toronto emotional speech set: "Say the word ..." with 200 words, by two women.

File names follow the corpus's page (https://doi.org/10.5683/SP2/E8H2MF): OAF_back_angry.wav has speaker (OAF: the older
actress, YAF: the younger one), word and emotion (ps: pleasant surprise). Folders do not matter.

Tested only on a made tree with names from listings of the corpus, not on the real corpus. According to the listings one
name begins with OA, which is read as OAF.
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

LABELS = CORPUS_LABELS["tess"]


def _fields(name: re.Match[str]) -> dict[str, Any]:
    speaker, word, emotion = name.groups()
    return {
        "emotion": emotion_of(emotion.lower(), LABELS),
        "sentence": word.lower(),
        "text": f"Say the word {word.lower()}.",
        "speaker": "tess_YAF" if speaker == "YAF" else "tess_OAF",
        "gender": "female",
        "language": "en",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    return read_names(root, "tess", r"(OAF|OA|YAF)_([A-Za-z-]+)_([A-Za-z]+)", "OAF_back_angry.wav", _fields)


CORPUS = Corpus(
    name="tess",
    title="TESS",
    languages=("en",),
    licence="CC BY-NC-ND 4.0",
    citation="Pichora-Fuller and Dupuis (2020), https://doi.org/10.5683/SP2/E8H2MF",
    homepage="https://doi.org/10.5683/SP2/E8H2MF",
    documentation="https://www.utm.utoronto.ca/vp-research/news/vocal-accords",
    labels=LABELS,
    layout="OAF_back_angry.wav, in folders or not",
    run_on="made tree",
    read=read,
    clips=2800,
    remarks="two voices: a split over clips has both on both sides, one over speakers has a single one to learn from",
)
