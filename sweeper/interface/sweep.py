"""A sweep that was launched: its trials, arms and curves as frames, its networks, its report, and how to go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from sweeper.cli.command import ExitCode
from sweeper.cli.commands.launch import at_rest, launch_again
from sweeper.cli.commands.recipe import recipe_spec
from sweeper.cli.commands.stop import wait_until_stopped
from sweeper.cli.commands.sweeps.arms import arms_in
from sweeper.cli.commands.sweeps.two_axes import interactions
from sweeper.cli.summary import arms_table
from sweeper.interface.settings import LaunchSettings, launch_options, said
from sweeper.interface.spec import Spec
from sweeper.launch.view import SweepView
from sweeper.records.sweep_folder import SweepFolder
from sweeper.records.trained import network_of, record_of, wanted_trials
from sweeper.records.trial_result import CURVES, TrialResult
from sweeper.storage.place import storage_that_answers
from trainers.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

STORAGE = "sweeper-storage"
UNKNOWN = ("run_id", "experiment_id")  # columns of MLflow's that the storage has no values for


class NotCompleted(RuntimeError):
    """A launch ended, and some trials failed or were not run; `sweep` is what there is of it."""

    def __init__(self, message: str, sweep: Sweep) -> None:
        super().__init__(message)
        self.sweep = sweep


class Stopped(NotCompleted):
    """Somebody stopped it: what was trained is kept, and `sweep.resume()` goes on."""


class LimitReached(NotCompleted):
    """A limit of the spec was reached, or no node of the cluster came: `sweep.resume` takes higher ones."""


class Sweep:
    """A sweep in a storage. Every call reads the storage as it is then, also while it runs elsewhere.

    Raises InvalidInput for a sweep that is not there.
    """

    def __init__(self, name: str, storage: str | Path = STORAGE) -> None:
        self.name, self.storage = name, str(storage)
        self._folder = SweepFolder.find(storage_that_answers(self.storage), name)

    @property
    def state(self) -> str:
        """`running`, `completed`, `failed` or `stopped`."""
        return self._view().state

    def trials(self) -> pd.DataFrame:
        """A row per trial: sweep, name, arm, seed, status, the recipe's fields, accuracies (0..1), standalone costs.

        Columns that no trial has a value for are left out, but for those named here and `failure`.
        """
        return _filled(self._all_trials(), keep=("validation_accuracy", "test_accuracy"))

    def arms(self) -> pd.DataFrame:
        """A row per arm: of every measure the mean over its n completed trials, and in `<measure>_half_width` the 95 %.

        Recipes that are alike but for the seed are one arm; of other data or numerics they are arms of their own.
        """
        from reports.analysis.arms import apart_by_numerics, arms_of, stopped_together

        arms = arms_of(stopped_together(apart_by_numerics(self._all_trials())))
        return _filled(arms.drop(columns=["run_ids"]), keep=("validation_accuracy", "test_accuracy"))

    def interaction(self, field: str, other: str, *, paired: bool = False) -> pd.DataFrame:
        """Whether a field of the recipe matters more where another is another, as `sweeper compare --axes` says it.

        A row per four arms that differ in the two alone, and per accuracy (0..1): `first_difference` and
        `second_difference` are what `field` does at `other_against` and at `other_value`; `difference` is by how much
        more, with its 95 % interval. `paired`: trials of one seed are. Raises InvalidInput where no four are there.
        """
        import pandas as pd

        return pd.DataFrame(interactions(arms_in(self._view(), self.name), field, other, paired=paired).rows())

    def curves(self) -> pd.DataFrame:
        """A row per trial and epoch: name, arm, seed, phase, epoch, total_epoch, train_seconds, losses, accuracies."""
        import pandas as pd

        told = ("phase", "epoch", "total_epoch", "train_seconds", *CURVES)
        rows = [
            {"name": result.name, "arm": result.label, "seed": result.trial.recipe.seed}
            | {name: epoch.get(name) for name in told}
            for result in self._view().results
            for epoch in result.epochs
        ]
        return pd.DataFrame(rows, columns=["name", "arm", "seed", *told])

    def network(self, trial: str | Mapping[str, Any]) -> nn.Module:
        """The trained network of a completed trial, on the CPU, in evaluation mode.

        `trial`: its name, or a row of `trials()`. Raises InvalidInput, also where its state was removed.
        """
        name = trial if isinstance(trial, str) else trial["name"]
        view = self._view()
        (result,) = wanted_trials(view.results, [name], self.name)
        store = view.launch.store
        record = record_of(store, result, "last")
        if record is None:
            raise InvalidInput(f"trial: of {name!r} no stage is stored")
        return network_of(store, result.trial.recipe, record).eval()

    def recipe(self, which: str | None = None, *, best: bool = False) -> Spec:
        """The spec of an arm or a trial, by its name, with all that its recipe says; or of the best arm.

        Its trials are these trials: a plan says that they are stored already. Best by mean validation accuracy. Raises
        InvalidInput where the name is not that of one arm or trial.
        """
        return Spec(**recipe_spec(self._view(), which, best).model_dump(exclude_unset=True))

    def report(self, out: str | Path) -> Path:
        """Writes the report of the sweep into a folder; returns the path of report.html. MLflow is only read."""
        from reports import build_report
        from sweeper.cli.commands.mlflow import tracking_of
        from sweeper.storage.tracking_file import address_for_mlflow

        address = tracking_of(self._folder.storage, None, [self.name])
        return build_report([self.name], address_for_mlflow(address), Path(out))

    def stop(self, wait: bool = True) -> None:
        """Asks the launch that runs, here or on another machine, to finish its epochs, save, and end.

        Does nothing where none runs. `wait`: until it has ended.
        """
        if not self._folder.is_running():
            return
        holder = self._folder.holder()
        self._folder.ask_to_stop()
        if wait:
            wait_until_stopped(self._folder, holder)

    def resume(
        self,
        limits: Mapping[str, float] | None = None,
        *,
        retry: bool = False,
        progress: bool = True,
        **settings: Unpack[LaunchSettings],
    ) -> Self:
        """Goes on with it as it was launched last, but for these settings; returns it once it is completed.

        `limits`: new ones, such as `{"epochs": 100}`. `retry`: what failed for good is tried again. Raises as
        `sweeper.launch` does.
        """
        options = launch_options(settings)
        overrides = [f"limits.{name}={value}" for name, value in (limits or {}).items()]
        folder, spec = at_rest(self.storage, self.name, overrides)
        with said(progress):
            code = launch_again(folder, spec, options, forget_failures=retry)
        return self.ended(code)

    def ended(self, code: int) -> Self:
        """The sweep, where a launch of it ended with exit code 0; else raises what that code stands for."""
        if code == ExitCode.GOOD:
            return self
        outcome = self._folder.read().launches[-1]["outcome"]
        kinds = {ExitCode.INTERRUPTED: Stopped, ExitCode.LIMIT_REACHED: LimitReached}
        failed = [f"{result.name}: {result.failure}" for result in self._view().results if result.failure]
        message = "\n".join([f"{self.name}: not completed ({outcome})", *failed[:5]])
        raise kinds.get(ExitCode(code), NotCompleted)(message, self)

    def __repr__(self) -> str:
        return f"<Sweep {self.name!r} in {self.storage}>"

    def __str__(self) -> str:
        view = self._view()
        return f"{view.name}: {view.state}\n\n{arms_table(view.results)}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

    def _view(self) -> SweepView:
        return SweepView(self._folder)

    def _all_trials(self) -> pd.DataFrame:
        from reports.tracked.trials import trials_frame

        return trials_frame(_row(self.name, result) for result in self._view().results)


def _row(sweep: str, result: TrialResult) -> dict[str, Any]:
    """A trial as `trials_frame` takes it."""
    recipe = result.trial.recipe
    last = {name: value for name, value in (result.epochs[-1] if result.epochs else {}).items() if name in CURVES}
    where = {name: value for name, value in result.environment.items() if not isinstance(value, dict | list)}
    return {
        **where,
        **recipe.model_dump(mode="json", exclude={"filled"}),
        **last,
        **result.finals,
        "sweep": sweep,
        "name": result.name,
        "arm": result.label,
        "arm_hash": recipe.arm_hash(),
        "recipe_hash": recipe.content_hash(),
        "status": str(result.status),
        "failure": str(result.failure) if result.failure else "",
        "search_trial": "" if result.search_trial is None else str(result.search_trial),
    }


def _filled(frame: pd.DataFrame, keep: tuple[str, ...]) -> pd.DataFrame:
    """The columns in which some row has a value, and those to be kept."""
    kept = {"failure", *keep}
    empty = [
        name
        for name in frame.columns
        if name in UNKNOWN or (name not in kept and (frame[name].isna() | (frame[name].astype(str) == "")).all())
    ]
    first = [name for name in ("sweep", "name", "arm", "seed", "status") if name in frame.columns]
    return frame[[*first, *(name for name in frame.columns if name not in (*first, *empty))]]
