"""Checks the structure of files for problems that decoders ignore: missing ends, and several recordings in one file."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

SYNC_LIMIT = 65536
"""The most bytes that are searched for the next frame of an mp3; decoders have the same limit."""


class View:
    """A range of bytes in a file, with the methods of a file.

    A view has no name, because soundfile reads every file named *.raw as samples without a header. It seeks before each
    read, so that several views can share a file. If a read fails, the view stores the error and ends, because decoders
    call it from C, where exceptions are lost.
    """

    name: str

    def __init__(self, file: Any, start: int = 0, end: int | None = None):
        self.file = file
        self.start = start
        self.at = 0
        self.end = file.seek(0, io.SEEK_END) if end is None else end
        self.error: Exception | None = None

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.end - self.start

    def part(self, start: int, end: int) -> View:
        """A view of a range of this view."""
        return View(self.file, self.start + start, self.start + end)

    def seekable(self) -> bool:
        """Always true: other files are read into memory before."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move like a file."""
        self.at = max(0, offset + (0, self.at, self.size)[whence])
        return self.at

    def read(self, size: int = -1) -> bytes:
        """Read like a file; fewer bytes than requested only at the end."""
        remaining = self.size - self.at
        remaining = max(0, remaining if size < 0 else min(size, remaining))
        content = b""
        try:
            if remaining:
                self.file.seek(self.start + self.at)
            while remaining and (more := self.file.read(remaining)):  # a file object may return fewer bytes
                content = content + more if content else more
                remaining -= len(more)
        except Exception as error:
            self.error = error
        self.at += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer like a file."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


@dataclass(frozen=True)
class Part:
    """A recording within a file, from byte `start` to byte `end`.

    `demuxer` is ffmpeg's name of the format if libsndfile would not read it to its end. `duration`, in s, is counted if
    no header has it.
    """

    start: int
    end: int
    demuxer: str | None = None
    duration: float | None = None


@dataclass(frozen=True)
class Claim:
    """The length in a header, and the actual length of the file, as texts for messages."""

    expected: str
    actual: str


@dataclass(frozen=True)
class Structure:
    """The recordings in a file (nearly always one), and a claim if the header has a longer length than the file."""

    parts: tuple[Part, ...]
    claim: Claim | None = None


def inspect_structure(file: View) -> Structure:
    """Check the chunks, pages or frames of a file. A file of an unknown format is one part without a claim."""
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
    """Bytes of a file at any place, read through a buffer to save memory."""

    def __init__(self, file: View, size: int = 1 << 17):
        self.file = file
        self.size = size
        self.end = file.size
        self.at = 0
        self.content = b""

    def __call__(self, at: int, length: int) -> bytes:
        """The bytes at a place; fewer at the end of the file."""
        begin = at - self.at
        if begin < 0 or begin + length > len(self.content):
            self.file.seek(at)
            self.at = at
            self.content = self.file.read(max(length, self.size))
            begin = 0
        return self.content[begin : begin + length]

    def number(self, at: int, form: str) -> Any:
        """The number at a place; 0 if the file ends before it."""
        content = self(at, struct.calcsize(form))
        return struct.unpack(form, content)[0] if len(content) == struct.calcsize(form) else 0


def _claim(length: int, actual: int, bytes_a_second: int = 0) -> Claim | None:
    """A claim if the length is clearly larger than `actual`, both in bytes.

    Small differences are errors of writers, such as the header or a byte of padding; they are shorter than any
    recording.
    """
    if length <= actual + max(64 if bytes_a_second else 1024, bytes_a_second // 40):
        return None
    if bytes_a_second:
        return Claim(f"{length / bytes_a_second:.2f} s", f"{actual / bytes_a_second:.2f} s")
    return Claim(f"{length} bytes", f"{actual} bytes")


def _chunks(
    window: _Window, at: int, form: str, align: int = 2, counts_itself: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """The name of each chunk, and the place and length of its content; `form` is the format of the headers."""
    size = struct.calcsize(form)
    while len(header := window(at, size)) == size and any(header):
        name, length = struct.unpack(form, header)
        length = max(0, length - size) if counts_itself else length
        yield name, at + size, length
        at += size + length + -length % align


def _riff(window: _Window) -> Structure:
    """Check all kinds of wav (RIFF, RIFX, RF64), and avi."""
    default = Structure((Part(0, window.end),))
    order = ">" if window(0, 4) == b"RIFX" else "<"
    file_length = window.number(4, order + "I")
    kind = window(8, 4)
    bytes_a_second = 0
    wide = None
    for name, at, length in _chunks(window, 12, order + "4sI"):
        if name == b"fmt ":
            bytes_a_second = window.number(at + 8, order + "I")
            if window.number(at, order + "H") in (0x50, 0x55):  # mp3 in a wav
                default = Structure((Part(0, window.end, demuxer="wav"),))
        elif name == b"ds64":  # the sizes that do not fit into 32 bits
            wide = window.number(at + 8, "<Q")
        elif (kind == b"WAVE" and name == b"data") or (
            kind == b"AVI " and name == b"LIST" and window(at, 4) == b"movi"
        ):
            # A program that writes to a pipe cannot go back to fill in the sizes: it leaves 0 or a very large number.
            if wide is not None and length == 0xFFFFFFFF:
                length = wide
                streamed = wide == 0 or wide >= 1 << 62
            else:
                unknown_length = file_length >= 0x7FFF0000 or 8 + file_length <= at
                streamed = length >= 0xFFFFFF00 or (unknown_length and (length == 0 or length >= 0x7FFF0000))
            # ffmpeg reads all wav as little-endian
            if streamed and length == 0 and kind == b"WAVE" and order == "<" and window.end > at:
                return Structure((Part(0, window.end, demuxer="wav"),))
            return default if streamed else Structure(default.parts, _claim(length, window.end - at, bytes_a_second))
    return default


def _au(window: _Window) -> Claim | None:
    order = {b".snd": ">", b"dns.": "<"}.get(window(0, 4))
    if order is None:
        return None
    offset = window.number(4, order + "I")
    length = window.number(8, order + "I")
    return None if length >= 0xFFFFFF00 else _claim(length, window.end - offset)


W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def _sized(window: _Window) -> Claim | None:
    """Check formats with a chunk of sound (aiff, caf, w64, wma): a claim if the file ends before this chunk."""
    for magic, first, form, align, counts_itself, sound in (
        (b"FORM", 12, ">4sI", 2, False, b"SSND"),
        (b"caff", 8, ">4sQ", 1, False, b"data"),
        (W64, 40, "<16sQ", 8, True, W64_DATA),
        (ASF, 0, "<16sQ", 1, True, ASF_DATA),
    ):
        if window(0, len(magic)) == magic:
            unknown_length = 0x7FFF0000 if form == ">4sI" else 1 << 62
            for name, at, length in _chunks(window, first, form, align, counts_itself):
                if name == sound:
                    return None if length >= unknown_length else _claim(length, window.end - at)
    return None


def _ogg(window: _Window) -> Structure:
    """Check the pages: if the last page is incomplete, the end is missing; each stream of a chained file is a part."""
    at = 0
    starts = [0]
    heading = True
    while window(at, 4) == b"OggS":
        header = window(at, 27)
        table = window(at + 27, header[26]) if len(header) == 27 else b""
        after = at + 27 + (header[26] if len(header) == 27 else 0) + sum(table)
        if after > window.end:
            return Structure((Part(0, window.end),), Claim(f"{after} bytes or more", f"{window.end} bytes"))
        begins = bool(header[5] & 2)
        if begins and not heading:
            starts.append(at)
        heading = begins
        at = after
    return Structure(tuple(Part(start, end) for start, end in zip(starts, [*starts[1:], window.end], strict=True)))


def matroska_duration(file: View) -> float:
    """The length in s in the header of a matroska or webm file; 0 if there is none, as in files written to a pipe."""
    window = _Window(file, 1 << 12)
    at = 0
    nanoseconds = 1_000_000
    while first := window(at, 1):
        id_size = 9 - first[0].bit_length()
        size_size = 9 - (window(at + id_size, 1) or b"\0")[0].bit_length()
        if id_size > 4 or size_size > 8:
            return 0.0
        element = window(at, id_size)
        content = at + id_size + size_size
        length = int.from_bytes(window(at + id_size, size_size), "big") & (1 << 7 * size_size) - 1
        if element == b"\x44\x89":
            return window.number(content, ">d" if length == 8 else ">f") * nanoseconds / 1e9
        if element == b"\x2a\xd7\xb1":
            nanoseconds = int.from_bytes(window(content, min(length, 8)), "big")
        if element == b"\x1f\x43\xb6\x75":  # the first cluster of sound
            return 0.0
        is_container = element in (b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66")  # segment and info contain the duration
        at = content if is_container else content + length
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
    """The number of bytes."""
    samples: int
    kind: tuple[int, int, int]
    """Version, layer and sampling rate: the same in all frames of a recording."""
    tag: int
    """The place of a Xing or Info header in a first frame."""

    @property
    def rate(self) -> int:
        return self.kind[2]


@lru_cache(4096)
def _frame(header: bytes) -> _Frame | None:
    """Read the first four bytes of an MPEG frame; None if they do not start a frame."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version = header[1] >> 3 & 3
    layer = 4 - (header[1] >> 1 & 3)
    bitrate = header[2] >> 4
    rate = header[2] >> 2 & 3
    padding = header[2] >> 1 & 1
    if version == 1 or layer not in (2, 3) or bitrate in (0, 15) or rate == 3:
        return None
    kilobits = BITRATES[version == 3, layer][bitrate - 1]
    hertz = RATES[version][rate]
    samples = 1152 if version == 3 or layer == 2 else 576
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(samples // 8 * kilobits * 1000 // hertz + padding, samples, (version, layer, hertz), 4 + side)


def _chain(window: _Window, at: int) -> bool:
    """Whether three frames of one kind follow each other; single frames occur by chance in any data."""
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
    """Consecutive frames of one kind, with at most one Xing or Info header."""

    start: int
    end: int = 0
    frames: int = 0
    frame: _Frame | None = None
    expected: int | None = None
    """The number of frames in the header."""
    at_expected: int = 0
    """The place after this number of frames."""
    cut: bool = False

    def seconds(self, frames: int) -> float:
        return frames * self.frame.samples / self.frame.rate if self.frame else 0.0

    def parts(self) -> list[Part]:
        """The parts of the run. libsndfile reads it if the header is right; without a header it would guess the end."""
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
        flags = window.number(at + first.tag + 4, ">I")
        count = window.number(at + first.tag + 8, ">I")
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
    """Whether the frames after a tag belong to the same recording."""
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
    """The place of the next frames, after tags or other bytes; None if there are none."""
    start = _past_tags(window, at)
    places = (match.start() for match in re.finditer(b"\xff", window(start, SYNC_LIMIT)))
    return next((start + place for place in places if _chain(window, start + place)), None)


def _mp3(window: _Window) -> Structure:
    """Check the frames: the end is missing if the last frame is incomplete, or if a Xing header counts more frames."""
    start = _past_tags(window, 0)
    runs = list[_Run]()
    at = start if _frame(window(start, 4)) else _next(window, start)
    while at is not None:
        runs.append(_run(window, at))
        at = None if runs[-1].cut else _next(window, runs[-1].end)
    if not runs:
        return Structure((Part(0, window.end),))
    runs[0].start = 0
    last = runs[-1]
    parts = [part for run in runs for part in run.parts()]
    is_complete = window.end - _past_tags(window, last.end) < SYNC_LIMIT  # else more sound may follow
    if not is_complete:
        parts[-1] = replace(parts[-1], end=window.end, duration=None)
    frames = sum(run.frames for run in runs)
    expected_frames = max(run.expected or 0 for run in runs)
    duration = sum(run.seconds(run.frames) for run in runs)
    claim = None
    if last.cut and not (last.expected and last.frames >= last.expected):
        length = f"{last.seconds(expected_frames):.2f} s" if expected_frames > frames else "whole frames"
        claim = Claim(length, f"{duration:.2f} s and a part of a frame")
    elif frames + 1 < expected_frames:
        claim = Claim(f"{last.seconds(expected_frames):.2f} s", f"{duration:.2f} s")
    return Structure(tuple(parts), claim)
