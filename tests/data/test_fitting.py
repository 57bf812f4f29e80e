"""Layout, colour and size of arrays."""

import numpy as np
import pytest
import torch

from hauberk.data.dataset import to_images
from hauberk.data.fitting import fitted, laid_out
from hauberk.data.pictures import read_pictures
from hauberk.data.reading import PLAIN, Reading
from hauberk.errors import InputError


def bytes_of(*shape):
    return torch.arange(int(np.prod(shape))).remainder(256).to(torch.uint8).reshape(shape)


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (5, 4, 6, 3), (5, 3, 6, 4), (5, 1, 9, 1)])
def test_a_shape_that_reads_both_ways_must_be_said(shape):
    images = bytes_of(*shape)
    with pytest.raises(InputError, match="--layout nchw or --layout nhwc"):
        laid_out(images, PLAIN, "mine")
    assert torch.equal(laid_out(images, Reading(layout="nchw"), "mine"), images)
    last = laid_out(images, Reading(layout="nhwc"), "mine")
    assert torch.equal(last, images.permute(0, 3, 1, 2))


def test_floats_are_laid_out_only_if_asked():
    images = torch.rand(2, 5, 5, 3)
    assert to_images(images, "mine").shape == (2, 5, 5, 3)
    assert torch.equal(
        to_images(images, "mine", reading=Reading(layout="nhwc")), images.permute(0, 3, 1, 2)
    )


def test_flat_examples():
    flat = bytes_of(3, 12)
    found = to_images(flat, "mine", reading=Reading(layout="1x3x4"))
    assert torch.equal(found, flat.reshape(3, 1, 3, 4) / 255)
    assert to_images(flat, "mine", reading=Reading(layout="3x4")).shape == (3, 1, 3, 4)
    with pytest.raises(InputError, match="--layout 5x5 does not fit"):
        to_images(flat, "mine", reading=Reading(layout="5x5"))


def test_colour_of_arrays():
    rgb = torch.tensor([200, 10, 20], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert fitted(rgb, Reading(grey=True), "mine").flatten().tolist() == [68]
    floats = fitted(rgb / 255, Reading(grey=True), "mine")
    assert float(floats) == pytest.approx((0.299 * 200 + 0.587 * 10 + 0.114 * 20) / 255)
    assert fitted(bytes_of(1, 1, 2, 2), Reading(rgb=True), "mine").shape == (1, 3, 2, 2)
    assert fitted(bytes_of(1, 4, 2, 2), Reading(rgb=True), "mine").shape == (1, 3, 2, 2)
    with pytest.raises(InputError, match="2 channels"):
        fitted(torch.zeros(1, 2, 4, 4), Reading(rgb=True), "mine")
    with pytest.raises(InputError, match="no images"):
        fitted(torch.zeros(1, 9), Reading(resize=4), "mine")


def test_arrays_are_resized_as_pictures_are():
    pillow = pytest.importorskip("PIL.Image", reason="needs Pillow")
    values = np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8)
    how = Reading(resize="10,bicubic", crop=8)
    pictures = read_pictures([("a", pillow.fromarray(values))], how, "mine")
    arrays = to_images(values[None], "mine", reading=how) * 255
    assert arrays.shape == (1, 3, 8, 8)
    assert (arrays - torch.from_numpy(np.array(pictures))).abs().max() <= 1.01
    edge = (np.arange(33) > 15) * np.ones((1, 3, 20, 33))
    floats = to_images(edge, "mine", reading=how)
    assert float(floats.min()) >= 0  # bicubic values stay in the range of the image
    assert float(floats.max()) <= 1
