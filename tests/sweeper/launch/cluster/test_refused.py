"""A cluster that does not let us in is told from one that is not there."""

import socket

import pytest
import ray

from sweeper.launch import ray_session
from trainers.errors import InvalidInput


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ConnectionError("Failed to connect"), "what answers at .* does not let us in: our token is not its own, or"),
        (ray.exceptions.AuthenticationError("no token"), "127.0.0.1:.* asks for a token, and ours is missing"),
    ],
)
def test_a_token_that_is_refused_or_missing_is_not_told_as_no_ray(monkeypatch, raised, message):
    def refuse(*arguments, **settings):
        raise raised

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr("ray._raylet.GcsClient", lambda address: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InvalidInput, match=message):
            ray_session._init(address, {})
    monkeypatch.setattr(ray, "init", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("Failed to connect")))
    with pytest.raises(InvalidInput, match=f"no Ray answers at {address}"):
        ray_session._init(address, {})


def test_a_cluster_that_refuses_our_token_is_asked_once_and_not_for_minutes(monkeypatch):
    def refuse(address):
        raise ray.exceptions.AuthenticationError("RPC error: InvalidAuthToken: missing or incorrect")

    monkeypatch.setattr("ray._raylet.GcsClient", refuse)
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray asks again and again"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InvalidInput, match=rf"{address} asks for a token, .* \(~/.ray/auth_token, where it names"):
            ray_session._init(address, {})
