"""Solvers by name: what is refused names the user's word."""

import pytest

from hauberk.errors import InputError
from hauberk.solvers.ddn import DDN
from hauberk.solvers.registry import SOLVERS, serving, solver_class, solver_for
from hauberk.threats import metric


@pytest.mark.parametrize(
    ("name", "distance", "says"),
    [
        ("general", "l0", "general (LevelSetFMN) does not measure in l0: "),
        ("pwcf", "l0", "pwcf (PWCFRadius) does not measure in l0: "),
        ("ddn", "l1", "ddn (DDN) does not measure in l1: "),
        (DDN(), "l1", "DDN does not measure in l1: "),
    ],
)
def test_a_metric_not_served_names_the_users_word(name, distance, says):
    with pytest.raises(InputError) as error:
        solver_for(name, metric(distance), budget=2000, classes=10)
    assert str(error.value).startswith(says)
    assert str(error.value).endswith(", ".join(serving(metric(distance))))


@pytest.mark.parametrize("name", SOLVERS)
def test_every_name_is_a_solver(name):
    assert solver_class(name).__name__


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match=r"choose one of .*; did you mean sigma_zero"):
        solver_class("sigma-zero")
