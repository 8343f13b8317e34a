"""Random recipes over small nets with 1x1, depthwise, grouped and tied layers: every promise is kept, the file comes
back."""

import copy
import os
import re

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from robcomp._files.digest import tensors_sha256
from robcomp._compression.norms import recalibrate
from robcomp._compression.state import layers, plain, state_of
from robcomp.compress import compress, restored
from robcomp.data import Data, Images, InputContract, as_input
from robcomp.evaluate import deployed
from robcomp.footprint import macs
from robcomp.models import model_from
from robcomp.pack import pack, unpack
from robcomp.recipe import Cluster, Half, Prune, Quantize, Recalibrate, Recipe, Tune, parse
from robcomp.schema import Trial
from robcomp.training import Training
from tests.networks import Attending, Taking

CONTRACT = InputContract(8, (128,) * 3, (64,) * 3)


class Tied(nn.Module):
    """Stem, depthwise, grouped and 1x1 layers, two linear layers that share a weight, and one weight in the last."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.grouped, self.point = (
            nn.Conv2d(8, 8, 3, groups=8),
            nn.Conv2d(8, 8, 1, groups=2),
            nn.Conv2d(8, 12, 1),
        )
        self.first, self.second, self.last = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 2)
        self.second.weight = self.first.weight

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = self.point(self.grouped(self.depthwise(x)).relu()).mean((2, 3))
        return self.last(self.second(self.first(x).relu()).relu())


def net(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model_from(Tied(), name="tied", classes=2, contract=CONTRACT)


def noise(n, seed):
    labels = np.arange(n) % 2
    pixels = np.random.default_rng(seed).normal(100 + 40 * labels[:, None, None, None], 60, (n, 8, 8, 3))
    return Images(pixels.clip(0, 255).astype(np.uint8), labels)


DATA = Data("noise", noise(40, 0), noise(20, 1), noise(20, 2), ["dark", "bright"])
STAGES = st.one_of(
    st.builds(Prune, st.sampled_from([0.1, 0.3, 0.5, 0.7]), st.sampled_from(["global", "layer"])),
    st.just(Prune(0.5, "2of4")),
    st.builds(Cluster, st.sampled_from([2, 3, 4, 16, 300]), st.sampled_from(["layer", "channel", "entropy"])),
    st.builds(Quantize, st.sampled_from([8, 4, 2]), st.sampled_from(["all", "weights"])),
    st.builds(Quantize, st.sampled_from([3, 5]), st.just("auto")),
    st.builds(Tune, st.sampled_from([1, 0.5]), st.sampled_from(["", "distill"])),
    st.just(Recalibrate()),
    st.just(Half()),
)
RECIPES = st.lists(STAGES, max_size=5).map(Recipe)
MEANS = dict(tune=Training(1, batch=20, peak=0.05), progress=False)


@given(RECIPES)
def test_text_and_back(recipe):
    assert parse(str(recipe)) == recipe


@given(st.floats(0.001, 1000), st.sampled_from(["", "distill"]))
def test_parts_of_an_epoch_as_text_and_back(epochs, option):
    stage = Tune(epochs, option)
    assert (
        parse(str(stage)).stages == (stage,)
        and stage.epochs == epochs
        and "e" not in str(stage).removeprefix("tune").split(":")[0]
    )


@pytest.mark.parametrize("text", ["tune0", "tune0.0001", "tune1001", "tune1.2.3", "tune."])
def test_epochs_out_of_range(text):
    with pytest.raises(ValueError, match="as in tune3"):
        parse(text)


def test_each_part_of_an_epoch_draws_its_own_images(monkeypatch):
    from robcomp import training as module

    drawn = []
    monkeypatch.setattr(
        module, "augment", lambda images, *_, **__: drawn.append(images.sum((1, 2, 3)).sort().values) or images
    )
    history = compress(net(), "tune0.5+int8+tune0.5+tune0.5", DATA, **MEANS).history
    assert (
        history.stage.tolist() == ["1 tune0.5", "3 tune0.5", "4 tune0.5"]
        and [len(images) for images in drawn] == [20] * 3
    )
    assert not any(torch.equal(drawn[a], drawn[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    again = compress(net(), "tune0.5+int8+tune0.5+tune0.5", DATA, **MEANS).history
    assert again.drop(columns="seconds").equals(history.drop(columns="seconds"))


def test_a_part_of_an_epoch_has_its_own_key_and_the_whole_cycle():
    keys = [Trial("noise", "tied", text).key for text in ("tune0.25", "tune0.5", "tune1")]
    assert len(set(keys)) == 3 and Trial("noise", "tied", str(parse("tune0.250"))).key == keys[0]
    history = compress(net(), "tune0.5", DATA, tune=Training(1, batch=5, peak=0.1, warmup=0.0), progress=False).history
    assert np.isclose(history.rate.iloc[-1], 0.1 * 1e-4)


@settings(
    max_examples=60,
    deadline=None,
    derandomize="CI" in os.environ,  # CI judges a change, not its luck
    suppress_health_check=[HealthCheck.too_slow],
)
@given(recipe=RECIPES, seed=st.integers(0, 3))
def test_promises_kept_and_file_comes_back(recipe, seed, tmp_path_factory):
    model = net(seed)
    before = tensors_sha256(model.state_dict())
    try:
        artifact = compress(model, recipe, DATA, **MEANS)
    except ValueError as refused:
        assert "would be left" in str(refused)
        return
    assert tensors_sha256(model.state_dict()) == before
    check_by_hand(artifact)
    again = packed_and_back(artifact, model, tmp_path_factory.mktemp("pack") / "model.robcomp")
    assert again.second.weight is not None and torch.equal(again.first.weight, again.second.weight)


def packed_and_back(artifact, model, path):
    """The module from its file, in a network of other weights: the same state bit for bit, the same scores."""
    pack(artifact.module, path, recipe=str(artifact.recipe))
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    again = unpack(path, module=other)
    mine, theirs = artifact.module.state_dict(), again.state_dict()
    assert set(mine) == set(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(artifact.module(x), again(x)) and torch.equal(plain(again)(x), again(x))
    return again


@pytest.mark.parametrize("text", ["dense", "half", "int8", "prune0.5", "prune0.5+cluster4+int8"])
def test_attention_comes_back_from_its_file_whole(text, tmp_path):
    """No stage compresses it, so all of it has to be in the file."""
    contract = InputContract(8, (0,) * 3, (1,) * 3)
    model = model_from(Attending(False, classes=4), name="attending", classes=4, contract=contract)
    artifact = compress(model, text, DATA, progress=False)
    again = packed_and_back(artifact, model, tmp_path / "model.robcomp")
    weight = again.attention.out_proj.weight
    assert torch.equal(weight, artifact.module.attention.out_proj.weight)
    if text == "half":
        assert torch.equal(weight, weight.half().float())
    with torch.no_grad():
        artifact.module.attention.out_proj.weight[0, 0] = float("nan")
    said = "promised half precision in attention.out_proj.weight" if text == "half" else "out_proj.weight holds"
    with pytest.raises(ValueError, match=said):
        pack(artifact.module, tmp_path / "astray.robcomp")


@pytest.mark.parametrize("text", ["dense", "prune0.5", "cluster4", "int8", "int4", "half", "prune0.5+int8"])
def test_a_module_under_two_names_is_packed_once(text, tmp_path):
    twice = nn.Conv2d(8, 8, 3, padding=1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), twice, twice, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    model = model_from(net, name="twice", classes=4, contract=InputContract(8, (0,) * 3, (1,) * 3))
    again = packed_and_back(compress(model, text, DATA, progress=False), model, tmp_path / "model.robcomp")
    assert again[1] is again[2]


def check_by_hand(artifact):
    """The promises, from the deployed weights alone and in other words than the package's."""
    found = layers(artifact.module)
    weights = {name: layer.module.weight.detach() for name, layer in found.items()}
    stages = list(artifact.recipe)
    cut = max([0, *(n + 1 for n, stage in enumerate(stages) if isinstance(stage, Prune) and stage.scope == "channel")])
    stages, all_stages = stages[cut:], stages  # what was zero may have gone with its channel
    pruned = [stage.amount for stage in stages if isinstance(stage, Prune) and stage.scope in ("global", "gradual")]
    total = sum(weight.numel() for weight in weights.values())
    if pruned:
        assert sum(int((weight == 0).sum()) for weight in weights.values()) >= round(max(pruned) * total)
    for amount in [stage.amount for stage in stages if isinstance(stage, Prune) and stage.scope == "layer"]:
        for weight in weights.values():
            assert int((weight == 0).sum()) >= round(amount * weight.numel())
    for stage in all_stages:
        for name, weight in weights.items():
            scale = found[name].state.scale if found[name].state else None
            units = weight if scale is None else weight.double() / scale.double()
            if isinstance(stage, Cluster) and stage.scope == "channel":
                assert (
                    max(len(np.unique(np.round(row.numpy(), 4 if scale is not None else 12))) for row in units)
                    <= stage.k
                )
            elif isinstance(stage, Cluster):
                assert len(np.unique(np.round(units.numpy(), 4 if scale is not None else 12))) <= stage.k
            if isinstance(stage, Quantize):
                limit = 127 if stage.scope == "auto" else 2 ** (stage.bits - 1) - 1
                assert (units - units.round()).abs().max() < 1e-3 and units.round().abs().max() <= limit
    if Half() in all_stages:
        half_by_hand(artifact.module)


def half_by_hand(module):
    """Every float that is neither counted in steps nor a step is a half-precision number, by NumPy's account."""
    counted = {
        f"{name}.parametrizations.weight.original"
        for name, part in module.named_modules()
        if (state := state_of(part)) and state.scale is not None
    }
    for name, value in module.state_dict().items():
        if value.dtype != torch.float32 or name in counted or name.endswith((".scale", ".zero")):
            continue
        assert np.array_equal(value.numpy().astype(np.float16).astype(np.float32), value.numpy()), name


class Wide(nn.Module):
    """A residual block with a depthwise layer: channels that belong together across an addition."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24)
        self.up, self.middle, self.deep = (
            nn.Conv2d(24, 40, 1),
            nn.BatchNorm2d(40),
            nn.Conv2d(40, 40, 3, groups=40, padding=1),
        )
        self.down, self.head = nn.Conv2d(40, 24, 1), nn.Linear(24 * 16, 2)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.norm(self.stem(x)).relu(), 2)
        return self.head((x + self.down(self.deep(self.middle(self.up(x)).relu()).relu())).flatten(1))


def wide(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model_from(Wide(), name="wide", classes=2, contract=CONTRACT)


CHANNELS = st.builds(Prune, st.sampled_from([0.3, 0.5, 0.7]), st.just("channel"))
GRADUAL = st.builds(lambda amount: Recipe([Prune(amount, "gradual"), Tune(1)]), st.sampled_from([0.3, 0.6]))


@settings(max_examples=40, deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow])
@given(parts=st.lists(st.one_of(STAGES, CHANNELS, CHANNELS, GRADUAL), max_size=4), seed=st.integers(0, 3))
def test_channels_and_gradual_pruning_in_any_order(parts, seed, tmp_path_factory):
    model, recipe = wide(seed), Recipe()
    for part in parts:
        recipe = recipe >> part
    try:
        artifact = compress(model, recipe, DATA, **MEANS)
    except ValueError as refused:
        assert any(
            reason in str(refused)
            for reason in ("would be left", "no channel can go", "shared values would have to be taken apart")
        )
        return
    check_by_hand(artifact)
    again = packed_and_back(artifact, model, tmp_path_factory.mktemp("pack") / "model.robcomp")
    assert [type(promise) for promise in restored(again, recipe).promises] == [
        type(promise) for promise in artifact.promises
    ]


def test_channels_go_from_a_network_that_is_quantized_already():
    artifact = compress(wide(), "int8+prune0.5:channel", DATA, **MEANS)
    check_by_hand(artifact)
    assert artifact.module.stem.out_channels == 16


def test_a_cut_network_computes_what_the_whole_one_does_without_those_channels():
    model = wide()
    # the last eight channels of each set: nothing at all
    for layer in (model.stem, model.norm, model.up, model.middle, model.deep, model.down):
        with torch.no_grad():
            for tensor in (layer.weight, layer.bias):
                tensor is None or tensor[-8:].zero_()
    cut = compress(model, "prune0.34:channel").module
    x = torch.randn(4, 3, 8, 8)
    assert (cut.stem.out_channels, cut.deep.groups, cut.head.in_features) == (16, 32, 16 * 16)
    assert torch.allclose(cut(x), model(x), atol=1e-5)


def test_gradual_pruning_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    from robcomp.prune import Gradual

    text, means = "prune0.6:gradual+tune3", dict(tune=Training(1, batch=20, peak=0.05), progress=False)
    whole = compress(wide(), text, DATA, **means)
    original, calls = Gradual.grow, []

    def stopped(self, *given):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        original(self, *given)

    monkeypatch.setattr(Gradual, "grow", stopped)
    with pytest.raises(KeyboardInterrupt):
        compress(wide(), text, DATA, checkpoints=tmp_path, **means)
    monkeypatch.undo()
    resumed = compress(wide(), text, DATA, checkpoints=tmp_path, **means)
    assert tensors_sha256(whole.module.state_dict()) == tensors_sha256(resumed.module.state_dict())
    weights = torch.cat([layer.weight.flatten() for layer in layers(resumed.module).values()])
    assert int((weights == 0).sum()) >= round(0.6 * len(weights))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prune0.5:gradual", "write prune0.5:gradual\\+tune3"),
        ("prune0.5:gradual+int8", "write prune0.5:gradual\\+tune3"),
        ("cluster16+prune0.5:gradual+tune1", "cannot follow cluster16"),
        ("tune1+prune0.5:gradual", "write prune0.5:gradual\\+tune3"),
    ],
)
def test_stages_in_the_wrong_place(text, line, tmp_path, monkeypatch):
    """Before anything is trained, in one network, in a sweep and in a plan."""
    from robcomp._store.small import small_study
    from robcomp.plan import Plan
    from robcomp.sweep import sweep

    monkeypatch.setattr("robcomp.stages.fit", lambda *_, **__: pytest.fail("something is trained"))
    with pytest.raises(ValueError, match=line):
        compress(wide(), text, DATA, **MEANS)
    with pytest.raises(ValueError, match=line):
        sweep(small_study(), ["dense", text], tmp_path / "store", progress=False)
    with pytest.raises(ValueError, match=line):
        Plan(dict(dataset="digits", arch="vgg19", recipes=["dense", text]))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "text", ["cluster16+int8", "int8+cluster16", "prune0.5+cluster4+int8", "cluster4+tune1+int8+tune1"]
)
def test_codes_stay_shared_on_the_integer_grid(text):
    artifact = compress(net(), text, DATA, **MEANS)
    k = next(stage.k for stage in artifact.recipe if isinstance(stage, Cluster))
    for layer in layers(artifact.module).values():
        codes = layer.integers
        assert codes.unique().numel() <= k and codes.abs().max() <= 127
        assert torch.equal(codes * layer.state.scale, layer.weight)


def test_a_finer_grid_later_keeps_the_coarser_one():
    artifact = compress(net(), "int4+int8", DATA)
    assert all(layer.integers.abs().max() <= 7 for layer in layers(artifact.module).values()) and hasattr(
        artifact.module.stem, "input_range"
    )


def test_pruning_is_exact_where_magnitudes_tie():
    artifact = compress(net(), "cluster4+prune0.25", DATA)
    weights = torch.cat([layer.weight.flatten() for layer in layers(artifact.module).values()])
    assert int((weights == 0).sum()) >= round(0.25 * len(weights))
    ones = model_from(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), name="ones", classes=2, contract=CONTRACT)
    nn.init.ones_(ones[1].weight)
    assert int((layers(compress(ones, "prune0.25").module)["1"].weight == 0).sum()) == 96


def least_error(values, k):
    """The smallest squared error of k values, by the textbook's dynamic program over all pairs of cuts."""
    ordered = np.sort(values.astype(float))
    s1, s2 = (np.concatenate([[0], np.cumsum(ordered**power)]) for power in (1, 2))
    start, end = np.ogrid[: len(ordered) + 1, : len(ordered) + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        run = np.where(end > start, s2[end] - s2[start] - (s1[end] - s1[start]) ** 2 / (end - start), np.inf)
    best = run[0]
    for _ in range(k - 1):
        best = np.minimum(best, (best[:, None] + run).min(0))
    return best[-1]


@pytest.mark.parametrize("k, slack", [(2, 1e-4), (4, 1e-4), (16, 1e-4), (64, 2e-3), (256, 2e-3)])
@pytest.mark.parametrize("limit", ["distinct", "companded"])
def test_codebooks_are_as_good_as_the_exact_ones(k, slack, limit, monkeypatch):
    from robcomp._compression import kmeans

    if limit == "companded":
        monkeypatch.setattr(kmeans, "FEW", 0)
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(600) * np.exp(0.5 * rng.standard_normal(600))).astype(np.float32)
    book = kmeans.codebook(values, k)
    error = ((values.astype(float) - book[kmeans.nearest(values, book)]) ** 2).sum()
    assert len(book) <= k and error <= least_error(values, k) * (1 + slack) + 1e-9


@pytest.mark.parametrize("k", [2, 5, 16])
@pytest.mark.parametrize("weighted", [False, True])
def test_priced_codebooks_beat_alternation_from_many_starts(k, weighted):
    """Error plus price times bits, against the textbook's alternation from random starts, written without the package's
    loops."""
    from robcomp._compression.kmeans import entropy_codebook

    rng = np.random.default_rng(k)
    values = rng.standard_t(5, 3000).astype(np.float32)
    weights = rng.random(3000).astype(np.float32) + 0.1 if weighted else None
    own, price = np.ones(3000) if weights is None else weights.astype(float), 0.05

    def total(codes, book):
        share = np.bincount(codes)[np.bincount(codes) > 0] / len(codes)
        return (own * (values - book[codes]) ** 2).sum() - price * len(codes) * (share * np.log2(share)).sum()

    def alternated(book):
        lengths = np.full(len(book), np.log2(len(book)))
        for _ in range(100):
            codes = (own[:, None] * (values[:, None] - book) ** 2 + price * lengths).argmin(1)
            used, codes = np.unique(codes, return_inverse=True)
            book = np.bincount(codes, own * values) / np.bincount(codes, own)
            lengths = -np.log2(np.bincount(codes) / len(codes))
        return total(codes, book)

    codes, book = entropy_codebook(values, k, price, weights=weights)
    assert len(book) <= k and (np.diff(book) > 0).all() and np.bincount(codes, minlength=len(book)).min() > 0
    assert total(codes, book) <= 1.001 * min(
        alternated(np.sort(rng.choice(values, k, replace=False)).astype(float)) for _ in range(10)
    )


def test_a_bit_more_on_average_goes_where_it_does_most_good():
    artifact = compress(net(), "int4:auto", DATA)
    table = artifact.summary()
    assert set(table.bits) <= {8, 4, 2} and (table.bits * table.weights).sum() <= 4 * table.weights.sum()
    assert not hasattr(artifact.module.stem, "input_range")
    with pytest.raises(ValueError, match="int4:auto tries its bits on calibration images"):
        compress(net(), "int4:auto")


def test_weighted_codebooks_count_points_as_often_as_told():
    from robcomp._compression.kmeans import codebook

    values, counts = np.array([0, 1, 5, 6], np.float32), np.array([3, 1, 1, 1])
    assert np.allclose(codebook(values, 2, weights=counts), codebook(np.repeat(values, counts), 2))


def test_tuning_moves_codebooks_like_the_projection_of_free_weights():
    from robcomp._compression.state import _Shared

    codes, scale = torch.tensor([[0, 1, 1], [1, 0, 0]], dtype=torch.uint8), torch.tensor([[1.0], [2.0]])
    values, gradient = torch.tensor([0.5, -0.5], requires_grad=True), torch.randn(2, 3)
    _Shared.apply(values, codes, scale).backward(gradient)
    for code in (0, 1):
        here = codes == code
        spread = scale.expand(2, 3)[here]
        assert torch.allclose(values.grad[code], (spread * gradient[here]).sum() / (spread**2).sum())


def test_a_layer_of_one_weight_takes_every_stage():
    model = model_from(
        nn.Sequential(
            nn.Conv2d(3, 2, 8), nn.Flatten(), nn.Linear(2, 2), nn.Unflatten(1, (1, 2)), nn.Conv1d(1, 1, 1), nn.Flatten()
        ),
        name="one",
        classes=2,
        contract=CONTRACT,
    )
    artifact = compress(model, "cluster16+int4:weights+recal", DATA)
    assert artifact.summary().codes["4"] == 1


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_foreign_parametrizations_are_refused():
    model = net()
    torch.nn.utils.parametrize.register_parametrization(model.point, "weight", Doubled())
    with pytest.raises(ValueError, match="layer point has a parametrization of its own"):
        compress(model, "prune0.5")


@pytest.mark.parametrize(
    "normed",
    [
        torch.nn.utils.parametrizations.weight_norm,
        torch.nn.utils.parametrizations.spectral_norm,
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_normalised_weights_are_folded_with_one_line(normed, capsys):
    model, x = Tied().eval(), torch.randn(4, 3, 8, 8)
    normed(model.point)
    before = model.eval()(x).detach()
    model = model_from(model, name="normed", classes=2, contract=CONTRACT)
    assert capsys.readouterr().err == "robcomp: Tied: folded weight or spectral normalisation into point\n"
    assert torch.allclose(model(x), before, atol=1e-5)
    assert compress(model, "prune0.5+int8:weights").summary().bits["point"] == 8


def test_a_normalisation_put_on_later_is_folded_in_the_copy_alone(capsys):
    model, x = net(), torch.randn(4, 3, 8, 8)
    torch.nn.utils.parametrizations.weight_norm(model.point)
    before = model(x)
    assert torch.allclose(compress(model, "dense").module(x), before, atol=1e-5)
    assert torch.equal(model(x), before) and "into point" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_brought_to_float32_with_one_line(kind, capsys):
    model = model_from(Tied().to(kind), name="other", classes=2, contract=CONTRACT)
    assert capsys.readouterr().err == f"robcomp: Tied: brought {kind} to float32\n"
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert compress(model.to(kind), "int8:weights").module.stem.weight.dtype == torch.float32
    assert model.stem.weight.dtype == kind


@pytest.mark.parametrize(
    "bare, names, count",
    [(True, ["mix"], 256), (False, ["attention.in_proj_weight", "attention.out_proj.weight"], 1024)],
)
def test_what_no_stage_reaches_is_named_and_stays(bare, names, count, capsys, tmp_path):
    torch.manual_seed(0)
    model = model_from(Attending(bare, classes=2), name="attending", classes=2, contract=CONTRACT)
    artifact = compress(model, "prune0.5+cluster4+int8", DATA)
    assert (
        capsys.readouterr().err
        == f"robcomp: no stage compresses {', '.join(names)}: {count:,} parameters stay float32\n"
    )
    left = artifact.out_of_reach()
    assert (
        list(left.index) == names
        and left.parameters.sum() == count
        and list(artifact.summary().index) == ["stem", "last"]
    )
    assert all(torch.equal(artifact.module.get_parameter(name), model.get_parameter(name)) for name in names)
    line = f"no stage compresses {', '.join(names)}: {count:,} parameters stay float32"
    assert artifact.remarks() == [line] and line in repr(artifact) and f"<p>{line}</p>" in artifact._repr_html_()
    again = packed_and_back(artifact, model, tmp_path / "attending.robcomp")
    assert restored(again, artifact.recipe).remarks() == [line]


@pytest.mark.parametrize(
    "stage",
    ["prune0.5", "prune0.5:layer", "prune0.5:2of4", "cluster4", "int8", "int4:weights", "int3:auto", "tune1", "recal"],
)
@pytest.mark.parametrize("bare", [True, False])
def test_every_stage_says_the_same_of_what_it_does_not_reach(bare, stage, capsys):
    artifact = compress(
        model_from(Attending(bare, classes=2), name="attending", classes=2, contract=CONTRACT), stage, DATA, **MEANS
    )
    assert capsys.readouterr().err.count("parameters stay float32") == 1 and artifact.remarks() == [
        f"no stage compresses {', '.join(artifact.out_of_reach().index)}: {256 if bare else 1024:,} parameters stay "
        "float32"
    ]


@pytest.mark.parametrize("bare", [True, False])
def test_channels_that_reach_what_is_out_of_reach_stay(bare):
    model = model_from(Attending(bare, classes=2), name="attending", classes=2, contract=CONTRACT)
    with pytest.raises(ValueError, match="no channel can go"):
        compress(model, "prune0.5:channel")


@pytest.mark.parametrize(
    "text",
    [
        "prune0.5",
        "prune0.5:2of4",
        "cluster4",
        "half",
        "int8",
        "int8:weights",
        "int4",
        "int3:auto",
        "prune0.5+cluster4+int8",
        "int8+tune1+prune0.6",
    ],
)
def test_weights_that_are_taken_without_their_layer_are_compressed_by_every_stage(text, tmp_path, capsys):
    """What enters such a layer is not seen, so it stays float, and the artifact says so."""
    torch.manual_seed(0)
    model, recipe = model_from(Taking(classes=2), name="taking", classes=2, contract=CONTRACT), parse(text)
    artifact = compress(model, text, DATA, **MEANS)
    assert all(layers(artifact.module)[name].state for name in ("taken", "last"))
    line = (
        "int8 rounds the weights of taken, idle alone: no image passes through that layer, "
        "so what meets them stays float"
    )
    asked = any(isinstance(stage, Quantize) and stage.rounds_inputs for stage in recipe)
    assert artifact.remarks() == [line] * asked and capsys.readouterr().err == f"robcomp: {line}\n" * asked
    again = packed_and_back(artifact, model, tmp_path / "taking.robcomp")
    assert restored(again, artifact.recipe).remarks() == [line] * asked


@pytest.mark.parametrize("width", [32, 48])
def test_channels_that_meet_taken_weights_stay(width):
    model = model_from(Taking(classes=2, width=width), name="taking", classes=2, contract=CONTRACT)
    artifact = compress(model, "prune0.5:channel")
    found = layers(artifact.module)
    assert found["mix"].weight.shape[:2] == (16, width) and found["stem"].weight.shape[0] == 32
    assert artifact.remarks() == [
        "prune0.5:channel leaves stem whole: these channels meet the weights of taken, which the network takes without "
        "calling that layer"
    ]


def test_a_network_that_calls_none_of_its_layers():
    class Functions(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.last = nn.Conv2d(3, 32, 3), nn.Linear(32, 2)

        def forward(self, x):
            return nn.functional.linear(nn.functional.conv2d(x, self.stem.weight).mean((2, 3)), self.last.weight)

    model = model_from(Functions(), name="functions", classes=2, contract=CONTRACT)
    assert compress(model, "int8", DATA).remarks() == [
        "int8 rounds the weights of stem, last alone: no image passes through that layer, so what meets them stays "
        "float"
    ]
    with pytest.raises(
        ValueError,
        match="^prune0.5:channel: functions: none of its layers is called; prune weights instead, as prune0.5$",
    ):
        compress(model, "prune0.5:channel")


def test_without_any_calibration_input_nothing_is_rounded():
    nothing = Data("noise", noise(40, 0), noise(20, 1), noise(20, 2), ["dark", "bright"])
    nothing.calibration = nothing.calibration.take([])
    with pytest.raises(ValueError, match="^inputs cannot be rounded without calibration images: give at least one$"):
        compress(net(), "int8", nothing)


def test_inputs_that_are_all_zero_are_rounded():
    grey = Images(np.full((20, 8, 8, 3), 128, np.uint8), np.arange(20) % 2)
    artifact = compress(net(), "int8", Data("grey", grey, grey, grey, ["dark", "bright"]))
    assert torch.isfinite(artifact.module(torch.randn(2, 3, 8, 8))).all() and artifact.module.stem.input_range.scale > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm2d(4, track_running_stats=False),
        lambda: without(nn.BatchNorm2d(4), "running_mean", "running_var"),
    ],
)
def test_there_are_no_statistics_to_measure_again(make):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), make(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with pytest.raises(
        ValueError,
        match="^layer 2 keeps no running statistics and normalises by the batch it is in: "
        "there are none to measure again, leave that out$",
    ):
        recalibrate(network, [as_input(DATA.test.images, CONTRACT)])


def test_a_network_that_was_made_to_mix_the_images_of_a_batch_is_refused():
    model = nn.Sequential(net(), nn.Identity())
    model_from(model, name="mine", classes=2, contract=CONTRACT)[1] = nn.Softmax(0)
    with pytest.raises(ValueError, match="^mine gives an image other scores where other images are in its batch: let"):
        compress(model, "prune0.5")


class Again(nn.Module):
    """A convolution that is called again behind its normalisation, or whose weight is read there."""

    def __init__(self, again):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(3, 2)
        self.again = again
        nn.init.uniform_(self.norm.running_mean, -1, 1), nn.init.uniform_(self.norm.weight, 0.5, 2)

    def forward(self, x):
        return self.last(self.again(self, self.norm(self.conv(x))).relu().mean((2, 3)))


@pytest.mark.parametrize("recipe", ["dense", "int8"])
@pytest.mark.parametrize(
    "again",
    [lambda net, x: net.conv(x), lambda net, x: nn.functional.conv2d(x, net.conv.weight)],
    ids=["called", "read"],
)
def test_a_layer_that_is_used_again_is_evaluated_as_it_is(recipe, again):
    torch.manual_seed(0)
    compressed = compress(model_from(Again(again), name="again", classes=2, contract=CONTRACT), recipe, DATA).module
    x = as_input(DATA.test.images, CONTRACT)
    with torch.no_grad():
        assert torch.allclose(deployed(compressed)(x), compressed(x), atol=0.01)


def test_what_hangs_on_a_network_is_evaluated_too():
    model = net()
    model.register_forward_hook(lambda module, inputs, scores: -scores)
    x = as_input(DATA.test.images, CONTRACT)
    with torch.no_grad():
        assert torch.allclose(deployed(model)(x), model(x), atol=1e-4)


@pytest.mark.parametrize("recipe", ["dense", "int8", "int4", "prune0.5", "cluster4", "half"])
@pytest.mark.parametrize("name", ["stem.weight", "last.bias"])
def test_a_network_whose_numbers_are_not_finite_is_refused_by_the_name_of_the_first(recipe, name):
    model = net()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = torch.nan
    with pytest.raises(ValueError, match=f"^{name} holds numbers that are not finite: train again, or load other"):
        compress(model, recipe, DATA)


def test_int8_says_which_layer_is_given_what_is_not_finite():
    model = net()
    model.stem.register_forward_hook(lambda module, inputs, found: found * torch.nan)
    with pytest.raises(ValueError, match="^what enters layer [a-z]+ is not finite: see what the network computes"):
        compress(model, "int8", DATA)


def without(layer, *names):
    for name in names:
        setattr(layer, name, None)
    return layer


def test_networks_that_are_quantized_already_are_refused():
    model = net()
    model.last = torch.ao.nn.quantized.dynamic.Linear(12, 2)
    with pytest.raises(ValueError, match="layer last is quantized already"):
        compress(model, "int8:weights")


def test_data_of_another_kind_or_size_is_refused():
    with pytest.raises(TypeError, match="as load gives it, got ndarray"):
        compress(net(), "int8", np.zeros((4, 3, 8, 8)))
    large = Images(np.zeros((20, 16, 16, 3), np.uint8), np.arange(20) % 2)
    with pytest.raises(ValueError, match="expects images of 8 x 8 x 3, got 16 x 16 x 3"):
        compress(net(), "int8", Data("large", large, large, large, ["a", "b"]))


def test_kept_layers_are_left_alone():
    model = net()
    artifact = compress(model, "prune0.5+cluster4+int8", DATA, keep=["stem", "last"])
    assert torch.equal(artifact.module.stem.weight, model.stem.weight) and not hasattr(
        artifact.module.stem, "input_range"
    )


@pytest.mark.parametrize(
    "magnitudes",
    [[0.0], [1e-42, 3.0, 0.0, 3.0, 3.0], list(np.abs(np.random.default_rng(0).standard_cauchy(999)) * 1e-20)],
)
def test_the_kth_smallest_is_where_sorting_puts_it(magnitudes):
    from robcomp._compression.select import kth_smallest

    values = np.array(magnitudes, np.float32)
    assert [kth_smallest(values, k) for k in range(1, len(values) + 1)] == np.sort(values).tolist()


@pytest.mark.parametrize(
    "typed, said",
    [
        ("prune70%", "write prune0.7$"),
        ("prune12.5%:layer+int8", "write prune0.125:layer$"),
        ("prune50", "fraction: write prune0.5$"),
        ("2:4", "write prune0.5:2of4$"),
        ("8bit", "its grid: write int8$"),
        ("kmeans16+int8", "write cluster16$"),
        ("prune0.7:filters", "write prune0.7:channel$"),
        ("none", "called dense$"),
        ("fp32", "called dense$"),
        ("w8a8", "write int8$"),
        ("W4A16", "write int4:weights$"),
        ("w8a16+tune1", "write int8:weights$"),
        ("qat", "write int8[+]tune1$"),
        ("bf16", "write half$"),
        ("channel0.5", "write prune0.5:channel$"),
        ("Int8", "lower case: write int8$"),
        ("quantize8", "write int8$"),
        ("quantise4:weights", "write int4:weights$"),
        ("int8+", "ends with [+]"),
        ("dense+int8", "dense is the empty recipe"),
        ("prune0.5++int8", "both sides of each [+]"),
        ("prune1..2%", "unknown stage"),
        ("prune 0.5", "write prune0.5$"),
        ("prune=0.5", "write prune0.5$"),
        ("Prune(.5)", "write prune0.5$"),
        ("prune0,5", "write prune0.5$"),
        ("int-8", "write int8$"),
        ("int8,tune1", "write int8[+]tune1$"),
        ("prune0.5 -> int8", "write prune0.5[+]int8$"),
        ("PRUNE70%", "write prune0.7$"),
        ("prune 70%", "write prune0.7$"),
        ("prune(70 %)", "write prune0.7$"),
        ("Prune 70% + INT8", "write prune0.7$"),
        ("cluster50%", "number of values, no share, as in cluster16$"),
        ("int80%", "number of bits, no share, as in int8$"),
        ("int 8%", "as in int8$"),
        ("Quantize 8 %", "as in int8$"),
        ("tune50%", "write tune0.5$"),
        ("half50%", "no amount, as in half$"),
        ("prune%", "takes a number, as in prune0.7$"),
        ("prune150%", "as in prune0.7$"),
        ("quantize16", "as in int8$"),
        ("Q4:Weights, Tune 1", "write int4:weights[+]tune1$"),
        ("prune-1.5", "did you mean 'prune'"),
        ("Dense", "write dense$"),
        ("int4.5:auto", "3 to 7 whole bits"),
        ("int" + "9" * 290, "allowed: int8, int4, int2$"),
        ("tune" + "1" * 290, "epochs from 0.001 to 1000"),
        ("+int8", "both sides of each [+]: write int8$"),
        ("prune0.5++int8", "each [+]: write prune0.5[+]int8$"),
        ("int8+ +prune.5+", "ends with [+]"),
        ("+Int8", "lower case: write int8$"),
        ("+dense", "write dense$"),
        ("prune-0.5", "an amount has no sign: write prune0.5$"),
        ("prune--.5:layer", "write prune0.5:layer$"),
        ("prunenan", "nan is no amount, a number is, as in prune0.7$"),
        ("intinf", "as in int8$"),
        ("cluster-NaN", "as in cluster16$"),
        ("tunenone", "as in tune3$"),
        ("recalnan", "as in recal$"),
        ("prune7e-1", "without an exponent: write prune0.7$"),
        ("Prune 7E-1:layer", "write prune0.7:layer$"),
        ("tune1e1", "write tune10$"),
        ("cluster1.6e+1", "unknown stage 'cluster1.6e'"),
        ("prune7e5", "as in prune0.7$"),
        ("prune0.7 int8", "joined by [+]: write prune0.7[+]int8$"),
        ("prune 0.5:layer", "write prune0.5:layer$"),
        ("prune0.6:2of4", "two of four weights are half of them: write prune0.5:2of4$"),
        ("prune0.5:-1", "'-1' behind the : is no option, as in prune0.7:layer$"),
        ("tune3:layer", "allowed: distill$"),
        ("cluster" + "9" * 290, "2 to 4096"),
        ("x" * 100_000, "at most 300 characters, got 100,000, from 'xxx"),
    ],
)
def test_the_usual_slips_are_told_what_to_write(typed, said):
    with pytest.raises(ValueError, match=said) as error:
        parse(typed)
    assert "\n" not in str(error.value)


WORDS = [
    "prune",
    "Prune",
    "prone",
    "cluster",
    "CLUSTER",
    "int",
    "tune",
    "recal",
    "half",
    "dense",
    "Dense",
    "quantize",
    "quant",
    "q",
    "fp16",
    "float16",
    "bits",
    "",
]
NUMBERS = [
    "",
    "0.7",
    "70",
    ".5",
    "0,5",
    "16",
    "8",
    "4",
    "3",
    "1.5",
    "150",
    "0",
    "1e-7",
    "0.0000001",
    "٣",
    "2.5.1",
    "9" * 30,
]
JOINTS = [
    "",
    " ",
    "-",
    "_",
    "=",
    ":",
    "(",
    "%",
    " %",
    "%%",
    "%)",
    "%:layer",
    ":weights",
    ":2of4",
    ":Layer",
    ")",
    "+",
    "++",
    ",",
    "->",
    " >> ",
    "/",
    "&",
    "\n",
]


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(WORDS), st.sampled_from(JOINTS), st.sampled_from(NUMBERS), st.sampled_from(JOINTS)),
        min_size=1,
        max_size=3,
    )
)
def test_every_hint_is_a_recipe(parts):
    try:
        parse("".join(map("".join, parts)))
    except ValueError as error:
        said = str(error)
    else:
        return
    assert "\n" not in said
    for written in re.findall(r"(?:write|as in) (\S+?)[,.;]?(?= |$)", said):
        assert str(parse(written)) == written, said


@pytest.mark.parametrize("amount", [0.00001, 1 / 3, 0.5])
def test_hints_of_a_stage_in_the_wrong_place_are_recipes(amount):
    with pytest.raises(ValueError, match="cannot follow") as error:
        compress(net(), f"cluster8+{Prune(amount, 'gradual')}+tune1")
    assert parse(str(error.value).rpartition("write ")[2]) == parse(str(Prune(amount)))


@pytest.mark.parametrize("keep", [None, 3, "stem", True])
def test_layers_to_keep_are_a_list_of_names(keep):
    with pytest.raises(TypeError, match="^keep is a list of names of layers, got"):
        compress(net(), "prune0.5", keep=keep)


@pytest.mark.parametrize("recipe", [None, 8, b"int8", ["int8"]])
def test_what_is_no_text_is_no_recipe(recipe):
    with pytest.raises(
        TypeError, match="^a recipe is text as prune0.7[+]int8, or dense, got (NoneType|int|bytes|list)$"
    ):
        parse(recipe)


SHUFFLES = dict(
    by_hand=lambda x: x.view(len(x), 2, x.shape[1] // 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape),
    unflattened=lambda x: x.unflatten(1, (4, -1)).permute(0, 2, 1, 3, 4).flatten(1, 2),
    channel_shuffle=nn.ChannelShuffle(2),
    pixel_shuffle=lambda x: nn.functional.pixel_unshuffle(nn.functional.pixel_shuffle(x, 2), 2),
)


class Divided(nn.Module):
    """Two branches, each with a part of the channels, by `how`."""

    def __init__(self, how):
        super().__init__()
        self.how, self.stem, self.left, self.right, self.last = (
            how,
            nn.Conv2d(3, 64, 3),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, 64, 1),
            nn.Linear(96, 4),
        )

    def forward(self, x):
        x = self.stem(x).relu()
        if self.how in SHUFFLES:
            x = SHUFFLES[self.how](x)
        if self.how == "fixed":
            left, right = torch.split(x, [32, 32], 1)
        elif self.how == "halves":
            left, right = torch.split(x, x.shape[1] // 2, 1)
        else:
            left, right = x.chunk(2, 1)
        return self.last(torch.cat([self.left(left), self.right(right)], 1).relu().mean((2, 3)))


@pytest.mark.parametrize("how", SHUFFLES)
def test_a_channel_shuffle_is_refused_as_such(how):
    network = model_from(Divided(how), name=how, classes=4, contract=CONTRACT)
    operation = (
        how
        if how in ("channel_shuffle", "pixel_shuffle")
        else r"a channel shuffle \((transpose of 2 x 32|permute of 4 x 16) x 6 x 6\)"
    )
    with pytest.raises(
        ValueError, match=rf"prune0.5:channel: {how}: {operation} puts channels into another order(; | in )"
    ) as refused:
        compress(network, "prune0.5:channel")
    assert "\n" not in str(refused.value) and str(refused.value).endswith("prune weights instead, as prune0.5")


@pytest.mark.parametrize(
    "mix, said",
    [
        (lambda x: x.softmax(1), "something other than its layers mixes channels"),
        (lambda x: x.roll(3, 1), "something other than its layers mixes channels"),
        (lambda x: x.view(-1, 64, 36).view(-1, 64, 6, 6), "does its forward pass count them itself"),
        (lambda x: x if x.isfinite().all() else -x, "does not run on torch's meta device"),
        (torch.sigmoid, ""),
        (lambda x: x * x.mean((2, 3), True).tanh(), ""),
    ],
)
def test_a_narrow_network_says_what_the_whole_one_says(mix, said):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.next, self.last = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 32, 3), nn.Linear(32, 4)

        def forward(self, x):
            return self.last(self.next(mix(self.stem(x))).relu().mean((2, 3)))

    network = model_from(Mixed(), name="mixed", classes=4, contract=CONTRACT)
    if not said:
        assert compress(network, "prune0.5:channel").module.stem.out_channels == 32
        return
    with pytest.raises(ValueError, match=f"prune0.5:channel: mixed: .*{said}.*; prune weights instead, as prune0.5$"):
        compress(network, "prune0.5:channel")


STOCK = dict(
    shufflenet_v2_x0_5="a channel shuffle .* in stage2.0; prune weights",
    squeezenet1_0="",
    mnasnet0_5="",
    densenet121="",
    googlenet="",
    efficientnet_b0="",
    regnet_y_400mf="",
    convnext_tiny="",
)


@pytest.mark.parametrize("name", STOCK)
def test_stock_networks_are_pruned_or_refused_in_one_line(name, capsys):
    """As initialised, for few classes: the last layer's weights are smaller than the others'."""
    options = dict(aux_logits=False, init_weights=False) if name == "googlenet" else {}
    torch.manual_seed(0)
    network = model_from(
        getattr(torchvision.models, name)(num_classes=4, **options),
        name=name,
        classes=4,
        contract=InputContract(32, (128,) * 3, (64,) * 3),
    )
    artifact = compress(network, "prune0.5")
    weights = {own: layer.weight for own, layer in layers(artifact.module).items()}
    assert all(weight.any() for weight in weights.values())
    assert sum(int((weight == 0).sum()) for weight in weights.values()) == round(
        0.5 * sum(weight.numel() for weight in weights.values())
    )
    whole = [own for own, weight in weights.items() if weight.all()]
    remark = artifact.promises[0].remark
    assert all(
        own in whole
        for own in remark.removeprefix("prune0.5 leaves out ")
        .removesuffix(", which would have lost all weights")
        .split(", ")
        if remark
    )
    assert (
        (f"robcomp: {remark}\n" in capsys.readouterr().err) == bool(remark)
        and (remark in repr(artifact))
        and (remark in artifact._repr_html_())
    )
    if not STOCK[name]:
        assert macs(compress(network, "prune0.5:channel").module) < 0.8 * macs(network)
    else:
        with pytest.raises(ValueError, match=STOCK[name]) as refused:
            compress(network, "prune0.5:channel")
        assert "\n" not in str(refused.value)


class Fussy(nn.Module):
    """A layer of somebody's own that fails on more images than a network is first tried on."""

    def forward(self, x):
        if len(x) > 8:
            raise KeyError("nine images\nare too many")
        return x


@pytest.mark.parametrize("stage", ["int8", "recal", "tune1"])
def test_what_fails_inside_a_stage_is_one_line(stage):
    network = model_from(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Fussy(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        ),
        name="fussy",
        classes=2,
        contract=CONTRACT,
    )
    with pytest.raises(
        ValueError, match=rf"^{stage} failed in 2 \(KeyError: 'nine images.* or name layers in keep$"
    ) as failed:
        compress(network, stage, DATA, **MEANS)
    assert "\n" not in str(failed.value) and isinstance(failed.value.__cause__, KeyError)


def test_what_fails_while_channels_are_traced_is_one_line(monkeypatch):
    import torch_pruning

    def broken(*_, **__):
        raise ZeroDivisionError("integer division or modulo by zero")

    monkeypatch.setattr(torch_pruning.DependencyGraph, "build_dependency", broken)
    with pytest.raises(
        ValueError,
        match=r"prune0.5:channel: wide: its channels cannot be followed \(ZeroDivisionError: integer .*\); "
        "prune weights instead, as prune0.5$",
    ):
        compress(wide(), "prune0.5:channel")


@pytest.mark.parametrize("text", ["prune0.5", "prune0.5:gradual+tune1", "prune0.5+prune0.7", "cluster4+prune0.5+int8"])
def test_a_layer_that_would_be_emptied_is_left_out_and_said(text, capsys):
    model = net()
    with torch.no_grad():
        model.last.weight /= 1e6
    artifact = compress(model, text, DATA, **MEANS)
    check_by_hand(artifact)  # the others make up for it
    assert layers(artifact.module)["last"].weight.any()
    remarks = [promise.remark for promise in artifact.promises if promise.stage.family == "prune"]
    if "tune" not in text:
        assert all(
            remark == f"{stage} leaves out last, which would have lost all weights"
            for remark, stage in zip(remarks, text.replace("cluster4+", "").split("+"))
        )
    assert artifact.remarks() == [remark for remark in remarks if remark] and capsys.readouterr().err == "".join(
        f"robcomp: {remark}\n" for remark in remarks if remark
    )


def test_layer_by_layer_the_tiny_one_is_left_out():
    model = model_from(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)),
        name="thin",
        classes=2,
        contract=CONTRACT,
    )
    artifact = compress(model, "prune0.8:layer")
    zeros = {name: int((layer.weight == 0).sum()) for name, layer in layers(artifact.module).items()}
    assert zeros == {"0": round(0.8 * 216), "1": round(0.8 * 8), "4": 0} and artifact.remarks() == [
        "prune0.8:layer leaves out 4, which would have lost all weights"
    ]


@pytest.mark.parametrize("text", ["prune0.999", "prune0.99:layer"])
def test_asked_to_leave_nothing(text):
    tiny = model_from(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), name="tiny", classes=2, contract=CONTRACT
    )
    with pytest.raises(ValueError, match=f"{text}: nothing of 2 would be left"):
        compress(tiny, text)


def test_a_layer_may_be_called_weight():
    model = nn.Sequential()
    model.add_module("weight", nn.Conv2d(3, 8, 3))
    model.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()).append(nn.Linear(8, 2))
    artifact = compress(model_from(model, name="named", classes=2, contract=CONTRACT), "prune0.5+int8:weights")
    check_by_hand(artifact)


def test_a_bias_with_a_parametrization_is_refused_and_the_network_stays():
    class Square(nn.Module):
        def forward(self, bias):
            return bias * bias

    conv = nn.Conv2d(8, 8, 3)
    parametrize.register_parametrization(conv, "bias", Square())
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    model = model_from(net, name="own", classes=2, contract=InputContract(32, (128.0,) * 3, (64.0,) * 3))
    x = torch.zeros(1, 3, 32, 32)
    before = model(x)
    for recipe in ("cluster4", "int8:weights"):
        with pytest.raises(ValueError, match="layer 2 has a parametrization of its own"):
            compress(model, recipe)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize(
    "recipe",
    ["cluster16+int8", "int8+cluster16", "prune0.5:layer+cluster16+int8", "prune0.5:layer+cluster16:entropy+int8"],
)
def test_a_layer_of_zeros_is_clustered_on_a_grid(recipe, tmp_path):
    """Its scales are so small that their squares, by which weights count, are zero."""
    net = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1, bias=False), nn.Flatten(), nn.Linear(16 * 64, 4))
    with torch.no_grad():
        net[1].weight.zero_()
    model = model_from(net, name="zeros", classes=4, contract=CONTRACT)
    images = Images(np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8), np.arange(40) % 4)
    artifact = compress(model, recipe, Data("noise", images, images, images, list("abcd")), progress=False)
    assert not layers(artifact.module)["1"].weight.any()
    pack(artifact, tmp_path / "zeros.robcomp")
    back = unpack(tmp_path / "zeros.robcomp", module=model)
    assert tensors_sha256(plain(back).state_dict()) == tensors_sha256(plain(artifact.module).state_dict())
