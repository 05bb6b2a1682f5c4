"""What a launch says and asks where its spec is not the one that was launched last under this name."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.labels import arm_labels
from sweeper.cli.command import answered_yes, may_ask
from sweeper.launch.sweep import PlantedSweep
from sweeper.search.spec_versions import Versions, counted_arms
from trainers.errors import InvalidInput
from trainers.readable import counted


@dataclass(frozen=True)
class Change:
    """The change from a sweep's present version to the one that a launch makes."""

    lines: tuple[str, ...]  # what changes, in words; none where nothing does
    number: int
    moves: bool  # whether there is another set of trials afterwards


def change_of(before: Versions, after: Versions, planted: PlantedSweep) -> Change:
    """The change that a launch makes to a sweep: trials that are new, that are kept, that no longer belong."""
    if not before.present or before.present == after.present:
        return Change((), after.present, False)
    name = repr(before.folder.name)
    if after.present in before.numbers:
        first = after[after.present].first_launched
        since = f", first launched {first[:16].replace('T', ' ')} UTC" if first else ""
        said, new_is = f"spec of {name} changed back (version {after.present}{since})", "again"
    else:
        said, new_is = f"spec of {name} changed (version {after.present})", "new"
    recipes = {trial.recipe.content_hash(): trial.recipe for trial in planted.forest.trials}
    labels = dict(zip(recipes, arm_labels(list(recipes.values())), strict=True))
    try:
        old = before.members(before.present)
    except InvalidInput as error:
        return Change((f"{said}; what belonged to version {before.present} cannot be told: {error}",),
                      after.present, True)  # fmt: skip
    new = [label for found, label in labels.items() if found not in old]
    gone = [member.label for found, member in old.items() if found not in labels]
    left = sum(planted.steering.search.left()) if planted.steering.search else 0
    parts = [
        counted_arms(new, new_is),
        f"{len(labels) - len(new):,} kept",
        f"{len(gone):,} no longer belong{'s' if len(gone) == 1 else ''}"
        + (f": {counted_arms(gone).partition(': ')[2]}" if gone else ""),
        *([f"its search asks for {counted(left, 'point')} at most, perhaps these"] if left else []),
    ]
    lines = [f"{said}: {'; '.join(parts)}"]
    if gone:
        lines.append(f"What no longer belongs stays stored and tracked: --version {before.present} shows it.")
    return Change(tuple(lines), after.present, bool(new or gone or left))


def agreed_to(change: Change, yes: bool) -> bool:
    """Prints what changes and asks, where a question can be asked; returns whether to go on."""
    if not change.lines:
        return True
    print(*change.lines, sep="\n", flush=True)
    if not change.moves:
        return True
    if may_ask(yes):
        return answered_yes(f"Make version {change.number} the present one?")
    if not yes:
        print("There is no terminal to ask at, so it goes on.", flush=True)
    return True
