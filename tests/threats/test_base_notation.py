"""A notation stands for its threat wherever a threat goes."""

import pytest
import torch
from tests.helpers.accuracy import SHORT, data, net

import hauberk as hb
from hauberk import analysis
from hauberk.evaluation.accuracy.sizes import at_sizes
from hauberk.threats.base import Threat, several


def test_of_reads_a_notation_and_leaves_a_threat_as_it_is():
    ball = hb.Linf(8 / 255)
    assert Threat.of(ball) is ball
    assert Threat.of("linf:8/255") == ball
    own = hb.FiniteSet([lambda x: x], name="mine")
    assert Threat.of(own) is own  # text alone could not make it
    assert hb.threat(own) is own
    with pytest.raises(hb.InputError, match="the threat is a float: give a threat"):
        Threat.of(0.3)


def test_several_takes_one_or_many_and_refuses_none():
    assert several("linf:0.1") == several([hb.Linf(0.1)]) == (hb.Linf(0.1),)
    assert several("linf:0.1 | l2:1") == (hb.Linf(0.1) | hb.L2(1),)
    with pytest.raises(hb.InputError, match="no threat"):
        several([])


def test_threats_made_of_others_take_notations():
    assert hb.Union("linf:0.1", hb.L2(1)) == hb.Linf(0.1) | hb.L2(1)
    assert hb.Linf(0.1) | "l2:1" == hb.Union("linf:0.1", "l2:1")
    assert "linf:0.1" | hb.L2(1) == hb.Union("linf:0.1", "l2:1")
    assert hb.Affine("linf:0.1", "l1:1") == hb.Affine(hb.Linf(0.1), hb.L1(1))
    assert hb.Each("linf:0.1", "l1:1") == hb.Each(hb.Linf(0.1), hb.L1(1))
    assert hb.Shared("linf:0.1") == hb.Shared(hb.Linf(0.1))
    assert hb.Metric.of("l1:3") == hb.Metric(1)


def calls():
    model, x = net(), data(6)
    y = model(x).argmax(1)
    step = hb.attacks.PGD(loss="cw", steps=2)
    short = {"pgd": step}
    inputs = model, x, y
    yield lambda t: step(*inputs, t).points
    yield lambda t: hb.evaluate(*inputs, t, suite=SHORT).robust()
    yield lambda t: hb.evaluate(*inputs, [t], suite=SHORT).robust()
    yield lambda t: at_sizes(*inputs, t, [0.5, 1], suite=SHORT).radii
    yield lambda t: hb.universal(*inputs, t, epochs=1, minibatch=3).delta
    yield lambda t: hb.minmax(*inputs, t, attack=step).minmax.points
    yield lambda t: torch.tensor(list(hb.transfer({"a": model}, x, y, t, step).combined.values()))
    yield lambda t: analysis.by_size({"a": model}, x, y, t, budget=60)["linf"].curves.at(0.1)["a"]
    yield lambda t: analysis.trace(*inputs, t, short)[0].current
    yield lambda t: analysis.gallery(*inputs, t, step).exhibits[0].points
    yield lambda t: hb.train.Single(t, steps=2).threats == (hb.Linf(0.1),)
    yield lambda t: hb.train.MAX(t, steps=2).threats == (hb.Linf(0.1),)
    yield lambda t: hb.train.MMA(t).threat == hb.Linf(0.1)


@pytest.mark.parametrize("call", list(calls()))
def test_a_function_does_the_same_with_notation_and_threat(call):
    first, second = call("linf:0.1"), call(hb.Linf(0.1))
    assert torch.equal(torch.as_tensor(first), torch.as_tensor(second))


def test_strategies_of_norms_take_a_notation():
    assert hb.train.MMA("l2", d_max=1.0).threat == hb.Metric(2)
    assert hb.train.DDNTraining("l2:0.5").threat == hb.L2(0.5)
    with pytest.raises(hb.InputError, match="unknown threat 'linf'"):
        hb.train.MAX("linf")
