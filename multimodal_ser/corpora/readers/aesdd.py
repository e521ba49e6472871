"""Reader of AESDD: Greek, twenty utterances, acted by five or more actors.

File names follow the corpus's page (http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/): anger/a03
(4).wav is the third utterance of the fourth speaker in anger; a second take ends in a small letter: f18 (5)b.wav.

Tested only on a made tree, not on the real corpus. Each actor improvised utterance 20, so it is not a common sentence.
The texts and the actors' genders are not documented (three of the first five are women).
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

LABELS = CORPUS_LABELS["aesdd"]
IMPROVISED = "20"


def _fields(name: re.Match[str]) -> dict[str, Any]:
    emotion, utterance, speaker = name.groups()
    return {
        "emotion": emotion_of(emotion, LABELS),
        "sentence": None if utterance == IMPROVISED else utterance,
        "speaker": f"aesdd_{speaker}",
        "language": "el",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    return read_names(root, "aesdd", r"([a-z])(\d\d) ?\((\d+)\)[a-z]?", "anger/a03 (4).wav", _fields)


CORPUS = Corpus(
    name="aesdd",
    title="AESDD",
    languages=("el",),
    licence="free for research (a copy says CC BY 4.0)",
    citation="Vryzas et al. (2018), https://doi.org/10.17743/jaes.2018.0036",
    homepage="http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
    documentation="http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
    labels=LABELS,
    layout="anger/a03 (4).wav",
    run_on="made tree",
    read=read,
    remarks="it grows: the first version has about 500 clips; no clip is neutral",
)
