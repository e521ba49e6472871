"""Reads Hugging Face datasets, from the Hub or from this machine, as manifests, and turns manifests into datasets.

`datasets` would need torchcodec to decode recordings, so they are not decoded: their bytes are written to files, which
`load_audio` reads.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import numbers
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multimodal_ser._files import writing
from multimodal_ser.audio import SAMPLING_RATE, load_audio
from multimodal_ser.corpora.manifest import read_manifest
from multimodal_ser.corpora.rows import Manifest, ManifestRow
from multimodal_ser.corpora.splits import SPLIT_NAMES
from multimodal_ser.corpora.tables import COLUMNS
from multimodal_ser.errors import InputError

SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")
"""Files of `save_to_disk`: a folder that it wrote has one of them."""

MAGIC = (
    (b"RIFF", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
    (b"\x1aE\xdf\xa3", ".webm"),
)
"""First bytes of recordings, and the ending of their names. Decoding does not depend on the ending."""

FIELDS = {
    "audio": "path", "text": "text", "emotion": "emotion", "votes": "votes", "id": "id", "speaker": "speaker", "session": "session",
    "split": "split", "dialogue": "dialogue", "turn": "turn", "language": "language", "gender": "gender", "intensity": "intensity",
    "corpus": "corpus", "sentence_id": "sentence", "start": "start", "end": "end", "arousal": "arousal", "valence": "valence",
    "dominance": "dominance",
}  # fmt: skip
"""The columns of `to_dataset`, and the field of a row for each."""


def read_dataset(
    source: Any,
    *,
    output_dir: str | os.PathLike,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Manifest:
    """Read a dataset, and write recordings that it contains as bytes to files.

    Classes (`ClassLabel`) are replaced by their names; several classes of a row are joined by "|". The dataset's splits
    train, validation (dev, val, valid) and test become the split of the rows; if the only split is "train", the rows
    have no split. Of several columns of recordings the first is used. Recordings that are files of this machine are not
    copied.

    Args:
        source: a `Dataset`, an `IterableDataset` or a dict of them; a folder written by `save_to_disk`; a folder or
            file that `load_dataset` reads (parquet, an audio folder, ...); or a Hub id.
        output_dir: recordings are written to a folder "audio" in this folder; it is created.
        config: the configuration, if the dataset has several ("subset" on the Hub).
        split: the only split that is read; None: all splits.
        revision: the revision of a dataset of the Hub.
        streaming: read row by row, without storing the dataset first.
        limit: the most rows that are read of each split.
        columns: the column of each field, as for `read_manifest`; "path" is the column of recordings.
        on_progress: called with the number of rows that were read and the number of all rows of a split, None if that
            is unknown.

    Returns:
        The rows, and an error for each row that cannot be used, with its split and its number from 1.

    Raises:
        InputError: the dataset does not exist, cannot be loaded, or has neither recordings nor texts.

    Example:
        >>> import tempfile
        >>> from datasets import ClassLabel, Dataset, Features, Value
        >>> from multimodal_ser.corpora.hub_datasets import read_dataset
        >>> features = Features({"text": Value("string"), "label": ClassLabel(names=["joy", "anger"])})
        >>> data = Dataset.from_dict({"text": ["I won!", "Go away."], "label": [0, 1]}, features=features)
        >>> [(row.text, row.emotion) for row in read_dataset(data, output_dir=tempfile.mkdtemp()).rows]
        [('I won!', 'joy'), ('Go away.', 'anger')]
    """
    name, parts = _loaded(source, config, split, revision, streaming)
    folder = Path(os.path.abspath(output_dir))
    rows: list[ManifestRow] = []
    homes: list[str] = []
    errors: list[InputError] = []
    ignored: dict[str, None] = {}
    single = len(parts) == 1 and split is None
    for part, data in parts.items():
        row_split = None if (single and part == "train") else SPLIT_NAMES.get(part.lower())
        manifest = _read_part(
            data, name if single else f"{name} {part}", folder, Path(_safe(part)), columns, limit, on_progress
        )
        rows += [replace(row, split=row.split or row_split) for row in manifest.rows]
        homes += [part] * len(manifest.rows)
        errors += manifest.errors
        ignored |= dict.fromkeys(manifest.ignored)
    return Manifest(tuple(_distinct(rows, homes)), tuple(errors), Path(name), tuple(ignored))


def is_saved_dataset(path: str | os.PathLike) -> bool:
    """Whether `datasets.Dataset.save_to_disk` wrote this folder.

    Example:
        >>> import tempfile
        >>> from multimodal_ser.corpora.hub_datasets import is_saved_dataset
        >>> is_saved_dataset(tempfile.mkdtemp())
        False
    """
    return any(Path(path, name).is_file() for name in SAVED)


def _loaded(
    source: Any, config: str | None, split: str | None, revision: str | None, streaming: bool
) -> tuple[str, dict[str, Any]]:
    """The name of a dataset, and its splits by name."""
    import datasets

    name = "dataset"
    if isinstance(source, str | os.PathLike):
        location = os.fspath(source)
        name = Path(location).name if os.path.exists(location) else location
        try:
            try:
                source = _from_path(location, config, revision, streaming)
            except Exception as error:
                if streaming or "torchcodec" not in f"{error}{error.__cause__}":
                    raise
                # a stream can be read without encoding recordings again
                source = _from_path(location, config, revision, True)
        except InputError:
            raise
        except Exception as error:  # datasets passes on all errors of its loaders, fsspec and the Hub's client
            got = " ".join(f"{type(error).__name__}: {error}".split())
            remedy = "check the name, --config and the network; a private dataset needs `hf auth login`"
            raise InputError(location, expected="a dataset that can be loaded", got=got[:500], remedy=remedy) from error
    if isinstance(source, datasets.Dataset | datasets.IterableDataset):
        parts = {str(source.split or "train"): source}
    elif isinstance(source, Mapping):
        parts = {str(key): value for key, value in source.items()}
    else:
        remedy = "give one of these"
        raise InputError(
            "dataset", expected="a dataset, a folder or a Hub id", got=type(source).__name__, remedy=remedy
        )
    if split is not None:
        if split not in parts:
            raise InputError(
                "split", expected=f"one of {', '.join(parts)}", got=repr(split), remedy="choose among them"
            )
        parts = {split: parts[split]}
    return name, parts


def _from_path(location: str, config: str | None, revision: str | None, streaming: bool) -> Any:
    import datasets

    if not os.path.exists(location):
        return datasets.load_dataset(location, config, revision=revision, streaming=streaming)
    if os.path.isdir(location) and is_saved_dataset(location):
        return datasets.load_from_disk(location)
    if os.path.isdir(location):
        return datasets.load_dataset(location, config, streaming=streaming)
    kinds = {
        ".csv": "csv",
        ".tsv": "csv",
        ".json": "json",
        ".jsonl": "json",
        ".ndjson": "json",
        ".parquet": "parquet",
        ".arrow": "arrow",
    }
    kind = kinds.get(Path(location).suffix.lower())
    if kind is None:
        raise InputError(
            location, expected=f"a folder or a file ({', '.join(kinds)})", got="another file", remedy="name a dataset"
        )
    options = {"sep": "\t"} if location.lower().endswith(".tsv") else {}
    return datasets.load_dataset(kind, data_files={"train": location}, streaming=streaming, **options)


def _read_part(
    data: Any,
    name: str,
    folder: Path,
    place: Path,
    columns: Mapping[str, str] | None,
    limit: int | None,
    on_progress: Callable[[int, int | None], None] | None,
) -> Manifest:
    """Read one split: its rows are written to a table, which `read_manifest` reads and checks."""
    data, classes, audio = _undecoded(data, name, dict(columns or {}))
    total = None if not hasattr(data, "__len__") else min(len(data), limit or len(data))
    failed: dict[int, InputError] = {}
    lines: list[str] = []
    for number, record in enumerate(_rows(data, limit, name), 1):
        if isinstance(record, InputError):
            failed[number] = record
            lines.append("")
            break
        row = {column: _cell(value, classes.get(column)) for column, value in record.items() if column != audio}
        if audio is not None:
            row.pop("path", None)  # besides a column of recordings it is often only an old name
            try:
                row["path"] = _recording(record[audio], folder, place, number)
            except InputError as error:
                failed[number] = error.named(f"{name}, row {number}, {audio}")
            except OSError as error:
                got = f"one that cannot be read or written ({error.strerror or error})"
                failed[number] = InputError(
                    f"{name}, row {number}, {audio}", expected="a recording", got=got, remedy="check it"
                )
        lines.append("" if number in failed else json.dumps(row))
        if on_progress is not None:
            on_progress(number, total)
    if not any(lines):
        first = next(iter(failed.values()), None)
        got = f"none{f'; the first of {len(failed)} errors: {first}' if first else ''}"
        raise InputError(name, expected="at least one row that can be used", got=got, remedy="look at the dataset")
    table_columns = {
        field: column for field, column in (columns or {}).items() if not (field == "path" and audio is not None)
    }
    with tempfile.TemporaryDirectory() as scratch:
        # a failed row is an empty line, so that each line has the number of its row
        table = Path(scratch, "rows.jsonl")
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        manifest = read_manifest(table, columns=table_columns or None)

    def in_dataset(text: str) -> str:
        return text.replace("rows.jsonl, line ", f"{name}, row ").replace("rows.jsonl", name)

    table_errors = [
        InputError(
            in_dataset(e.what), expected=e.expected, got=in_dataset(e.got), remedy=e.remedy.replace(scratch, "/")
        )
        for e in manifest.errors
    ]
    order = {f"{name}, row {number}": number for number in range(1, len(lines) + 1)}
    errors = sorted(
        [*table_errors, *failed.values()], key=lambda error: order.get(", ".join(error.what.split(", ")[:2]), 0)
    )
    rows = (replace(row, place=in_dataset(row.place), folder=folder) for row in manifest.rows)
    return Manifest(tuple(rows), tuple(errors), Path(name), manifest.ignored)


def _rows(data: Any, limit: int | None, name: str) -> Iterator[dict[str, Any] | InputError]:
    """Rows up to a limit; an exception of a stream is yielded as an error, and ends the rows."""
    at = 0
    rows = iter(data)
    while limit is None or at < limit:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # as when loading
            got = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            remedy = "the rows before it are kept; run it again for the rest"
            yield InputError(f"{name}, row {at + 1}", expected="a row", got=got, remedy=remedy)
            return
        at += 1
        yield row


def _undecoded(data: Any, name: str, columns: Mapping[str, str]) -> tuple[Any, dict[str, Any], str | None]:
    """The dataset with undecoded recordings (bytes or paths), its columns of classes, and the column of recordings."""
    from datasets import Audio, ClassLabel

    if data.features is None and hasattr(
        data, "_resolve_features"
    ):  # a stream without features: its first rows show them
        data = data._resolve_features()
    features = data.features or {}
    requested = columns.get("path")
    if requested is not None and features and requested not in features:
        remedy = "name one of them with --columns path=..."
        raise InputError(
            name, expected=f"a column {requested}", got=f"the columns {', '.join(features)}", remedy=remedy
        )
    audio_columns = [column for column, feature in features.items() if isinstance(feature, Audio)]
    for column in audio_columns:
        data = data.cast_column(column, Audio(decode=False) if hasattr(data, "num_rows") else _unencoded())
    struct_columns = [
        column
        for column, feature in features.items()
        if isinstance(feature, Mapping) and {"bytes", "array"} & set(feature)
    ]
    binary_columns = [
        column for column, feature in features.items() if getattr(feature, "dtype", None) in ("binary", "large_binary")
    ]
    candidates = [
        *audio_columns,
        *struct_columns,
        *(column for column in binary_columns if column == requested or column.lower() in COLUMNS["path"]),
    ]
    audio = requested if requested in candidates else candidates[0] if candidates and requested is None else None
    classes = {}
    for column, feature in features.items():
        inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else feature)
        if isinstance(inner, ClassLabel):
            classes[column] = inner
    return data, classes, audio


def _unencoded() -> Any:
    """A feature for recordings in a stream: `datasets` would need torchcodec to encode them, though they are files."""
    from datasets import Audio

    class Recordings(Audio):
        def encode_example(self, value: Any) -> Any:
            if isinstance(value, bytes):
                return {"bytes": value, "path": None}
            return value if isinstance(value, dict) else {"bytes": None, "path": str(value)}

    return Recordings(decode=False)


def _cell(value: Any, classes: Any) -> Any:
    """A value for JSON, with the names of classes; None for values that no table can hold."""
    if classes is not None and value is not None:
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        # -1 is an unknown class
        names = (
            item if isinstance(item, str) else classes.int2str(int(item)) if int(item) >= 0 else "" for item in items
        )
        return "|".join(filter(None, names))
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, numbers.Number):
        return value.item() if hasattr(value, "item") else value
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return "|".join(value)
    if isinstance(value, Mapping) and all(isinstance(item, numbers.Number) or item is None for item in value.values()):
        return dict(value)  # votes
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return None


def _recording(value: Any, folder: Path, place: Path, number: int) -> str | None:
    """The path of a recording: its own file, or a file that is written here; None if there is none."""
    if isinstance(value, bytes | bytearray):
        value = {"bytes": bytes(value)}
    if value is None or isinstance(value, str):
        value = {"path": value}
    path = value.get("path")
    content = value.get("bytes")
    if content is None and value.get("array") is not None:
        return _write_samples(value, folder, place, number)
    if content is None and path is None:
        return None
    if content is None and "://" in path:
        from datasets.utils.file_utils import xopen

        with xopen(path, "rb") as file:
            content = file.read()
    elif content is None:
        return os.path.abspath(path)
    if not content:
        raise InputError(
            "audio", expected="a recording", got="no bytes", remedy="drop the row, or build the dataset again"
        )
    target = folder / "audio" / place / f"{_stem(path, number)}{_ending(path, content)}"
    _write(target, content)
    return str(target)


def _write_samples(value: Mapping[str, Any], folder: Path, place: Path, number: int) -> str:
    import numpy as np
    import soundfile as sf

    waveform = load_audio({**value, "array": np.asarray(value["array"])})
    target = folder / "audio" / place / f"{_stem(value.get('path'), number)}.wav"
    target.parent.mkdir(parents=True, exist_ok=True)
    with writing(target, flush=False) as file:
        sf.write(file, waveform, SAMPLING_RATE, format="WAV", subtype="FLOAT")
    return str(target)


def _write(target: Path, content: bytes) -> None:
    """Write a file; an equal file is not written again, so that a second run is fast."""
    if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with writing(target, flush=False) as place:
        place.write_bytes(content)


def _stem(path: str | None, number: int) -> str:
    """A file name without ending: the number of the row, and the name of the recording."""
    stem = Path((path or "").split("::")[0]).stem
    return f"{number:06d}{f'_{_safe(stem)}' if stem else ''}"


def _safe(name: str) -> str:
    """A name that every file system allows; a changed name ends with a digest of the original."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip(".")[:80]
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _ending(path: str | None, content: bytes) -> str:
    suffix = Path((path or "").split("::")[0]).suffix.lower()
    if re.fullmatch(r"\.\w{1,5}", suffix):
        return suffix
    return next((ending for begin, ending in MAGIC if content.startswith(begin)), ".audio")


def _distinct(rows: Sequence[ManifestRow], parts: Sequence[str]) -> list[ManifestRow]:
    """Rows with distinct ids: an id that occurs in several parts is prefixed with the name of its part."""
    ids = Counter(row.id for row in rows if row.id is not None)
    pairs = zip(rows, parts, strict=True)
    return [
        replace(row, id=f"{part}-{row.id}") if row.id is not None and ids[row.id] > 1 else row for row, part in pairs
    ]


def to_dataset(rows: Sequence[ManifestRow]) -> Any:
    """Turn a corpus into a dataset, which can be mapped, saved, or pushed to the Hub; `read_dataset` reads it again.

    Recordings are paths in the dataset; `push_to_hub` and `save_to_disk` include the files, `to_parquet` does not. They
    are not decoded (`Audio(decode=False)`), because that would need torchcodec; `classifier.predict(data["audio"])`
    decodes them itself. Recordings of people and their words are personal data, and the license of a corpus may forbid
    sharing it: check this before a push.

    Args:
        rows: rows of any manifest, whose recordings exist.

    Returns:
        A `datasets.Dataset` with a column for every field that some row fills; if every row has a split, a
        `DatasetDict` with a dataset for each split. "votes" is JSON.

    Raises:
        InputError: there are no rows, or recordings are missing; the message names their rows.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.hub_datasets import to_dataset
        >>> data = to_dataset([ManifestRow(text="I won!", emotion="joy"), ManifestRow(text="Go away.", votes={"anger": 2})])
        >>> data.column_names, data[1]["votes"]
        (['text', 'emotion', 'votes'], '{"anger": 2}')
    """
    import datasets

    missing = [row for row in rows if row.path is not None and not row.path.is_file()]
    if not rows or missing:
        got = (
            ", ".join(row.place or row.name for row in missing[:5])
            + f" and {len(missing) - 5} more" * (len(missing) > 5)
            if rows
            else "no rows"
        )
        got = f"no file for {got}" if missing else got
        raise InputError("rows", expected="rows whose recordings are there", got=got, remedy="leave out the others")
    columns = {name: [_field(row, field) for row in rows] for name, field in FIELDS.items()}
    filled = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    features = manifest_features(filled)
    raw = {"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}} if "audio" in filled else {}
    data = datasets.Dataset.from_dict(filled, features=datasets.Features({**features, **raw}))
    data = data.cast(features)  # a cast does not encode recordings
    names = {row.split: None for row in rows}
    if None in names:
        return data
    parts = {name: [number for number, row in enumerate(rows) if row.split == name] for name in names}
    return datasets.DatasetDict({str(name): data.select(numbers) for name, numbers in parts.items()})


def manifest_features(columns: Iterable[str] | None = None) -> Any:
    """The `datasets.Features` of the columns of `to_dataset`, for `Dataset.cast`; `from_dict` would need torchcodec.

    Args:
        columns: the columns that are included; None: all.

    Example:
        >>> from multimodal_ser.corpora.hub_datasets import manifest_features
        >>> manifest_features(["audio", "turn"])
        {'audio': Audio(sampling_rate=None, decode=False, num_channels=None, stream_index=None), 'turn': Value('int32')}
    """
    from datasets import Audio, Features, Value

    special = {"audio": Audio(decode=False), "turn": Value("int32")}
    special |= dict.fromkeys(("start", "end", "arousal", "valence", "dominance"), Value("float64"))
    return Features({name: special.get(name, Value("string")) for name in (FIELDS if columns is None else columns)})


def _field(row: ManifestRow, name: str) -> Any:
    value = getattr(row, name)
    if name == "path" and value is not None:
        return {"path": os.path.abspath(value), "bytes": None}
    return json.dumps(dict(value), ensure_ascii=False) if name == "votes" and value else value
