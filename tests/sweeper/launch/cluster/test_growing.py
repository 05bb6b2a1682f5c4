"""Launches on real clusters whose nodes join, are told to go, die while they are asked, or are not there yet."""

import re
import signal
import time
from pathlib import Path

import pytest

from sweeper.launch import orphans
from sweeper.records.store import Store
from tests.sweeper.launch.cluster.growing import SLOW, autoscaling, children, growing
from tests.sweeper.launch.started import Started, records, short
from tests.sweeper.processes import claimed
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not orphans.possible(), reason="needs /proc to look at processes"),
]

SPEC = """\
name: growing
recipe: {network: lenet, dataset: digits, method: learned, width: 0.3}
budget_epochs: %d
seeds: %d
"""


@pytest.fixture
def spec(tmp_path):
    def write(epochs: int, seeds: int) -> Path:
        (tmp_path / "growing.yaml").write_text(SPEC % (epochs, seeds))
        return tmp_path / "growing.yaml"

    return write


def saved_by(store: Store, storage: Path, raylet: int) -> list[str]:
    """The stages that workers of this raylet have saved on their way."""
    found = [store.partial_record(path.name) for path in (storage / "partials").glob("*/*")]
    return [partial.key for partial in found if partial and partial.environment["process"] in children(raylet)]


def test_a_node_that_joins_is_used_and_one_that_is_told_to_go_loses_nothing(spec, storage, tmp_path):
    store, hurry = Store(storage), tmp_path / "hurry"
    with growing(cpus=1) as cluster:
        launch = Started(
            spec(60, 3), "--storage", storage, "--ray-address", cluster.address, "--save-seconds", "0",
            folder=tmp_path, parallel=None, program=SLOW.format(address=cluster.address, hurry=str(hurry), pause=5.0),
        )  # fmt: skip
        wait_until(lambda: claimed(storage), launch.process)
        assert len(claimed(storage)) == 1, "a stage is claimed by the worker that has started, not before"
        node, raylet = cluster.join()
        joined = time.time()
        wait_until(lambda: len(claimed(storage)) == 2, launch.process)
        print(f"used {time.time() - joined:.1f} s after its raylet had started")
        (key,) = wait_until(lambda: saved_by(store, storage, raylet), launch.process)
        before = store.partial_record(key)
        node.send_signal(signal.SIGTERM)
        wait_until(lambda: node.poll() is not None, launch.process)
        wait_until(lambda: "is gone" in launch.text(), launch.process)
        hurry.touch()
        text = launch.ends_with(0)
    assert "3 of 3 trials completed" in text
    told = [
        "has joined, with room for 1 trial",
        "is about to go: its stages are saved after their epochs, and go on elsewhere",
        "will be tried again: infrastructure: its node is about to go; its epochs are saved",
        "is gone",
    ]
    places = [text.index(line) for line in told]
    assert places == sorted(places)
    assert store.read(key).started_at == before.started_at, "it went on from what was saved"
    assert text.count("will be tried again") == 1


def test_a_cluster_without_nodes_is_refused_or_waited_for_as_long_as_it_is_said(storage, tmp_path):
    arguments = (short(tmp_path), "--storage", storage, "--ray-address")
    with growing() as cluster:
        refused = Started(*arguments, cluster.address, folder=tmp_path, parallel=None).ends_with(2)
        assert "--cpus-per-trial: 1 is more than the 0 CPUs that Ray has" in refused
        waits = Started(*arguments, cluster.address, "--wait-for-nodes", "3s", folder=tmp_path, parallel=None)
        text = waits.ends_with(3)
    assert "waiting for a node with 1 CPU for a trial, for 3 s at most" in text
    assert "Given up: a node with 1 CPU for a trial did not come within 3 s. What is trained is kept; to go on:" in text
    assert claimed(storage) == set() == records(storage)


def test_an_autoscaler_brings_nodes_to_a_sweep_that_starts_with_none(spec, storage, tmp_path):
    hurry = tmp_path / "hurry"
    with autoscaling(most=2) as address:
        launch = Started(
            spec(30, 4), "--storage", storage, "--ray-address", address, "--scale-to", "2",
            folder=tmp_path, parallel=None, program=SLOW.format(address=address, hurry=str(hurry), pause=5.0),
        )  # fmt: skip
        wait_until(lambda: claimed(storage), launch.process)
        wait_until(lambda: launch.text().count("has joined, with room for 1 trial") >= 2, launch.process)
        hurry.touch()
        text = launch.ends_with(0)
    assert "waiting for a node with 1 CPU for a trial, for 15 min at most" in text
    assert len(re.findall(r"node \S+ \(\S+\) has joined, with room for 1 trial", text)) >= 2
    assert "4 of 4 trials completed" in text


# One node dies when it is asked what it lacks; the last to join lacks something.
ASKED = """
import os, signal, sys, time
from pathlib import Path
from sweeper.cli.main import main
from sweeper.launch import ray_session
ray_session.quiet({address!r})
from sweeper.launch import ray_nodes, ray_tune
from sweeper.launch.ray_worker import faults_of_node
dies = {dies}

def asked(driver, *what):
    if os.getppid() == dies:
        os.kill(dies, signal.SIGKILL)
        os._exit(1)
    return faults_of_node(driver, *what)

class Lacking(ray_tune.StageTrainable):
    def assign(self, order):
        from sweeper.launch import orders
        orders.ANSWER_SECONDS = 0.0  # so that it tells of each epoch by itself
        super().assign(order)
    def step(self):
        if self._order and not Path({hurry!r}).exists():
            time.sleep(2.5)
        return super().step()
    def find_faults(self, *what):
        super().find_faults(*what)
        assert self._faults == []
        self._faults = ["it has no such data"]

ray_nodes.faults_of_node = asked
ray_tune.StageTrainable = Lacking
sys.exit(main(sys.argv[1:]))
"""


def test_nodes_that_die_or_lack_something_when_asked_are_left_out_and_told(spec, storage, tmp_path):
    with growing(cpus=1) as cluster:
        dies, hurry = cluster.add(), tmp_path / "hurry"
        program = ASKED.format(address=cluster.address, dies=dies, hurry=str(hurry))
        launch = Started(
            spec(60, 2), "--storage", storage, "--ray-address", cluster.address,
            folder=tmp_path, parallel=None, program=program,
        )  # fmt: skip
        wait_until(lambda: claimed(storage), launch.process)
        late = cluster.add()
        there: set[int] = set()
        wait_until(lambda: there.update(children(late)) or "it has no such data" in launch.text(), launch.process)
        hurry.touch()
        text = launch.ends_with(0)
    assert "2 of 2 trials completed" in text
    for why in ("it died while it was asked what it lacks", "it has no such data"):
        assert re.search(rf"node \S+ \(\S+\) is left out: {why}", text)
    assert re.search(rf"Node \S+ \(\S+\) was left out: {why}", text), "the last of this name; here all have the same"
    trained = {int(re.search(r'"process": ?(\d+)', path.read_text())[1]) for path in records(storage)}
    assert there and not trained & there
