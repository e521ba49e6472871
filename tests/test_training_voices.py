"""Clips in other voices, clips against their speaker's mean: what is done to cached hidden states, and a run that learns so."""

import csv

import numpy as np
import pytest
import soundfile as sf
import torch

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import read_manifest
from multimodal_ser.corpora.clips import examine
from multimodal_ser.corpora.targets import Targets
from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech, tiny_model
from multimodal_ser.training import TrainingArguments, train
from multimodal_ser.training.cache import EmbeddingCache
from multimodal_ser.training.data import ClipData
from multimodal_ser.training.initialization import audio_states
from multimodal_ser.training.speaker_augmentation import Voices


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion", "speaker"])
        for index in range(18):
            sf.write(folder / f"{index}.wav", synthetic_speech(0.5, seed=index, pitch=110 + 60 * (index % 3)), 16_000)
            writer.writerow([f"{index}.wav", ("anger", "sadness")[index % 2], f"speaker_{index % 3}"])
    return folder / "manifest.csv"


def data_with(manifest, folder, **options):
    model = tiny_model(labels=("anger", "sadness"))
    args = TrainingArguments(data=[str(manifest)], **options)
    clips, _ = examine(read_manifest(manifest).rows)
    data = ClipData(clips, Targets.of(clips, ["anger", "sadness"], ()), model.processor, args, seed=3, training=True)
    cache = EmbeddingCache(folder, branch="0" * 64, dtype="float32")
    states = [audio_states(model, data, [(row, 0)], torch.device("cpu"))[0] for row in range(len(clips))]
    data.audio_cache = cache
    for row, state in enumerate(states):
        cache.put(data.audio_key(row, 0), state)
    return data, states


def test_a_shifted_clip_moves_from_its_speakers_mean_towards_anothers(manifest, tmp_path):
    data, states = data_with(manifest, tmp_path, voice_shift=1.0)
    plain = data.batch(range(18), 0)["audio_hidden_states"]
    data.voices = Voices(data)
    batch = data.batch(range(18), 0)
    assert "speaker_mean" not in batch
    moved = batch["audio_hidden_states"] - plain
    mask = batch["audio_attention_mask"].bool()
    assert not moved.transpose(1, 2)[~mask].any()  # padding stays zeros
    for row in range(18):
        shift = moved[row][:, mask[row]]
        torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), atol=1e-5, rtol=0)  # the same at every frame
    means = {s: torch.stack([states[r].mean(1) for r in range(18) if r % 3 == s]).mean(0) for s in range(3)}
    along = 0
    for row in range(18):
        shift = moved[row][:, 0]
        directions = [means[other] - means[row % 3] for other in range(3) if other != row % 3]
        shares = [float((shift * d).sum() / d.square().sum()) for d in directions]
        fits = [float((shift - share * d).norm() / d.norm()) for share, d in zip(shares, directions, strict=True)]
        along += min(fits) < 1e-3 and all(
            -1e-3 <= share <= 1 for share, fit in zip(shares, fits, strict=True) if fit < 1e-3
        )
    assert along == 18  # on the line from its own mean to another's (or, where the draw fell on its own, nowhere)
    assert (moved.flatten(1).norm(dim=1) > 0).sum() >= 6
    again = data.batch(range(17, -1, -1), 0)["audio_hidden_states"].flip(0)
    assert torch.equal(again, batch["audio_hidden_states"])  # a function of seed, epoch and row, whatever the order
    assert not torch.equal(data.batch(range(18), 1)["audio_hidden_states"], batch["audio_hidden_states"])


def test_speakers_means_are_of_other_clips_and_of_the_share_that_was_asked_for(manifest, tmp_path):
    data, states = data_with(manifest, tmp_path, speaker_mean_share=0.5)
    data.voices = Voices(data)
    given = 0
    for epoch in range(20):
        means = data.batch(range(18), epoch).get("speaker_mean")
        assert means is not None and means.shape == (18, *states[0][:, 0].shape)
        known = ~means.flatten(1).isnan().any(1)
        given += int(known.sum())
    assert 0.4 < given / 360 < 0.6
    everything = data_with(manifest, tmp_path / "all", speaker_mean_share=1.0)[0]
    everything.voices = Voices(everything)
    means = everything.batch([0], 0)["speaker_mean"][0]  # of at least four of the five other clips of speaker_0
    others = torch.stack([states[row].mean(1) for row in range(3, 18, 3)])
    candidates = [others.mean(0)] + [torch.cat([others[:i], others[i + 1 :]]).mean(0) for i in range(5)]
    assert min(float((means - candidate).abs().max()) for candidate in candidates) < 1e-4


def test_it_needs_speakers_and_a_cache(manifest, tmp_path):
    data, _ = data_with(manifest, tmp_path, voice_shift=0.5)
    data.audio_cache = None
    with pytest.raises(InputError, match="voice_shift: expected a frozen audio branch"):
        Voices(data)
    lines = [line.rpartition(",")[0] for line in manifest.read_text().splitlines()]
    nobody = manifest.with_name("nobody.csv")
    nobody.write_text("\n".join(lines))
    tiny_model().save_pretrained(tmp_path / "model")
    args = TrainingArguments(
        data=[str(nobody)], model=str(tmp_path / "model"), output_dir=str(tmp_path / "run"), voice_shift=0.5
    )
    with pytest.raises(InputError, match="expected clips of at least two speakers, got none known"):
        train(args)
    for wrong in ({"freeze": ["text"]}, {"embedding_cache": False}):
        with pytest.raises(InputError, match="voice_shift: expected a frozen audio branch"):
            TrainingArguments(data=["x"], voice_shift=0.5, **wrong)
    with pytest.raises(InputError, match="sum to 1"):
        TrainingArguments(data=["x"], voice_shift=0.6, speaker_mean_share=0.6)


def test_a_run_learns_so_and_its_model_knows_speakers(manifest, tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    options = {
        "voice_shift": 0.4,
        "speaker_mean_share": 0.4,
        "num_train_epochs": 2,
        "disable_tqdm": True,
        "report_to": ["none"],
    }
    result = train(
        TrainingArguments(
            data=[str(manifest)], model=str(tmp_path / "model"), output_dir=str(tmp_path / "run"), **options
        )
    )
    classifier = MultimodalEmotionClassifier.from_pretrained(result.model, whisper=None)
    clips = [str(manifest.parent / f"{index}.wav") for index in (0, 3, 6, 9)]
    profile = classifier.enroll(clips)
    known, unknown = classifier.predict(clips[0], speaker=profile), classifier.predict(clips[0])
    assert np.isclose(sum(known.probabilities.values()), 1) and known.probabilities != unknown.probabilities
