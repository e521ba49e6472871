"""Reader of RAVDESS: two statements, acted by 24 actors.

File names follow the corpus's page (https://zenodo.org/records/1188976): seven numbers of two digits,
modality-channel-emotion-intensity-statement-repetition-actor; odd actors are male. Folders do not matter: clips may be
in Actor_01/03-01-....wav as unpacked, or all in one folder.

Tested on 1200 real clips of 20 actors (as FLAC); a folder for each actor only on a made tree. Songs and videos are not
read, and a note counts them.
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

LABELS = CORPUS_LABELS["ravdess"]
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
INTENSITIES = {"01": "normal", "02": "strong"}


def _fields(name: re.Match[str]) -> dict[str, Any] | str:
    modality, channel, emotion, intensity, statement, _, actor = name.groups()
    if (modality, channel) != ("03", "01"):
        return (
            "songs (..-02-...): speech alone is read"
            if channel == "02"
            else "videos (01-..., 02-...): sound alone is read"
        )
    return {
        "emotion": emotion_of(emotion, LABELS),
        "intensity": INTENSITIES[intensity],
        "sentence": statement,
        "text": STATEMENTS[statement],
        "speaker": f"ravdess_{actor}",
        "gender": "male" if int(actor) % 2 else "female",
        "language": "en",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip of speech."""
    pattern = r"(0[123])-(0[12])-(\d\d)-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])"
    return read_names(root, "ravdess", pattern, "03-01-06-01-02-01-12.wav", _fields)


CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS",
    languages=("en",),
    licence="CC BY-NC-SA 4.0",
    citation="Livingstone and Russo (2018), https://doi.org/10.1371/journal.pone.0196391",
    homepage="https://zenodo.org/records/1188976",
    documentation="https://zenodo.org/records/1188976",
    labels=LABELS,
    layout="Actor_01/03-01-06-01-02-01-12.wav or such names in one folder",
    run_on="real recordings",
    read=read,
    clips=1440,
    remarks="two statements, so every split shares its sentences; no split of its own: the protocol emobox-ravdess is the usual one",
)
