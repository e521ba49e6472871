"""Batches of clips: the waveforms, texts and targets that a model is trained and scored on.

A batch is a pure function of (seed, epoch, rows): every process gives the same batch, at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from multimodal_ser.audio import SAMPLING_RATE
from multimodal_ser.corpora.clips import Clip, RecordingReader, examine
from multimodal_ser.corpora.targets import Targets
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.training.batching import PairMaker

if TYPE_CHECKING:
    from multimodal_ser.training.augmentation import Augmenter
    from multimodal_ser.training.cache import EmbeddingCache


__all__ = ["Clip", "ClipData", "Disguise", "Targets", "examine", "padded"]


class Disguise(Protocol):
    """Interface of an augmentation that moves clips to other voices, such as `speaker_augmentation.Voices`."""

    def apply(
        self, hidden_states: torch.Tensor, mask: torch.Tensor, rows: list[int | None], epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the hidden states (B, layers + 1, T, Da), and the speakers' means (B, layers + 1, Da) or None."""
        ...


@dataclass
class ClipData:
    """Clips with their targets, and the batches that are made of them.

    Args:
        clips: N rows.
        targets: the target of each row.
        processor: the model's processor.
        args: the options of the run.
        seed: seed of all random numbers.
        training: whether clips are augmented, cut at random and paired.
        use_audio, use_text: modalities that batches contain.
        augmenter: the augmentations; None: none.
        audio_cache, text_cache: caches of the frozen branches' hidden states; None: recordings and texts are read.
        voices: moves clips to other voices (`speaker_augmentation.Voices`); None: none does.
    """

    clips: list[Clip]
    targets: Targets
    processor: Any
    args: TrainingArguments
    seed: int
    training: bool
    use_audio: bool = True
    use_text: bool = True
    augmenter: Augmenter | None = None
    audio_cache: EmbeddingCache | None = None
    text_cache: EmbeddingCache | None = None
    voices: Disguise | None = None
    pairs: PairMaker | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.training and self.args.pair_matched + self.args.pair_mismatched:
            single = self.targets.single
            audio = tuple(
                c if clip.row.path and not clip.row.text else -1 for c, clip in zip(single, self.clips, strict=True)
            )
            text = tuple(c if not clip.row.path else -1 for c, clip in zip(single, self.clips, strict=True))
            self.pairs = PairMaker(audio, text, self.args.pair_matched, self.args.pair_mismatched, self.seed)
        self._reader = RecordingReader()

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def durations(self) -> tuple[float, ...]:
        """Seconds of audio that are used of each row."""
        return tuple(min(clip.duration, self.args.max_duration) if self.use_audio else 0.0 for clip in self.clips)

    def draw(self, index: int, epoch: int) -> int:
        """Return the version of a clip that an epoch uses: 0 is the unchanged clip."""
        if not self.training:
            return 0
        if self.args.augmentation_variants:
            name = hashlib.sha256(self.clips[index].row.name.encode("utf-8", "surrogateescape")).digest()[:8]
            generator = np.random.default_rng([self.seed, epoch, int.from_bytes(name, "little")])
            return int(generator.integers(self.args.augmentation_variants))
        return epoch + 1

    def recording_version(self, draw: int) -> int:
        """Return the version of the recording that belongs to version `draw` of a clip.

        It is 0, the unchanged recording, if an embedding cache holds one version only or no augmentation changes
        waveforms.
        """
        variants = self.args.augmentation_variants
        changes_waveform = self.augmenter is not None and self.augmenter.has_waveform
        if variants:
            return draw if changes_waveform else 0
        return draw if self.audio_cache is None else 0

    def waveform(self, index: int, draw: int) -> np.ndarray:
        """Return the row's part of the recording, (S,) at 16 kHz, at most `max_duration` long, augmented for version
        `draw`.
        """
        clip = self.clips[index]
        waveform = self._reader.part(clip.row)
        most = round(self.args.max_duration * SAMPLING_RATE)
        if len(waveform) > most:
            generator = np.random.default_rng([self.seed, draw, int(clip.content[:12], 16)])
            start = int(generator.integers(len(waveform) - most + 1)) if draw else 0
            waveform = waveform[start : start + most]
        if draw and self.augmenter is not None and self.augmenter.has_waveform:
            waveform = self.augmenter.waveform(waveform, draw=draw, clip=clip.row.name)[:most]
        return waveform

    def words(self, index: int, epoch: int) -> tuple[tuple[str, ...], str | None]:
        """Return the previous turns, and the text of the row as augmented for this epoch."""
        clip = self.clips[index]
        text = clip.row.text
        draw = self.draw(index, epoch)
        if text and draw and self.augmenter is not None and self.augmenter.has_text:
            text = self.augmenter.text(text, draw=draw, clip=clip.row.name)
        return clip.context, text or None

    def audio_key(self, index: int, draw: int) -> str:
        """Return the cache key of the audio hidden states of a clip's version."""
        assert self.audio_cache is not None
        clip = self.clips[index]
        augmentation = (
            "" if not draw or self.augmenter is None else f"{self.augmenter.fingerprint()} {draw} {clip.row.name}"
        )
        part = f"{clip.row.start or 0:.4f} {clip.duration:.4f} {self.args.max_duration:g}"
        return self.audio_cache.key(clip.content, f"{part} {augmentation}")

    def text_key(self, context: Sequence[str], text: str) -> str:
        """Return the cache key of the hidden states of a text."""
        assert self.text_cache is not None
        return self.text_cache.key(hashlib.sha256("\x1e".join([*context, text]).encode()).hexdigest())

    def batch(self, rows: Sequence[int], epoch: int = 0) -> dict[str, torch.Tensor]:
        """Return the model's inputs and targets for these rows."""
        batch: dict[str, torch.Tensor] = {}
        words: list[tuple[tuple[str, ...], str | None]] = [
            self.words(row, epoch) if self.use_text else ((), None) for row in rows
        ]
        labels = self.targets.classes[list(rows)].clone()
        if self.pairs is not None:
            for place, row in enumerate(rows):
                partner = self.pairs.partner(row, epoch)
                if partner is not None:
                    words[place] = self.words(partner, epoch)
                    if self.targets.single[partner] != self.targets.single[row]:  # the target is half of each
                        labels[place] = (labels[place] + self.targets.classes[partner]) / 2
        recordings = [row if self.use_audio and self.clips[row].row.path is not None else None for row in rows]
        if any(row is not None for row in recordings):
            batch |= self._audio(recordings, epoch)
        if any(text for _, text in words):
            batch |= self._text(words)
        batch["labels"] = labels
        if self.targets.dimensions.shape[1]:
            batch["dimension_targets"] = self.targets.dimensions[list(rows)]
        return batch

    def _audio(self, rows: list[int | None], epoch: int) -> dict[str, torch.Tensor]:
        draws = [0 if row is None else self.recording_version(self.draw(row, epoch)) for row in rows]
        if self.audio_cache is not None:
            states = [
                None if r is None else self.audio_cache.get(self.audio_key(r, d))
                for r, d in zip(rows, draws, strict=True)
            ]
            hidden_states, mask = padded(states, dim=1)
            means = None
            if self.voices is not None:
                hidden_states, means = self.voices.apply(hidden_states, mask, rows, epoch)
            batch = {"audio_hidden_states": hidden_states, "audio_attention_mask": mask}
            return batch if means is None else batch | {"speaker_mean": means}
        waveforms = [None if row is None else self.waveform(row, draw) for row, draw in zip(rows, draws, strict=True)]
        inputs = dict(self.processor(audio=waveforms, sampling_rate=SAMPLING_RATE))
        features = inputs.get("input_features")
        if self.training and self.augmenter is not None and self.augmenter.has_features and features is not None:
            for place, (row, draw) in enumerate(zip(rows, draws, strict=True)):
                if row is not None and draw:
                    length = int(inputs["audio_attention_mask"][place].sum())
                    name = self.clips[row].row.name
                    spectrogram = features[place].T if self.processor.time_axis == 0 else features[place]  # (M, F)
                    spectrogram[:, :length] = self.augmenter.spectrogram(spectrogram[:, :length], draw=draw, clip=name)
        return inputs

    def _text(self, words: list[tuple[tuple[str, ...], str | None]]) -> dict[str, torch.Tensor]:
        if self.text_cache is not None:
            states = [
                None if text is None else self.text_cache.get(self.text_key(context, text)) for context, text in words
            ]
            hidden_states, mask = padded(states, dim=0)
            return {"text_hidden_states": hidden_states, "attention_mask": mask}
        texts, context = [text for _, text in words], [list(turns) for turns, _ in words]
        return dict(self.processor(text=texts, context=context if any(context) else None))

    def only(self, rows: Sequence[int], **changes: Any) -> ClipData:
        """Return the same data with these rows alone, and with `changes` of other fields."""
        chosen = list(rows)
        targets = Targets(
            self.targets.classes[chosen],
            self.targets.dimensions[chosen],
            tuple(self.targets.single[row] for row in chosen),
        )
        return replace(self, clips=[self.clips[row] for row in chosen], targets=targets, **changes)


def padded(states: Sequence[torch.Tensor | None], dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Join tensors of different length along `dim` into one, padded with zeros.

    Args:
        states: B tensors of the same shape except along `dim`; None: a row of zeros.
        dim: the dimension that is padded.

    Returns:
        The joined tensor, and the mask (B, length): 1 where a row has a value, 0 in its padding.
    """
    like = next(state for state in states if state is not None)
    longest = max(state.shape[dim] for state in states if state is not None)
    shape = list(like.shape)
    shape[dim] = longest
    joined = torch.zeros(len(states), *shape, dtype=like.dtype)
    mask = torch.zeros(len(states), longest, dtype=torch.long)
    for place, state in enumerate(states):
        if state is not None:
            joined[place].narrow(dim, 0, state.shape[dim]).copy_(state)
            mask[place, : state.shape[dim]] = 1
    return joined, mask
