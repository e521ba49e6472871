"""Reader of JL-Corpus: New Zealand English, four actors, five primary and five secondary emotions.

File names follow the corpus's README (https://www.kaggle.com/datasets/tli725/jl-corpus): female1_angry_1a_1.wav has
speaker, emotion, sentence and session; a .txt file beside each clip has its words.

Tested only on a made tree, not on the real corpus. Primary emotions share their fifteen sentences, and each secondary
emotion has its own, so the code of a secondary sentence includes its emotion. Anxious counts as fear, excited as
happiness; rows of the social attitudes are unlabelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.files import files_below
from multimodal_ser.corpora.readers import emotion_of, read_names, read_words
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["jl_corpus"]
PRIMARY = ("angry", "sad", "neutral", "happy", "excited")


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    texts = {path.stem: path for path in files_below(root, ".txt")}

    def fields(name: re.Match[str]) -> dict[str, Any]:
        speaker, emotion, sentence, session = name.groups()
        return {
            "emotion": emotion_of(emotion, LABELS),
            "sentence": sentence if emotion in PRIMARY else f"{emotion}_{sentence}",
            "text": read_words(texts.get(name[0].rpartition("/")[2])),
            "speaker": f"jl_corpus_{speaker}",
            "gender": speaker[:-1],
            "session": session,
            "language": "en",
        }

    yield from read_names(
        root, "jl_corpus", r"(female[12]|male[12])_([a-z]+)_(\d+[a-z]?)_(\d+)", "female1_angry_1a_1.wav", fields
    )


CORPUS = Corpus(
    name="jl_corpus",
    title="JL-Corpus",
    languages=("en",),
    licence="CC0 1.0",
    citation="James et al. (2018), https://www.isca-archive.org/interspeech_2018/james18_interspeech.html",
    homepage="https://www.kaggle.com/datasets/tli725/jl-corpus",
    documentation="https://www.kaggle.com/datasets/tli725/jl-corpus",
    labels=LABELS,
    layout="female1_angry_1a_1.wav and female1_angry_1a_1.txt",
    run_on="made tree",
    read=read,
    remarks="a few hundred clips a speaker; its sessions have the same speakers, so that leaving one out holds out no speaker",
)
