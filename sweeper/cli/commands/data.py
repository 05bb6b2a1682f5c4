"""`sweeper data fetch` and `sweeper data check`: the files of data sets, downloaded and verified before a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.text import text_table
from trainers.recipe.errors import InvalidInput, one_of

GOOD, SOME_FAILED = 0, 1


def data(options: argparse.Namespace) -> int:
    """`sweeper data fetch|check DATASET...`"""
    from trainers.data.registry import DATA_SETS

    to_download = [name for name, dataset in DATA_SETS.items() if dataset.download is not None]
    names = list(dict.fromkeys(options.datasets)) or (to_download if options.action == "check" else [])
    for name in names:
        if name not in to_download:
            raise InvalidInput(one_of("data set", name, to_download))
    if not names:
        raise InvalidInput(f"data set: name those to fetch, of {', '.join(to_download)}")
    if options.data_dir is None:
        raise InvalidInput("--data-dir: name the folder that the data sets are in, or go to")
    folder = Path(options.data_dir).expanduser().absolute()
    if options.action == "check":
        return _check(names, folder)
    return _fetch(names, folder, options.mirror.rstrip("/") if options.mirror else None)


def _fetch(names: list[str], folder: Path, mirror: str | None) -> int:
    from trainers.data.splits import fetch_data

    for name in names:
        fetched = fetch_data(name, folder, mirror)
        print(f"{name}: {'downloaded to' if fetched else 'already in'} {folder}, every file as published", flush=True)
    return GOOD


def _check(names: list[str], folder: Path) -> int:
    from trainers.data.splits import check_data

    rows, good = [], True
    for name in names:
        try:
            check_data(name, folder, download=False)
            rows.append([name, "complete", ""])
        except InvalidInput as error:
            rows.append([name, "incomplete", str(error)])
            good = False
    print(text_table(["data set", "state", "why"], rows))
    return GOOD if good else SOME_FAILED
