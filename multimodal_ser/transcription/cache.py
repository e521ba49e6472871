"""Provides a cache of transcripts on disk.

It is off unless the user names a folder, because people's words must not be stored without a request.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from pathlib import Path

import numpy as np

from multimodal_ser._files import remove_abandoned, writing
from multimodal_ser.errors import InputError
from multimodal_ser.transcription.transcript import Transcript

TRANSCRIPT_FILE = re.compile(r"[0-9a-f]{64}\.json")
"""Pattern of the names of transcripts' files; other files in the folder are never changed."""

UNFINISHED = "multimodal-ser-"
"""Prefix of the names of files that are not completely written."""


class TranscriptCache:
    """Stores each transcript as a file; its key depends on the recording, the model and the options.

    Args:
        directory: folder of the transcripts; it is created, and only its owner can read it.

    Raises:
        InputError: the folder cannot be created.

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
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise InputError(
                "cache_dir",
                expected="a folder, or one that can be made",
                got=f"{self.directory} ({error.strerror})",
                remedy="name another",
            ) from error

    def key(self, waveform: np.ndarray, *options: object) -> str:
        """The SHA-256 of a waveform (S,) and of the options that change its transcript."""
        digest = hashlib.sha256(np.ascontiguousarray(waveform, np.float32).tobytes())
        digest.update(json.dumps([str(option) for option in options]).encode())
        return digest.hexdigest()

    def get(self, key: str) -> Transcript | None:
        """The transcript of a key; None if there is none, or if its file is damaged."""
        try:
            return Transcript.from_dict(json.loads((self.directory / f"{key}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def put(self, key: str, transcript: Transcript) -> None:
        """Store a transcript. A failed write is only a warning, and leaves no partial file."""
        try:
            with writing(self.directory / f"{key}.json", mode=0o600, flush=False, prefix=UNFINISHED) as place:
                text = json.dumps(transcript.to_dict(), ensure_ascii=False)
                place.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            got = f"{self.directory} ({error.strerror})"
            warnings.warn(
                f"cache_dir: expected a folder that can be written, got {got}; transcripts are not kept", stacklevel=2
            )

    def clear(self) -> int:
        """Delete all transcripts and incomplete files, no other files; returns the number of transcripts."""
        files = self._files()
        for file in files:
            file.unlink(missing_ok=True)
        remove_abandoned(self.directory, UNFINISHED)
        return len(files)

    def _files(self) -> list[Path]:
        return [file for file in self.directory.iterdir() if TRANSCRIPT_FILE.fullmatch(file.name) and file.is_file()]

    def __len__(self) -> int:
        return len(self._files())
