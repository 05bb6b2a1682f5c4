"""A home of its own for what is agreed to and checked, and a process that knows no plug-in."""

import pytest

from tests.sweeper.plugins.written import forget


@pytest.fixture(autouse=True)
def a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    forget()
    yield
    forget()
