"""Marks and names that hide nothing."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reports.pictures.placement import along, clusters, is_free, is_inside, pushed_apart, side_by_side

PLACES = st.lists(st.floats(0, 500), max_size=25)


def test_near_places_are_one_cluster_and_its_first_one_stays_where_it_is():
    assert clusters([100.0, 103.0, 300.0, 98.0], apart=9) == [[0, 1, 3], [2]]
    assert side_by_side([100.0, 103.0, 300.0, 98.0], apart=9) == [0.0, 6.0, 0.0, -7.0]  # to 100, 109, 300, 91


@given(PLACES)
def test_within_a_cluster_places_end_up_apart(places):
    moved = [place + shift for place, shift in zip(places, side_by_side(places, 9.0), strict=True)]
    for members in clusters(places, 9.0):
        stand = sorted(moved[member] for member in members)
        assert all(b - a > 8.999 for a, b in pairwise(stand))


@given(PLACES)
def test_heights_are_pushed_apart_in_their_order_and_stay_below_the_top(wanted):
    heights = pushed_apart(wanted, 10.0, highest=500.0)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    stand = [heights[index] for index in order]
    assert all(b - a > 9.999 for a, b in pairwise(stand))
    assert all(height <= 500.0001 for height in heights)


def test_heights_far_apart_stay_as_they_are():
    assert pushed_apart([30.0, 10.0], 5.0, highest=100.0) == [30.0, 10.0]


def test_a_box_is_free_where_it_touches_no_spot_and_no_box():
    box = (0.0, 0.0, 10.0, 5.0)
    assert is_free(box, spots=[(20, 2)], boxes=[(11, 0, 15, 5)])
    assert not is_free(box, spots=[(12, 2)], boxes=[])  # within the margin
    assert not is_free(box, spots=[], boxes=[(9, 4, 15, 9)])
    assert is_inside(box, (0, 0, 10, 5))
    assert not is_inside(box, (1, 0, 10, 5))


def test_spots_along_a_line_include_its_ends():
    assert along((0, 0), (0, 10), count=3) == [(0, 0), (0, 5), (0, 10)]
