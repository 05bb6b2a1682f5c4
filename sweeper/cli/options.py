"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import Any

from trainers.recipe.errors import nearest


def completed(action: argparse.Action, by: Callable[..., Iterable[str]]) -> None:
    """What a shell is offered for this argument."""
    action.completer = by  # type: ignore[attr-defined]  # where argcomplete looks for it


def complete_sweeps(**line: Any) -> Iterable[str]:
    from sweeper.cli.completion import sweeps

    return sweeps(**line)


def complete_specs(**line: Any) -> Iterable[str]:
    from sweeper.cli.completion import specs

    return specs(**line)


def add_spec(parser: argparse.ArgumentParser, several: bool = False) -> None:
    what = "a YAML file, or the name of a bundled spec"
    if several:
        added = parser.add_argument("specs", metavar="SPEC", nargs="+", help=f"{what}; of several, what they share too")
    else:
        added = parser.add_argument("spec", metavar="SPEC", help=what)
    completed(added, complete_specs)
    parser.add_argument(
        "--set", metavar="field=value", action="append", default=[], dest="overrides",
        help="change a field of the spec or of its recipes, for this time (again for more)",
    )  # fmt: skip
    add_data(parser)


def add_sweep(
    parser: argparse.ArgumentParser, what: str = "a sweep that was launched", nargs: str | None = None
) -> None:
    completed(parser.add_argument("sweep", metavar="SWEEP", nargs=nargs, help=what), complete_sweeps)


def add_version(parser: argparse.ArgumentParser, sides: bool = False) -> None:
    """Which version of a sweep is shown. `sides`: of two sweeps."""
    both = "; said twice, A's and B's" if sides else ""
    parser.add_argument(
        "--version", metavar="N", type=count, action="append" if sides else "store", default=[] if sides else None,
        help=f"the version that its Nth spec made of it (default: that of the last launch{both})",
    )  # fmt: skip


def add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", metavar="limits.FIELD=value", action="append", default=[], dest="overrides",
        help="change a limit of its spec, such as limits.device_hours=2, from now on (again for more)",
    )  # fmt: skip


def add_data(parser: argparse.ArgumentParser, again: bool = False) -> None:
    default = "as it was launched last" if again else "the variable SWEEPER_DATA_DIR"
    parser.add_argument(
        "--data-dir", metavar="DIR", default=None if again else os.environ.get("SWEEPER_DATA_DIR"),
        help=f"a folder with the data sets, in torchvision's layout (default: {default})",
    )  # fmt: skip


def add_resources(parser: argparse.ArgumentParser, again: bool = False) -> None:
    """How a launch is carried out. `again`: as the last launch, so that nothing but what is said here changes it."""

    def told(default: str) -> str:
        return "(default: as it was launched last)" if again else f"(default: {default})"

    add = parser.add_argument
    if again:
        add_data(parser, again)
    add_tracking(parser, again)
    add(
        "--tracking-optional", action=argparse.BooleanOptionalAction,
        help="start although the tracking server does not answer; catch up later",
    )  # fmt: skip
    add_shares(parser, again)
    add(
        "--ray-address", metavar="HOST:PORT", default=None if again else os.environ.get("RAY_ADDRESS"),
        help=f"join this Ray cluster {told('start Ray on this machine alone')}; the storage must be a folder or bucket "
        "that all share",
    )  # fmt: skip
    add(
        "--save-seconds", metavar="S", type=seconds,
        help=f"save stages on their way that often; a killed worker loses no more {told('30')}",
    )  # fmt: skip
    add(
        "--epoch-timeout", metavar="S", type=seconds,
        help="kill a worker that has finished no epoch for so long, and go on from what it saved; 0: never "
        + told("20 times the longest epoch of such a stage, and at least 300"),
    )  # fmt: skip
    add(
        "--max-retries", metavar="N", type=count_from_zero,
        help=f"try a stage again that often after faults that may pass, such as a lost worker {told('3')}",
    )  # fmt: skip
    add("--local", action=argparse.BooleanOptionalAction, help="one stage after the other in this process, without Ray")
    add("--download", action=argparse.BooleanOptionalAction, help="download data that are not there (default: do)")
    add(
        "--ask-above", metavar="HOURS", type=hours, default=1.0,
        help="at a terminal, ask before a launch that is estimated at more device-hours (default: %(default)g)",
    )  # fmt: skip
    add_yes(parser)


def add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="never ask")


def add_shares(parser: argparse.ArgumentParser, again: bool = False) -> None:
    """How trials share what they run on."""

    def told(default: str) -> str:
        return "(default: as it was launched last)" if again else f"(default: {default})"

    parser.add_argument(
        "--cpus-per-trial", metavar="F", type=share_or_auto,
        help=f"CPUs, and threads, of a trial; auto shares out the cores {told('1, and auto on GPUs')}",
    )  # fmt: skip
    parser.add_argument(
        "--gpus-per-trial", metavar="F", type=share_none_or_auto,
        help=f"GPUs of a trial; 0.25 packs four on one, auto as many as its memory takes {told('auto')}",
    )  # fmt: skip
    parser.add_argument(
        "--max-parallel", metavar="N", type=count,
        help=f"trials at once {told('as many as the CPUs and GPUs take')}",
    )  # fmt: skip


def add_cluster(parser: argparse.ArgumentParser, submits: bool = False, needed: bool = False) -> None:
    default = os.environ.get("SWEEPER_CLUSTER") or None
    parser.add_argument(
        "--cluster", metavar="URL", default=default, required=needed and default is None,
        help="on the Ray cluster whose dashboard is there, http://HOST:8265; folders and addresses are then those of "
        "its machines (the variable SWEEPER_CLUSTER sets it too)",
    )  # fmt: skip
    if submits:
        # Said by a command that submits to the one that runs there, which tells its user how to go on from here.
        parser.add_argument("--submitted-to", metavar="URL", default="", help=argparse.SUPPRESS)
        parser.add_argument("--detach", action="store_true", help="with --cluster: do not wait for what it says")
        parser.add_argument(
            "--owner", metavar="NAME", default=os.environ.get("SWEEPER_OWNER", os.environ.get("USER", "unknown")),
            help="whose sweep it is (default: %(default)s; the variable SWEEPER_OWNER sets another)",
        )  # fmt: skip


def add_tracking(parser: argparse.ArgumentParser, again: bool = False) -> None:
    default = "as it was launched last" if again else "mlflow.db in the storage"
    parser.add_argument(
        "--tracking", metavar="URI", default=None if again else os.environ.get("MLFLOW_TRACKING_URI"),
        help=f"where MLflow is: sqlite:///FILE, http://HOST:PORT, postgresql://… (default: {default})",
    )  # fmt: skip


# Those of `sweeper.stages.status.Status`, which takes long to import; a test holds them equal.
STATUSES = ("PENDING", "RUNNING", "COMPLETED", "STOPPED_EARLY", "FAILED")


def share(text: str) -> float:
    value = share_or_none(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def share_or_none(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or auto, not {text!r}") from None
    if not 0 <= value < 10_000:
        raise argparse.ArgumentTypeError(f"must be a number from 0, not {text}")
    if value > 1 and value != int(value):
        raise argparse.ArgumentTypeError(f"above 1 it must be a whole number, not {text}")
    return value


def share_or_auto(text: str) -> float | str:
    return text if text == "auto" else share(text)


def share_none_or_auto(text: str) -> float | str:
    return text if text == "auto" else share_or_none(text)


def hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of hours, not {text!r}") from None
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"must be a number of hours from 0, not {text}")
    return value


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not {text!r}") from None
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"must be from 0 to 86400 seconds, not {text}")
    return value


def days(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of days, not {text!r}") from None
    if not 0 <= value < 100_000:
        raise argparse.ArgumentTypeError(f"must be a number of days from 0, not {text}")
    return value


def status_name(text: str) -> str:
    if text.upper() not in STATUSES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one of {', '.join(STATUSES)}{nearest(text.upper(), STATUSES)}"
        )
    return text.upper()


def count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def count_from_zero(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, not {text!r}")
    return int(text)


def port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, not {text!r}")
    return int(text)
