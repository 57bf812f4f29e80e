import pytest
import torch
from helpers.pictures import check_png

from hauberk import InputError
from hauberk.report.plots import margins as plots

RUNS = {"mma": {0: [0.0, 0.01, 0.2], 4: [0.3, torch.inf]}, "$pgd$": {4: torch.tensor([0.1, 0.02])}}
MANY = {"mma": {epoch: [0.1 * epoch] for epoch in range(20)}}
DRAWN = {
    "by epoch": lambda p: plots.by_epoch(RUNS, p, hinge=0.25, title="title"),
    "many epochs": lambda p: plots.by_epoch(MANY, p),
    "small shares": lambda p: plots.small_shares(RUNS, p, title="title"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_a_small_png(tmp_path, name):
    check_png(DRAWN[name], tmp_path)


@pytest.fixture
def kept(monkeypatch):
    """The figures that were to be written."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path, title="": figures.append(figure))
    return figures


def test_each_histogram_names_its_share_of_small_margins(kept):
    plots.by_epoch(RUNS, "a.png", small=0.05)
    words = [text.get_text() for axes in kept[0].axes for text in axes.texts]
    assert words == ["66.7% below 0.05", "0.0% below 0.05, 1 not found", "50.0% below 0.05"]


def test_six_of_many_epochs_are_drawn(kept):
    plots.by_epoch(MANY, "a.png")
    rows = [axes.get_ylabel() for axes in kept[0].axes]
    assert rows == [f"epoch {e}" for e in (0, 4, 8, 11, 15, 19)]


def test_shares_are_drawn_by_epoch(kept):
    plots.small_shares(RUNS, "a.png")
    one, other = kept[0].axes[0].get_lines()
    assert one.get_xdata().tolist() == [0, 4]
    assert one.get_ydata() == pytest.approx([200 / 3, 0])
    assert other.get_ydata() == pytest.approx([50])


@pytest.mark.parametrize("draw", [plots.by_epoch, plots.small_shares])
@pytest.mark.parametrize("runs", [{}, {"a": {0: []}}, {"a": {0: [torch.nan]}}])
def test_no_margins_are_refused(draw, runs, tmp_path):
    with pytest.raises(InputError, match="no margins"):
        draw(runs, tmp_path / "a.png")
