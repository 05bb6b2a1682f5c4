"""The same report, read through a real MLflow server."""

import shutil

import pandas as pd
import pytest

from reports.tracked.links import Links
from reports.tracked.runs import read_curves, read_sweeps
from tests.reports.made_up import track, trial
from tests.sweeper.tracking.mlflow_server import Server
from trainers.errors import InvalidInput

pytestmark = [pytest.mark.cluster]


def test_a_server_gives_the_same_frame_and_the_same_curves_as_its_database(empty_database, tmp_path, monkeypatch):
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_database, database)
    records = [trial({"method": "learned", "seed": seed}, sweep="curves") for seed in range(4)]
    track(f"sqlite:///{database}", "curves", records, curve=lambda record: {"validation_accuracy": [0.1, 0.2, 0.3]})
    server = Server(f"sqlite:///{database}", tmp_path / "files")
    server.start()
    try:
        direct, served = (read_sweeps(["curves"], uri) for uri in (f"sqlite:///{database}", server.address))
        pd.testing.assert_frame_equal(direct.trials, served.trials)
        assert direct.sweeps == served.sweeps
        runs = list(direct.trials["run_id"])
        expected = read_curves(runs, "validation_accuracy", f"sqlite:///{database}")
        assert len(expected) == 4 * 4, "three epochs, and the final value"
        for together in (100, 3):
            monkeypatch.setattr("reports.tracked.runs.CURVE_RUNS", together)
            pd.testing.assert_frame_equal(read_curves(runs, "validation_accuracy", server.address), expected)
        with pytest.raises(InvalidInput, match=r"'curve' is not tracked \(did you mean curves\?\)"):
            read_sweeps(["curve"], server.address)
        assert Links.of(server.address).run("1", runs[0]) == f"{server.address}/#/experiments/1/runs/{runs[0]}"
    finally:
        server.kill()
