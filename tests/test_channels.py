"""Channels that a network takes apart: every part loses the same share, or the whole stays and the artifact says so."""

import pytest
import torch
from torch import nn

from robcomp._compression.channels import channels_to_remove
from robcomp._compression.state import layers
from robcomp.compress import compress
from robcomp.data import InputContract
from robcomp.deploy import export_onnx
from robcomp.models import model_from
from robcomp.pack import pack, unpack

CONTRACT = InputContract(8, (128,) * 3, (64,) * 3)


class Branches(nn.Module):
    """64 channels, taken apart by `take_apart`, and a layer for each of two parts."""

    def __init__(self, take_apart, left=32, right=32):
        super().__init__()
        self.take_apart = take_apart
        self.stem, self.last = nn.Conv2d(3, 64, 3), nn.Linear(96, 4)
        self.left, self.right = nn.Conv2d(left, 32, 3, padding=1), nn.Conv2d(right, 64, 1)

    def forward(self, x):
        left, right = self.take_apart(self.stem(x).relu())
        return self.last(torch.cat([self.left(left), self.right(right)], 1).relu().mean((2, 3)))


class Partial(nn.Module):
    """Half of the channels go through two more layers and are added to themselves, as in detectors of the YOLO
    family."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = (
            nn.Conv2d(3, 64, 1),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, 32, 3, padding=1),
        )
        self.norm, self.mix, self.last = nn.BatchNorm2d(96), nn.Conv2d(96, 32, 1), nn.Linear(32, 4)

    def forward(self, x):
        early, late = self.stem(x).chunk(2, 1)
        deep = late + self.second(self.first(late).relu())
        return self.last(self.mix(self.norm(torch.cat([early, late, deep], 1))).relu().mean((2, 3)))


class Gated(nn.Module):
    """One half of the channels is multiplied by the other."""

    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = (
            nn.Conv2d(3, 64, 1, bias=False),
            nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False),
        )
        self.mix, self.last = nn.Conv2d(32, 32, 1), nn.Linear(32, 4)

    def forward(self, x):
        values, gate = self.depthwise(self.stem(x)).chunk(2, 1)
        return self.last(self.mix(values * gate.sigmoid()).relu().mean((2, 3)))


class Nested(nn.Module):
    """A half that is halved again, the later quarter read first."""

    def __init__(self):
        super().__init__()
        self.stem, self.second = nn.Conv2d(3, 128, 1), nn.Conv2d(64, 32, 1)
        self.third, self.fourth, self.last = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1), nn.Linear(96, 4)

    def forward(self, x):
        half, rest = self.stem(x).relu().chunk(2, 1)
        third, fourth = rest.chunk(2, 1)
        return self.last(torch.cat([self.second(half), self.fourth(fourth), self.third(third)], 1).relu().mean((2, 3)))


class Joined(nn.Module):
    """Two layers of different widths, concatenated and then split at another place."""

    def __init__(self):
        super().__init__()
        self.wide, self.thin = nn.Conv2d(3, 48, 1), nn.Conv2d(3, 16, 1)
        self.left, self.right, self.last = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1), nn.Linear(64, 4)

    def forward(self, x):
        left, right = torch.cat([self.wide(x), self.thin(x)], 1).relu().chunk(2, 1)
        return self.last(torch.cat([self.left(left), self.right(right)], 1).relu().mean((2, 3)))


class Turned(nn.Module):
    """The halves in the other order are added to the whole, so that channel 3 goes with channel 35."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix, self.last = nn.Conv2d(3, 64, 1), nn.Conv2d(64, 32, 1), nn.Linear(32, 4)

    def forward(self, x):
        x = self.stem(x).relu()
        first, second = x.chunk(2, 1)
        return self.last(self.mix(torch.cat([second, first], 1) + x).relu().mean((2, 3)))


class Hidden(nn.Module):
    """Linear features, one half of which gates the other."""

    def __init__(self):
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 8, 3), nn.Linear(8, 128)
        self.mix, self.last = nn.Linear(64, 32), nn.Linear(32, 4)

    def forward(self, x):
        values, gate = self.wide(self.stem(x).mean((2, 3))).chunk(2, -1)
        return self.last(self.mix(values * nn.functional.gelu(gate)).relu())


class Gates(nn.Module):
    """The same with a layer that is a gate."""

    def __init__(self):
        super().__init__()
        self.stem, self.wide, self.mix, self.last = (
            nn.Conv2d(3, 8, 3),
            nn.Linear(8, 128),
            nn.Linear(64, 32),
            nn.Linear(32, 4),
        )
        self.gate = nn.GLU()

    def forward(self, x):
        return self.last(self.mix(self.gate(self.wide(self.stem(x).mean((2, 3))))).relu())


class Lines(nn.Module):
    """Convolution along one dimension."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Conv1d(24, 64, 3), nn.Conv1d(32, 32, 1), nn.Conv1d(32, 48, 1)
        self.last = nn.Linear(80, 4)

    def forward(self, x):
        left, right = self.stem(x.flatten(1, 2)).chunk(2, 1)
        return self.last(torch.cat([self.right(right.relu()), self.left(left.relu())], 1).relu().mean(2))


def quarter(x):
    first = x.shape[1] // 4
    return torch.split(x, [first, x.shape[1] - first], 1)


class Ending(nn.Module):
    """Parts that go to the classifier itself."""

    def __init__(self, end, features):
        super().__init__()
        self.stem, self.end, self.last = nn.Conv2d(3, 64, 3), end, nn.Linear(features, 4)

    def forward(self, x):
        return self.last(self.end(*self.stem(x).chunk(2, 1)).mean((2, 3)))


class Voting(nn.Module):
    """Two classifiers, each of one part."""

    def __init__(self, apart):
        super().__init__()
        self.first, self.stem, self.apart, self.one, self.two = (
            nn.Conv2d(3, 32, 3),
            nn.Conv2d(32, 64, 3),
            apart,
            nn.Linear(32, 4),
            nn.Linear(32, 4),
        )

    def forward(self, x):
        one, two = self.apart(self.stem(self.first(x).relu()).mean((2, 3)))
        return self.one(one) + self.two(two)


CUT = {  # the network, the layer whose outputs are taken apart, and how many of them stay of half
    "chunk": (lambda: Branches(lambda x: x.chunk(2, 1)), "stem", 32),
    "the other order": (lambda: Branches(lambda x: torch.chunk(x, 2, dim=1)[::-1]), "stem", 32),
    "split by the half": (lambda: Branches(lambda x: torch.split(x, x.shape[1] // 2, 1)), "stem", 32),
    "split by shares": (lambda: Branches(quarter, 16, 48), "stem", 32),
    "tensor_split": (lambda: Branches(lambda x: torch.tensor_split(x, 2, dim=1)), "stem", 32),
    "slices": (lambda: Branches(lambda x: (x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :])), "stem", 32),
    "slices from the end": (
        lambda: Branches(lambda x: (x[:, : -x.shape[1] // 2], x[:, -x.shape[1] // 2 :])),
        "stem",
        32,
    ),
    "a half unread": (lambda: Branches(lambda x: (x.chunk(2, 1)[1],) * 2), "stem", 32),
    "the middle of four": (lambda: Branches(lambda x: x.chunk(4, 1)[1:3], 16, 16), "stem", 32),
    "partial": (Partial, "stem", 32),
    "gated": (Gated, "stem", 32),
    "nested": (Nested, "stem", 64),
    "joined": (Joined, "wide", 24),
    "ending together": (lambda: Ending(lambda a, b: torch.cat([a.relu(), b.abs()], 1), 64), "stem", 32),
    "ending in a sum": (lambda: Ending(lambda a, b: a.relu() + b.abs(), 32), "stem", 32),
    "ending in a gate": (lambda: Ending(lambda a, b: a * b.sigmoid(), 32), "stem", 32),
    "one ending": (lambda: Ending(lambda a, b: a, 32), "stem", 32),
    "voting": (lambda: Voting(lambda x: x.chunk(2, 1)), "stem", 32),
    "glu": (lambda: Ending(lambda *parts: nn.functional.glu(torch.cat(parts, 1), 1), 32), "stem", 32),
    "a gate of features": (Gates, "wide", 64),
    "turned": (Turned, "stem", 32),
    "hidden": (Hidden, "wide", 64),
    "lines": (Lines, "stem", 32),
}
WHOLE = {
    "split at numbers": lambda: Branches(lambda x: torch.split(x, [32, 32], 1)),
    "split by a number": lambda: Branches(lambda x: x.split(32, 1)),
    "slices at numbers": lambda: Branches(lambda x: (x[:, :16], x[:, 16:]), 16, 48),
    "every other": lambda: Branches(lambda x: (x[:, ::2], x[:, 1::2])),
    "unbind": lambda: Branches(lambda x: x.unflatten(1, (2, -1)).unbind(1)),
}


def model_of(network, name):
    return model_from(network, name=name.replace(" ", "_"), classes=4, contract=CONTRACT)


def silenced(model, removed):
    """Scores of a network in which the removed outputs are zero."""
    parts = dict(model.named_modules())
    with torch.no_grad():
        for name, dimensions in removed.items():
            for tensor in (parts[name].weight, parts[name].bias):
                if tensor is not None:
                    tensor[sorted(dimensions.get(0, ()))] = 0


@pytest.mark.parametrize("name", CUT)
def test_every_part_loses_the_same_share(name, tmp_path):
    torch.manual_seed(0)
    make, layer, stays = CUT[name]
    model, x = model_of(make(), name), torch.randn(5, 3, 8, 8)
    artifact = compress(model, "prune0.5:channel")
    assert len(layers(artifact.module)[layer].weight) == stays and artifact.remarks() == []
    with torch.no_grad():
        found = artifact.module(x)
    pack(artifact.module, tmp_path / "cut.robcomp")
    again = unpack(tmp_path / "cut.robcomp", module=model_of(make(), name))
    removed, left_whole = channels_to_remove(model, 0.5, set())
    silenced(model, removed)
    with torch.no_grad():
        assert torch.allclose(model(x), found, atol=1e-5) and torch.equal(again(x), found) and not left_whole


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_split_at_fixed_places_stays_and_is_said(name, capsys):
    torch.manual_seed(0)
    model, x = model_of(WHOLE[name](), name), torch.randn(5, 3, 8, 8)
    artifact = compress(model, "prune0.5:channel")
    shapes = {own: layer.weight.shape[0] for own, layer in layers(artifact.module).items()}
    assert shapes == dict(stem=64, left=16, right=32, last=4)
    remark = "prune0.5:channel leaves stem whole: the network splits these channels and does not work with fewer"
    assert (
        artifact.remarks() == [remark]
        and capsys.readouterr().err == f"robcomp: {remark}\n"
        and remark in artifact._repr_html_()
    )
    removed, left_whole = channels_to_remove(model, 0.5, set())
    silenced(model, removed)
    with torch.no_grad():
        assert torch.allclose(model(x), artifact.module(x), atol=1e-5) and list(left_whole) == ["stem"]


@pytest.mark.parametrize(
    "apart",
    [lambda x: x.split([32, 32], 1), lambda x: (x[:, :32], x[:, 32:]), lambda x: x.unflatten(1, (2, -1)).unbind(1)],
)
def test_parts_that_go_to_classifiers_and_cannot_be_cut_are_said(apart):
    artifact = compress(model_of(Voting(apart), "voting"), "prune0.5:channel")
    assert (artifact.module.first.out_channels, artifact.module.stem.out_channels) == (16, 64)
    assert artifact.remarks() == [
        "prune0.5:channel leaves stem whole: the network splits these channels and does not work with fewer"
    ]


def test_where_nothing_else_can_be_cut_the_split_is_named():
    class Fixed(Ending):
        def forward(self, x):
            return self.last(torch.cat(self.stem(x).split([32, 32], 1), 1).mean((2, 3)))

    with pytest.raises(
        ValueError,
        match=r"no channel can go: .* or reaches a layer that cannot be cut \(it leaves stem whole: "
        "the network splits these channels and does not work",
    ) as error:
        compress(model_of(Fixed(None, 64), "fixed"), "prune0.5:channel")
    assert "\n" not in str(error.value)


def test_one_split_that_works_and_one_that_does_not():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.good, self.bad = Branches(lambda x: x.chunk(2, 1)), Branches(lambda x: x.split(32, 1))

        def forward(self, x):
            return self.bad(x) + self.good(x)

    artifact = compress(model_of(Both(), "both"), "prune0.5:channel")
    assert artifact.module.good.stem.out_channels == 32 and artifact.module.bad.stem.out_channels == 64
    assert [line.split(" whole")[0] for line in artifact.remarks()] == ["prune0.5:channel leaves bad.stem"]


def test_parts_that_cannot_lose_the_same_share_are_said():
    """32 channels in three parts are 11, 11 and 10."""

    class Thirds(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.mix, self.last = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 1), nn.Linear(32, 4)

        def forward(self, x):
            return self.last(self.mix(torch.cat(self.stem(x).chunk(3, 1)[::-1], 1)).relu().mean((2, 3)))

    artifact = compress(model_of(Thirds(), "thirds"), "prune0.5:channel")
    assert (artifact.module.stem.out_channels, artifact.module.mix.out_channels) == (32, 16)
    assert artifact.remarks() == [
        "prune0.5:channel leaves stem whole: the network splits these channels into parts that cannot lose the same "
        "share of them"
    ]


def test_channels_of_which_the_larger_is_taken_cannot_be_followed():
    class Largest(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.mix, self.last = nn.Conv2d(3, 32, 3), nn.Conv2d(16, 32, 1), nn.Linear(32, 4)

        def forward(self, x):
            return self.last(self.mix(self.stem(x).unflatten(1, (16, 2)).amax(2)).relu().mean((2, 3)))

    with pytest.raises(ValueError, match="prune weights instead, as prune0.5$") as error:
        compress(model_of(Largest(), "largest"), "prune0.5:channel")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("amount, stays", [(0.15, 64), (0.25, 48), (0.3, 48), (0.75, 16), (0.9, 16)])
def test_a_multiple_of_eight_stays_of_every_part(amount, stays):
    artifact = compress(model_of(Branches(lambda x: x.chunk(2, 1)), "chunk"), f"prune{amount}:channel")
    assert artifact.module.stem.out_channels == stays and artifact.remarks() == []


def test_kept_layers_keep_what_they_give_to_a_split():
    artifact = compress(model_of(Branches(lambda x: x.chunk(2, 1)), "chunk"), "prune0.5:channel", keep=["left"])
    assert artifact.module.stem.out_channels == 64 and artifact.module.left.out_channels == 32


@pytest.mark.parametrize(
    "recipe", ["prune0.3+cluster8+prune0.5:channel+int8:weights", "prune0.5:channel+prune0.5:channel"]
)
def test_in_recipes_and_in_onnx(recipe, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    artifact = compress(model_of(Partial(), "partial"), recipe)
    export_onnx(artifact.module, tmp_path / "partial.onnx")
    images = torch.randn(1, 3, 8, 8)
    session = onnxruntime.InferenceSession(tmp_path / "partial.onnx")
    scores = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(scores), artifact.module(images), atol=1e-4)
