"""The Ray that a launch starts for itself: without servers that nobody asks, and as Ray would where it is unknown."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.launch.own_ray import ask_for_worker, fork_workers, servers, stand_in
from sweeper.launch.ray_session import quiet
from tests.sweeper.launch.started import Started, command_line, short
from tests.waiting import wait_until

RAYLET = [
    "raylet", "--session_dir=/tmp/a folder", "--node_id=7f", "--head",
    "--dashboard_agent_command=python agent.py --minimal", "--runtime_env_agent_command=python main.py --node-id=7f",
]  # fmt: skip


@pytest.fixture
def ray_modules():
    """The modules of Ray whose parts are replaced."""
    quiet()
    from ray._private import parameter, services, utils
    from ray.tune.execution import class_cache

    return parameter, services, utils, class_cache


def parts(modules) -> list[object]:
    parameter, services, utils, cache = modules
    start = [services.start_api_server, services.start_ray_process, utils.get_dashboard_dependency_error]
    return [parameter.RayParams, *start, cache.DEFAULT_ENV_VARS, cache.ENV_VARS_TO_PROPAGATE]


def test_servers_are_left_out_of_known_rays_only_and_only_while_ours_starts(ray_modules, tmp_path, monkeypatch):
    import ray

    assert ray.__version__ in servers.KNOWN_VERSIONS, "add the version, once the tests marked cluster pass with it"
    job, before = ray.job_config.JobConfig(), parts(ray_modules)
    path = tmp_path / "workers"
    workers = servers.forked_workers(servers.start_forking(path), path)
    with servers.few_servers(job), workers, servers.workers_without_environment():
        assert not any(now is was for now, was in zip(parts(ray_modules), before, strict=True))
        assert ray_modules[0].RayParams().no_monitor
    assert parts(ray_modules) == before
    monkeypatch.setattr(servers, "version", lambda package: "2.50.1")
    assert servers.start_forking(tmp_path / "never") is None
    workers = servers.forked_workers(None, path)
    with servers.few_servers(job), workers, servers.workers_without_environment():
        assert parts(ray_modules) == before


def test_the_agent_that_makes_environments_is_there_where_the_job_has_one():
    _, _, _, head, dashboard, environment = servers._with_stand_ins(RAYLET, has_environment=False)
    program = f'{sys.executable} -I -S {stand_in.__file__} "/tmp/a folder" 7f'
    assert dashboard == (
        f"--dashboard_agent_command={program} metrics_agent_port metrics_export_port dashboard_agent_listen_port"
    )
    assert (head, environment) == ("--head", f"--runtime_env_agent_command={program} runtime_env_agent_port")
    assert servers._with_stand_ins(RAYLET, has_environment=True) == [*RAYLET[:4], dashboard, RAYLET[5]]


def test_a_stand_in_says_that_it_has_no_port_and_ends_with_its_raylet(tmp_path):
    command = [sys.executable, "-I", "-S", stand_in.__file__, str(tmp_path), "7f", "metrics_agent_port"]
    raylet = f"import subprocess, sys; print(subprocess.Popen({command}).pid, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", raylet], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        agent = int(process.stdout.readline())
        wait_until((tmp_path / "metrics_agent_port_7f").exists, process)
        assert (tmp_path / "metrics_agent_port_7f").read_text() == "-1"
        assert os.listdir(tmp_path) == ["metrics_agent_port_7f"]
        process.kill()
    wait_until(lambda: not command_line(agent))


SETS_UP = ["python", "/ray/setup_worker.py"]
IS_TOLD = ["/ray/default_worker.py", "--node-id=7f", "--webui="]


@pytest.mark.parametrize(
    "command",
    [
        [*SETS_UP, *IS_TOLD],
        [*SETS_UP, *IS_TOLD, "--language=JAVA"],
        [*SETS_UP, "-s", *IS_TOLD, "--language=PYTHON"],
        [*SETS_UP, *IS_TOLD, '--serialized-runtime-env-context={"env_vars": {"A": "1"}}', "--language=PYTHON"],
        ["python", "/ray/another.py", *IS_TOLD, "--language=PYTHON"],
    ],
)
def test_a_worker_that_has_to_be_set_up_is_not_forked(command):
    assert ask_for_worker.worker_of(command) is None


def test_a_worker_that_is_forked_is_told_what_one_that_is_set_up_is_in_the_end():
    assert ask_for_worker.worker_of([*SETS_UP, *IS_TOLD, "--language=PYTHON"]) == IS_TOLD
    nothing = "--serialized-runtime-env-context={}"
    assert ask_for_worker.worker_of([*SETS_UP, *IS_TOLD, nothing, "--language=PYTHON"]) == IS_TOLD


def test_the_command_for_workers_is_the_only_one_that_is_changed():
    worker = "--python_worker_command=python /ray/setup_worker.py '--redis-address=a b'"
    changed = servers._asking_for_workers([*RAYLET, worker], ["ask", "/tmp/a folder/workers"])
    asks = '--python_worker_command=ask "/tmp/a folder/workers" python /ray/setup_worker.py "--redis-address=a b"'
    assert changed == [*RAYLET, asks]


@pytest.fixture
def asks(tmp_path):
    """Starts what Ray starts for a worker: a program that says how it was started, and hears what it is to do."""
    program = """
import json, os, signal, sys
blocked = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
said = [sys.argv, sys.path[0], __name__, os.getcwd(), os.nice(0), blocked, dict(os.environ)]
print(json.dumps([os.getpid(), os.getppid(), "colorsys" in sys.modules, *said]), flush=True)
sys.exit(sys.stdin.readline() or 7)
"""
    (tmp_path / "default worker.py").write_text(program)
    (tmp_path / "setup_worker.py").write_text(
        "import runpy, sys; sys.argv[:] = sys.argv[1:-1]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    folder = tmp_path / "where it works"
    folder.mkdir()

    def start(path: Path) -> subprocess.Popen[str]:
        ask = [sys.executable, "-I", "-S", ask_for_worker.__file__, str(path), sys.executable]
        command = [
            *ask,
            str(tmp_path / "setup_worker.py"),
            str(tmp_path / "default worker.py"),
            "a b",
            "--language=PYTHON",
        ]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            return subprocess.Popen(command, cwd=folder, env={"ONLY": "this"}, text=True, **pipes)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    return start


def test_a_forked_worker_is_as_one_that_was_started_and_who_asked_ends_with_it(asks, tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "WORKERS_IMPORT", ("colorsys",))
    forking = servers.start_forking(tmp_path / "workers")
    told = [str(tmp_path / "default worker.py"), "a b"], str(tmp_path), "__main__", str(tmp_path / "where it works")
    for ends in ("says", "is killed", "is set up"):
        if ends == "is set up":
            forking.communicate()
            assert forking.returncode == 0
        with asks(tmp_path / "workers") as asking:
            pid, parent, imported, *said, niceness, blocked, variables = json.loads(asking.stdout.readline())
            assert (*said, niceness) == (*told, os.nice(0))
            assert (signal.SIGUSR2 in blocked, signal.SIGINT in blocked) == (True, False)
            assert variables.pop("ONLY") == "this"
            assert variables.keys() <= {"LC_CTYPE"}
            assert imported is (ends != "is set up")
            assert (pid == asking.pid, parent == forking.pid) == ((False, True) if imported else (True, False))
            if ends == "is killed":
                os.kill(pid, signal.SIGKILL)
            _, errors = asking.communicate("it has a reason\n" if ends == "says" else None)
            assert "it has a reason" in errors or ends != "says"
        wait_until(lambda pid=pid: not command_line(pid))
    assert asking.returncode == 7, "it is the worker itself"


@pytest.mark.cluster
def test_a_launch_on_this_machine_leaves_out_the_servers_that_nobody_asks(tmp_path, storage):
    launch = Started(short(tmp_path), "--storage", storage, folder=tmp_path, anew=True)
    wait_until(launch.workers, launch.process)
    parents = [int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in launch.workers()]
    assert all(fork_workers.__file__.encode() in command_line(pid) for pid in parents), "its workers are forked"
    lines = [command_line(pid) for pid in launch.processes()]
    others = (b"dashboard/dashboard.py", b"_private/monitor.py", b"_private/log_monitor.py")
    assert not [line for line in lines if any(name in line for name in others)]
    stood_in = b"-S\0" + stand_in.__file__.encode()
    assert sum(stood_in in line for line in lines) == 2, "for both agents, which rename themselves and are not seen"
    assert "1 of 1 trials completed" in launch.ends_with(0)
    assert launch.left_nothing()
