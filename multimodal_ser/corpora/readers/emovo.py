"""Reader of EMOVO: fourteen Italian sentences, acted by six actors.

File names follow the corpus's paper and the note in its archive (https://aclanthology.org/L14-1478/): dis-f1-b1.wav is
emotion, speaker (f1 to f3, m1 to m3) and sentence: b short, l long, n nonsense, d questions. The fourteen texts are
from published readers that cite the note.

Tested only on a made tree, not on the real corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.readers import GENDERS, emotion_of, read_names
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["emovo"]
SENTENCES = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "l1": "L'autunno prossimo Tony partirà per la Spagna nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
}


def _fields(name: re.Match[str]) -> dict[str, Any]:
    emotion, speaker, sentence = name.groups()
    return {
        "emotion": emotion_of(emotion, LABELS),
        "sentence": sentence,
        "text": SENTENCES[sentence],
        "speaker": f"emovo_{speaker}",
        "gender": GENDERS[speaker[0]],
        "language": "it",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    return read_names(root, "emovo", rf"([a-z]{{3}})-([fm][123])-({'|'.join(SENTENCES)})", "dis-f1-b1.wav", _fields)


CORPUS = Corpus(
    name="emovo",
    title="EMOVO",
    languages=("it",),
    licence="free for research",
    citation="Costantini et al. (2014), https://aclanthology.org/L14-1478/",
    homepage="https://aclanthology.org/L14-1478/",
    documentation="https://aclanthology.org/L14-1478/",
    labels=LABELS,
    layout="f1/dis-f1-b1.wav",
    run_on="made tree",
    read=read,
    clips=588,
    remarks="fourteen sentences, shared by every split over speakers",
)
