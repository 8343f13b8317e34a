"""The codes of a compressed layer once normalisation is folded into it: their steps, the bias in their unit, and both
in a graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from .._compression.state import Layer
from .entry import library
from .integers import multiply_codes


def folded_codes(
    integers: np.ndarray,  # (channels, ...) int8: the codes before folding
    weight: np.ndarray,  # the same shape: the folded weight
) -> tuple[np.ndarray, np.ndarray]:  # int8 codes, and a float32 step a channel; both 0 where nothing is left
    """The codes of a folded weight, and their steps."""
    rows = integers.reshape(len(integers), -1).astype(np.int32)
    values = weight.reshape(len(weight), -1)
    at = np.arange(len(rows)), np.abs(rows).argmax(1)
    step = values[at] / np.where(rows[at] == 0, 1, rows[at])
    codes = rows * np.sign(step).astype(np.int32)[:, None]
    return codes.astype(np.int8).reshape(integers.shape), np.abs(step).astype(np.float32)


def with_bias(
    codes: np.ndarray,  # of `folded_codes`
    step: np.ndarray,  # likewise
    bias: np.ndarray,  # (channels,) float32
    input_step: float,  # of the 256 levels of the layer's input
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # codes, positive steps, int32 bias
    """Codes, steps, and the bias in units of both steps."""
    wide = np.maximum(step, np.abs(bias) / (input_step * 2**30)).astype(np.float32)
    wide = np.where(wide > 0, wide, np.float32(1))
    codes = np.rint(codes * (step / wide).reshape(-1, *[1] * (codes.ndim - 1))).astype(np.int8)
    return codes, wide, np.rint(bias.astype(float) / (input_step * wide)).astype(np.int32)


def on_integers(
    module: nn.Module,  # a folded layer with plain weights, changed in place
    integers: np.ndarray,  # its codes before folding
) -> None:
    """Let a layer that rounds its input compute with codes."""
    scale = module.input_range.scale.item()
    bias = np.zeros(len(integers), np.float32) if module.bias is None else module.bias.numpy()
    codes, step, offset = with_bias(*folded_codes(integers, module.weight.numpy()), bias, scale)
    multiply_codes(
        module, torch.from_numpy(codes), torch.from_numpy(offset), torch.from_numpy(np.float32(scale) * step)
    )


def to_integers(
    graph,  # a `qdq.Graph`, changed in place
    layer: Layer,  # one that is on a grid
    module: nn.Module,  # that uses it
    name: str,  # of the module
) -> None:
    """Replace a layer's weight and bias by integers, and round its input; a weight that is not multiplied as it is
    stays float."""
    weight, levels = f"{name}.weight", getattr(module, "input_range", None)
    if not all(graph.multiplies(node, weight) for node in graph.products(weight)):
        return
    codes, step = folded_codes(layer.integers.cpu().numpy(), graph.constants[weight])
    for node in graph.products(weight):
        bias = node.input[2] if len(node.input) > 2 else ""
        user = node if weight in node.input else graph.maker(node.input[1])
        if levels is None:
            value = graph.dequantized(weight, codes, np.where(step > 0, step, np.float32(1)))
        else:
            scale, zero = levels.scale.item(), levels.zero.item()
            node.input[0] = graph.rounded(node.input[0], scale, zero)
            offset = graph.constants[bias] if bias else np.zeros(len(codes), np.float32)
            own, steps, offset = with_bias(codes, step, offset, scale)
            value = graph.dequantized(weight, own, steps)
            if bias:
                node.input[2] = graph.dequantized(bias, offset, np.float32(scale) * steps)
        user.input[list(user.input).index(weight)] = value


def weight_codes(
    path: str | Path,  # as `export_onnx` wrote it
) -> dict[str, np.ndarray]:  # int8, by name of the layer
    """The integers that stand in a file for weights."""
    onnx = library("onnx")
    tensors = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    found = {name: tensor for name, tensor in tensors.items() if ".weight" in name and "_codes" in name}
    return {name.rpartition(".weight")[0]: onnx.numpy_helper.to_array(tensor) for name, tensor in found.items()}
