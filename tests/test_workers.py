"""Workers that come, go and are killed: nothing is done twice to its end, nothing is lost, the table is the same."""

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from robcomp._store.checked import statuses
from robcomp._store.claims import Claims, Owner, Watch, has_ended, myself
from robcomp._store.pictures import read_data, write_data
from robcomp._store.shards import read_deal, read_trial, trial_files, write_deal, write_trial
from robcomp.baseline import start_digest
from robcomp.command import main
from robcomp.plan import Plan, write_plan
from robcomp.sweep import Study, plan, sweep
from robcomp.training import Training
from robcomp.workers import failed_trials, merge, start, status, study_of, work
from test_sweep import RECIPES, STUDY, comparable, same, study, whole  # noqa: F401 (whole is a fixture)

NODES = ["a", "b", "c"]


class ClaimProtocol(RuleBasedStateMachine):
    """Workers of several machines under random delays, crashes and restarts; time and the end of processes are
    simulated."""

    def __init__(self):
        super().__init__()
        self.folder, self.time, self.dead, self.born = tempfile.TemporaryDirectory(), 0.0, set(), 4
        self.written, self.finished = {}, {}
        self.workers = {n: self.worker(n) for n in range(4)}

    def teardown(self):
        self.folder.cleanup()

    def worker(self, number):
        """Odd ones cannot be asked whether they live: they are on another machine."""
        made = Claims(
            self.folder.name,
            owner=Owner("here" if number % 2 == 0 else "there", number),
            patience=10,
            now=lambda: self.time,
            ended=lambda owner: owner.host == "here" and owner.pid in self.dead,
        )
        made.beat = lambda: [
            os.utime(made._path(name, number), (self.time, self.time)) for name, (number, _) in made.mine.items()
        ]
        return made

    def touch(self, claims, name):
        """The simulated server gives new files its own time."""
        number, _ = claims.mine[name]
        os.utime(claims._path(name, number), (self.time, self.time))

    @rule(slot=st.integers(0, 3), name=st.sampled_from(NODES))
    def take(self, slot, name):
        claims = self.workers[slot]
        if name in self.finished or name in claims.mine:
            return
        before = claims.current(name)
        if claims.take(name):
            self.touch(claims, name)
            assert (
                before is None
                or before.state != "held"
                or before.owner.pid in self.dead
                or self.time - before.seen > 10
            ), "taken from an owner that was there"

    @rule(slot=st.integers(0, 3), name=st.sampled_from(NODES))
    def write(self, slot, name):
        claims = self.workers[slot]
        if name not in claims.mine:
            return
        if claims.holds(name):
            assert name not in self.finished, "done twice to the end"
            self.finished[name] = slot
        claims.leave(name, state="done")

    @rule(slot=st.integers(0, 3))
    def crash_and_restart(self, slot):
        self.dead.add(self.workers[slot].owner.pid)
        self.born += 2
        self.workers[slot] = self.worker(self.born + slot % 2)

    @rule(seconds=st.floats(0, 15), alive=st.sets(st.integers(0, 3)))
    def pass_time(self, seconds, alive):
        """Only some say that they are there: the others hang, or their disk does."""
        self.time += seconds
        for slot in alive:
            self.workers[slot].beat()

    @invariant()
    def one_holder(self):
        for name in NODES:
            assert sum(claims.holds(name) for claims in self.workers.values()) <= 1

    @invariant()
    def none_is_lost(self):
        """A newcomer who waits long enough gets whatever is not done."""
        for name in set(NODES) - set(self.finished):
            current = self.workers[0].current(name)
            late = Claims(self.folder.name, patience=10, now=lambda: self.time + 100, ended=lambda owner: False)
            assert current is None or current.state != "held" or late.abandoned(current)


TestClaimProtocol = ClaimProtocol.TestCase
TestClaimProtocol.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_processes_race_for_claims(tmp_path):
    """Four processes: each of 200 names has one owner."""
    code = (
        "import sys\nfrom robcomp._store.claims import Claims\nclaims = Claims(sys.argv[1])\n"
        "print(*[name for name in map(str, range(200)) if claims.take(name)])\nsys.stdout.flush()\nsys.stdin.read()"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    taken = [process.stdout.readline().split() for process in running]
    for process in running:
        process.communicate("")
    assert sorted(int(name) for names in taken for name in names) == list(range(200))


def test_an_ended_process_is_told_from_a_live_one():
    process = subprocess.Popen(
        [sys.executable, "-c", "from robcomp._store.claims import myself\nprint(tuple(myself()))"],
        stdout=subprocess.PIPE,
        text=True,
    )
    owner = Owner(*eval(process.communicate()[0], {}))
    assert not has_ended(myself()) and (has_ended(owner) or not owner.space)
    assert not has_ended(owner._replace(space="another machine"))


def test_a_half_written_claim_is_taken_over_when_it_is_silent(tmp_path):
    claims = Claims(tmp_path, patience=-1)
    (tmp_path / "claims" / "x.0").touch()
    assert not Claims(tmp_path).take("x") and claims.take("x")


GARBLED = dict(
    text=lambda path: path.write_text("}{"),
    kinds=lambda path: path.write_text('{"pid": 1, "token": "x", "state": "held"}'),
    byte=lambda path: path.write_text(path.read_text().replace('"space": "', '"space": "x')),
    cut=lambda path: path.write_bytes(path.read_bytes()[:20]),
    latin=lambda path: path.write_bytes(b"\xff" + path.read_bytes()),
    folder=lambda path: (path.unlink(), path.mkdir()),
    pipe=lambda path: (path.unlink(), os.mkfifo(path)),
    link=lambda path: (path.unlink(), path.symlink_to("nothing")),
)


@pytest.mark.parametrize("garble", GARBLED.values(), ids=GARBLED)
def test_a_claim_that_cannot_be_read_is_passed_over_at_once_and_named(tmp_path, garble):
    held, other = Claims(tmp_path), Claims(tmp_path)
    assert held.take("x") and not other.take("x")
    garble(tmp_path / "claims" / "x.0")
    assert Watch(tmp_path).working() == {}
    with pytest.warns(UserWarning, match="claims/x.0 is no claim that can be read: passed over") as said:
        assert other.take("x")
    assert len(said) == 1 and "\n" not in str(said[0].message)
    assert other.holds("x") and not held.holds("x") and not Claims(tmp_path).take("x")


def test_a_claim_of_an_earlier_version_has_no_digest_and_counts(tmp_path):
    claims = Claims(tmp_path)
    assert claims.take("x")
    path = tmp_path / "claims" / "x.0"
    said = json.loads(path.read_text())
    assert said.pop("digest")
    path.write_text(json.dumps(said))
    assert claims.holds("x") and not Claims(tmp_path).take("x")


@pytest.mark.parametrize("apart", [-1000, 1000])
def test_a_claim_of_another_time_is_silent(tmp_path, apart):
    """As one of a store that was copied from a machine whose clock is ahead, by somebody who is not on this one."""
    away = Claims(tmp_path, owner=Owner("away", 1, "another machine", "2"))
    assert away.take("x") and not Claims(tmp_path).take("x")
    then = time.time() + apart
    os.utime(tmp_path / "claims" / "x.0", (then, then))
    assert Claims(tmp_path).take("x")


def test_a_resume_waits_for_no_claim_that_cannot_be_read(whole, tmp_path):
    shutil.copytree(whole[1], tmp_path / "store")
    for path in (tmp_path / "store" / "trials").iterdir():
        path.unlink()
    for path in (tmp_path / "store" / "claims").iterdir():
        path.write_text("}{")
    start = time.perf_counter()
    with pytest.warns(UserWarning, match="is no claim that can be read"):
        sweep(study(), RECIPES, tmp_path / "store", progress=False)
    assert time.perf_counter() - start < 60
    same(tmp_path / "store", whole)


def test_random_kills_over_four_workers_leave_the_same_table(whole, tmp_path):
    """Thirty SIGKILLs at random moments; then four workers finish: the same tables and packed files, byte for byte, but
    for times."""
    script, _ = whole
    command, draws = [sys.executable, script, tmp_path / "store", " ".join(RECIPES)], random.Random(0)
    running = [subprocess.Popen(command) for _ in range(4)]
    for _ in range(30):
        time.sleep(draws.uniform(0.2, 3))
        slot = draws.randrange(4)
        running[slot].send_signal(signal.SIGKILL)
        running[slot].wait()
        running[slot] = subprocess.Popen(command)
    assert [process.wait() for process in running] == [0] * 4
    same(tmp_path / "store", whole)
    packed = [
        {path.name: path.read_bytes() for path in (store / "artifacts").glob("*.robcomp")}
        for store in (tmp_path / "store", whole[1])
    ]
    assert len(packed[0]) == len(RECIPES) and packed[0] == packed[1]


def test_two_processes_on_one_store_share_the_work(whole, tmp_path):
    script, _ = whole
    running = [subprocess.Popen([sys.executable, script, tmp_path / "store", " ".join(RECIPES)]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert len(list((tmp_path / "store" / "claims").glob("trial-*.0"))) == len(RECIPES) and not list(
        (tmp_path / "store" / "claims").glob("*.1")
    )
    same(tmp_path / "store", whole)


def test_kept_beginnings_of_every_kind_give_the_same_table(tmp_path):
    """Beginnings that end with recal and int8 are read back where recipes share them."""
    recipes = ["recal", "recal+int4", "int8", "int8+prune0.5", "prune0.5+recal+cluster4", "prune0.5+recal"]
    sweep(study(), recipes, tmp_path / "shared", progress=False)
    assert len(list((tmp_path / "shared" / "beginnings").glob("*.robcomp"))) == 3
    for recipe in recipes:
        sweep(study(), [recipe], tmp_path / "alone", progress=False)
    for mine, theirs in zip(comparable(tmp_path / "shared"), comparable(tmp_path / "alone")):
        pd.testing.assert_frame_equal(mine, theirs)


def test_data_travels_as_a_path(tmp_path):
    own = study()
    path = write_data(tmp_path, own.data)
    again = read_data(path)
    assert (
        (again.train.images == own.data.train.images).all()
        and again.classes == own.data.classes
        and write_data(tmp_path, again) == path
    )
    assert len(pickle.dumps(path)) < 1_000 < len(pickle.dumps(own.data))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="truncated"):
        read_data(path)


def test_what_was_read_whole_is_not_read_again(whole, monkeypatch):
    keys = [path.stem for path in trial_files(whole[1])]
    assert set(statuses(whole[1], keys).values()) == {"ok"}
    monkeypatch.setattr("robcomp._store.checked.read_record", lambda path: pytest.fail(f"{path} was read again"))
    assert len(statuses(whole[1], keys)) == len(keys)


# -- how a store stands --


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def small_plan(monkeypatch, **given):
    """A plan whose network is small, trained for a moment where it is trained at all."""
    from test_sweep import vary

    monkeypatch.setattr(
        "robcomp.workers.study_of", lambda plan, number, device=None: vary(study(), seed=plan.cells[number]["seed"])
    )
    plan = Plan(dict(seeds=[0], recipes=["dense", "prune0.5+tune1", "prune0.5+tune1+int8", "prune0.9999"]) | given)
    plan.nodes = [dict(node, seconds=3600.0 * len(node["recipes"] or [1])) for node in plan.nodes]  # an hour each
    return plan


def test_status_of_a_plan_counts_hours_of_dense_networks_and_beginnings(tmp_path):
    """Nothing is begun but the plan: all of its hours are left."""
    plan = Plan(dict(seeds=[0, 1], recipes=["dense", "tune1", "tune1+int8"]))
    (tmp_path / "plans").mkdir()
    write_plan(plan, tmp_path / "plans" / "all.json")
    before = everything(tmp_path)
    table = status(tmp_path)
    assert table.kind.value_counts().to_dict() == dict(trial=6, dense=2, beginning=2) and set(table.state) == {"open"}
    assert table.seconds.sum() / 3600 == pytest.approx(plan.hours) and everything(tmp_path) == before


def test_status_follows_a_plan(tmp_path, monkeypatch):
    plan = small_plan(monkeypatch)
    assert work(plan, store=tmp_path, progress=False) == 4
    table = status(tmp_path).set_index(["kind", "what"])
    assert table.state["trial", "prune0.9999"] == "failed" and "nothing of" in table.error["trial", "prune0.9999"]
    assert set(table.state.drop(("trial", "prune0.9999"))) == {"done"} and len(table) == 6
    key = next(path for path in trial_files(tmp_path) if read_trial(path)[0]["recipe"] == "prune0.5+tune1+int8")
    key.unlink()
    (tmp_path / "claims" / f"trial-{key.stem}.0").unlink()
    with Claims(tmp_path).beating() as claims:
        assert claims.take(f"trial-{key.stem}")
        mine, before = status(tmp_path).set_index(["kind", "what"]), everything(tmp_path)
        assert (
            mine.state["trial", "prune0.5+tune1+int8"] == "claimed"
            and str(os.getpid()) in mine.who["trial", "prune0.5+tune1+int8"]
        )
        assert mine.state["beginning", "prune0.5+tune1"] == "done" and everything(tmp_path) == before
    next((tmp_path / "beginnings").glob("*.robcomp")).unlink()
    again = status(tmp_path).set_index(["kind", "what"])
    assert again.state["beginning", "prune0.5+tune1"] == again.state["trial", "prune0.5+tune1+int8"] == "open", (
        "a trial waits for it"
    )
    trial_files(tmp_path)[0].write_bytes(b"PAR1")
    assert "damaged" in set(status(tmp_path).state) and not (tmp_path / "damaged").exists()


def test_status_tells_what_a_sweep_left(tmp_path):
    sweep(study(), ["dense", "prune0.9999"], tmp_path, progress=False)
    before = everything(tmp_path)
    said = CliRunner().invoke(main, ["status", str(tmp_path)]).output
    assert (
        "trials: 1 done, 1 failed" in said
        and "left of what the last sweeps were asked for: 0" in said
        and "hours" not in said
        and "failed: small noise 0 prune0.9999: ValueError: prune0.9999: nothing of" in said
    )
    assert everything(tmp_path) == before


def test_status_names_what_an_interrupted_sweep_has_still_to_do(tmp_path):
    sweep(study(), ["dense", "int8", "cluster4"], tmp_path, progress=False)
    gone = next(path for path in trial_files(tmp_path) if read_trial(path)[0]["recipe"] == "cluster4")
    gone.unlink()
    said = CliRunner().invoke(main, ["status", str(tmp_path)]).output
    assert "trials: 2 done, 1 open" in said and "asked for: 1" in said
    assert (status(tmp_path).set_index("what").state["cluster4"]) == "open"
    sweep(study(), ["dense", "int8"], tmp_path, progress=False)
    assert "open" not in set(status(tmp_path).state), "what is no longer asked for is not left"
    next((tmp_path / "requests").glob("*.json")).write_text("{")
    assert set(status(tmp_path).state) == {"done"}


@pytest.mark.parametrize(
    "key, field",
    [
        ("../../secret", {}),
        ("a" * 5000, {}),
        ("a\0b", {}),
        ("", {}),
        ("0" * 16, dict(seed="0")),
        ("0" * 16, dict(arch=3)),
    ],
)
def test_a_request_of_what_is_no_trial_is_passed_over_and_written_again(tmp_path, key, field):
    sweep(study(), ["dense"], tmp_path, progress=False)
    path = next((tmp_path / "requests").glob("*.json"))
    whole, fields = path.read_bytes(), dict(dataset="noise", arch="small", seed=0, recipe="dense")
    path.write_text(json.dumps({key: fields | field}))
    assert status(tmp_path).state.tolist() == ["done"]
    sweep(study(), ["dense"], tmp_path, progress=False)
    assert path.read_bytes() == whole


def test_a_folder_that_has_the_name_of_a_request_is_set_aside(tmp_path):
    sweep(study(), ["dense"], tmp_path, progress=False)
    path = next((tmp_path / "requests").glob("*.json"))
    path.unlink()
    path.mkdir()
    with pytest.warns(UserWarning, match="is no file"):
        sweep(study(), ["dense"], tmp_path, progress=False)
    assert path.is_file() and status(tmp_path).state.tolist() == ["done"]


@pytest.mark.parametrize("command", ["status", "retry", "merge"])
@pytest.mark.parametrize(
    "kind, said",
    [("results", "did you mean"), ("other", "is no store"), ("absent", "no store at"), ("file", "no store at")],
)
def test_what_is_no_store_is_left_alone(tmp_path, command, kind, said):
    place = tmp_path / kind
    if kind == "results":
        (place / "store" / "trials").mkdir(parents=True)
    if kind == "other":
        place.mkdir()
    if kind == "file":
        place.touch()
    before = everything(tmp_path)
    done = CliRunner().invoke(
        main, [command, str(place), *(["--into", str(tmp_path / "into")] if command == "merge" else [])]
    )
    assert (
        done.exit_code == 1 and said in done.output and done.output.count("\n") == 1 and everything(tmp_path) == before
    )


# -- merge --


def test_a_merge_takes_all_that_saves_work(tmp_path, monkeypatch):
    """The merged store goes on without training, tuning or looking at anything again."""
    one, other, into = (tmp_path / name for name in ("one", "other", "into"))
    trained = Study(
        "digits",
        "mobilenetv2",
        train=Training(0.01, batch=16),
        tune=Training(0.01, batch=16),
        conditions=dict(corruptions=("contrast",), severities=(1,), per_condition=5),
    )
    sweep(trained, ["dense", "tune1", "tune1+int8"], one, progress=False)
    work(small_plan(monkeypatch), store=other, progress=False)
    merge([one], into)
    work(small_plan(monkeypatch, recipes=["dense"]), store=into, progress=False)
    merge([other], into)
    for part in ("trials", "artifacts", "deals", "beginnings", "baselines", "plans", "training", "keys"):
        names = {path.name for store in (one, other) for path in (store / part).glob("*.*")}
        assert names <= {path.name for path in (into / part).glob("*.*")}, part
    assert {path.suffix for path in (into / "baselines").iterdir()} == {".pt", ".sha256"} and list(
        (into / "beginnings").glob("*.json")
    )
    assert len(list((into / "plans").iterdir())) == 2, "the same cells with other recipes are two plans"
    assert merge([one, other], into) == 0
    monkeypatch.setattr("robcomp.baseline.fit", lambda *_, **__: pytest.fail("the dense network was trained again"))
    for path in trial_files(into):
        path.unlink()
    assert start_digest(trained, into) == start_digest(trained, one)


def test_plans_of_one_cell_with_other_recipes_are_both_known_in_their_merged_store(tmp_path, monkeypatch):
    for name, recipes in (("one", ["dense", "int8"]), ("other", ["dense", "cluster4"])):
        work(small_plan(monkeypatch, recipes=recipes), store=tmp_path / name, progress=False)
    merge([tmp_path / "one", tmp_path / "other"], tmp_path / "into")
    for store in ("into", "one"):  # the same for two plans that were worked on in one store
        if store == "one":
            work(small_plan(monkeypatch, recipes=["dense", "cluster4"]), store=tmp_path / "one", progress=False)
        table = status(tmp_path / store)
        assert set(table.state) == {"done"} and not table[table.kind == "trial"].duplicated(["cell", "what"]).any()


def test_a_worker_says_at_its_end_that_trials_have_failed(tmp_path, monkeypatch):
    plan = small_plan(monkeypatch, recipes=["dense", "prune0.9999"])
    assert failed_trials(plan, tmp_path / "store") == 0
    work(plan, store=tmp_path / "store", progress=False)
    done = CliRunner().invoke(
        main, ["work", str(write_plan(plan, tmp_path / "plan.json")), "--store", str(tmp_path / "store")]
    )
    count = failed_trials(plan, tmp_path / "store")
    assert (
        count > 0
        and done.exit_code == 1
        and f"Error: {count} trials of the plan failed: robcomp status shows their errors" in done.output
    )


@pytest.mark.parametrize(
    "part, spoil",
    [
        ("baselines", "network.pt"),
        ("baselines", "network.sha256"),
        ("beginnings", "one.robcomp"),
        ("beginnings", "one.json"),
        ("deals", "deal.parquet"),
        ("plans", "plan.json"),
        ("keys", "keys.json"),
        ("training", "work.tune"),
        ("data", "set.images"),
        ("trials", "trial.parquet"),
    ],
)
def test_damaged_files_are_named_and_left_out(tmp_path, part, spoil):
    for folder in (part, "trials"):
        (tmp_path / "store" / folder).mkdir(parents=True, exist_ok=True)
    for name in (
        [spoil]
        + ["network.pt"] * (spoil == "network.sha256")
        + ["one.json"] * (spoil == "one.robcomp")
        + ["one.robcomp"] * (spoil == "one.json")
    ):
        (tmp_path / "store" / part / name).write_bytes(b"not what it should be")
    with pytest.warns(UserWarning, match="left out"):
        assert merge([tmp_path / "store"], tmp_path / "into") == 0
    assert not (tmp_path / "into").exists()


def test_deals_that_disagree_are_not_merged(whole, tmp_path):
    (tmp_path / "other" / "trials").mkdir(parents=True)
    (path,) = (whole[1] / "deals").iterdir()
    deal = read_deal(path)
    deal["positions"] = [numbers[::-1].copy() for numbers in deal.positions]
    write_deal(tmp_path / "other", deal)
    with pytest.raises(ValueError, match="one suite deals out other images; nothing was merged"):
        merge([whole[1], tmp_path / "other"], tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_dense_networks_with_other_weights_are_said(tmp_path):
    from robcomp._files.checkpoint import write_checkpoint

    for number, store in enumerate(("one", "other")):
        (tmp_path / store / "trials").mkdir(parents=True)
        write_checkpoint(tmp_path / store / "baselines" / "net.pt", {}, dict(number=number))
        (tmp_path / store / "baselines" / "net.sha256").write_text(f"{number}" * 64)
    with pytest.warns(UserWarning, match="have other weights"):
        assert merge([tmp_path / "one", tmp_path / "other"], tmp_path / "into") == 2
    assert (tmp_path / "into" / "baselines" / "net.sha256").read_text() == "0" * 64


def test_a_network_that_is_trained_goes_before_one_under_way(tmp_path):
    from robcomp._files.checkpoint import write_checkpoint

    for number, store in enumerate(("one", "other")):
        (tmp_path / store / "trials").mkdir(parents=True)
        write_checkpoint(tmp_path / store / "baselines" / "net.pt", {}, dict(number=number))
    (tmp_path / "other" / "baselines" / "net.sha256").write_text("1" * 64)
    assert merge([tmp_path / "other"], tmp_path / "one") == 2
    assert (tmp_path / "one" / "baselines" / "net.pt").read_bytes() == (
        tmp_path / "other" / "baselines" / "net.pt"
    ).read_bytes()


def test_stores_of_other_processors_say_so_where_they_disagree(whole, tmp_path):
    path = trial_files(whole[1])[0]
    found, rows = read_trial(path)
    for store, instructions in (("a", "AVX2"), ("b", "AVX512")):
        record = dict(found, versions=dict(device="cpu", instructions=instructions))
        write_trial(tmp_path / store, record, rows.assign(loss=rows.loss + len(instructions)))
    with pytest.raises(ValueError, match="from cpu AVX2 and cpu AVX512.* has another loss"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "into")


def test_stores_that_disagree_are_not_merged(whole, tmp_path):
    store = tmp_path / "other"
    path = trial_files(whole[1])[0]
    found, rows = read_trial(path)
    rows = rows.assign(loss=rows.loss + 0.5)
    write_trial(store, found, rows)
    with pytest.raises(
        ValueError, match=f"disagree: trial {path.stem} .* has another loss; nothing was merged"
    ) as error:
        merge([whole[1], store], tmp_path / "into")
    assert "\n" not in str(error.value) and not (tmp_path / "into").exists()
    merge([whole[1]], tmp_path / "into")
    same(tmp_path / "into", whole)


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:100], lambda data: data[:-1] + bytes([data[-1] ^ 1])], ids=["truncated", "altered"]
)
def test_a_damaged_packed_file_does_not_replace_a_whole_one(whole, tmp_path, spoil):
    sound, damaged = tmp_path / "sound", tmp_path / "damaged"
    for store in (sound, damaged):
        merge([whole[1]], store)
    victim = next((damaged / "artifacts").iterdir())
    victim.write_bytes(spoil(victim.read_bytes()))
    merge([sound, damaged], tmp_path / "into")
    merge([damaged], sound)
    for store in (sound, tmp_path / "into"):
        assert (store / "artifacts" / victim.name).read_bytes() == (whole[1] / "artifacts" / victim.name).read_bytes()


def test_a_packed_file_under_the_name_of_another_trial_is_named_when_it_is_left_out(whole, tmp_path):
    store = tmp_path / "store"
    merge([whole[1]], store)
    one, other = sorted((store / "artifacts").iterdir())[:2]
    one.write_bytes(other.read_bytes())
    with pytest.warns(UserWarning, match=f"{one.name} is not the packed file of trial {one.stem} .*: left out"):
        merge([store], tmp_path / "into")
    assert not (tmp_path / "into" / "artifacts" / one.name).exists()
    with warnings.catch_warnings():  # the whole file comes from the other store
        warnings.simplefilter("error")
        merge([store, whole[1]], tmp_path / "both")
    same(tmp_path / "both", whole)


def test_a_plan_makes_the_trials_of_the_experiment_notebooks():
    given = dict(seeds=[3], epochs=2, batch=32, peak=0.05, tune_peak=0.01, per_condition=10, recipes=["int8"])
    from robcomp.schema import STANDARD
    from robcomp.training import Training

    direct = Study(
        "digits",
        "mobilenetv2",
        name="mobilenetv2-digits",
        weights=None,
        seed=3,
        train=Training(2, peak=0.05, batch=32, sizes=""),
        tune=Training(1, peak=0.01, batch=32, warmup=0.0),
        conditions=dict(corruptions=STANDARD, per_condition=10, frost="own"),
    )
    assert plan(study_of(Plan(given), 0), ["int8"], "f" * 64) == plan(direct, ["int8"], "f" * 64)


# -- engines --


def test_a_claim_folder_that_is_not_writable_is_one_line(tmp_path):
    (tmp_path / "claims").touch()
    with pytest.raises(OSError, match="cannot write in .*claims") as error:
        Claims(tmp_path)
    assert "\n" not in str(error.value)


def test_dask_with_a_worker_killed_half_way(whole, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    import dask
    import torch

    # Dask's own is 1, and sums depend on it
    alike = {"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": str(torch.get_num_threads())}}
    with (
        dask.config.set(alike),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        with client.get_executor(pure=False, retries=3) as executor:
            victim = next(iter(client.run(os.getpid).values()))
            killer = subprocess.Popen([sys.executable, "-c", f"import os, time\ntime.sleep(3)\nos.kill({victim}, 9)"])
            sweep(study(), RECIPES, tmp_path / "store", executor=executor, progress=False)
            killer.wait()
    same(tmp_path / "store", whole)


def test_submitit_runs_a_sweep_on_this_machine(whole, tmp_path):
    submitit = pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    executor = submitit.AutoExecutor(tmp_path / "log", cluster="local")
    executor.update_parameters(timeout_min=10)
    sweep(study(), RECIPES[:3], tmp_path / "store", executor=executor, progress=False)
    assert len(trial_files(tmp_path / "store")) == 3


def test_workers_start_inside_a_batch(tmp_path):
    """A job array asks for no result while it is put together."""
    submitit = pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    from robcomp.plan import write_plan

    file = write_plan(Plan(dict(epochs=0.01, batch=16, per_condition=1, recipes=["dense"])), tmp_path / "plan.json")
    executor = submitit.AutoExecutor(tmp_path / "log", cluster="local")
    executor.update_parameters(timeout_min=10)
    with executor.batch():
        started = start(file, executor, 2, store=tmp_path / "store", device="cpu")
    assert sum(job.result() for job in started) == 1 and work(file, store=tmp_path / "store") == 0


def test_work_does_a_plan_and_then_finds_nothing_to_do(tmp_path, monkeypatch):
    from test_sweep import vary

    monkeypatch.setattr(
        "robcomp.workers.study_of", lambda plan, number, device=None: vary(study(), seed=plan.cells[number]["seed"])
    )
    crossed = Plan(dict(seeds=[0, 1], recipes=["dense", "prune0.5", "int8"]))
    assert work(crossed, store=tmp_path / "store", task="1/2", progress=False) == 6
    monkeypatch.setattr("robcomp.workers.CellWorker", lambda *_, **__: pytest.fail("a network was asked for"))
    assert work(crossed, store=tmp_path / "store", task="2/2", progress=False) == 0
    table = status(tmp_path / "store")
    assert table.kind.value_counts().to_dict() == dict(trial=6, dense=2) and set(table.state) == {"done"}


def test_a_claim_left_by_earlier_work_of_this_process_is_taken_at_once(tmp_path, monkeypatch):
    from robcomp._store import claims as module

    def full(*_):
        raise OSError(28, "No space left on device")

    with (
        monkeypatch.context() as disk,
        pytest.raises(OSError, match="No space left"),
        module.Claims(tmp_path).beating() as claims,
    ):
        assert claims.take("a")
        disk.setattr(module, "replacing", full)
    others = module.Claims(tmp_path)
    assert others.current("a").state == "held" and others.take("a") and not module.Claims(tmp_path).take("a")


def test_where_a_disk_has_no_links_a_claim_is_an_exclusive_create(tmp_path, monkeypatch):
    from robcomp._store import claims as module

    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(module.os, "link", refused)
    claims = module.Claims(tmp_path)
    assert claims.take("a") and claims.holds("a") and not module.Claims(tmp_path).take("a")
