"""Frames as tables to read: what stands in which column, in which unit."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.arms import ARM_FIELDS, FAMILIES, best_by, counted_trials, standing
from reports.analysis.likeness import Likeness
from reports.analysis.published import COLUMNS, best_published
from reports.document.blocks import Cell, Column, Table
from reports.pictures.charts import problem_name
from reports.tracked.links import Links
from reports.tracked.trials import BOTH_WAYS, COMPLETED
from trainers import readable as formats
from trainers.costs.registry import EPOCHS, cost_named, costs_in
from trainers.methods.registry import ALL_METHOD_FIELDS

FRONT = "◆"
MOST_ARMS, BEST_ARMS = 24, 10  # in a table at once; beyond, the best alone
MOST_TRIALS = 1000  # in a page; the CSV has them all
ACCURACY_NOTE = (
    "Accuracies are means over the completed trials of an arm, ± half of the Student-t 95 % interval of that mean; "
    "n is the number of trials averaged. With n = 1 there is no interval."
)
COST_NOTE = (
    "Costs are standalone, means over trials: what one trial would cost alone, whatever the sweep shared. "
    f"{FRONT} marks the Pareto front of mean test accuracy against that cost, within a network, data set and device."
)
# How a published number was come by, where it was not simply printed.
KIND_MARKS = {"figure-read": "figure", "secondary": "quoted"}
KIND_NOTE = "Published values marked 'figure' were read off a plot; those marked 'quoted' are second-hand."


def arm_table(arms: pd.DataFrame, name: str, caption: str, links: Links | None = None) -> Table:
    """The table of a sweep: accuracy and standalone cost of every arm."""
    costs = [cost for cost in costs_in(arms.columns) if arms[cost].notna().any()]
    compared, turned = arms["published"].notna().any(), arms["slot_test_accuracy"].notna().any()
    both = arms["argmax_test_accuracy"].notna().any()
    columns = [
        Column("Arm", numeric=False), Column("n"), Column("Test accuracy", "%"), Column("Validation accuracy", "%"),
        *([Column("Test before finetuning", "%")] if turned else []),
        *([Column("Test by arg-max", "%"), Column("Test sampled", "%")] if both else []),
        *([Column("Published", "%"), Column("Difference", "points")] if compared else []),
        Column("Epochs"), *map(cost_column, costs),
    ]  # fmt: skip
    rows = []
    for arm in arms.to_dict("records"):
        href = links.arm(arm["experiment_id"], arm["arm_hash"]) if links else ""
        rows.append([
            Cell(arm["arm"], href=href, family=arm["family"], note=FAMILIES.get(arm["family"], ""), arm=arm["arm"]),
            _count(arm), accuracy(arm, "test_accuracy"), accuracy(arm, "validation_accuracy"),
            *([accuracy(arm, "slot_test_accuracy")] if turned else []),
            *([accuracy(arm, "argmax_test_accuracy"), accuracy(arm, "sampled_test_accuracy")] if both else []),
            *([published(arm), difference(arm)] if compared else []),
            _number(arm["epochs"], formats.number), *(_cost(arm, cost) for cost in costs),
        ])  # fmt: skip
    notes = [ACCURACY_NOTE, COST_NOTE, *([KIND_NOTE] if compared else [])]
    return Table(name, caption, columns, rows, notes, numbers(arms, costs))


def arm_tables(arms: pd.DataFrame, name: str, links: Links) -> list[Table]:
    """The table of a sweep; of one with many arms the best by validation, and all of them folded."""
    whole = arm_table(arms, name, "Accuracy and cost per arm", links)
    if len(arms) <= MOST_ARMS:
        return [whole]
    best = arms.sort_values("validation_accuracy", ascending=False, kind="stable").head(BEST_ARMS)
    caption = f"The best {BEST_ARMS} of {len(arms):,} arms by validation accuracy"
    return [
        replace(arm_table(best, f"{name}-best", caption, links), data=None),
        replace(whole, caption=f"All {len(arms):,} arms", notes=[], folded=True),
    ]


def trial_table(trials: pd.DataFrame, name: str, links: Links) -> Table:
    """Every trial, with a link to its run; of very many only some, those that did not complete before the others."""
    columns = [
        Column("Trial", numeric=False), Column("Status", numeric=False), Column("Test accuracy", "%"),
        Column("Validation accuracy", "%"), Column("Epochs"), cost_column("train_seconds"),
        Column("Device", numeric=False), Column("Why it failed", numeric=False, wraps=True),
    ]  # fmt: skip
    others_first = trials.assign(done=trials["status"] == COMPLETED).sort_values("done", kind="stable")
    shown = trials if len(trials) <= MOST_TRIALS else others_first.head(MOST_TRIALS)
    rows = [
        [
            Cell(trial["name"], href=links.run(trial["experiment_id"], trial["run_id"])),
            Cell(status_word(trial["status"])),
            _number(trial["test_accuracy"], formats.percent), _number(trial["validation_accuracy"], formats.percent),
            _number(trial["epochs"], formats.number), cost_cell(float(trial["train_seconds"]), "train_seconds"),
            Cell(trial["device"], mark="imported" if trial["imported"] else ""), Cell(trial["failure"]),
        ]
        for trial in shown.to_dict("records")
    ]  # fmt: skip
    identity = [
        "sweep",
        "name",
        "arm",
        "seed",
        "status",
        "failure",
        "run_id",
        "recipe_hash",
        "device",
        "host",
        "imported",
    ]
    metrics = [
        "test_accuracy",
        "validation_accuracy",
        "slot_test_accuracy",
        EPOCHS,
        *costs_in(trials.columns),
        *BOTH_WAYS,
    ]
    data = trials[[*identity, *(metric for metric in metrics if trials[metric].notna().any())]]
    whole = "The trial" if len(trials) == 1 else f"All {len(trials):,} trials"
    caption = f"{whole}; names link to the runs in MLflow"
    if len(trials) > MOST_TRIALS:
        caption = f"{MOST_TRIALS:,} of {formats.counted(len(trials), 'trial')}; the CSV has them all"
    return Table(name, caption, columns, rows, [], data, folded=True)


def choice_table(arms: pd.DataFrame, name: str) -> Table | None:
    """The best K of every line over K: by validation, which is how one may choose, and by test, which papers print."""
    rows: list[list[Cell]] = []
    chosen: list[dict[str, Any]] = []
    for fair, best in _best_options(arms):
        what = f"{problem_name(fair)}: {_method(fair)}"
        reported = dict(zip(COLUMNS, best_published(fair), strict=True))
        rows.append([
            Cell(what, family=fair["family"]), Cell(f"{fair['options']}", int(fair["options"])),
            accuracy(fair, "test_accuracy"), _count(fair), Cell(f"{best['options']}", int(best["options"])),
            accuracy(best, "test_accuracy"), published(reported),
        ])  # fmt: skip
        chosen.append({
            "what": what, "options_by_validation": fair["options"], "test_accuracy": fair["test_accuracy"],
            "half_width": fair["test_accuracy_half_width"], "n": fair["n"], "options_by_test": best["options"],
            "test_accuracy_by_test": best["test_accuracy"], **reported,
        })  # fmt: skip
    if not rows:
        return None
    columns = [
        Column("Slot machine", numeric=False), Column("K by validation"), Column("Its test accuracy", "%"), Column("n"),
        Column("K by test"), Column("Its test accuracy", "%, selected on test"), Column("Published best", "%"),
    ]  # fmt: skip
    notes = [
        "Choose by validation. The columns chosen on the test split flatter the method; they are printed because the "
        "published comparison table takes the best K by test accuracy."
    ]
    caption = "K chosen by validation, and by test"
    return Table(name, caption, columns, rows, notes, pd.DataFrame(chosen), stacks=True)


def budget_table(arms: pd.DataFrame, name: str) -> Table | None:
    """The best arm of every family at the same total of epochs, chosen by validation."""
    measured = arms[arms["n"] > 0]
    chosen = [
        best_by(group, "validation_accuracy")
        for _, group in measured.groupby(["dataset", "network", "preset", "epochs", "family"], sort=False)
    ]
    best = pd.DataFrame(chosen)
    if best.empty:
        return None
    best = best[best.groupby(["dataset", "network", "preset", "epochs"])["family"].transform("size") > 1]
    if best.empty:
        return None
    best = best.sort_values(["dataset", "network", "preset", "epochs"], kind="stable")
    columns = [
        Column("Problem", numeric=False), Column("Recipe", numeric=False), Column("Epochs"),
        Column("Best arm by validation", numeric=False), Column("n"), Column("Validation accuracy", "%"),
        Column("Test accuracy", "%"), cost_column("train_seconds"),
    ]  # fmt: skip
    rows = [
        [
            Cell(problem_name(arm)), Cell(arm["preset"]), _number(arm["epochs"], formats.number),
            Cell(arm["arm"], family=arm["family"], note=FAMILIES.get(arm["family"], "")), _count(arm),
            accuracy(arm, "validation_accuracy"), accuracy(arm, "test_accuracy"),
            cost_cell(float(arm["train_seconds"]), "train_seconds"),
        ]
        for arm in best.to_dict("records")
    ]  # fmt: skip
    notes = ["Arms with the same total of epochs, slot phase and finetuning together; of each family the best one."]
    return Table(name, "With the same epochs", columns, rows, notes, numbers(best, ["flops", "train_seconds"]),
                 stacks=True)  # fmt: skip


def _best_options(arms: pd.DataFrame) -> Iterator[tuple[dict[Hashable, Any], dict[Hashable, Any]]]:
    """For every line over K: the arm that is best by validation, and the one that is best by test."""
    measured = arms[arms["n"] > 0].reset_index(drop=True)
    options = measured["options"].to_numpy(dtype=float)
    validation, test = (standing(measured, metric) for metric in ("validation_accuracy", "test_accuracy"))
    records = measured.to_dict("records")
    for line in Likeness(measured).groups(np.flatnonzero(measured["method"] == "slot_machine"), {"options"}):
        if len(set(options[line])) > 1:
            yield records[line[validation[line].argmax()]], records[line[test[line].argmax()]]


def published_table(arms: pd.DataFrame, name: str) -> Table | None:
    """Ours beside what was published: every arm with a published counterpart, and of families without one the best."""
    compared = _compared(arms)
    if compared["published"].isna().all():
        return None
    columns = [
        Column("Network", numeric=False), Column("Method", numeric=False), Column("K"), Column("Ours", "%"),
        Column("n"), Column("Epochs"), Column("Published", "%"), Column("Difference", "points"),
        Column("Recipe", numeric=False), Column("Source", numeric=False),
    ]  # fmt: skip
    sources = list(dict.fromkeys(filter(None, compared["published_source"])))
    rows = [
        [
            Cell(problem_name(arm)), Cell(_method(arm), family=arm["family"]), _number(arm["options"], formats.number),
            accuracy(arm, "test_accuracy"), _count(arm), _number(arm["epochs"], formats.number), published(arm),
            difference(arm), Cell(str(arm["preset"])), _source(arm, sources),
        ]
        for arm in compared.to_dict("records")
    ]  # fmt: skip
    notes = [
        "Ours: mean ± half of the 95 % interval over n trials. Difference: ours less the published value. Epochs and "
        "recipe are ours. Of methods that nothing was published for, the best arm by validation.",
        KIND_NOTE,
    ]
    notes += [f"[{place}] {source}." for place, source in enumerate(sources, start=1)]
    data = numbers(compared, [])
    data.insert(list(data).index("published_kind"), "difference", compared["test_accuracy"] - compared["published"])
    return Table(name, "Ours and published test accuracy", columns, rows, notes, data, stacks=True)


def _compared(arms: pd.DataFrame) -> pd.DataFrame:
    measured = arms[arms["n"] > 0]
    shown = {arm["arm_hash"] for arm in measured[measured["published"].notna()].to_dict("records")}
    for _, group in measured.groupby(["dataset", "network", "family"], sort=False):
        if group["published"].isna().all():
            shown.add(best_by(group, "validation_accuracy")["arm_hash"])
    return measured[measured["arm_hash"].isin(shown)]


def _method(arm: Any) -> str:
    """'slot machine, PS, evaluated by sampling': the arm's label without K, which has a column of its own."""
    label = str(arm["arm"])
    if arm["method"] != "slot_machine":
        return label
    return FAMILIES[arm["family"]] + re.sub(r"^K=\d+ (GS|PS)", "", label)


def _source(arm: Any, sources: Sequence[str]) -> Cell:
    source = str(arm["published_source"])
    return Cell(f"[{sources.index(source) + 1}]", note=source) if source else Cell(formats.MISSING)


def accuracy(arm: Any, metric: str) -> Cell:
    """A mean with its interval, in %."""
    mean = float(arm[metric])
    return Cell(formats.percent(mean, float(arm[f"{metric}_half_width"])), None if isnan(mean) else mean)


def published(arm: Any) -> Cell:
    """The published value, and how it was come by unless it was printed."""
    value, kind = float(arm["published"]), str(arm["published_kind"])
    mark = KIND_MARKS.get(kind, "")
    note = (
        f"{arm['published_source']}; spread {arm['published_spread']}"
        if arm["published_spread"]
        else str(arm["published_source"])
    )
    return Cell(formats.percent(value), None if isnan(value) else value, note=note, mark=mark)


def difference(arm: Any) -> Cell:
    """Ours less the published value, in points."""
    value = float(arm["test_accuracy"]) - float(arm["published"])
    return Cell(formats.points(value), None if isnan(value) else value)


def status_word(status: str) -> str:
    """'STOPPED_EARLY' as 'stopped early'."""
    return status.lower().replace("_", " ")


def _count(arm: Any) -> Cell:
    """n, of how many where some are missing, and why."""
    return Cell(counted_trials(arm), int(arm["n"]))


def _cost(arm: Any, cost: str) -> Cell:
    value = float(arm[cost])
    front = bool(arm[f"front_{cost}"])
    return Cell(
        cost_named(cost).unit.print(value), None if isnan(value) else value, mark=FRONT if front else "",
        note="on the Pareto front" if front else "",
    )  # fmt: skip


def cost_column(cost: str) -> Column:
    """The column of a cost. Raises InvalidInput for a name that is none."""
    row = cost_named(cost)
    return Column(row.title, row.unit.heads_column)


def cost_cell(value: float, cost: str) -> Cell:
    """What it comes to, printed."""
    return Cell(cost_named(cost).unit.print(value), None if isnan(value) else value)


def _number(value: Any, text: Any) -> Cell:
    number = float(value) if value is not None else float("nan")
    return Cell(text(number), None if isnan(number) else number)


OF_PLUGINS = ("method_options", "plugins")


def numbers(arms: pd.DataFrame, costs: Sequence[str] | None = None) -> pd.DataFrame:
    """The numbers behind a table of arms, unrounded; accuracies as fractions. Last the hyperparameters that differ."""
    costs = list(costs_in(arms.columns)) if costs is None else costs
    metrics = ["test_accuracy", "validation_accuracy", "slot_test_accuracy", *BOTH_WAYS, EPOCHS, *costs]
    known = [metric for metric in metrics if arms[metric].notna().any()]
    identity = ["sweep", "arm", "family", "network", "dataset", "preset", "method", "options", "selection", "sharing"]
    fronts = [f"front_{cost}" for cost in costs]
    numbers = [column for metric in known for column in (metric, f"{metric}_half_width")]
    reference = list(COLUMNS) if arms["published"].notna().any() else []
    data = arms[[*identity, "n", "trials", *numbers, *fronts, *reference, "device", "arm_hash"]].copy()
    data["seeds"] = arms["seeds"].map(lambda seeds: " ".join(map(str, seeds)))
    others = [field for field in ARM_FIELDS if field in (*ALL_METHOD_FIELDS, *OF_PLUGINS) and field not in identity]
    return data.assign(**{field: arms[field] for field in others if arms[field].nunique() > 1})
