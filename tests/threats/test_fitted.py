"""Balls and distances of some features only, or in units of their own: geometry, and methods."""

from math import inf

import pytest
import torch
from scipy.optimize import minimize
from tests.helpers.fits import cases, most_gain, sizes

import hauberk as hb
from hauberk import attacks
from hauberk.maths.rng import Draws
from hauberk.solvers.registry import SOLVERS
from hauberk.threats.features import Features
from hauberk.threats.fitted import fits

CASES = cases()
EPS = {0: 2, 1: 0.15, 1.5: 0.12, 2: 0.1, inf: 0.05}
WIDE = {0: 2, 1: 3.0, 1.5: 2.0, 2: 1.0, inf: 0.5}


def of(name, p, eps):
    case = CASES[name]
    if p == 0:
        case = type(case)(case.shape, {k: v for k, v in case.options.items() if k != "eps"},
                          case.free, torch.ones_like(case.scale))  # fmt: skip
    return case, (hb.L0(eps).fitted(Features.of(case.options)) if p == 0 else case.threat(p, eps))


@pytest.mark.parametrize("p", EPS)
@pytest.mark.parametrize("name", CASES)
def test_points_that_are_projected_lie_inside_and_the_rest_stays(name, p):
    case, threat = of(name, p, WIDE[p])
    x0 = case.inputs()
    near = threat.project(x0, x0 + 3 * torch.randn(x0.shape, generator=torch.manual_seed(0)))
    length, stays = sizes(case, x0, near, p)
    assert stays.all()
    assert (length <= WIDE[p] * (1 + 1e-12)).all()
    assert ((near >= 0) & (near <= 1)).all()
    assert threat.contains(x0, near).all()
    torch.testing.assert_close(threat.distance(x0, near), length)
    assert (length > 0).all()
    beyond = near.clone()
    beyond.flatten(1)[:, int((~case.free).flatten().nonzero()[0])] += 0.01  # where nothing may
    assert not threat.contains(x0, beyond).any()
    assert (threat.distance(x0, beyond) == inf).all()


@pytest.mark.parametrize("p", [1, 1.5, 2])
def test_a_projection_is_the_nearest_point_in_units_of_the_features(p):
    case, eps = CASES["table"], WIDE[p]
    threat = case.threat(p, eps)
    x0 = case.inputs(3).double()
    a = x0 + 2 * torch.randn(x0.shape, generator=torch.manual_seed(1), dtype=torch.float64)
    near = threat.project(x0, a)
    free, scale = case.free.numpy(), case.scale.numpy()[case.free.numpy()]
    for start, goal, found in zip(x0.numpy(), a.numpy(), near.numpy(), strict=True):
        z = (goal - start)[free] / scale
        bounds = [(-c / s, (1 - c) / s) for c, s in zip(start[free], scale, strict=True)]
        room = {"type": "ineq", "fun": lambda v: eps**p - (abs(v) ** p).sum()}
        best = minimize(lambda v, z=z: ((v - z) ** 2).sum(), 0 * z, bounds=bounds,
                        constraints=[room], method="SLSQP", options={"ftol": 1e-14})  # fmt: skip
        mine = (found - start)[free] / scale
        assert ((mine - z) ** 2).sum() <= ((best.x - z) ** 2).sum() + 1e-6


def test_sizes_of_features_bound_each_by_its_own_number_exactly():
    eps = torch.tensor([0.1, 0.2, 8 / 255, 0.3], dtype=torch.float64)
    x0 = torch.rand(200, 4, generator=torch.manual_seed(0))
    near = hb.Linf(eps).project(x0, x0 + 5)
    gone = near.double() - x0.double()
    assert (gone <= eps).all()
    assert (gone >= eps - 2e-7)[near < 1].all()
    for share in (0.3, 0.7, 1.1):  # whose products with the sizes are rounded
        some = hb.Linf(eps).scaled(share)
        x = x0.double() + torch.tensor([1.0, -1.0, 1.0, -1.0]) * (eps * share)
        assert (
            some.distance(x0.double(), some.project(x0.double(), x, box=(-9, 9))) <= share
        ).all()


def test_a_float64_point_is_judged_by_its_own_numbers():
    x0 = torch.full((1, 2), 0.5, dtype=torch.float64)
    threat = hb.Linf([0.1, 0.2])

    def moved(*by):
        return x0 + torch.tensor([by], dtype=torch.float64)

    assert threat.contains(x0, moved(0.1 * (1 - 1e-12), -0.2 * (1 - 1e-12)))
    assert not threat.contains(x0, moved(0.1 * (1 + 1e-12), 0.0))
    assert not threat.contains(x0, moved(0.0, 0.2 + 1e-12))


def test_limits_of_features_join_the_box():
    x0 = torch.full((2, 3), 0.5)
    threat = hb.Linf(0.4, lo=x0, hi=torch.tensor([1.0, 0.6, 1.0]))  # may only rise
    near = threat.project(x0, torch.tensor([[0.0, 1.0, 0.8], [1.0, 0.0, 0.0]]))
    expected = torch.tensor([[0.5, 0.6, 0.8], [0.9, 0.5, 0.5]])
    torch.testing.assert_close(near, expected)
    assert threat.contains(x0, near).all()
    assert not threat.contains(x0, x0 - 0.1).any()
    with pytest.raises(hb.InputError, match="leave the values of lo and hi"):
        threat.at(x0 - 0.1)


def test_rows_for_each_example_follow_them():
    x0 = torch.full((4, 3), 0.5)
    mask = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    threat = hb.Linf(0.25, mask=mask)
    moved = threat.project(x0, x0 + 1) - x0
    assert torch.equal(moved, 0.25 * mask)
    some = threat.take(torch.tensor([3, 1])).take(torch.tensor([1]))
    assert torch.equal(some.project(x0[:1], x0[:1] + 1) - x0[:1], 0.25 * mask[1:2])
    eps = torch.tensor([[0.1], [0.2], [0.3], [0.4]]).expand(4, 3)
    moved = hb.Linf(eps).project(x0, x0 + 1) - x0
    torch.testing.assert_close(moved, eps)
    with pytest.raises(hb.InputError, match="rows for 4 examples but 2 inputs"):
        threat.at(x0[:2])


def test_a_patch_that_may_lie_anywhere():
    x0 = torch.full((2, 1, 6, 6), 0.5)
    threat = hb.Linf(0.5, patch="2x2@4")
    x = x0.clone()
    x[0, :, 3:5, 1:3] = 1.0  # at no place of the grid
    x[1, :, 0, 0] = x[1, :, 3, 3] = 1.0
    assert threat.contains(x0, x).tolist() == [True, False]
    assert threat.distance(x0, x).tolist() == [0.5, inf]
    assert threat.variants == 4
    region = threat.at(x0).at_variant(torch.tensor([0, 3]))
    moved = region.decode(region.project_(region.start() + 1)) - x0
    assert moved[0, 0, :2, :2].eq(0.5).all()
    assert moved[1, 0, 4:, 4:].eq(0.5).all()
    assert moved.count_nonzero() == 8


def test_what_fits_into_a_window():
    changed = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    changed[0, 0, 1, 1] = changed[0, 0, 2, 3] = True
    changed[1, 0, 0, 0] = changed[1, 0, 3, 0] = True
    assert fits(changed, 2, 3).tolist() == [True, False, True]
    assert fits(changed, 2, 2).tolist() == [False, False, True]


SHORT = {
    "APGD": {"steps": 40}, "FGSM": {}, "LPA": {"steps": 20}, "FastLPA": {"steps": 20},
    "PGD": {"steps": 40}, "PPGD": {"steps": 20}, "PWCF": {"steps": 6}, "SPSA": {"steps": 4},
    "Boundary": {"steps": 6}, "HopSkipJump": {"steps": 3}, "MomentumIterative": {"steps": 20},
    "MultiSteepestDescent": {"steps": 30}, "Noise": {}, "Pointwise": {"steps": 6},
    "RandomSearch": {}, "SparseL1Descent": {"steps": 40}, "Square": {"steps": 60},
}  # fmt: skip
OTHER = {"Attack", "Grid", "MixturePGD", "LPA", "FastLPA", "PPGD"}  # of warps, mixtures, measured


def able(name, p):
    return name not in OTHER and (name != "SparseL1Descent" or p == 1)


@pytest.mark.parametrize(
    ("case", "p"), [("table", 1), ("table", 2), ("audio", 2), ("patch", inf), ("channels", inf)]
)
def test_every_attack_stays_inside_and_the_exact_ones_reach_the_largest_loss(case, p):
    case = CASES[case]
    eps, model, x = EPS[p], case.model(), case.inputs()
    y = model(x).argmax(1)
    threat, clean = case.threat(p, eps), model.margin(x, y)
    most = most_gain(case, model, x, y, p, eps)
    for name in attacks.__all__:
        if not able(name, p):
            continue
        attack = getattr(attacks, name)(**SHORT[name])
        found = attack(model, x, y, threat, stop=False)
        length, stays = sizes(case, x, found.points, p)
        assert stays.all(), name
        assert (length <= eps * (1 + 1e-12)).all(), name
        assert threat.contains(x, found.points).all(), name
        torch.testing.assert_close(found.distance, length, rtol=1e-9, atol=1e-12)
        gain = model.margin(found.points, y) - clean
        assert (gain <= most * (1 + 1e-5) + 1e-6).all(), name
        least = {"APGD": 0.999, "PGD": 0.9, "FGSM": 0.999, "Square": 0.4}.get(name, 0)
        assert (gain >= least * most - 1e-6).all(), (name, gain / most)


SOLVED = [
    ("best", "table", 0), ("best", "patch", inf), ("fmn", "table", 1), ("ddn", "audio", 2),
    ("fab", "patch", inf), ("fab", "table", 1), ("bisection", "table", 2), ("deepfool", "patch", 2),
    ("super_deepfool", "table", 2), ("cw", "audio", 2), ("ead", "audio", 1), ("pdpgd", "table", 2),
    ("sigma_zero", "patch", 0), ("swap_search", "table", 0), ("anpgd", "table", inf),
    ("general", "audio", 1.5), ("pwcf", "table", 1),
]  # fmt: skip
EXACT = {"best": 1.01, "fab": 1.01, "deepfool": 1.03, "super_deepfool": 1.03, "ddn": 1.02}


@pytest.mark.parametrize(("name", "case", "p"), SOLVED)
def test_every_solver_measures_so_and_comes_near_to_the_least_distance(name, case, p):
    here, _ = of(case, p, 1)
    model, x = here.model(), here.inputs(3)
    y = model(x).argmax(1)
    metric = hb.Metric(p, Features.of(here.options))
    short = {"ead": hb.solvers.EAD(steps=100, searches=4), "pwcf": hb.solvers.PWCFRadius(steps=12)}
    solver = short.get(name, name)
    found = hb.radius(model, x, y, metric, solver=solver, budget=400, box=(-9, 9))
    length, stays = sizes(here, x, found.points, p)
    assert stays.all()
    there = found.found
    assert there.any()
    torch.testing.assert_close(found.distance[there], length[there], rtol=1e-6, atol=1e-9)
    if p:
        least = -model.margin(x, y) / most_gain(here, model, x, y, p, 1.0)
        assert (found.distance >= least * (1 - 1e-6)).all()
        assert (found.distance <= least * EXACT.get(name, inf)).all()


def test_all_solvers_are_tried():
    assert {name for name, _, _ in SOLVED} == set(SOLVERS)


def test_walks_begin_at_points_that_are_given():
    case = CASES["audio"]
    model, x = case.model(), case.inputs()
    y, threat = model(x).argmax(1), case.threat(2, 2.0)
    there = hb.attacks.APGD(steps=20)(model, x, y, threat, stop=False).points
    walk = hb.attacks.Boundary(steps=4)
    found = walk(model, x, y, threat, warm=there.unsqueeze(1))
    assert torch.equal(found.fooled, model(there).argmax(1) != y)


def test_draws_fill_the_threat_and_nothing_else():
    for name, case in CASES.items():
        x0 = case.inputs(64)
        for p in (1, 2, inf):
            region = case.threat(p, WIDE[p]).at(x0)
            x = region.decode(region.random(Draws.of(0, torch.arange(64)), 0))
            length, stays = sizes(case, x0, x, p)
            assert stays.all(), name
            assert (length <= WIDE[p] * (1 + 1e-6)).all(), name
            moved = (x != x0).any(0)
            assert torch.equal(moved, case.free), name


def test_a_perturbation_of_some_features_is_shared_by_a_group():
    x = torch.rand(2, 3, 1, 4, 4, generator=torch.manual_seed(0))
    for clip in (False, True):
        threat = hb.Shared(hb.L2(1.0, patch="2x2+1+1"), clip=clip)
        region = threat.at(x)
        u = region.finalise(region.project_(torch.randn(2, 1, 4, 4)))
        moved = region.decode(u)
        assert threat.contains(x, moved).all()
        changed = (moved != x).any(0).any(0)[0]
        assert changed[1:3, 1:3].any()
        changed[1:3, 1:3] = False
        assert not changed.any()
        elsewhere = moved.clone()
        elsewhere[:, :, :, 0, 0] = (elsewhere[:, :, :, 0, 0] + 0.001).clamp(max=1)
        assert not threat.contains(x, elsewhere).any()
    with pytest.raises(hb.InputError, match="for all examples alike, and no more"):
        hb.Shared(hb.Linf([0.1, 0.2]))


def test_a_universal_patch_changes_its_window_alone():
    model = cases()["patch"].model()
    x = cases()["patch"].inputs(12)
    found = hb.universal(model, x, model(x).argmax(1), "linf:0.9,patch=2x3+1+2", epochs=2,
                         minibatch=4)  # fmt: skip
    assert torch.equal(found.delta != 0, cases()["patch"].free)
    assert found.summary["accuracy"] < 1


def test_distances_keep_their_features_where_balls_become_distances():
    ball = hb.L2(0.4, fixed=[1])
    x = torch.rand(6, 3, generator=torch.manual_seed(0))
    model = hb.models.MLP((3, 8, 2))
    y = model(x).argmax(1)
    union = hb.radius(model, x, y, hb.Union(ball, hb.Linf(0.2)), budget=200)
    assert list(union.parts) == ["l2,fixed=1", "linf"]
    alone = hb.radius(model, x, y, "l2,fixed=1", budget=200)
    assert torch.equal((union.parts["l2,fixed=1"].points != x)[:, 1], torch.zeros(6).bool())
    assert (alone.distance < torch.inf).any()
    assert hb.train.MMA(ball).metric == hb.Metric.of(ball)
    assert hb.train.MMA(ball).threats == (ball,)
    panels = hb.analysis.by_size({"net": model}, x, y, [ball], budget=100)
    assert list(panels) == ["l2,fixed=1"]
