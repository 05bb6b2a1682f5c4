"""Launches told to MLflow, as a launch does when nothing is left to train."""

from sweeper.tracking.projection import Projection
from sweeper.tracking.run_state import SweepFacts
from sweeper.tracking.tracker import Tracker
from tests.waiting import PATIENCE_SECONDS

FACTS = SweepFacts("tiny", "A tiny sweep.", "name: tiny\n", "s" * 64, {"git_commit": "c" * 40, "version": "0.1.0"})


def projection(address, storage):
    return Projection(address, str(storage / "artifacts" / "tiny"), FACTS)


def project(address, storage, launch):
    """As a launch does when nothing is left to train."""
    tracker = Tracker(projection(address, storage), launch, lambda: 1.5)
    tracker.start()
    tracker.close(PATIENCE_SECONDS)
    assert tracker.behind() == 0, tracker.problem
    return tracker
