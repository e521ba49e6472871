"""`export_onnx` and `export_torch`: the model as ONNX graphs (see `onnx_runtime`) or as `torch.export` programs.

Every graph is compared with the model after it is written, over lengths, batches and missing modalities.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_ser._files import put, write_text, writing
from multimodal_ser._version import __version__
from multimodal_ser.errors import InputError
from multimodal_ser.export.onnx_runtime import FORMS, GRAPHS, MEL_FILTERS, MIN_TOKENS, Features, OnnxGraph, with_int8
from multimodal_ser.export.quantization import SCOPES, quantize
from multimodal_ser.export.quantization import quantise as quantise  # the old name, for importers of this module

if TYPE_CHECKING:
    import torch

    from multimodal_ser.model.modeling_multimodal_ser import MultimodalEmotionClassifier

TOLERANCE = 1e-4
"""Largest difference between the outputs of a graph and the model."""

LONGEST_TEXT = 2**16
"""Largest number of tokens of an ONNX graph; texts longer than the text encoder are divided into
windows in the graph.
"""

SENTENCE = "it was not so very happy by the door "
"""Text for tracing and comparing graphs; the words do not matter."""


def export_onnx(
    model: MultimodalEmotionClassifier,
    output_dir: str | os.PathLike,
    *,
    modalities: Sequence[str] | None = None,
    int8: bool = False,
) -> Path:
    """Write ONNX graphs, with all other files that `OnnxEmotionClassifier` needs.

    Batch, audio length and text length are dynamic; temperatures are in the graph. The exporter is that of PyTorch
    (https://docs.pytorch.org/docs/stable/onnx_export.html), with `torch.export`.

    Args:
        model: the classifier, in fp32 on the CPU.
        output_dir: folder, which is made if it does not exist.
        modalities: graphs to write: "both" (either modality may be missing in a row), "audio", "text"; None: all that
            the model was trained on.
        int8: store weights of matrix products and embeddings as 8-bit integers, see `quantize`.

    Returns:
        The folder.

    Raises:
        InputError: the model is not in fp32 on the CPU, a modality is unknown, the tokenizer or feature extractor needs
            transformers, a graph differs from the model by more than 1e-4, or onnx, onnxscript or onnxruntime is not
            installed.

    Example:
        >>> from multimodal_ser.export.onnx_export import export_onnx  # export_onnx(classifier, "onnx_model"); see docs/onnx.md
        >>> from multimodal_ser.testing import tiny_model
        >>> export_onnx(tiny_model().bfloat16(), "nowhere")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        multimodal_ser.errors.InputError: export: expected a model in float32 on the CPU, got bfloat16 on cpu; load it with ...
    """
    from multimodal_ser.model.sharing import evaluation_view

    forms = _checked(model, modalities)
    if absent := [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]:
        raise InputError(
            "export onnx", expected="the packages of the extra onnx", got=f"{', '.join(absent)} not installed",
            remedy='pip install "multimodal_ser[onnx]"',
        )  # fmt: skip
    output_dir = Path(output_dir)
    _check_folder(
        model,
        output_dir,
        {GRAPHS[form] for form in forms} | ({with_int8(GRAPHS[form]) for form in forms} if int8 else set()),
    )
    output_dir.mkdir(parents=True, exist_ok=True)
    model = evaluation_view(model)
    _write_settings(model, output_dir)
    _check_features(model, output_dir)
    for form in forms:
        with tempfile.TemporaryDirectory(dir=output_dir) as temporary:
            written = Path(temporary) / GRAPHS[form]
            _write_graph(model, form, written)
            _check(model, form, _OnnxOutputs(written), written.name)
            if int8:
                written = quantize(written)
                _difference(model, form, _OnnxOutputs(written))  # it runs; its accuracy depends on real recordings
            for file in Path(temporary).glob(f"{written.name}*"):  # weights of more than 1.5 GB have files of their own
                put(file, output_dir / file.name)
    _write_readme(model, output_dir)
    return output_dir


def export_torch(
    model: MultimodalEmotionClassifier, output_dir: str | os.PathLike, *, modalities: Sequence[str] | None = None
) -> Path:
    """Write `torch.export` programs (`model.pt2`, `model_audio.pt2`, `model_text.pt2`) and the processor.

    `torch.export.load("model.pt2").module()(**inputs)` runs a program in PyTorch without this library and without
    transformers; names of inputs are those of the processor (see docs/onnx.md). Ahead-of-time compilers take such
    programs too. Texts longer than the text encoder are not supported.

    Args:
        model: the classifier, in fp32 on the CPU.
        output_dir: folder, which is made if it does not exist.
        modalities: see `export_onnx`.

    Returns:
        The folder.

    Raises:
        InputError: see `export_onnx`.
    """
    import torch

    from multimodal_ser.model.sharing import evaluation_view

    forms = _checked(model, modalities)
    output_dir = Path(output_dir)
    _check_folder(model, output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    model = evaluation_view(model)
    model.config.save_pretrained(output_dir)
    model.processor.save_pretrained(output_dir)
    for form in forms:
        target = output_dir / Path(GRAPHS[form]).with_suffix(".pt2")
        with _quiet(), tempfile.TemporaryDirectory(dir=output_dir) as temporary:
            written = Path(temporary) / target.name
            program, _, outputs = _program(model, form, long_texts=False)
            torch.export.save(program, written)
            _check(model, form, _TorchOutputs(written, outputs), target.name, long_texts=False)
            put(written, target)
    return output_dir


def _checked(model: Any, modalities: Sequence[str] | None) -> list[str]:
    import torch

    if model.dtype != torch.float32 or model.device.type != "cpu":
        got = f"{str(model.dtype).removeprefix('torch.')} on {model.device}"
        remedy = "load it with from_pretrained(..., dtype='float32', device='cpu')"
        raise InputError("export", expected="a model in float32 on the CPU", got=got, remedy=remedy)
    trained = model.config.trained_modalities
    if modalities is None:
        return list(FORMS) if trained is None or len(trained) == 2 else list(trained)
    forms = [modalities] if isinstance(modalities, str) else list(modalities)
    if not forms or not set(forms) <= set(FORMS):
        raise InputError(
            "modalities",
            expected=f"some of {', '.join(FORMS)}",
            got=repr(modalities),
            remedy="leave it out for all of them",
        )
    return forms


def _check_folder(model: Any, folder: Path, written: Collection[str] = ()) -> None:
    """Require a folder without a checkpoint and without graphs of another model."""
    if any(folder.glob("*.safetensors")):
        remedy = f"name another, such as {folder / 'onnx'}"
        raise InputError(
            "--output-dir",
            expected="a folder for the export alone",
            got=f"{folder}, which holds a checkpoint",
            remedy=remedy,
        )
    others = [path for path in sorted(folder.glob("model*.onnx")) if path.name not in written]
    if foreign := [path.name for path in others if _weights_of(path) != _weights_hash(model)]:
        got = f"{', '.join(foreign)} of another model in {folder}"
        remedy = "delete them, or name another folder"
        raise InputError("--output-dir", expected="graphs of this model alone", got=got, remedy=remedy)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the logs and warnings of exporters, which name every unused operator and their own deprecations."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _graph(model: MultimodalEmotionClassifier, form: str, long_texts: bool) -> tuple[torch.nn.Module, list[str]]:
    """Return a module with the inputs of one form, and the names of its outputs."""
    import torch
    from torch import nn

    name = model.processor.model_input_names[0]
    core, audio_branch, text_branch = model.model, model.model.audio_branch, model.model.text_branch
    # branches that are not batched take one row
    mixed = text_branch._layer_sum if text_branch.batched else text_branch._mixed
    outputs = [
        "logits",
        "embeddings",
        *(["dimensions"] if model.config.dimensions else []),
        *(["hidden_mean"] if form != "text" else []),
    ]

    def text_states(input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Compute `TextBranch.encode` without conditions on values: the number of windows comes from the shape."""
        limit = text_branch.max_length
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], dim=1)
        if not long_texts:
            return mixed(input_ids, mask)
        stride, tokens, edge = limit // 2, input_ids.shape[1], limit // 2 if text_branch.causal else limit // 4
        width: Any = torch.sym_min(tokens, limit)
        windows: Any = torch.sym_max(tokens - limit + stride - 1, 0) // stride + 1
        places = (torch.arange(windows) * stride)[:, None] + torch.arange(width)[None]
        window_ids = nn.functional.pad(input_ids, (0, limit))[:, places].flatten(0, 1)
        window_mask = nn.functional.pad(mask, (0, limit))[:, places].flatten(0, 1)
        window_mask = torch.cat([torch.ones_like(window_mask[:, :1]), window_mask[:, 1:]], dim=1)
        states = mixed(window_ids, window_mask)  # (B * windows, width, Dt)
        states = states.unflatten(0, (-1, windows)).flatten(1, 2)
        count = (mask.sum(1) - limit + stride - 1).clamp_min(0).div(stride, rounding_mode="floor") + 1
        position = torch.arange(tokens)[None].expand(mask.shape)
        window = (position - edge).div(stride, rounding_mode="floor").clamp_min(0).minimum(count[:, None] - 1)
        place = window * width + (position - window * stride).clamp_max(limit - 1)
        return states.gather(1, place[..., None].expand(-1, -1, states.shape[-1]))

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = model

        def forward(self, **inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            states_of: dict[str, Any] = {}
            if form != "text":
                mask = inputs["audio_attention_mask"]
                states, frames = core.get_audio_features(inputs[name], mask if audio_branch.batched else None)
                frames = frames & mask.ne(0).any(1, keepdim=True)
                states_of |= {
                    "audio_hidden_states": states,
                    "audio_attention_mask": frames,
                    "speaker_mean": inputs["speaker_mean"],
                }
                weights = frames[:, None, :, None].to(states.dtype)
                hidden_mean = (states * weights).sum(2) / weights.sum(2).clamp_min(1)
            if form != "audio":
                mask = inputs["attention_mask"]
                states_of |= {"text_hidden_states": text_states(inputs["input_ids"], mask), "attention_mask": mask}
            output = self.classifier(**states_of)
            return tuple(hidden_mean if field == "hidden_mean" else output[field] for field in outputs)

    audio_inputs, text_inputs = [name, "audio_attention_mask"], ["input_ids", "attention_mask"]
    names = {
        "both": [*audio_inputs, *text_inputs, "speaker_mean"],
        "audio": [*audio_inputs, "speaker_mean"],
        "text": text_inputs,
    }[form]
    parameters = [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in ("self", *names)]
    signature: Any = Graph.forward
    signature.__signature__ = inspect.Signature(parameters)  # torch.export takes the names of inputs from it
    return Graph().eval(), outputs


def _program(
    model: MultimodalEmotionClassifier, form: str, long_texts: bool
) -> tuple[torch.export.ExportedProgram, dict, list[str]]:
    """Return the traced graph of one form, the dynamic shapes of its inputs, and the names of its outputs."""
    import torch
    from torch.export import Dim

    graph, outputs = _graph(model, form, long_texts)
    limit = model.model.text_branch.max_length
    batched = _batched(model, form)
    rows = 3 if batched else 1
    # More tokens than the encoder takes give several windows: a single one would become a constant of the graph.
    words = limit + limit // 2 if long_texts else min(40, limit // 2)
    # No stride divides this length: the graph would require its divisor of every length.
    seconds = 16_411 / model.processor.sampling_rate
    inputs = _inputs(model, form, [seconds] * rows, [words] * rows)
    batch = Dim("batch", min=1, max=2**16)
    tokens = Dim("tokens", min=MIN_TOKENS, max=LONGEST_TEXT if long_texts else limit)
    time = Dim("time", min=_shortest(model, 2), max=_longest_audio(model))
    shapes: dict[str, Any] = {}
    for name, value in inputs.items():
        shapes[name] = {0: batch} if batched else {}
        if name in ("input_ids", "attention_mask"):
            shapes[name][1] = tokens
        elif name != "speaker_mean":
            shapes[name][1 if model.model.audio_branch.time_first else value.dim() - 1] = time
    shapes = {name: shape or None for name, shape in shapes.items()}
    with torch.no_grad():
        program = torch.export.export(
            graph, (), inputs, dynamic_shapes=shapes, strict=False, prefer_deferred_runtime_asserts_over_guards=True
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it contains names of local folders
    return program, shapes, outputs


def _batched(model: Any, form: str) -> bool:
    """Return whether the branches of a form take several rows at once."""
    return (form == "text" or model.model.audio_branch.batched) and (form == "audio" or model.model.text_branch.batched)


def _shortest(model: Any, frames: int) -> int:
    """Return the number of samples or spectrogram frames that give so many hidden states.

    A single state would become a constant of the graph.
    """
    from multimodal_ser.model.modeling_branches import _shortest_input

    return _shortest_input(model.config.audio_config, frames)


def _longest_audio(model: Any) -> int:
    return 2 * getattr(model.config.audio_config, "max_source_positions", 2**23)  # only Whisper encoders have a limit


def _inputs(
    model: Any, form: str, seconds: Sequence[float | None], tokens: Sequence[int | None]
) -> dict[str, torch.Tensor]:
    """Return a batch of noise and words for one form, a row for each number of seconds and tokens; None: missing."""
    import torch

    generator = np.random.default_rng(len(seconds))
    name, rate = model.processor.model_input_names[0], model.processor.sampling_rate
    inputs: dict[str, torch.Tensor] = {}
    if form != "text":
        audio = [
            None if s is None else 0.1 * generator.normal(size=round(s * rate)).astype(np.float32) for s in seconds
        ]
        like = model.processor(audio=[np.zeros(rate // 10, np.float32)], sampling_rate=rate)
        silent = {
            key: torch.zeros(len(audio), *like[key].shape[1:], dtype=like[key].dtype)
            for key in (name, "audio_attention_mask")
        }
        values = model.processor(audio=audio, sampling_rate=rate) if any(s is not None for s in seconds) else silent
        short = max(_shortest(model, 2) - values["audio_attention_mask"].shape[1], 0)
        padding = (0, 0, 0, short) if model.model.audio_branch.time_first else (0, short)
        inputs = {
            key: torch.nn.functional.pad(values[key], (0, short) if key == "audio_attention_mask" else padding)
            for key in silent
        }
    if form != "audio":
        words = model.processor.tokenizer(
            SENTENCE * max(1, *(n or 0 for n in tokens)), return_tensors="pt", verbose=False
        )["input_ids"]
        length = torch.tensor([n or 0 for n in tokens])
        inputs["input_ids"] = words[:, : max(MIN_TOKENS, *length)].repeat(len(length), 1)
        inputs["attention_mask"] = (torch.arange(inputs["input_ids"].shape[1]) < length[:, None]).long()
    if form != "text":
        branch = model.model.audio_branch
        inputs["speaker_mean"] = torch.full((len(seconds), *branch.hidden_mean.shape), float("nan"))
        inputs["speaker_mean"][1:2] = branch.hidden_mean + 0.1 * branch.hidden_std  # the second row has a speaker
    return inputs


class _OnnxOutputs:
    """A graph in onnxruntime, with the interface of the model."""

    def __init__(self, path: Path):
        self.graph = OnnxGraph(path)

    def __call__(self, inputs: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
        return self.graph({name: value.numpy() for name, value in inputs.items()})


class _TorchOutputs:
    """A saved program, loaded again, with the interface of the model."""

    def __init__(self, path: Path, outputs: list[str]):
        import torch

        self.module = torch.export.load(path).module()
        self.outputs = outputs

    def __call__(self, inputs: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
        return {name: value.detach().numpy() for name, value in zip(self.outputs, self.module(**inputs), strict=True)}


def _difference(model: MultimodalEmotionClassifier, form: str, run: Any, long_texts: bool = True) -> float:
    """Return the largest difference between a graph and the model over lengths, batches and missing modalities.

    Differences of embeddings and mean hidden states, which may be large, are relative to the largest value.
    """
    import torch

    limit = model.model.text_branch.max_length
    # If padding changes the result, a clip of one frame gives another one, since it is padded to two.
    least = max(0.025, _shortest(model, 1 if _batched(model, form) else 2) / model.processor.sampling_rate)
    cases: list[tuple[list[float | None], list[int | None]]] = [
        ([1.1], [7]),
        ([least], [2]),
        ([2.37], [min(limit, 61)]),
    ]
    if form == "both":
        cases += [([0.9, None, 0.31, 1.7], [4, 9, None, 12]), ([None, None], [5, 3]), ([0.5, 0.4], [None, None])]
    else:
        cases += [([0.9, 0.31, 0.05, 1.7, 0.6], [4, 9, 1, 12, 30])]
    if long_texts and form != "audio" and limit <= 1024:
        cases += [([0.5, 0.7, 0.4], [limit + 1, 3, 2 * limit + 7])]
    worst = 0.0
    for seconds, tokens in cases:
        rows = (
            [([s], [n]) for s, n in zip(seconds, tokens, strict=True)]
            if not _batched(model, form)
            else [(seconds, tokens)]
        )
        for batch in rows:
            inputs = _inputs(model, form, *batch)
            with torch.no_grad():
                expected = {name: value.numpy() for name, value in model(**inputs).items()}
                if form != "text":
                    name = model.processor.model_input_names[0]
                    states, frames = model.model.get_audio_features(inputs[name], inputs["audio_attention_mask"])
                    means = [state[:, frame].mean(1) for state, frame in zip(states, frames, strict=True)]
                    expected["hidden_mean"] = torch.stack(means).nan_to_num().numpy()  # without frames: 0
            for name, value in run(inputs).items():
                scale = 1.0 if name in ("logits", "dimensions") else max(1.0, float(np.abs(expected[name]).max()))
                # np.maximum keeps NaN, unlike max()
                worst = float(np.maximum(worst, np.abs(value - expected[name]).max() / scale))
    return worst


def _check(model: MultimodalEmotionClassifier, form: str, run: Any, name: str, long_texts: bool = True) -> None:
    difference = _difference(model, form, run, long_texts)
    if not difference <= TOLERANCE:
        remedy = "export with another version of torch or onnx, and report it"
        raise InputError(
            f"export of {name}",
            expected=f"outputs within {TOLERANCE} of the model's",
            got=f"{difference:.2g}",
            remedy=remedy,
        )


def _write_graph(model: MultimodalEmotionClassifier, form: str, path: Path) -> None:
    import torch

    def convert() -> Any:
        program, shapes, outputs = _program(model, form, long_texts=True)
        return torch.onnx.export(
            program, dynamo=True, input_names=list(shapes), output_names=outputs, dynamic_shapes=shapes, verbose=False
        )

    with _quiet():
        try:
            exported = convert()
        except Exception:  # the exporter cannot convert T5's sdpa attention
            with _eager(model):
                exported = convert()
        metadata = {
            "form": form, "version": __version__, "batched": _batched(model, form), "min_length": _shortest(model, 2),
            "max_tokens": LONGEST_TEXT, "text_window": model.model.text_branch.max_length,
            "audio_encoder": model.encoder_fingerprint, "weights": _weights_hash(model),
        }  # fmt: skip
        for node in exported.model.graph.all_nodes():  # metadata of nodes contains names of local folders
            for key in set(node.metadata_props) - {SCOPES}:
                del node.metadata_props[key]
        exported.model.metadata_props["multimodal_ser"] = json.dumps(metadata)
        exported.save(path)


def _weights_of(path: Path) -> str | None:
    """Return the `_weights_hash` of a graph's model; None for a graph from another program."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        metadata = {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}
    except DecodeError:
        return None
    return json.loads(metadata.get("multimodal_ser", "{}")).get("weights")


def _weights_hash(model: MultimodalEmotionClassifier) -> str:
    """Return a hash of weights, labels and temperatures, which identifies the model of a graph."""
    from multimodal_ser.model.fingerprint import tensor_digest

    calibrated = repr([sorted(model.config.temperature.items()), model.labels])
    return tensor_digest([calibrated, *model.state_dict().values()])[:16]


@contextlib.contextmanager
def _eager(model: MultimodalEmotionClassifier) -> Iterator[None]:
    """Switch both encoders to eager attention."""
    encoders: Any = (model.model.audio_branch.encoder, model.model.text_branch.encoder)
    before = [encoder.config._attn_implementation for encoder in encoders]
    try:
        for encoder in encoders:
            encoder.set_attn_implementation("eager")
        yield
    finally:
        for encoder, implementation in zip(encoders, before, strict=True):
            encoder.set_attn_implementation(implementation)


def _write_settings(model: MultimodalEmotionClassifier, folder: Path) -> None:
    """Write the complete configuration and the files of the processor."""
    settings = model.config.to_dict()
    settings.pop("_name_or_path", None)  # a local folder
    write_text(folder / "config.json", json.dumps(settings, indent=2, sort_keys=True) + "\n")
    model.processor.save_pretrained(folder)
    filters = getattr(model.processor.feature_extractor, "mel_filters", None)
    if filters is not None:
        with writing(folder / MEL_FILTERS) as place, open(place, "wb") as file:
            np.save(file, np.asarray(filters, np.float64))


def _check_features(model: MultimodalEmotionClassifier, folder: Path) -> None:
    """Check that `Features` gives the same inputs as the processor, for noise and words."""
    features = Features.from_pretrained(folder)
    generator = np.random.default_rng(0)
    audio = [0.1 * generator.normal(size=size).astype(np.float32) for size in (12_345, 4000)]
    text = [SENTENCE * 3, "Ça va? I'd say so -- 42 times, ÜBER alles!"]
    context = [["Hello there."], None]
    expected = dict(
        model.processor(audio=audio, text=text, context=context, sampling_rate=model.processor.sampling_rate)
    )
    got = features(audio, text, context)
    for name, value in expected.items():
        if got[name].shape != tuple(value.shape) or float(np.abs(got[name] - value.numpy()).max()) > TOLERANCE:
            remedy = "export_torch keeps to PyTorch's own tokenizer and feature extractor"
            raise InputError(
                "export onnx", expected=f"the processor's {name} without transformers", got="others", remedy=remedy
            )


README = """# Emotion recognition from speech and its transcript, as ONNX

Written by `multimodal-ser export onnx` ({version}). onnxruntime runs it; neither PyTorch nor transformers is needed.

```python
from multimodal_ser.export.onnx_runtime import OnnxEmotionClassifier

classifier = OnnxEmotionClassifier.from_pretrained("THIS_FOLDER")
print(classifier.predict("call.wav"))
```

- Classes: {labels}.
- Graphs: {graphs}.
- `config.json` is the model's configuration; `processor_config.json`, `tokenizer.json`, `tokenizer_config.json`{filters} say how
  recordings and words become tensors.
- Temperatures are in the graphs: {temperature}.
- Licence of the weights: {license}.

The model guesses which emotion a listener would hear; it does not know what a person feels. What it was trained on, how it was measured
and what it is not for: see the model that this was made of.
"""


def _write_readme(model: MultimodalEmotionClassifier, folder: Path) -> None:
    config = model.config
    sizes = {path.name: path.stat().st_size / 1e6 for path in sorted(folder.glob("model*.onnx*"))}
    text = README.format(
        version=__version__, labels=", ".join(model.labels), graphs=", ".join(f"`{name}` ({size:.0f} MB)" for name, size in sizes.items()),
        filters=f", `{MEL_FILTERS}`" if (folder / MEL_FILTERS).exists() else "",
        temperature=", ".join(f"{case} {value}" for case, value in config.temperature.items()),
        license=config.weights_license or "unknown; it is the author's to say",
    )  # fmt: skip
    write_text(folder / "README.md", text)
