"""SPSA: its samples, its estimates, and Adam on them."""

import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear, above, network
from helpers.oracles import queries
from torch import nn

from hauberk import InputError
from hauberk.attacks import PGD, spsa
from hauberk.attacks.spsa import SPSA
from hauberk.threats import L2, Linf


def curved(dtype=torch.float32):
    return network(20, 30, 3, dtype=dtype)


def data(n=8, shape=(20,), box=(0.0, 1.0), dtype=torch.float32):
    return inputs(n, shape, seed=2, box=box, dtype=dtype, corners=n // 3)


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
    usual = SPSA(steps=4, samples=8, chunk=4)(Linear(), x, y, L2(0.5), stop=False).points
    for size in (2.0**-80, 2.0**80):
        points = SPSA(steps=4, samples=8, chunk=4)(
            Linear(scale=size), x, y, L2(0.5), stop=False
        ).points
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


def test_spsa_has_the_settings_of_ding_2020():
    """Appendix D: 100 iterations, perturbations and rate 0.01, 2048 samples; Adam's decay."""
    attack = SPSA()
    assert (attack.steps, attack.delta, attack.lr, attack.samples) == (100, 0.01, 0.01, 2048)
    assert (attack.loss, attack.threshold, attack.restarts) == ("margin", None, 1)
    assert (spsa.DECAY, spsa.DECAY_SQUARED) == (0.9, 0.999)


@pytest.mark.parametrize("threshold", [-0.01, 0.0, 0.3])
@pytest.mark.parametrize("stop", [True, False])
def test_spsa_stops_at_the_threshold_and_not_before(threshold, stop):
    model, x = Linear(scale=0.3), data(6) * 0.02 + 0.49  # all margins begin small
    y = model(x).argmax(1)
    settings = {"steps": 30, "samples": 8, "chunk": 4}
    # Two chunks an iteration: candidates and iterate, twice; the new iterate comes with the second.
    asked = queries(SPSA(**settings), Linf(0.4), model, x, y)
    losses = torch.stack([model.margin(u, y) for u in asked[1::2]])
    reached = losses >= threshold
    assert reached.any(0).all()
    assert not reached[0].any()
    out = SPSA(**settings, threshold=threshold)(model, x, y, Linf(0.4), stop=stop)
    turns = reached.int().argmax(0) + 1
    assert out.forwards.tolist() == (5 * turns).tolist()
    assert (model.margin(out.points, y) >= threshold - 1e-6).all()
    assert out.fooled.tolist() == (model(out.points).argmax(1) != y).tolist()
    # Never so large: to the end, though the model is fooled before.
    last = SPSA(**settings, threshold=1e9)(model, x, y, Linf(0.4), stop=stop)
    assert last.forwards.tolist() == [30 * 2 * 5] * 6
    assert last.fooled.all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SPSA(samples=1), "samples is 1"),
        (lambda: SPSA(chunk=1), "chunk is 1"),
        (lambda: SPSA(delta=0), "delta is 0"),
        (lambda: SPSA(lr=float("nan")), "lr is nan"),
        (lambda: SPSA(threshold=float("nan")), "threshold is nan"),
    ],
)
def test_bad_hyper_parameters(make, says):
    with pytest.raises(InputError, match=says):
        make()
