"""Whether a field of the recipe matters more where another field is another: the difference of differences.

Four arms that differ in two fields alone are a square. Of its accuracies (a' - a) at the one value of the other field,
less (a' - a) at the other, is what the two fields do together beyond what each does by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeper.cli.commands.sweeps.arms import MEASURES, Arm, varying
from sweeper.text import Difference, points_with_interval, text_table
from trainers.errors import InvalidInput, nearest
from trainers.readable import points
from trainers.recipe.plugin_fields import BELOW_OPTIONS, OPTIONS, options_of

SPLITS = ("slot_epochs", "finetune_epochs")  # one follows from the other under one budget


@dataclass(frozen=True)
class Square:
    """Four arms, by the value of the one field and by that of the other: the first value of each stands first."""

    where: Mapping[str, Any]  # what else varies in the sweep, and is one here
    values: tuple[Any, Any]
    others: tuple[Any, Any]
    arms: tuple[tuple[Arm, Arm], tuple[Arm, Arm]]  # by the other field, then by the field


@dataclass(frozen=True)
class Interactions:
    """All squares of a sweep in two fields, each value against the first."""

    field: str
    other: str
    squares: Sequence[Square]
    paired: bool
    left_out: Sequence[str]  # arms that stand in no square

    def rows(self) -> list[dict[str, Any]]:
        """A row per square and measure, as plain values; differences in 0..1."""
        return [self._row(square, measure) for square in self.squares for measure in MEASURES]

    def _row(self, square: Square, measure: str) -> dict[str, Any]:
        (first, second), found = self.found(square, measure)
        return {
            **square.where, "measure": f"{measure}_accuracy", "field": self.field, "other": self.other,
            "value": square.values[1], "against": square.values[0], "other_value": square.others[1],
            "other_against": square.others[0], "first_difference": first, "second_difference": second,
            "difference": found.mean, "low": found.low, "high": found.high, "p_value": found.p_value,
            "test": found.test, "n": [len(arm.values(measure)) for pair in square.arms for arm in pair],
        }  # fmt: skip

    def found(self, square: Square, measure: str) -> tuple[tuple[float, float], Difference]:
        """The two differences, at the first and the second value of the other field, and the second less the first."""
        from reports.analysis.statistics import difference_of_differences, welch

        values = [[arm.values(measure) for arm in pair] for pair in square.arms]
        if self.paired:
            seeds = sorted(set.intersection(*(set(one) for pair in values for one in pair)))
            numbers = [[[one[seed] for seed in seeds] for one in pair] for pair in values]
        else:
            numbers = [[list(one.values()) for one in pair] for pair in values]
        (low, high), (other_low, other_high) = numbers
        found = difference_of_differences((other_high, other_low), (high, low), by_place=self.paired)
        return (welch(high, low).mean, welch(other_high, other_low).mean), found


def interactions(arms: Sequence[Arm], field: str, other: str, *, paired: bool) -> Interactions:
    """The squares of these arms in two fields of the recipe, as specs name them. Raises InvalidInput."""
    if field == other:
        raise InvalidInput(f"axes: two fields of the recipe, not {field} twice")
    levels = {name: _levels(arms, name) for name in (field, other)}
    rest = sorted(varying(arms) - {field.partition(".")[0], other.partition(".")[0]})
    rest = [name for name in rest if name not in SPLITS or not {field, other} & set(SPLITS)]
    cells: dict[tuple[str, ...], dict[tuple[int, int], list[Arm]]] = defaultdict(lambda: defaultdict(list))
    for arm in arms:
        facts = arm.facts()
        kept = tuple(repr(facts[name]) for name in rest) + tuple(_other_options(arm, (field, other)))
        place = levels[field].index(_value(arm, field)), levels[other].index(_value(arm, other))
        cells[kept][place].append(arm)
    squares = [square for block in cells.values() for square in _squares(block, levels[field], levels[other], rest)]
    telling = [name for name in rest if len({repr(square.where[name]) for square in squares}) > 1]
    squares = [replace(square, where={name: square.where[name] for name in telling}) for square in squares]
    if not squares:
        too = f"; they differ in {', '.join(rest)}, too" if rest else ""
        raise InvalidInput(f"axes: no four arms of {arms[0].sweep} differ in {field} and {other} alone{too}")
    used = {id(arm) for square in squares for pair in square.arms for arm in pair}
    return Interactions(field, other, squares, paired, [arm.label for arm in arms if id(arm) not in used])


def two_axes_table(found: Interactions) -> list[str]:
    """The squares as lines of text: both differences, and the difference of these."""
    rows = []
    for square in found.squares:
        for measure in MEASURES:
            (first, second), difference = found.found(square, measure)
            rows.append([
                ", ".join(f"{name} {value}" for name, value in square.where.items()) if measure == "validation" else "",
                f"{square.values[1]} less {square.values[0]}", measure,
                f"{points(first)} at {square.others[0]}",
                f"{points(second)} at {square.others[1]}",
                points_with_interval(difference),
                ", ".join(str(len(arm.values(measure))) for pair in square.arms for arm in pair),
            ])  # fmt: skip
    heads = ["where", found.field, "accuracy", f"at one {found.other}", "at another", "more by, points", "n"]
    kept = [number for number in range(len(heads)) if number or any(row[0] for row in rows)]
    table = text_table([heads[number] for number in kept], [[row[number] for number in kept] for row in rows])
    how = "trials of one seed are paired" if found.paired else "Welch; --paired pairs the trials of one seed"
    lines = [
        table, "",
        f"In points: what {found.field} does at one {found.other} and at another, and by how much more.",
        f"Means over completed trials, with 95 % intervals: {how}.",
    ]  # fmt: skip
    if len(found.squares) > 1:
        lines.append(f"Each of these {len(found.squares)} intervals is by itself: one in 20 misses by chance.")
    if found.left_out:
        lines.append(f"In no four that differ in these two alone: {'; '.join(found.left_out)}")
    return lines


def _value(arm: Arm, field: str) -> Any:
    if field.startswith(BELOW_OPTIONS):
        return options_of(arm.recipe.method_options).get(field.removeprefix(BELOW_OPTIONS))
    return arm.facts()[field]


def _other_options(arm: Arm, fields: Sequence[str]) -> Iterator[str]:
    """The options of a plug-in's method that are none of the two fields."""
    if any(field.startswith(BELOW_OPTIONS) for field in fields):
        for name, value in options_of(arm.recipe.method_options).items():
            if f"{BELOW_OPTIONS}{name}" not in fields:
                yield f"{name}={value!r}"


def _levels(arms: Sequence[Arm], field: str) -> list[Any]:
    """The values of a field, ascending, words by the alphabet. Raises InvalidInput."""
    known = [name for name in arms[0].facts() if name != OPTIONS]
    known += [f"{BELOW_OPTIONS}{name}" for arm in arms for name in options_of(arm.recipe.method_options)]
    if field not in known:
        option = f"{BELOW_OPTIONS}{field}"
        meant = f" (did you mean {option}?)" if option in known else nearest(field, known)
        raise InvalidInput(f"axes: {field!r} is no field of a recipe{meant}")
    values = list(dict.fromkeys(_value(arm, field) for arm in arms))
    if len(values) < 2:
        raise InvalidInput(f"axes: {field} is {values[0]!r} in all arms of {arms[0].sweep}; name a field that varies")
    numbers = [value for value in values if isinstance(value, int | float)]
    return sorted(numbers) + sorted((value for value in values if not isinstance(value, int | float)), key=repr)


def _squares(
    cells: Mapping[tuple[int, int], list[Arm]], values: Sequence[Any], others: Sequence[Any], rest: Sequence[str]
) -> Iterator[Square]:
    """Those of arms that are alike in all else: each value against the first that is there."""
    there = {place: arms[0] for place, arms in cells.items() if len(arms) == 1}
    rows, columns = sorted({row for row, _ in there}), sorted({column for _, column in there})
    for row in rows[1:]:
        for column in columns[1:]:
            corners = [(rows[0], columns[0]), (row, columns[0]), (rows[0], column), (row, column)]
            if all(corner in there for corner in corners):
                a, b, c, d = (there[corner] for corner in corners)
                where = {name: a.facts()[name] for name in rest}
                pairs = ((a, b), (c, d))
                yield Square(where, (values[rows[0]], values[row]), (others[columns[0]], others[column]), pairs)
