"""What every test shares: one thread per process, and the real data sets where SWEEPER_DATA_DIR points at them."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.cluster.postgres import postgres_programs, postgres_server
from tests.side_by_side import ByFile

# Set before torch is imported anywhere: the tests run side by side, and so do the workers that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# So that Ray neither phones home nor warns about what it will do one day.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# What starts a cluster and what joins it share a token, whatever token Ray has left in somebody's home.
if "RAY_AUTH_MODE" not in os.environ:
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
# Nor gives up on its own processes where they are slow to start, as on a busy machine.
os.environ.setdefault("RAY_agent_register_timeout_ms", "600000")
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "600")
os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")
# What tests write is synchronised to the disk thousands of times, which takes longer than all else that they do.
MEMORY_DISK, ROOM_BYTES = "/dev/shm", 2 * 2**30


def _memory_disk_has_room() -> bool:
    """Whether it is there, large enough, and programs on it may run; a container's often is not."""
    try:
        disk = os.statvfs(MEMORY_DISK)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize > ROOM_BYTES and not disk.f_flag & os.ST_NOEXEC


if _memory_disk_has_room():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY_DISK)

# No test measures time, Hypothesis neither: the machine may be busy.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("untimed")


# The longest first: none is left alone at the end. Then those that start Ray, which mostly wait for it.
LONGEST = ("test_real_cluster", "test_bucket_launches", "test_ray", "test_stop")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the tests by how long they take, roughly, for those who run them side by side."""

    def rank(item: pytest.Item) -> int:
        if not item.get_closest_marker("cluster"):
            return len(LONGEST) + 1 + (item.get_closest_marker("slow") is None)
        module = item.path.stem
        return LONGEST.index(module) if module in LONGEST else len(LONGEST)

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """How tests are handed out by `-n`."""
    return ByFile(config, log)


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
