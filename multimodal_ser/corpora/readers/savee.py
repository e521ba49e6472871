"""SAVEE: British English by four men.

Names as the corpus's AudioData/Info.txt gives them (http://kahlan.eps.surrey.ac.uk/savee/): DC/a01.wav is a speaker's folder, the
emotion's letters and the number of its sentence. A copy that goes round calls the same clip DC_a01.wav; that is read too, as is dc/a01.wav.

Never run on the real corpus, only on a made tree. The texts are not given. Sentences are numbered within each emotion; a few are common
to all emotions, but which ones could not be verified: the code of a sentence holds its emotion, and does not tell these.
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

LABELS = CORPUS_LABELS["savee"]


def _fields(name: re.Match[str]) -> dict[str, Any]:
    speaker, emotion, number = name[1].upper(), name[2].lower(), name[3]
    return {
        "id": f"{speaker}_{emotion}{number}",
        "emotion": emotion_of(emotion, LABELS),
        "sentence": f"{emotion}{number}",
        "speaker": f"savee_{speaker}",
        "gender": "male",
        "language": "en",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """A row for each clip."""
    return read_names(root, "savee", r"(?i:(DC|JE|JK|KL)[/_](sa|su|[a-z])(\d\d))", "DC/a01.wav", _fields)


CORPUS = Corpus(
    name="savee",
    title="SAVEE",
    languages=("en",),
    licence="free for research, on registration",
    citation="Haq and Jackson (2010), http://kahlan.eps.surrey.ac.uk/savee/",
    homepage="http://kahlan.eps.surrey.ac.uk/savee/",
    documentation="http://kahlan.eps.surrey.ac.uk/savee/Database.html",
    labels=LABELS,
    layout="AudioData/DC/a01.wav or DC_a01.wav",
    run_on="made tree",
    read=read,
    clips=480,
    remarks="four men, no woman; twice as many neutral clips as of any emotion",
)
