"""What an ONNX file written by anybody says of itself: its one input, its weights, its bytes.

Weights are the constants that enter convolutions and matrix products, in float or as integer codes, behind the nodes
that only dequantize, cast or rearrange them. What is computed from two activations has no weight; biases, and the
factors and offsets of normalisation, are parameters too."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from robcomp._text.errors import first_line
from robcomp.data import InputContract

# positions of weight, bias and zero point of the weight among the inputs of a node; -1 where it takes none
PRODUCTS = dict(
    Conv=(1, 2, -1),
    ConvTranspose=(1, 2, -1),
    FusedConv=(1, 2, -1),
    Gemm=(1, 2, -1),
    FusedGemm=(1, 2, -1),
    MatMul=(1, -1, -1),
    FusedMatMul=(1, -1, -1),
    QLinearConv=(3, 8, 5),
    QLinearMatMul=(3, -1, 5),
    QGemm=(3, 6, 5),
    ConvInteger=(1, -1, 3),
    MatMulInteger=(1, -1, 3),
    MatMulIntegerToFloat=(1, 6, 5),
    DynamicQuantizeMatMul=(1, 4, 3),
)
# positions of parameters
SCALED = dict(BatchNormalization=(1, 2), InstanceNormalization=(1, 2), LayerNormalization=(1, 2), PRelu=(1,))
PACKED = {"MatMulNBits", "MatMulBnb4", "GatherBlockQuantized", "QMoE"}  # their codes share bytes, as each says itself
UNCHANGED = {"DequantizeLinear", "Transpose", "Reshape", "Identity", "Cast", "Flatten", "Squeeze", "Unsqueeze"}
MADE = 2**28  # bytes of what a file computes from its constants alone, or
MADE_A_BYTE = 16  # so many for each of its own: four bits that become a number of 64
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


class Face(NamedTuple):
    """How a file wants its images."""

    name: str
    dtype: type
    channels_last: bool
    batch: int | None  # None: any number of images
    size: int | None  # None: any


def face(running, path: Path) -> Face:
    """The one input of a session, or one line about why images do not fit it."""
    inputs, outputs = running.get_inputs(), running.get_outputs()
    for kind, found in (("input", inputs), ("output", outputs)):
        if len(found) != 1:
            raise ValueError(
                f"{str(path)!r} has {len(found)} {kind}s ({', '.join(one.name for one in found)}): write it with one "
                "alone, "
                f"{'the images' if kind == 'input' else 'the scores'}"
            )
    image, shape = inputs[0], [side if isinstance(side, int) else None for side in inputs[0].shape]
    if image.type not in TYPES:
        raise ValueError(f"{str(path)!r} takes {image.type}: allowed are {', '.join(TYPES)}")
    last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    sides = shape[1:3] if last else shape[2:]
    if len(shape) != 4 or (shape[3] if last else shape[1]) not in (3, None) or len({*sides} - {None}) > 1:
        raise ValueError(
            f"{str(path)!r} takes {image.shape}: it should take square colour images, (n, 3, size, size) or (n, size, "
            "size, 3)"
        )
    return Face(image.name, TYPES[image.type], last, shape[0], next((side for side in sides if side), None))


def parts_of(path: Path) -> list[Path]:
    """The file itself, and those beside it in which it keeps large tensors; none is opened before it is known to be a
    file."""
    from onnx import load

    if not path.is_file():
        return [path]
    try:
        model = load(path, load_external_data=False)
    except Exception:
        return [path]  # whoever runs it says what is wrong with it
    check_made(model, path)
    named = {
        entry.value for tensor in tensors_of(model.graph) for entry in tensor.external_data if entry.key == "location"
    }
    for name in sorted(named):
        if not name or Path(name).is_absolute() or ".." in Path(name).parts or not (path.parent / name).is_file():
            raise ValueError(
                f"{str(path)!r} keeps tensors in {name!r:.100}, which is no file beside it: bring that file, or write "
                "the network as one"
            )
    return [path, *(path.parent / name for name in sorted(named))]


def check_made(model, path: Path) -> None:
    """One line about a file that computes from its constants more than can be meant: a runtime does so when it reads
    the file."""
    from onnx import helper, shape_inference

    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:
        return  # whoever runs it says what is wrong with it
    constant, made = {tensor.name for tensor in graph.initializer} | {""}, set()
    for node in graph.node:
        if constant.issuperset(node.input):
            made |= {*node.output} - {""}
        constant |= made
    total = 0
    for kind, value in ((value.type.tensor_type, value) for value in graph.value_info if value.name in made):
        sides = [side.dim_value if side.HasField("dim_value") else 1 for side in kind.shape.dim]
        total += prod(sides) * helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize if kind.elem_type else 0
    if total > max(MADE, MADE_A_BYTE * path.stat().st_size):
        raise ValueError(
            f"{str(path)!r} makes {total:,} bytes out of constants, in a file of {path.stat().st_size:,}: write those "
            "as weights, or compute them from the images"
        )


def tensors_of(graph) -> Iterator:
    """Every constant of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for entry in (entry for node in graph.node for entry in node.attribute):
        yield from (tensor for tensor in (entry.t, *entry.tensors) if tensor.external_data)
        for inner in (entry.g, *entry.graphs):
            yield from tensors_of(inner)


def contract_noted(notes: dict, file: str) -> InputContract | None:
    """The contract among the notes of a file; None where there is none, one line of error where it cannot be read."""
    if "contract" not in notes:
        return None
    try:
        return InputContract(**json.loads(notes["contract"]))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"the note 'contract' of {file} is none of ours ({first_line(error)[:200]}): pass from_onnx a "
            "contract=InputContract(size, mean, std)"
        ) from None


def bytes_of(paths: list[Path]) -> dict:
    """Length of some files, and of their gzip (level 6)."""
    content = b"".join(path.read_bytes() for path in paths)
    return dict(size_bytes=len(content), gzip_bytes=len(gzip.compress(content, 6, mtime=0)))


def saved_bytes(network: nn.Module) -> int:
    """Length of the file that torch saves of the tensors of a network."""
    torch.save(network.state_dict(), file := BytesIO())
    return file.tell()


def digest_of(paths: list[Path]) -> str:  # sha256; "" where one is no file
    """What tells some files from others of the same names."""
    found = sha256()
    for path in paths:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            while block := file.read(2**20):
                found.update(block)
    return found.hexdigest()


def weights_of(model) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The weights of an ONNX model as codes, less their zero point, or as floats; and its other parameters. By name."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        for value in (entry.t for entry in node.attribute if node.op_type == "Constant" and entry.name == "value"):
            constants[node.output[0]] = value

    def array(name: str) -> np.ndarray:
        found = numpy_helper.to_array(constants[name])
        # numpy tells zeros and equal values apart in its own kinds alone, not in 16 or 8 bits of other floats
        return found.astype(np.float32) if found.dtype.kind != "f" and "float" in found.dtype.name else found

    def source(node, position: int) -> tuple[str, str, int, int]:
        """Name of the constant behind an input, of its zero point, the axis and the block of that; "" for none."""
        name, zero, axis, block = (node.input[position] if 0 <= position < len(node.input) else ""), "", 0, 0
        while name not in constants and name in makers and makers[name].op_type in UNCHANGED:
            node, name = makers[name], makers[name].input[0]
            if node.op_type == "DequantizeLinear":
                said = {entry.name: entry.i for entry in node.attribute}
                zero = node.input[2] if len(node.input) > 2 else ""
                axis, block = said.get("axis", 1), said.get("block_size", 0)
        return (name if name in constants else ""), zero, axis, block

    weights, others = {}, {}
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            weight, bias, point = PRODUCTS[node.op_type]
            name, zero, axis, block = source(node, weight)
            if not zero and 0 <= point < len(node.input):
                zero = node.input[point]
            if name:
                weights[name] = centred(array(name), array(zero) if zero in constants else None, axis, block)
            if name and (extra := source(node, bias)[0]):
                others[extra] = array(extra)
        for name in (source(node, position)[0] for position in SCALED.get(node.op_type, ())):
            if name:
                others[name] = array(name)
        others |= {name: array(name) for name in added(node, makers) if name in constants}
    return weights, {name: value for name, value in others.items() if name not in weights}


def centred(codes: np.ndarray, zero: np.ndarray | None, axis: int, block: int = 0) -> np.ndarray:
    """Codes less their zero point, so that 0 stands for a weight of zero; floats as they are. A zero point stands for
    all, for a channel, or for a block of so many weights along the axis."""
    if codes.dtype.kind == "f" or codes.dtype.itemsize > 4:
        return codes
    codes = codes.astype(np.int64)
    if zero is None:
        return codes
    zero, axis = zero.astype(np.int64), axis % codes.ndim
    if block:
        zero = np.repeat(zero, block, axis).take(range(codes.shape[axis]), axis)
    elif zero.size > 1:
        zero = zero.reshape([-1 if k == axis else 1 for k in range(codes.ndim)])
    else:
        zero = zero.reshape(())
    return codes - zero


def added(node, makers: dict) -> Iterator[str]:
    """The inputs of an addition to a product without a bias of its own."""
    if node.op_type != "Add":
        return
    for own, other in (node.input, node.input[::-1]):
        if other in makers and makers[other].op_type in ("MatMul", "FusedMatMul"):
            yield own


def counts(model) -> dict:
    """Parameters, those that are not zero, and the most codes of any layer; nothing where not all can be read."""
    if any(node.op_type in PACKED for node in model.graph.node):
        return {}
    weights, others = weights_of(model)
    if not weights:
        return {}
    everything = [*weights.values(), *others.values()]
    return dict(
        params=sum(value.size for value in everything),
        nonzero=sum(int(np.count_nonzero(value)) for value in everything),
        distinct_codes=max(len(np.unique(value)) for value in weights.values()),
    )
