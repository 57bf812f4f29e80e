"""One perturbation for a group: against slow float64 references and against its definition."""

from itertools import combinations
from math import inf

import numpy as np
import pytest
import torch
from helpers.climbing import climb
from helpers.data import draws
from helpers.groups import DTYPES, EACH_BALL, EACH_BOX, groups, normal

from hauberk import InputError
from hauberk.attacks import APGD, PGD
from hauberk.maths.square_windows import Windows, window
from hauberk.threats import L0, L1, L2, Ball, Box, Linf, RotationTranslation, Shared

# The projection.


def room(x, box, clip=False):
    """What a group (M, d) allows its perturbation, by the definition."""
    low, high = box[0] - x, box[1] - x
    return (low.min(0), high.max(0)) if clip else (low.max(0), high.min(0))


def reference(a, p, eps, lo, hi):
    """The projection of one perturbation (d,) on ball and bounds, in float64."""
    if p == 0:
        best, least = None, inf
        clipped = np.clip(a, lo, hi)
        for kept in combinations(range(len(a)), min(int(eps), len(a))):
            point = np.zeros_like(a)
            point[list(kept)] = clipped[list(kept)]
            gap = ((a - point) ** 2).sum()
            best, least = (point, gap) if gap < least else (best, least)
        return best
    if p == inf:
        return np.clip(a, np.maximum(lo, -eps), np.minimum(hi, eps))

    def at(price):
        size = np.abs(a)
        if p == 1:
            size = size - price
        elif p == 1.5:  # v + price * sqrt(v) = |a|
            size = ((np.sqrt(price**2 + 4 * size) - price) / 2) ** 2
        else:
            size = size / (1 + price)
        return np.clip(np.sign(a) * np.maximum(size, 0), lo, hi)

    def size(price):
        return (np.abs(at(price)) ** p).sum() ** (1 / p)

    low, high = 0.0, 1e6
    if size(low) <= eps:
        return at(low)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) > eps else (low, middle)
    return at(high)


@EACH_BALL
@EACH_BOX
@pytest.mark.parametrize("clip", [False, True])
def test_projection_is_the_nearest_point_of_all_boxes(ball, box, clip):
    x = groups(s=8, m=2, box=box)
    a = normal(8, 6)
    found = Shared(ball, clip).at(x, Box(*box)).project_(a.clone())
    for row, point, near in zip(x.numpy(), a.numpy(), found.numpy(), strict=True):
        exact = reference(point, ball.p, ball.eps, *room(row, box, clip))
        np.testing.assert_allclose(near, exact, atol=1e-10)


@EACH_BALL
@DTYPES
def test_a_group_of_one_is_the_ball(ball, dtype):
    x = groups(s=6, m=1, shape=(2, 4, 4), dtype=dtype)
    region, alone = Shared(ball).at(x), ball.at(x[:, 0])
    u = normal(6, 2, 4, 4, dtype=dtype)
    found = region.decode(region.project_(u.clone()))
    close = {"atol": 1e-6, "rtol": 0} if dtype == torch.float32 else {"atol": 1e-12, "rtol": 0}
    torch.testing.assert_close(found[:, 0], alone.project_(x[:, 0] + u), **close)
    grad = normal(6, 2, 4, 4, seed=2, dtype=dtype)
    start = region.project_(u * 0.1)
    stepped = region.decode(region.project_(region.ascent(start, grad, 0.1)))
    expected = alone.project_(alone.ascent(region.decode(start)[:, 0], grad, 0.1))
    torch.testing.assert_close(stepped[:, 0], expected, **close)


def test_boxes_one_after_another_are_not_the_projection():
    # One feature may not rise in the second input: its share of the ball belongs to the other.
    x = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    a = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    naive = a.clone()
    for member in x.unbind(1):
        naive = L2(0.5).at(member).project_(member + naive) - member
    found = Shared(L2(0.5)).at(x).project_(a.clone())
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.5]], dtype=torch.float64))
    torch.testing.assert_close(naive, torch.tensor([[0.0, 0.125**0.5]], dtype=torch.float64))
    assert (a - found).norm() < (a - naive).norm() - 0.05


@EACH_BALL
def test_project_finds_the_nearest_group(ball):
    x, y = groups(s=5, m=3), groups(s=5, m=3, seed=4)
    shared = Shared(ball)
    near = shared.project(x, y)
    assert shared.contains(x, near).all()
    region = shared.at(x)
    gap = (near - y).square().flatten(1).sum(1)
    for seed in range(20):
        u = region.project_(near[:, 0] - x[:, 0] + 0.1 * normal(5, 6, seed=seed))
        assert ((region.decode(u) - y).square().flatten(1).sum(1) >= gap - 1e-7).all()
    assert shared.project(x.float(), y.float()).dtype == torch.float32
    with pytest.raises(InputError, match="has no projection"):
        Shared(ball, clip=True).project(x, y)


# Decoding.


@pytest.mark.parametrize("clip", [False, True])
def test_decode_adds_one_perturbation_to_all(clip):
    x = torch.tensor([[[0.5, 0.9], [0.2, 0.0]]], dtype=torch.float64)
    region = Shared(Linf(0.3), clip).at(x)
    u = region.project_(torch.tensor([[0.3, 0.3]], dtype=torch.float64)).requires_grad_()
    up = 0.3 if clip else 0.1
    assert u[0].tolist() == pytest.approx([0.3, up])
    decoded = region.decode(u)
    expected = torch.tensor([[[0.8, 1.0], [0.5, up]]], dtype=torch.float64)
    torch.testing.assert_close(decoded, expected, atol=1e-15, rtol=0)
    (grad,) = torch.autograd.grad(decoded[0, 0].sum() + 2 * decoded[0, 1].sum(), u)
    # Clipped, the second feature of the first input no longer moves.
    assert grad.tolist() == [[3.0, 2.0 if clip else 3.0]]


@EACH_BOX
def test_the_repair_of_roundings_leaves_the_gradient(box):
    x = groups(s=50, m=2, box=box)
    region = Shared(Linf(10.0)).at(x, Box(*box))
    u = region.project_(torch.full((50, 6), 10.0, dtype=torch.float64)).requires_grad_()
    decoded = region.decode(u)
    assert ((decoded >= box[0]) & (decoded <= box[1])).all()
    assert torch.equal(torch.autograd.grad(decoded.sum(), u)[0], torch.full_like(u, 2.0))
    assert torch.equal(region.decode(region.start()), x)


# Sealing and judging.


@EACH_BALL
@pytest.mark.parametrize("clip", [False, True])
def test_contains_asks_for_one_perturbation(ball, clip):
    x = groups(s=6, m=3, shape=(8,)) * 0.5 + 0.25
    shared = Shared(ball, clip)
    region = shared.at(x)
    u = region.finalise(region.random(draws(6), 0) * 0.5)
    decoded = region.decode(u)
    assert region.contains(decoded, u).all()
    bent = decoded.clone()
    bent[:, 1] = x[:, 1]  # each is in the ball, but they differ
    assert (region.distance(bent) <= ball.eps).all()
    assert not region.contains(bent, u).any()
    assert not region.contains(bent).any()
    bent = decoded.clone()
    bent[:, 1] += (decoded - x)[:, 1] * -1e-9
    assert not region.contains(bent, u).any()
    if clip:
        assert not region.contains(decoded, u * 0.9).any()
        assert not region.contains(decoded, u[:, :3]).any()
    assert not region.contains(decoded + torch.nan, u).any()
    tight = shared.scaled(1e-3 if ball.p else 0).at(x)
    assert not tight.contains(decoded, u).any()
    assert not shared.at(x, Box(0.26, 0.74)).contains(decoded - 0.25, u).any()


def test_a_clipped_perturbation_must_itself_be_in_the_ball():
    x = torch.tensor([[[1.0, 0.5], [0.9, 0.5]]], dtype=torch.float64)
    shared = Shared(L1(0.3), clip=True)
    y = torch.tensor([[[1.0, 0.7], [1.0, 0.7]]], dtype=torch.float64)
    # 0.1 in the first feature explains it all.
    assert shared.contains(x, y).all()
    torch.testing.assert_close(
        shared.at(x).encode(y), torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    )
    # So does 0.3, but that is too much; both inputs are as near as before.
    assert not shared.contains(x, y, torch.tensor([[0.3, 0.2]], dtype=torch.float64)).any()
    # No perturbation leads here: one input moves up, the other stays where it could move.
    y = torch.tensor([[[1.0, 0.5], [0.95, 0.6]]], dtype=torch.float64)
    assert not shared.contains(x, y).any()


def test_narrowed_points_are_judged_in_their_own_rounding():
    x = groups(s=4, m=3).to(torch.float16)
    shared = Shared(L2(0.7))
    near = shared.project(x, groups(s=4, m=3, seed=5).to(torch.float16))
    assert near.dtype == torch.float16
    assert shared.contains(x, near).all()


@pytest.mark.parametrize("clip", [False, True])
def test_encode_reads_the_perturbation_back(clip):
    x = groups(s=4, m=3)
    region = Shared(Linf(0.2), clip).at(x)
    u = region.project_(normal(4, 6))
    again = region.encode(region.decode(u))
    torch.testing.assert_close(region.decode(again), region.decode(u), atol=1e-12, rtol=0)
    assert (again.abs() <= u.abs() + 1e-12).all()


def test_distance_is_the_largest_of_the_members():
    x = torch.zeros(2, 2, 2, dtype=torch.float64)
    y = torch.tensor([[[0.3, 0.4], [0.1, 0.1]], [[0.0, 0.0], [0.0, 0.2]]], dtype=torch.float64)
    expected = {0: [2, 1], 1: [0.7, 0.2], 2: [0.5, 0.2], inf: [0.4, 0.2]}
    for p, sizes in expected.items():
        assert Shared(Ball(p, 1)).distance(x, y).tolist() == pytest.approx(sizes)
        assert Shared(Ball(p, 1)).distance(x.float(), y).dtype == torch.float64


# The rest of a region.


@EACH_BALL
def test_rows_are_taken_and_joined(ball):
    x = groups(s=5, m=2, shape=(1, 4, 4))
    whole = Shared(ball).at(x)
    u, grad = normal(5, 1, 4, 4), normal(5, 1, 4, 4, seed=2)
    pieces = [whole.take(torch.tensor(rows)) for rows in ([0, 1], [2, 3, 4])]
    for region in (pieces[0].join(pieces[1]), whole.take(torch.arange(5))):
        for do in (
            lambda r: r.project_(u.clone()),
            lambda r: r.project_(r.ascent(r.project_(u.clone()), grad, r.eps * 0.1)),
            lambda r: r.random(draws(5), 3),
            lambda r: r.random_coarse(draws(5), 3),
            lambda r: r.decode(u),
            lambda r: r.scaled(torch.full((5,), 0.5)).project_(u.clone()),
        ):
            assert torch.equal(do(region), do(whole))
    one = whole.take(torch.tensor([3]))
    torch.testing.assert_close(one.project_(u[3:4].clone()), whole.project_(u.clone())[3:4])
    assert one.members == 2


@EACH_BALL
@pytest.mark.parametrize("clip", [False, True])
def test_an_empty_batch(ball, clip):
    x = groups(s=0, m=3, shape=(1, 4, 4))
    region = Shared(ball, clip).at(x)
    u = region.start()
    assert u.shape == (0, 1, 4, 4)
    assert region.decode(u).shape == (0, 3, 1, 4, 4)
    for found in (region.project_(u), region.ascent(u, u, 0.1), region.finalise(u)):
        assert found.shape == u.shape
    assert region.random(draws(0), 0).shape == u.shape
    assert region.contains(region.decode(u), u).shape == (0,)


@EACH_BALL
def test_windows_are_painted_in_place(ball):
    x = groups(s=5, m=2, shape=(1, 6, 6))
    region = Shared(ball).at(x)
    side = torch.full((5,), 3)
    new, old = (window(draws(5, seed), 0, side, 6, 6) for seed in (1, 2))
    u = region.random_coarse(draws(5), 0)
    painted = region.project_(
        region.repaint_window(u, Windows(new, old, side), draws(5), torch.zeros(5).long())
    )
    assert not torch.equal(painted, u)
    final = region.finalise(painted)
    assert region.contains(region.decode(final), final).all()


def test_random_features_reach_all_that_the_boxes_allow():
    x = groups(s=200, m=2, shape=(9,), box=(-1.0, 3.0))
    region = Shared(L0(4)).at(x, Box(-1.0, 3.0))
    u = region.random(draws(200), 0)
    assert ((u >= region.lo) & (u <= region.hi)).all()
    assert ((u != 0).sum(1) <= 4).all()
    assert ((u < 0).any() and (u > 0).any()).item()


def test_notation_members_and_flags():
    shared = Shared(Linf(0.2))
    assert (str(shared), repr(shared)) == ("shared(linf:0.2)", "Shared(Linf(0.2))")
    assert str(Shared(L2(1), clip=True)) == "shared(l2:1, clip)"
    assert shared.kind == "shared"
    assert shared == Shared(Linf(0.2)) != Shared(Linf(0.2), clip=True)
    assert shared.scaled(2) == Shared(Linf(0.4))
    region = shared.at(groups())
    assert region.members == 3
    assert not region.sparse
    assert Shared(L1(1)).at(groups()).sparse


@pytest.mark.parametrize("threat", [RotationTranslation(), Shared(Linf(0.1)), Linf(1) | L2(1)])
def test_only_balls_are_shared(threat):
    with pytest.raises(InputError, match="only an lp ball"):
        Shared(threat)


@pytest.mark.parametrize("shape", [(4, 6), (4, 0, 6)])
def test_inputs_must_be_groups(shape):
    with pytest.raises(InputError, match=r"groups are \(S, M, \.\.\.\)"):
        Shared(Linf(0.1)).at(torch.zeros(shape))


# Attacks move in it as in a ball.


@EACH_BALL
@pytest.mark.parametrize(
    "attack", [PGD(steps=60, step_share=0.2), APGD(steps=20)], ids=["pgd", "apgd"]
)
def test_attacks_climb_a_linear_loss(ball, attack):
    x = groups(s=4, m=3, shape=(12,))
    shared = Shared(ball)
    region = shared.at(x)
    slope = normal(4, 12)

    def evaluate(u):
        loss = (region.decode(u) * slope.unsqueeze(1)).flatten(1).sum(1)
        return loss, 3 * slope

    _, found = climb(attack, region, evaluate, draws(4))
    final = region.finalise(found.u)
    assert region.contains(region.decode(final), final).all()
    gained = found.loss - (x * slope.unsqueeze(1)).flatten(1).sum(1)
    if ball.p in (2, inf):
        best = region.project_(slope * 1e6)
        assert (gained >= 0.95 * 3 * (best * slope).sum(1)).all()
    assert (gained > 0).all()


# Whatever the numbers.
