"""Packing: as many trials on a GPU as fit with a margin, never more threads than cores; what is given stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.planning.packing import CONTEXT_BYTES, MARGIN, MOST_ON_A_GPU, Hardware, pack
from trainers.errors import InvalidInput

GIB = 2**30
BIG = Hardware(cpus=16, gpus=1, gpu_memory_bytes=80 * GIB)


def test_as_many_trials_share_a_gpu_as_fit_into_its_memory():
    packing = pack(BIG, 9 * GIB, width=100)
    assert (packing.gpus_per_trial, packing.cpus_per_trial, packing.at_once) == (0.25, 4.0, 4)
    assert packing.why == (
        "4 trials at once, each with 0.25 GPUs and 4 threads: "
        "4 on a GPU, 4 would fit (20.0 GB a trial with margin, of 85.9 GB); 16 cores for 4 at once"
    )


def test_cores_bound_how_many_trials_share_a_gpu():
    assert pack(Hardware(4, 2, 80 * GIB), GIB, width=100).gpus_per_trial == 0.5
    assert pack(Hardware(1, 4, 80 * GIB), GIB, width=100).at_once == 1
    assert pack(BIG, GIB, width=100, cpus=8).gpus_per_trial == 0.5


def test_a_gpu_is_not_cut_into_more_shares_than_trials_that_can_run():
    assert pack(BIG, GIB, width=2).gpus_per_trial == 0.5
    assert pack(BIG, GIB, width=100, max_parallel=3).gpus_per_trial == 0.3333
    assert pack(Hardware(64, 1, 800 * GIB), GIB, width=100).gpus_per_trial == 1 / MOST_ON_A_GPU


@pytest.mark.parametrize(("fill", "share"), [(1, 1.0), (3, 0.3333), (100, 1 / MOST_ON_A_GPU)])
def test_a_gpu_gets_no_more_trials_than_keep_it_busy(fill, share):
    packing = pack(BIG, GIB, width=100, fill=fill)
    assert packing.gpus_per_trial == share
    assert ("it busy" in packing.why) == (fill < MOST_ON_A_GPU)


def test_the_memory_of_the_machine_bounds_how_many_processes_use_its_gpus():
    small = Hardware(cpus=64, gpus=2, gpu_memory_bytes=80 * GIB, memory_bytes=16 * GIB)
    packing = pack(small, GIB, width=100)
    assert (packing.at_once, packing.gpus_per_trial) == (5, 0.3333)
    assert "the machine's memory takes 5 in all (3.22 GB a process, of 17.2 GB)" in packing.why
    assert pack(Hardware(64, 4, 80 * GIB, memory_bytes=GIB), GIB, width=100).at_once == 1


@pytest.mark.parametrize(
    "peak, words", [(70 * GIB, "and it may not fit"), (30 * GIB, "one on a GPU ("), (None, "cannot be told")]
)
def test_a_trial_that_needs_a_gpu_for_itself_gets_it_and_the_line_says_why(peak, words):
    packing = pack(BIG, peak, width=100)
    assert packing.gpus_per_trial == 1.0
    assert words in packing.why


def test_without_a_gpu_cores_are_shared_out_among_as_many_trials_as_can_run():
    assert pack(Hardware(16), GIB, width=100) == pack(Hardware(16), None, width=100)
    assert pack(Hardware(16), GIB, width=100).cpus_per_trial == 1.0
    assert pack(Hardware(16), GIB, width=5).cpus_per_trial == 3.0
    assert pack(Hardware(16), GIB, width=100, max_parallel=2).cpus_per_trial == 8.0
    assert pack(Hardware(2), GIB, width=1).why == "1 trial at once, each with 2 threads: 2 cores for 1 at once"


def test_what_is_given_is_taken_as_it_is():
    packing = pack(BIG, 12 * GIB, width=100, cpus=2, gpus=0.5)
    assert (packing.cpus_per_trial, packing.gpus_per_trial, packing.at_once) == (2, 0.5, 2)
    assert packing.why == "2 trials at once, each with 0.5 GPUs and 2 threads"
    assert pack(BIG, 12 * GIB, width=100, gpus=0).gpus_per_trial == 0


@pytest.mark.parametrize("given, flag", [({"cpus": 32}, "--cpus"), ({"gpus": 2}, "--gpus")])
def test_more_than_there_is_is_refused(given, flag):
    with pytest.raises(InvalidInput, match=rf"{flag}-per-trial: \d+ is more than the \d+ .PUs of this machine"):
        pack(BIG, GIB, width=100, **given)


@given(
    st.integers(1, 256), st.integers(0, 16), st.integers(1, 200), st.integers(0, 300), st.integers(1, 10_000),
    st.integers(1, 500) | st.none(),
)  # fmt: skip
def test_no_choice_of_ours_asks_for_more_than_the_machine_has(cpus, gpus, memory, peak, width, max_parallel):
    hardware = Hardware(cpus, gpus, memory * GIB)
    packing = pack(hardware, peak * GIB // 4, width, max_parallel=max_parallel)
    assert 1 <= packing.at_once <= min(width, max_parallel or width)
    assert packing.at_once * packing.cpus_per_trial <= cpus
    assert packing.at_once * packing.gpus_per_trial <= gpus
    if gpus:
        on_each = int(1 / packing.gpus_per_trial + 1e-3)
        assert on_each * packing.gpus_per_trial <= 1
        assert on_each == 1 or on_each * (peak * GIB // 4 * MARGIN + CONTEXT_BYTES) <= memory * GIB
