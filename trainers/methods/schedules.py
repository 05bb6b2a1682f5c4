"""How the presets' sources schedule a phase, whatever the method."""

from __future__ import annotations

from typing import Any


def published_schedule(phase: str, preset: str, network: str) -> dict[str, Any]:
    """The weight decay and the schedule of the phase: cosine warm restarts in the paper, in its authors' code a step
    for VGG-19 and else none."""
    if preset != "authors_code":
        schedule: dict[str, Any] = {
            "weight_decay": 1e-4, "schedule": "warm_restarts", "schedule_epochs": 25, "schedule_factor": 2.0,
        }  # fmt: skip
    elif network == "vgg19":
        schedule = {"weight_decay": 1e-4, "schedule": "steps", "schedule_epochs": 80, "schedule_factor": 0.1}
    else:
        schedule = {"weight_decay": 0.0, "schedule": "constant"}
    return {f"{phase}_{name}": value for name, value in schedule.items()}


def is_tuned(network: str, preset: str) -> bool:
    """Whether our own searches have a say: they were of Lenet only, so `tuned` is `icml` for every other network."""
    return preset == "tuned" and network == "lenet"
