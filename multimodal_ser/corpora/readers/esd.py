"""Reader of ESD: 350 sentences, by ten speakers of Mandarin and ten of English.

The files follow its ReadMe.txt (https://github.com/HLTSingapore/Emotional-Speech-Data): speakers 0001 to 0010 speak
Mandarin, 0011 to 0020 English; genders are from the same file. Clips are named 0001/Angry/train/0001_000351.wav, with
folders train, evaluation and test (copies without these folders are read too). 0001/0001.txt has name, text and
emotion, separated by tabs.

Tested only on a made tree, not on the real corpus. The encoding of the texts is not documented: UTF-8, UTF-16 and GB
18030 are tried. The numbers of clips continue from emotion to emotion, 350 each; the reader assumes that clip n of
every emotion is the same sentence, which is not verified.
"""

from __future__ import annotations

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

LABELS = CORPUS_LABELS["esd"]
FEMALE = ("0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019")
SPLITS = {"train": "train", "evaluation": "validation", "test": "test", None: None}
SENTENCES = 350  # of each emotion


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(
        path.name, expected="texts in UTF-8, UTF-16 or GB 18030", got="another encoding", remedy="save them as UTF-8"
    )


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each clip."""
    texts: dict[str, str] = {}
    for path in files_below(root, ".txt"):
        if re.fullmatch(r"\d{4}", path.stem):
            try:
                cells = [line.split("\t") for line in _decoded(path).splitlines()]
            except InputError as error:
                yield error
                continue
            texts |= {row[0].strip(): row[1].strip() for row in cells if len(row) > 1}

    def fields(name: re.Match[str]) -> dict[str, Any]:
        folder, emotion, split, speaker, number = name.groups()
        if folder != speaker or not 1 <= int(speaker) <= 20:
            raise InputError(
                "name", expected=f"a clip of speaker {folder}", got=f"one of {speaker}", remedy="move it to its folder"
            )
        return {
            "emotion": emotion_of(emotion, LABELS),
            "sentence": f"{'zh' if int(speaker) <= 10 else 'en'}{(int(number) - 1) % SENTENCES + 1:03d}",
            "text": texts.get(f"{speaker}_{number}") or None,
            "speaker": f"esd_{speaker}",
            "gender": "female" if speaker in FEMALE else "male",
            "language": "zh" if int(speaker) <= 10 else "en",
            "split": SPLITS[split],
        }

    pattern = r"(\d{4})/([A-Z][a-z]+)(?:/(train|evaluation|test))?/(\d{4})_(\d{6})"
    yield from read_names(root, "esd", pattern, "0001/Angry/train/0001_000351.wav", fields)


CORPUS = Corpus(
    name="esd",
    title="ESD",
    languages=("zh", "en"),
    licence="research only, by a signed licence",
    citation="Zhou et al. (2022), https://arxiv.org/abs/2105.14762",
    homepage="https://github.com/HLTSingapore/Emotional-Speech-Data",
    documentation="https://github.com/HLTSingapore/Emotional-Speech-Data",
    labels=LABELS,
    layout="0001/Angry/train/0001_000351.wav and 0001/0001.txt",
    run_on="made tree",
    read=read,
    clips=35000,
    remarks="made for voice conversion: its own split has every speaker in all three parts",
)
