"""Pictures decoded and made alike."""

import io

import numpy as np
import pytest

from hauberk.data.pictures import is_picture, middle, read_pictures
from hauberk.data.reading import PLAIN, Reading
from hauberk.errors import InputError

pillow = pytest.importorskip("PIL.Image", reason="needs Pillow")
RED = (200, 10, 20)


def one(image, reading=PLAIN):
    return read_pictures([("a.png", image)], reading, "mine")[0]


def test_modes():
    assert one(pillow.new("RGB", (3, 2), RED))[:, 0, 0].tolist() == list(RED)
    assert one(pillow.new("RGB", (3, 2), RED)).shape == (3, 2, 3)
    assert one(pillow.new("L", (3, 2), 7)).tolist() == [[[7] * 3] * 2]
    assert one(pillow.new("1", (3, 2), 1)).max() == 255
    assert one(pillow.new("RGB", (3, 2), RED).convert("P", palette=1)).shape == (3, 2, 3)
    assert one(pillow.new("RGBA", (3, 2), (*RED, 255)))[:, 0, 0].tolist() == list(RED)
    assert one(pillow.new("LA", (3, 2), (9, 255))).shape == (1, 2, 3)
    assert one(pillow.new("L", (3, 2), 7), Reading(rgb=True))[:, 1, 1].tolist() == [7] * 3
    assert one(pillow.new("CMYK", (3, 2)), Reading(rgb=True)).shape == (3, 2, 3)
    grey = round(0.299 * 200 + 0.587 * 10 + 0.114 * 20)
    assert one(pillow.new("RGB", (3, 2), RED), Reading(grey=True))[0, 0, 0] == grey


@pytest.mark.parametrize(
    ("mode", "value", "says"),
    [
        ("RGBA", (1, 1, 1, 128), "transparent pixels.*--rgb"),
        ("LA", (1, 128), "transparent"),
        ("CMYK", (1, 1, 1, 1), "mode CMYK: say --rgb"),
        ("I;16", 3, "more than 8 bits"),
        ("F", 3.0, "more than 8 bits"),
    ],
)
def test_modes_that_need_a_word(mode, value, says):
    with pytest.raises(InputError, match=says):
        one(pillow.new(mode, (3, 2), value))


def test_held_upright():
    image = pillow.new("L", (3, 2), 0)
    image.putpixel((0, 0), 255)
    exif = pillow.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    file = io.BytesIO()
    image.save(file, "png", exif=exif)
    found = one(file.getvalue())
    assert found.shape == (1, 3, 2)
    assert found[0, 0].tolist() == [0, 255]


def test_resized_and_cropped_as_torchvision_does():
    values = np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8)
    image = pillow.fromarray(values)
    found = one(image, Reading(resize=10, crop=8))
    half = np.array(image.resize((16, 10), pillow.Resampling.BILINEAR))  # int(10 * 33 / 20)
    assert np.array_equal(found, half[1:9, 4:12].transpose(2, 0, 1))
    bicubic = np.array(image.resize((5, 7), pillow.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(one(image, Reading(resize="7x5,bicubic")), bicubic)
    assert middle((9, 9), (4, 4), "a") == (2, 2, 6, 6)  # round(2.5) is 2
    with pytest.raises(InputError, match="fewer than --crop 40x40"):
        one(image, Reading(crop=40))


def test_pictures_must_be_alike():
    sizes = [("a", pillow.new("L", (3, 2))), ("b", pillow.new("L", (3, 3)))]
    with pytest.raises(InputError, match=r"b has shape \(3, 3\), a \(2, 3\): .*--resize"):
        read_pictures(sizes, PLAIN, "mine")
    colours = [("a", pillow.new("L", (3, 2))), ("b", pillow.new("RGB", (3, 2)))]
    with pytest.raises(InputError, match="--rgb or --grey"):
        read_pictures(colours, PLAIN, "mine")
    with pytest.raises(InputError, match="c is no readable image"):
        read_pictures([("c", b"no")], PLAIN, "mine")


def test_what_is_a_picture():
    assert is_picture(pillow.new("L", (1, 1)))
    assert not is_picture(np.zeros(2))
