"""LPA, Fast-LPA and PPGD: against closed forms, and always inside."""

import pytest
import torch
from helpers.perceptual import convolutional, ellipsoid, linear, middle, shear

from hauberk import InputError
from hauberk.attacks import PGD
from hauberk.attacks.lpa import LPA, FastLPA
from hauberk.attacks.ppgd import PPGD
from hauberk.threats import Linf
from hauberk.threats.measured import Measured
from hauberk.threats.perceptual import Perceptual, layers

ATTACKS = [LPA(steps=20), LPA(steps=20, loss="ce"), FastLPA(steps=8), PPGD(steps=6)]


EVERY = pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{type(a).__name__}-{a.loss}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e3])
@pytest.mark.parametrize(
    ("attack", "share"),
    [
        (LPA(), 0.99),
        (LPA(loss="ce"), 0.99),
        (FastLPA(), 0.95),
        (PPGD(step_share=0.2, conjugate=10), 0.99),
        (PPGD(step_share=0.2), 0.97),
        (PPGD(), 0.9),
    ],
    ids=str,
)
def test_finds_the_optimum_of_a_linear_model_over_an_ellipsoid(attack, share, unit, dtype):
    model, x, matrix = linear(dtype=dtype), middle(dtype=dtype), shear(dtype=dtype) * unit
    y = model(x).argmax(1)
    threat = Measured(ellipsoid(matrix), 0.3 * unit)
    out = attack(model, x, y, threat, stop=False)
    w = model[1].weight.detach()
    g = (w[1 - y] - w[y]).double()
    # max <g, d> over |A d| <= eps is eps sqrt(g (A'A)^-1 g).
    inverse = torch.linalg.inv((matrix.T @ matrix).double())
    best = threat.eps * ((g @ inverse) * g).sum(1).sqrt()
    gain = ((out.points - x).double() * g).sum(1)
    assert threat.contains(x, out.points).all()
    assert (gain <= best * (1 + 1e-4)).all()
    assert (gain >= share * best).all()


def test_beats_plain_gradient_steps_where_the_distance_is_no_norm_of_the_box():
    model, x, matrix = linear(), middle(), shear()
    y = model(x).argmax(1)
    threat = Measured(ellipsoid(matrix), 0.3)
    plain = PGD(loss="margin")(model, x, y, threat, stop=False)
    for attack in (LPA(), PPGD()):
        assert (attack(model, x, y, threat, stop=False).loss > plain.loss).all()


@EVERY
@pytest.mark.parametrize(
    ("shape", "box", "dtype", "n"),
    [
        ((8,), (0.0, 1.0), torch.float32, 7),
        ((8,), (-2.0, 3.0), torch.float64, 1),
        ((1, 4, 4), (0.0, 255.0), torch.float32, 4),
        ((1, 4, 4), (0.0, 1.0), torch.float64, 0),
    ],
)
@pytest.mark.parametrize("stop", [True, False])
def test_stays_inside_and_reports_true_losses(attack, shape, box, dtype, n, stop):
    features = torch.Size(shape).numel()
    model, x = linear(features, 3, dtype), torch.rand(n, *shape, dtype=dtype)
    x = x.round() if n == 4 else x  # at the edges of the box
    x = x * (box[1] - box[0]) + box[0]
    y = model(x).argmax(1) if n else torch.zeros(0, dtype=torch.long)
    threat = Measured(ellipsoid(shear(features)), 0.8 * (box[1] - box[0]))
    out = attack(model, x, y, threat, box=box, stop=stop)
    assert threat.contains(x, out.points, box=box).all()
    assert out.points.dtype == dtype
    if n:
        assert torch.equal(out.fooled, model(out.points).argmax(1) != y)
        again = attack(model, x, y, threat, box=box, stop=stop)
        assert torch.equal(out.points, again.points)


@EVERY
@pytest.mark.parametrize("p", [1, 2])
def test_stays_inside_perceptual_threats_and_leaves_the_model_alone(attack, p):
    model = convolutional().train()
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    y = model(x).argmax(1)
    threat = Perceptual(layers(model, ["0"]), 0.3 if p == 2 else 1.0, p=p)
    out = attack(model, x, y, threat, stop=False)
    assert threat.contains(x, out.points).all()
    assert (out.distance > 0).all()
    assert threat.backwards > 0
    assert all(m.training for m in model.modules())
    assert all(q.requires_grad and q.grad is None for q in model.parameters())


@EVERY
def test_runs_in_the_whole_box_and_in_no_room_at_all(attack):
    model, x = linear(), middle()
    y = model(x).argmax(1)
    whole = attack(model, x, y, Measured(ellipsoid(shear())), stop=False)
    assert ((whole.points >= 0) & (whole.points <= 1)).all()
    assert whole.fooled.any()
    none = attack(model, x, y, Measured(ellipsoid(shear()), 0.0), stop=False)
    assert torch.equal(none.points, x)


@EVERY
def test_each_example_is_attacked_alike_alone_and_in_a_batch(attack):
    model, x = linear(dtype=torch.float64), middle(dtype=torch.float64)
    y, ids = model(x).argmax(1), torch.arange(6)
    threat = Measured(ellipsoid(shear()), 0.3)
    together = attack(model, x, y, threat, ids=ids, stop=False).points
    for i in range(6):
        one = slice(i, i + 1)
        alone = attack(model, x[one], y[one], threat, ids=ids[one], stop=False).points
        assert torch.allclose(alone, together[one], atol=1e-6)


@pytest.mark.parametrize("attack", [LPA(steps=10), FastLPA(), PPGD(steps=3)])
def test_costs_what_it_says(attack):
    model, x = linear(), middle()
    out = attack(model, x, model(x).argmax(1), Measured(ellipsoid(shear()), 0.01), stop=False)
    assert (out.forwards + out.backwards == attack.passes).all()
    assert (out.forwards == attack.steps + 1).all()


def test_costs_the_extractor_what_it_says():
    model = convolutional()
    x = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    y = model(x).argmax(1)

    def spent(attack):
        threat = Perceptual(layers(model, ["0"]), 1e3)  # nothing to project
        attack(model, x, y, threat, stop=False)
        return threat.forwards / 4, threat.backwards / 4

    for a, b, forwards, backwards in (
        (FastLPA(steps=5), FastLPA(steps=15), 3, 1),
        (PPGD(steps=5), PPGD(steps=15), 5 + 3 + 1, 5),  # one more looks whether to project
    ):
        more = [late - early for early, late in zip(spent(a), spent(b), strict=True)]
        assert more == [10 * forwards, 10 * backwards]


@EVERY
def test_refuses_other_threats_and_says_which(attack):
    model, x = linear(), middle()
    with pytest.raises(InputError, match="needs a measured threat"):
        attack(model, x, model(x).argmax(1), Linf(0.1))


@pytest.mark.real
def test_self_bounded_attacks_break_a_network_whose_weights_are_real(real_data_dir):
    from hauberk.data import load_data
    from hauberk.models.loading import load_model

    weights = real_data_dir / "weights" / "mnist_smallcnn_standard.npz"
    model = load_model("hauberk.models:SmallCNN", str(weights))
    found = load_data("mnist:test", str(real_data_dir), limit=4)
    x, y = found.images[:4], found.labels[:4]
    threat = Perceptual(layers(model, ["conv2", "conv4", "fc1"]), 0.3)
    plain = PGD(loss="margin", steps=20)(model, x, y, threat, stop=False)
    found = LPA(steps=30)(model, x, y, threat, stop=False)
    linearised = PPGD(steps=12)(model, x, y, threat, stop=False)
    for out in (plain, found, linearised):
        assert threat.contains(x, out.points).all()
    assert found.loss.mean() > plain.loss.mean()
    assert linearised.loss.mean() > plain.loss.mean()
