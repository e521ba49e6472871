"""The words that Whisper recognises in the rows that are measured, written once, and how many of them are wrong."""

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
    """Transcribe every recording, each as it is, in the language that its row names; what stands in `path` is not done again.

    Args:
        clips: of `corpora.clips.examine`.
        whisper: which Whisper; None: whatever is found.
        path: JSON file of what was recognised.
        device: of Whisper.
        say: where messages go.

    Returns:
        Text and language by index of a clip, the name of the Whisper, and an error for each recording that could not be transcribed.

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
    wanted = [index for index, clip in enumerate(clips) if clip.row.path is not None]
    keys = {index: _key(clips[index]) for index in wanted}
    missing = [index for index in wanted if keys[index] not in stored]
    if missing:
        say(f"Whisper {name} listens to {len(missing)} recordings")
    errors = []
    for done, index in enumerate(missing, 1):
        clip = clips[index]
        try:
            heard: Any = transcriber.transcribe(
                recording(clip), sampling_rate=16_000, language=row_language(clip.row.language)
            )
            stored[keys[index]] = [heard.text, heard.language or clip.row.language]
        except InputError as error:
            errors.append(error.named(clip.row.place or clip.row.name))
        if done % 100 == 0 or done == len(missing):
            _keep(path, name, stored)
    found = {index: (stored[keys[index]][0], stored[keys[index]][1]) for index in wanted if keys[index] in stored}
    return found, name, errors


def _key(clip: Any) -> str:
    return f"{clip.content} {clip.row.start} {clip.row.end} {clip.row.language}"


def _keep(path: Path, name: str, stored: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"whisper": name, "texts": stored})


def word_errors(
    clips: Sequence[Any], words: Mapping[int, tuple[str, str | None]], rows: Sequence[int]
) -> dict[str, Any]:
    """How many words were recognised wrongly, where the manifest says what was said: without case and punctuation, and as written.

    Args:
        clips: all of them.
        words: what was recognised, by index.
        rows: that count.

    Returns:
        clips, silent (nothing was recognised), wer, wer_as_written, and by_language the wer of each; languages without spaces are left out.
    """
    from multimodal_ser.metrics import word_error_rate

    pairs = [
        (clips[i].row.text, words[i][0], clips[i].row.language or words[i][1])
        for i in rows
        if i in words and clips[i].row.text
    ]
    spaced = [pair for pair in pairs if row_language(pair[2]) not in SPACELESS]
    found: dict[str, Any] = {"clips": len(spaced), "silent": sum(not heard.strip() for _, heard, _ in spaced)}
    if len(spaced) < len(pairs):
        found["without_spaces"] = len(pairs) - len(spaced)
    if not spaced:
        return found
    true, heard = [pair[0] for pair in spaced], [pair[1] for pair in spaced]
    found["wer"], found["wer_as_written"] = word_error_rate(true, heard, normalize=True), word_error_rate(true, heard)
    languages = sorted({pair[2] or "unknown" for pair in spaced})
    found["by_language"] = {}
    for language in languages:
        chosen = [pair for pair in spaced if (pair[2] or "unknown") == language]
        wer = word_error_rate([pair[0] for pair in chosen], [pair[1] for pair in chosen], normalize=True)
        found["by_language"][language] = {"clips": len(chosen), "wer": wer}
    return found
