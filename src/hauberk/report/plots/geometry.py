"""A picture of where a model is wrong on a plane, and of the balls around the example."""

from pathlib import Path
from typing import Any

from hauberk.report.plots.canvas import array, canvas, mapping, save


def geometry(panel: Any, path: str | Path, title: str = "") -> Path:
    """The wrong region, the ball of size eps, and dashed the largest ball without a wrong point.

    Args:
        panel: a mapping, or what has ``to_dict``, with ``steps``, ``wrong``, ``distance``, ``eps``
            and ``radius`` (:class:`hauberk.analysis.Geometry`).
        path: ends in .png or .svg.
        title: above the picture.

    Source: Liang et al. 2023, Figure 7a.
    """
    found = mapping(panel)
    steps, wrong = array(found["steps"]), array(found["wrong"]).astype(float)
    distance = array(found["distance"])
    figure, ((axes,),) = canvas(1, 1, (3.6, 3.4))
    axes.contourf(steps, steps, wrong.T, levels=[0.5, 1.5], colors=["#9ecae1"])
    axes.contour(steps, steps, distance.T, levels=[float(found["eps"])], colors="black")
    if found["radius"] is not None and 0 < float(found["radius"]) < float(found["eps"]):
        radius = [float(found["radius"])]
        axes.contour(steps, steps, distance.T, levels=radius, colors="black", linestyles="dashed")
    axes.plot([0], [0], "k+")
    axes.set(xlabel="along the first perturbation", ylabel="along the second", aspect="equal")
    return save(figure, path, title)
