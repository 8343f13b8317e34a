"""Whether a file can answer as the network does: a network runs once while it is written, and what it decides in Python
on that one way, by values or by the number of images, stays decided in the file."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from warnings import catch_warnings, simplefilter, warn

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robcomp._compression.entry import check_finite
from robcomp._deployment.quiet import attention_in_parts
from robcomp._files.atomic import replacing
from robcomp._text.errors import first_line
from robcomp.data import InputContract, as_input

# what turns a tensor into something of Python, which no file can do again
READS = set("__bool__ __int__ __float__ __complex__ __index__ __contains__ item tolist numpy __array__ equal allclose "
            "is_nonzero".split())
NEAR = 1e-3  # of the range of all scores: the same operations, which a compiler may order in another way
FLOAT = 1e-5  # of the largest score
STEPS = 255  # the range of all scores, as levels of eight bits
OTHERWISE = "take out what changes a tensor in place or is left to chance, and compare part by part what is left"
REFUSED = "this network cannot be written as ONNX: "
HEAD = r"^.*? cannot be run: |\[ONNXRuntimeError\] : \d+ : |Load model from .*? failed: *"  # what we know already
ONE_WAY = ("its forward pass reads values of its images in Python (an if, a while, .item()), and a file holds one way "
           "only: choose with torch.where, compute with tensors")
ONE_NUMBER = ("its forward pass counts the images in Python, so its file would answer for 2 at a time only: reshape "
              "with flatten(1), or with x.shape as it is")


class ValuesRead(TorchFunctionMode):
    """While this lasts, tensors that come from marked ones are marked too, and it is noted whether Python reads one."""

    def __init__(self, images: Tensor):
        super().__init__()
        self.read, images.from_images = False, True

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result, name = function(*args, **(kwargs or {})), getattr(function, "__name__", "")
        if any(hasattr(tensor, "from_images") for tensor in _tensors((args, kwargs))):
            self.read |= name in READS
            for tensor in _tensors(result): tensor.from_images = True
        return result


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors among arguments or results."""
    if isinstance(value, Tensor): yield value
    elif isinstance(value, (tuple, list)):
        for part in value: yield from _tensors(part)
    elif isinstance(value, dict): yield from _tensors(list(value.values()))


def trial_images(contract: InputContract) -> list[Tensor]:
    """Inputs as different as images can be: one colour each, halves, stripes, noise of two kinds; then all at once."""
    size = contract.size
    images = np.zeros((8, size, size, 3), np.uint8)
    images[1], images[2], images[3, ..., 0], images[4, :, size // 2:], images[5, ::2] = 255, 128, 255, 255, 255
    rng = np.random.default_rng(0)
    images[6] = rng.integers(0, 256, images[6].shape)
    images[7] = rng.integers(0, 40, images[7].shape)
    inputs = as_input(images, contract)
    return [*inputs.split(1), inputs]


def traced(network: nn.Module, size: int) -> Callable[[Tensor], Tensor] | None:
    """What the exporter writes down of a network: the way that two images of zeros take. None where it cannot be
    followed, of which the exporter says why."""
    with catch_warnings(), attention_in_parts():
        simplefilter("ignore")
        try: return torch.jit.trace(network, (torch.zeros(2, 3, size, size),), check_trace=False)
        except Exception: return None


@torch.no_grad()
def check_one_way(network: nn.Module, contract: InputContract) -> None:
    """One line of error where other images take another way through a network than the one that is written, and one of
    warning where that cannot be ruled out."""
    check_finite(network)
    written, (*single, together), read = traced(network, contract.size), trial_images(contract), False
    if written is None or not _agree(network, network, single): return  # chance: no two calls are the same
    for x in (*single, together):
        with ValuesRead(x) as seen: _answer(network, x)
        read |= seen.read
    if not _agree(network, written, [*single, together]):
        ways = _agree(network, written, [torch.cat([x, x]) for x in single])
        raise ValueError(REFUSED + (ONE_NUMBER if ways else ONE_WAY))
    check_apart(network, together, REFUSED + "it")
    if read: warn(f"the forward pass of this network reads values of its images in Python: the file holds the way that "
                  f"{len(single)} images of all kinds take, and no other", stacklevel=6)


@torch.no_grad()
def check_apart(network: Callable, inputs: Tensor, name: str) -> None:
    """One line about a network whose scores for an image depend on the other images of its batch. What is left to
    chance is no matter of the batch; where there is no answer, whoever asks next says so."""
    parts = [_answer(network, part.clone()) for part in inputs.split(3)]
    together, again = _answer(network, inputs.clone()), _answer(network, inputs.clone())
    if any(scores is None for scores in (*parts, together, again)): return
    apart = torch.cat(parts)
    if apart.shape != together.shape: return
    finite = (together.isfinite() & apart.isfinite() & again.isfinite()).all(1)  # of one colour, an image may have none
    if not finite.any(): return
    together, apart, again = together[finite], apart[finite], again[finite]
    near = NEAR * (together.max() - together.min()) + FLOAT * together.abs().max()
    def moved(found: Tensor) -> Tensor:  # a rare image may move: roundings meet borders of levels
        return (found - together).abs().amax(1).quantile(.75)
    if moved(again) <= near < moved(apart):
        raise ValueError(f"{name} gives an image other scores where other images are in its batch: let its forward "
                         "pass compute each image alone, with no mean, softmax or normalisation over dimension 0")


def checked_numbers(answers: np.ndarray, name: str) -> np.ndarray:
    """The answers themselves, (kinds, images), or one line about those that are no numbers."""
    if wrong := int(np.isnan(answers).any(0).sum()):
        raise ValueError(f"{name} gives scores that are not finite for {wrong} of {answers.shape[1]} images: train it "
                         "again, or load other weights")
    return answers


def _agree(network: Callable, other: Callable, inputs: Sequence[Tensor]) -> bool:
    """Do both give the same scores, as far as the first gives any?"""
    pairs = [(wanted, _answer(other, x)) for x in inputs if (wanted := _answer(network, x)) is not None]
    if any(found is None or found.shape != wanted.shape for wanted, found in pairs): return False
    wanted, found = (torch.cat([scores.reshape(-1).double() for scores in side]) for side in zip(*pairs))
    finite = wanted[wanted.isfinite()]
    near = NEAR * (finite.max() - finite.min()).item() + FLOAT * finite.abs().max().item() if len(finite) else 0.
    return torch.allclose(found, wanted, rtol=0, atol=near, equal_nan=True)


def _answer(network: Callable, x: Tensor) -> Tensor | None:
    """Scores; None where there are none for these images."""
    try: return network(x)
    except Exception: return None


def steps_apart(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Distances between scores, in steps: the range of all that are wanted has STEPS of them."""
    return np.abs(found - wanted) * STEPS / max(np.ptp(wanted), np.finfo(np.float32).tiny)


def write_runnable(path: Path, content: bytes, opened: Callable, network: nn.Module, contract: InputContract) -> None:
    """Write a file that answers as a network does, or one line of error and none; `opened` makes a session."""
    with replacing(path) as file:
        file.write(content)
        file.flush()
        if find_spec("onnxruntime") is not None: check_answers(Path(file.name), opened, network, contract)


@torch.no_grad()
def check_answers(path: Path, opened: Callable, network: nn.Module, contract: InputContract) -> None:
    """One line of error about a file that ONNX Runtime does not run, or whose scores are not those of the network.

    A rare image may differ by some steps, because roundings meet borders of levels; most images may not.
    """
    inputs = trial_images(contract)[-1]
    try: found = opened(path).run(None, {"images": inputs.numpy()})[0]
    except Exception as error:
        said = re.sub(HEAD, "", first_line(error))
        node = re.search(r"[\"'(](/[\w./]+)", said)
        raise ValueError(f"{REFUSED}ONNX Runtime does not run the file{f' at {node[1]}' if node else ''} "
                         f"({said.partition('. In Node')[0][:120]}): replace that part of the network, or try another "
                         "opset") from None
    wanted = _answer(network, inputs)
    if wanted is None or not wanted.isfinite().all(): return
    wanted = wanted.numpy()
    usual, rounding = np.median(steps_apart(found, wanted).max(1)), FLOAT * np.abs(wanted).max()
    if not (usual <= 1 or np.abs(found - wanted).max() <= rounding):
        raise ValueError(f"{REFUSED}the file gives other scores than the network (on most images by {usual:.0f} or "
                         f"more of {STEPS} steps of their range): {OTHERWISE}")
