"""Audio in: any recording becomes mono (or split) float32 at 16 kHz, whole or block by block at flat memory.

libsndfile decodes what it knows (wav, flac, mp3, ogg), PyAV, whose wheel carries ffmpeg's libraries, the rest (m4a, webm, mp4, ...).
Nothing has to be installed beside Python packages.
"""

from __future__ import annotations

import io
import math
import numbers
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal

import numpy as np

from multimodal_ser.containers import claimed_and_held
from multimodal_ser.errors import InputError

SAMPLING_RATE = 16_000
"""Hz: what every part of this library works at."""

MIN_DURATION = 0.025
"""s: a frame of the models; less is no recording."""

MAX_DURATION = 4 * 3600.0
"""s: longer recordings are refused unless the caller raises this limit."""

AudioInput = str | os.PathLike | bytes | BinaryIO | np.ndarray | Mapping[str, Any] | Any
"""A path, encoded bytes, a binary file object, an array or tensor (with its sampling rate), a Hugging Face audio dict."""

Channels = Literal["mix", "split"]

FORMS = (
    "a path, bytes, a binary file object, an array or tensor with sampling_rate, "
    "or a dict with 'array' and 'sampling_rate', 'bytes' or 'path'"
)

DEMUXERS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,rm,tta,w64,wav,wv"
"""What PyAV may take a file for: containers of sound, and none that names other files (playlists)."""

UNKNOWN = 1 << 60
"""Frames from which on a header's count means that it knows none (libsndfile says 2^63 - 1)."""


class AudioError(InputError):
    """A recording that cannot be used, with what was expected, what was got, and the remedy."""


class AudioNotFoundError(AudioError, FileNotFoundError):
    """There is no such file."""


def load_audio(
    audio: AudioInput, sampling_rate: int | None = None, *, channels: Channels = "mix", max_duration: float = MAX_DURATION
) -> np.ndarray:
    """Decode a recording, resample it to 16 kHz and mix its channels.

    Args:
        audio: a path, bytes, a binary file object (read from where it stands, not closed), an array or tensor, or a Hugging Face audio dict
            ({"array", "sampling_rate"}, {"bytes"} or {"path"}). Of a two-dimensional array the shorter axis is the channels; integers are
            scaled by their range.
        sampling_rate: of an array, Hz. A file's header says its own.
        channels: "mix" for their mean, "split" to keep them.
        max_duration: longest recording that is taken, s.

    Returns:
        float32: (S,) mixed, (C, S) split.

    Raises:
        AudioError: what was given is no audio, is empty, shorter than 25 ms, longer than `max_duration`, holds NaN or infinity, or holds
            less than its header claims. `AudioNotFoundError`, also a `FileNotFoundError`, where there is no such file.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.audio import load_audio
        >>> load_audio(np.zeros((2, 48000), np.int16), sampling_rate=48000).shape
        (16000,)
    """
    blocks = list(stream_audio(audio, sampling_rate, channels=channels, max_duration=max_duration))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=-1)


def stream_audio(
    audio: AudioInput,
    sampling_rate: int | None = None,
    *,
    block_duration: float = 30.0,
    channels: Channels = "mix",
    max_duration: float = MAX_DURATION,
) -> Iterator[np.ndarray]:
    """The same signal as `load_audio` gives, block by block, at flat memory.

    Args:
        audio: see `load_audio`.
        sampling_rate: see `load_audio`.
        block_duration: s; every block but the last is this long.
        channels: see `load_audio`.
        max_duration: see `load_audio`.

    Yields:
        float32: (S,) mixed, (C, S) split.

    Raises:
        AudioError: see `load_audio`; what only shows at the end (a recording shorter than its header claims) is raised there.
    """
    if channels not in ("mix", "split"):
        raise InputError("channels", expected="'mix' or 'split'", got=repr(channels), remedy="choose one of them")
    if not block_duration > 0:
        raise InputError("block_duration", expected="a positive number of seconds", got=repr(block_duration), remedy="30 is a good one")
    with _decoder(audio, sampling_rate, max_duration) as (name, rate, pieces):
        size = round(block_duration * SAMPLING_RATE)
        waiting: list[np.ndarray] = []
        held = total = 0
        for piece in _resampled(_checked(pieces, name, rate, max_duration), rate):
            piece = piece.mean(axis=1, dtype=np.float32) if channels == "mix" else piece.T
            waiting.append(piece)
            held, total = held + piece.shape[-1], total + piece.shape[-1]
            while held > size:
                joined = np.concatenate(waiting, axis=-1)
                yield np.ascontiguousarray(joined[..., :size])
                waiting, held = [joined[..., size:]], held - size
        if total < MIN_DURATION * SAMPLING_RATE:
            got = "no sound" if total == 0 else f"{1000 * total / SAMPLING_RATE:.0f} ms"
            raise AudioError(name, expected=f"a recording of at least {1000 * MIN_DURATION:.0f} ms", got=got, remedy="record it again")
        if held:
            yield np.ascontiguousarray(np.concatenate(waiting, axis=-1))


def audio_duration(audio: AudioInput, sampling_rate: int | None = None) -> float:
    """Length of a recording in seconds: from its header where that says it, else by decoding.

    Args:
        audio: see `load_audio`. A file object stands afterwards where it stood.
        sampling_rate: of an array, Hz.

    Raises:
        AudioError: see `load_audio`.
    """
    import soundfile as sf

    file_object: Any = audio if _is_file(audio) else None
    position = file_object.tell() if file_object is not None and file_object.seekable() else None
    try:
        source, name = _source(audio)
        if not isinstance(source, np.ndarray):
            with _opened(source, name) as file:
                try:
                    with sf.SoundFile(file) as decoder:
                        if 0 < decoder.frames < UNKNOWN:
                            return decoder.frames / decoder.samplerate
                except sf.LibsndfileError:
                    pass
        if position is not None:
            file_object.seek(position)
        return sum(block.shape[-1] for block in stream_audio(audio, sampling_rate, max_duration=math.inf)) / SAMPLING_RATE
    finally:
        if position is not None:
            file_object.seek(position)


def _is_file(audio: Any) -> bool:
    return hasattr(audio, "read") and not isinstance(audio, np.ndarray)


def _source(audio: AudioInput) -> tuple[str | bytes | BinaryIO | np.ndarray, str]:
    """What to decode, and what to call it in errors."""
    if isinstance(audio, Mapping):
        path = audio.get("path")
        if audio.get("array") is not None:
            return _source(audio["array"])[0], str(path or "array")
        if audio.get("bytes") is not None:
            return bytes(audio["bytes"]), str(path or "bytes")
        if path is not None:
            return _source(path)
        raise AudioError("audio", expected=FORMS, got=f"a dict with {sorted(map(str, audio))}", remedy="give one of these")
    if isinstance(audio, str | os.PathLike):
        path = os.fspath(audio)
        return (path if isinstance(path, str) else os.fsdecode(path)), str(path)
    if isinstance(audio, bytes | bytearray | memoryview):
        return bytes(audio), "bytes"
    if isinstance(audio, np.ndarray):
        return audio, "array"
    if hasattr(audio, "detach") and hasattr(audio, "numpy"):  # a tensor, without importing torch to say so
        tensor = audio.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy(), "tensor"
    if hasattr(audio, "get_all_samples"):  # what `datasets` decodes to where torchcodec is installed
        return audio.get_all_samples().data.numpy(), "audio decoder"
    if _is_file(audio):
        return audio, str(getattr(audio, "name", "file object"))
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
def _opened(source: str | bytes | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """A seekable file that starts where the recording does."""
    if isinstance(source, str):
        remedy = "check the path"
        if not os.path.exists(source):
            raise AudioNotFoundError(name, expected="an audio file", got="no such file", remedy=remedy)
        if os.path.isdir(source):
            raise AudioError(name, expected="an audio file", got="a directory", remedy="name the files in it")
        try:
            file = open(source, "rb")  # noqa: SIM115 - closed by the with statement below
        except OSError as error:
            raise AudioError(
                name, expected="an audio file", got=f"one that cannot be read ({error.strerror})", remedy="check its permissions"
            ) from error
        with file:
            _not_empty(file, name)
            yield file
        return
    if not isinstance(source, bytes):
        if not isinstance(source.read(0), bytes):
            raise AudioError(name, expected="a binary file object", got="one that gives text", remedy='open it with mode "rb"')
        if source.seekable() and source.tell() == 0:
            _not_empty(source, name)
            yield source
            return
        source = source.read()
    buffer = io.BytesIO(source)
    _not_empty(buffer, name)
    yield buffer


def _not_empty(file: BinaryIO, name: str) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size == 0:
        raise AudioError(name, expected="an audio file", got="an empty file", remedy="record or download it again")


@contextmanager
def _decoder(audio: AudioInput, sampling_rate: Any, max_duration: float) -> Iterator[tuple[str, int, Iterator[np.ndarray]]]:
    """Name, sampling rate and pieces (S, C) float32 of a recording."""
    source, name = _source(audio)
    if isinstance(source, np.ndarray):
        given = audio.get("sampling_rate", sampling_rate) if isinstance(audio, Mapping) else sampling_rate
        if hasattr(audio, "get_all_samples"):
            given = audio.get_all_samples().sample_rate
        yield name, _valid_rate(given, name), iter([_from_array(source, name)])
        return
    if sampling_rate is not None:
        _valid_rate(sampling_rate, name)
    with _opened(source, name) as file:
        claim = claimed_and_held(file)
        file.seek(0)
        if claim is not None:
            raise AudioError(
                name,
                expected=f"{claim.claimed}, as its header claims",
                got=claim.held,
                remedy="the file is cut off or damaged: get it again",
            )
        import soundfile as sf

        try:
            decoder = sf.SoundFile(file)
        except sf.LibsndfileError:
            file.seek(0)
            yield from _with_av(file, name, max_duration)
            return
        with decoder:
            _not_longer(decoder.frames / decoder.samplerate if decoder.frames < UNKNOWN else 0.0, name, max_duration)
            yield name, decoder.samplerate, _with_soundfile(decoder, name)


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim not in (1, 2) or array.size == 0:
        raise AudioError(name, expected="samples (S,), (C, S) or (S, C)", got=f"shape {array.shape}", remedy="give one recording at a time")
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] < array.shape[1]:
        array = array.T
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128.0) / 128.0
    if array.dtype.kind == "i":
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    raise AudioError(name, expected="floating-point or integer samples", got=f"{array.dtype}", remedy="convert them")


def _with_soundfile(decoder: Any, name: str) -> Iterator[np.ndarray]:
    import soundfile as sf

    frames = 0
    try:
        while len(piece := decoder.read(10 * decoder.samplerate, dtype="float32", always_2d=True)):
            frames += len(piece)
            yield piece
    except sf.LibsndfileError as error:
        got = f"{frames / decoder.samplerate:.2f} s, then damaged data ({error.error_string.strip()})"
        raise AudioError(name, expected="a recording that can be decoded to its end", got=got, remedy="get it again") from error
    if frames < decoder.frames < UNKNOWN and decoder.frames - frames > 0.1 * decoder.samplerate:
        claimed, held = decoder.frames / decoder.samplerate, frames / decoder.samplerate
        raise AudioError(
            name,
            expected=f"{claimed:.2f} s, as its header claims",
            got=f"{held:.2f} s",
            remedy="the file is cut off or damaged: get it again",
        )


def _with_av(file: BinaryIO, name: str, max_duration: float) -> Iterator[tuple[str, int, Iterator[np.ndarray]]]:
    import av

    not_audio = {
        "expected": "audio (wav, flac, mp3, ogg, m4a, webm, ...)",
        "remedy": "check that this is a recording, or convert it to wav",
    }
    try:
        container = av.open(file, options={"format_whitelist": DEMUXERS})
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(name, got=f"something else ({getattr(error, 'strerror', None) or error})", **not_audio) from error
    with container:
        if not container.streams.audio:
            raise AudioError(name, got="a file without an audio track", **not_audio)
        stream = container.streams.audio[0]
        claimed = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if not claimed and container.duration and not container.streams.video:  # matroska says it for the whole file
            claimed = container.duration / av.time_base
        _not_longer(claimed, name, max_duration)
        rate = stream.codec_context.sample_rate
        if not rate:
            raise AudioError(name, got="an audio track that says no sampling rate", **not_audio)

        def pieces() -> Iterator[np.ndarray]:
            resampler, frames = av.AudioResampler(format="fltp", rate=rate), 0
            try:
                for frame in container.decode(stream):
                    for converted in resampler.resample(frame):
                        frames += converted.samples
                        yield converted.to_ndarray().T
                for converted in resampler.resample(None):
                    frames += converted.samples
                    yield converted.to_ndarray().T
            except av.FFmpegError as error:
                got = f"{frames / rate:.2f} s, then damaged data ({error.strerror})"
                raise AudioError(name, expected="a recording that can be decoded to its end", got=got, remedy="get it again") from error
            if frames / rate < claimed - max(0.25, 0.02 * claimed):
                got = f"{frames / rate:.2f} s"
                raise AudioError(
                    name, expected=f"{claimed:.2f} s, as its header claims", got=got, remedy="the file is cut off or damaged: get it again"
                )

        yield name, rate, pieces()


def _not_longer(duration: float, name: str, max_duration: float) -> None:
    if duration > max_duration:
        raise AudioError(
            name, expected=f"at most {max_duration:g} s", got=f"{duration:.0f} s", remedy="raise max_duration, or cut the recording"
        )


def _checked(pieces: Iterator[np.ndarray], name: str, rate: int, max_duration: float) -> Iterator[np.ndarray]:
    frames = 0
    for piece in pieces:
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


def _resampled(pieces: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Pieces (S, C) at `rate` -> pieces (S, C) at 16 kHz; seamless, whatever the pieces."""
    if rate == SAMPLING_RATE:
        yield from pieces
        return
    import soxr

    stream = None
    width = 0
    for piece in pieces:
        if stream is None:
            width = piece.shape[1]
            stream = soxr.ResampleStream(rate, SAMPLING_RATE, width, dtype="float32", quality="HQ")
        out = stream.resample_chunk(np.ascontiguousarray(piece))
        if len(out):
            yield out
    if stream is not None:
        out = stream.resample_chunk(np.zeros((0, width), np.float32), last=True)
        if len(out):
            yield out
