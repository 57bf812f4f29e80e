"""Transforms as text, those of the user's own, and the check of both."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk import InputError
from hauberk.transforms import (
    JPEG,
    Brightness,
    Compose,
    CropResize,
    FlipH,
    FlipV,
    Gamma,
    Identity,
    Imported,
    RandomCropResize,
    RandomRotate,
    Rotate,
    Sometimes,
    StraightThrough,
    check,
    transform,
    wang2021,
)

X = torch.rand(3, 3, 6, 8, generator=torch.Generator().manual_seed(0))


WRITTEN = [
    ("ori", Identity()),
    ("flh", FlipH()),
    ("flv", FlipV()),
    ("bri:0.1", Brightness(0.1)),
    ("bri:-0.25,clip", Brightness(-0.25, clip=True)),
    ("bri:1e20", Brightness(1e20)),
    ("gam:1.3", Gamma(1.3)),
    ("crop:0.8", CropResize(0.8)),
    ("crop:0.6..1", RandomCropResize(0.6, 1.0)),
    ("rot:30", Rotate(30)),
    ("rot:-1e-05", Rotate(-1e-5)),
    ("rot:-10..10", RandomRotate(10)),
    ("rot:-5..20", RandomRotate(-5, 20)),
    ("jpeg:75", JPEG(75)),
    ("sometimes(flh,0.8)", Sometimes(FlipH(), 0.8)),
    ("flh+rot:30", Compose(FlipH(), Rotate(30))),
    ("sometimes(bri:0.1,clip,0.5)", Sometimes(Brightness(0.1, clip=True), 0.5)),
    (
        "sometimes(flh+sometimes(rot:30,0.5),1)+gam:2",
        Compose(Sometimes(Compose(FlipH(), Sometimes(Rotate(30), 0.5)), 1), Gamma(2)),
    ),
    ("through(jpeg:50+flh)", StraightThrough(Compose(JPEG(50), FlipH()))),
]


@pytest.mark.parametrize(("text", "expected"), WRITTEN)
def test_both_ways(text, expected):
    assert str(expected) == text
    assert transform(text) == expected
    assert hash(transform(text)) == hash(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" FLH ", FlipH()),
        ("bri:8/255", Brightness(8 / 255)),
        ("rot: -10 .. 10", RandomRotate(10)),
        ("flh + rot:90", Compose(FlipH(), Rotate(90))),
        ("Sometimes( flh , 1/2 )", Sometimes(FlipH(), 0.5)),
        ("crop:.5", CropResize(0.5)),
    ],
)
def test_other_spellings(text, expected):
    assert transform(text) == expected


numbers = st.floats(-1e300, 1e300)


shares = st.floats(0.001, 1)


simple = st.one_of(
    st.sampled_from(wang2021("deterministic")),
    st.builds(Brightness, numbers, st.booleans()),
    st.floats(1e-300, 1e300).map(Gamma),
    shares.map(CropResize),
    numbers.map(Rotate),
    st.integers(1, 100).map(JPEG),
    st.tuples(shares, shares).map(lambda ends: RandomCropResize(*sorted(ends))),
    st.tuples(numbers, numbers).map(lambda ends: RandomRotate(*sorted(ends))),
)


nested = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(Sometimes, inner, st.floats(0, 1)),
        st.builds(Compose, inner, inner),
        inner.map(StraightThrough),
    ),
    max_leaves=5,
)


@given(nested)
def test_every_notation_is_read_back(made):
    assert transform(str(made)) == made


@pytest.mark.parametrize(
    "text",
    [
        "", "flip", "flh:3", "flh:", "bri", "bri:", "bri:x", "bri:nan", "bri:inf", "bri:1e400",
        "bri:0.1,clap", "gam:1/0", "crop:0.6..", "rot:a..b", "flh+", "+flh", "flh++flv",
        "often(flh,0.8)", "sometimes(flh)", "sometimes(flh,x)", "sometimes(flh,0.8", "flh)",
        ")flh(", "through()", "no_such_module_here:f", "jpeg:x", "not a module:f", 3,
    ],
)  # fmt: skip
def test_errors_list_the_known_words(text):
    with pytest.raises(InputError, match=r"ori, flh, flv, bri:SHIFT|sometimes\(flh,0.8\)"):
        transform(text)


@pytest.mark.parametrize("text", ["crop:2", "gam:0", "jpeg:75.5", "jpeg:0", "rot:10..-10"])
def test_numbers_out_of_range_are_refused_by_the_transform(text):
    with pytest.raises(InputError, match="give"):
        transform(text)


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "own_transforms.py"
    path.write_text(
        "import torch\n"
        "from hauberk.transforms import Compose, FlipH, FlipV\n"
        "def soften(x):\n    return 0.5 * x + 0.25\n"
        "def steps(x):\n    return (x * 8).round() / 8\n"
        "class Noise(torch.nn.Module):\n"
        "    random = True\n"
        "    def forward(self, x, draws=None, draw=0):\n"
        "        return x if draws is None else x + draws.uniform(draw, x.shape[1:], x.dtype)\n"
        "noise = Noise()\n"
        "both = Compose(FlipH(), FlipV())\n"
        "number = 3\n"
    )
    return path


def test_ones_own_from_a_file(own_file):
    made = transform(f"{own_file}:soften")
    assert isinstance(made, Imported)
    assert torch.equal(made(X), 0.5 * X + 0.25)
    assert str(made) == f"{own_file}:soften"
    assert transform(str(made)) == made
    assert made != transform(f"{own_file}:steps")
    check(made, X)
    assert transform(f"{own_file}:both") == Compose(FlipH(), FlipV())
    noise = transform(f"{own_file}:noise")
    assert noise.random
    check(noise, X)


def test_ones_own_inside_others(own_file):
    text = f"flh+sometimes({own_file}:soften,0.8)"
    assert str(transform(text)) == text
    check(transform(text), X)
    with pytest.raises(InputError, match=r"steps.* not differentiable.*StraightThrough\(f\)"):
        check(transform(f"{own_file}:steps"), X)
    text = f"through({own_file}:steps)"
    assert str(transform(text)) == text
    assert transform(text) == transform(text)
    check(transform(text), X)


def test_ones_own_from_a_module():
    made = transform("torch:sin")
    assert torch.equal(made(X), X.sin())
    check(made, X)


def test_ones_own_that_is_not_there(own_file, tmp_path):
    with pytest.raises(InputError, match="has no 'soft'"):
        transform(f"{own_file}:soft")
    with pytest.raises(InputError, match="does not exist"):
        transform(f"{tmp_path}/nothing.py:f")
    with pytest.raises(InputError, match=r"number.* is no function"):
        transform(f"{own_file}:number")
    with pytest.raises(InputError, match="Noise is a class"):
        transform(f"{own_file}:Noise")
