"""Whose voice it is: training that makes a head know emotions from voices.

What an encoder makes of a clip tells of the speaker at least as much as of the emotion. Two things help against it, both on the
hidden states of a frozen audio branch, as the embedding cache keeps them: the same clip is heard as if another speaker had said it,
and a clip is heard against its own speaker's mean, so that `predict(speaker=...)` helps later.
"""

from __future__ import annotations

import numpy as np
import torch

from multimodal_ser.errors import InputError
from multimodal_ser.training.data import ClipData

FEWEST, MOST = 4, 16
"""Clips that a speaker's mean is taken of: as few and as many as somebody may enroll with."""


class Voices:
    """What clips and speakers usually sound like: mean hidden states, read from the cache once.

    Args:
        data: training clips with an audio cache and known speakers.

    Raises:
        InputError: no cache, or fewer than two known speakers, with the remedy.
    """

    def __init__(self, data: ClipData):
        self.data = data
        option = "voice_shift" if data.args.voice_shift else "speaker_mean_share"
        if data.audio_cache is None:
            raise InputError(
                option, expected="a frozen audio branch whose output is kept", got="none",
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
        self.means = {
            row: data.audio_cache.get(data.audio_key(row, 0)).float().mean(1) for row in rows
        }  # (layers + 1, Da) each
        self.of = {
            speaker: torch.stack([self.means[row] for row in members]).mean(0)
            for speaker, members in self.clips.items()
        }

    def apply(
        self, hidden_states: torch.Tensor, mask: torch.Tensor, rows: list[int | None], epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Some clips in other voices, some with their speaker's mean; a function of (seed, epoch, row).

        Args:
            hidden_states: (B, layers + 1, T, Da).
            mask: (B, T).
            rows: of the data; None: a row without a recording.
            epoch: of the run.

        Returns:
            The hidden states, and the speakers' means (B, layers + 1, Da), NaN where unknown; None where no row has one.
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
                shift = float(generator.uniform(0, 1)) * (self.of[other] - self.of[speaker])
                hidden_states[place] += shift[:, None].to(hidden_states.dtype) * mask[place, :, None]
        return hidden_states, None if bool(means.isnan().all()) else means
