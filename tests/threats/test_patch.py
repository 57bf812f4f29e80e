"""Windows of images: their notation, and where they lie."""

import pytest
import torch
from tests.helpers.oracles import refusal

from hauberk.threats.patch import Patch

IMAGES = torch.zeros(2, 3, 6, 8)


@pytest.mark.parametrize("text", ["2x3+1+4", "2x2@9", "1x1+0+0"])
def test_a_notation_is_written_back(text):
    assert str(Patch.of(text)) == text
    assert Patch.of(Patch.of(text)) == Patch.of(text)


def test_places_spread_over_the_image():
    assert Patch.of("2x2").places == 9
    corners = Patch.of("2x2@4").corners(IMAGES)
    assert corners.tolist() == [[0, 0], [0, 6], [4, 0], [4, 6]]
    assert Patch.of("2x2@1").corners(IMAGES).tolist() == [[2, 3]]
    many = Patch.of("2x2@12").corners(IMAGES)
    assert len({tuple(corner) for corner in many.tolist()}) == 12
    assert (many >= 0).all()
    assert (many <= torch.tensor([4, 6])).all()


def test_the_window_has_its_rows_and_columns():
    window = Patch.of("2x3+1+4").window(IMAGES)
    assert window.shape == (1, 3, 6, 8)
    assert window[0, 0].nonzero().tolist() == [[r, c] for r in (1, 2) for c in (4, 5, 6)]
    assert window.sum() == 18
    both = Patch.of("2x2@4").window(IMAGES, torch.tensor([3, 0]))
    assert both[0, 2].nonzero()[0].tolist() == [4, 6]
    assert both[1, 2].nonzero()[0].tolist() == [0, 0]


def test_what_does_not_fit_is_refused():
    assert "does not fit into inputs of 6 x 8" in refusal(Patch.of("7x1+0+0").window, IMAGES)
    assert "does not fit" in refusal(Patch.of("2x2+5+0").window, IMAGES)
    assert "needs images" in refusal(Patch.of("2x2+0+0").window, torch.zeros(2, 5))
    assert "has no pixels" in refusal(Patch, 0, 2)
