"""Models that take batches of one size only."""

import copy

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.maths.modules import exact_batch
from hauberk.victims.averaged import Averaged
from hauberk.victims.batch_size import settle_batch
from hauberk.victims.victim import Victim


class Sized(nn.Module):
    """Has the size of its batches in its code."""

    def __init__(self, size):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 3)
        self.size, self.calls = size, []

    def forward(self, x):
        self.calls.append(len(x))
        return self.linear(x.reshape(self.size, 4))


class Fussy(Sized):
    """Fails on a lone input alone."""

    def forward(self, x):
        return self.linear(x.flatten(1).squeeze())[:, :]


X = torch.rand(11, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [1, 3, 8, 11, 64])
def test_the_size_is_found_and_kept_to(size, caplog):
    model = Sized(size)
    victim = Victim(model)
    with caplog.at_level("INFO", "hauberk"):
        settle_batch(victim, X)
    assert f"takes batches of {size}," in caplog.text
    assert victim.exact == exact_batch(model) == size
    assert victim.forwards == 0
    wanted = model.linear(X.flatten(1)).detach()
    torch.testing.assert_close(victim.predict(X), wanted)
    torch.testing.assert_close(Victim(model).predict(X[:5]), wanted[:5])
    torch.testing.assert_close(
        Averaged(model, 2).predict(X[:2]), wanted[:2].log_softmax(1), check_dtype=False
    )
    assert exact_batch(copy.deepcopy(model)) is None


def test_one_that_refuses_a_lone_input_alone_keeps_its_batches():
    victim = Victim(Fussy(0))
    settle_batch(victim, X)
    assert victim.exact == len(X)
    torch.testing.assert_close(victim.predict(X[:1]), victim.model.linear(X[:1].flatten(1)))


def test_others_are_left_alone(caplog):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x.flatten(1)

    victim = Victim(Counting())
    with caplog.at_level("INFO", "hauberk"):
        settle_batch(victim, X)
        broken = Victim(nn.Linear(7, 2))
        settle_batch(broken, X)
    assert victim.exact is broken.exact is None
    assert victim.model.calls == 2
    assert not caplog.text


def test_generators_stay_where_they_were():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    settle_batch(Victim(Noisy()), X)
    assert torch.equal(torch.get_rng_state(), before)


class Noisy(nn.Module):
    def forward(self, x):
        return x.flatten(1) + torch.randn(len(x), 4)


def test_memory_that_runs_out_says_nothing_of_sizes():
    class Large(nn.Module):
        def forward(self, x):
            if len(x) > 4:
                raise torch.OutOfMemoryError("out of memory")
            return x.flatten(1)

    victim = Victim(Large())
    settle_batch(victim, X)
    assert victim.exact is None


def test_it_is_evaluated_like_one_for_any_size():
    model = Sized(4)
    free = nn.Sequential(nn.Flatten(), copy.deepcopy(model.linear))
    y = free(X).argmax(1)
    found = [hb.evaluate(m, X, y, "linf:0.1", suite="fast") for m in (model, free)]
    assert torch.equal(found[0].robust(), found[1].robust())
    assert 0 < found[0].union_accuracy < 1
    assert found[0].summary["cost"]["forwards"] == found[1].summary["cost"]["forwards"]
