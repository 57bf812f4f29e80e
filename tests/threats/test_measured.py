"""Threats given by any distance, and by the features of a network."""

from math import inf

import pytest
import torch
from helpers.perceptual import dropping, images
from torch import nn

from hauberk import InputError
from hauberk.attacks import APGD, PGD
from hauberk.threats import L2
from hauberk.threats.measured import Measured
from hauberk.threats.perceptual import Perceptual


def l2(x0, x):
    return (x - x0).flatten(1).norm(dim=1)


def sheared(x0, x):
    """A distance that no lp norm is: features count differently, some only beyond others."""
    delta = (x - x0).flatten(1)
    weight = torch.arange(1, delta.shape[1] + 1).to(delta)
    return (weight * delta).abs().sum(1) + delta.pow(2).sum(1)


def classifier(shape, classes=3, dtype=torch.float32):
    torch.manual_seed(1)
    d = torch.Size(shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(d, 9), nn.Tanh(), nn.Linear(9, classes)).to(dtype)


CASES = pytest.mark.parametrize(
    ("shape", "box", "dtype", "n"),
    [
        ((3, 4, 4), (0.0, 1.0), torch.float32, 6),
        ((7,), (-1.0, 3.0), torch.float32, 5),
        ((3, 4, 4), (0.0, 255.0), torch.float64, 4),
        ((2,), (0.0, 1.0), torch.float64, 1),
        ((3, 4, 4), (0.0, 1.0), torch.float32, 0),
    ],
)


def test_agrees_with_the_l2_ball_when_the_distance_is_l2():
    x, far = images(), images(seed=1)
    threat, ball = Measured(l2, 0.7), L2(0.7)
    assert torch.allclose(threat.distance(x, far), ball.distance(x, far), rtol=1e-12)
    near = x + (far - x) * torch.linspace(0, 1, 6).view(-1, 1, 1, 1)
    assert torch.equal(threat.contains(x, near), ball.contains(x, near))
    # The nearest point of a ball lies on the segment, and so does the other's projection.
    assert torch.allclose(threat.project(x, far), ball.project(x, far), atol=1e-3)


@CASES
@pytest.mark.parametrize("distance", [l2, sheared])
def test_projects_into_the_threat_onto_the_segment_near_its_edge(distance, shape, box, dtype, n):
    x, far = images(n, shape, box, dtype), images(n, shape, box, dtype, seed=1)
    size = 0.05 * (box[1] - box[0])
    threat = Measured(distance, size)
    near = threat.project(x, far, box)
    assert near.dtype == dtype
    assert threat.contains(x, near, box=box).all()
    assert (threat.distance(x, near) >= 0.998 * size).all()
    moved, whole = (near - x).flatten(1), (far - x).flatten(1)
    cosine = (moved * whole).sum(1) / (moved.norm(dim=1) * whole.norm(dim=1))
    assert (cosine > 1 - 1e-4).all()


def test_inner_points_stay_and_rows_are_projected_alone():
    x, far = images(), images(seed=1)
    region = Measured(sheared, 2.0).at(x)
    mixed = torch.cat((x[:3] + 1e-3 * (far - x)[:3], far[3:]))
    together = region.project_(mixed.clone())
    assert torch.equal(together[:3], mixed[:3])
    for i in range(6):
        alone = region.take(torch.tensor([i])).project_(mixed[i : i + 1].clone())
        assert torch.equal(alone[0], together[i])


@CASES
@pytest.mark.parametrize("attack", [PGD(steps=8), APGD(steps=8)], ids=["PGD", "APGD"])
def test_attacks_on_balls_run_on_it_and_stay_inside(attack, shape, box, dtype, n):
    x, model = images(n, shape, box, dtype), classifier(shape, 2, dtype)
    y = model(x).argmax(1) if n else torch.zeros(0, dtype=torch.long)
    threat = Measured(sheared, 0.4 * (box[1] - box[0]))
    out = attack(model, x, y, threat, box=box, stop=False)
    assert threat.contains(x, out.points, box=box).all()
    assert torch.allclose(out.distance, threat.distance(x, out.points))
    if n:
        assert (out.distance > 0.1 * threat.eps).all()


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_a_step_changes_the_distance_by_its_size(unit):
    x = images(shape=(20,)) * 0.5 + 0.25
    region = Measured(lambda a, b: unit * l2(a, b), unit).at(x)
    grad, step = torch.randn(6, 20), torch.linspace(0.01, 0.1, 6) * unit
    moved = region.ascent(region.start(), grad, step)
    assert torch.allclose(region.measure(moved), step, rtol=1e-4)
    further = region.ascent(moved, grad, step)
    assert torch.allclose(region.measure(further), 2 * step, rtol=1e-4)


def test_measures_with_a_gradient_in_the_dtype_asked_for():
    x, far = images(), images(seed=1).requires_grad_(True)
    region = Measured(l2, 1.0, batch_size=4).at(x)
    found = region.measure(far)
    assert found.dtype == torch.float32
    (grad,) = torch.autograd.grad(found.sum(), far)
    with torch.no_grad():
        expected = (far - x) / l2(x, far).view(-1, 1, 1, 1)
    assert torch.allclose(grad, expected, atol=1e-6)
    distance, slope = region.slope(far.detach())
    assert torch.equal(slope, grad)
    assert torch.equal(distance, found.detach())
    assert region.distance(far).dtype == torch.float64
    assert not region.distance(far).requires_grad


def test_an_infinite_radius_is_the_whole_box():
    x, corner = images(), images(seed=1).round()
    threat = Measured(l2, name="far")
    assert str(threat) == "far"
    assert str(Measured(l2, 0.1)) == "measured:0.1"
    assert threat.contains(x, corner).all()
    assert not threat.contains(x, corner + 0.5).any()
    assert torch.equal(threat.project(x, corner), corner)
    region = threat.at(x)
    assert region.eps.isfinite().all()
    small = region.with_radius(torch.full((6,), 0.3))
    assert (small.distance(small.project_(corner.clone())) <= 0.3).all()
    assert (small.scaled(torch.full((6,), 2.0)).radius - 0.6).abs().max() < 1e-6
    model = classifier((3, 4, 4))
    out = APGD(steps=10)(model, x, model(x).argmax(1), threat, stop=False)
    assert threat.contains(x, out.points).all()


def test_equal_only_with_the_same_callable():
    assert Measured(l2, 1.0) == Measured(l2, 0.5).scaled(2)
    assert Measured(l2, 1.0) != Measured(sheared, 1.0)
    net = dropping()
    assert Perceptual(net, 1.0, p=1) != Perceptual(net, 1.0, p=2)
    assert hash(Measured(l2, 1.0)) == hash(Measured(l2, 1.0))


def test_distances_that_are_not_numbers_count_as_infinite():
    def broken(x0, x):
        return torch.where(x.flatten(1)[:, 0] > 0.9, torch.nan, l2(x0, x))

    x = torch.full((2, 5), 0.5)
    far = torch.ones(2, 5)
    threat = Measured(broken, 0.4)
    assert (threat.distance(x, far) == inf).all()
    assert threat.contains(x, threat.project(x, far)).all()


def test_a_callable_of_one_dtype_only_is_called_in_it():
    weight = torch.randn(8, 5)

    def single(x0, x):
        return ((x - x0) @ weight.T).norm(dim=1)

    threat, x = Measured(single, 0.5), images(shape=(5,), dtype=torch.float64)
    assert threat.distance(x, x + 0.1).dtype == torch.float64
    assert not threat.precise
    assert threat.contains(x, threat.project(x, 1 - x)).all()
    double = Measured(lambda a, b: ((b - a) @ weight.double().T).norm(dim=1), 0.5)
    assert double.at(x.float()).measure(x.float()).dtype == torch.float32
    assert double.precise


@pytest.mark.parametrize(
    ("distance", "says"),
    [
        (lambda a, b: l2(a, b) * torch.rand(len(b)), "changes between identical calls"),
        (lambda a, b: l2(a, b).sum(), "one number each"),
        (lambda a, b: [0.0] * len(b), "one number each"),
        (lambda a, b: -l2(a, b), "negative"),
        (lambda a, b: l2(a, b) + 1, "from an input to itself"),
        (lambda a, b: l2(a, b) * len(b), "depends on the other inputs"),
        (lambda a, b: (b - a).flatten(1) @ torch.zeros(3), "failed on inputs"),
    ],
)
def test_refuses_what_is_no_distance(distance, says):
    with pytest.raises(InputError, match=says):
        Measured(distance, 1.0).at(images())


def test_refuses_a_network_in_training_mode_and_says_what_to_do():
    net = dropping()

    def distance(x0, x):
        return l2(net(x0.clone()), net(x.clone()))

    with pytest.raises(InputError, match="put the network in eval mode"):
        Measured(distance, 1.0).at(images())
    net.eval()
    Measured(distance, 1.0).at(images())


def test_refuses_wrong_arguments():
    for eps in (-1.0, float("nan")):
        with pytest.raises(InputError, match="eps"):
            Measured(l2, eps)
    with pytest.raises(InputError, match="callable"):
        Measured("lpips", 1.0)
    with pytest.raises(InputError, match="batch_size"):
        Measured(l2, 1.0, batch_size=0)
    with pytest.raises(InputError, match="p is 3"):
        Perceptual(dropping(), 1.0, p=3)
    with pytest.raises(InputError, match="feature map"):
        Perceptual(lambda x: x.flatten(1).sum(1), 1.0).at(images())
    with pytest.raises(InputError, match="no gradient"):
        Measured(lambda a, b: l2(a, b).detach(), 1.0).at(images()).slope(images())
