"""`sweeper recipe`: the recipe of an arm, of a trial or of the best arm, as a spec that is the same one again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sweeper.cli.command import ExitCode, command
from sweeper.cli.options import storage_option, sweep_argument, version_option
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.place import storage_that_answers
from trainers.errors import InvalidInput

if TYPE_CHECKING:
    from search_spaces.spec import Spec
    from sweeper.launch.view import SweepView
    from sweeper.records.trial_result import TrialResult

SHOWN = 8  # arms that an error lists
LONGEST_NAME = 90


@command("sweeper recipe lenet_options --best > best.yaml")
@sweep_argument()
@click.argument(
    "which", metavar="[ARM|TRIAL]", required=False,
    help="an arm or a trial, as `sweeper runs` names them; of an arm a part of its name will do",
)  # fmt: skip
@storage_option
@click.option("--best", is_flag=True, help="the arm with the best mean validation accuracy (of those that ARM names)")
@version_option()
def recipe(sweep: str, which: str | None, storage: str, best: bool, version: int | None) -> int:
    """Prints a recipe as a spec."""
    from sweeper.launch.view import SweepView

    view = SweepView(SweepFolder.find(storage_that_answers(storage), sweep), version=version)
    print(recipe_spec(view, which, best).to_yaml(), end="")
    return ExitCode.GOOD


def recipe_spec(view: SweepView, which: str | None, best: bool) -> Spec:
    """The spec of a trial or of all trials of an arm. Raises InvalidInput where that is not one."""
    from search_spaces.expansion import as_spec

    trials = [result for result in view.results if result.name == which] or _arm(view, which, best)
    label = which if trials[0].name == which else trials[0].label
    said = f"{label} of {view.name}" + (", the best by validation accuracy" if best else "")
    name = f"{view.folder.name[:LONGEST_NAME]}_recipe"
    return as_spec(name, [result.trial.recipe for result in trials], said)


def _arm(view: SweepView, which: str | None, best: bool) -> list[TrialResult]:
    from sweeper.launch.view import arms_like

    labels = list(dict.fromkeys(result.label for result in view.results))
    found = [label for label in labels if which is None or label in arms_like(which, labels)]
    if best:
        found = [_best(view, found)]
    if len(found) > 1:
        asked = f"{which!r} is in the names of {len(found)} arms" if which else f"{view.name} has {len(found)} arms"
        more = "; …" if len(found) > SHOWN else ""
        raise InvalidInput(f"recipe: {asked}; name one, or say --best; there are {'; '.join(found[:SHOWN])}{more}")
    return [result for result in view.results if result.label in found]


def _best(view: SweepView, labels: list[str]) -> str:
    """Of whole arms the one with the best mean; arms of which trials are missing come after all of them."""
    from reports.analysis.statistics import estimate
    from sweeper.cli.progress import BestArm
    from sweeper.records.trial_result import arm_results

    arms = [arm for arm in arm_results(view.results) if arm.label in labels and arm.completed]
    if not arms:
        raise InvalidInput(f"--best: no trial of {view.name} is completed yet")
    standing = [BestArm(arm.label, estimate(arm.validation_accuracies), arm.trials) for arm in arms]
    return max(standing, key=BestArm.standing).label
