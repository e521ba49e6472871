"""Reader of ShEMO: Persian radio plays, 87 speakers.

File names follow the corpus's README (https://github.com/pariajm/sharif-emotional-speech-dataset): F03S02 is the second
sad utterance of the female speaker 03. shemo.json has the texts, by name: {"F03S02": {"transcript": ...}}.

Tested only on a made tree, not on the real corpus.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.files import files_below
from multimodal_ser.corpora.readers import emotion_of, read_names
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["shemo"]


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    texts: dict[str, str] = {}
    for path in (path for path in files_below(root, ".json") if path.name == "shemo.json"):
        try:
            texts = {
                name: str(entry["transcript"]).strip()
                for name, entry in json.loads(path.read_text(encoding="utf-8")).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            remedy = "download it again"
            yield InputError(
                path.name, expected="transcripts by the names of the clips", got="something else", remedy=remedy
            )

    def fields(name: re.Match[str]) -> dict[str, Any]:
        gender, number, emotion = name.groups()
        return {
            "emotion": emotion_of(emotion, LABELS),
            "text": texts.get(name[0].rpartition("/")[2]) or None,
            "speaker": f"shemo_{gender}{number}",
            "gender": "female" if gender == "F" else "male",
            "language": "fa",
        }

    yield from read_names(root, "shemo", r"([FM])(\d\d)([A-Z])\d\d", "F03S02.wav", fields)


CORPUS = Corpus(
    name="shemo",
    title="ShEMO",
    languages=("fa",),
    licence="free for academic use (its card says Apache-2.0)",
    citation="Mohamad Nezami et al. (2019), https://doi.org/10.1007/s10579-018-9427-x",
    homepage="https://github.com/pariajm/sharif-emotional-speech-dataset",
    documentation="https://github.com/pariajm/sharif-emotional-speech-dataset",
    labels=LABELS,
    layout="female/F03S02.wav, male/M01A01.wav and shemo.json",
    run_on="made tree",
    read=read,
    clips=3000,
    remarks="most of it is anger and neutral, and fear has a few dozen clips; no split of its own",
)
