"""Shares of the models above a threshold, counted by hand."""

import json

import pytest

from hauberk import InputError
from hauberk.analysis import Sweep, SweptModel


def swept(group, union, **settings):
    accuracy = {"clean": 0.9, "union": union}
    return SweptModel(group, settings, accuracy, 200)


SWEEP = Sweep([
    swept("msd", 0.55, step=1), swept("max", 0.5, step=1), swept("msd", 0.4, step=2),
    swept("msd", 0.55, step=3), swept("max", 0.1, step=2), swept("msd", 0.0, step=4),
])  # fmt: skip


def test_shares_exceed_the_threshold():
    assert SWEEP.groups == ["msd", "max"]
    assert SWEEP.accuracies("union") == {"msd": [0.55, 0.4, 0.55, 0.0], "max": [0.5, 0.1]}
    # Exactly at the threshold is not above it.
    assert SWEEP.above([0, 0.1, 0.4, 0.5, 0.55, 1]) == {
        "msd": [0.75, 0.75, 0.5, 0.5, 0.0, 0.0],
        "max": [1.0, 0.5, 0.5, 0.0, 0.0, 0.0],
    }
    assert SWEEP.above([0.5], "clean") == {"msd": [1.0], "max": [1.0]}


def test_the_best_of_each_group_is_the_first_of_equals():
    assert {g: m.settings["step"] for g, m in SWEEP.best().items()} == {"msd": 1, "max": 1}


def test_text_and_back():
    text = json.dumps(SWEEP.to_dict())
    assert Sweep.of(json.loads(text)) == SWEEP
    assert len(Sweep.of(json.loads(text), SWEEP.to_dict()).models) == 12


def test_an_accuracy_that_is_not_there():
    with pytest.raises(InputError, match="no accuracy 'l7' of msd: there are clean, union"):
        SWEEP.above([0.5], "l7")
