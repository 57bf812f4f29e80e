"""Numbers as text: what is read, what is refused, and that reading rounds once."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.errors import InputError
from hauberk.spec.numbers import as_number, count_in, number, number_in, shortest


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0), ("-3", -3.0), ("+.5", 0.5), ("1.", 1.0), ("1e-3", 1e-3), (" 8/255 ", 8 / 255),
        ("0.5/3", 0.5 / 3), ("1e2/3e1", 10 / 3), ("inf", inf), ("-INF", -inf), ("1E3", 1e3),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "eps", "nan", "1/0", "1//2", "1/2/3", "1/-2", "1e400", "1/1e-400", "0x10", "1_0", "1 0",
     "infinity", "1e", "--1", "١"],
)  # fmt: skip
def test_what_is_no_number(text):
    assert number(text) is None


@given(st.floats(allow_nan=False))
def test_every_float_reads_back(value):
    assert number(repr(value)) == value


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_a_fraction_is_rounded_as_python_rounds(a, b):
    assert number(f"{a}/{b}") == a / b


def test_as_number_keeps_whole_numbers_and_other_values():
    assert as_number("40") == 40
    assert isinstance(as_number(" -40 "), int)
    assert isinstance(as_number("40.0"), float)
    assert as_number("1/4") == 0.25
    for other in ("margin", "nan", None, 3, True, [1], 0.1):
        assert as_number(other) is other


@given(st.floats(allow_nan=False))
def test_the_shortest_text_reads_back(value):
    for levels in (0, 255):
        assert number(shortest(value, levels)) == value


def test_levels_are_written_where_decimals_are_long():
    assert shortest(8 / 255, 255) == "8/255"
    assert shortest(0.2, 255) == "0.2"  # 51/255
    assert shortest(8 / 255) == repr(8 / 255)
    assert shortest(1e300, 255) == "1e+300"


@pytest.mark.parametrize("text", ["", "abc", "inf", "1/0"])
def test_parts_that_are_no_finite_numbers(text):
    assert number_in("8/255", "dark:8/255") == 8 / 255
    with pytest.raises(InputError) as error:
        number_in(text, f"dark:{text}")
    assert str(error.value) == f"dark:{text}: '{text}' is no number: give e.g. 0.3 or 8/255"


@pytest.mark.parametrize("text", ["", "abc", "inf", "-1", "2.5"])
def test_parts_that_are_no_counts(text):
    assert count_in("20", "dark:20") == 20
    with pytest.raises(InputError, match="is no whole number"):
        count_in(text, f"dark:{text}")
