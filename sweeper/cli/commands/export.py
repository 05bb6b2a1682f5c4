"""`sweeper export`: trained networks of a sweep as tickets, one small file each; or all of a sweep as one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeper.cli import completion
from sweeper.cli.command import ExitCode, OneOf, command
from sweeper.cli.commands.sweeps.whole import export_whole
from sweeper.cli.options import out_option, plugins_option, storage_option, sweep_argument
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.folder import Folder
from sweeper.storage.place import storage_that_answers
from sweeper.text import text_table
from trainers.errors import InvalidInput
from trainers.readable import percent
from trainers.recipe.choices import IN_ORDER

if TYPE_CHECKING:
    from sweeper.records.trial_result import TrialResult

SAMPLED = "sampled", "mean_of_samples"


@command("sweeper export lenet_options 'K=8 GS seed 0' -o tickets")
@sweep_argument("a sweep that was launched, whose tickets are written", optional=True)
@click.argument("trials", metavar="[TRIAL]...", nargs=-1, help="trials as `sweeper runs` names them (default: all)")
@storage_option
@click.option(
    "--sweep", "whole", metavar="NAME", shell_complete=completion.sweeps,
    help="all of this sweep instead, as one file: what `sweeper import` brings into another storage",
)  # fmt: skip
@click.option(
    "--without-states", is_flag=True,
    help="with --sweep: results alone, a small file; they count as stored where they come, and have no tickets",
)  # fmt: skip
@out_option("the folder where the tickets go, or the file with --sweep", "PATH")
@click.option("--phase", type=OneOf(["last", *IN_ORDER]), default="last", help="at whose end (default: last)")
@plugins_option
def export(
    sweep: str | None,
    trials: Sequence[str],
    storage: str,
    whole: str | None,
    without_states: bool,
    out: str,
    phase: str,
    allow_plugins: bool,
) -> int:
    """Writes a ticket per trial, or a whole sweep."""
    if (sweep is None) == (whole is None):
        raise InvalidInput("sweep: name the one whose tickets are wanted, or with --sweep the one that is wanted whole")
    if whole is not None:
        return export_whole(SweepFolder.find(storage_that_answers(storage), whole), Path(out), not without_states)
    assert sweep is not None
    if without_states:
        raise InvalidInput("--without-states: goes with --sweep; a ticket is made of a state")
    from sweeper.cli.plugins.agreed import ready_plugins
    from sweeper.launch.view import SweepView
    from sweeper.records.bucket_store import open_store
    from sweeper.records.stage_record import evaluated_as
    from sweeper.records.trained import network_of, record_of, wanted_trials
    from trainers.tickets.tickets import connections, save_ticket

    place = storage_that_answers(storage)
    view = SweepView(SweepFolder.find(place, sweep))
    ready_plugins(view.spec, place, allow_plugins)
    folder = Folder(out)
    rows, sampled = [], False
    store = open_store(place)
    for result in wanted_trials(view.results, trials, sweep):
        record = record_of(store, result, phase)
        if record is None:
            if trials:
                raise InvalidInput(f"trial: {result.name!r} has no {phase} phase")
            continue
        path = _path(folder, result)
        network = network_of(store, result.trial.recipe, record)
        folder.make()
        size = save_ticket(network, result.trial.recipe, path)
        accuracy = evaluated_as(record, result.trial.recipe.evaluated_by).test_accuracy
        bits = 8 * size / connections(network)
        rows.append([result.name, f"{size:,}", f"{bits:.3f}", percent(accuracy, unit=" %"), str(path)])
        sampled |= record.phase == "slot" and result.trial.recipe.method_fields().get("evaluation") in SAMPLED
    if not rows:
        raise InvalidInput(f"sweep: no completed trial of {sweep!r} has a {phase} phase")
    print(text_table(["trial", "bytes", "bits per weight", "test accuracy", "ticket"], rows))
    if sampled:
        print(
            "Where a trial evaluates by sampling, its accuracy is of sampled networks; the ticket holds one, unsampled."
        )
    return ExitCode.GOOD


def _path(out: Path, result: TrialResult) -> Path:
    """Names can differ in what no file may be called; so the recipe's hash ends it."""
    name = re.sub(r"[^A-Za-z0-9.=]+", "-", result.name).strip("-.")
    return out / f"{name}-{result.trial.recipe.content_hash()[:8]}.safetensors"
