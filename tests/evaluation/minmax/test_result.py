"""What the sides of a result say, counted by hand."""

from math import inf

import pytest
import torch
from helpers.minmax import QUICK, Net, data, share, wrong_by_hand

import hauberk as hb
from hauberk import InputError
from hauberk.evaluation.minmax.result import lift
from hauberk.objectives.minmax import MinMax
from hauberk.threats import Linf


def test_numbers_are_those_counted_by_hand():
    models = [Net(0), Net(1), Net(2)]
    x, y = data(20)
    result = hb.minmax(models, x, y, "linf:0.06", attack=QUICK)
    assert list(result) == ["average", "minmax"]
    assert torch.equal(result.labels, y)
    assert torch.equal(result.index, torch.arange(20))
    assert torch.equal(result.clean[0], wrong_by_hand(models, x, y))
    mixed = 0
    for name, side in result.items():
        wrong = wrong_by_hand(models, side.points, y)
        assert torch.equal(side.wrong, wrong.unsqueeze(0))
        assert side.names == ("Net 1", "Net 2", "Net 3")
        assert side.asr_all == pytest.approx(share([all(row) for row in wrong]))
        assert side.asr_any == pytest.approx(share([any(row) for row in wrong]))
        assert side.asr_group == side.asr_all
        each = [share(column) for column in wrong.T]
        assert side.asr_avg == pytest.approx(sum(each) / 3)
        assert list(side.accuracy.values()) == pytest.approx([1 - broken for broken in each])
        assert bool((side.points - x).abs().amax() <= 0.06)
        told = result.summary["sides"][name]
        for metric in ("asr_all", "asr_avg", "asr_group", "asr_any", "accuracy"):
            assert told[metric] == getattr(side, metric)
        passes = side.rows["forwards"].sum() + side.rows["backwards"].sum()
        assert told["cost"]["passes_per_example"] == pytest.approx(passes / 20)
        assert told["mean_weights"] == pytest.approx(
            dict(zip(side.names, side.weights.mean(0).tolist(), strict=True))
        )
        assert told["refused"] == 0
        mixed += int((wrong.any(1) & ~wrong.all(1)).sum())
    assert mixed > 0
    clean = 1 - wrong_by_hand(models, x, y).double().mean(0)
    assert list(result.summary["clean_accuracy"].values()) == pytest.approx(clean.tolist())
    assert result.lift() == pytest.approx(
        (result.minmax.asr_all - result.average.asr_all) / result.average.asr_all
    )
    assert result.summary["lift"]["asr_avg"] == result.lift("asr_avg")
    assert torch.equal(result.weights, result.minmax.weights)


def test_lift_from_nothing():
    assert lift(0.0, 0.0) == 0
    assert lift(0.5, 0.0) == inf
    assert lift(0.3, 0.2) == pytest.approx(0.5)
    assert lift(0.1, 0.2) == pytest.approx(-0.5)


def test_binding_is_the_part_of_most_weight():
    models = {"easy": Net(0), "hard": Net(1)}
    x, y = data(30)
    result = hb.minmax(models, x, y, Linf(0.05), attack=QUICK, beta=inf, stop=False)
    most = result.weights.argmax(1)
    assert 0 < int(most.sum()) < 30
    shares = result.binding()
    assert shares == {"easy": share(most == 0), "hard": share(most == 1)}
    by_class = result.binding(by_class=True)
    assert sorted(by_class) == sorted(y.unique().tolist())
    for c, told in by_class.items():
        assert told["hard"] == pytest.approx(share(most[y == c] == 1))
        assert sum(told.values()) == pytest.approx(1)
    # The margins at the points say the same: there the hardest domain has most of the weight.
    with torch.no_grad():
        points = result.minmax.points
        behind = torch.stack([hb.maths.losses.margin(m(points), y) for m in models.values()], 1)
    sure = (behind[:, 0] - behind[:, 1]).abs() > 0.5
    assert bool(sure.any())
    last = result.minmax.path[:, -1]
    assert last.shape == (30, 2)


def test_equal_weights_favour_nobody():
    x, y = data()
    for models in ({"a": Net(0), "b": Net(1)}, {"b": Net(1), "a": Net(0)}):
        shares = hb.minmax(models, x, y, "linf:1", attack=QUICK, gamma=float("inf")).binding()
        assert shares == pytest.approx({"a": 0.5, "b": 0.5})


def test_results_say_what_they_lack():
    x, y = data(4)
    result = hb.minmax(Net(), x, y, "linf:0.1", attack=QUICK, objectives={"mine": MinMax()})
    with pytest.raises(InputError, match="no side 'minmax': choose one of mine"):
        result.binding()
    with pytest.raises(InputError, match="no side"):
        result.lift()
    assert result.lift(side="mine", over="mine") == 0
    with pytest.raises(InputError, match="unknown metric"):
        result.lift("asr_xx", "mine", "mine")
