"""One Jacobian of a block serves all threats, counts once, and counts alike in a resumed run."""

import shutil

import pytest
import torch
from helpers.models import Of, Recorder

import hauberk as hb
from hauberk.attacks import APGD, PGD
from hauberk.evaluation.accuracy.suites import Stage, Suite
from hauberk.store.ledger import Ledger

THREATS = hb.Linf(0.1) | hb.L2(0.1) | hb.L1(0.1)
WEIGHT = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 9.0], [0.0, -9.0]])
BIAS = torch.tensor([1.0, 0.9, 0.15, 0.0])


def model():
    """The runner-up by logits lies out of reach, the third class near."""
    return Recorder(Of(lambda x: x @ WEIGHT.T + BIAS))


def points(n=6):
    x = torch.zeros(n, 2)
    x[:, 0] = torch.linspace(0, 0.5, n)
    return x, torch.zeros(n, dtype=torch.int64)


def linear(steps=3, **options):
    return APGD(steps=steps, targets=1, rank="linear", **options)


def suite(**stages):
    return Suite("aims", 1, "targets by linearised distance", stages)


def spent(result, attack, threat):
    rows = result.store.rows("attack-")
    mine = (rows["task"] == attack) & (rows["threat"] == threat)
    return rows["forwards"][mine].tolist(), rows["backwards"][mine].tolist()


def test_the_nearest_class_is_aimed_at_under_every_threat():
    x, y = points()
    found = hb.evaluate(model(), x, y, THREATS, suite=suite(t=linear()))
    assert not found.robust().any()
    by_logits = hb.evaluate(model(), x, y, THREATS, suite=suite(t=APGD(steps=3, targets=1)))
    assert by_logits.robust().sum() > 3  # but for random starts


def test_the_jacobian_counts_for_the_first_attack_that_uses_it():
    x, y = points()
    small = hb.Linf(0.01) | hb.L2(0.01)
    stages = suite(plain=PGD(steps=2), t=linear(), again=linear(4), soft=linear(soften=0.1))
    found = hb.evaluate(model(), x, y, small, suite=stages, block=4)
    assert found.robust().all()
    linf, l2 = map(str, small.parts)
    assert spent(found, "plain", linf) == ([3] * 6, [2] * 6)
    assert spent(found, "t", linf) == ([1 + 4] * 6, [3 + 3] * 6)
    assert spent(found, "t", l2) == ([4] * 6, [3] * 6)
    assert spent(found, "again", linf) == ([5] * 6, [4] * 6)
    assert spent(found, "soft", linf) == ([1 + 4] * 6, [3 + 3] * 6)  # its own gradients
    assert spent(found, "soft", l2) == ([4] * 6, [3] * 6)


def test_passes_of_the_ledger_are_those_of_the_model():
    x, y = points()
    small = hb.Linf(0.01) | hb.L2(0.01)
    plain, aimed = (
        suite(t=APGD(steps=3, targets=1, rank=rank), again=linear(4))
        for rank in ("logits", "linear")
    )
    asked = []
    for stages in (plain, aimed):
        recorder = model()
        found = hb.evaluate(recorder, x, y, small, suite=stages)
        rows = found.store.rows("attack-")
        asked.append((recorder.backwards, int(rows["backwards"].sum())))
    assert asked[0] == asked[1]  # whichever attack is the first to use it
    assert asked[0][0] - asked[0][1] == asked[1][0] - asked[1][1]


def test_some_points_later_than_others():
    """Points that only a later threat leaves standing are linearised when they are due."""
    x, y = points()
    stages = suite(first=Stage(attack=linear(), threats=("l1",)), second=Stage(attack=linear()))
    # l1 breaks all; linf is tiny and breaks none.
    found = hb.evaluate(model(), x, y, hb.L1(0.1) | hb.Linf(1e-3), suite=stages)
    assert found.robust("linf:0.001").all()
    assert not found.robust("l1:0.1").any()
    assert spent(found, "second", "linf:0.001") == ([4] * 6, [3] * 6)
    reverse = suite(
        tiny=Stage(attack=linear(), threats=("linf",), portion=0.4), all=Stage(attack=linear())
    )
    found = hb.evaluate(model(), x, y, hb.L1(1e-3) | hb.Linf(1e-3), suite=reverse)
    assert spent(found, "tiny", "linf:0.001") == ([5] * 2, [6] * 2)
    forwards, backwards = spent(found, "all", "l1:0.001")
    assert sorted(forwards) == [4, 4, 5, 5, 5, 5]
    assert sorted(backwards) == [3, 3, 6, 6, 6, 6]


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_resumed_run_counts_like_one_that_was_not_interrupted(tmp_path, kept):
    x, y = points()
    small = hb.Linf(0.01) | hb.L2(0.01)
    stages = suite(t=linear(), again=linear(4))
    whole = hb.evaluate(model(), x, y, small, suite=stages, out=tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    parts = sorted((tmp_path / "part").rglob("attack-*"))
    names = sorted({path.name.split(".")[0] for path in parts})
    for path in parts:
        if path.name.split(".")[0] not in names[:kept]:
            path.unlink()
    (tmp_path / "part" / "summary.json").unlink()
    again = hb.evaluate(model(), x, y, small, suite=stages, out=tmp_path / "part", resume=True)
    one, other = whole.store.rows("attack-"), again.store.rows("attack-")
    for name in ("id", "task", "threat", "forwards", "backwards", "broken"):
        assert one[name].tolist() == other[name].tolist(), name
    assert isinstance(again.store, Ledger)


def test_a_stage_costs_its_order_too():
    assert Stage(attack=linear()).passes(10) == 7 + 10
    assert Stage(attack=APGD(steps=3, targets=1)).passes(10) == 7
