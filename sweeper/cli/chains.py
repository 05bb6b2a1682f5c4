"""Chains: several sweeps launched one after the other, and reported together. What they share is trained once."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Sequence

from search_spaces.chains import Chain, Linked, read_chain
from search_spaces.spec import Spec
from sweeper.cli.command import ExitCode
from sweeper.cli.hints import storage_flag
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import Place
from trainers.errors import InvalidInput


def launch_chain(name: str, linked: Linked, storage: Place, launch: Callable[[Spec], int]) -> int:
    """Launches the sweeps of a chain in turn, whether or not one fails; returns the exit code.

    `name`: what the command line called it, as a report is to be asked for.
    """
    codes: dict[str, int] = {}
    stopped = False
    for note in linked.notes:
        print(note)
    for number, spec in enumerate(linked.specs, 1):
        print(f"\n[{number}/{len(linked.specs)}] {spec.name}", flush=True)
        try:
            codes[spec.name] = launch(spec)
        except InvalidInput as error:
            for line in str(error).splitlines():
                print(f"sweeper: error: {spec.name}: {line}", file=sys.stderr)
            codes[spec.name] = ExitCode.WRONG_INPUT
        stopped = codes[spec.name] == ExitCode.INTERRUPTED
        if codes[spec.name] == ExitCode.GOOD:  # it may have completed before it could be stopped
            stopped = SweepFolder(storage, spec.name).asked_to_stop() is not None
        if stopped:
            break
    complete = [sweep for sweep, code in codes.items() if code == ExitCode.GOOD]
    print(f"\n{linked.chain.name}: {len(complete)} of {len(linked.specs)} sweeps are complete.")
    if stopped and len(complete) < len(linked.specs):
        print("To go on with all of them: the same command again.")
        return ExitCode.INTERRUPTED
    if bad := [sweep for sweep in codes if sweep not in complete]:
        print(f"Not complete: {', '.join(bad)}.")
    print(f"Report:   sweeper report {shlex.quote(name)}{storage_flag(storage)} -o report")
    return max(codes.values())


def sweeps_of(storage: Place, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The sweeps that these names mean, chains written out, and those of a chain that were not launched here.

    A name that was launched as a sweep is that sweep. Raises InvalidInput for a chain of which no sweep was launched.
    """
    launched = SweepFolder.names(storage)
    found: list[str] = []
    missing: list[str] = []
    for name in names:
        chain = None if name in launched else _chain(name)
        if chain is None:
            found.append(name)
            continue
        there = [sweep for sweep in chain.sweep_names() if sweep in launched]
        if not there:
            raise InvalidInput(f"sweep: no sweep of {name!r} was launched in {storage}")
        found += there
        missing += [sweep for sweep in chain.sweep_names() if sweep not in launched]
    return list(dict.fromkeys(found)), list(dict.fromkeys(missing))


def called(storage: Place, names: Sequence[str]) -> tuple[str, str]:
    """The name and description of the chain, where one chain and nothing else is named; else empty."""
    if len(names) != 1 or names[0] in SweepFolder.names(storage) or not (chain := _chain(names[0])):
        return "", ""
    return chain.name, chain.description


def check_is_no_chain(storage: Place, name: str) -> None:
    """Raises InvalidInput where one sweep is wanted, and this names a chain of several, saying what goes on with it."""
    if name not in SweepFolder.names(storage) and (chain := _chain(name)):
        raise InvalidInput(
            f"sweep: {name!r} is a chain of {len(chain.sweeps)} sweeps: the command that launched it, given again, "
            f"goes on with all of them; or name one of {', '.join(chain.sweep_names())}"
        )


def _chain(name: str) -> Chain | None:
    try:
        return read_chain(name)
    except InvalidInput:
        return None  # it is the name of a sweep, then
