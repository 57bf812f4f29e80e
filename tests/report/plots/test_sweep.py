"""The picture of a search, and its staircase."""

import pytest

from hauberk import InputError
from hauberk.report.plots.sweep import shares_above, staircase


def test_the_staircase_counts_what_is_above():
    edges, shares = staircase([0.5, 0.2, 0.5, 0.9])
    assert edges.tolist() == [0.0, 0.2, 0.5, 0.9, 1.0]
    assert shares.tolist() == [1.0, 0.75, 0.25, 0.0, 0.0]
    edges, shares = staircase([0.0, 1.0])
    assert (edges.tolist(), shares.tolist()) == ([0.0, 1.0], [0.5, 0.0])


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_one_panel_each(tmp_path, ending):
    panels = {"union": {"msd": [0.5, 0.6], "$max_": [0.1]}, "gradients": {"msd": [0.7, 0.7]}}
    path = shares_above(panels, tmp_path / f"a.{ending}", "title")
    assert 1000 < path.stat().st_size < 60_000
    if ending == "svg":
        assert path.read_text().count('id="axes_') == 2


@pytest.mark.parametrize("panels", [{}, {"union": {}}, {"union": {"msd": []}}])
def test_nothing_to_draw(tmp_path, panels):
    with pytest.raises(InputError, match="no models"):
        shares_above(panels, tmp_path / "a.png")
