"""Binary search over eps with whole runs: closed forms, methods of every kind, and its cost."""

from math import inf

import pytest
import torch
from helpers.data import decided, inputs
from helpers.models import Recorder, halfspace

from hauberk import InputError, Linf
from hauberk.attacks import APGD, MultiSteepestDescent, Noise
from hauberk.solvers import EpsSearch

WEIGHT = [1.0, -2.0, 0.5, 0.25]
BOX = (-9.0, 9.0)
DUAL = {"l1": inf, "l2": 2, "linf": 1}


@pytest.fixture
def case():
    model = halfspace(WEIGHT, dtype=torch.float64)
    return model, *decided(model, inputs(6, (4,), seed=3, dtype=torch.float64) * 0.2 + 0.4)


def radius(x, metric):
    weight = torch.tensor(WEIGHT, dtype=torch.float64)
    return (x @ weight).abs() / torch.linalg.vector_norm(weight, DUAL[metric])


@pytest.mark.parametrize("metric", DUAL)
def test_radius_of_a_linear_model(case, metric):
    model, x, y = case
    found = EpsSearch(attack=APGD(steps=20), largest=3.0)(model, x, y, metric, box=BOX)
    assert found.fooled.all()
    true = radius(x, metric)
    assert (found.distance >= true * (1 - 1e-9)).all()
    # Two levels differ by a fifth, and the point was drawn nearer from the upper one.
    assert (found.distance <= true * 1.2).all()


@pytest.mark.parametrize(
    "attack", [MultiSteepestDescent(steps=6), Noise(steps=3, sizes=4)], ids=str
)
def test_methods_of_several_candidates_serve_too(case, attack):
    model, x, y = case
    found = EpsSearch(attack=attack, largest=3.0, levels=8)(model, x, y, "l2", box=BOX)
    assert found.fooled.all()
    assert (found.distance >= radius(x, "l2") * (1 - 1e-9)).all()


def test_rows_do_not_depend_on_each_other(case):
    model, x, y = case
    solver = EpsSearch(attack=APGD(steps=20), largest=3.0)
    whole = solver(model, x, y, "l2", box=BOX)
    one = solver(model, x[:1], y[:1], "l2", box=BOX)
    torch.testing.assert_close(one.points, whole.points[:1])


def test_nothing_is_found_where_the_largest_eps_is_too_small(case):
    model, x, y = case
    found = EpsSearch(largest=1e-6)(model, x, y, "l2", box=BOX)
    assert not found.fooled.any()
    assert torch.equal(found.points, x)
    assert len(EpsSearch()(model, x[:0], y[:0], "l2", box=BOX)) == 0


def test_its_passes_are_counted_and_announced(case):
    model, x, y = case
    recorder = Recorder(model)
    solver = EpsSearch(attack=APGD(steps=4), largest=3.0, levels=8, refine=3)
    found = solver(recorder, x, y, "linf", box=BOX)
    assert int(found.forwards.sum()) == recorder.forwards
    assert int(found.backwards.sum()) == recorder.backwards
    assert ((found.forwards + found.backwards) <= solver.passes * solver.attempts(2)).all()
    fewer = solver.within(30, 2)
    assert fewer.levels < 8
    assert fewer.passes <= 30


@pytest.mark.parametrize(
    "given", [{"levels": 0}, {"ratio": 1.0}, {"refine": 0}, {"largest": 0.0}, {"largest": inf}]
)
def test_settings_out_of_range_are_refused(given):
    with pytest.raises(InputError, match="levels and refine of 1 or more"):
        EpsSearch(**given)


def test_what_it_cannot_do_is_refused(case):
    model, x, y = case
    with pytest.raises(InputError, match="does not measure in"):
        EpsSearch()(model, x, y, Linf(0.1), box=BOX)
    with pytest.raises(InputError, match="too small"):
        EpsSearch().within(10, 2)
