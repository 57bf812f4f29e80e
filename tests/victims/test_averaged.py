"""Stochastic models decided by their mean probability: repeatable, counted, in parts."""

import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear, Wrapped, noisy

from hauberk import evaluate
from hauberk.attacks import APGD, PGD
from hauberk.errors import HauberkWarning, InputError
from hauberk.evaluation.core.judge import decide, judge
from hauberk.maths.seeding import seeded
from hauberk.objectives.expectation import Expectation
from hauberk.threats import L2, Box, Linf
from hauberk.victims.averaged import Averaged, mean_log_softmax
from hauberk.victims.victim import Victim


def linear(classes=3, dtype=torch.float64):
    return Linear(6, classes, dtype=dtype)


def behind_noise(model, size=0.3):
    return Wrapped(model, noisy(size))


def data(n=8, dtype=torch.float64):
    return inputs(n, (6,), dtype=dtype)


@pytest.fixture(autouse=True)
def global_generator_untouched():
    """Everything below draws inside blocks that put the generator back."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def test_mean_log_softmax_of_equals_is_their_log_softmax_to_the_bit():
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) * 40
    same = z.expand(5, 4, 3)
    assert torch.equal(mean_log_softmax(same, 0), z.log_softmax(1))
    wide = torch.randn(5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mean_log_softmax(wide, 0), wide.softmax(2).mean(0).log())
    assert mean_log_softmax(same.bfloat16(), 0).dtype == torch.float32


def test_a_run_repeats_whatever_the_global_generator():
    model, x = behind_noise(linear()), data()
    y = model.model(x).argmax(1)
    outs = []
    for state in (1, 2):
        with seeded(state):
            victim = Averaged(model, 5, seed=3)
            outs.append(APGD(steps=5)(victim, x, y, L2(0.5), stop=False))
    assert torch.equal(outs[0].points, outs[1].points)
    assert torch.equal(outs[0].loss, outs[1].loss)
    other = APGD(steps=5)(Averaged(model, 5, seed=4), x, y, L2(0.5), stop=False)
    assert not torch.equal(outs[0].loss, other.loss)


def test_a_judgement_depends_on_the_point_alone():
    victim, x = Averaged(behind_noise(linear()), 5), data()
    whole = victim.predict(x)
    order = [3, 1, 6]
    assert torch.equal(victim.predict(x[order]), whole[order])
    assert torch.equal(victim.predict(x[:1].expand(2, 6)), whole[:1].expand(2, 3))
    with victim.held():
        torch.rand(3)
        assert torch.equal(victim.predict(x), whole)
    assert not torch.equal(Averaged(behind_noise(linear()), 5, seed=1).predict(x), whole)
    assert victim.predict(x[:0]).shape[0] == 0
    verdict = judge(victim, Linf(0.1), x, x, whole.argmax(1), Box())
    assert not verdict.broken.any()
    torch.testing.assert_close(
        verdict.margin,
        decide(victim, x, whole.argmax(1))[0].double().topk(2).values.diff(dim=1)[:, 0].neg(),
    )


def test_draws_that_do_not_fit_into_memory_are_taken_in_parts():
    sizes = []

    def three(x):
        if len(x) > 3:
            raise RuntimeError("can't allocate memory")
        sizes.append(len(x))
        return noisy(0.3)(x)

    model = Wrapped(linear(), three)
    victim = Averaged(model, 7)
    assert victim.predict(data(2)).shape == (2, 3)
    assert max(sizes) <= 3
    assert sum(sizes) == 14
    small = Averaged(model, 3)
    APGD(steps=2)(small, data(4), torch.zeros(4, dtype=torch.int64), Linf(0.1))
    assert small.batch_size(data(1)) == 1
    with pytest.raises(InputError, match="memory runs out with a single example"):
        APGD(steps=2)(Averaged(model, 4), data(4), torch.zeros(4).long(), Linf(0.1))


def test_evaluate_takes_an_averaged_victim():
    model, x = linear(dtype=torch.float32), data(dtype=torch.float32)
    y = model(x).argmax(1)
    for suite in (APGD(steps=5), PGD(steps=5, loss=Expectation("ce", draws=3))):
        results = []
        for state in (1, 2):
            with seeded(state):
                # No warning: what is judged does not change between identical calls.
                results.append(
                    evaluate(Averaged(behind_noise(model, 0.05), 9), x, y, Linf(0.1), suite=suite)
                )
        for name in ("clean_accuracy", "union_accuracy"):
            assert results[0].summary[name] == results[1].summary[name]
    with seeded(0), pytest.warns(HauberkWarning, match="mean probability over 10"):
        evaluate(behind_noise(model), x, y, Linf(0.1), suite=PGD(steps=1))


def test_nothing_to_do():
    x, y = data(0), torch.zeros(0, dtype=torch.int64)
    for victim in (Averaged(linear()), Victim(linear())):
        assert len(APGD(loss=Expectation("ce"), steps=2)(victim, x, y, Linf(0.1))) == 0
    with torch.no_grad():
        assert Averaged(linear()).logits(x).shape == (0, 3)
        assert Expectation()(Victim(linear()), x, y, None, None).loss.shape == (0,)
    x, y = data(3), torch.arange(3)
    out = APGD(loss=Expectation("ce", draws=2), steps=2)(linear(), x, y, Linf(0.0), stop=False)
    assert torch.equal(out.points, x)
