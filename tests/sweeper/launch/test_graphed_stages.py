"""A stage is trained by graphs where its device has them, without a word of its order."""

import pytest

from sweeper.launch.worker import DataShelf, StageWorker
from tests.sweeper.small_sweeps import TINY, a_launch
from tests.trainers.recorded_graphs import stand_in
from trainers import training

SMALL_BATCHES = TINY.replace("width: 0.2", "width: 0.1, batch_size: 300")


@pytest.mark.parametrize(("kinds", "made"), [(("cpu",), 1), (("cuda",), 0)])
def test_a_worker_replays_the_steps_of_a_stage_where_its_device_has_graphs(kinds, made, tmp_path, monkeypatch):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SMALL_BATCHES)
    captures = stand_in(monkeypatch)
    monkeypatch.setattr(training, "REPLAYED", kinds)
    launch = a_launch(spec, tmp_path / "storage")
    stage = next(stage for stage in launch.forest.stages.values() if stage.parent is None)
    worker = StageWorker(launch.order(stage), DataShelf())
    while not (step := worker.step()).done:
        pass
    assert step.failure is None
    assert len(captures) == made
