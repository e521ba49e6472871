"""Decodes files, bytes and arrays to pieces of float32, at their own sampling rate and with their own channels.

libsndfile decodes the formats that it knows (wav, flac, mp3, ogg). PyAV, whose wheel includes ffmpeg's libraries,
decodes the others (m4a, webm, mp4, ...). Only Python packages are needed. `integrity.py` checks files first, because
decoders trust their headers.
"""

from __future__ import annotations

import io
import itertools
import math
import numbers
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from multimodal_ser.audio.integrity import Part, View, inspect_structure, matroska_duration
from multimodal_ser.errors import InputError

AudioInput = str | os.PathLike | bytes | BinaryIO | np.ndarray | Mapping[str, Any] | Any
"""A path, encoded bytes, a binary file object, an array or tensor (with its sampling rate), or an audio dict."""

FORMS = (
    "a path, bytes, a binary file object, an array or tensor with sampling_rate, "
    "or a dict with 'array' and 'sampling_rate', 'bytes' or 'path'"
)

DEMUXERS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,rm,tta,w64,wav,wv"
"""The formats that PyAV may detect: containers of sound, but no playlists, which name other files."""

UNKNOWN = 1 << 60
"""A count of frames of this size or more means that the length is unknown (libsndfile reports 2^63 - 1)."""

PIECE = 1 << 19
"""The number of samples of all channels that are decoded at once."""

FORMATS_WITH_LENGTH = {"mov,mp4,m4a,3gp,3g2,mj2", "ape", "caf", "tta", "wv"}
"""ffmpeg's names of formats with their length in the header; for others ffmpeg guesses it, often wrongly."""


class AudioError(InputError):
    """A recording cannot be used; the message has the expected and the actual input, and a remedy."""


class AudioNotFoundError(AudioError, FileNotFoundError):
    """The file of a recording does not exist."""


def is_file(audio: Any) -> bool:
    """Whether an input is a file object."""
    return hasattr(audio, "read") and not isinstance(audio, np.ndarray)


def is_seekable(file: Any) -> bool:
    """Whether a file object can be read twice."""
    try:
        return bool(file.seekable()) and file.tell() >= 0
    except (AttributeError, OSError, ValueError):  # the file has no such method, or is closed
        return False


def _source(audio: AudioInput) -> tuple[str | bytes | BinaryIO | np.ndarray, str]:
    """The input to decode, and its name in errors."""
    if isinstance(audio, Mapping):
        path = audio.get("path")
        if audio.get("array") is not None:
            return _source(audio["array"])[0], str(path or "array")
        if audio.get("bytes") is not None:
            return bytes(audio["bytes"]), str(path or "bytes")
        if path is not None:
            return _source(path)
        raise AudioError(
            "audio", expected=FORMS, got=f"a dict with {sorted(map(str, audio))}", remedy="give one of these"
        )
    if isinstance(audio, str | os.PathLike):
        path = os.fspath(audio)
        return (path if isinstance(path, str) else os.fsdecode(path)), str(path)
    if isinstance(audio, bytes | bytearray | memoryview):
        return bytes(audio), "bytes"
    if isinstance(audio, np.ndarray):
        return audio, "array"
    if hasattr(audio, "detach") and hasattr(audio, "numpy"):  # a tensor; torch is not imported to check it
        tensor = audio.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy(), "tensor"
    if hasattr(audio, "get_all_samples"):  # a decoder of `datasets` with torchcodec
        return audio.get_all_samples().data.numpy(), "audio decoder"
    if is_file(audio):
        return audio, str(getattr(audio, "name", None) or "file object")
    raise AudioError("audio", expected=FORMS, got=f"{type(audio).__name__}", remedy="give one of these")


def _valid_rate(rate: Any, name: str) -> int:
    if (
        isinstance(rate, bool)
        or not isinstance(rate, numbers.Real)
        or not math.isfinite(rate)
        or not float(rate).is_integer()
        or not 1000 <= float(rate) <= 768_000
    ):
        got = "none" if rate is None else f"{rate!r} ({type(rate).__name__})"
        raise AudioError(
            name,
            expected="sampling_rate, a whole number of Hz from 1000 to 768000",
            got=got,
            remedy="say at which rate the array was recorded",
        )
    return int(float(rate))


@contextmanager
def _one_line_errors(name: str, *views: View) -> Iterator[None]:
    """Turn errors of files and decoders into an error of one line."""
    try:
        yield
        error: Exception | None = None
    except (
        InputError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        EOFError,
        struct.error,
    ) as exception:
        error = exception
    error = next((view.error for view in views if view.error is not None), error)
    if isinstance(error, InputError):
        raise error
    if error is not None:
        got = f"one that fails ({' '.join(f'{type(error).__name__}: {error}'.split())})"
        raise AudioError(
            name, expected="a recording that can be read", got=got, remedy="get it again, or convert it to wav"
        ) from error


@contextmanager
def _opened(source: str | bytes | BinaryIO, name: str) -> Iterator[View]:
    """Open a file that starts at the recording, and can be read twice."""
    with ExitStack() as stack:
        if isinstance(source, str):
            remedy = "check the path"
            if not os.path.exists(source):
                raise AudioNotFoundError(name, expected="an audio file", got="no such file", remedy=remedy)
            if os.path.isdir(source):
                raise AudioError(name, expected="an audio file", got="a directory", remedy="name the files in it")
            try:
                source = stack.enter_context(open(source, "rb"))
            except OSError as error:
                raise AudioError(
                    name,
                    expected="an audio file",
                    got=f"one that cannot be read ({error.strerror})",
                    remedy="check its permissions",
                ) from error
        if not isinstance(source, bytes) and not isinstance(source.read(0), bytes):
            raise AudioError(
                name, expected="a binary file object", got="one that gives text", remedy='open it with mode "rb"'
            )
        if not isinstance(source, bytes) and not is_seekable(source):  # a pipe
            source = source.read()
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        view = View(file, file.tell())
        if view.size <= 0:
            raise AudioError(name, expected="an audio file", got="an empty file", remedy="record or download it again")
        yield view


@dataclass(frozen=True)
class Recording:
    """A recording that is decoded."""

    name: str
    rate: int
    pieces: Iterator[np.ndarray]
    """float32 (S, C) at `rate`."""
    duration: float | None = None
    """The exact length in s, if it is known before decoding."""


@contextmanager
def opened_recording(audio: AudioInput, sampling_rate: Any, max_duration: float) -> Iterator[Recording]:
    """Open and check a recording; its pieces are decoded when they are requested.

    Args:
        audio: see `audio.load_audio`.
        sampling_rate: sampling rate of an array, Hz.
        max_duration: the longest recording that is accepted, s.

    Raises:
        AudioError: see `audio.load_audio`; errors within the recording are raised by its pieces.
    """
    source, name = _source(audio)
    if isinstance(source, np.ndarray):
        array_rate = audio.get("sampling_rate", sampling_rate) if isinstance(audio, Mapping) else sampling_rate
        if hasattr(audio, "get_all_samples"):
            array_rate = audio.get_all_samples().sample_rate
        samples = _from_array(source, name)
        rate = _valid_rate(array_rate, name)
        yield Recording(name, rate, _scaled(samples), len(samples) / rate)
        return
    if sampling_rate is not None:
        _valid_rate(sampling_rate, name)
    with ExitStack() as stack:
        with _one_line_errors(name):
            file = stack.enter_context(_opened(source, name))
        with _one_line_errors(name, file):
            structure = inspect_structure(file)
        if structure.claim is not None:
            raise _shorter(name, structure.claim.expected, structure.claim.actual)
        recording = _decoded(file, structure.parts[0], name, max_duration, stack)
        if len(structure.parts) > 1:
            recording = Recording(name, recording.rate, _joined(recording, file, structure.parts[1:], max_duration))
        yield recording


def _joined(first: Recording, file: View, parts: tuple[Part, ...], max_duration: float) -> Iterator[np.ndarray]:
    """Join the recordings of one file, at the sampling rate of the first."""
    yield from first.pieces
    for part in parts:
        with ExitStack() as stack:
            recording = _decoded(file, part, first.name, max_duration, stack)
            yield from resampled(_one_width(recording.pieces), recording.rate, first.rate)


def _decoded(file: View, part: Part, name: str, max_duration: float, stack: ExitStack) -> Recording:
    """Open a part of a file with libsndfile, or with ffmpeg if libsndfile cannot read it; the stack closes it."""
    import soundfile as sf

    view = file.part(part.start, part.end)
    with _one_line_errors(name, view):
        decoder = None
        if part.demuxer is None:
            try:
                decoder = stack.enter_context(sf.SoundFile(view))  # type: ignore[arg-type]
            except sf.LibsndfileError:
                view.seek(0)
        recording = (
            _with_av(view, name, part, max_duration, stack) if decoder is None else _with_soundfile(decoder, name)
        )
    if recording.duration is not None:
        _not_longer(recording.duration, name, max_duration)
    return Recording(name, recording.rate, _guarded(recording.pieces, name, view), recording.duration)


def _guarded(pieces: Iterator[np.ndarray], name: str, view: View) -> Iterator[np.ndarray]:
    while True:
        with _one_line_errors(name, view):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim not in (1, 2) or array.size == 0:
        raise AudioError(
            name,
            expected="samples (S,), (C, S) or (S, C)",
            got=f"shape {array.shape}",
            remedy="give one recording at a time",
        )
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] < array.shape[1]:
        array = array.T
    kind = array.dtype
    if kind.kind not in "fi" and kind != np.uint8:
        raise AudioError(
            name, expected="floating-point, uint8 or signed integer samples", got=f"{kind}", remedy="convert them"
        )
    if kind == np.int64 and max(int(array.max()), -int(array.min())) > 1 << 31:
        raise AudioError(
            name,
            expected="int64 samples in the range of int16 or int32",
            got="larger ones",
            remedy="scale them to -1 to 1",
        )
    return array


def _scaled(array: np.ndarray) -> Iterator[np.ndarray]:
    """Scale samples (S, C) of any type to pieces (S, C) of float32."""
    zero, scale = (128, 128.0) if array.dtype == np.uint8 else (0, 1.0)
    if array.dtype == np.int64:
        scale = 32768.0 if max(int(array.max()), -int(array.min())) <= 1 << 15 else 2.0**31
    elif array.dtype.kind == "i":
        scale = -float(np.iinfo(array.dtype).min)
    step = max(1, PIECE // array.shape[1])
    for at in range(0, len(array), step):
        piece = array[at : at + step]
        with np.errstate(over="ignore"):  # infinity is reported later
            piece = (piece if array.dtype.kind == "f" else (piece - float(zero)) / scale).astype(np.float32)
        yield piece


def _with_soundfile(decoder: Any, name: str) -> Recording:
    header_duration = decoder.frames / decoder.samplerate if decoder.frames < UNKNOWN else None
    # soundfile seeks after each read, which is inexact in an mp3, and impossible in a FLAC that was written to a pipe.
    decoder.seekable = lambda: False
    size = max(1, PIECE // decoder.channels)

    def pieces() -> Iterator[np.ndarray]:
        import soundfile as sf

        frames = 0
        try:
            while len(piece := decoder.read(size, dtype="float32", always_2d=True)):
                frames += len(piece)
                yield piece
        except sf.LibsndfileError as error:
            raise _damaged(name, decoder.tell() / decoder.samplerate, error.error_string.strip()) from error
        # the frames of an mp3 have been checked before
        if (
            header_duration is not None
            and decoder.format != "MP3"
            and header_duration - frames / decoder.samplerate > 0.1
        ):
            raise _shorter(name, f"{header_duration:.2f} s", f"{frames / decoder.samplerate:.2f} s")

    return Recording(name, decoder.samplerate, pieces(), header_duration)


def _damaged(name: str, seconds: float, why: str | None) -> AudioError:
    got = f"{seconds:.2f} s, then damaged data ({why})"
    return AudioError(name, expected="a recording that can be decoded to its end", got=got, remedy="get it again")


def _shorter(name: str, length: str, actual: str) -> AudioError:
    return AudioError(
        name,
        expected=f"{length}, as its header claims",
        got=actual,
        remedy="the file is cut off or damaged: get it again",
    )


def _with_av(view: View, name: str, part: Part, max_duration: float, stack: ExitStack) -> Recording:
    import av

    def not_audio(got: str) -> AudioError:
        remedy = "check that this is a recording, or convert it to wav"
        return AudioError(name, expected="audio (wav, flac, mp3, ogg, m4a, webm, ...)", got=got, remedy=remedy)

    view.name = name  # the ending is a hint for ffmpeg
    try:
        container = stack.enter_context(av.open(view, format=part.demuxer, options={"format_whitelist": DEMUXERS}))
    except (av.FFmpegError, ValueError) as error:
        raise not_audio(f"something else ({getattr(error, 'strerror', None) or error})") from error
    if not container.streams.audio:
        raise not_audio("a file without an audio track")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise not_audio("an audio track in a codec that is not known")
    rate = stream.codec_context.sample_rate
    if not rate:
        raise not_audio("an audio track that says no sampling rate")
    header_duration = part.duration or 0.0
    if container.format.name in FORMATS_WITH_LENGTH and stream.duration and stream.time_base:
        header_duration = float(stream.duration * stream.time_base)
    elif container.format.name == "matroska,webm" and not container.streams.video:  # the length of the whole file
        header_duration = matroska_duration(view.part(0, view.size))
    _not_longer(header_duration, name, max_duration)

    def frames() -> Iterator[Any]:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.InvalidDataError:
                # a bad frame of an mp3 is skipped as by libsndfile; too many make the recording too short
                if part.demuxer is None:
                    raise

    def pieces() -> Iterator[np.ndarray]:
        samples = 0
        format_of_resampler = None
        resampler: Any = None
        try:
            for frame in itertools.chain(frames(), [None]):
                converted = []
                format_of_frame = None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
                # at the end, and if a stream changes between mono and stereo or changes its rate
                if resampler is not None and format_of_frame != format_of_resampler:
                    converted += resampler.resample(None)
                if frame is not None:
                    if format_of_frame != format_of_resampler:
                        resampler = av.AudioResampler(format="fltp", rate=rate)
                        format_of_resampler = format_of_frame
                    converted += resampler.resample(frame)
                for piece in converted:
                    samples += piece.samples
                    yield piece.to_ndarray().T
        except av.FFmpegError as error:
            raise _damaged(name, samples / rate, error.strerror) from error
        if samples / rate < header_duration - max(0.25, 0.02 * header_duration):
            raise _shorter(name, f"{header_duration:.2f} s", f"{samples / rate:.2f} s")

    return Recording(name, rate, pieces(), part.duration)


def _not_longer(duration: float, name: str, max_duration: float) -> None:
    if duration > max_duration:
        raise AudioError(
            name,
            expected=f"at most {max_duration:g} s",
            got=f"{duration:.0f} s",
            remedy="raise max_duration, or cut the recording",
        )


def _one_width(pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Give all pieces the channels of the first, because some streams change between mono and stereo."""
    width = 0
    for piece in pieces:
        width = width or piece.shape[1]
        yield (
            piece
            if piece.shape[1] == width
            else np.repeat(piece.mean(axis=1, dtype=np.float32, keepdims=True), width, axis=1)
        )


def checked(recording: Recording, max_duration: float) -> Iterator[np.ndarray]:
    """Check the pieces (S, C) of a recording, and give all the channels of the first.

    Raises:
        AudioError: the recording has NaN or infinity or damaged data, or is longer than `max_duration`.
    """
    name = recording.name
    rate = recording.rate
    frames = 0
    for piece in _one_width(recording.pieces):
        if not np.isfinite(piece).all():
            at = frames + int(np.argmin(np.isfinite(piece).all(axis=1)))
            raise AudioError(
                name,
                expected="finite samples",
                got=f"NaN or infinity at {at / rate:.3f} s",
                remedy="find out what wrote them; numpy.nan_to_num hides them",
            )
        frames += len(piece)
        _not_longer(frames / rate, name, max_duration)
        yield piece


def resampled(pieces: Iterator[np.ndarray], rate: int, to: int) -> Iterator[np.ndarray]:
    """Resample pieces (S, C); the result does not depend on the limits of the pieces."""
    if rate == to:
        yield from pieces
        return
    import soxr

    stream = None
    width = 0
    for piece in pieces:
        if stream is None:
            width = piece.shape[1]
            stream = soxr.ResampleStream(rate, to, width, dtype="float32", quality="HQ")
        result = stream.resample_chunk(np.ascontiguousarray(piece))
        if len(result):
            yield result
    if stream is not None:
        result = stream.resample_chunk(np.zeros((0, width), np.float32), last=True)
        if len(result):
            yield result
