"""The function `evaluate`, which measures systems on the rows of manifests and writes the report.

A protocol that trains calls `training.run.train` for each fold, and `fit` of each baseline on the same rows. All
answers are files in `DIR/rows`, so a stopped evaluation continues where it was stopped, and no work is done twice.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multimodal_ser._files import no_empty_folder, write_json
from multimodal_ser._progress import ProgressBar
from multimodal_ser._progress import say as say_on_stderr
from multimodal_ser.corpora import ManifestRow
from multimodal_ser.corpora.provenance import Provenance, origin, provenance, unseen_rows
from multimodal_ser.corpora.splits import SPLIT_NAMES, Split
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation.arguments import EvaluationArguments
from multimodal_ser.evaluation.data import Part, label_set_names, read_rows
from multimodal_ser.evaluation.outputs import (
    AUDIO,
    Answers,
    AnswerStore,
    Question,
    ask_baseline,
    ask_model,
    cases_of,
    digest,
    folder_of,
    suits,
)
from multimodal_ser.evaluation.report.build import build_report, in_short, write_report
from multimodal_ser.labels.merging import Merging

SHOWN = 5
"""How many errors are printed one by one; the report lists all."""


def evaluate(args: EvaluationArguments, say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Run an evaluation and write report.json, report.md and report.html into `args.output_dir`.

    Args:
        args: options of the evaluation.
        say: function that prints a message; None: messages go to stderr.

    Returns:
        The content of report.json; docs/evaluation.md describes its keys and units.

    Raises:
        InputError: data, model or options cannot be used (the message names the remedy), or the split leaks and that is
        not allowed.

    Example:
        >>> from multimodal_ser.evaluation import EvaluationArguments, evaluate
        >>> evaluate(EvaluationArguments(data=["no/such/table.csv"]))
        Traceback (most recent call last):
        ...
        multimodal_ser.errors.InputError: no/such/table.csv: expected a manifest or a folder of recordings, got no such file; check the path
    """
    say = say or say_on_stderr
    try:
        with no_empty_folder(args.output_dir):
            return _Evaluation(args, say).report()
    except KeyboardInterrupt:
        say("stopped; the same command goes on from what is done")
        raise


class _Evaluation:
    """State and steps of one evaluation.

    Args:
        args: options of the evaluation.
        say: function that prints a message.
    """

    def __init__(self, args: EvaluationArguments, say: Callable[[str], None]):
        args = replace(args, modalities=args.heard())
        self.args, self.say, self.folder = args, say, Path(args.output_dir)
        self.training = args.training()
        self.model: Any = None
        self.merging: Merging | None = None
        self.provenance: Provenance | None = None
        self.words: dict[int, tuple[str, str | None]] | None = None
        self.transcriber: str | None = None
        self.answers: list[Answers] = []

    def report(self) -> dict[str, Any]:
        """Run all steps and return the content of report.json."""
        from multimodal_ser.training.run_folder import data_hash, make_folder

        args = self.args
        trains = args.protocol is not None and not args.only_baselines
        self._check_training(trains)
        measures = args.protocol is None and not args.only_baselines
        turns = origin(args.model).context_turns if measures else int(self.training.get("context_turns", 0))
        self.data = data = read_rows(args, turns, ProgressBar("recordings"))
        make_folder(self.folder)
        for note in data.manifest_notes:
            self.say(f"note: {note}")
        if measures:
            self.model = self._load(args.model)
            self.merging = Merging.of(self.model.labels, args.label_set, drop=True)
            labels = list(self.merging.labels)
        else:
            requested = list(self.training.get("labels") or [])
            labels = requested or label_set_names(data.rows, args.label_set)
        if len(labels) < 2:
            got = ", ".join(labels) or "no emotion"
            remedy = "; ".join(data.manifest_notes) or "add clips of another one"
            raise InputError("data", expected="rows of at least two emotions", got=got, remedy=remedy)
        data.score(labels)
        for error in data.errors[:SHOWN]:
            self.say(f"left out: {error}")
        if len(data.errors) > SHOWN:
            self.say(f"left out: {len(data.errors) - SHOWN} more (the report names all)")
        self.hash = data_hash(data.clips)
        if args.transcribe:
            self._transcribe()
        self.parts = self._parts()
        for note in self.provenance.notes if self.provenance is not None else ():
            self.say(f"note: {note}")
        self.store = AnswerStore(self.folder / "rows", data.names, labels)
        for number, part in enumerate(self.parts, 1):
            if part.name:
                sizes = f"{len(part.split.train)} to learn from, {len(part.split.validation)} to select on, {len(part.split.test)} measured"
                self.say(f"{part.name} ({number} of {len(self.parts)}): {sizes}")
            for leak in part.leaks:
                self.say(f"leak: {leak}")
            if not args.only_baselines:
                for seed in args.seeds if trains else [None]:
                    self._network(part, seed)
            for name in args.baselines:
                self._baseline(part, name)
        if trains:
            self._clear_caches()
        report = build_report(
            args, data, self.parts, self.answers, self.words, self.hash, self.provenance, self.transcriber, self.merging
        )  # fmt: skip
        write_report(report, self.folder)
        self.say(f"the report: {self.folder / 'report.html'}, report.md, report.json")
        return report

    def _check_training(self, trains: bool) -> None:
        """Refuse wrong training options, baselines and devices before the first recording is read."""
        from multimodal_ser.evaluation.baselines.registry import make_baseline

        if trains:
            self._training_arguments("manifest.csv", "run", 0)
        for name in self.args.baselines:
            make_baseline(name, ["one", "another"])
        if self.args.device is not None:
            import torch

            try:
                torch.zeros(1, device=self.args.device)
            except (RuntimeError, AssertionError, ImportError) as error:
                got = f"{self.args.device!r} ({str(error).splitlines()[0]})"
                raise InputError(
                    "device", expected="a device of this machine", got=got, remedy="leave it out, or name another"
                ) from error

    def _training_arguments(self, manifest: str, folder: str, seed: int, **fields: Any) -> Any:
        from multimodal_ser.training.arguments import TrainingArguments

        args = self.args
        defaults: dict[str, Any] = {"report_to": [], "disable_tqdm": not sys.stderr.isatty()}
        settings = {
            "data": [manifest], "output_dir": folder, "seed": seed, "modalities": args.modalities, "allow_leak": True,
            "cache_dir": str(self.folder / "embeddings"),
        }  # fmt: skip
        if args.model is not None:
            settings["model"] = args.model
        return TrainingArguments.from_dict(defaults | self.training | settings | fields)

    def _device(self) -> str:
        import torch

        return self.args.device or ("cuda" if torch.cuda.is_available() and not self.training.get("use_cpu") else "cpu")

    def _load(self, model: str | Path | None) -> Any:
        from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

        try:
            return MultimodalEmotionClassifier.from_pretrained(model, whisper=None).to(self._device())
        except InputError:
            raise
        except Exception as error:  # libraries raise errors of many types
            got = f"{model}: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
            raise InputError(
                "model", expected="a folder or Hub id of a checkpoint", got=got, remedy="check it"
            ) from error

    def _transcribe(self) -> None:
        from multimodal_ser.evaluation.asr import recognise

        self.words, self.transcriber, errors = recognise(
            self.data.clips, self.args.whisper, self.folder / "rows" / "recognised.json", self._device(), self.say
        )
        self.data.errors += errors

    def _parts(self) -> list[Part]:
        """The folds of the protocol; without a protocol, one part with the measured rows."""
        args, rows = self.args, self.data.rows
        if args.protocol is None:
            return [self._as_it_is(rows)]
        from multimodal_ser.corpora.leakage import content_hashes
        from multimodal_ser.corpora.protocols import folds

        options: dict[str, Any] = {"k": args.num_folds, "seed": args.seeds[0], "allow_leak": args.allow_leak}
        if "validation_share" in self.training:
            options["validation_share"] = float(self.training["validation_share"])
        contents: Any = content_hashes(rows)
        all_folds = folds(rows, args.protocol, contents=contents, **options)
        numbers = {str(number): fold for number, fold in enumerate(all_folds, 1)} | {
            fold.name: fold for fold in all_folds
        }
        unknown = [name for name in args.folds if name not in numbers]
        if unknown:
            names = ", ".join(fold.name for fold in all_folds)
            raise InputError(
                "folds", expected=f"some of {names}", got=", ".join(unknown), remedy="give their names or numbers"
            )
        chosen = [fold for fold in all_folds if not args.folds or any(fold is numbers[name] for name in args.folds)]
        return [
            Part(f"fold {fold.name}" if fold.name.isdigit() else fold.name, fold.split, self._leaks(fold.split, contents))
            for fold in chosen
        ]  # fmt: skip

    def _as_it_is(self, rows: Sequence[ManifestRow]) -> Part:
        """The rows that are measured without a protocol: the test part of a split column if there is one, else all."""
        sides = [SPLIT_NAMES.get((row.split or "").lower()) for row in rows]
        sets = {
            name: tuple(i for i, side in enumerate(sides) if side == name) for name in ("train", "validation", "test")
        }
        test = sets["test"] or tuple(range(len(rows)))
        train = sets["train"] if sets["test"] else ()
        notes: tuple[str, ...] = ()
        if self.model is not None:
            test, notes = self._unseen(rows, test)
            if (
                self.args.unseen_only and not sets["test"]
            ):  # baselines learn from the speakers that the model was trained on
                train = tuple(sorted({i for i, row in enumerate(rows) if row.speaker is not None} - set(test)))
        if self.args.baselines and not train:
            got = "rows without a train and a test part, and no protocol"
            raise InputError(
                "baselines", expected="something to learn from", got=got, remedy="add a protocol, or a split column"
            )
        description = (
            "the test part of the split column"
            if sets["test"]
            else "unseen speakers"
            if self.args.unseen_only
            else "all rows"
        )
        split = Split(
            train,
            sets["validation"] if train and sets["test"] else (),
            test,
            f"{description}; the model was not trained",
            notes,
        )
        leaks: tuple[str, ...] = ()
        if train:
            from multimodal_ser.corpora.leakage import content_hashes

            leaks = self._leaks(split, content_hashes(rows))
        if self.args.baselines and leaks and not self.args.allow_leak:
            remedy = "drop the column and use a protocol, or take it as it is with allow_leak"
            raise InputError("split", expected="parts that share nothing", got=leaks[0], remedy=remedy)
        return Part("", split, leaks)

    def _unseen(self, rows: Sequence[ManifestRow], test: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The test rows that are measured and notes on the others; sets `provenance`, the model's training data."""
        self.provenance = provenance(self.args.model, [rows[row] for row in test])
        if not self.args.unseen_only:
            return test, ()
        places, note = unseen_rows(self.provenance, len(test))
        test = tuple(test[place] for place in places)
        self.provenance = provenance(self.args.model, [rows[row] for row in test])
        if note is not None:
            self.say(note)
        return test, (note,) if note is not None else ()

    def _leaks(self, split: Split, contents: Sequence[str | None]) -> tuple[str, ...]:
        """Leaks that make figures too good; shared sentences, which help text systems alone, are notes of the split."""
        from multimodal_ser.corpora.leakage import find_leaks

        return tuple(str(leak) for leak in find_leaks(self.data.rows, split, contents) if leak.serious)

    def _fingerprint(self, part: Part, *content: Any) -> str:
        """Digest of everything that the answers depend on."""
        split = part.split
        return digest(
            [
                self.hash,
                self.data.names,
                self.data.labels,
                self.args.label_set,
                split.train,
                split.validation,
                split.test,
                content,
            ]
        )

    def _questions(self, model: Any, kind: str, part: Part, seed: int | None) -> Iterator[tuple[Question, Any]]:
        """The questions to a model, one for each case and each condition."""
        from multimodal_ser.evaluation.robustness import conditions

        args, clips = self.args, [self.data.clips[row] for row in part.split.test]
        words = (
            {row: self.words[row] for row in part.split.test if row in self.words} if self.words is not None else None
        )
        cases = cases_of(model, clips, args.modalities, words)
        for case in cases:
            yield Question(kind, kind, case, part.name, seed), None
        if args.robustness and AUDIO in cases:
            for condition in conditions(noises=args.noise_dir is not None, rooms=args.room_dir is not None):
                yield Question(kind, kind, AUDIO, part.name, seed, condition.name), condition

    def _network(self, part: Part, seed: int | None) -> None:
        """Add the answers of the model as it is (no seed), or of a network trained on the fold with this seed."""
        from multimodal_ser.model.fingerprint import checkpoint_digest
        from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT

        trained = seed is not None
        checkpoint = str(SHIPPED_CHECKPOINT) if self.args.model is None else self.args.model
        ingredients = [
            checkpoint_digest(checkpoint) or str(self.args.model),
            *([self.training, self.args.modalities, self.transcriber] if trained else []),
        ]
        fingerprint = self._fingerprint(part, ingredients, seed)
        marker = self.folder / "rows" / folder_of(part.name) / f"asked-{'model' if seed is None else seed}.json"
        stored = self._stored_answers(marker, fingerprint)
        if stored is not None:
            for answers in stored:
                self._add(answers)
            return
        model = self._trained(part, seed) if seed is not None else self.model
        questions = list(self._questions(model, "network" if trained else "model", part, seed))
        for question, condition in questions:
            mark = self._mark(fingerprint, question)
            result = self.store.read(question, mark)
            if result is None:
                result = self._ask(model, question, condition, part)
                self.store.write(result, mark)
            self._add(result)
        write_json(
            marker,
            {"of": self._mark(fingerprint), "questions": [dataclasses.asdict(question) for question, _ in questions]},
        )

    def _mark(self, fingerprint: str, question: Question | None = None) -> str:
        """Fingerprint of the answers to one question; without a question, of the answers to all questions."""
        args = self.args
        folders = [args.robustness, args.noise_dir, args.room_dir] if question is None or question.condition else []
        listener = [self.transcriber, args.transcribe] if question is None or "recognised" in question.case else []
        return digest([fingerprint, folders, listener, args.modalities if question is None else None])

    def _stored_answers(self, marker: Path, fingerprint: str) -> list[Answers] | None:
        """The stored answers of a network, if all of its questions were answered before; else None."""
        if not marker.exists():
            return None
        stored = json.loads(marker.read_text(encoding="utf-8"))
        if stored["of"] != self._mark(fingerprint):
            return None
        questions = [Question(**fields) for fields in stored["questions"]]
        results = [self.store.read(question, self._mark(fingerprint, question)) for question in questions]
        return None if None in results else [answers for answers in results if answers is not None]

    def _ask(self, model: Any, question: Question, condition: Any, part: Part) -> Answers:
        from multimodal_ser.evaluation.robustness import disturbance

        args = self.args
        disturb = (
            None if condition is None else disturbance(condition, noise_dir=args.noise_dir, room_dir=args.room_dir)
        )
        return ask_model(
            model, question, self.data.clips, part.split.test, self.data.labels, words=self.words, disturb=disturb,
            label_set=args.label_set if question.kind == "model" else "native", batch_size=args.batch_size, progress=sys.stderr.isatty(),
        )  # fmt: skip

    def _trained(self, part: Part, seed: int) -> Any:
        """The network of a fold; it is trained now if no earlier run trained it."""
        from multimodal_ser.training.run import train

        run = self.folder / "runs" / folder_of(part.name) / f"seed-{seed}"
        manifest = self._fold_manifest(part)
        share = {} if part.split.validation else {"validation_share": 0.0}
        labels = {"labels": self.data.labels} if "labels" not in self.training else {}
        resumes = (run / "arguments.yaml").exists()
        args = self._training_arguments(
            str(manifest), str(run), seed, resume_from_checkpoint=resumes, **share, **labels
        )
        return self._load(train(args).model)

    def _fold_manifest(self, part: Part) -> Path:
        """Write a manifest of the fold with a split column, which training follows, and return its path."""
        from multimodal_ser.corpora.manifest import write_manifest

        path = self.folder / "runs" / folder_of(part.name) / "manifest.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        sides = {row: side for side in ("train", "validation") for row in getattr(part.split, side)}
        write_manifest([self._training_row(row, side) for row, side in sorted(sides.items())], path)
        return path

    def _training_row(self, row: int, side: str) -> ManifestRow:
        """A row as training reads it: where the manifest has no words, with the words that Whisper recognised."""
        source = self.data.clips[row].row
        text, language = source.text, source.language
        if not text and self.words is not None and row in self.words:
            text, recognized_language = self.words[row][0] or None, self.words[row][1]
            language = language or recognized_language
        return replace(
            source, split=side, id=None, text=text, language=language
        )  # corpora may give the same id to other rows

    def _baseline(self, part: Part, name: str) -> None:
        from multimodal_ser.evaluation.baselines.registry import BASELINES

        modality = BASELINES[name].modality
        needed = (
            [i for i in part.split.test if suits(self.data.clips[i], modality, i, None)]
            if modality != "any"
            else part.split.test
        )
        if not needed:
            self.say(f"{name}: no row has what it looks at ({modality})")
            return
        seeds = (
            self.args.seeds if "lstm" in name else self.args.seeds[:1]
        )  # the others draw nothing that changes their answers
        for seed in seeds:
            question = Question(name, "baseline", modality, part.name, seed)
            mark = self._fingerprint(part, name, seed)
            result = self.store.read(question, mark)
            if result is None:
                result = ask_baseline(
                    question, self.data.clips, part.split.train, part.split.test, self.data.labels, self.folder / "features"
                )  # fmt: skip
                self.store.write(result, mark)
            self._add(result)

    def _add(self, answers: Answers) -> None:
        """Keep the answers and print their main figures."""
        self.answers.append(answers)
        question = answers.question
        name = ", ".join(filter(None, [question.system, question.case, question.condition]))
        seed = f", seed {question.seed}" if question.seed is not None and len(self.args.seeds) > 1 else ""
        self.say(f"{name}{seed}: {in_short(answers, self.data)}")
        if answers.unanswered:
            first = next(iter(answers.unanswered.values()))
            self.say(f"{len(answers.unanswered)} without an answer, such as {first}")

    def _clear_caches(self) -> None:
        from multimodal_ser.training.cache import EmbeddingCache

        EmbeddingCache.clear(self.folder / "embeddings")
