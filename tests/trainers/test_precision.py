"""The precision of a recipe, and that CUDA repeats its sums, are settings of the process."""

import pytest
import torch

from trainers.step import set_precision


@pytest.mark.parametrize(("precision", "convolutions"), [("tf32", "tf32"), ("float32", "ieee"), ("bfloat16", "ieee")])
def test_convolutions_are_of_the_recipes_precision_and_repeat_their_sums(precision, convolutions, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    try:
        set_precision(precision)
        assert torch.backends.cudnn.conv.fp32_precision == convolutions
        assert torch.backends.cudnn.deterministic
    finally:
        set_precision("float32")
