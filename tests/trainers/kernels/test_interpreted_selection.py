"""Selection on a GPU, interpreted on the CPU: float32 first, the interval trick, and what is said of a selection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

pytest.importorskip("triton", reason="Triton comes with torch on Linux only")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("interpreted")]  # one process for all of them


@pytest.fixture(scope="module")
def faults() -> dict[str, str]:
    """What each check that failed says of it, from a process: Triton reads its environment when it is imported."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.trainers.kernels.interpreted_selection"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    found: dict[str, str] = json.loads(result.stdout)
    return found


@pytest.fixture
def passes(faults) -> Callable[..., None]:
    """Whether these checks passed."""

    def look(*checks: str) -> None:
        assert "".join(faults[check] for check in checks) == ""

    return look


def test_float32_first_selects_what_float64_does_however_near_the_winners_are(passes):
    passes("winners_near_each_other", "near_winners_many_times")


def test_float64_is_used_only_where_winners_are_near_each_other(passes):
    passes("float64_for_near_ones_alone")


def test_selecting_again_outside_intervals_is_selecting_among_all_and_what_c_does(passes):
    passes("walks", "long_walk")


def test_what_was_no_number_is_selected_again_once_it_is_one(passes):
    passes("numbers_again")


def test_a_run_by_the_kernels_of_gpus_equals_one_by_c_bit_for_bit(passes):
    passes("a_run_as_on_a_gpu")


def test_a_selection_is_described_in_one_pass_whatever_the_number_of_options(passes):
    passes("described_in_one_pass")


def test_kernels_refuse_weights_that_lie_in_another_order(passes):
    passes("another_order_is_refused")
