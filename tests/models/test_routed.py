"""Two models behind a detector: who answers, what attacks see, and what the judge says."""

import os

import pytest
import torch
from helpers.models import Linear, above, network
from helpers.oracles import refusal
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD, Grid
from hauberk.evaluation import Stage
from hauberk.models import PaddingDetector, Routed, load_model
from hauberk.threats import Linf, RotationTranslation
from hauberk.threats.warp import warp


class Brightness(nn.Module):
    """Fires on inputs whose mean is above a half."""

    def forward(self, x):
        return x.flatten(1).mean(1) - 0.5


def pair(width=0.0):
    one, two = network(16, 3, seed=1).double(), network(16, 3, seed=2).double()
    return Routed(Brightness(), one, two, width), one, two


def images(n=8):
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x * 0.4 + 0.5 * (torch.arange(n) % 2).view(-1, 1, 1, 1)


@pytest.mark.parametrize("width", [0.0, 0.3])
def test_the_detector_says_who_answers(width):
    model, one, two = pair(width)
    x = images().requires_grad_()
    for k, row in enumerate(x):
        own = (one if k % 2 else two)(row.unsqueeze(0))
        torch.testing.assert_close(model(x)[k : k + 1], own)
        with torch.no_grad():
            torch.testing.assert_close(model(x)[k : k + 1], own)


def test_attacks_see_the_gradient_of_the_model_that_answers():
    model, one, two = pair()
    x = images().requires_grad_()
    for chosen in range(3):
        (grad,) = torch.autograd.grad(model(x)[:, chosen].sum(), x)
        for k, row in enumerate(x):
            own = (one if k % 2 else two)(row.unsqueeze(0))[0, chosen]
            (wanted,) = torch.autograd.grad(own, x)
            torch.testing.assert_close(grad[k], wanted[k])


def test_with_a_width_they_see_that_of_the_mixture():
    """Differences of ``s a + (1 - s) b``, s the sigmoid of the score over the width, by hand."""
    model, one, two = pair(0.3)
    x = images().requires_grad_()
    (grad,) = torch.autograd.grad(model(x)[:, 1].sum(), x)

    def mixed(x):
        share = 1 / (1 + torch.exp(-(x.flatten(1).mean(1) - 0.5) / 0.3))
        return share * one(x)[:, 1] + (1 - share) * two(x)[:, 1]

    step = torch.zeros_like(x)
    step[:, 0, 1, 2] = 1e-6
    with torch.no_grad():
        slope = (mixed(x + step) - mixed(x - step)) / 2e-6
    torch.testing.assert_close(grad[:, 0, 1, 2], slope, rtol=1e-5, atol=1e-7)


def test_the_padding_detector_counts_black_pixels_on_the_edge():
    x = torch.full((4, 3, 5, 6), 0.5)
    x[1, :, :, 0] = 0.0  # five pixels of a side
    x[2, :, 1:4, 1:5] = 0.0  # inside only
    x[3, 0] = 0.0  # in one channel only
    assert PaddingDetector(pixels=3)(x).tolist() == [-3.5, 1.5, -3.5, -3.5]
    x[1] = 0.0
    assert PaddingDetector(pixels=3)(x)[1] == 18 - 3.5  # each of the edge's 18 once
    x[0, :, 0, 0] = 0.25 / 255
    assert PaddingDetector(pixels=0)(x)[0] == pytest.approx(0.75 - 0.5)
    assert PaddingDetector(pixels=0, level=0.5 / 255)(x)[0] == pytest.approx(0.5 - 0.5)
    x = torch.full((1, 1, 4, 4), 0.5 / 255, requires_grad=True)
    (grad,) = torch.autograd.grad(PaddingDetector()(x).sum(), x)
    assert float(grad[0, 0, 0, 0]) == pytest.approx(-255)
    assert grad[0, 0, 1, 1] == 0


@pytest.mark.parametrize("noise", [0, 4 / 255])
def test_padding_of_cifar_is_trivial_to_tell_from_noise(noise):
    """Tramèr & Boneh 2019: "trivial". Random warps against clean images and linf noise."""
    if not (folder := os.environ.get("HAUBERK_DATA_DIR")):
        pytest.skip("HAUBERK_DATA_DIR is not set")
    x = hb.data.load_data("cifar10:test", folder, limit=300).images
    rng = torch.Generator().manual_seed(0)
    noisy = (x + noise * torch.randint(0, 2, x.shape, generator=rng).mul(2).sub(1)).clamp(0, 1)
    by = (torch.rand(300, 3, generator=rng) * 2 - 1) * torch.tensor([30.0, 3, 3])
    detector = PaddingDetector()
    assert (detector(noisy) > 0).float().mean() < 0.02
    assert (detector(warp(x, by)) > 0).float().mean() > 0.97


def test_it_keeps_the_accuracy_of_each_model_under_its_own_threat():
    """Judged by an evaluation; under rt, by all warps of the grid, decided by hand."""
    rng = torch.Generator().manual_seed(3)
    light = torch.linspace(0.3, 0.9, 30).view(-1, 1, 1, 1)
    x = light * (1 - 0.1 * torch.rand(30, 1, 6, 6, generator=rng))
    for_rt = above(0.55, lambda x: x.flatten(1).amax(1))
    for_linf = above(0.55, lambda x: x.flatten(1).mean(1))
    model = Routed(PaddingDetector(pixels=2), for_rt, for_linf)
    with torch.no_grad():
        y = for_linf(x).argmax(1)
    linf, rt = Linf(0.05), RotationTranslation(30, 2)
    pgd = Stage(attack=PGD(steps=20, loss="margin"), threats=("linf",))
    suite = {"pgd": pgd, "grid": Stage(attack=Grid(counts=(5, 3, 3)), threats=("rt",))}
    found = hb.evaluate(model, x, y, hb.Union(linf, rt), suite=suite)
    alone = hb.evaluate(for_linf, x, y, linf, suite={"pgd": pgd})
    assert found.accuracy["linf:0.05"] == alone.accuracy["linf:0.05"]
    standing = torch.ones(30, dtype=torch.bool)
    for a in torch.linspace(-30, 30, 5):
        for dx in (-2.0, 0.0, 2.0):
            for dy in (-2.0, 0.0, 2.0):
                turned = warp(
                    x.double(), torch.tensor([[a, dx, dy]]).double().expand(30, 3)
                ).float()
                border = torch.ones(6, 6, dtype=torch.bool)
                border[1:-1, 1:-1] = False
                fires = (1 - turned[:, 0][:, border] * 255).clamp(0, 1).sum(1) > 2.5
                with torch.no_grad():
                    own = torch.where(fires, for_rt(turned).argmax(1), for_linf(turned).argmax(1))
                standing &= own == y
    assert found.accuracy["rt:30,2"] == pytest.approx(standing.float().mean().item())
    assert 0.5 < found.accuracy["rt:30,2"] < 1
    grid = {"grid": suite["grid"]}
    assert hb.evaluate(for_linf, x, y, rt, suite=grid).accuracy["rt:30,2"] < 0.5


def test_refusals():
    _, one, two = pair()
    assert "width" in refusal(Routed, Brightness(), one, two, -1.0)
    assert "level" in refusal(PaddingDetector, level=0.0)
    assert "pixels is -1" in refusal(PaddingDetector, pixels=-1)
    assert "same classes" in refusal(Routed(Brightness(), one, network(16, 4).double()), images())
    assert "scores (B,)" in refusal(Routed(Linear(16), one.float(), two.float()), images().float())


NETS = """
from hauberk.models import MLP

def make():
    return MLP((16, 3))

def two():
    return MLP((16, 2))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "sub").mkdir()
    return tmp_path


def test_a_file_names_its_three_models(folder):
    from safetensors.torch import save_file

    from hauberk.models import MLP

    one, two = MLP((16, 3)), MLP((16, 3))
    save_file(one.state_dict(), folder / "sub" / "one.safetensors")
    run = folder / "sub" / "run"
    run.mkdir()
    save_file(two.state_dict(), run / "best.safetensors")
    (run / "model.yaml").write_text("model: ../../nets.py:make\nweights: best.safetensors\n")
    (folder / "sub" / "routed.yaml").write_text(
        "detector: hauberk.models:PaddingDetector\n"
        "detected: {model: '../nets.py:make', weights: one.safetensors}\nother: run\nwidth: 1/2\n"
    )
    model = load_model("sub/routed.yaml")
    assert isinstance(model, Routed)
    assert not model.training
    assert model.width == 0.5
    x = torch.rand(4, 1, 4, 4)
    torch.testing.assert_close(model.detected(x), one.eval()(x))
    torch.testing.assert_close(model.other(x), two.eval()(x))
    assert isinstance(model.detector, PaddingDetector)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detector: a:b\nother: run\n", "give detector, detected and other"),
        ("detector: a:b\ndetected: c\nother: d\nthird: e\n", "give detector, detected and other"),
        ("detector: a:b\ndetected: c\nother: d\nwidth: wide\n", "width, a number"),
        ("detector: a:b\ndetected: [c]\nother: d\n", "is no model"),
    ],
)
def test_what_a_file_must_say(folder, text, message):
    (folder / "routed.yaml").write_text(text)
    assert message in refusal(load_model, "routed.yaml")
    assert "leave --weights out" in refusal(load_model, "routed.yaml", "w.npz")


def test_logits_that_are_no_numbers_do_not_reach_the_model_that_answers():
    class Masked(nn.Module):
        def forward(self, x):
            return torch.cat([x.flatten(1)[:, :2], torch.full((len(x), 1), -torch.inf)], 1)

    class Plain(nn.Module):
        def forward(self, x):
            return 2 * x.flatten(1)[:, :3]

    class Score(nn.Module):
        def forward(self, x):
            return x.flatten(1).sum(1) - 10

    x = torch.rand(2, 4, requires_grad=True)
    model = Routed(Score(), Masked(), Plain(), width=1.0)
    logits = model(x)
    assert torch.equal(logits, Plain()(x))
    (slope,) = torch.autograd.grad(logits.sum(), x)
    assert slope.isfinite().all()
