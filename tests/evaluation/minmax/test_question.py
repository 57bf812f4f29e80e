"""Groups, unions, the judge and the ledger of one perturbation against several domains."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from helpers.minmax import QUICK, Net, data, share, wrong_by_hand

import hauberk as hb
from hauberk import InputError
from hauberk.attacks import PGD, MultiSteepestDescent
from hauberk.evaluation.minmax.groups import groups
from hauberk.threats import L2, Box, Linf, Union
from hauberk.threats.each import Each
from hauberk.threats.shared import Shared


@pytest.mark.parametrize("by_class", [False, True])
def test_groups_share_a_perturbation(by_class):
    models = [Net(0), Net(1)]
    x, y = data(23)
    x = 0.25 + x / 2  # room for the perturbation in every image
    result = hb.minmax(
        models, x, y, "linf:0.15", group=4, by_class=by_class, attack=QUICK, stop=False
    )
    index = groups(y, 4, by_class)
    assert torch.equal(result.index, index)
    assert torch.equal(result.labels, y[index])
    if by_class:
        assert bool((result.labels == result.labels[:, :1]).all())
    for side in result.values():
        assert side.members == 4
        assert side.weights.shape == (len(index), 8)
        delta = side.points - x[index]
        assert bool((delta - side.delta.unsqueeze(1)).abs().amax() < 1e-12)
        assert bool(side.delta.abs().amax() <= 0.15)
        wrong = torch.stack(
            [wrong_by_hand(models, p, own) for p, own in zip(side.points, y[index], strict=True)]
        )  # (G, M, D)
        assert torch.equal(side.wrong[0], wrong.transpose(1, 2).flatten(1))
        assert side.asr_all == pytest.approx(share(wrong.all(2).flatten()))
        assert side.asr_group == pytest.approx(share(wrong.flatten(1).all(1)))
        assert side.asr_any == pytest.approx(share(wrong.flatten(1).any(1)))
        assert side.asr_avg == pytest.approx(share(wrong.flatten()))
        broken = wrong.flatten(0, 1).double().mean(0)
        assert list(side.accuracy.values()) == pytest.approx((1 - broken).tolist())
        assert bool((side.rows["forwards"] == 8 * 6).all())
    weights = result.weights.view(-1, 2, 4).sum(2)
    assert result.binding()["Net 2"] == pytest.approx(share(weights.argmax(1) == 1))
    if by_class:
        assert sorted(result.binding(by_class=True)) == sorted(result.labels[:, 0].unique())


def test_a_shared_threat_and_a_group_of_one():
    x, y = data(6)
    named = hb.minmax(Net(), x, y, Shared(L2(0.4), clip=True), group=3, attack=QUICK)
    assert named.summary["threat"] == "shared(l2:0.4, clip)"
    assert named.minmax.points.shape == (2, 3, 16)
    single = hb.minmax(Net(), x, y, Linf(0.1), group=1, attack=QUICK, stop=False)
    alone = hb.minmax(Net(), x, y, Linf(0.1), attack=QUICK, stop=False)
    torch.testing.assert_close(
        single.minmax.points.squeeze(1), alone.minmax.points, rtol=0, atol=1e-9
    )
    assert single.minmax.asr_all == alone.minmax.asr_all


def test_a_perturbation_for_each_part_of_a_union():
    models = [Net(0), Net(1)]
    x, y = data(6)
    for threat in ("linf:0.06 | l2:0.3", Each(Linf(0.06), L2(0.3))):
        result = hb.minmax(models, x, y, threat, attack=replace(QUICK, loss="ce"), stop=False)
        side = result.minmax
        assert side.points.shape == (6, 2, 16)
        assert side.names == (
            "Net 1 linf:0.06", "Net 1 l2:0.3", "Net 2 linf:0.06", "Net 2 l2:0.3",
        )  # fmt: skip
        assert bool(Linf(0.06).at(x, Box()).contains(side.points[:, 0]).all())
        assert bool(L2(0.3).at(x, Box()).contains(side.points[:, 1]).all())
        each = [wrong_by_hand(models, side.points[:, k], y) for k in range(2)]
        wrong = torch.stack(each, 2).flatten(1)  # (B, D * 2), the threats changing fastest
        assert torch.equal(side.wrong[0], wrong)
        # Some threat's perturbation fools both models.
        assert side.asr_any == pytest.approx(share(wrong.view(6, 2, 2).all(1).any(1)))
        assert list(side.accuracy.values()) == pytest.approx((1 - wrong.double().mean(0)).tolist())
        assert result.summary["objectives"]["minmax"]["toward"] == "strong"
    assert hb.minmax(Net(), x, y, threat, attack=QUICK).minmax.names == ("linf:0.06", "l2:0.3")


def test_msd_walks_one_perturbation_through_the_union():
    x, y = data(6)
    union = Union(Linf(0.06), L2(0.3))
    result = hb.minmax(
        [Net(0), Net(1)], x, y, union, attack=MultiSteepestDescent(loss="cw", steps=4)
    )
    assert result.minmax.points.shape == x.shape
    assert result.minmax.names == ("Net 1", "Net 2")
    assert bool(union.contains(x, result.minmax.points).all())
    assert torch.equal(
        result.minmax.wrong[0], wrong_by_hand([Net(0), Net(1)], result.minmax.points, y)
    )


@dataclass(frozen=True, kw_only=True)
class Cheat(PGD):
    """Returns points outside the threat for every second example, and calls all of them fooled."""

    def run(self, victim, job):
        found = super().run(victim, job)
        points = found.points.clone()
        points[::2] = 1 - job.x[::2]
        return replace(found, points=points, fooled=torch.ones_like(found.fooled))


def test_only_what_the_judge_sees_counts():
    models = [Net(0), Net(1)]
    x, y = data(12)
    honest = hb.minmax(models, x, y, Linf(0.1), attack=QUICK)
    cheated = hb.minmax(models, x, y, Linf(0.1), attack=Cheat(loss="cw", steps=5))
    for name, side in cheated.items():
        assert not bool(side.wrong[:, ::2].any())
        assert torch.equal(side.wrong[:, 1::2], honest[name].wrong[:, 1::2])
        assert side.rows["allowed"].tolist() == [False, True] * 6
        assert cheated.summary["sides"][name]["refused"] == 6
        assert bool(wrong_by_hand(models, side.points[::2], y[::2]).any())


@pytest.mark.parametrize("group", [None, 2])
def test_an_interrupted_run_goes_on_where_it_stood(group, tmp_path):
    models = {"a": Net(0), "b": Net(1)}
    x, y = data(16)
    options = {"attack": PGD(loss="cw", steps=4, restarts=2), "group": group, "seed": 5}
    options["block"] = 3
    whole = hb.minmax(models, x, y, Linf(0.08), out=tmp_path / "whole", **options)
    done = []

    def stop(step):
        done.append(step.done)
        if step.done > 0.4:
            raise KeyboardInterrupt

    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        hb.minmax(models, x, y, Linf(0.08), out=again, progress=stop, **options)
    assert not (again / "summary.json").exists()
    with pytest.raises(InputError):
        hb.minmax(models, x, y, Linf(0.08), out=again, **options)
    with pytest.raises(InputError, match="other settings"):
        hb.minmax(models, x, y, Linf(0.08), out=again, resume=True, **options | {"seed": 6})
    with pytest.raises(InputError, match="other settings"):
        hb.minmax(models, x, y, Linf(0.08), out=again, resume=True, gamma=1.0, **options)
    steps = []
    resumed = hb.minmax(
        models, x, y, Linf(0.08), out=again, resume=True, progress=steps.append, **options
    )
    assert steps[-1].done == pytest.approx(1.0)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    memory = hb.minmax(models, x, y, Linf(0.08), **options)
    for other in (resumed, memory):
        for name, side in whole.items():
            for part in ("points", "wrong", "weights", "path", "delta"):
                a, b = getattr(side, part), getattr(other[name], part)
                assert (a is None and b is None) or torch.equal(a.nan_to_num(), b.nan_to_num())
        assert other.binding() == whole.binding()
        assert torch.equal(other.clean, whole.clean)
    told = json.loads((again / "summary.json").read_text())
    assert told["sides"]["minmax"]["asr_all"] == whole.minmax.asr_all
    assert {p.stem for p in (again / "parts").glob("*.parquet")} >= {
        "clean-00000",
        "objective-minmax-00000",
    }


def test_the_size_of_blocks_changes_nothing():
    models = [Net(0), Net(1)]
    x, y = data(10)
    whole = hb.minmax(models, x, y, Linf(0.08), attack=QUICK)
    parts = hb.minmax(models, x, y, Linf(0.08), attack=QUICK, block=3, batch_size=4)
    for name, side in whole.items():
        torch.testing.assert_close(parts[name].points, side.points, rtol=0, atol=1e-12)
        torch.testing.assert_close(parts[name].path, side.path, rtol=0, atol=1e-12, equal_nan=True)
        assert parts[name].asr_all == side.asr_all
