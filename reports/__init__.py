"""Read tracked sweeps, say what they show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from reports.request import Asked


def build_report(
    sweeps: Sequence[str], tracking_uri: str, out: Path, asked: Asked | None = None, version: int | None = None
) -> Path:
    """Write the report of these sweeps under `out` and return the path of its report.html.

    `version`: of their specs; None is the present one of each.

    Raises InvalidInput for a store that is not there, an unknown sweep or version, or a folder that cannot be written.
    """
    # Here, so that importing this package costs nothing until a report is wanted.
    from reports.analysis.arms import arms_of
    from reports.analysis.moved import read_table
    from reports.document.files import write
    from reports.sections.composition import compose
    from reports.tracked.links import Links
    from reports.tracked.runs import read_curves, read_sweeps, read_texts

    tracked = read_sweeps(sweeps, tracking_uri, version)
    readers = partial(read_curves, tracking_uri=tracking_uri), partial(read_texts, tracking_uri=tracking_uri)
    shown = {sweep.experiment_id: sweep.version.number for sweep in tracked.sweeps}
    links = Links.of(tracking_uri, {place: number for place, number in shown.items() if number})
    asked = asked or Asked()
    then = None
    if asked.against:
        there = Path(asked.against)
        then = read_table(there) if there.is_dir() else arms_of(read_sweeps([asked.against], tracking_uri).trials)
    document, table = compose(tracked, links, *readers, asked, then)
    return write(document, table, out, asked.for_papers)
