"""The boundary attack: its steps around the input and inwards."""

import torch
from helpers.walks import mid_walk

from hauberk.attacks.boundary import Boundary
from hauberk.threats import L2


def test_boundary_steps_around_and_inwards():
    x = torch.zeros(3, 50, dtype=torch.float64)
    attack = Boundary(trials=10, around=0.3, inwards=0.2)
    delta = attack.propose(*mid_walk(attack, L2(1.0), x, (-9, 9)))
    length = torch.full((3, 10), 50**0.5).double()
    length[:, 2:] *= 0.8
    torch.testing.assert_close(delta.norm(dim=2), length)
    along = delta.sum(2) / 50**0.5 / length
    torch.testing.assert_close(along, torch.full_like(along, 1 / (1 + 0.3**2) ** 0.5))
    assert (delta[:, 0] != delta[:, 1]).any(1).all()


def test_boundary_step_lengths_follow_what_fools():
    x = torch.zeros(2, 50, dtype=torch.float64)
    attack = Boundary(trials=10, around=0.3, inwards=0.2, rate=2.0)
    problem, state = mid_walk(attack, L2(1.0), x, (-9, 9))
    state.candidates = attack.propose(problem, state)
    fooled = torch.zeros(2, 10, dtype=torch.bool)
    fooled[0] = True
    attack.move(problem, state, fooled)
    torch.testing.assert_close(state.around, torch.tensor([0.5, 0.15]).double())  # 0.5 at most
    torch.testing.assert_close(state.inwards, torch.tensor([0.4, 0.1]).double())
    assert torch.equal(state.x[1], x[1] + 1)  # nothing fools: stay
    torch.testing.assert_close(state.x[0].norm(), torch.tensor(0.8 * 50**0.5).double())
