import json
from dataclasses import dataclass, replace
from math import inf

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk import InputError
from hauberk.attacks import APGD, PGD, MultiSteepestDescent
from hauberk.evaluation.minmax.groups import groups
from hauberk.evaluation.minmax.result import lift
from hauberk.objectives.minmax import Average, Fixed, MinMax
from hauberk.threats import L2, Box, Linf, Union
from hauberk.threats.each import Each
from hauberk.threats.shared import Shared
from hauberk.transforms import FlipH, Identity, RandomRotate, Rotate
from hauberk.victims.ensembles import Vote


class Net(nn.Module):
    """A small network; seeds that are near each other make models that mostly agree."""

    def __init__(self, seed=0, classes=3, features=16, dtype=torch.float64):
        super().__init__()
        shared, own = torch.Generator().manual_seed(9), torch.Generator().manual_seed(seed)
        one, two = (
            torch.randn(features, classes, generator=g, dtype=torch.float64) for g in (shared, own)
        )
        self.w = nn.Parameter((one + 0.5 * two).to(dtype))

    def forward(self, x):
        return (x.flatten(1) - 0.5) @ self.w


def data(n=12, shape=(16,), classes=3):
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(n, *shape, generator=rng, dtype=torch.float64)
    y = Net(classes=classes, features=x[0].numel())(x).argmax(1)
    return x, y


QUICK = PGD(loss="cw", steps=5)


def wrong_by_hand(models, points, y, transforms=(lambda x: x,)):
    """Who is wrong, ``(B, K)``, one example at a time."""
    rows = []
    with torch.no_grad():
        for point, label in zip(points, y, strict=True):
            row = []
            for model in models:
                for change in transforms:
                    z = model(change(point.unsqueeze(0)))[0]
                    row.append(not all(z[label] > z[c] for c in range(len(z)) if c != label))
            rows.append(row)
    return torch.tensor(rows)


def share(flags):
    return sum(map(bool, flags)) / len(flags)


# Names and metrics


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


def test_names_of_models_and_transforms():
    x, y = data(4, (1, 4, 4))
    one = hb.minmax(Net(), x, y, Linf(0.1), attack=QUICK)
    assert one.minmax.names == ("Net",)
    changes = [FlipH(), Rotate(30)]
    shown = hb.minmax(Net(), x, y, Linf(0.1), attack=QUICK, transforms=changes)
    assert shown.minmax.names == ("flh", "rot:30")
    both = hb.minmax({"a": Net(), "b": Net(1)}, x, y, Linf(0.1), attack=QUICK, transforms=changes)
    assert both.minmax.names == ("a flh", "a rot:30", "b flh", "b rot:30")
    mixed = hb.minmax([Net(), Vote([Net(1), Net(2)])], x, y, Linf(0.1), attack=QUICK)
    assert mixed.minmax.names == ("Net", "Ensemble")
    assert both.summary["parts"] == list(both.minmax.names)


def test_models_times_transforms():
    models, changes = [Net(0), Net(1)], [Identity(), FlipH(), Rotate(20)]
    x, y = data(8, (1, 4, 4))
    result = hb.minmax(models, x, y, "l2:0.5", transforms=changes, attack=QUICK, stop=False)
    for side in result.values():
        assert side.weights.shape == (8, 6)
        assert side.path.shape == (8, 6, 6)
        assert torch.equal(side.wrong[0], wrong_by_hand(models, side.points, y, changes))
        assert bool((side.rows["forwards"] == 6 * 6).all())
        assert bool((side.rows["backwards"] == 6 * 5).all())


def test_the_same_as_the_attack_itself():
    """What the judge sees are the points of one call of the attack, with the same seeds."""
    models = [Net(0), Net(1)]
    x, y = data(9)
    ids = torch.arange(9) * 5 + 2
    result = hb.minmax(models, x, y, Linf(0.1), attack=QUICK, seed=3, ids=ids, stop=False)
    plain = {"minmax": MinMax(models), "average": Average(models)}
    for name, loss in plain.items():
        attack = replace(QUICK, loss=loss)
        found = attack(models[0], x, y, Linf(0.1), seed=3, ids=ids, stop=False)
        assert torch.equal(result[name].points, found.points)
        assert torch.equal(result[name].weights, found.weights)
        assert torch.equal(result[name].path, found.path)
        assert result[name].rows["id"].tolist() == ids.tolist()


def test_objectives_of_ones_own():
    models = [Net(0), Net(1)]
    x, y = data(9)
    chosen = {"minmax": MinMax(beta=inf), "minmax-slow": MinMax(), "first": Fixed(weights=(1, 0))}
    result = hb.minmax(models, x, y, Linf(0.1), attack=QUICK, objectives=chosen, stop=False)
    assert list(result) == list(chosen)
    for name, loss in chosen.items():
        loss = replace(loss, domains=models)
        found = replace(QUICK, loss=loss)(models[0], x, y, Linf(0.1), stop=False)
        assert torch.equal(result[name].points, found.points)
    assert result["first"].weights.tolist() == [[1, 0]] * 9
    assert "lift" not in result.summary


def test_random_transforms_are_judged_on_fresh_draws_and_repeat():
    x, y = data(6, (1, 4, 4))
    options = {"transforms": [RandomRotate(60), FlipH()], "draws": 2}
    options["attack"] = PGD(loss="cw", steps=3)
    before = torch.random.get_rng_state()
    one = hb.minmax(Net(), x, y, Linf(0.1), judge_draws=7, **options)
    assert torch.equal(before, torch.random.get_rng_state())
    two = hb.minmax(Net(), x, y, Linf(0.1), judge_draws=7, batch_size=2, **options)
    assert one.minmax.wrong.shape == (7, 6, 2)
    assert torch.equal(one.minmax.wrong, two.minmax.wrong)
    torch.testing.assert_close(one.minmax.points, two.minmax.points, rtol=0, atol=1e-9)
    assert bool((one.minmax.wrong[:, :, 1] == one.minmax.wrong[:1, :, 1]).all())
    assert not bool((one.minmax.wrong == one.minmax.wrong[:1]).all())
    flags = one.minmax.wrong.flatten(0, 1)
    assert one.minmax.asr_all == pytest.approx(share([all(row) for row in flags]))
    # The judge is no part of the attack: more of its draws change no point.
    more = hb.minmax(Net(), x, y, Linf(0.1), judge_draws=2, **options)
    assert torch.equal(more.minmax.points, one.minmax.points)


# Groups, and several threats


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


# The judge, and the ledger


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


# Ordinary inputs of other kinds


def test_other_boxes_dtypes_and_two_classes():
    x, y = data(5)
    models = [Net(0), Net(1, dtype=torch.float32)]
    wide = hb.minmax(models, x * 4 - 2, y, Linf(0.2), attack=QUICK, box=(-2, 2))
    assert bool(Linf(0.2).at(x * 4 - 2, Box(-2, 2)).contains(wide.minmax.points).all())
    two = [Net(0, classes=2), Net(1, classes=2)]
    single = hb.minmax(two, x[:1], y[:1] * 0, Linf(0.05), attack=QUICK)
    assert single.minmax.wrong.shape == (1, 1, 2)
    float32 = hb.minmax(models, x.float(), y, Linf(0.1), attack=APGD(steps=4, loss="margin"))
    assert float32.minmax.points.dtype == torch.float32
    assert "ASR_all" in repr(float32)
    assert "Net 1" in float32.table()


# What is refused, before anything is written


class Boxed(Net):
    box = (-1.0, 1.0)


def doubled(x):
    return torch.cat([x, x], -1)


def dropped(x):
    return x.detach()


IMAGES = data(6, (1, 4, 4))
TWICE = torch.tensor([0, 1, 2, 3, 4, 4])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"models": []}, "no model"),
        ({"models": {}}, "no model"),
        ({"models": [Net(), Net(1, classes=4)]}, "differ in their number of classes"),
        ({"models": [Net(), Boxed()]}, "needs one box"),
        ({"gamma": -1.0}, "gamma is -1"),
        ({"beta": -1.0}, "beta is -1"),
        ({"group": 7}, "make the groups smaller"),
        ({"group": 5, "by_class": True}, "largest class"),
        ({"group": 0}, "give 1 or more"),
        ({"by_class": True}, "give group="),
        ({"threat": Shared(Linf(0.1))}, "needs groups"),
        ({"threat": "linf:0.1 | l2:1", "group": 2}, "can be shared"),
        ({"transforms": [doubled]}, "keep the shape"),
        ({"transforms": [dropped]}, "not differentiable"),
        ({"transforms": [FlipH(), FlipH()]}, "named twice"),
        ({"transforms": [3]}, "transform"),
        ({"attack": PGD(loss=MinMax())}, "combines domains already"),
        ({"objectives": {}}, "no objective"),
        ({"objectives": {"own": Fixed(weights=(1, 1))}}, "give 1, one for each domain"),
        ({"objectives": {"own": Fixed(weights=(1,))}, "group": 2}, "give 2, one"),
        ({"objectives": {"own": MinMax()}, "attack": APGD(targets=2)}, "targeted loss 'cw'"),
        ({"objectives": {"my own": MinMax()}}, "my own"),
        ({"objectives": {"plain": "ce"}}, "plain"),
        ({"attack": APGD(targets=2, loss="margin"), "group": 2}, "no targets"),
        ({"draws": 0}, "draws is 0"),
        ({"judge_draws": 0}, "judge_draws is 0"),
        ({"ids": TWICE}, "different integers"),
        ({"resume": True, "out": None}, "give out="),
        ({"images": IMAGES[0] + 1}, "box"),
        ({"labels": IMAGES[1] + 9}, "label"),
        ({"images": IMAGES[0][:0], "labels": IMAGES[1][:0]}, "no examples"),
    ],
)
def test_bad_input(change, says, tmp_path):
    x, y = IMAGES
    out = tmp_path / "run"
    given = {"models": Net(), "images": x, "labels": y, "threat": Linf(0.1), "attack": QUICK}
    with pytest.raises(InputError, match=says):
        hb.minmax(**given | {"out": out} | change)
    assert not out.exists()
