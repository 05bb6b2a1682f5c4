"""The kernel's own kills for want of memory are told from other deaths of workers."""

from sweeper.launch.cluster.kernel_kills import KernelKills, kills
from sweeper.launch.ray_tune import failure_of_worker
from sweeper.stages.faults import Failure, Fault


def test_a_worker_that_the_kernel_killed_ran_out_of_memory_and_others_did_not():
    count = [7]
    kernel = KernelKills(lambda: count[0])
    death = failure_of_worker(None, "")
    assert kernel.named(death) == death
    count[0] = 8
    bug = Failure(Fault.BUG, "ValueError: no")
    assert kernel.named(bug) == bug
    killed = kernel.named(death)
    said = "out of memory: its worker process died, and the kernel killed a process because memory ran out"
    assert str(killed) == said
    assert kernel.named(death) == death  # that kill was the other one's


def test_kills_are_those_of_the_container_or_of_the_machine(tmp_path):
    container, machine = tmp_path / "memory.events", tmp_path / "vmstat"
    machine.write_text("pgfault 12\noom_kill 3\n")
    assert kills([container, machine]) == 3
    container.write_text("low 0\noom 1\noom_kill 1\n")
    assert kills([container, machine]) == 1
    container.write_text("nothing of it\n")
    assert kills([container]) == 0
    assert kills() >= 0
