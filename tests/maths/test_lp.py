"""The projection for general p."""

import pytest
import torch
from helpers.projections import bounds, check, noise

from hauberk.maths import project_lp


@pytest.mark.parametrize("box", ["inner", "edges", "free"])
@pytest.mark.parametrize("kind", ["dense", "sparse", "heavy", "grid"])
@pytest.mark.parametrize("p", [1.1, 1.5, 3.0, 8.0])
def test_general_p_matches_reference(p: float, kind: str, box: str) -> None:
    shape = (3, 10)
    lo, hi = bounds(box, shape)
    a = noise(kind, shape)
    for eps in (0.3, 2.0):
        check(a, p, eps, lo, hi, 1e-6)
        check(a.double(), p, eps, lo.double(), hi.double(), 1e-7)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("kind", ["dense", "heavy", "saturating"])
def test_general_p_near_special_p(p: float, kind: str) -> None:
    a, (lo, hi) = noise(kind, (4, 60)), bounds("edges", (4, 60))
    near = project_lp(a, p + 1e-7, 1.0, lo, hi)
    torch.testing.assert_close(near, project_lp(a, p, 1.0, lo, hi), atol=1e-5, rtol=0)
