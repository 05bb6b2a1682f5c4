"""Where the numbers come from: what is missing and why, what was run, by which code, on what machine."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.analysis.arms import APART, rows
from reports.document.blocks import Block, Cell, Code, Column, Facts, Notice, Paragraph, Section, Table, slug
from reports.pictures.charts import problem_name
from reports.sections.tables import status_word
from reports.tracked.links import Links
from reports.tracked.runs import Sweep, Tracked
from reports.tracked.trials import COMPLETED, STATUSES, STOPPED_EARLY
from trainers.readable import MISSING, counted, listed, number, seconds

SCORES = {
    "bits": "the shares of bits that are right",
    "regression": "R², the shares of the variance that are explained",
}
MOST_FAILURES = 20  # reasons in a notice; the table of trials has them all
MOST_NAMED = 4  # trials of one reason


def counts(sweep: Sweep, trials: pd.DataFrame) -> dict[str, int]:
    """Trials by status; 'NOT_TRACKED' for those that the spec asks for and MLflow has no run of."""
    found = Counter(trials["status"])
    known = {status: found[status] for status in STATUSES if found[status]}
    other = {status: count for status, count in sorted(found.items()) if status not in STATUSES}
    missing = (sweep.planned or 0) - len(trials)
    return {**known, **other, **({"NOT_TRACKED": missing} if missing > 0 else {})}


def missing(sweep: Sweep, trials: pd.DataFrame) -> Notice | None:
    """What a reader must know about trials that are not in the averages; None where all completed."""
    found = counts(sweep, trials)
    total = sum(found.values())
    done = found.get(COMPLETED, 0)
    without = trials[(trials["status"] == COMPLETED) & trials["test_accuracy"].isna()]
    if done == total and without.empty:
        return None if total else Notice("No trial is tracked yet", ["There is nothing to average."])
    lines = [
        f"{counted(count, 'trial')} {status_word(status)}" for status, count in found.items() if status != COMPLETED
    ]
    if len(without):
        lines.append(f"{counted(len(without), 'completed trial')} whose results MLflow does not have yet")
    failed = trials[(trials["status"] == "FAILED") | ((trials["status"] != COMPLETED) & (trials["failure"] != ""))]
    lines += _reasons(failed)
    if limits := sweep.tags.get("sweeper.limits_reached"):
        left = sweep.tags.get("sweeper.not_run")
        lines.append(f"The sweep came to its limits ({limits})" + (f"; not run: {left}" if left else ""))
    lines.append("Only completed trials are averaged.")
    if found.get(STOPPED_EARLY, 0) + done == total:
        return Notice(f"{done:,} of {counted(total, 'trial')} completed, the others were stopped early at rungs", lines)
    lines[-1] += " Launching the sweep again runs what is missing" + (", within its limits." if limits else ".")
    return Notice(f"Incomplete: {done:,} of {counted(total, 'trial')} completed", lines)


def _reasons(failed: pd.DataFrame) -> list[str]:
    """'2 trials: RuntimeError: … (K=8 GS seed 0, K=8 GS seed 1)', the commonest reason first."""
    names = failed.groupby(failed["failure"].replace("", "no reason given"), sort=False)["name"].apply(list)
    lines = []
    for reason, trials in sorted(names.items(), key=lambda each: -len(each[1])):
        more = f" and {len(trials) - MOST_NAMED} more" if len(trials) > MOST_NAMED else ""
        lines.append(f"{counted(len(trials), 'trial')}: {reason} ({', '.join(trials[:MOST_NAMED])}{more})")
    rest = len(lines) - MOST_FAILURES
    return lines[:MOST_FAILURES] + (
        [f"and {counted(rest, 'more reason')}: see the table of trials"] if rest > 0 else []
    )


def imported(trials: pd.DataFrame) -> list[Paragraph]:
    """That trials were trained elsewhere, and on what; nothing where none was."""
    own = trials[trials["imported"] != ""]
    if own.empty:
        return []
    devices = listed(sorted({device or "hardware that is not named" for device in own["device"]}))
    return [Paragraph(f"Imported: {counted(len(own), 'trial')} of these were trained elsewhere, on {devices}.")]


def counted_before(trials: pd.DataFrame) -> list[Paragraph]:
    """Which trials have FLOPs of an earlier count in MLflow; nothing where none has."""
    old = trials[trials["projected"].str.endswith(":final")]
    if old.empty:
        return []
    again = ", ".join(f"sweeper track {shlex.quote(sweep)}" for sweep in sorted(set(old["sweep"])))
    return [
        Paragraph(f"FLOPs of {counted(len(old), 'trial')} count the gradient of the images, too; {again} mends that.")
    ]


def partial(tracked: Tracked, not_launched: Sequence[str]) -> list[Notice]:
    """What a reader must know before the first number: which sweeps are not there, and which are not whole.

    A sweep whose other trials were all stopped at rungs is whole; it is told that there were some.
    """
    lines: list[str] = []
    pruned: list[str] = []
    for sweep in tracked.sweeps:
        found = counts(sweep, tracked.trials[tracked.trials["sweep"] == sweep.name])
        done, total = found.get(COMPLETED, 0), sum(found.values())
        if done < total:
            others = [f"{n:,} {status_word(status)}" for status, n in found.items() if status != COMPLETED]
            is_whole = done + found.get(STOPPED_EARLY, 0) == total
            line = f"{sweep.name}: {done:,} of {counted(total, 'trial')} completed ({', '.join(others)})."
            (pruned if is_whole else lines).append(line)
    if not_launched:
        lines.append(f"{counted(len(not_launched), 'sweep')} not launched: {', '.join(not_launched)}.")
    notices = [Notice("Partial: what follows rests on completed trials only", lines)] if lines else []
    return [*notices, *([Notice("Rungs stopped some arms: they are in no mean", pruned)] if pruned else [])]


def as_run(trials: pd.DataFrame, tasks: Mapping[str, str]) -> str:
    """What was run, in one line, from the trials themselves: a spec may have been launched with other settings.

    tasks: of data sets that are no classification; their scores stand where accuracies stand.
    """
    done = trials[trials["status"] == COMPLETED]
    if done.empty:
        return ""
    budgets = (done["slot_epochs"].fillna(0) + done["finetune_epochs"].fillna(0)).astype(int)
    problems = sorted({problem_name(arm) for arm in done[["network", "dataset"]].drop_duplicates().to_dict("records")})
    parts = [
        listed(problems), f"preset {listed(sorted(set(done['preset'].dropna())))}",
        _spanned("epoch", budgets), _seeds(done["seed"]), f"{counted(len(done), 'completed trial')}",
        f"on {listed(sorted(set(done['device']) - {''}) or ['hardware that is not named'])}",
        *(f"accuracies on {name} are {SCORES[tasks[name]]}" for name in sorted(tasks.keys() & set(done["dataset"]))),
    ]  # fmt: skip
    return f"As run: {'; '.join(parts)}."


def _span(values: pd.Series[Any]) -> str:
    """'25', '0 and 1', '0 to 3'."""
    known = sorted({int(value) for value in values.dropna()})
    return listed(list(map(str, known))) if len(known) < 3 else f"{known[0]} to {known[-1]}"


def _spanned(noun: str, values: pd.Series[Any]) -> str:
    """'1 epoch', '25 epochs', '1 and 25 epochs'."""
    return f"{_span(values)} {noun}{'' if set(values) == {1} else 's'}"


def _seeds(values: pd.Series[Any]) -> str:
    """'seed 0', 'seeds 0 to 3'."""
    return f"seed{'' if values.nunique() == 1 else 's'} {_span(values)}"


def at_a_glance(sweep: Sweep, trials: pd.DataFrame, arms: pd.DataFrame) -> Facts:
    """The few numbers that head a sweep."""
    found = counts(sweep, trials)
    seeds = _range(trials.groupby("arm_hash")["seed"].nunique())
    pairs = [
        ("trials completed", f"{found.get(COMPLETED, 0):,} of {sum(found.values()):,}"),
        ("arm" if len(arms) == 1 else "arms", f"{len(arms):,}"),
        ("seed per arm" if seeds == "1" else "seeds per arm", seeds),
    ]
    pairs += sweep.version.lines
    spent, alone = sweep.metrics.get("epochs_shared"), sweep.metrics.get("epochs_alone")
    if spent and alone and alone > 0:
        saved = f", {100 * (1 - spent / alone):.0f} % fewer than alone" if spent < alone else ""
        pairs.append((f"epochs{saved}", number(spent)))
    if wall := sweep.metrics.get("wall_seconds"):
        pairs.append(("from launch to end", seconds(wall)))
    return Facts(pairs, prominent=True)


def apart(trials: pd.DataFrame) -> list[Notice]:
    """What a reader must know of arms that were trained by code or on data that give other numbers."""
    versions = sorted(set(trials["numerics_version"]) - {""})
    split = int(trials["arm_hash"].str.contains(APART).sum())
    if not split:
        return []
    lines = [
        f"Of {counted(split, 'trial')} the same recipe was trained under more than one version of the numbers "
        f"({listed(versions)}) or of the data. They are not averaged together: their arms stand apart, and their names "
        "say which they are."
    ]
    return [Notice("Trials that cannot be averaged together", lines)]


def section(tracked: Tracked, links: Links, again: Sequence[str]) -> Section:
    """Provenance of every sweep in the report, and the command that makes it again."""
    blocks: list[Block] = [
        Paragraph("This report was made from the tracked runs by this command; the same runs give the same bytes."),
        Code(shlex.join(again)),
    ]
    subsections = []
    for sweep in tracked.sweeps:
        trials = tracked.trials[tracked.trials["sweep"] == sweep.name]
        inner: list[Block] = [Facts(_facts(sweep, trials, links)), _hardware(sweep, trials)]
        if sweep.spec:
            inner.append(Code(sweep.spec, title="spec.yaml, as it was launched"))
        subsections.append(Section(sweep.name, "", inner))
    return Section("Provenance", "provenance", blocks, subsections, folded=True)


def _facts(sweep: Sweep, trials: pd.DataFrame, links: Links) -> list[tuple[str, str]]:
    by_status = [f"{count:,} {status_word(status)}" for status, count in counts(sweep, trials).items()]
    totals = sweep.metrics
    pairs = [
        ("Trials", listed(by_status) or MISSING),
        *((title[0].upper() + title[1:], text) for title, text in sweep.version.lines),
        ("Started", sweep.started or MISSING),
        ("Ended", sweep.ended or "not ended"),
        ("Spent", ", ".join(filter(None, [
            f"{number(totals['epochs_spent'])} epochs" if "epochs_spent" in totals else "",
            f"{seconds(totals['spent_seconds'])} of device time" if "spent_seconds" in totals else "",
        ])) or MISSING),
        ("Commit", _values(trials["git_commit"]) or sweep.tags.get("sweeper.git_commit", MISSING)),
        ("Version", _values(trials["version"]) or sweep.tags.get("sweeper.version", MISSING)),
        ("Recipe family", _values(trials["preset"]) or MISSING),
        ("Spec hash", sweep.tags.get("sweeper.spec_hash", MISSING)),
        ("MLflow", links.sweep(sweep.experiment_id)),
    ]  # fmt: skip
    own = {"Data digest": "data_digest", "Numerics version": "numerics_version", "torch": "torch", "Python": "python"}
    return [*pairs, *((title, _values(trials[tag])) for title, tag in own.items() if _values(trials[tag]))]


def _hardware(sweep: Sweep, trials: pd.DataFrame) -> Table:
    """Which machines the trials ran on; where there are several, times are not compared across them."""
    data = trials[trials["device"] != ""].groupby(["device", "host"], sort=True).size().rename("trials").reset_index()
    cells = [[Cell(row.device), Cell(row.host), Cell(f"{row.trials:,}", int(row.trials))] for row in rows(data)]
    columns = [Column("Device", numeric=False), Column("Host", numeric=False), Column("Trials")]
    return Table(f"hardware-{slug(sweep.name)}", "Hardware", columns, cells, [], data)


def _values(column: pd.Series[Any]) -> str:
    return ", ".join(sorted({str(value) for value in column if value}))


def _range(values: pd.Series[Any]) -> str:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    return f"{low}" if low == high else f"{low} to {high}"
