"""Channels that a network takes apart (`split`, `chunk`, `glu`, slices): traced part by part, and cut by the same share
of each.

torch-pruning knows which part of a split goes where by the order in which it met the parts, which may be another one
than theirs. Of slices it knows the first and the last channel, so a split is traced as the slices that it stands
for."""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import accumulate

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .state import COMPRESSIBLE

SPLITS = (
    "split",
    "split_with_sizes",
    "chunk",
    "tensor_split",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "unsafe_chunk",
)
TAKEN_APART = ("_SplitOp", "_SliceOp", "_UnbindOp")  # of torch-pruning


class AsSlices(TorchFunctionMode):
    """Within the block, what splits channels gives slices of the same values."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result, name = function(*args, **(kwargs or {})), getattr(function, "__name__", "")
        if name not in (*SPLITS, "glu"):
            return result
        given = next(value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor))
        if name == "glu":  # one half of the channels gates the other
            if not _by_channel(given, [result]):
                return result
            first, second = _slices(given, [result, result])
            return first * second.sigmoid()
        return _slices(given, result) if _by_channel(given, result) else result


def _by_channel(given: Tensor, parts: Collection[Tensor]) -> bool:
    """Do the parts have fewer channels, dimension 1, and everything else of what was split?"""
    return (
        given.ndim > 1
        and all(part.ndim == given.ndim and part.shape[1] < given.shape[1] for part in parts)
        and all(part.shape[0] == given.shape[0] and part.shape[2:] == given.shape[2:] for part in parts)
    )


def _slices(given: Tensor, parts: Collection[Tensor]) -> tuple[Tensor, ...]:
    # Of tensors with three dimensions, torch-pruning takes the last for the channels.
    whole = given.unsqueeze(-1) if given.ndim == 3 else given
    found, start = [], 0
    for part in parts:
        own = whole.narrow(1, start, part.shape[1])
        found.append(own.squeeze(-1) if given.ndim == 3 else own)
        start += part.shape[1]
    return tuple(found)


def place(graph) -> None:
    """Let a dependency graph with slices know where they begin, and where what is concatenated lies.

    torch-pruning counts the channels of a slice as those of the whole, and so misplaces what is concatenated with it.
    """
    nodes = list(graph.module2node.values())
    if not any(type(node.module).__name__ == "_SliceOp" for node in nodes):
        return
    for node in nodes:
        kind = type(node.module).__name__
        if kind == "_SliceOp":
            _place_slice(node.module)
        if kind == "_ConcatOp" and node.grad_fn._saved_dim == 1:
            _place_concat(node)


def _place_slice(module) -> None:
    """Count from the first channel what was written from the last one, and is kept as 2**64 less."""
    size = module.grad_fn._saved_self_sym_sizes[module.dim]
    places = [place - 2**64 if place >= 2**63 else place for place in (module.start, module.end)]
    module.start, module.end = [place + size if place < 0 else place for place in places]


def _place_concat(node) -> None:
    from torch_pruning.dependency.index_mapping import _ConcatIndexMapping

    sizes = [function._input_metadata[number].shape[1] for function, number in node.grad_fn.next_functions if function]
    if len(sizes) != len(node.inputs):
        return
    node.enable_index_mapping = False  # of torch-pruning, at every later look
    back = [dep for dep in node.dependencies if dep.target in node.inputs]
    ahead = [dep for given in set(node.inputs) for dep in given.dependencies if dep.target is node]
    for dep in (*back, *ahead):
        dep.index_mapping[1] = None
    for given, size, end in zip(node.inputs, sizes, accumulate(sizes)):
        # What is concatenated twice has two dependencies each way.
        towards = next(dep for dep in back if dep.target is given and dep.index_mapping[1] is None)
        onwards = next(dep for dep in ahead if dep.source is given and dep.index_mapping[1] is None)
        towards.index_mapping[1] = _ConcatIndexMapping([end - size, end], reverse=True)
        onwards.index_mapping[1] = _ConcatIndexMapping([end - size, end], reverse=False)


def is_taken_apart(group) -> bool:
    """Do channels of a group pass a split, a slice or an unbinding?"""
    return any(type(item.dep.target.module).__name__ in TAKEN_APART for item in group)


def is_unbound(group) -> bool:
    """Does a dimension that stands for parts of the channels disappear? torch-pruning does not follow which channels
    are whose."""
    return any(type(item.dep.target.module).__name__ == "_UnbindOp" for item in group)


def widest(graph, group):
    """The same group from the layer that has all of its channels, where there is one.

    Channels that are split go to different layers. A group that starts at a layer that shares its outputs with one part
    only, by an addition for instance, holds no more than this part, and cutting it alone would leave the others larger.
    """
    if not (layers := partly_in(graph, group)):
        return group
    root = max(layers, key=lambda dep: len(dep.target.module.weight))
    return graph.get_pruning_group(root.target.module, root.handler, list(range(len(root.target.module.weight))))


def partly_in(graph, group) -> list:
    """Where the outputs of a layer are in a group, but not all of them."""
    outputs = [
        item
        for item in group
        if isinstance(item.dep.target.module, COMPRESSIBLE) and graph.is_out_channel_pruning_fn(item.dep.handler)
    ]
    return [item.dep for item in outputs if len(set(item.idxs)) < len(item.dep.target.module.weight)]


def parts_of(graph, group) -> list[Tensor]:
    """The channels of a group's first layer, in sets that go the same ways: each (n, t), t channels that only go
    together.

    A gate multiplies one half of the channels by the other; channel 3 of the one then goes with channel 3 of the
    other."""
    ways: dict[int, list[int]] = {channel: [] for channel in group[0].idxs}
    for number, item in enumerate(group):
        if type(item.dep.target.module).__name__ not in TAKEN_APART:
            continue
        for channel in set(item.root_idxs) & set(ways):
            ways[channel].append(number)
    parts: dict[tuple, list[int]] = {}
    gap = 0  # what nobody reads lies between what is read, and each such piece is a part of its own
    for channel, way in ways.items():
        if way:
            gap = channel
        else:
            way.append(-1 - gap)
        parts.setdefault(tuple(way), []).append(channel)
    sets: dict[tuple, list[list[int]]] = {}
    done: set[int] = set()
    for part in parts.values():
        for tied in _tied(graph, group[0].dep, [channel for channel in part if channel not in done]):
            done.update(tied)
            sets.setdefault(tuple(tuple(ways[channel]) for channel in tied), []).append(tied)
    return [torch.tensor(tied) for tied in sets.values()]


def _tied(graph, root, channels: list[int]) -> list[list[int]]:
    """Each of the channels of a layer, with the others of this layer that have to go with it."""
    if not channels:
        return []
    together = {channel: [channel] for channel in channels}
    for item in graph.get_pruning_group(root.target.module, root.handler, channels):
        if item.dep.target is not root.target or not graph.is_out_channel_pruning_fn(item.dep.handler):
            continue
        for channel, first in zip(item.idxs, item.root_idxs):
            if channel not in together[first]:
                together[first].append(channel)
    return [sorted(tied) for tied in together.values()]


def smallest_of_each(scores: Tensor, parts: list[Tensor], amount: float, multiple: int) -> list[int]:
    """The channels with the smallest scores, the same share of every part, so that a multiple of `multiple` stays of
    each.

    The share is the largest up to `amount`; none where no share suits all parts."""
    common = math.gcd(*map(len, parts))
    for stays in range(common - int(amount * common), common):
        left = [len(part) // common * stays for part in parts]
        if any(count % multiple for count in left):
            continue
        gone: list[int] = []
        for part, count in zip(parts, left):
            order = scores[part].mean(1).argsort(stable=True)
            gone += part[order[: len(part) - count]].flatten().tolist()
        return sorted(gone)
    return []
