"""A spec has versions: what belongs to the present one is shown, averaged and trained, the rest is counted."""

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from reports.tracked.runs import read_sweeps
from search_spaces.loading import load_spec
from search_spaces.row_names import row_names
from sweeper.cli.commands import launch as launching
from sweeper.cli.main import main
from sweeper.records.bucket_store import open_store
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.search.spec_versions import Versions
from sweeper.tracking.mlflow_client import client
from sweeper.tracking.ui_view import TAG, trials_view
from tests.sweeper.cli.answers import said, wrong
from tests.sweeper.small_sweeps import a_launch, table_of, trained_storage
from tests.sweeper.terminal import Terminal
from tests.sweeper.tracking.projected import project

FIRST = """\
name: tiny
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, selection: greedy, width: 0.1,
         slot_epochs: 1, finetune_epochs: 0}
axes: {options: [2, 4]}
seeds: 2
"""
SECOND = FIRST.replace("[2, 4]", "[2, 8]").replace("seeds: 2", "seeds: 1")
SEARCH = """\
name: searched
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, selection: greedy, width: 0.1,
         slot_epochs: 1, finetune_epochs: 0}
search: {sampler: tpe, trials: 2, space: {options: {choice: [2, 4]}}}
"""
CHANGED = (
    "spec of 'tiny' changed (version 2): 1 trial new: K=8 GS (1); 1 kept; 3 no longer belong: K=2 GS (1), K=4 GS (2)"
)
REST = "Of earlier versions: 3 trials: K=2 GS (1), K=4 GS (2) (--version 1 shows them)"


def launched(folder: Path, storage: Path, text: str, *flags: str) -> int:
    """Launches a spec in this process; returns the exit code."""
    path = folder / "spec.yaml"
    path.write_text(text)
    return main(["launch", str(path), "--storage", str(storage), "--local", *flags])


@pytest.fixture(scope="module")
def changed(tmp_path_factory, empty_mlflow) -> Path:
    """A storage in which tiny was launched with K=2 and 4 and two seeds, then with K=2 and 8 and one."""
    folder = tmp_path_factory.mktemp("changed")
    (folder / "storage").mkdir()
    shutil.copy(empty_mlflow, folder / "storage" / "mlflow.db")
    for text in (FIRST, SECOND):
        assert launched(folder, folder / "storage", text) == 0
    return folder / "storage"


@pytest.fixture
def own(changed, tmp_path) -> Path:
    """A copy, to be changed, whose sweep is tracked in the copy."""
    storage = Path(shutil.copytree(changed, tmp_path / "own"))
    folder = SweepFolder(storage, "tiny")
    file = folder.read()
    file.tracking = f"sqlite:///{storage}/mlflow.db"
    folder.write(file)
    return storage


def tracked(storage: Path, sweep: str = "tiny", version: int | None = None) -> pd.DataFrame:
    """The trials that a report averages."""
    return read_sweeps([sweep], f"sqlite:///{storage}/mlflow.db", version).trials


def stored(storage: Path) -> set[str]:
    return {stage.key for stage in open_store(storage).stages()}


# Views


def test_status_and_runs_show_the_present_version_and_count_the_rest(changed, capsys):
    out = said(capsys, "status", "tiny", "--storage", changed)[1]
    assert out.startswith("tiny, version 2: completed\n")
    assert "2 of 2 trials completed; 2 epochs trained" in out
    assert "all for trials of version 2, whichever launch trained it; 1 of 2 launches were of this version" in out
    assert REST in out and "K=4 GS  " not in out
    assert REST in said(capsys, "runs", "tiny", "--storage", changed)[1]
    assert [(row["arm"], row["seed"]) for row in table_of(changed)] == [("K=2 GS", 0), ("K=8 GS", 0)]


def test_a_version_that_is_asked_for_is_shown_as_it_was(changed, capsys):
    out = said(capsys, "status", "tiny", "--storage", changed, "--version", "1")[1]
    assert out.startswith("tiny, version 1: completed\n")
    assert "4 of 4 trials completed; 4 epochs trained" in out
    assert "Of other versions: 1 trial: K=8 GS (1) (--version 2 shows them)" in out
    rows = json.loads(said(capsys, "runs", "tiny", "--storage", changed, "--version", "1", "--json")[1])
    assert [(row["arm"], row["seed"]) for row in rows] == [(f"K={k} GS", seed) for k in (2, 4) for seed in (0, 1)]
    (answer,) = json.loads(said(capsys, "status", "tiny", "--storage", changed, "--json")[1])
    assert (answer["version"], answer["versions"]) == (2, [1, 2])


@pytest.mark.parametrize("command", [["status", "tiny"], ["runs", "tiny"], ["compare", "tiny:K=2", "tiny:K=8"]])
def test_a_version_that_there_is_not_is_told(command, changed, capsys):
    assert "version: 'tiny' has versions 1, 2, and no 3" in wrong(
        capsys, *command, "--storage", changed, "--version", "3"
    )


@pytest.mark.parametrize(
    "command, message",
    [
        (["status", "--version", "1"], "--version: of which sweep? Name one"),
        (["report", "tiny", "-o", "out", "--version", "3"], "version: 'tiny' has versions 1, 2 in MLflow, and no 3"),
        (["report", "tiny", "other", "-o", "out", "--version", "1"], "--version: 1 of which sweep? Name one sweep"),
        (["compare", "tiny", "tiny", *3 * ["--version", "1"]], "--version: once for both sides or once for each"),
    ],
)
def test_a_version_of_no_sweep_or_of_too_many_is_told(command, message, changed, capsys):
    assert message in wrong(capsys, *command, "--storage", changed)


def test_a_report_averages_the_present_version_alone(changed, tmp_path, capsys):
    assert sorted(tracked(changed)["name"]) == ["K=2 GS seed 0", "K=8 GS seed 0"]
    first = tracked(changed, version=1)
    assert sorted(first["name"]) == [f"K={k} GS seed {seed}" for k in (2, 4) for seed in (0, 1)]
    flags = ("--storage", changed, "--tracking", f"sqlite:///{changed}/mlflow.db")
    assert said(capsys, "report", "tiny", "-o", tmp_path / "now", *flags)[0] == 0
    page = (tmp_path / "now" / "report.md").read_text()
    assert "version of the spec: 2, of 2" in page
    assert "trials of earlier versions, not counted: 3" in page
    assert "K=4" not in page.partition("spec.yaml")[0]
    assert said(capsys, "report", "tiny", "-o", tmp_path / "then", *flags, "--version", "1")[0] == 0
    page = (tmp_path / "then" / "report.md").read_text()
    assert "trials completed: 4 of 4" in page
    assert "options: [2, 4]" in page.replace("\n  - ", ", ").replace("options:, ", "options: [").replace("4\n", "4]\n")
    assert "K=8" not in page


def test_the_page_of_the_sweep_in_mlflow_shows_the_present_version(changed):
    mlflow = client(f"sqlite:///{changed}/mlflow.db")
    experiment = mlflow.get_experiment_by_name("tiny")
    assert experiment.tags[TAG] == trials_view(["options"], 2)
    wanted = "tags.`sweeper.kind` = 'trial' and tags.`sweeper.v2` LIKE '%'"
    found = mlflow.search_runs([experiment.experiment_id], wanted)
    assert sorted(run.info.run_name for run in found) == ["K=2 GS seed 0", "K=8 GS seed 0"]


# Launching


def test_an_old_spec_launched_again_is_the_present_version_again(own, tmp_path, capsys):
    before = stored(own)
    assert launched(tmp_path, own, FIRST) == 0
    out = capsys.readouterr().out
    assert "spec of 'tiny' changed back (version 1, first launched " in out
    assert "3 trials again: K=2 GS (1), K=4 GS (2); 1 kept; 1 no longer belongs: K=8 GS (1)" in out
    assert stored(own) == before
    assert Versions.of(SweepFolder(own, "tiny")).present == 1
    assert len(tracked(own)) == 4
    assert list(tracked(own, version=2)["name"]) == ["K=2 GS seed 0", "K=8 GS seed 0"]


@pytest.mark.parametrize("flags, answer, goes_on", [([], "y\n", True), ([], "\n", False), (["--yes"], "", True)])
def test_at_a_terminal_a_changed_spec_is_asked_about(flags, answer, goes_on, own, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stdout", out := Terminal())
    monkeypatch.setattr(launching.RunningLaunch, "carry_out", lambda self, driver: 0)
    assert launched(tmp_path, own, SECOND.replace("8", "16"), *flags) == (0 if goes_on else 130)
    assert "changed (version 3): 1 trial new: K=16 GS (1); 1 kept; 1 no longer belongs: K=8 GS (1)" in out.getvalue()
    assert ("Make version 3 the present one? [y/N]" in out.getvalue()) is not bool(flags)
    assert ("Nothing was started" in out.getvalue()) is not goes_on
    assert Versions.of(SweepFolder(own, "tiny")).present == (3 if goes_on else 2)


def test_without_a_terminal_a_changed_spec_is_told_and_goes_on(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr(launching.RunningLaunch, "carry_out", lambda self, driver: 0)
    shutil.rmtree(own / "sweeps" / "tiny")
    assert launched(tmp_path, own, FIRST) == 0
    assert "changed" not in capsys.readouterr().out  # a sweep of this name was not launched before
    assert launched(tmp_path, own, SECOND) == 0
    out = capsys.readouterr().out
    assert CHANGED in out
    assert "There is no terminal to ask at, so it goes on." in out


@pytest.mark.parametrize("change", ["limits.epochs=50", "description=Another word for it"])
def test_limits_and_descriptions_make_no_version_and_are_not_asked_about(change, own, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal(""))
    monkeypatch.setattr("sys.stdout", out := Terminal())
    monkeypatch.setattr(launching.RunningLaunch, "carry_out", lambda self, driver: 0)
    assert launched(tmp_path, own, SECOND, "--set", change) == 0
    assert "changed" not in out.getvalue() and "[y/N]" not in out.getvalue()
    versions = Versions.of(SweepFolder(own, "tiny"))
    assert (versions.present, versions.numbers) == (2, [1, 2])
    assert change.partition("=")[2] in versions.text(2)


def test_limits_count_what_was_spent_on_the_present_version_by_its_launches(own, tmp_path, capsys):
    assert launched(tmp_path, own, SECOND.replace("seeds: 1", "seeds: 3"), "--set", "limits.epochs=3") == 3
    out = capsys.readouterr().out
    assert "LIMIT REACHED  epochs: 3 (3 spent)" in out
    assert "What counts is what was spent on the trials of version 3, and its own launches." in out


# gc


def test_gc_keeps_what_only_an_earlier_version_refers_to_until_it_is_told(own, capsys):
    everything = stored(own)
    out = said(capsys, "gc", "--storage", own, "--delete")[1]
    assert "Only earlier versions of sweeps refer to 3 stages (" in out
    assert stored(own) == everything
    out = said(capsys, "gc", "--storage", own, "--earlier-versions")[1]
    assert "The present version of no sweep refers to 3 stages (" in out
    assert "--earlier-versions --delete" in out
    assert stored(own) == everything
    assert "Removed: 3 stages (" in said(capsys, "gc", "--storage", own, "--earlier-versions", "--delete")[1]
    assert len(stored(own)) == len(everything) - 3
    assert said(capsys, "status", "tiny", "--storage", own)[1].startswith("tiny, version 2: completed\n")
    out = said(capsys, "status", "tiny", "--storage", own, "--version", "1")[1]
    assert "3 epochs are left; to go on: sweeper launch " in out and "versions/v1.yaml" in out


@pytest.mark.parametrize("flags, answer, goes", [([], "y\n", True), ([], "\n", False), (["--yes"], "", True)])
def test_gc_asks_at_a_terminal_before_it_removes(flags, answer, goes, own, monkeypatch):
    everything = stored(own)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stdout", out := Terminal())
    command = ["gc", "--storage", str(own), "--delete", "--earlier-versions", *flags]
    assert main(command) == (0 if goes else 130)
    assert ("for good? [y/N]" in out.getvalue()) is not bool(flags)
    assert (stored(own) == everything) is not goes
    assert ("Nothing was removed" in out.getvalue()) is not goes


def test_gc_removes_nothing_while_an_earlier_version_cannot_be_read(own, capsys):
    (own / "sweeps" / "tiny" / "versions" / "v1.yaml").write_text("name: [")
    assert "gc: nothing is removed, as 'tiny' cannot be read: version 1 of tiny: " in wrong(
        capsys, "gc", "--storage", own, "--delete"
    )
    out = said(capsys, "status", "tiny", "--storage", own)[1]
    assert "the trials of 1 cannot be told: its spec is not readable" in out


# compare


@pytest.mark.parametrize(
    "pairs, names",
    [
        ([("K=2 GS", "K=8 GS")], ["GS"]),
        ([("K=2 GS, layer-shared", "K=8 GS, layer-shared")], ["GS, layer-shared"]),
        ([("K=2 GS", "K=8 GS"), ("K=2 PS", "K=8 PS")], ["GS", "PS"]),
        ([("K=2 GS", "K=4 GS"), ("K=2 GS", "K=8 GS")], ["GS: K=2 against K=4", "GS: K=2 against K=8"]),
        ([("K=2 GS", "K=2 GS"), ("K=2 PS", "K=2 PS")], ["K=2 GS", "K=2 PS"]),
        ([("K=2 GS", "learned weights")], ["K=2 GS against learned weights"]),
        ([("K=2 GS", "K=2 GS"), ("K=2 GS", "K=2 GS, 1+2 epochs")], ["K=2 GS", "K=2 GS: – against 1+2 epochs"]),
    ],
)
def test_a_row_is_called_by_what_both_sides_share(pairs, names):
    assert row_names(pairs) == names


def test_no_row_is_called_by_one_side_alone(changed, capsys):
    out = said(capsys, "compare", "tiny:K=2", "tiny:K=8", "--storage", changed)[1]
    assert "They differ in options: 2 against 8" in out
    assert [line.split()[:2] for line in out.splitlines() if " validation " in line] == [["GS", "validation"]]
    assert f"tiny: {REST}" in out


def test_versions_of_one_sweep_are_compared(changed, capsys):
    both = ["--version", "1", "--version", "2"]
    out = said(capsys, "compare", "tiny", "tiny", "--storage", changed, *both)[1]
    assert "A: tiny, version 1\nB: tiny\n" in out
    assert "Only in tiny version 1: K=4 GS" in out
    assert "Only in tiny: K=8 GS" in out
    answer = json.loads(said(capsys, "compare", "tiny", "tiny", "--storage", changed, "--json", *both)[1])
    assert answer["alone"] == [{"sweep": "tiny", "version": 1, "arm": "K=4 GS"},
                               {"sweep": "tiny", "version": None, "arm": "K=8 GS"}]  # fmt: skip


# Searches


def test_what_a_changed_search_asked_for_before_is_of_an_earlier_version(storage, tmp_path, capsys):
    assert launched(tmp_path, storage, SEARCH) == 0
    assert launched(tmp_path, storage, SEARCH.replace("[2, 4]", "[2, 8]")) == 0
    assert "its search asks for 2 points at most" in capsys.readouterr().out
    assert "Of earlier versions: 1 trial: K=4 GS (1)" in said(capsys, "status", "searched", "--storage", storage)[1]
    assert sorted(tracked(storage, "searched")["options"]) == [2, 8]
    assert sorted(tracked(storage, "searched", 1)["options"]) == [2, 4]
    assert sorted(tracked(storage, "searched")["search_trial"]) == ["0", "1"]  # each by the search of its version
    assert said(capsys, "report", "searched", "-o", tmp_path / "report", "--storage", storage)[0] == 0
    assert "2 of 2 points, asked for by TPE" in (tmp_path / "report" / "report.md").read_text()


def test_a_search_of_fewer_trials_has_its_first_points(storage, tmp_path, capsys):
    assert launched(tmp_path, storage, SEARCH) == 0
    first = table_of(storage, "searched")[0]["arm"]
    capsys.readouterr()
    assert launched(tmp_path, storage, SEARCH.replace("trials: 2", "trials: 1")) == 0
    assert "0 trials new; 1 kept; 1 no longer belongs: " in capsys.readouterr().out
    assert [row["arm"] for row in table_of(storage, "searched")] == [first]
    assert list(tracked(storage, "searched")["arm"]) == [first]


# What was launched before versions were kept


def test_a_sweep_of_before_versions_gets_its_first_one_from_the_spec_it_has(trained, empty_mlflow, tmp_path, capsys):
    storage = trained_storage(trained, tmp_path)
    shutil.copy(empty_mlflow, storage / "mlflow.db")
    launch = a_launch(trained[0], storage)
    project(f"sqlite:///{storage}/mlflow.db", storage, launch)
    assert len(tracked(storage)) == 10  # none of them says of which version it is
    assert "is tracked without versions, so there is no 1" in wrong(
        capsys, "report", "tiny", "-o", tmp_path / "r", "--storage", storage, "--version", "1"
    )
    assert "versions" not in said(capsys, "status", "tiny", "--storage", storage)[1]
    text = trained[0].read_text().replace("seeds: 2", "seeds: 1")
    assert launched(tmp_path, storage, text) == 0
    assert "changed (version 2): 0 trials new; 5 kept; 5 no longer belong: " in capsys.readouterr().out
    assert len(tracked(storage)) == 5
    assert len(tracked(storage, version=1)) == 10


# The files


def test_versions_are_kept_wherever_the_storage_is(place, tmp_path):
    folder = SweepFolder(place, "tiny")
    assert Versions.of(folder).numbers == []
    for text, number in ((FIRST, 1), (SECOND, 2), (FIRST, 1)):
        (tmp_path / "spec.yaml").write_text(text)
        spec = load_spec(str(tmp_path / "spec.yaml"))
        versions = Versions.of(folder).launched(spec, "2026-01-01T00:00:00.000+00:00", {"digits": text})
        assert versions.present == number
        versions.write()
        folder.write(SweepFile("tiny", "", "sqlite:///x.db", {}), spec.to_yaml())
    read = Versions.of(folder)
    assert (read.present, read.numbers) == (1, [1, 2])
    assert [len(read.members(number)) for number in read.numbers] == [4, 2]
    assert [dict(version.digests) for version in read.known] == [{"digits": FIRST}, {"digits": SECOND}]


def test_a_launch_that_died_before_its_spec_was_written_changed_nothing(own, tmp_path, capsys):
    (tmp_path / "spec.yaml").write_text(SECOND.replace("8", "16"))
    folder = SweepFolder(own, "tiny")
    Versions.of(folder).launched(load_spec(str(tmp_path / "spec.yaml")), "", {"digits": "x"}).write()
    assert Versions.of(folder).present == 2
    assert said(capsys, "status", "tiny", "--storage", own)[1].startswith("tiny, version 2: completed\n")


def test_a_list_of_versions_that_cannot_be_read_is_named(own, capsys):
    (own / "sweeps" / "tiny" / "versions.json").write_text("[{")
    assert "version: cannot read " in wrong(capsys, "status", "tiny", "--storage", own)
