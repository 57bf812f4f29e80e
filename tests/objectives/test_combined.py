"""Objectives over several domains: passes, odd shapes, domains that give trouble."""

from dataclasses import replace
from math import inf

import pytest
import torch
from helpers.domains import Linear, constant, data, on_simplex, one, several
from helpers.models import Recorder, Wrapped

from hauberk.attacks import APGD, PGD, MultiSteepestDescent
from hauberk.maths.losses import LOSSES
from hauberk.objectives.minmax import Average, Domain, Fixed, MinMax, product
from hauberk.threats import L2, Box, Linf
from hauberk.threats.shared import Shared
from hauberk.transforms import FlipH, RandomRotate
from hauberk.victims.averaged import Averaged
from hauberk.victims.ensembles import Vote
from hauberk.victims.victim import Victim

# Passes


@one
def test_a_forward_and_a_backward_for_each_domain_and_step(attack, threat):
    models = [Recorder(Linear(seed, classes=4)) for seed in range(3)]
    x, y = data(5, classes=4)
    plain = attack(models[0].model, x, y, threat, stop=False)
    loss = MinMax(models, loss=attack.loss)
    found = replace(attack, loss=loss)(models[0].model, x, y, threat, stop=False)
    assert torch.equal(found.forwards, 3 * plain.forwards)
    assert torch.equal(found.backwards, 3 * plain.backwards)
    for model in models:
        assert model.forwards == int(found.forwards.sum()) // 3
        assert model.backwards == int(found.backwards.sum()) // 3
    if not isinstance(attack, MultiSteepestDescent):
        assert bool((found.forwards == 3 * (attack.steps + 1) * attack.restarts).all())
        assert bool((found.backwards == 3 * attack.steps * attack.restarts).all())


def test_a_model_behind_several_transforms_is_asked_in_one_call():
    model = Linear(features=9)
    counting = Recorder(model)
    x, y = data(4, features=9)
    domains = product([counting], [lambda x: x, lambda x: x.flip(1), lambda x: x * 0.9])
    attack = PGD(loss=MinMax(domains), steps=5)
    found = attack(counting, x, y, Linf(0.1), stop=False)
    assert found.weights.shape == (4, 3)
    assert bool((found.forwards == 3 * 6).all())
    assert counting.forwards == 4 * 3 * 6
    assert counting.backwards == 4 * 3 * 5
    assert len(model.asked) == 6


def test_groups_times_domains():
    models = [Recorder(Linear(seed)) for seed in range(2)]
    x, y = data(6)
    attack = PGD(loss=MinMax(models), steps=5)
    groups = (x.view(2, 3, 6), y.view(2, 3))
    found = attack(models[0], *groups, Shared(Linf(0.1)), stop=False)
    assert found.weights.shape == (2, 6)
    assert found.path.shape == (2, 6, 6)
    assert bool((found.forwards == 3 * 2 * 6).all())
    assert bool((found.backwards == 3 * 2 * 5).all())
    assert [model.forwards for model in models] == [36, 36]
    assert [model.backwards for model in models] == [30, 30]


def test_draws_of_a_random_transform():
    model = Recorder(Linear(features=64))
    x, y = data(3, features=64)
    domains = [Domain(transform=RandomRotate(30), draws=4), Domain(transform=FlipH()), Domain()]
    attack = PGD(loss=MinMax(domains), steps=5)
    found = attack(model, x.view(3, 1, 8, 8), y, Linf(0.1), stop=False)
    assert found.weights.shape == (3, 3)
    assert bool((found.forwards == 6 * 6).all())
    assert bool((found.backwards == 6 * 5).all())
    assert model.forwards == 3 * 6 * 6
    assert model.backwards == 3 * 6 * 5


class Noisy(Linear):
    def forward(self, x):
        return super().forward(x + 0.1 * torch.randn_like(x))


def test_models_that_draw_count_all_their_draws():
    counting = [Recorder(Noisy(0)), Recorder(Linear(1)), Recorder(Noisy(2))]
    victims = [Averaged(counting[0], 5), Victim(counting[1]), Averaged(counting[2], 3)]
    x, y = data(4)
    found = PGD(loss=MinMax(victims), steps=3)(victims[1], x, y, Linf(0.1), stop=False)
    assert [model.forwards for model in counting] == [4 * 4 * n for n in (5, 1, 3)]
    assert [model.backwards for model in counting] == [4 * 3 * n for n in (5, 1, 3)]
    assert found.forwards.tolist() == [9 * 4] * 4
    assert found.backwards.tolist() == [9 * 3] * 4
    assert [victim.forwards for victim in victims] == [model.forwards for model in counting]
    assert [victim.backwards for victim in victims] == [model.backwards for model in counting]


# Domains that give trouble, and odd shapes


def wrong_by_hand(domains, points, y):
    """Who is wrong, (K, B), by each domain's model on its own."""
    found = []
    for part in map(Domain.of, domains):
        victim = Victim.of(part.model)
        shown = points if part.transform is None else part.transform(points)
        with torch.no_grad():
            found.append(victim.wrong(victim.logits(shown), y))
    return torch.stack(found)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("add", [torch.nan, inf, -inf, 1e300])
@pytest.mark.parametrize("classes", [(0,), (0, 1, 2)])
def test_a_domain_of_odd_logits(loss, add, classes):
    good = Linear(1, classes=3)
    spoil = torch.zeros(3, dtype=torch.float64)
    spoil[list(classes)] = add
    odd = Wrapped(Linear(2, classes=3), after=lambda z: z + spoil)
    x, y = data(4, classes=3, model=good)
    for objective in (
        MinMax([odd, good], loss=loss),
        MinMax([good, odd], 0.0, 0.1, loss=loss),
        MinMax([odd, good], beta=inf, loss=loss, toward="strong"),
        Average([odd, good], loss=loss),
        Fixed([odd, good], weights=(1, 2), loss=loss),
    ):
        for stop in (True, False):
            found = PGD(loss=objective, steps=3)(good, x, y, Linf(0.2), stop=stop)
            assert bool(found.points.isfinite().all())
            assert bool(Linf(0.2).at(x, Box()).contains(found.points).all())
            on_simplex(found.weights)
            wrong = wrong_by_hand(objective.domains, found.points, y)
            some = wrong.any(0) if objective.toward == "strong" else wrong.all(0)
            assert torch.equal(found.fooled, some)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_domain_of_nan_leaves_the_attack_to_the_others(loss):
    """NaN fools whatever is done: the outcome is that of the other domain alone."""
    good, odd = Linear(1, classes=3), constant(torch.nan, torch.nan, torch.nan)
    x, y = data(12, classes=3, model=good)
    for stop in (True, False):
        plain = PGD(loss=loss, steps=6)(good, x, y, Linf(0.1), stop=stop)
        assert bool(plain.fooled.any())
        for objective in (
            MinMax([odd, good], beta=inf, loss=loss),
            MinMax([good, odd], gamma=0.0, beta=inf, loss=loss),
            Average([odd, good], loss=loss),
            Fixed([good, odd], weights=(1, 0), loss=loss),
            Fixed([good, odd], weights=(1, 3), loss=loss),
        ):
            found = PGD(loss=objective, steps=6)(good, x, y, Linf(0.1), stop=stop)
            with torch.no_grad():
                reached, wanted = (LOSSES[loss](good(v.points), y) for v in (found, plain))
            torch.testing.assert_close(reached, wanted, rtol=0, atol=1e-9)
            assert torch.equal(found.fooled, plain.fooled)


def test_saturated_and_flat_domains_do_not_hold_the_others_back():
    good = Linear(1, classes=3)
    sure, flat = Linear(2, classes=3, scale=1e6), constant(3.0, 2.0, 1.0)
    x, y = data(8, classes=3, model=good)
    for loss in LOSSES:
        objective = MinMax([sure, flat, good], loss=loss)
        found = PGD(loss=objective, steps=6)(good, x, y, Linf(0.2), stop=False)
        assert bool(found.points.isfinite().all())
        assert bool(found.loss.isfinite().all())
        on_simplex(found.path)
        with torch.no_grad():
            steps = PGD(loss=Average([flat, good], loss=loss), steps=6, random_start=False)
            mean = steps(good, x, y, Linf(0.2), stop=False)
            before, after = (LOSSES[loss](good(v), y) for v in (x, mean.points))
        assert bool((after > before).all())


def test_models_of_several_dtypes():
    models = [Linear(s, classes=3, dtype=d) for s, d in enumerate([torch.float64, torch.bfloat16])]
    models.append(Linear(3, classes=3, dtype=torch.float32))
    for dtype in (torch.float32, torch.float64):
        x, y = data(2, classes=3, model=models[0])
        x = x.to(dtype)
        for loss in LOSSES:
            attack = (PGD if loss in ("ce", "cw") else APGD)(
                steps=3, loss=MinMax(models, loss=loss)
            )
            found = attack(models[1], x, y, Linf(0.3))
            assert found.points.dtype == dtype
            on_simplex(found.weights, 1e-5)
            assert torch.equal(found.fooled, wrong_by_hand(models, found.points, y).all(0))


@pytest.mark.parametrize("attack", [PGD(steps=4), APGD(steps=4)], ids=["pgd", "apgd"])
def test_few_examples_and_no_room(attack):
    loss = several()
    attack, model = replace(attack, loss=loss), loss.parts[0].model
    x, y = data(3, classes=4)
    single = attack(model, x[:1], y[:1], Linf(0.1), stop=False)
    assert single.weights.shape == (1, 3)
    assert single.path.shape == (1, 5, 3)
    nobody = attack(model, x[:0], y[:0], Linf(0.1))
    assert nobody.points.shape == (0, 6)
    still = attack(model, x, y, Linf(0.0), stop=False)
    assert torch.equal(still.points, x)
    on_simplex(still.path)


class Half:
    """Turns a share of the inputs into their negatives."""

    random = True

    def __init__(self, often):
        self.often = often

    def __call__(self, x, draws, number):
        turned = draws.uniform(number, (1,), x.dtype) < self.often
        return torch.where(turned, 1 - x, x)


def test_votes_as_domains():
    one = Vote([Linear(s, classes=3) for s in range(3)])
    two = Vote([Linear(s, classes=3) for s in range(3, 6)])
    x, y = data(10, classes=3)
    domains = [one, two, Linear(7, classes=3)]
    for objective in (MinMax(domains, loss="ce"), Average(domains, loss="margin")):
        found = PGD(loss=objective, steps=8)(one, x, y, Linf(0.3))
        assert torch.equal(found.fooled, wrong_by_hand(domains, found.points, y).all(0))
        assert bool(found.fooled.any())
        on_simplex(found.weights)
    # Behind a transform that draws, half of the draws must be wrong.
    never = Domain(one, transform=Half(0.0), draws=3)
    always = Domain(one, transform=Half(1.0), draws=3)
    sure = PGD(steps=1, loss=Average([always]))(one, x, y, Linf(0.0))
    assert torch.equal(sure.fooled, wrong_by_hand([one], 1 - x, y)[0])
    plain = PGD(steps=1, loss=Average([never]))(one, x, y, Linf(0.0))
    assert torch.equal(plain.fooled, wrong_by_hand([one], x, y)[0])


class Listening(Half):
    """Writes down the random numbers that it is given."""

    def __call__(self, x, draws, number):
        self.heard = [*getattr(self, "heard", []), draws.uniform(number, (1,), x.dtype)]
        return super().__call__(x, draws, number)


def test_domains_draws_evaluations_and_examples_have_numbers_of_their_own():
    model, ears = Linear(), [Listening(0.5), Listening(0.5)]
    x, y = data(4)
    domains = [Domain(transform=ear, draws=3) for ear in ears]
    PGD(loss=MinMax(domains), steps=5)(model, x, y, Linf(0.1), stop=False)
    heard = torch.cat([numbers for ear in ears for numbers in ear.heard])
    assert heard.numel() == 2 * 6 * 3 * 4
    assert len(heard.unique()) == heard.numel()


def test_equal_draws_are_one():
    """The mean loss, and its gradient: not their sum."""
    model = Linear(classes=3)
    x, y = data(5, classes=3)
    for loss in ("ce", "cw"):
        found = []
        for draws in (1, 4):
            domains = [Domain(transform=Half(1.0), draws=draws), Domain()]
            objective = MinMax(domains, beta=0.1, loss=loss)
            attack = PGD(loss=objective, steps=5, rule="gradient", step_size=0.01)
            found.append(attack(model, x, y, L2(0.5), stop=False))
        torch.testing.assert_close(found[0].points, found[1].points, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[0].path, found[1].path, rtol=0, atol=1e-12)


def test_random_transforms_repeat_whatever_the_batch():
    model = Linear(features=64, classes=3)
    x, y = data(6, features=64, classes=3)
    x = x.view(6, 1, 8, 8)
    domains = [Domain(transform=RandomRotate(40), draws=2), Domain(transform=FlipH())]
    attack = PGD(loss=MinMax(domains, loss="ce"), steps=5)
    before = torch.random.get_rng_state()
    whole = attack(model, x, y, Linf(0.05), stop=False, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    for size in (1, 6, 64):
        again = attack(model, x, y, Linf(0.05), stop=False, seed=3, batch_size=size)
        torch.testing.assert_close(again.points, whole.points, rtol=0, atol=1e-9)
        torch.testing.assert_close(again.path, whole.path, rtol=0, atol=1e-9)
    other = attack(model, x, y, Linf(0.05), stop=False, seed=4)
    assert not torch.equal(other.path, whole.path)
