"""The one command, from the outside: a tiny study, its files, its second run, and what it says to mistakes."""
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


def study(folder, *words):
    return subprocess.run([sys.executable, "-m", "robcomp.study", *words], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    words = ["EPOCHS=1", "PER_CONDITION=2", "RECIPES=[dense, prune0.5+tune1, int8, prune0.999]", "WHERE=size_mb < 5", "BEST=clean"]
    first = study(folder, *words)
    assert first.returncode == 0, first.stderr[-2000:]
    return folder / "runs" / "mobilenetv2-digits", words, first


def test_what_it_leaves(done):
    folder, _, first = done
    trials, summary = pd.read_parquet(folder / "trials.parquet"), pd.read_csv(folder / "summary.csv")
    assert trials.set_index("recipe").status.to_dict() == {"dense": "ok", "int8": "ok", "prune0.5+tune1": "ok", "prune0.999": "failed"}
    assert (summary[summary.status == "ok"].n_images == 150).all()
    assert (folder / "mobilenetv2.ipynb").exists()
    page = (folder / "report.html").read_text()
    assert "bringAlive" in page and len(page) > 500_000 and not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=(?!.?data:)", re.sub(r"(?s)(<script[^>]*>).*?</script>", r"\1", page))


def test_what_it_prints(done):
    folder, _, first = done
    assert "Front of clean and robust accuracy and size" in first.stdout and "size_mb < 5" in first.stdout
    for name in ("mobilenetv2.ipynb", "trials.parquet", "summary.csv", "report.html"): assert name in first.stdout
    assert "sweep mobilenetv2 digits" in first.stderr, "no progress was shown"


def test_second_run_repeats_nothing(done):
    folder, words, first = done
    kept = {path: path.stat().st_mtime_ns for part in ("trials", "artifacts", "beginnings", "baselines") for path in (folder / "store" / part).iterdir()
            if "prune0.999" not in path.name}
    ended = set(pd.read_parquet(folder / "trials.parquet").query("status == 'ok'").key)
    again = study(folder.parents[1], *words)
    assert again.returncode == 0 and again.stdout == first.stdout
    for path, stamp in kept.items():
        if path.parent.name != "trials" or path.stem in ended: assert path.stat().st_mtime_ns == stamp, f"{path} was written again"


def test_every_data_set_that_loads_is_a_data_set_of_a_study():
    from robcomp.data import DATASETS
    from robcomp.study import VALUES
    allowed, words = VALUES["dataset"]
    assert all(allowed(name) and name in words for name in DATASETS) and not allowed("cifar11")


@pytest.mark.parametrize("words, said", [
    (["EPOCH=3"], "unknown parameter 'epoch': did you mean 'epochs'?"),
    (["ARCH=resnet"], "unknown architecture 'resnet': did you mean 'resnet50'?"),
    (["epochs"], "'epochs' is not a parameter: write NAME=VALUE"),
    (["DATASET=cifar11"], "dataset is digits, cifar10, cifar100 or cifar10.1, got 'cifar11'"),
    (["RECIPES=[prone0.5]", "EPOCHS=1"], "unknown stage 'prone': did you mean 'prune'?"),
])
def test_mistakes_are_one_line(tmp_path, words, said):
    refused = study(tmp_path, *words)
    assert refused.returncode == 1
    errors = [line for line in refused.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1 and said in errors[0] and "Traceback" not in refused.stderr


@pytest.mark.parametrize("given, said", [(dict(epoch=3), "unknown parameter 'epoch': did you mean 'epochs'"), (dict(recipes=["prone0.5"]), "did you mean 'prune'"),
                                         (dict(where="size_bm < 1"), "size_bm"), (dict(frost="nowhere"), "frost is own, imagecorruptions or a folder")])
def test_plain_papermill_stops_at_the_first_cell_in_one_line(tmp_path, given, said):
    """No library's inside is shown, no data are loaded, nothing is trained."""
    import nbformat
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError
    from robcomp.study import experiment
    with pytest.raises(PapermillExecutionError) as caught:
        execute_notebook(str(experiment("mobilenetv2")), str(tmp_path / "out.ipynb"), parameters=given | dict(folder=str(tmp_path / "runs")), progress_bar=False)
    assert said in caught.value.evalue and caught.value.ename == "ParameterError"
    outputs = [output for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert len(outputs) == 1 and len(outputs[0].traceback) == 1 and "\n" not in outputs[0].traceback[0]
    assert not (tmp_path / "runs").exists()
