"""The picture of a plane: its region and its two balls."""

import numpy as np

from hauberk.report.plots import geometry as plots


def panel(radius):
    steps = np.linspace(-1.2, 1.2, 25)
    a, b = np.meshgrid(steps, steps, indexing="ij")
    distance = abs(a) + abs(b)
    return {"steps": steps, "wrong": a > 0.5, "distance": distance, "eps": 1.0, "radius": radius}


def test_the_dashed_ball_is_the_radius_if_it_is_smaller(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, path, title: kept.append(figure) or path)
    plots.geometry(panel(0.5), tmp_path / "a.svg")
    plots.geometry(panel(2.0), tmp_path / "b.svg")
    plots.geometry(panel(None), tmp_path / "c.svg")
    levels = [
        [tuple(c.levels) for c in figure.axes[0].collections if hasattr(c, "levels")]
        for figure in kept
    ]
    assert levels == [[(0.5, 1.5), (1.0,), (0.5,)], [(0.5, 1.5), (1.0,)], [(0.5, 1.5), (1.0,)]]
    (wrong,) = (c for c in kept[0].axes[0].collections if len(getattr(c, "levels", ())) == 2)
    xs = np.concatenate([path.vertices[:, 0] for path in wrong.get_paths()])
    assert xs.min() > 0.4  # to the right of the example, as a is the axis across
