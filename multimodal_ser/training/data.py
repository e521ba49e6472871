"""Rows of a manifest become tensors: what is heard, what is read, and what is to be learned from it.

A batch is a pure function of (seed, epoch, rows), so that it does not matter which process makes it, or when.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from multimodal_ser.audio import SAMPLING_RATE, load_audio
from multimodal_ser.corpora import ManifestRow
from multimodal_ser.corpora.recordings import part_error, recording_error
from multimodal_ser.errors import InputError
from multimodal_ser.labels import CORPUS_LABELS, LabelError, admissible_classes, canonical_emotion
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.training.batching import PairMaker

if TYPE_CHECKING:
    from multimodal_ser.training.augmentation import Augmenter
    from multimodal_ser.training.cache import EmbeddingCache


@dataclass(frozen=True)
class Clip:
    """A row that was looked at: its recording could be decoded.

    Args:
        row: of the manifest.
        content: sha256 of the recording's bytes, or of the text of a row without one.
        duration: s, of the part that is meant; 0 without a recording.
        context: texts of the turns before it, oldest first.
        sound: a digest of the samples that are meant, equal in a copy under another name; None: words alone.
    """

    row: ManifestRow
    content: str
    duration: float
    context: tuple[str, ...] = ()
    sound: str | None = None


def examine(
    rows: Sequence[ManifestRow],
    *,
    context_turns: int = 0,
    among: Sequence[ManifestRow] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Clip], list[InputError]]:
    """Decode every recording once: those that cannot be used are told by name now, not in the middle of a night's run.

    Args:
        rows: of a manifest.
        context_turns: how many turns before each of its dialogue are its context.
        among: the rows that these turns are looked for among, such as those that nobody annotated too; None: `rows`.
        on_progress: called with (done, all) recordings.

    Returns:
        The rows that can be used, in order, and an error for each of the others: also for each of those that share a recording. Of a part
        that is said to end after its recording does (`recordings.past_the_end`), what there is is taken.
    """
    parts: dict[Path, set[Part]] = {}
    for row in rows:
        if row.path is not None:
            parts.setdefault(row.path, set()).add((row.start or 0.0, row.end))
    known: dict[Path, _Examined | InputError] = {}
    with ThreadPoolExecutor(4) as pool:
        for done, (path, result) in enumerate(zip(parts, pool.map(_examined, parts, parts.values()), strict=True), 1):
            known[path] = result
            if on_progress is not None:
                on_progress(done, len(parts))
    clips, errors = [], []
    before = _contexts(rows, rows if among is None else among, context_turns)
    for index, row in enumerate(rows):
        if row.path is None:
            clips.append(Clip(row, hashlib.sha256((row.text or "").encode()).hexdigest(), 0.0, before[index]))
            continue
        result = known[row.path]
        if isinstance(result, InputError):
            errors.append(recording_error(row, result))
            continue
        if (wrong := part_error(row, result.duration)) is not None:
            errors.append(wrong)
            continue
        start, end = row.start or 0.0, result.duration if row.end is None else min(row.end, result.duration)
        clips.append(Clip(row, result.content, end - start, before[index], result.sounds[start, row.end]))
    return clips, errors


Part = tuple[float, float | None]
"""Start and end of what is meant in a recording, s; None: its end."""


@dataclass(frozen=True)
class _Examined:
    """A recording that could be decoded: the sha256 of its bytes, its length in seconds, digests of the samples of its parts."""

    content: str
    duration: float
    sounds: dict[Part, str]


def _examined(path: Path, parts: set[Part]) -> _Examined | InputError:
    try:
        data = path.read_bytes()
        waveform = load_audio(io.BytesIO(data))
        sounds = {
            (start, end): hashlib.sha256(
                waveform[round(start * SAMPLING_RATE) : end and round(end * SAMPLING_RATE)].tobytes()
            ).hexdigest()
            for start, end in parts
        }
        return _Examined(hashlib.sha256(data).hexdigest(), len(waveform) / SAMPLING_RATE, sounds)
    except InputError as error:
        return error
    except OSError as error:
        return InputError(
            str(path), expected="a file that can be read", got=error.strerror or "an error", remedy="check it"
        )


def _contexts(rows: Sequence[ManifestRow], among: Sequence[ManifestRow], turns: int) -> list[tuple[str, ...]]:
    """The texts of the `turns` turns before each row in its dialogue."""
    if not turns:
        return [()] * len(rows)
    dialogues: dict[tuple, list[ManifestRow]] = {}
    for row in among:
        if row.dialogue is not None:
            dialogues.setdefault(_dialogue(row), []).append(row)
    places: dict[tuple, dict[str, int]] = {}
    for name, members in dialogues.items():
        if all(row.turn is not None for row in members):
            members.sort(key=lambda row: row.turn or 0)
        places[name] = {row.place: at for at, row in enumerate(members)}
    contexts = []
    for row in rows:
        at = places.get(_dialogue(row), {}).get(row.place, 0)
        before = dialogues[_dialogue(row)][max(0, at - turns) : at] if at else []
        contexts.append(tuple(turn.text for turn in before if turn.text))
    return contexts


def _dialogue(row: ManifestRow) -> tuple:
    """What the turns of one dialogue have in common; other tables, splits and languages have dialogues of the same name."""
    return row.folder, row.place.rpartition(", ")[0], row.split, row.language, row.dialogue


def admitted(emotion: str, labels: Sequence[str], corpus: str | None = None) -> tuple[bool, ...]:
    """Which classes an annotation admits: by the name as it is written, else by what the library calls it.

    Raises:
        LabelError: none.

    Example:
        >>> from multimodal_ser.training.data import admitted
        >>> admitted("urgent", ["calm", "urgent"]), admitted("happy|sad", ["happiness", "anger", "sadness"])
        ((False, True), (True, False, True))
    """
    by_name = {label.strip().lower(): index for index, label in enumerate(labels)}
    parts = [part.strip() for part in emotion.split("|")]
    if all(part.lower() in by_name for part in parts) and corpus not in CORPUS_LABELS:
        chosen = {by_name[part.lower()] for part in parts}
        return tuple(index in chosen for index in range(len(labels)))
    known = [label if _canonical(label) is None else str(_canonical(label)) for label in labels]
    if all(_canonical(label) for label in labels):
        return admissible_classes(emotion, corpus, known)
    wanted = {_canonical(part) or part for part in parts}
    if not wanted & set(known):
        raise LabelError(
            "emotion",
            expected=f"one of {', '.join(labels)}",
            got=repr(emotion),
            remedy="leave the row out, or name its class",
        )
    return tuple(label in wanted for label in known)


def _canonical(name: str) -> str | None:
    try:
        return canonical_emotion(name)
    except LabelError:
        return None


@dataclass
class Targets:
    """What a run learns: classes admitted, or votes, and dimensions.

    Args:
        classes: (N, C) bool; float where any row has votes.
        dimensions: (N, K), NaN where not annotated.
        single: the class of each row that has exactly one, else -1.
    """

    classes: torch.Tensor
    dimensions: torch.Tensor
    single: tuple[int, ...]

    @classmethod
    def of(
        cls, clips: Sequence[Clip], labels: Sequence[str], dimensions: Sequence[str], *, soft: bool = False
    ) -> Targets:
        """Of rows whose emotions all have a class (`with_class` sorts the others out)."""
        table = torch.zeros(len(clips), len(labels))
        for index, clip in enumerate(clips):
            row = clip.row
            if row.votes:
                soft = True
                for name, votes in row.votes.items():
                    cells = torch.tensor(admitted(name, labels, row.corpus)).float()
                    table[index] += votes * cells / cells.sum()
                table[index] /= table[index].sum()
            elif row.emotion is not None:
                table[index] = torch.tensor(admitted(row.emotion, labels, row.corpus)).float()
        single = tuple(int(row.argmax()) if int((row > 0).sum()) == 1 else -1 for row in table)
        if soft:
            table = table / table.sum(1, keepdim=True).clamp_min(1e-12)
        values = [[getattr(clip.row, name) for name in dimensions] for clip in clips]
        numbers = torch.tensor([[float("nan") if value is None else value for value in row] for row in values])
        return cls(table if soft else table.bool(), numbers.reshape(len(clips), len(dimensions)), single)


def with_class(clips: Sequence[Clip], labels: Sequence[str]) -> tuple[list[Clip], list[InputError]]:
    """The rows that there is a class for (or that have no emotion), and an error for each other, by name."""
    good, errors = [], []
    for clip in clips:
        try:
            for name in clip.row.votes or ([clip.row.emotion] if clip.row.emotion else []):
                admitted(name, labels, clip.row.corpus)
            good.append(clip)
        except LabelError as error:
            errors.append(error.named(f"{clip.row.place or clip.row.name}, emotion"))
    return good, errors


class Disguise(Protocol):
    """What gives clips other voices."""

    def apply(
        self, hidden_states: torch.Tensor, mask: torch.Tensor, rows: list[int | None], epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The hidden states (B, layers + 1, T, Da), and the speakers' means (B, layers + 1, Da) or None; see `voices.Voices.apply`."""
        ...


@dataclass
class ClipData:
    """Clips, and how they become batches.

    Args:
        clips: N rows.
        targets: of each.
        processor: of the model.
        args: of the run.
        seed: of all that is drawn.
        training: whether clips are disturbed, cut at random, and paired.
        augmenter: what disturbs them.
        audio_cache, text_cache: where the hidden states of frozen branches are read from.
        voices: what makes clips sound like other speakers (`voices.Voices`).
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
        self._decoded: tuple[Path, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def durations(self) -> tuple[float, ...]:
        """S of audio of each row, as it is heard."""
        return tuple(min(clip.duration, self.args.max_duration) if self.use_audio else 0.0 for clip in self.clips)

    def draw(self, index: int, epoch: int) -> int:
        """Which version of a clip an epoch hears and reads: 0 is the clip as it is."""
        if not self.training:
            return 0
        if self.args.augmentation_variants:
            name = hashlib.sha256(self.clips[index].row.name.encode("utf-8", "surrogateescape")).digest()[:8]
            generator = np.random.default_rng([self.seed, epoch, int.from_bytes(name, "little")])
            return int(generator.integers(self.args.augmentation_variants))
        return epoch + 1

    def heard(self, draw: int) -> int:
        """The version of the recording that version `draw` of a clip has; where what it is made of is kept, only a few are told apart."""
        endless = self.audio_cache is not None and not self.args.augmentation_variants
        same = bool(self.args.augmentation_variants) and not (
            self.augmenter is not None and self.augmenter.has_waveform
        )
        return 0 if endless or same else draw

    def waveform(self, index: int, draw: int) -> np.ndarray:
        """(S,) at 16 kHz: the part that is meant, at most `max_duration` of it, disturbed as version `draw` is."""
        clip = self.clips[index]
        row = clip.row
        assert row.path is not None
        if (
            self._decoded is None or self._decoded[0] != row.path
        ):  # segments of one recording follow each other when a cache is filled
            self._decoded = row.path, load_audio(row.path)
        start, most = round((row.start or 0.0) * SAMPLING_RATE), round(self.args.max_duration * SAMPLING_RATE)
        waveform = self._decoded[1][start : start + round(clip.duration * SAMPLING_RATE)]
        if len(waveform) > most:
            generator = np.random.default_rng([self.seed, draw, int(clip.content[:12], 16)])
            at = int(generator.integers(len(waveform) - most + 1)) if draw else 0
            waveform = waveform[at : at + most]
        if draw and self.augmenter is not None and self.augmenter.has_waveform:
            waveform = self.augmenter.waveform(waveform, draw=draw, clip=row.name)[:most]
        return waveform

    def words(self, index: int, epoch: int) -> tuple[tuple[str, ...], str | None]:
        """The turns before, and the text itself, as this epoch reads it."""
        clip = self.clips[index]
        text = clip.row.text
        if (
            text
            and self.training
            and self.augmenter is not None
            and self.augmenter.has_text
            and (draw := self.draw(index, epoch))
        ):
            text = self.augmenter.text(text, draw=draw, clip=clip.row.name)
        return clip.context, text or None

    def audio_key(self, index: int, draw: int) -> str:
        """Where the cache keeps the hidden states of a clip's version."""
        assert self.audio_cache is not None
        clip = self.clips[index]
        heard = "" if not draw or self.augmenter is None else f"{self.augmenter.fingerprint()} {draw} {clip.row.name}"
        part = f"{clip.row.start or 0:.4f} {clip.duration:.4f} {self.args.max_duration:g}"
        return self.audio_cache.key(clip.content, f"{part} {heard}")

    def text_key(self, context: Sequence[str], text: str) -> str:
        """Where the cache keeps the hidden states of a text."""
        assert self.text_cache is not None
        return self.text_cache.key(hashlib.sha256("\x1e".join([*context, text]).encode()).hexdigest())

    def batch(self, rows: Sequence[int], epoch: int = 0) -> dict[str, torch.Tensor]:
        """The model's inputs and targets for these rows."""
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
                    if (
                        self.targets.single[partner] != self.targets.single[row]
                    ):  # voice and words disagree: each has half a say
                        labels[place] = (labels[place] + self.targets.classes[partner]) / 2
        heard = [row if self.use_audio and self.clips[row].row.path is not None else None for row in rows]
        if any(row is not None for row in heard):
            batch |= self._audio(heard, epoch)
        if any(text for _, text in words):
            batch |= self._text(words)
        batch["labels"] = labels
        if self.targets.dimensions.shape[1]:
            batch["dimension_targets"] = self.targets.dimensions[list(rows)]
        return batch

    def _audio(self, rows: list[int | None], epoch: int) -> dict[str, torch.Tensor]:
        draws = [0 if row is None else self.heard(self.draw(row, epoch)) for row in rows]
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
        """The same of these rows alone."""
        chosen = list(rows)
        targets = Targets(
            self.targets.classes[chosen],
            self.targets.dimensions[chosen],
            tuple(self.targets.single[row] for row in chosen),
        )
        return replace(self, clips=[self.clips[row] for row in chosen], targets=targets, **changes)


def padded(states: Sequence[torch.Tensor | None], dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tensors of different length along `dim`, as one tensor filled up with zeros, and the mask (B, length); None: a row of zeros."""
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
