"""Plans: the numbers of a sweep before it runs, held against hand counts; every bundled spec plans."""

import io
import json
import re
import subprocess
import sys

import pytest
import torch

from search_spaces.expansion import expand
from search_spaces.loading import bundled_specs, load_spec
from search_spaces.spec import Spec
from sweeper.cli.commands import launch as launching
from sweeper.cli.main import main
from sweeper.planning import foresight
from sweeper.planning.estimates import Estimates
from sweeper.planning.forecast import against, forecast, width
from sweeper.planning.packing import Hardware
from sweeper.planning.plan import Plan, make_plan
from sweeper.planning.samples import Machine, Sample, Work
from sweeper.stages.planting import plant
from tests.sweeper.terminal import Terminal

SPLITS = {
    "name": "splits",
    "description": "Two splits of ten epochs, beside learned weights.",
    "recipe": {"network": "lenet", "dataset": "digits", "method": "slot_machine", "options": 8},
    "budget_epochs": 10,
    "slot_epochs": [2, 6],
    "arms": [{"method": "learned"}],
    "seeds": 2,
}


class HoldsAll:
    """A store that holds every stage of a forest."""

    def __init__(self, forest):
        self.forest = forest

    def expect(self, lineages):
        pass

    def spans(self, lineage):
        return {stage.end: stage.start for stage in self.forest.stages.values() if stage.lineage == lineage}

    def has_state(self, key):
        return key in self.forest.stages


def estimates(flops=lambda recipe: 1000, samples=()):
    return Estimates(samples, Machine("cpu", "cpu: Xeon", 1), flops, lambda recipe: 5 * 2**20)


def planned(spec_fields, stored=None, flops=lambda recipe: 1000, samples=()) -> Plan:
    spec = Spec.parse(spec_fields)
    forest = plant(expand(spec), {"digits": "d", "mnist": "m"}, stored)
    known = estimates(flops, samples)
    return make_plan(spec, forest, known, forecast(forest, known, 2, "2 at once"))


def test_a_plan_counts_what_the_sweep_takes_alone_and_shared():
    plan = planned(SPLITS)
    assert (plan.trials, plan.stages, plan.stored) == (6, 10, 0)
    assert plan.epochs_alone == 60
    assert plan.epochs_shared == plan.epochs_left == 2 * (6 + 8 + 4 + 10)
    assert (plan.flops_alone, plan.flops_shared, plan.flops_left) == (60_000, 56_000, 56_000)
    assert plan.sharing == 60 / 56
    assert [(arm.label, arm.trials, arm.slot_epochs, arm.finetune_epochs) for arm in plan.arms] == [
        ("K=8 GS, 2+8 epochs", 2, 2, 8),
        ("K=8 GS, 6+4 epochs", 2, 6, 4),
        ("learned weights", 2, 0, 10),
    ]


def test_a_plan_tells_what_is_stored_and_what_is_left():
    half = plant(expand(Spec.parse({**SPLITS, "seeds": [0]})), {"digits": "d"})
    plan = planned(SPLITS, HoldsAll(half))
    assert (plan.stored, plan.trials_stored, plan.epochs_left, plan.flops_left) == (5, 3, 28, 28_000)
    assert [arm.trials_stored for arm in plan.arms] == [1, 1, 1]
    assert "stored already: 5 stages, 3 trials" in plan.text()
    assert "left to train: 28 epochs, 28.0 kFLOP" in plan.text()


def test_the_json_holds_at_least_what_scripts_rely_on():
    fields = json.loads(json.dumps(planned(SPLITS).as_dict()))
    assert {name: fields[name] for name in ("trials", "stages", "epochs_alone", "epochs_shared", "stored")} == {
        "trials": 6,
        "stages": 10,
        "epochs_alone": 60,
        "epochs_shared": 56,
        "stored": 0,
    }


def test_the_text_shows_every_arm_and_the_totals():
    text = planned(SPLITS).text()
    assert "splits\n  Two splits of ten epochs, beside learned weights." in text
    assert ["K=8 GS, 2+8 epochs", "2", "2 + 8", "10.0 kFLOP", "1 s", "5.24 MB", "–"] in [
        re.split(r"  +", row.strip()) for row in text.split("\n")
    ]
    assert "6 trials of 3 arms, in 10 stages" in text
    assert "60 epochs if every trial ran alone, 56 with shared stages (1.07 times fewer)" in text


def test_a_plan_says_how_long_trials_are_where_nobody_did():
    remark = "No budget_epochs is given, so the preset icml says how long trials are: 200 epochs"
    assert remark in planned({"name": "long", "recipe": SPLITS["recipe"]}).brief()
    assert not [line for line in planned(SPLITS).brief() if "budget_epochs" in line]
    assert not planned({"name": "own", "recipe": {**SPLITS["recipe"], "slot_epochs": 3}}).notes


def test_a_sweep_that_shares_nothing_says_so():
    plan = planned({**SPLITS, "slot_epochs": [10], "arms": []})
    assert "20 epochs if every trial ran alone; no stage is shared" in plan.text()


def test_a_long_table_is_cut_and_says_so():
    plan = planned({**SPLITS, "slot_epochs": [10], "axes": {"options": list(range(2, 80))}})
    assert "… and 19 more arms" in plan.text()
    assert len(plan.as_dict()["arms"]) == 79


def test_flops_that_cannot_be_known_are_left_out_rather_than_guessed():
    plan = planned(SPLITS, flops=lambda recipe: None)
    assert (plan.flops_alone, plan.flops_shared, plan.flops_left) == (None, None, None)
    assert "FLOP alone" not in plan.text()


def test_flops_are_counted_once_for_recipes_that_cannot_differ():
    asked = []
    planned({**SPLITS, "axes": {"options": [2, 4, 8]}, "seeds": 5}, flops=lambda recipe: asked.append(recipe) or 1)
    assert len(asked) == 1
    planned({**SPLITS, "axes": {"width": [1.0, 2.0]}, "seeds": 5}, flops=lambda recipe: asked.append(recipe) or 1)
    assert len(asked) == 3


@pytest.mark.parametrize("name", bundled_specs())
def test_every_bundled_spec_plans(name):
    spec = load_spec(name)
    recipes = expand(spec)
    plan = make_plan(spec, plant(recipes, {recipe.dataset: "d" for recipe in recipes}), estimates(lambda recipe: 1))
    assert plan.trials == len(recipes) > 0
    assert plan.epochs_left == plan.epochs_shared <= plan.epochs_alone == plan.flops_alone
    assert len(plan.arms) == len({recipe.arm_hash() for recipe in recipes})


def test_planning_without_flops_needs_no_torch():
    code = (
        "import sys, sweeper.planning.plan; from search_spaces.loading import *;"
        "from sweeper.stages.planting import plant;"
        "from search_spaces.expansion import expand; from sweeper.planning.estimates import *;"
        "spec = load_spec('digits_quickstart');"
        "known = Estimates((), Machine('cpu', None, 1), *[lambda *asked: 1] * 3);"
        "sweeper.planning.plan.make_plan(spec, plant(expand(spec), {'digits': 'd'}), known);"
        "print([name for name in ('torch', 'ray', 'mlflow') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


# What it takes


def epochs(phase, seconds, **recipe) -> Sample:
    fields = expand(Spec.parse({**SPLITS, "recipe": {**SPLITS["recipe"], **recipe}}))[0]
    return Sample(Work.of(fields, phase), "cpu: Xeon", 1, 1000, seconds, 7 * 2**20)


def test_a_forecast_adds_up_what_is_left_and_says_how_it_is_known():
    plan = planned(SPLITS, samples=[epochs("slot", 30.0), epochs("finetune", 10.0)])
    estimate = plan.estimate
    slot, weights = 2 * 6 * 30.0, 2 * (8 + 4 + 10) * 10.0
    assert estimate.device_seconds == slot + weights
    assert estimate.device_seconds_alone == 2 * (2 * 30 + 8 * 10 + 6 * 30 + 4 * 10 + 10 * 10)
    assert estimate.bound_seconds <= estimate.wall_seconds + 1e-9 <= estimate.device_seconds + 10
    assert estimate.sources == {"measured": 1.0}
    assert (estimate.memory_bytes, estimate.memory_source) == (7 * 2**20, "measured")
    assert [arm.seconds for arm in plan.arms] == [140.0, 220.0, 100.0]
    text = plan.text()
    assert "estimate: 13 min of training, 7 min with 2 at once" in text
    assert "known from: 100 % measured" in text
    assert "memory: up to 7.34 MB a trial (measured)" in text
    assert "--calibrate" not in text
    assert json.loads(json.dumps(plan.as_dict()))["estimate"]["device_seconds"] == estimate.device_seconds


def test_a_forecast_counts_only_what_is_not_stored():
    half = plant(expand(Spec.parse({**SPLITS, "seeds": [0]})), {"digits": "d"})
    samples = [epochs("slot", 30.0), epochs("finetune", 10.0)]
    assert planned(SPLITS, HoldsAll(half), samples=samples).estimate.device_seconds == 6 * 30 + 22 * 10
    whole = planned({**SPLITS, "seeds": [0]}, HoldsAll(half), samples=samples)
    assert whole.estimate.device_seconds == 0
    assert "estimate" not in whole.text()


def test_a_forecast_that_rests_on_an_assumption_says_so_and_how_to_do_better():
    text = planned(SPLITS, flops=lambda recipe: 2 * 10**11).text()
    assert "known from: 100 % FLOPs at an assumed 100 GFLOP/s" in text
    assert "to measure it: sweeper plan --calibrate" in text
    text = planned(SPLITS, samples=[epochs("slot", 30.0)]).text()
    assert "scaled by FLOPs from epochs of lenet by other methods" in text and "--calibrate" not in text


def test_where_no_time_can_be_told_there_is_no_forecast():
    plan = planned(SPLITS, flops=lambda recipe: None)
    assert plan.estimate is None
    assert "estimate" not in plan.text()


def test_as_many_stages_can_run_at_the_same_time_as_there_are_ends_of_paths_left():
    forest = plant(expand(Spec.parse(SPLITS)), {"digits": "d"})
    assert width(forest) == 6
    half = plant(expand(Spec.parse({**SPLITS, "seeds": [0]})), {"digits": "d"})
    assert width(plant(expand(Spec.parse(SPLITS)), {"digits": "d"}, HoldsAll(half))) == 3


def test_estimate_and_actual_are_told_together():
    estimate = planned(SPLITS, samples=[epochs("slot", 30.0), epochs("finetune", 10.0)]).estimate
    said = against(estimate, 800.0, 1000.0, 600.0, is_whole=True)
    assert said == (
        "Estimated at 13 min of training, and took 17 min; 7 min of wall clock, and took 10 min (measured)."
    )
    assert against(estimate, 400.0, 500.0, 600.0, is_whole=False) == (
        "Estimated at 7 min of training, and took 8 min (measured)."
    )


# The command


def plan_command(capsys, *arguments):
    assert main(["plan", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_plan_needs_no_data(tmp_path, capsys):
    out = plan_command(
        capsys, "digits_quickstart", "--set", "recipe.dataset=mnist", "--data-dir", tmp_path, "--storage", tmp_path
    )
    assert "Planned with mnist as it was published, without looking at it" in out
    assert "stored already: 0 stages" in out
    folders = plan_command(capsys, "edge_popup_imagenet", "--data-dir", tmp_path, "--storage", tmp_path)
    assert "What is already stored cannot be told without the data" in folders
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_of_the_machine_that_it_is_asked_for(trained, tmp_path, capsys, monkeypatch):
    spec, _ = trained
    monkeypatch.setattr(foresight, "hardware_here", lambda: Hardware(8))
    out = plan_command(capsys, spec, "--storage", tmp_path, "--max-parallel", 2, "--cpus-per-trial", "auto")
    assert "2 trials at once, each with 4 threads: 8 cores for 2 at once" in out
    monkeypatch.setattr(foresight, "hardware_here", lambda: Hardware(8, 2, 80 * 2**30))
    out = plan_command(capsys, spec, "--storage", tmp_path)
    assert re.search(r"8 trials at once, each with 0.25 GPUs and 1 thread: 4 on a GPU, \d+ would fit", out)
    assert "steps of an assumed " in out  # so small a network waits for its launches
    out = plan_command(capsys, spec, "--storage", tmp_path, "--gpus-per-trial", 0)
    assert "8 trials at once, each with 1 thread" in out


def test_a_calibration_is_remembered_and_counts_until_something_is_measured(trained, tmp_path, capsys):
    spec, storage = trained
    before = json.loads(plan_command(capsys, spec, "--storage", tmp_path, "--json"))
    assert all("assumed" in why for why in before["estimate"]["sources"])
    fields = json.loads(plan_command(capsys, spec, "--storage", tmp_path, "--json", "--calibrate"))
    assert fields["estimate"]["sources"] == {"calibrated": 1.0}
    again = json.loads(plan_command(capsys, spec, "--storage", tmp_path, "--json"))
    assert again["estimate"] == fields["estimate"]
    other = json.loads(plan_command(capsys, spec, "--storage", storage, "--json", "--set", "seeds=[7, 8]"))
    assert other["estimate"]["sources"] == {"measured": 1.0}


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU, which does start")
@pytest.mark.parametrize("flags", [(), ("--gpus-per-trial", "0"), ("--gpus-per-trial", "auto")])
@pytest.mark.parametrize("command", [("plan",), ("plan", "--calibrate"), ("launch", "--local")])
def test_gpus_that_are_counted_and_do_not_start_are_told(command, flags, trained, storage, capsys, counted):
    flags = (*command[1:], "--storage", storage, *flags)
    assert main(list(map(str, [command[0], trained[0], *flags]))) == 0
    told = capsys.readouterr()
    assert re.search(r"each with \d+ threads?: 2 GPUs counted, which CUDA does not start: .*NVIDIA driver", told.out)
    assert "GFLOP/s" in told.out or "measured" in told.out or "calibrated" in told.out


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU, which does start")
def test_asking_for_gpus_that_do_not_start_is_refused_with_the_reason(trained, tmp_path, capsys, counted):
    assert main(["plan", str(trained[0]), "--storage", str(tmp_path), "--gpus-per-trial", "1"]) == 2
    error = capsys.readouterr().err
    assert "--gpus-per-trial: 1 is more than the 0 GPUs of this machine (2 GPUs counted, which CUDA does not" in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_machine_without_a_driver_of_gpus_has_none_whatever_torch_says(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(foresight.ctypes, "CDLL", _missing)
    assert foresight.hardware_here().gpus == 0
    monkeypatch.setattr(foresight.ctypes, "CDLL", lambda name: None)
    assert "2 GPUs counted" in foresight.hardware_here().idle_gpus


def _missing(name):
    raise OSError(f"{name}: cannot open shared object file")


@pytest.fixture
def counted(monkeypatch):
    """Two GPUs that are seen where no driver is asked (by NVML), and that CUDA does not start."""
    monkeypatch.setattr(foresight, "may_have_gpus", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--gpus-per-trial", "9"], "--gpus-per-trial: 9 is more than the 0 GPUs of this machine"),
        (["--cpus-per-trial", "999"], "--cpus-per-trial: 999 is more than the"),
    ],
)
def test_more_than_the_machine_has_is_refused(flags, message, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(foresight, "hardware_here", lambda: Hardware(8))
    assert main(["plan", str(trained[0]), "--storage", str(tmp_path), *flags]) == 2
    assert message in capsys.readouterr().err


# A launch asks


@pytest.mark.parametrize(
    "answer, goes_on", [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_at_a_terminal_a_long_launch_starts_only_after_a_yes(answer, goes_on, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stdout", out := Terminal())
    monkeypatch.setattr(launching.RunningLaunch, "carry_out", lambda self, driver: 0)
    flags = ["--storage", str(tmp_path / "new"), "--local", "--ask-above", "0"]
    assert main(["launch", str(tiny), *flags]) == (0 if goes_on else 130)
    assert "tiny: 10 trials in 5 arms, 18 stages, 26 epochs (30 if every trial ran alone)" in out.getvalue()
    assert "Train for about 1 s? [y/N]" in out.getvalue()
    assert ("Nothing was started" in out.getvalue()) is not goes_on
    assert (tmp_path / "new" / "sweeps" / "tiny" / "sweep.json").exists() is goes_on


@pytest.mark.parametrize("flags, at_a_terminal", [(["--yes", "--ask-above", "0"], True), ([], True),
                                                  (["--ask-above", "0"], False)])  # fmt: skip
def test_nobody_is_asked_who_said_yes_or_of_a_short_launch_or_where_nobody_is(
    flags, at_a_terminal, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.stdin", Terminal("n\n") if at_a_terminal else io.StringIO())
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr(launching.RunningLaunch, "carry_out", lambda self, driver: 0)
    assert main(["launch", str(tiny), "--storage", str(tmp_path / "new"), "--local", *flags]) == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["launch", "tiny.yaml", "--ask-above", "-1"], "--ask-above: must be a number of hours from 0, not -1"),
        (["launch", "tiny.yaml", "--ask-above", "soon"], "must be a number of hours, not 'soon'"),
        (["plan", "tiny.yaml", "--gpus-per-trial", "some"], "must be a number or auto, not 'some'"),
        (["launch", "tiny.yaml", "--ray-address", "there:1", "--gpus-per-trial", "auto"],
         "--gpus-per-trial: auto looks at this machine, and --ray-address names others; give a number"),
    ],
)  # fmt: skip
def test_wrong_flags_are_told_with_their_rule(arguments, message, tiny, monkeypatch, capsys):
    monkeypatch.chdir(tiny.parent)
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert message in capsys.readouterr().err
