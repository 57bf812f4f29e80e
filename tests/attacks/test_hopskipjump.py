"""HopSkipJump: the normal that it estimates, and its jumps."""

import pytest
import torch
from helpers.walks import mid_walk

from hauberk.attacks.hopskipjump import ESTIMATE, JUMP, SEARCH, HopSkipJump
from hauberk.threats import L2, Linf


@pytest.mark.parametrize("threat", [L2(1.0), Linf(0.1)], ids=str)
def test_hopskipjump_estimates_the_normal_of_a_plane(threat):
    attack = HopSkipJump(trials=100, first=2000)
    x = torch.zeros(4, 20, dtype=torch.float64)
    problem, state = mid_walk(attack, threat, x, (-9, 9))
    w = torch.randn(20, generator=torch.Generator().manual_seed(3)).double()
    state.stage = torch.full((4,), ESTIMATE)
    for _ in range(20):
        state.candidates = attack.propose(problem, state)
        attack.move(problem, state, (state.candidates - state.x.unsqueeze(1)) @ w > 0)
        state.number += 1
    assert (state.stage == JUMP).all()
    way = attack.direction(problem.region, state)
    # The share of the steepest climb that it makes, for its size.
    best = way.norm(dim=1) * w.norm() if threat.p == 2 else way.abs().amax(1) * w.abs().sum()
    assert (way @ w / best > 0.9).all()
    # All decisions alike: the mean of the directions stands in, its sign the decision.
    drawn = state.drawn[0] / state.drawn[0].norm()
    state.votes[0], state.voted[0] = -2000.0, -state.drawn[0]
    if threat.p == 2:
        torch.testing.assert_close(attack.direction(problem.region, state)[0], -drawn)
    # The longest jump that fools is taken.
    state.votes[:], state.voted = 0, w.expand(4, 20).clone()
    state.candidates = attack.propose(problem, state)
    length = (state.candidates - state.x.unsqueeze(1)).norm(dim=2)
    torch.testing.assert_close(length[:, 1:6], length[:, :5] / 2)
    attack.move(problem, state, torch.arange(100).expand(4, 100) >= 3)
    torch.testing.assert_close((state.x - x - 1).norm(dim=1), length[:, 3])
    assert (state.stage == SEARCH).all()
    assert (state.round == 1).all()
