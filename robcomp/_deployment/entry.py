"""What enters: the libraries of the extra, a network before it is written as ONNX, and the images and settings that a
file is run with."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np
from torch import nn
from torch.overrides import TorchFunctionMode

from robcomp._compression.entry import check_contract
from robcomp._files.pictures import Pictures
from robcomp._packing.container import MAGIC
from robcomp._text.errors import first_line
from robcomp._text.given import whole


def library(name: str):  # onnx or onnxruntime
    """A library of the `onnx` extra, or one line that says how to get it."""
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(f"{name} is not installed: pip install 'robcomp[onnx]'") from None


class WritableOperations(TorchFunctionMode):
    """While this lasts, what no file can say is computed by operations that can be written: the same numbers, in a
    layer or by a function.

    Padding that is given as a word is given in numbers. An instance normalisation by running statistics is a batch
    normalisation by them."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        if name in ("conv1d", "conv2d", "conv3d"):
            return function(**_padded_in_numbers(args, kwargs))
        if name.startswith("max_unpool"):
            raise ValueError(
                f"no file can put values back where a pooling took them ({name}): enlarge by interpolation or by a "
                "transposed convolution"
            )
        if name == "instance_norm" and function is nn.functional.instance_norm:
            given = signature(function).bind(*args, **kwargs).arguments
            if given.pop("use_input_stats", True) is False:
                return nn.functional.batch_norm(**given, training=False)
        if name == "batch_norm" and function is nn.functional.batch_norm:
            given = signature(function).bind(*args, **kwargs).arguments
            if given.get("training") or given["running_mean"] is None:
                raise ValueError(
                    "it normalises by the batch an image is in, so no file can answer for one image: keep running "
                    "statistics"
                )
        return function(*args, **kwargs)


def _padded_in_numbers(args: tuple, kwargs: dict) -> dict:
    """What a convolution is given, by name: padding in numbers, and a number for each dimension where a list has one
    for all."""
    given = dict(zip(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args)) | kwargs
    sizes = tuple(map(int, given["weight"].shape[2:]))  # plain numbers, also where a graph is traced
    for name in ("stride", "padding", "dilation"):
        if isinstance(given.get(name), (tuple, list)) and len(given[name]) == 1:
            given[name] = tuple(given[name]) * len(sizes)
    if not isinstance(given.get("padding"), str):
        return given
    spread = given.get("dilation", 1)
    spread = (spread,) * len(sizes) if isinstance(spread, int) else spread
    total = [by * (size - 1) * (given["padding"] == "same") for by, size in zip(spread, sizes)]
    if any(count % 2 for count in total):
        sides = [side for count in reversed(total) for side in (count // 2, count - count // 2)]
        return given | dict(input=nn.functional.pad(given["input"], sides), padding=0)
    return given | dict(padding=tuple(count // 2 for count in total))


UNWRITTEN = (  # what the exporter says, and in plain words
    (
        r"adaptive_(?:avg|max)_pool.* not factor",
        "an adaptive pooling gives a size that does not divide the size of its input: let it give one that does, as 1, "
        "or pool with a kernel size",
    ),
    (r"operator '?(?:\w+::)?(\w+)", "opset {opset} has no {0}: replace it in the network, or try another opset"),
)


def why_not(error: Exception, opset: int) -> str:
    """One line about what an exporter could not write, and what to do."""
    said = first_line(error)
    for pattern, plain in UNWRITTEN:
        if found := re.search(pattern, said):
            return "this network cannot be written as ONNX: " + plain.format(*found.groups(), opset=opset)
    return f"this network cannot be written as ONNX: {re.split(r'  |[.] Please', said)[0][:200]}"


def network_in(model: object) -> nn.Module:
    """The network of an artifact, or the network that was given; one line about what is none and about one without an
    input contract."""
    if is_packed(model):
        raise TypeError(f"{str(model)!r} is a packed file: unpack it first, and pass the network that unpack gives")
    inside = None if isinstance(model, nn.Module) else getattr(model, "module", None)
    return check_contract(inside if isinstance(inside, nn.Module) else model)


def is_packed(path: object) -> bool:
    """Does a file begin as `pack` writes it?"""
    if not isinstance(path, (str, Path)):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


def check_file(path: object) -> None:
    """One line about what is no file that ONNX Runtime could open: a network, a packed file, nothing there."""
    if isinstance(getattr(path, "module", path), nn.Module):
        raise TypeError(
            f"{type(path).__name__} is no ONNX file: write it with export_onnx(network, path), pass the path"
        )
    if is_packed(path):
        raise ValueError(f"{str(path)!r} is a packed file: unpack it, then export_onnx writes an ONNX file")
    if not isinstance(path, (str, Path)) or not os.path.isfile(path):
        raise ValueError(f"no ONNX file {str(path)[:200]!r}: check the path, or write it with export_onnx")


def no_model(name: str, model: object) -> str:
    """One line about a model from elsewhere that comes in no form that is taken."""
    if isinstance(model, nn.Module):
        return (
            f"{name} is a {type(model).__name__} without a contract: set net.contract = InputContract(size, mean, "
            "std), in pixel units 0 to 255, and pass it again"
        )
    if isinstance(getattr(model, "module", None), nn.Module):
        return f"{name} is an artifact, and the bytes that ship are those of its file: pack(artifact, path), pass path"
    return (
        f"{name} is a {type(model).__name__}: pass what from_onnx or from_predict gives, the path of an ONNX file or "
        "of a packed one, or a network of torch with .contract"
    )


def check_exportable(module: nn.Module) -> None:
    """One line about a layer whose answer for an image depends on the others."""
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and (
            part.running_mean is None or part.running_var is None
        ):
            raise ValueError(
                f"layer {name} normalises by the batch it is in (it has no running statistics), "
                "so no file can answer for one image: keep running statistics"
            )


def batches(images: np.ndarray | Pictures, batch: int) -> Iterator[np.ndarray]:
    """Images, `batch` at a time, one image as a batch of one; one line of error where there are none."""
    if not hasattr(images, "shape"):
        raise TypeError(f"images are an array of (n, size, size, 3) uint8, got {type(images).__name__}")
    if not len(images):
        raise ValueError("there are no images to answer for: pass at least one")
    images = images[None] if len(images.shape) == 3 else images
    check_pixels(images)
    step = whole("batch", batch, 1, 1_000_000)
    return (images[start : start + step] for start in range(0, len(images), step))


def check_pixels(images: np.ndarray) -> None:
    """One line about floats that are no pixels from 0 to 255: values from 0 to 1, or normalised ones."""
    if "float" not in str(getattr(images, "dtype", "")):
        return
    low, high = float(images.min()), float(images.max())
    if low == high == 0 or not high <= (1 if low >= 0 else 10):
        return
    raise ValueError(
        f"images are uint8, or floats in pixel units 0 to 255, these are of values from {low:.3g} to {high:.3g}: "
        + ("multiply them by 255" if low >= 0 else "pass them as they were before they were normalised")
    )
