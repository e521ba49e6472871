import io
import math
import os
import pickle
import struct
import threading
import time
import tracemalloc

import av
import numpy as np
import pytest
import soundfile as sf
import torch

from multimodal_ser import AudioError
from multimodal_ser.audio import (
    MIN_DURATION,
    SAMPLING_RATE,
    AudioNotFoundError,
    audio_duration,
    load_audio,
    stream_audio,
)
from multimodal_ser.audio.integrity import View, inspect_structure, matroska_duration
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech

SPEECH = synthetic_speech(2.0, sampling_rate=44100)
STEREO = np.stack([SPEECH, 0.5 * SPEECH[::-1]], axis=1)  # (S, 2)


class Pipe:
    """Takes bytes and cannot seek."""

    def __init__(self):
        self.content = b""

    def write(self, piece):
        self.content += bytes(piece)
        return len(piece)


def encode(path, container, codec, rate=44100, samples=STEREO, layout="stereo", quality=None):
    with av.open(path if isinstance(path, Pipe) else str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = layout
        if quality is not None:  # variable bitrate
            stream.codec_context.flags |= 2
            stream.codec_context.global_quality = quality * 118
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T.astype(np.float32)), format="fltp", layout="stereo"
        )
        frame.sample_rate = 44100
        resampler = av.AudioResampler(
            format=stream.format.name, layout=layout, rate=rate, frame_size=stream.frame_size or None
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return path


def piped(container, codec, **options):
    return encode(Pipe(), container, codec, **options).content


def write(path, kind):
    if kind in ("m4a", "webm", "mp4"):
        encode(
            path,
            {"m4a": "ipod", "webm": "webm", "mp4": "mp4"}[kind],
            "libopus" if kind == "webm" else "aac",
            48000 if kind == "webm" else 44100,
        )
    elif kind == "av-mp3":
        encode(path, "mp3", "libmp3lame")
    else:
        options = {
            "wav": {}, "wav24": {"subtype": "PCM_24"}, "wavfloat": {"subtype": "FLOAT"}, "wav8": {"subtype": "PCM_U8"}, "mulaw": {"subtype": "ULAW"},
            "flac": {"format": "FLAC"}, "ogg": {"format": "OGG"}, "opus": {"format": "OGG", "subtype": "OPUS"}, "mp3": {"format": "MP3"},
            "mp3cbr": {"format": "MP3", "bitrate_mode": "CONSTANT"}, "mp3vbr": {"format": "MP3", "bitrate_mode": "VARIABLE"},
        }[kind]  # fmt: skip
        sf.write(path, STEREO, 48000 if kind == "opus" else 44100, **({"format": "WAV"} | options))
    return path


KINDS = [
    "wav",
    "wav24",
    "wavfloat",
    "wav8",
    "mulaw",
    "flac",
    "ogg",
    "opus",
    "mp3",
    "mp3cbr",
    "mp3vbr",
    "av-mp3",
    "m4a",
    "mp4",
    "webm",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_usual_format(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", kind)
    mixed, split = load_audio(path), load_audio(path, channels="split")
    assert mixed.dtype == split.dtype == np.float32
    assert split.shape == (2, len(mixed))
    np.testing.assert_allclose(split.mean(0), mixed, atol=1e-6)
    seconds = 2.0 if kind != "opus" else len(STEREO) / 48000
    assert len(mixed) / SAMPLING_RATE == pytest.approx(seconds, abs=0.06)
    assert audio_duration(path) == pytest.approx(seconds, abs=0.06)
    reference = load_audio(STEREO, 44100)
    if kind != "opus":
        shift = np.argmax(np.correlate(mixed[:20000], reference[2000:18000], "valid")) - 2000
        start = 2000 + shift
        assert np.corrcoef(mixed[start : start + 16000], reference[2000:18000])[0, 1] > 0.95


def test_every_form_of_input(tmp_path):
    path = write(tmp_path / "a.flac", "flac")
    expected = load_audio(path)
    content = path.read_bytes()
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), expected)
        assert not file.closed
    behind = io.BytesIO(b"junk" + content)
    behind.seek(4)
    forms = [
        str(path),
        content,
        io.BytesIO(content),
        behind,
        {"path": str(path)},
        {"bytes": content, "path": None},
        {"bytes": None, "path": path},
    ]
    for form in forms:
        np.testing.assert_array_equal(load_audio(form), expected)
    samples = sf.read(path, dtype="float32")[0]
    pcm = (samples * 32768).astype(np.int16)
    for form in (
        samples,
        samples.T,
        samples.astype(np.float64),
        torch.from_numpy(samples.T),
        torch.from_numpy(samples).double(),
        {"array": samples, "sampling_rate": 44100},
    ):
        rate = None if isinstance(form, dict) else 44100
        np.testing.assert_allclose(load_audio(form, rate), expected, atol=1e-6)
    np.testing.assert_allclose(load_audio(pcm, 44100), expected, atol=1e-4)
    np.testing.assert_allclose(load_audio((pcm.astype(np.int32) * 65536), np.int64(44100)), expected, atol=1e-4)
    np.testing.assert_allclose(load_audio(((pcm // 256) + 128).astype(np.uint8), 44100.0), expected, atol=1e-2)


@pytest.mark.parametrize("kind", ["wav", "flac", "m4a"])
@pytest.mark.parametrize("block", [0.37, 1.0, 30.0])
def test_streaming_equals_loading(tmp_path, kind, block):
    path = write(tmp_path / f"a.{kind}", kind)
    blocks = list(stream_audio(path, block_duration=block))
    assert all(len(piece) == round(block * SAMPLING_RATE) for piece in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path))


def test_long_recordings_stream_at_flat_memory(tmp_path):
    path = tmp_path / "long.wav"
    with sf.SoundFile(path, "w", 44100, 2, "PCM_16") as file:
        for _ in range(150):  # five minutes: 53 MB of samples as float32 at 44.1 kHz in stereo, 19 MB as they leave
            file.write(STEREO)
    tracemalloc.start()
    total = sum(len(block) for block in stream_audio(path, block_duration=10.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(300 * SAMPLING_RATE, abs=5)
    assert peak < 16e6


def one_line(error):
    text = str(error)
    assert "\n" not in text
    assert "expected" in text and "got" in text and text.count(";") >= 1, text
    return text


FORMATS = {  # whose ends decoders do not miss
    "rf64": {"format": "RF64"}, "rifx": {"format": "WAV", "endian": "BIG"}, "aiff": {"format": "AIFF"}, "au": {"format": "AU"}, "caf": {"format": "CAF"},
    "w64": {"format": "W64"},
}  # fmt: skip


def damaged(tmp_path, kind):
    path = tmp_path / "bad.wav"
    wav = bytearray(write(tmp_path / "good.wav", "wav").read_bytes())
    size_at = wav.index(b"data") + 4
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no sound\n" * 50)
    elif kind == "short":
        sf.write(path, SPEECH[:132], 44100)
    elif kind == "nan":
        sf.write(path, np.where(np.arange(len(SPEECH)) == 4410, np.nan, SPEECH), 44100, subtype="FLOAT")
    elif kind == "missing":
        return tmp_path / "nowhere.wav"
    elif kind == "directory":
        return tmp_path
    elif kind.startswith("claims"):
        wav[size_at : size_at + 4] = struct.pack("<I", int(kind[6:], 16))
        path.write_bytes(wav)
    elif kind == "noframes":
        path.write_bytes(wav[: size_at + 4])
    elif kind.startswith("half"):
        source = tmp_path / "source"
        if kind[4:] in FORMATS:
            sf.write(source, STEREO, 44100, **FORMATS[kind[4:]])
        else:
            write(source, kind[4:])
        content = source.read_bytes()
        path.write_bytes(content[: len(content) // 2 + 1])
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("empty", "empty file"), ("text", "something else"), ("short", "3 ms"), ("nan", r"NaN or infinity at 0\.100 s"), ("missing", "no such file"),
        ("directory", "directory"), ("claims7FFFFFFF", r"got 2\.00 s"), ("claims77359400", r"got 2\.00 s"),
        ("noframes", r"got 0\.00 s"), ("halfmp3", "got"), ("halfmp3cbr", "got"), ("halfmp3vbr", "got"), ("halfav-mp3", "got"), ("halfflac", r"got 0\.[6-9]\d s, then damaged"),
        ("halfm4a", "got"), ("halfwebm", "got"), ("halfogg", r"expected \d+ bytes or more"), ("halfopus", r"expected \d+ bytes or more"), ("halfrf64", r"expected 2\.00 s"),
        ("halfrifx", r"expected 2\.00 s"), ("halfaiff", "expected 352808 bytes"), ("halfau", "expected 352800 bytes"), ("halfcaf", "expected 352804 bytes"),
        ("halfw64", "expected 352800 bytes"),
    ],
)  # fmt: skip
def test_bad_files_are_told_in_one_line(tmp_path, kind, says, capfd):
    path = damaged(tmp_path, kind)
    with pytest.raises(AudioError, match=says) as error:
        load_audio(path)
    assert str(path) in one_line(error.value)
    assert capfd.readouterr().err == ""  # the decoders below say nothing themselves
    with pytest.raises(AudioError):
        list(stream_audio(path))


@pytest.mark.parametrize(
    ("array", "rate", "says"),
    [
        (SPEECH, None, "got none"), (SPEECH, "16000", "str"), (SPEECH, True, "bool"), (SPEECH, 0, "0"), (SPEECH, float("nan"), "nan"), (SPEECH, 44100.5, "44100.5"),
        (np.zeros((2, 3, 4)), 16000, "shape"), (np.zeros(0), 16000, "shape"), (SPEECH.astype(complex), 44100, "complex"), (3, 16000, "int"), ({"a": 1}, None, "dict"),
        (None, None, "NoneType"), (np.array(["a", "b"]), 16000, "<U1"),
    ],
)  # fmt: skip
def test_bad_arrays_are_told_in_one_line(array, rate, says):
    with pytest.raises(AudioError, match=says) as error:
        load_audio(array, rate)
    one_line(error.value)


def test_int64_is_scaled_by_what_it_holds():
    pcm = (SPEECH * 32767).astype(np.int16)
    for form in (pcm.astype(np.int64), pcm.astype(np.int64) * 65536, torch.from_numpy(pcm).long()):
        np.testing.assert_allclose(load_audio(form, 44100), load_audio(pcm, 44100), atol=1e-6)
    for form in (pcm.astype(np.int64) * 2**40, pcm.astype(np.uint32), pcm.astype(np.uint64), pcm.astype(np.uint16)):
        with pytest.raises(AudioError, match="samples"):
            load_audio(form, 44100)


@pytest.mark.parametrize("at", [20, 24, 31])
def test_a_header_that_is_cut_is_told(tmp_path, at):
    with pytest.raises(AudioError, match="something else"):
        load_audio(write(tmp_path / "a.wav", "wav").read_bytes()[:at])


def test_a_codec_that_nobody_knows_is_told(tmp_path):
    wav = bytearray(write(tmp_path / "a.wav", "wav").read_bytes())
    wav[20:22] = b"\xcd\xab"
    for content in (bytes(wav), write(tmp_path / "a.webm", "webm").read_bytes().replace(b"A_OPUS", b"A_XXXX")):
        with pytest.raises(AudioError, match="codec that is not known"):
            load_audio(content)


def test_the_name_of_a_file_tells_nothing(tmp_path):
    path = write(tmp_path / "a.wav", "wav")
    expected = load_audio(path)
    named = path.rename(tmp_path / "a.raw")
    np.testing.assert_array_equal(load_audio(named), expected)
    with open(named, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), expected)


class OnlyReads:
    def __init__(self, content):
        self.read = io.BytesIO(content).read


class Fails(io.BytesIO):
    """A disk that goes away."""

    def read(self, size=-1):
        if self.tell() > 20000:
            raise OSError("disk gone")
        return super().read(min(size, 4096))


def test_pipes_and_file_objects_that_can_little(tmp_path):
    content = write(tmp_path / "a.m4a", "m4a").read_bytes()
    expected = load_audio(content)
    np.testing.assert_array_equal(load_audio(OnlyReads(content)), expected)
    assert audio_duration(OnlyReads(content)) == pytest.approx(len(expected) / SAMPLING_RATE, abs=1e-3)
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(content,))
    writer.start()
    np.testing.assert_array_equal(load_audio(tmp_path / "fifo"), expected)
    writer.join()
    with open(tmp_path / "a.m4a", "rb") as closed:
        pass
    with pytest.raises(AudioError, match="closed file") as error:
        load_audio(closed)
    one_line(error.value)


@pytest.mark.parametrize("kind", ["wav", "mp3cbr", "opus", "m4a"])
def test_a_file_that_fails_while_it_is_read_is_told(tmp_path, kind, capfd):
    with pytest.raises(AudioError, match="OSError: disk gone") as error:
        load_audio(Fails(write(tmp_path / "a", kind).read_bytes()))
    one_line(error.value)
    assert capfd.readouterr().err == ""


def test_a_text_file_object_is_told():
    with pytest.raises(AudioError, match='mode "rb"'):
        load_audio(io.StringIO("words"))


def test_missing_file_is_also_a_file_not_found_error():
    with pytest.raises(FileNotFoundError) as error:
        load_audio("nowhere.wav")
    again = pickle.loads(pickle.dumps(error.value))
    assert type(again) is AudioNotFoundError
    assert str(again) == str(error.value) == "nowhere.wav: expected an audio file, got no such file; check the path"


def test_the_limit_can_be_raised(tmp_path):
    path = write(tmp_path / "a.flac", "flac")
    with pytest.raises(AudioError, match="at most 1 s, got 2 s; raise max_duration"):
        load_audio(path, max_duration=1.0)
    with pytest.raises(AudioError, match="at most 1 s"):
        load_audio(SPEECH, 44100, max_duration=1.0)
    assert len(load_audio(path, max_duration=3.0)) == 2 * SAMPLING_RATE


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize(
    "sizes",
    [
        (-1, -1),
        (0, 0),
        (36, 0),
        (-1, 0),
        (None, -1),
        (None, -93),
        (0x7FFFF024, 0x7FFFF000),
        (None, "2 more"),
        (None, "44 more"),
    ],
)
def test_a_wav_from_a_pipe_or_a_careless_writer_is_read(tmp_path, sizes, subtype):
    """A program that cannot seek back leaves stand-ins for the sizes."""
    sf.write(tmp_path / "a.wav", SPEECH, 44100, subtype=subtype)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    expected = load_audio(bytes(content))
    at = content.index(b"data") + 4
    riff, data = sizes
    if isinstance(data, str):
        data = struct.unpack("<I", content[at : at + 4])[0] + int(data.split()[0])
    content[at : at + 4] = struct.pack("<I", data & 0xFFFFFFFF)
    if riff is not None:
        content[4:8] = struct.pack("<I", riff & 0xFFFFFFFF)
    np.testing.assert_allclose(load_audio(bytes(content)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["flac", "aac", "matroska", "avi", "mp3", "wav", "opus"])
def test_what_came_through_a_pipe_is_read(kind):
    """Nobody wrote a length; the first second tells nothing about the bitrate."""
    loud = 0.9 * np.random.default_rng(0).uniform(-1, 1, (44100, 2))
    samples = np.concatenate([np.zeros((10 * 44100, 2)), loud, np.zeros((10 * 44100, 2))])
    container, codec = {
        "flac": ("flac", "flac"), "aac": ("adts", "aac"), "matroska": ("matroska", "libmp3lame"), "avi": ("avi", "mp2"), "mp3": ("mp3", "libmp3lame"),
        "wav": ("wav", "libmp3lame"), "opus": ("ogg", "libopus"),
    }[kind]  # fmt: skip
    content = piped(
        container,
        codec,
        samples=samples,
        rate=48000 if kind == "opus" else 44100,
        quality=5 if kind in ("mp3", "wav") else None,
    )
    assert len(load_audio(content, max_duration=22)) / SAMPLING_RATE == pytest.approx(21, abs=0.1)
    assert audio_duration(content) == pytest.approx(21, abs=0.1)
    if kind == "mp3":  # speech first: libsndfile expects no more of the silence than its bytes allow, and stops
        content = piped(container, codec, samples=samples[10 * 44100 :], quality=5)
        assert len(load_audio(content)) / SAMPLING_RATE == pytest.approx(11, abs=0.1)


def test_a_matroska_claims_only_what_it_says(tmp_path):
    content = encode(tmp_path / "a.mka", "matroska", "libmp3lame").read_bytes()
    assert matroska_duration(View(io.BytesIO(content))) == pytest.approx(2.0, abs=0.1)
    assert matroska_duration(View(io.BytesIO(piped("matroska", "libmp3lame")))) == 0
    assert matroska_duration(View(io.BytesIO(content[:30]))) == 0


def test_a_long_vbr_mp3_is_read_in_one_go(tmp_path):
    """soundfile seeks after each read, which is inexact here: compare with what ffmpeg decodes."""
    samples = np.concatenate([np.zeros((20 * 44100, 2)), np.tile(STEREO, (8, 1)), np.zeros((20 * 44100, 2))])
    path = encode(tmp_path / "a.mp3", "mp3", "libmp3lame", samples=samples, quality=5)
    with av.open(str(path)) as container:
        expected = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    np.testing.assert_allclose(load_audio(path), load_audio(expected, 44100), atol=1e-5)


def test_recordings_strung_together_are_read_to_the_last(tmp_path):
    mp3, vbr, ogg, opus = (write(tmp_path / kind, kind).read_bytes() for kind in ("mp3", "mp3vbr", "ogg", "opus"))
    sf.write(mono := io.BytesIO(), synthetic_speech(1.0, sampling_rate=22050), 22050, format="OGG")
    sf.write(slow := io.BytesIO(), synthetic_speech(1.0, sampling_rate=22050), 22050, format="MP3")
    headless = piped("mp3", "libmp3lame")
    id3 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)
    opus_seconds = len(STEREO) / 48000
    for content, seconds in (
        (mp3 + vbr, 4.0), (mp3 + b"TAG" + bytes(125) + id3 + vbr, 4.0), (mp3 + bytes(3000) + mp3 + mp3, 6.0), (mp3 + headless, 4.05), (headless + id3 + headless, 4.1),
        (mp3 + slow.getvalue(), 3.0), (ogg + opus, 2 + opus_seconds), (opus + ogg + opus, 2 + 2 * opus_seconds), (ogg + mono.getvalue(), 3.0),
    ):  # fmt: skip
        both = load_audio(content, channels="split")
        assert both.shape[1] / SAMPLING_RATE == pytest.approx(seconds, abs=0.06)
        assert audio_duration(content) == pytest.approx(seconds, abs=0.06)
        assert np.abs(both[:, -SAMPLING_RATE // 2 :]).max() > 0.1
    np.testing.assert_allclose(
        load_audio(ogg + mono.getvalue())[:SAMPLING_RATE], load_audio(ogg)[:SAMPLING_RATE], atol=1e-6
    )


def test_streams_that_turn_from_mono_to_stereo():
    mono, stereo = (piped("adts", "aac", layout=layout) for layout in ("mono", "stereo"))
    assert load_audio(mono + stereo, channels="split").shape == pytest.approx((1, 4 * SAMPLING_RATE), abs=3000)
    both = load_audio(stereo + mono, channels="split")
    assert both.shape == pytest.approx((2, 4 * SAMPLING_RATE), abs=3000)
    np.testing.assert_array_equal(both[0, -20000:], both[1, -20000:])
    slow = piped("adts", "aac", rate=22050)
    assert load_audio(stereo + slow).size == pytest.approx(4 * SAMPLING_RATE, abs=3000)


def test_short_aac_is_not_taken_for_a_cut_mp3():
    """Bytes that look like an mp3's frame are found in any data."""
    for seed in range(20):
        samples = np.random.default_rng(seed).uniform(-1, 1, (4410, 2))
        assert inspect_structure(View(io.BytesIO(piped("adts", "aac", samples=samples)))).claim is None


def test_what_follows_an_mp3_is_not_a_cut_frame():
    content = piped("mp3", "libmp3lame")
    for seed in range(300):
        generator = np.random.default_rng(seed)
        assert inspect_structure(View(io.BytesIO(content + generator.bytes(generator.integers(1, 3000))))).claim is None


def test_looking_at_a_long_mp3_takes_little_memory(tmp_path):
    (tmp_path / "long.mp3").write_bytes(piped("mp3", "libmp3lame") * 600)
    tracemalloc.start()
    with open(tmp_path / "long.mp3", "rb") as file:
        (part,) = inspect_structure(View(file)).parts
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert part.duration == pytest.approx(1200, abs=60)
    assert peak < 1e6


def test_mp3_tags_are_not_missing_frames(tmp_path):
    content = write(tmp_path / "a.mp3", "mp3").read_bytes()
    assert len(load_audio(content + b"TAG" + bytes(125))) == 2 * SAMPLING_RATE
    assert len(load_audio(b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128) + content)) == 2 * SAMPLING_RATE


def test_playlists_are_no_recordings(tmp_path):
    """A playlist could make the decoder open other files, or addresses."""
    write(tmp_path / "a.wav", "wav")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:2,\na.wav\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile a.wav\n")
    for name in ("list.m3u8", "list.ffconcat"):
        with pytest.raises(AudioError, match="something else"):
            load_audio(tmp_path / name)


def test_silence_is_a_recording():
    assert not load_audio(np.zeros(16000), 16000).any()


def test_wrong_options_are_told():
    with pytest.raises(InputError, match="'mix' or 'split'"):
        load_audio(SPEECH, 44100, channels="left")
    with pytest.raises(InputError, match="block_duration"):
        list(stream_audio(SPEECH, 44100, block_duration=0))
    for duration in (1e-9, math.nan, -1, "long"):
        with pytest.raises(InputError, match="block_duration"):
            list(stream_audio(SPEECH, 44100, block_duration=duration))
    assert [len(block) for block in stream_audio(SPEECH, 44100, block_duration=math.inf)] == [2 * SAMPLING_RATE]


def test_an_array_is_streamed_in_linear_time():
    """Two hours in blocks of a frame's length: copying the rest for each block would take minutes."""
    start = time.perf_counter()
    assert (
        sum(
            1
            for _ in stream_audio(
                np.zeros(2 * 3600 * SAMPLING_RATE, np.float32), SAMPLING_RATE, block_duration=10 * MIN_DURATION
            )
        )
        == 28800
    )
    assert time.perf_counter() - start < 20


def test_real_recordings(data):
    for name, seconds in (
        ("jfk.flac", 11.0),
        ("emodb/audio/03a01Fa.flac", 1.898),
        ("nemo/audio/EB0_anger_1.ogg", 1.985),
    ):
        assert len(load_audio(data / name)) / SAMPLING_RATE == pytest.approx(seconds, abs=0.01)
