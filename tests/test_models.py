import gc
import json
import os
import warnings
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from robcomp.data import CIFAR_CONTRACT, InputContract, as_input, load
from robcomp.models import load_weights, make_model, misfit, model_from, save_weights, weights_sha256
from robcomp.training import accuracy

CIFAR, WEIGHTS = (Path(os.environ.get(name, "/nowhere")) for name in ("ROBCOMP_DATA", "ROBCOMP_WEIGHTS"))


def tiny(outputs=10):
    layers = [nn.Conv2d(3, 4, 3, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, outputs)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    "arch, layers, strided", [("resnet50", 53, 6), ("resnet50_pooled", 53, 6), ("vgg19", 16, 0), ("mobilenetv2", 52, 3)]
)
def test_architectures(arch, layers, strided):
    model = make_model(arch, classes=7)
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == layers and sum(conv.stride == (2, 2) for conv in convs) == strided
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert not any(module.training for module in model.modules()) and model.arch == arch and model.classes == 7


def test_state_dict_names_are_torchvisions():
    from torchvision import models

    for arch, original in dict(resnet50=models.resnet50, mobilenetv2=models.mobilenet_v2).items():
        with torch.device("meta"):
            names = list(original().state_dict())
        assert list(make_model(arch).state_dict()) == names
    with torch.device("meta"):
        names = [name for name in models.vgg19_bn().state_dict() if name.startswith("features")]
    assert list(make_model("vgg19").state_dict()) == [*names, "classifier.weight", "classifier.bias"]


def test_the_pooled_resnet_differs_in_its_stem_alone():
    wide, pooled = make_model("resnet50"), make_model("resnet50_pooled")
    assert weights_sha256(wide) == weights_sha256(pooled) and pooled.arch == "resnet50_pooled"
    with torch.no_grad():
        assert not torch.equal(wide(torch.ones(1, 3, 32, 32)), pooled(torch.ones(1, 3, 32, 32)))


def test_residual_branches_that_start_at_zero():
    usual = make_model("resnet50_pooled").state_dict()
    zero = make_model("resnet50_pooled", zero_residual=True).state_dict()
    changed = [name for name, tensor in usual.items() if not torch.equal(tensor, zero[name])]
    assert len(changed) == 16 and all(name.endswith("bn3.weight") and not zero[name].any() for name in changed)
    for arch in ("resnet50", "vgg19", "mobilenetv2"):
        with pytest.raises(ValueError, match="zero_residual is an option of resnet50_pooled"):
            make_model(arch, zero_residual=True)


@pytest.mark.parametrize("arch, size", [("mobilenetv2", 64), ("vgg19", 64), ("mobilenetv2", 16)])
def test_other_sizes(arch, size):
    contract = InputContract(size, CIFAR_CONTRACT.mean, CIFAR_CONTRACT.std)
    images = np.zeros((2, size, size, 3), np.uint8)
    with torch.no_grad():
        assert make_model(arch, contract=contract)(as_input(images, contract)).shape == (2, 10)


def test_no_tensor_of_vgg19_is_left_without_numbers():
    assert not any(tensor.is_meta for tensor in make_model("vgg19").state_dict().values())


def test_an_unknown_architecture_and_images_that_are_too_small():
    with pytest.raises(ValueError, match="did you mean 'resnet50'?"):
        make_model("resnet18")
    small = InputContract(28, CIFAR_CONTRACT.mean, CIFAR_CONTRACT.std)
    with pytest.raises(ValueError, match="at least 32 pixels a side, got 28"):
        make_model("vgg19", contract=small)


def test_the_random_numbers_of_the_caller_go_on():
    state = torch.get_rng_state()
    make_model("mobilenetv2")
    assert torch.equal(state, torch.get_rng_state())


def test_seeds():
    assert weights_sha256(make_model("mobilenetv2")) == weights_sha256(make_model("mobilenetv2", seed=0))
    assert weights_sha256(make_model("mobilenetv2")) != weights_sha256(make_model("mobilenetv2", seed=1))


@pytest.mark.parametrize(
    "module, message",
    [
        (tiny(7), r"should return 10 scores an image, \(2, 10\) for two, got \(2, 7\)"),
        (nn.Conv2d(3, 10, 3), r"got \(2, 10, 30, 30\)"),
        (nn.Linear(5, 10), "fails on two images of 32 x 32"),
        (nn.LSTM(32, 10), "fails on two images"),
    ],
)
def test_modules_that_are_no_classifiers(module, message):
    with pytest.raises(ValueError, match=message) as error:
        model_from(module, name="own", classes=10, contract=CIFAR_CONTRACT)
    assert "\n" not in str(error.value) and not hasattr(module, "arch")


def test_making_a_module_known_changes_no_weight():
    module = tiny().train()
    before = weights_sha256(module)
    assert model_from(module, name="own", classes=10, contract=CIFAR_CONTRACT) is module
    assert weights_sha256(module) == before


# weights


def test_half_precision_is_widened_and_has_the_digest_of_its_values(tmp_path):
    model = tiny()
    halves = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in model.state_dict().items()}
    save_file(halves, tmp_path / "half.safetensors")
    load_weights(model, tmp_path / "half.safetensors")
    assert model[0].weight.dtype == torch.float32 and torch.equal(model[0].weight, halves["0.weight"].float())
    assert weights_sha256(model) == weights_sha256(tmp_path / "half.safetensors")
    assert weights_sha256(save_weights(model, tmp_path / "full.safetensors")) == weights_sha256(model)


def test_the_digest_sees_every_part():
    tensors = tiny().state_dict()
    base = weights_sha256(tiny_with(tensors))
    for name in tensors:
        changed = {key: tensor.clone() for key, tensor in tensors.items()}
        changed[name].view(-1)[-1] += 1
        assert weights_sha256(tiny_with(changed)) != base, name


def tiny_with(tensors):
    model = tiny()
    model.load_state_dict(tensors)
    return model


def test_shared_and_strided_tensors_can_be_saved(tmp_path):
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Conv2d(3, 4, 3)).to(memory_format=torch.channels_last)
    model[1].weight = model[0].weight
    twin = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Conv2d(3, 4, 3))
    load_weights(twin, save_weights(model, tmp_path / "w.safetensors"))
    assert all(torch.equal(a, twin.state_dict()[name]) for name, a in model.state_dict().items())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda tensors: tensors.pop("1.bias"), "own: 1.bias is missing there$"),
        (lambda tensors: tensors.update({"5.weight": torch.zeros(2)}), "own: 5.weight is not in this network$"),
        (
            lambda tensors: tensors.update({"4.weight": torch.zeros(3, 256), "4.bias": torch.zeros(3)}),
            r"own: 4.weight is \(3, 256\) there and \(10, 256\) here, and 1 more$",
        ),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change, message, tmp_path):
    model = model_from(tiny(), name="own", classes=10, contract=CIFAR_CONTRACT)
    before, tensors = weights_sha256(model), {name: tensor + 1 for name, tensor in model.state_dict().items()}
    change(tensors)
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=message):
        load_weights(model, tmp_path / "w.safetensors")
    assert weights_sha256(model) == before


def test_misfit_counts_missing_and_extra():
    a, b = dict(x=torch.zeros(1), y=torch.zeros(2)), dict(y=torch.zeros(3), z=torch.zeros(1))
    assert misfit(a, b) == "x is missing there, and 2 more" and misfit(a, a) == ""


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_cut_or_scrambled_head_is_refused_or_fits(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("w") / "w.safetensors"
    content = bytearray(save_weights(tiny(), path).read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(3):
            content[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    model = tiny()
    before = weights_sha256(model)
    try:
        load_weights(model, path)
    except ValueError as error:
        assert "\n" not in str(error) and weights_sha256(model) == before


def test_no_weights_file(tmp_path):
    with pytest.raises(ValueError, match="no weights file '.*w.safetensors'"):
        load_weights(tiny(), tmp_path / "w.safetensors")


@pytest.mark.skipif(not (CIFAR / "cifar-10-batches-py").is_dir(), reason="ROBCOMP_DATA holds no CIFAR-10")
@pytest.mark.parametrize("arch, right", [("mobilenetv2", 461), ("vgg19", 468)])
def test_trained_weights_load_and_classify(arch, right):
    path = WEIGHTS / f"{arch}_cifar10.safetensors"
    if not path.is_file():
        pytest.skip(f"no trained weights at {path.name}: name their folder in ROBCOMP_WEIGHTS")
    model, test = load_weights(make_model(arch), path), load("cifar10").test.take(slice(0, 500))
    model.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = model(as_input(test.images, model.contract)).argmax(1).numpy()
    assert abs((found == test.labels).sum() - right) <= 1
    assert weights_sha256(model) == weights_sha256(path)


# ---------------------------------------------------------------------------------------------- weights from elsewhere


class Runs:
    def __reduce__(self):
        return print, ("this must never run",)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_of_training_scripts(tmp_path, capsys, wrapper, prefix, legacy):
    model, twin = tiny(), tiny()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.uniform_(-1, 1)
    tensors = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    content = {wrapper: tensors, "optimizer": {"lr": 0.1}, "epoch": 3} if wrapper else tensors
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    load_weights(twin, tmp_path / "w.pth")
    assert weights_sha256(twin) == weights_sha256(model) == weights_sha256(tmp_path / "w.pth")
    said = capsys.readouterr().err
    assert said.count("\n") == bool(wrapper or prefix) and (not wrapper or repr(wrapper) in said)


def test_checkpoints_refused_in_one_line(tmp_path, capsys):
    state, path = tiny().state_dict(), tmp_path / "w.pth"
    codes = {name: tensor.to(torch.int8) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    refused = [
        (dict(state_dict=state, hook=Runs()), "holds no plain tensors"),
        ([1, 2], "holds no mapping of names to tensors"),
        (dict(model=state, net=state), "several sets of weights \\(model, net\\)"),
        (dict(state, epoch=3), "no mapping of names"),
        (codes, "numbers without their scales"),
        ({}, "no mapping of names"),
    ]
    for content, words in refused:
        torch.save(content, path)
        model = tiny()
        before = weights_sha256(model)
        with pytest.raises(ValueError, match=words) as error:
            load_weights(model, path)
        assert "\n" not in str(error.value) and weights_sha256(model) == before
    assert "must never run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda tensor: tensor.to(torch.float8_e4m3fn), "holds torch.float8_e4m3fn for 0.weight: numbers without"),
        (lambda tensor: tensor.to_sparse(), "holds 0.weight sparse"),
        (lambda tensor: tensor.to("meta"), "holds 0.weight on no device"),
        (lambda tensor: tensor * float("nan"), "holds values of 0.weight that are no finite numbers"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path, change, said):
    model = tiny()
    before = weights_sha256(model)
    torch.save(
        {name: change(value) if value.is_floating_point() else value for name, value in tiny().state_dict().items()},
        tmp_path / "x.pt",
    )
    with pytest.raises(ValueError, match=said) as error:
        load_weights(model, tmp_path / "x.pt")
    assert "\n" not in str(error.value) and weights_sha256(model) == before


def test_checkpoints_say_what_was_narrowed_and_what_is_not_opened(tmp_path, capsys):
    model, tensors = tiny(), tiny().state_dict()
    torch.save(
        {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()},
        tmp_path / "x.pt",
    )
    load_weights(model, tmp_path / "x.pt")
    assert "narrowed float64" in capsys.readouterr().err
    for content, said in (
        (dict(state_dict=tensors, options=Namespace(lr=1)), "an object of argparse.Namespace, which"),
        (dict(enumerate(tensors.values())), "holds no mapping of names to tensors"),
    ):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(ValueError, match=said) as error:
            load_weights(model, tmp_path / "x.pt")
        assert not {"\n", "\x1b"} & set(str(error.value))
    for path in (None, 5, b"x.pt"):
        with pytest.raises(TypeError, match="is named by a text or a Path"):
            load_weights(model, path)


def test_checkpoints_damaged_or_swollen(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(tiny().state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="holds no plain tensors"):
        load_weights(tiny(), path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data/0", bytes(10**7))
    with pytest.raises(ValueError, match="unpack to more bytes than it has"):
        load_weights(tiny(), path)


def test_tensors_that_repeat_a_few_bytes_are_refused_before_they_are_looked_at(tmp_path, monkeypatch):
    path = tmp_path / "w.pt"
    torch.save({"0.weight": torch.zeros(1).expand(10**4, 10**5)}, path)
    monkeypatch.setattr(torch, "isfinite", lambda tensor: pytest.fail("four gigabytes were looked at"))
    with pytest.raises(ValueError, match="holds tensors of 4,000,000,000 bytes in a file of [0-9,]+, as expand makes"):
        load_weights(tiny(), path)


def test_a_weight_under_two_names_counts_once(tmp_path):
    weight = torch.randn(100, 100)
    torch.save({"0.weight": weight, "1.weight": weight}, tmp_path / "w.pt")
    assert weights_sha256(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "tensors, said",
    [
        ({}, "holds no tensors: save model.state_dict"),
        ({"0.weight": dict(dtype="F4", shape=[8], data_offsets=[0, 4])}, "holds tensors of 'F4', numbers without"),
        ({"0.weight": dict(dtype="F8_E8M0", shape=[4], data_offsets=[0, 4])}, "holds tensors of 'F8_E8M0', numbers"),
    ],
)
def test_safetensors_without_weights_are_refused_in_one_line(tensors, said, tmp_path):
    head = json.dumps(tensors).encode()
    (tmp_path / "w.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4) * bool(tensors))
    with pytest.raises(ValueError, match=said) as error:
        load_weights(tiny(), tmp_path / "w.safetensors")
    assert "\n" not in str(error.value)


def test_a_file_of_weights_is_closed(tmp_path):
    save_weights(tiny(), tmp_path / "w.safetensors")
    gc.collect()  # what other tests have left
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        load_weights(tiny(), tmp_path / "w.safetensors")
        gc.collect()
    assert not [one for one in said if issubclass(one.category, ResourceWarning)]


def test_weights_for_a_folder_that_is_absent_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="^no folder '.*/no' to write 'w.safetensors' in: make it, or name another$"):
        save_weights(tiny(), tmp_path / "no" / "w.safetensors")


def test_counters_of_batches_may_be_absent(tmp_path, capsys):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    old = {name: tensor for name, tensor in model.state_dict().items() if "num_batches" not in name}
    torch.save(old, tmp_path / "old.pth")
    load_weights(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), tmp_path / "old.pth")
    assert "left 1 counters of batches" in capsys.readouterr().err


class Casting(nn.Module):
    """A network that casts within its forward pass: what goes into its last layer, its scores, or its own weights."""

    def __init__(self, kind, place):
        super().__init__()
        self.stem, self.last, self.kind, self.place = nn.Conv2d(3, 4, 3), nn.Linear(4, 6), kind, place

    def forward(self, x):
        if self.place == "weights":
            self.to(self.kind)
        x = self.stem(x.to(self.stem.weight.dtype)).mean((2, 3))
        if self.place == "inside":
            x = x.to(self.kind)
        if self.place == "mixed":
            with torch.autocast("cpu", self.kind):
                return self.last(x)
        return self.last(x).to(self.kind) if self.place == "scores" else self.last(x)


@pytest.mark.parametrize(
    "place, kind, said",
    [
        (
            "inside",
            torch.bfloat16,
            "casts to bfloat16, which fails in last because weights are float32: take the cast out$",
        ),
        (
            "inside",
            torch.float64,
            "casts to float64, which fails in last because weights are float32: take the cast out$",
        ),
        (
            "weights",
            torch.bfloat16,
            "turns its own weights into bfloat16 when it runs, robcomp keeps them in float32: take",
        ),
        ("weights", torch.float64, "turns its own weights into float64 when it runs"),
        ("scores", torch.bfloat16, "returns scores in bfloat16: let its forward pass end with .float"),
        ("scores", torch.float16, "returns scores in float16"),
        ("scores", torch.int64, "returns scores in int64"),
        ("mixed", torch.bfloat16, "returns scores in bfloat16"),
    ],
)
def test_a_network_that_casts_is_told_so(place, kind, said):
    with pytest.raises(ValueError, match=said) as caught:
        model_from(Casting(kind, place), name="casting", classes=6, contract=CIFAR_CONTRACT)
    assert "\n" not in str(caught.value) and "contract" not in str(caught.value)


def test_a_cast_that_does_no_harm_hides_no_other_fault():
    class Wide(Casting):
        def forward(self, x):
            return self.last((self.stem(x).double() * 2).float().flatten(1))

    with pytest.raises(ValueError, match="mat1 and mat2 shapes.*does its contract fit"):
        model_from(Wide(None, ""), name="wide", classes=6, contract=CIFAR_CONTRACT)
    double = model_from(Casting(torch.float64, "scores"), name="double", classes=6, contract=CIFAR_CONTRACT)
    assert {value.dtype for value in double.parameters()} == {torch.float32}


class Mixing(nn.Module):
    """A network that does something to its scores, or to what it takes them from."""

    def __init__(self, then, norm=None):
        super().__init__()
        self.stem, self.norm, self.last, self.then = nn.Conv2d(3, 4, 3), norm or nn.Identity(), nn.Linear(4, 6), then

    def forward(self, x):
        return self.then(self.last(self.norm(self.stem(x)).mean((2, 3))))


ALONE = "let its forward pass compute each image alone, with no mean, softmax"


@pytest.mark.parametrize(
    "then, norm, said",
    [
        (lambda y: y - y.mean(0), None, ALONE),
        (lambda y: y.softmax(0), None, ALONE),
        (lambda y: y - y.roll(1, 0), None, ALONE),
        (lambda y: y if len(y) < 5 else -y, None, ALONE),
        (
            lambda y: y,
            nn.BatchNorm2d(4, track_running_stats=False),
            "layer norm normalises by the batch it is in, let it keep running statistics$",
        ),
    ],
    ids=["mean", "softmax", "neighbour", "number", "norm"],
)
def test_a_network_that_mixes_the_images_of_a_batch_is_refused_at_once(then, norm, said):
    torch.manual_seed(0)
    network = Mixing(then, norm)
    match = f"^'mine' gives an image other scores where other images are in its batch: {said}"
    with pytest.raises(ValueError, match=match) as caught:
        model_from(network, name="mine", classes=6, contract=CIFAR_CONTRACT)
    assert "\n" not in str(caught.value) and not hasattr(network, "contract")


@pytest.mark.parametrize(
    "then", [lambda y: nn.functional.dropout(y, 0.5), lambda y: y + torch.randn_like(y)], ids=["dropout", "noise"]
)
def test_a_network_that_draws_random_numbers_is_refused_at_once(then):
    network = Mixing(then)
    match = "^'mine' gives an image other scores each time it is asked: leave out what draws random numbers"
    with pytest.raises(ValueError, match=match) as caught:
        model_from(network, name="mine", classes=6, contract=CIFAR_CONTRACT)
    assert "\n" not in str(caught.value) and not hasattr(network, "contract")


@pytest.mark.parametrize("then", [lambda y: y.reshape(2, 6), lambda y: y[:2]], ids=["reshape", "part"])
def test_a_network_for_two_images_alone_is_refused_at_once(then):
    match = r"^'two' answers for 2 images and not for 3 \(.*\): let its forward pass take any number of images$"
    with pytest.raises(ValueError, match=match) as caught:
        model_from(Mixing(then), name="two", classes=6, contract=CIFAR_CONTRACT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrap, said",
    [
        (torch.jit.script, "'net' is compiled by torch.jit: pass the network that it was made from$"),
        (nn.DataParallel, r"'net' is wrapped \(DataParallel\): pass the network inside, as network.module$"),
        (torch.compile, r"'net' is wrapped \(OptimizedModule\): pass the network inside, as network._orig_mod$"),
        (lambda net: net.state_dict(), "'net' is made of a torch.nn.Module, got OrderedDict$"),
    ],
    ids=["script", "parallel", "compile", "weights"],
)
def test_a_network_in_a_wrapping_is_told_so(wrap, said):
    with pytest.raises((TypeError, ValueError), match=said):
        model_from(wrap(tiny()), name="net", classes=10, contract=CIFAR_CONTRACT)


class Odd(nn.Module):
    """A network of one layer that does something of its own."""

    def __init__(self, make, run):
        super().__init__()
        self.layer, self.run = nn.Linear(3 * 32 * 32, 10), run
        make(self)

    def forward(self, x):
        return self.run(self, self.layer(x.flatten(1)))


def counting(net, y):
    net.seen += 1
    return y * net.seen


@pytest.mark.parametrize(
    "make, run, said",
    [
        (
            lambda net: setattr(net, "more", [nn.Linear(10, 10)]),
            lambda net, y: net.more[0](y),
            "holds layers or parameters in a plain list, more: put them into an nn.ModuleList",
        ),
        (
            lambda net: setattr(net.layer, "by_name", dict(a=nn.Parameter(torch.ones(10)))),
            lambda net, y: y * net.layer.by_name["a"],
            "in a plain dict, layer.by_name: put them into",
        ),
        (
            lambda net: net.register_buffer("seen", torch.zeros(())),
            counting,
            "changes its buffer seen when it runs in evaluation mode, .*: change it only while self.training",
        ),
    ],
)
def test_a_network_that_no_file_would_hold_is_one_line(make, run, said):
    with pytest.raises(ValueError, match=f"^'odd' .*{said}") as caught:
        model_from(Odd(make, run), name="odd", classes=10, contract=CIFAR_CONTRACT)
    assert "\n" not in str(caught.value)


def test_layers_in_a_list_beside_a_module_list_are_taken():
    def twice(net):
        net.more = nn.ModuleList([nn.Linear(10, 10)])
        net.order = [net.more[0], net.layer, nn.ReLU()]

    net = Odd(twice, lambda net, y: net.order[2](net.order[0](y)))
    assert model_from(net, name="odd", classes=10, contract=CIFAR_CONTRACT) is net


def test_pruning_masks_of_torch_are_applied(tmp_path, capsys):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 6))
    for amount in (0.5, 0.2):
        prune.random_unstructured(network[0], "weight", amount)
    x = torch.randn(2, 3, 32, 32)
    expected = network(x).detach()
    mine = model_from(network, name="mine", classes=6, contract=CIFAR_CONTRACT)
    assert capsys.readouterr().err == "robcomp: Sequential: applied the pruning masks of torch to 0\n"
    assert torch.equal(mine(x), expected) and set(dict(mine.named_parameters())) == {
        "0.weight",
        "0.bias",
        "3.weight",
        "3.bias",
    }
    assert (mine[0].weight == 0).float().mean() > 0.5


def test_pruning_masks_of_torch_in_a_file_are_applied(tmp_path, capsys):
    def network():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 6))

    masked = network()
    prune.random_unstructured(masked[0], "weight", 0.5)
    prune.l1_unstructured(masked[3], "bias", 0.5)
    torch.save(masked.state_dict(), tmp_path / "masked.pt")
    x = torch.randn(2, 3, 32, 32)
    mine = load_weights(network(), tmp_path / "masked.pt")
    assert torch.equal(mine(x), masked(x))
    assert "masked.pt: applied 2 masks of torch.nn.utils.prune" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_float_network_is_refused_with_what_to_pass_instead():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 6))
    packed = torch.ao.quantization.quantize_dynamic(network, {nn.Linear})
    with pytest.raises(ValueError, match="which is no tensor.*by from_predict$"):
        model_from(packed, name="packed", classes=6, contract=CIFAR_CONTRACT)
    with pytest.raises(TypeError, match="got Namespace: pass its .module$"):
        accuracy(Namespace(module=network), load("digits").test)


def test_a_mask_of_torch_stays_with_its_layer():
    one, other = nn.Linear(8, 8), nn.Linear(8, 8)
    other.weight = one.weight
    stem = nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    network = nn.Sequential(*stem, one, other, nn.Linear(8, 6)).eval()
    prune.l1_unstructured(one, "weight", 0.5)
    x = torch.randn(2, 3, 32, 32)
    expected = network(x).detach()
    mine = model_from(network, name="tied", classes=6, contract=CIFAR_CONTRACT)
    assert torch.equal(mine(x), expected) and (mine[4].weight != 0).all()


def test_complex_numbers_are_refused_in_one_line():
    class Fourier(nn.Module):
        def __init__(self):
            super().__init__()
            self.filter, self.linear = nn.Parameter(torch.randn(3, 32, 17, dtype=torch.cfloat)), nn.Linear(3, 4)

        def forward(self, x):
            return self.linear(torch.fft.irfft2(torch.fft.rfft2(x) * self.filter).mean((2, 3)))

    with pytest.raises(ValueError, match="'fourier' has complex numbers in filter: .*view_as_real") as error:
        model_from(Fourier(), name="fourier", classes=4, contract=InputContract(32, (128.0,) * 3, (64.0,) * 3))
    assert "\n" not in str(error.value)
