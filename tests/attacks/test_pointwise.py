"""The pointwise attack: what it resets, bisects and starts again from."""

import pytest
import torch
from helpers.walks import Plane, mid_walk

from hauberk.attacks.pointwise import Pointwise
from hauberk.threats import L0, L1


def test_pointwise_resets_disjoint_groups():
    attack = Pointwise(trials=5)
    x = torch.zeros(3, 30)
    problem, state = mid_walk(attack, L1(1.0), x, (0, 1))
    state.x[:, ::3] = 0  # ten features are clean already
    state.size[:] = 4
    reset = (attack.propose(problem, state)[:, :5] == 0) & (state.x != 0).unsqueeze(1)
    assert (reset.sum(2) == 4).all()
    assert (reset.sum(1) == (state.x != 0)).all()
    # One group fails: it is not tried again in this round; the others are joined.
    state.candidates = attack.propose(problem, state)
    fooled = torch.ones(3, 6, dtype=torch.bool)
    fooled[:, 2] = False
    attack.move(problem, state, fooled)
    assert torch.equal(state.joint, torch.where(reset[:, 2], 1.0, 0.0))
    assert torch.equal(state.tried, reset[:, 2])
    assert torch.equal(attack.single(problem, state), state.joint)
    first = torch.where(reset[:, 0], 0.0, state.x)
    state.number += 1
    attack.receive(problem, state, torch.tensor([True, True, False]))
    assert torch.equal(state.x[:2], state.joint[:2])
    assert torch.equal(state.x[2], first[2])
    assert state.joined.tolist() == [1.0, 1.0, 0.5]
    assert state.size.tolist() == [2, 2, 4]  # all of a round tried: smaller groups


def test_pointwise_starts_again_from_its_nearest_end():
    x = torch.zeros(2, 30)
    for hop in (True, False):
        attack = Pointwise(trials=5, hop=hop)
        problem, state = mid_walk(attack, L1(1.0), x, (0, 1))
        state.fine[:] = True
        state.low = state.x.clone()  # nothing is left to bisect
        state.near[1, :3] = 0.5  # an earlier end, nearer than this one
        state.joint = state.alone = state.x.clone()
        state.number += 1
        attack.receive(problem, state, torch.tensor([True, True]))
        assert not state.found.any()
        assert not state.low.any()
        start = torch.stack([x[0] + 1, torch.where(torch.arange(30) < 3, 0.5, 0.0)])
        assert torch.equal(state.x, start if hop else x)


def test_pointwise_hops_change_no_more_than_their_reach():
    x = torch.zeros(20, 400)
    attack = Pointwise(trials=4, reach=0.25)
    problem, state = mid_walk(attack, L1(1.0), x, (0, 1))
    state.found[:] = False
    state.aim = torch.full_like(x, 0.5)
    first_set = x.clone()
    first_set[:, 0] = 1
    for start, share in ((x, 1.0), (first_set, 0.25)):
        state.x = start.clone()
        moved = (attack.propose(problem, state)[:, :4] != state.x.unsqueeze(1)).float().mean(2)
        # Amounts grow with the square, up to all of the features or the reach.
        wanted = share * torch.tensor([1 / 16, 1 / 4, 9 / 16, 1.0])
        torch.testing.assert_close(moved.mean(0), wanted, atol=0.03, rtol=0)


def test_pointwise_bisects_no_longer_than_it_may_lead_into_the_threat():
    x = torch.zeros(2, 30)
    attack = Pointwise(trials=5)
    problem, state = mid_walk(attack, L1(5.0), x, (0, 1))
    state.fine, state.low = torch.ones(2, dtype=torch.bool), x.clone()
    state.low[0, :4] = 0.9  # 3.6 from clean at best: inside
    state.low[1, :6] = 0.9  # 5.4 at best: beyond
    state.joint = state.alone = state.x.clone()
    state.number += 1
    attack.receive(problem, state, torch.tensor([True, True]))
    assert state.found.tolist() == [True, False]
    assert state.fine.tolist() == [True, False]
    assert torch.equal(state.near, torch.stack([x[0], x[1] + 1]))


def test_pointwise_goes_many_rounds_in_l0_and_one_elsewhere():
    x = torch.zeros(1, 30)
    for threat, fine, round_ in ((L0(3), False, 1), (L1(3.0), True, 0)):
        attack = Pointwise(trials=5)
        problem, state = mid_walk(attack, threat, x, (0, 1))
        state.x[:, 3:] = 0
        state.tried = state.x > 0  # each of the three is needed
        state.moved = torch.ones(1, dtype=torch.bool)
        state.joint = state.alone = state.x.clone()
        state.number += 1
        attack.receive(problem, state, torch.tensor([True]))
        assert state.found.all()
        assert (state.fine.item(), state.round.item()) == (fine, round_)


def test_pointwise_ends_where_no_single_reset_is_left():
    """Only 4 of 30 features count, and all of them are needed: what remains is these 4."""
    w = torch.zeros(30)
    w[[3, 7, 12, 25]] = 1.0
    model, x = Plane(w, 3.5), torch.zeros(5, 30)
    y = torch.zeros(5, dtype=torch.int64)
    out = Pointwise(steps=60)(model, x, y, L0(4))
    assert out.fooled.all()
    assert ((out.points > 0) == (w > 0)).all()
    assert not Pointwise(steps=60)(model, x, y, L0(3)).fooled.any()
    # Bisected towards clean: the four sum up to little more than 3.5.
    out = Pointwise(steps=60)(model, x, y, L1(3.6))
    assert out.fooled.all()
    assert not Pointwise(steps=60)(model, x, y, L1(3.49)).fooled.any()


def test_pointwise_bisects_in_the_middle():
    """A change that remains is halved between a value that does not fool and one that does."""
    x = torch.zeros(2, 30)
    attack = Pointwise(trials=5)
    problem, state = mid_walk(attack, L1(5.0), x, (0, 1))
    state.fine, state.low = torch.tensor([True, False]), x + 0.5
    goal = attack.goal(problem, state)
    torch.testing.assert_close(goal[0], torch.full((30,), 0.75))  # of 0.5 and 1
    assert torch.equal(goal[1], x[1])  # a reset


@pytest.mark.parametrize(("share", "joined"), [(1.0, 4), (0.5, 2), (0.25, 1), (0.3, 2)])
def test_pointwise_joins_a_share_of_the_trials_that_fool(share, joined):
    x = torch.zeros(1, 30)
    attack = Pointwise(trials=6)
    problem, state = mid_walk(attack, L1(5.0), x, (0, 1))
    state.candidates = attack.propose(problem, state)
    state.group = (torch.arange(30) % 6).unsqueeze(0)
    state.joined = torch.tensor([share])
    fooled = torch.tensor([[False, True, True, False, True, True, False]])
    attack.move(problem, state, fooled)
    reset = {int(g) for g in state.group[0][state.joint[0] == 0]}
    assert reset == set([1, 2, 4, 5][:joined])  # the first of those that fool
    assert torch.equal(state.alone, state.candidates[:, 1])
