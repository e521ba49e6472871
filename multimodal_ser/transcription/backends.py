"""Provides one interface to the three libraries that run Whisper. Each decodes clips of at most 30 s greedily.

Longer recordings are cut before, so that all three libraries treat them in the same way.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE
from multimodal_ser.transcription.transcript import Word
from multimodal_ser.transcription.weights import WhisperWeights


@dataclass(frozen=True)
class Recognition:
    """The text that a backend recognized in one clip; the fields are as in `Transcript`."""

    text: str
    language: str | None
    language_probability: float | None
    average_log_probability: float | None
    no_speech_probability: float | None
    words: tuple[Word, ...] | None

    @property
    def compression_ratio(self) -> float:
        """The length of the text divided by its length after zlib; it is high for repetitions (whisper.utils)."""
        encoded = self.text.encode()
        return len(encoded) / len(zlib.compress(encoded)) if encoded else 0.0


class WhisperBackend(Protocol):
    """The interface of all backends."""

    multilingual: bool

    def transcribe(
        self, waveforms: Sequence[np.ndarray], language: str | None, word_timestamps: bool
    ) -> list[Recognition]:
        """Recognize the text of clips (S,) at 16 kHz of at most 30 s; one result for each, in order."""
        ...


class FasterWhisperBackend:
    """faster-whisper (CTranslate2): int8 on a CPU, half precision on a GPU."""

    def __init__(self, weights: WhisperWeights, device: str, compute_type: str | None):
        from faster_whisper import WhisperModel

        kind = "cuda" if device.startswith("cuda") else "cpu"
        threads = 0 if "OMP_NUM_THREADS" in os.environ else min(os.cpu_count() or 1, 8)
        self.model = WhisperModel(
            weights.path, device=kind, device_index=int(device.partition(":")[2] or 0), cpu_threads=threads, local_files_only=True,
            compute_type=compute_type or ("float16" if kind == "cuda" else "int8"),
        )  # fmt: skip
        self.multilingual = self.model.model.is_multilingual

    def transcribe(
        self, waveforms: Sequence[np.ndarray], language: str | None, word_timestamps: bool
    ) -> list[Recognition]:
        """See `WhisperBackend.transcribe`."""
        return [self._one(waveform, language, word_timestamps) for waveform in waveforms]

    def _one(self, waveform: np.ndarray, language: str | None, word_timestamps: bool) -> Recognition:
        segments, info = self.model.transcribe(
            waveform, language=language, beam_size=1, temperature=0.0, condition_on_previous_text=False, word_timestamps=word_timestamps,
            log_prob_threshold=None, no_speech_threshold=None, compression_ratio_threshold=None, vad_filter=False,
        )  # fmt: skip
        parts = list(segments)
        words = tuple(
            Word(word.word.strip(), float(word.start), float(word.end), float(word.probability))
            for segment in parts
            for word in segment.words or ()
        )
        return _summary(
            "".join(segment.text for segment in parts),
            info.language,
            None if language else info.language_probability,
            [(segment.avg_logprob, segment.no_speech_prob, segment.end - segment.start) for segment in parts],
            words if word_timestamps else None,
        )


class OpenAIWhisperBackend:
    """openai-whisper, the reference. Its files are pickles; only tensors are read (`torch.load(weights_only=True)`)."""

    def __init__(self, weights: WhisperWeights, device: str, compute_type: str | None):
        import whisper

        self.model = whisper.load_model(weights.path, device=device)
        self.half = device.startswith("cuda") and compute_type != "float32"
        self.multilingual = self.model.is_multilingual

    def transcribe(
        self, waveforms: Sequence[np.ndarray], language: str | None, word_timestamps: bool
    ) -> list[Recognition]:
        """See `WhisperBackend.transcribe`."""
        return [self._one(waveform, language, word_timestamps) for waveform in waveforms]

    def _one(self, waveform: np.ndarray, language: str | None, word_timestamps: bool) -> Recognition:
        import whisper

        probability = None
        if not self.multilingual:
            language = "en"
        elif language is None:
            mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(waveform), n_mels=self.model.dims.n_mels).to(
                self.model.device
            )
            _, probabilities = self.model.detect_language(mel)
            language = max(probabilities, key=lambda code: probabilities[code])
            probability = float(probabilities[language])
        result = whisper.transcribe(
            self.model, waveform, language=language, temperature=0.0, condition_on_previous_text=False, word_timestamps=word_timestamps,
            logprob_threshold=None, no_speech_threshold=None, compression_ratio_threshold=None, fp16=self.half, verbose=None,
        )  # fmt: skip
        segments = result["segments"]
        words = tuple(
            Word(word["word"].strip(), float(word["start"]), float(word["end"]), float(word["probability"]))
            for segment in segments
            for word in segment.get("words", ())
        )
        measured = [
            (segment["avg_logprob"], segment["no_speech_prob"], segment["end"] - segment["start"])
            for segment in segments
        ]
        return _summary(result["text"], language, probability, measured, words if word_timestamps else None)


class TransformersBackend:
    """transformers: clips run in batches on a GPU, and one by one on a CPU, where a batch only adds padding."""

    BATCH = 16

    def __init__(self, weights: WhisperWeights, device: str, compute_type: str | None):
        import torch
        from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

        dtype = (
            getattr(torch, compute_type)
            if compute_type
            else torch.float16
            if device.startswith("cuda")
            else torch.float32
        )
        self.model = (
            WhisperForConditionalGeneration.from_pretrained(weights.path, dtype=dtype, use_safetensors=True)
            .to(device)
            .eval()
        )
        self.extractor = WhisperFeatureExtractor.from_pretrained(weights.path)
        self.tokenizer = AutoTokenizer.from_pretrained(weights.path)
        self.multilingual = bool(self.model.generation_config.is_multilingual)
        self.size = self.BATCH if device.startswith("cuda") else 1

    def transcribe(
        self, waveforms: Sequence[np.ndarray], language: str | None, word_timestamps: bool
    ) -> list[Recognition]:
        """See `WhisperBackend.transcribe`."""
        results: list[Recognition] = []
        for at in range(0, len(waveforms), self.size):
            results += self._batch(waveforms[at : at + self.size], language, word_timestamps)
        return results

    def _batch(self, waveforms: Sequence[np.ndarray], language: str | None, word_timestamps: bool) -> list[Recognition]:
        import torch

        extracted = self.extractor(
            list(waveforms), sampling_rate=SAMPLING_RATE, return_tensors="pt", return_attention_mask=True
        )
        features = extracted.input_features.to(self.model.device, self.model.dtype)
        settings = self.model.generation_config
        with torch.inference_mode():
            encoded = self.model.get_encoder()(features)
            start = torch.full((len(waveforms), 1), settings.decoder_start_token_id, device=features.device)
            first = self.model(encoder_outputs=encoded, decoder_input_ids=start).logits[:, 0].float()
        # the token <|nospeech|> is before <|notimestamps|>
        no_speech = first.softmax(-1)[:, settings.no_timestamps_token_id - 1].tolist()
        languages: list[str] = ["en" if language is None else language] * len(waveforms)
        probabilities: list[float | None] = [None] * len(waveforms)
        if self.multilingual and language is None:
            codes = list(settings.lang_to_id)
            language_probabilities = first[:, [settings.lang_to_id[code] for code in codes]].softmax(-1)
            best = language_probabilities.max(-1)
            languages = [codes[i].strip("<|>") for i in best.indices.tolist()]
            probabilities = list(best.values.tolist())
        results = []
        for code in dict.fromkeys(languages):  # a call of generate has one language
            rows = [i for i, other in enumerate(languages) if other == code]
            options = {"language": code, "task": "transcribe"} if self.multilingual else {}
            with torch.inference_mode(), _quiet():
                output = self.model.generate(
                    features[rows], attention_mask=extracted.attention_mask[rows].to(features.device), do_sample=False, num_beams=1,
                    return_dict_in_generate=True, output_scores=True, return_token_timestamps=word_timestamps,
                    force_unique_generate_call=True, **options,
                )  # fmt: skip
            for position, row in enumerate(rows):
                results.append(
                    (row, self._read(output, position, code, probabilities[row], no_speech[row], word_timestamps))
                )
        return [result for _, result in sorted(results, key=lambda entry: entry[0])]

    def _read(
        self, output: Any, row: int, language: str, probability: float | None, no_speech: float, word_timestamps: bool
    ) -> Recognition:
        tokens = output["sequences"][row]
        steps = output["scores"][-min(len(output["scores"]), len(tokens)) :]
        generated = tokens[len(tokens) - len(steps) :]
        stops = (generated == self.model.generation_config.eos_token_id).nonzero()
        length = int(stops[0]) + 1 if len(stops) else len(generated)
        logprobs = [steps[i][row].float().log_softmax(-1)[generated[i]].item() for i in range(length)]
        average = sum(logprobs) / max(length, 1)
        words = None
        if word_timestamps:
            from transformers.models.whisper.tokenization_whisper import _combine_tokens_into_words

            ends_at = output["token_timestamps"][row][len(tokens) - len(steps) :].tolist()  # s, the end of each token
            plain = [i for i in range(length) if generated[i] < self.model.generation_config.eos_token_id]
            texts, _, indices = _combine_tokens_into_words(self.tokenizer, [int(generated[i]) for i in plain], language)
            ends = [float(ends_at[plain[group[-1]]]) for group in indices]
            words = tuple(
                Word(text.strip(), start, end) for text, start, end in zip(texts, [0.0, *ends[:-1]], ends, strict=True)
            )
        text = self.tokenizer.decode(generated[:length], skip_special_tokens=True)
        return Recognition(text.strip(), language, probability, average, no_speech, words)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers: Whisper's generate warns of its own settings at each call."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _summary(
    text: str,
    language: str | None,
    probability: float | None,
    measured: list[tuple[float, float, float]],
    words: tuple[Word, ...] | None,
) -> Recognition:
    """Join the segments of a clip; probabilities are means weighted by the length of the segments."""
    weights = [max(length, 0.02) for _, _, length in measured]
    total = sum(weights)
    average = (
        sum(value * weight for (value, _, _), weight in zip(measured, weights, strict=True)) / total
        if measured
        else None
    )
    silence = (
        sum(value * weight for (_, value, _), weight in zip(measured, weights, strict=True)) / total
        if measured
        else None
    )
    return Recognition(
        text.strip(), language, None if probability is None else float(probability), average, silence, words
    )


BACKENDS: dict[str, Callable[[WhisperWeights, str, str | None], WhisperBackend]] = {
    "faster-whisper": FasterWhisperBackend,
    "openai-whisper": OpenAIWhisperBackend,
    "transformers": TransformersBackend,
}
