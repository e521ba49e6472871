"""The transcript cache: off until a folder is named, since people's words must not lie about on disks unasked."""

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

KEPT = re.compile(r"[0-9a-f]{64}\.json")
"""The name of a transcript's file; whatever else lies in the folder is somebody else's."""

UNFINISHED = "multimodal-ser-"
"""What the names of files begin with while they are written."""


class TranscriptCache:
    """Transcripts on disk, a file each, found by what was heard, by whom, and how.

    Args:
        directory: where they are kept; it is made, readable by its owner alone.

    Raises:
        InputError: it cannot be made.

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
        """Keep a transcript: its file is there whole, or not at all. A disk that takes none is a warning: the transcript is had already."""
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
        """Delete all transcripts, and what broken-off writers left; nothing else. How many transcripts there were."""
        files = self._files()
        for file in files:
            file.unlink(missing_ok=True)
        remove_abandoned(self.directory, UNFINISHED)
        return len(files)

    def _files(self) -> list[Path]:
        return [file for file in self.directory.iterdir() if KEPT.fullmatch(file.name) and file.is_file()]

    def __len__(self) -> int:
        return len(self._files())
