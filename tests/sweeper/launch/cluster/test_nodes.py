"""How much room a cluster has, whom it is left to, what is told of its nodes: without Ray, look by look."""

from dataclasses import replace

import pytest

from sweeper.launch.cluster.nodes import LOOK_SECONDS, Node, Nodes, Scaling
from sweeper.launch.launch import Resources
from sweeper.stages.faults import Failure, Fault
from tests.sweeper.launch.fake_launch import FakeLaunch
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe

RECIPE = Recipe.complete({"network": "lenet", "dataset": "digits", "method": "learned", "finetune_epochs": 2})
FLAKY = Failure(Fault.INFRASTRUCTURE, "its worker process died")


class Cluster:
    """Nodes that are there, and a clock."""

    def __init__(self, *nodes, scaling=None, **shares):
        self.there, self.now, self.said = list(nodes), 0.0, []
        self.launch = FakeLaunch([RECIPE])
        self.launch.resources = Resources(**shares)
        self.launch.tell = self.said.append
        self.nodes = Nodes(self.launch, lambda: self.there, scaling or Scaling(), True, lambda: self.now)
        self.nodes.refresh()

    def later(self, *nodes, seconds=LOOK_SECONDS):
        """Some seconds later these nodes are there."""
        self.there, self.now = list(nodes), self.now + seconds
        assert self.nodes.refresh()


def node(name, cpus=4.0, gpus=0.0, **more):
    return Node(name, name, f"10.0.0.{len(name)}", 1, {"CPU": cpus, "GPU": gpus}, **more)


@pytest.mark.parametrize(
    ("nodes", "shares", "slots"),
    [
        ([(4, 0)], {}, 4),
        ([(4, 0)], {"cpus_per_trial": 0.5}, 8),
        ([(3, 0), (3, 0)], {"cpus_per_trial": 2.0}, 2),
        ([(64, 2)], {"gpus_per_trial": 0.25}, 8),
        ([(64, 1)], {"gpus_per_trial": 0.1}, 10),
        ([(64, 2)], {"gpus_per_trial": 0.4}, 4),
        ([(64, 3), (64, 3)], {"gpus_per_trial": 2.0}, 2),
        ([(64, 0), (1, 2)], {"gpus_per_trial": 1.0}, 1),
        ([], {}, 0),
    ],
)
def test_as_many_trials_run_at_once_as_the_nodes_hold_each_by_itself(nodes, shares, slots):
    there = [node(str(number), *has) for number, has in enumerate(nodes)]
    assert Cluster(*there, **shares).nodes.slots() == slots


def small(name, gigabytes, **more):
    there = node(name, **more)
    shared = {"memory": 0.7e9 * gigabytes, "object_store_memory": 0.3e9 * gigabytes}
    return replace(there, resources={**there.resources, **shared})


def test_a_trial_that_fits_no_nodes_memory_is_refused_and_a_small_node_left_out():
    cluster = Cluster(small("a", 8), small("bb", 16))
    cluster.launch.needs_bytes = 20 * 10**9
    message = "memory: one trial is estimated at 20.0 GB, more than the 16.0 GB that any node of the cluster has"
    with pytest.raises(InvalidInput, match=message):
        cluster.nodes.check_room()
    assert cluster.nodes.slots() == 8, "nothing is left out of what is not started"
    cluster.later(small("a", 8), small("bb", 16), small("ccc", 32))
    assert cluster.nodes.slots() == 4
    assert "node a is left out: a trial is estimated at 20.0 GB of memory, and it has 8.00 GB" in cluster.said
    assert not cluster.nodes.may_use("bb")
    on_gpus = Cluster(small("a", 8, gpus=1.0), gpus_per_trial=1.0)
    on_gpus.launch.needs_bytes = 20 * 10**9
    on_gpus.nodes.check_room()


def test_room_follows_the_nodes_that_are_there_and_has_a_ceiling():
    cluster = Cluster(node("a"), max_parallel=6)
    assert cluster.nodes.wanted() == 4
    cluster.later(node("a"), node("b"))
    assert cluster.nodes.wanted() == 6
    cluster.later(node("a"), node("b", is_leaving=True))
    assert cluster.nodes.wanted() == 4
    cluster.later(node("a"))
    assert cluster.said == [
        "node b has joined, with room for 4 trials",
        "node b is about to go: its stages are saved after their epochs, and go on elsewhere",
        "node b is gone",
    ]


def test_a_node_that_takes_no_connections_is_told_and_used_again_once_it_does():
    cluster = Cluster(node("a"), node("b"))
    cluster.later(node("a"), node("b", answers=False))
    assert cluster.nodes.excluded() == ["b"] and not cluster.nodes.may_use("b")
    assert cluster.said == ["node b does not answer any more: its stages go on elsewhere"]
    cluster.later(node("a"), node("b"))
    assert cluster.nodes.excluded() == [] and cluster.nodes.may_use("b")
    assert cluster.said[1:] == ["node b answers again"]


def test_a_cluster_without_room_is_refused_unless_room_is_to_be_waited_for():
    for shares, why in (
        ({"cpus_per_trial": 8.0}, "--cpus-per-trial: 8 is more than the 4 CPUs that Ray has"),
        ({"gpus_per_trial": 1.0}, "--gpus-per-trial: 1 is more than the 0 GPUs that Ray has"),
    ):
        with pytest.raises(InvalidInput, match=why):
            Cluster(node("a"), **shares).nodes.check_room()
        Cluster(node("a"), scaling=Scaling(wait_seconds=60.0), **shares).nodes.check_room()
    apart = Cluster(node("a", 3.0), node("b", 3.0), cpus_per_trial=4.0)
    with pytest.raises(InvalidInput, match="the cluster has not a node with 4 CPUs for a trial"):
        apart.nodes.check_room()


def test_so_many_trials_wait_for_room_as_a_cluster_is_to_grow_to():
    assert Cluster().nodes.wanted() == 1, "or a cluster without nodes would see no need for one"
    cluster = Cluster(scaling=Scaling(scale_to=3))
    assert cluster.nodes.wanted() == 3
    cluster.later(node("a"))
    assert cluster.nodes.wanted() == 4


def test_waiting_for_a_node_is_told_with_its_reason_and_has_an_end():
    cluster = Cluster(scaling=Scaling(wait_seconds=60.0), cpus_per_trial=2.0, gpus_per_trial=1.0)
    wanted = "a node with 2 CPUs and 1 GPU for a trial"
    assert cluster.said == [f"waiting for {wanted}, for 60 s at most"]
    assert cluster.launch.why_still() == f"waits for {wanted}"
    cluster.later(seconds=59.0)
    assert not cluster.launch.stop_requested
    cluster.later(node("a", 2.0, 1.0))
    assert "waits" not in cluster.launch.why_still()
    cluster.later(seconds=59.0)
    cluster.later(seconds=59.0)
    assert not cluster.launch.stop_requested, "it waits anew"
    cluster.later(seconds=1.0 + LOOK_SECONDS)
    assert cluster.launch.stop_requested and cluster.launch.no_nodes == f"{wanted} did not come within 60 s"


def test_a_node_that_lacks_something_is_never_used_a_failing_one_while_it_is_alone():
    cluster = Cluster(node("a"), node("bb"))
    assert cluster.nodes.needs_to_be_asked("a")
    cluster.nodes.found_fit("a")
    assert not cluster.nodes.needs_to_be_asked("a")
    for _ in range(3):
        cluster.nodes.failed("a", FLAKY)
    assert [each.id for each in cluster.nodes.usable()] == ["bb"]
    cluster.nodes.found_unfit("bb", "it has no data")
    assert [each.id for each in cluster.nodes.usable()] == ["a"]
    cluster.later(node("bb"))
    assert cluster.nodes.slots() == 0
    assert cluster.launch.nodes_left_out.keys() == {"a", "bb"}


def test_a_node_is_found_by_its_address_where_it_is_alone_there():
    cluster = Cluster(node("a"), node("bb"), replace(node("c"), address="10.0.0.2"))
    assert (cluster.nodes.at("10.0.0.1"), cluster.nodes.at("10.0.0.2"), cluster.nodes.at("")) == ("a", "", "")
