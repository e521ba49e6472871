"""Augmentation: a function of (seed, draw, clip), each effect as strong as its options say, nothing else disturbed."""

import math
import pickle
import random

import numpy as np
import pytest
import soundfile
import torch

from multimodal_ser.audio import load_audio
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech
from multimodal_ser.training import augmentation
from multimodal_ser.training.augmentation import AUGMENTATIONS, LIMITS, WAVEFORM, Augmenter, write_listening_examples
from multimodal_ser.training.transcript_augmentation import misrecognized

RATE = 16_000


def always(name, **options):
    return Augmenter({name: {"probability": 1, **options}})


def heard(name, signal, *, draw=1, clip="a", **options):
    return always(name, **options).waveform(signal, draw=draw, clip=clip)


def sine(frequency, duration=1.0):
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(round(duration * RATE)) / RATE)).astype(np.float32)


def peak_frequency(signal):
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 1 << 18))
    return float(np.argmax(spectrum)) * RATE / (1 << 18)


def level(signal):
    return 10 * math.log10(np.mean(np.square(signal, dtype=np.float64)))


def energy_above(signal, frequency):
    power = np.abs(np.fft.rfft(signal)) ** 2
    return power[np.fft.rfftfreq(len(signal), 1 / RATE) > frequency].sum() / power.sum()


def lag(signal, reference):
    size = 1 << (len(signal) + len(reference)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(signal, size) * np.conj(np.fft.rfft(reference, size)))
    at = int(np.argmax(np.abs(correlation)))
    return at - size if at > size // 2 else at


@pytest.fixture
def folder(tmp_path):
    noise = tmp_path / "sounds" / "deep"
    noise.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, seconds in (("hum.wav", 0.5), ("rain.flac", 3.0)):
        soundfile.write(noise / name, 0.1 * generator.standard_normal(round(seconds * RATE)), RATE)
    (tmp_path / "sounds" / "LICENSE").write_text("theirs")
    return tmp_path / "sounds"


# a function of its arguments


@pytest.mark.parametrize("name", WAVEFORM)
def test_same_arguments_same_bits_in_any_order_and_others_differ(name):
    speech = synthetic_speech(1.0)
    before = speech.copy()
    options = {"factors": [0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2]} if name == "speed" else {}
    one, other, seeded = (
        always(name, **options),
        always(name, **options),
        Augmenter({name: {"probability": 1, **options}}, seed=1),
    )
    asked = [(draw, clip) for draw in (0, 1, 2) for clip in ("a", "b")]
    first = {key: one.waveform(speech, draw=key[0], clip=key[1]) for key in asked}
    again = {key: other.waveform(speech, draw=key[0], clip=key[1]) for key in reversed(asked)}
    assert all(np.array_equal(first[key], again[key]) for key in asked)
    assert np.array_equal(speech, before)
    assert all(out.dtype == np.float32 for out in first.values())
    if name == "telephone":  # nothing about it is drawn
        assert all(np.array_equal(out, first[0, "a"]) for out in first.values())
        return
    distinct = {out.tobytes() for out in first.values()} | {seeded.waveform(speech, draw=0, clip="a").tobytes()}
    assert len(distinct) > (3 if name == "speed" else 6)


def test_an_augmentation_draws_the_same_whichever_others_are_on():
    speech = synthetic_speech(1.0)
    alone, amid = Augmenter(["speed"], seed=3), Augmenter(["speed", "echo", "gain", "words", "spec_augment"], seed=3)
    lengths = [[len(a.waveform(speech, draw=draw, clip="x")) for draw in range(12)] for a in (alone, amid)]
    assert lengths[0] == lengths[1] and len(set(lengths[0])) == 3


def test_what_is_drawn_stays_what_it_was_in_earlier_versions():
    augmenter = Augmenter(["speed"], seed=7)
    lengths = [
        len(augmenter.waveform(np.ones(9900, np.float32), draw=draw, clip="ravdess/03-01-05.wav")) for draw in range(10)
    ]
    assert lengths == [11000, 9900, 11000, 9900, 9900, 9000, 11000, 11000, 9000, 9000]


def test_no_global_random_state_is_touched(folder):
    speech = synthetic_speech(0.5)
    torch.manual_seed(0)
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    everything = {name: {"probability": 1} for name in AUGMENTATIONS}
    for augmenter in (Augmenter(everything), Augmenter(everything, noise_dir=folder, room_dir=folder)):
        augmenter.waveform(speech, draw=1, clip="a")
        augmenter.text("one two three", draw=1, clip="a")
        augmenter.spectrogram(torch.zeros(80, 100), draw=1, clip="a")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), states[1], strict=True))
    assert random.getstate() == states[2]


def test_probability_is_the_share_of_clips_that_are_disturbed():
    speech = synthetic_speech(0.1)
    augmenter = Augmenter({"gain": {"probability": 0.25, "gain": -6}})
    changed = [not np.array_equal(augmenter.waveform(speech, draw=draw, clip="a"), speech) for draw in range(800)]
    assert 0.2 < np.mean(changed) < 0.3


def test_it_travels_to_worker_processes(folder):
    augmenter = Augmenter({"noise": {"probability": 1}, "room": None}, noise_dir=folder)
    copy = pickle.loads(pickle.dumps(augmenter))
    speech = synthetic_speech(0.5)
    assert copy.fingerprint() == augmenter.fingerprint()
    assert np.array_equal(copy.waveform(speech, draw=4, clip="a"), augmenter.waveform(speech, draw=4, clip="a"))


# each effect


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.0, 1.1, 1.25])
def test_speed_changes_length_and_pitch_by_the_factor(factor):
    signal = sine(500, 1.003)
    out = heard("speed", signal, factors=[factor])
    assert len(out) == math.ceil(len(signal) / factor - 1e-9)
    assert peak_frequency(out) == pytest.approx(500 * factor, rel=0.002)
    assert level(out[2000:-2000]) == pytest.approx(level(signal), abs=0.1)


def test_speeds_are_chosen_evenly():
    augmenter = Augmenter(["speed"])
    lengths = [len(augmenter.waveform(np.zeros(990, np.float32), draw=draw, clip="a")) for draw in range(600)]
    assert sorted(set(lengths)) == [900, 990, 1100]
    assert all(160 < lengths.count(length) < 240 for length in set(lengths))


@pytest.mark.parametrize("rate", [0.7, 0.9, 1.2, 1.5])
def test_tempo_changes_length_and_keeps_pitch_and_level(rate):
    signal = sine(440)
    out = heard("tempo", signal, rate=rate)
    assert len(out) == round(len(signal) / rate)
    assert peak_frequency(out) == pytest.approx(440, rel=0.005)
    assert level(out[1000:-1000]) == pytest.approx(level(signal), abs=1)
    assert level(out[-1500:-500]) == pytest.approx(level(signal), abs=2)  # it does not fade out


@pytest.mark.parametrize("semitones", [-4, -1.3, 0.5, 3])
def test_pitch_moves_the_peak_and_keeps_length_and_level(semitones):
    signal = sine(440)
    out = heard("pitch", signal, semitones=semitones)
    assert len(out) == len(signal)
    assert 12 * math.log2(peak_frequency(out) / 440) == pytest.approx(semitones, abs=0.1)
    assert level(out[1000:-1000]) == pytest.approx(level(signal), abs=1)


def test_a_made_room_keeps_the_direct_sound_in_place_and_rings_as_long_as_asked():
    click = np.zeros(RATE, np.float32)
    click[1000] = 0.5
    out = heard("room", click, rt60=0.4, drr=6)
    assert len(out) == len(click) and np.abs(out).argmax() == 1000
    assert np.abs(out[:1000]).max() < 1e-5
    tail = np.square(out[1001:].astype(np.float64))
    assert 10 * math.log10(out[1000] ** 2 / tail.sum()) == pytest.approx(6, abs=0.1)
    assert np.square(out).sum() == pytest.approx(0.25, rel=0.01)  # energy is kept
    decay = 10 * np.log10(np.cumsum(tail[::-1])[::-1] / tail.sum())  # Schroeder's backward integration
    time = [int(np.argmax(decay < limit)) / RATE for limit in (-5, -35)]
    assert 2 * (time[1] - time[0]) == pytest.approx(0.4, rel=0.15)


def test_echo_comes_late_and_quieter():
    click = np.zeros(8000, np.float32)
    click[100] = 0.5
    out = heard("echo", click, delay=0.2, gain=-12)
    assert out[100] == 0.5
    assert out[100 + 3200] == pytest.approx(0.5 * 10 ** (-12 / 20), rel=1e-4)
    assert np.count_nonzero(out) == 2


@pytest.mark.parametrize("snr", [-5, 0, 12.5, 30])
@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
def test_made_noise_reaches_its_snr(snr, colour):
    speech = 0.1 * synthetic_speech(1.0)
    noise = heard("noise", speech, snr=snr, colours=[colour]).astype(np.float64) - speech
    assert level(speech) - level(noise) == pytest.approx(snr, abs=0.05)


def test_colours_fall_as_they_should():
    speech = 0.1 * synthetic_speech(4.0)
    falls = {}
    for colour in ("white", "pink", "brown"):
        noise = heard("noise", speech, snr=0, colours=colour) - speech
        power = np.abs(np.fft.rfft(noise)) ** 2
        frequency = np.fft.rfftfreq(len(noise), 1 / RATE)
        octaves = [power[(frequency >= low) & (frequency < 2 * low)].mean() for low in (250, 2000)]
        falls[colour] = 10 * math.log10(octaves[0] / octaves[1]) / 3
    assert falls == pytest.approx({"white": 0, "pink": 3, "brown": 6}, abs=0.5)


def test_noise_from_files_reaches_its_snr_and_short_files_repeat(folder):
    speech = 0.1 * synthetic_speech(1.0)
    augmenter = Augmenter({"noise": {"probability": 1, "snr": 10}}, noise_dir=folder)
    noises = [augmenter.waveform(speech, draw=draw, clip="a").astype(np.float64) - speech for draw in range(16)]
    assert all(level(speech) - level(noise) == pytest.approx(10, abs=0.05) for noise in noises)
    repeats = [np.corrcoef(noise[:8000], noise[8000:])[0, 1] > 0.9 for noise in noises]  # hum.wav lasts half a second
    assert any(repeats) and not all(repeats)


def test_a_pause_in_a_noise_is_not_made_loud(tmp_path):
    bark = np.zeros(60 * RATE, np.float32)
    bark[1_600:2_400] = 0.5 * np.sin(np.arange(800))
    bark += 1e-6 * np.random.default_rng(0).standard_normal(len(bark)).astype(np.float32)
    soundfile.write(tmp_path / "bark.wav", bark, RATE, subtype="FLOAT")
    speech = 0.1 * synthetic_speech(0.5)
    augmenter = Augmenter({"noise": {"probability": 1, "snr": 10}}, noise_dir=tmp_path)
    for draw in range(5):
        noise = augmenter.waveform(speech, draw=draw, clip="a") - speech
        assert np.square(noise).max() > 5 * np.square(noise).mean()  # the bark, not the hiss between barks


@pytest.mark.parametrize("codec", AUGMENTATIONS["replay"]["codecs"])
def test_replay_limits_the_band_keeps_time_and_sounds_alike(codec):
    speech = (synthetic_speech(1.5) + 0.01 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)
    out = heard("replay", speech, low=300, high=2500, codecs=[codec])
    assert len(out) == len(speech)
    assert energy_above(out, 4500) < 0.05 * energy_above(speech, 4500)
    limited = Augmenter({"replay": {"probability": 1, "low": 300, "high": 2500, "codecs": ["mulaw"]}}).waveform(
        speech, draw=1, clip="a"
    )
    assert abs(lag(out, limited)) <= 3
    assert np.corrcoef(out, limited)[0, 1] > 0.65  # speech codecs keep the sound, not the wave
    assert codec == "mulaw" or not np.array_equal(out, limited)


def test_replay_does_without_the_encoders_that_are_not_there(monkeypatch):
    monkeypatch.setattr("av.codec.codecs_available", {"libopus"})
    assert Augmenter(["replay"]).options["replay"]["codecs"] == ["opus", "mulaw"]
    assert always("replay", codecs=["amr"]).options["replay"]["codecs"] == ["mulaw"]


def test_telephone_leaves_its_band():
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    out = heard("telephone", noise)
    assert len(out) == len(noise)
    assert energy_above(out, 4000) < 1e-3
    assert 1 - energy_above(out, 150) < 1e-3
    assert level(heard("telephone", sine(1000))) == pytest.approx(level(sine(1000)), abs=0.5)


def test_gain_and_clipping_are_as_asked():
    speech = 0.5 * synthetic_speech(0.5)
    assert np.allclose(heard("gain", speech, gain=-6), speech * 10 ** (-6 / 20), atol=1e-7)
    clipped = heard("clipping", speech, share=0.4)
    most = 0.4 * np.abs(speech).max()
    assert np.abs(clipped).max() == pytest.approx(most, rel=1e-6)
    quiet = np.abs(speech) < most
    assert np.array_equal(clipped[quiet], speech[quiet]) and 0 < quiet.mean() < 1


def test_the_peak_is_limited_only_where_it_must_be():
    speech = synthetic_speech(0.5)  # peak 0.5
    loud = heard("gain", speech, gain=20)
    assert np.abs(loud).max() == 1 and np.allclose(loud, 2 * speech, atol=1e-6)
    assert np.abs(heard("gain", speech, gain=3)).max() == pytest.approx(0.5 * 10 ** (3 / 20), rel=1e-5)


def test_time_masks_are_as_long_as_asked_and_no_longer_than_their_share():
    ones = np.full(RATE, 0.5, np.float32)
    assert (heard("time_mask", ones, masks=1, duration=0.05) == 0).sum() == 800
    assert (heard("time_mask", ones, masks=1, duration=2, max_share=0.25) == 0).sum() == 4000
    silent = [
        int((heard("time_mask", ones, draw=draw, masks=2, duration=[0.01, 0.02]) == 0).sum()) for draw in range(40)
    ]
    assert 160 <= min(silent) < max(silent) <= 640
    assert set(np.unique(heard("time_mask", ones))) <= {np.float32(0), np.float32(0.5)}


def test_effects_come_in_the_documented_order():
    assert Augmenter(reversed(WAVEFORM)).waveform_names == WAVEFORM
    assert set(WAVEFORM) == set(AUGMENTATIONS) - {"spec_augment", "words"}
    ones = np.full(RATE, 0.5, np.float32)
    both = Augmenter({"time_mask": {"probability": 1}, "noise": {"probability": 1}}).waveform(ones, draw=1, clip="a")
    assert (both == 0).sum() >= 800  # what is masked has no noise in it
    cut = Augmenter({"clipping": {"probability": 1, "share": 0.5}, "gain": {"probability": 1, "gain": 3}})
    assert np.abs(cut.waveform(synthetic_speech(0.5), draw=1, clip="a")).max() == pytest.approx(
        0.25 * 10 ** (3 / 20), rel=1e-5
    )


@pytest.mark.parametrize("name", WAVEFORM)
def test_the_shortest_clip_silence_and_full_scale_survive(name, folder):
    generator = np.random.default_rng(0)
    folders = {f"{name}_dir": folder} if name in ("noise", "room") else {}
    for augmenter in [always(name), *([Augmenter({name: {"probability": 1}}, **folders)] if folders else [])]:
        for signal in (
            synthetic_speech(0.025), np.zeros(400), np.zeros(RATE), np.ones(1), np.sign(generator.standard_normal(4000)), np.full(900, 1e-30),
        ):  # fmt: skip
            for draw in range(5):
                out = augmenter.waveform(signal.astype(np.float32), draw=draw, clip="a")
                assert out.dtype == np.float32 and len(out) and np.isfinite(out).all() and np.abs(out).max() <= 1
                assert name in ("speed", "tempo") or len(out) == len(signal)


def test_everything_at_once_at_its_extremes():
    speech = synthetic_speech(0.3)
    for end in (0, 1):
        options = {
            name: {
                option: default if isinstance(default, list | tuple) and isinstance(default[0], str)
                else [LIMITS[option][end]] if isinstance(default, list)
                else LIMITS[option][end] if option not in ("probability", "rt60", "masks") else default
                for option, default in AUGMENTATIONS[name].items()
            } | {"probability": 1}
            for name in WAVEFORM
        }  # fmt: skip
        for name in WAVEFORM:
            out = Augmenter({name: options[name]}).waveform(speech, draw=1, clip="a")
            assert len(out) and np.isfinite(out).all() and np.abs(out).max() <= 1, name
        assert np.isfinite(Augmenter(options).waveform(speech, draw=1, clip="a")).all()


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(0, np.float32), np.zeros((2, 100), np.float32), np.zeros(100, np.int16), [0.0, 1.0], np.full(100, np.nan), np.full(100, 1e39),
    ],
)  # fmt: skip
def test_what_is_no_waveform_is_refused_by_name(bad):
    with pytest.raises(InputError, match=r"^call\.wav: expected a waveform"):
        Augmenter(["gain"]).waveform(bad, draw=0, clip="call.wav")


# features


def test_spec_augment_masks_the_right_amount_with_the_mean():
    features = torch.randn(80, 300, generator=torch.Generator().manual_seed(0))
    before = features.clone()
    frames = always("spec_augment", time_masks=1, time_width=30, frequency_masks=0).spectrogram(
        features, draw=1, clip="a"
    )
    assert int((frames != features).all(0).sum()) == 30 and int((frames != features).sum()) == 30 * 80
    assert torch.unique(frames[frames != features]).tolist() == pytest.approx([float(features.mean())])
    bands = always("spec_augment", time_masks=0, frequency_masks=1, frequency_width=10).spectrogram(
        features, draw=1, clip="a"
    )
    assert int((bands != features).all(1).sum()) == 10 and int((bands != features).sum()) == 10 * 300
    share = always("spec_augment", time_masks=1, time_width=1000, frequency_masks=0, max_share=0.1).spectrogram(
        features, draw=1, clip="a"
    )
    assert int((share != features).all(0).sum()) == 30
    assert torch.equal(features, before)


def test_features_are_a_function_of_draw_and_clip_and_short_ones_survive():
    augmenter = Augmenter(["spec_augment"])
    features = torch.randn(80, 200)
    outs = [augmenter.spectrogram(features, draw=draw, clip=clip) for draw in range(4) for clip in "ab"]
    assert len({out.numpy().tobytes() for out in outs}) > 6
    assert torch.equal(outs[-1], augmenter.spectrogram(features, draw=3, clip="b")) and outs[0].dtype == features.dtype
    assert augmenter.spectrogram(features[:1, :1], draw=0, clip="a").numel()


def test_what_is_off_changes_nothing():
    augmenter = Augmenter({})
    speech, features = 1.0 * synthetic_speech(0.2), torch.randn(80, 50)
    assert np.array_equal(augmenter.waveform(speech, draw=1, clip="a"), speech)
    assert augmenter.spectrogram(features, draw=1, clip="a") is features
    assert augmenter.text("as it was", draw=1, clip="a") == "as it was"
    assert (augmenter.waveform_names, augmenter.has_waveform, augmenter.has_text, augmenter.has_features) == (
        (),
        False,
        False,
        False,
    )
    kinds = Augmenter(["noise", "words", "spec_augment"])
    assert (kinds.waveform_names, kinds.has_waveform, kinds.has_text, kinds.has_features) == (
        ("noise",),
        True,
        True,
        True,
    )


# words


TEXTS = [
    "I can't believe you said that to her, it was so very unkind of you.", "no", "I", "... !", "", "   ", "Tür und Angel: \"Weißt du das?\"\n\nJa.",
    "我很高兴见到你", "Nie wiem, co się stało!", "😀 ok 😀", "a a a a", "3 2 1", "don't  don't",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("shares", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.3, 0.3, 0.3), (1, 1, 1)])
def test_words_never_leave_nothing_and_are_a_function_of_draw_and_clip(text, shares):
    augmenter = always("words", **dict(zip(("dropped", "swapped", "misheard"), shares, strict=True)))
    for draw in range(20):
        out = augmenter.text(text, draw=draw, clip="a")
        assert out == augmenter.text(text, draw=draw, clip="a")
        assert bool(out.strip()) == bool(text.strip())
        assert any(map(str.isalnum, out)) == any(map(str.isalnum, text))
        if shares[0] == 1 and any(map(str.isalnum, text)):
            assert len([word for word in out.split() if any(map(str.isalnum, word))]) == 1


def test_each_mistake_does_its_own_and_no_more():
    text = TEXTS[0]
    words = text.split()
    for seed in range(30):
        generator = np.random.default_rng(seed)
        assert misrecognized(text, generator, dropped=0, swapped=0, misheard=0) == text
        dropped = misrecognized(text, generator, dropped=0.3, swapped=0, misheard=0).split()
        assert len(dropped) <= len(words) and all(word in words for word in dropped)
        swapped = misrecognized(text, generator, dropped=0, swapped=0.4, misheard=0)
        plain = [w.strip(".,").lower() for w in words]
        assert sorted(w.strip(".,").lower() for w in swapped.split()) == sorted(plain)
        assert swapped.endswith(".") and swapped.count(",") == 1
        moved = [a != b for a, b in zip(plain, (w.strip(".,").lower() for w in swapped.split()), strict=True)]
        assert sum(moved) % 2 == 0
        misheard = misrecognized(text, generator, dropped=0, swapped=0, misheard=0.5).split()
        assert len(misheard) == len(words)
        assert misheard != words


def test_shares_are_the_shares_of_words():
    text = " ".join(f"word{n}" for n in range(4000))
    kept = misrecognized(text, np.random.default_rng(0), dropped=0.2, swapped=0, misheard=0).split()
    assert 0.77 < len(kept) / 4000 < 0.83
    few = " ".join(["table", "river", "candle", "mountain"] * 500)
    heard_as = misrecognized(few, np.random.default_rng(0), dropped=0, swapped=0, misheard=0.1).split()
    assert 0.07 < np.mean([a != b for a, b in zip(heard_as, few.split(), strict=True)]) < 0.13


def test_misheard_words_sound_or_look_alike():
    out = {
        misrecognized("talking walking", np.random.default_rng(seed), dropped=0, swapped=0, misheard=1)
        for seed in range(200)
    }
    firsts = {line.split()[0] for line in out}
    assert "walking" in firsts and firsts & {"dalking", "talging", "telking", "tarking", "talkimg"}
    assert "Walking" in {
        misrecognized("Talking walking", np.random.default_rng(seed), dropped=0, swapped=0, misheard=1).split()[0]
        for seed in range(50)
    }


# what it is told


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nois"], "did you mean 'noise'"), ("sped", "did you mean 'speed'"), (["reverb"], "expected one of speed, tempo"),
        ({"noise": {"sn": 5}}, "noise: option: .*did you mean 'snr'"), ({"noise": 5}, "noise: expected a mapping"),
        ({"noise": {"snr": [20, 5]}}, r"noise: snr: expected a range \[low, high\]"), ({"noise": {"snr": []}}, "noise: snr"),
        ({"noise": {"snr": [1, 2, 3]}}, "noise: snr"), ({"noise": {"snr": "5"}}, "noise: snr"), ({"noise": {"snr": [0, float("nan")]}}, "noise: snr"),
        ({"noise": {"colours": ["pinc"]}}, "did you mean 'pink'"), ({"noise": {"colours": []}}, "noise: colours"),
        ({"noise": {"probability": 1.5}}, "noise: probability: expected numbers from 0 to 1"), ({"noise": {"probability": True}}, "noise: probability"),
        ({"noise": {"probability": None}}, "noise: probability"), ({"noise": {"probability": [0.5]}}, "noise: probability"),
        ({"speed": {"factors": [0.9, 0]}}, "speed: factors: expected a list of numbers"), ({"speed": {"factors": []}}, "speed: factors"),
        ({"time_mask": {"masks": 1.5}}, "time_mask: masks: expected whole numbers"), ({"clipping": {"share": 0}}, "clipping: share"),
        ({"replay": {"codecs": ["mp4"]}}, "did you mean 'mp3'"), ({"replay": {"high": 9000}}, "replay: high"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_with_the_remedy(given, message):
    with pytest.raises(InputError, match=message):
        Augmenter(given)


def test_defaults_are_options_that_it_would_take():
    explicit = {
        name: {option: list(v) if isinstance(v, tuple) else v for option, v in o.items()}
        for name, o in AUGMENTATIONS.items()
    }
    assert (
        Augmenter(explicit).options
        == Augmenter(dict.fromkeys(AUGMENTATIONS)).options
        == Augmenter(list(AUGMENTATIONS)).options
    )
    assert Augmenter("noise").options == Augmenter({"noise": {}}).options
    assert Augmenter({"gain": {"gain": 3}}).options["gain"]["gain"] == [3.0, 3.0]


# folders


def test_an_unreadable_file_is_left_out_by_name_and_the_others_are_used(folder):
    (folder / "a_broken.wav").write_bytes(b"RIFF but no more")
    soundfile.write(folder / "b_silent.wav", np.zeros(RATE), RATE)
    speech = synthetic_speech(0.3)

    def outs_of():
        augmenter = Augmenter({"noise": {"probability": 1}}, noise_dir=folder)
        return [augmenter.waveform(speech, draw=draw, clip="a") for draw in range(20)]

    with pytest.warns(UserWarning, match="Left out") as caught:
        outs = outs_of()
    names = [str(warning.message) for warning in caught]
    assert (
        len(names) == 2
        and any("a_broken.wav" in name for name in names)
        and any("b_silent.wav" in name for name in names)
    )
    assert len({out.tobytes() for out in outs}) == 20


def test_folders_without_recordings_are_refused(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"noise_dir .*empty: expected recordings, got none;"):
        Augmenter(["noise"], noise_dir=tmp_path / "empty")
    with pytest.warns(UserWarning, match=r"notes\.wav"), pytest.raises(InputError, match="got none that can be read"):
        Augmenter(["noise"], noise_dir=tmp_path / "text")
    with pytest.raises(InputError, match="got no such folder"):
        Augmenter(["room"], room_dir=tmp_path / "nowhere")
    with pytest.raises(InputError, match="noise_dir: expected the augmentation 'noise'"):
        Augmenter(["room"], noise_dir=folder)
    with pytest.raises(InputError, match=r"noise_dir: .*colours"):
        Augmenter({"noise": {"colours": ["pink"]}}, noise_dir=folder)
    with pytest.raises(InputError, match=r"room_dir: .*rt60"):
        Augmenter({"room": {"rt60": 0.5}}, room_dir=folder)


def test_room_files_are_aligned_to_their_direct_sound(tmp_path):
    response = np.zeros(4000)
    response[700], response[900] = -0.8, 0.2  # the loudspeaker was 15 m away, and wired the wrong way round
    soundfile.write(tmp_path / "hall.wav", response, RATE, subtype="FLOAT")
    click = np.zeros(8000, np.float32)
    click[2000] = 0.5
    out = Augmenter({"room": {"probability": 1}}, room_dir=tmp_path).waveform(click, draw=1, clip="a")
    assert len(out) == 8000 and np.abs(out).argmax() == 2000 and out[2000] > 0
    assert out[2200] / out[2000] == pytest.approx(-0.25, abs=1e-3)
    assert np.square(out).sum() == pytest.approx(0.25, rel=1e-3)


def test_decoded_noises_are_kept_within_the_limit_without_changing_what_is_heard(folder, monkeypatch):
    speech = synthetic_speech(0.3)

    def outs():
        augmenter = Augmenter({"noise": {"probability": 1}}, noise_dir=folder)
        heard = [augmenter.waveform(speech, draw=draw, clip="a") for draw in range(12)]
        return np.stack(heard), len(augmenter._folders["noise"]._decoded)

    kept, files = outs()
    monkeypatch.setattr(augmentation, "MEMORY", 3 * RATE * 4)
    again, fewer = outs()
    assert (files, fewer) == (2, 1) and np.array_equal(kept, again)


def test_fingerprint_changes_with_all_that_decides_and_with_nothing_else(folder):
    base = {"noise": {"snr": [5, 20]}, "speed": {}}

    def print_of(augmentations=base, **arguments):
        return Augmenter(augmentations, **arguments).fingerprint()

    assert print_of() == print_of({"speed": None, "noise": {"snr": [5, 20]}, "words": {}, "spec_augment": {}})
    assert len(print_of()) == 64 and int(print_of(), 16)
    prints = [
        print_of(), print_of(seed=1), print_of({"noise": {"snr": [5, 21]}, "speed": {}}), print_of({"noise": {"snr": [5, 20]}}),
        print_of({**base, "gain": {}}), print_of({**base, "speed": {"factors": [0.9, 1.1]}}), print_of(noise_dir=folder),
    ]  # fmt: skip
    (folder / "LICENSE").write_text("still theirs")
    assert print_of(noise_dir=folder) == prints[-1]
    sound, _ = soundfile.read(folder / "deep" / "hum.wav")
    sound[5] += 0.01
    soundfile.write(folder / "deep" / "hum.wav", sound, RATE)
    prints.append(print_of(noise_dir=folder))
    (folder / "deep" / "hum.wav").rename(folder / "hum.wav")
    prints.append(print_of(noise_dir=folder))
    assert len(set(prints)) == len(prints)


# to listen to


def test_listening_examples_are_written(tmp_path, folder):
    speech = synthetic_speech(0.5)
    soundfile.write(tmp_path / "call.wav", speech, RATE)
    written = write_listening_examples(tmp_path / "call.wav", tmp_path / "out" / "here", noise_dir=folder)
    assert [path.name for path in written] == ["original.wav", *(f"{name}.wav" for name in WAVEFORM)]
    original = load_audio(written[0])
    assert np.allclose(original, speech, atol=1e-4)
    for path in written[1:]:
        assert soundfile.info(path).subtype == "PCM_16" and soundfile.info(path).samplerate == RATE
        out = load_audio(path)
        assert len(out) != len(original) or not np.array_equal(out, original), path.name
    some = write_listening_examples(
        tmp_path / "call.wav", tmp_path / "two", {"gain": {"probability": 0}, "words": {}}, count=2, seed=5
    )
    assert [path.name for path in some] == ["original.wav", "gain-1.wav", "gain-2.wav"]
    assert not np.array_equal(load_audio(some[1]), load_audio(some[2]))
    again = write_listening_examples(tmp_path / "call.wav", tmp_path / "two", {"gain": {}}, count=2, seed=5)
    assert again == some


def test_listening_examples_refuse_what_they_cannot_do(tmp_path):
    soundfile.write(tmp_path / "call.wav", synthetic_speech(0.5), RATE)
    with pytest.raises(InputError, match="augmentations: expected one of speed"):
        write_listening_examples(tmp_path / "call.wav", tmp_path / "out", ["words"])
    with pytest.raises(InputError, match="expected a folder that can be written to"):
        write_listening_examples(tmp_path / "call.wav", tmp_path / "call.wav", ["gain"])
    with pytest.raises(InputError, match=r"nothing\.wav"):
        write_listening_examples(tmp_path / "nothing.wav", tmp_path / "out", ["gain"])
    assert not (tmp_path / "out").exists()


# real noises


def test_real_noises_and_rooms(data):
    folders = {"noise_dir": data / "noise" / "noise", "room_dir": data / "noise" / "rir"}
    speech = 0.1 * synthetic_speech(2.0)
    noisy = Augmenter({"noise": {"probability": 1, "snr": 8}}, noise_dir=folders["noise_dir"])
    noises = [noisy.waveform(speech, draw=draw, clip="a").astype(np.float64) - speech for draw in range(30)]
    assert all(level(speech) - level(noise) == pytest.approx(8, abs=0.1) for noise in noises)
    click = np.zeros(RATE, np.float32)
    click[4000] = 0.5
    roomy = Augmenter({"room": {"probability": 1}}, room_dir=folders["room_dir"])
    rooms = [roomy.waveform(click, draw=draw, clip="a") for draw in range(30)]
    assert {int(np.abs(room).argmax()) for room in rooms} == {4000}
    assert len({room.tobytes() for room in rooms}) > 3
    both = Augmenter({name: {"probability": 1} for name in WAVEFORM}, **folders)
    assert np.isfinite(both.waveform(speech, draw=1, clip="a")).all()
    assert both.fingerprint() == Augmenter({name: {"probability": 1} for name in WAVEFORM}, **folders).fingerprint()
