"""Searches with Optuna itself: distinct points, one study over all launches, and nothing in it left as if it ran."""

import json
from collections import Counter

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from scipy.stats import qmc

from search_spaces.spec import Limits, Rungs, Spec
from sweeper.cli.main import main
from sweeper.search.optuna_cell import CellStudy
from sweeper.search.optuna_study import JOURNAL, StudySearch
from sweeper.search.optuna_terms import seed_of
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.status import Status
from sweeper.storage.folder import Folder
from tests.sweeper.launch.fake_launch import FakeLaunch, FakeStore
from trainers.errors import InvalidInput

SPACE = {
    "selection": {"choice": ["greedy", "probabilistic"]},
    "options": {"integer": [2, 64], "log": True},
    "slot_learning_rate": {"log_uniform": [0.01, 1], "when": {"selection": "greedy"}},
    "slot_epochs": {"integer": [2, 6], "step": 2},
}
every_sampler = pytest.mark.parametrize(
    "search",
    [
        {"sampler": "random"},
        {"sampler": "qmc"},
        {"sampler": "tpe"},
        {"sampler": "nsga2", "objectives": ["validation_accuracy", "flops"], "population": 4},
    ],
    ids=lambda search: search["sampler"],
)
NO = Failure(Fault.NOT_A_NUMBER, "not a number")


def spec(space=None, seeds=1, axes=None, **search):
    recipe = {"network": "lenet", "dataset": "digits", "method": "slot_machine", "preset": "icml"}
    asked = {"sampler": "random", "trials": 12, "space": space or SPACE, **search}
    fields = {"name": "x", "recipe": recipe, "budget_epochs": 6, "seeds": seeds, "search": asked}
    return Spec.parse({**fields, **({"axes": axes} if axes else {})})


def by_options(recipe, epoch):
    return 1 - abs(recipe.options - 12) / 100


def searching(spec, folder, store=None, **more):
    search = StudySearch(spec, Folder(folder))
    return FakeLaunch(search.recipes(), search=search, store=store, accuracy=by_options, **more)


def studies(folder):
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]


def trials_of(folder):
    (study,) = studies(folder)
    return study.trials


@every_sampler
def test_every_sampler_asks_for_distinct_points_and_is_told_of_each(tmp_path, search):
    launch = searching(spec(seeds=2, **search), tmp_path)
    launch.run(workers=3)
    trials = trials_of(tmp_path)
    assert len(trials) == 12 == len({trial.user_attrs["arm_hash"] for trial in trials})
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len(launch.forest.trials) == 24
    assert launch.sweep_status() is Status.COMPLETED
    told = {trial.user_attrs["arm_hash"]: trial.values[0] for trial in trials}
    for trial in launch.forest.trials:
        assert told[trial.recipe.arm_hash()] == pytest.approx(by_options(trial.recipe, 6))


def test_tpe_comes_closer_than_random_search_does(tmp_path):
    def mean_of_late(sampler):
        launch = searching(spec({"options": {"integer": [2, 400]}}, sampler=sampler, trials=30), tmp_path / sampler)
        launch.run()
        late = [trial.values[0] for trial in trials_of(tmp_path / sampler)][15:]
        return sum(late) / len(late)

    assert mean_of_late("tpe") > mean_of_late("random") + 0.2


def test_quasi_random_points_are_those_of_sobols_sequence_and_leave_no_gap(tmp_path):
    space = {"slot_learning_rate": {"uniform": [1.0, 2.0]}, "finetune_learning_rate": {"log_uniform": [0.01, 1.0]}}
    asked = spec(space, sampler="qmc", trials=32)
    searching(asked, tmp_path).run()
    first, second = zip(*(trial.params.values() for trial in trials_of(tmp_path)), strict=True)
    sequence = qmc.Sobol(2, seed=seed_of(0)).random(32)  # scipy's: the oracle
    assert first == pytest.approx(1 + sequence[:, 0]) and second == pytest.approx(0.01 ** (1 - sequence[:, 1]))
    # One point in each 32nd of a range; of 32 random points a third share one.
    assert {int(32 * (value - 1)) for value in first} == set(range(32))


NUMBERS = {
    "options": {"integer": [2, 400]},
    "slot_learning_rate": {"log_uniform": [0.01, 1]},
    "slot_weight_decay": {"uniform": [0.0, 0.1]},
}


def by_numbers(recipe, epoch):
    """A long slanting valley, its floor off the middle of the ranges."""
    options, rate = (recipe.options - 60) / 400, (recipe.slot_learning_rate - 0.05) * 3
    return 1 - (options - rate) ** 2 - 0.1 * (options + rate) ** 2 - (10 * recipe.slot_weight_decay - 0.3) ** 2


def test_cma_es_comes_closer_than_random_search_does_in_ranges_of_numbers(tmp_path):
    def late_best(sampler, seed):
        folder = tmp_path / f"{sampler}{seed}"
        search = StudySearch(spec(NUMBERS, sampler=sampler, trials=60, seed=seed), Folder(folder))
        FakeLaunch(search.recipes(), search=search, accuracy=by_numbers).run()
        return 1 - sorted(trial.values[0] for trial in trials_of(folder)[30:])[15]

    gaps = {sampler: [late_best(sampler, seed) for seed in range(3)] for sampler in ("cmaes", "random")}
    assert max(gaps["cmaes"]) < min(gaps["random"]) / 3, gaps


def test_the_state_of_cma_es_is_worked_out_anew_and_no_pickle_in_the_storage(tmp_path):
    asked = spec(NUMBERS, sampler="cmaes", trials=20, enqueue=[dict.fromkeys(NUMBERS, 0.05) | {"options": 50}])
    broken = StudySearch(asked, Folder(tmp_path / "a"))
    store = FakeStore()
    launch = FakeLaunch(broken.recipes(), search=broken, store=store, accuracy=by_numbers)
    for _ in range(11):
        launch.finish(launch.next_order().stage["key"])
    again = StudySearch(asked, Folder(tmp_path / "a"))
    FakeLaunch(again.recipes(), search=again, store=store, accuracy=by_numbers).run()
    whole = StudySearch(asked, Folder(tmp_path / "b"))
    FakeLaunch(whole.recipes(), search=whole, accuracy=by_numbers).run()
    first, second = (trials_of(tmp_path / name) for name in "ab")
    assert [trial.params for trial in first] == [trial.params for trial in second]
    noted = [set(trial.system_attrs) for trial in first]
    assert noted[0] == set(), "what was enqueued is of no generation"
    assert set().union(*noted) == {"cma:generation"} and first[-1].system_attrs["cma:generation"] > 1


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe"])
def test_a_search_that_was_broken_off_goes_on_as_if_it_had_not_been(tmp_path, sampler):
    store = FakeStore()
    broken = searching(spec(sampler=sampler), tmp_path / "a", store)
    for _ in range(9):
        broken.finish(broken.next_order().stage["key"])
    broken.next_order()  # what it had given out is lost
    left_running = [trial for trial in trials_of(tmp_path / "a") if trial.state.name == "RUNNING"]
    assert left_running
    again = searching(spec(sampler=sampler), tmp_path / "a", store)
    again.run()
    whole = searching(spec(sampler=sampler), tmp_path / "b")
    whole.run()
    points = [[trial.params for trial in trials_of(tmp_path / name)] for name in ("a", "b")]
    assert points[0] == points[1]
    assert {trial.state.name for trial in trials_of(tmp_path / "a")} == {"COMPLETE"}
    assert searching(spec(sampler=sampler), tmp_path / "a", store).is_over is False  # until it is asked once
    more = searching(spec(sampler=sampler, trials=15), tmp_path / "a", store)
    more.run()
    assert len(trials_of(tmp_path / "a")) == 15


@every_sampler
def test_points_known_to_be_good_come_first_and_later_ones_next(tmp_path, search):
    greedy = {"selection": "greedy", "options": 12, "slot_learning_rate": 0.2, "slot_epochs": 4}
    sampled = {"selection": "probabilistic", "options": 8, "slot_epochs": 2}
    twice = {**sampled, "slot_learning_rate": 0.5}  # which is searched for greedy selection alone
    store = FakeStore()
    searching(spec(enqueue=[greedy, sampled, twice], **search), tmp_path, store).run()
    tried = [trial.params for trial in trials_of(tmp_path)]
    assert (len(tried), tried[:2]) == (12, [greedy, sampled]) and sampled not in tried[2:]
    later = {**greedy, "options": 64}
    searching(spec(enqueue=[greedy, later], trials=14, **search), tmp_path, store).run()
    assert [trial.params for trial in trials_of(tmp_path)][:13] == [*tried, later]


@every_sampler
@pytest.mark.parametrize("eventful", [False, True])
def test_points_are_proposed_as_in_a_copy_of_the_study_made_anew_for_each(tmp_path, monkeypatch, search, eventful):
    small = {**SPACE, "options": {"integer": [2, 5]}}
    rungs = Rungs(rule="stop", epochs=[2], reduction=3, min_trials=1) if eventful else None
    made = []

    def proposed(name):
        asked = spec(small if eventful else SPACE, trials=30, **search)
        launch = searching(asked, tmp_path / name, rungs=rungs)
        if eventful:
            launch.fail(launch.next_order().stage["key"], NO)
        launch.run(workers=3)
        return [(trial.params, trial.system_attrs, trial.state) for trial in trials_of(tmp_path / name)]

    copied = CellStudy._copied
    monkeypatch.setattr(CellStudy, "_copied", lambda cell: made.append(cell) or copied(cell))
    kept = proposed("kept")
    copies = len(made)
    # None is kept: what was before the copy was.
    monkeypatch.setattr(CellStudy, "_copy", property(lambda cell: None, lambda cell, copy: None))
    assert kept == proposed("anew")
    assert len(kept) == 30 and len(made) - copies == 30
    assert copies < 10 or eventful


def test_a_small_space_is_searched_through_and_then_the_search_is_over(tmp_path):
    small = {"options": {"integer": [2, 4]}, "selection": {"choice": ["greedy", "probabilistic"]}}
    store = FakeStore()
    launch = searching(spec(small, sampler="tpe", trials=50), tmp_path, store)
    launch.run()
    assert len(trials_of(tmp_path)) == 6
    assert launch.sweep_status() is Status.COMPLETED
    assert StudySearch(spec(small, sampler="tpe", trials=50), Folder(tmp_path), read_only=True).exhausted


def test_every_cell_of_the_grid_has_a_study_of_its_own(tmp_path):
    options = {"options": {"integer": [2, 64]}}
    launch = searching(spec(options, axes={"selection": ["greedy", "probabilistic"]}, trials=3), tmp_path)
    launch.run()
    assert [len(study.trials) for study in studies(tmp_path)] == [3, 3]
    selections = Counter(trial.recipe.selection for trial in launch.forest.trials)
    assert selections == {"greedy": 3, "probabilistic": 3}
    assert [trial.recipe.selection for trial in launch.forest.trials[:2]] == ["greedy", "probabilistic"]


def test_another_space_is_another_study_and_knows_nothing_of_the_first(tmp_path):
    searching(spec(trials=2), tmp_path).run()
    searching(spec({"options": {"integer": [2, 64]}}, trials=3), tmp_path).run()
    assert [len(study.trials) for study in studies(tmp_path)] == [2, 3]


@pytest.mark.parametrize(("failure", "state"), [(Failure(Fault.BUG, "no", "a.py:1"), "FAIL"), (NO, "COMPLETE")])
def test_failed_and_stopped_points_are_told_and_mended_ones_stand_beside(tmp_path, failure, state):
    rungs = Rungs(rule="stop", epochs=[2], reduction=2, min_trials=1)
    store = FakeStore()
    one_field = spec({"options": {"integer": [2, 64]}}, trials=6)
    launch = searching(one_field, tmp_path, store, rungs=rungs)
    failed = launch.next_order()
    launch.fail(failed.stage["key"], failure)
    launch.run()
    states = [trial.state.name for trial in trials_of(tmp_path)]
    assert trials_of(tmp_path)[0].values == (None if state == "FAIL" else [0.1]), "what diverged is told as chance"
    assert states[0] == state and "RUNNING" not in states and {"COMPLETE", "PRUNED"} <= set(states)
    pruned = next(trial for trial in trials_of(tmp_path) if trial.state.name == "PRUNED")
    assert list(pruned.intermediate_values) == [2]
    assert pruned.value == pytest.approx(pruned.intermediate_values[2])
    store.kept_failures.clear()  # as `sweeper retry` does
    again = searching(one_field, tmp_path, store)
    again.run()
    mended = [trial for trial in trials_of(tmp_path) if "after_failure_of" in trial.user_attrs]
    assert [(trial.user_attrs["after_failure_of"], trial.state.name) for trial in mended] == [(0, "COMPLETE")]
    assert len(StudySearch(one_field, Folder(tmp_path), read_only=True).recipes()) == 6


def diverging(launch, limit):
    """Runs a search in which learning rates above the limit diverge; returns how many points did."""
    points = 0
    while order := launch.next_order():
        stage = launch.forest.stages[order.stage["key"]]
        if stage.recipe.slot_learning_rate > limit:
            launch.fail(stage.key, NO)
            points += 1
        else:
            launch.finish(stage.key)
    return points


@pytest.mark.parametrize("objectives", [["validation_accuracy"], ["validation_accuracy", "flops"]])
def test_tpe_learns_where_points_diverge_and_no_second_seed_of_such_a_point_begins(tmp_path, objectives):
    rates = {"slot_learning_rate": {"log_uniform": [0.01, 10.0]}}
    asked = spec(rates, seeds=2, sampler="tpe", trials=30, objectives=objectives)
    launch = searching(asked, tmp_path)
    diverged = diverging(launch, limit=1.0)
    assert diverged == sum(
        "diverged" in trial.user_attrs or trial.state.name == "FAIL" for trial in trials_of(tmp_path)
    )
    assert diverged <= 8, "a third of the space diverges, and it is not gone back to"
    assert len(launch.records) == 2 * 6 * (30 - diverged), "a stage for every epoch, of both seeds"
    assert {trial.state.name for trial in trials_of(tmp_path)} <= {"COMPLETE", "FAIL"}
    again = searching(asked, tmp_path, launch.store)
    again.run()
    assert len(trials_of(tmp_path)) == 30, "and what diverged is told once"


def test_what_pauses_is_seen_as_pruned_by_the_sampler_and_told_once_in_the_end(tmp_path, monkeypatch):
    asked = spec({"options": {"integer": [2, 64]}}, sampler="tpe", trials=12)
    rungs = Rungs(rule="asha", epochs=[2], reduction=3, min_trials=3)
    seen = []
    copied = CellStudy._copied
    monkeypatch.setattr(CellStudy, "_copied", lambda cell: seen.append(copied(cell)) or seen[-1])
    launch = searching(asked, tmp_path, rungs=rungs)
    launch.run()
    assert "PRUNED" in {trial.state.name for trial in seen[3].trials}
    assert Counter(trial.state.name for trial in trials_of(tmp_path)) == {"COMPLETE": 4, "PRUNED": 8}
    best = sorted((trial.intermediate_values[2] for trial in trials_of(tmp_path)), reverse=True)[:4]
    assert sorted(trial.values[0] for trial in trials_of(tmp_path) if trial.state.name == "COMPLETE") == best[::-1]


def test_points_that_do_not_fit_the_limits_are_not_asked_for_and_smaller_ones_are(tmp_path):
    asked = spec({"slot_epochs": {"integer": [2, 6]}, "options": {"integer": [2, 64]}}, sampler="tpe", trials=30)
    asked = asked.model_copy(update={"budget_epochs": None, "recipe": {**asked.recipe, "finetune_epochs": 0}})
    launch = searching(asked, tmp_path, limits=Limits(epochs=23))
    launch.run()
    assert launch.spent().epochs >= 22 and {launch.status(trial) for trial in launch.forest.trials} == {"COMPLETED"}
    assert {trial.state.name for trial in trials_of(tmp_path)} == {"COMPLETE"} and launch.limits_reached
    assert not StudySearch(asked, Folder(tmp_path), read_only=True).exhausted


def test_half_a_line_and_a_lock_that_a_killed_driver_left_are_cleared_away(tmp_path):
    searching(spec(trials=2), tmp_path).run()
    journal = tmp_path / JOURNAL
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    (tmp_path / f"{JOURNAL}.lock").symlink_to(journal)
    searching(spec(trials=4), tmp_path).run()
    assert len(trials_of(tmp_path)) == 4


def test_a_journal_that_cannot_be_read_is_told_and_nothing_is_made_of_it(tmp_path):
    searching(spec(trials=2), tmp_path).run()
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"{{{\n", *lines[2:]]))
    with pytest.raises(InvalidInput, match=r"search: cannot read .*search\.log.*begins anew"):
        StudySearch(spec(trials=2), Folder(tmp_path))


def test_to_look_at_a_search_writes_nothing(tmp_path):
    look = StudySearch(spec(), Folder(tmp_path), read_only=True)
    assert look.recipes() == [] and look.left() == [12] and not look.exhausted
    assert list(tmp_path.iterdir()) == []
    searching(spec(trials=3), tmp_path).run()
    before = (tmp_path / JOURNAL).read_bytes()
    assert len(StudySearch(spec(trials=5), Folder(tmp_path), read_only=True).recipes()) == 3
    assert (tmp_path / JOURNAL).read_bytes() == before


REAL = """\
name: found
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, width: 0.1}
budget_epochs: 3
arms: [{method: learned}]
search:
  sampler: nsga2
  trials: 9
  objectives: [validation_accuracy, stored_bits_per_weight]
  space:
    options: {integer: [2, 16]}
    slot_epochs: {integer: [1, 3]}
rungs: {rule: asha, epochs: [1], reduction: 2, min_trials: 2}
limits: {trials: 6}
"""


@pytest.mark.cluster
def test_a_real_search_with_rungs_and_a_limit_from_plan_to_report(tmp_path, storage, capsys):
    (tmp_path / "found.yaml").write_text(REAL)

    def sweeper(*arguments):
        code = main([*map(str, arguments), "--storage", str(storage)])
        return code, capsys.readouterr().out

    planned = json.loads(sweeper("plan", tmp_path / "found.yaml", "--json")[1])
    assert planned["trials"] == 10 and planned["epochs_alone"] == 30
    code, said = sweeper("launch", tmp_path / "found.yaml", "--local")
    assert code == 3
    assert "LIMIT REACHED  trials: 6 (6 begun)" in said
    assert "stopped early at rungs" in said
    higher = f"sweeper resume found --storage {storage} --set limits.trials=12"
    assert said.endswith(f"With higher ones, twice these say, it goes on: {higher}\n")
    assert main(higher.split()[1:]) == 0
    capsys.readouterr()
    runs = json.loads(sweeper("runs", "found", "--json")[1])
    assert Counter(run["status"] for run in runs).keys() == {"COMPLETED", "STOPPED_EARLY"} and len(runs) == 10
    for run in runs:
        assert ("test_accuracy" in run) is (run["status"] == "COMPLETED")
        assert run["epochs"] == run["epochs_done"] == (1 if run["status"] == "STOPPED_EARLY" else 3)
    assert "found  completed" in sweeper("status")[1]
    assert sweeper("report", "found", "-o", tmp_path / "report")[0] == 0
    report = (tmp_path / "report" / "report.md").read_text()
    assert "Pareto front of validation accuracy against stored bits per weight" in report
    assert "asked for by NSGA-II" in report
    assert "the others were stopped early at rungs" in report

    from sweeper.tracking.mlflow_client import client

    mlflow = client(f"sqlite:///{storage}/mlflow.db")
    tracked = mlflow.search_runs([mlflow.get_experiment_by_name("found").experiment_id])
    tags = [run.data.tags for run in tracked if run.data.tags["sweeper.kind"] == "trial"]
    assert sorted(int(own["sweeper.search_trial"]) for own in tags if "sweeper.search_trial" in own) == list(range(9))
    assert {run.info.status for run in tracked} == {"FINISHED", "KILLED"}
    stopped = next(run for run in tracked if run.data.tags["sweeper.status"] == "STOPPED_EARLY")
    assert stopped.data.metrics["epochs"] == 1.0 and "test_accuracy" not in stopped.data.metrics
