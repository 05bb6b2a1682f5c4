"""`sweeper data fetch` and `sweeper data check`: the files of data sets, downloaded and verified before a sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from sweeper.cli.command import ExitCode, OneOf, command
from sweeper.cli.options import data_option
from sweeper.text import text_table
from trainers.data.files import DamagedData
from trainers.errors import InvalidInput, one_of


@command("sweeper data fetch mnist cifar10 --data-dir /data")
@click.argument("action", metavar="fetch|check", type=OneOf(["fetch", "check"]), help="what to do")
@click.argument("datasets", metavar="[DATASET]...", nargs=-1, help="which (check: all, unless some are named)")
@data_option()
@click.option("--mirror", metavar="URL", help="fetch URL/DATASET/FILE instead of where it is published")
def data(action: str, datasets: Sequence[str], data_dir: str | None, mirror: str | None) -> int:
    """Downloads data sets, or looks whether they are there."""
    from trainers.data.registry import DATA_SETS, IMAGE_FOLDER

    to_download = [name for name, dataset in DATA_SETS.items() if dataset.download is not None]
    names = list(dict.fromkeys(datasets)) or (to_download if action == "check" else [])
    known = [*to_download, IMAGE_FOLDER] if action == "check" else to_download
    for name in names:
        if name not in known:
            raise InvalidInput(one_of("data set", name, known))
    if not names:
        raise InvalidInput(f"data set: name those to fetch, of {', '.join(to_download)}")
    if data_dir is None:
        raise InvalidInput(
            "--data-dir: name the folder that the data sets are in, or go to (or set the variable SWEEPER_DATA_DIR)"
        )
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
    rows, good = [], True
    for name in names:
        try:
            found = _found(name, folder)
            rows.append([name, "complete", *found[:1]])
            rows += [["", "", line] for line in found[1:]]
        except InvalidInput as error:
            first, *more = str(error).splitlines()
            rows += [[name, "damaged" if isinstance(error, DamagedData) else "incomplete", first]]
            rows += [["", "", line] for line in more]
            good = False
    print(text_table(["data set", "state", "why"], rows))
    return ExitCode.GOOD if good else ExitCode.SOME_FAILED


def _found(name: str, folder: Path) -> list[str]:
    """Lines on data that are complete. Raises DataError. Of a folder of images each image is decoded, once."""
    from trainers.data.digests import check_data
    from trainers.data.image_check import check_images
    from trainers.data.registry import IMAGE_FOLDER

    if name != IMAGE_FOLDER:
        check_data(name, folder, download=False)
        return [""]
    images = check_images(folder, tell=lambda line: print(f"sweeper: {line}", file=sys.stderr, flush=True))
    return [str(images), *filter(None, [images.left_out])]
