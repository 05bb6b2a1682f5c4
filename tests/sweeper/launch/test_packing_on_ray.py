"""Packing on a real Ray whose GPUs are made up: it hands out shares of them all the same, and tells workers which."""

import json
from collections import Counter, defaultdict

import pytest

from tests.sweeper.launch.started import Started

pytestmark = pytest.mark.cluster

GIB = 2**30
SPEC = """\
name: packed
recipe: {network: lenet, dataset: digits, method: learned, width: 0.1}
budget_epochs: 2
arms: [{width: 0.2}, {width: 0.3}]
seeds: %d
"""

# A launch on a machine with made-up cores and GPUs. Its trials train on the CPU all the same, and tell what they were
# given. The first wait for as many as should run at once. Those of the narrowest network find no memory at first.
PACKED = """
import json, os, sys, time
from pathlib import Path
from sweeper.launch import launch, ray_session
from sweeper.cli.main import main
from sweeper.planning import foresight
from sweeper.stages.faults import failure_of
from sweeper.launch.orders import Step
from sweeper.planning.packing import Hardware
out, together, hardware = json.loads(sys.argv.pop(1))
hardware = Hardware(**hardware)
foresight.hardware_here = lambda: hardware
launch.Resources.device = "cpu"
ray_session.quiet()
import ray
from sweeper.launch import ray_tune as ray_driver
init = ray.init
ray.init = lambda *given, **named: init(*given, num_cpus=hardware.cpus, num_gpus=hardware.gpus, **named)

class Telling(ray_driver.StageTrainable):
    def step(self):
        stage = self._order.stage if self._order else None
        if stage and self._worker is None:
            self.tell("begins")
            while Path(out).read_text().count("begins") < together:
                time.sleep(0.1)
            if stage["recipe"]["width"] == 0.1 and not os.path.exists(out + stage["key"]):
                open(out + stage["key"], "w").close()
                self.tell("fails")
                full = Step([], stage["start"], True, failure_of(MemoryError("none is left")))
                return {"step": json.dumps(full.as_dict()), "done": True}
        said = super().step()
        if stage and said["done"]:
            self.tell("ends")
        return said
    def tell(self, what):
        import torch
        said = {"what": what, "key": self._order.stage["key"], "process": os.getpid(),
                "gpu": os.environ["CUDA_VISIBLE_DEVICES"], "threads": torch.get_num_threads()}
        with open(out, "a") as file:
            print(json.dumps(said), file=file)

ray_driver.StageTrainable = Telling
sys.exit(main(sys.argv[1:]))
"""


def packed(tmp_path, storage, *flags, seeds, together, **hardware):
    """What a launch on this hardware printed, and what its workers told, in order."""
    spec = tmp_path / "packed.yaml"
    spec.write_text(SPEC % seeds)
    made_up = json.dumps([str(tmp_path / "told"), together, hardware])
    program = PACKED.replace("sys.argv.pop(1)", repr(made_up))
    launch = Started(spec, "--storage", storage, *flags, folder=tmp_path, parallel=None, program=program)
    text = launch.ends_with(0)
    return text, [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]


def at_the_same_time(events):
    """After each event: what runs, by GPU, as keys of stages and the numbers of their attempts."""
    attempts, running, found = Counter(), {}, []
    for event in events:
        key = event["key"]
        if event["what"] == "begins":
            attempts[key] += 1
            running[key, attempts[key]] = event["gpu"]
        else:
            del running[key, attempts[key]]
        on = defaultdict(list)
        for stage, gpu in running.items():
            on[gpu].append(stage)
        found.append(dict(on))
    return found


def test_as_many_trials_share_a_gpu_as_fit_and_one_out_of_memory_is_retried_alone(tmp_path, storage):
    text, events = packed(tmp_path, storage, seeds=2, together=4, cpus=4, gpus=2, gpu_memory_bytes=int(1.6 * GIB))
    assert "4 trials at once, each with 0.5 GPUs and 1 thread: 2 on a GPU, 2 would fit" in text
    assert "6 of 6 trials completed" in text
    assert text.count("will be tried again: out of memory: none is left") == 2
    found = at_the_same_time(events)
    assert {gpu for on in found for gpu in on} == {"0", "1"}
    assert max(len(stages) for on in found for stages in on.values()) == 2
    assert max(sum(map(len, on.values())) for on in found) == 4
    assert {event["threads"] for event in events if event["what"] == "ends"} == {1}
    alone = [[*on.values()] for on in found if any(attempt == 2 for stages in on.values() for _, attempt in stages)]
    assert len(alone) == 2
    assert all(len(stages) == 1 for (stages,) in alone)


def test_shares_that_are_given_are_kept(tmp_path, storage):
    flags = ("--gpus-per-trial", "0.25", "--cpus-per-trial", "2")
    text, events = packed(tmp_path, storage, *flags, seeds=1, together=2, cpus=4, gpus=1, gpu_memory_bytes=80 * GIB)
    assert "2 trials at once, each with 0.25 GPUs and 2 threads" in text
    assert "3 of 3 trials completed" in text
    found = at_the_same_time(events)
    assert max(len(stages) for on in found for stages in on.values()) == 2
    assert {(event["gpu"], event["threads"]) for event in events if event["what"] == "ends"} == {("0", 2)}
