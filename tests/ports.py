"""Ports for servers that tests start."""

import random
import socket

# Below those that Linux gives to connections (32768 and more), any of which may come between the choice and the server;
# above those that Ray's workers listen on (10002 to 19999).
OURS = range(20_000, 32_000)


def free_port() -> int:
    """One that nobody listens on, on any address of this machine."""
    while True:
        port = random.SystemRandom().choice(OURS)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
