"""PNG files are read back as they were written."""

import io

import numpy as np
import pytest

from hauberk.store.png import png


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3), (1, 1)])
def test_another_reader_finds_the_same_pixels(shape):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = np.asarray(image.open(io.BytesIO(png(pixels))))
    assert found.shape == shape
    assert (found == pixels).all()


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="give"):
        png(np.zeros((2, 2, 4), np.uint8))
