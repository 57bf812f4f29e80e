"""The suites that come with the package."""

import json

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.evaluation import SUITES
from hauberk.evaluation.accuracy.question import Accuracy
from hauberk.evaluation.core.prepare import Setting
from hauberk.threats import Box, threat
from hauberk.victims.victim import Victim

BALLS = hb.Union(hb.Linf(0.1), hb.L2(0.4), hb.L1(1.0)).parts


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_describes_itself(name):
    suite = SUITES[name]
    assert suite.name == name
    assert suite.version >= 1
    assert "\n" not in suite.about
    told = json.loads(json.dumps(suite.describe()))
    assert list(told) == list(suite.attacks)
    for key, stage in suite.stages.items():
        assert told[key]["attack"] == type(stage.attack).__name__
        assert told[key]["kind"] in ("gradient", "free", "transfer", "sanity")
        assert stage.about().startswith(type(stage.attack).__name__)


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_begun_under_the_balls(name):
    x, y = torch.full((1, 1, 6, 6), 0.5), torch.zeros(1, dtype=torch.long)
    suite = SUITES[name]
    setting = Setting({"a": Victim(nn.Flatten())}, x, y, torch.arange(1), Box.of((0, 1)))
    for task in Accuracy(BALLS, suite).tasks(setting):
        task.check(setting)
    assert suite.passes(BALLS)[0] > 0


def test_standard_and_fast_are_for_sets_and_mixtures():
    texts = ["rt:30,3", "swaps:3", "l1.5:1", "l0:3", "affine(linf:0.1,l1:1)"]
    for name in ("standard", "fast"):
        assert SUITES[name].schedule(tuple(threat(t) for t in texts))
