"""A layer from its sections: the form and the weights that were written, each value held against what a writer
writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch

from robcomp._compression.state import Layer, grid_limit
from robcomp._packing.coder import decode, depth_of
from robcomp._packing.context import away_from_home, more_decisions
from robcomp._packing.header import IN_CONTEXT, IN_HALF, SLOWER, Budget, steps_of_values
from robcomp._packing.streams import decode_floats, decode_planes, decode_weights

TINY, LARGEST = float(np.finfo(np.float32).smallest_subnormal), float(np.finfo(np.float32).max)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def symbol_values(entry: Mapping, codebook: np.ndarray | None = None) -> np.ndarray:
    """What the symbols of a layer stand for: shared values, zero and one of a mask, or the integers of a grid."""
    if entry["form"] == "codes" and entry.get("own"):
        return np.arange(entry["k"])  # of many codebooks, only zero means one thing
    if entry["form"] == "codes":
        return codebook
    limit = grid_limit(entry["bits"]) if entry["form"] == "grid" else 0
    return np.arange(2) if entry["mask"] else np.arange(-limit, limit + 1)


def weight_symbols(layer: Layer, entry: Mapping) -> np.ndarray:
    """The integers that stand for all weights of a layer, from 0 up: codes, or places on the grid."""
    if entry["form"] == "codes":
        return layer.state.codes.cpu().numpy().astype(np.uint16)
    return (layer.integers.cpu().numpy().astype(np.int16) + grid_limit(entry["bits"])).astype(np.uint16)


def checked_values(
    values: np.ndarray,
    what: str,  # for the error
    *,
    low: float = -np.inf,  # smallest value allowed
    high: float = np.inf,  # and largest
) -> np.ndarray:  # the same
    """The values, or one line about one that no writer writes. Their two ends tell, which are no numbers where one of
    the values is none; no array as large as the values is made for it."""
    ends = np.array([np.min(values), np.max(values)] if np.size(values) else [], np.float64)
    if not (np.isfinite(ends).all() and (ends >= low).all() and (ends <= high).all()):
        raise ValueError(f"{what} holds numbers that are not finite or out of range")
    return values


def check_numbers(name: str, values: np.ndarray) -> None:
    """One line about a tensor whose name or type tells that no sound network has it."""
    last = name.rpartition(".")[2]
    low = 0 if last in ("running_var", "num_batches_tracked") else -np.inf
    if last in STATISTICS or (last in ("weight", "bias") and values.dtype.kind == "f"):
        checked_values(values, name, low=low)
    elif values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(f"{name} holds values that are no numbers: set them, or register it with persistent=False")


def check_products(scale: np.ndarray, values: np.ndarray, name: str) -> None:
    """A line of error where scales times what they scale are weights that are not finite."""
    checked_values(scale.astype(np.float64).max(initial=0) * np.abs(values).max(initial=0), name, high=LARGEST)


def check_weights(layer: Layer) -> None:
    """A line of error for weights of a network that no file holds."""
    name, state = f"layer {layer.name}", layer.state
    checked_values(layer.weight.cpu().numpy(), name)
    if state is None or state.scale is None:
        return
    stored = layer.codebook.cpu().numpy() if state.codes is not None else np.float32([grid_limit(state.bits)])
    check_products(state.scale.cpu().numpy(), stored, name)


def decoded(
    entry: Mapping,  # that passed the gate
    parts: Mapping[str, bytes],  # the sections of the layer by kind
    budget: Budget,  # from `check_header`
) -> dict[str, np.ndarray]:  # scale, codebook, codes, mask, integers (as symbols), weights: those that there are
    """What the sections of a layer hold, each value held against what a writer writes."""
    found, name, count = {}, f"layer {entry['name']}", prod(entry["shape"])
    if entry.get("scale"):
        found["scale"] = checked_values(
            decode_planes(parts["scale"], entry["shape"][0], "<f4"), f"the scale of {name}", low=TINY
        )
    if entry["form"] == "codes":
        found |= _decoded_codes(entry, parts, budget)
        if entry["scale"]:
            check_products(found["scale"], found["codebook"].astype(np.float32), name)
        return found
    if entry["form"] == "grid":
        check_products(found["scale"], np.float32([grid_limit(entry["bits"])]), name)
    if entry["mask"]:
        found["mask"] = _symbols(parts, "mask", entry["shape"], symbol_values(entry), budget)
        count = int(found["mask"].sum())
        budget.take(steps_of_values(entry, parts, count))
    if entry["form"] == "float":
        found["weights"] = checked_values(decode_floats(parts, "weights", count), name)
    else:
        found["integers"] = checked_values(
            _decoded_integers(entry, parts, count, budget), name, high=2 * grid_limit(entry["bits"])
        )
    return found


def _symbols(
    parts: Mapping[str, bytes],
    kind: str,
    shape: Sequence[int],
    values: np.ndarray,  # what each symbol stands for
    budget: Budget,
) -> np.ndarray:
    """The symbols of a section, within what is left of the budget."""
    if kind in parts:
        return decode_weights(parts, kind, shape, values)
    each = _steps_away(shape, values)
    symbols = decode_weights(parts, kind, shape, values, most=budget.left // each if each else None)
    budget.take(each * away_from_home(symbols, values))
    return symbols


def steps_behind_header(layer: Layer, entry: Mapping, parts: Mapping[str, bytes]) -> int:
    """Steps that decoding a layer takes beside those that the header tells, counted from its weights."""
    if entry["mask"] and entry["form"] != "codes":
        return steps_of_values(entry, parts, int(layer.state.mask.sum()))
    if entry["form"] == "float" or not any(kind.endswith(IN_CONTEXT) for kind in parts):
        return 0
    symbols = weight_symbols(layer, entry)
    values = symbol_values(entry, book_of(entry, parts) if entry["form"] == "codes" else None)
    return _steps_away(symbols.shape, values) * away_from_home(symbols, values)


def _steps_away(shape: Sequence[int], values: np.ndarray) -> int:
    """Steps that a symbol in context takes beside the one decision of each, where it is away from home."""
    return SLOWER * more_decisions(shape, values)


def _decoded_codes(entry: Mapping, parts: Mapping[str, bytes], budget: Budget) -> dict[str, np.ndarray]:
    limit = grid_limit(entry["bits"]) if entry["bits"] else np.inf
    values = book_of(entry, parts)
    if entry.get("own"):
        values = values.reshape(-1, entry["k"])
    checked_values(values.astype(np.float32), f"the codebook of layer {entry['name']}", low=-limit, high=limit)
    codes = _symbols(parts, "codes", entry["shape"], symbol_values(entry, values), budget)
    if codes.max() >= entry["k"]:
        raise ValueError("codes and codebook do not belong together")
    if entry["mask"] and values[..., 0].any():
        raise ValueError(f"the zeros that layer {entry['name']} promised are no zeros")
    return dict(codebook=values, codes=codes)


def book_of(entry: Mapping, parts: Mapping[str, bytes]) -> np.ndarray:
    """The stored codebook of a layer, flat."""
    kind = "codebook" if "codebook" in parts else "codebook" + IN_HALF
    if entry["bits"]:
        return np.frombuffer(parts[kind], np.int8)
    return np.frombuffer(parts[kind], "<f2" if kind.endswith(IN_HALF) else "<f4")


def _decoded_integers(entry: Mapping, parts: Mapping[str, bytes], count: int, budget: Budget) -> np.ndarray:
    if entry["mask"]:
        return decode(parts["integers"], count, depth_of(2 * grid_limit(entry["bits"]) + 1))
    return _symbols(parts, "integers", entry["shape"], symbol_values(entry), budget)


def read_layer(
    layer: Layer,  # of the network to be filled; its state is put in place
    entry: Mapping,  # that passed the gate
    parts: Mapping[str, bytes],  # by kind
    budget: Budget,  # from `check_header`
) -> None:
    """Give a layer the form and the weights that were written."""
    shape, found = tuple(layer.weight.shape), decoded(entry, parts, budget)
    if not entry.get("state"):
        layer.assign(torch.from_numpy(found["weights"].reshape(shape)))
        return
    state, scale = layer.attach(), 1
    state.bits, state.in_half = entry["bits"], entry.get("half", False)
    if entry["scale"]:
        scale = state.scale = torch.from_numpy(found["scale"].reshape(-1, *[1] * (len(shape) - 1)))
    if entry["form"] == "codes":
        _give_codes(layer, entry, found)
        return
    weight, mask = np.zeros(shape, np.float32), np.ones(shape, bool)
    if entry["mask"]:
        mask = found["mask"].astype(bool)
        state.mask = torch.from_numpy(mask)
    weight[mask] = (
        found["weights"]
        if entry["form"] == "float"
        else found["integers"].reshape(-1).astype(np.float32) - grid_limit(state.bits)
    )
    layer.assign(torch.from_numpy(weight) * (scale if state.bits else 1))


def _give_codes(layer: Layer, entry: Mapping, found: Mapping[str, np.ndarray]) -> None:
    state = layer.state
    state.codes = torch.from_numpy(found["codes"].astype(np.int16 if entry["wide"] else np.uint8))
    state.clusters = entry["clusters"]
    if entry["mask"]:
        state.mask = state.codes != 0
    layer.assign(torch.from_numpy(found["codebook"].astype(np.float32)))
