"""Do the ONNX graphs give the labels that the model gives, and how fast: on real recordings of speakers that it was not trained on.

    MULTIMODAL_SER_DATA=DATA OMP_NUM_THREADS=1 python benchmarks/onnx_labels.py --output-dir benchmarks/results

Everything goes through `predict`, as a user would call it, an input at a time: all clips of RAVDESS actors 02, 15, 16, 18, of EmoDB speaker
16 and of nEMO speaker WR0, audio alone, and audio with the words of the manifest, in whatever language; and the words alone, each sentence
of the manifests once, with 1000 texts of GoEmotions. Speed is measured on the same inputs in the same run, the three one after the other
on each, so that what else the machine does meets all of them; ratios are of the medians. Writes `onnx_labels.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from multimodal_ser import MultimodalEmotionClassifier, load_audio
from multimodal_ser.export.onnx_export import export_onnx, quantise
from multimodal_ser.export.onnx_runtime import OnnxEmotionClassifier
from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT

SPEAKERS = {
    "ravdess": ("ravdess_02", "ravdess_15", "ravdess_16", "ravdess_18"),
    "emodb": ("emodb_16",),
    "nemo": ("nemo_WR0",),
}
TEXTS = 1000


def inputs(data: Path) -> dict[str, list[tuple[str, dict]]]:
    """By modality case: which corpus, and what `predict` is given."""
    clips = []
    for corpus, speakers in SPEAKERS.items():
        with open(data / corpus / "manifest.csv", newline="", encoding="utf-8") as file:
            clips += [
                (corpus, data / corpus / row["path"], row["text"])
                for row in csv.DictReader(file)
                if row["speaker"] in speakers
            ]
    with open(data / "text" / "goemotions_ekman.csv", newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file) if row["split"] == "dev" and row["text"].strip()][:TEXTS]
    return {
        "audio": [(corpus, {"audio": path}) for corpus, path, _ in clips],
        "both": [(corpus, {"audio": path, "text": text}) for corpus, path, text in clips],
        "text": [
            (corpus, {"text": text}) for corpus, text in dict.fromkeys((corpus, text) for corpus, _, text in clips)
        ]
        + [("goemotions", {"text": text}) for text in texts],
    }


def compared(predictions: dict[str, list]) -> dict[str, dict[str, float]]:
    """Of each form against torch: the share of labels that agree, in %, and the largest difference of a probability."""
    wanted = predictions["torch"]
    table = {}
    for name in ("onnx fp32", "onnx int8"):
        pairs = list(zip(wanted, predictions[name], strict=True))
        differences = [
            abs(a.probabilities[label] - b.probabilities[label]) for a, b in pairs for label in a.probabilities
        ]
        table[name] = {
            "inputs": len(pairs),
            "other_labels": sum(a.label != b.label for a, b in pairs),
            "same_label_percent": round(100 * float(np.mean([a.label == b.label for a, b in pairs])), 2),
            "largest_difference": float(f"{max(differences):.2g}"),
            "mean_difference": float(f"{np.mean(differences):.2g}"),
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or Hub id (default: the checkpoint that ships)")
    parser.add_argument("--output-dir", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    torch.set_num_threads(threads)
    classifier = MultimodalEmotionClassifier.from_pretrained(args.model, whisper=None)
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(classifier, folder)
        for path in list(Path(folder).glob("model*.onnx")):
            quantise(path)
        megabytes = {
            path.name: round(path.stat().st_size / 1e6, 1) for path in sorted(Path(folder).glob("model*.onnx"))
        }
        runs = {
            "torch": classifier,
            "onnx fp32": OnnxEmotionClassifier.from_pretrained(folder, int8=False, whisper=None, threads=threads),
            "onnx int8": OnnxEmotionClassifier.from_pretrained(folder, int8=True, whisper=None, threads=threads),
        }
    load_before, results = os.getloadavg()[0], {}
    for case, given in inputs(Path(os.environ["MULTIMODAL_SER_DATA"])).items():
        predictions: dict[str, list] = {name: [] for name in runs}
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _, item in given:
            options = dict(item)
            if "audio" in item:
                options |= {"audio": load_audio(item["audio"]), "sampling_rate": 16_000}
            for name, run in runs.items():
                began = time.perf_counter()
                predictions[name].append(run.predict(**options, modalities=case))
                seconds[name].append(time.perf_counter() - began)
        median = {name: statistics.median(values) for name, values in seconds.items()}
        corpora = [corpus for corpus, _ in given]
        results[case] = {
            **compared(predictions),
            "by_corpus": {
                corpus: compared(
                    {
                        name: [p for p, of in zip(values, corpora, strict=True) if of == corpus]
                        for name, values in predictions.items()
                    }
                )
                for corpus in dict.fromkeys(corpora)
            },
            "milliseconds_an_input": {name: round(1000 * value, 1) for name, value in median.items()},
            "times_as_fast_as_torch": {name: round(median["torch"] / value, 2) for name, value in median.items()},
        }
    weights = SHIPPED_CHECKPOINT if args.model is None else Path(args.model)
    result = {
        "command": "python benchmarks/onnx_labels.py",
        "speakers": [name for speakers in SPEAKERS.values() for name in speakers],
        "threads": threads,
        "load_of_the_machine": {
            "before": round(load_before, 2),
            "after": round(os.getloadavg()[0], 2),
            "cores": os.cpu_count(),
        },
        "processor_capability": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: version(name) for name in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")}
        | {"python": platform.python_version()},
        "megabytes": megabytes
        | {path.name: round(path.stat().st_size / 1e6, 1) for path in sorted(weights.glob("*.safetensors"))},
        **results,
    }
    print(json.dumps(result, indent=2))
    args.output_dir.mkdir(parents=True, exist_ok=True)
    (args.output_dir / "onnx_labels.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
