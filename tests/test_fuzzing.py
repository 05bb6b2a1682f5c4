"""A small share of what `python -m tests.fuzzing` does, with its fixed seed."""

from tests.fuzzing import fuzz


def test_broken_specs_and_tickets_are_refused_with_the_declared_errors():
    told = fuzz(600)
    assert told["crashes"] == []
    for kind in ("spec", "ticket"):
        assert told[kind]["refused"] > 100
    assert told["spec"]["accepted"] > 10  # not all damage makes a spec wrong; most of a ticket's does
