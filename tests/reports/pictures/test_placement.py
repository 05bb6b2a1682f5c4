"""Marks and names that hide nothing."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reports.pictures.drawing import shortened
from reports.pictures.placement import along, clusters, is_free, is_inside, pushed_apart, side_by_side

PLACES = st.lists(st.floats(0, 500), max_size=25)


def test_near_places_are_one_cluster_and_its_first_one_stays_where_it_is():
    places, spans = [100.0, 103.0, 300.0, 98.0], [(0.0, 8.0)] * 4
    assert clusters(places, 9, spans) == [[0, 1, 3], [2]]
    assert side_by_side(places, 9, spans) == [0.0, 6.0, 0.0, -7.0]  # to 100, 109, 300, 91


def test_marks_at_other_heights_hide_none_and_stay_where_they_are():
    places, spans = [100.0, 103.0, 98.0, 101.0], [(50.0, 58.0), (30.0, 38.0), (52.0, 60.0), (38.0, 40.0)]
    assert clusters(places, 9, spans) == [[0, 2], [1], [3]]
    assert side_by_side(places, 9, spans) == [0.0, 0.0, 11.0, 0.0]


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 100)), max_size=25))
def test_within_a_cluster_places_end_up_apart(marks):
    places, spans = [place for place, _ in marks], [(height, height + 8) for _, height in marks]
    moved = [place + shift for place, shift in zip(places, side_by_side(places, 9.0, spans), strict=True)]
    for members in clusters(places, 9.0, spans):
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


def test_a_long_name_keeps_its_end_which_tells_arms_apart():
    names = [f"learned weights, 1-bit per channel, width 0.{width}" for width in (2, 45, 92)]
    found = [shortened(name) for name in names]
    assert found[1] == "learned weights, 1-bit per chann… width 0.45"
    assert len(set(found)) == 3 and max(map(len, found)) == 44
    assert shortened("K=8 GS") == "K=8 GS" and shortened("a" * 60) == f"{'a' * 29}…{'a' * 14}"
