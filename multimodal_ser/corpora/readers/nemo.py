"""Reader of nEMO: ninety Polish sentences, acted by nine speakers.

File names follow the corpus's page (https://github.com/amu-cai/nEMO): samples/{speaker_id}_{emotion}_{sentence_id}.wav.
Texts and genders are in its data.tsv (columns file_id, raw_text, gender), or in a manifest.csv instead (columns path,
text, gender).

Tested on 3775 real clips of seven speakers with such a manifest.csv; data.tsv only on a made tree.
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
    """The text and gender of each clip, by its name without the ending, and the errors of the table."""
    for name, key, text in (("data.tsv", "file_id", "raw_text"), ("manifest.csv", "path", "text")):
        paths = [path for path in files_below(root, Path(name).suffix) if path.name == name]
        if paths:
            items = list(read_table(paths[0], (key, text, "gender")))
            errors = [item for item in items if isinstance(item, InputError)]
            cells = [item[1] for item in items if not isinstance(item, InputError)]
            return {Path(row[key]).stem: {"text": row[text], "gender": row["gender"]} for row in cells}, errors
    return {}, []


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    table, errors = _table(root)
    yield from errors

    def fields(name: re.Match[str]) -> dict[str, Any]:
        speaker, emotion, sentence = name.groups()
        cells = table.get("_".join(name.groups()), {})
        return {
            "emotion": emotion_of(emotion, LABELS),
            "sentence": sentence,
            "text": cells.get("text") or None,
            "speaker": f"nemo_{speaker}",
            "gender": GENDERS.get(cells.get("gender", "").lower()),
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
