"""A node that is slow to come up, as on a busy machine: Ray gives up after 30 s, and the launch does not."""

import inspect
import os
from pathlib import Path

import pytest

from sweeper.launch.ray_session import START_SECONDS, patient_with_the_node, quiet


def test_a_launch_waits_for_a_node_of_ray_that_is_slow_to_come_up(monkeypatch):
    quiet()
    from ray._private import node, services

    silent = [RuntimeError("it is not known"), RuntimeError("it is not known")]

    def slow(address, which):
        if silent:
            raise silent.pop()
        return {"node": which, "address": address}

    monkeypatch.setattr(services, "get_node", slow)
    with patient_with_the_node():
        assert services.get_node("127.0.0.1:6379", "a node") == {"node": "a node", "address": "127.0.0.1:6379"}
    assert services.get_node is slow
    assert "ray._private.services.get_node(" in inspect.getsource(node.Node.__init__), "Ray asks in this way"


@pytest.mark.parametrize(
    ("setting", "units"), [("agent_register_timeout_ms", 1000), ("worker_register_timeout_seconds", 1)]
)
def test_a_node_waits_as_long_for_processes_of_its_own(monkeypatch, setting, units):
    monkeypatch.delenv(f"RAY_{setting}", raising=False)
    quiet()
    assert float(os.environ[f"RAY_{setting}"]) == units * START_SECONDS
    import ray

    raylet = Path(ray.__file__).parent / "core/src/ray/raylet/raylet"
    assert f"RAY_{setting}".encode() in raylet.read_bytes(), "Ray has such a setting"
    monkeypatch.setenv(f"RAY_{setting}", "7")
    quiet()
    assert os.environ[f"RAY_{setting}"] == "7", "what the user has set stays"
