"""What was stored once stays valid: an old storage is planned as stored, trains nothing, and reports alike."""

from __future__ import annotations

import csv
import json
import math
import shutil
import tarfile
from pathlib import Path

import pytest

from sweeper.cli.main import main

KEPT = Path(__file__).parent / "kept_store"
SWEEPS = ("every_method", "splits", "searched")


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """The storage, unpacked; the tests of this module go on in the same one."""
    folder = tmp_path_factory.mktemp("kept")
    with tarfile.open(KEPT / "store.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "store"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(first: str, second: str) -> bool:
    """Whether two cells say the same: numbers may differ in their last digits, as arithmetic does between machines."""
    try:
        return math.isclose(float(first), float(second), rel_tol=1e-9, abs_tol=1e-12)
    except ValueError:
        return first == second


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_plan_finds_all_of_it_stored(kept, sweep, capsys):
    assert main(["plan", str(KEPT / f"{sweep}.yaml"), "--storage", str(kept), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert sum(arm["trials"] for arm in plan["arms"]) > 0
    # Of a search, what was stopped at a rung is not to be trained, but not stored either.
    left = {arm["label"]: arm["trials"] - arm["trials_stored"] for arm in plan["arms"]}
    assert sum(left.values()) == (4 if sweep == "searched" else 0), left


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_launch_trains_nothing_again(kept, sweep, capsys):
    records = set(kept.glob("stages/*/*/*/record.json"))
    assert len(records) == 50
    assert main(["launch", str(KEPT / f"{sweep}.yaml"), "--storage", str(kept), "--local", "--yes"]) == 0
    assert "stages are stored already" in capsys.readouterr().out
    assert set(kept.glob("stages/*/*/*/record.json")) == records


def test_its_report_has_the_same_numbers(kept, tmp_path):
    for sweep in SWEEPS:  # its FLOPs were counted otherwise when it was made
        assert main(["track", sweep, "--storage", str(kept)]) == 0
    assert main(["report", *SWEEPS, "--storage", str(kept), "-o", str(tmp_path)]) == 0
    for table in (KEPT / "report").glob("*.csv"):
        found = rows(tmp_path / table.name if table.name == "table.csv" else tmp_path / "tables" / table.name)
        expected = rows(table)
        assert len(found) == len(expected), table.name
        for line, (now, then) in enumerate(zip(found, expected, strict=True)):
            differ = {name: (then[name], now.get(name)) for name in then if not same(then[name], now.get(name) or "")}
            assert not differ, f"{table.name}, row {line}"


def test_an_older_mlflow_is_brought_up_to_date(kept, capsys):
    assert main(["track", "splits", "--storage", str(kept)]) == 0
    assert "MLflow shows all 8 trials of splits as they are." in capsys.readouterr().out


def test_a_damaged_record_of_it_is_noticed(kept, tmp_path, capsys):
    """So that the tests above cannot pass for want of looking."""
    copy = tmp_path / "store"
    shutil.copytree(kept, copy)
    record = min(copy.glob("stages/*/*/*/record.json"))
    record.write_bytes(record.read_bytes()[:-20])
    left = 0
    for sweep in SWEEPS:
        main(["plan", str(KEPT / f"{sweep}.yaml"), "--storage", str(copy), "--json"])
        left += sum(arm["trials"] - arm["trials_stored"] for arm in json.loads(capsys.readouterr().out)["arms"])
    assert left > 4
