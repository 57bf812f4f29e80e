"""The picture of loss against steps: what is drawn, and where."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from hauberk.errors import InputError
from hauberk.report.plots import trace as plots
from hauberk.report.plots.trace import POINTS, drawn, losses


def row(values):
    mean = np.asarray(values, dtype=float)
    return {"mean": mean, "low": mean - 1, "high": mean + 1}


def curve(name, current, best):
    return {"name": name, "loss": "ce", "current": row(current), "best": row(best)}


@pytest.fixture
def drawings(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, path, title="": kept.append(figure) or path)
    return kept


def test_the_best_is_a_line_with_a_band_and_the_current_one_is_dotted(drawings):
    losses(
        {"a": [curve("q=0.8", [1, 3, 2], [1, 3, 3])], "b": [curve("x", [0, 1], [0, 1])]}, "a.png"
    )
    (figure,) = drawings
    assert isinstance(figure, Figure)
    first, second = figure.axes
    best, current = first.lines
    assert best.get_ydata().tolist() == [1, 3, 3]
    assert best.get_linestyle() == "-"
    assert current.get_ydata().tolist() == [1, 3, 2]
    assert current.get_linestyle() == ":"
    assert best.get_xdata().tolist() == [0, 1, 2]
    (band,) = first.collections
    assert band.get_paths()[0].vertices[:, 1].min() == 0
    assert band.get_paths()[0].vertices[:, 1].max() == 4
    assert [t.get_text() for t in first.get_legend().get_texts()] == ["q=0.8"]
    assert first.get_xlabel() == "steps"
    assert "cross-entropy" in first.get_ylabel()
    assert (first.get_title(), second.get_title()) == ("a", "b")


def test_only_what_is_asked_for(drawings):
    losses({"": [curve("a", [1, 0], [1, 1])]}, "a.png", which=["current"], log=True)
    (line,) = drawings[0].axes[0].lines
    assert line.get_ydata().tolist() == [1, 0]
    assert drawings[0].axes[0].get_xscale() == "symlog"


@pytest.mark.parametrize("log", [False, True])
def test_long_curves_are_drawn_at_some_steps(log):
    at = drawn(1001, log)
    assert at[0] == 0
    assert at[-1] == 1000
    assert len(at) <= POINTS
    assert (np.diff(at) > 0).all()
    assert np.diff(at).max() <= (60 if log else 7)


def test_files(tmp_path):
    values = np.linspace(0, 1, 1001)
    some = [curve(f"q={i}", values, values) for i in range(5)]
    for name in ("a.svg", "a.png"):
        path = losses({"": some}, tmp_path / name, log=True)
        assert 0 < path.stat().st_size < 150_000
    with pytest.raises(InputError, match="no curves to draw"):
        losses({"": []}, tmp_path / "b.png")
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        losses({"": some}, tmp_path / "b.pdf")
