"""nEMO: ninety sentences acted by nine speakers of Polish.

Names as the corpus's page gives them (https://github.com/amu-cai/nEMO): samples/{speaker_id}_{emotion}_{sentence_id}.wav; texts and
genders are in its data.tsv (columns file_id, raw_text, gender). Where a manifest.csv lies there instead (columns path, text, gender), it
tells them.

Run on 3775 real clips of seven speakers with such a manifest.csv; data.tsv only on a made tree.
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

LABELS = CORPUS_LABELS["nemo"]


def _table(root: Path) -> tuple[dict[str, dict[str, str]], list[InputError]]:
    """What the table says of each clip, by its name without the ending, and what is wrong with the table."""
    for name, key, text in (("data.tsv", "file_id", "raw_text"), ("manifest.csv", "path", "text")):
        found = [path for path in files_below(root, Path(name).suffix) if path.name == name]
        if found:
            told = list(read_table(found[0], (key, text, "gender")))
            errors = [one for one in told if isinstance(one, InputError)]
            cells = [one[1] for one in told if not isinstance(one, InputError)]
            return {Path(row[key]).stem: {"text": row[text], "gender": row["gender"]} for row in cells}, errors
    return {}, []


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """A row for each clip."""
    table, errors = _table(root)
    yield from errors

    def fields(name: re.Match[str]) -> dict[str, Any]:
        speaker, emotion, sentence = name.groups()
        told = table.get("_".join(name.groups()), {})
        return {
            "emotion": emotion_of(emotion, LABELS),
            "sentence": sentence,
            "text": told.get("text") or None,
            "speaker": f"nemo_{speaker}",
            "gender": GENDERS.get(told.get("gender", "").lower()),
            "language": "pl",
        }

    yield from read_names(root, "nemo", r"([A-Z]{2}\d+)_([a-z]+)_(\d+)", "EB0_anger_1.wav", fields)


CORPUS = Corpus(
    name="nemo",
    title="nEMO",
    languages=("pl",),
    licence="CC BY-NC-SA 4.0",
    citation="Christop (2024), https://arxiv.org/abs/2404.06292",
    homepage="https://github.com/amu-cai/nEMO",
    documentation="https://github.com/amu-cai/nEMO",
    labels=LABELS,
    layout="samples/EB0_anger_1.wav and data.tsv",
    run_on="real recordings",
    read=read,
    clips=4481,
    remarks="every speaker says the same ninety sentences in every emotion; no split of its own",
)
