"""Sweeps that are deleted."""

import shutil

import pytest

from sweeper.cli.commands.sweeps import delete as delete_command
from sweeper.records.sweep_folder import SweepFolder
from tests.sweeper.sweeps.launched import experiments, killed_at, said, stages_in, trials_of, wrong


def test_delete_says_what_would_go_and_removes_nothing_untold(capsys, own):
    before = stages_in(own)
    code, out, _ = said(capsys, "delete", "tiny", "--storage", own)
    assert code == 0 and "No other sweep refers to 9 stages (" in out
    assert "Other sweeps refer to 3 stages of it: they stay.\n" in out
    assert out.endswith(f"Nothing was removed; to remove it: sweeper delete tiny --storage {own} --yes\n")
    assert stages_in(own) == before and "tiny" in SweepFolder.names(own) and "tiny" in experiments(own)


def test_delete_takes_the_sweep_and_what_no_other_refers_to(capsys, own):
    kept = {name: trials_of(capsys, own, name) for name in ("other", "searched")}
    code, out, _ = said(capsys, "delete", "tiny", "--storage", own, "--yes")
    assert code == 0 and "Removed: tiny, 9 stages (" in out
    assert SweepFolder.names(own) == ["other", "searched"] and {*experiments(own)} == {"other", "searched"}
    assert {name: trials_of(capsys, own, name) for name in kept} == kept
    assert "A sweep refers to each of them." in said(capsys, "gc", "--storage", own)[1]
    assert "is not in" in wrong(capsys, "delete", "tiny", "--storage", own, "--yes")


@pytest.mark.parametrize(("answer", "code", "names"), [("", 130, {"tiny", "other"}), ("yes", 0, {"other"})])
def test_at_a_terminal_delete_asks(capsys, own, monkeypatch, answer, code, names):
    shutil.rmtree(own / "sweeps" / "searched")
    monkeypatch.setattr(delete_command, "may_ask", lambda yes: not yes)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert said(capsys, "delete", "tiny", "--storage", own)[0] == code
    assert {*SweepFolder.names(own)} == names


def test_a_sweep_that_cannot_be_read_can_be_deleted_and_its_stages_stay(capsys, own):
    before = stages_in(own)
    (own / "sweeps" / "tiny" / "spec.yaml").write_text("name: tiny\nof_a_newer_version: 1\n")
    code, out, _ = said(capsys, "delete", "tiny", "--storage", own, "--yes")
    assert code == 0 and "Its stages cannot be told, and stay: " in out and "sweeper gc" in out
    assert SweepFolder.names(own) == ["other", "searched"] and stages_in(own) == before


def test_nothing_is_deleted_while_another_sweep_cannot_be_read(capsys, own):
    before = stages_in(own)
    (own / "sweeps" / "other" / "spec.yaml").write_text("name: other\nof_a_newer_version: 1\n")
    message = wrong(capsys, "delete", "tiny", "--storage", own, "--yes")
    assert message.startswith("delete: nothing is removed, as 'other' cannot be read: ")
    assert stages_in(own) == before and "tiny" in SweepFolder.names(own)


def test_a_delete_that_is_killed_anywhere_is_finished_by_the_same_again(capsys, own, tmp_path):
    before = stages_in(own)
    command = ("delete", "tiny", "--storage", own, "--yes")
    killed_at("sweeper.records.store", "Store.remove", tmp_path / "out", *command)
    assert stages_in(own) == before and "tiny" in SweepFolder.names(own) and "tiny" not in experiments(own)
    killed_at("sweeper.records.sweep_folder", "SweepFolder.remove", tmp_path / "out", *command)
    assert len(stages_in(own)) == len(before) - 9 and "tiny" in SweepFolder.names(own)
    assert said(capsys, *command)[0] == 0
    assert SweepFolder.names(own) == ["other", "searched"]
