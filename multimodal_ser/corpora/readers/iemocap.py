"""Reader of IEMOCAP: dialogues of ten actors, two in each session, improvised and from scripts.

The files follow the corpus's README.txt (https://sail.usc.edu/iemocap/): Ses01F_impro01_M000 is session 1, a recording
in which the woman wears the markers, improvisation 1, the man's first turn. SessionX/sentences/wav/DIALOGUE/TURN.wav
are the turns, SessionX/dialog/EmoEvaluation/DIALOGUE.txt has their labels ("[start - end] turn emotion [valence,
activation, dominance]", from 1 to 5), and SessionX/dialog/transcriptions/DIALOGUE.txt has their words. Marks of sounds
that are not words ([LAUGHTER], [BREATHING]) are removed.

Tested only on a made tree, not on the real corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from multimodal_ser.corpora.files import files_below, recordings_below
from multimodal_ser.corpora.readers import check_text, emotion_of, read_lines
from multimodal_ser.corpora.registry import Corpus
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS

LABELS = CORPUS_LABELS["iemocap"]
NUMBER = r"(-?\d+(?:\.\d+)?)"
SUMMARY = re.compile(rf"\[{NUMBER} - {NUMBER}\]\s+(\S+)\s+(\S+)\s+\[{NUMBER}, {NUMBER}, {NUMBER}\]")
TURN = re.compile(r"(Ses0?([1-5])([FM])_[A-Za-z0-9_]+)_([FM])\d+")
WORDS = re.compile(r"(Ses\S+) \[[^\]]*\]: ?(.*)")
MARK = re.compile(r"\[[A-Z][A-Z _/-]*\]")
"""Marks of sounds that are not words: [LAUGHTER], [BREATHING], [GARBAGE]; they would reveal the emotion."""


def _lines(root: Path, folder: str) -> Iterator[tuple[Path, int, str]]:
    for path in files_below(root, ".txt"):
        if path.parent.name == folder:
            for number, line in enumerate(read_lines(path), 1):
                yield path, number, line.strip()


def read(root: Path) -> Iterator[ManifestRow | InputError | str]:
    """Yield a row for each turn, in the order of each dialogue."""
    clips = {path.stem: path for path in recordings_below(root) if "sentences/wav/" in path.as_posix()}
    lines = (WORDS.fullmatch(line) for _, _, line in _lines(root, "transcriptions"))
    texts = {match[1]: " ".join(MARK.sub(" ", match[2]).split()) for match in lines if match}
    turns: dict[str, list[tuple[float, str, re.Match[str]]]] = {}
    for path, number, line in _lines(root, "EmoEvaluation"):
        if not line.startswith("["):  # other lines have the labels of single annotators
            continue
        place = f"{path.relative_to(root).as_posix()}, line {number}"
        summary = SUMMARY.fullmatch(line)
        if summary is None or TURN.fullmatch(summary[3]) is None:
            expected = "[start - end] Ses01F_impro01_F000 neu [v, a, d]"
            yield InputError(place, expected=expected, got=line[:60], remedy="compare it with the corpus's own file")
            continue
        turns.setdefault(summary[3].rpartition("_")[0], []).append((float(summary[1]), place, summary))
    for dialogue, parts in sorted(turns.items()):
        for turn, (_, place, summary) in enumerate(sorted(parts, key=lambda part: part[0])):
            yield _row(root, clips.pop(summary[3], None), dialogue, turn, place, summary, texts.get(summary[3]))
    for path in clips.values():
        place = path.relative_to(root).as_posix()
        yield InputError(
            place,
            expected="a turn that EmoEvaluation has a label for",
            got="another one",
            remedy="unpack the labels too",
        )


def _row(
    root: Path, path: Path | None, dialogue: str, turn: int, place: str, summary: re.Match[str], text: str | None
) -> ManifestRow | InputError:
    name = summary[3]
    emotion = summary[4]
    if path is None:
        return InputError(
            place,
            expected=f"a recording sentences/wav/{dialogue}/{name}.wav",
            got="no such file",
            remedy="unpack it too",
        )
    match = TURN.fullmatch(name)
    assert match is not None
    session = match[2]
    gender = match[4]
    try:
        label = emotion_of(emotion, LABELS)
        check_text(text or "")
    except InputError as error:
        return error.named(f"{place}, {error.what}")
    return ManifestRow(
        id=name, path=path, emotion=label, text=text or None, speaker=f"iemocap_{session}{gender}", session=session,
        gender="female" if gender == "F" else "male", dialogue=dialogue, turn=turn, language="en", corpus="iemocap",
        valence=float(summary[5]), arousal=float(summary[6]), dominance=float(summary[7]), place=place, folder=root,
    )  # fmt: skip


CORPUS = Corpus(
    name="iemocap",
    title="IEMOCAP",
    languages=("en",),
    licence="research only, by a signed form",
    citation="Busso et al. (2008), https://doi.org/10.1007/s10579-008-9076-6",
    homepage="https://sail.usc.edu/iemocap/iemocap_release.htm",
    documentation="https://sail.usc.edu/iemocap/",
    labels=LABELS,
    layout="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav and Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
    run_on="made tree",
    read=read,
    clips=10039,
    remarks="no split of its own: one session is left out; scripts are spoken again in other sessions, so their words (and labels) leak",
)
