"""How arrays become images and labels."""

import numpy as np
import pytest
import torch

from hauberk.data import load_data

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
        ({"labels": np.zeros((3, 1), int)}, "labels (N,)"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, "labels are float64"),
        ({"labels": np.array([True, False, True])}, "labels are bool"),
        ({"labels": np.array([0, -1, 2])}, "a label is -1"),
    ],
)
def test_npz_contents(refused, tmp_path, change, says):
    arrays = {k: v for k, v in (GOOD | change).items() if v is not None}
    np.savez(tmp_path / "x.npz", **arrays)
    assert says in refused("npz:x.npz")
