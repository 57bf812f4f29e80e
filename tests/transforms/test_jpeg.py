"""JPEG against Pillow itself."""

import io
import sys

import numpy as np
import pytest
import torch

from hauberk import InputError
from hauberk.transforms import JPEG


def images(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(2))


def gradient(transform, x):
    """The gradient of a random combination of values, and the combination's weights."""
    x = x.clone().requires_grad_()
    weights = images(*x.shape, dtype=x.dtype)
    return torch.autograd.grad(transform(x), x, weights)[0], weights


def pillow_round_trip(image, quality):
    """One image (C, H, W) of [0, 1] through Pillow, by way of its own array reader."""
    from PIL import Image

    levels = np.rint(np.clip(image.double().numpy(), 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    back = np.asarray(Image.open(io.BytesIO(file.getvalue())))
    back = back[None] if back.ndim == 2 else back.transpose(2, 0, 1)
    return torch.from_numpy(back / 255.0).to(image.dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [10, 75, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_jpeg_is_pillows_round_trip(channels, quality, dtype):
    pytest.importorskip("PIL")
    x = (images(3, channels, 12, 17) * 1.4 - 0.2).to(dtype)
    found = JPEG(quality)(x)
    expected = torch.stack([pillow_round_trip(image, quality) for image in x])
    assert found.dtype == dtype
    assert torch.equal(found, expected)


def test_jpeg_keeps_gradients_empty_batches_and_one_pixel():
    pytest.importorskip("PIL")
    x = images(2, 3, 9, 8) * 1.2
    found, weights = gradient(JPEG(50), x)
    assert torch.equal(found, weights)
    assert JPEG()(x[:0]).shape == (0, 3, 9, 8)
    assert JPEG()(x[:, :, :1, :1]).shape == (2, 3, 1, 1)
    constant = torch.full((1, 1, 8, 8), 128 / 255, dtype=torch.float64)
    assert torch.equal(JPEG(75)(constant), constant)  # the codec's own middle grey


def test_jpeg_refuses_what_it_cannot_take():
    pytest.importorskip("PIL")
    with pytest.raises(InputError, match="1 or 3 channels"):
        JPEG()(images(2, 4, 8, 8))
    with pytest.raises(InputError, match="takes images"):
        JPEG()(images(2, 8))
    with pytest.raises(InputError, match="NaN"):
        JPEG()(torch.full((1, 1, 4, 4), torch.nan))
    for quality in (0, 101, 75.5, "75"):
        with pytest.raises(InputError, match="1 to 100"):
            JPEG(quality)


def test_jpeg_without_pillow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(InputError, match=r"pip install 'hauberk\[images\]'"):
        JPEG()(images(1, 1, 8, 8))
