"""Pictures of filters: colours, places and frames."""

import numpy as np
import pytest

from hauberk.errors import InputError
from hauberk.report.plots import filters as plots
from hauberk.report.plots.filters import filters, laid_out, tile


def panel(count=5, channels=1):
    weights = np.random.default_rng(0).normal(size=(count, channels, 3, 3))
    share = [0.95 if k in (1, 3) else 0.2 for k in range(count)]
    return {"weights": weights.tolist(), "share": share, "single": 0.9}


def test_weights_above_zero_are_red_and_below_blue():
    red, green, blue = tile(np.array([[[2.0, 0.0, -2.0, 1.0]]]))[0].T
    assert red[0] == pytest.approx(1)
    assert blue[2] == pytest.approx(1)
    assert red[0] > blue[0]
    assert blue[2] > red[2]
    assert red[1] == green[1] == blue[1] == pytest.approx(0.96)
    assert green[0] < green[3] < green[1]
    assert red[3] > blue[3] > blue[0]


def test_three_channels_are_colours_and_others_lie_side_by_side():
    weights = np.zeros((3, 2, 2))
    weights[0, 1, 0] = 4.0
    weights[2, 0, 1] = -2.0
    shown = tile(weights)
    assert shown[1, 0].tolist() == [1.0, 0.5, 0.5]
    assert shown[0, 1].tolist() == [0.5, 0.5, 0.25]
    assert tile(np.zeros((2, 3, 4))).shape == (3, 8, 3)
    assert tile(np.zeros((2, 5))).shape == (2, 5, 3)
    assert tile(np.zeros((2, 3, 4, 5))).shape == (3, 40, 3)


def test_a_sheet_is_read_from_the_top_left():
    tiles = np.arange(5.0).reshape(5, 1, 1, 1) * np.ones((5, 2, 4, 3))
    sheet, corners = laid_out(tiles)
    for place, (x, y) in enumerate(corners):
        assert (sheet[y : y + 2, x : x + 4] == place).all()
    assert corners == [(1, 1), (6, 1), (11, 1), (1, 4), (6, 4)]
    assert laid_out(np.zeros((1, 2, 2, 3)))[0].shape == (4, 4, 3)


def test_the_filters_of_one_weight_are_framed(monkeypatch):
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, path, title="": kept.append(figure) or path)
    filters({"a": panel(), "b": panel(4)}, "a.png")
    first, second = kept[0].axes
    corners = [(line.get_xdata().min() + 0.5, line.get_ydata().min() + 0.5) for line in first.lines]
    assert corners == [(5, 1), (1, 5)]
    assert [len(line.get_xdata()) for line in first.lines] == [5, 5]
    assert first.lines[0].get_xdata().max() - first.lines[0].get_xdata().min() == 3
    assert first.get_title() == "a: 2 of 5 of one weight"
    assert second.get_title() == "b: 2 of 4 of one weight"
    assert first.images[0].get_array().shape == (9, 13, 3)


def test_files(tmp_path):
    for name in ("a.svg", "a.png"):
        path = filters({"a": panel(32), "b": panel(64, 3)}, tmp_path / name)
        assert 0 < path.stat().st_size < 60_000
    with pytest.raises(InputError, match="no filters"):
        filters({}, tmp_path / "b.png")
