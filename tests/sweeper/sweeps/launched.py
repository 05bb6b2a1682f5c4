"""Commands on sweeps that were launched: run in this process, or in one that dies at a point of them."""

import json
import signal
from pathlib import Path
from typing import Any

from sweeper.cli.main import main
from sweeper.records.bucket_store import open_store
from sweeper.tracking.mlflow_client import client
from tests.sweeper.processes import start_sweeper
from tests.waiting import ending_of

FIRST = """\
name: tiny
description: Two options.
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, selection: greedy, width: 0.1,
         slot_epochs: 1, finetune_epochs: 1}
axes: {options: [2, 4]}
seeds: 2
"""
SECOND = FIRST.replace("[2, 4]", "[2, 8]")
OTHER = FIRST.replace("name: tiny", "name: other").replace("[2, 4]", "[2]").replace("seeds: 2", "seeds: 1")
SEARCH = """\
name: searched
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, selection: greedy, width: 0.1,
         slot_epochs: 1, finetune_epochs: 0}
axes: {sharing: [none, layer]}
search: {sampler: random, trials: 2, space: {options: {choice: [2, 4]}}}
"""
DIES = """\
import os, signal, sys
import {module} as module
def die(*arguments, **named): os.kill(os.getpid(), signal.SIGKILL)
module.{name} = die
from sweeper.cli.main import main
sys.exit(main())
"""


def said(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and messages of a command run in this process."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def wrong(capsys, *arguments: object) -> str:
    """The message for wrong input."""
    code, _, message = said(capsys, *arguments)
    assert code == 2 and message.startswith("sweeper: error: ") and "Traceback" not in message, message
    return message.removeprefix("sweeper: error: ").strip()


def killed_at(module: str, name: str, out: Path, *arguments: object) -> None:
    """Runs a command that is SIGKILLed where it would call this."""
    process = start_sweeper(*arguments, out=out, program=DIES.format(module=module, name=name))
    assert ending_of(process) == -signal.SIGKILL, out.read_text()


def trials_of(capsys, storage: Path, sweep: str, *flags: object) -> list[dict[str, Any]]:
    """What `sweeper runs` says of the trials."""
    code, out, message = said(capsys, "runs", sweep, "--storage", storage, "--json", *flags)
    assert code == 0, message
    return json.loads(out)


def stages_in(storage: Path) -> set[str]:
    """The keys of all finished stages."""
    return {stage.key for stage in open_store(storage).stages()}


def experiments(storage: Path) -> dict[str, int]:
    """MLflow's experiments outside its trash, and how many runs each has."""
    mlflow = client(f"sqlite:///{storage}/mlflow.db")
    found = [one for one in mlflow.search_experiments() if one.name != "Default"]
    return {one.name: len(mlflow.search_runs([one.experiment_id])) for one in found}
