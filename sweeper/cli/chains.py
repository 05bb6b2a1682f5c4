"""Chains: several sweeps launched one after the other, and reported together. What they share is trained once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from search_spaces.chains import Chain, Linked, read_chain
from search_spaces.spec import Spec
from sweeper.cli.command import ExitCode
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import Place
from trainers.errors import InvalidInput


def launch_chain(linked: Linked, launch: Callable[[Spec], int]) -> int:
    """Launches the sweeps of a chain in turn, whether or not one fails; returns the exit code."""
    codes: dict[str, int] = {}
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
        if codes[spec.name] == ExitCode.INTERRUPTED:
            return ExitCode.INTERRUPTED
    bad = [name for name, code in codes.items() if code != ExitCode.GOOD]
    print(f"\n{linked.chain.name}: {len(codes) - len(bad)} of {len(codes)} sweeps are complete.")
    if bad:
        print(f"Not complete: {', '.join(bad)}.")
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


def _chain(name: str) -> Chain | None:
    try:
        return read_chain(name)
    except InvalidInput:
        return None  # it is the name of a sweep, then
