"""Smaller ONNX graphs: weights of 8 bits, stored so that no label depends on the processor."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from multimodal_ser.export.onnx_runtime import with_int8

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter writes down of which module a node was part."""

BLOCK = 16
"""Neighbouring weights that share a scale in `quantise`."""

SMALL = 4096
"""Weights of fewer numbers stay as they are."""

HALF = (".feature_projection", ".audio_branch.encoder.encoder.layers.0", ".audio_branch.encoder.layers.0")
"""Parts of the audio branch whose weights change most labels when they are rounded to 8 bits: they keep 16."""


def quantise(path: str | os.PathLike) -> Path:
    """Write the same graph with 8-bit weights beside it, `model_int8.onnx` beside `model.onnx`; `export_onnx(int8=True)` does.

    Weights of matrix products and embeddings are 8-bit integers with a scale for each 16; those of convolutions, of the audio
    branch's first layer and of the projection before it are 16-bit floats. onnxruntime turns all of them into fp32 once, when it loads
    the graph, and calculates in fp32: as fast as the graph in fp32, the same answers on every processor, alone and in company.
    Integer arithmetic (onnxruntime's dynamic quantisation) is faster on processors made for it, but its activations share a scale
    across a batch, its products saturate on processors without VNNI, and it changed more labels (docs/onnx.md).

    Returns:
        Its path.
    """
    import onnx
    from onnx import helper, numpy_helper

    path = Path(path)
    target, large = path.with_name(with_int8(path.name)), path.with_name(f"{path.name}.data").exists()
    model = onnx.load(path)
    uses: dict[str, str] = {}  # how each weight is stored
    for node in model.graph.node:
        scope = "".join(entry.value for entry in node.metadata_props if entry.key == SCOPES)
        if node.op_type in ("MatMul", "Gemm", "Gather"):
            kind = "float16" if node.op_type != "Gather" and any(part in scope for part in HALF) else "int8"
            uses |= {node.input[0 if node.op_type == "Gather" else 1]: kind}
        elif node.op_type == "Conv":
            uses |= {node.input[1]: "float16"}
    nodes = []
    for stored in [
        each for each in model.graph.initializer if each.name in uses and each.data_type == onnx.TensorProto.FLOAT
    ]:
        parts = _stored(numpy_helper.to_array(stored), uses[stored.name])
        if not parts:
            continue
        name, cast = (
            stored.name,
            {part: f"{stored.name}.{part}.float" for part in ("int8", "scale")} | {"float16": stored.name},
        )
        model.graph.initializer.remove(stored)
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
    beside = target.with_name(f"{target.name}.data")
    beside.unlink(missing_ok=True)  # onnx would write behind what is there
    onnx.save(model, target, save_as_external_data=large, location=beside.name)
    return target


def _stored(weights: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    """What stands in for weights: blocks (N, BLOCK), their scales (N, 1) and the true shape, or 16-bit floats; nothing: they stay."""
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
