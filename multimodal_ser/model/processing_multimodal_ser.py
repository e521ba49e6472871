# Copyright 2026 The multimodal_ser authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The processor, which turns waveforms and texts into the tensors that the model takes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoProcessor, AutoTokenizer, BatchFeature, ProcessorMixin
from transformers.utils import is_sentencepiece_available

from .configuration_multimodal_ser import MultimodalEmotionConfig

TOKENIZER_LOCK = threading.Lock()
"""Lock of all tokenizers, which store the padding of their last call; two threads in one fail ("Already borrowed")."""


# trf-ignore: TRF057 - documented by hand, as all of this package is
class MultimodalEmotionProcessor(ProcessorMixin):
    """Turns waveforms and texts into `input_values` (or `input_features`), `audio_attention_mask`, `input_ids`, `attention_mask`.

    Each clip is normalised by itself, before padding, so that other clips of the batch do not change it.

    Args:
        feature_extractor: feature extractor of the audio branch.
        tokenizer: tokenizer of the text branch.
        trim_silence_db: both ends of each clip are cut where they are this many dB below its loudest 20 ms (40 is a
            good start); at least half a second stays. None: nothing is cut. It is saved with the processor, so that
            clips are cut in use as in training.

    Raises:
        ValueError: `trim_silence_db` is not above 0.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.testing import tiny_processor
        >>> processor = tiny_processor()
        >>> batch = processor(audio=[np.random.randn(16000), None], text=["hello", "world"], sampling_rate=16000)
        >>> sorted(batch), batch["audio_attention_mask"].sum(1).tolist()
        (['attention_mask', 'audio_attention_mask', 'input_ids', 'input_values'], [16000, 0])
    """

    def __init__(self, feature_extractor: Any, tokenizer: Any, trim_silence_db: float | None = None):
        super().__init__(feature_extractor, tokenizer)
        if trim_silence_db is not None and not trim_silence_db > 0:
            raise ValueError(
                f"trim_silence_db: expected more than 0 dB, or None, got {trim_silence_db}; 40 is a good start"
            )
        self.trim_silence_db = trim_silence_db
        self._extractor_and_axis: tuple[Any, int] | None = None  # the last extractor and its time axis
        tokenizer.padding_side = "right"  # the model's masks are prefixes
        if tokenizer.pad_token is None:  # as in decoder language models; padding is masked, so any token will do
            tokenizer.pad_token = tokenizer.eos_token

    @classmethod
    def from_backbones(cls, audio: str, text: str) -> MultimodalEmotionProcessor:
        """The feature extractor of one checkpoint and the tokenizer of another, each a folder or a Hub id."""
        feature_extractor = AutoFeatureExtractor.from_pretrained(audio)
        if feature_extractor.model_input_names[0] == "input_values":
            feature_extractor.return_attention_mask = True  # transformers' own pipeline then hands the mask on
        return cls(feature_extractor, _tokenizer(text))

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> Any:
        """Write the processor into a folder, without the tokenizer's last padding and its loading options."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.no_padding()
            backend.no_truncation()
        for option in ("is_local", "local_files_only"):
            self.tokenizer.init_kwargs.pop(option, None)
        return super().save_pretrained(save_directory, **kwargs)

    @property
    def sampling_rate(self) -> int:
        """Sampling rate of the audio branch, in Hz."""
        return int(self.feature_extractor.sampling_rate)

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that the model takes."""
        return [self.feature_extractor.model_input_names[0], "audio_attention_mask", "input_ids", "attention_mask"]

    @property
    def time_axis(self) -> int:
        """The time axis of one clip: 0 for features (F, M); -1 for samples (S,) and features (M, F)."""
        extractor = self.feature_extractor
        if self._extractor_and_axis is None or self._extractor_and_axis[0] is not extractor:
            waveforms = extractor.model_input_names[0] == "input_values"
            self._extractor_and_axis = extractor, -1 if waveforms or not _is_time_first(extractor) else 0
        return self._extractor_and_axis[1]

    # trf-ignore: TRF057 - documented by hand
    def __call__(  # type: ignore[override]
        self,
        audio: np.ndarray | Sequence[np.ndarray | None] | None = None,
        text: str | Sequence[str | None] | None = None,
        *,
        sampling_rate: int | None = None,
        context: Sequence[str] | Sequence[Sequence[str] | None] | None = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Make a padded batch; a missing row becomes a mask of zeros.

        Args:
            audio: a waveform (S,), or a list with None where a row has no audio.
            text: a text, or a list with None (or "") where a row has no text.
            sampling_rate: sampling rate of the waveforms, in Hz; it has to be the model's.
            context: the previous turns of a row, oldest first (for a list of rows: a list for each row); they are
                joined before its text with the tokenizer's separator.
            return_tensors: "pt", the only kind.

        Raises:
            ValueError: neither audio nor text, lists of different lengths, another sampling rate, another kind of tensors.
        """
        if return_tensors != "pt":
            raise ValueError(f"return_tensors: expected 'pt', got {return_tensors!r}; convert the tensors afterwards")
        waveforms: list[Any] | None = (
            None if audio is None else [audio] if getattr(audio, "ndim", None) == 1 else list(audio)
        )
        texts = None if text is None else [text] if isinstance(text, str) else list(text)
        if waveforms is None and texts is None:
            raise ValueError("expected audio, text or both, got neither; give at least one")
        rows = len(waveforms if waveforms is not None else texts or [])
        if (texts is not None and len(texts) != rows) or rows == 0:
            raise ValueError(
                f"expected as many texts as waveforms, at least one, got {len(texts or [])} and {rows}; use None for a row without"
            )
        data: dict[str, torch.Tensor] = {}
        if waveforms is not None and any(waveform is not None for waveform in waveforms):
            if sampling_rate != self.sampling_rate:
                raise ValueError(
                    f"sampling_rate: expected {self.sampling_rate}, that of the audio branch, got {sampling_rate}; "
                    "resample first (multimodal_ser.audio.load_audio does)"
                )
            data |= self._audio(waveforms)
        if texts is not None:
            turns: Sequence[Any] = [None] * rows if context is None else [context] if isinstance(text, str) else context
            if isinstance(turns, str) or len(turns) != rows:
                raise ValueError(
                    f"context: expected a list of turns for each of the {rows} texts, got {context!r}; use None for a text without"
                )
            joined = [self._with_context(row, before) for row, before in zip(texts, turns, strict=True)]
            if any(joined):
                words = self._text(joined)
                data |= words if words["attention_mask"].any() else {}  # the text may have signs without any token
        if not data:
            raise ValueError("expected audio or text in at least one row, got none; leave empty rows out")
        return BatchFeature(data)

    def _audio(self, waveforms: list[np.ndarray | None]) -> dict[str, torch.Tensor]:
        name = self.feature_extractor.model_input_names[0]
        rows: list[np.ndarray | None] = []
        for waveform in waveforms:
            if waveform is None:
                rows.append(None)
                continue
            waveform = np.asarray(waveform)
            if waveform.ndim != 1 or waveform.size == 0:
                raise ValueError(
                    f"audio: expected waveforms (S,) of one channel, got shape {waveform.shape}; mix the channels first (load_audio does)"
                )
            if waveform.dtype.kind == "i":
                waveform = waveform / -float(np.iinfo(waveform.dtype).min)
            waveform = waveform.astype(np.float32)
            if self.trim_silence_db is not None:
                waveform = trimmed(waveform, self.trim_silence_db, self.sampling_rate)
            rows.append(self._features(waveform))
        like = next(row for row in rows if row is not None)
        axis = self.time_axis
        longest = max(row.shape[axis] for row in rows if row is not None)
        shape = list(like.shape)
        shape[axis] = longest
        inputs = torch.zeros(len(rows), *shape)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for index, row in enumerate(rows):
            if row is not None:
                inputs[index].narrow(axis, 0, row.shape[axis]).copy_(torch.from_numpy(row))
                mask[index, : row.shape[axis]] = 1
        return {name: inputs, "audio_attention_mask": mask}

    def _features(self, waveform: np.ndarray) -> np.ndarray:
        """The encoder's input for one clip: (S,), (M, F) or (F, M)."""
        name = self.feature_extractor.model_input_names[0]
        options: dict[str, Any] = {"padding": False}
        if name != "input_values":
            options = {"padding": "longest", "truncation": False}
            if self.time_axis == 0:  # at least two frames, so that there is a deviation
                options["pad_to_multiple_of"] = None
                waveform = np.pad(waveform, (0, max(0, TWO_FRAMES - len(waveform))))
        return np.asarray(
            self.feature_extractor(waveform, sampling_rate=self.sampling_rate, return_tensors="np", **options)[name][0]
        )

    def _with_context(self, text: str | None, before: str | Sequence[str] | None) -> str | None:
        if not isinstance(text, str) or not text.strip():  # None, "", NaN of a table
            return None
        turns = [before] if isinstance(before, str) else before or ()
        separator = self.tokenizer.sep_token or self.tokenizer.eos_token or ""
        return f" {separator} ".join([*(turn for turn in turns if turn and turn.strip()), text])

    def _text(self, texts: list[str | None]) -> dict[str, torch.Tensor]:
        with TOKENIZER_LOCK:
            encoded = self.tokenizer(
                [text or "" for text in texts], padding=True, truncation=False, return_tensors="pt", verbose=False
            )
        has_text = torch.tensor([text is not None for text in texts])[:, None]
        if not encoded["input_ids"].numel():
            empty = torch.zeros(len(texts), 1, dtype=torch.long)
            return {"input_ids": empty, "attention_mask": empty}
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"] * has_text}


def _tokenizer(source: str) -> Any:
    """The tokenizer of a folder or a Hub id, with a clear error for a SentencePiece file that cannot be read."""
    try:
        return AutoTokenizer.from_pretrained(source)
    except (ValueError, ImportError) as error:
        if is_sentencepiece_available() or not any(
            sign in str(error) for sign in ("Error parsing line", "entence", "tiktoken")
        ):
            raise
        remedy = "pip install sentencepiece protobuf, or give a tokenizer.json"
        raise ValueError(
            f"{source}: expected a tokenizer that can be read, got a SentencePiece model alone; {remedy}"
        ) from error


TWO_FRAMES = 560
"""Samples of two frames of 25 ms, 10 ms apart, at 16 kHz."""


def _is_time_first(feature_extractor: Any) -> bool:
    """Whether an extractor returns (F, M), as that of SeamlessM4T, and not (M, F), as that of Whisper."""
    rate, name = feature_extractor.sampling_rate, feature_extractor.model_input_names[0]
    options = {"sampling_rate": rate, "padding": "longest", "truncation": False, "return_tensors": "np"}
    short, long = (
        feature_extractor(np.zeros(rate * seconds, np.float32), **options)[name][0].shape for seconds in (1, 2)
    )
    return short[0] != long[0]


def trimmed(waveform: np.ndarray, threshold_db: float, sampling_rate: int = 16_000) -> np.ndarray:
    """A waveform without ends that are `threshold_db` below its loudest 20 ms; at least half a second stays, or all.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.model.processing_multimodal_ser import trimmed
        >>> trimmed(np.concatenate([np.zeros(8000), np.ones(16000), np.zeros(8000)]), 40.0).shape
        (16000,)
    """
    frame = sampling_rate // 50
    whole = len(waveform) // frame * frame
    power = np.square(waveform[:whole].reshape(-1, frame)).mean(1)
    if not len(power) or not power.max() > 0:
        return waveform
    loud = np.flatnonzero(power > power.max() * 10 ** (-threshold_db / 10))
    start, stop = loud[0] * frame, (loud[-1] + 1) * frame
    return waveform[start:stop] if stop - start >= sampling_rate // 2 else waveform


AutoProcessor.register(MultimodalEmotionConfig, MultimodalEmotionProcessor, exist_ok=True)
