import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from robcomp import training as module
from robcomp._files.checkpoint import read_checkpoint, write_checkpoint
from robcomp._compression.depthwise import wide_depthwise
from robcomp._files.digest import tensors_sha256
from robcomp.compress import compress
from robcomp.data import Data, Images, InputContract, as_input, contract_of, load
from robcomp.models import model_from
from robcomp.schedule import MOMENTUM, Training, rates, steps_by_epoch
from robcomp.steps import Step, has_bf16, loss_of, optimizer_of, shrunk
from robcomp.training import accuracy, fit, one_epoch, work_of
from tests.networks import unchecked

CONTRACT = InputContract(8, (128, 128, 128), (64, 64, 64))


@pytest.fixture(autouse=True)
def one_thread():
    """The networks here are too small to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def coloured(n=70, *, seed=0):
    """Two classes, red and blue, with noise; n is no multiple of the batches used below."""
    rng, labels = np.random.default_rng(seed), np.arange(n) % 2
    images = rng.integers(0, 120, (n, 8, 8, 3))
    images[np.arange(n), :, :, 2 * labels] += 100
    part = Images(images.astype(np.uint8), labels)
    return Data("coloured", part, part.take(slice(0, 10)), part, ["red", "blue"])


def net(seed=0, *, dropout=0.3):
    torch.manual_seed(seed)
    layers = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, 2, 1, groups=8),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8, 2),
    ]
    return model_from(nn.Sequential(*layers), name="net", classes=2, contract=CONTRACT)


class Masked(nn.Module):
    def __init__(self, like):
        super().__init__()
        self.register_buffer("mask", torch.rand_like(like) > 0.5)

    def forward(self, weight):
        return weight * self.mask


def pruned(seed=0):
    model = net(seed)
    torch.manual_seed(9)
    for layer in masked(model):
        parametrize.register_parametrization(layer, "weight", Masked(layer.weight))
    return model


def masked(model):
    return model[0], model[3], model[9]


def digest(model):
    return tensors_sha256(model.state_dict())


def without_seconds(history):
    return history.drop(columns="seconds")


@pytest.mark.parametrize("make", [net, pruned])
@pytest.mark.parametrize("stop", [1, 2])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(make, stop, tmp_path, monkeypatch):
    data, plan, whole, path = coloured(), Training(3, batch=16), make(), tmp_path / "new" / "c.pt"
    history = fit(whole, data, plan, progress=False, watch=data.test)

    def write_and_stop(path, work, state):
        write_checkpoint(path, work, state)
        if len(state["history"]) == stop:
            raise KeyboardInterrupt

    torn = make()
    before = digest(torn)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit(torn, data, plan, checkpoint=path, progress=False, watch=data.test)
    assert digest(torn) == before
    resumed = fit(torn, data, plan, checkpoint=path, progress=False, watch=data.test)
    assert digest(torn) == digest(whole) != before and without_seconds(resumed).equals(without_seconds(history))
    assert without_seconds(fit(make(), data, plan, checkpoint=path, progress=False)).equals(without_seconds(history))
    assert not list(tmp_path.rglob("*.partial"))


def test_seeds_decide_and_the_caller_is_left_alone():
    data, a, b, c = coloured(), net(), net(), net()
    torch.manual_seed(5)
    state, modes = torch.get_rng_state(), [part.training for part in a.train().modules()]
    a[1].eval()
    fit(a, data, Training(1, batch=16), progress=False)
    assert torch.equal(state, torch.get_rng_state()) and not a[1].training and a[0].training and sum(modes) == 11
    torch.manual_seed(6)
    fit(b, data, Training(1, batch=16), progress=False)
    fit(c, data, Training(1, batch=16, seed=1), progress=False)
    assert digest(a) == digest(b) != digest(c)


def test_it_learns_and_the_history_says_so():
    data, model = coloured(), net(dropout=0)
    history = fit(model, data, Training(6, batch=16), watch=data.test, progress=False)
    assert history.columns.tolist() == ["epoch", "rate", "loss", "train_accuracy", "test_accuracy", "seconds"]
    assert history.epoch.tolist() == [1, 2, 3, 4, 5, 6] and history.loss.iloc[-1] < history.loss.iloc[0]
    assert accuracy(model, data.test) == history.test_accuracy.iloc[-1] > 0.9


def test_zeros_stay_zero_under_a_mask():
    model = pruned()
    fit(model, coloured(), Training(2, batch=16), progress=False)
    for layer in masked(model):
        assert (layer.weight[~layer.parametrizations.weight[0].mask] == 0).all()


@pytest.mark.parametrize("n, batch, seen", [(70, 16, [16] * 4), (10, 16, [10]), (32, 16, [16, 16]), (17, 16, [16])])
def test_batches(n, batch, seen):
    step, sizes = Step(net().train(), Training(1, batch=batch), torch.device("cpu")), []
    step.model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    one_epoch(step, coloured(n).train, [0.1] * max(n // batch, 1), torch.Generator())
    assert sizes == seen


def test_rates_are_one_cycle():
    curve = rates(Training(1, peak=0.2, warmup=0.25), 40)
    assert curve.argmax() == 10 and np.allclose([curve[0], curve[10], curve[-1]], [0.02, 0.2, 2e-5])
    assert (np.diff(curve[:11]) > 0).all() and (np.diff(curve[10:]) < 0).all()
    for steps in (1, 2, 3, 7):
        assert np.isfinite(rates(Training(1), steps)).sum() == steps
    assert np.isclose(rates(Training(1, warmup=0), 5)[0], 0.1)


def test_only_tensors_of_two_dimensions_decay_and_frozen_ones_rest():
    model = net()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    groups = optimizer_of(model, Training(1)).param_groups
    assert [group["weight_decay"] for group in groups] == [5e-4, 0]
    assert all(group["momentum"] == MOMENTUM and group["nesterov"] for group in groups)
    assert [{tensor.ndim for tensor in group["params"]} for group in groups] == [{2, 4}, {1}]
    fit(model, coloured(), Training(1, batch=16), progress=False)
    assert torch.equal(before, model[0].weight)
    for tensor in model.parameters():
        tensor.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        fit(model, coloured(), Training(1), progress=False)


def test_a_teacher_is_followed_and_not_changed():
    scores, taught, labels = torch.randn(6, 4), torch.randn(6, 4), torch.arange(6) % 4
    plan = Training(1, temperature=3)
    soft = (taught / 3).softmax(1) * ((taught / 3).log_softmax(1) - (scores / 3).log_softmax(1))
    wanted = 0.9 * 9 * soft.sum() / 6 + 0.1 * loss_of(scores, labels, plan)
    assert torch.isclose(loss_of(scores, labels, plan, taught=taught), wanted)
    data, teacher, pupil, alone = coloured(), net(1).train(), net(2), net(2)
    before = digest(teacher)
    fit(pupil, data, Training(1, batch=16, teacher=teacher), progress=False)
    fit(alone, data, Training(1, batch=16), progress=False)
    assert digest(teacher) == before and teacher[0].training and digest(pupil) != digest(alone)


def test_a_loss_that_is_no_number_leaves_the_network_as_it_was():
    model, calls = net(), []
    spoilt = lambda _, __, scores: calls.append(1) or scores * (float("nan") if len(calls) > 6 else 1)
    model.register_forward_hook(spoilt)
    before = digest(model)
    with pytest.raises(ValueError, match="the loss is nan at a learning rate of .*: pass a peak= below 0.1") as error:
        fit(model, coloured(), Training(3, batch=16), progress=False)
    assert digest(model) == before and "\n" not in str(error.value)


def test_what_does_not_belong_together():
    data = coloured()
    with pytest.raises(ValueError, match="no input contract: pass it through model_from"):
        fit(nn.Linear(2, 2), data, Training(1))
    other = Data("three", data.train, data.calibration, data.test, ["a", "b", "c"])
    with pytest.raises(ValueError, match="net tells 2 classes apart and three has 3"):
        fit(net(), other, Training(1))


@pytest.mark.parametrize(
    "wrong",
    [
        dict(epochs=0),
        dict(epochs="3"),
        dict(epochs=None),
        dict(epochs=1, batch=2.5),
        dict(epochs=1, batch=0),
        dict(epochs=1, peak=0),
        dict(epochs=1, peak=float("nan")),
        dict(epochs=1, warmup=1),
    ],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match=f"{list(wrong)[-1]} is a .*number from .* to .*, got ") as error:
        Training(**wrong)
    assert "\n" not in str(error.value)


def test_records_are_json_and_equal_for_equal_settings():
    record = json.loads(json.dumps(Training(3).record()))
    assert record == Training(3, batch=128).record() == Training(3.0, peak=0.1).record()


# checkpoints


def test_other_work_is_refused(tmp_path):
    data, path = coloured(), tmp_path / "c.pt"
    fit(net(), data, Training(1, batch=16), checkpoint=path, progress=False)
    for model, changed, seed, name in [
        (net(), dict(epochs=2), 0, "epochs 1 there, 2 here"),
        (net(), {}, 1, "seed 0"),
        (net(1), {}, 0, "start differs"),
        (net(), dict(peak=0.2), 0, "peak 0.1"),
    ]:
        plan = Training(**(dict(epochs=1, batch=16, seed=seed) | changed))
        with pytest.raises(ValueError, match=f"is of another network or other settings .{name}") as error:
            fit(model, data, plan, checkpoint=path, progress=False)
        assert "\n" not in str(error.value)


def test_every_damage_is_noticed(tmp_path):
    data, path, plan = coloured(), tmp_path / "c.pt", Training(1, batch=16)
    model = net()
    work = work_of(model, data, plan)
    fit(model, data, plan, checkpoint=path, progress=False)
    content = path.read_bytes()
    assert tensors_sha256(read_checkpoint(path, work)["model"]) == digest(model)
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(content), 150):
        broken = bytearray(content)
        broken[position] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="damaged checkpoint") as error:
            read_checkpoint(path, work)
        assert "\n" not in str(error.value)
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="damaged checkpoint"):
            read_checkpoint(path, work)


def test_a_checkpoint_runs_no_code(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    write_checkpoint(tmp_path / "c.pt", {}, dict(model=Evil()))
    with pytest.raises(ValueError, match="damaged checkpoint"):
        read_checkpoint(tmp_path / "c.pt", {})
    assert capsys.readouterr().out == ""


# strided depthwise layers


def test_wide_depthwise_changes_rounding_only_and_is_undone():
    model, images = net(dropout=0), torch.as_tensor(coloured().train.images[:16])
    gradients = {}
    for name, device in dict(wide="cpu", narrow="cuda").items():  # on another device nothing is widened
        with wide_depthwise(model, torch.device(device)), torch.autocast("cpu", torch.bfloat16):
            assert ("_conv_forward" in vars(model[3])) == (name == "wide") and "_conv_forward" not in vars(model[0])
            model.zero_grad()
            model(as_input(images, CONTRACT)).float().square().sum().backward()
        gradients[name] = model[3].weight.grad.clone()
    assert "_conv_forward" not in vars(model[3])
    assert torch.nn.functional.cosine_similarity(gradients["wide"].flatten(), gradients["narrow"].flatten(), 0) > 0.99


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_a_gpu(tmp_path):
    data, a, b, plan = coloured(), net(dropout=0), net(dropout=0), Training(2, batch=16)
    fit(a, data, plan, progress=False)
    fit(b, data, plan, checkpoint=tmp_path / "c.pt", progress=False)
    assert digest(a) == digest(b) and next(a.parameters()).device.type == "cpu" and accuracy(a, data.test) > 0.8


GROWING = Training(3, batch=16, sizes="8*1+9*1+12*1")


def larger(data, side=12):
    def enlarge(part):
        twice = part.images.repeat(2, 1).repeat(2, 2)
        return Images(np.ascontiguousarray(twice[:, :side, :side]), part.labels)

    return Data(data.name, enlarge(data.train), enlarge(data.calibration), enlarge(data.test), data.classes)


def wide_net(seed=0):
    model = net(seed)
    model.contract = InputContract(12, CONTRACT.mean, CONTRACT.std)
    return model


def test_images_grow_as_the_text_says_and_end_whole():
    model, sides = wide_net(), []

    def noted(module, inputs):
        if module.training:
            sides.append(inputs[0].shape[2:])

    handle = model.register_forward_pre_hook(noted)
    history = fit(model, larger(coloured()), GROWING, progress=False)
    handle.remove()
    assert [side[0] for side in sides] == [8] * 4 + [9] * 4 + [12] * 4 and all(a == b for a, b in sides)
    assert history["size"].tolist() == [8, 9, 12]


@pytest.mark.parametrize("stop", [1, 2])
def test_growing_images_resume_bit_for_bit(stop, tmp_path, monkeypatch):
    data, whole, torn, path = larger(coloured()), wide_net(), wide_net(), tmp_path / "c.pt"
    history = fit(whole, data, GROWING, progress=False)

    def write_and_stop(path, work, state):
        write_checkpoint(path, work, state)
        if len(state["history"]) == stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit(torn, data, GROWING, checkpoint=path, progress=False)
    with pytest.raises(ValueError, match="other settings .sizes 8.1.9.1.12.1 there, None here"):
        fit(wide_net(), data, Training(3, batch=16), checkpoint=path, progress=False)
    resumed = fit(torn, data, GROWING, checkpoint=path, progress=False)
    assert digest(torn) == digest(whole) and without_seconds(resumed).equals(without_seconds(history))


def test_a_training_on_whole_images_has_the_record_it_always_had():
    names = ["epochs", "batch", "peak", "warmup", "weight_decay", "smoothing", "temperature"]
    record = Training(3).record()
    assert list(record) == [*names, "momentum", "share"] and record == Training(3, sizes="").record()
    assert repr(Training(3)) == (
        "Training(epochs=3, batch=128, peak=0.1, warmup=0.2, weight_decay=0.0005, smoothing=0.1, temperature=4.0)"
    )
    assert Training(3, sizes=" 8*1 + 12*2").record() == record | dict(sizes="8*1+12*2")
    assert work_of(net(), coloured(), Training(3)).keys() == {"data", "arch", "seed", "start", "teacher", *record}


@pytest.mark.parametrize(
    "sizes",
    ["16", "16*0+32*3", "*3", "16*-1+32*4", "16x3", "16*3+", "٣*3", "16*3\n32", "9" * 5000 + "*3", "16*1.5+32*1.5"],
)
def test_a_schedule_that_cannot_be_read(sizes):
    with pytest.raises(ValueError, match="cannot be read") as caught:
        Training(3, sizes=sizes)
    assert "\n" not in str(caught.value)


def test_schedules_that_do_not_fit():
    with pytest.raises(ValueError, match="covers 4 epochs, the training has 3"):
        Training(3, sizes="16*4")
    with pytest.raises(ValueError, match="covers 1 epochs, the training has 0.25"):
        Training(0.25, sizes="16*1")
    with pytest.raises(ValueError, match="7 is too small"):
        Training(3, sizes="7*3")
    model = net()
    before = digest(model)
    with pytest.raises(ValueError, match="9 is larger than the images of coloured, 8 pixels"):
        fit(model, coloured(), Training(3, sizes="8*1+9*2"))
    with pytest.raises(ValueError, match="load the data with size=8"):
        fit(model, larger(coloured()), Training(3, sizes="8*3"))
    assert digest(model) == before


def test_a_device_without_units_for_bfloat16_does_without():
    assert not has_bf16(torch.device("meta")) and isinstance(has_bf16(torch.device("cpu")), bool)


def test_small_views_are_means_of_what_they_cover():
    images = torch.randint(0, 256, (3, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert shrunk(images, 32) is images
    flat = torch.full((1, 32, 32, 3), 77, dtype=torch.uint8)
    for size in (8, 15, 16, 24, 31):
        view = shrunk(images, size)
        assert view.shape == (3, size, size, 3) and view.dtype == torch.uint8 and (shrunk(flat, size) == 77).all()
        assert (view.float().mean((1, 2)) - images.float().mean((1, 2))).abs().max() < 3
    mirrored = shrunk(images.flip(2), 16)
    assert (mirrored.int() - shrunk(images, 16).flip(2).int()).abs().max() <= 1


@pytest.mark.parametrize(
    "epochs, n, steps",
    [(3, 70, [4, 4, 4]), (0.25, 70, [1]), (0.5, 70, [2]), (1.5, 70, [4, 2]), (0.001, 70, [1]), (2, 5, [1, 1])],
)
def test_a_part_of_an_epoch_takes_its_part_of_the_steps(epochs, n, steps):
    assert steps_by_epoch(Training(epochs, batch=16), n) == steps
    history = fit(net(), coloured(n), Training(epochs, batch=16), progress=False)
    assert len(history) == len(steps) and np.isclose(history.rate.iloc[-1], rates(Training(epochs), sum(steps))[-1])


def test_a_part_of_an_epoch_sees_other_images_with_another_seed(monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "augment", lambda images, *_, **__: drawn.append(images.clone()) or images)
    for seed in (0, 0, 1):
        fit(net(), coloured(), Training(0.5, batch=16, seed=seed), progress=False)
    first, again, other = (torch.cat(drawn[start : start + 2]) for start in (0, 2, 4))
    assert len(first) == 32 and torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    "layer, due",
    [(nn.BatchNorm2d(8), 1), (nn.GroupNorm(2, 8), 0), (nn.BatchNorm2d(8, track_running_stats=False), 0)],
    ids=str,
)
def test_few_steps_leave_old_batch_statistics_and_say_so(layer, due):
    """Only where the network holds running statistics, and only where few steps were taken."""
    layers = nn.Conv2d(3, 8, 3), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    model = unchecked(nn.Sequential(*layers), name="net", classes=2, contract=CONTRACT)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for epochs in (1, 8):
            fit(model, coloured(64), Training(epochs, batch=32), progress=False)
    assert len(said) == due and all("2 training steps leave 81% of the former" in str(one.message) for one in said)


class Bilinear(nn.Module):
    """An operation that torch.autocast leaves with numbers of two formats."""

    def __init__(self):
        super().__init__()
        self.conv, self.pair = nn.Conv2d(3, 8, 3, stride=4), nn.Bilinear(8, 8, 10)

    def forward(self, x):
        y = self.conv(x).relu().mean((2, 3))
        return self.pair(y, y)


def test_a_network_that_does_not_run_in_bfloat16_is_trained_in_float32(monkeypatch):
    from robcomp import steps

    data, found = load("digits"), []
    for reduced in (True, False):
        monkeypatch.setattr(steps, "has_bf16", lambda device: reduced)
        torch.manual_seed(0)
        model = model_from(Bilinear(), name="pair", classes=10, contract=contract_of(data))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found.append(fit(model, data, Training(1, batch=256), progress=False).loss.tolist())
        told = [str(one.message) for one in said if "float32" in str(one.message)]
        assert len(told) == reduced and not any("\n" in text for text in told)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda model, data: accuracy(model, data), "labels, got Data: pass data.test"),
        (lambda model, data: accuracy(model, data.test.images), "labels, got ndarray: pass Images"),
        (lambda model, data: fit(model, data, Training(1), watch=data), "labels, got Data: pass data.test"),
        (lambda model, data: fit(model, data, 3), "as Training.3. for 3 epochs, got 3"),
        (lambda model, data: fit(model, data.train, Training(1)), "data is a Data, .* got Images"),
    ],
)
def test_what_is_no_data_or_training_is_one_line(call, said):
    with pytest.raises(TypeError, match=said) as refused:
        call(net(), coloured())
    assert "\n" not in str(refused.value)


class Slices(nn.Module):
    """A network whose layers have three dimensions of space, and a buffer of five."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv3d(1, 4, (3, 3, 3), padding=1), nn.Linear(4, 2)
        self.register_buffer("offset", torch.zeros(1, 1, 1, 1, 1))

    def forward(self, x):
        return self.last((self.first(x[:, None]) + self.offset).relu().mean((2, 3, 4)))


@pytest.mark.parametrize("recipe", ["tune1", "cluster8:channel+tune1", "cluster16+half+tune1"])
def test_three_dimensions_of_space_are_trained(recipe):
    torch.manual_seed(0)
    model = model_from(Slices(), name="slices", classes=2, contract=CONTRACT)
    again = compress(model, recipe, coloured(), tune=Training(1, peak=0.01, batch=10)).module
    assert not torch.equal(again.last.bias, model.last.bias)
