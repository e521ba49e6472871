"""Filling of the embedding caches: the output of frozen branches for all clips and texts, before the first epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from multimodal_ser._progress import ProgressBar
from multimodal_ser.training.cache import (
    EmbeddingCache,
    branch_fingerprint,
    estimated_bytes,
    fill,
    require_space,
)
from multimodal_ser.training.data import ClipData
from multimodal_ser.training.initialization import audio_states, text_states

FRAMES_A_SECOND = 51
"""Upper bound of the number of frames per second of audio."""


def cache_audio(
    model: Any, parts: Sequence[ClipData], folder: Path, accelerator: Any, say: Callable[[str], None]
) -> None:
    """Store the hidden states of all recordings, unless augmentation changes them every epoch.

    Args:
        model: a `MultimodalEmotionClassifier` whose audio encoder is never trained.
        parts: training and validation data; they read from the cache afterwards.
        folder: folder of the cache.
        accelerator: the Accelerator of this process.
        say: called with each message.

    Raises:
        InputError: the disk is too small, or the states of a recording cannot be computed.
    """
    args, augmenter = parts[0].args, parts[0].augmenter
    if augmenter is not None and (
        augmenter.has_features or (augmenter.has_waveform and not args.augmentation_variants)
    ):
        remedy = "" if augmenter.has_features else " (augmentation_variants=4 keeps four)"
        say(f"no embedding cache of the audio branch: clips sound different every epoch{remedy}")
        return
    processor = model.processor
    extra = f"{accelerator.mixed_precision} {processor.trim_silence_db} {processor.feature_extractor.to_json_string()}"
    cache = EmbeddingCache(
        folder, branch=branch_fingerprint(model.model.audio_branch.encoder, extra), dtype=args.cache_dtype
    )
    layers, width = model.model.audio_branch.hidden_mean.shape
    for data in parts:
        data.audio_cache = cache
        versions = args.augmentation_variants if data.training else 0
        draws = list(dict.fromkeys(data.recording_version(draw) for draw in range(max(1, versions))))
        items = [(row, draw) for row, clip in enumerate(data.clips) if clip.row.path is not None for draw in draws]
        missing = [data.durations[row] for row, draw in items if data.audio_key(row, draw) not in cache]
        require_space(folder, estimated_bytes(int(FRAMES_A_SECOND * sum(missing)), layers, width, args.cache_dtype))
        if missing and data.training:
            times = f" in {len(draws)} versions" if len(draws) > 1 else ""
            say(
                f"the frozen audio branch hears {len(items) // len(draws)} clips{times} once; what it makes of them is kept for the epochs"
            )

        def compute(versions: list[tuple[int, int]], data: ClipData = data) -> list[torch.Tensor]:
            return audio_states(model, data, versions, accelerator.device, accelerator.autocast())

        def key(item: tuple[int, int], data: ClipData = data) -> str:
            return data.audio_key(*item)

        def length(item: tuple[int, int], data: ClipData = data) -> float:
            return data.durations[item[0]]

        _fill(cache, items, key, compute, length, data, accelerator)


def cache_text(
    model: Any, parts: Sequence[ClipData], folder: Path, accelerator: Any, say: Callable[[str], None]
) -> None:
    """Store the hidden states of all texts, unless augmentation changes them every epoch; see `cache_audio`."""
    args, augmenter = parts[0].args, parts[0].augmenter
    if augmenter is not None and augmenter.has_text and not args.augmentation_variants:
        say(
            "no embedding cache of the text branch: texts read different every epoch (augmentation_variants=4 keeps four)"
        )
        return
    branch, tokenizer = model.model.text_branch, model.processor.tokenizer
    weights = ",".join(f"{value:.9g}" for value in branch.layer_weights.tolist())
    vocabulary = json.dumps(
        [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])]
    )
    extra = f"{accelerator.mixed_precision} {weights} {vocabulary}"
    cache = EmbeddingCache(folder, branch=branch_fingerprint(branch.encoder, extra), dtype=args.cache_dtype)
    for data in parts:
        data.text_cache = cache

        def compute(texts: list[tuple[tuple[str, ...], str]], data: ClipData = data) -> list[torch.Tensor]:
            with accelerator.autocast():
                return text_states(model, data, texts, accelerator.device)

        def key(item: tuple[tuple[str, ...], str], data: ClipData = data) -> str:
            return data.text_key(*item)

        texts = _texts(data)
        if data.training and cache.missing(key(item) for item in texts):
            say(f"the frozen text branch reads {len(texts)} texts once; what it makes of them is kept for the epochs")
        _fill(cache, texts, key, compute, lambda item: float(sum(map(len, item[0])) + len(item[1])), data, accelerator)


def _fill(
    cache: EmbeddingCache,
    items: list[Any],
    key: Callable[[Any], str],
    compute: Callable[[list[Any]], list[torch.Tensor]],
    length: Callable[[Any], float],
    data: ClipData,
    accelerator: Any,
) -> None:
    hidden = data.args.disable_tqdm or not accelerator.is_main_process
    fill(
        cache, items, key, compute, batch_size=data.args.per_device_eval_batch_size, length_of=length,
        process_index=accelerator.process_index, num_processes=accelerator.num_processes,
        on_progress=ProgressBar("cache", shown=False if hidden else None),
    )  # fmt: skip


def _texts(data: ClipData) -> list[tuple[tuple[str, ...], str]]:
    """Return every version of every text with its context, each once."""
    texts: dict[tuple[tuple[str, ...], str], None] = {}
    augmenter = data.augmenter if data.training and data.augmenter is not None and data.augmenter.has_text else None
    for clip in data.clips:
        text = clip.row.text
        for draw in range(1 if augmenter is None else data.args.augmentation_variants):
            version = text
            if text and draw and augmenter is not None:
                version = augmenter.text(text, draw=draw, clip=clip.row.name)
            if version:
                texts[clip.context, version] = None
    return list(texts)
