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
        (ray.exceptions.AuthenticationError("no token"), "127.0.0.1:.* asks for a token, and there is none here; with"),
    ],
)
def test_a_token_that_is_refused_or_missing_is_not_told_as_no_ray(monkeypatch, raised, message):
    def refuse(*arguments, **settings):
        raise raised

    monkeypatch.setattr(ray, "init", refuse)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InvalidInput, match=message):
            ray_session._init(address, {})
    monkeypatch.setattr(ray, "init", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("Failed to connect")))
    with pytest.raises(InvalidInput, match=f"no Ray answers at {address}"):
        ray_session._init(address, {})
