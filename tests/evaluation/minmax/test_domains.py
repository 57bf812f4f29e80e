"""Domains of a min-max run: tried before it, judged by fresh random numbers, kept apart."""

import pytest
import torch
from helpers.models import Linear
from torch import nn

import hauberk as hb
from hauberk import InputError
from hauberk.attacks import PGD
from hauberk.objectives.minmax import Average, Domain, Fixed, MinMax
from hauberk.threats import Linf
from hauberk.threats.each import Each
from hauberk.transforms import FlipH, Identity, RandomRotate


class Net(Linear):
    def __init__(self, seed=0, classes=3, features=16):
        super().__init__(features, classes, seed=seed, centre=0.5)


def data(n=20, shape=(16,)):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(1))
    return x, Net(features=x[0].numel())(x).argmax(1)


QUICK = PGD(loss="cw", steps=4)


def noisy(x):
    return x + 0.3 * torch.randn(x.shape)


class Shifted(Domain):
    """A random kind of domain that takes its numbers from the draws."""

    def inputs(self, x, draws, number):
        x = x.repeat(self.draws, *[1] * (x.dim() - 1))
        draws, number = draws.key.repeat(self.draws), number.repeat(self.draws)
        turn = torch.arange(len(x)) // max(1, len(x) // self.draws)
        key = hb.maths.rng.Draws(key=draws + turn)
        return x + 0.3 * key.normal(number, x.shape[1:], x.dtype)


@pytest.mark.parametrize("random", [{"transforms": [noisy]}, {"domains": [Shifted()]}])
def test_random_functions_are_found_out_and_judged_by_fresh_draws(random):
    x, y = data()
    result = hb.minmax(Net(), x, y, "linf:0.05", attack=QUICK, judge_draws=7, draws=3, **random)
    assert len(result.minmax.wrong) == 7
    # Every step asks the random domain three times, and nobody leaves early.
    plain = 0 if "transforms" in random else 1
    assert set(result.minmax.rows["forwards"].tolist()) == {(3 + plain) * 5}
    last = result.minmax.wrong[:, :, -1]
    assert bool((last.any(0) != last.all(0)).any())  # draws differ
    again = hb.minmax(Net(), x, y, "linf:0.05", attack=QUICK, judge_draws=7, draws=3, **random)
    assert torch.equal(again.minmax.wrong, result.minmax.wrong)


def test_the_judge_does_not_draw_what_the_attack_drew():
    seen = []

    def spy(x):
        seen.append(torch.randn(x.shape))
        return x + seen[-1]

    x, y = data(4)
    hb.minmax(Net(), x, y, "linf:0.05", transforms=[spy], attack=QUICK, judge_draws=2)
    drawn = [float(noise.sum()) for noise in seen if noise.shape == x.shape]
    assert len(drawn) == 2 + 2 * (5 + 2)  # clean inputs, then each side's steps and its judge
    judge = {*drawn[:2], *drawn[7:9], *drawn[14:]}
    attack = {*drawn[2:7], *drawn[9:14]}
    assert (len(judge), len(attack)) == (2, 5)
    assert not judge & attack


def test_two_random_functions_do_not_share_their_noise_before_the_judge():
    x, y = data(40)
    result = hb.minmax(
        Net(), x, y, "linf:0", transforms=[noisy, lambda z: noisy(z)], attack=QUICK, judge_draws=6
    )
    one, two = result.minmax.wrong.unbind(2)
    assert not torch.equal(one, two)


def in_place(x):
    x.data.mul_(0.7)
    return x


def test_what_writes_into_its_input_is_refused_or_kept_apart():
    x, y = data()
    with pytest.raises(InputError, match="writes into its input"):
        hb.minmax(Net(), x, y, "linf:0.1", transforms=[Identity(), in_place])

    class Writes(Domain):
        def inputs(self, x, draws, number):
            return x.mul_(0.7)

    with pytest.raises(InputError, match="writes into its input"):
        hb.minmax(Net(), x, y, "linf:0.1", domains=[Writes()])
    clean = PGD(loss=MinMax([Identity(), lambda z: z * 0.7]), steps=4)(Net(), x, y, Linf(0.1))
    apart = PGD(loss=MinMax([Identity(), in_place]), steps=4)(Net(), x, y, Linf(0.1))
    assert torch.equal(apart.points, clean.points) or bool(apart.fooled.any())
    before = x.clone()
    PGD(loss=MinMax([in_place]), steps=2)(Net(), x, y, Linf(0.1))
    assert torch.equal(x, before)


def test_domains_come_beside_models_and_transforms():
    class Half(Domain):
        def inputs(self, x, draws, number):
            return x / 2

    x, y = data()
    models = {"a": Net(0), "b": Net(1)}
    names = hb.minmax(models, x, y, "linf:0.1", domains=[Half()], attack=QUICK).minmax.names
    assert names == ("a", "b", "a Half", "b Half")
    further = Domain(model=Net(2), name="c")
    names = hb.minmax(models, x, y, "linf:0.1", domains=[further], attack=QUICK).minmax.names
    assert names == ("a", "b", "c")


class Breaks(Domain):
    def inputs(self, x, draws, number):
        raise KeyError("here")


class Narrow(Domain):
    def inputs(self, x, draws, number):
        return x[:, :4]


class Blind(Domain):
    def inputs(self, x, draws, number):
        return x.detach()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"domains": [Breaks()]}, "fails on inputs .* KeyError"),
        ({"domains": [Narrow()]}, "keep the shape"),
        ({"domains": [Blind()]}, "StraightThrough"),
        ({"domains": [Domain(model=Net(1, classes=4), name="more")]}, "number of classes"),
        ({"domains": Domain()}, "give a list"),
        ({"domains": [lambda x: x]}, "no Domain"),
        ({"transforms": FlipH()}, "give a list"),
        ({"attack": "pgd"}, "hauberk.attacks"),
        ({"group": 2.5}, "number of images"),
        ({"gamma": "x"}, "gamma is 'x'"),
    ],
)
def test_bad_domains_are_refused_before_anything_is_written(tmp_path, words, told):
    x, y = data()
    with pytest.raises(InputError, match=told):
        hb.minmax(Net(), x, y, "linf:0.1", out=tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()


def test_models_that_are_none_are_named():
    x, y = data(2)
    for models in (None, len, {"a": 3}):
        with pytest.raises(InputError, match=r"torch\.nn\.Module"):
            hb.minmax(models, x, y, "linf:0.1")
    assert hb.minmax({1: Net(), 2: Net(1)}, x, y, "linf:0.1", attack=QUICK).minmax.names == (
        "1", "2",
    )  # fmt: skip


def test_other_models_under_the_same_names_do_not_resume(tmp_path):
    x, y = data()
    a, b = Net(0), Net(1)
    words = {"attack": QUICK, "out": tmp_path / "run"}
    hb.minmax({"a": a, "b": b}, x, y, "linf:0.1", **words)
    hb.minmax({"a": a, "b": b}, x, y, "linf:0.1", resume=True, **words)
    with pytest.raises(InputError, match="models"):
        hb.minmax({"a": b, "b": a}, x, y, "linf:0.1", resume=True, **words)


def test_several_models_with_several_threats_fool_all_models_by_one():
    """Of each threat's perturbation the hardest model, of the threats the strongest."""
    models, (x, y) = [Net(0), Net(1)], data(12)
    threat = Each(Linf(0.02), Linf(0.2))
    loss = MinMax(models, gamma=0.5, toward="strong", loss="margin")
    found = PGD(loss=loss, steps=12)(models[0], x, y, threat, stop=False)
    w = found.weights.view(12, 2, 2)  # models, threats
    assert bool((w.sum(1)[:, 1] >= w.sum(1)[:, 0]).all())  # the larger threat is the stronger
    wrong = torch.stack(
        [torch.stack([m(p).argmax(1) != y for m in models]) for p in found.points.unbind(1)]
    )
    assert torch.equal(found.fooled, wrong.all(1).any(0))
    # In the large ball alone, the same perturbation beats both models as often.
    alone = PGD(loss=MinMax(models, gamma=0.5, loss="margin"), steps=12)(
        models[0], x, y, Linf(0.2), stop=False
    )
    assert abs(int(alone.fooled.sum()) - int(found.fooled.sum())) <= 2


@pytest.mark.parametrize("weights", [torch.tensor([1.0, 3.0]), (1, 3), [1.0, 3.0]])
def test_fixed_weights_of_any_kind(weights):
    x, y = data(6)
    objective = Fixed([Net(0), Net(1)], weights=weights)
    found = PGD(loss=objective, steps=2)(Net(), x, y, Linf(0.1))
    torch.testing.assert_close(found.weights, torch.tensor([[0.25, 0.75]]).expand(6, 2))
    with pytest.raises(InputError, match="one number a domain"):
        Fixed([Net()], weights=["x"])


def test_gammas_and_betas_beyond_all_bounds():
    x, y = data()
    models = [Net(0), Net(1)]
    average = PGD(loss=Average(models), steps=4)(Net(), x, y, Linf(0.1), stop=False)
    for gamma in (1e30, 1e300, float("inf")):
        found = PGD(loss=MinMax(models, gamma), steps=4)(Net(), x, y, Linf(0.1), stop=False)
        assert torch.equal(found.points, average.points)
    for beta in (1e25, 1e38, 1e300):
        found = PGD(loss=MinMax(models, 0.0, beta), steps=4)(Net(), x, y, Linf(0.1))
        assert bool(found.weights.isfinite().all())


def test_a_loss_of_one_number_is_refused():
    x, y = data(4)
    loss = MinMax([Net(0), Net(1)], loss=nn.functional.cross_entropy)
    with pytest.raises(InputError, match="one number for each"):
        PGD(loss=loss, steps=2)(Net(), x, y, Linf(0.1))


def test_a_single_model_instead_of_a_list_is_refused():
    with pytest.raises(InputError, match="give a list"):
        MinMax(nn.Sequential(Net(), nn.ReLU()))
    assert len(MinMax(domain for domain in [Net(0), Net(1)]).parts) == 2


def test_images_keep_their_draws_in_another_batch():
    x, y = data(8, (1, 6, 6))
    net = Net(features=36)
    words = {"transforms": [Identity(), RandomRotate(20)], "attack": QUICK, "judge_draws": 3}
    whole = hb.minmax(net, x, y, "linf:0.05", **words)
    half = hb.minmax(net, x[4:], y[4:], "linf:0.05", ids=torch.arange(4, 8), batch_size=3, **words)
    torch.testing.assert_close(half.minmax.points, whole.minmax.points[4:], rtol=0, atol=1e-5)
