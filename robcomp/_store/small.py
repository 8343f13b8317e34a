"""A small study to show and to test with: a network of three layers on noise in two kinds, made and evaluated in a
moment."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from robcomp.baseline import Study
from robcomp.data import Data, Images, InputContract
from robcomp.models import model_from


def noise_images(n: int, seed: int) -> Images:
    """Noise of 32 x 32 pixels, every other image brighter."""
    labels = np.arange(n) % 2
    pixels = np.random.default_rng(seed).normal(100 + 40 * labels[:, None, None, None], 60, (n, 32, 32, 3))
    return Images(pixels.clip(0, 255).astype(np.uint8), labels)


def small_study(**options) -> Study:
    """A study of two corruptions and two severities; `options` are those of `Study`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 2),
        )
    data = Data("noise", noise_images(200, 0), noise_images(50, 1), noise_images(100, 2), ["dark", "bright"])
    model = model_from(net, name="small", classes=2, contract=InputContract(32, (128,) * 3, (64,) * 3))
    conditions = dict(corruptions=("contrast", "gaussian_noise"), severities=(1, 5), per_condition=25)
    return Study(data, model, conditions=conditions, **options)
