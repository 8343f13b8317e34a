"""Whether a file can answer as the network does: a network runs once while it is written, and what it decides in Python
on that one way, by values or by the number of images, stays decided in the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robcomp._compression.alone import FLOAT, NEAR, ORDINARY, READS, answer_of, check_apart, tensors_in, trial_images
from robcomp._compression.entry import check_finite
from robcomp._deployment.quiet import attention_in_parts
from robcomp._files.atomic import replacing
from robcomp._text.errors import first_line
from robcomp._text.warning import warn_caller
from robcomp.data import InputContract

STEPS = 255  # the range of all scores, as levels of eight bits
FAR = 25  # of these steps
OTHERWISE = (
    "take out what changes a tensor in place, is left to chance, or divides by the spread of an even image, "
    "and compare part by part what is left"
)
REFUSED = "this network cannot be written as ONNX: "
HEAD = r"^.*? cannot be run: |\[ONNXRuntimeError\] : \d+ : |Load model from .*? failed: *"  # what we know already
ONE_WAY = (
    "its forward pass reads values of its images in Python (an if, a while, .item()), and a file holds one way "
    "only: choose with torch.where, compute with tensors"
)
ONE_NUMBER = (
    "its forward pass counts the images in Python, so its file would answer for 2 at a time only: reshape "
    "with flatten(1), or with x.shape as it is"
)


class ValuesRead(TorchFunctionMode):
    """While this lasts, tensors that come from marked ones are marked too, and it is noted whether Python reads one."""

    def __init__(self, images: Tensor):
        super().__init__()
        self.read, images.from_images = False, True

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result, name = function(*args, **(kwargs or {})), getattr(function, "__name__", "")
        if any(hasattr(tensor, "from_images") for tensor in tensors_in((args, kwargs))):
            self.read |= name in READS
            for tensor in tensors_in(result):
                tensor.from_images = True
        return result


def traced(network: nn.Module, size: int) -> Callable[[Tensor], Tensor] | None:
    """What the exporter writes down of a network: the way that two images of zeros take. None where it cannot be
    followed, of which the exporter says why."""
    with catch_warnings(), attention_in_parts():
        simplefilter("ignore")
        try:
            return torch.jit.trace(network, (torch.zeros(2, 3, size, size),), check_trace=False)
        except Exception:
            return None


@torch.no_grad()
def check_one_way(network: nn.Module, contract: InputContract) -> None:
    """One line of error where other images take another way through a network than the one that is written, and one of
    warning where that cannot be ruled out."""
    check_finite(network)
    check_scores(network, trial_images(contract)[-1][ORDINARY])
    written, (*single, together), read = traced(network, contract.size), trial_images(contract), False
    if written is None or not _agree(network, network, single):
        return  # chance: no two calls are the same
    for x in (*single, together):
        with ValuesRead(x) as seen:
            answer_of(network, x)
        read |= seen.read
    if not _agree(network, written, [*single, together]):
        ways = _agree(network, written, [torch.cat([x, x]) for x in single])
        raise ValueError(REFUSED + (ONE_NUMBER if ways else ONE_WAY))
    check_apart(network, together, REFUSED + "it")
    if read:
        warn_caller(
            f"the forward pass of this network reads values of its images in Python: the file holds the way that "
            f"{len(single)} images of all kinds take, and no other"
        )


@torch.no_grad()
def check_scores(network: nn.Module, images: Tensor) -> None:
    """One line about a network whose scores for these images are no numbers; a class may be ruled out by minus
    infinity."""
    scores = answer_of(network, images)
    if scores is not None and (wrong := int(scores.float().log_softmax(1).isnan().any(1).sum())):
        raise ValueError(
            f"{REFUSED}it gives scores that are not finite for {wrong} of {len(images)} images of noise: "
            "see what it computes on the way, train it again, or load other weights"
        )


@torch.no_grad()
def check_integers(network: nn.Module, contract: InputContract, wanted: Tensor | None) -> None:
    """One line about a network whose layers, put on integers, give other scores for the trial images than before.

    Sums that are rounded otherwise move scores a little, and weights that are not what they stand for a lot."""
    found = answer_of(network, trial_images(contract)[-1])
    if wanted is None or found is None:
        return
    usual = usual_steps(*comparable(found.numpy(), wanted.numpy()))
    if not usual <= FAR:
        raise ValueError(
            f"in integers, this network gives other scores than with the same weights in float (on most "
            f"images by {usual:.0f} or more of {STEPS} steps of their range): write int8:weights, or name "
            "layers that compute in a way of their own in keep"
        )


def checked_numbers(answers: np.ndarray, name: str) -> np.ndarray:
    """The answers themselves, (kinds, images), or one line about those that are no numbers."""
    if wrong := int(np.isnan(answers).any(0).sum()):
        raise ValueError(
            f"{name} gives scores that are not finite for {wrong} of {answers.shape[1]} images: train it "
            "again, or load other weights"
        )
    return answers


def _agree(network: Callable, other: Callable, inputs: Sequence[Tensor]) -> bool:
    """Do both give the same scores, as far as the first gives any?"""
    pairs = [(wanted, answer_of(other, x)) for x in inputs if (wanted := answer_of(network, x)) is not None]
    if any(found is None or found.shape != wanted.shape for wanted, found in pairs):
        return False
    wanted, found = (torch.cat([scores.reshape(-1).double() for scores in side]) for side in zip(*pairs))
    finite = wanted[wanted.isfinite()]
    near = NEAR * (finite.max() - finite.min()).item() + FLOAT * finite.abs().max().item() if len(finite) else 0.0
    return torch.allclose(found, wanted, rtol=0, atol=near, equal_nan=True)


def steps_apart(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Distances between scores, in steps: the range of all that are wanted has STEPS of them."""
    return np.abs(found - wanted) * STEPS / max(np.ptp(wanted), np.finfo(np.float32).tiny)


def usual_steps(found: np.ndarray, wanted: np.ndarray) -> float:
    """How far the scores of the middle image are apart, in steps; none where there are no images."""
    return float(np.median(steps_apart(found, wanted).max(1))) if len(wanted) else 0.0


def comparable(found: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores of the images that have some; a class that both rule out, by minus infinity, counts as equal."""
    out = np.isneginf(wanted) & np.isneginf(found)
    found, wanted = np.where(out, 0, found), np.where(out, 0, wanted)
    kept = np.isfinite(wanted).all(1)
    return found[kept], wanted[kept]


def write_runnable(path: Path, content: bytes, opened: Callable, network: nn.Module, contract: InputContract) -> None:
    """Write a file that answers as a network does, or one line of error and none; `opened` makes a session."""
    with replacing(path) as file:
        file.write(content)
        file.flush()
        if find_spec("onnxruntime") is not None:
            check_answers(Path(file.name), opened, network, contract)


@torch.no_grad()
def check_answers(path: Path, opened: Callable, network: nn.Module, contract: InputContract) -> None:
    """One line of error about a file that ONNX Runtime does not run, or whose scores are not those of the network.

    A rare image may differ by some steps, because roundings meet borders of levels; most images may not.
    """
    inputs = trial_images(contract)[-1]
    try:
        found = opened(path).run(None, {"images": inputs.numpy()})[0]
    except Exception as error:
        said = re.sub(HEAD, "", first_line(error))
        node = re.search(r"[\"'(](/[\w./]+)", said)
        raise ValueError(
            f"{REFUSED}ONNX Runtime does not run the file{f' at {node[1]}' if node else ''} "
            f"({said.partition('. In Node')[0][:120]}): replace that part of the network, or try another "
            "opset"
        ) from None
    wanted = answer_of(network, inputs)
    if wanted is None:
        return
    found, wanted = comparable(found, wanted.numpy())
    usual, rounding = usual_steps(found, wanted), FLOAT * np.abs(wanted).max(initial=0)
    if not (usual <= 1 or np.abs(found - wanted).max() <= rounding):
        raise ValueError(
            f"{REFUSED}the file gives other scores than the network (on most images by {usual:.0f} or "
            f"more of {STEPS} steps of their range): {OTHERWISE}"
        )
