"""`Augmenter`: augmentation of recordings with noise, rooms, microphones, telephones and other voices.

The effects follow the path of sound: speed, tempo, pitch (the voice), room, echo (its place), noise (other sounds),
replay, telephone (the microphone), gain, clipping, time_mask (faults of the recording). Each depends on seed, draw and
clip alone.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import itertools
import json
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multimodal_ser.audio import SAMPLING_RATE, load_audio, stream_audio
from multimodal_ser.errors import InputError, did_you_mean
from multimodal_ser.training.transcript_augmentation import misrecognized

Augmentations = Mapping[str, Mapping[str, Any]] | Sequence[str]

CODECS: dict[str, tuple[str, str, int, tuple[int, ...], int, dict[str, str]]] = {
    "mp3": ("libmp3lame", "mp3", 16_000, (16_000, 24_000, 32_000), 0, {"compression_level": "7"}),
    "opus": ("libopus", "ogg", 16_000, (8_000, 12_000, 24_000), 0, {"compression_level": "2"}),
    "amr": ("libopencore_amrnb", "amr", 8_000, (4_750, 7_950, 12_200), 80, {}),
    "g722": ("g722", "g722", 16_000, (64_000,), 22, {}),
}
"""Encoder, container, sampling rate in Hz, bits per second, measured delay of the decoded signal in samples at 16 kHz,
and the encoder's options.
"""

AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "speed": {"probability": 1.0, "factors": [0.9, 1.0, 1.1]},
    "tempo": {"probability": 0.3, "rate": (0.85, 1.15)},
    "pitch": {"probability": 0.3, "semitones": (-2.0, 2.0)},
    "room": {"probability": 0.3, "rt60": (0.15, 0.8), "drr": (0.0, 12.0)},
    "echo": {"probability": 0.2, "delay": (0.05, 0.3), "gain": (-20.0, -6.0)},
    "noise": {"probability": 0.5, "snr": (5.0, 25.0), "colours": ["white", "pink", "brown"]},
    "replay": {"probability": 0.3, "low": (100.0, 400.0), "high": (3000.0, 7000.0), "codecs": [*CODECS, "mulaw"]},
    "telephone": {"probability": 0.1},
    "gain": {"probability": 0.5, "gain": (-12.0, 6.0)},
    "clipping": {"probability": 0.1, "share": (0.3, 0.8)},
    "time_mask": {"probability": 0.3, "masks": 2, "duration": (0.05, 0.2), "max_share": 0.1},
    "spec_augment": {"probability": 1.0, "time_masks": 2, "time_width": (0, 40), "max_share": 0.2, "frequency_masks": 2,
                     "frequency_width": (0, 15)},
    "words": {"probability": 0.5, "dropped": 0.05, "swapped": 0.02, "misheard": 0.08},
}  # fmt: skip
"""Every augmentation with the defaults of its options: (low, high) is a range of a uniform distribution, a list holds
choices.
"""

WAVEFORM = ("speed", "tempo", "pitch", "room", "echo", "noise", "replay", "telephone", "gain", "clipping", "time_mask")
"""The augmentations of waveforms, in the order in which they are applied."""

LIMITS = {
    "probability": (0, 1), "factors": (0.25, 4), "rate": (0.25, 4), "semitones": (-12, 12), "rt60": (0.01, 10), "drr": (-30, 60),
    "delay": (0, 10), "gain": (-80, 40), "snr": (-40, 80), "low": (10, 2500), "high": (2500, 7900), "share": (0.001, 1), "masks": (1, 100),
    "duration": (0, 60), "max_share": (0, 1), "time_masks": (0, 100), "time_width": (0, 10_000), "frequency_masks": (0, 100),
    "frequency_width": (0, 1000), "width": (0, 10_000), "dropped": (0, 1), "swapped": (0, 1), "misheard": (0, 1),
}  # fmt: skip
"""Smallest and largest value of each numerical option."""

FILES = (
    ".wav",
    ".flac",
    ".mp3",
    ".ogg",
    ".opus",
    ".m4a",
    ".aac",
    ".aif",
    ".aiff",
    ".webm",
    ".mp4",
    ".amr",
    ".wv",
    ".caf",
    ".au",
    ".wma",
)
"""Suffixes of the recordings in a folder."""

MEMORY = 256 * 2**20
"""Largest number of bytes of decoded noises in memory; the least recently used are removed."""

REVISION = 1
"""Version of the augmentations. Raise it when one gives another result for the same options: cached embeddings of older
versions are then unused.
"""


class Augmenter:
    """Augments waveforms, words and features; the result for a clip is a function of (seed, draw, clip).

    Augmentations are independent: switching one on does not change the others. No global random state is read or
    changed. A clip that would exceed full scale is made softer as a whole; otherwise levels stay. Every augmentation
    has a `probability`; a single number for a range is a constant. Defaults are in `AUGMENTATIONS`. The other options:

    - speed: one of `factors`; the pitch changes too (Ko et al. 2015, "Audio augmentation for speech recognition").
      tempo: faster by `rate` at the same pitch (phase vocoder). pitch: higher by `semitones` at the same length.
    - room: an impulse response from `room_dir`, or a synthesized one: direct sound and noise that decays by 60 dB in
      `rt60` seconds, with a ratio of their energies of `drr` dB. The direct sound keeps its time, the energy is about
      the same, and the reverberation after the end of the clip is cut.
    - echo: a copy `delay` seconds later, at `gain` dB.
    - noise: a recording from `noise_dir`, or synthesized noise of one of `colours`, at a signal-to-noise ratio of `snr`
      dB. Silence stays silent.
    - replay: a small loudspeaker and microphone (band from `low` to `high` Hz) and one of `codecs`; codecs that the
      installed PyAV cannot encode are left out, "mulaw" needs none. telephone: 300 to 3400 Hz, 8 kHz, 8 bits (mu-law,
      ITU-T G.711).
    - gain: louder by `gain` dB. clipping: limited to a `share` of the peak. time_mask: `masks` silences of `duration`
      seconds.
    - spec_augment: in log-mel features, `time_masks` of `time_width` frames and `frequency_masks` of `frequency_width`
      bands, filled with the mean (Park et al. 2019, https://arxiv.org/abs/1904.08779; no time warp). A mask over time
      covers at most `max_share` of the clip.
    - words: shares of the words that are `dropped`, `swapped` and `misheard`; see `misrecognized`.

    Args:
        augmentations: names, or a mapping from names to their options ({} or None: the defaults).
        seed: seed of all random numbers.
        noise_dir: folder of noises, with its subfolders. The first two minutes of each file are used.
        room_dir: folder of impulse responses, with its subfolders. The first four seconds of each are used.

    Raises:
        InputError: an augmentation or option is unknown, a value is out of range, or a folder has no readable
            recording.

    Example:
        >>> from multimodal_ser.testing import synthetic_speech
        >>> from multimodal_ser.training.augmentation import Augmenter
        >>> augmenter = Augmenter({"speed": {"factors": [0.8]}, "noise": {"snr": [5, 20], "probability": 0.5}}, seed=1)
        >>> augmenter.waveform(synthetic_speech(1.0), draw=3, clip="a.wav").shape
        (20000,)
    """

    def __init__(
        self,
        augmentations: Augmentations,
        *,
        seed: int = 0,
        noise_dir: str | Path | None = None,
        room_dir: str | Path | None = None,
    ):
        names = [augmentations] if isinstance(augmentations, str) else augmentations
        requested = names if isinstance(names, Mapping) else {name: {} for name in names}
        self.options = _checked(requested)
        self.seed = int(seed)
        self._folders: dict[str, _Folder] = {}
        self._fingerprint: str | None = None
        for name, folder, seconds, unused in (
            ("noise", noise_dir, 120.0, {"colours"}),
            ("room", room_dir, 4.0, {"rt60", "drr"}),
        ):
            if folder is not None and (name not in requested or unused & set(requested[name] or {})):
                is_on = name in requested
                raise InputError(
                    f"{name}_dir", expected=f"the augmentation {name!r}, with recordings alone",
                    got=f"{', '.join(sorted(unused))} for synthesized ones" if is_on else "none",
                    remedy="leave the folder or these options out" if is_on else f"add {name!r}",
                )  # fmt: skip
            if folder is not None:
                self._folders[name] = _Folder(Path(folder), f"{name}_dir", seconds)
        if "replay" in self.options:
            from av.codec import codecs_available

            available = [
                name
                for name in self.options["replay"]["codecs"]
                if name == "mulaw" or CODECS[name][0] in codecs_available
            ]
            self.options["replay"]["codecs"] = available or ["mulaw"]

    @property
    def waveform_names(self) -> tuple[str, ...]:
        """Names of the augmentations of waveforms that are on, in the order in which they are applied."""
        return tuple(name for name in WAVEFORM if name in self.options)

    @property
    def has_waveform(self) -> bool:
        """Whether `waveform` does anything."""
        return bool(self.waveform_names)

    @property
    def has_text(self) -> bool:
        """Whether `text` does anything."""
        return "words" in self.options

    @property
    def has_features(self) -> bool:
        """Whether `spectrogram` does anything."""
        return "spec_augment" in self.options

    def waveform(self, waveform: np.ndarray, *, draw: int, clip: str) -> np.ndarray:
        """Return an augmented copy.

        Args:
            waveform: (S,) floats at 16 kHz; it is not changed.
            draw: number of the version of the clip: an epoch, or the number of a fixed variant.
            clip: name of the clip, the same on every machine.

        Returns:
            (S',) float32 in [-1, 1]; S' is S unless speed or tempo is on.

        Raises:
            InputError: `waveform` has another shape or type, or numbers that are not finite.
        """
        import torchaudio.functional

        flat = (
            isinstance(waveform, np.ndarray) and waveform.ndim == 1 and len(waveform) > 0 and waveform.dtype.kind == "f"
        )
        if not flat or not np.abs(waveform).max() < 1e6:  # nor is NaN
            got = (
                "NaN, infinity or beyond any scale"
                if flat
                else f"{getattr(waveform, 'dtype', type(waveform).__name__)} {np.shape(waveform)}"
            )
            raise InputError(clip, expected="a waveform, (S,) finite floats", got=got, remedy="load_audio gives one")
        signal = torch.from_numpy(waveform.astype(np.float32))
        for name in self.waveform_names:
            generator = self._drawn(name, draw, clip)
            if generator is not None:
                effects = _Effects(torchaudio.functional, generator, self.options[name], self._folders.get(name))
                signal = getattr(effects, name)(signal)
        peak = signal.abs().max()
        return (signal / peak if peak > 1 else signal).numpy()

    def text(self, text: str, *, draw: int, clip: str) -> str:
        """Return a text with errors of speech recognition; it is never empty unless the text is."""
        generator = self._drawn("words", draw, clip)
        shares = {option: share for option, share in self.options.get("words", {}).items() if option != "probability"}
        return text if generator is None else misrecognized(text, generator, **shares)

    def spectrogram(self, features: torch.Tensor, *, draw: int, clip: str) -> torch.Tensor:
        """Return features (M, F), without padding, with masks over time and frequency; unchanged if `spec_augment` is
        off.
        """
        bands, frames = features.shape
        generator = self._drawn("spec_augment", draw, clip)
        if generator is None:
            return features
        options, masked, mean = self.options["spec_augment"], features.clone(), features.mean()
        for start, end in _spans(generator, frames, options["time_masks"], options["time_width"], options["max_share"]):
            masked[:, start:end] = mean
        for start, end in _spans(generator, bands, options["frequency_masks"], options["frequency_width"], 1.0):
            masked[start:end] = mean
        return masked

    def fingerprint(self) -> str:
        """Return a hash of everything that `waveform` depends on: options, seed, content of the folders, versions of
        the libraries.
        """
        if self._fingerprint is None:
            options = [[name, self.options[name]] for name in self.waveform_names]
            content = {name: folder.content() for name, folder in self._folders.items()}
            code = [REVISION, *map(importlib.metadata.version, ("numpy", "torch", "torchaudio", "av"))]
            self._fingerprint = hashlib.sha256(json.dumps([self.seed, options, content, code]).encode()).hexdigest()
        return self._fingerprint

    def _drawn(self, name: str, draw: int, clip: str) -> np.random.Generator | None:
        key = f"{self.seed} {int(draw)} {name} {clip}".encode("utf-8", "surrogateescape")
        generator = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:16], "little"))
        return generator if name in self.options and generator.random() < self.options[name]["probability"] else None


def write_listening_examples(
    recording: Any,
    output_dir: str | Path,
    augmentations: Augmentations | None = None,
    *,
    seed: int = 0,
    count: int = 1,
    noise_dir: str | Path | None = None,
    room_dir: str | Path | None = None,
) -> list[Path]:
    """Write a recording unchanged (original.wav) and with each augmentation, to listen to the options.

    Args:
        recording: see `load_audio`. output_dir: folder, which is made; files of the same names are replaced.
        augmentations: see `Augmenter`, as for the other arguments; their probability is ignored, and so are
            augmentations of features and words.
        count: number of versions of each: noise.wav, or noise-1.wav, noise-2.wav ...

    Returns:
        Paths of the files, 16-bit WAV at 16 kHz.

    Raises:
        InputError: see `Augmenter` and `load_audio`; or no augmentation changes waveforms, or the folder cannot be
            made.
    """
    import soundfile

    augmenter = Augmenter(augmentations or tuple(WAVEFORM), seed=seed, noise_dir=noise_dir, room_dir=room_dir)
    names, options, folder = augmenter.waveform_names, augmenter.options, Path(output_dir)
    if not names:
        raise InputError(
            "augmentations", expected=f"one of {', '.join(WAVEFORM)}", got=", ".join(options), remedy="add one of these"
        )
    if "speed" in names:  # an unchanged speed would be no example
        options["speed"]["factors"] = [factor for factor in options["speed"]["factors"] if factor != 1] or [1.0]
    waveform = load_audio(recording)
    written = [folder / "original.wav"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(written[0], waveform, SAMPLING_RATE, subtype="PCM_16")
        for name, number in itertools.product(names, range(1, count + 1)):
            augmenter.options = {name: options[name] | {"probability": 1.0}}
            written.append(folder / (f"{name}.wav" if count == 1 else f"{name}-{number}.wav"))
            augmented = augmenter.waveform(waveform, draw=number, clip="listening example")
            soundfile.write(written[-1], augmented, SAMPLING_RATE, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(
            str(folder), expected="a folder that can be written to", got=str(error), remedy="name another"
        ) from error
    return written


def _checked(requested: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    for name, options in requested.items():
        _require_name("augmentation", name, AUGMENTATIONS)
        if options is not None and not isinstance(options, Mapping):
            raise InputError(
                name, expected="a mapping of options", got=repr(options), remedy=f"such as {AUGMENTATIONS[name]}"
            )
        for option in options or {}:
            _require_name(f"{name}: option", option, AUGMENTATIONS[name])
    complete = {
        name: defaults | dict(requested[name] or {}) for name, defaults in AUGMENTATIONS.items() if name in requested
    }
    return {
        name: {option: _option(name, option, value) for option, value in options.items()}
        for name, options in complete.items()
    }


def _require_name(what: str, name: Any, names: Iterable[str]) -> None:
    if name not in names:
        remedy = did_you_mean(name, names)
        raise InputError(what, expected=f"one of {', '.join(names)}", got=repr(name), remedy=remedy)


def _option(name: str, option: str, value: Any) -> Any:
    """Return the value in the form of its default: a number, a range [low, high], or a list of choices."""
    default = AUGMENTATIONS[name][option]
    many = isinstance(default, list | tuple)
    values = list(value) if many and isinstance(value, Sequence) and not isinstance(value, str) else [value]
    kind = type(default[0]) if many else type(default)
    low, high = LIMITS.get(option, (0, 0))
    if kind is str and values:
        for choice in values:
            _require_name(f"{name}: {option}", choice, default)
        return values
    is_valid = [
        isinstance(v, int | float) and not isinstance(v, bool) and low <= float(v) <= high and kind(v) == v
        for v in values
    ]
    if (
        not is_valid
        or not all(is_valid)
        or (isinstance(default, tuple) and (len(values) > 2 or values != sorted(values)))
    ):
        form = "a range [low, high] of " if isinstance(default, tuple) else "a list of " if many else ""
        expected = f"{form}{'whole numbers' if kind is int else 'numbers'} from {low:g} to {high:g}"
        raise InputError(f"{name}: {option}", expected=expected, got=repr(value), remedy=f"such as {default}")
    values = [kind(v) for v in values]
    return [values[0], values[-1]] if isinstance(default, tuple) else values if many else values[0]


class _Folder:
    """Recordings of a folder, decoded when they are drawn, and cached in memory up to a limit."""

    def __init__(self, folder: Path, argument: str, seconds: float):
        self.folder, self.argument, self.seconds = folder, argument, seconds
        paths = [
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in FILES and not path.name.startswith(".") and path.is_file()
        ]
        self.paths = sorted(paths, key=lambda path: path.relative_to(folder).as_posix())
        self._decoded: OrderedDict[Path, np.ndarray | None] = OrderedDict()  # None: it cannot be read
        self.draw(np.random.default_rng(0))  # an error for a folder without recordings comes now, not during an epoch

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Return one of the recordings, (S,); one that cannot be read is replaced by the next."""
        first = int(generator.integers(max(1, len(self.paths))))
        for path in [*self.paths[first:], *self.paths[:first]]:
            if path not in self._decoded:
                self._decoded[path] = self._read(path)
            self._decoded.move_to_end(path)
            if sum(sound.nbytes for sound in self._decoded.values() if sound is not None) > MEMORY:
                self._decoded.popitem(last=False)
            sound = self._decoded.get(path)
            if sound is not None:
                return sound
        got = "none that can be read" if self.paths else "none" if self.folder.is_dir() else "no such folder"
        raise InputError(
            f"{self.argument} {self.folder}",
            expected="recordings",
            got=got,
            remedy="name another folder, or leave it out",
        )

    def _read(self, path: Path) -> np.ndarray | None:
        try:
            sound = next(stream_audio(path, block_duration=self.seconds, max_duration=math.inf))
            if np.abs(sound).max() > 1e-6:
                return sound
            raise InputError(str(path), expected="sound", got="silence", remedy="remove it")
        except (InputError, OSError) as error:
            warnings.warn(f"{error}. Left out.", UserWarning, stacklevel=2)
            return None

    def content(self) -> list[tuple[str, str]]:
        return [
            (path.relative_to(self.folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
            for path in self.paths
        ]


def _spans(
    generator: np.random.Generator, size: int, masks: int, width: Sequence[float], share: float
) -> Iterator[tuple[int, int]]:
    """Yield start and end of random masks, each as wide as `width` allows and at most a `share` of `size`."""
    for _ in range(masks):
        span = min(int(generator.integers(round(width[0]), round(width[1]) + 1)), int(share * size))
        start = int(generator.integers(size - span + 1))
        yield start, start + span


def _fitted(signal: torch.Tensor, size: int) -> torch.Tensor:
    return torch.nn.functional.pad(signal[:size], (0, max(0, size - len(signal))))


@dataclass
class _Effects:
    """The augmentations of waveforms, (S,) -> (S',), with the options and random numbers of one of
    them for one clip.
    """

    functional: Any  # torchaudio's
    generator: np.random.Generator
    options: dict[str, Any]
    folder: _Folder | None

    def uniform(self, option: str) -> float:
        return float(self.generator.uniform(*self.options[option]))

    def speed(self, signal: torch.Tensor) -> torch.Tensor:
        return self.resampled(signal, float(self.generator.choice(self.options["factors"])))

    def tempo(self, signal: torch.Tensor) -> torch.Tensor:
        return self.stretched(signal, self.uniform("rate"))

    def pitch(self, signal: torch.Tensor) -> torch.Tensor:
        # torchaudio's pitch_shift resamples by the exact factor, which takes 10 s for a clip of 4 s
        factor = 2 ** (self.uniform("semitones") / 12)
        return _fitted(self.resampled(self.stretched(signal, 1 / factor), factor, 32), len(signal))

    def resampled(self, signal: torch.Tensor, factor: float, finest: int = 1000) -> torch.Tensor:
        """Return a signal `factor` times as fast, (ceil(S / factor),); the factor is rounded to a simple fraction for
        speed.
        """
        ratio = Fraction(factor).limit_denominator(finest)
        return self.functional.resample(signal, ratio.numerator, ratio.denominator)

    def stretched(self, signal: torch.Tensor, rate: float) -> torch.Tensor:
        """Return a signal `rate` times as fast at the same pitch, (round(S / rate),)."""
        n_fft = 512
        hop = 128
        size = max(1, round(len(signal) / rate))
        window = torch.hann_window(n_fft)
        padded = _fitted(signal, len(signal) + n_fft)  # frames reach beyond the end
        frames = torch.stft(padded, n_fft, hop, window=window, pad_mode="constant", return_complex=True)
        frames = self.functional.phase_vocoder(frames, rate, torch.linspace(0, math.pi * hop, n_fft // 2 + 1)[:, None])
        return torch.istft(frames, n_fft, hop, window=window, length=size)

    def room(self, signal: torch.Tensor) -> torch.Tensor:
        if self.folder is not None:
            response = self.folder.draw(self.generator)
        else:
            rt60, drr = self.uniform("rt60"), self.uniform("drr")
            time = np.arange(math.ceil(rt60 * SAMPLING_RATE)) / SAMPLING_RATE
            # Moorer 1979, "About this reverberation business": noise that decays exponentially
            response = self.generator.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
            response[time < 0.002] = 0  # s: until the nearest wall answers
            response *= math.sqrt(10 ** (-drr / 10) / np.square(response).sum())
            response[0] = 1
        direct = 0 if self.folder is None else int(np.abs(response).argmax())
        response = response / np.linalg.norm(response) * np.sign(response[direct])
        size = 1 << (len(signal) + len(response) - 2).bit_length()  # a power of two: three times as fast
        kernel = _fitted(torch.from_numpy(response.astype(np.float32)), size + 1 - len(signal))
        return self.functional.fftconvolve(signal, kernel)[direct : direct + len(signal)]

    def echo(self, signal: torch.Tensor) -> torch.Tensor:
        delay, gain = round(self.uniform("delay") * SAMPLING_RATE), 10 ** (self.uniform("gain") / 20)
        return signal + gain * torch.nn.functional.pad(signal, (delay, 0))[: len(signal)]

    def noise(self, signal: torch.Tensor) -> torch.Tensor:
        snr = self.uniform("snr")
        if not signal.square().sum() > 0:
            return signal
        noise = (
            self.colored(len(signal))
            if self.folder is None
            else self.excerpt(self.folder.draw(self.generator), len(signal))
        )
        return self.functional.add_noise(signal[None], torch.from_numpy(noise)[None], snr=torch.tensor([snr]))[0]

    def colored(self, size: int) -> np.ndarray:
        """Return noise whose power falls by 0 (white), 3 (pink) or 6 dB (brown) per octave, from 20 Hz."""
        slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[self.generator.choice(self.options["colours"])]
        frequencies = np.linspace(
            0, SAMPLING_RATE / 2, (1 << max(10, (size - 1).bit_length())) // 2 + 1, dtype=np.float32
        )
        spectrum = self.generator.standard_normal((len(frequencies), 2), dtype=np.float32).view(np.complex64)[:, 0]
        spectrum *= np.where(frequencies < 20, 0, np.maximum(frequencies, 20) ** -slope)
        return torch.fft.irfft(torch.from_numpy(spectrum))[:size].numpy()

    def excerpt(self, sound: np.ndarray, size: int) -> np.ndarray:
        """Return a part of a recording from a random place, repeated if it is too short."""
        piece = np.take(sound, np.arange(size) + int(self.generator.integers(len(sound))), mode="wrap")
        if np.square(piece).mean() < 1e-3 * np.square(sound).mean():  # a pause: take the loudest part instead
            piece = np.take(sound, np.arange(size) + int(np.abs(sound).argmax()) - size // 2, mode="wrap")
        return piece

    def band(self, signal: torch.Tensor, low: float, high: float, rate: int) -> torch.Tensor:
        for _ in range(2):  # 24 dB an octave
            signal = self.functional.lowpass_biquad(self.functional.highpass_biquad(signal, rate, low), rate, high)
        return signal

    def mulaw(self, signal: torch.Tensor) -> torch.Tensor:
        loudest = max(1.0, float(signal.abs().max()))
        return loudest * self.functional.mu_law_decoding(self.functional.mu_law_encoding(signal / loudest, 256), 256)

    def replay(self, signal: torch.Tensor) -> torch.Tensor:
        signal = self.band(signal, self.uniform("low"), self.uniform("high"), SAMPLING_RATE)
        codec, loudest = str(self.generator.choice(self.options["codecs"])), max(1.0, float(signal.abs().max()))
        return self.mulaw(signal) if codec == "mulaw" else loudest * self.coded(signal / loudest, *CODECS[codec])

    def coded(
        self, signal: torch.Tensor, encoder: str, container: str, rate: int, bits: Any, late: int, settings: Any
    ) -> torch.Tensor:
        """Return a signal after encoding and decoding in memory, (S,) -> (S,)."""
        import av

        # codecs delay the signal by a few milliseconds, and need more than 25 ms
        padded = _fitted(signal, len(signal) + SAMPLING_RATE // 5)
        samples = (32767 * self.resampled(padded, SAMPLING_RATE / rate)).round().clamp(-32768, 32767).to(torch.int16)
        file = io.BytesIO()
        with av.open(file, "w", format=container) as out:
            stream = out.add_stream(
                encoder, rate=rate, layout="mono", bit_rate=int(self.generator.choice(bits)), options=settings
            )
            frame = av.AudioFrame.from_ndarray(samples[None].numpy(), format="s16", layout="mono")
            frame.sample_rate = rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                out.mux(packet)
        file.seek(0)
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLING_RATE)
        with av.open(file, format=container) as decoded:
            pieces = [
                piece.to_ndarray()[0]
                for frame in [*decoded.decode(audio=0), None]
                for piece in resampler.resample(frame)
            ]
        return _fitted(torch.from_numpy(np.concatenate(pieces)[late:]), len(signal))

    def telephone(self, signal: torch.Tensor) -> torch.Tensor:
        narrow = self.band(self.resampled(signal, 2.0), 300, 3400, SAMPLING_RATE // 2)
        return _fitted(self.resampled(self.mulaw(narrow), 0.5), len(signal))

    def gain(self, signal: torch.Tensor) -> torch.Tensor:
        return signal * 10 ** (self.uniform("gain") / 20)

    def clipping(self, signal: torch.Tensor) -> torch.Tensor:
        most = float(signal.abs().max()) * self.uniform("share")
        return signal.clamp(-most, most)

    def time_mask(self, signal: torch.Tensor) -> torch.Tensor:
        signal, width = signal.clone(), [seconds * SAMPLING_RATE for seconds in self.options["duration"]]
        for start, end in _spans(self.generator, len(signal), self.options["masks"], width, self.options["max_share"]):
            signal[start:end] = 0
        return signal
