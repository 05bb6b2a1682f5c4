"""`sweeper data fetch` and `sweeper data check`: the files of data sets, downloaded and verified before a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sweeper.cli.command import ExitCode, OneOf, command
from sweeper.cli.options import data_option
from sweeper.text import text_table
from trainers.errors import InvalidInput, one_of


@command("sweeper data fetch mnist cifar10 --data-dir /data")
@click.argument("action", metavar="fetch|check", type=OneOf(["fetch", "check"]), help="what to do")
@click.argument("datasets", metavar="[DATASET]...", nargs=-1, help="which (check: all, unless some are named)")
@data_option()
@click.option("--mirror", metavar="URL", help="fetch URL/DATASET/FILE instead of where it is published")
def data(action: str, datasets: Sequence[str], data_dir: str | None, mirror: str | None) -> int:
    """Downloads data sets, or looks whether they are there."""
    from trainers.data.registry import DATA_SETS

    to_download = [name for name, dataset in DATA_SETS.items() if dataset.download is not None]
    names = list(dict.fromkeys(datasets)) or (to_download if action == "check" else [])
    for name in names:
        if name not in to_download:
            raise InvalidInput(one_of("data set", name, to_download))
    if not names:
        raise InvalidInput(f"data set: name those to fetch, of {', '.join(to_download)}")
    if data_dir is None:
        raise InvalidInput("--data-dir: name the folder that the data sets are in, or go to")
    folder = Path(data_dir).expanduser().absolute()
    if action == "check":
        return _check(names, folder)
    return _fetch(names, folder, mirror.rstrip("/") if mirror else None)


def _fetch(names: list[str], folder: Path, mirror: str | None) -> int:
    from trainers.data.digests import fetch_data

    for name in names:
        fetched = fetch_data(name, folder, mirror)
        print(f"{name}: {'downloaded to' if fetched else 'already in'} {folder}, every file as published", flush=True)
    return ExitCode.GOOD


def _check(names: list[str], folder: Path) -> int:
    from trainers.data.digests import check_data

    rows, good = [], True
    for name in names:
        try:
            check_data(name, folder, download=False)
            rows.append([name, "complete", ""])
        except InvalidInput as error:
            rows.append([name, "incomplete", str(error)])
            good = False
    print(text_table(["data set", "state", "why"], rows))
    return ExitCode.GOOD if good else ExitCode.SOME_FAILED
