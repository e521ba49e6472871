"""`Voices`: augmentation of speakers, so that a model separates emotions from voices.

Hidden states of speech depend on the speaker at least as much as on the emotion. Two augmentations of the hidden states
in an embedding cache reduce this: a clip is moved to the voice of another speaker, or it is compared with its own
speaker's mean, which prepares the model for `predict(speaker=...)`.
"""

from __future__ import annotations

import numpy as np
import torch

from multimodal_ser.errors import InputError
from multimodal_ser.training.data import ClipData

FEWEST, MOST = 4, 16
"""Fewest and most clips in a speaker's mean, as in the enrollment of a speaker."""


class Voices:
    """Mean hidden states of clips and speakers, read from the cache once.

    Args:
        data: training clips with an audio cache and names of speakers.

    Raises:
        InputError: there is no cache, or clips of fewer than two speakers.
    """

    def __init__(self, data: ClipData):
        self.data = data
        option = "voice_shift" if data.args.voice_shift else "speaker_mean_share"
        if data.audio_cache is None:
            raise InputError(
                option, expected="a frozen audio branch with an embedding cache", got="none",
                remedy='keep "audio" in freeze and embedding_cache on, or set it to 0',
            )  # fmt: skip
        self.clips: dict[str, list[int]] = {}
        for row, clip in enumerate(data.clips):
            if clip.row.path is not None and clip.row.speaker is not None:
                self.clips.setdefault(clip.row.speaker, []).append(row)
        if len(self.clips) < 2:
            got = f"{len(self.clips)} known" if self.clips else "none known"
            raise InputError(
                option,
                expected="clips of at least two speakers",
                got=got,
                remedy="fill the column speaker in, or set it to 0",
            )
        self.speakers = sorted(self.clips)
        rows = [row for members in self.clips.values() for row in members]
        # each (layers + 1, Da)
        self.means = {row: data.audio_cache.get(data.audio_key(row, 0)).float().mean(1) for row in rows}
        self.speaker_means = {
            speaker: torch.stack([self.means[row] for row in members]).mean(0)
            for speaker, members in self.clips.items()
        }

    def apply(
        self, hidden_states: torch.Tensor, mask: torch.Tensor, rows: list[int | None], epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Move some clips to other voices, and give others their speaker's mean; a function of (seed, epoch, row).

        Args:
            hidden_states: (B, layers + 1, T, Da).
            mask: (B, T).
            rows: indices of B rows of the data; None: a row without a recording.
            epoch: number of the epoch.

        Returns:
            The hidden states, and the speakers' means (B, layers + 1, Da), NaN for a row without one; None if no row
            has one.
        """
        args = self.data.args
        means = torch.full((len(rows), hidden_states.shape[1], hidden_states.shape[3]), float("nan"))
        for place, row in enumerate(rows):
            speaker = None if row is None else self.data.clips[row].row.speaker
            if row is None or speaker is None:
                continue
            generator = np.random.default_rng([self.data.seed, epoch, row, 0x701CE])
            draw = generator.random()
            if draw < args.speaker_mean_share:
                others = [other for other in self.clips[speaker] if other != row] or [row]
                count = min(len(others), int(generator.integers(FEWEST, MOST + 1)))
                chosen = generator.choice(others, count, replace=False)
                means[place] = torch.stack([self.means[int(other)] for other in chosen]).mean(0)
            elif draw < args.speaker_mean_share + args.voice_shift:
                other = self.speakers[int(generator.integers(len(self.speakers)))]
                shift = float(generator.uniform(0, 1)) * (self.speaker_means[other] - self.speaker_means[speaker])
                hidden_states[place] += shift[:, None].to(hidden_states.dtype) * mask[place, :, None]
        return hidden_states, None if bool(means.isnan().all()) else means
