"""A layer from its sections: the form and the weights that were written, each value held against what a writer writes."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from robcomp._compression.state import Layer, grid_limit
from robcomp._packing.coder import decode, depth_of
from robcomp._packing.header import IN_HALF
from robcomp._packing.streams import decode_floats, decode_planes, decode_weights

TINY = float(np.finfo(np.float32).smallest_subnormal)


def symbol_values(entry: Mapping, codebook: np.ndarray | None = None) -> np.ndarray:
    """What the symbols of a layer stand for: shared values, zero and one of a mask, or the integers of a grid."""
    if entry["form"] == "codes" and entry.get("own"): return np.arange(entry["k"])  # of many codebooks, only zero means one thing
    if entry["form"] == "codes": return codebook
    limit = grid_limit(entry["bits"]) if entry["form"] == "grid" else 0
    return np.arange(2) if entry["mask"] else np.arange(-limit, limit + 1)


def weight_symbols(layer: Layer, entry: Mapping) -> np.ndarray:
    """The integers that stand for all weights of a layer, from 0 up: codes, or places on the grid."""
    if entry["form"] == "codes": return layer.state.codes.cpu().numpy().astype(np.uint16)
    return (layer.integers.cpu().numpy().astype(np.int16) + grid_limit(entry["bits"])).astype(np.uint16)


def checked_values(values: np.ndarray,
                   what: str,  # for the error
                   *,
                   low: float = -np.inf,  # smallest value allowed
                   high: float = np.inf,  # and largest
) -> np.ndarray:  # the same
    """The values, or one line about one that no writer writes."""
    if not (np.isfinite(values).all() and (values >= low).all() and (values <= high).all()):
        raise ValueError(f"{what} holds numbers that are not finite or out of range")
    return values


def read_layer(layer: Layer,  # of the network to be filled; its state is put in place
               entry: Mapping,  # that passed the gate
               parts: Mapping[str, bytes],  # by kind
) -> None:
    """Give a layer the form and the weights that were written."""
    shape, name = tuple(layer.weight.shape), f"layer {layer.name}"
    if not entry.get("state"):
        layer.assign(torch.from_numpy(_floats(parts, layer.weight.numel(), name).reshape(shape)))
        return
    state, scale = layer.attach(), None
    state.bits, state.in_half = entry["bits"], entry.get("half", False)
    if entry["scale"]:
        values = checked_values(decode_planes(parts["scale"], shape[0], "<f4"), f"the scale of {name}", low=TINY)
        scale = state.scale = torch.from_numpy(values.reshape(-1, *[1] * (len(shape) - 1)))
    if entry["form"] == "codes":
        _read_codes(layer, entry, parts)
        return
    weight, mask = np.zeros(shape, np.float32), np.ones(shape, bool)
    if entry["mask"]:
        mask = decode_weights(parts, "mask", shape, symbol_values(entry)).astype(bool)
        state.mask = torch.from_numpy(mask)
    weight[mask] = _weights(entry, parts, mask)
    layer.assign(torch.from_numpy(weight) * (scale if state.bits else 1))


def _floats(parts: Mapping[str, bytes], count: int, name: str) -> np.ndarray:
    return checked_values(decode_floats(parts, "weights", count), name)


def book_of(entry: Mapping, parts: Mapping[str, bytes]) -> np.ndarray:
    """The stored codebook of a layer, flat."""
    kind = "codebook" if "codebook" in parts else "codebook" + IN_HALF
    if entry["bits"]: return np.frombuffer(parts[kind], np.int8)
    return np.frombuffer(parts[kind], "<f2" if kind.endswith(IN_HALF) else "<f4")


def _weights(entry: Mapping, parts: Mapping[str, bytes], mask: np.ndarray) -> np.ndarray:
    count, limit, name = int(mask.sum()), grid_limit(entry["bits"]), f"layer {entry['name']}"
    if entry["form"] == "float": return _floats(parts, count, name)
    if entry["mask"]: kept = decode(parts["integers"], count, depth_of(2 * limit + 1))
    else: kept = decode_weights(parts, "integers", mask.shape, symbol_values(entry)).reshape(-1)
    return checked_values(kept.astype(np.float32) - limit, name, low=-limit, high=limit)


def _read_codes(layer: Layer, entry: Mapping, parts: Mapping[str, bytes]) -> None:
    state, shape = layer.state, tuple(layer.weight.shape)
    limit = grid_limit(entry["bits"]) if entry["bits"] else np.inf
    values = book_of(entry, parts)
    if entry.get("own"): values = values.reshape(-1, entry["k"])
    checked_values(values.astype(np.float32), f"the codebook of layer {layer.name}", low=-limit, high=limit)
    codes = decode_weights(parts, "codes", shape, symbol_values(entry, values))
    if codes.max() >= entry["k"]: raise ValueError("codes and codebook do not belong together")
    state.codes = torch.from_numpy(codes.astype(np.int16 if entry["wide"] else np.uint8))
    state.clusters = entry["clusters"]
    if entry["mask"]:
        if values[..., 0].any(): raise ValueError(f"the zeros that layer {layer.name} promised are no zeros")
        state.mask = state.codes != 0
    layer.assign(torch.from_numpy(values.astype(np.float32)))
