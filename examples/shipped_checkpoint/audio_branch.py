"""Stage 1: a small wav2vec2 learns to hear as the lowest layers of Whisper-base do.

The student is a `Wav2Vec2Model` of 12.6 M parameters. Its three layers start as copies of Whisper's first three; what it lacks is
Whisper's spectrogram and positions. Its first convolution starts as a bank of windowed cosines, and the whole learns Whisper's hidden
states on the same crop: feature distillation with an L1 and a cosine term, as DistilHuBERT does (https://arxiv.org/abs/2110.01900).
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from data import SAMPLING_RATE, Clip
from state import load_state, save_state
from torch import nn
from torch.nn import functional as F
from transformers import Wav2Vec2Config, Wav2Vec2Model, WhisperFeatureExtractor, WhisperModel
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from multimodal_ser.model.modeling_whisper_audio_encoder import WhisperAudioEncoder

CROP = 3 * SAMPLING_RATE  # samples; longer than most clips' words, short enough for 16 of them a step
SHIFT = 2  # teacher frames: the centre of a student frame lies 520 samples in, that of Whisper's at 0; 520 / 320 is nearly 2
LAYERS = 3


def student_config() -> Wav2Vec2Config:
    return Wav2Vec2Config(
        conv_dim=[512, 512, 512], conv_kernel=[400, 3, 3], conv_stride=[160, 1, 2], conv_bias=True, feat_extract_norm="layer",
        hidden_size=512, num_hidden_layers=LAYERS, num_attention_heads=8, intermediate_size=2048, do_stable_layer_norm=True,
        num_conv_pos_embeddings=64, num_conv_pos_embedding_groups=16, hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0,
        layerdrop=0.0, apply_spec_augment=False, mask_time_prob=0.0,
    )  # fmt: skip


@torch.no_grad()
def new_student(teacher: WhisperAudioEncoder) -> Wav2Vec2Model:
    student = Wav2Vec2Model._from_config(student_config(), attn_implementation="eager")  # on a CPU faster than sdpa for short clips
    for target, source in zip(student.encoder.layers, teacher.layers, strict=False):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            ours, theirs = getattr(target.attention, name), getattr(source.self_attn, name)
            ours.weight.copy_(theirs.weight)
            ours.bias.zero_() if theirs.bias is None else ours.bias.copy_(theirs.bias)  # Whisper's keys have no bias
        target.layer_norm.load_state_dict(source.self_attn_layer_norm.state_dict())
        target.feed_forward.intermediate_dense.load_state_dict(source.fc1.state_dict())
        target.feed_forward.output_dense.load_state_dict(source.fc2.state_dict())
        target.final_layer_norm.load_state_dict(source.final_layer_norm.state_dict())
    time_axis = (torch.arange(400) - 199.5) / SAMPLING_RATE
    frequencies = mel_to_hertz(np.linspace(hertz_to_mel(60.0, "slaney"), hertz_to_mel(7600.0, "slaney"), 128), "slaney")
    angles = 2 * math.pi * torch.as_tensor(frequencies, dtype=torch.float32)[:, None, None] * time_axis
    phases = torch.arange(4)[None, :, None] * (math.pi / 2)
    student.feature_extractor.conv_layers[0].conv.weight.copy_(
        (0.05 * torch.hann_window(400) * torch.cos(angles + phases)).reshape(512, 1, 400)
    )
    return student


class Distillation(nn.Module):
    """The student, and one linear map from each of its hidden states to the teacher's."""

    def __init__(self, student: Wav2Vec2Model):
        super().__init__()
        self.student = student
        self.maps = nn.ModuleList([nn.Linear(512, 512) for _ in range(LAYERS + 1)])
        for linear in self.maps:
            nn.init.eye_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, waveforms: torch.Tensor, targets: list[torch.Tensor]) -> tuple[torch.Tensor, list[float]]:
        """waveforms (B, S), targets (B, T, 512) a layer -> loss, and the cosine similarity of each layer."""
        states = self.student(waveforms, output_hidden_states=True).hidden_states
        loss, cosines = waveforms.new_zeros(()), []
        for state, linear, target in zip(states, self.maps, targets, strict=True):
            predicted, target = linear(state).float(), target[:, SHIFT : SHIFT + state.shape[1]].float()
            cosine = F.cosine_similarity(predicted, target, dim=-1).mean()
            loss = loss + F.l1_loss(predicted, target) + 0.5 * (1 - cosine)
            cosines.append(round(cosine.item(), 3))
        return loss, cosines


class Crops:
    """Three-second crops of all clips laid end to end; crop i of a seed is always the same."""

    def __init__(self, clips: list[Clip]):
        self.waveforms = [clip.waveform / max(np.abs(clip.waveform).max(), 1e-4) * 0.5 for clip in clips]

    def batch(self, step: int, size: int) -> np.ndarray:
        generator = np.random.default_rng([20261123, step])
        crops = np.zeros((size, CROP), np.float32)
        for crop in crops:
            at = -int(generator.integers(0, SAMPLING_RATE))
            while at < CROP:
                waveform = self.waveforms[generator.integers(len(self.waveforms))]
                piece = waveform[max(0, -at) : CROP - at]
                crop[max(0, at) : max(0, at) + len(piece)] = piece
                at += len(waveform)
            crop *= 10 ** (generator.uniform(-3, 3) / 20)
        return crops


class Teacher:
    """Whisper's hidden states, without what belongs to the frame's place in the crop, each feature of unit variance."""

    def __init__(self, folder: str):
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        whisper = WhisperModel.from_pretrained(folder, dtype=torch.float32)
        self.encoder = WhisperAudioEncoder.from_whisper(whisper, LAYERS).eval()
        self.mean: list[torch.Tensor] = []
        self.scale: list[torch.Tensor] = []

    @torch.no_grad()
    def states(self, crops: np.ndarray) -> list[torch.Tensor]:
        features = self.extractor(list(crops), sampling_rate=SAMPLING_RATE, padding="longest", return_tensors="pt").input_features
        with torch.autocast("cpu", torch.bfloat16):
            states = list(self.encoder(features, output_hidden_states=True).hidden_states)
        states[0] = states[0] - self.encoder.embed_positions.weight[: states[0].shape[1]]  # the convolutions' output alone
        return [state.float() for state in states]

    def measure(self, crops: Crops, batches: int) -> None:
        """Mean at each frame index and layer, standard deviation of each feature around it, over `batches` of crops."""
        for layer in zip(*(self.states(crops.batch(1_000_000 + i, 16)) for i in range(batches)), strict=True):
            stacked = torch.cat(layer)
            self.mean.append(stacked.mean(0))
            self.scale.append((stacked - stacked.mean(0)).square().mean((0, 1)).sqrt().clamp_min(1e-4))

    def targets(self, crops: np.ndarray) -> list[torch.Tensor]:
        return [(state - mean) / scale for state, mean, scale in zip(self.states(crops), self.mean, self.scale, strict=True)]


def distil(clips: list[Clip], whisper: str, folder: Path, steps: int, batch_size: int = 16) -> None:
    """Train for `steps`, resuming from `folder`; write the student there as a transformers model."""
    torch.manual_seed(0)
    crops, teacher = Crops(clips), Teacher(whisper)
    model = Distillation(new_student(teacher.encoder))
    front = [p for n, p in model.named_parameters() if "feature_extractor" in n or "feature_projection" in n or "pos_conv" in n]
    rest = [p for p in model.parameters() if all(p is not q for q in front)]
    optimizer = torch.optim.AdamW([{"params": front, "lr": 1e-3}, {"params": rest, "lr": 3e-4}], betas=(0.9, 0.98), weight_decay=0.01)
    rates = [group["lr"] for group in optimizer.param_groups]
    start = load_state(folder / "state.safetensors", model, optimizer)
    print(f"distillation: {sum(p.numel() for p in model.student.parameters()) / 1e6:.1f} M parameters, step {start} of {steps}", flush=True)
    if start < steps:
        teacher.measure(crops, min(24, steps))
    began = time.monotonic()
    for step in range(start, steps):
        factor = min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        batch = crops.batch(step, batch_size)
        waveforms = torch.from_numpy((batch - batch.mean(1, keepdims=True)) / np.sqrt(batch.var(1, keepdims=True) + 1e-7))
        targets = teacher.targets(batch)
        with torch.autocast("cpu", torch.bfloat16):
            loss, cosines = model(waveforms, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 25 == 0:
            speed = (time.monotonic() - began) / (step + 1 - start)
            print(
                json.dumps({"step": step + 1, "loss": round(loss.item(), 4), "cosine": cosines, "seconds_a_step": round(speed, 3)}),
                flush=True,
            )
        if (step + 1) % 200 == 0 or step + 1 == steps:
            save_state(folder / "state.safetensors", step + 1, model, optimizer)
    model.student.save_pretrained(folder)
