"""Models from elsewhere in a study's store: paired with ours image by image, and marked in charts."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from robcomp._store.small import small_study
from robcomp.charts import chart_front, family
from robcomp.data import as_input, contract_of, load
from robcomp.elsewhere import from_predict
from robcomp.judge import judge, trial_of
from robcomp.models import model_from
from robcomp.results import summarise
from robcomp.tables import collect, outcomes
from robcomp.sweep import Study, sweep
from robcomp.training import Training, fit
from robcomp.uncertainty import comparisons


@pytest.fixture(scope="module")
def filed(tmp_path_factory):
    """A store with two recipes of ours, the dense network again by another door, and one that is wrong on every image
    that it was right on."""
    data = load("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (
            nn.Conv2d(3, 16, 3, stride=4, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(256, 10),
        )
        net = model_from(nn.Sequential(*layers), name="small", classes=10, contract=contract_of(data))
        fit(net, data, Training(5, peak=0.1), progress=False)
    study, store = (
        Study(data, net, conditions=dict(corruptions=["contrast", "fog"], severities=[2], per_condition=100)),
        tmp_path_factory.mktemp("filed"),
    )
    sweep(study, ["dense", "int8"], store, progress=False)

    def answer(x):
        with torch.no_grad():
            return net(torch.from_numpy(x))

    same = from_predict(answer, net.contract, size_bytes=5000)
    wrong = from_predict(lambda x: -answer(x), net.contract, size_bytes=4000)
    judge(dict(same=same), study, store, progress=False)
    judge(dict(wrong=wrong), study, store, check=False, progress=False)
    return collect(store)


def test_the_same_network_by_another_door_differs_on_no_image(filed):
    found = outcomes(filed, ["dense", "elsewhere:same", "elsewhere:wrong"])
    assert (found.iloc[:, 0] == found.iloc[:, 1]).all() and not (found.iloc[:, 0] & found.iloc[:, 2]).any()
    pairs = comparisons(filed, [("elsewhere:same", "dense"), ("dense", "elsewhere:wrong")], draws=200)
    assert (
        pairs.difference[0] == pairs.low[0] == pairs.high[0] == 0
        and pairs.verdict[0] == "undecided"
        and pairs.verdict[1] == "better"
    )
    table = summarise(filed).set_index("recipe")
    assert (
        table.reference["elsewhere:same"] == table.key["dense"]
        and table.mce["elsewhere:same"] == pytest.approx(1)
        and np.isnan(table.params["elsewhere:same"])
    )


def test_charts_give_models_from_elsewhere_a_look_of_their_own(filed):
    assert family("elsewhere:same") == "elsewhere" != family("int8")
    spec = str(chart_front(summarise(filed)).to_dict())
    assert "elsewhere:same" in spec and "'elsewhere'" in spec


def test_the_key_covers_all_that_a_function_answers(tmp_path):
    """Other bytes, scores that are less sure, and another network that is right on the same images: none is done
    already."""
    data = load("digits")
    few = data.calibration.take(range(60))
    right = torch.nn.functional.one_hot(torch.from_numpy(few.labels), 10).float()
    contract, shown = contract_of(data), torch.from_numpy(few.images[:, ::8, ::8, 0].reshape(60, -1)).float()

    def scored(scale, tilt):
        def answer(x):
            if len(x) != len(few):
                return torch.zeros(len(x), 10)
            return scale * (10 * right + tilt * shown[:, :10] / 255)

        return answer

    study = Study(data, "vgg19", conditions=dict(corruptions=["contrast"], severities=[2], per_condition=10))

    def key(scale=1, tilt=1, size=1000):
        model = from_predict(scored(scale, tilt), contract, size_bytes=size)
        return trial_of("m", model, study, arch="a", weights="", few=few).key

    assert key() == key()
    assert len({key(), key(size=1001), key(scale=0.3), key(tilt=-1)}) == 4


def test_what_is_judged_is_a_mapping_and_a_study(tmp_path):
    model = from_predict(lambda x: np.zeros((len(x), 10)), contract_of(load("digits")), size_bytes=1)
    for models, study in ((model, None), ([model], None), (None, None), (dict(m=model), None)):
        with pytest.raises(TypeError, match="judge takes a mapping of names to models and a Study, got") as error:
            judge(models, study, tmp_path)
        assert "\n" not in str(error.value)


def test_a_trial_says_what_answered(filed):
    said = filed.trials.set_index("recipe").versions.map(json.loads)
    assert said["elsewhere:same"]["engine"] == "elsewhere" and said["dense"]["engine"] == "torch"


def test_models_from_elsewhere_do_not_adapt(tmp_path):
    data = load("digits")
    study = Study(data, "vgg19", conditions=dict(corruptions=["contrast"], severities=[2], adapt=True))
    model = from_predict(lambda x: np.zeros((len(x), 10)), contract_of(data), size_bytes=1)
    with pytest.raises(ValueError, match="models from elsewhere cannot adapt"):
        judge(dict(m=model), study, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_model_added_to_a_study_is_judged_by_its_sweep(tmp_path):
    """The trial is the one that `judge` files; resumed, it is done; what cannot be added is one line."""
    study = small_study()
    net = study._model
    fit(net, study.data, Training(4, peak=0.1, batch=20), progress=False)
    net.eval()
    theirs = from_predict(lambda x: net(torch.from_numpy(x)).detach().numpy(), net.contract, size_bytes=100)
    study.add("file", theirs)
    trials = sweep(study, ["dense"], tmp_path, progress=False)
    assert [trial.recipe for trial in trials] == ["dense", "elsewhere:file"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()}
    assert (
        sweep(study, ["dense"], tmp_path, progress=False)
        == trials
        == [trials[0], *judge(dict(file=theirs), study, tmp_path, progress=False)]
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()} == before
    with pytest.raises(TypeError, match="net is a Flatten without a contract: set net.contract = InputContract"):
        study.add("net", nn.Flatten())
    with pytest.raises(ValueError, match="named by one word of letters"):
        study.add("two words", theirs)


def test_models_enter_as_files_and_as_networks_of_torch(tmp_path):
    import contextlib
    import io

    onnx = pytest.importorskip("onnx")
    from robcomp.compress import compress
    from robcomp.deploy import export_onnx
    from robcomp.pack import pack

    study = small_study()
    net, images = study._model, as_input(study.data.test.images[:9], study._model.contract)
    path = export_onnx(net, tmp_path / "net.onnx")
    bare = onnx.load(path)
    bare.ClearField("metadata_props")
    onnx.save(bare, tmp_path / "bare.onnx")
    artifact = compress(net, "int8", study.data)
    size = pack(artifact, tmp_path / "net.robcomp")
    saved = io.BytesIO()
    torch.save(net.state_dict(), saved)
    for model in (str(path), tmp_path / "bare.onnx", net.train(), tmp_path / "net.robcomp"):
        guessed = str(model).endswith("bare.onnx")
        with pytest.warns(UserWarning, match="does not say how") if guessed else contextlib.nullcontext():
            study.add("model", model)
        added = study.added["model"]
        assert added.contract == net.contract and added.classes == 2
        wanted = artifact.module(images) if str(model).endswith("robcomp") else net.eval()(images)
        assert torch.allclose(added(images), wanted, atol=1e-2)
        bytes_of = saved.tell() if model is net else size if str(model).endswith("robcomp") else None
        assert added.figures["size_bytes"] == (bytes_of or model_size(model))
    assert judge(dict(path=path, net=net), study, tmp_path / "store", check=False, progress=False)
    assert set(collect(tmp_path / "store").trials.status) == {"ok"}
    for wrong, said in (
        (nn.Flatten(), r"without a contract: set net.contract = InputContract"),
        (artifact, "is an artifact.*: pack.artifact, path., pass path"),
        (None, "is a NoneType: pass what from_onnx"),
        (tmp_path / "absent.onnx", "absent.onnx"),
    ):
        with pytest.raises((TypeError, ValueError), match=said) as refused:
            study.add("wrong", wrong)
        assert "\n" not in str(refused.value)


def model_size(path):
    from pathlib import Path

    return Path(path).stat().st_size


def test_a_named_network_is_unpacked_and_one_that_torch_quantized_is_taken(tmp_path):
    from robcomp.models import make_model
    from robcomp.pack import pack

    study = small_study()
    size = pack(make_model("mobilenetv2", contract=study._model.contract), tmp_path / "net.robcomp")
    study.add("named", tmp_path / "net.robcomp")
    assert study.added["named"].figures["size_bytes"] == size and study.added["named"].classes == 10
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)))
    quantized.contract = study._model.contract
    study.add("quantized", quantized)
    assert study.added["quantized"].figures["size_bytes"] < 3 * 32 * 32 * 2 * 4


def test_a_study_says_what_it_is_and_checks_names_at_once():
    study = small_study()
    study.add("net", study._model)
    said = str(study)
    assert said.startswith("Study(noise, small; conditions corruptions=(") and said.endswith("; 1 model added)")
    assert str(Study("cifar10", "vgg19", conditions=dict(adapt=True))) == "Study(cifar10, vgg19; conditions adapt=True)"
    for call, wanted in (
        (lambda: Study("imgs", "vgg19"), "unknown dataset 'imgs'.*allowed: digits"),
        (lambda: Study("cifar", "vgg19"), "did you mean 'cifar10.*'"),
        (lambda: Study("digits", "vgg"), "did you mean 'vgg19'"),
        (lambda: Study("digits", "vgg19", conditions=dict(corruptions=["rain"])), "unknown corruption 'rain'"),
        (
            lambda: Study("digits", "vgg19", conditions=dict(corruptions=["weather"])),
            "'weather': it is a group, write its members 'snow', 'frost', 'fog', 'brightness'",
        ),
    ):
        with pytest.raises(ValueError, match=wanted) as refused:
            call()
        assert "\n" not in str(refused.value)
