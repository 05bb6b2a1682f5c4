"""What a search may try: ranges of recipe fields, some of them only where another field has a certain value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trainers.costs.registry import EPOCHS, OBJECTIVES, cost_named
from trainers.errors import InvalidInput, nearest
from trainers.plugins.known import WORD

ACCURACY = "validation_accuracy"
OF_PLUGIN = rf"^{WORD.pattern}\.{WORD.pattern}$"
KINDS = ("uniform", "log_uniform", "integer", "choice")
Point = Mapping[str, Any]  # what a search tries: some recipe fields and their values
Known = Callable[[Point], Mapping[str, Any]]  # every field of the recipe that a point so far leads to
CORNERS = 512  # of a space, all of which are checked; of a larger one, those where two fields are at an end


def is_better_higher(objective: str) -> bool:
    """Whether a higher value of an objective is better. Raises InvalidInput for an unknown name."""
    return objective == ACCURACY or (objective != EPOCHS and cost_named(objective).better == "higher")


def _whole(value: Any) -> Any:
    """1e3 is a float in YAML, and means a whole number where one is asked for."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# The accuracy, a cost of the package, or the whole name of a plug-in's.
Objective = Literal["validation_accuracy"] | Literal[OBJECTIVES] | Annotated[str, Field(pattern=OF_PLUGIN)]  # type: ignore[valid-type]
Whole = Annotated[int, BeforeValidator(_whole)]


class Dimension(BaseModel):
    """The values that a search may give one recipe field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    uniform: list[float] | None = Field(None, description="[low, high]: any number between, all alike")
    log_uniform: list[float] | None = Field(None, description="[low, high], above 0: any number, orders of size alike")
    integer: list[Whole] | None = Field(None, description="[low, high]: any whole number from low to high")
    choice: Annotated[list[Any], Field(min_length=1)] | None = Field(None, description="one of these values")
    step: Annotated[Whole, Field(ge=1)] | None = Field(None, description="integer: low, low + step, low + 2 step, …")
    log: bool = Field(False, description="integer: orders of size alike, not numbers")
    when: dict[str, Any] = Field(
        {}, description="searched only where these fields have these values (one, or a list of them)"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        named = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(named) != 1:
            found = f"not {' and '.join(named)}" if named else "and this has none"
            raise ValueError(f"exactly one of {', '.join(KINDS)}, {found}")
        kind = named[0]
        if kind == "choice":
            assert self.choice is not None
            values = [(type(value), value) for value in self.choice]
            odd = [value for value in self.choice if not isinstance(value, str | int | float)]
            if odd:
                raise ValueError(f"choice: a value is a number, a word, true or false, not {odd[0]!r}")
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ValueError(f"choice: {twice[0][1]!r} is listed twice")
        else:
            bounds = getattr(self, kind)
            if len(bounds) != 2 or not all(math.isfinite(bound) for bound in bounds):
                raise ValueError(f"{kind}: should be [low, high], not {bounds!r}")
            low, high = bounds
            if low >= high:
                raise ValueError(f"low {low:g} is {'above' if low > high else 'no less than'} high {high:g} ({kind})")
            if low <= 0 and (kind == "log_uniform" or self.log):
                raise ValueError(f"{kind}: orders of size begin above 0, not at {low!r}")
        if kind != "integer" and (self.step is not None or self.log):
            raise ValueError(f"{'log' if self.log else 'step'}: belongs to integer, not to {kind}")
        if self.step is not None and self.log:
            raise ValueError("step: a range has either steps or orders of size (log)")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Low and high of a range; of an integer with steps, the highest that they reach."""
        low, high = self.uniform or self.log_uniform or self.integer or (0, 0)
        return low, high - (high - low) % (self.step or 1) if self.step else high

    def values(self) -> Sequence[Any] | None:
        """All values; None where they are endless."""
        if self.choice is not None:
            return self.choice
        if self.integer is not None:
            low, high = self.integer
            return range(low, high + 1, self.step or 1)
        return None

    def holds(self, value: Any) -> bool:
        """Whether a search may give the field this value."""
        if (values := self.values()) is not None:
            return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)
        low, high = self.bounds
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    def ends(self) -> list[Any]:
        """Low and high of a range, or every choice."""
        return list(self.choice) if self.choice is not None else list(self.bounds)


class Search(BaseModel):
    """A search over ranges, beside or instead of a grid."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sampler: Literal["random", "qmc", "tpe", "cmaes", "nsga2"] = Field(
        description="how the next point is proposed: at random; quasi-random (Sobol's sequence, scrambled), which "
        "fills the ranges more evenly; TPE, from the best so far; CMA-ES, the same of numbers alone; NSGA-II, for two "
        "objectives"
    )
    trials: Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        description="points to try, each trained with all seeds; in every cell of the grid of axes and slot_epochs"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="of the sampler, not of training")
    objectives: Annotated[list[Objective], Field(min_length=1)] = Field(
        ["validation_accuracy"],
        description="what is to be good, as a mean over the seeds: validation_accuracy as high, costs as low as may be "
        "(of a plug-in, which the spec lists in costs, whichever way is better)",
    )
    population: Annotated[int, Field(ge=2)] | None = Field(
        None, description="nsga2: points in a generation (default: a quarter of trials, from 4 to 50)"
    )
    enqueue: list[dict[str, Any]] = Field(
        [], description="points that are tried first, such as those of a paper; they count among the trials"
    )
    space: Annotated[dict[str, Dimension], Field(min_length=1)] = Field(
        description="recipe fields and the values they may take; the other fields are those of the cell of the grid"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        twice = [name for name in self.objectives if self.objectives.count(name) > 1]
        if twice:
            raise ValueError(f"search.objectives: {twice[0]} is listed twice")
        if self.sampler == "nsga2" and len(self.objectives) < 2:
            raise ValueError("search.objectives: nsga2 weighs objectives against each other, so name two or more")
        if self.population is not None and self.sampler != "nsga2":
            raise ValueError(f"search.population: {self.sampler} has no generations, so leave it out")
        if self.sampler == "cmaes" and len(self.objectives) > 1:
            raise ValueError("search.objectives: cmaes follows one; nsga2 weighs several against each other")
        for name, dimension in self.space.items():
            if self.sampler == "cmaes" and (dimension.choice is not None or dimension.when):
                what = "is a choice" if dimension.choice is not None else "is there only sometimes (when)"
                raise ValueError(
                    f"search.space.{name}: {what}, and cmaes moves in ranges of numbers alone; tpe takes both"
                )
            if name in dimension.when:
                raise ValueError(f"search.space.{name}.when: a field cannot wait for its own value")
        self.order()
        for number, point in enumerate(self.enqueue):
            for name, value in point.items():
                if name not in self.space:
                    raise ValueError(
                        f"search.enqueue[{number}].{name}: is not in search.space{nearest(name, self.space)}"
                    )
                if not self.space[name].holds(value):
                    told = self.space[name].model_dump(exclude_defaults=True)
                    raise ValueError(f"search.enqueue[{number}].{name}: {value!r} is not in its range, {told}")
        return self

    def enqueued(self, known: Known) -> list[Point]:
        """The points that are tried first, but for what is not searched there. Raises InvalidInput."""
        return [self._enqueued(number, known) for number in range(len(self.enqueue))]

    def _enqueued(self, number: int, known: Known) -> Point:
        point: dict[str, Any] = {}
        for name in self.order():
            if not self.space[name].when or self.asks_for(name, known(point)):
                if name not in self.enqueue[number]:
                    raise InvalidInput(f"search.enqueue[{number}].{name}: missing, and it is searched there")
                point[name] = self.enqueue[number][name]
        return point

    def order(self) -> list[str]:
        """The fields, each after those that its condition names. Raises ValueError for a circle."""
        ordered: list[str] = []
        left = list(self.space)
        while left:
            free = [name for name in left if not any(other in left for other in self.space[name].when)]
            if not free:
                raise ValueError(f"search.space: {' and '.join(left)} wait for each other (when)")
            ordered += free
            left = [name for name in left if name not in free]
        return ordered

    def asks_for(self, name: str, known: Mapping[str, Any]) -> bool:
        """Whether the field is searched where the recipe's fields so far are these."""
        conditions = self.space[name].when.items()
        return all(
            known.get(field) in (wanted if isinstance(wanted, list) else [wanted]) for field, wanted in conditions
        )

    def corners(self, known: Known) -> list[Point]:
        """Points at the ends of their ranges, and where a condition holds that would not hold there."""
        if len(found := list(itertools.islice(self._points(known, self._ends), CORNERS + 1))) <= CORNERS:
            return found
        corners: dict[tuple[Any, ...], Point] = {}
        for first, second in itertools.combinations(self.space, 2):

            def ends(name: str, pair: tuple[str, str] = (first, second)) -> Sequence[Any]:
                return self._ends(name) if name in pair else self._ends(name)[:1]

            for point in self._points(known, ends):
                corners[tuple(point.items())] = point
        return list(corners.values())

    def points(self, known: Known) -> Iterator[Point] | None:
        """All points, one by one; None where they are endless."""
        if any(dimension.values() is None for dimension in self.space.values()):
            return None
        return self._points(known, lambda name: self.space[name].values() or ())

    def _points(self, known: Known, values: Callable[[str], Sequence[Any]]) -> Iterator[Point]:
        order = self.order()

        def extended(point: dict[str, Any], place: int) -> Iterator[Point]:
            if place == len(order):
                yield point
            elif not self.space[order[place]].when or self.asks_for(order[place], known(point)):
                for value in values(order[place]):
                    yield from extended({**point, order[place]: value}, place + 1)
            else:
                yield from extended(point, place + 1)

        return extended({}, 0)

    def _ends(self, name: str) -> list[Any]:
        dimension = self.space[name]
        ends = dimension.ends()
        possible = dimension.values()
        for other in self.space.values():
            wanted = other.when.get(name, [])
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if possible is not None and value in possible and value not in ends:
                    ends.append(value)
        return ends
