"""`quantize`: smaller ONNX graphs with 8-bit weights, and the same predictions on every processor."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from multimodal_ser.export.onnx_runtime import with_int8

SCOPES = "pkg.torch.onnx.name_scopes"
"""Key of the metadata in which PyTorch's exporter stores the module of a node."""

BLOCK = 16
"""Number of neighboring weights that share a scale."""

SMALL = 4096
"""Number of elements below which a weight is not quantized."""

HALF = (".feature_projection", ".audio_branch.encoder.encoder.layers.0", ".audio_branch.encoder.layers.0")
"""Parts of the audio branch with 16-bit weights: 8 bits would change most labels there."""


def quantize(path: str | os.PathLike) -> Path:
    """Write a copy of a graph with 8-bit weights, `model_int8.onnx` for `model.onnx`, as `export_onnx(int8=True)` does.

    Weights of matrix products and embeddings are 8-bit integers with a scale for each 16; those of convolutions, of the
    audio branch's first layer and of the projection before it are 16-bit floats. onnxruntime converts all of them to
    fp32 when it loads the graph, and calculates in fp32: the speed is that of the graph in fp32, and the result of a
        row
    depends neither on the processor nor on the batch. Integer arithmetic (onnxruntime's dynamic quantization) is faster
    on some processors, but its activations share a scale across a batch, its products saturate on processors without
    VNNI, and it changed more labels (docs/onnx.md).

    Args:
        path: path of the graph.

    Returns:
        Path of the new graph.
    """
    import onnx
    from onnx import helper, numpy_helper

    path = Path(path)
    target = path.with_name(with_int8(path.name))
    has_external_data = path.with_name(f"{path.name}.data").exists()
    model = onnx.load(path)
    formats: dict[str, str] = {}  # of each weight: "int8" or "float16"
    for node in model.graph.node:
        scope = "".join(entry.value for entry in node.metadata_props if entry.key == SCOPES)
        if node.op_type in ("MatMul", "Gemm", "Gather"):
            kind = "float16" if node.op_type != "Gather" and any(part in scope for part in HALF) else "int8"
            formats |= {node.input[0 if node.op_type == "Gather" else 1]: kind}
        elif node.op_type == "Conv":
            formats |= {node.input[1]: "float16"}
    nodes = []
    weights = [
        tensor
        for tensor in model.graph.initializer
        if tensor.name in formats and tensor.data_type == onnx.TensorProto.FLOAT
    ]
    for weight in weights:
        parts = _quantized(numpy_helper.to_array(weight), formats[weight.name])
        if not parts:
            continue
        name = weight.name
        cast = {"int8": f"{name}.int8.float", "scale": f"{name}.scale.float", "float16": name}
        model.graph.initializer.remove(weight)
        model.graph.initializer.extend(
            numpy_helper.from_array(value, f"{name}.{part}") for part, value in parts.items()
        )
        nodes += [
            helper.make_node("Cast", [f"{name}.{part}"], [cast[part]], to=onnx.TensorProto.FLOAT)
            for part in parts
            if part != "shape"
        ]
        if "int8" in parts:
            nodes.append(helper.make_node("Mul", [cast["int8"], cast["scale"]], [f"{name}.blocks"]))
            nodes.append(helper.make_node("Reshape", [f"{name}.blocks", f"{name}.shape"], [name]))
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    external_data = target.with_name(f"{target.name}.data")
    external_data.unlink(missing_ok=True)  # onnx would append to an old file
    onnx.save(model, target, save_as_external_data=has_external_data, location=external_data.name)
    return target


quantise = quantize
"""Old name of `quantize`."""


def _quantized(weights: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    """Return the parts that replace a weight; empty if it stays unchanged.

    Returns:
        "int8": blocks (N, BLOCK), "scale": (N, 1), "shape": the shape of the weight; or "float16": the weight.
    """
    largest = float(np.abs(weights).max(initial=0))
    if weights.size < SMALL or not largest < np.finfo(np.float16).max:
        return {}
    if kind == "float16" or weights.shape[-1] % BLOCK:
        return {"float16": weights.astype(np.float16)}
    blocks = weights.reshape(-1, BLOCK)
    scale = np.maximum(np.abs(blocks).max(1, keepdims=True) / 127, np.finfo(np.float16).smallest_subnormal).astype(
        np.float16
    )
    rounded = np.rint(blocks / scale.astype(np.float32)).clip(-127, 127).astype(np.int8)
    return {"int8": rounded, "scale": scale, "shape": np.array(weights.shape, np.int64)}
