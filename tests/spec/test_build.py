"""Dataclasses from mappings: every kind of field, and every refusal in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import pytest

from hauberk.errors import InputError
from hauberk.spec.build import Reader, build, did_you_mean, require_known


@dataclass(frozen=True)
class Part:
    size: int = 1


@dataclass(frozen=True)
class Row:
    steps: int
    eps: float = 0.5
    loss: Any = "ce"
    rule: Literal["steepest", "gradient"] = "steepest"
    random: bool = False
    cap: float | None = None
    share: float | tuple[float, float] | None = None
    sizes: Sequence[int] = ()
    part: Part | Mapping[str, Part] | None = None
    name: str = "row"
    made: int = field(default=0, init=False)

    def __post_init__(self):
        if self.eps < 0:
            raise InputError(f"eps is {self.eps}: give 0 or more")


READERS = {Part: Reader(lambda where, row: build(Part, row, where), "a part", "parts by name")}


def made(**given):
    return build(Row, {"steps": 3, **given}, "row 1", readers=READERS)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"steps": "40"}, 40),
        ({"eps": "8/255"}, 8 / 255),
        ({"eps": "inf"}, inf),
        ({"eps": 1}, 1),
        ({"loss": "margin"}, "margin"),
        ({"rule": "gradient"}, "gradient"),
        ({"random": True}, True),
        ({"cap": None}, None),
        ({"cap": "1e-3"}, 1e-3),
        ({"share": ["1/2", 1]}, (0.5, 1)),
        ({"share": "1/2"}, 0.5),
        ({"sizes": [1, 2, 3]}, (1, 2, 3)),
        ({"part": {"size": 4}}, Part(4)),
        ({"part": Part(4)}, Part(4)),
    ],
)
def test_values_are_read_by_type(given, value):
    (name,) = given
    assert getattr(made(**given), name) == value


def test_a_mapping_of_objects():
    readers = {Part: READERS[Part]}

    @dataclass(frozen=True)
    class Whole:
        parts: Mapping[str, Part]

    given = {"parts": {"a": {"size": 2}, "b": Part(3)}}
    assert build(Whole, given, "whole", readers=readers).parts == {"a": Part(2), "b": Part(3)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": 1}, "row 1: Row has no field 'step': it has steps, eps, .*did you mean steps"),
        ({"made": 1}, "no field 'made'"),
        ({"steps": 2.5}, "row 1: steps is 2.5: give a whole number"),
        ({"steps": True}, "steps is True: give a whole number"),
        ({"steps": "many"}, "steps is 'many': give a whole number"),
        ({"eps": float("nan")}, "eps is nan: give a number, such as 0.5 or 8/255"),
        ({"eps": "wide"}, "eps is 'wide': give a number"),
        ({"eps": -1}, "row 1: eps is -1: give 0 or more"),
        ({"loss": None}, "loss is None: give text"),
        ({"rule": "any"}, "rule is 'any': give steepest or gradient"),
        ({"random": 1}, "random is 1: give true or false"),
        ({"share": [1, 2, 3]}, r"share is \[1, 2, 3\]: give a number, .* or a list"),
        ({"sizes": [1, "x"]}, r"sizes is \[1, 'x'\]: give a list"),
        ({"part": 3}, "part is 3: give a part or parts by name"),
        ({"part": {"size": "x"}}, "row 1: part: size is 'x': give a whole number"),
        ({"name": 3}, "name is 3: give text"),
    ],
)
def test_refusals_are_one_line(given, message):
    with pytest.raises(InputError, match=message) as caught:
        made(**given)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match="row 1: Row needs steps: give it"):
        build(Row, {}, "row 1")


def test_an_error_of_the_class_itself_is_one_line():
    @dataclass
    class Broken:
        size: int = 1

        def __post_init__(self):
            raise RuntimeError("no\nluck")

    with pytest.raises(InputError, match="broken failed: RuntimeError: no luck"):
        build(Broken, {}, "broken")


def test_suggestions():
    assert did_you_mean("stpes", ["steps", "loss"]) == "; did you mean steps?"
    assert did_you_mean("zebra", ["steps", "loss"]) == ""
    with pytest.raises(InputError, match="it has none"):
        require_known("Standard", ["steps"], [])
