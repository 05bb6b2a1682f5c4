"""What networks and data sets of one's own are checked for."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import trainers
from trainers.checks import BrokenRule
from trainers.data.data_set import DataSet, Images
from trainers.data.files import DamagedData, DataError, DataFile, DataFolder, read_verified
from trainers.errors import InvalidInput
from trainers.networks.network import Network
from trainers.plugin_facts import facts_of_registries


def own_network(input_shape, classes, *, width=1.0):
    units = int(8 * width)
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[1] * input_shape[2], units), nn.Linear(units, classes))


def by_python(input_shape, classes):
    network = own_network(input_shape, classes)
    with torch.no_grad():
        network[1].weight.mul_(random.random())
    return network


def without_layers(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64))


def too_many(input_shape, classes):
    return own_network(input_shape, classes + 1)


class Noisy(nn.Linear):
    def forward(self, values):
        return super().forward(values) + torch.rand(())


def noisy(input_shape, classes):
    return nn.Sequential(nn.Flatten(), Noisy(input_shape[1] * input_shape[2], classes))


def precise(input_shape, classes):
    torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)
    random.random()
    return own_network(input_shape, classes)


def network(build) -> Network:
    return Network("Own", build, smallest_sides={1: 1})


def test_a_network_that_keeps_the_rules_passes_whatever_the_task():
    trainers.check_network(network(own_network), width=0.5)
    trainers.check_network(network(own_network), input_shape=(1, 2, 3), classes=6, task="bits")
    trainers.check_network(network(own_network), input_shape=(1, 2, 3), classes=2, task="regression")


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (by_python, "the builder gives other weights the second time"),
        (without_layers, "it has no layer whose weights a method can give"),
        (too_many, r"its outputs are \(16, 5\), not \(16, 4\)"),
        (noisy, "in evaluation its outputs are others the second time"),
        (precise, "the builder changes Python's generator of the whole process"),
    ],
)
def test_a_network_that_breaks_a_rule_is_told_which_with_file_and_line(build, rule):
    with pytest.raises(BrokenRule, match=rule) as broken:
        trainers.check_network(network(build))
    assert f"{__file__}:" in str(broken.value) and f": {build.__name__}: " in str(broken.value)


def rows(data_dir, files):
    values = np.arange(60, dtype=np.float32).reshape(20, 3, 1, 1)
    labels = np.arange(20, dtype=np.uint8) % 2
    return Images(values[:15], labels[:15]), Images(values[15:], labels[15:])


def other_rows(data_dir, files):
    train, test = rows(data_dir, files)
    noise = np.random.default_rng().random(train.pixels.shape).astype(np.float32)
    return Images(train.pixels + noise, train.labels), test


def seeded_rows(data_dir, files):
    np.random.seed(1)
    return rows(data_dir, files)


def from_file(data_dir, files):
    read_verified(data_dir, files[0])
    return rows(data_dir, files)


TABLE = DataSet(
    title="own", validation_examples={"icml": 3}, input_shape=(3, 1, 1), classes=2, train_examples=15, test_examples=5,
    brightest=1, files=(), read=rows,
)  # fmt: skip


def numbers_of(kind, last=8.0):
    def read(data_dir, files):
        train, test = rows(data_dir, files)
        labels = np.arange(40).reshape(20, 2) ** 2 % 17 * np.array([1.0, 1000.0])
        labels[-1, -1] = last
        return Images(train.pixels, labels[:15].astype(kind)), Images(test.pixels, labels[15:].astype(kind))

    return read


REGRESSION = {"task": "regression", "classes": 2}


def test_a_data_set_that_keeps_the_rules_passes():
    trainers.check_data_set(TABLE)
    trainers.check_data_set(replace(TABLE, read=numbers_of(np.float32), **REGRESSION))


@pytest.mark.parametrize(
    ("changes", "error", "rule"),
    [
        ({"read": other_rows}, BrokenRule, "it reads other numbers the second time"),
        ({"read": seeded_rows}, BrokenRule, "the reader changes NumPy's generator of the whole process"),
        ({"train_examples": 14}, DamagedData, r"its training images are \(15, 3, 1, 1\), not \(14, 3, 1, 1\)"),
        ({"classes": 1}, DamagedData, "its training labels are not all whole numbers from 0 to 0"),
        ({"task": "bits"}, DamagedData, r"its training labels are \(15,\), not \(15, 2\)"),
        ({"task": "regression"}, DamagedData, r"its training labels are \(15,\), not \(15, 2\)"),
        ({"read": numbers_of(np.int64), **REGRESSION}, DamagedData, "its training labels are not all finite float32"),
        (
            {"read": numbers_of(np.float32, np.inf), **REGRESSION},
            DamagedData,
            "its test labels are not all finite float32",
        ),
    ],
)
def test_a_data_set_that_is_not_what_it_states_is_told_so(changes, error, rule):
    with pytest.raises(error, match=rule):
        trainers.check_data_set(replace(TABLE, **changes))


def test_files_of_a_data_set_are_known_by_their_digests(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"1,2\n")
    right, wrong = hashlib.md5(b"1,2\n").hexdigest(), "0" * 32
    stated = replace(TABLE, read=from_file, files=(DataFile((("table.csv", right),)),))
    trainers.check_data_set(stated, tmp_path)
    with pytest.raises(DataError, match=r"table\.csv is not the published file .* where 0{32} is published"):
        trainers.check_data_set(replace(stated, files=(DataFile((("table.csv", wrong),)),)), tmp_path)
    with pytest.raises(DataError, match=r"lacks table\.csv"):
        trainers.check_data_set(stated, tmp_path / "elsewhere")


def test_a_folder_of_files_is_known_by_one_digest(tmp_path):
    for name in ("b/two", "a/one"):
        (tmp_path / "speech" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "speech" / name).write_bytes(name.encode())
    digest = hashlib.sha256(b"a/one\n5\na/oneb/two\n5\nb/two").hexdigest()
    stated = replace(TABLE, files=(DataFolder((("speech", digest),)),))
    trainers.check_data_set(stated, tmp_path)
    (tmp_path / "speech" / "a" / "one").write_bytes(b"changed")
    with pytest.raises(DamagedData, match=r"speech is not the published folder \(with SHA-256"):
        trainers.check_data_set(stated, tmp_path)


def deeper(input_shape, classes, depth):
    return own_network(input_shape, classes)


@pytest.mark.parametrize(
    ("registries", "fault"),
    [
        ({"NETWORKS": {"own": own_network}}, "NETWORKS: own: .* is no network"),
        ({"NETWORKS": {"own": network(deeper)}}, "its builder takes depth, which recipes do not have; they have pad"),
        ({"NETWORKS": {"own": Network("Own", own_network, {0: 4})}}, "smallest_sides: the fewest pixels"),
        ({"NETWORKS": {"lenet": network(own_network)}}, "NETWORKS: 'lenet' is one of the package's own"),
        ({"DATA_SETS": {"mnist": TABLE}}, "DATA_SETS: 'mnist' is one of the package's own"),
        ({"DATA_SETS": {"own": rows}}, "DATA_SETS: own: .* is no data set"),
        ({"DATA_SETS": {"own": replace(TABLE, task="bit")}}, r"task: 'bit' is not one of .* \(did you mean bits\?\)"),
        ({"DATA_SETS": {"own": replace(TABLE, input_shape=(3,))}}, "input_shape: channels, height and width"),
    ],
)
def test_what_is_no_network_or_data_set_is_not_registered(registries, fault):
    with pytest.raises(InvalidInput, match=fault):
        facts_of_registries(registries)
