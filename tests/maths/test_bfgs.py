"""Limited-memory and dense BFGS against the textbook formula; the dual against scipy and grids."""

from math import inf

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hauberk.maths.bfgs import DenseBFGS, LimitedBFGS, multipliers, predicted


def pairs(count, rows=3, n=6, seed=0, dtype=torch.float64):
    """Steps and changes of the gradient of convex quadratics, one for each row."""
    rng = torch.Generator().manual_seed(seed)
    root = torch.randn(rows, n, n, generator=rng, dtype=torch.float64)
    hessian = root @ root.transpose(1, 2) + 0.5 * torch.eye(n)
    steps = torch.randn(count, rows, n, generator=rng, dtype=torch.float64)
    changes = torch.einsum("sij,ksj->ksi", hessian, steps)
    return hessian.to(dtype), steps.to(dtype), changes.to(dtype)


def textbook(scale, steps, changes):
    """(I - p s y') H (I - p y s') + p s s', from ``scale`` times one; one row alone."""
    h = scale * np.eye(steps.shape[1])
    for s, y in zip(steps.numpy(), changes.numpy(), strict=True):
        left = np.eye(len(s)) - np.outer(s, y) / (s @ y)
        h = left @ h @ left.T + np.outer(s, s) / (s @ y)
    return torch.from_numpy(h)


def scale_of(step, change):
    return float(step @ change / (change @ change))


def matrix(memory, n=6):
    """What ``times`` multiplies by, ``(S, N, N)``."""
    rows = len(memory.blank)
    dtype = memory.scale.dtype if isinstance(memory, LimitedBFGS) else memory.h.dtype
    return memory.times(torch.eye(n, dtype=dtype).expand(rows, n, n).contiguous())


def every(rows=3):
    return torch.ones(rows, dtype=torch.bool)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 11])
def test_limited_memory_is_the_textbook_matrix_of_the_last_pairs(count):
    _, steps, changes = pairs(count)
    memory = LimitedBFGS.empty(torch.zeros(3, 6, dtype=torch.float64), 4)
    for s, y in zip(steps, changes, strict=True):
        memory.push_(s, y, every())
    found = matrix(memory)
    for row in range(3):
        last = (steps[-1, row], changes[-1, row]) if count else None
        scale = scale_of(*last) if last else 1.0
        want = textbook(scale, steps[-4:, row], changes[-4:, row])
        torch.testing.assert_close(found[row], want, rtol=1e-9, atol=1e-9)
    assert bool(memory.blank.all()) == (count == 0)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_dense_is_the_textbook_matrix_of_all_pairs(count):
    _, steps, changes = pairs(count)
    dense = DenseBFGS.empty(torch.zeros(3, 6, dtype=torch.float64))
    for s, y in zip(steps, changes, strict=True):
        dense.push_(s, y, every())
    for row in range(3):
        scale = scale_of(steps[0, row], changes[0, row]) if count else 1.0
        want = textbook(scale, steps[:, row], changes[:, row])
        torch.testing.assert_close(dense.h[row], want, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(matrix(dense), dense.h)


def test_both_agree_where_their_first_matrix_does():
    _, steps, changes = pairs(1, n=4)
    like = torch.zeros(3, 4, dtype=torch.float64)
    changes = changes / changes.norm() * steps.norm() * 0.5
    memory, dense = LimitedBFGS.empty(like, 5), DenseBFGS.empty(like)
    for one in (memory, dense):
        one.push_(steps[0], changes[0], every())
    scale = [scale_of(s, y) for s, y in zip(steps[0], changes[0], strict=True)]
    assert min(scale) > 0.3
    torch.testing.assert_close(matrix(memory, 4), matrix(dense, 4))


@pytest.mark.parametrize("kind", ["limited", "dense"])
def test_the_last_pair_is_kept_and_the_matrix_positive(kind):
    _, steps, changes = pairs(9)
    like = torch.zeros(3, 6, dtype=torch.float64)
    memory = LimitedBFGS.empty(like, 4) if kind == "limited" else DenseBFGS.empty(like)
    for s, y in zip(steps, changes, strict=True):
        memory.push_(s, y, every())
        torch.testing.assert_close(memory.times(y[:, None])[:, 0], s)
        h = matrix(memory)
        torch.testing.assert_close(h, h.transpose(1, 2), rtol=1e-9, atol=1e-9)
        assert (torch.linalg.eigvalsh(h) > 0).all()


@pytest.mark.parametrize("kind", ["limited", "dense"])
def test_a_quadratic_takes_as_many_steps_as_variables(kind):
    hessian, *_ = pairs(0)
    start = torch.randn(3, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    like = torch.zeros_like(start)
    memory = LimitedBFGS.empty(like, 6) if kind == "limited" else DenseBFGS.empty(like)
    v = start
    for _ in range(6):
        grad = torch.einsum("sij,sj->si", hessian, v)
        way = -memory.times(grad[:, None])[:, 0]
        curve = torch.einsum("si,sij,sj->s", way, hessian, way)
        step = way * (-(grad * way).sum(1) / curve)[:, None]
        v = v + step
        memory.push_(step, torch.einsum("sij,sj->si", hessian, step), every())
    assert (v.norm(dim=1) < 1e-8 * start.norm(dim=1)).all()


@pytest.mark.parametrize("kind", ["limited", "dense"])
@pytest.mark.parametrize("bad", ["unasked", "negative", "flat", "no step", "no change"])
def test_unsound_pairs_are_left_out_row_by_row(kind, bad):
    _, steps, changes = pairs(3)
    like = torch.zeros(3, 6, dtype=torch.float64)
    make = {"limited": lambda: LimitedBFGS.empty(like, 4), "dense": lambda: DenseBFGS.empty(like)}[
        kind
    ]
    memory, control = make(), make()
    for s, y in zip(steps[:2], changes[:2], strict=True):
        memory.push_(s, y, every())
        control.push_(s, y, every())
    s, y, where = steps[2].clone(), changes[2].clone(), every()
    if bad == "unasked":
        where[1] = False
    elif bad == "negative":
        y[1] = -y[1]
    elif bad == "flat":
        y[1] = y[1] - s[1] * (y[1] @ s[1]) / (s[1] @ s[1])
    elif bad == "no step":
        s[1] = 0
    else:
        y[1] = 0
    before = matrix(memory).clone()
    memory.push_(s, y, where)
    control.push_(steps[2], changes[2], every())
    found = matrix(memory)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[1], before[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[[0, 2]], matrix(control)[[0, 2]])


@pytest.mark.parametrize("kind", ["limited", "dense"])
def test_forgetting_is_row_by_row_and_complete(kind):
    _, steps, changes = pairs(7)
    like = torch.zeros(3, 6, dtype=torch.float64)
    make = {"limited": lambda: LimitedBFGS.empty(like, 4), "dense": lambda: DenseBFGS.empty(like)}[
        kind
    ]
    memory = make()
    for s, y in zip(steps[:5], changes[:5], strict=True):
        memory.push_(s, y, every())
    before = matrix(memory).clone()
    memory.clear_(torch.tensor([False, True, False]))
    assert memory.blank.tolist() == [False, True, False]
    found = matrix(memory)
    torch.testing.assert_close(found[1], torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(found[[0, 2]], before[[0, 2]])
    # What comes after is as if nothing had come before.
    new = make()
    for s, y in zip(steps[5:], changes[5:], strict=True):
        memory.push_(s, y, every())
        new.push_(s, y, every())
    torch.testing.assert_close(matrix(memory)[1], matrix(new)[1])


@pytest.mark.parametrize("kind", ["limited", "dense"])
def test_rows_are_taken_and_joined(kind):
    _, steps, changes = pairs(6)
    like = torch.zeros(3, 6, dtype=torch.float64)
    memory = LimitedBFGS.empty(like, 4) if kind == "limited" else DenseBFGS.empty(like)
    for s, y in zip(steps, changes, strict=True):
        memory.push_(s, y, every())
    order = torch.tensor([2, 0, 1])
    mixed = memory.take(order[:1]).join(memory.take(order[1:]))
    torch.testing.assert_close(matrix(mixed), matrix(memory)[order])


def programs(m, seed=0, rows=64, n=7):
    """Gram matrices, constraints and penalty parameters as a solve meets them."""
    rng = torch.Generator().manual_seed(seed)
    grads = torch.randn(rows, m + 1, n, generator=rng, dtype=torch.float64)
    size = 10 ** (2 * torch.rand(rows, m + 1, 1, generator=rng, dtype=torch.float64) - 1)
    grads = grads * size
    gram = grads @ grads.transpose(1, 2)
    c = torch.randn(rows, m, generator=rng, dtype=torch.float64)
    mu = torch.rand(rows, generator=rng, dtype=torch.float64)
    return gram, c, mu


def dual(gram, c, mu, weights):
    """What the multipliers maximise, ``(S,)``."""
    w = torch.cat((mu[:, None], weights), 1)
    return (weights * c).sum(1) - torch.einsum("si,sij,sj->s", w, gram, w) / 2


def best_of_faces(gram, c, mu):
    """The maximum over [0, 1]^m by scipy from several starts."""
    m, found = c.shape[1], []
    for g, k, u in zip(gram.numpy(), c.numpy(), mu.numpy(), strict=True):
        linear = k - u * g[0, 1:]
        most = -inf
        for start in (np.zeros(m), np.ones(m), np.full(m, 0.5)):
            got = minimize(
                lambda x, a=g[1:, 1:], b=linear: x @ a @ x / 2 - b @ x, start,
                jac=lambda x, a=g[1:, 1:], b=linear: a @ x - b, bounds=[(0, 1)] * m,
                method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-12},
            )  # fmt: skip
            most = max(most, -got.fun - u * u * g[0, 0] / 2)
        found.append(most)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_multipliers_maximise_the_dual(m):
    gram, c, mu = programs(m)
    found = multipliers(gram, c, mu)
    assert ((found >= 0) & (found <= 1)).all()
    want = best_of_faces(gram, c, mu)
    reached = dual(gram, c, mu, found)
    assert (reached >= want - 1e-3 * (1 + want.abs())).all(), (want - reached).max()


@pytest.mark.parametrize("m", [1, 2])
def test_no_point_of_a_grid_beats_the_multipliers(m):
    gram, c, mu = programs(m, seed=3)
    reached = dual(gram, c, mu, multipliers(gram, c, mu))
    line = torch.linspace(0, 1, 41, dtype=torch.float64)
    for point in torch.cartesian_prod(*[line] * m).view(-1, m):
        there = dual(gram, c, mu, point.expand(len(c), m))
        assert (there <= reached + 1e-3 * (1 + reached.abs())).all()


@pytest.mark.parametrize("m", [1, 2, 3])
def test_feasible_directions_take_violation_away(m):
    # At mu = 0 the program is about the violation alone, and standing still is one of its steps.
    gram, c, mu = programs(m, seed=1)
    none = torch.zeros_like(mu)
    drop = predicted(gram, c, none, multipliers(gram, c, none))
    violation = c.clamp_min(0).sum(1)
    assert (drop >= -1e-3 * violation).all()
    assert (drop <= violation + 1e-12).all()
    some = (violation > 0.1) & (c > 0).any(1)
    assert (drop[some] > 0).all()


def test_the_prediction_is_the_drop_of_the_linearised_violation():
    rng = torch.Generator().manual_seed(4)
    grads = torch.randn(5, 4, 7, generator=rng, dtype=torch.float64)
    c, mu = torch.randn(5, 3, generator=rng, dtype=torch.float64), torch.ones(5).double()
    found = multipliers(grads @ grads.transpose(1, 2), c, mu)
    way = -(torch.cat((mu[:, None], found), 1)[:, None] @ grads)[:, 0]
    after = c + torch.einsum("smn,sn->sm", grads[:, 1:], way)
    want = c.clamp_min(0).sum(1) - after.clamp_min(0).sum(1)
    torch.testing.assert_close(predicted(grads @ grads.transpose(1, 2), c, mu, found), want)


def test_a_broken_constraint_without_gradient_counts_in_full():
    gram = torch.zeros(2, 3, 3, dtype=torch.float64)
    gram[:, 0, 0] = 1.0
    c = torch.tensor([[1.0, -1.0], [0.0, 2.0]], dtype=torch.float64)
    found = multipliers(gram, c, torch.ones(2).double())
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_step_of_one_active_constraint_reaches_its_edge():
    # min |s|^2 / 2 + max(1 + g.s, 0), |g| = 2: the edge lies within the weight's reach.
    gram = torch.tensor([[[1.0, 0.0], [0.0, 4.0]]], dtype=torch.float64)
    c, none = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    found = multipliers(gram, c, none)
    assert found.tolist() == [[0.25]]
    assert predicted(gram, c, none, found).tolist() == [1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_rows_and_either_precision(dtype):
    memory = LimitedBFGS.empty(torch.zeros(0, 5, dtype=dtype), 3)
    dense = DenseBFGS.empty(torch.zeros(0, 5, dtype=dtype))
    for one in (memory, dense):
        one.push_(torch.zeros(0, 5, dtype=dtype), torch.zeros(0, 5, dtype=dtype), every(0))
        one.clear_(every(0))
        assert one.times(torch.zeros(0, 2, 5, dtype=dtype)).shape == (0, 2, 5)
    found = multipliers(
        torch.zeros(0, 3, 3, dtype=dtype), torch.zeros(0, 2, dtype=dtype), torch.zeros(0).to(dtype)
    )
    assert found.shape == (0, 2)
    assert found.dtype == dtype
