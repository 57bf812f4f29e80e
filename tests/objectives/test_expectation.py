"""The mean loss over the draws of a stochastic model, and when such a model is fooled."""

from math import log

import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear, Wrapped, noisy
from helpers.oracles import ask
from torch import nn

from hauberk import InputError
from hauberk.attacks import APGD, PGD
from hauberk.maths.losses import wrong
from hauberk.maths.seeding import seeded
from hauberk.objectives.base import Objective
from hauberk.objectives.expectation import Expectation
from hauberk.store.files import plain
from hauberk.threats import Linf
from hauberk.victims.averaged import Averaged, surely_wrong
from hauberk.victims.victim import Victim


def linear(classes=3, dtype=torch.float64):
    return Linear(6, classes, dtype=dtype)


def behind_noise(model, size=0.3):
    return Wrapped(model, noisy(size))


def data(n=8, dtype=torch.float64):
    return inputs(n, (6,), dtype=dtype)


class Listed(nn.Module):
    """Whatever the input, answers with the rows of a list, one after the other."""

    def __init__(self, *rows):
        super().__init__()
        self.rows, self.at = torch.tensor(rows, dtype=torch.float64), 0

    def forward(self, x):
        index = (torch.arange(len(x)) + self.at) % len(self.rows)
        self.at += len(x)
        return self.rows[index] + 0 * x.flatten(1).sum(1, keepdim=True)


@pytest.fixture(autouse=True)
def global_generator_untouched():
    """Everything below draws inside blocks that put the generator back."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mean", ["loss", "probabilities"])
@pytest.mark.parametrize("loss", ["ce", "margin", "soft_margin", "cw"])
def test_without_randomness_it_is_the_plain_objective(loss, mean):
    model, x = linear(), data()
    y = torch.arange(8) % 3
    single, gradient = ask(Objective(loss), Victim(model), x, y)
    found, mine = ask(Expectation(loss, draws=7, mean=mean), Victim(model), x, y)
    # the log of a softmax has the margins and the cross-entropy of the logits
    torch.testing.assert_close(found.loss, single.loss)
    torch.testing.assert_close(mine, gradient)
    assert torch.equal(found.fooled, single.fooled)


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
def test_targets(loss):
    model, x = linear(classes=4), data()
    y, target = torch.arange(8) % 3, torch.full((8,), 3)
    single, gradient = ask(Objective(loss, targeted=True), Victim(model), x, y, target)
    found, mine = ask(Expectation(loss, targeted=True, draws=3), Victim(model), x, y, target)
    torch.testing.assert_close(found.loss, single.loss)
    torch.testing.assert_close(mine, gradient)
    out = APGD(loss=Expectation("margin", draws=2), steps=3, targets=2)(
        model, x, model(x).argmax(1), Linf(0.1), stop=False
    )
    assert (out.forwards == 2 * 2 * 4 + 1).all()


def test_noise_on_a_linear_model_leaves_the_gradient_and_shifts_the_loss_by_its_mean():
    """Two classes: the margin is linear, so its gradient is the same in every draw."""
    model, x = linear(classes=2), data()
    y = torch.arange(8) % 2
    _, gradient = ask(Objective("margin"), Victim(model), x, y)
    with seeded(0):
        found, mine = ask(Expectation("margin", draws=9), Victim(behind_noise(model)), x, y)
    torch.testing.assert_close(mine, gradient)
    with seeded(0):
        noise = 0.3 * torch.randn(9 * 8, 6, dtype=torch.float64).view(9, 8, 6)
    sign = torch.where(y == 0, 1.0, -1.0).double()
    expected = sign * ((x + noise.mean(0)) @ (model.weight[:, 1] - model.weight[:, 0]))
    torch.testing.assert_close(found.loss, expected.detach())


def test_a_transform_sees_every_row_once_and_is_differentiated():
    model, x = linear(classes=2), data()
    y = torch.zeros(8, dtype=torch.int64)
    seen = []

    def twice(rows):
        seen.append(rows.shape)
        return rows * 2

    _, gradient = ask(Objective("margin"), Victim(model), x, y)
    _, mine = ask(Expectation("margin", draws=5, transform=twice), Victim(model), x, y)
    torch.testing.assert_close(mine, 2 * gradient)
    assert seen == [(40, 6)]
    with pytest.raises(InputError, match="one input for each"):
        ask(Expectation(transform=lambda rows: rows[:1]), Victim(model), x, y)


def test_the_decision_is_that_of_the_mean_probability():
    """Two weak votes for class 1 against one firm vote for class 0, and the other way round."""
    x = torch.zeros(1, 2, dtype=torch.float64)
    rows = [[0.0, 0.1], [0.0, 0.1], [9.0, 0.0]]
    for label, expected in ((0, False), (1, True)):
        y = torch.tensor([label])
        found, _ = ask(Expectation("ce", draws=3, sure=0), Victim(Listed(*rows)), x, y)
        assert found.fooled.tolist() == [expected]
        mean = torch.tensor(rows, dtype=torch.float64).softmax(1).mean(0).log()
        logits = Averaged(Listed(*rows), 3).predict(x)
        torch.testing.assert_close(logits[0], mean)
        assert Averaged(Listed(*rows), 3).wrong(logits, y).tolist() == [expected]


def test_an_attack_stops_only_where_the_decision_is_beyond_luck():
    """Probabilities of class 1: 0.9, 0.9, 0.2, lead 1/3 ± 0.27; and the same without the 0.2."""
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])
    high, low = [0.1, 0.9], [0.8, 0.2]
    leads = torch.tensor([0.8, 0.8, -0.6]).double()
    at = float(leads.mean() / (leads.std() / 3**0.5))
    assert 0 < at < 2
    for rows, sure, expected in (
        ((high, high, low), 0.0, True),
        ((high, high, low), at - 0.01, True),
        ((high, high, low), at + 0.01, False),
        ((high, high, low), 2.0, False),
        ((high, high, high), 1000.0, True),
        ((high, low, low), 0.0, False),
        ((high, high, [float("nan"), 0.5]), 2.0, True),
    ):
        logits = [[log(v) if v > 0 else v for v in row] for row in rows]
        found, _ = ask(Expectation(draws=3, sure=sure), Victim(Listed(*logits)), x, y)
        assert found.fooled.tolist() == [expected]
        for loss in ("margin", "ce"):
            victim = Averaged(Listed(*logits), 3, sure=sure)
            for objective in (Objective(loss), Expectation(loss, draws=3, sure=sure)):
                assert ask(objective, victim, x, y)[0].fooled.tolist() == [expected]
            # The judge has no such scruples.
            judged = victim.wrong(victim.predict(x), y).tolist()
            assert judged == [rows != (high, low, low)]


def test_without_randomness_every_wrong_decision_is_sure():
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).round()
    y = torch.arange(50) % 4
    for sure in (0.0, 2.0, 1e6):
        assert torch.equal(surely_wrong(z.expand(5, 50, 4), y, sure), wrong(z, y))
    assert surely_wrong(z[:0].expand(5, 0, 4), y[:0], 2.0).shape == (0,)


def test_nan_ties_and_infinities():
    x, inf, nan = torch.zeros(1, 2), float("inf"), float("nan")
    for rows, label, expected in (
        ([[1.0, 0.0], [nan, 0.0]], 0, True),
        ([[1.0, 0.0], [0.0, 1.0]], 0, True),  # a tie of the means
        ([[inf, 0.0], [1.0, 0.0]], 0, False),
        ([[inf, inf], [0.0, 0.0]], 0, True),
        ([[0.0, -inf], [0.0, -inf]], 0, False),
    ):
        y = torch.tensor([label])
        for loss in ("ce", "margin"):
            objective = Expectation(loss, draws=2, sure=0)
            found, gradient = ask(objective, Victim(Listed(*rows)), x, y)
            assert found.fooled.tolist() == [expected]
            assert gradient.isfinite().all()
        victim = Averaged(Listed(*rows), 2)
        assert victim.wrong(victim.predict(x), y).tolist() == [expected]


@pytest.mark.parametrize("attack", [PGD, APGD])
def test_passes_are_counted_with_all_draws(attack):
    x, y = data(5), torch.arange(5) % 3
    for victim in (Victim(linear()), Averaged(linear(), 4)):
        with seeded(0):
            out = attack(loss=Expectation("ce", draws=6), steps=3)(
                victim, x, y, Linf(0.1), stop=False
            )
        assert out.forwards.tolist() == [24] * 5
        assert out.backwards.tolist() == [18] * 5
        assert (victim.forwards, victim.backwards) == (120, 90)
    victim = Averaged(linear(), 4)
    attack(loss="ce", steps=3)(victim, x, y, Linf(0.1), stop=False)
    assert (victim.forwards, victim.backwards) == (5 * 4 * 4, 5 * 3 * 4)
    victim.predict(x)
    assert victim.forwards == 5 * 4 * 4 + 5 * 4


def test_an_attack_takes_an_objective_as_its_loss():
    attack = APGD(loss=Expectation("ce", draws=3), steps=2)
    assert attack.objective == Expectation("ce", draws=3)
    assert APGD(loss=Expectation("ce"), steps=2, targets=2).objective.targeted
    assert attack == APGD(loss=Expectation("ce", draws=3), steps=2)

    def shake(x):
        return x

    told = plain(APGD(loss=Expectation("ce", transform=shake)).describe())
    assert "shake" in told["loss"]
    assert "0x" not in told["loss"]  # the same in the next process


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Expectation(draws=0), "draws is 0: give 1 or more"),
        (lambda: Averaged(linear(), 0), "draws is 0"),
        (lambda: Averaged(linear(), sure=-1), "sure is -1"),
        (lambda: Expectation(sure=float("nan")), "sure is nan"),
        (lambda: Expectation("hinge"), "unknown loss 'hinge'"),
        (lambda: Expectation(mean="median"), "unknown mean 'median'"),
        (lambda: Expectation(transform=3), "transform must be a function"),
        (lambda: APGD(loss=Expectation("cw"), targets=2), "unknown targeted loss 'cw'"),
    ],
)
def test_bad_settings(make, says):
    with pytest.raises(InputError, match=says):
        make()
