"""The codec against Pillow's, and against the standard by hand."""

import io

import numpy as np
import pytest
import torch
from helpers.data import scenes
from scipy import fft

from hauberk.data.corruptions import codec

QUALITIES = [80, 65, 58, 50, 40]


def by_pillow(x, quality, subsampling=-1):
    """Levels (B, C, H, W) after Pillow's codec."""
    image = pytest.importorskip("PIL.Image")
    found = []
    for one in (x * 255).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        picture = image.fromarray(one.squeeze(2) if one.shape[2] == 1 else one)
        picture.save(file, "JPEG", quality=quality, subsampling=subsampling)
        file.seek(0)
        found.append(np.array(image.open(file)).reshape(one.shape).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(found)).double()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", QUALITIES)
def test_as_pillow_does(quality, channels):
    x = scenes(20, channels).double()
    found, wanted = codec.jpeg(x, quality) * 255, by_pillow(x, quality)
    off = (found - wanted).abs()
    # libjpeg's transform is in whole numbers: now and then a frequency falls to the other side.
    assert (off == 0).double().mean() > 0.85
    assert off.mean() < 0.25
    lost = (x * 255 - wanted).abs().mean()
    assert off.mean() < 0.1 * lost


@pytest.mark.parametrize(("height", "width"), [(20, 27), (9, 33)])
def test_sides_that_are_no_multiples_of_a_block(height, width):
    x = scenes(10, side=40).double()[:, :, :height, :width]
    found, wanted = codec.jpeg(x, 50) * 255, by_pillow(x, 50)
    assert (found - wanted).abs().mean() < 0.4


@pytest.mark.parametrize("quality", [1, 30, 49, 50, 51, 80, 100])
@pytest.mark.parametrize("which", [0, 1])
def test_tables_are_those_of_libjpeg(quality, which):
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    file.seek(0)
    base = (codec.LUMA_TABLE, codec.CHROMA_TABLE)[which]
    wanted = np.array(image.open(file).quantization[which]).reshape(8, 8)
    assert np.array_equal(codec.table(base, quality), wanted)


def test_the_transform_is_an_orthonormal_cosine_transform():
    block = np.random.default_rng(0).normal(size=(8, 8))
    basis = codec.cosines().numpy()
    assert np.allclose(basis @ block @ basis.T, fft.dctn(block, norm="ortho"))


def test_a_grey_block_by_hand():
    x = torch.randint(0, 256, (1, 1, 8, 8), generator=torch.Generator().manual_seed(3)).double()
    steps = codec.table(codec.LUMA_TABLE, 40).numpy()
    frequencies = fft.dctn(x[0, 0].numpy() - 128, norm="ortho")
    rounded = np.round(frequencies / steps) * steps
    wanted = np.clip(np.round(fft.idctn(rounded, norm="ortho") + 128), 0, 255)
    assert np.abs(codec.jpeg(x / 255, 40)[0, 0].numpy() * 255 - wanted).max() < 1e-9


def test_grey_colours_stay_grey():
    x = scenes(2, 1).double().expand(-1, 3, -1, -1)
    found = codec.jpeg(x, 50)
    assert torch.equal(found[:, :1].expand(-1, 3, -1, -1), found)


def test_smooth_colour_is_kept_but_for_rounding():
    ramp = torch.linspace(0.2, 0.6, 32, dtype=torch.float64)
    x = torch.stack(
        (ramp.expand(32, 32), ramp.view(-1, 1).expand(32, 32), 0.8 - ramp.expand(32, 32))
    )
    found = codec.jpeg((x[None] * 255).round() / 255, 95)
    assert (found - x).abs().max() < 9 / 255
