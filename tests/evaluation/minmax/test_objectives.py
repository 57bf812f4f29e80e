"""Objectives of one's own, and those that a manifest describes."""

from dataclasses import replace
from math import inf

import pytest
import torch
from helpers.minmax import QUICK, Net, data

import hauberk as hb
from hauberk.evaluation.minmax.objectives import RecordedObjective, described, objective_from
from hauberk.objectives.minmax import Average, Fixed, MinMax
from hauberk.store.files import plain
from hauberk.threats import Linf


def test_objectives_of_ones_own():
    models = [Net(0), Net(1)]
    x, y = data(9)
    chosen = {"minmax": MinMax(beta=inf), "minmax-slow": MinMax(), "first": Fixed(weights=(1, 0))}
    result = hb.minmax(models, x, y, Linf(0.1), attack=QUICK, objectives=chosen, stop=False)
    assert list(result) == list(chosen)
    for name, loss in chosen.items():
        loss = replace(loss, domains=models)
        found = replace(QUICK, loss=loss)(models[0], x, y, Linf(0.1), stop=False)
        assert torch.equal(result[name].points, found.points)
    assert result["first"].weights.tolist() == [[1, 0]] * 9
    assert "lift" not in result.summary


@pytest.mark.parametrize(
    "objective", [Average(), Fixed(weights=(1.0, 3.0)), MinMax(gamma=inf, beta=0.1)]
)
def test_objectives_survive_their_description(objective):
    told = plain(described(objective))
    assert plain(described(objective_from(told))) == told
    assert type(objective_from(told)) is type(objective)
    own = objective_from(told | {"objective": "Mine"})
    assert isinstance(own, RecordedObjective)
    assert described(own)["objective"] == "Mine"
