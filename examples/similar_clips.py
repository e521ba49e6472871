"""Search recordings by how they sound: the neighbours of a clip among embeddings, and how often neighbours share an emotion.

python examples/similar_clips.py clips/ --query call.wav        (clips/happy/*.wav, ... or a manifest)
python examples/similar_clips.py clips/                         (the check: neighbours of each clip among other speakers' clips)

In the check a clip is given the emotion that most of its neighbours have; none of them is of its own speaker, since voices resemble
themselves. What it gives on the speakers of a corpus that the checkpoint learned from says little: name others with `--speakers`.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from multimodal_ser import EmotionEmbeddings
from multimodal_ser.corpora import read_manifest
from multimodal_ser.metrics import scores


def main(
    data: str, query: str | None, neighbours: int, model: str | None, modalities: str, speakers: list[str]
) -> float | None:
    rows = [row for row in read_manifest(data).rows if row.label and (not speakers or row.speaker in speakers)]
    embeddings = EmotionEmbeddings(model, modalities=modalities, whisper=None, on_error="nan")
    vectors = embeddings.fit_transform([(row.path, row.text) for row in rows])
    print(*embeddings.errors_.values(), sep="\n", end="\n" * bool(embeddings.errors_))
    good = ~np.isnan(vectors).any(1)
    rows, vectors = [row for row, there in zip(rows, good, strict=True) if there], vectors[good]
    if query is not None:
        index = NearestNeighbors(n_neighbors=min(neighbours, len(rows)), metric="cosine").fit(vectors)
        [distances], [found] = index.kneighbors(embeddings.set_params(on_error="raise").transform([query]))
        for distance, row in zip(distances, found, strict=True):
            print(f"{distance:.3f} {rows[row].label:12} {rows[row].name}")
        return None
    names, truth = np.unique([row.label for row in rows], return_inverse=True)
    voices = np.array([row.speaker or row.name for row in rows])
    guessed = np.empty_like(truth)
    for voice in np.unique(voices):
        others = voices != voice
        nearest = KNeighborsClassifier(min(neighbours, int(others.sum())), metric="cosine").fit(
            vectors[others], truth[others]
        )
        guessed[~others] = nearest.predict(vectors[~others])
    ua = scores(truth, guessed, len(names))["ua"]
    print(
        f"{len(rows)} clips, {len(set(voices))} speakers, {neighbours} neighbours of other speakers: UA {100 * ua:.1f}, ",
        end="",
    )
    print(f"chance {100 / len(names):.1f}")
    return ua


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a folder per emotion, or a manifest")
    parser.add_argument("--query", help="recording whose neighbours are wanted")
    parser.add_argument("--neighbours", type=int, default=5)
    parser.add_argument("--model", help="checkpoint (default: the one that ships in the package)")
    parser.add_argument("--modalities", default="audio", choices=["audio", "text", "both", "auto"])
    parser.add_argument("--speakers", nargs="*", default=[], help="of these alone")
    main(**vars(parser.parse_args()))
