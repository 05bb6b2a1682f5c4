"""Kept counts of networks: those counted anew, believed only for their own sources, and enough to plan without torch.

python -m tests.trainers.costs.test_shapes --renew     counts the known networks, and keeps them with the package
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from search_spaces.loading import bundled_specs, load_spec
from sweeper.launch.sweep import reachable
from trainers.costs import counting, shapes
from trainers.costs.counting import counted, step_bytes
from trainers.costs.shapes import KNOWN, NetworkShape, as_json, counting_sources, network_shape, shape_key
from trainers.data.registry import DATA_SETS
from trainers.errors import InvalidInput
from trainers.networks.network import NEUTRAL, Network
from trainers.networks.registry import NETWORKS, network_arguments
from trainers.recipe.choices import Preset
from trainers.recipe.recipe import Recipe

ROOT = Path(__file__).parents[3]
Known = tuple[str, dict[str, Any], tuple[int, int, int], int]


@cache
def known_networks() -> dict[str, Known]:
    """The networks of every preset on every data set, and those of the bundled specs."""
    recipes = []
    for preset, network, dataset in product(get_args(Preset), NETWORKS, DATA_SETS):
        given = {"preset": preset, "network": network, "dataset": dataset, "method": "learned", "finetune_epochs": 1}
        with suppress(InvalidInput):  # too small an image for this network
            recipes.append(Recipe.complete(given))
    for name in bundled_specs():
        recipes += reachable(load_spec(name))
    found = {}
    for recipe in recipes:
        if data := DATA_SETS.get(recipe.dataset):
            fields = network_arguments(recipe)
            key = shape_key(recipe.network, fields, data.input_shape, data.classes)
            found[key] = (recipe.network, fields, data.input_shape, data.classes)
    return found


def kept() -> dict[str, Any]:
    return json.loads(KNOWN.read_text())["networks"]


RENEW = "python -m tests.trainers.costs.test_shapes --renew"


def test_the_kept_counts_are_of_these_sources_and_of_every_known_network():
    assert json.loads(KNOWN.read_text())["sources"] == counting_sources(), RENEW
    assert kept().keys() == known_networks().keys(), RENEW


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_kept_of_a_network_is_what_is_counted(network):
    for key, known in known_networks().items():
        if known[0] == network:
            assert kept()[key] == counted(*known), key


@pytest.mark.parametrize("network", NETWORKS)
def test_the_bytes_of_a_step_grow_evenly_with_the_batch(network):
    with torch.device("meta"):
        built = NETWORKS[network]((3, 32, 32), 10)
    shape = NetworkShape(**counted(network, {}, (3, 32, 32), 10))
    for batch in (2, 25, 128):
        assert shape.step_bytes(batch) == step_bytes(built, (3, 32, 32), batch)


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """An empty folder in place of the user's cache, and no memory of what this process knows."""
    monkeypatch.setattr(shapes, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(shapes, "_known", shapes.cache(shapes._known.__wrapped__))
    return tmp_path


def forget(monkeypatch):
    monkeypatch.setattr(shapes, "_known", shapes.cache(shapes._known.__wrapped__))


def test_an_unknown_network_is_counted_once_and_remembered(own_cache, monkeypatch):
    first = network_shape("lenet", {"width": 0.37}, (1, 8, 8), 10)
    assert first == NetworkShape(**counted("lenet", {"width": 0.37}, (1, 8, 8), 10))
    forget(monkeypatch)
    monkeypatch.setattr(counting, "counted", None)  # calling it would fail
    assert network_shape("lenet", {"width": 0.37}, (1, 8, 8), 10) == first


def test_what_is_remembered_is_not_believed_for_other_sources(own_cache, monkeypatch):
    right = network_shape("lenet", {"width": 0.37}, (1, 8, 8), 10)
    [remembered] = own_cache.iterdir()
    key = shape_key("lenet", {"width": 0.37}, (1, 8, 8), 10)
    wrong = {key: replace(right, connections=1)}
    forget(monkeypatch)
    remembered.write_text(as_json(counting_sources(), wrong))
    assert network_shape("lenet", {"width": 0.37}, (1, 8, 8), 10).connections == 1
    for text in (as_json("of other sources", wrong), "{", "[]", json.dumps({"sources": counting_sources()})):
        forget(monkeypatch)
        remembered.write_text(text)
        assert network_shape("lenet", {"width": 0.37}, (1, 8, 8), 10) == right, text


def test_a_builder_from_elsewhere_is_known_by_its_own_file(own_cache, monkeypatch, tmp_path):
    monkeypatch.setitem(NETWORKS, "elsewhere", Network("Elsewhere", _elsewhere, {1: 1}))
    assert network_shape("elsewhere", {}, (1, 8, 8), 10).connections == 640
    assert counting_sources(Path(__file__)) != counting_sources()
    assert [path for path in own_cache.iterdir() if '"elsewhere 1x8x8 10"' in path.read_text()]


def test_without_a_folder_to_remember_in_a_network_is_counted_all_the_same(own_cache, monkeypatch):
    monkeypatch.setattr(shapes, "cache_folder", lambda: None)
    assert network_shape("lenet", {"width": 0.37}, (1, 8, 8), 10).connections > 0


def test_one_width_has_one_name_however_it_is_written():
    assert shape_key("lenet", {"width": 1}, (1, 8, 8), 10) == shape_key("lenet", {"width": 1.0}, (1, 8, 8), 10)
    assert set(NEUTRAL) == {"padding", "width", "dropout", "activation", "readout"}


def _elsewhere(input_shape, classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes, bias=False))


@pytest.mark.parametrize("spec", ["digits_quickstart", "lenet_options", "finetune_splits"])
def test_a_plan_of_known_networks_loads_no_torch(spec, tmp_path):
    program = "import sys; sys.modules['torch'] = None; from sweeper.cli.main import main; sys.exit(main())"
    asked = [sys.executable, "-c", program, "plan", spec, "--storage", str(tmp_path)]
    hidden = {**os.environ, "HOME": str(tmp_path)}  # no cache of counts
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, env=hidden)
    assert done.returncode == 0, done.stderr
    assert "FLOP alone" in done.stdout


def renew() -> None:
    """Counts the known networks and writes them beside the code that reads them."""
    found = {key: NetworkShape(**counted(*known)) for key, known in known_networks().items()}
    KNOWN.write_text(as_json(counting_sources(), found))
    print(f"{KNOWN.name}: {len(found)} networks")


if __name__ == "__main__":
    if "--renew" in sys.argv[1:]:
        renew()
