"""Random norm: the draw of a threat."""

from dataclasses import replace

import torch
from helpers.strategies import (
    BALLS,
    Watched,
    batch,
    digits,
    loss_of,
    net,
)

from hauberk.train import (
    RandomNorm,
)  # fmt: skip


def test_random_norm_draws_depend_on_seed_step_and_ids():
    x, y = digits()
    given = batch(net(), x, y)
    by_batch, by_example = RandomNorm(BALLS), RandomNorm(BALLS, per="example")
    draws = torch.stack([by_batch.drawn(replace(given, step=t)) for t in range(300)])
    assert (draws == draws[:, :1]).all()
    assert torch.equal(draws[7], by_batch.drawn(replace(given, step=7, ids=given.ids + 99)))
    share = torch.bincount(draws[:, 0], minlength=3) / 300
    assert (share - 1 / 3).abs().max() < 0.1
    each = by_example.drawn(given)
    rows = torch.tensor([5, 3, 11])
    some = replace(given, x=x[rows], y=y[rows], ids=rows)
    assert torch.equal(by_example.drawn(some), each[rows])
    assert len(each.unique()) == 3
    assert not torch.equal(each, by_example.drawn(replace(given, step=5)))
    assert not torch.equal(each, by_example.drawn(replace(given, seed=5)))
    # The points of an example, too; in float64, for a near tie turns single precision elsewhere.
    whole, part = Watched(net().double()), Watched(net().double())
    loss_of(by_example, batch(whole, x.double(), y))
    by_example.loss(batch(part, x[rows].double(), y[rows], ids=rows), {})
    assert torch.allclose(whole.seen[0][rows], part.seen[0], atol=1e-12)


def test_random_norm_by_example_keeps_each_in_its_own_threat():
    x, y = digits()
    model = Watched(net())
    strategy = RandomNorm(BALLS, per="example")
    given = batch(model, x, y)
    loss_of(strategy, given)
    for row, k in enumerate(strategy.drawn(given).tolist()):
        assert BALLS.parts[k].contains(x[row : row + 1], model.seen[0][row : row + 1]).all()
