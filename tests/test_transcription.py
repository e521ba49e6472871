"""Transcription with a Whisper that is only played: gate, cache, order, long recordings, what is dropped."""

import hashlib
import json
import os
import shutil
import stat
import time

import numpy as np
import pytest

from multimodal_ser import Transcript, WhisperTranscriber
from multimodal_ser.audio import load_audio
from multimodal_ser.errors import InputError
from multimodal_ser.transcription import (
    TranscriptCache,
    WhisperNotFoundError,
    WhisperWeights,
    Word,
    find_whisper,
    weights,
)
from multimodal_ser.transcription.backends import Recognition
from multimodal_ser.transcription.gate import speech_segments
from multimodal_ser.transcription.transcriber import language_code

CLIP = "examples/audio/directions.flac"


class Played:
    """A backend that says how long each clip is."""

    multilingual = True

    def __init__(self, **fields):
        self.fields, self.heard = fields, []

    def transcribe(self, waveforms, language, word_timestamps):
        self.heard += [len(waveform) for waveform in waveforms]
        words = (Word("hello", 0.5, 999.0, 0.9),) if word_timestamps else None
        found = {
            "text": "",
            "language": language or "en",
            "language_probability": 0.9,
            "average_log_probability": -0.2,
            "no_speech_probability": 0.1,
        }
        return [Recognition(**(found | {"text": f"{len(w)} samples"} | self.fields), words=words) for w in waveforms]


def transcriber(backend, **options):
    made = WhisperTranscriber(**options)
    made._backend, made._weights = backend, WhisperWeights("played", "/nowhere", "ctranslate2", "test")
    return made


@pytest.fixture
def clip(request):
    return load_audio(request.config.rootpath / CLIP)


def test_a_list_keeps_its_order(clip):
    backend = Played()
    silence = np.zeros(16000, np.float32)
    found = transcriber(backend).transcribe([clip, silence, clip[:20000]], sampling_rate=16000)
    assert [transcript.text for transcript in found] == [f"{len(clip)} samples", "", "20000 samples"]
    assert backend.heard == [len(clip), 20000]
    assert found[0].model == "played" and found[0].backend == "faster-whisper"


@pytest.mark.parametrize("level", [1.0, 0.01])
def test_the_gate_hears_speech_quiet_or_not(clip, level):
    segments = speech_segments(clip * level)
    assert segments and 0 <= segments[0][0] < segments[-1][1] <= len(clip) / 16000 + 0.2
    assert sum(end - start for start, end in segments) > 1.0


@pytest.mark.parametrize("what", ["silence", "noise", "tone", "clicks"])
def test_the_gate_is_shut_where_nobody_speaks(what):
    generator, time = np.random.default_rng(0), np.arange(48000) / 16000
    sounds = {
        "silence": np.zeros(48000), "noise": generator.normal(0, 0.1, 48000), "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "clicks": (np.arange(48000) % 8000 == 0) * 0.5,
    }  # fmt: skip
    backend = Played()
    found = transcriber(backend).transcribe(sounds[what], sampling_rate=16000)
    assert found.text == "" and found.language is None and found.speech_duration == 0.0
    assert backend.heard == []
    transcriber(backend, gate=False).transcribe(sounds[what], sampling_rate=16000)
    assert backend.heard == [48000]


@pytest.mark.parametrize(
    "fields",
    [
        {"no_speech_probability": 0.9, "average_log_probability": -1.5},
        {"text": "thank you " * 60},
        {"text": " ... "},
    ],
)
def test_what_whisper_makes_up_is_dropped(clip, fields):
    found = transcriber(Played(**fields)).transcribe(clip, sampling_rate=16000, word_timestamps=True)
    assert found.text == "" and found.language is None and found.words == ()


def test_unsure_but_spoken_is_kept(clip):
    assert transcriber(Played(no_speech_probability=0.9)).transcribe(clip, sampling_rate=16000).text
    assert transcriber(Played(average_log_probability=-1.5)).transcribe(clip, sampling_rate=16000).text


def test_long_recordings_are_cut_and_joined(clip):
    long = np.concatenate([clip, np.zeros(16000, np.float32)] * 20)
    backend = Played()
    found = transcriber(backend).transcribe(long, sampling_rate=16000, word_timestamps=True)
    assert sum(backend.heard) == len(long) and max(backend.heard) <= 20 * 16000
    assert found.text.count("samples") == len(backend.heard)
    starts = [word.start for word in found.words]
    assert starts == sorted(starts) and starts[0] == 0.5 and starts[-1] > 60
    assert all(word.end <= len(long) / 16000 for word in found.words)  # a time beyond the window is pulled back into it


def test_the_cache_is_asked_first(clip, tmp_path):
    backend = Played()
    first = transcriber(backend, cache_dir=tmp_path / "words").transcribe(
        clip, sampling_rate=16000, word_timestamps=True
    )
    again = transcriber(backend, cache_dir=tmp_path / "words").transcribe(
        clip, sampling_rate=16000, word_timestamps=True
    )
    assert again == first and len(backend.heard) == 1
    transcriber(backend, cache_dir=tmp_path / "words").transcribe(clip, sampling_rate=16000, language="de")
    assert len(backend.heard) == 2  # another question
    [*files] = (tmp_path / "words").iterdir()
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    for file in files:
        file.write_text("{broken")
    assert (
        transcriber(backend, cache_dir=tmp_path / "words").transcribe(clip, sampling_rate=16000, word_timestamps=True)
        == first
    )
    assert len(backend.heard) == 3
    cache = TranscriptCache(tmp_path / "words")
    assert cache.clear() == 2 and len(cache) == 0


def test_clearing_a_cache_deletes_its_own_files_alone(tmp_path):
    cache = TranscriptCache(tmp_path)
    cache.put("0" * 64, Transcript.given("hello"))
    theirs = [tmp_path / name for name in ("notes.json", "draft.new", f"{'0' * 64}.json.bak", f"{'A' * 64}.json")]
    being_written, abandoned = tmp_path / "multimodal-ser-1.new", tmp_path / "multimodal-ser-2.new"
    for file in (*theirs, being_written, abandoned):
        file.touch()
    os.utime(abandoned, (time.time() - 3600,) * 2)
    assert len(cache) == 1 and cache.clear() == 1 and len(cache) == 0
    assert sorted(tmp_path.iterdir()) == sorted([*theirs, being_written])


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cache_dir: expected a folder.*File exists"):
        WhisperTranscriber(cache_dir=tmp_path / "file")
    cache = TranscriptCache(tmp_path / "words")
    shutil.rmtree(cache.directory)
    with pytest.warns(UserWarning, match="cache_dir: expected a folder that can be written"):
        cache.put("0" * 64, Transcript.given("hello"))


def test_without_a_cache_nothing_is_written(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    transcriber(Played()).transcribe(clip, sampling_rate=16000)
    assert list(tmp_path.rglob("*")) == []


def test_transcripts_survive_json():
    transcript = Transcript("hi", "en", 0.5, (Word("hi", 0.0, 0.5, None),), -0.1, 0.0, 1.0, "base", "faster-whisper")
    assert Transcript.from_dict(json.loads(json.dumps(transcript.to_dict()))) == transcript


def test_a_silent_start_hides_neither_model_nor_backend():
    heard = Transcript("hi", "en", model="base", backend="faster-whisper")
    joined = Transcript.joined([(0.0, Transcript("", speech_duration=0.0)), (15.0, heard)])
    assert (joined.text, joined.model, joined.backend) == ("hi", "base", "faster-whisper")


@pytest.mark.parametrize(
    ("said", "code"), [("de", "de"), ("German", "de"), ("zh", "zh"), ("mandarin", "zh"), (None, None)]
)
def test_languages(said, code):
    assert language_code(said) == code


def test_wrong_words_are_told(clip):
    with pytest.raises(InputError, match="did you mean 'german'"):
        transcriber(Played()).transcribe(clip, sampling_rate=16000, language="gernan")
    english = Played()
    english.multilingual = False
    with pytest.raises(InputError, match="knows English alone"):
        transcriber(english).transcribe(clip, sampling_rate=16000, language="de")
    with pytest.raises(
        InputError, match="knows English alone"
    ):  # a Whisper that is loaded says so before anything is heard
        transcriber(english).transcribe([], language="de")
    with pytest.raises(InputError, match="did you mean 'base'"):
        WhisperTranscriber("bsae")
    with pytest.raises(InputError, match="faster-whisper"):
        WhisperTranscriber(backend="whisperx")


def test_what_does_not_load_is_one_line():
    for device in ("nope", "cuda:x"):
        with pytest.raises(InputError, match=f"device: expected .* got '{device}'"):
            transcriber(None, device=device).load()
    for device in ("cpu", "cuda:99"):
        with pytest.raises(
            InputError, match=f"whisper played: expected .* on the device '{device}', got /nowhere"
        ) as error:
            transcriber(None, device=device).load()
        assert "\n" not in str(error.value)


# weights


@pytest.fixture
def no_caches(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "_hub_cache", lambda repository: None)
    monkeypatch.setattr(weights, "OFFLINE_PARTS", ("no_such_package_1", "no_such_package_2"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.mark.parametrize("backend", [None, "openai-whisper", "transformers"])
def test_no_weights_is_one_line_with_the_remedy(no_caches, backend):
    with pytest.raises(WhisperNotFoundError, match=r"multimodal_ser\[offline\]") as error:
        find_whisper("small", backend)
    assert "\n" not in str(error.value)


def test_unknown_names_and_paths_are_told(no_caches):
    with pytest.raises(InputError, match="did you mean 'base'"):
        find_whisper("bsae")
    with pytest.raises(InputError, match="nothing there"):
        find_whisper("./nowhere")
    (no_caches / "empty").mkdir()
    with pytest.raises(InputError, match="something else"):
        find_whisper(no_caches / "empty")
    (no_caches / "x.pt").touch()
    assert find_whisper(no_caches / "x.pt").backend == "openai-whisper"
    with pytest.raises(InputError, match="weights for openai-whisper, not transformers"):
        find_whisper(no_caches / "x.pt", "transformers")
    with pytest.raises(InputError, match="backend"):
        find_whisper("base", "whisperx")


@pytest.fixture
def offline_parts(no_caches, monkeypatch):
    content = [b"first half ", b"second half"]
    for number, half in enumerate(content, start=1):
        package = no_caches / f"made_part{number}" / "data"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / f"model.bin.part{number}").write_bytes(half)
        if number == 1:
            for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
                (package / name).write_text("{}")
    monkeypatch.syspath_prepend(no_caches)
    monkeypatch.setattr(weights, "OFFLINE_PARTS", ("made_part1", "made_part2"))
    monkeypatch.setattr(weights, "OFFLINE_SIZE", len(b"".join(content)))
    monkeypatch.setenv("MULTIMODAL_SER_CACHE", str(no_caches / "joined"))
    return b"".join(content)


def test_the_offline_parts_are_joined_and_checked(no_caches, offline_parts, monkeypatch):
    with pytest.raises(WhisperNotFoundError, match="SHA-256"):
        find_whisper()
    assert not (no_caches / "joined" / "whisper-base").exists()
    monkeypatch.setattr(weights, "OFFLINE_SHA256", hashlib.sha256(offline_parts).hexdigest())
    found = find_whisper()
    assert (found.name, found.format, found.source) == ("base", "ctranslate2", "offline package")
    assert (no_caches / "joined" / "whisper-base" / "model.bin").read_bytes() == offline_parts
    assert find_whisper() == found


def test_no_folder_for_the_offline_parts_names_the_variable(no_caches, offline_parts, monkeypatch):
    (no_caches / "file").touch()
    monkeypatch.setenv("MULTIMODAL_SER_CACHE", str(no_caches / "file" / "nope"))
    with pytest.raises(WhisperNotFoundError, match="set MULTIMODAL_SER_CACHE to a folder that can be written") as error:
        find_whisper()
    assert "\n" not in str(error.value)
