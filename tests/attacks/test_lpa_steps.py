"""LPA, Fast-LPA and PPGD step by step, against the algorithms of Laidlaw et al. 2021 in numpy."""

import numpy as np
import pytest
import torch
from helpers.models import Recorder
from helpers.perceptual import ellipsoid, linear, middle, shear

from hauberk.attacks.lpa import LPA, FastLPA
from hauberk.attacks.ppgd import PPGD
from hauberk.threats.measured import Measured

EPS, BOX = 0.3, (-9.0, 9.0)


def case():
    model, x, matrix = linear(dtype=torch.float64), middle(1, dtype=torch.float64), shear()
    matrix = matrix.double()
    w = model[1].weight.detach().numpy()
    y = int(model(x).argmax(1))
    return model, x, y, matrix.numpy(), w[1 - y] - w[y]


def queries(attack):
    """The points that the attack asks for, one row each, and the threat."""
    model, x, y, matrix, gain = case()
    asked = Recorder(model)
    threat = Measured(ellipsoid(torch.from_numpy(matrix)), EPS)
    attack(asked, x, torch.tensor([y]), threat, box=BOX, stop=False)
    points = torch.cat(asked.asked).numpy() - x.numpy()
    return points, matrix, gain, threat.at(x)


def unit(v):
    return v / np.linalg.norm(v)


def lagrangian(delta, matrix, gain, price, length, relative):
    """One step of given distance along the gradient of loss - price max(d - eps, 0)."""
    far = np.linalg.norm(matrix @ delta)
    slope = matrix.T @ (matrix @ delta) / far if far else 0 * delta
    if relative:
        price = price * np.linalg.norm(gain) / np.linalg.norm(slope)
    way = unit(gain - price * slope * (far > EPS * (1 - 1e-9)))
    return delta + way * length / np.linalg.norm(matrix @ way)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("steps", [6, 20])
def test_fast_lpa_raises_its_price_and_shortens_its_steps_along_the_run(relative, steps):
    """lambda_t = 10 * 0.1^(1 - t / T); steps of distance eps * 0.1^(t / T); no projection."""
    found, matrix, gain, _ = queries(FastLPA(steps=steps, relative=relative))
    outside = 0
    for t in range(steps):
        price, length = 10 * 0.1 ** (1 - t / steps), EPS * 0.1 ** (t / steps)
        want = lagrangian(found[t], matrix, gain, price, length, relative)
        outside += np.linalg.norm(matrix @ found[t]) > EPS
        assert np.allclose(found[t + 1], want, atol=1e-6), t
    assert outside > 1


@pytest.mark.parametrize(
    ("relative", "first"), [(True, 0.1), (False, 0.1), (True, 30.0)], ids=["low", "plain", "high"]
)
def test_lpa_searches_for_its_price_round_by_round(relative, first):
    """Tenfold after a round that ends outside; then the geometric middle of the bracket."""
    rounds, each = 6, 7
    attack = LPA(steps=rounds * each, outer=rounds, relative=relative, price=first)
    found, matrix, gain, region = queries(attack)
    price, low, high, ended = first, 0.0, np.inf, []
    for turn in range(rounds):
        for t in range(each):
            at = turn * each + t
            length = EPS * 0.1 ** (t / each)
            want = lagrangian(found[at], matrix, gain, price, length, relative)
            if t + 1 < each:
                assert np.allclose(found[at + 1], want, atol=1e-6), at
        outside = np.linalg.norm(matrix @ want) > EPS * (1 - 1e-9)
        # Where a round ends, its point is moved straight inside.
        moved = region.project_(region.x0 + torch.from_numpy(want)[None]) - region.x0
        assert np.allclose(found[at + 1], moved.numpy()[0], atol=1e-6)
        low, high = (price, high) if outside else (low, price)
        price = 10 * low if high == np.inf else np.sqrt((low or high / 100) * high)
        ended.append(bool(outside))
    assert True in ended
    assert False in ended


def test_rounds_share_the_steps_and_begin_anew():
    assert LPA(steps=10, outer=4).begins().tolist() == [0, 2, 5, 7]
    assert (LPA().steps, LPA().outer, LPA().price, LPA().step_share) == (100, 5, 0.1, 1.0)
    assert (FastLPA().steps, FastLPA().price, FastLPA().step_share) == (20, 10.0, 1.0)


def conjugated(product, b, steps):
    """Textbook conjugate gradients from 0."""
    x, r = np.zeros_like(b), b.copy()
    p = r.copy()
    for _ in range(steps):
        along = product @ p
        rate = r @ r / (p @ along)
        x, after = x + rate * p, r - rate * along
        p, r = after + (after @ after) / (r @ r) * p, after
    return x


@pytest.mark.parametrize(
    ("options", "length", "count"),
    [
        ({"steps": 8}, 2 / 8, 5),
        ({"steps": 1}, 1.0, 5),
        ({"steps": 8, "step_share": 0.1, "conjugate": 2}, 0.1, 2),
    ],
)
def test_ppgd_steps_where_the_loss_gains_most_per_distance(options, length, count):
    """(J'J)^-1 g by so many conjugate gradients, by a share of eps, and back inside."""
    found, matrix, gain, region = queries(PPGD(**options))
    for t in range(options["steps"]):
        way = unit(conjugated(matrix.T @ matrix, unit(gain), count))
        want = found[t] + way * length * EPS / np.linalg.norm(matrix @ way)
        moved = region.project_(region.x0 + torch.from_numpy(want)[None]) - region.x0
        assert np.allclose(found[t + 1], moved.numpy()[0], atol=1e-5), t


def test_the_defaults_of_ppgd():
    assert (PPGD().steps, PPGD().step_share, PPGD().conjugate) == (40, None, 5)
