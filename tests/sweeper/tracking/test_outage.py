"""A real MLflow server that comes late, loses its database, dies in the middle of a sweep and comes back."""

import pytest

from sweeper.launch.local import run_local
from sweeper.records.trial_result import CURVES
from sweeper.storage.tracking_address import check_reachable
from sweeper.tracking.mlflow_client import client
from sweeper.tracking.projection import Projection
from sweeper.tracking.run_state import SweepFacts
from sweeper.tracking.tracker import Tracker
from tests.ports import free_port
from tests.sweeper.small_sweeps import a_launch
from tests.sweeper.tracking.mlflow_server import Server
from tests.waiting import PATIENCE_SECONDS, wait_until
from trainers.errors import InvalidInput

pytestmark = pytest.mark.cluster


@pytest.fixture
def postgres(request):
    """None where there is no PostgreSQL: then MLflow's server writes to SQLite, which cannot be restarted."""
    try:
        make = request.getfixturevalue("make_postgres")
    except pytest.skip.Exception:
        return None
    return make("127.0.0.1", free_port(), "secret")


def train_until(launch, stages):
    """Trains until so many stages are stored."""
    launch.stop_requested = False
    run_local(launch, lambda: launch.stop() if len(launch.records) >= stages else None)


def test_a_server_that_comes_late_and_dies_delays_no_trial_and_shows_all_in_the_end(
    tiny, storage, monkeypatch, postgres
):
    monkeypatch.setattr("sweeper.tracking.tracker.FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("sweeper.tracking.tracker.SHARE_OF_TIME", 1.0)
    monkeypatch.setattr("sweeper.tracking.tracker.LONGEST_PAUSE_SECONDS", 1.0)
    database = f"sqlite:///{storage}/mlflow.db"
    if postgres:
        database = f"postgresql://mlflow:{postgres.password}@{postgres.address}:{postgres.port}/mlflow"
    server = Server(database, storage / "files")
    launch = a_launch(tiny, storage)
    stages = len(launch.forest.stages)
    tracker = Tracker(Projection(server.address, None, SweepFacts("tiny", "", "name: tiny\n", "s" * 64, {})), launch,
                      lambda: 1.0)  # fmt: skip

    def comes_back():
        wait_until(lambda: tracker.problem == "" and tracker.behind() == 0)

    try:
        tracker.start()  # nobody listens yet
        train_until(launch, stages // 4)
        wait_until(lambda: tracker.problem != "")
        server.start()
        check_reachable(server.address)
        comes_back()

        if postgres:
            postgres.stop("immediate")
            train_until(launch, stages // 2)
            wait_until(lambda: tracker.problem != "")
            assert server.answers(), "the server runs, and has no database"
            postgres.start()
            comes_back()

        train_until(launch, 3 * stages // 4)
        comes_back()
        server.kill()
        with pytest.raises(InvalidInput, match="no MLflow server answers"):
            check_reachable(server.address)
        train_until(launch, stages)
        assert launch.is_over
        assert {result.status for result in launch.results()} == {"COMPLETED"}
        wait_until(lambda: tracker.problem != "")
        assert tracker.is_alive() and tracker.behind() > 0  # it still waits, and nobody waited for it

        server.start()
        tracker.close(PATIENCE_SECONDS)
        assert (tracker.problem, tracker.behind()) == ("", 0)
        assert not tracker.is_alive()
        assert_shown(client(server.address), launch)
    finally:
        server.kill()
    if not postgres:
        pytest.skip("all was tested but a database that is restarted: there is no PostgreSQL")


def assert_shown(mlflow, launch):
    """MLflow has every trial once, with every value that the store has of it."""
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
