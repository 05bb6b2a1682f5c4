"""A small folder in ImageNet's layout, streamed: every image once, as torchvision cuts it; errors by file name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets, transforms

from trainers.data.digests import check_data, data_digest
from trainers.data.files import DamagedData, DataError
from trainers.data.image_check import check_images
from trainers.data.image_folder import StreamedSplit
from trainers.data.image_list import list_images
from trainers.data.splits import load_splits
from trainers.recipe.recipe import Recipe

CLASSES = ("ant", "bee", "cat")


def recipe(**fields: object) -> Recipe:
    given = {"network": "lenet", "dataset": "image_folder", "method": "learned", "image_size": 16}
    return Recipe.complete({**given, "validation_examples": 6, **fields})


def save(path: Path, height: int, width: int, seed: int, mode: str = "RGB") -> None:
    """A smooth image, which JPEG keeps nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(path, quality=95)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Nine training and two test images for each of three classes, of many sizes, formats and colour modes."""
    for label, name in enumerate(CLASSES):
        for number in range(9):
            mode = ("RGB", "L", "CMYK")[number % 3]
            save(tmp_path / "train" / name / f"{number}.jpg", 20 + 3 * number, 40 - number, 100 * label + number, mode)
        save(tmp_path / "val" / name / "0.png", 30, 30, 1000 + label)
        save(tmp_path / "val" / name / "1.JPEG", 17, 50, 2000 + label)
    return tmp_path


def everything(split: StreamedSplit, *arguments, **options) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*split.batches(*arguments, **options), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_the_splits_are_disjoint_and_complete(folder):
    splits = load_splits(recipe(), folder, workers=0)
    paths = [set(split.paths) for split in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in paths] == [21, 6, 6]
    assert not paths[0] & paths[1]
    assert paths[0] | paths[1] == {str(path) for path in folder.glob("train/*/*")}
    assert paths[2] == {str(path) for path in folder.glob("val/*/*")}
    assert (splits.classes, splits.input_shape) == (3, (3, 16, 16))
    for split in (splits.train, splits.validation, splits.test):
        assert [CLASSES[label] for label in split.labels] == [Path(path).parent.name for path in split.paths]


@pytest.mark.parametrize("normalisation", ["standard", "unit", "symmetric"])
def test_evaluation_sees_the_central_square_as_torchvision_cuts_and_normalises_it(folder, normalisation):
    split = load_splits(recipe(normalisation=normalisation), folder, workers=0).test
    steps = [transforms.Resize(18), transforms.CenterCrop(16), transforms.ToTensor()]
    if normalisation == "standard":
        steps.append(transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    if normalisation == "symmetric":
        steps.append(transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    expected = [transforms.Compose(steps)(datasets.folder.default_loader(path)) for path in split.paths]
    images, labels = everything(split, 4)
    torch.testing.assert_close(images, torch.stack(expected), rtol=0, atol=2e-6)
    assert torch.equal(labels, split.labels)
    assert [len(batch) for batch, _ in split.batches(4)] == [4, 2]


def test_grey_and_four_colour_images_come_as_red_green_and_blue(folder):
    split = load_splits(recipe(normalisation="unit"), folder, workers=0).train
    images, _ = everything(split, 8)
    modes = []
    for path in split.paths:
        with Image.open(path) as image:
            modes.append(image.mode)
    assert set(modes) == {"RGB", "L", "CMYK"}
    equal_channels = (images[:, 0] == images[:, 2]).flatten(1).all(1)
    assert equal_channels.tolist() == [mode == "L" for mode in modes]
    assert images.shape == (21, 3, 16, 16)


@pytest.mark.parametrize("augmentation", ["none", "flip", "crop_flip"])
def test_the_number_of_workers_changes_no_image(folder, augmentation):
    alone, helped = (
        everything(load_splits(recipe(), folder, workers=workers).train, 5, seeded(1), augmentation)
        for workers in (0, 2)
    )
    assert torch.equal(alone[0], helped[0])
    assert torch.equal(alone[1], helped[1])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_generator_shuffles_the_images_with_their_labels(folder):
    split = load_splits(recipe(), folder, workers=0).train
    in_order, _ = everything(split, 5)
    orders = []
    for seed in (1, 1, 2):
        images, labels = everything(split, 5, seeded(seed))
        rows = [next(row for row, one in enumerate(in_order) if torch.equal(one, image)) for image in images]
        assert sorted(rows) == list(range(len(split)))
        assert torch.equal(labels, split.labels[rows])
        orders.append(rows)
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list(range(len(split)))


def test_flip_mirrors_some_images_and_crop_flip_cuts_others_every_epoch(folder):
    split = load_splits(recipe(), folder, workers=0).train
    plain, labels = everything(split, 50, seeded(1))
    flipped, same_labels = everything(split, 50, seeded(1), "flip")
    assert torch.equal(labels, same_labels)
    mirrored = (flipped == plain.flip(3)).flatten(1).all(1)
    assert bool((mirrored ^ (flipped == plain).flatten(1).all(1)).all())
    assert 0 < mirrored.sum() < len(split)
    cut, _ = everything(split, 50, seeded(1), "crop_flip")
    again, _ = everything(split, 50, seeded(2), "crop_flip")
    assert cut.shape == plain.shape
    assert not torch.equal(cut, plain)
    assert not torch.equal(cut, again)


def test_evaluation_is_never_augmented_and_uses_no_randomness(folder):
    split = load_splits(recipe(), folder, workers=0).test
    before = torch.get_rng_state()
    one, _ = everything(split, 4, None, "crop_flip")
    plain, _ = everything(split, 4)
    assert torch.equal(one, plain)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_leaves_torchs_global_generator_alone(folder):
    before = torch.get_rng_state()
    everything(load_splits(recipe(), folder, workers=0).train, 4, seeded(1), "crop_flip")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "gone"])
def test_an_image_that_cannot_be_decoded_is_named(folder, workers, damage):
    splits = load_splits(recipe(), folder, workers=workers)
    path = folder / "val" / "bee" / "1.JPEG"
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "text": b"not an image"}.get(damage, b""))
    if damage == "gone":
        path.unlink()
    with pytest.raises(DataError) as error:
        everything(splits.test, 4)
    message = str(error.value)
    assert isinstance(error.value, DamagedData) == (damage != "gone")  # a disk may come back
    if damage == "gone":
        assert message == f"data_dir: {path} cannot be read (No such file or directory)"
    else:
        assert message.startswith(f"data_dir: {path} cannot be decoded (")
        assert message.endswith("replace it, or remove it from the folder")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("train", r"there is no folder .*train; image_folder needs train/<class>/\*\.jpg"),
        ("val", r"there is no folder .*val; image_folder needs val/<class>/\*\.jpg"),
        ("train/*", r"train has no folder per class"),
        ("train/bee/*", r"train/bee has no image \(\.jpg, \.jpeg, \.png, \.webp, "),
        ("val/*/*", r"val has no image"),
    ],
)
def test_a_folder_in_another_layout_is_refused(folder, removed, message):
    for path in sorted(folder.rglob("*"), reverse=True):
        relative = path.relative_to(folder)
        if any(part.match(removed) for part in (relative, *relative.parents)):
            path.rmdir() if path.is_dir() else path.unlink()
    for attempt in (check_data, data_digest):
        with pytest.raises(DataError, match=rf"data_dir: .*{message}"):
            attempt("image_folder", folder)


def test_a_test_class_that_nothing_was_trained_on_is_refused_with_the_nearest(folder):
    (folder / "val" / "cat").rename(folder / "val" / "cats")
    with pytest.raises(DataError, match=r"val/cats: 'cats' is not one of ant, bee, cat \(did you mean cat\?\)"):
        check_data("image_folder", folder)


def test_a_class_may_lack_test_images_and_other_files_are_no_images(folder):
    (folder / "train" / "ant" / "notes.txt").write_text("")
    for path in (folder / "val" / "cat").iterdir():
        path.unlink()
    splits = load_splits(recipe(), folder, workers=0)
    assert (len(splits.train), len(splits.test), splits.classes) == (21, 4, 3)


def test_no_folder_and_too_large_a_validation_split_are_refused(folder):
    with pytest.raises(DataError, match="data_dir: image_folder needs a folder with train"):
        check_data("image_folder", None)
    with pytest.raises(DataError, match=r"validation_examples: must be below 27, .* not 27"):
        load_splits(recipe(validation_examples=27), folder)


def test_the_digest_changes_with_the_names_and_sizes_of_the_images(folder, tmp_path):
    digests = [data_digest("image_folder", folder)]
    assert load_splits(recipe(), folder).digest == digests[0]
    moved = folder.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    assert data_digest("image_folder", moved) == digests[0]
    save(moved / "val" / "ant" / "0.png", 31, 30, 1000)
    digests.append(data_digest("image_folder", moved))
    (moved / "train" / "bee" / "0.jpg").rename(moved / "train" / "bee" / "z.jpg")
    digests.append(data_digest("image_folder", moved))
    assert len(set(digests)) == 3


def test_hidden_files_are_no_images_other_formats_are_and_the_rest_is_said(folder):
    digest = data_digest("image_folder", folder)
    bee = folder / "train" / "bee"
    for place in (folder / "train" / ".ipynb_checkpoints", bee / ".ipynb_checkpoints", folder / "train" / "__MACOSX"):
        save(place / "0.jpg", 20, 20, 1)
    for name in ("._0.jpg", "Thumbs.db", ".DS_Store"):
        (bee / name).write_bytes(b"no image")
    assert data_digest("image_folder", folder) == digest
    for suffix in ("tif", "bmp", "webp", "ppm"):
        save(bee / f"other.{suffix}", 20, 20, 1)
    (bee / "notes.txt").write_text("")
    (bee / "raw.cr2").write_text("")
    (folder / "val" / "bee" / "more.txt").write_text("")
    found = check_images(folder, remembered=folder)
    assert str(found) == "31 training and 6 test images of 3 classes, all of which can be decoded"
    assert found.left_out.startswith("3 files left out, read are .jpg, ")
    assert found.left_out.endswith(": .txt (2), .cr2 (1)")


def test_an_entry_that_is_named_as_an_image_and_is_no_file_is_named(folder):
    ant = folder / "train" / "ant"
    (ant / "link.jpg").symlink_to(ant / "nothing")
    with pytest.raises(DamagedData, match=r"train/ant/link\.jpg is a broken link, and named as an image"):
        list_images(folder)
    (ant / "link.jpg").unlink()
    (ant / "many.png").mkdir()
    with pytest.raises(DamagedData, match=r"train/ant/many\.png is a folder, and named as an image; remove or rename"):
        data_digest("image_folder", folder)


@pytest.fixture
def tiny_imagenet(tmp_path) -> Path:
    """A folder in the layout of Tiny ImageNet: a training and a test image for each of two classes."""
    root = tmp_path / "tiny"
    for label, name in enumerate(("n01", "n02")):
        save(root / "train" / name / "images" / f"{name}_0.JPEG", 20, 20, label)
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
        save(root / "val" / "images" / f"val_{label}.JPEG", 20, 20, 10 + label)
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n")
    return root


def test_the_layout_of_tiny_imagenet_is_read_with_the_classes_that_its_list_says(tiny_imagenet):
    train, test = list_images(tiny_imagenet)
    assert (train.classes, train.labels, test.labels) == (("n01", "n02"), (0, 1), (1, 0))
    assert [Path(path).name for path in (*train.paths, *test.paths)] == [
        "n01_0.JPEG", "n02_0.JPEG", "val_0.JPEG", "val_1.JPEG",
    ]  # fmt: skip
    digest = data_digest("image_folder", tiny_imagenet)
    table = tiny_imagenet / "val" / "val_annotations.txt"
    table.write_text(table.read_text().replace("n02", "n01"))
    assert data_digest("image_folder", tiny_imagenet) != digest


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("val_0.JPEG\tn02\nval_7.JPEG\tn01\n", r"line 2: 'val_7\.JPEG' is no image in .*val/images"),
        ("val_0.JPEG\tn02\nval_1.JPEG\tn03\n", r"line 2: class: 'n03' is not one of n01, n02"),
        ("val_0.JPEG\tn02\n", r"says nothing of 1 images, such as .*val_1\.JPEG"),
    ],
)
def test_a_list_of_test_images_that_fits_them_badly_is_told(tiny_imagenet, listed, message):
    (tiny_imagenet / "val" / "val_annotations.txt").write_text(listed)
    with pytest.raises(DataError, match=message):
        list_images(tiny_imagenet)


def test_images_are_decoded_once_and_again_when_they_have_changed(folder, tmp_path_factory, monkeypatch):
    kept = tmp_path_factory.mktemp("kept")
    assert [check_images(folder, remembered=kept).decoded for _ in range(2)] == [33, 0]
    for name in ("0.jpg", "1.jpg"):
        (folder / "train" / "ant" / name).write_bytes(b"not an image any more")
    for _ in range(2):  # what is damaged is looked at again each time
        with pytest.raises(DamagedData) as caught:
            check_images(folder, remembered=kept)
        assert [line.split(" (")[0] for line in str(caught.value).splitlines()] == [
            f"data_dir: {folder}/train/ant/{number}.jpg cannot be decoded" for number in (0, 1)
        ]
    save(folder / "train" / "ant" / "0.jpg", 20, 20, 1)
    (folder / "train" / "ant" / "1.jpg").unlink()
    assert check_images(folder, remembered=kept).decoded == 1
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 399)
    save(folder / "train" / "ant" / "large.jpg", 20, 20, 1)
    with pytest.raises(DamagedData, match=r"large\.jpg cannot be decoded \(.*400 pixels.* 399 "):
        check_images(folder, remembered=kept)
