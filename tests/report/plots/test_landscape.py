"""Pictures of planes and segments: which axis is which."""

import numpy as np
import pytest

from hauberk.errors import InputError
from hauberk.report.plots import landscape as plots
from hauberk.report.plots.landscape import SHOWN, planes, segments


def panel(span=(0.0, 0.5, 1.0)):
    """Loss 10 i + j at a[i], b[j]."""
    grid = np.add.outer(10.0 * np.arange(3), np.arange(3))
    return {"a": span, "b": span, "loss": {"ce": grid, "margin": grid - 15}, "example": 7}


@pytest.fixture
def drawings(monkeypatch):
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, path, title="": kept.append(figure) or path)
    return kept


def test_the_gradient_point_lies_to_the_right(drawings):
    planes({("net", "l1:10"): panel(), ("net", "l2:2"): panel((-1.0, 0.0, 1.0))}, "a.png")
    top, other, cut, cut_other = drawings[0].axes[:4]
    (image,) = top.images
    shown = image.get_array()
    assert image.origin == "lower"
    assert shown[0].tolist() == [0, 10, 20]  # the lowest row: b = 0, a grows to the right
    assert shown[:, 0].tolist() == [0, 1, 2]
    assert list(image.get_extent()) == [-0.25, 1.25, -0.25, 1.25]
    assert "gradient point" in top.get_xlabel()
    assert "gradient-free" in top.get_ylabel()
    assert top.get_title() == "net, l1:10\nexample 7"
    marks = [(line.get_marker(), *line.get_xdata(), *line.get_ydata()) for line in top.lines]
    assert marks == [("o", 0, 0), ("^", 1, 0), ("s", 0, 1)]
    assert [line.get_ydata().tolist() for line in cut.lines] == [[0, 10, 20], [0, 1, 2]]
    names = [text.get_text() for text in cut.get_legend().get_texts()]
    assert names == ["gradient direction", "gradient-free direction"]
    # Where the span begins before the example, the cuts still go through it.
    assert [line.get_ydata().tolist() for line in cut_other.lines] == [[1, 11, 21], [10, 11, 12]]
    assert other.get_title() == "net, l2:2\nexample 7"


def test_another_loss(drawings):
    planes({("", "l1:10"): panel()}, "a.png", loss="margin")
    top, cut, *_ = drawings[0].axes
    assert top.images[0].get_array()[0].tolist() == [-15, -5, 5]
    assert top.get_title() == "l1:10\nexample 7"
    assert cut.get_ylabel() == "margin loss"


def test_segments_are_lines_from_the_example(drawings):
    margin = np.array([[-4.0, -3.0, -2.0], [-2.0, -2.0, -1.0], [-9.0, -7.0, -6.0]])
    found = {"position": [0, 0.5, 1], "margin": margin}
    none = {"position": [0, 0.5, 1], "margin": np.zeros((0, 3))}
    segments({("a", "l2:1"): found, ("b", "linf:1"): none}, "a.png")
    first, *_, last = drawings[0].axes
    *lines, middle, zero = first.lines
    assert [line.get_ydata().tolist() for line in lines] == margin.tolist()
    assert middle.get_ydata().tolist() == [-4.0, -3.0, -2.0]
    assert middle.get_xdata().tolist() == [0, 0.5, 1]
    assert list(zero.get_ydata()) == [0, 0]
    assert first.get_title() == "a, l2:1: 3 failed points"
    assert last.get_title() == "b, linf:1: 0 failed points"


def test_many_segments_are_not_all_drawn(drawings):
    found = {"position": [0, 1], "margin": np.zeros((80, 2))}
    segments({("a", "l2:1"): found}, "a.png")
    assert len(drawings[0].axes[0].lines) == SHOWN + 2


def test_files(tmp_path):
    for name in ("a.svg", "a.png"):
        assert planes({("a", "l2:1"): panel()}, tmp_path / name).stat().st_size < 60_000
    with pytest.raises(InputError, match="no planes"):
        planes({}, tmp_path / "b.png")
    with pytest.raises(InputError, match="no segments"):
        segments({}, tmp_path / "b.png")
