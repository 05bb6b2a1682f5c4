"""Arguments and options that several commands take, each said once; what belongs together arrives as one object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import click

from sweeper.cli import completion, values

Function = TypeVar("Function", bound=Callable[..., Any])
Declaration = Callable[[Function], Function]  # adds a parameter to a command

AS_LAUNCHED = "as it was launched last"


def gathered(parameter: str, kind: type[Any], *declared: Declaration[Any]) -> Declaration[Any]:
    """Adds options to a command, which gets what they say in one parameter, an object of this dataclass."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def gather(*arguments: Any, **said: Any) -> Any:
            whole = kind(**{field.name: said.pop(field.name) for field in fields(kind)})
            return function(*arguments, **said, **{parameter: whole})

        added: Callable[..., Any] = gather
        for declare in reversed(declared):
            added = declare(added)
        return added

    return add


def given(context: click.Context) -> dict[str, Any]:
    """The parameters that the command line itself states, without defaults and the environment."""
    source = context.get_parameter_source
    return {
        name: value for name, value in context.params.items() if source(name) is click.core.ParameterSource.COMMANDLINE
    }


# Which sweeps


def spec_argument(help: str, several: bool = False) -> Declaration[Any]:
    """Adds the argument SPEC, or several of them."""
    if several:
        return click.argument(
            "specs", metavar="SPEC...", nargs=-1, required=True, shell_complete=completion.specs, help=help
        )
    return click.argument("spec", metavar="SPEC", shell_complete=completion.specs, help=help)


def sweep_argument(help: str = "a sweep that was launched", optional: bool = False) -> Declaration[Any]:
    """Adds the argument SWEEP, a name."""
    metavar = "[SWEEP]" if optional else "SWEEP"
    return click.argument("sweep", metavar=metavar, required=not optional, shell_complete=completion.sweeps, help=help)


overrides_option = click.option(
    "--set", "overrides", metavar="field=value", multiple=True,
    help="change a field of the spec or of its recipes, for this time (again for more)",
)  # fmt: skip

limits_option = click.option(
    "--set", "overrides", metavar="limits.FIELD=value", multiple=True,
    help="change a limit of its spec, such as limits.device_hours=2, from now on (again for more)",
)  # fmt: skip


plugins_option = click.option(
    "--allow-plugins", is_flag=True,
    help="run the code of the spec's plug-ins without asking, now and whenever these very files are asked for",
)  # fmt: skip


# Where things lie

storage_option = click.option(
    "--storage", metavar="PLACE", default="sweeper-storage", envvar="SWEEPER_STORAGE",
    shell_complete=completion.folders,
    help="where results lie: a folder, or a bucket such as s3://BUCKET/PREFIX (default: sweeper-storage; the variable "
    "SWEEPER_STORAGE sets another)",
)  # fmt: skip


def data_option(again: bool = False) -> Declaration[Any]:
    """Adds --data-dir. `again`: as the last launch had it, whatever the environment says now."""
    default = AS_LAUNCHED if again else "the variable SWEEPER_DATA_DIR"
    return click.option(
        "--data-dir", metavar="DIR", envvar=None if again else "SWEEPER_DATA_DIR", shell_complete=completion.folders,
        help=f"a folder with the data sets, in torchvision's layout (default: {default})",
    )  # fmt: skip


def tracking_option(again: bool = False) -> Declaration[Any]:
    """Adds --tracking. `again`: as the last launch had it, whatever the environment says now."""
    default = AS_LAUNCHED if again else "mlflow.db in the storage"
    return click.option(
        "--tracking", metavar="URI", envvar=None if again else "MLFLOW_TRACKING_URI", callback=values.tracking,
        help=f"where MLflow is: sqlite:///FILE, http://HOST:PORT, postgresql://… (default: {default})",
    )  # fmt: skip


def out_option(help: str, metavar: str = "DIR") -> Declaration[Any]:
    """Adds -o, --out: the folder that a command fills, or what else it writes."""
    return click.option("-o", "--out", metavar=metavar, required=True, shell_complete=completion.folders, help=help)


def version_option(sides: bool = False) -> Declaration[Any]:
    """Adds --version: which version of a sweep is shown. `sides`: of two sweeps, as `versions`."""
    both = "; said twice, A's and B's" if sides else ""
    return click.option(
        "--version", *(["versions"] if sides else []), metavar="N", type=values.count, multiple=sides,
        help=f"the version that its Nth spec made of it (default: that of the last launch{both})",
    )  # fmt: skip


def yes_option() -> Declaration[Any]:
    """Adds --yes."""
    return click.option("--yes", is_flag=True, help="never ask")


def json_option(help: str = "as JSON") -> Declaration[Any]:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help=help)


# How trials share what they run on


@dataclass(frozen=True)
class Shares:
    """The share of a machine that a trial gets, and how many run at once; None where nothing is said."""

    cpus_per_trial: float | str | None
    gpus_per_trial: float | str | None
    max_parallel: int | None

    def said(self) -> dict[str, Any]:
        """The shares that are given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def shares_options(again: bool = False) -> Declaration[Any]:
    """Adds --cpus-per-trial, --gpus-per-trial, --max-parallel, as `shares`."""
    return gathered(
        "shares", Shares,
        click.option(
            "--cpus-per-trial", metavar="F", type=values.share_or_auto,
            help=f"CPUs, and threads, of a trial; auto shares out the cores {_default('1, and auto on GPUs', again)}",
        ),
        click.option(
            "--gpus-per-trial", metavar="F", type=values.share_none_or_auto,
            help=f"GPUs of a trial; 0.25 packs four on one, auto as many as its memory takes {_default('auto', again)}",
        ),
        click.option(
            "--max-parallel", metavar="N", type=values.count,
            help=f"trials at once {_default('as many as the CPUs and GPUs take', again)}",
        ),
    )  # fmt: skip


# On a cluster


@dataclass(frozen=True)
class Submission:
    """The cluster that a launch is submitted to, if any, and its owner."""

    cluster: str | None
    submitted_to: str
    detach: bool
    owner: str


def cluster_option(required: bool = False) -> Declaration[Any]:
    """Adds --cluster."""
    return click.option(
        "--cluster", metavar="URL", envvar="SWEEPER_CLUSTER", required=required,
        help="on the Ray cluster whose dashboard is there, http://HOST:8265; folders and addresses are then those of "
        "its machines (the variable SWEEPER_CLUSTER sets it too)",
    )  # fmt: skip


submission_options = gathered(
    "submission", Submission,
    cluster_option(),
    # Said by a command that submits to the one that runs there, which tells its user how to go on from here.
    click.option("--submitted-to", metavar="URL", default="", hidden=True),
    click.option("--detach", is_flag=True, help="with --cluster: do not wait for what it says"),
    click.option(
        "--owner", metavar="NAME", envvar=["SWEEPER_OWNER", "USER"], default="unknown",
        help="whose sweep it is (default: the variable SWEEPER_OWNER, else USER)",
    ),
)  # fmt: skip


# How a launch is carried out


@dataclass(frozen=True)
class LaunchOptions:
    """The options of a launch; None where neither the command line nor the environment gives one."""

    data_dir: str | None
    tracking: str | None
    tracking_optional: bool | None
    shares: Shares
    ray_address: str | None
    scale_to: int | None
    wait_for_nodes: float | None
    save_seconds: float | None
    epoch_timeout: float | None
    max_retries: int | None
    local: bool | None
    download: bool | None
    despite_memory: bool
    allow_plugins: bool
    ask_above: float
    yes: bool
    submission: Submission


def launch_options(again: bool = False) -> Declaration[Any]:
    """Adds all options of a launch, as `options`. `again`: only what is said here changes it."""
    return gathered(
        "options", LaunchOptions,
        data_option(again),
        tracking_option(again),
        click.option(
            "--tracking-optional/--no-tracking-optional", default=None,
            help="start although the tracking server does not answer; catch up later",
        ),
        shares_options(again),
        click.option(
            "--ray-address", metavar="HOST:PORT", envvar=None if again else "RAY_ADDRESS", type=values.ray_address,
            help=f"join this Ray cluster {_default('start Ray on this machine alone', again)}; the storage must be a "
            "folder or bucket that all share",
        ),
        click.option(
            "--scale-to", metavar="N", type=values.count,
            help="on a cluster that grows by what waits for room: let so many trials wait for it, or run, at once "
            + _default("as many as there is room for", again),
        ),
        click.option(
            "--wait-for-nodes", metavar="TIME", type=values.duration,
            help="how long to wait for a node that holds a trial, such as 15m, before giving up with exit code 3 "
            + _default("15m, but at the start only with --scale-to", again),
        ),
        click.option(
            "--save-seconds", metavar="S", type=values.seconds,
            help=f"save stages on their way that often; a killed worker loses no more {_default('30', again)}",
        ),
        click.option(
            "--epoch-timeout", metavar="S", type=values.seconds,
            help="kill a worker that has finished no epoch for so long, and go on from what it saved; 0: never "
            + _default("20 times the longest epoch of such a stage, and at least 300", again),
        ),
        click.option(
            "--max-retries", metavar="N", type=values.count_from_zero,
            help="try a stage again that often after faults that may pass, such as a lost worker, with no further "
            f"epoch saved between them {_default('3', again)}",
        ),
        click.option(
            "--local/--no-local", default=None, help="one stage after the other in this process, without Ray"
        ),
        click.option(
            "--download/--no-download", default=None, help="download data that are not there (default: do)"
        ),
        click.option(
            "--despite-memory", is_flag=True,
            help="start although one trial is estimated at more memory than this machine, its GPU, or a node, has",
        ),
        plugins_option,
        click.option(
            "--ask-above", metavar="HOURS", type=values.hours, default=1.0,
            help="at a terminal, ask before a launch that is estimated at more device-hours (default: 1)",
        ),
        yes_option(),
        submission_options,
    )  # fmt: skip


def _default(default: str, again: bool) -> str:
    return f"(default: {AS_LAUNCHED if again else default})"
