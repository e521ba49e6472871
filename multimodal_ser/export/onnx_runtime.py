"""`OnnxEmotionClassifier`: prediction with exported ONNX graphs in onnxruntime.

This module imports neither torch nor transformers.
"""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser.audio import SAMPLING_RATE
from multimodal_ser.errors import InputError
from multimodal_ser.inference.interface import EmotionInference

FORMS = ("both", "audio", "text")
"""Inputs of a graph. A graph for "both" replaces the others, which are smaller and faster."""

GRAPHS = {"both": "model.onnx", "audio": "model_audio.onnx", "text": "model_text.onnx"}
"""Name of the file of each form; with 8-bit weights it is `model_int8.onnx`, ..."""

AUDIO_INPUTS = ("input_values", "input_features", "audio_attention_mask")
TEXT_INPUTS = ("input_ids", "attention_mask")
"""Inputs with an axis of time, in samples or frames (`AUDIO_INPUTS`) and in tokens (`TEXT_INPUTS`)."""

MIN_TOKENS = 3
"""Number of tokens to which shorter texts are padded: lengths of 1 and 2 would be constants of a graph."""

MEL_FILTERS = "mel_filters.npy"
"""Name of the file with the filters (frequencies, M) of an audio branch of spectrograms."""


def with_int8(name: str) -> str:
    """Return the name of the file with 8-bit weights of a graph."""
    return name.replace(".onnx", "_int8.onnx")


def is_export(folder: str | os.PathLike) -> bool:
    """Return whether a folder holds graphs for `OnnxEmotionClassifier`."""
    return any((Path(folder) / file).is_file() for name in GRAPHS.values() for file in (name, with_int8(name)))


@dataclass(frozen=True)
class Features:
    """Converts waveforms and texts to inputs of graphs, as `MultimodalEmotionProcessor`, with numpy and tokenizers.

    Args:
        extractor: settings of the feature extractor, as transformers saves them.
        tokenizer: a `tokenizers.Tokenizer`.
        pad_id: the padding token.
        separator: text between two turns.
        trim_silence_db: see `MultimodalEmotionProcessor`.
        mel_filters: (frequencies, M), for audio branches of spectrograms.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from multimodal_ser.export.onnx_runtime import Features
        >>> from multimodal_ser.testing import tiny_processor
        >>> folder = tempfile.mkdtemp()
        >>> _ = tiny_processor().save_pretrained(folder)
        >>> inputs = Features.from_pretrained(folder)([np.ones(16000, np.float32), None], ["hello", "so happy"])
        >>> {name: value.shape for name, value in inputs.items()}["input_values"], inputs["audio_attention_mask"].sum(1).tolist()
        ((2, 16000), [16000, 0])
    """

    extractor: dict[str, Any]
    tokenizer: Any
    pad_id: int = 0
    separator: str = ""
    trim_silence_db: float | None = None
    mel_filters: np.ndarray | None = None

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> Features:
        """Load the files of `MultimodalEmotionProcessor.save_pretrained`, and `mel_filters.npy` if there is one.

        Raises:
            InputError: a file is missing, or the feature extractor is not supported.
        """
        from tokenizers import Tokenizer

        folder = Path(folder)
        settings = _json(folder / "processor_config.json")
        tokens = _json(folder / "tokenizer_config.json")
        extractor = settings["feature_extractor"]
        kind = extractor.get("feature_extractor_type")
        if kind not in ("Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor", "SeamlessM4TFeatureExtractor"):
            expected = "a Wav2Vec2FeatureExtractor, WhisperFeatureExtractor or SeamlessM4TFeatureExtractor"
            raise InputError(str(folder), expected=expected, got=str(kind), remedy="others run in PyTorch alone")
        if not (folder / "tokenizer.json").is_file():
            remedy = "convert the tokenizer to a fast one first (AutoTokenizer.from_pretrained(..., use_fast=True))"
            raise InputError(str(folder), expected="tokenizer.json", got="none", remedy=remedy)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        pad = _token(tokens.get("pad_token"))
        separator = _token(tokens.get("sep_token")) or _token(tokens.get("eos_token"))
        filters = np.load(folder / MEL_FILTERS, allow_pickle=False) if (folder / MEL_FILTERS).is_file() else None
        return cls(
            extractor, tokenizer, tokenizer.token_to_id(pad) or 0, separator, settings.get("trim_silence_db"), filters
        )

    @property
    def audio_name(self) -> str:
        """Name of the audio input."""
        return (
            "input_values"
            if self.extractor["feature_extractor_type"] == "Wav2Vec2FeatureExtractor"
            else "input_features"
        )

    @property
    def time_first(self) -> bool:
        """Whether features of a clip have the shape (F, M), as for wav2vec2-BERT, not (M, F)."""
        return self.extractor["feature_extractor_type"] == "SeamlessM4TFeatureExtractor"

    def __call__(
        self,
        audio: Sequence[np.ndarray | None] | None,
        text: Sequence[str | None] | None,
        context: Sequence[Any] | None = None,
    ) -> dict[str, np.ndarray]:
        """Make a padded batch; a missing row becomes a mask of zeros, a modality that no row has is left out.

        Args:
            audio: waveforms (S,) at 16 kHz, float32; None for a row without one.
            text: texts; None for a row without one.
            context: previous turns of each text, oldest first.

        Returns:
            `input_values` (B, S) or `input_features` (B, M, F), `audio_attention_mask` (B, S) or (B, F), if there is
            audio; `input_ids` and `attention_mask` (B, L), if there are texts.
        """
        inputs: dict[str, np.ndarray] = {}
        rows = [None if waveform is None else self.audio_features(waveform) for waveform in audio or ()]
        present = [row for row in rows if row is not None]
        if present:
            axis = 0 if self.time_first else present[0].ndim - 1
            longest = max(row.shape[axis] for row in present)
            values = np.stack(
                [_fitted(np.zeros_like(present[0]) if row is None else row, axis, longest) for row in rows]
            )
            mask = (
                np.arange(longest) < np.array([0 if row is None else row.shape[axis] for row in rows])[:, None]
            ).astype(np.int64)
            inputs |= {self.audio_name: values.astype(np.float32), "audio_attention_mask": mask}
        turns = context or [None] * len(text or ())
        texts = [self._with_context(row, previous) for row, previous in zip(text or (), turns, strict=True)]
        if any(texts):
            encoded = [self.tokenizer.encode(row or "").ids for row in texts]
            longest = max(map(len, encoded))
            ids = np.full((len(texts), longest), self.pad_id, np.int64)
            mask = np.zeros((len(texts), longest), np.int64)
            for index, tokens in enumerate(encoded):
                ids[index, : len(tokens)] = tokens
                mask[index, : len(tokens)] = texts[index] is not None
            inputs |= {"input_ids": ids, "attention_mask": mask} if mask.any() else {}  # no text has a token
        if not inputs:
            remedy = "leave empty rows out"
            raise InputError("features", expected="audio or text in at least one row", got="none", remedy=remedy)
        return inputs

    def audio_features(self, waveform: np.ndarray) -> np.ndarray:
        """Return the features of a waveform (S,): the normalized waveform (S,), a spectrogram (M, F), or filter banks
        (F, M).
        """
        if self.trim_silence_db is not None:
            waveform = _trimmed(waveform, self.trim_silence_db)
        if self.time_first:
            return self._filter_banks(waveform)
        if self.audio_name == "input_features":
            return self._spectrogram(waveform)
        if self.extractor.get("do_normalize", True):
            return (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
        return waveform

    def _spectrogram(self, waveform: np.ndarray) -> np.ndarray:
        """Return Whisper's log-mel spectrogram (whisper.audio.log_mel_spectrogram), 100 frames per second."""
        assert self.mel_filters is not None
        size, hop = self.extractor.get("n_fft", 400), self.extractor.get("hop_length", 160)
        padded = np.pad(waveform, size // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:-1]
        window = np.hanning(size + 1)[:-1]
        power = np.square(np.abs(np.fft.rfft(frames * window, axis=1)))
        mel = np.log10(np.maximum(power @ self.mel_filters, 1e-10)).T
        return ((np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0).astype(np.float32)

    def _filter_banks(self, waveform: np.ndarray) -> np.ndarray:
        """Return Kaldi's logarithmic filter banks, as transformers' SeamlessM4TFeatureExtractor.

        They have 100 frames per second, each band is normalized over the clip, and neighboring frames are joined to
        (F, stride * M).
        """
        assert self.mel_filters is not None
        size, hop, fft = 400, 160, 512
        stride = self.extractor.get("stride", 2)
        waveform = _fitted(waveform, 0, max(len(waveform), size + hop))  # a deviation needs at least two frames
        frames = np.lib.stride_tricks.sliding_window_view(waveform * np.float32(2**15), size)[::hop].astype(np.float64)
        frames = frames - frames.mean(1, keepdims=True)
        # the first sample of a frame is its own predecessor
        frames -= 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(size) ** 0.85, fft, axis=1)))
        bands = np.log(np.maximum(power @ self.mel_filters, np.finfo(np.float32).eps)).astype(np.float32)
        bands = (bands - bands.mean(0)) / np.sqrt(bands.var(0, ddof=1) + 1e-7)
        return bands[: len(bands) // stride * stride].reshape(-1, stride * bands.shape[1])

    def _with_context(self, text: str | None, previous: Any) -> str | None:
        if not isinstance(text, str) or not text.strip():
            return None
        turns = [previous] if isinstance(previous, str) else previous or ()
        return f" {self.separator} ".join([*(turn for turn in turns if turn and turn.strip()), text])


def _fitted(values: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Return values cut along an axis, or padded with zeros."""
    padding = [(0, max(length - size, 0) if at == axis else 0) for at, size in enumerate(values.shape)]
    return np.pad(values, padding)[(slice(None),) * axis + (slice(length),)]


def _trimmed(waveform: np.ndarray, threshold_db: float) -> np.ndarray:
    """Trim silence as `processing_multimodal_ser.trimmed`, which needs torch."""
    frame = SAMPLING_RATE // 50
    power = np.square(waveform[: len(waveform) // frame * frame].reshape(-1, frame)).mean(1)
    if not len(power) or not power.max() > 0:
        return waveform
    loud = np.flatnonzero(power > power.max() * 10 ** (-threshold_db / 10))
    start, stop = loud[0] * frame, (loud[-1] + 1) * frame
    return waveform[start:stop] if stop - start >= SAMPLING_RATE // 2 else waveform


@dataclass(frozen=True)
class OnnxConfig:
    """The fields of `MultimodalEmotionConfig` that `predict` uses."""

    trained_modalities: list[str] | None = None
    text_languages: list[str] | None = None
    conformal: dict[str, dict[str, Any]] = field(default_factory=dict)
    temperature: dict[str, float] = field(default_factory=dict)
    dimensions: list[str] = field(default_factory=list)


class OnnxGraph:
    """One graph in onnxruntime, with the metadata of its file.

    Args:
        path: path of the file.
        providers: execution providers of onnxruntime, the preferred one first.
        threads: number of threads of a call; None: the default of onnxruntime.
    """

    def __init__(
        self, path: str | os.PathLike, providers: Sequence[str] = ("CPUExecutionProvider",), threads: int | None = None
    ):
        self.path = os.path.abspath(path)
        self.providers = list(providers)
        self.threads = threads
        try:
            self.session = self._session()
            metadata = json.loads(self.session.get_modelmeta().custom_metadata_map["multimodal_ser"])
        except Exception as error:  # onnxruntime has many types of exceptions
            got = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:100]}"
            remedy = "export it again with multimodal-ser export onnx"
            raise InputError(str(path), expected="a graph that export_onnx wrote", got=got, remedy=remedy) from error
        self.shapes = {entry.name: entry.shape for entry in self.session.get_inputs()}
        # (batch, time), (batch, mels, time) or (batch, time, features): a dynamic size has a name in place of a number
        self.time_axes = {
            name: [isinstance(size, str) for size in shape[1:]].index(True) + 1
            for name, shape in self.shapes.items()
            if name != "speaker_mean"
        }
        self.outputs = [entry.name for entry in self.session.get_outputs()]
        self.batched: bool = metadata["batched"]
        self.min_length: int = metadata["min_length"]
        self.max_tokens: int = metadata["max_tokens"]
        self.text_window: int = metadata.get("text_window", 512)
        self.audio_encoder: str = metadata["audio_encoder"]
        self.weights: str = metadata["weights"]

    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        return onnxruntime.InferenceSession(self.path, options, providers=self.providers)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickle and copy: without the session, with the path of the graph."""
        return {name: value for name, value in self.__dict__.items() if name != "session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state of `__getstate__`, and load the graph again."""
        self.__dict__ |= state
        self.session = self._session()

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a batch; inputs that it lacks are filled with missing values."""
        rows = len(next(iter(inputs.values())))
        inputs = self._filled(inputs, rows)
        # Rows run alone if padding would change their result, or if a long text would pad the others.
        long = (
            inputs["attention_mask"].sum(1) > self.text_window if "attention_mask" in inputs else np.zeros(rows, bool)
        )
        alone = np.flatnonzero(long | (not self.batched))
        together = np.flatnonzero(~long & self.batched)
        groups = [*alone[:, None], *([together] if len(together) else [])]
        if len(groups) == 1:
            return dict(zip(self.outputs, self.session.run(None, inputs), strict=True))
        parts = [self.session.run(None, self._rows(inputs, group)) for group in groups]
        places = np.argsort(np.concatenate(groups))
        return {name: np.concatenate([part[at] for part in parts])[places] for at, name in enumerate(self.outputs)}

    def _rows(self, inputs: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return some rows of a batch, without padding that they do not need."""
        selected = {name: value[rows] for name, value in inputs.items()}
        for mask, least, names in (
            ("audio_attention_mask", self.min_length, AUDIO_INPUTS),
            ("attention_mask", MIN_TOKENS, TEXT_INPUTS),
        ):
            length = max(int(selected[mask].sum(1).max()), least) if mask in selected else 0
            selected |= {
                name: _fitted(value, self.time_axes[name], length) for name, value in selected.items() if name in names
            }
        return selected

    def _filled(self, inputs: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
        filled: dict[str, np.ndarray] = {}
        for name, shape in self.shapes.items():
            value = inputs.get(name)
            if name == "speaker_mean":
                value = np.full((rows, *shape[1:]), np.nan, np.float32) if value is None else value
            elif name in TEXT_INPUTS:
                value = np.zeros((rows, MIN_TOKENS), np.int64) if value is None else value
                if value.shape[1] > self.max_tokens:
                    warnings.warn(
                        f"a text has more than {self.max_tokens} tokens: the rest of it is not read",
                        UserWarning,
                        stacklevel=4,
                    )
                value = _fitted(value, 1, min(max(value.shape[1], MIN_TOKENS), self.max_tokens))
            else:
                if value is None:
                    free = [self.min_length if isinstance(size, str) else size for size in shape[1:]]
                    value = np.zeros((rows, *free), np.int64 if name == "audio_attention_mask" else np.float32)
                axis = self.time_axes[name]
                value = _fitted(value, axis, max(value.shape[axis], self.min_length))
            filled[name] = value
        return filled


class _NoWhisper:
    """Placeholder for faster-whisper if it is not installed; a transcription raises the error."""

    def transcribe(self, *_args: Any, **_options: Any) -> Any:
        from multimodal_ser.transcription import WhisperNotFoundError

        remedy = "pip install faster-whisper, give the text, or do without (whisper=None)"
        raise WhisperNotFoundError(
            "whisper", expected="the package faster-whisper", got="none installed", remedy=remedy
        )


class OnnxEmotionClassifier(EmotionInference):
    """Emotion probabilities with onnxruntime: `predict` of `MultimodalEmotionClassifier` without PyTorch.

    Args:
        graphs: graphs by form: "both", "audio", "text".
        labels: names of the classes.
        config: fields of the configuration that `predict` uses.
        features: converts waveforms and texts to inputs of the graphs.
        whisper: see `from_pretrained`.

    Example:
        >>> from multimodal_ser.export.onnx_runtime import OnnxEmotionClassifier  # from_pretrained("onnx_model").predict("call.wav")
        >>> OnnxEmotionClassifier.from_pretrained("no such folder")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        multimodal_ser.errors.InputError: no such folder: expected a folder that export_onnx wrote, got nothing there; ...
    """

    framework = "np"
    """Framework of the tensors of a speaker profile: numpy."""

    def __init__(
        self,
        graphs: dict[str, OnnxGraph],
        labels: Sequence[str],
        config: OnnxConfig,
        features: Features,
        whisper: Any = "auto",
    ):
        self.graphs = graphs
        self.labels = list(labels)
        self.config = config
        self.features = features
        self._whisper = whisper
        self._transcriber = None

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike,
        *,
        whisper: Any = "auto",
        int8: bool | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int | None = None,
    ) -> OnnxEmotionClassifier:
        """Load a folder that `export_onnx` wrote.

        Args:
            folder: the folder.
            whisper: the transcriber: a name ("small"), a path, a `WhisperTranscriber`, or None for none; "auto": a
                model of faster-whisper that is installed.
            int8: whether graphs with 8-bit weights are loaded; None: only if there are no others.
            providers: execution providers of onnxruntime, the preferred one first.
            threads: number of threads of a call; None: OMP_NUM_THREADS if it is set, else the default of onnxruntime.

        Raises:
            InputError: the folder holds no such graphs, or one cannot be loaded.
        """
        folder = Path(folder)
        names = {False: GRAPHS, True: {form: with_int8(name) for form, name in GRAPHS.items()}}
        for is_int8 in (False, True) if int8 is None else (int8,):
            paths = {form: folder / name for form, name in names[is_int8].items() if (folder / name).is_file()}
            if paths:
                break
        else:
            got = "nothing there" if not folder.is_dir() else f"no {' nor '.join(names[bool(int8)].values())}"
            source = (
                f" --model {folder} --output-dir {folder}-onnx"
                if (folder / "config.json").is_file()
                else f" --output-dir {folder}"
            )
            remedy = f"multimodal-ser export onnx{source}{' --int8' if int8 else ''}"
            raise InputError(str(folder), expected="a folder that export_onnx wrote", got=got, remedy=remedy)
        if threads is None and os.environ.get("OMP_NUM_THREADS", "").isdigit():
            threads = int(os.environ["OMP_NUM_THREADS"])
        settings = _json(folder / "config.json")
        trained = settings.get("trained_modalities")
        if "both" not in paths and len(paths) == 1:
            trained = list(paths)  # no other modality has a graph
        config = OnnxConfig(
            trained,
            settings.get("text_languages"),
            settings.get("conformal") or {},
            settings.get("temperature") or {},
            settings.get("dimensions") or [],
        )
        labels = [settings["id2label"][key] for key in sorted(settings["id2label"], key=int)]
        graphs = {form: OnnxGraph(path, providers, threads) for form, path in paths.items()}
        if len({graph.weights for graph in graphs.values()}) > 1:
            got = f"graphs of several: {', '.join(path.name for path in paths.values())}"
            remedy = "export each to a folder of its own"
            raise InputError(str(folder), expected="graphs of one model", got=got, remedy=remedy)
        return cls(graphs, labels, config, Features.from_pretrained(folder), whisper)

    @property
    def _whisper_options(self) -> dict[str, Any]:
        return {"backend": "faster-whisper"}

    def _transcriber_of(self, whisper: str | Path) -> Any:
        installed = importlib.util.find_spec("faster_whisper") is not None
        return super()._transcriber_of(whisper) if installed else _NoWhisper()

    @property
    def encoder_fingerprint(self) -> str:
        """Fingerprint of the audio branch in the graphs; speaker profiles of another branch do not fit."""
        return next(iter(self.graphs.values())).audio_encoder

    def forward_windows(
        self, windows: Sequence[tuple[np.ndarray | None, str | None, Any]], speaker_mean: Any = None
    ) -> tuple[Any, ...]:
        """Predict B windows, each a waveform (S,), its text and its previous turns, or None; see
        `engine.EmotionModel`.
        """
        kinds = {(waveform is not None, text is not None) for waveform, text, _ in windows}
        if "both" not in self.graphs and len(kinds) > 1:  # each kind has a graph of its own
            parts = [self.forward_windows([window], speaker_mean) for window in windows]
            return tuple(_joined(values) for values in zip(*parts, strict=True))
        audio, text, context = (list(values) for values in zip(*windows, strict=True))
        inputs = self.features(audio, text, context)
        has_audio, has_text = self.features.audio_name in inputs, "input_ids" in inputs
        if speaker_mean is not None and has_audio:
            mean = np.asarray(speaker_mean, np.float32)
            inputs["speaker_mean"] = np.broadcast_to(mean, (len(windows), *mean.shape))
        outputs = self._graph("both" if has_audio and has_text else "audio" if has_audio else "text")(inputs)
        means = outputs.get("hidden_mean") if has_audio else None
        if means is not None:
            has_frames = inputs["audio_attention_mask"].max(1) > 0
            means = np.where(has_frames[:, None, None], means, np.float32("nan"))
        return outputs["logits"], outputs["embeddings"], means, outputs.get("dimensions")

    def _graph(self, form: str) -> OnnxGraph:
        for name in (form, "both"):
            if name in self.graphs:
                return self.graphs[name]
        remedy = f"multimodal-ser export onnx --modalities {form}, or ask for modalities={next(iter(self.graphs))!r}"
        raise InputError("input", expected=f"an export with {GRAPHS[form]}", got=", ".join(self.graphs), remedy=remedy)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "export it again with multimodal-ser export onnx"
        raise InputError(
            str(path), expected="a file that export_onnx wrote", got=type(error).__name__, remedy=remedy
        ) from error


def _joined(values: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Join rows of single windows into one batch; rows without a value are NaN if others have one."""
    like = next((value for value in values if value is not None), None)
    if like is None:
        return None
    return np.concatenate([np.full_like(like, np.nan) if value is None else value for value in values])


def _token(token: Any) -> str:
    """Return the text of a special token in a tokenizer's settings: a string, a dict with it, or nothing."""
    return (token.get("content") if isinstance(token, dict) else token) or ""
