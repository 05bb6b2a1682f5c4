"""The tidy frame of trials, a row each, from what is read of their runs. Knows no MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import pandas as pd

from trainers.costs.registry import COSTS, EPOCHS, costs_in
from trainers.recipe.recipe import Recipe

INFINITE = 1e308  # MLflow stores infinity as the largest double

COMPLETED, STOPPED_EARLY = "COMPLETED", "STOPPED_EARLY"
STATUSES = (COMPLETED, "FAILED", STOPPED_EARLY, "RUNNING", "INTERRUPTED", "PENDING")
TAGS = (
    "arm", "arm_hash", "recipe_hash", "failure", "device", "host", "git_commit", "version", "torch", "python",
    "data_digest", "numerics_version", "imported", "search_trial", "projected",
)  # fmt: skip
TEXTS = ("sweep", "run_id", "experiment_id", "name", "status", "started", "ended", *TAGS)
# Of probabilistic selection, whichever of the two its recipe evaluates by.
BOTH_WAYS = (
    "argmax_test_accuracy", "sampled_test_accuracy", "argmax_validation_accuracy", "sampled_validation_accuracy",
)  # fmt: skip
METRICS = (
    "test_accuracy", "test_loss", "slot_test_accuracy", "validation_accuracy", "validation_loss", "train_accuracy",
    EPOCHS, *COSTS, "extreme_fraction", "selected_magnitude", *BOTH_WAYS,
)  # fmt: skip


def trials_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per trial, in a stable order. Columns: TEXTS, the fields of a recipe, METRICS, costs of plug-ins.

    Recipe fields have their own types (numbers nullable); a recipe tracked twice in one sweep is kept once.
    """
    told = pd.DataFrame(list(records), dtype=object)
    metrics = metrics_in(told.columns)
    raw = told.reindex(columns=[*TEXTS, *RECIPE_KINDS, *metrics])
    columns: dict[str, Any] = {name: ["" if _missing(value) else str(value) for value in raw[name]] for name in TEXTS}
    columns |= {field: _typed(raw[field], kind) for field, kind in RECIPE_KINDS.items()}
    columns |= {metric: _typed(raw[metric], float) for metric in metrics}
    frame = pd.DataFrame(columns).astype(dict.fromkeys(TEXTS, object))
    frame[metrics] = frame[metrics].where(frame[metrics].abs() < INFINITE)
    # Without its tag a trial is a recipe, and an arm, of its own.
    frame["recipe_hash"] = frame["recipe_hash"].where(frame["recipe_hash"] != "", frame["run_id"])
    frame["arm_hash"] = frame["arm_hash"].where(frame["arm_hash"] != "", frame["recipe_hash"])
    frame["best_first"] = (frame["status"] != COMPLETED).astype(int)
    frame = frame.sort_values(["sweep", "recipe_hash", "best_first", "started", "run_id"], kind="stable")
    frame = frame.drop_duplicates(["sweep", "recipe_hash"])
    return frame.drop(columns="best_first").sort_values(["sweep", "arm", "seed", "run_id"]).reset_index(drop=True)


def metrics_in(columns: Iterable[str]) -> list[str]:
    """METRICS, and the costs of plug-ins that a frame has columns for."""
    return list(dict.fromkeys([*METRICS, *costs_in(columns)]))


def _kind(annotation: Any) -> type:
    """The type behind `int | None`, `Annotated[float, …]`, `Literal["a", "b"]`."""
    if isinstance(annotation, type):
        return annotation
    if not get_args(annotation):
        return type(annotation)  # one of the values of a Literal
    inner = [_kind(part) for part in get_args(annotation) if part is not type(None)]
    return next((kind for kind in inner if kind in (bool, int, float)), str)


RECIPE_KINDS: dict[str, type] = {
    name: _kind(field.annotation) for name, field in Recipe.model_fields.items() if name != "filled"
}


def _typed(values: pd.Series[Any], kind: type) -> Any:
    """Parameters are text in MLflow; here numbers are numbers again. What cannot be read is missing."""
    if kind is str:
        return pd.array([None if _missing(value) else value for value in values], dtype=object)
    if kind is bool:
        known = {"True": True, "true": True, "False": False, "false": False, True: True, False: False}
        return pd.array([known.get(value) for value in values], dtype="boolean")
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers.astype("Int64") if kind is int else numbers.astype(float)


def _missing(value: Any) -> bool:
    return value is None or value != value
