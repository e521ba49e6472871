"""Knowing a speaker: what a voice is usually like, so that what is unusual about it stands out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE, stream_audio
from multimodal_ser.audio.segmentation import Windower
from multimodal_ser.errors import InputError

if TYPE_CHECKING:
    import torch

    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier


@dataclass(frozen=True)
class SpeakerProfile:
    """The mean of the audio branch's hidden states over a few recordings of one speaker; no audio can be made from it.

    `classifier.enroll([...])` makes one from unlabelled recordings, best from about eight in different moods;
    `classifier.predict(clip, speaker=profile)` uses it. It is personal data: delete the file to forget the voice.

    Args:
        hidden_mean: (layers + 1, Da); an array in place of a tensor where there is no torch (`multimodal_ser.export.onnx_runtime`).
        windows: from how many clips (of long ones: windows) it was made.
        encoder: which audio branch made it, a fingerprint; another one cannot use it.

    Example:
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> classifier = tiny_model()
        >>> clips = [synthetic_speech(1.0, seed=i) for i in range(4)]
        >>> profile = classifier.enroll(clips, sampling_rate=16000)
        >>> classifier.predict(clips[0], sampling_rate=16000, speaker=profile).modalities, profile.windows
        (('audio',), 4)
    """

    hidden_mean: torch.Tensor | np.ndarray
    windows: int
    encoder: str

    def save(self, path: str | os.PathLike) -> None:
        """Write a safetensors file of a few kilobytes."""
        about = {"windows": str(self.windows), "encoder": self.encoder}
        if isinstance(self.hidden_mean, np.ndarray):
            from safetensors.numpy import save_file as save_array

            save_array({"hidden_mean": self.hidden_mean}, path, about)
            return
        from safetensors.torch import save_file

        save_file({"hidden_mean": self.hidden_mean.contiguous()}, path, about)

    @classmethod
    def load(cls, path: str | os.PathLike, *, framework: Literal["pt", "np"] = "pt") -> SpeakerProfile:
        """Read a file that `save` wrote, into a tensor ("pt") or, without torch, an array ("np").

        Raises:
            InputError: it is no such file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(Path(path), framework) as file:
                about = file.metadata() or {}
                return cls(file.get_tensor("hidden_mean"), int(about["windows"]), about["encoder"])
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise InputError(
                str(path),
                expected="a file that SpeakerProfile.save wrote",
                got=f"{type(error).__name__}: {error}",
                remedy="enroll again",
            ) from error


def encoder_fingerprint(model: MultimodalEmotionClassifier) -> str:
    """Tells audio branches apart: a hash of the encoder's shape and of its first and last weights, whatever precision they have."""
    if isinstance(known := getattr(model, "encoder_fingerprint", None), str):  # exported models carry it
        return known
    from multimodal_ser.model import fingerprint

    return fingerprint.encoder_fingerprint(model.model.audio_branch.encoder)


def enroll(
    model: MultimodalEmotionClassifier, audio: Iterable[Any], *, sampling_rate: int | None = None
) -> SpeakerProfile:
    """Listen to recordings of one speaker, unlabelled.

    Args:
        model: the classifier whose audio branch listens.
        audio: recordings, each in any form that `load_audio` takes.
        sampling_rate: of arrays, Hz.

    Raises:
        InputError: no recording, or one that is no audio.
    """
    import torch

    if isinstance(audio, str | bytes | os.PathLike) or not isinstance(audio, Iterable):
        raise InputError(
            "enroll",
            expected="a list of recordings of one speaker",
            got=type(audio).__name__,
            remedy="give [recording]",
        )
    means = []
    training = model.training
    model.eval()
    try:
        for recording in audio:
            windower = Windower()
            windows = [window for block in stream_audio(recording, sampling_rate) for window in windower.push(block)]
            for _, waveform in [*windows, *windower.finish()]:
                batch = model.processor(audio=[waveform], sampling_rate=SAMPLING_RATE).to(model.device)
                inputs = batch[model.processor.model_input_names[0]].to(model.dtype)
                with torch.inference_mode():
                    states, frames = model.model.get_audio_features(inputs, batch["audio_attention_mask"])
                means.append(states[0][:, frames[0]].float().mean(1).cpu())
    finally:
        model.train(training)
    if not means:
        raise InputError(
            "enroll", expected="at least one recording", got="none", remedy="eight of different moods are a good start"
        )
    return SpeakerProfile(torch.stack(means).mean(0).clone(), len(means), encoder_fingerprint(model))
