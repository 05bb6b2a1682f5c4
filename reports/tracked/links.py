"""From rows of a report to runs in the MLflow UI."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

LOCAL_UI = "http://127.0.0.1:5000"  # where `sweeper ui` shows a database that has no server


@dataclass(frozen=True)
class Links:
    """Addresses in one MLflow UI."""

    base: str

    @classmethod
    def of(cls, tracking_uri: str) -> Links:
        """The server's own UI, its password left out; for a database the UI that `sweeper ui` starts."""
        address = urlsplit(tracking_uri)
        if address.scheme not in ("http", "https"):
            return cls(LOCAL_UI)
        return cls(address._replace(netloc=address.netloc.rpartition("@")[2]).geturl().rstrip("/"))

    def sweep(self, experiment_id: str) -> str:
        return f"{self.base}/#/experiments/{quote(experiment_id, safe='')}/runs?workflowType=machine_learning"

    def run(self, experiment_id: str, run_id: str) -> str:
        return f"{self.base}/#/experiments/{quote(experiment_id, safe='')}/runs/{quote(run_id, safe='')}"

    def arm(self, experiment_id: str, arm_hash: str) -> str:
        """The runs of one arm, found by its tag."""
        wanted = arm_hash.partition("@")[0].replace("'", "")  # what follows: apart_by_numerics
        return f"{self.sweep(experiment_id)}&searchFilter={quote(f'tags.`sweeper.arm_hash` = {wanted!r}', safe='')}"
