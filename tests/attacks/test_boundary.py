"""The boundary attack: its steps around the input and inwards."""

import pytest
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


LONG, SHORT = 1.5, 1 / 1.5


@pytest.mark.parametrize(
    ("easy", "good", "around", "inwards"),
    [(4, 5, LONG, LONG), (3, 4, 1, 1), (2, 3, SHORT, SHORT), (4, 3, LONG, SHORT)],
)
def test_boundary_lengths_change_at_published_shares(easy, good, around, inwards):
    """More than 3 of 10 orthogonal steps and than 1 of 10 inward steps make them longer."""
    x = torch.zeros(1, 50, dtype=torch.float64)
    attack = Boundary(trials=50, around=0.04, inwards=0.02)
    problem, state = mid_walk(attack, L2(1.0), x, (-9, 9))
    state.candidates = attack.propose(problem, state)
    fooled = torch.zeros(1, 50, dtype=torch.bool)
    fooled[0, :easy] = True  # of the first ten, which only go around
    fooled[0, 10 : 10 + good] = True  # of the forty others
    attack.move(problem, state, fooled)
    torch.testing.assert_close(state.around, torch.tensor([0.04 * around]).double())
    torch.testing.assert_close(state.inwards, torch.tensor([0.02 * inwards]).double())


def test_boundary_takes_the_nearest_that_fools_if_it_is_nearer():
    x = torch.zeros(1, 50, dtype=torch.float64)
    attack = Boundary(trials=10, around=0.3, inwards=0.2)
    problem, state = mid_walk(attack, L2(1.0), x, (-9, 9))
    begun = state.x.clone()
    length = float(begun.norm())
    scale = torch.tensor([2.0, 1.5, 1.2, 0.9, 0.7, 0.5, 0.8, 3.0, 1.1, 0.6]).double()
    state.candidates = begun.unsqueeze(1) * scale.view(1, -1, 1)
    for index, wanted in (([0, 1, 7], 1.0), ([0, 3, 4, 6], 0.7), ([], 0.7), ([3, 9], 0.6)):
        fooled = torch.zeros(1, 10, dtype=torch.bool)
        fooled[0, index] = True
        attack.move(problem, state, fooled)
        assert float(state.x.norm()) == pytest.approx(wanted * length)
    # Before anything was found, any point that fools will do.
    state.x, state.found = begun.clone(), torch.tensor([False])
    fooled = torch.zeros(1, 10, dtype=torch.bool)
    fooled[0, [0, 7]] = True
    attack.move(problem, state, fooled)
    assert bool(state.found)
    assert float(state.x.norm()) == pytest.approx(2.0 * length)


def test_boundary_settings():
    attack = Boundary()
    assert (attack.around, attack.inwards, attack.rate, attack.trials) == (0.01, 0.01, 1.5, 25)
