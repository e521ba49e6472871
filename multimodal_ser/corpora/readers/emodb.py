"""Reader of EmoDB, the Berlin database: ten sentences, acted by ten speakers.

File names follow the corpus's page (http://emodb.bilderbar.info/docu/): 03a01Fa is speaker 03, sentence a01, emotion F
(the letter of the German word), version a. Genders and sentences are from the same page.

Tested on 418 real clips of eight speakers.
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

LABELS = CORPUS_LABELS["emodb"]
MALE = ("03", "10", "11", "12", "15")
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def _fields(name: re.Match[str]) -> dict[str, Any]:
    speaker, sentence, emotion = name.groups()
    return {
        "emotion": emotion_of(emotion, LABELS),
        "sentence": sentence,
        "text": SENTENCES[sentence],
        "speaker": f"emodb_{speaker}",
        "gender": "male" if speaker in MALE else "female",
        "language": "de",
    }


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    return read_names(root, "emodb", rf"(03|08|09|1[0-6])({'|'.join(SENTENCES)})([A-Z])[a-z]?", "03a01Fa.wav", _fields)


CORPUS = Corpus(
    name="emodb",
    title="EmoDB",
    languages=("de",),
    licence="free to download; re-released under CC BY 4.0",
    citation="Burkhardt et al. (2005), https://doi.org/10.21437/Interspeech.2005-446",
    homepage="http://emodb.bilderbar.info",
    documentation="http://emodb.bilderbar.info/docu/",
    labels=LABELS,
    layout="wav/03a01Fa.wav",
    run_on="real recordings",
    read=read,
    clips=535,
    remarks="ten sentences, shared by every split over speakers; only clips that listeners recognised were kept, so scores are high",
)
