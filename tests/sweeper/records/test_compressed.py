"""Folded values are the values, whatever is asked of them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from sweeper.records.compressed import Chain, Packed, packed
from sweeper.records.stage_record import StateFile, encode
from tests.sweeper.records.made_records import a_record

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LISTS = st.lists(VALUES, max_size=6)
PLACES = st.none() | st.integers(-7, 7)


@given(LISTS, PLACES, PLACES)
def test_packed_list_answers_as_the_list_does(values, start, stop):
    folded = Packed(values)
    assert (len(folded), list(folded), folded[start:stop]) == (len(values), values, values[start:stop])
    assert folded == values
    assert folded == Packed(values)
    assert [folded[place] for place in range(-len(values), len(values))] == values * 2


def test_packed_not_a_number_stays_one():
    (loss,) = Packed([float("nan")])
    assert math.isnan(loss)


def test_packed_values_are_nobodys_to_change():
    folded = Packed([{"epoch": 1}])
    folded[0]["epoch"] = 2
    assert folded[0] == {"epoch": 1}


@given(st.lists(LISTS, max_size=4), PLACES, PLACES)
def test_chain_answers_as_one_list_does(parts, start, stop):
    whole = [value for part in parts for value in part]
    linked = Chain([Packed(part) for part in parts])
    assert (len(linked), list(linked), linked[start:stop]) == (len(whole), whole, whole[start:stop])
    assert linked == whole
    assert [linked[place] for place in range(-len(whole), len(whole))] == whole * 2


def test_packed_record_is_written_byte_for_byte_as_it_was():
    record = a_record(selection=[{"epoch": 2, "layers": [{"layer": "fc1", "counts": [3, 1]}]}])
    state = StateFile("0" * 64, 1)
    assert encode(packed(record), state) == encode(record, state)
    assert packed(record) == record
