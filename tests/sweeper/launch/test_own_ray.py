"""The Ray that a launch starts for itself: without servers that nobody asks, and as Ray would where it is unknown."""

import os
import subprocess
import sys

import pytest

from sweeper.launch.own_ray import servers, stand_in
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


def test_servers_are_left_out_of_known_rays_only_and_only_while_ours_starts(ray_modules, monkeypatch):
    import ray

    assert ray.__version__ in servers.KNOWN_VERSIONS, "add the version, once the tests marked cluster pass with it"
    job, before = ray.job_config.JobConfig(), parts(ray_modules)
    with servers.few_servers(job), servers.workers_without_environment():
        assert not any(now is was for now, was in zip(parts(ray_modules), before, strict=True))
        assert ray_modules[0].RayParams().no_monitor
    assert parts(ray_modules) == before
    monkeypatch.setattr(ray, "__version__", "2.50.1")
    with servers.few_servers(job), servers.workers_without_environment():
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


# A launch whose Ray is of a version that nobody has tried.
UNKNOWN = """
import sys
from sweeper.launch.own_ray import servers
servers.KNOWN_VERSIONS = ()
from sweeper.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.cluster
@pytest.mark.parametrize(("program", "expected"), [("", [0, 0, 0, 2]), (UNKNOWN, [1, 1, 1, 0])])
def test_a_launch_leaves_out_servers_of_its_ray_and_none_of_a_ray_it_does_not_know(
    tmp_path, storage, program, expected
):
    launch = Started(short(tmp_path), "--storage", storage, folder=tmp_path, program=program)
    wait_until(launch.workers, launch.process)
    lines = [command_line(pid) for pid in launch.processes()]
    # Ray's own agents rename themselves, and are not seen to carry the launch's mark.
    stood_in = b"-S\0" + stand_in.__file__.encode()
    others = (b"dashboard/dashboard.py", b"_private/monitor.py", b"_private/log_monitor.py", stood_in)
    assert [sum(name in line for line in lines) for name in others] == expected, lines
    assert "1 of 1 trials completed" in launch.ends_with(0)
    assert launch.left_nothing()
