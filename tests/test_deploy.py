"""The exported file against the simulation: small nets with every kind of layer, folding that keeps codes, errors in
one line."""

import platform
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import get_model

from robcomp import integers
from robcomp._compression.alone import answer_of, trial_images
from robcomp._deployment.integers import AddedLevels
from robcomp._compression.state import ActivationRange, folded, layers
from robcomp.compress import compress
from robcomp.data import Data, Images, InputContract, as_input, contract_of, load
from robcomp.deploy import agreement, export_onnx, operations, predict, session
from robcomp.evaluate import deployed
from robcomp.integers import round_sums
from robcomp._deployment.codes import folded_codes, weight_codes, with_bias
from robcomp._deployment.timing import processor_seconds
from robcomp.models import ARCHITECTURES, make_model, model_from
from robcomp.pack import pack, unpack
from tests.networks import Attending, unchecked

missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(
    bool(missing), reason=f"{' and '.join(missing)} not installed: pip install 'robcomp[onnx]'"
)
CONTRACT = InputContract(16, (128,) * 3, (64,) * 3)
RECIPES = ("int8", "cluster16+int8", "prune0.7:layer+int8")


def noise(n, seed):
    pixels = np.random.default_rng(seed).normal(128, 70, (n, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    return Images(
        (pixels + np.random.default_rng(seed + 1).normal(0, 20, (n, 16, 16, 3))).clip(0, 255).astype(np.uint8),
        np.arange(n) % 6,
    )


DATA = Data("noise", noise(60, 0), noise(60, 0), noise(100, 4), list("abcdef"))


def normed(conv, *after):
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), *after)


class Residual(nn.Module):
    def __init__(self, body, around=None, after=None):
        super().__init__()
        self.body, self.around, self.after = body, around or nn.Identity(), after or nn.Identity()

    def forward(self, x):
        return self.after(self.around(x) + self.body(x))


class Sequence(nn.Module):
    """A linear layer over a sequence, a weight that two layers share, and a layer used twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 12)
        self.first, self.second, self.last = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 6)
        self.second.weight = self.first.weight

    def forward(self, x):
        x = self.wide(self.stem(x).flatten(2).transpose(1, 2)).relu().mean(1)
        return self.last(self.second(self.first(self.first(x).relu()).relu()).relu())


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = normed(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()), nn.Linear(8, 6)

    def forward(self, x):
        x = self.body(x)
        if x.amax() > 1e9:
            x = x / 2
        return self.head(x.mean((2, 3)))


def head(width):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 6)


NETS = dict(
    inverted=lambda: nn.Sequential(
        normed(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.ReLU6()),
        normed(nn.Conv2d(8, 8, 1, bias=False)),
        Residual(
            nn.Sequential(
                normed(nn.Conv2d(8, 24, 1, bias=False), nn.ReLU6()),
                normed(nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False), nn.ReLU6()),
                normed(nn.Conv2d(24, 8, 1, bias=False)),
            )
        ),
        *head(8),
    ),
    bottleneck=lambda: nn.Sequential(
        normed(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
        Residual(
            nn.Sequential(
                normed(nn.Conv2d(8, 4, 1), nn.ReLU()),
                normed(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU()),
                normed(nn.Conv2d(4, 16, 1)),
            ),
            normed(nn.Conv2d(8, 16, 1, stride=2, bias=False)),
            nn.ReLU(),
        ),
        Residual(nn.Sequential(normed(nn.Conv2d(16, 4, 1), nn.ReLU()), normed(nn.Conv2d(4, 16, 1))), after=nn.ReLU()),
        *head(16),
    ),
    basic=lambda: nn.Sequential(
        normed(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU()),
        Residual(
            nn.Sequential(
                normed(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.ReLU()),
                normed(nn.Conv2d(8, 8, 3, padding=1, bias=False)),
            ),
            after=nn.ReLU(),
        ),
        *head(8),
    ),
    plain=lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        normed(nn.Conv2d(8, 12, 3, groups=2), nn.Hardswish()),
        nn.Conv2d(12, 8, 1),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(8 * 9, 12),
        nn.ReLU(),
        nn.Linear(12, 6, bias=False),
    ),
    before=lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        Residual(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))),
        *head(8),
    ),
    sequence=Sequence,
    untraceable=Untraceable,
)


def network(kind, seed=0):
    """A network whose normalisation looks trained: factors of both signs, one that is zero, one channel that is
    dead."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = NETS[kind]()
        for part in net.modules():
            if not isinstance(part, nn.BatchNorm2d):
                continue
            part.running_mean.normal_(0, 0.3), part.running_var.uniform_(0.2, 2)
            nn.init.normal_(part.weight, 1, 0.8), nn.init.normal_(part.bias, 0, 0.3)
            with torch.no_grad():
                part.weight[0], part.weight[1] = 0, -part.weight[1].abs()
        first = next(part for part in net.modules() if isinstance(part, nn.Conv2d))
        with torch.no_grad():
            first.weight[2] = 0
    return model_from(net, name=kind, classes=6, contract=CONTRACT)


@pytest.fixture(scope="module")
def made():
    kept = {}

    def make(kind, recipe):
        if (kind, recipe) not in kept:
            kept[kind, recipe] = compress(network(kind), recipe, DATA, progress=False)
        return kept[kind, recipe]

    return make


@needs_onnx
@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_file_says_what_the_simulation_says(made, tmp_path, kind, recipe):
    artifact = made(kind, recipe)
    found = agreement(artifact.module, export_onnx(artifact, tmp_path / "net.onnx"), DATA.test.images)
    assert found["n"] == 100 and found["same"] >= 0.99 and found["exact"] >= 0.97 and found["largest_steps"] < 2


@needs_onnx
@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize(
    "recipe", ["dense", "prune0.5+cluster8", "int8:weights", "int4:weights", "cluster4+int2:weights"]
)
def test_without_rounded_inputs_scores_are_equal(made, tmp_path, kind, recipe):
    artifact = made(kind, recipe)
    path = export_onnx(artifact.module, tmp_path / "net.onnx")
    found = agreement(artifact.module, path, DATA.test.images)
    assert found["same"] == 1 and found["largest_steps"] < 0.05
    assert bool(weight_codes(path)) == ("int" in recipe) and not {
        "QuantizeLinear",
        "DequantizeLinear",
        "MatMulNBits",
    } & set(operations(path).index)


@needs_onnx
@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("recipe", [*RECIPES, "int4"])
def test_codes_in_the_file_are_ours_up_to_sign(made, tmp_path, kind, recipe):
    artifact = made(kind, recipe)
    codes, checked = weight_codes(export_onnx(artifact, tmp_path / "net.onnx")), 0
    for layer in layers(artifact.module).values():
        for name, module in artifact.module.named_modules():
            if module not in layer.modules or name not in codes:
                continue
            ours = layer.integers.numpy().astype(int).reshape(len(codes[name]), -1)
            theirs = codes[name].astype(int).reshape(ours.shape)
            gone = ~theirs.any(1)  # channels that a factor of zero removed
            assert (
                all((row == own).all() or (row == -own).all() for row, own in zip(theirs[~gone], ours[~gone]))
                and gone.mean() < 0.6
            )
            checked += 1
    assert checked >= len(layers(artifact.module))


@needs_onnx
@pytest.mark.parametrize("seed", range(12))
def test_single_layers_of_all_forms(tmp_path, seed):
    rng = np.random.default_rng(seed)
    groups, size = int(rng.choice([1, 2, 8])), int(rng.choice([1, 3]))
    options = dict(
        stride=int(rng.integers(1, 3)),
        padding=int(rng.integers(0, 2)),
        dilation=int(rng.integers(1, 3)),
        groups=groups,
        bias=bool(rng.integers(2)),
    )
    NETS["one"] = lambda: nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, size, **options), nn.BatchNorm2d(16), nn.ReLU(), *head(16)
    )
    try:
        net = network("one", seed)
    finally:
        del NETS["one"]
    module = compress(net, "int8", DATA, keep=("0", "7"), progress=False).module
    found = agreement(module, export_onnx(module, tmp_path / "net.onnx"), DATA.test.images)
    assert found["mean_steps"] < 0.05, options


@needs_onnx
def test_products_are_integer_kernels(made, tmp_path):
    for kind in ("inverted", "bottleneck"):
        artifact = made(kind, "int8")
        for model in (artifact, round_sums(artifact, DATA.calibration.images)):
            table = operations(export_onnx(model, tmp_path / "net.onnx"))
            assert not {"Conv", "FusedConv", "Gemm", "MatMul"} & set(table.index)
            kernels = table.nodes.reindex(["QLinearConv", "QGemm"]).sum()
            assert kernels == len(layers(artifact.module)) and ("QLinearAdd" in table.index) == hasattr(model, "sums")


@needs_onnx
@pytest.mark.parametrize("kind", NETS)
def test_rounded_sums_are_evaluated_as_they_ship(made, tmp_path, kind):
    artifact = made(kind, "int8")
    if kind == "untraceable":
        with pytest.raises(ValueError, match="^the sums of this network cannot be found: torch.fx cannot trace it$"):
            round_sums(artifact, DATA.calibration.images)
        return
    rounded = round_sums(artifact, DATA.calibration.images)
    file = export_onnx(rounded, tmp_path / "net.onnx")
    found, apart = agreement(rounded, file, DATA.test.images), agreement(artifact.module, file, DATA.test.images)
    assert found["same"] >= 0.99 and found["exact"] >= 0.97
    assert bool(rounded.sums) == (apart["mean_steps"] > found["mean_steps"]) and apart["same"] >= 0.85


@needs_onnx
@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="kernels of other processors multiply in another order"
)
@pytest.mark.parametrize("seed", range(12))
def test_added_levels_are_those_of_the_kernel(seed):
    import onnxruntime
    from onnx import TensorProto, helper

    rng = np.random.default_rng(seed)
    steps, zeros = (10 ** rng.uniform(-3, 0, 3)).astype(np.float32), rng.integers(0, 256, 3).astype(np.uint8)
    fixed = {f"{part}{i}": value for i in range(3) for part, value in (("step", steps[i]), ("zero", zeros[i]))}
    tensors = [
        helper.make_tensor(name, TensorProto.FLOAT if "step" in name else TensorProto.UINT8, [], [value])
        for name, value in fixed.items()
    ]
    node = helper.make_node(
        "QLinearAdd", ["a", "step0", "zero0", "b", "step1", "zero1", "step2", "zero2"], ["c"], domain="com.microsoft"
    )
    graph = helper.make_graph(
        [node],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, ["n"]) for name in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.UINT8, ["n"])],
        tensors,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8
    )
    every = np.stack(np.meshgrid(*[np.arange(256, dtype=np.uint8)] * 2), -1).reshape(-1, 2).T.copy()
    (found,) = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, dict(zip("ab", every))
    )
    levels = [ActivationRange(float(step), int(zero)) for step, zero in zip(steps, zeros)]
    values = [
        (torch.from_numpy(numbers).float() - int(zero)) * float(step)
        for numbers, zero, step in zip(every, zeros, steps)
    ]
    ours = AddedLevels(levels[:2], levels[2])(*values) / float(steps[2]) + int(zeros[2])
    assert np.array_equal(ours.round().numpy(), found)


@pytest.mark.parametrize("scale, zero", [(0.023, 0), (0.07, 122), (1e-4, 255)])
def test_levels_and_their_gradients_are_those_of_torch(scale, zero):
    levels, rng = ActivationRange(scale, zero), np.random.default_rng(zero)
    ours = torch.from_numpy(
        np.r_[rng.normal(0, 90 * scale, 5000), np.arange(-600, 600) * scale / 2].astype(np.float32)
    ).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    found, wanted = levels(ours), torch.fake_quantize_per_tensor_affine(theirs, levels.scale, levels.zero, 0, 255)
    for values in (found, wanted):
        values.square().sum().backward()
    assert torch.equal(found, wanted) and torch.equal(ours.grad, theirs.grad) and 0 < (ours.grad == 0).sum() < len(ours)


@needs_onnx
def test_pooling_after_rounding_is_pooling_before(made, tmp_path):
    table = operations(export_onnx(made("plain", "int8"), tmp_path / "net.onnx"))
    assert {"MaxPool", "NhwcMaxPool"} & set(table.index) and table.nodes["QLinearConv"] >= 1


@needs_onnx
def test_any_number_of_images_and_the_later_opset(made, tmp_path):
    artifact = made("bottleneck", "int8")
    path, later = export_onnx(artifact, tmp_path / "net.onnx"), export_onnx(artifact, tmp_path / "later.onnx", opset=18)
    whole = predict(path, DATA.test.images)
    assert np.allclose(
        np.concatenate([predict(session(path), DATA.test.images[[at]]) for at in range(5)]), whole[:5], atol=1e-5
    )
    assert np.allclose(predict(later, DATA.test.images, batch=7), whole, atol=1e-5)


@needs_onnx
def test_the_file_says_what_it_is(made, tmp_path):
    import onnx

    artifact = made("basic", "cluster16+int8")
    model = onnx.load(export_onnx(artifact, tmp_path / "net.onnx"))
    onnx.checker.check_model(model, full_check=True)
    notes = {item.key: item.value for item in model.metadata_props}
    assert notes["recipe"] == "cluster16+int8" and '"size": 16' in notes["contract"]
    assert not list(tmp_path.glob("*.partial"))


@needs_onnx
def test_the_network_stays_as_it_is(made, tmp_path):
    module = made("inverted", "int8").module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    export_onnx(round_sums(module, DATA.calibration.images), tmp_path / "net.onnx")
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert any(isinstance(part, ActivationRange) for part in module.modules())


@needs_onnx
def test_mobilenetv2_is_all_integers(tmp_path):
    module = compress(make_model("mobilenetv2", contract=CONTRACT, classes=6), "int8", DATA, progress=False).module
    table = operations(export_onnx(module, tmp_path / "net.onnx"))
    assert table.nodes.reindex(["QLinearConv", "QGemm"]).sum() == len(layers(module)) and table.nodes["Transpose"] <= 2


def test_folding_keeps_codes():
    rng = np.random.default_rng(0)
    integers = rng.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8)
    integers[3] = 0
    factor = np.array([0.01, -2.0, 1e-9, 1.0, 0.0, 3e4], np.float32).reshape(-1, 1, 1, 1)
    codes, step = folded_codes(integers, integers * factor)
    assert np.allclose(codes * step.reshape(-1, 1, 1, 1), integers * factor, rtol=1e-6)
    assert (
        (codes[[0, 2, 3, 5]] == integers[[0, 2, 3, 5]]).all()
        and not codes[4].any()
        and (codes[1] == -integers[1]).all()
        and (step >= 0).all()
    )


def test_a_bias_always_fits():
    codes, step = np.full((4, 5), 100, np.int8), np.array([1e-3, 1e-12, 0, 1e-30], np.float32)
    bias = np.array([3, -3, 2, 0], np.float32)
    own, wide, whole = with_bias(codes, step, bias, 0.01)
    assert (own[0] == 100).all() and not own[2].any() and (own[3] == 100).all() and (wide > 0).all()
    assert np.allclose(whole * (wide.astype(float) * 0.01), bias, atol=1e-5)


def test_what_folds_is_what_evaluate_folds():
    net = network("bottleneck")
    ready, x = folded(net), torch.randn(2, 3, 16, 16)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in ready.modules())
    with torch.no_grad():
        assert torch.allclose(ready(x), net(x), atol=1e-4)


class Places(nn.Module):
    """Patches as rows of a linear layer: its batch normalisation sees places where rows have features."""

    def __init__(self, places):
        super().__init__()
        self.patches, self.mix, self.norm = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, 16), nn.BatchNorm1d(16)
        self.last, self.places = nn.Linear(16, 10), places

    def forward(self, x):
        rows = self.patches(x).flatten(2).transpose(1, 2)
        rows = self.norm(self.mix(rows)) if self.places else self.norm(self.mix(rows.mean(1)))[:, None]
        return self.last(rows.relu().mean(1))


@pytest.mark.parametrize("places", [True, False])
def test_a_norm_over_places_is_not_folded_into_features(places):
    torch.manual_seed(0)
    net = Places(places)
    net.norm.running_mean.uniform_(-0.5, 0.5), net.norm.running_var.uniform_(0.1, 2)
    net = model_from(net, name="places", classes=10, contract=InputContract(32, (128,) * 3, (64,) * 3))
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(folded(net)(x), net(x), atol=1e-5)
    assert any(isinstance(part, nn.BatchNorm1d) for part in folded(net).modules()) == places


@needs_onnx
def test_errors_are_one_line(made, tmp_path):
    with pytest.raises(ValueError, match="^this network has no input contract: pass it through model_from first$"):
        export_onnx(nn.Linear(2, 2), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="^opset 13 is too old"):
        export_onnx(made("basic", "int8"), tmp_path / "net.onnx", opset=13)
    with pytest.raises(ValueError, match="no ONNX file .*write it with export_onnx"):
        session(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="cannot be run") as caught:
        session(tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)


class Inverse(nn.Module):
    """What no ONNX operation computes."""

    def forward(self, x):
        return torch.linalg.pinv(x.flatten(2)).flatten(1)[:, :6]


@needs_onnx
def test_sums_do_not_overflow_on_processors_that_add_in_16_bits(tmp_path):
    """Two products of 255 and 127 are more than 16 bits hold; processors without VNNI add them there unless told."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *head(8))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    model = model_from(net, name="bright", classes=6, contract=InputContract(12, (0.0,) * 3, (255.0,) * 3))
    bright = np.full((64, 12, 12, 3), 255, np.uint8)
    images = Images(bright, np.arange(64) % 6)
    compressed = compress(model, "int8", Data("bright", images, images, images, list("abcdef")))
    file = export_onnx(compressed, tmp_path / "bright.onnx")
    found, wanted = predict(file, bright[:4]), deployed(compressed.module)(as_input(bright[:4], model.contract))
    assert np.abs(np.asarray(found) - wanted.detach().numpy()).max() <= 1e-5 * wanted.abs().max()
    assert session(file).get_session_options().get_session_config_entry("session.x64quantprecision") == "1"


@needs_onnx
@pytest.mark.parametrize(
    "options",
    [
        dict(kernel_size=3, dilation=2),
        dict(kernel_size=4),
        dict(kernel_size=(2, 5), dilation=(3, 1)),
        dict(kernel_size=3, dilation=2, padding_mode="reflect"),
        dict(kernel_size=3, dilation=3, groups=3),
    ],
)
@pytest.mark.parametrize("recipe", ["dense", "int8"])
def test_padding_given_as_a_word_is_written_in_numbers(tmp_path, options, recipe):
    network = model_from(
        nn.Sequential(
            nn.Conv2d(3, 6, padding="same", **options),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 6),
        ),
        name="same",
        classes=6,
        contract=CONTRACT,
    )
    module = compress(network, recipe, DATA).module
    found = agreement(module, export_onnx(module, tmp_path / "net.onnx"), DATA.test.images)
    assert found["same"] == 1 and found["largest_steps"] < (1e-3 if recipe == "dense" else 2)


class Calling(nn.Module):
    """A network that calls functions where others have layers."""

    def __init__(self, call):
        super().__init__()
        self.stem, self.held, self.last, self.call = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, (2, 3)), nn.Linear(6, 6), call

    def forward(self, x):
        return self.last(self.call(self, self.stem(x)).relu().mean((2, 3)))


@needs_onnx
@pytest.mark.parametrize(
    "call",
    [
        lambda net, x: F.conv2d(x, net.held.weight, padding="same", dilation=2),
        lambda net, x: torch.conv2d(x, net.held.weight, net.held.bias, 1, "same", [3]),
        lambda net, x: F.conv2d(x, weight=net.held.weight, padding="valid"),
        lambda net, x: F.conv1d(x.flatten(2), net.held.weight[:, :, 0], padding="same", dilation=3)[..., None],
        lambda net, x: F.instance_norm(x, torch.ones(6), torch.full((6,), 2.0), use_input_stats=False),
    ],
)
@pytest.mark.parametrize("recipe", ["dense", "int8"])
def test_functions_are_written_as_layers_are(tmp_path, call, recipe):
    torch.manual_seed(0)
    module = compress(model_from(Calling(call), name="calling", classes=6, contract=CONTRACT), recipe, DATA).module
    found = agreement(module, export_onnx(module, tmp_path / "net.onnx"), DATA.test.images)
    assert found["same"] == 1 and found["largest_steps"] < (1e-3 if recipe == "dense" else 2)


@needs_onnx
def test_an_instance_norm_with_running_statistics_is_written(tmp_path):
    norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
    for values in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
        nn.init.uniform_(values, 0.5, 2)
    network = model_from(
        nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)),
        name="norm",
        classes=6,
        contract=CONTRACT,
    )
    found = agreement(network, export_onnx(network, tmp_path / "net.onnx"), DATA.test.images)
    assert found["same"] == 1 and found["largest_steps"] < 1e-3


@needs_onnx
def test_what_cannot_be_written_is_one_line_and_nothing_else(tmp_path, capfd):
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6))
    batch = Calling(lambda net, x: F.batch_norm(x, None, None, training=True))
    for last, said in (
        (
            Inverse(),
            "cannot be written as ONNX: opset 17 has no linalg_pinv: replace it in the network, or try another opset$",
        ),
        (
            batch,
            "normalises by the batch an image is in, so no file can answer for one image: keep running statistics$",
        ),
        (
            pool,
            "an adaptive pooling gives a size that does not divide the size of its input: let it give one that does, "
            "as 1, or pool with a kernel size$",
        ),
        (
            nn.Sequential(
                nn.BatchNorm2d(4, track_running_stats=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)
            ),
            "layer 1.0 normalises by the batch it is in",
        ),
    ):
        network = unchecked(
            last if last is batch else nn.Sequential(nn.Conv2d(3, 4, 3), last), name="odd", classes=6, contract=CONTRACT
        )
        with pytest.raises(ValueError, match=said) as caught:
            export_onnx(network, tmp_path / "net.onnx")
        assert "\n" not in str(caught.value) and not (tmp_path / "net.onnx").exists()
    assert capfd.readouterr() == ("", "")


def odd(call):
    """A network that does something of its own between its first layer and its last."""
    torch.manual_seed(0)
    return unchecked(Calling(call), name="odd", classes=6, contract=CONTRACT)


def refused(call, said, tmp_path):
    with pytest.raises(ValueError, match=said) as caught:
        export_onnx(odd(call), tmp_path / "net.onnx")
    assert str(caught.value).startswith("this network cannot be written as ONNX: ") and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def halved(net, x):
    while x.abs().amax() > 0.5:
        x = x / 2
    return x


CHOOSING = dict(
    mean=lambda net, x: -x if x.mean() > x.new_tensor(0.1) else x,
    item=lambda net, x: x * x.mean().item(),
    loop=halved,
    count=lambda net, x: x[:, :, : 1 + int(x.abs().mean() * 5) % 5],
    array=lambda net, x: x + float(x.numpy().max()),
    comparison=lambda net, x: x if torch.equal(x, x.abs()) else -x * 2 + float(x.max()),
)


@needs_onnx
@pytest.mark.parametrize("call", CHOOSING.values(), ids=CHOOSING)
def test_a_network_that_chooses_by_its_values_is_not_written(tmp_path, call):
    refused(call, "reads values of its images in Python .* choose with torch.where", tmp_path)


@needs_onnx
def test_a_network_that_counts_its_images_is_not_written(tmp_path):
    refused(lambda net, x: x.reshape(int(x.shape[0]), 6, 14, 14), "counts the images in Python", tmp_path)


@needs_onnx
@pytest.mark.parametrize(
    "mixed",
    [lambda y: y - y.mean(0), lambda y: y - y.mean(), lambda y: y.softmax(0), lambda y: y - y.roll(1, 0)],
    ids=["mean of each class", "mean of all", "softmax", "neighbour"],
)
@pytest.mark.parametrize("recipe", ["dense", "int8"])
def test_a_network_that_mixes_the_images_of_a_batch_is_not_written(tmp_path, mixed, recipe):
    net = Calling(lambda net, x: x)
    net.last = nn.Sequential(net.last, Function(lambda y: y))
    compressed = compress(model_from(net, name="mixing", classes=6, contract=CONTRACT), recipe, DATA).module
    compressed.last[1].function = mixed
    with pytest.raises(ValueError, match="^this network cannot be written as ONNX: it gives an image other scores"):
        export_onnx(compressed, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_a_network_that_mixes_is_found_out_where_images_of_one_colour_have_no_scores(tmp_path):
    def scaled(net, x):
        return x / x.std((1, 2, 3), keepdim=True)

    net = Calling(scaled)
    net.last = nn.Sequential(net.last, Function(lambda y: y - torch.where(y == y, y, torch.zeros_like(y)).mean(0)))
    refused_net = unchecked(net, name="mixing", classes=6, contract=CONTRACT)
    with pytest.raises(ValueError, match="gives an image other scores"):
        export_onnx(refused_net, tmp_path / "net.onnx")


@needs_onnx
def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    net = odd(lambda net, x: x)
    with torch.no_grad():
        net.last.bias[0] = torch.nan
    with pytest.raises(ValueError, match="^last.bias holds numbers that are not finite"):
        export_onnx(net, tmp_path / "net.onnx")


BURSTS = dict(
    exp=lambda net, x: (x * 1e4).exp(),
    root=lambda net, x: x - x.abs().amax((1, 2, 3), True).neg().sqrt(),
    zero=lambda net, x: x / (x - x),
)


@needs_onnx
@pytest.mark.parametrize("recipe", ["dense", "int8:weights"])
@pytest.mark.parametrize("call", BURSTS.values(), ids=BURSTS)
def test_a_network_whose_scores_are_no_numbers_is_not_written(tmp_path, call, recipe):
    """Its parameters are all finite: what it computes with them is not."""
    compressed = compress(odd(call), recipe, DATA)
    with pytest.raises(
        ValueError,
        match="^this network cannot be written as ONNX: it gives scores that are not finite "
        "for 2 of 2 images of noise: see what it computes",
    ) as caught:
        export_onnx(compressed, tmp_path / "net.onnx")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def without_third(y):
    return y.masked_fill(torch.arange(6) == 2, -torch.inf)


@needs_onnx
def test_a_class_may_be_ruled_out_by_minus_infinity(tmp_path):
    net = odd(lambda net, x: x)
    net.last = nn.Sequential(net.last, Function(without_third))
    found = predict(export_onnx(net, tmp_path / "net.onnx"), DATA.test.images)
    with torch.no_grad():
        wanted = net(as_input(DATA.test.images, CONTRACT)).numpy()
    assert np.allclose(found, wanted, atol=1e-4) and np.isneginf(found[:, 2]).all()


@needs_onnx
def test_a_file_is_compared_with_a_network_that_rules_a_class_out(tmp_path):
    net = odd(lambda net, x: doubled_in_place(x))
    net.last = nn.Sequential(net.last, Function(without_third))
    with pytest.raises(ValueError, match="the file gives other scores"):
        export_onnx(net, tmp_path / "net.onnx")


class Standardised(nn.Conv2d):
    """A convolution with a forward pass of its own, as weight standardisation is written."""

    def forward(self, x):
        spread, mean = torch.std_mean(self.weight, (1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) / (spread + 1e-5), self.bias)


class Beside(nn.Module):
    """A network that takes the weight of a layer beside calling it; torch.fx can trace it or cannot."""

    def __init__(self, take, *, traced, middle=nn.Conv2d):
        super().__init__()
        self.stem, self.middle, self.last = nn.Conv2d(3, 6, 3), middle(6, 6, 3), nn.Linear(6, 6)
        self.norm, self.take, self.traced = nn.BatchNorm2d(6), take, traced

    def forward(self, x):
        x = self.stem(x).relu()
        if not self.traced and x.isnan().all():
            x = -x
        return self.last(self.take(self, x).relu().mean((2, 3)))


TAKING = dict(
    read=(lambda net, x: F.conv2d(net.norm(net.middle(x)), net.middle.weight), nn.Conv2d),
    forward=(lambda net, x: net.norm(net.middle.forward(x)) + net.middle(x), nn.Conv2d),
    compared=(lambda net, x: net.norm(net.middle(x)) * net.middle.weight.abs().mean(), nn.Conv2d),
    listed=(lambda net, x: net.norm(net.middle(x)) * max(net.middle.weight[0, 0].tolist()[0]), nn.Conv2d),
    standardised=(lambda net, x: net.norm(net.middle(x)), Standardised),
)


@needs_onnx
@pytest.mark.filterwarnings("ignore:the forward pass of this network reads values")
@pytest.mark.parametrize("traced", [True, False], ids=["traced", "untraceable"])
@pytest.mark.parametrize("recipe", ["int8", "cluster8+int8", "int8:weights"])
@pytest.mark.parametrize("take, middle", TAKING.values(), ids=TAKING)
def test_a_weight_that_is_taken_beside_its_layer_is_no_code(tmp_path, take, middle, recipe, traced):
    """Evaluated in integers and written, a network with such a weight says what the simulation says."""
    torch.manual_seed(0)
    net = model_from(Beside(take, traced=traced, middle=middle), name="beside", classes=6, contract=CONTRACT)
    module = compress(net, recipe, DATA).module
    x = as_input(DATA.test.images, CONTRACT)
    with torch.no_grad():
        wanted, found = module(x), deployed(module)(x)
    assert (found - wanted).abs().max() < 0.01 * (wanted.max() - wanted.min())
    found = agreement(module, export_onnx(module, tmp_path / "net.onnx"), DATA.test.images)
    assert found["same"] >= 0.99 and found["largest_steps"] < 2


def shifted(layer, inputs, found):
    return found + 1


def doubled(layer, inputs):
    return (inputs[0] * 2,)


@needs_onnx
@pytest.mark.parametrize("recipe", ["dense", "int8", "cluster8+int8"])
@pytest.mark.parametrize(
    "hang",
    [
        lambda net: net[2].register_forward_hook(shifted),
        lambda net: net[2].register_forward_pre_hook(doubled),
        lambda net: net[3].register_forward_pre_hook(doubled),
        lambda net: net[3].register_forward_hook(shifted),
    ],
    ids=["behind a layer", "before a layer", "before its normalisation", "behind its normalisation"],
)
def test_what_hangs_on_a_layer_is_run_as_it_hangs(tmp_path, hang, recipe):
    """Folded or put on integers, a layer would get it at another place, or lose it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), *head(6))
    nn.init.normal_(net[3].running_mean), nn.init.normal_(net[3].weight), nn.init.normal_(net[3].bias)
    hang(net)
    module = compress(model_from(net, name="hung", classes=6, contract=CONTRACT), recipe, DATA).module
    x = as_input(DATA.test.images, CONTRACT)
    with torch.no_grad():
        wanted, found = module(x), deployed(module)(x)
    assert (found - wanted).abs().max() < 0.01 * (wanted.max() - wanted.min())
    assert agreement(module, export_onnx(module, tmp_path / "net.onnx"), DATA.test.images)["largest_steps"] < 2


def test_a_layer_that_is_given_its_input_by_name_is_named():
    named = Calling(lambda net, x: net.held(input=x))
    with pytest.raises(ValueError, match=r"^layer held is given its input by name: write it as layer\(x\)$"):
        compress(model_from(named, name="named", classes=6, contract=CONTRACT), "int8", DATA)


@needs_onnx
@pytest.mark.parametrize("recipe", ["dense", "int8", "tune0.5"])
def test_a_network_with_layers_of_three_dimensions_is_evaluated(recipe):
    """Their weights have no channels-last order of four dimensions."""
    torch.manual_seed(0)
    deep = Calling(lambda net, x: net.held(x[:, None])[:, 0])
    deep.held = nn.Conv3d(1, 1, 3, padding=1)
    module = compress(model_from(deep, name="deep", classes=6, contract=CONTRACT), recipe, DATA, progress=False).module
    x = as_input(DATA.test.images, CONTRACT)
    with torch.no_grad():
        assert torch.allclose(deployed(module)(x), module(x), atol=0.01)


def test_integers_that_change_the_scores_are_told(monkeypatch):
    """Were a weight overlooked that is taken beside its layer, its codes would stand for it."""
    monkeypatch.setattr(
        integers, "weights_taken", lambda ready, contract: (set(), answer_of(ready, trial_images(contract)[-1]))
    )
    torch.manual_seed(0)
    net = Beside(*TAKING["standardised"][:1], traced=False, middle=Standardised)
    module = compress(model_from(net, name="beside", classes=6, contract=CONTRACT), "int8", DATA).module
    with pytest.raises(ValueError, match="^in integers, this network gives other scores than with the same weights"):
        deployed(module)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@needs_onnx
def test_a_choice_that_no_trial_image_meets_is_said(tmp_path):
    def rare(net, x):
        return x if x.amax() < 1e9 else -x

    with pytest.warns(UserWarning, match="reads values of its images in Python: the file holds the way") as said:
        export_onnx(odd(rare), tmp_path / "net.onnx")
    assert len(said) == 1 and "\n" not in str(said[0].message)


@needs_onnx
@pytest.mark.parametrize(
    "call",
    [
        lambda net, x: torch.where(x.mean((1, 2, 3), keepdim=True) > 0, -x, x),
        lambda net, x: x if x.shape[-1] % 2 else F.pad(x, (0, 1, 0, 1)),
        lambda net, x: x.reshape(x.shape[0], 6, -1, 7) if len(x) else x,
        lambda net, x: x if (net.last.weight > 1e9).sum() == 0 else -x,
    ],
    ids=["where", "sides", "number", "weights"],
)
def test_what_does_not_look_at_values_in_python_is_written_without_a_word(tmp_path, call, recwarn):
    net = odd(call)
    found = agreement(net, export_onnx(net, tmp_path / "net.onnx"), DATA.test.images)
    assert found["same"] == 1 and found["largest_steps"] < 1e-2 and not recwarn.list


@needs_onnx
@pytest.mark.parametrize(
    "arch",
    [
        "resnet50",
        "resnet50_pooled",
        "vgg19",
        "mobilenetv2",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        "googlenet",
        "densenet121",
        "efficientnet_b0",
        "mnasnet0_5",
        "regnet_y_400mf",
    ],
)
def test_stock_networks_are_written_without_a_word(tmp_path, arch, recwarn):
    contract = InputContract(64 if arch == "squeezenet1_1" else 32, (128,) * 3, (64,) * 3)
    if arch in ARCHITECTURES:
        net = make_model(arch, contract=contract)
    else:
        options = dict(aux_logits=False, init_weights=False) if arch == "googlenet" else {}
        net = model_from(get_model(arch, num_classes=10, **options), name=arch, classes=10, contract=contract)
    path = export_onnx(net, tmp_path / "net.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, contract.size, contract.size, 3), np.uint8)
    assert agreement(net, path, images)["largest_steps"] < 1 and not recwarn.list


class Bag(nn.Module):
    """A layer that the exporter writes in an order that no runtime reads."""

    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(10, 6)

    def forward(self, x):
        return self.bag(x.mean((2, 3)).abs().long().clamp(0, 9))


@needs_onnx
@pytest.mark.parametrize("before", ["", "an earlier file"])
def test_a_file_that_does_not_run_is_not_left(tmp_path, before):
    path = tmp_path / "net.onnx"
    if before:
        path.write_text(before)
    network = model_from(nn.Sequential(nn.Conv2d(3, 4, 3), Bag()), name="bag", classes=6, contract=CONTRACT)
    said = "^this network cannot be written as ONNX: ONNX Runtime does not run the file at /bag/Loop .*: replace that"
    with pytest.raises(ValueError, match=said) as caught:
        export_onnx(network, path)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    assert [(own.name, own.read_text()) for own in tmp_path.iterdir()] == ([("net.onnx", before)] if before else [])


@needs_onnx
@pytest.mark.parametrize("sides", [1, 2, 3])
def test_an_unpooling_is_refused_in_plain_words(tmp_path, sides):
    def unpooled(net, x):
        x = dict(enumerate((x.flatten(2), x, x[:, :, None].repeat(1, 1, 2, 1, 1)), 1))[sides]
        pooled, places = getattr(F, f"max_pool{sides}d")(x, 2, return_indices=True)
        return getattr(F, f"max_unpool{sides}d")(pooled, places, 2).flatten(2)[..., None]

    refused(unpooled, rf"took them \(max_unpool{sides}d\): enlarge by interpolation", tmp_path)


@needs_onnx
@pytest.mark.parametrize("bare, count", [(True, 256), (False, 1024)])
@pytest.mark.parametrize("recipe", ["dense", "prune0.5+cluster4+int8"])
def test_what_no_stage_reaches_is_float_in_the_file(tmp_path, bare, count, recipe, capsys):
    import onnx

    torch.manual_seed(0)
    artifact = compress(
        model_from(Attending(bare, classes=6), name="attending", classes=6, contract=CONTRACT), recipe, DATA
    )
    assert capsys.readouterr().err.endswith(f"{count:,} parameters stay float32\n")
    path = export_onnx(artifact, tmp_path / "net.onnx")
    found = agreement(artifact.module, path, DATA.test.images)
    assert found["same"] == 1 and found["largest_steps"] < (1e-2 if recipe == "dense" else 2)
    assert list(weight_codes(path)) == ([] if recipe == "dense" else ["stem", "last"])
    floats = [
        tensor
        for tensor in onnx.load(path).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1
    ]
    assert sum(int(np.prod(tensor.dims)) for tensor in floats) == count + (0 if recipe != "dense" else 16 * 27 + 6 * 16)


def graph_macs(path):
    """Multiply-accumulates of a float file, from its own nodes and shapes."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    products = {
        node.name: (node.op_type, weights[node.input[1]], shapes[node.output[0]][1:])
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm")
    }
    return sum(
        int(np.prod(places)) * (int(np.prod(weight[1:])) if kind == "Conv" else weight[1])
        for kind, weight, places in products.values()
    )


@needs_onnx
def test_names_shapes_and_operations_are_those_of_the_smaller_network(tmp_path, monkeypatch):
    """In memory, in the packed file, in both exported files, and in what is timed."""
    from robcomp import footprint

    dense, narrow = network("inverted"), compress(network("inverted"), "prune0.5:channel", DATA).module
    shapes = {name: tuple(layer.weight.shape) for name, layer in layers(narrow).items()}
    count = footprint.macs(narrow)
    assert (
        list(shapes) == list(layers(dense))
        and count < footprint.macs(dense)
        and all(
            part.out_channels == part.weight.shape[0] and part.in_channels == part.weight.shape[1] * part.groups
            for part in narrow.modules()
            if isinstance(part, nn.Conv2d)
        )
    )
    assert graph_macs(export_onnx(narrow, tmp_path / "float.onnx")) == count and graph_macs(
        export_onnx(dense, tmp_path / "dense.onnx")
    ) == footprint.macs(dense)
    ready = compress(network("inverted"), "prune0.5:channel+int8", DATA)
    codes = weight_codes(export_onnx(ready, tmp_path / "int8.onnx"))
    assert {name: (code.shape[:2], code.size) for name, code in codes.items()} == {
        name: (shape[:2], int(np.prod(shape))) for name, shape in shapes.items()
    }
    pack(ready.module, tmp_path / "net.robcomp", recipe=str(ready.recipe))
    again = unpack(tmp_path / "net.robcomp", module=dense)
    assert {name: tuple(layer.weight.shape) for name, layer in layers(again).items()} == shapes and footprint.macs(
        again
    ) == footprint.macs(ready.module) == count
    assert footprint.measure(again)["macs"] == count and footprint.measure(again)["params"] == footprint.measure(
        narrow
    )["params"] == sum(value.numel() for value in narrow.parameters())
    timed, run = [], footprint.scores_of_grey_image
    monkeypatch.setattr(
        footprint,
        "scores_of_grey_image",
        lambda module, batch=1: timed.append(sum(value.numel() for value in module.parameters())) or run(module, batch),
    )
    footprint.latency(narrow, repeats=1)
    assert set(timed) == {sum(value.numel() for value in narrow.parameters())}


@needs_onnx
def test_a_foreign_file_is_told_apart(tmp_path):
    import onnx

    nothing = onnx.helper.make_node("Identity", ["images"], ["scores"])
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3, 16, 16])
        for name in ("images", "scores")
    ]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([nothing], "foreign", ends[:1], ends[1:]),
        ir_version=8,
        opset_imports=[onnx.helper.make_opsetid("", 17)],
    )
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="does not say how its images are normalised"):
        predict(tmp_path / "net.onnx", DATA.test.images)


@pytest.mark.parametrize("name, call", [("onnx", "export_onnx(None, 'x.onnx')"), ("onnxruntime", "session('x.onnx')")])
def test_without_the_extra_one_line_says_so(name, call):
    code = f"import sys; sys.modules[{name!r}] = None\nfrom robcomp.deploy import *\n{call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == f"ImportError: {name} is not installed: pip install 'robcomp[onnx]'"


def test_times_take_turns():
    turns = []
    table = processor_seconds(dict(a=lambda: turns.append("a"), b=lambda: turns.append("b")), rounds=2, repeats=2)
    assert turns == list("aabbaabb") and list(table.index) == ["a", "b"] and (table >= 0).all()


@needs_onnx
@pytest.mark.parametrize("recipe", ["half", "prune0.5+half", "half+cluster4", "half+int8"])
def test_a_network_in_half_precision_is_exported_in_float32_and_says_the_same(recipe, tmp_path):
    """Rounded weights are float32 numbers; folding gives some of them more digits, and every runtime can run them."""
    import onnx

    torch.manual_seed(0)
    net = nn.Sequential(
        normed(nn.Conv2d(3, 8, 3, stride=2)),
        nn.ReLU(),
        normed(nn.Conv2d(8, 8, 3, groups=8)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(200, 6),
    )
    artifact = compress(model_from(net, name="halved", classes=6, contract=CONTRACT), recipe, DATA)
    export_onnx(artifact, tmp_path / "half.onnx")
    initial = onnx.load(tmp_path / "half.onnx").graph.initializer
    assert onnx.TensorProto.FLOAT16 not in {tensor.data_type for tensor in initial} and onnx.TensorProto.FLOAT in {
        tensor.data_type for tensor in initial
    }
    found = agreement(artifact.module, session(tmp_path / "half.onnx"), DATA.test.images)
    assert found["same"] == 1


def test_latency_counts_calls_and_keeps_threads_as_they_were():
    from robcomp.timing import measure_latency

    before, calls = torch.get_num_threads(), []
    found = measure_latency(lambda: calls.append(torch.get_num_threads()), batch=4, threads=1, repeats=7, warmup=3)
    assert (
        calls == [1] * 10
        and torch.get_num_threads() == before
        and {name: found[name] for name in ("batch", "threads", "repeats")} == dict(batch=4, threads=1, repeats=7)
    )
    assert 0 <= found["median_s"] <= found["p90_s"]
    with pytest.raises(ZeroDivisionError):
        measure_latency(lambda: 1 / 0, threads=1)
    assert torch.get_num_threads() == before


def test_latency_of_files_for_bytes_and_for_a_fixed_batch(tmp_path):
    import onnx
    from onnx import TensorProto, helper
    from robcomp.timing import measure_latency

    kinds = dict(bytes=TensorProto.UINT8, half=TensorProto.FLOAT16, whole=TensorProto.INT64)
    for name, kind in kinds.items():
        infos = [helper.make_tensor_value_info(side, kind, [3, 4, 4, 3]) for side in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], name, infos[:1], infos[1:])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / name)
    for name in ("bytes", "half"):
        assert measure_latency(tmp_path / name, batch=3, repeats=2)["repeats"] == 2
    for call, said in (
        (lambda: measure_latency(tmp_path / "bytes"), "takes 3 images at a time, not 1: pass batch=3"),
        (lambda: measure_latency(tmp_path / "whole", batch=3), r"takes tensor\(int64\): allowed are"),
        (lambda: measure_latency(tmp_path / "half", repeats=0), "repeats is a whole number from 1"),
        (lambda: measure_latency(tmp_path / "half", warmup=-1), "warmup is a whole number from 0"),
        (lambda: measure_latency(tmp_path / "half", batch=0), "batch is a whole number from 1"),
        (lambda: measure_latency(nn.Linear(1, 1)), "has no input contract"),
        (lambda: measure_latency(None), "runner is a path, a session, a network or a function, got NoneType"),
    ):
        with pytest.raises((TypeError, ValueError), match=said) as error:
            call()
        assert "\n" not in str(error.value)


@needs_onnx
@pytest.mark.parametrize(
    "name, said",
    [
        ("", "names no file"),
        ("no/net.onnx", "no folder .* to write 'net.onnx' in"),
        (".", "names no file"),
        ("a\0b", "names no file"),
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(name, said, tmp_path):
    path = tmp_path / name if name else name
    for write in (lambda: export_onnx(NETWORK, path), lambda: pack(NETWORK, path)):
        with pytest.raises(ValueError, match=said) as refused:
            write()
        assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


NETWORK = model_from(
    nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *head(8)), name="little", classes=6, contract=CONTRACT
)


@needs_onnx
@pytest.mark.parametrize(
    "call, said",
    [
        (lambda path: session(path, threads=-1), "threads is a whole number from 1 to 256, got -1"),
        (lambda path: session(path, threads=10**6), "threads is a whole number from 1 to 256, got 1000000"),
        (lambda path: session(path, threads=1.5), "threads is a whole number from 1 to 256, got 1.5"),
        (lambda path: session(path, threads="2"), "threads is a whole number from 1 to 256, got '2'"),
        (lambda path: predict(path, DATA.test.images, batch=0), "batch is a whole number from 1 to 1,000,000, got 0"),
        (lambda path: predict(path, DATA.test.images, batch=-1), "batch is a whole number from 1 to 1,000,000, got -1"),
        (lambda path: predict(path, DATA.test.images[:0]), "there are no images to answer for"),
        (lambda path: predict(None, DATA.test.images), "no ONNX file 'None'"),
        (lambda path: predict(3, DATA.test.images), "no ONNX file '3'"),
        (lambda path: agreement(NETWORK, path, DATA.test.images[:0]), "there are no images to answer for"),
        (lambda path: agreement(NETWORK, path, DATA.test.images, batch=None), "batch is a whole number"),
        (lambda path: export_onnx(NETWORK, path, opset="17"), "opset is a whole number from 1 to 1,000, got '17'"),
        (lambda path: export_onnx(NETWORK, path, opset=17.5), "opset is a whole number from 1 to 1,000, got 17.5"),
    ],
)
def test_what_is_no_setting_of_a_run_is_one_line(call, said, tmp_path):
    with pytest.raises(ValueError) as refused:
        call(export_onnx(NETWORK, tmp_path / "net.onnx"))
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


@needs_onnx
@pytest.mark.parametrize("images", [None, [[1, 2]], "pictures"])
def test_what_is_no_array_of_images_is_one_line(images, tmp_path):
    path = export_onnx(NETWORK, tmp_path / "net.onnx")
    for call in (lambda: predict(path, images), lambda: agreement(NETWORK, path, images)):
        with pytest.raises(
            TypeError, match="images are an array of .n, size, size, 3. uint8, got (NoneType|list|str)$"
        ):
            call()


@needs_onnx
def test_floats_that_are_no_pixels_are_one_line(tmp_path):
    path, pixels = export_onnx(NETWORK, tmp_path / "net.onnx"), DATA.test.images[:4].astype(np.float32)
    assert (predict(path, pixels) == predict(path, DATA.test.images[:4])).all() and len(predict(path, 0 * pixels)) == 4
    wrong = {"to 1: multiply them by 255": pixels / pixels.max(), "before they were normalised": pixels / 63 - 2}
    for said, images in wrong.items():
        for call in (lambda: predict(path, images), lambda: agreement(NETWORK, path, torch.from_numpy(images))):
            with pytest.raises(ValueError, match=f"images are uint8, or floats .*{said}") as refused:
                call()
            assert "\n" not in str(refused.value)


@needs_onnx
def test_one_image_is_a_batch_of_one(tmp_path):
    path, images = export_onnx(NETWORK, tmp_path / "net.onnx"), DATA.test.images
    assert (predict(path, images[3]) == predict(path, images[3:4])).all() and predict(path, images[3]).shape == (1, 6)
    found = agreement(NETWORK, path, torch.from_numpy(images[3]))
    assert found == agreement(NETWORK, path, images[3:4]) and found["n"] == 1


@needs_onnx
def test_a_packed_file_and_a_network_are_no_onnx_file(tmp_path):
    path, images = tmp_path / "net.robcomp", DATA.test.images
    pack(NETWORK, path)
    for call, said in (
        (lambda: predict(path, images), "net.robcomp' is a packed file: unpack it, then export_onnx"),
        (lambda: agreement(NETWORK, str(path), images), "net.robcomp' is a packed file: unpack it, then export_onnx"),
        (lambda: export_onnx(path, tmp_path / "net.onnx"), "net.robcomp' is a packed file: unpack it first"),
        (lambda: predict(NETWORK, images), "^Sequential is no ONNX file: write it with export_onnx"),
        (lambda: predict(compress(NETWORK, "int8", DATA), images), "^Artifact is no ONNX file: write it with"),
    ):
        with pytest.raises((TypeError, ValueError), match=said) as refused:
            call()
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 250


@needs_onnx
def test_an_artifact_agrees_as_its_network_does(tmp_path):
    artifact = compress(NETWORK, "int8", DATA)
    path = export_onnx(artifact, tmp_path / "net.onnx")
    images = DATA.test.images
    assert agreement(artifact, path, images) == agreement(artifact.module, path, images)
    for wrong in (None, "net.onnx"):
        with pytest.raises(TypeError, match="this takes a network .torch.nn.Module., got (NoneType|str)$"):
            agreement(wrong, path, images)


class Between(nn.Module):
    """A convolution, some operation, and a classifier."""

    def __init__(self, operation):
        super().__init__()
        self.first, self.last, self.operation = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 10), operation

    def forward(self, x):
        return self.last(self.operation(self.first(x)).mean((2, 3)))


def doubled_in_place(y):
    y[:, :4].mul_(2)
    return y


@pytest.mark.parametrize("recipe", ["dense", "int8"])
@pytest.mark.parametrize(
    "operation",
    [
        doubled_in_place,
        lambda y: nn.functional.avg_pool2d(y, 3, divisor_override=4),
        lambda y: torch.floor_divide(y, 0.3),
        lambda y: nn.functional.softplus(y, beta=3, threshold=1),
    ],
    ids=["in place", "divisor", "floor", "softplus"],
)
def test_a_file_with_other_scores_than_the_network_is_refused(tmp_path, operation, recipe):
    torch.manual_seed(0)
    digits = load("digits")
    network = model_from(Between(operation), name="net", classes=10, contract=contract_of(digits))
    with pytest.raises(ValueError, match="the file gives other scores than the network") as error:
        export_onnx(compress(network, recipe, digits), tmp_path / "net.onnx")
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
