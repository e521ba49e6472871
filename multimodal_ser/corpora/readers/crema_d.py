"""Reader of CREMA-D: twelve sentences, acted by 91 actors.

File names follow the corpus's README (https://github.com/CheyneyComputerScience/CREMA-D): AudioWAV/1001_DFA_ANG_XX.wav
has actor, sentence, emotion and level (LO, MD, HI, XX: unspecified). Genders are in its VideoDemographics.csv (columns
ActorID, Sex).

Tested only on a made tree, not on the real corpus. One real name ends in "_X" according to other users, which is read
as XX (not verified).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.files import files_below
from multimodal_ser.corpora.readers import GENDERS, emotion_of, read_names, read_table
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["crema_d"]
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": None, "X": None}
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    genders: dict[str, str | None] = {}
    for table in (path for path in files_below(root, ".csv") if path.name == "VideoDemographics.csv"):
        for item in read_table(table, ("ActorID", "Sex")):
            if isinstance(item, InputError):
                yield item
            else:
                genders[item[1]["ActorID"]] = GENDERS.get(item[1]["Sex"].lower())

    def fields(name: re.Match[str]) -> dict[str, Any]:
        actor, sentence, emotion, level = name.groups()
        return {
            "emotion": emotion_of(emotion, LABELS),
            "intensity": LEVELS[level],
            "sentence": sentence,
            "text": SENTENCES[sentence],
            "speaker": f"crema_d_{actor}",
            "gender": genders.get(actor),
            "language": "en",
        }

    pattern = rf"(\d{{4}})_({'|'.join(SENTENCES)})_([A-Z]{{3}})_({'|'.join(LEVELS)})"
    yield from read_names(root, "crema_d", pattern, "1001_DFA_ANG_XX.wav", fields)


CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    languages=("en",),
    licence="Open Database License 1.0",
    citation="Cao et al. (2014), https://doi.org/10.1109/TAFFC.2014.2336244",
    homepage="https://github.com/CheyneyComputerScience/CREMA-D",
    documentation="https://github.com/CheyneyComputerScience/CREMA-D/blob/master/README.md",
    labels=LABELS,
    layout="AudioWAV/1001_DFA_ANG_XX.wav and VideoDemographics.csv",
    run_on="made tree",
    read=read,
    clips=7442,
    remarks="the emotion that was acted: listeners of the voice alone often heard another one (processedResults/ has their votes)",
)
