"""What a look at a file's structure tells that decoders pass over in silence: ends that are missing, and recordings strung together."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

SYNC_LIMIT = 65536
"""Bytes of junk that are searched for the next frame of an mp3; decoders stop there too."""


class View:
    """A stretch of a file as a file of its own.

    It has no name (soundfile takes everything named *.raw for samples without a header), seeks before each read (so that several views
    share a file), and where the file fails keeps the error and ends: decoders call it from C, where exceptions are lost.
    """

    name: str

    def __init__(self, file: Any, start: int = 0, end: int | None = None):
        self.file, self.start, self.at = file, start, 0
        self.end = file.seek(0, io.SEEK_END) if end is None else end
        self.error: Exception | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def part(self, start: int, end: int) -> View:
        """A stretch of this stretch."""
        return View(self.file, self.start + start, self.start + end)

    def seekable(self) -> bool:
        """Always: what is not is read into memory before it comes here."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of a file."""
        self.at = max(0, offset + (0, self.at, self.size)[whence])
        return self.at

    def read(self, size: int = -1) -> bytes:
        """As of a file; less than asked for only at the end."""
        left = self.size - self.at
        left = max(0, left if size < 0 else min(size, left))
        content = b""
        try:
            if left:
                self.file.seek(self.start + self.at)
            while left and (more := self.file.read(left)):  # a file object may give less at a time
                content, left = content + more if content else more, left - len(more)
        except Exception as error:
            self.error = error
        self.at += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        """As of a file."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


@dataclass(frozen=True)
class Part:
    """A recording within a file, from byte `start` to byte `end`.

    `demuxer` is ffmpeg's name of its format where libsndfile would not read it to its end; `duration` (s) is counted where no header
    says it.
    """

    start: int
    end: int
    demuxer: str | None = None
    duration: float | None = None


@dataclass(frozen=True)
class Claim:
    """What a header claims and what the file holds, in words."""

    claimed: str
    held: str


@dataclass(frozen=True)
class Structure:
    """The recordings in a file, one after another (nearly always one), and a claim where more is claimed than held."""

    parts: tuple[Part, ...]
    claim: Claim | None = None


def look(file: View) -> Structure:
    """Walk a file's chunks, pages or frames. Whatever is not known here is one part that claims nothing."""
    window = _Window(file)
    start = window(0, 16)
    if start[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return _riff(window)
    if start[:4] == b"OggS":
        return _ogg(window)
    if start[:3] == b"ID3" or (len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0 and start[1] & 0x06):
        return _mp3(window)
    return Structure((Part(0, window.end),), _au(window) or _sized(window))


class _Window:
    """Bytes of a file at any place, through a buffer: looking takes little memory."""

    def __init__(self, file: View, size: int = 1 << 17):
        self.file, self.size, self.end = file, size, file.size
        self.at, self.content = 0, b""

    def __call__(self, at: int, length: int) -> bytes:
        """The bytes at this place; fewer where the file ends."""
        begin = at - self.at
        if begin < 0 or begin + length > len(self.content):
            self.file.seek(at)
            self.at, self.content, begin = at, self.file.read(max(length, self.size)), 0
        return self.content[begin : begin + length]

    def number(self, at: int, form: str) -> Any:
        """The number at this place; 0 where the file ends before it."""
        content = self(at, struct.calcsize(form))
        return struct.unpack(form, content)[0] if len(content) == struct.calcsize(form) else 0


def _claim(length: int, held: int, bytes_a_second: int = 0) -> Claim | None:
    """A few bytes too many are a writer's slip (the header counted in, a byte of padding), and less than the shortest recording."""
    if length <= held + max(64 if bytes_a_second else 1024, bytes_a_second // 40):
        return None
    if bytes_a_second:
        return Claim(f"{length / bytes_a_second:.2f} s", f"{held / bytes_a_second:.2f} s")
    return Claim(f"{length} bytes", f"{held} bytes")


def _chunks(
    window: _Window, at: int, form: str, align: int = 2, counts_itself: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of the content of each chunk; the headers (name, length) have this form."""
    size = struct.calcsize(form)
    while len(header := window(at, size)) == size and any(header):
        name, length = struct.unpack(form, header)
        length = max(0, length - size) if counts_itself else length
        yield name, at + size, length
        at += size + length + -length % align


def _riff(window: _Window) -> Structure:
    """All dialects of wav (RIFF, RIFX, RF64), and avi."""
    whole = Structure((Part(0, window.end),))
    order = ">" if window(0, 4) == b"RIFX" else "<"
    claimed, kind = window.number(4, order + "I"), window(8, 4)
    bytes_a_second, wide = 0, None
    for name, at, length in _chunks(window, 12, order + "4sI"):
        if name == b"fmt ":
            bytes_a_second = window.number(at + 8, order + "I")
            if window.number(at, order + "H") in (0x50, 0x55):  # mp3 in a wav
                whole = Structure((Part(0, window.end, demuxer="wav"),))
        elif name == b"ds64":  # the sizes that do not fit into 32 bits
            wide = window.number(at + 8, "<Q")
        elif (kind == b"WAVE" and name == b"data") or (
            kind == b"AVI " and name == b"LIST" and window(at, 4) == b"movi"
        ):
            # A program that wrote to a pipe could not go back to fill in the sizes: it left a stand-in, 0 or a very large number.
            if wide is not None and length == 0xFFFFFFFF:
                length, streamed = wide, wide == 0 or wide >= 1 << 62
            else:
                untold = claimed >= 0x7FFF0000 or 8 + claimed <= at
                streamed = length >= 0xFFFFFF00 or (untold and (length == 0 or length >= 0x7FFF0000))
            if (
                streamed and length == 0 and kind == b"WAVE" and order == "<" and window.end > at
            ):  # ffmpeg reads all wav as little-endian
                return Structure((Part(0, window.end, demuxer="wav"),))
            return whole if streamed else Structure(whole.parts, _claim(length, window.end - at, bytes_a_second))
    return whole


def _au(window: _Window) -> Claim | None:
    order = {b".snd": ">", b"dns.": "<"}.get(window(0, 4))
    if order is None:
        return None
    offset, length = window.number(4, order + "I"), window.number(8, order + "I")
    return None if length >= 0xFFFFFF00 else _claim(length, window.end - offset)


W64, W64_DATA = bytes.fromhex("726966662e91cf11a5d628db04c10000"), bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
ASF, ASF_DATA = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def _sized(window: _Window) -> Claim | None:
    """Formats of chunks, one of which is the sound (aiff, caf, w64, wma): is it there as long as it says?"""
    for magic, first, form, align, counts_itself, sound in (
        (b"FORM", 12, ">4sI", 2, False, b"SSND"),
        (b"caff", 8, ">4sQ", 1, False, b"data"),
        (W64, 40, "<16sQ", 8, True, W64_DATA),
        (ASF, 0, "<16sQ", 1, True, ASF_DATA),
    ):
        if window(0, len(magic)) == magic:
            untold = 0x7FFF0000 if form == ">4sI" else 1 << 62
            for name, at, length in _chunks(window, first, form, align, counts_itself):
                if name == sound:
                    return None if length >= untold else _claim(length, window.end - at)
    return None


def _ogg(window: _Window) -> Structure:
    """Walk the pages: one that goes past the end means that the end is missing; in a chained file, each stream is a part."""
    at, starts, heading = 0, [0], True
    while window(at, 4) == b"OggS":
        header = window(at, 27)
        table = window(at + 27, header[26]) if len(header) == 27 else b""
        after = at + 27 + (header[26] if len(header) == 27 else 0) + sum(table)
        if after > window.end:
            return Structure((Part(0, window.end),), Claim(f"{after} bytes or more", f"{window.end} bytes"))
        begins = bool(header[5] & 2)
        if begins and not heading:
            starts.append(at)
        heading, at = begins, after
    return Structure(tuple(Part(start, end) for start, end in zip(starts, [*starts[1:], window.end], strict=True)))


def matroska_duration(file: View) -> float:
    """Seconds that a matroska or webm file claims in its header; 0 where it does not say (it was recorded to a pipe)."""
    window = _Window(file, 1 << 12)
    at, nanoseconds = 0, 1_000_000
    while first := window(at, 1):
        id_size = 9 - first[0].bit_length()
        size_size = 9 - (window(at + id_size, 1) or b"\0")[0].bit_length()
        if id_size > 4 or size_size > 8:
            return 0.0
        element, content = window(at, id_size), at + id_size + size_size
        length = int.from_bytes(window(at + id_size, size_size), "big") & (1 << 7 * size_size) - 1
        if element == b"\x44\x89":
            return window.number(content, ">d" if length == 8 else ">f") * nanoseconds / 1e9
        if element == b"\x2a\xd7\xb1":
            nanoseconds = int.from_bytes(window(content, min(length, 8)), "big")
        if element == b"\x1f\x43\xb6\x75":  # the first cluster of sound
            return 0.0
        inside = element in (b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66")  # segment, info: what is wanted lies in them
        at = content if inside else content + length
    return 0.0


# https://www.codeproject.com/Articles/8295/MPEG-Audio-Frame-Header; layers II and III
BITRATES = {  # kbit/s by (MPEG 1, layer)
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # MPEG 1, 2, 2.5


class _Frame(NamedTuple):
    length: int
    """Bytes."""
    samples: int
    kind: tuple[int, int, int]
    """Version, layer and sampling rate: the same in all frames of a recording."""
    tag: int
    """Where in a first frame a Xing or Info header stands."""

    @property
    def rate(self) -> int:
        return self.kind[2]


@lru_cache(4096)
def _frame(header: bytes) -> _Frame | None:
    """Read the four bytes that an MPEG frame begins with; None if they are not such."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer not in (2, 3) or bitrate in (0, 15) or rate == 3:
        return None
    kilobits, hertz = BITRATES[version == 3, layer][bitrate - 1], RATES[version][rate]
    samples = 1152 if version == 3 or layer == 2 else 576
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(samples // 8 * kilobits * 1000 // hertz + padding, samples, (version, layer, hertz), 4 + side)


def _chain(window: _Window, at: int) -> bool:
    """Do three frames of a kind follow each other here? Bytes that look like one are found in any data."""
    first = _frame(window(at, 4))
    for _ in range(2):
        frame = _frame(window(at, 4))
        if first is None or frame is None or frame.kind != first.kind:
            return False
        at += frame.length
    last = _frame(window(at, 4))
    return first is not None and last is not None and last.kind == first.kind


def _past_tags(window: _Window, at: int) -> int:
    while True:
        if window(at, 3) == b"ID3":  # sizes of 7 bits a byte
            at += 10 + sum(
                (byte & 0x7F) << shift for byte, shift in zip(window(at + 6, 4), (21, 14, 7, 0), strict=False)
            )
        elif window(at, 8) == b"APETAGEX":
            at += 32 + window.number(at + 12, "<I")
        elif window(at, 3) == b"TAG":
            at += 128
        else:
            return at


@dataclass
class _Run:
    """Frames of a kind in a row, with one Xing or Info header at most."""

    start: int
    end: int = 0
    frames: int = 0
    frame: _Frame | None = None
    expected: int | None = None
    """Frames that the header counts."""
    at_expected: int = 0
    """Where they ended."""
    cut: bool = False

    def seconds(self, frames: int) -> float:
        return frames * self.frame.samples / self.frame.rate if self.frame else 0.0

    def parts(self) -> list[Part]:
        """A header that counts right goes to libsndfile, which goes by it; where there is none libsndfile stops at its guess."""
        if self.expected is None or self.frames + 1 < self.expected:
            return [Part(self.start, self.end, "mp3", self.seconds(self.frames))]
        if self.frames <= self.expected + 1:
            return [Part(self.start, self.end)]
        rest = self.seconds(self.frames - self.expected)
        return [Part(self.start, self.at_expected), Part(self.at_expected, self.end, "mp3", rest)]


def _has_header(window: _Window, at: int, frame: _Frame) -> bool:
    return window(at + frame.tag, 4) in (b"Xing", b"Info") and window.number(at + frame.tag + 4, ">I") < 16


def _run(window: _Window, at: int) -> _Run:
    run = _Run(at)
    run.frame = first = _frame(window(at, 4))
    if first is not None and at + first.length <= window.end and _has_header(window, at, first):
        flags, count = window.number(at + first.tag + 4, ">I"), window.number(at + first.tag + 8, ">I")
        run.expected = count if flags & 1 and count else None
        at += first.length
    while True:
        frame = _frame(window(at, 4))
        if first is None or frame is None or frame.kind != first.kind:
            after = _past_tags(window, at)
            if after == at or not _continues(window, after, run):
                break
            at = after
            continue
        if at + frame.length > window.end:
            run.cut = True
            break
        if run.frames and _has_header(window, at, frame):
            break
        run.frames += 1
        at += frame.length
        if run.frames == run.expected:
            run.at_expected = at
    run.end = at
    return run


def _continues(window: _Window, at: int, run: _Run) -> bool:
    """Are the frames behind a tag the same recording, or another one?"""
    frame = _frame(window(at, 4))
    if (
        run.frame is None
        or frame is None
        or frame.kind != run.frame.kind
        or not _chain(window, at)
        or _has_header(window, at, frame)
    ):
        return False
    return run.expected is None or run.frames < run.expected


def _next(window: _Window, at: int) -> int | None:
    """Where the next frames stand: behind tags, or a stretch of junk."""
    start = _past_tags(window, at)
    places = (match.start() for match in re.finditer(b"\xff", window(start, SYNC_LIMIT)))
    return next((start + place for place in places if _chain(window, start + place)), None)


def _mp3(window: _Window) -> Structure:
    """Walk the frames: a last one that is not whole, or fewer than a Xing header counts, mean that the end is missing."""
    start, runs = _past_tags(window, 0), list[_Run]()
    at = start if _frame(window(start, 4)) else _next(window, start)
    while at is not None:
        runs.append(_run(window, at))
        at = None if runs[-1].cut else _next(window, runs[-1].end)
    if not runs:
        return Structure((Part(0, window.end),))
    runs[0].start, last = 0, runs[-1]
    parts = [part for run in runs for part in run.parts()]
    known = window.end - _past_tags(window, last.end) < SYNC_LIMIT  # else there may be sound in what follows
    if not known:
        parts[-1] = replace(parts[-1], end=window.end, duration=None)
    total, counted = sum(run.frames for run in runs), max(run.expected or 0 for run in runs)
    held, claim = sum(run.seconds(run.frames) for run in runs), None
    if last.cut and not (last.expected and last.frames >= last.expected):
        claimed = f"{last.seconds(counted):.2f} s" if counted > total else "whole frames"
        claim = Claim(claimed, f"{held:.2f} s and a part of a frame")
    elif total + 1 < counted:
        claim = Claim(f"{last.seconds(counted):.2f} s", f"{held:.2f} s")
    return Structure(tuple(parts), claim)
