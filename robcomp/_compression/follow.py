"""Whether channels can be followed through a network: what shuffles them is found before a cut, what mixes them
otherwise after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from warnings import catch_warnings

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robcomp._text.errors import first_line, where

from .state import plain

SHUFFLES = ("channel_shuffle", "pixel_shuffle", "pixel_unshuffle")
FEWER = "it does not run with fewer channels; does its forward pass count them itself?"
APART, TURNS = ("view", "reshape", "unflatten"), ("transpose", "permute", "swapaxes", "swapdims", "movedim")


class Unfollowed(ValueError):
    """Channels take a way that cannot be followed: the operation, or what the tracing library said, in one line."""


class OrderKept(TorchFunctionMode):
    """Within the block, an operation that puts channels into another order raises `Unfollowed`.

    Written by hand, a shuffle takes c channels apart, to a x b, and transposes the two.
    """

    def __init__(self):
        super().__init__()
        self.apart: list[Tensor] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result, name = function(*args, **(kwargs or {})), getattr(function, "__name__", "")
        if name in SHUFFLES:
            raise Unfollowed(f"{name} puts channels into another order")
        if name in APART and _takes_apart(args[0], result):
            self.apart.append(result)
        if (
            name in TURNS
            and any(args[0] is part for part in self.apart)
            and result.shape[1:3] == args[0].shape[1:3][::-1]
        ):
            raise Unfollowed(
                f"a channel shuffle ({name} of {' x '.join(map(str, args[0].shape[1:]))}) puts channels into another "
                "order"
            )
        return result


def _takes_apart(given: Tensor, result: Tensor) -> bool:
    if given.ndim < 3 or result.ndim != given.ndim + 1:
        return False
    groups, each = result.shape[1:3]
    return min(groups, each) > 1 and groups * each == given.shape[1] and result.shape[3:] == given.shape[2:]


def followed(trace: Callable[[], object], model: nn.Module) -> object:
    """What `trace` returns; `Unfollowed` in one line, with the module, where it fails in any way."""
    try:
        with catch_warnings(action="ignore"):
            return trace()
    except Unfollowed as error:
        raise Unfollowed(f"{error}{where(error, model)}") from None
    except Exception as error:
        raise Unfollowed(
            f"its channels cannot be followed{where(error, model)} ({type(error).__name__}: {first_line(error)})"
        ) from error


def check_cut(whole: nn.Module, narrow: nn.Module, unread: Mapping[str, list[int]], example: Tensor) -> None:
    """`Unfollowed` where a narrow network does not say what the whole one says while nobody reads the channels that
    went.

    `unread` are the inputs, by layer, that the narrow network lacks. What shares channels otherwise, an addition or a
    normalisation of each by itself, gives the same answers; what mixes them, a softmax or a shuffle, does not."""
    # not every network runs in double precision
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        ready, images = _bare(whole).to(dtype), example.to(dtype)
        parts = dict(ready.named_modules())
        with torch.no_grad():
            for name, channels in unread.items():
                parts[name].weight[:, channels] = 0
            try:
                wanted, found = ready(images), _bare(narrow).to(dtype)(images)
            except RuntimeError:
                continue
        if found.shape == wanted.shape and (found - wanted).abs().max() <= tolerance * wanted.abs().max():
            return
        raise Unfollowed(
            "something other than its layers mixes channels, so that with fewer of them it computes something else"
        )
    raise Unfollowed(FEWER)


def _bare(model: nn.Module) -> nn.Module:
    """A plain copy on the processor that rounds nothing."""
    bare = plain(model).eval().cpu()
    for part in bare.modules():
        if hasattr(part, "input_range"):
            part.input_range = nn.Identity()
    return bare
