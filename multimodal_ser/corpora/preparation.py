"""Provides `prepare`, which turns any corpus into a manifest with a report; also a command of `multimodal-ser`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal_ser._progress import ProgressBar
from multimodal_ser.audio import MAX_DURATION
from multimodal_ser.corpora.audit import Survey, survey
from multimodal_ser.corpora.cleaning import LOUDNESS, TRIM_SILENCE_DB, Cleaning, check_steps, clean_rows
from multimodal_ser.corpora.duplicates import counted
from multimodal_ser.corpora.emotions import map_emotions, relabelled, without_odd_emotions
from multimodal_ser.corpora.files import recordings_below
from multimodal_ser.corpora.manifest import read_manifest, read_unnamed_folder, write_manifest
from multimodal_ser.corpora.paths import table_inside, tables_in
from multimodal_ser.corpora.rows import Manifest, ManifestRow
from multimodal_ser.corpora.tables import SUFFIXES
from multimodal_ser.corpora.targets import is_annotated
from multimodal_ser.errors import InputError
from multimodal_ser.labels import is_emotion, label_map

if TYPE_CHECKING:
    from multimodal_ser.corpora.registry import Corpus

KINDS = ("manifest", "folder", "dataset")
"""The kinds of sources that are read besides the known corpora."""

OUTPUTS = (".csv", ".tsv", ".jsonl", ".parquet")
"""Endings of manifests that can be written."""


@dataclass(frozen=True)
class Preparation:
    """The result of `prepare`.

    Args:
        kind: how the source was read: a corpus's name, or one of `KINDS`.
        corpus: facts about the corpus, if it is a known one.
        rows: the rows of the written manifest.
        output: the path of this manifest.
        survey: the survey of the rows before cleaning.
        label_set: the label set of the emotions; None: as the corpus writes them.
        left_out: emotions without a label in the set: the number of their rows, and the reason.
        cleaning: the result of cleaning; None: the recordings were not cleaned.
        ignored: columns or files that are not used.
        notes: further hints, a line each.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> from multimodal_ser.corpora.preparation import prepare
        >>> from multimodal_ser.testing import synthetic_speech
        >>> root = Path(tempfile.mkdtemp())
        >>> for seed, name in enumerate(("ann/happy/1.wav", "ann/sad/2.wav", "bo/happy/3.wav")):
        ...     (root / name).parent.mkdir(parents=True, exist_ok=True)
        ...     soundfile.write(root / name, synthetic_speech(1.0, seed=seed), 16000)
        >>> done = prepare(root, output=root / "manifest.csv", label_set="ekman")
        >>> done.kind, [(row.name, row.emotion, row.speaker) for row in done.rows][0]
        ('folder', ('ann/happy/1.wav', 'happiness', 'ann'))
        >>> print(str(done.survey).splitlines()[1])
        clips        3, 3.0 s
    """

    kind: str
    corpus: Corpus | None
    rows: tuple[ManifestRow, ...]
    output: Path
    survey: Survey
    label_set: str | None = None
    left_out: Mapping[str, tuple[int, str]] | None = None
    cleaning: Cleaning | None = None
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[InputError, ...]:
        """The errors of rows and recordings that cannot be used."""
        return self.survey.errors + (self.cleaning.errors if self.cleaning else ())

    @property
    def unlabelled(self) -> bool:
        """Whether no row has an emotion, votes or ratings."""
        return not any(map(is_annotated, self.rows))

    def to_dict(self) -> dict[str, Any]:
        """Everything except the rows, for JSON.

        Keys: read_as, corpus (title, languages, licence, citation, homepage, run_on; or None), output, rows (a count),
        label_set, left_out (rows and why of each emotion), cleaning, ignored, notes, survey, errors.
        """
        corpus = self.corpus
        return {
            "read_as": self.kind,
            "corpus": corpus and {
                "title": corpus.title, "languages": list(corpus.languages), "licence": corpus.licence, "citation": corpus.citation,
                "homepage": corpus.homepage, "run_on": corpus.run_on,
            },
            "output": str(self.output), "rows": len(self.rows), "label_set": self.label_set,
            "left_out": {name: {"rows": count, "why": why} for name, (count, why) in (self.left_out or {}).items()},
            "cleaning": self.cleaning and self.cleaning.to_dict(), "ignored": list(self.ignored), "notes": list(self.notes),
            "survey": self.survey.to_dict(), "errors": [str(error) for error in self.errors],
        }  # fmt: skip

    def __str__(self) -> str:
        corpus = self.corpus
        lines = [
            f"read as      {f'{corpus.title} ({corpus.name}): {corpus.licence}; {corpus.citation}' if corpus else self.kind}"
        ]
        lines += [f"note         {note}" for note in self.notes]
        lines += [str(self.survey)]
        if self.ignored:
            first = ", ".join(self.ignored[:8]) + (
                f" and {len(self.ignored) - 8} more" if len(self.ignored) > 8 else ""
            )
            lines.append(f"ignored      {first}")
        if self.label_set is not None:
            lines.append(f"label set    {self.label_set}")
            lines += [
                f"  {name}: {counted(count, 'row')} left out ({why})"
                for name, (count, why) in (self.left_out or {}).items()
            ]
        if self.cleaning is not None:
            done = self.cleaning
            lines.append(
                f"cleaned      {', '.join(done.steps)}: {done.files} copies in {done.folder}, {done.duration / 3600:.2f} hours"
            )
            lines += [f"  {count} of them: {note}" for note, count in done.notes.items()]
            lines += [f"  {error}" for error in done.errors]
        lines.append(f"written      {counted(len(self.rows), 'row')} to {self.output}")
        return "\n".join(lines)


def prepare(
    source: Any,
    path: str | os.PathLike | None = None,
    *,
    output: str | os.PathLike,
    columns: Mapping[str, str] | None = None,
    clean: str | Sequence[str] = (),
    cleaned_dir: str | os.PathLike | None = None,
    trim_silence_db: float = TRIM_SILENCE_DB,
    loudness: float = LOUDNESS,
    map_labels: Mapping[str, str | None] | None = None,
    label_set: str | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    limit: int | None = None,
    recordings_dir: str | os.PathLike | None = None,
    max_duration: float = MAX_DURATION,
    workers: int | None = None,
    progress: bool = False,
) -> Preparation:
    """Read a corpus, measure every clip, write cleaned copies if requested, and write a manifest of the usable rows.

    The corpus is never changed. Rows that cannot be used are reported and left out. Duplicates stay in the manifest,
    and the report names them; a split puts them into the same part. If most emotions are known, rows with a rare
    unknown emotion are reported and left out (`emotions.without_odd_emotions`).

    Args:
        source: the name of a known corpus (`registry.CORPORA`), "manifest", "folder" or "dataset". Without `path`, the
            path itself, a Hub id or a `datasets` object; its kind is then guessed.
        path: path of the corpus; for "dataset" also a Hub id.
        output: path of the manifest (.csv, .tsv, .jsonl or .parquet); its folder is created.
        columns: the column of each field in a table or dataset, {"path": "wav_name", "emotion": "emo"}; see
            `read_manifest`.
        clean: the steps of cleaning, some of "denoise", "trim", "loudness"; see `cleaning.clean_waveform`.
        cleaned_dir: folder of the cleaned copies; None: a folder beside the manifest, named after it.
        trim_silence_db: threshold of "trim", dB below the loudest 20 ms.
        loudness: loudness after "loudness", LUFS.
        map_labels: the emotions that the corpus's labels mean, if they are codes or unusual names: {"1": "anger", "9":
            None}; None: rows with this label are unlabelled. A name that is mapped to itself is kept, even if it is
            rare.
        label_set: the label set to which emotions are mapped; "native": the names of this library. Rows whose emotion
            has no label in the set are left out, and an unknown emotion is an error. None: emotions are not changed.
        config, split, revision, streaming, limit: options of a dataset; see `hub_datasets.read_dataset`.
        recordings_dir: folder of a dataset's recordings; None: a folder beside the manifest, named after it.
        max_duration: the longest recording that is accepted, s.
        workers: number of threads; None: one for each core, at most four.
        progress: whether progress bars are shown on stderr.

    Raises:
        InputError: nothing can be read, no row can be used, a package for cleaning is not installed, or the output
            cannot be written or is part of the corpus.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.corpora.preparation import prepare
        >>> table = Path(tempfile.mkdtemp(), "talk.csv")
        >>> _ = table.write_text("text,emotion\\nI won!,joy\\nReally?,surprise\\n")
        >>> done = prepare(table, output=table.parent / "manifest.csv", label_set="sentiment")
        >>> done.left_out
        {'surprise': (1, 'positive or negative, case by case')}
        >>> print((table.parent / "manifest.csv").read_text().splitlines()[0])
        emotion,text
    """
    steps = check_steps(clean)
    if label_set is not None:
        label_map([], label_set)  # an unknown name is an error before hours of work
    target = _checked_output(output)
    of_dataset: dict[str, Any] = {
        "config": config,
        "split": split,
        "revision": revision,
        "streaming": streaming,
        "limit": limit,
    }
    kind, place, guessed = (str(source), path, False) if path is not None else (*_guess_kind(source, columns), True)
    with ProgressBar("read", shown=progress and kind == "dataset") as show:
        recordings = Path(recordings_dir or target.with_name(f"{target.stem}_recordings"))
        manifest, corpus = _read(kind, place, columns, {**of_dataset, "output_dir": recordings, "on_progress": show})
    kind = corpus.name if corpus else kind.removeprefix("unnamed ")
    _not_the_source(target, manifest)
    rows = map_emotions([_plain_gender(row) for row in manifest.rows], map_labels or {})
    keep = {name for name in (map_labels or {}).values() if name}
    rows, odd = without_odd_emotions(rows, keep, "--map-labels NAME=NAME") if label_set is None else (rows, [])
    rows, errors, left_out = relabelled(rows, label_set)
    with ProgressBar("survey", shown=progress) as show:
        reported = (*manifest.errors, *odd, *errors)
        result = survey(
            rows,
            errors=reported,
            source=str(manifest.source),
            max_duration=max_duration,
            workers=workers,
            on_progress=show,
        )
    cleaning = None
    usable = result.rows
    if steps and result.measured:
        with ProgressBar("clean", shown=progress) as show:
            folder = Path(cleaned_dir or target.with_name(f"{target.stem}_cleaned"))
            cleaning = clean_rows(
                usable,
                folder,
                steps=steps,
                trim_silence_db=trim_silence_db,
                loudness=loudness,
                workers=workers,
                on_progress=show,
            )
        usable = cleaning.rows
    if not usable:
        first = next(iter((*result.errors, *(cleaning.errors if cleaning else ()))), None)
        got = f"none of {len(manifest.rows) + len(manifest.errors)}" + (f"; the first error: {first}" if first else "")
        remedy = (
            "choose another label set" if left_out and first is None else "see the errors, or read it as something else"
        )
        raise InputError(str(manifest.source), expected="at least one row that can be used", got=got, remedy=remedy)
    usable = tuple(replace(row, folder=target.parent) for row in usable)
    write_manifest(usable, target)
    notes = (*manifest.notes, *_notes(corpus, manifest, guessed, kind))
    done = Preparation(kind, corpus, usable, target, result, label_set, left_out, cleaning, manifest.ignored, notes)
    if not done.unlabelled:
        return done
    loud = "NOTHING IS LABELLED: no row has an emotion, votes or ratings, and nothing can be learned from this manifest"
    hint = next(
        (f": {note}" for note in manifest.notes if "--columns" in note), "; name the column: --columns emotion=COLUMN"
    )
    return replace(done, notes=(loud + hint, *(note for note in notes if hint != f": {note}")))


def _checked_output(output: str | os.PathLike) -> Path:
    target = Path(os.path.abspath(output))
    if target.suffix.lower() not in OUTPUTS:
        remedy = "manifest.csv is a good name"
        raise InputError("output", expected=f"a table ({', '.join(OUTPUTS)})", got=str(output), remedy=remedy)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        reason = (
            "a folder"
            if target.is_dir()
            else None
            if os.access(target.parent, os.W_OK)
            else "its folder is not writable"
        )
    except OSError as error:
        reason = error.strerror or "its folder cannot be made"
    if reason is not None:
        raise InputError(
            "output", expected="a file that can be written", got=f"{output} ({reason})", remedy="name another"
        )
    return target


def _not_the_source(target: Path, manifest: Manifest) -> None:
    """Raise an error if the output is the table that is read: the corpus is never changed."""
    if target.exists() and manifest.source.exists() and target.samefile(manifest.source):
        raise InputError(
            "output", expected="a new file", got=f"{target}, which is the table that is read", remedy="name another"
        )


def _guess_kind(source: Any, columns: Mapping[str, str] | None) -> tuple[str, Any]:
    """The kind of a source, and its place."""
    if not isinstance(source, str | os.PathLike):
        return "dataset", source
    from multimodal_ser.corpora.registry import CORPORA

    name = os.fspath(source)
    path = Path(name)
    if path.is_dir():
        return _guess_folder_kind(path, columns)
    if path.is_file():
        return ("dataset" if path.suffix.lower() == ".arrow" or _holds_bytes(path) else "manifest"), path
    if name in CORPORA or name in KINDS:
        raise InputError("path", expected=f"where {name} lies", got="none", remedy=f"prepare {name} PATH")
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return "dataset", name
    expected = f"a path, a dataset's Hub id, or a corpus ({', '.join(CORPORA)}) and its path"
    raise InputError(name, expected=expected, got="no such file or folder", remedy="check the path")


def _guess_folder_kind(path: Path, columns: Mapping[str, str] | None) -> tuple[str, Any]:
    from multimodal_ser.corpora.hub_datasets import is_saved_dataset
    from multimodal_ser.corpora.registry import CORPORA, read_corpus

    if any((path / f"manifest{suffix}").is_file() for suffix in SUFFIXES):
        return "manifest", path
    if is_saved_dataset(path):
        return "dataset", path
    tables = tables_in(path)
    if columns:
        if (table := table_inside(path, any_name=True)) is None:
            raise InputError(
                str(path), expected="one table that columns is about", got="none", remedy="name the table itself"
            )
        return "manifest", table
    if path.resolve().name in CORPORA:
        return CORPORA[path.resolve().name].name, path
    clips = len(recordings_below(path))
    fitting = []
    for name in CORPORA if clips else ():
        try:
            manifest = read_corpus(name, path)
        except InputError:
            continue
        skipped = sum(int(note.split()[0]) for note in manifest.notes)  # each begins with a count
        if len(manifest.rows) + skipped >= 0.9 * clips and len(manifest.errors) <= 0.1 * len(manifest.rows):
            fitting.append(name)
    if len(fitting) > 1:
        got = f"names that fit {' and '.join(fitting)}"
        raise InputError(
            str(path),
            expected="a corpus that can be told by its names",
            got=got,
            remedy=f"say which: prepare {fitting[0]} PATH",
        )
    if fitting:
        return fitting[0], path
    if len(tables) == 1 and not _emotions_are_folders(path):
        return "manifest", tables[0]
    return "unnamed folder", path


def _emotions_are_folders(path: Path) -> bool:
    from multimodal_ser.corpora.folders import read_folder

    try:
        names = {row.emotion for row in read_folder(path).rows if row.emotion is not None}
    except InputError:
        return False
    return 2 * sum(map(is_emotion, names)) > len(names)


def _holds_bytes(path: Path) -> bool:
    """Whether a parquet file contains the recordings themselves, like datasets of the Hub."""
    if path.suffix.lower() != ".parquet":
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return False  # reading the manifest reports the error
    return any(
        pa.types.is_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
        for kind in schema.types
    )


def _read(
    kind: str, place: Any, columns: Mapping[str, str] | None, of_dataset: Mapping[str, Any]
) -> tuple[Manifest, Corpus | None]:
    if kind == "dataset":
        from multimodal_ser.corpora.hub_datasets import read_dataset

        return read_dataset(place, columns=columns, **of_dataset), None
    foreign = [f"--{name}" for name in ("config", "split", "revision", "streaming", "limit") if of_dataset[name]]
    if foreign:
        remedy = "leave it away, or say: prepare dataset PATH"
        raise InputError(foreign[0], expected="a dataset, for this option", got=kind, remedy=remedy)
    if kind == "manifest":
        return read_manifest(place, columns=columns), None
    if columns:
        remedy = "leave it away, or say: prepare manifest TABLE"
        raise InputError("columns", expected="a table, for this option", got=kind, remedy=remedy)
    if kind in ("folder", "unnamed folder"):
        from multimodal_ser.corpora.folders import read_folder

        return (read_folder if kind == "folder" else read_unnamed_folder)(place), None
    from multimodal_ser.corpora.registry import find_corpus, read_corpus

    corpus = find_corpus(kind)
    return read_corpus(corpus, place), corpus


def _plain_gender(row: ManifestRow) -> ManifestRow:
    from multimodal_ser.corpora.readers import GENDERS

    plain = GENDERS.get((row.gender or "").lower(), row.gender)
    return row if plain == row.gender else replace(row, gender=plain)


def _notes(corpus: Corpus | None, manifest: Manifest, guessed: bool, kind: str) -> tuple[str, ...]:
    notes = []
    if guessed and corpus is not None:
        notes.append(f"told by its names; `prepare {kind} PATH` says so")
    if corpus is not None and corpus.clips is not None and corpus.clips != len(manifest.rows):
        notes.append(f"{len(manifest.rows)} of the {corpus.clips} that the corpus is documented to have")
    if corpus is not None and corpus.run_on == "made tree":
        notes.append(
            "this reader was never run on the real corpus, only on a tree made after its documentation: look at a few rows"
        )
    if corpus is not None and corpus.remarks:
        notes.append(corpus.remarks)
    return tuple(notes)
