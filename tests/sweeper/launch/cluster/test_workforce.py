"""What a worker is told and when, and what becomes of its stage: without Ray, with actors that note what they hear."""

import json
from types import SimpleNamespace

import pytest

from sweeper.launch.orders import Step
from sweeper.launch.ray_session import quiet
from sweeper.stages.faults import Failure, Fault
from sweeper.stages.status import StageStatus
from tests.sweeper.launch.fake_launch import FakeLaunch
from trainers.recipe.recipe import Recipe

quiet()
from sweeper.launch.cluster import workforce as module  # noqa: E402
from sweeper.launch.cluster.nodes import LOOK_SECONDS, Node, Nodes  # noqa: E402
from sweeper.launch.cluster.workforce import ENDED, NODE_DIED, PATIENCE_SECONDS, Workforce  # noqa: E402
from sweeper.launch.hung_workers import Silence  # noqa: E402

GIVEN = {"network": "lenet", "dataset": "digits", "method": "learned", "finetune_epochs": 4}
RECIPES = [Recipe.complete({**GIVEN, "seed": seed}) for seed in range(3)]
DIED = Failure(Fault.INFRASTRUCTURE, "its worker process died", traceback="killed by signal 9")
ASKS = {"faults": None, "done": False}


class Actor:
    """Notes what it is told."""

    def __init__(self, name):
        self._actor_id, self.told = name, []
        for method in ("assign", "cleanup", "dismiss", "find_faults"):
            setattr(self, method, SimpleNamespace(remote=self._hears(method)))

    def _hears(self, method):
        return lambda *given: self.told.append((method, *given))


class Here:
    """Nodes a and b with room for two trials each, of which a was found fit."""

    def __init__(self, recipes=RECIPES):
        self.now, self.killed, self.launch = 0.0, [], FakeLaunch(recipes)
        self.launch.clock = lambda: self.now
        self.launch.order = lambda stage: SimpleNamespace(stage={"key": stage.key}, as_dict=lambda: {"key": stage.key})
        self.there = [self.node("a"), self.node("b")]
        self.nodes = Nodes(self.launch, lambda: self.there, asks_first=True, clock=lambda: self.now)
        self.nodes.refresh()
        self.nodes.found_fit("a")
        silence = Silence(self.launch, 30.0, lambda: self.now)
        self.launch.watchers.append(silence)
        self.workforce = Workforce(self.launch, self.nodes, silence, lambda: ("what",), lambda: self.now)

    def node(self, name, **more):
        return Node(name, name, f"10.0.0.{ord(name)}", 1, {"CPU": 2.0}, **more)

    def start(self, trial, node, name=None):
        """A worker that has started, and said where it is."""
        actor = Actor(name or trial)
        self.workforce.expected(trial)
        self.workforce.started(trial, actor)
        self.workforce.heard(trial, {**ASKS, "node": node})
        return actor

    def later(self, *nodes, seconds=LOOK_SECONDS):
        self.there, self.now = list(nodes), self.now + seconds
        self.workforce.look()


@pytest.fixture
def here(monkeypatch):
    cluster = Here()
    monkeypatch.setattr(module.ray, "kill", lambda actor: cluster.killed.append(actor._actor_id))
    return cluster


def assigned(actor):
    return [json.loads(given)["key"] for method, given in actor.told if method == "assign" and given]


def epochs(count):
    return [{"train_seconds": 1.0, "evaluation_seconds": 0.1}] * count


def test_a_stage_is_given_to_a_worker_that_has_started_and_to_none_before(here):
    for trial in "xyz":
        assert here.workforce.wants_one()
        here.workforce.expected(trial)
    assert not here.workforce.wants_one(), "three stages are ready"
    assert not here.launch.schedule.running
    actor = Actor("1")
    here.workforce.started("x", actor)
    assert actor.told == []
    here.workforce.heard("x", {**ASKS, "node": "a"})
    assert set(assigned(actor)) == here.launch.schedule.running and here.workforce.trains


def test_a_worker_that_comes_when_there_is_nothing_left_is_told_so(here):
    for trial in "xyz":
        here.start(trial, "a")
    assert here.start("late", "a").told == [("assign", "")]


def test_a_worker_that_is_used_again_gets_its_stage_at_once(here):
    actor = here.start("x", "a", "1")
    here.launch.finish(*here.launch.schedule.running)
    here.workforce.ended("x")
    here.workforce.expected("y")
    here.workforce.started("y", actor)
    assert len(assigned(actor)) == 2


def test_a_node_that_joined_later_is_asked_what_it_lacks_before_its_first_stage(here):
    actor = here.start("x", "b")
    assert actor.told == [("find_faults", "what")]
    here.workforce.heard("x", {"faults": [], "done": False, "node": "b"})
    assert len(assigned(actor)) == 1
    assert len(assigned(here.start("y", "b"))) == 1, "it is asked once"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"faults": ["no data", "no torch"], "done": False}, "no data; no torch"),
        ({"faults": None, "done": False}, "asked what it lacks, it failed"),
        ({"refused": "process 7 has other code", "done": True}, "process 7 has other code"),
    ],
)
def test_a_node_that_lacks_something_gets_no_stage_and_is_named(here, answer, why):
    actor = here.start("x", "b")
    here.workforce.heard("x", {**answer, "node": "b"})
    assert here.launch.nodes_left_out == {"b": why}
    assert not here.launch.stop_requested and not here.launch.schedule.running
    assert ("dismiss",) in actor.told or answer["done"]
    assert ("dismiss",) in here.start("y", "b").told


def test_a_node_that_does_not_answer_what_it_lacks_is_left_out(here):
    here.start("x", "b")
    here.later(*here.there, seconds=PATIENCE_SECONDS + 1)
    assert here.killed == ["x"] and "b" in here.launch.nodes_left_out
    here.workforce.lost("x", DIED, "")
    assert not here.launch.schedule.failures and not here.launch.schedule.running


def test_what_trains_on_a_node_that_is_about_to_go_is_saved_and_goes_back(here):
    actor = here.start("x", "a")
    (key,) = assigned(actor)
    here.later(here.node("a", is_leaving=True), here.node("b"))
    here.later(here.node("a", is_leaving=True), here.node("b"))
    assert actor.told[1:] == [("dismiss",)], "it is told once"
    for _ in range(9):
        here.workforce.lost("x", Failure(Fault.BUG, "it ended", traceback=f"… {ENDED}"), "")
        assert here.launch.schedule.status(key) is StageStatus.READY
        here.workforce.expected("x")
        here.workforce.started("x", Actor("another"))
        here.workforce.heard("x", {**ASKS, "node": "a"})
    assert here.launch.nodes_left_out == {}


def test_what_trains_as_the_launch_stops_is_saved_before_tune_ends_its_worker(here, monkeypatch):
    actor, waited = here.start("x", "a"), []
    monkeypatch.setattr(module.ray, "get", lambda answer, timeout: waited.append(actor.told[-1]))
    news = {"step": json.dumps(Step(epochs(1), 0, False, None).as_dict()), "done": False, "node": "a"}
    here.workforce.heard("x", news)
    assert waited == []
    here.launch.stop()
    here.workforce.heard("x", news)
    assert waited == [("cleanup",)]

    def late(answer, timeout):
        raise module.ray.exceptions.GetTimeoutError

    monkeypatch.setattr(module.ray, "get", late)
    here.workforce.heard("x", news)  # a worker that hangs keeps nobody


def test_workers_on_a_node_that_does_not_answer_are_killed_their_stages_go_back(here):
    (key,) = assigned(here.start("x", "a"))
    here.later(here.node("a", answers=False), here.node("b"))
    assert here.killed == ["x"]
    here.workforce.lost("x", DIED, "")
    here.now += 60.0
    assert here.launch.schedule.status(key) is StageStatus.READY
    assert here.launch.has_more_than(2) and not here.launch.has_more_than(3)


def test_a_worker_that_hangs_is_killed_and_its_stage_says_so(here):
    (key,) = assigned(here.start("x", "a"))
    here.later(*here.there, seconds=31.0)
    assert not here.killed, "it may not have told yet of epochs that ended in the last two seconds"
    here.later(*here.there, seconds=2.0)
    assert here.killed == ["x"]
    said = []
    here.launch.watchers.append(SimpleNamespace(stage_failed=lambda stage, failure, again: said.append(failure.reason)))
    here.workforce.lost("x", DIED, "")
    assert said == ["its worker hung: no epoch within 30 s, so it was killed"]
    assert here.launch.schedule.status(key) is StageStatus.READY


def test_workers_that_do_not_start_cost_stages_their_tries_and_dead_nodes_do_not(here):
    for number in range(20):
        here.workforce.expected(f"dead {number}")
        gone = Failure(Fault.INFRASTRUCTURE, "its worker process died", traceback=f"{NODE_DIED}. Node Id: 3")
        here.workforce.lost(f"dead {number}", gone, "")
    assert here.launch.schedule.counts()[StageStatus.FAILED] == 0
    for number in range(3 * 4):
        here.workforce.expected(f"broken {number}")
        here.workforce.lost(f"broken {number}", DIED, "")
        here.now += 100.0
    assert here.launch.schedule.counts()[StageStatus.FAILED] == 3 and here.launch.is_over


def test_a_stage_is_given_up_after_three_deaths_with_no_further_epoch_saved():
    here = Here(RECIPES[:1])
    for attempt, saved in enumerate([1, 2, 3, 3, 3, 3]):
        (key,) = assigned(here.start(f"{attempt}", "a"))
        here.launch.take(key, Step(epochs(saved), saved))
        assert not here.launch.schedule.failures
        here.workforce.lost(f"{attempt}", DIED, "")
        here.nodes.came_through("a")  # other stages do
        here.now += 1000.0
    assert here.launch.schedule.failures.keys() == {key}
