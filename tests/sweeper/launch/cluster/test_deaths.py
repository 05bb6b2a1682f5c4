"""Random deaths change no table. The long form, two minutes of them, is `python -m benchmarks.deaths`."""

import pytest

from sweeper.launch import orphans
from tests.sweeper.launch.cluster.deaths import tables_after_deaths

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not orphans.possible(), reason="needs /proc to look at processes"),
]


def test_random_deaths_of_workers_and_nodes_change_no_table(tmp_path):
    disturbed, whole = tables_after_deaths(tmp_path, lambda deaths: deaths >= 3, pause=2.0, epochs=80)
    assert len(whole) == 6 and disturbed == whole
