"""Files whose header claims more than they hold: decoders pass over it in silence, so it is looked for here."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Claim:
    """What a header claims and what the file holds, in words."""

    claimed: str
    held: str


def claimed_and_held(file: BinaryIO) -> Claim | None:
    """Look at a wav's or mp3's structure; None where claim and content agree, or for any other format."""
    file.seek(0)
    start = file.read(12)
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        return _wav(file, struct.unpack("<I", start[4:8])[0])
    if start[:3] == b"ID3" or (len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0):
        return _mp3(file)
    return None


def _wav(file: BinaryIO, riff_size: int) -> Claim | None:
    size = file.seek(0, io.SEEK_END)
    at, bytes_a_second = 12, 0
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"fmt ":
            bytes_a_second = struct.unpack("<I", file.read(12)[8:12])[0]
        if name == b"data":
            held = size - at - 8
            # A program that wrote to a pipe could not go back to fill in the sizes: it left a stand-in in both of them.
            streamed = riff_size in (0, 0xFFFFFFFF) or riff_size >= 0x7FFF0000
            if length <= held + 1 or (streamed and length >= 0x7FFF0000):
                return None
            if bytes_a_second:
                return Claim(f"{length / bytes_a_second:.2f} s", f"{held / bytes_a_second:.2f} s")
            return Claim(f"{length} bytes", f"{held} bytes")
        at += 8 + length + length % 2
    return None


# https://www.codeproject.com/Articles/8295/MPEG-Audio-Frame-Header; layer III only, as everybody means by mp3
BITRATES = {  # kbit/s
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # MPEG 1, 2, 2.5


def _frame(header: bytes) -> tuple[int, int, int] | None:
    """Length in bytes, samples, sampling rate of an MPEG layer III frame; None if this is no header of one."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    kilobits, hertz = BITRATES[1 if version == 3 else 2][bitrate], RATES[version][rate]
    samples = 1152 if version == 3 else 576
    return samples // 8 * kilobits * 1000 // hertz + padding, samples, hertz


def _mp3(file: BinaryIO) -> Claim | None:
    """Walk the frames: a last one that is not whole, or fewer than the Xing header counts, mean that the end is missing."""
    file.seek(0)
    content = file.read()
    at, end = 0, len(content)
    while content[at : at + 3] == b"ID3" and at + 10 <= end:  # sizes of 7 bits a byte
        at += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(content[at + 6 : at + 10], (21, 14, 7, 0), strict=True))
    while at < end and _frame(content[at : at + 4]) is None and at < 65536 + 10:
        at += 1
    frames, expected, samples, rate = 0, None, 1152, 44100
    while (frame := _frame(content[at : at + 4])) is not None:
        length, samples, rate = frame
        if at + length > end:
            held = frames * samples / rate
            claimed = f"{expected * samples / rate:.2f} s" if expected else "whole frames"
            return Claim(claimed, f"{held:.2f} s and a part of a frame")
        if frames == 0 and expected is None:
            tag = max(content.find(b"Xing", at, at + 200), content.find(b"Info", at, at + 200))
            if tag > 0:
                flags = int.from_bytes(content[tag + 4 : tag + 8], "big")
                expected = int.from_bytes(content[tag + 8 : tag + 12], "big") if flags & 1 else None
                at += length
                continue
        frames += 1
        at += length
    if expected is not None and frames + 1 < expected:
        return Claim(f"{expected * samples / rate:.2f} s", f"{frames * samples / rate:.2f} s")
    return None
