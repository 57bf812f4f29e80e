"""The momentum iterative method, and SPSA."""

from dataclasses import replace

import pytest
import torch
from helpers.data import inputs
from helpers.models import Constant, Linear, above, network
from helpers.oracles import queries
from torch import nn

from hauberk import InputError
from hauberk.attacks import PGD
from hauberk.attacks.momentum import MomentumIterative
from hauberk.attacks.spsa import SPSA
from hauberk.threats import L0, L1, L2, Linf, Lp
from hauberk.victims.victim import Victim

BALLS = Linf(0.1), L2(0.5), Lp(1.5, 0.7), L1(1.5), L0(3)
SMALL = SPSA(steps=4, samples=8, chunk=4)
BOTH = pytest.mark.parametrize("attack", [MomentumIterative(steps=5), SMALL], ids=["mim", "spsa"])
EVERY = pytest.mark.parametrize("threat", BALLS, ids=str)


# Momentum.


def curved(dtype=torch.float32):
    return network(20, 30, 3, dtype=dtype)


def data(n=8, shape=(20,), box=(0.0, 1.0), dtype=torch.float32):
    return inputs(n, shape, seed=2, box=box, dtype=dtype, corners=n // 3)


@pytest.mark.parametrize("threat", BALLS, ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
def test_momentum_iterates_as_published(threat, momentum):
    """Algorithm 1: g <- mu g + grad / |grad|_1, then a step of eps / T along its direction."""
    model, x = curved(torch.float64), data(6, dtype=torch.float64)
    y = model(x).argmax(1)
    asked = queries(MomentumIterative(steps=6, momentum=momentum), threat, model, x, y)
    region, u, g = threat.at(x), x.clone(), torch.zeros_like(x)
    for points in asked:
        torch.testing.assert_close(points, u, rtol=0, atol=1e-9)
        v = u.clone().requires_grad_(True)
        (grad,) = torch.autograd.grad(nn.functional.cross_entropy(model(v), y, reduction="sum"), v)
        g = momentum * g + grad / grad.abs().sum(1, keepdim=True)
        u = region.project_(region.ascent(u, g, threat.eps / 6))
    assert len(asked) == 7


def test_momentum_without_momentum_is_pgd():
    model, x = curved(), data()
    y = model(x).argmax(1)
    ours = MomentumIterative(momentum=0.0, step_size=0.02)(model, x, y, Linf(0.1), stop=False)
    its = PGD(steps=10, step_size=0.02, random_start=False)(model, x, y, Linf(0.1), stop=False)
    assert torch.equal(ours.points, its.points)


@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
def test_momentum_finds_the_corner_of_an_linf_ball(box):
    model, x = Linear(), data(box=box)
    y = model(x).argmax(1)
    out = MomentumIterative()(model, x, y, Linf(0.1), box=box, stop=False)
    g = (
        torch.where(y == 0, 1.0, -1.0).unsqueeze(1)
        * (model.weight[:, 1] - model.weight[:, 0]).detach()
    )
    torch.testing.assert_close(out.points, (x + 0.1 * g.sign()).clamp(*box))


# SPSA.


@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
@pytest.mark.parametrize(("threat", "share"), [(Linf(0.1), 0.97), (L2(0.5), 0.85)], ids=str)
def test_spsa_comes_near_the_optimum_of_a_linear_model(threat, share, box):
    model, x = Linear(), data(6, box=box)
    y = model(x).argmax(1)
    out = SPSA(steps=60, samples=200, chunk=100)(model, x, y, threat, box=box, stop=False)
    best = PGD(steps=200)(model, x, y, threat, box=box, stop=False)
    g = (
        torch.where(y == 0, 1.0, -1.0).unsqueeze(1)
        * (model.weight[:, 1] - model.weight[:, 0]).detach()
    )
    gain, most = (((o.points - x) * g).sum(1) for o in (out, best))
    assert (gain >= share * most).all()


def test_spsa_samples_in_mirrored_pairs_around_the_iterate():
    model, x = curved(), data(3) * 0.5 + 0.2
    y = model(x).argmax(1)
    asked = queries(SPSA(steps=2, samples=16, chunk=8, delta=0.05), Linf(0.1), model, x, y)
    assert [len(points) for points in asked] == [24, 3] * 4
    spread, centre = asked[0].view(3, 2, 4, 20), asked[1]
    torch.testing.assert_close(centre, x)
    torch.testing.assert_close(spread.mean(1), x.unsqueeze(1).expand(3, 4, 20))
    torch.testing.assert_close((spread - x.view(3, 1, 1, 20)).abs(), torch.full_like(spread, 0.05))
    again = asked[2].view(3, 2, 4, 20)
    assert not torch.equal(again, spread)  # each chunk its own signs
    torch.testing.assert_close(again.mean((1, 2)), x)  # around the same iterate
    torch.testing.assert_close(asked[4].view(3, 8, 20).mean(1), asked[3])  # then the next


def test_spsa_follows_adam_on_the_estimates():
    """Its iterates, from the samples it asked for, as torch.optim.Adam would move."""
    model, x = curved(torch.float64), data(1, dtype=torch.float64) * 0.5 + 0.2
    y = model(x).argmax(1)
    attack = SPSA(steps=5, samples=8, chunk=4, lr=0.003)
    asked = queries(attack, Linf(0.5), model, x, y)
    u = nn.Parameter(x.clone())
    # eps of Adam counts in units of the first estimate: here it is too small to be seen.
    adam = torch.optim.Adam([u], lr=0.003, eps=1e-14, maximize=True)
    for step in range(5):
        spreads = [asked[4 * step], asked[4 * step + 2]]
        with torch.no_grad():
            grads = []
            for rows in spreads:
                logits = model(rows)
                other = logits.scatter(1, y.expand(4).unsqueeze(1), -torch.inf).amax(1)
                loss = other - logits[:, int(y)]
                signs = (rows[:2] - u) / 0.01
                grads.append(((loss[:2] - loss[2:]) / 0.02).unsqueeze(1) * signs)
            u.grad = torch.cat(grads).mean(0, keepdim=True)
        adam.step()
        torch.testing.assert_close(asked[4 * step + 3], u.detach(), rtol=0, atol=1e-7)


def test_spsa_climbs_losses_of_any_size_alike():
    x = data()
    y = Linear()(x).argmax(1)
    usual = SMALL(Linear(), x, y, L2(0.5), stop=False).points
    for size in (2.0**-80, 2.0**80):
        points = SMALL(Linear(scale=size), x, y, L2(0.5), stop=False).points
        torch.testing.assert_close(points, usual, rtol=0, atol=1e-5)


def test_spsa_samples_outside_of_the_threat_fool_nobody():
    # Wrong beyond 0.005 from one half.
    edge = above(0.005, lambda x: (x - 0.5).abs().amax(1))
    x, y = torch.full((3, 4), 0.5), torch.zeros(3, dtype=torch.int64)
    out = SPSA(steps=2, samples=8, chunk=4)(edge, x, y, Linf(0.004))
    assert not out.fooled.any()
    # Inside, a sample that fools is a hit at once.
    out = SPSA(steps=2, samples=8, chunk=4)(edge, x, y, Linf(0.02))
    assert out.fooled.all()
    assert out.forwards.tolist() == [5] * 3
    assert Linf(0.02).contains(x, out.points).all()


@pytest.mark.parametrize(
    ("samples", "chunk", "rows", "chunks"),
    [
        (2048, 128, 128, 16),
        (8, 4, 4, 2),
        (2, 2, 2, 2),
        (10, 4, 4, 3),
        (100, 33, 26, 4),
        (6, 9, 4, 2),
    ],
)
def test_spsa_rounds_samples_up_to_whole_chunks(samples, chunk, rows, chunks):
    attack = SPSA(samples=samples, chunk=chunk)
    assert (attack.rows, attack.chunks) == (rows, chunks)
    assert attack.rows * attack.chunks >= samples
    assert SPSA().passes == 100 * 16 * 129


# Both.


@BOTH
@EVERY
def test_passes_are_as_many_as_announced(attack, threat):
    model, x = curved(), data(5)
    victim = Victim(model)
    out = replace(attack, restarts=2)(victim, x, model(x).argmax(1), threat, stop=False)
    assert (out.forwards + out.backwards).tolist() == [2 * attack.passes] * 5
    assert (victim.forwards, victim.backwards) == (
        int(out.forwards.sum()),
        int(out.backwards.sum()),
    )
    assert bool(out.backwards.any()) == (attack.kind == "gradient")


@BOTH
@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float32], ids=str)
def test_points_lie_strictly_inside(attack, threat, dtype):
    model = curved(dtype)
    x = data(8, (5, 2, 2), dtype=torch.float64).to(dtype)
    y = model(x).argmax(1)
    for stop in (True, False):
        out = attack(model, x, y, threat, stop=stop)
        assert threat.contains(x, out.points).all()
        assert torch.equal(out.fooled, model(out.points.to(dtype)).argmax(1) != y)


@BOTH
@EVERY
def test_no_radius_no_examples_no_change(attack, threat):
    model, x = Linear(), data()
    y = model(x).argmax(1)
    for stop in (True, False):
        out = attack(model, x, y, threat.scaled(0), stop=stop)
        assert torch.equal(out.points, x)
        assert not out.fooled.any()
        assert attack(model, x, 1 - y, threat.scaled(0), stop=stop).fooled.all()
    assert len(attack(model, x[:0], y[:0], threat)) == 0


@BOTH
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 1e30])
def test_models_without_a_gradient(attack, value):
    x, y = data(4), torch.tensor([0, 0, 1, 2])
    out = attack(Constant(value, 0.0, -1.0), x, y, L2(0.5))
    wrong = [True] * 4 if value == 0 or value != value else [False, False, True, True]
    assert out.fooled.tolist() == wrong
    assert L2(0.5).contains(x, out.points).all()


@BOTH
@pytest.mark.parametrize("size", [1e-44, 1e38])
def test_losses_at_the_ends_of_the_floats_do_no_harm(attack, size):
    x, y = data(4), torch.tensor([0, 1, 0, 1])
    for stop in (True, False):
        out = attack(Linear(scale=size), x, y, L2(0.5), stop=stop)
        assert L2(0.5).contains(x, out.points).all()
        assert not out.loss.isnan().any()


@BOTH
def test_no_example_depends_on_its_neighbours(attack):
    # In float64: signs of gradients and of losses' differences magnify what rounding does.
    model, x = curved().double(), data(9).double()
    y = model(x).argmax(1)
    together = attack(model, x, y, L2(0.5), seed=5, stop=False)
    few = attack(model, x, y, L2(0.5), seed=5, stop=False, batch_size=10)
    torch.testing.assert_close(few.points, together.points, rtol=0, atol=1e-6)
    alone = attack(model, x[4:5], y[4:5], L2(0.5), seed=5, stop=False, ids=torch.tensor([4]))
    torch.testing.assert_close(alone.points[0], together.points[4], rtol=0, atol=1e-6)


@BOTH
def test_a_warm_start_that_fools_is_kept(attack):
    model, x = Linear(), data()
    y = model(x).argmax(1)
    broken = PGD(steps=40)(model, x, y, Linf(0.3))
    rows = broken.fooled
    assert rows.any()
    out = attack(model, x[rows], y[rows], Linf(0.3), warm=broken.points[rows].unsqueeze(1))
    assert out.fooled.all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MomentumIterative(steps=0), "steps is 0"),
        (lambda: MomentumIterative(momentum=-1), "momentum is -1"),
        (lambda: MomentumIterative(rule="gradient"), "use PGD"),
        (lambda: SPSA(samples=1), "samples is 1"),
        (lambda: SPSA(chunk=1), "chunk is 1"),
        (lambda: SPSA(delta=0), "delta is 0"),
        (lambda: SPSA(lr=float("nan")), "lr is nan"),
    ],
)
def test_bad_hyper_parameters(make, says):
    with pytest.raises(InputError, match=says):
        make()
