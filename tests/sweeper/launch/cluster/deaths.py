"""Nodes and workers that die at random while a launch runs on two raylets, and the table that must come out equal."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from sweeper.cli.main import main
from tests.sweeper.launch.cluster.growing import SLOW, Growing, children, growing
from tests.sweeper.launch.started import Started, command_line
from tests.sweeper.small_sweeps import table_of
from tests.waiting import wait_until

SPEC = """\
name: deaths
recipe: {network: lenet, dataset: digits, method: slot_machine, options: 4, width: 0.3}
budget_epochs: %d
slot_epochs: [%d, %d]
arms: [{method: learned}]
seeds: 2
"""


def tables_after_deaths(
    folder: Path, enough: Callable[[int], bool], pause: float, epochs: int = 200, say: Callable[[str], None] = print
) -> list[object]:
    """The tables of a launch whose workers and nodes die until it is enough of deaths, and of an undisturbed one.

    Up to `pause` seconds lie between two deaths: where that is less than a worker takes to start, on a busy machine, a
    stage has many without a saved epoch, and is not given up.
    """
    chance = random.Random()
    (folder / "deaths.yaml").write_text(SPEC % (epochs, epochs // 2, 3 * epochs // 4))
    with growing() as cluster:
        raylets = [cluster.add(), cluster.add()]
        program = SLOW.format(address=cluster.address, hurry=str(folder / "hurry"), pause=40 / epochs)
        launch = Started(
            folder / "deaths.yaml", "--storage", folder / "disturbed", "--ray-address", cluster.address,
            "--save-seconds", "1", "--max-retries", "100", folder=folder, parallel=None, program=program,
        )  # fmt: skip
        deaths = 0
        wait_until(lambda: _workers(raylets), launch.process)
        while not enough(deaths) and launch.process.poll() is None:
            time.sleep(chance.uniform(0.0, pause))
            deaths += _one_dies(cluster, raylets, chance, say)
        (folder / "hurry").touch()
        text = launch.ends_with(0)
        say(text[text.index("completed;") - 40 :])
    assert main(["launch", str(folder / "deaths.yaml"), "--storage", str(folder / "whole"), "--local"]) == 0
    return [table_of(folder / place, "deaths") for place in ("disturbed", "whole")]


def _one_dies(cluster: Growing, raylets: list[int], chance: random.Random, say: Callable[[str], None]) -> int:
    """A worker or a node, for which another one comes; how many that were."""
    if chance.random() < 0.5:
        raylet = raylets.pop(chance.randrange(len(raylets)))
        cluster.kill(raylet)
        raylets.append(cluster.add())
        say(f"{time.strftime('%H:%M:%S')} node {raylet} died, and {raylets[-1]} came")
    elif workers := _workers(raylets):
        pid = chance.choice(workers)
        os.kill(pid, signal.SIGKILL)
        say(f"{time.strftime('%H:%M:%S')} worker {pid} died")
    else:
        return 0
    return 1


def _workers(raylets: list[int]) -> list[int]:
    return [pid for raylet in raylets for pid in children(raylet) if b"Trainable" in command_line(pid)]
