"""Keys to claim, a clock that is set, and launches that write down what they train."""

import time

from sweeper.stages.points import point_key
from tests.sweeper.processes import start_sweeper
from tests.waiting import ending_of

KEYS = [point_key("ab" * 32, epoch) for epoch in range(1, 41)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


RECORDED = """
import os, sys, time
from pathlib import Path
from sweeper.launch import worker as execution
from sweeper.cli.main import main
folder, hang, *arguments = sys.argv[1:]
train = execution.TrainingRun.train_epoch
def train_epoch(run):
    epoch = train(run)
    position = run.phase, run.epoch
    if hang and run.recipe.method == "learned" and run.epoch == int(hang):
        Path(folder, "hanging").touch()
        time.sleep(1000)
    time.sleep(0.05)
    recipe = run.recipe.model_copy(update={"slot_epochs": 0}) if run.phase == "slot" else run.recipe
    with open(Path(folder, "epochs"), "a") as file:
        file.write(f"{recipe.content_hash()} {run.phase} {run.epoch} {os.getpid()}\\n")
    return epoch
execution.TrainingRun.train_epoch = train_epoch
Path(folder, f"ready-{os.getpid()}").touch()
while not Path(folder, "go").exists():
    time.sleep(0.01)
sys.exit(main(arguments))
"""


class Recorded:
    """A local launch whose epochs are written down."""

    def __init__(self, folder, *arguments, hang=""):
        self.out = folder / f"out-{time.time_ns()}"
        self.process = start_sweeper(folder, hang, "launch", *arguments, "--local", out=self.out, program=RECORDED)

    def ends_with(self, code):
        assert ending_of(self.process) == code, self.out.read_text()
        return self.out.read_text()


def epochs_of(folder):
    """What was trained, by whom."""
    return [line.split() for line in (folder / "epochs").read_text().splitlines()]
