"""Speech recognition for an evaluation: transcripts of recordings by Whisper, and their word error rate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multimodal_ser._files import write_json
from multimodal_ser.corpora.targets import row_language
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation.outputs import recording

SPACELESS = ("zh", "yue", "ja", "th", "lo", "my", "km")
"""Languages written without spaces: a word error rate counts their clauses, not their words."""


def recognise(
    clips: Sequence[Any], whisper: str | None, path: Path, device: str, say: Callable[[str], None]
) -> tuple[dict[int, tuple[str, str | None]], str, list[InputError]]:
    """Transcribe every recording in the language of its row; transcripts that are in `path` are used again.

    Args:
        clips: clips of `corpora.clips.examine`.
        whisper: name or path of a Whisper; None: one that is on this machine.
        path: JSON file of the transcripts.
        device: device that Whisper runs on.
        say: function that prints a message.

    Returns:
        Text and language by index of a clip, the name of the Whisper, and an error for each recording without a
        transcript.

    Raises:
        WhisperNotFoundError: there are no weights.
    """
    from multimodal_ser.transcription import WhisperTranscriber

    transcriber = WhisperTranscriber(whisper, device=device)
    name = transcriber.name
    stored: dict[str, Any] = {}
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        stored = stored["texts"] if stored.get("whisper") == name else {}
    recordings = [index for index, clip in enumerate(clips) if clip.row.path is not None]
    keys = {index: _key(clips[index]) for index in recordings}
    missing = [index for index in recordings if keys[index] not in stored]
    if missing:
        say(f"Whisper {name} listens to {len(missing)} recordings")
    errors = []
    for done, index in enumerate(missing, 1):
        clip = clips[index]
        try:
            transcript: Any = transcriber.transcribe(
                recording(clip), sampling_rate=16_000, language=row_language(clip.row.language)
            )
            stored[keys[index]] = [transcript.text, transcript.language or clip.row.language]
        except InputError as error:
            errors.append(error.named(clip.row.place or clip.row.name))
        if done % 100 == 0 or done == len(missing):
            _write(path, name, stored)
    transcripts = {
        index: (stored[keys[index]][0], stored[keys[index]][1]) for index in recordings if keys[index] in stored
    }
    return transcripts, name, errors


def _key(clip: Any) -> str:
    return f"{clip.content} {clip.row.start} {clip.row.end} {clip.row.language}"


def _write(path: Path, name: str, stored: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"whisper": name, "texts": stored})


def word_errors(
    clips: Sequence[Any], words: Mapping[int, tuple[str, str | None]], rows: Sequence[int]
) -> dict[str, Any]:
    """Word error rates of the rows whose manifest has a transcript: without case and punctuation, and as written.

    Args:
        clips: all clips of the evaluation.
        words: recognised text and language, by index of a clip.
        rows: indices of the rows that count.

    Returns:
        clips and silent (clips without recognised words), both counts; wer and wer_as_written, rates from 0;
        by_language, the clips and wer of each language; without_spaces, the count of clips that are left out because
        their language is written without spaces.
    """
    from multimodal_ser.metrics import word_error_rate

    pairs = [
        (clips[i].row.text, words[i][0], clips[i].row.language or words[i][1])
        for i in rows
        if i in words and clips[i].row.text
    ]
    spaced = [pair for pair in pairs if row_language(pair[2]) not in SPACELESS]
    result: dict[str, Any] = {
        "clips": len(spaced),
        "silent": sum(not recognized.strip() for _, recognized, _ in spaced),
    }
    if len(spaced) < len(pairs):
        result["without_spaces"] = len(pairs) - len(spaced)
    if not spaced:
        return result
    references, recognized = [pair[0] for pair in spaced], [pair[1] for pair in spaced]
    result["wer"] = word_error_rate(references, recognized, normalize=True)
    result["wer_as_written"] = word_error_rate(references, recognized)
    languages = sorted({pair[2] or "unknown" for pair in spaced})
    result["by_language"] = {}
    for language in languages:
        chosen = [pair for pair in spaced if (pair[2] or "unknown") == language]
        wer = word_error_rate([pair[0] for pair in chosen], [pair[1] for pair in chosen], normalize=True)
        result["by_language"][language] = {"clips": len(chosen), "wer": wer}
    return result
