"""Targets in order: linearised distances against linear programs, whole Jacobians, and passes."""

from math import inf

import numpy as np
import pytest
import torch
from helpers.models import Constant, Of, Recorder, TwoLayers
from scipy.optimize import linprog

import hauberk as hb
from hauberk.attacks import APGD, PGD
from hauberk.engine.targets import MOST, by_logits, linearised, looked_at, metric_of
from hauberk.solvers import FAB
from hauberk.solvers.as_attack import AsAttack
from hauberk.threats import Box, Metric
from hauberk.victims.averaged import Averaged
from hauberk.victims.victim import Victim

F64 = torch.float64


def affine(weight, bias):
    weight, bias = (torch.as_tensor(v, dtype=F64) for v in (weight, bias))
    return Of(lambda x: x.flatten(1) @ weight.T + bias, dtype=F64)


def some(classes=5, features=5, n=7):
    rng = torch.Generator().manual_seed(3)
    weight = torch.randn(classes, features, generator=rng, dtype=F64)
    weight *= torch.linspace(0.3, 2, classes, dtype=F64).unsqueeze(1)
    bias = torch.randn(classes, generator=rng, dtype=F64)
    x = torch.rand(n, features, generator=rng, dtype=F64)
    model = affine(weight, bias)
    return model, weight, bias, x, model(x).argmax(1)


def by_class(found, metric=0):
    """The distances of each example as a mapping from classes."""
    order = found.order[:, : found.distances[metric].shape[1]]
    rows = zip(order.tolist(), found.distances[metric].tolist(), strict=True)
    return [dict(zip(*row, strict=True)) for row in rows]


def programmed(normal, gap, p, low, high):
    """The least l1 or linf length of d with normal . d = gap in a box; None if there is none."""
    d = len(normal)
    if p == 1:  # d = a - b
        bounds = [(0, h) for h in high] + [(0, -lo) for lo in low]
        cost, equal = np.ones(2 * d), [np.concatenate([normal, -normal])]
        found = linprog(cost, A_eq=equal, b_eq=[gap], bounds=bounds)
    else:  # |d_i| <= t
        eye, one = np.eye(d), np.ones((d, 1))
        above = np.block([[eye, -one], [-eye, -one]])
        bounds = [*zip(low, high, strict=True), (0, None)]
        found = linprog(
            np.append(np.zeros(d), 1), A_ub=above, b_ub=np.zeros(2 * d),
            A_eq=[np.append(normal, 0)], b_eq=[gap], bounds=bounds,
        )  # fmt: skip
    return found.fun if found.success else None


@pytest.mark.parametrize("p", [1, inf])
def test_distances_are_those_of_a_linear_program(p):
    model, weight, _, x, y = some()
    found = linearised(Victim(model), x, y, [Metric(2), Metric(p)])
    z, reached = model(x), 0
    for i, each in enumerate(by_class(found, 1)):
        assert sorted(each) == [k for k in range(5) if k != y[i]]
        for k, distance in each.items():
            normal, gap = (weight[k] - weight[y[i]]).numpy(), float(z[i, y[i]] - z[i, k])
            exact = programmed(normal, gap, p, -x[i].numpy(), (1 - x[i]).numpy())
            room = np.where(normal > 0, 1 - x[i].numpy(), x[i].numpy())
            if exact is None:
                # All that the box allows, and as much again as is lacking.
                whole = {1: room[normal != 0].sum(), inf: room.max()}[p]
                exact = whole * gap / (room * abs(normal)).sum()
            else:
                reached += 1
            assert distance == pytest.approx(exact, rel=1e-6)
    assert 5 < reached < 28


@pytest.mark.parametrize(("p", "q"), [(1, inf), (inf, 1), (2, 2), (1.5, 3)])
def test_without_the_box_it_is_the_gap_over_the_dual_norm(p, q):
    model, weight, _, x, y = some()
    wide = Box(-1e6, 1e6)
    found = linearised(Victim(model), x, y, [Metric(p)], box=wide)
    z = model(x)
    for i, each in enumerate(by_class(found)):
        for k, distance in each.items():
            normal = (weight[k] - weight[y[i]]).numpy()
            exact = float(z[i, y[i]] - z[i, k]) / np.linalg.norm(normal, q)
            assert distance == pytest.approx(exact, rel=1e-6)
    ranked = found.ranked()
    for i, each in enumerate(by_class(found)):
        assert ranked[i].tolist() == sorted(each, key=each.get)
    assert not torch.equal(ranked, found.order)


def test_the_gradients_are_those_of_the_whole_jacobian():
    model = TwoLayers(6, 20, 5, activation=torch.tanh, seed=0, centre=0.5, dtype=F64)
    x = torch.rand(6, 6, generator=torch.Generator().manual_seed(0), dtype=F64)
    y = model(x).argmax(1)
    found = linearised(Victim(model), x, y, [Metric(2)], box=Box(-1e6, 1e6))
    for i, each in enumerate(by_class(found)):
        jacobian = torch.func.jacrev(lambda v: model(v[None])[0])(x[i]).detach()
        z = model(x[i][None])[0].detach()
        for k, distance in each.items():
            exact = (z[y[i]] - z[k]) / (jacobian[k] - jacobian[y[i]]).norm()
            assert distance == pytest.approx(float(exact), rel=1e-6)


def test_of_many_classes_those_of_the_largest_logits_are_looked_at():
    model, _, _, x, y = some(classes=MOST + 6, features=8)
    recorder = Recorder(model)
    found = linearised(Victim(recorder), x, y, [Metric(1), Metric(2)])
    assert [d.shape for d in found.distances] == [(7, MOST)] * 2
    assert (found.forwards, found.backwards) == (1, MOST)
    assert recorder.backwards == MOST * len(x)
    assert looked_at(MOST + 6) == MOST == 15
    assert looked_at(3) == 2
    assert torch.equal(found.order, by_logits(model(x), y))
    ranked = found.ranked(1)
    assert torch.equal(ranked[:, MOST:], found.order[:, MOST:])
    assert torch.equal(ranked.sort().values, found.order.sort().values)


def test_wrong_inputs_and_flat_models():
    model, _, _, x, y = some()
    wrong = (y + 1) % 5
    for i, each in enumerate(by_class(linearised(Victim(model), x, wrong, [Metric(2)]))):
        assert each[int(y[i])] == 0
    flat = linearised(Victim(Constant([1.0, 3.0, 2.0], dtype=F64)), x, y * 0, [Metric(inf)])
    assert flat.distances[0][:, 0].tolist() == [0] * 7  # ahead of the label already
    flat = linearised(Victim(Constant([9.0, 3.0, 5.0], dtype=F64)), x, y * 0, [Metric(inf)])
    assert (flat.distances[0] == inf).all()
    assert flat.ranked().tolist() == [[2, 1]] * 7
    none = linearised(Victim(model), x[:0], y[:0], [Metric(1), Metric(2)])
    assert none.ranked(1).shape == (0, 0)


def test_small_batches_and_too_little_memory_change_nothing():
    model, _, _, x, y = some()
    whole = linearised(Victim(model), x, y, [Metric(1), Metric(inf)])
    parts = linearised(Victim(model, batch_size=2), x, y, [Metric(1), Metric(inf)])
    assert torch.equal(parts.order, whole.order)
    for one, other in zip(parts.distances, whole.distances, strict=True):
        torch.testing.assert_close(one, other)

    def small(v):
        if len(v) > 3:
            raise torch.OutOfMemoryError("no more")
        return model(v)

    tight = linearised(Victim(Of(small, dtype=F64)), x, y, [Metric(1)])
    torch.testing.assert_close(tight.distances[0], whole.distances[0])


def two_ways():
    """The runner-up by logits lies out of reach, the other wrong class near."""
    model = affine([[0.0, 0.0], [0.1, 0.0], [0.0, 9.0]], [1.0, 0.9, 0.15])
    return model, torch.zeros(4, 2, dtype=F64), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize("threat", [hb.Linf(0.1), hb.L2(0.1), hb.L1(0.1), hb.Lp(1.5, 0.1)], ids=str)
def test_an_attack_aims_at_the_nearest_class(threat):
    model, x, y = two_ways()
    attack = APGD(targets=1, steps=5)
    assert not attack(model, x, y, threat).fooled.any()
    near = APGD(targets=1, steps=5, rank="linear")
    assert near(model, x, y, threat).fooled.all()
    assert AsAttack(solver=FAB(steps=3, targets=1, rank="linear"))(model, x, y, threat).fooled.all()
    assert not AsAttack(solver=FAB(steps=3, targets=1))(model, x, y, threat).fooled.any()


def test_its_passes_are_counted():
    model, x, y = two_ways()
    recorder = Recorder(model)
    out = APGD(targets=2, steps=5, rank="linear")(recorder, x, y, hb.Linf(1e-3), stop=False)
    assert out.forwards.tolist() == [1 + 2 * 6] * 4
    assert out.backwards.tolist() == [2 + 2 * 5] * 4
    assert int(out.forwards.sum()) == recorder.forwards
    assert int(out.backwards.sum()) == recorder.backwards
    attack = APGD(targets=2, steps=5, rank="linear")
    assert attack.aiming(3) == 3
    assert attack.aiming(1000) == 1 + MOST
    assert APGD(targets=2).aiming(3) == APGD(rank="linear").aiming(3) == 0
    assert AsAttack(solver=FAB(rank="linear")).aiming(10) == 10


def test_draws_of_a_stochastic_model_are_counted():
    noise = Of(lambda x: x[:, :3] + 0.01 * torch.randn(len(x), 3))
    victim = Averaged(noise, draws=4)
    x, y = torch.rand(2, 5), torch.tensor([0, 1])
    found = linearised(victim, x, y, [Metric(2)])
    assert (found.forwards, found.backwards) == (4, 8)
    assert (victim.forwards, victim.backwards) == (8, 16)


def test_a_budget_pays_for_the_order():
    for budget in (100, 187, 500):
        for solver in (FAB(targets=3), FAB(targets=3, rank="linear")):
            fitted = solver.within(budget, classes=10)
            spent = fitted.attempts(10) * fitted.passes + (solver.aiming(10) or 1)
            assert budget - 6 < spent <= budget


def test_threats_without_an_lp_distance_rank_by_logits():
    model = Of(lambda x: x.flatten(1)[:, :4] * 3)
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    for threat in (hb.threat("rt:10,1"), hb.threat("affine(linf:0.05,l1:1)")):
        assert metric_of(threat) is None
        one, other = (
            PGD(steps=2, targets=2, rank=rank)(model, x, y, threat, stop=False)
            for rank in ("logits", "linear")
        )
        assert torch.equal(one.points, other.points)
        assert torch.equal(one.forwards, other.forwards)
    assert metric_of(Metric(1)) == Metric(1)
    assert metric_of(hb.Lp(1.5, 2)) == Metric(1.5)


def test_softened_gradients_linearise_a_softened_attack():
    """A dead unit hides the near class from the exact gradient."""

    def hidden(x):
        near = torch.relu(x - 0.05)[:, 1:2] * 4000
        return torch.cat([0 * near + 1, 0.9 + 0.5 * x[:, :1], near], 1)

    x = torch.tensor([[0.04, 0.03]] * 4)
    y = torch.zeros(4, dtype=torch.int64)
    exact = linearised(Victim(Of(hidden)), x, y, [Metric(inf)])
    assert exact.ranked()[:, 0].tolist() == [1] * 4
    assert exact.distances[0][:, 1].tolist() == [inf] * 4
    soft = linearised(Victim(Of(hidden)), x, y, [Metric(inf)], soften=1.0)
    assert soft.ranked()[:, 0].tolist() == [2] * 4
    attack = APGD(targets=1, steps=9, rank="linear", soften=1.0)
    assert attack(Of(hidden), x, y, hb.Linf(0.03)).fooled.all()


def test_an_unknown_order_is_refused():
    with pytest.raises(hb.InputError, match="unknown rank 'nearest': choose logits or linear"):
        APGD(rank="nearest")
