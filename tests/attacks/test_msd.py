"""Multi steepest descent, and the union of balls that it searches."""

from math import inf

import pytest
import torch
from helpers.data import inputs
from helpers.models import Constant, Linear, network
from helpers.oracles import queries
from torch.nn import functional as F

from hauberk import InputError
from hauberk.attacks import APGD, FGSM, PGD
from hauberk.attacks.msd import MultiSteepestDescent as MSD
from hauberk.maths.norms import norm
from hauberk.threats import L0, L1, L2, Linf, Lp, Union
from hauberk.victims.victim import Victim

UNION = Union(Linf(0.1), L2(0.5), L1(1.5))
BOTH = pytest.mark.parametrize("ranking", ["loss", "first_order"])


def curved(features=20, classes=3, dtype=torch.float32):
    return network(features, 30, classes, dtype=dtype)


def data(n=8, shape=(20,), box=(0.0, 1.0), dtype=torch.float32):
    return inputs(n, shape, seed=2, box=box, dtype=dtype, corners=n // 3)


def optimum(g, x, ball, box=(0.0, 1.0)):
    """Maximum of ``<g, delta>`` over ball ∩ box, per row: by filling, or by bisection for l2."""
    room = torch.where(g > 0, box[1] - x, x - box[0])
    size = g.abs()
    if ball.p == inf:
        return (size * room.clamp(max=ball.eps)).sum(1)
    if ball.p == 1:
        order = size.argsort(1, descending=True)
        filled = room.gather(1, order).cumsum(1).clamp(max=ball.eps)
        return (filled.diff(dim=1, prepend=filled[:, :1] * 0) * size.gather(1, order)).sum(1)
    low, high = torch.zeros(len(x), 1), torch.full((len(x), 1), 1e6)
    for _ in range(80):
        mid = (low + high) / 2
        over = torch.minimum(size * mid, room).norm(dim=1, keepdim=True) > ball.eps
        low, high = torch.where(over, low, mid), torch.where(over, mid, high)
    return (torch.minimum(size * low, room) * size).sum(1)


@BOTH
@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
@pytest.mark.parametrize(
    "union", [UNION, Union(Linf(0.3), L1(0.2)), Union(Linf(0.01), L2(0.6)), Union(L1(3), L2(0.2))]
)
def test_finds_the_optimum_of_a_linear_model_over_the_union(union, box, ranking):
    model, x = Linear(), data(box=box)
    y = model(x).argmax(1)
    # With few features, l1 steps must move few: k of the paper is for 784.
    out = MSD(ranking=ranking, steps=150, k=(1, 2))(model, x, y, union, box=box, stop=False)
    g = model.slope(y)
    gain = ((out.points - x) * g).sum(1)
    best = torch.stack([optimum(g, x, part, box) for part in union.parts]).amax(0)
    assert union.contains(x, out.points, box=box).all()
    assert (out.distance <= 1).all()
    assert (gain <= best * (1 + 1e-5)).all()
    assert (gain >= 0.98 * best).all()


def by_the_book(model, x, y, union, steps, k):
    """Algorithm 1 once more, one example at a time, in plain words: points and candidates."""
    points, x = [x], x.double()
    share = {inf: 0.01 / 0.3, 2: 0.05, 1: 0.08}
    delta = torch.zeros_like(x)
    for _ in range(steps):
        u = (x + delta).requires_grad_(True)
        (g,) = torch.autograd.grad(F.cross_entropy(model(u), y, reduction="sum"), u)
        candidates, u = [], u.detach()
        for part in union.parts:
            step = share[part.p] * part.eps
            if part.p == inf:
                moved = delta + step * g.sign()
            elif part.p == 2:
                moved = delta + step * g / g.norm()
            else:
                g = torch.where(((u >= 1) & (g > 0)) | ((u <= 0) & (g < 0)), 0, g)
                top = g.abs().flatten().topk(k).indices
                way = torch.zeros_like(g).flatten()
                way[top] = g.flatten()[top].sign() / k
                moved = delta + step * way.view_as(g)
            candidates.append(part.project(x, x + moved) - x)
        losses = [F.cross_entropy(model(x + c), y) for c in candidates]
        delta = candidates[int(torch.stack(losses).argmax())]
        points.append(x + delta)
    return torch.cat([p.double() for p in points])


def test_takes_the_steps_of_the_paper():
    model = curved(dtype=torch.float64)
    x = data(6, dtype=torch.float64) * 0.98 + 0.01
    y = model(x).argmax(1)
    asked = queries(MSD(steps=12, k=(3, 3)), UNION, model, x, y)
    # Batches take turns: three candidates of each example, then the chosen ones.
    chosen = torch.stack([points for points in asked if len(points) == len(x)])
    assert len(chosen) == 13
    assert len(asked) == 26
    for i in range(len(x)):
        expected = by_the_book(model, x[i : i + 1], y[i : i + 1], UNION, 12, 3)
        torch.testing.assert_close(chosen[:, i], expected, rtol=0, atol=1e-9)


def test_goes_to_the_candidate_of_largest_loss():
    model, x = curved(), data(5)
    y = model(x).argmax(1)
    asked = queries(MSD(steps=6, restarts=1), UNION, model, x, y)
    for spread, u in zip(asked[2::2], asked[3::2], strict=True):
        rows = spread.view(len(x), 3, -1)
        loss = F.cross_entropy(model(spread), y.repeat_interleave(3), reduction="none").view(-1, 3)
        assert torch.equal(rows[torch.arange(len(x)), loss.argmax(1)], u)
        for number, part in enumerate(UNION.parts):
            far = norm(rows[:, number].double() - x.double(), part.p)
            assert (far <= part.eps * (1 + 1e-5)).all()


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5), Lp(3, 0.3), L0(3)], ids=str)
def test_on_one_ball_it_is_projected_ascent(ball):
    model, x = curved(), data()
    y = model(x).argmax(1)
    attack = MSD(steps=9, step_linf=0.1, step_l2=0.1, step_other=0.1)
    plain = PGD(steps=9, step_size=0.1 * ball.eps, random_start=False)
    ours, its = queries(attack, ball, model, x, y), queries(plain, ball, model, x, y)
    torch.testing.assert_close(torch.stack(ours), torch.stack(its), rtol=0, atol=1e-6)
    one = attack(model, x, y, Union(ball), stop=False)
    assert torch.equal(one.points, attack(model, x, y, ball, stop=False).points)


def test_an_l1_step_moves_a_random_number_of_coordinates():
    model, x = Linear(200), torch.full((40, 200), 0.5)
    y = model(x).argmax(1)
    asked = queries(MSD(steps=2, k=(5, 20)), L1(1.0), model, x, y)
    moved = (asked[1] != asked[0]).sum(1)
    assert moved.min() >= 5
    assert moved.max() <= 20
    assert len(moved.unique()) > 8
    length = (asked[1] - asked[0]).abs().sum(1)
    torch.testing.assert_close(length, torch.full((40,), 0.08), rtol=1e-4, atol=0)


def test_the_first_restart_starts_from_the_clean_input_and_others_do_not():
    model, x = curved(), data()
    y = model(x).argmax(1)
    first = queries(MSD(steps=1, restarts=2), UNION, model, x, y, batch_size=999)[1]
    assert torch.equal(first[:8], x)
    assert (first[8:] != x).any(1).all()
    assert UNION.contains(x, first[8:].double().float()).all()
    at_random = queries(MSD(steps=1, zero_start=False), UNION, model, x, y)[1]
    assert (at_random != x).any(1).all()
    warm = (x + 0.01).clamp(0, 1).unsqueeze(1)
    has = torch.tensor([[True], [False]] * 4)
    for given in (None, has):
        options = {"warm": warm, "has_warm": given}
        begun = queries(MSD(steps=1), UNION, model, x, y, **options)[1]
        want = warm[:, 0] if given is None else torch.where(has, warm[:, 0], x)
        torch.testing.assert_close(begun, want)


@BOTH
@pytest.mark.parametrize("threat", [UNION, Union(L2(0.5), Linf(0.1)), L1(1.5)], ids=str)
def test_passes_are_as_many_as_announced(threat, ranking):
    model, x = curved(), data()
    y = model(x).argmax(1)
    victim, parts = Victim(model), len(threat.parts)
    attack = MSD(steps=5, restarts=2, ranking=ranking)
    out = attack(victim, x, y, threat, stop=False)
    announced = 2 * MSD(steps=5, ranking=ranking).passes_on(threat)
    assert (out.forwards + out.backwards).tolist() == [announced] * 8
    assert out.backwards.tolist() == [10] * 8
    assert int(out.forwards.sum()) == victim.forwards
    rows = parts if parts > 1 and ranking == "loss" else 0
    assert out.forwards.tolist() == [2 * 6 * (rows + 1)] * 8


@BOTH
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float32], ids=str)
def test_points_lie_strictly_inside(dtype, ranking):
    model = curved(dtype=dtype)
    x = data(8, (5, 2, 2), dtype=torch.float64).to(dtype)
    y = model(x).argmax(1)
    for stop in (True, False):
        out = MSD(steps=8, restarts=2, ranking=ranking)(model, x, y, UNION, stop=stop)
        assert UNION.contains(x, out.points).all()
        assert (out.distance <= 1).all()
        assert torch.equal(out.fooled, model(out.points.to(dtype)).argmax(1) != y)


def test_no_example_depends_on_its_neighbours():
    model, x = curved(), data(9)
    y = model(x).argmax(1)
    together = MSD(steps=8, restarts=3)(model, x, y, UNION, seed=5)
    for i in range(9):
        rows = slice(i, i + 1)
        alone = MSD(steps=8, restarts=3)(
            model, x[rows], y[rows], UNION, seed=5, ids=torch.tensor([i])
        )
        torch.testing.assert_close(alone.points[0], together.points[i], rtol=0, atol=1e-6)
    # Without stopping, for there the first attempt that hits ends its siblings.
    together = MSD(steps=8, restarts=3)(model, x, y, UNION, seed=5, stop=False)
    few = MSD(steps=8, restarts=3)(model, x, y, UNION, seed=5, stop=False, batch_size=7)
    torch.testing.assert_close(few.points, together.points, rtol=0, atol=1e-6)


@BOTH
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 1e30])
def test_models_without_a_gradient(value, ranking):
    x, y = data(4), torch.tensor([0, 0, 1, 2])
    out = MSD(steps=4, ranking=ranking)(Constant(value, 0.0, -1.0), x, y, UNION)
    wrong = [True] * 4 if value == 0 or value != value else [False, False, True, True]
    assert out.fooled.tolist() == wrong
    assert UNION.contains(x, out.points).all()


def test_no_examples_no_radius_no_luck():
    model, x = curved(), data()
    y = model(x).argmax(1)
    assert len(MSD()(model, x[:0], y[:0], UNION)) == 0
    one = MSD(steps=3)(model, x[:1], y[:1], UNION)
    assert UNION.contains(x[:1], one.points).all()
    still = MSD(steps=3, restarts=2)(model, x, y, UNION.scaled(0), stop=False)
    assert torch.equal(still.points, x)
    assert not still.fooled.any()
    assert not still.distance.any()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MSD(step_l1=0), "step_l1 is 0: give a share"),
        (lambda: MSD(step_linf=inf), "step_linf is inf"),
        (lambda: MSD(k=(0, 5)), "k is"),
        (lambda: MSD(k=(6, 5)), "k is"),
        (lambda: MSD(ranking="best"), "unknown ranking 'best'"),
        (lambda: MSD(steps=0), "steps is 0"),
    ],
)
def test_bad_hyper_parameters(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize("attack", [FGSM(), PGD(), APGD()], ids=lambda a: type(a).__name__)
def test_other_attacks_refuse_a_union(attack):
    model, x = curved(), data()
    with pytest.raises(InputError, match=r"is a union.*MSD"):
        attack(model, x, model(x).argmax(1), UNION)
