"""The class `SpeakerProfile`, which describes the usual voice of a speaker, so that unusual features stand out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multimodal_ser.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SpeakerProfile:
    """The mean of the audio branch's hidden states over a few recordings of one speaker; no audio can be made from it.

    `classifier.enroll([...])` makes one from unlabelled recordings, best from about eight in different moods;
    `classifier.predict(clip, speaker=profile)` uses it. It is personal data: delete the file to forget the voice.

    Args:
        hidden_mean: (layers + 1, Da); an array instead of a tensor in `multimodal_ser.export.onnx_runtime`, without
            torch.
        windows: number of clips behind the mean; a long clip counts once for each window.
        encoder: fingerprint of the audio branch that made the profile; another branch cannot use it.

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

    @classmethod
    def of(cls, hidden_mean: np.ndarray, windows: int, model: Any) -> SpeakerProfile:
        """A profile from the states of a model's audio branch, as a tensor or an array, whichever the model uses.

        Args:
            hidden_mean: (layers + 1, Da) float32.
            windows: number of windows behind the mean.
            model: see `engine.EmotionModel`.
        """
        if model.framework == "np":
            return cls(hidden_mean, windows, model.encoder_fingerprint)
        import torch

        return cls(torch.from_numpy(hidden_mean), windows, model.encoder_fingerprint)

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
