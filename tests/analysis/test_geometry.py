"""Wrong regions on a plane: of a half space, by hand."""

from math import inf

import pytest
import torch
from helpers.models import halfspace

from hauberk import InputError
from hauberk.analysis import geometry
from hauberk.report.plots import geometry as plots


def test_a_half_space_cuts_the_corner_of_an_l1_ball():
    model = halfspace([1.0, 0.0, 0.0], -0.5, torch.float64)  # class 1 where x0 > 1/2
    x = torch.zeros(1, 3).double()
    u, v = torch.tensor([[2.0, 0, 0]]), torch.tensor([[0, 3.0, 3.0]])
    found = geometry(model, x, 0, u, v, p=1, eps=1.0, points=241)
    assert found.reach == (2.0, 6.0)
    # In this plane the ball is |a| + |b| <= 1, of area 2; beyond a = 1/2 lies a triangle of 1/4.
    assert found.share == pytest.approx(1 / 8, abs=0.01)
    assert found.radius == pytest.approx(0.5, abs=0.01)
    a, b = torch.meshgrid(found.steps, found.steps, indexing="ij")
    assert torch.allclose(found.distance, a.abs() + b.abs())
    assert torch.equal(found.wrong, a >= 0.5)
    assert float(found.steps[-1]) == pytest.approx(1.2)
    again = geometry(model, x[0], 0, u[0], v[0], p=1, eps=1.0, points=241, batch_size=1000)
    assert torch.equal(again.wrong, found.wrong)
    other = geometry(model, x, 0, u, v, p=2, eps=1.0, points=11)
    assert torch.allclose(other.distance, (a[::24, ::24] ** 2 + b[::24, ::24] ** 2).sqrt())


def test_pictures_and_what_is_no_plane(tmp_path):
    model = halfspace([1.0, 0.0, 0.0], -9.0)
    x = torch.zeros(1, 1, 1, 3)
    u, v = torch.eye(3)[0], torch.eye(3)[1]
    found = geometry(model, x, 0, u, v, p=1, eps=1.0, points=5)
    assert (found.radius, found.share) == (inf, 0)
    assert plots.geometry(found, tmp_path / "a.svg").stat().st_size < 60_000
    near = geometry(halfspace([1.0, 0, 0], -0.5), x, 0, u, v, p=1, eps=1.0, points=21)
    assert plots.geometry(near.to_dict(), tmp_path / "b.png", "a title").exists()
    for bad in ((u[:2], v), (u, 0 * v)):
        with pytest.raises(InputError):
            geometry(model, x, 0, *bad, p=1, eps=1.0)
