"""Whole channels taken out of a network: which ones belong together, and smaller tensors in the place of larger ones.

A channel is an output of one layer, an entry of the normalisations behind it, an input of every layer that reads it,
and, where outputs are added, a channel of the other branch. torch-pruning traces who belongs to whom (Fang et al.,
DepGraph, CVPR 2023, arXiv 2301.12900); cutting is done here, because here weights may have masks, codes and scales."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from .follow import FEWER, OrderKept, Unfollowed, check_cut, followed
from .parts import AsSlices, is_taken_apart, is_unbound, partly_in, parts_of, place, smallest_of_each, widest
from .state import COMPRESSIBLE, layers, plain

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ROUND_TO = 8  # channels: what processors multiply at once
SPLIT = "the network splits these channels and does not work with fewer"
UNEVEN = "the network splits these channels into parts that cannot lose the same share of them"
TAKEN = "these channels meet the weights of {}, which the network takes without calling that layer"
Removed = dict[str, dict[int, set[int]]]  # name of a module -> dimension (0: outputs, 1: inputs) -> channels


def channels_to_remove(model: nn.Module, amount: float, keep: Collection[str]) -> tuple[Removed, dict[str, str]]:
    """Of each set of channels that belong together, the share `amount` with the smallest norms, rounded down so that a
    multiple of 8 stays.

    The scores of the network keep their number. A set that reaches a layer named in `keep`, a tied weight, a grouped
    layer that is not depthwise, a bare parameter, a weight that is taken without its layer being called, or a module
    with weights that is none of convolution, linear and batch norm is left whole. A network whose channels cannot be
    followed is refused.

    Channels that are split lose the same share of every part. Whether the network works with fewer of them is tried,
    because its code may split them at fixed numbers (`split(x, [32, 32], 1)`), which cannot be changed from outside.
    Such a set is left whole. Beside what is removed stands why layers keep all of their channels, where that may
    surprise."""
    try:
        import torch_pruning  # noqa: F401
    except ImportError:
        raise ImportError("channels are traced by torch-pruning: pip install torch-pruning") from None
    flat = plain(model).eval().cpu().requires_grad_(True)
    whole = {module for module in flat.modules() if _indivisible(module)}
    for layer in layers(flat).values():
        if layer.name in keep or len(layer.modules) > 1:
            whole.update(layer.modules)
    example = torch.zeros(1, 3, model.contract.size, model.contract.size)
    with OrderKept():
        used = followed(lambda: layers_used(flat, example), flat)
    if not used:
        raise Unfollowed("none of its layers is called")
    taken = _take_for_parameters(flat, used)
    graph = followed(lambda: _graph_of(flat, example), flat)
    removed, split, left = followed(lambda: _sets(graph, amount, whole, taken, used[-1]), flat)
    fitting = [cut for cut, _ in split.values() if cut]
    if fitting and not fits(model, fitting):
        fitting = [cut for cut in fitting if fits(model, [cut])]
    for cut in fitting:
        join(removed, cut)
    return removed, left | {name: why for givers, (cut, why) in split.items() if cut not in fitting for name in givers}


def _sets(graph, amount: float, whole: set, taken: Mapping[Tensor, str], last: nn.Module):
    """What is removed of each set; of those that are split, by the layers that give the channels; and why others
    stay."""
    import torch_pruning

    rank = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    removed: Removed = {}
    split: dict[tuple[str, ...], tuple[Removed, str]] = {}
    left: dict[str, str] = {}
    for group in graph.get_all_groups(ignored_layers=[last], root_module_types=list(COMPRESSIBLE)):
        if _members(group) & whole:
            continue
        if bare := [member for member in _members(group) if isinstance(member, Tensor)]:
            for name in (taken[own] for own in bare if own in taken):
                left |= dict.fromkeys(_givers(graph, group), TAKEN.format(name))
        elif is_taken_apart(group):
            group = widest(graph, group)
            if _members(group) & whole or last in _outputs(graph, group):
                continue
            own, why = _split_cut(graph, group, rank, amount)
            if own is not None:
                split[_givers(graph, group)] = own, why
        else:
            gone = smallest_of_each(rank(group), [torch.tensor(group[0].idxs)[:, None]], amount, ROUND_TO)
            join(removed, _cut_of(graph, group, gone))
    return removed, split, left


def _graph_of(model: nn.Module, example: Tensor):
    import torch_pruning

    with AsSlices():
        graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example)
    place(graph)
    return graph


def _members(group) -> set:
    return {item.dep.target.module for item in group}


def _outputs(graph, group) -> set:
    """The modules whose outputs are the channels of a group."""
    return {item.dep.target.module for item in group if graph.is_out_channel_pruning_fn(item.dep.handler)}


def _givers(graph, group) -> tuple[str, ...]:
    """The layers whose outputs are the channels of a group, by name."""
    found = _outputs(graph, group)
    return tuple(
        name for name, module in graph.model.named_modules() if module in found and isinstance(module, COMPRESSIBLE)
    )


def _split_cut(graph, group, rank, amount: float) -> tuple[Removed | None, str]:
    """What goes of a group whose channels are split: nothing where they cannot be followed, None where the share is too
    small to cut."""
    if partly_in(graph, group) or is_unbound(group):
        return {}, SPLIT
    try:
        scores, parts = rank(group), parts_of(graph, group)
        gone = smallest_of_each(scores, parts, amount, ROUND_TO)
    except IndexError:
        return {}, SPLIT  # torch-pruning took another dimension for the channels
    if not gone:
        return ({} if any(smallest_of_each(scores, [part], amount, ROUND_TO) for part in parts) else None), UNEVEN
    cut = _cut_of(graph, group, gone)
    root = graph._module2name[group[0].dep.target.module]
    return (cut if cut[root].get(0) == set(gone) else {}), SPLIT


def _cut_of(graph, group, gone: list[int]) -> Removed:
    """Where channels of a group's first layer are to be cut."""
    names = {module: name for name, module in graph.model.named_modules()}
    root, removed = group[0].dep, {}
    for dep, channels in graph.get_pruning_group(root.target.module, root.handler, gone) if gone else ():
        if dep.target.module not in names:
            continue  # an addition, a flattening: nothing to cut
        dimension = 0 if graph.is_out_channel_pruning_fn(dep.handler) else 1
        join(removed, {names[dep.target.module]: {dimension: set(channels)}})
    return removed


def join(removed: Removed, more: Removed) -> None:
    """Add what else is to be removed."""
    for name, dimensions in more.items():
        for dimension, channels in dimensions.items():
            removed.setdefault(name, {}).setdefault(dimension, set()).update(channels)


def _indivisible(module: nn.Module) -> bool:
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return not (module.groups == 1 or depthwise(module))
    own = next(module.parameters(recurse=False), None) is not None
    return own and not isinstance(module, (*COMPRESSIBLE, *NORMS))


def depthwise(module: nn.Module) -> bool:
    """Does each channel have a kernel of its own, and only one?"""
    return getattr(module, "groups", 1) > 1 and module.groups == module.in_channels == module.out_channels


@torch.no_grad()
def layers_used(model: nn.Module, example: Tensor) -> list[nn.Module]:
    """The compressible layers that run, in their order: the outputs of the last one are the scores."""
    used = []
    hooks = [
        module.register_forward_hook(lambda module, *_: used.append(module))
        for module in model.modules()
        if isinstance(module, COMPRESSIBLE)
    ]
    model(example)
    for hook in hooks:
        hook.remove()
    return used


def _take_for_parameters(model: nn.Module, used: Collection[nn.Module]) -> dict[Tensor, str]:
    """Let layers that are never called, whose weights a network may take all the same, be no layers to torch-pruning;
    names by weight."""
    found = {
        module.weight: name
        for name, module in model.named_modules()
        if isinstance(module, COMPRESSIBLE) and module not in used
    }
    for name in found.values():
        model.get_submodule(name).__class__ = _Holder
    return found


class _Holder(nn.Module):
    """What holds parameters and is not called."""


def check_fits(model: nn.Module, removed: Removed) -> None:
    """`Unfollowed` where a copy without the channels does not say what the network says while nobody reads them."""
    narrow, parts, size = copy.deepcopy(model), dict(model.named_modules()), model.contract.size
    cut(narrow, removed)
    if not coherent(model, model.classes, size):
        raise Unfollowed("its shapes cannot be followed without values: it does not run on torch's meta device")
    if not coherent(narrow, model.classes, size):
        raise Unfollowed(FEWER)
    unread = {
        name: sorted(dimensions[1])
        for name, dimensions in removed.items()
        if 1 in dimensions and not depthwise(parts[name])
    }
    check_cut(model, narrow, unread, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))


def fits(model: nn.Module, cuts: list[Removed]) -> bool:
    """Does the network work without these channels?"""
    removed: Removed = {}
    for own in cuts:
        join(removed, own)
    try:
        check_fits(model, removed)
    except Unfollowed:
        return False
    return True


def cut(model: nn.Module, removed: Removed) -> None:
    """Take the channels out of a network, in place, whatever the form of its layers."""
    modules = dict(model.named_modules())
    for layer in layers(model).values():
        if dimensions := removed.get(layer.name):
            kept = {
                dim: _rest(layer.weight.shape[dim], gone)
                for dim, gone in dimensions.items()
                if not (dim and depthwise(layer.module))
            }
            _cut_layer(layer, kept)
    for name, dimensions in removed.items():
        if isinstance(modules[name], NORMS):
            _cut_norm(modules[name], _rest(modules[name].num_features, dimensions[0]))


def shrink(model: nn.Module, shapes: Mapping[str, list[int]], sizes: Mapping[str, int]) -> bool:
    """Let layers have the shapes and normalisations the sizes of a network that channels were taken out of; was there
    anything to do?

    Values do not matter; nothing ever grows."""
    removed: Removed = {}
    for layer in layers(model).values():
        for dim, (have, want) in enumerate(zip(layer.weight.shape[:2], shapes.get(layer.name, ()))):
            if 0 < want < have:
                removed.setdefault(layer.name, {})[dim] = set(range(want, have))
    for name, module in model.named_modules():
        if isinstance(module, NORMS) and 0 < sizes.get(name, 0) < module.num_features:
            removed[name] = {0: set(range(sizes[name], module.num_features))}
    cut(model, removed)
    return bool(removed)


def coherent(model: nn.Module, classes: int, size: int) -> bool:
    """Do the layers still fit each other, and are there as many scores as classes for an image of `size` pixels a
    side?"""
    return scores_shape(model, size) == (2, classes)


def scores_shape(model: nn.Module, size: int) -> tuple[int, ...] | None:
    """The shape of what a network gives for two images of `size` pixels a side, found without computing; None where
    that raises an error."""
    trial = copy.deepcopy(model).to("meta").eval()
    try:
        return tuple(trial(torch.empty(2, 3, size, size, device="meta")).shape)
    except Exception:
        return None  # whatever a network's own code raises


def _rest(count: int, gone: Collection[int]) -> Tensor:
    stays = torch.ones(count, dtype=torch.bool, device="cpu")
    stays[list(gone)] = False
    return stays.nonzero().squeeze(1)


def _cut_layer(layer, stays: Mapping[int, Tensor]) -> None:
    def part(tensor: Tensor | None) -> Tensor | None:
        for dim, kept in stays.items():
            if tensor is not None and tensor.shape[dim] > 1:
                tensor = tensor.index_select(dim, kept.to(tensor.device))
        return tensor

    state, original = layer.state, layer.original.detach()
    shared = state and state.codes is not None
    by_channel = original.ndim == 2 and 0 in stays
    layer.assign(
        original[stays[0].to(original.device)] if shared and by_channel else original if shared else part(original)
    )
    for name in ("mask", "codes", "scale") if state else ():
        setattr(state, name, part(getattr(state, name)))
    if state and state.mask is not None and state.mask.all():
        state.mask = None  # code 0 would be taken for zero
    for module in layer.modules:
        _rename(module, layer.weight.shape, stays.get(0))


def _rename(module: nn.Module, shape: torch.Size, outputs: Tensor | None) -> None:
    """Let a module's own account of its channels be that of its weight."""
    if outputs is not None and module.bias is not None:
        module.bias = nn.Parameter(module.bias.detach()[outputs.to(module.bias.device)])
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape[:2]
    elif depthwise(module):
        module.groups = module.in_channels = module.out_channels = shape[0]
    else:
        module.out_channels, module.in_channels = shape[0], shape[1] * module.groups


def _cut_norm(module: nn.Module, kept: Tensor) -> None:
    for name in ("weight", "bias"):
        if getattr(module, name) is not None:
            setattr(module, name, nn.Parameter(getattr(module, name).detach()[kept.to(module.weight.device)]))
    for name in ("running_mean", "running_var"):
        if getattr(module, name) is not None:
            setattr(module, name, getattr(module, name)[kept.to(getattr(module, name).device)])
    module.num_features = len(kept)
