"""Stage 1: a small wav2vec2 learns to hear as the lowest layers of Whisper-base do.

The student is a `Wav2Vec2Model` of 12.6 M parameters. Its three layers start as copies of Whisper's first three; what it lacks is
Whisper's spectrogram and positions. Its first convolution starts as a bank of windowed cosines, and the whole learns Whisper's hidden
states on the same crop: feature distillation with an L1 and a cosine term, as DistilHuBERT does (https://arxiv.org/abs/2110.01900).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from data import SAMPLING_RATE, Clip
from transformers import Wav2Vec2Config, Wav2Vec2Model, WhisperFeatureExtractor, WhisperModel
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from multimodal_ser.model.modeling_whisper_audio_encoder import WhisperAudioEncoder
from multimodal_ser.training.distillation import Teacher, distil

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
    student = Wav2Vec2Model._from_config(
        student_config(), attn_implementation="eager"
    )  # on a CPU faster than sdpa for short clips
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


def train_audio(clips: list[Clip], whisper: str, folder: Path, steps: int, bf16: bool = True) -> None:
    """Train for `steps`, resuming from `folder`; write the student there as a transformers model."""
    torch.manual_seed(0)
    encoder = WhisperAudioEncoder.from_whisper(WhisperModel.from_pretrained(whisper, dtype=torch.float32), LAYERS)
    teacher = Teacher(encoder, WhisperFeatureExtractor.from_pretrained(whisper), layers=range(LAYERS + 1))
    distil(
        new_student(encoder), teacher, [clip.waveform for clip in clips], folder, steps=steps, batch_size=16, seconds=3.0, shift=SHIFT,
        learning_rate=3e-4, front_learning_rate=1e-3, warmup_steps=100, bf16=bf16, seed=20261123,
    )  # fmt: skip
