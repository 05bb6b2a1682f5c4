"""What every test shares: one thread per process, and the real data sets where SWEEPER_DATA_DIR points at them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.cluster.postgres import postgres_programs, postgres_server

# Set before torch is imported anywhere: the tests run side by side, and so do the workers that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# So that Ray neither phones home nor warns about what it will do one day.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Nor gives up on its own processes where they are slow to start, as on a busy machine.
os.environ.setdefault("RAY_agent_register_timeout_ms", "600000")
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "600")
os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")

# No test measures time, Hypothesis neither: the machine may be busy.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real MNIST and CIFAR-10 in torchvision's layout; skips the test where there is none."""
    folder = os.environ.get("SWEEPER_DATA_DIR")
    if not folder:
        pytest.skip("no real data: set SWEEPER_DATA_DIR to a folder with MNIST and CIFAR-10 in torchvision's layout")
    return Path(folder)


@pytest.fixture
def make_postgres() -> Iterator:
    """Makes PostgreSQL servers that end with the test; skips where there is none, or nobody to run it."""
    try:
        postgres_programs()
    except OSError as error:
        pytest.skip(str(error))
    with contextlib.ExitStack() as stack:
        yield lambda *how: stack.enter_context(postgres_server(*how))
