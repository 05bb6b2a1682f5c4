"""Sequences to be copied: vectors of six bits, then a mark, then as many empty steps, in which they are asked for.

They are drawn by a fixed seed, so that there is no file: the plug-in's own digest stands for them.
"""

from __future__ import annotations

from pathlib import Path

from trainers.data.data_set import DataSet, Images
from trainers.data.files import DataFile

BITS, LENGTH = 6, 4
STEPS = 2 * LENGTH + 1
CHANNELS = BITS + 2  # beside the bits: whether a vector is shown, and whether it is asked for
TRAINING, TEST = 4500, 500  # of 16,777,216 sequences that there are


def drawn(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    """Sequences (n, 1, STEPS, CHANNELS) of 0 and 1, and the bits that are asked for (n, LENGTH * BITS)."""
    import torch

    from trainers.streams import torch_generator

    def some(count: int, split: str) -> Images:
        bits = torch.randint(2, (count, LENGTH, BITS), generator=torch_generator("cpu", 0, "copying", split))
        steps = torch.zeros(count, 1, STEPS, CHANNELS, dtype=torch.uint8)
        steps[:, 0, :LENGTH, :BITS] = bits
        steps[:, 0, :LENGTH, BITS] = 1
        steps[:, 0, LENGTH:, BITS + 1] = 1
        return Images(steps.numpy(), bits.flatten(1).to(torch.uint8).numpy())

    return some(TRAINING, "training"), some(TEST, "test")


VECTORS = DataSet(
    title="six-bit vectors",
    validation_examples={"icml": 500, "authors_code": 500},
    normalisation={"icml": "symmetric", "authors_code": "symmetric"},  # -1 and 1
    input_shape=(1, STEPS, CHANNELS),
    classes=LENGTH * BITS,
    train_examples=TRAINING,
    test_examples=TEST,
    brightest=1,
    files=(),
    read=drawn,
    task="bits",
)
