"""A whole sweep as one file, for `sweeper export --sweep` and `sweeper import`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sweeper.cli.command import ExitCode
from sweeper.cli.hints import hint
from sweeper.records.sweep_folder import SweepFolder, planting
from sweeper.storage.place import Place
from sweeper.storage.tracking_address import check_open, default_address, understood
from trainers.costs.units import BYTE
from trainers.errors import InvalidInput
from trainers.readable import counted


def export_whole(folder: SweepFolder, path: Path, states: bool) -> int:
    """Writes a sweep that is not being run, with all its versions, to a file; returns the exit code."""
    from sweeper.launch.view import SweepView
    from sweeper.records.bucket_store import open_store
    from sweeper.sweeps.archive import write_archive
    from sweeper.sweeps.kept import KeptSweep
    from sweeper.sweeps.references import stages_of

    if path.is_dir():
        such = f"{path / folder.name}.zip"
        raise InvalidInput(f"--out: {path} is a folder, and a whole sweep becomes a file, such as {such}")
    if folder.is_running():
        raise InvalidInput(f"sweep: {folder.name!r} is being run ({folder.holder()}); sweeper stop ends that")
    view = SweepView(folder)
    stages = write_archive(path, KeptSweep.read(folder), stages_of(view), open_store(folder.storage), states)
    versions = counted(len(view.versions.numbers), "version")
    without = "" if states else " without their states"
    print(f"{folder.name}: {versions}, {counted(stages, 'stage')}{without}: {path} ({BYTE.print(path.stat().st_size)})")
    return ExitCode.GOOD


def import_whole(path: Path, storage: Place, name: str | None, tracking: str | None) -> int:
    """Brings the sweep of a file into a storage, under another name if given; returns the exit code."""
    from sweeper.cli.commands.mlflow import track_at_rest
    from sweeper.records.bucket_store import open_store
    from sweeper.sweeps.archive import Archive
    from sweeper.sweeps.rename import check_free, check_name

    with closing(Archive(path)) as archive:
        sweep = archive.sweep if name in (None, archive.sweep.file.name) else archive.sweep.renamed(str(name))
        check_name(sweep.file.name)
        check_free(storage, sweep.file.name)
        store = open_store(storage)
        store.prepare()
        address = understood(tracking or default_address(storage, make=True))
        check_open(address, storage)
        folder = SweepFolder(storage, sweep.file.name)
        with folder.lock(), planting(storage):
            brought = archive.bring_in(store)
            replace(sweep, file=replace(sweep.file, tracking=address)).write(folder)
    known = f"; {counted(brought.known, 'stage')} of it were there already" if brought.known else ""
    print(f"{folder.name}: every hash is right; {counted(brought.new, 'stage')} brought in{known}.")
    code = track_at_rest(folder)
    print(f"To look at it: {hint('status', folder)}")
    return code
