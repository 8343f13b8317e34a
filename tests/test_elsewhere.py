"""Models from elsewhere: every form of ONNX file gives the same answers, and its weights are counted as they are."""

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")
ortq = pytest.importorskip("onnxruntime.quantization")
from onnx import TensorProto, helper, numpy_helper

from robcomp._deployment.foreign import counts, weights_of
from robcomp.checked_answers import detected_output_order
from robcomp.corruptions import Suite
from robcomp.data import InputContract, as_input, load
from robcomp.elsewhere import Elsewhere, from_onnx, from_predict
from robcomp.evaluate import evaluate
from robcomp.models import model_from
from robcomp.schema import CLEAN

CONTRACT = InputContract(32, (100.0, 110.0, 120.0), (50.0, 60.0, 70.0))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (23, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = (
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=8),
            nn.ReLU(),
        )
        return model_from(
            nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)),
            name="t",
            classes=5,
            contract=CONTRACT,
        )


@pytest.fixture(scope="module")
def wanted(net, images):
    with torch.no_grad():
        return net(as_input(images, CONTRACT)).numpy()


class Dressed(nn.Module):
    """A network with its normalisation inside, colours last, or a softmax at its end."""

    def __init__(self, net, *, inside=False, last=False, soft=False, half=False):
        super().__init__()
        self.net, self.inside, self.last, self.soft, self.half_input = net, inside, last, soft, half

    def forward(self, x):
        x = x.float()
        if self.last:
            x = x.permute(0, 3, 1, 2)
        if self.inside:
            x = (x - torch.tensor(CONTRACT.mean).view(1, 3, 1, 1)) / torch.tensor(CONTRACT.std).view(1, 3, 1, 1)
        return self.net(x).softmax(1) if self.soft else self.net(x)


def exported(net, path, *, batch=None, dtype=torch.float32, **form):
    module, shape = (
        Dressed(net, **form).eval(),
        (batch or 2, 32, 32, 3) if form.get("last") else (batch or 2, 3, 32, 32),
    )
    torch.onnx.export(
        module,
        (torch.zeros(shape).to(dtype),),
        str(path),
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes=None if batch else dict(x={0: "n"}, y={0: "n"}),
    )
    return path


RAW = InputContract(32, (0, 0, 0), (1, 1, 1))
FORMS = dict(
    plain=(dict(), CONTRACT),
    one=(dict(batch=1), CONTRACT),
    seven=(dict(batch=7), CONTRACT),
    last=(dict(last=True), CONTRACT),
    inside=(dict(inside=True), RAW),
    bytes=(dict(inside=True, last=True, dtype=torch.uint8), RAW),
    half=(dict(dtype=torch.float16), CONTRACT),
    soft=(dict(soft=True), CONTRACT),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_answers_alike(net, images, wanted, tmp_path, form):
    options, contract = FORMS[form]
    model = from_onnx(exported(net, tmp_path / "net.onnx", **options), contract)
    with torch.inference_mode():
        found = model(as_input(images, contract)).numpy()
    if form == "soft":
        wanted = torch.tensor(wanted).log_softmax(1).numpy()
    assert model.softmax == (form == "soft") and model.classes == 5
    np.testing.assert_allclose(found, wanted, atol=0.02 if form == "half" else 1e-3)


def quantized(source, path, images, form):
    class Calibration(ortq.CalibrationDataReader):
        def __init__(self):
            self.batches = iter([dict(x=as_input(images, CONTRACT).numpy())])

        def get_next(self):
            return next(self.batches, None)

    ortq.quantize_static(
        str(source),
        str(path),
        Calibration(),
        quant_format=form,
        per_channel=True,
        weight_type=ortq.QuantType.QInt8,
        activation_type=ortq.QuantType.QUInt8,
    )
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [ortq.QuantFormat.QDQ, ortq.QuantFormat.QOperator], ids=["QDQ", "QOperator"])
def test_files_of_the_quantizer_of_onnx_runtime(net, images, wanted, tmp_path, form):
    source = exported(net, tmp_path / "net.onnx")
    model = from_onnx(quantized(source, tmp_path / "int8.onnx", images, form), CONTRACT)
    plain = from_onnx(source, CONTRACT).figures
    with torch.inference_mode():
        found = model(as_input(images, CONTRACT)).numpy()
    assert np.abs(found - wanted).max() < 0.1 * np.ptp(wanted)
    assert model.figures["params"] == plain["params"] == 8 * 27 + 8 + 72 + 8 + 165
    assert 20 < model.figures["distinct_codes"] <= 255 < 2 * plain["distinct_codes"]
    assert model.figures["size_bytes"] == (tmp_path / "int8.onnx").stat().st_size == model.figures["onnx_bytes"]


def test_zeros_are_counted_from_the_zero_point(tmp_path):
    codes = np.array([[3, 5, 3], [7, 3, 9]], np.uint8)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["m"]),
        helper.make_node("Add", ["b", "m"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(value, name)
        for name, value in dict(
            w=codes, s=np.ones(3, np.float32), z=np.array([3, 3, 9], np.uint8), b=np.array([0, 1, 2], np.float32)
        ).items()
    ]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("x", 2), ("y", 3))
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", infos[:1], infos[1:], constants))
    weights, others = weights_of(model)
    assert weights["w"].tolist() == [[0, 2, -6], [4, 0, 0]] and list(others) == ["b"]
    assert counts(model) == dict(params=9, nonzero=5, distinct_codes=4)
    assert (
        counts(
            helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:]))
        )
        == {}
    )


def multiplied(constants, *nodes):
    """A model of one product by `w`."""
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("x", 4), ("y", 3))
    ]
    return helper.make_model(helper.make_graph([*nodes], "g", infos[:1], infos[1:], constants))


@pytest.mark.parametrize("kind", ["BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2"])
def test_zeros_of_short_floats_are_those_that_are_zero(kind):
    values = np.array([[0, 0.25, -0.5], [0.5, 0, 2]] * 2, np.float32)
    weight = helper.make_tensor("w", getattr(TensorProto, kind), values.shape, values.flatten())
    model = multiplied(
        [weight], helper.make_node("Cast", ["w"], ["c"], to=1), helper.make_node("MatMul", ["x", "c"], ["y"])
    )
    assert counts(model) == dict(params=12, nonzero=8, distinct_codes=5)


def test_zero_points_of_blocks_are_those_of_their_weights():
    codes, zero = np.array([[1, 2, 3], [4, 2, 0], [5, 5, 5], [1, 2, 6]], np.int8), [[1, 2, 3], [5, 5, 6]]
    constants = [
        numpy_helper.from_array(value, name)
        for name, value in dict(w=codes, s=np.ones((2, 3), np.float32), z=np.array(zero, np.int8)).items()
    ]
    model = multiplied(
        constants,
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    )
    assert weights_of(model)[0]["w"].tolist() == [[0, 0, 0], [3, 0, -3], [0, 0, -1], [-4, -3, 0]]


def test_weights_whose_codes_share_bytes_are_not_counted():
    """Nor are those beside them: a part would stand for the whole."""
    packed = numpy_helper.from_array(np.zeros((3, 1, 2), np.uint8), "w")
    plain = numpy_helper.from_array(np.eye(3, dtype=np.float32), "v")
    last = helper.make_node("MatMul", ["m", "v"], ["y"])
    assert counts(multiplied([plain], helper.make_node("Identity", ["x"], ["m"]), last)) == dict(
        params=9, nonzero=3, distinct_codes=2
    )
    sharing = helper.make_node("MatMulNBits", ["x", "w", "w"], ["m"], domain="com.microsoft")
    assert counts(multiplied([packed, plain], sharing, last)) == {}


@pytest.mark.parametrize("maker", ["ConstantOfShape", "Expand"])
def test_a_file_that_makes_much_of_little_is_refused_before_it_is_run(maker, tmp_path, monkeypatch):
    sides = numpy_helper.from_array(np.array([2**14, 2**14], np.int64), "sides")
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    nodes = [
        helper.make_node(maker, ["sides"] if maker == "ConstantOfShape" else ["one", "sides"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["top"], keepdims=0),
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Add", ["f", "top"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info("x", 1, [None, 3, 32, 32]), helper.make_tensor_value_info("y", 1, [None, 3])]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [sides, one])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    monkeypatch.setattr("robcomp.elsewhere.session", lambda *_, **__: pytest.fail("the file was run"))
    with pytest.raises(ValueError, match="makes 1,073,741,8[0-9]{2} bytes out of constants, in a file of") as error:
        from_onnx(tmp_path / "n.onnx", CONTRACT)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")
def test_tensors_beside_the_file_count(net, images, wanted, tmp_path):
    model = onnx.load(exported(net, tmp_path / "net.onnx"))
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    found = from_onnx(tmp_path / "big.onnx", CONTRACT)
    assert found.figures["size_bytes"] == sum((tmp_path / name).stat().st_size for name in ("big.onnx", "big.data"))
    assert found.figures["params"] == from_onnx(tmp_path / "net.onnx", CONTRACT).figures["params"]
    with torch.inference_mode():
        np.testing.assert_allclose(found(as_input(images, CONTRACT)), wanted, atol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_refusals_are_one_line(net, tmp_path):
    path = exported(net, tmp_path / "net.onnx")
    for name, change, said in (
        (
            "two_outputs",
            lambda graph: graph.output.append(helper.make_tensor_value_info(graph.node[0].output[0], 1, None)),
            "has 2 outputs",
        ),
        (
            "oblong",
            lambda graph: setattr(graph.input[0].type.tensor_type.shape.dim[3], "dim_value", 40),
            "square colour images",
        ),
    ):
        model = onnx.load(path)
        change(model.graph)
        onnx.save(model, tmp_path / f"{name}.onnx")
        with pytest.raises(ValueError, match=said) as error:
            from_onnx(tmp_path / f"{name}.onnx", CONTRACT)
        assert "\n" not in str(error.value)
    for text, match in (
        (tmp_path / "absent.onnx", "no ONNX file"),
        (path, "does not say how its images are normalised"),
    ):
        with pytest.raises(ValueError, match=match):
            from_onnx(text)
    with pytest.raises(ValueError, match="got \\(2, 3, 32, 32\\)"):
        Elsewhere(lambda x: x, CONTRACT, name="echo")
    with pytest.raises(ValueError, match="size_bytes is the number"):
        from_predict(lambda x: x, CONTRACT, size_bytes=True)
    with pytest.raises(ValueError, match="size_bytes= is missing, the bytes that would ship"):
        from_predict(lambda x: x, CONTRACT)


def test_evaluate_takes_it_beside_ours(net, tmp_path):
    data = load("digits")
    suite = Suite(data, corruptions=["contrast"], severities=[3], per_condition=50)
    ten = model_from(nn.Sequential(net, nn.Linear(5, 10)), name="ten", classes=10, contract=CONTRACT)
    with torch.no_grad():
        theirs = from_predict(lambda x: ten(torch.from_numpy(x)), CONTRACT, size_bytes=1)
    rows = evaluate(dict(ours=ten, theirs=theirs), suite, batch=64, progress=False, device="cpu").set_index(
        ["name", "corruption"]
    )
    for name in (CLEAN, "contrast"):
        assert rows.bits["ours", name] == rows.bits["theirs", name] and np.isclose(
            rows.loss["ours", name], rows.loss["theirs", name], atol=1e-4
        )


@pytest.mark.parametrize("seed", range(5))
def test_an_order_is_found_from_answers_that_are_mostly_right(seed):
    rng = np.random.default_rng(seed)
    order, labels = rng.permutation(20), np.arange(20).repeat(15)
    outputs = np.argsort(order)[labels]
    answers = np.where(rng.random(len(labels)) < 0.8, outputs, rng.integers(0, 20, len(labels)))
    found = detected_output_order(answers, labels, 20)
    assert found == order.tolist() and detected_output_order(order[answers], labels, 20) is None
    assert detected_output_order(rng.integers(0, 20, len(labels)), labels, 20) is None


def test_what_is_wrong_is_said_in_one_line(net, tmp_path):
    """No ONNX, two inputs, an output of the wrong size, and a contract that does not fit, with the values that the
    network saw."""
    from robcomp.checked_answers import checked_answers

    data, path = load("digits"), exported(net, tmp_path / "net.onnx")
    (tmp_path / "note.onnx").write_text("not a network")
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("mask", 1, [1]))
    onnx.save(model, tmp_path / "two.onnx")
    ten = model_from(nn.Sequential(net, nn.Linear(5, 10)), name="ten", classes=10, contract=CONTRACT)
    wild = InputContract(32, (1e4,) * 3, (1, 1, 1))

    def answer(x):
        with torch.no_grad():
            return ten(torch.from_numpy(x))

    few = data.calibration.take(range(100))
    for call, said in (
        (lambda: from_onnx(tmp_path / "note.onnx", CONTRACT), "cannot be run"),
        (lambda: from_onnx(tmp_path / "two.onnx", CONTRACT), r"has 2 inputs \(x, mask\)"),
        (
            lambda: checked_answers(from_onnx(path, CONTRACT), few, data.classes, name="five"),
            "five tells 5 classes apart, the test images have 10",
        ),
        (
            lambda: (
                from_predict(lambda x: answer(x)[:, :, None], CONTRACT, size_bytes=1)
                and from_predict(lambda x: answer(x).sum(1), CONTRACT, size_bytes=1)
            ),
            r"scores are one row per image, \(2, classes\)",
        ),
        (
            lambda: checked_answers(from_predict(answer, wild, size_bytes=1), few, data.classes),
            "it got values from -1e[+]04 to -9.7",
        ),
    ):
        with pytest.raises(ValueError, match=said) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")
def test_openvino_gives_the_answers_of_our_int8_file(tmp_path):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed: pip install 'robcomp[openvino]'")
    from robcomp.compress import compress
    from robcomp.data import contract_of
    from robcomp.deploy import export_onnx, predict
    from robcomp.training import Training, fit

    data = load("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        small = model_from(
            nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
            name="small",
            classes=10,
            contract=contract_of(data),
        )
        fit(small, data, Training(6, peak=0.2), progress=False)
    file = export_onnx(compress(small, "int8", data), tmp_path / "int8.onnx")
    run = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    own, other = predict(file, data.test.images), run(as_input(data.test.images, small.contract).numpy())[0]
    assert (own.argmax(1) == other.argmax(1)).mean() > 0.98


def answers_of(net):
    def answer(x):
        with torch.no_grad():
            return net(torch.from_numpy(x))

    return answer


def test_a_function_that_works_in_place_reaches_no_other_model(net):
    """A model that normalises in place what it is given, and one that answers in the same memory each time."""
    x, kept = torch.rand(4, 3, 32, 32), np.empty((2, 5), np.float32)

    def spoils(images):
        images -= 100
        return answers_of(net)(images)

    def reuses(images):
        if len(images) == 2:
            kept[:] = images.mean((1, 2, 3))[:, None] * np.arange(5)
        return kept

    before, model = x.clone(), from_predict(spoils, CONTRACT, size_bytes=1)
    model(x)
    assert torch.equal(x, before)
    model = from_predict(reuses, CONTRACT, size_bytes=1)
    first = model(x[:2])
    again = first.clone()
    model(x[2:] + 1)
    assert torch.equal(first, again)


def test_what_runs_elsewhere_is_neither_compressed_nor_packed_nor_exported(net, tmp_path):
    from robcomp.compress import compress
    from robcomp.deploy import export_onnx
    from robcomp.pack import pack
    from robcomp.sweep import Study

    model, data = from_predict(answers_of(net), CONTRACT, size_bytes=1, name="theirs"), load("digits")
    for call in (
        lambda: compress(model, "int8", data),
        lambda: compress(model, "dense"),
        lambda: pack(model, tmp_path / "x.robcomp"),
        lambda: export_onnx(model, tmp_path / "x.onnx"),
        lambda: Study(data, model),
    ):
        with pytest.raises(
            (TypeError, ValueError), match="theirs runs elsewhere: it can be judged and evaluated, not compressed"
        ) as error:
            call()
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match="pass it through model_from"):
        Study(data, nn.Flatten())


@pytest.mark.filterwarnings("ignore")
def test_wrong_arguments_are_one_line(net, tmp_path):
    path, bytes_in = (
        exported(net, tmp_path / "net.onnx"),
        exported(net, tmp_path / "bytes.onnx", inside=True, last=True, dtype=torch.uint8),
    )
    answer = answers_of(net)
    for call, said in (
        (
            lambda: from_predict(answer, (32, 0, 1), size_bytes=1),
            r"contract is InputContract\(size, mean, std\).*got \(32, 0, 1\)",
        ),
        (lambda: from_onnx(path, "imagenet"), "contract is InputContract"),
        (lambda: from_predict(answer, CONTRACT, size_bytes=1, order=5), "each of the 5 classes once, 0 to 4, got 5"),
        (lambda: from_predict(answer, CONTRACT, size_bytes=1, order=[None] * 5), "each of the 5 classes once"),
        (lambda: from_predict(lambda x: answer(x)[:, :0], CONTRACT, size_bytes=1), r"got \(2, 0\)"),
        (lambda: from_predict(lambda x: answer(x[:1]), CONTRACT, size_bytes=1), "does it take any number of images"),
        (
            lambda: from_onnx(bytes_in, CONTRACT),
            r"takes bytes as they are: pass contract=InputContract\(32, \(0, 0, 0\), \(1, 1, 1\)\)",
        ),
        (lambda: from_onnx(path, CONTRACT, threads=0), "threads is a whole number from 1 to 256, got 0"),
    ):
        with pytest.raises((TypeError, ValueError), match=said) as error:
            call()
        assert "\n" not in str(error.value)
    assert from_predict(answer, CONTRACT, size_bytes=np.int64(7)).figures == dict(size_bytes=7)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "note",
    [
        "MIT",
        "",
        "null",
        "[1, 2]",
        '{"size": 32}',
        '{"size": 32, "mean": [1], "std": [1]}',
        "[" * 100_000,
        f'{{"size": 32, "mean": [{10**400}, 1, 1], "std": [1, 1, 1]}}',
    ],
    ids=range(8),
)
def test_a_note_of_another_tool_is_no_contract(net, tmp_path, note):
    from robcomp.deploy import predict

    model = onnx.load(exported(net, tmp_path / "net.onnx"))
    helper.set_model_props(model, dict(contract=note))
    onnx.save(model, tmp_path / "net.onnx")
    for call in (
        lambda: from_onnx(tmp_path / "net.onnx"),
        lambda: predict(tmp_path / "net.onnx", np.zeros((1, 32, 32, 3), np.uint8)),
    ):
        with pytest.raises(ValueError, match="the note 'contract' of .* is none of ours") as error:
            call()
        assert "\n" not in str(error.value)
    assert from_onnx(tmp_path / "net.onnx", CONTRACT).classes == 5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ["../secret.bin", "absent.bin", ".", "pipe", "/dev/zero", ""])
def test_tensors_are_read_from_files_beside_the_model_alone(net, tmp_path, place):
    """A path that leads away, and a pipe at which a reader would wait for ever: refused before anything is opened."""
    import os

    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "pipe")
    model = onnx.load(exported(net, tmp_path / "net.onnx"))
    extra = model.graph.initializer.add(name="unused", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    extra.external_data.add(key="location", value=place)
    path = tmp_path / "model" / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="keeps tensors in .*, which is no file beside it") as error:
        from_onnx(path, CONTRACT)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")
def test_evaluation_says_what_answered(net, tmp_path):
    data = load("digits")
    suite = Suite(data, corruptions=["contrast"], severities=[3], per_condition=5)
    ten = model_from(nn.Sequential(net, nn.Linear(5, 10)), name="ten", classes=10, contract=CONTRACT)
    models = dict(
        file=from_onnx(exported(ten, tmp_path / "net.onnx"), CONTRACT),
        function=from_predict(answers_of(ten), CONTRACT, size_bytes=1),
    )
    for engine in ("auto", "torch", "onnxruntime"):
        rows = evaluate(models, suite, engine=engine, device="cpu", progress=False)
        assert rows.groupby("name").engine.first().str.split().str[0].to_dict() == dict(
            file="onnxruntime", function="elsewhere"
        )


@pytest.mark.filterwarnings("ignore")
def test_a_file_that_changed_is_not_taken_for_the_one_that_was_read(net, tmp_path, monkeypatch):
    """A pickle opens its file again, from any folder, and only the file that it was made of."""
    import pickle

    path, x = exported(net, tmp_path / "net.onnx"), torch.zeros(2, 3, 32, 32)
    monkeypatch.chdir(tmp_path)
    model = from_onnx("net.onnx", CONTRACT)
    kept, wanted = pickle.dumps(model), model(x)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert torch.equal(pickle.loads(kept)(x), wanted)
    before = path.read_bytes()
    for change in (
        lambda: path.write_bytes(exported(net, tmp_path / "else" / "soft.onnx", soft=True).read_bytes()),
        path.unlink,
    ):
        change()
        with pytest.raises(ValueError, match="has changed or gone since it was read: read it again") as error:
            pickle.loads(kept)(x)
        assert "\n" not in str(error.value)
    path.write_bytes(before)
    assert torch.equal(pickle.loads(kept)(x), wanted)
