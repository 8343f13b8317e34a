"""Integer arithmetic in torch: what an integer kernel computes, to the last bit, on float32 that holds integers.

A layer with an input range multiplies codes by codes. Its sums stay far below 2**24 in practice, so float32 adds them without
an error and in any order. Where nothing but clips and pools stands between a layer and the next one's rounding, a kernel
takes its sums to the next levels with one factor, input step times weight step over output step; `rescale_at_once` does
the same, because two factors round twice and a sum on the border of two levels would fall to the other side.
"""
from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, fx, nn

from ._state import ActivationRange

KEEPS_LEVELS = (nn.ReLU, nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity)
FUNCTIONS = (torch.relu, nn.functional.relu, torch.flatten, "relu", "flatten")
HIGHEST = 255


def _input_levels(module: nn.Module, inputs: tuple) -> tuple:
    """Forward pre-hook: an input as the integers of its levels, the zero point taken off."""
    values = inputs[0] if module.rescaled else inputs[0] / module.input_range.scale
    return (module.integer_levels(values), *inputs[1:])


def _scale_sums(module: nn.Module, inputs: tuple, sums: Tensor) -> Tensor:
    """Forward hook: what integer sums stand for."""
    return sums.mul_(module.unit)


def multiply_codes(module: nn.Module, codes: Tensor, bias: Tensor, unit: Tensor) -> None:
    """Let a layer with an input range multiply integers by integers, and scale each channel's sum by `unit`."""
    def constant(values): return nn.Parameter(values.float(), requires_grad=False)
    module.weight = constant(codes)  # a new one: another layer may share the old
    if module.bias is not None: module.bias = constant(bias)
    module.integer_levels, module.rescaled = ActivationRange(1., module.input_range.zero.item()), False
    module.register_buffer("unit", unit.view(-1, *[1] * (codes.ndim - 2)))
    module._forward_pre_hooks.clear()
    module.register_forward_pre_hook(_input_levels)
    module.register_forward_hook(_scale_sums)


def rescale_at_once(model: nn.Module) -> None:
    """One factor from a layer's sums to the levels of the layer behind it, where that one alone uses them."""
    if not isinstance(model, fx.GraphModule): return
    parts = dict(model.named_modules())
    called = [node for node in model.graph.nodes if node.op == "call_module"]
    times = Counter(id(parts[node.target]) for node in called)
    for node in called:
        layer = parts[node.target]
        if not hasattr(layer, "unit") or times[id(layer)] > 1: continue
        between, last = _until_rounded(node, parts)
        rounding = parts.get(last.target) if last is not None else None
        if not hasattr(rounding, "unit") or times[id(rounding)] > 1: continue
        clips = [step for step in between if isinstance(parts.get(step.target), nn.ReLU6)]
        if clips and 6 / rounding.input_range.scale < HIGHEST - .5: continue
        for clip in clips: _without_ceiling(model.graph, clip)
        layer.unit = layer.unit / rounding.input_range.scale
        rounding.rescaled = True
    model.recompile()


def _until_rounded(node: fx.Node, parts: dict[str, nn.Module]) -> tuple[list[fx.Node], fx.Node | None]:
    """What stands between a node and the one behind it that does more than clip or pick; None where several use it."""
    between = []
    while len(node.users) == 1:
        node, = node.users
        if not (isinstance(parts.get(node.target), (*KEEPS_LEVELS, nn.ReLU6)) or node.target in FUNCTIONS): return between, node
        between.append(node)
    return between, None


def _without_ceiling(graph: fx.Graph, clip: fx.Node) -> None:
    """Put a rectifier where a ReLU6 stands: the highest level is its ceiling."""
    with graph.inserting_before(clip): rectified = graph.call_function(torch.relu, (clip.args[0],))
    clip.replace_all_uses_with(rectified)
    graph.erase_node(clip)
