"""Stage 3: the fusion head learns from both branches, which stay as they are; then one temperature a modality case is fitted.

What a row may be is what a user may have: a clip alone, a clip with its own words, a clip with words that say nothing, a clip with words
that say the same as the voice, words alone.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
import torchaudio
from data import SAMPLING_RATE, Clip
from scipy.optimize import minimize_scalar
from state import load_state, save_state
from text_branch import read_texts, split_off
from transformers import AutoModel, AutoTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from multimodal_ser import MultimodalEmotionClassifier, MultimodalEmotionProcessor
from multimodal_ser.labels import EMOTIONS, admissible_classes, canonical_emotion
from multimodal_ser.model.losses import emotion_loss

VALIDATION_SPEAKERS = frozenset({"ravdess_01", "ravdess_03", "ravdess_20", "ravdess_24", "emodb_03", "nemo_EB0"})
"""The temperatures are fitted on these, with a head that was not trained on them."""

VARIANTS = (("whole", 1.0), ("trimmed", 1.0), ("trimmed", 0.9), ("whole", 1.1), ("disturbed", 1.0))
"""Form and speed in which each clip is heard; a step draws one."""

CORPUS_SHARE = {"ravdess": 0.5, "emodb": 0.2, "nemo": 0.3}
ROW_SHARE = {"audio": 0.3, "own words": 0.2, "neutral words": 0.2, "matching words": 0.17, "text": 0.13}
SURROUNDED = 0.4
"""Share of the emotional texts that stand among sentences that say nothing, as in a longer turn: which words matter has to be found."""

ALONE = 0.3
"""Weight of the loss of each pooled modality by itself: the audio's, once it has attended to the words, has to name what they say too.
By itself this did not sharpen attention; it was not tried to leave it out where the text branch sums its layers."""

BATCH = 64


def encode(student: Wav2Vec2Model, waveforms: list[np.ndarray], bf16: bool = True) -> list[torch.Tensor]:
    """Hidden states (layers + 1, T, Da) of each waveform, in half precision; each runs alone, so that none is padded."""
    states = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for waveform in waveforms:
            normalised = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
            output = student(torch.from_numpy(normalised)[None], output_hidden_states=True).hidden_states
            states.append(torch.cat(output).half())
    return states


def variant(clip: Clip, form: str, speed: float, disturbance: Disturbance) -> np.ndarray:
    waveform = torch.from_numpy(clip.waveform if form == "trimmed" else clip.untrimmed)
    if form == "disturbed":
        waveform = disturbance(waveform, clip.path.name)
    if speed != 1.0:
        waveform = torchaudio.functional.speed(waveform, SAMPLING_RATE, speed)[0]
    return waveform.numpy()


class Disturbance:
    """Rooms, noises and telephones; a clip's is always the same."""

    def __init__(self, data: Path):
        self.sounds: dict[str, list[torch.Tensor]] = defaultdict(list)
        with open(data / "noise" / "manifest_noise.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if "NC" not in row["licence"].upper():
                    waveform, _ = sf.read(
                        data / "noise" / row["path"], dtype="float32", always_2d=True
                    )  # 16 kHz all of them
                    self.sounds[row["kind"]].append(torch.from_numpy(waveform[:, 0]))

    def __call__(self, waveform: torch.Tensor, name: str) -> torch.Tensor:
        generator = np.random.default_rng([5, *name.encode()])
        if generator.random() < 0.6:
            room = self.sounds["rir"][generator.integers(len(self.sounds["rir"]))]
            direct = int(room.abs().argmax())
            waveform = torchaudio.functional.fftconvolve(waveform, room / room.square().sum().sqrt())[
                direct : direct + len(waveform)
            ]
        noise = self.sounds["noise"][generator.integers(len(self.sounds["noise"]))]
        noise = noise.roll(int(generator.integers(len(noise)))).repeat(1 + len(waveform) // len(noise))[: len(waveform)]
        waveform = torchaudio.functional.add_noise(waveform, noise, torch.tensor(generator.uniform(3, 25)))
        if generator.random() < 0.3:  # a telephone
            waveform = torchaudio.functional.highpass_biquad(waveform, SAMPLING_RATE, 300.0)
            waveform = torchaudio.functional.lowpass_biquad(waveform, SAMPLING_RATE, 3400.0)
        return waveform / waveform.abs().max().clamp_min(1e-4)


def student_states(
    student: Wav2Vec2Model, clips: list[Clip], data: Path, folder: Path, bf16: bool = True
) -> list[list[torch.Tensor]]:
    """Every clip in every variant, (variants, clips); a variant that was computed before is read from `folder`."""
    from safetensors.torch import load_file, save_file

    everything, disturbance = [], Disturbance(data)
    for form, speed in VARIANTS:
        path = folder / f"states-{speed}-{form}.safetensors"
        if not path.exists():
            began = time.monotonic()
            states = encode(student, [variant(clip, form, speed, disturbance) for clip in clips], bf16)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({str(i): value for i, value in enumerate(states)}, path)
            print(
                json.dumps({"variant": [form, speed], "clips": len(clips), "seconds": round(time.monotonic() - began)}),
                flush=True,
            )
        tensors = load_file(path)
        everything.append([tensors[str(i)] for i in range(len(clips))])
    return everything


class Rows:
    """Draws batches: step i of a seed is always the same."""

    def __init__(
        self,
        clips: list[Clip],
        states: list[list[torch.Tensor]],
        texts: list[tuple[str, str, str]],
        tokenizer,
        seed: int,
    ):
        self.clips, self.states, self.tokenizer, self.seed = clips, states, tokenizer, seed
        self.by_corpus: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self.by_speaker: dict[str, list[int]] = defaultdict(list)
        for index, clip in enumerate(clips):
            self.by_corpus[clip.corpus][clip.emotion].append(index)
            self.by_speaker[clip.speaker].append(index)
        self.means = [
            torch.stack([state.float().mean(1) for state in variant_states]) for variant_states in states
        ]  # (clips, layers, Da)
        self.voices = [  # (speakers, layers, Da) a variant
            torch.stack([means[indices].mean(0) for indices in self.by_speaker.values()]) for means in self.means
        ]
        self.voice_of = {speaker: i for i, speaker in enumerate(self.by_speaker)}
        self.texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for corpus, text, emotion in texts:
            if "|" not in emotion:
                self.texts[canonical_emotion(emotion)].append((corpus, text))
        self.emotions = sorted(self.texts)
        # words alone: rare emotions more often than they are written, not as often as the others
        counts = np.array([len(self.texts[name]) for name in self.emotions], float)
        self.text_share = counts**0.5 / (counts**0.5).sum()

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation (layers, Da) over the frames of the clips as they are."""
        total = sum(state.float().sum(1) for state in self.states[0])
        square = sum(state.float().square().sum(1) for state in self.states[0])
        count = sum(state.shape[1] for state in self.states[0])
        mean = total / count
        return mean, (square / count - mean.square()).clamp_min(1e-8).sqrt()

    def _said(self, emotion: str, generator: np.random.Generator) -> str:
        return self.texts[emotion][generator.integers(len(self.texts[emotion]))][1]

    def _surrounded(self, text: str, generator: np.random.Generator) -> str:
        """Sometimes with a neutral text before, behind, or both."""
        if generator.random() >= SURROUNDED:
            return text
        before, behind = (self._said("neutral", generator) for _ in range(2))
        return generator.choice([f"{before} {text}", f"{text} {behind}", f"{before} {text} {behind}"])

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        generator = np.random.default_rng([self.seed, step])
        kinds = generator.choice(list(ROW_SHARE), BATCH, p=list(ROW_SHARE.values()))
        states: list[torch.Tensor | None] = []
        words: list[str | None] = []
        targets, speakers = [], []
        for kind in kinds:
            if kind == "text":
                emotion = generator.choice(self.emotions, p=self.text_share)
                corpus, text = self.texts[emotion][generator.integers(len(self.texts[emotion]))]
                states.append(None)
                words.append(self._surrounded(text, generator))
                targets.append(admissible_classes(emotion, corpus))
                speakers.append(None)
                continue
            corpus = generator.choice(list(CORPUS_SHARE), p=list(CORPUS_SHARE.values()))
            emotion = generator.choice(sorted(self.by_corpus[corpus]))
            index = generator.choice(self.by_corpus[corpus][emotion])
            clip, heard = self.clips[index], generator.integers(len(VARIANTS))
            state = self.states[heard][index]
            if generator.random() < 0.5:  # two spans of silence
                state = state.clone()
                for _ in range(2):
                    width = int(generator.integers(1, max(2, state.shape[1] // 8)))
                    at = int(generator.integers(0, max(1, state.shape[1] - width)))
                    state[:, at : at + width] = self.means[heard][index][:, None].half()
            known = generator.random() < 0.35
            if not known and generator.random() < 0.4:  # the same emotion in another voice, or halfway there
                voices = self.voices[heard]
                other = voices[generator.integers(len(voices))] - voices[self.voice_of[clip.speaker]]
                state = state + (generator.uniform(0, 1) * other).half()[:, None]
            states.append(state)
            targets.append(admissible_classes(emotion, corpus))
            speakers.append((clip.speaker, heard) if known else None)
            text = None
            if kind == "own words" and clip.language == "en":
                text = clip.text
            elif kind == "neutral words" or (kind == "matching words" and emotion not in self.texts):
                text = self._said("neutral", generator)
            elif kind == "matching words":
                text = self._surrounded(self._said(emotion, generator), generator)
            words.append(text)
        frames = max(state.shape[1] for state in states if state is not None)
        layers, width = self.means[0].shape[1:]
        audio, mask = torch.zeros(BATCH, layers, frames, width), torch.zeros(BATCH, frames, dtype=torch.long)
        speaker_mean = torch.full((BATCH, layers, width), float("nan"))
        for row, (state, speaker) in enumerate(zip(states, speakers, strict=True)):
            if state is not None:
                audio[row, :, : state.shape[1]] = state.float()
                mask[row, : state.shape[1]] = 1
            if speaker is not None:
                some = generator.choice(self.by_speaker[speaker[0]], int(generator.integers(4, 17)))
                speaker_mean[row] = self.means[speaker[1]][torch.from_numpy(some)].mean(0)
        tokens = self.tokenizer(
            [word or "" for word in words], padding=True, truncation=True, max_length=64, return_tensors="pt"
        )
        given = torch.tensor([word is not None for word in words])[:, None]
        return {
            "audio_hidden_states": audio, "audio_attention_mask": mask, "speaker_mean": speaker_mean, "labels": torch.tensor(targets),
            "input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"] * given,
        }  # fmt: skip


def train_head(model: MultimodalEmotionClassifier, rows: Rows, path: Path, steps: int, bf16: bool = True) -> None:
    """Branches frozen, fusion and heads trained; one cycle, last step, no selection."""
    model.model.audio_branch.hidden_mean, model.model.audio_branch.hidden_std = rows.statistics()
    model.requires_grad_(True)
    model.model.audio_branch.encoder.requires_grad_(False)
    model.model.text_branch.encoder.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.02)
    start, began, reported = load_state(path, model, optimizer), time.monotonic(), 0.0
    pooled: dict[str, torch.Tensor] = {}
    pools = {"audio": model.model.audio_pooling, "text": model.model.text_pooling}
    hooks = [
        pool.register_forward_hook(lambda _module, _inputs, vector, name=name: pooled.update({name: vector}))
        for name, pool in pools.items()
    ]
    model.train()
    model.model.audio_branch.encoder.eval()
    model.model.text_branch.encoder.eval()
    for step in range(start, steps):
        progress = (step + 1) / steps
        rate = 1e-3 * (progress / 0.2 if progress < 0.2 else 0.5 * (1 + math.cos(math.pi * (progress - 0.2) / 0.8)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = rows.batch(step)
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = model(**{name: value for name, value in batch.items() if name != "labels"})
            alone = [model.classifier(model.norm(vector)) for vector in pooled.values()]
        loss = emotion_loss(output.logits, batch["labels"], 0.1)
        loss = loss + ALONE * sum(emotion_loss(logits, batch["labels"], 0.1) for logits in alone)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        reported += loss.item()
        if (step + 1) % 50 == 0:
            speed = (time.monotonic() - began) / (step + 1 - start)
            gates = [
                [round(torch.tanh(layer.audio_gate).item(), 2), round(torch.tanh(layer.text_gate).item(), 2)]
                for layer in model.model.fusion_layers
            ]
            print(
                json.dumps(
                    {
                        "step": step + 1,
                        "of": steps,
                        "loss": round(reported / 50, 4),
                        "gates": gates,
                        "seconds_a_step": round(speed, 3),
                    }
                ),
                flush=True,
            )
            reported = 0.0
        if (step + 1) % 100 == 0 or step + 1 == steps:
            save_state(path, step + 1, model, optimizer)
    for hook in hooks:
        hook.remove()
    model.eval()


@torch.no_grad()
def fit_temperatures(
    model: MultimodalEmotionClassifier, clips: list[Clip], states: list[torch.Tensor], texts: list[tuple[str, str, str]]
) -> dict[str, float]:
    """The temperature of each modality case that makes held-out speakers' answers most likely (Guo et al. 2017, https://arxiv.org/abs/1706.04599)."""
    generator = np.random.default_rng(7)
    by_emotion: dict[str, list[str]] = defaultdict(list)
    for _, text, emotion in texts:
        by_emotion[canonical_emotion(emotion)].append(text)
    tokenizer = model.processor.tokenizer
    temperatures, model.config.temperature = {}, dict.fromkeys(("both", "audio", "text"), 1.0)

    def logits(state: torch.Tensor | None, text: str | None) -> torch.Tensor:
        inputs = {} if text is None else dict(tokenizer([text], truncation=True, max_length=128, return_tensors="pt"))
        inputs.pop("token_type_ids", None)
        if state is not None:
            inputs |= {"audio_hidden_states": state.float()[None]}
        return model(**inputs).logits[0]

    for case in ("both", "audio", "text"):
        outputs, targets = [], []
        if case == "text":
            for corpus, text, emotion in texts[:1200]:
                outputs.append(logits(None, text))
                targets.append(admissible_classes(emotion, corpus))
        else:
            for clip, state in zip(clips, states, strict=True):
                text = None
                if case == "both":  # half with words that say nothing, half with words of the same emotion
                    pool = (
                        by_emotion[clip.emotion]
                        if clip.emotion in by_emotion and generator.random() < 0.5
                        else by_emotion["neutral"]
                    )
                    text = pool[generator.integers(len(pool))]
                outputs.append(logits(state, text))
                targets.append(admissible_classes(clip.emotion, clip.corpus))
        stacked, wanted = torch.stack(outputs), torch.tensor(targets)
        found = minimize_scalar(lambda t: emotion_loss(stacked / t, wanted).item(), bounds=(0.3, 4.0), method="bounded")  # noqa: B023
        predicted = stacked.argmax(-1)
        accuracy = wanted[torch.arange(len(wanted)), predicted].float().mean().item()
        temperatures[case] = round(float(found.x), 4)
        print(
            json.dumps(
                {"case": case, "rows": len(wanted), "accuracy": round(accuracy, 4), "temperature": temperatures[case]}
            ),
            flush=True,
        )
    return temperatures


def build(audio_folder: Path, text_folder: Path) -> MultimodalEmotionClassifier:
    torch.manual_seed(2)
    audio = Wav2Vec2Model.from_pretrained(audio_folder, dtype=torch.float32)
    text = AutoModel.from_pretrained(text_folder, dtype=torch.float32, add_pooling_layer=False)
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=SAMPLING_RATE, do_normalize=True, return_attention_mask=True)
    return MultimodalEmotionClassifier.from_pretrained_backbones(
        audio, text, EMOTIONS, processor=MultimodalEmotionProcessor(extractor, AutoTokenizer.from_pretrained(text_folder)),
        fusion_hidden_size=256, fusion_layers=2, fusion_attention_heads=4, fusion_intermediate_size=512, fusion_dropout=0.2,
        modality_dropout=0.0, text_languages=["en"], transcriber="base", weights_license="cc-by-nc-sa-4.0", whisper=None,
    )  # fmt: skip


def train_fusion(data: Path, clips: list[Clip], folder: Path, output: Path, steps: int, bf16: bool = True) -> None:
    """Train without the validation speakers and fit the temperatures; then train on all, and write the checkpoint."""
    model = build(folder / "audio", folder / "text")
    states = student_states(model.model.audio_branch.encoder, clips, data, folder / "fusion", bf16)
    texts, validation_texts = split_off(read_texts(data, "train"))
    tokenizer = model.processor.tokenizer
    kept = [i for i, clip in enumerate(clips) if clip.speaker not in VALIDATION_SPEAKERS]
    held = [i for i, clip in enumerate(clips) if clip.speaker in VALIDATION_SPEAKERS]
    rows = Rows(
        [clips[i] for i in kept],
        [[variant_states[i] for i in kept] for variant_states in states],
        texts,
        tokenizer,
        seed=11,
    )
    train_head(model, rows, folder / "fusion" / "validation.safetensors", steps, bf16)
    temperatures = fit_temperatures(model, [clips[i] for i in held], [states[0][i] for i in held], validation_texts)
    model = build(folder / "audio", folder / "text")
    train_head(
        model, Rows(clips, states, texts, tokenizer, seed=12), folder / "fusion" / "all.safetensors", steps, bf16
    )
    model.config.temperature = temperatures
    model.config.modality_dropout = 0.2  # what a user who trains on gets by default
    export(model, output)


def export(model: MultimodalEmotionClassifier, output: Path) -> None:
    """Half-precision weights that load as single precision."""
    model.half().save_pretrained(output)
    config = json.loads((output / "config.json").read_text())
    config["dtype"] = "float32"  # transformers casts on load
    (output / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
