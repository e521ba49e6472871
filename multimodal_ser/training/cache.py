"""`EmbeddingCache`: hidden states of frozen branches, computed once and then read from disk.

An entry holds the states of one row, without padding:

- audio: (layers + 1, T, Da), a row of what `MultimodalEmotionModel.get_audio_features` gives: `states[row][:,
  frame_mask[row]]`;
- text: (L, Dt), a row of what `get_text_features` gives: `states[row][mask[row].bool()]`. It is a sum over layers with
  trainable weights (`layer_weights`): store it only if they are frozen too, and make them part of the branch's
  fingerprint.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch

from multimodal_ser._files import remove_abandoned, writing
from multimodal_ser.errors import InputError
from multimodal_ser.model.fingerprint import tensor_digest

T = TypeVar("T")

CacheDtype = Literal["float16", "float32"]
"""Precision on disk; numpy has no bfloat16."""

STATES = 1
"""Version of the states. Raise it when a branch gives other states for the same weights: entries of older versions are
then unused.
"""

KEY = re.compile(r"[0-9a-f]{64}")

ENTRY = re.compile(r"[0-9a-f]{64}\.npy")
"""Names of the files of entries; files with other names are never touched."""

UNFINISHED = "unfinished-"
"""Prefix of the names of files while they are written."""

ABANDONED = 600.0
"""Age in seconds from which an unfinished file is removed."""

HEADER = 128
"""Bytes of the header of a `.npy` file with two or three axes."""

RESERVE = 10**9
"""Bytes that a cache leaves free on the disk; on small disks a twentieth of the disk."""

REMEDY = (
    'store half precision (cache_dtype="float16"), name another cache_dir, draw fewer augmentation_variants, '
    "or set embedding_cache=False"
)

TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# A folder of embeddings that multimodal_ser can compute again; backups may leave it out: https://bford.info/cachedir/\n"
)

ABOUT = """Embeddings of recordings and texts: the output of an encoder of multimodal_ser for each of them, stored for training.
They are personal data, as the recordings are. Delete this folder to remove them; a later training run computes them again.

Encoder (fingerprint): {branch}
Precision: {dtype}
A file is a NumPy array: audio (layers + 1, frames, width), text (tokens, width).
"""

_VOLATILE = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}


class EmbeddingCache:
    """Hidden states of one frozen branch on disk, in one `.npy` file per entry, with keys made of content and options.

    Every entry is complete: files are written under another name and renamed, so that several processes may write the
    same key, and a file that is shorter than its header says (after a full disk or a crash) counts as missing.

    Args:
        folder: folder of the caches of several branches; it is made. Entries lie in a subfolder, readable by its owner
            alone, with a README.txt that describes them and a CACHEDIR.TAG that excludes them from backups
            (https://bford.info/cachedir/).
        branch: fingerprint of the branch (`branch_fingerprint`). Each branch and each dtype has entries of its own.
        dtype: precision on disk, "float16" or "float32".

    Raises:
        InputError: the folder cannot be made, `branch` is not a fingerprint, or the dtype is unknown.

    Example:
        >>> import tempfile, torch
        >>> from multimodal_ser.training.cache import EmbeddingCache, branch_fingerprint
        >>> encoder = torch.nn.Linear(3, 8)
        >>> cache = EmbeddingCache(tempfile.mkdtemp(), branch=branch_fingerprint(encoder))
        >>> key = cache.key("sha256 of a.wav", "start=0.0 end=2.5 speed=0.9")
        >>> key in cache
        False
        >>> cache.put(key, torch.ones(2, 5, 8))
        >>> cache.get(key).shape, cache.get(key).dtype, cache.missing([key])
        (torch.Size([2, 5, 8]), torch.float16, [])
    """

    def __init__(self, folder: str | Path, *, branch: str, dtype: CacheDtype = "float16"):
        if not re.fullmatch(r"\w[\w.-]*", branch):
            raise InputError(
                "branch",
                expected="a fingerprint, such as branch_fingerprint gives",
                got=repr(branch),
                remedy="compute it",
            )
        self.branch = branch
        self.dtype = dtype
        self._numpy = _numpy_dtype(dtype)
        self.directory = Path(folder) / f"{branch}-{dtype}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            # in the subfolder: `folder` may hold other files, which belong into backups
            for name, text in (("CACHEDIR.TAG", TAG), ("README.txt", ABOUT.format(branch=branch, dtype=dtype))):
                if not (self.directory / name).exists():
                    self._write(self.directory / name, text.encode())
            remove_abandoned(self.directory, UNFINISHED)
        except OSError as error:
            got = f"{self.directory} ({error.strerror})"
            raise InputError(
                "cache_dir", expected="a folder that can be written", got=got, remedy="name another"
            ) from error

    def key(self, content: str, options: str = "") -> str:
        """Return the key of an entry: hex SHA-256 of both arguments.

        Args:
            content: SHA-256 of the recording's file, or of the text.
            options: everything else that the states depend on: the part of the recording, trimming, the fingerprint of
                the augmentation and its variant, the precision; the same string for the same options.
        """
        return hashlib.sha256(json.dumps([content, options]).encode()).hexdigest()

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def get(self, key: str) -> torch.Tensor:
        """Return the states of an entry, memory-mapped, in the precision of the cache.

        A change of the tensor is private to this process and does not reach the file, which is not kept open.

        Returns:
            For audio (layers + 1, T, Da), for text (L, Dt).

        Raises:
            InputError: there is no such entry, or its file is damaged; `key in cache` is then False.
        """
        entry = self._find(key)
        path = self._path(key)
        if entry is None:
            got = "a damaged file" if path.exists() else "none"
            raise InputError(
                f"embedding cache, entry {key[:12]}", expected="hidden states", got=got, remedy="fill the cache again"
            )
        shape, offset, size = entry
        stored = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        return stored[offset:].view(getattr(torch, self.dtype)).view(shape)

    def put(self, key: str, states: torch.Tensor) -> None:
        """Store states of any shape, precision and device; an entry of that key is replaced.

        Raises:
            InputError: there are no states, numbers are not finite or too large for the precision, or the disk is full.
        """
        if not states.is_floating_point() or not states.numel():
            got = f"{tuple(states.shape)} of {states.dtype}"
            raise InputError(
                "hidden states",
                expected="at least one frame of floating-point numbers",
                got=got,
                remedy="check the branch",
            )
        fitted = states.detach().to(getattr(torch, self.dtype)).cpu().contiguous()
        if not fitted.isfinite().all():
            _require_finite(states)
            raise InputError(
                "hidden states",
                expected=f"numbers that fit into {self.dtype}, whose largest is {torch.finfo(fitted.dtype).max:g}",
                got=f"{states.abs().max().item():g}",
                remedy='use dtype="float32" (cache_dtype in training)',
            )
        path, array, header = self._path(key), fitted.numpy(), io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(path, header.getvalue(), array.data)
        except OSError as error:
            got = error.strerror or str(error)
            raise InputError(
                "cache_dir", expected=f"room for an entry in {self.directory}", got=got, remedy=REMEDY
            ) from error

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys without a complete entry, each once, in their order."""
        return [key for key in dict.fromkeys(keys) if key not in self]

    def size(self) -> int:
        """Return the bytes that the entries of this branch and precision take."""
        return sum(file.stat().st_size for file in _entries(self.directory))

    @staticmethod
    def clear(folder: str | Path) -> int:
        """Delete all caches in `folder`, of all branches. Other files stay, and so do folders that hold some.

        Returns:
            Number of entries that were deleted.
        """
        count = 0
        folder = Path(folder)
        for directory in [inner for inner in folder.iterdir() if _is_ours(inner)] if folder.is_dir() else []:
            for file in list(_entries(directory)):
                file.unlink(missing_ok=True)
                count += 1
            for file in [
                *directory.glob(f"{UNFINISHED}*"),
                directory / "README.txt",
                directory / "CACHEDIR.TAG",
            ]:  # the tag last
                file.unlink(missing_ok=True)
            for inner in [*directory.glob("[0-9a-f][0-9a-f]"), directory]:
                with suppress(OSError):  # not empty
                    inner.rmdir()
        with suppress(OSError):
            folder.rmdir()
        return count

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise InputError(
                "key", expected="what EmbeddingCache.key gives, 64 hexadecimal digits", got=repr(key), remedy="use it"
            )
        return self.directory / key[:2] / f"{key}.npy"

    def _find(self, key: str) -> tuple[tuple[int, ...], int, int] | None:
        """Return shape, offset of the numbers and size of the file; None without a complete entry."""
        path = self._path(key)
        try:
            with open(path, "rb") as file:
                np.lib.format.read_magic(file)
                shape, column_major, dtype = np.lib.format.read_array_header_1_0(file)
                offset, size = file.tell(), os.fstat(file.fileno()).st_size
        except Exception:  # numpy raises many exceptions for a damaged header
            return None
        complete = all(n > 0 for n in shape) and size == offset + math.prod(shape) * dtype.itemsize
        return (shape, offset, size) if complete and dtype == self._numpy and not column_major else None

    def _write(self, path: Path, *pieces: bytes | memoryview) -> None:
        with (
            writing(path, mode=0o600, flush=False, folder=self.directory, prefix=UNFINISHED) as place,
            open(place, "wb") as file,
        ):
            file.writelines(pieces)


def branch_fingerprint(module: torch.nn.Module, extra: str = "") -> str:
    """Return the fingerprint of a branch: hex SHA-256 of its classes, configurations, weights and buffers.

    Pass the frozen modules alone: `audio_branch.encoder`; for text `text_branch.encoder` with
    `extra=str(text_branch.layer_weights.tolist())`. It does not depend on the device, on
    the source of the model or on the version of transformers, but on the precision, as the states do.

    Example:
        >>> import torch
        >>> from multimodal_ser.training.cache import branch_fingerprint
        >>> encoder = torch.nn.Linear(2, 2)
        >>> before = branch_fingerprint(encoder)
        >>> with torch.no_grad():
        ...     _ = encoder.bias[0].add_(1e-3)
        >>> before == branch_fingerprint(encoder)
        False
    """
    configs: dict[int, tuple[str, Any]] = {}  # modules of transformers share theirs
    classes = []
    for name, part in module.named_modules():
        classes.append((name, type(part).__name__))
        config: Any = getattr(part, "config", None)
        if hasattr(config, "to_diff_dict") and id(config) not in configs:
            configs[id(config)] = (name, _lasting(config.to_diff_dict()))
    about = json.dumps([STATES, extra, classes, list(configs.values())], sort_keys=True, default=str)
    tensors = (
        part
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        for part in (json.dumps([name, list(tensor.shape), str(tensor.dtype)]), tensor)
    )
    return tensor_digest([about, *tensors])


def estimated_bytes(frames: int | Iterable[int], layers: int, width: int, dtype: CacheDtype) -> int:
    """Return the bytes that entries will take on disk.

    Args:
        frames: T of each entry, or the sum of all (the result is then without the entries' headers).
        layers: number of states per frame: for audio layers + 1, for text 1.
        width: Da or Dt.
        dtype: precision on disk.

    Example:
        >>> from multimodal_ser.training.cache import estimated_bytes
        >>> estimated_bytes(50, layers=13, width=768, dtype="float32")  # a second of wav2vec2-base: 2 MB
        1996800
    """
    counts = list(frames) if isinstance(frames, Iterable) else []
    total = sum(counts) if isinstance(frames, Iterable) else frames
    return total * layers * width * _numpy_dtype(dtype).itemsize + HEADER * len(counts)


def require_space(folder: str | Path, needed_bytes: int) -> None:
    """Require enough free disk before anything is computed; a reserve stays free.

    Args:
        folder: folder of the cache; it need not exist yet.
        needed_bytes: bytes that will be written.

    Raises:
        InputError: the disk has too little free space.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    reserve = min(RESERVE, usage.total // 20)
    if needed_bytes > usage.free - reserve:
        raise InputError(
            f"cache_dir {folder}",
            expected=f"{_readable(needed_bytes)} of free disk for embeddings and {_readable(reserve)} to spare",
            got=f"{_readable(usage.free)} free",
            remedy=REMEDY,
        )


def fill(
    cache: EmbeddingCache,
    items: Sequence[T],
    key_of: Callable[[T], str],
    compute: Callable[[list[T]], list[torch.Tensor]],
    *,
    batch_size: int = 8,
    length_of: Callable[[T], float] | None = None,
    process_index: int = 0,
    num_processes: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
    on_error: Callable[[T, InputError], None] | None = None,
) -> int:
    """Compute and store the entries that are missing; after an interruption, the next call computes the rest.

    Args:
        cache: the cache.
        items: all items, in the same order in every process; items with the same key are computed once.
        key_of: returns the key of an item.
        compute: returns the states of several items, in evaluation mode and without padding; it runs without gradients.
        batch_size: largest number of items per call.
        length_of: returns the length of an item, in any unit. Items of similar length are computed together, the
            longest first, so that a lack of memory shows at once.
        process_index: index of this process.
        num_processes: number of processes. Each takes every n-th item, whether or not others have stored it, and never
            waits for another; wait for all before reading.
        on_progress: called after each batch with (done, all) of this process's missing items.
        on_error: called with an item that cannot be computed and its error (an `InputError` of `key_of` or `compute`,
            or states that are not finite); the other items of its batch are computed one by one. None: such errors are
            raised at the end.

    Returns:
        Number of entries that this process stored.

    Raises:
        InputError: items cannot be computed, by name, at the end (see `on_error`); or at once, states are too large for
            half precision, or the disk is full.

    Example:
        >>> import tempfile, torch
        >>> from multimodal_ser.training.cache import EmbeddingCache, fill
        >>> cache = EmbeddingCache(tempfile.mkdtemp(), branch="example")
        >>> fill(cache, ["a", "bc", "a"], cache.key, lambda texts: [torch.ones(len(text), 4) for text in texts], length_of=len)
        2
        >>> cache.get(cache.key("bc")).shape
        torch.Size([2, 4])
    """
    errors: list[InputError] = []

    def report(item: T, error: InputError) -> None:
        if on_error is not None:
            on_error(item, error)
        else:
            errors.append(error)

    item_of: dict[str, T] = {}
    for item in items:
        try:
            item_of.setdefault(key_of(item), item)
        except InputError as error:
            report(item, error)
    entries = list(item_of.items())
    if length_of is not None:
        lengths = {key: length_of(item) for key, item in entries}
        entries.sort(key=lambda entry: (-lengths[entry[0]], entry[0]))
    # Each process takes a share of all entries: the missing ones change while other processes store theirs.
    share = dict(entries[process_index::num_processes])
    missing = [(key, share[key]) for key in cache.missing(share)]
    stored = 0
    for at in range(0, len(missing), batch_size):
        for key, item, states in _computed(missing[at : at + batch_size], compute, report):
            try:
                _require_finite(states)
            except InputError as error:
                report(item, error.named(f"{_name(item)} ({error.what})"))
                continue
            cache.put(key, states)
            stored += 1
        if on_progress is not None:
            on_progress(min(at + batch_size, len(missing)), len(missing))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        more = f"; and {len(errors) - 10} more" if len(errors) > 10 else ""
        got = "; ".join(f"{error.what}: {error.got}" for error in errors[:10])
        raise InputError(
            "embedding cache",
            expected="items that can be computed",
            got=f"{got}{more}",
            remedy="correct or remove these",
        )
    return stored


def _computed(
    batch: list[tuple[str, T]],
    compute: Callable[[list[T]], list[torch.Tensor]],
    report: Callable[[T, InputError], None],
) -> Iterator[tuple[str, T, torch.Tensor]]:
    items = [item for _, item in batch]
    try:
        with torch.no_grad():
            results = compute(items)
    except InputError as error:
        if len(batch) == 1:
            report(items[0], error)
        else:
            for entry in batch:
                yield from _computed([entry], compute, report)
        return
    for (key, item), states in zip(batch, results, strict=True):
        yield key, item, states


def _name(item: Any) -> str:
    name = str(item) if isinstance(item, str | os.PathLike) else repr(item)
    return name if len(name) <= 100 else f"{name[:97]}..."


def _require_finite(states: torch.Tensor) -> None:
    if not states.isfinite().all():
        remedy = "compute them in float32; if that changes nothing, the recording or the weights are broken"
        raise InputError("hidden states", expected="finite numbers", got="NaN or infinity", remedy=remedy)


def _is_ours(directory: Path) -> bool:
    try:
        return not directory.is_symlink() and (directory / "CACHEDIR.TAG").read_text(encoding="utf-8") == TAG
    except (OSError, UnicodeDecodeError):
        return False


def _entries(directory: Path) -> Iterator[Path]:
    return (file for file in directory.glob("[0-9a-f][0-9a-f]/*.npy") if ENTRY.fullmatch(file.name))


def _lasting(config: Any) -> Any:
    """Return a configuration without the fields that change when a model is saved, loaded or moved."""
    if isinstance(config, dict):
        return {str(name): _lasting(value) for name, value in config.items() if name not in _VOLATILE}
    return config


def _numpy_dtype(dtype: str) -> np.dtype:
    if dtype not in ("float16", "float32"):
        raise InputError("dtype", expected="float16 or float32", got=repr(dtype), remedy="choose one of them")
    return np.dtype(dtype)


def _readable(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
