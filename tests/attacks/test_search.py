"""Exhaustive search of grids and finite sets, and random search."""

from math import prod

import pytest
import torch
from helpers.data import inputs
from helpers.models import Constant, Recorder, TwoLayers, above
from hypothesis import given, settings
from hypothesis import strategies as st

import hauberk
from hauberk import InputError
from hauberk.attacks import APGD
from hauberk.attacks.search import Grid, RandomSearch, _stride
from hauberk.evaluation.core.judge import judge
from hauberk.maths.rng import Draws
from hauberk.threats import L0, L1, L2, Box, Linf, RotationTranslation, threat
from hauberk.threats.finite import FiniteSet, Swaps
from hauberk.threats.region import Enumerable
from hauberk.threats.warp import warp
from hauberk.victims.victim import Victim


def images(n=6, shape=(1, 8, 8), dtype=torch.float32):
    return inputs(n, shape, seed=3, dtype=dtype)


def smooth(features=64, classes=3, dtype=torch.float32):
    return TwoLayers(features, classes=classes, gain=3, dtype=dtype, drawn=torch.float32)


def test_regions_offer_what_they_have():
    x = images()
    assert isinstance(RotationTranslation().at(x), Enumerable)
    assert isinstance(Swaps(5).at(x), Enumerable)
    assert not isinstance(Linf(0.1).at(x), Enumerable)


@pytest.mark.parametrize("count", [*range(1, 40), 775, 1000, 961])
def test_the_order_meets_every_point_once(count):
    stride = _stride(count)
    assert sorted(i * stride % count for i in range(count)) == list(range(count))


@pytest.mark.parametrize("counts", [(5, 3, 2), (1, 1, 1), (7, 1, 1)])
@pytest.mark.parametrize("chunk", [1, 4, 31])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_grid_finds_the_best_of_all_its_points(counts, chunk, dtype):
    model, x = smooth(dtype=dtype), images(n=3, dtype=dtype)
    y = model(x).argmax(1)
    rt = RotationTranslation(25, 2)
    attack = Grid(counts=counts, chunk=chunk)
    out = attack(model, x, y, rt, stop=False)
    region = rt.at(x)
    every = region.candidate(torch.arange(prod(counts)).expand(3, -1), counts)
    losses = []
    for k in range(prod(counts)):
        logits = model(region.decode(every[:, k]))
        own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
        losses.append(logits.scatter(1, y.unsqueeze(1), -torch.inf).amax(1) - own)
    best = torch.stack(losses, 1).amax(1)
    torch.testing.assert_close(out.loss, best, atol=1e-5, rtol=1e-5)
    verdict = judge(Victim(model), rt, x, out.points, y, Box(), out.witness)
    assert verdict.allowed.all()
    assert (out.backwards == 0).all()
    assert (out.forwards == attack.passes).all()
    # What any point of the grid breaks, the search that stops early breaks.
    early = attack(model, x, y, rt)
    assert torch.equal(early.fooled, best >= 0)
    assert (early.forwards <= attack.passes).all()


def test_every_point_of_the_grid_is_shown_to_the_model():
    x = images(n=2)
    model = Recorder(smooth())
    y = model.model(x).argmax(1)
    rt, counts = RotationTranslation(25, 2), (3, 3, 3)
    Grid(counts=counts, chunk=5)(model, x, y, rt, stop=False)
    seen = torch.cat(model.asked)
    region = rt.at(x)
    every = region.candidate(torch.arange(27).expand(2, -1), counts)
    for k in range(27):
        gaps = (seen.unsqueeze(1) - region.decode(every[:, k])).abs().flatten(2).amax(2)
        assert (gaps.amin(0) < 1e-6).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 7))
def test_a_finite_set_is_searched_to_the_end(seed, members, chunk):
    """No random search, of any seed, finds more than the exhaustive one."""
    model, x = smooth(features=12), images(shape=(12,))
    y = model(x).argmax(1)
    swaps = Swaps(members)
    attack = Grid(counts=(12,), chunk=chunk)
    grid = attack(model, x, y, swaps, stop=False)
    random = RandomSearch(samples=20)(model, x, y, swaps, stop=False, seed=seed)
    assert (grid.loss >= random.loss - 1e-5).all()
    assert (grid.forwards <= attack.passes).all()
    assert judge(Victim(model), swaps, x, grid.points, y, Box()).allowed.all()
    gradient = APGD(steps=5)(model, x, y, swaps, stop=False)
    assert (grid.loss >= gradient.loss - 1e-5).all()


def test_a_finite_set_of_more_members_than_a_grid_has_points():
    """Only the last member fools the model."""
    marks = FiniteSet(lambda x: (torch.arange(1.0, 1001) / 1000).expand(len(x), 1, -1).mT, 1001)

    last = above(0.9995, lambda x: x[:, 0])
    x, y = torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)
    out = Grid()(last, x, y, marks)
    assert out.fooled.all()
    assert (out.points == 1).all()
    none = Grid()(last, x, y, FiniteSet(marks.make, 1000))
    assert not none.fooled.any()
    assert (none.forwards >= 1000).all()


def test_the_grid_refuses_what_it_cannot_search():
    model, x = smooth(), images()
    y = model(x).argmax(1)
    with pytest.raises(InputError, match="can be enumerated"):
        Grid()(model, x, y, Linf(0.1))
    with pytest.raises(InputError, match="three counts"):
        Grid(counts=(8,))(model, x, y, RotationTranslation())
    for wrong in ({"counts": ()}, {"counts": (3, 0, 1)}, {"chunk": 0}):
        with pytest.raises(InputError, match="1 or more"):
            Grid(**wrong)
    with pytest.raises(InputError, match="1 or more"):
        RandomSearch(samples=0)


THREATS = [RotationTranslation(25, 2), Linf(0.1), L2(0.7), L1(3), L0(4), Swaps(30)]


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_search_keeps_the_worst_of_its_points(threat, dtype):
    model, x = smooth(dtype=dtype), images(dtype=dtype)
    y = model(x).argmax(1)
    attack = RandomSearch(samples=7)
    out = attack(model, x, y, threat, seed=5, stop=False)
    region, draws = threat.at(x), Draws.of(5, torch.arange(6), 0, torch.zeros(6).long())
    losses = []
    for draw in range(7):
        logits = model(region.decode(region.random(draws, draw)))
        own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
        losses.append(logits.scatter(1, y.unsqueeze(1), -torch.inf).amax(1) - own)
    best = torch.stack(losses, 1).amax(1)
    torch.testing.assert_close(out.loss, best, atol=1e-5, rtol=1e-5)
    assert judge(Victim(model), threat, x, out.points, y, Box(), out.witness).allowed.all()
    assert (out.forwards == attack.passes).all()
    assert (out.backwards == 0).all()
    longer = RandomSearch(samples=20)(model, x, y, threat, seed=5, stop=False)
    assert (longer.loss >= out.loss - 1e-6).all()


def test_random_search_starts_from_a_warm_start():
    model, x = smooth(), images()
    y = model(x).argmax(1)
    best = APGD(steps=30)(model, x, y, Linf(0.1), stop=False)
    warm = RandomSearch(samples=3)(
        model, x, y, Linf(0.1), stop=False, warm=best.points.unsqueeze(1)
    )  # fmt: skip
    assert (warm.loss >= best.loss - 1e-5).all()


SEARCHES = pytest.mark.parametrize(
    "attack", [Grid(counts=(3, 2, 2), chunk=5), RandomSearch(samples=4)], ids=["grid", "random"]
)


@SEARCHES
def test_edge_cases(attack):
    model, x = smooth(classes=2), images()
    y = model(x).argmax(1)
    assert len(attack(model, x[:0], y[:0], RotationTranslation())) == 0
    still = attack(model, x[:1], y[:1], RotationTranslation(0, 0), stop=False)
    assert torch.equal(still.points, x[:1])
    for value in (torch.nan, torch.inf):
        rt = RotationTranslation()
        out = attack(Constant(value, value), x, y, rt)
        assert out.fooled.all()
        allowed = judge(Victim(model), rt, x, out.points, y, Box(), out.witness).allowed
        assert allowed.all()


@SEARCHES
@pytest.mark.parametrize("stop", [True, False])
def test_the_batch_size_changes_nothing(attack, stop):
    model, x = smooth(dtype=torch.float64), images(dtype=torch.float64)
    y = model(x).argmax(1)
    rt = RotationTranslation(25, 2)
    whole = attack(model, x, y, rt, stop=stop)
    parts = attack(model, x, y, rt, stop=stop, batch_size=2)
    torch.testing.assert_close(whole.witness, parts.witness)
    torch.testing.assert_close(whole.points, parts.points)
    assert torch.equal(whole.fooled, parts.fooled)


def test_evaluate_and_verify(tmp_path):
    model, x = smooth(), images(n=10)
    y = model(x).argmax(1)
    out = tmp_path / "run"
    suite = {"random": RandomSearch(samples=3), "apgd": APGD(steps=5), "grid": Grid()}
    hauberk.evaluate(model, x, y, [threat("rt:10,1")], suite=suite, out=out)
    found = hauberk.verify(out, model)
    assert found.ok, str(found)
    assert found.points > 0


def test_the_default_grid_is_that_of_engstrom_2019():
    """31 angles and 5 by 5 shifts, evenly from end to end, listed by hand; all are evaluated."""
    x, y = images(n=1), torch.tensor([0])
    angles, shifts = [-30 + 2 * i for i in range(31)], [-3, -1.5, 0, 1.5, 3]
    places = torch.tensor([[a, dx, dy] for a in angles for dx in shifts for dy in shifts])
    wanted = warp(x.double().expand(775, -1, -1, -1), places.double())
    model = Recorder(smooth())
    out = Grid()(model, x, y, RotationTranslation(), stop=False)
    assert out.forwards.tolist() == [775 + 25]  # and one more to the best of each 31
    seen = torch.cat(model.asked).double()
    apart = torch.cdist(wanted.flatten(1), seen.flatten(1)).amin(1)
    assert (apart < 1e-5).all()


def test_random_search_is_the_worst_of_ten():
    assert RandomSearch().samples == 10
    x, y = torch.full((2, 3), 0.5), torch.tensor([0, 1])
    found = RandomSearch()(torch.nn.Linear(3, 2), x, y, Linf(0.1), stop=False)
    assert found.forwards.tolist() == [10, 10]
