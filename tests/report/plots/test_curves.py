import re

import numpy as np
import pytest
from helpers.pictures import check_png, check_same, check_svg

from hauberk import InputError
from hauberk.report.plots.curves import Series, panels

BAND = Series("a", [0, 1, 2], [1.0, 0.5, 0.2], low=[0.9, 0.4, 0.1], high=[1.0, 0.6, 0.3])
ONE = Series("b", [0], [1])
STEP = Series("_a$", [0, 1], [1, 0], steps=True)
DRAWN = {
    "points": lambda p: panels({"l2": [BAND]}, p),
    "two panels": lambda p: panels({"l2": [BAND], "linf": [BAND, ONE]}, p, {}, "t"),
    "steps": lambda p: panels({"l2": [STEP]}, p, {"l2": [0.5]}),
    "nothing but 0": lambda p: panels({"l2": [Series("a", [0.0], [0.5], dashed=True)]}, p),
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_a_small_png(tmp_path, name):
    check_png(DRAWN[name], tmp_path)


@pytest.mark.parametrize("name", DRAWN)
def test_draws_svg(tmp_path, name):
    check_svg(DRAWN[name], tmp_path)


def test_the_same_numbers_give_the_same_file(tmp_path):
    check_same(DRAWN["points"], tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        {"accuracy": [1.0, 0.5, 0.3]}, {"low": [0.9, 0.2, 0.1]}, {"high": [1.0, 0.9, 0.3]},
        {"eps": [0, 1.5, 2]}, {"steps": True}, {"dashed": True}, {"colour": 1}, {"name": "b"},
    ],
)  # fmt: skip
def test_everything_is_drawn(tmp_path, other):
    one = panels({"l2": [BAND]}, tmp_path / "a.png").read_bytes()
    changed = Series(**(vars(BAND) | other))
    assert panels({"l2": [changed]}, tmp_path / "b.png").read_bytes() != one


def test_long_curves_make_small_files(tmp_path):
    eps = np.linspace(0, 1, 20_000)
    long = Series("a", eps, 1 - eps, low=0.9 - eps, high=1.1 - eps, steps=True)
    text = panels({"l2": [long]}, tmp_path / "a.svg").read_text()
    assert len(text) < 120_000
    assert len(re.findall(r"\bL ", text)) < 4000


def test_no_curves_are_refused(tmp_path):
    for curves in ({}, {"l2": []}):
        with pytest.raises(InputError, match="no curves"):
            panels(curves, tmp_path / "a.png")
