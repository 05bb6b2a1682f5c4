"""Data: real files or a clear error, disjoint splits, normalised tensors; nothing fetched that is there."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import importlib.machinery
import itertools
import socket
import struct
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.data.batches import training_batches
from trainers.data.digests import check_data, data_digest, published_digest
from trainers.data.files import DataError, DataFile
from trainers.data.registry import DATA_SETS
from trainers.data.splits import Split, load_splits, split_rows
from trainers.errors import InvalidInput
from trainers.recipe.recipe import Recipe

IDX_NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def recipe(dataset: str = "digits", **fields: object) -> Recipe:
    network = "conv2" if dataset == "cifar10" else "lenet"
    return Recipe.complete({"network": network, "dataset": dataset, "method": "learned", **fields})


def idx(array: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch) -> Path:
    """A folder with a complete data set in MNIST's format: 50 training and 20 test images; known as "mnist"."""
    random = np.random.default_rng(0)
    arrays = []
    for count in (50, 20):
        arrays += [random.integers(0, 256, (count, 28, 28), np.uint8), random.integers(0, 10, count, np.uint8)]
    files = []
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        plain, packed = idx(array), gzip.compress(idx(array), mtime=0)
        for suffix, content in (("", plain), (".gz", packed)):
            path = tmp_path / "MNIST" / "raw" / (name + suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        forms = ((name, plain), (name + ".gz", packed))
        files.append(DataFile(tuple((f"MNIST/raw/{form}", hashlib.md5(text).hexdigest()) for form, text in forms)))
    counts = {"train_examples": 50, "test_examples": 20, "validation_examples": {}}
    tiny = replace(DATA_SETS["mnist"], **counts, files=tuple(files))
    monkeypatch.setitem(DATA_SETS, "mnist", tiny)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_splits_of_digits_have_the_sizes_of_the_recipe_and_share_no_image():
    splits = load_splits(recipe(validation_examples=200), None)
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [1238, 200, 359]
    assert (splits.classes, splits.input_shape) == (10, (1, 8, 8))
    images = [
        {image.numpy().tobytes() for image in part.images} for part in (splits.train, splits.validation, splits.test)
    ]
    for one, other in itertools.combinations(images, 2):
        assert not one & other


@pytest.mark.parametrize("split_seed", [0, 1])
def test_every_training_image_either_trains_or_validates(split_seed):
    train, validation = split_rows(1000, 150, split_seed)
    assert (len(train), len(validation)) == (850, 150)
    assert sorted([*train, *validation]) == list(range(1000))


def test_what_is_held_out_depends_on_the_split_seed_and_on_nothing_else():
    one = load_splits(recipe(seed=0, split_seed=3), None)
    same = load_splits(recipe(seed=1, split_seed=3, network="lenet", method="slot_machine"), None)
    other = load_splits(recipe(seed=0, split_seed=4), None)
    assert torch.equal(one.validation.labels, same.validation.labels)
    assert torch.equal(one.train.images, same.train.images)
    assert not torch.equal(one.validation.labels, other.validation.labels)


def test_the_test_split_is_the_same_whatever_the_split_seed():
    one, other = (load_splits(recipe(split_seed=seed, normalisation="unit"), None).test for seed in (3, 4))
    assert torch.equal(one.images, other.images)


def test_digits_are_scikit_learns_digits():
    from sklearn.datasets import load_digits

    splits = load_splits(recipe(normalisation="unit"), None)
    ours = sorted(
        (int(label), (image * 16).numpy().tobytes())
        for split in (splits.train, splits.validation, splits.test)
        for image, label in zip(split.images, split.labels, strict=True)
    )
    theirs = load_digits()
    assert ours == sorted(
        (int(label), image.astype(np.float32).tobytes())
        for image, label in zip(theirs.images, theirs.target, strict=True)
    )


def test_standard_images_have_mean_zero_and_variance_one_on_the_training_split():
    splits = load_splits(recipe(), None)
    assert splits.train.images.dtype == torch.float32
    assert splits.train.labels.dtype == torch.int64
    assert splits.train.images.double().mean().abs() < 1e-6
    assert (splits.train.images.double().std(correction=0) - 1).abs() < 1e-6
    assert splits.validation.images.double().mean().abs() > 1e-4  # not computed from the images held out


def test_unit_images_lie_between_0_and_1_and_reach_both():
    splits = load_splits(recipe(normalisation="unit"), None)
    for split in (splits.train, splits.validation, splits.test):
        assert (split.images.min(), split.images.max()) == (0, 1)


def test_symmetric_images_are_unit_images_doubled_and_less_one():
    unit, symmetric = (load_splits(recipe(normalisation=kind), None) for kind in ("unit", "symmetric"))
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(symmetric, name).images, 2 * getattr(unit, name).images - 1)


def test_normalisation_is_that_of_torchvision(tiny_mnist):
    from torchvision import datasets, transforms

    splits = load_splits(recipe("mnist", validation_examples=10, normalisation="standard"), tiny_mnist)
    rows, _ = split_rows(50, 10, 0)
    training = torch.stack([transforms.ToTensor()(image) for image, _ in datasets.MNIST(tiny_mnist, train=True)])[rows]
    normalise = transforms.Normalize(training.mean((0, 2, 3)), training.std((0, 2, 3), correction=0))
    tests = datasets.MNIST(tiny_mnist, train=False, transform=transforms.Compose([transforms.ToTensor(), normalise]))
    torch.testing.assert_close(splits.train.images, normalise(training), rtol=0, atol=2e-6)
    torch.testing.assert_close(splits.test.images, torch.stack([image for image, _ in tests]), rtol=0, atol=2e-6)
    assert splits.test.labels.tolist() == [label for _, label in tests]


def test_batches_give_every_image_once_in_order():
    split = Split(torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10))
    batches = list(split.batches(4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)
    assert torch.equal(torch.cat([images for images, _ in batches]), split.images)


def test_a_validation_split_that_leaves_nothing_to_train_on_is_refused():
    message = r"validation_examples: must be below 1438, the number of training images, .* not 1438"
    with pytest.raises(InvalidInput, match=message):
        recipe(validation_examples=1438)
    with pytest.raises(DataError, match=message):
        split_rows(1438, 1438, 0)
    assert len(load_splits(recipe(validation_examples=1437), None).train) == 1


def test_a_complete_folder_is_read_without_the_network(tiny_mnist, no_network):
    check_data("mnist", tiny_mnist, download=True)
    splits = load_splits(recipe("mnist", validation_examples=10), tiny_mnist, download=True)
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [40, 10, 20]


@pytest.mark.parametrize("removed", ["", ".gz"])
def test_packed_and_unpacked_files_give_the_same_splits_and_digest(tiny_mnist, removed):
    both = load_splits(recipe("mnist", validation_examples=10), tiny_mnist)
    for name in IDX_NAMES:
        (tiny_mnist / "MNIST" / "raw" / (name + removed)).unlink()
    one = load_splits(recipe("mnist", validation_examples=10), tiny_mnist, download=False)
    assert torch.equal(one.train.images, both.train.images)
    assert torch.equal(one.test.labels, both.test.labels)
    assert one.digest == both.digest == data_digest("mnist", tiny_mnist)


def test_a_missing_file_is_named_with_what_to_do(tiny_mnist):
    for suffix in ("", ".gz"):
        (tiny_mnist / "MNIST" / "raw" / (IDX_NAMES[1] + suffix)).unlink()
    message = (
        r"data_dir: .* lacks MNIST/raw/train-labels-idx1-ubyte\.gz of mnist; give the folder .* or allow the download"
    )
    for attempt in (
        lambda: load_splits(recipe("mnist", validation_examples=10), tiny_mnist, download=False),
        lambda: check_data("mnist", tiny_mnist, download=False),
        lambda: data_digest("mnist", tiny_mnist),
    ):
        with pytest.raises(DataError, match=message):
            attempt()


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_a_corrupt_file_is_named_with_what_to_do_and_left_alone(tiny_mnist, no_network, damage):
    path = tiny_mnist / "MNIST" / "raw" / IDX_NAMES[0]
    check_data("mnist", tiny_mnist)
    content = path.read_bytes()
    altered = bytes([content[-1] ^ 1])
    damaged = {"truncated": content[:-100], "altered": content[:-1] + altered, "empty": b""}[damage]
    path.write_bytes(damaged)
    message = r"data_dir: .*train-images-idx3-ubyte is not the published file .* MD5 .*; delete it .* put the original"
    for attempt in (
        lambda: load_splits(recipe("mnist", validation_examples=10), tiny_mnist, download=True),
        lambda: check_data("mnist", tiny_mnist, download=True),
        lambda: data_digest("mnist", tiny_mnist),
    ):
        with pytest.raises(DataError, match=message):
            attempt()
    assert path.read_bytes() == damaged


def test_a_file_that_cannot_be_read_is_named(tiny_mnist):
    path = tiny_mnist / "MNIST" / "raw" / IDX_NAMES[0]
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"data_dir: .*train-images-idx3-ubyte cannot be read \(Is a directory\)"):
        load_splits(recipe("mnist", validation_examples=10), tiny_mnist)


def test_data_sets_that_need_a_folder_say_so():
    with pytest.raises(DataError, match="data_dir: mnist needs a folder to be read from or downloaded to"):
        check_data("mnist", None)


def test_an_unknown_data_set_is_refused_with_the_nearest_name():
    with pytest.raises(InvalidInput, match=r"dataset: 'cifar' is not one of .*did you mean cifar10"):
        data_digest("cifar", None)


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"dataset: digits come with scikit-learn.*pip install scikit-learn"):
        load_splits(recipe(), None)


def test_a_scikit_learn_with_other_digits_says_what_to_do(monkeypatch, tmp_path):
    (tmp_path / "datasets" / "data").mkdir(parents=True)
    found = importlib.machinery.ModuleSpec("sklearn", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    with pytest.raises(DataError, match="dataset: digits come with scikit-learn"):
        check_data("digits", None)
    (tmp_path / "datasets" / "data" / "digits.csv.gz").write_bytes(gzip.compress(b"0"))
    with pytest.raises(DataError, match=r"digits\.csv\.gz is not the published file .*; reinstall scikit-learn"):
        load_splits(recipe(), None)


def test_the_published_digest_is_known_without_any_file_and_is_that_of_the_files(tiny_mnist):
    assert published_digest("mnist") == data_digest("mnist", tiny_mnist)
    assert published_digest("digits") == data_digest("digits", None) == load_splits(recipe(), None).digest
    assert len({published_digest(name) for name in DATA_SETS}) == len(DATA_SETS)


@pytest.fixture
def mirror(tiny_mnist, tmp_path_factory, monkeypatch):
    """A web server with the tiny data set, which torchvision takes for MNIST's; yields the paths it was asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    from torchvision import datasets

    handler = functools.partial(Handler, directory=str(tiny_mnist / "MNIST" / "raw"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        resources = [(Path(file.name).name, file.md5) for file in DATA_SETS["mnist"].files]
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        yield asked
        server.shutdown()


def test_missing_files_are_downloaded_once(tiny_mnist, mirror, tmp_path):
    target = tmp_path / "new" / "folder"
    check_data("mnist", target, download=True)
    assert sorted(set(mirror)) == sorted(f"/{name}.gz" for name in IDX_NAMES)
    asked = len(mirror)
    splits = load_splits(recipe("mnist", validation_examples=10), target, download=True)
    assert len(mirror) == asked
    assert splits.digest == data_digest("mnist", tiny_mnist)
    assert sorted(path.name for path in target.iterdir()) == ["MNIST"]  # nothing temporary is left


def test_a_download_never_replaces_a_file_that_is_there(tiny_mnist, mirror, tmp_path):
    target = tmp_path / "partial"
    check_data("mnist", target, download=True)
    kept = target / "MNIST" / "raw" / IDX_NAMES[0]
    kept.write_bytes(b"mine")
    for suffix in ("", ".gz"):
        (target / "MNIST" / "raw" / (IDX_NAMES[3] + suffix)).unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is not the published file \(4 bytes"):
        check_data("mnist", target, download=True)
    assert kept.read_bytes() == b"mine"
    assert (target / "MNIST" / "raw" / IDX_NAMES[3]).exists()


def test_a_download_that_fails_says_what_lacks_and_what_to_do(tiny_mnist, tmp_path, monkeypatch):
    from torchvision import datasets

    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{closed_port}/"])
    message = r"lacks MNIST/raw/train-images.*gz of mnist, and the download failed \(.*refused.*\); give the folder"
    with pytest.raises(DataError, match=message):
        load_splits(recipe("mnist", validation_examples=10), tmp_path / "new", download=True)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_download_that_breaks_off_leaves_nothing_behind(tiny_mnist, mirror, tmp_path):
    served = tiny_mnist / "MNIST" / "raw" / f"{IDX_NAMES[0]}.gz"
    served.write_bytes(served.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"and the download failed \(.*not found or corrupted"):
        check_data("mnist", tmp_path / "new", download=True)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_written_says_so(tiny_mnist, no_network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"and the download failed \(.*Not a directory"):
        check_data("mnist", tmp_path / "file" / "folder", download=True)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_the_published_files_are_those_that_torchvision_knows(name):
    from torchvision import datasets

    known = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10}[name]
    theirs = known.train_list + known.test_list if name == "cifar10" else known.resources
    ours = [(Path(file.name).name, file.md5) for file in DATA_SETS[name].files]
    assert ours == [tuple(resource) for resource in theirs]


@pytest.mark.parametrize("name", DATA_SETS)
def test_what_is_said_of_a_data_set_holds_of_its_files(name, request):
    folder = None if name == "digits" else request.getfixturevalue("data_dir")
    if name == "fashion_mnist" and not (folder / "FashionMNIST").exists():
        pytest.skip("the data folder has no Fashion-MNIST")
    data_set = DATA_SETS[name]
    splits = load_splits(recipe(name), folder, download=False)
    assert len(splits.train) + len(splits.validation) == data_set.train_examples
    assert len(splits.test) == data_set.test_examples
    for split in (splits.train, splits.validation, splits.test):
        assert split.images.shape[1:] == data_set.input_shape
        assert set(split.labels.unique().tolist()) == set(range(data_set.classes))


def test_cifar_is_torchvisions_cifar(data_dir):
    from torchvision import datasets

    splits = load_splits(recipe("cifar10", normalisation="unit"), data_dir, download=False)
    for split, theirs in (
        (splits.test, datasets.CIFAR10(data_dir, train=False)),
        (splits.validation, datasets.CIFAR10(data_dir, train=True)),
    ):
        rows = split_rows(50_000, 5000, 0)[1] if theirs.train else np.arange(10_000)
        pixels = torch.from_numpy(theirs.data[rows]).permute(0, 3, 1, 2)
        assert torch.equal((split.images * 255).round().to(torch.uint8), pixels)
        assert split.labels.tolist() == [theirs.targets[row] for row in rows]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_splits_are_the_same_on_cuda():
    on_cpu, on_cuda = (load_splits(recipe(), None, device) for device in ("cpu", "cuda"))
    torch.testing.assert_close(on_cuda.train.images.cpu(), on_cpu.train.images)
    order = []
    for splits in (on_cpu, on_cuda):
        batches = training_batches(splits.train, 100, "none")
        sizes = batches.epoch(torch.Generator().manual_seed(1))
        order.append(torch.cat([batches.take(size)[1].cpu() for size in sizes]))
    assert torch.equal(*order)
