"""Everything of a trial on its device, devices that are absent, and bits of several devices in one comparison."""

import json
import warnings
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from robcomp._compression.place import full_precision, placed
from robcomp._store.claims import Claims
from robcomp._store.small import small_study
from robcomp._store.tree import jobs
from robcomp.compress import compress
from robcomp.evaluate import evaluate
from robcomp.jobs import Worker, drain
from robcomp.models import weights_sha256
from robcomp.recipe import parse
from robcomp.tables import example, outcomes
from robcomp.stages import Means
from robcomp.sweep import sweep
from robcomp.training import Training, devices, fit, pick_device
from robcomp.uncertainty import comparisons
from robcomp.workshop import workshop_of

ONE = "cpu:0"  # the processor under a name that is told from its usual one
ABSENT = "device 'cuda:99' is not on this machine: it has cpu"


@pytest.fixture
def moves(monkeypatch):
    """Devices that networks are sent to."""
    seen, own = [], nn.Module.to

    def recorded(module, *given, **options):
        seen.extend(str(value) for value in given if isinstance(value, torch.device))
        return own(module, *given, **options)

    monkeypatch.setattr(nn.Module, "to", recorded)
    return seen


@pytest.mark.parametrize("recipe", ["tune1", "recal", "int8", "int4:auto", "prune0.5:gradual+tune1"])
def test_what_shows_images_to_a_network_does_so_on_the_device(moves, recipe):
    study = small_study()
    compress(study._model, recipe, study.data, device=ONE, progress=False)
    assert ONE in moves


@pytest.mark.parametrize("recipe", ["prune0.5", "cluster4", "int4", "int8:weights", "half"])
def test_what_looks_at_weights_alone_stays_where_it_is(moves, recipe):
    study = small_study()
    compress(study._model, recipe, study.data, device=ONE, progress=False)
    assert ONE not in moves


@pytest.mark.parametrize("recipe", ["prune0.5+tune1+int8", "int8+recal", "cluster4+tune1+recal+int8", "int4:auto"])
def test_the_processor_by_name_gives_the_same_bits(recipe):
    study = small_study()
    made = [compress(study._model, recipe, study.data, device=device, progress=False).module for device in ("cpu", ONE)]
    assert len({weights_sha256(module) for module in made}) == 1


def test_a_trial_is_made_and_evaluated_on_the_device_of_its_study(monkeypatch, moves, tmp_path):
    seen = {}

    def trained(*given, **options):
        seen["fit"] = moves[-1]
        return fit(*given, **options)

    def evaluated(*given, device=None, **options):
        seen["evaluate"] = str(device)
        return evaluate(*given, device=device, **options)

    monkeypatch.setattr("robcomp.stages.fit", trained)
    monkeypatch.setattr("robcomp.filing.evaluate", evaluated)
    study = small_study(device=ONE)
    assert str(workshop_of(study, tmp_path, study._model).means.device) == ONE
    sweep(study, ["tune1"], tmp_path, progress=False)
    assert seen == dict(fit=ONE, evaluate=ONE)


def test_a_network_is_brought_back_whatever_happens(moves):
    net, before = nn.Linear(2, 2), (torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.benchmark)
    with pytest.raises(KeyError), placed(net, torch.device(ONE)):
        assert moves == [ONE]
        raise KeyError
    assert moves == [ONE, "cpu"]
    with full_precision():
        assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert (torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.benchmark) == before


def test_an_absent_device_is_one_line_and_no_failed_trial(tmp_path):
    study = small_study(device="cuda:99")
    data, net = study.data, study._model
    for use in (
        lambda: Means(data, device="cuda:99"),
        lambda: evaluate(dict(net=net), study.suite, device="cuda:99"),
        lambda: compress(net, "recal", data, device="cuda:99"),
        lambda: Worker(study, tmp_path, Claims(tmp_path)),
        lambda: sweep(study, ["dense"], tmp_path / "store"),
    ):
        with pytest.raises(ValueError, match=ABSENT) as error:
            use()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "store").exists() and devices()[0] == "cpu" and pick_device("cpu").type == "cpu"


def test_a_dense_network_that_cannot_be_made_ends_the_work(monkeypatch, tmp_path):
    """It is no failure of a beginning, which would be tried again for ever."""

    def broken(*_, **__):
        raise ValueError("the loss is nan")

    monkeypatch.setattr("robcomp.jobs.baseline", broken)
    claims = Claims(tmp_path)
    worker = Worker(small_study(), tmp_path, claims, kept={"tune1"}, progress=False)
    tree = jobs([parse("tune1"), parse("tune1+int8")])
    assert tree[0].length == 1
    with pytest.raises(ValueError, match="the loss is nan"):
        drain([(worker, job) for job in tree])


def test_a_network_is_trained_where_it_is_and_a_study_brings_its_own_there(moves, tmp_path):
    study = small_study(device=ONE)
    fit(study._model, study.data, Training(1), progress=False)
    assert {*moves} == {"cpu"}
    sweep(study, ["tune1"], tmp_path, progress=False)
    assert ONE in moves


# -- a GPU for each worker --


class Box:
    """A machine with two GPUs, in the place of torch.cuda.

    `order`: how CUDA_VISIBLE_DEVICES shows them to a process."""

    def __init__(self, monkeypatch):
        self.patch, self.current = monkeypatch, None

    def seen_as(self, order):
        def properties(gpu):
            return SimpleNamespace(uuid=f"uuid-{order[int(gpu[-1])]}")

        self.patch.setattr("robcomp.jobs.devices", lambda: ["cpu", *(f"cuda:{number}" for number in range(len(order)))])
        self.patch.setattr("robcomp.jobs.pick_device", lambda device=None: torch.device(device or "cuda"))
        self.patch.setattr(torch.cuda, "get_device_properties", properties)
        self.patch.setattr(torch.cuda, "set_device", lambda gpu: setattr(self, "current", str(gpu)))


@pytest.fixture
def box(monkeypatch):
    return Box(monkeypatch)


def test_workers_that_name_no_device_take_a_gpu_each(box, tmp_path):
    box.seen_as("ab")
    study, taken = small_study(), []
    with ExitStack() as running:
        for _ in range(3):
            claims = running.enter_context(Claims(tmp_path).beating())
            workers = [Worker(study, tmp_path, claims) for _ in range(2)]  # two cells of one worker are on one GPU
            assert workers[0].study.device == workers[1].study.device == box.current
            taken.append(box.current)
    assert taken == ["cuda:0", "cuda:1", "cuda:0"] and study.device is None
    with Claims(tmp_path).beating() as claims:
        assert Worker(study, tmp_path, claims).study.device == "cuda:0", "what has ended holds none"


def test_a_gpu_is_the_same_under_another_number(box, tmp_path):
    """CUDA_VISIBLE_DEVICES shows the GPUs of two processes in another order."""
    box.seen_as("ab")
    first = Claims(tmp_path)
    assert Worker(small_study(), tmp_path, first).study.device == "cuda:0"
    box.seen_as("ba")
    assert Worker(small_study(), tmp_path, Claims(tmp_path)).study.device == "cuda:0", "that is b"
    box.seen_as("ab")
    assert Worker(small_study(), tmp_path, Claims(tmp_path)).study.device == "cuda:0", "both are taken once"


@pytest.mark.parametrize("order, device", [("a", None), ("ab", "cuda:1")])
def test_one_gpu_or_a_named_one_is_not_claimed(box, tmp_path, order, device):
    box.seen_as(order)
    worker = Worker(small_study(device=device), tmp_path, Claims(tmp_path))
    assert worker.study.device == device and not list((tmp_path / "claims").glob("gpu-*"))


def test_every_experiment_notebook_takes_a_device():
    from robcomp.parameters import EXPERIMENTS, allowed_parameters, check_values

    for path in EXPERIMENTS.glob("*.ipynb"):
        assert "device" in allowed_parameters(path)
    for device in ("", "cpu", "cuda", "cuda:1"):
        check_values(dict(device=device))
    for device in ("gpu", 1, None, "cuda:x"):
        with pytest.raises(ValueError, match="device is cpu, cuda"):
            check_values(dict(device=device))


# -- bits of several devices --


def with_devices(**devices):
    """The simulated study with a device for each recipe that is named."""
    tables = example()
    told = [json.dumps(dict(device=devices[name])) if name in devices else "{}" for name in tables.trials.recipe]
    trials = tables.trials.assign(versions=told)
    return tables._replace(trials=trials[trials.arch == "vgg19"])


def said_of(work):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        work()
    return [str(warning.message) for warning in said if "bits of several devices" in str(warning.message)]


def test_bits_of_several_devices_in_one_comparison_are_said():
    mixed = with_devices(dense="cpu", int8="NVIDIA H100")
    lines = said_of(lambda: comparisons(mixed, [("int8", "dense")], draws=100))
    assert lines and "\n" not in lines[0]
    assert "1 from NVIDIA H100 (as vgg19 int8 seed 0)" in lines[0] and "from cpu" in lines[0]
    assert said_of(lambda: outcomes(mixed, ["int8", "dense"]))
    assert not said_of(lambda: outcomes(mixed, ["int8", "int4"])), "of int4 no device is known"


def test_bits_of_one_device_need_no_words():
    alike = with_devices(dense="NVIDIA H100", int8="NVIDIA H100", int4="NVIDIA H100")
    assert not said_of(lambda: outcomes(alike, ["int8", "dense", "int4"]))
    assert not said_of(lambda: outcomes(example(), list(example().trials.key)))


@pytest.mark.parametrize(
    "told, mixed",
    [
        (["cpu AVX2", "cpu AVX512"], True),
        (["cpu AVX2", "cpu AVX2"], False),
        (["cpu", "cpu AVX2"], False),
        (["NVIDIA H100", "cpu"], True),
        (["NVIDIA H100 AVX2", "NVIDIA H100 AVX512"], False),
    ],
)
def test_processors_with_other_instructions_are_other_devices(told, mixed):
    """A table that does not tell the instructions may have had any; those of a GPU's host are no matter."""
    tables = example()
    trials = tables.trials[tables.trials.recipe.isin(["dense", "int8"]) & (tables.trials.arch == "vgg19")]

    def versions(text):
        device, _, instructions = text.rpartition(" ") if "AVX" in text else (text, "", "")
        return json.dumps(dict(device=device) | (dict(instructions=instructions) if instructions else {}))

    tables = tables._replace(trials=trials.assign(versions=list(map(versions, told))))
    lines = said_of(lambda: outcomes(tables, ["int8", "dense"]))
    assert bool(lines) == mixed and all("losses differ in their last digits" in line for line in lines)


@pytest.mark.parametrize(
    "recipes, formats, mixed",
    [
        (["tune1", "int8+tune1"], ["bfloat16", "float32"], True),
        (["tune1", "int8+tune1"], ["float32", "float32"], False),
        (["tune1", "int8+tune1"], ["", "float32"], False),
        (["dense", "int8"], ["bfloat16", "float32"], False),
        (["int8", "int8+tune1"], ["bfloat16", "float32"], False),
    ],
)
def test_networks_tuned_in_other_number_formats_are_said(recipes, formats, mixed):
    """The format is a matter of trials that tune; a table that does not tell it may have had any."""
    tables = example()
    trials = tables.trials[tables.trials.recipe.isin(["dense", "int8"]) & (tables.trials.arch == "vgg19")]
    versions = [json.dumps(dict(device="cpu") | (dict(trains_in=one) if one else {})) for one in formats]
    tables = tables._replace(trials=trials.assign(recipe=recipes, versions=versions))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        outcomes(tables, list(trials.key))
    lines = [str(one.message) for one in said if "tuned in several number formats" in str(one.message)]
    assert bool(lines) == mixed and len(said) == len(lines)
    assert not mixed or "1 in float32 (as vgg19 int8+tune1 seed 0)" in lines[0]


@pytest.mark.parametrize("reduced, format", [(True, "bfloat16"), (False, "float32")])
def test_a_trial_tells_what_its_processor_computes_with(monkeypatch, reduced, format):
    from robcomp import filing

    monkeypatch.setattr(filing, "has_bf16", lambda device: reduced)
    versions = filing.versions("cpu")
    assert versions["instructions"] == torch.backends.cpu.get_cpu_capability() and versions["trains_in"] == format
