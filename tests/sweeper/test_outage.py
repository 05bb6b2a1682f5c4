"""A real MLflow server that dies in the middle of a sweep and comes back."""

import os
import signal
import socket
import subprocess
import sys
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from sweeper.local_driver import run_local
from sweeper.results import CURVES
from sweeper.tracked_runs import SweepFacts
from sweeper.tracker import Tracker
from sweeper.tracking import Projection, client
from sweeper.tracking_address import check_reachable
from tests.sweeper.conftest import a_launch, environment, wait_until
from trainers.validation import InvalidInput

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("ray"), pytest.mark.timeout(600)]  # as heavy as these


class Server:
    """MLflow's own, on a free port."""

    def __init__(self, database):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.database = database

    def start(self):
        where = [
            "--backend-store-uri",
            f"sqlite:///{self.database}",
            "--artifacts-destination",
            f"{self.database}.files",
        ]
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1", *where]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.process = subprocess.Popen(command, env=environment() | settings, start_new_session=True, **quiet)
        wait_until(self.answers, 120)

    def answers(self):
        try:
            return urlopen(f"{self.address}/health", timeout=5).read() == b"OK"
        except (URLError, OSError):
            return False

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def test_a_server_that_dies_and_comes_back_delays_no_trial_and_shows_everything_in_the_end(tiny, storage, monkeypatch):
    monkeypatch.setattr("sweeper.tracker.FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("sweeper.tracker.SHARE_OF_TIME", 1.0)
    server = Server(storage / "mlflow.db")
    server.start()
    try:
        check_reachable(server.address)
        launch = a_launch(tiny, storage)
        half = len(launch.forest.stages) // 2
        facts = SweepFacts("tiny", "", "name: tiny\n", "s" * 64, {})
        tracker = Tracker(Projection(server.address, None, facts), launch, lambda: 1.0)
        tracker.start()
        run_local(launch, lambda: launch.stop() if len(launch.records) >= half else None)
        wait_until(lambda: tracker._settled, 60)  # some trials are shown

        server.kill()
        with pytest.raises(InvalidInput, match="no MLflow server answers"):
            check_reachable(server.address)
        wait_until(lambda: tracker.problem != "", 120)
        launch.stop_requested = False
        shown = len(tracker._settled)
        run_local(launch)
        assert launch.is_over
        assert {result.status for result in launch.results()} == {"COMPLETED"}
        assert tracker.is_alive() and tracker.problem  # it still waits, and nobody waited for it
        assert tracker.behind() >= 10 - shown > 0

        server.start()
        tracker.close(60)
        assert (tracker.problem, tracker.behind()) == ("", 0)
        assert not tracker.is_alive()
        mlflow = client(server.address)
        experiment = mlflow.get_experiment_by_name("tiny")
        runs = {run.info.run_name: run for run in mlflow.search_runs([experiment.experiment_id])}
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        assert len(runs) == 11
        for result in launch.results():
            run = runs[result.name]
            assert {name: run.data.metrics[name] for name in result.finals} == result.finals
            for name in CURVES:
                points = mlflow.get_metric_history(run.info.run_id, name)
                shown = [epoch[name] for epoch in result.epochs if epoch[name] is not None]
                assert [point.value for point in points] == shown
    finally:
        server.kill()
