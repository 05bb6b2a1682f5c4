"""From rows of a report to runs in the MLflow UI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from reports.tracked.versions import version_tag

LOCAL_UI = "http://127.0.0.1:5000"  # where `sweeper ui` shows a database that has no server


@dataclass(frozen=True)
class Links:
    """Addresses in one MLflow UI."""

    base: str
    versions: Mapping[str, int] = field(default_factory=dict)  # which version is shown, by experiment

    @classmethod
    def of(cls, tracking_uri: str, versions: Mapping[str, int] | None = None) -> Links:
        """The server's own UI, its password left out; for a database the UI that `sweeper ui` starts."""
        address = urlsplit(tracking_uri)
        if address.scheme not in ("http", "https"):
            return cls(LOCAL_UI, versions or {})
        server = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl().rstrip("/")
        return cls(server, versions or {})

    def sweep(self, experiment_id: str) -> str:
        return f"{self.base}/#/experiments/{quote(experiment_id, safe='')}/runs?workflowType=machine_learning"

    def run(self, experiment_id: str, run_id: str) -> str:
        return f"{self.base}/#/experiments/{quote(experiment_id, safe='')}/runs/{quote(run_id, safe='')}"

    def arm(self, experiment_id: str, arm_hash: str) -> str:
        """The runs of one arm, found by its tag; those of the version that is shown."""
        wanted = arm_hash.partition("@")[0].replace("'", "")  # what follows: apart_by_numerics
        found = f"tags.`sweeper.arm_hash` = {wanted!r}"
        if number := self.versions.get(experiment_id):
            found += f" and tags.`{version_tag(number)}` LIKE '%'"
        return f"{self.sweep(experiment_id)}&searchFilter={quote(found, safe='')}"
