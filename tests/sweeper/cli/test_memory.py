"""A sweep of which one trial alone needs more memory than there is does not start, unless that is wanted."""

import pytest

from sweeper.cli.main import main
from sweeper.planning import foresight
from sweeper.planning.packing import Hardware, check_memory
from trainers.errors import InvalidInput

GIB = 2**30


@pytest.fixture
def little_memory(monkeypatch):
    """A machine with less memory than any trial takes."""
    monkeypatch.setattr(foresight, "hardware_here", lambda: Hardware(2, memory_bytes=100_000))


def test_a_launch_that_no_memory_here_could_hold_is_refused(tiny, storage, capsys, little_memory):
    line = ["launch", str(tiny), "--storage", str(storage), "--local"]
    for more in ([], ["--yes"]):
        assert main([*line, *more]) == 2
        message = capsys.readouterr().err
        assert message.startswith("sweeper: error: memory: one trial is estimated at ")
        assert "more than the 100 kB that this machine has" in message
    assert not (storage / "sweeps/tiny/sweep.json").exists()
    assert main([*line, "--despite-memory"]) == 0


def test_what_counts_is_the_memory_of_the_device_that_trains():
    machine = Hardware(8, 1, gpu_memory_bytes=16 * GIB, memory_bytes=64 * GIB)
    check_memory(machine, 20 * GIB, gpus=0.0)
    with pytest.raises(InvalidInput, match=r"more than the 17.2 GB that a GPU of this machine has"):
        check_memory(machine, 20 * GIB, gpus=1.0)
    check_memory(machine, None, gpus=1.0)  # what is not known keeps nobody
    check_memory(Hardware(8), 20 * GIB, gpus=0.0)


def test_this_machine_knows_how_much_memory_it_has():
    assert foresight.hardware_here().memory_bytes > GIB / 4
