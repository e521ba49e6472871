"""Measure the shipped checkpoint on speakers and texts that it was not trained on.

    MULTIMODAL_SER_DATA=DATA python benchmarks/measure_shipped.py --output-dir benchmarks/results

Writes `shipped.json` (figures, command, versions, hashes of data and weights) and `confusion.png`. Everything goes through `predict`,
as a user would call it: whole clips, argmax over all nine labels unless a figure says otherwise.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import sys
import time
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score, recall_score

from multimodal_ser import MultimodalEmotionClassifier, __version__
from multimodal_ser.evaluation import plot_confusion_matrix
from multimodal_ser.labels import EKMAN, canonical_emotion
from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "shipped_checkpoint"))
from data import UNSEEN_SPEAKERS

PAIRS, PAIR_SEED = 1000, 20261123


def unseen_clips(data: Path, corpus: str) -> list[dict[str, str]]:
    with open(data / corpus / "manifest.csv", newline="", encoding="utf-8") as file:
        return [
            row | {"path": str(data / corpus / row["path"])}
            for row in csv.DictReader(file)
            if row["speaker"] in UNSEEN_SPEAKERS
        ]


def single_label_texts(data: Path) -> tuple[list[str], list[str]]:
    """The GoEmotions dev texts with one emotion, and these emotions."""
    with open(data / "text" / "goemotions_ekman.csv", newline="", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["split"] == "dev" and "|" not in row["emotion"] and row["text"].strip()
        ]
    return [row["text"] for row in rows], [canonical_emotion(row["emotion"]) for row in rows]


def unweighted_average_recall(references: list[str], predictions: list[str]) -> float:
    """Mean recall over the emotions that are annotated, %."""
    return round(
        100 * recall_score(references, predictions, labels=sorted(set(references)), average="macro", zero_division=0), 2
    )


def labels_of(predictions: list) -> list[str]:
    return [prediction.label for prediction in predictions]


def ravdess(classifier: MultimodalEmotionClassifier, data: Path) -> tuple[dict, list[str], list[str]]:
    """The four unseen actors: audio alone, and the default mode, in which Whisper listens too."""
    clips = unseen_clips(data, "ravdess")
    paths, emotions = [clip["path"] for clip in clips], [clip["emotion"] for clip in clips]
    audio = classifier.predict(paths, modalities="audio")
    began = time.monotonic()
    default = classifier.predict(paths)
    seconds = time.monotonic() - began
    given = classifier.predict(paths, text=[clip["text"] for clip in clips])
    silenced = Counter("+".join(prediction.modalities) for prediction in default)
    return (
        {
            "clips": len(clips),
            "speakers": sorted({clip["speaker"] for clip in clips}),
            "ua_audio_alone": unweighted_average_recall(emotions, labels_of(audio)),
            "ua_default_whisper_and_audio": unweighted_average_recall(emotions, labels_of(default)),
            "ua_given_transcript_and_audio": unweighted_average_recall(emotions, labels_of(given)),
            "recall_audio_alone": {
                name: round(
                    100 * np.mean([p.label == name for p, e in zip(audio, emotions, strict=True) if e == name]), 1
                )
                for name in sorted(set(emotions))
            },
            "ua_audio_alone_by_speaker": {
                speaker: unweighted_average_recall(
                    [e for e, c in zip(emotions, clips, strict=True) if c["speaker"] == speaker],
                    [p.label for p, c in zip(audio, clips, strict=True) if c["speaker"] == speaker],
                )
                for speaker in sorted({clip["speaker"] for clip in clips})
            },
            "modalities_used_by_default": dict(silenced),
            "seconds_default": round(seconds, 1),
        },
        emotions,
        labels_of(audio),
    )


def known_speakers(classifier: MultimodalEmotionClassifier, data: Path, enrolled: int = 8, draws: int = 3) -> dict:
    """Audio alone, each speaker enrolled from a few unlabelled clips, which are not tested."""
    generator = np.random.default_rng(PAIR_SEED)
    by_speaker: dict[str, list[dict[str, str]]] = defaultdict(list)
    for clip in unseen_clips(data, "ravdess"):
        by_speaker[clip["speaker"]].append(clip)
    known, unknown = [], []
    for _ in range(draws):
        tested, answers, without = [], [], []
        for clips in by_speaker.values():
            order = generator.permutation(len(clips))
            profile = classifier.enroll([clips[i]["path"] for i in order[:enrolled]])
            rest = [clips[i] for i in order[enrolled:]]
            paths = [clip["path"] for clip in rest]
            tested += [clip["emotion"] for clip in rest]
            answers += labels_of(classifier.predict(paths, modalities="audio", speaker=profile))
            without += labels_of(classifier.predict(paths, modalities="audio"))
        known.append(unweighted_average_recall(tested, answers))
        unknown.append(unweighted_average_recall(tested, without))
    return {
        "enrolled_clips": enrolled,
        "draws": draws,
        "ua_audio_alone_speaker_known": round(float(np.mean(known)), 2),
        "ua_audio_alone_speaker_unknown": round(float(np.mean(unknown)), 2),
    }


def other_corpus(classifier: MultimodalEmotionClassifier, data: Path, corpus: str) -> dict:
    clips = unseen_clips(data, corpus)
    predictions = classifier.predict([clip["path"] for clip in clips], modalities="audio")
    return {
        "clips": len(clips),
        "speakers": sorted({clip["speaker"] for clip in clips}),
        "ua_audio_alone": unweighted_average_recall([clip["emotion"] for clip in clips], labels_of(predictions)),
    }


def goemotions(classifier: MultimodalEmotionClassifier, data: Path) -> dict:
    texts, emotions = single_label_texts(data)
    predictions = labels_of(classifier.predict(text=texts, label_set="ekman", batch_size=32))
    return {
        "texts": len(texts),
        "macro_f1_text_alone": round(100 * f1_score(emotions, predictions, labels=list(EKMAN), average="macro"), 2),
        "ua_text_alone": unweighted_average_recall(emotions, predictions),
        "accuracy_text_alone": round(100 * float(np.mean(np.array(emotions) == np.array(predictions))), 2),
    }


def pairs(classifier: MultimodalEmotionClassifier, data: Path) -> dict:
    """Clips of the unseen actors with GoEmotions dev texts of the same emotion, seven classes (calm clips left out)."""
    generator = np.random.default_rng(PAIR_SEED)
    clips = [clip for clip in unseen_clips(data, "ravdess") if clip["emotion"] in EKMAN]
    by_emotion: dict[str, list[str]] = defaultdict(list)
    for text, emotion in zip(*single_label_texts(data), strict=True):
        by_emotion[emotion].append(text)
    drawn = [clips[i] for i in generator.integers(len(clips), size=PAIRS)]
    words = [by_emotion[clip["emotion"]][generator.integers(len(by_emotion[clip["emotion"]]))] for clip in drawn]
    paths, emotions = [clip["path"] for clip in drawn], [clip["emotion"] for clip in drawn]

    def probabilities(predictions: list) -> np.ndarray:
        return np.array([[prediction.probabilities[name] for name in EKMAN] for prediction in predictions])

    answers = {
        "audio_alone": probabilities(classifier.predict(paths, modalities="audio", label_set="ekman")),
        "text_alone": probabilities(classifier.predict(text=words, label_set="ekman", batch_size=32)),
        "both": probabilities(classifier.predict(paths, text=words, label_set="ekman")),
    }
    answers["late_product"] = answers["audio_alone"] * answers["text_alone"]
    names = {name: [EKMAN[i] for i in answer.argmax(1)] for name, answer in answers.items()}
    wanted = np.array(emotions)
    resampled: dict[str, list[float]] = defaultdict(list)
    for _ in range(1000):  # pairs are drawn anew from these, not other speakers
        rows = generator.integers(PAIRS, size=PAIRS)
        uas = {
            name: recall_score(wanted[rows], np.array(found)[rows], average="macro") for name, found in names.items()
        }
        resampled["both"].append(uas["both"])
        resampled["both_minus_better_single"].append(uas["both"] - max(uas["audio_alone"], uas["text_alone"]))
        resampled["both_minus_late_product"].append(uas["both"] - uas["late_product"])
    return {
        "pairs": PAIRS,
        "seed": PAIR_SEED,
        "ua": {name: unweighted_average_recall(emotions, predicted) for name, predicted in names.items()},
        "accuracy": {
            name: round(100 * float(np.mean(np.array(predicted) == emotions)), 2) for name, predicted in names.items()
        },
        "ua_bootstrap_95": {
            name: [round(100 * float(q), 2) for q in np.quantile(v, (0.025, 0.975))] for name, v in resampled.items()
        },
    }


def shuffled_words(classifier: MultimodalEmotionClassifier, data: Path, count: int = 200) -> dict:
    """What becomes of the answers when the cross-attention's keys keep their words in order and its values do not.

    Pooling and weights stay as they are, so that any change shows that frames use *which* word they attend to.
    """
    generator = np.random.default_rng(PAIR_SEED)
    clips = [clip for clip in unseen_clips(data, "ravdess") if clip["emotion"] in EKMAN]
    texts, _ = single_label_texts(data)
    texts = [text for text in texts if len(text.split()) >= 6]
    chosen = [clips[i]["path"] for i in generator.integers(len(clips), size=count)]
    words = [texts[i] for i in generator.integers(len(texts), size=count)]
    projections = [layer.audio_to_text.v_proj for layer in classifier.model.fusion_layers]
    shares: list[float] = []

    def look(_module: torch.nn.Module, _inputs: tuple, values: torch.Tensor) -> None:
        shares.append((values.var(1).mean() / values.square().mean()).item())

    hooks = [projection.register_forward_hook(look) for projection in projections]
    before = classifier.predict(chosen, text=words, batch_size=1)
    for hook in hooks:
        hook.remove()

    def shuffle(_module: torch.nn.Module, _inputs: tuple, values: torch.Tensor) -> torch.Tensor:
        order = torch.randperm(values.shape[1], generator=torch.Generator().manual_seed(PAIR_SEED))
        return values[:, order]

    hooks = [projection.register_forward_hook(shuffle) for projection in projections]
    after = classifier.predict(chosen, text=words, batch_size=1)
    for hook in hooks:
        hook.remove()
    moved = [
        sum(abs(a.probabilities[n] - b.probabilities[n]) for n in a.probabilities) / 2
        for a, b in zip(before, after, strict=True)
    ]
    return {
        "inputs": count,
        "mean_total_variation": round(float(np.mean(moved)), 4),
        "largest_total_variation": round(float(np.max(moved)), 4),
        "labels_changed": int(sum(a.label != b.label for a, b in zip(before, after, strict=True))),
        "share_of_value_variance_between_words": round(float(np.mean(shares)), 3),
    }


def digest(paths: list[Path]) -> str:
    combined = hashlib.sha256()
    for path in sorted(paths):
        combined.update(path.read_bytes())
    return combined.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="checkpoint (default: the one that ships in the package)")
    parser.add_argument(
        "--whisper", default="auto", help="name or path of the Whisper of the default mode (default: what is found)"
    )
    parser.add_argument("--output-dir", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    if not os.environ.get("MULTIMODAL_SER_DATA"):
        parser.error("MULTIMODAL_SER_DATA: expected the folder of the corpora (docs/data.md), got nothing; set it")
    data = Path(os.environ["MULTIMODAL_SER_DATA"])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    classifier = MultimodalEmotionClassifier.from_pretrained(args.model, whisper=args.whisper)
    folder = Path(args.model or SHIPPED_CHECKPOINT)
    result: dict = {
        "command": "python benchmarks/measure_shipped.py",
        "versions": {name: version(name) for name in ("torch", "transformers", "faster-whisper")}
        | {"multimodal_ser": __version__, "python": platform.python_version()},
        "weights": digest([folder / "model.safetensors"]),
        "data": digest(
            [data / corpus / "manifest.csv" for corpus in ("ravdess", "emodb", "nemo")]
            + [data / "text" / "goemotions_ekman.csv"]
        ),
        "megabytes": round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6, 2),
        "parameters": sum(p.numel() for p in classifier.parameters()),
    }
    result["ravdess"], emotions, predicted = ravdess(classifier, data)
    print(json.dumps(result["ravdess"], indent=1), flush=True)
    for corpus in ("emodb", "nemo"):
        result[corpus] = other_corpus(classifier, data, corpus)
        print(corpus, json.dumps(result[corpus]), flush=True)
    for name, measure in (
        ("known_speakers", known_speakers),
        ("goemotions", goemotions),
        ("pairs", pairs),
        ("shuffled_words", shuffled_words),
    ):
        result[name] = measure(classifier, data)
        print(name, json.dumps(result[name]), flush=True)
    result["whisper"] = classifier.transcriber.weights.name if classifier.transcriber is not None else None
    args.output_dir.mkdir(parents=True, exist_ok=True)
    (args.output_dir / "shipped.json").write_text(
        json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    ax = plot_confusion_matrix(
        emotions, predicted, classifier.labels, title="Audio alone, four unseen actors (RAVDESS), % of a row"
    )
    ax.figure.savefig(args.output_dir / "confusion.png", dpi=110)


if __name__ == "__main__":
    main()
