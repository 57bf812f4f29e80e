"""The second net: recorded clean decisions against those of the model now."""

import numpy as np
import pytest
import torch

import hauberk as hb
from hauberk.evaluation.core.judge import CleanVerdict
from hauberk.evaluation.core.same import require_same_decisions

IDS = torch.tensor([17, 4])
PART = {
    "id": np.array([17, 4]),
    "margin": np.array([1.0, -0.5]),
    "correct": np.array([True, False]),
}


def verdict(margin, correct=(True, False), scale=10.0, **more):
    return CleanVerdict(torch.tensor(correct), torch.tensor(margin).double(), scale, **more)


def require(now, part=PART, margins=None, dtype=torch.float32, ids=IDS):
    require_same_decisions(part, margins, ids, now, dtype)


def test_equal_and_rounded_decisions_pass():
    require(verdict([1.0, -0.5]))
    require(verdict([1.005, -0.505]))
    require(verdict([1.1, -0.4]), dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (verdict([1.02, -0.5]), "clean input 17 otherwise .*1.02, recorded 1"),
        (verdict([1.0, -0.5], (False, False)), "clean input 17"),
        (verdict([1.0, float("nan")]), "clean input 4"),
        (verdict([1.0, float("-inf")]), "clean input 4"),
    ],
)
def test_other_decisions_are_refused(now, message):
    with pytest.raises(hb.InputError, match=message):
        require(now)


def test_decisions_within_rounding_of_the_boundary_pass():
    part = PART | {"margin": np.array([1.0, -1e-4])}
    require(verdict([1.0, 1e-4], (True, True)), part)


def test_infinite_and_undefined_margins_are_equal_to_themselves():
    part = PART | {"margin": np.array([np.inf, np.nan])}
    require(verdict([float("inf"), float("nan")]), part)


def test_margins_of_every_domain_are_compared():
    margins = torch.tensor([[[1.0, 5.0]], [[2.0, -0.5]]]).double()
    now = verdict([1.0, -0.5], tensors={"margins": margins.clone()})
    require(now, margins=margins)
    now.tensors["margins"][0, 0, 1] = 4.0
    with pytest.raises(hb.InputError, match=r"clean input 17 otherwise .*4, recorded 5"):
        require(now, margins=margins)


def test_other_examples_are_refused():
    with pytest.raises(hb.InputError, match="other examples"):
        require(verdict([1.0, -0.5]), ids=torch.tensor([4, 17]))
