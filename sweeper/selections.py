"""What gets selected along a trial: which epochs of it are kept, and its text for MLflow.

The trainers say it of every epoch and layer. Kept are epochs 1, 2, 5, 10, 20, 50 … of a phase and the last of a stage,
so that what a store and a tracking server hold stays small, and is the same however a trial was cut into stages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ARTIFACT = "selection.json"
Snapshot = dict[str, Any]  # "epoch" of the phase, and "layers": trainers' LayerSelection, one each


def is_kept(epoch: int) -> bool:
    """Whether this epoch is kept wherever it stands in a stage: 1, 2 and 5 times powers of ten."""
    return str(epoch).rstrip("0") in ("1", "2", "5")


def with_epoch(snapshots: Sequence[Snapshot], epoch: int, layers: Sequence[Mapping[str, Any]]) -> list[Snapshot]:
    """The snapshots of a stage after one more epoch. Only the last has the samples of single connections."""
    if not layers:  # finetuning selects nothing
        return list(snapshots)
    kept = [_without_samples(snapshot) for snapshot in snapshots if is_kept(snapshot["epoch"])]
    return [*kept, {"epoch": epoch, "layers": [dict(layer) for layer in layers]}]


def selection_text(snapshots: Iterable[Snapshot]) -> str:
    """The snapshots of a trial's stages, one after the other, as the JSON of the trial."""
    kept: list[Snapshot] = []
    for snapshot in snapshots:
        kept = with_epoch(kept, snapshot["epoch"], snapshot["layers"])
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def _without_samples(snapshot: Snapshot) -> Snapshot:
    layers = [{name: value for name, value in layer.items() if name != "sample"} for layer in snapshot["layers"]]
    return {**snapshot, "layers": layers}
