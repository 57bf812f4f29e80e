"""Models E to H of Wang et al. 2021: sizes and structure."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from helpers.wang2021 import CIFAR, LARGE, build, conv, fc, name, size

from hauberk import models
from hauberk.errors import InputError


def bn(channels):
    return 2 * channels


@pytest.mark.parametrize("factory", LARGE, ids=name)
def test_empty_batch_and_two_classes_of_the_large(factory):
    with torch.no_grad():
        assert build(factory, CIFAR, classes=2)(torch.zeros(0, *CIFAR)).shape == (0, 2)


def test_parameters_of_vgg16():
    widths = [3, 64, 64, 128, 128, *[256] * 3, *[512] * 6]
    total = sum(conv(a, b, 3) + bn(b) for a, b in pairwise(widths))
    model = models.ModelE()
    assert size(model) == total + fc(512, 10) == 14_728_266
    keys = model.state_dict().keys()
    assert {"features.0.weight", "features.41.running_var", "classifier.bias"} <= keys


def test_parameters_of_resnet50():
    total = conv(3, 64, 3, False) + bn(64) + fc(2048, 10)
    inner = 64
    for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        outer = 4 * width
        total += conv(inner, outer, 1, False) + bn(outer)
        for _ in range(depth):
            total += conv(inner, width, 1, False) + conv(width, width, 3, False)
            total += conv(width, outer, 1, False) + 2 * bn(width) + bn(outer)
            inner = outer
    model = models.ModelF()
    assert size(model) == total == 23_520_842
    assert {"layer4.0.shortcut.1.bias", "layer3.5.conv3.weight"} <= model.state_dict().keys()


def test_parameters_of_wide_resnet():
    total = conv(3, 16, 3, False) + bn(640) + fc(640, 10)
    for inner, outer in ((16, 160), (160, 320), (320, 640)):
        for a in (inner, *[outer] * 4):
            total += bn(a) + conv(a, outer, 3, False) + bn(outer) + conv(outer, outer, 3, False)
    assert size(models.ModelG()) == total == 45_901_914


def test_parameters_of_googlenet():
    def layer(a, b, k):
        return conv(a, b, k) + bn(b)

    total = layer(3, 192, 3) + fc(1024, 10)
    for i, one, r3, three, r5, five, pool in (
        (192, 64, 96, 128, 16, 32, 32),
        (256, 128, 128, 192, 32, 96, 64),
        (480, 192, 96, 208, 16, 48, 64),
        (512, 160, 112, 224, 24, 64, 64),
        (512, 128, 128, 256, 24, 64, 64),
        (512, 112, 144, 288, 32, 64, 64),
        (528, 256, 160, 320, 32, 128, 128),
        (832, 256, 160, 320, 32, 128, 128),
        (832, 384, 192, 384, 48, 128, 128),
    ):
        total += layer(i, one, 1) + layer(i, r3, 1) + layer(r3, three, 3) + layer(i, r5, 1)
        total += layer(r5, five, 3) + layer(five, five, 3) + layer(i, pool, 1)
    model = models.ModelH()
    assert size(model) == total == 6_166_250
    assert {"pre_layers.0.bias", "b4.b3.6.weight", "a5.b4.1.bias"} <= model.state_dict().keys()


def test_wide_resnet_shortcuts_pool_and_pad_and_start_activated():
    model = build(models.ModelG, CIFAR).double()
    x = torch.rand(1, *CIFAR, dtype=torch.float64)
    for key, weight in model.named_parameters():
        if "conv" in key and key != "conv.weight":
            torch.nn.init.zeros_(weight)
    with torch.no_grad():
        stem = model.conv(x)
        reached = model.stage3(model.stage2(model.stage1(stem)))
        # Statistics of a new BatchNorm are 0 and 1, so it divides by sqrt(1 + eps) only.
        active = F.leaky_relu(stem / math.sqrt(1 + 1e-3), 0.1)
        pooled = F.avg_pool2d(active, 4)
    before = 72 + 80 + 160
    torch.testing.assert_close(reached[:, before : before + 16], pooled)
    assert reached.shape == (1, 640, 8, 8)
    assert reached.abs().sum() == reached[:, before : before + 16].abs().sum()


def test_madrys_wide_resnet_standardises_each_image():
    """By hand: mean and deviation over all 3072 numbers of an image."""
    plain, own = build(models.ModelG, CIFAR), models.madry_wrn().eval()
    own.load_state_dict(plain.state_dict())
    x = torch.rand(2, *CIFAR) * torch.tensor([0.2, 1.0]).view(2, 1, 1, 1)
    flat = x.flatten(1)
    deviation = flat.std(1, correction=0, keepdim=True)
    by_hand = ((flat - flat.mean(1, keepdim=True)) / deviation).view_as(x)
    with torch.no_grad():
        torch.testing.assert_close(own(x), plain(by_hand))
        assert not torch.allclose(own(x), plain(x))


@pytest.mark.parametrize("factory", LARGE, ids=name)
def test_large_networks_refuse_one_class(factory):
    with pytest.raises(InputError, match="classes"):
        factory(classes=1)
