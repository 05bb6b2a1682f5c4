"""Augmentation of a whole batch at once, on the device where the images are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PADDING = 4


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Another view of each image (n, c, h, w): "flip" mirrors half of them; "crop_flip" also shifts all by 0..4 pixels.

    The generator must be on the images' device; nothing is copied to the host.
    """
    if kind == "none":
        return images
    count, device = len(images), images.device
    mirrored = torch.randint(2, (count,), generator=generator, device=device).bool()
    if kind == "flip":
        return mirror(images, mirrored)
    tops, lefts = torch.randint(2 * PADDING + 1, (2, count), generator=generator, device=device)
    return crop_flip(images, tops, lefts, mirrored)


def crop_flip(images: Tensor, tops: Tensor, lefts: Tensor, mirrored: Tensor) -> Tensor:
    """Pads by 4 zeros a side, cuts a window of the old size at (top, left), mirrors it where `mirrored`; per image.

    The zeros are the mean colour of images that were normalised to mean 0.
    """
    _, _, height, width = images.shape
    padded = functional.pad(images, (PADDING, PADDING, PADDING, PADDING))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: every window that could be cut
    cut = windows[torch.arange(len(images), device=images.device), :, tops, lefts]
    return mirror(cut, mirrored)


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Flips those images left to right for which `mirrored` is true."""
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
