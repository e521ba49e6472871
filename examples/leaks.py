"""How much a leaking split flatters: the same baseline on RAVDESS, once with clips drawn at random, once with whole speakers held out.

python examples/leaks.py RAVDESS                    (the folder it was unpacked into, or one with a manifest.csv)
python examples/leaks.py RAVDESS --folds 1 2 3 4 5 --baseline mfcc-svm

Both splits learn from as many clips and test on as many, of all emotions. In the random one each voice of the test was heard in training:
its figure is what many notebooks print, and not what a new speaker gets.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from multimodal_ser.corpora import read_manifest
from multimodal_ser.corpora.splits import EMOBOX_RAVDESS_FOLDS
from multimodal_ser.evaluation.baselines import BASELINES, make_baseline
from multimodal_ser.metrics import unweighted_average_recall


def rows_of(folder: Path) -> list:
    """Rows of the folder's own manifest, or what the names of its files say."""
    if (folder / "manifest.csv").exists():
        return list(read_manifest(folder).rows)
    from multimodal_ser.corpora.registry import read_corpus

    return list(read_corpus("ravdess", folder).rows)


def main(data: Path, baseline: str, folds: list[int], seed: int, cache_dir: str | None) -> None:
    rows = [row for row in rows_of(data) if row.label is not None]
    labels = sorted({row.label for row in rows})
    classes = np.array([labels.index(row.label) for row in rows])
    found: dict[str, list[float]] = {"random": [], "speaker-disjoint": []}
    for fold in folds:
        actors = EMOBOX_RAVDESS_FOLDS[fold]
        disjoint = [index for index, row in enumerate(rows) if row.speaker[-2:] in actors]
        drawn = sorted(random.Random(1000 * seed + fold).sample(range(len(rows)), len(disjoint)))
        for split, test in (("random", drawn), ("speaker-disjoint", disjoint)):
            train = sorted(set(range(len(rows))) - set(test))
            model = make_baseline(baseline, labels, seed=seed, cache_dir=cache_dir).fit(
                [rows[index] for index in train]
            )
            answers = model.predict_proba([rows[index] for index in test]).argmax(1)
            found[split].append(unweighted_average_recall(classes[test], answers))
            voices = len({rows[index].speaker for index in test} & {rows[index].speaker for index in train})
            told = f"{len(train)} clips learned, {len(test)} tested, {voices} voices in both"
            print(f"fold {fold}, {split}: UA {100 * found[split][-1]:.1f} ({told})")
    for split, values in found.items():
        print(f"{baseline}, {split} split: UA {100 * np.mean(values):.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="RAVDESS")
    parser.add_argument(
        "--baseline",
        default="mfcc-lstm",
        choices=[name for name, kind in BASELINES.items() if kind.modality == "audio"],
    )
    parser.add_argument("--folds", type=int, nargs="+", default=[5], choices=EMOBOX_RAVDESS_FOLDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache-dir", help="folder in which features are kept")
    main(**vars(parser.parse_args()))
