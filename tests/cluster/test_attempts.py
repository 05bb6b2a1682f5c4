"""Attempts on whoever runs this, each of which must come to nothing. docs/cluster.md has the table."""

import json
import pickle
import subprocess
from pathlib import Path

import pytest

from search_spaces.loading import load_spec
from sweeper.cli.commands.cluster import flags_handed_on
from sweeper.cli.main import main
from sweeper.launch.ray_jobs import words
from trainers.errors import InvalidInput
from trainers.tickets.file_format import TicketError
from trainers.tickets.tickets import load_ticket

COMMANDS = ["status", "runs", "stop", "resume", "retry", "track", "ui"]
NAMES = ["../outside", "/etc", "..", "a/../../outside", "a\nb", "a;touch b", "$(touch b)", ""]


@pytest.mark.parametrize("name", NAMES[:-1])  # no name at all means all sweeps
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_leaves_the_storage_by_the_name_of_a_sweep(command, name, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "sweep.json").write_text("{}")
    monkeypatch.chdir(outside)
    (tmp_path / "storage" / "sweeps").mkdir(parents=True)
    assert main([command, name, "--storage", str(tmp_path / "storage")]) == 2
    assert sorted(path.name for path in outside.iterdir()) == ["sweep.json"]


@pytest.mark.parametrize("name", NAMES)
def test_no_spec_names_a_folder_elsewhere(name, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(f"name: {json.dumps(name)}\nrecipe: {{network: lenet, dataset: digits, method: learned}}\n")
    with pytest.raises(InvalidInput, match="name: "):
        load_spec(str(path))


@pytest.mark.parametrize("name", NAMES)
def test_no_name_reaches_a_cluster_that_is_none(name, capsys):
    assert main(["resume", name, "--cluster", "http://127.0.0.1:9"]) == 2
    assert "sweep: letters, digits" in capsys.readouterr().err


def test_what_a_flag_says_is_never_run_by_the_shell_of_a_cluster(tmp_path):
    """The Jobs API hands the command to a shell."""
    proof = tmp_path / "proof"
    given = {"data_dir": f"/data; touch {proof}", "storage": f"/x$(touch {proof})`touch {proof}`", "max_parallel": 2}
    flags = flags_handed_on({**given, "tracking": "http://a'b\"|&>c", "download": False, "tracking_optional": True})
    said = subprocess.run(words(["printf", "%s\\n", *flags]), shell=True, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == flags
    assert "--no-download" in flags and "--tracking-optional" in flags and f"--data-dir={given['data_dir']}" in flags
    assert not proof.exists()


@pytest.mark.parametrize(
    "line",
    [
        "!!python/object/apply:os.system ['touch {proof}']",
        "!!python/object/new:os.system ['touch {proof}']",
        "!!python/module:os",
        "!!python/name:os.system",
    ],
)
def test_no_yaml_runs_anything(line, tmp_path):
    path, proof = tmp_path / "spec.yaml", tmp_path / "proof"
    path.write_text(f"name: a\nrecipe: {line.format(proof=proof)}\n")
    with pytest.raises(InvalidInput, match=r"spec\.yaml: line 2"):
        load_spec(str(path))
    assert not proof.exists()


def test_a_small_spec_cannot_become_a_large_one(tmp_path):
    path = tmp_path / "spec.yaml"
    rows = [f"x{number}: &x{number} [{', '.join([f'*x{number - 1}'] * 9)}]" for number in range(1, 12)]
    path.write_text("\n".join(["x0: &x0 [a]", *rows]))
    with pytest.raises(InvalidInput, match="more than 100,000 values"):
        load_spec(str(path))


class Bomb:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (Path.touch, (self.proof,))


def test_no_ticket_is_unpickled(tmp_path):
    proof, path = tmp_path / "proof", tmp_path / "ticket.safetensors"
    path.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(TicketError, match="ticket"):
        load_ticket(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes())  # what it would have done
    assert proof.exists()
