"""Integer arithmetic in torch: what an integer kernel computes, on float32 that holds integers.

A layer with an input range multiplies codes by codes. Its sums stay far below 2**24 in practice, so float32 adds them
without an error and in any order. Where nothing but clips and pools stands between a layer and the next one's rounding,
a kernel takes its sums to the next levels with one factor, input step times weight step over output step;
`rescale_at_once` does the same, because two factors round twice and a sum on the border of two levels would fall to the
other side.

What is added or averaged may be rounded too. `sum_points` finds the values that would stay float, and `round_points`
puts levels behind them; `add_at_once` then adds level numbers, as a kernel does. All work on traced networks, whose
nodes have the same names each time they are traced."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from robcomp.data import InputContract

from .._compression.alone import READS, answer_of, tensors_in, trial_images
from .._compression.state import COMPRESSIBLE, ActivationRange, has_hooks

KEEPS_LEVELS = (nn.ReLU, nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity)
RECTIFIERS = (torch.relu, nn.functional.relu, "relu")
FUNCTIONS = (*RECTIFIERS, torch.flatten, "flatten")
CLIPS = (nn.ReLU, nn.ReLU6)
AVERAGES = (nn.AdaptiveAvgPool2d, nn.AvgPool2d)
ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
SUMS = (*ADDITIONS, nn.functional.adaptive_avg_pool2d, nn.functional.avg_pool2d)
HIGHEST = 255
STOCK = {kind.forward for kind in COMPRESSIBLE}


def nearest_levels(values: Tensor, zero: int) -> Tensor:
    """Values in units of a step become the integers of their levels, the zero point taken off; in place.

    In place is right, because what is rescaled has one user, and what is not has just been divided.
    """
    return values.round_().clamp_(-zero, HIGHEST - zero)


class SumLevels(ActivationRange):
    """Levels of what is added or averaged; what comes may have been scaled to them already."""

    def __init__(self, scale: float, zero: int):
        super().__init__(scale, zero)
        self.zero_point, self.rescaled = zero, False

    def forward(self, values: Tensor) -> Tensor:
        return nearest_levels(values if self.rescaled else values / self.scale, self.zero_point) * self.scale


class AddedLevels(nn.Module):
    """Two values on levels, added straight to levels of the sum.

    A kernel multiplies the number of each level by a ratio of steps and adds the products to a constant, each product
    and sum rounded once, to float32. Double precision holds the products of such short numbers exactly."""

    def __init__(self, summands: Sequence[ActivationRange], levels: ActivationRange):
        super().__init__()
        *steps, self.step = (np.float32(part.scale.item()) for part in (*summands, levels))
        *zeros, self.zero = (np.float32(part.zero.item()) for part in (*summands, levels))
        ratios = np.array(steps) / self.step
        self.start = float(self.zero - (ratios[0] * zeros[0] + ratios[1] * zeros[1]))
        self.parts = [tuple(map(float, part)) for part in zip(steps, zeros, ratios)]

    def forward(self, *summands: Tensor) -> Tensor:
        total = self.start
        for values, (step, zero, ratio) in reversed(list(zip(summands, self.parts))):
            total = (((values / step).round() + zero).double() * ratio + total).float()
        return (total.round().clamp_(0, HIGHEST) - float(self.zero)) * float(self.step)


class FixedLevels(nn.Module):
    """The same levels for a file: they go into ONNX as constants of a rounding."""

    def __init__(self, scale: float, zero: int):
        super().__init__()
        self.scale, self.zero = scale, zero

    def forward(self, values: Tensor) -> Tensor:
        return _Rounding.apply(values, self.scale, self.zero)


class _Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, scale: float, zero: int) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, HIGHEST)

    @staticmethod
    def symbolic(graph, values, scale: float, zero: int):
        levels = [
            graph.op("Constant", value_t=torch.from_numpy(np.asarray(level)))
            for level in (np.float32(scale), np.uint8(zero))
        ]
        return graph.op("DequantizeLinear", graph.op("QuantizeLinear", values, *levels), *levels)


def _input_levels(module: nn.Module, inputs: tuple) -> tuple:
    """Forward pre-hook: an input as the integers of its levels, the zero point taken off."""
    values = inputs[0] if module.rescaled else inputs[0] / module.input_range.scale
    return (nearest_levels(values, module.zero_point), *inputs[1:])


def _scale_sums(module: nn.Module, inputs: tuple, sums: Tensor) -> Tensor:
    """Forward hook: what integer sums stand for."""
    return sums.mul_(module.unit)


def multiply_codes(module: nn.Module, codes: Tensor, bias: Tensor, unit: Tensor) -> None:
    """Let a layer with an input range multiply integers by integers, and scale each channel's sum by `unit`."""

    def constant(values):
        return nn.Parameter(values.float(), requires_grad=False)

    module.weight = constant(codes)  # a new one: another layer may share the old
    if module.bias is not None:
        module.bias = constant(bias)
    module.zero_point, module.rescaled = module.input_range.zero.item(), False
    module.register_buffer("unit", unit.view(-1, *[1] * (codes.ndim - 2)))
    module._forward_pre_hooks.clear()
    module.register_forward_pre_hook(_input_levels)
    module.register_forward_hook(_scale_sums)


class WeightsTaken(TorchFunctionMode):
    """While this lasts, it is noted which weights are taken by anything but the call of their own layer, as torch has
    that."""

    def __init__(self, found: Mapping[str, nn.Module]):
        super().__init__()
        self.taken, self.running, self.hooks = set(), set(), []
        self.names = {id(part.weight): name for name, part in found.items()}
        for part in found.values():
            if not _as_torch_has_it(part):
                continue
            key = id(part.weight)
            self.hooks += [
                part.register_forward_pre_hook(lambda *_, key=key: self.running.add(key)),
                part.register_forward_hook(lambda *_, key=key: self.running.discard(key)),
            ]

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        # its shape, type and place may be read by anybody
        if isinstance(result, Tensor) or getattr(function, "__name__", "") in READS:
            self.taken |= {id(tensor) for tensor in tensors_in((args, kwargs))} & self.names.keys() - self.running
        return result

    def __exit__(self, *given):
        for hook in self.hooks:
            hook.remove()
        return super().__exit__(*given)


def _as_torch_has_it(part: nn.Module) -> bool:
    """Is a layer one of torch's, with nothing hung on it but the rounding of its inputs?"""
    return not has_hooks(part) and type(part).forward in STOCK and "forward" not in vars(part)


@torch.no_grad()
def weights_taken(ready: nn.Module, contract: InputContract) -> tuple[set[str], Tensor | None]:
    """Names of layers whose weights a network, as `folded` gives it, takes beside calling them: their codes would be
    taken for the weights. Seen in its graph where it was traced, and on images of all kinds; their scores too."""
    graph = ready.graph.nodes if isinstance(ready, fx.GraphModule) else ()
    parts = {
        name: part
        for name, part in ready.named_modules(remove_duplicate=False)
        if isinstance(getattr(part, "weight", None), nn.Parameter)
    }
    images = trial_images(contract)[-1].to(next(ready.parameters(), torch.empty(0)).device)
    with WeightsTaken(parts) as seen:
        scores = answer_of(ready, images)
    taken = seen.taken | {id(ready.get_parameter(node.target)) for node in graph if _is_weight(node, parts)}
    return {name for name, part in parts.items() if id(part.weight) in taken}, scores


def _is_weight(node: fx.Node, parts: Mapping[str, nn.Module]) -> bool:
    return node.op == "get_attr" and node.target.endswith(".weight") and node.target.removesuffix(".weight") in parts


def round_once(model: nn.Module) -> None:
    """No value between integers, wherever a kernel needs none. A network that was not traced stays as it is."""
    if not isinstance(model, fx.GraphModule):
        return
    rescale_at_once(model)
    add_at_once(model)
    model.recompile()


def rescale_at_once(model: fx.GraphModule) -> None:
    """One factor from a layer's sums to the levels of the layer behind it, where that one alone uses them."""
    parts, calls = dict(model.named_modules()), _calls(model)
    for node in [node for node in model.graph.nodes if hasattr(_part(node, parts), "unit")]:
        layer = parts[node.target]
        between, rounding = _rounded_behind(node, parts, calls)
        if rounding is None or calls[id(layer)] > 1:
            continue
        layer.unit, rounding.rescaled = layer.unit / _levels_of(rounding).scale, True
        for step in between:
            _without_clip(model.graph, step, parts, rounding.zero_point)


def add_at_once(model: fx.GraphModule) -> None:
    """From the levels of two summands to those of the sum in one go, where both have levels and something rounds the
    sum."""
    parts, calls = dict(model.named_modules()), _calls(model)
    levels = {node: part for node in model.graph.nodes if isinstance(part := _part(node, parts), SumLevels)}
    for node in [node for node in model.graph.nodes if node.target in ADDITIONS and not node.kwargs]:
        summands, (_, rounding) = [levels.get(summand) for summand in node.args], _rounded_behind(node, parts, calls)
        if None in summands or rounding is None:
            continue
        model.add_submodule(f"sum_of_{node.name}", AddedLevels(summands, _levels_of(rounding)))
        with model.graph.inserting_after(node):
            added = model.graph.call_module(f"sum_of_{node.name}", node.args)
        node.replace_all_uses_with(added)
        model.graph.erase_node(node)


def sum_points(model: fx.GraphModule) -> dict[str, ActivationRange | None]:
    """What is added or averaged, and what becomes of it, where it stays float; the levels of a layer that rounds it, if
    one does."""
    parts, found = dict(model.named_modules()), {}
    for node in model.graph.nodes:
        part = _part(node, parts)
        if not (node.target in SUMS or isinstance(part, AVERAGES) or hasattr(part, "unit")):
            continue
        while clip := _only_clip(node, parts):
            node = clip
        if hasattr(_part(_until_rounded(node, parts)[1], parts), "rescaled") or all(
            user.op == "output" for user in node.users
        ):
            continue
        found[node.name] = next(
            (_part(user, parts).input_range for user in node.users if hasattr(_part(user, parts), "unit")), None
        )
    return found


def round_points(
    model: fx.GraphModule, levels: Mapping[str, tuple[float, int]], kind: Callable[[float, int], nn.Module]
) -> None:
    """Put levels, of a kind of module, behind nodes."""
    for node in [node for node in model.graph.nodes if node.name in levels]:
        users, name = [user for user in node.users if user.op != "output"], f"levels_of_{node.name}"
        model.add_submodule(name, kind(*levels[node.name]))
        with model.graph.inserting_after(node):
            rounded = model.graph.call_module(name, (node,))
        for user in users:
            user.replace_input_with(node, rounded)
    model.recompile()


class Watched(fx.Interpreter):
    """Runs a traced network and shows what some of its nodes make to those who count it."""

    def __init__(self, model: fx.GraphModule, counters: Mapping[str, Callable]):
        super().__init__(model)
        self.counters = counters

    def run_node(self, node: fx.Node):
        found = super().run_node(node)
        if node.name in self.counters:
            self.counters[node.name](None, (found,))
        return found


def _part(node: fx.Node | None, parts: Mapping[str, nn.Module]) -> nn.Module | None:
    """The module that a node calls."""
    return parts.get(node.target) if node is not None and node.op == "call_module" else None


def _only_clip(node: fx.Node, parts: Mapping[str, nn.Module]) -> fx.Node | None:
    """The clip that alone takes what a node makes."""
    user = next(iter(node.users)) if len(node.users) == 1 else None
    return user if isinstance(_part(user, parts), CLIPS) or user is not None and user.target in RECTIFIERS else None


def _levels_of(rounding: nn.Module) -> ActivationRange:
    return rounding if isinstance(rounding, SumLevels) else rounding.input_range


def _until_rounded(node: fx.Node, parts: dict[str, nn.Module]) -> tuple[list[fx.Node], fx.Node | None]:
    """What stands between a node and the one behind it that does more than clip or pick; None where several use it."""
    between = []
    while len(node.users) == 1:
        (node,) = node.users
        if not (isinstance(_part(node, parts), (*KEEPS_LEVELS, nn.ReLU6)) or node.target in FUNCTIONS):
            return between, node
        between.append(node)
    return between, None


def _calls(model: fx.GraphModule) -> Counter:
    """How often each module is called, by identity."""
    parts = dict(model.named_modules())
    return Counter(id(parts[node.target]) for node in model.graph.nodes if node.op == "call_module")


def _rounded_behind(
    node: fx.Node, parts: dict[str, nn.Module], calls: Counter
) -> tuple[list[fx.Node], nn.Module | None]:
    """What stands between a node and the one module that rounds what it makes; no module where the levels are not all
    there is to it."""
    between, last = _until_rounded(node, parts)
    rounding = _part(last, parts)
    if not hasattr(rounding, "rescaled") or calls[id(rounding)] > 1:
        return between, None
    ceiling = any(isinstance(_part(step, parts), nn.ReLU6) for step in between)
    return between, None if ceiling and 6 / _levels_of(rounding).scale < HIGHEST - 0.5 else rounding


def _without_clip(graph: fx.Graph, step: fx.Node, parts: dict[str, nn.Module], zero: int) -> None:
    """Take a clip away whose floor and ceiling are the lowest and the highest level behind it, or its ceiling alone."""
    if not (isinstance(_part(step, parts), CLIPS) or step.target in RECTIFIERS):
        return
    rectified = step.args[0]
    if zero:
        with graph.inserting_before(step):
            rectified = graph.call_function(torch.relu, (step.args[0],))
    step.replace_all_uses_with(rectified)
    graph.erase_node(step)
