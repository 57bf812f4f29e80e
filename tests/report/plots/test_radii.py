import numpy as np
import pytest
import torch
from helpers.pictures import check_png, check_same, check_svg

from hauberk import InputError
from hauberk.report.plots import radii as plots

CURVES = {"eps": [0.0, 1.0, 2.0], "accuracy": {"a": [1.0, 0.5, 0.0], "b": [0.9, 0.6, None]}}
NOBODY = {"eps": [0.0], "accuracy": {"a": [None]}}
DRAWN = {
    "radii": lambda p: plots.radii({"l1": [1, 2], "l2": torch.rand(4)}, p, {"l1": 1.5}),
    "radii, one line": lambda p: plots.radii({"l1": [1, 2]}, p, 0.5, "title"),
    "nothing": lambda p: plots.radii({"l1": []}, p),
    "NaN": lambda p: plots.radii({"l1": torch.tensor([torch.nan, 1])}, p),
    "one value": lambda p: plots.radii({"l1": torch.full((9,), 1e6)}, p),
    "neighbours": lambda p: plots.radii({"l1": np.array([1.0, 1 + 1e-15])}, p),
    "curves": lambda p: plots.accuracy_curves(CURVES, p, [{"eps": 1.0}], unit="l2"),
    "curves of nobody": lambda p: plots.accuracy_curves(NOBODY, p),
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_a_small_png(tmp_path, name):
    check_png(DRAWN[name], tmp_path)


@pytest.mark.parametrize("name", ["radii", "curves"])
def test_draws_svg(tmp_path, name):
    check_svg(DRAWN[name], tmp_path)


def test_the_same_numbers_give_the_same_file(tmp_path):
    check_same(DRAWN["curves"], tmp_path)


def test_counts_are_drawn(tmp_path):
    """A bar of other height is another picture."""
    one = plots.radii({"l1": [1.0, 2.0, 2.0]}, tmp_path / "a.png").read_bytes()
    assert plots.radii({"l1": [1.0, 2.0]}, tmp_path / "b.png").read_bytes() != one


def test_what_was_not_found_is_left_out(tmp_path):
    one = plots.radii({"l1": [1.0, 2.0]}, tmp_path / "a.png").read_bytes()
    assert plots.radii({"l1": [1.0, None, 2.0, torch.inf]}, tmp_path / "b.png").read_bytes() == one


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda p: plots.radii({"l1": [1]}, p / "a.jpg"), "ends in .png or .svg"),
        (lambda p: plots.radii({}, p / "a.png"), "no radii"),
    ],
)
def test_refuses(tmp_path, draw, said):
    with pytest.raises(InputError, match=said):
        draw(tmp_path)
    assert not any(tmp_path.iterdir())
