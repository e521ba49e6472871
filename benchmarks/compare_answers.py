"""Compare the answers of two commits of this library, in one run on one machine: for refactorings, in which no figure may move.

    MULTIMODAL_SER_DATA=DATA python benchmarks/compare_answers.py BEFORE            BEFORE and the working tree as it is
    MULTIMODAL_SER_DATA=DATA python benchmarks/compare_answers.py BEFORE AFTER --only audio texts --output FILE.json

Each commit is checked out into a temporary worktree and answers there in a process of its own, one after the other: the shipped checkpoint,
CPU, fp32, one thread, offline. While the working tree is compared its files must not change. Numbers may differ by 1e-6 where inputs run
alone, by 1e-4 where they share a batch, in ONNX, calibration and evaluation; vectors (embeddings, speaker profiles) relative to
their largest element. Strings must be equal. `pipeline_long` is shown and never fails. The exit status is 1 where something is outside.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import itertools
import json
import math
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SEED = 20261201
SAMPLING_RATE = 16_000
CORPORA, CLIPS_A_CORPUS, TEXTS = ("ravdess", "emodb", "nemo"), 20, 40
ALONE, BATCHED = 1e-6, 1e-4
CONDITIONS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
PACKAGES = ("torch", "transformers", "numpy", "onnxruntime", "faster-whisper")
GONE = "its process ended before this section"
NOT_COMPARED = {"seconds", "version", "environment"}
"""Keys of reports that differ between any two runs or commits."""
RENAMED = {"wa": "accuracy"}
"""Keys of reports of earlier commits, and what they are now."""


def part(answers: Any, limit: float | None, relative: bool = False) -> dict[str, Any]:
    """Answers with how far they may differ: in absolute terms, or relative to the largest element of each vector."""
    return {"answers": answers, "limit": limit, "relative": relative}


class Inputs:
    """What both commits answer: the same clips and texts, and the classifier of the commit that runs."""

    def __init__(self, data: Path, work: Path):
        self.work = work
        draw = random.Random(SEED)
        manifests = {corpus: read_rows(data / corpus / "manifest.csv") for corpus in CORPORA}
        for corpus, rows in manifests.items():
            for row in rows:
                row["path"] = str(data / corpus / row["path"])
        chosen = [spread(rows, CLIPS_A_CORPUS, draw) for rows in manifests.values()]
        self.rows = list(itertools.chain(*zip(*chosen, strict=True)))  # corpora take turns
        self.clips = [row["path"] for row in self.rows]
        self.words = [row["text"] for row in self.rows]
        speaker = manifests["ravdess"][0]["speaker"]
        of_one = spread([row for row in manifests["ravdess"] if row["speaker"] == speaker], 16, draw)
        self.enrolled, self.spoken = [[row["path"] for row in half] for half in (of_one[:8], of_one[8:])]
        lines = read_rows(data / "text" / "goemotions_ekman.csv")
        self.texts = draw.sample([row["text"] for row in lines if row["split"] == "dev" and row["text"].strip()], TEXTS)

    @cached_property
    def classifier(self) -> Any:
        return self.new_classifier()

    def new_classifier(self) -> Any:
        from multimodal_ser import MultimodalEmotionClassifier

        return MultimodalEmotionClassifier.from_pretrained(dtype="float32")

    def recording(self, seconds: float) -> np.ndarray:
        """Clips joined, over and over, to a recording of this length."""
        from multimodal_ser import load_audio

        wanted, pieces = round(seconds * SAMPLING_RATE), []
        for clip in itertools.cycle(self.clips):
            pieces.append(load_audio(clip))
            if sum(map(len, pieces)) >= wanted:
                return np.concatenate(pieces)[:wanted]

    def manifest(self, name: str, count: int) -> Path:
        path = self.work / name
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, ["path", "emotion", "speaker", "gender", "text", "language"], extrasaction="ignore"
            )
            writer.writeheader()
            writer.writerows(self.rows[:count])
        return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def spread(rows: list[dict[str, str]], count: int, draw: random.Random) -> list[dict[str, str]]:
    """Rows over as many speakers and emotions as there are, each about as often."""
    left, chosen, times = draw.sample(rows, len(rows)), [], Counter()
    for _ in range(count):
        row = min(left, key=lambda row: times[row["speaker"]] + times[row["emotion"]])
        left.remove(row)
        chosen.append(row)
        times.update([row["speaker"], row["emotion"]])
    return chosen


def public(name: str, *modules: str) -> Any:
    """A name of the library, at the first of these places that has it: places differ between commits."""
    for module in ("multimodal_ser", *modules):
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name}: expected in one of multimodal_ser, {', '.join(modules)}, got it in none")


def plain(predictions: Any) -> Any:
    """Predictions as JSON holds them; notes are left out, as their wording may change."""
    if isinstance(predictions, list):
        return [plain(prediction) for prediction in predictions]
    kept = ("label", "probabilities", "modalities", "conformal_labels", "duration", "windows", "channel")
    transcript = predictions.transcript
    words = None if transcript is None else [transcript.text, transcript.language]
    return {name: getattr(predictions, name) for name in kept} | {"transcript": words}


def numbers(report: Any) -> Any:
    """The numbers of a report, without times, versions, and strings."""
    if isinstance(report, dict):
        kept = {RENAMED.get(key, str(key)): numbers(value) for key, value in report.items() if key not in NOT_COMPARED}
        return {key: value for key, value in kept.items() if value is not None}
    if isinstance(report, list | tuple):
        return [value for value in map(numbers, report) if value is not None]
    return report if isinstance(report, int | float) and not isinstance(report, bool) else None


def audio(inputs: Inputs) -> dict[str, Any]:
    options = {"modalities": "audio", "batch_size": 1}
    return {"audio": part([plain(inputs.classifier.predict(clip, **options)) for clip in inputs.clips], ALONE)}


def audio_list(inputs: Inputs) -> dict[str, Any]:
    return {"audio_list": part(plain(inputs.classifier.predict(inputs.clips, modalities="audio")), BATCHED)}


def both(inputs: Inputs) -> dict[str, Any]:
    return {"both": part(plain(inputs.classifier.predict(inputs.clips[:12])), BATCHED)}


def texts(inputs: Inputs) -> dict[str, Any]:
    predict = inputs.classifier.predict
    alone = [plain(predict(text=text, batch_size=1)) for text in inputs.texts]
    return {"texts_alone": part(alone, ALONE), "texts_list": part(plain(predict(text=inputs.texts)), BATCHED)}


def pairs(inputs: Inputs) -> dict[str, Any]:
    items = [{"audio": clip, "text": text} for clip, text in zip(inputs.clips[:20], inputs.words, strict=False)]
    listed = inputs.classifier.predict(inputs.clips[:20], inputs.words[:20])
    return {"pairs": part(plain([*listed, *inputs.classifier.predict_iter(items)]), BATCHED)}


def long(inputs: Inputs) -> dict[str, Any]:
    predict, recording = inputs.classifier.predict, inputs.recording(180)
    options = {"sampling_rate": SAMPLING_RATE, "modalities": "audio"}
    return {
        "long_alone": part(plain(predict(recording, batch_size=1, **options)), ALONE),
        "long_list": part(plain(predict(recording, **options)), BATCHED),
        "long_whisper": part(plain(predict(inputs.recording(40), sampling_rate=SAMPLING_RATE)), BATCHED),
    }


def split(inputs: Inputs) -> dict[str, Any]:
    from multimodal_ser import load_audio

    sides = [load_audio(clip) for clip in inputs.clips[:2]]
    length = min(map(len, sides))
    stereo = np.stack([side[:length] for side in sides])
    options = {"sampling_rate": SAMPLING_RATE, "channels": "split", "modalities": "audio"}
    return {"split": part(plain(inputs.classifier.predict(stereo, **options)), BATCHED)}


def embeddings(inputs: Inputs) -> dict[str, Any]:
    from multimodal_ser import embed

    def vectors(**options: Any) -> list[list[float]]:
        clips = embed(inputs.classifier, inputs.clips[:20], modalities="audio", **options)
        words = embed(inputs.classifier, [{"text": text} for text in inputs.texts[:10]], **options)
        return [vector.tolist() for vector in (*clips, *words)]

    return {
        "embeddings_alone": part(vectors(batch_size=1), ALONE, relative=True),
        "embeddings_list": part(vectors(), BATCHED, relative=True),
    }


def enrolled(classifier: Any, inputs: Inputs) -> tuple[list[list[float]], Any]:
    """The profile of a speaker, and what it makes of others of their clips."""
    profile = classifier.enroll(inputs.enrolled)
    return profile.hidden_mean.tolist(), plain(classifier.predict(inputs.spoken, modalities="audio", speaker=profile))


def speaker(inputs: Inputs) -> dict[str, Any]:
    profile, predictions = enrolled(inputs.classifier, inputs)
    return {"speaker_profile": part(profile, ALONE, relative=True), "speaker": part(predictions, BATCHED)}


def exported(inputs: Inputs, *options: str) -> tuple[Any, dict[str, Any]]:
    """The shipped checkpoint as ONNX, and what that predicts."""
    from multimodal_ser import OnnxEmotionClassifier

    folder = inputs.work / "-".join(["onnx", *options])
    command = [sys.executable, "-m", "multimodal_ser.cli", "export", "onnx", "--output-dir", str(folder), *options]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(f"export onnx: {(process.stderr.strip().splitlines() or ['no message'])[-1]}")
    classifier = OnnxEmotionClassifier.from_pretrained(folder)
    answers = {
        "audio": plain(classifier.predict(inputs.clips[:20], modalities="audio")),
        "texts": plain(classifier.predict(text=inputs.texts[:10])),
        "pairs": plain(classifier.predict(inputs.clips[:5], inputs.words[:5])),
    }
    return classifier, answers


def onnx(inputs: Inputs) -> dict[str, Any]:
    classifier, answers = exported(inputs)
    profile, answers["speaker"] = enrolled(classifier, inputs)
    return {"onnx": part(answers, BATCHED), "onnx_profile": part(profile, BATCHED, relative=True)}


def onnx_int8(inputs: Inputs) -> dict[str, Any]:
    return {"onnx_int8": part(exported(inputs, "--int8", "--modalities", "both")[1], BATCHED)}


def pipeline_answers(inputs: Inputs, items: list[Any]) -> list[Any]:
    from transformers import pipeline

    pipe = pipeline("speech-emotion-recognition", model=inputs.classifier)
    ranked = [pipe(item) for item in items]
    return [
        {"label": answer[0]["label"], "scores": {row["label"]: row["score"] for row in answer}} for answer in ranked
    ]


def pipeline(inputs: Inputs) -> dict[str, Any]:
    items = [*inputs.clips[:10], *({"text": text} for text in inputs.texts[:5])]
    return {"pipeline": part(pipeline_answers(inputs, items), ALONE)}


def pipeline_long(inputs: Inputs) -> dict[str, Any]:
    recording = {"array": inputs.recording(70), "sampling_rate": SAMPLING_RATE}
    return {"pipeline_long": part(pipeline_answers(inputs, [recording]), None)}


def calibrate(inputs: Inputs) -> dict[str, Any]:
    fit = public("calibrate", "multimodal_ser.evaluation.calibration")
    read_manifest = public("read_manifest", "multimodal_ser.corpora")
    classifier = inputs.new_classifier()  # its configuration is changed
    report = fit(classifier, read_manifest(inputs.manifest("calibrate.csv", 40)).rows, modalities=["audio"])
    config = {"temperature": classifier.config.temperature, "conformal": classifier.config.conformal}
    return {"calibrate": part(numbers({"report": report, "config": config}), BATCHED)}


def evaluate(inputs: Inputs) -> dict[str, Any]:
    measure = public("evaluate", "multimodal_ser.evaluation")
    arguments = public("EvaluationArguments", "multimodal_ser.evaluation")
    folder = inputs.work / "evaluation"
    measure(arguments(data=[str(inputs.manifest("evaluate.csv", 30))], output_dir=str(folder), device="cpu"))
    return {"evaluate": part(numbers(json.loads((folder / "report.json").read_text(encoding="utf-8"))), BATCHED)}


SECTIONS: dict[str, Callable[[Inputs], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        *(audio, audio_list, both, texts, pairs, long, split, embeddings, speaker, onnx, onnx_int8),
        *(pipeline, pipeline_long, calibrate, evaluate),
    )
}


def write_answers(output: Path, data: Path, names: list[str]) -> None:
    """The worker: answer each section with the library in the current folder; the file is complete up to the last section."""
    import multimodal_ser

    if not Path(multimodal_ser.__file__).resolve().is_relative_to(Path.cwd().resolve()):
        sys.exit(f"multimodal_ser: expected the one in {Path.cwd()}, got {multimodal_ser.__file__}")
    sections: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        inputs = Inputs(data, Path(work))
        for name in names:
            began = time.monotonic()
            try:
                sections[name] = {"parts": SECTIONS[name](inputs)}
            except Exception as error:  # one that fails is reported, the others go on
                traceback.print_exc()
                sections[name] = {"error": one_line(error)}
            sections[name]["seconds"] = round(time.monotonic() - began, 1)
            print(f"  {name}: {sections[name].get('error', 'done')}, {sections[name]['seconds']} s", flush=True)
            output.write_text(json.dumps(sections), encoding="utf-8")


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each string, number and list of numbers of an answer, with its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{place}/{key}")
    elif isinstance(value, list) and not (value and all(map(is_number, value))):
        yield f"{place}/length", str(len(value))
        for position, inner in enumerate(value):
            yield from leaves(inner, f"{place}/{position}")
    else:
        yield place, np.array(value, dtype=float) if isinstance(value, list) or is_number(value) else str(value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def compare_part(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """How far two answers to the same question are apart."""
    left, right = dict(leaves(before["answers"])), dict(leaves(after["answers"]))
    count, absolute, relative, differ = 0, 0.0, 0.0, []
    for place in sorted(left.keys() | right.keys()):
        one, other = left.get(place, "(nothing there)"), right.get(place, "(nothing there)")
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.shape == other.shape:
            distance = float(np.abs(one - other).max())
            count += one.size
            absolute, relative = max(absolute, distance), max(relative, distance / max(float(np.abs(one).max()), 1e-30))
        elif not isinstance(one, str) or not isinstance(other, str) or one != other:
            differ.append({"place": place, "before": str(one)[:200], "after": str(other)[:200]})
    limit, judged = before["limit"], relative if before["relative"] else absolute
    return {
        "count": count, "largest_difference": absolute, "largest_relative": relative if before["relative"] else None,
        "strings": sum(isinstance(value, str) for value in left.values()), "strings_differ": differ,
        "limit": limit, "within": None if limit is None else judged <= limit and not differ,
    }  # fmt: skip


def compare(before: dict[str, Any], after: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """All parts of all sections; a section that failed in one of the commits is outside."""
    results: dict[str, Any] = {}
    for name in names:
        sides = {side: answers.get(name) or {"error": GONE} for side, answers in (("before", before), ("after", after))}
        errors = {side: section["error"] for side, section in sides.items() if "error" in section}
        if errors:
            results[name] = {"errors": errors, "within": None if name == "pipeline_long" else False}
            continue
        for title, answers in before[name]["parts"].items():
            results[title] = compare_part(answers, after[name]["parts"][title])
    return results


def table(results: dict[str, Any]) -> str:
    heads = zip(("numbers", "largest", "relative", "strings", "differ", "limit"), (9, 11, 11, 9, 8, 8), strict=True)
    lines = [f"{'section':<18}" + "".join(f"{head:>{width}}" for head, width in heads) + "  within"]
    for name, row in results.items():
        verdict = {True: "yes", False: "NO", None: "not judged"}[row["within"]]
        if "errors" in row:
            lines += [f"{name:<18}{verdict}, {side}: {error}" for side, error in row["errors"].items()]
            continue
        relative = "" if row["largest_relative"] is None else f"{row['largest_relative']:.1e}"
        limit = "" if row["limit"] is None else f"{row['limit']:.0e}"
        lines.append(
            f"{name:<18}{row['count']:>9}{row['largest_difference']:>11.1e}{relative:>11}{row['strings']:>9}"
            f"{len(row['strings_differ']):>8}{limit:>8}  {verdict}"
        )
        lines += [f"    {each['place']}: {each['before']} -> {each['after']}" for each in row["strings_differ"][:5]]
    return "\n".join(lines)


def git(*command: str) -> str:
    process = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"compare_answers: git {' '.join(command)}: {process.stderr.strip()}")
    return process.stdout.strip()


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """A commit checked out into a temporary folder, which is removed whatever happens."""
    with tempfile.TemporaryDirectory(prefix="compare_answers_") as parent:
        folder = Path(parent) / "tree"
        try:
            git("worktree", "add", "--detach", str(folder), commit)
            yield folder
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder)], capture_output=True)


def answers_of(tree: Path, data: Path, names: list[str]) -> dict[str, Any]:
    """Run the worker on a tree, with this interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder) / "answers.json", Path(folder) / "stderr.txt"
        options = ["--answer", str(output), "--data", str(data), "--only", *names]
        command = [sys.executable, str(Path(__file__).resolve()), "-", *options]
        with open(log, "w", encoding="utf-8") as errors:
            environment = os.environ | CONDITIONS | {"PYTHONPATH": str(tree)}
            process = subprocess.run(command, cwd=tree, env=environment, stderr=errors)
        answers = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
        if process.returncode or any("error" in section for section in answers.values()):
            print("\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]), file=sys.stderr)
    return answers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", metavar="BEFORE", help="commit")
    parser.add_argument("after", metavar="AFTER", nargs="?", help="commit (default: the working tree as it is)")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="NAME", help=f"some of {', '.join(SECTIONS)}")
    parser.add_argument("--data", default=os.environ.get("MULTIMODAL_SER_DATA"), help="default: MULTIMODAL_SER_DATA")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file of the results")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.data or not Path(args.data).is_dir():
        folder = args.data or "neither"
        sys.exit(f"compare_answers: expected --data or MULTIMODAL_SER_DATA, a folder of corpora, got {folder}")
    data, names = Path(args.data).resolve(), list(args.only or SECTIONS)
    if args.answer:
        write_answers(args.answer, data, names)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that worktrees are removed then too
    commits = {"before": git("rev-parse", "--verify", f"{args.before}^{{commit}}")}
    commits["after"] = git("rev-parse", "--verify", f"{args.after or 'HEAD'}^{{commit}}")
    changed = not args.after and bool(git("status", "--porcelain"))
    answers, seconds = {}, {}
    for side, commit in commits.items():
        with ExitStack() as stack:
            tree = ROOT if side == "after" and not args.after else stack.enter_context(worktree(commit))
            print(f"{side}: {commit[:12]}{' with changes' if side == 'after' and changed else ''}", flush=True)
            began = time.monotonic()
            answers[side] = answers_of(tree, data, names)
            seconds[side] = round(time.monotonic() - began, 1)
    results = compare(answers["before"], answers["after"], names)
    print(table(results))
    if args.output:
        about = {
            "before": commits["before"], "after": commits["after"], "after_is_changed_working_tree": changed,
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            "conditions": CONDITIONS | {"device": "cpu", "dtype": "float32", "seed": SEED, "machine": platform.machine()},
            "seconds": seconds, "sections": results,
        }  # fmt: skip
        args.output.write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return int(any(row["within"] is False for row in results.values()))


if __name__ == "__main__":
    sys.exit(main())
