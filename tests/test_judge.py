"""Models from elsewhere in a study's store: paired with ours image by image, and marked in charts."""
import numpy as np
import pytest
import torch
from torch import nn

from robcomp.charts import chart_front, family
from robcomp.data import contract_of, load
from robcomp.elsewhere import from_predict
from robcomp.judge import judge
from robcomp.models import model_from
from robcomp.results import collect, outcomes, summarise
from robcomp.sweep import Study, sweep
from robcomp.training import Training, fit
from robcomp.uncertainty import comparisons


@pytest.fixture(scope="module")
def filed(tmp_path_factory):
    """A store with two recipes of ours, the dense network again by another door, and one that is wrong on every image that it was right on."""
    data = load("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 10)
        net = model_from(nn.Sequential(*layers), name="small", classes=10, contract=contract_of(data))
        fit(net, data, Training(5, peak=.1), progress=False)
    study, store = Study(data, net, conditions=dict(corruptions=["contrast", "fog"], severities=[2], per_condition=100)), tmp_path_factory.mktemp("filed")
    sweep(study, ["dense", "int8"], store, progress=False)
    def answer(x):
        with torch.no_grad(): return net(torch.from_numpy(x))
    same = from_predict(answer, net.contract, size_bytes=5000)
    wrong = from_predict(lambda x: -answer(x), net.contract, size_bytes=4000)
    judge(dict(same=same), study, store, progress=False)
    judge(dict(wrong=wrong), study, store, check=False, progress=False)
    return collect(store)


def test_the_same_network_by_another_door_differs_on_no_image(filed):
    found = outcomes(filed, ["dense", "elsewhere:same", "elsewhere:wrong"])
    assert (found.iloc[:, 0] == found.iloc[:, 1]).all() and not (found.iloc[:, 0] & found.iloc[:, 2]).any()
    pairs = comparisons(filed, [("elsewhere:same", "dense"), ("dense", "elsewhere:wrong")], draws=200)
    assert pairs.difference[0] == pairs.low[0] == pairs.high[0] == 0 and pairs.verdict[0] == "undecided" and pairs.verdict[1] == "better"
    table = summarise(filed).set_index("recipe")
    assert table.reference["elsewhere:same"] == table.key["dense"] and table.mce["elsewhere:same"] == pytest.approx(1) and np.isnan(table.params["elsewhere:same"])


def test_charts_give_models_from_elsewhere_a_look_of_their_own(filed):
    assert family("elsewhere:same") == "elsewhere" != family("int8")
    spec = str(chart_front(summarise(filed)).to_dict())
    assert "elsewhere:same" in spec and "'elsewhere'" in spec
