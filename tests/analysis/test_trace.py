"""Loss per step: of the iterate, the best so far, and what the mean's interval is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.models import Linear, Of, Recorder, halfspace

from hauberk import L1, L2, Linf
from hauberk.analysis.trace import LossTrace, trace, varied
from hauberk.attacks import APGD, PGD, RandomSearch, SparseL1Descent
from hauberk.errors import InputError
from hauberk.maths.losses import cross_entropy, margin
from hauberk.objectives.minmax import MinMax


def case(n=6):
    x = torch.rand(n, 20, generator=torch.Generator().manual_seed(1))
    model = Linear(20, 3)
    return model, x, model(x).argmax(1)


def by_hand(current, broken, best=None):
    return LossTrace(
        name="a", threat="l2:1", shown="ce", current=torch.tensor(current, dtype=torch.float64),
        best=torch.tensor(best or current, dtype=torch.float64), broken=torch.tensor(broken),
    )  # fmt: skip


def test_every_step_is_that_of_a_shorter_run():
    """With a fixed step the first t steps of a run are a run of t steps."""
    model, x, y = case()
    attack = PGD(steps=6, step_size=0.3, random_start=False)
    (found,) = trace(model, x, y, L2(1.0), {"pgd": attack}, loss="margin")
    assert found.steps == 6
    for t in range(7):
        seen = Recorder(model)
        if t:
            replace(attack, steps=t)(seen, x, y, L2(1.0), stop=False)
        at = seen.asked[-1] if t else x
        assert torch.allclose(found.current[:, t], margin(model(at), y).double(), atol=1e-6)


def jagged(x):
    """A loss that rises and falls with the first feature, so that best and current differ."""
    z = torch.sin(40 * x[:, :1]) + x[:, :1]
    return torch.cat([torch.ones_like(z), z], 1)


def test_the_best_so_far_is_the_largest_until_then():
    x = torch.linspace(0.2, 0.4, 5).unsqueeze(1).repeat(1, 2)
    y = torch.zeros(5, dtype=torch.int64)
    attack = PGD(steps=12, step_size=0.11, random_start=False)
    (found,) = trace(Of(jagged), x, y, Linf(0.4), {"pgd": attack}, loss="ce")
    current = found.current.numpy()
    assert (np.diff(current, axis=1) < 0).any()
    assert np.array_equal(found.best.numpy(), np.maximum.accumulate(current, axis=1))
    wrong = current >= np.log(2)  # of two classes, half the probability or less
    assert np.array_equal(found.broken.numpy(), np.logical_or.accumulate(wrong, axis=1))
    assert not np.array_equal(found.broken.numpy(), wrong)


def test_the_best_counts_points_in_the_threat_alone():
    model, x, y = case()
    (found,) = trace(model, x, y, L1(1.0), {"apgd": APGD(steps=30, loss="ce")})
    first = (~found.best.isnan()).double().argmax(1)
    assert bool((first > 0).all())  # its first balls are larger
    assert bool(found.best[:, 0].isnan().all())
    assert not bool(found.current.isnan().any())
    outcome = APGD(steps=30, loss="ce")(model, x, y, L1(1.0), stop=False)
    most = cross_entropy(model(outcome.points), y).double()
    assert torch.allclose(found.best[:, -1], most, atol=1e-4)
    assert bool((found.current[:, :5].amax(1) > found.best[:, -1]).any())
    assert found.curve("best")["mean"].isnan().any()


def test_what_fools_outside_of_the_threat_alone_is_not_broken():
    model = halfspace([1.0] * 4, -2.5)
    x, y = torch.full((2, 4), 0.5), torch.zeros(2, dtype=torch.int64)  # 0.5 from the boundary
    (found,) = trace(model, x, y, L1(0.4), {"apgd": APGD(steps=20)}, loss="margin")
    assert float(found.current.max()) > 0  # in the larger balls
    assert float(found.best[:, -1].max()) < 0
    assert not bool(found.broken.any())
    (found,) = trace(model, x, y, L1(0.6), {"apgd": APGD(steps=20)}, loss="margin")
    assert bool(found.broken[:, -1].all())


def test_examples_that_have_ended_keep_what_they_had():
    model, x, y = case()
    shorter = RandomSearch(steps=3, samples=2)
    (found,) = trace(model, x, y, Linf(0.1), {"random": shorter})
    assert found.current.shape[1] == found.steps + 1
    assert not bool(found.current.isnan().any())


def test_the_interval_is_that_of_a_mean():
    found = by_hand([[1.0, 3.0], [2.0, 3.0], [6.0, 3.0]], [[False, True]] * 3)
    curve = found.curve()
    assert curve["mean"].tolist() == [3.0, 3.0]
    half = 1.959964 * np.std([1.0, 2.0, 6.0], ddof=1) / 3**0.5
    assert np.allclose(curve["low"].numpy(), [3 - half, 3])
    assert np.allclose(curve["high"].numpy(), [3 + half, 3])
    shown = found.to_dict()
    assert shown["broken"] == [0.0, 1.0]
    assert shown["steps"] == 1
    assert shown["current"]["mean"] == [3.0, 3.0]


def test_best_and_current_are_told_apart():
    found = by_hand([[2.0, 1.0]], [[True, True]], best=[[2.0, 2.0]])
    assert found.curve("current")["mean"].tolist() == [2.0, 1.0]
    assert found.curve("best")["mean"].tolist() == [2.0, 2.0]
    shown = found.to_dict()
    assert shown["best"]["mean"] == [2.0, 2.0]
    assert shown["current"]["mean"] == [2.0, 1.0]
    with pytest.raises(InputError, match="give current or best"):
        found.curve("worst")


def test_losses_without_end_are_left_out_of_the_mean():
    found = by_hand([[1.0], [float("inf")], [3.0], [float("nan")]], [[True]] * 4)
    curve = found.curve()
    assert curve["mean"].tolist() == [2.0]
    assert np.allclose(curve["high"].numpy(), 2 + 1.959964 * 2**0.5 / 2**0.5)


def test_settings_are_varied_in_every_combination():
    found = varied(PGD(), {"steps": [10, 20], "share": [None, 0.5]})
    assert list(found) == [
        "steps=10, share=one", "steps=10, share=0.5", "steps=20, share=one", "steps=20, share=0.5",
    ]  # fmt: skip
    assert [(a.steps, a.share) for a in found.values()] == [
        (10, None), (10, 0.5), (20, None), (20, 0.5),
    ]  # fmt: skip
    assert list(varied(PGD(), {})) == ["PGD"]
    assert list(varied(PGD(), {"step_size": [None, 0.1]})) == ["step_size=default", "step_size=0.1"]


def test_q_is_the_share_that_stays():
    found = varied(SparseL1Descent(), {"q": [0.8, 0.995, None]})
    assert [a.share for a in found.values()] == [pytest.approx(0.2), pytest.approx(0.005), None]
    assert list(found) == ["q=0.8", "q=0.995", "q=one"]
    for bad in (1.0, -0.1, "many"):
        with pytest.raises(InputError, match=r"give a number in \[0, 1\)"):
            varied(PGD(), {"q": [bad]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"eps": [1]}, "PGD has no setting 'eps'"), ({"steps": []}, "steps has no values")],
)
def test_settings_that_are_not_there(settings, message):
    with pytest.raises(InputError, match=message):
        varied(PGD(), settings)
    with pytest.raises(InputError, match="no setting 'q'"):
        varied(APGD(), {"q": [0.5]})


def test_what_cannot_be_traced_is_refused():
    model, x, y = case()
    for attacks, message in (
        ({}, "no attack to trace"),
        ({"a": "PGD"}, "a is no attack"),
        ({"a": PGD(loss=MinMax([model]))}, "an objective of its own"),
    ):
        with pytest.raises(InputError, match=message):
            trace(model, x, y, Linf(0.1), attacks)
    with pytest.raises(InputError, match="no examples"):
        trace(model, x[:0], y[:0], Linf(0.1), {"a": PGD()})
    with pytest.raises(InputError, match="unknown loss"):
        trace(model, x, y, Linf(0.1), {"a": PGD()}, loss="huge")
