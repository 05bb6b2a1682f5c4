"""The versions of a sweep."""

import json

from tests.sweeper.sweeps.launched import said, wrong

HEAD = "version first launched (UTC) launches the last one completed"


def test_history_lists_every_version_and_what_it_changed(capsys, launched):
    code, out, _ = said(capsys, "history", "tiny", "--storage", launched)
    lines = out.splitlines()
    assert code == 0 and " ".join(lines[0].split()) == HEAD
    assert [line.split()[0] for line in lines[1:3]] == ["1", "2"]
    assert "(present)" in lines[2] and "COMPLETED" in lines[1] and lines[2].endswith("4 of 4")
    assert lines[3] == "Version 2 against 1: 2 trials new: K=8 GS (2); 2 kept; 2 trials left out: K=4 GS (2)"


def test_history_as_json_has_the_launches_of_every_version(capsys, launched):
    _, out, _ = said(capsys, "history", "tiny", "--storage", launched, "--json")
    first, second = json.loads(out)
    assert [first["present"], second["present"]] == [False, True]
    assert [len(one["launches"]) for one in (first, second)] == [1, 1]
    assert second["spec"].endswith("versions/v2.yaml")


def test_an_unknown_sweep_is_told_with_the_nearest_name(capsys, launched):
    for command in (["history", "tyni"], ["rename", "tyni", "new"], ["delete", "tyni"], ["export", "--sweep", "tyni"]):
        out = ["-o", "x"] if command[0] == "export" else []
        message = wrong(capsys, *command, *out, "--storage", launched)
        assert message == f"sweep: 'tyni' is not in {launched} (did you mean tiny?)"
