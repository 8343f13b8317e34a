"""Two engines, one answer: the bits of ONNX Runtime and torch on small and trained networks, and what happens without
it."""

import copy
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from robcomp.compress import compress
from robcomp.corruptions import Suite
from robcomp.data import Data, InputContract, as_input, load
from robcomp.elsewhere import from_predict
from robcomp.evaluate import (
    scores_agree,
    kept_answers,
    deployed,
    doubtful_margin,
    evaluate,
    multiplies_integers,
    condition_row,
    exact_fallback,
)
from robcomp.models import load_weights, make_model, model_from

missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(
    bool(missing), reason=f"{' and '.join(missing)} not installed: pip install 'robcomp[onnx]'"
)
WEIGHTS = Path(os.environ.get("ROBCOMP_WEIGHTS") or "weights")
IMAGES = Path(os.environ.get("ROBCOMP_DATA") or Path.home() / ".cache/robcomp")


@pytest.fixture(scope="module")
def suite():
    return Suite(load("digits"), corruptions=("gaussian_noise", "fog"), per_condition=20)


@pytest.fixture(scope="module")
def small():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        body = nn.Sequential(
            nn.Conv2d(3, 12, 3, stride=2, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(96, 10),
        )
    return model_from(body, name="small", classes=10, contract=InputContract(32, (78,) * 3, (95,) * 3))


@pytest.fixture(scope="module")
def rounded(small):
    return compress(small, "cluster16+int8", load("digits"), progress=False).module


@needs_onnx
def test_a_small_network_has_the_same_bits_in_both_engines(rounded, suite):
    fast, exact = (evaluate(dict(int8=rounded), suite, engine=engine, progress=False) for engine in ("auto", "torch"))
    assert fast.engine.str.startswith("onnxruntime").all() and (exact.engine == "torch").all()
    assert fast.bits.equals(exact.bits) and np.allclose(fast.loss, exact.loss, atol=0.01)


@needs_onnx
@pytest.mark.parametrize("recipe", ["int8", "prune0.5+cluster16+int8"])
@pytest.mark.parametrize("arch", ["mobilenetv2", "vgg19"])
def test_trained_networks_have_the_same_bits_in_both_engines(arch, recipe):
    file = WEIGHTS / f"{arch}_cifar10.safetensors"
    if not file.is_file():
        pytest.skip(f"no {file}: name the folder of trained networks in ROBCOMP_WEIGHTS")
    if not (IMAGES / "cifar-10-batches-py").is_dir():
        pytest.skip(f"no CIFAR-10 in {IMAGES}: name its folder in ROBCOMP_DATA")
    data = load("cifar10", root=IMAGES)
    few = Data(data.name, data.train, data.calibration.take(range(100)), data.test.take(range(120)), data.classes)
    network = compress(load_weights(make_model(arch), file), recipe, few, progress=False).module
    suite = Suite(few, corruptions=("gaussian_noise", "contrast"), per_condition=20)
    fast, exact = (evaluate(dict(net=network), suite, engine=engine, progress=False) for engine in ("auto", "torch"))
    assert (
        fast.engine.str.startswith("onnxruntime").all()
        and fast.bits.equals(exact.bits)
        and fast.predicted.equals(exact.predicted)
        and exact.n.sum() >= 300
    )
    assert (bytes_of(fast.confidence) == bytes_of(exact.confidence)).mean() > 0.9


@needs_onnx
def test_float_networks_are_asked_in_torch(small, suite):
    weights_only = compress(small, "int8:weights", progress=False).module
    found = evaluate(dict(dense=small, weights=weights_only), suite, progress=False)
    assert not multiplies_integers(small) and not multiplies_integers(weights_only) and (found.engine == "torch").all()


class Followed(nn.Module):
    """A network and what is done to its scores."""

    def __init__(self, body, then):
        super().__init__()
        self.body, self.then = body, then

    def forward(self, x):
        return self.then(self.body(x))


@pytest.mark.parametrize(
    "mix",
    [lambda y: y - y.mean(0), lambda y: y - y.mean(), lambda y: y.softmax(0)],
    ids=["mean of each class", "mean of all", "softmax"],
)
@pytest.mark.parametrize("recipe", ["dense", "int8"])
def test_a_network_that_mixes_the_images_of_a_batch_is_refused(small, suite, mix, recipe):
    honest = model_from(Followed(copy.deepcopy(small), lambda y: y), name="net", classes=10, contract=small.contract)
    compressed = compress(honest, recipe, suite.data, progress=False).module
    compressed.then = mix
    with warnings.catch_warnings(action="ignore"):  # that ONNX Runtime does not answer for it
        with pytest.raises(ValueError, match="^mine gives an image other scores where other images are in its batch: "):
            evaluate(dict(honest=small, mine=compressed), suite, progress=False)


def test_scores_that_are_no_numbers_are_one_line(small, suite):
    followed = Followed(copy.deepcopy(small), lambda y: y / (y - y))
    broken = model_from(followed, name="broken", classes=10, contract=small.contract)
    said = r"^mine under clean 0 gives scores that are not finite for ([0-9]+) of \1 images: "
    with pytest.raises(ValueError, match=said):
        evaluate(dict(mine=broken), suite, progress=False)


def test_a_model_from_elsewhere_that_mixes_images_is_refused(small, suite):
    def mixing(x):
        return torch.from_numpy(x).mean((2, 3)).repeat(1, 4)[:, :10].softmax(0)

    model = from_predict(mixing, small.contract, size_bytes=1)
    with pytest.raises(ValueError, match="^theirs gives an image other scores"):
        evaluate(dict(theirs=model), suite, progress=False)


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_without_onnxruntime_one_line_and_torch(rounded, suite, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.warns(UserWarning) as said:
        found = evaluate(dict(int8=rounded), suite, progress=False)
    lines = [str(warning.message) for warning in said if "evaluated in torch" in str(warning.message)]
    assert (found.engine == "torch").all() and len(lines) == 1 and "\n" not in lines[0] and "robcomp[onnx]" in lines[0]


def test_only_moves_that_cannot_turn_a_clear_answer_are_taken():
    """Scores moved by as much as `scores_agree` lets pass never change a settled answer."""
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 50.0):
        exact = torch.from_numpy(rng.normal(0, scale, (4000, 10))).float()
        moved = exact.clone()
        moved[:300] += torch.from_numpy(rng.choice([-0.499, 0.499], (300, 10))).float() * doubtful_margin(exact)
        assert scores_agree(exact, moved) and not torch.equal(exact.argmax(1), moved.argmax(1))
        answer = exact_fallback(lambda x: moved[x].clone(), lambda x: exact[x], doubtful_margin(exact))
        assert torch.equal(answer(torch.arange(4000)).argmax(1), exact.argmax(1))


def test_a_larger_move_or_many_moves_are_refused():
    exact = torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
    one = exact.clone()
    one[0, 0] += doubtful_margin(exact)
    assert (
        scores_agree(exact, exact.clone())
        and not scores_agree(exact, one)
        and not scores_agree(exact, exact + 1e-6)
        and not scores_agree(exact, exact * float("nan"))
    )


def bytes_of(column):
    return np.frombuffer(b"".join(column), np.uint8)


def confidence_and_lead(network, suite):
    """Of the answers of torch in the suite's order: confidence, and the lead that counts as doubtful."""
    scores = torch.cat(
        [deployed(network)(as_input(suite.batch(condition)[0], network.contract)) for condition in suite.conditions]
    ).detach()
    return scores.softmax(1).max(1).values.numpy(), doubtful_margin(scores)


@needs_onnx
def test_both_engines_name_the_same_class_and_are_equally_sure_where_no_score_moved(rounded, suite):
    fast, exact = (evaluate(dict(int8=rounded), suite, engine=engine, progress=False) for engine in ("auto", "torch"))
    assert (
        fast.predicted.equals(exact.predicted)
        and exact.predicted.map(len).equals(exact.n)
        and exact.confidence.map(len).equals(exact.n)
    )
    sure, lead = confidence_and_lead(rounded, suite)
    one, two = (bytes_of(table.confidence) for table in (fast, exact))
    assert (two == np.minimum(sure * 256, 255).astype(np.uint8)).mean() > 0.999
    odds = sure / (1 - sure)
    low, high = (np.floor(256 * (o / (1 + o))).clip(max=255) for o in (odds * np.exp(-lead), odds * np.exp(lead)))
    assert ((one >= low - 1) & (one <= high + 1)).all() and (one == two).mean() > 0.9


def test_what_is_kept_of_an_answer():
    scores = torch.tensor([[2.0, 0.0, 1.0], [0.0, 9.0, 0.0], [1.0, 1.0, 1.5]])
    found = condition_row(kept_answers(scores, torch.tensor([0, 1, 1])).numpy(), classes=3)
    assert found["correct"] == 2 and list(found["predicted"]) == [0, 1, 2]
    assert np.allclose(
        (np.frombuffer(found["confidence"], np.uint8) + 0.5) / 256, scores.softmax(1).max(1).values, atol=1 / 512 + 1e-6
    )
    many = condition_row(kept_answers(torch.eye(1000)[[3, 700]], torch.tensor([3, 700])).numpy(), classes=1000)
    assert np.frombuffer(many["predicted"], "<u2").tolist() == [3, 700]


# ------------------------------------------------------------------------------------------------ networks that adapt


def test_adapted_networks_take_their_statistics_from_the_condition_and_say_so(small):
    data = load("digits")
    data = Data(data.name, data.train, data.calibration, data.test.take(range(90)), data.classes)
    suite = Suite(data, corruptions=["gaussian_noise"], severities=[5], adapt=True)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    rows = evaluate(dict(net=small), suite, batch=50, progress=False, device="cpu")
    assert (rows.engine == "torch, adapted").all() and all(
        torch.equal(value, before[name]) for name, value in small.state_dict().items()
    )
    for condition, answered in zip(suite.conditions, rows.itertuples()):
        x = as_input(suite.batch(condition)[0], small.contract)
        norm, conv = small[1], small[0]
        with torch.no_grad():
            parts = conv(x).split(45)  # two parts of nearly equal size, not 50 and 40
            mean = torch.stack([part.mean((0, 2, 3)) for part in parts]).mean(0)
            var = torch.stack([part.var((0, 2, 3)) for part in parts]).mean(0)
            seen = (conv(x) - mean.view(-1, 1, 1)) / (var + norm.eps).sqrt().view(-1, 1, 1) * norm.weight.view(
                -1, 1, 1
            ) + norm.bias.view(-1, 1, 1)
            right = small[2:](seen).argmax(1).numpy() == data.test.labels
        assert answered.correct == right.sum()


def test_adapting_is_refused_where_it_cannot_be(small):
    data = load("digits")
    suite = Suite(data, corruptions=["fog"], severities=[1], per_condition=20, adapt=True)
    flat = model_from(
        nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), name="flat", classes=10, contract=small.contract
    )
    for models, engine, words in (
        (dict(flat=flat), "auto", "flat has no batch normalisation with running statistics"),
        (dict(net=small), "onnxruntime", "pass engine='torch'"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            evaluate(models, suite, engine=engine, progress=False, device="cpu")
        assert "\n" not in str(error.value)
