"""Curves of accuracy by size: points on a line, whose radii are known."""

from math import inf

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.analysis import Panel, by_size, curves
from hauberk.analysis.by_size import named_panels
from hauberk.analysis.curves import Crossing, Curves
from hauberk.analysis.panels import drawn
from hauberk.attacks import PGD
from hauberk.errors import InputError
from hauberk.evaluation.core.summary import wilson
from hauberk.store.ledger import Ledger

PLAIN = PGD(steps=1, step_share=1.0, random_start=False, loss="margin")


class Above(nn.Module):
    """Class 1 where the first feature is above a threshold."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def forward(self, x):
        score = x.flatten(1)[:, 0] - self.at
        return torch.stack([-score, score], 1)


FIRST = torch.tensor([0.1, 0.2, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9]).double()
X = torch.stack([FIRST, torch.full((8,), 0.5).double()], 1)
Y = (FIRST > 0.5).long()
MODELS = {"half": Above(0.5), "low": Above(0.42)}
RADII = {
    "half": [0.4, 0.3, 0.2, 0.05, 0.1, 0.2, 0.3, 0.4],
    "low": [0.32, 0.22, 0.12, 0.0, 0.18, 0.28, 0.38, 0.48],
}


def share(name, eps):
    return sum(radius > eps + 1e-6 for radius in RADII[name]) / 8


@pytest.fixture(scope="module")
def found():
    threats = [hb.Linf(0.5), hb.L2(0.25)]
    return by_size(MODELS, X, Y, threats, budget=200)


def test_radii_give_the_whole_curve(found):
    assert list(found) == ["linf", "l2"]
    panel = found["linf"]
    assert (panel.by, panel.end, panel.sizes) == ("radius", 0.5, ())
    for eps in (0.0, 0.04, 0.06, 0.11, 0.15, 0.19, 0.21, 0.31, 0.39, 0.45, 0.5):
        assert panel.curves.at(eps) == {name: share(name, eps) for name in MODELS}
    assert panel.curves.n == 8
    assert found["l2"].end == 0.25
    assert found["l2"].curves.at(0.21) == {"half": 0.5, "low": 0.625}


def test_attacks_at_some_sizes_count_what_fell_below(found):
    attacked = by_size(
        MODELS, X, Y, [hb.Linf(0.4)], by="attack", points=4, suite=PLAIN, seed=1
    )["linf"]  # fmt: skip
    assert (attacked.by, attacked.end) == ("attack", 0.4)
    assert attacked.sizes == pytest.approx((0.1, 0.2, 0.3, 0.4))
    for size in (0.15, 0.25, 0.35):
        # Up to the next size that was tried, the accuracy is that of the last one.
        assert attacked.curves.at(size)["half"] == share("half", size - 0.05)
    assert attacked.grid() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    chosen = by_size(
        MODELS, X, Y, [hb.Linf(0.4)], by="attack", sizes={"linf": [0.6, 0.11]}, suite=PLAIN
    )["linf"]  # fmt: skip
    assert chosen.sizes == pytest.approx((0.11, 0.6))
    assert chosen.end == pytest.approx(0.6)
    assert chosen.curves.at(0.12)["half"] == share("half", 0.11)


def test_mixtures_are_attacked_and_balls_measured():
    names = named_panels([hb.Linf(0.1), hb.threat("affine(linf:0.1,l1:2)"), hb.threat("rt:30,3")])
    assert {name: how for name, (_, how) in names.items()} == {
        "linf": "radius", "x affine(linf:0.1,l1:2)": "attack", "x rt:30,3": "attack",
    }  # fmt: skip
    mixed = by_size(
        MODELS, X, Y, [hb.threat("affine(linf:0.2,l1:0.2)")], points=2, suite="fast"
    )["x affine(linf:0.2,l1:0.2)"]  # fmt: skip
    assert (mixed.end, mixed.sizes) == (1.0, (0.5, 1.0))
    # Part of one and part of the other move the first feature by 0.2 in all.
    assert mixed.curves.at(0.5) == {"half": 0.75, "low": 0.875}
    assert mixed.curves.at(1.0)["half"] <= 0.5


def test_metrics_end_at_the_largest_radius_found():
    found = by_size(MODELS, X, Y, [hb.Metric(2.0)], budget=200)["l2"]
    assert found.end == pytest.approx(0.48, abs=1e-3)
    wrong = by_size({"half": MODELS["half"]}, X, 1 - Y, [hb.Metric(2.0)], budget=60)
    assert wrong["l2"].end == 1.0  # all radii are 0
    never = by_size({"never": Above(9.0)}, X, 0 * Y, [hb.Metric(2.0)], budget=60)
    assert never["l2"].end == 1.0  # all radii are inf


def test_a_union_is_in_units_of_its_balls():
    found = by_size(MODELS, X, Y, [hb.Linf(0.2) | hb.L2(0.4)], budget=200)["union"]
    assert (found.by, found.end) == ("radius", 1.0)
    assert found.curves.at(0.99)["half"] == share("half", 0.396)


def test_crossings_within_the_axis(found):
    # low leads from 0.1 on: at 0.1, 0.15 and so on more of its radii are above.
    crossed = found["linf"].crossings()
    assert (crossed[0].before, crossed[0].after) == ("half", "low")
    assert all(c.eps <= 0.5 for c in crossed)
    a = {"a": torch.tensor([1.0, 2.0, 2.0]), "b": torch.tensor([0.5, 0.5, 3.0])}
    panel = Panel("l2", "radius", 2.0, (), curves(a))
    assert panel.crossings() == [Crossing(eps=2.0, before="a", after="b")]
    assert Panel("l2", "radius", 1.9, (), curves(a)).crossings() == []
    assert panel.crossings(0.5) == []


def test_intervals_are_of_the_counts():
    made = curves({"a": torch.tensor([1.0, 2.0, inf, 0.0])})
    assert made.interval("a", 1.5) == wilson(2, 4)
    assert made.interval("a", 0.0) == wilson(3, 4)
    assert made.interval("a", 1.5, confidence=0.9) == wilson(2, 4, 0.9)
    assert Curves(made.eps, made.accuracy).interval("a", 1.0) == (0.0, 1.0)
    with pytest.raises(InputError, match="no model b"):
        made.interval("b", 1.0)
    rows = list(Panel("l2", "radius", 2.0, (), made).rows([1.5]))
    low, high = wilson(2, 4)
    assert rows == [{"model": "a", "eps": 1.5, "accuracy": 0.5, "low": low, "high": high}]


def test_curves_as_they_are_drawn():
    made = curves({"a": torch.tensor([1.0, 2.0, 5.0]), "b": torch.tensor([0.0, 3.0, 3.0])})
    stairs = drawn(Panel("l2", "radius", 4.0, (), made))
    assert [one.name for one in stairs] == ["a", "b"]
    assert [one.colour for one in stairs] == [0, 1]
    assert stairs[0].eps == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert stairs[0].accuracy == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert stairs[1].low[0] == wilson(2, 3)[0]
    assert stairs[1].high[-1] == wilson(0, 3)[1]
    assert all(one.steps for one in stairs)
    points = drawn(Panel("l2", "attack", 4.0, (2.0, 4.0), made))
    assert points[0].eps == [0.0, 2.0, 4.0]
    assert not points[0].steps
    many = curves({"a": torch.arange(5000) / 1000})
    assert len(drawn(Panel("l2", "radius", 5.0, (), many))[0].eps) <= 850


def test_runs_lie_in_folders_and_resume(tmp_path):
    threats = [hb.Linf(0.4), hb.threat("affine(linf:0.2,l1:0.2)")]

    def run(**more):
        return by_size(
            MODELS, X, Y, threats, points=2, suite=PLAIN, budget=100, out=tmp_path / "c", **more
        )

    first = run()
    folders = sorted(p.parent.relative_to(tmp_path / "c").as_posix()
                     for p in (tmp_path / "c").glob("*/*/manifest.json"))  # fmt: skip
    assert folders == [
        "half/radius", "half/x-affine-linf-0.2-l1-0.2", "low/radius",
        "low/x-affine-linf-0.2-l1-0.2",
    ]  # fmt: skip
    for folder in folders:
        assert hb.verify(tmp_path / "c" / folder, MODELS[folder.partition("/")[0]]).ok
    with pytest.raises(InputError, match="resume"):
        run()
    # As an interruption leaves it: one run is not there, another has lost a part.
    for file in (tmp_path / "c" / "low" / "radius" / "parts").glob("radius-*"):
        file.unlink()
    again = run(resume=True)
    for name, panel in first.items():
        assert torch.equal(panel.curves.eps, again[name].curves.eps)
        for model in MODELS:
            assert torch.equal(panel.curves.accuracy[model], again[name].curves.accuracy[model])
    assert Ledger.open(tmp_path / "c" / "low" / "radius").keys("radius-")


def test_errors():
    affine = hb.threat("affine(linf:0.1,l1:2)")
    for threats, more, says in (
        ([], {}, "no threat"),
        ([hb.L2(1), hb.L2(2)], {}, "two threats in l2"),
        ([hb.L2(1)], {"by": "luck"}, "by is 'luck'"),
        ([affine], {"by": "radius"}, "has no radius"),
        ([hb.Linf(1) | hb.L2(1)], {"by": "attack"}, "by radius only"),
        ([hb.Metric(2.0)], {"by": "attack"}, "by radius only"),
        ([hb.L2(1)], {"points": 0}, "points is 0"),
        ([hb.L2(1)], {"sizes": {"linf": [1]}}, "sizes name linf"),
    ):
        with pytest.raises(InputError, match=says):
            by_size(MODELS, X, Y, threats, **more)
    with pytest.raises(InputError, match="at least one model"):
        by_size({}, X, Y, [hb.L2(1)])
