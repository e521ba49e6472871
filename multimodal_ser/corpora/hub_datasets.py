"""A Hugging Face dataset, from the Hub or from this machine, becomes a manifest and files of recordings, and a manifest a dataset.

Recordings are never decoded by `datasets`, which would need torchcodec: their bytes are written as they are, for `load_audio` to read.
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
"""One of these lies in a folder that `save_to_disk` wrote."""

MAGIC = (
    (b"RIFF", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
    (b"\x1aE\xdf\xa3", ".webm"),
)
"""How recordings begin, and their ending; only for people: decoding looks into the file."""

FIELDS = {
    "audio": "path", "text": "text", "emotion": "emotion", "votes": "votes", "id": "id", "speaker": "speaker", "session": "session",
    "split": "split", "dialogue": "dialogue", "turn": "turn", "language": "language", "gender": "gender", "intensity": "intensity",
    "corpus": "corpus", "sentence_id": "sentence", "start": "start", "end": "end", "arousal": "arousal", "valence": "valence",
    "dominance": "dominance",
}  # fmt: skip
"""The columns of `to_dataset`, and the field of a row that each holds."""


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
    """Read a dataset; write the recordings that are only bytes in it to files.

    Names of classes (`ClassLabel`) stand for their numbers; several of a row are joined by a bar. Splits that are called train,
    validation (dev, val, valid) or test are the rows' split; a dataset whose only split is "train" has none. Of several columns of
    recordings the first is taken. A recording that is a file of this machine stays where it is.

    Args:
        source: a `Dataset`, `IterableDataset` or a dict of them; a folder written by `save_to_disk`; a folder or file that `load_dataset`
            reads (parquet, an audio folder, ...); a Hub id.
        output_dir: where recordings go, in a folder "audio"; it is made.
        config: of a dataset that has several ("subset" on the Hub).
        split: the only one to be read.
        revision: of a dataset of the Hub.
        streaming: read row by row, without storing the dataset first.
        limit: rows of each split that are read.
        columns: which column holds which field, as for `read_manifest`; "path": the column of recordings.
        on_progress: called with (done, all) rows of a split; all: None where nobody knows.

    Returns:
        The rows, and an error for each row that cannot be used, named by split and row from 1.

    Raises:
        InputError: there is no such dataset, it cannot be reached, or it has neither recordings nor texts.

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
    alone = len(parts) == 1 and split is None
    for part, data in parts.items():
        means = None if (alone and part == "train") else SPLIT_NAMES.get(part.lower())
        found = _read_part(
            data, name if alone else f"{name} {part}", folder, Path(_safe(part)), columns, limit, on_progress
        )
        rows += [replace(row, split=row.split or means) for row in found.rows]
        homes += [part] * len(found.rows)
        errors += found.errors
        ignored |= dict.fromkeys(found.ignored)
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
    """What it is called, and its splits."""
    import datasets

    name = "dataset"
    if isinstance(source, str | os.PathLike):
        given = os.fspath(source)
        name = Path(given).name if os.path.exists(given) else given
        try:
            try:
                source = _from_path(given, config, revision, streaming)
            except Exception as error:
                if streaming or "torchcodec" not in f"{error}{error.__cause__}":
                    raise
                source = _from_path(
                    given, config, revision, True
                )  # as a stream it can be told not to encode what is encoded
        except InputError:
            raise
        except Exception as error:  # datasets raises whatever its loaders, fsspec and the Hub's client raise
            got = " ".join(f"{type(error).__name__}: {error}".split())
            remedy = "check the name, --config and the network; a private dataset needs `hf auth login`"
            raise InputError(given, expected="a dataset that can be loaded", got=got[:500], remedy=remedy) from error
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


def _from_path(given: str, config: str | None, revision: str | None, streaming: bool) -> Any:
    import datasets

    if not os.path.exists(given):
        return datasets.load_dataset(given, config, revision=revision, streaming=streaming)
    if os.path.isdir(given) and is_saved_dataset(given):
        return datasets.load_from_disk(given)
    if os.path.isdir(given):
        return datasets.load_dataset(given, config, streaming=streaming)
    kinds = {
        ".csv": "csv",
        ".tsv": "csv",
        ".json": "json",
        ".jsonl": "json",
        ".ndjson": "json",
        ".parquet": "parquet",
        ".arrow": "arrow",
    }
    kind = kinds.get(Path(given).suffix.lower())
    if kind is None:
        raise InputError(
            given, expected=f"a folder or a file ({', '.join(kinds)})", got="another file", remedy="name a dataset"
        )
    options = {"sep": "\t"} if given.lower().endswith(".tsv") else {}
    return datasets.load_dataset(kind, data_files={"train": given}, streaming=streaming, **options)


def _read_part(
    data: Any,
    name: str,
    folder: Path,
    place: Path,
    columns: Mapping[str, str] | None,
    limit: int | None,
    on_progress: Callable[[int, int | None], None] | None,
) -> Manifest:
    """One split: its rows become a table, which `read_manifest` judges as any other."""
    data, classes, audio = _undecoded(data, name, dict(columns or {}))
    total = None if not hasattr(data, "__len__") else min(len(data), limit or len(data))
    failed: dict[int, InputError] = {}
    lines: list[str] = []
    for number, given in enumerate(_rows(data, limit, name), 1):
        if isinstance(given, InputError):
            failed[number] = given
            lines.append("")
            break
        row = {column: _cell(value, classes.get(column)) for column, value in given.items() if column != audio}
        if audio is not None:
            row.pop("path", None)  # beside a column of recordings it often says what they once were called
            try:
                row["path"] = _recording(given[audio], folder, place, number)
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
    named = {field: column for field, column in (columns or {}).items() if not (field == "path" and audio is not None)}
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(
            scratch, "rows.jsonl"
        )  # what failed is an empty line there, so that a line's number is that of its row
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        found = read_manifest(table, columns=named or None)

    def told(text: str) -> str:
        return text.replace("rows.jsonl, line ", f"{name}, row ").replace("rows.jsonl", name)

    judged = [
        InputError(told(e.what), expected=e.expected, got=told(e.got), remedy=e.remedy.replace(scratch, "/"))
        for e in found.errors
    ]
    order = {f"{name}, row {number}": number for number in range(1, len(lines) + 1)}
    errors = sorted([*judged, *failed.values()], key=lambda error: order.get(", ".join(error.what.split(", ")[:2]), 0))
    rows = (replace(row, place=told(row.place), folder=folder) for row in found.rows)
    return Manifest(tuple(rows), tuple(errors), Path(name), found.ignored)


def _rows(data: Any, limit: int | None, name: str) -> Iterator[dict[str, Any] | InputError]:
    """Rows up to a limit; whatever a stream breaks with ends them as an error."""
    at, rows = 0, iter(data)
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
    """The dataset with recordings as bytes or paths, its columns of classes, and the column of recordings."""
    from datasets import Audio, ClassLabel

    if data.features is None and hasattr(
        data, "_resolve_features"
    ):  # a stream that nobody has described: its first rows tell
        data = data._resolve_features()
    features = data.features or {}
    asked = columns.get("path")
    if asked is not None and features and asked not in features:
        remedy = "name one of them with --columns path=..."
        raise InputError(name, expected=f"a column {asked}", got=f"the columns {', '.join(features)}", remedy=remedy)
    sounding = [column for column, feature in features.items() if isinstance(feature, Audio)]
    for column in sounding:
        data = data.cast_column(column, Audio(decode=False) if hasattr(data, "num_rows") else _unencoded())
    structs = [
        column
        for column, feature in features.items()
        if isinstance(feature, Mapping) and {"bytes", "array"} & set(feature)
    ]
    binary = [
        column for column, feature in features.items() if getattr(feature, "dtype", None) in ("binary", "large_binary")
    ]
    found = [
        *sounding,
        *structs,
        *(column for column in binary if column == asked or column.lower() in COLUMNS["path"]),
    ]
    audio = asked if asked in found else found[0] if found and asked is None else None
    classes = {}
    for column, feature in features.items():
        inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else feature)
        if isinstance(inner, ClassLabel):
            classes[column] = inner
    return data, classes, audio


def _unencoded() -> Any:
    """A column of recordings in a stream of examples, which `datasets` would ask torchcodec to encode though they are files already."""
    from datasets import Audio

    class Recordings(Audio):
        def encode_example(self, value: Any) -> Any:
            if isinstance(value, bytes):
                return {"bytes": value, "path": None}
            return value if isinstance(value, dict) else {"bytes": None, "path": str(value)}

    return Recordings(decode=False)


def _cell(value: Any, classes: Any) -> Any:
    """A value as JSON can hold it; the names of classes; None for what no table holds."""
    if classes is not None and value is not None:
        given = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        names = (
            one if isinstance(one, str) else classes.int2str(int(one)) if int(one) >= 0 else "" for one in given
        )  # -1: nobody knows
        return "|".join(filter(None, names))
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, numbers.Number):
        return value.item() if hasattr(value, "item") else value
    if isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
        return "|".join(value)
    if isinstance(value, Mapping) and all(isinstance(one, numbers.Number) or one is None for one in value.values()):
        return dict(value)  # votes
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return None


def _recording(value: Any, folder: Path, place: Path, number: int) -> str | None:
    """Where a recording lies: its own file, or one that is written now."""
    if isinstance(value, bytes | bytearray):
        value = {"bytes": bytes(value)}
    if value is None or isinstance(value, str):
        value = {"path": value}
    given, content = value.get("path"), value.get("bytes")
    if content is None and value.get("array") is not None:
        return _write_samples(value, folder, place, number)
    if content is None and given is None:
        return None
    if content is None and "://" in given:
        from datasets.utils.file_utils import xopen

        with xopen(given, "rb") as file:
            content = file.read()
    elif content is None:
        return os.path.abspath(given)
    if not content:
        raise InputError(
            "audio", expected="a recording", got="no bytes", remedy="drop the row, or build the dataset again"
        )
    target = folder / "audio" / place / f"{_stem(given, number)}{_ending(given, content)}"
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
    """Write it; a file of the same content is left as it is, so that a second run is quick."""
    if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with writing(target, flush=False) as place:
        place.write_bytes(content)


def _stem(path: str | None, number: int) -> str:
    """A name that sorts as the rows do and says what the recording was called."""
    stem = Path((path or "").split("::")[0]).stem
    return f"{number:06d}{f'_{_safe(stem)}' if stem else ''}"


def _safe(name: str) -> str:
    """A name that is one on every file system; what had to be changed leaves a digest."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip(".")[:80]
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _ending(path: str | None, content: bytes) -> str:
    suffix = Path((path or "").split("::")[0]).suffix.lower()
    if re.fullmatch(r"\.\w{1,5}", suffix):
        return suffix
    return next((ending for begin, ending in MAGIC if content.startswith(begin)), ".audio")


def _distinct(rows: Sequence[ManifestRow], parts: Sequence[str]) -> list[ManifestRow]:
    """Rows whose ids are told apart by their part, where the parts number them anew."""
    ids = Counter(row.id for row in rows if row.id is not None)
    pairs = zip(rows, parts, strict=True)
    return [
        replace(row, id=f"{part}-{row.id}") if row.id is not None and ids[row.id] > 1 else row for row, part in pairs
    ]


def to_dataset(rows: Sequence[ManifestRow]) -> Any:
    """A corpus as a dataset, to be mapped over, saved, or pushed to the Hub; `read_dataset` reads it back.

    Recordings are paths in it; `push_to_hub` and `save_to_disk` take the files in, `to_parquet` does not. They are not decoded
    (`Audio(decode=False)`), which would need torchcodec: `classifier.predict(data["audio"])` does that itself. Before you push: recordings
    of people, and what they said, are personal data, and a corpus may forbid to pass it on.

    Args:
        rows: of any manifest; recordings are looked for where their paths say.

    Returns:
        A `datasets.Dataset` with a column for every field that a row fills, or, where every row has a split, a `DatasetDict` with a
        dataset for each. "votes" is JSON.

    Raises:
        InputError: no rows, or recordings that are not there, named by their rows.

    Example:
        >>> from multimodal_ser.corpora import ManifestRow
        >>> from multimodal_ser.corpora.hub_datasets import to_dataset
        >>> data = to_dataset([ManifestRow(text="I won!", emotion="joy"), ManifestRow(text="Go away.", votes={"anger": 2})])
        >>> data.column_names, data[1]["votes"]
        (['text', 'emotion', 'votes'], '{"anger": 2}')
    """
    import datasets

    lost = [row for row in rows if row.path is not None and not row.path.is_file()]
    if not rows or lost:
        got = (
            ", ".join(row.place or row.name for row in lost[:5]) + f" and {len(lost) - 5} more" * (len(lost) > 5)
            if rows
            else "no rows"
        )
        got = f"no file for {got}" if lost else got
        raise InputError("rows", expected="rows whose recordings are there", got=got, remedy="leave out the others")
    columns = {name: [_field(row, field) for row in rows] for name, field in FIELDS.items()}
    filled = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    features = manifest_features(filled)
    raw = {"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}} if "audio" in filled else {}
    data = datasets.Dataset.from_dict(filled, features=datasets.Features({**features, **raw})).cast(
        features
    )  # a cast encodes nothing
    names = {row.split: None for row in rows}
    if None in names:
        return data
    parts = {name: [number for number, row in enumerate(rows) if row.split == name] for name in names}
    return datasets.DatasetDict({str(name): data.select(numbers) for name, numbers in parts.items()})


def manifest_features(columns: Iterable[str] | None = None) -> Any:
    """The `datasets.Features` of a manifest's columns, those of `to_dataset`; for `Dataset.cast`, as `from_dict` would want torchcodec.

    Args:
        columns: which of them; None: all.

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
