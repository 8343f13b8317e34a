"""A network as it enters: normalisation of weights folded into them, everything in float32, and what no stage can
compress."""

from __future__ import annotations

import re
import sys
from collections import Counter
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from robcomp._text.errors import first_line, is_foreign, where

from .state import COMPRESSIBLE, layers, state_of

FOLDED = (parametrizations._WeightNorm, parametrizations._SpectralNorm)


def made_plain(model: nn.Module) -> None:
    """Fold and convert what can be, and say so in one line on standard error."""
    done = []
    held = Counter(id(value) for module in model.modules() for value in module._parameters.values())
    if names := [name for name, module in model.named_modules() if _unmasked(module, held)]:
        done.append(f"applied the pruning masks of torch to {', '.join(names)}")
    if names := [name for name, module in model.eval().named_modules() if _fold(module)]:
        done.append(f"folded weight or spectral normalisation into {', '.join(names)}")
    tensors = (*model.parameters(), *model.buffers())
    if kinds := {tensor.dtype for tensor in tensors if tensor.is_floating_point()} - {torch.float32}:
        model.float()
        done.append(f"brought {', '.join(sorted(map(str, kinds)))} to float32")
    if done:
        print(f"robcomp: {getattr(model, 'arch', type(model).__name__)}: {'; '.join(done)}", file=sys.stderr)


def check_reachable(model: nn.Module, name: str) -> None:
    """One line about a network whose layers no stage could reach and no file would hold."""
    known = {id(part) for part in (*model.modules(), *model.parameters())}
    for place, part in model.named_modules():
        for attribute, value in vars(part).items():
            held = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
            if attribute.startswith("_") or all(id(own) in known for own in held if _trains(own)):
                continue
            raise ValueError(
                f"{name!r} holds layers or parameters in a plain {type(value).__name__}, "
                f"{f'{place}.{attribute}'.lstrip('.')}: put them into an nn.ModuleList, nn.ModuleDict or "
                "nn.ParameterList, or no file holds them"
            )


def _trains(value: object) -> bool:
    return isinstance(value, nn.Parameter) or isinstance(value, nn.Module) and any(True for _ in value.parameters())


def buffers_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers that have a shape by now."""
    return {name: buffer.clone() for name, buffer in model.named_buffers() if not nn.parameter.is_lazy(buffer)}


def check_unchanged(model: nn.Module, before: dict[str, Tensor], name: str) -> None:
    """One line about a network that changed its own buffers when it ran in evaluation mode."""
    for own, buffer in model.named_buffers():
        if own not in before or torch.equal(buffer.nan_to_num(), before[own].nan_to_num()):
            continue
        raise ValueError(
            f"{name!r} changes its buffer {own} when it runs in evaluation mode, so its answers depend on "
            "what it was asked before: change it only while self.training"
        )


class KindsMade(TorchFunctionMode):
    """While this lasts, it is noted which kinds of floating-point numbers come up beside float32."""

    def __init__(self):
        super().__init__()
        self.kinds: set[torch.dtype] = set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point():
            self.kinds |= {result.dtype} - {torch.float32}
        return result


@torch.no_grad()
def why_it_fails(model: nn.Module, images: Tensor, error: Exception) -> str:
    """What to do about a network that failed on images."""
    if re.search(r"dtype|[Tt]ype|Float|Double|Half", str(error)):
        with KindsMade() as made:
            try:
                model(images)
            except Exception:
                pass  # it fails as it did before
        if made.kinds:
            return (
                f"its forward pass casts to {_named(made.kinds)}, which fails{where(error, model)} because weights "
                "are float32: take the cast out"
            )
    return "does its contract fit?"


WRAPPED = dict(OptimizedModule="_orig_mod", DataParallel="module", DistributedDataParallel="module")


def check_bare(model: object, name: str) -> None:
    """One line about what is no network of torch, or one in a wrapping that cannot be copied or written."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name!r} is made of a torch.nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(f"{name!r} is compiled by torch.jit: pass the network that it was made from")
    if inner := WRAPPED.get(type(model).__name__):
        raise ValueError(f"{name!r} is wrapped ({type(model).__name__}): pass the network inside, as network.{inner}")
    if packed := [own for own, value in model.state_dict().items() if not isinstance(value, Tensor)]:
        raise ValueError(
            f"{name!r} holds {packed[0]}, which is no tensor, as a network does that torch has quantized: evaluate it "
            "as it is, by from_predict"
        )


def check_network(model: object) -> nn.Module:
    """The same network; TypeError in one line about what is none."""
    if isinstance(model, nn.Module):
        return model
    inside = ": pass its .module" if isinstance(getattr(model, "module", None), nn.Module) else ""
    raise TypeError(f"this takes a network (torch.nn.Module), got {type(model).__name__}{inside}")


def check_contract(model: object, name: str = "this network") -> nn.Module:
    """The same network; one line about what is none, and about one without an input contract."""
    if hasattr(check_network(model), "contract"):
        return model
    raise ValueError(f"{name} has no input contract: pass it through model_from first")


def check_kinds(model: nn.Module, scores: Tensor, name: str) -> None:
    """One line about a network that ran, and turned its weights or its scores into other numbers than float32."""
    if kinds := {value.dtype for value in model.parameters() if value.is_floating_point()} - {torch.float32}:
        raise ValueError(
            f"{name!r} turns its own weights into {_named(kinds)} when it runs, robcomp keeps them in "
            "float32: take that out of its forward pass"
        )
    if found := [own for own, value in model.state_dict().items() if value.is_complex()]:
        raise ValueError(
            f"{name!r} has complex numbers in {found[0]}: hold their real and imaginary parts as one real "
            "tensor, as torch.view_as_real gives it"
        )
    if scores.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name!r} returns scores in {_named({scores.dtype})}: let its forward pass end with .float()")


@torch.no_grad()
def check_any_number(model: nn.Module, images: Tensor, name: str) -> None:
    """One line about a network that answers for two images, `images`, and not for three."""
    try:
        found = model(torch.cat([images, images[:1]])).shape
    except Exception as error:
        found = [first_line(error)]
    if found[0] == 3:
        return
    raise ValueError(
        f"{name!r} answers for 2 images and not for 3 ({found[0]}): let its forward pass take any number of images"
    )


def _named(kinds: set[torch.dtype]) -> str:
    return ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))


def _unmasked(module: nn.Module, held: Counter) -> bool:
    """Apply the masks on a layer; `held`: how many layers hold each parameter, by its `id`."""
    masks = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, prune.BasePruningMethod)]
    for hook in masks:
        own = f"{hook._tensor_name}_orig"
        value = module._parameters[own]
        # a mask of this layer alone, on a weight that another one has, too
        if held[id(value)] > 1:
            module._parameters[own] = nn.Parameter(value.detach().clone())
        prune.remove(module, hook._tensor_name)
    return bool(masks)


def _fold(module: nn.Module) -> bool:
    hooks = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, (WeightNorm, SpectralNorm))]
    for hook in hooks:
        (remove_weight_norm if isinstance(hook, WeightNorm) else remove_spectral_norm)(module, hook.name)
    if not parametrize.is_parametrized(module):
        return bool(hooks)
    if not all(isinstance(part, FOLDED) for parts in module.parametrizations.values() for part in parts):
        return bool(hooks)
    values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
    # Not parametrize.remove_parametrizations: it changes the class, which a copied network shares.
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value))
    return True


def out_of_reach(
    module: nn.Module,
) -> pd.DataFrame:  # one row a parameter of two or more dimensions that no stage compresses: shape, parameters
    """What no stage compresses; biases and normalisations, which are vectors, are left out."""
    within = {id(layer.original) for layer in layers(module).values()}
    rows = {
        name: dict(shape=" x ".join(map(str, value.shape)), parameters=value.numel())
        for name, value in module.named_parameters()
        if value.ndim > 1 and id(value) not in within
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["shape", "parameters"]).rename_axis("parameter")


def left_float(module: nn.Module) -> str:
    """One line about what no stage compresses; empty where there is nothing."""
    left = out_of_reach(module)
    if not len(left):
        return ""
    names = ", ".join(left.index[:6]) + ", ..." * (len(left) > 6)
    return f"no stage compresses {names}: {left.parameters.sum():,} parameters stay float32"


def check_finite(model: nn.Module) -> None:
    """One line about the first parameter that holds what is no number."""
    for name, value in model.named_parameters():
        if not torch.isfinite(value).all():
            name = name.replace(".parametrizations.weight.original", ".weight")
            raise ValueError(f"{name} holds numbers that are not finite: train again, or load other weights")


def check_float(model: nn.Module) -> None:
    """One line about the first layer that cannot be compressed as it is."""
    check_finite(model)
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if callable(weight) and not isinstance(weight, nn.Module):
            raise ValueError(f"layer {name} is quantized already ({type(module).__name__}): compress the float network")
        if not isinstance(module, COMPRESSIBLE):
            continue
        parametrized = {part for part in ("weight", "bias") if parametrize.is_parametrized(module, part)}
        by_stages = set() if state_of(module) is None else {"weight"}
        if parametrized - by_stages:
            raise ValueError(f"layer {name} has a parametrization of its own: remove it before compressing")


@contextmanager
def told_in_one_line(stage: object, module: nn.Module):
    """Within the block, an error of a library or of the network's own code becomes one line that names the stage."""
    try:
        yield
    except Exception as error:
        if not is_foreign(error):
            raise
        raise ValueError(
            f"{stage} failed{where(error, module)} ({type(error).__name__}: {first_line(error)[:200]}): "
            "see whether the network takes a batch of images, or name layers in keep"
        ) from error
