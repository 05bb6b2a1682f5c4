"""docker-compose.yml, the Dockerfile and .env.example keep to the rules that docs/cluster.md promises."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.cluster.docker_engine import compose_command

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
ONE_OFF = {name for name, service in SERVICES.items() if "tools" in service.get("profiles", ())}
BUCKET = "docs/examples/bucket.yml"
EXAMPLE = (ROOT / ".env.example").read_text()
SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|KEY")
VARIABLE = re.compile(r"\$\{(\w+)")


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_do_more_than_it_must(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service and not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])  # a number, so that no image can make it root
    assert service["mem_limit"] and service["pids_limit"]
    assert not {"network_mode", "pid", "ipc", "devices"} & set(service)
    assert all(not volume.startswith(("/", ".")) for volume in service.get("volumes", ()))  # nothing of the host


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_OFF))
def test_every_service_that_stays_up_is_watched_and_started_again(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"] and service["healthcheck"]["start_period"]
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"]["max-size"]


def test_services_start_when_what_they_need_is_healthy():
    needs = {
        name: {other for other, how in service.get("depends_on", {}).items() if how["condition"] == "service_healthy"}
        for name, service in SERVICES.items()
    }
    assert needs["mlflow"] == {"postgres"} and needs["ray-head"] == {"mlflow"}
    assert needs["ray-worker"] == needs["ray-worker-gpu"] == {"ray-head"}
    assert all(set(service.get("depends_on", {})) == needs[name] for name, service in SERVICES.items())


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_for_this_machine_unless_a_variable_says_otherwise(name):
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for port in SERVICES[name].get("ports", ()))


def test_only_mlflow_reaches_the_database():
    assert [name for name, service in SERVICES.items() if "database" in service["networks"]] == ["postgres", "mlflow"]
    assert COMPOSE["networks"]["database"]["internal"] is True
    assert "ports" not in SERVICES["postgres"]


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_the_environment_and_are_in_no_command(name):
    service = SERVICES[name]
    for variable, value in service["environment"].items():
        if SECRET.search(variable) and value is not None:
            assert re.fullmatch(r"\$\{\w+:\?run make secrets first\}", value), variable
    shown = [*service.get("command", ()), *service.get("entrypoint", ()), *service["healthcheck"].get("test", ())]
    assert not [word for word in shown if SECRET.search(" ".join(VARIABLE.findall(word)))]


def test_workers_are_not_told_the_password_of_the_tracking_server():
    for name in ("ray-worker", "ray-worker-gpu"):
        assert {variable for variable in SERVICES[name]["environment"] if SECRET.search(variable)} == {"RAY_AUTH_TOKEN"}


def test_ray_asks_for_its_token_wherever_it_runs():
    for name in ("ray-head", "ray-worker", "ray-worker-gpu", "sweeper"):
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"


def test_all_gpus_are_reserved_for_the_worker_that_is_for_them():
    (device,) = SERVICES["ray-worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_the_example_environment_names_every_variable_that_is_read_and_no_other():
    read = set()
    for file in ("docker-compose.yml", BUCKET):
        text = (ROOT / file).read_text()
        environments = [service["environment"] for service in yaml.safe_load(text)["services"].values()]
        read |= {name for environment in environments for name, value in environment.items() if value is None}
        read |= set(VARIABLE.findall(text))
    own = {"COMPOSE_PROFILES", "COMPOSE_FILE"}  # of Docker Compose itself
    assert set(re.findall(r"^#?([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE)) == read | own


def test_secrets_are_written_once_for_the_owner_alone(tmp_path):
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "write_secrets.py", tmp_path / "scripts")
    shutil.copy(ROOT / ".env.example", tmp_path)
    command = [sys.executable, tmp_path / "scripts" / "write_secrets.py"]
    subprocess.run(command, check=True)
    written = (tmp_path / ".env").read_text()
    secrets = re.findall(r"^(\w+)=([0-9a-f]{64})$", written, re.MULTILINE)
    assert [name for name, _ in secrets] == re.findall(r"^(\w+)=<generated>$", EXAMPLE, re.MULTILINE)
    assert len({value for _, value in secrets}) == len(secrets) == 4
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert b"stays as it is" in subprocess.run(command, check=True, capture_output=True).stdout
    assert (tmp_path / ".env").read_text() == written


def test_git_never_sees_the_secrets_and_no_image_gets_them():
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert {line.removeprefix("!") for line in allowed} == copied_by_the_dockerfile()


def copied_by_the_dockerfile() -> set[str]:
    lines = re.findall(r"^COPY (?!--from)(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return {name.rstrip("/") for line in lines for name in line.split()[:-1]}


def test_the_image_has_the_pins_all_packages_and_an_ordinary_user():
    text = (ROOT / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - stages == {"${BASE_IMAGE}"}
    ours = "--no-index --no-deps /wheels/"  # the program itself, built here
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert installs and all("--constraint /build/constraints.txt" in line or ours in line for line in installs)
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == [SERVICES["mlflow"]["user"]]
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= copied_by_the_dockerfile()
    for volume in ("/storage", "/data", "/artifacts"):  # a new volume takes the owner of the folder in the image
        assert re.search(rf"install --directory --owner=sweeper .*{volume}\b", text)


# Asks each library that compiles something, or draws, where it keeps that.
WHERE_CACHES_LIE = """
import matplotlib
from torch._inductor.runtime.cache_dir_utils import cache_dir
from torch.utils._triton import has_triton_package
from trainers.kernels.native import compiled_folder
print(matplotlib.get_cachedir(), cache_dir(), compiled_folder(), sep="\\n")
if has_triton_package():
    from triton import knobs
    print(knobs.cache.dir, knobs.cache.dump_dir, knobs.cache.override_dir, sep="\\n")
"""


def test_every_cache_of_the_image_lies_where_a_read_only_container_can_be_written():
    (block,) = re.findall(
        r"^ENV ((?:.*\\\n)*.*)$", (ROOT / "Dockerfile").read_text().partition("--from=builder")[2], re.M
    )
    variables = dict(word.split("=", 1) for word in block.replace("\\\n", " ").split())
    assert variables["CUDA_CACHE_PATH"].startswith("/tmp/")
    home = {"HOME": "/dev/null", "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}  # nobody can write into it
    done = subprocess.run(
        [sys.executable, "-c", WHERE_CACHES_LIE], env=variables | home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 3
    assert [folder for folder in done.stdout.split() if not folder.startswith("/tmp/")] == []
    for name in ("ray-worker", "ray-worker-gpu", "ray-head", "sweeper"):
        assert any(mount.startswith("/tmp:exec,") for mount in SERVICES[name]["tmpfs"]), "compiled code runs from there"


@pytest.fixture
def config(tmp_path):
    """What Docker Compose makes of our files, beside a .env with this text."""

    def run(environment, *more):
        (tmp_path / ".env").write_text(environment)
        shutil.copy(ROOT / "Dockerfile", tmp_path)
        files = [word for name in ("docker-compose.yml", *more) for word in ("-f", str(ROOT / name))]
        command = [*compose_command(), "--project-directory", str(tmp_path), *files, "config"]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    return run


def test_docker_compose_takes_the_file(config):
    refused = config("")
    assert refused.returncode != 0 and "run make secrets first" in refused.stderr
    done = config(EXAMPLE.replace("<generated>", "0" * 64))
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)["services"]
    assert {"postgres", "mlflow", "ray-head", "ray-worker"} <= set(resolved)
    assert "${" not in done.stdout


def test_a_bucket_takes_the_place_of_the_volume_and_mlflow_does_not_know_its_key(config):
    secrets = EXAMPLE.replace("<generated>", "0" * 64)
    refused = config(secrets, BUCKET)
    assert refused.returncode != 0 and "s3://BUCKET/PREFIX" in refused.stderr
    named = "STORAGE_URL=s3://b/p\nSTORAGE_ACCESS_KEY_ID=who\nSTORAGE_SECRET_ACCESS_KEY=hush\nAWS_REGION=here\n"
    done = config(secrets + named, BUCKET)
    assert done.returncode == 0, done.stderr
    told = {name: service["environment"] for name, service in yaml.safe_load(done.stdout)["services"].items()}
    for name in ("ray-head", "ray-worker"):
        place = [told[name][key] for key in ("SWEEPER_STORAGE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        assert [*place, told[name]["AWS_REGION"]] == ["s3://b/p", "who", "hush", "here"]
    assert "hush" not in [*told["mlflow"].values(), *told["postgres"].values()]
    assert told["ray-head"]["MLFLOW_TRACKING_URI"]  # what it had besides stays
