"""A network as it enters: weight and spectral normalisation folded into the weights, everything in float32, in place."""
from __future__ import annotations

import sys

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

FOLDED = (parametrizations._WeightNorm, parametrizations._SpectralNorm)


def made_plain(model: nn.Module) -> None:
    """Fold and convert what can be, and say so in one line on standard error."""
    done = []
    if names := [name for name, module in model.eval().named_modules() if _fold(module)]:
        done.append(f"folded weight or spectral normalisation into {', '.join(names)}")
    if kinds := {tensor.dtype for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()} - {torch.float32}:
        model.float()
        done.append(f"brought {', '.join(sorted(map(str, kinds)))} to float32")
    if done: print(f"robcomp: {getattr(model, 'arch', type(model).__name__)}: {'; '.join(done)}", file=sys.stderr)


def _fold(module: nn.Module) -> bool:
    hooks = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, (WeightNorm, SpectralNorm))]
    for hook in hooks: (remove_weight_norm if isinstance(hook, WeightNorm) else remove_spectral_norm)(module, hook.name)
    if not parametrize.is_parametrized(module): return bool(hooks)
    if not all(isinstance(part, FOLDED) for parts in module.parametrizations.values() for part in parts): return bool(hooks)
    values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
    # Not parametrize.remove_parametrizations: it changes the class, which a copied network shares.
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items(): setattr(module, name, nn.Parameter(value))
    return True
