"""Two engines, one answer: the bits of ONNX Runtime and torch on small and trained networks, and what happens without it."""
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from robcomp.compress import compress
from robcomp.corruptions import Suite
from robcomp.data import Data, InputContract, load
from robcomp.evaluate import agree, doubtful_lead, evaluate, multiplies_integers, settled
from robcomp.models import load_weights, make_model, model_from

missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} not installed: pip install 'robcomp[onnx]'")
WEIGHTS = Path(os.environ.get("ROBCOMP_WEIGHTS") or "weights")
IMAGES = Path(os.environ.get("ROBCOMP_DATA") or Path.home() / ".cache/robcomp")


@pytest.fixture(scope="module")
def suite(): return Suite(load("digits"), corruptions=("gaussian_noise", "fog"), per_condition=20)


@pytest.fixture(scope="module")
def small():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        body = nn.Sequential(nn.Conv2d(3, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
                             nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 10))
    return model_from(body, name="small", classes=10, contract=InputContract(32, (78,) * 3, (95,) * 3))


@pytest.fixture(scope="module")
def rounded(small): return compress(small, "cluster16+int8", load("digits"), progress=False).module


@needs_onnx
def test_a_small_network_has_the_same_bits_in_both_engines(rounded, suite):
    fast, exact = (evaluate(dict(int8=rounded), suite, engine=engine, progress=False) for engine in ("auto", "torch"))
    assert fast.engine.str.startswith("onnxruntime").all() and (exact.engine == "torch").all()
    assert fast.bits.equals(exact.bits) and np.allclose(fast.loss, exact.loss, atol=.01)


@needs_onnx
@pytest.mark.parametrize("recipe", ["int8", "prune0.5+cluster16+int8"])
@pytest.mark.parametrize("arch", ["mobilenetv2", "vgg19"])
def test_trained_networks_have_the_same_bits_in_both_engines(arch, recipe):
    file = WEIGHTS / f"{arch}_cifar10.safetensors"
    if not file.is_file(): pytest.skip(f"no {file}: name the folder of trained networks in ROBCOMP_WEIGHTS")
    if not (IMAGES / "cifar-10-batches-py").is_dir(): pytest.skip(f"no CIFAR-10 in {IMAGES}: name its folder in ROBCOMP_DATA")
    data = load("cifar10", root=IMAGES)
    few = Data(data.name, data.train, data.calibration.take(range(100)), data.test.take(range(120)), data.classes)
    network = compress(load_weights(make_model(arch), file), recipe, few, progress=False).module
    suite = Suite(few, corruptions=("gaussian_noise", "contrast"), per_condition=20)
    fast, exact = (evaluate(dict(net=network), suite, engine=engine, progress=False) for engine in ("auto", "torch"))
    assert fast.engine.str.startswith("onnxruntime").all() and fast.bits.equals(exact.bits) and exact.n.sum() >= 300


@needs_onnx
def test_float_networks_are_asked_in_torch(small, suite):
    weights_only = compress(small, "int8:weights", progress=False).module
    found = evaluate(dict(dense=small, weights=weights_only), suite, progress=False)
    assert not multiplies_integers(small) and not multiplies_integers(weights_only) and (found.engine == "torch").all()


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_without_onnxruntime_one_line_and_torch(rounded, suite, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.warns(UserWarning) as said: found = evaluate(dict(int8=rounded), suite, progress=False)
    lines = [str(warning.message) for warning in said if "evaluated in torch" in str(warning.message)]
    assert (found.engine == "torch").all() and len(lines) == 1 and "\n" not in lines[0] and "robcomp[onnx]" in lines[0]


def test_only_moves_that_cannot_turn_a_clear_answer_are_taken():
    """Scores moved by as much as `agree` lets pass never change a settled answer."""
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1., 50.):
        exact = torch.from_numpy(rng.normal(0, scale, (4000, 10))).float()
        moved = exact.clone()
        moved[:300] += torch.from_numpy(rng.choice([-.499, .499], (300, 10))).float() * doubtful_lead(exact)
        assert agree(exact, moved) and not torch.equal(exact.argmax(1), moved.argmax(1))
        answer = settled(lambda x: moved[x].clone(), lambda x: exact[x], doubtful_lead(exact))
        assert torch.equal(answer(torch.arange(4000)).argmax(1), exact.argmax(1))


def test_a_larger_move_or_many_moves_are_refused():
    exact = torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
    one = exact.clone()
    one[0, 0] += doubtful_lead(exact)
    assert agree(exact, exact.clone()) and not agree(exact, one) and not agree(exact, exact + 1e-6) and not agree(exact, exact * float("nan"))
