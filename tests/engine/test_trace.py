"""Values recorded at every evaluation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hauberk.attacks import PGD
from hauberk.engine.trace import Trace
from hauberk.objectives.minmax import Average, MinMax
from hauberk.threats import Linf


def told(*numbers):
    """One evaluation of two domains for each row: (n, -n)."""
    n = torch.tensor(numbers, dtype=torch.float64)
    return torch.stack([n, -n], 1)


def listed(path):
    """For each row what it holds, the NaN after its end left out."""
    rows = path.values[:, : path.longest, 0].tolist()
    return [[value for value in row if value == value] for row in rows]


def test_every_row_holds_what_it_was_told_and_nan_after():
    path = Trace.empty(told(0, 0))
    path.add_(told(1, 10))
    path.add_(told(2, 20))
    assert listed(path) == [[1, 2], [10, 20]]
    assert torch.equal(path.last(), told(2, 20))
    assert bool(path.values[:, 2:].isnan().all())
    assert path.longest == 2
    assert path.count.tolist() == [2, 2]


def test_a_row_that_was_told_nothing_ends_in_nan():
    assert bool(Trace.empty(told(0, 0)).last().isnan().all())


def test_it_grows_without_losing_anything():
    path = Trace.empty(told(0))
    for step in range(100):
        path.add_(told(step))
    assert listed(path) == [list(map(float, range(100)))]
    assert path.values.shape[1] < 300


@given(st.lists(st.sampled_from(["add", "join", "take"]), max_size=40))
def test_rows_that_come_and_go_keep_their_own(doings):
    """Against lists: rows are told numbers, others join them, and some leave."""
    path, lists, number = Trace.empty(told(0)), [[]], 0
    for turn, doing in enumerate(doings):
        if doing == "add":
            numbers = list(range(number, number + len(lists)))
            number += len(lists)
            path.add_(told(*numbers))
            lists = [[*row, new] for row, new in zip(lists, numbers, strict=True)]
        elif doing == "join":
            path = path.join(Trace.empty(told(0, 0)))
            lists = [*lists, [], []]
        elif len(lists) > 1:
            index = [i for i in range(len(lists)) if i != turn % len(lists)][::-1]
            path = path.take(torch.tensor(index))
            lists = [lists[i] for i in index]
    assert listed(path) == lists
    assert path.count.tolist() == list(map(len, lists))
    ends = torch.tensor([row[-1] if row else torch.nan for row in lists], dtype=torch.float64)
    assert torch.equal(path.last()[:, 0].nan_to_num(nan=-1), ends.nan_to_num(nan=-1))


@pytest.mark.parametrize(("first", "second"), [(3, 40), (40, 3)])
def test_join_of_different_lengths(first, second):
    one, two = Trace.empty(told(0)), Trace.empty(told(0))
    for step in range(first):
        one.add_(told(step))
    for step in range(second):
        two.add_(told(100 + step))
    both = one.join(two)
    wanted = [[float(s) for s in range(first)], [100.0 + s for s in range(second)]]
    assert listed(both) == wanted
    assert both.longest == 40


def test_put_overwrites_a_longer_row_whole():
    kept = Trace.of(3, Trace.empty(told(0)))
    long, short = Trace.empty(told(0)), Trace.empty(told(0))
    for step in range(30):
        long.add_(told(step))
    short.add_(told(7))
    kept.put_(torch.tensor([1]), long)
    kept.put_(torch.tensor([2]), long)
    kept.put_(torch.tensor([1]), short)
    assert listed(kept) == [[], [7], list(map(float, range(30)))]
    assert kept.count.tolist() == [0, 1, 30]
    assert bool(kept.last()[0].isnan().all())
    assert torch.equal(kept.last()[1:], told(7, 29))


class Slow(nn.Module):
    """Right as long as the second coordinate is larger than the first."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, x):
        lead = self.slope * (x[:, 1] - x[:, 0])
        return torch.stack([lead, 0 * lead], 1)


WALK = PGD(steps=40, step_size=0.01, random_start=False)
"""In linf, each step moves both coordinates by 0.01 towards the boundary."""


def leavers(n=15):
    """Examples that are fooled after 1, 2, ... steps, in a mixed order."""
    lead = 0.02 * (torch.arange(n) * 7 % n) + 0.01
    x = torch.stack([torch.full((n,), 0.5), 0.5 + lead], 1).double()
    return x, torch.zeros(n, dtype=torch.int64)


@pytest.mark.parametrize("size", [2, 4, 8, 64])
def test_seats_taken_by_others_do_not_mix_the_paths(size):
    """More examples than slots: who leaves early is followed by the next in the queue."""
    x, y = leavers()
    domains = [Slow(1.0), Slow(3.0)]
    attack = PGD(**{**vars(WALK), "loss": MinMax(domains, gamma=3.0, beta=0.2, loss="margin")})
    found = attack(domains[0], x, y, Linf(0.45), batch_size=size)
    ends = (~found.path[:, :, 0].isnan()).sum(1)
    order = torch.arange(15) * 7 % 15
    # Each step brings them 0.02 nearer; the first evaluation is the clean input's.
    assert torch.equal(ends, order + 2)
    assert torch.equal(found.forwards, 2 * ends)
    assert torch.equal(found.backwards, 2 * ends)
    for i in range(15):
        alone = attack(domains[0], x[i : i + 1], y[:1], Linf(0.45))
        told = int(ends[i])
        assert alone.path.shape == (1, told, 2)
        assert torch.equal(alone.path[0], found.path[i, :told])
        assert bool(found.path[i, told:].isnan().all())
        assert torch.equal(found.weights[i], found.path[i, told - 1])
        assert torch.equal(alone.points[0], found.points[i])


def test_the_path_is_that_of_the_attempt_whose_point_was_kept():
    x, y = leavers(6)
    domains = [Slow(1.0), Slow(3.0)]
    loss = MinMax(domains, gamma=3.0, beta=0.2, loss="margin")
    attack = PGD(loss=loss, steps=4, step_size=0.001, restarts=3)
    found = attack(domains[0], x, y, Linf(0.05), stop=False)
    assert len(found.attempt.unique()) > 1
    assert not bool(found.path.isnan().any())
    assert found.path.shape == (6, 5, 2)
    # Each attempt on its own leaves the same paths: the chosen one is among them, row by row.
    first = PGD(loss=loss, steps=4, step_size=0.001)(domains[0], x, y, Linf(0.05), stop=False)
    same = (first.path == found.path).flatten(1).all(1)
    assert torch.equal(same, found.attempt == 0)


def test_no_path_without_domains_and_none_for_nobody():
    x, y = leavers(3)
    plain = WALK(Slow(1.0), x, y, Linf(0.45))
    assert plain.weights is None
    assert plain.path is None
    nobody = PGD(loss=Average([Slow(1.0)]))(Slow(1.0), x[:0], y[:0], Linf(0.45))
    assert len(nobody) == 0
    assert len(nobody.forwards) == 0


def test_room_grows_with_the_steps_and_not_with_the_queue():
    """Slots that are taken again and again, before all of them have left."""
    path = Trace.empty(told(0, 0))
    for turn in range(200):
        path.add_(told(turn, turn))
        path.add_(told(turn, turn))
        path = path.take(torch.tensor([1])).join(Trace.empty(told(0)))
        path = path.take(torch.tensor([1, 0]))
        path.add_(told(turn, turn))
        path = path.take(torch.tensor([0])).join(Trace.empty(told(0)))
    assert path.longest < 10
    assert path.values.shape[1] < 40
    x, y = leavers()
    loss = MinMax([Slow(1.0)], loss="margin")
    attack = PGD(loss=loss, steps=40, step_size=0.01, random_start=False)
    for size in (3, 64):
        assert attack(Slow(1.0), x, y, Linf(0.45), batch_size=size).path.shape == (15, 16, 1)
