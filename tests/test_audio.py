import io
import pickle
import struct
import tracemalloc

import av
import numpy as np
import pytest
import soundfile as sf
import torch

from multimodal_ser import AudioError
from multimodal_ser.audio import SAMPLING_RATE, AudioNotFoundError, audio_duration, load_audio, stream_audio
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech

SPEECH = synthetic_speech(2.0, sampling_rate=44100)
STEREO = np.stack([SPEECH, 0.5 * SPEECH[::-1]], axis=1)  # (S, 2)


def encode(path, container, codec, rate=44100):
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(STEREO.T.astype(np.float32)), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        resampler = av.AudioResampler(format=stream.format.name, layout="stereo", rate=rate, frame_size=stream.frame_size or None)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))


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


KINDS = ["wav", "wav24", "wavfloat", "wav8", "mulaw", "flac", "ogg", "opus", "mp3", "mp3cbr", "mp3vbr", "av-mp3", "m4a", "mp4", "webm"]


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
        source = write(tmp_path / "source", kind[4:])
        content = source.read_bytes()
        path.write_bytes(content[: len(content) // 2 + 1])
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("empty", "empty file"), ("text", "something else"), ("short", "3 ms"), ("nan", r"NaN or infinity at 0\.100 s"), ("missing", "no such file"),
        ("directory", "directory"), ("claims7FFFFFFF", r"got 2\.00 s"), ("claimsFFFFFFFF", r"got 2\.00 s"), ("claims77359400", r"got 2\.00 s"),
        ("noframes", r"got 0\.00 s"), ("halfmp3", "got"), ("halfmp3cbr", "got"), ("halfmp3vbr", "got"), ("halfav-mp3", "got"), ("halfflac", "damaged"), ("halfm4a", "got"),
        ("halfwebm", "got"),
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


def test_a_wav_from_a_pipe_is_read(tmp_path):
    """ffmpeg writes -1 as both sizes where it cannot seek back."""
    content = bytearray(write(tmp_path / "a.wav", "wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = content[4:8] = b"\xff" * 4
    assert len(load_audio(bytes(content))) == 2 * SAMPLING_RATE


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


def test_real_recordings(data):
    for name, seconds in (("jfk.flac", 11.0), ("emodb/audio/03a01Fa.flac", 1.898), ("nemo/audio/EB0_anger_1.ogg", 1.985)):
        assert len(load_audio(data / name)) / SAMPLING_RATE == pytest.approx(seconds, abs=0.01)
