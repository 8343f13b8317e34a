"""Weights out of files that anybody wrote: safetensors, and PyTorch checkpoints read without running what is in
them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from robcomp._files.atomic import path_of
from robcomp._text.errors import first_line

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # under which training scripts keep the weights
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PREFIXES = ("module.", "_orig_mod.")  # what parallel and compiled networks put before every name


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The tensors of a file by name, and what was done to get them, in words; one line of error for anything else."""
    path = path_of(path)
    if not path.is_file():
        raise ValueError(f"no weights file {str(path)!r}: check the path")
    with path.open("rb") as file:
        head = file.read(8)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        tensors, done = unwrapped(_checkpoint(path), path)
    else:
        tensors, done = _safetensors(path), []
    while prefix := next(
        (prefix for prefix in PREFIXES if tensors and all(name.startswith(prefix) for name in tensors)), None
    ):
        tensors, done = (
            {name.removeprefix(prefix): tensor for name, tensor in tensors.items()},
            [*done, f"took {prefix!r} off all names"],
        )
    for name, tensor in tensors.items():
        _check_kind(path, name, tensor)
    _check_bytes(path, tensors.values())
    for name, tensor in tensors.items():
        _check_finite(path, name, tensor)
    if masked := _apply_masks(tensors):
        done = [*done, f"applied {masked} mask{'s' * (masked > 1)} of torch.nn.utils.prune"]
    for word, kinds in (("widened", (torch.float16, torch.bfloat16)), ("narrowed", (torch.float64,))):
        if found := {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.dtype in kinds}:
            done = [*done, f"{word} {' and '.join(sorted(found))}"]
    return tensors, done


def _apply_masks(tensors: dict[str, torch.Tensor]) -> int:
    """Replace, in place, each weight and its mask by what the network computed with; how many there were."""
    names = [name.removesuffix("_orig") for name in tensors if name.endswith("_orig")]
    masked = [
        name
        for name in names
        if f"{name}_mask" in tensors and tensors[f"{name}_mask"].shape == tensors[f"{name}_orig"].shape
    ]
    for name in masked:
        mask = tensors.pop(f"{name}_mask")
        tensors[name] = tensors.pop(f"{name}_orig") * mask
    return len(masked)


def _check_kind(path: Path, name: str, tensor: torch.Tensor) -> None:
    """One line about a tensor that holds no weights as they are."""
    kept = "sparse" if tensor.layout != torch.strided else "on no device" if tensor.is_meta else ""
    if kept:
        raise ValueError(f"{str(path)!r} holds {name} {kept}: save dense tensors")
    if tensor.is_floating_point() and tensor.dtype not in FLOATS or tensor.is_complex() or tensor.is_quantized:
        raise ValueError(f"{str(path)!r} holds {tensor.dtype} for {name}: numbers without their scales are no weights")


def _check_bytes(path: Path, tensors: Iterable[torch.Tensor]) -> None:
    """One line about tensors that would take more bytes than their file has, because they repeat what is in it; one
    under several names counts once."""
    different = {(tensor.data_ptr(), tensor.shape, tensor.stride()): tensor.nbytes for tensor in tensors}
    if (taken := sum(different.values())) > (had := path.stat().st_size):
        raise ValueError(
            f"{str(path)!r} holds tensors of {taken:,} bytes in a file of {had:,}, as expand makes them: save them "
            "contiguous"
        )


def _check_finite(path: Path, name: str, tensor: torch.Tensor) -> None:
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise ValueError(
            f"{str(path)!r} holds values of {name} that are no finite numbers: a training that diverged leaves such "
            "weights"
        )


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is no whole safetensors file ({first_line(error)}): write it again") from None
    except KeyError as error:  # a kind of numbers that the reader has no word for
        raise ValueError(f"{str(path)!r} holds tensors of {error}, numbers without their scales: save floats") from None
    if not tensors:
        raise ValueError(f"{str(path)!r} holds no tensors: save model.state_dict()")
    return tensors


def _checkpoint(path: Path) -> object:
    """What a file of `torch.save` holds, if it is plain data and unpacks to no more than its own length."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                large = sum(entry.file_size for entry in archive.infolist())
            if large > path.stat().st_size:
                raise ValueError("its parts unpack to more bytes than it has")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds
        objects = re.search(r"GLOBAL ([\w.]+)", str(error))
        said = f"an object of {objects[1]}, which is not opened" if objects else first_line(error)[:120]
        raise ValueError(
            f"{str(path)!r} holds no plain tensors ({said}): save model.state_dict() alone, best as safetensors"
        ) from None


def unwrapped(found: object, path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The one mapping of tensors in a checkpoint."""
    if _tensors(found):
        return dict(found), []
    inside = [name for name in WRAPPERS if isinstance(found, Mapping) and _tensors(found.get(name))]
    if len(inside) == 1:
        return dict(found[inside[0]]), [f"took the weights from {inside[0]!r}"]
    what = (
        f"several sets of weights ({', '.join(inside)})"
        if inside
        else f"no mapping of names to tensors, nor one under {', '.join(WRAPPERS)}"
    )
    raise ValueError(f"{str(path)!r} holds {what}: save model.state_dict() alone, best as safetensors")


def _tensors(found: object) -> bool:
    return (
        isinstance(found, Mapping)
        and bool(found)
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items())
    )
