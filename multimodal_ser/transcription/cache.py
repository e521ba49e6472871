"""The transcript cache: off until a folder is named, since people's words must not lie about on disks unasked."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from multimodal_ser.transcription.transcript import Transcript


class TranscriptCache:
    """Transcripts on disk, a file each, found by what was heard, by whom, and how.

    Args:
        directory: where they are kept; it is made, readable by its owner alone.

    Example:
        >>> import tempfile, numpy as np
        >>> from multimodal_ser.transcription import Transcript, TranscriptCache
        >>> cache = TranscriptCache(tempfile.mkdtemp())
        >>> key = cache.key(np.zeros(16000, np.float32), "base", "en")
        >>> cache.put(key, Transcript.given("hello"))
        >>> cache.get(key).text, len(cache)
        ('hello', 1)
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def key(self, waveform: np.ndarray, *options: object) -> str:
        """SHA-256 of a waveform (S,) and of whatever else decides what is written."""
        digest = hashlib.sha256(np.ascontiguousarray(waveform, np.float32).tobytes())
        digest.update(json.dumps([str(option) for option in options]).encode())
        return digest.hexdigest()

    def get(self, key: str) -> Transcript | None:
        """The transcript; None where there is none, or where its file is damaged."""
        try:
            return Transcript.from_dict(json.loads((self.directory / f"{key}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def put(self, key: str, transcript: Transcript) -> None:
        """Keep a transcript: its file is there whole, or not at all."""
        handle, temporary = tempfile.mkstemp(dir=self.directory, suffix=".new")  # mkstemp: readable by the owner alone
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(transcript.to_dict(), file, ensure_ascii=False)
        os.replace(temporary, self.directory / f"{key}.json")

    def clear(self) -> int:
        """Delete all; how many there were."""
        files = [*self.directory.glob("*.json"), *self.directory.glob("*.new")]
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def __len__(self) -> int:
        return sum(1 for _ in self.directory.glob("*.json"))
