"""Batches of training epochs: every image once, in an order of the epoch's own, augmented where that is asked for."""

import torch

from trainers.data.batches import ResidentBatches
from trainers.data.splits import Split


def an_epoch(batches, seed):
    return [batches.take(size) for size in batches.epoch(torch.Generator().manual_seed(seed))]


def test_an_epoch_gives_every_image_once_in_an_order_of_its_own():
    split = Split(torch.arange(50.0).view(50, 1, 1, 1), torch.arange(50))
    batches = ResidentBatches(split, 16, "none")
    orders = []
    for seed in (1, 1, 2):
        images, labels = (torch.cat(parts) for parts in zip(*an_epoch(batches, seed), strict=True))
        assert torch.equal(images.flatten().long(), labels)
        assert sorted(labels.tolist()) == list(range(50))
        orders.append(labels.tolist())
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list(range(50))
    assert [len(labels) for _, labels in an_epoch(batches, 1)] == [16, 16, 16, 2]


def test_batches_are_augmented_only_where_that_is_asked_for():
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(64))
    (plain,), (flipped,) = (an_epoch(ResidentBatches(split, 64, kind), 5) for kind in ("none", "flip"))
    assert torch.equal(plain[1], flipped[1])
    assert torch.equal(plain[0], images[plain[1]])
    mirrored = torch.tensor([torch.equal(one, other.flip(2)) for one, other in zip(plain[0], flipped[0], strict=True)])
    same = torch.tensor([torch.equal(one, other) for one, other in zip(plain[0], flipped[0], strict=True)])
    assert bool((mirrored ^ same).all())
    assert 0 < mirrored.sum() < 64
