"""Workers run the driver's code or none, whatever lies around them; what a dead one said last is told."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweeper.launch.local import run_local
from sweeper.launch.ray_jobs import write_submission
from sweeper.launch.ray_session import quiet
from sweeper.records.store import Store
from tests.sweeper.launch.started import Started, records, short
from tests.sweeper.processes import ROOT, claimed, environment
from tests.sweeper.small_sweeps import a_launch, facts
from tests.waiting import wait_until
from trainers.sources import sources_digest

pytestmark = pytest.mark.cluster

# The command, from this checkout whatever the working directory and PYTHONPATH are: a worker must do without this.
FROM = "import sys; sys.path[0] = {folder!r}; from sweeper.cli.main import main; sys.exit(main(sys.argv[1:]))"


def another_checkout(folder: Path) -> Path:
    """The same packages, but that trainers learn a thousand times slower."""
    folder.mkdir()
    write_submission(folder, None)
    (folder / "submission.json").unlink()
    path = folder / "trainers" / "optimization.py"
    line = '    rate: float = getattr(recipe, f"{phase}_learning_rate")\n'
    assert path.read_text().count(line) == 1
    path.write_text(path.read_text().replace(line, f"{line}    rate *= 0.001\n"))
    return folder


def folder_of_namesakes(folder: Path) -> Path:
    """One such as anybody may have: its files are called what a package of ours or a library is called."""
    (folder / "sweeper").mkdir(parents=True)
    for name in ("trainers", "torch"):
        (folder / f"{name}.py").write_text("raise ImportError('not this one')\n")
    return folder


@pytest.mark.parametrize("around", [another_checkout, folder_of_namesakes])
def test_workers_run_the_drivers_packages_wherever_they_start_and_whatever_the_path(around, tmp_path, storage):
    folder, spec = around(tmp_path / "around"), short(tmp_path)
    on_the_path = folder if around is another_checkout else ROOT  # the driver, too, takes its libraries from there
    launch = Started(
        spec, "--storage", storage, folder=tmp_path, program=FROM.format(folder=str(ROOT)), cwd=folder, anew=True,
        PYTHONPATH=str(on_the_path),
    )  # fmt: skip
    text = launch.ends_with(0)
    assert "1 of 1 trials completed" in text and "tried again" not in text
    here = a_launch(spec, tmp_path / "alone")
    run_local(here)
    found = a_launch(spec, storage, read_only=True).records
    assert found.keys() == here.records.keys()
    for key, record in found.items():
        assert facts(record) == facts(here.records[key])
        assert record.environment["process"] != launch.process.pid


# A launch whose checkout is edited when it has just begun.
EDITED = """
import sys
sys.path.insert(0, {folder!r})
from sweeper.launch import ray_session
ray_session.quiet()
from sweeper.launch import ray_tune as ray_driver
session = ray_driver.ray_session
def ray_session(*given):
    with open({folder!r} + "/trainers/optimization.py", "a") as file:
        file.write("# edited")
    return session(*given)
ray_driver.ray_session = ray_session
from sweeper.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_worker_with_other_sources_than_the_driver_is_refused_with_both_paths(tmp_path, storage):
    folder = another_checkout(tmp_path / "edited")
    before = sources_digest(folder / "trainers")
    text = Started(
        short(tmp_path),
        "--storage",
        storage,
        folder=tmp_path,
        program=EDITED.format(folder=str(folder)),
        cwd=tmp_path,
        anew=True,
    ).ends_with(2)
    after = sources_digest(folder / "trainers")
    assert after != before
    host, trainers = socket.gethostname(), folder / "trainers"
    (line,) = [line for line in text.splitlines() if "other code" in line]
    assert line.startswith("sweeper: error: workers: process ")
    assert f"on {host} has other code, {trainers} (sources {after[:8]}…)," in line
    assert line.endswith(
        f"than the driver on {host}, {trainers} (sources {before[:8]}…): refused before it trained anything"
    )
    assert "tried again" not in text and "Traceback" not in text
    assert records(storage) == set() == claimed(storage)
    assert not Store(storage).failures()


# A node in a mount namespace: where the driver's checkout lies elsewhere, there is an empty folder here. It is started
# again where it takes longer than the 30 s that Ray gives it, as on a busy machine.
NODE = (
    "mount -t tmpfs none {hidden} && while ! grep -q 'Ray runtime started' {log}; do "
    "{python} -m ray.scripts.scripts start --head --block --num-cpus=1 --object-store-memory=80000000 "
    "--include-dashboard=false --temp-dir={temporary} --port=0; done"
)


@pytest.fixture
def node(tmp_path):
    """Starts a node where one folder is empty and another one is on the import path; gives its address."""
    able = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    if able.returncode:
        pytest.skip("needs unshare, and the right to mount")
    quiet()  # a token, which the node and the launch share
    temporary = tempfile.mkdtemp(prefix="node-", dir="/tmp")  # Ray's sockets need a short path
    started = []

    def start(hidden: Path, on_the_path: Path) -> str:
        command = NODE.format(hidden=hidden, python=sys.executable, temporary=temporary, log=tmp_path / "node")
        variables = environment() | {"PYTHONPATH": str(on_the_path), "RAY_TMPDIR": temporary}
        with (tmp_path / "node").open("w") as log:
            started.append(
                subprocess.Popen(
                    ["unshare", "--mount", "sh", "-c", command], stdout=log, stderr=log, env=variables, cwd="/",
                    start_new_session=True,
                )
            )  # fmt: skip
        address = Path(temporary, "ray_current_cluster")
        wait_until(address.is_file, *started)
        wait_until(lambda: "Ray runtime started" in (tmp_path / "node").read_text(), *started)
        return address.read_text().strip()

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    shutil.rmtree(temporary, ignore_errors=True)


def test_a_node_with_other_sources_than_the_driver_is_refused_before_anything_starts(tmp_path, storage, node):
    other, ours = another_checkout(tmp_path / "other"), tmp_path / "ours"
    ours.mkdir()
    write_submission(ours, None)
    (ours / "submission.json").unlink()
    address = node(hidden=ours, on_the_path=other)
    text = Started(
        short(tmp_path), "--storage", storage, "--ray-address", address, folder=tmp_path,
        program=FROM.format(folder=str(ours)), anew=True,
    ).ends_with(2)  # fmt: skip
    (line,) = [line for line in text.splitlines() if "other code" in line]
    assert line.startswith("sweeper: error: cluster: node ")
    assert f"has other code, {other}/trainers (sources {sources_digest(other / 'trainers')[:8]}…)," in line
    assert f", {ours}/trainers (sources {sources_digest(ours / 'trainers')[:8]}…): refused" in line
    assert records(storage) == set() == claimed(storage)


# A launch one of whose workers dies of what it writes, and the other does not come up.
DYING = """
import os, sys
from sweeper.launch import ray_session
ray_session.quiet()
from sweeper.launch import ray_tune as ray_driver

class Dying(ray_driver.StageTrainable):
    def setup(self, config):
        try:
            open("FIRST", "x").close()
        except FileExistsError:
            return super().setup(config)
        raise ImportError("libmissing.so.1: cannot open shared object file")
    def step(self):
        if self._order is None:
            return super().step()
        print("x" * 1000, file=sys.stderr)
        for number in range(40):
            print("line", number, file=sys.stderr)
        print("the driver of this GPU is too old", file=sys.stderr)
        os._exit(1)

ray_driver.StageTrainable = Dying
from sweeper.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_last_words_of_a_worker_that_dies_are_in_the_summary(tmp_path, storage):
    spec = short(tmp_path)
    spec.write_text(spec.read_text() + "seeds: 2\n")
    text = Started(
        spec, "--storage", storage, "--max-retries", "0", folder=tmp_path,
        program=DYING.replace("FIRST", str(tmp_path / "first")),
    ).ends_with(1)  # fmt: skip
    died, failed_to_start = (
        text.partition(f"FAILED  infrastructure: {why}: ")[2].splitlines()[:14]
        for why in ("its worker process died", "its worker could not start")
    )
    assert died[1] == "  The last words of such a worker:"
    assert died[12:14] == ["    line 39", "    the driver of this GPU is too old"]
    assert "    ImportError: libmissing.so.1: cannot open shared object file" in failed_to_start
    kept = {failure["reason"]: failure["last_words"] for failure in Store(storage).failures().values()}
    assert kept["its worker process died"].endswith("the driver of this GPU is too old")
