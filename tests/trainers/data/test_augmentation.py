"""Augmentation against torchvision's crop and flip, image by image."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import functional

from trainers.data.augmentation import PADDING, augment, crop_flip

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]


def batch(count: int, *shape: int) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)) + 1  # so that zeros are padding


def one_by_one(images, tops, lefts, mirrored):
    cut = []
    for image, top, left, mirror in zip(images, tops, lefts, mirrored, strict=True):
        window = functional.crop(functional.pad(image, [PADDING] * 4), int(top), int(left), *image.shape[1:])
        cut.append(functional.hflip(window) if mirror else window)
    return torch.stack(cut)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 7, 11)])
def test_every_shift_and_flip_is_that_of_torchvision(shape, layout):
    places = torch.cartesian_prod(torch.arange(9), torch.arange(9), torch.arange(2))
    images = batch(len(places), *shape).contiguous(memory_format=layout)
    tops, lefts, mirrored = places.T
    actual = crop_flip(images, tops, lefts, mirrored.bool())
    assert torch.equal(actual, one_by_one(images, tops, lefts, mirrored))
    unmoved = (tops == PADDING) & (lefts == PADDING) & (mirrored == 0)
    assert torch.equal(actual[unmoved], images[unmoved])


@pytest.mark.parametrize("device", DEVICES)
def test_crop_flip_draws_every_shift_and_flip_equally_often(device):
    # One bright pixel in the middle tells where it went; columns of different brightness tell the flip.
    count = 16_200
    images = torch.zeros(count, 1, 10, 10, device=device)
    images[:, :, 5, 4], images[:, :, 5, 5] = 2.0, 1.0
    views = augment(images, "crop_flip", torch.Generator(device).manual_seed(0))
    brightest = views.flatten(1).argmax(1)
    right_of_it = views.flatten(1).roll(-1, 1).gather(1, brightest[:, None])[:, 0]
    kinds, counts = torch.stack([brightest, right_of_it.long()], 1).unique(dim=0, return_counts=True)
    assert len(kinds) == 9 * 9 * 2
    chi_square = ((counts - 100.0) ** 2 / 100).sum()
    assert chi_square < 225  # 161 degrees of freedom: P < 0.0005


@pytest.mark.parametrize("device", DEVICES)
def test_flip_mirrors_about_half_of_the_images_and_changes_nothing_else(device):
    images = batch(2000, 1, 4, 4).to(device)
    views = augment(images, "flip", torch.Generator(device).manual_seed(0))
    same = (views == images).flatten(1).all(1)
    mirrored = (views == images.flip(3)).flatten(1).all(1)
    assert bool((same ^ mirrored).all())
    assert 900 < mirrored.sum() < 1100


@pytest.mark.parametrize("kind", ["none", "flip", "crop_flip"])
def test_augmentation_repeats_with_its_seed_and_leaves_the_images_alone(kind):
    images = batch(16, 3, 32, 32)
    before = images.clone()
    one, same, other = (augment(images, kind, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert torch.equal(one, other) == (kind == "none")
    assert torch.equal(images, before)
    assert one.shape == images.shape
    assert one.dtype == images.dtype


def test_none_gives_the_images_themselves():
    images = batch(4, 3, 8, 8)
    assert augment(images, "none", torch.Generator()) is images
