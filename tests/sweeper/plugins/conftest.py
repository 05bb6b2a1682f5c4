"""A home of its own for what is agreed to, and a process that knows no plug-in.

What passed its check, in a process of seconds, is known to all tests: which check that was is in its key.
"""

import pytest

from tests.sweeper.plugins.written import forget


@pytest.fixture(scope="session")
def passed(tmp_path_factory):
    return tmp_path_factory.mktemp("passed")


@pytest.fixture(autouse=True)
def a_home(tmp_path, monkeypatch, passed):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kept = tmp_path / "home" / ".cache" / "slot-sweeper"
    kept.mkdir(parents=True)
    (kept / "checked_plugins").symlink_to(passed)
    forget()
    yield
    forget()
