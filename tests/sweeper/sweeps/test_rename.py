"""Sweeps that get another name."""

from search_spaces.loading import spec_of
from sweeper.launch.view import SweepView
from sweeper.records.sweep_folder import SweepFolder
from tests.sweeper.sweeps.launched import SEARCH, experiments, killed_at, said, stages_in, trials_of, wrong
from tests.sweeper.sweeps.launched import SECOND as PRESENT

RULE = "letters, digits, '_', '-', '.', at most 100 of them, beginning with a letter or digit"


def test_a_renamed_sweep_is_the_same_by_another_name_in_mlflow_too(capsys, own):
    before = [trials_of(capsys, own, "tiny", "--version", number) for number in (1, 2)]
    totals = said(capsys, "status", "tiny", "--storage", own)[1].replace("tiny", "small")
    runs = experiments(own)
    code, out, message = said(capsys, "rename", "tiny", "small", "--storage", own)
    assert (code, message) == (0, "") and out.startswith("tiny is called small now.\n")
    assert [trials_of(capsys, own, "small", "--version", number) for number in (1, 2)] == before
    assert said(capsys, "status", "small", "--storage", own)[1] == totals, "what was spent stays its own"
    assert SweepFolder.names(own) == ["other", "searched", "small"]
    assert experiments(own) == {"small" if name == "tiny" else name: count for name, count in runs.items()}
    assert said(capsys, "history", "small", "--storage", own)[1].endswith("It was called tiny before.\n")
    (own / "again.yaml").write_text(PRESENT.replace("name: tiny", "name: small"))
    code, out, _ = said(capsys, "launch", own / "again.yaml", "--storage", own, "--local")
    assert code == 0 and "changed" not in out and "4 of 4 trials completed" in out
    assert len(SweepView(SweepFolder(own, "small")).versions.numbers) == 2


def test_a_search_goes_on_with_its_points_after_it_was_renamed(capsys, own):
    before = trials_of(capsys, own, "searched")
    assert said(capsys, "rename", "searched", "found", "--storage", own)[0] == 0
    assert trials_of(capsys, own, "found") == before and len(before) == 4
    assert SweepView(SweepFolder(own, "found")).state == "completed"
    assert spec_of((own / "sweeps/found/spec.yaml").read_text(), "").search == spec_of(SEARCH, "").search


def test_a_name_that_is_taken_or_none_is_refused_and_nothing_changes(capsys, own):
    said(capsys, "delete", "other", "--storage", own, "--yes")
    for name, rule in (
        ("searched", f"name: there is a sweep 'searched' in {own} already"),
        (
            "a/b",
            f"name: {RULE}, such as a-b, not 'a/b'",
        ),
        ("other", "name: MLflow has an experiment 'other' already, perhaps a deleted one"),
    ):
        assert wrong(capsys, "rename", "tiny", name, "--storage", own) == rule
    assert SweepFolder.names(own) == ["searched", "tiny"]


def test_a_sweep_that_is_being_run_keeps_its_name_and_stays(capsys, own):
    with SweepFolder(own, "tiny").lock():
        assert "is being run already (process" in wrong(capsys, "rename", "tiny", "small", "--storage", own)
        assert "is being run (process" in wrong(capsys, "delete", "tiny", "--storage", own, "--yes")
        assert "is being run (process" in wrong(capsys, "export", "--sweep", "tiny", "-o", "x", "--storage", own)
    assert "tiny" in SweepFolder.names(own) and "small" not in SweepFolder.names(own)


def test_a_rename_that_is_killed_anywhere_is_finished_by_the_same_again(capsys, own, tmp_path):
    before, stages, runs = trials_of(capsys, own, "tiny"), stages_in(own), experiments(own)["tiny"]
    command = ("rename", "tiny", "small", "--storage", own)
    for module, name, names in (
        ("sweeper.records.sweep_folder", "SweepFolder.write", {"tiny"}),
        ("sweeper.sweeps.rename", "rename_experiment", {"tiny", "small"}),
        ("sweeper.records.sweep_folder", "SweepFolder.remove", {"tiny", "small"}),
    ):
        killed_at(module, name, tmp_path / "out", *command)
        assert {*SweepFolder.names(own)} == names | {"other", "searched"}
    code, out, _ = said(capsys, *command)
    assert code == 0 and out.startswith("tiny is called small now.\n")
    assert SweepFolder.names(own) == ["other", "searched", "small"] and not (own / "sweeps/small/renamed_from").exists()
    assert trials_of(capsys, own, "small") == before and stages_in(own) == stages
    assert experiments(own)["small"] == runs and "tiny" not in experiments(own)
    assert "is not in" in wrong(capsys, *command)


def test_a_rename_that_was_begun_is_refused_where_a_launch_came_between(capsys, own, tmp_path):
    command = ("rename", "tiny", "small", "--storage", own)
    killed_at("sweeper.sweeps.rename", "rename_experiment", tmp_path / "out", *command)
    assert said(capsys, "resume", "tiny", "--storage", own)[0] == 0
    assert "one of both was launched since" in wrong(capsys, *command)
    assert {"tiny", "small"} <= {*SweepFolder.names(own)}
