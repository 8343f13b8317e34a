"""Numbers that somebody gives to a public function: of Python or NumPy in their range, or one line that names them."""

import numpy as np
import pytest
import torch
from torch import nn

import robcomp
from robcomp._text.given import number, real, share, shown, whole
from robcomp.data import Data, InputContract
from robcomp.parameters import ParameterError, check_values

NOTHING = [
    True,
    np.True_,
    float("nan"),
    float("inf"),
    2.5,
    "3",
    b"3",
    [1],
    np.array([1, 2]),
    1 + 1j,
    -1,
    10**400,
    10**5000,
]
CONTRACT = InputContract(8, (128,) * 3, (64,) * 3)


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def images(n):
    return robcomp.Images(np.random.default_rng(n).integers(0, 256, (n, 8, 8, 3), np.uint8), np.arange(n) % 2)


DATA = Data("noise", images(40), images(20), images(20), ["a", "b"])
MODEL = robcomp.model_from(net(), name="net", classes=2, contract=CONTRACT)
WHOLE = dict(
    load=("seed", lambda value: robcomp.load("digits", seed=value)),
    size=("a size", lambda value: InputContract(value, (1, 2, 3), (9, 9, 9))),
    severity=("severity", lambda value: robcomp.corrupt(DATA.test.images, "fog", value)),
    corrupt=("seed", lambda value: robcomp.corrupt(DATA.test.images, "fog", 1, seed=value)),
    severities=("severity", lambda value: robcomp.Suite(DATA, severities=[value])),
    per_condition=("per_condition", lambda value: robcomp.Suite(DATA, per_condition=value)),
    suite=("seed", lambda value: robcomp.Suite(DATA, seed=value, per_condition=3)),
    classes=("classes", lambda value: robcomp.make_model("mobilenetv2", classes=value)),
    made=("seed", lambda value: robcomp.make_model("mobilenetv2", seed=value)),
    outputs=("classes", lambda value: robcomp.model_from(net(), name="x", classes=value, contract=CONTRACT)),
    batch=("batch", lambda value: robcomp.Training(1, batch=value)),
    fit=("seed", lambda value: robcomp.fit(MODEL, DATA, robcomp.Training(1, seed=value), progress=False)),
    accuracy=("batch", lambda value: robcomp.accuracy(MODEL, DATA.test, batch=value)),
    compress=("seed", lambda value: robcomp.compress(MODEL, "prune0.5", seed=value)),
    latency=("batch", lambda value: robcomp.latency(MODEL, batch=value)),
    repeats=("repeats", lambda value: robcomp.latency(MODEL, repeats=value)),
    evaluate=("batch", lambda value: robcomp.evaluate(dict(net=MODEL), robcomp.Suite(DATA), batch=value)),
    study=("seed", lambda value: robcomp.Study(DATA, MODEL, seed=value)),
    together=("together", lambda value: robcomp.Study(DATA, MODEL, together=value)),
    example=("seed", lambda value: robcomp.example(seed=value)),
    draws=("draws", lambda value: robcomp.intervals(robcomp.example(), draws=value)),
    drawn=("seed", lambda value: robcomp.intervals(robcomp.example(), draws=5, seed=value)),
    choose=("draws", lambda value: robcomp.choose(robcomp.example(), draws=value)),
    report=("draws", lambda value: robcomp.write_report(robcomp.example(), "no/where", draws=value)),
)
REAL = dict(
    epochs=("epochs", lambda value: robcomp.Training(value)),
    peak=("peak", lambda value: robcomp.Training(1, peak=value)),
    warmup=("warmup", lambda value: robcomp.Training(1, warmup=value)),
    level=("level", lambda value: robcomp.intervals(robcomp.example(), draws=5, level=value)),
    mean=("a contract", lambda value: InputContract(8, (value, 2, 3), (9, 9, 9))),
    prune=("prune", robcomp.Prune),
    cluster=("cluster", robcomp.Cluster),
    quantize=("int", robcomp.Quantize),
    tune=("tune", robcomp.Tune),
)


def refused(name, call, value):
    with pytest.raises(ValueError, match=f"^{name}") as error:
        call(value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.mark.parametrize("name, call", WHOLE.values(), ids=WHOLE)
def test_what_is_no_whole_number_is_one_line(name, call):
    for value in NOTHING:
        refused(name, call, value)


@pytest.mark.parametrize("name, call", REAL.values(), ids=REAL)
def test_what_is_no_number_is_one_line(name, call):
    odd = [value for value in NOTHING if type(value) is not float and value is not NOTHING[-3]]
    for value in [*odd, float("nan"), float("inf")]:
        refused(name, call, value)


@pytest.mark.parametrize("value", [10**400, 10**5000, True, "x", float("nan"), -1, 2.5], ids=shown)
@pytest.mark.parametrize("name", ["epochs", "batch", "together", "size", "seed", "per_condition", "seeds"])
def test_a_parameter_that_is_no_number_is_one_line(name, value):
    if name == "epochs" and value == 2.5:
        return
    with pytest.raises(ParameterError, match=f"^{name}") as error:
        check_values({name: value})
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_numbers_of_numpy_are_numbers():
    assert [type(whole("n", value)) for value in (np.int64(2), np.uint8(2), 2)] == [int] * 3
    plain = robcomp.Training(2, batch=32, warmup=0)
    assert robcomp.Training(np.int64(2), batch=np.int64(32), warmup=np.float32(0)).record() == plain.record()
    assert robcomp.Training(2, batch=32, warmup=-0.0).record() == plain.record() and str(plain.warmup) == "0.0"
    assert str(InputContract(8, (-0.0, 2, 3), (9, 9, 9))) == str(InputContract(8, (0, 2, 3), (9, 9, 9)))
    assert number("n", np.float32(0.5), 0, 1) == share("n", 0.5, 0.1) == real("n", 0.5) == 0.5


def test_a_value_in_a_message_is_short_and_in_one_line():
    for value in (10**5000, 10**400, np.zeros((50, 50)), "a\nb" * 99, torch.zeros(9, 9)):
        assert len(shown(value)) <= 40 and "\n" not in shown(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda value: robcomp.compress(value, "int8"),
        lambda value: robcomp.latency(value),
        lambda value: robcomp.fit(value, DATA, robcomp.Training(1), progress=False),
        lambda value: robcomp.export_onnx(value, "a.onnx"),
        lambda value: robcomp.pack(value, "a.robcomp"),
        lambda value: robcomp.measure(value),
        lambda value: robcomp.ledger(value),
        lambda value: robcomp.accuracy(value, DATA.test),
        lambda value: robcomp.evaluate(dict(net=value), robcomp.Suite(DATA), progress=False),
        lambda value: robcomp.weights_sha256(value),
        lambda value: robcomp.save_weights(value, "x.safetensors"),
    ],
    ids=["compress", "latency", "fit", "export", "pack", "measure", "ledger", "accuracy", "evaluate", "digest", "save"],
)
@pytest.mark.parametrize("value", [3, None, [1]], ids=["number", "nothing", "list"])
def test_what_is_no_network_is_one_line(tmp_path, monkeypatch, call, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError)) as caught:
        call(value)
    assert "\n" not in str(caught.value) and type(value).__name__ in str(caught.value)
