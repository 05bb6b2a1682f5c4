"""Processes and nodes that go on failing, on a real Ray: a broken process trains nothing more, nor does a bad node."""

import re

import pytest
import torch

from tests.sweeper.launch.nodes import two_nodes
from tests.sweeper.launch.started import Started, records

pytestmark = pytest.mark.cluster

SPEC = """\
name: many
recipe: {network: lenet, dataset: digits, method: learned, width: 0.1}
budget_epochs: 1
seeds: 18
"""

# The first process that trains breaks, as CUDA contexts do: all that it trains from then on fails, too.
BREAKS = """
import os, sys
from pathlib import Path
from sweeper.cli.main import main
from sweeper.launch import ray_session
ray_session.quiet()
import ray
from sweeper.launch import ray_tune
init = ray.init
ray.init = lambda *given, **named: init(*given, num_cpus=2, **named)
mark, message = Path({mark!r}), {message!r}

class Breaking(ray_tune.StageTrainable):
    def setup(self, config):
        super().setup(config)
        from trainers.training import TrainingRun
        if not hasattr(TrainingRun, "in_order"):
            TrainingRun.in_order = TrainingRun.train_epoch
        def train_epoch(run):
            try:
                mark.touch(exist_ok=False)
                mark.write_text(str(os.getpid()))
            except FileExistsError:
                pass
            if mark.read_text() == str(os.getpid()):
                raise RuntimeError(message)
            return run.in_order()
        TrainingRun.train_epoch = train_epoch

ray_tune.StageTrainable = Breaking
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("message", "completed"),
    [("CUDA error: an illegal memory access was encountered", 18), ("CUDA error: device-side assert triggered", 17)],
)
def test_a_process_whose_device_broke_trains_nothing_more(message, completed, storage, tmp_path):
    (tmp_path / "many.yaml").write_text(SPEC)
    program = BREAKS.format(mark=str(tmp_path / "broken"), message=message)
    launch = Started(tmp_path / "many.yaml", "--storage", storage, folder=tmp_path, parallel=2, program=program)
    text = launch.ends_with(0 if completed == 18 else 1)
    assert f"{completed} of 18 trials completed" in text
    assert text.count(f": {message}") == 1 + (completed == 17), "once as it happens, and in the summary if it stays"
    processes = {re.search(r'"process": ?(\d+)', path.read_text())[1] for path in records(storage)}
    assert (tmp_path / "broken").read_text() not in processes


# Stages fail on the node with this raylet, in whichever process. Those on the other node begin once three
# have failed, and take long enough for more to fail if they were given the chance.
BAD_NODE = """
import os, sys, time
from pathlib import Path
from sweeper.cli.main import main
from sweeper.launch import ray_session
ray_session.quiet({address!r})
from sweeper.launch import ray_tune

class Failing(ray_tune.StageTrainable):
    def setup(self, config):
        super().setup(config)
        from trainers.training import TrainingRun
        if not hasattr(TrainingRun, "in_order"):
            TrainingRun.in_order = TrainingRun.train_epoch
        failed = Path({failed!r})
        def train_epoch(run):
            if os.getppid() == {raylet}:
                failed.write_text(failed.read_text() + "x")
                raise OSError(5, "Input/output error")
            while len(failed.read_text()) < 3:
                time.sleep(0.1)
            time.sleep(1.5)
            return run.in_order()
        TrainingRun.train_epoch = train_epoch

ray_tune.StageTrainable = Failing
sys.exit(main(sys.argv[1:]))
"""


def test_a_node_that_keeps_failing_gets_no_more_stages_and_is_told(storage, tmp_path):
    (tmp_path / "many.yaml").write_text(SPEC.replace("18", "8"))
    failed = tmp_path / "failed"
    failed.touch()
    with two_nodes(tmp_path) as (_, address, raylet):
        program = BAD_NODE.format(raylet=raylet, address=address, failed=str(failed))
        launch = Started(
            tmp_path / "many.yaml", "--storage", storage, "--ray-address", address,
            folder=tmp_path, parallel=2, program=program,
        )  # fmt: skip
        text = launch.ends_with(0)
    assert "8 of 8 trials completed" in text
    assert re.search(r"Node \S+ \(\S+\) was left out: 3 stages in a row failed on it, the last: infrastructure: ", text)
    assert 3 <= len(failed.read_text()) <= 4, "one may have been on its way there"


# A launch that trains on CPUs what is to be on GPUs, which are made up. The nodes of these raylets are really asked for
# a tensor on theirs, and have none to give.
NO_CUDA = """
import os, sys
from sweeper.cli.main import main
from sweeper.launch import launch, ray_session
launch.Resources.device = "cpu"
ray_session.quiet({address!r})
from sweeper.launch import ray_nodes
from sweeper.launch.ray_worker import faults_of_gpu

def asked(driver):
    return faults_of_gpu(driver) if os.getppid() in {raylets} else []

ray_nodes.faults_of_gpu = asked
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU, which does give a tensor")
def test_a_node_whose_gpu_does_not_start_is_left_out_and_told(storage, tmp_path):
    with two_nodes(tmp_path, gpus=1) as (_, address, raylet):
        _one_gpu_does_not_start(storage, tmp_path, address, raylet)


def _one_gpu_does_not_start(storage, tmp_path, address, raylet):
    (tmp_path / "many.yaml").write_text(SPEC.replace("18", "3"))
    arguments = (tmp_path / "many.yaml", "--storage", storage, "--ray-address", address, "--gpus-per-trial", "1")
    everywhere = NO_CUDA.format(address=address, raylets=f"range({2**31})")
    refused = Started(*arguments, folder=tmp_path, parallel=None, program=everywhere).ends_with(2)
    assert len(re.findall(r"cluster: node \S+ \(\S+\): its GPU does not start: .*NVIDIA", refused)) == 2
    assert "Traceback" not in refused and records(storage) == set()
    program = NO_CUDA.format(address=address, raylets=[raylet])
    text = Started(*arguments, folder=tmp_path, parallel=None, program=program).ends_with(0)
    assert "3 of 3 trials completed" in text
    assert re.search(r"Node \S+ \(\S+\) was left out: its GPU does not start: .*NVIDIA", text)
    assert len({re.search(r'"process": ?(\d+)', path.read_text())[1] for path in records(storage)}) == 1
