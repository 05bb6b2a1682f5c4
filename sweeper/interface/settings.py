"""How a launch is carried out, told by keyword: the options of the command line, by the same names and rules."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import click

from sweeper.cli.commands.launch import launch as launch_command
from sweeper.cli.options import LaunchOptions, Shares, Submission
from trainers.errors import InvalidInput, nearest


class LaunchSettings(TypedDict, total=False):
    """The settings of a launch, as `sweeper launch --help` explains them; what is left out is as it says there."""

    data_dir: str | Path
    tracking: str  # sqlite:///FILE, http://HOST:PORT, postgresql://…
    tracking_optional: bool
    cpus_per_trial: float | str  # a number, or "auto"
    gpus_per_trial: float | str
    max_parallel: int
    ray_address: str
    scale_to: int
    wait_for_nodes: float | str  # seconds, or such as "15m"
    save_seconds: float
    epoch_timeout: float
    max_retries: int
    local: bool  # one stage after the other in this process, without Ray
    download: bool
    despite_memory: bool
    owner: str
    allow_plugins: bool  # run the code of the spec's plug-ins; without it only what was agreed to before


SHARES = tuple(field.name for field in fields(Shares))


def launch_options(given: Mapping[str, Any]) -> LaunchOptions:
    """The options of a launch that nobody is asked about. Raises InvalidInput that names the setting."""
    if strange := sorted(given.keys() - LaunchSettings.__annotations__.keys()):
        known = LaunchSettings.__annotations__
        raise InvalidInput("\n".join(f"{name}: no setting of a launch{nearest(name, known)}" for name in strange))
    said = {name: _checked(name, value) for name, value in given.items() if value is not None}
    owner = said.pop("owner", "unknown")
    shares = Shares(**{name: said.pop(name, None) for name in SHARES})
    silent = {field.name: None for field in fields(LaunchOptions)}
    quiet = {"despite_memory": False, "allow_plugins": False, "ask_above": 0.0, "yes": True}
    submission = Submission(cluster=None, submitted_to="", detach=False, owner=owner)
    return LaunchOptions(**{**silent, **quiet, **said, "shares": shares, "submission": submission})


def _checked(name: str, value: Any) -> Any:
    """The value as the option of that name on the command line takes it."""
    option = _command_line()[name]
    if isinstance(option.type, click.types.BoolParamType) or option.is_flag:
        if not isinstance(value, bool):
            raise InvalidInput(f"{name}: true or false, not {value!r}")
        return value
    try:
        return option.type.convert(str(value), option, None)
    except click.BadParameter as error:
        raise InvalidInput(f"{name}: {error.message}") from None


@cache
def _command_line() -> dict[str, click.Option]:
    options = [one for one in launch_command.params if isinstance(one, click.Option)]
    return {str(option.name): option for option in options}


@contextlib.contextmanager
def said(progress: bool) -> Iterator[None]:
    """Lets a launch say how far it is, or nothing."""
    if progress:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
