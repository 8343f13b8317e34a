"""The one command, from the outside: a tiny study, its files, its second run, and what it says to mistakes."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torchvision.models import resnet18

from robcomp.data import contract_of, load
from robcomp.models import model_from, weights_sha256
from robcomp.study import main
from robcomp.training import Training, pick_device

ROOT = Path(__file__).parents[1]


def study(folder, *words):
    return subprocess.run([sys.executable, "-m", "robcomp.study", *words], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    recipes = "RECIPES=[dense, prune0.5+tune1, int8, prune0.999]"
    words = ["EPOCHS=1", "PER_CONDITION=2", recipes, "WHERE=size_mb < 5", "BEST=clean"]
    first = study(folder, *words)
    assert first.returncode == 0, first.stderr[-2000:]
    return folder / "runs" / "mobilenetv2-digits", words, first


def test_what_it_leaves(done):
    folder, _, first = done
    trials, summary = pd.read_parquet(folder / "trials.parquet"), pd.read_csv(folder / "summary.csv")
    status = trials.set_index("recipe").status.to_dict()
    assert status == {"dense": "ok", "int8": "ok", "prune0.5+tune1": "ok", "prune0.999": "failed"}
    assert (summary[summary.status == "ok"].n_images == 150).all()
    assert (folder / "mobilenetv2.ipynb").exists()
    page = (folder / "report.html").read_text()
    assert "bringAlive" in page and len(page) > 500_000
    tags = re.sub(r"(?s)(<script[^>]*>).*?</script>", r"\1", page)  # what stands in a script is no tag
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=(?!.?data:)", tags), "it asks for another file"


def test_what_it_prints(done):
    folder, _, first = done
    assert "Front of clean and robust accuracy and size" in first.stdout and "size_mb < 5" in first.stdout
    for name in ("mobilenetv2.ipynb", "trials.parquet", "summary.csv", "report.html"):
        assert name in first.stdout
    assert "sweep mobilenetv2 digits" in first.stderr, "no progress was shown"


def test_second_run_repeats_nothing(done):
    folder, words, first = done
    parts = [folder / "store" / part for part in ("trials", "artifacts", "beginnings", "baselines")]
    files = [path for part in parts for path in part.iterdir() if "prune0.999" not in path.name]
    kept = {path: path.stat().st_mtime_ns for path in files}
    ended = set(pd.read_parquet(folder / "trials.parquet").query("status == 'ok'").key)
    again = study(folder.parents[1], *words)
    assert again.returncode == 0 and again.stdout == first.stdout
    for path, stamp in kept.items():
        if path.parent.name != "trials" or path.stem in ended:
            assert path.stat().st_mtime_ns == stamp, f"{path} was written again"


def test_every_data_set_that_loads_is_a_data_set_of_a_study():
    from robcomp.data import DATASETS
    from robcomp.parameters import VALUES

    allowed, words = VALUES["dataset"]
    assert all(allowed(name) and name in words for name in DATASETS) and not allowed("cifar11")


@pytest.mark.parametrize(
    "words, said",
    [
        (["EPOCH=3"], "unknown parameter 'epoch': did you mean 'epochs'?"),
        (["ARCH=resnet"], "unknown architecture 'resnet': did you mean 'resnet50'?"),
        (["epochs"], "'epochs' is not a parameter: write NAME=VALUE"),
        (["SEED=1"], "unknown parameter 'seed': did you mean 'seeds'?"),
        (["SEEDS=[0, 0]"], "seeds is a list of different whole numbers from 0 on, such as [0, 1, 2], got [0, 0]"),
        (
            ["ARCH=vgg19", "WEIGHTS=absent.safetensors"],
            "weights is auto, a safetensors file that exists, or nothing: train, got 'absent.safetensors'",
        ),
        (
            ["WEIGHTS='{arhc}.safetensors'"],
            "weights '{arhc}.safetensors': what stands in braces is arch, dataset or seed",
        ),
        (["DATASET=cifar11"], "dataset is digits, cifar10, cifar100 or cifar10.1, got 'cifar11'"),
        (["RECIPES=[prone0.5]", "EPOCHS=1"], "unknown stage 'prone': did you mean 'prune'?"),
        (["RECIPES=[dense, prune0.5:gradual]"], "write prune0.5:gradual+tune3"),
        (["DEVICE=cuda0"], "device is cpu, cuda, cuda:1, or nothing"),
    ],
)
def test_mistakes_are_one_line(tmp_path, words, said):
    refused = study(tmp_path, *words)
    assert refused.returncode == 1
    errors = [line for line in refused.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1 and said in errors[0] and "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    "words, said",
    [
        (["DATASET=cifr"], "dataset is digits, cifar10, cifar100 or cifar10.1, got 'cifr'"),
        (["EPOCHS=010"], "epochs is a whole number from 1 on, got '010'"),
        (["EPOCHS=1:30"], "epochs is a whole number from 1 on, got '1:30'"),
        (["EPOCHS=1", "epochs=2"], "'epochs=2': epochs stands twice: write it once"),
        (["RECIPES=[&a [1, 2], *a]"], "a * refers to another value: write it out, or quote it"),
        (["PARAMETERS=5"], "parameters is the name of a file, got 5"),
        (["PARAMETERS=twice.yaml"], "twice.yaml: epochs stands twice: write it once"),
        (["PARAMETERS=octal.yaml"], "epochs is a whole number from 1 on, got '010'"),
        (["ARCH=own.ipynb", "FOLDER=5"], "folder is the name of a folder, got 5"),
        (["FOLDER=5"], "folder is the name of a folder, got 5"),
    ],
)
def test_mistakes_are_heard_before_a_kernel_starts(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("robcomp.study.execute", lambda *_: pytest.fail("a kernel was started"))
    Path("twice.yaml").write_text("epochs: 3\nfolder: runs\nepochs: 30\n")
    Path("octal.yaml").write_text("epochs: 010\n")
    cell = dict(cell_type="code", metadata=dict(tags=["parameters"]), source="folder = 'runs'")
    Path("own.ipynb").write_text(json.dumps(dict(cells=[cell])))
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 1 and said in refused.output and refused.output.count("\n") == 1, refused.output


def test_braces_in_the_name_of_a_folder_are_part_of_it(tmp_path, monkeypatch):
    from robcomp.study import execute

    asked = []
    monkeypatch.setattr("papermill.execute_notebook", lambda *names, **_: asked.extend(names))
    notebook = tmp_path / "a{b}.ipynb"
    notebook.write_text(json.dumps(dict(cells=[])))
    execute(notebook, {}, tmp_path / "out {}" / "{c" / "a.ipynb")
    assert [name.format() for name in asked] == [str(notebook), str(tmp_path / "out {}" / "{c" / "a.ipynb")]


def test_a_number_with_an_exponent_is_one_and_a_day_is_a_text():
    from robcomp.parameters import parameters

    assert parameters(
        ["PEAK=1e-3", "FOLDER=2026-01-01", "EPOCHS=1_000", "SEEDS=[0, -1]", "WARMUP=.1", "EXTRA=true"]
    ) == dict(peak=0.001, folder="2026-01-01", epochs=1000, seeds=[0, -1], warmup=0.1, extra=True)


@pytest.mark.parametrize(
    "given, said",
    [
        (dict(epoch=3), "unknown parameter 'epoch': did you mean 'epochs'"),
        (dict(EPOCHS=3), "unknown parameter 'EPOCHS': did you mean 'epochs'"),
        (dict(_epochs=3), "unknown parameter '_epochs': did you mean 'epochs'"),
        (dict(sizes="nonsense"), "sizes='nonsense' cannot be read"),
        (dict(recipes=["prone0.5"]), "did you mean 'prune'"),
        (dict(where="size_bm < 1"), "size_bm"),
        (dict(frost="nowhere"), "frost is own, imagecorruptions or a folder"),
        (dict(frost="/etc"), "frost='/etc': allowed are"),
        (dict(device="cuda:99"), "device 'cuda:99' is not on this machine"),
    ],
)
def test_plain_papermill_stops_at_the_first_cell_in_one_line(tmp_path, given, said):
    """No library's inside is shown, no data are loaded, nothing is trained."""
    import nbformat
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError
    from robcomp.parameters import experiment

    notebook, out = str(experiment("mobilenetv2")), str(tmp_path / "out.ipynb")
    asked = given | dict(folder=str(tmp_path / "runs"))
    with pytest.raises(PapermillExecutionError) as caught:
        execute_notebook(notebook, out, parameters=asked, progress_bar=False)
    assert said in caught.value.evalue and caught.value.ename == "ParameterError"
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    (error,) = [output for output in outputs if output.output_type == "error"]
    assert len(error.traceback) == 1 and "\n" not in error.traceback[0]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "given, said",
    [
        (dict(frost=""), "frost is own, imagecorruptions or a folder of pictures, got ''"),
        (dict(frost="FOLDER"), "a folder with pictures"),
        (dict(recipes=["dense", "prune0.5:gradual"]), "write prune0.5:gradual[+]tune3"),
        (dict(recipes=["cluster4+prune0.5:gradual+tune1"]), "cannot follow cluster4"),
        (dict(weights="FOLDER"), "weights is auto, a safetensors file that exists"),
        (dict(weights="FOLDER/notes.txt"), "no whole safetensors file"),
        (dict(weights="FOLDER/a.pt"), "holds no plain tensors"),
        (dict(weights="FOLDER/{seed}.safetensors", seeds=[3]), "there is no file"),
        *[
            (dict(weights=text), "what stands in braces is arch, dataset or seed")
            for text in ("{seed:99999999999}", "{seed!r:>9999999999}", "{arch:{seed}}", "{seed.real}", "{", "a}")
        ],
        *[
            (dict(device=text), "device is cpu, cuda")
            for text in ("cuda:", "cuda0", ":0", "cuda:-1", "cuda: 1", "cuda:1000000")
        ],
        *[(dict(device=text), f"device '{text}' is not on this machine") for text in ("cuda:7", "mps", "xpu:3")],
        (dict(images="FOLDER"), "make one per class"),
        (dict(folder="FOLDER/notes.txt/runs"), "folder is the name of a folder"),
        (dict(folder="FOLDER/read only"), "cannot write in .* [(]Read-only file system[)]"),
    ],
)
def test_what_this_machine_cannot_run_with_is_one_line(tmp_path, monkeypatch, given, said):
    """The rules hold for every notebook; nothing is left in the folder of a study that does not begin."""
    from robcomp.parameters import ParameterError, check_parameters

    (tmp_path / "notes.txt").write_text("frost on the window")
    (tmp_path / "a.pt").write_bytes(b"PK\3\4 and no archive")
    made = Path.mkdir

    def mkdir(path, *args, **kwargs):
        if path.name == "read only":
            raise OSError(30, "Read-only file system")
        made(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    given = {
        name: value.replace("FOLDER", str(tmp_path)) if isinstance(value, str) else value
        for name, value in given.items()
    }
    with pytest.raises(ParameterError, match=said) as error:
        check_parameters(dict(folder=str(tmp_path / "runs")) | given, "a notebook of one's own")
    assert len(str(error.value).splitlines()) == 1 and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "name, arch, said",
    [
        ("network", "own_model", "it is one of baseline, not of own_model; allowed: images, size"),
        ("network", "mobilenetv2", "did you mean 'arch'?"),
        ("arch", "baseline", "did you mean 'network'?"),
        ("images", "vgg19", "it is one of own_model, not of vgg19; allowed"),
        ("weight_decay", "mobilenetv2", "it is one of baseline, not of mobilenetv2; allowed"),
        ("weights", "baseline", "it is one of mobilenetv2, resnet50, vgg19, not of baseline; allowed"),
        ("os", "vgg19", "allowed: arch, dataset"),
        ("os", "own_model", "allowed: images, size"),
        ("lr", "resnet50", "did you mean 'peak'?"),
        ("LR", "own_model", "did you mean 'peak'?"),
        ("size", "vgg19", "did you mean 'sizes'?"),
        ("seed", "vgg19", "did you mean 'seeds'?"),
        ("x", "vgg19", "allowed:"),
    ],
)
def test_a_name_that_is_no_parameter_gets_no_silly_hint(name, arch, said):
    from robcomp.parameters import checked, experiment

    with pytest.raises(ValueError) as error:
        checked({name: 3}, experiment(arch))
    assert str(error.value).startswith(f"unknown parameter {name!r}: {said}") and "\n" not in str(error.value)


def test_every_parameter_of_every_experiment_has_a_rule():
    """Its default keeps it, and of values of every kind what does not is one line."""
    from robcomp.costs import MACS
    from robcomp.models import ARCHITECTURES
    from robcomp.parameters import EXPERIMENTS, VALUES, ParameterError, check_values, parameter_lines

    odd = [
        None,
        True,
        False,
        0,
        -1,
        1,
        2.5,
        1e308,
        float("nan"),
        float("inf"),
        10**30,
        "",
        " ",
        "x",
        "a\nb",
        "a\0b",
        "a" * 5000,
        "{",
        "{0}",
        "{seed.x}",
        "{seed[0]}",
        "{arch!z}",
        "/",
        "1*1",
        "8*1+",
        "9" * 400 + "*1",
        "size_mb <",
        "(",
        [],
        [None],
        [[]],
        ["int8", 3],
        ["dense+int8"],
        [10**30],
        [True],
        [0.0],
        {},
        {"a": 1},
        (),
        (1,),
        object(),
        b"x",
    ]
    everything = {}
    for path in sorted(EXPERIMENTS.glob("*.ipynb")):
        defaults = {line.targets[0].id: ast.literal_eval(line.value) for line in parameter_lines(path)}
        assert defaults and defaults.keys() <= VALUES.keys(), path
        check_values(defaults)
        everything |= defaults
    for name, value in [(name, value) for name in everything for value in odd]:
        try:
            check_values(dict(epochs=1) | {name: value})
        except ParameterError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 1500, (name, value)
        else:
            assert type(value) in (int, str, bool, float, list, type(None)), (name, value)
    assert set(MACS) == set(ARCHITECTURES)


def test_data_sets_have_as_many_test_images_as_the_rule_for_conditions_says():
    from robcomp.data import load
    from robcomp.parameters import SIDE, TEST_IMAGES

    assert (len(load("digits").test), load("digits").size) == (TEST_IMAGES["digits"], SIDE)


def test_names_of_a_notebook_itself_are_no_parameters(tmp_path):
    """What its own cells make, in plain Python or with IPython's words, and what IPython keeps.

    In a session that has run it to the end, too."""
    import nbformat
    from robcomp.parameters import ParameterError, check_parameters

    code = [
        "import math as MATHS\nfrom math import pi as PI",
        "%matplotlib inline\nwords = !ls",
        "Own, (two, *more) = 1, (2, 3)\nfor n in 1, 2: last = n\ndef known(): pass",
    ]
    cells = [
        nbformat.v4.new_code_cell("epochs = 3", metadata=dict(tags=["parameters"])),
        *map(nbformat.v4.new_code_cell, code),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "mine.ipynb")
    made = dict(epochs=3, PI=3.1, MATHS=None, words=["a"], Own=1, two=2, more=[3], n=2, last=2)
    history = dict(_=1, __=2, _12="x", _i=" ", _i3="y", _ih=["epochs = 3"], _oh={}, _dh=[], In=[], Out={})
    ran = made | history | dict(__doc__=None, __np=None, _exit_code=0)
    check_parameters(ran, "mine", folder=tmp_path)
    for name in ("epoch", "EPOCHS", "Epochs", "LAST"):
        with pytest.raises(ParameterError, match=f"^unknown parameter '{name}'"):
            check_parameters(ran | {name: 3}, "mine", folder=tmp_path)
    for name in ("_epochs", "__epochs__", "last", "PI", "Out", "_3"):
        injected = ["", "epochs = 3", f"# Parameters\n{name} = 3\n"]
        with pytest.raises(ParameterError, match=f"^unknown parameter '{name}'"):
            check_parameters(ran | {name: 3, "_ih": injected}, "mine", folder=tmp_path)


@pytest.mark.parametrize("name", ["globals", "Study", "check_parameters", "print"])
@pytest.mark.parametrize("notebook", ["baseline", "mobilenetv2", "own_model", "resnet50", "vgg19"])
def test_a_parameter_may_have_any_name_and_is_still_found(notebook, name):
    """Cells of a notebook up to its check, behind a cell of parameters as papermill injects it."""
    from robcomp.parameters import EXPERIMENTS

    cells = ["".join(cell["source"]) for cell in json.loads((EXPERIMENTS / f"{notebook}.ipynb").read_text())["cells"]]
    check = next(place for place, source in enumerate(cells) if source.startswith("check_parameters("))
    injected = f"# Parameters\n{name} = 3\n"
    own = dict(_ih=["", cells[check - 2], injected])
    for source in (cells[check - 2], injected, cells[check - 1]):
        exec(source, own)
    with pytest.raises(ValueError, match=f"^unknown parameter '{name}'"):
        exec(cells[check], own)


def test_a_name_of_a_megabyte_is_cut_where_it_is_said():
    from robcomp._text.columns import unknown_column
    from robcomp._text.suggest import unknown, unknown_parameter

    for say in (lambda name, allowed: unknown("stage", name, allowed), unknown_column, unknown_parameter):
        assert len(say("a" * 10**6, ["epochs", "batch"])) < 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "7",
        '{"cells": 3}',
        '{"cells": [3]}',
        '{"cells": [{"cell_type": "code", "metadata": [], "source": ""}]}',
        "[" * 100_000,
        "\xff",
        '{"cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "epochs = "}]}',
    ],
)
def test_a_notebook_that_cannot_be_read_is_one_line(tmp_path, text):
    (tmp_path / "mine.ipynb").write_text(text, encoding="latin1")
    refused = CliRunner().invoke(main, [f"ARCH={tmp_path / 'mine.ipynb'}", "EPOCHS=1", f"FOLDER={tmp_path / 'runs'}"])
    assert refused.exit_code == 1 and isinstance(refused.exception, SystemExit)
    assert len(refused.output.strip().splitlines()) == 1
    assert "mine.ipynb" in refused.output and not (tmp_path / "runs").exists()


def test_seeds_are_trials_of_one_recipe(tmp_path):
    """Two seeds train two networks, see the same images, and are one line of the front."""
    words = ["EPOCHS=1", "PER_CONDITION=2", "SEEDS=[0, 1]", "RECIPES=[dense, int8]", "WHERE=size_mb < 5", "BEST=clean"]
    ran = study(tmp_path, *words)
    assert ran.returncode == 0, ran.stderr[-2000:]
    trials = pd.read_parquet(tmp_path / "runs" / "mobilenetv2-digits" / "trials.parquet")
    assert sorted(zip(trials.recipe, trials.seed)) == [("dense", 0), ("dense", 1), ("int8", 0), ("int8", 1)]
    assert trials.suite.nunique() == 1
    assert trials.groupby("seed").weights.nunique().eq(1).all() and trials.weights.nunique() == 2
    assert re.search(r"int8 +2 ", ran.stdout) and "mean of 2 seeds" in ran.stdout


def test_a_parameter_file_names_its_network():
    from robcomp.parameters import EXPERIMENTS, ParameterError, check_parameters, checked, experiment, with_file

    files = sorted((EXPERIMENTS / "parameters").glob("*.yaml"))
    for path in files:
        given = with_file(dict(parameters=path.stem))
        notebook = experiment(given["arch"])
        assert checked(given, notebook) == given and given["folder"] == f"runs/{path.stem.removesuffix('-seeds')}"
    assert len(files) == 19 and experiment("resnet50_pooled") == experiment("resnet50")
    with pytest.raises(ParameterError, match="mobilenetv2 has a notebook of its own: run that one, not vgg19"):
        check_parameters(dict(arch="mobilenetv2"), "vgg19")


def test_every_parameter_file_of_a_study_makes_a_plan(tmp_path):
    from robcomp.many import read_parameters
    from robcomp.plan import Plan, cell_weights
    from robcomp.parameters import EXPERIMENTS

    for path in (EXPERIMENTS / "parameters").glob("*.yaml"):
        if path.stem.startswith("baseline"):
            continue
        plan = Plan(read_parameters(path.stem))
        arch, dataset = plan.cells[0]["arch"].replace("_", "-"), plan.cells[0]["dataset"]
        assert re.fullmatch(rf"{arch}-{dataset}(-seeds|-all|-dense1|-peak0\.\d+)?", path.stem)
    assert cell_weights(dict(weights="auto", arch="mobilenetv2", dataset="cifar10", seed=0)).is_file()
    assert cell_weights(dict(weights="auto", arch="vgg19", dataset="cifar10", seed=0)) is None


def test_the_network_that_comes_with_robcomp_is_the_one_of_the_committed_tables():
    from robcomp._files.shipped import starting_weights
    from robcomp.models import weights_sha256

    trials = pd.read_parquet(ROOT / "results" / "mobilenetv2-cifar10" / "trials.parquet")
    file = starting_weights("auto", arch="mobilenetv2", dataset="cifar10")
    assert file.stat().st_size < 5e6 and set(trials.weights) == {weights_sha256(file)}


def test_a_network_of_ones_own_starts_alike_when_its_page_is_run_again():
    """So that an interrupted training goes on from its checkpoint, which belongs to the weights it began with."""
    cells = json.loads((ROOT / "nbs" / "experiments" / "own_model.ipynb").read_text())["cells"]
    (code,) = (text for text in ("".join(cell["source"]) for cell in cells) if "checkpoint=" in text)
    starts = []
    for _ in range(2):
        data = load("digits")
        names = dict(
            manual_seed=torch.manual_seed,
            resnet18=resnet18,
            data=data,
            seed=3,
            epochs=1,
            peak=0.1,
            batch=8,
            folder="",
            device="cpu",
            pick_device=pick_device,
            model_from=model_from,
            contract_of=contract_of,
            Training=Training,
            fit=lambda network, *_, **__: starts.append(weights_sha256(network)) or pd.DataFrame(),
        )
        exec(code, names)
    assert starts[0] == starts[1]


def test_a_corruption_in_the_place_of_a_column_is_told_where_it_is_found():
    from robcomp.choice import choose
    from robcomp.results import summarise
    from robcomp.tables import example

    for given in (dict(best="fog"), dict(where="jpeg_compression > 0.5")):
        with pytest.raises(ValueError, match=r"is a corruption and no column.*by_condition\(tables\)"):
            choose(summarise(example()), **given)
