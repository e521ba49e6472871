"""Reader of DailyDialog and its translations XDailyDialog: everyday dialogues of two people.

The files follow the corpus's readme.txt (http://yanran.li/dailydialog): dialogues_text.txt has one dialogue in each
line, and each turn ends with __eou__; the same line of dialogues_emotion.txt has a number for the emotion of each turn.
The parts are in train/, validation/ and test/ as dialogues_train.txt and dialogues_emotion_train.txt. XDailyDialog
(https://github.com/liuzeming01/XDailyDialog) has the first form in four
languages: dialogues_text_En.txt, _De, _It, _Zh. Translations keep the dialogue's name, so that a split keeps them
together. A table with columns text and emotion is read too.

Tested on the real texts of the train and dev parts and of 1,927 translated dialogues, as such a table; the .txt files
only on a made tree. The speakers of the turns are not documented; the two people alternate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from multimodal_ser.corpora.files import files_below
from multimodal_ser.corpora.readers import check_text, emotion_of, read_lines, read_texts
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.corpora.splits import SPLIT_NAMES
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["dailydialog"]
FILE = re.compile(r"dialogues_(?:text(?:_(En|De|It|Zh))?|(train|validation|test))\.txt")


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each turn."""
    if root.is_file():
        yield from read_texts(root, "dailydialog", LABELS)
        return
    files = [(path, match) for path in files_below(root, ".txt") if (match := FILE.fullmatch(path.name))]
    if any(match[2] for _, match in files):  # the other files contain all parts again
        files = [(path, match) for path, match in files if match[2]]
    for path, match in files:
        language = (match[1] or "En").lower()
        part = match[2]
        emotions = path.with_name(f"dialogues_emotion_{part}.txt" if part else "dialogues_emotion.txt")
        if not emotions.is_file():
            place = path.relative_to(root).as_posix()
            yield InputError(place, expected=f"{emotions.name} beside it", got="no such file", remedy="put it there")
            continue
        code_lines = read_lines(emotions)
        for number, line in enumerate(read_lines(path)):
            if line.strip():
                yield from _dialogue(
                    root, path, number, line, code_lines[number] if number < len(code_lines) else "", language, part
                )


def _dialogue(
    root: Path, path: Path, number: int, line: str, code_line: str, language: str, part: str | None
) -> Iterator[ManifestRow | InputError]:
    place = f"{path.relative_to(root).as_posix()}, line {number + 1}"
    turns = [turn.strip() for turn in line.split("__eou__")][:-1]
    codes = code_line.split()
    if len(codes) != len(turns):
        yield InputError(
            place,
            expected=f"{len(codes)} turns, as it has emotions",
            got=str(len(turns)),
            remedy="compare the two files",
        )
        return
    dialogue = f"{part or 'all'}{number}"
    for turn, (text, code) in enumerate(zip(turns, codes, strict=True)):
        try:
            emotion = emotion_of(code, LABELS)
            check_text(text)
        except InputError as error:
            yield error.named(f"{place}, turn {turn}, {error.what}")
            continue
        yield ManifestRow(
            id=f"{language}_{dialogue}_{turn}", text=text, emotion=emotion, split=SPLIT_NAMES[part] if part else None, dialogue=dialogue,
            turn=turn, language=language, corpus="dailydialog", place=f"{place}, turn {turn}", folder=root,
        )  # fmt: skip


CORPUS = Corpus(
    name="dailydialog",
    title="DailyDialog",
    languages=("en", "de", "it", "zh"),
    licence="CC BY-NC-SA 4.0 (translations also Apache-2.0)",
    citation="Li et al. (2017), https://aclanthology.org/I17-1099; Liu et al. (2023), https://github.com/liuzeming01/XDailyDialog",
    homepage="http://yanran.li/dailydialog",
    documentation="https://github.com/liuzeming01/XDailyDialog",
    labels=LABELS,
    layout="train/dialogues_train.txt and train/dialogues_emotion_train.txt, or dialogues_text.txt and dialogues_emotion.txt; or a table",
    run_on="real texts",
    read=read,
    remarks="texts, 13,118 dialogues; four of five turns are neutral",
)
