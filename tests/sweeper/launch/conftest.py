"""What holds for every test of launches."""

import pytest

from tests.sweeper.launch.started import Started


@pytest.fixture(autouse=True)
def _nothing_outlives_its_test():
    """A test that fails leaves no launch behind, nor what that started."""
    yield
    Started.end_all()
