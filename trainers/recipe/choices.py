"""The choices that a recipe's fields have by name, but for those that are registered."""

from __future__ import annotations

from typing import Literal, get_args

Phase = Literal["slot", "finetune", "conversion"]


IN_ORDER: tuple[Phase, ...] = get_args(Phase)


PHASES: tuple[Phase, ...] = IN_ORDER[:2]  # that train: a conversion has no epochs, so no rates either


Schedule = Literal["constant", "warm_restarts", "steps", "cosine", "cooldown", "staircase"]


# What each schedule is told beside its name, by the ends of the fields' names.
SCHEDULE_FIELDS: dict[Schedule, tuple[str, ...]] = {
    "constant": (),
    "warm_restarts": ("epochs", "factor"),
    "steps": ("epochs", "factor"),
    "cosine": (),
    "cooldown": ("epochs",),
    "staircase": ("epochs", "factor"),
}


Preset = Literal["icml", "authors_code", "tuned"]


# A schedule that looks at the length of its phase makes phases of different lengths differ from their first step.
LENGTH_DEPENDENT_SCHEDULES: frozenset[Schedule] = frozenset({"cosine", "cooldown"})


LABELS = frozenset({"preset", "filled"})  # say where a recipe came from; they change no result
