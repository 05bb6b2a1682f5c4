"""What users write in MLflow's UI stays, and what is too long for MLflow is cut and said."""

from dataclasses import replace

import pytest

from sweeper.tracking.mlflow_client import client, log_batch
from sweeper.tracking.projection import Projection
from sweeper.tracking.ui_view import NOTE, cut, note_to_write, report_link
from tests.sweeper.tracking.projected import FACTS


@pytest.fixture
def address(storage) -> str:
    return f"sqlite:///{storage}/mlflow.db"


def described(address, text):
    """The notes of the experiment and of the sweep's own run, after it was projected with this description."""
    projection = Projection(address, "mlflow-artifacts:/tiny", replace(FACTS, description=text))
    projection.connect()
    mlflow = client(address)
    experiment = mlflow.get_experiment_by_name("tiny")
    (run,) = mlflow.search_runs([experiment.experiment_id])
    return experiment.tags[NOTE], run.data.tags[NOTE], experiment.experiment_id, run.info.run_id


def test_what_a_user_wrote_stays_and_what_we_wrote_follows_the_spec(address):
    *_, number, run = described(address, "A sweep.")
    assert described(address, "Another.")[:2] == ("Another.", "Another.")
    mlflow = client(address)
    mlflow.set_experiment_tag(number, NOTE, "seen by ann")
    mlflow.set_tag(run, NOTE, "odd at epoch 3")
    assert described(address, "A third.")[:2] == ("seen by ann", "odd at epoch 3")


def test_a_description_that_is_too_long_is_cut_and_said(address):
    note = described(address, "ü" * 20_000)[0]
    assert note == "ü" * 4000 + " … (cut: it has 20,000 letters)"


def test_a_tag_that_is_too_long_is_cut_and_keeps_nothing_away(address):
    *_, run = described(address, "A sweep.")
    log_batch(client(address), run, [], {"sweeper.failure": "x" * 20_000}, {})
    assert client(address).get_run(run).data.tags["sweeper.failure"] == cut("x" * 20_000)


def test_a_link_to_a_report_stands_before_whatever_note_there_is():
    once = report_link("seen by ann", "1", "2")
    assert once == "[Report](#/experiments/1/runs/2/artifacts/report.html) seen by ann"
    assert report_link(once, "1", "2") == once
    assert note_to_write({NOTE: once}, "A sweep.") == {}
