"""The benchmark of a day on a GPU: records, failures that stop nothing, going on, and what it needs to be there."""

import argparse
import json
import subprocess
import sys
from itertools import chain, repeat
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_day
from benchmarks.gpu import OutOfTime, train_one
from trainers.recipe.recipe import Recipe

CPU = torch.device("cpu")
LENET = {"network": "lenet", "dataset": "digits", "width": 0.1, "method": "slot_machine", "slot_epochs": 3}
HOW = argparse.Namespace(data_dir=None, examples=None, graphed=None)
BARE = """
import sys
for name in ("ray", "mlflow", "optuna", "pandas", "sweeper", "reports", "search_spaces"):
    sys.modules[name] = None  # not to be imported
from pathlib import Path
import torch
from benchmarks import gpu_day
given = gpu_day.SMOKE_METHODS["greedy-8"]
record = gpu_day.smoke(gpu_day.smoke_recipe("lenet", given, "float32"), torch.device("cpu"))
assert record["passed"] and record["loss_difference"] == 0, record
"""


def test_it_needs_no_ray_mlflow_or_optuna():
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr


def timeless(record):
    text = json.loads(json.dumps(record))
    for epoch in text["epochs"]:
        for name in [name for name in epoch if name.endswith(("seconds", "joules"))]:
            del epoch[name]
    return text


def test_a_trial_that_is_cut_off_goes_on_and_ends_as_if_it_never_was(tmp_path):
    recipe, partial = Recipe.complete(LENET), tmp_path / "x.partial"
    for _ in range(2):
        with pytest.raises(OutOfTime):
            train_one(recipe, HOW, CPU, partial, lambda: -1.0)
    record = train_one(recipe, HOW, CPU, partial, lambda: -1.0)
    assert not partial.exists()
    assert timeless(record) == timeless(train_one(recipe, HOW, CPU))


def test_a_case_that_fails_is_written_down_and_the_rest_goes_on_once(tmp_path):
    done = []

    def fails():
        raise RuntimeError("CUDA error: no kernel image")

    def works():
        done.append(1)
        return {"passed": True}

    for _ in range(2):
        cases = [(tmp_path / "smoke" / "a.json", fails), (tmp_path / "smoke" / "b.json", works)]
        gpu_day.within(lambda: 1.0, iter(cases))
    assert done == [1]
    failed, passed = (json.loads((tmp_path / "smoke" / name).read_text()) for name in ("a.json", "b.json"))
    assert (failed["passed"], passed["passed"]) == (False, True)
    assert "no kernel image" in failed["error"]


def test_nothing_is_begun_after_the_time_is_over(tmp_path, capsys):
    left = chain([1.0], repeat(-1.0))
    cases = [(tmp_path / "ratios" / f"{name}.json", lambda: {}) for name in "abc"]
    gpu_day.within(lambda: next(left), iter(cases))
    assert [path.name for path in (tmp_path / "ratios").iterdir()] == ["a.json"]
    assert "out of time; left: ratios/b.json" in capsys.readouterr().out


def test_the_table_is_in_the_order_of_worth_per_minute(tmp_path):
    how = argparse.Namespace(out=tmp_path, network=None, preset="icml", precision="float32", epochs=None, seeds=2)
    names = [path.stem for path, _ in gpu_day.table_of(how)]
    first = ["greedy-8", "learned", "edge_popup", "supermask", "probabilistic-8"]
    assert names[:5] == [f"conv6-icml-{method}-0" for method in first]
    order = [names.index(name) for name in ("conv2-icml-greedy-8-0", "conv6-icml-greedy-8-1", "lenet-icml-greedy-8-0",
             "vgg19-icml-greedy-8-0")]  # fmt: skip
    assert order == sorted(order)
    assert len(set(names)) == len(names) == 2 * 5 * 5


def test_a_selection_that_differs_between_devices_does_not_pass(monkeypatch):
    given = gpu_day.SMOKE_METHODS["greedy-8"]
    recipe = gpu_day.smoke_recipe("lenet", given, "float32")
    real, calls = gpu_day.selections, []

    def other(run):
        calls.append(run)
        found = real(run)
        return [weight + (len(calls) == 2) for weight in found]  # the device's, before its first step

    monkeypatch.setattr(gpu_day, "selections", other)
    record = gpu_day.smoke(recipe, CPU)
    assert (record["passed"], record["first_selections_differ"]) == (False, 1.0)
