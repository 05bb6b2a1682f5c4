"""Sweeps from Python: the public names, what they return, and what they raise."""

import contextlib
import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import sweeper
import trainers
from search_spaces.loading import load_spec
from sweeper.cli.commands.launch import launch as launch_command
from sweeper.interface.settings import LaunchSettings
from tests.sweeper.cli.answers import said
from tests.sweeper.small_sweeps import TINY, table_of
from trainers.data.splits import load_splits
from trainers.recipe.recipe import Recipe
from trainers.training import TrainingRun

ROOT = Path(__file__).resolve().parents[3]
NAMES = {
    sweeper: ["LimitReached", "NotCompleted", "Plan", "Spec", "Stopped", "Sweep", "launch", "plan", "use_plugin"],
    trainers: [
        "InvalidInput", "Recipe", "TrainingRun", "check_cost", "check_data_set", "check_method", "check_network",
        "load_splits", "load_ticket", "save_ticket",
    ],
}  # fmt: skip
SMALL = {
    "name": "small",
    "recipe": {"network": "lenet", "dataset": "digits", "method": "slot_machine", "options": 2, "width": 0.2},
    "budget_epochs": 2,
    "slot_epochs": [1],
    "seeds": 2,
}


def in_a_process(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> sweeper.Sweep:
    storage = tmp_path_factory.mktemp("interface") / "storage"
    return sweeper.launch(sweeper.Spec(**SMALL), storage, progress=False, local=True)


@pytest.mark.parametrize("package", NAMES, ids=lambda package: package.__name__)
def test_the_public_names_are_these_and_the_page_has_each(package):
    page = (ROOT / "docs" / "python.md").read_text()
    assert package.__all__ == NAMES[package]
    for name in NAMES[package]:
        assert callable(getattr(package, name)) and name in dir(package)
        assert name in page, f"docs/python.md says nothing of {name}"
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        _ = package.lunch


def test_importing_the_packages_loads_none_of_what_they_use():
    heavy = "'torch', 'ray', 'mlflow', 'pydantic', 'click', 'pandas', 'optuna', 'numpy'"
    program = f"import sweeper, trainers, sys; print(sorted({{{heavy}}} & sys.modules.keys()))"
    assert in_a_process(program) == "[]\n"


@pytest.mark.parametrize("first", ["import sweeper", "import sweeper.launch.orders", "import sweeper.interface.sweep"])
def test_launch_is_the_function_whichever_module_was_imported_first(first):
    program = f"""
{first}
import sweeper
try:
    sweeper.launch(None, max_paralel=1)
except ValueError as error:
    print(error)
from sweeper.launch.orders import Order
"""
    assert in_a_process(program) == "max_paralel: no setting of a launch (did you mean max_parallel?)\n"


def test_a_spec_made_or_loaded_here_is_the_one_that_the_command_line_reads(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    path = str(tmp_path / "tiny.yaml")
    loaded = sweeper.Spec.load(path, {"seeds": [3], "axes.selection": ["greedy"], "limits.epochs": 9})
    said = load_spec(path, ["seeds=[3]", "axes.selection=[greedy]", "limits.epochs=9"])
    assert loaded.content_hash() == said.content_hash() != load_spec(path).content_hash()
    assert isinstance(loaded, sweeper.Spec)
    rates = {"slot_learning_rate": [1e-05, 0.5]}
    assert sweeper.Spec.load(path, {"axes": rates}).axes == rates
    made = sweeper.Spec(**SMALL)
    made_path = tmp_path / "small.yaml"
    made_path.write_text(made.to_yaml())
    assert load_spec(str(made_path)).content_hash() == made.content_hash()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"sedes": 2}, "sedes: unknown field (did you mean seeds?)"),
        ({"recipe": {**SMALL["recipe"], "options": 0}}, "options: .* not 0"),
        ({"axes": {"selection": ["greddy"]}}, r"'greddy' is not one of .*\(did you mean greedy\?\)"),
    ],
)
def test_a_spec_with_a_fault_is_refused_as_it_is_made(changes, fault):
    with pytest.raises(trainers.InvalidInput, match=fault.replace("(did you mean seeds?)", "")):
        sweeper.Spec(**{**SMALL, **changes})


def test_a_change_that_no_yaml_could_say_is_refused_by_its_field(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    with pytest.raises(trainers.InvalidInput, match=r"^seeds: a change is .*, not \{1\}$"):
        sweeper.Spec.load(tmp_path / "tiny.yaml", {"seeds": {1}})


def test_every_setting_is_an_option_of_the_command_line():
    options = {parameter.name for parameter in launch_command.params}
    assert set(LaunchSettings.__annotations__) <= options


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"max_parallel": 0}, "max_parallel: must be a whole number from 1, not '0'"),
        ({"local": "yes"}, "local: true or false, not 'yes'"),
        ({"cpus_per_trial": "some"}, "cpus_per_trial: must be a number or auto, not 'some'"),
        ({"despite_memory": 1}, "despite_memory: true or false, not 1"),
    ],
)
def test_a_setting_that_is_wrong_is_refused_before_anything_is_written(tmp_path, settings, fault):
    with pytest.raises(trainers.InvalidInput, match=f"^{fault}$"):
        sweeper.launch(sweeper.Spec(**SMALL), tmp_path / "storage", **settings)
    assert not (tmp_path / "storage").exists()


@pytest.mark.slow
def test_trials_arms_and_curves_are_what_the_command_line_tells(swept):
    frame, told = swept.trials(), table_of(Path(swept.storage), "small")
    assert swept.state == "completed" and frame["name"].tolist() == [row["name"] for row in told]
    assert frame["test_accuracy"].tolist() == [row["test_accuracy"] for row in told]
    assert frame["recipe_hash"].tolist() == [row["recipe_hash"] for row in told]
    assert frame["options"].tolist() == [2, 2] and frame.columns[:5].tolist() == [
        "sweep", "name", "arm", "seed", "status",
    ]  # fmt: skip
    assert not frame.drop(columns="failure").isna().all().any()
    [arm] = swept.arms().to_dict("records")
    assert arm["n"] == 2 and arm["test_accuracy"] == pytest.approx(frame["test_accuracy"].mean())
    assert arm["test_accuracy_half_width"] == pytest.approx(12.706 * frame["test_accuracy"].std() / 2**0.5, rel=1e-4)
    curves = swept.curves()
    assert curves.groupby("name")["total_epoch"].apply(list).tolist() == [[1, 2], [1, 2]]
    last = curves[curves["total_epoch"] == 2].set_index("name")["validation_accuracy"]
    assert last.to_dict() == frame.set_index("name")["validation_accuracy"].to_dict()


@pytest.mark.slow
def test_a_trial_s_network_has_the_accuracy_that_its_row_says(swept):
    for _, row in swept.trials().iterrows():
        given = {**SMALL["recipe"], "seed": row["seed"], "slot_epochs": 1, "finetune_epochs": 1}
        recipe = Recipe.complete(given)
        assert recipe.content_hash() == row["recipe_hash"]
        run = TrainingRun(recipe, load_splits(recipe, data_dir=None))
        network = swept.network(row)
        with torch.no_grad():
            right = network(run.data.test.images).argmax(1) == run.data.test.labels
        assert not network.training and right.float().mean().item() == pytest.approx(row["test_accuracy"])
    with pytest.raises(trainers.InvalidInput, match=r"trial: 'K=2 seed 0' is not in 'small'"):
        swept.network("K=2 seed 0")


@pytest.mark.slow
def test_a_report_and_a_table_come_of_it_and_a_plan_finds_all_stored(swept, tmp_path):
    assert "small" in swept.report(tmp_path / "report").read_text()
    plan = sweeper.plan(sweeper.Spec(**SMALL), swept.storage)
    assert (plan.trials_stored, plan.epochs_left) == (2, 0) and str(plan) == plan.text()
    assert "<td>1 + 1</td>" in plan._repr_html_() and "validation accuracy" in swept._repr_html_()
    with pytest.raises(trainers.InvalidInput, match=r"'smal' is not in .*did you mean small"):
        sweeper.Sweep("smal", swept.storage)


@pytest.mark.slow
def test_a_limit_is_an_exception_that_holds_the_sweep_and_a_higher_one_goes_on(tmp_path):
    spec = sweeper.Spec(**SMALL, limits={"epochs": 2})
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(sweeper.LimitReached, match="small: not completed") as caught:
        sweeper.launch(spec, tmp_path / "storage", progress=False, local=True)
    sweep = caught.value.sweep
    assert out.getvalue() == "" and sweep.trials()["status"].tolist().count("COMPLETED") == 1
    with pytest.raises(trainers.InvalidInput, match=r"limits\.epoch"):
        sweep.resume({"epoch": 4})
    assert sweep.resume({"epochs": 4}, progress=False) is sweep
    assert sweep.state == "completed" and isinstance(sweep.trials(), pd.DataFrame)


@pytest.mark.slow
def test_a_launch_in_a_thread_is_stopped_by_another_and_goes_on(tmp_path):
    storage, raised = tmp_path / "storage", []
    spec = sweeper.Spec(**{**SMALL, "budget_epochs": 2000, "slot_epochs": [1999], "seeds": 1})

    def launch() -> None:
        try:
            sweeper.launch(spec, storage, progress=False, local=True)
        except sweeper.NotCompleted as error:
            raised.append(error)

    thread = threading.Thread(target=launch)
    thread.start()
    while thread.is_alive() and not (storage / "sweeps/small/sweep.json").exists():
        time.sleep(0.05)
    sweep = sweeper.Sweep("small", storage)
    assert sweep.state == "running"
    with pytest.raises(trainers.InvalidInput, match="is being run already"):
        sweeper.launch(spec, storage, progress=False, local=True)
    sweep.stop()
    thread.join()
    [error] = raised
    assert isinstance(error, sweeper.Stopped) and sweep.state == "stopped"
    assert 0 < len(sweep.curves()) < 2000
    sweep.stop()  # nothing runs


@pytest.mark.slow
def test_the_recipe_of_a_sweep_is_a_spec_whose_trials_are_stored(swept):
    one, best = swept.recipe(swept.trials()["name"][1]), swept.recipe(best=True)
    assert one.seeds == [1] and best.seeds == [0, 1] and isinstance(best, sweeper.Spec)
    assert [sweeper.plan(spec, swept.storage).trials_stored for spec in (one, best)] == [1, 2]


@pytest.mark.slow
def test_what_is_not_kept_or_was_never_trained_is_said(swept, tmp_path, capsys):
    file, copy = tmp_path / "small.zip", tmp_path / "copy"
    for words in (["export", "--sweep", "small", "--without-states", "-o", file, "--storage", swept.storage],
                  ["import", file, "--storage", copy]):  # fmt: skip
        assert said(capsys, *words)[0] == 0
    results_alone = sweeper.Sweep("small", copy)
    assert results_alone.arms()["n"].tolist() == [2]
    with pytest.raises(trainers.InvalidInput, match=r"^storage: .*state"):
        results_alone.network(results_alone.trials()["name"][0])
    diverging = {**SMALL["recipe"], "slot_learning_rate": 1e30}
    with pytest.raises(sweeper.NotCompleted, match="small: not completed") as caught:
        sweeper.launch(sweeper.Spec(**{**SMALL, "recipe": diverging}), tmp_path / "new", progress=False, local=True)
    failed = caught.value.sweep
    assert "not a number" in str(caught.value) and not isinstance(caught.value, sweeper.LimitReached | sweeper.Stopped)
    assert failed.state == "failed" and set(failed.trials()["status"]) == {"FAILED"}
    assert failed.arms()["n"].tolist() == [0]
    for asked, message in (
        (lambda: failed.recipe(best=True), "completed"),
        (lambda: failed.network(failed.trials()["name"][0]), "is FAILED, and only a completed one can be exported"),
        (lambda: failed.interaction("options", "width"), "axes: options is 2 in all arms of small"),
    ):
        with pytest.raises(trainers.InvalidInput, match=message):
            asked()
