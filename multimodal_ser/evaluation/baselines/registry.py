"""Baselines from the papers of the field, behind one interface, so that a report can compare a network with them."""

from __future__ import annotations

import importlib.util
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from multimodal_ser.calibration.temperature import fit_temperature
from multimodal_ser.corpora.rows import ManifestRow
from multimodal_ser.corpora.targets import class_of, emotion_name
from multimodal_ser.errors import InputError, did_you_mean
from multimodal_ser.evaluation.baselines.features import FeatureReader, descriptors, egemaps, sequence, statistics
from multimodal_ser.evaluation.baselines.lexicon import emotion_counts
from multimodal_ser.evaluation.baselines.networks import SPEECH, WORDS, SequenceClassifier, WordTokenizer

logger = logging.getLogger(__name__)

PACKAGES: Mapping[str, str] = MappingProxyType({"evaluate": "sklearn", "opensmile": "opensmile"})
"""Extras that baselines may need, and a package of each whose presence shows that the extra is installed."""

NEVER = -1e4
"""The decision value of a class without training rows."""

FOLDS = 4
"""Parts of the training rows, in whole speakers; each part in turn is held out to fit the temperature of an SVM."""


def make_baseline(
    name: str, labels: Sequence[str], seed: int = 0, cache_dir: str | os.PathLike | None = None
) -> Baseline:
    """A baseline, not fitted yet.

    Args:
        name: a key of `BASELINES`.
        labels: names of the C classes, in the order of the probabilities.
        seed: seed of all random choices; the same seed gives the same answers on the same machine.
        cache_dir: folder that stores features of recordings by the content of their files; None: they are computed each
            time.

    Raises:
        InputError: an unknown name, no label, the same label twice, a package that is not installed, a folder that
        cannot be created.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.evaluation.baselines.registry import make_baseline
        >>> rows = [ManifestRow(text="I am so happy!", emotion="joy"), ManifestRow(text="I hate this.", emotion="anger")]
        >>> baseline = make_baseline("lexicon", ["anger", "joy", "neutral"]).fit(rows)
        >>> baseline.predict_proba([ManifestRow(text="What a wonderful day"), ManifestRow(text="The door is open")]).argmax(1).tolist()
        [1, 2]
    """
    if name not in BASELINES:
        remedy = did_you_mean(name, BASELINES)
        raise InputError("baseline", expected=f"one of {', '.join(BASELINES)}", got=repr(name), remedy=remedy)
    return BASELINES[name](labels, seed=seed, cache_dir=cache_dir)


class Baseline(ABC):
    """Base class of all baselines: `fit` takes rows, `predict_proba` returns their probabilities.

    A row that cannot be read, or that lacks the recording or the words that the baseline uses, is left out of `fit`; in
    `predict_proba` it gets the share that each class had in training. A warning in the log names each such row, and
    `errors` has it.

    Args:
        labels: names of the C classes. Rows of another emotion, of none, or of several admissible ones are not used for
            training.
        seed: seed of all random choices.
        cache_dir: folder for features of recordings.

    Attributes:
        name, title: a key of `BASELINES`, and its description in a line.
        modality: "audio", "text", or "any" for a baseline that uses neither.
        needs: extras of this library that have to be installed.
        errors: by name of a row, its error.
        prior: (C,) shares of the classes in training, after `fit`.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.evaluation.baselines.registry import make_baseline
        >>> rows = [ManifestRow(text=f"{i}", emotion="joy" if i else "anger") for i in range(4)]
        >>> make_baseline("majority", ["anger", "joy"]).fit(rows).predict_proba(rows[:2]).tolist()
        [[0.25, 0.75], [0.25, 0.75]]
    """

    name: ClassVar[str]
    title: ClassVar[str]
    modality: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, labels: Sequence[str], *, seed: int = 0, cache_dir: str | os.PathLike | None = None):
        self.labels = tuple(labels)
        if isinstance(labels, str) or not self.labels or len(set(self.labels)) < len(self.labels):
            raise InputError("labels", expected="names of classes, each once", got=repr(labels), remedy="list them")
        for extra in self.needs:
            if importlib.util.find_spec(PACKAGES[extra]) is None:
                remedy = f"pip install multimodal-ser[{extra}]"
                raise InputError(self.name, expected=f"the package {PACKAGES[extra]}", got="none", remedy=remedy)
        self.seed, self.cache_dir = seed, cache_dir
        self.errors: dict[str, InputError] = {}
        self.prior: np.ndarray | None = None
        self._only: int | None = None  # the class of all training rows, if there is only one

    def fit(self, rows: Sequence[ManifestRow]) -> Baseline:
        """Train on the rows that have one of the classes and can be read.

        Raises:
            InputError: there is no such row.
        """
        classes = [class_of(row, self.labels) for row in rows]
        usable = [row for row, index in zip(rows, classes, strict=True) if index is not None]
        if not usable:
            expected = f"at least one row of {', '.join(self.labels)}"
            raise InputError(
                self.name,
                expected=expected,
                got=f"none among {len(rows)}",
                remedy="compare the labels with the manifest's",
            )
        features = self._read(usable)
        places = [at for at, value in enumerate(features) if value is not None]
        if not places:
            remedy = f"{next(iter(self.errors.values()))}"
            raise InputError(
                self.name, expected="at least one row that can be read", got="none", remedy=f"the first: {remedy}"
            )
        targets = np.array([index for index in classes if index is not None])[places]
        self.prior = np.bincount(targets, minlength=len(self.labels)) / len(targets)
        self._only = int(targets[0]) if (targets == targets[0]).all() else None
        if self._only is None:
            groups = [usable[at].speaker or usable[at].dialogue or usable[at].name for at in places]
            self._learn([features[at] for at in places], targets, groups)
        return self

    def predict_proba(self, rows: Sequence[ManifestRow]) -> np.ndarray:
        """Probabilities (N, C) of rows, in the order of `labels`.

        Raises:
            InputError: `fit` was not called.
        """
        if self.prior is None:
            raise InputError(
                self.name, expected="a fitted baseline", got="one that has learned nothing", remedy="call fit first"
            )
        probabilities = np.tile(self.prior, (len(rows), 1))
        features = self._read(rows)
        places = [at for at, value in enumerate(features) if value is not None]
        if places and self._only is None:
            probabilities[places] = self._probabilities([features[at] for at in places])
        return probabilities

    def _read(self, rows: Sequence[ManifestRow]) -> list[Any]:
        """Features of each row; None for a row with an error."""
        features = []
        for row in rows:
            try:
                features.append(self._features(row))
            except InputError as error:
                features.append(None)
                self.errors[row.name] = error
                logger.warning("%s: %s", self.name, error)
        return features

    @abstractmethod
    def _features(self, row: ManifestRow) -> Any:
        """The features of a row; raises an InputError where the row lacks the recording or the words."""

    @abstractmethod
    def _learn(self, features: list[Any], classes: np.ndarray, groups: list[str]) -> None:
        """Train on N rows of at least two classes; `groups` has the speaker of each."""

    @abstractmethod
    def _probabilities(self, features: list[Any]) -> np.ndarray:
        """Probabilities (N, C)."""

    def _wide(self, values: np.ndarray, columns: Sequence[int], absent: float = 0.0) -> np.ndarray:
        """Values (N, K) of the K classes at `columns` -> (N, C) of all classes, `absent` for the others."""
        wide = np.full((len(values), len(self.labels)), absent)
        wide[:, list(columns)] = values
        return wide


class Majority(Baseline):
    """The share that each class has in training, for every row: the result of answers without any input.

    Example:
        >>> from multimodal_ser.evaluation.baselines.registry import BASELINES
        >>> BASELINES["majority"].title
        'most frequent class'
    """

    name, title, modality = "majority", "most frequent class", "any"

    def _features(self, row: ManifestRow) -> bool:
        return True

    def _learn(self, features: list[Any], classes: np.ndarray, groups: list[str]) -> None:
        pass

    def _probabilities(self, features: list[Any]) -> np.ndarray:
        assert self.prior is not None
        return np.tile(self.prior, (len(features), 1))


class _Audio(Baseline):
    modality = "audio"
    kind = "descriptors"

    def __init__(self, labels: Sequence[str], *, seed: int = 0, cache_dir: str | os.PathLike | None = None):
        super().__init__(labels, seed=seed, cache_dir=cache_dir)
        self._reader = FeatureReader(self.kind, self._function(), cache_dir)

    def _function(self) -> Any:
        return descriptors

    def _features(self, row: ManifestRow) -> np.ndarray:
        return self._of(self._reader(row))

    def _of(self, frames: np.ndarray) -> np.ndarray:
        return statistics(frames)


class _Scikit(Baseline):
    needs: ClassVar[tuple[str, ...]] = ("evaluate",)

    def _learn(self, features: list[Any], classes: np.ndarray, groups: list[str]) -> None:
        self._model = self._estimator()
        self._model.fit(self._table(features), classes)

    def _probabilities(self, features: list[Any]) -> np.ndarray:
        return self._wide(self._model.predict_proba(self._table(features)), self._model.classes_)

    def _table(self, features: list[Any]) -> Any:
        return np.stack(features)

    @abstractmethod
    def _estimator(self) -> Any:
        """A new estimator of scikit-learn."""


def _scaled(last: Any) -> Any:
    """An estimator behind a pipeline that fills in missing statistics (pitch of a whisper) and standardises all."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), last)


class MfccLogisticRegression(_Scikit, _Audio):
    """Statistics of MFCC, pitch, energy and formants, and a logistic regression with balanced classes.

    Example:
        >>> from multimodal_ser.evaluation.baselines.registry import BASELINES
        >>> BASELINES["mfcc-logreg"].modality, BASELINES["mfcc-logreg"].needs
        ('audio', ('evaluate',))
    """

    name, title = "mfcc-logreg", "statistics of MFCC, F0, energy and formants, logistic regression"

    def _estimator(self) -> Any:
        from sklearn.linear_model import LogisticRegression

        return _scaled(LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000))


class MfccSupportVectors(_Scikit, _Audio):
    """Statistics of MFCC, pitch, energy and formants, and a support vector machine (RBF kernel, balanced classes).

    Its probabilities are a softmax of its decision values, divided by one temperature
    (https://arxiv.org/abs/1706.04599) that is fitted on held-out speakers. So the predicted class stays that of the
    SVM, as in the papers; Platt's scaling of each class would change it.

    Example:
        >>> from multimodal_ser.evaluation.baselines.registry import BASELINES
        >>> BASELINES["mfcc-svm"].title
        'statistics of MFCC, F0, energy and formants, SVM'
    """

    name, title = "mfcc-svm", "statistics of MFCC, F0, energy and formants, SVM"
    cost: ClassVar[float] = (
        3.0  # chosen on 16 actors of RAVDESS in speaker-disjoint folds, as are all such numbers here
    )

    def _estimator(self) -> Any:
        from sklearn.svm import SVC

        return _scaled(SVC(C=self.cost, class_weight="balanced", random_state=self.seed))

    def _learn(self, features: list[Any], classes: np.ndarray, groups: list[str]) -> None:
        super()._learn(features, classes, groups)
        self._temperature = self._heldout_temperature(np.stack(features), classes, groups)

    def _probabilities(self, features: list[Any]) -> np.ndarray:
        return _softmax(self._decision(self._model, np.stack(features)), self._temperature)

    def _decision(self, model: Any, table: np.ndarray) -> np.ndarray:
        """(N, C) decision values; far below all others for classes without training rows."""
        values = model.decision_function(table)
        if values.ndim == 1:  # for two classes scikit-learn returns one value
            values = np.column_stack([-values, values]) / 2
        return self._wide(values, model.classes_, NEVER)

    def _heldout_temperature(self, table: np.ndarray, classes: np.ndarray, groups: list[str]) -> float:
        from sklearn.model_selection import GroupKFold

        folds = min(FOLDS, len(set(groups)))
        decisions, references = [], []
        for train, test in GroupKFold(folds).split(table, groups=groups) if folds > 1 else ():
            has_trained_class = np.isin(classes[test], classes[train])
            if len(set(classes[train])) > 1 and has_trained_class.any():
                decisions.append(
                    self._decision(self._estimator().fit(table[train], classes[train]), table[test][has_trained_class])
                )
                references.append(classes[test][has_trained_class])
        if not decisions:
            return 1.0
        return fit_temperature(np.concatenate(decisions), np.concatenate(references))


class EgemapsSupportVectors(MfccSupportVectors):
    """The 88 functionals of eGeMAPSv02 (https://doi.org/10.1109/TAFFC.2015.2457417), and the SVM of "mfcc-svm".

    openSMILE computes the functionals. Its licence forbids commercial use: it is an extra of its own.

    Example:
        >>> from multimodal_ser.evaluation.baselines.registry import BASELINES
        >>> BASELINES["egemaps-svm"].needs
        ('evaluate', 'opensmile')
    """

    name, title, kind, needs = (
        "egemaps-svm",
        "eGeMAPSv02 functionals (openSMILE), SVM",
        "egemaps",
        ("evaluate", "opensmile"),
    )
    cost = 1.0

    def _function(self) -> Any:
        return egemaps()

    def _of(self, frames: np.ndarray) -> np.ndarray:
        return frames.astype(np.float64)


class MfccLSTM(_Audio):
    """MFCC and their differences every 20 ms, and a bidirectional LSTM whose states are averaged over the clip.

    Example:
        >>> from multimodal_ser.evaluation.baselines.registry import BASELINES
        >>> BASELINES["mfcc-lstm"].needs
        ()
    """

    name, title = "mfcc-lstm", "MFCC sequences, LSTM"

    def _of(self, frames: np.ndarray) -> np.ndarray:
        return sequence(frames)

    def _learn(self, features: list[Any], classes: np.ndarray, groups: list[str]) -> None:
        self._model = SequenceClassifier(SPEECH, len(self.labels), self.seed).fit(features, classes)

    def _probabilities(self, features: list[Any]) -> np.ndarray:
        return self._model.predict_proba(features)


class _Text(Baseline):
    modality = "text"

    def _features(self, row: ManifestRow) -> str:
        if row.text is None or not row.text.strip():
            raise InputError(
                row.place or row.name, expected="words", got="none", remedy="fill in the text, or leave the row out"
            )
        return row.text


class TfidfLogisticRegression(_Scikit, _Text):
    """TF-IDF of words and pairs of words and of one to four characters, and a logistic regression with balanced classes.

    Characters serve scripts without spaces, and endings.

    Example:
        >>> from multimodal_ser.evaluation.baselines.registry import BASELINES
        >>> BASELINES["tfidf-logreg"].modality
        'text'
    """

    name, title = "tfidf-logreg", "TF-IDF of words and characters, logistic regression"

    def _table(self, features: list[Any]) -> Any:
        return features

    def _estimator(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline, make_union

        words = TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True, max_features=50_000, dtype=np.float32
        )
        characters = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, max_features=50_000, dtype=np.float32
        )
        return make_pipeline(
            make_union(words, characters), LogisticRegression(C=3.0, class_weight="balanced", max_iter=300)
        )


class TextLSTM(_Text):
    """Words, or characters in scripts without spaces between words, and a bidirectional LSTM.

    Example:
        >>> from multimodal_ser.evaluation.baselines.registry import BASELINES
        >>> BASELINES["text-lstm"].title
        'words, or characters of scripts without spaces, LSTM'
    """

    name, title = "text-lstm", "words, or characters of scripts without spaces, LSTM"

    def _learn(self, features: list[Any], classes: np.ndarray, groups: list[str]) -> None:
        self._tokenizer = WordTokenizer(features)
        vocabulary = len(self._tokenizer.ids)
        self._model = SequenceClassifier(WORDS, len(self.labels), self.seed, vocabulary).fit(
            self._tokenizer(features), classes
        )

    def _probabilities(self, features: list[Any]) -> np.ndarray:
        return self._model.predict_proba(self._tokenizer(features))


class Lexicon(_Text):
    """Counts of English emotion words from `evaluation.baselines.lexicon`; a text without any is neutral.

    Training gives the shares of the classes alone. Half a word, spread over all classes, is added to the counts, so
    that a single word does not give a probability of 1. If no label is neutral, a text without emotion words gets the
    shares of training.

    Example:
        >>> from multimodal_ser.evaluation.baselines.registry import BASELINES
        >>> BASELINES["lexicon"].title
        'small English emotion lexicon of our own'
    """

    name, title = "lexicon", "small English emotion lexicon of our own"

    def _learn(self, features: list[Any], classes: np.ndarray, groups: list[str]) -> None:
        pass

    def _probabilities(self, features: list[Any]) -> np.ndarray:
        assert self.prior is not None
        names = [emotion_name(label) for label in self.labels]
        rows = []
        for text in features:
            counts = emotion_counts(text)
            votes = np.array([counts.get(name or "", 0.0) for name in names])
            if not votes.any():
                if "neutral" not in names:
                    rows.append(self.prior)
                    continue
                votes = np.array([float(name == "neutral") for name in names])
            rows.append((votes + 0.5 / len(names)) / (votes.sum() + 0.5))
        return np.stack(rows)


BASELINES: Mapping[str, type[Baseline]] = MappingProxyType(
    {
        each.name: each
        for each in (
            Majority,
            MfccSupportVectors,
            MfccLogisticRegression,
            MfccLSTM,
            EgemapsSupportVectors,
            TfidfLogisticRegression,
            TextLSTM,
            Lexicon,
        )
    }
)
"""The baselines by name, in the order of a report."""


def _softmax(values: np.ndarray, temperature: float) -> np.ndarray:
    scaled = np.exp((values - values.max(1, keepdims=True)) / temperature)
    return scaled / scaled.sum(1, keepdims=True)
