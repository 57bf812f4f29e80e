"""Planes and segments against the model evaluated by hand at their points."""

import math

import numpy as np
import pytest
import torch
from helpers.models import Linear, Of
from torch import nn

from hauberk import L0, L1, L2, Linf, RotationTranslation
from hauberk.analysis.landscape import default_attacks, landscape, plane, segment
from hauberk.attacks import PGD
from hauberk.engine.method import Kind
from hauberk.errors import InputError


class Curved(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3)).double()

    def forward(self, x):
        return self.net(4 * x)


def case(n=4):
    rng = torch.Generator().manual_seed(0)
    model = Curved()
    x = torch.rand(n, 6, generator=rng, dtype=torch.float64) * 0.4 + 0.3
    return model, x, model(x).argmax(1).detach(), rng


def ce(model, point, label):
    """Cross-entropy by hand."""
    z = model(torch.as_tensor(point).unsqueeze(0)).detach().numpy()[0]
    return math.log(np.exp(z - z[label]).sum())


@pytest.mark.parametrize("clip", [(0.25, 0.75), None])
def test_a_plane_is_the_loss_at_its_points(clip):
    model, x, y, rng = case()
    r, s = torch.randn(2, 6, generator=rng, dtype=torch.float64) * 0.2
    found = plane(model, x[:1], y[:1], x[:1] + r, x[:1] + s, points=5, span=(-0.5, 1.5), clip=clip)
    assert found.a.tolist() == found.b.tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]
    assert found.clipped is (clip is not None)
    outside = 0
    for i, a in enumerate(found.a.tolist()):
        for j, b in enumerate(found.b.tolist()):
            point = x[0].numpy() + a * r.numpy() + b * s.numpy()
            if clip:
                outside += int((np.clip(point, *clip) != point).any())
                point = np.clip(point, *clip)
            assert float(found.loss["ce"][i, j]) == pytest.approx(ce(model, point, int(y[0])))
            z = model(torch.as_tensor(point).unsqueeze(0)).detach()[0]
            others = max(float(z[k]) for k in range(3) if k != int(y[0]))
            assert float(found.loss["margin"][i, j]) == pytest.approx(others - float(z[y[0]]))
            assert int(found.predicted[i, j]) == int(z.argmax())
    assert not clip or 0 < outside < 25
    assert found.cosine == pytest.approx(float((r * s).sum() / r.norm() / s.norm()))


def test_its_ends_are_the_example_and_the_two_points():
    model, x, y, _ = case()
    first, second = x[1:2] + 0.02, x[2:3]
    found = plane(model, x[:1], y[:1], first, second, points=3)
    for name, at in (("ce", found.loss["ce"]), ("margin", found.loss["margin"])):
        corners = [float(at[0, 0]), float(at[-1, 0]), float(at[0, -1])]
        assert found.ends[name] == pytest.approx(corners)
    wanted = [ce(model, p[0], int(y[0])) for p in (x[:1], first, second)]
    assert found.ends["ce"] == pytest.approx(wanted)
    assert len(set(found.ends["ce"])) == 3
    wrong = [int(model(p).argmax()) != int(y[0]) for p in (x[:1], first, second)]
    assert found.fooled == wrong
    assert found.to_dict()["loss"]["ce"] == found.loss["ce"].tolist()


def test_a_step_is_told_from_a_slope():
    """Along the first feature the logit is a step, along the second a slope."""
    model = Of(lambda x: torch.stack([0 * x[:, 0], (x[:, 0] > 0.55) + x[:, 1]], 1))
    x = torch.zeros(1, 2)
    first, second = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    found = plane(model, x, torch.tensor([0]), first, second, points=11)
    jump = found.jump("margin")
    assert jump["gradient"] == pytest.approx(0.1)
    assert jump["free"] == pytest.approx(1.0)
    assert found.to_dict()["jump"]["margin"]["free"] == pytest.approx(1.0)


def test_bad_planes():
    model, x, y, _ = case()
    for words, message in (
        ({"points": 1}, "1 points from 0.0 to 1.0"),
        ({"span": (1.0, 0.0)}, "a span that rises"),
        ({"span": (0.0, math.inf)}, "a span that rises"),
    ):
        with pytest.raises(InputError, match=message):
            plane(model, x[:1], y[:1], x[:1], x[:1], **words)
    with pytest.raises(InputError, match="through one example"):
        plane(model, x, y, x, x)


class Cliff(nn.Module):
    """Class 1 where the first feature exceeds 0.8: no gradient leads there; else by the second."""

    def forward(self, x):
        z = 10.0 * (x[:, 0] > 0.8) + x[:, 1] - 0.5
        return torch.stack([torch.zeros_like(z), z], 1)


def test_the_example_is_one_that_only_the_free_attack_breaks():
    x = torch.tensor([[0.1, 0.6], [0.1, 0.45], [0.5, 0.05], [0.1, 0.05]])
    y = torch.zeros(4, dtype=torch.int64)

    def look(rows):
        attack = PGD(steps=20, random_start=False)
        return landscape(Cliff(), x[rows], y[rows], Linf(0.4), attack, points=5)

    found = look([0, 1, 2, 3])
    # 0 is wrong, 1 is broken by both, 2 by random search alone, 3 by none.
    assert found.example == 2
    assert found.fooled == [False, False, True]
    assert found.threat == "linf:0.4"
    assert look([0, 1, 3]).example == 1
    assert look([0, 3]).example == 1
    assert look([0]).example == 0


def test_the_gradient_point_is_the_first_axis():
    model, x, y, _ = case()
    attack = PGD(steps=5, random_start=False)
    found = landscape(model, x[:1], y[:1], Linf(0.05), attack, points=3)
    point = attack(model, x[:1], y[:1], Linf(0.05), stop=False).points
    assert float(found.loss["ce"][-1, 0]) == pytest.approx(ce(model, point[0], int(y[0])), rel=1e-6)
    assert landscape(model, x[:1], y[:1], Linf(0.05), points=3, clip=False).clipped is False


@pytest.mark.parametrize(
    ("threat", "names"),
    [
        (L1(10), ["SparseL1Descent", "Pointwise"]),
        (L2(2), ["PGD", "Boundary"]),
        (Linf(0.3), ["PGD", "Square"]),
        (L0(5), ["PGD", "Pointwise"]),
        (RotationTranslation(), ["PGD", "RandomSearch"]),
    ],
)
def test_pairs_of_attacks(threat, names):
    gradient, free = default_attacks(threat)
    assert [type(gradient).__name__, type(free).__name__] == names
    assert gradient.kind == Kind.GRADIENT
    assert free.kind == Kind.FREE


def test_a_segment_is_the_margin_on_the_way():
    model, x, y, rng = case(12)
    ends = x + 0.5 * torch.randn(12, 6, generator=rng, dtype=torch.float64)
    y[:2] = (y[:2] + 1) % 3  # two wrong ones
    found = segment(model, x, y, ends, points=5, threat="l2:1")
    right, failed = model(x).argmax(1) == y, model(ends).argmax(1) == y
    rows = [i for i in range(12) if right[i] and failed[i]]
    assert found.rows.tolist() == rows
    assert 0 < len(rows) < int(right.sum()) < 12
    assert (found.given, found.correct, found.threat) == (12, 10, "l2:1")
    assert found.position.tolist() == [0, 0.25, 0.5, 0.75, 1]
    for place, i in enumerate(rows):
        for k, t in enumerate((0, 0.25, 0.5, 0.75, 1)):
            z = model(x[i : i + 1] * (1 - t) + ends[i : i + 1] * t).detach()[0]
            others = max(float(z[j]) for j in range(3) if j != int(y[i]))
            wanted = others - float(z[y[i]])
            assert float(found.margin[place, k]) == pytest.approx(wanted, abs=1e-12)
    assert bool((found.margin[:, [0, -1]] < 0).all())


def test_the_published_number_of_points():
    model, x, y, _ = case()
    assert segment(model, x, y, x).margin.shape == (4, 11)


def test_flat_tilted_and_bent():
    model, x, y, _ = case()
    flat = segment(model, x, y, x)
    assert flat.measures() == {"rise": 0.0, "share": pytest.approx(0.0), "bend": 0.0}
    # A linear model is never bent; its margin rises evenly.
    linear = Linear(6, 2, dtype=torch.float64)
    y = linear(x).argmax(1)
    z = linear(x)
    gap = (z.gather(1, y[:, None]) - z.gather(1, 1 - y[:, None])).squeeze(1)
    slope = linear.slope(y)
    ends = x + 0.25 * (gap / slope.square().sum(1)).unsqueeze(1) * slope
    tilted = segment(linear, x, y, ends.detach())
    assert torch.allclose(tilted.share, torch.full((4,), 0.25, dtype=torch.float64))
    assert torch.allclose(tilted.rise, 0.25 * gap.detach())
    assert float(tilted.bend.max()) < 1e-12
    assert tilted.measures()["share"] == pytest.approx(0.25)
    # Of a square the chord is farthest in the middle: t - t^2 = 1/4.
    bent = Of(lambda x: torch.stack([0 * x[:, 0], x[:, 0].square() - 2], 1))
    found = segment(bent, torch.zeros(1, 2), torch.tensor([0]), torch.ones(1, 2))
    assert float(found.bend) == pytest.approx(0.25)
    assert float(found.rise) == pytest.approx(1.0)
    assert float(found.share) == pytest.approx(0.5)


def test_no_failed_points_no_measures():
    model, x, y, _ = case()
    found = segment(model, x, (y + 1) % 3, x)
    assert found.margin.shape == (0, 11)
    assert found.correct == 0
    assert all(math.isnan(value) for value in found.measures().values())
    assert found.to_dict()["rise"] is None
    assert segment(model, x[:0], y[:0], x[:0]).given == 0
    with pytest.raises(InputError, match="1 points"):
        segment(model, x, y, x, points=1)
