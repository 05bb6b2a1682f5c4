"""How a sweep is first seen in MLflow's UI: a saved view of its trials, best first. Knows no MLflow.

Without one, the UI shows the sweep's own run, its trials folded away, and of what they came to nothing.
"""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence

from sweeper.tracking.versions import version_tag
from trainers.costs.registry import COSTS, EPOCHS

KEY = "trials"  # what a link calls the view by
TAG = f"mlflow.sharedViewState.{KEY}"  # the tag of an experiment that MLflow keeps such a view in
NAME = "Trials, best first"
OURS = "sweeper.described"  # the tag that keeps what we wrote there last: what differs from it is a user's
NOTE = "mlflow.note.content"  # the tag whose text the UI shows as a description, in Markdown
TRIALS = "tags.`sweeper.kind` = 'trial'"
# What a trial came to, and its price.
PRICE = tuple(name for name, cost in COSTS.items() if cost.foremost)
METRICS = ("validation_accuracy_percent", "test_accuracy_percent", EPOCHS, *PRICE)
ALWAYS = ("method",)
TAG_LENGTH = 4000  # MLflow takes a little more
LINK = re.compile(r"^\[Report\]\([^)]*\) ?")  # to a report, before a description


def trials_view(varied: Sequence[str], version: int | None = None, costs: Iterable[str] = ()) -> str:
    """The value of the tag that saves a view: columns of what varies and matters, the best validation accuracy first.

    `version`: only its trials; None: all. `costs`: those of plug-ins, which have columns, too.
    """
    parameters = list(dict.fromkeys([*ALWAYS, *varied]))
    columns = [f"params.`{name}`" for name in parameters] + [f"metrics.`{name}`" for name in (*METRICS, *costs)]
    state = {
        "searchFilter": TRIALS + (f" and tags.`{version_tag(version)}` LIKE '%'" if version else ""),
        "orderByKey": "metrics.`validation_accuracy`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": NAME, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})


def runs_page(experiment_id: str, has_view: bool) -> str:
    """The page of an experiment's runs in the UI; without workflowType the UI opens another page."""
    view = f"&viewStateShareKey={KEY}" if has_view else ""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning{view}"


def described(text: str) -> str:
    """The description with its HTML escaped: the UI shows Markdown, and would load pictures."""
    return html.escape(text, quote=False)


def note_to_write(tags: Mapping[str, str], description: str) -> dict[str, str]:
    """The tags that describe a sweep anew: none where they say so already, or where a user wrote the note."""
    wanted = cut(described(description))
    there = LINK.sub("", tags.get(NOTE, ""))
    if there == wanted:
        return {} if tags.get(OURS) == wanted else {OURS: wanted}
    if there and there != tags.get(OURS):
        return {}
    return {NOTE: wanted, OURS: wanted}


def cut(text: str) -> str:
    """The text, or as much of it as MLflow takes in a tag, with a word on what is missing."""
    return text if len(text) <= TAG_LENGTH else f"{text[:TAG_LENGTH]} … (cut: it has {len(text):,} letters)"


def report_link(description: str, experiment_id: str, run_id: str) -> str:
    """The description with a link to a run's report before it: the UI folds it to its first line."""
    page = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/report.html"
    return f"[Report]({page}) {LINK.sub('', description)}".strip()
