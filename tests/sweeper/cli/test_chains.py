"""Chains from the command line: planned together, launched in turn on one store, reported together."""

import json

import pytest

from search_spaces.chains import load_chain
from sweeper.cli.chains import launch_chain, sweeps_of
from sweeper.cli.main import main
from sweeper.records.sweep_folder import SweepFolder
from sweeper.tracking.mlflow_client import client
from trainers.errors import InvalidInput

RECIPE = "recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, options: 2, width: 0.2}\n"
SPECS = {
    "first": "name: first\n" + RECIPE + "budget_epochs: 40\naxes: {options: [2, 4]}\nseeds: 2\n",
    "second": "name: second\n" + RECIPE + "budget_epochs: 40\nslot_epochs: [20, 40]\narms: [{method: learned}]\n",
}


@pytest.fixture
def chain(tmp_path):
    for name, text in SPECS.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    path = tmp_path / "both.yaml"
    path.write_text("name: both\ndescription: Two sweeps.\nsweeps: [first.yaml, second.yaml]\n")
    return path


LOCAL = "mlflow.store.artifact.local_artifact_repo.LocalArtifactRepository"


def said(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_a_plan_of_a_chain_sums_its_sweeps_and_counts_what_they_share_once(chain, storage, capsys):
    code, out, _ = said(capsys, "plan", chain, "--set", "budget_epochs=2", "--storage", storage, "--json")
    assert code == 0
    plan = json.loads(out)
    assert [(sweep["name"], sweep["trials"], sweep["epochs_shared"]) for sweep in plan["sweeps"]] == [
        ("first", 4, 8), ("second", 3, 5),
    ]  # fmt: skip
    # K = 2, seed 0, two slot epochs is in both.
    assert (plan["trials"], plan["epochs_alone"], plan["epochs_each"], plan["epochs_shared"]) == (6, 12, 13, 11)
    _, out, _ = said(capsys, "plan", chain, "--set", "budget_epochs=2", "--storage", storage)
    assert "13 epochs if each sweep ran by itself: what they share among them makes 1.18 times fewer" in out
    assert "Two sweeps." in out


def test_a_chain_is_launched_in_turn_and_reported_together(chain, storage, tmp_path, capsys):
    short = ("--set", "budget_epochs=2", "--set", "seeds=[0]", "--storage", storage)
    code, out, _ = said(capsys, "launch", chain, *short, "--local")
    assert code == 0
    assert "[1/2] first" in out and "both: 2 of 2 sweeps are complete." in out
    assert "1 stages are stored already" in out.partition("[2/2] second")[2]
    code, out, _ = said(capsys, "launch", chain, *short, "--local")
    assert (code, out.count("; 0 epochs are left")) == (0, 2)
    code, out, _ = said(capsys, "report", chain, "--storage", storage, "-o", tmp_path / "report")
    assert code == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Sweep first" in page and "Sweep second" in page and "not launched" not in page
    mlflow = client(f"sqlite:///{storage}/mlflow.db")
    for sweep in ("first", "second"):
        experiment = mlflow.get_experiment_by_name(sweep)
        (parent,) = mlflow.search_runs([experiment.experiment_id], "tags.`sweeper.kind` = 'sweep'")
        logged = storage / "artifacts" / sweep / parent.info.run_id / "artifacts"
        assert {file.name for file in logged.iterdir()} == {
            "report.html",
            "first-screen.svg",
            "first-screen.csv",
            "spec.yaml",
            "versions",
        }
        assert (logged / "report.html").read_bytes() == (tmp_path / "report" / "report.html").read_bytes()


def test_a_report_that_mlflow_will_not_keep_is_written_all_the_same(chain, storage, tmp_path, capsys, monkeypatch):
    def fails(self, path, inside=None):
        raise OSError("no room for artifacts")

    assert said(capsys, "launch", tmp_path / "second.yaml", "--set", "budget_epochs=1", "--local",
                "--storage", storage)[0] == 0  # fmt: skip
    monkeypatch.setattr(f"{LOCAL}.log_artifact", fails)
    code, _, err = said(capsys, "report", "second", "--storage", storage, "-o", tmp_path / "report")
    assert (code, (tmp_path / "report" / "report.html").is_file()) == (0, True)
    assert err.splitlines()[-1].startswith("sweeper: warning: it is not among the artifacts")
    assert f"sweeper report second --storage {storage} -o DIR" in (tmp_path / "report" / "report.md").read_text()


def test_a_report_of_a_chain_names_what_was_not_launched(chain, storage, tmp_path, capsys):
    assert said(capsys, "launch", tmp_path / "second.yaml", "--set", "budget_epochs=1", "--local",
                "--storage", storage)[0] == 0  # fmt: skip
    assert sweeps_of(storage, [str(chain)]) == (["second"], ["first"])
    code, *_ = said(capsys, "report", chain, "--storage", storage, "-o", tmp_path / "report")
    assert code == 0
    assert "1 sweep not launched" in (tmp_path / "report" / "report.md").read_text()
    with pytest.raises(InvalidInput, match="no sweep of 'reproduce_mnist' was launched"):
        sweeps_of(storage, ["reproduce_mnist"])
    assert sweeps_of(storage, ["second", "weight_options"]) == (["second", "weight_options"], [])


def test_a_sweep_that_cannot_start_or_fails_does_not_keep_the_others(chain, storage, capsys):
    linked = load_chain(str(chain))
    asked = []

    def launch(codes):
        def one(spec):
            asked.append(spec.name)
            if (code := codes[spec.name]) == 2:
                raise InvalidInput("data: it is not there\nsecond line")
            return code

        return one

    assert launch_chain("both.yaml", linked, storage, launch({"first": 2, "second": 0})) == 2
    assert asked == ["first", "second"]
    out, err = capsys.readouterr()
    assert err.splitlines() == ["sweeper: error: first: data: it is not there", "sweeper: error: first: second line"]
    assert out.endswith(
        "\nboth: 1 of 2 sweeps are complete.\nNot complete: first.\n"
        f"Report:   sweeper report both.yaml --storage {storage} -o report\n"
    )
    assert launch_chain("both.yaml", linked, storage, launch({"first": 1, "second": 0})) == 1
    asked.clear()
    assert launch_chain("both.yaml", linked, storage, launch({"first": 130, "second": 0})) == 130
    assert asked == ["first"]
    assert capsys.readouterr().out.endswith(
        "\nboth: 0 of 2 sweeps are complete.\nTo go on with all of them: the same command again.\n"
    )


def test_none_is_launched_after_one_that_completed_before_it_could_be_stopped(chain, storage, capsys):
    linked = load_chain(str(chain))
    launched = []

    def completes(spec, asked):
        launched.append(spec.name)
        folder = SweepFolder(storage, spec.name)
        folder.ask_to_stop() if spec.name == asked else folder.forget_stop()
        return 0

    assert launch_chain("both", linked, storage, lambda spec: completes(spec, "first")) == 130
    assert launched == ["first"]
    assert "both: 1 of 2 sweeps are complete.\nTo go on with all of them" in capsys.readouterr().out
    assert launch_chain("both", linked, storage, lambda spec: completes(spec, "second")) == 0
    assert "both: 2 of 2 sweeps are complete.\nReport: " in capsys.readouterr().out


def test_a_chain_is_looked_at_and_stopped_by_its_name_and_launched_again_as_it_was(chain, storage, tmp_path, capsys):
    at = ("--storage", storage)
    code, _, err = said(capsys, "status", chain, *at)
    assert (code, f"no sweep of '{chain}' was launched in {storage}" in err) == (2, True)
    one = ("--set", "budget_epochs=1", "--local", *at)
    assert said(capsys, "launch", tmp_path / "second.yaml", *one)[0] == 0
    code, out, _ = said(capsys, "status", chain, *at)
    assert code == 0
    rows = [line.split() for line in out.splitlines()[1:]]
    assert rows == [["second", "completed", "2", "0", "2", "0"], ["first", "not", "launched"]]
    code, out, _ = said(capsys, "status", chain, "--json", *at)
    assert [(sweep["sweep"], sweep["state"]) for sweep in json.loads(out)] == [
        ("second", "completed"), ("first", "not launched"),
    ]  # fmt: skip
    assert "--version: of which sweep?" in said(capsys, "status", chain, "--version", 1, *at)[2]
    assert said(capsys, "stop", chain, *at)[:2] == (0, "second: nothing runs; it is completed.\n")
    folder = SweepFolder(storage, "second")
    with folder.lock():
        code, out, _ = said(capsys, "stop", chain, "--no-wait", *at)
        assert (code, out.startswith("second: asked to stop after the epochs that run now (process ")) == (0, True)
        assert folder.asked_to_stop()
    for command in ("resume", "retry"):
        code, _, err = said(capsys, command, chain, *at)
        assert code == 2
        assert err == (
            f"sweeper: error: sweep: '{chain}' is a chain of 2 sweeps: the command that launched it, given again, "
            "goes on with all of them; or name one of first, second\n"
        )
