"""How arrays become images and labels."""

import numpy as np
import pytest
import torch

from hauberk.data import load_data
from hauberk.errors import InputError

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ((4, 9, 9), (4, 1, 9, 9)),
        ((4, 9, 9, 3), (4, 3, 9, 9)),
        ((4, 9, 9, 1), (4, 1, 9, 9)),
        ((4, 9, 9, 4), (4, 4, 9, 9)),
        ((4, 3, 9, 9), (4, 3, 9, 9)),
        ((4, 12), (4, 12)),
    ],
)
def test_uint8_layouts(tmp_path, given, shape):
    images = pixels(*given)
    np.savez(tmp_path / "x.npz", images=images, labels=np.zeros(4, np.int16))
    data = load_data("npz:x.npz")
    assert data.images.shape == shape
    assert data.images.is_contiguous()
    expected = torch.from_numpy(images).float() / 255
    if len(given) == 4 and given[-1] < 9:
        expected = expected.permute(0, 3, 1, 2)
    assert torch.equal(data.images, expected.reshape(shape))
    assert data.classes is None


@pytest.mark.parametrize(
    ("box", "lo", "hi"),
    [((0, 255), 0, 255), ((-1, 1), -1, 1), (([0, -1, -2], "1,2,3"), [0, -1, -2], [1, 2, 3])],
)
@pytest.mark.parametrize("shape", [(4, 9, 9, 3), (4, 3, 9, 9), (4, 3)])
def test_bytes_are_spread_over_the_box_and_floats_are_not(tmp_path, box, lo, hi, shape):
    images = pixels(*shape)
    np.savez(tmp_path / "x.npz", images=images, labels=np.zeros(4, np.int64))
    found = load_data("npz:x.npz", box=box).images
    last = images if shape[-1] == 3 else np.moveaxis(images, 1, -1)
    want = np.array(lo) + last / 255 * (np.array(hi) - np.array(lo))
    want = np.moveaxis(want, -1, 1) if len(shape) == 4 else want
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(want).float())
    floats = RNG.normal(size=(4, 3)).astype(np.float32)
    np.savez(tmp_path / "y.npz", images=floats, labels=np.zeros(4, np.int64))
    assert torch.equal(load_data("npz:y.npz", box=box).images, torch.from_numpy(floats))


def test_bytes_have_no_place_in_a_box_without_ends(tmp_path):
    np.savez(tmp_path / "x.npz", images=pixels(4, 3), labels=np.zeros(4, np.int64))
    with pytest.raises(InputError, match=r"box \[-inf, inf\] has no end, so 8-bit values have no"):
        load_data("npz:x.npz", box=(-np.inf, np.inf))


def test_embedded_digits_and_corrupted_bytes_are_spread_over_the_box(tmp_path):
    plain = load_data("digits:test", limit=5).images
    assert torch.equal(load_data("digits:test", limit=5, box=(-1, 1)).images, plain * 2 - 1)
    np.savez(tmp_path / "x.npz", images=pixels(4, 16, 16, 3), labels=np.zeros(4, np.int64))
    plain = load_data("npz:x.npz+contrast:3").images
    found = load_data("npz:x.npz+contrast:3", box=(0, 255)).images
    torch.testing.assert_close(found, plain * 255)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("shape", [(4, 7), (4, 9, 9, 3), (4, 9, 9), (4, 2, 3, 4, 5)])
def test_floats_are_taken_as_they_are(tmp_path, dtype, shape):
    images = RNG.normal(size=shape).astype(dtype)
    np.savez(tmp_path / "x.npz", images=images, labels=np.zeros(4, np.int64))
    data = load_data("npz:x.npz")
    assert data.images.dtype == torch.float32
    assert torch.equal(data.images, torch.from_numpy(images.astype(np.float32)))


GOOD = {"images": pixels(3, 5, 5), "labels": np.array([0, 1, 2])}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": None}, "but no images"),
        ({"labels": None}, "but no labels"),
        ({"images": pixels(3, 5, 5).astype(int)}, "images are int64"),
        ({"images": np.zeros((3, 5), bool)}, "images are bool"),
        ({"images": np.zeros((3, 5), complex)}, "images are complex128"),
        ({"images": np.array(["a", "b", "c"])}, "images are <U1"),
        ({"images": np.array([[0.0], [np.nan], [1.0]])}, "NaN or infinite"),
        ({"images": np.array([[0.0], [1e300], [1.0]])}, "NaN or infinite"),
        ({"images": np.zeros(3)}, "(N, ...)"),
        ({"images": np.float32(3)}, "(N, ...)"),
        ({"images": pixels(3, 5, 5, 5)}, "1, 3 or 4 channels"),
        ({"images": pixels(3, 1, 5, 5, 5)}, "1, 3 or 4 channels"),
        ({"images": pixels(0, 5, 5), "labels": np.zeros(0, int)}, "empty"),
        ({"labels": np.array([0, 1])}, "3 images but 2 labels"),
        ({"labels": np.array([0.0, 1.5, 2.0])}, "label of example 1 is 1.5"),
        ({"images": pixels(3, 4, 5, 3)}, "--layout nchw or --layout nhwc"),
        ({"labels": np.array([0, -1, 2])}, "a label is -1"),
    ],
)
def test_npz_contents(refused, tmp_path, change, says):
    arrays = {k: v for k, v in (GOOD | change).items() if v is not None}
    np.savez(tmp_path / "x.npz", **arrays)
    assert says in refused("npz:x.npz")
