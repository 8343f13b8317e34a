"""The joint state of a layer's weight: one parametrization, whatever was done to it and in which order.

A weight is deployed in one of four forms, and `LayerState.forward` is the only place that says how:

| form                    | `original` holds           | deployed weight                     |
|-------------------------|----------------------------|-------------------------------------|
| plain                   | the weights                | original                            |
| clustered               | the codebook, (k,) or, one a channel, (channels, k) | scale * original[codes] |
| quantized               | the weights                | scale * q, q = round(original / scale) in [-Q, Q] |
| clustered and quantized | the codebook, in grid steps | scale * round(original)[codes]     |

`scale` has one entry an output channel (1 where none is set), Q is 2**(bits - 1) - 1, and where `mask` is False the
weight is exactly zero in every form. A layer with codes and a mask has code 0 where the mask is False, and only there.
Where `in_half` is true and there is no scale, weights or shared values are rounded to half precision; multiples of a
scale are not.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

COMPRESSIBLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def grid_limit(bits: int) -> int:
    """The largest integer of a symmetric grid: 127 for 8 bits, 7 for 4, 1 for 2."""
    return 2 ** (bits - 1) - 1


class _OnGrid(torch.autograd.Function):
    """Round to integers in [-limit, limit]; the gradient passes where nothing was clipped (straight through)."""

    @staticmethod
    def forward(ctx, steps: Tensor, limit: int) -> Tensor:
        ctx.save_for_backward(steps.abs() <= limit + 0.5)
        return steps.round().clamp(-limit, limit) + 0.0  # no negative zero: integers have none

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (inside,) = ctx.saved_tensors
        return gradient * inside, None


class _InHalf(torch.autograd.Function):
    """Round to half precision; the gradient passes straight through, so that steps too small for eleven bits add up."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return values.half().to(values.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient


class _Shared(torch.autograd.Function):
    """scale * values[codes], with the gradient that makes a step on `values` the projection of the weights' own step.

    Were each weight free, it would move by -rate * gradient. The shared values closest to that in least squares move by
    -rate * sum(scale * gradient) / sum(scale**2) over the weights of a code: the mean gradient where scale is 1. The
    sum alone, as autograd would give it, is thousands of times longer and no learning rate suits both.
    """

    @staticmethod
    def forward(ctx, values: Tensor, codes: Tensor, scale: Tensor | None) -> Tensor:
        index = codes.reshape(-1).int()
        ctx.save_for_backward(index, scale)
        ctx.shape, ctx.count = codes.shape, len(values)
        weight = values.index_select(0, index).reshape(codes.shape)
        return weight if scale is None else weight * scale

    @staticmethod
    def backward(ctx, gradient: Tensor):
        index, scale = ctx.saved_tensors
        index, gradient = index.long(), gradient.reshape(ctx.shape)
        pull = gradient if scale is None else gradient * scale
        total = torch.bincount(index, pull.reshape(-1), ctx.count)
        if scale is None:
            mass = torch.bincount(index, minlength=ctx.count)
        else:
            mass = torch.bincount(index, (scale**2).expand(ctx.shape).reshape(-1), ctx.count)
        return (total / mass.clamp_min(torch.finfo(gradient.dtype).tiny)).to(gradient.dtype), None, None


class LayerState(nn.Module):
    """Mask, codes, scale and grid of one weight, and the deployed weight they make of `original`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", None)  # bool, shape of the weight: False is zero
        self.register_buffer("codes", None)  # uint8 or int16, shape of the weight: index into the codebook
        self.register_buffer("scale", None)  # float32, (channels, 1, ...): one grid step, or the unit of a codebook
        self.bits = 0  # 8, 4, 2; 0 where the weight is on no grid
        self.clusters = 0  # how many values were promised; 0 where none were
        self.in_half = False  # were floats promised to be in half precision?

    def forward(self, original: Tensor) -> Tensor:
        if self.codes is not None:
            values = self.values(original)
            weight = _Shared.apply(values.reshape(-1), self.places(values), self.scale)
        elif self.bits:
            weight = self.values(original / self.scale) * self.scale
        else:
            weight = self.values(original)
        return (
            weight
            if self.mask is None
            else torch.where(self.mask, weight, torch.zeros((), dtype=weight.dtype, device=weight.device))
        )

    def values(self, original: Tensor) -> Tensor:
        """Shared values or weights as they are stored: whole steps of a grid, half precision, or unchanged."""
        if self.bits:
            return _OnGrid.apply(original, grid_limit(self.bits))
        return _InHalf.apply(original) if self.in_half and self.scale is None else original

    def places(self, values: Tensor) -> Tensor:
        """Where each weight's value stands in the flat codebook."""
        if values.ndim == 1:
            return self.codes
        first = torch.arange(len(values), dtype=torch.int32, device=values.device) * values.shape[1]
        return self.codes.int() + first.view(-1, *[1] * (self.codes.ndim - 1))


class _Rounded(torch.autograd.Function):
    """Values on levels, with gradients where nothing was clipped: torch's fake quantization to the last bit."""

    @staticmethod
    def forward(ctx, values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        levels = (values * (1 / scale)).round_()
        kept = levels.clamp(-int(zero), 255 - int(zero))
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(kept == levels)
        return kept.mul_(scale)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


class ActivationRange(nn.Module):
    """The 256 levels to which a layer's input is rounded: scale * (q - zero), q = 0..255."""

    def __init__(self, scale: float, zero: int):
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("zero", torch.tensor(zero, dtype=torch.int32))

    def forward(self, values: Tensor) -> Tensor:
        if values.is_meta:
            return values.float()  # shapes without values: nothing to round
        return _Rounded.apply(values.float(), self.scale, self.zero)


def round_input(module: nn.Module, inputs: tuple) -> tuple:
    """Forward pre-hook: a plain function that finds the range on the module, so that a copy uses its own."""
    return (module.input_range(inputs[0]), *inputs[1:])


class Layer:
    """One weight that can be compressed, and the modules that use it: several where weights are tied."""

    def __init__(self, name: str, module: nn.Module):
        self.name, self.modules = name, [module]

    def __repr__(self):
        return f"Layer({self.name} {tuple(self.weight.shape)})"

    @property
    def module(self) -> nn.Module:
        return self.modules[0]

    @property
    def state(self) -> LayerState | None:
        return state_of(self.module)

    @property
    def original(self) -> nn.Parameter:
        """What training moves: the weights, or the codebook of a clustered layer."""
        return self.module.parametrizations.weight.original if self.state else self.module.weight

    @property
    def weight(self) -> Tensor:
        """The deployed weight, detached."""
        with torch.no_grad():
            return self.module.weight.detach()

    @property
    def finite_weight(self) -> Tensor:
        """The deployed weight; one line of error where it holds a value that is not a number."""
        weight = self.weight
        if torch.isfinite(weight).all():
            return weight
        raise ValueError(f"layer {self.name} has weights that are not finite: train it again or load other weights")

    @property
    def codebook(self) -> Tensor | None:
        """Values that the codes stand for, in units of the scale, (k,) or (channels, k), or None."""
        if self.state is None or self.state.codes is None:
            return None
        return self.state.values(self.original.detach().clone())

    @property
    def integers(self) -> Tensor | None:
        """The grid integers of a quantized weight (int8, shape of the weight); None where it is on no grid."""
        if self.state is None or not self.state.bits:
            return None
        weight = self.weight
        return (weight / self.state.scale).round().to(torch.int8)

    def attach(self) -> LayerState:
        """The layer's state, put in place where there is none."""
        if self.state:
            return self.state
        state, original = LayerState(), self.module.weight
        for module in self.modules:
            parametrize.register_parametrization(module, "weight", state, unsafe=True)
            module.parametrizations.weight.original = original
        return state

    def assign(self, original: Tensor) -> None:
        """Make `original` what training moves, for every module that shares the weight."""
        # Not contiguous(): of a 1x1 kernel it keeps strides that make convolutions take another path and round
        # otherwise.
        original = (
            original.detach().to(self.original.device, torch.float32).clone(memory_format=torch.contiguous_format)
        )
        parameter = nn.Parameter(original)
        if self.state is None:
            for module in self.modules:
                module.weight = parameter
        else:
            for module in self.modules:
                module.parametrizations.weight.original = parameter

    def settle(self) -> None:
        """Let `original` be what is deployed, in the standard layout, so that nothing hidden survives a stage."""
        for name, buffer in self.state.named_buffers() if self.state else ():
            setattr(self.state, name, buffer.clone(memory_format=torch.contiguous_format))
        self.assign(self.weight if self.codebook is None else self.codebook)

    def round_inputs(self, scale: float, zero: int) -> None:
        """Round the input of every module that uses the weight to 256 levels."""
        for module in self.modules:
            if not hasattr(module, "input_range"):
                module.register_forward_pre_hook(round_input)
            module.input_range = ActivationRange(scale, zero).to(self.original.device)


def state_of(module: nn.Module) -> LayerState | None:
    """The joint state of a module's weight, if it has one."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    first = module.parametrizations.weight[0]
    return first if isinstance(first, LayerState) else None


def layers(model: nn.Module) -> dict[str, Layer]:
    """Every convolution and linear layer by name, depthwise, grouped and 1x1 included; tied weights once.

    Layers inside nn.MultiheadAttention are left out: it uses their weights without calling them.
    """
    found: dict[int, Layer] = {}
    inside = {
        part for module in model.modules() if isinstance(module, nn.MultiheadAttention) for part in module.modules()
    }
    for name, module in model.named_modules():
        if not isinstance(module, COMPRESSIBLE) or module in inside:
            continue
        identity = id(state_of(module) or module.weight)
        if identity in found:
            found[identity].modules.append(module)
        else:
            found[identity] = Layer(name, module)
    return {layer.name: layer for layer in found.values()}


def rest(module: nn.Module) -> dict[str, Tensor]:
    """The live state that is neither a compressible weight nor an input range, sorted by the last part of the name."""
    held = {part for layer in layers(module).values() for part in layer.modules}
    names = {name for name, part in module.named_modules(remove_duplicate=False) if part in held}
    tensors = {
        name: tensor.detach()
        for name, tensor in module.state_dict(keep_vars=True).items()
        if not _of_layer(name, names)
    }
    return {name: tensors[name] for name in sorted(tensors, key=lambda name: (name.rpartition(".")[2], name))}


def _of_layer(name: str, layer_names: Collection[str]) -> bool:
    """Is a tensor of this name the weight, the joint state or the input range of one of these layers?"""
    parts = name.split(".")
    within = [".".join(parts[n:]) for n in range(len(parts)) if ".".join(parts[:n]) in layer_names]
    return any(own == "weight" or own.startswith(("parametrizations.weight.", "input_range.")) for own in within)


def plain(model: nn.Module) -> nn.Module:
    """A copy with the deployed weights as ordinary parameters; input ranges stay, the recipe does not."""
    model = copy.deepcopy(model)
    vars(model).pop("recipe", None)
    for layer in layers(model).values():
        if layer.state is None:
            continue
        weight = nn.Parameter(layer.weight.clone())
        for module in layer.modules:
            # Not parametrize.remove_parametrizations: it takes `weight` off the class, which the copied model shares.
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            module.weight = weight
    return model


def folded(model: nn.Module) -> nn.Module:
    """A plain copy in evaluation mode, batch normalisation folded into the layer before it; names of layers stay.

    What fx cannot trace, or would trace without its hooks, what shares a layer that would be folded, and what
    normalises over another axis than a layer's outputs, runs unfolded, with the same answers."""
    from torch.fx.experimental.optimization import fuse

    contract, model = getattr(model, "contract", None), plain(model).eval().requires_grad_(False)
    if model._forward_hooks or model._forward_pre_hooks:
        return model
    with catch_warnings():
        simplefilter("ignore")
        try:
            traced = fx.symbolic_trace(model)
            apart = _needed_before_norms(traced) or _over_places(traced, contract)
            return traced if apart else fuse(traced, no_trace=True)
        except Exception:
            return model


def _norms_and_before(traced: fx.GraphModule) -> tuple[set[str], set[str]]:
    """The names of the batch normalisations that are called, and of the layers that they follow at once."""
    parts = dict(traced.named_modules())
    norms = [
        node
        for node in traced.graph.nodes
        if node.op == "call_module" and isinstance(parts[node.target], nn.modules.batchnorm._BatchNorm)
    ]
    given = [node.args[0] for node in norms if node.args]
    before = {node.target for node in given if isinstance(node, fx.Node) and node.op == "call_module"}
    return {node.target for node in norms}, before


@torch.no_grad()
def _over_places(traced: fx.GraphModule, contract) -> bool:
    """May a batch normalisation behind a linear layer normalise places, as in (n, places, features), and not features?
    Known once an image was shown; without a contract it may."""
    parts, shapes = dict(traced.named_modules()), []
    _, before = _norms_and_before(traced)
    linear = [parts[name] for name in before if isinstance(parts[name], nn.Linear)]
    if not linear:
        return False
    if contract is None:
        return True
    hooks = [part.register_forward_hook(lambda part, given, found: shapes.append(found.ndim)) for part in linear]
    try:
        traced(torch.zeros(1, 3, contract.size, contract.size, device=linear[0].weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    return set(shapes) != {2}


def has_hooks(part: nn.Module) -> bool:
    """Does anything hang on a layer but the rounding of its inputs?"""
    return bool(part._forward_hooks) or any(hook is not round_input for hook in part._forward_pre_hooks.values())


def _needed_before_norms(traced: fx.GraphModule) -> bool:
    """Is a layer that a normalisation follows called elsewhere too, or its weight read, or hangs something on one of
    the two?"""
    parts, calls = dict(traced.named_modules()), [node for node in traced.graph.nodes if node.op == "call_module"]
    used = Counter(node.target for node in calls)
    used.update(node.target.rpartition(".")[0] for node in traced.graph.nodes if node.op == "get_attr")
    norms, before = _norms_and_before(traced)
    if any(has_hooks(parts[name]) for name in (*before, *norms)):
        return True
    return any(used[name] > 1 for name in before if isinstance(parts[name], COMPRESSIBLE))
