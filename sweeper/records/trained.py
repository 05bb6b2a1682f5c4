"""The trained networks of completed trials, read from what is stored at the ends of their stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeper.records.stage_record import StageRecord
from sweeper.records.store import Store
from sweeper.records.trial_result import TrialResult
from sweeper.stages.faults import StorageFault
from sweeper.stages.status import Status
from trainers.errors import InvalidInput, nearest
from trainers.recipe.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn


def wanted_trials(results: Sequence[TrialResult], names: Sequence[str], sweep: str) -> list[TrialResult]:
    """The completed trials, or those of these names. Raises InvalidInput for one that is not there or not completed."""
    completed = [result for result in results if result.status is Status.COMPLETED]
    if not names:
        if not completed:
            raise InvalidInput(f"sweep: no trial of {sweep!r} is completed yet")
        return completed
    known = {result.name: result for result in results}
    for name in names:
        if name not in known:
            raise InvalidInput(f"trial: {name!r} is not in {sweep!r}{nearest(name, known)}")
        if known[name].status is not Status.COMPLETED:
            raise InvalidInput(f"trial: {name!r} is {known[name].status}, and only a completed one can be exported")
    return [known[name] for name in names]


def record_of(store: Store, result: TrialResult, phase: str) -> StageRecord | None:
    """The stage at whose end the trial's network stands: its last, or the last of its slot phase."""
    records = [record for key in result.trial.stages if (record := store.read(key)) is not None]
    wanted = [record for record in records if phase == "last" or record.phase == phase]
    return wanted[-1] if wanted else None


def network_of(store: Store, recipe: Recipe, record: StageRecord) -> nn.Module:
    """The network as it was at the end of this stage. Raises InvalidInput where its state is gone."""
    from trainers.tickets.trained_network import trained_network

    try:
        return trained_network(recipe, store.read_state(record.key))
    except StorageFault as error:
        raise InvalidInput(f"storage: {error}") from None
