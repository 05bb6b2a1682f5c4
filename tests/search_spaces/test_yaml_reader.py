"""YAML as people mean it, and nothing that harms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.yaml_reader import MAX_CHARACTERS, read_yaml
from trainers.errors import InvalidInput


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-4", 1e-4),
        ("1E+3", 1000.0),
        ("-2.5e1", -25.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("10", 10),
        ("-3", -3),
        ("+3", 3),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1e", "1e"),
        ("'8'", "8"),
        ("[0]", [0]),
        ("{a: [1, 2.5]}", {"a": [1, 2.5]}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        (
            "x: {y: &b {<<: &a {k: 1}, k: 2}}\nuse: {<<: *b}",
            {"x": {"y": {"k": 2}}, "use": {"k": 2}},
        ),
        ("base: &b {k: 1, m: 2}\nuse: {<<: *b, m: 3}", {"base": {"k": 1, "m": 2}, "use": {"k": 1, "m": 3}}),
    ],
)
def test_values_are_read_as_yaml_1_2_has_them(text, value):
    read = read_yaml(text)
    assert read == value
    assert type(read) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_read_back(number):
    read = read_yaml(repr(number))
    assert read == number and isinstance(read, float)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: 1\na: 2", "line 2, column 1: 'a' is given twice"),
        ("x: {seeds: 1, seeds: 2}", "line 1, column 15: 'seeds' is given twice"),
        ("a: [1, 2", "line 1"),
        ("a: 1\n\tb: 2", "line 2"),
        ("a: 1\n b: 2", "line 2"),
        ("? [1, 2]\n: 3", "a key must be a word"),
        ("--- 1\n--- 2", "line 2"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("!mine 3", "could not determine a constructor"),
        ("a: *nowhere", "undefined alias"),
        ("&a [*a]", "an alias that contains itself"),
        ("a: &a {b: *a}", "an alias that contains itself"),
        ("9" * 5000, "a number of over 100 digits"),
        ("[" * 20_000, "nested too deeply"),
        ("a: !!int many", "does not fit the tag"),
        ("a: !!bool maybe", "does not fit the tag"),
        ("a: !!float x", "does not fit the tag"),
        ("a: !!timestamp x", "does not fit the tag"),
        ("a: \x07", "special characters are not allowed"),
    ],
)
def test_faults_are_told_with_their_place(text, message):
    with pytest.raises(InvalidInput) as caught:
        read_yaml(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["lists", "merges"])
def test_aliases_that_would_explode_are_refused_at_once(kind):
    if kind == "lists":
        lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))]
    else:
        lines = ["a0: &a0 {x: 1}"]
        lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], y{n}: 1}}" for n in range(1, 40)]
    with pytest.raises(InvalidInput, match="once its aliases are written out"):
        read_yaml("\n".join(lines))


def test_a_huge_file_is_refused_unread():
    with pytest.raises(InvalidInput, match="at most 256 KiB"):
        read_yaml("#" * (MAX_CHARACTERS + 1))


@given(st.text(max_size=40))
def test_whatever_the_text_it_is_a_value_or_invalid_input(text):
    try:
        read_yaml(text)
    except InvalidInput as error:
        assert str(error)
