"""What tells one model from another, and where settings hold models of their own."""

import copy
from dataclasses import dataclass, field

import torch
from torch import nn

import hauberk as hb
from hauberk.evaluation.core.identity import fingerprint, fingerprints, snapshot
from hauberk.victims.ensembles import Vote


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def own_loss(logits, y):
    return -logits.gather(1, y[:, None])[:, 0]


def test_fingerprints_are_those_of_values_and_structure():
    model = net()
    assert fingerprint(model) == fingerprint(copy.deepcopy(model))
    assert fingerprint(model) == fingerprint(torch.compile(model))
    model.train()
    assert fingerprint(model) == fingerprint(copy.deepcopy(model).eval())
    vote, mean = Vote([net(), net(1), net(2)]), hb.victims.ensembles.Ensemble([net(), net(1)])
    assert fingerprint(vote)["architecture"] != fingerprint(mean)["architecture"]
    half = copy.deepcopy(model).half()
    assert fingerprint(half)["weights"] != fingerprint(model)["weights"]
    buffers = [nn.BatchNorm1d(2), nn.BatchNorm1d(2)]
    buffers[1].running_mean += 1
    assert fingerprint(buffers[0])["weights"] != fingerprint(buffers[1])["weights"]


@dataclass(frozen=True)
class Setting:
    inner: list = field(default_factory=list)


def test_models_in_settings_get_the_name_of_their_place():
    a, b = net(0), net(1)
    found = fingerprints({"model": a}, {"attack": Setting([a, b, own_loss])})
    assert list(found["models"]) == ["model", "attack.inner.1"]
    assert list(found["objects"]) == ["attack", "attack.inner.2"]
    assert found["models"]["attack.inner.1"] == fingerprint(b)


class Shifted(nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.shift, self.calls = shift, 0

    def forward(self, x):
        self.calls += 1  # no setting
        return x + self.shift


def test_numbers_are_settings_and_counters_are_not():
    one, other = Shifted(0.5), Shifted(0.25)
    assert fingerprint(one)["architecture"] != fingerprint(other)["architecture"]
    before = snapshot({"m": one})
    one(torch.zeros(1))
    found = fingerprints({"m": one}, before=before)
    assert found["models"]["m"]["varies"] == [" calls"]
    one(torch.zeros(1))
    assert fingerprints({"m": one}, recorded=found) == found
    assert fingerprints({"m": other}, recorded=found) != found


def test_comments_and_layout_change_nothing(tmp_path):
    texts = (
        "def loss(logits, y):\n    return logits.sum(1)\n",
        "def loss(logits, y):\n    # another comment\n    return logits.sum( 1 )\n",
        "def loss(logits, y):\n    return logits.amax(1)\n",
    )
    found = []
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.py").write_text(text)
        loss = hb.transforms.notation.import_object(f"{tmp_path}/{number}.py:loss", "loss")
        loss.__module__ = "own"
        found.append(fingerprint(loss))
    assert found[0] == found[1] != found[2]


def test_tensors_and_threats_are_told_apart():
    held = fingerprints({}, {"a": hb.Linf(0.1), "b": hb.Linf(0.2), "x": torch.zeros(2)})["objects"]
    same = fingerprints({}, {"a": hb.Linf(0.1), "b": hb.Linf(0.3), "x": torch.ones(2)})["objects"]
    assert [held[k] == same[k] for k in held] == [True, False, False]
