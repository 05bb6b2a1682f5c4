"""Variables that other programs read too: what they hold is understood, or named; none leads to a traceback."""

import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sweeper.cli.main import main, reach_this_machine_directly
from sweeper.cli.values import ray_address
from tests.sweeper.processes import command, environment

NO_RAY = [
    ("garbage", "must be HOST:PORT of a Ray cluster's head, auto or local, not 'garbage'"),
    ("head:99999", "must be HOST:PORT of a Ray cluster's head, auto or local, not 'head:99999'"),
    ("ray://head:10001", "must be HOST:PORT of a Ray cluster's head, auto or local, not 'ray://head:10001'"),
    (" ", "must be HOST:PORT of a Ray cluster's head, auto or local, not ' '"),
    ("http://head:8265", "http://head:8265 is a dashboard's address, which --cluster takes; this one is HOST:PORT"),
]
NO_TRACKING = [
    ("file:///tmp/mlruns", "'file' is not a scheme of an address such as sqlite:///FILE"),
    ("file:./mlruns", "'file:./mlruns' is not an address such as sqlite:///FILE"),
    ("mlruns", "'mlruns' is not an address such as sqlite:///FILE"),
    ("http://", "'http://' names no host"),
]


@pytest.mark.parametrize(("address", "rule"), NO_RAY)
def test_a_ray_address_of_another_kind_is_named_with_its_variable(tiny, tmp_path, capsys, monkeypatch, address, rule):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert main(["launch", str(tiny), "--storage", f"{tmp_path}/new"]) == 2
    assert capsys.readouterr().err.startswith(f"sweeper: error: the variable RAY_ADDRESS, for --ray-address: {rule}\n")
    assert not (tmp_path / "new").exists()
    monkeypatch.delenv("RAY_ADDRESS")
    assert main(["launch", str(tiny), "--storage", f"{tmp_path}/new", "--ray-address", address]) == 2
    assert capsys.readouterr().err.startswith(f"sweeper: error: --ray-address: {rule}\n")


def test_the_words_that_ray_knows_mean_what_they_mean_there():
    assert ray_address("local") is None  # Ray of our own, closed to others
    assert [ray_address(text) for text in ("auto", "head:6379", "10.0.0.1:6379", "[::1]:6379")] == [
        "auto", "head:6379", "10.0.0.1:6379", "[::1]:6379",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["launch", "report", "track", "ui", "import"])
@pytest.mark.parametrize(("address", "rule"), NO_TRACKING)
def test_a_tracking_address_of_another_kind_is_named_with_its_variable(
    tiny, tmp_path, capsys, monkeypatch, name, address, rule
):
    (tmp_path / "record.json").write_text("[]")
    lines = {
        "launch": [tiny], "report": ["tiny", "-o", tmp_path / "out"], "track": ["tiny"], "ui": ["tiny"],
        "import": [tmp_path / "record.json", "--sweep", "other"],
    }  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert main([name, *map(str, lines[name]), "--storage", f"{tmp_path}/new"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"sweeper: error: the variable MLFLOW_TRACKING_URI, for --tracking: {rule}")
    assert not (tmp_path / "new").exists()


@pytest.fixture
def healthy():
    """The address of a server of this machine that answers as MLflow does."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"OK")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_does_not_stand_between_us_and_this_machine(healthy, tmp_path, variable):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        given = {variable: f"http://127.0.0.1:{nobody.getsockname()[1]}", "no_proxy": "intranet"}
        line = command("ui", "--storage", tmp_path, "--tracking", healthy)
        done = subprocess.run(line, env=environment() | given, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"Open {healthy}/#/experiments\n"), done.stderr


def test_what_is_reached_without_a_proxy_stays_so():
    given = {"https_proxy": "http://proxy:3128", "NO_PROXY": "intranet, localhost"}
    reach_this_machine_directly(given)
    assert given["no_proxy"] == given["NO_PROXY"] == "intranet,localhost,127.0.0.1,::1"
    for untouched in ({}, {"http_proxy": "http://proxy:3128", "no_proxy": "*"}, {"http_proxy": ""}):
        before = dict(untouched)
        reach_this_machine_directly(untouched)
        assert untouched == before
