"""What all threats share: equality, unions, traits."""

import pytest
import torch

from hauberk import InputError
from hauberk.threats import L0, L1, L2, Linf, Lp, RotationTranslation, Trait, Union, threat
from hauberk.threats.base import kind_of, listed


def test_a_union_is_where_any_part_is():
    union = Union(Linf(0.1), L2(0.3))
    x0 = torch.full((3, 9), 0.5)
    x = x0.clone()
    x[0] += 0.0999
    x[1, 0] += 0.2999
    x[2] += 0.3
    assert union.contains(x0, x).tolist() == [True, True, False]
    assert not union.contains(x0, x, box=(0, 0.55)).any()
    for call in (lambda: union.project(x0, x), lambda: union.at(x0), lambda: union.distance(x0, x)):
        with pytest.raises(InputError, match="is a union"):
            call()


def test_equality_is_of_the_set_not_of_the_class():
    assert Lp(2, 0.5) == L2(0.5)
    assert hash(Lp(2, 0.5)) == hash(L2(0.5))
    assert Lp(1, 3) == L1(3)
    assert Lp(float("inf"), 0.3) == Linf(0.3)
    assert L2(1) == L2(1.0)
    assert L2(0.5) != L1(0.5)
    assert L2(0.5) != L2(0.5000000001)
    assert Lp(1.2345678, 1) != Lp(1.2345679, 1)
    assert L2(0.5) != "l2:0.5"
    assert len({L2(0.5), Lp(2, 0.5), threat("l2:0.5"), L2(0.6)}) == 2


def test_union():
    union = Linf(0.3) | L2(2.0) | threat("l1:10")
    assert str(union) == "linf:0.3 | l2:2 | l1:10"
    assert union.parts == (Linf(0.3), L2(2), L1(10))
    assert threat(str(union)) == union
    assert Union(union, L0(3)).parts == (*union.parts, L0(3))
    assert union.scaled(2).parts == (Linf(0.6), L2(4), L1(20))
    assert L2(1).parts == (L2(1),)
    with pytest.raises(InputError, match="at least one"):
        Union()
    with pytest.raises(InputError, match=r"l2:2 is named twice"):
        Union(L2(2), Lp(2, 2))
    with pytest.raises(InputError, match="named twice"):
        union | L2(2)


def test_notations_in_a_list_may_hold_commas():
    assert listed("rt:30,3,linf:0.3") == ["rt:30,3", "linf:0.3"]
    assert listed("linf:0.3,l1:10,0;0.5;1") == ["linf:0.3", "l1:10", "0;0.5;1"]
    assert listed("l2:1") == ["l2:1"]


def test_the_kind_is_what_stands_before_the_size():
    assert [kind_of(t) for t in ("linf:0.3", "affine(linf:0.3,l1:1)", "l2")] == [
        "linf", "affine", "l2",
    ]  # fmt: skip


def test_traits_tell_balls_from_rugged_threats():
    assert Trait.BALL in L1(2).traits
    assert Trait.BALL not in RotationTranslation().traits
    assert Union(Linf(0.1), L2(1)).traits == frozenset()
