"""`sweeper launch`, `retry`, `status`, `logs` and `stop` on a cluster, from a machine that may be switched off."""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from search_spaces.loading import check_limits_only, load_spec
from search_spaces.spec import NAME
from sweeper.launch.ray_jobs import SPEC, Cluster, Job, words, write_submission
from sweeper.storage.bucket import bucket_at, is_url
from sweeper.text import text_table
from trainers.recipe.errors import InvalidInput

GOOD, SOME_FAILED, LIMIT_REACHED, INTERRUPTED = 0, 1, 3, 130
HERE_ONLY = ("local", "ray_address", "submitted_to")  # what makes no sense together with a cluster
NOT_HANDED_ON = ("cluster", "spec", "sweep", "overrides", "detach", "owner")
FOLDERS = ("storage", "data_dir")
STATES = {"PENDING": "starting", "RUNNING": "running", "STOPPED": "stopped", "SUCCEEDED": "completed"}
REFUSED = 2  # the exit code of a command that could not begin


def launch_on_cluster(options: argparse.Namespace) -> int:
    """`sweeper launch SPEC --cluster URL`"""
    spec = load_spec(options.spec, options.overrides)
    return _submit(options, spec.name, ["launch", SPEC], spec.to_yaml())


def again_on_cluster(options: argparse.Namespace) -> int:
    """`sweeper resume SWEEP --cluster URL`, and `retry`"""
    if not re.fullmatch(NAME.strip("^$"), options.sweep):
        raise InvalidInput(f"sweep: {options.sweep!r} is no name of a sweep: letters, digits, '_', '-', '.'")
    check_limits_only(options.overrides)
    command = [options.command, options.sweep, *(f"--set={override}" for override in options.overrides)]
    return _submit(options, options.sweep, command, None)


def _submit(options: argparse.Namespace, sweep: str, command: Sequence[str], spec_text: str | None) -> int:
    handed_on = _handed_on(options.given)
    cluster = Cluster.connect(options.cluster)
    here, there = version("ray"), cluster.ray_version()
    if here != there:
        raise InvalidInput(f"cluster: {cluster.address} runs Ray {there}, and this machine has {here}; both must agree")
    cluster.check_resources(_number(options.cpus_per_trial, 1.0), _number(options.gpus_per_trial, 0.0))
    for job in cluster.jobs():
        if job.sweep == sweep and not job.is_over:
            raise InvalidInput(f"sweep: {sweep!r} is being run already on {cluster.address} ({_who(job)})")
    for_it = ["--owner", options.owner, "--ray-address", "auto", "--submitted-to", cluster.address]
    program = ["python", "-m", "sweeper.cluster_entry", *command, *handed_on, *for_it]
    with tempfile.TemporaryDirectory(prefix="sweeper-submission-") as folder:
        write_submission(Path(folder), spec_text)
        job = cluster.submit(sweep, options.owner, Path(folder), words(program))
    print(f"{sweep}: submitted to {cluster.address} as {job.id}; it runs there whether this machine is on or not.")
    return GOOD if options.detach else _follow(cluster, job)


def _handed_on(given: Mapping[str, Any]) -> list[str]:
    """The flags that were given here, for the command there. Defaults of this machine are not those of the cluster."""
    for name in HERE_ONLY:
        if name in given:
            raise InvalidInput(f"{_flag(name)}: it cannot go with --cluster")
    for name in FOLDERS:
        if name == "storage" and is_url(str(given.get(name, ""))):
            bucket_at(given[name])  # raises InvalidInput before others would see a key in it
        elif name in given and not str(given[name]).startswith("/"):
            raise InvalidInput(
                f"{_flag(name)}: with --cluster it is a folder of the cluster, so a path from its root, "
                f"not {given[name]!r}"
            )
    scheme, _, file = str(given.get("tracking", "")).partition(":///")
    if scheme.startswith("sqlite") and not file.startswith("/"):
        raise InvalidInput(
            "--tracking: with --cluster it is a file of the cluster, so a path from its root (sqlite:////FOLDER/FILE), "
            f"not {given['tracking']!r}"
        )
    if urlsplit(given.get("tracking", "")).password:
        raise InvalidInput(
            "--tracking: all who see the cluster's jobs would see the password in it; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD on the cluster's head instead"
        )
    words = []
    for name, value in given.items():
        if name not in NOT_HANDED_ON:
            switch = {True: _flag(name), False: _flag(f"no_{name}")}
            words.append(switch[value] if isinstance(value, bool) else f"{_flag(name)}={value}")
    return words


def _number(share: float | str | None, default: float) -> float:
    return share if isinstance(share, float) else default


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def status_on_cluster(options: argparse.Namespace) -> int:
    """`sweeper status [SWEEP] --cluster URL`"""
    if options.watch:
        raise InvalidInput("--watch: on a cluster, sweeper logs shows what a sweep says as it says it")
    cluster = Cluster.connect(options.cluster)
    if options.sweep:
        jobs = [cluster.newest(options.sweep)]
    else:
        newest: dict[str, Job] = {}
        for job in cluster.jobs():
            newest.setdefault(job.sweep, job)
        jobs = list(newest.values())
    if options.json:
        print(json.dumps([asdict(job) for job in jobs], indent=1))
    elif options.sweep:
        (job,) = jobs
        print(f"{job.sweep}: {_state(job)} on {cluster.address} ({_who(job)})")
        print(_last_line(cluster.log(job.id)) or job.message)
    elif jobs:
        rows = [[job.sweep, _state(job), job.owner, job.submitted_at, job.id] for job in jobs]
        print(text_table(["sweep", "state", "owner", "submitted", "job"], rows))
    else:
        print(f"No sweep was launched on {cluster.address}.")
    return GOOD


def logs_on_cluster(options: argparse.Namespace) -> int:
    """`sweeper logs SWEEP --cluster URL`: what it said so far, then what it says, until it ends."""
    cluster = Cluster.connect(options.cluster)
    return _follow(cluster, cluster.newest(options.sweep))


def stop_on_cluster(options: argparse.Namespace) -> int:
    """`sweeper stop SWEEP --cluster URL`"""
    cluster = Cluster.connect(options.cluster)
    job = cluster.newest(options.sweep)
    if job.is_over:
        print(f"{job.sweep} does not run: {_state(job)}.")
        return GOOD
    seen = len(cluster.log(job.id))
    cluster.stop(job)
    print(f"{job.sweep}: stopping after the running epochs.", flush=True)
    text = ""

    def say(more: str) -> None:
        nonlocal text
        text += more
        if len(text) > seen:
            print(text[max(seen, len(text) - len(more)) :], end="", flush=True)

    cluster.follow(job, say)
    if "to go on: " not in text[seen:]:  # it was stopped before it could say so itself
        print(f"{job.sweep} is stopped; to go on: sweeper resume {job.sweep} --cluster {cluster.address}")
    return GOOD


def _follow(cluster: Cluster, job: Job) -> int:
    """Shows what the job prints; Ctrl-C ends only the showing."""
    try:
        job = cluster.follow(job, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        where = f"{job.sweep} --cluster {cluster.address}"
        print(f"\n{job.sweep} goes on. To look again: sweeper logs {where}; to end it: sweeper stop {where}")
        return INTERRUPTED
    if job.exit_code is not None:
        return job.exit_code
    print(f"{job.sweep}: {_state(job)}. {job.message}".rstrip())
    return INTERRUPTED if job.state == "STOPPED" else SOME_FAILED


def _state(job: Job) -> str:
    if job.state == "FAILED":
        return {REFUSED: "refused", LIMIT_REACHED: "at its limits", INTERRUPTED: "stopped"}.get(
            job.exit_code or 0, "failed"
        )
    return STATES.get(job.state, job.state)


def _who(job: Job) -> str:
    return f"job {job.id} of {job.owner}, submitted {job.submitted_at}"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
