"""A local S3: moto's server as a process of its own, and a forwarder before it that can be killed and comes back."""

import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIATHISISNOREALKEY0",
    "AWS_SECRET_ACCESS_KEY": "not-a-real-secret-0123456789abcdefghijkl",
    "AWS_REGION": "us-east-1",
}
# moto looks whether a condition holds and stores afterwards, in threads that know nothing of each other, so that two
# could create one object. S3 answers requests for one object one after the other, and with a lock so does moto.
SERVER = """
import sys, threading
from werkzeug.serving import run_simple
from moto.server import DomainDispatcherApplication, create_backend_app
moto, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()
def application(environ, start_response):
    with one_at_a_time:
        return list(moto(environ, start_response))
run_simple(sys.argv[1], int(sys.argv[2]), application, threaded=True)
"""
# moto forgets everything when it ends, and a real service does not: so what is killed stands before it.
FORWARDER = """
import asyncio, sys
here, there = map(int, sys.argv[1:])
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", there)
    await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", here)
    async with server:
        await server.serve_forever()
asyncio.run(main())
"""


class Service:
    """A process that listens on a port of its own."""

    def __init__(self, *command: object, port: int, log: Path, **environment: str) -> None:
        self.port, self.log, self.environment = port, log, environment
        self.command = [str(word) for word in command]
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                self.command, stdout=file, stderr=file, env={**os.environ, **CREDENTIALS, **self.environment}
            )
        wait_until(self._listens, self.process)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def a_service(folder: Path, host: str = "127.0.0.1", **environment: str):
    """moto with an empty bucket called `bucket`, on one address or all (0.0.0.0) of this machine."""
    port = free_port()
    service = Service(
        sys.executable, "-c", SERVER, host, port,
        port=port, log=folder / "moto.log", **environment,
    )  # fmt: skip
    try:
        request = urllib.request.Request(f"{service.endpoint}/bucket", method="PUT")
        urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()
        yield service
    finally:
        service.kill()


@contextmanager
def a_forwarder(service: Service, folder: Path):
    port = free_port()
    forwarder = Service(
        sys.executable, "-c", FORWARDER, port, service.port, port=port, log=folder / "forwarder.log"
    )  # fmt: skip
    try:
        yield forwarder
    finally:
        forwarder.kill()
