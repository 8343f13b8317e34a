"""Whole channels taken out of a network: which ones belong together, and smaller tensors in the place of larger ones.

A channel is an output of one layer, an entry of the normalisations behind it, an input of every layer that reads it, and,
where outputs are added, a channel of the other branch. torch-pruning traces who belongs to whom (Fang et al., DepGraph, CVPR
2023, arXiv 2301.12900); cutting is done here, because here weights may have masks, codes and scales.
"""
from __future__ import annotations

import copy
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from .follow import FEWER, OrderKept, Unfollowed, check_cut, followed
from .state import COMPRESSIBLE, layers, plain

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ROUND_TO = 8  # channels: what processors multiply at once
Removed = dict[str, dict[int, set[int]]]  # name of a module -> dimension (0: outputs, 1: inputs) -> channels


def doomed(model: nn.Module, amount: float, keep: Collection[str]) -> Removed:
    """Of each set of channels that belong together, the share `amount` with the smallest norms, rounded down so that a multiple of 8 stays.

    The scores of the network keep their number. A set that reaches a layer named in `keep`, a tied weight, a grouped layer
    that is not depthwise, a bare parameter, or a module with weights that is none of convolution, linear and batch norm is left
    whole, and so is one that is split or chunked. A network whose channels cannot be followed is refused.
    """
    try: import torch_pruning
    except ImportError: raise ImportError("channels are traced by torch-pruning: pip install torch-pruning") from None
    flat = plain(model).eval().cpu().requires_grad_(True)
    names = {module: name for name, module in flat.named_modules()}
    whole = {module for module in names if _indivisible(module)}
    whole |= {module for layer in layers(flat).values() if layer.name in keep or len(layer.modules) > 1 for module in layer.modules}
    example = torch.zeros(1, 3, model.contract.size, model.contract.size)
    with OrderKept(): last = followed(lambda: last_used(flat, example), flat)
    graph = followed(lambda: torch_pruning.DependencyGraph().build_dependency(flat, example_inputs=example), flat)
    rank = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    removed: Removed = {}
    for group in graph.get_all_groups(ignored_layers=[last], root_module_types=list(COMPRESSIBLE)):
        members = [item.dep.target.module for item in group]
        # Which part of a split goes where, torch-pruning tells by the order in which it met them, and that may be the wrong one.
        if any(isinstance(module, Tensor) or module in whole or type(module).__name__ == "_SplitOp" for module in members): continue
        scores = rank(group)
        stays = -(-(len(scores) - int(amount * len(scores))) // ROUND_TO) * ROUND_TO
        if stays >= len(scores): continue
        root = group[0].dep
        smallest = scores.argsort(stable=True)[:len(scores) - stays].sort().values.tolist()
        for dep, channels in graph.get_pruning_group(root.target.module, root.handler, smallest):
            if dep.target.module not in names: continue  # an addition, a flattening: nothing to cut
            dimension = 0 if graph.is_out_channel_pruning_fn(dep.handler) else 1
            removed.setdefault(names[dep.target.module], {}).setdefault(dimension, set()).update(channels)
    return removed


def _indivisible(module: nn.Module) -> bool:
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)): return not (module.groups == 1 or depthwise(module))
    own = next(module.parameters(recurse=False), None) is not None
    return own and not isinstance(module, (*COMPRESSIBLE, *NORMS))


def depthwise(module: nn.Module) -> bool:
    """Does each channel have a kernel of its own, and only one?"""
    return getattr(module, "groups", 1) > 1 and module.groups == module.in_channels == module.out_channels


@torch.no_grad()
def last_used(model: nn.Module, example: Tensor) -> nn.Module:
    """The compressible layer that runs last: its outputs are the scores."""
    used = []
    hooks = [module.register_forward_hook(lambda module, *_: used.append(module)) for module in model.modules() if isinstance(module, COMPRESSIBLE)]
    model(example)
    for hook in hooks: hook.remove()
    return used[-1]


def cut_and_checked(model: nn.Module, removed: Removed) -> None:
    """Take the channels out of a network, in place, once a copy without them says the same as the network while nobody reads them."""
    narrow, parts = copy.deepcopy(model), dict(model.named_modules())
    cut(narrow, removed)
    for own, trouble in ((model, "its shapes cannot be followed without values: it does not run on torch's meta device"), (narrow, FEWER)):
        if not coherent(own, model.classes, model.contract.size): raise Unfollowed(trouble)
    unread = {name: sorted(dimensions[1]) for name, dimensions in removed.items() if 1 in dimensions and not depthwise(parts[name])}
    size = model.contract.size
    check_cut(model, narrow, unread, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
    cut(model, removed)


def cut(model: nn.Module, removed: Removed) -> None:
    """Take the channels out of a network, in place, whatever the form of its layers."""
    modules = dict(model.named_modules())
    for layer in layers(model).values():
        if dimensions := removed.get(layer.name): _cut_layer(layer, {dim: _rest(layer.weight.shape[dim], gone) for dim, gone in dimensions.items()
                                                                     if not (dim and depthwise(layer.module))})
    for name, dimensions in removed.items():
        if isinstance(modules[name], NORMS): _cut_norm(modules[name], _rest(modules[name].num_features, dimensions[0]))


def shrink(model: nn.Module, shapes: Mapping[str, list[int]], sizes: Mapping[str, int]) -> bool:
    """Let layers have the shapes and normalisations the sizes of a network that channels were taken out of; was there anything to do?

    Values do not matter; nothing ever grows.
    """
    removed: Removed = {}
    for layer in layers(model).values():
        for dim, (have, want) in enumerate(zip(layer.weight.shape[:2], shapes.get(layer.name, ()))):
            if 0 < want < have: removed.setdefault(layer.name, {})[dim] = set(range(want, have))
    for name, module in model.named_modules():
        if isinstance(module, NORMS) and 0 < sizes.get(name, 0) < module.num_features: removed[name] = {0: set(range(sizes[name], module.num_features))}
    cut(model, removed)
    return bool(removed)


def coherent(model: nn.Module, classes: int, size: int) -> bool:
    """Do the layers still fit each other, and are there as many scores as classes for an image of `size` pixels a side?"""
    trial = copy.deepcopy(model).to("meta").eval()
    try: return tuple(trial(torch.empty(2, 3, size, size, device="meta")).shape) == (2, classes)
    except Exception: return False  # whatever a network's own code raises


def _rest(count: int, gone: Collection[int]) -> Tensor:
    stays = torch.ones(count, dtype=torch.bool, device="cpu")
    stays[list(gone)] = False
    return stays.nonzero().squeeze(1)


def _cut_layer(layer, stays: Mapping[int, Tensor]) -> None:
    def part(tensor: Tensor | None) -> Tensor | None:
        for dim, kept in stays.items():
            if tensor is not None and tensor.shape[dim] > 1: tensor = tensor.index_select(dim, kept.to(tensor.device))
        return tensor
    state, original = layer.state, layer.original.detach()
    shared = state and state.codes is not None
    by_channel = original.ndim == 2 and 0 in stays
    layer.assign(original[stays[0].to(original.device)] if shared and by_channel else original if shared else part(original))
    for name in ("mask", "codes", "scale") if state else (): setattr(state, name, part(getattr(state, name)))
    if state and state.mask is not None and state.mask.all(): state.mask = None  # code 0 would be taken for zero
    for module in layer.modules: _rename(module, layer.weight.shape, stays.get(0))


def _rename(module: nn.Module, shape: torch.Size, outputs: Tensor | None) -> None:
    """Let a module's own account of its channels be that of its weight."""
    if outputs is not None and module.bias is not None: module.bias = nn.Parameter(module.bias.detach()[outputs.to(module.bias.device)])
    if isinstance(module, nn.Linear): module.out_features, module.in_features = shape[:2]
    elif depthwise(module): module.groups = module.in_channels = module.out_channels = shape[0]
    else: module.out_channels, module.in_channels = shape[0], shape[1] * module.groups


def _cut_norm(module: nn.Module, kept: Tensor) -> None:
    for name in ("weight", "bias"):
        if getattr(module, name) is not None: setattr(module, name, nn.Parameter(getattr(module, name).detach()[kept.to(module.weight.device)]))
    for name in ("running_mean", "running_var"):
        if getattr(module, name) is not None: setattr(module, name, getattr(module, name)[kept.to(getattr(module, name).device)])
    module.num_features = len(kept)
