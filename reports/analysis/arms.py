"""From trials to arms: a row per arm, with the mean, interval and n of what completed. Nothing else is averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.statistics import interval_half_width, pareto_front
from reports.tracked.trials import COMPLETED, RECIPE_KINDS, STATUSES, STOPPED_EARLY, metrics_in
from trainers.conversions.registry import families, family_of
from trainers.costs.registry import cost_named, costs_in
from trainers.methods.registry import ALL_METHOD_FIELDS

# Every arm belongs to one family; a family has one name, one colour and one place in every table and figure.
FAMILIES = {family.name: family.label for family in families()}
FAILED, NOT_A_NUMBER = "FAILED", "not a number"  # how the failure of a trial that diverged begins
APART = "@"  # in the hash of an arm: what follows tells it from others of the same recipe
ARM_FIELDS = tuple(field for field in RECIPE_KINDS if field != "seed")


def arms_of(trials: pd.DataFrame, by: Sequence[str] = ("sweep", "arm_hash")) -> pd.DataFrame:
    """A row per arm: recipe, family, `trials`, n, and for every metric `<metric>` (the mean) and `<metric>_half_width`.

    n counts the completed trials that have a test accuracy. `status_<STATUS>` counts trials, `diverged` those that
    failed because their loss was not a number; `device` lists the kinds that completed trials ran on; `seeds` and
    `run_ids` are tuples. Ordered by problem, family, options and label.
    """
    trials = trials.assign(measured=(trials["status"] == COMPLETED) & trials["test_accuracy"].notna())
    keys = list(by) if len(by) > 1 else by[0]
    groups = trials.groupby(keys, sort=False)
    arms = groups[["arm", "sweep", "arm_hash", "experiment_id", *ARM_FIELDS]].first()
    arms["trials"] = groups.size()
    for status in STATUSES:
        arms[f"status_{status}"] = (trials["status"] == status).groupby([trials[key] for key in by]).sum()
    diverged = (trials["status"] == FAILED) & trials["failure"].str.startswith(NOT_A_NUMBER)
    arms["diverged"] = diverged.groupby([trials[key] for key in by]).sum()
    measured = trials[trials["measured"]].groupby(keys, sort=False)
    arms["n"] = measured.size().reindex(arms.index, fill_value=0)
    means, deviations, counts = (
        getattr(measured[metrics_in(trials.columns)], what)() for what in ("mean", "std", "count")
    )
    half_widths = pd.DataFrame(interval_half_width(deviations, counts), index=means.index, columns=means.columns)
    arms = arms.join(means).join(half_widths.add_suffix("_half_width"))
    for name, source in (("seeds", "seed"), ("run_ids", "run_id"), ("devices", "device")):
        sets = {key: tuple(sorted(set(values))) for key, values in measured[source]}
        arms[name] = [sets.get(key, ()) for key in arms.index]
    arms["device"] = arms["devices"].map(", ".join)
    arms["family"] = _families(arms)
    order = {family: place for place, family in enumerate(FAMILIES)}
    arms = arms.reset_index(drop=True).assign(place=lambda frame: frame["family"].map(order))
    order_by = ["dataset", "network", "place", "options", "slot_epochs", "arm", "arm_hash"]
    return arms.sort_values(order_by, ignore_index=True).drop(columns="place")


def apart_by_numerics(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials, those of one arm that other code or other data gave under arms of their own: nothing averages them.

    Such arms are known by NUMERICS_VERSION and the digest of the data, where a trial says them; `arm_hash` and the
    label then end with them.
    """
    differing = {}
    for what in ("numerics_version", "data_digest"):
        said = trials[what].where(trials[what] != "")
        differing[what] = said.groupby(trials["arm_hash"]).transform("nunique") > 1
    differ = differing["numerics_version"] | differing["data_digest"]
    if not differ.any():
        return trials
    version, data = trials["numerics_version"], trials["data_digest"].str[:8]
    circumstances = version + " " + data.where(differing["data_digest"], "")
    label = trials["arm"] + ", numerics " + version.replace("", "unknown")
    label = label.where(~differing["data_digest"], label + ", data " + data.replace("", "unknown"))
    return trials.assign(
        arm=trials["arm"].where(~differ, label),
        arm_hash=trials["arm_hash"].where(~differ, trials["arm_hash"] + APART + circumstances),
        recipe_hash=trials["recipe_hash"].where(~differ, trials["recipe_hash"] + APART + circumstances),
    )


def stopped_together(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials, all completed ones of an arm as stopped early where a rung stopped one of its seeds.

    A seed that was stored beyond the rung has completed whatever the rung said: the mean of such is not the arm's.
    """
    is_stopped = trials["status"] == STOPPED_EARLY
    arms = is_stopped.groupby([trials["sweep"], trials["arm_hash"]]).transform("any").astype(bool)
    return trials.assign(status=trials["status"].where(~arms | (trials["status"] != COMPLETED), STOPPED_EARLY))


def once_each(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of several sweeps with each recipe counted once: a shared trial is one measurement, not two."""
    completed_first = trials.assign(worse=trials["status"] != COMPLETED)
    kept = completed_first.sort_values(["worse", "started", "run_id"], kind="stable").drop_duplicates("recipe_hash")
    return trials.loc[sorted(kept.index)].reset_index(drop=True)


def mark_fronts(arms: pd.DataFrame) -> pd.DataFrame:
    """Add `front_<cost>`: is this arm on the Pareto front of mean test accuracy against that standalone cost?

    Within a network and a data set, and for costs that a machine shows, within a kind of device.
    """
    marked = arms.copy()
    for cost, row in costs_in(arms.columns).items():
        marked[f"front_{cost}"] = False
        for group in same_problem(arms, cost):
            marked.loc[group.index, f"front_{cost}"] = pareto_front(row.sign * group[cost], group["test_accuracy"])
    return marked


def same_problem(arms: pd.DataFrame, cost: str | None = None) -> list[pd.DataFrame]:
    """The arms by network and data set, and for a measured cost by device: only these may be compared."""
    keys = ["network", "dataset", *(["device"] if cost and cost_named(cost).of_machine else [])]
    return [group for _, group in arms[arms["n"] > 0].groupby(keys, sort=False)]


def best_by(arms: pd.DataFrame, metric: str) -> pd.Series[Any]:
    """The arm that stands highest by an accuracy; the first of equals."""
    return arms.iloc[int(standing(arms, metric).argmax())]


def standing(arms: pd.DataFrame, metric: str) -> np.ndarray:
    """Numbers that order arms by an accuracy: of whom all trials completed by their means, above all others.

    The others by the lower end of their intervals, and last those of a single trial: the mean of few is a lucky one
    more often than that of many.
    """
    means = arms[metric].to_numpy(dtype=float)
    lower_ends = means - arms[f"{metric}_half_width"].to_numpy(dtype=float)
    is_whole = (arms["n"] == arms["trials"]).to_numpy(dtype=bool)
    of_others = np.where(np.isnan(lower_ends), means - 2, np.clip(lower_ends, -1, 1))
    return np.nan_to_num(np.where(is_whole, means + 2, of_others), nan=-np.inf)


def counted_trials(arm: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """n as text, with what is missing of an arm: '3', '3 of 5, 1 diverged, 1 failed'."""
    n, trials, diverged = int(arm["n"]), int(arm["trials"]), int(arm["diverged"])
    failed = int(arm[f"status_{FAILED}"]) - diverged
    why = [f"{count} {word}" for count, word in ((diverged, "diverged"), (failed, "failed")) if count]
    return ", ".join([f"{n}" if n == trials else f"{n} of {trials}", *why])


def rows(frame: pd.DataFrame) -> list[Any]:
    """The rows as objects with an attribute per column."""
    return list(frame.itertuples(index=False))


def _families(arms: pd.DataFrame) -> list[str]:
    """The name of every arm's family, by its method's card. Raises InvalidInput for a method that has none."""
    both = (arms["finetune_epochs"].fillna(0) > 0) & (arms["slot_epochs"].fillna(0) > 0)
    own: list[Any] = arms[["method", "conversion", *ALL_METHOD_FIELDS]].to_dict("records")
    return [family_of(row, finetuned).name for row, finetuned in zip(own, both, strict=True)]
