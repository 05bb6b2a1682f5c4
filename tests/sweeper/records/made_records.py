"""A record and a state as a stage would leave them."""

import torch

from sweeper.records.stage_record import (
    StageRecord,
)
from sweeper.stages.points import point_key

LINEAGE = "ab" * 32

COSTS_OF_RECORD = {
    "flops": 10**12, "train_seconds": 0.1, "peak_memory_bytes": 5, "state_bytes": 6, "stored_bits_per_weight": 3.0,
}  # fmt: skip


def a_record(start=0, end=2, lineage=LINEAGE, **changes):
    fields = {
        "key": point_key(lineage, end),
        "parent": point_key(lineage, start) if start else None,
        "lineage": lineage,
        "phase": "slot",
        "start": start,
        "end": end,
        "recipe": {"network": "lenet"},
        "data_digest": "d",
        "numerics_version": 1,
        "epochs": [{"epoch": epoch, "train_loss": 0.1 * epoch} for epoch in range(start + 1, end + 1)],
        "test_accuracy": 0.5,
        "test_loss": 1.25,
        "costs": COSTS_OF_RECORD,
        "evaluation_seconds": 0.2,
        "environment": {"host": "here", "threads": 1},
        "started_at": "2026-01-01T00:00:00+00:00",
        "ended_at": "2026-01-01T00:00:01+00:00",
        **changes,
    }
    return StageRecord(**fields)


def a_state(value=1.0):
    return {
        "B.0": torch.full((3, 2), value),
        "position": torch.tensor([0, 2]),
        "c": torch.tensor(0.5, dtype=torch.float64),
    }
