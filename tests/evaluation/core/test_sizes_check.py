"""Sizes in the wrong units, and those that are right."""

import pytest
import torch

import hauberk as hb
from hauberk.evaluation.core.sizes_check import odd_sizes
from hauberk.threats.box import Box


def images(n=30, *shape):
    return torch.rand(n, *(shape or (3, 32, 32)), generator=torch.Generator().manual_seed(0))


def codes(threats, x, box=Box()):
    given = [hb.threat(text) for text in threats]
    return [(f.code, f.threat) for f in odd_sizes(given, x, torch.arange(len(x)) % 10, box)]


LARGE, TINY = "threat larger than the data", "threat next to nothing"


@pytest.mark.parametrize("text", ["linf:8", "linf:0.5", "l2:30", "l1:3000", "l0:3072", "l1.5:200"])
def test_larger_than_the_data(text):
    """Half of the typical distance of two images is enough: both become what lies between."""
    assert codes([text], images()) == [(LARGE, text)]


@pytest.mark.parametrize("text", ["linf:8/255", "linf:0.3", "l2:0.5", "l2:3", "l1:12", "l0:10",
                                  "linf:1/255", "l2:0.1", "linf:0", "l1:0.5", "l0:0",
                                  "rt:30,3"])  # fmt: skip
def test_usual_sizes_are_left_alone(text):
    assert codes([text], images()) == []
    assert codes([text], images(10)) == []


@pytest.mark.parametrize("text", ["linf:8/255", "linf:0.3", "l2:0.5", "l1:12", "l2:3"])
def test_sizes_for_0_to_1_on_0_to_255(text):
    whole = (images() * 255).round()
    assert codes([text], whole, Box(0, 255)) == [(TINY, text)]
    assert odd_sizes([hb.threat("linf:8/255")], whole, torch.arange(30), Box(0, 255))[
        0
    ].remedy.count("is linf:8 here")
    assert codes(["linf:8"], whole, Box(0, 255)) == []


def test_next_to_nothing():
    assert codes(["linf:0.0001"], images()) == [(TINY, "linf:0.0001")]
    assert codes(["l1:0.1"], images(30, 4)) == []  # of four features, a tenth of one


def test_a_curve_of_sizes_is_judged_by_all_of_them():
    assert codes(["linf:0.0001", "linf:0.1"], images()) == []
    assert codes(["linf:0.1", "linf:0.9"], images()) == []
    assert [code for code, _ in codes(["linf:0.6", "linf:0.9", "l2:1"], images())] == [LARGE]


def test_images_of_a_small_part_of_the_box():
    assert codes(["linf:0.1"], images() * 0.1) == [(LARGE, "linf:0.1")]
    assert codes(["linf:0.1"], images()) == []
    # Half of the way to another is enough.
    assert codes(["linf:0.06"], images() * 0.1) == [(LARGE, "linf:0.06")]
    union = hb.Union(hb.Linf(0.6), hb.L2(0.5))
    assert [f.threat for f in odd_sizes([union], images(), torch.arange(30), Box())] == ["linf:0.6"]
