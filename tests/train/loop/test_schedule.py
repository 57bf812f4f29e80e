"""Learning rates of schedules."""

import pytest

from hauberk.train.loop.schedule import Rates


@pytest.mark.parametrize(
    ("schedule", "step", "rate"),
    [
        (None, 7, 0.5),
        ([(0, 0.0), (6, 1e-3), (15, 0.0)], 9, 1e-3 / 6),
        ([(0, 0.0), (6, 1e-3), (15, 0.0)], 59, 1e-3),
        ([(0, 0.0), (6, 1e-3), (15, 0.0)], 104, 5e-4),
        ([(0, 0.0), (6, 1e-3), (15, 0.0)], 200, 0.0),
        ([(2, 0.3), (3, 0.1)], 0, 0.3),
        (("steps", [(40, 0.1), (60, 0.2)]), 39, 0.5),
        (("steps", [(40, 0.1), (60, 0.2)]), 40, 0.05),
        (("steps", [(40, 0.1), (60, 0.2)]), 60, 0.01),
        (("epochs", [(4, 0.1)]), 39, 0.5),
        (("epochs", [(4, 0.1)]), 40, 0.05),
    ],
)
def test_rates_of_schedules(schedule, step, rate):
    assert Rates.of(schedule, 0.5).at(step, 10) == pytest.approx(rate)
