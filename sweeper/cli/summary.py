"""What a launch says when it ends: a table of the arms, what failed and why, where everything is."""

from __future__ import annotations

import shlex
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sweeper.cli.hints import cluster_of, hint, hint_to_launch, storage_flag
from sweeper.launch.launch import Launch
from sweeper.launch.view import SweepView
from sweeper.planning.forecast import Forecast, against
from sweeper.records.sweep_folder import SweepFile, SweepFolder
from sweeper.records.trial_result import ArmResult, TrialResult, arm_results, spent
from sweeper.search.spec_versions import launches_of, version_of_last_launch, wall_seconds_of
from sweeper.stages.status import Status
from sweeper.storage.tracking_address import without_password
from sweeper.text import accuracy, in_words, text_table
from sweeper.tracking.tracker import Tracker


def print_summary(
    run: Launch,
    tracker: Tracker,
    folder: SweepFolder,
    file: SweepFile,
    forecast: Forecast | None = None,
) -> None:
    """Prints how a launch ended, against what it was estimated to take."""
    results, retry = run.results(), hint_to_launch("retry", folder, file)
    print()
    print(arms_table(results))
    print()
    version = version_of_last_launch(file)
    print(totals(run, results, file, version) + by_this_launch(run, len(launches_of(file, version))))
    for line in [
        *taken(run, file, forecast),
        *left_out(run, file, version),
        *failures(run, results, retry),
        *damages(run),
        *[f"Node {node} was left out: {why}" for node, why in run.nodes_left_out.items()],
    ]:
        print(line)
    print(*where(tracker, folder, file), sep="\n")


def standing(view: SweepView) -> str:
    """A text on how far a version of a sweep is: its arms, what was spent, what failed, how to go on."""
    lines = [f"{view.name}: {view.state}" + (f" ({view.folder.holder()})" if view.running else "")]
    if view.spec.description:
        lines.append(view.spec.description)
    lines += ["", arms_table(view.results), "", totals(view.launch, view.results, view.file, view.version)]
    lines += [*failures(view.launch, view.results, _to_go_on("retry", view)), *view.rest()]
    left = view.launch.schedule.epochs_left()
    if left and not view.running:
        lines.append(f"{left:,} epochs are left; to go on: {_to_go_on('resume', view)}")
    return "\n".join(lines)


def _to_go_on(command: str, view: SweepView) -> str:
    """The command that goes on with this version: one of before becomes the present one again."""
    if view.is_present:
        return hint_to_launch(command, view.folder, view.file)
    path = shlex.quote(str(view.versions.path(view.version)))
    return f"sweeper launch {path}{storage_flag(view.folder.storage)}"


def arms_table(results: Sequence[TrialResult]) -> str:
    """A table with a row per arm: means over its completed trials, each with its 95 % interval."""
    from reports.analysis.statistics import estimate

    rows = [
        [
            arm.label,
            accuracy(estimate(arm.validation_accuracies)),
            accuracy(estimate(arm.test_accuracies)),
            _count(arm),
        ]
        for arm in arm_results(results)
    ]
    return text_table(["arm", "validation accuracy", "test accuracy", "n"], rows)


def _count(arm: ArmResult) -> str:
    """'3', '2 of 3, 1 diverged'."""
    n = str(arm.completed) if arm.completed == arm.trials else f"{arm.completed} of {arm.trials}"
    return f"{n}, {arm.diverged} diverged" if arm.diverged else n


def totals(run: Launch, results: Sequence[TrialResult], file: SweepFile, version: int) -> str:
    """A line on the trials of a version, and what launches spent on them."""
    counts = {status: sum(result.status is status for result in results) for status in Status}
    epochs, seconds = spent(run.forest, run.records, run.is_own)
    parts = [f"{counts[Status.COMPLETED]} of {len(results)} trials completed"]
    parts += [f"{counts[Status.STOPPED_EARLY]} stopped early at rungs"] if counts[Status.STOPPED_EARLY] else []
    parts += [f"{counts[Status.FAILED]} failed"] if counts[Status.FAILED] else []
    spent_on_them = f"{epochs:,} epochs trained, {in_words(seconds)} of training"
    return f"{', '.join(parts)}; {spent_on_them}{_launches(file, version)}."


def _launches(file: SweepFile, version: int) -> str:
    """Of which launches that is: ' in 7 s', ' in 14 s of 2 launches', and more where there are several versions."""
    own, wall = launches_of(file, version), wall_seconds_of(file, version)
    if len(own) == len(file.launches):
        several = f" of {len(own)} launches" if len(own) > 1 else ""
        return f" in {in_words(wall)}{several}" if wall else ""
    whole = f", whichever launch trained it; {len(own)} of {len(file.launches)} launches were of this version"
    return f", all for trials of version {version}{whole}" + (f" and took {in_words(wall)}" if wall else "")


def by_this_launch(run: Launch, launches: int) -> str:
    """A sentence on what this launch trained, of what several did; empty where it is the only one."""
    if launches < 2:
        return ""
    epochs, seconds = run.trained_here()
    if not epochs:
        return " This launch trained nothing."
    return f" This launch: {epochs:,} epochs, {in_words(seconds)} of training."


def taken(run: Launch, file: SweepFile, forecast: Forecast | None) -> list[str]:
    """Lines on what this launch trained, against what it was estimated to take."""
    trained = [key for key in run.records if key not in run.forest.stored]
    if forecast is None or run.estimates is None or not trained:
        return []
    expected = sum(run.estimates.seconds(run.forest.stages[key]) or 0.0 for key in trained)
    took = sum(run.records[key].seconds for key in trained)
    is_whole = run.sweep_status() is Status.COMPLETED
    return [against(forecast, expected, took, float(file.launches[-1]["seconds"]), is_whole)]


def left_out(run: Launch, file: SweepFile, version: int) -> list[str]:
    """Lines on the limits that were reached, and what was not run because of them."""
    if not run.limits_reached:
        return []
    account = run.steering.account
    assert account is not None
    spent_by_now = run.spent()
    amounts = {
        "trials": f"{account.trials} begun",
        "epochs": f"{spent_by_now.epochs:g} spent",
        "flops": f"{spent_by_now.flops:.3g} spent",
        "device_hours": f"{account.device_hours(spent_by_now):.4f} spent",
        "wall_hours": f"{account.wall_seconds() / 3600:.4f} passed",
    }
    lines = [f"LIMIT REACHED  {limit} ({amounts[limit.partition(':')[0]]})" for limit in run.limits_reached]
    if run.out_of:
        lines.append(
            "It was reached while stages ran, which took longer than estimated: they are saved where they are."
        )
    if len(launches_of(file, version)) < len(file.launches):
        lines.append(f"What counts is what was spent on the trials of version {version}, and its own launches.")
    return [*lines, f"Not run: {_arms(run.not_run()) or 'what the search would have asked for'}"]


def failures(run: Launch, results: Sequence[TrialResult], retry: str) -> list[str]:
    """Lines per cause of failure, with its trials and a worker's last words; then the command that retries them."""
    causes: dict[str, list[str]] = defaultdict(list)
    last_words: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.failure is not None:
            causes[str(result.failure)].append(result.name)
            if result.failure.last_words:
                last_words[str(result.failure)].append(result.failure.last_words)
    lines = []
    for cause, names in causes.items():
        lines.append(f"FAILED  {cause}: {_some(names)}")
        if cause in last_words:
            lines += ["  The last words of such a worker:", textwrap.indent(last_words[cause][-1], "    ")]
    if run.schedule.given_up:
        lines.append(f"The sweep stopped early: {run.schedule.given_up}.")
    if lines:
        lines.append(f"Once the cause is mended: {retry}")
    return lines


def _arms(trials: Mapping[str, int], shown: int = 12) -> str:
    """'12 trials: K=8 GS (5); K=64 GS (7)'."""
    listed = "; ".join(f"{label} ({count})" for label, count in list(trials.items())[:shown])
    more = f"; and {len(trials) - shown} more arms" if len(trials) > shown else ""
    return f"{sum(trials.values()):,} trials: {listed}{more}" if trials else ""


def _some(names: Sequence[str], shown: int = 3) -> str:
    more = len(names) - shown
    return "; ".join(names[:shown]) + (f"; and {more} more" if more > 0 else "")


def damages(run: Launch) -> list[str]:
    return [
        f"Damaged, so it was set aside and trained again: {found.what} ({found.reason})" for found in run.store.damages
    ]


def where(tracker: Tracker, folder: SweepFolder, file: SweepFile) -> list[str]:
    """Lines on where the results are, and what to do with them."""
    there = " (on the machines of the cluster, as what follows)" if cluster_of(file) else ""
    lines = [
        f"Results:  {folder.storage}{there}",
        f"Tracking: {without_password(file.tracking)} (to browse: {hint('ui', folder)})",
        f"Report:   {hint('report', folder)} -o report",
    ]
    behind = tracker.behind()
    if behind or tracker.problem:
        why = f": {tracker.problem}" if tracker.problem else ""
        lines.append(f"MLflow does not show {behind} trials as they are{why}")
        lines.append(f"To bring it up to date later: {hint('track', folder)}")
    return lines
