"""Embeddings of recordings, texts or both as vectors, for clustering, for search, and for estimators of scikit-learn.

A vector is the input of the emotion head: both modalities fused, (D,). A learned embedding replaces a modality that is
    missing or
not used, so that recordings, texts and pairs of both are in one space.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from multimodal_ser.errors import InputError
from multimodal_ser.inference.engine import EmotionModel, Engine, PredictOptions, by_item, weighted_mean
from multimodal_ser.inference.inputs import Modalities, column
from multimodal_ser.inference.prediction import of_item

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
except ImportError:  # `embed` does not need scikit-learn, nor does EmotionEmbeddings outside of its pipelines
    BaseEstimator = type("BaseEstimator", (), {})
    ClassNamePrefixFeaturesOutMixin = type("ClassNamePrefixFeaturesOutMixin", (), {})
    TransformerMixin = type("TransformerMixin", (), {})

MOST_NAMED = 5
"""Number of inputs that an error names; it counts the others."""


def embed(classifier: Any, items: Iterable[Any], **options: Any) -> Iterator[np.ndarray | InputError]:
    """`classifier.embed(items, **options)`, which describes the options.

    Example:
        >>> from multimodal_ser import embed
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> inputs = [synthetic_speech(1.0), {"text": "so happy"}]
        >>> [vector.shape for vector in embed(tiny_model(), inputs, sampling_rate=16000)]
        [(32,), (32,)]
    """
    return classifier.embed(items, **options)


def vectors(model: EmotionModel, inputs: Iterable[Any], options: PredictOptions) -> Iterator[np.ndarray | InputError]:
    """Embed inputs, at flat memory; options are checked at once. See `EmotionInference.embed`."""
    engine = Engine(model, options)

    def outcomes() -> Iterator[np.ndarray | InputError]:
        for outputs in by_item(engine.run(inputs)):
            prediction = of_item(outputs, engine)
            if not isinstance(prediction, InputError):
                windows = [window for window in outputs.windows if window.embedding is not None]
                mean = weighted_mean(windows, [window.embedding for window in windows if window.embedding is not None])
                yield mean.astype(np.float32)
            elif options.on_error == "raise":
                raise prediction
            else:
                yield prediction

    return outcomes()


class EmotionEmbeddings(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A transformer of scikit-learn that turns recordings, texts or both into vectors. There is nothing to fit.

    It is the first step of a pipeline, before a classifier, a clustering or a search for neighbours. The model is
    loaded when it is first needed, once for all copies of the transformer, and is not pickled.

    Args:
        model: folder or Hub id; None: the checkpoint in the package. It may be a loaded classifier, which cannot be
            pickled.
        modalities: "audio": the voice alone; "text": the words alone, which Whisper writes where an input has none;
            "both": an error where one is missing; "auto": all modalities of an input. All vectors are in one space.
        sampling_rate: sampling rate of arrays, in Hz.
        language: language of the speech; None: Whisper detects it.
        whisper: a name or a path; None: no Whisper; "auto": one that is on this machine. A loaded classifier keeps its
            own.
        device: device of the model. A loaded classifier stays on its device.
        batch_size: number of rows in a batch.
        on_error: "raise": after the good inputs, an error that names the bad ones; "nan": a row of NaN for each bad
            input, and its error in `errors_`.

    Attributes:
        errors_: after `transform`, the error of each bad input, by position.

    Example:
        >>> from sklearn.cluster import KMeans
        >>> from sklearn.pipeline import make_pipeline
        >>> from multimodal_ser import EmotionEmbeddings
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> clips = [synthetic_speech(0.5, seed=n, pitch=pitch) for n in range(2) for pitch in (110, 260)]
        >>> embeddings = EmotionEmbeddings(tiny_model(), modalities="audio", sampling_rate=16000)
        >>> embeddings.fit_transform(clips).shape
        (4, 32)
        >>> make_pipeline(embeddings, KMeans(2, random_state=0)).fit_predict(clips).shape
        (4,)
    """

    def __init__(
        self,
        model: Any = None,
        *,
        modalities: Modalities = "auto",
        sampling_rate: int | None = None,
        language: str | None = None,
        whisper: Any = "auto",
        device: str | None = None,
        batch_size: int = 8,
        on_error: Literal["raise", "nan"] = "raise",
    ):
        self.model = model
        self.modalities = modalities
        self.sampling_rate = sampling_rate
        self.language = language
        self.whisper = whisper
        self.device = device
        self.batch_size = batch_size
        self.on_error = on_error

    def fit(self, X: Any, y: Any = None) -> EmotionEmbeddings:  # noqa: N803 - scikit-learn's name
        """Load the model and check the options; there is nothing to learn."""
        next(self._vectors([]), None)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Embed inputs.

        Args:
            X: N inputs: a list of recordings (paths, arrays, bytes, Hugging Face audio dicts), of pairs (audio, text), or of dicts with
                "audio" and "text"; an array of paths; an object array (N, 2) of such pairs; a table with a column "path" or "audio", a
                column "text", or both. None, "" and NaN mean that there is none.

        Returns:
            (N, D) float32.

        Raises:
            InputError: `X` is no list or table, or an option is wrong; with `on_error="raise"` also for bad inputs, by
                position.
        """
        items = _inputs(X)
        vectors = list(self._vectors(items))
        self.errors_ = {position: vector for position, vector in enumerate(vectors) if isinstance(vector, InputError)}
        if self.errors_ and self.on_error == "raise":
            raise _joined_error(self.errors_, len(items))
        nothing = np.full(self._n_features_out, np.nan, dtype=np.float32)
        rows = [nothing if isinstance(vector, InputError) else vector for vector in vectors]
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, self._n_features_out), np.float32)

    def _vectors(self, items: list[Any]) -> Iterator[Any]:
        if self.on_error not in ("raise", "nan"):
            raise InputError(
                "on_error", expected="one of raise, nan", got=repr(self.on_error), remedy="choose one of them"
            )
        return embed(
            self._classifier, items, sampling_rate=self.sampling_rate, modalities=self.modalities, language=self.language,
            batch_size=self.batch_size, on_error="skip",
        )  # fmt: skip

    @property
    def _classifier(self) -> Any:
        if self.model is not None and not isinstance(self.model, str | os.PathLike):
            return self.model
        source = None if self.model is None else os.fspath(self.model)
        return _loaded(
            source, self.whisper, None if self.device is None else str(self.device), _modification_time(source)
        )

    @property
    def _n_features_out(self) -> int:
        config = self._classifier.config
        return config.fusion_hidden_size * (1 if config.combination == "gated" else 4)

    def __getstate__(self) -> dict[str, Any]:
        if self.model is not None and not isinstance(self.model, str | os.PathLike):
            got = f"a loaded {type(self.model).__name__}"
            remedy = "save it with save_pretrained, and give EmotionEmbeddings its folder"
            raise InputError("model", expected="a folder or a Hub id, to be pickled", got=got, remedy=remedy)
        return dict(super().__getstate__())  # type: ignore[misc]

    def __sklearn_clone__(self) -> EmotionEmbeddings:
        return type(self)(**self.get_params(deep=False))  # a loaded model is shared, not copied

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


@lru_cache(maxsize=1)  # a cross-validation has a copy of the transformer for each fold
def _loaded(source: str | None, whisper: Any, device: str | None, changed: float) -> Any:
    import multimodal_ser

    return multimodal_ser.MultimodalEmotionClassifier.from_pretrained(source, whisper=whisper, device=device)


def _modification_time(source: str | None) -> float:
    """Time of the last change in a folder, after which it may hold another model; 0 for a Hub id."""
    if source is None or not os.path.isdir(source):
        return 0.0
    return max((file.stat().st_mtime for file in Path(source).iterdir()), default=0.0)


def _inputs(data: Any) -> list[Any]:
    """The inputs as a list, from a list, an array or a table."""
    if hasattr(data, "columns") and hasattr(data, "to_dict"):
        names = {name.lower(): name for name in map(str, data.columns)}
        audio, text = names.get("path", names.get("audio")), names.get("text")
        if audio is None and text is None:
            got = f"the columns {', '.join(names) or 'none'}"
            raise InputError("X", expected="a column path, audio or text", got=got, remedy="rename it")
        columns = [[None] * len(data) if name is None else list(data[name]) for name in (audio, text)]
        return [{"audio": recording, "text": words} for recording, words in zip(*columns, strict=True)]
    if isinstance(data, np.ndarray) and data.ndim == 2:
        if data.dtype.kind in "OUT" and data.shape[1] == 2:
            return [{"audio": recording, "text": words} for recording, words in data.tolist()]
        if data.dtype.kind in "OUT" and data.shape[1] == 1:
            return data[:, 0].tolist()
        return list(data)  # waveforms of one length
    listed = column(data)
    if listed is None:
        remedy = "give a list, also of one input"
        raise InputError(
            "X", expected="a list, an array or a table of inputs", got=f"one {type(data).__name__}", remedy=remedy
        )
    return [{"audio": one[0], "text": one[1]} if isinstance(one, tuple) and len(one) == 2 else one for one in listed]


def _joined_error(errors: dict[int, InputError], count: int) -> InputError:
    """One error for several bad inputs, with the position and the error of each."""
    shown = "; ".join(f"{position}: {error}" for position, error in list(errors.items())[:MOST_NAMED])
    more = f"; and {len(errors) - MOST_NAMED} more" if len(errors) > MOST_NAMED else ""
    got = f"{len(errors)} that cannot be used (by position in X): {shown}{more}"
    return InputError(
        "X", expected=f"{count} inputs that can be used", got=got, remedy='drop them, or set on_error="nan"'
    )
