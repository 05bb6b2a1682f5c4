"""A new tracking file that several launches open at once: MLflow fails where two processes let it make its tables."""

from tests.sweeper.processes import start_sweeper
from tests.waiting import ending_of, wait_until

# All are ready to make the tables before one begins.
PROGRAM = """
import os, sys, time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from sweeper.tracking import new_database
from sweeper.tracking.mlflow_client import client
new_database.set_up = lambda file: None  # as with a version of MLflow of which no script is there
folder = Path(sys.argv[1])
(folder / f"ready-{os.getpid()}").touch()
while len(list(folder.glob("ready-*"))) < int(sys.argv[2]):
    time.sleep(0.002)
client(f"sqlite:///{folder}/mlflow.db").create_experiment(str(os.getpid()))
"""
LAUNCHES = 4


def test_launches_that_open_a_new_tracking_file_at_once_all_find_its_tables(tmp_path):
    out = tmp_path / "out"
    started = [start_sweeper(tmp_path, LAUNCHES, out=out, program=PROGRAM) for _ in range(LAUNCHES)]
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == LAUNCHES, *started)
    assert [ending_of(one) for one in started] == [0] * LAUNCHES, out.read_text()
    assert sorted(path.name.partition(".")[0] for path in tmp_path.iterdir() if "ready" not in path.name) == [
        "mlflow",
        "out",
    ]
