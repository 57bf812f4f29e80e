"""Threats given by the features of a network."""

import pytest
import torch
from helpers.perceptual import dropping, images
from torch import nn

from hauberk import InputError
from hauberk.maths.rng import Draws
from hauberk.threats import Box
from hauberk.threats.perceptual import Perceptual, layers


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("kind", [list, tuple, lambda maps: dict(zip("ab", maps, strict=True))])
def test_perceptual_distance_is_that_of_the_paper(p, kind):
    net = nn.Conv2d(3, 5, 3)
    torch.manual_seed(3)

    def features(x):
        return kind([net.to(x.dtype)(x), x.flatten(1)])

    x, other = images(dtype=torch.float64), images(seed=1, dtype=torch.float64)
    total = torch.zeros(6, dtype=torch.float64)
    for i in range(6):
        a, b = (net.double()(z[i : i + 1])[0] for z in (x, other))
        for row in range(2):
            for col in range(2):
                unit = (
                    b[:, row, col] / b[:, row, col].norm() - a[:, row, col] / a[:, row, col].norm()
                )
                total[i] += (unit.abs() / 2).pow(p).sum().item()
        flat = other[i].flatten() / other[i].norm() - x[i].flatten() / x[i].norm()
        total[i] += flat.abs().pow(p).sum().item()
    threat = Perceptual(features, 0.5, p=p)
    assert torch.allclose(threat.distance(x, other), total.pow(1 / p), rtol=1e-8)


def test_a_module_is_held_in_eval_mode_and_left_as_it_was():
    net = dropping().train()
    net[0].eval()
    net[0].weight.requires_grad_(False)
    before = [(m.training) for m in net.modules()], [p.requires_grad for p in net.parameters()]
    threat, x = Perceptual(net, 0.2), images()
    region = threat.at(x)
    other = images(seed=1)
    assert torch.equal(region.measure(other), region.measure(other))
    region.slope(other)
    after = [(m.training) for m in net.modules()], [p.requires_grad for p in net.parameters()]
    assert before == after
    assert all(p.grad is None for p in net.parameters())


def test_the_judge_measures_with_a_float64_copy():
    net, x, other = dropping().eval(), images(), images(seed=1)
    threat = Perceptual(net, 0.2)
    for _ in range(2):
        exact = Perceptual(dropping(torch.float64, 0), 0.2)
        exact.features.load_state_dict(net.state_dict())
        found = threat.distance(x, other)
        assert torch.allclose(found, exact.distance(x, other), rtol=1e-12)
        assert (found - threat.at(x).measure(other)).abs().max() < 1e-5
        with torch.no_grad():
            net[0].weight.mul_(-0.5)  # another network from here on
    assert next(net.parameters()).dtype == torch.float32


def test_counts_passes_and_computes_clean_features_once():
    threat, x = Perceptual(dropping().eval(), 0.2), images()
    region = threat.at(x)
    region.measure(x)
    start = threat.forwards, threat.backwards
    region.measure(x)
    assert threat.forwards - start[0] == 6
    region.slope(images(seed=1))
    assert (threat.forwards - start[0], threat.backwards - start[1]) == (12, 6)
    part = region.take(torch.tensor([4, 1]))
    assert torch.equal(part.reference, region.reference[[4, 1]])
    part.measure(x[:2])
    assert threat.forwards - start[0] == 14
    fresh = threat.at(x[:1])
    joined = fresh.join(part)
    assert joined.reference.shape[0] == len(joined.x0) == 3
    assert joined.measure(x[:3])[0] < 1e-5


def test_layers_gives_the_outputs_of_submodules_as_they_were():
    net, x = dropping().eval(), images()
    first, last = layers(net, ["0", "4"])(x)
    assert torch.equal(first, net[0](x))  # before the ReLU that overwrites it
    assert torch.equal(last, net(x))
    assert not any(m._forward_hooks for m in net.modules())
    with pytest.raises(InputError, match="no layer 'conv'"):
        layers(net, ["conv"])
    with pytest.raises(InputError, match="no layer is named"):
        layers(net, [])
    unused = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    unused.aside = nn.Linear(1, 1)
    unused.forward = lambda z: unused[1](unused[0](z))
    with pytest.raises(InputError, match="does not go through"):
        layers(unused, ["aside"])(x)


@pytest.mark.parametrize("p", [1, 2])
def test_random_starts_lie_inside_and_differ(p):
    x = images()
    region = Perceptual(dropping().eval(), 0.05, p=p).at(x, Box(0, 1))
    draws = Draws.of(0, torch.arange(6))
    one, two = region.random(draws, 0), region.random(draws, 1)
    assert region.contains(one).all()
    assert region.contains(two).all()
    assert not torch.equal(one, two)


def test_double_inputs_to_a_single_network_end_inside():
    model = dropping().eval()
    x = images(dtype=torch.float64)
    threat = Perceptual(layers(model, ["0"]), 0.3)
    region = threat.at(x)
    projected = region.project_(images(seed=1, dtype=torch.float64))
    assert region.contains(projected).all()
    assert threat.precise
    assert region.measure(x).dtype == torch.float64


def test_the_smooth_form_of_the_l1_distance_is_the_l2_distance():
    net = nn.Conv2d(3, 5, 3)
    x, other = images(), images(seed=1)
    rough = Perceptual(net, 0.5, p=1)
    assert torch.equal(rough.smooth.distance(x, other), Perceptual(net, 0.5).distance(x, other))
    assert rough.p == 1
    assert (rough.distance(x, other) > rough.smooth.distance(x, other)).all()
