"""What inputs must be, and what is said of those that lie elsewhere."""

import re
import warnings

import pytest
import torch

import hauberk as hb
from hauberk import HauberkWarning, InputError
from hauberk.engine.inputs import check, eight_bit_step, units
from hauberk.threats.box import Box

G = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (8, 3, 16, 16), generator=G).float() / 255
IMAGES[0, :, 0, :2] = torch.tensor([0.0, 1.0])
Y = torch.zeros(8, dtype=torch.long)
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
NORMALISED = (IMAGES - MEAN) / STD


@pytest.mark.parametrize(
    ("x", "box", "says"),
    [
        (NORMALISED, (0, 1), r"normalised, or --mean and --std\) and give images in \[0, 1\]"),
        (IMAGES * 255, (0, 1), "divide images of 0 to 255 by 255; or"),
        (IMAGES * 1.1 - 0.05, (0, 1), "clip them to the box"),
        (IMAGES * 2 - 1, (0, 1), "linf:8/255 would be 4/255 of what it is"),
        (IMAGES * 255, (-1, 1), "give the range that inputs can have"),
        (IMAGES[:, 0, 0] * 90 - 3, (0, 1), "give the range of the features, box="),
    ],
)
def test_outside_the_box_the_remedy_fits_what_the_inputs_look_like(x, box, says):
    with pytest.raises(InputError, match=says) as error:
        check(x, Y, Box.of(box))
    assert "\n" not in str(error.value)
    if says.startswith("normalised"):  # where eps would be in units of std
        assert "pass box=" not in str(error.value)


def test_what_rounding_put_outside_is_clipped():
    x, _ = check(IMAGES * 1.0000002, Y, Box())
    assert float(x.max()) == 1
    groups, _ = check(IMAGES.view(4, 2, 3, 16, 16) * 1.0000002, Y.view(4, 2), Box(), grouped=True)
    assert groups.shape == (4, 2, 3, 16, 16)
    assert float(groups.max()) == 1


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((0, 1), r"box \[0, 1\] \(uint8 / 255\)"),
        ((0, 255), r"box \[0, 255\] \(uint8.float\(\)\)"),
        ((-1, 1), r"box \[-1, 1\] \(lo \+ \(hi - lo\) \* uint8 / 255"),
        ((-torch.inf, torch.inf), r"box \[-inf, inf\]$"),
    ],
)
def test_bytes_are_refused_with_the_arithmetic_of_the_box(box, says):
    with pytest.raises(InputError, match=says):
        check((IMAGES * 255).byte(), Y, Box.of(box))


def test_the_step_of_eight_bits_gives_the_std():
    assert eight_bit_step(IMAGES) == pytest.approx(1 / 255)
    assert eight_bit_step(NORMALISED) == pytest.approx(float((1 / 255 / STD).mean()), rel=1e-5)
    assert eight_bit_step((IMAGES[:, :1] - 0.1307) / 0.3081) == pytest.approx(1 / 255 / 0.3081)
    flat = ((IMAGES - 0.5) / 0.25).flatten(1)
    assert eight_bit_step(flat) == pytest.approx(4 / 255)
    noise = torch.randn(8, 3, 16, 16, generator=G)
    assert eight_bit_step(noise) is None
    assert eight_bit_step((IMAGES * 16).round() / 16) is None  # another number of levels


@pytest.mark.parametrize(
    ("x", "box", "says"),
    [
        (NORMALISED, (-3, 3), "std of 0.226.*linf:8/255 is 1.8/255 of an image.*4.43 times"),
        (NORMALISED, ((0 - MEAN) / STD, (1 - MEAN) / STD), "linf:8/255 is 1.8/255"),
        (IMAGES * 2 - 1, (-1, 1), "std of 0.5.*linf:8/255 is 4/255"),
        (((IMAGES - 0.5) / 0.25).flatten(1), (-2, 2), "linf:8/255 is 2/255"),
        (NORMALISED + 1e-3 * torch.rand(16), (-9, 9), r"lie in \[-2.12, 2.64\]\): .*is 1.7/255"),
        (IMAGES * 1.2 - 0.1, (-9, 9), "std of 0.833"),
        (IMAGES + 1e-3 * torch.rand(16) - 0.1, (-9, 9), None),
        (IMAGES, (-9, 9), None),
        (IMAGES, (0, 1), None),
        (IMAGES - 0.5, (-0.5, 0.5), None),  # shifted alone: sizes are what they were
        (IMAGES * 255, (0, 255), None),
        (torch.randn(8, 30, generator=G), (-9, 9), None),  # a table has units of its own
        (torch.rand(8, 1, 400, generator=G) * 2 - 1, (-1, 1), None),  # as has a sound
    ],
)
def test_images_that_look_normalised_are_warned_of_with_a_figure(x, box, says):
    found = units(x, Box.of(box))
    if says is None:
        assert found is None
    else:
        assert re.search(says, found or ""), found


def test_runs_and_attacks_warn_once_and_the_manifest_holds_it():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
    with pytest.warns(HauberkWarning, match="look normalised") as seen:
        found = hb.evaluate(net, NORMALISED, Y, hb.Linf(0.1), suite="fast", box=(-3, 3))
    assert sum("look normalised" in str(w.message) for w in seen) == 1
    assert any("look normalised" in text for text in found.summary["warnings"])
    with pytest.warns(HauberkWarning, match="look normalised"):
        hb.attacks.FGSM()(net, NORMALISED, Y, hb.Linf(0.1), box=(-3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hb.attacks.FGSM()(net, IMAGES, Y, hb.Linf(0.1))
