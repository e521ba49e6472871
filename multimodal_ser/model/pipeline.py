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
"""The model as a pipeline of transformers: `pipeline("speech-emotion-recognition", model=...)`.

The pipeline uses recordings and the words that come with them; it does not transcribe. `predict` does, and returns
more.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForAudioClassification, AutoProcessor, Pipeline

TASK = "speech-emotion-recognition"
"""Name of the task for `transformers.pipeline`."""

SAMPLING_RATE = 16_000
LONGEST_PART = 30 * SAMPLING_RATE
"""Most samples of a part when the package is not installed; the package cuts at quiet places instead."""

BATCH_SIZE = 8
"""Smallest number of windows of long recordings in a batch of the model."""


class SpeechEmotionRecognitionPipeline(Pipeline):
    """Labels and scores of recordings, of words, or of both, by `transformers.pipeline`.

    An input is a recording, or a dict of "audio", "text" and "context" (the turns before), each of which may be missing. A recording is
    a path, a binary file object, bytes, an array or tensor (at 16 kHz, unless `sampling_rate` says otherwise), or an audio dict of
    Hugging Face ({"array", "sampling_rate"}, {"bytes"} or {"path"}). Without the package (copied code), arrays of one channel at 16 kHz.

    Args:
        model: the classifier.
        processor: the processor, its folder or its Hub id; None: the model's own.
        **kwargs: options of `transformers.Pipeline`, such as `device`, `batch_size` and `num_workers`, and those of a
            call.

    A call takes, beside its inputs (one, a list, a generator, a `Dataset` of torch or of Hugging Face with a dict a row):
        top_k: number of labels, the most probable first; None: all.
        sampling_rate: sampling rate of arrays that do not have their own, in Hz.
        on_error: "raise", or "skip": the error of an input stands in the place of its answer.

    Raises:
        ValueError: an input is no audio, or holds nothing; an option is wrong.
        ImportError: a file, and no package that decodes it.

    Example:
        >>> from transformers import pipeline
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> pipe = pipeline("speech-emotion-recognition", model=tiny_model())
        >>> answer = pipe({"audio": synthetic_speech(1.0), "text": "hello you"}, top_k=1)
        >>> sorted(answer[0])
        ['label', 'score']
    """

    # the processor is the model's: it is loaded with it, from the same revision
    _load_processor = False
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_video_processor = False

    def __init__(self, model: Any, *args: Any, processor: Any = None, **kwargs: Any):
        kwargs.pop("local_files_only", None)  # transformers.pipeline has used it, but passes it on
        if getattr(model.config, "model_type", None) != "multimodal_ser":
            raise ValueError(
                f"{TASK}: expected a MultimodalEmotionClassifier, got a {type(model).__name__}; its pipeline is audio-classification"
            )
        if isinstance(processor, str | Path):
            processor = AutoProcessor.from_pretrained(processor)
        super().__init__(model, *args, processor=model.processor if processor is None else processor, **kwargs)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Answers: a list for one input, a list of lists for a list, an iterator for iterators and datasets."""
        if isinstance(inputs, list) and not inputs:
            return []
        if type(inputs).__module__.partition(".")[0] == "datasets":  # transformers takes it for one input
            inputs = (row for row in inputs)
        return super().__call__(inputs, *args, **kwargs)

    def _sanitize_parameters(
        self, top_k: int | None = None, sampling_rate: int | None = None, on_error: str | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise ValueError(
                f"{TASK}: expected top_k, sampling_rate or on_error, got {', '.join(unknown)}; words stand beside their recording, "
                'as {"audio": ..., "text": ...}; predict() of the model has more options'
            )
        if on_error not in (None, "raise", "skip"):
            raise ValueError(f"on_error: expected 'raise' or 'skip', got {on_error!r}; choose one of them")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ValueError(
                f"top_k: expected a whole number from 1, or None for all labels, got {top_k!r}; 1 gives the best alone"
            )
        preparing = {"sampling_rate": sampling_rate, "on_error": on_error}
        return (
            {name: value for name, value in preparing.items() if value is not None},
            {},
            {} if top_k is None else {"top_k": top_k},
        )

    def preprocess(self, inputs: Any, sampling_rate: int | None = None, on_error: str = "raise") -> dict[str, Any]:
        """The input unchanged: the engine reads recordings block by block, so that long ones need no more memory."""
        return {"item": (inputs, sampling_rate, on_error)}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        items = model_inputs["item"] if isinstance(model_inputs["item"], list) else [model_inputs["item"]]
        _, sampling_rate, on_error = items[0]
        model = self.model
        if self.processor is not model.processor:
            model = copy.copy(model)
            model.processor = self.processor
        answers = _answers(model, [inputs for inputs, *_ in items], sampling_rate or SAMPLING_RATE, on_error)
        nothing = torch.full((model.config.num_labels,), torch.nan)
        return {
            "probabilities": torch.stack(
                [nothing if isinstance(each, Exception) else torch.as_tensor(each) for each in answers]
            ),
            "error": [each if isinstance(each, Exception) else None for each in answers],
        }

    def postprocess(self, model_outputs: dict[str, Any], top_k: int | None = None) -> list[dict[str, Any]] | Exception:
        """Probabilities (1, C) -> labels and scores, the most probable first; or the error of the input."""
        [error] = model_outputs["error"] if isinstance(model_outputs["error"], list) else [model_outputs["error"]]
        if error is not None:
            return error
        names, probabilities = self.model.config.id2label, model_outputs["probabilities"][0]
        scores, indices = probabilities.topk(min(top_k or len(probabilities), len(probabilities)))
        return [
            {"label": names[index], "score": score}
            for score, index in zip(scores.tolist(), indices.tolist(), strict=True)
        ]

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write model and processor into a folder.

        The configuration names the task only if the code is saved too (`register_for_auto_class`, for use without the
        package), because transformers then demands `trust_remote_code=True` of everybody who uses the task.
        """
        if self.model._auto_class is not None:
            implementation = f"{type(self).__module__.rsplit('.', 1)[-1]}.{type(self).__name__}"
            self.model.config.custom_pipelines = {
                TASK: {"impl": implementation, "pt": [AutoModelForAudioClassification.__name__]}
            }
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)


def _answers(model: Any, inputs: list[Any], sampling_rate: int, on_error: Any) -> list[Any]:
    """The probabilities (C,) of each input, as `predict` returns them without a Whisper, or its error."""
    try:
        from multimodal_ser.inference.engine import PredictOptions
        from multimodal_ser.inference.prediction import predictions
    except ImportError:  # this file was copied by trust_remote_code, and the package is not installed
        return [_answer_to_array(model, each, sampling_rate, on_error) for each in inputs]
    batch_size = max(len(inputs), BATCH_SIZE)
    options = PredictOptions(sampling_rate=sampling_rate, on_error=on_error, batch_size=batch_size)
    outcomes = predictions(model, inputs, options, transcriber=None, total=len(inputs))
    return [each if isinstance(each, Exception) else [*each.probabilities.values()] for each in outcomes]


def _answer_to_array(model: Any, inputs: Any, sampling_rate: int, on_error: str) -> Any:
    """The probabilities (C,) of one input without the package: an array of one channel at 16 kHz, words, or both."""
    try:
        parts = inputs if isinstance(inputs, Mapping) and {"audio", "text"} & set(inputs) else {"audio": inputs}
        text, context = parts.get("text"), parts.get("context")
        audio = parts.get("audio")
        waveforms = [None] if audio is None else np.array_split(*_array(audio, sampling_rate))
        windows = [(waveform, text, context) for waveform in waveforms]
        logits = np.concatenate([model.forward_windows([window])[0] for window in windows])
        return torch.from_numpy(logits).softmax(-1).mean(0)
    except (ValueError, OSError) as error:
        if on_error == "raise":
            raise
        return error


def _array(audio: Any, sampling_rate: int) -> tuple[np.ndarray, int]:
    """The samples (S,) of an input, and the number of equal parts to cut them into.

    Raises:
        ImportError: the input has to be decoded, and the package is not installed.
        ValueError: the samples have another rate or several channels, or are not finite.
    """
    if isinstance(audio, Mapping) and {"array", "raw"} & set(audio):
        audio, sampling_rate = audio.get("array", audio.get("raw")), audio.get("sampling_rate", sampling_rate)
    if not isinstance(audio, np.ndarray | torch.Tensor):
        raise ImportError(
            f"audio: expected an array at {SAMPLING_RATE} Hz, as the package multimodal_ser is not there to decode anything, "
            f"got {type(audio).__name__}; pip install multimodal_ser, or decode it yourself"
        )
    if sampling_rate != SAMPLING_RATE:
        raise ValueError(
            f"sampling_rate: expected {SAMPLING_RATE}, as the package multimodal_ser is not there to resample, got "
            f"{sampling_rate}; pip install multimodal_ser, or resample it yourself"
        )
    waveform = audio.detach().cpu().numpy() if isinstance(audio, torch.Tensor) else audio
    if waveform.ndim != 1 or not waveform.size or (waveform.dtype.kind == "f" and not np.isfinite(waveform).all()):
        raise ValueError(
            f"audio: expected finite samples (S,) of one channel, got shape {waveform.shape}; mix channels, leave out what is "
            "broken"
        )
    return waveform, math.ceil(len(waveform) / LONGEST_PART)
