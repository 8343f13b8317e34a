"""What a network weighs, counted by hand: parameters, operations, bytes; shared weights once, masked weights not."""

import copy
import gzip

import numpy as np
import pytest
import torch
from torch import nn

from robcomp._compression.state import layers, plain
from robcomp.compress import compress
from robcomp.data import InputContract
from robcomp.footprint import encodings, gzip_bytes, latency, macs, measure
from robcomp.models import make_model, model_from
from robcomp.pack import pack

CONTRACT = InputContract(8, (128,) * 3, (64,) * 3)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.grouped = nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.Conv2d(8, 12, 1, groups=2)
        self.first, self.second, self.last = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        x = self.grouped(self.depthwise(self.norm(self.stem(x)).relu()).relu()).mean((2, 3))
        return self.last(self.second(self.first(x).relu()).relu())


WEIGHTS = 8 * 3 * 9 + 8 * 9 + 12 * 4 + 12 * 12 + 4 * 12
OTHERS = 2 * 8 + 8 + 12 + 12 + 12 + 4
BUFFERS = 2 * 8
MACS = 16 * (8 * 27 + 8 * 9 + 12 * 4) + 2 * 12 * 12 + 4 * 12


@pytest.fixture
def net():
    torch.manual_seed(0)
    return model_from(Net(), name="net", classes=4, contract=CONTRACT)


def test_a_network_counted_by_hand(net):
    found = measure(net, size_bytes=123)
    zero = sum(int((tensor == 0).sum()) for tensor in net.parameters())
    assert found["params"] == WEIGHTS + OTHERS == sum(tensor.numel() for tensor in net.parameters())
    assert found["nonzero"] == found["params"] - zero and found["size_bytes"] == 123
    assert found["macs"] == MACS and found["dense_bytes"] == 4 * (WEIGHTS + OTHERS + BUFFERS)
    assert found["distinct_codes"] == max(layer.weight.unique().numel() for layer in layers(net).values())
    assert found["gzip_bytes"] < found["dense_bytes"]


@pytest.mark.parametrize(
    "recipe, distinct",
    [
        ("prune0.5", None),
        ("cluster4", 4),
        ("prune0.5+cluster4", 4),
        ("int2:weights", 3),
        ("prune0.5+cluster4+int8:weights", 4),
    ],
)
def test_what_compression_changes_and_what_it_does_not(net, recipe, distinct):
    dense, made = measure(net), measure(compress(net, recipe).module)
    assert (made["params"], made["macs"], made["dense_bytes"]) == (dense["params"], dense["macs"], dense["dense_bytes"])
    assert made["gzip_bytes"] < dense["gzip_bytes"]
    if distinct:
        assert made["distinct_codes"] <= distinct
    if "prune" in recipe:
        assert dense["nonzero"] - made["nonzero"] >= WEIGHTS // 2 - 1


def test_the_network_stays_as_it_is(net):
    module = compress(net, "prune0.5+cluster4+int8:weights").module
    before, hooks = copy.deepcopy(module.state_dict()), [len(part._forward_hooks) for part in module.modules()]
    measure(module), encodings(module), latency(module, repeats=1)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert [len(part._forward_hooks) for part in module.modules()] == hooks


def test_encodings_are_those_of_real_files(net, tmp_path):
    module = compress(net, "prune0.5+cluster4+int8:weights").module
    table = encodings(module)
    assert list(table.index) == ["fp32", "fp32, gzip", "int8 weights, gzip", "packed"]
    assert table.bytes["packed"] == pack(module, tmp_path / "model") == (tmp_path / "model").stat().st_size
    assert np.allclose(table.ratio, table.bytes["fp32"] / table.bytes)
    assert "int8 weights, gzip" not in encodings(net).index


def test_gzip_is_that_of_the_standard_library_and_the_same_every_time(net):
    tensors = dict(weight=net.stem.weight.detach(), bias=net.last.bias.detach())
    assert gzip_bytes(tensors) == gzip_bytes(tensors)
    raw = b"".join(tensor.numpy().tobytes() for tensor in tensors.values())
    assert gzip_bytes(tensors) == len(gzip.compress(raw, 6))


def test_a_compressed_network_takes_the_same_gzip_as_its_plain_weights(net):
    module = compress(net, "prune0.5+cluster4").module
    assert measure(module)["gzip_bytes"] == measure(_known(plain(module), net))["gzip_bytes"]


def _known(module, like):
    module.arch, module.classes, module.contract = like.arch, like.classes, like.contract
    return module


@pytest.mark.parametrize(
    "arch, params, operations",
    [
        ("resnet50", 23_520_842, 1.30e9),
        ("resnet50_pooled", 23_520_842, 330e6),
        ("vgg19", 20_040_522, 398e6),
        ("mobilenetv2", 2_236_682, 88e6),
    ],
)
def test_the_three_networks(arch, params, operations):
    with torch.device("meta"):
        shapes = make_model(arch)
    assert sum(tensor.numel() for tensor in shapes.parameters()) == params
    assert abs(macs(make_model(arch)) / operations - 1) < 0.02


def test_latency_is_a_time(net):
    assert isinstance(latency(net, batch=2, repeats=1), float)
