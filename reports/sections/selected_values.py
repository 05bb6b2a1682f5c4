"""What gets selected, as a section: sentences, tables and pictures of the best arm of every family that selects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.arms import best_by, counted_trials, same_problem
from reports.analysis.statistics import estimate, interval_half_width, paired
from reports.document.blocks import Block, Cell, Column, Figure, Paragraph, Points, Section, Table, slug
from reports.pictures import figures
from reports.pictures.canvas import Words
from reports.pictures.charts import problem_name
from reports.pictures.curves import CHANGED, EXTREMES, ReadCurves, along_epochs
from reports.tracked.snapshots import agreement, extremes, layers_frame, own_extremes
from trainers.readable import MISSING, interval, number, percent, points, signed

ReadTexts = Callable[[Sequence[str], str], Mapping[str, str]]  # runs, artifact -> its text by run, where it is there
ARTIFACT = "selection.json"
MOST_SEEDS = 10  # of an arm
MOST_HEARD = 8  # values in a picture's alternative
LAYERS_DRAWN = 5  # in one picture, evenly spaced over the network
INTRODUCTION = (
    "Which of its fixed random values a connection ends with, for the best arm of each family by validation. The score "
    "of option k is c·s(0) + w·B, where w is its value and B, the same for all options of a connection, is trained: so "
    "the more |B| grows, the more a slot machine should use the values on B's own end, the largest where B is above 0 "
    "and the smallest where it is below."
)
SELECTION_NOTE = (
    "Shares of a layer's connections, means over seeds with 95 % intervals. Moved: uses another option than the one "
    "with its highest initial score. Extremes: the smallest or the largest of its K values. B's end: the one of them "
    "that B pulls to, among the quarter of the layer's connections with the smallest and with the largest |B|. Mean "
    "|values| are relative to the bound that values were drawn within: by chance 0.5."
)
MASK_NOTE = (
    "Means over seeds with 95 % intervals. Mean |weights| are relative to the root mean square of the layer's weights: "
    "by chance 0.80 for normal weights; signed constants are all 1."
)
FIRST_AND_LAST = "Lines are means over seeds after the last slot epoch, with 95 % intervals; dotted: after the first."
AGREEMENT_NOTE = (
    "Every seed draws its own random values and its own order of batches, so what can agree is the rank of the value "
    "in use among its K (of a mask: kept or dropped). Shares of the ranks: what the distributions of two trials over "
    "the ranks have in common, all connections (100: the same). Same rank: among the same 1,024 evenly spaced "
    "connections of the layer in both trials; by chance: if both chose independently, each with its own shares of the "
    "ranks; kappa is (same - chance) / (1 - chance), with its range over the pairs. Means over all pairs of seeds."
)


def selection_sections(arms: pd.DataFrame, read: ReadCurves, read_texts: ReadTexts) -> list[Section]:
    """The section, or nothing where no trial tells what it selected."""
    inner = []
    for place, problem in enumerate(same_problem(arms)):
        chosen = _chosen(problem)
        if len(chosen):
            name = problem_name(problem.iloc[0])
            blocks = _problem(chosen, f"selected-{place + 1}", name, read, read_texts)
            blocks += [table] if (table := _machines_table(problem, f"selected-{place + 1}")) else []
            inner += [Section(name, f"selected-{slug(name)}-{place + 1}", blocks)] if blocks else []
    if not inner:
        return []
    return [Section("What gets selected", "what-gets-selected", [Paragraph(INTRODUCTION)], inner, folded=True)]


def _chosen(arms: pd.DataFrame) -> pd.DataFrame:
    """The best arm of each family that selects; finetuning does not select, so it makes no family of its own."""
    selecting = arms[(arms["slot_epochs"].fillna(0) > 0) & ((arms["options"].fillna(2) > 1) | arms["options"].isna())]
    families = selecting["family"].str.removesuffix("_finetuned")
    chosen = [best_by(family, "validation_accuracy") for _, family in selecting.groupby(families, sort=False)]
    return pd.DataFrame(chosen).reset_index(drop=True)


def _problem(arms: pd.DataFrame, name: str, title: str, read: ReadCurves, read_texts: ReadTexts) -> list[Block]:
    owners = {run: place for place, runs in enumerate(arms["run_ids"]) for run in runs[:MOST_SEEDS]}
    layers = layers_frame(read_texts(list(owners), ARTIFACT))
    layers = layers.assign(arm=layers["run_id"].map(owners).astype(int))
    machines = arms[arms["method"] == "slot_machine"]
    pictures = [
        *along_epochs(CHANGED, arms, f"{name}-changed", read),
        *along_epochs(EXTREMES, machines, f"{name}-extremes", read),
    ]
    for place in machines.index:
        own = layers[layers["arm"] == place]
        pictures += [*_ranks(own, arms.loc[place], f"{name}-ranks-{place + 1}", title),
                     *_quarters(own, arms.loc[place], f"{name}-pull-{place + 1}", title)]  # fmt: skip
    lines = [line for place in machines.index for line in _findings(layers[layers["arm"] == place], arms.loc[place])]
    lines += _signed_constants(layers, arms)
    tables = (_options_table(layers, arms, name), _mask_table(layers, arms, name), _agreement_table(layers, arms, name))
    return [*([Points(lines)] if lines else []), *(table for table in tables if table), *pictures]


def _findings(layers: pd.DataFrame, arm: pd.Series[Any]) -> Iterator[str]:
    """Whether the extremes win as |B| grows: a sentence whose verdict is computed."""
    last = layers[layers["last"] & (layers["by_pull"].map(len) > 0)]
    if last.empty:
        return
    use_own_end = {}
    for name, quarter in (("low", 0), ("high", 3)):
        own, all_ = ([rows[quarter][2] for rows in last["by_pull"]], [sum(rows[quarter]) for rows in last["by_pull"]])
        totals = pd.DataFrame({"run": last["run_id"], "own": own, "all": all_}).groupby("run").sum()
        use_own_end[name] = totals["own"] / totals["all"]
    low, high = use_own_end["low"], use_own_end["high"]
    found = paired(high, low)
    if np.isnan(found.low):
        verdict = "one seed gives no interval"
    else:
        verdict = (
            "as the algebra predicts" if found.low > 0 else "against what the algebra predicts" if found.high < 0
            else "no difference that the seeds bear out"
        )  # fmt: skip
        verdict += f" (95 % interval {interval(100 * found.low, 100 * found.high)} points)"
    yield (
        f"{arm['arm']}: {percent(high.mean())} % of the quarter of connections with the largest |B| use the value on "
        f"B's end, {percent(low.mean())} % of the quarter with the smallest, n = {len(low)}; by chance "
        f"{percent(1 / arm['options'])} %. A difference of {points(found.mean)} points: {verdict}."
    )


def _signed_constants(layers: pd.DataFrame, arms: pd.DataFrame) -> Iterator[str]:
    """How edge-popup with signed constants relates, where both were trained."""
    popups = arms[(arms["family"] == "edge_popup") & (arms["weight_init"] == "signed_constant")]
    machines = arms[arms["method"] == "slot_machine"]
    last = layers[layers["last"]]
    if popups.empty or machines.empty:
        return
    machine, popup = best_by(machines, "validation_accuracy"), popups.iloc[0]
    used = last[last["arm"] == machine.name]
    share = np.average(extremes(used), weights=used["connections"]) if len(used) else np.nan
    yield (
        f"Edge-popup with signed constants chooses between 0 and one value of fixed size and sign; a connection of a "
        f"slot machine that uses an extreme has chosen the sign of a value near the bound. {percent(share)} % of those "
        f"of {machine['arm']} do. Test accuracy: {_accuracy(popup)} against {_accuracy(machine)}."
    )


def _accuracy(arm: pd.Series[Any]) -> str:
    return f"{percent(arm['test_accuracy'], arm['test_accuracy_half_width'])} %"


def _machines_table(arms: pd.DataFrame, name: str) -> Table | None:
    """A row per slot machine: the extremes and the mean |value| of all its layers together."""
    machines = arms[(arms["method"] == "slot_machine") & (arms["options"] > 1) & arms["extreme_fraction"].notna()]
    if len(machines) < 2:
        return None
    columns = [
        Column("Arm", numeric=False), Column("n"), Column("K"), Column("Extremes", "%"),
        Column("Extremes by chance", "%"), Column("Mean |value| in use"),
    ]  # fmt: skip
    cells = [
        [
            Cell(arm["arm"], family=arm["family"]), Cell(counted_trials(arm), int(arm["n"])),
            Cell(f"{arm['options']}", int(arm["options"])),
            Cell(percent(arm["extreme_fraction"], arm["extreme_fraction_half_width"]), arm["extreme_fraction"]),
            Cell(percent(2 / arm["options"]), 2 / arm["options"]),
            Cell(f"{arm['selected_magnitude']:.3f}", arm["selected_magnitude"]),
        ]
        for arm in machines.to_dict("records")
    ]  # fmt: skip
    shown = [f"{metric}{end}" for metric in ("extreme_fraction", "selected_magnitude") for end in ("", "_half_width")]
    data = machines[["arm", "n", "options", *shown]]
    caption = "Extremes in every slot machine, all layers together, after the last slot epoch"
    return Table(f"{name}-machines", caption, columns, cells, [], data)


def _options_table(layers: pd.DataFrame, arms: pd.DataFrame, name: str) -> Table | None:
    """A row per slot machine and layer."""
    layers = layers[layers["by_pull"].map(len) > 0]
    layers = pd.concat([layers.assign(extreme=extremes(layers)), own_extremes(layers)], axis=1)
    columns = [
        Column("Arm", numeric=False), Column("Layer", numeric=False), Column("Connections"), Column("n"),
        Column("Changed in the last epoch", "%"), Column("Moved", "%"), Column("Extremes, first epoch", "%"),
        Column("Extremes, last epoch", "%"), Column("Extremes by chance", "%"), Column("B's end, smallest |B|", "%"),
        Column("B's end, largest |B|", "%"), Column("Mean |value| in use"), Column("Mean |value| not in use"),
    ]  # fmt: skip
    cells, data = [], []
    for arm, layer, own in _by_layer(layers, arms):
        last, first = own[own["last"]], own[own["epoch"] == own["epoch"].min()]
        shares = {
            "changed": last["changed"], "moved": last["moved"], "extremes_first": first["extreme"],
            "extremes_last": last["extreme"], "own_end_smallest": last["quarter_1"],
            "own_end_largest": last["quarter_4"],
        }  # fmt: skip
        chance = min(1.0, 2 / arm["options"])
        sizes = {column: last[column] for column in ("selected_magnitude", "unselected_magnitude")}
        printed = [_share(values) for values in shares.values()]
        cells.append([
            *_heads(arm, layer, last), *printed[:4], Cell(percent(chance), chance), *printed[4:],
            *map(_size, sizes.values()),
        ])  # fmt: skip
        data.append(_data(arm, layer, last, {**shares, **sizes}) | {"extremes_by_chance": chance})
    if not cells:
        return None
    caption = "Values in use after the last slot epoch"
    return Table(f"{name}-options", caption, columns, cells, [SELECTION_NOTE], pd.DataFrame(data))


def _mask_table(layers: pd.DataFrame, arms: pd.DataFrame, name: str) -> Table | None:
    """A row per mask and layer."""
    columns = [
        Column("Arm", numeric=False), Column("Layer", numeric=False), Column("Connections"), Column("n"),
        Column("Kept", "%"), Column("Changed in the last epoch", "%"), Column("Mean |weight| kept"),
        Column("Mean |weight| dropped"),
    ]  # fmt: skip
    cells, data = [], []
    for arm, layer, own in _by_layer(layers[layers["by_pull"].map(len) == 0], arms):
        last = own[own["last"]]
        kept = pd.Series([counts[-1] for counts in last["counts"]], index=last.index) / last["connections"]
        values = {"kept": kept, "changed": last["changed"], "kept_magnitude": last["selected_magnitude"],
                  "dropped_magnitude": last["unselected_magnitude"]}  # fmt: skip
        printed = [*(_share(values[share]) for share in ("kept", "changed")),
                   *(_size(values[size]) for size in ("kept_magnitude", "dropped_magnitude"))]  # fmt: skip
        cells.append([*_heads(arm, layer, last), *printed])
        data.append(_data(arm, layer, last, values))
    if not cells:
        return None
    return Table(f"{name}-masks", "Weights kept after the last epoch", columns, cells, [MASK_NOTE], pd.DataFrame(data))


def _agreement_table(layers: pd.DataFrame, arms: pd.DataFrame, name: str) -> Table | None:
    """A row per arm and layer that more than one seed has."""
    columns = [
        Column("Arm", numeric=False), Column("Layer", numeric=False), Column("Connections"), Column("n"),
        Column("Shares of the ranks in common", "%"), Column("Same rank", "%"), Column("By chance", "%"),
        Column("kappa"), Column("Range of kappa"),
    ]  # fmt: skip
    cells, data = [], []
    for arm, layer, own in _by_layer(layers[layers["last"]], arms):
        if len(own) < 2:
            continue
        pairs = agreement(own)
        mean, kappa = pairs.mean(), pairs["kappa"].dropna()
        low, high = (float(kappa.min()), float(kappa.max())) if len(kappa) else (np.nan, np.nan)
        cells.append([
            *_heads(arm, layer, own), *(Cell(percent(mean[column]), mean[column]) for column in
                                        ("distribution", "same", "chance")),
            Cell(signed(mean["kappa"], 3), mean["kappa"]) if len(kappa) else Cell(MISSING),
            Cell(f"{signed(low, 3)} to {signed(high, 3)}" if len(kappa) else MISSING),
        ])  # fmt: skip
        data.append({"arm": arm["arm"], "layer": layer, "n": len(own), "pairs": len(pairs), **mean.to_dict(),
                     "kappa_low": low, "kappa_high": high})  # fmt: skip
    if not cells:
        return None
    caption = "Agreement between seeds"
    return Table(f"{name}-agreement", caption, columns, cells, [AGREEMENT_NOTE], pd.DataFrame(data))


def _ranks(layers: pd.DataFrame, arm: pd.Series[Any], name: str, problem: str) -> Iterator[Figure]:
    """Shares of the ranks by layer, in the first epoch and the last; nothing to see where K is 2."""
    if layers.empty or arm["options"] < 3:
        return
    shares = pd.DataFrame(
        [np.array(counts) / max(1, sum(counts)) for counts in layers["counts"]], index=layers.index
    ).rename(columns=lambda column: column + 1)
    drawn = _means(layers, shares, arm)
    title = f"{problem}: rank of the value in use, {arm['arm']}"
    chance = 1 / shares.shape[1]
    grouped = f" Ranks stand in {shares.shape[1]} groups of neighbours." if arm["options"] > shares.shape[1] else ""
    yield _figure(drawn, name, title, "Rank of the value in use among its K, smallest first", "Connections, %", chance,
                  f"The thin line across is chance. {FIRST_AND_LAST}{grouped}")  # fmt: skip


def _quarters(layers: pd.DataFrame, arm: pd.Series[Any], name: str, problem: str) -> Iterator[Figure]:
    """The share that uses the value on B's own end, by quarter of |B|."""
    if layers.empty:
        return
    shares = own_extremes(layers).set_axis([1, 2, 3, 4], axis=1)
    drawn = _means(layers, shares, arm)
    title = f"{problem}: values on B's own end against |B|, {arm['arm']}"
    caption = (
        "Quarters of a layer's connections by |B|, 1 the smallest. By chance it would be "
        f"{percent(1 / arm['options'])} %, the thin line across. {FIRST_AND_LAST}"
    )
    yield _figure(drawn, name, title, "Quarter of the connections by |B|", "Use the value on B's own end, %",
                  1 / arm["options"], caption)  # fmt: skip


def _means(layers: pd.DataFrame, shares: pd.DataFrame, arm: pd.Series[Any]) -> pd.DataFrame:
    """Means over trials of some layers' shares, first epoch and last: series, x, value, half_width, n, first."""
    positions = sorted(set(layers["position"]))
    spread = np.unique(np.linspace(0, len(positions) - 1, LAYERS_DRAWN).round().astype(int))
    first_epoch = layers["epoch"] == layers.groupby("run_id")["epoch"].transform("min")
    parts = []
    for style, position in enumerate(positions[place] for place in spread):
        for is_first, wanted in (
            (False, layers["last"]),
            (True, first_epoch & ~layers["last"]),
        ):
            own = shares[wanted & (layers["position"] == position)]
            if len(own):
                label = layers.loc[own.index[0], "layer"]
                parts.append(pd.DataFrame({
                    "series": label, "family": arm["family"], "style": style % 4, "first": is_first, "x": own.columns,
                    "value": own.mean().to_numpy(), "n": len(own),
                    "half_width": interval_half_width(own.std(), np.full(own.shape[1], len(own))),
                }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _figure(
    drawn: pd.DataFrame, name: str, title: str, x_label: str, y_label: str, chance: float, caption: str
) -> Figure:
    ends = drawn[~drawn["first"]]
    said = [f"{series}: {_heard(group['value'])} %" for series, group in ends.groupby("series", sort=False)]
    words = Words(name, title, f"In the last epoch, from left to right: {'; '.join(said)}.")
    drawing = figures.shares_over(drawn, x_label, y_label, chance, words)
    return Figure(name, title, caption, words.description, drawing.svg, drawn, drawing.written_as)


def _heard(values: pd.Series[float]) -> str:
    """What is listened to, not looked at: of many values the ends and how little is left between them."""
    told = [percent(value) for value in values]
    if len(told) <= MOST_HEARD:
        return ", ".join(told)
    inner = values.iloc[2:-2]
    between = f"{percent(inner.min())} to {percent(inner.max())}"
    return f"{', '.join(told[:2])}, then {between}, at the end {', '.join(told[-2:])}"


def _by_layer(layers: pd.DataFrame, arms: pd.DataFrame) -> Iterator[tuple[pd.Series[Any], str, pd.DataFrame]]:
    for _, own in layers.groupby(["arm", "position"], sort=True):
        yield arms.iloc[int(own["arm"].iloc[0])], str(own["layer"].iloc[0]), own


def _heads(arm: pd.Series[Any], layer: str, last: pd.DataFrame) -> list[Cell]:
    connections = float(last["connections"].iloc[0])
    return [Cell(arm["arm"], family=arm["family"]), Cell(layer), Cell(number(connections), connections),
            Cell(f"{len(last)}", len(last))]  # fmt: skip


def _data(arm: pd.Series[Any], layer: str, last: pd.DataFrame, values: Mapping[str, pd.Series[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "arm": arm["arm"],
        "layer": layer,
        "connections": last["connections"].iloc[0],
        "n": len(last),
    }
    for column, numbers in values.items():
        mean = estimate(numbers)
        found |= {column: mean.mean, f"{column}_half_width": mean.half_width}
    return found


def _share(values: pd.Series[Any]) -> Cell:
    found = estimate(values)
    return Cell(percent(found.mean, found.half_width), None if np.isnan(found.mean) else found.mean)


def _size(values: pd.Series[Any]) -> Cell:
    found = estimate(values)
    if np.isnan(found.mean):
        return Cell(MISSING)
    spread = "" if np.isnan(found.half_width) else f" ± {found.half_width:.3f}"
    return Cell(f"{found.mean:.3f}{spread}", found.mean)
