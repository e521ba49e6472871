"""Distillation of a large speech encoder into a small one, with recordings without labels.

The student learns the teacher's hidden states on the same crops of speech, through one linear map per layer that is
discarded afterwards (feature distillation as in DistilHuBERT, https://arxiv.org/abs/2110.01900). It is trained with
`Loop`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from multimodal_ser._files import write_json
from multimodal_ser._progress import say as say_on_stderr
from multimodal_ser.audio import SAMPLING_RATE
from multimodal_ser.errors import InputError
from multimodal_ser.training.arguments import TrainingArguments
from multimodal_ser.training.cache import branch_fingerprint
from multimodal_ser.training.crops import Crops
from multimodal_ser.training.loop import Loop
from multimodal_ser.training.run_folder import environment

FRONT = re.compile(r"(?:^|\.)(?:feature_extractor|feature_projection|pos_conv\w*|conv\d)\.")
"""Names of the weights below an encoder's first layer: convolutions, projection, positional convolution."""

MEASURED = 1 << 40
"""Number of the first crop on which the teacher is measured, far above those of training."""

NOT_COMPARED = frozenset(
    [
        "student",
        "teacher",
        "recordings",
        "output_dir",
        "logging_steps",
        "dataloader_num_workers",
        "use_cpu",
        "disable_tqdm",
        "say",
    ]
)
"""Arguments that may differ when a run is resumed, or that are compared in another form."""


class Teacher(nn.Module):
    """A frozen encoder whose hidden states the student learns, standardized with the statistics of `measure`.

    By default the mean at each frame index over many crops is subtracted. It removes what depends on the position in
    the crop and not on the speech, such as Whisper's absolute positions.

    Args:
        encoder: a speech encoder of transformers, or its folder or Hub id. Of a Whisper, the lowest layers of its
            encoder are used, on the length of the crop.
        extractor: the encoder's feature extractor; None: it is loaded with an encoder that is given by name.
        layers: numbers of the hidden states: 0 is the input of the first layer, k the output of layer k.
        mean_per_frame: whether the mean of each frame index is subtracted, not that of all frames.

    Raises:
        InputError: the encoder lacks a layer, or encoder or extractor cannot be used.

    Example:
        >>> from multimodal_ser.testing import synthetic_speech, tiny_model
        >>> from multimodal_ser.training.crops import Crops
        >>> from multimodal_ser.training.distillation import Teacher
        >>> model = tiny_model("whisper_audio_encoder")
        >>> teacher = Teacher(model.model.audio_branch.encoder, model.processor.feature_extractor, layers=[0, 2])
        >>> crops = Crops([synthetic_speech(1.0)], seconds=1.0)
        >>> teacher.measure(crops.batch([i]) for i in range(4))
        >>> [tuple(layer.shape) for layer in teacher.targets(teacher.inputs(crops.batch([7, 8])))]
        [(2, 50, 32), (2, 50, 32)]
    """

    def __init__(self, encoder: Any, extractor: Any = None, *, layers: Sequence[int], mean_per_frame: bool = True):
        super().__init__()
        encoder, self.extractor = _encoder(encoder, extractor)
        self.layers = _layers("layers", layers, encoder.config.num_hidden_layers)
        if encoder.config.model_type == "whisper":
            from multimodal_ser.model.modeling_whisper_audio_encoder import WhisperAudioEncoder

            encoder = WhisperAudioEncoder.from_whisper(encoder, max(1, *self.layers))
        self.encoder = encoder.eval().requires_grad_(False)
        self.mean_per_frame = mean_per_frame

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode, whatever `mode` is."""
        return super().train(False)

    def inputs(self, crops: np.ndarray) -> torch.Tensor:
        """Return the encoder's inputs for crops (B, S): waveforms (B, S) or features (B, M, F), on the CPU."""
        return _extracted(self.extractor, crops)

    @torch.no_grad()
    def states(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return hidden states (B, T, D) of the chosen layers, in single precision, for the result of `inputs`."""
        return _states(self.encoder, inputs.to(self.encoder.device), self.layers)

    @torch.no_grad()
    def measure(self, batches: Iterable[np.ndarray]) -> None:
        """Measure the mean, and the deviation of each feature from it, over batches of crops (B, S) of equal length.

        Raises:
            InputError: there is no batch.
        """
        count = 0
        sums: list[torch.Tensor] = []
        squares: list[torch.Tensor] = []
        for crops in batches:
            states = [layer.double() for layer in self.states(self.inputs(crops))]
            sums = sums or [torch.zeros_like(layer[0]) for layer in states]
            squares = squares or [torch.zeros_like(layer[0]) for layer in states]
            count += len(crops)
            for layer, total, square in zip(states, sums, squares, strict=True):
                total += layer.sum(0)
                square += layer.square().sum(0)
        if not count:
            raise InputError(
                "measure", expected="at least one batch of crops", got="none", remedy="a few hundred crops are enough"
            )
        self._reserve([tuple(total.shape) for total in sums])
        for place, (total, square) in enumerate(zip(sums, squares, strict=True)):
            mean = total / count if self.mean_per_frame else total.mean(0, keepdim=True) / count
            variance = (square / count).mean(0) - mean.square().mean(0)
            self.get_buffer(f"mean_{place}").copy_(mean)
            self.get_buffer(f"scale_{place}").copy_(variance.clamp_min(0).sqrt().clamp_min(1e-4))

    def _reserve(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Register empty buffers for mean and deviation of states of these shapes (T, D); `measure` or a checkpoint
        fills them.
        """
        for place, (frames, width) in enumerate(shapes):
            rows = frames if self.mean_per_frame else 1
            self.register_buffer(f"mean_{place}", torch.zeros(rows, width, device=self.encoder.device))
            self.register_buffer(f"scale_{place}", torch.zeros(width, device=self.encoder.device))

    @property
    def measured(self) -> bool:
        """Whether mean and deviation have been measured."""
        return "scale_0" in dict(self.named_buffers()) and bool((self.get_buffer("scale_0") > 0).all())

    @torch.no_grad()
    def targets(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return the chosen hidden states (B, T, D), standardized, for the result of `inputs`.

        Raises:
            InputError: the teacher has not been measured, or on crops of another length.
        """
        if not self.measured:
            raise InputError(
                "teacher", expected="mean and deviation of its states", got="none", remedy="call teacher.measure before"
            )
        targets = []
        for place, state in enumerate(self.states(inputs)):
            mean, scale = self.get_buffer(f"mean_{place}"), self.get_buffer(f"scale_{place}")
            if len(mean) not in (1, state.shape[1]):
                got = f"{state.shape[1]} frames a crop"
                raise InputError(
                    "teacher", expected=f"the {len(mean)} that were measured", got=got, remedy="measure such crops"
                )
            targets.append((state - mean) / scale)
        return targets


@dataclass
class DistillationOutput:
    """Result of a batch.

    Args:
        loss: (), summed over the layers.
        cosines: (layers,), mean cosine similarity of prediction and target.
    """

    loss: torch.Tensor
    cosines: torch.Tensor


class Distillation(nn.Module):
    """A student, with one linear map from its hidden states to each of the teacher's layers that it learns.

    The loss of a layer is the mean absolute difference plus `cosine_weight` times the cosine distance. A map between
    equal widths is initialized as the identity.

    Args:
        student: a speech encoder of transformers.
        widths: width D of each of the teacher's layers.
        layers: number of the student's hidden state for each of them; one may learn several, as in DistilHuBERT.
        shift: the student's frame i learns the teacher's frame i + shift.
        cosine_weight: weight of the cosine distance.

    Raises:
        InputError: the student lacks a layer, or there is not one layer for each width.

    Example:
        >>> import torch
        >>> from multimodal_ser.testing import tiny_model
        >>> from multimodal_ser.training.distillation import Distillation
        >>> student = tiny_model().model.audio_branch.encoder
        >>> output = Distillation(student, widths=[24, 24], layers=[0, 2])(torch.randn(3, 16000), [torch.randn(3, 50, 24)] * 2)
        >>> output.loss.shape, output.cosines.shape
        (torch.Size([]), torch.Size([2]))
    """

    def __init__(
        self, student: Any, widths: Sequence[int], *, layers: Sequence[int], shift: int = 0, cosine_weight: float = 0.5
    ):
        super().__init__()
        if len(widths) != len(layers):
            expected, got = f"one for each of the {len(widths)} layers of the teacher", f"{len(layers)}"
            raise InputError(
                "student_layers", expected=expected, got=got, remedy="name one for each; a layer may be named again"
            )
        self.layers = _layers("student_layers", layers, student.config.num_hidden_layers)
        self.student, self.shift, self.cosine_weight = student, shift, cosine_weight
        maps = [nn.Linear(student.config.hidden_size, width) for width in widths]
        for linear in maps:
            if linear.in_features == linear.out_features:
                nn.init.eye_(linear.weight)
                nn.init.zeros_(linear.bias)
        self.maps = nn.ModuleList(maps)

    def forward(self, inputs: torch.Tensor, targets: Sequence[torch.Tensor]) -> DistillationOutput:
        """Return loss and cosines of the student's inputs, (B, S) or (B, M, F), and targets (B, T, D) of each layer.

        Raises:
            InputError: with this shift, student and teacher have no frame in common.
        """
        loss, cosines = torch.zeros((), device=inputs.device), []
        states = _states(self.student, inputs, self.layers)
        for state, linear, target in zip(states, self.maps, targets, strict=True):
            ours, theirs, frames = _aligned(state.shape[1], target.shape[1], self.shift)
            predicted = linear(state[:, ours : ours + frames]).float()
            target = target[:, theirs : theirs + frames].float()
            cosine = F.cosine_similarity(predicted, target, dim=-1).mean()
            loss = loss + F.l1_loss(predicted, target) + self.cosine_weight * (1 - cosine)
            cosines.append(cosine.detach())
        return DistillationOutput(loss, torch.stack(cosines))


def distil(
    student: Any, teacher: Teacher, recordings: Sequence[Any], output_dir: str | Path, *, steps: int, batch_size: int = 16,
    student_layers: Sequence[int] | None = None, student_extractor: Any = None, seconds: float = 3.0, gain: float = 3.0, shift: int = 0,
    cosine_weight: float = 0.5, learning_rate: float = 3e-4, front_learning_rate: float | None = None, warmup_steps: float = 100,
    weight_decay: float = 0.01, measured_crops: int = 384, gradient_accumulation_steps: int = 1, bf16: bool = True, seed: int = 0,
    save_steps: int = 200, logging_steps: int = 25, dataloader_num_workers: int = 0, use_cpu: bool = False, disable_tqdm: bool = False,
    say: Callable[[str], None] | None = None,
) -> Path:  # fmt: skip
    """Train a student on a teacher's hidden states, and write it with its feature extractor into `output_dir`.

    The student is trained in place. A second call resumes exactly from the newest checkpoint there. `log.jsonl` holds
    the loss, and the cosine similarity of each layer on the same crops every `save_steps`. Under `accelerate launch`
    several processes share each step.

    Args:
        student: a speech encoder of transformers; weights without a gradient are not trained.
        teacher: the teacher; it is measured on these recordings, even if it was measured before.
        recordings: see `Crops`; no labels are needed.
        output_dir: folder for the student, checkpoints, log, and `distillation.json` with options and versions.
        steps: number of optimizer steps (AdamW with betas 0.9 and 0.98, gradients clipped to norm 1).
        batch_size: crops per step, over all processes and passes.
        student_layers: number of the student's hidden state for each of the teacher's; None: the same numbers.
        student_extractor: feature extractor of the student; None: wav2vec2's, with zero mean and unit variance.
        seconds, gain: see `Crops`.
        shift, cosine_weight: see `Distillation`.
        learning_rate: highest rate, which falls to 0 with a cosine.
        front_learning_rate: rate of the weights below the student's first layer; None: `learning_rate`.
        warmup_steps: steps in which the rate rises; below 1: a share of all steps.
        weight_decay: weight decay of all weights.
        measured_crops: number of crops on which the teacher is measured, at most as many as are trained on.
        gradient_accumulation_steps: forward passes per step.
        bf16: bfloat16 mixed precision, of teacher and student.
        seed: seed of the crops and of the student's dropout and masking.
        save_steps: steps between checkpoints, which messages call an epoch.
        logging_steps: steps between lines of the log.
        dataloader_num_workers: processes that read crops.
        use_cpu: use the CPU even if there is a GPU.
        disable_tqdm: show no progress bar.
        say: called with each message; None: messages go to stderr.

    Returns:
        `output_dir`, ready for `from_pretrained` of the student's class.

    Raises:
        InputError: there are no recordings, a layer does not exist, frame rates differ, or `output_dir` holds a run
            with other options.

    Example:
        >>> from multimodal_ser.testing import tiny_model
        >>> from multimodal_ser.training.distillation import Teacher, distil
        >>> model = tiny_model("whisper_audio_encoder")
        >>> teacher = Teacher(model.model.audio_branch.encoder, model.processor.feature_extractor, layers=[1, 2])
        >>> distil(tiny_model().model.audio_branch.encoder, teacher, [], "runs/student", steps=1000)  # arrays, or paths
        Traceback (most recent call last):
        ...
        multimodal_ser.errors.InputError: recordings: expected at least one recording, got none; give arrays at 16 kHz, or paths
    """
    options = {name: value for name, value in locals().items() if name not in NOT_COMPARED}
    say = say or say_on_stderr
    for name, value in (
        ("steps", steps),
        ("batch_size", batch_size),
        ("save_steps", save_steps),
        ("measured_crops", measured_crops),
    ):
        if value < 1 or value != int(value):
            raise InputError(name, expected="a whole number from 1", got=f"{value:g}", remedy="correct it")
    crops = Crops(recordings, seconds=seconds, gain=gain, seed=seed, say=say)
    if student_extractor is None:
        student_extractor = _waveform_extractor(student)
    args = TrainingArguments(
        data=["recordings"], output_dir=str(output_dir), num_train_epochs=-(-steps // save_steps), max_steps=steps, max_grad_norm=1.0,
        learning_rate=learning_rate, warmup_steps=warmup_steps, weight_decay=weight_decay, adam_beta1=0.9, adam_beta2=0.98,
        gradient_accumulation_steps=gradient_accumulation_steps, bf16=bf16, seed=seed, logging_steps=logging_steps,
        dataloader_num_workers=dataloader_num_workers, use_cpu=use_cpu, disable_tqdm=disable_tqdm, report_to=["none"],
        metric_for_best_model="loss", save_best_model=False,
    )  # fmt: skip
    torch.manual_seed(seed)  # maps that cannot be the identity start at random
    shapes = _fitting(student, student_extractor, teacher, crops.crop(MEASURED)[None], shift)
    layers = teacher.layers if student_layers is None else student_layers
    distillation = Distillation(
        student, [width for _, width in shapes], layers=layers, shift=shift, cosine_weight=cosine_weight
    )
    groups = _groups(distillation, learning_rate, front_learning_rate, weight_decay)
    teacher._reserve(shapes)
    accelerator, folder = _accelerator(args), Path(output_dir)
    options |= {
        "layers": list(teacher.layers), "mean_per_frame": teacher.mean_per_frame, "student_layers": list(distillation.layers),
        "teacher": branch_fingerprint(teacher.encoder, teacher.extractor.to_json_string()), "student": type(student).__name__,
        "student_extractor": student_extractor.to_dict(), "recordings": len(recordings),
    }  # fmt: skip
    _claim(folder, options, accelerator)
    lesson = _Lesson(teacher, distillation)
    source = _Source(crops, teacher, student_extractor, steps, batch_size, save_steps)
    numbers = range(MEASURED, MEASURED + min(measured_crops, steps * batch_size))
    batches = [numbers[at : at + batch_size] for at in range(0, len(numbers), batch_size)]

    def begin(epoch: int) -> None:
        lesson.train()
        if not teacher.measured:  # a checkpoint that was loaded before may have the statistics
            with accelerator.autocast():
                teacher.measure(crops.batch(batch) for batch in batches)

    def evaluate(epoch: int) -> dict[str, float]:
        lesson.eval()
        inputs = source.batch(batches[0], epoch)
        with torch.no_grad(), accelerator.autocast():
            output = lesson(**{name: value.to(accelerator.device) for name, value in inputs.items()})
        cosines = dict(zip(teacher.layers, output.cosines.tolist(), strict=True))
        if accelerator.is_main_process:
            say(
                "cosine similarity by layer: "
                + ", ".join(f"{layer}: {cosine:.3f}" for layer, cosine in cosines.items())
            )
        return {"loss": float(output.loss)} | {f"cosine_{layer}": cosine for layer, cosine in cosines.items()}

    def keep() -> None:
        if accelerator.is_main_process:
            student.save_pretrained(folder)
            student_extractor.save_pretrained(folder)
        accelerator.wait_for_everyone()

    if accelerator.is_main_process:
        count = sum(weight.numel() for weight in student.parameters())
        say(
            f"{count / 1e6:.2f} M parameters learn {len(shapes)} layers from {len(recordings)} recordings, on {accelerator.device.type}"
        )
    Loop(
        lesson,
        source,
        args,
        accelerator,
        folder,
        groups,
        seed=seed,
        begin_epoch=begin,
        evaluate=evaluate,
        keep=keep,
        say=say,
    ).run()
    student.eval()
    return folder


class _Lesson(nn.Module):
    """Teacher and student on the same crops; the student is trained, and the teacher's statistics are saved with it."""

    def __init__(self, teacher: Teacher, distillation: Distillation):
        super().__init__()
        self.teacher, self.distillation = teacher, distillation

    def forward(self, inputs: torch.Tensor, teacher_inputs: torch.Tensor) -> DistillationOutput:
        return self.distillation(inputs, self.teacher.targets(teacher_inputs))


@dataclass
class _Source:
    """The `Source` of a loop that trains on crops: a row is the number of a crop, which is used once."""

    crops: Crops
    teacher: Teacher
    extractor: Any
    steps: int
    batch_size: int
    save_steps: int

    def plan(self, epoch: int) -> list[list[int]]:
        steps = range(epoch * self.save_steps, min((epoch + 1) * self.save_steps, self.steps))
        return [list(range(step * self.batch_size, (step + 1) * self.batch_size)) for step in steps]

    def batch(self, rows: Sequence[int], epoch: int) -> dict[str, torch.Tensor]:
        waveforms = self.crops.batch(rows)
        return {"inputs": _extracted(self.extractor, waveforms), "teacher_inputs": self.teacher.inputs(waveforms)}

    def weight(self, rows: Sequence[int]) -> float:
        return float(len(rows))


def _encoder(encoder: Any, extractor: Any) -> tuple[Any, Any]:
    """Return model and feature extractor, loaded if they are given by name."""
    from transformers import AutoFeatureExtractor, AutoModel, PreTrainedModel

    from multimodal_ser.model.modeling_multimodal_ser import trained_encoder

    if isinstance(encoder, PreTrainedModel) and extractor is None:
        raise InputError(
            "extractor", expected="that of the encoder", got="none", remedy="give it, or give the encoder by name"
        )
    try:
        return trained_encoder(encoder, AutoModel), extractor or AutoFeatureExtractor.from_pretrained(encoder)
    except (OSError, ValueError, TypeError) as error:
        line = " ".join(str(error).split())[:400]
        raise InputError("teacher", expected="a trained speech encoder", got=line, remedy="check the name") from error


def _waveform_extractor(student: Any) -> Any:
    from transformers import Wav2Vec2FeatureExtractor

    if student.main_input_name != "input_values":
        got = f"a {type(student).__name__}, which takes {student.main_input_name}"
        raise InputError(
            "student_extractor", expected="an encoder of waveforms", got=got, remedy="give its feature extractor"
        )
    return Wav2Vec2FeatureExtractor(sampling_rate=SAMPLING_RATE, do_normalize=True, return_attention_mask=True)


def _extracted(extractor: Any, crops: np.ndarray) -> torch.Tensor:
    """Return features in single precision; crops have equal length, so that no padding and no mask are needed."""
    with torch.autocast("cpu", enabled=False):
        features = extractor(list(crops), sampling_rate=SAMPLING_RATE, padding="longest", return_tensors="pt")
    return features[extractor.model_input_names[0]]


def _states(encoder: Any, inputs: torch.Tensor, layers: Sequence[int]) -> list[torch.Tensor]:
    states = encoder(**{encoder.main_input_name: inputs}, output_hidden_states=True).hidden_states
    return [states[layer].float() for layer in layers]


def _layers(name: str, layers: Sequence[int], available: int) -> tuple[int, ...]:
    wrong = [layer for layer in layers if not 0 <= layer <= available or layer != int(layer)]
    if wrong or not len(layers):
        got = ", ".join(map(str, wrong)) or "none"
        raise InputError(
            name,
            expected=f"numbers from 0 to {available}, the layers of this encoder",
            got=got,
            remedy="name such layers",
        )
    return tuple(int(layer) for layer in layers)


def _aligned(student: int, teacher: int, shift: int) -> tuple[int, int, int]:
    """Return the first common frame of the student and of the teacher, and the number of common frames."""
    ours = max(0, -shift)
    theirs = max(0, shift)
    frames = min(student - ours, teacher - theirs)
    if frames < 1:
        got = f"{shift}, of {student} frames and {teacher} of the teacher's"
        raise InputError(
            "shift", expected="frames that lie on each other", got=got, remedy="lower it, or take longer crops"
        )
    return ours, theirs, frames


@torch.no_grad()
def _fitting(student: Any, extractor: Any, teacher: Teacher, crop: np.ndarray, shift: int) -> list[tuple[int, int]]:
    """Check that student and teacher have the same frame rate; return the shapes (T, D) of the teacher's states of a
    crop.
    """
    for name, rate in (("teacher", teacher.extractor.sampling_rate), ("student_extractor", extractor.sampling_rate)):
        if rate != SAMPLING_RATE:
            raise InputError(name, expected=f"{SAMPLING_RATE} Hz", got=f"{rate} Hz", remedy="use an encoder for 16 kHz")
    if student.config.model_type == "whisper":
        raise InputError(
            "student", expected="an encoder", got="a whole Whisper", remedy="use WhisperAudioEncoder.from_whisper(...)"
        )
    training = student.training
    student.eval()
    frames = []
    for audio in (crop, crop[:, : crop.shape[1] // 2]):  # their difference does not depend on losses at the edges
        ours = _states(student, _extracted(extractor, audio).to(student.device), [0])[0].shape[1]
        frames.append((ours, teacher.states(teacher.inputs(audio))[0].shape[1]))
    student.train(training)
    gained = [whole - half for whole, half in zip(*frames, strict=True)]
    if abs(gained[0] - gained[1]) > 1:
        rates = [count * 2 * SAMPLING_RATE / crop.shape[1] for count in gained]
        expected = f"about {rates[1]:.0f} frames a second, as the teacher has"
        raise InputError(
            "student", expected=expected, got=f"about {rates[0]:.0f}", remedy="change the strides of its convolutions"
        )
    _aligned(*frames[0], shift)
    return [(layer.shape[1], layer.shape[2]) for layer in teacher.states(teacher.inputs(crop))]


def _groups(distillation: Distillation, rate: float, front_rate: float | None, decay: float) -> list[dict[str, Any]]:
    """Return parameter groups for AdamW: the student's front, and the rest with the maps."""
    trained = {name: weight for name, weight in distillation.student.named_parameters() if weight.requires_grad}
    if not trained:
        raise InputError(
            "student", expected="weights to train", got="all of them frozen", remedy="call student.requires_grad_(True)"
        )
    front = [weight for name, weight in trained.items() if FRONT.search(name)]
    if front_rate is not None and not front_rate > 0:
        raise InputError(
            "front_learning_rate", expected="more than 0", got=f"{front_rate:g}", remedy="raise it, or freeze the front"
        )
    if front_rate is not None and not front:
        raise InputError(
            "front_learning_rate",
            expected="a front that is trained",
            got="none, or a frozen one",
            remedy="leave it out",
        )
    rest = [weight for name, weight in trained.items() if not FRONT.search(name)] + list(distillation.maps.parameters())
    groups = [{"params": front, "lr": rate if front_rate is None else front_rate}] if front else []
    return [group | {"weight_decay": decay} for group in [*groups, {"params": rest, "lr": rate}]]


def _accelerator(args: TrainingArguments) -> Any:
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # layers of the student above those that learn
    try:
        return Accelerator(mixed_precision="bf16" if args.bf16 else "no", cpu=args.use_cpu, kwargs_handlers=[unused])
    except ValueError as error:  # Accelerate fixes them for a whole process
        got = " ".join(str(error).split())[:200]
        remedy = "use the values of earlier runs in this process, or start another process"
        raise InputError("bf16, use_cpu", expected="what this process can do", got=got, remedy=remedy) from error


def _claim(folder: Path, options: dict[str, Any], accelerator: Any) -> None:
    """Require a folder without a run, or with one of the same options, and write the options into it."""
    path = folder / "distillation.json"
    now = json.loads(json.dumps(options, default=str))
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))["options"]
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            got = ", ".join(f"{name} {now[name]!r} instead of {before.get(name)!r}"[:200] for name in changed[:4])
            expected = f"the options that the run in {folder} began with"
            raise InputError("output_dir", expected=expected, got=got, remedy="give the same, or another output_dir")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"options": now, "environment": environment()})
    accelerator.wait_for_everyone()
