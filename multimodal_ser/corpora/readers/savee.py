"""Reader of SAVEE: British English, four men.

File names follow the corpus's AudioData/Info.txt (http://kahlan.eps.surrey.ac.uk/savee/): DC/a01.wav has the folder of
a speaker, the letters of an emotion and the number of the sentence. DC_a01.wav, the name in a common copy, and
dc/a01.wav are read too.

Tested only on a made tree, not on the real corpus. The texts are not included. Sentences are numbered within each
emotion, so the code of a sentence includes its emotion. A few sentences are common to all emotions; the reader does not
mark them, because they could not be verified.
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
    speaker = name[1].upper()
    emotion = name[2].lower()
    number = name[3]
    return {
        "id": f"{speaker}_{emotion}{number}",
        "emotion": emotion_of(emotion, LABELS),
        "sentence": f"{emotion}{number}",
        "speaker": f"savee_{speaker}",
        "gender": "male",
        "language": "en",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
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
