"""A corruption as users name it: notation, random numbers, range, monotony, refusals."""

from itertools import pairwise

import pytest
import torch
from helpers.data import digits, scenes

from hauberk.data import load_data
from hauberk.data.corruptions import KINDS, SEVERITIES, Corruption, corruptions_in
from hauberk.errors import InputError

EVERY = [(kind, severity) for kind in KINDS for severity in SEVERITIES]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kind", "severity"), EVERY)
def test_results_are_levels_of_8_bits_in_the_box(kind, severity, channels):
    x = scenes(3, channels)
    before = x.clone()
    found = Corruption(kind, severity)(x)
    assert found.shape == x.shape
    assert found.dtype == torch.float32
    levels = (found.double() * 255).round()
    assert levels.min() >= 0
    assert levels.max() <= 255
    # Exactly what bytes become when a file of them is read.
    assert torch.equal(found, levels.to(torch.uint8).float() / 255)
    assert torch.equal(x, before)
    assert not torch.equal(found, x)


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_depends_on_its_neighbours(kind):
    x = scenes(7, side=16)
    corruption = Corruption(kind, 4)
    ids = torch.tensor([5, 3, 90, 1, 2, 8, 7])
    every = corruption(x, ids)
    assert torch.equal(every, corruption(x, ids))
    assert torch.equal(corruption(x[4:], ids[4:]), every[4:])
    order = torch.tensor([6, 2, 0])
    assert torch.equal(corruption(x[order], ids[order]), every[order])
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(corruption(x, ids), every)
    torch.random.set_rng_state(state)


@pytest.mark.parametrize("kind", KINDS)
def test_random_kinds_differ_by_id_and_seed(kind):
    x = scenes(1).expand(6, -1, -1, -1)
    corruption, drawn = Corruption(kind, 3), KINDS[kind].random
    one = corruption(x)
    assert torch.equal(one, one[:1].expand(6, -1, -1, -1)) is not drawn
    assert torch.equal(corruption(x, seed=1), one) is not drawn
    assert torch.equal(corruption(x, torch.arange(6)), one)


@pytest.mark.parametrize("kind", ["gaussian_noise", "motion_blur", "elastic_transform"])
def test_images_beyond_one_portion(kind):
    x = scenes(1, side=8).expand(503, -1, -1, -1)
    found = Corruption(kind, 2)(x)
    assert torch.equal(found[501:], Corruption(kind, 2)(x[501:], torch.tensor([501, 502])))


NOT_RISING = {
    # The published settings do not rise in this measure: the glass takes one neighbour at 1 to 3,
    # the weight of the image falls as that of the ice rises, the corners move less and less.
    "glass_blur": [(1, 2), (2, 3), (4, 5)],
    "frost": [(2, 3), (3, 4), (4, 5)],
    "elastic_transform": [(1, 2), (2, 3), (3, 4), (4, 5)],
    # 13 and 17 places of a Gaussian of 2 pixels are the same to 8 bits.
    "motion_blur": [(3, 4)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_change_rises_with_the_severity(kind):
    x = scenes(40)
    change = [float((Corruption(kind, s)(x) - x).square().mean()) for s in SEVERITIES]
    for low, high in pairwise(SEVERITIES):
        if (low, high) not in NOT_RISING.get(kind, []):
            assert change[high - 1] > 1.03 * change[low - 1], (low, high, change)


def test_behind_the_name_of_a_data_set():
    plain = load_data("digits:test", limit=5, offset=10)
    found = load_data("digits:test+fog:3+gaussian_noise:1", limit=5, offset=10)
    ids = torch.arange(10, 15)
    wanted = Corruption("gaussian_noise", 1)(Corruption("fog", 3)(plain.images, ids), ids)
    assert torch.equal(found.images, wanted)
    assert torch.equal(found.labels, plain.labels)
    assert torch.equal(found.ids, ids)
    assert (found.name, found.classes) == ("digits:test+fog:3+gaussian_noise:1", 10)
    # The window does not matter: images are corrupted by their position in the whole data set.
    whole = load_data("digits:test+gaussian_noise:1", limit=20)
    part = load_data("digits:test+gaussian_noise:1", limit=3, offset=17)
    assert torch.equal(whole.images[17:], part.images)


def test_the_kind_sets_streams_apart():
    x = torch.full((1, 3, 32, 32), 0.5)
    noise = [Corruption(k, 5)(x) - x for k in ("gaussian_noise", "shot_noise")]
    together = torch.corrcoef(torch.stack([n.flatten() for n in noise]))
    assert abs(together[0, 1]) < 0.1


def test_images_are_taken_to_8_bits_first():
    x = scenes(2)
    near = (x + 0.3 / 255).clamp(0, 1)
    for kind in KINDS:
        assert torch.equal(Corruption(kind, 1)(near), Corruption(kind, 1)(x)), kind


def test_embedded_digits_work():
    x, _ = digits(4)
    for kind, severity in EVERY:
        assert Corruption(kind, severity)(x).shape == x.shape


def test_images_that_are_not_square():
    x = scenes(2)[:, :, :20, :27]
    for kind, severity in EVERY:
        assert Corruption(kind, severity)(x).shape == x.shape


def test_no_images():
    assert Corruption("fog", 1)(torch.zeros(0, 3, 32, 32)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cifar10:test", ("cifar10:test", [])),
        ("cifar10:test+fog:3", ("cifar10:test", [("fog", 3)])),
        ("npz:a+b:c.npz", ("npz:a+b:c.npz", [])),
        ("npz:a+b/c.npz+snow:5", ("npz:a+b/c.npz", [("snow", 5)])),
        ("a.py:f+fog:1+frost:2", ("a.py:f", [("fog", 1), ("frost", 2)])),
    ],
)
def test_notation(text, found):
    base, corruptions = corruptions_in(text)
    assert (base, [(c.kind, c.severity) for c in corruptions]) == found
    assert "+".join([base, *map(str, corruptions)]) == text


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("digits:test+fogg:3", "did you mean fog?"),
        ("digits:test+fog:6", "write fog:1 to fog:5"),
        ("digits:test+fog:0", "write fog:1 to fog:5"),
        ("digits:test+fog:", "write fog:1 to fog:5"),
        ("nonsense+fog:1", "data 'nonsense' is unknown"),
    ],
)
def test_bad_notation_is_refused(spec, says, refused):
    assert says in refused(spec)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.rand(2, 4, 32, 32), "grey or RGB"),
        (torch.rand(2, 32, 32), "grey or RGB"),
        (torch.rand(2, 3, 7, 32), "at least 8 x 8"),
        (torch.rand(2, 3, 32, 32) + 0.5, "images in [0, 1]"),
        (torch.full((2, 3, 32, 32), -0.1), "images in [0, 1]"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "floating"),
    ],
)
def test_images_of_another_kind_are_refused(images, says):
    with pytest.raises(InputError) as caught:
        Corruption("fog", 1)(images)
    assert says in str(caught.value)
    assert "fog:1" in str(caught.value)


@pytest.mark.parametrize("severity", [0, 6, 2.0, True, "3"])
def test_severities_are_whole_numbers_from_1_to_5(severity):
    with pytest.raises(InputError, match="1 to 5"):
        Corruption("fog", severity)


def test_ids_are_one_an_image():
    with pytest.raises(InputError, match="2 images but ids"):
        Corruption("fog", 1)(torch.zeros(2, 1, 8, 8), torch.arange(3))
