"""The dry run: times and lines as people read them, and one timed pass."""

import pytest
import torch
from torch import nn

from hauberk.cli.dry_run import Cost, duration, print_costs, tried
from hauberk.data import Dataset
from hauberk.errors import InputError
from hauberk.evaluation.core.options import RunOptions


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.123, "0.12 seconds"), (9.4, "9.4 seconds"), (42.2, "42 seconds"), (600, "10.0 minutes")],
)
def test_times_are_rounded(seconds, text):
    assert duration(seconds) == text


def test_lines(capsys):
    costs = [Cost(3, "at most 20", "average", "; less if fooled"), Cost(120, name="4 epochs")]
    assert print_costs("12 examples", costs) == 0
    assert capsys.readouterr().out.splitlines() == [
        "12 examples:",
        "average: at most 20 passes per example and about 3 seconds; less if fooled",
        "4 epochs: about 2.0 minutes",
    ]


def test_a_model_is_tried_as_a_run_would():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    data = Dataset(torch.rand(5, 1, 2, 2), torch.arange(5) % 3, torch.arange(5), "toy", None)
    trial = tried(None, {"net": model}, data, RunOptions())
    assert (trial.setting.classes, trial.n, trial.setting.victim.draws) == (3, 5, 1)
    assert trial.seconds > 0
    assert trial.cost(7, "all").passes == "at most 7"
    with pytest.raises(InputError, match="box"):
        tried(None, {"net": model}, data, RunOptions(box=(0.0, 0.1)))
