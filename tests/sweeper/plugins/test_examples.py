"""The plug-ins in examples/: a method, a network and a data set, from a plan to a report, on Ray."""

import os
import shutil
import signal
from pathlib import Path

import pytest

import sweeper
import trainers
from search_spaces.expansion import expand
from search_spaces.loading import load_spec
from sweeper.cli.plugins.agreed import plugin_reader
from sweeper.launch.view import SweepView
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import storage_at
from tests.sweeper.cli.answers import said, wrong
from tests.sweeper.plugins.written import forget
from tests.sweeper.processes import ROOT, start_sweeper
from tests.waiting import ending_of, wait_until
from trainers.costs import counting
from trainers.costs.shapes import _known as known_shapes
from trainers.costs.shapes import network_shape
from trainers.errors import InvalidInput
from trainers.methods.base import selected_weights
from trainers.networks.registry import build_network, network_arguments
from trainers.plugins import known
from trainers.recipe.recipe import Recipe

EXAMPLES = ROOT / "examples"
ALLOW = "--allow-plugins"
QUICK = ["--set", "budget_epochs=4", "--set", "slot_epochs=[2,4]", "--set", "seeds=1"]


def copied(folder: Path) -> Path:
    """The example where it can be edited; returns its spec."""
    shutil.copytree(EXAMPLES / "tabular", folder / "tabular", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(shutil.copy(EXAMPLES / "tabular.yaml", folder))


def read(spec: Path):
    return load_spec(str(spec), [], plugin_reader(True))


@pytest.mark.slow
@pytest.mark.cluster
def test_an_example_is_trained_on_ray_killed_resumed_edited_and_moved(tmp_path, capsys):
    spec, storage, out = copied(tmp_path), tmp_path / "storage", tmp_path / "out"
    words = ["--storage", storage, "--yes"]
    first = start_sweeper("launch", spec, *words, ALLOW, *QUICK, out=out)
    try:
        wait_until(lambda: list((storage / "stages").glob("*")), first)
        os.kill(first.pid, signal.SIGKILL)
    finally:
        first.kill()
        first.wait()
    edited = tmp_path / "tabular" / "method.py"
    whole = edited.read_text()
    edited.write_text("raise SystemExit('an edited folder is not what a resumed launch uses')\n")
    again = start_sweeper("resume", "tabular", *words, ALLOW, out=out)
    assert ending_of(again) == 0, out.read_text()
    view = SweepView(SweepFolder(storage_at(str(storage)), "tabular"))
    assert view.state == "completed", out.read_text()
    trained = [record.environment for record in view.launch.records.values() if record]
    assert len(trained) > len({one["process"] for one in trained}), "no process trained two stages"
    # An edit is another digest: what is of the plug-in is trained anew, also networks and data.
    edited.write_text(whole + "# another comment\n")
    code, plan, message = said(capsys, "plan", spec, "--storage", storage, ALLOW, *QUICK)
    assert code == 0, message
    assert "stored already: 0 stages" in plan
    # Elsewhere, without the folder, and without its code.
    shutil.move(storage, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "tabular")
    forget()
    code, _, message = said(capsys, "report", "tabular", "--storage", tmp_path / "elsewhere", "-o", tmp_path / "report")
    assert code == 0, message
    assert "tabular.residual on tabular.tumours" in (tmp_path / "report" / "report.md").read_text()


def test_a_network_is_counted_once_and_then_planned_with_whether_its_code_is_there(tmp_path, monkeypatch):
    signs, *others = expand(read(copied(tmp_path)))
    assert {recipe.network for recipe in others} == {"tabular.residual"} and "tabular@" in signs.plugins
    connections = 30 * 64 + 2 * 64 * 64 + 64 * 2
    told = signs.network, network_arguments(signs), (30, 1, 1), 2, signs.plugins
    known_shapes.cache_clear()
    shape = network_shape(*told)
    assert shape.connections == connections and shape.forward_flops == 2 * connections
    known_shapes.cache_clear()  # as in another process
    known._code.clear()
    monkeypatch.setattr(counting, "counted", None)
    assert network_shape(*told) == shape
    with pytest.raises(InvalidInput, match="it needs the code of tabular@"):
        build_network(signs, (30, 1, 1), 2)
    known._known.clear()  # as in a worker, before it has read the files from the storage
    assert Recipe.model_validate(signs.model_dump(mode="json")) == signs


def test_a_network_is_refused_where_it_has_not_what_the_recipe_says(tmp_path, capsys):
    spec = copied(tmp_path)
    for change, message in (
        ("recipe.activation=elu", "activation: tabular.residual has no such field"),
        ("recipe.network=tabular.residul", "network: 'tabular.residul' is not one of tabular.residual (did you mean"),
        (
            "recipe.dataset=tabular.tumors",
            "dataset: 'tabular.tumors' is not one of tabular.tumours, tabular.diabetes (did you mean",
        ),
        ("recipe.validation_examples=500", "validation_examples: must be below 455"),
        ("recipe.network=conv2", "network: conv2 needs images of at least"),
    ):
        assert message in wrong(capsys, "plan", spec, "--storage", tmp_path / "s", ALLOW, "--set", change)


def test_a_data_set_that_draws_afresh_is_refused_before_anything_is_planned(tmp_path, capsys):
    spec = copied(tmp_path)
    data = tmp_path / "tabular" / "data.py"
    shuffled = "    np.random.shuffle(train)\n    return Images(pixels[train]"
    data.write_text(data.read_text().replace("    return Images(pixels[train]", shuffled))
    message = wrong(capsys, "plan", spec, "--storage", tmp_path / "s", ALLOW)
    assert message.startswith("plugins: tabular/data.py:33: read_tumours: the reader changes NumPy's generator"), (
        message
    )


def test_a_controller_with_memory_learns_to_copy_by_selecting_its_weights(tmp_path):
    shutil.copytree(EXAMPLES / "copying", tmp_path / "copying", ignore=shutil.ignore_patterns("__pycache__"))
    spec = read(Path(shutil.copy(EXAMPLES / "copying.yaml", tmp_path)))
    slot = next(recipe for recipe in expand(spec) if recipe.method == "slot_machine" and recipe.width == 1)
    data = trainers.load_splits(slot, None)
    assert (data.task, data.train.labels.shape) == ("bits", (4000, 24))
    run = trainers.TrainingRun(slot, data)
    fixed = [selection.options for _, selection, _ in selected_weights(run.network)]
    assert len(fixed) == 4, "all layers are slot machines"
    for _ in range(2):
        record = run.train_epoch()
    copied_bits = ((run.network(data.test.images) > 0) == (data.test.labels > 0.5)).float().mean()
    assert run.test().accuracy == pytest.approx(float(copied_bits), abs=1e-6)
    assert record.validation_accuracy > 0.65  # by guessing 0.5; with 6,000 bits the deviation of that is 0.005
    with pytest.raises(InvalidInput, match=r"random_features solves for classes, and copying\.vectors asks for bits"):
        Recipe.complete({**slot.model_dump(include={"network", "dataset", "plugins"}), "method": "random_features"})


def test_a_regression_is_told_in_r_squared_from_training_to_report(tmp_path, capsys):
    forget()
    spec, storage = copied(tmp_path), tmp_path / "storage"
    hardly = "dataset: tabular.diabetes, finetune_learning_rate: 1.0e-7"
    spec.write_text(spec.read_text().replace("dataset: tabular.tumours", hardly))
    code, shown, message = said(capsys, "launch", spec, "--storage", storage, "--local", "--yes", ALLOW, *QUICK)
    assert code == 0, shown + message
    sweep = sweeper.Sweep("tabular", storage)
    scores = sweep.trials().set_index("name")["test_accuracy"]
    test = trainers.load_splits(expand(read(spec))[0], None).test
    for name, score in scores.items():
        answers = sweep.network(name)(test.images).detach().numpy()
        assert score == pytest.approx(1 - ((answers - test.labels.numpy()) ** 2).mean(), abs=1e-5)
    assert scores.min() < 0 < scores.max(), "what hardly learns is worse than the mean"
    worst = f"{100 * scores.min():.2f}".replace("-", "−")
    _, shown, _ = said(capsys, "runs", "tabular", "--storage", storage)
    assert f"{worst} %" in shown
    forget()
    code, _, message = said(capsys, "report", "tabular", "--storage", storage, "-o", tmp_path / "report")
    assert code == 0, message
    report = (tmp_path / "report" / "report.md").read_text()
    assert "accuracies on tabular.diabetes are R², the shares of the variance that are explained" in report
    assert worst in report
