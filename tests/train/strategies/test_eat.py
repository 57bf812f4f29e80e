"""E-AT: chances in proportion to the errors."""

from dataclasses import replace

import pytest
import torch
from helpers.strategies import (
    BALLS,
    CPU,
    LINF,
    batch,
    digits,
    net,
)

from hauberk.train import (
    EAT,
)  # fmt: skip
from hauberk.train.strategies.eat import chances


def test_eat_draws_in_proportion_to_the_errors_that_it_has_seen():
    assert chances([0.6, 0.2]) == pytest.approx([0.75, 0.25])
    assert chances([torch.nan, 0.2]) == chances([0.0, 0.0]) == [0.5, 0.5]
    x, y = digits()
    strategy = EAT(BALLS, steps=2)
    assert [str(t) for t in strategy.inner] == ["linf:0.1", "l1:1.5"]
    assert strategy.threats == BALLS.parts
    given = batch(net(), x, y)
    tables = strategy.begin(100, CPU)
    assert tables["wrong"].shape == (100, 2)
    assert tables["wrong"].isnan().all()
    tables["wrong"][50:60] = torch.tensor([1.0, 0.0])
    found = strategy.loss(given, tables)
    assert found.logs["chance linf:0.1"] == 1
    first = given.attack(strategy.attack_on(LINF), LINF, stream=0)
    assert torch.equal(tables["wrong"][: len(x), 0], first.fooled.float())
    assert tables["wrong"][: len(x), 1].isnan().all()
    assert tables["wrong"][60:].isnan().all()
    drawn = []
    for step in range(120):
        table = {"wrong": torch.full((20, 2), torch.nan)}
        table["wrong"][10:] = torch.tensor([0.75, 0.25])
        strategy.loss(replace(given, step=step, x=x[:1], y=y[:1], ids=given.ids[:1]), table)
        drawn.append(bool(table["wrong"][0, 1].isnan()))
    assert abs(sum(drawn) / 120 - 0.75) < 0.1
