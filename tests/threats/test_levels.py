"""8-bit images in whole steps: `linf:k/255` is the fraction, whatever rounding makes of it."""

import numpy as np
import pytest
import torch

import hauberk as hb
from hauberk.threats.box import Box
from hauberk.threats.levels import in_steps

N = torch.arange(256)
ALL = torch.cartesian_prod(N, N)  # every clean level with every other

BOXES = {
    "unit": ((0.0, 1.0), "8/255", lambda n: n.float() / 255),
    "unit, by a product": ((0.0, 1.0), "8/255", lambda n: n.float() * (1 / 255)),
    "unit, float64": ((0.0, 1.0), "8/255", lambda n: n.double() / 255),
    "bytes": ((0.0, 255.0), "8", lambda n: n.float()),
    "signed": ((-1.0, 1.0), "16/255", lambda n: n.float() / 255 * 2 - 1),
    "signed, otherwise": ((-1.0, 1.0), "16/255", lambda n: (n.float() / 255 - 0.5) / 0.5),
    "signed, float64": ((-1.0, 1.0), "16/255", lambda n: n.double() / 127.5 - 1),
    "half": ((0.0, 0.5), "4/255", lambda n: n.float() / 510),
}


@pytest.mark.parametrize("name", BOXES)
def test_every_pair_of_levels_is_inside_exactly_if_its_steps_are(name):
    (lo, hi), eps, make = BOXES[name]
    x0, x = make(ALL[:, :1]), make(ALL[:, 1:])
    threat, box = hb.threat(f"linf:{eps}"), Box(lo, hi)
    inside = threat.contains(x0, x, box=box)
    assert torch.equal(inside, (ALL[:, 0] - ALL[:, 1]).abs() <= 8)
    far = threat.at(x0, box).distance(x)
    assert torch.equal(inside, far <= threat.eps)


@pytest.mark.parametrize("k", range(1, 256))
def test_a_size_in_float32_is_the_fraction_too(k):
    eps = float(torch.tensor(k / 255))
    x0, x = (N[: 256 - k].float() / 255)[:, None], (N[k:].float() / 255)[:, None]
    assert hb.Linf(eps).contains(x0, x).all()
    if k < 255:
        assert not hb.Linf(eps).contains(x0[:-1], x[1:]).any()


def test_plain_differences_would_refuse_some():
    """The reason for all this: the same pairs by float64 differences of rounded numbers."""
    x0, x = N[:-8].float() / 255, N[8:].float() / 255
    plain = (x.double() - x0.double()) <= 8 / 255
    assert 0 < int(plain.sum()) < len(plain)


@pytest.mark.parametrize("beyond", [4e-7, 1e-6, 1e-4, 1 / 255])
def test_no_more_than_rounding_counts(beyond):
    x0 = (N[:240].float() / 255)[:, None]
    x = ((N[8:248] / 255).double() + beyond).float()[:, None]
    assert not hb.Linf(8 / 255).contains(x0, x).any()
    # A clean value that is no level has no steps.
    off = x0.double() + 1e-4
    assert not hb.Linf(8 / 255).contains(off, off + 8 / 255 + 1e-12).any()


def test_other_sizes_other_numbers_and_boxes_without_ends_are_measured_plainly():
    x0, x = torch.rand(2, 50, 7, generator=torch.Generator().manual_seed(0)).unbind()
    for box in (Box(), Box(-torch.inf, torch.inf)):
        far = hb.Linf(0.3).at(x0, box).distance(x)
        assert torch.equal(far, (x.double() - x0.double()).abs().amax(1))
    edges = torch.tensor(-torch.inf), torch.tensor(torch.inf)
    levels = N.float()[None] / 255
    assert (in_steps(levels[:, 8:], levels[:, :-8], edges) == torch.inf).all()


def test_boxes_of_channels_have_steps_of_their_own():
    lo, hi = torch.tensor([0.0, -1.0]), torch.tensor([1.0, 3.0])
    unit = (N.float() / 255).view(1, 1, 16, 16).expand(1, 2, 16, 16)
    x0 = Box(lo, hi).spread(unit)
    edges = Box(lo, hi).bounds(x0)
    x = Box(lo, hi).spread(((N + 5).clamp(max=255).float() / 255).view(1, 1, 16, 16).expand_as(x0))
    steps = ((N + 5).clamp(max=255) - N).view(16, 16).double()
    found = in_steps(x, x0, edges)[0]
    assert torch.equal(found[0], steps / 255)
    assert torch.equal(found[1], steps * 4 / 255)


def test_masks_and_sizes_of_features_count_in_steps_too(tmp_path):
    x0, x = (N[:-8].float() / 255)[:, None].expand(-1, 2), (N[8:].float() / 255)[:, None]
    x = torch.cat((x, x0[:, :1]), 1)
    np.save(tmp_path / "mask.npy", np.array([True, False]))
    np.save(tmp_path / "eps.npy", np.array([8 / 255, 1 / 255]))
    for text in (f"linf:8/255,mask={tmp_path}/mask.npy", f"linf:eps={tmp_path}/eps.npy"):
        threat = hb.threat(text)
        assert threat.contains(x0, x).all()
        assert not threat.contains(x0, x + torch.tensor([1e-6, 0.0])).any()
        assert not threat.contains(x0, x.flip(1)).any()


def test_the_judge_takes_a_rounded_image_and_attacks_stay_strictly_inside():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    x0 = torch.randint(0, 256, (30, 3, 4, 4)).float() / 255
    y = net(x0).argmax(1)
    found = hb.attacks.PGD(steps=10)(net, x0, y, hb.Linf(8 / 255))
    plain = (found.points.double() - x0.double()).abs().flatten(1).amax(1)
    assert (plain <= 8 / 255).all()
    as_bytes = (found.points * 255).round() / 255
    assert (((as_bytes - x0) * 255).round().abs() <= 8).all()
    assert hb.Linf(8 / 255).contains(x0, as_bytes).all()
