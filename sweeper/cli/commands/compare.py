"""`sweeper compare A B`: two sweeps, or arms, beside one another, with the differences of their means.

Of one sweep, `--axes FIELD OTHER`: whether FIELD matters more where OTHER is another.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sweeper.cli import completion
from sweeper.cli.command import ExitCode, command
from sweeper.cli.commands.sweeps.arms import MEASURES, Arm, arms_in, varying
from sweeper.cli.options import json_option, storage_option, version_option
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import Place, storage_that_answers
from sweeper.text import Difference, accuracy, points_with_interval, text_table
from trainers.errors import InvalidInput

if TYPE_CHECKING:
    from sweeper.launch.view import SweepView

LINE = 100  # characters


@dataclass(frozen=True)
class Pair:
    """Two arms that face each other."""

    first: Arm
    second: Arm

    @property
    def same_recipe(self) -> bool:
        """Whether both are the same arm, so that no difference between them means anything."""
        return self.first.recipe_hash == self.second.recipe_hash

    def differs(self) -> dict[str, tuple[Any, Any]]:
        """The fields of the recipe in which they differ."""
        first, second = self.first.facts(), self.second.facts()
        return {name: (first[name], second[name]) for name in first if first[name] != second[name]}

    def differs_as_stated(self) -> dict[str, tuple[Any, Any]]:
        """The fields in which they differ, without those that presets filled in."""
        filled = self.first.recipe.filled, self.second.recipe.filled
        return {
            name: values
            for name, values in self.differs().items()
            if any(value is not None and name not in known for value, known in zip(values, filled, strict=True))
        }


@command("sweeper compare lenet_options:'K=8 GS' lenet_options:'K=2 GS'")
@click.argument("a", metavar="A", shell_complete=completion.sweeps, help="a sweep, or an arm of one: SWEEP:ARM")
@click.argument(
    "b", metavar="[B]", required=False, shell_complete=completion.sweeps,
    help="a sweep, or an arm of one: SWEEP:ARM; not with --axes",
)  # fmt: skip
@storage_option
@click.option("--paired", is_flag=True, help="pair the trials of one seed (default: independent trials)")
@click.option(
    "--axes", nargs=2, metavar="FIELD OTHER",
    help="of one sweep: whether FIELD matters more where OTHER is another, as the difference of differences",
)  # fmt: skip
@version_option(sides=True)
@json_option()
def compare(
    a: str, b: str | None, storage: str, paired: bool, axes: tuple[str, str] | None, versions: Sequence[int],
    as_json: bool,
) -> int:  # fmt: skip
    """Prints two sweeps, or arms, beside one another."""
    if axes or b is None:
        if not axes or b is not None or len(versions) > 1:
            raise InvalidInput("compare: name A and B, or one sweep with --axes FIELD OTHER")
        return _two_axes(_view(storage_that_answers(storage), a, *versions), a, axes, paired, as_json)
    asked: list[int | None] = [*versions] * 2 if len(versions) == 1 else [*versions] or [None, None]
    if len(asked) > 2:
        raise InvalidInput(f"--version: once for both sides or once for each, not {len(asked)} times")
    if a == b and asked[0] == asked[1]:
        raise InvalidInput(f"compare: A and B are both {a!r}; name two sweeps, or arms as SWEEP:ARM")
    place = storage_that_answers(storage)
    views = [_view(place, side, version) for side, version in zip((a, b), asked, strict=True)]
    first, second = (arms_in(view, side) for view, side in zip(views, (a, b), strict=True))
    pairs, lone = _pair(first, second)
    if not pairs:
        raise InvalidInput(
            f"compare: {a!r} and {b!r} have no arm in common; name one of each "
            f"(SWEEP:ARM), such as {first[0].sweep}:{first[0].label!r}"
        )
    differences = [_differences(pair, paired) for pair in pairs]
    if as_json:
        print(json.dumps(_as_dict(pairs, differences, lone), indent=1))
    else:
        how = "trials of one seed are paired" if paired else "Welch; --paired pairs the trials of one seed"
        sides = [
            f"{letter}: {side}" + ("" if view.is_present else f", version {view.version}")
            for letter, side, view in zip("AB", (a, b), views, strict=True)
        ]
        table = _table(pairs, differences, _names(pairs, [*first, *second]))
        rest = [] if versions else [f"{view.folder.name}: {line}" for view in views for line in view.rest()]
        print(*sides, *_what_differs(pairs), "", table, "", *dict.fromkeys(rest), sep="\n")
        print(*_remarks(differences, lone, how), sep="\n")
    return ExitCode.GOOD


def _two_axes(view: SweepView, side: str, axes: tuple[str, str], paired: bool, as_json: bool) -> int:
    """Prints how much more a field matters where another one is another."""
    from sweeper.cli.commands.sweeps.two_axes import interactions, two_axes_table

    found = interactions(arms_in(view, side), *axes, paired=paired)
    if as_json:
        print(json.dumps([_jsonable(row) for row in found.rows()], indent=1))
    else:
        rest = () if view.is_present else (f"{side}: version {view.version}",)
        print(*rest, *two_axes_table(found), *([] if rest else view.rest()), sep="\n")
    return ExitCode.GOOD


def _view(storage: Place, side: str, version: int | None = None) -> SweepView:
    from sweeper.launch.view import SweepView

    return SweepView(SweepFolder.find(storage, side.partition(":")[0]), version=version)


def _pair(first: list[Arm], second: list[Arm]) -> tuple[list[Pair], list[Arm]]:
    """Who faces whom, and who faces nobody: arms that agree in all that varies in a sweep; a single arm faces all."""
    if len(first) == 1 or len(second) == 1:
        return [Pair(a, b) for a in first for b in second if a != b], []
    fields = sorted(varying(first) | varying(second))
    theirs = _told_apart(second, fields)
    pairs = [Pair(arm, theirs[what]) for what, arm in _told_apart(first, fields).items() if what in theirs]
    paired = {id(arm) for pair in pairs for arm in (pair.first, pair.second)}
    return pairs, [arm for arm in [*first, *second] if id(arm) not in paired]


def _told_apart(arms: Sequence[Arm], fields: Sequence[str]) -> dict[str, Arm]:
    """The arms by the values of some fields; without those that these fields do not tell apart."""
    found: dict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        facts = arm.facts()
        found[json.dumps([facts[name] for name in fields])].append(arm)
    return {what: same[0] for what, same in found.items() if len(same) == 1}


def _differences(pair: Pair, by_seed: bool) -> dict[str, Difference | None]:
    """First less second, for every measure; None for two names of one arm."""
    from reports.analysis import statistics

    if pair.same_recipe:
        return dict.fromkeys(MEASURES)
    differences: dict[str, Difference | None] = {}
    for measure in MEASURES:
        first, second = pair.first.values(measure), pair.second.values(measure)
        if by_seed:
            seeds = [seed for seed in first if seed in second]
            differences[measure] = statistics.paired([first[s] for s in seeds], [second[s] for s in seeds])
        else:
            differences[measure] = statistics.welch(list(first.values()), list(second.values()))
    return differences


def _table(pairs: Sequence[Pair], differences: Sequence[Mapping[str, Difference | None]], names: Sequence[str]) -> str:
    from reports.analysis.statistics import estimate

    rows = []
    for name, pair, difference in zip(names, pairs, differences, strict=True):
        for measure in MEASURES:
            values = [list(arm.values(measure).values()) for arm in (pair.first, pair.second)]
            found = difference[measure]
            rows.append(
                [
                    name if measure == "validation" else "",
                    measure,
                    *[accuracy(estimate(numbers)) for numbers in values],
                    points_with_interval(found) if found else "same recipe",
                    ", ".join(str(len(numbers)) for numbers in values),
                ]
            )
    return text_table(["arm", "accuracy", "A", "B", "A − B, points", "n"], rows)


def _remarks(differences: Sequence[Mapping[str, Difference | None]], lone: Sequence[Arm], how: str) -> list[str]:
    """Who faces nobody, and how the numbers are to be read."""
    lines = []
    for where in dict.fromkeys(arm.where for arm in lone):
        lines.append(f"Only in {where}: {'; '.join(arm.label for arm in lone if arm.where == where)}")
    lines.append(f"Means with 95 % intervals over completed trials; of the difference: {how}.")
    count = sum(found["validation"] is not None for found in differences)
    if count > 1:
        lines.append(f"Each of these {count} intervals is by itself: one in 20 misses the true difference by chance.")
    return lines


def _names(pairs: Sequence[Pair], arms: Sequence[Arm]) -> list[str]:
    """What rows are called; labels are those that tell all these arms apart, whatever their sweeps call them."""
    from search_spaces.labels import arm_labels
    from search_spaces.row_names import row_names

    labels = arm_labels([arm.recipe for arm in arms])
    label_of = {arm.recipe_hash: label for arm, label in zip(arms, labels, strict=True)}
    return row_names([(label_of[pair.first.recipe_hash], label_of[pair.second.recipe_hash]) for pair in pairs])


def _what_differs(pairs: Sequence[Pair]) -> list[str]:
    """The fields in which all pairs differ alike, with their values; of the others, the names."""
    different = [pair.differs_as_stated() for pair in pairs if not pair.same_recipe]
    if not different:
        return []
    alike = {
        name: values for name, values in different[0].items() if all(pair.get(name) == values for pair in different)
    }
    others = list(dict.fromkeys(name for pair in different for name in pair if name not in alike))
    lines = [f"They differ in {name}: {_said(a)} against {_said(b)}" for name, (a, b) in alike.items()]
    return [*lines, *textwrap.wrap(f"Some differ in {', '.join(others)}", LINE)] if others else lines


def _said(value: Any) -> str:
    return "–" if value is None else str(value)


def _as_dict(
    pairs: Sequence[Pair], differences: Sequence[Mapping[str, Difference | None]], lone: Sequence[Arm]
) -> dict[str, Any]:
    from reports.analysis.statistics import estimate

    listed = []
    for pair, difference in zip(pairs, differences, strict=True):
        entry: dict[str, Any] = {"same_recipe": pair.same_recipe, "differs": pair.differs()}
        for side, arm in (("a", pair.first), ("b", pair.second)):
            entry[side] = {"sweep": arm.sweep, "version": arm.version, "arm": arm.label}
            for measure in MEASURES:
                found = estimate(list(arm.values(measure).values()))
                entry[side][f"{measure}_accuracy"] = _numbers(found, "mean", "half_width", "n")
        for measure, gap in difference.items():
            numbers = _numbers(gap, "mean", "low", "high", "p_value", "test") if gap else None
            entry[f"{measure}_difference"] = numbers
        listed.append(entry)
    return {"pairs": listed, "alone": [{"sweep": arm.sweep, "version": arm.version, "arm": arm.label} for arm in lone]}


def _numbers(found: object, *names: str) -> dict[str, Any]:
    """As JSON has numbers: it knows no nan."""
    return _jsonable({name: getattr(found, name) for name in names})


def _jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
