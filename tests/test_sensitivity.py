"""One layer at a time: the table against a plain recount, and stages that no single layer can bear."""

import numpy as np
import pytest
import torch
from torch import nn

from robcomp._compression.state import layers
from robcomp.compress import compress
from robcomp.corruptions import Suite
from robcomp.data import Data, contract_of, load
from robcomp.evaluate import evaluate
from robcomp.models import model_from
from robcomp.sensitivity import sensitivity
from robcomp.study_charts import chart_sensitivity


@pytest.fixture(scope="module")
def data():
    digits = load("digits")
    return Data("digits", digits.train, digits.calibration.take(range(80)), digits.test, digits.classes, flip=False)


@pytest.fixture(scope="module")
def net(data):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        body = (
            nn.Conv2d(3, 8, 5, stride=4, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(288, 10),
        )
        return model_from(nn.Sequential(*body), name="three", classes=10, contract=contract_of(data)).eval()


CONDITIONS = dict(corruptions=["gaussian_noise", "fog", "snow", "speckle_noise"], severities=[2, 4], per_condition=30)


def test_rows_are_what_a_network_with_one_compressed_layer_gets(net, data):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = sensitivity(net, data, "prune0.8", conditions=CONDITIONS, names=["3", "6"], together=1).set_index(
        ["layer", "group"]
    )
    assert list(found.index) == [
        (layer, group) for layer in ("3", "6") for group in ("clean", "noise", "weather", "other")
    ]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    seen = Data("seen", data.train, data.calibration, data.calibration, data.classes)
    by_hand = compress(net, "prune0.8", data, keep=["0", "3"]).module
    assert (layers(by_hand)["6"].weight == 0).double().mean() > 0.7 and torch.equal(
        layers(by_hand)["3"].weight, layers(net)["3"].weight
    )
    rows = evaluate(
        dict(dense=net, own=by_hand), Suite(seen, **CONDITIONS), engine="torch", progress=False, device="cpu"
    )
    weather = rows[rows.corruption.isin(["fog", "snow"])]
    own, dense = (weather[weather.name == name] for name in ("own", "dense"))
    row = found.loc["6", "weather"]
    assert (
        row.n == own.n.sum() == 120
        and row.accuracy == own.correct.sum() / 120
        and row.dense == dense.correct.sum() / 120
    )
    assert row.change == pytest.approx((row.gained - row.lost) / row.n) and row.loss_change == pytest.approx(
        own.loss.mean() - dense.loss.mean(), abs=1e-6
    )
    right = [np.unpackbits(np.frombuffer(b"".join(one.bits), np.uint8)).astype(bool) for one in (own, dense)]
    assert (row.lost, row.gained) == ((right[1] & ~right[0]).sum(), (right[0] & ~right[1]).sum())


@pytest.mark.parametrize("stage", ["tune1", "recal", "prune0.5:channel", "int4:auto"])
def test_stages_that_no_single_layer_can_bear(net, data, stage):
    with pytest.raises(ValueError, match="is not applied to one layer alone") as error:
        sensitivity(net, data, stage)
    assert "\n" not in str(error.value)


def test_layers_that_are_not_there(net, data):
    with pytest.raises(ValueError, match="unknown layer '7': did you mean|unknown layer '7'") as error:
        sensitivity(net, data, "int4", names=["7"])
    assert "\n" not in str(error.value)


def test_the_heat_map_says_how_many_images_a_cell_rests_on(net, data):
    table = sensitivity(net, data, "int2", conditions=CONDITIONS, names=["0", "6"])
    spec = chart_sensitivity(table, stage="int2, simulated").to_dict()
    assert "60 to 120 images a cell" in str(spec["title"]) or "60 to 120 images a cell" in str(spec)
    with pytest.raises(ValueError, match="there is nothing to draw"):
        chart_sensitivity(table[:0])


def test_numbers_and_layers_that_cannot_be(net, data):
    from robcomp.elsewhere import from_predict

    theirs = from_predict(lambda x: np.zeros((len(x), 10)), net.contract, size_bytes=1)
    for model, options, said in (
        (net, dict(names=[]), "there is no layer to try"),
        (theirs, dict(), "there is no layer to try"),
        (net, dict(together=0), "together is a whole number of 1 or more, got 0"),
        (net, dict(names="first"), "unknown layer 'first'"),
    ):
        with pytest.raises(ValueError, match=said) as error:
            sensitivity(model, data, "int2", **options)
        assert "\n" not in str(error.value)
