from dataclasses import replace

import pytest
import torch
from helpers.minmax import QUICK, Net, data, share, wrong_by_hand

import hauberk as hb
from hauberk import InputError
from hauberk.attacks import APGD, PGD
from hauberk.objectives.minmax import Average, Fixed, MinMax
from hauberk.threats import Box, Linf
from hauberk.threats.shared import Shared
from hauberk.transforms import FlipH, Identity, RandomRotate, Rotate
from hauberk.victims.ensembles import Vote


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
