"""Threats and metrics as text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk import InputError
from hauberk.threats import L0, L1, L2, Linf, Lp, Metric, Union, threat
from hauberk.threats.notation import grammar, metric

WRITTEN = [
    ("linf:8/255", Linf(8 / 255)),
    ("linf:0.3", Linf(0.3)),
    ("linf:0", Linf(0.0)),
    ("l2:0.5", L2(0.5)),
    ("l2:2", L2(2)),
    ("l1:12", L1(12.0)),
    ("l0:10", L0(10)),
    ("l0:0", L0(0)),
    ("l1.5:3", Lp(1.5, 3)),
    ("l3:0.7", Lp(3, 0.7)),
    ("linf:1e-05", Linf(1e-5)),
    ("l1:1e+20", L1(1e20)),
]


@pytest.mark.parametrize(("text", "expected"), WRITTEN)
def test_both_ways(text, expected):
    assert str(expected) == text
    assert threat(text) == expected
    assert type(threat(text)) in (type(expected), Lp)
    assert (threat(text).p, threat(text).eps) == (expected.p, expected.eps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" LINF : 8 / 255 ", Linf(8 / 255)),
        ("l2:.5", L2(0.5)),
        ("l2:+0.5", L2(0.5)),
        ("l2:5e-1", L2(0.5)),
        ("l2.0:1/2", L2(0.5)),
        ("l2:0.5/1.0", L2(0.5)),
        ("l0:10.0", L0(10)),
        ("l0.0:10", L0(10)),
        ("l0:20/2", L0(10)),
    ],
)
def test_other_spellings(text, expected):
    assert threat(text) == expected
    assert str(threat(text)) == str(expected)


sizes = st.one_of(
    st.floats(0, 1e300),
    st.floats(0, 1),
    st.integers(0, 10**6).map(lambda n: n / 255),
    st.integers(0, 1000).map(float),
)
balls = st.one_of(
    sizes.map(Linf),
    sizes.map(L1),
    sizes.map(L2),
    st.integers(0, 10**6).map(L0),
    st.builds(
        Lp, st.one_of(st.floats(1, 100), st.integers(255, 600).map(lambda n: n / 255)), sizes
    ),
)


@settings(max_examples=300, deadline=None)
@given(balls)
def test_every_ball_reads_back_as_it_was(ball):
    again = threat(str(ball))
    assert again == ball
    assert hash(again) == hash(ball)
    assert (again.p, again.eps) == (ball.p, ball.eps)


@settings(max_examples=50, deadline=None)
@given(st.lists(balls, min_size=2, max_size=4, unique_by=str))
def test_every_union_reads_back_as_it_was(parts):
    union = Union(*parts)
    again = threat(str(union))
    assert again == union
    assert again.parts == tuple(parts)


@pytest.mark.parametrize(
    "text",
    [
        "", "l2", "l2:", "2:0.5", "l:1", "linf:eps", "linf:8//255", "linf:8/", "l2:0.5:1", "lx:1",
        "linf:inf", "linf:nan", "l2:1e", "l2:1/0", "l2:0.5|", "|", "l2:1/2/3", "rotation:3",
        "l2:1e400", "l2:1/1e-400", "l2:1e99999999999", "l2:0x10",
    ],
)  # fmt: skip
def test_what_is_no_threat_gets_the_grammar(text):
    with pytest.raises(InputError) as error:
        threat(text)
    assert grammar() in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["swaps:abc", "affine(linf:0.3,l1:1,0;abc)"])
def test_a_part_that_is_no_number_is_named(text):
    with pytest.raises(InputError) as error:
        threat(text)
    assert str(error.value) == f"{text}: 'abc' is no number: give e.g. 0.3 or 8/255"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("l2:-1", "0 or more"),
        ("l0:2.5", "integer"),
        ("l0:5/2", "integer"),
        ("l0.0:2.5", "integer"),
        ("l0:-1", "0 or more"),
        ("l0.5:1", "at least 1"),
        ("l2:1 | l2.0:1", "named twice"),
    ],
)
def test_what_no_threat_can_be(text, says):
    with pytest.raises(InputError, match=says):
        threat(text)


def test_classes_refuse_what_they_cannot_be():
    for make in (
        lambda: L2(-0.1), lambda: L2(float("nan")), lambda: L2(float("inf")), lambda: L0(1.5),
        lambda: L0(-1), lambda: L0(float("nan")), lambda: L0(float("inf")), lambda: Lp(0.5, 1),
        lambda: Lp(float("nan"), 1), lambda: Lp(-1, 1), lambda: Linf(float("inf")),
    ):  # fmt: skip
        with pytest.raises(InputError):
            make()


def test_names():
    assert repr(Linf(0.3)) == "Linf(0.3)"
    assert repr(L0(3)) == "L0(3)"
    assert repr(Lp(1.5, 2)) == "Lp(1.5, 2)"
    assert repr(Lp(2, 1)) == "L2(1)"
    assert repr(Linf(0.3) | L2(2)) == "Union(Linf(0.3), L2(2))"


@pytest.mark.parametrize("text", ["L2", " l2 ", "l2.0"])
def test_other_spellings_of_a_metric(text):
    assert metric(text) == Metric(2)


def test_a_threat_is_read_from_itself():
    assert threat(L2(0.5)) == L2(0.5)


def test_scaled():
    assert Linf(0.3).scaled(2) == Linf(0.6)
    assert L2(0.5).scaled(0) == L2(0)
    assert Lp(1.5, 2).scaled(0.5) == Lp(1.5, 1)
    assert L0(10).scaled(0.35) == L0(3)
