"""Whether a network answers for each image alone: with others in its batch, an image gets the scores that it has
without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from robcomp.data import InputContract, as_input

from .place import full_precision

NEAR = 1e-3  # of the range of all scores: the same operations, which a compiler may order in another way
FLOAT = 1e-5  # of the largest score
ORDINARY = slice(6, 8)  # of the trial images: noise, with a spread that can be divided by
# what turns a tensor into something of Python, which no file can do again
READS = set(
    "__bool__ __int__ __float__ __complex__ __index__ __contains__ item tolist numpy __array__ equal allclose "
    "is_nonzero".split()
)
ALONE = "let its forward pass compute each image alone, with no mean, softmax or normalisation over dimension 0"


def tensors_in(value: object) -> Iterator[Tensor]:
    """The tensors among arguments or results."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def trial_images(contract: InputContract) -> list[Tensor]:
    """Inputs as different as images can be: one colour each, halves, stripes, noise of two kinds; then all at once."""
    size = contract.size
    images = np.zeros((8, size, size, 3), np.uint8)
    images[1], images[2], images[3, ..., 0], images[4, :, size // 2 :], images[5, ::2] = 255, 128, 255, 255, 255
    rng = np.random.default_rng(0)
    images[6] = rng.integers(0, 256, images[6].shape)
    images[7] = rng.integers(0, 40, images[7].shape)
    inputs = as_input(images, contract)
    return [*inputs.split(1), inputs]


def answer_of(network: Callable, x: Tensor) -> Tensor | None:
    """Scores; None where there are none for these images."""
    try:
        return network(x)
    except Exception:
        return None


@torch.no_grad()
def check_apart(network: Callable, inputs: Tensor, name: str) -> None:
    """One line about a network whose scores for an image depend on the other images of its batch, or on chance. Where
    there is no answer, the next one to ask says so."""
    parts = [answer_of(network, part.clone()) for part in inputs.split(3)]
    together, again = answer_of(network, inputs.clone()), answer_of(network, inputs.clone())
    if any(scores is None for scores in (*parts, together, again)):
        return
    apart = torch.cat(parts)
    if apart.shape != together.shape:
        return
    finite = (together.isfinite() & apart.isfinite() & again.isfinite()).all(1)  # of one colour, an image may have none
    if not finite.any():
        return
    together, apart, again = together[finite], apart[finite], again[finite]
    near = NEAR * (together.max() - together.min()) + FLOAT * together.abs().max()

    def moved(found: Tensor) -> Tensor:  # a rare image may move: roundings meet borders of levels
        return (found - together).abs().amax(1).quantile(0.75)

    if moved(again) > near:
        raise ValueError(
            f"{name} gives an image other scores each time it is asked: leave out what draws random "
            "numbers (dropout, noise) unless self.training"
        )
    if moved(apart) > near:
        raise ValueError(f"{name} gives an image other scores where other images are in its batch: {_remedy(network)}")


def check_alone(model: nn.Module, contract: InputContract, name: str) -> None:
    """The same line about a network, asked where it is and in full precision."""
    images = trial_images(contract)[-1].to(next(model.parameters(), torch.empty(0)).device)
    with full_precision():
        check_apart(model, images, name)


def _remedy(network: Callable) -> str:
    parts = network.named_modules() if isinstance(network, nn.Module) else ()
    for name, part in parts:
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            return f"layer {name} normalises by the batch it is in, let it keep running statistics"
    return ALONE
