"""The options of an evaluation: one typed record for Python and the command line, which refuses contradictions."""

# ruff: noqa: RUF009 - each default goes through _option, which copies it

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from multimodal_ser.errors import InputError

# A copy of the names in `corpora.protocols`: importing that module for the help of an option would load numpy, which is
# slow.
Protocol = Literal[
    "holdout", "folds", "loso", "session", "speaker-sentence", "emobox-ravdess", "official", "cross-corpus", "random"
]
"""Ways to divide rows; all of them train. See `corpora.protocols.folds` and docs/evaluation.md."""

PROTOCOLS = typing.get_args(Protocol)

Modalities = Literal["auto", "audio", "text", "both"]

REPLACEMENTS = {
    "data": "the manifests", "output_dir": "output_dir", "model": "model", "modalities": "modalities", "seed": "seeds", "seeds": "seeds",
    "transcribe": "transcribe", "whisper": "whisper", "allow_leak": "allow_leak", "test_speakers": "protocol", "resume_from_checkpoint": "",
    "emotions": "", "columns": "columns",
}  # fmt: skip
"""Options of training that an evaluation decides, and the option of the evaluation that decides each; "" for none."""


def _option(default: Any, text: str) -> Any:
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata={"help": text})
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass
class EvaluationArguments:
    """All options of an evaluation; `multimodal-ser evaluate --help` describes each field but `data`, its argument.

    Raises:
        InputError: a value of the wrong kind, or options that contradict each other, with the remedy.

    Example:
        >>> from multimodal_ser.evaluation import EvaluationArguments
        >>> EvaluationArguments(data=["manifest.csv"], folds=["1"])
        Traceback (most recent call last):
        ...
        multimodal_ser.errors.InputError: folds: expected a protocol beside it, got none; add one, such as protocol='folds'
    """

    data: list[str] = _option([], "manifests (CSV, JSONL, Parquet) or folders with a folder per emotion")
    output_dir: str = _option("evaluation", "folder of the report, and of all that it is made from")
    model: str | None = _option(
        None,
        "checkpoint: folder or Hub id (default: the one that ships in the package); with a protocol the one that training starts from",
    )
    protocol: Protocol | None = _option(
        None,
        f"train anew on each fold and measure what was held out: {', '.join(PROTOCOLS)}; without one the model is measured as it is",
    )
    folds: list[str] = _option([], "only these folds, by number or name (default: all)")
    num_folds: int = _option(5, "how many folds the protocol 'folds' makes")
    baselines: list[str] = _option(
        [], "also measure these: majority mfcc-svm mfcc-logreg mfcc-lstm egemaps-svm tfidf-logreg text-lstm lexicon"
    )
    only_baselines: bool = _option(False, "measure the baselines alone, and no network")
    train_config: str | None = _option(None, "YAML file of training options, as `train --config` takes it")
    train_options: dict[str, Any] = _option(
        {}, "training options, NAME=VALUE as in that file, such as num_train_epochs=8 freeze=[text]"
    )
    unseen_only: bool = _option(
        False,
        "measure only rows of speakers whom the model was neither trained, selected nor calibrated on, as its run folder names them",
    )
    modalities: Modalities = _option(
        "auto", "what is heard and read; auto: audio alone, text alone and both, as far as rows and model have them"
    )
    label_set: str = _option("native", "score in this label set: native, ekman, iemocap4, sentiment, ...")
    transcribe: bool = _option(False, "also measure with the words that Whisper recognises, and its word error rate")
    whisper: str | None = _option(None, "which Whisper: a name or a path (default: whatever is found)")
    robustness: bool = _option(
        False, "also measure under noise of 20 to 0 dB, echo, room, telephone, codecs and clipping"
    )
    noise_dir: str | None = _option(None, "folder of noises for it (default: synthesised)")
    room_dir: str | None = _option(None, "folder of room impulse responses for it (default: synthesised)")
    allow_leak: bool = _option(False, "go on with a split that leaks; the report names it")
    seeds: list[int] = _option([42], "train once with each; figures are over all of them")
    resamples: int = _option(1000, "bootstrap resamples of speakers behind each interval")
    columns: dict[str, Any] = _option({}, "which columns of a foreign table hold what: path=wav_name emotion=emo")
    batch_size: int = _option(8, "windows that run through the model together")
    device: str | None = _option(None, "cpu, cuda, ... (default: a GPU where there is one)")

    def __post_init__(self) -> None:
        from multimodal_ser.training.kinds import checked

        for name, kind in typing.get_type_hints(type(self)).items():
            setattr(self, name, checked(name, kind, getattr(self, name)))
        self._refuse()

    def _refuse(self) -> None:
        """Refuse options that contradict each other."""
        if not self.data:
            raise InputError(
                "data", expected="a manifest or a folder", got="none", remedy="multimodal-ser evaluate manifest.csv"
            )
        for name, least in (("num_folds", 2), ("resamples", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise InputError(name, expected=f"{least} or more", got=str(getattr(self, name)), remedy="correct it")
        if self.folds and self.protocol is None:
            raise InputError(
                "folds", expected="a protocol beside it", got="none", remedy="add one, such as protocol='folds'"
            )
        if self.protocol is None and (self.train_options or self.train_config):
            name = "train_options" if self.train_options else "train_config"
            raise InputError(
                name,
                expected="a protocol beside it: without one nothing is trained",
                got="none",
                remedy="add a protocol",
            )
        if self.unseen_only and (self.protocol is not None or self.only_baselines):
            got = (
                "only_baselines"
                if self.only_baselines
                else f"the protocol {self.protocol}, which holds speakers out itself"
            )
            raise InputError(
                "unseen_only", expected="a model that is measured as it is", got=got, remedy="leave one of them out"
            )
        if self.only_baselines and not self.baselines:
            raise InputError(
                "only_baselines", expected="baselines beside it", got="none", remedy="name some, such as mfcc-svm"
            )
        if self.only_baselines and (self.robustness or self.transcribe):
            name = "robustness" if self.robustness else "transcribe"
            raise InputError(
                name, expected="a network to measure", got="only_baselines", remedy="leave one of them out"
            )
        if self.protocol == "random" and not self.allow_leak:
            got = "'random', which has every speaker on both sides"
            raise InputError(
                "protocol",
                expected="one that holds speakers out",
                got=got,
                remedy="use folds, or take it with allow_leak",
            )
        for name, folder in (("noise_dir", self.noise_dir), ("room_dir", self.room_dir)):
            if folder is not None and not self.robustness:
                raise InputError(
                    name, expected="robustness beside it", got="none", remedy="add robustness, or leave it out"
                )
        if self.whisper is not None and not self.transcribe:
            raise InputError(
                "whisper", expected="transcribe beside it", got="none", remedy="add transcribe, or leave it out"
            )
        if not self.seeds:
            raise InputError("seeds", expected="at least one", got="none", remedy="42 is the default")
        for name in self.train_options:
            _refuse_replaced(name)

    def training(self) -> dict[str, Any]:
        """The training options; those of `train_options` win over those of the file `train_config`.

        Raises:
            InputError: the file cannot be read, or has an option that the evaluation decides.
        """
        from multimodal_ser._files import read_yaml

        stored: Mapping[str, Any] = read_yaml(self.train_config) if self.train_config else {}
        allowed = {
            name: value for name, value in stored.items() if name not in REPLACEMENTS or name == "model"
        }  # a run's arguments.yaml has all
        return {**allowed, **self.train_options}

    def heard(self) -> Modalities:
        """The modalities that are measured: those of the option, or for "auto" those of the file of training options.

        Raises:
            InputError: the file cannot be read, or names no such modalities.
        """
        from multimodal_ser._files import read_yaml
        from multimodal_ser.training.kinds import checked

        if self.modalities != "auto" or not self.train_config:
            return self.modalities
        return checked("modalities", Modalities, read_yaml(self.train_config).get("modalities", "auto"))


def _refuse_replaced(name: str) -> None:
    if name in REPLACEMENTS:
        remedy = f"use the evaluation's option {REPLACEMENTS[name]}" if REPLACEMENTS[name] else "leave it out"
        raise InputError(
            f"train_options: {name}",
            expected="an option that training alone decides",
            got="one that it is given",
            remedy=remedy,
        )
