"""The affine attacks of Tramèr & Boneh 2019, against a walk by hand in numpy."""

from functools import partial
from math import inf

import numpy as np
import pytest
import torch
from helpers import oracles
from helpers.data import inputs
from helpers.models import network
from helpers.oracles import refusal

from hauberk.attacks import PGD, Grid, MixturePGD, RandomSearch, SparseL1Descent
from hauberk.engine.state import Answer, BestSoFar, Clock
from hauberk.engine.stepper import respond
from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.threats import L1, L2, Box, Linf, threat
from hauberk.threats.affine import Affine
from hauberk.threats.finite import Swaps
from hauberk.threats.warp import RotationTranslation, warp

judged = partial(oracles.judged, most=1 + 1e-12)
FREE = Box(-inf, inf)
START = {"random_start": False, "first": "turns"}


def walked(mixture, steps, x, **settings):
    """The points asked for, one variant after the other: ``(V, steps + 1, d)`` of one example."""
    model, y = network(20, 30, 3, dtype=torch.float64), torch.tensor([0])
    attack = MixturePGD(steps=steps, restarts=1, loss="margin", **settings)
    rows = torch.stack(oracles.queries(attack, mixture, model, x, y, box=FREE))
    return model, rows.transpose(0, 1)


def slope(model, x):
    """Gradient of the margin of the other classes over class 0, by torch alone."""
    x = torch.tensor(x).unsqueeze(0).requires_grad_()
    logits = model(x)[0]
    (grad,) = torch.autograd.grad(logits[1:].max() - logits[0], x)
    return grad[0].numpy()


def along(grad, p):
    """The unit step of steepest ascent in l2 and linf."""
    return np.sign(grad) if p == inf else grad / np.linalg.norm(grad)


def back(r, p, eps):
    """The projection on a ball of l2 or linf."""
    return np.clip(r, -eps, eps) if p == inf else r * min(1, eps / max(np.linalg.norm(r), 1e-12))


def problem_of(region, y):
    return Problem(region=region, y=y, target=None, draws=Draws.of(0, torch.arange(len(y))))


def answer(model, region, state, y, step):
    """What the engine would answer: loss and gradient of the margin, by torch alone."""
    u = state.u.clone().requires_grad_()
    logits = model(region.decode(u))
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    loss = logits.scatter(1, y.unsqueeze(1), -inf).amax(1) - own
    (grad,) = torch.autograd.grad(loss.sum(), u)
    given = Answer(loss=loss.detach(), fooled=loss.detach() >= 0, gradient=grad)
    return respond(given, Clock(np.full(len(y), step)), BestSoFar.none(state.u))


@pytest.mark.parametrize(
    ("a", "b"), [(Linf(0.1), L2(0.5)), (L2(0.5), Linf(0.1)), (L2(0.3), L2(0.7))], ids=str
)
def test_balls_are_walked_in_turn_each_in_its_share(a, b):
    """r1 and r2 apart, in numpy: the even steps move r1 in beta A, the odd ones r2."""
    x, steps = inputs(1, (20,), seed=3, dtype=torch.float64), 6
    mixture = Affine(a, b, betas=(0, 0.25, 0.6, 1))
    model, rows = walked(mixture, steps, x, **START)
    assert rows.shape == (4, steps + 1, 20)
    for beta, row in zip(mixture.betas, rows.numpy(), strict=True):
        r = [np.zeros(20), np.zeros(20)]
        sizes = beta * a.eps, (1 - beta) * b.eps
        for step, point in enumerate(row):
            np.testing.assert_allclose(point, x[0].numpy() + r[0] + r[1], atol=1e-12)
            turn = {0: 1, 1: 0}.get(beta, step % 2)
            length = 2.5 / steps if beta in (0, 1) else min(1, 2.5 / (steps / 2))
            p = (a, b)[turn].p
            r[turn] = r[turn] + length * sizes[turn] * along(slope(model, point), p)
            r[turn] = back(r[turn], p, sizes[turn])


@pytest.mark.parametrize(
    ("settings", "length"), [({"step_size": 0.2}, 0.2), ({"step_share": 0.3}, 0.3)]
)
def test_a_step_size_is_a_share_of_the_budget_of_the_part_that_moves(settings, length):
    x = inputs(1, (20,), seed=3, dtype=torch.float64)
    _, rows = walked(Affine(Linf(0.1), L2(0.5), betas=(0.25,)), 3, x, **settings, **START)
    one, two, three = rows[1].diff(dim=0)
    torch.testing.assert_close(one.abs().amax(), torch.tensor(0.25 * 0.1 * length).double())
    torch.testing.assert_close(two.norm(), torch.tensor(0.75 * 0.5 * length).double())
    torch.testing.assert_close(three.abs().amax(), torch.tensor(0.25 * 0.1 * length).double())


def test_an_l1_part_moves_the_features_above_a_percentile():
    """numpy's percentile of the sizes, of a gradient that does not change."""
    features, beta = 784, 0.5
    model = torch.nn.Linear(features, 2).double()
    x = torch.full((1, features), 0.5, dtype=torch.float64)
    attack = MixturePGD(steps=2, restarts=1, share=0.1, **START)
    mixture = Affine(Linf(0.1), L1(10), betas=(beta,))
    with torch.no_grad():
        y = model(x).argmax(1)
    start, _, after = torch.stack(oracles.queries(attack, mixture, model, x, y))[:, 1]
    grad = (model.weight[1] - model.weight[0]).detach().numpy() * (1 if y == 0 else -1)
    chosen = np.abs(grad) >= np.percentile(np.abs(grad), 90)
    assert chosen.sum() == 79
    wanted = beta * 0.1 * np.sign(grad) + (1 - beta) * 10 * np.sign(grad) * chosen / 79
    np.testing.assert_allclose((after - start).numpy(), wanted, atol=1e-9)


def test_a_warp_is_drawn_and_held_and_the_ball_is_climbed_on_it():
    """Every query of one attempt has the same warp, whose size is beta; all steps move the rest."""
    x = inputs(2, (1, 6, 6), seed=1, dtype=torch.float64)
    model, y = network(36, 3, dtype=torch.float64), torch.tensor([0, 1])
    mixture = Affine(RotationTranslation(30, 2), Linf(0.1), betas=(0.3, 0.7))
    attack = MixturePGD(steps=3, restarts=4, loss="margin")
    out = attack(model, x, y, mixture, stop=False)
    judged(model, mixture, x, y, out)
    seen = []
    for number, beta in enumerate(mixture.betas):
        region = mixture.at(x).at_variant(torch.full((2,), number))
        problem = problem_of(region, y)
        state = attack.init(problem)
        by = region.witness(state.u)[:, 1:4].clone()
        assert (by[:, 0].abs() <= 30 * beta).all()
        assert (by[:, 1:].abs() <= 2 * beta).all()
        assert by.any() == (beta > 0)
        seen.append(by)
        middle = warp(x, by) if beta else x
        for step in range(3):
            response = answer(model, region, state, y, step)
            if beta < 1:
                state = attack.step(problem, state, response)
            torch.testing.assert_close(region.witness(state.u)[:, 1:4], by)
            gap = (region.decode(state.u) - middle).abs().amax()
            assert gap <= (1 - beta) * 0.1 + 1e-12
    assert not torch.equal(seen[1], seen[2])


def test_where_the_warp_has_the_whole_budget_one_evaluation_is_all():
    x = inputs(2, (1, 6, 6), seed=1, dtype=torch.float32)
    model, y = network(36, 3), torch.tensor([0, 1])
    out = MixturePGD(steps=7, restarts=3)(
        model, x, y, Affine(RotationTranslation(30, 2), Linf(0.1), betas=2), stop=False
    )
    assert out.forwards.tolist() == [3 * (8 + 1)] * 2
    turns = MixturePGD(steps=7, restarts=3)(
        model, x, y, Affine(L2(1), Linf(0.1), betas=2), stop=False
    )
    assert turns.forwards.tolist() == [3 * 16] * 2


PAIRS = [
    Affine(Linf(0.1), L1(1.5)), Affine(L1(1.5), Linf(0.1)), Affine(L2(0.5), L1(1.5), betas=3),
    Affine(Swaps(5), Linf(0.1)), threat("affine(linf:0.1,l2:0.5,0;0.5)"),
]  # fmt: skip


@pytest.mark.parametrize("mixture", PAIRS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_strictly_inside_by_the_judge(mixture, dtype):
    model, x = network(20, 30, 3, dtype=dtype), inputs(6, (20,), dtype=dtype, corners=2)
    y = model(x).argmax(1)
    out = MixturePGD(steps=5, restarts=2)(model, x, y, mixture, stop=False)
    verdict = judged(model, mixture, x, y, out)
    assert torch.equal(verdict.wrong, out.fooled)
    beta = torch.tensor(mixture.betas, dtype=torch.float64)[out.witness[:, 0].long()]
    middle = out.witness[:, 1:].double()
    second = norm(out.points.double() - middle, mixture.b.p)
    assert (second <= (1 - beta) * mixture.b.eps).all()


def test_it_is_no_stronger_than_all_parts_at_once_where_a_warp_can_be_moved():
    x = inputs(40, (1, 8, 8), seed=4)
    model = network(64, 30, 3, seed=2)
    with torch.no_grad():
        y = model(x).argmax(1)
    mixture = Affine(RotationTranslation(30, 2), Linf(0.02))
    held = MixturePGD(steps=20, restarts=2, loss="margin")(model, x, y, mixture, stop=False)
    all_move = PGD(steps=20, restarts=2, loss="margin")(model, x, y, mixture, stop=False)
    assert held.loss.mean() < all_move.loss.mean()
    turns = MixturePGD(steps=20, restarts=2, loss="margin", first="turns")(
        model, x, y, mixture, stop=False
    )
    assert held.loss.mean() < turns.loss.mean()


def test_refusals():
    model, x, y = network(20, 3), inputs(2, (20,)), torch.tensor([0, 1])
    assert "mixture" in refusal(MixturePGD(steps=2), model, x, y, Linf(0.1))
    assert "turns or held" in refusal(MixturePGD, first="both")
    assert "random start" in refusal(MixturePGD, first="held", random_start=False)
    assert "steepest" in refusal(MixturePGD, rule="gradient", step_size=1.0)
    assert "momentum" in refusal(MixturePGD, momentum=0.5)


def test_settings_that_nobody_names_are_those_of_tramer_2019():
    """100 steps, q from 80% to 99.5%, the worst of 10 warps in training, none held but warps."""
    sparse, mixed = SparseL1Descent(), MixturePGD()
    assert (sparse.steps, sparse.random_start, sparse.share) == (100, False, (0.005, 0.2))
    assert (mixed.steps, mixed.restarts, mixed.share) == (100, 10, (0.005, 0.2))
    assert (mixed.first, mixed.random_start, mixed.step_size, mixed.step_share) == (
        None, True, None, None,
    )  # fmt: skip
    assert RandomSearch().samples == 10
    assert Grid().counts == (31, 5, 5)
