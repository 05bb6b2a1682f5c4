"""The examples for Slurm and Kubernetes say what Ray, the image and this program understand."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from ray.scripts.scripts import start

ROOT = Path(__file__).resolve().parents[2]
SLURM = (ROOT / "docs" / "examples" / "slurm.sh").read_text()
RAY_FLAGS = {flag for option in start.params for flag in option.opts}
CLUSTER = yaml.safe_load((ROOT / "docs" / "examples" / "kuberay.yaml").read_text())
GROUPS = [CLUSTER["spec"]["headGroupSpec"], *CLUSTER["spec"]["workerGroupSpecs"]]


def test_the_slurm_script_is_one():
    assert SLURM.startswith("#!/bin/bash\n")
    checked = subprocess.run([shutil.which("bash"), "-n"], input=SLURM, text=True, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    options = re.findall(r"^#SBATCH (--[a-z-]+)=\S+$", SLURM, re.MULTILINE)
    assert len(options) == SLURM.count("#SBATCH") and len(set(options)) == len(options)
    used = set(re.findall(r"--[a-z-]+", " ".join(re.findall(r"ray start (.*)|^share=(.*)$", SLURM, re.MULTILINE)[0])))
    used |= set(re.findall(r"--(?:num|object|dashboard|disable|port|address|head|block)[a-z-]*", SLURM))
    assert used <= RAY_FLAGS


def test_the_slurm_script_puts_no_secret_on_a_command_line():
    assert "RAY_AUTH_TOKEN_PATH=$HOME/ray-token" in SLURM and "RAY_AUTH_MODE=token" in SLURM
    assert not re.search(r"(PASSWORD|TOKEN)=[^$\s,]*[0-9a-f]{8}", SLURM)


def test_the_kubernetes_manifest_is_a_ray_cluster_of_our_version():
    assert (CLUSTER["apiVersion"], CLUSTER["kind"]) == ("ray.io/v1", "RayCluster")
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE).group(1)
    assert CLUSTER["spec"]["rayVersion"] == pinned
    assert set(CLUSTER["spec"]) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    for group in CLUSTER["spec"]["workerGroupSpecs"]:
        assert set(group) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert (
            group["minReplicas"] == group["replicas"] == group["maxReplicas"]
        )  # a launch asks for GPUs that are there


@pytest.mark.parametrize("group", GROUPS, ids=["head", "worker"])
def test_the_pods_of_the_manifest_can_do_no_more_than_those_of_compose(group):
    assert {f"--{name}" for name in group["rayStartParams"]} <= RAY_FLAGS
    assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # KubeRay takes nothing else
    pod = group["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("group", GROUPS, ids=["head", "worker"])
def test_the_manifest_names_secrets_and_holds_none(group):
    (container,) = group["template"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    assert variables["RAY_AUTH_MODE"]["value"] == "token"
    for name, variable in variables.items():
        if re.search("TOKEN|PASSWORD", name):
            assert set(variable) == {"name", "valueFrom"} and "secretKeyRef" in variable["valueFrom"]


def test_the_head_of_the_manifest_knows_what_that_of_compose_knows():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    (head,) = GROUPS[0]["template"]["spec"]["containers"]
    assert {variable["name"] for variable in head["env"]} == set(compose["ray-head"]["environment"]) - {
        "RAY_USAGE_STATS_ENABLED"
    }
    volumes = {mount["mountPath"] for mount in head["volumeMounts"]} - {"/tmp"}
    assert volumes == {volume.partition(":")[2] for volume in compose["ray-head"]["volumes"]}
