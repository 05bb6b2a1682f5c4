"""Numbers as people read them."""

import math

import pytest

from trainers import readable as formats
from trainers.costs.units import BYTE, FLOP

nan = math.nan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formats.percent(0.97312, 0.00238), "97.31 ± 0.24"),
        (formats.percent(0.5), "50.00"),
        (formats.percent(nan), "–"),
        (formats.points(0.0032), "+0.32"),
        (formats.points(-0.011), "−1.10"),
        (formats.points(-0.00001), "0.00"),
        (formats.points(nan), "–"),
        (formats.interval(-0.1, 0.53), "−0.10 to +0.53"),
        (formats.interval(nan, nan), "–"),
        (formats.p_value(0.0004), "< 0.001"),
        (formats.p_value(0.0312), "0.031"),
        (FLOP.print(76e9), "76.0 GFLOP"),
        (FLOP.print(1.234e15), "1.23 PFLOP"),
        (BYTE.print(999_999), "1.00 MB"),
        (BYTE.print(2_100_000), "2.10 MB"),
        (BYTE.print(812), "812 B"),
        (BYTE.print(0), "0 B"),
        (BYTE.print(nan), "–"),
        (formats.seconds(0.516), "0.52 s"),
        (formats.seconds(119.94), "119.9 s"),
        (formats.seconds(2112), "35.2 min"),
        (formats.seconds(93_960), "26.1 h"),
        (formats.number(12_345), "12,345"),
        (formats.number(2.5), "2.50"),
        (formats.listed(["a"]), "a"),
        (formats.listed(["a", "b", "c"]), "a, b and c"),
        (formats.listed([]), ""),
        (formats.counted(1, "trial"), "1 trial"),
        (formats.counted(1200, "trial"), "1,200 trials"),
    ],
)
def test_numbers_read_well(text, expected):
    assert text == expected
