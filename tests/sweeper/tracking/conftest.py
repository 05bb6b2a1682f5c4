"""One MLflow server with log-in for all tests that need no own: it takes seconds to start, and each has its sweeps."""

import pytest

from tests.sweeper.tracking.mlflow_server import server_with_login


@pytest.fixture(scope="session")
def login_server(tmp_path_factory, empty_mlflow):
    """Where the tests of the group `login_server` write, each its own sweeps and users."""
    with server_with_login(tmp_path_factory.mktemp("login"), empty_mlflow) as made:
        yield made


@pytest.fixture(scope="module")
def server(login_server):
    """The same, with this process as its administrator."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        environment.setenv("MLFLOW_TRACKING_PASSWORD", login_server.password)
        yield login_server
