"""What a step needs in memory, measured."""

import gc

import pytest
import torch

from trainers.costs.memory import transient_memory

CPU = torch.device("cpu")


@pytest.fixture
def lazy_collector():
    """Python's collector of cycles, that does nothing by itself for now."""
    before = gc.get_threshold()
    gc.set_threshold(10**6)
    yield
    gc.set_threshold(*before)


def test_the_most_that_was_alive_at_once_is_measured():
    with transient_memory(CPU) as measured:
        first = torch.empty(1000, dtype=torch.uint8)
        second = torch.empty(2000, dtype=torch.uint8)
        del first
        third = torch.empty(500, dtype=torch.uint8)
    assert measured.peak_bytes == 3000
    assert len(second) + len(third) == 2500


def test_what_others_left_to_be_collected_is_none_of_it(lazy_collector):
    with transient_memory(CPU):  # what was allocated while this measures is known to the next
        left = [torch.empty(600, dtype=torch.uint8)]
    left.append(left)  # a cycle: only the collector frees it
    del left
    with transient_memory(CPU) as measured:
        gc.set_threshold(1)
        containers = [[] for _ in range(1000)]  # any of which may set it off
        kept = torch.empty(1000, dtype=torch.uint8)
    assert gc.isenabled()
    assert measured.peak_bytes == 1000 == len(containers) == len(kept)
