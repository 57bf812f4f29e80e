"""Rotations and translations."""

from pathlib import Path

import pytest
import torch
from helpers.data import draws, inputs
from helpers.models import TwoLayers, above
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import hauberk
from hauberk import InputError
from hauberk.attacks import APGD, PGD, Square
from hauberk.evaluation.core.judge import judge
from hauberk.threats import Box, RotationTranslation, threat
from hauberk.threats.warp import warp
from hauberk.victims.victim import Victim


def images(n=5, shape=(1, 8, 8), dtype=torch.float32, box=(0.0, 1.0)):
    return inputs(n, shape, seed=3, box=box, dtype=dtype, corners=1)


def smooth(features=64, classes=3, dtype=torch.float32):
    return TwoLayers(features, classes=classes, gain=3, dtype=dtype, drawn=torch.float32)


def by(x, *parameters):
    return torch.tensor([parameters] * len(x), dtype=x.dtype)


# The map itself.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (1, 2, 2)])
@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 2.0), (0.5, 1.5), (-3.0, -1.0)], ids=str)
def test_no_warp_leaves_every_bit(shape, dtype, box):
    x = images(shape=shape, dtype=dtype, box=box)
    region = RotationTranslation().at(x, Box(*box))
    assert region.start().shape == (5, 3)
    assert torch.equal(region.decode(region.start()), x)
    assert region.contains(x).all()
    assert region.contains(x, region.witness(region.start())).all()
    assert (region.distance(x) == 0).all()


@pytest.mark.parametrize("size", [2, 7, 8])
@pytest.mark.parametrize("turns", [-1, 1, 2, 3])
def test_quarter_turns(size, turns):
    x = images(shape=(2, size, size), dtype=torch.float64)
    expected = torch.rot90(x, turns, (2, 3))
    torch.testing.assert_close(warp(x, by(x, 90.0 * turns, 0, 0)), expected, atol=1e-12, rtol=0)
    region = RotationTranslation(degrees=270, pixels=0).at(x)
    u = by(x, turns / 3, 0, 0)
    torch.testing.assert_close(region.decode(u), expected, atol=1e-12, rtol=0)


def shifted(x, dx, dy, pad=0.0):
    out = torch.full_like(x, pad)
    height, width = x.shape[2:]
    for i in range(height):
        for j in range(width):
            if 0 <= i - dy < height and 0 <= j - dx < width:
                out[:, :, i, j] = x[:, :, i - dy, j - dx]
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (-2, 3), (3, -1)])
@pytest.mark.parametrize(
    ("box", "pad"), [((0.0, 1.0), 0.0), ((-1.0, 1.0), 0.0), ((0.5, 2.0), 0.5), ((-2.0, -1.0), -1.0)]
)
def test_whole_pixels_shift_and_the_value_next_to_zero_comes_in(dx, dy, box, pad, dtype):
    x = images(shape=(1, 6, 9), box=box, dtype=dtype)
    region = RotationTranslation(degrees=0, pixels=3).at(x, Box(*box))
    points = region.decode(by(x, 0, dx / 3, dy / 3))
    close = 1e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(points, shifted(x, dx, dy, pad), atol=close, rtol=0)


def test_bilinear_between_pixels_and_shifted_after_the_turn():
    x = images(dtype=torch.float64)
    right, down = shifted(x, 1, 0), shifted(x, 0, 1)
    both = shifted(x, 1, 1)
    expected = 0.75 * 0.5 * x + 0.25 * 0.5 * right + 0.75 * 0.5 * down + 0.25 * 0.5 * both
    torch.testing.assert_close(warp(x, by(x, 0, 0.25, 0.5)), expected, atol=1e-12, rtol=0)
    turned = shifted(torch.rot90(x, 1, (2, 3)), 2, 1)
    torch.testing.assert_close(warp(x, by(x, 90, 2, 1)), turned, atol=1e-12, rtol=0)


def test_every_image_has_its_own_warp():
    x = images(dtype=torch.float64)
    u = RotationTranslation().at(x).random(draws(5), 0)
    together = RotationTranslation().at(x).decode(u)
    for i in range(5):
        alone = RotationTranslation().at(x[i : i + 1]).decode(u[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-13, rtol=0)


@pytest.mark.parametrize("box", [(0.0, 1.0), (0.25, 2.0)], ids=str)
def test_the_gradient_is_that_of_finite_differences(box):
    x = images(n=3, shape=(2, 6, 7), dtype=torch.float64, box=box)
    region = RotationTranslation(20, 2).at(x, Box(*box))
    u = region.random(draws(3), 4).requires_grad_()
    assert torch.autograd.gradcheck(region.decode, (u,), eps=1e-7, atol=1e-5)


def test_the_gradient_lives_at_the_clean_image():
    x = images(dtype=torch.float64)
    region = RotationTranslation().at(x)
    u = region.start().requires_grad_()
    weights = torch.rand_like(x)
    (grad,) = torch.autograd.grad((region.decode(u) * weights).sum(), u)
    assert grad.isfinite().all()
    assert (grad != 0).all()


# The region.


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0, 200, allow_subnormal=False),
    st.floats(0, 20, allow_subnormal=False),
    st.floats(0, 1, allow_subnormal=False),
    st.sampled_from([torch.float32, torch.float64]),
    st.lists(st.floats(-3, 3, width=32), min_size=3, max_size=3),
)
@example(0.0, 2e-7, 1.175494351e-38, torch.float32, [0.0, 0.0, 0.0])
def test_final_points_are_in_and_the_judge_agrees(degrees, pixels, factor, dtype, u):
    x = images(n=2, shape=(1, 5, 6), dtype=dtype)
    region = RotationTranslation(degrees, pixels).at(x).scaled(torch.tensor([1.0, factor]))
    for moved in (by(x, *u), region.random(draws(2), 1), region.random_coarse(draws(2), 2)):
        near = region.project_(moved.clone())
        final = region.finalise(near)
        torch.testing.assert_close(final, near, atol=1e-6, rtol=1e-6)
        points, witness = region.decode(final), region.witness(final)
        assert region.contains(points, witness).all()
        assert (region.distance(points, witness) <= region.radius * (1 + 1e-12)).all()
        for i in range(2):  # in another batch, too
            rows = torch.tensor([i])
            assert region.take(rows).contains(points[rows], witness[rows]).all()


def test_what_is_no_warp_within_the_limits_is_refused():
    x = images()
    region = RotationTranslation(30, 3).at(x)
    u = region.random(draws(5), 0)
    points, witness = region.decode(u), region.witness(u)
    assert region.contains(points, witness).all()
    assert not region.contains(points).any()
    assert region.distance(points).isinf().all()
    for change in (1e-5, -1e-5):
        other = points.clone()
        other[:, 0, 3, 3] = (other[:, 0, 3, 3] + change).clamp(0.1, 0.9)
        assert not region.contains(other, witness).any()
    assert not region.contains(points + 2, witness).any()
    for parameter, end in enumerate((30.0, 3.0, 3.0)):
        limit = torch.zeros(5, 3)
        limit[:, parameter] = end
        beyond = limit.nextafter(torch.full_like(limit, torch.inf))
        beyond = torch.where(limit > 0, beyond, 0.0)
        for sign in (1, -1):
            assert region.contains(region._warp(sign * limit), sign * limit).all()
            assert not region.contains(region._warp(sign * beyond), sign * beyond).any()
        assert (region.distance(x, limit) == 1).all()
    for nonsense in (torch.full_like(witness, torch.nan), witness[:, :2], witness.flatten()):
        assert not region.contains(points, nonsense).any()


def test_limits_that_no_float32_holds_are_kept():
    x = images()
    for degrees, pixels in ((0.1, 0.3), (29.9, 1 / 3), (1e-3, 2.7)):
        region = RotationTranslation(degrees, pixels).at(x)
        u = region.finalise(torch.ones(5, 3))
        assert torch.equal(u, torch.ones(5, 3))
        assert region.contains(region.decode(u), region.witness(u)).all()


def test_steps_are_signs_and_random_points_fill_the_box():
    x = images(n=400)
    region = RotationTranslation().at(x)
    grad = torch.tensor([[3.0, -1e-9, 0.0]]).expand(400, 3)
    moved = region.ascent(region.start(), grad, torch.full((400,), 0.25))
    assert torch.equal(moved, torch.tensor([[0.25, -0.25, 0.0]]).expand(400, 3))
    points = torch.cat([region.random(draws(400), i) for i in range(5)])
    assert (points.abs() <= 1).all()
    assert (points.mean(0).abs() < 0.1).all()
    assert (points.abs().amax(0) > 0.95).all()
    corners = region.random_coarse(draws(400), 0)
    assert (corners.abs() == 1).all()
    assert len(corners.unique(dim=0)) == 8
    half = region.scaled(torch.full((400,), 0.5))
    assert torch.equal(half.project_(torch.full((400, 3), 7.0)), torch.full((400, 3), 0.5))


def test_the_grid_holds_its_ends_and_its_middle():
    region = RotationTranslation().at(images(n=2))
    assert region.count((31, 5, 5)) == 775
    points = region.candidate(torch.arange(775).expand(2, -1), (31, 5, 5))
    assert points.shape == (2, 775, 3)
    assert torch.equal(points[0], points[1])
    assert len(points[0].unique(dim=0)) == 775
    assert torch.equal(points[0, 0], -torch.ones(3))
    assert torch.equal(points[0, -1], torch.ones(3))
    assert torch.equal(points[0, 387], torch.zeros(3))
    assert points[0, :, 1].unique().tolist() == [-1, -0.5, 0, 0.5, 1]
    assert (region.candidate(torch.arange(4).expand(2, -1), (1, 2, 2))[:, :, 0] == 0).all()
    with pytest.raises(InputError, match="three counts"):
        region.count((31, 5))


# Notation and errors.


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("rt:30,3", (30, 3)),
        (" RT: 10 , 1 ", (10, 1)),
        ("rt:0.5,.25", (0.5, 0.25)),
        ("rt:0,0", (0, 0)),
    ],
)
def test_notation(text, limits):
    read = threat(text)
    assert isinstance(read, RotationTranslation)
    assert (read.degrees, read.pixels) == limits
    assert threat(str(read)) == read
    assert str(threat("rt:30,3 | linf:8/255")) == "rt:30,3 | linf:8/255"
    assert str(read.scaled(2)) == str(RotationTranslation(2 * limits[0], 2 * limits[1]))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_every_size_reads_back(degrees, pixels):
    read = threat(str(RotationTranslation(degrees, pixels)))
    assert isinstance(read, RotationTranslation)
    assert (read.degrees, read.pixels) == (degrees, pixels)


@pytest.mark.parametrize("text", ["rt:30", "rt:30,3,3", "rt"])
def test_wrong_notation_shows_the_right_one(text):
    with pytest.raises(InputError, match="rt:30,3"):
        threat(text)


@pytest.mark.parametrize(("text", "part"), [("rt:,3", ""), ("rt:a,b", "a"), ("rt:30,inf", "inf")])
def test_what_is_no_number_is_named(text, part):
    with pytest.raises(
        InputError, match=f"^{text}: '{part}' is no number: give e.g. 0.3 or 8/255$"
    ):
        threat(text)


def test_errors_say_what_to_do():
    for wrong in ((-1, 3), (30, float("nan")), (float("inf"), 3)):
        with pytest.raises(InputError, match="finite number, 0 or more"):
            RotationTranslation(*wrong)
    with pytest.raises(InputError, match="finite number, 0 or more"):
        threat("rt:-1,3")
    for shape in ((3, 8), (3, 8, 8), (3, 1, 1, 5), (2, 1, 2, 2, 2)):
        with pytest.raises(InputError, match=r"images \(C, H, W\)"):
            RotationTranslation().at(torch.zeros(shape))
    with pytest.raises(InputError, match="no projection"):
        RotationTranslation().project(images(), images())


# Attacks, judge, ledger.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "attack",
    [APGD(steps=8), APGD(steps=6, targets=2), PGD(steps=8, restarts=2), PGD(steps=5, momentum=0.5)],
    ids=["apgd", "targets", "pgd", "momentum"],
)
@pytest.mark.parametrize("stop", [True, False])
def test_attacks_stay_in_and_gain(attack, stop, dtype):
    model, x = smooth(dtype=dtype), images(n=9, dtype=dtype)
    y = model(x).argmax(1)
    rt = RotationTranslation(25, 2)
    out = attack(model, x, y, rt, stop=stop)
    verdict = judge(Victim(model), rt, x, out.points, y, Box(), out.witness)
    assert verdict.allowed.all()
    assert out.witness.shape == (9, 3)
    torch.testing.assert_close(verdict.distance, out.distance)
    assert (out.distance <= 1).all()
    assert torch.equal(verdict.broken, out.fooled)
    clean = judge(Victim(model), rt, x, x, y, Box())
    assert clean.allowed.all()
    if not stop:
        assert (verdict.margin < clean.margin).all()


def test_the_gradient_search_finds_the_maximum_of_a_known_model():
    """A model that weighs the columns ever more: the best shift is the largest to the right."""

    columns = above(20, lambda x: (x.sum((1, 2)) * torch.arange(x.shape[3])).sum(1))
    x = torch.zeros(2, 1, 9, 9)
    x[:, :, 3:6, 3:6] = 0.5
    out = APGD(steps=20)(columns, x, torch.zeros(2).long(), RotationTranslation(0, 2), stop=False)
    torch.testing.assert_close(out.witness[:, 1], torch.full((2,), 2.0))
    torch.testing.assert_close(out.loss, torch.full((2,), 0.5 * 9 * 6 - 20))


def test_size_zero_an_empty_batch_and_a_search_without_gradients():
    model, x = smooth(), images()
    y = model(x).argmax(1)
    still = APGD(steps=3)(model, x, y, RotationTranslation(0, 0), stop=False)
    assert torch.equal(still.points, x)
    assert (still.distance == 0).all()
    assert not still.fooled.any()
    empty = APGD(steps=3)(model, x[:0], y[:0], RotationTranslation())
    assert len(empty) == 0
    square = Square(steps=30)(model, x, y, RotationTranslation(30, 2), stop=False)
    verdict = judge(
        Victim(model), RotationTranslation(30, 2), x, square.points, y, Box(), square.witness
    )
    assert verdict.allowed.all()


def test_another_batch_size_finds_the_same_points():
    model, x = smooth(dtype=torch.float64), images(n=7, dtype=torch.float64)
    y = model(x).argmax(1)
    rt = RotationTranslation(25, 2)
    whole = PGD(steps=4)(model, x, y, rt, stop=False)
    parts = PGD(steps=4)(model, x, y, rt, stop=False, batch_size=2)
    torch.testing.assert_close(whole.witness, parts.witness)
    torch.testing.assert_close(whole.points, parts.points)


def test_evaluate_and_verify(tmp_path: Path):
    model, x = smooth(), images(n=12)
    y = model(x).argmax(1)
    out = tmp_path / "run"
    suite = {"pgd": PGD(steps=5), "apgd": APGD(steps=8)}
    threats = [threat("rt:10,1"), threat("linf:0.05")]
    result = hauberk.evaluate(model, x, y, threats, suite=suite, out=out)
    assert result is not None
    found = hauberk.verify(out, model)
    assert found.ok, str(found)
    assert found.points > 0


def test_verify_refutes_a_ledger_with_other_parameters(tmp_path: Path):
    model, x = smooth(), images(n=12)
    y = model(x).argmax(1)
    out = tmp_path / "run"
    hauberk.evaluate(model, x, y, threat("rt:10,1"), suite={"pgd": PGD(steps=5)}, out=out)
    changed = 0
    for file in out.rglob("*.safetensors"):
        tensors = load_file(file)
        if "witness" in tensors:
            changed += len(tensors["witness"])
            save_file({**tensors, "witness": tensors["witness"] * 0.9}, file)
    assert changed > 0
    found = hauberk.verify(out, model)
    assert not found.ok
    assert found.confirmed == 0
