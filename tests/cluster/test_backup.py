"""`make backup` and `make restore`: the scripts as they are, real PostgreSQL; only `docker compose` is stood in for."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]

# Runs here what the scripts would have run in a container of the service.
STAND_IN = """\
#!/bin/sh
[ "$1" = exec ] || exit 0
shift 3
for word; do
    shift
    case "$word" in /artifacts|/storage) word=$STACK$word;; esac
    set -- "$@" "$word"
done
exec "$@"
"""


class Stack:
    """What the containers of one project have: a database and two volumes."""

    def __init__(self, folder: Path, postgres) -> None:
        self.folder, self.postgres = folder, postgres
        for volume in ("artifacts", "storage"):
            (folder / volume).mkdir(parents=True)
        self.compose = folder / "compose"
        self.compose.write_text(STAND_IN)
        self.compose.chmod(0o755)

    def run(self, script: str, backup: Path) -> subprocess.CompletedProcess:
        variables = {**os.environ, **self.postgres.variables, "COMPOSE": str(self.compose), "STACK": str(self.folder)}
        return subprocess.run(
            [ROOT / "scripts" / script, backup], env=variables, capture_output=True, text=True, cwd=self.folder
        )


@pytest.fixture
def stacks(make_postgres, tmp_path) -> tuple[Stack, Stack]:
    return tuple(Stack(tmp_path / name, make_postgres("127.0.0.1", free_port(), name * 8)) for name in ("old", "new"))


def test_a_backup_restored_into_an_empty_stack_is_all_that_was_there(stacks, tmp_path):
    old, new = stacks
    old.postgres.query("create table runs as select n, md5(n::text) as name from generate_series(1, 1000) n")
    (old.folder / "artifacts" / "1").mkdir()
    (old.folder / "artifacts" / "1" / "spec.yaml").write_text("name: tiny\n")
    (old.folder / "storage" / "sweeps").mkdir()
    (old.folder / "storage" / "sweeps" / "sweep.json").write_bytes(os.urandom(5000))
    (old.folder / "storage" / "incoming").mkdir()  # drafts of what is being written now
    (old.folder / "storage" / "incoming" / "draft").write_text("half")

    backup = tmp_path / "backup"
    assert (done := old.run("backup.sh", backup)).returncode == 0, done.stderr
    assert {file.stat().st_mode & 0o077 for file in backup.iterdir()} == {0}
    assert (done := new.run("restore.sh", backup)).returncode == 0, done.stderr

    both = "select count(*), sum(n), md5(string_agg(name, '' order by n)) from runs"
    assert new.postgres.query(both) == old.postgres.query(both)
    for file in ("artifacts/1/spec.yaml", "storage/sweeps/sweep.json"):
        assert (new.folder / file).read_bytes() == (old.folder / file).read_bytes()
    assert not (new.folder / "storage" / "incoming").exists()

    again = old.run("backup.sh", backup)
    assert again.returncode == 2 and "is there already" in again.stderr
    into_full = new.run("restore.sh", backup)
    assert into_full.returncode == 2 and "restore into an empty stack" in into_full.stderr
    (backup / "storage.tar").unlink()
    assert "storage.tar is not there" in new.run("restore.sh", backup).stderr
