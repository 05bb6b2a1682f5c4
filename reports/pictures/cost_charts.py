"""Pictures of accuracy against a cost, and the frames they are drawn from."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports.analysis.arms import same_problem
from reports.document.blocks import Figure, slug
from reports.pictures.canvas import Words
from reports.pictures.charts import INTERVALS, data_of, described, points_of, problem_name
from reports.pictures.fronts import accuracy_against_cost
from trainers.costs.registry import cost_named
from trainers.readable import lowered

DEEPEST, LEAST_SPREAD = 3.0, 0.002  # how far down the scale reaches, in distances from the best to the lower quarter
NAMED_ARMS = 6  # up to here every point is named; beyond, those on the front and learned weights
PUBLISHED_NOTE = "A hollow one straight above or below a mark on the front is the published accuracy. "


def cost_figures(arms: pd.DataFrame, cost: str, name: str) -> list[Figure]:
    """Accuracy against one cost, a picture a problem, and a device where the cost depends on it."""
    found: list[Figure] = []
    problems = same_problem(arms)
    for group in problems:
        suffix = f"-{slug(problem_name(group.iloc[0]))}" if len(problems) > 1 else ""
        machines = (
            [group] if not cost_named(cost).of_machine else [own for _, own in group.groupby("device", sort=False)]
        )
        for place, same in enumerate(machines):
            number = f"-{place + 1}" if place else ""
            device = f" on {same['device'].iloc[0]}" if len(machines) > 1 else ""
            found += _against_cost(same, cost, f"{name}-{slug(cost)}{suffix}{number}", device)
    return found


def _against_cost(arms: pd.DataFrame, cost: str, name: str, device: str) -> Iterator[Figure]:
    """Nothing where all arms cost the same: then the costs are one number, not a picture."""
    arms = arms[arms[cost].notna()]
    if len(arms) < 2 or float(arms[cost].max()) <= 1.01 * float(arms[cost].min()):
        return
    kind = cost_named(cost)
    divisor, unit = kind.unit.of_axis(float(arms[cost].max()))
    points = points_of(arms).assign(
        cost=arms[cost] / divisor, cost_half_width=arms[f"{cost}_half_width"] / divisor, front=arms[f"front_{cost}"],
        cost_text=arms[cost].map(kind.unit.print), published=arms["published"].astype(float),
    )  # fmt: skip
    points["shown"] = points["front"] & ~points.duplicated(["cost", "accuracy"])  # of equals one, where there are many
    points["named"] = points["shown"] | (points["family"] == "learned") | (len(points) <= NAMED_ARMS)
    title = f"{problem_name(arms.iloc[0])}: test accuracy against {lowered(kind.phrase)}{device}"
    front = [str(label) for label in points.loc[points["front"], "label"]]
    alternative = f"On the Pareto front: {'; '.join(front)}. All: {described(points, unit)}"
    where = f", on {arms['device'].iloc[0]}" if kind.of_machine and arms["device"].iloc[0] else ""
    points["below"] = points["accuracy"] < floor(points["accuracy"])
    note = f"▾: below the scale, {described(points[points['below']], most=4)}" if points["below"].any() else ""
    rings = PUBLISHED_NOTE if (points["front"] & points["published"].notna()).any() else ""
    caption = (
        f"Cost as if each trial ran alone{where}. {INTERVALS} {rings}The staircase is the Pareto front of the means; "
        f"arms off it are grey. {note}"
    ).strip()
    label = f"{kind.phrase}, {unit}" if unit else kind.phrase
    drawing = accuracy_against_cost(
        points, _levels(arms, points), label, Words(name, title, alternative), kind.better == "higher"
    )
    data = data_of(points).drop(columns=["shown", "cost_text", "below"]).assign(unit=unit)
    yield Figure(name, title, caption, alternative, drawing.svg, data, drawing.written_as)


def floor(accuracies: pd.Series[float]) -> float:
    """Where the scale of accuracies begins: what lies further below would make one point of all others."""
    best, lower_quarter = float(accuracies.max()), float(accuracies.quantile(0.25))
    return best - DEEPEST * max(best - lower_quarter, LEAST_SPREAD)


def _levels(arms: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """What to compare with: the best learned weights, by validation, and networks in which nothing was learned."""
    best = arms.assign(validation_accuracy=arms["validation_accuracy"].fillna(-1.0))
    best = best.sort_values("validation_accuracy", ascending=False, kind="stable")
    learned, untrained = best[best["family"] == "learned"].head(1), best[best["options"] == 1].head(1)
    rows = pd.concat([learned.assign(label="learned weights"), untrained.assign(label="nothing learned (K = 1)")])
    levels = pd.DataFrame({"label": rows["label"], "family": rows["family"], "accuracy": rows["test_accuracy"]})
    return levels.assign(below=levels["accuracy"] < floor(points["accuracy"]))
