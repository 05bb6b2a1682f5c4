"""`sweeper launch`, `retry`, `status`, `logs` and `stop` on a cluster, from a machine that may be switched off."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import click

from sweeper.cli.command import ExitCode, command
from sweeper.cli.options import LaunchOptions, cluster_option
from sweeper.launch.ray_jobs import SPEC, Cluster, Job, words, write_submission
from sweeper.storage.bucket import bucket_at, is_url
from sweeper.text import text_table
from trainers.errors import InvalidInput, name_rule

HERE_ONLY = ("local", "ray_address", "submitted_to")  # what makes no sense together with a cluster
NOT_HANDED_ON = ("cluster", "spec", "sweep", "overrides", "detach", "owner")
FOLDERS = ("storage", "data_dir")
STATES = {"PENDING": "starting", "RUNNING": "running", "STOPPED": "stopped", "SUCCEEDED": "completed"}
REASONS: Mapping[int, str] = {  # why a job failed, by its exit code
    ExitCode.WRONG_INPUT: "refused",
    ExitCode.LIMIT_REACHED: "at its limits",
    ExitCode.INTERRUPTED: "stopped",
}


def launch_on_cluster(spec: str, overrides: Sequence[str], options: LaunchOptions, said: Mapping[str, Any]) -> int:
    """Runs `sweeper launch SPEC --cluster URL`; returns the exit code. said: what the command line itself says."""
    from search_spaces.loading import load_spec
    from sweeper.cli.plugins.agreed import plugin_reader, submitted

    loaded = load_spec(spec, overrides, plugin_reader(options.allow_plugins, options.yes))
    there, files = submitted(loaded)
    agreed = {"allow_plugins": True} if files else {}
    return _submit(loaded.name, ["launch", SPEC], there.to_yaml(), options, {**said, **agreed}, files)


def again_on_cluster(
    name: str, sweep: str, overrides: Sequence[str], options: LaunchOptions, said: Mapping[str, Any]
) -> int:
    """Runs `sweeper resume SWEEP --cluster URL`, or `retry`; returns the exit code."""
    from search_spaces.loading import check_limits_only
    from search_spaces.spec import NAME

    if not re.fullmatch(NAME.strip("^$"), sweep):
        raise InvalidInput(f"sweep: {name_rule(sweep)}")
    check_limits_only(overrides)
    return _submit(sweep, [name, sweep, *(f"--set={override}" for override in overrides)], None, options, said)


def _submit(
    sweep: str,
    words_there: Sequence[str],
    spec_text: str | None,
    options: LaunchOptions,
    said: Mapping[str, Any],
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> int:
    handed_on, submission = flags_handed_on(said), options.submission
    assert submission.cluster is not None
    cluster = Cluster.connect(submission.cluster)
    here, there = version("ray"), cluster.ray_version()
    if here != there:
        raise InvalidInput(f"cluster: {cluster.address} runs Ray {there}, and this machine has {here}; both must agree")
    if options.scale_to is None and options.wait_for_nodes is None:  # else they may come
        shares = options.shares
        cluster.check_resources(_number(shares.cpus_per_trial, 1.0), _number(shares.gpus_per_trial, 0.0))
    for job in cluster.jobs():
        if job.sweep == sweep and not job.is_over:
            raise InvalidInput(f"sweep: {sweep!r} is being run already on {cluster.address} ({_who(job)})")
    for_it = ["--owner", submission.owner, "--ray-address", "auto", "--submitted-to", cluster.address]
    program = ["python", "-m", "sweeper.cluster_entry", *words_there, *handed_on, *for_it]
    with tempfile.TemporaryDirectory(prefix="sweeper-submission-") as folder:
        write_submission(Path(folder), spec_text, files)
        job = cluster.submit(sweep, submission.owner, Path(folder), words(program))
    print(f"{sweep}: submitted to {cluster.address} as {job.id}; it runs there whether this machine is on or not.")
    return ExitCode.GOOD if submission.detach else _follow(cluster, job)


def flags_handed_on(given: Mapping[str, Any]) -> list[str]:
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


def status_on_cluster(address: str, sweep: str | None, watch: bool, as_json: bool) -> int:
    """Runs `sweeper status [SWEEP] --cluster URL`; returns the exit code."""
    if watch:
        raise InvalidInput("--watch: on a cluster, sweeper logs shows what a sweep says as it says it")
    cluster = Cluster.connect(address)
    if sweep:
        jobs = [cluster.newest(sweep)]
    else:
        newest: dict[str, Job] = {}
        for job in cluster.jobs():
            newest.setdefault(job.sweep, job)
        jobs = list(newest.values())
    if as_json:
        print(json.dumps([asdict(job) for job in jobs], indent=1))
    elif sweep:
        (job,) = jobs
        print(f"{job.sweep}: {_state(job)} on {cluster.address} ({_who(job)})")
        print(_last_line(cluster.log(job.id)) or job.message)
    elif jobs:
        rows = [[job.sweep, _state(job), job.owner, job.submitted_at, job.id] for job in jobs]
        print(text_table(["sweep", "state", "owner", "submitted", "job"], rows))
    else:
        print(f"No sweep was launched on {cluster.address}.")
    return ExitCode.GOOD


@command("sweeper logs lenet_options --cluster http://HOST:8265")
@click.argument("sweep", metavar="SWEEP", help="a sweep that was launched there")
@cluster_option(required=True)
def logs(sweep: str, cluster: str) -> int:
    """Prints the output of a sweep on a cluster until it ends."""
    there = Cluster.connect(cluster)
    return _follow(there, there.newest(sweep))


def stop_on_cluster(address: str, sweep: str) -> int:
    """Runs `sweeper stop SWEEP --cluster URL`; returns the exit code."""
    cluster = Cluster.connect(address)
    job = cluster.newest(sweep)
    if job.is_over:
        print(f"{job.sweep} does not run: {_state(job)}.")
        return ExitCode.GOOD
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
    return ExitCode.GOOD


def _follow(cluster: Cluster, job: Job) -> int:
    """Shows what the job prints; Ctrl-C ends only the showing."""
    try:
        job = cluster.follow(job, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        where = f"{job.sweep} --cluster {cluster.address}"
        print(f"\n{job.sweep} goes on. To look again: sweeper logs {where}; to end it: sweeper stop {where}")
        return ExitCode.INTERRUPTED
    if job.exit_code is not None:
        return job.exit_code
    print(f"{job.sweep}: {_state(job)}. {job.message}".rstrip())
    return ExitCode.INTERRUPTED if job.state == "STOPPED" else ExitCode.SOME_FAILED


def _state(job: Job) -> str:
    if job.state == "FAILED":
        return REASONS.get(job.exit_code or 0, "failed")
    return STATES.get(job.state, job.state)


def _who(job: Job) -> str:
    return f"job {job.id} of {job.owner}, submitted {job.submitted_at}"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
